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

use bytes::{BufMut, Bytes, BytesMut};
use model::{LeaderEpoch, Millis, Offset, TopicPartition};

use super::api::CommittedOffset;
use crate::record::{Reader, RecordError, put_count, put_nullable_string, put_string};

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

const OFFSET_KEY: i16 = 1;
const GROUP_KEY: i16 = 2;
/// The highest version that is not flexible; Kafka stays at it until a tagged field is needed.
const VALUE_VERSION: i16 = 3;
/// Has `expireTimestamp`; the only one that does.
const EXPIRING_OFFSET_VERSION: i16 = 1;
const HIGHEST_VALUE_VERSION: i16 = 4;

impl Key {
    /// The key's bytes; `None` for [`Key::Unknown`], which is never written.
    ///
    /// # Errors
    /// [`RecordError::TooLong`] for ids and topics over 32,767 bytes.
    pub fn encode(&self) -> Result<Option<Bytes>, RecordError> {
        let mut out = BytesMut::with_capacity(64);
        match self {
            Self::Offset { group_id, partition } => {
                out.put_i16(OFFSET_KEY);
                put_string(&mut out, group_id)?;
                put_string(&mut out, &partition.topic)?;
                out.put_i32(partition.partition);
            }
            Self::Group { group_id } => {
                out.put_i16(GROUP_KEY);
                put_string(&mut out, group_id)?;
            }
            Self::Unknown(_) => return Ok(None),
        }
        Ok(Some(out.freeze()))
    }

    /// Reads a key.
    ///
    /// # Errors
    /// If the bytes are not a key of their version.
    pub fn decode(bytes: &[u8]) -> Result<Self, RecordError> {
        let mut reader = Reader { left: bytes };
        let version = reader.i16()?;
        Ok(match version {
            0 | OFFSET_KEY => Self::Offset {
                group_id: reader.string()?,
                partition: TopicPartition {
                    topic: reader.string()?,
                    partition: reader.i32()?,
                },
            },
            GROUP_KEY => Self::Group {
                group_id: reader.string()?,
            },
            other => Self::Unknown(other),
        })
    }
}

impl CommittedOffset {
    /// The value's bytes: version 3, or version 1 for an offset with an expiry of its own.
    ///
    /// # Errors
    /// [`RecordError::TooLong`] for metadata over 32,767 bytes.
    pub fn encode(&self) -> Result<Bytes, RecordError> {
        let mut out = BytesMut::with_capacity(32 + self.metadata.len());
        match self.expire_timestamp {
            None => {
                out.put_i16(VALUE_VERSION);
                out.put_i64(self.offset.0);
                out.put_i32(self.leader_epoch.0);
                put_string(&mut out, &self.metadata)?;
                out.put_i64(self.commit_timestamp.0);
            }
            Some(expire) => {
                out.put_i16(EXPIRING_OFFSET_VERSION);
                out.put_i64(self.offset.0);
                put_string(&mut out, &self.metadata)?;
                out.put_i64(self.commit_timestamp.0);
                out.put_i64(expire.0);
            }
        }
        Ok(out.freeze())
    }

    /// Reads a value of any version Kafka wrote.
    ///
    /// # Errors
    /// If the bytes are not a value of their version, or the version is not 0 to 4.
    pub fn decode(bytes: &[u8]) -> Result<Self, RecordError> {
        let mut reader = Reader { left: bytes };
        let version = reader.value_version(HIGHEST_VALUE_VERSION)?;
        let offset = Offset(reader.i64()?);
        let leader_epoch = if version >= 3 {
            LeaderEpoch(reader.i32()?)
        } else {
            LeaderEpoch::NONE
        };
        let metadata = if version >= 4 {
            reader.compact_string()?
        } else {
            reader.string()?
        };
        let commit_timestamp = Millis(reader.i64()?);
        let expire_timestamp = if version == EXPIRING_OFFSET_VERSION {
            Some(Millis(reader.i64()?)).filter(|at| *at != Millis::NONE)
        } else {
            None
        };
        Ok(Self {
            offset,
            leader_epoch,
            metadata,
            commit_timestamp,
            expire_timestamp,
        })
    }
}

impl StoredGroup {
    /// The value's bytes, version 3.
    ///
    /// # Errors
    /// [`RecordError::TooLong`] for any string over 32,767 bytes.
    pub fn encode(&self) -> Result<Bytes, RecordError> {
        let mut out = BytesMut::with_capacity(64 + self.members.len() * 256);
        out.put_i16(VALUE_VERSION);
        put_string(&mut out, &self.protocol_type)?;
        out.put_i32(self.generation_id);
        put_nullable_string(&mut out, self.protocol_name.as_deref())?;
        put_nullable_string(&mut out, self.leader_id.as_deref())?;
        out.put_i64(self.current_state_timestamp.0);
        put_count(&mut out, self.members.len())?;
        for member in &self.members {
            put_string(&mut out, &member.member_id)?;
            put_nullable_string(&mut out, member.group_instance_id.as_deref())?;
            put_string(&mut out, &member.client_id)?;
            put_string(&mut out, &member.client_host)?;
            out.put_i32(member.rebalance_timeout_ms);
            out.put_i32(member.session_timeout_ms);
            put_bytes(&mut out, &member.subscription)?;
            put_bytes(&mut out, &member.assignment)?;
        }
        Ok(out.freeze())
    }

    /// Reads a value of any version Kafka wrote. Before version 1 the session timeout is also the rebalance timeout.
    ///
    /// # Errors
    /// If the bytes are not a value of their version, or the version is not 0 to 4.
    pub fn decode(bytes: &[u8]) -> Result<Self, RecordError> {
        let mut reader = Reader { left: bytes };
        let version = reader.value_version(HIGHEST_VALUE_VERSION)?;
        let flexible = version >= 4;
        let protocol_type = reader.text(flexible)?;
        let generation_id = reader.i32()?;
        let protocol_name = reader.nullable_text(flexible)?;
        let leader_id = reader.nullable_text(flexible)?;
        let current_state_timestamp = if version >= 2 {
            Millis(reader.i64()?)
        } else {
            Millis::NONE
        };
        let count = reader.count(flexible, SMALLEST_MEMBER)?;
        let mut members = Vec::with_capacity(count);
        for _ in 0..count {
            let member_id = reader.text(flexible)?;
            let group_instance_id = if version >= 3 {
                reader.nullable_text(flexible)?
            } else {
                None
            };
            let client_id = reader.text(flexible)?;
            let client_host = reader.text(flexible)?;
            let rebalance_timeout_ms = if version >= 1 { Some(reader.i32()?) } else { None };
            let session_timeout_ms = reader.i32()?;
            let subscription = reader.blob(flexible)?;
            let assignment = reader.blob(flexible)?;
            if flexible {
                reader.skip_tagged_fields()?;
            }
            members.push(StoredMember {
                member_id,
                group_instance_id,
                client_id,
                client_host,
                rebalance_timeout_ms: rebalance_timeout_ms.unwrap_or(session_timeout_ms),
                session_timeout_ms,
                subscription,
                assignment,
            });
        }
        Ok(Self {
            protocol_type,
            generation_id,
            protocol_name,
            leader_id,
            current_state_timestamp,
            members,
        })
    }
}

fn put_bytes(out: &mut BytesMut, bytes: &[u8]) -> Result<(), RecordError> {
    put_count(out, bytes.len())?;
    out.put_slice(bytes);
    Ok(())
}

/// The fewest bytes that a stored member takes, at any version: what a count may promise at most.
const SMALLEST_MEMBER: usize = 15;
