//! All transactional ids of one `__transaction_state` partition: finds the id, lets it decide, keeps what is under way.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use model::{LeaderEpoch, Millis, ProducerId, TopicPartition};

use super::api::{
    AddPartitionsRequest, Append, Effect, EndRequest, InitRequest, ListFilter, MarkersId, Note, Producer,
    TransactionConfig, TransactionDescription, TransactionError, TransactionListing, TransactionResult, Verified,
};
use super::markers::Owed;
use super::metadata::{Transaction, Transit};
use super::record::{Key, StoredTransaction};
use super::state::TransactionState;
use crate::hosting::{AppendFailure, Now, Ticket, WriteId};
use crate::record::{Record, RecordError};

/// The core: see the module's documentation.
///
/// Every method that changes something leaves effects behind; the shell takes them with [`Transactions::take_effects`] and performs
/// them in order, before the next call or at least before any answer of a later call can be seen.
#[derive(Debug)]
pub struct Transactions {
    pub(super) config: TransactionConfig,
    pub(super) coordinator_epoch: LeaderEpoch,
    pub(super) transactions: BTreeMap<Arc<str>, Transaction>,
    pub(super) effects: Vec<Effect>,
    writes: BTreeMap<WriteId, PendingWrite>,
    last_write: u64,
    /// Every transaction that is prepared and neither complete nor fenced.
    pub(super) owed: BTreeMap<MarkersId, Owed>,
    pub(super) last_markers: u64,
    /// When to send again what was not taken, on the steady clock.
    pub(super) retries: BTreeSet<(Millis, MarkersId)>,
    pub(super) next_abort_scan: Millis,
    pub(super) next_expiry_scan: Millis,
}

/// What to do once an append is known to be stored, or not.
#[derive(Debug)]
enum PendingWrite {
    /// A change of one id; nothing else changes it meanwhile.
    Change {
        transactional_id: Arc<str>,
        transit: Transit,
        then: Then,
    },
    /// The record after the last marker.
    Complete(MarkersId),
    /// Tombstones.
    Expire(Vec<Arc<str>>),
}

#[derive(Debug)]
enum Then {
    Initialized(Ticket),
    Added(Ticket),
    Prepared(TransactionResult, Cause),
}

/// Why a transaction ends, and who waits for it.
#[derive(Clone, Copy, Debug)]
pub(super) enum Cause {
    /// EndTxn.
    Client(Ticket),
    /// InitProducerId: the old producer is fenced, the new one told to come again.
    Fence(Ticket),
    /// `transaction.timeout.ms` of the client.
    Timeout,
}

impl Transactions {
    /// No transactional ids yet. `coordinator_epoch` is the leader epoch of the partition.
    pub fn new(config: TransactionConfig, coordinator_epoch: LeaderEpoch, now: Now) -> Self {
        Self {
            next_abort_scan: now.steady + config.abort_timed_out_interval,
            next_expiry_scan: now.steady + config.remove_expired_interval,
            config,
            coordinator_epoch,
            transactions: BTreeMap::new(),
            effects: Vec::new(),
            writes: BTreeMap::new(),
            last_write: 0,
            owed: BTreeMap::new(),
            last_markers: 0,
            retries: BTreeSet::new(),
        }
    }

    /// What is to be done; empties the list.
    pub fn take_effects(&mut self) -> Vec<Effect> {
        std::mem::take(&mut self.effects)
    }

    /// Obeys these settings from now on; deadlines that run keep their moment.
    pub fn reconfigure(&mut self, config: TransactionConfig) {
        self.config = config;
    }

    // Requests

    /// InitProducerId. Answered by [`Effect::Initialized`], at once or when the record is stored.
    ///
    /// `new_producer_id` is called at most once, for an id that is new or has used up its epochs; its error is the answer
    /// (COORDINATOR_LOAD_IN_PROGRESS while the next block of ids is being fetched). It must not block.
    pub fn init_producer_id(
        &mut self,
        ticket: Ticket,
        request: &InitRequest,
        new_producer_id: impl FnMut() -> Result<ProducerId, TransactionError>,
        now: Now,
    ) {
        if let Err(error) = self.try_init(ticket, request, new_producer_id, now) {
            self.effects.push(Effect::Initialized(ticket, Err(error)));
        }
    }

    /// AddPartitionsToTxn or AddOffsetsToTxn. Answered by [`Effect::Added`], at once or when the record is stored.
    pub fn add_partitions(&mut self, ticket: Ticket, request: AddPartitionsRequest, now: Now) {
        match self.try_add(ticket, request, now) {
            Ok(Progress::Stored) => self.effects.push(Effect::Added(ticket, Ok(()))),
            Ok(Progress::UnderWay) => {}
            Err(error) => self.effects.push(Effect::Added(ticket, Err(error))),
        }
    }

    /// AddPartitionsToTxn with `verify_only` (KIP-890): whether each partition is part of the producer's transaction, in order.
    ///
    /// A pending change is not looked at: the log that appends checks once more.
    ///
    /// # Errors
    /// The answer for every partition.
    pub fn verify_partitions(&self, request: &AddPartitionsRequest) -> Result<Verified, TransactionError> {
        let transaction = self.find(&request.transactional_id)?;
        check_producer(transaction, request.producer)?;
        if is_prepared(transaction) {
            return Err(TransactionError::ConcurrentTransactions);
        }
        let verify = |partition: &TopicPartition| {
            let is_part = transaction.stored.partitions.contains(partition);
            let answer = is_part.then_some(()).ok_or(TransactionError::TransactionAbortable);
            (partition.clone(), answer)
        };
        Ok(request.partitions.iter().map(verify).collect())
    }

    /// EndTxn. Answered by [`Effect::Ended`] when the decision is stored; the markers follow.
    pub fn end(&mut self, ticket: Ticket, request: &EndRequest, now: Now) {
        match self.try_end(ticket, request, now) {
            Ok(Progress::Stored) => self.effects.push(Effect::Ended(ticket, Ok(()))),
            Ok(Progress::UnderWay) => {}
            Err(error) => self.effects.push(Effect::Ended(ticket, Err(error))),
        }
    }

    /// ListTransactions, in the order of ids. Names of states that nobody knows are the shell's to report.
    pub fn list(&self, filter: &ListFilter, now: Now) -> Vec<TransactionListing> {
        let wanted = |transaction: &Transaction| {
            let stored = &transaction.stored;
            let age = now.wall - stored.start;
            (filter.producer_ids.is_empty() || filter.producer_ids.contains(&stored.producer.id))
                && filter
                    .states
                    .as_ref()
                    .is_none_or(|states| states.contains(&stored.state))
                && filter
                    .duration
                    .is_none_or(|duration| duration < Millis(0) || age > duration)
        };
        self.transactions
            .iter()
            .filter(|(_, transaction)| wanted(transaction))
            .map(|(id, transaction)| TransactionListing {
                transactional_id: id.clone(),
                producer_id: transaction.stored.producer.id,
                state: transaction.stored.state,
            })
            .collect()
    }

    /// DescribeTransactions, of one id.
    ///
    /// # Errors
    /// INVALID_REQUEST for the empty id, TRANSACTIONAL_ID_NOT_FOUND.
    pub fn describe(&self, transactional_id: &str) -> Result<TransactionDescription, TransactionError> {
        if transactional_id.is_empty() {
            return Err(TransactionError::InvalidRequest);
        }
        let stored = &self
            .transactions
            .get(transactional_id)
            .ok_or(TransactionError::TransactionalIdNotFound)?
            .stored;
        Ok(TransactionDescription {
            state: stored.state,
            producer: stored.producer,
            timeout_ms: stored.timeout_ms,
            start_time: stored.start,
            partitions: stored.partitions.clone(),
        })
    }

    /// Whether the id's transaction is decided and not complete: until then no other can begin.
    pub fn is_ending(&self, transactional_id: &str) -> bool {
        let state = self.transactions.get(transactional_id).map(|it| it.stored.state);
        matches!(
            state,
            Some(TransactionState::PrepareCommit | TransactionState::PrepareAbort)
        )
    }

    /// How many transactional ids there are.
    pub fn len(&self) -> usize {
        self.transactions.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.transactions.is_empty()
    }

    // Deciding

    fn try_init(
        &mut self,
        ticket: Ticket,
        request: &InitRequest,
        mut new_producer_id: impl FnMut() -> Result<ProducerId, TransactionError>,
        now: Now,
    ) -> Result<(), TransactionError> {
        let id = &request.transactional_id;
        if id.is_empty() {
            return Err(TransactionError::InvalidRequest);
        }
        let timeout = Millis(request.timeout_ms.into());
        if timeout <= Millis(0) || timeout > self.config.max_timeout {
            return Err(TransactionError::InvalidTransactionTimeout);
        }
        if Key::encode(id).is_err() {
            return Err(TransactionError::UnknownServerError);
        }
        if !self.transactions.contains_key(id) {
            let created = Transaction::new(new_producer_id()?, request.timeout_ms, now);
            self.transactions.insert(id.clone(), created);
        }
        let transaction = self
            .transactions
            .get_mut(id)
            .ok_or(TransactionError::UnknownServerError)?;
        if transaction.pending.is_some() {
            return Err(TransactionError::ConcurrentTransactions);
        }
        if let Some(expected) = request.expected
            && !transaction.is_valid_producer_id(expected)
        {
            return Err(TransactionError::ProducerFenced);
        }
        use TransactionState::*;
        match transaction.stored.state {
            PrepareCommit | PrepareAbort => Err(TransactionError::ConcurrentTransactions),
            Empty | CompleteCommit | CompleteAbort => {
                let transit = transaction.begin_empty(request.expected, request.timeout_ms, new_producer_id, now)?;
                self.change(id.clone(), transit, Then::Initialized(ticket), now);
                Ok(())
            }
            // The new producer comes again, and its epoch is bumped once more then.
            Ongoing => {
                self.fence(id.clone(), Cause::Fence(ticket), now);
                Ok(())
            }
            // Never entered, never loaded.
            Dead | PrepareEpochFence => Err(TransactionError::UnknownServerError),
        }
    }

    fn try_add(
        &mut self,
        ticket: Ticket,
        request: AddPartitionsRequest,
        now: Now,
    ) -> Result<Progress, TransactionError> {
        let id = request.transactional_id;
        let transaction = self.find_mut(&id)?;
        check_producer(transaction, request.producer)?;
        if transaction.pending.is_some() || is_prepared(transaction) {
            return Err(TransactionError::ConcurrentTransactions);
        }
        if transaction.stored.state == TransactionState::Ongoing
            && request.partitions.is_subset(&transaction.stored.partitions)
        {
            return Ok(Progress::Stored);
        }
        let transit = transaction.begin_ongoing(request.partitions, now);
        self.change(id, transit, Then::Added(ticket), now);
        Ok(Progress::UnderWay)
    }

    fn try_end(&mut self, ticket: Ticket, request: &EndRequest, now: Now) -> Result<Progress, TransactionError> {
        let id = &request.transactional_id;
        let transaction = self.find_mut(id)?;
        check_producer(transaction, request.producer)?;
        if transaction.pending.is_some() {
            return Err(TransactionError::ConcurrentTransactions);
        }
        use TransactionResult::*;
        use TransactionState::*;
        match (transaction.stored.state, request.result) {
            (Ongoing, result) => {
                let transit = transaction.begin_prepare(result, now);
                let then = Then::Prepared(result, Cause::Client(ticket));
                self.change(id.clone(), transit, then, now);
                Ok(Progress::UnderWay)
            }
            // A retry.
            (CompleteCommit, Commit) | (CompleteAbort, Abort) => Ok(Progress::Stored),
            (PrepareCommit, Commit) | (PrepareAbort, Abort) => Err(TransactionError::ConcurrentTransactions),
            (CompleteCommit | PrepareCommit, Abort) | (CompleteAbort | PrepareAbort, Commit) | (Empty, _) => {
                Err(TransactionError::InvalidTxnState)
            }
            // Never entered, never loaded.
            (Dead | PrepareEpochFence, _) => Err(TransactionError::UnknownServerError),
        }
    }

    /// Shuts the producer of an ongoing transaction out and aborts it.
    pub(super) fn fence(&mut self, transactional_id: Arc<str>, cause: Cause, now: Now) {
        if let Some(transaction) = self.transactions.get_mut(&transactional_id) {
            let transit = transaction.begin_fence(now);
            let then = Then::Prepared(TransactionResult::Abort, cause);
            self.change(transactional_id, transit, then, now);
        }
    }

    fn find(&self, transactional_id: &str) -> Result<&Transaction, TransactionError> {
        if transactional_id.is_empty() {
            return Err(TransactionError::InvalidRequest);
        }
        self.transactions
            .get(transactional_id)
            .ok_or(TransactionError::InvalidProducerIdMapping)
    }

    fn find_mut(&mut self, transactional_id: &str) -> Result<&mut Transaction, TransactionError> {
        if transactional_id.is_empty() {
            return Err(TransactionError::InvalidRequest);
        }
        self.transactions
            .get_mut(transactional_id)
            .ok_or(TransactionError::InvalidProducerIdMapping)
    }

    // The log

    /// An append is stored and replicated, or failed. Reported once for each [`Effect::Append`].
    pub fn appended(&mut self, id: WriteId, outcome: Result<(), AppendFailure>, now: Now) {
        match self.writes.remove(&id) {
            None => {}
            Some(PendingWrite::Change {
                transactional_id,
                transit,
                then,
            }) => match outcome {
                Ok(()) => self.changed(transactional_id, transit, then, now),
                Err(failure) => self.not_changed(transactional_id, &transit, then, failure),
            },
            Some(PendingWrite::Complete(markers)) => self.completed(markers, outcome, now),
            Some(PendingWrite::Expire(ids)) => self.expired(ids, outcome),
        }
    }

    fn changed(&mut self, transactional_id: Arc<str>, transit: Transit, then: Then, now: Now) {
        let Some(transaction) = self.transactions.get_mut(&transactional_id) else {
            return;
        };
        transaction.enter(transit, now);
        let producer = transaction.stored.producer;
        match then {
            Then::Initialized(ticket) => {
                self.effects.push(Effect::Initialized(ticket, Ok(producer)));
                self.effects.push(Effect::Note(Note::Initialized {
                    transactional_id,
                    producer,
                }));
            }
            Then::Added(ticket) => self.effects.push(Effect::Added(ticket, Ok(()))),
            Then::Prepared(result, cause) => {
                self.effects.push(match cause {
                    Cause::Client(ticket) => Effect::Ended(ticket, Ok(())),
                    Cause::Fence(ticket) => Effect::Initialized(ticket, Err(TransactionError::ConcurrentTransactions)),
                    Cause::Timeout => Effect::Note(Note::TimedOut {
                        transactional_id: transactional_id.clone(),
                        producer,
                    }),
                });
                self.owe(transactional_id, result, now);
            }
        }
    }

    fn not_changed(&mut self, transactional_id: Arc<str>, transit: &Transit, then: Then, failure: AppendFailure) {
        if let Some(transaction) = self.transactions.get_mut(&transactional_id) {
            transaction.forget_pending();
            if let Then::Prepared(_, Cause::Fence(_) | Cause::Timeout) = then {
                transaction.fence_failed();
            }
        }
        let error = failure.for_transaction();
        match then {
            Then::Initialized(ticket) | Then::Prepared(_, Cause::Fence(ticket)) => {
                self.effects.push(Effect::Initialized(ticket, Err(error)));
            }
            Then::Added(ticket) => self.effects.push(Effect::Added(ticket, Err(error))),
            Then::Prepared(_, Cause::Client(ticket)) => self.effects.push(Effect::Ended(ticket, Err(error))),
            Then::Prepared(_, Cause::Timeout) => {}
        }
        self.effects.push(Effect::Note(Note::StoreFailed {
            transactional_id,
            state: transit.to.state,
            failure,
        }));
    }

    fn change(&mut self, transactional_id: Arc<str>, transit: Transit, then: Then, now: Now) {
        match self.record(&transactional_id, &transit.to) {
            Ok(record) => {
                let timeout = Millis(transit.to.timeout_ms.into());
                let pending = PendingWrite::Change {
                    transactional_id,
                    transit,
                    then,
                };
                self.append(vec![record], Some(timeout), pending, now);
            }
            // A topic's name that no topic can have, which the shell has looked for in its metadata: cannot be.
            Err(_) => self.not_changed(transactional_id, &transit, then, AppendFailure::TooLarge),
        }
    }

    pub(super) fn append_complete(&mut self, id: MarkersId, record: Record, timeout: Millis, now: Now) {
        self.append(vec![record], Some(timeout), PendingWrite::Complete(id), now);
    }

    pub(super) fn append_tombstones(&mut self, ids: Vec<Arc<str>>, records: Vec<Record>, now: Now) {
        self.append(records, None, PendingWrite::Expire(ids), now);
    }

    pub(super) fn record(&self, transactional_id: &str, stored: &StoredTransaction) -> Result<Record, RecordError> {
        Ok(Record {
            key: Key::encode(transactional_id)?,
            value: Some(stored.encode(self.config.flexible_records)?),
        })
    }

    fn append(&mut self, records: Vec<Record>, timeout: Option<Millis>, pending: PendingWrite, now: Now) {
        self.last_write += 1;
        let id = WriteId(self.last_write);
        self.writes.insert(id, pending);
        let append = Append {
            records,
            timestamp: now.wall,
            timeout,
        };
        self.effects.push(Effect::Append(id, append));
    }

    /// This broker coordinates these transactional ids no more: everybody who waits is sent away, effects that were not taken are
    /// dropped with the rest. What is under way in the log may or may not be stored; the next coordinator goes on from there.
    /// The shell also drops the markers of this core that it has not sent.
    pub fn resign(mut self) -> Vec<Effect> {
        // Answers that are ready are true; appends and markers are not ours to make any more.
        let mut effects = self.take_effects();
        effects.retain(|effect| !matches!(effect, Effect::Append(..) | Effect::Send(_)));
        let gone = TransactionError::NotCoordinator;
        for write in std::mem::take(&mut self.writes).into_values() {
            let PendingWrite::Change { then, .. } = write else {
                continue;
            };
            match then {
                Then::Initialized(ticket) | Then::Prepared(_, Cause::Fence(ticket)) => {
                    effects.push(Effect::Initialized(ticket, Err(gone)));
                }
                Then::Added(ticket) => effects.push(Effect::Added(ticket, Err(gone))),
                Then::Prepared(_, Cause::Client(ticket)) => effects.push(Effect::Ended(ticket, Err(gone))),
                Then::Prepared(_, Cause::Timeout) => {}
            }
        }
        effects
    }
}

/// Whether a request can be answered now.
enum Progress {
    /// What it asks for is so already.
    Stored,
    /// Answered when its record is stored.
    UnderWay,
}

fn check_producer(transaction: &Transaction, producer: Producer) -> Result<(), TransactionError> {
    if transaction.stored.producer.id != producer.id {
        Err(TransactionError::InvalidProducerIdMapping)
    } else if transaction.stored.producer.epoch != producer.epoch {
        Err(TransactionError::ProducerFenced)
    } else {
        Ok(())
    }
}

fn is_prepared(transaction: &Transaction) -> bool {
    matches!(
        transaction.stored.state,
        TransactionState::PrepareCommit | TransactionState::PrepareAbort
    )
}
