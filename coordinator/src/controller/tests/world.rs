//! A ZooKeeper and brokers in memory, for the controller to live in.
//!
//! Performs the effects of the controller at once and in order, and hands back what follows from them. The tree has data
//! versions, creation transactions, one-shot watches and the fence; brokers answer every command, or none.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use bytes::Bytes;
use model::{BrokerEpoch, BrokerId, ControllerEpoch, Millis, TopicId, TopicPartition};
use zk_schema::Op;
use zk_schema::brokers::ids::{BrokerRegistration, Endpoint, SecurityProtocol};
use zk_schema::brokers::topics::{ReplicaAssignment, TopicAssignment};
use zk_schema::config::Entity;

use crate::controller::{
    Answer, Ask, AskId, BrokerCommand, BrokerReply, Config, Controller, Effect, Event, Read, Refusal, Reply,
};

/// A znode.
#[derive(Clone, Debug)]
pub(super) struct Node {
    pub(super) data: Vec<u8>,
    pub(super) version: i32,
    pub(super) czxid: i64,
    pub(super) mzxid: i64,
}

/// Something that the controller did, as a test looks at it.
#[derive(Clone, Debug)]
pub(super) enum Done {
    /// A write and its outcome.
    Wrote(Op, Answer),
    Sent(crate::controller::Addressed),
    Answered(AskId, Result<Reply, Refusal>),
    Resigned(String),
}

/// The controller's world.
pub(super) struct World {
    pub(super) tree: BTreeMap<String, Node>,
    pub(super) controller: Controller,
    /// Writes of the controller are applied only while this is so.
    pub(super) fence_holds: bool,
    /// Brokers that answer; the others take commands and say nothing.
    pub(super) answering: BTreeSet<BrokerId>,
    /// Replicas that a broker says are in a failed directory.
    pub(super) failed_replicas: BTreeSet<(BrokerId, TopicPartition)>,
    pub(super) done: Vec<Done>,
    pub(super) pending: VecDeque<Event>,
    /// What the core has needed, of the time that passes outside.
    pub(super) spent: std::time::Duration,
    data_watches: BTreeSet<String>,
    child_watches: BTreeSet<String>,
    zxid: i64,
    asked: u64,
    epoch: i32,
}

impl World {
    pub(super) fn new(config: impl FnOnce(&mut Config)) -> Self {
        let mut settings = Config {
            id: BrokerId(1),
            topic_ids: true,
            leader_recovery: true,
            feature_versioning: true,
            delete_topic_enable: true,
            unclean_leader_election_enable: false,
            auto_leader_rebalance_enable: true,
            leader_imbalance_per_broker_percentage: 10,
            seed: [7; 16],
        };
        config(&mut settings);
        let mut world = Self {
            tree: BTreeMap::new(),
            controller: Controller::new(settings),
            fence_holds: true,
            answering: BTreeSet::new(),
            failed_replicas: BTreeSet::new(),
            done: Vec::new(),
            pending: VecDeque::new(),
            spent: std::time::Duration::ZERO,
            data_watches: BTreeSet::new(),
            child_watches: BTreeSet::new(),
            zxid: 0,
            asked: 0,
            epoch: 0,
        };
        for path in [
            "/admin",
            "/admin/delete_topics",
            "/brokers",
            "/brokers/ids",
            "/brokers/topics",
            "/config",
            "/config/brokers",
            "/config/topics",
            "/isr_change_notification",
            "/latest_producer_id_block",
            "/log_dir_event_notification",
        ] {
            world.put(path, "");
        }
        world
    }

    // ---- ZooKeeper, as others write it

    /// Creates or replaces a znode.
    pub(super) fn put(&mut self, path: &str, data: impl Into<Vec<u8>>) {
        let answer = if self.tree.contains_key(path) {
            self.apply(&Op::set(path, data, None))
        } else {
            self.apply(&Op::create(path, data))
        };
        assert!(matches!(answer, Answer::Written { .. }), "{path}: {answer:?}");
    }

    /// Deletes a znode.
    pub(super) fn remove(&mut self, path: &str) {
        let answer = self.apply(&Op::delete(path, None));
        assert!(matches!(answer, Answer::Written { .. }), "{path}: {answer:?}");
    }

    pub(super) fn register(&mut self, id: i32) {
        let port = 9090 + id;
        let registration = BrokerRegistration {
            id: BrokerId(id),
            version: 5,
            endpoints: vec![Endpoint {
                listener: "PLAINTEXT".to_owned(),
                host: "127.0.0.1".to_owned(),
                port,
                security_protocol: SecurityProtocol::Plaintext,
            }],
            rack: None,
            jmx_port: -1,
            timestamp: Millis(0),
            features: BTreeMap::new(),
        };
        self.answering.insert(BrokerId(id));
        self.put(&format!("/brokers/ids/{id}"), registration.encode());
    }

    pub(super) fn unregister(&mut self, id: i32) {
        self.answering.remove(&BrokerId(id));
        self.remove(&format!("/brokers/ids/{id}"));
    }

    pub(super) fn epoch_of(&self, id: i32) -> BrokerEpoch {
        BrokerEpoch(
            self.tree
                .get(&format!("/brokers/ids/{id}"))
                .map_or(-1, |node| node.czxid),
        )
    }

    pub(super) fn is_registered(&self, broker: BrokerId) -> bool {
        self.tree.contains_key(&format!("/brokers/ids/{broker}"))
    }

    pub(super) fn put_topic(&mut self, topic: &str, with_id: bool, partitions: &[(i32, Vec<BrokerId>)]) {
        let znode = TopicAssignment {
            topic_id: with_id.then(|| topic_id(topic)),
            partitions: partitions
                .iter()
                .map(|(index, ids)| (*index, ReplicaAssignment::new(ids.clone())))
                .collect(),
        };
        self.put(&format!("/brokers/topics/{topic}"), znode.encode());
    }

    pub(super) fn put_config(&mut self, topic: &str, key: &str, value: &str) {
        let config = BTreeMap::from([(key.to_owned(), value.to_owned())]);
        self.put(
            &Entity::Topic(topic.to_owned()).path(),
            zk_schema::config::encode(&config),
        );
    }

    fn apply(&mut self, op: &Op) -> Answer {
        self.zxid += 1;
        let path = op.path().to_owned();
        let parent = path.rsplit_once('/').map_or("", |(parent, _)| parent).to_owned();
        let has_children = |tree: &BTreeMap<String, Node>| {
            let below = format!("{path}/");
            tree.range(below.clone()..)
                .next()
                .is_some_and(|(it, _)| it.starts_with(&below))
        };
        let matches = |node: &Node, expected: &Option<i32>| expected.is_none_or(|it| it == node.version);
        match op {
            Op::Create { data, .. } => {
                if self.tree.contains_key(&path) {
                    return Answer::NodeExists;
                }
                if !parent.is_empty() && !self.tree.contains_key(&parent) {
                    return Answer::NoNode;
                }
                let node = Node {
                    data: data.clone(),
                    version: 0,
                    czxid: self.zxid,
                    mzxid: self.zxid,
                };
                self.tree.insert(path.clone(), node);
                self.fire(&path, true);
                self.fire_children(&parent);
                Answer::Written { version: 0 }
            }
            Op::SetData {
                data, expected_version, ..
            } => match self.tree.get_mut(&path) {
                None => Answer::NoNode,
                Some(node) if !matches(node, expected_version) => Answer::BadVersion,
                Some(node) => {
                    node.data.clone_from(data);
                    node.version += 1;
                    node.mzxid = self.zxid;
                    let version = node.version;
                    self.fire(&path, true);
                    Answer::Written { version }
                }
            },
            Op::Delete { expected_version, .. } => match self.tree.get(&path) {
                None => Answer::NoNode,
                Some(node) if !matches(node, expected_version) => Answer::BadVersion,
                Some(_) if has_children(&self.tree) => Answer::NotEmpty,
                Some(_) => {
                    self.tree.remove(&path);
                    self.fire(&path, false);
                    self.fire_children(&parent);
                    self.fire_children(&path);
                    Answer::Written { version: 0 }
                }
            },
            Op::Check { .. } => Answer::Failed("the controller checks nothing by itself".to_owned()),
        }
    }

    fn fire(&mut self, path: &str, _exists: bool) {
        if self.data_watches.remove(path) {
            self.pending.push_back(Event::Changed(path.to_owned()));
        }
    }

    fn fire_children(&mut self, path: &str) {
        if self.child_watches.remove(path) {
            self.pending.push_back(Event::Changed(path.to_owned()));
        }
    }

    fn read(&mut self, read: &Read) -> Answer {
        match read {
            Read::Data { path, watch } => {
                if *watch {
                    self.data_watches.insert(path.clone());
                }
                match self.tree.get(path) {
                    Some(node) => Answer::Data {
                        data: Bytes::from(node.data.clone()),
                        version: node.version,
                        czxid: node.czxid,
                        mzxid: node.mzxid,
                    },
                    None => Answer::NoNode,
                }
            }
            Read::Children { path, watch } => {
                if *watch {
                    self.child_watches.insert(path.clone());
                }
                if !self.tree.contains_key(path) {
                    return Answer::NoNode;
                }
                let below = format!("{path}/");
                let children = self.tree.range(below.clone()..).map(|(it, _)| it);
                let children = children
                    .take_while(|it| it.starts_with(&below))
                    .filter_map(|it| it.strip_prefix(&below));
                // ZooKeeper gives children in no order.
                let children: Vec<_> = children.filter(|it| !it.contains('/')).map(str::to_owned).collect();
                Answer::Children(children.into_iter().rev().collect())
            }
        }
    }

    // ---- the controller

    /// Another controller, or this one again, has won.
    pub(super) fn elect(&mut self) {
        self.epoch += 1;
        self.fence_holds = true;
        self.data_watches.clear();
        self.child_watches.clear();
        self.pending.clear();
        self.pending.push_back(Event::Elected {
            epoch: ControllerEpoch(self.epoch),
        });
    }

    pub(super) fn ask(&mut self, ask: Ask) -> AskId {
        self.asked += 1;
        let id = AskId(self.asked);
        self.pending.push_back(Event::Asked(id, ask));
        id
    }

    /// Steps until nothing is left to happen.
    pub(super) fn settle(&mut self) {
        for _ in 0..100_000 {
            if !self.step() {
                return;
            }
        }
        panic!("the controller does not come to rest");
    }

    /// One event; `false` if there is none.
    pub(super) fn step(&mut self) -> bool {
        let Some(event) = self.pending.pop_front() else {
            return false;
        };
        let before = std::time::Instant::now();
        let effects = self.controller.step(event, Millis(0));
        self.spent += before.elapsed();
        for effect in effects {
            self.perform(effect);
        }
        true
    }

    fn perform(&mut self, effect: Effect) {
        match effect {
            Effect::Read(id, reads) => {
                let answers = reads.iter().map(|read| self.read(read)).collect();
                self.pending.push_front(Event::Answered(id, answers));
            }
            Effect::Write(id, ops) => {
                if !self.fence_holds {
                    self.pending.push_front(Event::Resigned);
                    return;
                }
                let mut answers = Vec::new();
                for op in ops {
                    let answer = self.apply(&op);
                    self.done.push(Done::Wrote(op, answer.clone()));
                    answers.push(answer);
                }
                // The outcome of a write overtakes the watches that it has fired.
                self.pending.push_front(Event::Answered(id, answers));
            }
            Effect::Send(addressed) => {
                let (broker, epoch) = (addressed.broker, addressed.broker_epoch);
                if epoch != self.epoch_of(broker.0) {
                    // For an earlier life of the broker, which is gone: nobody hears it.
                    assert!(
                        epoch < self.epoch_of(broker.0) || !self.is_registered(broker),
                        "of a life to come"
                    );
                    return;
                }
                if self.answering.contains(&broker)
                    && let Some(reply) = self.reply(broker, &addressed.command)
                {
                    self.pending.push_back(Event::Replied(broker, epoch, reply));
                }
                self.done.push(Done::Sent(addressed));
            }
            Effect::Answer(id, answer) => self.done.push(Done::Answered(id, answer)),
            Effect::Resign(reason) => {
                self.done.push(Done::Resigned(reason));
                self.pending.push_front(Event::Resigned);
            }
            Effect::Connect(_) | Effect::Disconnect(_) | Effect::Gauges(_) => {}
        }
    }

    fn reply(&self, broker: BrokerId, command: &BrokerCommand) -> Option<BrokerReply> {
        match command {
            BrokerCommand::LeaderAndIsr(command) => {
                let error = |partition: &TopicPartition| {
                    if self.failed_replicas.contains(&(broker, partition.clone())) {
                        56
                    } else {
                        0
                    }
                };
                Some(BrokerReply::LeaderAndIsr {
                    error_code: 0,
                    partitions: command.partitions.keys().map(|it| (it.clone(), error(it))).collect(),
                })
            }
            BrokerCommand::UpdateMetadata(_) => None,
            BrokerCommand::StopReplica(command) => {
                let deleted = command.partitions.iter().filter(|(_, it)| it.delete);
                let partitions: Vec<_> = deleted.map(|(partition, _)| (partition.clone(), 0)).collect();
                (!partitions.is_empty()).then_some(BrokerReply::StopReplica {
                    error_code: 0,
                    partitions,
                })
            }
        }
    }
}

/// The id of a topic in these tests: its name, so to speak.
pub(super) fn topic_id(topic: &str) -> TopicId {
    let mut bytes = [1; 16];
    for (to, from) in bytes.iter_mut().zip(topic.bytes()) {
        *to = from;
    }
    TopicId(bytes)
}
