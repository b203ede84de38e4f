//! Record batches: the unit that producers send, logs keep and consumers fetch.
//!
//! Views over bytes that somebody else owns: nothing here copies a record, allocates in proportion to a count that it
//! has read, or trusts a length before it has been compared with what is there. [`Entries`] walks the batches of a
//! buffer, old and new formats mixed; [`Batch`] is one of format 2, [`LegacyEntry`] one of formats 0 and 1;
//! [`Records`] walks the records of a format 2 batch, [`LegacyMessages`] what an entry of the older formats holds.
//! [`BatchBuilder`] writes batches, [`LegacyWriter`] entries of the older formats.
//!
//! Does not decide what may be appended (that is [`crate::append`]), and does not convert between formats
//! ([`crate::convert`] does).
//!
//! Source: Kafka 3.9 `DefaultRecordBatch`, `DefaultRecord`, `LegacyRecord`, `ByteBufferLogInputStream`; KIP-98.

mod builder;
mod control;
mod crc;
mod entries;
mod header;
mod legacy;
mod legacy_messages;
mod legacy_writer;
mod records;
#[cfg(test)]
mod tests;
pub(crate) mod varint;

pub use builder::BatchBuilder;
pub use control::{ControlRecordType, EndTransactionMarker};
pub use entries::{Batch, Entries, Entry, Frame, FramingError};
pub use header::{BatchHeader, HEADER_LEN, TimestampType};
pub use legacy::LegacyEntry;
pub use legacy_messages::{LegacyError, LegacyMessage, LegacyMessages};
pub use legacy_writer::{LegacyFormat, LegacyWriter};
pub use records::{Header, Headers, Record, RecordError, Records};

/// Bytes before what `length` counts: base offset and length. Source: Kafka `Records.LOG_OVERHEAD`.
pub const LOG_OVERHEAD: usize = 12;

/// Bytes that must be there before an entry's format is known. Source: Kafka `Records.HEADER_SIZE_UP_TO_MAGIC`.
pub const HEADER_UP_TO_MAGIC: usize = 17;
