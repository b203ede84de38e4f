//! `<offset>.snapshot`: the producers of the log below that offset.
//!
//! Written when a segment is rolled and when the log is closed, so that loading need not read all records for their
//! sequences. The newest is kept, and those at the bases of segments; a truncation goes back to one of them. A
//! snapshot is a shortcut: one that is missing or torn (it has a checksum) is replaced by reading further back.
//!
//! Source: Kafka 3.9 `ProducerStateManager` (takeSnapshot, truncateAndReload, removeStraySnapshots).

use std::collections::BTreeSet;

use model::{Millis, Offset};

use crate::disk::{Disk, DiskError};
use crate::index::SharedDir;
use crate::producer::ProducerStates;

/// The files' suffix.
pub(crate) const SUFFIX: &str = ".snapshot";

/// A million producers have some 60 MiB.
const AT_MOST_BYTES: u64 = 1 << 30;

/// The offsets at which there are snapshots.
#[derive(Clone, Debug, Default)]
pub(crate) struct Snapshots(BTreeSet<Offset>);

pub(super) fn name(offset: Offset) -> String {
    format!("{offset:020}{SUFFIX}")
}

impl Snapshots {
    pub(crate) fn found(offsets: impl IntoIterator<Item = Offset>) -> Self {
        Self(offsets.into_iter().collect())
    }

    pub(crate) fn latest(&self) -> Option<Offset> {
        self.0.last().copied()
    }

    /// Writes a snapshot of `producers` as they are, if it says more than the last. It is not synced: see
    /// [`Snapshots::sync`].
    pub(crate) fn take(
        &mut self,
        producers: &mut ProducerStates,
        disk: &Disk,
        dir: &SharedDir,
    ) -> Result<(), DiskError> {
        if !producers.needs_snapshot() {
            return Ok(());
        }
        let offset = producers.map_end_offset();
        let path = dir.file(&name(offset));
        let file = disk.open(&path)?;
        let content = producers.encode();
        disk.set_len(&file, &path, 0)?;
        disk.write_at(&file, || path.clone(), &content, 0)?;
        self.0.insert(offset);
        producers.snapshot_taken();
        Ok(())
    }

    /// Waits until the snapshot at `offset` is on the device, if there is one.
    pub(crate) fn sync(disk: &Disk, dir: &SharedDir, offset: Offset) -> Result<(), DiskError> {
        let path = dir.file(&name(offset));
        match disk.open_existing(&path) {
            Ok(file) => disk.sync(&file, &path),
            Err(error) if error.source.kind() == std::io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// The producers as of the newest good snapshot in `(log_start, end]`; later and torn ones are removed. Without one,
    /// none as of `log_start`.
    pub(crate) fn load(
        &mut self,
        disk: &Disk,
        dir: &SharedDir,
        log_start: Offset,
        end: Offset,
        now: Millis,
        expiration: Millis,
    ) -> Result<ProducerStates, DiskError> {
        for late in self.0.split_off(&end.next()) {
            disk.remove(&dir.file(&name(late)))?;
        }
        let mut producers = ProducerStates::new(log_start);
        while let Some(offset) = self.latest() {
            if offset <= log_start && offset != end {
                break;
            }
            let path = dir.file(&name(offset));
            let content = disk.read(&path, AT_MOST_BYTES)?.unwrap_or_default();
            match producers.load(&content, offset, now, expiration) {
                Ok(()) => return Ok(producers),
                Err(error) => {
                    tracing::warn!(path = %path.display(), %error, "removing a broken producer snapshot");
                    disk.remove(&path)?;
                    self.0.remove(&offset);
                }
            }
        }
        Ok(producers)
    }

    /// Removes what is neither the newest nor at the base of a segment.
    pub(crate) fn remove_strays(
        &mut self,
        disk: &Disk,
        dir: &SharedDir,
        is_base: impl Fn(Offset) -> bool,
    ) -> Result<(), DiskError> {
        let latest = self.latest();
        let strays: Vec<Offset> = self
            .0
            .iter()
            .copied()
            .filter(|offset| Some(*offset) != latest && !is_base(*offset))
            .collect();
        for stray in strays {
            disk.remove(&dir.file(&name(stray)))?;
            self.0.remove(&stray);
        }
        Ok(())
    }

    /// Forgets the snapshot at `offset`, whose file somebody else removes. Whether there was one.
    pub(crate) fn forget(&mut self, offset: Offset) -> bool {
        self.0.remove(&offset)
    }

    /// Removes all.
    pub(crate) fn clear(&mut self, disk: &Disk, dir: &SharedDir) -> Result<(), DiskError> {
        for offset in std::mem::take(&mut self.0) {
            disk.remove(&dir.file(&name(offset)))?;
        }
        Ok(())
    }

    /// Removes those below the start of the log. Source: Kafka `deleteSnapshotsBefore`.
    pub(crate) fn remove_below(&mut self, disk: &Disk, dir: &SharedDir, start: Offset) -> Result<(), DiskError> {
        let kept = self.0.split_off(&start);
        for offset in std::mem::replace(&mut self.0, kept) {
            disk.remove(&dir.file(&name(offset)))?;
        }
        Ok(())
    }
}
