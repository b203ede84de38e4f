//! Proposals as an AlterPartition request, and its response as answers to them. Pure.
//!
//! Topics go by id from version 2 on, so the newest version is spoken only if every topic of the batch has one. Members
//! go with the broker epoch −1, as from Kafka 3.9 in a ZooKeeper cluster: there the metadata cache knows no epochs, and the
//! controller judges by who is alive.
//! Source: Kafka 3.9 `DefaultAlterPartitionManager.buildRequest`, `handleAlterPartitionResponse`.

use broker_wire::ErrorCode;
use hashbrown::HashMap;
use kafka_protocol::messages::alter_partition_request::{BrokerState, PartitionData, TopicData};
use kafka_protocol::messages::alter_partition_response::PartitionData as PartitionAnswer;
use kafka_protocol::messages::{AlterPartitionRequest, AlterPartitionResponse, BrokerId as WireBrokerId, TopicName};
use kafka_protocol::protocol::StrBytes;
use model::{BrokerEpoch, BrokerId, LeaderEpoch, PartitionEpoch, TopicId};
use uuid::Uuid;

use super::Submitted;
use crate::partition::{Answer, Refusal};

/// The newest version.
const NEWEST: i16 = 3;
/// The newest version that names topics by name.
const NEWEST_BY_NAME: i16 = 1;
/// The first version whose members carry broker epochs.
const FIRST_WITH_EPOCHS: i16 = 3;

/// The newest version that can say this batch; topics have ids from `inter.broker.protocol.version` 2.8 on.
pub(super) fn newest_version(batch: &[Submitted], topic_ids: bool) -> i16 {
    if topic_ids && batch.iter().all(|it| it.topic_id.is_some()) {
        NEWEST
    } else {
        NEWEST_BY_NAME
    }
}

/// The request for `batch`.
pub(super) fn request(
    broker: BrokerId,
    broker_epoch: BrokerEpoch,
    batch: &[Submitted],
    version: i16,
) -> AlterPartitionRequest {
    let mut by_topic: HashMap<&str, TopicData> = HashMap::new();
    for submitted in batch {
        let topic = by_topic.entry(&submitted.partition.topic).or_insert_with(|| {
            if version > NEWEST_BY_NAME {
                let id = submitted.topic_id.unwrap_or(TopicId::ZERO);
                TopicData::default().with_topic_id(Uuid::from_bytes(id.0))
            } else {
                let name = StrBytes::from_string(submitted.partition.topic.to_string());
                TopicData::default().with_topic_name(TopicName(name))
            }
        });
        topic.partitions.push(partition_data(submitted, version));
    }
    AlterPartitionRequest::default()
        .with_broker_id(WireBrokerId(broker.0))
        .with_broker_epoch(broker_epoch.0)
        .with_topics(by_topic.into_values().collect())
}

fn partition_data(submitted: &Submitted, version: i16) -> PartitionData {
    let proposal = &submitted.proposal;
    // The leader recovery state stays 0: a ZooKeeper broker says that it has recovered as soon as it leads.
    let data = PartitionData::default()
        .with_partition_index(submitted.partition.partition)
        .with_leader_epoch(proposal.leader_epoch.0)
        .with_partition_epoch(proposal.partition_epoch.0);
    let members = proposal.isr.iter().map(|id| WireBrokerId(id.0));
    if version >= FIRST_WITH_EPOCHS {
        let member = |id| BrokerState::default().with_broker_id(id).with_broker_epoch(-1);
        data.with_new_isr_with_epochs(members.map(member).collect())
    } else {
        data.with_new_isr(members.collect())
    }
}

/// The answer to each proposal of the batch, in its order; `None` where the response says nothing of it.
pub(super) fn answers(batch: &[Submitted], response: &AlterPartitionResponse, version: i16) -> Vec<Option<Answer>> {
    let mut by_id: HashMap<(TopicId, i32), &PartitionAnswer> = HashMap::new();
    let mut by_name: HashMap<(&str, i32), &PartitionAnswer> = HashMap::new();
    for topic in &response.topics {
        for partition in &topic.partitions {
            if version > NEWEST_BY_NAME {
                let id = TopicId(*topic.topic_id.as_bytes());
                by_id.insert((id, partition.partition_index), partition);
            } else {
                by_name.insert((&topic.topic_name, partition.partition_index), partition);
            }
        }
    }
    batch
        .iter()
        .map(|submitted| {
            let partition = submitted.partition.partition;
            let found = if version > NEWEST_BY_NAME {
                by_id.get(&(submitted.topic_id.unwrap_or(TopicId::ZERO), partition))
            } else {
                by_name.get(&(&*submitted.partition.topic, partition))
            };
            found.map(|found| answer(found))
        })
        .collect()
}

fn answer(answer: &PartitionAnswer) -> Answer {
    match ErrorCode::from_i16(answer.error_code) {
        Some(ErrorCode::None) => Answer::Accepted {
            leader_epoch: LeaderEpoch(answer.leader_epoch),
            partition_epoch: PartitionEpoch(answer.partition_epoch),
            isr: answer.isr.iter().map(|id| BrokerId(id.0)).collect(),
        },
        Some(ErrorCode::OperationNotAttempted | ErrorCode::IneligibleReplica) => Answer::Refused(Refusal::NotAttempted),
        Some(
            ErrorCode::UnknownTopicOrPartition
            | ErrorCode::UnknownTopicId
            | ErrorCode::FencedLeaderEpoch
            | ErrorCode::InvalidUpdateVersion
            | ErrorCode::InvalidRequest
            | ErrorCode::NewLeaderElected,
        ) => Answer::Refused(Refusal::OutOfDate),
        Some(_) | None => Answer::Refused(Refusal::Other),
    }
}

#[cfg(test)]
mod tests {
    use kafka_protocol::messages::alter_partition_response::TopicData as TopicAnswer;
    use model::{ControllerEpoch, TopicPartition};

    use super::*;
    use crate::partition::{IsrChange, Proposal};

    fn submitted(topic: &str, partition: i32, id: Option<u8>) -> Submitted {
        Submitted {
            partition: TopicPartition::new(topic, partition),
            topic_id: id.map(|id| TopicId([id; 16])),
            proposal: Proposal {
                leader: BrokerId(1),
                leader_epoch: LeaderEpoch(5),
                partition_epoch: PartitionEpoch(7),
                controller_epoch: ControllerEpoch(2),
                isr: vec![BrokerId(1), BrokerId(2)],
                change: IsrChange::Expand(BrokerId(2)),
            },
        }
    }

    #[test]
    fn the_version_follows_topic_ids() {
        let with = submitted("a", 0, Some(1));
        let without = submitted("b", 0, None);
        assert_eq!(newest_version(core::slice::from_ref(&with), true), 3);
        assert_eq!(newest_version(core::slice::from_ref(&with), false), 1);
        assert_eq!(newest_version(&[with, without], true), 1);
    }

    /// Encoding refuses fields that a version does not have.
    #[test]
    fn every_version_can_be_encoded_and_says_what_it_must() {
        use kafka_protocol::protocol::Encodable;
        for version in 0..=3 {
            let batch = [
                submitted("a", 0, Some(1)),
                submitted("a", 3, Some(1)),
                submitted("b", 0, Some(2)),
            ];
            let request = request(BrokerId(1), BrokerEpoch(99), &batch, version);
            let mut bytes = bytes::BytesMut::new();
            request.encode(&mut bytes, version).unwrap();
            assert_eq!(request.broker_epoch, 99);
            assert_eq!(request.topics.len(), 2, "one for each topic");
            for topic in &request.topics {
                assert_eq!(topic.topic_name.is_empty(), version >= 2);
                assert_eq!(topic.topic_id.is_nil(), version < 2);
                for data in &topic.partitions {
                    assert_eq!((data.leader_epoch, data.partition_epoch), (5, 7));
                    let epochs: Vec<_> = data
                        .new_isr_with_epochs
                        .iter()
                        .map(|it| (it.broker_id.0, it.broker_epoch))
                        .collect();
                    let ids: Vec<_> = data.new_isr.iter().map(|it| it.0).collect();
                    if version >= 3 {
                        assert_eq!((epochs, ids), (vec![(1, -1), (2, -1)], vec![]));
                    } else {
                        assert_eq!((epochs, ids), (vec![], vec![1, 2]));
                    }
                }
            }
        }
    }

    #[test]
    fn answers_are_found_by_topic_and_partition() {
        let batch = [
            submitted("a", 0, Some(1)),
            submitted("a", 3, Some(1)),
            submitted("b", 0, Some(2)),
        ];
        let data = |index: i32, error: ErrorCode| {
            PartitionAnswer::default()
                .with_partition_index(index)
                .with_error_code(error as i16)
                .with_leader_epoch(5)
                .with_partition_epoch(8)
                .with_isr(vec![WireBrokerId(1), WireBrokerId(2)])
        };
        let topics = |by_id: bool| {
            let topic = |name: &str, id: u8| {
                if by_id {
                    TopicAnswer::default().with_topic_id(Uuid::from_bytes([id; 16]))
                } else {
                    TopicAnswer::default().with_topic_name(TopicName(StrBytes::from_string(name.to_owned())))
                }
            };
            vec![
                topic("b", 2).with_partitions(vec![data(0, ErrorCode::None)]),
                topic("a", 1).with_partitions(vec![data(3, ErrorCode::FencedLeaderEpoch)]),
                topic("stranger", 9).with_partitions(vec![data(0, ErrorCode::None)]),
            ]
        };
        let accepted = Answer::Accepted {
            leader_epoch: LeaderEpoch(5),
            partition_epoch: PartitionEpoch(8),
            isr: vec![BrokerId(1), BrokerId(2)],
        };
        let expected = vec![None, Some(Answer::Refused(Refusal::OutOfDate)), Some(accepted)];
        for version in [1, 3] {
            let response = AlterPartitionResponse::default().with_topics(topics(version >= 2));
            assert_eq!(answers(&batch, &response, version), expected, "version {version}");
        }
    }

    #[test]
    fn error_codes_mean_what_they_mean_in_kafka() {
        let check = |code: i16, expected: Refusal| {
            let data = PartitionAnswer::default().with_error_code(code);
            assert_eq!(answer(&data), Answer::Refused(expected), "{code}");
        };
        check(ErrorCode::OperationNotAttempted as i16, Refusal::NotAttempted);
        check(ErrorCode::IneligibleReplica as i16, Refusal::NotAttempted);
        check(ErrorCode::InvalidUpdateVersion as i16, Refusal::OutOfDate);
        check(ErrorCode::FencedLeaderEpoch as i16, Refusal::OutOfDate);
        check(ErrorCode::UnknownTopicId as i16, Refusal::OutOfDate);
        check(ErrorCode::UnknownTopicOrPartition as i16, Refusal::OutOfDate);
        check(ErrorCode::InvalidRequest as i16, Refusal::OutOfDate);
        check(ErrorCode::NewLeaderElected as i16, Refusal::OutOfDate);
        check(ErrorCode::NotController as i16, Refusal::Other);
        check(ErrorCode::UnknownServerError as i16, Refusal::Other);
        check(12_345, Refusal::Other);
    }
}
