//! AlterPartitionReassignments (key 45, version 0): an administrator has the controller move replicas.
//!
//! Answered by the controller that this broker hosts, with NOT_CONTROLLER while it is not the one.

use broker_wire::ErrorCode;
use kafka_protocol::messages::{AlterPartitionReassignmentsRequest, AlterPartitionReassignmentsResponse};

use super::{Api, RequestContext, api};

pub(super) const API: Api = api!(AlterPartitionReassignments, 0..=0, handle);

async fn handle(
    cx: &RequestContext,
    request: AlterPartitionReassignmentsRequest,
) -> AlterPartitionReassignmentsResponse {
    match cx.broker.controller() {
        Some(controller) => controller.alter_partition_reassignments(request).await,
        None => AlterPartitionReassignmentsResponse::default().with_error_code(ErrorCode::NotController.code()),
    }
}
