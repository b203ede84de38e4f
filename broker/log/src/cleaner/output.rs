//! The segment that a cleaning writes: files whose names end in `.cleaned` until it is complete.
//!
//! Not seen by anybody else. Index entries are gathered and written in large pieces; what was written is synced as it
//! goes, so that the last sync does not keep the device from those who append.
//!
//! Source: Kafka 3.9 `UnifiedLog.createNewCleanedSegment`, `LogSegment.append`.

use std::fs::File;
use std::io::IoSlice;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::SystemTime;

use model::{Millis, Offset};

use crate::config::LogConfig;
use crate::disk::{Disk, DiskError};
use crate::index::{AbortedEntry, SharedDir, TimeEntry, TransactionIndex};
use crate::log::CLEANED;
use crate::segment;

/// So much is written between two syncs.
const SYNC_EVERY: u64 = 16 << 20;

/// So much of an index is gathered before it is written.
const INDEX_BUFFER: usize = 32 << 10;

pub(super) struct Output {
    disk: Disk,
    dir: Arc<SharedDir>,
    base_offset: Offset,
    file: File,
    size: u64,
    synced: u64,
    offset_index: Index,
    time_index: Index,
    transaction_index: TransactionIndex,
    interval: u64,
    since_entry: u64,
    last_indexed: Offset,
    largest: TimeEntry,
    last_timed: TimeEntry,
}

/// A complete segment, on the device, still under its own name.
pub(crate) struct CleanedSegment {
    pub(crate) base_offset: Offset,
    pub(crate) file: Arc<File>,
    pub(crate) size: u64,
    pub(crate) has_transactions: bool,
}

impl Output {
    /// Begins the segment at `base_offset`; what an earlier attempt left is removed.
    pub(super) fn create(
        disk: &Disk,
        dir: &Arc<SharedDir>,
        base_offset: Offset,
        config: &LogConfig,
    ) -> Result<Self, DiskError> {
        remove(disk, dir, base_offset)?;
        let file = disk.open(&path(dir, base_offset, segment::LOG))?;
        let index = |suffix| Index::create(disk, path(dir, base_offset, suffix), config.segment_index_bytes);
        let none = TimeEntry {
            timestamp: Millis::NONE,
            offset: base_offset,
        };
        Ok(Self {
            disk: disk.clone(),
            dir: dir.clone(),
            base_offset,
            file,
            size: 0,
            synced: 0,
            offset_index: index(segment::INDEX)?,
            time_index: index(segment::TIME_INDEX)?,
            transaction_index: TransactionIndex::open(disk.clone(), dir.clone(), base_offset, CLEANED, false)?,
            interval: config.index_interval_bytes.into(),
            since_entry: 0,
            last_indexed: base_offset,
            largest: none,
            last_timed: none,
        })
    }

    /// Bytes so far.
    pub(super) fn size(&self) -> u64 {
        self.size
    }

    /// Says of the batch at `position` what the indexes need. In order, before its bytes are written.
    pub(super) fn index(
        &mut self,
        position: u64,
        size: usize,
        last_offset: Offset,
        max_timestamp: Millis,
    ) -> Result<(), DiskError> {
        if max_timestamp > self.largest.timestamp {
            self.largest = TimeEntry {
                timestamp: max_timestamp,
                offset: last_offset,
            };
        }
        if self.since_entry > self.interval && last_offset > self.last_indexed {
            let relative = u32::try_from(last_offset - self.base_offset).unwrap_or(u32::MAX);
            let mut entry = [0; 8];
            entry[..4].copy_from_slice(&relative.to_be_bytes());
            entry[4..].copy_from_slice(&u32::try_from(position).unwrap_or(u32::MAX).to_be_bytes());
            self.offset_index.push(&entry)?;
            self.last_indexed = last_offset;
            self.index_time()?;
            self.since_entry = 0;
        }
        self.since_entry += size as u64;
        Ok(())
    }

    fn index_time(&mut self) -> Result<(), DiskError> {
        let entry = self.largest;
        let mut bytes = [0; 12];
        bytes[..8].copy_from_slice(&entry.timestamp.0.to_be_bytes());
        let relative = u32::try_from(entry.offset - self.base_offset).unwrap_or(u32::MAX);
        bytes[8..].copy_from_slice(&relative.to_be_bytes());
        // An entry of zeros would read as unused room.
        if entry.timestamp > self.last_timed.timestamp && entry.offset >= self.last_timed.offset && bytes != [0; 12] {
            self.last_timed = entry;
            self.time_index.push(&bytes)?;
        }
        Ok(())
    }

    /// Adds `slices` at the end.
    pub(super) fn write(&mut self, slices: &[IoSlice<'_>]) -> Result<(), DiskError> {
        let (dir, base) = (&self.dir, self.base_offset);
        self.disk
            .write_vectored_at(&self.file, || path(dir, base, segment::LOG), slices, self.size)?;
        self.size += slices.iter().map(|slice| slice.len() as u64).sum::<u64>();
        if self.size - self.synced >= SYNC_EVERY {
            self.synced = self.size;
            self.disk.sync(&self.file, &path(dir, base, segment::LOG))?;
        }
        Ok(())
    }

    /// Adds an aborted transaction of which something is left.
    pub(super) fn aborted(&mut self, entry: AbortedEntry) -> Result<(), DiskError> {
        self.transaction_index.append(entry)
    }

    /// Everything is written: waits for the device. The file tells `modified` as its time, which is that of the records.
    pub(super) fn finish(mut self, modified: SystemTime) -> Result<CleanedSegment, DiskError> {
        self.index_time()?;
        self.offset_index.finish()?;
        self.time_index.finish()?;
        self.transaction_index.sync()?;
        let path = path(&self.dir, self.base_offset, segment::LOG);
        self.disk.set_modified(&self.file, &path, modified)?;
        self.disk.sync(&self.file, &path)?;
        Ok(CleanedSegment {
            base_offset: self.base_offset,
            has_transactions: self.transaction_index.exists(),
            file: Arc::new(self.file),
            size: self.size,
        })
    }
}

/// Removes the files of a cleaning that came to nothing.
pub(crate) fn remove(disk: &Disk, dir: &SharedDir, base_offset: Offset) -> Result<(), DiskError> {
    segment::file_names(base_offset).try_for_each(|name| disk.remove(&dir.file(&format!("{name}{CLEANED}"))))
}

fn path(dir: &SharedDir, base_offset: Offset, suffix: &str) -> PathBuf {
    dir.file(&format!("{base_offset:020}{suffix}{CLEANED}"))
}

/// An index file that is written once, from start to end.
struct Index {
    disk: Disk,
    path: PathBuf,
    file: File,
    buffer: Vec<u8>,
    written: u64,
    max_bytes: u64,
}

impl Index {
    fn create(disk: &Disk, path: PathBuf, max_bytes: u32) -> Result<Self, DiskError> {
        Ok(Self {
            file: disk.open(&path)?,
            disk: disk.clone(),
            path,
            buffer: Vec::new(),
            written: 0,
            max_bytes: max_bytes.into(),
        })
    }

    /// Adds an entry while there is room: an index is a hint.
    fn push(&mut self, entry: &[u8]) -> Result<(), DiskError> {
        if self.written + (self.buffer.len() + entry.len()) as u64 > self.max_bytes {
            return Ok(());
        }
        self.buffer.extend_from_slice(entry);
        if self.buffer.len() >= INDEX_BUFFER {
            self.write()?;
        }
        Ok(())
    }

    fn write(&mut self) -> Result<(), DiskError> {
        let Self {
            disk,
            path,
            file,
            buffer,
            written,
            ..
        } = self;
        disk.write_at(file, || path.clone(), buffer, *written)?;
        *written += buffer.len() as u64;
        buffer.clear();
        Ok(())
    }

    fn finish(&mut self) -> Result<(), DiskError> {
        self.write()?;
        self.disk.sync(&self.file, &self.path)
    }
}
