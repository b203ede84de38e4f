//! What goes wrong, when, and how it ends.
//!
//! Where machines fail with what they had not flushed, one thing goes wrong at a time: the next fault waits until every
//! in-sync replica has everything again. Where only processes, sessions and wires fail, any number may.

use coordinator::controller::Ask;
use model::{BrokerId, TopicId, TopicPartition};
use zk_schema::brokers::topics::{ReplicaAssignment, TopicAssignment};

use crate::call::{Caller, Request};
use crate::cluster::{Cluster, Happening, Pid, trace};
use crate::invariants::{assignment_of, state_of};

/// How many topics there are at most.
const MAX_TOPICS: usize = 3;

#[derive(Default)]
pub(crate) struct Faults {
    pub(crate) over: bool,
    last: u64,
    lasting: Vec<(u64, Lasting)>,
    topics_made: u32,
}

/// A fault that ends.
#[derive(Clone, Debug)]
enum Lasting {
    ZkCut(Pid),
    Cut(Vec<(Pid, Pid)>),
    Noise,
}

impl Cluster {
    /// The topics that ZooKeeper has.
    pub(crate) fn topics(&self) -> Vec<String> {
        self.zk.children(zk_schema::brokers::topics::PATH).unwrap_or_default()
    }

    /// All partitions, but those on their way out.
    pub(crate) fn partitions(&mut self) -> Vec<TopicPartition> {
        if let Some(known) = &self.known_partitions {
            return known.clone();
        }
        let mut partitions = Vec::new();
        for topic in self.topics() {
            if self.zk.node(&zk_schema::admin::delete_topic_path(&topic)).is_some() {
                continue;
            }
            if let Some(assignment) = assignment_of(&self.zk, &topic) {
                partitions.extend(
                    assignment
                        .partitions
                        .keys()
                        .map(|index| TopicPartition::new(topic.as_str(), *index)),
                );
            }
        }
        self.known_partitions = Some(partitions.clone());
        partitions
    }

    fn broker_ids(&self) -> Vec<BrokerId> {
        let brokers = self.processes.iter().filter(|process| process.is_broker());
        brokers.map(|process| process.id).collect()
    }

    fn some_replicas(&mut self) -> Vec<BrokerId> {
        let mut all = self.broker_ids();
        let count = if self.random.chance(75) { 3 } else { 2 };
        let mut replicas = Vec::new();
        for _ in 0..count {
            let at = self.random.below(all.len() as u64) as usize;
            replicas.push(all.remove(at));
        }
        replicas
    }

    pub(crate) fn make_topic(&mut self) {
        if self.topics().len() >= MAX_TOPICS {
            return;
        }
        self.faults.topics_made += 1;
        let name = format!("t{}", self.faults.topics_made);
        let mut id = [0; 16];
        id[..4].copy_from_slice(&self.faults.topics_made.to_be_bytes());
        let count = 1 + self.random.below(2) as i32;
        let partitions = (0..count)
            .map(|index| (index, ReplicaAssignment::new(self.some_replicas())))
            .collect();
        let topic = TopicAssignment {
            topic_id: Some(TopicId(id)),
            partitions,
        };
        trace!(self, "topic {name} is made");
        self.zk.put(&zk_schema::brokers::topics::path(&name), topic.encode());
    }

    /// Something goes wrong now, and something else later.
    pub(crate) fn fault(&mut self) {
        if self.faults.over {
            return;
        }
        let after = if self.random.chance(30) {
            self.random.between(1, 50)
        } else {
            self.random.between(100, 3_000)
        };
        self.later(after, Happening::Fault);
        if self.settings.torn && !self.is_healed() {
            return;
        }
        let up: Vec<Pid> = (0..self.processes.len())
            .filter(|pid| self.processes[*pid].up)
            .collect();
        let holder = up
            .iter()
            .copied()
            .find(|pid| self.processes[*pid].controller.is_active());
        let Some(mut pid) = self.random.pick(&up) else { return };
        if let Some(holder) = holder
            && self.random.chance(25)
        {
            pid = holder;
        }
        match self.random.below(19) {
            0 | 1 => {
                let torn = self.settings.torn && self.random.chance(80);
                self.kill(pid, torn);
                let life = self.processes[pid].life;
                let after = if self.random.chance(50) {
                    self.random.between(1, 500)
                } else {
                    self.random.between(500, 9_000)
                };
                // A machine takes longer than a process.
                let after = if torn { after.max(1_000) } else { after };
                self.later(after, Happening::Restart { pid, life });
            }
            2 | 3 => {
                self.pause(pid);
                let life = self.processes[pid].life;
                let after = if self.random.chance(50) {
                    self.random.between(10, 2_000)
                } else {
                    self.random.between(2_000, 12_000)
                };
                self.later(after, Happening::Resume { pid, life });
            }
            4 | 5 => {
                self.cut_from_zk(pid, true);
                self.lasting(Lasting::ZkCut(pid));
            }
            6 | 7 => {
                let mut others: Vec<Pid> = (0..self.processes.len()).filter(|other| *other != pid).collect();
                if self.random.chance(50) {
                    others = self.random.pick(&others).into_iter().collect();
                }
                let pairs: Vec<_> = others
                    .into_iter()
                    .map(|other| (pid.min(other), pid.max(other)))
                    .collect();
                trace!(self, "cut {pairs:?}");
                self.cut.extend(pairs.iter().copied());
                self.lasting(Lasting::Cut(pairs));
            }
            8 => {
                let session = self.processes[pid].server_session;
                self.expire(pid, session);
            }
            9 if self.processes[pid].is_broker() && !self.processes[pid].paused => self.leave(pid),
            10 => self.make_topic(),
            11 => {
                let topics = self.topics();
                if let Some(topic) = self.random.pick(&topics) {
                    let path = zk_schema::admin::delete_topic_path(&topic);
                    if self.zk.node(&path).is_none() {
                        trace!(self, "topic {topic} is to be deleted");
                        self.zk.put(&path, "");
                    }
                }
            }
            12 | 13 => self.reassign(holder),
            14 => {
                if let Some(holder) = holder {
                    self.elect_preferred(holder);
                }
            }
            15 => {
                // As an operator does who wants another controller; the one there is does not know yet.
                trace!(self, "/controller is deleted");
                let delete = zk_schema::Op::delete(zk_schema::controller::PATH, None);
                // It may be free anyway.
                let _ = self.zk.multi(0, &[delete]);
            }
            16 | 17 => self.isolate_controller_from_one(holder),
            _ => {
                self.noise = self.random.below(300);
                self.lasting(Lasting::Noise);
            }
        }
    }

    /// The controller and one broker do not hear each other, leaderships move meanwhile, and then the controller dies: the
    /// broker hears of the leader epoch after the one that it has missed.
    fn isolate_controller_from_one(&mut self, holder: Option<Pid>) {
        let Some(holder) = holder else { return };
        let others: Vec<Pid> = (0..self.processes.len())
            .filter(|pid| *pid != holder && self.processes[*pid].is_broker())
            .collect();
        let Some(other) = self.random.pick(&others) else { return };
        let pair = (holder.min(other), holder.max(other));
        trace!(self, "cut the controller from one: {pair:?}");
        self.cut.insert(pair);
        self.lasting(Lasting::Cut(vec![pair]));
        let after = self.random.between(100, 2_000);
        let life = self.processes[holder].life;
        self.later(after, Happening::ElectPreferred { pid: holder, life });
        if !self.settings.torn && self.random.chance(70) {
            let after = after + self.random.between(10, 1_000);
            self.later(after, Happening::Kill { pid: holder, life });
        }
    }

    pub(crate) fn elect_preferred(&mut self, pid: Pid) {
        let ask = Ask::ElectLeaders {
            unclean: false,
            partitions: None,
        };
        self.call(Caller::Administrator, pid, Request::Ask(ask));
    }

    fn lasting(&mut self, what: Lasting) {
        self.faults.last += 1;
        let number = self.faults.last;
        self.faults.lasting.push((number, what));
        let after = if self.random.chance(50) {
            self.random.between(10, 2_000)
        } else {
            self.random.between(2_000, 12_000)
        };
        self.later(after, Happening::Heal(number));
    }

    pub(crate) fn heal(&mut self, fault: u64) {
        let Some(at) = self.faults.lasting.iter().position(|(number, _)| *number == fault) else {
            return;
        };
        let (_, what) = self.faults.lasting.remove(at);
        match what {
            Lasting::ZkCut(pid) => {
                let again = self
                    .faults
                    .lasting
                    .iter()
                    .any(|(_, it)| matches!(it, Lasting::ZkCut(other) if *other == pid));
                if !again {
                    self.cut_from_zk(pid, false);
                }
            }
            Lasting::Cut(_) => {
                let left = self.faults.lasting.iter().filter_map(|(_, it)| match it {
                    Lasting::Cut(pairs) => Some(pairs),
                    _ => None,
                });
                self.cut = left.flatten().copied().collect();
                trace!(self, "cut is now {:?}", self.cut);
            }
            Lasting::Noise => self.noise = 0,
        }
    }

    fn reassign(&mut self, holder: Option<Pid>) {
        let partitions = self.partitions();
        let (Some(partition), Some(holder)) = (self.random.pick(&partitions), holder) else {
            return;
        };
        let target = self.random.chance(80).then(|| self.some_replicas());
        trace!(self, "reassign {partition} to {target:?}");
        if let Some(target) = &target
            && self.random.chance(25)
        {
            let asked = [(partition, target.clone())].into();
            let path = zk_schema::admin::REASSIGN_PARTITIONS_PATH;
            if self.zk.node(path).is_none() {
                self.zk.put(path, zk_schema::admin::encode_reassignment(&asked));
            }
            return;
        }
        let ask = Ask::AlterPartitionReassignments {
            partitions: vec![(partition, target)],
        };
        self.call(Caller::Administrator, holder, Request::Ask(ask));
    }

    /// Everybody is up, everything is connected, and whoever is in sync has everything that is committed.
    fn is_healed(&mut self) -> bool {
        let calm = self.faults.lasting.iter().all(|(_, it)| matches!(it, Lasting::Noise))
            && self
                .processes
                .iter()
                .all(|process| process.up && !process.paused && process.session != 0)
            && self
                .processes
                .iter()
                .all(|process| process.broker.as_ref().is_none_or(|broker| broker.epoch.is_some()));
        if !calm || self.why_unsettled(false).is_some() {
            return false;
        }
        for process in &mut self.processes {
            process.torn = false;
        }
        true
    }

    /// All faults end.
    pub(crate) fn calm_down(&mut self) {
        self.faults.over = true;
        trace!(self, "faults are over");
        for (fault, _) in self.faults.lasting.clone() {
            self.heal(fault);
        }
        self.noise = 0;
        for pid in 0..self.processes.len() {
            self.resume(pid);
            if !self.processes[pid].up {
                self.start(pid);
            }
        }
    }

    /// Why the cluster is not as it should be once nothing goes wrong any more. `equal`: logs must be the same, too.
    pub(crate) fn why_unsettled(&self, equal: bool) -> Option<String> {
        let deletions = self
            .zk
            .children(zk_schema::admin::DELETE_TOPICS_PATH)
            .unwrap_or_default();
        if !deletions.is_empty() && equal {
            return Some(format!("topics are not deleted: {deletions:?}"));
        }
        for topic in self.topics() {
            if deletions.contains(&topic) {
                continue;
            }
            let Some(assignment) = assignment_of(&self.zk, &topic) else {
                continue;
            };
            for (index, replicas) in &assignment.partitions {
                let partition = TopicPartition::new(topic.as_str(), *index);
                if replicas.is_being_reassigned() {
                    return Some(format!("{partition} is being reassigned: {replicas:?}"));
                }
                let Some((state, version)) = state_of(&self.zk, &partition) else {
                    return Some(format!("{partition} has no state"));
                };
                let replicas = &replicas.replicas;
                if state.isr.len() != replicas.len() || !replicas.contains(&state.leader) {
                    return Some(format!(
                        "{partition} has leader {}, in sync {:?} of {replicas:?}",
                        state.leader, state.isr
                    ));
                }
                if let Some(why) = self.why_replicas_differ(&partition, &state, version, replicas, equal) {
                    return Some(why);
                }
            }
        }
        None
    }

    fn why_replicas_differ(
        &self,
        partition: &TopicPartition,
        state: &zk_schema::brokers::partition_state::PartitionState,
        version: i32,
        replicas: &[BrokerId],
        equal: bool,
    ) -> Option<String> {
        use crate::broker::Role;
        let mut ends = Vec::new();
        for id in replicas {
            let process = self.processes.iter().find(|process| process.id == *id)?;
            let Some(broker) = process.broker.as_ref().filter(|_| process.up) else {
                return Some(format!("{id} is down"));
            };
            let (Some(role), Some(log)) = (broker.roles.get(partition), process.disk.get(partition)) else {
                return Some(format!("{id} does not know {partition}"));
            };
            match role {
                Role::Leader { state: led, .. } if *id == state.leader => {
                    if led.leader_epoch != state.leader_epoch || led.partition_epoch.0 != version || led.is_in_flight()
                    {
                        return Some(format!(
                            "{id} leads {partition} at {} and {}, not {} and {version}",
                            led.leader_epoch, led.partition_epoch, state.leader_epoch
                        ));
                    }
                }
                Role::Follower { leader_epoch, .. } if *id != state.leader => {
                    if *leader_epoch != state.leader_epoch {
                        return Some(format!(
                            "{id} follows {partition} at {leader_epoch}, not {}",
                            state.leader_epoch
                        ));
                    }
                }
                _ => return Some(format!("{id} does not know that {} leads {partition}", state.leader)),
            }
            if !self.has_what_is_committed(partition, log) {
                return Some(format!("{id} lacks something of {partition}"));
            }
            if broker.leaders.get(partition) != Some(&state.leader) {
                return Some(format!(
                    "{id} has not been told that {} leads {partition}",
                    state.leader
                ));
            }
            ends.push((log.end(), log.high_watermark()));
        }
        let same = ends.iter().all(|it| *it == ends[0] && it.0 == it.1);
        (equal && !same).then(|| format!("the replicas of {partition} differ: {ends:?}"))
    }
}
