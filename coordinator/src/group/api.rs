//! What goes into the group core and what comes out: requests, answers, errors, effects. Plain data.

use std::sync::Arc;

use bytes::Bytes;
use model::{LeaderEpoch, Millis, Offset, ProducerEpoch, ProducerId, Sequence, TopicPartition, VerificationGuard};

use super::state::GroupState;
use crate::hosting::{AppendFailure, Ticket, WriteId};
use crate::record::Record;

/// "No member id yet" in a request, "no member" in an answer. Source: `JoinGroupRequest.UNKNOWN_MEMBER_ID`.
pub const UNKNOWN_MEMBER_ID: &str = "";

/// The generation of an answer that has none. Source: `GroupCoordinator.NoGeneration`.
pub const NO_GENERATION: i32 = -1;

/// The broker's settings that groups obey. Each field is named after its key, Kafka's defaults by [`Default`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupConfig {
    /// `group.min.session.timeout.ms`
    pub min_session_timeout: Millis,
    /// `group.max.session.timeout.ms`
    pub max_session_timeout: Millis,
    /// `group.initial.rebalance.delay.ms`
    pub initial_rebalance_delay: Millis,
    /// `group.max.size`
    pub max_size: usize,
    /// `offset.metadata.max.bytes`, which Kafka counts in UTF-16 units
    pub offset_metadata_max_bytes: usize,
    /// `offsets.retention.minutes`
    pub offsets_retention: Millis,
    /// `offsets.retention.check.interval.ms`
    pub offsets_retention_check_interval: Millis,
}

impl Default for GroupConfig {
    fn default() -> Self {
        Self {
            min_session_timeout: Millis(6_000),
            max_session_timeout: Millis(1_800_000),
            initial_rebalance_delay: Millis(3_000),
            max_size: i32::MAX as usize,
            offset_metadata_max_bytes: 4_096,
            offsets_retention: Millis(10_080 * 60_000),
            offsets_retention_check_interval: Millis(600_000),
        }
    }
}

/// Why a group request is refused; each variant is the Kafka error of that name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum GroupError {
    /// → COORDINATOR_LOAD_IN_PROGRESS (14)
    #[error("the coordinator is loading")]
    CoordinatorLoadInProgress,
    /// → COORDINATOR_NOT_AVAILABLE (15)
    #[error("the coordinator is not available")]
    CoordinatorNotAvailable,
    /// → NOT_COORDINATOR (16)
    #[error("this broker is not the group's coordinator")]
    NotCoordinator,
    /// → ILLEGAL_GENERATION (22)
    #[error("not the group's current generation")]
    IllegalGeneration,
    /// → INCONSISTENT_GROUP_PROTOCOL (23)
    #[error("the member's protocols do not fit the group's")]
    InconsistentGroupProtocol,
    /// → INVALID_GROUP_ID (24)
    #[error("the group id is invalid")]
    InvalidGroupId,
    /// → UNKNOWN_MEMBER_ID (25)
    #[error("the group does not know this member")]
    UnknownMemberId,
    /// → INVALID_SESSION_TIMEOUT (26)
    #[error("the session timeout is outside the broker's bounds")]
    InvalidSessionTimeout,
    /// → REBALANCE_IN_PROGRESS (27)
    #[error("the group is rebalancing")]
    RebalanceInProgress,
    /// → INVALID_COMMIT_OFFSET_SIZE (28)
    #[error("the committed offsets are too large for the offsets topic")]
    InvalidCommitOffsetSize,
    /// → OFFSET_METADATA_TOO_LARGE (12)
    #[error("the metadata of the offset is too large")]
    OffsetMetadataTooLarge,
    /// → NON_EMPTY_GROUP (68)
    #[error("the group is not empty")]
    NonEmptyGroup,
    /// → GROUP_ID_NOT_FOUND (69)
    #[error("no such group")]
    GroupIdNotFound,
    /// → MEMBER_ID_REQUIRED (79)
    #[error("join again with the member id of this answer")]
    MemberIdRequired,
    /// → GROUP_MAX_SIZE_REACHED (81)
    #[error("the group is full")]
    GroupMaxSizeReached,
    /// → FENCED_INSTANCE_ID (82)
    #[error("another member has taken this group.instance.id")]
    FencedInstanceId,
    /// → GROUP_SUBSCRIBED_TO_TOPIC (86)
    #[error("the group consumes this topic")]
    GroupSubscribedToTopic,
    /// → UNSTABLE_OFFSET_COMMIT (88)
    #[error("a commit or transaction on this offset is pending")]
    UnstableOffsetCommit,
    /// → INVALID_PRODUCER_EPOCH (47): a newer instance of the transactional producer has written
    #[error("the producer is fenced")]
    InvalidProducerEpoch,
    /// → INVALID_TXN_STATE (48): the commit belongs to no transaction that is open
    #[error("the transaction is not open")]
    InvalidTxnState,
    /// → REQUEST_TIMED_OUT (7): the commit was not replicated in time
    #[error("not replicated in time")]
    RequestTimedOut,
    /// → UNKNOWN_SERVER_ERROR (-1)
    #[error("unexpected")]
    UnknownServerError,
}

impl AppendFailure {
    /// What members are told when the group's metadata could not be stored. Source: `GroupMetadataManager.storeGroup`.
    pub const fn for_group(self) -> GroupError {
        match self {
            Self::NotAvailable => GroupError::CoordinatorNotAvailable,
            Self::NotLeader => GroupError::NotCoordinator,
            Self::TimedOut => GroupError::RebalanceInProgress,
            Self::TooLarge | Self::Fenced | Self::NoTransaction | Self::Other => GroupError::UnknownServerError,
        }
    }

    /// What a committer is told. Source: `GroupMetadataManager.maybeConvertOffsetCommitError`.
    pub const fn for_commit(self) -> GroupError {
        match self {
            Self::NotAvailable => GroupError::CoordinatorNotAvailable,
            Self::NotLeader => GroupError::NotCoordinator,
            Self::TimedOut => GroupError::RequestTimedOut,
            Self::TooLarge => GroupError::InvalidCommitOffsetSize,
            Self::Fenced => GroupError::InvalidProducerEpoch,
            Self::NoTransaction => GroupError::InvalidTxnState,
            Self::Other => GroupError::UnknownServerError,
        }
    }
}

/// One way in which a member could share work out, most wanted first in its list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Protocol {
    /// For consumers the assignor's name (`range`).
    pub name: Arc<str>,
    /// Opaque but for consumers' subscribed topics.
    pub metadata: Bytes,
}

/// JoinGroup, as the core needs it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JoinRequest {
    /// The group.
    pub group_id: Arc<str>,
    /// [`UNKNOWN_MEMBER_ID`] on the first join.
    pub member_id: Arc<str>,
    /// Set for a static member (KIP-345).
    pub group_instance_id: Option<Arc<str>>,
    /// From the request's header.
    pub client_id: Arc<str>,
    /// The peer's address as Kafka stores it (`/127.0.0.1`).
    pub client_host: Arc<str>,
    /// How long a rebalance waits for this member.
    pub rebalance_timeout_ms: i32,
    /// How long the member may be silent.
    pub session_timeout_ms: i32,
    /// `consumer`, `connect`, …
    pub protocol_type: Arc<str>,
    /// What the member supports, most wanted first.
    pub protocols: Vec<Protocol>,
    /// Version 4 on without an instance id: the member must come back with the id it is given (KIP-394).
    pub require_known_member_id: bool,
    /// Version 9 on: the answer's `skip_assignment` is understood (KIP-814).
    pub support_skipping_assignment: bool,
    /// A fresh random UUID as text, the tail of the member id if one must be made.
    pub new_member_uuid: String,
    /// Why the member joins, in its own words; for the log.
    pub reason: Option<String>,
}

/// A member as the leader sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JoinedMember {
    /// Its id.
    pub member_id: Arc<str>,
    /// Its `group.instance.id`, if static.
    pub group_instance_id: Option<Arc<str>>,
    /// Its metadata for the chosen protocol.
    pub metadata: Bytes,
}

/// The answer to JoinGroup.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JoinAnswer {
    /// `None` is success.
    pub error: Option<GroupError>,
    /// The id to go on with; with [`GroupError::MemberIdRequired`] the one to join again with.
    pub member_id: Arc<str>,
    /// [`NO_GENERATION`] with most errors.
    pub generation_id: i32,
    /// The group's protocol type.
    pub protocol_type: Option<Arc<str>>,
    /// The protocol chosen by the members' votes.
    pub protocol_name: Option<Arc<str>>,
    /// Empty with errors.
    pub leader_id: Arc<str>,
    /// The member leads but must not assign: the group is stable and keeps its assignment.
    pub skip_assignment: bool,
    /// For the leader only.
    pub members: Vec<JoinedMember>,
}

impl JoinAnswer {
    /// A refusal.
    pub fn refused(member_id: impl Into<Arc<str>>, error: GroupError) -> Self {
        Self {
            error: Some(error),
            member_id: member_id.into(),
            generation_id: NO_GENERATION,
            protocol_type: None,
            protocol_name: None,
            leader_id: "".into(),
            skip_assignment: false,
            members: Vec::new(),
        }
    }
}

/// SyncGroup.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SyncRequest {
    /// The group.
    pub group_id: Arc<str>,
    /// The generation that the member joined.
    pub generation_id: i32,
    /// The member.
    pub member_id: Arc<str>,
    /// Set for a static member.
    pub group_instance_id: Option<Arc<str>>,
    /// Version 5 on: must be the group's.
    pub protocol_type: Option<Arc<str>>,
    /// Version 5 on: must be the group's.
    pub protocol_name: Option<Arc<str>>,
    /// Member id and assignment; from the leader only.
    pub assignments: Vec<(Arc<str>, Bytes)>,
}

/// The answer to a SyncGroup that succeeded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SyncAnswer {
    /// The group's protocol type.
    pub protocol_type: Option<Arc<str>>,
    /// The group's protocol.
    pub protocol_name: Option<Arc<str>>,
    /// What this member shall do.
    pub assignment: Bytes,
}

/// Heartbeat.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeartbeatRequest {
    /// The group.
    pub group_id: Arc<str>,
    /// The generation that the member joined.
    pub generation_id: i32,
    /// The member.
    pub member_id: Arc<str>,
    /// Set for a static member.
    pub group_instance_id: Option<Arc<str>>,
}

/// One member that leaves, or is removed by an administrator through its instance id alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeavingMember {
    /// [`UNKNOWN_MEMBER_ID`] to remove by instance id.
    pub member_id: Arc<str>,
    /// Set for a static member.
    pub group_instance_id: Option<Arc<str>>,
    /// Why, in the client's own words; for the log.
    pub reason: Option<String>,
}

/// A committed offset. Source: `OffsetAndMetadata`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommittedOffset {
    /// The next offset that the group will read.
    pub offset: Offset,
    /// The leader epoch of the last record read, or [`LeaderEpoch::NONE`].
    pub leader_epoch: LeaderEpoch,
    /// Whatever the client wants to remember.
    pub metadata: Arc<str>,
    /// When it was committed.
    pub commit_timestamp: Millis,
    /// Only of clients that set their own retention (OffsetCommit 2–4); others obey `offsets.retention.minutes`.
    pub expire_timestamp: Option<Millis>,
}

/// OffsetCommit, versions 1 and up. A partition named twice is committed once, with the last value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommitRequest {
    /// The group.
    pub group_id: Arc<str>,
    /// Negative for a committer that uses no group membership.
    pub generation_id: i32,
    /// The member, or [`UNKNOWN_MEMBER_ID`].
    pub member_id: Arc<str>,
    /// Set for a static member.
    pub group_instance_id: Option<Arc<str>>,
    /// The offsets.
    pub offsets: Vec<(TopicPartition, CommittedOffset)>,
}

/// TxnOffsetCommit: the offsets count when the transaction commits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TransactionalCommitRequest {
    /// The commit.
    pub commit: CommitRequest,
    /// The transactional producer.
    pub producer_id: ProducerId,
    /// Its epoch.
    pub producer_epoch: ProducerEpoch,
    /// What its verification has given; for the append.
    pub verification: VerificationGuard,
}

/// What OffsetFetch says of one partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FetchedOffset {
    /// The group has committed this.
    Committed(CommittedOffset),
    /// Nothing committed: offset −1, empty metadata, no error.
    None,
    /// → UNSTABLE_OFFSET_COMMIT: only with `require_stable`.
    Unstable,
}

/// A group as ListGroups shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupOverview {
    /// The group's id.
    pub group_id: Arc<str>,
    /// Empty if there never was a member.
    pub protocol_type: Arc<str>,
    /// Its state.
    pub state: GroupState,
}

/// A member as DescribeGroups shows it; metadata and assignment are empty unless the group is stable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberDescription {
    /// Its id.
    pub member_id: Arc<str>,
    /// Its `group.instance.id`, if static.
    pub group_instance_id: Option<Arc<str>>,
    /// Its client id.
    pub client_id: Arc<str>,
    /// Its address as Kafka stores it (`/127.0.0.1`).
    pub client_host: Arc<str>,
    /// Its metadata for the group's protocol.
    pub metadata: Bytes,
    /// Its assignment.
    pub assignment: Bytes,
}

/// A group as DescribeGroups shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupDescription {
    /// `Dead` for a group that does not exist.
    pub state: GroupState,
    /// Empty if there never was a member.
    pub protocol_type: Arc<str>,
    /// The chosen protocol; empty unless the group is stable.
    pub protocol: Arc<str>,
    /// The members.
    pub members: Vec<MemberDescription>,
}

/// One batch for `__consumer_offsets`; its records have `timestamp` as create time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch {
    /// The records, in order, never empty.
    pub records: Vec<Record>,
    /// The wall clock of the event.
    pub timestamp: Millis,
    /// Set for transactional commits: the batch is transactional and of this producer.
    pub producer: Option<(ProducerId, ProducerEpoch)>,
    /// To be shown when it is appended; only of transactional commits.
    pub verification: VerificationGuard,
    /// 0 for offsets and −1 for all else, with or without a producer: Kafka writes it so, and nobody checks it here.
    pub base_sequence: Sequence,
}

/// What the shell must do, in this order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Append with acks=all, report by [`super::Groups::placed`] where it is in the log, and by [`super::Groups::appended`] once
    /// it is replicated. Appends of one core must reach the log in the
    /// order of these effects.
    Append(WriteId, Batch),
    /// Append without waiting or reporting: tombstones. If one is lost, the next clean-up writes it again.
    AppendLazily(Batch),
    /// Answer a JoinGroup.
    Joined(Ticket, JoinAnswer),
    /// Answer a SyncGroup.
    Synced(Ticket, Result<SyncAnswer, GroupError>),
    /// Answer an OffsetCommit or TxnOffsetCommit.
    Committed(Ticket, CommitAnswer),
    /// Worth a line in the log.
    Note(Note),
}

/// The answer to a commit: each partition once.
pub type CommitAnswer = Vec<(TopicPartition, Option<GroupError>)>;

/// What happened to a group, for the log and for metrics.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Note {
    /// The group waits for its members to join again.
    Rebalancing {
        /// The group.
        group_id: Arc<str>,
        /// The generation that ends.
        generation_id: i32,
        /// What caused it.
        reason: String,
    },
    /// A new generation has its members.
    Stabilized {
        /// The group.
        group_id: Arc<str>,
        /// The new generation.
        generation_id: i32,
        /// How many.
        members: usize,
    },
    /// The leader has handed in the assignment and it is stored.
    RebalanceCompleted {
        /// The group.
        group_id: Arc<str>,
        /// The generation.
        generation_id: i32,
    },
    /// The last member is gone.
    Emptied {
        /// The group.
        group_id: Arc<str>,
        /// The generation of the empty group.
        generation_id: i32,
    },
    /// A member was removed because it did not do its part in time.
    MemberFailed {
        /// The group.
        group_id: Arc<str>,
        /// The member.
        member_id: Arc<str>,
        /// What it missed.
        missed: Missed,
    },
    /// Committed offsets were removed by expiry.
    OffsetsExpired {
        /// The group.
        group_id: Arc<str>,
        /// How many.
        count: usize,
    },
    /// The group was removed.
    Removed {
        /// The group.
        group_id: Arc<str>,
        /// The last generation.
        generation_id: i32,
    },
    /// The group's metadata could not be stored.
    StoreFailed {
        /// The group.
        group_id: Arc<str>,
        /// The generation.
        generation_id: i32,
        /// Why.
        failure: AppendFailure,
    },
}

/// What a removed member had not done in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Missed {
    /// Heartbeat within `session.timeout.ms`
    Heartbeat,
    /// JoinGroup within the rebalance timeout
    Join,
    /// SyncGroup within the rebalance timeout
    Sync,
    /// The second JoinGroup, with the member id it was given
    SecondJoin,
}
