//! How the in-sync set of a partition changes: what its leader proposes, and what the controller's answer means.
//!
//! Decides who may join (log end offset at or past both the high watermark and the start of this leader epoch, broker
//! alive) and who must leave (behind for longer than `replica.lag.time.max.ms`). Writes nothing: a change is returned as
//! a [`Proposal`] which counts only once the controller has accepted it, given back by [`LeaderState::answered`].
//!
//! Invariants: the leader is always a member; at most one proposal is in flight; while an expansion is in flight the
//! joiner already counts (the *maximal* set), because the controller may have let it in and may elect it; while a shrink
//! is in flight those who leave still count, because the controller may refuse it.
//! Source: Kafka 3.9 `Partition` (`maybeExpandIsr`, `maybeShrinkIsr`, `handleAlterPartitionUpdate`,
//! `handleAlterPartitionError`), KIP-497.

use model::{BrokerId, ControllerEpoch, LeaderEpoch, Millis, Offset, PartitionEpoch};

use crate::leader::LeaderState;

/// Who joins or leaves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum IsrChange {
    /// One follower has caught up.
    Expand(BrokerId),
    /// These followers lag.
    Shrink(Vec<BrokerId>),
}

/// A change of the in-sync set that the leader asks the controller (or ZooKeeper) for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proposal {
    /// Who asks.
    pub leader: BrokerId,
    /// In which the leader leads.
    pub leader_epoch: LeaderEpoch,
    /// The version of the `state` znode that the change is made to.
    pub partition_epoch: PartitionEpoch,
    /// Of the controller that made this broker the leader; written with the state where ZooKeeper is written to.
    pub controller_epoch: ControllerEpoch,
    /// All members after the change.
    pub isr: Vec<BrokerId>,
    /// What the change is.
    pub change: IsrChange,
}

/// What came of a proposal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The state of the partition as it is now.
    Accepted {
        /// The leader epoch that the controller knows.
        leader_epoch: LeaderEpoch,
        /// The new version of the `state` znode; the old one where the set was as proposed already.
        partition_epoch: PartitionEpoch,
        /// The members now.
        isr: Vec<BrokerId>,
    },
    /// Nothing was changed, or it is not known whether anything was.
    Refused(Refusal),
}

/// Why a proposal was refused, as far as it makes a difference to the leader.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// OPERATION_NOT_ATTEMPTED, INELIGIBLE_REPLICA: the epochs are right, and the change certainly did not happen.
    NotAttempted,
    /// FENCED_LEADER_EPOCH, INVALID_UPDATE_VERSION, UNKNOWN_TOPIC_OR_PARTITION, UNKNOWN_TOPIC_ID, INVALID_REQUEST,
    /// NEW_LEADER_ELECTED: what the leader knows is out of date, the controller's next word puts it right.
    OutOfDate,
    /// Anything else: the same proposal is made again.
    Other,
}

/// What an [`Answer`] did to the leader's state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The state has changed since the proposal was made, or the answer is older than what is known: nothing was done.
    Overtaken,
    /// The proposed set is now the accepted one. The high watermark may move.
    Committed,
    /// The accepted set is as before, and a new proposal may be made.
    Reverted,
    /// The proposal stays pending, and nothing else is proposed, until the controller speaks.
    AwaitingController,
    /// The proposal is to be sent again.
    Retry,
}

impl LeaderState {
    /// Whether a proposal awaits its answer; until then no other is made.
    pub fn is_in_flight(&self) -> bool {
        self.pending.is_some()
    }

    /// Whether the high watermark, and so acks=all, must wait for this replica.
    pub fn is_in_maximal_isr(&self, replica: BrokerId) -> bool {
        self.isr.contains(&replica) || self.joiner() == Some(replica)
    }

    /// How many members the maximal in-sync set has.
    pub fn maximal_isr_len(&self) -> usize {
        self.isr.len() + usize::from(self.joiner().is_some())
    }

    /// The follower whose joining has been proposed.
    fn joiner(&self) -> Option<BrokerId> {
        match &self.pending.as_ref()?.change {
            IsrChange::Expand(joiner) => Some(*joiner),
            IsrChange::Shrink(_) => None,
        }
    }

    /// Proposes that `follower` joins, if it may. Asked after each of its fetches.
    ///
    /// Its log must reach the high watermark, so that nothing committed is missing from it, and the start of this leader
    /// epoch: what lies before may be committed without this leader knowing it yet.
    /// `is_alive` is asked last, and only for who may join otherwise.
    pub fn propose_expansion(
        &mut self,
        follower: BrokerId,
        high_watermark: Offset,
        is_alive: impl FnOnce(BrokerId) -> bool,
    ) -> Option<Proposal> {
        if self.is_in_flight() || self.isr.contains(&follower) {
            return None;
        }
        let end = self.followers.get(&follower)?.log_end_offset;
        if end < high_watermark || end < self.epoch_start || !is_alive(follower) {
            return None;
        }
        let mut isr = self.isr.clone();
        isr.push(follower);
        Some(self.propose(isr, IsrChange::Expand(follower)))
    }

    /// Proposes that all members leave who have been behind for longer than `lag_max`. Asked at every half of it.
    pub fn propose_shrink(&mut self, log_end: Offset, now: Millis, lag_max: Millis) -> Option<Proposal> {
        if self.is_in_flight() {
            return None;
        }
        let out: Vec<BrokerId> = self
            .isr
            .iter()
            .copied()
            .filter(|id| *id != self.leader)
            .filter(|id| {
                let follower = self.followers.get(id);
                follower.is_none_or(|follower| !follower.is_caught_up(log_end, now, lag_max))
            })
            .collect();
        if out.is_empty() {
            return None;
        }
        let isr = self.isr.iter().copied().filter(|id| !out.contains(id)).collect();
        Some(self.propose(isr, IsrChange::Shrink(out)))
    }

    fn propose(&mut self, isr: Vec<BrokerId>, change: IsrChange) -> Proposal {
        let proposal = Proposal {
            leader: self.leader,
            leader_epoch: self.leader_epoch,
            partition_epoch: self.partition_epoch,
            controller_epoch: self.controller_epoch,
            isr,
            change,
        };
        self.pending = Some(proposal.clone());
        proposal
    }

    /// Whether `proposal` still awaits its answer: it is not when a `LeaderAndIsr` has overtaken it.
    pub fn awaits(&self, proposal: &Proposal) -> bool {
        self.pending.as_ref() == Some(proposal)
    }

    /// Takes the answer to `proposal`.
    ///
    /// An answer that comes after a newer word of the controller is ignored, whatever it says.
    pub fn answered(&mut self, proposal: &Proposal, answer: &Answer) -> Outcome {
        if !self.awaits(proposal) {
            return Outcome::Overtaken;
        }
        match answer {
            Answer::Accepted {
                leader_epoch,
                partition_epoch,
                isr,
            } => {
                // A proposal which the controller answers from another leader epoch was not accepted for this one. It
                // stays pending: the LeaderAndIsr of that epoch is on its way.
                if *leader_epoch != self.leader_epoch || *partition_epoch < self.partition_epoch {
                    return Outcome::Overtaken;
                }
                self.isr.clone_from(isr);
                self.partition_epoch = *partition_epoch;
                self.pending = None;
                Outcome::Committed
            }
            Answer::Refused(Refusal::NotAttempted) => {
                self.pending = None;
                Outcome::Reverted
            }
            Answer::Refused(Refusal::OutOfDate) => Outcome::AwaitingController,
            Answer::Refused(Refusal::Other) => Outcome::Retry,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;
    use crate::examples::{fetch, ids, state};

    const LAG: Millis = Millis(30_000);

    /// Broker 1 leads from offset 10 on, in epoch 5, at partition epoch 7.
    fn leading(replicas: &[i32], isr: &[i32]) -> LeaderState {
        LeaderState::new(BrokerId(1), &state(5, 7, replicas, isr), Offset(10), Millis(0))
    }

    fn accepted(leader_epoch: i32, partition_epoch: i32, isr: &[i32]) -> Answer {
        Answer::Accepted {
            leader_epoch: LeaderEpoch(leader_epoch),
            partition_epoch: PartitionEpoch(partition_epoch),
            isr: ids(isr),
        }
    }

    #[test]
    fn a_follower_may_join_when_it_has_all_that_may_be_committed() {
        let check =
            |name: &str, follower: i32, fetched: Option<i64>, high_watermark: i64, alive: bool, isr: Option<&[i32]>| {
                let mut leader = leading(&[1, 2, 3], &[1, 2]);
                if let Some(offset) = fetched {
                    leader.record_fetch(&fetch(follower, offset, 100, 1_000));
                }
                let proposal = leader.propose_expansion(BrokerId(follower), Offset(high_watermark), |_| alive);
                assert_eq!(proposal.map(|it| it.isr), isr.map(ids), "{name}");
            };
        //    name                              follower  fetched    hw  alive  proposed
        check("at the high watermark", 3, Some(50), 50, true, Some(&[1, 2, 3]));
        check("past it", 3, Some(70), 50, true, Some(&[1, 2, 3]));
        check("behind it", 3, Some(49), 50, true, None);
        check("at the start of the epoch", 3, Some(10), 5, true, Some(&[1, 2, 3]));
        check("before the start of the epoch", 3, Some(9), 5, true, None);
        check("has not fetched", 3, None, 0, true, None);
        check("dead", 3, Some(50), 50, false, None);
        check("in sync already", 2, Some(50), 50, true, None);
        check("not assigned", 9, Some(50), 50, true, None);
    }

    #[test]
    fn followers_that_lag_must_leave() {
        let check = |name: &str, fetched: &[(i32, i64, i64)], now: i64, isr: Option<&[i32]>| {
            let mut leader = leading(&[1, 2, 3], &[1, 2, 3]);
            for (replica, offset, at) in fetched {
                leader.record_fetch(&fetch(*replica, *offset, 100, *at));
            }
            let proposal = leader.propose_shrink(Offset(100), Millis(now), LAG);
            assert_eq!(proposal.map(|it| it.isr), isr.map(ids), "{name}");
        };
        //    name                             fetched (replica, offset, at)             now     proposed
        check(
            "all had it just now",
            &[(2, 100, 40_000), (3, 100, 40_000)],
            40_001,
            None,
        );
        check("has all, long ago", &[(2, 100, 1), (3, 100, 1)], 90_000, None);
        check(
            "one is slow",
            &[(2, 100, 40_000), (3, 99, 40_000)],
            40_001,
            Some(&[1, 2]),
        );
        check(
            "one is slow, not for long",
            &[(2, 100, 20_000), (3, 99, 20_000)],
            30_000,
            None,
        );
        check("one never fetched", &[(2, 100, 40_000)], 40_001, Some(&[1, 2]));
        check("nobody fetches", &[], 30_001, Some(&[1]));
        check("nobody fetches, not for long", &[], 30_000, None);
    }

    #[test]
    fn a_joiner_counts_before_it_is_accepted_and_who_leaves_until_it_is() {
        let high_watermark = |leader: &LeaderState| {
            let found = leader.high_watermark(Offset(100), 1, Millis(1_000_000), LAG, |_| true);
            found.map(|offset| offset.0)
        };
        let mut leader = leading(&[1, 2], &[1]);
        leader.record_fetch(&fetch(2, 50, 100, 1_000));
        assert_eq!(high_watermark(&leader), Some(100));
        let expand = leader.propose_expansion(BrokerId(2), Offset(50), |_| true).unwrap();
        assert_eq!(high_watermark(&leader), Some(50));
        assert_eq!((leader.isr.len(), leader.maximal_isr_len()), (1, 2));
        assert_eq!(leader.answered(&expand, &accepted(5, 8, &[1, 2])), Outcome::Committed);
        assert_eq!((leader.isr.len(), leader.maximal_isr_len()), (2, 2));

        let shrink = leader.propose_shrink(Offset(100), Millis(1_000_000), LAG).unwrap();
        assert_eq!(high_watermark(&leader), Some(50), "until it is accepted");
        assert_eq!(leader.maximal_isr_len(), 2);
        assert_eq!(leader.answered(&shrink, &accepted(5, 9, &[1])), Outcome::Committed);
        assert_eq!(high_watermark(&leader), Some(100));
    }

    #[test]
    fn acks_all_needs_accepted_members() {
        let mut leader = leading(&[1, 2], &[1]);
        leader.record_fetch(&fetch(2, 100, 100, 1_000));
        assert!(leader.propose_expansion(BrokerId(2), Offset(50), |_| true).is_some());
        assert!(leader.is_under_min_isr(2), "the joiner may be refused yet");
    }

    #[test]
    fn one_proposal_is_in_flight() {
        let mut leader = leading(&[1, 2, 3], &[1]);
        leader.record_fetch(&fetch(2, 100, 100, 1_000));
        leader.record_fetch(&fetch(3, 100, 100, 1_000));
        assert!(leader.propose_expansion(BrokerId(2), Offset(50), |_| true).is_some());
        assert!(leader.propose_expansion(BrokerId(3), Offset(50), |_| true).is_none());
        assert!(leader.propose_shrink(Offset(200), Millis(1_000_000), LAG).is_none());
    }

    #[test]
    fn answers_mean_what_they_mean_in_kafka() {
        use Refusal::{NotAttempted, Other, OutOfDate};
        let check = |name: &str, answer: &Answer, outcome: Outcome, in_flight: bool, isr: &[i32], epoch: i32| {
            let mut leader = leading(&[1, 2], &[1]);
            leader.record_fetch(&fetch(2, 100, 100, 1_000));
            let proposal = leader.propose_expansion(BrokerId(2), Offset(50), |_| true).unwrap();
            assert_eq!(leader.answered(&proposal, answer), outcome, "{name}");
            assert_eq!(leader.is_in_flight(), in_flight, "{name}");
            assert_eq!(
                (leader.isr.clone(), leader.partition_epoch.0),
                (ids(isr), epoch),
                "{name}"
            );
            assert_eq!(
                leader.maximal_isr_len(),
                if in_flight { 2 } else { isr.len() },
                "{name}"
            );
        };
        //    name                     answer                               outcome                in flight  isr  epoch
        check(
            "accepted",
            &accepted(5, 8, &[1, 2]),
            Outcome::Committed,
            false,
            &[1, 2],
            8,
        );
        check(
            "it was so already",
            &accepted(5, 7, &[1, 2]),
            Outcome::Committed,
            false,
            &[1, 2],
            7,
        );
        check(
            "another leader epoch",
            &accepted(6, 8, &[1, 2]),
            Outcome::Overtaken,
            true,
            &[1],
            7,
        );
        check(
            "an older partition epoch",
            &accepted(5, 6, &[1, 2]),
            Outcome::Overtaken,
            true,
            &[1],
            7,
        );
        check(
            "not attempted",
            &Answer::Refused(NotAttempted),
            Outcome::Reverted,
            false,
            &[1],
            7,
        );
        check(
            "out of date",
            &Answer::Refused(OutOfDate),
            Outcome::AwaitingController,
            true,
            &[1],
            7,
        );
        check("anything else", &Answer::Refused(Other), Outcome::Retry, true, &[1], 7);
    }

    #[test]
    fn an_answer_after_the_controllers_next_word_is_ignored() {
        for answer in [
            accepted(5, 8, &[1, 2]),
            Answer::Refused(Refusal::NotAttempted),
            Answer::Refused(Refusal::Other),
        ] {
            let mut leader = leading(&[1, 2], &[1]);
            leader.record_fetch(&fetch(2, 100, 100, 1_000));
            let proposal = leader.propose_expansion(BrokerId(2), Offset(50), |_| true).unwrap();
            leader.re_elected(&state(6, 9, &[1, 2], &[1]), Offset(100), Millis(2_000));
            assert!(!leader.awaits(&proposal));
            // It has asked for the same again, in the new epoch: the old answer is not taken for the new one.
            leader.record_fetch(&fetch(2, 100, 100, 3_000));
            let second = leader.propose_expansion(BrokerId(2), Offset(50), |_| true).unwrap();
            assert_eq!(leader.answered(&proposal, &answer), Outcome::Overtaken);
            assert_eq!(
                (leader.isr.clone(), leader.partition_epoch),
                (ids(&[1]), PartitionEpoch(9))
            );
            assert!(leader.awaits(&second));
        }
    }

    #[test]
    fn a_leader_that_is_elected_again_knows_how_far_followers_are_but_waits_for_their_fetch() {
        let mut leader = leading(&[1, 2, 3], &[1, 2, 3]);
        leader.record_fetch(&fetch(2, 80, 100, 1_000));
        leader.record_fetch(&fetch(3, 70, 100, 1_000));
        leader.re_elected(&state(6, 8, &[1, 2, 3], &[1, 2]), Offset(100), Millis(1_000_000));
        let found = leader.high_watermark(Offset(100), 2, Millis(1_000_000), LAG, |_| true);
        assert_eq!(found, Some(Offset(80)), "the one that has left holds nothing back");
        assert!(leader.propose_shrink(Offset(100), Millis(1_000_000), LAG).is_none());
        assert!(
            leader.propose_expansion(BrokerId(3), Offset(60), |_| true).is_none(),
            "it has nothing of the new epoch"
        );
    }

    #[test]
    fn a_leader_that_missed_an_epoch_knows_nothing_of_its_followers() {
        let mut leader = leading(&[1, 2], &[1, 2]);
        leader.record_fetch(&fetch(2, 100, 100, 1_000));
        // Another broker led in epoch 6, and may have made the follower truncate.
        leader.re_elected(&state(7, 9, &[1, 2], &[1, 2]), Offset(100), Millis(1_000_000));
        let found = leader.high_watermark(Offset(100), 1, Millis(1_000_000), LAG, |_| true);
        assert_eq!(found, Some(Offset(-1)), "until it fetches");
        assert!(leader.propose_shrink(Offset(100), Millis(1_000_000), LAG).is_none());
    }

    /// What may happen to a leader, in any order.
    #[derive(Clone, Debug)]
    enum Happening {
        Append(i64),
        Fetch(i32, i64),
        Expand(i32),
        Shrink,
        /// The controller accepts what is in flight.
        Accept,
        /// It refuses; or it accepts, and the answer is lost or comes as an error.
        Refuse(Refusal, bool),
        /// It speaks first, a number of leader epochs later.
        Elect(i32),
    }

    fn happening() -> impl Strategy<Value = Happening> {
        let refusal = prop_oneof![
            Just((Refusal::NotAttempted, false)),
            any::<bool>().prop_map(|done| (Refusal::OutOfDate, done)),
            any::<bool>().prop_map(|done| (Refusal::Other, done)),
        ];
        prop_oneof![
            (0..5i64).prop_map(Happening::Append),
            (2..5i32, 0..8i64).prop_map(|(replica, behind)| Happening::Fetch(replica, behind)),
            (2..5i32).prop_map(Happening::Expand),
            Just(Happening::Shrink),
            Just(Happening::Accept),
            refusal.prop_map(|(refusal, done)| Happening::Refuse(refusal, done)),
            (1..3i32).prop_map(Happening::Elect),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(256))]
        /// Whoever the controller may elect has everything below the high watermark, whatever became of the answers.
        #[test]
        fn the_high_watermark_is_never_past_who_may_be_elected(happenings in proptest::collection::vec(happening(), 1..60)) {
            let mut leader = LeaderState::new(BrokerId(1), &state(5, 7, &[1, 2, 3, 4], &[1, 2]), Offset(10), Millis(0));
            let mut log_end = Offset(10);
            let mut high_watermark = Offset(0);
            // How far the followers really are.
            let mut ends = BTreeMap::new();
            let mut now = Millis(1_000_000);
            // The controller's own state.
            let (mut isr, mut epoch) = (ids(&[1, 2]), 7);
            for happening in happenings {
                now = Millis(now.0 + 10_000);
                let in_flight = leader.pending.clone();
                // Only what was proposed on top of the controller's own state is done.
                let doable = in_flight.clone().filter(|it| it.partition_epoch.0 == epoch);
                match happening {
                    Happening::Append(records) => log_end = Offset(log_end.0 + records),
                    Happening::Fetch(replica, behind) => {
                        // Followers do not go back while they follow one leader.
                        let end = ends.entry(BrokerId(replica)).or_insert(Offset(0));
                        *end = Offset((log_end.0 - behind).max(end.0));
                        let offset = end.0;
                        leader.record_fetch(&fetch(replica, offset, log_end.0, now.0));
                    }
                    Happening::Expand(replica) => {
                        let before = leader.is_in_flight();
                        let made = leader.propose_expansion(BrokerId(replica), high_watermark, |_| true);
                        prop_assert!(made.is_none() || !before, "one in flight");
                    }
                    Happening::Shrink => {
                        let before = leader.is_in_flight();
                        let made = leader.propose_shrink(log_end, now, LAG);
                        prop_assert!(made.is_none() || !before, "one in flight");
                        prop_assert!(made.is_none_or(|it| it.isr.contains(&BrokerId(1))), "the leader stays");
                    }
                    Happening::Accept => {
                        if let Some(proposal) = doable {
                            isr.clone_from(&proposal.isr);
                            epoch += 1;
                            let answer = Answer::Accepted {
                                leader_epoch: proposal.leader_epoch,
                                partition_epoch: PartitionEpoch(epoch),
                                isr: proposal.isr.clone(),
                            };
                            leader.answered(&proposal, &answer);
                        }
                    }
                    Happening::Refuse(refusal, done) => {
                        if let Some(proposal) = doable.filter(|_| done) {
                            isr.clone_from(&proposal.isr);
                            epoch += 1;
                        }
                        // "Not attempted" is said only of the epochs that the controller has, so never of what is done.
                        let is_current = in_flight.as_ref().is_some_and(|it| it.partition_epoch.0 == epoch);
                        if let Some(proposal) = in_flight.filter(|_| refusal != Refusal::NotAttempted || is_current) {
                            leader.answered(&proposal, &Answer::Refused(refusal));
                        }
                    }
                    Happening::Elect(by) => {
                        epoch += 1;
                        let isr: Vec<i32> = isr.iter().map(|id| id.0).collect();
                        let word = state(leader.leader_epoch.0 + by, epoch, &[1, 2, 3, 4], &isr);
                        leader.re_elected(&word, log_end, now);
                    }
                }
                if let Some(to) = leader.high_watermark(log_end, 1, now, LAG, |_| true) {
                    high_watermark = high_watermark.max(to);
                }
                prop_assert!(high_watermark <= log_end);
                for member in isr.iter().filter(|id| **id != BrokerId(1)) {
                    let end = ends.get(member).copied().unwrap_or(Offset(0));
                    prop_assert!(end >= high_watermark, "{member:?} has {end:?} of {high_watermark:?}");
                }
            }
        }
    }
}
