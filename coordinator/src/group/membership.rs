//! Staying in a group and leaving it: heartbeats, LeaveGroup, sessions that end.
//!
//! Source: Kafka 3.9 `GroupCoordinator.handleHeartbeat`, `handleLeaveGroup`, `onExpireHeartbeat`, `onGroupUnloaded`.

use std::sync::Arc;

use super::api::{GroupError, HeartbeatRequest, JoinAnswer, LeavingMember, Missed, Note, UNKNOWN_MEMBER_ID};
use super::classic::Group;
use super::outbox::Step;
use super::state::GroupState;

impl Group {
    pub(super) fn heartbeat(&mut self, request: &HeartbeatRequest, step: &mut Step<'_>) -> Result<(), GroupError> {
        self.validate_member(&request.member_id, request.group_instance_id.as_ref())?;
        if request.generation_id != self.generation_id {
            return Err(GroupError::IllegalGeneration);
        }
        match self.state {
            GroupState::Empty | GroupState::Dead => Err(GroupError::UnknownMemberId),
            GroupState::PreparingRebalance => {
                self.expect_heartbeat(&request.member_id, step);
                Err(GroupError::RebalanceInProgress)
            }
            GroupState::CompletingRebalance | GroupState::Stable => {
                self.expect_heartbeat(&request.member_id, step);
                Ok(())
            }
        }
    }

    pub(super) fn leave(&mut self, leaving: &LeavingMember, step: &mut Step<'_>) -> Result<(), GroupError> {
        let instance_id = leaving.group_instance_id.as_ref();
        let member_id = if &*leaving.member_id == UNKNOWN_MEMBER_ID {
            // An administrator removes a static member.
            let current = instance_id.and_then(|id| self.static_members.get(id));
            current.cloned().ok_or(GroupError::UnknownMemberId)?
        } else if self.pending_members.contains_key(&leaving.member_id) {
            self.remove_pending(&leaving.member_id, step);
            return Ok(());
        } else {
            self.validate_member(&leaving.member_id, instance_id)?;
            leaving.member_id.clone()
        };
        let reason = leaving.reason.as_deref().unwrap_or("not provided");
        self.remove_and_rebalance(
            &member_id,
            format!("removing member {member_id} on LeaveGroup; client reason: {reason}"),
            step,
        );
        Ok(())
    }

    fn remove_and_rebalance(&mut self, member_id: &str, reason: String, step: &mut Step<'_>) {
        self.remove(member_id, step);
        match self.state {
            GroupState::Stable | GroupState::CompletingRebalance => self.maybe_prepare_rebalance(reason, step),
            GroupState::PreparingRebalance => self.try_complete_join(step),
            GroupState::Empty | GroupState::Dead => {}
        }
    }

    fn remove_pending(&mut self, member_id: &str, step: &mut Step<'_>) {
        self.pending_members.remove(member_id);
        if self.state == GroupState::PreparingRebalance {
            self.try_complete_join(step);
        }
    }

    /// The member has been silent too long, unless it is we who let it wait.
    pub(super) fn heartbeat_expired(&mut self, member_id: &Arc<str>, step: &mut Step<'_>) {
        if self.members.get(member_id).is_none_or(|member| member.is_excused()) {
            return;
        }
        step.note(Note::MemberFailed {
            group_id: self.id.clone(),
            member_id: member_id.clone(),
            missed: Missed::Heartbeat,
        });
        self.remove_and_rebalance(
            member_id,
            format!("removing member {member_id} on heartbeat expiration"),
            step,
        );
    }

    /// The id that was given out has not come back.
    pub(super) fn second_join_expired(&mut self, member_id: &Arc<str>, step: &mut Step<'_>) {
        step.note(Note::MemberFailed {
            group_id: self.id.clone(),
            member_id: member_id.clone(),
            missed: Missed::SecondJoin,
        });
        self.remove_pending(member_id, step);
    }

    /// Another broker coordinates the group from now on: whoever waits here is sent there.
    pub(super) fn resign(&mut self, step: &mut Step<'_>) {
        for (member_id, member) in &mut self.members {
            if let Some(ticket) = member.awaiting_join.take() {
                step.joined(
                    ticket,
                    JoinAnswer::refused(member_id.clone(), GroupError::NotCoordinator),
                );
            }
            if let Some(ticket) = member.awaiting_sync.take() {
                step.synced(ticket, Err(GroupError::NotCoordinator));
            }
        }
        self.awaiting_join = 0;
        self.move_to(GroupState::Dead, step.now.wall);
    }
}
