//! The transaction coordinator of this broker: a core (`coordinator::transaction`) for each `__transaction_state`
//! partition led here.
//!
//! Finds the core that is responsible for a transactional id, hands it requests under its short lock, and performs what it
//! decides: appends to the partition in the order of the decisions, markers to the leaders of a transaction's
//! partitions, answers, timers. Decides nothing about transactions itself.
//!
//! When this broker becomes leader of such a partition, the partition's log is read into a new core, and until then its
//! ids are answered COORDINATOR_LOAD_IN_PROGRESS; when it ceases to lead, whoever waits is answered NOT_COORDINATOR and
//! markers that wait are forgotten: the next coordinator reads from the log that they are owed.
//!
//! The epoch of a coordinator is the leader epoch at which it began to lead, also when it is elected again without a break.
//!
//! Invariants: no lock is held across an await; a core's appends reach the log in the order in which it decided them; what
//! depends on an append happens once it is replicated to all in-sync replicas.
//! Source: Kafka 3.9 `TransactionCoordinator`, `TransactionStateManager`; KIP-98.

mod hosted;
mod loading;
mod requests;
mod routing;
mod senders;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock, Weak};

use coordinator::transaction::{Loader, Now, TransactionConfig, TransactionError, partition_for};
use model::{LeaderEpoch, Millis, TRANSACTION_STATE_TOPIC, TopicPartition};
use parking_lot::RwLock;
use tokio::runtime::Handle;
use tokio::sync::Semaphore;
use tokio::time::Instant;
use tracing::{error, info, warn};
use zk_schema_store::Store;

use crate::config::ConfigHandle;
use crate::delayed::Waiter;
use crate::internal_topic::{self, LOAD_RETRY, LOADS_AT_ONCE, LoadError};
use crate::partition::{LeadershipChange, Partitions};
use crate::vital::vital;
use crate::{Broker, clock};

pub use requests::Verified;

use hosted::Hosted;
use senders::Senders;

/// All transactional ids that this broker coordinates.
pub struct TransactionCoordinator {
    config: Arc<ConfigHandle>,
    store: Store,
    partitions: Arc<Partitions>,
    /// By partition of `__transaction_state`.
    slots: RwLock<HashMap<i32, Slot>>,
    /// How many partitions `__transaction_state` has; 0 while nobody knows.
    partition_count: AtomicI32,
    next_ticket: AtomicU64,
    loads: Semaphore,
    /// From before the first leadership on, but not in tests of other rooms.
    senders: OnceLock<Arc<Senders>>,
    is_stopped: AtomicBool,
    /// The steady clock counts from here.
    origin: Instant,
    runtime: Handle,
    this: Weak<Self>,
}

/// What there is of a partition of `__transaction_state`.
enum Slot {
    /// This broker leads it and is reading it.
    Loading {
        /// When it began to lead.
        begun: LeaderEpoch,
        /// Now.
        epoch: LeaderEpoch,
    },
    /// This broker leads it and knows its transactions.
    Ready {
        /// Now.
        epoch: LeaderEpoch,
        hosted: Arc<Hosted>,
    },
}

impl Slot {
    fn epoch(&self) -> LeaderEpoch {
        match self {
            Self::Loading { epoch, .. } | Self::Ready { epoch, .. } => *epoch,
        }
    }

    fn is_loading_since(&self, elected: LeaderEpoch) -> bool {
        matches!(self, Self::Loading { begun, .. } if *begun == elected)
    }
}

impl TransactionCoordinator {
    /// A coordinator without transactions: leadership brings them. To be made within the runtime that its tasks shall run on.
    pub fn new(config: Arc<ConfigHandle>, store: Store, partitions: Arc<Partitions>) -> Arc<Self> {
        Arc::new_cyclic(|this| Self {
            config,
            store,
            partitions,
            slots: RwLock::default(),
            partition_count: AtomicI32::new(0),
            next_ticket: AtomicU64::new(0),
            loads: Semaphore::new(LOADS_AT_ONCE),
            senders: OnceLock::new(),
            is_stopped: AtomicBool::new(false),
            origin: Instant::now(),
            runtime: Handle::current(),
            this: Weak::clone(this),
        })
    }

    /// Gives it the means to reach other brokers. Called once, before the first leadership; another call does nothing.
    pub fn connect(&self, broker: &Arc<Broker>) {
        self.senders.get_or_init(|| Arc::new(Senders::new(broker)));
    }

    /// The leader of which partition of `__transaction_state` coordinates the id.
    pub fn partition_for(&self, transactional_id: &str) -> i32 {
        let known = self.partition_count.load(Ordering::Acquire);
        let count = if known > 0 {
            known
        } else {
            self.config.load().transaction_state_log_num_partitions
        };
        partition_for(transactional_id, count)
    }

    /// Asks ZooKeeper how many partitions `__transaction_state` has, if that is not known yet. If it cannot be asked the
    /// configuration has to do, as for a topic that is about to be created.
    pub async fn learn_partition_count(&self) {
        if self.partition_count.load(Ordering::Acquire) > 0 {
            return;
        }
        match internal_topic::partition_count(&self.store, TRANSACTION_STATE_TOPIC).await {
            Ok(count) => self.partition_count.store(count, Ordering::Release),
            Err(cause) => warn!(%cause, "number of partitions of the topic of transactions not learnt"),
        }
    }

    /// The core of the id.
    ///
    /// # Errors
    /// COORDINATOR_LOAD_IN_PROGRESS or NOT_COORDINATOR.
    fn find(&self, transactional_id: &str) -> Result<Arc<Hosted>, TransactionError> {
        match self.slots.read().get(&self.partition_for(transactional_id)) {
            None => Err(TransactionError::NotCoordinator),
            Some(Slot::Loading { .. }) => Err(TransactionError::CoordinatorLoadInProgress),
            Some(Slot::Ready { hosted, .. }) => Ok(Arc::clone(hosted)),
        }
    }

    /// All cores, unless one is still being loaded.
    fn all_ready(&self) -> Option<Vec<Arc<Hosted>>> {
        let slots = self.slots.read();
        slots
            .values()
            .map(|slot| match slot {
                Slot::Ready { hosted, .. } => Some(Arc::clone(hosted)),
                Slot::Loading { .. } => None,
            })
            .collect()
    }

    /// Sends everybody away: the broker stops.
    pub fn shut_down(&self) {
        self.is_stopped.store(true, Ordering::Release);
        let slots = core::mem::take(&mut *self.slots.write());
        for slot in slots.into_values() {
            if let Slot::Ready { hosted, .. } = slot {
                hosted.resign(self.now());
            }
        }
        if let Some(senders) = self.senders.get() {
            senders.shut_down();
        }
    }

    // Leadership

    /// Partitions have begun or ceased to be led here. Returns at once; loading goes on behind.
    pub fn leadership_changed(&self, changes: &[LeadershipChange]) {
        for change in changes
            .iter()
            .filter(|change| &*change.partition.topic == TRANSACTION_STATE_TOPIC)
        {
            let partition = change.partition.partition;
            match change.leader_epoch {
                Some(epoch) if change.is_leader => self.begin(partition, epoch),
                epoch => self.end(partition, epoch),
            }
        }
    }

    fn begin(&self, partition: i32, elected: LeaderEpoch) {
        {
            let mut slots = self.slots.write();
            match slots.get_mut(&partition) {
                Some(slot) if slot.epoch() >= elected => return,
                // Elected again without a break: nobody else has written meanwhile.
                Some(Slot::Ready { epoch, .. } | Slot::Loading { epoch, .. }) => {
                    *epoch = elected;
                    return;
                }
                None if self.is_stopped.load(Ordering::Acquire) => return,
                None => slots.insert(
                    partition,
                    Slot::Loading {
                        begun: elected,
                        epoch: elected,
                    },
                ),
            };
        }
        info!(partition, epoch = %elected, "elected as transaction coordinator, loading transactions");
        let Some(this) = self.this.upgrade() else { return };
        let load = async move { this.load(partition, elected).await };
        self.runtime.spawn(vital("transaction loader", load));
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
        info!(partition, "resigned as transaction coordinator, unloading transactions");
        if let Slot::Ready { hosted, .. } = slot {
            hosted.resign(self.now());
        }
    }

    /// Whether the partition has been led here since then, and is being loaded.
    fn is_loading(&self, partition: i32, begun: LeaderEpoch) -> bool {
        let slots = self.slots.read();
        slots.get(&partition).is_some_and(|slot| slot.is_loading_since(begun))
    }

    /// Reads the partition until that succeeds, or this broker does not lead it any more.
    ///
    /// Kafka goes on without the transactions when a log cannot be read; here they wait.
    async fn load(self: Arc<Self>, partition: i32, begun: LeaderEpoch) {
        while self.is_loading(partition, begun) {
            let started = Instant::now();
            match self.try_load(partition, begun).await {
                Ok(hosted) => {
                    {
                        let mut slots = self.slots.write();
                        let Some(slot) = slots.get_mut(&partition).filter(|slot| slot.is_loading_since(begun)) else {
                            // Another leadership may have begun meanwhile; it reads for itself.
                            return;
                        };
                        *slot = Slot::Ready {
                            epoch: slot.epoch(),
                            hosted: Arc::clone(&hosted),
                        };
                    }
                    let took_ms = started.elapsed().as_millis();
                    info!(
                        partition,
                        coordinator_epoch = %begun,
                        ids = hosted.len(),
                        took_ms,
                        "finished loading transactions"
                    );
                    hosted.start();
                    return;
                }
                Err(LoadError::NotLeader) => {
                    warn!(partition, "transactions not loaded: no longer leader of the partition");
                }
                Err(cause) => error!(partition, %cause, "transactions not loaded, will be tried again"),
            }
            tokio::time::sleep(LOAD_RETRY).await;
        }
    }

    /// Also waits until all that was read is replicated: with too few in-sync replicas the ids stay loading. Kafka does not
    /// wait, and may act upon a decision that then is lost with this broker, and taken otherwise by the next.
    async fn try_load(&self, partition: i32, begun: LeaderEpoch) -> Result<Arc<Hosted>, LoadError> {
        if self.partition_count.load(Ordering::Acquire) == 0 {
            let count = internal_topic::partition_count(&self.store, TRANSACTION_STATE_TOPIC).await?;
            self.partition_count.store(count, Ordering::Release);
        }
        let name = TopicPartition::new(TRANSACTION_STATE_TOPIC, partition);
        let replica = self
            .partitions
            .get(&name.topic, partition, || true)
            .map_err(|_not_here| LoadError::NotLeader)?;
        let log = replica
            .leader_log(LeaderEpoch::NONE)
            .map_err(|_not_leader| LoadError::NotLeader)?;
        let max_batch_bytes = log.config().max_message_bytes;
        let loader = if log.log_start_offset() == log.log_end_offset() {
            Loader::new()
        } else {
            // The semaphore is never closed; were it, reading more at a time would do no harm.
            let one_of_few = self.loads.acquire().await;
            let buffer = usize::try_from(self.config.load().transaction_state_log_load_buffer_size).unwrap_or(0);
            let reading = Arc::clone(&log);
            let (loader, end) = crate::blocking::run(move || loading::read(&reading, buffer)).await?;
            drop(one_of_few);
            while log.high_watermark() < end {
                if !self.is_loading(partition, begun) {
                    return Err(LoadError::NotLeader);
                }
                let waiter = Waiter::new(1);
                let _place = replica.produces().join_from(&waiter, end.0);
                if log.high_watermark() < end {
                    waiter.wait(LOAD_RETRY).await;
                }
            }
            loader
        };
        let config = self.transaction_config(max_batch_bytes);
        let core = loader.finish(config, begun, self.now());
        let senders = self.senders.get().cloned();
        Ok(Hosted::new(core, replica, senders, self.host()))
    }

    fn host(&self) -> hosted::Host {
        hosted::Host {
            config: Arc::clone(&self.config),
            partitions: Arc::clone(&self.partitions),
            origin: self.origin,
            runtime: self.runtime.clone(),
        }
    }

    fn transaction_config(&self, max_batch_bytes: usize) -> TransactionConfig {
        let config = self.config.load();
        TransactionConfig {
            transactional_id_expiration: Millis(config.transactional_id_expiration_ms.into()),
            max_timeout: Millis(config.transaction_max_timeout_ms.into()),
            abort_timed_out_interval: Millis(
                config
                    .transaction_abort_timed_out_transaction_cleanup_interval_ms
                    .into(),
            ),
            remove_expired_interval: Millis(config.transaction_remove_expired_transaction_cleanup_interval_ms.into()),
            max_batch_bytes,
            // Of `transaction.version`, which a ZooKeeper cluster of 3.9 does not have.
            flexible_records: false,
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
