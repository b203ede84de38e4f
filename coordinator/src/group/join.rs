//! JoinGroup, and the rebalance it starts: from the first join to the generation that has all its members.
//!
//! Source: Kafka 3.9 `GroupCoordinator.handleJoinGroup`, `prepareRebalance`, `onCompleteJoin`, `DelayedJoin`, `InitialDelayedJoin`.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use model::{Offset, Sequence, VerificationGuard};

use super::api::{Batch, GroupError, JoinAnswer, JoinRequest, Missed, Note, UNKNOWN_MEMBER_ID};
use super::classic::{Group, InitialDelay, JoinSettings};
use super::member::Member;
use super::outbox::{StaticReplacement, Step, Then};
use super::record::Key;
use super::state::GroupState;
use super::timers::Due;
use crate::hosting::{AppendFailure, Ticket};
use crate::record::{Record, RecordError};

/// How long a new member may wait for its first answer. It cannot heartbeat yet, and a client that has given up and joined
/// again under another id must not fill the group with its dead selves. Source: `GroupCoordinator.NewMemberJoinTimeoutMs`.
const NEW_MEMBER_JOIN_TIMEOUT_MS: i64 = 5 * 60 * 1_000;

impl Group {
    pub(super) fn join(&mut self, ticket: Ticket, request: JoinRequest, step: &mut Step<'_>) {
        if !self.accepts(&request.member_id, step.config.max_size) {
            self.remove(&request.member_id, step);
            step.joined(
                ticket,
                JoinAnswer::refused(UNKNOWN_MEMBER_ID, GroupError::GroupMaxSizeReached),
            );
        } else if !self.supports(&request) {
            step.joined(
                ticket,
                JoinAnswer::refused(request.member_id, GroupError::InconsistentGroupProtocol),
            );
        } else if &*request.member_id == UNKNOWN_MEMBER_ID {
            self.join_as_new_member(ticket, request, step);
        } else {
            self.join_as_current_member(ticket, request, step);
        }
        if self.state == GroupState::PreparingRebalance {
            self.try_complete_join(step);
        }
    }

    /// Whether there is room. While a rebalance gathers members it is those that wait who count: the group may have been larger
    /// than a limit that was lowered since, and whoever joins last must go.
    fn accepts(&self, member_id: &str, max_size: usize) -> bool {
        match self.state {
            GroupState::Empty | GroupState::Dead => true,
            GroupState::PreparingRebalance => {
                self.members
                    .get(member_id)
                    .is_some_and(|member| member.awaiting_join.is_some())
                    || self.awaiting_join < max_size
            }
            GroupState::CompletingRebalance | GroupState::Stable => {
                self.members.contains_key(member_id) || self.members.len() < max_size
            }
        }
    }

    fn join_as_new_member(&mut self, ticket: Ticket, request: JoinRequest, step: &mut Step<'_>) {
        let stem = request.group_instance_id.as_ref().unwrap_or(&request.client_id);
        let member_id: Arc<str> = format!("{stem}-{}", request.new_member_uuid).into();
        let replaced = request
            .group_instance_id
            .as_ref()
            .and_then(|id| self.static_members.get(id).cloned());
        if let Some(old_member_id) = replaced {
            self.replace_static_member(ticket, request, old_member_id, member_id, step);
        } else if request.require_known_member_id {
            // A lost answer leaves only an id behind, no member that the next rebalance would wait for.
            let span = i64::from(request.session_timeout_ms);
            let deadline = self.pending_members.entry(member_id.clone()).or_default();
            step.arm(deadline, span, &self.id, || Due::SecondJoin(member_id.clone()));
            step.joined(ticket, JoinAnswer::refused(member_id, GroupError::MemberIdRequired));
        } else {
            self.add_member(ticket, member_id, request, step);
        }
    }

    fn join_as_current_member(&mut self, ticket: Ticket, request: JoinRequest, step: &mut Step<'_>) {
        let member_id = request.member_id.clone();
        if self.pending_members.contains_key(&member_id) {
            if request.group_instance_id.is_some() {
                // Ids are only given out to dynamic members.
                step.joined(ticket, JoinAnswer::refused(member_id, GroupError::UnknownServerError));
            } else {
                self.add_member(ticket, member_id, request, step);
            }
            return;
        }
        if let Err(error) = self.validate_member(&member_id, request.group_instance_id.as_ref()) {
            step.joined(ticket, JoinAnswer::refused(member_id, error));
            return;
        }
        let is_unchanged = self
            .members
            .get(&member_id)
            .is_some_and(|member| member.protocols == request.protocols);
        let is_leader = self.is_leader(&member_id);
        match self.state {
            // The answer was lost, or a follower joins out of turn: it is told again what it was told.
            GroupState::CompletingRebalance if is_unchanged => {
                let answer = if is_leader {
                    self.current_generation_with_members(&member_id)
                } else {
                    self.current_generation(&member_id)
                };
                step.joined(ticket, answer);
            }
            GroupState::Stable if is_unchanged && !is_leader => {
                step.joined(ticket, self.current_generation(&member_id));
            }
            // A leader that joins a stable group has seen a change that its metadata does not show (new partitions).
            GroupState::PreparingRebalance | GroupState::CompletingRebalance | GroupState::Stable => {
                let reason = format!(
                    "member {member_id} joining in state {}; client reason: {}",
                    self.state,
                    request.reason.as_deref().unwrap_or("not provided")
                );
                self.update(&member_id, JoinSettings::of(request));
                self.await_join(&member_id, ticket, step);
                self.maybe_prepare_rebalance(reason, step);
            }
            GroupState::Empty | GroupState::Dead => {
                step.joined(ticket, JoinAnswer::refused(member_id, GroupError::UnknownMemberId));
            }
        }
    }

    fn add_member(&mut self, ticket: Ticket, member_id: Arc<str>, request: JoinRequest, step: &mut Step<'_>) {
        let protocol_type = request.protocol_type.clone();
        let reason = format!(
            "adding new member {member_id} with group instance id {}; client reason: {}",
            request.group_instance_id.as_deref().unwrap_or("none"),
            request.reason.as_deref().unwrap_or("not provided")
        );
        if self.state == GroupState::PreparingRebalance && self.generation_id == 0 {
            self.new_member_added = true;
        }
        self.insert(member_id.clone(), Member::new(request), &protocol_type);
        self.await_join(&member_id, ticket, step);
        self.expect_sign_of_life(&member_id, NEW_MEMBER_JOIN_TIMEOUT_MS, step);
        self.maybe_prepare_rebalance(reason, step);
    }

    /// A static member has restarted: it takes its old place under a new id, and whoever still uses the old id is fenced.
    fn replace_static_member(
        &mut self,
        ticket: Ticket,
        request: JoinRequest,
        old_member_id: Arc<str>,
        new_member_id: Arc<str>,
        step: &mut Step<'_>,
    ) {
        let (Some(group_instance_id), Some(old_settings)) =
            (request.group_instance_id.clone(), self.settings(&old_member_id))
        else {
            step.joined(
                ticket,
                JoinAnswer::refused(UNKNOWN_MEMBER_ID, GroupError::UnknownServerError),
            );
            return;
        };
        let old_leader_id = self.leader_id.clone().unwrap_or_else(|| "".into());
        let support_skipping_assignment = request.support_skipping_assignment;
        let reason = format!(
            "static member with instance id {group_instance_id} has joined as {new_member_id}; client reason: {}",
            request.reason.as_deref().unwrap_or("not provided")
        );
        self.rename_static_member(&group_instance_id, &old_member_id, &new_member_id, step);
        self.expect_heartbeat(&new_member_id, step);
        self.update(&new_member_id, JoinSettings::of(request));
        self.await_join(&new_member_id, ticket, step);
        match self.state {
            // Nothing changes for the others: only the new id is stored.
            GroupState::Stable if self.select_protocol() == self.protocol_name => {
                let assignments = self
                    .members
                    .iter()
                    .map(|(id, member)| (id.clone(), member.assignment.clone()))
                    .collect();
                let then = Then::ReplaceStatic(StaticReplacement {
                    group_instance_id,
                    old_member_id,
                    new_member_id,
                    old_settings,
                    old_leader_id,
                    support_skipping_assignment,
                });
                self.store(&assignments, then, step);
            }
            GroupState::Stable => self.maybe_prepare_rebalance(reason, step),
            // The leader may be assigning to the old id right now.
            GroupState::CompletingRebalance => self.prepare_rebalance(reason, step),
            GroupState::PreparingRebalance | GroupState::Empty | GroupState::Dead => {}
        }
    }

    fn rename_static_member(
        &mut self,
        group_instance_id: &Arc<str>,
        old_member_id: &Arc<str>,
        new_member_id: &Arc<str>,
        step: &mut Step<'_>,
    ) {
        let fenced = GroupError::FencedInstanceId;
        self.answer_join(old_member_id, JoinAnswer::refused(old_member_id.clone(), fenced), step);
        let Some(mut member) = self.members.remove(old_member_id) else {
            return;
        };
        if let Some(ticket) = member.awaiting_sync.take() {
            step.synced(ticket, Err(fenced));
        }
        // The queue's entry is for the old id and will find nobody.
        member.heartbeat = super::timers::Deadline::default();
        self.members.insert(new_member_id.clone(), member);
        if self.is_leader(old_member_id) {
            self.leader_id = Some(new_member_id.clone());
        }
        if self.pending_sync.remove(old_member_id) {
            self.pending_sync.insert(new_member_id.clone());
        }
        self.static_members
            .insert(group_instance_id.clone(), new_member_id.clone());
    }

    /// The record of a replaced static member is stored, or not.
    pub(super) fn static_replacement_stored(
        &mut self,
        replacement: StaticReplacement,
        outcome: Result<Offset, AppendFailure>,
        step: &mut Step<'_>,
    ) {
        let new_id = &replacement.new_member_id;
        // Replaced or gone since, or in a rebalance, which will answer the join.
        let is_current = self.static_members.get(&replacement.group_instance_id) == Some(new_id);
        if self.state != GroupState::Stable || !is_current {
            return;
        }
        match outcome {
            Err(failure) => {
                let refused = JoinAnswer {
                    error: Some(failure.for_group()),
                    leader_id: replacement.old_leader_id,
                    ..self.current_generation(UNKNOWN_MEMBER_ID)
                };
                self.answer_join(new_id, refused, step);
                self.update(new_id, replacement.old_settings);
                self.rename_static_member(&replacement.group_instance_id, new_id, &replacement.old_member_id, step);
                self.expect_heartbeat(&replacement.old_member_id, step);
            }
            // The leader of a stable group must not assign again, for nobody would hear of it. Those that know
            // `skip_assignment` are told so; others are told the old leader's id, and do not take themselves for it.
            Ok(_) if replacement.support_skipping_assignment => {
                let answer = if self.is_leader(new_id) {
                    JoinAnswer {
                        skip_assignment: true,
                        ..self.current_generation_with_members(new_id)
                    }
                } else {
                    self.current_generation(new_id)
                };
                self.answer_join(new_id, answer, step);
            }
            Ok(_) => {
                let answer = JoinAnswer {
                    leader_id: replacement.old_leader_id,
                    ..self.current_generation(new_id)
                };
                self.answer_join(new_id, answer, step);
            }
        }
    }

    // The rebalance

    pub(super) fn maybe_prepare_rebalance(&mut self, reason: String, step: &mut Step<'_>) {
        if self.can_rebalance() {
            self.prepare_rebalance(reason, step);
        }
    }

    pub(super) fn prepare_rebalance(&mut self, reason: String, step: &mut Step<'_>) {
        if self.state == GroupState::CompletingRebalance {
            self.refuse_assignments(GroupError::RebalanceInProgress, step);
        }
        self.pending_sync.clear();
        self.sync_deadline.clear();
        let timeout = self.rebalance_timeout_ms();
        let span = if self.state == GroupState::Empty {
            let delay_ms = step.config.initial_rebalance_delay.0;
            self.initial_delay = Some(InitialDelay {
                delay_ms,
                remaining_ms: (timeout - delay_ms).max(0),
            });
            delay_ms
        } else {
            self.initial_delay = None;
            timeout
        };
        self.move_to(GroupState::PreparingRebalance, step.now.wall);
        step.note(Note::Rebalancing {
            group_id: self.id.clone(),
            generation_id: self.generation_id,
            reason,
        });
        step.arm(&mut self.join_deadline, span, &self.id, || Due::Join);
        self.try_complete_join(step);
    }

    /// Ends the wait once everybody is there; the initial delay is sat out in any case.
    pub(super) fn try_complete_join(&mut self, step: &mut Step<'_>) {
        if self.initial_delay.is_none() && self.has_all_members_joined() {
            self.complete_join(step);
        }
    }

    /// The wait for members is over.
    pub(super) fn join_expired(&mut self, step: &mut Step<'_>) {
        if self.state != GroupState::PreparingRebalance {
            return;
        }
        if let Some(initial) = self.initial_delay.take()
            && self.new_member_added
            && initial.remaining_ms != 0
        {
            self.new_member_added = false;
            let delay_ms = step.config.initial_rebalance_delay.0.min(initial.remaining_ms);
            self.initial_delay = Some(InitialDelay {
                delay_ms,
                remaining_ms: (initial.remaining_ms - initial.delay_ms).max(0),
            });
            step.arm(&mut self.join_deadline, delay_ms, &self.id, || Due::Join);
            return;
        }
        self.complete_join(step);
    }

    fn complete_join(&mut self, step: &mut Step<'_>) {
        self.join_deadline.clear();
        self.new_member_added = false;
        let is_missing = |member: &Member| member.awaiting_join.is_none() && !member.is_static();
        let missing: Vec<_> = self
            .members
            .iter()
            .filter(|(_, member)| is_missing(member))
            .map(|(id, _)| id.clone())
            .collect();
        for member_id in missing {
            self.remove(&member_id, step);
            step.note(Note::MemberFailed {
                group_id: self.id.clone(),
                member_id,
                missed: Missed::Join,
            });
        }
        if !self.members.is_empty() && !self.elect_joined_leader() {
            // Only static members are left and none has come: their sessions will end one by one, or they come.
            let span = self.rebalance_timeout_ms();
            step.arm(&mut self.join_deadline, span, &self.id, || Due::Join);
            return;
        }
        self.begin_next_generation(step.now.wall);
        if self.members.is_empty() {
            step.note(Note::Emptied {
                group_id: self.id.clone(),
                generation_id: self.generation_id,
            });
            let generation_id = self.generation_id;
            self.store(&BTreeMap::new(), Then::Emptied { generation_id }, step);
            return;
        }
        step.note(Note::Stabilized {
            group_id: self.id.clone(),
            generation_id: self.generation_id,
            members: self.members.len(),
        });
        let member_ids: Vec<_> = self.members.keys().cloned().collect();
        for member_id in &member_ids {
            let answer = if self.is_leader(member_id) {
                self.current_generation_with_members(member_id)
            } else {
                self.current_generation(member_id)
            };
            self.answer_join(member_id, answer, step);
            self.expect_heartbeat(member_id, step);
            if let Some(member) = self.members.get_mut(member_id) {
                member.is_new = false;
            }
        }
        self.pending_sync.extend(member_ids);
        let span = self.rebalance_timeout_ms();
        step.arm(&mut self.sync_deadline, span, &self.id, || Due::Sync);
    }

    /// The leader stays if it has joined; else the first member that has. `false` if none has.
    fn elect_joined_leader(&mut self) -> bool {
        let has_joined = |member: &Member| member.awaiting_join.is_some();
        if self
            .leader_id
            .as_ref()
            .and_then(|leader| self.members.get(leader))
            .is_some_and(has_joined)
        {
            return true;
        }
        match self.members.iter().find(|(_, member)| has_joined(member)) {
            Some((joined, _)) => {
                self.leader_id = Some(joined.clone());
                true
            }
            None => false,
        }
    }

    /// Appends the group with these assignments.
    pub(super) fn store(&mut self, assignments: &BTreeMap<Arc<str>, Bytes>, then: Then, step: &mut Step<'_>) {
        let record = || -> Result<Option<Record>, RecordError> {
            let key = Key::Group {
                group_id: self.id.clone(),
            }
            .encode()?;
            let value = Some(self.stored(assignments).encode()?);
            Ok(key.map(|key| Record { key, value }))
        };
        match record() {
            Ok(Some(record)) => {
                let batch = Batch {
                    records: vec![record],
                    timestamp: step.now.wall,
                    producer: None,
                    verification: VerificationGuard::NONE,
                    base_sequence: Sequence::NONE,
                };
                step.append(batch, self.pending_write(then));
            }
            // Text too long to be stored; the same answer as when the log finds the batch too large.
            Ok(None) | Err(_) => self.written(then, Err(AppendFailure::TooLarge), step),
        }
    }
}

impl JoinSettings {
    fn of(request: JoinRequest) -> Self {
        Self {
            protocols: request.protocols,
            rebalance_timeout_ms: request.rebalance_timeout_ms,
            session_timeout_ms: request.session_timeout_ms,
        }
    }
}
