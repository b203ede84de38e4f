//! What the topics of the coordinators (`__consumer_offsets`, `__transaction_state`) have in common: how many partitions
//! there are, and reading one of their logs from start to end into a core.
//!
//! What the records mean is the coordinators' own ([`crate::group`], [`crate::transaction`]).
//! Source: Kafka 3.9 `GroupMetadataManager`, `TransactionStateManager`.

use std::os::unix::fs::FileExt;
use std::time::Duration;

use broker_log::batch::{Batch, Entries, Entry, Record};
use broker_log::{Log, ReadError};
use coordinator::transaction::RecordError;
use model::Offset;
use tracing::warn;
use zk_schema::DecodeError;
use zk_schema::brokers::topics::{self, TopicAssignment};
use zk_schema_store::{Store, StoreError};

/// How many partitions are read at a time: a broker that comes back leads many at once, and each needs a buffer and a thread.
pub(crate) const LOADS_AT_ONCE: usize = 2;

/// How long to wait before a partition that could not be read is read again.
pub(crate) const LOAD_RETRY: Duration = Duration::from_secs(1);

/// The most that one batch may decompress to. We write small ones; one that is larger than this is not ours.
const BATCH_LIMIT: usize = 256 * 1024 * 1024;

/// Why it is not known what a partition holds.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LoadError {
    /// This broker does not lead the partition (any more).
    #[error("this broker is not the leader")]
    NotLeader,
    /// ZooKeeper does not know the topic.
    #[error("{0} is not in ZooKeeper")]
    NoTopic(&'static str),
    /// ZooKeeper could not be asked.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// What ZooKeeper has is not a topic.
    #[error(transparent)]
    Znode(#[from] DecodeError),
    /// The log could not be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The segment's file could not be read.
    #[error("segment not read: {0}")]
    File(#[from] std::io::Error),
    /// A batch is not what it says.
    #[error("batch at offset {offset} is corrupt: {reason}")]
    Batch {
        /// Its base offset.
        offset: Offset,
        /// What is wrong.
        reason: String,
    },
}

impl LoadError {
    /// `batch` is not what it says.
    pub(crate) fn corrupt(batch: &Batch<'_>, reason: &dyn std::fmt::Display) -> Self {
        Self::Batch {
            offset: batch.base_offset(),
            reason: reason.to_string(),
        }
    }
}

/// The number of partitions, from ZooKeeper: a metadata cache may know only some of them while the topic is being created,
/// and who is looked for in the wrong partition has lost what was kept for him.
pub(crate) async fn partition_count(store: &Store, topic: &'static str) -> Result<i32, LoadError> {
    let path = topics::path(topic);
    let (data, _) = store.get(&path).await?.ok_or(LoadError::NoTopic(topic))?;
    let assignment = TopicAssignment::decode(topic, &data)?;
    i32::try_from(assignment.partitions.len()).map_err(|_too_many| LoadError::NoTopic(topic))
}

/// Reads the whole log, about `buffer_size` bytes at a time, and hands each entry to `replay`, with a buffer to decompress
/// into. One past the last offset that was read. Blocking.
pub(crate) fn read(
    log: &Log,
    buffer_size: usize,
    mut replay: impl FnMut(&Entry<'_>, &mut Vec<u8>) -> Result<(), LoadError>,
) -> Result<Offset, LoadError> {
    let mut offset = log.log_start_offset();
    let mut buffer = Vec::new();
    let mut scratch = Vec::new();
    loop {
        let end = log.log_end_offset();
        if offset >= end {
            return Ok(offset);
        }
        let slice = log.read(offset, buffer_size, end, true)?;
        // A batch larger than the buffer is read whole all the same.
        let len = slice.len.max(slice.first_batch_bytes);
        if len == 0 {
            return Ok(offset);
        }
        buffer.resize(len, 0);
        slice.file.read_exact_at(&mut buffer, slice.position)?;
        let before = offset;
        for entry in Entries::new(&buffer) {
            let entry = entry.map_err(|reason| LoadError::Batch {
                offset,
                reason: reason.to_string(),
            })?;
            offset = entry.last_offset().next();
            replay(&entry, &mut scratch)?;
        }
        if offset <= before {
            return Err(LoadError::Batch {
                offset,
                reason: "no whole batch".to_owned(),
            });
        }
    }
}

/// Hands each record of `batch` that has a key to `replay`.
pub(crate) fn replay_batch(
    batch: &Batch<'_>,
    scratch: &mut Vec<u8>,
    mut replay: impl FnMut(&[u8], &Record<'_>) -> Result<(), RecordError>,
) -> Result<(), LoadError> {
    let records = batch
        .records(scratch, BATCH_LIMIT)
        .map_err(|reason| LoadError::corrupt(batch, &reason))?;
    for record in records {
        let record = record.map_err(|reason| LoadError::corrupt(batch, &reason))?;
        match record.key {
            Some(key) => note(record.offset, replay(key, &record)),
            None => warn!(offset = %record.offset, "passing over a record without a key"),
        }
    }
    Ok(())
}

/// A record that nobody can read belongs to one group, or to one transactional id, at most: the others are served.
pub(crate) fn note(offset: Offset, replayed: Result<(), RecordError>) {
    if let Err(reason) = replayed {
        warn!(%offset, %reason, "passing over a record that cannot be read");
    }
}
