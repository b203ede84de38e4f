//! The indexes of a segment: by offset, by time, and of aborted transactions.
//!
//! Sparse and only hints: whatever they say is checked against the log itself, and they can be rebuilt from it.
//! The first two are arrays of fixed-size entries in files that are preallocated (sparse) while the segment is
//! active and trimmed when it is not. Written with `pwrite`: the first write into a fresh 10 MiB shared mapping costs
//! 23 ms of system time, a `pwrite` of an entry 0.04. Read by `pread`, except for the newest entries, which are kept
//! in memory because that is where tailing consumers and followers look.
//!
//! Source: Kafka 3.9 `AbstractIndex`, `OffsetIndex`, `TimeIndex`, `TransactionIndex`.

mod file;
mod offset;
mod time;
mod transaction;

pub(crate) use file::SharedDir;
pub(crate) use offset::{OffsetEntry, OffsetIndex};
pub(crate) use time::TimeIndex;
pub(crate) use transaction::{AbortedEntry, TransactionIndex};

/// A timestamp and the offset of the batch that has it. Source: Kafka `TimestampOffset`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TimeEntry {
    pub(crate) timestamp: model::Millis,
    pub(crate) offset: model::Offset,
}
