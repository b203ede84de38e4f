//! Messages of the formats 0 and 1 as one batch of format 2: what a leader writes for clients from before Kafka 0.11.
//!
//! Every message is looked at by the rules that hold for records, and copied once, into the topic's codec. However many
//! entries a request has, one batch comes of them, as in Kafka; it has to fit `max.message.bytes`. What a wrapper expands
//! to is bounded by [`AppendConfig::max_decompressed_bytes`](super::AppendConfig::max_decompressed_bytes).
//!
//! Source: Kafka 3.9 `LogValidator.convertAndAssignOffsetsNonCompressed`, `validateMessagesAndAssignOffsetsCompressed`,
//! `buildRecordsAndAssignOffsets`.

use bytes::Bytes;
use model::{Millis, Offset};

use super::AppendError;
use super::leader::check_bytes;
use super::walk::{Refusals, Rules};
use crate::batch::{
    BatchHeader, Entries, Entry, HEADER_LEN, LegacyEntry, LegacyError, LegacyMessage, TimestampType, varint,
};
use crate::compress::{Compression, CompressionType, DecompressError, Encoder};

/// Checks all entries of `records`, which begin with one of `magic` 0 or 1, and returns header and body of the batch that
/// holds their messages.
pub(super) fn up_convert(records: &Bytes, magic: i8, rules: &Rules<'_>) -> Result<(BatchHeader, Bytes), AppendError> {
    let (source, count) = check_entries(records, magic, rules)?;
    if source != CompressionType::None && count > 1 {
        return Err(AppendError::InvalidRecord(
            "Compressed outer record has more than one batch".to_owned(),
        ));
    }
    let config = rules.config;
    let target = config.compression.unwrap_or(Compression::of(source));
    let mut batch = Converted::new(target, rules)?;
    let mut scratch = Vec::new();
    for entry in Entries::new(records) {
        // Checked above: neither another format nor bad framing.
        let Entry::Legacy(entry) = entry? else { continue };
        batch.add(&entry, &mut scratch, rules)?;
    }
    batch.finish(rules)
}

/// Looks at the entries from outside. Returns the last codec that is not none, as Kafka takes it for the codec of all.
fn check_entries(records: &Bytes, magic: i8, rules: &Rules<'_>) -> Result<(CompressionType, usize), AppendError> {
    let mut source = CompressionType::None;
    let mut count = 0;
    for entry in Entries::new(records) {
        let entry = entry?;
        if entry.magic() >= 2 && entry.base_offset() != Some(Offset::ZERO) {
            return Err(AppendError::InvalidRecord(
                "the base offset of a record batch should be 0".to_owned(),
            ));
        }
        check_bytes(&entry, rules.config)?;
        match (&entry, entry.compression()) {
            (_, Some(CompressionType::None)) => {}
            (_, Some(codec)) => source = codec,
            (Entry::Legacy(entry), None) => {
                return Err(DecompressError::UnknownCodec(entry.compression_id()).into());
            }
            (Entry::Batch(batch), None) => return Err(DecompressError::UnknownCodec(batch.compression_id()).into()),
        }
        if entry.magic() != magic {
            return Err(AppendError::InvalidRecord(format!(
                "Batch magic {} is not the same as the first batch's magic byte {magic} in topic partition {}",
                entry.magic(),
                rules.topic_partition
            )));
        }
        count += 1;
    }
    Ok((source, count))
}

/// The batch that is being made.
struct Converted {
    target: Compression,
    encoder: Encoder,
    count: i32,
    base_timestamp: Millis,
    max_timestamp: Millis,
    /// The fields of a record before its key.
    start: Vec<u8>,
}

impl Converted {
    fn new(target: Compression, rules: &Rules<'_>) -> Result<Self, AppendError> {
        let max = rules.config.max_message_bytes;
        let encoder = Encoder::new(target, Vec::new(), max.saturating_sub(HEADER_LEN))
            .map_err(|error| AppendError::of_compression(error, max))?;
        Ok(Self {
            target,
            encoder,
            count: 0,
            base_timestamp: Millis::NONE,
            max_timestamp: Millis::NONE,
            start: Vec::with_capacity(48),
        })
    }

    /// Adds the messages of one entry, or none if one of them is refused.
    fn add(&mut self, entry: &LegacyEntry<'_>, scratch: &mut Vec<u8>, rules: &Rules<'_>) -> Result<(), AppendError> {
        let wrapped = entry.compression() != Some(CompressionType::None);
        let mut refusals = Refusals::default();
        let messages = entry
            .messages(scratch, rules.config.max_decompressed_bytes)
            .map_err(refused)?;
        for (index, message) in (0..).zip(messages) {
            let message = message.map_err(refused)?;
            if message.magic != entry.magic() {
                refusals.add_misfit(index, message.magic, entry.magic(), rules);
                continue;
            }
            if wrapped && !message.is_valid {
                return Err(AppendError::CorruptMessage);
            }
            match rules.refuse_message(&message, entry.timestamp_type()) {
                Some(refusal) => refusals.add(index, refusal),
                // The writing of the first part is in vain then, as the batch is not written.
                None => self.push(&message, rules)?,
            }
        }
        refusals.outcome()
    }

    fn push(&mut self, message: &LegacyMessage<'_>, rules: &Rules<'_>) -> Result<(), AppendError> {
        if message.timestamp < Millis::NONE {
            return Err(AppendError::Unconvertible("invalid negative timestamp"));
        }
        if self.count == i32::MAX {
            return Err(AppendError::Unconvertible("too many messages for one batch"));
        }
        if self.count == 0 {
            self.base_timestamp = message.timestamp;
        }
        self.max_timestamp = self.max_timestamp.max(message.timestamp);
        let key_len = length(message.key);
        let value_len = length(message.value);
        self.start.clear();
        self.start.push(0);
        varint::write(&mut self.start, message.timestamp.0 - self.base_timestamp.0);
        varint::write(&mut self.start, i64::from(self.count));
        varint::write(&mut self.start, key_len);
        // The value's length and the number of headers come after the key.
        let size = self.start.len() as i64 + key_len.max(0) + varint::size(value_len) as i64 + value_len.max(0) + 1;
        let mut size_field = Vec::with_capacity(varint::MAX_LONG);
        varint::write(&mut size_field, size);
        let mut value_field = Vec::with_capacity(varint::MAX_LONG);
        varint::write(&mut value_field, value_len);
        let pieces: [&[u8]; 6] = [
            &size_field,
            &self.start,
            message.key.unwrap_or_default(),
            &value_field,
            message.value.unwrap_or_default(),
            &[0],
        ];
        for piece in pieces {
            self.encoder
                .write(piece)
                .map_err(|error| AppendError::of_compression(error, rules.config.max_message_bytes))?;
        }
        self.count += 1;
        Ok(())
    }

    fn finish(self, rules: &Rules<'_>) -> Result<(BatchHeader, Bytes), AppendError> {
        let max = rules.config.max_message_bytes;
        let body = self
            .encoder
            .finish()
            .map_err(|error| AppendError::of_compression(error, max))?;
        let mut header = BatchHeader::empty();
        header.set_compression(self.target.kind());
        header.set_timestamp_type(rules.config.timestamp_type);
        header.set_base_timestamp(self.base_timestamp);
        header.set_max_timestamp(match rules.config.timestamp_type {
            TimestampType::CreateTime => self.max_timestamp,
            TimestampType::LogAppendTime => rules.now,
        });
        header.set_record_count(self.count);
        header.set_last_offset_delta(self.count - 1);
        header.set_size(HEADER_LEN + body.len());
        header.set_crc(header.compute_crc(&body));
        Ok((header, Bytes::from(body)))
    }
}

/// A length as records say it: −1 for null.
fn length(field: Option<&[u8]>) -> i64 {
    field.map_or(-1, |field| field.len() as i64)
}

/// As Kafka's exceptions become answers: `CorruptRecordException`, `InvalidRecordException`, and anything else.
fn refused(error: LegacyError) -> AppendError {
    match error {
        LegacyError::Decompress(error) => error.into(),
        LegacyError::TooSmall(_) => AppendError::CorruptMessage,
        LegacyError::Structure => AppendError::Unconvertible("lengths inside a message do not fit it"),
        LegacyError::Zstd(_)
        | LegacyError::NoContent(_)
        | LegacyError::Empty
        | LegacyError::Nested
        | LegacyError::WrapperOffset { .. } => AppendError::InvalidRecord(error.to_string()),
    }
}
