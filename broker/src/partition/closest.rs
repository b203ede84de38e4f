//! Fetching from the closest replica (KIP-392): whom the leader sends a consumer to.
//!
//! Decides only among in-sync followers that have the wanted offset; one that lags would send the consumer back at once,
//! for ever. Pure: racks and liveness are arguments. Source: Kafka 3.9 `ReplicaManager.findPreferredReadReplica`,
//! `RackAwareReplicaSelector`, `ReplicaView.comparator`.

use model::{BrokerId, Millis, Offset};

use super::{LeaderState, Partition, PartitionError, PartitionFetch, Read, Role};

/// The follower in the client's rack that is to be read from; `None`: the leader itself.
///
/// `rack_of` answers the rack of a broker that is alive and listens where the client is.
fn closest(
    leader: &LeaderState,
    fetch_offset: Offset,
    client_rack: &str,
    now: Millis,
    rack_of: impl Fn(BrokerId) -> Option<String>,
) -> Option<BrokerId> {
    let in_rack = |id: BrokerId| rack_of(id).is_some_and(|rack| rack == client_rack);
    if client_rack.is_empty() || in_rack(leader.leader) {
        return None;
    }
    leader
        .followers
        .iter()
        .filter(|(id, follower)| {
            leader.isr.contains(id)
                && follower.log_end_offset >= fetch_offset
                && follower.log_start_offset <= fetch_offset
                && in_rack(**id)
        })
        // The one that is furthest; of those, the one that caught up last.
        .max_by_key(|(id, follower)| {
            (
                follower.log_end_offset,
                core::cmp::Reverse(now - follower.last_caught_up),
                **id,
            )
        })
        .map(|(id, _)| *id)
}

impl Partition {
    /// The answer that sends a consumer in `client_rack` to a closer replica, without records; `None`: read here.
    ///
    /// # Errors
    /// [`PartitionError::NotLeader`] and the two of epochs.
    pub fn redirect(
        &self,
        fetch: &PartitionFetch,
        client_rack: &str,
        now: Millis,
        rack_of: impl Fn(BrokerId) -> Option<String>,
    ) -> Result<Option<Read>, PartitionError> {
        let role = self.role.read();
        let Role::Leader(leading) = &*role else { return Ok(None) };
        let Some(replica) = closest(&leading.state(), fetch.fetch_offset, client_rack, now, rack_of) else {
            return Ok(None);
        };
        let log = self.log_for(&role, fetch.current_leader_epoch, false)?;
        Ok(Some(Read {
            slice: None,
            high_watermark: log.high_watermark(),
            last_stable_offset: log.last_stable_offset(),
            log_start_offset: log.log_start_offset(),
            diverging: None,
            aborted: None,
            preferred_read_replica: Some(replica),
        }))
    }
}

#[cfg(test)]
mod tests {
    use model::{BrokerEpoch, ControllerEpoch, LeaderEpoch, PartitionEpoch};

    use super::*;
    use crate::partition::{FollowerFetch, PartitionState};

    /// Broker 1 leads in rack a; 2 and 3 stand in b, 4 in c, 5 nowhere.
    fn rack(id: BrokerId) -> Option<String> {
        match id.0 {
            1 => Some("a".to_owned()),
            2 | 3 => Some("b".to_owned()),
            4 => Some("c".to_owned()),
            _ => None,
        }
    }

    fn leader(isr: &[i32], fetched: &[(i32, i64, i64)]) -> LeaderState {
        let state = PartitionState {
            controller_epoch: ControllerEpoch(1),
            leader: BrokerId(1),
            leader_epoch: LeaderEpoch(5),
            partition_epoch: PartitionEpoch(0),
            isr: isr.iter().copied().map(BrokerId).collect(),
            replicas: (1..=5).map(BrokerId).collect(),
            adding_replicas: vec![],
            removing_replicas: vec![],
            is_new: false,
        };
        let mut leader = LeaderState::new(BrokerId(1), &state, Offset(10), Millis(0));
        for (replica, offset, at) in fetched {
            leader.record_fetch(&FollowerFetch {
                replica: BrokerId(*replica),
                fetch_offset: Offset(*offset),
                log_start_offset: Offset(5),
                broker_epoch: BrokerEpoch::NONE,
                leader_end: Offset(*offset),
                at: Millis(*at),
            });
        }
        leader
    }

    #[test]
    fn the_furthest_in_sync_follower_in_the_clients_rack_is_chosen() {
        let check =
            |name: &str, isr: &[i32], fetched: &[(i32, i64, i64)], offset: i64, client: &str, expected: Option<i32>| {
                let found = closest(&leader(isr, fetched), Offset(offset), client, Millis(1_000), rack);
                assert_eq!(found, expected.map(BrokerId), "{name}");
            };
        let all = &[(2, 50, 100), (3, 60, 100), (4, 60, 100), (5, 60, 100)];
        //    name                           isr               fetched (replica, offset, at)  offset  rack  chosen
        check("the furthest", &[1, 2, 3, 4, 5], all, 40, "b", Some(3));
        check("only one has the offset", &[1, 2, 3, 4, 5], all, 55, "b", Some(3));
        check("nobody has the offset", &[1, 2, 3, 4, 5], all, 61, "b", None);
        check("it is deleted there", &[1, 2, 3, 4, 5], all, 4, "b", None);
        check("out of sync", &[1, 2, 4, 5], all, 40, "b", Some(2));
        check("the leader's rack", &[1, 2, 3, 4, 5], all, 40, "a", None);
        check("nobody's rack", &[1, 2, 3, 4, 5], all, 40, "z", None);
        check("the client has no rack", &[1, 2, 3, 4, 5], all, 40, "", None);
        check("never fetched", &[1, 2], &[], 40, "b", None);
        check(
            "as far, caught up later",
            &[1, 2, 3],
            &[(2, 60, 200), (3, 60, 100)],
            40,
            "b",
            Some(2),
        );
        check(
            "as far, caught up together",
            &[1, 2, 3],
            &[(2, 60, 100), (3, 60, 100)],
            40,
            "b",
            Some(3),
        );
    }
}
