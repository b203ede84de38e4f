//! Records of the coordinators' topics, and how their fields are written and read.
//!
//! Keys and values begin with a version and go on in Kafka's message format, flexible from some version on. Every count and length
//! is checked against the bytes that are there before anything is allocated.

use std::sync::Arc;

use bytes::{Buf, BufMut, Bytes, BytesMut};

/// One record: a key, and a value or a tombstone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// The key's bytes.
    pub key: Bytes,
    /// The value's bytes; `None` is a tombstone.
    pub value: Option<Bytes>,
}

/// A record that cannot be read, or text too long to be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// The bytes end before the field does.
    #[error("the record ends too early")]
    Truncated,
    /// A length or count that cannot be.
    #[error("a length or count of the record is out of range")]
    BadLength,
    /// Text that is not UTF-8.
    #[error("text of the record is not UTF-8")]
    NotUtf8,
    /// A null where the schema has none.
    #[error("a field of the record must not be null")]
    Null,
    /// A value of a version that we do not know.
    #[error("unknown version {0} of the record's value")]
    UnknownVersion(i16),
    /// A transaction in a state that is never stored.
    #[error("unknown transaction state {0}")]
    UnknownState(i8),
    /// A string of more than 32,767 bytes cannot be stored.
    #[error("a string is too long to be stored")]
    TooLong,
}

pub(crate) fn put_string(out: &mut BytesMut, text: &str) -> Result<(), RecordError> {
    out.put_i16(i16::try_from(text.len()).map_err(|_| RecordError::TooLong)?);
    out.put_slice(text.as_bytes());
    Ok(())
}

pub(crate) fn put_nullable_string(out: &mut BytesMut, text: Option<&str>) -> Result<(), RecordError> {
    match text {
        Some(text) => put_string(out, text),
        None => {
            out.put_i16(-1);
            Ok(())
        }
    }
}

pub(crate) fn put_count(out: &mut BytesMut, count: usize) -> Result<(), RecordError> {
    out.put_i32(i32::try_from(count).map_err(|_| RecordError::TooLong)?);
    Ok(())
}

pub(crate) fn put_unsigned_varint(out: &mut BytesMut, mut value: u32) {
    while value > 0x7f {
        out.put_u8((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    out.put_u8(value as u8);
}

/// A length or count in a flexible version: one more than it is, for zero is null.
pub(crate) fn put_compact_length(out: &mut BytesMut, length: usize) -> Result<(), RecordError> {
    let length = u32::try_from(length).ok().and_then(|length| length.checked_add(1));
    put_unsigned_varint(out, length.ok_or(RecordError::TooLong)?);
    Ok(())
}

/// Takes fields off the front of a record.
pub(crate) struct Reader<'a> {
    pub(crate) left: &'a [u8],
}

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8], RecordError> {
        let (taken, left) = self.left.split_at_checked(count).ok_or(RecordError::Truncated)?;
        self.left = left;
        Ok(taken)
    }

    pub(crate) fn i8(&mut self) -> Result<i8, RecordError> {
        self.left.try_get_i8().map_err(|_| RecordError::Truncated)
    }

    pub(crate) fn i16(&mut self) -> Result<i16, RecordError> {
        self.left.try_get_i16().map_err(|_| RecordError::Truncated)
    }

    pub(crate) fn i32(&mut self) -> Result<i32, RecordError> {
        self.left.try_get_i32().map_err(|_| RecordError::Truncated)
    }

    pub(crate) fn i64(&mut self) -> Result<i64, RecordError> {
        self.left.try_get_i64().map_err(|_| RecordError::Truncated)
    }

    pub(crate) fn value_version(&mut self, highest: i16) -> Result<i16, RecordError> {
        match self.i16()? {
            version if (0..=highest).contains(&version) => Ok(version),
            other => Err(RecordError::UnknownVersion(other)),
        }
    }

    fn utf8(&mut self, length: usize) -> Result<Arc<str>, RecordError> {
        let bytes = self.take(length)?;
        core::str::from_utf8(bytes)
            .map(Arc::from)
            .map_err(|_| RecordError::NotUtf8)
    }

    pub(crate) fn string(&mut self) -> Result<Arc<str>, RecordError> {
        let length = usize::try_from(self.i16()?).map_err(|_| RecordError::Null)?;
        self.utf8(length)
    }

    pub(crate) fn compact_string(&mut self) -> Result<Arc<str>, RecordError> {
        let length = self.compact_length()?.ok_or(RecordError::Null)?;
        self.utf8(length)
    }

    pub(crate) fn text(&mut self, flexible: bool) -> Result<Arc<str>, RecordError> {
        if flexible { self.compact_string() } else { self.string() }
    }

    pub(crate) fn nullable_text(&mut self, flexible: bool) -> Result<Option<Arc<str>>, RecordError> {
        let length = if flexible {
            self.compact_length()?
        } else {
            match self.i16()? {
                -1 => None,
                length => Some(usize::try_from(length).map_err(|_| RecordError::BadLength)?),
            }
        };
        length.map(|length| self.utf8(length)).transpose()
    }

    pub(crate) fn blob(&mut self, flexible: bool) -> Result<Bytes, RecordError> {
        let length = if flexible {
            self.compact_length()?.ok_or(RecordError::Null)?
        } else {
            usize::try_from(self.i32()?).map_err(|_| RecordError::Null)?
        };
        self.take(length).map(Bytes::copy_from_slice)
    }

    /// How many elements of at least `smallest` bytes follow.
    pub(crate) fn count(&mut self, flexible: bool, smallest: usize) -> Result<usize, RecordError> {
        self.nullable_count(flexible, smallest)?.ok_or(RecordError::Null)
    }

    /// The same, of an array that may be null.
    pub(crate) fn nullable_count(&mut self, flexible: bool, smallest: usize) -> Result<Option<usize>, RecordError> {
        let count = if flexible {
            self.compact_length()?
        } else {
            match self.i32()? {
                -1 => None,
                count => Some(usize::try_from(count).map_err(|_| RecordError::BadLength)?),
            }
        };
        if count.is_some_and(|count| count > self.left.len() / smallest) {
            return Err(RecordError::BadLength);
        }
        Ok(count)
    }

    /// An unsigned varint, one more than the length; zero is null.
    pub(crate) fn compact_length(&mut self) -> Result<Option<usize>, RecordError> {
        Ok((self.unsigned_varint()? as usize).checked_sub(1))
    }

    fn unsigned_varint(&mut self) -> Result<u32, RecordError> {
        let mut value = 0u32;
        for shift in [0, 7, 14, 21, 28] {
            let byte = self.left.try_get_u8().map_err(|_| RecordError::Truncated)?;
            if shift == 28 && byte > 0x0f {
                return Err(RecordError::BadLength);
            }
            value |= u32::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(RecordError::BadLength)
    }

    pub(crate) fn skip_tagged_fields(&mut self) -> Result<(), RecordError> {
        for _ in 0..self.unsigned_varint()? {
            self.unsigned_varint()?;
            let size = self.unsigned_varint()?;
            self.take(size as usize)?;
        }
        Ok(())
    }
}
