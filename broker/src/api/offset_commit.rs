//! OffsetCommit (key 8, versions 0–9): how far a group has read. Version 0 writes to ZooKeeper, the others to the group.

use std::collections::HashMap;

use broker_wire::ErrorCode;
use coordinator::group::{CommitRequest, CommittedOffset};
use kafka_protocol::messages::offset_commit_request::OffsetCommitRequestPartition;
use kafka_protocol::messages::offset_commit_response::{OffsetCommitResponsePartition, OffsetCommitResponseTopic};
use kafka_protocol::messages::{OffsetCommitRequest, OffsetCommitResponse};
use model::{LeaderEpoch, Millis, Offset, TopicPartition};
use tracing::warn;

use super::text::{shared, shared_option};
use super::{Api, RequestContext, api, error_code};
use crate::clock;
use crate::security::{Authorized, Operation, ResourceType};
use crate::zookeeper::consumer_offsets;

pub(super) const API: Api = api!(OffsetCommit, 0..=9, handle);

/// "Now" in a version 1 request, and "as the broker is configured" for a retention.
const DEFAULT: i64 = -1;

async fn handle(cx: &RequestContext, request: OffsetCommitRequest) -> OffsetCommitResponse {
    if !cx.authorize(Operation::Read, ResourceType::Group, &request.group_id) {
        return response(&request, |_, _| ErrorCode::GroupAuthorizationFailed);
    }
    let topics = request.topics.iter().map(|topic| topic.name.as_str());
    let authorized = cx.authorized(Operation::Read, ResourceType::Topic, topics);
    let offsets = known_offsets(cx, &request, &authorized, clock::now());
    let answers: HashMap<TopicPartition, ErrorCode> = if offsets.is_empty() {
        HashMap::new()
    } else if cx.version() == 0 {
        commit_to_zookeeper(cx, &request.group_id, offsets).await
    } else {
        let commit = CommitRequest {
            group_id: shared(&request.group_id),
            generation_id: request.generation_id_or_member_epoch,
            member_id: shared(&request.member_id),
            group_instance_id: shared_option(request.group_instance_id.as_ref()),
            offsets,
        };
        let answers = cx.broker.groups.commit(commit).await.into_iter();
        answers
            .map(|(partition, error)| (partition, error.map_or(ErrorCode::None, error_code::of_group)))
            .collect()
    };
    response(&request, |topic, index| match authorized.contains(topic) {
        false => ErrorCode::TopicAuthorizationFailed,
        true => {
            let answer = answers.get(&TopicPartition::new(topic, index));
            answer.copied().unwrap_or(ErrorCode::UnknownTopicOrPartition)
        }
    })
}

/// The offsets of partitions that exist, and whose topics the client may read.
fn known_offsets(
    cx: &RequestContext,
    request: &OffsetCommitRequest,
    authorized: &Authorized<'_>,
    now: Millis,
) -> Vec<(TopicPartition, CommittedOffset)> {
    let image = cx.broker.metadata.image();
    let expire_timestamp = (request.retention_time_ms != DEFAULT).then(|| now + Millis(request.retention_time_ms));
    let mut offsets = Vec::new();
    for topic in request.topics.iter().filter(|topic| authorized.contains(&topic.name)) {
        let name = shared(&topic.name);
        for partition in &topic.partitions {
            if image.partition(&name, partition.partition_index).is_some() {
                let key = TopicPartition::new(name.clone(), partition.partition_index);
                offsets.push((key, committed(partition, now, expire_timestamp)));
            }
        }
    }
    offsets
}

fn committed(
    partition: &OffsetCommitRequestPartition,
    now: Millis,
    expire_timestamp: Option<Millis>,
) -> CommittedOffset {
    CommittedOffset {
        offset: Offset(partition.committed_offset),
        leader_epoch: LeaderEpoch(partition.committed_leader_epoch),
        metadata: partition.committed_metadata.as_ref().map_or_else(|| "".into(), shared),
        commit_timestamp: if partition.commit_timestamp == DEFAULT {
            now
        } else {
            Millis(partition.commit_timestamp)
        },
        expire_timestamp,
    }
}

async fn commit_to_zookeeper(
    cx: &RequestContext,
    group_id: &str,
    offsets: Vec<(TopicPartition, CommittedOffset)>,
) -> HashMap<TopicPartition, ErrorCode> {
    let max_bytes = usize::try_from(cx.broker.config.load().offset_metadata_max_bytes).unwrap_or(0);
    let mut answers = HashMap::with_capacity(offsets.len());
    for (partition, committed) in offsets {
        let code = if committed.metadata.encode_utf16().count() > max_bytes {
            ErrorCode::OffsetMetadataTooLarge
        } else {
            let TopicPartition {
                topic,
                partition: index,
            } = &partition;
            match consumer_offsets::commit(&cx.broker.store, group_id, topic, *index, committed.offset).await {
                Ok(()) => ErrorCode::None,
                Err(cause) => {
                    warn!(group = group_id, %partition, %cause, "offset not written to ZooKeeper");
                    cause.code()
                }
            }
        };
        answers.insert(partition, code);
    }
    answers
}

fn response(request: &OffsetCommitRequest, answer: impl Fn(&str, i32) -> ErrorCode) -> OffsetCommitResponse {
    let topics = request.topics.iter().map(|topic| {
        let partitions = topic.partitions.iter().map(|asked| {
            let index = asked.partition_index;
            OffsetCommitResponsePartition::default()
                .with_partition_index(index)
                .with_error_code(answer(&topic.name, index) as i16)
        });
        let partitions = partitions.collect();
        OffsetCommitResponseTopic::default()
            .with_name(topic.name.clone())
            .with_partitions(partitions)
    });
    OffsetCommitResponse::default().with_topics(topics.collect())
}
