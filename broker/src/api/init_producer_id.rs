//! InitProducerId (key 22, versions 0–5): gives a producer its id, and a transactional one its epoch.

use broker_wire::ErrorCode;
use coordinator::transaction::{InitRequest, Producer};
use kafka_protocol::messages::{InitProducerIdRequest, InitProducerIdResponse, ProducerId as WireProducerId};
use model::{ProducerEpoch, ProducerId};
use tracing::debug;

use super::text::shared;
use super::{Api, RequestContext, api, error_code};
use crate::security::{Operation, ResourceType};

pub(super) const API: Api = api!(InitProducerId, 0..=5, handle);

/// The first version whose clients know PRODUCER_FENCED.
const KNOWS_FENCED: i16 = 4;

async fn handle(cx: &RequestContext, request: InitProducerIdRequest) -> InitProducerIdResponse {
    match init(cx, &request).await {
        Ok(producer) => InitProducerIdResponse::default()
            .with_producer_id(WireProducerId(producer.id.0))
            .with_producer_epoch(producer.epoch.0),
        Err(code) => InitProducerIdResponse::default()
            .with_error_code(code as i16)
            .with_producer_id(WireProducerId(-1))
            .with_producer_epoch(-1),
    }
}

async fn init(cx: &RequestContext, request: &InitProducerIdRequest) -> Result<Producer, ErrorCode> {
    match &request.transactional_id {
        Some(id) if !cx.authorize(Operation::Write, ResourceType::TransactionalId, id) => {
            return Err(ErrorCode::TransactionalIdAuthorizationFailed);
        }
        // Who may write to any topic may do so idempotently (KIP-679).
        None if !cx.authorize_cluster_quietly(Operation::IdempotentWrite)
            && !cx.authorize_any(Operation::Write, ResourceType::Topic) =>
        {
            return Err(ErrorCode::ClusterAuthorizationFailed);
        }
        _ => {}
    }
    // Both or neither: a producer that comes back says what it had.
    let expected = match (request.producer_id.0, request.producer_epoch) {
        (-1, -1) => None,
        (-1, _) | (_, -1) => return Err(ErrorCode::InvalidRequest),
        (id, epoch) => Some(Producer {
            id: ProducerId(id),
            epoch: ProducerEpoch(epoch),
        }),
    };
    let Some(transactional_id) = &request.transactional_id else {
        let id = cx.broker.producer_ids.next(&cx.broker).await.map_err(|cause| {
            debug!(%cause, "a producer is told to come again");
            ErrorCode::CoordinatorLoadInProgress
        })?;
        return Ok(Producer {
            id,
            epoch: ProducerEpoch(0),
        });
    };
    let request = InitRequest {
        transactional_id: shared(transactional_id),
        timeout_ms: request.transaction_timeout_ms,
        expected,
    };
    let answer = cx.broker.transactions.init_producer_id(&cx.broker, &request).await;
    answer.map_err(|error| error_code::of_transaction_for(error, cx.version() >= KNOWS_FENCED))
}
