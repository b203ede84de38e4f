//! SyncGroup: the leader hands in the assignment, it is stored, and every member gets its part.
//!
//! Source: Kafka 3.9 `GroupCoordinator.handleSyncGroup`, `setAndPropagateAssignment`, `onExpirePendingSync`.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;

use super::api::{GroupError, Missed, Note, SyncAnswer, SyncRequest};
use super::classic::Group;
use super::outbox::{Step, Then};
use super::state::GroupState;
use crate::hosting::{AppendFailure, Ticket};

impl Group {
    pub(super) fn sync(&mut self, ticket: Ticket, request: SyncRequest, step: &mut Step<'_>) {
        if let Err(error) = self.validate_sync(&request) {
            step.synced(ticket, Err(error));
            return;
        }
        match self.state {
            GroupState::Empty | GroupState::Dead => step.synced(ticket, Err(GroupError::UnknownMemberId)),
            GroupState::PreparingRebalance => step.synced(ticket, Err(GroupError::RebalanceInProgress)),
            GroupState::CompletingRebalance => {
                self.await_sync(&request.member_id, ticket, step);
                self.sync_received(&request.member_id);
                if self.is_leader(&request.member_id) {
                    // Members that the leader has left out get nothing; ids it has made up are dropped.
                    let handed_in: BTreeMap<Arc<str>, Bytes> = request.assignments.into_iter().collect();
                    let assignments = self
                        .members
                        .keys()
                        .map(|id| (id.clone(), handed_in.get(id).cloned().unwrap_or_default()))
                        .collect();
                    let generation_id = self.generation_id;
                    let then = Then::Assign {
                        generation_id,
                        assignments: BTreeMap::clone(&assignments),
                    };
                    self.store(&assignments, then, step);
                }
            }
            GroupState::Stable => {
                self.sync_received(&request.member_id);
                if let Some(member) = self.members.get(&request.member_id) {
                    step.synced(ticket, Ok(self.sync_answer(&member.assignment)));
                }
                self.expect_heartbeat(&request.member_id, step);
            }
        }
    }

    fn validate_sync(&self, request: &SyncRequest) -> Result<(), GroupError> {
        self.validate_member(&request.member_id, request.group_instance_id.as_ref())?;
        if request.generation_id != self.generation_id {
            return Err(GroupError::IllegalGeneration);
        }
        let differs = |asked: &Option<Arc<str>>, ours: &Option<Arc<str>>| asked.is_some() && asked != ours;
        if differs(&request.protocol_type, &self.protocol_type) || differs(&request.protocol_name, &self.protocol_name)
        {
            return Err(GroupError::InconsistentGroupProtocol);
        }
        Ok(())
    }

    /// The member's SyncGroup waits from now on. An earlier one of the same member is answered; its client has given it up.
    fn await_sync(&mut self, member_id: &str, ticket: Ticket, step: &mut Step<'_>) {
        let Some(member) = self.members.get_mut(member_id) else {
            return;
        };
        if let Some(given_up) = member.awaiting_sync.replace(ticket) {
            step.synced(given_up, Err(GroupError::RebalanceInProgress));
        }
    }

    fn sync_received(&mut self, member_id: &str) {
        self.pending_sync.remove(member_id);
        if self.pending_sync.is_empty() {
            self.sync_deadline.clear();
        }
    }

    fn sync_answer(&self, assignment: &Bytes) -> SyncAnswer {
        SyncAnswer {
            protocol_type: self.protocol_type.clone(),
            protocol_name: self.protocol_name.clone(),
            assignment: assignment.clone(),
        }
    }

    /// The assignment is stored, or not. If the group has moved on meanwhile there is nothing to hand out.
    pub(super) fn assignment_stored(
        &mut self,
        generation_id: i32,
        assignments: &BTreeMap<Arc<str>, Bytes>,
        outcome: Result<(), AppendFailure>,
        step: &mut Step<'_>,
    ) {
        if self.state != GroupState::CompletingRebalance || generation_id != self.generation_id {
            return;
        }
        match outcome {
            Ok(()) => {
                self.hand_out(assignments, step);
                self.move_to(GroupState::Stable, step.now.wall);
                step.note(Note::RebalanceCompleted {
                    group_id: self.id.clone(),
                    generation_id,
                });
            }
            Err(failure) => {
                let error = failure.for_group();
                self.refuse_assignments(error, step);
                self.maybe_prepare_rebalance(format!("error '{error}' when storing the assignment"), step);
            }
        }
    }

    fn hand_out(&mut self, assignments: &BTreeMap<Arc<str>, Bytes>, step: &mut Step<'_>) {
        let member_ids: Vec<_> = self.members.keys().cloned().collect();
        for member_id in member_ids {
            let assignment = assignments.get(&member_id).cloned().unwrap_or_default();
            let answer = self.sync_answer(&assignment);
            let Some(member) = self.members.get_mut(&member_id) else {
                continue;
            };
            member.assignment = assignment;
            if let Some(ticket) = member.awaiting_sync.take() {
                step.synced(ticket, Ok(answer));
                // Its session may have run out while it waited for the leader or the log, and nobody was looking.
                self.expect_heartbeat(&member_id, step);
            }
        }
    }

    /// Every member that waits for its assignment is told `error`; none keeps an assignment.
    pub(super) fn refuse_assignments(&mut self, error: GroupError, step: &mut Step<'_>) {
        let member_ids: Vec<_> = self.members.keys().cloned().collect();
        for member_id in member_ids {
            let Some(member) = self.members.get_mut(&member_id) else {
                continue;
            };
            member.assignment = Bytes::new();
            if let Some(ticket) = member.awaiting_sync.take() {
                step.synced(ticket, Err(error));
                self.expect_heartbeat(&member_id, step);
            }
        }
    }

    /// Members that have joined and never asked for their assignment are removed, and the others rebalance.
    pub(super) fn sync_expired(&mut self, step: &mut Step<'_>) {
        let is_waiting = matches!(self.state, GroupState::CompletingRebalance | GroupState::Stable);
        if !is_waiting || self.pending_sync.is_empty() {
            return;
        }
        let failed = std::mem::take(&mut self.pending_sync);
        for member_id in &failed {
            self.remove(member_id, step);
            step.note(Note::MemberFailed {
                group_id: self.id.clone(),
                member_id: member_id.clone(),
                missed: Missed::Sync,
            });
        }
        let reason = format!("removing {} members on pending sync request expiration", failed.len());
        self.prepare_rebalance(reason, step);
    }
}
