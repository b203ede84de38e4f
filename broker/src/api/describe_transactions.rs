//! DescribeTransactions (key 65, version 0): what the coordinator knows of transactional ids (KIP-664).

use broker_wire::ErrorCode;
use coordinator::transaction::TransactionDescription;
use kafka_protocol::messages::describe_transactions_response::{TopicData, TransactionState};
use kafka_protocol::messages::{
    DescribeTransactionsRequest, DescribeTransactionsResponse, ProducerId as WireProducerId, TopicName,
};

use super::text::wire;
use super::{Api, RequestContext, api, error_code};
use crate::security::{Operation, ResourceType};

pub(super) const API: Api = api!(DescribeTransactions, 0..=0, handle);

async fn handle(cx: &RequestContext, request: DescribeTransactionsRequest) -> DescribeTransactionsResponse {
    let states = request.transactional_ids.iter().map(|id| {
        let answer = TransactionState::default().with_transactional_id(id.clone());
        if !cx.authorize(Operation::Describe, ResourceType::TransactionalId, id) {
            return answer.with_error_code(ErrorCode::TransactionalIdAuthorizationFailed as i16);
        }
        match cx.broker.transactions.describe(id) {
            Ok(description) => {
                let may_see = |topic: &str| cx.authorize(Operation::Describe, ResourceType::Topic, topic);
                describe(answer, &description, may_see)
            }
            Err(error) => answer.with_error_code(error_code::of_transaction(error) as i16),
        }
    });
    DescribeTransactionsResponse::default().with_transaction_states(states.collect())
}

/// Only the topics that the client may see.
fn describe(
    answer: TransactionState,
    description: &TransactionDescription,
    may_see: impl Fn(&str) -> bool,
) -> TransactionState {
    let mut topics: Vec<TopicData> = Vec::new();
    for partition in &description.partitions {
        // In order: those of a topic come together.
        match topics.last_mut() {
            Some(last) if *last.topic.0 == *partition.topic => last.partitions.push(partition.partition),
            _ => topics.push(
                TopicData::default()
                    .with_topic(TopicName(wire(&partition.topic)))
                    .with_partitions(vec![partition.partition]),
            ),
        }
    }
    topics.retain(|topic| may_see(&topic.topic));
    answer
        .with_producer_id(WireProducerId(description.producer.id.0))
        .with_producer_epoch(description.producer.epoch.0)
        .with_transaction_state(wire(description.state.name()))
        .with_transaction_timeout_ms(description.timeout_ms)
        .with_transaction_start_time_ms(description.start_time.0)
        .with_topics(topics)
}
