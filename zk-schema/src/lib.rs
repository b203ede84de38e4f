//! Every znode of a ZooKeeper-coordinated Kafka cluster: path, bytes, meaning.
//!
//! One module per znode or small family: its path, who writes it, `encode` to the very bytes that Kafka 3.9 writes,
//! `decode` of whatever any Kafka from 0.9 to 3.9 or its `--zookeeper` tools wrote there. A write is data
//! ([`op::Op`], [`op::Fenced`]). Pure: no I/O, no clock (timestamps are arguments), no session.

pub mod controller_epoch;
mod decode;
pub mod op;

pub use decode::DecodeError;
pub use op::{CreateMode, Created, Fenced, Op, OpResult, Stat};
