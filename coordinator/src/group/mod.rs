//! Consumer groups: the classic group protocol of Kafka 3.9, for the groups of one `__consumer_offsets` partition.
//!
//! [`Groups`] decides: who is a member, which generation and protocol a group has, who leads, what is committed, what
//! expires. It does not read a clock or the network, does not write the log, and makes no random ids: time and ids are arguments,
//! appends and delayed answers are [`Effect`]s for the shell (`broker/src/group`), which reports each append back.
//! Deadlines are data: [`Groups::next_deadline`] says when [`Groups::tick`] is due.
//!
//! Durable state is what `__consumer_offsets` holds: [`Loader`] replays it, record for record, into a new `Groups`.
//! Members and generations are in memory first and answered when stored; offsets are in memory only once stored.
//!
//! Invariants: a group with members has exactly one leader, which is a member; generations only grow; an assignment goes to
//! members of the current generation only; a static instance id belongs to one member; every ticket is answered at most once.
//! Source: Kafka 3.9 `GroupCoordinator.scala`, `GroupMetadata.scala`, `GroupMetadataManager.scala`; KIP-62, 134, 211, 345, 394, 814.

mod api;
mod classic;
mod commit;
mod groups;
mod join;
mod loading;
mod member;
mod membership;
mod offsets;
mod outbox;
mod record;
mod removal;
mod state;
mod subscription;
mod sync;
#[cfg(test)]
mod tests;
mod timers;

pub use api::{
    Batch, CommitAnswer, CommitRequest, CommittedOffset, Effect, FetchedOffset, GroupConfig, GroupDescription,
    GroupError, GroupOverview, HeartbeatRequest, JoinAnswer, JoinRequest, JoinedMember, LeavingMember,
    MemberDescription, Missed, NO_GENERATION, Note, Protocol, SyncAnswer, SyncRequest, TransactionalCommitRequest,
    UNKNOWN_MEMBER_ID,
};
pub use groups::Groups;
pub use loading::Loader;
pub use record::{Key, StoredGroup, StoredMember};
pub use state::GroupState;

pub use crate::hosting::{AppendFailure, Now, Ticket, WriteId};
pub use crate::placement::partition_for;
pub use crate::record::{Record, RecordError};
