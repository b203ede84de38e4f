//! Reading a segment after a crash: what is whole stays, what is torn goes, the indexes are made anew.

use std::os::unix::fs::FileExt;

use model::{LeaderEpoch, Offset};

use super::{End, Scan, ScanError, ScanFailure, Segment};
use crate::batch::{Batch, BatchHeader, Entries, Entry, HEADER_LEN};
use crate::disk::{DiskContext, DiskError};
use crate::index::{AbortedEntry, TimeEntry};
use crate::leader_epoch::LeaderEpochs;
use crate::producer::ProducerStates;

/// Who learns from the batches of a log that is read again.
pub(crate) struct Replayer<'a> {
    pub(crate) producers: &'a mut ProducerStates,
    pub(crate) epochs: &'a mut LeaderEpochs,
    /// Whether `epochs` were changed.
    pub(crate) epochs_changed: bool,
}

/// What recovery found.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Recovered {
    /// Bytes at the end that were no batches, and are gone.
    pub(crate) truncated: u64,
}

/// How much is read at once.
const CHUNK: usize = 1 << 20;

impl Segment {
    /// Reads the batches from `from` on, checks every byte, rebuilds the indexes, and cuts off what is not whole.
    ///
    /// What lies below `from` was on the device before the crash and is not read, if the index agrees with the file
    /// about where `from` is; else the whole segment is read.
    ///
    /// Producers and epochs learn from every batch past what they know.
    pub(crate) fn recover(
        &self,
        from: Offset,
        index_interval_bytes: u32,
        replayer: &mut Replayer<'_>,
    ) -> Result<Recovered, DiskError> {
        let path = self.path();
        let size = self.file.metadata().doing("stat", &path)?.len();
        if size > super::SIZE_MAX {
            self.disk.set_len(&self.file, &path, super::SIZE_MAX)?;
        }
        let size = size.min(super::SIZE_MAX);
        let start = self.trusted_start(from, size)?;
        // Entries at or past the start are made anew.
        let start_offset = match start {
            0 => self.base_offset,
            _ => self.batch_at(start, size)?.map_or(self.base_offset, |batch| batch.0),
        };
        let start = if start_offset == self.base_offset { 0 } else { start };
        self.offset_index.truncate_to(start_offset)?;
        self.time_index.truncate_to(start_offset)?;
        // What the producers' snapshot knows already is not replayed, so its transactions must stay in the index.
        self.transaction_index
            .truncate_to(start_offset.max(replayer.producers.map_end_offset()))?;
        self.replay_headers(start, replayer)?;

        let mut largest = self.time_index.last()?;
        let mut position = start;
        let mut next_offset = start_offset;
        // The batch at the start had an entry, and gets it back.
        let mut since_entry = if start == 0 {
            0
        } else {
            u64::from(index_interval_bytes) + 1
        };
        let mut buffer = Vec::new();
        let mut reason = None;
        'file: while position < size {
            let want = (size - position).min(CHUNK as u64) as usize;
            let mut read = self.read_chunk(&mut buffer, position, want)?;
            // A batch larger than a chunk: its size was checked against what the file has.
            if let Ok(Some(frame)) = crate::batch::Frame::read(read)
                && frame.size > read.len()
                && frame.size as u64 <= size - position
            {
                read = self.read_chunk(&mut buffer, position, frame.size)?;
            }
            let mut entries = Entries::new(read);
            let mut consumed = 0;
            for entry in &mut entries {
                let entry = match entry {
                    Ok(entry) if entry.is_valid() => entry,
                    Ok(_) => {
                        reason = Some("the checksum is wrong".to_owned());
                        break;
                    }
                    Err(error) => {
                        reason = Some(error.to_string());
                        break;
                    }
                };
                let last_offset = entry.last_offset();
                if last_offset < next_offset || last_offset - self.base_offset > i64::from(i32::MAX) {
                    reason = Some(format!("offset {last_offset} cannot follow {next_offset}"));
                    break;
                }
                let at = position + consumed;
                if entry.max_timestamp() > largest.timestamp {
                    largest = TimeEntry {
                        timestamp: entry.max_timestamp(),
                        offset: last_offset,
                    };
                }
                if since_entry > index_interval_bytes.into() {
                    self.offset_index.append(last_offset, at as u32)?;
                    self.time_index.maybe_append(largest)?;
                    since_entry = 0;
                }
                if let Entry::Batch(batch) = entry {
                    if let Err(error) = self.replay(&batch, replayer)? {
                        reason = Some(error);
                        break;
                    }
                } else {
                    replayer.producers.set_map_end_offset(last_offset.next());
                }
                let bytes = entry.size() as u64;
                consumed += bytes;
                since_entry += bytes;
                next_offset = last_offset.next();
            }
            position += consumed;
            if reason.is_some() || consumed == 0 {
                break 'file;
            }
        }
        let truncated = size - position;
        if truncated > 0 {
            tracing::warn!(
                path = %path.display(),
                position,
                truncated,
                reason = reason.as_deref().unwrap_or("the last batch is cut off"),
                "found invalid messages in log segment"
            );
            self.disk.set_len(&self.file, &path, position)?;
        }
        self.dirty.store(true, std::sync::atomic::Ordering::Relaxed);
        self.publish(End {
            next_offset,
            size: position,
        });
        self.time_index.maybe_append(largest)?;
        self.offset_index.trim()?;
        self.time_index.trim()?;
        let mut tail = self.tail.lock();
        tail.max_timestamp = Some(largest);
        tail.bytes_since_index_entry = since_entry;
        Ok(Recovered { truncated })
    }

    /// Where reading may start: at the last index entry at or below `from`, if the file agrees with it.
    fn trusted_start(&self, from: Offset, size: u64) -> Result<u64, DiskError> {
        if from <= self.base_offset || !self.offset_index.is_sane(size.max(1))? && !self.sane_below(from, size)? {
            return Ok(0);
        }
        // One below: the entry's batch must lie wholly below the recovery point to have been synced.
        let entry = self.offset_index.lookup(Offset(from.0 - 1))?;
        if entry.position == 0 || u64::from(entry.position) >= size {
            return Ok(0);
        }
        match self.batch_at(entry.position.into(), size)? {
            Some((_, last_offset)) if last_offset == entry.offset => Ok(entry.position.into()),
            _ => Ok(0),
        }
    }

    /// The last entry may be about bytes that never reached the device; those below the recovery point are not.
    fn sane_below(&self, from: Offset, size: u64) -> Result<bool, DiskError> {
        Ok(u64::from(self.offset_index.lookup(from)?.position) < size)
    }

    /// First and last offset of the batch at `position`, if there is one.
    fn batch_at(&self, position: u64, size: u64) -> Result<Option<(Offset, Offset)>, DiskError> {
        match Scan::lookup(&self.file, position, size).next() {
            Some(Ok(batch)) => Ok(Some((batch.base_offset, batch.last_offset))),
            Some(Err(ScanError::Io(source))) => Err(source).doing("read", &self.path()),
            _ => Ok(None),
        }
    }

    fn read_chunk<'b>(&self, buffer: &'b mut Vec<u8>, position: u64, want: usize) -> Result<&'b [u8], DiskError> {
        if buffer.len() < want {
            buffer.resize(want, 0);
        }
        self.file
            .read_exact_at(&mut buffer[..want], position)
            .doing("read", &self.path())?;
        Ok(&buffer[..want])
    }

    /// Takes a whole batch into the producers and epochs; `Err` inside where no leader would have written it.
    fn replay(&self, batch: &Batch<'_>, replayer: &mut Replayer<'_>) -> Result<Result<(), String>, DiskError> {
        if batch.leader_epoch() > replayer.epochs.latest().unwrap_or(LeaderEpoch::NONE) {
            replayer.epochs_changed |= replayer.epochs.assign(batch.leader_epoch(), batch.base_offset());
        }
        if batch.last_offset() < replayer.producers.map_end_offset() {
            // The snapshot knows it.
            return Ok(Ok(()));
        }
        let completed = match replayer.producers.replay(batch) {
            Ok(completed) => completed,
            Err(error) => return Ok(Err(error.to_string())),
        };
        if let Some(transaction) = completed.filter(|transaction| transaction.aborted) {
            self.transaction_index.append(AbortedEntry {
                producer_id: transaction.producer_id,
                first_offset: transaction.first_offset,
                last_offset: transaction.last_offset,
                last_stable_offset: transaction.last_stable_offset,
            })?;
        }
        Ok(Ok(()))
    }

    /// Takes the batches below `end` bytes into the producers, from where they end: by their headers, and whole only
    /// where they are control batches.
    pub(crate) fn replay_headers(&self, end: u64, replayer: &mut Replayer<'_>) -> Result<(), DiskError> {
        let from = replayer.producers.map_end_offset();
        if end == 0 {
            return Ok(());
        }
        let position = self.start_of_lookup(from, end)?;
        for scanned in Scan::walk(&self.file, position, end) {
            let scanned = scanned.map_err(|error| DiskError::from(self.scan_failure(error)))?;
            if scanned.last_offset < from {
                continue;
            }
            match scanned.header {
                Some(header) if header.has_producer_id() => {
                    self.replay_scanned(&header, scanned.position, scanned.size, replayer)
                        .map_err(DiskError::from)?;
                }
                _ => replayer.producers.set_map_end_offset(scanned.last_offset.next()),
            }
        }
        Ok(())
    }

    fn replay_scanned(
        &self,
        header: &BatchHeader,
        position: u64,
        size: usize,
        replayer: &mut Replayer<'_>,
    ) -> Result<(), ScanFailure> {
        let corrupt = |reason: String| ScanFailure::Corrupt {
            path: self.path(),
            reason,
        };
        if !header.is_control() {
            let mut changes = crate::producer::Changes::default();
            changes
                .add(replayer.producers, header, None, crate::append::Origin::Replication)
                .map_err(|error| corrupt(error.to_string()))?;
            replayer.producers.apply(&changes, header.last_offset().next());
            return Ok(());
        }
        // A marker is small; one that is not is not worth the memory.
        if !(HEADER_LEN..=CHUNK).contains(&size) {
            return Err(corrupt(format!("a control batch of {size} bytes")));
        }
        let mut bytes = vec![0; size];
        self.file
            .read_exact_at(&mut bytes, position)
            .doing("read", &self.path())?;
        let batch =
            Batch::new(&bytes).ok_or_else(|| corrupt("a control batch changed while it was read".to_owned()))?;
        self.replay(&batch, replayer)?.map_err(corrupt)
    }
}
