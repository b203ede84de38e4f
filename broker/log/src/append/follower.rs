//! Appends of a follower: what it has fetched from its leader.

use bytes::Bytes;
use model::{Millis, Offset};
use smallvec::SmallVec;

use super::{AppendError, Origin, Plan, PlannedBatch, Tail, Write};
use crate::batch::{EndTransactionMarker, Entries, Entry};
use crate::producer::{Changes, ProducerError};

/// Plans the append of `records`, which this follower has fetched. Offsets and epochs stay as they are.
///
/// An incomplete last entry is left out; entries of a leader epoch above `tail.leader_epoch` and all after them too
/// (KAFKA-18723: they come from after the fetch was sent). What would not fit a segment is left out after the first
/// entry: the next fetch brings it again, where Kafka's follower would stop for good.
///
/// # Errors
/// Corruption, or offsets that do not continue the log.
pub fn plan_follower(records: &Bytes, tail: &Tail<'_>) -> Result<Plan, AppendError> {
    let mut entries = Entries::new(records);
    let mut batches: SmallVec<[PlannedBatch; 1]> = SmallVec::new();
    let mut producers = Changes::default();
    let mut total_bytes = 0;
    let mut record_count = 0;
    let mut start = 0;
    while let Some(entry) = entries.next().transpose()? {
        let end = entries.position();
        if entry.leader_epoch() > tail.leader_epoch {
            tracing::info!(
                partition = %tail.topic_partition,
                batch_epoch = %entry.leader_epoch(),
                leader_epoch = %tail.leader_epoch,
                "skipping fetched batches of a later leader epoch"
            );
            break;
        }
        if end > tail.config.segment_bytes {
            if batches.is_empty() {
                return Err(AppendError::RecordListTooLarge {
                    size: end,
                    segment_bytes: tail.config.segment_bytes,
                });
            }
            break;
        }
        let first_offset = entry.base_offset().unwrap_or(entry.last_offset());
        if batches.is_empty() && first_offset < tail.log_end_offset {
            return Err(AppendError::UnexpectedOffset {
                first_offset,
                last_offset: last_offset(&entry, entries),
                log_end_offset: tail.log_end_offset,
            });
        }
        let previous = batches.last().map_or(Offset(-1), |batch| batch.last_offset);
        check_entry(&entry, previous)?;
        if let Entry::Batch(batch) = &entry {
            record_count += i64::from(batch.record_count());
            if batch.has_producer_id() {
                let producer_id = batch.producer_id();
                let marker = match batch.is_control() {
                    true => EndTransactionMarker::of_batch(batch)
                        .map_err(|_| ProducerError::InvalidMarker { producer_id })?,
                    false => None,
                };
                producers.add(tail.producers, batch, marker, Origin::Replication)?;
            }
        }
        batches.push(PlannedBatch {
            header: None,
            body: records.slice(start..end),
            base_offset: first_offset,
            last_offset: entry.last_offset(),
            max_timestamp: entry.max_timestamp(),
            leader_epoch: entry.leader_epoch(),
            magic: entry.magic(),
        });
        total_bytes = end;
        start = end;
    }
    let (Some(first), Some(last)) = (batches.first(), batches.last()) else {
        return Ok(Plan::Empty);
    };
    let (first_offset, last_offset) = (first.base_offset, last.last_offset);
    let (max_timestamp, offset_of_max_timestamp) = latest(&batches);
    Ok(Plan::Write(Write {
        batches,
        contiguous: Some(records.slice(..total_bytes)),
        first_offset,
        last_offset,
        max_timestamp,
        offset_of_max_timestamp,
        total_bytes,
        record_count,
        log_append_time: None,
        producers,
    }))
}

fn check_entry(entry: &Entry<'_>, previous: Offset) -> Result<(), AppendError> {
    let offset = entry.last_offset();
    let backwards = entry
        .base_offset()
        .is_some_and(|base| base > offset || base <= previous);
    // The last offset of all would leave no next one.
    if backwards || offset <= previous || offset == Offset(i64::MAX) {
        return Err(AppendError::OffsetsOutOfOrder { previous, offset });
    }
    if !entry.is_valid() {
        let stored_crc = match entry {
            Entry::Batch(batch) => batch.crc(),
            Entry::Legacy(entry) => entry.crc(),
        };
        return Err(AppendError::Corrupt { stored_crc });
    }
    Ok(())
}

/// The last offset of `entry` and what follows it.
fn last_offset(entry: &Entry<'_>, rest: Entries<'_>) -> Offset {
    rest.map_while(Result::ok)
        .last()
        .as_ref()
        .unwrap_or(entry)
        .last_offset()
}

/// The largest maximum timestamp and the last offset of the first entry that has it.
fn latest(batches: &[PlannedBatch]) -> (Millis, Offset) {
    let mut latest = (Millis::NONE, Offset(-1));
    for batch in batches {
        if batch.max_timestamp > latest.0 {
            latest = (batch.max_timestamp, batch.last_offset);
        }
    }
    latest
}
