//! ListOffsets (key 2): the first, the last, or the first offset at or after a timestamp.

use std::collections::HashSet;
use std::sync::Arc;

use broker_wire::ErrorCode;
use kafka_protocol::messages::list_offsets_request::ListOffsetsPartition;
use kafka_protocol::messages::list_offsets_response::{ListOffsetsPartitionResponse, ListOffsetsTopicResponse};
use kafka_protocol::messages::{ListOffsetsRequest, ListOffsetsResponse};
use model::{LeaderEpoch, Millis, Offset};

use super::{Api, RequestContext, api, error_code};
use crate::partition::{Isolation, Partition, PartitionError};
use crate::security::{Operation, ResourceType};
use crate::{blocking, clock};

pub(super) const API: Api = api!(ListOffsets, 0..=9, handle);

const LATEST: i64 = -1;
const EARLIEST: i64 = -2;
const MAX_TIMESTAMP: i64 = -3;
const EARLIEST_LOCAL: i64 = -4;
const LATEST_TIERED: i64 = -5;

const CONSUMER: i32 = -1;
/// Asks a follower as well as the leader. Source: Kafka `ListOffsetsRequest.DEBUGGING_REPLICA_ID`.
const DEBUGGING: i32 = -2;

async fn handle(cx: &RequestContext, request: ListOffsetsRequest) -> ListOffsetsResponse {
    let mut seen = HashSet::new();
    let mut twice = HashSet::new();
    for topic in &request.topics {
        for partition in &topic.partitions {
            if !seen.insert((topic.name.clone(), partition.partition_index)) {
                twice.insert((topic.name.clone(), partition.partition_index));
            }
        }
    }
    let names = request.topics.iter().map(|topic| topic.name.as_str());
    let authorized = cx.authorized(Operation::Describe, ResourceType::Topic, names);
    let mut topics = Vec::with_capacity(request.topics.len());
    for topic in &request.topics {
        let mut answers = Vec::with_capacity(topic.partitions.len());
        for asked in &topic.partitions {
            answers.push(if !authorized.contains(&topic.name) {
                refuse(asked, ErrorCode::TopicAuthorizationFailed)
            } else if cx.version() == 0 {
                answer_old(cx, &request, &topic.name, asked).await
            } else if twice.contains(&(topic.name.clone(), asked.partition_index)) {
                refuse(asked, ErrorCode::InvalidRequest)
            } else {
                answer(cx, &request, &topic.name, asked).await
            });
        }
        topics.push(
            ListOffsetsTopicResponse::default()
                .with_name(topic.name.clone())
                .with_partitions(answers),
        );
    }
    ListOffsetsResponse::default().with_topics(topics)
}

fn refuse(asked: &ListOffsetsPartition, code: ErrorCode) -> ListOffsetsPartitionResponse {
    ListOffsetsPartitionResponse::default()
        .with_partition_index(asked.partition_index)
        .with_error_code(code as i16)
        .with_timestamp(-1)
        .with_offset(-1)
}

/// The first version that knows a special timestamp.
fn first_version(timestamp: i64) -> Option<i16> {
    match timestamp {
        LATEST | EARLIEST => Some(1),
        MAX_TIMESTAMP => Some(7),
        EARLIEST_LOCAL => Some(8),
        LATEST_TIERED => Some(9),
        _ if timestamp >= 0 => Some(1),
        _ => None,
    }
}

async fn answer(
    cx: &RequestContext,
    request: &ListOffsetsRequest,
    topic: &str,
    asked: &ListOffsetsPartition,
) -> ListOffsetsPartitionResponse {
    if first_version(asked.timestamp).is_none_or(|first| cx.version() < first) {
        return refuse(asked, ErrorCode::UnsupportedVersion);
    }
    let isolation = match (request.replica_id.0, request.isolation_level) {
        (CONSUMER, 1) => Isolation::Committed,
        (CONSUMER, _) => Isolation::HighWatermark,
        _ => Isolation::LogEnd,
    };
    let only_leader = request.replica_id.0 != DEBUGGING;
    let known = || {
        cx.broker
            .metadata
            .image()
            .partition(topic, asked.partition_index)
            .is_some()
    };
    let found = match cx.broker.partitions.get(topic, asked.partition_index, known) {
        Ok(partition) => look_up(partition, asked, isolation, only_leader).await,
        Err(refusal) => Err(refusal),
    };
    match found {
        Ok(None) => refuse(asked, ErrorCode::None),
        Ok(Some((timestamp, offset, epoch))) => {
            let mut answer = refuse(asked, ErrorCode::None)
                .with_timestamp(timestamp.0)
                .with_offset(offset.0);
            if cx.version() >= 4 {
                answer.leader_epoch = epoch.0;
            }
            answer
        }
        // Before version 5 clients do not know OFFSET_NOT_AVAILABLE.
        Err(PartitionError::OffsetNotAvailable(_)) if cx.version() < 5 => refuse(asked, ErrorCode::LeaderNotAvailable),
        Err(refusal) => refuse(asked, error_code::of_partition(&refusal)),
    }
}

/// Version 0: several offsets, descending, each the start of a segment or the log's end.
async fn answer_old(
    cx: &RequestContext,
    request: &ListOffsetsRequest,
    topic: &str,
    asked: &ListOffsetsPartition,
) -> ListOffsetsPartitionResponse {
    let old_answer = ListOffsetsPartitionResponse::default().with_partition_index(asked.partition_index);
    if asked.timestamp < EARLIEST {
        return old_answer.with_error_code(ErrorCode::UnsupportedVersion as i16);
    }
    let known = || {
        cx.broker
            .metadata
            .image()
            .partition(topic, asked.partition_index)
            .is_some()
    };
    let found = match cx.broker.partitions.get(topic, asked.partition_index, known) {
        Ok(partition) => bounds(partition, request.replica_id.0 != DEBUGGING).await,
        Err(refusal) => Err(refusal),
    };
    match found {
        Ok((bounds, high_watermark)) => {
            let limit = (request.replica_id.0 == CONSUMER).then_some(high_watermark);
            let most = usize::try_from(asked.max_num_offsets).unwrap_or(0);
            old_answer.with_old_style_offsets(old_offsets(&bounds, Millis(asked.timestamp), most, limit))
        }
        Err(refusal) => old_answer.with_error_code(error_code::of_partition(&refusal) as i16),
    }
}

async fn bounds(
    partition: Arc<Partition>,
    only_leader: bool,
) -> Result<(Vec<(Offset, Millis)>, Offset), PartitionError> {
    let (high_watermark, _) = partition.latest_offset(LeaderEpoch::NONE, Isolation::LogEnd, only_leader)?;
    let Some(log) = partition.log() else {
        return Ok((Vec::new(), high_watermark));
    };
    let high_watermark = log.high_watermark();
    let bounds = blocking::run(move || log.segment_bounds(clock::now())).await?;
    Ok((bounds, high_watermark))
}

/// At most `most` bounds whose time is at or before `timestamp`, descending; a consumer sees none past the high
/// watermark, but the high watermark itself in their place.
fn old_offsets(bounds: &[(Offset, Millis)], timestamp: Millis, most: usize, limit: Option<Offset>) -> Vec<i64> {
    let upto = match timestamp.0 {
        LATEST => bounds.len(),
        EARLIEST => bounds.len().min(1),
        _ => bounds
            .iter()
            .rposition(|(_, modified)| *modified <= timestamp)
            .map_or(0, |last| last + 1),
    };
    let mut offsets: Vec<i64> = bounds[..upto]
        .iter()
        .rev()
        .take(most)
        .map(|(offset, _)| offset.0)
        .collect();
    offsets.sort_unstable_by(|a, b| b.cmp(a));
    if let Some(limit) = limit
        && offsets.iter().any(|offset| *offset > limit.0)
    {
        offsets.retain(|offset| *offset <= limit.0);
        offsets.insert(0, limit.0);
    }
    offsets
}

type Found = Option<(Millis, Offset, LeaderEpoch)>;

async fn look_up(
    partition: Arc<Partition>,
    asked: &ListOffsetsPartition,
    isolation: Isolation,
    only_leader: bool,
) -> Result<Found, PartitionError> {
    let epoch = LeaderEpoch(asked.current_leader_epoch);
    match asked.timestamp {
        LATEST => {
            let (offset, leader_epoch) = partition.latest_offset(epoch, isolation, only_leader)?;
            Ok(Some((Millis::NONE, offset, leader_epoch)))
        }
        EARLIEST | EARLIEST_LOCAL => {
            let (offset, leader_epoch) = partition.earliest_offset(epoch, only_leader)?;
            Ok(Some((Millis::NONE, offset, leader_epoch)))
        }
        LATEST_TIERED => {
            // Nothing is tiered, as in a 3.9 broker without remote storage: −1, at no epoch.
            partition.leader_log(epoch)?;
            Ok(Some((Millis::NONE, Offset(-1), LeaderEpoch::NONE)))
        }
        timestamp => {
            // Reads segments, which may be cold.
            let found = blocking::run(move || {
                if timestamp == MAX_TIMESTAMP {
                    partition.max_timestamp_offset(epoch, isolation, only_leader)
                } else {
                    partition.offset_for_timestamp(Millis(timestamp), epoch, isolation, only_leader)
                }
            })
            .await?;
            Ok(found.map(|found| (found.timestamp, found.offset, found.leader_epoch)))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn version_0_chooses_among_segment_bounds() {
        let bounds = [
            (Offset(0), Millis(100)),
            (Offset(50), Millis(200)),
            (Offset(80), Millis(300)),
        ];
        let check = |name: &str, timestamp: i64, most: usize, limit: Option<i64>, expected: &[i64]| {
            assert_eq!(
                old_offsets(&bounds, Millis(timestamp), most, limit.map(Offset)),
                expected,
                "{name}"
            );
        };
        //    name                         timestamp  most  high watermark  offsets
        check("the end", LATEST, 1, Some(80), &[80]);
        check("all", LATEST, 10, Some(80), &[80, 50, 0]);
        check("the start", EARLIEST, 10, None, &[0]);
        check("before a time", 250, 10, None, &[50, 0]);
        check("before everything", 50, 10, None, &[]);
        check("none wanted", LATEST, 0, None, &[]);
        check("not past the high watermark", LATEST, 10, Some(60), &[60, 50, 0]);
    }
}
