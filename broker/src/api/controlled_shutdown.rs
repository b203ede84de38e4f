//! ControlledShutdown (key 7, versions 0–3): a broker asks the controller to leave in order.
//!
//! Answered by the controller that this broker hosts, with NOT_CONTROLLER while it is not the one.

use broker_wire::ErrorCode;
use kafka_protocol::messages::{ControlledShutdownRequest, ControlledShutdownResponse};

use super::{Api, RequestContext, api};
use crate::security::Operation;

pub(super) const API: Api = api!(ControlledShutdown, 0..=3, handle);

async fn handle(cx: &RequestContext, request: ControlledShutdownRequest) -> ControlledShutdownResponse {
    if !cx.authorize_cluster(Operation::ClusterAction) {
        return ControlledShutdownResponse::default().with_error_code(ErrorCode::ClusterAuthorizationFailed.code());
    }
    match cx.broker.controller() {
        Some(controller) => controller.controlled_shutdown(request).await,
        None => ControlledShutdownResponse::default().with_error_code(ErrorCode::NotController.code()),
    }
}
