//! The broker: a drop-in for a Kafka 3.9 broker in a ZooKeeper-coordinated cluster.
//!
//! The rooms: [`net`] moves frames, [`api`] understands them, [`partition`] decides for a partition over its log,
//! [`delayed`] is where requests wait, [`metadata`] is what the controller told, [`config`] what the operator wants.

pub mod api;
pub mod blocking;
pub mod clock;
pub mod compatibility;
pub mod config;
pub mod controller;
pub mod delayed;
pub mod fetch_session;
pub mod group;
pub mod in_sync;
mod internal_topic;
pub mod logging;
pub mod metadata;
pub mod net;
pub mod partition;
pub mod producer_ids;
pub mod quota;
pub mod registration;
pub mod replication;
pub mod security;
pub mod start;
pub mod tokens;
pub mod transaction;
pub mod verification;
pub mod vital;
pub mod zookeeper;

mod broker;

pub use broker::Broker;
