//! Brokers come, go, restart, and change where they listen: `/brokers/ids` and the znodes below it.
//!
//! Decides from ids and epochs who is new, gone or bounced. A broker that bounced between two looks is treated as gone and
//! then new, because its new life knows nothing of what its old one was told.
//! Source: Kafka 3.9 `KafkaController.processBrokerChange`, `onBrokerStartup`, `onBrokerFailure`, `onBrokerUpdate`.

use std::collections::{BTreeMap, BTreeSet};

use model::{BrokerEpoch, BrokerId};

use super::active::{Active, CannotGoOn};
use super::command::BrokerReply;
use super::event::{Channel, Effect};
use super::image::Broker;
use super::replica_state::ReplicaState;
use super::znodes;

/// NONE (0).
const NONE: i16 = 0;
/// KAFKA_STORAGE_ERROR (56): the replica's log directory has failed.
const KAFKA_STORAGE_ERROR: i16 = 56;

impl Active {
    /// `/brokers/ids` has other children.
    pub(super) async fn brokers_changed(&mut self) -> Result<(), CannotGoOn> {
        let mut current = self.read_brokers().await?;
        let known = &self.image.brokers;
        let mut new = Vec::new();
        let mut bounced = Vec::new();
        for (id, broker) in &current {
            match known.get(id) {
                None => new.push(*id),
                Some(before) if before.epoch < broker.epoch => bounced.push(*id),
                Some(_) => {}
            }
        }
        let dead: Vec<_> = known.keys().copied().filter(|id| !current.contains_key(id)).collect();
        if new.is_empty() && bounced.is_empty() && dead.is_empty() {
            return Ok(());
        }
        tracing::info!(?new, ?dead, ?bounced, live = ?current.keys(), "brokers changed");
        self.disconnect(&bounced);
        self.disconnect(&dead);
        if !new.is_empty() {
            self.add_brokers(&new, &mut current);
            self.brokers_started(&new).await?;
        }
        if !bounced.is_empty() {
            self.remove_brokers(&bounced);
            self.brokers_failed(&bounced).await?;
            self.add_brokers(&bounced, &mut current);
            self.brokers_started(&bounced).await?;
        }
        if !dead.is_empty() {
            self.remove_brokers(&dead);
            self.brokers_failed(&dead).await?;
        }
        Ok(())
    }

    /// A broker's znode has changed. A new life of it is the business of [`Active::brokers_changed`].
    pub(super) async fn broker_modified(&mut self, id: BrokerId) -> Result<(), CannotGoOn> {
        let Some((data, _, czxid)) = self.data(&znodes::broker(id), true).await? else {
            return Ok(());
        };
        let Some(known) = self.image.brokers.get_mut(&id) else {
            return Ok(());
        };
        if known.epoch != BrokerEpoch(czxid) {
            return Ok(());
        }
        match znodes::decode_broker(id, &data, czxid) {
            Ok(broker) if broker != *known => {
                *known = broker;
                self.connect(id);
                self.send_metadata(self.image.live_or_shutting_down(), []);
            }
            Ok(_) => {}
            Err(error) => tracing::error!(broker = %id, %error, "registration cannot be read: keeping the known one"),
        }
        Ok(())
    }

    /// All registered brokers, with watches on the list and on each of them.
    pub(super) async fn read_brokers(&self) -> Result<BTreeMap<BrokerId, Broker>, CannotGoOn> {
        let children = self.children(znodes::BROKER_IDS, true).await?;
        let ids: Vec<_> = children
            .iter()
            .filter_map(|name| name.parse().ok().map(BrokerId))
            .collect();
        let registrations = self
            .data_of(ids.iter().map(|id| znodes::broker(*id)).collect(), true)
            .await?;
        let mut brokers = BTreeMap::new();
        for (id, registration) in ids.into_iter().zip(registrations) {
            // Gone between the list and the read: the list's watch fires.
            let Some(found) = registration else { continue };
            match znodes::decode_broker(id, &found.data, found.czxid) {
                Ok(broker) => {
                    brokers.insert(id, broker);
                }
                // Null data is a registration halfway through its multi in no case; so it is somebody else's doing.
                Err(error) => tracing::error!(broker = %id, %error, "registration cannot be read: ignoring the broker"),
            }
        }
        Ok(brokers)
    }

    fn add_brokers(&mut self, ids: &[BrokerId], current: &mut BTreeMap<BrokerId, Broker>) {
        for id in ids {
            if let Some(broker) = current.remove(id) {
                self.image.brokers.insert(*id, broker);
                self.connect(*id);
            }
        }
    }

    fn remove_brokers(&mut self, ids: &[BrokerId]) {
        for id in ids {
            self.image.brokers.remove(id);
        }
    }

    /// Has a channel opened to a registered broker; one that is open to an earlier life, or elsewhere, is replaced.
    pub(super) fn connect(&self, id: BrokerId) {
        if let Some(broker) = self.image.brokers.get(&id) {
            self.port.emit(Effect::Connect(Channel {
                broker: id,
                broker_epoch: broker.epoch,
                endpoints: broker.endpoints.clone(),
            }));
        }
    }

    /// Tells the others of the new brokers and the new ones of everything, starts their replicas, and gives leaders to
    /// partitions that had none.
    async fn brokers_started(&mut self, new: &[BrokerId]) -> Result<(), CannotGoOn> {
        for id in new {
            self.image.offline_dirs.remove(id);
        }
        let others: Vec<_> = self
            .image
            .brokers
            .keys()
            .copied()
            .filter(|id| !new.contains(id))
            .collect();
        if !others.is_empty() {
            self.send_metadata(others, []);
        }
        self.send_metadata(new.to_vec(), self.image.partitions_with_leadership());
        let replicas = self.image.replicas_on(new);
        self.move_replicas(&replicas, ReplicaState::Online).await?;
        self.bring_offline_online(None).await?;
        self.resume_reassignments(|assignment| assignment.target().iter().any(|id| new.contains(id)))
            .await?;
        let topics: BTreeSet<_> = replicas.into_iter().map(|(partition, _)| partition.topic).collect();
        self.resume_deletion_of(&topics).await
    }

    async fn brokers_failed(&mut self, dead: &[BrokerId]) -> Result<(), CannotGoOn> {
        for id in dead {
            self.image.offline_dirs.remove(id);
            self.image.shutting_down.remove(id);
        }
        let replicas = self.image.replicas_on(dead);
        self.replicas_gone_offline(replicas).await
    }

    /// A broker has answered. Answers of an earlier life of it mean nothing any more.
    pub(super) async fn replied(
        &mut self,
        broker: BrokerId,
        epoch: BrokerEpoch,
        reply: BrokerReply,
    ) -> Result<(), CannotGoOn> {
        if self.image.brokers.get(&broker).is_none_or(|known| known.epoch != epoch) {
            return Ok(());
        }
        match reply {
            BrokerReply::LeaderAndIsr { error_code, partitions } => {
                if error_code != NONE {
                    tracing::error!(%broker, error_code, "broker refuses LeaderAndIsr");
                    return Ok(());
                }
                let known = self.image.offline_dirs.entry(broker).or_default();
                let mut newly_offline = Vec::new();
                for (partition, error) in partitions {
                    match error {
                        KAFKA_STORAGE_ERROR => {
                            if known.insert(partition.clone()) {
                                newly_offline.push((partition, broker));
                            }
                        }
                        NONE => {
                            known.remove(&partition);
                        }
                        // STALE_CONTROLLER_EPOCH per partition: the broker knows this leader epoch already.
                        _ => tracing::debug!(%broker, %partition, error, "broker did not act on LeaderAndIsr"),
                    }
                }
                newly_offline.retain(|(partition, _)| self.image.partition(partition).is_some());
                if newly_offline.is_empty() {
                    return Ok(());
                }
                tracing::warn!(%broker, replicas = newly_offline.len(), "replicas are in a failed log directory");
                self.replicas_gone_offline(newly_offline).await
            }
            BrokerReply::StopReplica { error_code, partitions } => {
                let (deleted, failed): (Vec<_>, Vec<_>) = partitions
                    .into_iter()
                    .partition(|(_, error)| error_code == NONE && *error == NONE);
                let replicas =
                    |of: Vec<(model::TopicPartition, i16)>| of.into_iter().map(|(it, _)| (it, broker)).collect();
                if !failed.is_empty() {
                    tracing::warn!(%broker, error_code, ?failed, "broker could not delete replicas");
                    self.replica_deletion_failed(replicas(failed)).await?;
                }
                if !deleted.is_empty() {
                    self.replicas_deleted(replicas(deleted)).await?;
                }
                Ok(())
            }
        }
    }
}
