//! Copying from the leaders of the partitions that are followed here.
//!
//! One task for each leader and fetcher id, with one connection and one request on its way; a partition belongs to the
//! fetcher that its hash picks. Which partitions are followed the controller says ([`FollowChange`]); what is asked and
//! what is done to the logs is decided by [`broker_replica::follower`]. This room moves bytes between the two.
//!
//! Does not wait for anything when told of a change: a fetcher takes it up between two requests, or while one waits.
//! Nothing fetched from a former leader can reach a log meanwhile, because a log is only changed under its role.
//!
//! Source: Kafka 3.9 `AbstractFetcherManager`, `ReplicaFetcherManager`.

mod fetcher;
mod local_logs;
mod moves;
mod request;

use std::sync::{Arc, Weak};

use broker_replica::follower::FetcherConfig;
use hashbrown::{HashMap, HashSet};
use model::{BrokerId, LeaderEpoch, Millis, TopicId, TopicPartition};
use parking_lot::Mutex;
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tracing::info;

use crate::Broker;
use crate::partition::FollowChange;
use crate::vital::vital;

use fetcher::FetcherTask;
use local_logs::BrokerLogs;
use moves::LogDirMoves;

/// Which fetcher: of which leader, and which of its `num.replica.fetchers`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct FetcherKey {
    leader: BrokerId,
    fetcher_id: u32,
}

/// What a fetcher is told.
#[derive(Debug)]
enum Command {
    Follow(Vec<Followed>),
    Cease(Vec<TopicPartition>),
}

#[derive(Clone, Debug)]
struct Followed {
    partition: TopicPartition,
    topic_id: Option<TopicId>,
    leader_epoch: LeaderEpoch,
}

struct Running {
    commands: mpsc::UnboundedSender<Command>,
    task: JoinHandle<()>,
}

/// Which fetchers there are, and which follows what.
#[derive(Default)]
struct Fetchers {
    running: HashMap<FetcherKey, Running>,
    followed: HashMap<TopicPartition, (FetcherKey, Followed)>,
    /// `num.replica.fetchers` as it was when partitions were last spread.
    per_leader: u32,
    stopped: bool,
}

/// The replica fetchers of a broker.
pub struct Replication {
    broker: Weak<Broker>,
    runtime: Handle,
    fetchers: Mutex<Fetchers>,
    /// Given up until the controller speaks of them again. Source: Kafka `FailedPartitions`.
    failed: Mutex<HashSet<TopicPartition>>,
    moves: Arc<LogDirMoves>,
}

impl Replication {
    /// Without fetchers: they come with the partitions. On the current runtime.
    pub fn new(broker: &Arc<Broker>) -> Arc<Self> {
        Arc::new(Self {
            broker: Arc::downgrade(broker),
            runtime: Handle::current(),
            fetchers: Mutex::default(),
            failed: Mutex::default(),
            moves: LogDirMoves::new(broker),
        })
    }

    /// Takes up what the controller has said. Never waits.
    pub fn apply(self: &Arc<Self>, changes: Vec<FollowChange>) {
        let Some(broker) = self.broker.upgrade() else { return };
        let mut fetchers = self.fetchers.lock();
        if fetchers.stopped {
            return;
        }
        let per_leader = u32::try_from(broker.config.load().num_replica_fetchers)
            .unwrap_or(1)
            .max(1);
        let mut told = Told::default();
        if fetchers.per_leader != per_leader {
            fetchers.spread(per_leader, &mut told);
        }
        {
            let mut failed = self.failed.lock();
            for change in changes {
                match change {
                    FollowChange::Move(partition) => self.moves.start(partition),
                    FollowChange::Cease(partition) => {
                        failed.remove(&partition);
                        fetchers.cease(&partition, &mut told);
                    }
                    FollowChange::Follow {
                        partition,
                        topic_id,
                        leader,
                        leader_epoch,
                    } => {
                        failed.remove(&partition);
                        let followed = Followed {
                            partition,
                            topic_id,
                            leader_epoch,
                        };
                        fetchers.follow(leader, followed, &mut told);
                    }
                }
            }
        }
        self.tell(&mut fetchers, told, &broker);
    }

    /// Spreads partitions anew whenever `num.replica.fetchers` changes. Does not end.
    pub async fn follow_config(self: Arc<Self>) {
        let Some(mut changes) = self.broker.upgrade().map(|broker| broker.config.changes()) else {
            return;
        };
        while changes.changed().await.is_ok() {
            self.apply(Vec::new());
        }
    }

    /// Ends all fetchers and moves; none starts afterwards.
    pub async fn shutdown(&self) {
        self.moves.shutdown().await;
        let running = {
            let mut fetchers = self.fetchers.lock();
            fetchers.stopped = true;
            fetchers.followed.clear();
            core::mem::take(&mut fetchers.running)
        };
        let tasks: Vec<_> = running.into_values().map(|running| running.task).collect();
        for task in tasks {
            // Its commands have ended, which ends it. A panic was reported where it was noticed.
            let _ = task.await;
        }
    }

    /// Partitions that are not fetched although they are followed here, for want of a new word of the controller.
    pub fn failed_partitions(&self) -> Vec<TopicPartition> {
        self.failed.lock().iter().cloned().collect()
    }

    fn mark_failed(&self, partition: &TopicPartition) {
        tracing::warn!(%partition, "partition marked as failed");
        self.failed.lock().insert(partition.clone());
    }

    fn tell(self: &Arc<Self>, fetchers: &mut Fetchers, told: Told, broker: &Arc<Broker>) {
        for (key, partitions) in told.cease {
            if let Some(running) = fetchers.running.get(&key) {
                // A fetcher that has ended has nothing to cease.
                let _ = running.commands.send(Command::Cease(partitions));
            }
        }
        for (key, followed) in told.follow {
            let followed: Vec<_> = followed.into_values().collect();
            let ended = fetchers.running.get(&key).is_none_or(|it| it.task.is_finished());
            if ended {
                let running = self.start(key, broker);
                fetchers.running.insert(key, running);
            }
            if let Some(running) = fetchers.running.get(&key) {
                info!(leader = %key.leader, fetcher_id = key.fetcher_id, partitions = ?brief(&followed), "added to fetcher");
                let _ = running.commands.send(Command::Follow(followed));
            }
        }
    }

    fn start(self: &Arc<Self>, key: FetcherKey, broker: &Arc<Broker>) -> Running {
        let (commands, received) = mpsc::unbounded_channel();
        let task = FetcherTask::new(key, Arc::clone(self), Arc::clone(broker), received);
        let task = self.runtime.spawn(vital("replica fetcher", task.run()));
        Running { commands, task }
    }
}

/// The first few, for a log line.
fn brief(followed: &[Followed]) -> String {
    use core::fmt::Write;
    let mut text = String::new();
    for it in followed.iter().take(20) {
        let comma = if text.is_empty() { "" } else { ", " };
        let _ = write!(text, "{comma}{} (epoch {})", it.partition, it.leader_epoch);
    }
    if followed.len() > 20 {
        let _ = write!(text, " and {} more", followed.len() - 20);
    }
    text
}

/// What is to be sent to which fetcher.
#[derive(Default)]
struct Told {
    cease: HashMap<FetcherKey, Vec<TopicPartition>>,
    follow: HashMap<FetcherKey, HashMap<TopicPartition, Followed>>,
}

impl Fetchers {
    fn cease(&mut self, partition: &TopicPartition, told: &mut Told) {
        if let Some((key, _)) = self.followed.remove(partition) {
            // What was only about to be followed within the same request is not.
            if let Some(about_to) = told.follow.get_mut(&key) {
                about_to.remove(partition);
            }
            told.cease.entry(key).or_default().push(partition.clone());
        }
    }

    fn follow(&mut self, leader: BrokerId, followed: Followed, told: &mut Told) {
        let partition = followed.partition.clone();
        if leader.0 < 0 {
            // Nobody leads: there is nobody to ask.
            return self.cease(&partition, told);
        }
        let key = FetcherKey {
            leader,
            fetcher_id: fetcher_id(&partition, self.per_leader),
        };
        if self.followed.get(&partition).is_some_and(|(before, _)| *before != key) {
            self.cease(&partition, told);
        }
        self.followed.insert(partition.clone(), (key, followed.clone()));
        told.follow.entry(key).or_default().insert(partition, followed);
    }

    /// Moves every partition to the fetcher that its hash picks among the new number.
    fn spread(&mut self, per_leader: u32, told: &mut Told) {
        if self.per_leader != 0 {
            info!(
                from = self.per_leader,
                to = per_leader,
                "num.replica.fetchers has changed"
            );
        }
        self.per_leader = per_leader;
        let all: Vec<_> = self
            .followed
            .values()
            .map(|(key, followed)| (key.leader, followed.clone()))
            .collect();
        for (leader, followed) in all {
            let fetcher_id = fetcher_id(&followed.partition, per_leader);
            let stays = self
                .followed
                .get(&followed.partition)
                .is_some_and(|(key, _)| key.fetcher_id == fetcher_id);
            if !stays {
                self.follow(leader, followed, told);
            }
        }
    }
}

/// Which fetcher of a leader a partition belongs to. Source: Kafka `AbstractFetcherManager.getFetcherId`.
fn fetcher_id(partition: &TopicPartition, per_leader: u32) -> u32 {
    let java_hash = |text: &str| {
        text.encode_utf16()
            .fold(0i32, |hash, unit| hash.wrapping_mul(31).wrapping_add(i32::from(unit)))
    };
    let hash = java_hash(&partition.topic)
        .wrapping_mul(31)
        .wrapping_add(partition.partition);
    let positive = if hash == i32::MIN { 0 } else { hash.unsigned_abs() };
    positive % per_leader.max(1)
}

/// What the core goes by.
fn fetcher_config(broker: &Broker) -> FetcherConfig {
    let config = broker.config.load();
    let protocol = crate::controller::inter_broker_protocol(&config);
    FetcherConfig {
        truncate_on_fetch: protocol.truncate_on_fetch,
        sessions: protocol.fetch >= 7,
        topic_ids: protocol.fetch >= 13,
        fetch_backoff: Millis(i64::from(config.replica_fetch_backoff_ms)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn partitions_are_spread_by_kafkas_hash() {
        let check = |topic: &str, partition, fetchers, expected| {
            assert_eq!(
                fetcher_id(&TopicPartition::new(topic, partition), fetchers),
                expected,
                "{topic}"
            );
        };
        //     topic     partition fetchers  31 × hashCode + partition
        check("", 5, 3, 2);
        check("a", 0, 10, 7); //             97 × 31 = 3007
        check("orders", 0, 1, 0);
        check("orders", 1, 4, 0);
        check("orders", 5, 7, 1);
        check("__consumer_offsets", 49, 16, 6);
    }
}
