//! `.index`: from offsets to positions in the segment's file.
//!
//! ```text
//! | offset − base offset, u32 | position, u32 |   8 bytes, big-endian, ascending
//! ```
//! An entry holds the last offset of a batch and where that batch starts; there is one about every
//! `index.interval.bytes`, and never one for the first batch. Source: Kafka 3.9 `OffsetIndex`.

use std::sync::Arc;

use model::Offset;

use super::file::{IndexFile, SharedDir};
use crate::disk::{Disk, DiskError};

const ENTRY: usize = 8;

pub(crate) struct OffsetIndex {
    base_offset: Offset,
    file: IndexFile<ENTRY>,
}

/// The last offset of a batch, and where the batch starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct OffsetEntry {
    pub(crate) offset: Offset,
    pub(crate) position: u32,
}

impl OffsetIndex {
    pub(crate) fn new(disk: Disk, dir: Arc<SharedDir>, base_offset: Offset, suffix: &str) -> Self {
        Self {
            base_offset,
            file: IndexFile::new(disk, dir, format!("{base_offset:020}.index{suffix}")),
        }
    }

    fn decode(&self, entry: [u8; ENTRY]) -> OffsetEntry {
        let [a, b, c, d, e, f, g, h] = entry;
        OffsetEntry {
            offset: self.base_offset + i64::from(u32::from_be_bytes([a, b, c, d])),
            position: u32::from_be_bytes([e, f, g, h]),
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

    pub(crate) fn is_full(&self, max_bytes: u32) -> Result<bool, DiskError> {
        self.file.is_full(max_bytes, 1)
    }

    pub(crate) fn last(&self) -> Result<Option<OffsetEntry>, DiskError> {
        Ok(self.file.last()?.map(|entry| self.decode(entry)))
    }

    /// The position of the last entry at or below `offset`, or the start of the file.
    pub(crate) fn lookup(&self, offset: Offset) -> Result<OffsetEntry, DiskError> {
        let (_, found) = self.file.search(|entry| self.decode(*entry).offset <= offset)?;
        Ok(found.map_or(
            OffsetEntry {
                offset: self.base_offset,
                position: 0,
            },
            |entry| self.decode(entry),
        ))
    }

    /// The offset of the first entry at or past `position`: an upper bound for what a read up to there holds.
    pub(crate) fn upper_bound(&self, position: u64) -> Result<Option<Offset>, DiskError> {
        let (below, _) = self
            .file
            .search(|entry| u64::from(self.decode(*entry).position) < position)?;
        Ok(self.file.entry(below)?.map(|entry| self.decode(entry).offset))
    }

    /// Adds an entry; one that does not follow the last is not added, since an index is only a hint.
    pub(crate) fn append(&self, offset: Offset, position: u32) -> Result<(), DiskError> {
        let relative = offset - self.base_offset;
        let Ok(relative) = u32::try_from(relative) else {
            return Ok(());
        };
        if (relative, position) == (0, 0) || self.last()?.is_some_and(|last| last.offset >= offset) {
            return Ok(());
        }
        let mut entry = [0; ENTRY];
        entry[..4].copy_from_slice(&relative.to_be_bytes());
        entry[4..].copy_from_slice(&position.to_be_bytes());
        self.file.append(entry)
    }

    /// Drops the entries at or past `offset`.
    pub(crate) fn truncate_to(&self, offset: Offset) -> Result<(), DiskError> {
        let (kept, _) = self.file.search(|entry| self.decode(*entry).offset < offset)?;
        self.file.truncate_to(kept)
    }

    /// Whether its last entry can be true of a segment of `size` bytes.
    pub(crate) fn is_sane(&self, size: u64) -> Result<bool, DiskError> {
        Ok(match (self.file.first()?, self.last()?) {
            (Some(first), Some(last)) => {
                let first = self.decode(first);
                last.offset >= first.offset && last.position >= first.position && u64::from(last.position) < size
            }
            _ => true,
        })
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
