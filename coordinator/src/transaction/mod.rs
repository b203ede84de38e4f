//! The transaction coordinator of Kafka 3.9, for the transactional ids of one `__transaction_state` partition.
//!
//! [`Transactions`] decides: which producer id and epoch a transactional id has, which partitions its transaction touches,
//! whether it commits or aborts, which markers are still owed to which partition, what times out and what expires. It does not
//! read a clock or the network, does not write the log, and makes no producer ids: time and ids are arguments, appends, markers and
//! delayed answers are [`Effect`]s for the shell (`broker/src/transaction`), which reports each append and each marker back.
//! Deadlines are data: [`Transactions::next_deadline`] says when [`Transactions::tick`] is due.
//!
//! Durable state is what `__transaction_state` holds: [`Loader`] replays it, record for record, into a new `Transactions`,
//! which at once owes the markers of every transaction that was prepared.
//!
//! The order of every change is *record first*: while the record of a change is under way the id has a pending state and refuses
//! others with CONCURRENT_TRANSACTIONS; the change counts once the record is replicated, and is forgotten if the append fails.
//! The one thing that counts at once is the bumped epoch of a fence: the old producer is shut out while its transaction is aborted.
//!
//! Invariants: a marker is sent only after its Prepare record is replicated; a transaction that was prepared to commit is never
//! aborted, and the other way round, by this or any later coordinator; an id has at most one append under way; epochs of a producer id
//! only grow; every ticket is answered exactly once, at the latest by [`Transactions::resign`].
//! Source: Kafka 3.9 `TransactionCoordinator.scala`, `TransactionStateManager.scala`, `TransactionMetadata.scala`,
//! `TransactionMarkerChannelManager.scala`; KIP-98, 360, 588, 664, 890 (part 1).

mod api;
mod loading;
mod markers;
mod metadata;
mod record;
mod state;
#[cfg(test)]
mod tests;
mod timers;
mod transactions;

pub use api::{
    AddPartitionsRequest, Append, Effect, EndRequest, InitRequest, ListFilter, MarkerOutcome, Markers, MarkersId, Note,
    Producer, TransactionConfig, TransactionDescription, TransactionError, TransactionListing, TransactionResult,
    Verified,
};
pub use loading::Loader;
pub use record::{Key, StoredTransaction};
pub use state::TransactionState;
pub use transactions::Transactions;

pub use crate::hosting::{AppendFailure, Now, Ticket, WriteId};
pub use crate::placement::partition_for;
pub use crate::record::{Record, RecordError};
