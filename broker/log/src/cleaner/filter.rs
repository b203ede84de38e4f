//! What is left of a batch.
//!
//! A record stays if no later record of the cleaned part has its key. A tombstone (no value) stays too, until the
//! delete horizon that the first pass over it has put into its batch: so long consumers have to see it. Records of
//! aborted transactions go at once; markers as tombstones do, once nothing is left to mark. Records without a key cannot
//! be compacted and go. The batch with the last sequence of a producer stays even when empty, so that the producer is
//! known after a restart.
//!
//! A batch of which all stays is not touched. Of others the records are copied as bytes: offsets, timestamps,
//! sequences and epochs are what they were, and a record is written anew only where the horizon moves the base of its
//! timestamp.
//!
//! Pure: neither files nor a clock. Source: Kafka 3.9 `Cleaner.cleanInto`, `shouldRetainRecord`,
//! `MemoryRecords.filterTo`; KIP-534.

use std::ops::Range;

use hashbrown::HashMap;
use model::{Millis, Offset, ProducerEpoch, ProducerId};

use super::legacy;
use super::offset_map::OffsetMap;
use super::transactions::CleanedTransactions;
use crate::append::AppendConfig;
use crate::batch::{Batch, BatchHeader, Entry, HEADER_LEN, Records, TimestampType, varint};
use crate::compress::{self, Compression, CompressionType};

/// The last that is in the log of a producer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LastRecord {
    /// Offset of its last record; `None` if only a marker is left.
    pub(crate) data_offset: Option<Offset>,
    pub(crate) epoch: ProducerEpoch,
}

/// What is to be done with a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Nothing is left.
    Drop,
    /// It stays as it is.
    Keep,
    /// What is left was appended to the output.
    Rewritten { last_offset: Offset, max_timestamp: Millis },
}

/// What a pass has seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) records_read: u64,
    pub(crate) records_kept: u64,
    /// Records without a key.
    pub(crate) invalid: u64,
}

/// The rules of one pass.
pub(crate) struct Filter<'a> {
    pub(crate) map: &'a OffsetMap,
    pub(crate) producers: &'a HashMap<ProducerId, LastRecord>,
    pub(crate) now: Millis,
    /// `delete.retention.ms`
    pub(crate) delete_retention: Millis,
    /// Whether tombstones of the old formats, which have no horizon, stay.
    pub(crate) keep_legacy_tombstones: bool,
    pub(crate) counts: Counts,
    scratch: Vec<u8>,
    kept: Vec<Range<usize>>,
}

/// Why a batch cannot be cleaned.
pub(crate) type Reason = String;

impl<'a> Filter<'a> {
    pub(crate) fn new(
        map: &'a OffsetMap,
        producers: &'a HashMap<ProducerId, LastRecord>,
        now: Millis,
        delete_retention: Millis,
    ) -> Self {
        Self {
            map,
            producers,
            now,
            delete_retention,
            keep_legacy_tombstones: true,
            counts: Counts::default(),
            scratch: Vec::new(),
            kept: Vec::new(),
        }
    }

    /// Decides on `entry`, which comes next in the log. What must be written anew is appended to `out`.
    ///
    /// # Errors
    /// When it is broken.
    pub(crate) fn entry(
        &mut self,
        entry: &Entry<'_>,
        transactions: &mut CleanedTransactions,
        out: &mut Vec<u8>,
    ) -> Result<Verdict, Reason> {
        match entry {
            Entry::Batch(batch) => self.batch(batch, transactions, out),
            Entry::Legacy(legacy) => {
                let keep = |key: Option<&[u8]>, value: Option<&[u8]>, offset: Offset, counts: &mut Counts| {
                    counts.records_read += 1;
                    let keep = stays(self.map, key, value, offset, counts, || self.keep_legacy_tombstones);
                    counts.records_kept += u64::from(keep);
                    keep
                };
                legacy::filter(legacy, &mut self.counts, keep, &mut self.scratch, out)
            }
        }
    }

    fn batch(
        &mut self,
        batch: &Batch<'_>,
        transactions: &mut CleanedTransactions,
        out: &mut Vec<u8>,
    ) -> Result<Verdict, Reason> {
        let broken = |what: &dyn std::fmt::Display| format!("the batch at offset {}: {what}", batch.base_offset());
        let (discard, nothing_to_mark) = if batch.is_control() {
            let nothing_to_mark = transactions.on_control(batch).map_err(|error| broken(&error))?;
            let due = batch.delete_horizon().is_some_and(|horizon| horizon <= self.now);
            (nothing_to_mark && due, nothing_to_mark)
        } else {
            (transactions.on_batch(batch), false)
        };
        let keep_empty = batch.has_producer_id() && self.is_last_of_producer(batch);
        self.counts.records_read += u64::try_from(batch.record_count()).unwrap_or(0);
        if discard || batch.record_count() == 0 {
            return Ok(match (keep_empty, batch.record_count()) {
                (false, _) => Verdict::Drop,
                (true, 0) if batch.body().is_empty() => Verdict::Keep,
                (true, _) => write_empty(batch, out),
            });
        }
        let (content, records) = match batch.compression() {
            Some(CompressionType::None) => (batch.body(), Records::new(batch, batch.body())),
            Some(codec) => {
                self.scratch.clear();
                let limit = AppendConfig::MAX_DECOMPRESSED_BYTES;
                compress::decompress(codec, batch.body(), limit, &mut self.scratch).map_err(|error| broken(&error))?;
                (&self.scratch[..], Records::new(batch, &self.scratch))
            }
            None => return Err(broken(&"its codec is not defined")),
        };
        let (mut position, mut all, mut tombstones) = (0, true, false);
        let (mut count, mut max_timestamp) = (0, Millis::NONE);
        self.kept.clear();
        for record in records {
            let record = record.map_err(|error| broken(&error))?;
            let range = position..position + record.size;
            position = range.end;
            let keep = batch.is_control()
                || stays(
                    self.map,
                    record.key,
                    record.value,
                    record.offset,
                    &mut self.counts,
                    || batch.delete_horizon().is_none_or(|horizon| self.now < horizon),
                );
            if !keep {
                all = false;
                continue;
            }
            tombstones |= record.value.is_none();
            count += 1;
            max_timestamp = max_timestamp.max(record.timestamp);
            match self.kept.last_mut() {
                Some(last) if last.end == range.start => last.end = range.end,
                _ => self.kept.push(range),
            }
        }
        self.counts.records_kept += count as u64;
        if count == 0 {
            return Ok(if keep_empty {
                write_empty(batch, out)
            } else {
                Verdict::Drop
            });
        }
        let new_horizon = (batch.delete_horizon().is_none() && (tombstones || nothing_to_mark))
            .then(|| Millis(self.now.0.saturating_add(self.delete_retention.0)));
        if all && new_horizon.is_none() {
            return Ok(Verdict::Keep);
        }
        // A new checksum must not make damage look sound.
        if !batch.is_valid() {
            return Err(broken(&"its checksum is wrong"));
        }
        let mut header = batch.header();
        header.set_record_count(count);
        if batch.timestamp_type() == TimestampType::CreateTime {
            header.set_max_timestamp(max_timestamp);
        }
        if let Some(horizon) = new_horizon {
            header.set_delete_horizon(horizon);
        }
        let start = out.len();
        out.extend_from_slice(header.as_bytes());
        let write = |out: &mut Vec<u8>| match new_horizon {
            None => self
                .kept
                .iter()
                .for_each(|range| out.extend_from_slice(&content[range.clone()])),
            Some(horizon) => {
                for range in &self.kept {
                    rebase(&content[range.clone()], batch.base_timestamp(), horizon, out);
                }
            }
        };
        match batch.compression() {
            Some(codec) if codec != CompressionType::None => {
                let mut plain = Vec::with_capacity(self.kept.iter().map(Range::len).sum());
                write(&mut plain);
                compress::compress(Compression::of(codec), &plain, out).map_err(|error| broken(&error))?;
            }
            _ => write(out),
        }
        seal(header, &mut out[start..]);
        Ok(Verdict::Rewritten {
            last_offset: header.last_offset(),
            max_timestamp: header.max_timestamp(),
        })
    }

    fn is_last_of_producer(&self, batch: &Batch<'_>) -> bool {
        self.producers
            .get(&batch.producer_id())
            .is_some_and(|last| match last.data_offset {
                Some(offset) => batch.last_offset() == offset,
                // The marker tells the epoch, by which an older producer is fenced.
                None => batch.is_control() && batch.producer_epoch() == last.epoch,
            })
    }
}

/// Whether a record counts.
fn stays(
    map: &OffsetMap,
    key: Option<&[u8]>,
    value: Option<&[u8]>,
    offset: Offset,
    counts: &mut Counts,
    tombstones_stay: impl FnOnce() -> bool,
) -> bool {
    if offset > map.latest() {
        return true;
    }
    let Some(key) = key else {
        counts.invalid += 1;
        return false;
    };
    offset >= map.get(key) && (value.is_some() || tombstones_stay())
}

/// Nothing but a header, which says what the batch was. Source: Kafka `DefaultRecordBatch.writeEmptyHeader`.
fn write_empty(batch: &Batch<'_>, out: &mut Vec<u8>) -> Verdict {
    let mut header = BatchHeader::empty();
    header.set_base_offset(batch.base_offset());
    header.set_last_offset_delta(batch.last_offset_delta());
    header.set_leader_epoch(batch.leader_epoch());
    header.set_producer(batch.producer_id(), batch.producer_epoch(), batch.base_sequence());
    header.set_flags(batch.is_transactional(), batch.is_control());
    header.set_timestamp_type(batch.timestamp_type());
    header.set_max_timestamp(batch.max_timestamp());
    let start = out.len();
    out.extend_from_slice(header.as_bytes());
    seal(header, &mut out[start..]);
    Verdict::Rewritten {
        last_offset: header.last_offset(),
        max_timestamp: header.max_timestamp(),
    }
}

/// Fills in length and checksum of the batch that is all of `bytes`.
fn seal(mut header: BatchHeader, bytes: &mut [u8]) {
    header.set_size(bytes.len());
    header.set_crc(header.compute_crc(&bytes[HEADER_LEN..]));
    bytes[..HEADER_LEN].copy_from_slice(header.as_bytes());
}

/// Copies records, which were read before, with timestamps relative to another base.
fn rebase(mut records: &[u8], from: Millis, to: Millis, out: &mut Vec<u8>) {
    let mut start = Vec::with_capacity(2 * varint::MAX_LONG);
    while let Some((length, size)) = varint::read_i32(records) {
        let body_end = size + usize::try_from(length).unwrap_or(0);
        let (Some(body), Some(rest)) = (records.get(size..body_end), records.get(body_end..)) else {
            return;
        };
        let Some((attributes, (delta, delta_size))) = body.first().copied().zip(varint::read_i64(&body[1..])) else {
            return;
        };
        start.clear();
        start.push(attributes);
        let timestamp = from.0.wrapping_add(delta);
        varint::write(&mut start, timestamp.wrapping_sub(to.0));
        let unchanged = &body[1 + delta_size..];
        varint::write(out, (start.len() + unchanged.len()) as i64);
        out.extend_from_slice(&start);
        out.extend_from_slice(unchanged);
        records = rest;
    }
}

#[cfg(test)]
mod tests;
