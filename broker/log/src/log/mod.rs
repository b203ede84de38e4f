//! One partition's log: what is appended, read, truncated and deleted.
//!
//! Appends run under one short lock per log; reads take no lock at all. The offsets that others watch are atomics,
//! published in an order that never shows a record before it is wholly in its file: segment, first unstable offset,
//! log end offset.
//!
//! Does not know who leads, who is in sync or who waits: the caller moves the high watermark and wakes waiters. A
//! failed disk takes the whole log directory offline ([`Home::fail`]); nothing is retried, as in Kafka.
//!
//! Invariants: `log_start_offset <= high_watermark <= log_end_offset`; segments ascend by base offset and there is
//! always a last one, the active one; everything below the recovery point is on the device.
//!
//! Source: Kafka 3.9 `UnifiedLog`, `LocalLog`.

mod append;
mod clean;
mod flush;
mod load;
mod read;
mod retention;
mod snapshots;
#[cfg(test)]
mod tests;
mod timestamps;
mod truncate;
mod types;

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock, Weak};

use arc_swap::ArcSwap;
use model::{LeaderEpoch, Millis, Offset, TopicId, TopicPartition};
use parking_lot::{Mutex, RwLock};

use crate::append::AppendConfig;
use crate::batch;
use crate::compress::Compression;
use crate::config::{CompressionType, LogConfig, TimestampType};
use crate::disk::{Disk, DiskError};
use crate::index::SharedDir;
use crate::leader_epoch::{self, LeaderEpochs};
use crate::partition_metadata;
use crate::producer::ProducerStates;
use crate::scheduler::Scheduler;
use crate::segment::Segment;

pub(crate) use clean::CLEANED;
pub(crate) use load::{Load, Loaded};
use retention::Reason;
pub(crate) use snapshots::Snapshots;
pub use types::{
    AbortedTransaction, ActiveProducer, AppendError, Appended, EpochEnd, FileSlice, ReadError, TimestampOffset,
};

/// The clock, as milliseconds since 1970.
pub(crate) type Clock = Arc<dyn Fn() -> Millis + Send + Sync>;

/// What the logs of a broker share.
pub(crate) struct Shared {
    pub(crate) disk: Disk,
    pub(crate) scheduler: Scheduler,
    pub(crate) clock: Clock,
    /// `producer.id.expiration.ms`
    pub(crate) producer_id_expiration_ms: AtomicI64,
    /// `transaction.max.timeout.ms`
    pub(crate) max_transaction_timeout_ms: Millis,
    /// `transaction.partition.verification.enable`
    pub(crate) verify_transactions: AtomicBool,
}

/// One entry of `log.dirs`, as its logs see it.
pub(crate) struct Home {
    pub(crate) path: PathBuf,
    offline: OnceLock<String>,
    /// Told once, when the directory fails.
    tell: Box<dyn Fn(&str) + Send + Sync>,
}

impl Home {
    pub(crate) fn new(path: PathBuf, tell: impl Fn(&str) + Send + Sync + 'static) -> Arc<Self> {
        Arc::new(Self {
            path,
            offline: OnceLock::new(),
            tell: Box::new(tell),
        })
    }

    /// Why it is offline, if it is.
    pub(crate) fn offline(&self) -> Option<&str> {
        self.offline.get().map(String::as_str)
    }

    /// The directory cannot be relied upon any more: no log in it is written or read until the next start.
    ///
    /// Source: Kafka 3.9 `LogDirFailureChannel`.
    pub(crate) fn fail(&self, error: &DiskError) {
        self.fail_for(error.to_string());
    }

    pub(crate) fn fail_for(&self, reason: String) {
        let mut news = false;
        let reason = self.offline.get_or_init(|| {
            news = true;
            reason
        });
        if news {
            tracing::error!(dir = %self.path.display(), %reason, "log directory failed and goes offline");
            (self.tell)(reason);
        }
    }
}

/// One partition's log. Shared; every method takes `&self`.
pub struct Log {
    partition: TopicPartition,
    shared: Arc<Shared>,
    home: Arc<Home>,
    dir: Arc<SharedDir>,
    topic_id: RwLock<Option<TopicId>>,
    settings: ArcSwap<Settings>,
    segments: ArcSwap<Vec<Arc<Segment>>>,
    log_start_offset: AtomicI64,
    log_end_offset: AtomicI64,
    high_watermark: AtomicI64,
    /// Start of the first transaction that is open or not yet replicated; [`NO_TRANSACTION`] if there is none.
    first_unstable_offset: AtomicI64,
    recovery_point: AtomicI64,
    last_flush: AtomicI64,
    /// How often records were taken away at the end: a copy of this log must then be compared anew.
    truncations: AtomicU64,
    state: AtomicU8,
    writer: Mutex<Writer>,
    epochs: RwLock<Epochs>,
    /// One flush at a time: a second one would sync the same files.
    flushing: Mutex<()>,
    /// Held while a cleaned segment takes the place of others, and by whoever takes records away. Before `writer`.
    swapping: Mutex<()>,
    /// The smallest offset that records were cut off at since the cleaner last asked; `i64::MAX` if none were.
    lowest_truncation: AtomicI64,
    this: Weak<Self>,
}

const NO_TRANSACTION: i64 = i64::MAX;

const OPEN: u8 = 0;
const CLOSED: u8 = 1;
const DELETED_STATE: u8 = 2;

/// The configuration, in the forms that are asked for.
struct Settings {
    config: Arc<LogConfig>,
    append: AppendConfig,
}

/// What only the holder of the append lock touches.
struct Writer {
    producers: ProducerStates,
    snapshots: Snapshots,
}

/// Leader epochs and the state of their file.
#[derive(Default)]
struct Epochs {
    known: LeaderEpochs,
    /// The file's last content, while it may not be on the device.
    unsynced: Option<File>,
}

impl Settings {
    fn new(config: LogConfig) -> Arc<Self> {
        let compression = match config.compression_type {
            CompressionType::Producer => None,
            CompressionType::Uncompressed => Some(Compression::None),
            CompressionType::Gzip => Some(Compression::Gzip {
                level: config.compression_gzip_level,
            }),
            CompressionType::Snappy => Some(Compression::Snappy),
            CompressionType::Lz4 => Some(Compression::Lz4 {
                level: config.compression_lz4_level,
            }),
            CompressionType::Zstd => Some(Compression::Zstd {
                level: config.compression_zstd_level,
            }),
        };
        let append = AppendConfig {
            max_message_bytes: config.max_message_bytes,
            segment_bytes: config.segment_bytes as usize,
            compression,
            timestamp_type: match config.message_timestamp_type {
                TimestampType::CreateTime => batch::TimestampType::CreateTime,
                TimestampType::LogAppendTime => batch::TimestampType::LogAppendTime,
            },
            timestamp_before_max: config.message_timestamp_before_max_ms,
            timestamp_after_max: config.message_timestamp_after_max_ms,
            compacted: config.compact,
            max_decompressed_bytes: AppendConfig::MAX_DECOMPRESSED_BYTES,
        };
        Arc::new(Self {
            config: Arc::new(config),
            append,
        })
    }
}

impl Log {
    /// Which partition it is.
    pub fn topic_partition(&self) -> &TopicPartition {
        &self.partition
    }

    /// The id of its topic, once known.
    pub fn topic_id(&self) -> Option<TopicId> {
        *self.topic_id.read()
    }

    /// Remembers the topic id and writes `partition.metadata`, if there is none yet.
    ///
    /// Source: Kafka `UnifiedLog.assignTopicId`.
    ///
    /// # Errors
    /// When the disk fails. An id that contradicts the one known is for the caller to refuse: the known one stays.
    pub fn assign_topic_id(&self, id: TopicId) -> Result<(), DiskError> {
        let mut known = self.topic_id.write();
        if known.is_none() && !id.is_zero() {
            self.guarded(partition_metadata::write(&self.shared.disk, &self.dir.path(), id))?;
            *known = Some(id);
        }
        Ok(())
    }

    /// The entry of `log.dirs` that holds it.
    pub fn parent_dir(&self) -> &Path {
        &self.home.path
    }

    /// Its own directory.
    pub fn dir(&self) -> Arc<Path> {
        self.dir.path()
    }

    /// The configuration in force.
    pub fn config(&self) -> Arc<LogConfig> {
        self.settings.load().config.clone()
    }

    /// Changes the configuration; the next append, roll or retention goes by it.
    pub fn update_config(&self, config: LogConfig) {
        self.settings.store(Settings::new(config));
    }

    /// The first offset that may be read.
    pub fn log_start_offset(&self) -> Offset {
        Offset(self.log_start_offset.load(Ordering::Acquire))
    }

    /// The offset that the next record gets.
    pub fn log_end_offset(&self) -> Offset {
        Offset(self.log_end_offset.load(Ordering::Acquire))
    }

    /// One past the largest offset a consumer may read.
    pub fn high_watermark(&self) -> Offset {
        Offset(self.high_watermark.load(Ordering::Acquire))
    }

    /// One past the largest offset that a consumer with `read_committed` may read: the high watermark, or the start of
    /// the first open transaction below it.
    pub fn last_stable_offset(&self) -> Offset {
        // The high watermark first: a transaction that begins, and is replicated, between the two looks would otherwise be
        // below the one and unknown to the other.
        let high_watermark = self.high_watermark();
        high_watermark.min(Offset(self.first_unstable_offset.load(Ordering::Acquire)))
    }

    /// A number that changes with each truncation, before any record is gone.
    pub fn truncations(&self) -> u64 {
        self.truncations.load(Ordering::Acquire)
    }

    /// Everything below is on the device.
    pub fn recovery_point(&self) -> Offset {
        Offset(self.recovery_point.load(Ordering::Acquire))
    }

    /// Sets the high watermark, kept within `[log_start_offset, log_end_offset]`; whether it changed. For followers (it
    /// may move back) and new leaders. Source: Kafka `UnifiedLog.updateHighWatermark`.
    pub fn update_high_watermark(&self, to: Offset) -> bool {
        let to = to.min(self.log_end_offset()).max(self.log_start_offset());
        let before = self.high_watermark.swap(to.0, Ordering::AcqRel);
        self.high_watermark_moved(before, to)
    }

    /// Raises the high watermark, never lowers it; whether it changed. For leaders.
    pub fn increment_high_watermark(&self, to: Offset) -> bool {
        let to = to.min(self.log_end_offset());
        let before = self.high_watermark.fetch_max(to.0, Ordering::AcqRel);
        before < to.0 && self.high_watermark_moved(before, to)
    }

    fn high_watermark_moved(&self, before: i64, to: Offset) -> bool {
        if before == to.0 {
            return false;
        }
        // Only with transactions does anything else depend on it; without, no lock is taken.
        if self.first_unstable_offset.load(Ordering::Acquire) != NO_TRANSACTION {
            let mut writer = self.writer.lock();
            writer.producers.high_watermark_moved(self.high_watermark());
            self.publish_first_unstable(&writer.producers);
        }
        true
    }

    fn publish_first_unstable(&self, producers: &ProducerStates) {
        let first = producers.first_unstable_offset().map_or(NO_TRANSACTION, |offset| {
            // Retention may have taken the start of a transaction that is still open.
            offset.max(self.log_start_offset()).0
        });
        self.first_unstable_offset.store(first, Ordering::Release);
    }

    /// The newest leader epoch that has records, or was announced.
    pub fn latest_epoch(&self) -> Option<LeaderEpoch> {
        self.epochs.read().known.latest()
    }

    /// The records of this epoch start at `offset`: a new leader's first act.
    ///
    /// Source: Kafka `LeaderEpochFileCache.assign`.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn assign_epoch_start(&self, epoch: LeaderEpoch, offset: Offset) -> Result<(), DiskError> {
        let result = {
            let mut epochs = self.epochs.write();
            if epochs.known.assign(epoch, offset) {
                self.write_epochs(&mut epochs)
            } else {
                Ok(())
            }
        };
        self.guarded(result)
    }

    /// Writes `leader-epoch-checkpoint`. Its bytes are synced with the log's next flush, before the recovery point moves:
    /// epochs of records above it are found again in the records.
    fn write_epochs(&self, epochs: &mut Epochs) -> Result<(), DiskError> {
        let path = self.dir.file(leader_epoch::FILE);
        let text = epochs.known.encode();
        epochs.unsynced = Some(self.shared.disk.replace_unsynced(&path, text.as_bytes())?);
        Ok(())
    }

    /// Where the records of the largest epoch at or below `epoch` end; `None` if that cannot be told.
    ///
    /// Source: Kafka `LeaderEpochFileCache.endOffsetFor`.
    pub fn end_offset_for_epoch(&self, epoch: LeaderEpoch) -> Option<EpochEnd> {
        self.epochs.read().known.end_offset(epoch, self.log_end_offset())
    }

    /// The epoch of the record at `offset`.
    pub fn epoch_for_offset(&self, offset: Offset) -> Option<LeaderEpoch> {
        self.epochs.read().known.epoch_at(offset)
    }

    /// All known epochs with their starts.
    pub fn epoch_starts(&self) -> Vec<(LeaderEpoch, Offset)> {
        self.epochs.read().known.entries().to_vec()
    }

    /// Bytes of all segments.
    pub fn size_bytes(&self) -> u64 {
        self.segments.load().iter().map(|segment| segment.end().size).sum()
    }

    pub(crate) fn first_segment_base(&self) -> Offset {
        self.segments
            .load()
            .first()
            .map_or(Offset::ZERO, |segment| segment.base_offset())
    }

    /// How many segments there are.
    pub fn segment_count(&self) -> usize {
        self.segments.load().len()
    }

    /// The producers that are known, for DescribeProducers.
    pub fn active_producers(&self) -> Vec<ActiveProducer> {
        let writer = self.writer.lock();
        writer
            .producers
            .entries()
            .map(|entry| ActiveProducer {
                producer_id: entry.producer_id,
                producer_epoch: entry.producer_epoch,
                last_sequence: entry.last_sequence(),
                last_timestamp: entry.last_timestamp,
                coordinator_epoch: entry.coordinator_epoch,
                current_transaction_first_offset: entry.current_transaction_first_offset,
            })
            .collect()
    }

    /// Whether the producer has a transaction open here.
    pub fn has_ongoing_transaction(&self, producer_id: model::ProducerId) -> bool {
        self.writer.lock().producers.has_ongoing_transaction(producer_id)
    }

    /// Begins to verify that the producer's transaction may begin here: the guard is to be shown when the batch is appended.
    /// [`model::VerificationGuard::NONE`] where the transaction has begun, and nobody need be asked.
    pub fn begin_verification(
        &self,
        producer_id: model::ProducerId,
        epoch: model::ProducerEpoch,
        sequence: model::Sequence,
        now: Millis,
    ) -> model::VerificationGuard {
        let mut writer = self.writer.lock();
        writer.producers.begin_verification(producer_id, epoch, sequence, now)
    }

    /// Whether the oldest open transaction should long have been ended by its coordinator.
    pub fn has_late_transaction(&self, now: Millis) -> bool {
        self.first_unstable_offset.load(Ordering::Acquire) != NO_TRANSACTION
            && self
                .writer
                .lock()
                .producers
                .has_late_transaction(now, self.shared.max_transaction_timeout_ms)
    }

    /// Forgets producers that have been silent for `producer.id.expiration.ms`.
    pub(crate) fn expire_producers(&self, now: Millis) {
        let expiration = Millis(self.shared.producer_id_expiration_ms.load(Ordering::Relaxed));
        self.writer.lock().producers.expire(now, expiration);
    }

    /// Whether it can be neither written nor read: its directory is offline, or it was closed or deleted.
    pub fn is_offline(&self) -> bool {
        self.home.offline().is_some() || self.state.load(Ordering::Acquire) != OPEN
    }

    /// Hands an error on, after the directory has been told.
    fn guarded<T>(&self, result: Result<T, DiskError>) -> Result<T, DiskError> {
        result.inspect_err(|error| {
            // The files of a deleted log may go at any time: that is no failure of the disk.
            if self.state.load(Ordering::Acquire) == OPEN {
                self.home.fail(error);
            }
        })
    }

    fn active(&self) -> Arc<Segment> {
        let segments = self.segments.load();
        match segments.last() {
            Some(segment) => segment.clone(),
            None => unreachable!("there is always an active segment"),
        }
    }

    fn replace_segments(&self, segments: Vec<Arc<Segment>>) {
        assert!(!segments.is_empty(), "there is always an active segment");
        assert!(segments.is_sorted_by(|a, b| a.base_offset() < b.base_offset()));
        self.segments.store(Arc::new(segments));
    }
}

impl std::fmt::Debug for Log {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Log")
            .field("partition", &self.partition)
            .field("log_start_offset", &self.log_start_offset())
            .field("high_watermark", &self.high_watermark())
            .field("log_end_offset", &self.log_end_offset())
            .finish_non_exhaustive()
    }
}

/// The segment that holds `offset`, or would: the last one whose base is at or below it.
fn floor(segments: &[Arc<Segment>], offset: Offset) -> Option<usize> {
    segments
        .partition_point(|segment| segment.base_offset() <= offset)
        .checked_sub(1)
}
