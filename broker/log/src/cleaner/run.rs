//! One cleaning of one log: its dirty part is read for keys, then all of it, up to where the keys reach, is written anew.
//!
//! No lock is held while segments are read and written: they do not change, but for a truncation, after which what was
//! written is thrown away. The log exchanges segments group by group ([`Log::swap_cleaned`]); whatever ends a cleaning
//! half-way leaves a log of whole groups, and the next one begins where this one began.
//!
//! Source: Kafka 3.9 `Cleaner`.

use std::fs::File;
use std::io::IoSlice;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use model::{Millis, Offset};

use super::filter::{Counts, Filter, Verdict};
use super::legacy;
use super::offset_map::{OffsetMap, SLOT_BYTES};
use super::output::{self, Output};
use super::selection::{Part, group};
use super::transactions::CleanedTransactions;
use crate::append::AppendConfig;
use crate::batch::{Batch, Entries, Entry, Frame};
use crate::disk::{DiskContext, DiskError};
use crate::index::AbortedEntry;
use crate::log::{AbortedTransaction, Log};
use crate::segment::Segment;

/// Why a log was not cleaned.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CleanError {
    /// The log changed under the cleaning, is gone, or the broker stops. Nothing is wrong.
    #[error("the cleaning was given up: {0}")]
    Aborted(&'static str),
    /// A file does not hold what it should.
    #[error("{} is corrupt at {position}: {reason}", path.display())]
    Corrupt {
        path: std::path::PathBuf,
        position: u64,
        reason: String,
    },
    /// The keys of one batch do not fit into the map.
    #[error(
        "the offset map of {bytes} bytes is too small for the keys of one batch at offset {offset}; increase \
         log.cleaner.dedupe.buffer.size or decrease log.cleaner.threads"
    )]
    MapTooSmall { bytes: u64, offset: Offset },
    /// Reading or writing failed.
    #[error(transparent)]
    Disk(#[from] DiskError),
}

/// What of which log is to be cleaned, and by what means.
pub(crate) struct Job<'a> {
    pub(crate) log: &'a Log,
    pub(crate) first_dirty: Offset,
    pub(crate) first_uncleanable: Offset,
    pub(crate) now: Millis,
    /// Bytes for the map of keys.
    pub(crate) map_bytes: u64,
    pub(crate) load_factor: f64,
    /// Bytes that are read at once.
    pub(crate) io_bytes: usize,
    /// Called between pieces of work, with the bytes of the last one: waits if it was too fast, and says whether to go
    /// on.
    pub(crate) pace: &'a dyn Fn(u64) -> Result<(), CleanError>,
}

/// What a cleaning did.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Stats {
    pub(crate) bytes_indexed: u64,
    pub(crate) bytes_read: u64,
    pub(crate) bytes_written: u64,
    pub(crate) counts: Counts,
    pub(crate) keys: usize,
    /// How full the map was, from 0 to 1.
    pub(crate) map_utilization: f64,
    pub(crate) map_bytes: usize,
    pub(crate) indexing: Duration,
    pub(crate) total: Duration,
}

/// Buffers smaller than this make no sense.
const LEAST_IO_BYTES: usize = 4 << 10;

impl Job<'_> {
    /// Cleans; one past the last offset that is clean now.
    pub(crate) fn run(&self) -> Result<(Offset, Stats), CleanError> {
        let log = self.log;
        let started = Instant::now();
        let truncations = log.truncations();
        let mut stats = Stats::default();
        let mut map = OffsetMap::new(self.map_bytes, self.load_factor);
        let mut chunks = Chunks::new(self.io_bytes);
        let result = self
            .build_map(&mut map, &mut chunks, &mut stats)
            .and_then(|()| self.clean_groups(&map, truncations, &mut chunks, &mut stats));
        if let Err(error) = &result
            && !matches!(error, CleanError::Aborted(_))
            && (log.truncations() != truncations || log.is_offline())
        {
            // What it stumbled over was a file being cut.
            return Err(CleanError::Aborted("the log was truncated or closed"));
        }
        result?;
        stats.keys = map.len();
        stats.map_utilization = map.len() as f64 / map.capacity().max(1) as f64;
        stats.map_bytes = map.bytes();
        stats.total = started.elapsed();
        Ok((map.latest().next(), stats))
    }

    /// Learns the newest offset of each key of the dirty part, until the map is full.
    fn build_map(&self, map: &mut OffsetMap, chunks: &mut Chunks, stats: &mut Stats) -> Result<(), CleanError> {
        let started = Instant::now();
        let segments = self.segments_up_to(self.first_uncleanable);
        let first = segments
            .partition_point(|segment| segment.base_offset() <= self.first_dirty)
            .saturating_sub(1);
        let mut transactions = CleanedTransactions::default();
        transactions.expect(self.aborted(self.first_dirty, self.first_uncleanable)?);
        let mut scratch = Vec::new();
        map.reached(self.first_dirty + -1);
        'segments: for (at, segment) in segments.iter().enumerate().skip(first) {
            let mut position = segment.position_of(self.first_dirty)?;
            let end = segment.end().size;
            while position < end {
                let chunk = chunks.read(segment, position, end)?;
                let mut entries = Entries::new(chunk);
                let mut consumed = 0;
                for entry in &mut entries {
                    let Ok(entry) = entry else { break };
                    consumed += entry.size();
                    if entry.last_offset() < self.first_dirty {
                        // Its transaction counts, its keys do not.
                        if let Entry::Batch(batch) = &entry {
                            self.observe(batch, &mut transactions, segment, position)?;
                        }
                        continue;
                    }
                    if !self.learn(&entry, map, &mut transactions, &mut scratch, segment, position)? {
                        if map.latest() < self.first_dirty {
                            return Err(CleanError::MapTooSmall {
                                bytes: self.map_bytes,
                                offset: entry.last_offset(),
                            });
                        }
                        break 'segments;
                    }
                    map.reached(entry.last_offset());
                }
                position += consumed as u64;
                stats.bytes_indexed += consumed as u64;
                (self.pace)(consumed as u64)?;
            }
            // Offsets that the segment does not have belong to it all the same.
            let next = segments
                .get(at + 1)
                .map_or(self.first_uncleanable, |next| next.base_offset());
            map.reached(next + -1);
        }
        stats.indexing = started.elapsed();
        Ok(())
    }

    fn observe(
        &self,
        batch: &Batch<'_>,
        transactions: &mut CleanedTransactions,
        segment: &Segment,
        position: u64,
    ) -> Result<(), CleanError> {
        if batch.is_control() {
            transactions
                .on_control(batch)
                .map_err(|error| corrupt(segment, position, error.to_string()))?;
        } else {
            transactions.on_batch(batch);
        }
        Ok(())
    }

    /// Takes in the keys of `entry`; `false` if they did not all fit.
    fn learn(
        &self,
        entry: &Entry<'_>,
        map: &mut OffsetMap,
        transactions: &mut CleanedTransactions,
        scratch: &mut Vec<u8>,
        segment: &Segment,
        position: u64,
    ) -> Result<bool, CleanError> {
        let broken = |reason: String| {
            corrupt(
                segment,
                position,
                format!("the batch that ends at offset {}: {reason}", entry.last_offset()),
            )
        };
        let mut fits = true;
        let mut put = |key: Option<&[u8]>, offset: Offset| {
            if let Some(key) = key
                && offset >= self.first_dirty
                && fits
            {
                fits = map.put(key, offset).is_ok();
            }
        };
        match entry {
            Entry::Batch(batch) => {
                // A key with a flipped bit would supersede another.
                if !batch.is_valid() {
                    return Err(broken("its checksum is wrong".to_owned()));
                }
                if batch.is_control() {
                    transactions
                        .on_control(batch)
                        .map_err(|error| broken(error.to_string()))?;
                } else if !transactions.on_batch(batch) {
                    let records = batch
                        .records(scratch, AppendConfig::MAX_DECOMPRESSED_BYTES)
                        .map_err(|error| broken(error.to_string()))?;
                    for record in records {
                        let record = record.map_err(|error| broken(error.to_string()))?;
                        put(record.key, record.offset);
                    }
                }
            }
            Entry::Legacy(entry) => {
                for message in legacy::messages(entry, scratch).map_err(broken)? {
                    let message = message.map_err(|error| broken(error.to_string()))?;
                    put(message.key, message.offset);
                }
            }
        }
        Ok(fits)
    }

    fn clean_groups(
        &self,
        map: &OffsetMap,
        truncations: u64,
        chunks: &mut Chunks,
        stats: &mut Stats,
    ) -> Result<(), CleanError> {
        let log = self.log;
        let config = log.config();
        let legacy_horizon = self.legacy_horizon(config.delete_retention_ms)?;
        let segments = self.segments_up_to(map.latest().next());
        let parts = segments
            .iter()
            .map(|segment| {
                Ok(Part {
                    base_offset: segment.base_offset(),
                    size: segment.end().size,
                    index_size: segment.offset_index.size()?,
                    time_index_size: segment.time_index.size()?,
                })
            })
            .collect::<Result<Vec<_>, DiskError>>()?;
        let groups = group(
            &parts,
            config.segment_bytes.into(),
            config.segment_index_bytes.into(),
            self.first_uncleanable,
        );
        let mut transactions = CleanedTransactions::default();
        for range in groups {
            let old = &segments[range];
            let Some(first) = old.first() else { continue };
            let dir = log.shared_dir();
            let output = Output::create(log.disk(), dir, first.base_offset(), &config)?;
            let cleaned = self
                .clean_into(output, old, map, &mut transactions, legacy_horizon, chunks, stats)
                .and_then(|cleaned| match log.swap_cleaned(cleaned, old, truncations)? {
                    true => Ok(()),
                    false => Err(CleanError::Aborted(
                        "the log was truncated or segments of it were deleted",
                    )),
                });
            if let Err(error) = cleaned {
                if !log.is_offline()
                    && let Err(error) = output::remove(log.disk(), dir, first.base_offset())
                {
                    tracing::warn!(%error, "cannot remove what a cleaning wrote in vain");
                }
                return Err(error);
            }
        }
        Ok(())
    }

    /// Writes what is left of `old` into `output`.
    fn clean_into(
        &self,
        mut output: Output,
        old: &[Arc<Segment>],
        map: &OffsetMap,
        transactions: &mut CleanedTransactions,
        legacy_horizon: SystemTime,
        chunks: &mut Chunks,
        stats: &mut Stats,
    ) -> Result<output::CleanedSegment, CleanError> {
        let producers = self.log.last_records_of_producers();
        let config = self.log.config();
        let mut filter = Filter::new(map, &producers, self.now, config.delete_retention_ms);
        let mut rewritten = Vec::new();
        let mut modified = SystemTime::UNIX_EPOCH;
        for segment in old {
            // The whole range, so that the new transaction index is complete.
            transactions.expect(self.aborted(segment.base_offset(), segment.end().next_offset)?);
            modified = last_modified(segment)?;
            filter.keep_legacy_tombstones = modified > legacy_horizon;
            let end = segment.end().size;
            let mut position = 0;
            while position < end {
                let chunk = chunks.read(segment, position, end)?;
                let mut pieces = Pieces::default();
                let mut at = output.size();
                let mut consumed = 0;
                rewritten.clear();
                for entry in Entries::new(chunk) {
                    let Ok(entry) = entry else { break };
                    let range = consumed..consumed + entry.size();
                    let before = rewritten.len();
                    let verdict = filter
                        .entry(&entry, transactions, &mut rewritten)
                        .map_err(|reason| corrupt(segment, position + consumed as u64, reason))?;
                    consumed = range.end;
                    let (size, last_offset, max_timestamp) = match verdict {
                        Verdict::Drop => continue,
                        Verdict::Keep => {
                            let size = range.len();
                            pieces.keep(range);
                            (size, entry.last_offset(), entry.max_timestamp())
                        }
                        Verdict::Rewritten {
                            last_offset,
                            max_timestamp,
                        } => {
                            pieces.write(before..rewritten.len());
                            (rewritten.len() - before, last_offset, max_timestamp)
                        }
                    };
                    output.index(at, size, last_offset, max_timestamp)?;
                    at += size as u64;
                }
                if at > i32::MAX as u64 {
                    return Err(corrupt(
                        segment,
                        position,
                        "what is left of it is too large for a segment".to_owned(),
                    ));
                }
                for entry in transactions.take_kept() {
                    output.aborted(aborted_entry(&entry))?;
                }
                let written = at - output.size();
                pieces.each(chunk, &rewritten, |slices| output.write(slices))?;
                position += consumed as u64;
                stats.bytes_read += consumed as u64;
                stats.bytes_written += written;
                (self.pace)(consumed as u64 + written)?;
            }
        }
        stats.counts.records_read += filter.counts.records_read;
        stats.counts.records_kept += filter.counts.records_kept;
        stats.counts.invalid += filter.counts.invalid;
        Ok(output.finish(modified)?)
    }

    /// The segments that begin below `offset`, never the active one.
    fn segments_up_to(&self, offset: Offset) -> Vec<Arc<Segment>> {
        let offset = offset.min(self.first_uncleanable);
        let segments = self.log.segments();
        segments[..segments.len().saturating_sub(1)]
            .iter()
            .take_while(|segment| segment.base_offset() < offset)
            .cloned()
            .collect()
    }

    fn aborted(&self, from: Offset, upper: Offset) -> Result<Vec<AbortedTransaction>, CleanError> {
        use crate::log::ReadError;
        self.log.aborted_transactions(from, upper).map_err(|error| match error {
            ReadError::Disk(error) => CleanError::Disk(error),
            ReadError::Corrupt { path, reason } => CleanError::Corrupt {
                path,
                position: 0,
                reason,
            },
            ReadError::Offline(_) | ReadError::OffsetOutOfRange { .. } => CleanError::Aborted("the log was closed"),
        })
    }

    /// Tombstones of the old formats stay in segments that were written later than this: `delete.retention.ms` before the
    /// last clean one was.
    fn legacy_horizon(&self, delete_retention: Millis) -> Result<SystemTime, CleanError> {
        let clean = self.segments_up_to(self.first_dirty);
        let Some(last) = clean.last() else {
            return Ok(SystemTime::UNIX_EPOCH);
        };
        let retention = Duration::from_millis(u64::try_from(delete_retention.0).unwrap_or(0));
        Ok(last_modified(last)?
            .checked_sub(retention)
            .unwrap_or(SystemTime::UNIX_EPOCH))
    }
}

fn last_modified(segment: &Segment) -> Result<SystemTime, DiskError> {
    let modified = segment.file().metadata().and_then(|metadata| metadata.modified());
    modified.doing("stat", &segment.path())
}

fn aborted_entry(transaction: &AbortedTransaction) -> AbortedEntry {
    AbortedEntry {
        producer_id: transaction.producer_id,
        first_offset: transaction.first_offset,
        last_offset: transaction.last_offset,
        last_stable_offset: transaction.last_stable_offset,
    }
}

fn corrupt(segment: &Segment, position: u64, reason: String) -> CleanError {
    CleanError::Corrupt {
        path: segment.path(),
        position,
        reason,
    }
}

/// Reads a segment piece by piece, each of whole batches; the buffer grows for a batch that is larger.
struct Chunks {
    buffer: Vec<u8>,
    usual: usize,
}

impl Chunks {
    fn new(usual: usize) -> Self {
        Self {
            buffer: Vec::new(),
            usual: usual.max(LEAST_IO_BYTES),
        }
    }

    /// Bytes from `position` on, at least one whole entry.
    fn read(&mut self, segment: &Segment, position: u64, end: u64) -> Result<&[u8], CleanError> {
        let left = end - position;
        let mut want = left.min(self.usual as u64) as usize;
        self.fill(segment.file(), segment, position, want)?;
        match Frame::read(&self.buffer[..want]) {
            Ok(Some(frame)) if frame.size > want => {
                if frame.size as u64 > left {
                    let reason = format!("a batch of {} bytes, of which {left} are there", frame.size);
                    return Err(corrupt(segment, position, reason));
                }
                want = frame.size;
                self.fill(segment.file(), segment, position, want)?;
            }
            Ok(Some(_)) => {
                // One very large batch must not keep its memory for all the rest.
                if self.buffer.len() > self.usual {
                    self.buffer.truncate(self.usual);
                    self.buffer.shrink_to_fit();
                }
            }
            Ok(None) => return Err(corrupt(segment, position, format!("{left} bytes that are no batch"))),
            Err(error) => return Err(corrupt(segment, position, error.to_string())),
        }
        let chunk = &self.buffer[..want];
        match Entries::new(chunk).next() {
            Some(Ok(_)) => Ok(chunk),
            Some(Err(error)) => Err(corrupt(segment, position, error.to_string())),
            None => Err(corrupt(segment, position, "what is there is no batch".to_owned())),
        }
    }

    fn fill(&mut self, file: &File, segment: &Segment, position: u64, want: usize) -> Result<(), CleanError> {
        if self.buffer.len() < want {
            self.buffer.resize(want, 0);
        }
        match file.read_exact_at(&mut self.buffer[..want], position) {
            Ok(()) => Ok(()),
            Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => {
                Err(corrupt(segment, position, "the file is shorter than it was".to_owned()))
            }
            Err(error) => Err(error).doing("read", &segment.path()).map_err(CleanError::Disk),
        }
    }
}

/// What is written of a chunk, in order: ranges of what was read, and of what was written anew. Neighbours are joined.
#[derive(Default)]
struct Pieces(Vec<Piece>);

enum Piece {
    Kept(std::ops::Range<usize>),
    Rewritten(std::ops::Range<usize>),
}

/// How many pieces one system call takes.
const PIECES_AT_ONCE: usize = 512;

impl Pieces {
    fn keep(&mut self, range: std::ops::Range<usize>) {
        match self.0.last_mut() {
            Some(Piece::Kept(last)) if last.end == range.start => last.end = range.end,
            _ => self.0.push(Piece::Kept(range)),
        }
    }

    fn write(&mut self, range: std::ops::Range<usize>) {
        match self.0.last_mut() {
            Some(Piece::Rewritten(last)) if last.end == range.start => last.end = range.end,
            _ => self.0.push(Piece::Rewritten(range)),
        }
    }

    fn each(
        &self,
        kept: &[u8],
        rewritten: &[u8],
        mut write: impl FnMut(&[IoSlice<'_>]) -> Result<(), DiskError>,
    ) -> Result<(), DiskError> {
        for pieces in self.0.chunks(PIECES_AT_ONCE) {
            let slices: Vec<IoSlice<'_>> = pieces
                .iter()
                .map(|piece| match piece {
                    Piece::Kept(range) => IoSlice::new(&kept[range.clone()]),
                    Piece::Rewritten(range) => IoSlice::new(&rewritten[range.clone()]),
                })
                .collect();
            write(&slices)?;
        }
        Ok(())
    }
}

/// The least memory with which cleaning makes sense.
pub(crate) const LEAST_MAP_BYTES: u64 = (SLOT_BYTES * 1024) as u64;
