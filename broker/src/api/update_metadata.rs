//! UpdateMetadata (key 6): the controller tells who is alive and who leads what.

use broker_wire::ErrorCode;
use kafka_protocol::messages::{UpdateMetadataRequest, UpdateMetadataResponse};
use model::{BrokerEpoch, ControllerEpoch};
use tracing::warn;

use super::{Api, RequestContext, api};

pub(super) const API: Api = api!(UpdateMetadata, 0..=8, handle);

async fn handle(cx: &RequestContext, request: UpdateMetadataRequest) -> UpdateMetadataResponse {
    let answer = |code: ErrorCode| UpdateMetadataResponse::default().with_error_code(code as i16);
    if cx.broker.is_stale(BrokerEpoch(request.broker_epoch)) {
        warn!(
            broker_epoch = request.broker_epoch,
            "ignoring UpdateMetadata meant for an earlier life of this broker"
        );
        return answer(ErrorCode::StaleBrokerEpoch);
    }
    if !cx
        .broker
        .partitions
        .accept_controller(ControllerEpoch(request.controller_epoch))
    {
        warn!(
            controller = request.controller_id.0,
            request.controller_epoch, "ignoring UpdateMetadata of an old controller"
        );
        return answer(ErrorCode::StaleControllerEpoch);
    }
    cx.broker.metadata.update(&request);
    answer(ErrorCode::None)
}
