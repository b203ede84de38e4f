//! What happens because time has passed: open transactions time out, unused ids expire, refused markers are sent again.

use std::sync::Arc;

use model::Millis;

use super::api::{Effect, Note};
use super::record::Key;
use super::state::TransactionState;
use super::transactions::{Cause, Transactions};
use crate::hosting::{AppendFailure, Now};
use crate::record::Record;

/// The most that a batch's header takes.
const BATCH_OVERHEAD: usize = 61;
/// The most that a tombstone takes beside its key.
const TOMBSTONE_OVERHEAD: usize = 28;

impl Transactions {
    /// When [`Transactions::tick`] is due, on the steady clock. There may be nothing to do then, never something later than it.
    pub fn next_deadline(&self) -> Millis {
        let scans = self.next_abort_scan.min(self.next_expiry_scan);
        self.retries.first().map_or(scans, |(at, _)| scans.min(*at))
    }

    /// Whatever is due happens.
    pub fn tick(&mut self, now: Now) {
        self.retry_due(now);
        if self.next_abort_scan <= now.steady {
            self.next_abort_scan = now.steady + self.config.abort_timed_out_interval;
            self.abort_timed_out(now);
        }
        if self.next_expiry_scan <= now.steady {
            self.next_expiry_scan = now.steady + self.config.remove_expired_interval;
            self.remove_expired(now);
        }
    }

    /// Source: Kafka 3.9 `TransactionCoordinator.abortTimedOutTransactions`.
    fn abort_timed_out(&mut self, now: Now) {
        let timed_out = self.transactions.iter().filter(|(_, t)| t.is_timed_out(now));
        let timed_out: Vec<_> = timed_out.map(|(id, _)| id.clone()).collect();
        for transactional_id in timed_out {
            self.fence(transactional_id, Cause::Timeout, now);
        }
    }

    /// Tombstones for ids that nobody uses, as many in a batch as the topic allows.
    /// Source: Kafka 3.9 `TransactionStateManager.removeExpiredTransactionalIds`.
    fn remove_expired(&mut self, now: Now) {
        let limit = self.config.max_batch_bytes;
        let (mut ids, mut records, mut size) = (Vec::new(), Vec::new(), BATCH_OVERHEAD);
        let mut batches = Vec::new();
        for (id, transaction) in &mut self.transactions {
            if !transaction.is_expired(self.config.transactional_id_expiration, now) {
                continue;
            }
            // Was encoded when the id was first stored.
            let Ok(key) = Key::encode(id) else { continue };
            let grows = key.len() + TOMBSTONE_OVERHEAD;
            if size + grows > limit && !records.is_empty() {
                batches.push((std::mem::take(&mut ids), std::mem::take(&mut records)));
                size = BATCH_OVERHEAD;
            }
            size += grows;
            transaction.begin_dead();
            ids.push(id.clone());
            records.push(Record { key, value: None });
        }
        if !records.is_empty() {
            batches.push((ids, records));
        }
        for (ids, records) in batches {
            self.append_tombstones(ids, records, now);
        }
    }

    pub(super) fn expired(&mut self, ids: Vec<Arc<str>>, outcome: Result<(), AppendFailure>) {
        match outcome {
            Ok(()) => {
                for id in &ids {
                    self.transactions.remove(id);
                }
                self.effects
                    .push(Effect::Note(Note::Expired { transactional_ids: ids }));
            }
            Err(failure) => {
                for id in &ids {
                    if let Some(transaction) = self.transactions.get_mut(id) {
                        transaction.forget_pending();
                    }
                }
                if let Some(first) = ids.into_iter().next() {
                    self.effects.push(Effect::Note(Note::StoreFailed {
                        transactional_id: first,
                        state: TransactionState::Dead,
                        failure,
                    }));
                }
            }
        }
    }
}
