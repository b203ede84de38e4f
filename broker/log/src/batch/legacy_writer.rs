//! Writes entries of the formats 0 and 1.
//!
//! For consumers that know no other, and for the cleaning of logs that still hold them. Headers, producers and
//! transactions have no place in these formats.
//!
//! Source: Kafka 3.9 `LegacyRecord.write`, `MemoryRecordsBuilder.writeLegacyCompressedWrapperHeader`.

use model::{Millis, Offset};

use super::{LOG_OVERHEAD, LegacyMessage, TimestampType};
use crate::compress::{self, CompressError, Compression, CompressionType};

/// A message format from before Kafka 0.11.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum LegacyFormat {
    /// Without timestamps; wrapped messages say absolute offsets. Up to Kafka 0.9.
    V0,
    /// With timestamps; wrapped messages are numbered from 0 on. Kafka 0.10.
    V1,
}

impl LegacyFormat {
    /// Its number on the wire.
    pub const fn magic(self) -> i8 {
        match self {
            Self::V0 => 0,
            Self::V1 => 1,
        }
    }

    /// The format with this number; `None` for 2 and what is not one.
    pub const fn of_magic(magic: i8) -> Option<Self> {
        match magic {
            0 => Some(Self::V0),
            1 => Some(Self::V1),
            _ => None,
        }
    }
}

/// Collects messages into entries: each an entry of its own, or all of them wrapped into one, compressed.
#[derive(Debug)]
pub struct LegacyWriter<'o> {
    format: LegacyFormat,
    compression: Compression,
    timestamp_type: TimestampType,
    out: &'o mut Vec<u8>,
    /// Messages to be wrapped, where they are.
    content: Vec<u8>,
    base_offset: Option<Offset>,
    last_offset: Offset,
    max_timestamp: Millis,
}

impl<'o> LegacyWriter<'o> {
    /// Appends entries to `out`.
    pub fn new(
        format: LegacyFormat,
        compression: Compression,
        timestamp_type: TimestampType,
        out: &'o mut Vec<u8>,
    ) -> Self {
        Self {
            format,
            compression,
            timestamp_type,
            out,
            content: Vec::new(),
            base_offset: None,
            last_offset: Offset(-1),
            max_timestamp: Millis::NONE,
        }
    }

    /// Adds a message; offsets increase.
    pub fn push(&mut self, offset: Offset, timestamp: Millis, key: Option<&[u8]>, value: Option<&[u8]>) {
        let base = *self.base_offset.get_or_insert(offset);
        self.last_offset = offset;
        self.max_timestamp = self.max_timestamp.max(timestamp);
        let wrapped = self.compression != Compression::None;
        let message = LegacyMessage {
            offset: match self.format {
                LegacyFormat::V1 if wrapped => Offset(offset.0.wrapping_sub(base.0)),
                _ => offset,
            },
            magic: self.format.magic(),
            timestamp,
            key,
            value,
            is_valid: true,
        };
        let out = if wrapped { &mut self.content } else { &mut *self.out };
        write_message(out, self.timestamp_type, &message);
    }

    /// Writes the wrapper, if there is to be one and there is something in it.
    ///
    /// # Errors
    /// What the codec refuses.
    pub fn finish(self) -> Result<(), CompressError> {
        if self.compression == Compression::None || self.base_offset.is_none() {
            return Ok(());
        }
        let start = self.out.len();
        let wrapper = LegacyMessage {
            offset: self.last_offset,
            magic: self.format.magic(),
            timestamp: self.max_timestamp,
            key: None,
            value: Some(&[]),
            is_valid: true,
        };
        begin(self.out, self.timestamp_type, self.compression.kind(), &wrapper);
        let value = self.out.len();
        compress::compress_legacy(self.compression, wrapper.magic, &self.content, self.out)?;
        let length = (self.out.len() - value) as u32;
        self.out[value - 4..value].copy_from_slice(&length.to_be_bytes());
        seal(&mut self.out[start..]);
        Ok(())
    }
}

fn write_message(out: &mut Vec<u8>, timestamp_type: TimestampType, message: &LegacyMessage<'_>) {
    let start = out.len();
    begin(out, timestamp_type, CompressionType::None, message);
    seal(&mut out[start..]);
}

/// Appends all of a message but its size and its checksum, for which it leaves room.
fn begin(out: &mut Vec<u8>, timestamp_type: TimestampType, codec: CompressionType, message: &LegacyMessage<'_>) {
    out.extend_from_slice(&message.offset.0.to_be_bytes());
    out.extend_from_slice(&[0; 8]);
    out.push(message.magic as u8);
    let appended = message.magic > 0 && timestamp_type == TimestampType::LogAppendTime;
    out.push(codec.id() | if appended { 0x08 } else { 0 });
    if message.magic > 0 {
        out.extend_from_slice(&message.timestamp.0.to_be_bytes());
    }
    for field in [message.key, message.value] {
        match field {
            None => out.extend_from_slice(&(-1i32).to_be_bytes()),
            Some(bytes) => {
                out.extend_from_slice(&(bytes.len() as u32).to_be_bytes());
                out.extend_from_slice(bytes);
            }
        }
    }
}

/// Fills in size and checksum of the message which is all of `entry`.
fn seal(entry: &mut [u8]) {
    const CRC: usize = LOG_OVERHEAD;
    const MAGIC: usize = CRC + 4;
    let size = (entry.len() - LOG_OVERHEAD) as u32;
    entry[8..LOG_OVERHEAD].copy_from_slice(&size.to_be_bytes());
    let crc = crc32fast::hash(&entry[MAGIC..]);
    entry[CRC..MAGIC].copy_from_slice(&crc.to_be_bytes());
}
