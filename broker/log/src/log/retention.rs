//! Taking records away at the start: by age, by size, by request.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use model::{Millis, Offset};

use super::{DELETED_STATE, Log, OPEN, ReadError, Writer};
use crate::disk::DiskError;
use crate::segment::Segment;

/// What a file that is about to go has at the end of its name.
pub(crate) const DELETED: &str = ".deleted";

/// Why segments are deleted, for the log line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reason {
    RetentionMs,
    RetentionBytes,
    LogStartOffset,
    Truncation,
    /// A cleaned segment with this base takes their place.
    Compaction {
        kept: Offset,
    },
}

impl Log {
    /// Raises the log start offset to `offset`, or to the high watermark for −1; whole segments below go with the next
    /// retention. Returns the log start offset. For DeleteRecords, and for followers the leader's start.
    ///
    /// Source: Kafka `Partition.deleteRecordsOnLeader`, `UnifiedLog.maybeIncrementLogStartOffset`.
    ///
    /// # Errors
    /// When `offset` is past the high watermark.
    pub fn delete_records_before(&self, offset: Offset) -> Result<Offset, ReadError> {
        let mut writer = self.writer.lock();
        self.ensure_readable()?;
        let high_watermark = self.high_watermark();
        let target = if offset == Offset(-1) { high_watermark } else { offset };
        if target > high_watermark || target < Offset::ZERO {
            return Err(ReadError::OffsetOutOfRange {
                partition: self.partition.clone(),
                asked: target,
                log_start_offset: self.log_start_offset(),
                log_end_offset: high_watermark,
            });
        }
        let result = self.raise_log_start(&mut writer, target);
        self.guarded(result)?;
        Ok(self.log_start_offset())
    }

    fn raise_log_start(&self, writer: &mut Writer, to: Offset) -> Result<(), DiskError> {
        if to <= self.log_start_offset() {
            return Ok(());
        }
        self.log_start_offset.store(to.0, Ordering::Release);
        {
            let mut epochs = self.epochs.write();
            if epochs.known.truncate_from_start(to) {
                self.write_epochs(&mut epochs)?;
            }
        }
        let latest = writer.snapshots.latest();
        writer.producers.log_start_moved(to, latest);
        self.publish_first_unstable(&writer.producers);
        tracing::info!(partition = %self.partition, log_start_offset = %to, "incremented log start offset");
        Ok(())
    }

    /// Deletes the segments that retention does not keep; how many. Source: Kafka `UnifiedLog.deleteOldSegments`.
    pub(crate) fn enforce_retention(&self, now: Millis) -> Result<usize, DiskError> {
        if self.is_offline() {
            return Ok(0);
        }
        let result = self.delete_old_segments(now);
        self.guarded(result)
    }

    fn delete_old_segments(&self, now: Millis) -> Result<usize, DiskError> {
        let config = self.config();
        let start = self.log_start_offset();
        let mut deleted = self.delete_while(Reason::LogStartOffset, |_, next| {
            Ok(next.is_some_and(|next| next.base_offset() <= start))
        })?;
        if !config.delete {
            return Ok(deleted);
        }
        if config.retention_bytes >= 0 {
            let mut excess = self.size_bytes() as i64 - config.retention_bytes;
            deleted += self.delete_while(Reason::RetentionBytes, |segment, _| {
                let size = segment.end().size as i64;
                let go = excess >= size;
                if go {
                    excess -= size;
                }
                Ok(go)
            })?;
        }
        if config.retention_ms >= Millis(0) {
            deleted += self.delete_while(Reason::RetentionMs, |segment, _| {
                Ok(now - segment.age_timestamp()? > config.retention_ms)
            })?;
        }
        Ok(deleted)
    }

    /// Deletes the segments at the start for which `go` holds, none that reaches past the high watermark. Where all
    /// would go, a new one is begun first. Source: Kafka `UnifiedLog.deletableSegments`, `deleteSegments`.
    fn delete_while(
        &self,
        reason: Reason,
        mut go: impl FnMut(&Segment, Option<&Arc<Segment>>) -> Result<bool, DiskError>,
    ) -> Result<usize, DiskError> {
        let _swapping = self.swapping.lock();
        let mut writer = self.writer.lock();
        if self.state.load(Ordering::Acquire) != OPEN {
            return Ok(0);
        }
        let segments = self.segments.load_full();
        let high_watermark = self.high_watermark();
        let mut count = 0;
        for (at, segment) in segments.iter().enumerate() {
            let next = segments.get(at + 1);
            let upper = next.map_or(self.log_end_offset(), |next| next.base_offset());
            let last_and_empty = next.is_none() && segment.end().size == 0;
            if last_and_empty || high_watermark < upper || !go(segment, next)? {
                break;
            }
            count += 1;
        }
        if count == 0 {
            return Ok(0);
        }
        if count == segments.len() {
            self.roll_now(&mut writer, (self.shared.clock)())?;
        }
        let mut kept = self.segments.load().to_vec();
        let dropped: Vec<_> = kept.drain(..count).collect();
        // Readers are sent to the new start before the files go.
        self.raise_log_start(&mut writer, kept[0].base_offset())?;
        self.replace_segments(kept);
        tracing::info!(partition = %self.partition, ?reason, count, "deleting segments");
        self.delete_segments(&mut writer, &dropped, reason)?;
        Ok(count)
    }

    /// Takes the files of segments that are no longer in the list out of the way at once, and removes them after
    /// `file.delete.delay.ms`, since somebody may still be reading them.
    pub(super) fn delete_segments(
        &self,
        writer: &mut Writer,
        dropped: &[Arc<Segment>],
        reason: Reason,
    ) -> Result<(), DiskError> {
        let disk = &self.shared.disk;
        let mut renamed = Vec::new();
        for segment in dropped {
            let mut names: Vec<String> = segment
                .file_names()
                .filter(|name| !name.ends_with(crate::segment::TRANSACTION_INDEX) || segment.transaction_index.exists())
                .collect();
            // A truncation keeps no snapshot past the new end anyway; the others belong to their segment.
            let base = segment.base_offset();
            let stays = reason == Reason::Truncation || reason == Reason::Compaction { kept: base };
            if !stays && writer.snapshots.forget(base) {
                names.push(super::snapshots::name(segment.base_offset()));
            }
            for name in names {
                let to = format!("{name}{DELETED}");
                match disk.rename(&self.dir.file(&name), &self.dir.file(&to)) {
                    Ok(()) => renamed.push(to),
                    // An index may be missing.
                    Err(error) if error.source.kind() == std::io::ErrorKind::NotFound => {}
                    Err(error) => return Err(error),
                }
            }
        }
        let (disk, dir) = (disk.clone(), self.dir.clone());
        let delay = Duration::from_millis(self.config().file_delete_delay_ms.0.max(0) as u64);
        self.shared.scheduler.later(delay, move || {
            for name in renamed {
                // The whole directory may have gone meanwhile.
                if let Err(error) = disk.remove(&dir.file(&name)) {
                    tracing::error!(%error, "cannot remove a deleted segment's file");
                }
            }
        });
        Ok(())
    }

    /// Renames the log's directory; it goes on as before. Source: Kafka `UnifiedLog.renameDir`.
    pub(crate) fn rename_dir(&self, name: &str) -> Result<(), DiskError> {
        let _swapping = self.swapping.lock();
        let _writer = self.writer.lock();
        let from = self.dir.path();
        let to = self.home.path.join(name);
        let disk = &self.shared.disk;
        self.guarded(disk.rename(&from, &to).and_then(|()| disk.sync_dir(&self.home.path)))?;
        self.dir.renamed(to);
        Ok(())
    }

    /// Renames the log's directory, which marks it deleted; nothing is appended or read any more.
    ///
    /// Source: Kafka `UnifiedLog.renameDir`, `LogManager.asyncDelete`.
    pub(crate) fn mark_deleted(&self, name: &str) -> Result<(), DiskError> {
        let _swapping = self.swapping.lock();
        let _writer = self.writer.lock();
        let from = self.dir.path();
        let to = self.home.path.join(name);
        self.guarded(self.shared.disk.rename(&from, &to))?;
        self.state.store(DELETED_STATE, Ordering::Release);
        self.dir.renamed(to);
        for segment in self.segments.load().iter() {
            segment.close_indexes();
        }
        Ok(())
    }
}
