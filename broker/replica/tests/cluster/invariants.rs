//! What must hold after every step, and what the tests remember to see it.
//!
//! `committed` is the history as anybody outside may have seen it: what lay below a high watermark of a leader. It only
//! grows; every replica's log agrees with it up to its high watermark, and every member of the in-sync set that ZooKeeper
//! holds has all of it, but for brokers whose machine has failed and who have not caught up yet.

use std::collections::{BTreeMap, BTreeSet};

use coordinator::controller::{LeaderAndIsr, LeaderAndIsrPartition};
use model::{BrokerId, ControllerEpoch, LeaderEpoch, TopicId, TopicPartition};
use zk_schema::brokers::partition_state::{self, PartitionState};
use zk_schema::brokers::topics::{self, TopicAssignment};

use crate::cluster::Cluster;
use crate::model_log::{ModelLog, Record};
use crate::zookeeper::ZooKeeper;

/// A partition in one life of its topic.
type Key = (TopicId, i32);

#[derive(Default)]
pub(crate) struct Checker {
    committed: BTreeMap<Key, Vec<Record>>,
    /// How many records producers were told are safe.
    pub(crate) acknowledged: usize,
    /// Up to where each replica was compared with what is committed.
    compared: BTreeMap<(BrokerId, Key), i64>,
    /// The high watermark of each leader in each epoch.
    high_watermarks: BTreeMap<(BrokerId, Key), (LeaderEpoch, i64)>,
    leaders: BTreeMap<(Key, LeaderEpoch), BrokerId>,
    controllers: BTreeMap<ControllerEpoch, BrokerId>,
    obeyed: BTreeMap<BrokerId, ControllerEpoch>,
    states: BTreeMap<Key, PartitionState>,
    /// Who is in sync by ZooKeeper's word.
    members: BTreeMap<TopicPartition, (TopicId, Vec<BrokerId>)>,
    /// Topics somebody wants to be gone: their records may go any time.
    deleting: BTreeSet<String>,
    /// Committed more, or changed who is in sync, since the members were compared; from which offset on.
    touched: BTreeMap<TopicPartition, i64>,
}

pub(crate) fn key(partition: &TopicPartition, topic: TopicId) -> Key {
    (topic, partition.partition)
}

pub(crate) fn state_of(zk: &ZooKeeper, partition: &TopicPartition) -> Option<(PartitionState, i32)> {
    let node = zk.node(&partition_state::path(partition))?;
    let state = PartitionState::decode(partition, &node.data).expect("written by the controller");
    Some((state, node.version))
}

pub(crate) fn assignment_of(zk: &ZooKeeper, topic: &str) -> Option<TopicAssignment> {
    let node = zk.node(&topics::path(topic))?;
    Some(TopicAssignment::decode(topic, &node.data).expect("written by the controller or the test"))
}

impl Checker {
    /// What has happened so far.
    pub(crate) fn totals(&self, time: i64) -> crate::Totals {
        crate::Totals {
            histories: 1,
            acknowledged: self.acknowledged,
            controllers: self.controllers.len(),
            leaders: self.leaders.len(),
            time,
        }
    }

    // ---- the controllers

    /// Two processes never hold the same office.
    pub(crate) fn elected(&mut self, epoch: ControllerEpoch, id: BrokerId) {
        let before = self.controllers.insert(epoch, id);
        assert_eq!(before, None, "two controllers of epoch {epoch}");
    }

    /// Only the newest controller writes.
    pub(crate) fn controller_wrote(&mut self, epoch: ControllerEpoch, path: &str) {
        let newest = self.controllers.last_key_value().map(|(epoch, _)| *epoch);
        assert_eq!(newest, Some(epoch), "a controller of an old epoch writes {path}");
    }

    /// A broker that has heard a newer controller does not obey an older one.
    pub(crate) fn obeys(&mut self, broker: BrokerId, epoch: ControllerEpoch) {
        let newest = self.obeyed.entry(broker).or_insert(epoch);
        assert!(
            *newest <= epoch,
            "{broker} obeys the controller of epoch {epoch} after {newest}"
        );
        *newest = epoch;
    }

    /// Brokers are told what ZooKeeper holds, or has held.
    pub(crate) fn commanded(&self, zk: &ZooKeeper, broker: BrokerId, command: &LeaderAndIsr) {
        for (partition, told) in &command.partitions {
            let Some((state, version)) = state_of(zk, partition) else {
                continue;
            };
            assert!(
                told.partition_epoch.0 <= version,
                "{broker} is told of {partition} what has not been written"
            );
            if told.partition_epoch.0 == version {
                assert_eq!(
                    (told.leader, told.leader_epoch, &told.isr),
                    (state.leader, state.leader_epoch, &state.isr),
                    "{broker} is told of {partition} otherwise than it was written"
                );
            }
        }
    }

    // ---- the replicas

    /// A process has died: its high watermarks start from their checkpoints.
    pub(crate) fn died(&mut self, broker: BrokerId) {
        self.high_watermarks.retain(|(of, _), _| *of != broker);
        self.compared.retain(|(of, _), _| *of != broker);
        self.obeyed.remove(&broker);
    }

    /// A broker has deleted its replica; another one begins from nothing.
    pub(crate) fn deleted(&mut self, broker: BrokerId, partition: &TopicPartition, topic: TopicId) {
        self.high_watermarks.remove(&(broker, key(partition, topic)));
        self.compared.remove(&(broker, key(partition, topic)));
    }

    /// One leader per epoch, and whoever leads by ZooKeeper's word has all that is committed.
    pub(crate) fn leads(
        &mut self,
        zk: &ZooKeeper,
        partition: &TopicPartition,
        log: &ModelLog,
        broker: BrokerId,
        told: &LeaderAndIsrPartition,
    ) {
        let key = key(partition, log.topic);
        let led = *self.leaders.entry((key, told.leader_epoch)).or_insert(broker);
        assert_eq!(
            led, broker,
            "{partition} has two leaders at epoch {}",
            told.leader_epoch
        );
        let current = state_of(zk, partition).is_some_and(|(state, _)| state.leader_epoch == told.leader_epoch);
        if current && !self.deleting.contains(&*partition.topic) {
            let committed = self.committed.get(&key).map_or(&[][..], Vec::as_slice);
            holds(committed, log, 0, || {
                format!("{broker}, which leads {partition} at epoch {},", told.leader_epoch)
            });
        }
    }

    /// A leader's high watermark, perhaps after it has moved: never back, and what lies below never changes.
    pub(crate) fn leader_high_watermark(
        &mut self,
        partition: &TopicPartition,
        broker: BrokerId,
        epoch: LeaderEpoch,
        log: &ModelLog,
    ) {
        if self.deleting.contains(&*partition.topic) {
            return;
        }
        let key = key(partition, log.topic);
        let now = log.high_watermark();
        let (known, before) = self
            .high_watermarks
            .insert((broker, key), (epoch, now))
            .unwrap_or((epoch, 0));
        assert!(
            known != epoch || before <= now,
            "the high watermark of {broker} for {partition} moves back from {before} to {now} within epoch {epoch}"
        );
        let committed = self.committed.entry(key).or_default();
        let from = committed.len() as i64;
        for offset in from..now {
            committed.extend(log.record(offset));
            let touched = self.touched.entry(partition.clone()).or_insert(from);
            *touched = (*touched).min(from);
        }
        self.compare(partition, broker, log);
    }

    /// A follower has appended.
    pub(crate) fn replicated(&mut self, partition: &TopicPartition, broker: BrokerId, log: &ModelLog) {
        self.compare(partition, broker, log);
    }

    pub(crate) fn truncated(&mut self, partition: &TopicPartition, broker: BrokerId, log: &ModelLog) {
        let compared = self.compared.entry((broker, key(partition, log.topic))).or_default();
        *compared = (*compared).min(log.end());
    }

    /// What a replica shows to consumers is what others have shown.
    fn compare(&mut self, partition: &TopicPartition, broker: BrokerId, log: &ModelLog) {
        if self.deleting.contains(&*partition.topic) {
            return;
        }
        let key = key(partition, log.topic);
        let committed = self.committed.get(&key).map_or(&[][..], Vec::as_slice);
        let now = log.high_watermark();
        let compared = self.compared.entry((broker, key)).or_default();
        for offset in *compared..now {
            assert_eq!(
                log.record(offset),
                committed.get(offset as usize).copied(),
                "{broker} shows another record of {partition} at {offset} than was seen before"
            );
        }
        *compared = now.max(*compared);
    }

    /// A producer is told that its record is safe: it must be committed.
    pub(crate) fn acknowledged(&mut self, partition: &TopicPartition, topic: TopicId, offset: i64, payload: u64) {
        if self.deleting.contains(&*partition.topic) {
            return;
        }
        let committed = self.committed.get(&key(partition, topic));
        let found = committed.and_then(|records| records.get(offset as usize));
        assert_eq!(
            found.map(|record| record.payload),
            Some(payload),
            "{partition}: {offset} is acknowledged, and another record, or none, is committed there"
        );
        self.acknowledged += 1;
    }

    // ---- ZooKeeper

    fn state_written(&mut self, zk: &ZooKeeper, partition: &TopicPartition) {
        let (Some((state, _)), Some(assignment)) = (state_of(zk, partition), assignment_of(zk, &partition.topic))
        else {
            self.members.remove(partition);
            return;
        };
        let topic = assignment.topic_id.unwrap_or(TopicId::ZERO);
        self.members.insert(partition.clone(), (topic, state.isr.clone()));
        let key = key(partition, topic);
        let replicas = &assignment.partitions[&partition.partition].replicas;
        let distinct: BTreeSet<_> = state.isr.iter().collect();
        assert!(
            !state.isr.is_empty()
                && distinct.len() == state.isr.len()
                && state.isr.iter().all(|id| replicas.contains(id)),
            "{partition}: the in-sync set {:?} is not within {replicas:?}",
            state.isr
        );
        if state.leader != BrokerId::NONE {
            assert!(
                state.isr.contains(&state.leader),
                "{partition}: leader {} is not in {:?}",
                state.leader,
                state.isr
            );
            let led = *self.leaders.entry((key, state.leader_epoch)).or_insert(state.leader);
            assert_eq!(
                led, state.leader,
                "{partition} has two leaders at epoch {}",
                state.leader_epoch
            );
        }
        if let Some(before) = self.states.insert(key, state.clone()) {
            assert!(
                before.leader_epoch <= state.leader_epoch,
                "{partition}: the leader epoch goes back"
            );
            // Only the leader, within its epoch, knows who has caught up.
            let grown = state.isr.iter().any(|id| !before.isr.contains(id));
            assert!(
                !grown || before.leader_epoch == state.leader_epoch,
                "{partition}: a controller lets replicas in: {:?} to {:?}",
                before.isr,
                state.isr
            );
            assert!(
                state.leader == BrokerId::NONE || before.isr.contains(&state.leader),
                "{partition}: unclean election of {}",
                state.leader
            );
        }
        self.touched.insert(partition.clone(), 0);
    }
}

fn holds(committed: &[Record], log: &ModelLog, from: i64, who: impl Fn() -> String) {
    for (offset, record) in committed.iter().enumerate().skip(from as usize) {
        assert_eq!(
            log.record(offset as i64).as_ref(),
            Some(record),
            "{} lacks the committed record at {offset}; its log ends at {}",
            who(),
            log.end()
        );
    }
}

impl Cluster {
    /// Looks at what has changed with the last step.
    pub(crate) fn look(&mut self) {
        for path in std::mem::take(&mut self.zk.written) {
            if path.starts_with(topics::PATH) || path.starts_with(zk_schema::admin::DELETE_TOPICS_PATH) {
                self.known_partitions = None;
            }
            if let Some(partition) = partition_of(&path) {
                self.check.state_written(&self.zk, &partition);
            }
            if let Some((zk_schema::admin::DELETE_TOPICS_PATH, topic)) = path.rsplit_once('/') {
                self.check.deleting.insert(topic.to_owned());
            }
        }
        for (partition, from) in std::mem::take(&mut self.check.touched) {
            if self.check.deleting.contains(&*partition.topic) {
                continue;
            }
            self.members_have_what_is_committed(&partition, from);
        }
    }

    fn members_have_what_is_committed(&self, partition: &TopicPartition, from: i64) {
        let Some((topic, members)) = self.check.members.get(partition) else {
            return;
        };
        let key = key(partition, *topic);
        let Some(committed) = self
            .check
            .committed
            .get(&key)
            .filter(|committed| committed.len() as i64 > from)
        else {
            return;
        };
        for id in members {
            let Some(process) = self.processes.iter().find(|process| process.id == *id && !process.torn) else {
                continue;
            };
            let empty = ModelLog::new(key.0);
            let log = process.disk.get(partition).unwrap_or(&empty);
            holds(committed, log, from, || {
                format!("{id}, which is in sync for {partition},")
            });
        }
    }

    /// Whether the replica has all that is committed.
    pub(crate) fn has_what_is_committed(&self, partition: &TopicPartition, log: &ModelLog) -> bool {
        let committed = self.check.committed.get(&key(partition, log.topic));
        committed.is_none_or(|committed| {
            let mut records = committed.iter().enumerate();
            records.all(|(offset, record)| log.record(offset as i64).as_ref() == Some(record))
        })
    }
}

/// The partition whose `state` znode this is.
fn partition_of(path: &str) -> Option<TopicPartition> {
    let (topic, rest) = path
        .strip_prefix(topics::PATH)?
        .strip_prefix('/')?
        .split_once("/partitions/")?;
    let index = rest.strip_suffix("/state")?.parse().ok()?;
    Some(TopicPartition::new(topic, index))
}
