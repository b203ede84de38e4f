//! What goes into the transaction core and what comes out: requests, answers, errors, effects. Plain data.

use std::collections::BTreeSet;
use std::sync::Arc;

use model::{LeaderEpoch, Millis, ProducerEpoch, ProducerId, TopicPartition};

use super::state::TransactionState;
use crate::hosting::{AppendFailure, Ticket, WriteId};
use crate::record::Record;

/// The broker's settings that transactions obey. Each field is named after its key, Kafka's defaults by [`Default`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TransactionConfig {
    /// `transactional.id.expiration.ms`
    pub transactional_id_expiration: Millis,
    /// `transaction.max.timeout.ms`
    pub max_timeout: Millis,
    /// `transaction.abort.timed.out.transaction.cleanup.interval.ms`
    pub abort_timed_out_interval: Millis,
    /// `transaction.remove.expired.transaction.cleanup.interval.ms`
    pub remove_expired_interval: Millis,
    /// `max.message.bytes` of `__transaction_state`: how large a batch of tombstones may be
    pub max_batch_bytes: usize,
    /// `transaction.version` is 1 or higher: records are written at version 1. Never so with ZooKeeper and 3.9.
    pub flexible_records: bool,
}

impl Default for TransactionConfig {
    fn default() -> Self {
        Self {
            transactional_id_expiration: Millis(7 * 24 * 3_600_000),
            max_timeout: Millis(900_000),
            abort_timed_out_interval: Millis(10_000),
            remove_expired_interval: Millis(3_600_000),
            max_batch_bytes: 1_048_588,
            flexible_records: false,
        }
    }
}

/// Why a request about a transaction is refused; each variant is the Kafka error of that name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum TransactionError {
    /// → COORDINATOR_LOAD_IN_PROGRESS (14); made by the shell, also when no producer id is at hand
    #[error("the coordinator is loading")]
    CoordinatorLoadInProgress,
    /// → COORDINATOR_NOT_AVAILABLE (15)
    #[error("the coordinator is not available")]
    CoordinatorNotAvailable,
    /// → NOT_COORDINATOR (16)
    #[error("this broker is not the coordinator of the transactional id")]
    NotCoordinator,
    /// → INVALID_REQUEST (42): the transactional id is empty
    #[error("the transactional id is empty")]
    InvalidRequest,
    /// → INVALID_TXN_STATE (48)
    #[error("the transaction's state does not allow this")]
    InvalidTxnState,
    /// → INVALID_PRODUCER_ID_MAPPING (49)
    #[error("the producer id is not the one of the transactional id")]
    InvalidProducerIdMapping,
    /// → INVALID_TRANSACTION_TIMEOUT (50)
    #[error("the transaction timeout is not positive or larger than the broker allows")]
    InvalidTransactionTimeout,
    /// → CONCURRENT_TRANSACTIONS (51): come again
    #[error("a change of this transaction is under way")]
    ConcurrentTransactions,
    /// → PRODUCER_FENCED (90), and INVALID_PRODUCER_EPOCH (47) at versions that do not know it
    #[error("a newer producer has taken the transactional id")]
    ProducerFenced,
    /// → TRANSACTIONAL_ID_NOT_FOUND (105)
    #[error("no such transactional id")]
    TransactionalIdNotFound,
    /// → TRANSACTION_ABORTABLE (120): the partition is not part of the transaction
    #[error("the transaction must be aborted")]
    TransactionAbortable,
    /// → UNKNOWN_SERVER_ERROR (-1)
    #[error("unexpected")]
    UnknownServerError,
}

impl AppendFailure {
    /// What the producer is told when the record of its request could not be stored.
    /// Source: `TransactionStateManager.appendTransactionToLog`.
    pub const fn for_transaction(self) -> TransactionError {
        match self {
            Self::NotAvailable | Self::TimedOut => TransactionError::CoordinatorNotAvailable,
            Self::NotLeader => TransactionError::NotCoordinator,
            Self::TooLarge | Self::Fenced | Self::NoTransaction | Self::Other => TransactionError::UnknownServerError,
        }
    }
}

/// How a transaction ends. Source: `TransactionResult`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TransactionResult {
    /// `true` on the wire
    Commit,
    /// `false` on the wire
    Abort,
}

/// A producer id and the epoch that may use it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Producer {
    /// The id.
    pub id: ProducerId,
    /// Its epoch.
    pub epoch: ProducerEpoch,
}

/// InitProducerId with a transactional id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InitRequest {
    /// Not null; the empty one is refused.
    pub transactional_id: Arc<str>,
    /// `transaction.timeout.ms` of the client.
    pub timeout_ms: i32,
    /// What the producer has now, from version 3 on (KIP-360); `None` unless both fields are set.
    pub expected: Option<Producer>,
}

/// AddPartitionsToTxn of one transaction, or AddOffsetsToTxn with the group's partition of `__consumer_offsets`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AddPartitionsRequest {
    /// Not null; the empty one is refused.
    pub transactional_id: Arc<str>,
    /// Who asks.
    pub producer: Producer,
    /// What is to become, or shall already be, part of the transaction.
    pub partitions: BTreeSet<TopicPartition>,
}

/// Which partitions are part of the transaction: TRANSACTION_ABORTABLE for those that are not.
pub type Verified = Vec<(TopicPartition, Result<(), TransactionError>)>;

/// EndTxn.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndRequest {
    /// Not null; the empty one is refused.
    pub transactional_id: Arc<str>,
    /// Who asks.
    pub producer: Producer,
    /// Commit or abort.
    pub result: TransactionResult,
}

/// Which transactions ListTransactions wants; empty sets and `None` want all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ListFilter {
    /// Only those of these producers.
    pub producer_ids: BTreeSet<ProducerId>,
    /// Only those in these states. `Some` of an empty set (only names that nobody knows) wants none.
    pub states: Option<BTreeSet<TransactionState>>,
    /// Only those begun longer ago than this; negative wants all (version 1).
    pub duration: Option<Millis>,
}

/// A transactional id as ListTransactions shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TransactionListing {
    /// The id.
    pub transactional_id: Arc<str>,
    /// Its producer.
    pub producer_id: ProducerId,
    /// Its state.
    pub state: TransactionState,
}

/// A transactional id as DescribeTransactions shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TransactionDescription {
    /// Its state.
    pub state: TransactionState,
    /// Its producer.
    pub producer: Producer,
    /// Its timeout.
    pub timeout_ms: i32,
    /// When the transaction began; [`Millis::NONE`] if there was none.
    pub start_time: Millis,
    /// What it touches; once it is prepared, what still waits for its marker. In order.
    pub partitions: BTreeSet<TopicPartition>,
}

/// Which transaction's end the outcome of a marker belongs to; made here, never used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MarkersId(pub u64);

/// Markers to be written to the leaders of these partitions: one WriteTxnMarkers entry for each leader.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Markers {
    /// What to report outcomes under.
    pub id: MarkersId,
    /// The transaction's producer, and the epoch that the marker carries.
    pub producer: Producer,
    /// The leader epoch of the `__transaction_state` partition.
    pub coordinator_epoch: LeaderEpoch,
    /// Commit or abort.
    pub result: TransactionResult,
    /// Not empty, in order.
    pub partitions: Vec<TopicPartition>,
}

/// What became of the marker for one partition. Source: `TransactionMarkerRequestCompletionHandler`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MarkerOutcome {
    /// NONE
    Written,
    /// The partition is not in the (complete) metadata any more, so there is nothing to be ended. Not to be said while the broker has
    /// not yet received its first metadata, nor when the leader is merely not known or not alive: that is [`Self::Retry`].
    Deleted,
    /// UNSUPPORTED_FOR_MESSAGE_FORMAT, UNSUPPORTED_VERSION: the producer cannot have written there
    Unsupported,
    /// UNKNOWN_TOPIC_OR_PARTITION, NOT_LEADER_OR_FOLLOWER, NOT_ENOUGH_REPLICAS, NOT_ENOUGH_REPLICAS_AFTER_APPEND, REQUEST_TIMED_OUT,
    /// KAFKA_STORAGE_ERROR; disconnected, leader not known, leader not alive. The core sends it again after a back-off.
    Retry,
    /// INVALID_PRODUCER_EPOCH, TRANSACTION_COORDINATOR_FENCED: there is a newer producer or coordinator
    Fenced,
    /// Anything else, which Kafka calls fatal. Sent again after the longest back-off.
    Unexpected,
}

/// One append to `__transaction_state`: a batch without producer, uncompressed, acks=all, as the coordinator's own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Append {
    /// The records, in order, never empty: one state, or tombstones.
    pub records: Vec<Record>,
    /// The wall clock of the event; create time of every record.
    pub timestamp: Millis,
    /// How long to wait for the followers: the transaction's own timeout. `None` (tombstones): `request.timeout.ms`.
    pub timeout: Option<Millis>,
}

/// What the shell must do, in this order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Append with acks=all, then report by [`super::Transactions::appended`]. Appends of one core must reach the log in the
    /// order of these effects.
    Append(WriteId, Append),
    /// Send, then report each partition, alone or together, by [`super::Transactions::markers_answered`].
    Send(Markers),
    /// Answer an InitProducerId.
    Initialized(Ticket, Result<Producer, TransactionError>),
    /// Answer an AddPartitionsToTxn or AddOffsetsToTxn: the same for all its partitions.
    Added(Ticket, Result<(), TransactionError>),
    /// Answer an EndTxn.
    Ended(Ticket, Result<(), TransactionError>),
    /// Worth a line in the log.
    Note(Note),
}

/// What happened to a transaction, for the log and for metrics.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Note {
    /// Info: the transactional id has a producer.
    Initialized {
        /// The id.
        transactional_id: Arc<str>,
        /// Its producer.
        producer: Producer,
    },
    /// Info: aborted because it took longer than its timeout.
    TimedOut {
        /// The id.
        transactional_id: Arc<str>,
        /// The producer, at its bumped epoch.
        producer: Producer,
    },
    /// Info: prepared by an earlier coordinator; its markers are sent again.
    Resumed {
        /// The id.
        transactional_id: Arc<str>,
        /// How it ends.
        result: TransactionResult,
    },
    /// Debug: every marker is written and so is the last record.
    Completed {
        /// The id.
        transactional_id: Arc<str>,
        /// How it ended.
        result: TransactionResult,
    },
    /// Info: these get no marker because they exist no more, or cannot hold one.
    MarkersSkipped {
        /// The id.
        transactional_id: Arc<str>,
        /// Which, and why.
        partitions: Vec<(TopicPartition, MarkerOutcome)>,
    },
    /// Info, or a warning with [`MarkerOutcome::Unexpected`]: markers have to be sent again.
    MarkersRetried {
        /// The id.
        transactional_id: Arc<str>,
        /// Which, and why.
        partitions: Vec<(TopicPartition, MarkerOutcome)>,
    },
    /// Warning: a partition knows a newer producer or coordinator; nothing more is sent for this transaction. It stays as it is until
    /// another coordinator loads it.
    MarkersFenced {
        /// The id.
        transactional_id: Arc<str>,
        /// The one that knew.
        partition: TopicPartition,
    },
    /// Info: removed because nobody used it for `transactional.id.expiration.ms`.
    Expired {
        /// The ids.
        transactional_ids: Vec<Arc<str>>,
    },
    /// Warning: a record could not be stored; the change is forgotten, or tried again if all markers are written already.
    StoreFailed {
        /// The id, or the first one of many tombstones.
        transactional_id: Arc<str>,
        /// The state that was to be entered.
        state: TransactionState,
        /// Why.
        failure: AppendFailure,
    },
}
