//! The partitions that one fetcher copies from one leader: what it asks next, and what it does with the answers.
//!
//! Pure: it reads logs through [`LocalLogs`], is told the time, and returns what is to be done: [`Fetcher::next`] says
//! which request to send (or what to truncate first), and each answer is given to it partition by partition, which
//! returns a [`Step`] for the log of that partition. The outcome of a step is told with [`Fetcher::appended`] or
//! [`Fetcher::truncated`] before anything else is asked about that partition. Records never pass through here.
//!
//! Decides: fetch offsets, epochs, the incremental session's differences, where to truncate to (diverging epochs of
//! Fetch 12, OffsetForLeaderEpoch in rounds before), what to do out of range, whom to delay and whom to give up.
//! Does not decide which leader to follow: the controller does, by [`Fetcher::add`] and [`Fetcher::remove`].
//!
//! Invariants: a partition is asked about only at the leader epoch it was added with; an answer counts only if offset
//! and epoch are still those asked with; the work of a request is in the number of partitions that changed.
//!
//! Source: Kafka 3.9 `AbstractFetcherThread`, `ReplicaFetcherThread`, `RemoteLeaderEndPoint`, `FetchSessionHandler`;
//! KIP-101, KIP-227, KIP-279, KIP-320, KIP-516, KIP-595.

mod session;
#[cfg(test)]
mod tests;
mod truncation;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use model::{LeaderEpoch, Millis, Offset, TopicId, TopicPartition};

use session::Session;
pub use session::{FetchPartition, FetchRequest, Forgotten, SessionAnswer, SessionError};
pub use truncation::Truncation;

/// The first time to wait after a failure; doubled up to `replica.fetch.backoff.ms`.
const FIRST_BACKOFF: Millis = Millis(20);

/// How long a throttled partition is left alone before the throttle is looked at again.
const THROTTLE_PAUSE: Millis = Millis(100);

/// What follows from `inter.broker.protocol.version` and `server.properties`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FetcherConfig {
    /// Fetch answers where logs diverge (Fetch 12 and later); else OffsetForLeaderEpoch is asked before fetching.
    pub truncate_on_fetch: bool,
    /// Fetch has sessions (version 7 and later).
    pub sessions: bool,
    /// Fetch names topics by id (version 13 and later).
    pub topic_ids: bool,
    /// `replica.fetch.backoff.ms`.
    pub fetch_backoff: Millis,
}

/// What a fetcher sees of the logs it copies into.
pub trait LocalLogs {
    /// Where the log stands; `None` if it is offline or gone.
    fn offsets(&self, partition: &TopicPartition) -> Option<LogOffsets>;

    /// Where the records of the largest epoch at or below `epoch` end; `None` if that cannot be told.
    ///
    /// Source: Kafka `LeaderEpochFileCache.endOffsetFor`.
    fn end_offset_for_epoch(&self, partition: &TopicPartition, epoch: LeaderEpoch) -> Option<EpochEnd>;

    /// Whether the partition is throttled and the broker has copied too much of late. Asked only of replicas that are not
    /// caught up, so that a throttle does not push in-sync ones out.
    ///
    /// Source: Kafka `RemoteLeaderEndPoint.shouldFollowerThrottle`.
    fn is_throttled(&self, _partition: &TopicPartition) -> bool {
        false
    }
}

/// Where a log stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogOffsets {
    /// Its first offset.
    pub log_start_offset: Offset,
    /// One past its last.
    pub log_end_offset: Offset,
    /// Its newest leader epoch; `None` with records of old formats alone, or none.
    pub latest_epoch: Option<LeaderEpoch>,
}

/// Where the records of an epoch end, as a leader or a log says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EpochEnd {
    /// Which epoch; [`LeaderEpoch::NONE`] in answers before OffsetForLeaderEpoch 1, or when it is unknown.
    pub leader_epoch: LeaderEpoch,
    /// One past its last record; −1 when the leader cannot tell.
    pub end_offset: Offset,
}

/// How a partition begins to be followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InitialFetch {
    /// Of its topic, if known.
    pub topic_id: Option<TopicId>,
    /// Of the leader.
    pub leader_epoch: LeaderEpoch,
    /// Where to begin; see [`initial_offset`]. Below 0: ask the leader.
    pub offset: Offset,
}

/// Where a new follower begins to fetch: at its end where the leader tells it if that diverges, else at its high
/// watermark, to which it truncates when the leader knows no better.
///
/// Source: Kafka `ReplicaManager.initialFetchOffset`.
pub fn initial_offset(truncate_on_fetch: bool, log: &LogOffsets, high_watermark: Offset) -> Offset {
    if truncate_on_fetch && log.latest_epoch.is_some() {
        log.log_end_offset
    } else {
        high_watermark
    }
}

/// Why a leader gives no records, no offset, no epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LeaderError {
    /// OFFSET_OUT_OF_RANGE
    OffsetOutOfRange,
    /// FENCED_LEADER_EPOCH: it leads at a newer epoch.
    FencedLeaderEpoch,
    /// UNKNOWN_LEADER_EPOCH: it has not heard of this epoch yet.
    UnknownLeaderEpoch,
    /// OFFSET_MOVED_TO_TIERED_STORAGE: it keeps the offset in a remote tier, which this broker has not.
    OffsetMovedToTieredStorage,
    /// NOT_LEADER_OR_FOLLOWER
    NotLeaderOrFollower,
    /// UNKNOWN_TOPIC_OR_PARTITION
    UnknownTopicOrPartition,
    /// UNKNOWN_TOPIC_ID
    UnknownTopicId,
    /// INCONSISTENT_TOPIC_ID
    InconsistentTopicId,
    /// Anything else, by its code.
    Other(i16),
}

/// One partition of a Fetch response, without its records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FetchAnswer {
    /// Whether there is an answer.
    pub error: Option<LeaderError>,
    /// The leader's high watermark.
    pub high_watermark: Offset,
    /// Where this log has left the leader's (Fetch 12 and later).
    pub diverging: Option<EpochEnd>,
}

/// What an append did, or why it did nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AppendOutcome {
    /// Done; there may have been nothing to append.
    Appended {
        /// The last offset appended; `None` when nothing was.
        last_offset: Option<Offset>,
        /// The epoch of the last batch appended.
        leader_epoch: Option<LeaderEpoch>,
        /// The leader's high watermark in the same answer.
        leader_high_watermark: Offset,
    },
    /// The records are corrupt or invalid: perhaps only now. They are fetched again, later.
    Corrupt,
    /// The log failed, or the records do not continue it: the partition is given up until the controller speaks again.
    Failed,
    /// This broker follows at another leader epoch by now: what was fetched is dropped.
    Superseded,
}

/// What is to be done to the log of a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Nothing; it may be asked again later.
    None,
    /// Append the records of the answer, if this broker still follows at this epoch; then [`Fetcher::appended`].
    Append {
        /// The epoch the records were fetched at: batches of later ones are left out (KAFKA-18723).
        leader_epoch: LeaderEpoch,
        /// The log must end here.
        fetch_offset: Offset,
    },
    /// Truncate the log, then [`Fetcher::truncated`].
    Truncate(Truncation),
    /// The partition is no longer fetched: it waits for the controller's next word, or its log has failed.
    Failed,
}

/// A question for OffsetForLeaderEpoch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EpochQuestion {
    /// Of which partition.
    pub partition: TopicPartition,
    /// The leader's, as this follower knows it.
    pub current_leader_epoch: LeaderEpoch,
    /// Where does this epoch end?
    pub leader_epoch: LeaderEpoch,
}

/// A question for ListOffsets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OffsetQuestion {
    /// Of which partition.
    pub partition: TopicPartition,
    /// The leader's, as this follower knows it.
    pub current_leader_epoch: LeaderEpoch,
    /// The leader's log end (timestamp −1), or its log start (−2).
    pub latest: bool,
}

/// What a fetcher does next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Next {
    /// Truncate this log, then [`Fetcher::truncated`]; then ask again.
    Truncate(TopicPartition, Truncation),
    /// Send OffsetForLeaderEpoch; then [`Fetcher::epoch_end`] for each.
    AskEpochEnds(Vec<EpochQuestion>),
    /// Send ListOffsets; then [`Fetcher::listed`] for each.
    AskOffsets(Vec<OffsetQuestion>),
    /// Send Fetch; then [`Fetcher::session_answer`], and [`Fetcher::fetched`] for each partition in the answer.
    Fetch(FetchRequest),
    /// Nothing until then, or until partitions come.
    Wait(Option<Millis>),
}

/// What a partition is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Its log may have left the leader's: nothing is fetched before that is known.
    Truncating,
    /// The normal state.
    Fetching,
    /// Out of range: asks where the leader ends, then where it starts.
    Resetting { leader_end: Option<Offset> },
}

/// One partition, as [`Fetcher::partition`] shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PartitionFetchState {
    /// The next offset to fetch.
    pub fetch_offset: Offset,
    /// Of the leader.
    pub leader_epoch: LeaderEpoch,
    /// Of the last batch in the log.
    pub last_fetched_epoch: Option<LeaderEpoch>,
    /// How far the leader's high watermark is ahead; `None` before the first answer.
    pub lag: Option<i64>,
    /// It is being truncated or reset: nothing is fetched.
    pub truncating: bool,
    /// It is left alone until then.
    pub delayed_until: Option<Millis>,
}

#[derive(Clone, Debug)]
struct State {
    fetch_offset: Offset,
    leader_epoch: LeaderEpoch,
    last_fetched_epoch: Option<LeaderEpoch>,
    lag: Option<i64>,
    phase: Phase,
    delayed_until: Option<Millis>,
    /// How often it was delayed since it was last answered.
    delays: u32,
    /// What the leader's session holds of it; with old versions, what was asked last.
    asked: Option<FetchPartition>,
    /// It stands in `Fetcher::changed`.
    queued: bool,
    /// Who waited longest is first in a full request.
    turn: u64,
}

impl State {
    fn is_ready(&self) -> bool {
        self.phase == Phase::Fetching && self.delayed_until.is_none()
    }
}

#[derive(Clone, Debug, Default)]
struct Topic {
    id: Option<TopicId>,
    partitions: BTreeMap<i32, State>,
}

/// The partitions that are copied from one leader over one connection.
#[derive(Clone, Debug)]
pub struct Fetcher {
    config: FetcherConfig,
    topics: BTreeMap<Arc<str>, Topic>,
    names: HashMap<TopicId, Arc<str>>,
    /// Topics whose id is not known: while there is one, all are named.
    without_id: usize,
    count: usize,
    session: Session,
    /// Those that the next request must mention.
    changed: Vec<TopicPartition>,
    /// Those that must be truncated or reset before they are fetched, unless they are delayed.
    unsettled: BTreeSet<TopicPartition>,
    delayed: BTreeSet<(Millis, TopicPartition)>,
    /// Nothing is sent before.
    paused_until: Option<Millis>,
    /// How often it was paused since the leader last answered.
    pauses: u32,
    next_turn: u64,
}

impl Fetcher {
    /// A fetcher without partitions.
    pub fn new(config: FetcherConfig) -> Self {
        Self {
            config,
            topics: BTreeMap::new(),
            names: HashMap::new(),
            without_id: 0,
            count: 0,
            session: Session::default(),
            changed: Vec::new(),
            unsettled: BTreeSet::new(),
            delayed: BTreeSet::new(),
            paused_until: None,
            pauses: 0,
            next_turn: 0,
        }
    }

    /// How many partitions it has.
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether it has none.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Begins to follow; a partition that is followed at the same leader epoch goes on undisturbed.
    ///
    /// Source: Kafka `AbstractFetcherThread.addPartitions`, `partitionFetchState`.
    pub fn add(&mut self, partition: &TopicPartition, initial: InitialFetch, logs: &impl LocalLogs) {
        self.set_topic_id(partition, initial.topic_id);
        if self
            .state(partition)
            .is_some_and(|state| state.leader_epoch == initial.leader_epoch)
        {
            return;
        }
        let latest_epoch = logs.offsets(partition).and_then(|log| log.latest_epoch);
        let (phase, last_fetched_epoch) = if initial.offset < Offset::ZERO {
            (Phase::Resetting { leader_end: None }, latest_epoch)
        } else if self.config.truncate_on_fetch && latest_epoch.is_some() {
            (Phase::Fetching, latest_epoch)
        } else {
            (Phase::Truncating, None)
        };
        let topic_id = initial.topic_id.or(self.topic_id(&partition.topic));
        let before = self.take(partition);
        if !self.topics.contains_key(&partition.topic) && topic_id.is_none() {
            self.without_id += 1;
        }
        let topic = self.topics.entry(Arc::clone(&partition.topic)).or_default();
        topic.id = topic_id;
        if let Some(id) = topic_id {
            self.names.insert(id, Arc::clone(&partition.topic));
        }
        self.next_turn += 1;
        let state = State {
            fetch_offset: initial.offset,
            leader_epoch: initial.leader_epoch,
            last_fetched_epoch,
            lag: None,
            phase,
            delayed_until: None,
            delays: 0,
            asked: before.as_ref().and_then(|state| state.asked),
            queued: before.is_some_and(|state| state.queued),
            turn: self.next_turn,
        };
        topic.partitions.insert(partition.partition, state);
        self.count += 1;
        if phase != Phase::Fetching {
            self.unsettled.insert(partition.clone());
        }
        self.mark_changed(partition);
    }

    /// Ceases to follow; what was known, if it was followed.
    pub fn remove(&mut self, partition: &TopicPartition) -> Option<PartitionFetchState> {
        let id = self.topic_id(&partition.topic);
        let state = self.take(partition)?;
        if state.asked.is_some() {
            self.session.forget(partition, id);
        }
        Some(state.view())
    }

    /// The topic's id is known now, or has changed.
    pub fn set_topic_id(&mut self, partition: &TopicPartition, id: Option<TopicId>) {
        let Some(topic) = self.topics.get_mut(&partition.topic) else {
            return;
        };
        if id.is_none() || topic.id == id {
            return;
        }
        let before = core::mem::replace(&mut topic.id, id);
        match before {
            Some(before) => {
                self.names.remove(&before);
            }
            None => self.without_id -= 1,
        }
        if let Some(id) = id {
            self.names.insert(id, Arc::clone(&partition.topic));
        }
        let mut all = Vec::new();
        for (index, state) in &mut topic.partitions {
            let name = TopicPartition::new(Arc::clone(&partition.topic), *index);
            // The leader's session holds it by the old id.
            if state.asked.take().is_some() {
                self.session.forget(&name, before);
            }
            all.push(name);
        }
        for name in &all {
            self.mark_changed(name);
        }
    }

    /// What is known of a partition.
    pub fn partition(&self, partition: &TopicPartition) -> Option<PartitionFetchState> {
        self.state(partition).map(State::view)
    }

    /// Every partition.
    pub fn partitions(&self) -> impl Iterator<Item = (TopicPartition, PartitionFetchState)> + '_ {
        self.topics.iter().flat_map(|(name, topic)| {
            topic
                .partitions
                .iter()
                .map(|(index, state)| (TopicPartition::new(Arc::clone(name), *index), state.view()))
        })
    }

    /// The id of a topic, as it was told.
    pub fn topic_id(&self, topic: &str) -> Option<TopicId> {
        self.topics.get(topic).and_then(|topic| topic.id)
    }

    /// The topic with this id among those that are followed: how answers of Fetch 13 and later name it.
    pub fn topic_name(&self, id: TopicId) -> Option<&Arc<str>> {
        self.names.get(&id)
    }

    /// The name of a topic that is followed, shared: how answers before Fetch 13 name it.
    pub fn topic_key(&self, topic: &str) -> Option<&Arc<str>> {
        self.topics.get_key_value(topic).map(|(name, _)| name)
    }

    /// What to do now.
    pub fn next(&mut self, now: Millis, logs: &impl LocalLogs) -> Next {
        self.wake_delayed(now);
        if let Some(until) = self.paused_until {
            if now < until {
                return Next::Wait(Some(until));
            }
            self.paused_until = None;
        }
        if !self.unsettled.is_empty()
            && let Some(next) = self.settle(now, logs)
        {
            return next;
        }
        match self.build_fetch(now, logs) {
            Some(request) => Next::Fetch(request),
            None => Next::Wait(self.delayed.first().map(|(until, _)| *until)),
        }
    }

    /// The answer to a Fetch as a whole. Only with [`SessionAnswer::Accepted`] may its partitions be taken.
    ///
    /// `error`: of the response itself; `partitions`: how many it holds.
    /// Source: Kafka `FetchSessionHandler.handleResponse`.
    pub fn session_answer(
        &mut self,
        error: Option<SessionError>,
        session_id: i32,
        partitions: usize,
        now: Millis,
    ) -> SessionAnswer {
        if !self.config.sessions {
            return match error {
                None => SessionAnswer::Accepted,
                Some(_) => {
                    self.pause(now);
                    SessionAnswer::Refused
                }
            };
        }
        let answer = self.session.answered(error, session_id, partitions);
        if answer == SessionAnswer::Accepted {
            self.pauses = 0;
        }
        if answer == SessionAnswer::Refused
            && !matches!(
                error,
                Some(SessionError::IdNotFound | SessionError::InvalidEpoch) | None
            )
        {
            self.pause(now);
        }
        answer
    }

    /// No answer came: the connection ended, or could not be made. The next request is full, after a while.
    pub fn disconnected(&mut self, now: Millis) {
        self.session.lost();
        self.pause(now);
    }

    /// The pending Fetch was given up to send another at once, over a new connection. The next request is full.
    pub fn abandoned(&mut self) {
        self.session.lost();
    }

    /// The leader is worth another try at once.
    pub fn resume(&mut self) {
        self.paused_until = None;
    }

    fn pause(&mut self, now: Millis) {
        self.paused_until = Some(now + self.backoff(self.pauses));
        self.pauses = self.pauses.saturating_add(1);
    }

    /// How long to wait after so many failures: `replica.fetch.backoff.ms`, but less at first.
    ///
    /// The word of the controller reaches a follower before the new leader as often as after it. To wait for the whole
    /// time then would hold up acks=all by it at each change of leaders.
    fn backoff(&self, failures: u32) -> Millis {
        let first = Millis(FIRST_BACKOFF.0 << failures.min(16));
        first.min(self.config.fetch_backoff)
    }

    /// One partition of a Fetch response. Source: Kafka `AbstractFetcherThread.processFetchRequest`.
    pub fn fetched(
        &mut self,
        partition: &TopicPartition,
        answer: &FetchAnswer,
        now: Millis,
        logs: &impl LocalLogs,
    ) -> Step {
        let Some(state) = self.state(partition) else {
            return Step::None;
        };
        // Removed and added again, or truncated, while the request was on its way: not what is wanted any more.
        let current = state
            .asked
            .is_some_and(|asked| asked.fetch_offset == state.fetch_offset && asked.leader_epoch == state.leader_epoch);
        if !current || !state.is_ready() {
            return Step::None;
        }
        let (leader_epoch, fetch_offset) = (state.leader_epoch, state.fetch_offset);
        match answer.error {
            None => match answer.diverging {
                Some(diverging) if self.config.truncate_on_fetch && diverging.leader_epoch >= LeaderEpoch(0) => {
                    self.truncate_step(partition, diverging, now, logs)
                }
                _ => Step::Append {
                    leader_epoch,
                    fetch_offset,
                },
            },
            Some(LeaderError::OffsetOutOfRange) => {
                self.change(partition, |state| state.phase = Phase::Resetting { leader_end: None });
                self.unsettled.insert(partition.clone());
                Step::None
            }
            // The controller's word about the new epoch is on its way: it will be added again.
            Some(LeaderError::FencedLeaderEpoch) => self.fail(partition),
            Some(
                LeaderError::UnknownLeaderEpoch
                | LeaderError::OffsetMovedToTieredStorage
                | LeaderError::NotLeaderOrFollower
                | LeaderError::UnknownTopicOrPartition
                | LeaderError::UnknownTopicId
                | LeaderError::InconsistentTopicId
                | LeaderError::Other(_),
            ) => {
                self.back_off(partition, now);
                Step::None
            }
        }
    }

    /// What became of a [`Step::Append`].
    pub fn appended(&mut self, partition: &TopicPartition, outcome: AppendOutcome, now: Millis) -> Step {
        match outcome {
            AppendOutcome::Appended {
                last_offset,
                leader_epoch,
                leader_high_watermark,
            } => {
                self.next_turn += 1;
                let turn = self.next_turn;
                let Some(state) = self.state_mut(partition) else {
                    return Step::None;
                };
                let next_offset = last_offset.map_or(state.fetch_offset, Offset::next);
                state.delays = 0;
                state.lag = Some((leader_high_watermark - next_offset).max(0));
                if last_offset.is_some() {
                    state.fetch_offset = next_offset;
                    state.last_fetched_epoch = leader_epoch.or(state.last_fetched_epoch);
                    state.turn = turn;
                    self.mark_changed(partition);
                }
                Step::None
            }
            AppendOutcome::Corrupt => {
                self.back_off(partition, now);
                Step::None
            }
            AppendOutcome::Failed => self.fail(partition),
            // Removed or added again in a moment; until then it is not asked for.
            AppendOutcome::Superseded => {
                self.back_off(partition, now);
                Step::None
            }
        }
    }

    /// The local log start offset of this partition has moved: the leader hears of it with the next request.
    pub fn log_start_moved(&mut self, partition: &TopicPartition) {
        self.mark_changed(partition);
    }

    /// Log start offsets may have moved here, by retention: looks at each, and tells the leader where one has.
    pub fn log_starts_may_have_moved(&mut self, logs: &impl LocalLogs) {
        let mut moved = Vec::new();
        for (name, topic) in &self.topics {
            for (index, state) in &topic.partitions {
                let Some(asked) = state.asked else { continue };
                let name = TopicPartition::new(Arc::clone(name), *index);
                if logs
                    .offsets(&name)
                    .is_some_and(|log| log.log_start_offset != asked.log_start_offset)
                {
                    moved.push(name);
                }
            }
        }
        for name in &moved {
            self.mark_changed(name);
        }
    }

    /// Leaves a partition alone for a while: longer, the more often in a row.
    pub fn back_off(&mut self, partition: &TopicPartition, now: Millis) {
        let Some(delays) = self.state(partition).map(|state| state.delays) else {
            return;
        };
        self.delay(partition, now + self.backoff(delays));
        if let Some(state) = self.state_mut(partition) {
            state.delays = delays.saturating_add(1);
        }
    }

    /// Leaves a partition alone until then; one that is delayed already stays so.
    pub fn delay(&mut self, partition: &TopicPartition, until: Millis) {
        let Some(state) = self.state_mut(partition) else {
            return;
        };
        if state.delayed_until.is_none() {
            state.delayed_until = Some(until);
            self.unsettled.remove(partition);
            self.delayed.insert((until, partition.clone()));
            self.mark_changed(partition);
        }
    }

    fn wake_delayed(&mut self, now: Millis) {
        while let Some((until, _)) = self.delayed.first()
            && *until <= now
            && let Some((_, partition)) = self.delayed.pop_first()
        {
            let Some(state) = self.state_mut(&partition) else {
                continue;
            };
            state.delayed_until = None;
            if state.phase != Phase::Fetching {
                self.unsettled.insert(partition.clone());
            }
            self.mark_changed(&partition);
        }
    }

    /// Gives a partition up. Source: Kafka `markPartitionFailed`.
    fn fail(&mut self, partition: &TopicPartition) -> Step {
        self.remove(partition);
        Step::Failed
    }

    fn state(&self, partition: &TopicPartition) -> Option<&State> {
        self.topics.get(&partition.topic)?.partitions.get(&partition.partition)
    }

    fn state_mut(&mut self, partition: &TopicPartition) -> Option<&mut State> {
        self.topics
            .get_mut(&partition.topic)?
            .partitions
            .get_mut(&partition.partition)
    }

    fn change(&mut self, partition: &TopicPartition, change: impl FnOnce(&mut State)) {
        if let Some(state) = self.state_mut(partition) {
            change(state);
            self.mark_changed(partition);
        }
    }

    fn mark_changed(&mut self, partition: &TopicPartition) {
        if let Some(state) = self.state_mut(partition)
            && !state.queued
        {
            state.queued = true;
            self.changed.push(partition.clone());
        }
    }

    fn take(&mut self, partition: &TopicPartition) -> Option<State> {
        let topic = self.topics.get_mut(&partition.topic)?;
        let state = topic.partitions.remove(&partition.partition)?;
        if topic.partitions.is_empty() {
            match self.topics.remove(&partition.topic).and_then(|topic| topic.id) {
                Some(id) => {
                    self.names.remove(&id);
                }
                None => self.without_id -= 1,
            }
        }
        self.count -= 1;
        self.unsettled.remove(partition);
        if let Some(until) = state.delayed_until {
            self.delayed.remove(&(until, partition.clone()));
        }
        Some(state)
    }
}

impl State {
    fn view(&self) -> PartitionFetchState {
        PartitionFetchState {
            fetch_offset: self.fetch_offset,
            leader_epoch: self.leader_epoch,
            last_fetched_epoch: self.last_fetched_epoch,
            lag: self.lag,
            truncating: self.phase != Phase::Fetching,
            delayed_until: self.delayed_until,
        }
    }
}
