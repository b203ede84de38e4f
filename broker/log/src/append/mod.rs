//! Decides whether records may be appended, and exactly which bytes then go to disk.
//!
//! Pure: [`plan_leader`] and [`plan_follower`] look at the records, at the log's tail and at its producers, and return
//! a [`Plan`] that leaves its executor no choice. Offsets and leader epoch are assigned in a copy of each batch's
//! 61-byte header; the records themselves are not copied, they stay a slice of the buffer they arrived in, unless
//! the topic's `compression.type` or broken offsets inside ask for them to be written anew, or they come in a format from
//! before Kafka 0.11: logs hold format 2 alone (what `message.format.version` says is ignored, as in Kafka since 3.0).
//!
//! Does not check who may write, which producer ids a coordinator has given out, or whether a transaction is open at its
//! coordinator: callers do, and show by a [`VerificationGuard`] that they have asked.
//!
//! Invariants: the offsets of a leader's write are consecutive from the log end offset; every record that is acknowledged
//! has been parsed; work and memory are bounded by [`AppendConfig`], whatever the bytes say.
//!
//! Source: Kafka 3.9 `UnifiedLog.append`, `analyzeAndValidateRecords`, `LogValidator`, `ProduceRequest.validateRecords`.

mod error;
mod follower;
mod leader;
mod legacy;
mod rewrite;
#[cfg(test)]
mod tests;
mod walk;

use bytes::Bytes;
use model::{LeaderEpoch, Millis, Offset, TopicPartition, VerificationGuard};
use smallvec::SmallVec;

pub use error::{AppendError, RecordRefusal};
pub use follower::plan_follower;
pub use leader::{Validated, plan_leader};

use crate::batch::{BatchHeader, TimestampType};
use crate::compress::Compression;
use crate::producer::{Changes, ProducerStates};

/// Who appends, which says how much is checked. Source: Kafka 3.9 `AppendOrigin`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// A client's Produce request of this version: everything is checked.
    Client {
        /// The version of the request; it restricts formats and codecs.
        api_version: i16,
    },
    /// The group or transaction coordinator on this broker: may write control batches, has no sequences.
    Coordinator,
    /// What another leader has checked before.
    Replication,
}

/// What of a topic's configuration decides over appends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AppendConfig {
    /// `max.message.bytes`: the largest batch.
    pub max_message_bytes: usize,
    /// `segment.bytes`: the most one append may write.
    pub segment_bytes: usize,
    /// `compression.type` with its level; `None` for `producer`, which keeps what the producer chose.
    pub compression: Option<Compression>,
    /// `message.timestamp.type`.
    pub timestamp_type: TimestampType,
    /// `message.timestamp.before.max.ms` (or the older `message.timestamp.difference.max.ms`).
    pub timestamp_before_max: Millis,
    /// `message.timestamp.after.max.ms` (or the older `message.timestamp.difference.max.ms`).
    pub timestamp_after_max: Millis,
    /// Whether `cleanup.policy` contains `compact`: records then need keys.
    pub compacted: bool,
    /// The most that a compressed batch may expand to. Kafka has no such bound.
    pub max_decompressed_bytes: usize,
}

impl AppendConfig {
    /// The default of [`AppendConfig::max_decompressed_bytes`]: 256 times the default of `max.message.bytes`.
    ///
    /// What one request may cost: a core expands this much gzip in half a second, the other codecs several times faster.
    pub const MAX_DECOMPRESSED_BYTES: usize = 256 << 20;
}

impl Default for AppendConfig {
    /// Kafka's defaults for a topic.
    fn default() -> Self {
        Self {
            max_message_bytes: 1_048_588,
            segment_bytes: 1 << 30,
            compression: None,
            timestamp_type: TimestampType::CreateTime,
            timestamp_before_max: Millis(i64::MAX),
            timestamp_after_max: Millis(i64::MAX),
            compacted: false,
            max_decompressed_bytes: Self::MAX_DECOMPRESSED_BYTES,
        }
    }
}

/// The end of a log, as an append finds it.
#[derive(Clone, Copy, Debug)]
pub struct Tail<'a> {
    /// Which partition, for the texts of refusals.
    pub topic_partition: &'a TopicPartition,
    /// The next offset to be written.
    pub log_end_offset: Offset,
    /// The epoch at which this replica leads or follows.
    pub leader_epoch: LeaderEpoch,
    /// The clock.
    pub now: Millis,
    /// The topic's configuration.
    pub config: &'a AppendConfig,
    /// The log's producers.
    pub producers: &'a ProducerStates,
    /// Where transactions must be verified before they begin (`transaction.partition.verification.enable`): the guard that
    /// this append shows. `None` where they need not be.
    pub verification: Option<VerificationGuard>,
}

/// What is to be done.
#[derive(Clone, Debug)]
pub enum Plan {
    /// Nothing: the producer sends again what it has sent, and gets the same answer.
    Duplicate(DuplicateBatch),
    /// Nothing: there is no whole batch (only from replication).
    Empty,
    /// Write these bytes.
    Write(Write),
}

/// A batch that is already in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DuplicateBatch {
    /// Offset of its first record.
    pub first_offset: Offset,
    /// Offset of its last record.
    pub last_offset: Offset,
    /// Its timestamp, which Kafka answers as the log append time.
    pub timestamp: Millis,
}

/// One entry to be written.
#[derive(Clone, Debug)]
pub struct PlannedBatch {
    /// The patched header; `None` where the body is the whole entry, as followers write it.
    pub header: Option<BatchHeader>,
    /// The bytes after the header.
    pub body: Bytes,
    /// Offset of its first record; for old compressed message sets that of the last one.
    pub base_offset: Offset,
    /// Offset of its last record.
    pub last_offset: Offset,
    /// Its maximum timestamp.
    pub max_timestamp: Millis,
    /// The leader epoch stamped on it, −1 in the older formats.
    pub leader_epoch: LeaderEpoch,
    /// Its format.
    pub magic: i8,
}

impl PlannedBatch {
    /// Bytes that it takes in the log.
    pub fn size(&self) -> usize {
        self.header.map_or(0, |header| header.as_bytes().len()) + self.body.len()
    }
}

/// What to write, and what is true once it is written.
#[derive(Clone, Debug)]
pub struct Write {
    /// The entries, in order; at least one.
    pub batches: SmallVec<[PlannedBatch; 1]>,
    /// All entries in one piece, where they are (followers): one write instead of one for each batch.
    pub contiguous: Option<Bytes>,
    /// Offset of the first record (of the first entry's last record, for old compressed message sets).
    pub first_offset: Offset,
    /// Offset of the last record: the log end offset becomes the next one.
    pub last_offset: Offset,
    /// The largest maximum timestamp of the entries.
    pub max_timestamp: Millis,
    /// Last offset of the first entry that has it. Source: Kafka `LogAppendInfo`, "shallow offset of max timestamp".
    pub offset_of_max_timestamp: Offset,
    /// Bytes to be written.
    pub total_bytes: usize,
    /// How many records, where it is known without unpacking (format 2).
    pub record_count: i64,
    /// The time stamped on the batch, with `message.timestamp.type=LogAppendTime`.
    pub log_append_time: Option<Millis>,
    /// What changes for the producers: [`ProducerStates::apply`] once the bytes are written.
    pub producers: Changes,
}

impl Write {
    /// The bytes, for one vectored write.
    pub fn slices(&self) -> SmallVec<[&[u8]; 2]> {
        if let Some(bytes) = &self.contiguous {
            return smallvec::smallvec![bytes.as_ref()];
        }
        let mut slices = SmallVec::new();
        for batch in &self.batches {
            if let Some(header) = &batch.header {
                slices.push(header.as_bytes().as_slice());
            }
            slices.push(batch.body.as_ref());
        }
        slices
    }

    /// Where leader epochs begin, in order, each once: what the leader epoch cache is told.
    ///
    /// Entries of the older formats have none and are left out.
    pub fn epoch_starts(&self) -> impl Iterator<Item = (LeaderEpoch, Offset)> + '_ {
        let mut last = LeaderEpoch::NONE;
        self.batches.iter().filter_map(move |batch| {
            let new = batch.magic >= 2 && batch.leader_epoch > last;
            last = last.max(batch.leader_epoch);
            new.then_some((batch.leader_epoch, batch.base_offset))
        })
    }
}
