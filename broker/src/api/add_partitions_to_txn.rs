//! AddPartitionsToTxn (key 24, versions 0–5): partitions become part of a transaction, before anything is written there.
//!
//! Up to version 3 a producer asks, for one transaction; from version 4 on brokers ask, for many, and may only want to know
//! whether the partitions are part of it (KIP-890). A transaction of which one partition is refused is not changed at all.

use std::collections::BTreeSet;
use std::sync::Arc;

use broker_wire::ErrorCode;
use coordinator::transaction::{AddPartitionsRequest, Producer};
use futures::future::join_all;
use kafka_protocol::messages::add_partitions_to_txn_request::{AddPartitionsToTxnTopic, AddPartitionsToTxnTransaction};
use kafka_protocol::messages::add_partitions_to_txn_response::{
    AddPartitionsToTxnPartitionResult, AddPartitionsToTxnResult, AddPartitionsToTxnTopicResult,
};
use kafka_protocol::messages::{AddPartitionsToTxnRequest, AddPartitionsToTxnResponse};
use model::{ProducerEpoch, ProducerId, TopicPartition, is_internal_topic};

use super::text::shared;
use super::{Api, RequestContext, api, error_code};
use crate::security::{Operation, ResourceType};

pub(super) const API: Api = api!(AddPartitionsToTxn, 0..=5, handle);

/// The first version of brokers.
const BETWEEN_BROKERS: i16 = 4;
/// The first version whose clients know PRODUCER_FENCED.
const KNOWS_FENCED: i16 = 2;

async fn handle(cx: &RequestContext, request: AddPartitionsToTxnRequest) -> AddPartitionsToTxnResponse {
    if cx.version() < BETWEEN_BROKERS {
        let transaction = AddPartitionsToTxnTransaction::default()
            .with_transactional_id(request.v3_and_below_transactional_id)
            .with_producer_id(request.v3_and_below_producer_id)
            .with_producer_epoch(request.v3_and_below_producer_epoch)
            .with_topics(request.v3_and_below_topics);
        let results = for_client(cx, &transaction).await;
        return AddPartitionsToTxnResponse::default().with_results_by_topic_v3_and_below(results);
    }
    if !cx.authorize_cluster(Operation::ClusterAction) {
        let code = ErrorCode::ClusterAuthorizationFailed;
        return AddPartitionsToTxnResponse::default().with_error_code(code as i16);
    }
    let answers = join_all(
        request
            .transactions
            .iter()
            .map(|transaction| for_broker(cx, transaction)),
    )
    .await;
    AddPartitionsToTxnResponse::default().with_results_by_transaction(answers)
}

async fn for_client(
    cx: &RequestContext,
    transaction: &AddPartitionsToTxnTransaction,
) -> Vec<AddPartitionsToTxnTopicResult> {
    let id = &transaction.transactional_id;
    if !cx.authorize(Operation::Write, ResourceType::TransactionalId, id) {
        return results(&transaction.topics, |_, _| {
            ErrorCode::TransactionalIdAuthorizationFailed
        });
    }
    let names = transaction.topics.iter().map(|topic| topic.name.as_str());
    let names = names.filter(|name| !is_internal_topic(name));
    let authorized = cx.authorized(Operation::Write, ResourceType::Topic, names);
    let may = |name: &str| !is_internal_topic(name) && authorized.contains(name);
    match refused(cx, &transaction.topics, may) {
        Some(refused) => refused,
        None => add(cx, transaction).await,
    }
}

async fn for_broker(cx: &RequestContext, transaction: &AddPartitionsToTxnTransaction) -> AddPartitionsToTxnResult {
    let results = match refused(cx, &transaction.topics, |_| true) {
        Some(refused) => refused,
        None if transaction.verify_only => verify(cx, transaction),
        None => add(cx, transaction).await,
    };
    AddPartitionsToTxnResult::default()
        .with_transactional_id(transaction.transactional_id.clone())
        .with_topic_results(results)
}

/// The answer to all partitions if one of them cannot be part of a transaction of this client.
fn refused(
    cx: &RequestContext,
    topics: &[AddPartitionsToTxnTopic],
    may: impl Fn(&str) -> bool,
) -> Option<Vec<AddPartitionsToTxnTopicResult>> {
    let image = cx.broker.metadata.image();
    let mut is_refused = false;
    let results = results(topics, |topic, partition| {
        if !may(topic) {
            is_refused = true;
            ErrorCode::TopicAuthorizationFailed
        } else if image.partition(topic, partition).is_none() {
            is_refused = true;
            ErrorCode::UnknownTopicOrPartition
        } else {
            ErrorCode::OperationNotAttempted
        }
    });
    is_refused.then_some(results)
}

async fn add(cx: &RequestContext, transaction: &AddPartitionsToTxnTransaction) -> Vec<AddPartitionsToTxnTopicResult> {
    let answer = cx.broker.transactions.add_partitions(request_of(transaction)).await;
    let knows_fenced = cx.version() >= KNOWS_FENCED;
    let refusal = |error| error_code::of_transaction_for(error, knows_fenced);
    let code = answer.map_err(refusal).err().unwrap_or(ErrorCode::None);
    results(&transaction.topics, |_, _| code)
}

fn verify(cx: &RequestContext, transaction: &AddPartitionsToTxnTransaction) -> Vec<AddPartitionsToTxnTopicResult> {
    let request = request_of(transaction);
    let answer = cx.broker.transactions.verify(&request);
    results(&transaction.topics, |topic, partition| match &answer {
        Err(error) => error_code::of_transaction(*error),
        Ok(each) => {
            // In the order of the request's set.
            let found = each.binary_search_by(|(at, _)| (&*at.topic, at.partition).cmp(&(topic, partition)));
            let verified = found.ok().and_then(|at| each.get(at)).map(|(_, verified)| *verified);
            match verified {
                Some(Ok(())) => ErrorCode::None,
                Some(Err(error)) => error_code::of_transaction(error),
                // Everything that is asked is answered.
                None => ErrorCode::UnknownServerError,
            }
        }
    })
}

fn request_of(transaction: &AddPartitionsToTxnTransaction) -> AddPartitionsRequest {
    let mut partitions = BTreeSet::new();
    for topic in &transaction.topics {
        let name = shared(&topic.name);
        let of_topic = topic.partitions.iter();
        partitions.extend(of_topic.map(|partition| TopicPartition::new(Arc::clone(&name), *partition)));
    }
    AddPartitionsRequest {
        transactional_id: shared(&transaction.transactional_id),
        producer: Producer {
            id: ProducerId(transaction.producer_id.0),
            epoch: ProducerEpoch(transaction.producer_epoch),
        },
        partitions,
    }
}

fn results(
    topics: &[AddPartitionsToTxnTopic],
    mut code: impl FnMut(&str, i32) -> ErrorCode,
) -> Vec<AddPartitionsToTxnTopicResult> {
    let of_topic = |topic: &AddPartitionsToTxnTopic| {
        let of_partition = |partition: &i32| {
            AddPartitionsToTxnPartitionResult::default()
                .with_partition_index(*partition)
                .with_partition_error_code(code(&topic.name, *partition) as i16)
        };
        AddPartitionsToTxnTopicResult::default()
            .with_name(topic.name.clone())
            .with_results_by_partition(topic.partitions.iter().map(of_partition).collect())
    };
    topics.iter().map(of_topic).collect()
}
