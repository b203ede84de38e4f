//! What a broker tells its clients of a topic: Metadata version 7, the first with leader epochs.

use crate::wire::{Answer, Connection, malformed, put_string};
use bytes::{Buf, BufMut, BytesMut};
use std::collections::BTreeMap;
use std::io::Result;

const METADATA: i16 = 3;

/// One partition, as a broker or ZooKeeper tells it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Partition {
    /// Its number.
    pub index: i32,
    /// Id of its leader, -1 if there is none.
    pub leader: i32,
    /// How many leaders it has had.
    pub leader_epoch: i32,
    /// Assigned replicas, the preferred leader first.
    pub replicas: Vec<i32>,
    /// In-sync replicas, sorted.
    pub isr: Vec<i32>,
}

/// A broker's view of the cluster and one topic.
#[derive(Clone, Debug)]
pub struct Metadata {
    /// Ports of the brokers that are alive, by id.
    pub ports: BTreeMap<i32, u16>,
    /// The broker that clients take for the controller, -1 if unknown.
    pub controller: i32,
    /// Kafka's error code for the topic.
    pub error: i16,
    /// The topic's partitions, sorted.
    pub partitions: Vec<Partition>,
}

impl Connection {
    /// Asks for the cluster and one topic, which is not created by that.
    ///
    /// # Errors
    /// As for [`Connection::receive`].
    pub fn topic_metadata(&mut self, topic: &str) -> Result<Metadata> {
        let mut body = BytesMut::new();
        body.put_i32(1);
        put_string(&mut body, topic);
        body.put_u8(0);
        let sent = self.send(METADATA, 7, &body)?;
        let (answered, mut answer) = self.receive()?;
        if answered != sent {
            return Err(malformed("another correlation id"));
        }
        parse(&mut answer).ok_or_else(|| malformed("a short Metadata answer"))
    }
}

fn parse(from: &mut Answer) -> Option<Metadata> {
    int(from)?; // throttle time
    let mut ports = BTreeMap::new();
    for _ in 0..int(from)? {
        let id = int(from)?;
        skip_string(from)?;
        let port = u16::try_from(int(from)?).ok()?;
        skip_string(from)?; // rack
        ports.insert(id, port);
    }
    skip_string(from)?; // cluster id
    let controller = int(from)?;
    if int(from)? != 1 {
        return None;
    }
    let error = short(from)?;
    skip_string(from)?;
    (from.remaining() >= 1).then(|| from.advance(1))?; // internal
    let mut partitions = Vec::new();
    for _ in 0..int(from)? {
        short(from)?;
        let mut partition = Partition {
            index: int(from)?,
            leader: int(from)?,
            leader_epoch: int(from)?,
            replicas: ints(from)?,
            isr: ints(from)?,
        };
        ints(from)?; // offline
        partition.isr.sort_unstable();
        partitions.push(partition);
    }
    partitions.sort_by_key(|p| p.index);
    Some(Metadata {
        ports,
        controller,
        error,
        partitions,
    })
}

fn int(from: &mut Answer) -> Option<i32> {
    (from.remaining() >= 4).then(|| from.get_i32())
}

fn short(from: &mut Answer) -> Option<i16> {
    (from.remaining() >= 2).then(|| from.get_i16())
}

fn ints(from: &mut Answer) -> Option<Vec<i32>> {
    (0..int(from)?).map(|_| int(from)).collect()
}

fn skip_string(from: &mut Answer) -> Option<()> {
    let length = usize::try_from(short(from)?).unwrap_or(0);
    (from.remaining() >= length).then(|| from.advance(length))
}
