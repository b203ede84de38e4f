//! SyncGroup (key 14, versions 0–5): the leader hands in the assignment; every member gets its part.

use broker_wire::ErrorCode;
use coordinator::group;
use kafka_protocol::messages::{SyncGroupRequest, SyncGroupResponse};

use super::text::{shared, shared_option, wire_option};
use super::{Api, RequestContext, api, error_code};
use crate::security::{Operation, ResourceType};

pub(super) const API: Api = api!(SyncGroup, 0..=5, handle);

async fn handle(cx: &RequestContext, request: SyncGroupRequest) -> SyncGroupResponse {
    // From version 5 on a member must say which protocol it takes part in (KIP-559).
    if cx.version() >= 5 && (request.protocol_type.is_none() || request.protocol_name.is_none()) {
        return SyncGroupResponse::default().with_error_code(ErrorCode::InconsistentGroupProtocol as i16);
    }
    if !cx.authorize(Operation::Read, ResourceType::Group, &request.group_id) {
        return SyncGroupResponse::default().with_error_code(ErrorCode::GroupAuthorizationFailed as i16);
    }
    let assignments = request.assignments.iter().map(|assignment| {
        (
            shared(&assignment.member_id),
            bytes::Bytes::copy_from_slice(&assignment.assignment),
        )
    });
    let answer = cx
        .broker
        .groups
        .sync(group::SyncRequest {
            group_id: shared(&request.group_id),
            generation_id: request.generation_id,
            member_id: shared(&request.member_id),
            group_instance_id: shared_option(request.group_instance_id.as_ref()),
            protocol_type: shared_option(request.protocol_type.as_ref()),
            protocol_name: shared_option(request.protocol_name.as_ref()),
            assignments: assignments.collect(),
        })
        .await;
    match answer {
        Err(error) => SyncGroupResponse::default().with_error_code(error_code::of_group(error) as i16),
        Ok(answer) => {
            let response = SyncGroupResponse::default().with_assignment(answer.assignment);
            if cx.version() < 5 {
                return response;
            }
            response
                .with_protocol_type(wire_option(answer.protocol_type.as_ref()))
                .with_protocol_name(wire_option(answer.protocol_name.as_ref()))
        }
    }
}
