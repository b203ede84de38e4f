//! JoinGroup (key 11, versions 0–9): a member enters a group, or the group's next generation. Answered when all have.

use broker_wire::ErrorCode;
use coordinator::group::{self, GroupError, JoinAnswer, Protocol};
use kafka_protocol::messages::join_group_response::JoinGroupResponseMember;
use kafka_protocol::messages::{JoinGroupRequest, JoinGroupResponse};
use uuid::Uuid;

use super::text::{shared, shared_option, wire, wire_option};
use super::{Api, RequestContext, api, error_code};
use crate::security::{Operation, ResourceType};

pub(super) const API: Api = api!(JoinGroup, 0..=9, handle);

async fn handle(cx: &RequestContext, request: JoinGroupRequest) -> JoinGroupResponse {
    let version = cx.version();
    if !cx.authorize(Operation::Read, ResourceType::Group, &request.group_id) {
        let refused = JoinAnswer::refused("", GroupError::UnknownServerError);
        return response(refused, version).with_error_code(ErrorCode::GroupAuthorizationFailed as i16);
    }
    let group_instance_id = shared_option(request.group_instance_id.as_ref());
    let protocols = request.protocols.iter().map(|protocol| Protocol {
        name: shared(&protocol.name),
        // Members are kept for long, the frame must not be.
        metadata: bytes::Bytes::copy_from_slice(&protocol.metadata),
    });
    let request = group::JoinRequest {
        group_id: shared(&request.group_id),
        member_id: shared(&request.member_id),
        require_known_member_id: version >= 4 && group_instance_id.is_none(),
        support_skipping_assignment: version >= 9,
        group_instance_id,
        client_id: cx.client_id().into(),
        client_host: cx.connection.client_host().into(),
        // Version 0 has one timeout for both.
        rebalance_timeout_ms: if version == 0 {
            request.session_timeout_ms
        } else {
            request.rebalance_timeout_ms
        },
        session_timeout_ms: request.session_timeout_ms,
        protocol_type: shared(&request.protocol_type),
        protocols: protocols.collect(),
        new_member_uuid: Uuid::new_v4().to_string(),
        reason: request.reason.as_ref().map(|reason| reason.to_string()),
    };
    response(cx.broker.groups.join(request).await, version)
}

fn response(answer: JoinAnswer, version: i16) -> JoinGroupResponse {
    // Null is only known from version 7 on, the empty text only before.
    let protocol_name = match wire_option(answer.protocol_name.as_ref()).filter(|name| !name.is_empty()) {
        None if version < 7 => Some(wire("")),
        name => name,
    };
    let members = answer.members.iter().map(|member| {
        let described = JoinGroupResponseMember::default()
            .with_member_id(wire(&member.member_id))
            .with_metadata(member.metadata.clone());
        if version < 5 {
            return described;
        }
        described.with_group_instance_id(wire_option(member.group_instance_id.as_ref()))
    });
    JoinGroupResponse::default()
        .with_error_code(error_code::of_group_answer(answer.error))
        .with_generation_id(answer.generation_id)
        .with_protocol_type(wire_option(answer.protocol_type.as_ref()).filter(|_| version >= 7))
        .with_protocol_name(protocol_name)
        .with_leader(wire(&answer.leader_id))
        .with_skip_assignment(answer.skip_assignment)
        .with_member_id(wire(&answer.member_id))
        .with_members(members.collect())
}

#[cfg(test)]
mod tests {
    use broker_wire::codec;
    use coordinator::group::JoinedMember;
    use kafka_protocol::messages::ApiKey;

    use super::*;

    #[test]
    fn every_version_can_be_answered() {
        let good = JoinAnswer {
            error: None,
            member_id: "m".into(),
            generation_id: 3,
            protocol_type: Some("consumer".into()),
            protocol_name: Some("range".into()),
            leader_id: "m".into(),
            skip_assignment: false,
            members: vec![JoinedMember {
                member_id: "m".into(),
                group_instance_id: Some("i".into()),
                metadata: bytes::Bytes::from_static(b"x"),
            }],
        };
        let refused = JoinAnswer::refused("m", GroupError::MemberIdRequired);
        for version in 0..=9 {
            for answer in [&good, &refused] {
                let response = response(answer.clone(), version);
                codec::encode_response(1, ApiKey::JoinGroup as i16, version, &response).unwrap();
            }
        }
    }

    #[test]
    fn a_refusal_has_no_protocol_in_the_words_of_its_version() {
        let refused = || JoinAnswer::refused("m", GroupError::UnknownMemberId);
        assert_eq!(response(refused(), 6).protocol_name.as_deref(), Some(""));
        assert_eq!(response(refused(), 7).protocol_name, None);
        assert_eq!(response(refused(), 7).generation_id, -1);
    }
}
