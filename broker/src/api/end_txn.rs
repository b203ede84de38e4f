//! EndTxn (key 26, versions 0–4): a producer commits or aborts its transaction.
//!
//! Answered when the decision is stored; the markers follow.

use broker_wire::ErrorCode;
use coordinator::transaction::{EndRequest, Producer, TransactionResult};
use kafka_protocol::messages::{EndTxnRequest, EndTxnResponse};
use model::{ProducerEpoch, ProducerId};

use super::text::shared;
use super::{Api, RequestContext, api, error_code};
use crate::security::{Operation, ResourceType};

pub(super) const API: Api = api!(EndTxn, 0..=4, handle);

/// The first version whose clients know PRODUCER_FENCED.
const KNOWS_FENCED: i16 = 2;

async fn handle(cx: &RequestContext, request: EndTxnRequest) -> EndTxnResponse {
    let code = end(cx, &request).await.err().unwrap_or(ErrorCode::None);
    EndTxnResponse::default().with_error_code(code as i16)
}

async fn end(cx: &RequestContext, request: &EndTxnRequest) -> Result<(), ErrorCode> {
    let id = &request.transactional_id;
    if !cx.authorize(Operation::Write, ResourceType::TransactionalId, id) {
        return Err(ErrorCode::TransactionalIdAuthorizationFailed);
    }
    let request = EndRequest {
        transactional_id: shared(id),
        producer: Producer {
            id: ProducerId(request.producer_id.0),
            epoch: ProducerEpoch(request.producer_epoch),
        },
        result: if request.committed {
            TransactionResult::Commit
        } else {
            TransactionResult::Abort
        },
    };
    let answer = cx.broker.transactions.end_transaction(&request).await;
    answer.map_err(|error| error_code::of_transaction_for(error, cx.version() >= KNOWS_FENCED))
}
