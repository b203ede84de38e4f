//! Putting a cleaned segment in the place of those that it was made from.
//!
//! ```text
//! 0.log.cleaned                    written by the cleaner, on the device
//! 0.log.swap                       renamed, on the device: from here on a start completes the exchange
//! 0.log.deleted, 9.log.deleted     the old ones leave their names
//! 0.log                            the new one has its own; the old ones go after file.delete.delay.ms
//! ```
//! The files of a segment go one after the other, `.log` first, so that a start sees by a `.cleaned` left over that the
//! first step was not complete ([`super::load`]). Whoever reads the old segments goes on with them: they keep their
//! open files, and do not look into index files that are another segment's by now.
//!
//! Nothing else that takes records away may happen while there are `.swap` files, since a start would bring those records
//! back: hence the lock `swapping`, taken before the append lock by truncation, retention, deletion and closing. Appends do
//! not take it and do not wait for the device here.
//!
//! Source: Kafka 3.9 `LocalLog.replaceSegments`, `LogLoader`.

use std::sync::Arc;

use hashbrown::HashMap;
use model::{Offset, ProducerId};

use super::retention::Reason;
use super::{Log, OPEN};
use crate::cleaner::{CleanedSegment, LastRecord};
use crate::disk::{Disk, DiskError};
use crate::index::SharedDir;
use crate::segment::{self, Segment};
use std::sync::atomic::Ordering;

/// What a file that a cleaner is writing has at the end of its name.
pub(crate) const CLEANED: &str = ".cleaned";
/// The same, once it is complete and about to take another's place.
pub(crate) const SWAP: &str = ".swap";

impl Log {
    pub(crate) fn disk(&self) -> &Disk {
        &self.shared.disk
    }

    pub(crate) fn shared_dir(&self) -> &Arc<SharedDir> {
        &self.dir
    }

    /// The segments as they are now, the active one last.
    pub(crate) fn segments(&self) -> Arc<Vec<Arc<Segment>>> {
        self.segments.load_full()
    }

    /// What must stay of each producer. Source: Kafka `UnifiedLog.lastRecordsOfActiveProducers`.
    pub(crate) fn last_records_of_producers(&self) -> HashMap<ProducerId, LastRecord> {
        let writer = self.writer.lock();
        let last = |entry: &crate::producer::ProducerEntry| LastRecord {
            data_offset: Some(entry.last_data_offset()).filter(|offset| *offset >= Offset::ZERO),
            epoch: entry.producer_epoch,
        };
        writer
            .producers
            .entries()
            .map(|entry| (entry.producer_id, last(entry)))
            .collect()
    }

    /// The smallest offset that records were cut off at since the last call: what was clean from there on is so no more.
    pub(crate) fn take_lowest_truncation(&self) -> Option<Offset> {
        Some(Offset(self.lowest_truncation.swap(i64::MAX, Ordering::AcqRel))).filter(|offset| offset.0 < i64::MAX)
    }

    /// Puts `cleaned` in the place of `old`, neighbours of which it was made when the log had seen so many `truncations`.
    /// `false`, and nothing is done, if the log is not what it was.
    ///
    /// # Errors
    /// When the disk fails; its directory goes offline.
    pub(crate) fn swap_cleaned(
        &self,
        cleaned: CleanedSegment,
        old: &[Arc<Segment>],
        truncations: u64,
    ) -> Result<bool, DiskError> {
        let _swapping = self.swapping.lock();
        let segments = self.segments.load_full();
        let Some(first) = segments
            .iter()
            .position(|segment| old.first().is_some_and(|old| Arc::ptr_eq(segment, old)))
        else {
            return Ok(false);
        };
        let same = segments[first..]
            .iter()
            .zip(old)
            .filter(|(segment, old)| Arc::ptr_eq(segment, old))
            .count();
        // The one that follows tells where the new one ends; the active one is never cleaned.
        let Some(next) = segments.get(first + old.len()) else {
            return Ok(false);
        };
        if same != old.len() || truncations != self.truncations() || self.state.load(Ordering::Acquire) != OPEN {
            return Ok(false);
        }
        let result = self.swap(cleaned, old, next.base_offset());
        self.guarded(result)?;
        Ok(true)
    }

    fn swap(&self, cleaned: CleanedSegment, old: &[Arc<Segment>], next_base: Offset) -> Result<(), DiskError> {
        let disk = &self.shared.disk;
        let base = cleaned.base_offset;
        let names: Vec<String> = segment::file_names(base)
            .filter(|name| cleaned.has_transactions || !name.ends_with(segment::TRANSACTION_INDEX))
            .collect();
        for name in &names {
            let (from, to) = (format!("{name}{CLEANED}"), format!("{name}{SWAP}"));
            disk.rename(&self.dir.file(&from), &self.dir.file(&to))?;
        }
        disk.sync_dir(&self.dir.path())?;
        {
            let mut writer = self.writer.lock();
            for segment in old {
                segment.let_go_of_indexes();
            }
            self.delete_segments(&mut writer, old, Reason::Compaction { kept: base })?;
            for name in &names {
                disk.rename(&self.dir.file(&format!("{name}{SWAP}")), &self.dir.file(name))?;
            }
            let segment = Segment::adopt(disk, &self.dir, cleaned, next_base, &self.config())?;
            let mut segments = self.segments.load().to_vec();
            let is_old = |segment: &Arc<Segment>| old.iter().any(|old| Arc::ptr_eq(segment, old));
            let at = segments.iter().position(is_old).unwrap_or(0);
            segments.retain(|segment| !is_old(segment));
            segments.insert(at, Arc::new(segment));
            self.replace_segments(segments);
        }
        disk.sync_dir(&self.dir.path())
    }
}
