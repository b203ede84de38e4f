//! What a fetcher's core says, as requests on the wire, and the answers the other way round.

use broker_replica::follower::{
    EpochEnd, EpochQuestion, FetchAnswer, FetchRequest, LeaderError, OffsetQuestion, SessionError,
};
use broker_wire::ErrorCode;
use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic, ForgottenTopic, ReplicaState};
use kafka_protocol::messages::fetch_response::PartitionData;
use kafka_protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use kafka_protocol::messages::list_offsets_response::ListOffsetsPartitionResponse;
use kafka_protocol::messages::offset_for_leader_epoch_request::{OffsetForLeaderPartition, OffsetForLeaderTopic};
use kafka_protocol::messages::offset_for_leader_epoch_response::EpochEndOffset;
use kafka_protocol::messages::{
    BrokerId as WireBrokerId, FetchRequest as WireFetch, ListOffsetsRequest, OffsetForLeaderEpochRequest, TopicName,
};
use kafka_protocol::protocol::StrBytes;
use model::{BrokerEpoch, BrokerId, LeaderEpoch, Offset, TopicId, TopicPartition};
use uuid::Uuid;

use crate::config::BrokerConfig;

/// ListOffsets asks for the end of a log by this timestamp.
const LATEST: i64 = -1;
/// ListOffsets asks for the start of a log by this timestamp.
const EARLIEST: i64 = -2;
/// A Fetch of this version and later names topics by id.
const TOPIC_IDS_SINCE: i16 = 13;
/// A Fetch of this version and later says which life of the follower's id is fetching (KIP-903).
const REPLICA_STATE_SINCE: i16 = 15;

/// Who fetches.
#[derive(Clone, Copy, Debug)]
pub(super) struct Replica {
    pub(super) id: BrokerId,
    pub(super) epoch: BrokerEpoch,
}

/// The version in which a Fetch can be said: without ids for all topics, the last one before ids.
pub(super) fn fetch_version(protocol: i16, request: &FetchRequest) -> i16 {
    if request.topic_ids {
        protocol
    } else {
        protocol.min(TOPIC_IDS_SINCE - 1)
    }
}

/// The Fetch. Source: Kafka 3.9 `RemoteLeaderEndPoint.buildFetch`, `FetchRequest.Builder.forReplica`.
pub(super) fn fetch(request: &FetchRequest, version: i16, replica: Replica, config: &BrokerConfig) -> WireFetch {
    let by_id = version >= TOPIC_IDS_SINCE;
    let mut topics: Vec<FetchTopic> = Vec::new();
    let mut last: Option<&TopicPartition> = None;
    for (partition, topic_id, asked) in &request.partitions {
        if last.is_none_or(|last| last.topic != partition.topic) {
            topics.push(FetchTopic::default());
            if let Some(topic) = topics.last_mut() {
                topic.topic = if by_id {
                    TopicName::default()
                } else {
                    name(&partition.topic)
                };
                topic.topic_id = uuid(*topic_id, by_id);
            }
            last = Some(partition);
        }
        if let Some(topic) = topics.last_mut() {
            topic.partitions.push(
                FetchPartition::default()
                    .with_partition(partition.partition)
                    .with_current_leader_epoch(if version >= 9 { asked.leader_epoch.0 } else { -1 })
                    .with_fetch_offset(asked.fetch_offset.0)
                    .with_last_fetched_epoch(match asked.last_fetched_epoch {
                        Some(epoch) if version >= 12 => epoch.0,
                        _ => LeaderEpoch::NONE.0,
                    })
                    .with_log_start_offset(if version >= 5 { asked.log_start_offset.0 } else { -1 })
                    .with_partition_max_bytes(config.replica_fetch_max_bytes),
            );
        }
    }
    let forgotten = request.forgotten.iter().map(|it| {
        let topic = ForgottenTopic::default().with_partitions(vec![it.partition.partition]);
        if by_id {
            topic.with_topic_id(uuid(it.topic_id, true))
        } else {
            topic.with_topic(name(&it.partition.topic))
        }
    });
    let wire = WireFetch::default()
        .with_max_wait_ms(config.replica_fetch_wait_max_ms)
        .with_min_bytes(config.replica_fetch_min_bytes)
        .with_max_bytes(config.replica_fetch_response_max_bytes)
        .with_session_id(request.session_id)
        .with_session_epoch(request.session_epoch)
        .with_topics(topics)
        .with_forgotten_topics_data(forgotten.collect());
    if version >= REPLICA_STATE_SINCE {
        let state = ReplicaState::default()
            .with_replica_id(WireBrokerId(replica.id.0))
            .with_replica_epoch(replica.epoch.0);
        wire.with_replica_state(state)
    } else {
        wire.with_replica_id(WireBrokerId(replica.id.0))
    }
}

/// OffsetForLeaderEpoch.
pub(super) fn epoch_ends(questions: &[EpochQuestion], version: i16, replica: Replica) -> OffsetForLeaderEpochRequest {
    let mut topics: Vec<OffsetForLeaderTopic> = Vec::new();
    for question in questions {
        if topics
            .last()
            .is_none_or(|topic| *topic.topic != *question.partition.topic)
        {
            topics.push(OffsetForLeaderTopic::default().with_topic(name(&question.partition.topic)));
        }
        if let Some(topic) = topics.last_mut() {
            topic.partitions.push(
                OffsetForLeaderPartition::default()
                    .with_partition(question.partition.partition)
                    .with_current_leader_epoch(if version >= 2 {
                        question.current_leader_epoch.0
                    } else {
                        -1
                    })
                    .with_leader_epoch(question.leader_epoch.0),
            );
        }
    }
    let request = OffsetForLeaderEpochRequest::default().with_topics(topics);
    if version >= 3 {
        request.with_replica_id(WireBrokerId(replica.id.0))
    } else {
        request
    }
}

/// ListOffsets.
pub(super) fn list_offsets(questions: &[OffsetQuestion], version: i16, replica: Replica) -> ListOffsetsRequest {
    let mut topics: Vec<ListOffsetsTopic> = Vec::new();
    for question in questions {
        if topics
            .last()
            .is_none_or(|topic| *topic.name != *question.partition.topic)
        {
            topics.push(ListOffsetsTopic::default().with_name(name(&question.partition.topic)));
        }
        if let Some(topic) = topics.last_mut() {
            topic.partitions.push(
                ListOffsetsPartition::default()
                    .with_partition_index(question.partition.partition)
                    .with_current_leader_epoch(if version >= 4 {
                        question.current_leader_epoch.0
                    } else {
                        -1
                    })
                    .with_timestamp(if question.latest { LATEST } else { EARLIEST }),
            );
        }
    }
    ListOffsetsRequest::default()
        .with_replica_id(WireBrokerId(replica.id.0))
        .with_topics(topics)
}

/// One partition of a Fetch response, as the core takes it.
pub(super) fn fetch_answer(data: &PartitionData) -> FetchAnswer {
    let diverging = &data.diverging_epoch;
    FetchAnswer {
        error: leader_error(data.error_code),
        high_watermark: Offset(data.high_watermark),
        diverging: (diverging.epoch >= 0).then_some(EpochEnd {
            leader_epoch: LeaderEpoch(diverging.epoch),
            end_offset: Offset(diverging.end_offset),
        }),
    }
}

/// One partition of an OffsetForLeaderEpoch response.
pub(super) fn epoch_answer(answer: &EpochEndOffset) -> Result<EpochEnd, LeaderError> {
    match leader_error(answer.error_code) {
        Some(error) => Err(error),
        None => Ok(EpochEnd {
            leader_epoch: LeaderEpoch(answer.leader_epoch),
            end_offset: Offset(answer.end_offset),
        }),
    }
}

/// One partition of a ListOffsets response.
pub(super) fn offset_answer(answer: &ListOffsetsPartitionResponse) -> Result<Offset, LeaderError> {
    match leader_error(answer.error_code) {
        Some(error) => Err(error),
        None => Ok(Offset(answer.offset)),
    }
}

/// The error of one partition; `None` for NONE.
pub(super) fn leader_error(code: i16) -> Option<LeaderError> {
    match ErrorCode::from_i16(code) {
        Some(ErrorCode::None) => None,
        Some(ErrorCode::OffsetOutOfRange) => Some(LeaderError::OffsetOutOfRange),
        Some(ErrorCode::FencedLeaderEpoch) => Some(LeaderError::FencedLeaderEpoch),
        Some(ErrorCode::UnknownLeaderEpoch) => Some(LeaderError::UnknownLeaderEpoch),
        Some(ErrorCode::OffsetMovedToTieredStorage) => Some(LeaderError::OffsetMovedToTieredStorage),
        Some(ErrorCode::NotLeaderOrFollower) => Some(LeaderError::NotLeaderOrFollower),
        Some(ErrorCode::UnknownTopicOrPartition) => Some(LeaderError::UnknownTopicOrPartition),
        Some(ErrorCode::UnknownTopicId) => Some(LeaderError::UnknownTopicId),
        Some(ErrorCode::InconsistentTopicId) => Some(LeaderError::InconsistentTopicId),
        _ => Some(LeaderError::Other(code)),
    }
}

/// The error of a Fetch response as a whole; `None` for NONE.
pub(super) fn session_error(code: i16) -> Option<SessionError> {
    match ErrorCode::from_i16(code) {
        Some(ErrorCode::None) => None,
        Some(ErrorCode::FetchSessionIdNotFound) => Some(SessionError::IdNotFound),
        Some(ErrorCode::InvalidFetchSessionEpoch) => Some(SessionError::InvalidEpoch),
        Some(ErrorCode::FetchSessionTopicIdError) => Some(SessionError::TopicId),
        _ => Some(SessionError::Other(code)),
    }
}

fn name(topic: &str) -> TopicName {
    TopicName(StrBytes::from_string(topic.to_owned()))
}

fn uuid(id: Option<TopicId>, by_id: bool) -> Uuid {
    match id {
        Some(id) if by_id => Uuid::from_bytes(id.0),
        _ => Uuid::nil(),
    }
}
