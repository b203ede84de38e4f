//! Several brokers of one scene, and what must be true of them all together.

use crate::broker::{Broker, BrokerSetup};
use crate::metadata::Partition;
use crate::replicas::{compare, stored_batches};
use crate::wire::Connection;
use crate::writer::{WriterSetup, Written};
use crate::znodes::Znodes;
use crate::{Scene, eventually, kcat_reads_all};
use serde_json::Value;
use std::collections::BTreeMap;
use std::time::Duration;

/// Brokers with the ids 1 to n. Dropped before their scene.
pub struct Cluster {
    /// The brokers in the order of their ids.
    pub brokers: Vec<Broker>,
    scene: Scene,
}

impl Cluster {
    /// Starts so many brokers at once. Internal topics have three replicas (fewer with fewer brokers), a minimum of two in
    /// sync; a replica that has not caught up for four seconds is out of sync.
    pub fn start(scene: Scene, count: u32, configure: impl Fn(BrokerSetup) -> BrokerSetup) -> Self {
        let replicas = count.min(3).to_string();
        let setups = (1..=count).map(|id| {
            configure(
                scene
                    .broker(id)
                    .set("offsets.topic.replication.factor", &replicas)
                    .set("default.replication.factor", &replicas)
                    .set("min.insync.replicas", "2")
                    .set("replica.lag.time.max.ms", "4000")
                    .set("auto.create.topics.enable", "false"),
            )
        });
        let mut brokers: Vec<Broker> = setups.map(BrokerSetup::launch).collect();
        for broker in &mut brokers {
            broker.wait_until_started();
        }
        let cluster = Self { brokers, scene };
        let all: Vec<i32> = (1..=count).map(|id| id as i32).collect();
        cluster.wait_for_members(&all, 20);
        cluster
    }

    /// Starts all brokers again at once, which have ended.
    pub fn start_all_again(&mut self) {
        std::thread::scope(|scope| {
            for broker in &mut self.brokers {
                scope.spawn(|| broker.start_again());
            }
        });
    }

    /// Its directory and ZooKeeper.
    pub fn scene(&mut self) -> &mut Scene {
        &mut self.scene
    }

    /// The broker with this id.
    pub fn broker(&mut self, id: i32) -> &mut Broker {
        &mut self.brokers[usize::try_from(id).expect("ids start at 1") - 1]
    }

    /// `host:port` of all brokers, separated by commas.
    pub fn bootstrap(&self) -> String {
        let all: Vec<String> = self.brokers.iter().map(Broker::bootstrap).collect();
        all.join(",")
    }

    /// A session at its ZooKeeper, to read.
    ///
    /// # Panics
    /// Panics when ZooKeeper does not answer.
    pub fn znodes(&self) -> Znodes {
        // One that has just started may close the first connections.
        eventually(10, "ZooKeeper answers", || {
            Znodes::open(self.scene.zookeeper_connect()).map_err(|e| e.to_string())
        })
    }

    /// A writer of batches of ten to all partitions of a topic.
    pub fn writer(&self, topic: &str, partitions: i32) -> WriterSetup {
        WriterSetup {
            ports: self.brokers.iter().map(Broker::port).collect(),
            topic: topic.to_owned(),
            partitions,
            batch: 10,
            pause: Duration::from_millis(5),
        }
    }

    /// Creates a topic with three replicas and waits until all of them are in sync.
    pub fn create_topic(&self, topic: &str, partitions: i32, configs: &[(&str, &str)]) {
        self.create_replicated_topic(topic, partitions, 3, configs);
    }

    /// Creates a topic with so many replicas and waits until all of them are in sync.
    pub fn create_replicated_topic(&self, topic: &str, partitions: i32, replicas: i16, configs: &[(&str, &str)]) {
        let creator = self.controller_for_clients(topic);
        creator.create_replicated_topic(topic, partitions, replicas, configs);
        self.wait_until_in_sync(topic, 20);
    }

    /// The broker to which clients are sent with what is for the controller: Kafka's others refuse it.
    fn controller_for_clients(&self, topic: &str) -> &Broker {
        eventually(20, "somebody tells of a controller", || {
            self.told_controller(topic).ok_or_else(|| "nobody does".to_owned())
        })
    }

    fn told_controller(&self, topic: &str) -> Option<&Broker> {
        self.brokers.iter().find_map(|broker| {
            let told = Connection::open_within(broker.port(), Duration::from_secs(1))
                .and_then(|mut c| c.topic_metadata(topic))
                .ok()?;
            let port = told.ports.get(&told.controller).copied();
            self.brokers.iter().find(|b| Some(b.port()) == port)
        })
    }

    /// Asks once for a topic to be made or deleted, whatever comes of it.
    pub fn try_topic(&self, topic: &str, make: bool) {
        let Some(controller) = self.told_controller(topic) else {
            return;
        };
        let asked = Connection::open_within(controller.port(), Duration::from_secs(2)).and_then(|mut c| {
            if make {
                c.create_topic(topic, 2, 3, &[])
            } else {
                c.delete_topic(topic)
            }
        });
        // It may be refused, or nobody may answer: that is what faults are for.
        drop(asked);
    }

    /// Deletes all topics whose names begin so, and waits until no broker and no znode has a trace of them.
    pub fn delete_topics(&self, prefix: &str, seconds: u64) {
        eventually(seconds, &format!("all traces of {prefix}… are gone"), || {
            let mut traces = Vec::new();
            for path in ["/brokers/topics", "/config/topics", "/admin/delete_topics"] {
                let names = self.znodes().children(path).map_err(|e| e.to_string())?;
                let names: Vec<_> = names.into_iter().filter(|n| n.starts_with(prefix)).collect();
                if path == "/brokers/topics" {
                    names.iter().for_each(|topic| self.try_topic(topic, false));
                }
                traces.extend(names.into_iter().map(|name| format!("{path}/{name}")));
            }
            for directory in self.brokers.iter().flat_map(Broker::log_directories) {
                let files = std::fs::read_dir(&directory).map_err(|e| e.to_string())?.flatten();
                let names = files.map(|f| f.file_name().to_string_lossy().into_owned());
                traces.extend(
                    names
                        .filter(|n| n.starts_with(prefix))
                        .map(|name| format!("{}/{name}", directory.display())),
                );
            }
            match traces.len() {
                0 => Ok(()),
                count => Err(format!("{count} traces, such as {:?}", &traces[..count.min(5)])),
            }
        });
    }

    /// Lets the preferred replica of each partition lead, and waits until it does for those of a topic.
    pub fn elect_preferred_leaders(&self, topic: &str) {
        eventually(30, &format!("the preferred replicas of {topic} lead"), || {
            let partitions = self.partitions(topic)?;
            match partitions.iter().find(|p| p.leader != p.replicas[0]) {
                None => Ok(()),
                Some(other) => {
                    let error = Connection::open(self.controller_for_clients(topic).port())
                        .and_then(|mut c| c.elect_preferred_leaders());
                    Err(format!("{other:?}, asked for an election: {error:?}"))
                }
            }
        });
    }

    /// Waits until exactly these brokers are registered and every one of them tells its clients so.
    pub fn wait_for_members(&self, ids: &[i32], seconds: u64) {
        eventually(seconds, &format!("the cluster consists of {ids:?}"), || {
            let mut registered: Vec<i32> = self
                .znodes()
                .children("/brokers/ids")
                .map_err(|e| e.to_string())?
                .iter()
                .filter_map(|id| id.parse().ok())
                .collect();
            registered.sort_unstable();
            if registered != ids {
                return Err(format!("registered are {registered:?}"));
            }
            for id in ids {
                let broker = &self.brokers[usize::try_from(*id).expect("ids start at 1") - 1];
                let told = Connection::open_within(broker.port(), Duration::from_secs(2))
                    .and_then(|mut c| c.topic_metadata("none"))
                    .map_err(|e| format!("broker {id}: {e}"))?;
                let told: Vec<i32> = told.ports.into_keys().collect();
                if told != ids {
                    return Err(format!("broker {id} tells of {told:?}"));
                }
            }
            Ok(())
        });
    }

    /// Id of whoever holds `/controller`, if anybody does.
    pub fn controller(&self) -> Option<i32> {
        let znode = self.znodes().get("/controller").ok()??;
        let json: Value = serde_json::from_str(&znode.data).ok()?;
        json["brokerid"].as_i64().and_then(|id| i32::try_from(id).ok())
    }

    /// Waits for somebody to hold `/controller` whom `wanted` likes.
    pub fn wait_for_controller(&self, seconds: u64, wanted: impl Fn(i32) -> bool) -> i32 {
        eventually(seconds, "there is a controller", || match self.controller() {
            Some(id) if wanted(id) => Ok(id),
            other => Err(format!("{other:?}")),
        })
    }

    /// The partitions of a topic as ZooKeeper has them; none before the controller has made them.
    ///
    /// # Errors
    /// Fails when ZooKeeper does not answer or what it has makes no sense.
    pub fn partitions(&self, topic: &str) -> Result<Vec<Partition>, String> {
        let mut znodes = Znodes::open(self.scene.zookeeper_connect()).map_err(|e| e.to_string())?;
        let mut json = |path: &str| -> Result<Value, String> {
            let znode = znodes.get(path).map_err(|e| e.to_string())?;
            let data = znode.ok_or_else(|| format!("there is no {path}"))?.data;
            serde_json::from_str(&data).map_err(|e| format!("{path}: {e}: {data}"))
        };
        let assignment = json(&format!("/brokers/topics/{topic}"))?;
        let replicas = assignment["partitions"].as_object().ok_or("no partitions")?;
        let mut partitions = Vec::new();
        for (index, replicas) in replicas {
            let state = json(&format!("/brokers/topics/{topic}/partitions/{index}/state"))?;
            let number = |name: &str| state[name].as_i64().map_or(-1, |n| n as i32);
            let mut isr = ids(&state["isr"]);
            isr.sort_unstable();
            partitions.push(Partition {
                index: index.parse().map_err(|e| format!("{index}: {e}"))?,
                leader: number("leader"),
                leader_epoch: number("leader_epoch"),
                replicas: ids(replicas),
                isr,
            });
        }
        partitions.sort_by_key(|p| p.index);
        Ok(partitions)
    }

    /// One partition of a topic.
    ///
    /// # Panics
    /// Panics when there is no such partition.
    pub fn partition(&self, topic: &str, index: i32) -> Partition {
        let all = self.partitions(topic).unwrap_or_else(|e| panic!("{topic}: {e}"));
        all.into_iter()
            .find(|p| p.index == index)
            .unwrap_or_else(|| panic!("there is no {topic}-{index}"))
    }

    /// Waits until a partition looks as `wanted` says, in ZooKeeper.
    pub fn wait_for_partition(
        &self,
        topic: &str,
        index: i32,
        seconds: u64,
        what: &str,
        wanted: impl Fn(&Partition) -> bool,
    ) -> Partition {
        eventually(seconds, &format!("{topic}-{index}: {what}"), || {
            match self.partitions(topic)?.into_iter().find(|p| p.index == index) {
                Some(p) if wanted(&p) => Ok(p),
                other => Err(format!("{other:?}")),
            }
        })
    }

    /// Waits until every replica of a topic is in sync and led, and every broker tells clients the same as ZooKeeper.
    pub fn wait_until_in_sync(&self, topic: &str, seconds: u64) {
        eventually(seconds, &format!("all replicas of {topic} are in sync"), || {
            let partitions = self.partitions(topic)?;
            for p in &partitions {
                let mut replicas = p.replicas.clone();
                replicas.sort_unstable();
                if p.leader < 0 || p.isr != replicas {
                    return Err(format!("{p:?}"));
                }
            }
            for broker in &self.brokers {
                let told = Connection::open_within(broker.port(), Duration::from_secs(2))
                    .and_then(|mut c| c.topic_metadata(topic))
                    .map_err(|e| format!("{}: {e}", broker.bootstrap()))?;
                if told.partitions != partitions {
                    let different: Vec<_> = (partitions.iter().zip(&told.partitions))
                        .filter(|(a, b)| a != b)
                        .take(3)
                        .collect();
                    return Err(format!(
                        "{} tells of {} partitions with error {}; first differences {different:?}",
                        broker.bootstrap(),
                        told.partitions.len(),
                        told.error
                    ));
                }
            }
            Ok(())
        });
    }

    /// What was acknowledged is there: each record exactly once, in order, at the offset that was told; and every replica has
    /// the same bytes. For a topic that only this writer wrote to, from which nothing was deleted.
    pub fn check_written(&self, topic: &str, written: &Written) {
        self.wait_until_in_sync(topic, 60);
        self.check_records(topic, written);
        self.check_replicas(topic);
    }

    /// Reads a topic with kcat and compares it with what was acknowledged.
    pub fn check_records(&self, topic: &str, written: &Written) {
        let out = kcat_reads_all(&self.bootstrap(), topic, "%p %o %k\n");
        check_lines(&out, written);
    }

    /// All replicas of a topic consist of the same batches, byte by byte. Nobody may be writing.
    pub fn check_replicas(&self, topic: &str) {
        eventually(20, &format!("all replicas of {topic} are equal"), || {
            for p in self.partitions(topic)? {
                let read = |id: &i32| {
                    let broker = &self.brokers[usize::try_from(*id).expect("ids start at 1") - 1];
                    let name = format!("{topic}-{}", p.index);
                    let directory = broker
                        .log_directories()
                        .into_iter()
                        .map(|d| d.join(&name))
                        .find(|d| d.exists())
                        .ok_or_else(|| format!("broker {id} has no {name}"))?;
                    stored_batches(&directory)
                };
                let first = read(&p.replicas[0])?;
                for other in &p.replicas[1..] {
                    compare(&first, &read(other)?)
                        .map_err(|e| format!("{topic}-{}: {} against {other}: {e}", p.index, p.replicas[0]))?;
                }
            }
            Ok(())
        });
    }
}

/// Lines of `partition offset key`, as kcat prints a topic that only `written` was written to.
fn check_lines(lines: &str, written: &Written) {
    let mut found: BTreeMap<i32, Vec<(i64, &str)>> = BTreeMap::new();
    for line in lines.lines() {
        let words: Vec<&str> = line.split(' ').collect();
        let (Ok(partition), Ok(offset)) = (words[0].parse(), words[1].parse()) else {
            panic!("a strange line: {line}");
        };
        found.entry(partition).or_default().push((offset, words[2]));
    }
    for (partition, offsets) in &written.offsets {
        let found = found.remove(partition).unwrap_or_default();
        for (n, offset) in offsets.iter().enumerate() {
            let key = format!("{partition}-{n}");
            assert_eq!(
                found.get(n),
                Some(&(*offset, key.as_str())),
                "partition {partition}: record {n} of {} acknowledged, {} found",
                offsets.len(),
                found.len()
            );
        }
        assert_eq!(
            found.get(offsets.len()..),
            Some(&[][..]),
            "partition {partition}: more than was acknowledged"
        );
    }
    assert!(
        found.is_empty(),
        "records in partitions that nobody wrote to: {:?}",
        found.keys()
    );
}

fn ids(list: &Value) -> Vec<i32> {
    list.as_array()
        .into_iter()
        .flatten()
        .filter_map(|id| id.as_i64().map(|id| id as i32))
        .collect()
}
