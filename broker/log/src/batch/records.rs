//! The records inside a format 2 batch.

use model::{Millis, Offset};

use super::varint;
use super::{BatchHeader, TimestampType};

/// What is wrong with the structure of a record. → INVALID_RECORD.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// The header declares fewer than no records.
    #[error("found invalid record count {0}")]
    NegativeCount(i32),
    /// The content ends before the declared number of records.
    #[error("incorrect declared batch size, premature end reached")]
    PrematureEnd,
    /// Bytes are left after the declared number of records.
    #[error("incorrect declared batch size, records still remaining")]
    LeftOver,
    /// A length inside a record does not fit the record, or a number does not end.
    #[error("found invalid record structure")]
    Structure,
    /// The fields of a record end elsewhere than its length says.
    #[error("invalid record size: expected to read {declared} bytes, but instead read {read}")]
    Size {
        /// What the length says.
        declared: usize,
        /// What the fields take.
        read: usize,
    },
    /// The number of record headers is negative or more than the bytes that are left.
    #[error("found invalid number of record headers {0}")]
    HeaderCount(i32),
}

/// A record header: a key and a value or null.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header<'a> {
    /// The key; UTF-8 if the producer kept to the rules.
    pub key: &'a [u8],
    /// The value.
    pub value: Option<&'a [u8]>,
}

/// The headers of a record; their structure has been checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Headers<'a> {
    count: u32,
    bytes: &'a [u8],
}

impl Headers<'_> {
    /// How many are left.
    pub fn len(&self) -> usize {
        self.count as usize
    }

    /// Whether none is left.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }
}

impl<'a> Iterator for Headers<'a> {
    type Item = Header<'a>;

    fn next(&mut self) -> Option<Header<'a>> {
        self.count = self.count.checked_sub(1)?;
        let mut cursor = Cursor(self.bytes);
        let key = cursor.bytes().ok()??;
        let value = cursor.bytes().ok()?;
        self.bytes = cursor.0;
        Some(Header { key, value })
    }
}

/// One record, borrowed.
///
/// ```text
/// length varint | attributes i8 | timestamp delta varlong | offset delta varint
///   | key length varint, key | value length varint, value | header count varint, headers…
/// ```
/// Lengths of −1 stand for null. Source: Kafka 3.9 `DefaultRecord`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record<'a> {
    /// Unused by Kafka, always 0.
    pub attributes: i8,
    /// Base offset plus offset delta.
    pub offset: Offset,
    /// Offset minus the batch's base offset.
    pub offset_delta: i32,
    /// The producer's or, by the batch's timestamp type, the append's.
    pub timestamp: Millis,
    /// Key or null.
    pub key: Option<&'a [u8]>,
    /// Value or null (a tombstone in a compacted topic).
    pub value: Option<&'a [u8]>,
    /// Headers.
    pub headers: Headers<'a>,
    /// Bytes in the batch, length included.
    pub size: usize,
}

/// The records of one batch, as many as its header declares, and nothing left over.
///
/// After an error it yields nothing more.
#[derive(Clone, Debug)]
pub struct Records<'a> {
    base_offset: Offset,
    base_timestamp: Millis,
    log_append_time: Option<Millis>,
    left: i32,
    rest: Cursor<'a>,
}

impl<'a> Records<'a> {
    /// The records in `content`, the bytes after the header in their uncompressed form.
    pub fn new(header: &BatchHeader, content: &'a [u8]) -> Self {
        Self {
            base_offset: header.base_offset(),
            base_timestamp: header.base_timestamp(),
            log_append_time: (header.timestamp_type() == TimestampType::LogAppendTime).then(|| header.max_timestamp()),
            left: header.record_count(),
            rest: Cursor(content),
        }
    }

    fn read(&mut self) -> Result<Record<'a>, RecordError> {
        let before = self.rest.0.len();
        let length = self.rest.i32().map_err(|_| RecordError::PrematureEnd)?;
        let body = usize::try_from(length)
            .ok()
            .and_then(|length| self.rest.take(length))
            .ok_or(RecordError::PrematureEnd)?;
        let mut cursor = Cursor(body);
        let [attributes, ..] = *cursor.take(1).ok_or(RecordError::Structure)? else {
            return Err(RecordError::Structure);
        };
        let timestamp_delta = cursor.i64()?;
        let offset_delta = cursor.i32()?;
        let key = cursor.bytes()?;
        let value = cursor.bytes()?;
        let header_count = cursor.i32()?;
        let count = u32::try_from(header_count)
            .ok()
            .filter(|count| *count as usize <= cursor.0.len())
            .ok_or(RecordError::HeaderCount(header_count))?;
        let headers = Headers { count, bytes: cursor.0 };
        for _ in 0..count {
            cursor.bytes()?.ok_or(RecordError::Structure)?;
            cursor.bytes()?;
        }
        if !cursor.0.is_empty() {
            return Err(RecordError::Size {
                declared: body.len(),
                read: body.len() - cursor.0.len(),
            });
        }
        let own_timestamp = Millis(self.base_timestamp.0.wrapping_add(timestamp_delta));
        Ok(Record {
            attributes: attributes as i8,
            offset: Offset(self.base_offset.0.wrapping_add(i64::from(offset_delta))),
            offset_delta,
            timestamp: self.log_append_time.unwrap_or(own_timestamp),
            key,
            value,
            headers,
            size: before - self.rest.0.len(),
        })
    }
}

impl<'a> Iterator for Records<'a> {
    type Item = Result<Record<'a>, RecordError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.left <= 0 {
            let count = core::mem::take(&mut self.left);
            return (count < 0).then_some(Err(RecordError::NegativeCount(count)));
        }
        self.left -= 1;
        let mut record = self.read();
        if self.left == 0 && record.is_ok() && !self.rest.0.is_empty() {
            record = Err(RecordError::LeftOver);
        }
        if record.is_err() {
            self.left = 0;
        }
        Some(record)
    }
}

/// Bytes being read from the front.
#[derive(Clone, Copy, Debug)]
struct Cursor<'a>(&'a [u8]);

impl<'a> Cursor<'a> {
    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }

    fn i32(&mut self) -> Result<i32, RecordError> {
        let (value, size) = varint::read_i32(self.0).ok_or(RecordError::Structure)?;
        self.0 = &self.0[size..];
        Ok(value)
    }

    fn i64(&mut self) -> Result<i64, RecordError> {
        let (value, size) = varint::read_i64(self.0).ok_or(RecordError::Structure)?;
        self.0 = &self.0[size..];
        Ok(value)
    }

    /// A length and that many bytes; null for a negative length.
    fn bytes(&mut self) -> Result<Option<&'a [u8]>, RecordError> {
        match usize::try_from(self.i32()?) {
            Err(_) => Ok(None),
            Ok(length) => self.take(length).map(Some).ok_or(RecordError::Structure),
        }
    }
}
