//! All partitions with a replica on this broker.

use std::hash::Hash;
use std::sync::atomic::{AtomicI32, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use broker_log::append::Origin;
use broker_log::{Appended, Logs};
use bytes::Bytes;
use hashbrown::{Equivalent, HashMap};
use model::{BrokerId, ControllerEpoch, LeaderEpoch, Millis, TopicPartition};
use parking_lot::{Mutex, RwLock};
use smallvec::SmallVec;

use super::{FollowChange, Partition, PartitionError, Required};
use crate::clock;
use crate::delayed::Waiter;
use crate::in_sync::Proposals;
use crate::metadata::MetadataCache;

/// What replicas are held to.
#[derive(Clone, Debug)]
pub struct ReplicaSettings {
    /// This broker.
    pub broker_id: BrokerId,
    /// `replica.lag.time.max.ms`.
    pub replica_lag_time_max: Millis,
    /// What the controller told of the cluster: who is alive.
    pub metadata: Arc<MetadataCache>,
    /// Where leaders put the changes of in-sync sets that they propose.
    pub proposals: Arc<Proposals>,
}

impl ReplicaSettings {
    /// Of a broker that has not been told of anybody yet and proposes nothing.
    pub fn new(broker_id: BrokerId, replica_lag_time_max: Millis) -> Self {
        Self {
            broker_id,
            replica_lag_time_max,
            metadata: Arc::default(),
            proposals: Arc::default(),
        }
    }

    /// Whether the controller has told that this broker is alive.
    pub fn is_alive(&self, broker: BrokerId) -> bool {
        self.metadata.image().brokers.contains_key(&broker)
    }
}

/// A partition has begun or ceased to be led here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeadershipChange {
    /// Which partition.
    pub partition: TopicPartition,
    /// The leader epoch of the change; `None` when the partition was deleted.
    pub leader_epoch: Option<LeaderEpoch>,
    /// Whether this broker leads it now.
    pub is_leader: bool,
}

/// What there is of a partition on this broker.
#[derive(Clone, Debug)]
pub enum Lookup {
    /// No replica.
    None,
    /// A replica in a failed log directory.
    Offline,
    /// A replica.
    Online(Arc<Partition>),
}

type Listener = Box<dyn Fn(&[LeadershipChange]) + Send + Sync>;
type Replication = Box<dyn Fn(Vec<FollowChange>) + Send + Sync>;

/// The partitions of this broker by name. Source: Kafka 3.9 `ReplicaManager`.
pub struct Partitions {
    pub(super) settings: ReplicaSettings,
    pub(super) logs: Arc<Logs>,
    by_name: RwLock<HashMap<TopicPartition, Hosted>>,
    controller_epoch: AtomicI32,
    /// Serialises what the controller says (Kafka's `replicaStateChangeLock`).
    pub(super) state_change: Mutex<()>,
    listener: OnceLock<Listener>,
    replication: OnceLock<Replication>,
}

#[derive(Clone, Debug)]
enum Hosted {
    Online(Arc<Partition>),
    Offline,
}

/// Looks a partition up without owning its name.
#[derive(Hash)]
struct Key<'a> {
    topic: &'a str,
    partition: i32,
}

impl Equivalent<TopicPartition> for Key<'_> {
    fn equivalent(&self, key: &TopicPartition) -> bool {
        *self.topic == *key.topic && self.partition == key.partition
    }
}

impl Partitions {
    /// No partitions yet: the controller's first `LeaderAndIsr` names them.
    pub fn new(settings: ReplicaSettings, logs: Arc<Logs>) -> Arc<Self> {
        let partitions = Arc::new(Self {
            settings,
            logs,
            by_name: RwLock::default(),
            controller_epoch: AtomicI32::new(0),
            state_change: Mutex::new(()),
            listener: OnceLock::new(),
            replication: OnceLock::new(),
        });
        let weak = Arc::downgrade(&partitions);
        partitions.logs.on_failure(move |failure| {
            if let Some(partitions) = weak.upgrade() {
                partitions.take_offline(&failure.partitions);
            }
        });
        partitions
    }

    /// Who is told of leadership changes (the group coordinator); set once, before the first `LeaderAndIsr`.
    pub fn set_leadership_listener(&self, listener: impl Fn(&[LeadershipChange]) + Send + Sync + 'static) {
        assert!(
            self.listener.set(Box::new(listener)).is_ok(),
            "the leadership listener is set once"
        );
    }

    /// Who copies from leaders; set once, before the first `LeaderAndIsr`. Told in the order of the changes, after the
    /// roles have changed; it must not wait for a fetcher that may hold a role.
    pub fn set_replication(&self, replication: impl Fn(Vec<FollowChange>) + Send + Sync + 'static) {
        assert!(
            self.replication.set(Box::new(replication)).is_ok(),
            "replication is set once"
        );
    }

    pub(super) fn follow(&self, changes: Vec<FollowChange>) {
        if let Some(replication) = self.replication.get()
            && !changes.is_empty()
        {
            replication(changes);
        }
    }

    pub(super) fn tell(&self, changes: &[LeadershipChange]) {
        if let Some(listener) = self.listener.get()
            && !changes.is_empty()
        {
            listener(changes);
        }
    }

    /// The logs beneath.
    pub fn logs(&self) -> &Arc<Logs> {
        &self.logs
    }

    /// What replicas are held to.
    pub fn settings(&self) -> &ReplicaSettings {
        &self.settings
    }

    /// The newest controller epoch seen in a request of a controller.
    pub fn controller_epoch(&self) -> ControllerEpoch {
        ControllerEpoch(self.controller_epoch.load(Ordering::Acquire))
    }

    /// Notes a controller's epoch; `false` if a newer controller has spoken already (STALE_CONTROLLER_EPOCH).
    pub fn accept_controller(&self, epoch: ControllerEpoch) -> bool {
        self.controller_epoch.fetch_max(epoch.0, Ordering::AcqRel) <= epoch.0
    }

    /// What there is of the partition here.
    pub fn lookup(&self, topic: &str, partition: i32) -> Lookup {
        match self.by_name.read().get(&Key { topic, partition }) {
            None => Lookup::None,
            Some(Hosted::Offline) => Lookup::Offline,
            Some(Hosted::Online(partition)) => Lookup::Online(Arc::clone(partition)),
        }
    }

    /// The partition, if it has a working replica here.
    ///
    /// # Errors
    /// [`PartitionError::Offline`]; [`PartitionError::NotLeader`] where other brokers have it (`known`), else
    /// [`PartitionError::Unknown`].
    pub fn get(
        &self,
        topic: &str,
        partition: i32,
        known: impl FnOnce() -> bool,
    ) -> Result<Arc<Partition>, PartitionError> {
        let name = || TopicPartition::new(topic, partition);
        match self.lookup(topic, partition) {
            Lookup::Online(partition) => Ok(partition),
            Lookup::Offline => Err(PartitionError::Offline(name())),
            Lookup::None if known() => Err(PartitionError::NotLeader(name())),
            Lookup::None => Err(PartitionError::Unknown(name())),
        }
    }

    /// Every partition with a working replica here.
    pub fn all(&self) -> Vec<Arc<Partition>> {
        let by_name = self.by_name.read();
        by_name
            .values()
            .filter_map(|hosted| match hosted {
                Hosted::Online(partition) => Some(Arc::clone(partition)),
                Hosted::Offline => None,
            })
            .collect()
    }

    pub(super) fn get_or_insert(&self, name: &TopicPartition) -> Option<Arc<Partition>> {
        match self
            .by_name
            .write()
            .entry(name.clone())
            .or_insert_with(|| Hosted::Online(Arc::new(Partition::new(name.clone()))))
        {
            Hosted::Online(partition) => Some(Arc::clone(partition)),
            Hosted::Offline => None,
        }
    }

    pub(super) fn remove(&self, name: &TopicPartition) -> Option<Arc<Partition>> {
        match self.by_name.write().remove(name) {
            Some(Hosted::Online(partition)) => Some(partition),
            Some(Hosted::Offline) | None => None,
        }
    }

    /// The log directory of these partitions failed: whoever waits for them is told.
    pub(super) fn take_offline(&self, names: &[TopicPartition]) {
        let mut changes = Vec::new();
        self.follow(names.iter().cloned().map(FollowChange::Cease).collect());
        for name in names {
            let before = {
                let mut by_name = self.by_name.write();
                match by_name.get_mut(name) {
                    Some(hosted) => core::mem::replace(hosted, Hosted::Offline),
                    None => {
                        by_name.insert(name.clone(), Hosted::Offline);
                        continue;
                    }
                }
            };
            if let Hosted::Online(partition) = before {
                changes.push(LeadershipChange {
                    partition: name.clone(),
                    leader_epoch: Some(partition.leader_epoch()),
                    is_leader: false,
                });
                partition.resign();
            }
        }
        self.tell(&changes);
    }

    /// Appends as the leader and waits until the append is replicated as `acks` demands (−1: to all in-sync replicas).
    ///
    /// For records that the broker writes itself (groups, transactions).
    ///
    /// # Errors
    /// Nothing was appended, or ([`PartitionError::NotReplicatedInTime`],
    /// [`PartitionError::NotEnoughReplicasAfterAppend`], leadership lost) it may not survive.
    pub async fn append(
        &self,
        topic: &str,
        partition: i32,
        records: Bytes,
        acks: i16,
        timeout: Duration,
    ) -> Result<Appended, PartitionError> {
        let partition = self.get(topic, partition, || false)?;
        let (appended, required) =
            partition.append(records, acks, Origin::Coordinator, &self.settings, clock::now())?;
        if acks == -1 {
            replicated(&partition, required, timeout).await?;
        }
        Ok(appended)
    }
}

/// Waits until each of these appends, none of which was replicated a moment ago, is on all in-sync replicas, or will not
/// be, or the time is over. What has become of them says [`Partition::is_replicated`].
pub async fn replicated_all(appends: &[(Arc<Partition>, Required)], limit: Duration) {
    type Waiting<'a> = SmallVec<[&'a (Arc<Partition>, Required); 4]>;
    let deadline = Instant::now() + limit;
    let look = || -> Waiting<'_> {
        let is_waiting =
            |(partition, required): &&(Arc<Partition>, Required)| partition.is_replicated(*required).is_none();
        appends.iter().filter(is_waiting).collect()
    };
    let mut waiting: Waiting<'_> = appends.iter().collect();
    while !waiting.is_empty() {
        let waiter = Waiter::new(i64::try_from(waiting.len()).unwrap_or(i64::MAX));
        let _places: Vec<_> = waiting
            .iter()
            .map(|(partition, required)| partition.produces().join_from(&waiter, required.offset.0))
            .collect();
        // What was replicated before its place was taken told nobody: begin again without it.
        let left = look();
        if left.len() == waiting.len() {
            if !waiter.wait(deadline.saturating_duration_since(Instant::now())).await {
                return;
            }
            waiting = look();
        } else {
            waiting = left;
        }
    }
}

/// Waits until an append is replicated to all in-sync replicas.
///
/// # Errors
/// As for [`Partitions::append`].
pub async fn replicated(partition: &Partition, required: Required, limit: Duration) -> Result<(), PartitionError> {
    if let Some(done) = partition.is_replicated(required) {
        return done;
    }
    let waiter = Waiter::new(1);
    let _place = partition.produces().join_from(&waiter, required.offset.0);
    if let Some(done) = partition.is_replicated(required) {
        return done;
    }
    waiter.wait(limit).await;
    partition
        .is_replicated(required)
        .unwrap_or_else(|| Err(PartitionError::NotReplicatedInTime(partition.topic_partition.clone())))
}
