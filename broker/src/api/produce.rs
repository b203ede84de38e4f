//! Produce (key 0): appends batches to the logs of partitions that are led here.
//!
//! The records stay slices of the frame that they came in; the log writes them from there. acks=all waits on the high
//! watermark of each partition, without polling. With acks=0 there is no answer, and an error closes the connection,
//! which is the only way for such a client to learn that its metadata is old.

use std::sync::Arc;
use std::time::{Duration, Instant};

use broker_log::append::{self, Origin};
use broker_log::batch::{Entries, Entry};
use broker_log::{AppendError, Appended};
use broker_wire::ErrorCode;
use kafka_protocol::messages::produce_request::PartitionProduceData;
use kafka_protocol::messages::produce_response::{
    BatchIndexAndErrorMessage, LeaderIdAndEpoch, NodeEndpoint, PartitionProduceResponse, TopicProduceResponse,
};
use kafka_protocol::messages::{ProduceRequest, ProduceResponse, TransactionalId};
use kafka_protocol::protocol::StrBytes;
use model::{Millis, Offset, TopicPartition, is_internal_topic};
use smallvec::SmallVec;
use tracing::info;

use super::leader_hint::leader_hint;
use super::{Api, RequestContext, api, error_code, throttle};
use crate::clock;
use crate::delayed::Waiter;
use crate::metadata::MetadataImage;
use crate::net::Reply;
use crate::partition::{Partition, PartitionError, Required};
use crate::security::{Operation, ResourceType};

pub(super) const API: Api = api!(Produce, 0..=11, replies handle);

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
    {
        let names = request.topic_data.iter().map(|topic| topic.name.as_str());
        let authorized = cx.authorized(Operation::Write, ResourceType::Topic, names);
        let image = cx.broker.metadata.image();
        for topic in &request.topic_data {
            let may = authorized.contains(&topic.name);
            for data in &topic.partition_data {
                if !may {
                    outcomes.push(Outcome::Code(ErrorCode::TopicAuthorizationFailed));
                    continue;
                }
                outcomes.push(append(cx, &image, &request, &topic.name, data, now));
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
    // Without an id the whole request was looked through, and refused, before.
    if request.transactional_id.is_some() && is_transactional(data) {
        // No transaction is open: this broker does not coordinate any yet.
        return Outcome::Code(ErrorCode::InvalidTxnState);
    }
    let partitions = &cx.broker.partitions;
    let partition = match partitions.get(topic, index, || true) {
        Ok(partition) => partition,
        Err(refusal) => return Outcome::Refused(refusal),
    };
    let origin = Origin::Client {
        api_version: cx.version(),
    };
    match partition.append(
        data.records.clone().unwrap_or_default(),
        request.acks,
        origin,
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
    let first = data.records.as_ref().and_then(|records| Entries::new(records).next());
    matches!(first, Some(Ok(Entry::Batch(batch))) if batch.is_transactional())
}

/// Waits until every append is replicated, or the request's time is over.
async fn replicate(outcomes: &mut [Outcome], timeout: Duration) {
    let deadline = Instant::now() + timeout;
    loop {
        let waiting = pending(outcomes);
        if waiting.is_empty() {
            break;
        }
        let waiter = Waiter::new(i64::try_from(waiting.len()).unwrap_or(i64::MAX));
        let _places: Vec<_> = waiting
            .iter()
            .map(|(partition, required)| partition.produces().join_from(&waiter, required.offset.0))
            .collect();
        // What was replicated before its place was taken told nobody: begin again without it.
        if pending(outcomes).len() < waiting.len() {
            continue;
        }
        if !waiter.wait(deadline.saturating_duration_since(Instant::now())).await {
            break;
        }
    }
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
            Outcome::Code(code) => Some(format!("{name}: {code}")),
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
            answer.base_offset = appended.first_offset.0;
            answer.log_append_time_ms = appended.log_append_time.0;
            answer.log_start_offset = appended.log_start_offset.0;
        }
        Outcome::Code(code) => answer.error_code = *code as i16,
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
