//! Latency at a given pace: single records are sent when they are due, whether or not answers come, and a consumer at
//! each leader tails the topic.
//!
//! Open loop: each record carries the moment at which it was *due*, and latency counts from there, so that a broker that
//! stands still is charged for every record that waited meanwhile.

use std::io::{ErrorKind, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

use kafka_protocol::messages::ProduceRequest;

use crate::batch::{Batch, each_batch, stamp_in};
use crate::error::{BenchError, Doing, Result};
use crate::process::{Spent, Window};
use crate::wire::{Client, FETCH, PRODUCE, View, fetch_request, frame, produce_request, produced, read_frame};

/// How long records may still be under way when the last was sent.
const DRAIN: Duration = Duration::from_secs(20);
const CONNECTIONS: usize = 12;

/// What came of it; latencies of the records that were due within the window.
pub(crate) struct Paced {
    /// How many those are.
    pub(crate) sent: usize,
    /// Due until acknowledged.
    pub(crate) acknowledged: Vec<Duration>,
    /// Due until a consumer has it.
    pub(crate) delivered: Vec<Duration>,
    /// What that took.
    pub(crate) spent: Spent,
}

/// Sends `rate` records of 100 bytes a second with acks=all.
pub(crate) fn pace(
    topic: &str,
    view: &View,
    rate: u32,
    warm_up: Duration,
    window: Duration,
    processes: &[u32],
) -> Result<Paced> {
    let begin = Instant::now();
    let interval = Duration::from_secs(1) / rate;
    let measured = |due: Duration| due >= warm_up && due < warm_up + window;
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let (delivered, deliveries) = channel();
        let mut others = Vec::new();
        for (leader, partitions) in view.led() {
            let address = view.brokers.get(&leader).copied();
            let address = address.ok_or_else(|| BenchError::Malformed(format!("leader {leader} has no address")))?;
            let client = Client::connect(address, Duration::from_secs(10))?;
            let (delivered, stop) = (delivered.clone(), &stop);
            others.push(scope.spawn(move || tail(client, topic, &partitions, begin, &delivered, stop)));
        }
        let (acknowledged, acknowledgements) = channel();
        let mut producers = Vec::new();
        for index in 0..CONNECTIONS {
            let partition = &view.partitions[index % view.partitions.len()];
            let (producer, answers, dues) = Producer::connect(topic, partition.index, view)?;
            let acknowledged = acknowledged.clone();
            others.push(scope.spawn(move || take_answers(answers, topic, begin, &dues, &acknowledged)));
            producers.push(producer);
        }
        drop((delivered, acknowledged));

        let (mut opened, mut spent, mut sent) = (None, None, 0);
        let mut due = Duration::ZERO;
        for turn in 0.. {
            std::thread::sleep(due.saturating_sub(begin.elapsed()));
            if opened.is_none() && due >= warm_up {
                opened = Some(Window::open(processes));
            }
            if due >= warm_up + window {
                spent = opened.map(|it| it.close());
                break;
            }
            producers[turn % CONNECTIONS].send(due)?;
            sent += usize::from(measured(due));
            due += interval;
        }
        // Closing the sockets would lose answers: first all of them, then the end of the consumers.
        let of_window = |all: Receiver<Lag>| -> Vec<Duration> {
            let deadline = Instant::now() + DRAIN;
            let mut lags = Vec::with_capacity(sent);
            while lags.len() < sent
                && let Ok(lag) = all.recv_timeout(deadline.saturating_duration_since(Instant::now()))
            {
                if measured(lag.due) {
                    lags.push(lag.after);
                }
            }
            lags
        };
        let acknowledged = of_window(acknowledgements);
        let delivered = of_window(deliveries);
        stop.store(true, Ordering::Relaxed);
        producers.clear();
        for other in others {
            other
                .join()
                .map_err(|_| BenchError::Broken("a thread panicked".to_owned()))??;
        }
        let spent = spent.ok_or_else(|| BenchError::Malformed("no window".to_owned()))?;
        Ok(Paced {
            sent,
            acknowledged,
            delivered,
            spent,
        })
    })
}

/// A record that has arrived somewhere.
struct Lag {
    /// When it should have been sent, since the beginning.
    due: Duration,
    /// How much later it arrived.
    after: Duration,
}

/// The sending half of a connection; the request's bytes are changed in place. Dropping it ends the connection.
struct Producer {
    stream: TcpStream,
    request: Vec<u8>,
    batch_at: usize,
    batch_len: usize,
    stamp_at: usize,
    dues: Sender<Duration>,
}

impl Producer {
    fn connect(topic: &str, partition: i32, view: &View) -> Result<(Self, TcpStream, Receiver<Duration>)> {
        let address = view.leader_of(partition);
        let address = address.ok_or_else(|| BenchError::Malformed("a partition has no leader".to_owned()))?;
        let stream = TcpStream::connect(address).doing(|| format!("connecting to {address}"))?;
        stream.set_nodelay(true).doing(|| "producing".to_owned())?;
        let answers = stream.try_clone().doing(|| "producing".to_owned())?;
        let batch = Batch::new(1, 100);
        let request: ProduceRequest = produce_request(topic, partition, -1, batch.bytes());
        let request = frame(&request, PRODUCE, partition)?.to_vec();
        let (dues, waiting) = channel();
        let producer = Self {
            stream,
            // Without flexible fields nothing comes behind the records.
            batch_at: request.len() - batch.len(),
            batch_len: batch.len(),
            stamp_at: batch.stamp_at(),
            request,
            dues,
        };
        Ok((producer, answers, waiting))
    }

    fn send(&mut self, due: Duration) -> Result<()> {
        let batch = &mut self.request[self.batch_at..self.batch_at + self.batch_len];
        stamp_in(batch, self.stamp_at, u64::try_from(due.as_nanos()).unwrap_or(u64::MAX));
        // The receiver ends early only with an error of its own, which is then the one to tell.
        let _ = self.dues.send(due);
        self.stream.write_all(&self.request).doing(|| "producing".to_owned())
    }
}

impl Drop for Producer {
    fn drop(&mut self) {
        // The reading half has a handle of its own; without this it would wait for ever.
        let _ = self.stream.shutdown(std::net::Shutdown::Both);
    }
}

/// Takes acknowledgements, which come in the order of the requests, until the connection ends with none owed.
fn take_answers(
    mut stream: TcpStream,
    topic: &str,
    begin: Instant,
    dues: &Receiver<Duration>,
    to: &Sender<Lag>,
) -> Result<()> {
    loop {
        let answer = match read_frame(&mut stream) {
            Ok(answer) => answer,
            Err(BenchError::Io { source, .. }) if source.kind() == ErrorKind::UnexpectedEof => return Ok(()),
            Err(error) => return Err(error),
        };
        let now = begin.elapsed();
        match produced(topic, &answer) {
            Some((0, _)) => {}
            Some((code, _)) => {
                return Err(BenchError::Refused {
                    what: "producing".to_owned(),
                    code,
                });
            }
            None => return Err(BenchError::Malformed("a short answer".to_owned())),
        }
        let due = dues
            .recv()
            .map_err(|_| BenchError::Malformed("an answer too many".to_owned()))?;
        // The other end has gone when all that counts has come.
        let _ = to.send(Lag {
            due,
            after: now.saturating_sub(due),
        });
    }
}

/// Reads the partitions of one leader from their beginning, and tells each record's delay.
fn tail(
    mut client: Client,
    topic: &str,
    partitions: &[i32],
    begin: Instant,
    to: &Sender<Lag>,
    stop: &AtomicBool,
) -> Result<()> {
    let stamp_at = Batch::new(1, 100).stamp_at();
    let mut offsets = vec![0_i64; partitions.len()];
    while !stop.load(Ordering::Relaxed) {
        let from = partitions.iter().copied().zip(offsets.iter().copied());
        let answer = client.call(&fetch_request(topic, from, 1 << 20), FETCH)?;
        let now = begin.elapsed();
        for partition in answer.responses.iter().flat_map(|it| &it.partitions) {
            if partition.error_code != 0 {
                return Err(BenchError::Refused {
                    what: "fetching".to_owned(),
                    code: partition.error_code,
                });
            }
            let Some(offset) = partitions
                .iter()
                .position(|it| *it == partition.partition_index)
                .map(|it| &mut offsets[it])
            else {
                return Err(BenchError::Malformed("a partition that was not asked for".to_owned()));
            };
            each_batch(partition.records.as_deref().unwrap_or_default(), |head, batch| {
                *offset = head.next_offset;
                if let Some(stamp) = batch.get(stamp_at..).and_then(|it| it.first_chunk::<8>()) {
                    let due = Duration::from_nanos(u64::from_be_bytes(*stamp));
                    let _ = to.send(Lag {
                        due,
                        after: now.saturating_sub(due),
                    });
                }
            });
        }
    }
    Ok(())
}
