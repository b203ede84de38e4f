//! All producers of one log.

use std::collections::BTreeMap;

use hashbrown::HashMap;
use model::{Millis, Offset, ProducerEpoch, ProducerId, Sequence, VerificationGuard};
use smallvec::SmallVec;

use super::changes::Completed;
use super::verification::Verifications;
use super::{Changes, CompletedTransaction, CorruptSnapshot, ProducerEntry, ProducerError, snapshot};
use crate::append::Origin;
use crate::batch::{Batch, EndTransactionMarker};

/// How much later than its timeout a transaction counts as hanging. Source: Kafka `LATE_TRANSACTION_BUFFER_MS`.
const LATE_TRANSACTION_BUFFER: Millis = Millis(5 * 60 * 1000);

/// The producers of one log up to [`ProducerStates::map_end_offset`], and the transactions that hold back readers.
#[derive(Clone, Debug, Default)]
pub struct ProducerStates {
    producers: HashMap<ProducerId, ProducerEntry>,
    /// Open transactions by their first offset.
    ongoing: BTreeMap<Offset, ProducerId>,
    /// Ended transactions, first to last offset, whose marker may not be replicated yet.
    unreplicated: BTreeMap<Offset, Offset>,
    /// Transactions that are about to begin.
    verifications: Verifications,
    map_end_offset: Offset,
    last_snapshot_offset: Offset,
}

impl ProducerStates {
    /// No producers, for a log whose content starts at `log_start_offset`.
    pub fn new(log_start_offset: Offset) -> Self {
        Self {
            map_end_offset: log_start_offset,
            last_snapshot_offset: log_start_offset,
            ..Self::default()
        }
    }

    /// What is known of a producer.
    pub fn entry(&self, producer_id: ProducerId) -> Option<&ProducerEntry> {
        self.producers.get(&producer_id)
    }

    /// All producers, in no order.
    pub fn entries(&self) -> impl Iterator<Item = &ProducerEntry> {
        self.producers.values()
    }

    /// How many producers are known.
    pub fn len(&self) -> usize {
        self.producers.len()
    }

    /// Whether nothing is known: no producer, and no transaction waiting for replication.
    pub fn is_empty(&self) -> bool {
        self.producers.is_empty() && self.unreplicated.is_empty()
    }

    /// Whether the producer has a transaction open here.
    pub fn has_ongoing_transaction(&self, producer_id: ProducerId) -> bool {
        self.entry(producer_id)
            .is_some_and(|entry| entry.current_transaction_first_offset.is_some())
    }

    /// Begins to verify that the producer's transaction may begin here; [`VerificationGuard::NONE`] where it has begun.
    ///
    /// `sequence` and `epoch` are those of the batch that is to begin it. Source: Kafka 3.9
    /// `UnifiedLog.maybeStartTransactionVerification`.
    pub fn begin_verification(
        &mut self,
        producer_id: ProducerId,
        epoch: ProducerEpoch,
        sequence: Sequence,
        now: Millis,
    ) -> VerificationGuard {
        if self.has_ongoing_transaction(producer_id) {
            VerificationGuard::NONE
        } else {
            self.verifications.begin(producer_id, epoch, sequence, now)
        }
    }

    /// Whether the producer may write in a transaction: it has one open here, or shows the guard of its verification.
    pub fn is_verified(&self, producer_id: ProducerId, guard: VerificationGuard) -> bool {
        self.has_ongoing_transaction(producer_id) || self.verifications.is_guarded_by(producer_id, guard)
    }

    /// The lowest sequence of the producer that is being verified.
    pub(super) fn lowest_unverified_sequence(&self, producer_id: ProducerId) -> Option<Sequence> {
        self.verifications.lowest_sequence(producer_id)
    }

    /// The log up to here is in the state.
    pub fn map_end_offset(&self) -> Offset {
        self.map_end_offset
    }

    /// Says that the log up to `offset` holds nothing more for the state. Every append does, with or without producers.
    pub fn set_map_end_offset(&mut self, offset: Offset) {
        self.map_end_offset = offset;
    }

    /// The first offset that a reader of committed data may not pass: of the earliest transaction that is open, or
    /// ended by a marker at or above the high watermark.
    pub fn first_unstable_offset(&self) -> Option<Offset> {
        let unreplicated = self.unreplicated.keys().next().copied();
        match (self.first_undecided_offset(), unreplicated) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        }
    }

    /// The first offset of the earliest open transaction.
    pub fn first_undecided_offset(&self) -> Option<Offset> {
        self.ongoing.keys().next().copied()
    }

    /// Lets go of ended transactions whose marker is below `high_watermark`.
    pub fn high_watermark_moved(&mut self, high_watermark: Offset) {
        if !self.unreplicated.is_empty() {
            self.unreplicated
                .retain(|_, last_offset| *last_offset >= high_watermark);
        }
    }

    /// The log now starts at `log_start_offset`; `latest_snapshot` is the newest snapshot that is left.
    pub fn log_start_moved(&mut self, log_start_offset: Offset, latest_snapshot: Option<Offset>) {
        self.high_watermark_moved(log_start_offset);
        self.map_end_offset = self.map_end_offset.max(log_start_offset);
        self.last_snapshot_offset = latest_snapshot.unwrap_or(log_start_offset);
    }

    /// Takes in an append that has been written, up to `end` (one past its last offset).
    ///
    /// Returns the transactions that it ended, in order; the aborted ones belong into the transaction index.
    pub fn apply(&mut self, changes: &Changes, end: Offset) -> SmallVec<[CompletedTransaction; 1]> {
        for change in changes.producers() {
            let updated = &change.updated;
            match self.producers.get_mut(&updated.producer_id) {
                None => {
                    self.producers.insert(updated.producer_id, updated.clone());
                }
                Some(entry) => {
                    entry.enter_epoch(updated.producer_epoch);
                    for batch in &updated.batches {
                        entry.remember(*batch);
                    }
                    entry.coordinator_epoch = updated.coordinator_epoch;
                    entry.current_transaction_first_offset = updated.current_transaction_first_offset;
                    entry.last_timestamp = updated.last_timestamp;
                }
            }
            if change.transactional {
                self.verifications.end(updated.producer_id);
            }
            for first_offset in &change.started {
                self.ongoing.insert(*first_offset, updated.producer_id);
            }
        }
        let completed = changes
            .completed()
            .iter()
            .map(|completed| self.complete(completed))
            .collect();
        self.map_end_offset = end;
        completed
    }

    /// Takes in a batch that is in the log already. Returns the transaction that it ends.
    ///
    /// # Errors
    /// A batch that no leader would have written; the log is damaged, or written by something else.
    pub fn replay(&mut self, batch: &Batch<'_>) -> Result<Option<CompletedTransaction>, ProducerError> {
        let end = after(batch.last_offset());
        if !batch.has_producer_id() {
            self.map_end_offset = end;
            return Ok(None);
        }
        let mut changes = Changes::default();
        let marker = if batch.is_control() {
            EndTransactionMarker::of_batch(batch).map_err(|_| ProducerError::InvalidMarker {
                producer_id: batch.producer_id(),
            })?
        } else {
            None
        };
        changes.add(self, batch, marker, Origin::Replication)?;
        Ok(self.apply(&changes, end).first().copied())
    }

    fn complete(&mut self, completed: &Completed) -> CompletedTransaction {
        let other = self.ongoing.iter().find(|(_, owner)| **owner != completed.producer_id);
        let last_stable_offset = other.map_or(after(completed.last_offset), |(first_offset, _)| *first_offset);
        self.ongoing.remove(&completed.first_offset);
        self.unreplicated.insert(completed.first_offset, completed.last_offset);
        completed.with_last_stable_offset(last_stable_offset)
    }

    /// Forgets producers that have been silent for `expiration` (`producer.id.expiration.ms`) and have no transaction
    /// open, and verifications that were never finished. Returns how many producers.
    pub fn expire(&mut self, now: Millis, expiration: Millis) -> usize {
        self.verifications.expire(now, expiration);
        let before = self.producers.len();
        self.producers.retain(|_, entry| !is_expired(entry, now, expiration));
        before - self.producers.len()
    }

    /// Whether the oldest open transaction should long have been ended by its coordinator.
    ///
    /// `max_timeout` is `transaction.max.timeout.ms`. Source: Kafka `ProducerStateManager.hasLateTransaction`.
    pub fn has_late_transaction(&self, now: Millis, max_timeout: Millis) -> bool {
        let oldest = self.ongoing.values().next().and_then(|id| self.entry(*id));
        oldest.is_some_and(|entry| {
            entry.last_timestamp.0 > 0 && now - entry.last_timestamp > max_timeout + LATE_TRANSACTION_BUFFER
        })
    }

    /// Forgets everything; the log starts anew at `offset`.
    pub fn clear(&mut self, offset: Offset) {
        *self = Self::new(offset);
    }

    /// The content of a `.snapshot` file, entries by producer id.
    pub fn encode(&self) -> Vec<u8> {
        let mut entries: Vec<&ProducerEntry> = self.producers.values().collect();
        entries.sort_unstable_by_key(|entry| entry.producer_id);
        snapshot::encode(&entries)
    }

    /// Whether a snapshot at [`ProducerStates::map_end_offset`] would say more than the last one.
    pub fn needs_snapshot(&self) -> bool {
        self.map_end_offset > self.last_snapshot_offset
    }

    /// Says that a snapshot at [`ProducerStates::map_end_offset`] is on disk.
    pub fn snapshot_taken(&mut self) {
        self.last_snapshot_offset = self.map_end_offset;
    }

    /// Replaces the state by a snapshot file's content at `offset` (the number in its name), without the producers that
    /// have expired since.
    ///
    /// # Errors
    /// When the bytes are not a snapshot; the state is then unchanged.
    pub fn load(
        &mut self,
        bytes: &[u8],
        offset: Offset,
        now: Millis,
        expiration: Millis,
    ) -> Result<(), CorruptSnapshot> {
        let entries = snapshot::decode(bytes)?;
        self.clear(offset);
        for entry in entries.into_iter().filter(|entry| !is_expired(entry, now, expiration)) {
            if let Some(first_offset) = entry.current_transaction_first_offset {
                self.ongoing.insert(first_offset, entry.producer_id);
            }
            self.producers.insert(entry.producer_id, entry);
        }
        Ok(())
    }
}

/// One past `offset`, also for what only damage can have written.
fn after(offset: Offset) -> Offset {
    Offset(offset.0.saturating_add(1))
}

fn is_expired(entry: &ProducerEntry, now: Millis, expiration: Millis) -> bool {
    entry.current_transaction_first_offset.is_none() && now - entry.last_timestamp >= expiration
}
