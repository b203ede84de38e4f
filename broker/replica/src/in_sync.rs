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
