//! What an append changes for its producers, and whether they may write at all.

use model::{Offset, ProducerEpoch, ProducerId, Sequence};
use smallvec::SmallVec;

use super::{BatchMetadata, CompletedTransaction, ProducerEntry, ProducerStates};
use crate::append::Origin;
use crate::batch::{BatchHeader, EndTransactionMarker};

/// Why a producer may not write.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProducerError {
    /// → OUT_OF_ORDER_SEQUENCE_NUMBER (45). It skipped a batch, or begins a new epoch elsewhere than at 0.
    #[error("out of order sequence number of producer {producer_id}: {found} after {last}")]
    OutOfOrderSequence {
        /// Who.
        producer_id: ProducerId,
        /// The last sequence before; −1 in a new epoch.
        last: Sequence,
        /// What it sent.
        found: Sequence,
    },
    /// → INVALID_PRODUCER_EPOCH (47). A newer instance of it has written: this one is fenced.
    #[error("epoch {found} of producer {producer_id} is older than {current}")]
    InvalidProducerEpoch {
        /// Who.
        producer_id: ProducerId,
        /// The epoch that counts.
        current: ProducerEpoch,
        /// What it sent.
        found: ProducerEpoch,
    },
    /// → INVALID_TXN_STATE (48). It begins a transaction here of which its coordinator has not been asked, or which has ended
    /// since.
    #[error("record of producer {producer_id} was not part of an ongoing transaction")]
    NotVerified {
        /// Who.
        producer_id: ProducerId,
    },
    /// → INVALID_TXN_STATE (48). A record outside of the transaction that the producer has open.
    #[error("expected a transactional write from producer {producer_id}")]
    InvalidTransactionState {
        /// Who.
        producer_id: ProducerId,
    },
    /// → TRANSACTION_COORDINATOR_FENCED (52). A marker from a coordinator that has been replaced.
    #[error("coordinator epoch {found} for producer {producer_id} is older than {current}")]
    CoordinatorFenced {
        /// Whose transaction.
        producer_id: ProducerId,
        /// The coordinator epoch that counts.
        current: i32,
        /// What the marker says.
        found: i32,
    },
    /// → INVALID_RECORD (87). A control batch whose record is not a marker.
    #[error("the control batch of producer {producer_id} holds no transaction marker")]
    InvalidMarker {
        /// Whose.
        producer_id: ProducerId,
    },
}

impl ProducerError {
    /// Who.
    pub fn producer_id(&self) -> ProducerId {
        match *self {
            Self::OutOfOrderSequence { producer_id, .. }
            | Self::InvalidProducerEpoch { producer_id, .. }
            | Self::NotVerified { producer_id }
            | Self::InvalidTransactionState { producer_id }
            | Self::CoordinatorFenced { producer_id, .. }
            | Self::InvalidMarker { producer_id } => producer_id,
        }
    }
}

/// What one append changes: computed while it is planned, applied once it is written.
///
/// Nothing, without allocation, where no idempotent producer is concerned.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes(Option<Box<Inner>>);

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Inner {
    producers: SmallVec<[ProducerChange; 1]>,
    completed: SmallVec<[Completed; 1]>,
    /// Where each producer is in `producers`, once there are too many to look through.
    index: hashbrown::HashMap<ProducerId, usize>,
}

/// How many producers are looked through before an index is made.
const LINEAR_MAX: usize = 8;

/// What one append changes for one producer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ProducerChange {
    /// The entry afterwards, with only the batches of this append.
    pub(super) updated: ProducerEntry,
    /// Where it began transactions.
    pub(super) started: SmallVec<[Offset; 1]>,
    /// Whether it wrote in a transaction, or ended one: whatever was being verified is decided.
    pub(super) transactional: bool,
    /// The lowest of its sequences that is being verified.
    lowest_unverified: Option<Sequence>,
    /// The epoch and last sequence before this append.
    epoch_before: ProducerEpoch,
    last_sequence_before: Sequence,
}

/// A transaction that the append ends; the last stable offset is known only when it is applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Completed {
    pub(super) producer_id: ProducerId,
    pub(super) first_offset: Offset,
    pub(super) last_offset: Offset,
    pub(super) aborted: bool,
}

impl Changes {
    /// Whether no producer is concerned.
    pub fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    pub(super) fn producers(&self) -> &[ProducerChange] {
        self.0.as_ref().map_or(&[], |inner| inner.producers.as_slice())
    }

    pub(super) fn completed(&self) -> &[Completed] {
        self.0.as_ref().map_or(&[], |inner| inner.completed.as_slice())
    }

    /// Takes in one batch of an idempotent producer, at the offsets in `header`.
    ///
    /// `marker` is what a control batch says, with its timestamp; `None` for a data batch or an emptied control batch.
    ///
    /// # Errors
    /// When the producer may not write it. From [`Origin::Replication`] an old epoch passes: the leader has decided.
    pub fn add(
        &mut self,
        states: &ProducerStates,
        header: &BatchHeader,
        marker: Option<(EndTransactionMarker, model::Millis)>,
        origin: Origin,
    ) -> Result<(), ProducerError> {
        let inner = self.0.get_or_insert_default();
        let change = inner.change(states, header.producer_id());
        change.transactional |= header.is_transactional();
        if !header.is_control() {
            return change.add_data(header, origin);
        }
        let Some((marker, timestamp)) = marker else {
            return Ok(());
        };
        if let Some(completed) = change.add_marker(header, marker, timestamp, origin)? {
            inner.completed.push(completed);
        }
        Ok(())
    }
}

impl Inner {
    fn change(&mut self, states: &ProducerStates, producer_id: ProducerId) -> &mut ProducerChange {
        let known = if self.index.is_empty() {
            self.producers
                .iter()
                .position(|change| change.updated.producer_id == producer_id)
        } else {
            self.index.get(&producer_id).copied()
        };
        let at = known.unwrap_or_else(|| {
            self.producers.push(ProducerChange::new(states, producer_id));
            let at = self.producers.len() - 1;
            if at >= LINEAR_MAX {
                if self.index.is_empty() {
                    let ids = self.producers.iter().map(|change| change.updated.producer_id);
                    self.index.extend(ids.zip(0..));
                } else {
                    self.index.insert(producer_id, at);
                }
            }
            at
        });
        &mut self.producers[at]
    }
}

impl ProducerChange {
    fn new(states: &ProducerStates, producer_id: ProducerId) -> Self {
        let mut updated = match states.entry(producer_id) {
            Some(entry) => entry.clone(),
            None => ProducerEntry::unknown(producer_id),
        };
        let last_sequence_before = updated.last_sequence();
        updated.batches.clear();
        Self {
            epoch_before: updated.producer_epoch,
            last_sequence_before,
            updated,
            started: SmallVec::new(),
            transactional: false,
            lowest_unverified: states.lowest_unverified_sequence(producer_id),
        }
    }

    fn add_data(&mut self, header: &BatchHeader, origin: Origin) -> Result<(), ProducerError> {
        self.check_epoch(header.producer_epoch(), origin)?;
        if matches!(origin, Origin::Client { .. }) {
            self.check_sequence(header.producer_epoch(), header.base_sequence())?;
        }
        self.updated.enter_epoch(header.producer_epoch());
        self.updated.remember(BatchMetadata {
            last_sequence: header.last_sequence(),
            last_offset: header.last_offset(),
            offset_delta: header.last_offset_delta(),
            timestamp: header.max_timestamp(),
        });
        self.updated.last_timestamp = header.max_timestamp();
        match (self.updated.current_transaction_first_offset, header.is_transactional()) {
            (Some(_), false) => Err(ProducerError::InvalidTransactionState {
                producer_id: self.updated.producer_id,
            }),
            (None, true) => {
                self.updated.current_transaction_first_offset = Some(header.base_offset());
                self.started.push(header.base_offset());
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn add_marker(
        &mut self,
        header: &BatchHeader,
        marker: EndTransactionMarker,
        timestamp: model::Millis,
        origin: Origin,
    ) -> Result<Option<Completed>, ProducerError> {
        let producer_id = self.updated.producer_id;
        self.check_epoch(header.producer_epoch(), origin)?;
        if self.updated.coordinator_epoch > marker.coordinator_epoch && origin != Origin::Replication {
            return Err(ProducerError::CoordinatorFenced {
                producer_id,
                current: self.updated.coordinator_epoch,
                found: marker.coordinator_epoch,
            });
        }
        // A marker without data before it changes nothing that readers can see, and is not reported.
        let completed = self
            .updated
            .current_transaction_first_offset
            .take()
            .map(|first_offset| Completed {
                producer_id,
                first_offset,
                last_offset: header.base_offset(),
                aborted: !marker.committed,
            });
        self.updated.enter_epoch(header.producer_epoch());
        self.updated.coordinator_epoch = marker.coordinator_epoch;
        self.updated.last_timestamp = timestamp;
        Ok(completed)
    }

    fn check_epoch(&self, found: ProducerEpoch, origin: Origin) -> Result<(), ProducerError> {
        let current = self.updated.producer_epoch;
        if found < current && origin != Origin::Replication {
            return Err(ProducerError::InvalidProducerEpoch {
                producer_id: self.updated.producer_id,
                current,
                found,
            });
        }
        Ok(())
    }

    fn check_sequence(&self, epoch: ProducerEpoch, found: Sequence) -> Result<(), ProducerError> {
        let out_of_order = |last| ProducerError::OutOfOrderSequence {
            producer_id: self.updated.producer_id,
            last,
            found,
        };
        if let Some(lowest) = self.lowest_unverified.filter(|lowest| found > *lowest) {
            return Err(out_of_order(lowest));
        }
        if epoch != self.updated.producer_epoch {
            // A producer that is not known may begin anywhere: retention may have removed what it wrote before.
            let known = self.updated.producer_epoch != ProducerEpoch::NONE;
            return if found != Sequence(0) && known {
                Err(out_of_order(Sequence::NONE))
            } else {
                Ok(())
            };
        }
        let last = match self.updated.batches.last() {
            Some(batch) => batch.last_sequence,
            None if epoch == self.epoch_before => self.last_sequence_before,
            None => Sequence::NONE,
        };
        let next = i64::from(found.0) == i64::from(last.0) + 1 || (found.0 == 0 && last.0 == i32::MAX);
        if self.epoch_before == ProducerEpoch::NONE || next {
            Ok(())
        } else {
            Err(out_of_order(last))
        }
    }
}

impl Completed {
    pub(super) fn with_last_stable_offset(self, last_stable_offset: Offset) -> CompletedTransaction {
        CompletedTransaction {
            producer_id: self.producer_id,
            first_offset: self.first_offset,
            last_offset: self.last_offset,
            aborted: self.aborted,
            last_stable_offset,
        }
    }
}
