//! Whether a request of a controller may be obeyed.

use broker_wire::ErrorCode;
use model::{BrokerEpoch, ControllerEpoch};
use tracing::warn;

use super::RequestContext;
use crate::security::Operation;

/// Accepts a request that was meant for this life of the broker and comes from the newest controller heard of, if
/// whoever sends it may act as the cluster.
///
/// # Errors
/// CLUSTER_AUTHORIZATION_FAILED, STALE_BROKER_EPOCH, STALE_CONTROLLER_EPOCH. Source: Kafka 3.9 `KafkaApis`, `ReplicaManager`.
pub(super) fn accept(
    cx: &RequestContext,
    broker_epoch: i64,
    controller_id: i32,
    controller_epoch: i32,
) -> Result<(), ErrorCode> {
    if !cx.authorize_cluster(Operation::ClusterAction) {
        return Err(ErrorCode::ClusterAuthorizationFailed);
    }
    let request = cx.header.api.name;
    if cx.broker.is_stale(BrokerEpoch(broker_epoch)) {
        warn!(
            request,
            broker_epoch, "ignoring a request meant for an earlier life of this broker"
        );
        return Err(ErrorCode::StaleBrokerEpoch);
    }
    if !cx
        .broker
        .partitions
        .accept_controller(ControllerEpoch(controller_epoch))
    {
        warn!(
            request,
            controller_id, controller_epoch, "ignoring a request of an old controller"
        );
        return Err(ErrorCode::StaleControllerEpoch);
    }
    Ok(())
}
