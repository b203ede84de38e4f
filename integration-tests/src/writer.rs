//! An idempotent acks=all producer that keeps a list of what was acknowledged.
//!
//! One *lane* for each partition: a thread with a producer id of its own and one batch on its way at a time, which it
//! sends again, with the same sequence numbers, until somebody acknowledges it. So when it is stopped, every record it ever sent
//! has to be in its partition exactly once, in order, at the offset that was told. An answer which Kafka's own producer takes for
//! lost records (`OUT_OF_ORDER_SEQUENCE_NUMBER`, `UNKNOWN_PRODUCER_ID`) ends the lane and fails [`Writer::stop`].
//!
//! The records are numbered by lane: record `n` of partition 3 has the key `3-n`.

use crate::wire::{Batch, BatchRecord, Connection};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Answers after which Kafka's producer tries again (`RetriableException` of its `Errors`).
const RETRIABLE: [i16; 14] = [3, 5, 6, 7, 8, 9, 13, 14, 15, 19, 20, 56, 74, 75];
/// Longest wait for one answer; a paused leader is not waited for any longer.
const PATIENCE: Duration = Duration::from_secs(3);
/// Longest time without any acknowledgement before a lane gives up, which is a failure.
const GIVES_UP: Duration = Duration::from_secs(90);

/// How a writer writes.
#[derive(Clone)]
pub struct WriterSetup {
    /// Ports at which brokers may be asked where leaders are.
    pub ports: Vec<u16>,
    /// Its topic.
    pub topic: String,
    /// How many partitions it has.
    pub partitions: i32,
    /// Records in a batch.
    pub batch: usize,
    /// Pause of a lane between an answer and the next batch.
    pub pause: Duration,
}

/// A writer at work.
pub struct Writer {
    shared: Arc<Shared>,
    lanes: Vec<JoinHandle<Lane>>,
    topic: String,
}

struct Shared {
    stopping: AtomicBool,
    /// Of each lane.
    progress: Vec<Progress>,
}

#[derive(Default)]
struct Progress {
    acknowledged: AtomicU64,
    /// Longest time between two acknowledgements since somebody took this number.
    gap_us: AtomicU64,
}

/// What one lane has seen.
#[derive(Debug, Default)]
struct Lane {
    partition: i32,
    offsets: Vec<i64>,
    longest_gap: Duration,
    /// What happened during the longest gap.
    story: Vec<String>,
    /// How often it was told to try again, by error code; -1 for broken or silent connections.
    retries: BTreeMap<i16, u32>,
    failure: Option<String>,
}

/// What a writer was told.
#[derive(Debug, Default)]
pub struct Written {
    /// Offset of record `n` of each partition.
    pub offsets: BTreeMap<i32, Vec<i64>>,
    /// Longest time between two acknowledgements in one partition.
    pub longest_gap: Duration,
    /// What that partition's lane went through meanwhile: at most ten lines.
    pub story: Vec<String>,
    /// How often a lane was told to try again, by error code; -1 for broken or silent connections.
    pub retries: BTreeMap<i16, u32>,
}

impl Written {
    /// How many records were acknowledged.
    pub fn records(&self) -> usize {
        self.offsets.values().map(Vec::len).sum()
    }
}

impl std::fmt::Display for Written {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{} records acknowledged, longest gap {:.3} s, tried again {:?}",
            self.records(),
            self.longest_gap.as_secs_f64(),
            self.retries
        )?;
        self.story.iter().try_for_each(|line| write!(f, "\n    {line}"))
    }
}

impl Writer {
    /// Starts writing.
    pub fn start(setup: &WriterSetup) -> Self {
        let shared = Arc::new(Shared {
            stopping: AtomicBool::new(false),
            progress: (0..setup.partitions).map(|_| Progress::default()).collect(),
        });
        let lanes = (0..setup.partitions)
            .map(|partition| {
                let work = Work {
                    setup: setup.clone(),
                    shared: Arc::clone(&shared),
                    lane: Lane {
                        partition,
                        ..Lane::default()
                    },
                    ports: setup.ports.clone(),
                    leader_epoch: -1,
                    port: 0,
                    connection: None,
                };
                std::thread::Builder::new()
                    .name(format!("lane {partition}"))
                    .spawn(move || work.write())
                    .expect("a thread can be started")
            })
            .collect();
        Self {
            shared,
            lanes,
            topic: setup.topic.clone(),
        }
    }

    /// Waits until each lane has got `more` records acknowledged from now on.
    ///
    /// # Panics
    /// Panics when that takes more than `seconds`, and when a lane has given up.
    #[track_caller]
    pub fn wait_for_each(&self, more: u64, seconds: u64) {
        let goals: Vec<u64> = self.acknowledged().iter().map(|a| a + more).collect();
        let deadline = Instant::now() + Duration::from_secs(seconds);
        loop {
            let now = self.acknowledged();
            let behind: Vec<usize> = (0..goals.len()).filter(|lane| now[*lane] < goals[*lane]).collect();
            if behind.is_empty() {
                return;
            }
            assert!(
                Instant::now() < deadline,
                "{more} more records of each partition of {} within {seconds} s: missing in {behind:?}",
                self.topic
            );
            for lane in behind {
                assert!(
                    !self.lanes[lane].is_finished(),
                    "the lane of {}-{lane} has given up",
                    self.topic
                );
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Longest time between two acknowledgements in one partition since this was last asked.
    pub fn take_gap(&self) -> Duration {
        let gaps = self.shared.progress.iter().map(|p| p.gap_us.swap(0, Ordering::Relaxed));
        Duration::from_micros(gaps.max().unwrap_or(0))
    }

    fn acknowledged(&self) -> Vec<u64> {
        let all = self.shared.progress.iter();
        all.map(|p| p.acknowledged.load(Ordering::Relaxed)).collect()
    }

    /// Lets each lane end what it has begun, and tells what was acknowledged.
    ///
    /// # Panics
    /// Panics when a lane was told that records are lost, or nothing at all for too long.
    #[track_caller]
    pub fn stop(self) -> Written {
        self.shared.stopping.store(true, Ordering::Relaxed);
        let mut written = Written::default();
        let mut failures = Vec::new();
        for lane in self.lanes {
            let lane = lane.join().expect("a lane does not panic");
            failures.extend(lane.failure.map(|f| format!("{}-{}: {f}", self.topic, lane.partition)));
            if lane.longest_gap >= written.longest_gap {
                written.longest_gap = lane.longest_gap;
                written.story = lane.story;
            }
            for (error, count) in lane.retries {
                *written.retries.entry(error).or_default() += count;
            }
            written.offsets.insert(lane.partition, lane.offsets);
        }
        assert!(failures.is_empty(), "{failures:#?}\n{written}");
        written
    }
}

/// A lane at work.
struct Work {
    setup: WriterSetup,
    shared: Arc<Shared>,
    lane: Lane,
    /// Ports to ask, the next one first.
    ports: Vec<u16>,
    /// The newest leader epoch that was told of.
    leader_epoch: i32,
    /// The port at which it leads.
    port: u16,
    connection: Option<Connection>,
}

impl Work {
    fn write(mut self) -> Lane {
        let begin = Instant::now();
        let producer = loop {
            match self.producer_id() {
                Ok(producer) => break producer,
                Err(e) if begin.elapsed() > GIVES_UP => {
                    self.lane.failure = Some(format!("no producer id: {e}"));
                    return self.lane;
                }
                Err(_) => std::thread::sleep(Duration::from_millis(50)),
            }
        };
        let mut last = Instant::now();
        while !self.shared.stopping.load(Ordering::Relaxed) {
            let first = self.lane.offsets.len();
            let mut batch = Batch::of((first..first + self.setup.batch).map(|n| BatchRecord {
                key: Some(format!("{}-{n}", self.lane.partition).into_bytes()),
                value: format!("{n} {}", "v".repeat(n % 200)).into_bytes(),
            }));
            batch.producer = Some((
                producer.0,
                producer.1,
                i32::try_from(first).expect("a test writes less"),
            ));
            let bytes = batch.encode();
            let mut story = Vec::new();
            let base = loop {
                let sent = Instant::now();
                let outcome = self.send(&bytes);
                if story.len() < 10 {
                    let told = match &outcome {
                        Ok(base) => format!("offset {base}"),
                        Err(-1) => "no answer".to_owned(),
                        Err(error) => format!("error {error}"),
                    };
                    story.push(format!(
                        "{:.3} s after the last one, record {first} of partition {} to port {}: {told} after {:.3} s",
                        (sent - last).as_secs_f64(),
                        self.lane.partition,
                        self.port,
                        sent.elapsed().as_secs_f64()
                    ));
                }
                match outcome {
                    Ok(base) => break base,
                    Err(error) if RETRIABLE.contains(&error) || error == -1 => {
                        *self.lane.retries.entry(error).or_default() += 1;
                    }
                    Err(error) => {
                        self.lane.failure = Some(format!("error {error} for the batch of record {first}"));
                        return self.lane;
                    }
                }
                if last.elapsed() > GIVES_UP {
                    self.lane.failure = Some(format!(
                        "record {first} is not acknowledged since {:?}; tried again {:?}",
                        last.elapsed(),
                        self.lane.retries
                    ));
                    return self.lane;
                }
                std::thread::sleep(Duration::from_millis(15));
            };
            let gap = last.elapsed();
            last = Instant::now();
            if gap > self.lane.longest_gap {
                self.lane.longest_gap = gap;
                self.lane.story = story;
            }
            self.lane.offsets.extend((0..self.setup.batch).map(|n| base + n as i64));
            let lane = usize::try_from(self.lane.partition).expect("partitions count from 0");
            let progress = &self.shared.progress[lane];
            let gap_us = u64::try_from(gap.as_micros()).unwrap_or(u64::MAX);
            progress.gap_us.fetch_max(gap_us, Ordering::Relaxed);
            progress
                .acknowledged
                .fetch_add(self.setup.batch as u64, Ordering::Relaxed);
            std::thread::sleep(self.setup.pause);
        }
        self.lane
    }

    fn producer_id(&mut self) -> std::io::Result<(i64, i16)> {
        self.ports.rotate_left(1);
        Connection::open_within(self.ports[0], PATIENCE)?.init_producer_id()
    }

    /// Sends a batch once, to whom is known to lead; gives its offset or an error code.
    fn send(&mut self, batch: &[u8]) -> Result<i64, i16> {
        if self.connection.is_none() {
            let port = self.find_leader().ok_or(-1i16)?;
            self.connection = Some(Connection::open_within(port, PATIENCE).map_err(|_| self.forget(-1))?);
        }
        let connection = self.connection.as_mut().expect("it has just been made");
        match connection.produce(&self.setup.topic, self.lane.partition, batch) {
            Ok(answer) if answer.error == 0 => Ok(answer.base_offset),
            // In-sync replicas are missing: the leader is still the leader.
            Ok(answer) if answer.error == 19 || answer.error == 20 => Err(answer.error),
            Ok(answer) => Err(self.forget(answer.error)),
            Err(_) => Err(self.forget(-1)),
        }
    }

    fn forget(&mut self, error: i16) -> i16 {
        self.connection = None;
        error
    }

    /// Asks one broker after the other; believes nobody who knows only of earlier leaders, as Kafka's clients do (KIP-320).
    fn find_leader(&mut self) -> Option<u16> {
        self.ports.rotate_left(1);
        let metadata = Connection::open_within(self.ports[0], Duration::from_secs(1))
            .and_then(|mut c| c.topic_metadata(&self.setup.topic))
            .ok()?;
        let partition = metadata.partitions.iter().find(|p| p.index == self.lane.partition)?;
        let port = *metadata.ports.get(&partition.leader)?;
        if partition.leader_epoch < self.leader_epoch {
            return None;
        }
        self.leader_epoch = partition.leader_epoch;
        self.port = port;
        Some(port)
    }
}
