//! One transactional id: what is stored of it, what is about to be, and the values that each move makes.
//!
//! Every `begin_*` marks the next state as pending and returns what must be stored; [`Transaction::enter`] makes it count. What is
//! returned differs from what is known only in what the move changes. Moves are the caller's choice: a `begin_*` that the present state
//! does not allow is a fault of this crate.
//! Source: Kafka 3.9 `TransactionMetadata.scala`.

use std::collections::BTreeSet;

use model::{Millis, ProducerEpoch, ProducerId, TopicPartition};

use super::api::{Producer, TransactionError, TransactionResult};
use super::record::StoredTransaction;
use super::state::TransactionState;
use crate::hosting::Now;

/// No producer: the predecessor of the first one.
const NONE: Producer = Producer {
    id: ProducerId::NONE,
    epoch: ProducerEpoch::NONE,
};

#[derive(Debug)]
pub(super) struct Transaction {
    /// As the log has it, but for: the epoch, which a fence bumps before its record is stored; partitions, which go one by one as their
    /// markers are written.
    pub(super) stored: StoredTransaction,
    /// The producer before this one, for retries of InitProducerId (KIP-360). Not stored, as with Kafka 3.9.
    last: Producer,
    /// The state whose record is under way.
    pub(super) pending: Option<TransactionState>,
    /// A fence has bumped the epoch in memory but its record may not be stored: the next fence does not bump it again. Nobody was
    /// ever told this epoch.
    failed_fence: bool,
    /// When the transaction began, on the clock that does not jump.
    began: Millis,
}

/// The epoch after which a producer id is used up: one more is kept for fencing its last user.
fn is_exhausted(epoch: ProducerEpoch) -> bool {
    epoch.0 >= i16::MAX - 1
}

impl Transaction {
    /// An id that nobody has used yet. Its epoch is none until it is first stored.
    pub(super) fn new(producer_id: ProducerId, timeout_ms: i32, now: Now) -> Self {
        Self {
            stored: StoredTransaction {
                producer: Producer {
                    id: producer_id,
                    epoch: ProducerEpoch::NONE,
                },
                timeout_ms,
                state: TransactionState::Empty,
                partitions: BTreeSet::new(),
                last_update: now.wall,
                start: Millis::NONE,
            },
            last: NONE,
            pending: None,
            failed_fence: false,
            began: now.steady,
        }
    }

    /// An id as the log has it.
    pub(super) fn loaded(stored: StoredTransaction, now: Now) -> Self {
        let age = (now.wall - stored.start).max(Millis(0));
        Self {
            began: now.steady - age,
            stored,
            last: NONE,
            pending: None,
            failed_fence: false,
        }
    }

    /// Whether the transaction is open for longer than its timeout.
    pub(super) fn is_timed_out(&self, now: Now) -> bool {
        self.pending.is_none()
            && self.stored.state == TransactionState::Ongoing
            && self.began + Millis(self.stored.timeout_ms.into()) < now.steady
    }

    /// Whether nobody has used the id for `expiration`.
    pub(super) fn is_expired(&self, expiration: Millis, now: Now) -> bool {
        self.pending.is_none() && self.stored.state.may_expire() && self.stored.last_update <= now.wall - expiration
    }

    /// Whether a producer that says it has `expected` may go on, as far as ids tell; its epoch is looked at by
    /// [`Transaction::begin_empty`].
    pub(super) fn is_valid_producer_id(&self, expected: Producer) -> bool {
        // No epoch yet: the producer recovers from UNKNOWN_PRODUCER_ID, and gets what was just made.
        self.stored.producer.epoch == ProducerEpoch::NONE
            || expected.id == self.stored.producer.id
            // A retry after a change of the id whose answer never arrived.
            || expected.id == self.last.id && is_exhausted(expected.epoch)
    }

    /// A new epoch for the producer, or a new id with epoch 0 if epochs are used up.
    pub(super) fn begin_empty(
        &mut self,
        expected: Option<Producer>,
        timeout_ms: i32,
        new_producer_id: impl FnOnce() -> Result<ProducerId, TransactionError>,
        now: Now,
    ) -> Result<Transit, TransactionError> {
        let current = self.stored.producer;
        let bumped = |epoch: ProducerEpoch| ProducerEpoch(epoch.0.saturating_add(1));
        let (producer, last_epoch) = match expected {
            // The last user of this id, or a new one: go over to another id.
            _ if is_exhausted(current.epoch) && expected.is_none_or(|expected| expected.epoch == current.epoch) => {
                let producer = Producer {
                    id: new_producer_id()?,
                    epoch: ProducerEpoch(0),
                };
                let last_epoch = expected.map_or(ProducerEpoch::NONE, |_| current.epoch);
                (producer, last_epoch)
            }
            None => {
                let epoch = bumped(current.epoch);
                (Producer { epoch, ..current }, ProducerEpoch::NONE)
            }
            // It goes on after an error and nobody else has come meanwhile; or this is a new id.
            Some(expected) if current.epoch == ProducerEpoch::NONE || expected.epoch == current.epoch => {
                let epoch = bumped(current.epoch);
                (Producer { epoch, ..current }, current.epoch)
            }
            // A retry of a bump whose answer was lost. A newer producer would have cleared the last epoch.
            Some(expected) if expected.epoch == self.last.epoch => (current, self.last.epoch),
            Some(_) => return Err(TransactionError::ProducerFenced),
        };
        self.pend(TransactionState::Empty);
        Ok(Transit {
            to: StoredTransaction {
                producer,
                timeout_ms,
                state: TransactionState::Empty,
                partitions: BTreeSet::new(),
                last_update: now.wall,
                start: Millis::NONE,
            },
            last: Some(Producer {
                id: current.id,
                epoch: last_epoch,
            }),
        })
    }

    /// More partitions; the first ones begin the transaction.
    pub(super) fn begin_ongoing(&mut self, added: BTreeSet<TopicPartition>, now: Now) -> Transit {
        self.pend(TransactionState::Ongoing);
        let begins = self.stored.state != TransactionState::Ongoing;
        let mut partitions = added;
        partitions.extend(self.stored.partitions.iter().cloned());
        Transit::of(StoredTransaction {
            state: TransactionState::Ongoing,
            partitions,
            start: if begins { now.wall } else { self.stored.start },
            last_update: now.wall,
            ..self.stored
        })
    }

    /// The end is decided.
    pub(super) fn begin_prepare(&mut self, result: TransactionResult, now: Now) -> Transit {
        let state = match result {
            TransactionResult::Commit => TransactionState::PrepareCommit,
            TransactionResult::Abort => TransactionState::PrepareAbort,
        };
        self.pend(state);
        Transit::of(StoredTransaction {
            state,
            last_update: now.wall,
            partitions: self.stored.partitions.clone(),
            ..self.stored
        })
    }

    /// The producer is shut out, at once, and its transaction aborted. The bumped epoch is told to nobody: who comes next gets another.
    pub(super) fn begin_fence(&mut self, now: Now) -> Transit {
        if !self.failed_fence {
            // Cannot overflow: is_exhausted keeps the last epoch for this.
            self.stored.producer.epoch = ProducerEpoch(self.stored.producer.epoch.0.saturating_add(1));
        }
        self.last.epoch = ProducerEpoch::NONE;
        self.begin_prepare(TransactionResult::Abort, now)
    }

    /// All that is left is to write the markers, and then this.
    pub(super) fn begin_complete(&mut self, result: TransactionResult, now: Now) -> Transit {
        let state = match result {
            TransactionResult::Commit => TransactionState::CompleteCommit,
            TransactionResult::Abort => TransactionState::CompleteAbort,
        };
        self.pend(state);
        self.failed_fence = false;
        Transit::of(StoredTransaction {
            state,
            last_update: now.wall,
            partitions: BTreeSet::new(),
            ..self.stored
        })
    }

    /// The id is to be forgotten.
    pub(super) fn begin_dead(&mut self) {
        self.pend(TransactionState::Dead);
    }

    fn pend(&mut self, state: TransactionState) {
        assert!(
            self.pending.is_none() && state.valid_previous().contains(&self.stored.state),
            "no way from {} (pending {:?}) to {state}",
            self.stored.state,
            self.pending
        );
        self.pending = Some(state);
    }

    /// The record of `transit` is replicated.
    pub(super) fn enter(&mut self, transit: Transit, now: Now) {
        assert_eq!(self.pending, Some(transit.to.state), "another record is under way");
        if transit.to.state == TransactionState::Ongoing && self.stored.state != TransactionState::Ongoing {
            let age = (now.wall - transit.to.start).max(Millis(0));
            self.began = now.steady - age;
        }
        self.pending = None;
        self.stored = transit.to;
        if let Some(last) = transit.last {
            self.last = last;
        }
    }

    /// The record that was under way is not stored.
    pub(super) fn forget_pending(&mut self) {
        self.pending = None;
    }

    /// The record of a fence is not stored: its epoch stays, but is not bumped again.
    pub(super) fn fence_failed(&mut self) {
        self.failed_fence = true;
    }
}

/// What a record says, and what only memory keeps.
#[derive(Debug)]
pub(super) struct Transit {
    pub(super) to: StoredTransaction,
    last: Option<Producer>,
}

impl Transit {
    const fn of(to: StoredTransaction) -> Self {
        Self { to, last: None }
    }
}
