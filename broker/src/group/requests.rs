//! What request handlers ask of the coordinator: each finds the core, asks it, and waits for its answer if it must.
//!
//! The refusals that do not need a core are here: ids that no group may have, groups that are loading or elsewhere.
//! Source: Kafka 3.9 `GroupCoordinator.validateGroupStatus`, `isValidGroupId`.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use coordinator::group::{
    CommitAnswer, CommitRequest, FetchedOffset, GroupDescription, GroupError, HeartbeatRequest, JoinAnswer,
    JoinRequest, LeavingMember, SyncAnswer, SyncRequest, Ticket, TransactionalCommitRequest,
};
use model::TopicPartition;

use super::GroupCoordinator;
use super::hosted::Hosted;
use crate::partition::Partition;

impl GroupCoordinator {
    /// JoinGroup.
    pub async fn join(&self, request: JoinRequest) -> JoinAnswer {
        let member_id = Arc::clone(&request.member_id);
        let hosted = match self.find_named(&request.group_id) {
            Ok(hosted) => hosted,
            Err(error) => return JoinAnswer::refused(member_id, error),
        };
        let (ticket, now) = (self.ticket(), self.now());
        let answer = hosted.ask_join(ticket, now, |groups| groups.join(ticket, request, now));
        answer
            .await
            .unwrap_or_else(|_resigned| JoinAnswer::refused(member_id, GroupError::NotCoordinator))
    }

    /// SyncGroup.
    ///
    /// # Errors
    /// The answer.
    pub async fn sync(&self, request: SyncRequest) -> Result<SyncAnswer, GroupError> {
        let hosted = self.find_named(&request.group_id).map_err(|error| match error {
            // The rebalance is forgotten: the member must join again. Old clients do not expect the error itself here.
            GroupError::CoordinatorLoadInProgress => GroupError::RebalanceInProgress,
            other => other,
        })?;
        let (ticket, now) = (self.ticket(), self.now());
        let answer = hosted.ask_sync(ticket, now, |groups| groups.sync(ticket, request, now));
        answer.await.unwrap_or(Err(GroupError::NotCoordinator))
    }

    /// Heartbeat.
    ///
    /// # Errors
    /// The answer.
    pub fn heartbeat(&self, request: &HeartbeatRequest) -> Result<(), GroupError> {
        match self.find_named(&request.group_id) {
            // Nothing is known yet: the session begins anew when the group is loaded.
            Err(GroupError::CoordinatorLoadInProgress) => Ok(()),
            Err(error) => Err(error),
            Ok(hosted) => {
                let now = self.now();
                hosted
                    .act(now, |groups| groups.heartbeat(request, now))
                    .unwrap_or(Err(GroupError::NotCoordinator))
            }
        }
    }

    /// LeaveGroup: an answer for each member.
    ///
    /// # Errors
    /// The answer to all.
    pub fn leave(&self, group_id: &str, members: &[LeavingMember]) -> Result<Vec<Result<(), GroupError>>, GroupError> {
        let now = self.now();
        self.find_named(group_id)?
            .act(now, |groups| groups.leave(group_id, members, now))
            .ok_or(GroupError::NotCoordinator)
    }

    /// OffsetCommit, version 1 and up.
    pub async fn commit(&self, request: CommitRequest) -> CommitAnswer {
        let partitions: Vec<TopicPartition> = request.offsets.iter().map(|(partition, _)| partition.clone()).collect();
        let refuse = |error| {
            partitions
                .into_iter()
                .map(|partition| (partition, Some(error)))
                .collect()
        };
        let hosted = match self.find(&request.group_id) {
            Ok(hosted) => hosted,
            Err(error) => return refuse(error),
        };
        let (ticket, now) = (self.ticket(), self.now());
        let answer = hosted.ask_commit(ticket, now, |groups| groups.commit(ticket, request, now));
        answer
            .await
            .unwrap_or_else(|_resigned| refuse(GroupError::NotCoordinator))
    }

    /// The partition of `__consumer_offsets` to which the group's transactional commits go, where they are to be verified.
    ///
    /// # Errors
    /// The answer to all.
    pub fn partition_of(&self, group_id: &str) -> Result<Arc<Partition>, GroupError> {
        Ok(Arc::clone(self.find_named(group_id)?.replica()))
    }

    /// TxnOffsetCommit, after it was verified. An answer for each partition.
    pub async fn commit_transactional(&self, request: TransactionalCommitRequest) -> CommitAnswer {
        let offsets = &request.commit.offsets;
        let partitions: Vec<TopicPartition> = offsets.iter().map(|(partition, _)| partition.clone()).collect();
        let refuse = |error| {
            partitions
                .into_iter()
                .map(|partition| (partition, Some(error)))
                .collect()
        };
        let hosted = match self.find_named(&request.commit.group_id) {
            Ok(hosted) => hosted,
            Err(error) => return refuse(error),
        };
        let (ticket, now) = (self.ticket(), self.now());
        let answer = hosted.ask_commit(ticket, now, |groups| groups.commit_transactional(ticket, request, now));
        answer
            .await
            .unwrap_or_else(|_resigned| refuse(GroupError::NotCoordinator))
    }

    /// OffsetFetch of some partitions.
    ///
    /// # Errors
    /// The answer for the group.
    pub fn fetch_offsets(
        &self,
        group_id: &str,
        partitions: &[TopicPartition],
        require_stable: bool,
    ) -> Result<Vec<FetchedOffset>, GroupError> {
        self.find(group_id)?
            .look(|groups| groups.fetch_offsets(group_id, partitions, require_stable))
            .ok_or(GroupError::NotCoordinator)
    }

    /// OffsetFetch of all partitions.
    ///
    /// # Errors
    /// The answer for the group.
    pub fn fetch_all_offsets(
        &self,
        group_id: &str,
        require_stable: bool,
    ) -> Result<Vec<(TopicPartition, FetchedOffset)>, GroupError> {
        self.find(group_id)?
            .look(|groups| groups.fetch_all_offsets(group_id, require_stable))
            .ok_or(GroupError::NotCoordinator)
    }

    /// OffsetDelete: an answer for each partition.
    ///
    /// # Errors
    /// The answer to all.
    pub fn delete_offsets(
        &self,
        group_id: &str,
        partitions: &[TopicPartition],
    ) -> Result<Vec<Option<GroupError>>, GroupError> {
        let now = self.now();
        self.find_named(group_id)?
            .act(now, |groups| groups.delete_offsets(group_id, partitions, now))
            .unwrap_or(Err(GroupError::NotCoordinator))
    }

    /// DescribeGroups, of one group.
    ///
    /// # Errors
    /// The answer for the group.
    pub fn describe(&self, group_id: &str) -> Result<GroupDescription, GroupError> {
        self.find(group_id)?
            .look(|groups| groups.describe(group_id))
            .ok_or(GroupError::NotCoordinator)
    }

    /// DeleteGroups, of one group.
    ///
    /// # Errors
    /// The answer for the group.
    pub fn delete(&self, group_id: &str) -> Result<(), GroupError> {
        let now = self.now();
        self.find(group_id)?
            .act(now, |groups| groups.delete(group_id, now))
            .unwrap_or(Err(GroupError::NotCoordinator))
    }

    /// For requests that need group membership: those of offsets allow the empty id, as they always have.
    fn find_named(&self, group_id: &str) -> Result<Arc<Hosted>, GroupError> {
        if group_id.is_empty() {
            return Err(GroupError::InvalidGroupId);
        }
        self.find(group_id)
    }

    fn ticket(&self) -> Ticket {
        Ticket(self.next_ticket.fetch_add(1, Ordering::Relaxed))
    }
}
