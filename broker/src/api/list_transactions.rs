//! ListTransactions (key 66, versions 0–1): the transactional ids coordinated here, by state, producer and age.

use std::collections::BTreeSet;

use broker_wire::ErrorCode;
use coordinator::transaction::{ListFilter, TransactionState};
use kafka_protocol::messages::list_transactions_response::TransactionState as Listed;
use kafka_protocol::messages::{
    ListTransactionsRequest, ListTransactionsResponse, ProducerId as WireProducerId, TransactionalId,
};
use model::{Millis, ProducerId};

use super::text::wire;
use super::{Api, RequestContext, api, error_code};
use crate::security::{Operation, ResourceType};

pub(super) const API: Api = api!(ListTransactions, 0..=1, handle);

async fn handle(cx: &RequestContext, request: ListTransactionsRequest) -> ListTransactionsResponse {
    let listed = match cx.broker.transactions.list(&filter(&request)) {
        Ok(listed) => listed,
        Err(error) => {
            let code = error_code::of_transaction(error);
            return ListTransactionsResponse::default().with_error_code(code as i16);
        }
    };
    let may_see = |id: &str| cx.authorize(Operation::Describe, ResourceType::TransactionalId, id);
    let states = listed.iter().filter(|it| may_see(&it.transactional_id)).map(|it| {
        Listed::default()
            .with_transactional_id(TransactionalId(wire(&it.transactional_id)))
            .with_producer_id(WireProducerId(it.producer_id.0))
            .with_transaction_state(wire(it.state.name()))
    });
    let unknown = request
        .state_filters
        .iter()
        .filter(|name| TransactionState::from_name(name).is_none());
    ListTransactionsResponse::default()
        .with_error_code(ErrorCode::None as i16)
        .with_unknown_state_filters(unknown.cloned().collect())
        .with_transaction_states(states.collect())
}

fn filter(request: &ListTransactionsRequest) -> ListFilter {
    let producer_ids: BTreeSet<_> = request.producer_id_filters.iter().map(|id| ProducerId(id.0)).collect();
    let known = request
        .state_filters
        .iter()
        .filter_map(|name| TransactionState::from_name(name));
    ListFilter {
        producer_ids,
        states: (!request.state_filters.is_empty()).then(|| known.collect()),
        duration: (request.duration_filter >= 0).then_some(Millis(request.duration_filter)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_nobody_knows_do_not_let_everything_pass() {
        let check = |states: &[&str], ids: &[i64], duration: i64, expected: ListFilter| {
            let request = ListTransactionsRequest::default()
                .with_state_filters(states.iter().map(|name| wire(name)).collect())
                .with_producer_id_filters(ids.iter().map(|id| WireProducerId(*id)).collect())
                .with_duration_filter(duration);
            assert_eq!(filter(&request), expected, "{states:?} {ids:?} {duration}");
        };
        let of = |states: Option<&[TransactionState]>, ids: &[i64], duration: Option<i64>| ListFilter {
            producer_ids: ids.iter().map(|id| ProducerId(*id)).collect(),
            states: states.map(|states| states.iter().copied().collect()),
            duration: duration.map(Millis),
        };
        check(&[], &[], -1, of(None, &[], None));
        check(
            &["Ongoing", "ongoing"],
            &[],
            -1,
            of(Some(&[TransactionState::Ongoing]), &[], None),
        );
        check(&["nonsense"], &[7], 0, of(Some(&[]), &[7], Some(0)));
    }
}
