//! Loading a log from its directory, and recovering it where it was not closed.
//!
//! After a clean stop everything is believed. Otherwise the segments from the recovery point on are read and checked
//! byte by byte; the first batch that is not whole ends the log. Below the recovery point everything was synced, and
//! only what is visibly wrong (an index that is missing or contradicts its file) is made anew.
//!
//! Source: Kafka 3.9 `LogLoader`.

use std::fs::File;
use std::sync::atomic::{AtomicI64, AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Weak};

use arc_swap::ArcSwap;
use model::{Millis, Offset, TopicId, TopicPartition};
use parking_lot::{Mutex, RwLock};

use super::clean::{CLEANED, SWAP};
use super::retention::DELETED;
use super::{Epochs, Home, Log, NO_TRANSACTION, OPEN, Settings, Shared, Snapshots, Writer, floor, snapshots};
use crate::config::LogConfig;
use crate::disk::{Disk, DiskError};
use crate::index::SharedDir;
use crate::leader_epoch::{self, LeaderEpochs};
use crate::partition_metadata;
use crate::producer::ProducerStates;
use crate::segment::{self, Replayer, Segment};

/// Which log to load, and what the directory's checkpoints say of it.
pub(crate) struct Load {
    pub(crate) partition: TopicPartition,
    pub(crate) config: LogConfig,
    /// The directory's name within its home.
    pub(crate) name: String,
    pub(crate) log_start_offset: Offset,
    pub(crate) recovery_point: Offset,
    pub(crate) high_watermark: Offset,
    pub(crate) clean: bool,
    /// The directory is new: nothing need be looked for.
    pub(crate) new: Option<TopicId>,
}

/// A loaded log, and what was done to it.
pub(crate) struct Loaded {
    pub(crate) log: Arc<Log>,
    /// Segments that were read because the stop was not clean.
    pub(crate) recovered_segments: usize,
    /// Bytes that were no records.
    pub(crate) truncated_bytes: u64,
    /// A file of a new log which is to be synced soon.
    pub(crate) unsynced: Option<File>,
}

/// What is found in the directory.
#[derive(Default)]
struct Found {
    segments: Vec<Offset>,
    indexes: Vec<Offset>,
    time_indexes: Vec<Offset>,
    transaction_indexes: Vec<Offset>,
    snapshots: Vec<Offset>,
    has_epochs: bool,
    has_metadata: bool,
}

impl Found {
    fn has(offsets: &[Offset], offset: Offset) -> bool {
        offsets.binary_search(&offset).is_ok()
    }
}

impl Log {
    /// Loads (or creates) the log in `home`.
    pub(crate) fn load(shared: &Arc<Shared>, home: &Arc<Home>, load: Load) -> Result<Loaded, DiskError> {
        let disk = &shared.disk;
        let dir = SharedDir::new(home.path.join(&load.name));
        let now = (shared.clock)();
        let found = match load.new {
            Some(_) => {
                disk.create_dir(&dir.path())?;
                Found::default()
            }
            None => tidy(disk, &dir)?,
        };
        let mut unsynced = None;
        let topic_id = match load.new {
            Some(id) if id.is_zero() => None,
            Some(id) => {
                unsynced = Some(partition_metadata::write_unsynced(disk, &dir.path(), id)?);
                Some(id)
            }
            None if found.has_metadata => partition_metadata::read(disk, &dir.path())?,
            None => None,
        };
        let epochs = if found.has_epochs {
            read_epochs(disk, &dir)?
        } else {
            LeaderEpochs::default()
        };
        let mut loading = Loading {
            shared,
            dir: &dir,
            load: &load,
            now,
            segments: Vec::new(),
            producers: ProducerStates::new(load.log_start_offset),
            snapshots: Snapshots::found(found.snapshots.iter().copied()),
            epochs,
            epochs_changed: false,
            recovered_segments: 0,
            truncated_bytes: 0,
        };
        loading.open_segments(&found)?;
        let end = loading.recover()?;
        let start = load.log_start_offset.max(loading.segments[0].base_offset());
        loading.settle(start, end)?;
        let loaded = loading.finish(home, dir.clone(), topic_id, start, end)?;
        Ok(Loaded { unsynced, ..loaded })
    }
}

struct Loading<'a> {
    shared: &'a Arc<Shared>,
    dir: &'a Arc<SharedDir>,
    load: &'a Load,
    now: Millis,
    segments: Vec<Arc<Segment>>,
    producers: ProducerStates,
    snapshots: Snapshots,
    epochs: LeaderEpochs,
    epochs_changed: bool,
    recovered_segments: usize,
    truncated_bytes: u64,
}

impl Loading<'_> {
    fn open_segments(&mut self, found: &Found) -> Result<(), DiskError> {
        let disk = &self.shared.disk;
        for (at, base) in found.segments.iter().enumerate() {
            let next = found.segments.get(at + 1).copied();
            let transactions = Found::has(&found.transaction_indexes, *base);
            let config = &self.load.config;
            let has_index = Found::has(&found.indexes, *base);
            // The end of a segment whose indexes are missing is found once they are there again.
            let known_end = next.or((!has_index || !self.load.clean).then_some(*base));
            let segment = Segment::open(disk, self.dir, *base, known_end, transactions, config, self.now)?;
            if !has_index || !Found::has(&found.time_indexes, *base) || !segment.transaction_index.is_sane()? {
                tracing::error!(
                    path = %segment.path().display(),
                    "the segment's index files are missing or corrupt, rebuilding them"
                );
                segment.offset_index.create(0)?;
                segment.time_index.create(0)?;
                self.segments.push(Arc::new(segment));
                self.rebuild_indexes(at)?;
                if let Some(next) = next {
                    self.segments[at].ends_at(next);
                }
            } else {
                self.segments.push(Arc::new(segment));
            }
        }
        Ok(())
    }

    /// Reads a whole segment to make its indexes anew, its transactions included.
    fn rebuild_indexes(&mut self, at: usize) -> Result<(), DiskError> {
        let segment = self.segments[at].clone();
        segment.transaction_index.reset()?;
        let expiration = Millis(self.shared.producer_id_expiration_ms.load(Ordering::Relaxed));
        // Producers as of the segment's start; those of the whole log are built at the end.
        let mut snapshots = Snapshots::found(self.snapshots.latest().filter(|s| *s == segment.base_offset()));
        let mut producers = snapshots.load(
            &self.shared.disk,
            self.dir,
            self.load.log_start_offset.min(segment.base_offset()),
            segment.base_offset(),
            self.now,
            expiration,
        )?;
        let mut replayer = Replayer {
            producers: &mut producers,
            epochs: &mut self.epochs,
            epochs_changed: false,
        };
        for before in &self.segments[..at] {
            before.replay_headers(before.end().size, &mut replayer)?;
        }
        let recovered = segment.recover(
            segment.base_offset(),
            self.load.config.index_interval_bytes,
            &mut replayer,
        )?;
        self.epochs_changed |= replayer.epochs_changed;
        self.truncated_bytes += recovered.truncated;
        Ok(())
    }

    /// Makes sure that what is there is whole; where the log ends.
    fn recover(&mut self) -> Result<Offset, DiskError> {
        let (disk, config) = (&self.shared.disk, &self.load.config);
        let checkpoint = self.load.recovery_point;
        if self.segments.is_empty() {
            let base = self.load.log_start_offset;
            self.producers = ProducerStates::new(base);
            let segment = Segment::create(disk, self.dir, base, config, self.now)?;
            self.segments.push(Arc::new(segment));
            return Ok(base);
        }
        if !self.load.clean {
            let first = floor(&self.segments, checkpoint).unwrap_or(0);
            self.recover_from(first)?;
        } else if self.segments.last().is_some_and(|last| last.is_torn()) {
            self.recover_from(self.segments.len() - 1)?;
        }
        let end = match self.segments.last() {
            Some(last) => last.end().next_offset,
            None => unreachable!("not empty"),
        };
        if end < self.load.log_start_offset {
            // The files were removed behind our back.
            tracing::warn!(
                partition = %self.load.partition,
                log_end_offset = %end,
                log_start_offset = %self.load.log_start_offset,
                "deleting all segments because the log ends before its start"
            );
            for segment in std::mem::take(&mut self.segments) {
                remove_segment(disk, self.dir, segment.base_offset())?;
            }
            self.snapshots.clear(disk, self.dir)?;
            self.epochs.clear();
            self.epochs_changed = true;
            return self.recover();
        }
        Ok(end)
    }

    fn recover_from(&mut self, first: usize) -> Result<(), DiskError> {
        let expiration = Millis(self.shared.producer_id_expiration_ms.load(Ordering::Relaxed));
        let checkpoint = self.load.recovery_point;
        let config = &self.load.config;
        let disk = &self.shared.disk;
        // Producers as of the recovery point, or of an earlier snapshot: later snapshots may speak of lost records.
        let start = self.load.log_start_offset.max(self.segments[0].base_offset());
        let snapshot_end = checkpoint.max(self.segments[first].base_offset());
        let mut producers = self
            .snapshots
            .load(disk, self.dir, start, snapshot_end, self.now, expiration)?;
        let mut replayer = Replayer {
            producers: &mut producers,
            epochs: &mut self.epochs,
            epochs_changed: false,
        };
        // Where the log start lies past the recovery point, nothing below it counts.
        let from = floor(&self.segments, replayer.producers.map_end_offset()).unwrap_or(0);
        for before in &self.segments[from.min(first)..first] {
            before.replay_headers(before.end().size, &mut replayer)?;
        }
        let mut kept = first;
        for segment in &self.segments[first..] {
            let recovered = segment.recover(checkpoint, config.index_interval_bytes, &mut replayer)?;
            self.recovered_segments += 1;
            self.truncated_bytes += recovered.truncated;
            kept += 1;
            if recovered.truncated > 0 {
                break;
            }
            if let Some(next) = self.segments.get(kept) {
                segment.ends_at(next.base_offset());
            }
        }
        self.epochs_changed |= replayer.epochs_changed;
        // What follows a hole is not part of the log.
        for lost in self.segments.drain(kept..) {
            tracing::warn!(path = %lost.path().display(), "deleting a segment after a corrupt one");
            remove_segment(disk, self.dir, lost.base_offset())?;
        }
        self.producers = producers;
        Ok(())
    }

    /// Producers and epochs agree with where the log starts and ends.
    fn settle(&mut self, start: Offset, end: Offset) -> Result<(), DiskError> {
        let disk = &self.shared.disk;
        self.epochs_changed |= self.epochs.truncate_from_end(end);
        self.epochs_changed |= self.epochs.truncate_from_start(start);
        if self.load.clean && self.load.new.is_none() {
            let expiration = Millis(self.shared.producer_id_expiration_ms.load(Ordering::Relaxed));
            self.producers = self.snapshots.load(disk, self.dir, start, end, self.now, expiration)?;
            // A clean stop leaves a snapshot at the end; where there is none at all, no producer was known.
            if self.snapshots.latest().is_some() {
                let mut replayer = Replayer {
                    producers: &mut self.producers,
                    epochs: &mut self.epochs,
                    epochs_changed: false,
                };
                let from = floor(&self.segments, replayer.producers.map_end_offset()).unwrap_or(0);
                for segment in &self.segments[from..] {
                    if replayer.producers.map_end_offset() < end {
                        segment.replay_headers(segment.end().size, &mut replayer)?;
                    }
                }
            }
        }
        self.producers.set_map_end_offset(end);
        let segments = &self.segments;
        self.snapshots.remove_strays(disk, self.dir, |offset| {
            segments
                .binary_search_by_key(&offset, |segment| segment.base_offset())
                .is_ok()
        })?;
        self.snapshots
            .remove_below(disk, self.dir, self.segments[0].base_offset())
    }

    fn finish(
        mut self,
        home: &Arc<Home>,
        dir: Arc<SharedDir>,
        topic_id: Option<TopicId>,
        start: Offset,
        end: Offset,
    ) -> Result<Loaded, DiskError> {
        let load = self.load;
        if let Some(active) = self.segments.last() {
            active.activate(&load.config)?;
        }
        let high_watermark = load.high_watermark.min(end).max(start);
        let recovery_point = if load.clean { end } else { load.recovery_point.min(end) };
        self.producers.high_watermark_moved(high_watermark);
        let log = Arc::new_cyclic(|this: &Weak<Log>| Log {
            partition: load.partition.clone(),
            shared: self.shared.clone(),
            home: home.clone(),
            dir,
            topic_id: RwLock::new(topic_id),
            settings: ArcSwap::new(Settings::new(load.config.clone())),
            segments: ArcSwap::from_pointee(self.segments),
            log_start_offset: AtomicI64::new(start.0),
            log_end_offset: AtomicI64::new(end.0),
            high_watermark: AtomicI64::new(high_watermark.0),
            first_unstable_offset: AtomicI64::new(NO_TRANSACTION),
            recovery_point: AtomicI64::new(recovery_point.0),
            last_flush: AtomicI64::new(self.now.0),
            truncations: AtomicU64::new(0),
            state: AtomicU8::new(OPEN),
            writer: Mutex::new(Writer {
                producers: self.producers,
                snapshots: self.snapshots,
            }),
            epochs: RwLock::new(Epochs {
                known: self.epochs,
                unsynced: None,
            }),
            flushing: Mutex::new(()),
            swapping: Mutex::new(()),
            lowest_truncation: AtomicI64::new(i64::MAX),
            this: this.clone(),
        });
        log.publish_first_unstable(&log.writer.lock().producers);
        if self.epochs_changed {
            log.write_epochs(&mut log.epochs.write())?;
        }
        Ok(Loaded {
            log,
            recovered_segments: self.recovered_segments,
            truncated_bytes: self.truncated_bytes,
            unsynced: None,
        })
    }
}

/// Removes what an interrupted deletion, cleaning or rename left, and says what is there.
///
/// Source: Kafka `LogLoader.removeTempFilesAndCollectSwapFiles` and the passes after it.
fn tidy(disk: &Disk, dir: &Arc<SharedDir>) -> Result<Found, DiskError> {
    let path = dir.path();
    let mut names: Vec<String> = disk
        .list(&path)?
        .into_iter()
        .filter_map(|(name, is_dir)| (!is_dir).then_some(name))
        .collect();
    let swapped = names.iter().any(|name| name.ends_with(SWAP) || name.ends_with(CLEANED));
    if swapped {
        names = finish_swap(disk, dir, names)?;
    }
    let mut found = Found::default();
    for name in names {
        if name.ends_with(DELETED) || name.ends_with(".tmp") {
            disk.remove(&path.join(&name))?;
            continue;
        }
        match name.as_str() {
            leader_epoch::FILE => found.has_epochs = true,
            partition_metadata::FILE => found.has_metadata = true,
            _ => {
                let Some((offset, suffix)) = offset_of(&name) else {
                    continue;
                };
                match suffix {
                    segment::LOG => found.segments.push(offset),
                    segment::INDEX => found.indexes.push(offset),
                    segment::TIME_INDEX => found.time_indexes.push(offset),
                    segment::TRANSACTION_INDEX => found.transaction_indexes.push(offset),
                    snapshots::SUFFIX => found.snapshots.push(offset),
                    _ => {}
                }
            }
        }
    }
    for offsets in [
        &mut found.segments,
        &mut found.indexes,
        &mut found.time_indexes,
        &mut found.transaction_indexes,
        &mut found.snapshots,
    ] {
        offsets.sort_unstable();
    }
    for (offsets, suffix) in [
        (&mut found.indexes, segment::INDEX),
        (&mut found.time_indexes, segment::TIME_INDEX),
        (&mut found.transaction_indexes, segment::TRANSACTION_INDEX),
    ] {
        for orphan in offsets.extract_if(.., |offset| !Found::has(&found.segments, *offset)) {
            let orphan = path.join(format!("{orphan:020}{suffix}"));
            tracing::warn!(path = %orphan.display(), "found an orphaned index file, with no corresponding log file");
            disk.remove(&orphan)?;
        }
    }
    Ok(found)
}

/// Finishes what a cleaner had begun: files ending in `.cleaned` are not complete and go, with every `.swap` at or past
/// them; other `.swap` files are complete and take the place of the segments they cover.
fn finish_swap(disk: &Disk, dir: &Arc<SharedDir>, names: Vec<String>) -> Result<Vec<String>, DiskError> {
    let path = dir.path();
    let first_cleaned = names
        .iter()
        .filter(|name| name.ends_with(CLEANED))
        .filter_map(|name| offset_of(name).map(|(offset, _)| offset))
        .min();
    let mut kept = Vec::new();
    let mut swaps = Vec::new();
    for name in names {
        let offset = offset_of(&name).map(|(offset, _)| offset);
        let incomplete = name.ends_with(CLEANED)
            || name.ends_with(SWAP) && offset.is_some_and(|o| first_cleaned.is_some_and(|first| o >= first));
        if incomplete {
            disk.remove(&path.join(&name))?;
        } else if name.ends_with(SWAP) {
            swaps.push(name);
        } else {
            kept.push(name);
        }
    }
    // The range that the complete ones cover.
    let mut covered: Option<(Offset, Offset)> = None;
    for name in &swaps {
        let Some((base, suffix)) = offset_of(name) else {
            continue;
        };
        if suffix != ".log.swap" {
            continue;
        }
        let last = last_offset_of(&path.join(name), base)?;
        let (low, high) = covered.unwrap_or((base, last));
        covered = Some((low.min(base), high.max(last)));
    }
    if let Some((low, high)) = covered {
        let replaced = |name: &String| offset_of(name).is_some_and(|(offset, _)| offset >= low && offset < high);
        for name in kept.extract_if(.., |name| replaced(name)) {
            tracing::info!(file = %name, "deleting a segment file that was replaced by cleaning");
            disk.remove(&path.join(&name))?;
        }
    }
    for name in swaps {
        let to = name.trim_end_matches(SWAP).to_owned();
        disk.rename(&path.join(&name), &path.join(&to))?;
        kept.push(to);
    }
    Ok(kept)
}

fn last_offset_of(path: &std::path::Path, base: Offset) -> Result<Offset, DiskError> {
    use crate::disk::DiskContext;
    let file = File::open(path).doing("open", path)?;
    let size = file.metadata().doing("stat", path)?.len();
    let next = segment::Scan::walk(&file, 0, size)
        .map_while(Result::ok)
        .last()
        .map_or(base, |batch| batch.last_offset.next());
    Ok(next)
}

/// The offset in a file's name, and what follows it. Twenty digits, as Kafka writes them.
fn offset_of(name: &str) -> Option<(Offset, &str)> {
    let digits = name.get(..20)?;
    if !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    Some((Offset(digits.parse().ok()?), &name[20..]))
}

fn remove_segment(disk: &Disk, dir: &SharedDir, base: Offset) -> Result<(), DiskError> {
    segment::file_names(base).try_for_each(|name| disk.remove(&dir.file(&name)))
}

fn read_epochs(disk: &Disk, dir: &SharedDir) -> Result<LeaderEpochs, DiskError> {
    let path = dir.file(leader_epoch::FILE);
    let content = disk.read(&path, 64 << 20)?.unwrap_or_default();
    LeaderEpochs::decode(&String::from_utf8_lossy(&content)).map_err(|error| DiskError {
        doing: "read",
        path,
        source: std::io::Error::new(std::io::ErrorKind::InvalidData, error),
    })
}
