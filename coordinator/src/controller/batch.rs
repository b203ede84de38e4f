//! LeaderAndIsr, UpdateMetadata and StopReplica, gathered and sent as one request of each kind per broker.
//!
//! Decides nothing but what belongs together. What it says of a partition is what the image holds when it is flushed,
//! except a StopReplica's epoch, which is that of the moment of adding: afterwards the partition may be gone.
//!
//! Invariants: only registered brokers are sent anything, with the epoch of their current life; LeaderAndIsr goes before
//! UpdateMetadata goes before StopReplica; every partition in a LeaderAndIsr is also in the UpdateMetadata of all brokers.
//! Source: Kafka 3.9 `AbstractControllerBrokerRequestBatch`.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use model::{BrokerId, LeaderEpoch, PartitionEpoch, TopicId, TopicPartition};

use super::command::{
    Addressed, BrokerCommand, LeaderAndIsr, LeaderAndIsrPartition, LiveBroker, StopReplica, StopReplicaPartition,
    UpdateMetadata, UpdateMetadataPartition,
};
use super::image::Image;

/// The leader that UpdateMetadata names while a topic is being deleted. Source: `LeaderAndIsr.LeaderDuringDelete`.
const LEADER_DURING_DELETE: BrokerId = BrokerId(-2);

/// What is to be sent at the next flush.
#[derive(Debug, Default)]
pub(super) struct Batch {
    /// Per broker and partition: whether the replica is new there.
    leader_and_isr: BTreeMap<BrokerId, BTreeMap<TopicPartition, bool>>,
    stop_replica: BTreeMap<BrokerId, BTreeMap<TopicPartition, StopReplicaPartition>>,
    update_metadata_to: BTreeSet<BrokerId>,
    update_metadata_of: BTreeSet<TopicPartition>,
}

impl Batch {
    /// Tells `to` to lead or follow the partition, and everybody who leads it.
    pub(super) fn lead_or_follow(&mut self, image: &Image, to: &[BrokerId], partition: &TopicPartition, is_new: bool) {
        for broker in to.iter().filter(|id| id.0 >= 0) {
            let partitions = self.leader_and_isr.entry(*broker).or_default();
            let known = partitions.entry(partition.clone()).or_default();
            *known |= is_new;
        }
        self.update_metadata(image.live_or_shutting_down(), [partition.clone()]);
    }

    /// Tells `to` to stop, and perhaps delete, its replica.
    pub(super) fn stop(&mut self, image: &Image, to: BrokerId, partition: &TopicPartition, delete: bool) {
        if to.0 < 0 {
            return;
        }
        let partitions = self.stop_replica.entry(to).or_default();
        let known = partitions.entry(partition.clone()).or_insert(StopReplicaPartition {
            leader_epoch: LeaderEpoch::NONE,
            delete: false,
        });
        known.leader_epoch = image.stop_epoch(partition);
        known.delete |= delete;
    }

    /// Tells `to` of all live brokers and of these partitions.
    pub(super) fn update_metadata(
        &mut self,
        to: impl IntoIterator<Item = BrokerId>,
        partitions: impl IntoIterator<Item = TopicPartition>,
    ) {
        self.update_metadata_to.extend(to);
        self.update_metadata_of.extend(partitions);
    }

    /// Everything gathered, in the order to be sent; the batch is empty afterwards.
    pub(super) fn flush(&mut self, image: &Image) -> Vec<Addressed> {
        let gathered = std::mem::take(self);
        let mut out = Vec::new();
        let mut send = |broker: BrokerId, command: BrokerCommand| {
            if let Some(registered) = image.brokers.get(&broker) {
                out.push(Addressed {
                    broker,
                    broker_epoch: registered.epoch,
                    command,
                });
            }
        };
        for (broker, partitions) in &gathered.leader_and_isr {
            let command = leader_and_isr(image, partitions);
            if !command.partitions.is_empty() {
                send(*broker, BrokerCommand::LeaderAndIsr(command));
            }
        }
        if !gathered.update_metadata_to.is_empty() {
            let command = Arc::new(update_metadata(image, &gathered.update_metadata_of));
            for broker in gathered.update_metadata_to {
                send(broker, BrokerCommand::UpdateMetadata(command.clone()));
            }
        }
        for (broker, partitions) in gathered.stop_replica {
            send(broker, BrokerCommand::StopReplica(StopReplica { partitions }));
        }
        out
    }
}

fn leader_and_isr(image: &Image, wanted: &BTreeMap<TopicPartition, bool>) -> LeaderAndIsr {
    let mut command = LeaderAndIsr::default();
    let mut leaders = BTreeSet::new();
    for (partition, is_new) in wanted {
        let Some(known) = image.partition(partition) else {
            continue;
        };
        let Some(leadership) = &known.leadership else { continue };
        leaders.insert(leadership.leader);
        command.partitions.insert(
            partition.clone(),
            LeaderAndIsrPartition {
                controller_epoch: leadership.controller_epoch,
                leader: leadership.leader,
                leader_epoch: leadership.leader_epoch,
                isr: leadership.isr.clone(),
                partition_epoch: leadership.partition_epoch,
                replicas: known.assignment.replicas.clone(),
                adding_replicas: known.assignment.adding.clone(),
                removing_replicas: known.assignment.removing.clone(),
                is_new: *is_new,
                recovering: leadership.recovering,
            },
        );
    }
    command.topic_ids = topic_ids(image, command.partitions.keys());
    command.live_leaders = leaders
        .into_iter()
        .filter(|id| image.brokers.contains_key(id))
        .collect();
    command
}

fn update_metadata(image: &Image, partitions: &BTreeSet<TopicPartition>) -> UpdateMetadata {
    let mut command = UpdateMetadata::default();
    for partition in partitions {
        let Some(known) = image.partition(partition) else {
            continue;
        };
        let Some(leadership) = &known.leadership else { continue };
        let deleting = image.is_being_deleted(&partition.topic);
        let replicas = known.assignment.replicas.clone();
        let offline = replicas.iter().copied().filter(|id| !image.is_online(*id, partition));
        command.partitions.insert(
            partition.clone(),
            UpdateMetadataPartition {
                controller_epoch: leadership.controller_epoch,
                leader: if deleting {
                    LEADER_DURING_DELETE
                } else {
                    leadership.leader
                },
                leader_epoch: if deleting {
                    LeaderEpoch(0)
                } else {
                    leadership.leader_epoch
                },
                isr: leadership.isr.clone(),
                partition_epoch: if deleting {
                    PartitionEpoch(0)
                } else {
                    leadership.partition_epoch
                },
                offline_replicas: offline.collect(),
                replicas,
            },
        );
    }
    command.topic_ids = topic_ids(image, command.partitions.keys());
    command.live_brokers = image
        .brokers
        .iter()
        .map(|(id, broker)| LiveBroker {
            id: *id,
            endpoints: broker.endpoints.clone(),
            rack: broker.rack.clone(),
        })
        .collect();
    command
}

fn topic_ids<'a>(image: &Image, partitions: impl Iterator<Item = &'a TopicPartition>) -> BTreeMap<Arc<str>, TopicId> {
    let mut ids = BTreeMap::new();
    for partition in partitions {
        if let Some(id) = image.topic_id(&partition.topic) {
            ids.insert(partition.topic.clone(), id);
        }
    }
    ids
}
