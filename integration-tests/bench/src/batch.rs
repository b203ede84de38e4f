//! Record batches of magic 2 as the generator sends them, and a walk through those that come back.
//!
//! Uncompressed, no headers, keys only where they are asked for, all values of one length: so the same bytes can be sent again and again, and a
//! value that was changed in place ([`stamp_in`]) needs a new checksum only.

use bytes::Bytes;

/// Length of a batch's header.
pub(crate) const HEADER: usize = 61;
/// From here on the checksum covers a batch.
const CRC_COVERS: usize = 21;
/// Bits of a batch's attributes.
const TRANSACTIONAL: i16 = 0x10;
const CONTROL: i16 = 0x20;

/// An encoded batch of records whose values have one length.
#[derive(Clone)]
pub(crate) struct Batch {
    bytes: Vec<u8>,
    value_len: usize,
}

impl Batch {
    /// `records` records with values of `value_len` bytes of something like text.
    pub(crate) fn new(records: usize, value_len: usize) -> Self {
        let mut random = Random(0x9e37_79b9_7f4a_7c15);
        let mut body = Vec::with_capacity(records * (value_len + 16));
        for delta in 0..records {
            put_record(&mut body, delta, None, &random.text(value_len));
        }
        Self::of(records, value_len, &body)
    }

    /// The same with keys of 16 digits.
    pub(crate) fn keyed(records: usize, value_len: usize, key: impl Fn(usize) -> u64) -> Self {
        // Text is dear to make, and one is as good as another.
        let value = Random(0x9e37_79b9_7f4a_7c15).text(value_len);
        let mut body = Vec::with_capacity(records * (value_len + 40));
        for delta in 0..records {
            put_record(&mut body, delta, Some(format!("{:016}", key(delta)).as_bytes()), &value);
        }
        Self::of(records, value_len, &body)
    }

    fn of(records: usize, value_len: usize, body: &[u8]) -> Self {
        let mut bytes = Vec::with_capacity(HEADER + body.len());
        let count = number(records);
        bytes.extend(0_i64.to_be_bytes()); // base offset: the leader's to give
        bytes.extend(number(HEADER - 12 + body.len()).to_be_bytes());
        bytes.extend((-1_i32).to_be_bytes()); // partition leader epoch: likewise
        bytes.push(2);
        bytes.extend([0; 4]); // checksum
        bytes.extend(0_i16.to_be_bytes());
        bytes.extend((count - 1).to_be_bytes());
        let now = now_ms();
        bytes.extend(now.to_be_bytes());
        bytes.extend(now.to_be_bytes());
        bytes.extend((-1_i64).to_be_bytes()); // no producer id
        bytes.extend((-1_i16).to_be_bytes());
        bytes.extend((-1_i32).to_be_bytes());
        bytes.extend(count.to_be_bytes());
        bytes.extend(body);
        seal(&mut bytes);
        Self { bytes, value_len }
    }

    /// Its bytes.
    pub(crate) fn bytes(&self) -> Bytes {
        Bytes::copy_from_slice(&self.bytes)
    }

    /// How long it is.
    pub(crate) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Where the number of [`Batch::stamped`] lies: at the start of the last record's value.
    pub(crate) fn stamp_at(&self) -> usize {
        self.bytes.len() - 1 - self.value_len
    }

    /// How many records it has.
    pub(crate) fn records(&self) -> i32 {
        count_in(&self.bytes)
    }

    /// A copy of this producer, in a transaction, whose first record has this sequence number.
    pub(crate) fn transactional(&self, producer_id: i64, epoch: i16, sequence: i32) -> Vec<u8> {
        let mut bytes = self.bytes.clone();
        bytes[21..23].copy_from_slice(&TRANSACTIONAL.to_be_bytes());
        bytes[43..51].copy_from_slice(&producer_id.to_be_bytes());
        bytes[51..53].copy_from_slice(&epoch.to_be_bytes());
        bytes[53..57].copy_from_slice(&sequence.to_be_bytes());
        seal(&mut bytes);
        bytes
    }

    /// A copy whose last record's value begins with this number.
    pub(crate) fn stamped(&self, stamp: u64) -> Bytes {
        let mut bytes = self.bytes.clone();
        stamp_in(&mut bytes, self.stamp_at(), stamp);
        bytes.into()
    }
}

/// How many records a whole batch has; none where it is a transaction's marker.
pub(crate) fn records_in(batch: &[u8]) -> u64 {
    let attributes = i16::from_be_bytes([batch[21], batch[22]]);
    if attributes & CONTROL != 0 {
        return 0;
    }
    u64::try_from(count_in(batch)).unwrap_or(0)
}

fn count_in(batch: &[u8]) -> i32 {
    i32::from_be_bytes([batch[57], batch[58], batch[59], batch[60]])
}

/// Puts a number into a batch that lies in a larger buffer, and seals it again.
pub(crate) fn stamp_in(batch: &mut [u8], at: usize, stamp: u64) {
    batch[at..at + 8].copy_from_slice(&stamp.to_be_bytes());
    seal(batch);
}

fn seal(batch: &mut [u8]) {
    let crc = crc32c::crc32c(&batch[CRC_COVERS..]);
    batch[17..CRC_COVERS].copy_from_slice(&crc.to_be_bytes());
}

fn put_record(to: &mut Vec<u8>, offset_delta: usize, key: Option<&[u8]>, value: &[u8]) {
    let mut body = vec![0, 0]; // attributes, timestamp delta
    put_varint(&mut body, offset_delta);
    match key {
        None => body.push(1), // no key: -1
        Some(key) => {
            put_varint(&mut body, key.len());
            body.extend_from_slice(key);
        }
    }
    put_varint(&mut body, value.len());
    body.extend_from_slice(value);
    body.push(0); // no headers
    put_varint(to, body.len());
    to.extend(body);
}

/// A zigzag varint of a number that is not negative.
fn put_varint(to: &mut Vec<u8>, value: usize) {
    let mut rest = value << 1;
    while rest >= 0x80 {
        to.push((rest & 0x7f) as u8 | 0x80);
        rest >>= 7;
    }
    to.push(rest as u8);
}

/// What a batch's header says, as far as it is needed here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Head {
    /// Offset of its first record.
    pub(crate) base_offset: i64,
    /// Offset behind its last record.
    pub(crate) next_offset: i64,
    /// Its length with the header.
    pub(crate) len: usize,
}

impl Head {
    /// Reads a header; `None` when there is none, whole and with room for its batch's length.
    pub(crate) fn read(bytes: &[u8]) -> Option<Self> {
        let base_offset = i64::from_be_bytes(bytes.get(..8)?.try_into().ok()?);
        let len = usize::try_from(i32::from_be_bytes(bytes.get(8..12)?.try_into().ok()?)).ok()? + 12;
        let last_delta = i64::from(i32::from_be_bytes(bytes.get(23..27)?.try_into().ok()?));
        (len >= HEADER && last_delta >= 0).then_some(Self {
            base_offset,
            next_offset: base_offset + last_delta + 1,
            len,
        })
    }
}

/// Calls `each` with every whole batch.
pub(crate) fn each_batch(mut bytes: &[u8], mut each: impl FnMut(Head, &[u8])) {
    while let Some(head) = Head::read(bytes) {
        let Some((batch, rest)) = bytes.split_at_checked(head.len) else {
            return; // cut short by the fetch's limit
        };
        each(head, batch);
        bytes = rest;
    }
}

fn now_ms() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since
        .ok()
        .and_then(|it| i64::try_from(it.as_millis()).ok())
        .unwrap_or(0)
}

/// For lengths and counts that are this program's own, and small.
fn number(count: usize) -> i32 {
    i32::try_from(count).expect("batches are small")
}

/// xorshift: the same bytes in every run.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    /// Words of a vocabulary of a thousand, as in log lines.
    fn text(&mut self, len: usize) -> Vec<u8> {
        let mut text = Vec::with_capacity(len + 16);
        while text.len() < len {
            text.extend(format!("{:x} ", (self.next() % 1000) * 7919).into_bytes());
        }
        text.truncate(len);
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_says_its_length_its_count_and_its_checksum() {
        let batch = Batch::new(63, 1024);
        let bytes = batch.bytes();
        let head = Head::read(&bytes).unwrap();
        assert_eq!((head.base_offset, head.next_offset, head.len), (0, 63, bytes.len()));
        assert_eq!(
            u32::from_be_bytes(bytes[17..21].try_into().unwrap()),
            crc32c::crc32c(&bytes[21..])
        );
        assert_eq!(i32::from_be_bytes(bytes[57..61].try_into().unwrap()), 63);
    }

    #[test]
    fn a_stamp_is_the_start_of_the_last_value_and_under_the_checksum() {
        let batch = Batch::new(1, 100);
        let bytes = batch.stamped(77);
        let at = batch.stamp_at();
        // Behind attributes, deltas, the missing key and the value's length of two bytes; one byte of headers at the end.
        assert_eq!(at, HEADER + 2 + 1 + 1 + 1 + 1 + 2);
        assert_eq!(u64::from_be_bytes(bytes[at..at + 8].try_into().unwrap()), 77);
        assert_eq!(
            u32::from_be_bytes(bytes[17..21].try_into().unwrap()),
            crc32c::crc32c(&bytes[21..])
        );
    }

    #[test]
    fn a_batch_of_a_transaction_says_whose_it_is() {
        let bytes = Batch::new(17, 1024).transactional(0x0102_0304, 5, 34);
        assert_eq!(bytes[21..23], [0, 0x10]);
        assert_eq!(bytes[43..51], [0, 0, 0, 0, 1, 2, 3, 4]);
        assert_eq!(bytes[51..57], [0, 5, 0, 0, 0, 34]);
        assert_eq!(
            u32::from_be_bytes(bytes[17..21].try_into().unwrap()),
            crc32c::crc32c(&bytes[21..])
        );
        assert_eq!(records_in(&bytes), 17);
        let mut marker = bytes;
        marker[22] |= 0x20;
        assert_eq!(records_in(&marker), 0);
    }

    #[test]
    fn the_walk_ends_before_a_batch_that_is_cut_short() {
        let one = Batch::new(2, 10).bytes();
        let mut bytes = one.to_vec();
        bytes.extend_from_slice(&one);
        bytes.extend_from_slice(&one[..one.len() - 1]);
        let mut seen = 0;
        each_batch(&bytes, |head, batch| {
            seen += 1;
            assert_eq!(head.len, batch.len());
        });
        assert_eq!(seen, 2);
        each_batch(&[0; 80], |_, _| panic!("no batch is that short"));
    }
}
