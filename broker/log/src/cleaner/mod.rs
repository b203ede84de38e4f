//! The cleaner: compaction of logs whose `cleanup.policy` has `compact`.
//!
//! ```text
//! selection    which part of a log is dirty, whether that is worth cleaning             pure
//! run          one cleaning of one log                                                  files
//!   offset_map   the newest offset of each key                                          pure
//!   transactions which batches are aborted, which markers have nothing left to mark     pure
//!   filter       what is left of a batch; legacy: of a message of the old formats       pure
//!   output       the segment being written
//! throttle     how fast
//! ```
//! This module holds what its threads share: who cleans which log, which logs are set aside, how to stop. Which logs
//! there are and where their checkpoints lie is [`crate::dirs`]'s; how segments change places is [`crate::log`]'s.
//!
//! Invariants: a log is cleaned by one thread at a time; offsets of records never change, nor does their order; nothing at
//! or past the last stable offset, or in the active segment, is touched; a log that cannot be cleaned does not keep the
//! others from it.
//!
//! Source: Kafka 3.9 `LogCleaner`, `LogCleanerManager`; KIP-58, KIP-98, KIP-354, KIP-346, KIP-534.

mod filter;
mod legacy;
mod offset_map;
mod output;
mod run;
mod selection;
#[cfg(test)]
mod tests;
mod throttle;
mod transactions;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use hashbrown::{HashMap, HashSet};
use model::{Millis, TopicPartition};
use parking_lot::{Condvar, Mutex};

pub(crate) use filter::LastRecord;
pub(crate) use output::CleanedSegment;
pub(crate) use run::{CleanError, Job, Stats};
pub(crate) use selection::{Dirt, Facts, SegmentFacts, dirt};
use throttle::Throttle;

/// How the cleaner works. The comments name the broker configs.
#[derive(Clone, Debug, PartialEq)]
pub struct CleanerConfig {
    /// `log.cleaner.enable`
    pub enable: bool,
    /// `log.cleaner.threads`
    pub threads: usize,
    /// `log.cleaner.dedupe.buffer.size`: of all threads together, taken as keys come.
    pub dedupe_buffer_size: u64,
    /// `log.cleaner.io.buffer.load.factor`
    pub load_factor: f64,
    /// `log.cleaner.io.buffer.size`: of all threads together.
    pub io_buffer_size: usize,
    /// `log.cleaner.io.max.bytes.per.second`
    pub max_io_bytes_per_second: f64,
    /// `log.cleaner.backoff.ms`
    pub backoff_ms: Millis,
}

impl Default for CleanerConfig {
    fn default() -> Self {
        Self {
            enable: true,
            threads: 1,
            dedupe_buffer_size: 128 << 20,
            load_factor: 0.9,
            io_buffer_size: 512 << 10,
            max_io_bytes_per_second: f64::MAX,
            backoff_ms: Millis(15_000),
        }
    }
}

impl CleanerConfig {
    /// Bytes of keys that one thread may have.
    pub(crate) fn map_bytes(&self) -> u64 {
        (self.dedupe_buffer_size / self.threads.max(1) as u64).max(run::LEAST_MAP_BYTES)
    }

    /// Bytes that one thread reads at once; as many again may be written anew.
    pub(crate) fn io_bytes(&self) -> usize {
        self.io_buffer_size / self.threads.max(1) / 2
    }
}

/// A log that is not cleaned although it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Uncleanable {
    /// Of which partition.
    pub partition: TopicPartition,
    /// In which entry of `log.dirs`.
    pub dir: PathBuf,
    /// Why.
    pub reason: String,
}

/// How the cleaner is doing, for metrics. Source: Kafka's gauges of `LogCleaner` and `LogCleanerManager`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct CleanerStatus {
    /// `uncleanable-partitions-count`, and which they are.
    pub uncleanable: Vec<Uncleanable>,
    /// `max-dirty-percent`: of the dirtiest log when one was last chosen.
    pub max_dirty_percent: u32,
    /// `time-since-last-run-ms`; `None` before the first.
    pub time_since_last_run: Option<Duration>,
    /// `max-buffer-utilization-percent`: how full the map of keys was in the last cleaning.
    pub buffer_utilization_percent: u32,
    /// `cleaner-recopy-percent`: how much of what was read in the last cleaning was written again.
    pub recopy_percent: u32,
    /// `max-clean-time-secs`: how long the last cleaning took.
    pub clean_time: Duration,
    /// Cleanings that came to an end.
    pub cleanings: u64,
    /// `DeadThreadCount` would count these in Kafka: threads that panicked. Here they go on.
    pub panics: u64,
}

/// What the threads share.
pub(crate) struct Cleaner {
    config: ArcSwap<CleanerConfig>,
    throttle: Throttle,
    state: Mutex<State>,
    wake: Condvar,
    threads: Mutex<Vec<JoinHandle<()>>>,
    /// Choosing a log is for one thread at a time.
    pub(crate) choosing: Mutex<()>,
}

#[derive(Default)]
struct State {
    stopped: bool,
    /// Changes with the configuration: who rests looks again.
    configurations: u64,
    in_progress: HashSet<TopicPartition>,
    set_aside: HashMap<TopicPartition, SetAside>,
    /// How often each log that is due was passed over for a dirtier one.
    passed_over: HashMap<TopicPartition, u32>,
    max_dirty_ratio: f64,
    last_run: Option<Instant>,
    last: Option<Stats>,
    cleanings: u64,
    panics: u64,
}

struct SetAside {
    dir: PathBuf,
    reason: String,
    /// Tried again from then on; `None` for not before the next start.
    until: Option<Instant>,
}

/// How long a log waits for room on its device.
const NO_ROOM: Duration = Duration::from_secs(300);

/// How much dirtier a log counts for each time that it was passed over.
const PASSED_OVER: f64 = 0.1;

/// Threads of the cleaner leave the processors to whoever waits for an answer.
const NICE: i32 = 10;

impl Cleaner {
    pub(crate) fn new(config: CleanerConfig) -> Arc<Self> {
        Arc::new(Self {
            throttle: Throttle::new(config.max_io_bytes_per_second),
            config: ArcSwap::from_pointee(config),
            state: Mutex::default(),
            wake: Condvar::new(),
            threads: Mutex::default(),
            choosing: Mutex::new(()),
        })
    }

    pub(crate) fn config(&self) -> Arc<CleanerConfig> {
        self.config.load_full()
    }

    /// Goes on as `config` says; more threads are started by [`Cleaner::start`], those too many end after what they are
    /// at. Source: Kafka `LogCleaner.reconfigure`.
    pub(crate) fn reconfigure(&self, config: CleanerConfig) {
        self.throttle.set_rate(config.max_io_bytes_per_second);
        self.config.store(Arc::new(config));
        self.state.lock().configurations += 1;
        self.wake.notify_all();
    }

    /// Sees to it that there are as many threads as the configuration says. Each calls `clean` again and again; `true` says
    /// that there was something to clean, `None` that there is nobody to work for any more.
    pub(crate) fn start(self: &Arc<Self>, clean: impl Fn() -> Option<bool> + Clone + Send + 'static) {
        let mut threads = self.threads.lock();
        let config = self.config();
        let wanted = if config.enable { config.threads } else { 0 };
        threads.retain(|thread| !thread.is_finished());
        // Those that are to end have not all noticed yet: numbers tell them from the new ones.
        for number in 0..wanted {
            let name = thread_name(number);
            if threads.iter().any(|thread| thread.thread().name() == Some(&name)) {
                continue;
            }
            let (this, clean) = (self.clone(), clean.clone());
            match std::thread::Builder::new()
                .name(name)
                .spawn(move || this.work(number, clean))
            {
                Ok(thread) => threads.push(thread),
                Err(error) => tracing::error!(%error, "cannot start a thread of the log cleaner"),
            }
        }
    }

    fn work(&self, number: usize, clean: impl Fn() -> Option<bool>) {
        if let Err(error) = rustix::process::setpriority_process(None, NICE) {
            tracing::debug!(%error, "the log cleaner keeps the priority of the other threads");
        }
        while self.rest(self.backoff()) && !self.leaves(number) {
            loop {
                match std::panic::catch_unwind(std::panic::AssertUnwindSafe(&clean)) {
                    Ok(Some(true)) => {}
                    Ok(Some(false)) => break,
                    Ok(None) => return,
                    Err(_) => {
                        // The log it was at is set aside; see `InProgress`.
                        tracing::error!(thread = number, "a thread of the log cleaner has panicked and goes on");
                        self.state.lock().panics += 1;
                        break;
                    }
                }
                if self.is_stopped() || number >= self.config().threads {
                    break;
                }
            }
        }
    }

    /// Whether this thread is one too many; then it is forgotten, so that another may be started in its place.
    fn leaves(&self, number: usize) -> bool {
        let mut threads = self.threads.lock();
        let leaves = number >= self.config().threads;
        if leaves {
            threads.retain(|thread| thread.thread().id() != std::thread::current().id());
        }
        leaves
    }

    fn backoff(&self) -> Duration {
        Duration::from_millis(u64::try_from(self.config().backoff_ms.0).unwrap_or(0).max(1))
    }

    /// Waits, until the configuration changes at the most; `false` once the cleaner is stopped.
    fn rest(&self, span: Duration) -> bool {
        let mut state = self.state.lock();
        let end = Instant::now().checked_add(span);
        let configurations = state.configurations;
        while !state.stopped && state.configurations == configurations {
            let timed_out = match end {
                Some(end) => self.wake.wait_until(&mut state, end).timed_out(),
                None => {
                    self.wake.wait(&mut state);
                    false
                }
            };
            if timed_out {
                break;
            }
        }
        !state.stopped
    }

    pub(crate) fn is_stopped(&self) -> bool {
        self.state.lock().stopped
    }

    /// Tells the threads to give up what they are at.
    pub(crate) fn signal_stop(&self) {
        self.state.lock().stopped = true;
        self.wake.notify_all();
    }

    /// Ends the threads and waits for them.
    pub(crate) fn stop(&self) {
        self.signal_stop();
        let threads = std::mem::take(&mut *self.threads.lock());
        for thread in threads {
            if thread.join().is_err() {
                tracing::error!("a thread of the log cleaner has panicked");
            }
        }
    }

    /// Takes `bytes` of reading and writing into account, and waits if that was too fast. `false` once stopped.
    pub(crate) fn pace(&self, bytes: u64) -> bool {
        match self.throttle.take(bytes, Instant::now()) {
            Duration::ZERO => !self.is_stopped(),
            wait => self.rest(wait),
        }
    }

    /// Whether somebody cleans the log, or it is set aside.
    pub(crate) fn is_taken(&self, partition: &TopicPartition) -> bool {
        let mut state = self.state.lock();
        if let Some(aside) = state.set_aside.get(partition)
            && aside.until.is_some_and(|until| until <= Instant::now())
        {
            state.set_aside.remove(partition);
        }
        state.in_progress.contains(partition) || state.set_aside.contains_key(partition)
    }

    /// The log of `partition`, in `dir`, is cleaned by the caller until what is returned is dropped.
    pub(crate) fn begin(self: &Arc<Self>, partition: &TopicPartition, dir: &Path) -> InProgress {
        self.state.lock().in_progress.insert(partition.clone());
        InProgress {
            cleaner: self.clone(),
            partition: partition.clone(),
            dir: dir.to_owned(),
        }
    }

    /// Which of the logs that are due comes first, given how dirty each is: the dirtiest, but one that is passed over again
    /// and again counts as dirtier each time. Else one busy log could keep a thread from all others, as in Kafka.
    pub(crate) fn first_of(&self, due: &[(TopicPartition, f64)]) -> Option<usize> {
        let mut state = self.state.lock();
        let score = |partition: &TopicPartition, ratio: f64| {
            ratio + PASSED_OVER * f64::from(state.passed_over.get(partition).copied().unwrap_or(0))
        };
        let scores = due.iter().map(|(partition, ratio)| score(partition, *ratio));
        let first = scores.enumerate().max_by(|a, b| a.1.total_cmp(&b.1))?.0;
        let before = std::mem::take(&mut state.passed_over);
        state.passed_over = due
            .iter()
            .enumerate()
            .filter(|(at, _)| *at != first)
            .map(|(_, (partition, _))| (partition.clone(), before.get(partition).copied().unwrap_or(0) + 1))
            .collect();
        Some(first)
    }

    /// Somebody chose, and the dirtiest log was so dirty.
    pub(crate) fn chose(&self, max_dirty_ratio: f64) {
        let mut state = self.state.lock();
        state.max_dirty_ratio = max_dirty_ratio;
        state.last_run = Some(Instant::now());
    }

    pub(crate) fn cleaned(&self, stats: Stats) {
        let mut state = self.state.lock();
        state.last = Some(stats);
        state.cleanings += 1;
    }

    /// The log is not cleaned any more: until there is room, or the next start. Told once.
    pub(crate) fn set_aside(&self, partition: &TopicPartition, dir: &Path, error: &CleanError) {
        let no_room = matches!(error, CleanError::Disk(error) if error.is_full());
        if no_room {
            tracing::warn!(
                %partition, %error, "no room to clean the log, trying again in {} s", NO_ROOM.as_secs()
            );
        } else {
            tracing::error!(
                %partition, dir = %dir.display(), %error,
                "the log cannot be cleaned and is set aside until the next start: it grows, while other logs are cleaned; \
                 let another replica replace it, or mend the file and restart the broker"
            );
        }
        let until = no_room.then(|| Instant::now() + NO_ROOM);
        self.set_aside_for(partition, dir, error.to_string(), until);
    }

    fn set_aside_for(&self, partition: &TopicPartition, dir: &Path, reason: String, until: Option<Instant>) {
        let aside = SetAside {
            dir: dir.to_owned(),
            reason,
            until,
        };
        self.state.lock().set_aside.insert(partition.clone(), aside);
    }

    /// The log is gone: one of the same name is another.
    pub(crate) fn forget(&self, partition: &TopicPartition) {
        self.state.lock().set_aside.remove(partition);
    }

    pub(crate) fn status(&self) -> CleanerStatus {
        let state = self.state.lock();
        let mut uncleanable: Vec<_> = state
            .set_aside
            .iter()
            .map(|(partition, aside)| Uncleanable {
                partition: partition.clone(),
                dir: aside.dir.clone(),
                reason: aside.reason.clone(),
            })
            .collect();
        uncleanable.sort_unstable_by(|a, b| a.partition.cmp(&b.partition));
        let last = state.last.unwrap_or_default();
        CleanerStatus {
            uncleanable,
            max_dirty_percent: (state.max_dirty_ratio * 100.0) as u32,
            time_since_last_run: state.last_run.map(|at| at.elapsed()),
            buffer_utilization_percent: (last.map_utilization * 100.0) as u32,
            recopy_percent: u32::try_from(100 * last.bytes_written / last.bytes_read.max(1)).unwrap_or(u32::MAX),
            clean_time: last.total,
            cleanings: state.cleanings,
            panics: state.panics,
        }
    }
}

/// As Kafka names them.
fn thread_name(number: usize) -> String {
    format!("kafka-log-cleaner-thread-{number}")
}

/// A log is being cleaned.
pub(crate) struct InProgress {
    cleaner: Arc<Cleaner>,
    partition: TopicPartition,
    dir: PathBuf,
}

impl Drop for InProgress {
    fn drop(&mut self) {
        if std::thread::panicking() {
            // It would happen again and again.
            let reason = "cleaning it made a thread panic".to_owned();
            self.cleaner.set_aside_for(&self.partition, &self.dir, reason, None);
        }
        self.cleaner.state.lock().in_progress.remove(&self.partition);
    }
}
