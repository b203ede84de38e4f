//! A transactional producer by hand: what stock ones never do (leave a partition out, stand still inside a transaction,
//! go on where another process has stopped) is done step by step.
//!
//! It finds its coordinator; leaders elsewhere have to be named. Versions without flexible fields only.

use std::collections::HashMap;
use std::io::Result;
use std::time::{Duration, Instant};

use bytes::{Buf, BufMut, Bytes, BytesMut};

use crate::wire::{Batch, Connection, ProduceAnswer, malformed, produce_body_as, put_string};

const PRODUCE: i16 = 0;
const FIND_COORDINATOR: i16 = 10;
const INIT_PRODUCER_ID: i16 = 22;
const ADD_PARTITIONS_TO_TXN: i16 = 24;
const ADD_OFFSETS_TO_TXN: i16 = 25;
const END_TXN: i16 = 26;
const WRITE_TXN_MARKERS: i16 = 27;
const TXN_OFFSET_COMMIT: i16 = 28;

/// Errors after which the same is asked again: the coordinator is loading, is made, or ends the transaction before.
const AGAIN: [i16; 5] = [3, 14, 15, 16, 51];

/// One producer and what it has counted.
pub struct TransactionalProducer {
    port: u16,
    connection: Connection,
    transactional_id: String,
    /// Its id.
    pub producer_id: i64,
    /// Its epoch.
    pub epoch: i16,
    sequences: HashMap<(String, i32), i32>,
    /// How old its records claim to be.
    pub age: Duration,
    /// Where the partitions are led that it writes to; unless set, where it is coordinated.
    pub leader: Option<u16>,
}

impl TransactionalProducer {
    /// Takes the transactional id for itself (InitProducerId version 1).
    ///
    /// # Errors
    /// As for [`Connection::receive`], and `Other` with the broker's error code.
    pub fn begin(port: u16, transactional_id: &str, timeout: Duration) -> Result<Self> {
        let mut body = BytesMut::new();
        put_string(&mut body, transactional_id);
        body.put_i32(i32::try_from(timeout.as_millis()).expect("a test's timeout is short"));
        let mut producer = Self {
            port,
            connection: Connection::open(port)?,
            transactional_id: transactional_id.to_owned(),
            producer_id: -1,
            epoch: -1,
            sequences: HashMap::new(),
            age: Duration::ZERO,
            leader: None,
        };
        producer.port = producer.find_coordinator(transactional_id, 1)?;
        producer.reconnect()?;
        let mut answer = producer.insist(INIT_PRODUCER_ID, 1, &body, |answer| {
            answer.advance(4);
            answer.get_i16()
        })?;
        producer.producer_id = answer.get_i64();
        producer.epoch = answer.get_i16();
        Ok(producer)
    }

    /// Where it is coordinated.
    pub fn coordinator(&self) -> u16 {
        self.port
    }

    /// Goes on with the broker that now listens there.
    ///
    /// # Errors
    /// When nobody does.
    pub fn reconnect(&mut self) -> Result<()> {
        self.connection = Connection::open(self.port)?;
        Ok(())
    }

    /// Finds a coordinator, which lets its topic be made (FindCoordinator version 1): 0 is a group's, 1 a transaction's. Its
    /// port.
    fn find_coordinator(&mut self, key: &str, kind: i8) -> Result<u16> {
        let mut body = BytesMut::new();
        put_string(&mut body, key);
        body.put_i8(kind);
        let mut answer = self.insist(FIND_COORDINATOR, 1, &body, |answer| {
            answer.advance(4);
            answer.get_i16()
        })?;
        let skip_text = |answer: &mut Bytes| {
            let short = || malformed("a short FindCoordinator answer");
            let length = answer.try_get_i16().map_err(|_| short())?;
            let length = usize::try_from(length).unwrap_or(0);
            if answer.remaining() < length + 4 {
                return Err(short());
            }
            answer.advance(length);
            Ok(())
        };
        // A message, which may be null; the node's id; its host; its port.
        skip_text(&mut answer)?;
        answer.advance(4);
        skip_text(&mut answer)?;
        u16::try_from(answer.get_i32()).map_err(|_| malformed("no port"))
    }

    fn head(&self) -> BytesMut {
        let mut body = BytesMut::new();
        put_string(&mut body, &self.transactional_id);
        body.put_i64(self.producer_id);
        body.put_i16(self.epoch);
        body
    }

    /// Asks until the answer is not one of [`AGAIN`]; the answer behind its error code.
    fn insist(&mut self, key: i16, version: i16, body: &[u8], error: impl Fn(&mut Bytes) -> i16) -> Result<Bytes> {
        let deadline = Instant::now() + Duration::from_secs(30);
        loop {
            self.connection.send(key, version, body)?;
            let (_, mut answer) = self.connection.receive()?;
            if answer.remaining() < 6 {
                return Err(malformed("a short answer"));
            }
            match error(&mut answer) {
                0 => return Ok(answer),
                again if AGAIN.contains(&again) && Instant::now() < deadline => {
                    std::thread::sleep(Duration::from_millis(100));
                }
                code => return Err(std::io::Error::other(format!("request {key}: error {code}"))),
            }
        }
    }

    /// Makes a partition part of the transaction (AddPartitionsToTxn version 1).
    ///
    /// # Errors
    /// As for [`TransactionalProducer::begin`].
    pub fn add_partition(&mut self, topic: &str, partition: i32) -> Result<()> {
        let mut body = self.head();
        body.put_i32(1);
        put_string(&mut body, topic);
        body.put_i32(1);
        body.put_i32(partition);
        let skipped = 4 + 4 + 2 + topic.len() + 4 + 4;
        self.insist(ADD_PARTITIONS_TO_TXN, 1, &body, |answer| {
            answer.advance(skipped.min(answer.remaining() - 2));
            answer.get_i16()
        })
        .map(drop)
    }

    /// Writes one batch (Produce version 7) as the next of its partition, whether or not that is part of the transaction.
    ///
    /// # Errors
    /// As for [`Connection::receive`].
    pub fn write(&mut self, topic: &str, partition: i32, values: &[&str]) -> Result<ProduceAnswer> {
        self.write_batch(topic, partition, Batch::of_values(values.iter().copied()))
    }

    /// The same with records that may have keys.
    ///
    /// # Errors
    /// As for [`Connection::receive`].
    pub fn write_batch(&mut self, topic: &str, partition: i32, mut batch: Batch) -> Result<ProduceAnswer> {
        let sequence = self.sequences.entry((topic.to_owned(), partition)).or_insert(0);
        let records = batch.record_count;
        batch.attributes = 0x10;
        batch.age = self.age;
        batch.producer = Some((self.producer_id, self.epoch, *sequence));
        let body = produce_body_as(Some(&self.transactional_id), topic, partition, -1, &batch.encode());
        let mut elsewhere = self.leader.map(Connection::open).transpose()?;
        let leader = elsewhere.as_mut().unwrap_or(&mut self.connection);
        leader.send(PRODUCE, 7, &body)?;
        let (_, answer) = leader.receive_produce()?;
        if answer.error == 0 {
            *sequence += records;
        }
        Ok(answer)
    }

    /// Commits a group's offset in the transaction (AddOffsetsToTxn and TxnOffsetCommit, version 1).
    ///
    /// # Errors
    /// As for [`TransactionalProducer::begin`].
    pub fn commit_offset(&mut self, group: &str, topic: &str, partition: i32, offset: i64) -> Result<()> {
        self.find_coordinator(group, 0)?;
        let mut body = self.head();
        put_string(&mut body, group);
        self.insist(ADD_OFFSETS_TO_TXN, 1, &body, |answer| {
            answer.advance(4);
            answer.get_i16()
        })?;
        let mut body = BytesMut::new();
        put_string(&mut body, &self.transactional_id);
        put_string(&mut body, group);
        body.put_i64(self.producer_id);
        body.put_i16(self.epoch);
        body.put_i32(1);
        put_string(&mut body, topic);
        body.put_i32(1);
        body.put_i32(partition);
        body.put_i64(offset);
        put_string(&mut body, "");
        let skipped = 4 + 4 + 2 + topic.len() + 4 + 4;
        self.insist(TXN_OFFSET_COMMIT, 1, &body, |answer| {
            answer.advance(skipped.min(answer.remaining() - 2));
            answer.get_i16()
        })
        .map(drop)
    }

    /// Ends the transaction (EndTxn version 1).
    ///
    /// # Errors
    /// As for [`TransactionalProducer::begin`].
    pub fn end(&mut self, commit: bool) -> Result<()> {
        let mut body = self.head();
        body.put_u8(u8::from(commit));
        self.insist(END_TXN, 1, &body, |answer| {
            answer.advance(4);
            answer.get_i16()
        })
        .map(drop)
    }
}

impl Connection {
    /// Ends a producer's transaction in one partition as its coordinator does (WriteTxnMarkers version 0); the error code.
    ///
    /// # Errors
    /// As for [`Connection::receive`].
    pub fn write_marker(
        &mut self,
        producer: (i64, i16),
        committed: bool,
        coordinator_epoch: i32,
        topic: &str,
        partition: i32,
    ) -> Result<i16> {
        let mut body = BytesMut::new();
        body.put_i32(1);
        body.put_i64(producer.0);
        body.put_i16(producer.1);
        body.put_u8(u8::from(committed));
        body.put_i32(1);
        put_string(&mut body, topic);
        body.put_i32(1);
        body.put_i32(partition);
        body.put_i32(coordinator_epoch);
        self.send(WRITE_TXN_MARKERS, 0, &body)?;
        let (_, mut answer) = self.receive()?;
        let skipped = 4 + 8 + 4 + 2 + topic.len() + 4 + 4;
        if answer.remaining() < skipped + 2 {
            return Err(malformed("a short WriteTxnMarkers answer"));
        }
        answer.advance(skipped);
        Ok(answer.get_i16())
    }
}
