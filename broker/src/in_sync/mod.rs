//! In-sync sets: the room where leaders' proposals become the controller's word.
//!
//! Hands proposals of all partitions to the controller in batches, one request at a time (AlterPartition), or, below
//! `inter.broker.protocol.version` 2.7, writes them to ZooKeeper itself; gives the answers back to the partitions. Looks at
//! every half of `replica.lag.time.max.ms` for followers that lag. Decides nothing about sets: `broker_replica::in_sync`
//! does.
//!
//! Source: Kafka 3.9 `DefaultAlterPartitionManager`, `ZkAlterPartitionManager`, `ReplicaManager.maybeShrinkIsr`.

mod proposals;

pub use proposals::{Proposals, Submitted};
