//! Reads every record of a batch once, compressed or not, without keeping any.
//!
//! One pass, no allocation for each record, and for compressed content no more memory than one buffer: a record's key
//! and value are skipped, not kept. The same pass feeds an [`Encoder`] where the content is to be compressed anew.

use std::cell::RefCell;
use std::io::Read;

use model::{Millis, Offset, TopicPartition};

use super::{AppendConfig, AppendError, RecordRefusal};
use crate::batch::{BatchHeader, LegacyMessage, RecordError, TimestampType, varint};
use crate::compress::{CompressError, CompressionType, Decoder, DecompressError, Encoder};

/// What a record is held against.
pub(super) struct Rules<'a> {
    pub(super) topic_partition: &'a TopicPartition,
    pub(super) config: &'a AppendConfig,
    pub(super) now: Millis,
}

/// What the records have shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Walked {
    /// The largest timestamp of a record, −1 without any.
    pub(super) max_timestamp: Millis,
    /// Whether the offset deltas are 0, 1, 2, …
    pub(super) in_sequence: bool,
}

/// Why a walk ends early.
#[derive(Debug)]
pub(super) enum WalkError {
    Record(RecordError),
    Decompress(DecompressError),
    Compress(CompressError),
}

impl From<RecordError> for WalkError {
    fn from(error: RecordError) -> Self {
        Self::Record(error)
    }
}

/// Checks the records of an uncompressed batch.
pub(super) fn walk_plain(header: &BatchHeader, body: &[u8], rules: &Rules<'_>) -> Result<Walked, AppendError> {
    walk(header, &mut Plain::new(body), rules)
}

/// Checks the records of a compressed batch, handing their bytes to `encoder` on the way if there is one.
pub(super) fn walk_compressed(
    header: &BatchHeader,
    codec: CompressionType,
    body: &[u8],
    rules: &Rules<'_>,
    encoder: Option<&mut Encoder>,
) -> Result<Walked, AppendError> {
    with_stream(codec, body, rules.config.max_decompressed_bytes, encoder, |stream| {
        walk(header, stream, rules)
    })
}

/// Runs `f` over the content of a compressed body.
pub(super) fn with_stream<T>(
    codec: CompressionType,
    body: &[u8],
    limit: usize,
    encoder: Option<&mut Encoder>,
    f: impl FnOnce(&mut Stream<'_, '_>) -> Result<T, AppendError>,
) -> Result<T, AppendError> {
    thread_local! {
        static BUFFER: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
    }
    let decoder = Decoder::new(codec, body)?;
    // Taken out for the time of the walk, so that nothing is borrowed while foreign code runs.
    let mut buffer = BUFFER.take();
    buffer.resize(STREAM_BUFFER, 0);
    let mut stream = Stream {
        decoder,
        codec,
        limit,
        encoder,
        buffer,
        position: 0,
        end: 0,
        before: 0,
    };
    let outcome = f(&mut stream);
    BUFFER.set(stream.buffer);
    outcome
}

fn walk(header: &BatchHeader, source: &mut impl Source, rules: &Rules<'_>) -> Result<Walked, AppendError> {
    let mut refusals = Refusals::default();
    let walked = walk_records(header, source, rules, &mut refusals).map_err(|error| match error {
        WalkError::Record(error) => AppendError::InvalidRecord(error.to_string()),
        WalkError::Decompress(error) => AppendError::Decompress(error),
        WalkError::Compress(error) => AppendError::of_compression(error, rules.config.max_message_bytes),
    })?;
    refusals.outcome().map(|()| walked)
}

fn walk_records(
    header: &BatchHeader,
    source: &mut impl Source,
    rules: &Rules<'_>,
    refusals: &mut Refusals,
) -> Result<Walked, WalkError> {
    let base_timestamp = header.base_timestamp();
    let log_append_time = (header.timestamp_type() == TimestampType::LogAppendTime).then(|| header.max_timestamp());
    let mut walked = Walked {
        max_timestamp: Millis::NONE,
        in_sequence: true,
    };
    for index in 0..header.record_count() {
        let head = read_head(source)?;
        walked.in_sequence &= head.offset_delta == index;
        let own_timestamp = Millis(base_timestamp.0.wrapping_add(head.timestamp_delta));
        let timestamp = log_append_time.unwrap_or(own_timestamp);
        walked.max_timestamp = walked.max_timestamp.max(timestamp);
        let key = read_length(source)?;
        source.skip(key.unwrap_or_default())?;
        let value = read_length(source)?;
        source.skip(value.unwrap_or_default())?;
        let header_count = source.i32()?;
        if header_count != 0 {
            skip_headers(header_count, source, head.end)?;
        }
        if source.consumed() != head.end {
            let read = source.consumed().saturating_sub(head.start) as usize;
            let declared = (head.end - head.start) as usize;
            return Err(RecordError::Size { declared, read }.into());
        }
        if let Some(refusal) = rules.refuse(header, &head, key, value, timestamp) {
            refusals.add(index, refusal);
        }
    }
    if !source.is_at_end()? {
        return Err(RecordError::LeftOver.into());
    }
    Ok(walked)
}

/// The start of a record, up to its key.
pub(super) struct RecordHead {
    /// Position of the first byte after the length.
    pub(super) start: u64,
    /// Position where the record ends, by its length.
    pub(super) end: u64,
    pub(super) attributes: u8,
    pub(super) timestamp_delta: i64,
    pub(super) offset_delta: i32,
}

#[inline(always)]
pub(super) fn read_head(source: &mut impl Source) -> Result<RecordHead, WalkError> {
    let length = source.i32()?;
    let length = u64::try_from(length).map_err(|_| RecordError::PrematureEnd)?;
    let start = source.consumed();
    Ok(RecordHead {
        start,
        end: start + length,
        attributes: source.byte()?,
        timestamp_delta: source.i64()?,
        offset_delta: source.i32()?,
    })
}

#[inline(always)]
fn read_length(source: &mut impl Source) -> Result<Option<usize>, WalkError> {
    Ok(usize::try_from(source.i32()?).ok())
}

fn skip_headers(count: i32, source: &mut impl Source, end: u64) -> Result<(), WalkError> {
    // Each header takes two bytes at least, so a count beyond what is left is a lie which need not be followed.
    let left = end.saturating_sub(source.consumed());
    if !u64::try_from(count).is_ok_and(|count| count <= left) {
        return Err(RecordError::HeaderCount(count).into());
    }
    for _ in 0..count {
        let key = read_length(source)?.ok_or(RecordError::Structure)?;
        source.skip(key)?;
        let value = read_length(source)?;
        source.skip(value.unwrap_or_default())?;
    }
    Ok(())
}

/// Why one record may not be written.
pub(super) enum Refusal {
    /// → INVALID_RECORD: no key where one is needed, or a wrong format inside a wrapper.
    Key(String),
    Timestamp(String),
}

impl Rules<'_> {
    /// Source: Kafka 3.9 `LogValidator.validateRecord`, its texts and its order.
    #[inline]
    fn refuse(
        &self,
        header: &BatchHeader,
        head: &RecordHead,
        key: Option<usize>,
        value: Option<usize>,
        timestamp: Millis,
    ) -> Option<Refusal> {
        let config = self.config;
        if config.compacted && key.is_none() {
            return Some(self.without_key());
        }
        let offset = Offset(header.base_offset().0.wrapping_add(i64::from(head.offset_delta)));
        if config.timestamp_type == TimestampType::CreateTime && timestamp != Millis::NONE {
            return self.out_of_range(timestamp, offset);
        } else if header.timestamp_type() == TimestampType::LogAppendTime {
            return Some(Refusal::Timestamp(format!(
                "Invalid timestamp type in message DefaultRecord(offset={offset}, timestamp={timestamp}, key={} bytes, \
                 value={} bytes). Producer should not set timestamp type to LogAppendTime.",
                key.unwrap_or_default(),
                value.unwrap_or_default()
            )));
        }
        None
    }

    /// The same for a message of an older format, in an entry whose timestamps are of this type.
    pub(super) fn refuse_message(&self, message: &LegacyMessage<'_>, timestamp_type: TimestampType) -> Option<Refusal> {
        if self.config.compacted && message.key.is_none() {
            return Some(self.without_key());
        }
        if self.config.timestamp_type == TimestampType::CreateTime && message.timestamp != Millis::NONE {
            return self.out_of_range(message.timestamp, message.offset);
        }
        (timestamp_type == TimestampType::LogAppendTime).then(|| {
            Refusal::Timestamp(format!(
                "Invalid timestamp type in message LegacyRecord(offset={}, timestamp={}). Producer should not set \
                 timestamp type to LogAppendTime.",
                message.offset, message.timestamp
            ))
        })
    }

    #[cold]
    fn without_key(&self) -> Refusal {
        Refusal::Key(format!(
            "Compacted topic cannot accept message without key in topic partition {}",
            self.topic_partition
        ))
    }

    #[inline]
    fn out_of_range(&self, timestamp: Millis, offset: Offset) -> Option<Refusal> {
        let config = self.config;
        let age = self.now.0.wrapping_sub(timestamp.0);
        (age > config.timestamp_before_max.0 || age.wrapping_neg() > config.timestamp_after_max.0).then(|| {
            Refusal::Timestamp(format!(
                "Timestamp {timestamp} of message with offset {offset} is out of range. The timestamp should be within \
                 [{}, {}]",
                self.now.0.wrapping_sub(config.timestamp_before_max.0),
                self.now.0.wrapping_add(config.timestamp_after_max.0)
            ))
        })
    }
}

/// The refused records of a batch, the first of them with their texts.
#[derive(Default)]
pub(super) struct Refusals {
    errors: Vec<RecordRefusal>,
    count: usize,
    timestamp: bool,
}

impl Refusals {
    /// Notes a message inside another whose format is not that of its wrapper.
    pub(super) fn add_misfit(&mut self, batch_index: i32, inner: i8, outer: i8, rules: &Rules<'_>) {
        let message = format!(
            "Record's magic {inner} does not match outer magic {outer} in topic partition {}",
            rules.topic_partition
        );
        self.add(batch_index, Refusal::Key(message));
    }

    pub(super) fn add(&mut self, batch_index: i32, refusal: Refusal) {
        self.count += 1;
        let (Refusal::Key(message) | Refusal::Timestamp(message)) = &refusal;
        if self.errors.len() < AppendError::RECORD_ERRORS_MAX {
            self.errors.push(RecordRefusal {
                batch_index,
                message: message.clone(),
            });
        }
        self.timestamp |= matches!(refusal, Refusal::Timestamp(_));
    }

    /// One bad timestamp makes the whole refusal one of timestamps, as in Kafka.
    pub(super) fn outcome(self) -> Result<(), AppendError> {
        let Self {
            errors,
            count,
            timestamp,
        } = self;
        match (count, timestamp) {
            (0, _) => Ok(()),
            (_, true) => Err(AppendError::InvalidTimestamp { errors, count }),
            (_, false) => Err(AppendError::RecordsRejected { errors, count }),
        }
    }
}

/// Where records are read from.
pub(super) trait Source {
    fn byte(&mut self) -> Result<u8, WalkError>;
    fn i32(&mut self) -> Result<i32, WalkError>;
    fn i64(&mut self) -> Result<i64, WalkError>;
    fn skip(&mut self, length: usize) -> Result<(), WalkError>;
    /// Hands the next `length` bytes to `encoder`.
    fn copy(&mut self, length: u64, encoder: &mut Encoder) -> Result<(), WalkError>;
    /// Bytes read so far.
    fn consumed(&self) -> u64;
    fn is_at_end(&mut self) -> Result<bool, WalkError>;
}

/// Uncompressed content.
pub(super) struct Plain<'a> {
    length: usize,
    rest: &'a [u8],
}

impl<'a> Plain<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self {
            length: bytes.len(),
            rest: bytes,
        }
    }

    #[inline(always)]
    fn take(&mut self, length: usize) -> Result<&'a [u8], WalkError> {
        let (taken, rest) = self.rest.split_at_checked(length).ok_or(RecordError::PrematureEnd)?;
        self.rest = rest;
        Ok(taken)
    }
}

impl Source for Plain<'_> {
    #[inline(always)]
    fn byte(&mut self) -> Result<u8, WalkError> {
        let (byte, rest) = self.rest.split_first().ok_or(RecordError::PrematureEnd)?;
        self.rest = rest;
        Ok(*byte)
    }

    #[inline(always)]
    fn i32(&mut self) -> Result<i32, WalkError> {
        let (value, size) = varint::read_i32(self.rest).ok_or(RecordError::PrematureEnd)?;
        self.rest = &self.rest[size..];
        Ok(value)
    }

    #[inline(always)]
    fn i64(&mut self) -> Result<i64, WalkError> {
        let (value, size) = varint::read_i64(self.rest).ok_or(RecordError::PrematureEnd)?;
        self.rest = &self.rest[size..];
        Ok(value)
    }

    #[inline(always)]
    fn skip(&mut self, length: usize) -> Result<(), WalkError> {
        self.take(length).map(drop)
    }

    fn copy(&mut self, length: u64, encoder: &mut Encoder) -> Result<(), WalkError> {
        let length = usize::try_from(length).map_err(|_| RecordError::PrematureEnd)?;
        encoder.write(self.take(length)?).map_err(WalkError::Compress)
    }

    #[inline(always)]
    fn consumed(&self) -> u64 {
        (self.length - self.rest.len()) as u64
    }

    fn is_at_end(&mut self) -> Result<bool, WalkError> {
        Ok(self.rest.is_empty())
    }
}

/// How much is decompressed at a time.
const STREAM_BUFFER: usize = 64 * 1024;

/// Compressed content, decompressed as it is read, up to a limit.
pub(super) struct Stream<'a, 'e> {
    decoder: Decoder<'a>,
    codec: CompressionType,
    limit: usize,
    encoder: Option<&'e mut Encoder>,
    buffer: Vec<u8>,
    position: usize,
    end: usize,
    /// Content before what is in the buffer.
    before: u64,
}

impl Stream<'_, '_> {
    /// Reads more, keeping what has not been consumed. Returns whether there was more.
    fn refill(&mut self) -> Result<bool, WalkError> {
        self.buffer.copy_within(self.position..self.end, 0);
        self.before += self.position as u64;
        self.end -= self.position;
        self.position = 0;
        let read = self.decoder.read(&mut self.buffer[self.end..]).map_err(|source| {
            WalkError::Decompress(DecompressError::Broken {
                codec: self.codec,
                source,
            })
        })?;
        if let Some(encoder) = &mut self.encoder {
            let read = &self.buffer[self.end..self.end + read];
            encoder.write(read).map_err(WalkError::Compress)?;
        }
        self.end += read;
        if self.before + self.end as u64 > self.limit as u64 {
            return Err(WalkError::Decompress(DecompressError::TooLarge { limit: self.limit }));
        }
        Ok(read > 0)
    }

    /// The bytes at hand, at least as many as a number can take unless the content ends before.
    #[inline]
    fn peek(&mut self) -> Result<&[u8], WalkError> {
        while self.end - self.position < varint::MAX_LONG && self.refill()? {}
        Ok(&self.buffer[self.position..self.end])
    }
}

impl Source for Stream<'_, '_> {
    fn byte(&mut self) -> Result<u8, WalkError> {
        let byte = *self.peek()?.first().ok_or(RecordError::PrematureEnd)?;
        self.position += 1;
        Ok(byte)
    }

    fn i32(&mut self) -> Result<i32, WalkError> {
        let (value, size) = varint::read_i32(self.peek()?).ok_or(RecordError::PrematureEnd)?;
        self.position += size;
        Ok(value)
    }

    fn i64(&mut self) -> Result<i64, WalkError> {
        let (value, size) = varint::read_i64(self.peek()?).ok_or(RecordError::PrematureEnd)?;
        self.position += size;
        Ok(value)
    }

    fn skip(&mut self, mut length: usize) -> Result<(), WalkError> {
        loop {
            let skipped = length.min(self.end - self.position);
            self.position += skipped;
            length -= skipped;
            if length == 0 {
                return Ok(());
            }
            if !self.refill()? {
                return Err(RecordError::PrematureEnd.into());
            }
        }
    }

    fn copy(&mut self, mut length: u64, encoder: &mut Encoder) -> Result<(), WalkError> {
        loop {
            let there = &self.buffer[self.position..self.end];
            let copied = usize::try_from(length).unwrap_or(usize::MAX).min(there.len());
            encoder.write(&there[..copied]).map_err(WalkError::Compress)?;
            self.position += copied;
            length -= copied as u64;
            if length == 0 {
                return Ok(());
            }
            if !self.refill()? {
                return Err(RecordError::PrematureEnd.into());
            }
        }
    }

    fn consumed(&self) -> u64 {
        self.before + self.position as u64
    }

    fn is_at_end(&mut self) -> Result<bool, WalkError> {
        Ok(self.position == self.end && !self.refill()?)
    }
}
