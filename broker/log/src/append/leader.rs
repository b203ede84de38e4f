//! Appends of a leader: what clients and coordinators send.

use bytes::Bytes;
use model::{Millis, Offset, TopicPartition};
use smallvec::smallvec;

use super::walk::{Rules, walk_compressed, walk_plain};
use super::{AppendConfig, AppendError, DuplicateBatch, Origin, Plan, PlannedBatch, Tail, Write, legacy, rewrite};
use crate::batch::{Batch, BatchHeader, EndTransactionMarker, Entries, Entry, HEADER_LEN, TimestampType};
use crate::compress::{Compression, CompressionType, DecompressError};
use crate::producer::{Changes, ProducerError};

/// Plans the append of `records`, which a client or a coordinator sends to this leader.
///
/// [`Validated::new`] and [`Validated::plan`] in one.
///
/// # Errors
/// Every reason that Kafka has to refuse them.
pub fn plan_leader(records: &Bytes, tail: &Tail<'_>, origin: Origin) -> Result<Plan, AppendError> {
    match Validated::new(records, tail.topic_partition, tail.config, origin, tail.now)? {
        Some(validated) => validated.plan(tail),
        None => Ok(Plan::Empty),
    }
}

/// A batch that may be appended as far as it alone can tell: everything that takes time has been done.
///
/// Does not depend on the log's end, so that it can be made before the log is locked.
#[derive(Clone, Debug)]
pub struct Validated {
    /// With everything but base offset and leader epoch in its final state.
    header: BatchHeader,
    body: Bytes,
    marker: Option<(EndTransactionMarker, Millis)>,
    log_append_time: Option<Millis>,
    origin: Origin,
}

impl Validated {
    /// Checks `records`, and compresses them anew where the topic asks for it. `None` if there is no batch at all, which
    /// only Produce requests before version 3 may send.
    ///
    /// # Errors
    /// Every reason that Kafka has to refuse them, but those that lie in the log's producers.
    pub fn new(
        records: &Bytes,
        topic_partition: &TopicPartition,
        config: &AppendConfig,
        origin: Origin,
        now: Millis,
    ) -> Result<Option<Self>, AppendError> {
        let rules = Rules {
            topic_partition,
            config,
            now,
        };
        let (mut header, body, marker) = match the_batch(records, config, origin)? {
            None => return Ok(None),
            Some(Sent::Batch(batch)) => {
                check_claims(&batch, topic_partition, origin)?;
                let marker = marker(&batch, origin)?;
                let (header, body) = check_records(records, &batch, &rules)?;
                (header, body, marker)
            }
            Some(Sent::Legacy { magic }) => {
                let (header, body) = legacy::up_convert(records, magic, &rules)?;
                (header, body, None)
            }
        };

        let size = HEADER_LEN + body.len();
        if size > config.segment_bytes {
            return Err(AppendError::RecordListTooLarge {
                size,
                segment_bytes: config.segment_bytes,
            });
        }
        // The leader's; it is assigned under the lock.
        header.set_base_offset(Offset::ZERO);
        Ok(Some(Self {
            header,
            body,
            marker,
            log_append_time: (config.timestamp_type == TimestampType::LogAppendTime).then_some(now),
            origin,
        }))
    }

    /// Gives the batch its place at the log's end, unless its producer says that it does not belong there.
    ///
    /// # Errors
    /// [`AppendError::Producer`].
    pub fn plan(self, tail: &Tail<'_>) -> Result<Plan, AppendError> {
        let mut header = self.header;
        header.set_base_offset(tail.log_end_offset);
        header.set_leader_epoch(tail.leader_epoch);

        let mut producers = Changes::default();
        if header.has_producer_id() {
            if let Some(duplicate) = self.duplicate(&header, tail) {
                return Ok(Plan::Duplicate(duplicate));
            }
            check_verified(&header, tail)?;
            producers.add(tail.producers, &header, self.marker, self.origin)?;
        }
        let batch = PlannedBatch {
            header: Some(header),
            body: self.body,
            base_offset: header.base_offset(),
            last_offset: header.last_offset(),
            max_timestamp: header.max_timestamp(),
            leader_epoch: header.leader_epoch(),
            magic: header.magic(),
        };
        Ok(Plan::Write(Write {
            contiguous: None,
            first_offset: batch.base_offset,
            last_offset: batch.last_offset,
            max_timestamp: batch.max_timestamp,
            offset_of_max_timestamp: batch.last_offset,
            total_bytes: batch.size(),
            record_count: i64::from(header.record_count()),
            log_append_time: self.log_append_time,
            batches: smallvec![batch],
            producers,
        }))
    }

    fn duplicate(&self, header: &BatchHeader, tail: &Tail<'_>) -> Option<DuplicateBatch> {
        if !matches!(self.origin, Origin::Client { .. }) {
            return None;
        }
        let entry = tail.producers.entry(header.producer_id())?;
        let batch = entry.duplicate(header.producer_epoch(), header.base_sequence(), header.last_sequence())?;
        Some(DuplicateBatch {
            first_offset: batch.first_offset(),
            last_offset: batch.last_offset,
            timestamp: batch.timestamp,
        })
    }
}

/// A transaction begins only after its coordinator was asked. Source: Kafka 3.9
/// `UnifiedLog.analyzeAndValidateProducerState`, `batchMissingRequiredVerification`.
fn check_verified(header: &BatchHeader, tail: &Tail<'_>) -> Result<(), ProducerError> {
    let producer_id = header.producer_id();
    match tail.verification {
        Some(guard)
            if header.is_transactional() && !header.is_control() && !tail.producers.is_verified(producer_id, guard) =>
        {
            Err(ProducerError::NotVerified { producer_id })
        }
        _ => Ok(()),
    }
}

/// What a client or a coordinator sends.
enum Sent<'a> {
    /// One batch of format 2.
    Batch(Batch<'a>),
    /// Entries of an older format, of which the first has been looked at.
    Legacy {
        /// The first one's format.
        magic: i8,
    },
}

/// The one batch that `records` must be, whole and with a good checksum; before version 3, messages of older formats.
///
/// Source: Kafka 3.9 `ProduceRequest.validateRecords`, then `UnifiedLog.analyzeAndValidateRecords`, in that order.
fn the_batch<'a>(records: &'a Bytes, config: &AppendConfig, origin: Origin) -> Result<Option<Sent<'a>>, AppendError> {
    let api_version = match origin {
        Origin::Client { api_version } => Some(api_version),
        Origin::Coordinator | Origin::Replication => None,
    };
    // Requests before version 3 may carry the older formats, and were never held to one batch.
    let strict = api_version.is_some_and(|version| version >= 3);
    let mut entries = Entries::new(records);
    let Some(first) = entries.next().transpose()? else {
        return match strict {
            true => Err(AppendError::InvalidRequest(
                "the request must have at least one record batch per partition",
            )),
            false => Ok(None),
        };
    };
    if strict && first.magic() != 2 {
        return Err(AppendError::InvalidRequest(
            "the request may only contain record batches of magic 2",
        ));
    }
    if let Some(api_version) = api_version.filter(|version| (3..7).contains(version))
        && first.compression() == Some(CompressionType::Zstd)
    {
        return Err(AppendError::UnsupportedCompressionType { api_version });
    }
    let second = entries.next().transpose()?;
    if strict && second.is_some() {
        return Err(AppendError::InvalidRequest(
            "the request must have exactly one record batch per partition",
        ));
    }

    let Entry::Batch(batch) = first else {
        return Ok(Some(Sent::Legacy { magic: first.magic() }));
    };
    let has_second = second.is_some();
    for entry in Some(first).into_iter().chain(second) {
        let base_offset = entry.base_offset();
        if api_version.is_some() && entry.magic() >= 2 && base_offset != Some(Offset::ZERO) {
            return Err(AppendError::InvalidRecord(
                "the base offset of a record batch should be 0".to_owned(),
            ));
        }
        check_bytes(&entry, config)?;
    }
    if has_second {
        return Err(AppendError::InvalidRecord("there is more than one batch".to_owned()));
    }
    Ok(Some(Sent::Batch(batch)))
}

pub(super) fn check_bytes(entry: &Entry<'_>, config: &AppendConfig) -> Result<(), AppendError> {
    let size = entry.size();
    if size > config.max_message_bytes {
        return Err(AppendError::MessageTooLarge {
            size,
            max: config.max_message_bytes,
        });
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

/// What the header claims about itself. Source: Kafka 3.9 `LogValidator.validateBatch`.
fn check_claims(batch: &Batch<'_>, partition: &TopicPartition, origin: Origin) -> Result<(), AppendError> {
    let refuse = |reason: String| {
        Err(AppendError::InvalidRecord(format!(
            "{reason} in topic partition {partition}"
        )))
    };
    let (first, last) = (batch.base_offset(), batch.last_offset());
    let count = batch.record_count();
    let span = i64::from(batch.last_offset_delta()) + 1;
    if span <= 0 {
        return refuse(format!("Batch has an invalid offset range: [{first}, {last}]"));
    }
    if count <= 0 {
        return refuse(format!("Invalid reported count for record batch: {count}"));
    }
    if span != i64::from(count) {
        return refuse(format!(
            "Inconsistent batch offset range [{first}, {last}] and count of records {count}"
        ));
    }
    if matches!(origin, Origin::Client { .. }) {
        if batch.is_control() {
            return refuse("Clients are not allowed to write control records".to_owned());
        }
        if batch.has_producer_id() && batch.base_sequence().0 < 0 {
            let (sequence, id) = (batch.base_sequence(), batch.producer_id());
            return refuse(format!(
                "Invalid sequence number {sequence} in record batch with producerId {id}"
            ));
        }
    }
    Ok(())
}

fn marker(batch: &Batch<'_>, origin: Origin) -> Result<Option<(EndTransactionMarker, Millis)>, AppendError> {
    if origin != Origin::Coordinator || !batch.is_control() || !batch.has_producer_id() {
        return Ok(None);
    }
    let producer_id = batch.producer_id();
    let marker = EndTransactionMarker::of_batch(batch).map_err(|_| ProducerError::InvalidMarker { producer_id })?;
    Ok(marker)
}

/// Reads every record, and returns header and body as they will be written, but for offset and epoch.
///
/// Source: Kafka 3.9 `LogValidator.validateMessagesAndAssignOffsets`.
fn check_records(records: &Bytes, batch: &Batch<'_>, rules: &Rules<'_>) -> Result<(BatchHeader, Bytes), AppendError> {
    let config = rules.config;
    let id = batch.compression_id();
    let source = batch.compression().ok_or(DecompressError::UnknownCodec(id))?;
    let target = match config.compression {
        // Markers are read by brokers that do not decompress them.
        _ if batch.is_control() && source == CompressionType::None => Compression::None,
        Some(compression) if compression.kind() != source => compression,
        _ => Compression::of(source),
    };
    let header = batch.header();
    let (walked, mut rewritten) = match source {
        _ if target.kind() != source => {
            let (walked, body) = rewrite::recompress(&header, source, batch.body(), target, rules)?;
            (walked, Some(body))
        }
        CompressionType::None => (walk_plain(&header, batch.body(), rules)?, None),
        codec => (walk_compressed(&header, codec, batch.body(), rules, None)?, None),
    };
    if !walked.in_sequence {
        let body = batch.body();
        rewritten = Some(rewrite::renumber(
            &header,
            source,
            body,
            target,
            config,
            rules.topic_partition,
        )?);
    }

    let max_timestamp = match config.timestamp_type {
        TimestampType::CreateTime => walked.max_timestamp,
        TimestampType::LogAppendTime => rules.now,
    };
    let mut patched = header;
    if patched.timestamp_type() != config.timestamp_type || patched.max_timestamp() != max_timestamp {
        patched.set_timestamp_type(config.timestamp_type);
        patched.set_max_timestamp(max_timestamp);
    }
    match rewritten {
        Some(body) => {
            patched.set_compression(target.kind());
            patched.set_size(HEADER_LEN + body.len());
            patched.set_crc(patched.compute_crc(&body));
            Ok((patched, body))
        }
        None => {
            // What follows the batch in the buffer is an incomplete entry, and not written.
            let body = records.slice(HEADER_LEN..batch.bytes().len());
            if patched != header {
                patched.set_crc(patched.recompute_crc(&header, &body));
            }
            Ok((patched, body))
        }
    }
}
