//! Every znode of a ZooKeeper-coordinated Kafka cluster: path, bytes, meaning.
//!
//! One module per znode or small family: its path, who writes it, `encode` to the very bytes that Kafka 3.9 writes,
//! `decode` of whatever any Kafka from 0.9 to 3.9 or its `--zookeeper` tools wrote there. A write is data
//! ([`op::Op`], [`op::Fenced`]). Pure: no I/O, no clock (timestamps are arguments), no session.

pub mod acl;
pub mod admin;
pub mod brokers;
pub mod cluster_id;
pub mod config;
pub mod consumers;
pub mod controller;
pub mod controller_epoch;
mod decode;
pub mod delegation_token;
pub mod feature;
mod java_order;
pub mod migration;
pub mod node_acl;
pub mod notifications;
pub mod op;
pub mod ottla;
mod partition_list;
pub mod producer_id_block;
pub mod roots;
pub mod sanitizer;

pub use decode::DecodeError;
pub use op::{CreateMode, Created, Fenced, Op, OpResult, Stat};
pub use roots::{PERSISTENT_PATHS, ZNODES, ZnodeDoc};
