//! Examples for the tests of this crate: broker 1 leads, 2 and 3 fetch. Nothing here is decided.

use model::{BrokerEpoch, BrokerId, ControllerEpoch, LeaderEpoch, Millis, Offset, PartitionEpoch};

use crate::leader::{FollowerFetch, PartitionState};

pub(crate) fn ids(list: &[i32]) -> Vec<BrokerId> {
    list.iter().copied().map(BrokerId).collect()
}

/// What the controller says of a partition that broker 1 leads.
pub(crate) fn state(leader_epoch: i32, partition_epoch: i32, replicas: &[i32], isr: &[i32]) -> PartitionState {
    PartitionState {
        controller_epoch: ControllerEpoch(1),
        leader: BrokerId(1),
        leader_epoch: LeaderEpoch(leader_epoch),
        partition_epoch: PartitionEpoch(partition_epoch),
        isr: ids(isr),
        replicas: ids(replicas),
        adding_replicas: vec![],
        removing_replicas: vec![],
        is_new: false,
    }
}

/// A follower's fetch, without a broker epoch.
pub(crate) fn fetch(replica: i32, offset: i64, leader_end: i64, at: i64) -> FollowerFetch {
    FollowerFetch {
        replica: BrokerId(replica),
        fetch_offset: Offset(offset),
        log_start_offset: Offset(0),
        broker_epoch: BrokerEpoch::NONE,
        leader_end: Offset(leader_end),
        at: Millis(at),
    }
}
