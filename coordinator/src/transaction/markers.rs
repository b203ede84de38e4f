//! Markers that are owed: what a prepared transaction still has to write, and what follows when all is written.
//!
//! A transaction's partitions are what is owed: each goes when its marker is written or cannot be. What was refused for now is sent
//! again after a back-off that doubles; there is no limit, for a partition without its marker holds up every reader of committed
//! records. When no partition is left the last record is appended, and appended again until it is stored.
//! Source: Kafka 3.9 `TransactionMarkerChannelManager.scala`, `TransactionMarkerRequestCompletionHandler.scala` (which send again at once).

use std::collections::BTreeSet;
use std::sync::Arc;

use model::{Millis, TopicPartition};

use super::api::{Effect, MarkerOutcome, Markers, MarkersId, Note, TransactionResult};
use super::metadata::Transit;
use super::transactions::Transactions;
use crate::hosting::{AppendFailure, Now};

/// The first wait before something is sent again.
const SHORTEST_BACKOFF_MS: i64 = 10;
/// How often the wait doubles: at most 1.28 seconds.
const DOUBLINGS: u32 = 7;

/// The end of one transaction.
#[derive(Debug)]
pub(super) struct Owed {
    pub(super) transactional_id: Arc<str>,
    result: TransactionResult,
    /// `Complete…`, stored when no partition is left.
    transit: Option<Transit>,
    /// What was refused and is not sent again yet.
    refused: BTreeSet<TopicPartition>,
    /// Set while `Transactions::retries` has an entry.
    retry_at: Option<Millis>,
    attempts: u32,
}

impl Transactions {
    /// The decision is stored, by us or by an earlier coordinator: sends the markers of every partition that is left.
    pub(super) fn owe(&mut self, transactional_id: Arc<str>, result: TransactionResult, now: Now) {
        let Some(transaction) = self.transactions.get_mut(&transactional_id) else {
            return;
        };
        self.last_markers += 1;
        let id = MarkersId(self.last_markers);
        let transit = transaction.begin_complete(result, now);
        let partitions: Vec<_> = transaction.stored.partitions.iter().cloned().collect();
        let owed = Owed {
            transactional_id,
            result,
            transit: Some(transit),
            refused: BTreeSet::new(),
            retry_at: None,
            attempts: 0,
        };
        self.owed.insert(id, owed);
        if partitions.is_empty() {
            self.try_complete(id, now);
        } else {
            self.send(id, partitions);
        }
    }

    fn send(&mut self, id: MarkersId, partitions: Vec<TopicPartition>) {
        let Some(owed) = self.owed.get(&id) else { return };
        let Some(transaction) = self.transactions.get(&owed.transactional_id) else {
            return;
        };
        self.effects.push(Effect::Send(Markers {
            id,
            producer: transaction.stored.producer,
            coordinator_epoch: self.coordinator_epoch,
            result: owed.result,
            partitions,
        }));
    }

    /// What became of markers. May be told in any order, partition by partition, twice, or too late.
    pub fn markers_answered(
        &mut self,
        id: MarkersId,
        outcomes: impl IntoIterator<Item = (TopicPartition, MarkerOutcome)>,
        now: Now,
    ) {
        let Some(owed) = self.owed.get_mut(&id) else { return };
        let Some(transaction) = self.transactions.get_mut(&owed.transactional_id) else {
            return;
        };
        let left = &mut transaction.stored.partitions;
        let (mut skipped, mut retried, mut fenced) = (Vec::new(), Vec::new(), None);
        let mut is_unexpected = false;
        for (partition, outcome) in outcomes {
            if !left.contains(&partition) {
                continue;
            }
            match outcome {
                MarkerOutcome::Written => {
                    left.remove(&partition);
                    owed.refused.remove(&partition);
                }
                MarkerOutcome::Deleted | MarkerOutcome::Unsupported => {
                    left.remove(&partition);
                    owed.refused.remove(&partition);
                    skipped.push((partition, outcome));
                }
                MarkerOutcome::Retry | MarkerOutcome::Unexpected => {
                    is_unexpected |= outcome == MarkerOutcome::Unexpected;
                    owed.refused.insert(partition.clone());
                    retried.push((partition, outcome));
                }
                MarkerOutcome::Fenced => fenced = Some(partition),
            }
        }
        let (all_written, transactional_id) = (left.is_empty(), owed.transactional_id.clone());
        let (any_skipped, any_retried) = (!skipped.is_empty(), !retried.is_empty());
        if any_skipped {
            self.effects.push(Effect::Note(Note::MarkersSkipped {
                transactional_id: transactional_id.clone(),
                partitions: skipped,
            }));
        }
        if let Some(partition) = fenced {
            if let Some(at) = self.owed.remove(&id).and_then(|owed| owed.retry_at) {
                self.retries.remove(&(at, id));
            }
            self.effects.push(Effect::Note(Note::MarkersFenced {
                transactional_id,
                partition,
            }));
            return;
        }
        if any_retried {
            self.effects.push(Effect::Note(Note::MarkersRetried {
                transactional_id,
                partitions: retried,
            }));
            self.retry_later(id, is_unexpected, now);
        }
        if all_written {
            self.try_complete(id, now);
        }
    }

    /// Looks at `id` again after its back-off.
    fn retry_later(&mut self, id: MarkersId, as_late_as_possible: bool, now: Now) {
        let Some(owed) = self.owed.get_mut(&id) else { return };
        if owed.retry_at.is_none() {
            if as_late_as_possible {
                owed.attempts = DOUBLINGS;
            }
            let at = now.steady + Millis(SHORTEST_BACKOFF_MS << owed.attempts.min(DOUBLINGS));
            owed.attempts = owed.attempts.saturating_add(1);
            owed.retry_at = Some(at);
            self.retries.insert((at, id));
        }
    }

    /// Sends again, or appends again, whatever has waited long enough.
    pub(super) fn retry_due(&mut self, now: Now) {
        while let Some((at, id)) = self.retries.first().copied()
            && at <= now.steady
        {
            self.retries.remove(&(at, id));
            let Some(owed) = self.owed.get_mut(&id) else { continue };
            owed.retry_at = None;
            let refused: Vec<_> = std::mem::take(&mut owed.refused).into_iter().collect();
            if refused.is_empty() {
                self.try_complete(id, now);
            } else {
                self.send(id, refused);
            }
        }
    }

    /// Appends the last record if every marker is written.
    fn try_complete(&mut self, id: MarkersId, now: Now) {
        let Some(owed) = self.owed.get(&id) else { return };
        let Some(transaction) = self.transactions.get(&owed.transactional_id) else {
            return;
        };
        let Some(transit) = &owed.transit else { return };
        if !transaction.stored.partitions.is_empty() {
            return;
        }
        let timeout = Millis(transit.to.timeout_ms.into());
        match self.record(&owed.transactional_id, &transit.to) {
            Ok(record) => self.append_complete(id, record, timeout, now),
            // It was encoded, with more in it, when the transaction was prepared: cannot be.
            Err(_) => self.completed(id, Err(AppendFailure::TooLarge), now),
        }
    }

    pub(super) fn completed(&mut self, id: MarkersId, outcome: Result<(), AppendFailure>, now: Now) {
        match outcome {
            Ok(()) => {
                let Some(mut owed) = self.owed.remove(&id) else { return };
                if let Some(at) = owed.retry_at {
                    self.retries.remove(&(at, id));
                }
                let transaction = self.transactions.get_mut(&owed.transactional_id);
                if let (Some(transaction), Some(transit)) = (transaction, owed.transit.take()) {
                    transaction.enter(transit, now);
                }
                self.effects.push(Effect::Note(Note::Completed {
                    transactional_id: owed.transactional_id,
                    result: owed.result,
                }));
            }
            Err(failure) => {
                let Some(owed) = self.owed.get(&id) else { return };
                let Some(transit) = &owed.transit else { return };
                self.effects.push(Effect::Note(Note::StoreFailed {
                    transactional_id: owed.transactional_id.clone(),
                    state: transit.to.state,
                    failure,
                }));
                self.retry_later(id, false, now);
            }
        }
    }

    /// How many transactions are prepared and not complete; for metrics.
    pub fn owed_count(&self) -> usize {
        self.owed.len()
    }
}
