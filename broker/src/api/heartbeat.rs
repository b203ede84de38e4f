//! Heartbeat (key 12, versions 0–4): a member says that it is alive and learns whether to join again.

use broker_wire::ErrorCode;
use coordinator::group;
use kafka_protocol::messages::{HeartbeatRequest, HeartbeatResponse};

use super::text::{shared, shared_option};
use super::{Api, RequestContext, api, error_code};
use crate::security::{Operation, ResourceType};

pub(super) const API: Api = api!(Heartbeat, 0..=4, handle);

async fn handle(cx: &RequestContext, request: HeartbeatRequest) -> HeartbeatResponse {
    if !cx.authorize(Operation::Read, ResourceType::Group, &request.group_id) {
        return HeartbeatResponse::default().with_error_code(ErrorCode::GroupAuthorizationFailed as i16);
    }
    let answer = cx.broker.groups.heartbeat(&group::HeartbeatRequest {
        group_id: shared(&request.group_id),
        generation_id: request.generation_id,
        member_id: shared(&request.member_id),
        group_instance_id: shared_option(request.group_instance_id.as_ref()),
    });
    HeartbeatResponse::default().with_error_code(error_code::of_group_answer(answer.err()))
}
