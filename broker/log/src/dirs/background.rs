//! What is done now and then: retention, flushing, checkpoints, forgetting producers.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use hashbrown::HashMap;
use model::{Millis, Offset, TopicPartition};

use super::{Dir, Logs, LogsConfig, REWRITE_DELAY, SYNC_DELAY, SYNCED_ONE_BY_ONE};
use crate::checkpoint;
use crate::disk::DiskError;

impl Logs {
    /// Plans the periodic work, each with the period of its config. Source: Kafka `LogManager.startupWithConfigOverrides`.
    pub(super) fn start_background(self: &Arc<Self>, config: &LogsConfig) {
        let initial = span(config.initial_task_delay_ms).unwrap_or_default();
        self.repeat(initial, config.retention_check_interval_ms, Self::enforce_retention);
        self.repeat(initial, config.flush_scheduler_interval_ms, Self::flush_due);
        self.repeat(
            initial,
            config.flush_offset_checkpoint_interval_ms,
            Self::checkpoint_recovery_points,
        );
        self.repeat(
            initial,
            config.flush_start_offset_checkpoint_interval_ms,
            Self::checkpoint_log_starts,
        );
        let period = config.high_watermark_checkpoint_interval_ms;
        self.repeat(
            span(period).unwrap_or_default(),
            period,
            Self::checkpoint_high_watermarks,
        );
        let period = config.producer_id_expiration_check_interval_ms;
        self.repeat(span(period).unwrap_or_default(), period, Self::expire_producers);
    }

    fn repeat(self: &Arc<Self>, initial: Duration, period: Millis, job: fn(&Self)) {
        let this = Arc::downgrade(self);
        self.shared.scheduler.every(initial, span(period), move || {
            if let Some(logs) = this.upgrade() {
                job(&logs);
            }
        });
    }

    /// Deletes what retention does not keep, in all logs. Also done every `log.retention.check.interval.ms`.
    pub fn enforce_retention(&self) {
        let now = (self.shared.clock)();
        for log in self.with_futures() {
            // An error took the directory offline, which was told.
            let _ = log.enforce_retention(now);
        }
    }

    fn flush_due(&self) {
        let now = (self.shared.clock)();
        for log in self.with_futures() {
            let _ = log.flush_if_due(now);
        }
    }

    fn expire_producers(&self) {
        let now = (self.shared.clock)();
        self.with_futures().iter().for_each(|log| log.expire_producers(now));
    }

    /// Writes `recovery-point-offset-checkpoint` of each directory. Also done every
    /// `log.flush.offset.checkpoint.interval.ms`.
    pub fn checkpoint_recovery_points(&self) {
        for dir in self.live() {
            self.told(dir, self.write_recovery_points(dir));
        }
    }

    /// Writes `log-start-offset-checkpoint` of each directory. Also done every
    /// `log.flush.start.offset.checkpoint.interval.ms`.
    pub fn checkpoint_log_starts(&self) {
        for dir in self.live() {
            self.told(dir, self.write_log_starts(dir));
        }
    }

    /// Writes `replication-offset-checkpoint` of each directory, if it would say anything new. Also done every
    /// `replica.high.watermark.checkpoint.interval.ms`.
    pub fn checkpoint_high_watermarks(&self) {
        for dir in self.live() {
            self.told(dir, self.write_high_watermarks(dir));
        }
    }

    fn live(&self) -> impl Iterator<Item = &Dir> {
        self.dirs.iter().filter(|dir| dir.home.offline().is_none())
    }

    /// A failed checkpoint takes the directory offline, as in Kafka.
    pub(super) fn told(&self, dir: &Dir, result: Result<(), DiskError>) {
        if let Err(error) = result {
            dir.home.fail(&error);
        }
    }

    pub(super) fn write_recovery_points(&self, dir: &Dir) -> Result<(), DiskError> {
        let offsets = self
            .logs_in(&dir.home)
            .iter()
            .map(|log| (log.topic_partition().clone(), log.recovery_point()))
            .collect();
        self.write(dir, checkpoint::RECOVERY_POINT, &offsets)
    }

    /// Only those that do not start with their first segment: the others' start is in a file name.
    pub(super) fn write_log_starts(&self, dir: &Dir) -> Result<(), DiskError> {
        let offsets = self
            .logs_in(&dir.home)
            .iter()
            .filter(|log| log.log_start_offset() > log.first_segment_base())
            .map(|log| (log.topic_partition().clone(), log.log_start_offset()))
            .collect();
        self.write(dir, checkpoint::LOG_START_OFFSET, &offsets)
    }

    pub(super) fn write_high_watermarks(&self, dir: &Dir) -> Result<(), DiskError> {
        let mut last = dir.high_watermarks.lock();
        let offsets: HashMap<TopicPartition, Offset> = self
            .logs_in(&dir.home)
            .iter()
            .map(|log| (log.topic_partition().clone(), log.high_watermark()))
            .collect();
        if offsets != *last {
            self.write(dir, checkpoint::HIGH_WATERMARK, &offsets)?;
            *last = offsets;
        }
        Ok(())
    }

    fn write(&self, dir: &Dir, name: &str, offsets: &HashMap<TopicPartition, Offset>) -> Result<(), DiskError> {
        let _one = dir.checkpoints.lock();
        checkpoint::write(&self.shared.disk, &dir.home.path, name, offsets)
    }

    /// Syncs a file of a new log, together with those of others.
    pub(super) fn sync_soon(self: &Arc<Self>, home: &Path, file: std::fs::File, path: std::path::PathBuf) {
        let Some(at) = self.dirs.iter().position(|dir| dir.home.path == home) else {
            return;
        };
        let mut unsynced = self.dirs[at].unsynced.lock();
        if unsynced.files.len() < SYNCED_ONE_BY_ONE {
            unsynced.files.push((file, path));
        } else {
            unsynced.many = true;
        }
        if std::mem::replace(&mut unsynced.planned, true) {
            return;
        }
        let this = Arc::downgrade(self);
        self.shared.scheduler.later(SYNC_DELAY, move || {
            if let Some(logs) = this.upgrade() {
                let dir = &logs.dirs[at];
                let unsynced = std::mem::take(&mut *dir.unsynced.lock());
                let disk = &logs.shared.disk;
                let synced = if unsynced.many {
                    disk.sync_file_system(&dir.home.path)
                } else {
                    unsynced.files.iter().try_for_each(|(file, path)| disk.sync(file, path))
                };
                logs.told(dir, synced);
            }
        });
    }

    /// Lets the checkpoints of `path` forget a deleted log: one of the same name must not inherit its offsets.
    pub(super) fn rewrite_checkpoints_soon(self: &Arc<Self>, path: &Path) {
        let Some(at) = self.dirs.iter().position(|dir| dir.home.path == path) else {
            return;
        };
        if self.dirs[at].rewriting.swap(true, Ordering::AcqRel) {
            return;
        }
        let this = Arc::downgrade(self);
        self.shared.scheduler.later(REWRITE_DELAY, move || {
            if let Some(logs) = this.upgrade() {
                let dir = &logs.dirs[at];
                dir.rewriting.store(false, Ordering::Release);
                if dir.home.offline().is_none() {
                    let written = logs
                        .write_recovery_points(dir)
                        .and_then(|()| logs.write_log_starts(dir))
                        .and_then(|()| logs.write_high_watermarks(dir))
                        .and_then(|()| logs.forget_cleaned(dir));
                    logs.told(dir, written);
                }
            }
        });
    }

    /// Drops deleted partitions from the cleaner's checkpoint, and writes it if it is not what the file says.
    fn forget_cleaned(&self, dir: &Dir) -> Result<(), DiskError> {
        dir.cleaned.lock().retain(|partition, _| self.get(partition).is_some());
        let written = checkpoint::read(&self.shared.disk, &dir.home.path, checkpoint::CLEANER_OFFSET)?;
        if *dir.cleaned.lock() == written {
            return Ok(());
        }
        self.write_cleaned(dir)
    }
}

/// A period in a config: 2^63−1 milliseconds is never.
fn span(period: Millis) -> Option<Duration> {
    match period.0 {
        i64::MAX => None,
        ms => Some(Duration::from_millis(ms.max(1) as u64)),
    }
}
