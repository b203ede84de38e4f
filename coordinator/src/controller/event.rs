//! All that can happen to the controller, and all that it can want done.

use bytes::Bytes;
use model::{BrokerEpoch, BrokerId, ControllerEpoch, LeaderEpoch, PartitionEpoch, TopicId, TopicPartition};
use zk_schema::Op;

use super::command::{Addressed, BrokerReply};
use super::image::Endpoint;

/// Names one [`Effect::Read`] or [`Effect::Write`]; its outcome comes back as [`Event::Answered`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestId(pub u64);

/// Names one question from outside, for its [`Effect::Answer`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AskId(pub u64);

/// Something happened. A closed list: nothing else ever reaches the controller.
#[derive(Clone, Debug)]
pub enum Event {
    /// This process has created `/controller` and bumped `/controller_epoch`.
    Elected {
        /// The new epoch. All writes are fenced with the znode version that came with it.
        epoch: ControllerEpoch,
    },
    /// This process no longer is the controller: deposed, session gone, fence hit, or asked to stop.
    Resigned,
    /// A watch fired: something under this path changed. Never data: the controller reads again.
    Changed(String),
    /// ZooKeeper's answers to a read or write, in the order of its items.
    Answered(RequestId, Vec<Answer>),
    /// A broker's answer to a command, and which life of the broker it was sent to.
    Replied(BrokerId, BrokerEpoch, BrokerReply),
    /// Somebody asks something.
    Asked(AskId, Ask),
    /// `unclean.leader.election.enable` became true: for the topic, or by default.
    UncleanElectionEnabled(Option<String>),
    /// `leader.imbalance.check.interval.seconds` have passed.
    RebalanceDue,
}

/// Something to be done by the shell, in the order given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Read these, pipelined; where asked, leave a one-shot watch.
    Read(RequestId, Vec<Read>),
    /// Write these, pipelined, each in a multi of its own with the check of `/controller_epoch`. One that hits the fence
    /// is answered by [`Event::Resigned`] and not by an [`Answer`].
    Write(RequestId, Vec<Op>),
    /// Open a channel to the broker. Before any [`Effect::Send`] to this life of it.
    Connect(Channel),
    /// Close the channel and drop what it has not sent.
    Disconnect(BrokerId),
    /// Put a command on the broker's channel.
    Send(Addressed),
    /// Answer a question.
    Answer(AskId, Result<Reply, Refusal>),
    /// Give up `/controller`: the controller cannot go on. The reason is for the log.
    Resign(String),
    /// The gauges as they are now. Source: the `kafka.controller:type=KafkaController` MBeans.
    Gauges(Gauges),
}

/// Where to find a broker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Channel {
    /// Its id.
    pub broker: BrokerId,
    /// Which life of it.
    pub broker_epoch: BrokerEpoch,
    /// All of its endpoints; the shell knows the listener for the controller.
    pub endpoints: Vec<Endpoint>,
}

/// One thing to read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Read {
    /// A znode's data.
    Data {
        /// Which.
        path: String,
        /// Also fire once when it is created, changed or deleted.
        watch: bool,
    },
    /// A znode's children.
    Children {
        /// Of which.
        path: String,
        /// Also fire once when they change.
        watch: bool,
    },
}

/// What ZooKeeper answered to one read or one write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The data, its version, and the transactions that created the znode and wrote it last.
    Data {
        /// Content.
        data: Bytes,
        /// Data version.
        version: i32,
        /// Creation transaction: for `/brokers/ids/N` this is the broker epoch.
        czxid: i64,
        /// The transaction that wrote the content: the younger one of two is larger, whatever the paths.
        mzxid: i64,
    },
    /// The children's names, in no order.
    Children(Vec<String>),
    /// Written; the data version after it (0 after a create, meaningless after a delete).
    Written {
        /// Data version.
        version: i32,
    },
    /// The znode, or its parent, is not there.
    NoNode,
    /// The znode to be created is there.
    NodeExists,
    /// The data version is another one.
    BadVersion,
    /// The znode to be deleted has children.
    NotEmpty,
    /// Another refusal, such as access or size; trying again would not help.
    Failed(String),
}

/// A question that only the controller can answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ask {
    /// A leader proposes in-sync sets. Source: KIP-497, KIP-704.
    AlterPartition {
        /// The leader.
        broker: BrokerId,
        /// Which life of it.
        broker_epoch: BrokerEpoch,
        /// Version ≥ 2 names topics by id and may be told INELIGIBLE_REPLICA.
        version: i16,
        /// The proposals.
        partitions: Vec<IsrProposal>,
    },
    /// A broker wants to leave in order. Source: KIP-380 for the epoch.
    ControlledShutdown {
        /// The broker.
        broker: BrokerId,
        /// Which life of it; −1 from brokers that do not know.
        broker_epoch: BrokerEpoch,
    },
    /// A broker wants a block of producer ids. Source: KIP-730.
    AllocateProducerIds {
        /// The broker.
        broker: BrokerId,
        /// Which life of it.
        broker_epoch: BrokerEpoch,
    },
    /// An administrator wants leaders elected. Source: KIP-460.
    ElectLeaders {
        /// Unclean rather than preferred.
        unclean: bool,
        /// For which; `None` is for all.
        partitions: Option<Vec<TopicPartition>>,
    },
    /// An administrator moves, or stops moving (`None`), replicas. Source: KIP-455.
    AlterPartitionReassignments {
        /// Target replicas per partition.
        partitions: Vec<(TopicPartition, Option<Vec<BrokerId>>)>,
    },
    /// Which replicas are being moved. Source: KIP-455.
    ListPartitionReassignments {
        /// Of which; `None` is of all.
        partitions: Option<Vec<TopicPartition>>,
    },
}

/// One partition of an AlterPartition request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IsrProposal {
    /// The topic, by name (versions 0–1) or by id.
    pub topic: TopicRef,
    /// The partition's index.
    pub partition: i32,
    /// The leader epoch at which the leader leads.
    pub leader_epoch: LeaderEpoch,
    /// The partition epoch that it knows.
    pub partition_epoch: PartitionEpoch,
    /// The proposed in-sync set.
    pub isr: Vec<BrokerId>,
    /// Whether it has not yet recovered from an unclean election.
    pub recovering: bool,
}

/// A topic, as a request names it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum TopicRef {
    /// By name.
    Name(String),
    /// By id.
    Id(TopicId),
}

/// The controller's answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// Per proposal, in the order asked.
    AlterPartition(Vec<(TopicRef, i32, Result<IsrAccepted, Refusal>)>),
    /// The partitions that the broker still leads.
    ControlledShutdown(Vec<TopicPartition>),
    /// The first id and how many there are.
    ProducerIds {
        /// First id.
        start: i64,
        /// Number of ids.
        len: i32,
    },
    /// Per partition: an error, or `Ok` where the election was done.
    ElectLeaders(Vec<(TopicPartition, Result<(), Refusal>)>),
    /// Per partition: an error, or `Ok` where the reassignment was taken on.
    AlterPartitionReassignments(Vec<(TopicPartition, Result<(), Refusal>)>),
    /// Per partition being moved: its replicas, those being added, those being removed.
    ListPartitionReassignments(Vec<(TopicPartition, super::image::Assignment)>),
}

/// The state of a partition after an AlterPartition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IsrAccepted {
    /// Who leads.
    pub leader: BrokerId,
    /// At which epoch.
    pub leader_epoch: LeaderEpoch,
    /// The in-sync set.
    pub isr: Vec<BrokerId>,
    /// Whether the leader has not yet recovered.
    pub recovering: bool,
    /// The data version of the `state` znode.
    pub partition_epoch: PartitionEpoch,
}

/// Why the controller refuses; each variant is one Kafka error.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// NOT_CONTROLLER (41).
    #[error("this is not the controller")]
    NotController,
    /// STALE_BROKER_EPOCH (77).
    #[error("the broker's epoch is not its current one")]
    StaleBrokerEpoch,
    /// BROKER_ID_NOT_REGISTERED (102).
    #[error("the broker is not registered")]
    BrokerIdNotRegistered,
    /// BROKER_NOT_AVAILABLE (8).
    #[error("the broker is not available")]
    BrokerNotAvailable,
    /// UNKNOWN_TOPIC_ID (100).
    #[error("no topic has this id")]
    UnknownTopicId,
    /// UNKNOWN_TOPIC_OR_PARTITION (3).
    #[error("The partition does not exist.")]
    UnknownTopicOrPartition,
    /// FENCED_LEADER_EPOCH (74).
    #[error("the leader epoch is older than the current one")]
    FencedLeaderEpoch,
    /// INVALID_UPDATE_VERSION (95).
    #[error("the partition epoch is older than the current one")]
    InvalidUpdateVersion,
    /// INVALID_REQUEST (42).
    #[error("the request is not valid")]
    InvalidRequest,
    /// INELIGIBLE_REPLICA (107).
    #[error("a replica in the new in-sync set is not alive")]
    IneligibleReplica,
    /// OPERATION_NOT_ATTEMPTED (55).
    #[error("the operation was not attempted")]
    OperationNotAttempted,
    /// ELECTION_NOT_NEEDED (84).
    #[error("Leader election not needed for topic partition.")]
    ElectionNotNeeded,
    /// PREFERRED_LEADER_NOT_AVAILABLE (80).
    #[error("{0}")]
    PreferredLeaderNotAvailable(String),
    /// ELIGIBLE_LEADERS_NOT_AVAILABLE (83).
    #[error("{0}")]
    EligibleLeadersNotAvailable(String),
    /// INVALID_TOPIC_EXCEPTION (17).
    #[error("The topic is being deleted")]
    TopicBeingDeleted,
    /// INVALID_REPLICA_ASSIGNMENT (39).
    #[error("{0}")]
    InvalidReplicaAssignment(String),
    /// NO_REASSIGNMENT_IN_PROGRESS (85).
    #[error("No partition reassignment is in progress.")]
    NoReassignmentInProgress,
    /// UNKNOWN_SERVER_ERROR (−1).
    #[error("{0}")]
    Failed(String),
}

/// What the controller counts. Source: Kafka 3.9 `KafkaController.updateMetrics`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Gauges {
    /// `GlobalTopicCount`.
    pub topics: usize,
    /// `GlobalPartitionCount`.
    pub partitions: usize,
    /// `OfflinePartitionsCount`.
    pub offline_partitions: usize,
    /// `PreferredReplicaImbalanceCount`.
    pub preferred_replica_imbalance: usize,
    /// `TopicsToDeleteCount`.
    pub topics_to_delete: usize,
    /// `TopicsIneligibleToDeleteCount`.
    pub topics_ineligible_to_delete: usize,
    /// `ActiveBrokerCount`.
    pub active_brokers: usize,
    /// `UncleanLeaderElectionsPerSec` counts these since this controller was elected.
    pub unclean_elections: u64,
}
