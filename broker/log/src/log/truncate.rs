//! Taking records away at the end: followers that have more than their leader, and new beginnings.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use model::{Millis, Offset};

use super::{Log, NO_TRANSACTION, OPEN, Reason, Writer, floor};
use crate::disk::DiskError;
use crate::producer::ProducerStates;
use crate::segment::{Replayer, Segment};

impl Log {
    /// Drops the records from `offset` on; whether anything was dropped. Source: Kafka `UnifiedLog.truncateTo`.
    ///
    /// # Errors
    /// When the disk fails; its directory goes offline.
    pub fn truncate_to(&self, offset: Offset) -> Result<bool, DiskError> {
        let _swapping = self.swapping.lock();
        let mut writer = self.writer.lock();
        if self.state.load(Ordering::Acquire) != OPEN {
            return Ok(false);
        }
        let result = self.truncate_locked(&mut writer, offset.max(Offset::ZERO));
        self.guarded(result)
    }

    fn truncate_locked(&self, writer: &mut Writer, offset: Offset) -> Result<bool, DiskError> {
        if offset >= self.log_end_offset() {
            // An epoch may have been announced without a record.
            let mut epochs = self.epochs.write();
            if epochs.known.truncate_from_end(offset) {
                self.write_epochs(&mut epochs)?;
            }
            return Ok(false);
        }
        self.truncations.fetch_add(1, Ordering::AcqRel);
        self.lowest_truncation.fetch_min(offset.0, Ordering::AcqRel);
        let segments = self.segments.load().to_vec();
        let now = (self.shared.clock)();
        tracing::info!(partition = %self.partition, %offset, log_end_offset = %self.log_end_offset(), "truncating log");
        let Some(at) = floor(&segments, offset) else {
            self.restart_locked(writer, offset, now)?;
            return Ok(true);
        };
        let config = self.config();
        let mut kept = segments;
        let dropped = kept.split_off(at + 1);
        // Readers first: the end moves before the files do.
        self.ends_at(offset);
        self.replace_segments(kept.clone());
        self.delete_segments(writer, &dropped, Reason::Truncation)?;
        let active = &kept[at];
        active.truncate_to(offset, &config, now)?;
        {
            let mut epochs = self.epochs.write();
            if epochs.known.truncate_from_end(offset) {
                self.write_epochs(&mut epochs)?;
            }
        }
        self.rebuild_producers(writer, offset, now)?;
        Ok(true)
    }

    /// The log now ends at `offset`, and so do high watermark and recovery point.
    fn ends_at(&self, offset: Offset) {
        self.log_start_offset.fetch_min(offset.0, Ordering::AcqRel);
        self.high_watermark.fetch_min(offset.0, Ordering::AcqRel);
        self.recovery_point.fetch_min(offset.0, Ordering::AcqRel);
        self.log_end_offset.store(offset.0, Ordering::Release);
    }

    /// The producers as of `end`: from the newest snapshot before it and the batches after that.
    pub(super) fn rebuild_producers(&self, writer: &mut Writer, end: Offset, now: Millis) -> Result<(), DiskError> {
        let expiration = Millis(self.shared.producer_id_expiration_ms.load(Ordering::Relaxed));
        let start = self.log_start_offset();
        let mut producers = writer
            .snapshots
            .load(&self.shared.disk, &self.dir, start, end, now, expiration)?;
        let segments = self.segments.load();
        let mut epochs = self.epochs.read().known.clone();
        let mut replayer = Replayer {
            producers: &mut producers,
            epochs: &mut epochs,
            epochs_changed: false,
        };
        let from = floor(&segments, replayer.producers.map_end_offset()).unwrap_or(0);
        for segment in &segments[from..] {
            segment.replay_headers(segment.end().size, &mut replayer)?;
        }
        producers.set_map_end_offset(end);
        producers.high_watermark_moved(self.high_watermark());
        writer.producers = producers;
        self.publish_first_unstable(&writer.producers);
        Ok(())
    }

    /// Drops all records; the next one gets `offset`. Source: Kafka `UnifiedLog.truncateFullyAndStartAt`.
    ///
    /// # Errors
    /// When the disk fails; its directory goes offline.
    pub fn truncate_fully_and_start_at(&self, offset: Offset) -> Result<(), DiskError> {
        let _swapping = self.swapping.lock();
        let mut writer = self.writer.lock();
        if self.state.load(Ordering::Acquire) != OPEN {
            return Ok(());
        }
        let now = (self.shared.clock)();
        tracing::info!(partition = %self.partition, %offset, "truncating log fully");
        let result = self.restart_locked(&mut writer, offset.max(Offset::ZERO), now);
        self.guarded(result)
    }

    fn restart_locked(&self, writer: &mut Writer, offset: Offset, now: Millis) -> Result<(), DiskError> {
        self.truncations.fetch_add(1, Ordering::AcqRel);
        self.lowest_truncation.fetch_min(offset.0, Ordering::AcqRel);
        let dropped = self.segments.load().to_vec();
        // Start and end move together for readers as far as two words can: at no time is the start past the end.
        if offset >= self.log_end_offset() {
            self.log_end_offset.store(offset.0, Ordering::Release);
            self.high_watermark.store(offset.0, Ordering::Release);
            self.log_start_offset.store(offset.0, Ordering::Release);
        } else {
            self.ends_at(offset);
            self.high_watermark.store(offset.0, Ordering::Release);
            self.log_start_offset.store(offset.0, Ordering::Release);
        }
        self.first_unstable_offset.store(NO_TRANSACTION, Ordering::Release);
        // The old files leave their names before a new segment takes one of them.
        self.delete_segments(writer, &dropped, Reason::Truncation)?;
        let segment = Segment::create(&self.shared.disk, &self.dir, offset, &self.config(), now)?;
        self.replace_segments(vec![Arc::new(segment)]);
        {
            let mut epochs = self.epochs.write();
            epochs.known.clear();
            self.write_epochs(&mut epochs)?;
        }
        writer.snapshots.clear(&self.shared.disk, &self.dir)?;
        writer.producers = ProducerStates::new(offset);
        self.recovery_point.fetch_min(offset.0, Ordering::AcqRel);
        Ok(())
    }
}
