//! The controller: who leads each partition, and what every broker must be told.
//!
//! Pure: [`Controller::step`] takes one [`Event`] and returns the [`Effect`]s; no clock, no I/O, no randomness but a seed.
//! It reads and writes ZooKeeper through effects, acts on their outcome, which is another event, and tells brokers
//! only what ZooKeeper has acknowledged. It does not race for `/controller` and knows no sessions, connections or
//! request versions: that is its shell's business (`coordinator/service`).
//!
//! Events are worked off one at a time and to the end, as in Kafka's `ControllerEventManager`: what arrives while
//! ZooKeeper is being waited for queues up. Only [`Event::Resigned`] overtakes, and drops everything.
//!
//! Invariants: a LeaderAndIsr goes out in reply to a successful write, never in hope of it; every write is fenced by
//! `/controller_epoch`; a leader is always a member of the in-sync set it is written with; after `Resigned` nothing but
//! refusals come out until the next `Elected`; every question gets exactly one answer.

mod active;
mod batch;
mod broker_change;
mod command;
mod election;
mod event;
mod image;
mod isr;
mod leader;
mod notification;
mod partition_state;
mod port;
mod preferred;
mod producer_ids;
mod reassign;
mod replica_state;
mod replicas;
mod shutdown;
mod startup;
mod topic_deletion;
mod topics;
mod znodes;

#[cfg(test)]
mod tests;

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Waker};

use model::{BrokerId, Millis};

pub use command::{
    Addressed, BrokerCommand, BrokerReply, LeaderAndIsr, LeaderAndIsrPartition, LiveBroker, StopReplica,
    StopReplicaPartition, UpdateMetadata, UpdateMetadataPartition,
};
pub use election::{Elected, offline_leader, preferred_leader, reassignment_leader, shutdown_leader};
pub use event::{
    Answer, Ask, AskId, Channel, Effect, Event, Gauges, IsrAccepted, IsrProposal, Read, Refusal, Reply, RequestId,
    TopicRef,
};
pub use image::{Assignment, Endpoint, Leadership};
pub use partition_state::PartitionState;
pub use replica_state::ReplicaState;

use active::Active;
use port::Port;

/// What the controller must be told once.
#[derive(Clone, Debug)]
pub struct Config {
    /// The id under which it was elected.
    pub id: BrokerId,
    /// Topics have ids, and those without one are given one (inter.broker.protocol.version ≥ 2.8).
    pub topic_ids: bool,
    /// A leader may be marked as recovering (inter.broker.protocol.version ≥ 3.2).
    pub leader_recovery: bool,
    /// `/feature` is enabled (inter.broker.protocol.version ≥ 2.7).
    pub feature_versioning: bool,
    /// `delete.topic.enable`.
    pub delete_topic_enable: bool,
    /// `unclean.leader.election.enable`, the default for topics that do not say.
    pub unclean_leader_election_enable: bool,
    /// `auto.leader.rebalance.enable`.
    pub auto_leader_rebalance_enable: bool,
    /// `leader.imbalance.per.broker.percentage`.
    pub leader_imbalance_per_broker_percentage: i32,
    /// Where the ids of topics without one come from; as random as ids should be.
    pub seed: [u8; 16],
}

/// The controller's deciding part. See the module.
pub struct Controller {
    config: Config,
    port: Port,
    active: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
}

impl Controller {
    /// A controller that has not been elected.
    pub fn new(config: Config) -> Self {
        Self {
            config,
            port: Port::default(),
            active: None,
        }
    }

    /// Takes one event, at `now`; returns what is to be done, in order.
    pub fn step(&mut self, event: Event, now: Millis) -> Vec<Effect> {
        self.port.with(|mail| mail.now = now);
        match event {
            Event::Elected { epoch } => {
                self.withdraw();
                let active = Active::new(self.config.clone(), epoch, self.port.clone());
                self.active = Some(Box::pin(active.run()));
            }
            Event::Resigned => self.withdraw(),
            Event::Answered(id, answers) => self.port.with(|mail| {
                // An answer to a request from before a resignation is nobody's.
                if let Some((waiting, slot)) = &mut mail.waiting
                    && *waiting == id
                {
                    *slot = Some(answers);
                }
            }),
            Event::Asked(ask, _) if self.active.is_none() => {
                self.port.emit(Effect::Answer(ask, Err(Refusal::NotController)));
            }
            event => self.port.with(|mail| {
                if let Event::Asked(ask, _) = &event {
                    mail.open.insert(*ask);
                }
                mail.inbox.push_back(event);
            }),
        }
        if let Some(active) = &mut self.active
            && active.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_ready()
        {
            // It gave up, and has said so with `Effect::Resign`.
            self.withdraw();
        } else if self.active.is_none() {
            self.port.with(|mail| mail.inbox.clear());
        }
        self.port.with(|mail| std::mem::take(&mut mail.effects))
    }

    /// Drops all that was going on and refuses what was asked.
    fn withdraw(&mut self) {
        self.active = None;
        self.port.with(|mail| {
            mail.inbox.clear();
            mail.waiting = None;
            for ask in std::mem::take(&mut mail.open) {
                mail.effects.push(Effect::Answer(ask, Err(Refusal::NotController)));
            }
        });
    }
}

impl std::fmt::Debug for Controller {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Controller")
            .field("config", &self.config)
            .field("active", &self.active.is_some())
            .finish_non_exhaustive()
    }
}
