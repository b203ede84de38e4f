//! The records of `__transaction_state`, byte for byte as Kafka 3.9 writes them.
//!
//! One key version; values are written at version 0, at version 1 (flexible) once `transaction.version` is 1 or higher, and read at
//! both. No value is a tombstone. Topics and partitions are written in order, where Kafka's have the order of a hash.
//!
//! ```text
//! key                          value
//! i16 0                        i16 0, i64 producer id, i16 producer epoch, i32 timeout ms, i8 state,
//!   string transactional id    i32 count of topics (−1 for state Empty), each: string topic, i32 count, i32 partitions,
//!                              i64 last update, i64 start
//! ```
//! Source: Kafka 3.9 `TransactionLogKey.json`, `TransactionLogValue.json`, `TransactionLog.scala`.

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::{BufMut, Bytes, BytesMut};
use model::{Millis, ProducerEpoch, ProducerId, TopicPartition};

use super::api::Producer;
use super::state::TransactionState;
use crate::record::{Reader, RecordError, put_compact_length, put_count, put_string, put_unsigned_varint};

const KEY_VERSION: i16 = 0;
const VALUE_VERSION: i16 = 0;
const FLEXIBLE_VALUE_VERSION: i16 = 1;

/// The fewest bytes that a topic takes: a name of one byte, a count.
const SMALLEST_TOPIC: usize = 3;

/// What a record is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Key {
    /// A transactional id.
    Transaction(Arc<str>),
    /// A key of another version, to be passed over.
    Unknown(i16),
}

impl Key {
    /// The key of a transactional id.
    ///
    /// # Errors
    /// [`RecordError::TooLong`] for ids over 32,767 bytes.
    pub fn encode(transactional_id: &str) -> Result<Bytes, RecordError> {
        let mut out = BytesMut::with_capacity(4 + transactional_id.len());
        out.put_i16(KEY_VERSION);
        put_string(&mut out, transactional_id)?;
        Ok(out.freeze())
    }

    /// Reads a key.
    ///
    /// # Errors
    /// If the bytes are not a key of their version.
    pub fn decode(bytes: &[u8]) -> Result<Self, RecordError> {
        let mut reader = Reader { left: bytes };
        match reader.i16()? {
            KEY_VERSION => reader.string().map(Self::Transaction),
            other => Ok(Self::Unknown(other)),
        }
    }
}

/// A transactional id as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredTransaction {
    /// The producer that may use it.
    pub producer: Producer,
    /// How long a transaction may take.
    pub timeout_ms: i32,
    /// Never `Dead` or `PrepareEpochFence`.
    pub state: TransactionState,
    /// What the transaction touches; empty unless it is ongoing or prepared.
    pub partitions: BTreeSet<TopicPartition>,
    /// When this record was made.
    pub last_update: Millis,
    /// When the (last) transaction began; [`Millis::NONE`] in state `Empty`.
    pub start: Millis,
}

impl StoredTransaction {
    /// The value's bytes, at version 1 if `flexible`.
    ///
    /// # Errors
    /// [`RecordError::TooLong`] for topics over 32,767 bytes.
    pub fn encode(&self, flexible: bool) -> Result<Bytes, RecordError> {
        let mut out = BytesMut::with_capacity(48 + self.partitions.len() * 32);
        out.put_i16(if flexible {
            FLEXIBLE_VALUE_VERSION
        } else {
            VALUE_VERSION
        });
        out.put_i64(self.producer.id.0);
        out.put_i16(self.producer.epoch.0);
        out.put_i32(self.timeout_ms);
        out.put_i8(self.state.id());
        self.encode_partitions(&mut out, flexible)?;
        out.put_i64(self.last_update.0);
        out.put_i64(self.start.0);
        if flexible {
            put_unsigned_varint(&mut out, 0);
        }
        Ok(out.freeze())
    }

    fn encode_partitions(&self, out: &mut BytesMut, flexible: bool) -> Result<(), RecordError> {
        let count = if flexible { put_compact_length } else { put_count };
        if self.state == TransactionState::Empty {
            if flexible {
                put_unsigned_varint(out, 0);
            } else {
                out.put_i32(-1);
            }
            return Ok(());
        }
        // In order, so that the partitions of a topic are neighbours.
        let partitions: Vec<&TopicPartition> = self.partitions.iter().collect();
        let topics = || partitions.chunk_by(|one, next| one.topic == next.topic);
        count(out, topics().count())?;
        for topic in topics() {
            let name = &topic[0].topic;
            if flexible {
                put_compact_length(out, name.len())?;
                out.put_slice(name.as_bytes());
            } else {
                put_string(out, name)?;
            }
            count(out, topic.len())?;
            for partition in topic {
                out.put_i32(partition.partition);
            }
            if flexible {
                put_unsigned_varint(out, 0);
            }
        }
        Ok(())
    }

    /// Reads a value of any version Kafka 3.9 knows.
    ///
    /// # Errors
    /// If the bytes are not a value of their version, the version is not 0 or 1, or the state is none that is stored.
    pub fn decode(bytes: &[u8]) -> Result<Self, RecordError> {
        let mut reader = Reader { left: bytes };
        let flexible = reader.value_version(FLEXIBLE_VALUE_VERSION)? >= FLEXIBLE_VALUE_VERSION;
        let producer = Producer {
            id: ProducerId(reader.i64()?),
            epoch: ProducerEpoch(reader.i16()?),
        };
        let timeout_ms = reader.i32()?;
        let state = reader.i8()?;
        let state = TransactionState::from_id(state)
            .filter(|state| !matches!(state, TransactionState::Dead | TransactionState::PrepareEpochFence))
            .ok_or(RecordError::UnknownState(state))?;
        let mut partitions = BTreeSet::new();
        for _ in 0..reader.nullable_count(flexible, SMALLEST_TOPIC)?.unwrap_or(0) {
            let topic = reader.text(flexible)?;
            for _ in 0..reader.count(flexible, size_of::<i32>())? {
                partitions.insert(TopicPartition::new(topic.clone(), reader.i32()?));
            }
            if flexible {
                reader.skip_tagged_fields()?;
            }
        }
        if state == TransactionState::Empty {
            partitions.clear();
        }
        Ok(Self {
            producer,
            timeout_ms,
            state,
            partitions,
            last_update: Millis(reader.i64()?),
            start: Millis(reader.i64()?),
        })
    }
}
