//! The znodes that the controller reads and writes, in the image's words.
//!
//! Paths and bytes are `zk-schema`'s; here is only the translation.

use model::{BrokerEpoch, BrokerId, PartitionEpoch, ProducerId, TopicId, TopicPartition};
use zk_schema::brokers::partition_state::LeaderRecoveryState;
use zk_schema::brokers::topics::{ReplicaAssignment, TopicAssignment};
use zk_schema::brokers::{ids, partition_state, topics};
use zk_schema::config::Entity;
use zk_schema::feature::Features;
use zk_schema::producer_id_block::ProducerIdBlock;
use zk_schema::{DecodeError, admin, config, feature, notifications, producer_id_block};

use super::image::{Assignment, Broker, Leadership};

pub(super) const BROKER_IDS: &str = ids::PATH;
pub(super) const TOPICS: &str = topics::PATH;
pub(super) const DELETE_TOPICS: &str = admin::DELETE_TOPICS_PATH;
pub(super) const REASSIGN_PARTITIONS: &str = admin::REASSIGN_PARTITIONS_PATH;
pub(super) const PREFERRED_ELECTION: &str = admin::PREFERRED_REPLICA_ELECTION_PATH;
pub(super) const ISR_CHANGES: &str = notifications::ISR_CHANGE_PATH;
pub(super) const LOG_DIR_EVENTS: &str = notifications::LOG_DIR_EVENT_PATH;
pub(super) const FEATURE: &str = feature::PATH;
pub(super) const PRODUCER_ID_BLOCK: &str = producer_id_block::PATH;

/// The topic configuration that allows an unclean election.
const UNCLEAN_LEADER_ELECTION_ENABLE: &str = "unclean.leader.election.enable";

/// The broker whose znode this is.
pub(super) fn broker_of(path: &str) -> Option<BrokerId> {
    path.strip_prefix(ids::PATH)?
        .strip_prefix('/')?
        .parse()
        .ok()
        .map(BrokerId)
}

/// The topic whose znode this is.
pub(super) fn topic_of(path: &str) -> Option<&str> {
    let topic = path.strip_prefix(topics::PATH)?.strip_prefix('/')?;
    (!topic.is_empty() && !topic.contains('/')).then_some(topic)
}

pub(super) fn broker(id: BrokerId) -> String {
    ids::path(id)
}

pub(super) fn topic(topic: &str) -> String {
    topics::path(topic)
}

pub(super) fn partitions(topic: &str) -> String {
    topics::partitions_path(topic)
}

pub(super) fn partition(partition: &TopicPartition) -> String {
    topics::partition_path(partition)
}

pub(super) fn state(partition: &TopicPartition) -> String {
    partition_state::path(partition)
}

pub(super) fn delete_topic(topic: &str) -> String {
    admin::delete_topic_path(topic)
}

pub(super) fn topic_config(topic: &str) -> String {
    Entity::Topic(topic.to_owned()).path()
}

pub(super) fn broker_config(id: BrokerId) -> String {
    Entity::Broker(Some(id.0)).path()
}

/// The configuration of all brokers.
pub(super) fn default_broker_config() -> String {
    Entity::Broker(None).path()
}

pub(super) fn decode_broker(id: BrokerId, data: &[u8], czxid: i64) -> Result<Broker, DecodeError> {
    let registration = ids::BrokerRegistration::decode(id, data)?;
    Ok(Broker {
        epoch: BrokerEpoch(czxid),
        endpoints: registration.endpoints,
        rack: registration.rack,
    })
}

/// A topic's znode.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct TopicZnode {
    pub(super) id: Option<TopicId>,
    pub(super) partitions: Vec<(i32, Assignment)>,
}

pub(super) fn decode_topic(topic: &str, data: &[u8]) -> Result<TopicZnode, DecodeError> {
    let znode = TopicAssignment::decode(topic, data)?;
    let partitions = znode.partitions.into_iter().map(|(index, it)| {
        let assignment = Assignment {
            replicas: it.replicas,
            adding: it.adding_replicas,
            removing: it.removing_replicas,
        };
        (index, assignment)
    });
    Ok(TopicZnode {
        id: znode.topic_id,
        partitions: partitions.collect(),
    })
}

pub(super) fn encode_topic(id: Option<TopicId>, partitions: &[(i32, Assignment)]) -> Vec<u8> {
    let partitions = partitions.iter().map(|(index, it)| {
        let assignment = ReplicaAssignment {
            replicas: it.replicas.clone(),
            adding_replicas: it.adding.clone(),
            removing_replicas: it.removing.clone(),
        };
        (*index, assignment)
    });
    TopicAssignment {
        topic_id: id,
        partitions: partitions.collect(),
    }
    .encode()
}

pub(super) fn decode_state(partition: &TopicPartition, data: &[u8], version: i32) -> Result<Leadership, DecodeError> {
    let state = partition_state::PartitionState::decode(partition, data)?;
    Ok(Leadership {
        leader: state.leader,
        leader_epoch: state.leader_epoch,
        isr: state.isr,
        recovering: state.leader_recovery_state == LeaderRecoveryState::Recovering,
        partition_epoch: PartitionEpoch(version),
        controller_epoch: state.controller_epoch,
    })
}

pub(super) fn encode_state(leadership: &Leadership) -> Vec<u8> {
    partition_state::PartitionState {
        leader: leadership.leader,
        leader_epoch: leadership.leader_epoch,
        isr: leadership.isr.clone(),
        controller_epoch: leadership.controller_epoch,
        leader_recovery_state: if leadership.recovering {
            LeaderRecoveryState::Recovering
        } else {
            LeaderRecoveryState::Recovered
        },
    }
    .encode()
}

/// Whether a configuration, of a topic or of brokers, allows an unclean election, if it says.
pub(super) fn unclean_election_enabled(path: &str, data: &[u8]) -> Result<Option<bool>, DecodeError> {
    let config = config::decode(path, data)?;
    Ok(config
        .get(UNCLEAN_LEADER_ELECTION_ENABLE)
        .map(|value| value.trim().eq_ignore_ascii_case("true")))
}

pub(super) fn encode_feature(enabled: bool) -> Vec<u8> {
    Features {
        enabled,
        ..Features::enabled()
    }
    .encode()
}

pub(super) fn decode_feature_enabled(data: &[u8]) -> Result<bool, DecodeError> {
    Features::decode(data).map(|features| features.enabled)
}

/// The block after the one in the znode; `None` when all ids have been used.
pub(super) fn next_producer_id_block(data: &[u8], broker: BrokerId) -> Result<Option<ProducerIdBlock>, DecodeError> {
    let latest = ProducerIdBlock::decode(data)?;
    Ok(ProducerIdBlock::after(latest.as_ref(), broker))
}

/// How many ids a block has.
pub(super) fn block_len(block: &ProducerIdBlock) -> i32 {
    let ProducerId(first) = block.first;
    let ProducerId(last) = block.last;
    i32::try_from(last - first + 1).unwrap_or(i32::MAX)
}

pub(super) fn decode_isr_changes(data: &[u8]) -> Result<Vec<TopicPartition>, DecodeError> {
    notifications::decode_isr_change(data)
}

pub(super) fn decode_log_dir_event(data: &[u8]) -> Result<BrokerId, DecodeError> {
    notifications::decode_log_dir_failure(data)
}

pub(super) fn decode_reassignment(data: &[u8]) -> Result<Vec<(TopicPartition, Vec<BrokerId>)>, DecodeError> {
    Ok(admin::decode_reassignment(data)?.into_iter().collect())
}

pub(super) fn encode_reassignment(partitions: &[(TopicPartition, Vec<BrokerId>)]) -> Vec<u8> {
    admin::encode_reassignment(&partitions.iter().cloned().collect())
}

pub(super) fn decode_preferred_election(data: &[u8]) -> Result<Vec<TopicPartition>, DecodeError> {
    admin::decode_preferred_replica_election(data)
}
