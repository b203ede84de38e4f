//! InitProducerId (key 22, versions 0–5): gives an idempotent producer its id.

use broker_wire::ErrorCode;
use kafka_protocol::messages::{InitProducerIdRequest, InitProducerIdResponse, ProducerId as WireProducerId};
use tracing::warn;

use super::{Api, RequestContext, api};
use crate::security::{Operation, ResourceType};

pub(super) const API: Api = api!(InitProducerId, 0..=5, handle);

async fn handle(cx: &RequestContext, request: InitProducerIdRequest) -> InitProducerIdResponse {
    let refuse = |code: ErrorCode| {
        InitProducerIdResponse::default()
            .with_error_code(code as i16)
            .with_producer_id(WireProducerId(-1))
            .with_producer_epoch(-1)
    };
    match &request.transactional_id {
        Some(id) if !cx.authorize(Operation::Write, ResourceType::TransactionalId, id) => {
            return refuse(ErrorCode::TransactionalIdAuthorizationFailed);
        }
        // Who may write to any topic may do so idempotently (KIP-679).
        None if !cx.authorize_cluster_quietly(Operation::IdempotentWrite)
            && !cx.authorize_any(Operation::Write, ResourceType::Topic) =>
        {
            return refuse(ErrorCode::ClusterAuthorizationFailed);
        }
        _ => {}
    }
    // Both or neither: a producer that comes back says what it had.
    if (request.producer_id.0 == -1) != (request.producer_epoch == -1) {
        return refuse(ErrorCode::InvalidRequest);
    }
    match &request.transactional_id {
        // Kafka answers the same for an id that cannot be hashed to a coordinator.
        Some(id) if id.is_empty() => refuse(ErrorCode::InvalidRequest),
        // There is no transaction coordinator yet: no broker of the cluster is one.
        Some(_) => refuse(ErrorCode::CoordinatorNotAvailable),
        None => match cx.broker.producer_ids.next(&cx.broker.store, cx.broker_id()).await {
            Ok(id) => InitProducerIdResponse::default()
                .with_producer_id(WireProducerId(id.0))
                .with_producer_epoch(0),
            Err(cause) => {
                warn!(%cause, "no block of producer ids could be had from ZooKeeper");
                refuse(ErrorCode::CoordinatorLoadInProgress)
            }
        },
    }
}
