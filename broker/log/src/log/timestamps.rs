//! Finding records by their timestamp.

use std::os::unix::fs::FileExt;

use model::{LeaderEpoch, Millis, Offset};

use super::{Log, ReadError, TimestampOffset};
use crate::append::AppendConfig;
use crate::batch::{Batch, Entries, Entry, TimestampType};
use crate::disk::DiskContext;
use crate::segment::{Scan, ScanFailure, Scanned, Segment};

/// Segments seldom change; a log whose segments change all the time is told of as corrupt in the end.
const LOOKS_AT_MOST: usize = 5;

impl Log {
    /// The first record whose timestamp is at or after `timestamp`. Source: Kafka `UnifiedLog.fetchOffsetByTimestamp`.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn offset_for_timestamp(&self, timestamp: Millis) -> Result<Option<TimestampOffset>, ReadError> {
        self.while_segments_change(|| self.search_timestamp(timestamp))
    }

    /// Does it again where segments were cleaned or deleted meanwhile: their indexes are not theirs any more.
    fn while_segments_change<T>(&self, look: impl Fn() -> Result<T, ReadError>) -> Result<T, ReadError> {
        let mut attempts = 0;
        loop {
            let before = self.segments.load_full();
            let found = look();
            attempts += 1;
            let changed = !std::sync::Arc::ptr_eq(&before, &self.segments.load_full());
            if !matches!(found, Err(ReadError::Corrupt { .. })) || !changed || attempts == LOOKS_AT_MOST {
                return found;
            }
        }
    }

    fn search_timestamp(&self, timestamp: Millis) -> Result<Option<TimestampOffset>, ReadError> {
        self.ensure_readable()?;
        let log_start_offset = self.log_start_offset();
        for segment in self.segments.load().iter() {
            let largest = self.readable(segment.max_timestamp().map_err(ScanFailure::from))?;
            if largest.timestamp < timestamp {
                continue;
            }
            if let Some(found) = self.readable(search(segment, timestamp, log_start_offset))? {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }

    /// The first record that has the largest timestamp (ListOffsets −3); `None` if no record has a timestamp.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn max_timestamp_offset(&self) -> Result<Option<TimestampOffset>, ReadError> {
        self.while_segments_change(|| self.search_max_timestamp())
    }

    fn search_max_timestamp(&self) -> Result<Option<TimestampOffset>, ReadError> {
        self.ensure_readable()?;
        let segments = self.segments.load();
        let mut latest: Option<(Millis, Offset, &Segment)> = None;
        for segment in segments.iter() {
            let entry = self.readable(segment.max_timestamp().map_err(ScanFailure::from))?;
            if entry.timestamp >= Millis(0) && latest.is_none_or(|(timestamp, ..)| entry.timestamp > timestamp) {
                latest = Some((entry.timestamp, entry.offset, segment));
            }
        }
        let Some((timestamp, offset, segment)) = latest else {
            return Ok(None);
        };
        let batch = self.readable(segment.locate(offset, segment.end().size))?;
        match batch {
            Some(batch) => self.readable(first_at_or_after(segment, &batch, timestamp, Offset(0))),
            None => Ok(None),
        }
    }

    /// Where segments begin and when each was last written, ascending, then the log's end: what ListOffsets 0 chooses
    /// from. Source: Kafka `UnifiedLog.legacyFetchOffsetsBefore`.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn segment_bounds(&self, now: Millis) -> Result<Vec<(Offset, Millis)>, ReadError> {
        self.ensure_readable()?;
        let log_start_offset = self.log_start_offset();
        let segments = self.segments.load();
        let mut bounds = Vec::with_capacity(segments.len() + 1);
        for segment in segments.iter() {
            let modified = segment.file().metadata().and_then(|metadata| metadata.modified());
            let modified = modified.doing("read the time of", &segment.path());
            let modified = self.readable(modified.map_err(ScanFailure::from))?;
            let since = modified.duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
            let modified = Millis(i64::try_from(since.as_millis()).unwrap_or(i64::MAX));
            bounds.push((segment.base_offset().max(log_start_offset), modified));
        }
        if segments.last().is_some_and(|active| active.end().size > 0) {
            bounds.push((self.log_end_offset(), now));
        }
        Ok(bounds)
    }
}

/// The first record of the segment at or after `timestamp`, and not below `start`.
fn search(segment: &Segment, timestamp: Millis, start: Offset) -> Result<Option<TimestampOffset>, ScanFailure> {
    let from = segment
        .time_index
        .lookup(Millis(timestamp.0.saturating_sub(1)))?
        .offset
        .max(start);
    let size = segment.end().size;
    let Some(first) = segment.locate(from, size)? else {
        return Ok(None);
    };
    for batch in Scan::walk(segment.file(), first.position, size) {
        let batch = batch.map_err(|error| segment.scan_failure(error))?;
        if batch.max_timestamp >= timestamp
            && batch.last_offset >= start
            && let Some(found) = first_at_or_after(segment, &batch, timestamp, start)?
        {
            return Ok(Some(found));
        }
    }
    Ok(None)
}

fn first_at_or_after(
    segment: &Segment,
    scanned: &Scanned,
    timestamp: Millis,
    start: Offset,
) -> Result<Option<TimestampOffset>, ScanFailure> {
    let Some(header) = &scanned.header else {
        return first_message_at_or_after(segment, scanned, timestamp, start);
    };
    let found = |timestamp, offset| TimestampOffset {
        timestamp,
        offset,
        leader_epoch: header.leader_epoch(),
    };
    if header.timestamp_type() == TimestampType::LogAppendTime {
        return Ok(Some(found(scanned.max_timestamp, scanned.base_offset.max(start))));
    }
    let bytes = read(segment, scanned)?;
    let batch = Batch::new(&bytes).ok_or_else(|| corrupt(segment, "a batch changed while it was read".to_owned()))?;
    let mut scratch = Vec::new();
    let records = batch
        .records(&mut scratch, AppendConfig::MAX_DECOMPRESSED_BYTES)
        .map_err(|error| corrupt(segment, error.to_string()))?;
    for record in records {
        let record = record.map_err(|error| corrupt(segment, error.to_string()))?;
        if record.timestamp >= timestamp && record.offset >= start {
            return Ok(Some(found(record.timestamp, record.offset)));
        }
    }
    Ok(None)
}

/// The same in an entry of an older format, which may wrap several messages.
fn first_message_at_or_after(
    segment: &Segment,
    scanned: &Scanned,
    timestamp: Millis,
    start: Offset,
) -> Result<Option<TimestampOffset>, ScanFailure> {
    let bytes = read(segment, scanned)?;
    let Some(Ok(Entry::Legacy(entry))) = Entries::new(&bytes).next() else {
        return Err(corrupt(segment, "an entry changed while it was read".to_owned()));
    };
    let mut scratch = Vec::new();
    let messages = entry
        .messages(&mut scratch, AppendConfig::MAX_DECOMPRESSED_BYTES)
        .map_err(|error| corrupt(segment, error.to_string()))?;
    for message in messages {
        let message = message.map_err(|error| corrupt(segment, error.to_string()))?;
        if message.timestamp >= timestamp && message.offset >= start {
            return Ok(Some(TimestampOffset {
                timestamp: message.timestamp,
                offset: message.offset,
                leader_epoch: LeaderEpoch::NONE,
            }));
        }
    }
    Ok(None)
}

fn read(segment: &Segment, scanned: &Scanned) -> Result<Vec<u8>, ScanFailure> {
    let mut bytes = vec![0; scanned.size];
    segment
        .file()
        .read_exact_at(&mut bytes, scanned.position)
        .doing("read", &segment.path())?;
    Ok(bytes)
}

fn corrupt(segment: &Segment, reason: String) -> ScanFailure {
    ScanFailure::Corrupt {
        path: segment.path(),
        reason,
    }
}
