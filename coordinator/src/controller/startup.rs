//! What a controller does first: reads everything, tells everybody, and goes on where the one before stopped.
//!
//! The order is Kafka's, but that leaders are elected first. Watches are left before or with the first look at each thing, so that nothing falls between;
//! brokers are told of each other before they are told to lead or follow.
//! Source: Kafka 3.9 `KafkaController.onControllerFailover`.

use std::collections::BTreeSet;

use model::TopicPartition;
use zk_schema::Op;

use super::active::{Active, CannotGoOn};
use super::event::Answer;
use super::partition_state::PartitionState;
use super::replica_state::ReplicaState;
use super::znodes;

impl Active {
    pub(super) async fn take_over(&mut self) -> Result<(), CannotGoOn> {
        self.set_up_features().await?;
        self.discard_notes(znodes::LOG_DIR_EVENTS).await?;
        self.discard_notes(znodes::ISR_CHANGES).await?;
        self.load().await?;
        // Before deletions are looked at, because a leader may go with it.
        self.distrust_restarted().await?;
        self.load_deletions().await?;
        self.send_metadata(self.image.live_or_shutting_down(), []);

        let told = self.start_partitions().await?;
        self.start_replicas(&told).await?;
        tracing::info!(
            controller_epoch = %self.image.epoch,
            brokers = self.image.brokers.len(),
            topics = self.image.topics.len(),
            "ready to serve as the new controller"
        );
        let asked = self.legacy_reassignment_changed().await?;
        self.resume_reassignments_except(&asked).await?;
        self.resume_deletions().await?;
        self.legacy_election_changed().await
    }

    /// `/feature`: created, enabled or disabled as inter.broker.protocol.version wants it. Source: KIP-584.
    async fn set_up_features(&mut self) -> Result<(), CannotGoOn> {
        let enabled = self.config.feature_versioning;
        let write = match self.data(znodes::FEATURE, false).await? {
            None => Op::create(znodes::FEATURE, znodes::encode_feature(enabled)),
            Some((data, version, _)) => match znodes::decode_feature_enabled(&data) {
                Ok(is_enabled) if is_enabled == enabled => return Ok(()),
                Ok(_) => Op::set(znodes::FEATURE, znodes::encode_feature(enabled), Some(version)),
                Err(error) => return Err(CannotGoOn(format!("{} cannot be read: {error}", znodes::FEATURE))),
            },
        };
        match self.port.write(vec![write]).await.pop() {
            Some(Answer::Written { .. } | Answer::NodeExists) => Ok(()),
            other => Err(super::active::unexpected(znodes::FEATURE, other)),
        }
    }

    /// Brokers, topics, assignments, leaderships.
    async fn load(&mut self) -> Result<(), CannotGoOn> {
        self.image.brokers = self.read_brokers().await?;
        let names = self.children(znodes::TOPICS, true).await?;
        let topics = self.read_topics(names).await?;
        let partitions = self.adopt(topics).await;
        let written = self.read_states(&partitions).await?;
        self.note_restarts(partitions, written);
        let brokers: Vec<_> = self.image.brokers.keys().copied().collect();
        for broker in brokers {
            self.connect(broker);
        }
        Ok(())
    }

    /// Finds replicas in sync whose broker has registered anew since the in-sync set was written: no controller has acted
    /// on that restart, perhaps because the one before went with the broker.
    fn note_restarts(&mut self, partitions: Vec<TopicPartition>, written: Vec<i64>) {
        for (partition, written) in partitions.into_iter().zip(written) {
            let Some(leadership) = self.image.leadership(&partition) else {
                continue;
            };
            let (restarted, same): (Vec<_>, Vec<_>) = (leadership.isr.iter().copied())
                .filter(|id| self.image.is_live(*id))
                .partition(|id| {
                    self.image
                        .brokers
                        .get(id)
                        .is_some_and(|broker| broker.epoch.0 > written)
                });
            // Where nobody else is left, whoever restarted is as good as any other.
            if !same.is_empty() {
                for id in restarted {
                    self.restarted.entry(id).or_default().push(partition.clone());
                }
            }
        }
    }

    /// Takes restarted replicas out of the in-sync sets, as [`Active::brokers_changed`] does when it sees a restart: a broker
    /// whose machine failed with it may lack records that it had when it was let in, and must catch up before it is
    /// trusted with the leadership again. Kafka's controller does not look.
    async fn distrust_restarted(&mut self) -> Result<(), CannotGoOn> {
        for (broker, partitions) in std::mem::take(&mut self.restarted) {
            tracing::info!(%broker, partitions = partitions.len(), "broker has restarted unseen: it leaves the in-sync sets until it has caught up");
            self.leave_isr(broker, partitions).await?;
        }
        Ok(())
    }

    /// Deletions that were asked for, and which of them must wait.
    async fn load_deletions(&mut self) -> Result<(), CannotGoOn> {
        let asked = self.children(znodes::DELETE_TOPICS, true).await?;
        if !self.config.delete_topic_enable {
            self.delete_all(asked.iter().map(|topic| znodes::delete_topic(topic)).collect())
                .await;
            return Ok(());
        }
        for topic in asked {
            // Deleting one that is gone was the last step of an earlier controller that did not get there.
            if !self.image.topics.contains_key(&*topic) {
                self.delete_all(vec![znodes::topic_config(&topic), znodes::delete_topic(&topic)])
                    .await;
                continue;
            }
            self.queue_for_deletion(&topic);
            let replicas = self.image.replicas_of(&topic);
            if replicas
                .iter()
                .any(|(partition, id)| !self.image.is_online(*id, partition))
            {
                self.hold_deletion_up(&topic, "a replica is offline");
            }
        }
        Ok(())
    }

    /// Every partition starts as its leader is: there, gone, or never been. Those without get one. Returns those that
    /// brokers have been told of.
    ///
    /// This comes first because somebody waits for it. Kafka 3.9 first takes the replicas that are offline out of the in-sync
    /// sets, the dead leaders among them, and tells all brokers of partitions without a leader; here each partition is
    /// written once, and each broker told once.
    async fn start_partitions(&mut self) -> Result<BTreeSet<TopicPartition>, CannotGoOn> {
        let partitions: Vec<_> = self.image.all_partitions().map(|(partition, _)| partition).collect();
        for partition in partitions {
            let leader_online =
                (self.image.leadership(&partition)).map(|it| self.image.is_online(it.leader, &partition));
            if let Some(known) = self.image.partition_mut(&partition) {
                known.state = match leader_online {
                    Some(true) => PartitionState::Online,
                    Some(false) => PartitionState::Offline,
                    None => PartitionState::New,
                };
            }
        }
        let elections = self.elect_offline(None).await?;
        Ok(elections
            .into_iter()
            .filter_map(|(partition, elected)| elected.is_ok().then_some(partition))
            .collect())
    }

    /// Every replica starts where its broker is: online, or waiting. Those online are told, if they have not been; those
    /// that are not leave the in-sync sets.
    async fn start_replicas(&mut self, told: &BTreeSet<TopicPartition>) -> Result<(), CannotGoOn> {
        let partitions: Vec<_> = self.image.all_partitions().map(|(partition, _)| partition).collect();
        let (mut online, offline): (Vec<_>, Vec<_>) = (self.image.replicas_of_partitions(&partitions).into_iter())
            .partition(|(partition, id)| self.image.is_online(*id, partition));
        for (replicas, state) in [
            (&online, ReplicaState::Online),
            (&offline, ReplicaState::DeletionIneligible),
        ] {
            for (partition, id) in replicas {
                if let Some(known) = self.image.partition_mut(partition) {
                    known.replica_states.insert(*id, state);
                }
            }
        }
        online.retain(|(partition, _)| !told.contains(partition));
        self.prepare_replicas(&offline, ReplicaState::Offline).await?;
        self.prepare_replicas(&online, ReplicaState::Online).await?;
        self.send_batch();
        Ok(())
    }
}
