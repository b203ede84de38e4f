//! The walk itself: a cursor over bytes that checks and skips.
//!
//! Invariants: the position never passes the end; every step of a loop consumes at least one byte, so a walk
//! is linear in the message; it recurses only as deep as the (finite, acyclic) shapes are nested.

use std::ops::Range;

use bytes::{Bytes, BytesMut};

use super::shapes::{Field, Kind, Shape};
use super::{MAX_ODD_NULLS, MAX_UNKNOWN_TAGS, Malformed, memory_limit};

/// The longest string that Kafka reads, also where a compact length could say more.
const MAX_STRING_LEN: usize = i16::MAX as usize;

/// What the decoder's map of unknown tagged fields takes for up to this many of them.
const TAGS_PER_NODE: usize = 6;
const TAG_NODE_MEMORY: usize = 512;

/// A message that may be decoded: where it ends, and which lengths have to be rewritten first.
#[derive(Debug, PartialEq, Eq)]
pub struct Passed {
    len: usize,
    odd: Vec<Odd>,
}

/// A spelling that Kafka reads in its way and the crate would not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Odd {
    at: usize,
    spelling: Spelling,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Spelling {
    /// Two bytes, any negative number: −1.
    Int16Null,
    /// Four bytes, any negative number: −1.
    Int32Null,
    /// Five bytes of a variable-length integer above 2^31: 0 in five bytes.
    VarintNull,
    /// One byte before a struct, any number ≥ 0: 1.
    Present,
    /// One byte before a struct that is not there: −1.
    Absent,
}

impl Passed {
    /// The message alone, without what follows it, spelt as the crate expects.
    pub fn canonical(&self, mut body: Bytes) -> Bytes {
        body.truncate(self.len);
        if self.odd.is_empty() {
            return body;
        }
        let mut copy = BytesMut::from(&body[..]);
        for odd in &self.odd {
            let canonical: &[u8] = match odd.spelling {
                Spelling::Int16Null => &[0xff; 2],
                Spelling::Int32Null => &[0xff; 4],
                Spelling::VarintNull => &[0x80, 0x80, 0x80, 0x80, 0],
                Spelling::Present => &[1],
                Spelling::Absent => &[0xff],
            };
            copy[odd.at..odd.at + canonical.len()].copy_from_slice(canonical);
        }
        copy.freeze()
    }

    /// Bytes of the message; what follows is not part of it.
    pub fn message_len(&self) -> usize {
        self.len
    }
}

/// A cursor that never leaves its bytes.
pub(crate) struct Walk<'a> {
    bytes: &'a [u8],
    at: usize,
    memory: usize,
    odd: Vec<Odd>,
}

impl<'a> Walk<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Walk<'a> {
        Walk {
            bytes,
            at: 0,
            memory: 0,
            odd: Vec::new(),
        }
    }

    /// Bytes walked so far.
    pub(crate) fn position(&self) -> usize {
        self.at
    }

    /// Walks a whole message.
    pub(crate) fn message(mut self, shape: &Shape, version: i16, flexible: bool) -> Result<Passed, Malformed> {
        self.structure(shape, version, flexible)?;
        Ok(Passed {
            len: self.at,
            odd: self.odd,
        })
    }

    /// Walks to the field of this name; `None` if there is none.
    pub(crate) fn position_of(mut self, shape: &Shape, version: i16, flexible: bool, name: &str) -> Option<usize> {
        for field in shape.fields.iter().filter(|field| field.versions.contains(version)) {
            if field.name == name {
                return Some(self.at);
            }
            self.value(field, field.kind, field.nullable.contains(version), version, flexible)
                .ok()?;
        }
        None
    }

    pub(crate) fn i16(&mut self, field: &'static str) -> Result<i16, Malformed> {
        let bytes = self.array(field)?;
        Ok(i16::from_be_bytes(bytes))
    }

    pub(crate) fn i32(&mut self, field: &'static str) -> Result<i32, Malformed> {
        let bytes = self.array(field)?;
        Ok(i32::from_be_bytes(bytes))
    }

    /// A string with a two-byte length, null being the empty one: where its bytes are.
    pub(crate) fn string(&mut self, field: &'static str) -> Result<Range<usize>, Malformed> {
        let len = usize::try_from(self.i16(field)?).unwrap_or(0);
        self.skip(len, field)?;
        Ok(self.at - len..self.at)
    }

    /// A section of tagged fields none of which is known.
    pub(crate) fn unknown_tags(&mut self) -> Result<(), Malformed> {
        self.tags(&[], 0)
    }

    fn structure(&mut self, shape: &Shape, version: i16, flexible: bool) -> Result<(), Malformed> {
        for field in shape.fields {
            if field.versions.contains(version) {
                self.value(field, field.kind, field.nullable.contains(version), version, flexible)?;
            }
        }
        if flexible {
            self.tags(shape.tagged, version)
        } else {
            Ok(())
        }
    }

    fn value(
        &mut self,
        field: &Field,
        kind: Kind,
        nullable: bool,
        version: i16,
        flexible: bool,
    ) -> Result<(), Malformed> {
        if let Some(len) = kind.fixed_len() {
            return self.skip(len, field.name);
        }
        match kind {
            Kind::String => {
                let Some(len) = self.length(Spelling::Int16Null, field.name, nullable, flexible)? else {
                    return Ok(());
                };
                if len > MAX_STRING_LEN {
                    return Err(Malformed::StringTooLong { field: field.name, len });
                }
                self.skip(len, field.name)
            }
            Kind::Bytes | Kind::Records => match self.length(Spelling::Int32Null, field.name, nullable, flexible)? {
                Some(len) => self.skip(len, field.name),
                None => Ok(()),
            },
            Kind::Array(element) => {
                let Some(count) = self.length(Spelling::Int32Null, field.name, nullable, flexible)? else {
                    return Ok(());
                };
                self.elements(field, *element, count, version, flexible)
            }
            Kind::Struct(shape) => {
                if nullable && !self.is_present(field.name)? {
                    return Ok(());
                }
                self.structure(shape, version, flexible)
            }
            // All others have a fixed length.
            _ => Ok(()),
        }
    }

    fn elements(
        &mut self,
        field: &Field,
        element: Kind,
        count: usize,
        version: i16,
        flexible: bool,
    ) -> Result<(), Malformed> {
        // No element is empty, so this refuses at once what the loop would refuse later.
        let left = self.left();
        if count > left {
            return Err(Malformed::Count {
                field: field.name,
                count,
                left,
            });
        }
        self.remember(count.saturating_mul(element.memory()))?;
        if let Some(len) = element.fixed_len() {
            return self.skip(count.saturating_mul(len), field.name);
        }
        for _ in 0..count {
            self.value(field, element, false, version, flexible)?;
        }
        Ok(())
    }

    /// Tagged fields, known and unknown, in any order. As in Kafka the size of a known one is not looked at.
    fn tags(&mut self, known: &[Field], version: i16) -> Result<(), Malformed> {
        let count = self.varint("tagged fields")?;
        let mut unknown = 0;
        for _ in 0..count {
            let tag = self.varint("tag")?;
            let size = self.varint("tagged field")?;
            match known.iter().find(|field| field.tag == tag) {
                Some(field) if field.versions.contains(version) => {
                    self.value(field, field.kind, field.nullable.contains(version), version, true)?;
                }
                Some(_) => return Err(Malformed::TagVersion { tag, version }),
                None => {
                    unknown += 1;
                    if unknown > MAX_UNKNOWN_TAGS {
                        return Err(Malformed::TooManyTags);
                    }
                    if unknown as usize % TAGS_PER_NODE == 1 {
                        self.remember(TAG_NODE_MEMORY)?;
                    }
                    self.skip(size as usize, "tagged field")?;
                }
            }
        }
        Ok(())
    }

    /// A length or count; `None` is null. `wide` is how null is spelt where lengths are not compact.
    fn length(
        &mut self,
        wide: Spelling,
        field: &'static str,
        nullable: bool,
        flexible: bool,
    ) -> Result<Option<usize>, Malformed> {
        let at = self.at;
        let (len, odd) = if flexible {
            let plus_one = self.varint(field)?;
            // Kafka subtracts one and looks at the sign of an int.
            let len = (plus_one as i32).wrapping_sub(1);
            (len, (plus_one != 0).then_some(Spelling::VarintNull))
        } else if wide == Spelling::Int16Null {
            let len = i32::from(self.i16(field)?);
            (len, (len != -1).then_some(wide))
        } else {
            let len = self.i32(field)?;
            (len, (len != -1).then_some(wide))
        };
        match usize::try_from(len) {
            Ok(len) => Ok(Some(len)),
            Err(_) if !nullable => Err(Malformed::Null { field }),
            Err(_) => {
                if let Some(spelling) = odd {
                    self.note(at, spelling)?;
                }
                Ok(None)
            }
        }
    }

    /// The byte before a struct that may be null.
    fn is_present(&mut self, field: &'static str) -> Result<bool, Malformed> {
        let at = self.at;
        let [mark] = self.array(field)?;
        let present = (mark as i8) >= 0;
        if present && mark != 1 {
            self.note(at, Spelling::Present)?;
        }
        if !present && mark != 0xff {
            self.note(at, Spelling::Absent)?;
        }
        Ok(present)
    }

    fn varint(&mut self, field: &'static str) -> Result<u32, Malformed> {
        let mut value = 0;
        for shift in [0, 7, 14, 21, 28] {
            let [byte] = self.array(field)?;
            value |= u32::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(Malformed::Varint { field })
    }

    fn note(&mut self, at: usize, spelling: Spelling) -> Result<(), Malformed> {
        if self.odd.len() == MAX_ODD_NULLS {
            return Err(Malformed::TooManyOddNulls);
        }
        self.odd.push(Odd { at, spelling });
        Ok(())
    }

    fn remember(&mut self, memory: usize) -> Result<(), Malformed> {
        self.memory = self.memory.saturating_add(memory);
        let limit = memory_limit(self.bytes.len());
        if self.memory > limit {
            return Err(Malformed::Memory {
                len: self.bytes.len(),
                limit,
            });
        }
        Ok(())
    }

    fn left(&self) -> usize {
        self.bytes.len() - self.at
    }

    fn array<const N: usize>(&mut self, field: &'static str) -> Result<[u8; N], Malformed> {
        match self.bytes.get(self.at..).and_then(|left| left.first_chunk::<N>()) {
            Some(bytes) => {
                self.at += N;
                Ok(*bytes)
            }
            None => Err(Malformed::Truncated {
                field,
                wanted: N,
                left: self.left(),
            }),
        }
    }

    fn skip(&mut self, len: usize, field: &'static str) -> Result<(), Malformed> {
        let left = self.left();
        if len > left {
            return Err(Malformed::Truncated {
                field,
                wanted: len,
                left,
            });
        }
        self.at += len;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use kafka_protocol::messages::{FetchRequest, MetadataRequest, OffsetCommitRequest};
    use kafka_protocol::protocol::Request;

    use super::*;
    use crate::codec::decode_request;

    fn refused<R: Request>(version: i16, body: &[u8]) -> Malformed {
        decode_request::<R>(version, Bytes::copy_from_slice(body))
            .err()
            .expect("refused")
    }

    #[test]
    fn any_negative_length_is_null_as_in_kafka() {
        let check = |name: &str, version: i16, body: &[u8]| {
            let request = decode_request::<MetadataRequest>(version, Bytes::copy_from_slice(body)).expect(name);
            assert_eq!(request.topics, None, "{name}");
        };
        check("count -1", 1, &[0xff, 0xff, 0xff, 0xff]);
        check("count -2", 1, &[0xff, 0xff, 0xff, 0xfe]);
        check("least count", 1, &[0x80, 0, 0, 0]);
        check("compact 0", 9, &[0, 1, 0, 0, 0]);
        check("compact -2", 9, &[0xff, 0xff, 0xff, 0xff, 0x0f, 1, 0, 0, 0]);

        // Version 2: group, generation, member, retention time, one topic with one partition whose metadata is null.
        let mut body = vec![0, 1, b'g', 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        body.extend([
            0, 0, 0, 1, 0, 1, b't', 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 5, 0x80, 0,
        ]);
        let request = decode_request::<OffsetCommitRequest>(2, body.into()).expect("string of length -32768");
        let partition = &request.topics[0].partitions[0];
        assert_eq!((partition.committed_offset, &partition.committed_metadata), (5, &None));
    }

    #[test]
    fn broken_bodies_are_refused_with_the_field_at_fault() {
        let check = |name: &str, found: Malformed, expected: Malformed| assert_eq!(found, expected, "{name}");
        check(
            "null where version 0 forbids it",
            refused::<MetadataRequest>(0, &[0xff, 0xff, 0xff, 0xff]),
            Malformed::Null { field: "topics" },
        );
        check(
            "more topics than bytes",
            refused::<MetadataRequest>(1, &[0, 0, 0, 3, 0, 0]),
            Malformed::Count {
                field: "topics",
                count: 3,
                left: 2,
            },
        );
        check(
            "a name beyond the end",
            refused::<MetadataRequest>(1, &[0, 0, 0, 1, 0, 5, b'a']),
            Malformed::Truncated {
                field: "name",
                wanted: 5,
                left: 1,
            },
        );
        check(
            "a version that is not",
            refused::<MetadataRequest>(13, &[]),
            Malformed::UnsupportedVersion {
                api_key: 3,
                version: 13,
            },
        );
        let mut long = vec![2, 0x81, 0x80, 0x02];
        long.resize(40_000, b'a');
        check(
            "a compact string longer than any other",
            refused::<MetadataRequest>(9, &long),
            Malformed::StringTooLong {
                field: "name",
                len: 32_768,
            },
        );
        // Fetch version 12, all empty, one tagged field: the replica state of version 15.
        let mut fetch = vec![0; 4 + 4 + 4 + 4 + 1 + 4 + 4];
        fetch.extend([1, 1, 1, 1, 1, 0]);
        check(
            "a tag of a later version",
            refused::<FetchRequest>(12, &fetch),
            Malformed::TagVersion { tag: 1, version: 12 },
        );
    }

    #[test]
    fn odd_nulls_are_bounded() {
        let partitions = MAX_ODD_NULLS + 1;
        let mut body = vec![
            0, 1, b'g', 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 1, b't',
        ];
        body.extend((partitions as u32).to_be_bytes());
        for _ in 0..partitions {
            body.extend([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 5, 0x80, 0]);
        }
        assert_eq!(refused::<OffsetCommitRequest>(2, &body), Malformed::TooManyOddNulls);
    }

    #[test]
    fn a_body_spelt_as_usual_is_not_copied() {
        let body = Bytes::from_static(&[0, 0, 0, 1, 0, 1, b'a', 0xff]);
        let passed = crate::guard::request(3, 1, &body).expect("passes");
        let canonical = passed.canonical(body.clone());
        assert_eq!((canonical.as_ptr(), canonical.len()), (body.as_ptr(), 7));
    }
}
