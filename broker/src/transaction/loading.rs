//! Reading the log of a `__transaction_state` partition for the core's loader. Blocking.

use std::os::unix::fs::FileExt;

use broker_log::batch::{Batch, Entries, Entry};
use broker_log::{Log, ReadError};
use coordinator::transaction::{Loader, RecordError};
use model::Offset;
use tracing::warn;
use zk_schema::DecodeError;
use zk_schema_store::StoreError;

/// The most that one batch may decompress to. We write small ones; one that is larger than this is not ours.
const BATCH_LIMIT: usize = 256 * 1024 * 1024;

/// Why the transactions of a partition are not known.
#[derive(Debug, thiserror::Error)]
pub(super) enum LoadError {
    /// This broker does not lead the partition (any more).
    #[error("this broker is not the leader")]
    NotLeader,
    /// ZooKeeper does not know the topic.
    #[error("{} is not in ZooKeeper", model::TRANSACTION_STATE_TOPIC)]
    NoTopic,
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

/// Replays the whole log up to the offset that is returned, `buffer_size` bytes (`transaction.state.log.load.buffer.size`) at a time.
pub(super) fn read(log: &Log, buffer_size: usize) -> Result<(Loader, Offset), LoadError> {
    let mut loader = Loader::new();
    let mut offset = log.log_start_offset();
    let mut buffer = Vec::new();
    let mut scratch = Vec::new();
    loop {
        let end = log.log_end_offset();
        if offset >= end {
            return Ok((loader, offset));
        }
        let slice = log.read(offset, buffer_size, end, true)?;
        // A batch larger than the buffer is read whole all the same.
        let len = slice.len.max(slice.first_batch_bytes);
        if len == 0 {
            return Ok((loader, offset));
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
            match &entry {
                Entry::Batch(batch) if batch.is_control() => {}
                Entry::Batch(batch) => replay(&mut loader, batch, &mut scratch)?,
                Entry::Legacy(message) => {
                    warn!(offset = %message.last_offset(), "passing over a message of a format older than transactions");
                }
            }
        }
        if offset <= before {
            return Err(LoadError::Batch {
                offset,
                reason: "no whole batch".to_owned(),
            });
        }
    }
}

fn replay(loader: &mut Loader, batch: &Batch<'_>, scratch: &mut Vec<u8>) -> Result<(), LoadError> {
    let corrupt = |reason: &dyn std::fmt::Display| LoadError::Batch {
        offset: batch.base_offset(),
        reason: reason.to_string(),
    };
    let records = batch.records(scratch, BATCH_LIMIT).map_err(|reason| corrupt(&reason))?;
    for record in records {
        let record = record.map_err(|reason| corrupt(&reason))?;
        match record.key {
            Some(key) => note(record.offset, loader.replay(key, record.value)),
            None => warn!(offset = %record.offset, "passing over a record without a key"),
        }
    }
    Ok(())
}

/// A record that nobody can read belongs to one transactional id at most: the others are served.
fn note(offset: Offset, replayed: Result<(), RecordError>) {
    if let Err(reason) = replayed {
        warn!(%offset, %reason, "passing over a record that cannot be read");
    }
}
