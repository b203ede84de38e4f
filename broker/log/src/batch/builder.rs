//! Writes batches of format 2.

use bytes::Bytes;
use model::{LeaderEpoch, Millis, Offset, ProducerEpoch, ProducerId, Sequence};

use super::varint;
use super::{BatchHeader, EndTransactionMarker, HEADER_LEN, TimestampType};
use crate::compress::{self, CompressError, Compression};

/// Collects records into one batch.
///
/// Uncompressed, without a producer and with the producer's timestamps unless told otherwise. The base offset stays 0
/// for the append to assign. The base timestamp is the first record's. Source: Kafka 3.9 `MemoryRecordsBuilder`.
///
/// ```
/// # use broker_log::batch::BatchBuilder;
/// # use model::Millis;
/// let mut builder = BatchBuilder::new();
/// builder.push(Millis(1), Some(b"key"), Some(b"value"));
/// let bytes = builder.build();
/// # assert_eq!(broker_log::batch::Batch::new(&bytes).map(|batch| batch.record_count()), Some(1));
/// ```
#[derive(Clone, Debug)]
pub struct BatchBuilder {
    header: BatchHeader,
    /// The header's room, then the records.
    buffer: Vec<u8>,
    /// The record being written: its length comes first.
    record: Vec<u8>,
    count: i32,
    last_delta: i32,
    max_timestamp: Millis,
    log_append_time: Option<Millis>,
}

impl Default for BatchBuilder {
    fn default() -> Self {
        Self::new()
    }
}

impl BatchBuilder {
    /// An empty batch.
    pub fn new() -> Self {
        Self {
            header: BatchHeader::empty(),
            buffer: vec![0; HEADER_LEN],
            record: Vec::new(),
            count: 0,
            last_delta: -1,
            max_timestamp: Millis::NONE,
            log_append_time: None,
        }
    }

    /// The marker that ends a producer's transaction in a partition: a transactional control batch of one record.
    ///
    /// Source: Kafka 3.9 `MemoryRecords.withEndTransactionMarker`.
    pub fn end_transaction(
        producer_id: ProducerId,
        producer_epoch: ProducerEpoch,
        timestamp: Millis,
        marker: EndTransactionMarker,
    ) -> Bytes {
        let mut builder = Self::new()
            .producer(producer_id, producer_epoch, Sequence::NONE)
            .transactional(true)
            .control(true);
        builder.push(timestamp, Some(&marker.key()), Some(&marker.value()));
        builder.build()
    }

    /// The offset of the first record.
    #[must_use]
    pub fn base_offset(mut self, offset: Offset) -> Self {
        self.header.set_base_offset(offset);
        self
    }

    /// The leader epoch to stamp.
    #[must_use]
    pub fn leader_epoch(mut self, epoch: LeaderEpoch) -> Self {
        self.header.set_leader_epoch(epoch);
        self
    }

    /// The idempotent producer and the sequence of the first record.
    #[must_use]
    pub fn producer(mut self, id: ProducerId, epoch: ProducerEpoch, base_sequence: Sequence) -> Self {
        self.header.set_producer(id, epoch, base_sequence);
        self
    }

    /// Whether the records belong to a transaction.
    #[must_use]
    pub fn transactional(mut self, transactional: bool) -> Self {
        let control = self.header.is_control();
        self.header.set_flags(transactional, control);
        self
    }

    /// Whether this is a control batch.
    #[must_use]
    pub fn control(mut self, control: bool) -> Self {
        let transactional = self.header.is_transactional();
        self.header.set_flags(transactional, control);
        self
    }

    /// Marks the batch with the time of its append, which then stands for every record.
    #[must_use]
    pub fn log_append_time(mut self, now: Millis) -> Self {
        self.log_append_time = Some(now);
        self.header.set_timestamp_type(TimestampType::LogAppendTime);
        self
    }

    /// Records so far.
    pub fn len(&self) -> usize {
        self.count as usize
    }

    /// Whether there is no record yet.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Bytes of the batch so far, uncompressed, header included.
    pub fn size(&self) -> usize {
        self.buffer.len()
    }

    /// Adds a record without headers at the next offset.
    pub fn push(&mut self, timestamp: Millis, key: Option<&[u8]>, value: Option<&[u8]>) {
        self.push_with_headers(timestamp, key, value, &[]);
    }

    /// Adds a record at the next offset.
    pub fn push_with_headers(
        &mut self,
        timestamp: Millis,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: &[(&[u8], Option<&[u8]>)],
    ) {
        self.push_at(self.last_delta + 1, timestamp, key, value, headers);
    }

    /// Adds a record at `offset_delta` after the base offset: compaction leaves gaps.
    pub fn push_at(
        &mut self,
        offset_delta: i32,
        timestamp: Millis,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: &[(&[u8], Option<&[u8]>)],
    ) {
        if self.count == 0 {
            self.header.set_base_timestamp(timestamp);
        }
        self.record.clear();
        self.record.push(0);
        varint::write(
            &mut self.record,
            timestamp.0.wrapping_sub(self.header.base_timestamp().0),
        );
        varint::write(&mut self.record, i64::from(offset_delta));
        write_bytes(&mut self.record, key);
        write_bytes(&mut self.record, value);
        varint::write(&mut self.record, headers.len() as i64);
        for (key, value) in headers {
            write_bytes(&mut self.record, Some(key));
            write_bytes(&mut self.record, *value);
        }
        varint::write(&mut self.buffer, self.record.len() as i64);
        self.buffer.extend_from_slice(&self.record);
        self.count += 1;
        self.last_delta = self.last_delta.max(offset_delta);
        self.max_timestamp = self.max_timestamp.max(timestamp);
    }

    /// The finished batch, uncompressed.
    pub fn build(self) -> Bytes {
        let Self { buffer, .. } = self.finish_header();
        seal(buffer)
    }

    /// The finished batch, compressed.
    ///
    /// # Errors
    /// What the codec refuses, such as a level that it does not have.
    pub fn build_compressed(self, compression: Compression) -> Result<Bytes, CompressError> {
        let mut this = self.finish_header();
        let mut header = BatchHeader::read(&this.buffer).unwrap_or(this.header);
        header.set_compression(compression.kind());
        let mut out = header.as_bytes().to_vec();
        compress::compress(compression, &this.buffer[HEADER_LEN..], &mut out)?;
        this.buffer.clear();
        Ok(seal(out))
    }

    /// Writes all of the header but length and checksum into its room.
    fn finish_header(mut self) -> Self {
        self.header.set_last_offset_delta(self.last_delta.max(0));
        self.header.set_record_count(self.count);
        self.header
            .set_max_timestamp(self.log_append_time.unwrap_or(self.max_timestamp));
        self.buffer[..HEADER_LEN].copy_from_slice(self.header.as_bytes());
        self
    }
}

/// Fills in length and checksum of the batch that `bytes` hold.
fn seal(mut bytes: Vec<u8>) -> Bytes {
    if let Some(mut header) = BatchHeader::read(&bytes) {
        header.set_size(bytes.len());
        header.set_crc(header.compute_crc(&bytes[HEADER_LEN..]));
        bytes[..HEADER_LEN].copy_from_slice(header.as_bytes());
    }
    Bytes::from(bytes)
}

fn write_bytes(out: &mut Vec<u8>, bytes: Option<&[u8]>) {
    match bytes {
        None => varint::write(out, -1),
        Some(bytes) => {
            varint::write(out, bytes.len() as i64);
            out.extend_from_slice(bytes);
        }
    }
}
