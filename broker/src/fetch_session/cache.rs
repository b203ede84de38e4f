//! The sessions of a broker, bounded by `max.incremental.fetch.session.cache.slots`.
//!
//! When all slots are taken a new session may replace one that has not been used for two minutes, or one that is
//! worth less: a consumer's by a follower's, a smaller by a larger one, if the smaller is older than two minutes.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::sync::Arc;

use hashbrown::HashMap;
use indexmap::IndexMap;
use model::Millis;
use parking_lot::Mutex;

use super::{
    Cached, FINAL_EPOCH, FetchContext, INITIAL_EPOCH, INVALID_SESSION_ID, Kind, PartitionFetch, PartitionKey, Session,
    SessionError, SessionRequest, next_epoch,
};

/// Source: Kafka 3.9 `ServerConfigs.MIN_INCREMENTAL_FETCH_SESSION_EVICTION_MS`.
const MIN_EVICTION_AGE: Millis = Millis(120_000);

#[derive(Debug)]
struct Slot {
    privileged: bool,
    uses_topic_ids: bool,
    size: usize,
    created: Millis,
    last_used: Millis,
    session: Arc<Mutex<Session>>,
}

/// All fetch sessions of this broker.
#[derive(Debug)]
pub struct FetchSessions {
    slots: usize,
    by_id: Mutex<HashMap<i32, Slot>>,
    random: RandomState,
}

impl FetchSessions {
    /// At most `slots` sessions.
    pub fn new(slots: usize) -> Self {
        Self {
            slots,
            by_id: Mutex::new(HashMap::new()),
            random: RandomState::new(),
        }
    }

    /// How many sessions there are.
    pub fn len(&self) -> usize {
        self.by_id.lock().len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Begins a fetch: resolves the session, takes over what the request adds, changes and forgets.
    ///
    /// # Errors
    /// The session is unknown, or at another epoch, or identifies topics the other way.
    pub fn begin(
        &self,
        request: &SessionRequest,
        fetches: Vec<(PartitionKey, PartitionFetch)>,
        forgotten: &[PartitionKey],
        now: Millis,
    ) -> Result<FetchContext, SessionError> {
        if request.epoch == INITIAL_EPOCH || request.epoch == FINAL_EPOCH {
            if request.id != INVALID_SESSION_ID {
                self.by_id.lock().remove(&request.id);
            }
            let kind = if request.epoch == FINAL_EPOCH {
                Kind::Sessionless
            } else {
                Kind::New(*request)
            };
            return Ok(FetchContext {
                partitions: fetches,
                kind,
            });
        }
        let mut by_id = self.by_id.lock();
        let slot = by_id.get_mut(&request.id).ok_or(SessionError::NotFound)?;
        let shared = Arc::clone(&slot.session);
        let mut session = shared.lock();
        if session.epoch != request.epoch {
            return Err(SessionError::InvalidEpoch);
        }
        if slot.uses_topic_ids != request.uses_topic_ids {
            return Err(SessionError::TopicIds);
        }
        for (key, fetch) in &fetches {
            match session.partitions.get_mut(key) {
                Some(cached) => cached.fetch = *fetch,
                None => {
                    session.partitions.insert(key.clone(), Cached::new(*fetch));
                }
            }
        }
        for key in forgotten {
            session.partitions.swap_remove(key);
        }
        slot.size = session.partitions.len();
        if session.partitions.is_empty() {
            by_id.remove(&request.id);
            return Ok(FetchContext {
                partitions: fetches,
                kind: Kind::Sessionless,
            });
        }
        slot.last_used = now;
        session.epoch = next_epoch(session.epoch);
        let start = session.cursor.min(session.partitions.len());
        let in_turn = session
            .partitions
            .iter()
            .skip(start)
            .chain(session.partitions.iter().take(start));
        let partitions = in_turn.map(|(key, cached)| (key.clone(), cached.fetch)).collect();
        drop(session);
        Ok(FetchContext {
            partitions,
            kind: Kind::Incremental {
                id: request.id,
                session: shared,
            },
        })
    }

    /// Creates a session, if there is a slot; its id, or [`INVALID_SESSION_ID`].
    pub(super) fn create(
        &self,
        request: &SessionRequest,
        partitions: IndexMap<PartitionKey, Cached>,
        now: Millis,
    ) -> i32 {
        if partitions.is_empty() {
            return INVALID_SESSION_ID;
        }
        let mut by_id = self.by_id.lock();
        if by_id.len() >= self.slots && !evict(&mut by_id, request.privileged, partitions.len(), now) {
            return INVALID_SESSION_ID;
        }
        let mut attempt = now.0.unsigned_abs();
        let id = loop {
            let mut hasher = self.random.build_hasher();
            hasher.write_u64(attempt);
            hasher.write_usize(by_id.len());
            let id = (hasher.finish() & 0x7fff_ffff) as i32;
            if id != INVALID_SESSION_ID && !by_id.contains_key(&id) {
                break id;
            }
            attempt += 1;
        };
        by_id.insert(
            id,
            Slot {
                privileged: request.privileged,
                uses_topic_ids: request.uses_topic_ids,
                size: partitions.len(),
                created: now,
                last_used: now,
                session: Arc::new(Mutex::new(Session {
                    epoch: next_epoch(INITIAL_EPOCH),
                    partitions,
                    cursor: 0,
                })),
            },
        );
        id
    }
}

/// Frees a slot for a session of that worth, if one is stale or worth less.
fn evict(by_id: &mut HashMap<i32, Slot>, privileged: bool, size: usize, now: Millis) -> bool {
    let stale = by_id.iter().min_by_key(|(id, slot)| (slot.last_used, **id));
    let victim = match stale {
        Some((id, slot)) if now - slot.last_used > MIN_EVICTION_AGE => Some(*id),
        _ => by_id
            .iter()
            .filter(|(_, slot)| now - slot.created > MIN_EVICTION_AGE || (privileged && !slot.privileged))
            .min_by_key(|(id, slot)| (slot.privileged, slot.size, **id))
            .filter(|(_, slot)| (slot.privileged, slot.size) < (privileged, size))
            .map(|(id, _)| *id),
    };
    victim.is_some_and(|id| by_id.remove(&id).is_some())
}

#[cfg(test)]
mod tests {
    use model::{LeaderEpoch, Offset, TopicId};

    use super::*;
    use crate::fetch_session::PartitionAnswer;

    fn key(partition: i32) -> PartitionKey {
        PartitionKey {
            topic_id: TopicId::ZERO,
            topic: Arc::from("orders"),
            partition,
        }
    }

    fn fetch(offset: i64) -> PartitionFetch {
        PartitionFetch {
            fetch_offset: Offset(offset),
            max_bytes: 1024,
            current_leader_epoch: LeaderEpoch::NONE,
            last_fetched_epoch: LeaderEpoch::NONE,
            log_start_offset: Offset(-1),
        }
    }

    fn request(id: i32, epoch: i32) -> SessionRequest {
        SessionRequest {
            id,
            epoch,
            uses_topic_ids: false,
            privileged: false,
        }
    }

    fn answer(high_watermark: i64, has_news: bool) -> PartitionAnswer {
        PartitionAnswer {
            high_watermark: Offset(high_watermark),
            log_start_offset: Offset(0),
            has_news,
            has_error: false,
        }
    }

    fn open(sessions: &FetchSessions, partitions: i32, now: i64) -> i32 {
        let fetches = (0..partitions).map(|p| (key(p), fetch(0))).collect();
        let context = sessions.begin(&request(0, 0), fetches, &[], Millis(now)).unwrap();
        let answers = vec![answer(0, false); partitions as usize];
        context.finish(sessions, &answers, Millis(now)).0
    }

    #[test]
    fn an_incremental_fetch_tells_only_news() {
        let sessions = FetchSessions::new(10);
        let id = open(&sessions, 3, 0);
        assert_ne!(id, INVALID_SESSION_ID);

        let context = sessions.begin(&request(id, 1), vec![], &[], Millis(1)).unwrap();
        assert_eq!(context.partitions.len(), 3);
        let (told_id, told) = context.finish(
            &sessions,
            &[answer(0, false), answer(5, true), answer(0, false)],
            Millis(1),
        );
        assert_eq!((told_id, told), (id, vec![false, true, false]));

        // The one that had data comes last the next time.
        let context = sessions
            .begin(&request(id, 2), vec![(key(1), fetch(5))], &[key(0)], Millis(2))
            .unwrap();
        let order: Vec<_> = context
            .partitions
            .iter()
            .map(|(k, f)| (k.partition, f.fetch_offset.0))
            .collect();
        assert_eq!(order, [(2, 0), (1, 5)]);
    }

    #[test]
    fn an_error_is_told_and_its_end_too() {
        let sessions = FetchSessions::new(10);
        let id = open(&sessions, 1, 0);
        let failed = PartitionAnswer {
            has_error: true,
            ..answer(0, false)
        };
        let context = sessions.begin(&request(id, 1), vec![], &[], Millis(1)).unwrap();
        assert_eq!(context.finish(&sessions, &[failed], Millis(1)).1, [true]);
        let context = sessions.begin(&request(id, 2), vec![], &[], Millis(1)).unwrap();
        assert_eq!(context.finish(&sessions, &[answer(0, false)], Millis(1)).1, [true]);
        let context = sessions.begin(&request(id, 3), vec![], &[], Millis(1)).unwrap();
        assert_eq!(context.finish(&sessions, &[answer(0, false)], Millis(1)).1, [false]);
    }

    #[test]
    fn wrong_sessions_are_refused() {
        let sessions = FetchSessions::new(10);
        let id = open(&sessions, 1, 0);
        let check = |request: SessionRequest, error| {
            assert_eq!(sessions.begin(&request, vec![], &[], Millis(1)).unwrap_err(), error);
        };
        check(request(id.wrapping_add(1).max(1), 1), SessionError::NotFound);
        check(request(id, 2), SessionError::InvalidEpoch);
        check(
            SessionRequest {
                uses_topic_ids: true,
                ..request(id, 1)
            },
            SessionError::TopicIds,
        );
        sessions
            .begin(&request(id, FINAL_EPOCH), vec![], &[], Millis(1))
            .unwrap();
        check(request(id, 1), SessionError::NotFound);
    }

    #[test]
    fn a_session_without_partitions_ends() {
        let sessions = FetchSessions::new(10);
        let id = open(&sessions, 1, 0);
        let context = sessions.begin(&request(id, 1), vec![], &[key(0)], Millis(1)).unwrap();
        assert!(!context.is_incremental());
        assert!(sessions.is_empty());
    }

    #[test]
    fn slots_are_given_to_who_needs_them_more() {
        let check = |name: &str, age: i64, privileged: bool, size: i32, evicts: bool| {
            let sessions = FetchSessions::new(1);
            let first = open(&sessions, 2, 0);
            let fetches = (0..size).map(|p| (key(p), fetch(0))).collect();
            let mut wanted = request(0, 0);
            wanted.privileged = privileged;
            let context = sessions.begin(&wanted, fetches, &[], Millis(age)).unwrap();
            let (id, _) = context.finish(&sessions, &vec![answer(0, false); size as usize], Millis(age));
            assert_eq!(id != INVALID_SESSION_ID, evicts, "{name}");
            assert_eq!(sessions.by_id.lock().contains_key(&first), !evicts, "{name}");
        };
        check("young, larger one comes", 1_000, false, 9, false);
        check("stale", 120_001, false, 1, true);
        check("young, follower comes", 1_000, true, 1, true);
    }
}
