//! `__consumer_offsets` itself: how many partitions it has, and how it is configured when it is created.

use model::GROUP_METADATA_TOPIC;
use zk_schema::brokers::topics::{self, TopicAssignment};
use zk_schema_store::Store;

use super::loading::LoadError;
use crate::config::BrokerConfig;

/// The number of partitions, from ZooKeeper: a metadata cache may know only some of them while the topic is being created,
/// and a group that is looked for in the wrong partition has lost its offsets.
pub(super) async fn partition_count(store: &Store) -> Result<i32, LoadError> {
    let path = topics::path(GROUP_METADATA_TOPIC);
    let (data, _) = store.get(&path).await?.ok_or(LoadError::NoTopic)?;
    let assignment = TopicAssignment::decode(GROUP_METADATA_TOPIC, &data)?;
    i32::try_from(assignment.partitions.len()).map_err(|_too_many| LoadError::NoTopic)
}

/// The configuration with which the topic is created. Source: Kafka 3.9 `GroupCoordinator.offsetsTopicConfigs`.
pub fn offsets_topic_configs(config: &BrokerConfig) -> Vec<(String, String)> {
    vec![
        ("compression.type".to_owned(), "producer".to_owned()),
        ("cleanup.policy".to_owned(), "compact".to_owned()),
        (
            "segment.bytes".to_owned(),
            config.offsets_topic_segment_bytes.to_string(),
        ),
    ]
}
