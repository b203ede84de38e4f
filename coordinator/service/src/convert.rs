//! Between the core's own words and Kafka's requests from brokers and administrators.
//!
//! Pure. Says which Kafka error each refusal is; decides nothing else.

use std::collections::BTreeMap;

use broker_wire::ErrorCode;
use coordinator::controller::{Ask, Assignment, IsrProposal, Refusal, Reply, TopicRef};
use kafka_protocol::messages::alter_partition_reassignments_response::{
    ReassignablePartitionResponse, ReassignableTopicResponse,
};
use kafka_protocol::messages::controlled_shutdown_response::RemainingPartition;
use kafka_protocol::messages::elect_leaders_response::{PartitionResult, ReplicaElectionResult};
use kafka_protocol::messages::list_partition_reassignments_response::{
    OngoingPartitionReassignment, OngoingTopicReassignment,
};
use kafka_protocol::messages::{
    AllocateProducerIdsRequest, AllocateProducerIdsResponse, AlterPartitionReassignmentsRequest,
    AlterPartitionReassignmentsResponse, AlterPartitionRequest, AlterPartitionResponse, BrokerId as WireBrokerId,
    ControlledShutdownRequest, ControlledShutdownResponse, ElectLeadersRequest, ElectLeadersResponse,
    ListPartitionReassignmentsRequest, ListPartitionReassignmentsResponse, TopicName, alter_partition_response,
};
use kafka_protocol::protocol::StrBytes;
use model::{BrokerEpoch, BrokerId, LeaderEpoch, PartitionEpoch, TopicId, TopicPartition};
use uuid::Uuid;

/// `LeaderRecoveryState.RECOVERING`.
pub(crate) const RECOVERING: i8 = 1;
/// `ElectionType.UNCLEAN`.
const UNCLEAN: i8 = 1;
/// The first AlterPartition with topic ids.
const ALTER_PARTITION_WITH_TOPIC_IDS: i16 = 2;
/// The first AlterPartition that says each member's broker epoch.
const ALTER_PARTITION_WITH_BROKER_EPOCHS: i16 = 3;

/// Which Kafka error a refusal is.
pub(crate) fn error_code(refusal: &Refusal) -> i16 {
    let code = match refusal {
        Refusal::NotController => ErrorCode::NotController,
        Refusal::StaleBrokerEpoch => ErrorCode::StaleBrokerEpoch,
        Refusal::BrokerIdNotRegistered => ErrorCode::BrokerIdNotRegistered,
        Refusal::BrokerNotAvailable => ErrorCode::BrokerNotAvailable,
        Refusal::UnknownTopicId => ErrorCode::UnknownTopicId,
        Refusal::UnknownTopicOrPartition => ErrorCode::UnknownTopicOrPartition,
        Refusal::FencedLeaderEpoch => ErrorCode::FencedLeaderEpoch,
        Refusal::InvalidUpdateVersion => ErrorCode::InvalidUpdateVersion,
        Refusal::InvalidRequest => ErrorCode::InvalidRequest,
        Refusal::IneligibleReplica => ErrorCode::IneligibleReplica,
        Refusal::OperationNotAttempted => ErrorCode::OperationNotAttempted,
        Refusal::ElectionNotNeeded => ErrorCode::ElectionNotNeeded,
        Refusal::PreferredLeaderNotAvailable(_) => ErrorCode::PreferredLeaderNotAvailable,
        Refusal::EligibleLeadersNotAvailable(_) => ErrorCode::EligibleLeadersNotAvailable,
        Refusal::TopicBeingDeleted => ErrorCode::InvalidTopicException,
        Refusal::InvalidReplicaAssignment(_) => ErrorCode::InvalidReplicaAssignment,
        Refusal::NoReassignmentInProgress => ErrorCode::NoReassignmentInProgress,
        Refusal::Failed(_) => ErrorCode::UnknownServerError,
    };
    code.code()
}

/// A reply that belongs to another question: cannot happen, and if it does it is our fault.
fn mismatch() -> i16 {
    ErrorCode::UnknownServerError.code()
}

pub(crate) fn text(text: impl ToString) -> StrBytes {
    StrBytes::from_string(text.to_string())
}

pub(crate) fn topic_name(name: impl ToString) -> TopicName {
    TopicName(text(name))
}

pub(crate) fn uuid(id: TopicId) -> Uuid {
    Uuid::from_bytes(id.0)
}

pub(crate) fn broker_ids(ids: &[BrokerId]) -> Vec<WireBrokerId> {
    ids.iter().map(|id| WireBrokerId(id.0)).collect()
}

fn message(refusal: &Refusal) -> Option<StrBytes> {
    Some(text(refusal))
}

/// Groups by topic, in the order of first mention.
fn by_topic<T>(items: Vec<(TopicPartition, T)>) -> Vec<(TopicName, Vec<(i32, T)>)> {
    let mut topics: Vec<(TopicName, Vec<(i32, T)>)> = Vec::new();
    let mut places = BTreeMap::new();
    for (partition, item) in items {
        let place = *places.entry(partition.topic.clone()).or_insert_with(|| {
            topics.push((topic_name(&partition.topic), Vec::new()));
            topics.len() - 1
        });
        topics[place].1.push((partition.partition, item));
    }
    topics
}

pub(crate) fn alter_partition_ask(request: &AlterPartitionRequest, version: i16) -> Ask {
    let mut partitions = Vec::new();
    for topic in &request.topics {
        let named = if version >= ALTER_PARTITION_WITH_TOPIC_IDS {
            TopicRef::Id(TopicId(*topic.topic_id.as_bytes()))
        } else {
            TopicRef::Name(topic.topic_name.to_string())
        };
        for partition in &topic.partitions {
            let isr = if version >= ALTER_PARTITION_WITH_BROKER_EPOCHS {
                partition
                    .new_isr_with_epochs
                    .iter()
                    .map(|it| BrokerId(it.broker_id.0))
                    .collect()
            } else {
                partition.new_isr.iter().map(|id| BrokerId(id.0)).collect()
            };
            partitions.push(IsrProposal {
                topic: named.clone(),
                partition: partition.partition_index,
                leader_epoch: LeaderEpoch(partition.leader_epoch),
                partition_epoch: PartitionEpoch(partition.partition_epoch),
                isr,
                recovering: partition.leader_recovery_state == RECOVERING,
            });
        }
    }
    Ask::AlterPartition {
        broker: BrokerId(request.broker_id.0),
        broker_epoch: BrokerEpoch(request.broker_epoch),
        version,
        partitions,
    }
}

pub(crate) fn alter_partition_response(answer: Result<Reply, Refusal>, version: i16) -> AlterPartitionResponse {
    let partitions = match answer {
        Ok(Reply::AlterPartition(partitions)) => partitions,
        Ok(_) => return AlterPartitionResponse::default().with_error_code(mismatch()),
        Err(refusal) => return AlterPartitionResponse::default().with_error_code(error_code(&refusal)),
    };
    let mut topics: Vec<(TopicRef, Vec<alter_partition_response::PartitionData>)> = Vec::new();
    for (topic, index, result) in partitions {
        let data = alter_partition_response::PartitionData::default().with_partition_index(index);
        let data = match result {
            Ok(accepted) => {
                let data = data
                    .with_leader_id(WireBrokerId(accepted.leader.0))
                    .with_leader_epoch(accepted.leader_epoch.0)
                    .with_isr(broker_ids(&accepted.isr))
                    .with_partition_epoch(accepted.partition_epoch.0);
                // Version 0 cannot say it, and is asked only about leaders that have recovered.
                if version >= 1 {
                    data.with_leader_recovery_state(i8::from(accepted.recovering))
                } else {
                    data
                }
            }
            Err(refusal) => data.with_error_code(error_code(&refusal)),
        };
        match topics.iter_mut().find(|(known, _)| *known == topic) {
            Some((_, partitions)) => partitions.push(data),
            None => topics.push((topic, vec![data])),
        }
    }
    let topics = topics.into_iter().map(|(topic, partitions)| {
        let data = alter_partition_response::TopicData::default().with_partitions(partitions);
        match topic {
            TopicRef::Name(name) => data.with_topic_name(topic_name(name)),
            TopicRef::Id(id) => data.with_topic_id(uuid(id)),
        }
    });
    AlterPartitionResponse::default().with_topics(topics.collect())
}

pub(crate) fn controlled_shutdown_ask(request: &ControlledShutdownRequest) -> Ask {
    Ask::ControlledShutdown {
        broker: BrokerId(request.broker_id.0),
        broker_epoch: BrokerEpoch(request.broker_epoch),
    }
}

pub(crate) fn controlled_shutdown_response(answer: Result<Reply, Refusal>) -> ControlledShutdownResponse {
    match answer {
        Ok(Reply::ControlledShutdown(remaining)) => {
            let remaining = remaining.into_iter().map(|partition| {
                RemainingPartition::default()
                    .with_topic_name(topic_name(&partition.topic))
                    .with_partition_index(partition.partition)
            });
            ControlledShutdownResponse::default().with_remaining_partitions(remaining.collect())
        }
        Ok(_) => ControlledShutdownResponse::default().with_error_code(mismatch()),
        Err(refusal) => ControlledShutdownResponse::default().with_error_code(error_code(&refusal)),
    }
}

pub(crate) fn producer_ids_ask(request: &AllocateProducerIdsRequest) -> Ask {
    Ask::AllocateProducerIds {
        broker: BrokerId(request.broker_id.0),
        broker_epoch: BrokerEpoch(request.broker_epoch),
    }
}

pub(crate) fn producer_ids_response(answer: Result<Reply, Refusal>) -> AllocateProducerIdsResponse {
    match answer {
        Ok(Reply::ProducerIds { start, len }) => AllocateProducerIdsResponse::default()
            .with_producer_id_start(start.into())
            .with_producer_id_len(len),
        Ok(_) => AllocateProducerIdsResponse::default().with_error_code(mismatch()),
        Err(refusal) => AllocateProducerIdsResponse::default().with_error_code(error_code(&refusal)),
    }
}

pub(crate) fn elect_leaders_ask(request: &ElectLeadersRequest, version: i16) -> Ask {
    let partitions = request.topic_partitions.as_ref().map(|topics| {
        let partitions = topics.iter().flat_map(|topic| {
            topic
                .partitions
                .iter()
                .map(|index| TopicPartition::new(topic.topic.as_str(), *index))
        });
        partitions.collect()
    });
    Ask::ElectLeaders {
        unclean: version >= 1 && request.election_type == UNCLEAN,
        partitions,
    }
}

pub(crate) fn elect_leaders_response(
    answer: Result<Reply, Refusal>,
    request: &ElectLeadersRequest,
) -> ElectLeadersResponse {
    // Kafka answers a refusal as a whole for each partition too, because version 0 has no other place for it.
    let results = match answer {
        Ok(Reply::ElectLeaders(results)) => results,
        Ok(_) => return ElectLeadersResponse::default().with_error_code(mismatch()),
        Err(refusal) => {
            let asked = request.topic_partitions.iter().flatten();
            let results = asked.flat_map(|topic| {
                let partition = |index: &i32| TopicPartition::new(topic.topic.as_str(), *index);
                topic.partitions.iter().map(partition).collect::<Vec<_>>()
            });
            results.map(|partition| (partition, Err(refusal.clone()))).collect()
        }
    };
    // When all were asked about, those that needed nothing are of no interest.
    let all = request.topic_partitions.is_none();
    let results = results
        .into_iter()
        .filter(|(_, result)| !all || *result != Err(Refusal::ElectionNotNeeded));
    let topics = by_topic(results.collect()).into_iter().map(|(topic, partitions)| {
        let partitions = partitions.into_iter().map(|(index, result)| {
            let data = PartitionResult::default().with_partition_id(index);
            match result {
                Ok(()) => data.with_error_message(None),
                Err(refusal) => data
                    .with_error_code(error_code(&refusal))
                    .with_error_message(message(&refusal)),
            }
        });
        ReplicaElectionResult::default()
            .with_topic(topic)
            .with_partition_result(partitions.collect())
    });
    ElectLeadersResponse::default().with_replica_election_results(topics.collect())
}

pub(crate) fn alter_reassignments_ask(request: &AlterPartitionReassignmentsRequest) -> Ask {
    let partitions = request.topics.iter().flat_map(|topic| {
        topic.partitions.iter().map(|partition| {
            let target = partition
                .replicas
                .as_ref()
                .map(|ids| ids.iter().map(|id| BrokerId(id.0)).collect());
            (
                TopicPartition::new(topic.name.as_str(), partition.partition_index),
                target,
            )
        })
    });
    Ask::AlterPartitionReassignments {
        partitions: partitions.collect(),
    }
}

pub(crate) fn alter_reassignments_response(answer: Result<Reply, Refusal>) -> AlterPartitionReassignmentsResponse {
    let outcomes = match answer {
        Ok(Reply::AlterPartitionReassignments(outcomes)) => outcomes,
        Ok(_) => return AlterPartitionReassignmentsResponse::default().with_error_code(mismatch()),
        Err(refusal) => {
            return AlterPartitionReassignmentsResponse::default()
                .with_error_code(error_code(&refusal))
                .with_error_message(message(&refusal));
        }
    };
    let topics = by_topic(outcomes).into_iter().map(|(topic, partitions)| {
        let partitions = partitions.into_iter().map(|(index, outcome)| {
            let data = ReassignablePartitionResponse::default().with_partition_index(index);
            match outcome {
                Ok(()) => data.with_error_message(None),
                Err(refusal) => data
                    .with_error_code(error_code(&refusal))
                    .with_error_message(message(&refusal)),
            }
        });
        ReassignableTopicResponse::default()
            .with_name(topic)
            .with_partitions(partitions.collect())
    });
    // Kafka leaves this message out by leaving it empty.
    AlterPartitionReassignmentsResponse::default()
        .with_error_message(Some(StrBytes::default()))
        .with_responses(topics.collect())
}

pub(crate) fn list_reassignments_ask(request: &ListPartitionReassignmentsRequest) -> Ask {
    let partitions = request.topics.as_ref().map(|topics| {
        let partitions = topics.iter().flat_map(|topic| {
            topic
                .partition_indexes
                .iter()
                .map(|index| TopicPartition::new(topic.name.as_str(), *index))
        });
        partitions.collect()
    });
    Ask::ListPartitionReassignments { partitions }
}

pub(crate) fn list_reassignments_response(answer: Result<Reply, Refusal>) -> ListPartitionReassignmentsResponse {
    let moving: Vec<(TopicPartition, Assignment)> = match answer {
        Ok(Reply::ListPartitionReassignments(moving)) => moving,
        Ok(_) => return ListPartitionReassignmentsResponse::default().with_error_code(mismatch()),
        Err(refusal) => {
            return ListPartitionReassignmentsResponse::default()
                .with_error_code(error_code(&refusal))
                .with_error_message(message(&refusal));
        }
    };
    let topics = by_topic(moving).into_iter().map(|(topic, partitions)| {
        let partitions = partitions.into_iter().map(|(index, assignment)| {
            OngoingPartitionReassignment::default()
                .with_partition_index(index)
                .with_replicas(broker_ids(&assignment.replicas))
                .with_adding_replicas(broker_ids(&assignment.adding))
                .with_removing_replicas(broker_ids(&assignment.removing))
        });
        OngoingTopicReassignment::default()
            .with_name(topic)
            .with_partitions(partitions.collect())
    });
    ListPartitionReassignmentsResponse::default()
        .with_error_message(Some(StrBytes::default()))
        .with_topics(topics.collect())
}
