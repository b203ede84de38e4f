//! A partition that this broker leads: what followers' fetches and the controller's answers do to it.
//!
//! The leader's bookkeeping lies behind a lock of its own, inside the role's: it is held for a few comparisons and never
//! over an append or a read, so that followers' fetches, which change it, do not wait for the producers' appends, which
//! hold the role. The high watermark moves under this lock: between computing and publishing it no follower may be let
//! in that has not reached it. Waiters are woken, and proposals handed over, after it is released.
//! Source: Kafka 3.9 `Partition`.

use core::fmt;

use broker_log::Log;
use model::{BrokerId, LeaderEpoch, Millis, Offset};
use parking_lot::{Mutex, MutexGuard};
use tracing::{debug, info, warn};

use super::{
    Answer, FollowerFetch, LeaderState, Outcome, Partition, PartitionError, Proposal, Refusal, ReplicaSettings, Role,
};

/// What has to be replicated before an append with acks=all is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Required {
    /// One past the last record.
    pub offset: Offset,
    /// Of the leadership that made the append. Another one of this same broker may have truncated the records in between,
    /// and have others at their offsets.
    pub led_since: LeaderEpoch,
}

/// The leadership of this broker in one leader epoch.
pub struct Leading {
    /// In which it leads.
    pub leader_epoch: LeaderEpoch,
    /// The log end offset when it began to.
    pub epoch_start: Offset,
    /// The leader epoch since which it has led without ever being a follower.
    pub led_since: LeaderEpoch,
    state: Mutex<LeaderState>,
}

impl Leading {
    /// The leadership that `state` describes, after `before` if this broker has led so far.
    pub fn new(state: LeaderState, before: Option<&Self>) -> Self {
        Self {
            led_since: before.map_or(state.leader_epoch, |before| before.led_since),
            leader_epoch: state.leader_epoch,
            epoch_start: state.epoch_start,
            state: Mutex::new(state),
        }
    }

    /// What the leader knows of its replicas. To be held briefly.
    pub fn state(&self) -> MutexGuard<'_, LeaderState> {
        self.state.lock()
    }

    /// Moves the high watermark as far as the replicas allow; the new one, if it moved.
    pub(super) fn raise_high_watermark(&self, log: &Log, settings: &ReplicaSettings, now: Millis) -> Option<Offset> {
        raise(&self.state(), log, settings, now)
    }
}

impl fmt::Debug for Leading {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Leading").field(&*self.state()).finish()
    }
}

fn raise(state: &LeaderState, log: &Log, settings: &ReplicaSettings, now: Millis) -> Option<Offset> {
    let min_isr = log.config().min_insync_replicas;
    let lag_max = settings.replica_lag_time_max;
    let to = state.high_watermark(log.log_end_offset(), min_isr, now, lag_max, |id| settings.is_alive(id))?;
    log.increment_high_watermark(to).then(|| log.high_watermark())
}

impl Partition {
    /// Records how far a follower has come; the high watermark may move, and the follower may be about to join the ISR.
    pub(super) fn record_fetch(&self, fetch: &FollowerFetch, settings: &ReplicaSettings) -> Result<(), PartitionError> {
        let (moved, proposal, low_watermark_rose) = {
            let role = self.role.read();
            // Not led any more: the fetcher has its records, and whoever leads now learns from its next fetch.
            let Role::Leader(leading) = &*role else { return Ok(()) };
            let Some(log) = self.log() else { return Ok(()) };
            let mut state = leading.state();
            let Some(before) = state.followers.get(&fetch.replica).copied() else {
                return Ok(());
            };
            if !state.record_fetch(fetch) {
                return Err(PartitionError::NotLeader(self.topic_partition.clone()));
            }
            let proposal = state.propose_expansion(fetch.replica, log.high_watermark(), |id| settings.is_alive(id));
            // A follower with nothing new may still be the one to tell: who was waited for has died or was refused since.
            let behind = log.high_watermark() < log.log_end_offset();
            let moved = (behind || before.log_end_offset != fetch.fetch_offset)
                .then(|| raise(&state, &log, settings, fetch.at))
                .flatten();
            (moved, proposal, before.log_start_offset < fetch.log_start_offset)
        };
        if let Some(proposal) = proposal {
            debug!(partition = %self.topic_partition, isr = ?proposal.isr, "proposing to expand the ISR");
            self.hand_over(proposal, settings);
        }
        if let Some(high_watermark) = moved {
            self.high_watermark_moved(high_watermark);
        }
        if low_watermark_rose {
            self.deletes.wake_all();
        }
        Ok(())
    }

    /// Wakes those who wait for the high watermark: produces that it has reached, consumers.
    pub(super) fn high_watermark_moved(&self, high_watermark: Offset) {
        self.produces.reached(high_watermark.0);
        // How many bytes that was is not known without a look-up: each waiting fetch looks again.
        self.consumer_fetches.wake_all();
    }

    /// Proposes that followers leave the ISR that lag. Called at every half of `replica.lag.time.max.ms`.
    pub fn shrink_isr(&self, settings: &ReplicaSettings, now: Millis) {
        let proposal = {
            let role = self.role.read();
            let Role::Leader(leading) = &*role else { return };
            let Some(log) = self.log() else { return };
            let log_end = log.log_end_offset();
            let mut state = leading.state();
            let before = state.isr.clone();
            let Some(proposal) = state.propose_shrink(log_end, now, settings.replica_lag_time_max) else {
                return;
            };
            let out: Vec<_> = before.iter().filter(|id| !proposal.isr.contains(id)).collect();
            let lags: Vec<_> = out
                .iter()
                .map(|id| {
                    let follower = state.followers.get(id);
                    (id.0, follower.map(|it| (it.log_end_offset.0, it.last_caught_up.0)))
                })
                .collect();
            info!(
                partition = %self.topic_partition, from = ?before, to = ?proposal.isr,
                high_watermark = %log.high_watermark(), log_end_offset = %log_end,
                out_of_sync = ?lags, "shrinking the ISR"
            );
            proposal
        };
        self.hand_over(proposal, settings);
    }

    fn hand_over(&self, proposal: Proposal, settings: &ReplicaSettings) {
        settings
            .proposals
            .submit(self.topic_partition.clone(), self.topic_id(), proposal);
    }

    /// Whether `proposal` still awaits its answer.
    pub fn awaits(&self, proposal: &Proposal) -> bool {
        match &*self.role.read() {
            Role::Leader(leading) => leading.state().awaits(proposal),
            Role::Follower(_) | Role::Unassigned => false,
        }
    }

    /// Takes what came of a proposal; [`Outcome::Retry`] asks for it to be made again.
    pub fn proposal_answered(
        &self,
        proposal: &Proposal,
        answer: &Answer,
        settings: &ReplicaSettings,
        now: Millis,
    ) -> Outcome {
        let (outcome, moved) = {
            let role = self.role.read();
            let Role::Leader(leading) = &*role else {
                return Outcome::Overtaken;
            };
            let mut state = leading.state();
            let outcome = state.answered(proposal, answer);
            if outcome == Outcome::Committed {
                info!(
                    partition = %self.topic_partition, isr = ?state.isr, partition_epoch = %state.partition_epoch,
                    "ISR updated"
                );
            }
            let moved = match (outcome, self.log()) {
                // Also after a refusal: until now the high watermark has waited for the replica that was to join.
                (Outcome::Committed | Outcome::Reverted, Some(log)) => raise(&state, &log, settings, now),
                _ => None,
            };
            (outcome, moved)
        };
        match outcome {
            Outcome::Committed | Outcome::Overtaken | Outcome::AwaitingController => {}
            Outcome::Reverted => {
                info!(partition = %self.topic_partition, isr = ?proposal.isr, "ISR not changed: the controller refused")
            }
            Outcome::Retry => {
                warn!(partition = %self.topic_partition, isr = ?proposal.isr, "ISR not changed yet: proposing it again")
            }
        }
        if let Answer::Refused(Refusal::OutOfDate) = answer {
            debug!(partition = %self.topic_partition, ?outcome, "ISR not changed: waiting for the controller's word");
        }
        if let Some(high_watermark) = moved {
            self.high_watermark_moved(high_watermark);
        }
        outcome
    }

    /// Moves the high watermark where something else than a fetch allows it to: `min.insync.replicas` was changed.
    pub fn reconsider_high_watermark(&self, settings: &ReplicaSettings, now: Millis) {
        let moved = {
            let role = self.role.read();
            let (Role::Leader(leading), Some(log)) = (&*role, self.log()) else {
                return;
            };
            leading.raise_high_watermark(&log, settings, now)
        };
        if let Some(high_watermark) = moved {
            self.high_watermark_moved(high_watermark);
        }
    }

    /// Whether a follower is in the accepted in-sync set, where this broker leads.
    pub fn is_in_sync(&self, replica: BrokerId) -> bool {
        match &*self.role.read() {
            Role::Leader(leading) => leading.state().isr.contains(&replica),
            Role::Follower(_) | Role::Unassigned => false,
        }
    }

    /// The accepted in-sync set, where this broker leads.
    pub fn isr(&self) -> Option<Vec<BrokerId>> {
        match &*self.role.read() {
            Role::Leader(leading) => Some(leading.state().isr.clone()),
            Role::Follower(_) | Role::Unassigned => None,
        }
    }
}

#[cfg(test)]
#[path = "leading_tests.rs"]
mod tests;
