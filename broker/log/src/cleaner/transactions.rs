//! Which batches belong to aborted transactions, and which markers have nothing left to mark.
//!
//! Told of every batch of a log in order. An aborted transaction's records may go at once; its marker stays, and so does
//! its entry in the transaction index, for as long as any batch of it was seen in the same pass: readers that still have
//! the batches in hand need both. A commit marker stays while a record of its transaction does.
//!
//! Source: Kafka 3.9 `CleanedTransactionMetadata`.

use std::collections::BTreeMap;

use hashbrown::{HashMap, HashSet};
use model::{Offset, ProducerId};

use crate::batch::{Batch, ControlRecordType, RecordError, Records};
use crate::log::AbortedTransaction;

/// The transactions that are open where the pass is.
#[derive(Debug, Default)]
pub(crate) struct CleanedTransactions {
    committed: HashSet<ProducerId>,
    aborted: HashMap<ProducerId, Aborted>,
    /// Those that begin further on.
    to_come: BTreeMap<(Offset, ProducerId), AbortedTransaction>,
    /// Entries for the new transaction index, in the order of their markers.
    kept: Vec<AbortedTransaction>,
}

#[derive(Debug)]
struct Aborted {
    transaction: AbortedTransaction,
    seen: bool,
}

impl CleanedTransactions {
    /// What the transaction index says of the segment that comes next.
    pub(crate) fn expect(&mut self, aborted: impl IntoIterator<Item = AbortedTransaction>) {
        for transaction in aborted {
            self.to_come
                .insert((transaction.first_offset, transaction.producer_id), transaction);
        }
    }

    /// A batch of records comes by. Whether it is of an aborted transaction.
    pub(crate) fn on_batch(&mut self, batch: &Batch<'_>) -> bool {
        self.begin_up_to(batch.last_offset());
        if !batch.is_transactional() {
            return false;
        }
        match self.aborted.get_mut(&batch.producer_id()) {
            Some(aborted) => {
                aborted.seen = true;
                true
            }
            None => {
                self.committed.insert(batch.producer_id());
                false
            }
        }
    }

    /// A control batch comes by. Whether nothing of what it marks is left.
    ///
    /// # Errors
    /// A marker that cannot be read.
    pub(crate) fn on_control(&mut self, batch: &Batch<'_>) -> Result<bool, RecordError> {
        self.begin_up_to(batch.last_offset());
        let Some(record) = Records::new(batch, batch.body()).next() else {
            // Emptied by an earlier pass.
            return Ok(true);
        };
        let producer_id = batch.producer_id();
        Ok(
            match ControlRecordType::parse(record?.key.ok_or(RecordError::Structure)?)? {
                ControlRecordType::Abort => match self.aborted.remove(&producer_id) {
                    Some(aborted) if aborted.seen => {
                        self.kept.push(aborted.transaction);
                        false
                    }
                    _ => true,
                },
                ControlRecordType::Commit => !self.committed.remove(&producer_id),
                ControlRecordType::Other(_) => false,
            },
        )
    }

    /// The entries for the transaction index of what has come by since the last time.
    pub(crate) fn take_kept(&mut self) -> Vec<AbortedTransaction> {
        std::mem::take(&mut self.kept)
    }

    fn begin_up_to(&mut self, offset: Offset) {
        while let Some(entry) = self.to_come.first_entry() {
            if entry.key().0 > offset {
                break;
            }
            let transaction = entry.remove();
            self.aborted.entry(transaction.producer_id).or_insert(Aborted {
                transaction,
                seen: false,
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use model::{Millis, ProducerEpoch, Sequence};

    use super::*;
    use crate::batch::{BatchBuilder, EndTransactionMarker};

    fn data(id: i64, offset: i64, transactional: bool) -> Bytes {
        let mut builder = BatchBuilder::new()
            .base_offset(Offset(offset))
            .producer(ProducerId(id), ProducerEpoch(0), Sequence(0))
            .transactional(transactional);
        builder.push(Millis(1), Some(b"k"), Some(b"v"));
        builder.build()
    }

    fn marker(id: i64, offset: i64, committed: bool) -> Bytes {
        let marker = EndTransactionMarker {
            committed,
            coordinator_epoch: 0,
        };
        let bytes = BatchBuilder::end_transaction(ProducerId(id), ProducerEpoch(0), Millis(1), marker);
        let mut bytes = bytes.to_vec();
        bytes[..8].copy_from_slice(&offset.to_be_bytes());
        bytes.into()
    }

    fn aborted(id: i64, first: i64, last: i64) -> AbortedTransaction {
        AbortedTransaction {
            producer_id: ProducerId(id),
            first_offset: Offset(first),
            last_offset: Offset(last),
            last_stable_offset: Offset(last + 1),
        }
    }

    fn batch(bytes: &Bytes) -> Batch<'_> {
        Batch::new(bytes).unwrap()
    }

    #[test]
    fn records_of_aborted_transactions_are_told_from_others() {
        let mut transactions = CleanedTransactions::default();
        transactions.expect([aborted(1, 0, 3), aborted(1, 6, 8)]);
        // Told again with the next segment.
        transactions.expect([aborted(1, 6, 8)]);
        //     name                                 batch                  of an aborted one
        for (name, bytes, expected) in [
            ("aborted", data(1, 0, true), true),
            ("another producer's", data(2, 1, true), false),
            ("not transactional", data(3, 2, false), false),
        ] {
            assert_eq!(transactions.on_batch(&batch(&bytes)), expected, "{name}");
        }
        assert_eq!(transactions.on_control(&batch(&marker(1, 3, false))), Ok(false));
        assert!(
            !transactions.on_batch(&batch(&data(1, 4, true))),
            "the next one is committed"
        );
        assert_eq!(transactions.on_control(&batch(&marker(1, 5, true))), Ok(false));
        assert!(transactions.on_batch(&batch(&data(1, 6, true))));
        assert_eq!(transactions.on_control(&batch(&marker(1, 8, false))), Ok(false));
        assert_eq!(transactions.on_control(&batch(&marker(2, 9, true))), Ok(false));
        assert_eq!(transactions.take_kept(), [aborted(1, 0, 3), aborted(1, 6, 8)]);
        assert_eq!(transactions.take_kept(), []);
    }

    #[test]
    fn a_marker_without_records_has_nothing_to_mark() {
        let mut transactions = CleanedTransactions::default();
        transactions.expect([aborted(1, 0, 3)]);
        assert_eq!(transactions.on_control(&batch(&marker(1, 3, false))), Ok(true));
        assert_eq!(transactions.on_control(&batch(&marker(2, 4, true))), Ok(true));
        assert_eq!(transactions.take_kept(), []);
        let emptied = BatchBuilder::new().transactional(true).control(true).build();
        assert_eq!(transactions.on_control(&batch(&emptied)), Ok(true));
    }
}
