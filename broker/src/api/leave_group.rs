//! LeaveGroup (key 13, versions 0–5): members go, one or (from version 3 on) many.

use broker_wire::ErrorCode;
use coordinator::group::{GroupError, LeavingMember};
use kafka_protocol::messages::leave_group_response::MemberResponse;
use kafka_protocol::messages::{LeaveGroupRequest, LeaveGroupResponse};

use super::text::{shared, shared_option};
use super::{Api, RequestContext, api, error_code};
use crate::security::{Operation, ResourceType};

pub(super) const API: Api = api!(LeaveGroup, 0..=5, handle);

async fn handle(cx: &RequestContext, request: LeaveGroupRequest) -> LeaveGroupResponse {
    if !cx.authorize(Operation::Read, ResourceType::Group, &request.group_id) {
        return LeaveGroupResponse::default().with_error_code(ErrorCode::GroupAuthorizationFailed as i16);
    }
    let members = leaving(cx.version(), &request);
    match cx.broker.groups.leave(&request.group_id, &members) {
        Err(error) => LeaveGroupResponse::default().with_error_code(error_code::of_group(error) as i16),
        Ok(answers) => response(cx.version(), &request, &answers),
    }
}

fn leaving(version: i16, request: &LeaveGroupRequest) -> Vec<LeavingMember> {
    if version < 3 {
        return vec![LeavingMember {
            member_id: shared(&request.member_id),
            group_instance_id: None,
            reason: None,
        }];
    }
    let members = request.members.iter().map(|member| LeavingMember {
        member_id: shared(&member.member_id),
        group_instance_id: shared_option(member.group_instance_id.as_ref()),
        reason: member.reason.as_ref().map(|reason| reason.to_string()),
    });
    members.collect()
}

/// Old versions know one member, whose error is that of the response.
fn response(version: i16, request: &LeaveGroupRequest, answers: &[Result<(), GroupError>]) -> LeaveGroupResponse {
    if version < 3 {
        let error = answers.first().and_then(|answer| answer.err());
        return LeaveGroupResponse::default().with_error_code(error_code::of_group_answer(error));
    }
    let members = request.members.iter().zip(answers).map(|(member, answer)| {
        MemberResponse::default()
            .with_member_id(member.member_id.clone())
            .with_group_instance_id(member.group_instance_id.clone())
            .with_error_code(error_code::of_group_answer(answer.err()))
    });
    LeaveGroupResponse::default().with_members(members.collect())
}
