//! AllocateProducerIds (key 67, version 0): a broker asks the controller for a block of producer ids.
//!
//! Answered by the controller that this broker hosts, with NOT_CONTROLLER while it is not the one.

use broker_wire::ErrorCode;
use kafka_protocol::messages::{AllocateProducerIdsRequest, AllocateProducerIdsResponse};

use super::{Api, RequestContext, api};
use crate::security::Operation;

pub(super) const API: Api = api!(AllocateProducerIds, 0..=0, handle);

async fn handle(cx: &RequestContext, request: AllocateProducerIdsRequest) -> AllocateProducerIdsResponse {
    if !cx.authorize_cluster(Operation::ClusterAction) {
        return AllocateProducerIdsResponse::default().with_error_code(ErrorCode::ClusterAuthorizationFailed.code());
    }
    match cx.broker.controller() {
        Some(controller) => controller.allocate_producer_ids(request).await,
        None => AllocateProducerIdsResponse::default().with_error_code(ErrorCode::NotController.code()),
    }
}
