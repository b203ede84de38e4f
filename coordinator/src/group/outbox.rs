//! What a step leaves behind: effects for the shell, appends that are under way, deadlines.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use model::{Millis, ProducerEpoch, ProducerId, TopicPartition, VerificationGuard};

use super::api::{Batch, CommitAnswer, CommittedOffset, Effect, GroupConfig, GroupError, JoinAnswer, Note, SyncAnswer};
use super::classic::JoinSettings;
use super::timers::{Deadline, Due, Timers};
use crate::hosting::{Now, Ticket, WriteId};

/// What to do once an append is known to be stored, or not.
#[derive(Debug)]
pub(super) struct PendingWrite {
    pub(super) group_id: Arc<str>,
    /// Which life of that group: an outcome for a removed group must not touch its successor of the same name.
    pub(super) incarnation: u64,
    pub(super) then: Then,
}

#[derive(Debug)]
pub(super) enum Then {
    /// The leader's assignment: hand it out and be stable.
    Assign {
        generation_id: i32,
        assignments: BTreeMap<Arc<str>, Bytes>,
    },
    /// Nothing waits for the record of an empty group.
    Emptied { generation_id: i32 },
    /// A static member came back under a new id while the group was stable: answer it, or put the old id back.
    ReplaceStatic(StaticReplacement),
    /// Offsets: remember them and answer.
    Commit {
        ticket: Ticket,
        producer_id: Option<ProducerId>,
        offsets: Vec<(TopicPartition, CommittedOffset)>,
        /// The whole answer, as it is if all goes well.
        answer: CommitAnswer,
    },
}

/// On whose behalf a transactional commit is stored.
#[derive(Clone, Copy, Debug)]
pub(super) struct Transactional {
    pub(super) producer_id: ProducerId,
    pub(super) producer_epoch: ProducerEpoch,
    pub(super) verification: VerificationGuard,
}

#[derive(Debug)]
pub(super) struct StaticReplacement {
    pub(super) group_instance_id: Arc<str>,
    pub(super) old_member_id: Arc<str>,
    pub(super) new_member_id: Arc<str>,
    pub(super) old_settings: JoinSettings,
    /// The leader before the replacement: what members that cannot skip an assignment are told.
    pub(super) old_leader_id: Arc<str>,
    pub(super) support_skipping_assignment: bool,
}

#[derive(Debug, Default)]
pub(super) struct Outbox {
    pub(super) effects: Vec<Effect>,
    pub(super) timers: Timers,
    pub(super) writes: BTreeMap<WriteId, PendingWrite>,
    last_write: u64,
}

/// One step: its moment, the settings it obeys, and where its effects go.
pub(super) struct Step<'a> {
    pub(super) config: &'a GroupConfig,
    pub(super) now: Now,
    pub(super) out: &'a mut Outbox,
}

impl Step<'_> {
    pub(super) fn append(&mut self, batch: Batch, pending: PendingWrite) {
        self.out.last_write += 1;
        let id = WriteId(self.out.last_write);
        self.out.writes.insert(id, pending);
        self.out.effects.push(Effect::Append(id, batch));
    }

    pub(super) fn append_lazily(&mut self, batch: Batch) {
        self.out.effects.push(Effect::AppendLazily(batch));
    }

    pub(super) fn joined(&mut self, ticket: Ticket, answer: JoinAnswer) {
        self.out.effects.push(Effect::Joined(ticket, answer));
    }

    pub(super) fn synced(&mut self, ticket: Ticket, answer: Result<SyncAnswer, GroupError>) {
        self.out.effects.push(Effect::Synced(ticket, answer));
    }

    pub(super) fn committed(&mut self, ticket: Ticket, answer: CommitAnswer) {
        self.out.effects.push(Effect::Committed(ticket, answer));
    }

    pub(super) fn note(&mut self, note: Note) {
        self.out.effects.push(Effect::Note(note));
    }

    /// Moves `deadline` to `span` milliseconds from now.
    pub(super) fn arm(&mut self, deadline: &mut Deadline, span: i64, group_id: &Arc<str>, due: impl FnOnce() -> Due) {
        let at = self.now.steady + Millis(span);
        self.out.timers.arm(deadline, at, group_id, due);
    }
}
