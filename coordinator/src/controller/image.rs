//! What the controller knows: brokers, topics, assignments, leaders, and what is on its way out.
//!
//! A mirror in memory of what ZooKeeper holds, plus the states that only the controller has. It decides nothing: it
//! answers questions. Everything is kept in order (`BTreeMap`), so that the same events always give the same effects.
//!
//! Invariants: a partition's leadership is what ZooKeeper has acknowledged, never what was merely written;
//! a topic in `deleting` is in `topics`.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use model::{BrokerEpoch, BrokerId, ControllerEpoch, LeaderEpoch, PartitionEpoch, TopicId, TopicPartition};

pub use zk_schema::brokers::ids::Endpoint;

use super::partition_state::PartitionState;
use super::replica_state::ReplicaState;

/// A registered broker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Broker {
    /// Which life of it: the czxid of its znode.
    pub(super) epoch: BrokerEpoch,
    /// Where it listens.
    pub(super) endpoints: Vec<Endpoint>,
    /// `broker.rack`.
    pub(super) rack: Option<String>,
}

/// A partition's replicas, and how they are being changed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Assignment {
    /// All replicas; during a reassignment the target first, then those that will go.
    pub replicas: Vec<BrokerId>,
    /// Those being added.
    pub adding: Vec<BrokerId>,
    /// Those being removed.
    pub removing: Vec<BrokerId>,
}

impl Assignment {
    /// An assignment that is not being changed.
    pub fn of(replicas: Vec<BrokerId>) -> Self {
        Self {
            replicas,
            ..Self::default()
        }
    }

    /// Whether replicas are being added or removed.
    pub fn is_being_reassigned(&self) -> bool {
        !self.adding.is_empty() || !self.removing.is_empty()
    }

    /// The replicas from before the reassignment.
    pub fn origin(&self) -> Vec<BrokerId> {
        without(&self.replicas, &self.adding)
    }

    /// The replicas after the reassignment.
    pub fn target(&self) -> Vec<BrokerId> {
        without(&self.replicas, &self.removing)
    }

    /// This assignment, on its way to `target`; replaces a reassignment in progress.
    ///
    /// Source: Kafka 3.9 `ReplicaAssignment.reassignTo`.
    pub fn reassign_to(&self, target: &[BrokerId]) -> Self {
        let origin = self.origin();
        let mut replicas = target.to_vec();
        replicas.extend(without(&origin, target));
        Self {
            replicas,
            adding: without(target, &origin),
            removing: without(&origin, target),
        }
    }

    fn remove(&mut self, replica: BrokerId) {
        self.replicas.retain(|id| *id != replica);
        self.adding.retain(|id| *id != replica);
        self.removing.retain(|id| *id != replica);
    }
}

fn without(of: &[BrokerId], these: &[BrokerId]) -> Vec<BrokerId> {
    of.iter().copied().filter(|id| !these.contains(id)).collect()
}

/// Who leads a partition and who is in sync: the content of its `state` znode.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leadership {
    /// Who leads; −1 is nobody.
    pub leader: BrokerId,
    /// How often the leadership has changed.
    pub leader_epoch: LeaderEpoch,
    /// The in-sync set.
    pub isr: Vec<BrokerId>,
    /// Elected uncleanly and not yet recovered.
    pub recovering: bool,
    /// The data version of the znode.
    pub partition_epoch: PartitionEpoch,
    /// The controller that wrote it.
    pub controller_epoch: ControllerEpoch,
}

/// A partition.
#[derive(Clone, Debug, Default)]
pub(super) struct Partition {
    /// Its replicas.
    pub(super) assignment: Assignment,
    /// Its leader, once it has had one.
    pub(super) leadership: Option<Leadership>,
    /// Where it stands.
    pub(super) state: PartitionState,
    /// Where its replicas stand.
    pub(super) replica_states: BTreeMap<BrokerId, ReplicaState>,
}

/// A topic.
#[derive(Clone, Debug, Default)]
pub(super) struct Topic {
    /// Its id; topics made by very old tools have none, until the controller gives them one.
    pub(super) id: Option<TopicId>,
    /// Its partitions.
    pub(super) partitions: BTreeMap<i32, Partition>,
    /// What there is to count about them; `None` once something has changed.
    counted: Option<Counts>,
}

/// What the gauges say of partitions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counts {
    /// With a leadership.
    pub(super) partitions: usize,
    /// Without a leader that can serve.
    pub(super) offline: usize,
    /// Led by another than the preferred leader.
    pub(super) imbalanced: usize,
}

impl Topic {
    fn count(&mut self) -> Counts {
        let partitions = &self.partitions;
        *self.counted.get_or_insert_with(|| {
            let mut counts = Counts::default();
            for known in partitions.values() {
                let offline = known.state != PartitionState::Online && known.state != PartitionState::NonExistent;
                let preferred = known.assignment.replicas.first();
                let leader = known.leadership.as_ref().map(|it| it.leader);
                counts.partitions += usize::from(leader.is_some());
                counts.offline += usize::from(offline);
                counts.imbalanced +=
                    usize::from(leader.is_some() && preferred.is_some() && preferred != leader.as_ref());
            }
            counts
        })
    }
}

/// A topic on its way out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Deletion {
    /// It cannot go on now: a replica is offline, or a reassignment is in progress.
    pub(super) ineligible: bool,
    /// Its partitions have been taken offline.
    pub(super) started: bool,
}

/// What the controller knows.
#[derive(Clone, Debug, Default)]
pub(super) struct Image {
    /// The controller's own epoch.
    pub(super) epoch: ControllerEpoch,
    /// Registered brokers, those shutting down too.
    pub(super) brokers: BTreeMap<BrokerId, Broker>,
    /// Those of them that have asked for a controlled shutdown.
    pub(super) shutting_down: BTreeSet<BrokerId>,
    /// All topics.
    pub(super) topics: BTreeMap<Arc<str>, Topic>,
    /// Topics queued for deletion.
    pub(super) deleting: BTreeMap<Arc<str>, Deletion>,
    /// Partitions being reassigned.
    pub(super) reassigning: BTreeSet<TopicPartition>,
    /// Replicas in log directories that have failed.
    pub(super) offline_dirs: BTreeMap<BrokerId, BTreeSet<TopicPartition>>,
    topic_names: BTreeMap<TopicId, Arc<str>>,
}

/// A replica: a partition on a broker.
pub(super) type Replica = (TopicPartition, BrokerId);

impl Image {
    /// An image of nothing, at this epoch.
    pub(super) fn new(epoch: ControllerEpoch) -> Self {
        Self {
            epoch,
            ..Self::default()
        }
    }

    /// All registered brokers, those shutting down too.
    pub(super) fn live_or_shutting_down(&self) -> Vec<BrokerId> {
        self.brokers.keys().copied().collect()
    }

    /// Whether the broker is registered and not shutting down.
    pub(super) fn is_live(&self, broker: BrokerId) -> bool {
        self.brokers.contains_key(&broker) && !self.shutting_down.contains(&broker)
    }

    /// Whether the replica can serve: its broker is live and its directory has not failed.
    pub(super) fn is_online(&self, broker: BrokerId, partition: &TopicPartition) -> bool {
        self.is_live(broker) && !self.in_offline_dir(broker, partition)
    }

    /// As [`Image::is_online`], but a broker that is shutting down still counts.
    pub(super) fn is_online_or_shutting_down(&self, broker: BrokerId, partition: &TopicPartition) -> bool {
        self.brokers.contains_key(&broker) && !self.in_offline_dir(broker, partition)
    }

    fn in_offline_dir(&self, broker: BrokerId, partition: &TopicPartition) -> bool {
        self.offline_dirs
            .get(&broker)
            .is_some_and(|offline| offline.contains(partition))
    }

    /// Gives the topic its id.
    pub(super) fn set_topic_id(&mut self, topic: &Arc<str>, id: TopicId) {
        self.topic_names.insert(id, topic.clone());
        self.topics.entry(topic.clone()).or_default().id = Some(id);
    }

    /// The topic with this id.
    pub(super) fn topic_name(&self, id: TopicId) -> Option<&Arc<str>> {
        self.topic_names.get(&id)
    }

    /// The topic's id, if it has one.
    pub(super) fn topic_id(&self, topic: &str) -> Option<TopicId> {
        self.topics.get(topic)?.id
    }

    /// Forgets a topic and all about it.
    pub(super) fn remove_topic(&mut self, topic: &str) {
        if let Some(id) = self.topics.remove(topic).and_then(|topic| topic.id) {
            self.topic_names.remove(&id);
        }
        self.deleting.remove(topic);
        self.reassigning.retain(|partition| &*partition.topic != topic);
        for offline in self.offline_dirs.values_mut() {
            offline.retain(|partition| &*partition.topic != topic);
        }
    }

    /// The partition, if it exists.
    pub(super) fn partition(&self, partition: &TopicPartition) -> Option<&Partition> {
        self.topics.get(&partition.topic)?.partitions.get(&partition.partition)
    }

    /// The partition, if it exists, to be changed.
    pub(super) fn partition_mut(&mut self, partition: &TopicPartition) -> Option<&mut Partition> {
        let topic = self.topics.get_mut(&partition.topic)?;
        topic.counted = None;
        topic.partitions.get_mut(&partition.partition)
    }

    /// Counts over all topics; those on their way out count by their number of partitions alone.
    ///
    /// Asked after every event: only topics that have changed are looked at again.
    pub(super) fn count(&mut self) -> Counts {
        let mut all = Counts::default();
        for (name, topic) in &mut self.topics {
            let counts = topic.count();
            all.partitions += counts.partitions;
            if !self.deleting.contains_key(name) {
                all.offline += counts.offline;
                all.imbalanced += counts.imbalanced;
            }
        }
        all
    }

    /// The partition's leadership, if it ever had one.
    pub(super) fn leadership(&self, partition: &TopicPartition) -> Option<&Leadership> {
        self.partition(partition)?.leadership.as_ref()
    }

    /// Whether the partition has a leader that can serve.
    pub(super) fn has_online_leader(&self, partition: &TopicPartition) -> bool {
        self.leadership(partition)
            .is_some_and(|it| self.is_online(it.leader, partition))
    }

    /// Notes what ZooKeeper has acknowledged.
    pub(super) fn set_leadership(&mut self, partition: &TopicPartition, leadership: Leadership) {
        if let Some(known) = self.partition_mut(partition) {
            known.leadership = Some(leadership);
        }
    }

    /// The partition's assignment; an empty one if it does not exist.
    pub(super) fn assignment(&self, partition: &TopicPartition) -> Assignment {
        self.partition(partition)
            .map(|known| known.assignment.clone())
            .unwrap_or_default()
    }

    /// The replicas of a partition; none if it does not exist.
    pub(super) fn replicas(&self, partition: &TopicPartition) -> &[BrokerId] {
        self.partition(partition)
            .map_or(&[], |known| &known.assignment.replicas)
    }

    /// Sets the assignment; creates the partition where it is new.
    pub(super) fn set_assignment(&mut self, partition: &TopicPartition, assignment: Assignment) {
        let topic = self.topics.entry(partition.topic.clone()).or_default();
        topic.counted = None;
        topic.partitions.entry(partition.partition).or_default().assignment = assignment;
    }

    /// Takes a replica out of the assignment, after its deletion.
    pub(super) fn remove_replica(&mut self, partition: &TopicPartition, replica: BrokerId) {
        if let Some(known) = self.partition_mut(partition) {
            known.assignment.remove(replica);
            known.replica_states.remove(&replica);
        }
    }

    /// All partitions.
    pub(super) fn all_partitions(&self) -> impl Iterator<Item = (TopicPartition, &Partition)> {
        self.topics.iter().flat_map(|(name, topic)| {
            topic
                .partitions
                .iter()
                .map(|(index, partition)| (TopicPartition::new(name.clone(), *index), partition))
        })
    }

    /// The partitions of one topic.
    pub(super) fn partitions_of(&self, topic: &str) -> Vec<TopicPartition> {
        match self.topics.get_key_value(topic) {
            Some((name, topic)) => topic
                .partitions
                .keys()
                .map(|i| TopicPartition::new(name.clone(), *i))
                .collect(),
            None => Vec::new(),
        }
    }

    /// The replicas of one topic.
    pub(super) fn replicas_of(&self, topic: &str) -> Vec<Replica> {
        self.replicas_of_partitions(&self.partitions_of(topic))
    }

    /// The replicas of these partitions.
    pub(super) fn replicas_of_partitions(&self, partitions: &[TopicPartition]) -> Vec<Replica> {
        partitions
            .iter()
            .flat_map(|partition| self.replicas(partition).iter().map(|id| (partition.clone(), *id)))
            .collect()
    }

    /// The replicas on these brokers.
    pub(super) fn replicas_on(&self, brokers: &[BrokerId]) -> Vec<Replica> {
        self.all_partitions()
            .flat_map(|(partition, known)| {
                let here = known
                    .assignment
                    .replicas
                    .iter()
                    .copied()
                    .filter(|id| brokers.contains(id));
                here.map(move |id| (partition.clone(), id)).collect::<Vec<_>>()
            })
            .collect()
    }

    /// Partitions that have a leadership.
    pub(super) fn partitions_with_leadership(&self) -> Vec<TopicPartition> {
        self.all_partitions()
            .filter(|(_, known)| known.leadership.is_some())
            .map(|(partition, _)| partition)
            .collect()
    }

    /// Partitions whose leader cannot serve, of topics that stay.
    pub(super) fn partitions_with_offline_leader(&self) -> Vec<TopicPartition> {
        self.all_partitions()
            .filter(|(partition, known)| {
                !self.is_being_deleted(&partition.topic)
                    && known
                        .leadership
                        .as_ref()
                        .is_some_and(|it| !self.is_online(it.leader, partition))
            })
            .map(|(partition, _)| partition)
            .collect()
    }

    /// Partitions led by this broker.
    pub(super) fn partitions_led_by(&self, broker: BrokerId) -> Vec<TopicPartition> {
        self.all_partitions()
            .filter(|(partition, known)| {
                !self.is_being_deleted(&partition.topic)
                    && known.assignment.replicas.len() > 1
                    && known.leadership.as_ref().is_some_and(|it| it.leader == broker)
            })
            .map(|(partition, _)| partition)
            .collect()
    }

    /// Whether the topic is queued for deletion.
    pub(super) fn is_being_deleted(&self, topic: &str) -> bool {
        self.deleting.contains_key(topic)
    }

    /// Where the replica stands.
    pub(super) fn replica_state(&self, partition: &TopicPartition, replica: BrokerId) -> ReplicaState {
        self.partition(partition)
            .and_then(|known| known.replica_states.get(&replica).copied())
            .unwrap_or_default()
    }

    /// Moves the replica to `state` if that move exists; says so if it does not.
    #[must_use]
    pub(super) fn move_replica(&mut self, partition: &TopicPartition, replica: BrokerId, state: ReplicaState) -> bool {
        if !state.valid_previous().contains(&self.replica_state(partition, replica)) {
            return false;
        }
        if let Some(known) = self.partition_mut(partition) {
            known.replica_states.insert(replica, state);
        }
        true
    }

    /// The topic's replicas in this state.
    pub(super) fn replicas_in(&self, topic: &str, state: ReplicaState) -> Vec<Replica> {
        let mut replicas = self.replicas_of(topic);
        replicas.retain(|(partition, id)| self.replica_state(partition, *id) == state);
        replicas
    }

    /// Whether all of the topic's replicas are in this state. True of a topic without replicas.
    pub(super) fn all_replicas_in(&self, topic: &str, state: ReplicaState) -> bool {
        let replicas = self.replicas_of(topic);
        replicas
            .iter()
            .all(|(partition, id)| self.replica_state(partition, *id) == state)
    }

    /// The leader epoch to put into a StopReplica: −2 while the topic is being deleted, −1 where unknown.
    ///
    /// Source: Kafka 3.9 `ControllerContext.leaderEpoch`, `LeaderAndIsr.EpochDuringDelete`.
    pub(super) fn stop_epoch(&self, partition: &TopicPartition) -> LeaderEpoch {
        if self.is_being_deleted(&partition.topic) {
            LeaderEpoch(-2)
        } else {
            self.leadership(partition)
                .map_or(LeaderEpoch::NONE, |it| it.leader_epoch)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(ids: &[i32]) -> Vec<BrokerId> {
        ids.iter().copied().map(BrokerId).collect()
    }

    #[test]
    fn counts_follow_every_change() {
        let mut image = Image::new(ControllerEpoch(1));
        let partition = TopicPartition::new("t", 0);
        let check = |image: &mut Image, name: &str, partitions, offline, imbalanced| {
            let expected = Counts {
                partitions,
                offline,
                imbalanced,
            };
            assert_eq!(image.count(), expected, "{name}");
        };
        image.set_assignment(&partition, Assignment::of(ids(&[1, 2])));
        check(&mut image, "assigned", 0, 0, 0);
        let leadership = |leader| Leadership {
            leader: BrokerId(leader),
            leader_epoch: LeaderEpoch(0),
            isr: ids(&[1, 2]),
            recovering: false,
            partition_epoch: PartitionEpoch(0),
            controller_epoch: ControllerEpoch(1),
        };
        image.set_leadership(&partition, leadership(2));
        check(&mut image, "not the preferred leader", 1, 0, 1);
        image.set_leadership(&partition, leadership(1));
        check(&mut image, "the preferred leader", 1, 0, 0);
        image.partition_mut(&partition).unwrap().state = PartitionState::Offline;
        image.set_leadership(&partition, leadership(-1));
        check(&mut image, "nobody", 1, 1, 1);
        image.deleting.insert(partition.topic.clone(), Deletion::default());
        check(&mut image, "to be deleted", 1, 0, 0);
        image.remove_topic(&partition.topic);
        check(&mut image, "gone", 0, 0, 0);
    }

    #[test]
    fn a_reassignment_lists_target_first_then_those_that_go() {
        let check = |from: &[i32], to: &[i32], all: &[i32], adding: &[i32], removing: &[i32]| {
            let moved = Assignment::of(ids(from)).reassign_to(&ids(to));
            let expected = Assignment {
                replicas: ids(all),
                adding: ids(adding),
                removing: ids(removing),
            };
            assert_eq!(moved, expected, "{from:?} to {to:?}");
            assert_eq!(moved.target(), ids(to));
            assert_eq!(moved.is_being_reassigned(), !adding.is_empty() || !removing.is_empty());
        };
        check(&[1, 2, 3], &[4, 5, 6], &[4, 5, 6, 1, 2, 3], &[4, 5, 6], &[1, 2, 3]);
        check(&[1, 2, 3], &[3, 4, 2], &[3, 4, 2, 1], &[4], &[1]);
        check(&[1, 2], &[2, 1], &[2, 1], &[], &[]);
        check(&[1], &[1, 2], &[1, 2], &[2], &[]);
    }

    #[test]
    fn replacing_a_reassignment_starts_from_its_origin() {
        let moving = Assignment::of(ids(&[1, 2])).reassign_to(&ids(&[3, 4]));
        let replaced = moving.reassign_to(&ids(&[1, 5]));
        assert_eq!(replaced.replicas, ids(&[1, 5, 2]));
        assert_eq!(replaced.adding, ids(&[5]));
        assert_eq!(replaced.removing, ids(&[2]));
        let cancelled = moving.reassign_to(&moving.origin());
        assert_eq!(cancelled, Assignment::of(ids(&[1, 2])));
    }
}
