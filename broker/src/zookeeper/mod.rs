//! Administration as ZooKeeper writes: topics, partitions, configurations.

use broker_wire::ErrorCode;

use crate::Broker;

/// Creates a topic because a client asked for its metadata; the code that Metadata answers for it.
pub async fn auto_create_topic(_broker: &Broker, _name: &str) -> ErrorCode {
    ErrorCode::UnknownTopicOrPartition
}
