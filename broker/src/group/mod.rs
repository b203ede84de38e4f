//! The group coordinator of this broker: a core (`coordinator::group`) for each `__consumer_offsets` partition led here.
//!
//! Finds the core that is responsible for a group, hands it requests under its short lock, and performs what it decides:
//! appends to the partition in the order of the decisions, answers when the core says so, timers. Decides nothing about groups itself.
//!
//! When this broker becomes leader of such a partition, the partition's log is read into a new core, and until then its groups are
//! answered COORDINATOR_LOAD_IN_PROGRESS; when it ceases to lead, whoever waits is answered NOT_COORDINATOR.
//!
//! Invariants: no lock is held across an await; a core's appends reach the log in the order in which it decided them; an answer
//! that depends on an append is given once it is replicated to all in-sync replicas.
//! Source: Kafka 3.9 `GroupCoordinatorAdapter`, `GroupMetadataManager`, KIP-62.

mod hosted;
mod loading;
mod requests;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::atomic::{AtomicI32, AtomicU64, Ordering};
use std::sync::{Arc, Weak};

use coordinator::group::{GroupConfig, GroupError, GroupOverview, Groups, Loader, Now, partition_for};
use model::{GROUP_METADATA_TOPIC, LeaderEpoch, Millis, Offset, ProducerId, TopicPartition};
use parking_lot::RwLock;
use tokio::runtime::Handle;
use tokio::sync::Semaphore;
use tokio::time::Instant;
use tracing::{error, info, warn};
use zk_schema_store::Store;

use crate::clock;
use crate::config::ConfigHandle;
use crate::internal_topic::{self, LOAD_RETRY, LOADS_AT_ONCE, LoadError};
use crate::partition::{LeadershipChange, Partitions};
use crate::vital::vital;

use hosted::Hosted;

/// All groups that this broker coordinates.
pub struct GroupCoordinator {
    config: Arc<ConfigHandle>,
    store: Store,
    partitions: Arc<Partitions>,
    /// By partition of `__consumer_offsets`.
    slots: RwLock<HashMap<i32, Slot>>,
    /// How many partitions `__consumer_offsets` has; 0 while nobody knows.
    partition_count: AtomicI32,
    next_ticket: AtomicU64,
    loads: Semaphore,
    /// The steady clock counts from here.
    origin: Instant,
    runtime: Handle,
    this: Weak<Self>,
}

/// What there is of a partition of `__consumer_offsets`.
enum Slot {
    /// This broker leads it and is reading it; meanwhile these transactions have ended.
    Loading(LeaderEpoch, Vec<EndedTransaction>),
    /// This broker leads it and knows its groups.
    Ready(LeaderEpoch, Arc<Hosted>),
}

/// A transaction whose marker is in a partition of `__consumer_offsets`.
#[derive(Clone, Copy, Debug)]
struct EndedTransaction {
    producer_id: ProducerId,
    committed: bool,
    marker_offset: Offset,
}

impl EndedTransaction {
    fn tell(self, groups: &mut Groups) {
        groups.complete_transaction(self.producer_id, self.committed, self.marker_offset);
    }
}

impl Slot {
    fn epoch(&self) -> LeaderEpoch {
        match self {
            Self::Loading(epoch, _) | Self::Ready(epoch, _) => *epoch,
        }
    }
}

impl GroupCoordinator {
    /// A coordinator without groups: leadership brings them. To be made within the runtime that its tasks shall run on.
    pub fn new(config: Arc<ConfigHandle>, store: Store, partitions: Arc<Partitions>) -> Arc<Self> {
        Arc::new_cyclic(|this| Self {
            config,
            store,
            partitions,
            slots: RwLock::default(),
            partition_count: AtomicI32::new(0),
            next_ticket: AtomicU64::new(0),
            loads: Semaphore::new(LOADS_AT_ONCE),
            origin: Instant::now(),
            runtime: Handle::current(),
            this: Weak::clone(this),
        })
    }

    /// The leader of which partition of `__consumer_offsets` coordinates the group.
    pub fn partition_for(&self, group_id: &str) -> i32 {
        let known = self.partition_count.load(Ordering::Acquire);
        let count = if known > 0 {
            known
        } else {
            self.config.load().offsets_topic_num_partitions
        };
        partition_for(group_id, count)
    }

    /// Asks ZooKeeper how many partitions `__consumer_offsets` has, if that is not known yet. If it cannot be asked the
    /// configuration has to do, as for a topic that is about to be created.
    pub async fn learn_partition_count(&self) {
        if self.partition_count.load(Ordering::Acquire) > 0 {
            return;
        }
        match internal_topic::partition_count(&self.store, GROUP_METADATA_TOPIC).await {
            Ok(count) => self.partition_count.store(count, Ordering::Release),
            Err(cause) => warn!(%cause, "number of partitions of the offsets topic not learnt"),
        }
    }

    /// The core of the group.
    ///
    /// # Errors
    /// COORDINATOR_LOAD_IN_PROGRESS or NOT_COORDINATOR.
    fn find(&self, group_id: &str) -> Result<Arc<Hosted>, GroupError> {
        match self.slots.read().get(&self.partition_for(group_id)) {
            None => Err(GroupError::NotCoordinator),
            Some(Slot::Loading(..)) => Err(GroupError::CoordinatorLoadInProgress),
            Some(Slot::Ready(_, hosted)) => Ok(Arc::clone(hosted)),
        }
    }

    /// All groups coordinated here, and whether some are still being loaded.
    pub fn list(&self) -> (Vec<GroupOverview>, bool) {
        let mut loading = false;
        let hosted: Vec<_> = {
            let slots = self.slots.read();
            slots
                .values()
                .filter_map(|slot| match slot {
                    Slot::Ready(_, hosted) => Some(Arc::clone(hosted)),
                    Slot::Loading(..) => {
                        loading = true;
                        None
                    }
                })
                .collect()
        };
        (hosted.iter().flat_map(|hosted| hosted.list()).collect(), loading)
    }

    /// The marker that ends a producer's transaction is in this partition of `__consumer_offsets`, and replicated: its
    /// offsets count, or are forgotten.
    pub fn complete_transaction(
        &self,
        partition: i32,
        producer_id: ProducerId,
        committed: bool,
        marker_offset: Offset,
    ) {
        let ended = EndedTransaction {
            producer_id,
            committed,
            marker_offset,
        };
        let ready = match self.slots.read().get(&partition) {
            // Elsewhere the groups are read from the log, with the marker.
            None => return,
            Some(Slot::Loading(..)) => None,
            Some(Slot::Ready(_, hosted)) => Some(Arc::clone(hosted)),
        };
        let hosted = ready.or_else(|| match self.slots.write().get_mut(&partition)? {
            Slot::Loading(_, all) => {
                all.push(ended);
                None
            }
            Slot::Ready(_, hosted) => Some(Arc::clone(hosted)),
        });
        if let Some(hosted) = hosted {
            hosted.transactions_ended(&[ended], self.now());
        }
    }

    /// These partitions exist no more: groups forget what they committed there.
    pub fn partitions_deleted(&self, partitions: &[TopicPartition]) {
        if partitions.is_empty() {
            return;
        }
        for hosted in self.ready() {
            hosted.partitions_deleted(partitions, self.now());
        }
    }

    /// Sends everybody away: the broker stops.
    pub fn shut_down(&self) {
        let slots = std::mem::take(&mut *self.slots.write());
        for slot in slots.into_values() {
            if let Slot::Ready(_, hosted) = slot {
                hosted.resign(self.now());
            }
        }
    }

    fn ready(&self) -> Vec<Arc<Hosted>> {
        let slots = self.slots.read();
        slots
            .values()
            .filter_map(|slot| match slot {
                Slot::Ready(_, hosted) => Some(Arc::clone(hosted)),
                Slot::Loading(..) => None,
            })
            .collect()
    }

    // Leadership

    /// Partitions have begun or ceased to be led here. Returns at once; loading goes on behind.
    pub fn leadership_changed(&self, changes: &[LeadershipChange]) {
        for change in changes
            .iter()
            .filter(|change| &*change.partition.topic == GROUP_METADATA_TOPIC)
        {
            let partition = change.partition.partition;
            match change.leader_epoch {
                Some(epoch) if change.is_leader => self.begin(partition, epoch),
                epoch => self.end(partition, epoch),
            }
        }
    }

    fn begin(&self, partition: i32, epoch: LeaderEpoch) {
        {
            let mut slots = self.slots.write();
            match slots.get_mut(&partition) {
                Some(slot) if slot.epoch() >= epoch => return,
                // Elected again without a break: nobody else has written meanwhile.
                Some(Slot::Ready(known, _) | Slot::Loading(known, _)) => {
                    *known = epoch;
                    return;
                }
                None => slots.insert(partition, Slot::Loading(epoch, Vec::new())),
            };
        }
        info!(partition, %epoch, "elected as group coordinator, loading groups");
        let Some(this) = self.this.upgrade() else { return };
        self.runtime
            .spawn(vital("group loader", async move { this.load(partition).await }));
    }

    fn end(&self, partition: i32, epoch: Option<LeaderEpoch>) {
        let slot = {
            let mut slots = self.slots.write();
            let slot = match (slots.get(&partition), epoch) {
                (None, _) => None,
                (Some(slot), Some(epoch)) if slot.epoch() > epoch => None,
                _ => slots.remove(&partition),
            };
            if epoch.is_none() && slots.is_empty() {
                // If not only this replica was deleted, the topic may come back with another number of partitions.
                self.partition_count.store(0, Ordering::Release);
            }
            slot
        };
        let Some(slot) = slot else { return };
        info!(partition, "resigned as group coordinator, unloading groups");
        if let Slot::Ready(_, hosted) = slot {
            hosted.resign(self.now());
        }
    }

    /// Reads the partition until that succeeds, or this broker does not lead it any more.
    ///
    /// Kafka goes on without the groups when a log cannot be read, and their members begin again from nowhere; here they wait.
    async fn load(self: Arc<Self>, partition: i32) {
        loop {
            let begun = Instant::now();
            let is_wanted = || matches!(self.slots.read().get(&partition), Some(Slot::Loading(..)));
            if !is_wanted() {
                return;
            }
            match self.try_load(partition).await {
                Ok(hosted) => {
                    let mut slots = self.slots.write();
                    let Some(slot @ Slot::Loading(..)) = slots.get_mut(&partition) else {
                        return;
                    };
                    if let Slot::Loading(_, ended) = slot {
                        // Their markers may have come behind what was read; those that were read change nothing more.
                        hosted.transactions_ended(ended, self.now());
                    }
                    *slot = Slot::Ready(slot.epoch(), Arc::clone(&hosted));
                    drop(slots);
                    let took_ms = begun.elapsed().as_millis();
                    info!(
                        partition,
                        groups = hosted.list().len(),
                        took_ms,
                        "finished loading groups"
                    );
                    hosted.start();
                    return;
                }
                Err(LoadError::NotLeader) => {
                    warn!(partition, "groups not loaded: no longer leader of the partition");
                }
                Err(cause) => error!(partition, %cause, "groups not loaded, will be tried again"),
            }
            tokio::time::sleep(LOAD_RETRY).await;
        }
    }

    async fn try_load(&self, partition: i32) -> Result<Arc<Hosted>, LoadError> {
        if self.partition_count.load(Ordering::Acquire) == 0 {
            let count = internal_topic::partition_count(&self.store, GROUP_METADATA_TOPIC).await?;
            self.partition_count.store(count, Ordering::Release);
        }
        let name = TopicPartition::new(GROUP_METADATA_TOPIC, partition);
        let replica = self
            .partitions
            .get(&name.topic, partition, || true)
            .map_err(|_not_here| LoadError::NotLeader)?;
        let log = replica
            .leader_log(LeaderEpoch::NONE)
            .map_err(|_not_leader| LoadError::NotLeader)?;
        let loader = if log.log_start_offset() == log.log_end_offset() {
            Loader::new()
        } else {
            // The semaphore is never closed; were it, reading more at a time would do no harm.
            let _one_of_few = self.loads.acquire().await;
            let buffer = usize::try_from(self.config.load().offsets_load_buffer_size).unwrap_or(0);
            crate::blocking::run(move || loading::read(&log, buffer)).await?
        };
        let groups = loader.finish(self.group_config(), self.now());
        Ok(Hosted::new(groups, replica, self.host()))
    }

    fn host(&self) -> hosted::Host {
        hosted::Host {
            config: Arc::clone(&self.config),
            partitions: Arc::clone(&self.partitions),
            origin: self.origin,
            runtime: self.runtime.clone(),
        }
    }

    fn group_config(&self) -> GroupConfig {
        let config = self.config.load();
        let size = |value: i32| usize::try_from(value).unwrap_or(0);
        GroupConfig {
            min_session_timeout: Millis(config.group_min_session_timeout_ms.into()),
            max_session_timeout: Millis(config.group_max_session_timeout_ms.into()),
            initial_rebalance_delay: Millis(config.group_initial_rebalance_delay_ms.into()),
            max_size: size(config.group_max_size),
            offset_metadata_max_bytes: size(config.offset_metadata_max_bytes),
            offsets_retention: Millis(i64::from(config.offsets_retention_minutes) * 60_000),
            offsets_retention_check_interval: Millis(config.offsets_retention_check_interval_ms),
        }
    }

    fn now(&self) -> Now {
        now(self.origin)
    }
}

fn now(origin: Instant) -> Now {
    Now {
        wall: clock::now(),
        steady: Millis(i64::try_from(origin.elapsed().as_millis()).unwrap_or(i64::MAX)),
    }
}
