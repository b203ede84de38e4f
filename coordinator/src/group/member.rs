//! One member of a group.

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;

use super::api::{JoinRequest, MemberDescription, Protocol};
use super::record::StoredMember;
use super::timers::Deadline;
use crate::hosting::Ticket;

#[derive(Debug)]
pub(super) struct Member {
    pub(super) group_instance_id: Option<Arc<str>>,
    pub(super) client_id: Arc<str>,
    pub(super) client_host: Arc<str>,
    pub(super) rebalance_timeout_ms: i32,
    pub(super) session_timeout_ms: i32,
    pub(super) protocols: Vec<Protocol>,
    pub(super) assignment: Bytes,
    pub(super) awaiting_join: Option<Ticket>,
    pub(super) awaiting_sync: Option<Ticket>,
    /// Has never been answered, so it cannot heartbeat, and must not wait for ever either.
    pub(super) is_new: bool,
    pub(super) heartbeat: Deadline,
}

impl Member {
    pub(super) fn new(request: JoinRequest) -> Self {
        Self {
            group_instance_id: request.group_instance_id,
            client_id: request.client_id,
            client_host: request.client_host,
            rebalance_timeout_ms: request.rebalance_timeout_ms,
            session_timeout_ms: request.session_timeout_ms,
            protocols: request.protocols,
            assignment: Bytes::new(),
            awaiting_join: None,
            awaiting_sync: None,
            is_new: true,
            heartbeat: Deadline::default(),
        }
    }

    /// A member as the log has it: it supports the group's protocol, others are not stored.
    pub(super) fn loaded(stored: StoredMember, protocol_name: Option<&Arc<str>>) -> Self {
        Self {
            group_instance_id: stored.group_instance_id,
            client_id: stored.client_id,
            client_host: stored.client_host,
            rebalance_timeout_ms: stored.rebalance_timeout_ms,
            session_timeout_ms: stored.session_timeout_ms,
            protocols: vec![Protocol {
                name: protocol_name.cloned().unwrap_or_else(|| "".into()),
                metadata: stored.subscription,
            }],
            assignment: stored.assignment,
            awaiting_join: None,
            awaiting_sync: None,
            is_new: false,
            heartbeat: Deadline::default(),
        }
    }

    pub(super) fn is_static(&self) -> bool {
        self.group_instance_id.is_some()
    }

    /// Waiting for an answer is a sign of life, except of a member that has never had one.
    pub(super) fn is_excused(&self) -> bool {
        !self.is_new && (self.awaiting_join.is_some() || self.awaiting_sync.is_some())
    }

    /// The member's metadata for `protocol`.
    pub(super) fn metadata(&self, protocol: &str) -> Option<&Bytes> {
        self.protocols
            .iter()
            .find(|supported| &*supported.name == protocol)
            .map(|supported| &supported.metadata)
    }

    /// The first of the member's protocols that is among `candidates`.
    pub(super) fn vote(&self, candidates: &BTreeSet<&Arc<str>>) -> Option<&Arc<str>> {
        self.protocols
            .iter()
            .map(|protocol| &protocol.name)
            .find(|name| candidates.contains(name))
    }

    /// Each supported protocol once, though a client may have named it twice.
    pub(super) fn protocol_names(&self) -> BTreeSet<&Arc<str>> {
        self.protocols.iter().map(|protocol| &protocol.name).collect()
    }

    /// As DescribeGroups shows it; `protocol` only of a stable group.
    pub(super) fn describe(&self, member_id: &Arc<str>, protocol: Option<&str>) -> MemberDescription {
        MemberDescription {
            member_id: member_id.clone(),
            group_instance_id: self.group_instance_id.clone(),
            client_id: self.client_id.clone(),
            client_host: self.client_host.clone(),
            metadata: protocol
                .and_then(|protocol| self.metadata(protocol))
                .cloned()
                .unwrap_or_default(),
            assignment: protocol.map(|_| self.assignment.clone()).unwrap_or_default(),
        }
    }
}
