//! One partition's log: what is appended, read, truncated and deleted.
//!
//! Appends run under one short lock per log; reads take no lock at all. The four offsets that others watch are
//! atomics, published in an order that never shows a record before it is wholly in its file.
//!
//! Does not know who leads, who is in sync or who waits: the caller moves the high watermark and wakes waiters.

use std::fs::File;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use model::{LeaderEpoch, Millis, Offset, ProducerEpoch, ProducerId, Sequence, TopicId, TopicPartition};

use crate::append::{self, Origin};
use crate::config::LogConfig;
use crate::disk::DiskError;

/// One partition's log. Shared; every method takes `&self`.
pub struct Log {}

/// What an append did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Appended {
    /// Offset of the first record appended (of the original batch, for a duplicate). With [`Appended::is_empty`] the log end offset.
    pub first_offset: Offset,
    /// Offset of the last record appended; `first_offset - 1` when nothing was.
    pub last_offset: Offset,
    /// The broker's time put into the records where the topic says LogAppendTime, else [`Millis::NONE`].
    pub log_append_time: Millis,
    /// The log start offset at the time of the append, as Produce answers it.
    pub log_start_offset: Offset,
    /// The batch was one of the producer's last five: nothing was written.
    pub duplicate: bool,
    /// Bytes written.
    pub bytes: usize,
    /// The largest leader epoch among the appended batches (followers learn epochs by this).
    pub leader_epoch: LeaderEpoch,
}

impl Appended {
    /// Nothing was written and it was no duplicate either.
    pub fn is_empty(&self) -> bool {
        self.last_offset < self.first_offset
    }
}

/// Why nothing was appended.
#[derive(Debug, thiserror::Error)]
pub enum AppendError {
    /// The records are refused; the reason says which Kafka error.
    #[error(transparent)]
    Refused(#[from] append::AppendError),
    /// → KAFKA_STORAGE_ERROR. The log directory goes offline; nothing was acknowledged.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// → KAFKA_STORAGE_ERROR. The log directory is offline, or the log was closed or deleted.
    #[error("the log of {0} is offline")]
    Offline(TopicPartition),
}

/// A range of a segment file that holds whole batches, except that the last one may be cut.
#[derive(Clone, Debug)]
pub struct FileSlice {
    /// The segment's file; positions are absolute, its own cursor is never used.
    pub file: Arc<File>,
    /// Where the range starts.
    pub position: u64,
    /// Its length; 0 when there is nothing to read at the fetch offset.
    pub len: usize,
    /// Base offset of the first batch, at or below the offset asked for.
    pub first_offset: Offset,
    /// Size of the first batch; more than `len` when it did not fit (then `len` is a cut batch).
    pub first_batch_bytes: usize,
    /// Magic of the first batch (2, or 0 and 1 in old directories).
    pub magic: i8,
}

impl FileSlice {
    /// Whether there is nothing to read.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }
}

/// Why there is nothing to read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// → OFFSET_OUT_OF_RANGE. Below the log start offset or above the log end offset.
    #[error("offset {asked} of {partition} is not in [{log_start_offset}, {log_end_offset}]")]
    OffsetOutOfRange {
        /// Of which partition.
        partition: TopicPartition,
        /// The offset asked for.
        asked: Offset,
        /// The first offset there is.
        log_start_offset: Offset,
        /// One past the last.
        log_end_offset: Offset,
    },
    /// → KAFKA_STORAGE_ERROR. The log directory goes offline.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// → KAFKA_STORAGE_ERROR. The log directory is offline, or the log was closed or deleted.
    #[error("the log of {0} is offline")]
    Offline(TopicPartition),
    /// → CORRUPT_MESSAGE. The file does not hold what its index says.
    #[error("{path} is corrupt at {position}: {reason}")]
    Corrupt {
        /// The segment's file.
        path: PathBuf,
        /// Where in it.
        position: u64,
        /// What is wrong.
        reason: String,
    },
}

/// An offset found by its timestamp. Source: Kafka `FileRecords.TimestampAndOffset`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimestampOffset {
    /// The record's timestamp.
    pub timestamp: Millis,
    /// Its offset.
    pub offset: Offset,
    /// The leader epoch of its batch ([`LeaderEpoch::NONE`] in old formats).
    pub leader_epoch: LeaderEpoch,
}

/// Where the records of an epoch end, as OffsetForLeaderEpoch and diverging epochs answer it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EpochEnd {
    /// The largest known epoch at or below the one asked for.
    pub leader_epoch: LeaderEpoch,
    /// One past its last record.
    pub end_offset: Offset,
}

/// A transaction whose records consumers with `read_committed` drop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AbortedTransaction {
    /// Whose.
    pub producer_id: ProducerId,
    /// Its first record.
    pub first_offset: Offset,
    /// Its abort marker.
    pub last_offset: Offset,
    /// The last stable offset when the marker was appended.
    pub last_stable_offset: Offset,
}

/// A producer as DescribeProducers shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ActiveProducer {
    /// Its id.
    pub producer_id: ProducerId,
    /// Its current epoch.
    pub producer_epoch: ProducerEpoch,
    /// Sequence of its last record, −1 if none.
    pub last_sequence: Sequence,
    /// Timestamp of its last batch.
    pub last_timestamp: Millis,
    /// Epoch of the transaction coordinator that wrote its last marker, −1 if none.
    pub coordinator_epoch: i32,
    /// Where its open transaction starts, if one is open.
    pub current_transaction_first_offset: Option<Offset>,
}

#[allow(unused_variables, clippy::unimplemented, missing_docs)]
impl Log {
    pub fn topic_partition(&self) -> &TopicPartition {
        unimplemented!()
    }
    pub fn topic_id(&self) -> Option<TopicId> {
        unimplemented!()
    }
    /// Remembers the topic id and writes `partition.metadata`. Source: Kafka `UnifiedLog.assignTopicId`.
    pub fn assign_topic_id(&self, id: TopicId) -> Result<(), DiskError> {
        unimplemented!()
    }
    /// The `log.dirs` entry that holds it.
    pub fn parent_dir(&self) -> PathBuf {
        unimplemented!()
    }
    pub fn config(&self) -> Arc<LogConfig> {
        unimplemented!()
    }
    pub fn update_config(&self, config: LogConfig) {
        unimplemented!()
    }

    pub fn log_start_offset(&self) -> Offset {
        unimplemented!()
    }
    pub fn log_end_offset(&self) -> Offset {
        unimplemented!()
    }
    pub fn high_watermark(&self) -> Offset {
        unimplemented!()
    }
    /// The high watermark, or the start of the first open transaction below it.
    pub fn last_stable_offset(&self) -> Offset {
        unimplemented!()
    }
    pub fn recovery_point(&self) -> Offset {
        unimplemented!()
    }
    /// Sets the high watermark, kept within `[log_start_offset, log_end_offset]`; whether it changed. For followers
    /// (it may move back) and new leaders. Source: Kafka `UnifiedLog.updateHighWatermark`.
    pub fn update_high_watermark(&self, to: Offset) -> bool {
        unimplemented!()
    }
    /// Raises the high watermark, never lowers it; whether it changed. For leaders.
    pub fn increment_high_watermark(&self, to: Offset) -> bool {
        unimplemented!()
    }

    pub fn append_as_leader(
        &self,
        records: Bytes,
        leader_epoch: LeaderEpoch,
        origin: Origin,
        now: Millis,
    ) -> Result<Appended, AppendError> {
        unimplemented!()
    }
    pub fn append_as_follower(&self, records: Bytes, now: Millis) -> Result<Appended, AppendError> {
        unimplemented!()
    }

    /// The records from `from` on, below `limit` (high watermark, last stable offset or log end offset), at most
    /// `max_bytes` of them; with `min_one_batch` the first batch is returned whole even if it is larger.
    pub fn read(
        &self,
        from: Offset,
        max_bytes: usize,
        limit: Offset,
        min_one_batch: bool,
    ) -> Result<FileSlice, ReadError> {
        unimplemented!()
    }
    /// The aborted transactions that overlap `[from, upper)`.
    pub fn aborted_transactions(&self, from: Offset, upper: Offset) -> Result<Vec<AbortedTransaction>, ReadError> {
        unimplemented!()
    }
    /// One past the last offset that a [`FileSlice`] read from `from` could hold: the upper bound for [`Log::aborted_transactions`].
    pub fn upper_bound_offset(&self, from: Offset, slice: &FileSlice) -> Result<Offset, ReadError> {
        unimplemented!()
    }
    /// The first record at or after `timestamp`. Source: Kafka `UnifiedLog.fetchOffsetByTimestamp`.
    pub fn offset_for_timestamp(&self, timestamp: Millis) -> Result<Option<TimestampOffset>, ReadError> {
        unimplemented!()
    }
    /// The record with the largest timestamp (ListOffsets −3).
    pub fn max_timestamp_offset(&self) -> Result<Option<TimestampOffset>, ReadError> {
        unimplemented!()
    }

    pub fn latest_epoch(&self) -> Option<LeaderEpoch> {
        unimplemented!()
    }
    /// This epoch's records start at `offset`: a new leader's first act. Source: Kafka `LeaderEpochFileCache.assign`.
    pub fn assign_epoch_start(&self, epoch: LeaderEpoch, offset: Offset) -> Result<(), DiskError> {
        unimplemented!()
    }
    pub fn end_offset_for_epoch(&self, epoch: LeaderEpoch) -> Option<EpochEnd> {
        unimplemented!()
    }
    /// The epoch of the record at `offset`.
    pub fn epoch_for_offset(&self, offset: Offset) -> Option<LeaderEpoch> {
        unimplemented!()
    }

    /// DeleteRecords, and a follower's copy of the leader's log start offset: raises the log start offset (to at most the high watermark); whole segments below go later.
    pub fn delete_records_before(&self, offset: Offset) -> Result<Offset, ReadError> {
        unimplemented!()
    }
    /// Drops the records from `offset` on; whether anything was dropped.
    pub fn truncate_to(&self, offset: Offset) -> Result<bool, DiskError> {
        unimplemented!()
    }
    /// Drops all records; the next one gets `offset`.
    pub fn truncate_fully_and_start_at(&self, offset: Offset) -> Result<(), DiskError> {
        unimplemented!()
    }
    /// Waits until all records are on the device, and moves the recovery point.
    pub fn flush(&self) -> Result<(), DiskError> {
        unimplemented!()
    }

    pub fn size_bytes(&self) -> u64 {
        unimplemented!()
    }
    pub fn segment_count(&self) -> usize {
        unimplemented!()
    }
    pub fn active_producers(&self) -> Vec<ActiveProducer> {
        unimplemented!()
    }
    /// Whether its directory is offline, or it was deleted.
    pub fn is_offline(&self) -> bool {
        unimplemented!()
    }
}
