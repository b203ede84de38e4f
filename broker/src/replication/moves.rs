//! Moves of replicas between the log directories of this broker: copies that catch up and take over.
//!
//! A copy follows the log as a follower follows a leader, with the same core in its oldest way: epochs are compared before
//! copying begins, after each change of the leader epoch, and after each truncation of the log. It reads from the log's
//! files and appends to its own, on a thread for blocking work, one partition at a time per thread
//! (`num.replica.alter.log.dirs.threads`), no faster than `replica.alter.log.dirs.io.max.bytes.per.second`.
//!
//! What is on its way survives a restart: the copy is found on disk, and the move goes on when the controller has said
//! what this broker is for the partition.
//!
//! Source: Kafka 3.9 `ReplicaAlterLogDirsManager`, `ReplicaAlterLogDirsThread`, `LocalLeaderEndPoint`.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use broker_log::{DiskError, Log, Logs, ReadError};
use broker_replica::follower::{
    AppendOutcome, EpochEnd, EpochQuestion, FetchAnswer, Fetcher, FetcherConfig, InitialFetch, LeaderError, LocalLogs,
    LogOffsets, Next, OffsetQuestion, Step, Truncation,
};
use bytes::Bytes;
use hashbrown::HashMap;
use model::{LeaderEpoch, Millis, Offset, TopicPartition};
use parking_lot::Mutex;
use tokio::runtime::Handle;
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use tracing::{error, info, warn};

use super::BrokerLogs;
use super::local_logs::{epoch_end, offsets};
use crate::partition::{FollowError, Partition, Replaced, append_fetched};
use crate::{Broker, clock};

/// How long a throttled or refused copy waits before it looks again.
const PAUSE: Duration = Duration::from_millis(50);

/// The moves of a broker.
pub(super) struct LogDirMoves {
    broker: Weak<Broker>,
    runtime: Handle,
    running: Mutex<HashMap<TopicPartition, JoinHandle<()>>>,
    /// A place for each thread.
    places: Arc<Semaphore>,
    stopped: AtomicBool,
}

impl LogDirMoves {
    pub(super) fn new(broker: &Arc<Broker>) -> Arc<Self> {
        let threads = {
            let config = broker.config.load();
            let asked = config.originals.get(THREADS).and_then(|text| text.trim().parse().ok());
            asked.unwrap_or(config.log_dirs.len()).max(1)
        };
        Arc::new(Self {
            broker: Arc::downgrade(broker),
            runtime: Handle::current(),
            running: Mutex::default(),
            places: Arc::new(Semaphore::new(threads)),
            stopped: AtomicBool::new(false),
        })
    }

    /// Begins or goes on to move the replica, if there is a copy of its log. Never waits.
    pub(super) fn start(self: &Arc<Self>, partition: TopicPartition) {
        let mut running = self.running.lock();
        if self.stopped.load(Ordering::Acquire) || running.contains_key(&partition) {
            return;
        }
        let this = Arc::clone(self);
        let name = partition.clone();
        let task = self.runtime.spawn(async move {
            let Ok(_place) = this.places.acquire().await else {
                return;
            };
            let moves = Arc::clone(&this);
            crate::blocking::run(move || moves.drive(&name)).await;
        });
        running.insert(partition, task);
    }

    /// Ends all moves where they are; they go on after the next start.
    pub(super) async fn shutdown(&self) {
        self.stopped.store(true, Ordering::Release);
        self.places.close();
        let tasks: Vec<_> = self.running.lock().drain().map(|(_, task)| task).collect();
        for task in tasks {
            if let Err(error) = task.await
                && error.is_panic()
            {
                error!(%error, "a move between log directories has ended by a panic");
            }
        }
    }

    fn drive(&self, name: &TopicPartition) {
        loop {
            let ended = match self.broker.upgrade() {
                Some(broker) => Move::new(&broker, name).run(&self.stopped),
                None => Ended::Gone,
            };
            let mut running = self.running.lock();
            // Given up and begun anew elsewhere, since this one looked.
            let again = match ended {
                Ended::Gone => self.broker.upgrade().is_some_and(|broker| {
                    let logs = BrokerLogs::new(&broker);
                    logs.log(name).is_some() && broker.partitions.logs().future(name).is_some()
                }),
                Ended::Done | Ended::Failed | Ended::Stopped => false,
            };
            if !again {
                running.remove(name);
                return;
            }
        }
    }
}

/// `num.replica.alter.log.dirs.threads`: by default one for each directory.
const THREADS: &str = "num.replica.alter.log.dirs.threads";

/// How a move has ended.
#[derive(Debug, PartialEq, Eq)]
enum Ended {
    /// The copy has taken over.
    Done,
    /// The copy, the log or the partition is not there any more.
    Gone,
    /// A disk failed, or the copy cannot be made to continue the log.
    Failed,
    /// The broker stops.
    Stopped,
}

/// The copies of a broker, as the core sees them.
struct Futures<'a>(&'a Arc<Logs>);

impl LocalLogs for Futures<'_> {
    fn offsets(&self, partition: &TopicPartition) -> Option<LogOffsets> {
        self.0.future(partition).map(|log| offsets(&log))
    }

    fn end_offset_for_epoch(&self, partition: &TopicPartition, epoch: LeaderEpoch) -> Option<EpochEnd> {
        self.0.future(partition).and_then(|log| epoch_end(&log, epoch))
    }
}

/// One replica on its way.
struct Move<'a> {
    broker: &'a Broker,
    name: &'a TopicPartition,
    core: Fetcher,
    /// What the copy was last compared at: the leader epoch, and the truncations of the log.
    compared: Option<(LeaderEpoch, u64)>,
    /// How often in a row no record batches were read.
    corrupt_reads: u32,
}

/// The two logs of a replica on its way.
struct Pair {
    partition: Arc<Partition>,
    current: Arc<Log>,
    future: Arc<Log>,
}

impl<'a> Move<'a> {
    fn new(broker: &'a Broker, name: &'a TopicPartition) -> Self {
        Self {
            broker,
            name,
            core: Fetcher::new(FetcherConfig {
                truncate_on_fetch: false,
                sessions: false,
                topic_ids: false,
                fetch_backoff: Millis(i64::from(broker.config.load().replica_fetch_backoff_ms)),
            }),
            compared: None,
            corrupt_reads: 0,
        }
    }

    fn logs(&self) -> &Arc<Logs> {
        self.broker.partitions.logs()
    }

    fn pair(&self) -> Option<Pair> {
        let partition = BrokerLogs::of(&self.broker.partitions, self.name)?;
        let current = partition.log()?;
        let future = self.logs().future(self.name)?;
        Some(Pair {
            partition,
            current,
            future,
        })
    }

    fn run(&mut self, stopped: &AtomicBool) -> Ended {
        let mut copying: Option<Arc<Log>> = None;
        loop {
            if stopped.load(Ordering::Acquire) {
                return Ended::Stopped;
            }
            let Some(pair) = self.pair() else { return Ended::Gone };
            if !copying.as_ref().is_some_and(|before| Arc::ptr_eq(before, &pair.future)) {
                info!(
                    partition = %self.name, from = %pair.current.parent_dir().display(),
                    to = %pair.future.parent_dir().display(), offset = %pair.future.log_end_offset(),
                    "beginning or resuming the copy to another log directory"
                );
                self.core.remove(self.name);
                self.compared = None;
                copying = Some(Arc::clone(&pair.future));
            }
            self.compare(&pair);
            if self.core.is_empty() {
                return Ended::Failed;
            }
            match self.advance(&pair) {
                Ok(None) => {}
                Ok(Some(ended)) => return ended,
                Err(cause) => {
                    error!(partition = %self.name, %cause, "the copy to another log directory has failed");
                    return Ended::Failed;
                }
            }
        }
    }

    /// Has the copy compared with the log before anything else, if the log may have changed other than at its end.
    fn compare(&mut self, pair: &Pair) {
        // The truncations first: one in between is then seen the next time.
        let truncations = pair.current.truncations();
        let leader_epoch = pair.partition.leader_epoch();
        let seen = self.compared.replace((leader_epoch, truncations));
        let futures = Futures(self.broker.partitions.logs());
        match seen {
            Some((epoch, before)) if epoch == leader_epoch => {
                if before != truncations {
                    self.core.mark_for_truncation(self.name, pair.current.log_end_offset());
                }
            }
            _ => {
                let initial = InitialFetch {
                    topic_id: None,
                    leader_epoch,
                    offset: pair.future.high_watermark(),
                };
                self.core.add(self.name, initial, &futures);
            }
        }
    }

    /// One step; how the move has ended, if it has.
    fn advance(&mut self, pair: &Pair) -> Result<Option<Ended>, FollowError> {
        let now = clock::now();
        let next = self.core.next(now, &Futures(self.broker.partitions.logs()));
        match next {
            Next::Truncate(_, truncation) => self.truncate(pair, &truncation)?,
            Next::AskEpochEnds(questions) => {
                for question in &questions {
                    self.answer_epoch(pair, question, now)?;
                }
            }
            Next::AskOffsets(questions) => {
                for question in &questions {
                    self.answer_offset(pair, question, now)?;
                }
            }
            Next::Fetch(request) => {
                if self.broker.replication_quotas.alter_log_dirs.is_exceeded(now) {
                    std::thread::sleep(PAUSE);
                } else if let Some((_, _, asked)) = request.partitions.first() {
                    self.core.session_answer(None, 0, 1, now);
                    return self.copy(pair, asked.fetch_offset, now);
                }
            }
            Next::Wait(_) => std::thread::sleep(PAUSE),
        }
        Ok(None)
    }

    fn answer_epoch(&mut self, pair: &Pair, question: &EpochQuestion, now: Millis) -> Result<(), FollowError> {
        let end = epoch_end(&pair.current, question.leader_epoch).unwrap_or(EpochEnd {
            leader_epoch: LeaderEpoch::NONE,
            end_offset: Offset(-1),
        });
        let futures = Futures(self.broker.partitions.logs());
        match self.core.epoch_end(question, Ok(end), now, &futures) {
            Step::Truncate(truncation) => self.truncate(pair, &truncation),
            Step::None | Step::Append { .. } | Step::Failed => Ok(()),
        }
    }

    fn answer_offset(&mut self, pair: &Pair, question: &OffsetQuestion, now: Millis) -> Result<(), FollowError> {
        let offset = if question.latest {
            pair.current.log_end_offset()
        } else {
            pair.current.log_start_offset()
        };
        let futures = Futures(self.broker.partitions.logs());
        match self.core.listed(question, Ok(offset), now, &futures) {
            Step::Truncate(truncation) => self.truncate(pair, &truncation),
            Step::None | Step::Append { .. } | Step::Failed => Ok(()),
        }
    }

    fn truncate(&mut self, pair: &Pair, truncation: &Truncation) -> Result<(), FollowError> {
        match *truncation {
            Truncation::To { offset, .. } => pair.future.truncate_to(offset).map(drop)?,
            Truncation::FullyAndStartAt { offset } => pair.future.truncate_fully_and_start_at(offset)?,
        }
        let futures = Futures(self.broker.partitions.logs());
        self.core.truncated(self.name, truncation, true, &futures);
        Ok(())
    }

    /// Copies one piece.
    fn copy(&mut self, pair: &Pair, from: Offset, now: Millis) -> Result<Option<Ended>, FollowError> {
        let max_bytes = usize::try_from(self.broker.config.load().replica_fetch_max_bytes).unwrap_or(0);
        let mut answer = FetchAnswer {
            error: None,
            high_watermark: pair.current.high_watermark(),
            diverging: None,
        };
        let piece = match read(&pair.current, from, max_bytes) {
            Ok(piece) => piece,
            Err(ReadError::OffsetOutOfRange { .. }) => {
                answer.error = Some(LeaderError::OffsetOutOfRange);
                Bytes::new()
            }
            Err(ReadError::Offline(_)) => return Ok(Some(Ended::Gone)),
            Err(cause) => {
                warn!(partition = %self.name, %cause, "the log cannot be read for its copy");
                return Ok(Some(Ended::Failed));
            }
        };
        let futures = Futures(self.broker.partitions.logs());
        let Step::Append { .. } = self.core.fetched(self.name, &answer, now, &futures) else {
            return Ok(None);
        };
        self.append(pair, piece, max_bytes, now)
    }

    /// Appends one piece of the log to the copy; having reached the end of the log, lets the copy take over.
    fn append(
        &mut self,
        pair: &Pair,
        piece: Bytes,
        max_bytes: usize,
        now: Millis,
    ) -> Result<Option<Ended>, FollowError> {
        let leader_epoch = self.compared.map_or(LeaderEpoch::NONE, |(epoch, _)| epoch);
        let size = piece.len();
        let appended = match size {
            0 => None,
            _ => match append_fetched(&pair.future, piece, leader_epoch, now) {
                // What is read while the log is truncated and appended to again may be of two batches.
                Err(cause) if cause.is_corrupt() && self.corrupt_reads < CORRUPT_READS_MAX => {
                    self.corrupt_reads += 1;
                    warn!(partition = %self.name, %cause, "what was read for the copy is no record batch; comparing anew");
                    self.core.remove(self.name);
                    self.compared = None;
                    return Ok(None);
                }
                appended => appended?,
            },
        };
        self.corrupt_reads = 0;
        if size > 0 && appended.is_none() {
            // Of a later leader epoch than this broker has heard of.
            std::thread::sleep(PAUSE);
        }
        follow_offsets(&pair.current, &pair.future);
        self.broker.replication_quotas.alter_log_dirs.record(size, now);
        let outcome = AppendOutcome::Appended {
            last_offset: appended.as_ref().map(|it| it.last_offset),
            leader_epoch: appended.map(|it| it.leader_epoch).filter(|epoch| epoch.0 >= 0),
            leader_high_watermark: pair.current.high_watermark(),
        };
        self.core.appended(self.name, outcome, now);
        if size < max_bytes && pair.current.log_end_offset() - pair.future.log_end_offset() <= SMALL_REST {
            return self.take_over(pair);
        }
        Ok(None)
    }

    fn take_over(&self, pair: &Pair) -> Result<Option<Ended>, FollowError> {
        let Some((leader_epoch, truncations)) = self.compared else {
            return Ok(None);
        };
        // What the log has on its device the copy must have as well, when the log goes.
        pair.future.flush()?;
        let replaced = pair
            .partition
            .replace_log(self.logs(), &pair.future, truncations, |current, future| {
                copy_rest(current, future, leader_epoch)
            })?;
        Ok(match replaced {
            Replaced::Yes => Some(Ended::Done),
            Replaced::Gone => Some(Ended::Gone),
            Replaced::Changed => {
                std::thread::sleep(PAUSE);
                None
            }
        })
    }
}

/// More than that in a row is no race with a truncation: the log itself is damaged.
const CORRUPT_READS_MAX: u32 = 5;

/// The copy takes over while at most so many records are missing: they are copied while nobody can append.
const SMALL_REST: i64 = 1_000;

/// How much is read at once while nobody can append.
const REST_BYTES: usize = 1 << 20;

fn copy_rest(current: &Log, future: &Log, leader_epoch: LeaderEpoch) -> Result<(), FollowError> {
    while future.log_end_offset() < current.log_end_offset() {
        let piece = match read(current, future.log_end_offset(), REST_BYTES) {
            Ok(piece) if !piece.is_empty() => piece,
            // It is compared anew.
            _ => return Ok(()),
        };
        if append_fetched(future, piece, leader_epoch, clock::now())?.is_none() {
            // Of a later leader epoch than the copy was compared at.
            return Ok(());
        }
    }
    follow_offsets(current, future);
    Ok(())
}

fn read(log: &Log, from: Offset, max_bytes: usize) -> Result<Bytes, ReadError> {
    let slice = log.read(from, max_bytes, log.log_end_offset(), true)?;
    match slice.read() {
        Ok(bytes) => Ok(bytes),
        // A truncation has cut the file meanwhile: the logs are compared anew.
        Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => Ok(Bytes::new()),
        Err(source) => Err(ReadError::Disk(DiskError {
            doing: "read",
            path: log.dir().to_path_buf(),
            source,
        })),
    }
}

/// The copy takes over the log's high watermark and log start offset.
fn follow_offsets(current: &Log, future: &Log) {
    future.update_high_watermark(current.high_watermark());
    let start = current.log_start_offset().min(future.high_watermark());
    if start > future.log_start_offset()
        && let Err(error) = future.delete_records_before(start)
    {
        warn!(partition = %future.topic_partition(), %error, "the log start offset of the copy is not raised");
    }
}

#[cfg(test)]
#[path = "moves_tests.rs"]
mod tests;
