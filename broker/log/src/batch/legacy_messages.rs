//! The messages that an entry of format 0 or 1 holds: itself, or those which it wraps compressed.
//!
//! A wrapper of format 1 numbers its messages from 0 on, and its own offset is the absolute one of the last; one of
//! format 0 says the absolute offsets inside. Clients of old got both wrong now and then: what Kafka reads is read here,
//! and what it refuses is refused.
//!
//! Source: Kafka 3.9 `AbstractLegacyRecordBatch.DeepRecordsIterator`, `LegacyRecord`.

use model::{Millis, Offset};

use super::legacy::{Fields, LegacyEntry, RECORD_OVERHEAD_V0};
use super::{LOG_OVERHEAD, TimestampType};
use crate::compress::{self, CompressionType, DecompressError};

/// Why an entry of the older formats cannot be unpacked.
#[derive(Debug, thiserror::Error)]
pub enum LegacyError {
    /// An undefined codec, a broken stream, or more content than allowed.
    #[error(transparent)]
    Decompress(#[from] DecompressError),
    /// Codecs and formats do not go together: zstd came with format 2.
    #[error("a message of format {0} cannot be compressed with zstd")]
    Zstd(i8),
    /// A wrapper without content.
    #[error("Found invalid compressed record set with null value (magic = {0})")]
    NoContent(i8),
    /// A wrapper without a single whole message.
    #[error("Found invalid compressed record set with no inner records")]
    Empty,
    /// A compressed message inside a compressed one.
    #[error("Inner messages must not be compressed")]
    Nested,
    /// A wrapper of format 1 whose offset is below that of its last message, and not 0, which old librdkafka sent.
    #[error(
        "Found invalid wrapper offset in compressed v1 message set, wrapper offset '{wrapper}' is less than the last \
         inner message offset '{inner}' and it is not zero."
    )]
    WrapperOffset {
        /// The wrapper's offset.
        wrapper: Offset,
        /// The last message's.
        inner: Offset,
    },
    /// The length of a wrapped message is less than the smallest message has.
    #[error("Record size {0} is less than the minimum record overhead ({RECORD_OVERHEAD_V0})")]
    TooSmall(i32),
    /// Lengths inside a message do not fit it.
    #[error("found invalid message structure")]
    Structure,
}

/// One message, borrowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LegacyMessage<'a> {
    /// Its absolute offset (what a producer sends: its index, or anything at all in format 0).
    pub offset: Offset,
    /// Its own format, which should be its wrapper's.
    pub magic: i8,
    /// The producer's time or, by the wrapper's timestamp type, the append's; −1 in format 0.
    pub timestamp: Millis,
    /// Key or null.
    pub key: Option<&'a [u8]>,
    /// Value or null.
    pub value: Option<&'a [u8]>,
    /// Whether its own CRC-32 is that of its bytes.
    pub is_valid: bool,
}

/// The messages of one entry, in order. After an error it yields nothing more.
#[derive(Clone, Debug)]
pub struct LegacyMessages<'a> {
    source: Source<'a>,
    timestamp: Option<Millis>,
}

#[derive(Clone, Debug)]
enum Source<'a> {
    One(Option<LegacyEntry<'a>>),
    /// What is left of the content, and what is added to the offsets in it.
    Wrapped(&'a [u8], i64),
}

impl<'a> LegacyEntry<'a> {
    /// The messages that the entry holds, decompressed into `scratch` where it wraps compressed ones.
    ///
    /// # Errors
    /// Content that cannot be decompressed into `limit` bytes, or offsets that contradict each other.
    pub fn messages<'s>(&self, scratch: &'s mut Vec<u8>, limit: usize) -> Result<LegacyMessages<'s>, LegacyError>
    where
        'a: 's,
    {
        let magic = self.magic();
        let timestamp = (self.timestamp_type() == TimestampType::LogAppendTime && magic > 0).then(|| self.timestamp());
        let codec = match self.compression() {
            Some(CompressionType::None) => {
                return Ok(LegacyMessages {
                    source: Source::One(Some(*self)),
                    timestamp: None,
                });
            }
            Some(CompressionType::Zstd) => return Err(LegacyError::Zstd(magic)),
            Some(codec) => codec,
            None => return Err(DecompressError::UnknownCodec(self.compression_id()).into()),
        };
        let (_, content) = self.fields().ok_or(LegacyError::Structure)?;
        let content = content.ok_or(LegacyError::NoContent(magic))?;
        scratch.clear();
        compress::decompress_legacy(codec, magic, content, limit, scratch)?;
        let content: &[u8] = scratch;
        let last = last_offset(content)?.ok_or(LegacyError::Empty)?;
        let base = match (magic, self.last_offset()) {
            (1, Offset::ZERO) | (0, _) => 0,
            (_, wrapper) if wrapper < last => return Err(LegacyError::WrapperOffset { wrapper, inner: last }),
            (_, wrapper) => wrapper.0.wrapping_sub(last.0),
        };
        Ok(LegacyMessages {
            source: Source::Wrapped(content, base),
            timestamp,
        })
    }
}

/// Offset of the last whole message of a wrapper's content.
fn last_offset(mut content: &[u8]) -> Result<Option<Offset>, LegacyError> {
    let mut last = None;
    while let Some(entry) = cut(&mut content)? {
        last = Some(entry.last_offset());
    }
    Ok(last)
}

/// Takes the next whole message off `content`; a cut one at its end counts for nothing, as in Kafka.
fn cut<'a>(content: &mut &'a [u8]) -> Result<Option<LegacyEntry<'a>>, LegacyError> {
    let Some(overhead) = content.first_chunk::<LOG_OVERHEAD>() else {
        return Ok(None);
    };
    let [.., a, b, c, d] = *overhead;
    let length = i32::from_be_bytes([a, b, c, d]);
    let size = match usize::try_from(length) {
        Ok(length) if length >= RECORD_OVERHEAD_V0 => length + LOG_OVERHEAD,
        _ => return Err(LegacyError::TooSmall(length)),
    };
    let Some((entry, rest)) = content.split_at_checked(size) else {
        return Ok(None);
    };
    *content = rest;
    Ok(LegacyEntry::new(entry))
}

impl<'a> LegacyMessages<'a> {
    fn read(&mut self) -> Result<Option<LegacyMessage<'a>>, LegacyError> {
        let (entry, base) = match &mut self.source {
            Source::One(entry) => (entry.take(), 0),
            Source::Wrapped(content, base) => match cut(content)? {
                Some(entry) if entry.compression() == Some(CompressionType::None) => (Some(entry), *base),
                Some(_) => return Err(LegacyError::Nested),
                None => (None, 0),
            },
        };
        let Some(entry) = entry else { return Ok(None) };
        let (key, value): Fields<'a> = entry.fields().ok_or(LegacyError::Structure)?;
        Ok(Some(LegacyMessage {
            offset: Offset(entry.last_offset().0.wrapping_add(base)),
            magic: entry.magic(),
            timestamp: match self.timestamp {
                Some(appended) if entry.magic() == 1 => appended,
                _ => entry.timestamp(),
            },
            key,
            value,
            is_valid: entry.is_valid(),
        }))
    }
}

impl<'a> Iterator for LegacyMessages<'a> {
    type Item = Result<LegacyMessage<'a>, LegacyError>;

    fn next(&mut self) -> Option<Self::Item> {
        let message = self.read().transpose();
        if matches!(message, Some(Err(_))) {
            self.source = Source::One(None);
        }
        message
    }
}
