//! Why an append is refused.

use model::{Offset, ProducerId};

use crate::batch::FramingError;
use crate::compress::{CompressError, DecompressError};
use crate::producer::ProducerError;

/// What is wrong with one record. Source: Produce response 8, `RecordErrors`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordRefusal {
    /// Which record of the batch, from 0.
    pub batch_index: i32,
    /// Why, in Kafka's words.
    pub message: String,
}

impl core::fmt::Display for RecordRefusal {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(
            f,
            "RecordError(batchIndex={}, message='{}')",
            self.batch_index, self.message
        )
    }
}

/// Why records are not appended: a variant for each answer that a client gets.
///
/// Kafka's answer has an error code, in some cases a message and record errors, and the log start offset where the
/// refusal came from inside the log. [`AppendError::message`], [`AppendError::record_errors`] and
/// [`AppendError::knows_log_start_offset`] say the latter three.
#[derive(Debug, thiserror::Error)]
pub enum AppendError {
    /// → INVALID_RECORD (87). The request's records are not one batch of the format that its version asks for.
    #[error("{0}")]
    InvalidRequest(&'static str),
    /// → INVALID_RECORD (87). The batch contradicts itself or may not be written by its origin.
    #[error("{0}")]
    InvalidRecord(String),
    /// → INVALID_RECORD (87), with record errors.
    #[error("{}", rejected(*count, errors))]
    RecordsRejected {
        /// The first of them, at most [`AppendError::RECORD_ERRORS_MAX`].
        errors: Vec<RecordRefusal>,
        /// How many there are.
        count: usize,
    },
    /// → INVALID_TIMESTAMP (32), with record errors.
    #[error("One or more records have been rejected due to invalid timestamp")]
    InvalidTimestamp {
        /// The first of them, at most [`AppendError::RECORD_ERRORS_MAX`].
        errors: Vec<RecordRefusal>,
        /// How many there are.
        count: usize,
    },
    /// → CORRUPT_MESSAGE (2). The bytes cannot be cut into batches; Kafka answers this for the whole request.
    #[error(transparent)]
    Framing(#[from] FramingError),
    /// → CORRUPT_MESSAGE (2). The checksum does not match.
    #[error("Record is corrupt (stored crc = {stored_crc})")]
    Corrupt {
        /// What the batch says.
        stored_crc: u32,
    },
    /// → UNKNOWN_SERVER_ERROR (−1), as Kafka answers it. An undefined codec, a broken stream, or a bomb.
    #[error(transparent)]
    Decompress(#[from] DecompressError),
    /// → UNKNOWN_SERVER_ERROR (−1). The topic's codec refused.
    #[error(transparent)]
    Compress(CompressError),
    /// → UNSUPPORTED_COMPRESSION_TYPE (76). zstd in a Produce request before version 7.
    #[error("Produce requests with version {api_version} are not allowed to use ZStandard compression")]
    UnsupportedCompressionType {
        /// The request's version.
        api_version: i16,
    },
    /// → CORRUPT_MESSAGE (2). A message inside a compressed one of format 0 or 1 is broken.
    #[error("a message inside a compressed one is corrupt")]
    CorruptMessage,
    /// → UNKNOWN_SERVER_ERROR (−1), as Kafka answers it. A message of format 0 or 1 that no batch of format 2 can hold.
    #[error("a message of an old format cannot be converted: {0}")]
    Unconvertible(&'static str),
    /// → MESSAGE_TOO_LARGE (10).
    #[error("the record batch has {size} bytes, more than the maximum of {max}")]
    MessageTooLarge {
        /// Bytes of the batch; at least, where it grew while it was compressed anew.
        size: usize,
        /// `max.message.bytes`.
        max: usize,
    },
    /// → RECORD_LIST_TOO_LARGE (18).
    #[error("the append has {size} bytes, more than a segment's {segment_bytes}")]
    RecordListTooLarge {
        /// Bytes of the append.
        size: usize,
        /// `segment.bytes`.
        segment_bytes: usize,
    },
    /// → by its own variants: OUT_OF_ORDER_SEQUENCE_NUMBER (45), INVALID_PRODUCER_EPOCH (47), INVALID_TXN_STATE (48),
    /// TRANSACTION_COORDINATOR_FENCED (52), INVALID_RECORD (87).
    #[error(transparent)]
    Producer(#[from] ProducerError),
    /// Only for followers: the entries' offsets do not increase. The leader's log is not what it should be.
    #[error("out of order offsets in append: {offset} after {previous}")]
    OffsetsOutOfOrder {
        /// The last offset of the entry before.
        previous: Offset,
        /// The last offset of the offending entry.
        offset: Offset,
    },
    /// Only for followers: the first entry begins before the log's end. An empty log may start there instead.
    ///
    /// Source: Kafka `UnexpectedAppendOffsetException`, handled in `Partition.appendRecordsToFollowerOrFutureReplica`.
    #[error("first offset {first_offset} is less than the next offset {log_end_offset}")]
    UnexpectedOffset {
        /// Base offset of the first entry.
        first_offset: Offset,
        /// Last offset of the last entry.
        last_offset: Offset,
        /// Where the log ends.
        log_end_offset: Offset,
    },
}

impl AppendError {
    /// The most record errors that are kept: Kafka keeps all of them, a million for a million bad records.
    pub const RECORD_ERRORS_MAX: usize = 1000;

    /// What a batch that could not be compressed anew for `max.message.bytes` is answered.
    pub(super) fn of_compression(error: CompressError, max: usize) -> Self {
        match error {
            CompressError::TooLarge { .. } => Self::MessageTooLarge { size: max + 1, max },
            error => Self::Compress(error),
        }
    }

    /// The text that Kafka puts into `ErrorMessage`, in the cases where it does.
    pub fn message(&self) -> Option<String> {
        match self {
            Self::RecordsRejected { .. } | Self::InvalidTimestamp { .. } | Self::Framing(_) => Some(self.to_string()),
            _ => None,
        }
    }

    /// The records that were refused, where Kafka names them.
    pub fn record_errors(&self) -> &[RecordRefusal] {
        match self {
            Self::RecordsRejected { errors, .. } | Self::InvalidTimestamp { errors, .. } => errors,
            _ => &[],
        }
    }

    /// Whether the answer carries the log start offset; else it says −1.
    ///
    /// Source: Kafka 3.9 `ReplicaManager.appendToLocalLog`, and the checks before it.
    pub fn knows_log_start_offset(&self) -> bool {
        match self {
            Self::InvalidRequest(_)
            | Self::Framing(_)
            | Self::Corrupt { .. }
            | Self::UnsupportedCompressionType { .. }
            | Self::MessageTooLarge { .. }
            | Self::RecordListTooLarge { .. } => false,
            Self::InvalidRecord(_)
            | Self::RecordsRejected { .. }
            | Self::InvalidTimestamp { .. }
            | Self::Decompress(_)
            | Self::Compress(_)
            | Self::CorruptMessage
            | Self::Unconvertible(_)
            | Self::Producer(_)
            | Self::OffsetsOutOfOrder { .. }
            | Self::UnexpectedOffset { .. } => true,
        }
    }

    /// The producer that is at fault, for log lines.
    pub fn producer_id(&self) -> Option<ProducerId> {
        match self {
            Self::Producer(error) => Some(error.producer_id()),
            _ => None,
        }
    }
}

fn rejected(count: usize, errors: &[RecordRefusal]) -> String {
    let first: Vec<String> = errors.iter().take(3).map(ToString::to_string).collect();
    format!(
        "One or more records have been rejected due to {count} record errors in total, and only showing the first three \
         errors at most: [{}]",
        first.join(", ")
    )
}
