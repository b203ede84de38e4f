//! All groups of one `__consumer_offsets` partition: finds the group, lets it decide, keeps the clock.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use model::{Millis, Offset, ProducerId, TopicPartition};

use super::api::{
    CommitRequest, Effect, FetchedOffset, GroupConfig, GroupDescription, GroupError, GroupOverview, HeartbeatRequest,
    JoinAnswer, JoinRequest, LeavingMember, Note, SyncRequest, TransactionalCommitRequest, UNKNOWN_MEMBER_ID,
};
use super::classic::Group;
use super::commit::{deduplicate, refuse_all, with_error};
use super::outbox::{Outbox, Step, Then, Transactional};
use super::state::GroupState;
use super::timers::Due;
use crate::hosting::{AppendFailure, Now, Ticket, WriteId};

/// The core: see the module's documentation.
///
/// Every method that changes something leaves effects behind; the shell takes them with [`Groups::take_effects`] and performs them
/// in order, before the next call or at least before any answer of a later call can be seen.
#[derive(Debug)]
pub struct Groups {
    config: GroupConfig,
    groups: BTreeMap<Arc<str>, Group>,
    out: Outbox,
    incarnations: u64,
    next_cleanup: Millis,
    /// The groups in which a producer may have commits pending. Source: Kafka `openGroupsForProducer`.
    open: BTreeMap<ProducerId, BTreeSet<Arc<str>>>,
}

impl Groups {
    /// No groups yet.
    pub fn new(config: GroupConfig, now: Now) -> Self {
        let next_cleanup = now.steady + config.offsets_retention_check_interval;
        Self {
            config,
            groups: BTreeMap::new(),
            out: Outbox::default(),
            incarnations: 0,
            next_cleanup,
            open: BTreeMap::new(),
        }
    }

    /// What is to be done; empties the list.
    pub fn take_effects(&mut self) -> Vec<Effect> {
        std::mem::take(&mut self.out.effects)
    }

    /// Obeys these settings from now on; deadlines that run keep their moment.
    pub fn reconfigure(&mut self, config: GroupConfig) {
        self.config = config;
    }

    // Members

    /// JoinGroup. Answered by [`Effect::Joined`], at once or when the rebalance is over.
    pub fn join(&mut self, ticket: Ticket, request: JoinRequest, now: Now) {
        let session_timeout = Millis(i64::from(request.session_timeout_ms));
        let may_create = &*request.member_id == UNKNOWN_MEMBER_ID;
        let refused =
            if session_timeout < self.config.min_session_timeout || session_timeout > self.config.max_session_timeout {
                Some(GroupError::InvalidSessionTimeout)
            } else if !may_create && !self.groups.contains_key(&request.group_id) {
                Some(GroupError::UnknownMemberId)
            } else {
                None
            };
        match refused {
            Some(error) => {
                let answer = JoinAnswer::refused(request.member_id, error);
                self.out.effects.push(Effect::Joined(ticket, answer));
            }
            None => {
                let (group, mut step) = self.obtain(&request.group_id, now);
                group.join(ticket, request, &mut step);
            }
        }
    }

    /// SyncGroup. Answered by [`Effect::Synced`], at once or when the leader's assignment is stored.
    pub fn sync(&mut self, ticket: Ticket, request: SyncRequest, now: Now) {
        match self.find(&request.group_id, now) {
            Some((group, mut step)) => group.sync(ticket, request, &mut step),
            None => self
                .out
                .effects
                .push(Effect::Synced(ticket, Err(GroupError::UnknownMemberId))),
        }
    }

    /// Heartbeat.
    ///
    /// # Errors
    /// The answer: REBALANCE_IN_PROGRESS tells the member to join again.
    pub fn heartbeat(&mut self, request: &HeartbeatRequest, now: Now) -> Result<(), GroupError> {
        let (group, mut step) = self.find(&request.group_id, now).ok_or(GroupError::UnknownMemberId)?;
        group.heartbeat(request, &mut step)
    }

    /// LeaveGroup: an answer for each member, in order.
    pub fn leave(&mut self, group_id: &str, members: &[LeavingMember], now: Now) -> Vec<Result<(), GroupError>> {
        match self.find(group_id, now) {
            Some((group, mut step)) => members.iter().map(|member| group.leave(member, &mut step)).collect(),
            None => vec![Err(GroupError::UnknownMemberId); members.len()],
        }
    }

    // Offsets

    /// OffsetCommit. Answered by [`Effect::Committed`].
    pub fn commit(&mut self, ticket: Ticket, request: CommitRequest, now: Now) {
        self.commit_as(ticket, request, None, now);
    }

    /// TxnOffsetCommit, after the transaction was verified. Answered by [`Effect::Committed`]; the offsets count once
    /// [`Groups::complete_transaction`] says so.
    pub fn commit_transactional(&mut self, ticket: Ticket, request: TransactionalCommitRequest, now: Now) {
        let producer = Transactional {
            producer_id: request.producer_id,
            producer_epoch: request.producer_epoch,
            verification: request.verification,
        };
        let producer = Some(producer);
        self.commit_as(ticket, request.commit, producer, now);
    }

    fn commit_as(&mut self, ticket: Ticket, mut request: CommitRequest, producer: Option<Transactional>, now: Now) {
        deduplicate(&mut request);
        // A generation of a group that is not known is an old one. Without a generation it is a committer that uses Kafka for
        // offsets only, or a transactional producer: the group begins with it.
        let is_stale = producer.is_none() && request.generation_id >= 0 && !self.groups.contains_key(&request.group_id);
        if is_stale {
            let answer = refuse_all(&request, GroupError::IllegalGeneration);
            self.out.effects.push(Effect::Committed(ticket, answer));
        } else {
            let (group, mut step) = self.obtain(&request.group_id, now);
            group.commit(ticket, request, producer, &mut step);
            if let Some(producer) = producer
                && group.offsets.is_pending(producer.producer_id)
            {
                let group_id = group.id.clone();
                self.note_open(producer.producer_id, &group_id);
            }
        }
    }

    /// The marker that ends the producer's transaction is in this partition at `marker_offset`, and replicated.
    ///
    /// To be told more than once does no harm, nor to be told late: what the log has behind the marker stays pending.
    pub fn complete_transaction(&mut self, producer_id: ProducerId, committed: bool, marker_offset: Offset) {
        let Some(mut open) = self.open.remove(&producer_id) else {
            return;
        };
        open.retain(|group_id| {
            let group = self.groups.get_mut(group_id);
            group.is_some_and(|group| {
                group
                    .offsets
                    .complete_transaction(producer_id, committed, marker_offset)
            })
        });
        if !open.is_empty() {
            self.open.insert(producer_id, open);
        }
    }

    fn note_open(&mut self, producer_id: ProducerId, group_id: &Arc<str>) {
        let open = self.open.entry(producer_id).or_default();
        if !open.contains(group_id) {
            open.insert(group_id.clone());
        }
    }

    /// OffsetFetch of these partitions, in order; a group that does not exist has committed nothing.
    pub fn fetch_offsets(
        &self,
        group_id: &str,
        partitions: &[TopicPartition],
        require_stable: bool,
    ) -> Vec<FetchedOffset> {
        let group = self.groups.get(group_id);
        let fetch = |partition| match group {
            Some(group) => group.offsets.fetch(partition, require_stable),
            None => FetchedOffset::None,
        };
        partitions.iter().map(fetch).collect()
    }

    /// OffsetFetch of everything the group has committed, in the order of topics and partitions.
    pub fn fetch_all_offsets(&self, group_id: &str, require_stable: bool) -> Vec<(TopicPartition, FetchedOffset)> {
        self.groups
            .get(group_id)
            .map(|group| group.offsets.fetch_all(require_stable))
            .unwrap_or_default()
    }

    // Administration

    /// DescribeGroups: a group that does not exist is `Dead`.
    pub fn describe(&self, group_id: &str) -> GroupDescription {
        match self.groups.get(group_id) {
            Some(group) => group.describe(),
            None => GroupDescription {
                state: GroupState::Dead,
                protocol_type: "".into(),
                protocol: "".into(),
                members: Vec::new(),
            },
        }
    }

    /// ListGroups, in the order of ids.
    pub fn list(&self) -> impl Iterator<Item = GroupOverview> {
        self.groups.values().map(Group::overview)
    }

    /// How many groups there are in each state, and how many offsets in all; for metrics.
    pub fn counts(&self) -> (HashMap<GroupState, usize>, usize) {
        let mut states = HashMap::new();
        for group in self.groups.values() {
            *states.entry(group.state).or_default() += 1;
        }
        (states, self.groups.values().map(|group| group.offsets.len()).sum())
    }

    /// DeleteGroups, of one group.
    ///
    /// # Errors
    /// GROUP_ID_NOT_FOUND, or NON_EMPTY_GROUP while it has members.
    pub fn delete(&mut self, group_id: &str, now: Now) -> Result<(), GroupError> {
        let (group, mut step) = self.find(group_id, now).ok_or(GroupError::GroupIdNotFound)?;
        let removed = group.delete(&step)?;
        if group.write_tombstones(removed, &mut step) {
            self.groups.remove(group_id);
        }
        Ok(())
    }

    /// OffsetDelete: an answer for each partition, in order.
    ///
    /// # Errors
    /// GROUP_ID_NOT_FOUND, or NON_EMPTY_GROUP for a group with members that are not consumers.
    pub fn delete_offsets(
        &mut self,
        group_id: &str,
        partitions: &[TopicPartition],
        now: Now,
    ) -> Result<Vec<Option<GroupError>>, GroupError> {
        let (group, mut step) = self.find(group_id, now).ok_or(GroupError::GroupIdNotFound)?;
        let answers = group.validate_delete_offsets(partitions)?;
        let allowed: Vec<_> = partitions
            .iter()
            .zip(&answers)
            .filter(|(_, error)| error.is_none())
            .map(|(p, _)| p)
            .collect();
        if !allowed.is_empty() {
            let removed = group.offsets.remove(allowed);
            if group.write_tombstones(removed, &mut step) {
                self.groups.remove(group_id);
            }
        }
        Ok(answers)
    }

    /// These partitions exist no more: no group keeps offsets of them.
    pub fn partitions_deleted(&mut self, partitions: &[TopicPartition], now: Now) {
        self.clean_up(now, |group, _| group.offsets.remove(partitions));
    }

    // Time and the log

    /// An append is in the log, its batch begins at this offset; whether it is replicated will be told by
    /// [`Groups::appended`]. The marker that ends a transaction may be told in between.
    pub fn placed(&mut self, id: WriteId, batch_offset: Offset) {
        if let Some(write) = self.out.writes.get(&id)
            && let Then::Commit {
                producer_id: Some(producer_id),
                offsets,
                ..
            } = &write.then
            && let Some(group) = self.groups.get_mut(&write.group_id)
            && group.incarnation == write.incarnation
        {
            group.offsets.placed(*producer_id, offsets, batch_offset);
        }
    }

    /// An append is stored (its batch begins at this offset), or failed.
    pub fn appended(&mut self, id: WriteId, outcome: Result<Offset, AppendFailure>, now: Now) {
        let Some(write) = self.out.writes.remove(&id) else {
            return;
        };
        if let Some((group, mut step)) = self.find(&write.group_id, now)
            && group.incarnation == write.incarnation
        {
            group.written(write.then, outcome, &mut step);
            return;
        }
        // The group was removed meanwhile. A committer is waiting all the same.
        if let Then::Commit { ticket, answer, .. } = write.then {
            let error = outcome.err().map(AppendFailure::for_commit);
            self.out
                .effects
                .push(Effect::Committed(ticket, with_error(answer, error)));
        }
    }

    /// When [`Groups::tick`] is due, on the steady clock. There may be nothing to do then, never something later than it.
    pub fn next_deadline(&self) -> Millis {
        self.out
            .timers
            .next()
            .map_or(self.next_cleanup, |at| at.min(self.next_cleanup))
    }

    /// Whatever is due happens.
    pub fn tick(&mut self, now: Now) {
        while let Some(entry) = self.out.timers.pop(now.steady) {
            let Some((group, mut step)) = self.find(&entry.group_id, now) else {
                continue;
            };
            let deadline = match &entry.due {
                Due::Heartbeat(member_id) => group.members.get_mut(member_id).map(|member| &mut member.heartbeat),
                Due::SecondJoin(member_id) => group.pending_members.get_mut(member_id),
                Due::Join => Some(&mut group.join_deadline),
                Due::Sync => Some(&mut group.sync_deadline),
            };
            let Some(deadline) = deadline else { continue };
            if !step.out.timers.fires(&entry, deadline, now.steady) {
                continue;
            }
            match &entry.due {
                Due::Heartbeat(member_id) => group.heartbeat_expired(member_id, &mut step),
                Due::SecondJoin(member_id) => group.second_join_expired(member_id, &mut step),
                Due::Join => group.join_expired(&mut step),
                Due::Sync => group.sync_expired(&mut step),
            }
        }
        if self.next_cleanup <= now.steady {
            self.next_cleanup = now.steady + self.config.offsets_retention_check_interval;
            self.clean_up(now, |group, step| {
                let expired = group.expire_offsets(step);
                if !expired.is_empty() {
                    step.note(Note::OffsetsExpired {
                        group_id: group.id.clone(),
                        count: expired.len(),
                    });
                }
                expired
            });
        }
    }

    /// This broker coordinates these groups no more: everybody who waits is sent away. What is under way in the log may or may not
    /// be stored; the committer asks again, at the next coordinator.
    pub fn resign(mut self, now: Now) -> Vec<Effect> {
        for (_, write) in std::mem::take(&mut self.out.writes) {
            if let Then::Commit { ticket, answer, .. } = write.then {
                let answer = with_error(answer, Some(GroupError::NotCoordinator));
                self.out.effects.push(Effect::Committed(ticket, answer));
            }
        }
        let mut step = Step {
            config: &self.config,
            now,
            out: &mut self.out,
        };
        for group in self.groups.values_mut() {
            group.resign(&mut step);
        }
        self.take_effects()
    }

    // Loading

    pub(super) fn next_incarnation(&mut self) -> u64 {
        self.incarnations += 1;
        self.incarnations
    }

    /// Takes in a group that was read from the log.
    pub(super) fn adopt(&mut self, mut group: Group, now: Now) {
        let mut step = Step {
            config: &self.config,
            now,
            out: &mut self.out,
        };
        if group.members.len() > self.config.max_size {
            group.prepare_rebalance(
                format!("freshly loaded group is over capacity ({})", self.config.max_size),
                &mut step,
            );
        }
        let member_ids: Vec<_> = group.members.keys().cloned().collect();
        for member_id in member_ids {
            group.expect_heartbeat(&member_id, &mut step);
        }
        for producer_id in group.offsets.transactional_producers().collect::<Vec<_>>() {
            self.note_open(producer_id, &group.id);
        }
        self.groups.insert(group.id.clone(), group);
    }

    // Finding

    fn find(&mut self, group_id: &str, now: Now) -> Option<(&mut Group, Step<'_>)> {
        let group = self.groups.get_mut(group_id)?;
        let step = Step {
            config: &self.config,
            now,
            out: &mut self.out,
        };
        Some((group, step))
    }

    fn obtain(&mut self, group_id: &Arc<str>, now: Now) -> (&mut Group, Step<'_>) {
        let incarnation = self.next_incarnation();
        let group = self
            .groups
            .entry(group_id.clone())
            .or_insert_with(|| Group::new(group_id.clone(), incarnation, now.wall));
        let step = Step {
            config: &self.config,
            now,
            out: &mut self.out,
        };
        (group, step)
    }

    /// Lets every group forget what `removed` takes out of it; groups of which nothing is left go.
    fn clean_up(&mut self, now: Now, mut removed: impl FnMut(&mut Group, &mut Step<'_>) -> Vec<TopicPartition>) {
        let mut step = Step {
            config: &self.config,
            now,
            out: &mut self.out,
        };
        self.groups.retain(|_, group| {
            let removed = removed(group, &mut step);
            !group.write_tombstones(removed, &mut step)
        });
    }

    #[cfg(test)]
    pub(super) fn all(&self) -> impl Iterator<Item = &Group> {
        self.groups.values()
    }
}
