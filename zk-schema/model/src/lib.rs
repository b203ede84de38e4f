//! The vocabulary that every room shares: ids, offsets, epochs, milliseconds, topic-partitions.
//!
//! A leaf: no dependency, no I/O, no clock. Newtypes exist where two numbers must never be mixed; each is transparent
//! and prints as the plain number, so log lines and znodes read as Kafka's do.

mod numbers;
mod topic;

pub use numbers::{
    BrokerEpoch, BrokerId, ControllerEpoch, LeaderEpoch, Millis, Offset, PartitionEpoch, ProducerEpoch, ProducerId,
    Sequence, VerificationGuard,
};
pub use topic::{InvalidTopicName, ParseTopicIdError, TopicId, TopicPartition, validate_topic_name};

/// The topic that holds consumer group state. Source: Kafka `Topic.GROUP_METADATA_TOPIC_NAME`.
pub const GROUP_METADATA_TOPIC: &str = "__consumer_offsets";

/// The topic that holds transaction state. Source: Kafka `Topic.TRANSACTION_STATE_TOPIC_NAME`.
pub const TRANSACTION_STATE_TOPIC: &str = "__transaction_state";

/// Whether `topic` is one of the two internal topics.
pub fn is_internal_topic(topic: &str) -> bool {
    topic == GROUP_METADATA_TOPIC || topic == TRANSACTION_STATE_TOPIC
}
