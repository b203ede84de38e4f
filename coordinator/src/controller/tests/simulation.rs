//! Random histories, from a seed, with invariants that hold at every step and liveness once things have calmed down.
//!
//! Brokers come, go and bounce, topics are made, grow, move and are deleted, leaders propose in-sync sets by what they have
//! been told, controllers are deposed in the middle of their work. What fails names its seed; `SIMULATION_SEED=n` plays that
//! one alone.

use std::collections::BTreeMap;

use model::{BrokerId, LeaderEpoch, PartitionEpoch, TopicPartition};
use zk_schema::brokers::partition_state::{self, PartitionState};
use zk_schema::brokers::topics::TopicAssignment;

use super::world::{Done, World};
use crate::controller::{Ask, AskId, BrokerCommand, IsrProposal, LeaderAndIsrPartition, Reply, TopicRef};

const SEEDS: u64 = 40;
const ACTIONS: usize = 60;
const BROKERS: i32 = 4;
const TOPICS: [&str; 3] = ["a", "b", "c"];

#[test]
fn invariants_hold_in_random_histories() {
    if let Some(seed) = std::env::var("SIMULATION_SEED").ok().and_then(|it| it.parse().ok()) {
        return History::new(seed).run();
    }
    for seed in 0..SEEDS {
        let run = std::panic::catch_unwind(|| History::new(seed).run());
        if run.is_err() {
            panic!("seed {seed} fails: SIMULATION_SEED={seed} plays it alone");
        }
    }
}

/// SplitMix64.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) % bound as u64) as usize
    }

    fn pick<T: Clone>(&mut self, from: &[T]) -> Option<T> {
        (!from.is_empty()).then(|| from[self.below(from.len())].clone())
    }
}

struct History {
    random: Random,
    world: World,
    /// What each broker has been told of each partition.
    told: BTreeMap<(BrokerId, TopicPartition), LeaderAndIsrPartition>,
    /// Per life of a topic (its creation transaction), partition and leader epoch: who led.
    leaders: BTreeMap<(i64, TopicPartition, i32), BrokerId>,
    /// The states as they were.
    states: BTreeMap<(i64, TopicPartition), PartitionState>,
    open: BTreeMap<AskId, Option<(BrokerId, TopicPartition)>>,
    unclean: bool,
}

impl History {
    fn new(seed: u64) -> Self {
        let mut random = Random(seed);
        let unclean = random.below(4) == 0;
        let mut world = World::new(|config| {
            config.unclean_leader_election_enable = unclean;
            config.leader_imbalance_per_broker_percentage = 0;
        });
        for id in 1..=BROKERS {
            world.register(id);
        }
        world.elect();
        Self {
            random,
            world,
            told: BTreeMap::new(),
            leaders: BTreeMap::new(),
            states: BTreeMap::new(),
            open: BTreeMap::new(),
            unclean,
        }
    }

    fn run(mut self) {
        for _ in 0..ACTIONS {
            self.act();
            for _ in 0..self.random.below(12) {
                self.step();
            }
        }
        self.calm_down();
    }

    fn step(&mut self) -> bool {
        let stepped = self.world.step();
        self.look();
        stepped
    }

    fn settle(&mut self) {
        for _ in 0..100_000 {
            if !self.step() {
                return;
            }
        }
        panic!("the controller does not come to rest");
    }

    // ---- what may happen

    fn act(&mut self) {
        let live: Vec<i32> = self.live();
        let dead: Vec<i32> = (1..=BROKERS).filter(|id| !live.contains(id)).collect();
        match self.random.below(12) {
            0 if live.len() > 1 => {
                let id = self.random.pick(&live).unwrap();
                self.world.unregister(id);
            }
            1 | 2 => {
                if let Some(id) = self.random.pick(&dead) {
                    self.forget(id);
                    self.world.register(id);
                }
            }
            3 => {
                if let Some(id) = self.random.pick(&live) {
                    self.world.unregister(id);
                    self.forget(id);
                    self.world.register(id);
                }
            }
            4 | 5 => self.make_or_grow_topic(),
            6 => {
                let topic = self.random.pick(&TOPICS).unwrap();
                let path = format!("/admin/delete_topics/{topic}");
                if self.assignment(topic).is_some() && !self.world.tree.contains_key(&path) {
                    self.world.put(&path, "");
                }
            }
            7..=9 => self.propose(),
            10 => match self.random.below(3) {
                0 => {
                    if let Some(id) = self.random.pick(&live) {
                        let broker_epoch = self.world.epoch_of(id);
                        self.ask(Ask::ControlledShutdown {
                            broker: BrokerId(id),
                            broker_epoch,
                        });
                    }
                }
                1 => self.world.pending.push_back(crate::controller::Event::RebalanceDue),
                _ => self.reassign(),
            },
            _ => {
                // The old one may still be at work when the new one wins: its next write hits the fence.
                self.world.fence_holds = false;
                for _ in 0..self.random.below(6) {
                    self.step();
                }
                self.withdraw_questions();
                self.world.elect();
            }
        }
        self.look();
    }

    fn live(&self) -> Vec<i32> {
        (1..=BROKERS)
            .filter(|id| self.world.tree.contains_key(&format!("/brokers/ids/{id}")))
            .collect()
    }

    fn forget(&mut self, broker: i32) {
        self.told.retain(|(id, _), _| id.0 != broker);
    }

    fn ask(&mut self, ask: Ask) {
        let about = match &ask {
            Ask::AlterPartition { broker, partitions, .. } => partitions.first().and_then(|it| match &it.topic {
                TopicRef::Name(name) => Some((*broker, TopicPartition::new(name.as_str(), it.partition))),
                TopicRef::Id(_) => None,
            }),
            _ => None,
        };
        let id = self.world.ask(ask);
        self.open.insert(id, about);
    }

    /// Questions that a deposed controller has in its inbox are refused; those it never got are lost with the connection.
    fn withdraw_questions(&mut self) {
        let waiting: Vec<_> = (self.world.pending.iter())
            .filter_map(|event| match event {
                crate::controller::Event::Asked(id, _) => Some(*id),
                _ => None,
            })
            .collect();
        self.open.retain(|id, _| !waiting.contains(id));
    }

    fn make_or_grow_topic(&mut self) {
        let topic = self.random.pick(&TOPICS).unwrap();
        let mut partitions: Vec<(i32, Vec<BrokerId>)> = Vec::new();
        let existing = self.assignment(topic);
        if self.world.tree.contains_key(&format!("/admin/delete_topics/{topic}")) {
            return;
        }
        if let Some(existing) = &existing {
            if existing.partitions.len() > 3 || existing.partitions.values().any(|it| it.is_being_reassigned()) {
                return;
            }
            partitions.extend(
                existing
                    .partitions
                    .iter()
                    .map(|(index, it)| (*index, it.replicas.clone())),
            );
        }
        for _ in 0..=self.random.below(2) {
            let replicas = self.replicas();
            partitions.push((partitions.len() as i32, replicas));
        }
        // A write in flight of the controller and this one would overwrite each other, as with Kafka's own tools.
        self.settle();
        self.world.put_topic(topic, true, &partitions);
    }

    fn replicas(&mut self) -> Vec<BrokerId> {
        let mut all: Vec<_> = (1..=BROKERS).map(BrokerId).collect();
        let count = 1 + self.random.below(3);
        (0..count).map(|_| all.remove(self.random.below(all.len()))).collect()
    }

    /// A leader proposes to drop a follower, or to take one in, by what it has been told.
    fn propose(&mut self) {
        let led: Vec<_> = (self.told.iter())
            .filter(|((broker, _), it)| it.leader == *broker && self.live().contains(&broker.0))
            .map(|(key, it)| (key.clone(), it.clone()))
            .collect();
        let Some(((broker, partition), known)) = self.random.pick(&led) else {
            return;
        };
        let mut isr = known.isr.clone();
        let other = self.random.pick(&known.replicas).unwrap();
        if isr.contains(&other) && other != broker {
            isr.retain(|id| *id != other);
        } else if !isr.contains(&other) {
            isr.push(other);
        }
        self.propose_isr(broker, &partition, &known, isr);
    }

    fn propose_isr(
        &mut self,
        broker: BrokerId,
        partition: &TopicPartition,
        known: &LeaderAndIsrPartition,
        isr: Vec<BrokerId>,
    ) {
        let broker_epoch = self.world.epoch_of(broker.0);
        self.ask(Ask::AlterPartition {
            broker,
            broker_epoch,
            version: 1,
            partitions: vec![IsrProposal {
                topic: TopicRef::Name(partition.topic.to_string()),
                partition: partition.partition,
                leader_epoch: known.leader_epoch,
                partition_epoch: known.partition_epoch,
                isr,
                recovering: false,
            }],
        });
    }

    fn reassign(&mut self) {
        let topic = self.random.pick(&TOPICS).unwrap();
        let Some(assignment) = self.assignment(topic) else {
            return;
        };
        let index = self.random.below(assignment.partitions.len()) as i32;
        let target = (self.random.below(4) > 0).then(|| self.replicas());
        self.ask(Ask::AlterPartitionReassignments {
            partitions: vec![(TopicPartition::new(topic, index), target)],
        });
    }

    // ---- what must hold

    fn assignment(&self, topic: &str) -> Option<TopicAssignment> {
        let node = self.world.tree.get(&format!("/brokers/topics/{topic}"))?;
        Some(TopicAssignment::decode(topic, &node.data).unwrap())
    }

    fn look(&mut self) {
        for done in std::mem::take(&mut self.world.done) {
            match done {
                Done::Sent(addressed) => {
                    if let BrokerCommand::LeaderAndIsr(command) = &addressed.command {
                        for (partition, state) in &command.partitions {
                            invariant_brokers_are_told_what_zookeeper_holds(&self.world, partition, state);
                            self.told.insert((addressed.broker, partition.clone()), state.clone());
                        }
                    }
                    if let BrokerCommand::StopReplica(command) = &addressed.command {
                        self.told.retain(|(broker, partition), _| {
                            *broker != addressed.broker || !command.partitions.contains_key(partition)
                        });
                    }
                }
                Done::Answered(id, answer) => {
                    let about = self.open.remove(&id);
                    let about = about
                        .expect("a question is answered once")
                        .and_then(|it| self.told.get_mut(&it));
                    if let (Ok(Reply::AlterPartition(results)), Some(told)) = (answer, about)
                        && let Some((_, _, Ok(accepted))) = results.into_iter().next()
                        && told.leader_epoch == accepted.leader_epoch
                    {
                        told.isr = accepted.isr;
                        told.partition_epoch = accepted.partition_epoch;
                    }
                }
                Done::Resigned(reason) => panic!("the controller resigns: {reason}"),
                Done::Wrote(..) => {}
            }
        }
        self.look_at_states();
    }

    fn look_at_states(&mut self) {
        for topic in TOPICS {
            let Some(assignment) = self.assignment(topic) else {
                continue;
            };
            let life = self.world.tree[&format!("/brokers/topics/{topic}")].czxid;
            for (index, replicas) in &assignment.partitions {
                let partition = TopicPartition::new(topic, *index);
                let Some(node) = self.world.tree.get(&partition_state::path(&partition)) else {
                    continue;
                };
                let state = PartitionState::decode(&partition, &node.data).unwrap();
                assert!(
                    state.isr.iter().all(|id| replicas.replicas.contains(id)) && !state.isr.is_empty(),
                    "{partition}: isr {:?} is not within {:?}",
                    state.isr,
                    replicas.replicas
                );
                assert!(
                    state.leader == BrokerId::NONE || state.isr.contains(&state.leader),
                    "{partition}: leader {} is not in {:?}",
                    state.leader,
                    state.isr
                );
                if state.leader != BrokerId::NONE {
                    let key = (life, partition.clone(), state.leader_epoch.0);
                    let led = *self.leaders.entry(key).or_insert(state.leader);
                    assert_eq!(
                        led, state.leader,
                        "{partition}: two leaders at epoch {}",
                        state.leader_epoch
                    );
                }
                let before = self.states.insert((life, partition.clone()), state.clone());
                if let Some(before) = before {
                    assert!(
                        before.leader_epoch <= state.leader_epoch,
                        "{partition}: leader epoch goes back"
                    );
                    // Only a leader knows who has caught up; a controller may only shrink the set.
                    let grown =
                        before.leader_epoch < state.leader_epoch && state.isr.iter().any(|id| !before.isr.contains(id));
                    assert!(
                        !grown || self.unclean,
                        "{partition}: isr grows from {:?} to {:?}",
                        before.isr,
                        state.isr
                    );
                    let was_in_sync = before.isr.contains(&state.leader) || state.leader == BrokerId::NONE;
                    assert!(
                        was_in_sync || self.unclean,
                        "{partition}: unclean election of {}",
                        state.leader
                    );
                }
            }
        }
    }

    // ---- what must come about

    fn calm_down(&mut self) {
        for id in 1..=BROKERS {
            if !self.live().contains(&id) {
                self.forget(id);
                self.world.register(id);
            }
        }
        // A broker that asked to leave and stayed counts as leaving until it comes anew.
        self.settle();
        for id in 1..=BROKERS {
            self.world.unregister(id);
            self.forget(id);
            self.world.register(id);
            self.settle();
        }
        self.settle();
        // Every leader takes in whoever is assigned, until nothing changes any more.
        for _ in 0..40 {
            let led: Vec<_> = (self.told.iter())
                .filter(|((broker, _), it)| it.leader == *broker && it.replicas.iter().any(|id| !it.isr.contains(id)))
                .map(|(key, it)| (key.clone(), it.clone()))
                .collect();
            for ((broker, partition), known) in led {
                let mut isr = known.isr.clone();
                isr.extend(known.replicas.iter().filter(|id| !known.isr.contains(id)));
                self.propose_isr(broker, &partition, &known, isr);
                self.settle();
            }
        }
        self.settle();
        assert!(self.open.is_empty(), "questions without an answer: {:?}", self.open);
        let left: Vec<_> = self
            .world
            .tree
            .keys()
            .filter(|path| path.starts_with("/admin/delete_topics/"))
            .collect();
        assert!(left.is_empty(), "deletions are not done: {left:?}");
        for topic in TOPICS {
            let Some(assignment) = self.assignment(topic) else {
                continue;
            };
            for (index, replicas) in &assignment.partitions {
                let partition = TopicPartition::new(topic, *index);
                assert!(
                    !replicas.is_being_reassigned(),
                    "{partition} is still being reassigned: {replicas:?}"
                );
                let node = &self.world.tree[&partition_state::path(&partition)];
                let state = PartitionState::decode(&partition, &node.data).unwrap();
                assert!(state.leader != BrokerId::NONE, "{partition} has no leader: {state:?}");
                let told = self.told.get(&(state.leader, partition.clone()));
                let told = told.map(|it| (it.leader, it.leader_epoch));
                assert_eq!(
                    told,
                    Some((state.leader, state.leader_epoch)),
                    "{partition}: its leader does not know"
                );
            }
        }
    }
}

/// What a LeaderAndIsr says was in ZooKeeper at the time of its partition epoch; if that is still the current one, it is
/// what ZooKeeper says now.
fn invariant_brokers_are_told_what_zookeeper_holds(
    world: &World,
    partition: &TopicPartition,
    told: &LeaderAndIsrPartition,
) {
    let Some(node) = world.tree.get(&partition_state::path(partition)) else {
        return;
    };
    let state = PartitionState::decode(partition, &node.data).unwrap();
    assert!(
        told.partition_epoch <= PartitionEpoch(node.version),
        "{partition}: told of what has not been written"
    );
    assert!(
        told.leader_epoch <= LeaderEpoch(state.leader_epoch.0),
        "{partition}: told of a leader to come"
    );
    if told.partition_epoch.0 == node.version {
        assert_eq!(
            (told.leader, &told.isr),
            (state.leader, &state.isr),
            "{partition}: told otherwise"
        );
    }
}
