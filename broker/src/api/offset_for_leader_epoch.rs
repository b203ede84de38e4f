//! OffsetForLeaderEpoch (key 23, versions 0–4): where the records of a leader epoch end (KIP-101, KIP-320).

use broker_wire::ErrorCode;
use kafka_protocol::messages::offset_for_leader_epoch_request::OffsetForLeaderPartition;
use kafka_protocol::messages::offset_for_leader_epoch_response::{EpochEndOffset, OffsetForLeaderTopicResult};
use kafka_protocol::messages::{OffsetForLeaderEpochRequest, OffsetForLeaderEpochResponse};
use model::LeaderEpoch;

use super::{Api, RequestContext, api, error_code};

pub(super) const API: Api = api!(OffsetForLeaderEpoch, 0..=4, handle);

async fn handle(cx: &RequestContext, request: OffsetForLeaderEpochRequest) -> OffsetForLeaderEpochResponse {
    let topics = request.topics.iter().map(|topic| {
        let partitions = topic
            .partitions
            .iter()
            .map(|asked| answer(cx, &topic.topic, asked))
            .collect();
        OffsetForLeaderTopicResult::default()
            .with_topic(topic.topic.clone())
            .with_partitions(partitions)
    });
    OffsetForLeaderEpochResponse::default().with_topics(topics.collect())
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
    let answer = EpochEndOffset::default()
        .with_partition(asked.partition)
        .with_leader_epoch(-1)
        .with_end_offset(-1);
    match found {
        Ok(None) => answer.with_error_code(ErrorCode::None as i16),
        Ok(Some(end)) => answer
            .with_leader_epoch(end.leader_epoch.0)
            .with_end_offset(end.end_offset.0),
        Err(refusal) => answer.with_error_code(error_code::of_partition(&refusal) as i16),
    }
}
