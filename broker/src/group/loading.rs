//! Reading the log of a `__consumer_offsets` partition for the core's loader. Blocking.

use std::os::unix::fs::FileExt;

use broker_log::batch::{Batch, EndTransactionMarker, Entries, Entry};
use broker_log::compress::DecompressError;
use broker_log::{Log, ReadError};
use coordinator::group::Loader;
use model::Offset;
use tracing::warn;
use zk_schema::DecodeError;
use zk_schema_store::StoreError;

/// The most that one batch may decompress to. We write small ones; one that is larger than this is not ours.
const BATCH_LIMIT: usize = 256 * 1024 * 1024;

/// Why the groups of a partition are not known.
#[derive(Debug, thiserror::Error)]
pub(super) enum LoadError {
    /// This broker does not lead the partition (any more).
    #[error("this broker is not the leader")]
    NotLeader,
    /// ZooKeeper does not know the topic.
    #[error("{} is not in ZooKeeper", model::GROUP_METADATA_TOPIC)]
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

/// Replays the whole log, `buffer_size` bytes (`offsets.load.buffer.size`) at a time.
pub(super) fn read(log: &Log, buffer_size: usize) -> Result<Loader, LoadError> {
    let mut loader = Loader::new();
    let mut offset = log.log_start_offset();
    let mut buffer = Vec::new();
    let mut scratch = Vec::new();
    loop {
        let end = log.log_end_offset();
        if offset >= end {
            return Ok(loader);
        }
        let slice = log.read(offset, buffer_size, end, true)?;
        // A batch larger than the buffer is read whole all the same.
        let len = slice.len.max(slice.first_batch_bytes);
        if len == 0 {
            return Ok(loader);
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
            replay(&mut loader, &entry, &mut scratch)?;
        }
        if offset <= before {
            return Err(LoadError::Batch {
                offset,
                reason: "no whole batch".to_owned(),
            });
        }
    }
}

fn replay(loader: &mut Loader, entry: &Entry<'_>, scratch: &mut Vec<u8>) -> Result<(), LoadError> {
    match entry {
        Entry::Batch(batch) if batch.is_control() => {
            let marker = EndTransactionMarker::of_batch(batch).map_err(|reason| corrupt(batch, &reason))?;
            if let Some((marker, _)) = marker {
                loader.complete_transaction(batch.producer_id(), marker.committed, batch.base_offset());
            }
            Ok(())
        }
        Entry::Batch(batch) => replay_batch(loader, batch, scratch),
        Entry::Legacy(message) => {
            // Written before 0.11, one message an entry; the offsets topic was never compressed by default.
            match (message.compression(), message.key()) {
                (Some(broker_log::compress::CompressionType::None), Some(key)) => {
                    note(
                        message.last_offset(),
                        loader.replay(message.last_offset(), None, key, message.value()),
                    );
                }
                _ => warn!(offset = %message.last_offset(), "passing over a compressed message of an old format"),
            }
            Ok(())
        }
    }
}

fn replay_batch(loader: &mut Loader, batch: &Batch<'_>, scratch: &mut Vec<u8>) -> Result<(), LoadError> {
    let producer_id = batch.is_transactional().then(|| batch.producer_id());
    let records = batch
        .records(scratch, BATCH_LIMIT)
        .map_err(|reason: DecompressError| corrupt(batch, &reason))?;
    for record in records {
        let record = record.map_err(|reason| corrupt(batch, &reason))?;
        match record.key {
            Some(key) => note(
                record.offset,
                loader.replay(batch.base_offset(), producer_id, key, record.value),
            ),
            None => warn!(offset = %record.offset, "passing over a record without a key"),
        }
    }
    Ok(())
}

fn corrupt(batch: &Batch<'_>, reason: &dyn std::fmt::Display) -> LoadError {
    LoadError::Batch {
        offset: batch.base_offset(),
        reason: reason.to_string(),
    }
}

/// A record that nobody can read belongs to one group at most: the others are served.
fn note(offset: Offset, replayed: Result<(), coordinator::group::RecordError>) {
    if let Err(reason) = replayed {
        warn!(%offset, %reason, "passing over a record that cannot be read");
    }
}
