//! Messages of the formats 0 and 1, from before Kafka 0.11.
//!
//! The view of one entry: a message, or a wrapper round compressed ones. [`super::LegacyMessages`] unpacks it,
//! [`super::LegacyWriter`] writes such entries.

use model::{Millis, Offset};

use super::{LOG_OVERHEAD, TimestampType};
use crate::compress::CompressionType;

/// Least content of a format 0 message: crc, magic, attributes, key length, value length.
pub(crate) const RECORD_OVERHEAD_V0: usize = 14;

/// The same with the timestamp of format 1.
pub(crate) const RECORD_OVERHEAD_V1: usize = 22;

/// A key and a value, each or null.
pub(crate) type Fields<'a> = (Option<&'a [u8]>, Option<&'a [u8]>);

const CRC: usize = 12;
const MAGIC: usize = 16;
const ATTRIBUTES: usize = 17;
const TIMESTAMP: usize = 18;

/// One message, or a compressed set of messages wrapped in one.
///
/// ```text
///  0        8      12      16      17           18             (26)
///  | offset | size | CRC-32 | magic | attributes | timestamp i64 | key length, key | value length, value |
///  | i64    | i32  | u32    | i8    | i8         | format 1 only | i32             | i32                 |
/// ```
/// The checksum (IEEE) covers everything from `magic` on. Attributes: bits 0–2 compression, 3 timestamp type (format 1).
/// A wrapper's offset is that of the last message in it.
///
/// Source: Kafka 3.9 `LegacyRecord`, `AbstractLegacyRecordBatch`.
#[derive(Clone, Copy, Debug)]
pub struct LegacyEntry<'a> {
    bytes: &'a [u8],
}

impl<'a> LegacyEntry<'a> {
    /// The entry that is all of `bytes`, cut by [`super::Frame`]; `None` if they cannot be one.
    pub(crate) fn new(bytes: &'a [u8]) -> Option<Self> {
        (bytes.len() >= LOG_OVERHEAD + RECORD_OVERHEAD_V0).then_some(Self { bytes })
    }

    /// All bytes.
    pub fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// 0 or 1.
    pub fn magic(&self) -> i8 {
        self.bytes[MAGIC] as i8
    }

    /// Offset of the last message in it.
    pub fn last_offset(&self) -> Offset {
        Offset(self.i64_at(0).unwrap_or_default())
    }

    /// Offset of the first message; unknown for a compressed set.
    pub fn base_offset(&self) -> Option<Offset> {
        (self.compression() == Some(CompressionType::None)).then(|| self.last_offset())
    }

    /// The timestamp, −1 in format 0.
    pub fn timestamp(&self) -> Millis {
        match self.magic() {
            0 => Millis::NONE,
            _ => self.i64_at(TIMESTAMP).map_or(Millis::NONE, Millis),
        }
    }

    /// What the timestamp means; format 0 has none, which reads as the producer's.
    pub fn timestamp_type(&self) -> TimestampType {
        if self.magic() > 0 && self.bytes[ATTRIBUTES] & 0x08 != 0 {
            TimestampType::LogAppendTime
        } else {
            TimestampType::CreateTime
        }
    }

    /// How what it wraps is compressed; `None` for undefined codecs.
    pub fn compression(&self) -> Option<CompressionType> {
        CompressionType::from_id(self.compression_id())
    }

    /// The codec bits, defined or not.
    pub(crate) fn compression_id(&self) -> u8 {
        self.bytes[ATTRIBUTES] & 0x07
    }

    /// The stored CRC-32.
    pub fn crc(&self) -> u32 {
        let [_, _, _, _, _, _, _, _, _, _, _, _, a, b, c, d, ..] = *self.bytes else {
            return 0;
        };
        u32::from_be_bytes([a, b, c, d])
    }

    /// Whether the size holds the format's fields and the stored CRC-32 is that of the bytes.
    pub fn is_valid(&self) -> bool {
        let least = if self.magic() == 0 {
            RECORD_OVERHEAD_V0
        } else {
            RECORD_OVERHEAD_V1
        };
        self.bytes.len() >= LOG_OVERHEAD + least && self.crc() == crc32fast::hash(&self.bytes[CRC + 4..])
    }

    /// Key and value; `None` if a length does not fit the message.
    pub(crate) fn fields(&self) -> Option<Fields<'a>> {
        let (key, after_key) = self.field(self.fields_at());
        let (value, end) = self.field(after_key?);
        end.map(|_| (key, value))
    }

    /// The key, if there is one and its length makes sense.
    pub fn key(&self) -> Option<&'a [u8]> {
        self.field(self.fields_at()).0
    }

    /// The value (for a wrapper: the compressed messages), if there is one and its length makes sense.
    pub fn value(&self) -> Option<&'a [u8]> {
        let (_, after_key) = self.field(self.fields_at());
        self.field(after_key?).0
    }

    fn fields_at(&self) -> usize {
        if self.magic() == 0 { TIMESTAMP } else { TIMESTAMP + 8 }
    }

    /// The length-prefixed field at `at`, and where the next one starts if this one fits.
    fn field(&self, at: usize) -> (Option<&'a [u8]>, Option<usize>) {
        let Some(length) = self.bytes.get(at..).and_then(|rest| rest.first_chunk().copied()) else {
            return (None, None);
        };
        let start = at + 4;
        match usize::try_from(i32::from_be_bytes(length)) {
            Err(_) => (None, Some(start)),
            Ok(length) => match self.bytes.get(start..).and_then(|rest| rest.get(..length)) {
                Some(field) => (Some(field), Some(start + length)),
                None => (None, None),
            },
        }
    }

    fn i64_at(&self, at: usize) -> Option<i64> {
        let bytes = self.bytes.get(at..)?.first_chunk().copied()?;
        Some(i64::from_be_bytes(bytes))
    }
}
