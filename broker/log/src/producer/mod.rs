//! What a log knows of the producers that write to it: sequences, epochs, and the transactions they have open.
//!
//! [`ProducerStates`] is pure state. [`Changes`] are computed against it while an append is planned, and applied once
//! the bytes are in the log; [`ProducerStates::replay`] does both for a batch that is already there. Nothing here reads
//! a clock or a file: snapshots are bytes ([`ProducerStates::encode`], [`ProducerStates::load`]), and entries of the
//! transaction index come out as [`CompletedTransaction`]s for the log to write.
//!
//! Invariants: an ongoing transaction is that of exactly one producer and its first offset is that producer's
//! `current_transaction_first_offset`; a producer remembers at most five batches, all of its present epoch.
//!
//! Source: Kafka 3.9 `ProducerStateManager`, `ProducerStateEntry`, `ProducerAppendInfo`; KIP-98, KIP-360.

mod changes;
mod snapshot;
mod states;
#[cfg(test)]
mod tests;
mod verification;

use model::{Millis, Offset, ProducerEpoch, ProducerId, Sequence};
use smallvec::SmallVec;

pub use changes::{Changes, ProducerError};
pub use snapshot::CorruptSnapshot;
pub use states::ProducerStates;

/// How many batches of a producer are remembered to recognise duplicates.
///
/// Source: Kafka `ProducerStateEntry.NUM_BATCHES_TO_RETAIN`, the most requests a producer may have in flight.
pub const BATCHES_REMEMBERED: usize = 5;

/// One batch that a producer has written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchMetadata {
    /// Sequence of its last record.
    pub last_sequence: Sequence,
    /// Offset of its last record.
    pub last_offset: Offset,
    /// Last offset minus first offset.
    pub offset_delta: i32,
    /// Its maximum timestamp.
    pub timestamp: Millis,
}

impl BatchMetadata {
    /// Sequence of its first record.
    pub fn first_sequence(&self) -> Sequence {
        minus(self.last_sequence, self.offset_delta)
    }

    /// Offset of its first record.
    pub fn first_offset(&self) -> Offset {
        Offset(self.last_offset.0.wrapping_sub(i64::from(self.offset_delta)))
    }
}

/// The sequence `count` records earlier, wrapping from 0 to `i32::MAX`. Source: Kafka `DefaultRecordBatch.decrementSequence`.
fn minus(Sequence(sequence): Sequence, count: i32) -> Sequence {
    Sequence(if sequence < count {
        i32::MAX.wrapping_sub(count.wrapping_sub(sequence)).wrapping_add(1)
    } else {
        sequence.wrapping_sub(count)
    })
}

/// What is known of one producer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProducerEntry {
    /// Its id.
    pub producer_id: ProducerId,
    /// Its epoch; older ones are fenced.
    pub producer_epoch: ProducerEpoch,
    /// Epoch of the coordinator that ended its last transaction, −1 before.
    pub coordinator_epoch: i32,
    /// Timestamp of its last batch or marker: what expiry goes by.
    pub last_timestamp: Millis,
    /// Where its open transaction began.
    pub current_transaction_first_offset: Option<Offset>,
    pub(crate) batches: SmallVec<[BatchMetadata; BATCHES_REMEMBERED]>,
}

impl ProducerEntry {
    /// A producer of which nothing is known.
    pub(crate) fn unknown(producer_id: ProducerId) -> Self {
        Self {
            producer_id,
            producer_epoch: ProducerEpoch::NONE,
            coordinator_epoch: -1,
            last_timestamp: Millis::NONE,
            current_transaction_first_offset: None,
            batches: SmallVec::new(),
        }
    }

    /// Its last batches, oldest first.
    pub fn batches(&self) -> &[BatchMetadata] {
        &self.batches
    }

    /// Sequence of its last record, −1 if no batch is remembered.
    pub fn last_sequence(&self) -> Sequence {
        self.batches.last().map_or(Sequence::NONE, |batch| batch.last_sequence)
    }

    /// Offset of its last record, −1 if no batch is remembered.
    pub fn last_data_offset(&self) -> Offset {
        self.batches.last().map_or(Offset(-1), |batch| batch.last_offset)
    }

    /// The remembered batch of this epoch and exactly this range of sequences.
    pub fn duplicate(&self, epoch: ProducerEpoch, first: Sequence, last: Sequence) -> Option<BatchMetadata> {
        if epoch != self.producer_epoch {
            return None;
        }
        self.batches
            .iter()
            .find(|batch| batch.first_sequence() == first && batch.last_sequence == last)
            .copied()
    }

    /// Moves to `epoch`; batches of another one are forgotten.
    pub(crate) fn enter_epoch(&mut self, epoch: ProducerEpoch) {
        if self.producer_epoch != epoch {
            self.batches.clear();
            self.producer_epoch = epoch;
        }
    }

    /// Remembers `batch`, forgetting the oldest if there are five.
    pub(crate) fn remember(&mut self, batch: BatchMetadata) {
        if self.batches.len() == BATCHES_REMEMBERED {
            self.batches.remove(0);
        }
        self.batches.push(batch);
    }
}

/// A transaction whose end marker is in the log.
///
/// An aborted one is an entry of the transaction index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CompletedTransaction {
    /// Whose.
    pub producer_id: ProducerId,
    /// Its first record.
    pub first_offset: Offset,
    /// Its marker.
    pub last_offset: Offset,
    /// Whether it was aborted.
    pub aborted: bool,
    /// The last stable offset once it is complete, before replication is taken into account.
    pub last_stable_offset: Offset,
}
