//! Choosing what the cleaner cleans next, and remembering how far it came.
//!
//! `cleaner-offset-checkpoint` of each directory says up to where each compacted log is clean. It is kept in memory, read
//! at the start and written when it changes. A truncation below it takes it back; a log that moves to another
//! directory takes it along; a deleted log's entry goes with it.
//!
//! Source: Kafka 3.9 `LogCleanerManager.grabFilthiestCompactedLog`, `updateCheckpoints`, `alterCheckpointDir`.

use std::path::Path;
use std::sync::Arc;

use model::{Millis, Offset, TopicPartition};

use super::{Dir, Logs};
use crate::checkpoint;
use crate::cleaner::{
    CleanError, Cleaner, CleanerConfig, CleanerStatus, Dirt, Facts, InProgress, Job, SegmentFacts, dirt,
};
use crate::disk::DiskError;
use crate::log::Log;

/// A log that was chosen.
pub(super) struct Chosen {
    log: Arc<Log>,
    dirt: Dirt,
    /// Nobody else may clean it until this is dropped.
    _progress: InProgress,
    cleaner: Arc<Cleaner>,
    now: Millis,
}

impl Logs {
    /// Starts the threads that the configuration asks for.
    pub(super) fn start_cleaner(self: &Arc<Self>) {
        let this = Arc::downgrade(self);
        self.cleaner.start(move || {
            // Nothing but the log is held while it is cleaned: a broker that is dropped is gone.
            let Some(chosen) = this.upgrade()?.choose() else {
                return Some(false);
            };
            let end = chosen.clean();
            let logs = this.upgrade()?;
            Some(end.is_some_and(|end| logs.cleaned_up_to(&chosen, end)))
        });
    }

    /// The cleaner's configuration has changed. `log.cleaner.enable` takes effect at the next start only, as in Kafka.
    pub fn set_cleaner_config(self: &Arc<Self>, config: CleanerConfig) {
        let enable = self.cleaner.config().enable;
        self.cleaner.reconfigure(CleanerConfig { enable, ..config });
        self.start_cleaner();
    }

    /// How the cleaner is doing.
    pub fn cleaner_status(&self) -> CleanerStatus {
        self.cleaner.status()
    }

    /// Up to where the log of `partition` is clean, if it was ever cleaned.
    pub fn cleaned_offset(&self, partition: &TopicPartition) -> Option<Offset> {
        let log = self.get(partition)?;
        self.dir_of(log.parent_dir())?.cleaned.lock().get(partition).copied()
    }

    /// Cleans the dirtiest log that is worth it, on the caller's thread; whether there was one. The cleaner's threads do
    /// this every `log.cleaner.backoff.ms`.
    pub fn clean_dirtiest(&self) -> bool {
        self.choose()
            .is_some_and(|chosen| chosen.clean().is_some_and(|end| self.cleaned_up_to(&chosen, end)))
    }

    fn dir_of(&self, path: &Path) -> Option<&Dir> {
        self.dirs.iter().find(|dir| dir.home.path == path)
    }

    /// The dirtiest log that is worth it, which is then the caller's to clean.
    fn choose(&self) -> Option<Chosen> {
        let _one = self.cleaner.choosing.lock();
        let now = (self.shared.clock)();
        let mut due: Vec<(Arc<Log>, Dirt)> = Vec::new();
        let mut max_ratio: f64 = 0.0;
        for log in self.all() {
            let config = log.config();
            if !config.compact || log.is_offline() || self.cleaner.is_taken(log.topic_partition()) {
                continue;
            }
            let dirt = match self.dirt_of(&log, now) {
                Ok(Some(dirt)) => dirt,
                Ok(None) => continue,
                Err(error) => {
                    let error = CleanError::Disk(error);
                    self.cleaner.set_aside(log.topic_partition(), log.parent_dir(), &error);
                    continue;
                }
            };
            let ratio = dirt.ratio();
            max_ratio = max_ratio.max(ratio);
            if dirt.is_due(&config) {
                due.push((log, dirt));
            }
        }
        self.cleaner.chose(max_ratio);
        let ratios: Vec<_> = due
            .iter()
            .map(|(log, dirt)| (log.topic_partition().clone(), dirt.ratio()))
            .collect();
        let (log, dirt) = due.swap_remove(self.cleaner.first_of(&ratios)?);
        let progress = self.cleaner.begin(log.topic_partition(), log.parent_dir());
        Some(Chosen {
            log,
            dirt,
            _progress: progress,
            cleaner: self.cleaner.clone(),
            now,
        })
    }

    /// What of `log` is dirty; the checkpoint is put right where it lies outside of the log.
    fn dirt_of(&self, log: &Log, now: Millis) -> Result<Option<Dirt>, DiskError> {
        let Some(dir) = self.dir_of(log.parent_dir()) else {
            return Ok(None);
        };
        let partition = log.topic_partition();
        self.take_back_truncated(dir, log);
        let checkpoint = dir.cleaned.lock().get(partition).copied();
        let segments = log.segments();
        let described: Vec<SegmentFacts> = segments
            .iter()
            .map(|segment| SegmentFacts {
                base_offset: segment.base_offset(),
                size: segment.end().size,
            })
            .collect();
        let facts = Facts {
            log_start_offset: log.log_start_offset(),
            log_end_offset: log.log_end_offset(),
            last_stable_offset: log.last_stable_offset(),
            segments: &described,
            checkpoint,
        };
        let config = log.config();
        let found = dirt(
            &facts,
            &config,
            now,
            |at| segments[at].max_timestamp().map(|entry| entry.timestamp),
            |at| segments[at].first_timestamp(),
        );
        let dirt = match found {
            Ok(dirt) => dirt,
            // A segment went while it was looked at.
            Err(error) if error.source.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        if dirt.reset {
            if !config.delete {
                tracing::warn!(
                    %partition, checkpoint = checkpoint.map_or(-1, |offset| offset.0), first_dirty = %dirt.first_dirty,
                    "the cleaner's checkpoint lies outside of the log, going back to the log's start"
                );
            }
            dir.cleaned.lock().insert(partition.clone(), dirt.first_dirty);
            self.told(dir, self.write_cleaned(dir));
        }
        Ok(Some(dirt))
    }

    /// What was cut off and written anew since is dirty. Source: Kafka `maybeTruncateCheckpoint`.
    fn take_back_truncated(&self, dir: &Dir, log: &Log) {
        if let Some(lowest) = log.take_lowest_truncation()
            && let Some(cleaned) = dir.cleaned.lock().get_mut(log.topic_partition())
        {
            *cleaned = lowest.min(*cleaned);
        }
    }

    /// A cleaning has come to its end: remembers it, unless the log is not ours any more.
    fn cleaned_up_to(&self, chosen: &Chosen, end: Offset) -> bool {
        let log = &chosen.log;
        let partition = log.topic_partition();
        let ours = self.get(partition).is_some_and(|ours| Arc::ptr_eq(&ours, log));
        let (true, Some(dir)) = (ours, self.dir_of(log.parent_dir())) else {
            return true;
        };
        dir.cleaned.lock().insert(partition.clone(), end);
        // A truncation after the last exchange of segments.
        self.take_back_truncated(dir, log);
        if dir.home.offline().is_none() {
            self.told(dir, self.write_cleaned(dir));
        }
        true
    }

    /// Writes `cleaner-offset-checkpoint`.
    pub(super) fn write_cleaned(&self, dir: &Dir) -> Result<(), DiskError> {
        let _one = dir.checkpoints.lock();
        let offsets = dir.cleaned.lock().clone();
        checkpoint::write(&self.shared.disk, &dir.home.path, checkpoint::CLEANER_OFFSET, &offsets)
    }

    /// As the broker stops: truncations since the last look count.
    pub(super) fn write_cleaned_at_stop(&self, dir: &Dir) -> Result<(), DiskError> {
        let before = dir.cleaned.lock().clone();
        for log in self.all() {
            if log.parent_dir() == dir.home.path {
                self.take_back_truncated(dir, &log);
            }
        }
        if *dir.cleaned.lock() == before {
            return Ok(());
        }
        self.write_cleaned(dir)
    }

    /// The log of `partition` in `from` is deleted, or goes on in `to`. The files are written soon, with the other
    /// checkpoints.
    pub(super) fn move_cleaned(&self, partition: &TopicPartition, from: &Path, to: Option<&Path>) {
        self.cleaner.forget(partition);
        let cleaned = self.dir_of(from).and_then(|dir| dir.cleaned.lock().remove(partition));
        if let (Some(offset), Some(to)) = (cleaned, to.and_then(|to| self.dir_of(to))) {
            to.cleaned.lock().insert(partition.clone(), offset);
        }
    }
}

impl Chosen {
    /// Cleans; one past the last clean offset, or `None` if it came to nothing.
    fn clean(&self) -> Option<Offset> {
        let (log, partition) = (&*self.log, self.log.topic_partition());
        let config = self.cleaner.config();
        let truncations = log.truncations();
        let pace = |bytes: u64| {
            if !self.cleaner.pace(bytes) {
                return Err(CleanError::Aborted("the broker stops"));
            }
            if log.is_offline() {
                return Err(CleanError::Aborted("the log was closed, deleted or moved"));
            }
            if !log.config().compact {
                return Err(CleanError::Aborted("the topic is not compacted any more"));
            }
            if log.truncations() != truncations {
                return Err(CleanError::Aborted("the log was truncated"));
            }
            Ok(())
        };
        let job = Job {
            log,
            first_dirty: self.dirt.first_dirty,
            first_uncleanable: self.dirt.first_uncleanable,
            now: self.now,
            map_bytes: config.map_bytes(),
            load_factor: config.load_factor,
            io_bytes: config.io_bytes(),
            pace: &pace,
        };
        match job.run() {
            Ok((end, stats)) => {
                tracing::info!(
                    %partition,
                    from = %self.dirt.first_dirty,
                    to = %end,
                    took_ms = stats.total.as_millis() as u64,
                    indexing_ms = stats.indexing.as_millis() as u64,
                    bytes_indexed = stats.bytes_indexed,
                    bytes_read = stats.bytes_read,
                    bytes_written = stats.bytes_written,
                    records_read = stats.counts.records_read,
                    records_kept = stats.counts.records_kept,
                    keys = stats.keys,
                    map_bytes = stats.map_bytes,
                    "cleaned log"
                );
                if stats.counts.invalid > 0 {
                    tracing::warn!(%partition, count = stats.counts.invalid, "records without a key were removed");
                }
                self.cleaner.cleaned(stats);
                Some(end)
            }
            Err(CleanError::Aborted(reason)) => {
                tracing::info!(%partition, reason, "gave up cleaning a log");
                None
            }
            Err(error) => {
                self.cleaner.set_aside(partition, log.parent_dir(), &error);
                None
            }
        }
    }
}
