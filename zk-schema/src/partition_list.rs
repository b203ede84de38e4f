//! `{"version":1,"partitions":[{"topic":…,"partition":…}]}`, as several znodes hold it.

use model::TopicPartition;
use serde_json::{Value, json};

use crate::decode::{DecodeError, Object, number};

pub(crate) fn encode(partitions: &[TopicPartition]) -> Vec<u8> {
    let partitions: Vec<Value> = partitions
        .iter()
        .map(|p| json!({"topic": &*p.topic, "partition": p.partition}))
        .collect();
    json!({"version": 1, "partitions": partitions}).to_string().into_bytes()
}

pub(crate) fn decode(znode: &str, data: &[u8]) -> Result<Vec<TopicPartition>, DecodeError> {
    let object = Object::parse(znode, data)?;
    let partitions = object
        .array("partitions")?
        .ok_or_else(|| object.error("no 'partitions'"))?;
    partitions.iter().map(|entry| partition(&object, entry)).collect()
}

/// One entry's topic and partition.
pub(crate) fn partition(object: &Object<'_>, entry: &Value) -> Result<TopicPartition, DecodeError> {
    let topic = entry.get("topic").and_then(Value::as_str);
    let index = entry.get("partition").and_then(number);
    match (topic, index) {
        (Some(topic), Some(index)) => Ok(TopicPartition::new(topic, index)),
        _ => Err(object.error("an entry is not a topic and a partition")),
    }
}
