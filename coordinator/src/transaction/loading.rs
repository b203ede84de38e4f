//! Reading a `__transaction_state` partition back into memory.
//!
//! Records are replayed in the order of the log; the last one of each id counts, and a tombstone forgets it. What was prepared is
//! completed by whoever loads it.
//! Source: Kafka 3.9 `TransactionStateManager.loadTransactionMetadata`, `loadTransactionsForTxnTopicPartition`.

use std::collections::BTreeMap;
use std::sync::Arc;

use model::LeaderEpoch;

use super::api::{Effect, Note, TransactionConfig, TransactionResult};
use super::metadata::Transaction;
use super::record::{Key, StoredTransaction};
use super::state::TransactionState;
use super::transactions::Transactions;
use crate::hosting::Now;
use crate::record::RecordError;

/// The transactional ids of one partition while its log is being read.
#[derive(Debug, Default)]
pub struct Loader {
    transactions: BTreeMap<Arc<str>, StoredTransaction>,
}

impl Loader {
    /// Nothing read yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Replays one record. Keys of versions that are not known are passed over.
    ///
    /// # Errors
    /// If the record cannot be read; it has changed nothing, and loading may go on without it.
    pub fn replay(&mut self, key: &[u8], value: Option<&[u8]>) -> Result<(), RecordError> {
        let Key::Transaction(transactional_id) = Key::decode(key)? else {
            return Ok(());
        };
        match value {
            Some(value) => {
                let stored = StoredTransaction::decode(value)?;
                self.transactions.insert(transactional_id, stored);
            }
            None => {
                self.transactions.remove(&transactional_id);
            }
        }
        Ok(())
    }

    /// How many ids are known so far.
    pub fn len(&self) -> usize {
        self.transactions.len()
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.transactions.is_empty()
    }

    /// The log is read up to its end, by the leader of `coordinator_epoch`: the core leaves the markers of prepared transactions as
    /// its first effects.
    ///
    /// Everything read must be replicated by now (high watermark at or past the end of what was read). A new leader may hold a Prepare
    /// record that no follower has: were its markers sent, or were a producer told that a partition is part of the transaction, and
    /// this broker then lost, the next leader would decide otherwise. Kafka does not wait.
    pub fn finish(self, config: TransactionConfig, coordinator_epoch: LeaderEpoch, now: Now) -> Transactions {
        let mut core = Transactions::new(config, coordinator_epoch, now);
        for (id, stored) in self.transactions {
            let result = match stored.state {
                TransactionState::PrepareCommit => Some(TransactionResult::Commit),
                TransactionState::PrepareAbort => Some(TransactionResult::Abort),
                _ => None,
            };
            core.transactions.insert(id.clone(), Transaction::loaded(stored, now));
            if let Some(result) = result {
                core.effects.push(Effect::Note(Note::Resumed {
                    transactional_id: id.clone(),
                    result,
                }));
                core.owe(id, result, now);
            }
        }
        core
    }
}
