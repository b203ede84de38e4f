//! What is left of a message of the formats 0 and 1, or of a compressed set of them.
//!
//! A set is a message whose value holds messages. In format 1 those inside are numbered from the first; the set has the
//! offset of its last. What is left of one is compressed anew, its messages as they were.
//!
//! Source: Kafka 3.9 `AbstractLegacyRecordBatch.DeepRecordsIterator`, `MemoryRecordsBuilder.writeLegacyCompressedWrapperHeader`.

use model::{Millis, Offset};

use super::filter::{Counts, Reason, Verdict};
use crate::append::AppendConfig;
use crate::batch::{Entries, Entry, LOG_OVERHEAD, LegacyEntry, TimestampType};
use crate::compress::{self, Compression, CompressionType};

/// Calls `found` with each message of `entry`: key, value, offset, timestamp and its bytes.
///
/// # Errors
/// When it is broken.
pub(super) fn messages(
    entry: &LegacyEntry<'_>,
    scratch: &mut Vec<u8>,
    mut found: impl FnMut(Option<&[u8]>, Option<&[u8]>, Offset, Millis, &[u8]),
) -> Result<(), Reason> {
    let broken = |what: &dyn std::fmt::Display| format!("the message at offset {}: {what}", entry.last_offset());
    if !entry.is_valid() {
        return Err(broken(&"its checksum is wrong"));
    }
    let codec = match entry.compression() {
        Some(CompressionType::None) => {
            found(
                entry.key(),
                entry.value(),
                entry.last_offset(),
                entry.timestamp(),
                entry.bytes(),
            );
            return Ok(());
        }
        Some(codec) => codec,
        None => return Err(broken(&"its codec is not defined")),
    };
    scratch.clear();
    let value = entry
        .value()
        .ok_or_else(|| broken(&"a compressed set without content"))?;
    compress::decompress(codec, value, AppendConfig::MAX_DECOMPRESSED_BYTES, scratch)
        .map_err(|error| broken(&error))?;
    let inner = |bytes| {
        Entries::new(bytes).map(move |inner| match inner {
            Ok(Entry::Legacy(inner)) if inner.compression() == Some(CompressionType::None) => Ok(inner),
            Ok(_) => Err(broken(&"it holds what is no message")),
            Err(error) => Err(broken(&error)),
        })
    };
    let mut last = Offset(0);
    for message in inner(&scratch[..]) {
        last = message?.last_offset();
    }
    // Format 0 has the offsets themselves.
    let shift = match entry.magic() {
        0 => 0,
        _ => entry.last_offset().0.wrapping_sub(last.0),
    };
    for message in inner(&scratch[..]) {
        let message = message?;
        let offset = Offset(message.last_offset().0.wrapping_add(shift));
        found(
            message.key(),
            message.value(),
            offset,
            message.timestamp(),
            message.bytes(),
        );
    }
    Ok(())
}

/// Decides on `entry`; see [`super::filter::Filter::entry`].
pub(super) fn filter(
    entry: &LegacyEntry<'_>,
    counts: &mut Counts,
    mut keep: impl FnMut(Option<&[u8]>, Option<&[u8]>, Offset, &mut Counts) -> bool,
    scratch: &mut Vec<u8>,
    out: &mut Vec<u8>,
) -> Result<Verdict, Reason> {
    let mut kept = Vec::new();
    let (mut all, mut last_offset, mut max_timestamp) = (true, None, Millis::NONE);
    messages(entry, scratch, |key, value, offset, timestamp, bytes| {
        if !keep(key, value, offset, counts) {
            all = false;
        } else {
            if entry.compression() != Some(CompressionType::None) {
                kept.extend_from_slice(bytes);
            }
            last_offset = Some(offset);
            max_timestamp = max_timestamp.max(timestamp);
        }
    })?;
    let Some(last_offset) = last_offset else {
        return Ok(Verdict::Drop);
    };
    if all {
        return Ok(Verdict::Keep);
    }
    let codec = entry.compression().unwrap_or_default();
    if entry.timestamp_type() == TimestampType::LogAppendTime {
        max_timestamp = entry.timestamp();
    }
    let mut value = Vec::new();
    compress::compress(Compression::of(codec), &kept, &mut value).map_err(|error| error.to_string())?;
    let bytes = entry.bytes();
    let start = out.len();
    out.extend_from_slice(&last_offset.0.to_be_bytes());
    // Size and checksum come last; magic and attributes are what they were.
    out.extend_from_slice(&[0; 8]);
    out.extend_from_slice(&bytes[16..18]);
    if entry.magic() > 0 {
        out.extend_from_slice(&max_timestamp.0.to_be_bytes());
    }
    out.extend_from_slice(&(-1i32).to_be_bytes());
    out.extend_from_slice(&u32::try_from(value.len()).unwrap_or(u32::MAX).to_be_bytes());
    out.extend_from_slice(&value);
    let message = &mut out[start..];
    let size = u32::try_from(message.len() - LOG_OVERHEAD).unwrap_or(u32::MAX);
    message[8..12].copy_from_slice(&size.to_be_bytes());
    let crc = crc32fast::hash(&message[16..]);
    message[12..16].copy_from_slice(&crc.to_be_bytes());
    Ok(Verdict::Rewritten {
        last_offset,
        max_timestamp,
    })
}
