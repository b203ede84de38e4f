//! Below `/brokers`: who is there (`ids`, `seqid`), and which topics (`topics`).

pub mod ids;
pub mod partition_state;
pub mod topics;

/// `/brokers/seqid` — persistent, empty; each write makes its data version the next generated broker id.
///
/// Source: Kafka 3.9 `KafkaZkClient.generateBrokerSequenceId`: the id is `reserved.broker.max.id` + version.
pub const SEQID_PATH: &str = "/brokers/seqid";
