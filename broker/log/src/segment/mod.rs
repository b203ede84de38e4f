//! A segment: one file of batches, and its indexes.
//!
//! ```text
//! <base offset, 20 digits>.log         batches, one after the other
//!                         .index       offset → position           sparse
//!                         .timeindex   timestamp → offset          sparse
//!                         .txnindex    aborted transactions        only if there are any
//! ```
//! One writer at a time (the log's append lock sees to it), any number of readers, who see of the file what
//! [`Segment::end`] says: next offset and size in one atomic, published once the bytes are written.
//!
//! Does not know which segment is active, nor what a record means.
//!
//! Invariants: offsets fit 31 bits over the base offset; the file is smaller than 2 GiB; an index entry is about bytes
//! that are in the file.
//!
//! Source: Kafka 3.9 `LogSegment`, `FileRecords`.

mod recover;
mod scan;
#[cfg(test)]
mod tests;

use std::fs::File;
use std::io::IoSlice;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use model::{Millis, Offset};
use parking_lot::Mutex;
use smallvec::SmallVec;

use crate::append::Write;
use crate::cleaner::CleanedSegment;
use crate::config::LogConfig;
use crate::disk::{Disk, DiskContext, DiskError};
use crate::index::{OffsetEntry, OffsetIndex, SharedDir, TimeEntry, TimeIndex, TransactionIndex};

pub(crate) use recover::Replayer;
pub(crate) use scan::{Scan, ScanError, Scanned};

/// The suffixes of a segment's files.
pub(crate) const LOG: &str = ".log";
pub(crate) const INDEX: &str = ".index";
pub(crate) const TIME_INDEX: &str = ".timeindex";
pub(crate) const TRANSACTION_INDEX: &str = ".txnindex";

/// More than Kafka's followers ever append at once (`replica.fetch.response.max.bytes`).
const APPENDED_AT_ONCE: u64 = 16 << 20;

/// Positions in a segment are 31 bits, as Kafka's are.
const SIZE_MAX: u64 = i32::MAX as u64;

pub(crate) struct Segment {
    base_offset: Offset,
    disk: Disk,
    dir: Arc<SharedDir>,
    file: Arc<File>,
    end: AtomicU64,
    dirty: AtomicBool,
    /// Whether something that is no batch was found when it was opened.
    torn: bool,
    pub(crate) offset_index: OffsetIndex,
    pub(crate) time_index: TimeIndex,
    pub(crate) transaction_index: TransactionIndex,
    jitter: Millis,
    tail: Mutex<Tail>,
    /// The position of the last limit that was asked for: a high watermark is asked for many times.
    limit: Mutex<Option<(Offset, u64)>>,
}

/// What the writer knows of the segment.
struct Tail {
    bytes_since_index_entry: u64,
    /// The largest timestamp and the last offset of the batch that has it; `None` until somebody asks.
    max_timestamp: Option<TimeEntry>,
    /// The maximum timestamp of the first batch; `None` until somebody asks, or while there is none.
    first_timestamp: Option<Millis>,
    created: Millis,
}

/// How far a segment goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct End {
    /// One past its last offset; of a segment that is not the last, the base of the next one.
    pub(crate) next_offset: Offset,
    /// Bytes of batches.
    pub(crate) size: u64,
}

/// What the roll of a segment depends on.
pub(crate) struct AboutToAppend {
    pub(crate) bytes: usize,
    pub(crate) last_offset: Offset,
    pub(crate) max_timestamp: Millis,
    pub(crate) now: Millis,
}

impl Segment {
    /// A new segment on disk, with preallocated indexes.
    pub(crate) fn create(
        disk: &Disk,
        dir: &Arc<SharedDir>,
        base_offset: Offset,
        config: &LogConfig,
        now: Millis,
    ) -> Result<Self, DiskError> {
        let segment = Self::build(disk, dir, base_offset, config, now, false)?;
        let path = segment.path();
        if segment.file.metadata().doing("stat", &path)?.len() > 0 {
            segment.disk.set_len(&segment.file, &path, 0)?;
        }
        if config.preallocate {
            segment
                .disk
                .set_len(&segment.file, &path, config.segment_bytes.into())?;
        }
        segment.offset_index.create(config.segment_index_bytes)?;
        segment.time_index.create(config.segment_index_bytes)?;
        segment.rest();
        segment.dirty.store(true, Ordering::Relaxed);
        Ok(segment)
    }

    /// A segment that is on disk, all of it believed. `next_base` is the base of the segment after it; without one its
    /// end is found by a walk from the last index entry.
    pub(crate) fn open(
        disk: &Disk,
        dir: &Arc<SharedDir>,
        base_offset: Offset,
        next_base: Option<Offset>,
        has_transaction_index: bool,
        config: &LogConfig,
        now: Millis,
    ) -> Result<Self, DiskError> {
        let mut segment = Self::build(disk, dir, base_offset, config, now, has_transaction_index)?;
        let path = segment.path();
        let size = segment.file.metadata().doing("stat", &path)?.len();
        if size > SIZE_MAX {
            return Err(std::io::Error::new(
                std::io::ErrorKind::InvalidData,
                format!("a segment cannot have {size} bytes"),
            ))
            .doing("open", &path);
        }
        let next_offset = next_base.unwrap_or(base_offset);
        segment.publish(End { next_offset, size });
        if next_base.is_none() {
            let (next_offset, whole) = segment.find_next_offset()?;
            segment.torn = !whole;
            segment.publish(End { next_offset, size });
        }
        Ok(segment)
    }

    /// The segment that a cleaner wrote, under its own name by now; the next segment begins at `next_base`.
    pub(crate) fn adopt(
        disk: &Disk,
        dir: &Arc<SharedDir>,
        cleaned: CleanedSegment,
        next_base: Offset,
        config: &LogConfig,
    ) -> Result<Self, DiskError> {
        let CleanedSegment {
            base_offset,
            file,
            size,
            has_transactions,
        } = cleaned;
        let segment = Self::around(disk, dir, base_offset, file, config, Millis(0), has_transactions)?;
        segment.publish(End {
            next_offset: next_base,
            size,
        });
        Ok(segment)
    }

    fn build(
        disk: &Disk,
        dir: &Arc<SharedDir>,
        base_offset: Offset,
        config: &LogConfig,
        now: Millis,
        has_transaction_index: bool,
    ) -> Result<Self, DiskError> {
        let file = Arc::new(disk.open(&dir.file(&format!("{base_offset:020}{LOG}")))?);
        Self::around(disk, dir, base_offset, file, config, now, has_transaction_index)
    }

    fn around(
        disk: &Disk,
        dir: &Arc<SharedDir>,
        base_offset: Offset,
        file: Arc<File>,
        config: &LogConfig,
        now: Millis,
        has_transaction_index: bool,
    ) -> Result<Self, DiskError> {
        Ok(Self {
            base_offset,
            disk: disk.clone(),
            dir: dir.clone(),
            file,
            end: AtomicU64::new(0),
            dirty: AtomicBool::new(false),
            torn: false,
            offset_index: OffsetIndex::new(disk.clone(), dir.clone(), base_offset, ""),
            time_index: TimeIndex::new(disk.clone(), dir.clone(), base_offset, ""),
            transaction_index: TransactionIndex::open(
                disk.clone(),
                dir.clone(),
                base_offset,
                "",
                has_transaction_index,
            )?,
            jitter: jitter(config),
            tail: Mutex::new(Tail {
                bytes_since_index_entry: 0,
                max_timestamp: None,
                first_timestamp: None,
                created: now,
            }),
            limit: Mutex::new(None),
        })
    }

    pub(crate) fn base_offset(&self) -> Offset {
        self.base_offset
    }

    pub(crate) fn file(&self) -> &Arc<File> {
        &self.file
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.dir.file(&format!("{:020}{LOG}", self.base_offset))
    }

    /// How far readers may go.
    pub(crate) fn end(&self) -> End {
        let packed = self.end.load(Ordering::Acquire);
        End {
            next_offset: self.base_offset + (packed >> 32) as i64,
            size: packed & 0xffff_ffff,
        }
    }

    /// Offset and size in one word: a reader never sees the one without the other.
    fn publish(&self, end: End) {
        let relative = u32::try_from(end.next_offset - self.base_offset).unwrap_or(u32::MAX);
        self.end
            .store(u64::from(relative) << 32 | (end.size & 0xffff_ffff), Ordering::Release);
    }

    /// The segment is no longer the last: it ends where the next one begins.
    pub(crate) fn ends_at(&self, next_base: Offset) {
        let size = self.end().size;
        self.publish(End {
            next_offset: next_base,
            size,
        });
    }

    /// A scan that begins at the last index entry at or below `offset`, or at the start if the file does not agree with
    /// the entry: reading from a position that is no batch's would not end well.
    fn scan_towards(&self, offset: Offset, size: u64) -> Result<std::iter::Peekable<Scan<'_>>, DiskError> {
        let entry = match self.offset_index.lookup(offset) {
            // The segment is being deleted, and its index went first.
            Err(error) if error.source.kind() == std::io::ErrorKind::NotFound => {
                return Ok(Scan::lookup(&self.file, 0, size).peekable());
            }
            entry => entry?,
        };
        if entry.position > 0 && u64::from(entry.position) < size {
            let mut scan = Scan::lookup(&self.file, entry.position.into(), size).peekable();
            let agrees = scan.peek().is_some_and(|batch| {
                batch.as_ref().is_ok_and(|batch| {
                    // Kafka before 0.10.1 wrote entries about first offsets.
                    let first = batch.header.map_or(entry.offset, |header| header.base_offset());
                    first <= entry.offset && entry.offset <= batch.last_offset
                })
            });
            if agrees {
                return Ok(scan);
            }
            if let Some(position) = self.walk_to_entry(entry, size)? {
                return Ok(Scan::lookup(&self.file, position, size).peekable());
            }
        }
        Ok(Scan::lookup(&self.file, 0, size).peekable())
    }

    /// Where the batch with the entry's offset starts, if the entry is about several batches that were appended together
    /// and begin at its position: so Kafka before 3.9 wrote the entries of followers and of its cleaner. That the walk
    /// along the batches comes to the offset tells that the position is one.
    fn walk_to_entry(&self, entry: OffsetEntry, size: u64) -> Result<Option<u64>, DiskError> {
        let start = u64::from(entry.position);
        let end = size.min(start + APPENDED_AT_ONCE);
        let mut last = Offset(-1);
        for batch in Scan::lookup(&self.file, start, end) {
            let batch = match batch {
                Ok(batch) => batch,
                Err(ScanError::Io(source)) => return Err(source).doing("read", &self.path()),
                Err(_) => return Ok(None),
            };
            if batch.base_offset <= last || batch.base_offset > entry.offset {
                return Ok(None);
            }
            if batch.last_offset >= entry.offset {
                return Ok(Some(batch.position));
            }
            last = batch.last_offset;
        }
        Ok(None)
    }

    fn start_of_lookup(&self, offset: Offset, size: u64) -> Result<u64, DiskError> {
        let mut scan = self.scan_towards(offset, size)?;
        Ok(match scan.peek() {
            Some(Ok(batch)) => batch.position,
            _ => 0,
        })
    }

    /// A position at or before the first batch that reaches to `offset`.
    pub(crate) fn position_of(&self, offset: Offset) -> Result<u64, DiskError> {
        if offset <= self.base_offset {
            return Ok(0);
        }
        self.start_of_lookup(offset, self.end().size)
    }

    /// Another segment takes the names of the index files.
    pub(crate) fn let_go_of_indexes(&self) {
        self.offset_index.let_go();
        self.time_index.let_go();
    }

    /// The first batch whose last offset is at or past `offset`, below `size` bytes.
    pub(crate) fn locate(&self, offset: Offset, size: u64) -> Result<Option<Scanned>, ScanFailure> {
        for batch in self.scan_towards(offset, size)? {
            let batch = batch.map_err(|error| self.scan_failure(error))?;
            if batch.last_offset >= offset {
                return Ok(Some(batch));
            }
        }
        Ok(None)
    }

    /// Where the batches below `limit` end: readers of committed records may go so far.
    pub(crate) fn position_of_limit(&self, limit: Offset) -> Result<u64, ScanFailure> {
        let end = self.end();
        if limit >= end.next_offset {
            return Ok(end.size);
        }
        if limit <= self.base_offset {
            return Ok(0);
        }
        if let Some((offset, position)) = *self.limit.lock()
            && offset == limit
        {
            return Ok(position);
        }
        let position = self.locate(limit, end.size)?.map_or(end.size, |batch| batch.position);
        *self.limit.lock() = Some((limit, position));
        Ok(position)
    }

    pub(crate) fn scan_failure(&self, error: ScanError) -> ScanFailure {
        match error {
            ScanError::Io(source) => ScanFailure::Disk(DiskError {
                doing: "read",
                path: self.path(),
                source,
            }),
            other => ScanFailure::Corrupt {
                path: self.path(),
                reason: other.to_string(),
            },
        }
    }

    /// Whether what follows its last batch, when it was opened, is no batch: what is appended behind it could not be
    /// found again.
    pub(crate) fn is_torn(&self) -> bool {
        self.torn
    }

    /// One past the last offset, and whether the batches reach to the end of the file.
    fn find_next_offset(&self) -> Result<(Offset, bool), DiskError> {
        let size = self.end().size;
        let mut next = self.base_offset;
        let mut whole = true;
        if size == 0 {
            return Ok((next, whole));
        }
        let start = match self.offset_index.last()? {
            Some(entry) if u64::from(entry.position) < size => entry.position,
            _ => 0,
        };
        for batch in Scan::walk(&self.file, start.into(), size) {
            match batch {
                Ok(batch) => next = batch.last_offset.next(),
                Err(ScanError::Io(source)) => return Err(source).doing("read", &self.path()),
                // After a clean stop there is no torn tail; but files get damaged.
                Err(_) => whole = false,
            }
        }
        Ok((next.max(self.base_offset), whole))
    }

    /// Whether a new segment must be begun before this append. Source: Kafka `LogSegment.shouldRoll`.
    pub(crate) fn should_roll(&self, append: &AboutToAppend, config: &LogConfig) -> Result<bool, DiskError> {
        let size = self.end().size;
        if size + append.bytes as u64 > u64::from(config.segment_bytes).min(SIZE_MAX) && size > 0 {
            return Ok(true);
        }
        if append.last_offset - self.base_offset > i64::from(i32::MAX) {
            return Ok(true);
        }
        if size > 0 {
            let waited = self.waited_for_roll(append.now, append.max_timestamp)?;
            if waited > config.max_segment_ms() - self.jitter {
                return Ok(true);
            }
        }
        Ok(self.offset_index.is_full(config.segment_index_bytes)?
            || self.time_index.is_full(config.segment_index_bytes)?)
    }

    /// How old the segment is by the records' own time where they have one, by the clock otherwise.
    fn waited_for_roll(&self, now: Millis, record_timestamp: Millis) -> Result<Millis, DiskError> {
        let first = self.first_timestamp()?;
        Ok(match first {
            Some(first) if first >= Millis(0) => record_timestamp - first,
            _ => now - self.tail.lock().created,
        })
    }

    /// The maximum timestamp of the first batch, if there is one.
    pub(crate) fn first_timestamp(&self) -> Result<Option<Millis>, DiskError> {
        let known = self.tail.lock().first_timestamp;
        if known.is_some() || self.end().size == 0 {
            return Ok(known);
        }
        let first = match Scan::lookup(&self.file, 0, self.end().size).next() {
            Some(Ok(batch)) => Some(batch.max_timestamp),
            Some(Err(ScanError::Io(source))) => return Err(source).doing("read", &self.path()),
            _ => None,
        };
        self.tail.lock().first_timestamp = first;
        Ok(first)
    }

    /// The largest timestamp so far, with the last offset of its batch; −1 where there is none.
    pub(crate) fn max_timestamp(&self) -> Result<TimeEntry, DiskError> {
        let known = self.tail.lock().max_timestamp;
        match known {
            Some(entry) => Ok(entry),
            None => {
                let entry = self.time_index.last()?;
                Ok(*self.tail.lock().max_timestamp.get_or_insert(entry))
            }
        }
    }

    /// What retention goes by: the largest timestamp, or when the file was last written.
    pub(crate) fn age_timestamp(&self) -> Result<Millis, DiskError> {
        let largest = self.max_timestamp()?.timestamp;
        if largest >= Millis(0) {
            return Ok(largest);
        }
        let path = self.path();
        let modified = self.file.metadata().and_then(|m| m.modified()).doing("stat", &path)?;
        let since_epoch = modified.duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        Ok(Millis(since_epoch.as_millis() as i64))
    }

    /// Writes the batches at the end. They are in the file, and in the indexes, but no reader sees them until
    /// [`Segment::commit`].
    ///
    /// # Errors
    /// When the disk fails; then the file is as before, or the attempt to make it so is in the error's wake: recovery
    /// will cut it.
    pub(crate) fn write(&self, write: &Write, index_interval_bytes: u32) -> Result<End, DiskError> {
        let before = self.end();
        let slices = write.slices();
        let buffers: SmallVec<[IoSlice<'_>; 4]> = slices.iter().map(|bytes| IoSlice::new(bytes)).collect();
        self.disk
            .write_vectored_at(&self.file, || self.path(), &buffers, before.size)
            .and_then(|()| self.index_batches(write, before.size, index_interval_bytes.into()))
            .inspect_err(|_| self.undo(before))?;
        self.dirty.store(true, Ordering::Relaxed);
        Ok(End {
            next_offset: write.last_offset.next(),
            size: before.size + write.total_bytes as u64,
        })
    }

    /// Shows what was written to readers.
    pub(crate) fn commit(&self, end: End) {
        assert!(end.size <= SIZE_MAX, "the roll keeps segments below 2 GiB");
        self.publish(end);
    }

    fn index_batches(&self, write: &Write, mut position: u64, interval: u64) -> Result<(), DiskError> {
        let mut tail = self.tail.lock();
        let mut largest = match tail.max_timestamp {
            Some(entry) => entry,
            None => self.time_index.last()?,
        };
        if position == 0 && tail.first_timestamp.is_none() {
            tail.first_timestamp = write.batches.first().map(|batch| batch.max_timestamp);
        }
        for batch in &write.batches {
            if batch.max_timestamp > largest.timestamp {
                largest = TimeEntry {
                    timestamp: batch.max_timestamp,
                    offset: batch.last_offset,
                };
            }
            if tail.bytes_since_index_entry > interval {
                self.offset_index.append(batch.last_offset, position as u32)?;
                self.time_index.maybe_append(largest)?;
                tail.bytes_since_index_entry = 0;
            }
            let size = batch.size() as u64;
            position += size;
            tail.bytes_since_index_entry += size;
        }
        tail.max_timestamp = Some(largest);
        Ok(())
    }

    /// Takes back what was written past `end`. What fails here is cut off by recovery.
    fn undo(&self, end: End) {
        let undone = self
            .disk
            .set_len(&self.file, &self.path(), end.size)
            .and_then(|()| self.offset_index.truncate_to(end.next_offset))
            .and_then(|()| self.time_index.truncate_to(end.next_offset));
        if let Err(error) = undone {
            tracing::error!(%error, "a failed append could not be taken back; recovery will cut it off");
        }
        self.tail.lock().max_timestamp = None;
    }

    /// Drops the records from `offset` on. Source: Kafka `LogSegment.truncateTo`.
    pub(crate) fn truncate_to(&self, offset: Offset, config: &LogConfig, now: Millis) -> Result<(), ScanFailure> {
        let end = self.end();
        let cut = self.locate(offset, end.size)?.map_or(end.size, |batch| batch.position);
        *self.limit.lock() = None;
        // Readers first: they must not be shown what is about to go.
        self.publish(End {
            next_offset: offset.max(self.base_offset),
            size: cut,
        });
        self.offset_index.truncate_to(offset)?;
        self.time_index.truncate_to(offset)?;
        self.transaction_index.truncate_to(offset)?;
        self.offset_index.preallocate(config.segment_index_bytes)?;
        self.time_index.preallocate(config.segment_index_bytes)?;
        if cut < end.size {
            self.disk.set_len(&self.file, &self.path(), cut)?;
            self.dirty.store(true, Ordering::Relaxed);
        }
        let mut largest = self.time_index.last()?;
        let from = self.start_of_lookup(largest.offset, cut)?;
        for batch in Scan::walk(&self.file, from, cut) {
            let batch = batch.map_err(|error| self.scan_failure(error))?;
            if batch.max_timestamp > largest.timestamp {
                largest = TimeEntry {
                    timestamp: batch.max_timestamp,
                    offset: batch.last_offset,
                };
            }
        }
        let next_offset = if cut == 0 {
            self.base_offset
        } else {
            self.find_next_offset()?.0.max(offset)
        };
        self.publish(End { next_offset, size: cut });
        let mut tail = self.tail.lock();
        tail.bytes_since_index_entry = 0;
        tail.max_timestamp = Some(largest);
        if cut == 0 {
            tail.created = now;
            tail.first_timestamp = None;
        }
        Ok(())
    }

    /// The segment will not be written any more: the largest timestamp goes to the time index, and the indexes are
    /// trimmed. Source: Kafka `LogSegment.onBecomeInactiveSegment`.
    pub(crate) fn retire(&self, preallocated: bool) -> Result<(), DiskError> {
        let known = self.tail.lock().max_timestamp;
        if let Some(largest) = known {
            self.time_index.maybe_append(largest)?;
        }
        self.offset_index.trim()?;
        self.time_index.trim()?;
        if preallocated {
            self.disk.set_len(&self.file, &self.path(), self.end().size)?;
        }
        Ok(())
    }

    /// Makes room in the indexes: the segment is the one that is written. Source: Kafka `LogSegment.resizeIndexes`.
    pub(crate) fn activate(&self, config: &LogConfig) -> Result<(), DiskError> {
        self.offset_index.preallocate(config.segment_index_bytes)?;
        self.time_index.preallocate(config.segment_index_bytes)?;
        self.rest();
        Ok(())
    }

    /// Closes the handles of the index files until they are needed.
    fn rest(&self) {
        self.offset_index.rest();
        self.time_index.rest();
    }

    /// Closes the index files, keeping that of the log: for segments that are seldom looked into.
    pub(crate) fn close_indexes(&self) {
        self.offset_index.close();
        self.time_index.close();
    }

    /// Waits until all of it is on the device.
    pub(crate) fn flush(&self) -> Result<(), DiskError> {
        if self.dirty.swap(false, Ordering::Relaxed) {
            self.disk.sync(&self.file, &self.path()).inspect_err(|_| {
                self.dirty.store(true, Ordering::Relaxed);
            })?;
        }
        self.offset_index.sync()?;
        self.time_index.sync()?;
        self.transaction_index.sync()
    }

    /// The names of its files.
    pub(crate) fn file_names(&self) -> impl Iterator<Item = String> {
        file_names(self.base_offset)
    }
}

/// The names of the files that a segment may have.
pub(crate) fn file_names(base_offset: Offset) -> impl Iterator<Item = String> {
    [LOG, INDEX, TIME_INDEX, TRANSACTION_INDEX]
        .into_iter()
        .map(move |suffix| format!("{base_offset:020}{suffix}"))
}

/// Why a segment could not be read.
#[derive(Debug)]
pub(crate) enum ScanFailure {
    Disk(DiskError),
    Corrupt { path: PathBuf, reason: String },
}

impl From<DiskError> for ScanFailure {
    fn from(error: DiskError) -> Self {
        Self::Disk(error)
    }
}

/// A corrupt file is a failed disk where nobody can be told otherwise.
impl From<ScanFailure> for DiskError {
    fn from(failure: ScanFailure) -> Self {
        match failure {
            ScanFailure::Disk(error) => error,
            ScanFailure::Corrupt { path, reason } => Self {
                doing: "read",
                path,
                source: std::io::Error::new(std::io::ErrorKind::InvalidData, reason),
            },
        }
    }
}

/// A random time less than `segment.jitter.ms`, so that segments begun together are not rolled together.
///
/// Source: Kafka `LogConfig.randomSegmentJitter`.
fn jitter(config: &LogConfig) -> Millis {
    use std::hash::{BuildHasher, RandomState};
    match config.segment_jitter_ms.min(config.segment_ms).0 {
        most @ 1.. => Millis((RandomState::new().hash_one(0) % most as u64) as i64),
        _ => Millis(0),
    }
}
