//! AlterPartitionReassignments (key 45, version 0): an administrator has the controller move replicas.
//!
//! Answered by the controller that this broker hosts, with NOT_CONTROLLER while it is not the one; or by a dedicated
//! coordinator, to which it is passed on.

use broker_wire::ErrorCode;
use kafka_protocol::messages::{AlterPartitionReassignmentsRequest, AlterPartitionReassignmentsResponse};

use super::{Api, RequestContext, api};

pub(super) const API: Api = api!(AlterPartitionReassignments, 0..=0, handle);

async fn handle(
    cx: &RequestContext,
    request: AlterPartitionReassignmentsRequest,
) -> AlterPartitionReassignmentsResponse {
    let refuse = || AlterPartitionReassignmentsResponse::default().with_error_code(ErrorCode::NotController.code());
    let Some(channel) = cx.broker.controller_channel() else {
        return refuse();
    };
    match channel.pass_on(&request, cx.version()).await {
        Ok(Some(response)) => response,
        Ok(None) => channel.hosted().alter_partition_reassignments(request).await,
        Err(error) => {
            tracing::warn!(%error, "the coordinator could not be asked");
            refuse()
        }
    }
}
