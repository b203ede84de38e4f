//! `.timeindex`: from timestamps to offsets.
//!
//! ```text
//! | timestamp, i64 | offset − base offset, u32 |   12 bytes, big-endian, ascending in both
//! ```
//! An entry (t, o) says: no record at or below o has a timestamp larger than t. The largest timestamp of a segment
//! is appended when it is closed. Source: Kafka 3.9 `TimeIndex`.

use std::sync::Arc;

use model::{Millis, Offset};

use super::TimeEntry;
use super::file::{IndexFile, SharedDir};
use crate::disk::{Disk, DiskError};

const ENTRY: usize = 12;

pub(crate) struct TimeIndex {
    base_offset: Offset,
    file: IndexFile<ENTRY>,
}

impl TimeIndex {
    pub(crate) fn new(disk: Disk, dir: Arc<SharedDir>, base_offset: Offset, suffix: &str) -> Self {
        Self {
            base_offset,
            file: IndexFile::new(disk, dir, format!("{base_offset:020}.timeindex{suffix}")),
        }
    }

    fn decode(&self, entry: [u8; ENTRY]) -> TimeEntry {
        let [a, b, c, d, e, f, g, h, i, j, k, l] = entry;
        TimeEntry {
            timestamp: Millis(i64::from_be_bytes([a, b, c, d, e, f, g, h])),
            offset: self.base_offset + i64::from(u32::from_be_bytes([i, j, k, l])),
        }
    }

    pub(crate) fn create(&self, max_bytes: u32) -> Result<(), DiskError> {
        self.file.create(max_bytes)
    }

    /// See [`IndexFile::let_go`].
    pub(crate) fn let_go(&self) {
        self.file.let_go();
    }

    /// Bytes of its entries.
    pub(crate) fn size(&self) -> Result<u64, DiskError> {
        self.file.size()
    }

    /// One entry less than there is room for: closing the segment adds one.
    pub(crate) fn is_full(&self, max_bytes: u32) -> Result<bool, DiskError> {
        self.file.is_full(max_bytes, 2)
    }

    /// The last entry, or no timestamp at the base offset.
    pub(crate) fn last(&self) -> Result<TimeEntry, DiskError> {
        Ok(self.file.last()?.map_or(self.none(), |entry| self.decode(entry)))
    }

    fn none(&self) -> TimeEntry {
        TimeEntry {
            timestamp: Millis::NONE,
            offset: self.base_offset,
        }
    }

    /// The last entry whose timestamp is at or below `timestamp`: what comes after its offset may be later.
    pub(crate) fn lookup(&self, timestamp: Millis) -> Result<TimeEntry, DiskError> {
        let (_, found) = self.file.search(|entry| self.decode(*entry).timestamp <= timestamp)?;
        Ok(found.map_or(self.none(), |entry| self.decode(entry)))
    }

    /// Adds an entry if the timestamp is larger than the last one's.
    pub(crate) fn maybe_append(&self, entry: TimeEntry) -> Result<(), DiskError> {
        let last = self.last()?;
        if entry.timestamp <= last.timestamp || entry.offset < last.offset {
            return Ok(());
        }
        let Ok(relative) = u32::try_from(entry.offset - self.base_offset) else {
            return Ok(());
        };
        let mut bytes = [0; ENTRY];
        bytes[..8].copy_from_slice(&entry.timestamp.0.to_be_bytes());
        bytes[8..].copy_from_slice(&relative.to_be_bytes());
        if bytes == [0; ENTRY] {
            // Timestamp 0 at the base offset would read as unused room; leaving it out loses no record.
            return Ok(());
        }
        self.file.append(bytes)
    }

    /// Drops the entries at or past `offset`.
    pub(crate) fn truncate_to(&self, offset: Offset) -> Result<(), DiskError> {
        let (kept, _) = self.file.search(|entry| self.decode(*entry).offset < offset)?;
        self.file.truncate_to(kept)
    }

    pub(crate) fn trim(&self) -> Result<(), DiskError> {
        self.file.trim()
    }

    pub(crate) fn preallocate(&self, max_bytes: u32) -> Result<(), DiskError> {
        self.file.preallocate(max_bytes)
    }

    pub(crate) fn sync(&self) -> Result<(), DiskError> {
        self.file.sync()
    }

    pub(crate) fn close(&self) {
        self.file.close();
    }

    pub(crate) fn rest(&self) {
        self.file.rest();
    }
}
