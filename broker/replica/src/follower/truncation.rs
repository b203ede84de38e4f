//! Where a follower cuts its log: by leader epoch, to its high watermark, or to where its leader is.
//!
//! Source: Kafka 3.9 `AbstractFetcherThread.getOffsetTruncationState`, `fetchOffsetAndTruncate`; KIP-101, KIP-279.

use model::{LeaderEpoch, Millis, Offset, TopicPartition};

use super::{EpochEnd, EpochQuestion, Fetcher, LeaderError, LocalLogs, Next, OffsetQuestion, Phase, Step};

/// How a log is cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Truncation {
    /// Drop the records from this offset on.
    To {
        /// The new end.
        offset: Offset,
        /// Whether the logs are known to agree then; else the leader is asked once more.
        completed: bool,
    },
    /// Drop all records; the next one gets this offset. The leader begins past the end of this log.
    FullyAndStartAt {
        /// The new start and end.
        offset: Offset,
    },
}

impl Truncation {
    /// Where the log ends afterwards.
    pub fn offset(&self) -> Offset {
        match self {
            Self::To { offset, .. } | Self::FullyAndStartAt { offset } => *offset,
        }
    }
}

impl Fetcher {
    /// What must be known or done before partitions that are not in order can be fetched; `None` if nothing.
    pub(super) fn settle(&mut self, now: Millis, logs: &impl LocalLogs) -> Option<Next> {
        let mut epochs = Vec::new();
        let mut offsets = Vec::new();
        let mut cut = None;
        let mut offline = Vec::new();
        for name in &self.unsettled {
            let Some(state) = self.state(name) else { continue };
            let Some(log) = logs.offsets(name) else {
                offline.push(name.clone());
                continue;
            };
            match (state.phase, log.latest_epoch) {
                (Phase::Fetching, _) => {}
                (Phase::Truncating, Some(leader_epoch)) => epochs.push(EpochQuestion {
                    partition: name.clone(),
                    current_leader_epoch: state.leader_epoch,
                    leader_epoch,
                }),
                // Nothing to compare by: what is not known to be committed goes.
                (Phase::Truncating, None) => cut = Some((name.clone(), state.fetch_offset)),
                (Phase::Resetting { leader_end }, _) => offsets.push(OffsetQuestion {
                    partition: name.clone(),
                    current_leader_epoch: state.leader_epoch,
                    latest: leader_end.is_none(),
                }),
            }
        }
        for name in offline {
            self.back_off(&name, now);
        }
        if let Some((name, offset)) = cut {
            let completed = true;
            return Some(Next::Truncate(name, Truncation::To { offset, completed }));
        }
        if !epochs.is_empty() {
            return Some(Next::AskEpochEnds(epochs));
        }
        (!offsets.is_empty()).then_some(Next::AskOffsets(offsets))
    }

    /// One partition of an OffsetForLeaderEpoch response.
    pub fn epoch_end(
        &mut self,
        question: &EpochQuestion,
        answer: Result<EpochEnd, LeaderError>,
        now: Millis,
        logs: &impl LocalLogs,
    ) -> Step {
        let current = self
            .state(&question.partition)
            .filter(|state| state.phase == Phase::Truncating && state.delayed_until.is_none())
            .is_some_and(|state| state.leader_epoch == question.current_leader_epoch);
        if !current {
            return Step::None;
        }
        match answer {
            Ok(end) => self.truncate_step(&question.partition, end, now, logs),
            Err(error) => self.refused(&question.partition, error, now),
        }
    }

    /// One partition of a ListOffsets response.
    ///
    /// The leader ends before this log: an unclean election; the log is cut there, and may still differ before it. The
    /// leader begins past this log: it was away for too long, and begins anew there. Else it goes on at its end.
    pub fn listed(
        &mut self,
        question: &OffsetQuestion,
        answer: Result<Offset, LeaderError>,
        now: Millis,
        logs: &impl LocalLogs,
    ) -> Step {
        let name = &question.partition;
        let Some(state) = self.state(name) else {
            return Step::None;
        };
        let Phase::Resetting { leader_end } = state.phase else {
            return Step::None;
        };
        if state.leader_epoch != question.current_leader_epoch || state.delayed_until.is_some() {
            return Step::None;
        }
        let offset = match answer {
            Ok(offset) if offset >= Offset::ZERO => offset,
            // It is asked anew from the beginning.
            Ok(_) => return self.refused(name, LeaderError::Other(0), now),
            Err(error) => return self.refused(name, error, now),
        };
        let Some(log) = logs.offsets(name) else {
            return self.refused(name, LeaderError::Other(0), now);
        };
        match leader_end {
            None if offset < log.log_end_offset => {
                let completed = true;
                Step::Truncate(Truncation::To { offset, completed })
            }
            None => {
                self.change(name, |state| {
                    state.phase = Phase::Resetting {
                        leader_end: Some(offset),
                    };
                });
                Step::None
            }
            Some(_) if offset > log.log_end_offset => Step::Truncate(Truncation::FullyAndStartAt { offset }),
            Some(leader_end) => {
                self.unsettled.remove(name);
                self.change(name, |state| {
                    state.phase = Phase::Fetching;
                    state.fetch_offset = log.log_end_offset;
                    state.lag = Some((leader_end - log.log_end_offset).max(0));
                    state.last_fetched_epoch = log.latest_epoch;
                });
                Step::None
            }
        }
    }

    fn refused(&mut self, partition: &TopicPartition, error: LeaderError, now: Millis) -> Step {
        if error == LeaderError::FencedLeaderEpoch {
            return self.fail(partition);
        }
        if let Some(state) = self.state_mut(partition)
            && let Phase::Resetting { leader_end } = &mut state.phase
        {
            *leader_end = None;
        }
        self.back_off(partition, now);
        Step::None
    }

    /// What became of a truncation; afterwards the partition is fetched, or asked about once more.
    ///
    /// `done` is false where the log failed, or is followed at another leader epoch by now.
    pub fn truncated(
        &mut self,
        partition: &TopicPartition,
        truncation: &Truncation,
        done: bool,
        logs: &impl LocalLogs,
    ) -> Step {
        if !done {
            return self.fail(partition);
        }
        let latest_epoch = logs.offsets(partition).and_then(|log| log.latest_epoch);
        let settled = self.config.truncate_on_fetch || !matches!(truncation, Truncation::To { completed: false, .. });
        if settled {
            self.unsettled.remove(partition);
        }
        let offset = truncation.offset();
        self.change(partition, |state| {
            if let Phase::Resetting { leader_end } = state.phase {
                // Cut to the leader's end there is nothing left to fetch; at its start there is all of it.
                state.lag = Some(leader_end.map_or(0, |end| (end - offset).max(0)));
            }
            state.fetch_offset = offset;
            state.last_fetched_epoch = latest_epoch;
            state.delays = 0;
            if settled {
                state.phase = Phase::Fetching;
            }
        });
        Step::None
    }

    /// The source of this log was itself truncated to `offset`: this one must not keep more.
    ///
    /// For copies within a broker. Source: Kafka `AbstractFetcherThread.markPartitionsForTruncation`.
    pub fn mark_for_truncation(&mut self, partition: &TopicPartition, offset: Offset) {
        let Some(state) = self.state_mut(partition) else {
            return;
        };
        state.fetch_offset = state.fetch_offset.min(offset);
        state.phase = Phase::Truncating;
        state.last_fetched_epoch = None;
        if state.delayed_until.is_none() {
            self.unsettled.insert(partition.clone());
        }
        self.mark_changed(partition);
    }

    /// The cut that follows from where an epoch ends on the leader.
    pub(super) fn truncate_step(
        &mut self,
        partition: &TopicPartition,
        leader: EpochEnd,
        now: Millis,
        logs: &impl LocalLogs,
    ) -> Step {
        let Some(log) = logs.offsets(partition) else {
            self.back_off(partition, now);
            return Step::None;
        };
        let Some(state) = self.state(partition) else {
            return Step::None;
        };
        let cut = |offset: Offset, completed| {
            let offset = offset.min(log.log_end_offset);
            Step::Truncate(Truncation::To { offset, completed })
        };
        if leader.end_offset < Offset::ZERO {
            // The leader does not know the epoch, or knows none: to the high watermark, where this one began.
            return cut(state.fetch_offset, true);
        }
        if leader.leader_epoch == LeaderEpoch::NONE {
            // OffsetForLeaderEpoch 0 does not say which epoch it speaks of.
            return cut(leader.end_offset, true);
        }
        match logs.end_offset_for_epoch(partition, leader.leader_epoch) {
            // The leader's epoch is not in this log: cut to the largest before it, and ask about that one.
            Some(own) if own.leader_epoch != leader.leader_epoch => cut(own.end_offset, false),
            Some(own) => cut(own.end_offset.min(leader.end_offset), true),
            // All epochs here are newer than the leader's answer.
            None => cut(leader.end_offset, true),
        }
    }
}
