//! Reading the log of a `__transaction_state` partition for the core's loader. Blocking.

use broker_log::Log;
use broker_log::batch::Entry;
use coordinator::transaction::Loader;
use model::Offset;
use tracing::warn;

use crate::internal_topic::{self, LoadError, replay_batch};

/// Replays the whole log up to the offset that is returned, `buffer_size` bytes (`transaction.state.log.load.buffer.size`) at a time.
pub(super) fn read(log: &Log, buffer_size: usize) -> Result<(Loader, Offset), LoadError> {
    let mut loader = Loader::new();
    let end = internal_topic::read(log, buffer_size, |entry, scratch| {
        match entry {
            Entry::Batch(batch) if batch.is_control() => {}
            Entry::Batch(batch) => {
                replay_batch(batch, scratch, |key, record| loader.replay(key, record.value))?;
            }
            Entry::Legacy(message) => {
                warn!(offset = %message.last_offset(), "passing over a message of a format older than transactions");
            }
        }
        Ok(())
    })?;
    Ok((loader, end))
}
