//! A partition that has a replica on this broker: its role, its log, and who waits for it.
//!
//! The role (leader, follower, none) changes under a write lock, by the controller's word alone. Appends and reads
//! hold the read lock for as long as they touch the log, so that no append crosses a change of leader epoch, nor, since a
//! follower's truncation holds the write lock, a truncation. Waiters
//! are woken after the lock is released. The log's own offsets are atomics; nothing here is locked to read them.
//! Source: Kafka 3.9 `Partition`.

mod closest;
mod follower;
mod leading;
mod log_dirs;
mod read;
mod registry;
mod state_change;

use std::sync::Arc;

use arc_swap::ArcSwapOption;
use broker_log::append::Origin;
use broker_log::{Appended, EpochEnd, Log};
use bytes::Bytes;
use model::{BrokerId, LeaderEpoch, Millis, Offset, PartitionEpoch, TopicId, TopicPartition, VerificationGuard};
use parking_lot::RwLock;

use crate::delayed::WaitQueue;
use crate::fetch_session::PartitionFetch;

pub use broker_replica::in_sync::{Answer, IsrChange, Outcome, Proposal, Refusal};
pub use broker_replica::leader::{Follower, FollowerFetch, LeaderState, PartitionState};
pub(crate) use follower::append_fetched;
pub use follower::{Fetched, FollowChange, FollowError, FollowerAppended};
pub use leading::{Leading, Required};
pub use log_dirs::Replaced;
pub use read::{Isolation, Read, ReadSpec};
pub use registry::{LeadershipChange, Lookup, Partitions, ReplicaSettings, replicated, replicated_all};
pub use state_change::{LeaderAndIsrPartition, StopReplica};

/// What this broker is for a partition.
#[derive(Clone, Debug)]
pub enum Role {
    /// The controller has not said yet.
    Unassigned,
    /// It decides the order of records.
    Leader(Arc<Leading>),
    /// It copies from the leader.
    Follower(FollowerState),
}

/// What a follower knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FollowerState {
    /// Whom to fetch from; −1 while there is no leader.
    pub leader: BrokerId,
    /// Of that leader.
    pub leader_epoch: LeaderEpoch,
    /// Version of the `state` znode.
    pub partition_epoch: PartitionEpoch,
}

/// Why a partition does not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum PartitionError {
    /// → NOT_LEADER_OR_FOLLOWER.
    #[error("this broker is not the leader of {0}")]
    NotLeader(TopicPartition),
    /// → UNKNOWN_TOPIC_OR_PARTITION. There is no replica here, and none is known of.
    #[error("{0} is not known")]
    Unknown(TopicPartition),
    /// → FENCED_LEADER_EPOCH.
    #[error("leader epoch {asked} of {partition} is older than {current}")]
    FencedLeaderEpoch {
        /// Of which partition.
        partition: TopicPartition,
        /// In the request.
        asked: LeaderEpoch,
        /// Known here.
        current: LeaderEpoch,
    },
    /// → UNKNOWN_LEADER_EPOCH.
    #[error("leader epoch {asked} of {partition} is newer than {current}, or replica {replica} is not assigned in it")]
    UnknownLeaderEpoch {
        /// Of which partition.
        partition: TopicPartition,
        /// In the request.
        asked: LeaderEpoch,
        /// Known here.
        current: LeaderEpoch,
        /// The fetching replica; −1 for a client.
        replica: BrokerId,
    },
    /// → NOT_ENOUGH_REPLICAS.
    #[error("{partition} has {isr} in-sync replicas, min.insync.replicas demands {needed}")]
    NotEnoughReplicas {
        /// Of which partition.
        partition: TopicPartition,
        /// There are.
        isr: usize,
        /// There should be.
        needed: usize,
    },
    /// → NOT_ENOUGH_REPLICAS_AFTER_APPEND. The records are in the log, but may not survive.
    #[error("{0} had too few in-sync replicas when the append was replicated")]
    NotEnoughReplicasAfterAppend(TopicPartition),
    /// → REQUEST_TIMED_OUT. The records are in the log, but are not replicated yet.
    #[error("{0} was not replicated in time")]
    NotReplicatedInTime(TopicPartition),
    /// → OFFSET_NOT_AVAILABLE. A new leader does not know yet what is committed.
    #[error("the high watermark of {0} has not reached the start of the leader epoch yet")]
    OffsetNotAvailable(TopicPartition),
    /// → OFFSET_OUT_OF_RANGE. The leader has no such epoch to compare with.
    #[error("{0} does not know the epoch of the last fetched record")]
    UnknownFetchedEpoch(TopicPartition),
    /// → KAFKA_STORAGE_ERROR.
    #[error("the log directory of {0} is offline")]
    Offline(TopicPartition),
    /// As the log says.
    #[error(transparent)]
    Append(#[from] broker_log::AppendError),
    /// As the log says.
    #[error(transparent)]
    Read(#[from] broker_log::ReadError),
}

/// A replica of a partition on this broker.
pub struct Partition {
    /// Which one.
    pub topic_partition: TopicPartition,
    role: RwLock<Role>,
    log: ArcSwapOption<Log>,
    /// Consumers' fetches: told when the high watermark moves.
    consumer_fetches: WaitQueue,
    /// Followers' fetches: told when the log end offset moves.
    follower_fetches: WaitQueue,
    /// acks=all produces, by the offset that the high watermark must reach.
    produces: WaitQueue,
    /// DeleteRecords requests: told when a follower's log start offset moves.
    deletes: WaitQueue,
}

impl core::fmt::Debug for Partition {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Partition")
            .field("topic_partition", &self.topic_partition)
            .finish_non_exhaustive()
    }
}

impl Partition {
    /// A partition of which the controller has not said anything yet.
    pub fn new(topic_partition: TopicPartition) -> Self {
        Self {
            topic_partition,
            role: RwLock::new(Role::Unassigned),
            log: ArcSwapOption::empty(),
            consumer_fetches: WaitQueue::default(),
            follower_fetches: WaitQueue::default(),
            produces: WaitQueue::default(),
            deletes: WaitQueue::default(),
        }
    }

    /// Its log, once the controller's first `LeaderAndIsr` has created it.
    pub fn log(&self) -> Option<Arc<Log>> {
        self.log.load_full()
    }

    /// The topic id that its log was created with.
    pub fn topic_id(&self) -> Option<TopicId> {
        self.log.load().as_ref().and_then(|log| log.topic_id())
    }

    /// A copy of its role.
    pub fn role(&self) -> Role {
        self.role.read().clone()
    }

    /// Whether this broker leads it.
    pub fn is_leader(&self) -> bool {
        matches!(&*self.role.read(), Role::Leader(_))
    }

    /// The leader epoch known here; −1 before the controller has said one.
    pub fn leader_epoch(&self) -> LeaderEpoch {
        self.role.read().leader_epoch()
    }

    /// The log, if this broker leads the partition and the epoch that the client believes in is right.
    ///
    /// # Errors
    /// [`PartitionError::NotLeader`] and the two of epochs.
    pub fn leader_log(&self, asked: LeaderEpoch) -> Result<Arc<Log>, PartitionError> {
        let role = self.role.read();
        self.log_for(&role, asked, true)
    }

    fn log_for(&self, role: &Role, asked: LeaderEpoch, only_leader: bool) -> Result<Arc<Log>, PartitionError> {
        let current = role.leader_epoch();
        if asked >= LeaderEpoch(0) {
            let partition = || self.topic_partition.clone();
            if asked < current {
                return Err(PartitionError::FencedLeaderEpoch {
                    partition: partition(),
                    asked,
                    current,
                });
            }
            if asked > current {
                let replica = BrokerId::NONE;
                return Err(PartitionError::UnknownLeaderEpoch {
                    partition: partition(),
                    asked,
                    current,
                    replica,
                });
            }
        }
        let may = match role {
            Role::Leader(_) => true,
            Role::Follower(_) => !only_leader,
            Role::Unassigned => false,
        };
        may.then(|| self.log())
            .flatten()
            .ok_or_else(|| PartitionError::NotLeader(self.topic_partition.clone()))
    }

    /// Appends to the log as its leader, and moves the high watermark where no follower must be waited for.
    ///
    /// `acks` as in a Produce request: −1 demands `min.insync.replicas`.
    ///
    /// # Errors
    /// Nothing was appended.
    pub fn append(
        &self,
        records: Bytes,
        acks: i16,
        origin: Origin,
        settings: &ReplicaSettings,
        now: Millis,
    ) -> Result<(Appended, Required), PartitionError> {
        self.append_verified(records, acks, origin, VerificationGuard::NONE, settings, now)
    }

    /// [`Partition::append`], for what may begin a transaction here: `guard` shows that its coordinator was asked.
    ///
    /// # Errors
    /// Nothing was appended.
    pub fn append_verified(
        &self,
        records: Bytes,
        acks: i16,
        origin: Origin,
        guard: VerificationGuard,
        settings: &ReplicaSettings,
        now: Millis,
    ) -> Result<(Appended, Required), PartitionError> {
        let role = self.role.read();
        let Role::Leader(leading) = &*role else {
            return Err(PartitionError::NotLeader(self.topic_partition.clone()));
        };
        let log = self.log.load();
        let log = log
            .as_ref()
            .ok_or_else(|| PartitionError::NotLeader(self.topic_partition.clone()))?;
        if acks == -1 {
            let min_isr = log.config().min_insync_replicas;
            let state = leading.state();
            if state.is_under_min_isr(min_isr) {
                return Err(PartitionError::NotEnoughReplicas {
                    partition: self.topic_partition.clone(),
                    isr: state.isr.len(),
                    needed: state.effective_min_isr(min_isr),
                });
            }
        }
        let appended = log.append_verified(records, leading.leader_epoch, origin, guard, now)?;
        let moved = leading.raise_high_watermark(log, settings, now);
        let required = Required {
            offset: appended.last_offset.next(),
            led_since: leading.led_since,
        };
        drop(role);
        let bytes = i64::try_from(appended.bytes).unwrap_or(i64::MAX);
        self.follower_fetches.count_down(bytes);
        if let Some(high_watermark) = moved {
            self.produces.reached(high_watermark.0);
            match origin {
                // A marker of some bytes may let readers of committed records have all that was held back from them.
                Origin::Coordinator => self.consumer_fetches.wake_all(),
                Origin::Client { .. } | Origin::Replication => self.consumer_fetches.count_down(bytes),
            }
        }
        Ok((appended, required))
    }

    /// Whether an acks=all append is safe now; `None` while it has to wait.
    pub fn is_replicated(&self, required: Required) -> Option<Result<(), PartitionError>> {
        let role = self.role.read();
        let Role::Leader(leading) = &*role else {
            return Some(Err(PartitionError::NotLeader(self.topic_partition.clone())));
        };
        if leading.led_since != required.led_since {
            return Some(Err(PartitionError::NotLeader(self.topic_partition.clone())));
        }
        let log = self.log.load();
        let Some(log) = log.as_ref() else {
            return Some(Err(PartitionError::NotLeader(self.topic_partition.clone())));
        };
        if log.is_offline() {
            return Some(Err(PartitionError::Offline(self.topic_partition.clone())));
        }
        if log.high_watermark() < required.offset {
            return None;
        }
        let state = leading.state();
        let enough = state.effective_min_isr(log.config().min_insync_replicas);
        Some(if state.maximal_isr_len() < enough {
            Err(PartitionError::NotEnoughReplicasAfterAppend(
                self.topic_partition.clone(),
            ))
        } else {
            Ok(())
        })
    }

    /// Where waiting produces stand.
    pub fn produces(&self) -> &WaitQueue {
        &self.produces
    }

    /// Where waiting fetches stand; followers hear of every append, consumers of what is committed.
    pub fn fetches(&self, from_follower: bool) -> &WaitQueue {
        if from_follower {
            &self.follower_fetches
        } else {
            &self.consumer_fetches
        }
    }

    /// Where requests stand that wait for the followers' log start offsets.
    pub fn deletes(&self) -> &WaitQueue {
        &self.deletes
    }

    /// Wakes all who wait: the role or the log has changed, they must look again.
    pub fn wake_all(&self) {
        self.produces.wake_all();
        self.consumer_fetches.wake_all();
        self.follower_fetches.wake_all();
        self.deletes.wake_all();
    }

    /// Where the records of `epoch` end here (OffsetForLeaderEpoch, and a fetch that carries its last epoch).
    ///
    /// `Ok(None)`: the epoch is older than all that are known.
    ///
    /// # Errors
    /// [`PartitionError::NotLeader`] and the two of epochs.
    pub fn end_offset_for_epoch(
        &self,
        current: LeaderEpoch,
        epoch: LeaderEpoch,
        only_leader: bool,
    ) -> Result<Option<EpochEnd>, PartitionError> {
        let role = self.role.read();
        let log = self.log_for(&role, current, only_leader)?;
        Ok(log.end_offset_for_epoch(epoch))
    }

    /// The start of the leader epoch in which this broker leads.
    fn epoch_start(role: &Role) -> Option<Offset> {
        match role {
            Role::Leader(leading) => Some(leading.epoch_start),
            Role::Follower(_) | Role::Unassigned => None,
        }
    }

    /// The smallest log start offset among live replicas; `None` where this broker does not lead.
    pub fn low_watermark(&self, is_alive: impl Fn(BrokerId) -> bool) -> Option<Offset> {
        let role = self.role.read();
        let Role::Leader(leading) = &*role else { return None };
        let log = self.log()?;
        Some(leading.state().low_watermark(log.log_start_offset(), is_alive))
    }
}

impl Role {
    /// The leader epoch of this role; −1 before the controller has said one.
    pub fn leader_epoch(&self) -> LeaderEpoch {
        match self {
            Self::Unassigned => LeaderEpoch::NONE,
            Self::Leader(leading) => leading.leader_epoch,
            Self::Follower(follower) => follower.leader_epoch,
        }
    }

    /// The version of the `state` znode that this role comes from; −1 before the controller has said one.
    pub fn partition_epoch(&self) -> PartitionEpoch {
        match self {
            Self::Unassigned => PartitionEpoch(-1),
            Self::Leader(leading) => leading.state().partition_epoch,
            Self::Follower(follower) => follower.partition_epoch,
        }
    }
}
