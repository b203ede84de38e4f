//! Produce (key 0): appends batches to the logs of partitions that are led here.
//!
//! The records stay slices of the frame that they came in; the log writes them from there. acks=all waits on the high
//! watermark of each partition, without polling. With acks=0 there is no answer, and an error closes the connection,
//! which is the only way for such a client to learn that its metadata is old.
//!
//! Where a batch begins a transaction in its partition the transaction's coordinator is asked first (KIP-890): its answer is
//! shown to the log as a guard. Whatever is not transactional passes by that.

use std::sync::Arc;
use std::time::Duration;

use broker_log::append::{self, Origin};
use broker_log::batch::{Batch, Entries, Entry};
use broker_log::{AppendError, Appended};
use broker_wire::ErrorCode;
use kafka_protocol::messages::produce_request::PartitionProduceData;
use kafka_protocol::messages::produce_response::{
    BatchIndexAndErrorMessage, LeaderIdAndEpoch, NodeEndpoint, PartitionProduceResponse, TopicProduceResponse,
};
use kafka_protocol::messages::{ProduceRequest, ProduceResponse, TransactionalId};
use kafka_protocol::protocol::StrBytes;
use model::{
    LeaderEpoch, Millis, Offset, ProducerEpoch, ProducerId, TopicPartition, VerificationGuard, is_internal_topic,
};
use smallvec::SmallVec;
use tracing::info;

use super::leader_hint::leader_hint;
use super::{Api, RequestContext, api, error_code, throttle};
use crate::clock;
use crate::metadata::MetadataImage;
use crate::net::Reply;
use crate::partition::{Partition, PartitionError, Required, replicated_all};
use crate::security::{Authorized, Operation, ResourceType};
use crate::verification::Question;

pub(super) const API: Api = api!(Produce, 0..=11, replies handle);

/// From this version on producers know TRANSACTION_ABORTABLE.
const KNOWS_ABORTABLE: i16 = 11;

/// The client id under which Kafka's own tools may write to internal topics. Source: Kafka `AdminUtils`.
const ADMIN_CLIENT_ID: &str = "__admin_client";

/// What became of one partition of the request.
enum Outcome {
    Appended {
        appended: Appended,
        required: Required,
        partition: Arc<Partition>,
    },
    Refused(PartitionError),
    /// The records are not fit to be appended; Kafka then tells the log start offset.
    RefusedByLog {
        refusal: append::AppendError,
        log_start_offset: Offset,
    },
    Code(ErrorCode),
    /// The transaction's coordinator has not said that the partition belongs to it.
    Unverified(ErrorCode),
}

async fn handle(cx: &RequestContext, request: ProduceRequest) -> Reply {
    let now = clock::now();
    let mut outcomes: SmallVec<[Outcome; 4]> = SmallVec::new();
    let all_data = || request.topic_data.iter().flat_map(|topic| &topic.partition_data);
    let in_whose_name = |id: &TransactionalId| cx.authorize(Operation::Write, ResourceType::TransactionalId, id);
    if all_data().any(is_transactional) && !request.transactional_id.as_ref().is_some_and(in_whose_name) {
        // Whoever writes in a transaction says in whose name, and may: else Kafka refuses the whole request.
        outcomes.extend(all_data().map(|_| Outcome::Code(ErrorCode::TransactionalIdAuthorizationFailed)));
        return if request.acks == 0 {
            no_answer(cx, &request, &outcomes)
        } else {
            cx.reply(&response(cx, &request, &outcomes))
        };
    }
    let names = request.topic_data.iter().map(|topic| topic.name.as_str());
    let authorized = cx.authorized(Operation::Write, ResourceType::Topic, names);
    let verified = verify(cx, &request, &authorized, now).await;
    {
        let image = cx.broker.metadata.image();
        for topic in &request.topic_data {
            let may = authorized.contains(&topic.name);
            for data in &topic.partition_data {
                if !may {
                    outcomes.push(Outcome::Code(ErrorCode::TopicAuthorizationFailed));
                    continue;
                }
                let verified = verified.of(outcomes.len());
                outcomes.push(append(cx, &image, &request, &topic.name, data, verified, now));
            }
        }
    }
    if request.acks == -1 {
        let timeout = Duration::from_millis(u64::try_from(request.timeout_ms).unwrap_or(0));
        replicate(&mut outcomes, timeout).await;
    }
    let pause = throttle::produce_pause(cx, request.acks);
    if request.acks == 0 {
        return no_answer(cx, &request, &outcomes).then_pause(throttle::duration(pause));
    }
    let response = response(cx, &request, &outcomes).with_throttle_time_ms(throttle::throttle_time_ms(pause));
    throttle::reply_and_pause(cx, &response, pause)
}

fn append(
    cx: &RequestContext,
    image: &MetadataImage,
    request: &ProduceRequest,
    topic: &str,
    data: &PartitionProduceData,
    verified: Result<VerificationGuard, ErrorCode>,
    now: Millis,
) -> Outcome {
    let index = data.index;
    if image.partition(topic, index).is_none() {
        return Outcome::Code(ErrorCode::UnknownTopicOrPartition);
    }
    if !matches!(request.acks, -1..=1) {
        return Outcome::Code(ErrorCode::InvalidRequiredAcks);
    }
    if is_internal_topic(topic) && cx.client_id() != ADMIN_CLIENT_ID {
        return Outcome::Code(ErrorCode::InvalidTopicException);
    }
    let guard = match verified {
        Ok(guard) => guard,
        Err(code) => return Outcome::Unverified(code),
    };
    let partitions = &cx.broker.partitions;
    let partition = match partitions.get(topic, index, || true) {
        Ok(partition) => partition,
        Err(refusal) => return Outcome::Refused(refusal),
    };
    let origin = Origin::Client {
        api_version: cx.version(),
    };
    match partition.append_verified(
        data.records.clone().unwrap_or_default(),
        request.acks,
        origin,
        guard,
        partitions.settings(),
        now,
    ) {
        Ok((appended, required)) => Outcome::Appended {
            appended,
            required,
            partition,
        },
        Err(PartitionError::Append(AppendError::Refused(refusal))) => Outcome::RefusedByLog {
            refusal,
            log_start_offset: partition.log().map_or(Offset(-1), |log| log.log_start_offset()),
        },
        Err(refusal) => Outcome::Refused(refusal),
    }
}

/// Whether the first batch says that it belongs to a transaction. What it says is checked when it is appended.
fn is_transactional(data: &PartitionProduceData) -> bool {
    transactional_batch(data).is_some()
}

fn transactional_batch(data: &PartitionProduceData) -> Option<Batch<'_>> {
    match Entries::new(data.records.as_ref()?).next() {
        Some(Ok(Entry::Batch(batch))) if batch.is_transactional() => Some(batch),
        _ => None,
    }
}

/// What each partition of the request shows to its log, in their order; empty where nothing had to be verified.
#[derive(Default)]
struct Verified(Vec<Result<VerificationGuard, ErrorCode>>);

impl Verified {
    fn of(&self, at: usize) -> Result<VerificationGuard, ErrorCode> {
        self.0.get(at).copied().unwrap_or(Ok(VerificationGuard::NONE))
    }
}

/// Asks the transaction's coordinator about the partitions in which the request would begin it.
///
/// Source: Kafka 3.9 `ReplicaManager.handleProduceAppend`, `maybeStartTransactionVerificationForPartitions`.
async fn verify(cx: &RequestContext, request: &ProduceRequest, authorized: &Authorized<'_>, now: Millis) -> Verified {
    let Some(transactional_id) = &request.transactional_id else {
        return Verified::default();
    };
    let mut verified = Verified::default();
    let mut producer: Option<(ProducerId, ProducerEpoch)> = None;
    let mut asked = Vec::new();
    let mut partitions = Vec::new();
    let all = request
        .topic_data
        .iter()
        .flat_map(|topic| topic.partition_data.iter().map(|data| (&topic.name, data)));
    let demanded = cx.broker.config.load().transaction_partition_verification_enable;
    for (topic, data) in all {
        verified.0.push(Ok(VerificationGuard::NONE));
        let Some(batch) = transactional_batch(data).filter(|batch| batch.has_producer_id()) else {
            continue;
        };
        if !authorized.contains(topic) {
            continue;
        }
        let this = (batch.producer_id(), batch.producer_epoch());
        if *producer.get_or_insert(this) != this {
            // One transactional id has one producer.
            verified.0.clear();
            let count = request.topic_data.iter().map(|topic| topic.partition_data.len()).sum();
            verified.0.resize(count, Err(ErrorCode::InvalidProducerIdMapping));
            return verified;
        }
        // Where it is not led here the append says so.
        let led = cx.broker.partitions.get(topic, data.index, || true);
        let Ok(log) = led.and_then(|partition| partition.leader_log(LeaderEpoch::NONE)) else {
            continue;
        };
        if !demanded {
            continue;
        }
        let guard = log.begin_verification(this.0, this.1, batch.base_sequence(), now);
        if guard != VerificationGuard::NONE {
            asked.push((verified.0.len() - 1, guard));
            partitions.push(TopicPartition::new(topic.as_str(), data.index));
        }
    }
    let (Some((producer_id, producer_epoch)), false) = (producer, asked.is_empty()) else {
        return verified;
    };
    let question = Question {
        transactional_id: transactional_id.0.clone(),
        producer_id,
        producer_epoch,
        partitions,
        knows_abortable: cx.version() >= KNOWS_ABORTABLE,
    };
    let codes = cx.broker.verification.ask(&cx.broker, question).await;
    for ((at, guard), code) in asked.into_iter().zip(codes) {
        verified.0[at] = match code {
            ErrorCode::None => Ok(guard),
            refusal => Err(refusal),
        };
    }
    verified
}

/// What a producer is told where the coordinator did not verify. Older clients do not know what to do with its errors:
/// NOT_ENOUGH_REPLICAS makes them send again, and not look for another leader.
fn unverified(code: ErrorCode) -> (ErrorCode, Option<String>) {
    match code {
        ErrorCode::InvalidTxnState => (code, Some("Partition was not added to the transaction".to_owned())),
        ErrorCode::ConcurrentTransactions
        | ErrorCode::NetworkException
        | ErrorCode::CoordinatorLoadInProgress
        | ErrorCode::CoordinatorNotAvailable
        | ErrorCode::NotCoordinator => (
            ErrorCode::NotEnoughReplicas,
            Some(format!(
                "Unable to verify the partition has been added to the transaction. Underlying error: {code}"
            )),
        ),
        other => (other, None),
    }
}

/// Waits until every append is replicated, or the request's time is over.
async fn replicate(outcomes: &mut [Outcome], timeout: Duration) {
    replicated_all(&pending(outcomes), timeout).await;
    for outcome in outcomes {
        if let Outcome::Appended {
            required, partition, ..
        } = outcome
        {
            match partition.is_replicated(*required) {
                Some(Ok(())) => {}
                Some(Err(refusal)) => *outcome = Outcome::Refused(refusal),
                None => {
                    let name = partition.topic_partition.clone();
                    *outcome = Outcome::Refused(PartitionError::NotReplicatedInTime(name));
                }
            }
        }
    }
}

/// The appends that are not replicated yet.
fn pending(outcomes: &[Outcome]) -> SmallVec<[(Arc<Partition>, Required); 4]> {
    outcomes
        .iter()
        .filter_map(|outcome| match outcome {
            Outcome::Appended {
                required, partition, ..
            } if partition.is_replicated(*required).is_none() => Some((Arc::clone(partition), *required)),
            _ => None,
        })
        .collect()
}

fn no_answer(cx: &RequestContext, request: &ProduceRequest, outcomes: &[Outcome]) -> Reply {
    let failed: Vec<String> = names(request)
        .zip(outcomes)
        .filter_map(|(name, outcome)| match outcome {
            Outcome::Appended { .. } => None,
            Outcome::Refused(refusal) => Some(format!("{name}: {refusal}")),
            Outcome::RefusedByLog { refusal, .. } => Some(format!("{name}: {refusal}")),
            Outcome::Code(code) | Outcome::Unverified(code) => Some(format!("{name}: {code}")),
        })
        .collect();
    if failed.is_empty() {
        return Reply::Nothing;
    }
    info!(
        client_id = cx.client_id(),
        errors = failed.join(", "),
        "closing a connection: a produce with acks=0 failed"
    );
    Reply::Close("a produce request with acks=0 failed, and has no other answer".to_owned())
}

fn names(request: &ProduceRequest) -> impl Iterator<Item = TopicPartition> + '_ {
    request.topic_data.iter().flat_map(|topic| {
        topic
            .partition_data
            .iter()
            .map(|data| TopicPartition::new(topic.name.as_str(), data.index))
    })
}

fn response(cx: &RequestContext, request: &ProduceRequest, outcomes: &[Outcome]) -> ProduceResponse {
    let mut response = ProduceResponse::default();
    response.responses.reserve_exact(request.topic_data.len());
    let mut left = outcomes.iter();
    for topic in &request.topic_data {
        let mut answers = Vec::with_capacity(topic.partition_data.len());
        for (data, outcome) in topic.partition_data.iter().zip(&mut left) {
            let mut answer = partition_response(data.index, outcome, cx.version());
            if cx.version() >= 10 && answer.error_code == ErrorCode::NotLeaderOrFollower as i16 {
                name_leader(cx, &topic.name, &mut answer, &mut response.node_endpoints);
            }
            answers.push(answer);
        }
        response.responses.push(
            TopicProduceResponse::default()
                .with_name(topic.name.clone())
                .with_partition_responses(answers),
        );
    }
    response
}

fn partition_response(index: i32, outcome: &Outcome, version: i16) -> PartitionProduceResponse {
    let mut answer = PartitionProduceResponse::default();
    answer.index = index;
    answer.base_offset = -1;
    answer.log_append_time_ms = -1;
    answer.log_start_offset = -1;
    match outcome {
        Outcome::Appended { appended, .. } => {
            answer.base_offset = match appended.is_empty() {
                true => -1,
                false => appended.first_offset.0,
            };
            answer.log_append_time_ms = appended.log_append_time.0;
            answer.log_start_offset = appended.log_start_offset.0;
        }
        Outcome::Code(code) => answer.error_code = *code as i16,
        Outcome::Unverified(code) => {
            let (code, message) = unverified(*code);
            answer.error_code = code as i16;
            if version >= 8 {
                answer.error_message = message.map(StrBytes::from_string);
            }
        }
        Outcome::RefusedByLog {
            refusal,
            log_start_offset,
        } => {
            answer.error_code = error_code::of_refusal(refusal) as i16;
            if refusal.knows_log_start_offset() {
                answer.log_start_offset = log_start_offset.0;
            }
            if version >= 8 {
                answer.error_message = refusal.message().map(StrBytes::from_string);
                answer.record_errors = record_errors(refusal);
            }
        }
        Outcome::Refused(refusal) => answer.error_code = error_code::of_partition(refusal) as i16,
    }
    answer
}

fn record_errors(refusal: &append::AppendError) -> Vec<BatchIndexAndErrorMessage> {
    let error = |error: &append::RecordRefusal| {
        BatchIndexAndErrorMessage::default()
            .with_batch_index(error.batch_index)
            .with_batch_index_error_message(Some(StrBytes::from_string(error.message.clone())))
    };
    refusal.record_errors().iter().map(error).collect()
}

/// Tells the client where the leader is now, so that it need not ask (KIP-951).
fn name_leader(
    cx: &RequestContext,
    topic: &str,
    answer: &mut PartitionProduceResponse,
    endpoints: &mut Vec<NodeEndpoint>,
) {
    let Some(hint) = leader_hint(cx, topic, answer.index) else {
        return;
    };
    answer.current_leader = LeaderIdAndEpoch::default()
        .with_leader_id(hint.leader)
        .with_leader_epoch(hint.leader_epoch);
    if let Some(node) = hint.node
        && !endpoints.iter().any(|known| known.node_id == hint.leader)
    {
        endpoints.push(
            NodeEndpoint::default()
                .with_node_id(hint.leader)
                .with_host(node.host)
                .with_port(node.port)
                .with_rack(node.rack),
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_coordinator_that_cannot_answer_makes_producers_send_again() {
        let check = |answer: ErrorCode, told: ErrorCode, explained: bool| {
            let (code, message) = unverified(answer);
            assert_eq!((code, message.is_some()), (told, explained), "{answer}");
        };
        //    the coordinator's answer               the producer's                        with a message
        check(ErrorCode::InvalidTxnState, ErrorCode::InvalidTxnState, true);
        check(ErrorCode::ConcurrentTransactions, ErrorCode::NotEnoughReplicas, true);
        check(ErrorCode::NetworkException, ErrorCode::NotEnoughReplicas, true);
        check(ErrorCode::CoordinatorLoadInProgress, ErrorCode::NotEnoughReplicas, true);
        check(ErrorCode::CoordinatorNotAvailable, ErrorCode::NotEnoughReplicas, true);
        check(ErrorCode::NotCoordinator, ErrorCode::NotEnoughReplicas, true);
        check(ErrorCode::TransactionAbortable, ErrorCode::TransactionAbortable, false);
        check(ErrorCode::InvalidProducerEpoch, ErrorCode::InvalidProducerEpoch, false);
    }
}
