//! What is left of a message of the formats 0 and 1, or of a compressed set of them.
//!
//! What is left of a set is compressed anew: in the same format and codec, at the same offsets.
//!
//! Source: Kafka 3.9 `MemoryRecords.filterTo`, `buildRetainedRecordsInto`.

use model::{Millis, Offset};

use super::filter::{Counts, Reason, Verdict};
use crate::append::AppendConfig;
use crate::batch::{LegacyEntry, LegacyFormat, LegacyMessage, LegacyMessages, LegacyWriter};
use crate::compress::Compression;

/// The messages of `entry`, checked.
///
/// # Errors
/// When it is broken.
pub(super) fn messages<'s>(entry: &LegacyEntry<'s>, scratch: &'s mut Vec<u8>) -> Result<LegacyMessages<'s>, Reason> {
    if !entry.is_valid() {
        return Err(broken(entry, &"its checksum is wrong"));
    }
    entry
        .messages(scratch, AppendConfig::MAX_DECOMPRESSED_BYTES)
        .map_err(|error| broken(entry, &error))
}

pub(super) fn broken(entry: &LegacyEntry<'_>, what: &dyn std::fmt::Display) -> Reason {
    format!("the message at offset {}: {what}", entry.last_offset())
}

/// Decides on `entry`; see [`super::filter::Filter::entry`].
pub(super) fn filter(
    entry: &LegacyEntry<'_>,
    counts: &mut Counts,
    mut keep: impl FnMut(Option<&[u8]>, Option<&[u8]>, Offset, &mut Counts) -> bool,
    scratch: &mut Vec<u8>,
    out: &mut Vec<u8>,
) -> Result<Verdict, Reason> {
    let mut kept: Vec<LegacyMessage<'_>> = Vec::new();
    let mut all = true;
    for message in messages(entry, scratch)? {
        let message = message.map_err(|error| broken(entry, &error))?;
        if keep(message.key, message.value, message.offset, counts) {
            kept.push(message);
        } else {
            all = false;
        }
    }
    let Some(last) = kept.last() else {
        return Ok(Verdict::Drop);
    };
    if all {
        return Ok(Verdict::Keep);
    }
    let last_offset = last.offset;
    let format = LegacyFormat::of_magic(entry.magic()).ok_or_else(|| broken(entry, &"its format is not known"))?;
    let codec = Compression::of(entry.compression().unwrap_or_default());
    let mut writer = LegacyWriter::new(format, codec, entry.timestamp_type(), out);
    let mut max_timestamp = Millis::NONE;
    for message in kept {
        max_timestamp = max_timestamp.max(message.timestamp);
        writer.push(message.offset, message.timestamp, message.key, message.value);
    }
    writer.finish().map_err(|error| broken(entry, &error))?;
    Ok(Verdict::Rewritten {
        last_offset,
        max_timestamp,
    })
}
