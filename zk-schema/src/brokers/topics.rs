//! `/brokers/topics/<topic>` — a topic: its id, and which brokers hold which partition.
//!
//! Persistent. Created by whoever creates the topic; rewritten by the controller (topic id, reassignment) and by
//! whoever adds partitions. Below it the controller keeps `partitions/<n>/state`.

use std::collections::BTreeMap;

use model::{BrokerId, TopicId, TopicPartition};
use serde_json::{Map, Value};

use crate::decode::{DecodeError, Object};
use crate::java_order::sort_as_scala_mutable;

/// Parent of all topics.
pub const PATH: &str = "/brokers/topics";

/// Where a topic is.
pub fn path(topic: &str) -> String {
    format!("{PATH}/{topic}")
}

/// Parent of a topic's partitions.
pub fn partitions_path(topic: &str) -> String {
    format!("{PATH}/{topic}/partitions")
}

/// Where a partition is.
pub fn partition_path(partition: &TopicPartition) -> String {
    format!("{PATH}/{}/partitions/{}", partition.topic, partition.partition)
}

/// The replicas of one partition; the first is the preferred leader.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct ReplicaAssignment {
    /// All replicas, those being added and removed included.
    pub replicas: Vec<BrokerId>,
    /// Of these, the ones that a reassignment is bringing in.
    pub adding_replicas: Vec<BrokerId>,
    /// Of these, the ones that a reassignment is taking out.
    pub removing_replicas: Vec<BrokerId>,
}

impl ReplicaAssignment {
    /// Replicas with no reassignment going on.
    pub fn new(replicas: impl Into<Vec<BrokerId>>) -> Self {
        Self {
            replicas: replicas.into(),
            ..Self::default()
        }
    }

    /// Whether a reassignment is going on.
    pub fn is_being_reassigned(&self) -> bool {
        !self.adding_replicas.is_empty() || !self.removing_replicas.is_empty()
    }
}

/// A topic's id and replicas.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct TopicAssignment {
    /// Absent where a tool older than 2.8 or with `--zookeeper` created the topic; the controller then adds one.
    pub topic_id: Option<TopicId>,
    /// By partition.
    pub partitions: BTreeMap<i32, ReplicaAssignment>,
}

impl TopicAssignment {
    /// As Kafka 3.9 writes it (version 3).
    pub fn encode(&self) -> Vec<u8> {
        let list = |replicas: &[BrokerId]| Value::from(replicas.iter().map(|id| id.0).collect::<Vec<_>>());
        let part = |pick: &dyn Fn(&ReplicaAssignment) -> Option<Value>| {
            let some = self
                .partitions
                .iter()
                .filter_map(|(p, a)| Some((p.to_string(), pick(a)?)));
            let mut entries: Vec<(String, Value)> = some.collect();
            sort_as_scala_mutable(&mut entries, |(partition, _)| partition);
            Value::Object(entries.into_iter().collect())
        };
        let some = |replicas: &[BrokerId]| (!replicas.is_empty()).then(|| list(replicas));
        let mut json = Map::new();
        json.insert("partitions".into(), part(&|a| Some(list(&a.replicas))));
        if let Some(topic_id) = self.topic_id {
            json.insert("topic_id".into(), topic_id.to_string().into());
        }
        json.insert("adding_replicas".into(), part(&|a| some(&a.adding_replicas)));
        json.insert("removing_replicas".into(), part(&|a| some(&a.removing_replicas)));
        json.insert("version".into(), 3.into());
        Value::Object(json).to_string().into_bytes()
    }

    /// Reads versions 1 to 3.
    ///
    /// # Errors
    /// No JSON object, or partitions, replicas or the id cannot be understood.
    pub fn decode(topic: &str, data: &[u8]) -> Result<Self, DecodeError> {
        let znode = path(topic);
        let object = Object::parse(&znode, data)?;
        let topic_id = object
            .optional_string("topic_id")?
            .map(|id| id.parse::<TopicId>().map_err(|error| object.error(error.to_string())))
            .transpose()?;
        let adding = object.object("adding_replicas")?;
        let removing = object.object("removing_replicas")?;
        let mut partitions = BTreeMap::new();
        for (partition, replicas) in object.object("partitions")?.into_iter().flatten() {
            let index: i32 = partition
                .parse()
                .ok()
                .filter(|index| *index >= 0)
                .ok_or_else(|| object.error(format!("bad partition '{partition}'")))?;
            let ids = |value: &Value| -> Result<Vec<BrokerId>, DecodeError> {
                Ok(object.numbers(partition, value)?.into_iter().map(BrokerId).collect())
            };
            let of =
                |map: Option<&Map<String, Value>>| map.and_then(|map| map.get(partition)).map_or(Ok(Vec::new()), ids);
            let assignment = ReplicaAssignment {
                replicas: ids(replicas)?,
                adding_replicas: of(adding)?,
                removing_replicas: of(removing)?,
            };
            partitions.insert(index, assignment);
        }
        Ok(Self { topic_id, partitions })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn older_versions_are_read() {
        let check = |json: &str, partitions: &[(i32, &[i32])]| {
            let topic = TopicAssignment::decode("t", json.as_bytes()).unwrap();
            assert_eq!(topic.topic_id, None, "{json}");
            let found = topic
                .partitions
                .iter()
                .map(|(p, a)| (*p, a.replicas.iter().map(|b| b.0).collect()));
            let expected = partitions.iter().map(|(p, ids)| (*p, ids.to_vec()));
            assert!(found.eq(expected), "{json}");
        };
        check(
            r#"{"version":1,"partitions":{"1":[2,3],"0":[1,2]}}"#,
            &[(0, &[1, 2]), (1, &[2, 3])],
        );
        check(
            r#"{"version":2,"partitions":{"0":[1]},"adding_replicas":{},"removing_replicas":{}}"#,
            &[(0, &[1])],
        );
        check(r#"{"version":1}"#, &[]);
        for bad in [
            "",
            "null",
            r#"{"partitions":[]}"#,
            r#"{"partitions":{"x":[1]}}"#,
            r#"{"partitions":{"-1":[1]}}"#,
            r#"{"partitions":{"0":["a"]}}"#,
            r#"{"partitions":{"0":[1]},"topic_id":"short"}"#,
        ] {
            assert!(TopicAssignment::decode("t", bad.as_bytes()).is_err(), "{bad}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn reads_what_it_writes(
            id in proptest::option::of(any::<[u8; 16]>()),
            partitions in proptest::collection::btree_map(
                0..2000i32,
                (proptest::collection::vec(any::<i32>(), 0..4), proptest::collection::vec(any::<i32>(), 0..2)),
                0..40,
            ),
        ) {
            let ids = |ids: Vec<i32>| ids.into_iter().map(BrokerId).collect::<Vec<_>>();
            let topic = TopicAssignment {
                topic_id: id.map(TopicId),
                partitions: partitions
                    .into_iter()
                    .map(|(p, (replicas, adding))| {
                        (p, ReplicaAssignment { adding_replicas: ids(adding), ..ReplicaAssignment::new(ids(replicas)) })
                    })
                    .collect(),
            };
            prop_assert_eq!(TopicAssignment::decode("t", &topic.encode()), Ok(topic));
        }
    }
}
