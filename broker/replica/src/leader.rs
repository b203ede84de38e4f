//! What the leader of a partition knows of its replicas, and what follows for the high watermark.
//!
//! Pure: no log, no clock, no socket. `now` and the leader's log end offset are arguments. Decides how far the high
//! watermark may move, whether there are enough in-sync replicas, and records what followers fetched. Does not change
//! the ISR by itself: the controller's word (`LeaderAndIsr`, a successful `AlterPartition`) does, see [`crate::in_sync`].
//!
//! Invariants: the leader is not among its own `followers`; the high watermark is computed over the *maximal* ISR
//! (accepted ∪ proposed), so that a follower which the controller has already let in can be elected without loss.
//! Source: Kafka 3.9 `Partition`, `Replica`.

use std::collections::BTreeMap;

use crate::in_sync::Proposal;
use model::{BrokerEpoch, BrokerId, ControllerEpoch, LeaderEpoch, Millis, Offset, PartitionEpoch};

/// What the controller says of a partition in `LeaderAndIsr`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartitionState {
    /// Epoch of the controller that decided.
    pub controller_epoch: ControllerEpoch,
    /// The leader; −1 for none.
    pub leader: BrokerId,
    /// Of that leader.
    pub leader_epoch: LeaderEpoch,
    /// Version of the `state` znode.
    pub partition_epoch: PartitionEpoch,
    /// In-sync replicas.
    pub isr: Vec<BrokerId>,
    /// Assigned replicas, preferred leader first.
    pub replicas: Vec<BrokerId>,
    /// Being added by a reassignment.
    pub adding_replicas: Vec<BrokerId>,
    /// Being removed by a reassignment.
    pub removing_replicas: Vec<BrokerId>,
    /// The replica is created now: its log may not exist yet.
    pub is_new: bool,
}

/// How far a follower has come, as its fetches show.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Follower {
    /// Offset it asked for last: all before it is on its disk. −1 until its first fetch in this epoch.
    pub log_end_offset: Offset,
    /// Its log start offset.
    pub log_start_offset: Offset,
    /// The last moment at which it had all that the leader had at the fetch before.
    pub last_caught_up: Millis,
    /// The leader's log end offset when it fetched last.
    pub leader_end_at_last_fetch: Offset,
    /// When it fetched last.
    pub last_fetch: Millis,
    /// The epoch in which it registered; −1 when its fetches do not carry one.
    pub broker_epoch: BrokerEpoch,
}

impl Follower {
    const UNKNOWN: Self = Self {
        log_end_offset: Offset(-1),
        log_start_offset: Offset(-1),
        last_caught_up: Millis(0),
        leader_end_at_last_fetch: Offset(0),
        last_fetch: Millis(0),
        broker_epoch: BrokerEpoch::NONE,
    };

    /// Whether it has all that the leader has, or had within `replica.lag.time.max.ms`.
    pub fn is_caught_up(&self, leader_end: Offset, now: Millis, lag_max: Millis) -> bool {
        self.log_end_offset == leader_end || now - self.last_caught_up <= lag_max
    }
}

/// A follower's fetch, as far as the leader's bookkeeping needs it.
#[derive(Clone, Copy, Debug)]
pub struct FollowerFetch {
    /// Who fetches.
    pub replica: BrokerId,
    /// From where: its log end offset.
    pub fetch_offset: Offset,
    /// Its log start offset.
    pub log_start_offset: Offset,
    /// Its broker epoch; −1 in versions without one.
    pub broker_epoch: BrokerEpoch,
    /// The leader's log end offset when the read was made.
    pub leader_end: Offset,
    /// When the request came.
    pub at: Millis,
}

/// The replicas of one partition, as its leader sees them in one leader epoch.
#[derive(Clone, Debug)]
pub struct LeaderState {
    /// This broker.
    pub leader: BrokerId,
    /// Of the controller that made this broker the leader.
    pub controller_epoch: ControllerEpoch,
    /// In which this broker leads.
    pub leader_epoch: LeaderEpoch,
    /// The leader's log end offset when it began to lead in this epoch.
    pub epoch_start: Offset,
    /// Version of the `state` znode.
    pub partition_epoch: PartitionEpoch,
    /// Accepted in-sync replicas, the leader among them.
    pub isr: Vec<BrokerId>,
    /// Assigned replicas, preferred leader first.
    pub replicas: Vec<BrokerId>,
    /// Being added by a reassignment.
    pub adding_replicas: Vec<BrokerId>,
    /// Being removed by a reassignment.
    pub removing_replicas: Vec<BrokerId>,
    /// Every assigned replica but the leader, and whoever is in sync though assigned no more: a reassignment takes replicas
    /// out of the assignment before it takes them out of the in-sync set, and until then they may still be elected.
    pub followers: BTreeMap<BrokerId, Follower>,
    /// The change of the in-sync set that awaits the controller's answer.
    pub(crate) pending: Option<Proposal>,
}

impl LeaderState {
    /// The state of a broker that begins to lead at `log_end`.
    pub fn new(leader: BrokerId, state: &PartitionState, log_end: Offset, now: Millis) -> Self {
        let mut new = Self {
            leader,
            controller_epoch: state.controller_epoch,
            leader_epoch: state.leader_epoch,
            epoch_start: log_end,
            partition_epoch: state.partition_epoch,
            isr: Vec::new(),
            replicas: Vec::new(),
            adding_replicas: Vec::new(),
            removing_replicas: Vec::new(),
            followers: BTreeMap::new(),
            pending: None,
        };
        new.assign(state);
        for (id, follower) in &mut new.followers {
            // An in-sync follower gets the full lag time to make its first fetch.
            if new.isr.contains(id) {
                follower.last_caught_up = now;
            }
        }
        new
    }

    /// The leader stays the leader, in a newer leader epoch. A proposal in flight is overtaken.
    ///
    /// Where the new epoch is the very next one, how far the followers have come is still true. Where epochs are missing,
    /// somebody else may have led in between and made them truncate: then nothing is known of them, as for a new leader.
    /// Source: Kafka 3.9 `Partition.makeLeader`, `Replica.resetReplicaState`, which do not make this difference.
    pub fn re_elected(&mut self, state: &PartitionState, log_end: Offset, now: Millis) {
        if state.leader_epoch.0 != self.leader_epoch.0 + 1 {
            *self = Self::new(self.leader, state, log_end, now);
            return;
        }
        self.leader_epoch = state.leader_epoch;
        self.epoch_start = log_end;
        self.assign(state);
        for (id, follower) in &mut self.followers {
            // One outside the ISR must not hold the high watermark back, nor come back in, before it fetches again.
            let since = if self.isr.contains(id) { now } else { Millis(0) };
            follower.last_caught_up = since;
            follower.last_fetch = since;
            follower.leader_end_at_last_fetch = log_end;
        }
    }

    /// Takes over assignment, ISR and epochs as the controller says them. A proposal in flight is overtaken.
    pub fn assign(&mut self, state: &PartitionState) {
        self.pending = None;
        self.controller_epoch = state.controller_epoch;
        self.partition_epoch = state.partition_epoch;
        self.isr.clone_from(&state.isr);
        self.replicas.clone_from(&state.replicas);
        self.adding_replicas.clone_from(&state.adding_replicas);
        self.removing_replicas.clone_from(&state.removing_replicas);
        let known = core::mem::take(&mut self.followers);
        self.followers = state
            .replicas
            .iter()
            .chain(&state.isr)
            .filter(|id| **id != self.leader)
            .map(|id| (*id, known.get(id).copied().unwrap_or(Follower::UNKNOWN)))
            .collect();
    }

    /// Records a follower's fetch. `false`: it is not an assigned replica, or fetched in an earlier life of its broker.
    ///
    /// A follower counts as caught up to the moment of this fetch when it asks from the leader's log end, and to the
    /// moment of its previous fetch when it has reached what the leader had then (Kafka `Replica.updateFetchStateOrThrow`).
    pub fn record_fetch(&mut self, fetch: &FollowerFetch) -> bool {
        let Some(follower) = self.followers.get_mut(&fetch.replica) else {
            return false;
        };
        if fetch.broker_epoch != BrokerEpoch::NONE && fetch.broker_epoch < follower.broker_epoch {
            return false;
        }
        if fetch.fetch_offset >= fetch.leader_end {
            follower.last_caught_up = follower.last_caught_up.max(fetch.at);
        } else if fetch.fetch_offset >= follower.leader_end_at_last_fetch {
            follower.last_caught_up = follower.last_caught_up.max(follower.last_fetch);
        }
        follower.log_end_offset = fetch.fetch_offset;
        follower.log_start_offset = fetch.log_start_offset;
        follower.leader_end_at_last_fetch = fetch.leader_end.max(follower.leader_end_at_last_fetch);
        follower.last_fetch = fetch.at;
        follower.broker_epoch = fetch.broker_epoch;
        true
    }

    /// How many in-sync replicas acks=all needs: `min.insync.replicas`, but never more than there are replicas.
    pub fn effective_min_isr(&self, min_insync_replicas: i32) -> usize {
        usize::try_from(min_insync_replicas)
            .unwrap_or(0)
            .min(self.followers.len() + 1)
    }

    /// Whether acks=all must be refused with NOT_ENOUGH_REPLICAS. Only accepted members count.
    pub fn is_under_min_isr(&self, min_insync_replicas: i32) -> bool {
        self.isr.len() < self.effective_min_isr(min_insync_replicas)
    }

    /// The furthest offset that the high watermark may take now.
    ///
    /// `None` while the ISR is under `min.insync.replicas`: then it must not move (Kafka `maybeIncrementLeaderHW`).
    /// A follower outside the ISR that is alive and caught up holds it back too, because it is about to join: otherwise a
    /// busy leader's high watermark would stay ahead of it for ever. `is_alive` is asked for such a follower only.
    pub fn high_watermark(
        &self,
        log_end: Offset,
        min_insync_replicas: i32,
        now: Millis,
        lag_max: Millis,
        is_alive: impl Fn(BrokerId) -> bool,
    ) -> Option<Offset> {
        if self.is_under_min_isr(min_insync_replicas) {
            return None;
        }
        let mut high_watermark = log_end;
        for (id, follower) in &self.followers {
            if follower.log_end_offset < high_watermark
                && (self.is_in_maximal_isr(*id) || (follower.is_caught_up(log_end, now, lag_max) && is_alive(*id)))
            {
                high_watermark = follower.log_end_offset;
            }
        }
        Some(high_watermark)
    }

    /// The smallest log start offset among the leader and its live followers: up to where `DeleteRecords` has
    /// taken effect everywhere.
    pub fn low_watermark(&self, log_start: Offset, is_alive: impl Fn(BrokerId) -> bool) -> Offset {
        self.followers
            .iter()
            .filter(|(id, _)| is_alive(**id))
            .map(|(_, follower)| follower.log_start_offset)
            .fold(log_start, Offset::min)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::examples::{self, fetch};

    const LAG: Millis = Millis(30_000);

    fn state(replicas: &[i32], isr: &[i32]) -> PartitionState {
        examples::state(5, 0, replicas, isr)
    }

    #[test]
    fn the_high_watermark_is_the_least_log_end_offset_of_the_isr() {
        let check =
            |name: &str, replicas: &[i32], isr: &[i32], fetched: &[(i32, i64)], min_isr, expected: Option<i64>| {
                // Far in the past, so that a follower outside the ISR is not "caught up" by its age alone.
                let mut leader = LeaderState::new(BrokerId(1), &state(replicas, isr), Offset(10), Millis(0));
                for (replica, offset) in fetched {
                    leader.record_fetch(&fetch(*replica, *offset, 100, 1_000));
                }
                let found = leader.high_watermark(Offset(100), min_isr, Millis(1_000_000), LAG, |_| true);
                assert_eq!(found, expected.map(Offset), "{name}");
            };
        //    name                             replicas    isr        fetched                min_isr  high watermark
        check("alone", &[1], &[1], &[], 1, Some(100));
        check("min isr is capped by replicas", &[1], &[1], &[], 3, Some(100));
        check(
            "slowest in-sync replica decides",
            &[1, 2, 3],
            &[1, 2, 3],
            &[(2, 50), (3, 40)],
            1,
            Some(40),
        );
        check(
            "a replica out of sync does not",
            &[1, 2, 3],
            &[1, 2],
            &[(2, 50), (3, 40)],
            1,
            Some(50),
        );
        check("one that has not fetched holds it", &[1, 2], &[1, 2], &[], 1, Some(-1));
        check("too few in sync", &[1, 2, 3], &[1], &[(2, 100)], 2, None);
    }

    #[test]
    fn a_member_of_the_isr_holds_the_high_watermark_though_assigned_no_more() {
        // A reassignment is being completed: 1 and 2 stay, 3 goes, and is still in sync by ZooKeeper's word.
        let mut leader = LeaderState::new(BrokerId(1), &state(&[1, 2], &[1, 2, 3]), Offset(10), Millis(0));
        leader.record_fetch(&fetch(2, 100, 100, 1_000));
        assert!(leader.record_fetch(&fetch(3, 40, 100, 1_000)));
        let high_watermark = |leader: &LeaderState| leader.high_watermark(Offset(100), 2, Millis(1_000), LAG, |_| true);
        assert_eq!(high_watermark(&leader), Some(Offset(40)));
        leader.assign(&state(&[1, 2], &[1, 2]));
        assert_eq!(high_watermark(&leader), Some(Offset(100)));
    }

    #[test]
    fn a_caught_up_replica_outside_the_isr_holds_the_high_watermark() {
        let mut leader = LeaderState::new(BrokerId(1), &state(&[1, 2], &[1]), Offset(10), Millis(0));
        leader.record_fetch(&fetch(2, 100, 100, 1_000_000));
        assert_eq!(
            leader.high_watermark(Offset(120), 1, Millis(1_000_001), LAG, |_| true),
            Some(Offset(100))
        );
        assert_eq!(
            leader.high_watermark(Offset(120), 1, Millis(1_040_000), LAG, |_| true),
            Some(Offset(120))
        );
    }

    #[test]
    fn a_follower_is_caught_up_when_it_reaches_what_the_leader_had_at_its_last_fetch() {
        let mut leader = LeaderState::new(BrokerId(1), &state(&[1, 2], &[1, 2]), Offset(10), Millis(0));
        leader.record_fetch(&fetch(2, 10, 20, 1_000));
        assert_eq!(leader.followers[&BrokerId(2)].last_caught_up, Millis(0));
        leader.record_fetch(&fetch(2, 20, 30, 2_000));
        assert_eq!(leader.followers[&BrokerId(2)].last_caught_up, Millis(1_000));
        leader.record_fetch(&fetch(2, 30, 30, 3_000));
        assert_eq!(leader.followers[&BrokerId(2)].last_caught_up, Millis(3_000));
    }

    #[test]
    fn a_fetch_by_a_stranger_is_not_recorded() {
        let mut leader = LeaderState::new(BrokerId(1), &state(&[1, 2], &[1, 2]), Offset(10), Millis(0));
        assert!(!leader.record_fetch(&fetch(9, 10, 20, 1_000)));
    }

    #[test]
    fn the_low_watermark_ignores_dead_followers() {
        let mut leader = LeaderState::new(BrokerId(1), &state(&[1, 2, 3], &[1, 2, 3]), Offset(10), Millis(0));
        leader.record_fetch(&fetch(2, 10, 20, 1_000));
        assert_eq!(leader.low_watermark(Offset(7), |id| id == BrokerId(2)), Offset(0));
        assert_eq!(leader.low_watermark(Offset(7), |_| false), Offset(7));
    }
}
