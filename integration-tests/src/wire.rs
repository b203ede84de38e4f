//! A client that can misbehave: frames by hand, over a plain socket.
//!
//! Only what stock clients cannot be made to do, or to tell: which record got which answer while the broker dies under
//! it, batches with wrong numbers in them, half frames. Not a client library; versions without flexible fields only.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use std::io::{Error, ErrorKind, Read, Result, Write};
use std::net::TcpStream;
use std::time::Duration;

const PRODUCE: i16 = 0;
const FETCH: i16 = 1;
const METADATA: i16 = 3;
const CREATE_TOPICS: i16 = 19;
const DELETE_TOPICS: i16 = 20;
const INIT_PRODUCER_ID: i16 = 22;
const ELECT_LEADERS: i16 = 43;

/// A connection on which requests are written and answers are read, one after the other.
pub struct Connection {
    stream: TcpStream,
    correlation: i32,
}

/// An answer's body behind its correlation id.
pub type Answer = Bytes;

/// The broker's answer to one produced batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProduceAnswer {
    /// Kafka's error code, 0 for none.
    pub error: i16,
    /// Offset of the first record, -1 with an error.
    pub base_offset: i64,
}

impl Connection {
    /// Connects, with a deadline of ten seconds for each read and write.
    ///
    /// # Errors
    /// Fails when nobody listens.
    pub fn open(port: u16) -> Result<Self> {
        Self::open_within(port, Duration::from_secs(10))
    }

    /// Connects, with this deadline for each read and write.
    ///
    /// # Errors
    /// Fails when nobody listens.
    pub fn open_within(port: u16, deadline: Duration) -> Result<Self> {
        let stream = TcpStream::connect(("127.0.0.1", port))?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(deadline))?;
        stream.set_write_timeout(Some(deadline))?;
        Ok(Self { stream, correlation: 0 })
    }

    /// Writes bytes as they are.
    ///
    /// # Errors
    /// Fails when the broker has closed the connection or does not read for ten seconds.
    pub fn write_raw(&mut self, bytes: &[u8]) -> Result<()> {
        self.stream.write_all(bytes)
    }

    /// A whole frame of a request, size and header (version 1) included.
    pub fn frame(api_key: i16, api_version: i16, correlation: i32, body: &[u8]) -> Bytes {
        let mut frame = BytesMut::with_capacity(body.len() + 32);
        frame.put_i32(0);
        frame.put_i16(api_key);
        frame.put_i16(api_version);
        frame.put_i32(correlation);
        put_string(&mut frame, "outside");
        frame.put_slice(body);
        let size = i32::try_from(frame.len() - 4).expect("a test's frame is small");
        frame[..4].copy_from_slice(&size.to_be_bytes());
        frame.freeze()
    }

    /// Sends a request and returns its correlation id.
    ///
    /// # Errors
    /// As [`Connection::write_raw`].
    pub fn send(&mut self, api_key: i16, api_version: i16, body: &[u8]) -> Result<i32> {
        self.correlation += 1;
        let frame = Self::frame(api_key, api_version, self.correlation, body);
        self.write_raw(&frame)?;
        Ok(self.correlation)
    }

    /// Reads the next answer: its correlation id and body.
    ///
    /// # Errors
    /// `UnexpectedEof` when the broker has closed the connection, `WouldBlock` when it says nothing for ten seconds.
    pub fn receive(&mut self) -> Result<(i32, Answer)> {
        let mut size = [0; 4];
        self.stream.read_exact(&mut size)?;
        let size = usize::try_from(i32::from_be_bytes(size)).map_err(|_| malformed("negative size"))?;
        let mut body = BytesMut::zeroed(size);
        self.stream.read_exact(&mut body)?;
        let mut body = body.freeze();
        if body.remaining() < 4 {
            return Err(malformed("an answer without correlation id"));
        }
        Ok((body.get_i32(), body))
    }

    /// Whether the broker closes the connection within the read deadline without saying anything more.
    pub fn is_closed_by_broker(&mut self) -> bool {
        match self.stream.read(&mut [0; 1]) {
            Ok(read) => read == 0,
            Err(e) => matches!(
                e.kind(),
                ErrorKind::ConnectionReset | ErrorKind::BrokenPipe | ErrorKind::ConnectionAborted
            ),
        }
    }

    /// Asks for the metadata of all topics (version 1) and returns how many brokers it shows.
    ///
    /// # Errors
    /// As for [`Connection::receive`].
    pub fn metadata(&mut self) -> Result<i32> {
        let correlation = self.send(METADATA, 1, &(-1i32).to_be_bytes())?;
        let (answered, mut body) = self.receive()?;
        if answered != correlation || body.remaining() < 4 {
            return Err(malformed("not an answer to what was asked"));
        }
        Ok(body.get_i32())
    }

    /// Asks for a producer id (version 0) as an idempotent producer without transactions does; gives id and epoch.
    ///
    /// # Errors
    /// As for [`Connection::receive`], and `Other` with the broker's error code.
    pub fn init_producer_id(&mut self) -> Result<(i64, i16)> {
        let mut body = BytesMut::new();
        body.put_i16(-1);
        body.put_i32(60_000);
        self.send(INIT_PRODUCER_ID, 0, &body)?;
        let (_, mut answer) = self.receive()?;
        if answer.remaining() < 4 + 2 + 8 + 2 {
            return Err(malformed("a short InitProducerId answer"));
        }
        answer.advance(4);
        match answer.get_i16() {
            0 => Ok((answer.get_i64(), answer.get_i16())),
            error => Err(Error::other(format!("InitProducerId: error {error}"))),
        }
    }

    /// Asks the controller to let the preferred replica of every partition lead (ElectLeaders version 1); gives the error code
    /// for the whole.
    ///
    /// # Errors
    /// As for [`Connection::receive`].
    pub fn elect_preferred_leaders(&mut self) -> Result<i16> {
        let mut body = BytesMut::new();
        body.put_i8(0);
        body.put_i32(-1); // all partitions
        body.put_i32(30_000);
        self.send(ELECT_LEADERS, 1, &body)?;
        let (_, mut answer) = self.receive()?;
        if answer.remaining() < 4 + 2 {
            return Err(malformed("a short ElectLeaders answer"));
        }
        answer.advance(4);
        Ok(answer.get_i16())
    }

    /// Creates a topic (version 2) with so many replicas and these configs, and waits for the controller; gives the
    /// error code.
    ///
    /// # Errors
    /// As for [`Connection::receive`].
    pub fn create_topic(
        &mut self,
        topic: &str,
        partitions: i32,
        replicas: i16,
        configs: &[(&str, &str)],
    ) -> Result<i16> {
        let mut body = BytesMut::new();
        body.put_i32(1);
        put_string(&mut body, topic);
        body.put_i32(partitions);
        body.put_i16(replicas);
        body.put_i32(0);
        body.put_i32(i32::try_from(configs.len()).expect("few"));
        for (key, value) in configs {
            put_string(&mut body, key);
            put_string(&mut body, value);
        }
        body.put_i32(30_000);
        body.put_u8(0);
        self.send(CREATE_TOPICS, 2, &body)?;
        let (_, mut answer) = self.receive()?;
        if answer.remaining() < 4 + 4 + 2 + topic.len() + 2 {
            return Err(malformed("a short CreateTopics answer"));
        }
        answer.advance(4 + 4 + 2 + topic.len());
        Ok(answer.get_i16())
    }

    /// Deletes a topic (version 1) and waits for the controller; gives the error code.
    ///
    /// # Errors
    /// As for [`Connection::receive`].
    pub fn delete_topic(&mut self, topic: &str) -> Result<i16> {
        let mut body = BytesMut::new();
        body.put_i32(1);
        put_string(&mut body, topic);
        body.put_i32(30_000);
        self.send(DELETE_TOPICS, 1, &body)?;
        let (_, mut answer) = self.receive()?;
        if answer.remaining() < 4 + 4 + 2 + topic.len() + 2 {
            return Err(malformed("a short DeleteTopics answer"));
        }
        answer.advance(4 + 4 + 2 + topic.len());
        Ok(answer.get_i16())
    }

    /// Sends one batch to one partition (Produce version 7) without waiting for its answer.
    ///
    /// # Errors
    /// As for [`Connection::write_raw`].
    pub fn send_produce(&mut self, topic: &str, partition: i32, acks: i16, records: &[u8]) -> Result<i32> {
        self.send(PRODUCE, 7, &produce_body(topic, partition, acks, records))
    }

    /// Reads the answer to a produce request of [`Connection::send_produce`].
    ///
    /// # Errors
    /// As for [`Connection::receive`].
    pub fn receive_produce(&mut self) -> Result<(i32, ProduceAnswer)> {
        let (correlation, mut body) = self.receive()?;
        // topics, name, partitions, index
        if body.remaining() < 6 {
            return Err(malformed("a short Produce answer"));
        }
        body.advance(4);
        let name = usize::try_from(body.get_i16()).map_err(|_| malformed("a topic without name"))?;
        if body.remaining() < name + 4 + 4 + 2 + 8 {
            return Err(malformed("a short Produce answer"));
        }
        body.advance(name + 8);
        Ok((
            correlation,
            ProduceAnswer {
                error: body.get_i16(),
                base_offset: body.get_i64(),
            },
        ))
    }

    /// Sends one batch with acks=all and waits for its answer.
    ///
    /// # Errors
    /// As for [`Connection::receive`].
    pub fn produce(&mut self, topic: &str, partition: i32, records: &[u8]) -> Result<ProduceAnswer> {
        let sent = self.send_produce(topic, partition, -1, records)?;
        let (answered, answer) = self.receive_produce()?;
        if answered == sent {
            Ok(answer)
        } else {
            Err(malformed("another correlation id"))
        }
    }
}

impl Connection {
    /// Reads a partition from `offset` (Fetch version 11, without session) as a consumer in `rack` does that knows of this
    /// leader epoch (-1: of none).
    ///
    /// # Errors
    /// As for [`Connection::receive`].
    pub fn fetch(
        &mut self,
        topic: &str,
        partition: i32,
        leader_epoch: i32,
        offset: i64,
        rack: &str,
    ) -> Result<FetchAnswer> {
        let mut body = BytesMut::new();
        body.put_i32(-1); // no replica
        body.put_i32(500); // longest wait
        body.put_i32(1); // fewest bytes
        body.put_i32(1 << 20);
        body.put_i8(0); // read uncommitted
        body.put_i32(0); // session
        body.put_i32(-1); // and none wanted
        body.put_i32(1);
        put_string(&mut body, topic);
        body.put_i32(1);
        body.put_i32(partition);
        body.put_i32(leader_epoch);
        body.put_i64(offset);
        body.put_i64(-1); // log start offset
        body.put_i32(1 << 20);
        body.put_i32(0); // forgotten topics
        put_string(&mut body, rack);
        self.send(FETCH, 11, &body)?;
        let (_, mut answer) = self.receive()?;
        // throttle, error, session, topics, name, partitions, index
        let before = 4 + 2 + 4 + 4 + 2 + topic.len() + 4 + 4;
        if answer.remaining() < before + 2 + 8 * 3 + 4 {
            return Err(malformed("a short Fetch answer"));
        }
        answer.advance(before);
        let (error, high_watermark) = (answer.get_i16(), answer.get_i64());
        answer.advance(16); // last stable offset, log start offset
        let aborted = usize::try_from(answer.get_i32()).unwrap_or(0);
        if answer.remaining() < aborted * 16 + 8 {
            return Err(malformed("a short Fetch answer"));
        }
        answer.advance(aborted * 16);
        Ok(FetchAnswer {
            error,
            high_watermark,
            preferred_read_replica: answer.get_i32(),
            bytes: usize::try_from(answer.get_i32()).unwrap_or(0),
        })
    }
}

/// The broker's answer to one fetched partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FetchAnswer {
    /// Kafka's error code, 0 for none.
    pub error: i16,
    /// As the broker knows it.
    pub high_watermark: i64,
    /// Whom to ask instead (KIP-392), -1 for nobody.
    pub preferred_read_replica: i32,
    /// Size of the records.
    pub bytes: usize,
}

/// The body of a Produce request, version 3 to 8.
fn produce_body(topic: &str, partition: i32, acks: i16, records: &[u8]) -> Bytes {
    produce_body_as(None, topic, partition, acks, records)
}

/// The same of a transactional producer.
pub(crate) fn produce_body_as(
    transactional_id: Option<&str>,
    topic: &str,
    partition: i32,
    acks: i16,
    records: &[u8],
) -> Bytes {
    let mut body = BytesMut::with_capacity(records.len() + 64);
    match transactional_id {
        Some(id) => put_string(&mut body, id),
        None => body.put_i16(-1),
    }
    body.put_i16(acks);
    body.put_i32(30_000);
    body.put_i32(1);
    put_string(&mut body, topic);
    body.put_i32(1);
    body.put_i32(partition);
    body.put_i32(i32::try_from(records.len()).expect("a test's batch is small"));
    body.put_slice(records);
    body.freeze()
}

pub(crate) fn put_string(to: &mut BytesMut, text: &str) {
    to.put_i16(i16::try_from(text.len()).expect("a test's names are short"));
    to.put_slice(text.as_bytes());
}

pub(crate) fn malformed(what: &str) -> Error {
    Error::new(ErrorKind::InvalidData, what.to_owned())
}

/// One record of a [`Batch`].
pub struct BatchRecord {
    /// Its key, if any.
    pub key: Option<Vec<u8>>,
    /// Its value.
    pub value: Vec<u8>,
}

/// A record batch of magic 2, each number of which can be made wrong before it is encoded.
pub struct Batch {
    /// Lowest three bits: compression codec.
    pub attributes: i16,
    /// Offset of the last record minus that of the first.
    pub last_offset_delta: i32,
    /// How many records it claims to have.
    pub record_count: i32,
    /// The records as they are, compressed if the attributes say so.
    pub records: Vec<u8>,
    /// Added to the right CRC.
    pub crc_error: u32,
    /// The magic byte.
    pub magic: i8,
    /// Id and epoch of an idempotent producer, and the sequence number of the first record.
    pub producer: Option<(i64, i16, i32)>,
    /// How old its records claim to be.
    pub age: Duration,
}

impl Batch {
    /// A right batch of uncompressed records.
    pub fn of(records: impl IntoIterator<Item = BatchRecord>) -> Self {
        let mut bytes = Vec::new();
        let mut count = 0;
        for record in records {
            put_record(&mut bytes, count, &record);
            count += 1;
        }
        Self {
            attributes: 0,
            last_offset_delta: i32::try_from(count).expect("few records") - 1,
            record_count: i32::try_from(count).expect("few records"),
            records: bytes,
            crc_error: 0,
            magic: 2,
            producer: None,
            age: Duration::ZERO,
        }
    }

    /// A right batch of values without keys.
    pub fn of_values<V: Into<Vec<u8>>>(values: impl IntoIterator<Item = V>) -> Self {
        Self::of(values.into_iter().map(|v| BatchRecord {
            key: None,
            value: v.into(),
        }))
    }

    /// Its bytes.
    pub fn encode(&self) -> Bytes {
        let now = std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .expect("it is after 1970")
            .saturating_sub(self.age);
        let now = i64::try_from(now.as_millis()).expect("it is not too far after 1970");
        let mut rest = BytesMut::with_capacity(self.records.len() + 40);
        rest.put_i16(self.attributes);
        rest.put_i32(self.last_offset_delta);
        rest.put_i64(now);
        rest.put_i64(now);
        let (producer_id, producer_epoch, base_sequence) = self.producer.unwrap_or((-1, -1, -1));
        rest.put_i64(producer_id);
        rest.put_i16(producer_epoch);
        rest.put_i32(base_sequence);
        rest.put_i32(self.record_count);
        rest.put_slice(&self.records);
        let mut batch = BytesMut::with_capacity(rest.len() + 21);
        batch.put_i64(0);
        batch.put_i32(i32::try_from(rest.len() + 9).expect("a test's batch is small"));
        batch.put_i32(-1);
        batch.put_i8(self.magic);
        batch.put_u32(crc32c::crc32c(&rest).wrapping_add(self.crc_error));
        batch.put_slice(&rest);
        batch.freeze()
    }
}

fn put_record(to: &mut Vec<u8>, offset_delta: i64, record: &BatchRecord) {
    let mut body = vec![0]; // attributes
    put_varint(&mut body, 0); // timestamp delta
    put_varint(&mut body, offset_delta);
    match &record.key {
        Some(key) => put_bytes(&mut body, key),
        None => put_varint(&mut body, -1),
    }
    put_bytes(&mut body, &record.value);
    put_varint(&mut body, 0); // headers
    put_bytes(to, &body);
}

fn put_bytes(to: &mut Vec<u8>, bytes: &[u8]) {
    put_varint(to, i64::try_from(bytes.len()).expect("a test's record is small"));
    to.extend_from_slice(bytes);
}

/// A zigzag varint, as Kafka's records use them.
fn put_varint(to: &mut Vec<u8>, value: i64) {
    let mut rest = ((value << 1) ^ (value >> 63)).cast_unsigned();
    while rest >= 0x80 {
        to.push((rest & 0x7f) as u8 | 0x80);
        rest >>= 7;
    }
    to.push(rest as u8);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_varint_is_zigzag_and_little_groups_first() {
        let check = |value: i64, expected: &[u8]| {
            let mut bytes = Vec::new();
            put_varint(&mut bytes, value);
            assert_eq!(bytes, expected, "{value}");
        };
        check(0, &[0]);
        check(-1, &[1]);
        check(1, &[2]);
        check(63, &[0x7e]);
        check(64, &[0x80, 0x01]);
        check(300, &[0xd8, 0x04]);
    }

    #[test]
    fn a_batch_says_its_length_and_starts_its_checksum_behind_it() {
        let bytes = Batch::of_values(["a", "b"]).encode();
        let length = i32::from_be_bytes(bytes[8..12].try_into().unwrap());
        assert_eq!(usize::try_from(length).unwrap() + 12, bytes.len());
        assert_eq!(bytes[16], 2, "magic");
        let crc = u32::from_be_bytes(bytes[17..21].try_into().unwrap());
        assert_eq!(crc, crc32c::crc32c(&bytes[21..]));
        assert_eq!(i32::from_be_bytes(bytes[57..61].try_into().unwrap()), 2, "records");
    }
}
