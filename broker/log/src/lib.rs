//! The log of a partition and the directories that hold logs: batches, append plans, producers; segments and indexes.
//!
//! Blocking, without tokio, without network, without ZooKeeper. `batch`, `compress`, `append` and `producer` are pure;
//! what touches files stands beside them.

pub mod append;
pub mod batch;
pub mod compress;
pub mod producer;
