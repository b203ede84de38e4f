//! OffsetForLeaderEpoch (key 23, versions 0–4): where the records of a leader epoch end (KIP-101, KIP-320).

use broker_wire::ErrorCode;
use kafka_protocol::messages::offset_for_leader_epoch_request::OffsetForLeaderPartition;
use kafka_protocol::messages::offset_for_leader_epoch_response::{EpochEndOffset, OffsetForLeaderTopicResult};
use kafka_protocol::messages::{OffsetForLeaderEpochRequest, OffsetForLeaderEpochResponse};
use model::LeaderEpoch;

use super::{Api, RequestContext, api, error_code};
use crate::security::{Authorized, Operation, ResourceType};

pub(super) const API: Api = api!(OffsetForLeaderEpoch, 0..=4, handle);

async fn handle(cx: &RequestContext, request: OffsetForLeaderEpochRequest) -> OffsetForLeaderEpochResponse {
    // First of all a request of followers; consumers ask, too, since KIP-320.
    let authorized = match cx.authorize_cluster_quietly(Operation::ClusterAction) {
        true => Authorized::All,
        false => {
            let topics = request.topics.iter().map(|topic| topic.topic.as_str());
            cx.authorized(Operation::Describe, ResourceType::Topic, topics)
        }
    };
    let topics = request.topics.iter().map(|topic| {
        let answer = |asked: &OffsetForLeaderPartition| match authorized.contains(&topic.topic) {
            true => answer(cx, &topic.topic, asked),
            false => nothing(asked).with_error_code(ErrorCode::TopicAuthorizationFailed as i16),
        };
        let partitions = topic.partitions.iter().map(answer).collect();
        OffsetForLeaderTopicResult::default()
            .with_topic(topic.topic.clone())
            .with_partitions(partitions)
    });
    OffsetForLeaderEpochResponse::default().with_topics(topics.collect())
}

fn nothing(asked: &OffsetForLeaderPartition) -> EpochEndOffset {
    EpochEndOffset::default()
        .with_partition(asked.partition)
        .with_leader_epoch(-1)
        .with_end_offset(-1)
}

fn answer(cx: &RequestContext, topic: &str, asked: &OffsetForLeaderPartition) -> EpochEndOffset {
    let known = || cx.broker.metadata.image().partition(topic, asked.partition).is_some();
    let found = cx
        .broker
        .partitions
        .get(topic, asked.partition, known)
        .and_then(|partition| {
            let current = LeaderEpoch(asked.current_leader_epoch);
            partition.end_offset_for_epoch(current, LeaderEpoch(asked.leader_epoch), true)
        });
    let answer = nothing(asked);
    match found {
        Ok(None) => answer.with_error_code(ErrorCode::None as i16),
        Ok(Some(end)) => answer
            .with_leader_epoch(end.leader_epoch.0)
            .with_end_offset(end.end_offset.0),
        Err(refusal) => answer.with_error_code(error_code::of_partition(&refusal) as i16),
    }
}
