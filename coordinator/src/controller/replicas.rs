//! Replicas come, go offline, and are deleted.
//!
//! Decides what each move of a replica means for the in-sync set and for its broker. What it is moved for (a dead broker,
//! a reassignment, a deletion) is its callers' business.
//!
//! Invariants: the last member of an in-sync set stays in it, with leader −1; a replica that leaves the in-sync set leaves
//! it in ZooKeeper before any broker hears of it. Source: Kafka 3.9 `ReplicaStateMachine`.

use std::collections::BTreeMap;

use model::{BrokerId, TopicPartition};

use super::active::{Active, CannotGoOn};
use super::event::Effect;
use super::image::Replica;
use super::leader::Written;
use super::replica_state::ReplicaState;

impl Active {
    /// Moves replicas to a state and tells the brokers. A move that does not exist is logged and left out.
    pub(super) async fn move_replicas(&mut self, replicas: &[Replica], to: ReplicaState) -> Result<(), CannotGoOn> {
        self.prepare_replicas(replicas, to).await?;
        self.send_batch();
        Ok(())
    }

    /// As [`Active::move_replicas`], but what the brokers are to be told is only gathered.
    pub(super) async fn prepare_replicas(&mut self, replicas: &[Replica], to: ReplicaState) -> Result<(), CannotGoOn> {
        let mut by_broker: BTreeMap<BrokerId, Vec<TopicPartition>> = BTreeMap::new();
        for (partition, broker) in replicas {
            let from = self.image.replica_state(partition, *broker);
            if to.valid_previous().contains(&from) {
                by_broker.entry(*broker).or_default().push(partition.clone());
            } else {
                tracing::error!(%partition, replica = %broker, ?from, ?to, "no such move of a replica");
            }
        }
        for (broker, partitions) in by_broker {
            match to {
                ReplicaState::New => self.start_new(broker, &partitions),
                ReplicaState::Online => self.start(broker, &partitions),
                ReplicaState::Offline => self.take_offline(broker, partitions).await?,
                ReplicaState::DeletionStarted => {
                    for partition in &partitions {
                        self.set_replica_state(partition, broker, to);
                        self.batch.stop(&self.image, broker, partition, true);
                    }
                }
                ReplicaState::DeletionIneligible | ReplicaState::DeletionSuccessful => {
                    for partition in &partitions {
                        self.set_replica_state(partition, broker, to);
                    }
                }
                ReplicaState::NonExistent => {
                    for partition in &partitions {
                        self.image.remove_replica(partition, broker);
                    }
                }
            }
        }
        Ok(())
    }

    fn set_replica_state(&mut self, partition: &TopicPartition, broker: BrokerId, state: ReplicaState) {
        let moved = self.image.move_replica(partition, broker, state);
        debug_assert!(
            moved,
            "the move of {partition} on {broker} to {state:?} was checked before"
        );
    }

    fn start_new(&mut self, broker: BrokerId, partitions: &[TopicPartition]) {
        for partition in partitions {
            match self.image.leadership(partition) {
                Some(leadership) if leadership.leader == broker => {
                    tracing::error!(%partition, replica = %broker, "a new replica cannot be the leader");
                    continue;
                }
                Some(_) => self.batch.lead_or_follow(&self.image, &[broker], partition, true),
                None => {}
            }
            self.set_replica_state(partition, broker, ReplicaState::New);
        }
    }

    fn start(&mut self, broker: BrokerId, partitions: &[TopicPartition]) {
        for partition in partitions {
            // A new replica has been told when it became new.
            let was_new = self.image.replica_state(partition, broker) == ReplicaState::New;
            if !was_new && self.image.leadership(partition).is_some() {
                self.batch.lead_or_follow(&self.image, &[broker], partition, false);
            }
            self.set_replica_state(partition, broker, ReplicaState::Online);
        }
    }

    /// Stops the replicas, takes them out of the in-sync sets, and tells the other replicas of sets that have changed.
    ///
    /// Kafka repeats to them also what has not: they know that leader epoch, and ignore it.
    async fn take_offline(&mut self, broker: BrokerId, partitions: Vec<TopicPartition>) -> Result<(), CannotGoOn> {
        for partition in &partitions {
            self.batch.stop(&self.image, broker, partition, false);
        }
        let (with, without): (Vec<_>, Vec<_>) = partitions
            .into_iter()
            .partition(|partition| self.image.leadership(partition).is_some());
        for (partition, changed) in self.leave_isr(broker, with).await? {
            if self.image.is_being_deleted(&partition.topic) {
                // Everybody knows that it has no leader any more.
            } else if changed {
                let mut others = self.image.replicas(&partition).to_vec();
                others.retain(|id| *id != broker);
                self.batch.lead_or_follow(&self.image, &others, &partition, false);
            } else {
                self.batch
                    .update_metadata(self.image.live_or_shutting_down(), [partition.clone()]);
            }
            self.set_replica_state(&partition, broker, ReplicaState::Offline);
        }
        for partition in without {
            self.batch
                .update_metadata(self.image.live_or_shutting_down(), [partition.clone()]);
            self.set_replica_state(&partition, broker, ReplicaState::Offline);
        }
        Ok(())
    }

    /// Takes a broker out of the in-sync sets. Returns the partitions whose in-sync set is now right, and whether it has
    /// changed, which it has not where the broker was no member; not those that could not be written.
    ///
    /// The last member stays, because it alone holds what was acknowledged; the partition just has no leader.
    pub(super) async fn leave_isr(
        &mut self,
        broker: BrokerId,
        partitions: Vec<TopicPartition>,
    ) -> Result<Vec<(TopicPartition, bool)>, CannotGoOn> {
        let mut done = Vec::with_capacity(partitions.len());
        let mut todo = partitions;
        while !todo.is_empty() {
            let mut writes = Vec::new();
            for partition in todo {
                let Some(leadership) = self.image.leadership(&partition) else {
                    continue;
                };
                if leadership.controller_epoch > self.image.epoch {
                    tracing::error!(%partition, "its state was written by a newer controller");
                } else if leadership.isr.contains(&broker) {
                    let mut next = leadership.clone();
                    if next.leader == broker {
                        next.leader = BrokerId::NONE;
                    }
                    if next.isr.len() > 1 {
                        next.isr.retain(|id| *id != broker);
                    }
                    next.leader_epoch = next.leader_epoch.next();
                    writes.push((partition, next));
                } else {
                    done.push((partition, false));
                }
            }
            let written: Vec<_> = writes.iter().map(|(partition, _)| partition.clone()).collect();
            let outcomes = self.write_leaderships(writes).await;
            let mut again = Vec::new();
            for (partition, outcome) in written.into_iter().zip(outcomes) {
                match outcome {
                    Written::Ok => done.push((partition, true)),
                    Written::Conflict => again.push(partition),
                    Written::Failed(reason) => {
                        tracing::error!(%partition, replica = %broker, reason, "replica cannot leave the in-sync set");
                    }
                }
            }
            self.refresh(&again).await?;
            todo = again;
        }
        done.sort();
        Ok(done)
    }

    /// What to do when replicas have gone offline, with their broker or their log directory: new leaders where the leader
    /// is gone, smaller in-sync sets elsewhere, and a halt for deletions.
    ///
    /// Source: Kafka 3.9 `KafkaController.onReplicasBecomeOffline`.
    pub(super) async fn replicas_gone_offline(&mut self, replicas: Vec<Replica>) -> Result<(), CannotGoOn> {
        let (deleting, staying): (Vec<_>, Vec<_>) = replicas
            .into_iter()
            .partition(|(partition, _)| self.image.is_being_deleted(&partition.topic));
        let leaderless = self.image.partitions_with_offline_leader();
        self.move_partitions(&leaderless, super::partition_state::PartitionState::Offline);
        let elections = self.elect_offline(None).await?;
        self.move_replicas(&staying, ReplicaState::Offline).await?;
        if !deleting.is_empty() {
            self.replica_deletion_failed(deleting).await?;
        }
        // Where neither a leader nor an in-sync set has changed, nobody has been told yet that a broker is gone.
        if staying.is_empty() && elections.values().all(Result::is_err) {
            self.send_metadata(self.image.live_or_shutting_down(), []);
        }
        Ok(())
    }

    /// Closes the channels of brokers that are gone.
    pub(super) fn disconnect(&self, brokers: &[BrokerId]) {
        for broker in brokers {
            self.port.emit(Effect::Disconnect(*broker));
        }
    }
}
