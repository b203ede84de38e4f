//! What the controller says: become leader, become follower, stop.
//!
//! Blocking (logs are created and renamed): the caller moves it off the runtime's threads. One request at a time, as
//! Kafka's `replicaStateChangeLock` has it. An answer is given per partition; a partition whose log directory fails is
//! answered KAFKA_STORAGE_ERROR and the others go on.

use std::sync::Arc;

use broker_wire::ErrorCode;
use model::{LeaderEpoch, TopicId, TopicPartition};
use tracing::{error, info, warn};

use super::{
    FollowChange, FollowerState, LeaderState, LeadershipChange, Leading, Lookup, Partition, PartitionState, Partitions,
    Role,
};
use crate::clock;

/// One partition of a `LeaderAndIsr` request.
#[derive(Clone, Debug)]
pub struct LeaderAndIsrPartition {
    /// Which one.
    pub partition: TopicPartition,
    /// The topic's id; `None` below version 5.
    pub topic_id: Option<TopicId>,
    /// What the controller decided.
    pub state: PartitionState,
}

/// One partition of a `StopReplica` request.
#[derive(Clone, Debug)]
pub struct StopReplica {
    /// Which one.
    pub partition: TopicPartition,
    /// Of the request; −1 in versions without it, −2 while the topic is being deleted.
    pub leader_epoch: LeaderEpoch,
    /// Whether its log is to be deleted.
    pub delete: bool,
}

/// Leader epoch of a `StopReplica` for a topic that is being deleted: it overrides any. Source: Kafka `LeaderAndIsr`.
const EPOCH_DURING_DELETE: LeaderEpoch = LeaderEpoch(-2);

/// What others are told of once a request has been applied.
#[derive(Default)]
struct Changes {
    leadership: Vec<LeadershipChange>,
    follow: Vec<FollowChange>,
}

/// What replication is told of a partition with a new role.
fn follow_change(partition: &Partition, request: &LeaderAndIsrPartition, is_leader: bool) -> FollowChange {
    let name = request.partition.clone();
    if is_leader {
        return FollowChange::Cease(name);
    }
    FollowChange::Follow {
        partition: name,
        topic_id: partition.topic_id(),
        leader: request.state.leader,
        leader_epoch: request.state.leader_epoch,
    }
}

impl Partitions {
    /// Applies a `LeaderAndIsr` request whose controller epoch was accepted. One answer for each partition.
    pub fn become_leader_or_follower(&self, requests: &[LeaderAndIsrPartition]) -> Vec<ErrorCode> {
        let _one_at_a_time = self.state_change.lock();
        let mut changes = Changes::default();
        let answers = requests
            .iter()
            .map(|request| self.become_either(request, &mut changes))
            .collect();
        self.tell_all(changes);
        answers
    }

    fn tell_all(&self, changes: Changes) {
        self.tell(&changes.leadership);
        self.follow(changes.follow);
    }

    fn become_either(&self, request: &LeaderAndIsrPartition, changes: &mut Changes) -> ErrorCode {
        let name = &request.partition;
        let Some(partition) = self.get_or_insert(name) else {
            warn!(partition = %name, "ignoring LeaderAndIsr: the log directory of the partition is offline");
            return ErrorCode::KafkaStorageError;
        };
        if let (Some(asked), Some(known)) = (request.topic_id, partition.topic_id())
            && asked != known
        {
            error!(partition = %name, %asked, %known, "ignoring LeaderAndIsr: the topic id is not that of the log");
            return ErrorCode::InconsistentTopicId;
        }
        let current = partition.leader_epoch();
        let asked = request.state.leader_epoch;
        if asked < current {
            warn!(partition = %name, %asked, %current, "ignoring LeaderAndIsr of an older leader epoch");
            return ErrorCode::StaleControllerEpoch;
        }
        if asked == current {
            return self.same_epoch(&partition, request, changes);
        }
        if !request.state.replicas.contains(&self.settings.broker_id) {
            warn!(partition = %name, "ignoring LeaderAndIsr: this broker is not an assigned replica");
            return ErrorCode::UnknownTopicOrPartition;
        }
        let was_leader = partition.is_leader();
        let is_leader = request.state.leader == self.settings.broker_id;
        if let Err(code) = self.take_role(&partition, request, is_leader) {
            return code;
        }
        partition.wake_all();
        changes.follow.push(follow_change(&partition, request, is_leader));
        if self.logs.future(name).is_some() {
            changes.follow.push(FollowChange::Move(name.clone()));
        }
        if is_leader || was_leader {
            changes.leadership.push(LeadershipChange {
                partition: name.clone(),
                leader_epoch: Some(asked),
                is_leader,
            });
        }
        ErrorCode::None
    }

    /// The controller repeats itself: only a topic id that was missing so far is news.
    fn same_epoch(&self, partition: &Partition, request: &LeaderAndIsrPartition, changes: &mut Changes) -> ErrorCode {
        match (request.topic_id, partition.log()) {
            (Some(id), Some(log)) if log.topic_id().is_none() => match log.assign_topic_id(id) {
                Ok(()) => {
                    let is_leader = partition.is_leader();
                    changes.follow.push(follow_change(partition, request, is_leader));
                    ErrorCode::None
                }
                Err(cause) => {
                    error!(partition = %request.partition, %cause, "topic id not written");
                    ErrorCode::KafkaStorageError
                }
            },
            _ => ErrorCode::StaleControllerEpoch,
        }
    }

    fn take_role(
        &self,
        partition: &Partition,
        request: &LeaderAndIsrPartition,
        is_leader: bool,
    ) -> Result<(), ErrorCode> {
        let state = &request.state;
        let name = &request.partition;
        let offline = |cause: &dyn core::fmt::Display| {
            error!(partition = %name, %cause, "the log of the partition cannot be opened");
            self.take_offline(core::slice::from_ref(name));
            ErrorCode::KafkaStorageError
        };
        let log = match partition.log() {
            Some(log) => log,
            None => {
                let log = self
                    .logs
                    .get_or_create(name, request.topic_id, None)
                    .map_err(|cause| offline(&cause))?;
                if let (Some(asked), Some(known)) = (request.topic_id, log.topic_id())
                    && asked != known
                {
                    error!(partition = %name, %asked, %known, "the log found on disk is of another topic of this name");
                    self.remove(name);
                    return Err(ErrorCode::InconsistentTopicId);
                }
                log
            }
        };
        if let (Some(id), None) = (request.topic_id, log.topic_id()) {
            log.assign_topic_id(id).map_err(|cause| offline(&cause))?;
        }
        let now = clock::now();
        let mut role = partition.role.write();
        if state.partition_epoch < role.partition_epoch() {
            info!(partition = %name, "skipped a state change: a newer partition epoch is known");
            return Ok(());
        }
        if is_leader {
            let epoch_start = log.log_end_offset();
            if let Err(cause) = log.assign_epoch_start(state.leader_epoch, epoch_start) {
                // Taking the partition offline ends its role, under the same lock.
                drop(role);
                return Err(offline(&cause));
            }
            let me = self.settings.broker_id;
            let leading = Arc::new(match &*role {
                Role::Leader(before) => {
                    let mut leader = before.state().clone();
                    leader.re_elected(state, epoch_start, now);
                    Leading::new(leader, Some(before))
                }
                Role::Follower(_) | Role::Unassigned => {
                    Leading::new(LeaderState::new(me, state, epoch_start, now), None)
                }
            });
            partition.log.store(Some(Arc::clone(&log)));
            leading.raise_high_watermark(&log, &self.settings, now);
            info!(
                partition = %name, leader_epoch = %state.leader_epoch, partition_epoch = %state.partition_epoch,
                start = %epoch_start, high_watermark = %log.high_watermark(), isr = ?state.isr, "became leader"
            );
            *role = Role::Leader(leading);
        } else {
            partition.log.store(Some(log));
            *role = Role::Follower(FollowerState {
                leader: state.leader,
                leader_epoch: state.leader_epoch,
                partition_epoch: state.partition_epoch,
            });
            info!(partition = %name, leader = %state.leader, leader_epoch = %state.leader_epoch, "became follower");
        }
        Ok(())
    }

    /// Applies a `StopReplica` request whose controller epoch was accepted. One answer for each partition.
    pub fn stop_replicas(&self, requests: &[StopReplica]) -> Vec<ErrorCode> {
        let _one_at_a_time = self.state_change.lock();
        let mut changes = Changes::default();
        let answers = requests
            .iter()
            .map(|request| self.stop_replica(request, &mut changes))
            .collect();
        self.tell_all(changes);
        answers
    }

    fn stop_replica(&self, request: &StopReplica, changes: &mut Changes) -> ErrorCode {
        let name = &request.partition;
        match self.lookup(&name.topic, name.partition) {
            Lookup::Offline => return ErrorCode::KafkaStorageError,
            Lookup::Online(partition) => {
                let current = partition.leader_epoch();
                let asked = request.leader_epoch;
                if asked != EPOCH_DURING_DELETE && asked != LeaderEpoch::NONE && asked < current {
                    warn!(partition = %name, %asked, %current, "ignoring StopReplica of an older leader epoch");
                    return ErrorCode::FencedLeaderEpoch;
                }
                changes.follow.push(FollowChange::Cease(name.clone()));
                if request.delete {
                    let leader_epoch = None;
                    changes.leadership.push(LeadershipChange {
                        partition: name.clone(),
                        leader_epoch,
                        is_leader: false,
                    });
                    self.remove(name);
                    partition.resign();
                }
            }
            // Nothing is hosted, but a log may lie there: the topic was deleted while this broker was down.
            Lookup::None => {}
        }
        if request.delete {
            match self.logs.delete(name) {
                Ok(deleted) => info!(partition = %name, deleted, "replica stopped, log deleted"),
                Err(cause) => {
                    error!(partition = %name, %cause, "log not deleted");
                    return ErrorCode::KafkaStorageError;
                }
            }
        } else {
            info!(partition = %name, "replica stopped");
        }
        ErrorCode::None
    }
}

impl Partition {
    /// Ceases to lead or follow: whoever waits is told, appends are refused from here on.
    pub(super) fn resign(&self) {
        *self.role.write() = Role::Unassigned;
        self.log.store(None);
        self.wake_all();
    }
}
