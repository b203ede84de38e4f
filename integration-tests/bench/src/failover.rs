//! What an outage costs: a writer that counts its longest wait, and survivors that are asked what they know.
//!
//! The writer sends numbered records with acks=all to one partition, one at a time, each until it is acknowledged; a
//! record may so be there twice, which is counted but allowed. Afterwards every acknowledged record must be at the offset
//! that was acknowledged.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crate::batch::{Batch, each_batch};
use crate::cluster::any_view;
use crate::error::{BenchError, Result};
use crate::wire::{Client, FETCH, PRODUCE, View, fetch_request, produce_request, view};

/// Between two records.
const PAUSE: Duration = Duration::from_millis(5);
/// Before another attempt, and for a broker to take a connection.
const RETRY: Duration = Duration::from_millis(10);
const CONNECT: Duration = Duration::from_secs(1);
/// For an answer to a record: an acks=all write may wait for a replica to be found dead.
const ANSWER: Duration = Duration::from_secs(30);

/// What a writer saw.
pub(crate) struct Written {
    /// Number of each acknowledged record, and its offset.
    pub(crate) acknowledged: BTreeMap<u64, i64>,
    /// The longest time from one acknowledgement to the next.
    pub(crate) longest_gap: Duration,
}

/// Writes until told to stop, and says on the way how many records are acknowledged.
pub(crate) fn write(
    addresses: &[SocketAddr],
    topic: &str,
    partition: i32,
    acknowledged: &AtomicUsize,
    stop: &AtomicBool,
) -> Written {
    let batch = Batch::new(1, 100);
    let mut written = Written {
        acknowledged: BTreeMap::new(),
        longest_gap: Duration::ZERO,
    };
    let mut connection = None;
    let mut last: Option<Instant> = None;
    let mut number = 0;
    while !stop.load(Ordering::Relaxed) {
        match attempt(&mut connection, addresses, topic, partition, &batch, number) {
            Ok(offset) => {
                written.acknowledged.insert(number, offset);
                acknowledged.fetch_add(1, Ordering::Relaxed);
                if let Some(last) = last.replace(Instant::now()) {
                    written.longest_gap = written.longest_gap.max(last.elapsed());
                }
                number += 1;
                std::thread::sleep(PAUSE);
            }
            // Whatever it was: as a client does, look for the leader again.
            Err(_) => {
                connection = None;
                std::thread::sleep(RETRY);
            }
        }
    }
    // Told to stop while still failing: that is a gap as well.
    written.longest_gap = written.longest_gap.max(last.map_or(Duration::MAX, |it| it.elapsed()));
    written
}

fn attempt(
    connection: &mut Option<Client>,
    addresses: &[SocketAddr],
    topic: &str,
    partition: i32,
    batch: &Batch,
    number: u64,
) -> Result<i64> {
    let client = match connection {
        Some(client) => client,
        None => connection.insert(connect_leader(addresses, topic, partition)?),
    };
    let answer = client.call(&produce_request(topic, partition, -1, batch.stamped(number)), PRODUCE)?;
    let answer = answer.responses.first().and_then(|it| it.partition_responses.first());
    match answer.map(|it| (it.error_code, it.base_offset)) {
        Some((0, offset)) => Ok(offset),
        Some((code, _)) => Err(BenchError::Refused {
            what: "producing".to_owned(),
            code,
        }),
        None => Err(BenchError::Malformed("an answer without partitions".to_owned())),
    }
}

fn connect_leader(addresses: &[SocketAddr], topic: &str, partition: i32) -> Result<Client> {
    let view = any_view(addresses, Some(topic), CONNECT)?;
    let address = view.leader_of(partition);
    let address = address.ok_or_else(|| BenchError::Malformed("no leader".to_owned()))?;
    // A port that nobody listens on refuses at once, on this machine; so one patience will do for both.
    Client::connect(address, ANSWER)
}

/// How many acknowledged records are not at their offsets, and how many records there are.
pub(crate) fn read_back(
    addresses: &[SocketAddr],
    topic: &str,
    partition: i32,
    written: &Written,
) -> Result<(usize, usize)> {
    let stamp_at = Batch::new(1, 100).stamp_at();
    let end = written.acknowledged.values().max().map_or(0, |it| it + 1);
    let mut found: BTreeMap<i64, u64> = BTreeMap::new();
    let mut connection = None;
    let mut next = 0;
    let deadline = Instant::now() + Duration::from_secs(30);
    while next < end {
        if Instant::now() > deadline {
            let what = format!("offset {next} of {topic}-{partition}, whose end is at least {end}");
            return Err(BenchError::Late {
                what,
                seconds: 30,
                last: None,
            });
        }
        let fetched = match &mut connection {
            Some(client) => fetch(client, topic, partition, next),
            None => connect_leader(addresses, topic, partition).map(|it| {
                connection = Some(it);
                bytes::Bytes::new()
            }),
        };
        match fetched {
            Ok(records) => each_batch(&records, |head, batch| {
                next = head.next_offset;
                if let Some(stamp) = batch.get(stamp_at..).and_then(|it| it.first_chunk::<8>()) {
                    found.insert(head.base_offset, u64::from_be_bytes(*stamp));
                }
            }),
            Err(_) => {
                connection = None;
                std::thread::sleep(RETRY);
            }
        }
    }
    let lost = written
        .acknowledged
        .iter()
        .filter(|(number, offset)| found.get(*offset) != Some(*number));
    Ok((lost.count(), found.len()))
}

fn fetch(client: &mut Client, topic: &str, partition: i32, offset: i64) -> Result<bytes::Bytes> {
    let answer = client.call(&fetch_request(topic, [(partition, offset)], 1 << 20), FETCH)?;
    let partition = answer.responses.into_iter().flat_map(|it| it.partitions).next();
    match partition.map(|it| (it.error_code, it.records)) {
        Some((0, records)) => Ok(records.unwrap_or_default()),
        Some((code, _)) => Err(BenchError::Refused {
            what: "fetching".to_owned(),
            code,
        }),
        None => Err(BenchError::Malformed("an answer without partitions".to_owned())),
    }
}

/// Asks a survivor until it knows of all these topics that a living broker leads each partition, and of a controller that
/// lives; gives how long that took since `death`. A topic that is right is not asked for again.
pub(crate) fn until_told(
    survivor: SocketAddr,
    topics: &[String],
    partitions: usize,
    dead: i32,
    death: Instant,
    seconds: u64,
) -> Result<Duration> {
    let mut client = Client::connect(survivor, ANSWER)?;
    let mut latest = death.elapsed();
    let mut wrong = String::new();
    let mut ask = |topic: Option<&str>| -> Result<()> {
        loop {
            let seen = view(&mut client, topic)?;
            latest = death.elapsed();
            match what_is_wrong(&seen, topic.map(|_| partitions), dead) {
                None => return Ok(()),
                Some(reason) => wrong = reason,
            }
            if latest.as_secs() >= seconds {
                let what = format!("{survivor} is told of the death of broker {dead}");
                return Err(BenchError::Late {
                    what,
                    seconds,
                    last: Some(std::mem::take(&mut wrong)),
                });
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    };
    for topic in topics {
        ask(Some(topic))?;
    }
    ask(None)?;
    Ok(latest)
}

/// What a view still has of a broker that died.
fn what_is_wrong(view: &View, partitions: Option<usize>, dead: i32) -> Option<String> {
    if let Some(partitions) = partitions {
        let led = view
            .partitions
            .iter()
            .filter(|it| it.leader != dead && view.brokers.contains_key(&it.leader));
        let led = led.count();
        if led != partitions {
            return Some(format!("{led} of {partitions} partitions have a living leader"));
        }
    }
    if view.brokers.contains_key(&dead) {
        return Some(format!("broker {dead} is still named"));
    }
    (view.controller == dead || view.controller < 0).then(|| format!("the controller is {}", view.controller))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::PartitionView;

    #[test]
    fn a_survivor_is_told_when_nothing_is_left_of_the_dead() {
        let check = |brokers: &[i32], controller: i32, leaders: &[i32], wrong: Option<&str>| {
            let address = SocketAddr::from(([127, 0, 0, 1], 1));
            let view = View {
                controller,
                brokers: brokers.iter().map(|it| (*it, address)).collect(),
                partitions: (0..)
                    .zip(leaders)
                    .map(|(index, leader)| PartitionView {
                        index,
                        leader: *leader,
                        in_sync: 2,
                    })
                    .collect(),
            };
            assert_eq!(what_is_wrong(&view, Some(3), 0).as_deref(), wrong);
        };
        check(&[1, 2], 1, &[1, 2, 1], None);
        check(&[1, 2], 1, &[1, 2, 0], Some("2 of 3 partitions have a living leader"));
        check(&[1, 2], 1, &[1, 2, -1], Some("2 of 3 partitions have a living leader"));
        check(&[1, 2], 1, &[1, 2], Some("2 of 3 partitions have a living leader"));
        check(&[0, 1, 2], 1, &[1, 2, 1], Some("broker 0 is still named"));
        check(&[1, 2], 0, &[1, 2, 1], Some("the controller is 0"));
        check(&[1, 2], -1, &[1, 2, 1], Some("the controller is -1"));
    }
}
