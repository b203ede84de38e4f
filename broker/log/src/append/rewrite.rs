//! Writes a batch anew: with another codec, or with the offsets inside put right.
//!
//! Kafka rebuilds such batches record by record. Here the content passes through as bytes where only the codec changes;
//! record by record only when the offset deltas are not 0, 1, 2, …, which old clients are known to send.

use bytes::Bytes;
use model::TopicPartition;

use super::walk::{Plain, Rules, Source, WalkError, Walked, read_head, walk_compressed, walk_plain, with_stream};
use super::{AppendConfig, AppendError};
use crate::batch::{BatchHeader, HEADER_LEN, RecordError, varint};
use crate::compress::{Compression, CompressionType, Encoder};

/// Checks the records of `body` and compresses them for `target` in the same pass.
pub(super) fn recompress(
    header: &BatchHeader,
    source: CompressionType,
    body: &[u8],
    target: Compression,
    rules: &Rules<'_>,
) -> Result<(Walked, Bytes), AppendError> {
    let max = rules.config.max_message_bytes;
    let mut encoder = encoder(target, rules.config)?;
    let walked = match source {
        CompressionType::None => {
            let walked = walk_plain(header, body, rules)?;
            encoder
                .write(body)
                .map_err(|error| AppendError::of_compression(error, max))?;
            walked
        }
        codec => walk_compressed(header, codec, body, rules, Some(&mut encoder))?,
    };
    let body = encoder
        .finish()
        .map_err(|error| AppendError::of_compression(error, max))?;
    Ok((walked, Bytes::from(body)))
}

/// Writes the records of `body`, which have been checked, with the offset deltas 0, 1, 2, …
pub(super) fn renumber(
    header: &BatchHeader,
    source: CompressionType,
    body: &[u8],
    target: Compression,
    config: &AppendConfig,
    topic_partition: &TopicPartition,
) -> Result<Bytes, AppendError> {
    tracing::debug!(partition = %topic_partition, "offsets inside a batch are not consecutive, writing it anew");
    let max = config.max_message_bytes;
    let mut encoder = encoder(target, config)?;
    let count = header.record_count();
    match source {
        CompressionType::None => copy_records(count, &mut Plain::new(body), &mut encoder, max)?,
        codec => with_stream(codec, body, config.max_decompressed_bytes, None, |stream| {
            copy_records(count, stream, &mut encoder, max)
        })?,
    }
    encoder
        .finish()
        .map(Bytes::from)
        .map_err(|error| AppendError::of_compression(error, max))
}

fn copy_records(count: i32, source: &mut impl Source, encoder: &mut Encoder, max: usize) -> Result<(), AppendError> {
    let mut start = Vec::with_capacity(32);
    for offset_delta in 0..count {
        copy_record(offset_delta, source, encoder, &mut start).map_err(|error| match error {
            WalkError::Record(error) => AppendError::InvalidRecord(error.to_string()),
            WalkError::Decompress(error) => AppendError::Decompress(error),
            WalkError::Compress(error) => AppendError::of_compression(error, max),
        })?;
    }
    Ok(())
}

fn copy_record(
    offset_delta: i32,
    source: &mut impl Source,
    encoder: &mut Encoder,
    start: &mut Vec<u8>,
) -> Result<(), WalkError> {
    let head = read_head(source)?;
    let rest = head.end.checked_sub(source.consumed()).ok_or(RecordError::Structure)?;
    start.clear();
    start.push(head.attributes);
    varint::write(start, head.timestamp_delta);
    varint::write(start, i64::from(offset_delta));
    let mut length = Vec::with_capacity(varint::MAX_LONG);
    varint::write(&mut length, start.len() as i64 + rest as i64);
    encoder.write(&length).map_err(WalkError::Compress)?;
    encoder.write(start).map_err(WalkError::Compress)?;
    source.copy(rest, encoder)
}

/// Compresses into a buffer that may hold one body of `max.message.bytes`.
fn encoder(target: Compression, config: &AppendConfig) -> Result<Encoder, AppendError> {
    let limit = config.max_message_bytes.saturating_sub(HEADER_LEN);
    Encoder::new(target, Vec::new(), limit)
        .map_err(|error| AppendError::of_compression(error, config.max_message_bytes))
}
