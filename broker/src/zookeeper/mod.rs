//! What administration writes to ZooKeeper, and what every broker reads of it: topics, configurations, old offsets.
//!
//! Library functions for the API handlers: each takes a [`zk_schema_store::Store`], does what Kafka 3.9's
//! `AdminZkClient` does, in its order and with its refusals, and waits for nobody: that the cluster acts on what was
//! written is the controller's business, that the answer waits for it the handler's.

pub mod apply;
pub mod assignment;
mod auto_create;
pub mod changes;
pub mod configs;
pub mod consumer_offsets;
mod error;
pub mod features;
pub mod new_topics;
pub mod quotas;
pub mod topics;

pub use auto_create::auto_create_topic;
pub use error::AdminError;
