//! One group: its members, generation, leader and protocol, and the moves between its states.
//!
//! What requests do to it is in `join.rs`, `sync.rs`, `membership.rs` (heartbeat, leave, failures), `commit.rs` and `removal.rs`.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use model::Millis;

use super::api::{GroupDescription, GroupError, GroupOverview, JoinAnswer, JoinRequest, JoinedMember, Protocol};
use super::member::Member;
use super::offsets::Offsets;
use super::outbox::{PendingWrite, Step, Then};
use super::record::{StoredGroup, StoredMember};
use super::state::GroupState;
use super::subscription::{CONSUMER_PROTOCOL_TYPE, collect_topics};
use super::timers::{Deadline, Due};
use crate::hosting::Ticket;

#[derive(Debug)]
pub(super) struct Group {
    pub(super) id: Arc<str>,
    /// Tells this group from an earlier or later one of the same id.
    pub(super) incarnation: u64,
    pub(super) state: GroupState,
    /// Wall clock; `None` if a broker before 2.1 wrote the group, whose offsets then expire by their own age.
    pub(super) state_since: Option<Millis>,
    /// `None` if there never was a member: offsets only.
    pub(super) protocol_type: Option<Arc<str>>,
    pub(super) protocol_name: Option<Arc<str>>,
    pub(super) generation_id: i32,
    pub(super) leader_id: Option<Arc<str>>,
    pub(super) members: BTreeMap<Arc<str>, Member>,
    /// Instance id → member id.
    pub(super) static_members: BTreeMap<Arc<str>, Arc<str>>,
    /// Ids that were given out with MEMBER_ID_REQUIRED and have not come back yet.
    pub(super) pending_members: BTreeMap<Arc<str>, Deadline>,
    /// Joined this generation, but has not asked for its assignment yet.
    pub(super) pending_sync: BTreeSet<Arc<str>>,
    /// How many members wait for the answer to their JoinGroup.
    pub(super) awaiting_join: usize,
    /// How many members support a protocol.
    supporters: BTreeMap<Arc<str>, usize>,
    /// Of a consumer group whose members' metadata could be read.
    subscribed_topics: Option<BTreeSet<Arc<str>>>,
    /// The first rebalance of an empty group waits a little for more members.
    pub(super) initial_delay: Option<InitialDelay>,
    pub(super) new_member_added: bool,
    pub(super) join_deadline: Deadline,
    pub(super) sync_deadline: Deadline,
    pub(super) offsets: Offsets,
}

/// `group.initial.rebalance.delay.ms`, prolonged by each newcomer up to the rebalance timeout. Source: `InitialDelayedJoin`.
#[derive(Clone, Copy, Debug)]
pub(super) struct InitialDelay {
    pub(super) delay_ms: i64,
    pub(super) remaining_ms: i64,
}

/// What a JoinGroup sets on a member that exists.
#[derive(Clone, Debug)]
pub(super) struct JoinSettings {
    pub(super) protocols: Vec<Protocol>,
    pub(super) rebalance_timeout_ms: i32,
    pub(super) session_timeout_ms: i32,
}

impl Group {
    pub(super) fn new(id: Arc<str>, incarnation: u64, wall: Millis) -> Self {
        Self {
            id,
            incarnation,
            state: GroupState::Empty,
            state_since: Some(wall),
            protocol_type: None,
            protocol_name: None,
            generation_id: 0,
            leader_id: None,
            members: BTreeMap::new(),
            static_members: BTreeMap::new(),
            pending_members: BTreeMap::new(),
            pending_sync: BTreeSet::new(),
            awaiting_join: 0,
            supporters: BTreeMap::new(),
            subscribed_topics: None,
            initial_delay: None,
            new_member_added: false,
            join_deadline: Deadline::default(),
            sync_deadline: Deadline::default(),
            offsets: Offsets::default(),
        }
    }

    /// A group as the log has it: stable, or empty.
    pub(super) fn loaded(id: Arc<str>, incarnation: u64, stored: StoredGroup) -> Self {
        let mut group = Self::new(id, incarnation, stored.current_state_timestamp);
        group.state_since = Some(stored.current_state_timestamp).filter(|at| *at != Millis::NONE);
        group.state = if stored.members.is_empty() {
            GroupState::Empty
        } else {
            GroupState::Stable
        };
        group.generation_id = stored.generation_id;
        for member in stored.members {
            let member_id = member.member_id.clone();
            if group.members.contains_key(&member_id) {
                continue;
            }
            let member = Member::loaded(member, stored.protocol_name.as_ref());
            group.insert(member_id, member, &stored.protocol_type);
        }
        group.protocol_type = Some(stored.protocol_type).filter(|name| !name.is_empty());
        group.protocol_name = stored.protocol_name;
        if stored
            .leader_id
            .as_ref()
            .is_some_and(|leader| group.members.contains_key(leader))
        {
            group.leader_id = stored.leader_id;
        }
        group.subscribed_topics = group.compute_subscribed_topics();
        group
    }

    pub(super) fn move_to(&mut self, state: GroupState, wall: Millis) {
        assert!(
            state.valid_previous().contains(&self.state),
            "a group does not go from {} to {state}",
            self.state
        );
        self.state = state;
        self.state_since = Some(wall);
    }

    pub(super) fn can_rebalance(&self) -> bool {
        GroupState::PreparingRebalance.valid_previous().contains(&self.state)
    }

    pub(super) fn is_leader(&self, member_id: &str) -> bool {
        self.leader_id.as_deref() == Some(member_id)
    }

    pub(super) fn is_consumer_group(&self) -> bool {
        self.protocol_type.as_deref() == Some(CONSUMER_PROTOCOL_TYPE)
    }

    /// The longest of the members' rebalance timeouts.
    pub(super) fn rebalance_timeout_ms(&self) -> i64 {
        self.members
            .values()
            .map(|member| i64::from(member.rebalance_timeout_ms))
            .max()
            .unwrap_or(0)
            .max(0)
    }

    // Members

    /// Adds a member; the first one makes the group's protocol type and leads.
    pub(super) fn insert(&mut self, member_id: Arc<str>, member: Member, protocol_type: &Arc<str>) {
        if self.members.is_empty() {
            self.protocol_type = Some(protocol_type.clone());
        }
        if let Some(instance_id) = &member.group_instance_id {
            self.static_members.insert(instance_id.clone(), member_id.clone());
        }
        if self.leader_id.is_none() {
            self.leader_id = Some(member_id.clone());
        }
        self.count_protocols(&member, true);
        self.pending_members.remove(&member_id);
        self.members.insert(member_id, member);
    }

    /// Takes a member, or an id that was given out, out of the group. Whatever it waits for is answered UNKNOWN_MEMBER_ID,
    /// so that a client that is still there joins anew.
    pub(super) fn remove(&mut self, member_id: &str, step: &mut Step<'_>) {
        if let Some(mut member) = self.members.remove(member_id) {
            self.count_protocols(&member, false);
            if let Some(instance_id) = &member.group_instance_id {
                self.static_members.remove(instance_id);
            }
            if let Some(ticket) = member.awaiting_join.take() {
                self.awaiting_join -= 1;
                step.joined(ticket, JoinAnswer::refused("", GroupError::UnknownMemberId));
            }
            if let Some(ticket) = member.awaiting_sync.take() {
                step.synced(ticket, Err(GroupError::UnknownMemberId));
            }
        }
        if self.is_leader(member_id) {
            self.leader_id = self.members.keys().next().cloned();
        }
        self.pending_members.remove(member_id);
        self.pending_sync.remove(member_id);
    }

    pub(super) fn settings(&self, member_id: &str) -> Option<JoinSettings> {
        self.members.get(member_id).map(|member| JoinSettings {
            protocols: member.protocols.clone(),
            rebalance_timeout_ms: member.rebalance_timeout_ms,
            session_timeout_ms: member.session_timeout_ms,
        })
    }

    pub(super) fn update(&mut self, member_id: &str, settings: JoinSettings) {
        let Some(mut member) = self.members.remove(member_id) else {
            return;
        };
        self.count_protocols(&member, false);
        member.protocols = settings.protocols;
        member.rebalance_timeout_ms = settings.rebalance_timeout_ms;
        member.session_timeout_ms = settings.session_timeout_ms;
        self.count_protocols(&member, true);
        self.members.insert(member_id.into(), member);
    }

    /// The member's JoinGroup waits from now on. An earlier one of the same member is answered; its client has given it up.
    pub(super) fn await_join(&mut self, member_id: &str, ticket: Ticket, step: &mut Step<'_>) {
        let Some(member) = self.members.get_mut(member_id) else {
            return;
        };
        match member.awaiting_join.replace(ticket) {
            None => self.awaiting_join += 1,
            Some(given_up) => step.joined(
                given_up,
                JoinAnswer::refused(member_id, GroupError::RebalanceInProgress),
            ),
        }
    }

    /// Answers the member's JoinGroup, if it waits for one.
    pub(super) fn answer_join(&mut self, member_id: &str, answer: JoinAnswer, step: &mut Step<'_>) {
        let Some(member) = self.members.get_mut(member_id) else {
            return;
        };
        if let Some(ticket) = member.awaiting_join.take() {
            self.awaiting_join -= 1;
            step.joined(ticket, answer);
        }
    }

    /// Whether a request by this member may be looked at: a static member must not have been replaced, and it must be one.
    pub(super) fn validate_member(
        &self,
        member_id: &str,
        group_instance_id: Option<&Arc<str>>,
    ) -> Result<(), GroupError> {
        if let Some(instance_id) = group_instance_id {
            match self.static_members.get(instance_id) {
                Some(current) if &**current != member_id => return Err(GroupError::FencedInstanceId),
                Some(_) => {}
                None => return Err(GroupError::UnknownMemberId),
            }
        }
        if self.members.contains_key(member_id) {
            Ok(())
        } else {
            Err(GroupError::UnknownMemberId)
        }
    }

    pub(super) fn has_all_members_joined(&self) -> bool {
        self.members.len() == self.awaiting_join && self.pending_members.is_empty()
    }

    /// The session timer of a member starts anew. A member that waits for us needs none until it is answered.
    pub(super) fn expect_heartbeat(&mut self, member_id: &str, step: &mut Step<'_>) {
        let Some(member) = self.members.get(member_id) else {
            return;
        };
        let span = i64::from(member.session_timeout_ms);
        self.expect_sign_of_life(member_id, span, step);
    }

    pub(super) fn expect_sign_of_life(&mut self, member_id: &str, span_ms: i64, step: &mut Step<'_>) {
        let Some((id, _)) = self.members.get_key_value(member_id) else {
            return;
        };
        let id = id.clone();
        let Some(member) = self.members.get_mut(member_id) else {
            return;
        };
        if member.is_excused() {
            member.heartbeat.clear();
        } else {
            step.arm(&mut member.heartbeat, span_ms, &self.id, || Due::Heartbeat(id));
        }
    }

    // Protocols

    fn count_protocols(&mut self, member: &Member, arrives: bool) {
        for name in member.protocol_names() {
            let count = self.supporters.entry(name.clone()).or_default();
            if arrives {
                *count += 1;
            } else {
                *count -= 1;
                if *count == 0 {
                    self.supporters.remove(name);
                }
            }
        }
    }

    /// Whether a member with these protocols fits in.
    pub(super) fn supports(&self, request: &JoinRequest) -> bool {
        if self.state == GroupState::Empty {
            return !request.protocol_type.is_empty() && !request.protocols.is_empty();
        }
        self.protocol_type.as_ref() == Some(&request.protocol_type)
            && request
                .protocols
                .iter()
                .any(|protocol| self.supporters.get(&protocol.name).copied().unwrap_or(0) == self.members.len())
    }

    /// The protocol with the most votes among those that all members support; a tie goes to the first in the order of names.
    pub(super) fn select_protocol(&self) -> Option<Arc<str>> {
        let all = self.members.len();
        let candidates: BTreeSet<&Arc<str>> = self
            .supporters
            .iter()
            .filter(|(_, count)| **count == all)
            .map(|(name, _)| name)
            .collect();
        let mut votes = BTreeMap::<&Arc<str>, usize>::new();
        for member in self.members.values() {
            *votes.entry(member.vote(&candidates)?).or_default() += 1;
        }
        let most = votes.values().copied().max()?;
        votes
            .into_iter()
            .find(|(_, count)| *count == most)
            .map(|(name, _)| name.clone())
    }

    /// Whether the group consumes `topic`; `true` also if that cannot be known.
    pub(super) fn is_subscribed_to(&self, topic: &str) -> bool {
        self.subscribed_topics
            .as_ref()
            .is_none_or(|topics| topics.contains(topic))
    }

    pub(super) fn knows_subscriptions(&self) -> bool {
        self.subscribed_topics.is_some()
    }

    fn compute_subscribed_topics(&self) -> Option<BTreeSet<Arc<str>>> {
        if !self.is_consumer_group() {
            return None;
        }
        let mut topics = BTreeSet::new();
        for member in self.members.values() {
            let metadata = member.metadata(self.protocol_name.as_deref()?)?;
            collect_topics(metadata, &mut topics).ok()?;
        }
        Some(topics)
    }

    // Generations

    pub(super) fn begin_next_generation(&mut self, wall: Millis) {
        self.generation_id += 1;
        self.pending_sync.clear();
        self.protocol_name = self.select_protocol();
        self.subscribed_topics = self.compute_subscribed_topics();
        let state = if self.members.is_empty() {
            GroupState::Empty
        } else {
            GroupState::CompletingRebalance
        };
        self.move_to(state, wall);
    }

    /// What a member is told of the current generation.
    pub(super) fn current_generation(&self, member_id: &str) -> JoinAnswer {
        JoinAnswer {
            error: None,
            member_id: member_id.into(),
            generation_id: self.generation_id,
            protocol_type: self.protocol_type.clone(),
            protocol_name: self.protocol_name.clone(),
            leader_id: self.leader_id.clone().unwrap_or_else(|| "".into()),
            skip_assignment: false,
            members: Vec::new(),
        }
    }

    /// The same, for the leader, who must know all members.
    pub(super) fn current_generation_with_members(&self, member_id: &str) -> JoinAnswer {
        let protocol = self.protocol_name.as_deref().unwrap_or_default();
        let members = self.members.iter().map(|(id, member)| JoinedMember {
            member_id: id.clone(),
            group_instance_id: member.group_instance_id.clone(),
            metadata: member.metadata(protocol).cloned().unwrap_or_default(),
        });
        JoinAnswer {
            members: members.collect(),
            ..self.current_generation(member_id)
        }
    }

    /// The group as it is stored, with these assignments; members without one have an empty one.
    pub(super) fn stored(&self, assignments: &BTreeMap<Arc<str>, Bytes>) -> StoredGroup {
        let protocol = self.protocol_name.as_deref().unwrap_or_default();
        let members = self.members.iter().map(|(id, member)| StoredMember {
            member_id: id.clone(),
            group_instance_id: member.group_instance_id.clone(),
            client_id: member.client_id.clone(),
            client_host: member.client_host.clone(),
            rebalance_timeout_ms: member.rebalance_timeout_ms,
            session_timeout_ms: member.session_timeout_ms,
            subscription: member.metadata(protocol).cloned().unwrap_or_default(),
            assignment: assignments.get(id).cloned().unwrap_or_default(),
        });
        StoredGroup {
            protocol_type: self.protocol_type.clone().unwrap_or_else(|| "".into()),
            generation_id: self.generation_id,
            protocol_name: self.protocol_name.clone(),
            leader_id: self.leader_id.clone(),
            current_state_timestamp: self.state_since.unwrap_or(Millis::NONE),
            members: members.collect(),
        }
    }

    pub(super) fn pending_write(&self, then: Then) -> PendingWrite {
        PendingWrite {
            group_id: self.id.clone(),
            incarnation: self.incarnation,
            then,
        }
    }

    // Looking

    pub(super) fn overview(&self) -> GroupOverview {
        GroupOverview {
            group_id: self.id.clone(),
            protocol_type: self.protocol_type.clone().unwrap_or_else(|| "".into()),
            state: self.state,
        }
    }

    pub(super) fn describe(&self) -> GroupDescription {
        let protocol = self
            .protocol_name
            .as_deref()
            .filter(|_| self.state == GroupState::Stable);
        GroupDescription {
            state: self.state,
            protocol_type: self.protocol_type.clone().unwrap_or_else(|| "".into()),
            protocol: protocol.unwrap_or_default().into(),
            members: self
                .members
                .iter()
                .map(|(id, member)| member.describe(id, protocol))
                .collect(),
        }
    }
}
