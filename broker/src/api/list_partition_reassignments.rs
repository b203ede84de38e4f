//! ListPartitionReassignments (key 46, version 0): which replicas the controller is moving.
//!
//! Answered by the controller that this broker hosts, with NOT_CONTROLLER while it is not the one.

use broker_wire::ErrorCode;
use kafka_protocol::messages::{ListPartitionReassignmentsRequest, ListPartitionReassignmentsResponse};

use super::{Api, RequestContext, api};

pub(super) const API: Api = api!(ListPartitionReassignments, 0..=0, handle);

async fn handle(cx: &RequestContext, request: ListPartitionReassignmentsRequest) -> ListPartitionReassignmentsResponse {
    match cx.broker.controller() {
        Some(controller) => controller.list_partition_reassignments(request).await,
        None => ListPartitionReassignmentsResponse::default().with_error_code(ErrorCode::NotController.code()),
    }
}
