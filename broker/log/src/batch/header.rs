//! The 61 bytes that open a batch of format 2.

use core::fmt;

use model::{LeaderEpoch, Millis, Offset, ProducerEpoch, ProducerId, Sequence};

use super::{LOG_OVERHEAD, crc};
use crate::compress::CompressionType;

/// Length of the header of a format 2 batch. Source: Kafka `DefaultRecordBatch.RECORD_BATCH_OVERHEAD`.
pub const HEADER_LEN: usize = 61;

/// What a batch's timestamps mean. Source: Kafka `TimestampType`; `message.timestamp.type`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum TimestampType {
    /// The producer's clock, one for each record.
    #[default]
    CreateTime,
    /// The leader's clock at the append; the batch's maximum timestamp stands for every record.
    LogAppendTime,
}

/// The header of a format 2 batch, as its bytes.
///
/// ```text
///  0        8        12             16      17        21           23                27               35
///  | base   | length | partition    | magic | CRC-32C | attributes | last offset     | base timestamp |
///  | offset | i32    | leader epoch | i8    | u32     | i16        | delta i32       | i64            |
///  | i64    |        | i32          |       |         |            |                 |                |
///  35              43            51               53               57             61
///  | max timestamp | producer id | producer epoch | base sequence  | record count  | records …
///  | i64           | i64         | i16            | i32            | i32           |
/// ```
/// All big-endian. `length` counts what follows it. The checksum covers everything from `attributes` on, so base
/// offset and leader epoch can be patched without touching it. Attributes: bits 0–2 compression, 3 timestamp type,
/// 4 transactional, 5 control batch, 6 base timestamp is the delete horizon; the high byte is unused.
///
/// Any 61 bytes are a header: whether they make sense is for the readers of the fields to say.
///
/// Source: Kafka 3.9 `DefaultRecordBatch`.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct BatchHeader([u8; HEADER_LEN]);

const LENGTH: usize = 8;
const LEADER_EPOCH: usize = 12;
const MAGIC: usize = 16;
const CRC: usize = 17;
pub(crate) const ATTRIBUTES: usize = 21;
const LAST_OFFSET_DELTA: usize = 23;
const BASE_TIMESTAMP: usize = 27;
const MAX_TIMESTAMP: usize = 35;
const PRODUCER_ID: usize = 43;
const PRODUCER_EPOCH: usize = 51;
const BASE_SEQUENCE: usize = 53;
const RECORD_COUNT: usize = 57;

const COMPRESSION_MASK: i16 = 0x07;
const TIMESTAMP_TYPE_MASK: i16 = 0x08;
const TRANSACTIONAL_MASK: i16 = 0x10;
const CONTROL_MASK: i16 = 0x20;
const DELETE_HORIZON_MASK: i16 = 0x40;

impl BatchHeader {
    /// A header of format 2 with nothing in it: no producer, no leader epoch, no timestamps, no records.
    pub const fn empty() -> Self {
        let mut bytes = [0; HEADER_LEN];
        bytes[MAGIC] = 2;
        Self(bytes)
            .with_i32(LEADER_EPOCH, -1)
            .with_i64(BASE_TIMESTAMP, -1)
            .with_i64(MAX_TIMESTAMP, -1)
            .with_i64(PRODUCER_ID, -1)
            .with_i16(PRODUCER_EPOCH, -1)
            .with_i32(BASE_SEQUENCE, -1)
    }

    /// The header made of these bytes.
    pub const fn from_bytes(bytes: [u8; HEADER_LEN]) -> Self {
        Self(bytes)
    }

    /// The header at the start of `bytes`; `None` if they are fewer than 61.
    pub fn read(bytes: &[u8]) -> Option<Self> {
        bytes.first_chunk().copied().map(Self)
    }

    /// The bytes.
    pub const fn as_bytes(&self) -> &[u8; HEADER_LEN] {
        &self.0
    }

    /// The bytes which the checksum covers.
    pub(crate) fn checksummed(&self) -> &[u8] {
        &self.0[ATTRIBUTES..]
    }

    /// Offset of the first record; what a producer sends is 0, the leader assigns.
    pub fn base_offset(&self) -> Offset {
        Offset(self.i64_at(0))
    }

    /// Offset of the last record that the batch had when it was written (compaction keeps it).
    ///
    /// Wraps instead of panicking for hostile deltas.
    pub fn last_offset(&self) -> Offset {
        Offset(self.i64_at(0).wrapping_add(i64::from(self.last_offset_delta())))
    }

    /// The length field: bytes after it.
    pub fn length(&self) -> i32 {
        self.i32_at(LENGTH)
    }

    /// Bytes of the whole batch by its length field; `None` if that is negative.
    pub fn size(&self) -> Option<usize> {
        usize::try_from(self.length()).ok().map(|length| length + LOG_OVERHEAD)
    }

    /// Epoch of the leader that assigned the offsets.
    pub fn leader_epoch(&self) -> LeaderEpoch {
        LeaderEpoch(self.i32_at(LEADER_EPOCH))
    }

    /// The format, 2.
    pub const fn magic(&self) -> i8 {
        self.0[MAGIC] as i8
    }

    /// The stored CRC-32C.
    pub fn crc(&self) -> u32 {
        self.i32_at(CRC) as u32
    }

    /// The raw attribute bits. Kafka reads the low byte only.
    pub fn attributes(&self) -> i16 {
        self.i16_at(ATTRIBUTES) & 0xff
    }

    /// How the records are compressed; `None` for the undefined codecs 5 to 7.
    pub fn compression(&self) -> Option<CompressionType> {
        CompressionType::from_id((self.attributes() & COMPRESSION_MASK) as u8)
    }

    /// The codec bits, defined or not.
    pub fn compression_id(&self) -> u8 {
        (self.attributes() & COMPRESSION_MASK) as u8
    }

    /// What the timestamps mean.
    pub fn timestamp_type(&self) -> TimestampType {
        if self.attributes() & TIMESTAMP_TYPE_MASK == 0 {
            TimestampType::CreateTime
        } else {
            TimestampType::LogAppendTime
        }
    }

    /// Whether the records belong to a transaction.
    pub fn is_transactional(&self) -> bool {
        self.attributes() & TRANSACTIONAL_MASK != 0
    }

    /// Whether this is a control batch: markers for brokers and clients, not for applications.
    pub fn is_control(&self) -> bool {
        self.attributes() & CONTROL_MASK != 0
    }

    /// When tombstones and markers of this batch may go, once the cleaner has set it.
    pub fn delete_horizon(&self) -> Option<Millis> {
        (self.attributes() & DELETE_HORIZON_MASK != 0).then(|| self.base_timestamp())
    }

    /// Last offset minus base offset.
    pub fn last_offset_delta(&self) -> i32 {
        self.i32_at(LAST_OFFSET_DELTA)
    }

    /// What the records' timestamp deltas are added to.
    pub fn base_timestamp(&self) -> Millis {
        Millis(self.i64_at(BASE_TIMESTAMP))
    }

    /// The largest timestamp of the records, or the append time.
    pub fn max_timestamp(&self) -> Millis {
        Millis(self.i64_at(MAX_TIMESTAMP))
    }

    /// The idempotent producer, or −1.
    pub fn producer_id(&self) -> ProducerId {
        ProducerId(self.i64_at(PRODUCER_ID))
    }

    /// Whether an idempotent producer sent it. Source: Kafka `AbstractRecordBatch.hasProducerId`.
    pub fn has_producer_id(&self) -> bool {
        self.producer_id() > ProducerId::NONE
    }

    /// The producer's epoch, or −1.
    pub fn producer_epoch(&self) -> ProducerEpoch {
        ProducerEpoch(self.i16_at(PRODUCER_EPOCH))
    }

    /// Sequence number of the first record, or −1.
    pub fn base_sequence(&self) -> Sequence {
        Sequence(self.i32_at(BASE_SEQUENCE))
    }

    /// Sequence number of the last record, or −1.
    pub fn last_sequence(&self) -> Sequence {
        match self.base_sequence() {
            Sequence(base) if base < 0 => Sequence::NONE,
            base => base.plus(self.last_offset_delta().max(0)),
        }
    }

    /// How many records follow; fewer than the offsets span once compaction has been there.
    pub fn record_count(&self) -> i32 {
        self.i32_at(RECORD_COUNT)
    }

    /// Sets the base offset. Outside the checksum.
    pub fn set_base_offset(&mut self, offset: Offset) {
        *self = self.with_i64(0, offset.0);
    }

    /// Sets the leader epoch. Outside the checksum.
    pub fn set_leader_epoch(&mut self, epoch: LeaderEpoch) {
        *self = self.with_i32(LEADER_EPOCH, epoch.0);
    }

    /// Sets the length field from the size of the whole batch. Outside the checksum.
    pub(crate) fn set_size(&mut self, size: usize) {
        // A batch larger than the field can say is refused by `max.message.bytes` before it gets here.
        let length = i32::try_from(size.saturating_sub(LOG_OVERHEAD)).unwrap_or(i32::MAX);
        *self = self.with_i32(LENGTH, length);
    }

    pub(crate) fn set_crc(&mut self, crc: u32) {
        *self = self.with_i32(CRC, crc as i32);
    }

    pub(crate) fn set_attributes(&mut self, attributes: i16) {
        *self = self.with_i16(ATTRIBUTES, attributes);
    }

    pub(crate) fn set_compression(&mut self, compression: CompressionType) {
        let kept = self.attributes() & !COMPRESSION_MASK;
        self.set_attributes(kept | i16::from(compression.id()));
    }

    pub(crate) fn set_timestamp_type(&mut self, timestamp_type: TimestampType) {
        let kept = self.attributes() & !TIMESTAMP_TYPE_MASK;
        self.set_attributes(match timestamp_type {
            TimestampType::CreateTime => kept,
            TimestampType::LogAppendTime => kept | TIMESTAMP_TYPE_MASK,
        });
    }

    pub(crate) fn set_flags(&mut self, transactional: bool, control: bool) {
        let mut attributes = self.attributes() & !(TRANSACTIONAL_MASK | CONTROL_MASK);
        if transactional {
            attributes |= TRANSACTIONAL_MASK;
        }
        if control {
            attributes |= CONTROL_MASK;
        }
        self.set_attributes(attributes);
    }

    pub(crate) fn set_last_offset_delta(&mut self, delta: i32) {
        *self = self.with_i32(LAST_OFFSET_DELTA, delta);
    }

    pub(crate) fn set_base_timestamp(&mut self, timestamp: Millis) {
        *self = self.with_i64(BASE_TIMESTAMP, timestamp.0);
    }

    /// From here on tombstones and markers of the batch may go: the base timestamp says so, and the attributes that it
    /// does. The caller writes the records' deltas anew. Source: KIP-534.
    pub(crate) fn set_delete_horizon(&mut self, horizon: Millis) {
        self.set_attributes(self.attributes() | DELETE_HORIZON_MASK);
        self.set_base_timestamp(horizon);
    }

    pub(crate) fn set_max_timestamp(&mut self, timestamp: Millis) {
        *self = self.with_i64(MAX_TIMESTAMP, timestamp.0);
    }

    pub(crate) fn set_producer(&mut self, id: ProducerId, epoch: ProducerEpoch, base_sequence: Sequence) {
        *self = self
            .with_i64(PRODUCER_ID, id.0)
            .with_i16(PRODUCER_EPOCH, epoch.0)
            .with_i32(BASE_SEQUENCE, base_sequence.0);
    }

    pub(crate) fn set_record_count(&mut self, count: i32) {
        *self = self.with_i32(RECORD_COUNT, count);
    }

    /// The CRC-32C over the header's part and `body`, the bytes after the header.
    pub fn compute_crc(&self, body: &[u8]) -> u32 {
        crc32c::crc32c_append(crc32c::crc32c(self.checksummed()), body)
    }

    /// The CRC-32C over the header's part and `body`, where `before` is the header that `body` had a correct one with.
    ///
    /// For a large body, without reading it again: checksums are linear, so the difference that the header makes, moved
    /// along the length of the body, is the difference of the outcome.
    pub(crate) fn recompute_crc(&self, before: &Self, body: &[u8]) -> u32 {
        /// From here on, moving the difference is cheaper than reading the body, by measurement.
        const LARGE: usize = 16 * 1024;
        if body.len() < LARGE {
            return self.compute_crc(body);
        }
        let difference = crc32c::crc32c(before.checksummed()) ^ crc32c::crc32c(self.checksummed());
        before.crc() ^ crc::moved(difference, body.len())
    }

    fn i16_at(&self, at: usize) -> i16 {
        i16::from_be_bytes([self.0[at], self.0[at + 1]])
    }

    fn i32_at(&self, at: usize) -> i32 {
        i32::from_be_bytes([self.0[at], self.0[at + 1], self.0[at + 2], self.0[at + 3]])
    }

    fn i64_at(&self, at: usize) -> i64 {
        (i64::from(self.i32_at(at)) << 32) | i64::from(self.i32_at(at + 4) as u32)
    }

    const fn with_i16(mut self, at: usize, value: i16) -> Self {
        let bytes = value.to_be_bytes();
        self.0[at] = bytes[0];
        self.0[at + 1] = bytes[1];
        self
    }

    const fn with_i32(self, at: usize, value: i32) -> Self {
        self.with_i16(at, (value >> 16) as i16).with_i16(at + 2, value as i16)
    }

    const fn with_i64(self, at: usize, value: i64) -> Self {
        self.with_i32(at, (value >> 32) as i32).with_i32(at + 4, value as i32)
    }
}

impl fmt::Debug for BatchHeader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BatchHeader")
            .field("base_offset", &self.base_offset())
            .field("length", &self.length())
            .field("leader_epoch", &self.leader_epoch())
            .field("magic", &self.magic())
            .field("crc", &self.crc())
            .field("attributes", &self.attributes())
            .field("last_offset_delta", &self.last_offset_delta())
            .field("base_timestamp", &self.base_timestamp())
            .field("max_timestamp", &self.max_timestamp())
            .field("producer_id", &self.producer_id())
            .field("producer_epoch", &self.producer_epoch())
            .field("base_sequence", &self.base_sequence())
            .field("record_count", &self.record_count())
            .finish()
    }
}
