//! Below `/admin`: what operators want of the controller.

use std::collections::BTreeMap;

use model::{BrokerId, TopicPartition};
use serde_json::{Value, json};

use crate::decode::{DecodeError, Object};
use crate::partition_list;

/// `/admin/delete_topics` — its children name the topics to be deleted.
///
/// Children are persistent and empty; created by whoever is asked, deleted by the controller, last of all traces.
pub const DELETE_TOPICS_PATH: &str = "/admin/delete_topics";

/// Where the wish to delete `topic` is.
pub fn delete_topic_path(topic: &str) -> String {
    format!("{DELETE_TOPICS_PATH}/{topic}")
}

/// `/admin/reassign_partitions` — partitions to be moved, as tools up to 2.8 ask for it.
///
/// Persistent; created by the tool, shrunk and deleted by the controller as it goes.
pub const REASSIGN_PARTITIONS_PATH: &str = "/admin/reassign_partitions";

/// `/admin/preferred_replica_election` — partitions to be led by their preferred leaders, as tools up to 2.8 ask.
///
/// Persistent; created by the tool, deleted by the controller when done.
pub const PREFERRED_REPLICA_ELECTION_PATH: &str = "/admin/preferred_replica_election";

/// New replicas by partition, as `/admin/reassign_partitions` holds them.
pub fn encode_reassignment(partitions: &BTreeMap<TopicPartition, Vec<BrokerId>>) -> Vec<u8> {
    let partitions: Vec<Value> = partitions
        .iter()
        .map(|(partition, replicas)| {
            let replicas: Vec<i32> = replicas.iter().map(|id| id.0).collect();
            json!({"topic": &*partition.topic, "partition": partition.partition, "replicas": replicas})
        })
        .collect();
    json!({"version": 1, "partitions": partitions}).to_string().into_bytes()
}

/// Reads `/admin/reassign_partitions`. Of a partition that is named twice the last entry counts.
///
/// # Errors
/// Not a list of partitions with replicas.
pub fn decode_reassignment(data: &[u8]) -> Result<BTreeMap<TopicPartition, Vec<BrokerId>>, DecodeError> {
    let object = Object::parse(REASSIGN_PARTITIONS_PATH, data)?;
    let partitions = object
        .array("partitions")?
        .ok_or_else(|| object.error("no 'partitions'"))?;
    partitions
        .iter()
        .map(|entry| {
            let replicas = entry.get("replicas").unwrap_or(&Value::Null);
            let replicas = object
                .numbers("replicas", replicas)?
                .into_iter()
                .map(BrokerId)
                .collect();
            Ok((partition_list::partition(&object, entry)?, replicas))
        })
        .collect()
}

/// Partitions, as `/admin/preferred_replica_election` holds them.
pub fn encode_preferred_replica_election(partitions: &[TopicPartition]) -> Vec<u8> {
    partition_list::encode(partitions)
}

/// Reads `/admin/preferred_replica_election`.
///
/// # Errors
/// Not a list of partitions.
pub fn decode_preferred_replica_election(data: &[u8]) -> Result<Vec<TopicPartition>, DecodeError> {
    partition_list::decode(PREFERRED_REPLICA_ELECTION_PATH, data)
}
