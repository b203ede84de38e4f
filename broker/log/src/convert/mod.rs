//! Down-conversion: logs hold format 2, consumers from before Kafka 0.11 know formats 0 and 1.
//!
//! [`down_convert`] turns whole entries into an older format, in memory. [`DownConversion`] does so for a range of a
//! segment file piece by piece, while the answer is being sent: what has been converted and not sent yet is never more
//! than one piece, or one batch where that is larger (KIP-283).
//!
//! Headers, control batches, producers and leader epochs have no place in the older formats and are left out; so is, as
//! ever, the question whether a transaction was aborted: such consumers see what was written. The checksums of what is
//! read are not compared again.
//!
//! Source: Kafka 3.9 `RecordsUtil.downConvert`, `LazyDownConversionRecords`, `LazyDownConversionRecordsSend`.

mod lazy;
#[cfg(test)]
mod tests;

use model::Offset;

pub use lazy::{DownConversion, PIECE_BYTES};

use crate::append::AppendConfig;
use crate::batch::{Batch, Entries, Entry, LegacyEntry, LegacyError, LegacyFormat, LegacyWriter, RecordError};
use crate::batch::{FramingError, TimestampType};
use crate::compress::{CompressError, Compression, CompressionType, DecompressError};

/// Why records cannot be given in an older format.
#[derive(Debug, thiserror::Error)]
pub enum ConvertError {
    /// → UNSUPPORTED_COMPRESSION_TYPE. No client that asks for these formats knows zstd.
    #[error("Down-conversion of zstandard-compressed batches is not supported")]
    Zstd,
    /// → CORRUPT_MESSAGE.
    #[error(transparent)]
    Framing(#[from] FramingError),
    /// → CORRUPT_MESSAGE.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// → CORRUPT_MESSAGE.
    #[error(transparent)]
    Message(#[from] LegacyError),
    /// → CORRUPT_MESSAGE.
    #[error(transparent)]
    Decompress(#[from] DecompressError),
    /// → UNKNOWN_SERVER_ERROR.
    #[error(transparent)]
    Compress(#[from] CompressError),
    /// → KAFKA_STORAGE_ERROR.
    #[error(transparent)]
    Disk(#[from] std::io::Error),
}

/// How far a conversion came.
#[derive(Debug)]
pub struct Converted {
    /// Bytes of the entries that were converted or left out.
    pub taken: usize,
    /// Why the next whole entry was not.
    pub failure: Option<ConvertError>,
}

/// Appends the whole entries of `bytes` to `out`, in `format` or an older one in which they are already.
///
/// Uncompressed batches become a message for each record from `first_offset` on; compressed ones stay whole, for their
/// reader to drop what it did not ask for. Ends at a cut entry, or before one that has no form in that format.
pub fn down_convert(bytes: &[u8], format: LegacyFormat, first_offset: Offset, out: &mut Vec<u8>) -> Converted {
    let mut scratch = Vec::new();
    let mut entries = Entries::new(bytes);
    let mut taken = 0;
    let failure = loop {
        let converted = match entries.next() {
            None => break None,
            Some(Err(error)) => break Some(error.into()),
            Some(Ok(entry)) => convert_entry(&entry, format, first_offset, &mut scratch, out),
        };
        match converted {
            Ok(()) => taken = entries.position(),
            Err(error) => break Some(error),
        }
    };
    Converted { taken, failure }
}

fn convert_entry(
    entry: &Entry<'_>,
    format: LegacyFormat,
    first_offset: Offset,
    scratch: &mut Vec<u8>,
    out: &mut Vec<u8>,
) -> Result<(), ConvertError> {
    let before = out.len();
    let converted = match entry {
        Entry::Batch(batch) => convert_batch(batch, format, first_offset, scratch, out),
        Entry::Legacy(old) if old.magic() <= format.magic() => {
            out.extend_from_slice(old.bytes());
            Ok(())
        }
        Entry::Legacy(old) => convert_messages(old, format, first_offset, scratch, out),
    };
    if converted.is_err() {
        out.truncate(before);
    }
    converted
}

fn convert_batch(
    batch: &Batch<'_>,
    format: LegacyFormat,
    first_offset: Offset,
    scratch: &mut Vec<u8>,
    out: &mut Vec<u8>,
) -> Result<(), ConvertError> {
    if batch.is_control() {
        return Ok(());
    }
    let codec = match batch.compression() {
        Some(CompressionType::Zstd) => return Err(ConvertError::Zstd),
        Some(codec) => codec,
        None => return Err(DecompressError::UnknownCodec(batch.compression_id()).into()),
    };
    let from = starts_at(codec, first_offset);
    let mut writer = LegacyWriter::new(format, Compression::of(codec), batch.timestamp_type(), out);
    for record in batch.records(scratch, AppendConfig::MAX_DECOMPRESSED_BYTES)? {
        let record = record?;
        if record.offset >= from {
            writer.push(record.offset, record.timestamp, record.key, record.value);
        }
    }
    Ok(writer.finish()?)
}

/// From format 1 to format 0.
fn convert_messages(
    entry: &LegacyEntry<'_>,
    format: LegacyFormat,
    first_offset: Offset,
    scratch: &mut Vec<u8>,
    out: &mut Vec<u8>,
) -> Result<(), ConvertError> {
    let codec = entry.compression().unwrap_or_default();
    let from = starts_at(codec, first_offset);
    let messages = entry.messages(scratch, AppendConfig::MAX_DECOMPRESSED_BYTES)?;
    let mut writer = LegacyWriter::new(format, Compression::of(codec), TimestampType::CreateTime, out);
    for message in messages {
        let message = message?;
        if message.offset >= from {
            writer.push(message.offset, message.timestamp, message.key, message.value);
        }
    }
    Ok(writer.finish()?)
}

/// Some versions of librdkafka rely on not getting single messages that they did not ask for.
fn starts_at(codec: CompressionType, first_offset: Offset) -> Offset {
    match codec {
        CompressionType::None => first_offset,
        _ => Offset(i64::MIN),
    }
}
