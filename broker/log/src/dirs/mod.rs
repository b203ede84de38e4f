//! All logs of a broker, over several `log.dirs`.
//!
//! A directory whose disk fails goes offline with its logs, the others go on. One scheduler thread and a small pool
//! on demand do retention, flushing, checkpoints and deletion.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use model::{BrokerEpoch, Millis, Offset, TopicId, TopicPartition};

use crate::config::LogConfig;
use crate::disk::{Disk, DiskError};
use crate::log::Log;

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
    /// `log.initial.task.delay.ms`
    pub initial_task_delay_ms: Millis,
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
            initial_task_delay_ms: Millis(30_000),
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
pub struct Logs {}

#[allow(unused_variables, clippy::unimplemented, missing_docs)]
impl Logs {
    /// Locks the directories, loads (after an unclean stop: recovers) their logs, starts the background work.
    /// A directory that fails is offline (see [`Logs::dirs`]) unless it is the last.
    pub fn open(config: LogsConfig) -> Result<Arc<Self>, OpenError> {
        unimplemented!()
    }
    pub fn get(&self, partition: &TopicPartition) -> Option<Arc<Log>> {
        unimplemented!()
    }
    /// The log of `partition`; a new one goes to `dir` if given (AlterReplicaLogDirs before creation), else to the live directory with the fewest logs.
    pub fn get_or_create(
        &self,
        partition: &TopicPartition,
        topic_id: Option<TopicId>,
        dir: Option<&Path>,
    ) -> Result<Arc<Log>, DiskError> {
        unimplemented!()
    }
    /// Renames the log's directory to `-delete` at once; its files go after `file.delete.delay.ms`.
    pub fn delete(&self, partition: &TopicPartition) -> Result<bool, DiskError> {
        unimplemented!()
    }
    pub fn all(&self) -> Vec<Arc<Log>> {
        unimplemented!()
    }
    pub fn dirs(&self) -> Vec<DirStatus> {
        unimplemented!()
    }
    /// Paths of the directories that work.
    pub fn live_dirs(&self) -> Vec<PathBuf> {
        unimplemented!()
    }
    /// The epoch of the broker that stopped cleanly, if all directories carry its mark (see `.kafka_cleanshutdown`).
    pub fn previous_broker_epoch(&self) -> BrokerEpoch {
        unimplemented!()
    }
    /// `/config/topics/T` has changed: applies to all of its logs. Keys that are not understood were refused before.
    pub fn set_topic_overrides(&self, topic: &str, overrides: BTreeMap<String, String>) {
        unimplemented!()
    }
    /// The broker's own defaults have changed (`log.retention.ms` and the like by AlterConfigs).
    pub fn set_defaults(&self, defaults: LogConfig) {
        unimplemented!()
    }
    /// Writes `replication-offset-checkpoint` of each directory now; also done every `replica.high.watermark.checkpoint.interval.ms`.
    pub fn checkpoint_high_watermarks(&self) {
        unimplemented!()
    }
    /// Calls `tell` for each failed directory, those that failed before included.
    pub fn on_failure(&self, tell: impl Fn(&DirFailure) + Send + Sync + 'static) {
        unimplemented!()
    }
    /// Ends the background work, flushes, writes the checkpoints and the clean mark, unlocks. Later appends are refused.
    pub fn shutdown(&self, broker_epoch: BrokerEpoch) -> ShutdownReport {
        unimplemented!()
    }
}
