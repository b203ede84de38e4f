//! What every core needs of the shell that hosts it: the time, names for requests and appends, and how an append failed.

use model::Millis;

/// The moment of an event, read once by the shell.
///
/// Two clocks: commit timestamps and retention are compared with what was written on other days and brokers, but a
/// step of the wall clock must not end everybody's session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Now {
    /// Milliseconds since 1970.
    pub wall: Millis,
    /// Milliseconds since any fixed moment; never goes back.
    pub steady: Millis,
}

/// How an append to a coordinator's topic failed, in the terms that its answers depend on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AppendFailure {
    /// UNKNOWN_TOPIC_OR_PARTITION, NOT_ENOUGH_REPLICAS, NOT_ENOUGH_REPLICAS_AFTER_APPEND
    NotAvailable,
    /// NOT_LEADER_OR_FOLLOWER, KAFKA_STORAGE_ERROR
    NotLeader,
    /// REQUEST_TIMED_OUT: appended, but not replicated in time
    TimedOut,
    /// MESSAGE_TOO_LARGE, RECORD_LIST_TOO_LARGE, INVALID_FETCH_SIZE
    TooLarge,
    /// INVALID_PRODUCER_EPOCH
    Fenced,
    /// INVALID_TXN_STATE
    NoTransaction,
    /// Anything else
    Other,
}

/// Which waiting request an answer belongs to; made by the shell, opaque here, used at most once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Ticket(pub u64);

/// Which append an outcome belongs to; made here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct WriteId(pub u64);
