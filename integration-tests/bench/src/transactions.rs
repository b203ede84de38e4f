//! Transactions as a stock producer makes them, from several producers at once.
//!
//! Each producer: AddPartitionsToTxn for all partitions, a batch for each of them in one Produce a leader, EndTxn. Where the
//! transaction before has not been completed yet (CONCURRENT_TRANSACTIONS), it asks again after 20 ms, as Kafka's producer
//! does. Either one transaction after the other (closed loop), or at a given pace, counted from when each was due.
//!
//! Every answer's error code is looked at; what was committed is counted by reading it back.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::Bytes;
use kafka_protocol::messages::add_partitions_to_txn_request::AddPartitionsToTxnTopic;
use kafka_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use kafka_protocol::messages::{
    AddPartitionsToTxnRequest, EndTxnRequest, FindCoordinatorRequest, InitProducerIdRequest, ProduceRequest,
    ProducerId, TransactionalId,
};

use crate::batch::{Batch, each_batch, records_in};
use crate::cluster::{eventually, not_yet};
use crate::error::{BenchError, Result};
use crate::phase::Phase;
use crate::process::Spent;
use crate::wire::{Client, FETCH, View, fetch_request, text, topic_name};

/// The versions that Kafka 3.9's producer speaks.
const FIND_COORDINATOR: i16 = 3;
const INIT_PRODUCER_ID: i16 = 4;
const ADD_PARTITIONS: i16 = 3;
const PRODUCE: i16 = 11;
const END: i16 = 3;

const CONCURRENT_TRANSACTIONS: i16 = 51;
/// How soon Kafka's producer asks again.
const ASK_AGAIN: Duration = Duration::from_millis(20);
const PATIENCE: Duration = Duration::from_secs(30);

/// What is done.
pub(crate) struct Transact<'a> {
    /// To which topic, all of its partitions in each transaction.
    pub(crate) topic: &'a str,
    /// How it lies.
    pub(crate) view: &'a View,
    /// How many transactional ids at once.
    pub(crate) producers: usize,
    /// Records of a transaction, 1 KiB each.
    pub(crate) records: usize,
    /// Transactions a second of all producers; one after the other without.
    pub(crate) rate: Option<u32>,
    /// Not measured.
    pub(crate) warm_up: Duration,
    /// Measured.
    pub(crate) window: Duration,
}

/// What came of it.
#[derive(Default)]
pub(crate) struct Transacted {
    /// Of the transactions that were committed in the window: EndTxn sent until answered.
    pub(crate) commits: Vec<Duration>,
    /// Of the same: begun, or due, until EndTxn was answered.
    pub(crate) whole: Vec<Duration>,
    /// How often one had to ask again because the one before was not complete.
    pub(crate) asked_again: u64,
    /// What the window took.
    pub(crate) spent: Spent,
    /// All that were committed, also outside the window.
    pub(crate) committed: u64,
}

/// Commits transactions, and measures the brokers with these process ids.
pub(crate) fn transact(load: &Transact<'_>, addresses: &[SocketAddr], processes: &[u32]) -> Result<Transacted> {
    let mut producers = (0..load.producers)
        .map(|number| Producer::connect(load, addresses, number))
        .collect::<Result<Vec<_>>>()?;
    let phase = Phase::default();
    let begin = Instant::now();
    let mut done = Transacted::default();
    std::thread::scope(|scope| {
        let working: Vec<_> = producers
            .iter_mut()
            .enumerate()
            .map(|(number, producer)| {
                let pace = load.rate.map(|rate| Pace::new(begin, rate, number, load.producers));
                let phase = &phase;
                scope.spawn(move || {
                    let done = producer.work(pace, phase);
                    if done.is_err() {
                        phase.end();
                    }
                    done
                })
            })
            .collect();
        done.spent = phase.run(load.warm_up, load.window, processes, || false);
        for one in working {
            let one = one
                .join()
                .map_err(|_| BenchError::Broken("a producer panicked".to_owned()))??;
            done.commits.extend(one.commits);
            done.whole.extend(one.whole);
            done.asked_again += one.asked_again;
            done.committed += one.committed;
        }
        Ok(done)
    })
}

/// When the transactions of one producer are due.
struct Pace {
    next: Instant,
    interval: Duration,
}

impl Pace {
    fn new(begin: Instant, rate: u32, number: usize, of: usize) -> Self {
        let all = Duration::from_secs(1) / rate;
        let number = u32::try_from(number).expect("producers are few");
        Self {
            next: begin + all * number,
            interval: all * u32::try_from(of).expect("producers are few"),
        }
    }

    /// Waits for the next one's time, and gives it; a time that has passed is not waited for.
    fn due(&mut self) -> Instant {
        let due = self.next;
        self.next += self.interval;
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        due
    }
}

/// One transactional id.
struct Producer {
    topic: String,
    id: TransactionalId,
    coordinator: Client,
    /// A connection to each leader, with the partitions that it leads.
    leaders: Vec<(Client, Vec<i32>)>,
    producer_id: ProducerId,
    epoch: i16,
    /// What goes to each partition, and which sequence number comes next.
    batches: BTreeMap<i32, (Batch, i32)>,
    asked_again: u64,
}

impl Producer {
    /// Finds the coordinator and the leaders, and gets a producer id.
    fn connect(load: &Transact<'_>, addresses: &[SocketAddr], number: usize) -> Result<Self> {
        let id = format!("bench-{number}");
        let mut coordinator = eventually(
            60,
            &format!("the coordinator of {id}"),
            Duration::from_millis(50),
            || find_coordinator(addresses, &id),
        )?;
        let id = TransactionalId(text(&id));
        let request = InitProducerIdRequest::default()
            .with_transactional_id(Some(id.clone()))
            .with_transaction_timeout_ms(60_000)
            .with_producer_id(ProducerId(-1))
            .with_producer_epoch(-1);
        // It may still be loading, or completing what the run before has left.
        let given = eventually(60, "a producer id", ASK_AGAIN, || {
            let answer = coordinator.call(&request, INIT_PRODUCER_ID)?;
            accepted("a producer id", answer.error_code)?;
            Ok(answer)
        })?;
        let leaders = load.view.led().into_iter().map(|(leader, partitions)| {
            let address = load.view.brokers.get(&leader);
            let address = address.ok_or_else(|| BenchError::Malformed(format!("leader {leader} has no address")))?;
            Ok((Client::connect(*address, PATIENCE)?, partitions))
        });
        let partitions = load.view.partitions.len();
        let batches = load.view.partitions.iter().enumerate().map(|(at, partition)| {
            let share = load.records / partitions + usize::from(at < load.records % partitions);
            (partition.index, (Batch::new(share, 1024), 0))
        });
        Ok(Self {
            topic: load.topic.to_owned(),
            id,
            coordinator,
            leaders: leaders.collect::<Result<_>>()?,
            producer_id: given.producer_id,
            epoch: given.producer_epoch,
            batches: batches.collect(),
            asked_again: 0,
        })
    }

    /// One transaction after the other, until told to end.
    fn work(&mut self, mut pace: Option<Pace>, phase: &Phase) -> Result<Transacted> {
        let mut done = Transacted::default();
        while !phase.has_ended() {
            let begin = pace.as_mut().map_or_else(Instant::now, Pace::due);
            self.asked_again = 0;
            self.add_partitions()?;
            self.produce()?;
            let ending = Instant::now();
            let request = EndTxnRequest::default()
                .with_transactional_id(self.id.clone())
                .with_producer_id(self.producer_id)
                .with_producer_epoch(self.epoch)
                .with_committed(true);
            accepted("committing", self.coordinator.call(&request, END)?.error_code)?;
            done.committed += 1;
            if phase.measures() {
                done.commits.push(ending.elapsed());
                done.whole.push(begin.elapsed());
                done.asked_again += self.asked_again;
            }
        }
        Ok(done)
    }

    fn add_partitions(&mut self) -> Result<()> {
        let request = AddPartitionsToTxnRequest::default()
            .with_v3_and_below_transactional_id(self.id.clone())
            .with_v3_and_below_producer_id(self.producer_id)
            .with_v3_and_below_producer_epoch(self.epoch)
            .with_v3_and_below_topics(vec![
                AddPartitionsToTxnTopic::default()
                    .with_name(topic_name(&self.topic))
                    .with_partitions(self.batches.keys().copied().collect()),
            ]);
        let deadline = Instant::now() + PATIENCE;
        loop {
            let answer = self.coordinator.call(&request, ADD_PARTITIONS)?;
            let results = answer.results_by_topic_v3_and_below.iter();
            let codes = results.flat_map(|it| &it.results_by_partition);
            let code = codes.map(|it| it.partition_error_code).find(|code| *code != 0);
            match code {
                None if answer.results_by_topic_v3_and_below.is_empty() => {
                    return Err(BenchError::Malformed("an answer without partitions".to_owned()));
                }
                None => return Ok(()),
                Some(CONCURRENT_TRANSACTIONS) if Instant::now() < deadline => {
                    self.asked_again += 1;
                    std::thread::sleep(ASK_AGAIN);
                }
                Some(code) => return accepted("adding partitions", code),
            }
        }
    }

    /// To all leaders at once.
    fn produce(&mut self) -> Result<()> {
        for (leader, partitions) in &mut self.leaders {
            let data = partitions.iter().map(|partition| {
                let records = self.batches.get_mut(partition).map(|(batch, sequence)| {
                    let bytes = batch.transactional(self.producer_id.0, self.epoch, *sequence);
                    *sequence += batch.records();
                    Bytes::from(bytes)
                });
                PartitionProduceData::default()
                    .with_index(*partition)
                    .with_records(records)
            });
            let request = ProduceRequest::default()
                .with_transactional_id(Some(self.id.clone()))
                .with_acks(-1)
                .with_timeout_ms(30_000)
                .with_topic_data(vec![
                    TopicProduceData::default()
                        .with_name(topic_name(&self.topic))
                        .with_partition_data(data.collect()),
                ]);
            leader.send(&request, PRODUCE)?;
        }
        for (leader, partitions) in &mut self.leaders {
            let answer = leader.receive::<ProduceRequest>(PRODUCE)?;
            let answered: Vec<i16> = (answer.responses.iter())
                .flat_map(|it| &it.partition_responses)
                .map(|it| it.error_code)
                .collect();
            if answered.len() != partitions.len() {
                return Err(BenchError::Malformed("an answer without all partitions".to_owned()));
            }
            for code in answered {
                accepted("producing in a transaction", code)?;
            }
        }
        Ok(())
    }
}

fn find_coordinator(addresses: &[SocketAddr], id: &str) -> Result<Client> {
    const TRANSACTION: i8 = 1;
    let request = FindCoordinatorRequest::default()
        .with_key(text(id))
        .with_key_type(TRANSACTION);
    let mut failure = not_yet("no broker is known");
    for address in addresses {
        let answer = Client::connect(*address, PATIENCE).and_then(|mut it| it.call(&request, FIND_COORDINATOR));
        match answer {
            Ok(answer) => {
                accepted("finding a coordinator", answer.error_code)?;
                let address = format!("{}:{}", answer.host.as_str(), answer.port);
                let address = address
                    .parse()
                    .map_err(|_| BenchError::Malformed(format!("a coordinator at {address}")))?;
                return Client::connect(address, PATIENCE);
            }
            Err(error) => failure = error,
        }
    }
    Err(failure)
}

fn accepted(what: &str, code: i16) -> Result<()> {
    match code {
        0 => Ok(()),
        code => Err(BenchError::Refused {
            what: what.to_owned(),
            code,
        }),
    }
}

/// How many records of a topic somebody reads who reads only what is committed, once nothing is under way any more.
pub(crate) fn count_committed(topic: &str, view: &View) -> Result<u64> {
    /// `isolation_level`: read_committed.
    const COMMITTED: i8 = 1;
    let mut count = 0;
    for partition in &view.partitions {
        let address = view.leader_of(partition.index);
        let address = address.ok_or_else(|| BenchError::Malformed("a partition has no leader".to_owned()))?;
        let mut client = Client::connect(address, PATIENCE)?;
        let mut next = 0;
        eventually(60, "everything is committed", Duration::from_millis(20), || {
            loop {
                let request = fetch_request(topic, [(partition.index, next)], 4 << 20).with_isolation_level(COMMITTED);
                let answer = client.call(&request, FETCH)?;
                let read = answer.responses.into_iter().flat_map(|it| it.partitions).next();
                let read = read.ok_or_else(|| BenchError::Malformed("an answer without partitions".to_owned()))?;
                accepted("reading what is committed", read.error_code)?;
                if read.aborted_transactions.is_some_and(|it| !it.is_empty()) {
                    return Err(BenchError::Broken("a transaction was aborted".to_owned()));
                }
                each_batch(read.records.as_deref().unwrap_or_default(), |head, batch| {
                    next = head.next_offset;
                    count += records_in(batch);
                });
                if next == read.high_watermark {
                    return Ok(());
                }
                if next >= read.last_stable_offset {
                    return Err(not_yet(&format!(
                        "{topic}-{}: the last stable offset is {}, the high watermark {}",
                        partition.index, read.last_stable_offset, read.high_watermark
                    )));
                }
            }
        })?;
    }
    Ok(count)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_producers_share_the_pace() {
        let begin = Instant::now();
        let mut paces: Vec<Pace> = (0..4).map(|number| Pace::new(begin, 1000, number, 4)).collect();
        let mut due: Vec<Duration> = paces
            .iter_mut()
            .flat_map(|it| [it.due(), it.due()])
            .map(|it| it - begin)
            .collect();
        due.sort_unstable();
        let wanted: Vec<Duration> = (0..8).map(Duration::from_millis).collect();
        assert_eq!(due, wanted);
    }
}
