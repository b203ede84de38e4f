//! AlterPartition (key 56, versions 0–3): a leader proposes in-sync sets to the controller.
//!
//! Answered by the controller that this broker hosts, with NOT_CONTROLLER while it is not the one.

use broker_wire::ErrorCode;
use kafka_protocol::messages::{AlterPartitionRequest, AlterPartitionResponse};

use super::{Api, RequestContext, api};
use crate::security::Operation;

pub(super) const API: Api = api!(AlterPartition, 0..=3, handle);

async fn handle(cx: &RequestContext, request: AlterPartitionRequest) -> AlterPartitionResponse {
    if !cx.authorize_cluster(Operation::ClusterAction) {
        return AlterPartitionResponse::default().with_error_code(ErrorCode::ClusterAuthorizationFailed.code());
    }
    match cx.broker.controller() {
        Some(controller) => controller.alter_partition(request, cx.version()).await,
        None => AlterPartitionResponse::default().with_error_code(ErrorCode::NotController.code()),
    }
}
