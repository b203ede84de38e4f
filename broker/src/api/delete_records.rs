//! DeleteRecords (key 21, versions 0–2): raises the log start offset of partitions, on all of their live replicas.

use std::sync::Arc;
use std::time::{Duration, Instant};

use broker_wire::ErrorCode;
use kafka_protocol::messages::delete_records_response::{DeleteRecordsPartitionResult, DeleteRecordsTopicResult};
use kafka_protocol::messages::{DeleteRecordsRequest, DeleteRecordsResponse};
use model::{LeaderEpoch, Offset, is_internal_topic};

use super::{Api, RequestContext, api, error_code};
use crate::blocking;
use crate::delayed::Waiter;
use crate::partition::Partition;
use crate::security::{Operation, ResourceType};

pub(super) const API: Api = api!(DeleteRecords, 0..=2, handle);

/// A follower that dies tells nothing: how often a request that waits for the others looks who is still alive.
const LOOK_AGAIN: Duration = Duration::from_millis(1000);

/// What became of one partition.
enum Outcome {
    Refused(ErrorCode),
    Deleted { partition: Arc<Partition>, to: Offset },
}

async fn handle(cx: &RequestContext, request: DeleteRecordsRequest) -> DeleteRecordsResponse {
    let deadline = Instant::now() + Duration::from_millis(u64::try_from(request.timeout_ms).unwrap_or(0));
    let names = request.topics.iter().map(|topic| topic.name.as_str());
    let authorized = cx.authorized(Operation::Delete, ResourceType::Topic, names);
    let mut topics = Vec::with_capacity(request.topics.len());
    for topic in &request.topics {
        let mut outcomes = Vec::with_capacity(topic.partitions.len());
        for asked in &topic.partitions {
            let outcome = match authorized.contains(&topic.name) {
                true => delete(cx, &topic.name, asked.partition_index, Offset(asked.offset)).await,
                false => Outcome::Refused(ErrorCode::TopicAuthorizationFailed),
            };
            outcomes.push((asked.partition_index, outcome));
        }
        topics.push((topic.name.clone(), outcomes));
    }
    let mut answers = Vec::with_capacity(topics.len());
    for (name, outcomes) in topics {
        let mut results = Vec::with_capacity(outcomes.len());
        for (index, outcome) in outcomes {
            let (code, low_watermark) = match outcome {
                Outcome::Refused(code) => (code, Offset(-1)),
                Outcome::Deleted { partition, to } => everywhere(cx, &partition, to, deadline).await,
            };
            results.push(
                DeleteRecordsPartitionResult::default()
                    .with_partition_index(index)
                    .with_error_code(code as i16)
                    .with_low_watermark(low_watermark.0),
            );
        }
        answers.push(
            DeleteRecordsTopicResult::default()
                .with_name(name)
                .with_partitions(results),
        );
    }
    DeleteRecordsResponse::default().with_topics(answers)
}

async fn delete(cx: &RequestContext, topic: &str, index: i32, to: Offset) -> Outcome {
    if cx.broker.metadata.image().partition(topic, index).is_none() {
        return Outcome::Refused(ErrorCode::UnknownTopicOrPartition);
    }
    if is_internal_topic(topic) {
        return Outcome::Refused(ErrorCode::InvalidTopicException);
    }
    let partition = match cx.broker.partitions.get(topic, index, || true) {
        Ok(partition) => partition,
        Err(refusal) => return Outcome::Refused(error_code::of_partition(&refusal)),
    };
    let log = match partition.leader_log(LeaderEpoch::NONE) {
        Ok(log) => log,
        Err(refusal) => return Outcome::Refused(error_code::of_partition(&refusal)),
    };
    if !log.config().delete {
        return Outcome::Refused(ErrorCode::PolicyViolation);
    }
    // −1 stands for the high watermark (Kafka `DeleteRecordsRequest.HIGH_WATERMARK`).
    let to = if to == Offset(-1) { log.high_watermark() } else { to };
    if to < Offset(0) || to > log.high_watermark() {
        return Outcome::Refused(ErrorCode::OffsetOutOfRange);
    }
    match blocking::run(move || log.delete_records_before(to)).await {
        Ok(_start) => Outcome::Deleted { partition, to },
        Err(refusal) => Outcome::Refused(error_code::of_read(&refusal)),
    }
}

/// Waits until all live replicas have dropped the records, which their fetches tell.
async fn everywhere(cx: &RequestContext, partition: &Partition, to: Offset, deadline: Instant) -> (ErrorCode, Offset) {
    loop {
        let alive = |id| cx.broker.metadata.image().brokers.contains_key(&id);
        match partition.low_watermark(alive) {
            None => return (ErrorCode::NotLeaderOrFollower, Offset(-1)),
            Some(low_watermark) if low_watermark >= to => return (ErrorCode::None, low_watermark),
            Some(low_watermark) if Instant::now() >= deadline => return (ErrorCode::RequestTimedOut, low_watermark),
            Some(_) => {
                let waiter = Waiter::new(1);
                let _place = partition.deletes().join(&waiter);
                // What a follower told before the place was taken woke nobody.
                if partition.low_watermark(alive).is_none_or(|it| it >= to) {
                    continue;
                }
                let left = deadline.saturating_duration_since(Instant::now());
                waiter.wait(left.min(LOOK_AGAIN)).await;
            }
        }
    }
}
