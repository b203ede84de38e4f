//! Incremental fetch sessions (KIP-227): a consumer or follower names its partitions once.
//!
//! Decides which partitions a fetch is about, and which of the answers it need not be told again. Does not read logs.
//! A session belongs to one fetcher, which has one fetch in flight; if two requests claim the same epoch of a session,
//! the second is refused. `now` is an argument. Source: Kafka 3.9 `FetchSession`.

mod cache;

use std::sync::Arc;

use indexmap::IndexMap;
use model::{LeaderEpoch, Millis, Offset, TopicId};
use parking_lot::Mutex;

pub use cache::FetchSessions;

/// "No session".
pub const INVALID_SESSION_ID: i32 = 0;
/// The request opens a session.
pub const INITIAL_EPOCH: i32 = 0;
/// The request wants no session, and closes the one that it names.
pub const FINAL_EPOCH: i32 = -1;

/// How a partition is known within a session: by topic id from version 13 on, by name before.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct PartitionKey {
    /// [`TopicId::ZERO`] before version 13.
    pub topic_id: TopicId,
    /// Empty from version 13 on.
    pub topic: Arc<str>,
    /// The partition's index.
    pub partition: i32,
}

/// What a fetch asks of one partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PartitionFetch {
    /// The first offset wanted.
    pub fetch_offset: Offset,
    /// At most so many bytes of it.
    pub max_bytes: i32,
    /// The leader epoch that the fetcher believes in; −1: not said.
    pub current_leader_epoch: LeaderEpoch,
    /// The epoch of the last record that a follower has; −1: not said.
    pub last_fetched_epoch: LeaderEpoch,
    /// The follower's log start offset; −1 from consumers.
    pub log_start_offset: Offset,
}

/// What the answer says of one partition, as far as a session must remember it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PartitionAnswer {
    /// The high watermark told.
    pub high_watermark: Offset,
    /// The log start offset told.
    pub log_start_offset: Offset,
    /// There are records, a preferred read replica or a diverging epoch: always told.
    pub has_news: bool,
    /// The error code is not zero: always told, and told again when it goes away.
    pub has_error: bool,
}

/// The session id and epoch of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessionRequest {
    /// 0: none.
    pub id: i32,
    /// −1: none wanted; 0: a new one; else the next of this session.
    pub epoch: i32,
    /// Version 13 or later.
    pub uses_topic_ids: bool,
    /// From a follower: preferred when sessions are scarce.
    pub privileged: bool,
}

/// Why a session request is refused; the fetcher starts over with a full fetch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SessionError {
    /// → FETCH_SESSION_ID_NOT_FOUND.
    NotFound,
    /// → INVALID_FETCH_SESSION_EPOCH.
    InvalidEpoch,
    /// → FETCH_SESSION_TOPIC_ID_ERROR.
    TopicIds,
}

#[derive(Clone, Copy, Debug)]
struct Cached {
    fetch: PartitionFetch,
    high_watermark: Offset,
    log_start_offset: Offset,
}

impl Cached {
    fn new(fetch: PartitionFetch) -> Self {
        Self {
            fetch,
            high_watermark: Offset(-1),
            log_start_offset: Offset(-1),
        }
    }

    /// Remembers the answer; whether the fetcher must be told of it.
    fn remember(&mut self, answer: &PartitionAnswer) -> bool {
        let news = answer.has_news
            || answer.has_error
            || self.high_watermark != answer.high_watermark
            || self.log_start_offset != answer.log_start_offset;
        self.high_watermark = if answer.has_error {
            Offset(-1)
        } else {
            answer.high_watermark
        };
        self.log_start_offset = answer.log_start_offset;
        news
    }
}

/// One session's memory.
#[derive(Debug)]
struct Session {
    epoch: i32,
    partitions: IndexMap<PartitionKey, Cached>,
    /// Where the next fetch begins: behind the last partition that had data, so that each gets its turn.
    cursor: usize,
}

/// One fetch: its partitions in the order in which they are to be read, and how to answer.
#[derive(Debug)]
pub struct FetchContext {
    /// What to read, in order.
    pub partitions: Vec<(PartitionKey, PartitionFetch)>,
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    Sessionless,
    New(SessionRequest),
    Incremental { id: i32, session: Arc<Mutex<Session>> },
}

impl FetchContext {
    /// Whether only news is told: an answer without any partition can then wait for news.
    pub fn is_incremental(&self) -> bool {
        matches!(self.kind, Kind::Incremental { .. })
    }

    /// Ends the fetch without an answer: nothing is told, and the session remembers that. The session id to tell.
    ///
    /// Source: Kafka `FetchContext.getThrottledResponse`.
    pub fn held_back(self) -> i32 {
        match self.kind {
            Kind::Sessionless | Kind::New(_) => INVALID_SESSION_ID,
            Kind::Incremental { id, .. } => id,
        }
    }

    /// Ends the fetch: given an answer for each of [`Self::partitions`] in that order, returns the session id to tell
    /// and whether each partition must be told.
    pub fn finish(self, sessions: &FetchSessions, answers: &[PartitionAnswer], now: Millis) -> (i32, Vec<bool>) {
        assert_eq!(
            self.partitions.len(),
            answers.len(),
            "one answer for each partition of the fetch"
        );
        match self.kind {
            Kind::Sessionless => (INVALID_SESSION_ID, vec![true; answers.len()]),
            Kind::New(request) => {
                let told = vec![true; answers.len()];
                let mut partitions = IndexMap::with_capacity(answers.len());
                for ((key, fetch), answer) in self.partitions.into_iter().zip(answers) {
                    let mut cached = Cached::new(fetch);
                    cached.remember(answer);
                    partitions.insert(key, cached);
                }
                (sessions.create(&request, partitions, now), told)
            }
            Kind::Incremental { id, session } => {
                let mut session = session.lock();
                let mut last_with_data = None;
                let told = self
                    .partitions
                    .iter()
                    .zip(answers)
                    .map(|((key, _), answer)| match session.partitions.get_full_mut(key) {
                        Some((index, _, cached)) => {
                            if answer.has_news {
                                last_with_data = Some(index);
                            }
                            cached.remember(answer)
                        }
                        None => false,
                    })
                    .collect();
                if let Some(index) = last_with_data {
                    session.cursor = index + 1;
                }
                (id, told)
            }
        }
    }
}

fn next_epoch(epoch: i32) -> i32 {
    if epoch == i32::MAX { 1 } else { epoch + 1 }
}
