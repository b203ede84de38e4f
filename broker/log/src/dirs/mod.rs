//! All logs of a broker, over several `log.dirs`.
//!
//! A directory whose disk fails goes offline with its logs, the others go on; it comes back with the next start. One
//! scheduler thread and a small pool on demand do retention, flushing, checkpoints and deletion.
//!
//! Invariants: a partition's log is in one directory; what is in the table of logs was loaded whole; the clean mark is
//! written last, after everything it vouches for is on the device.
//!
//! Source: Kafka 3.9 `LogManager`.

mod background;
mod cleaning;
#[cfg(test)]
mod cleaning_tests;
mod future;
mod names;
mod open;
mod stop;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use model::{BrokerEpoch, Millis, Offset, TopicId, TopicPartition};
use parking_lot::{Mutex, RwLock};

use crate::cleaner::{Cleaner, CleanerConfig};
use crate::config::LogConfig;
use crate::dir_lock::DirLock;
use crate::disk::{Disk, DiskError};
use crate::log::{Home, Load, Log, Shared};

pub use future::MoveError;

/// What [`Logs::open`] must know. The comments name the broker configs.
#[derive(Clone, Debug)]
pub struct LogsConfig {
    /// `log.dirs`, or `log.dir`. Absolute paths.
    pub dirs: Vec<PathBuf>,
    /// The defaults of all topics, from the broker's configs.
    pub defaults: LogConfig,
    /// `/config/topics/T` of each topic that has any.
    pub topic_overrides: HashMap<String, BTreeMap<String, String>>,
    /// `num.recovery.threads.per.data.dir`
    pub recovery_threads_per_dir: usize,
    /// `background.threads`: at most so many at once; idle ones end.
    pub background_threads: usize,
    /// `log.flush.scheduler.interval.ms`
    pub flush_scheduler_interval_ms: Millis,
    /// `log.flush.offset.checkpoint.interval.ms`
    pub flush_offset_checkpoint_interval_ms: Millis,
    /// `log.flush.start.offset.checkpoint.interval.ms`
    pub flush_start_offset_checkpoint_interval_ms: Millis,
    /// `log.retention.check.interval.ms`
    pub retention_check_interval_ms: Millis,
    /// `replica.high.watermark.checkpoint.interval.ms`
    pub high_watermark_checkpoint_interval_ms: Millis,
    /// `producer.id.expiration.ms`
    pub producer_id_expiration_ms: Millis,
    /// `producer.id.expiration.check.interval.ms`
    pub producer_id_expiration_check_interval_ms: Millis,
    /// `transaction.max.timeout.ms`
    pub max_transaction_timeout_ms: Millis,
    /// `transaction.partition.verification.enable`
    pub verify_transactions: bool,
    /// `log.initial.task.delay.ms`
    pub initial_task_delay_ms: Millis,
    /// `log.cleaner.*`
    pub cleaner: CleanerConfig,
    /// Where the bytes go.
    pub disk: Disk,
}

impl LogsConfig {
    /// Kafka's defaults for these directories.
    pub fn new(dirs: Vec<PathBuf>) -> Self {
        Self {
            dirs,
            defaults: LogConfig::default(),
            topic_overrides: HashMap::new(),
            recovery_threads_per_dir: 1,
            background_threads: 10,
            flush_scheduler_interval_ms: Millis(i64::MAX),
            flush_offset_checkpoint_interval_ms: Millis(60_000),
            flush_start_offset_checkpoint_interval_ms: Millis(60_000),
            retention_check_interval_ms: Millis(300_000),
            high_watermark_checkpoint_interval_ms: Millis(5_000),
            producer_id_expiration_ms: Millis(86_400_000),
            producer_id_expiration_check_interval_ms: Millis(600_000),
            max_transaction_timeout_ms: Millis(900_000),
            verify_transactions: false,
            initial_task_delay_ms: Millis(30_000),
            cleaner: CleanerConfig::default(),
            disk: Disk::real(),
        }
    }
}

/// Why a broker cannot start on these directories.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// None of the directories can be used.
    #[error("Shutdown broker because none of the specified log dirs from {0:?} can be created or validated")]
    NoUsableDir(Vec<PathBuf>),
    /// Another process has the directory.
    #[error("Failed to acquire lock on file .lock in {}. A Kafka instance in another process or thread is using this directory.", .0.display())]
    Locked(PathBuf),
    /// The same directory twice.
    #[error("duplicate log directory found: {}", .0.display())]
    Duplicate(PathBuf),
    /// A topic-partition is in two directories.
    #[error("Duplicate log directories for {partition} are found in both {} and {}. It is likely because log directory failure happened while broker was replacing current replica with future replica. Recover broker from this failure by manually deleting one of the two directories for this partition. It is recommended to delete the partition in the log directory that is known to have failed recently.", first.display(), second.display())]
    DuplicateLog {
        /// Which.
        partition: TopicPartition,
        /// One of them.
        first: PathBuf,
        /// The other.
        second: PathBuf,
    },
    /// A directory in a log directory is not named like a partition.
    #[error("Found directory {}, '{name}' is not in the form of topic-partition or topic-partition.uniqueId-delete (if marked for deletion). Kafka's log directories (and children) should only contain Kafka topic data.", path.display())]
    ForeignDirectory {
        /// Where.
        path: PathBuf,
        /// Its name.
        name: String,
    },
}

/// A log directory has failed.
#[derive(Clone, Debug)]
pub struct DirFailure {
    /// The `log.dirs` entry.
    pub dir: PathBuf,
    /// Why.
    pub reason: String,
    /// The logs that went offline with it.
    pub partitions: Vec<TopicPartition>,
    /// The copies on their way to it: their moves have ended.
    pub futures: Vec<TopicPartition>,
}

/// A log's size, for DescribeLogDirs.
#[derive(Clone, Debug)]
pub struct LogSize {
    /// Of which partition.
    pub partition: TopicPartition,
    /// Bytes of its segments.
    pub bytes: u64,
    /// Its end.
    pub log_end_offset: Offset,
    /// Whether it is a copy on its way to another directory.
    pub is_future: bool,
}

/// A log directory, for DescribeLogDirs.
#[derive(Clone, Debug)]
pub struct DirStatus {
    /// The `log.dirs` entry.
    pub dir: PathBuf,
    /// Why it is offline, if it is.
    pub offline: Option<String>,
    /// Size of the file system, −1 if unknown.
    pub total_bytes: i64,
    /// Bytes left for us on it, −1 if unknown.
    pub usable_bytes: i64,
    /// The logs in it.
    pub logs: Vec<LogSize>,
}

/// What a shutdown did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ShutdownReport {
    /// Directories that now carry the clean mark.
    pub clean: Vec<PathBuf>,
    /// Directories that do not, and why: their logs are recovered at the next start.
    pub unclean: Vec<(PathBuf, String)>,
}

/// All logs of a broker.
pub struct Logs {
    shared: Arc<Shared>,
    dirs: Vec<Dir>,
    logs: RwLock<hashbrown::HashMap<TopicPartition, Arc<Log>>>,
    /// Copies on their way to another directory.
    future_logs: RwLock<hashbrown::HashMap<TopicPartition, Arc<Log>>>,
    /// Where logs that do not exist yet are to be created. Source: Kafka `LogManager.preferredLogDirs`.
    preferred_dirs: Mutex<HashMap<TopicPartition, PathBuf>>,
    /// Creating and deleting go one after the other. Source: Kafka `logCreationOrDeletionLock`.
    changing: Mutex<()>,
    defaults: ArcSwap<LogConfig>,
    overrides: RwLock<HashMap<String, BTreeMap<String, String>>>,
    previous_broker_epoch: BrokerEpoch,
    failures: Mutex<Failures>,
    recovery_threads_per_dir: AtomicUsize,
    cleaner: Arc<Cleaner>,
    stopped: AtomicBool,
}

/// One entry of `log.dirs`.
struct Dir {
    home: Arc<Home>,
    lock: Mutex<Option<DirLock>>,
    /// A rewrite of its checkpoints is on its way.
    rewriting: AtomicBool,
    /// What the high watermark checkpoint last said: an idle broker writes nothing.
    high_watermarks: Mutex<hashbrown::HashMap<TopicPartition, Offset>>,
    unsynced: Mutex<Unsynced>,
    /// Up to where each compacted log is clean.
    cleaned: Mutex<hashbrown::HashMap<TopicPartition, Offset>>,
    /// One rewrite of a checkpoint at a time: two would share a temporary file.
    checkpoints: Mutex<()>,
}

/// Files of new logs that are to be synced, all together.
#[derive(Default)]
struct Unsynced {
    files: Vec<(std::fs::File, PathBuf)>,
    /// More than are worth remembering: the whole file system is synced.
    many: bool,
    planned: bool,
}

/// How soon after their creation the files of new logs are synced. Many creations share it.
const SYNC_DELAY: Duration = Duration::from_millis(500);

/// More new logs than this are synced by one sync of the file system.
const SYNCED_ONE_BY_ONE: usize = 64;

#[derive(Default)]
struct Failures {
    past: Vec<DirFailure>,
    listeners: Vec<Listener>,
}

type Listener = Box<dyn Fn(&DirFailure) + Send + Sync>;

/// How soon after a deletion the checkpoints stop naming the log. Many deletions share one rewrite.
const REWRITE_DELAY: Duration = Duration::from_millis(100);

impl Logs {
    /// The log of `partition`, if it is here and its directory works.
    pub fn get(&self, partition: &TopicPartition) -> Option<Arc<Log>> {
        self.logs.read().get(partition).cloned()
    }

    /// The log of `partition`. A new one goes to `dir` if that is given (AlterReplicaLogDirs before the creation), else
    /// to the working directory with the fewest logs.
    ///
    /// # Errors
    /// When the disk fails, no directory works, or the partition's log is in a directory that has failed.
    pub fn get_or_create(
        self: &Arc<Self>,
        partition: &TopicPartition,
        topic_id: Option<TopicId>,
        dir: Option<&Path>,
    ) -> Result<Arc<Log>, DiskError> {
        if let Some(log) = self.get(partition) {
            return Ok(log);
        }
        let _changing = self.changing.lock();
        if let Some(log) = self.get(partition) {
            return Ok(log);
        }
        let refuse = |reason: &str, path: &Path| DiskError {
            doing: "create a log in",
            path: path.to_owned(),
            source: std::io::Error::other(reason.to_owned()),
        };
        let failed = |failure: &DirFailure| failure.partitions.contains(partition).then(|| failure.dir.clone());
        if let Some(dir) = self.failures.lock().past.iter().find_map(failed) {
            return Err(refuse("the partition is there, and the directory is offline", &dir));
        }
        if self.stopped.load(Ordering::Acquire) {
            return Err(refuse("the broker is stopping", Path::new("")));
        }
        let preferred = self.preferred_dirs.lock().remove(partition);
        let home = match dir.or(preferred.as_deref()) {
            Some(dir) => match self.dirs.iter().find(|d| d.home.path == dir) {
                Some(dir) if dir.home.offline().is_none() => dir.home.clone(),
                _ => return Err(refuse("it is offline or not in log.dirs", dir)),
            },
            None => self
                .emptiest()
                .ok_or_else(|| refuse("no log directory is online", Path::new("")))?,
        };
        let log = self.create(partition, topic_id, &home, partition.to_string())?;
        tracing::info!(%partition, dir = %home.path.display(), "created log");
        self.logs.write().insert(partition.clone(), log.clone());
        Ok(log)
    }

    /// Makes an empty log in `home`, in the folder `name`. `changing` is locked.
    fn create(
        self: &Arc<Self>,
        partition: &TopicPartition,
        topic_id: Option<TopicId>,
        home: &Arc<Home>,
        name: String,
    ) -> Result<Arc<Log>, DiskError> {
        let load = Load {
            partition: partition.clone(),
            config: self.config_of(&partition.topic),
            name,
            log_start_offset: Offset::ZERO,
            recovery_point: Offset::ZERO,
            high_watermark: Offset::ZERO,
            clean: true,
            new: Some(topic_id.unwrap_or(TopicId::ZERO)),
        };
        let loaded = Log::load(&self.shared, home, load).inspect_err(|error| home.fail(error))?;
        if let Some(file) = loaded.unsynced {
            self.sync_soon(&home.path, file, loaded.log.dir().join(crate::partition_metadata::FILE));
        }
        Ok(loaded.log)
    }

    /// The working directory with the fewest logs. Source: Kafka `LogManager.nextLogDirs`.
    fn emptiest(&self) -> Option<Arc<Home>> {
        let live: Vec<&Dir> = self.dirs.iter().filter(|dir| dir.home.offline().is_none()).collect();
        if let [only] = live[..] {
            return Some(only.home.clone());
        }
        let mut counts: HashMap<PathBuf, usize> = HashMap::new();
        for log in self.logs.read().values().chain(self.future_logs.read().values()) {
            *counts.entry(log.parent_dir().to_owned()).or_default() += 1;
        }
        live.into_iter()
            .min_by_key(|dir| counts.get(&dir.home.path).copied().unwrap_or(0))
            .map(|dir| dir.home.clone())
    }

    fn config_of(&self, topic: &str) -> LogConfig {
        let defaults = self.defaults.load();
        match self.overrides.read().get(topic) {
            None => (**defaults).clone(),
            Some(overrides) => resolve(&defaults, topic, overrides),
        }
    }

    /// Deletes the log of `partition`: its directory is renamed at once, its files go after `file.delete.delay.ms`.
    /// Whether there was one. Source: Kafka `LogManager.asyncDelete`.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn delete(self: &Arc<Self>, partition: &TopicPartition) -> Result<bool, DiskError> {
        self.retire(partition, names::DELETE)
    }

    /// Takes the log of `partition` out of service but keeps its files, in a directory whose name ends in `-stray`.
    /// Whether there was one.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn mark_stray(self: &Arc<Self>, partition: &TopicPartition) -> Result<bool, DiskError> {
        self.retire(partition, names::STRAY)
    }

    fn retire(self: &Arc<Self>, partition: &TopicPartition, suffix: &str) -> Result<bool, DiskError> {
        let _changing = self.changing.lock();
        self.preferred_dirs.lock().remove(partition);
        self.abandon_future_locked(partition)?;
        let Some(log) = self.logs.write().remove(partition) else {
            return Ok(false);
        };
        self.retire_log(&log, suffix)?;
        Ok(true)
    }

    /// A log that is in no table any more.
    fn retire_log(self: &Arc<Self>, log: &Log, suffix: &str) -> Result<(), DiskError> {
        let partition = log.topic_partition();
        log.mark_deleted(&names::with_suffix(partition, suffix))?;
        self.move_cleaned(partition, log.parent_dir(), None);
        tracing::info!(%partition, dir = %log.dir().display(), "log is scheduled for deletion");
        self.rewrite_checkpoints_soon(log.parent_dir());
        if suffix == names::DELETE {
            let delay = log.config().file_delete_delay_ms;
            self.remove_later(log.dir().to_path_buf(), delay);
        }
        Ok(())
    }

    /// Removes the directory of a deleted log after `delay`.
    fn remove_later(&self, dir: PathBuf, delay: Millis) {
        let disk = self.shared.disk.clone();
        self.shared
            .scheduler
            .later(Duration::from_millis(delay.0.max(0) as u64), move || {
                match disk.remove_dir_all(&dir) {
                    Ok(()) => tracing::info!(dir = %dir.display(), "deleted log"),
                    // It is looked for again at the next start.
                    Err(error) => tracing::error!(%error, "cannot delete a log"),
                }
            });
    }

    /// All logs whose directories work, in no order.
    pub fn all(&self) -> Vec<Arc<Log>> {
        self.logs.read().values().cloned().collect()
    }

    /// All logs, and the copies that are on their way to another directory.
    fn with_futures(&self) -> Vec<Arc<Log>> {
        let mut all = self.all();
        all.extend(self.future_logs.read().values().cloned());
        all
    }

    /// All that lies in a directory, copies on their way to it included.
    fn logs_in(&self, home: &Home) -> Vec<Arc<Log>> {
        let mut all = self.with_futures();
        all.retain(|log| log.parent_dir() == home.path);
        all
    }

    /// The directories, for DescribeLogDirs.
    pub fn dirs(&self) -> Vec<DirStatus> {
        let size = |log: &Arc<Log>, is_future| LogSize {
            partition: log.topic_partition().clone(),
            bytes: log.size_bytes(),
            log_end_offset: log.log_end_offset(),
            is_future,
        };
        self.dirs
            .iter()
            .map(|dir| {
                let home = &dir.home;
                let offline = home.offline().map(str::to_owned);
                let space = match offline {
                    None => self.shared.disk.space(&home.path).ok(),
                    Some(_) => None,
                };
                let bytes = |bytes: Option<u64>| bytes.and_then(|b| i64::try_from(b).ok()).unwrap_or(-1);
                let here = |log: &&Arc<Log>| log.parent_dir() == home.path;
                let current = self.logs.read();
                let future = self.future_logs.read();
                let current = current.values().filter(here).map(|log| size(log, false));
                let future = future.values().filter(here).map(|log| size(log, true));
                let logs = current.chain(future).collect();
                DirStatus {
                    dir: home.path.clone(),
                    offline,
                    total_bytes: bytes(space.map(|(total, _)| total)),
                    usable_bytes: bytes(space.map(|(_, usable)| usable)),
                    logs,
                }
            })
            .collect()
    }

    /// Paths of the directories that work.
    pub fn live_dirs(&self) -> Vec<PathBuf> {
        self.dirs
            .iter()
            .filter(|dir| dir.home.offline().is_none())
            .map(|dir| dir.home.path.clone())
            .collect()
    }

    /// The epoch at which this broker last stopped cleanly, if every directory carried the mark of the same one.
    pub fn previous_broker_epoch(&self) -> BrokerEpoch {
        self.previous_broker_epoch
    }

    /// `/config/topics/T` has changed: applies to all of its logs, and to those created later.
    ///
    /// Values that are not valid are logged and count as not set: a client's were refused before
    /// ([`LogConfig::validate`]).
    pub fn set_topic_overrides(&self, topic: &str, overrides: BTreeMap<String, String>) {
        {
            let mut all = self.overrides.write();
            if overrides.is_empty() {
                all.remove(topic);
            } else {
                all.insert(topic.to_owned(), overrides);
            }
        }
        self.apply_config(|log| &*log.topic_partition().topic == topic);
    }

    /// The overrides in force for `topic`.
    pub fn topic_overrides(&self, topic: &str) -> BTreeMap<String, String> {
        self.overrides.read().get(topic).cloned().unwrap_or_default()
    }

    /// What holds for `topic`, whether or not it has a log here.
    pub fn topic_config(&self, topic: &str) -> LogConfig {
        self.config_of(topic)
    }

    /// The broker's own defaults have changed (`log.retention.ms` and the like, by AlterConfigs).
    pub fn set_defaults(&self, defaults: LogConfig) {
        self.defaults.store(Arc::new(defaults));
        self.apply_config(|_| true);
    }

    fn apply_config(&self, concerns: impl Fn(&Log) -> bool) {
        for log in self.with_futures() {
            if concerns(&log) {
                log.update_config(self.config_of(&log.topic_partition().topic));
            }
        }
    }

    /// `background.threads` has changed.
    pub fn set_background_threads(&self, threads: usize) {
        self.shared.scheduler.resize(threads);
    }

    /// `num.recovery.threads.per.data.dir` has changed: the logs are closed by so many.
    pub fn set_recovery_threads(&self, threads: usize) {
        self.recovery_threads_per_dir.store(threads.max(1), Ordering::Relaxed);
    }

    /// `producer.id.expiration.ms` has changed.
    pub fn set_producer_id_expiration(&self, expiration: Millis) {
        self.shared
            .producer_id_expiration_ms
            .store(expiration.0, Ordering::Relaxed);
    }

    /// `transaction.partition.verification.enable` has changed.
    pub fn set_verify_transactions(&self, verify: bool) {
        self.shared.verify_transactions.store(verify, Ordering::Relaxed);
    }

    /// Calls `tell` for each failed directory, those that failed before included.
    pub fn on_failure(&self, tell: impl Fn(&DirFailure) + Send + Sync + 'static) {
        let mut failures = self.failures.lock();
        failures.past.iter().for_each(&tell);
        failures.listeners.push(Box::new(tell));
    }

    /// A directory has failed: its logs are not ours any more.
    fn dir_failed(&self, path: &Path, reason: &str) {
        let leave = |logs: &RwLock<hashbrown::HashMap<TopicPartition, Arc<Log>>>| {
            let mut left = Vec::new();
            logs.write().retain(|partition, log| {
                let here = log.parent_dir() == path;
                if here {
                    left.push(partition.clone());
                }
                !here
            });
            left.sort_unstable();
            left
        };
        let (partitions, futures) = (leave(&self.logs), leave(&self.future_logs));
        let failure = DirFailure {
            dir: path.to_owned(),
            reason: reason.to_owned(),
            partitions,
            futures,
        };
        tracing::warn!(
            dir = %path.display(),
            partitions = failure.partitions.len(),
            "stopped serving logs of an offline directory"
        );
        let mut failures = self.failures.lock();
        failures.past.push(failure.clone());
        failures.listeners.iter().for_each(|tell| tell(&failure));
    }
}

impl Drop for Logs {
    /// Without [`Logs::shutdown`] this is what a crash is to the files: nothing more is written.
    fn drop(&mut self) {
        self.cleaner.signal_stop();
        self.shared.scheduler.stop();
    }
}

/// What holds for a topic. Values that are not valid are left out one by one.
fn resolve(defaults: &LogConfig, topic: &str, overrides: &BTreeMap<String, String>) -> LogConfig {
    let mut valid = overrides.clone();
    valid.retain(|name, value| {
        let checked = crate::config::find(name).map_or(Ok(()), |key| crate::config::check(key, value));
        if let Err(error) = &checked {
            tracing::error!(%topic, %error, "a topic config is passed over");
        }
        checked.is_ok()
    });
    LogConfig::resolve(defaults, &valid).unwrap_or_else(|error| {
        tracing::error!(%topic, %error, "the topic's configs are passed over");
        defaults.clone()
    })
}
