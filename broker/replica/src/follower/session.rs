//! Incremental fetch sessions from the fetcher's side: what the leader knows already is not said again.
//!
//! A session begins with a full request (epoch 0), in which every partition stands; later ones say what changed and
//! what is forgotten. Whatever shakes the trust that both sides know the same ends the session, and the next request is
//! full again. Source: Kafka 3.9 `FetchSessionHandler`, `FetchMetadata`; KIP-227, KIP-516 for topic ids.

use std::collections::HashMap;

use model::{LeaderEpoch, Millis, Offset, TopicId, TopicPartition};

use super::{Fetcher, LocalLogs, THROTTLE_PAUSE};

/// What is asked of one partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FetchPartition {
    /// From where on.
    pub fetch_offset: Offset,
    /// The follower's log start offset.
    pub log_start_offset: Offset,
    /// The leader's epoch as the follower knows it.
    pub leader_epoch: LeaderEpoch,
    /// The epoch of the last batch in the follower's log; `None` where the leader shall not compare.
    pub last_fetched_epoch: Option<LeaderEpoch>,
}

/// A partition that the leader's session shall drop.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Forgotten {
    /// Which one.
    pub partition: TopicPartition,
    /// The id that the session holds it by.
    pub topic_id: Option<TopicId>,
}

/// A Fetch request, but for what is the same in all of a broker's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FetchRequest {
    /// 0 for a new session.
    pub session_id: i32,
    /// 0: full; else the number of the request in its session. −1 in versions without sessions.
    pub session_epoch: i32,
    /// Whether every topic in it has an id; if not, Fetch 12 is the newest that can be used.
    pub topic_ids: bool,
    /// All partitions, or those that changed.
    pub partitions: Vec<(TopicPartition, Option<TopicId>, FetchPartition)>,
    /// Those that the session drops.
    pub forgotten: Vec<Forgotten>,
}

/// The error of a Fetch response as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SessionError {
    /// FETCH_SESSION_ID_NOT_FOUND: evicted, or the leader has started anew.
    IdNotFound,
    /// INVALID_FETCH_SESSION_EPOCH
    InvalidEpoch,
    /// FETCH_SESSION_TOPIC_ID_ERROR: ids and names were mixed.
    TopicId,
    /// Any other.
    Other(i16),
}

/// Whether the partitions of a response may be taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SessionAnswer {
    /// They may.
    Accepted,
    /// They may not; the next request is full.
    Refused,
}

/// What both sides know.
#[derive(Clone, Debug, Default)]
pub(super) struct Session {
    id: i32,
    /// Of the next request; 0 for a full one.
    epoch: i32,
    /// Whether the last request used topic ids: a session does not mix.
    topic_ids: bool,
    /// How many partitions the last request named, if it was full.
    full: Option<usize>,
    /// Partitions that the leader knows of.
    members: usize,
    /// To be dropped with the next request.
    forgotten: Vec<Forgotten>,
}

impl Session {
    /// A partition leaves.
    pub(super) fn forget(&mut self, partition: &TopicPartition, topic_id: Option<TopicId>) {
        self.members = self.members.saturating_sub(1);
        self.forgotten.push(Forgotten {
            partition: partition.clone(),
            topic_id,
        });
    }

    /// The next request is full, and closes the session that the leader may still keep.
    pub(super) fn lost(&mut self) {
        self.epoch = 0;
    }

    fn restart(&mut self) {
        self.id = 0;
        self.epoch = 0;
    }

    pub(super) fn answered(&mut self, error: Option<SessionError>, id: i32, partitions: usize) -> SessionAnswer {
        match error {
            Some(SessionError::IdNotFound) => {
                self.restart();
                return SessionAnswer::Refused;
            }
            Some(_) => {
                self.lost();
                return SessionAnswer::Refused;
            }
            None => {}
        }
        match self.full {
            Some(asked) => {
                // A throttled answer is empty and opens no session.
                if id == 0 {
                    self.restart();
                    return SessionAnswer::Accepted;
                }
                if partitions != asked {
                    self.restart();
                    return SessionAnswer::Refused;
                }
                self.id = id;
                self.epoch = 1;
            }
            None if id == 0 => self.restart(),
            None => self.epoch = self.epoch.checked_add(1).unwrap_or(1),
        }
        SessionAnswer::Accepted
    }
}

impl Fetcher {
    /// The next Fetch; `None` when there is nothing to ask and nothing to forget.
    pub(super) fn build_fetch(&mut self, now: Millis, logs: &impl LocalLogs) -> Option<FetchRequest> {
        let topic_ids = self.config.topic_ids && self.without_id == 0;
        if self.session.topic_ids != topic_ids {
            self.session.lost();
            self.session.topic_ids = topic_ids;
        }
        if !self.config.sessions || self.session.epoch == 0 {
            return self.build_full(now, logs, topic_ids);
        }
        let changed = core::mem::take(&mut self.changed);
        let mut partitions = Vec::with_capacity(changed.len());
        for name in changed {
            let id = self.topic_id(&name.topic);
            let Some(asked) = self.ask(&name, now, logs) else {
                continue;
            };
            match asked {
                Ask::New(ask, joins) => {
                    self.session.members += usize::from(joins);
                    partitions.push((name, id, ask));
                }
                Ask::Leaves => self.session.forget(&name, id),
                Ask::Same => {}
            }
        }
        let mut forgotten = core::mem::take(&mut self.session.forgotten);
        // The leader adds first and forgets then: what has come back must not be named in both.
        if !forgotten.is_empty() && !partitions.is_empty() {
            let named: HashMap<&TopicPartition, Option<TopicId>> =
                partitions.iter().map(|(name, id, _)| (name, *id)).collect();
            let is_named = |it: &Forgotten| {
                let id = named.get(&it.partition);
                id.is_some_and(|id| *id == it.topic_id || !topic_ids)
            };
            forgotten.retain(|it| !is_named(it));
        }
        if self.session.members == 0 && forgotten.is_empty() {
            return None;
        }
        self.session.full = None;
        Some(FetchRequest {
            session_id: self.session.id,
            session_epoch: self.session.epoch,
            topic_ids,
            partitions,
            forgotten,
        })
    }

    fn build_full(&mut self, now: Millis, logs: &impl LocalLogs, topic_ids: bool) -> Option<FetchRequest> {
        self.changed.clear();
        self.session.forgotten.clear();
        let mut names = Vec::with_capacity(self.count);
        for (topic, it) in &mut self.topics {
            for (index, state) in &mut it.partitions {
                state.asked = None;
                state.queued = false;
                if state.is_ready() {
                    names.push((
                        state.turn,
                        TopicPartition::new(std::sync::Arc::clone(topic), *index),
                        it.id,
                    ));
                }
            }
        }
        names.sort_unstable_by_key(|(turn, ..)| *turn);
        let mut partitions = Vec::with_capacity(names.len());
        for (_, name, id) in names {
            if let Some(Ask::New(ask, _)) = self.ask(&name, now, logs) {
                partitions.push((name, id, ask));
            }
        }
        self.session.members = partitions.len();
        self.session.full = Some(partitions.len());
        if partitions.is_empty() {
            return None;
        }
        Some(FetchRequest {
            session_id: self.session.id,
            session_epoch: if self.config.sessions { 0 } else { -1 },
            topic_ids,
            partitions,
            forgotten: Vec::new(),
        })
    }

    /// What the next request says of a partition that may have changed; `None` if it is followed no more.
    fn ask(&mut self, name: &TopicPartition, now: Millis, logs: &impl LocalLogs) -> Option<Ask> {
        let with_epoch = self.config.truncate_on_fetch;
        let state = self.state_mut(name)?;
        state.queued = false;
        if !state.is_ready() {
            return Some(if state.asked.take().is_some() {
                Ask::Leaves
            } else {
                Ask::Same
            });
        }
        let Some(log) = logs.offsets(name) else {
            // Its directory has failed; whoever says so will also remove it.
            let joined = state.asked.take().is_some();
            self.back_off(name, now);
            return Some(if joined { Ask::Leaves } else { Ask::Same });
        };
        if state.lag != Some(0) && logs.is_throttled(name) {
            let joined = state.asked.take().is_some();
            self.delay(name, now + THROTTLE_PAUSE);
            return Some(if joined { Ask::Leaves } else { Ask::Same });
        }
        let ask = FetchPartition {
            fetch_offset: state.fetch_offset,
            log_start_offset: log.log_start_offset,
            leader_epoch: state.leader_epoch,
            last_fetched_epoch: state.last_fetched_epoch.filter(|_| with_epoch),
        };
        let before = state.asked.replace(ask);
        Some(if before == Some(ask) {
            Ask::Same
        } else {
            Ask::New(ask, before.is_none())
        })
    }
}

/// What a request says of a partition.
enum Ask {
    /// This; `true` where the leader has not known it.
    New(FetchPartition, bool),
    /// That it is forgotten.
    Leaves,
    /// Nothing.
    Same,
}
