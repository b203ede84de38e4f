//! What a log answers.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use model::{LeaderEpoch, Millis, Offset, ProducerEpoch, ProducerId, Sequence, TopicPartition};

use crate::append;
use crate::disk::DiskError;

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

    /// How long it is without the last batch, if that is cut. With more than `headers_max` batches it is not looked at,
    /// and counts as whole: they are small then.
    ///
    /// # Errors
    /// When the disk fails, or the log was truncated meanwhile.
    pub fn whole_batches_len(&self, headers_max: usize) -> io::Result<usize> {
        /// Offset and size, in every format.
        const PREFIX: usize = 12;
        let mut end = self.first_batch_bytes;
        for _ in 0..headers_max {
            if end >= self.len {
                return Ok(self.len);
            }
            if end + PREFIX > self.len {
                return Ok(end);
            }
            let mut prefix = [0; PREFIX];
            self.file.read_exact_at(&mut prefix, self.position + end as u64)?;
            let [.., a, b, c, d] = prefix;
            let Ok(size) = usize::try_from(i32::from_be_bytes([a, b, c, d])) else {
                // The reader will see that it is none.
                return Ok(self.len);
            };
            if end + PREFIX + size > self.len {
                return Ok(end);
            }
            end += PREFIX + size;
        }
        Ok(self.len)
    }

    /// The bytes, read into memory. A slice is as long as the caller's `max_bytes` (or its first batch) allowed.
    ///
    /// # Errors
    /// When the disk fails, or the log was truncated meanwhile.
    pub fn read(&self) -> io::Result<Bytes> {
        let mut bytes = BytesMut::zeroed(self.len);
        self.file.read_exact_at(&mut bytes, self.position)?;
        Ok(bytes.freeze())
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
    #[error("{} is corrupt: {reason}", path.display())]
    Corrupt {
        /// The segment's file.
        path: PathBuf,
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
