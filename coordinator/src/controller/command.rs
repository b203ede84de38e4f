//! What the controller tells brokers: LeaderAndIsr, UpdateMetadata, StopReplica, in its own words.
//!
//! Plain data: which request version carries it, and how, is the shell's business.

use std::collections::BTreeMap;
use std::sync::Arc;

use model::{BrokerEpoch, BrokerId, ControllerEpoch, LeaderEpoch, PartitionEpoch, TopicId, TopicPartition};

use super::image::Endpoint;

/// One request from the controller to one broker. Every one also carries the controller's id and epoch, and the epoch of
/// the broker it is meant for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BrokerCommand {
    /// Lead or follow these partitions.
    LeaderAndIsr(LeaderAndIsr),
    /// This is how the cluster looks. The same for many brokers, so it is shared.
    UpdateMetadata(Arc<UpdateMetadata>),
    /// Stop, and perhaps delete, these replicas.
    StopReplica(StopReplica),
}

/// Lead or follow these partitions. Source: Kafka 3.9 `LeaderAndIsrRequest`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LeaderAndIsr {
    /// What to do for each partition.
    pub partitions: BTreeMap<TopicPartition, LeaderAndIsrPartition>,
    /// The ids of the topics named above, if they have one.
    pub topic_ids: BTreeMap<Arc<str>, TopicId>,
    /// Brokers that lead one of the partitions.
    pub live_leaders: Vec<BrokerId>,
}

/// A partition in [`LeaderAndIsr`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeaderAndIsrPartition {
    /// The controller that decided it.
    pub controller_epoch: ControllerEpoch,
    /// Who leads; −1 is nobody.
    pub leader: BrokerId,
    /// How often the leadership has changed.
    pub leader_epoch: LeaderEpoch,
    /// The in-sync set.
    pub isr: Vec<BrokerId>,
    /// The data version of the `state` znode.
    pub partition_epoch: PartitionEpoch,
    /// All replicas, the preferred leader first.
    pub replicas: Vec<BrokerId>,
    /// Replicas being added by a reassignment.
    pub adding_replicas: Vec<BrokerId>,
    /// Replicas being removed by a reassignment.
    pub removing_replicas: Vec<BrokerId>,
    /// The replica did not exist on the receiver: it may choose any of its good directories.
    pub is_new: bool,
    /// The leader was elected uncleanly and has not yet recovered.
    pub recovering: bool,
}

/// How the cluster looks. Source: Kafka 3.9 `UpdateMetadataRequest`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UpdateMetadata {
    /// Partitions that changed; an empty map only tells of brokers.
    pub partitions: BTreeMap<TopicPartition, UpdateMetadataPartition>,
    /// The ids of the topics named above, if they have one.
    pub topic_ids: BTreeMap<Arc<str>, TopicId>,
    /// All brokers that are alive.
    pub live_brokers: Vec<LiveBroker>,
}

/// A partition in [`UpdateMetadata`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UpdateMetadataPartition {
    /// The controller that decided it.
    pub controller_epoch: ControllerEpoch,
    /// Who leads; −1 is nobody, −2 means that the topic is being deleted.
    pub leader: BrokerId,
    /// How often the leadership has changed.
    pub leader_epoch: LeaderEpoch,
    /// The in-sync set.
    pub isr: Vec<BrokerId>,
    /// The data version of the `state` znode.
    pub partition_epoch: PartitionEpoch,
    /// All replicas, the preferred leader first.
    pub replicas: Vec<BrokerId>,
    /// Those of them that are not online.
    pub offline_replicas: Vec<BrokerId>,
}

/// A broker in [`UpdateMetadata`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LiveBroker {
    /// Its id.
    pub id: BrokerId,
    /// Where it listens.
    pub endpoints: Vec<Endpoint>,
    /// `broker.rack`.
    pub rack: Option<String>,
}

/// Stop, and perhaps delete, these replicas. Source: Kafka 3.9 `StopReplicaRequest`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StopReplica {
    /// What to do for each partition.
    pub partitions: BTreeMap<TopicPartition, StopReplicaPartition>,
}

/// A partition in [`StopReplica`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StopReplicaPartition {
    /// −2 overrides any epoch: the topic is being deleted; −1 is unknown.
    pub leader_epoch: LeaderEpoch,
    /// Whether to delete the log too.
    pub delete: bool,
}

/// A broker's answer that the controller acts upon.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BrokerReply {
    /// To a LeaderAndIsr: the whole request's error code and each partition's.
    LeaderAndIsr {
        /// Error of the request as a whole.
        error_code: i16,
        /// Error per partition.
        partitions: Vec<(TopicPartition, i16)>,
    },
    /// To a StopReplica that deletes: only the partitions that were to be deleted.
    StopReplica {
        /// Error of the request as a whole.
        error_code: i16,
        /// Error per partition.
        partitions: Vec<(TopicPartition, i16)>,
    },
}

/// A command with the life of the broker it is meant for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Addressed {
    /// To whom.
    pub broker: BrokerId,
    /// Its epoch: a broker that has restarted since refuses it.
    pub broker_epoch: BrokerEpoch,
    /// What.
    pub command: BrokerCommand,
}
