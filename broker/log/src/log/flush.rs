//! Making sure that what was written is on the device.

use std::io::ErrorKind::NotFound;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use model::{Millis, Offset};

use super::{CLOSED, Log, OPEN};
use crate::disk::DiskError;
use crate::segment::Segment;

impl Log {
    /// Waits until all records are on the device, and moves the recovery point.
    ///
    /// # Errors
    /// When the disk fails; its directory goes offline.
    pub fn flush(&self) -> Result<(), DiskError> {
        let end = self.log_end_offset();
        self.guarded(self.flush_to(end))
    }

    /// Makes sure of everything below `offset`. Source: Kafka `UnifiedLog.flush`, `LocalLog.flush`.
    pub(super) fn flush_to(&self, offset: Offset) -> Result<(), DiskError> {
        let _one = self.flushing.lock();
        let (offset, truncations) = {
            // Between two changes of the log: what was asked for may have been cut off since.
            let _writer = self.writer.lock();
            (offset.min(self.log_end_offset()), self.truncations())
        };
        let from = self.recovery_point();
        if offset <= from || self.state.load(Ordering::Acquire) != OPEN {
            return Ok(());
        }
        let segments = self.segments.load();
        let mut new_files = false;
        for segment in segments.iter() {
            if segment.base_offset() < offset && segment.end().next_offset >= from {
                match segment.flush() {
                    Err(error) if error.source.kind() == NotFound && self.let_go_of(segment) => continue,
                    flushed => flushed?,
                }
                new_files |= segment.base_offset() >= from;
                if segment.end().next_offset <= offset && !Arc::ptr_eq(segment, &self.active()) {
                    // It is not written any more, and seldom looked into.
                    segment.close_indexes();
                }
            }
        }
        let epochs = self.epochs.write().unsynced.take();
        if let Some(file) = &epochs {
            self.shared.disk.sync(file, &self.dir.file(crate::leader_epoch::FILE))?;
        }
        if new_files || epochs.is_some() {
            // The names of the new files, and that of the epochs' file over its predecessor.
            self.shared.disk.sync_dir(&self.dir.path())?;
        }
        self.flushed_to(offset, truncations);
        Ok(())
    }

    /// Whether `segment` is no longer of the log: then a truncation or retention may take its files away at any time.
    fn let_go_of(&self, segment: &Arc<Segment>) -> bool {
        // A truncation that is under way may not have come to the list yet.
        let _writer = self.writer.lock();
        !self.segments.load().iter().any(|kept| Arc::ptr_eq(kept, segment))
    }

    /// Everything below `offset` is on the device, as of so many truncations.
    pub(super) fn flushed_to(&self, offset: Offset, truncations: u64) {
        // Under the lock, and not if there was a truncation meanwhile: other records may stand at these offsets now,
        // and nobody waited for those.
        let _writer = self.writer.lock();
        if truncations != self.truncations() {
            return;
        }
        self.recovery_point.fetch_max(offset.0, Ordering::AcqRel);
        self.last_flush.store((self.shared.clock)().0, Ordering::Relaxed);
    }

    /// Flushes if the last time is `flush.ms` ago. Source: Kafka `LogManager.flushDirtyLogs`.
    pub(crate) fn flush_if_due(&self, now: Millis) -> Result<(), DiskError> {
        let since = now - Millis(self.last_flush.load(Ordering::Relaxed));
        if since >= self.config().flush_ms && self.recovery_point() < self.log_end_offset() {
            self.flush()?;
        }
        Ok(())
    }

    /// Leaves the files as a stopped broker does: a producer snapshot at the end, trimmed indexes. No append is
    /// accepted any more. What is left to be synced, the caller syncs, for all logs at once; then
    /// [`Log::closed_and_synced`].
    pub(crate) fn close(&self) -> Result<(), DiskError> {
        let _swapping = self.swapping.lock();
        let mut writer = self.writer.lock();
        if self
            .state
            .compare_exchange(OPEN, CLOSED, Ordering::AcqRel, Ordering::Acquire)
            .is_err()
            || self.home.offline().is_some()
        {
            return Ok(());
        }
        let writer = &mut *writer;
        writer
            .snapshots
            .take(&mut writer.producers, &self.shared.disk, &self.dir)?;
        self.active().retire(self.config().preallocate)
    }

    /// Waits for the device, for this log alone. For closing few logs; many are synced by their file system.
    pub(crate) fn sync_closed(&self) -> Result<(), DiskError> {
        let from = self.recovery_point();
        for segment in self.segments.load().iter() {
            if segment.end().next_offset >= from {
                segment.flush()?;
            }
        }
        if let Some(file) = self.epochs.write().unsynced.take() {
            self.shared
                .disk
                .sync(&file, &self.dir.file(crate::leader_epoch::FILE))?;
        }
        super::Snapshots::sync(&self.shared.disk, &self.dir, self.log_end_offset())?;
        self.shared.disk.sync_dir(&self.dir.path())
    }

    /// The files of this closed log are on the device.
    pub(crate) fn closed_and_synced(&self) {
        self.flushed_to(self.log_end_offset(), self.truncations());
    }
}
