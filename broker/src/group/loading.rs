//! Reading the log of a `__consumer_offsets` partition for the core's loader. Blocking.

use broker_log::Log;
use broker_log::batch::{EndTransactionMarker, Entry};
use broker_log::compress::CompressionType;
use coordinator::group::Loader;
use tracing::warn;

use crate::internal_topic::{self, LoadError, note, replay_batch};

/// Replays the whole log, `buffer_size` bytes (`offsets.load.buffer.size`) at a time.
pub(super) fn read(log: &Log, buffer_size: usize) -> Result<Loader, LoadError> {
    let mut loader = Loader::new();
    internal_topic::read(log, buffer_size, |entry, scratch| replay(&mut loader, entry, scratch))?;
    Ok(loader)
}

fn replay(loader: &mut Loader, entry: &Entry<'_>, scratch: &mut Vec<u8>) -> Result<(), LoadError> {
    match entry {
        Entry::Batch(batch) if batch.is_control() => {
            let marker = EndTransactionMarker::of_batch(batch).map_err(|reason| LoadError::corrupt(batch, &reason))?;
            if let Some((marker, _)) = marker {
                loader.complete_transaction(batch.producer_id(), marker.committed, batch.base_offset());
            }
            Ok(())
        }
        Entry::Batch(batch) => {
            let producer_id = batch.is_transactional().then(|| batch.producer_id());
            replay_batch(batch, scratch, |key, record| {
                loader.replay(batch.base_offset(), producer_id, key, record.value)
            })
        }
        Entry::Legacy(message) => {
            // Written before 0.11, one message an entry; the offsets topic was never compressed by default.
            match (message.compression(), message.key()) {
                (Some(CompressionType::None), Some(key)) => {
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
