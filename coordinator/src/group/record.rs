//! The records of `__consumer_offsets`, byte for byte as Kafka 3.9 writes them.
//!
//! Keys: version 0 and 1 are a committed offset, 2 is a group's metadata; keys of the newer group protocol (3 and up)
//! are passed over, as Kafka's classic coordinator does. Values are written at version 3 (an offset with its own expiry at
//! version 1, the only one that has the field) and read at versions 0 to 4. No value is a tombstone.
//! Every count and length is checked against the bytes that are there before anything is allocated.
//!
//! ```text
//! key                 value
//! i16 1               i16 3, i64 offset, i32 leader epoch, string metadata, i64 commit timestamp
//!   string group      i16 1, i64 offset, string metadata, i64 commit timestamp, i64 expire timestamp
//!   string topic
//!   i32 partition
//! i16 2               i16 3, string protocol type, i32 generation, string? protocol, string? leader,
//!   string group        i64 state timestamp, i32 count of members, each: string member id, string? instance id,
//!                       string client id, string client host, i32 rebalance timeout, i32 session timeout,
//!                       bytes subscription, bytes assignment
//! ```
//! Source: Kafka 3.9 `OffsetCommitKey.json`, `OffsetCommitValue.json`, `GroupMetadataKey.json`, `GroupMetadataValue.json`,
//! `GroupMetadataManager.scala`.

use std::sync::Arc;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use model::{LeaderEpoch, Millis, Offset, TopicPartition};

use super::api::CommittedOffset;

/// One record: a key, and a value or a tombstone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// The key's bytes.
    pub key: Bytes,
    /// The value's bytes; `None` is a tombstone.
    pub value: Option<Bytes>,
}

/// What a record is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Key {
    /// An offset of a group.
    Offset {
        /// The group.
        group_id: Arc<str>,
        /// What was consumed.
        partition: TopicPartition,
    },
    /// A group's members and generation.
    Group {
        /// The group.
        group_id: Arc<str>,
    },
    /// A key of another version, to be passed over.
    Unknown(i16),
}

/// A group as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredGroup {
    /// Empty if there never was a member.
    pub protocol_type: Arc<str>,
    /// The generation.
    pub generation_id: i32,
    /// `None` for an empty group.
    pub protocol_name: Option<Arc<str>>,
    /// `None` for an empty group.
    pub leader_id: Option<Arc<str>>,
    /// When the group entered its state; [`Millis::NONE`] if written by an old broker.
    pub current_state_timestamp: Millis,
    /// The members.
    pub members: Vec<StoredMember>,
}

/// A member as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredMember {
    /// Its id.
    pub member_id: Arc<str>,
    /// Its `group.instance.id`, if static.
    pub group_instance_id: Option<Arc<str>>,
    /// Its client id.
    pub client_id: Arc<str>,
    /// Its address (`/127.0.0.1`).
    pub client_host: Arc<str>,
    /// Its rebalance timeout.
    pub rebalance_timeout_ms: i32,
    /// Its session timeout.
    pub session_timeout_ms: i32,
    /// Its metadata for the group's protocol.
    pub subscription: Bytes,
    /// Its assignment.
    pub assignment: Bytes,
}

/// A record of `__consumer_offsets` that cannot be read, or text too long to be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// The bytes end before the field does.
    #[error("the record ends too early")]
    Truncated,
    /// A length or count that cannot be.
    #[error("a length or count of the record is out of range")]
    BadLength,
    /// Text that is not UTF-8.
    #[error("text of the record is not UTF-8")]
    NotUtf8,
    /// A null where the schema has none.
    #[error("a field of the record must not be null")]
    Null,
    /// A value of a version newer than 4.
    #[error("unknown version {0} of the record's value")]
    UnknownVersion(i16),
    /// A string of more than 32,767 bytes cannot be stored.
    #[error("a string is too long to be stored")]
    TooLong,
}
