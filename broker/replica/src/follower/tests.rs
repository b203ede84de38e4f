//! The core against logs that are only numbers: each test is a conversation with a leader.

use super::*;

const NOW: Millis = Millis(1_000_000);
const BACKOFF: Millis = Millis(1_000);
const ID: TopicId = TopicId([7; 16]);

/// A log: where it starts and ends, and where its epochs start.
#[derive(Clone, Debug, Default)]
struct TestLog {
    start: i64,
    end: i64,
    epochs: Vec<(i32, i64)>,
}

#[derive(Clone, Debug, Default)]
struct TestLogs(BTreeMap<TopicPartition, TestLog>, bool);

impl LocalLogs for TestLogs {
    fn offsets(&self, partition: &TopicPartition) -> Option<LogOffsets> {
        let log = self.0.get(partition)?;
        Some(LogOffsets {
            log_start_offset: Offset(log.start),
            log_end_offset: Offset(log.end),
            latest_epoch: log.epochs.last().map(|(epoch, _)| LeaderEpoch(*epoch)),
        })
    }

    fn end_offset_for_epoch(&self, partition: &TopicPartition, asked: LeaderEpoch) -> Option<EpochEnd> {
        let log = self.0.get(partition)?;
        if log.epochs.last().is_some_and(|(epoch, _)| *epoch == asked.0) {
            return Some(EpochEnd {
                leader_epoch: asked,
                end_offset: Offset(log.end),
            });
        }
        let above = log.epochs.iter().position(|(epoch, _)| *epoch > asked.0)?;
        let leader_epoch = above.checked_sub(1).map_or(asked, |at| LeaderEpoch(log.epochs[at].0));
        Some(EpochEnd {
            leader_epoch,
            end_offset: Offset(log.epochs[above].1),
        })
    }

    fn is_throttled(&self, _: &TopicPartition) -> bool {
        self.1
    }
}

impl TestLogs {
    fn one(start: i64, end: i64, epochs: &[(i32, i64)]) -> Self {
        let mut logs = Self::default();
        logs.put("t", 0, start, end, epochs);
        logs
    }

    fn put(&mut self, topic: &str, partition: i32, start: i64, end: i64, epochs: &[(i32, i64)]) {
        let log = TestLog {
            start,
            end,
            epochs: epochs.to_vec(),
        };
        self.0.insert(TopicPartition::new(topic, partition), log);
    }

    /// Does what the core wants done.
    fn truncate(&mut self, partition: &TopicPartition, truncation: &Truncation) {
        let log = self.0.get_mut(partition).unwrap();
        match truncation {
            Truncation::To { offset, .. } => {
                log.end = log.end.min(offset.0);
                log.epochs.retain(|(_, start)| *start < offset.0);
            }
            Truncation::FullyAndStartAt { offset } => {
                *log = TestLog {
                    start: offset.0,
                    end: offset.0,
                    epochs: Vec::new(),
                };
            }
        }
    }
}

fn new_protocol() -> FetcherConfig {
    FetcherConfig {
        truncate_on_fetch: true,
        sessions: true,
        topic_ids: true,
        fetch_backoff: BACKOFF,
    }
}

fn old_protocol() -> FetcherConfig {
    FetcherConfig {
        truncate_on_fetch: false,
        topic_ids: false,
        ..new_protocol()
    }
}

fn t0() -> TopicPartition {
    TopicPartition::new("t", 0)
}

fn follow(fetcher: &mut Fetcher, partition: &TopicPartition, epoch: i32, offset: i64, logs: &TestLogs) {
    let initial = InitialFetch {
        topic_id: Some(ID),
        leader_epoch: LeaderEpoch(epoch),
        offset: Offset(offset),
    };
    fetcher.add(partition, initial, logs);
}

/// A fetcher of one partition.
fn fetcher(config: FetcherConfig, epoch: i32, offset: i64, logs: &TestLogs) -> Fetcher {
    let mut fetcher = Fetcher::new(config);
    follow(&mut fetcher, &t0(), epoch, offset, logs);
    fetcher
}

fn sent(next: Next) -> FetchRequest {
    match next {
        Next::Fetch(request) => request,
        other => panic!("{other:?} instead of a fetch"),
    }
}

/// What the request says of partitions: name and fetch offset.
fn asked(request: &FetchRequest) -> Vec<(String, i64)> {
    request
        .partitions
        .iter()
        .map(|(name, _, ask)| (name.to_string(), ask.fetch_offset.0))
        .collect()
}

fn forgotten(request: &FetchRequest) -> Vec<String> {
    request.forgotten.iter().map(|it| it.partition.to_string()).collect()
}

fn records(high_watermark: i64) -> FetchAnswer {
    FetchAnswer {
        error: None,
        high_watermark: Offset(high_watermark),
        diverging: None,
    }
}

fn refusal(error: LeaderError) -> FetchAnswer {
    FetchAnswer {
        error: Some(error),
        ..records(-1)
    }
}

fn end(epoch: i32, offset: i64) -> EpochEnd {
    EpochEnd {
        leader_epoch: LeaderEpoch(epoch),
        end_offset: Offset(offset),
    }
}

fn appended(last_offset: Option<i64>, high_watermark: i64) -> AppendOutcome {
    AppendOutcome::Appended {
        last_offset: last_offset.map(Offset),
        leader_epoch: last_offset.map(|_| LeaderEpoch(1)),
        leader_high_watermark: Offset(high_watermark),
    }
}

/// Sends a fetch and gets an answer for all the partitions in it, in session 9.
fn exchange(fetcher: &mut Fetcher, logs: &TestLogs, now: Millis) -> FetchRequest {
    let request = sent(fetcher.next(now, logs));
    let answer = fetcher.session_answer(None, 9, request.partitions.len(), now);
    assert_eq!(answer, SessionAnswer::Accepted);
    request
}

#[test]
fn a_fetcher_without_partitions_waits() {
    let mut fetcher = Fetcher::new(new_protocol());
    assert_eq!(fetcher.next(NOW, &TestLogs::default()), Next::Wait(None));
}

#[test]
fn where_a_new_follower_begins() {
    let check = |name: &str, on_fetch, epoch: Option<i32>, expected| {
        let log = LogOffsets {
            log_start_offset: Offset(0),
            log_end_offset: Offset(10),
            latest_epoch: epoch.map(LeaderEpoch),
        };
        assert_eq!(initial_offset(on_fetch, &log, Offset(4)), Offset(expected), "{name}");
    };
    //    name                                     on fetch  epoch    begins
    check("the leader compares epochs on fetch", true, Some(3), 10);
    check("nothing to compare by", true, None, 4);
    check("an old protocol asks before", false, Some(3), 4);
}

#[test]
fn a_session_says_only_what_changed() {
    let mut logs = TestLogs::default();
    for partition in 0..3 {
        logs.put("t", partition, 0, 10, &[(1, 0)]);
    }
    let mut fetcher = Fetcher::new(new_protocol());
    for partition in 0..3 {
        follow(&mut fetcher, &TopicPartition::new("t", partition), 1, 10, &logs);
    }
    let request = exchange(&mut fetcher, &logs, NOW);
    assert_eq!((request.session_id, request.session_epoch), (0, 0));
    assert_eq!(asked(&request).len(), 3);
    assert!(request.topic_ids);

    let one = TopicPartition::new("t", 1);
    let step = fetcher.fetched(&one, &records(12), NOW, &logs);
    let expected = Step::Append {
        leader_epoch: LeaderEpoch(1),
        fetch_offset: Offset(10),
    };
    assert_eq!(step, expected);
    fetcher.appended(&one, appended(Some(11), 12), NOW);
    assert_eq!(fetcher.partition(&one).unwrap().lag, Some(0));

    let request = exchange(&mut fetcher, &logs, NOW);
    assert_eq!((request.session_id, request.session_epoch), (9, 1));
    assert_eq!(asked(&request), [("t-1".to_owned(), 12)]);

    fetcher.remove(&TopicPartition::new("t", 2));
    let request = exchange(&mut fetcher, &logs, NOW);
    assert_eq!(request.session_epoch, 2);
    assert_eq!(asked(&request), []);
    assert_eq!(forgotten(&request), ["t-2"]);

    // Nothing has changed: an empty request keeps on waiting for news.
    let request = exchange(&mut fetcher, &logs, NOW);
    assert_eq!((asked(&request), forgotten(&request)), (vec![], vec![]));
}

#[test]
fn a_partition_that_comes_back_is_not_forgotten_by_the_request_that_names_it() {
    let mut logs = TestLogs::one(0, 10, &[(1, 0)]);
    logs.put("t", 1, 0, 10, &[(1, 0)]);
    let mut fetcher = fetcher(new_protocol(), 1, 10, &logs);
    follow(&mut fetcher, &TopicPartition::new("t", 1), 1, 10, &logs);
    exchange(&mut fetcher, &logs, NOW);
    fetcher.remove(&t0());
    follow(&mut fetcher, &t0(), 2, 10, &logs);
    let request = exchange(&mut fetcher, &logs, NOW);
    assert_eq!(asked(&request), [("t-0".to_owned(), 10)]);
    assert_eq!(forgotten(&request), [""; 0]);
}

#[test]
fn a_topic_that_is_created_again_is_forgotten_by_its_old_id() {
    let logs = TestLogs::one(0, 0, &[(1, 0)]);
    let mut fetcher = fetcher(new_protocol(), 1, 0, &logs);
    exchange(&mut fetcher, &logs, NOW);
    fetcher.remove(&t0());
    let initial = InitialFetch {
        topic_id: Some(TopicId([8; 16])),
        leader_epoch: LeaderEpoch(0),
        offset: Offset(0),
    };
    fetcher.add(&t0(), initial, &logs);
    let request = exchange(&mut fetcher, &logs, NOW);
    assert_eq!(request.partitions[0].1, Some(TopicId([8; 16])));
    assert_eq!(request.forgotten[0].topic_id, Some(ID));
    assert_eq!(fetcher.topic_name(ID), None);
    assert_eq!(fetcher.topic_name(TopicId([8; 16])).map(|name| &**name), Some("t"));
}

#[test]
fn whatever_shakes_a_session_is_followed_by_a_full_request() {
    let logs = TestLogs::one(0, 10, &[(1, 0)]);
    let check = |name: &str, error, id, session_id, waits| {
        let mut fetcher = fetcher(new_protocol(), 1, 10, &logs);
        exchange(&mut fetcher, &logs, NOW);
        sent(fetcher.next(NOW, &logs));
        fetcher.session_answer(error, id, 0, NOW);
        let mut next = fetcher.next(NOW, &logs);
        if waits {
            let Next::Wait(Some(until)) = next else {
                panic!("{name}: {next:?}")
            };
            next = fetcher.next(until, &logs);
        }
        let request = sent(next);
        assert_eq!((request.session_id, request.session_epoch), (session_id, 0), "{name}");
        assert_eq!(asked(&request), [("t-0".to_owned(), 10)], "{name}");
    };
    //    name                      error                             id  next session  after a while
    check("evicted", Some(SessionError::IdNotFound), 0, 0, false);
    check("out of step", Some(SessionError::InvalidEpoch), 0, 9, false);
    check("ids and names mixed", Some(SessionError::TopicId), 0, 9, true);
    check("any other error", Some(SessionError::Other(-1)), 0, 9, true);
    check("closed by the leader", None, 0, 0, false);
}

#[test]
fn a_lost_connection_closes_the_session_after_a_pause_that_grows() {
    let logs = TestLogs::one(0, 10, &[(1, 0)]);
    let mut fetcher = fetcher(new_protocol(), 1, 10, &logs);
    exchange(&mut fetcher, &logs, NOW);
    let mut now = NOW;
    for pause in [20, 40, 80, 160, 320, 640, 1_000, 1_000] {
        fetcher.disconnected(now);
        assert_eq!(fetcher.next(now, &logs), Next::Wait(Some(now + Millis(pause))));
        now = now + Millis(pause);
        let request = sent(fetcher.next(now, &logs));
        // The old session is named, so that the leader drops it.
        assert_eq!((request.session_id, request.session_epoch), (9, 0));
    }
    fetcher.disconnected(now);
    fetcher.resume();
    sent(fetcher.next(now, &logs));
}

#[test]
fn a_topic_without_an_id_makes_the_whole_request_go_by_name() {
    let mut logs = TestLogs::one(0, 10, &[(1, 0)]);
    logs.put("u", 0, 0, 5, &[(1, 0)]);
    let mut fetcher = fetcher(new_protocol(), 1, 10, &logs);
    exchange(&mut fetcher, &logs, NOW);
    let u0 = TopicPartition::new("u", 0);
    let initial = |topic_id| InitialFetch {
        topic_id,
        leader_epoch: LeaderEpoch(1),
        offset: Offset(5),
    };
    fetcher.add(&u0, initial(None), &logs);
    let request = exchange(&mut fetcher, &logs, NOW);
    assert!(!request.topic_ids);
    assert_eq!(request.session_epoch, 0, "a session does not mix ids and names");
    fetcher.set_topic_id(&u0, Some(TopicId([8; 16])));
    let request = exchange(&mut fetcher, &logs, NOW);
    assert!(request.topic_ids);
    assert_eq!((request.session_epoch, request.partitions.len()), (0, 2));
}

#[test]
fn without_sessions_every_request_is_full_and_takes_turns() {
    let mut logs = TestLogs::one(0, 0, &[(1, 0)]);
    logs.put("t", 1, 0, 0, &[(1, 0)]);
    let config = FetcherConfig {
        sessions: false,
        topic_ids: false,
        ..new_protocol()
    };
    let mut fetcher = fetcher(config, 1, 0, &logs);
    follow(&mut fetcher, &TopicPartition::new("t", 1), 1, 0, &logs);
    let request = sent(fetcher.next(NOW, &logs));
    assert_eq!((request.session_id, request.session_epoch), (0, -1));
    assert_eq!(fetcher.session_answer(None, 0, 2, NOW), SessionAnswer::Accepted);
    fetcher.fetched(&t0(), &records(3), NOW, &logs);
    fetcher.appended(&t0(), appended(Some(2), 3), NOW);
    let request = sent(fetcher.next(NOW, &logs));
    assert_eq!(asked(&request), [("t-1".to_owned(), 0), ("t-0".to_owned(), 3)]);
}

#[test]
fn what_each_error_of_a_leader_does_to_a_partition() {
    #[derive(Debug, PartialEq)]
    enum Then {
        Delayed,
        GivenUp,
        AsksForOffsets,
    }
    use LeaderError::*;
    let logs = TestLogs::one(0, 10, &[(1, 0)]);
    let check = |error, expected| {
        let mut fetcher = fetcher(new_protocol(), 1, 10, &logs);
        exchange(&mut fetcher, &logs, NOW);
        let step = fetcher.fetched(&t0(), &refusal(error), NOW, &logs);
        let found = match (step, fetcher.next(NOW, &logs)) {
            (Step::Failed, _) => Then::GivenUp,
            (Step::None, Next::AskOffsets(_)) => Then::AsksForOffsets,
            (Step::None, Next::Fetch(request)) if forgotten(&request) == ["t-0"] => Then::Delayed,
            other => panic!("{error:?}: {other:?}"),
        };
        assert_eq!(found, expected, "{error:?}");
    };
    check(OffsetOutOfRange, Then::AsksForOffsets);
    check(FencedLeaderEpoch, Then::GivenUp);
    check(UnknownLeaderEpoch, Then::Delayed);
    check(NotLeaderOrFollower, Then::Delayed);
    check(UnknownTopicOrPartition, Then::Delayed);
    check(UnknownTopicId, Then::Delayed);
    check(InconsistentTopicId, Then::Delayed);
    check(OffsetMovedToTieredStorage, Then::Delayed);
    check(Other(-1), Then::Delayed);
}

#[test]
fn a_refused_partition_is_asked_for_again_soon_and_ever_later() {
    let logs = TestLogs::one(0, 10, &[(1, 0)]);
    let mut fetcher = fetcher(new_protocol(), 1, 10, &logs);
    let mut now = NOW;
    for pause in [20, 40, 80, 160, 320, 640, 1_000] {
        let request = exchange(&mut fetcher, &logs, now);
        assert_eq!(asked(&request), [("t-0".to_owned(), 10)]);
        fetcher.fetched(&t0(), &refusal(LeaderError::UnknownLeaderEpoch), now, &logs);
        exchange(&mut fetcher, &logs, now);
        assert_eq!(fetcher.next(now, &logs), Next::Wait(Some(now + Millis(pause))));
        now = now + Millis(pause);
    }
    exchange(&mut fetcher, &logs, now);
    fetcher.fetched(&t0(), &records(10), now, &logs);
    fetcher.appended(&t0(), appended(None, 10), now);
    fetcher.fetched(&t0(), &refusal(LeaderError::UnknownLeaderEpoch), now, &logs);
    let delayed = fetcher.partition(&t0()).unwrap().delayed_until;
    assert_eq!(delayed, Some(now + Millis(20)), "an answer makes up for all before");
}

#[test]
fn what_becomes_of_an_append_that_fails() {
    let logs = TestLogs::one(0, 10, &[(1, 0)]);
    let check = |outcome, followed: bool| {
        let mut fetcher = fetcher(new_protocol(), 1, 10, &logs);
        exchange(&mut fetcher, &logs, NOW);
        fetcher.fetched(&t0(), &records(12), NOW, &logs);
        let step = fetcher.appended(&t0(), outcome, NOW);
        assert_eq!(step == Step::Failed, !followed, "{outcome:?}");
        let state = fetcher.partition(&t0());
        assert_eq!(
            state.map(|state| state.fetch_offset),
            followed.then_some(Offset(10)),
            "{outcome:?}"
        );
    };
    check(AppendOutcome::Corrupt, true);
    check(AppendOutcome::Superseded, true);
    check(AppendOutcome::Failed, false);
}

#[test]
fn an_answer_to_an_earlier_question_is_dropped() {
    let logs = TestLogs::one(0, 10, &[(1, 0)]);
    let mut followed = fetcher(new_protocol(), 1, 10, &logs);
    exchange(&mut followed, &logs, NOW);
    // The controller bumps the epoch while the fetch is on its way.
    follow(&mut followed, &t0(), 2, 10, &logs);
    assert_eq!(followed.fetched(&t0(), &records(12), NOW, &logs), Step::None);
    assert_eq!(
        followed.fetched(&t0(), &refusal(LeaderError::FencedLeaderEpoch), NOW, &logs),
        Step::None,
        "fenced was the old epoch"
    );
    let request = sent(followed.next(NOW, &logs));
    assert_eq!(request.partitions[0].2.leader_epoch, LeaderEpoch(2));

    let mut removed = fetcher(new_protocol(), 1, 10, &logs);
    exchange(&mut removed, &logs, NOW);
    removed.remove(&t0());
    assert_eq!(removed.fetched(&t0(), &records(12), NOW, &logs), Step::None);
}

#[test]
fn the_same_epoch_again_disturbs_nothing() {
    let logs = TestLogs::one(0, 10, &[(1, 0)]);
    let mut fetcher = fetcher(new_protocol(), 1, 10, &logs);
    exchange(&mut fetcher, &logs, NOW);
    fetcher.fetched(&t0(), &records(12), NOW, &logs);
    fetcher.appended(&t0(), appended(Some(11), 12), NOW);
    follow(&mut fetcher, &t0(), 1, 3, &logs);
    assert_eq!(fetcher.partition(&t0()).unwrap().fetch_offset, Offset(12));
    assert_eq!(fetcher.len(), 1);
}

#[test]
fn where_a_diverging_log_is_cut() {
    //                  epochs of the follower, ends at 30      leader: epoch, end     cut to  done
    let check = |name: &str, epochs: &[(i32, i64)], leader: EpochEnd, expected: i64, completed: bool| {
        let logs = TestLogs::one(0, 30, epochs);
        let mut fetcher = fetcher(new_protocol(), 9, 30, &logs);
        exchange(&mut fetcher, &logs, NOW);
        let answer = FetchAnswer {
            diverging: Some(leader),
            ..records(5)
        };
        let step = fetcher.fetched(&t0(), &answer, NOW, &logs);
        let offset = Offset(expected);
        assert_eq!(step, Step::Truncate(Truncation::To { offset, completed }), "{name}");
    };
    check(
        "same epoch, leader is shorter",
        &[(1, 0), (3, 20)],
        end(3, 25),
        25,
        true,
    );
    check(
        "leader knows an earlier epoch",
        &[(1, 0), (3, 20)],
        end(1, 25),
        20,
        true,
    );
    check("leader is shorter in it", &[(1, 0), (3, 20)], end(1, 15), 15, true);
    check("its epoch is not here", &[(1, 0), (3, 20)], end(2, 25), 20, false);
    check("all epochs here are newer", &[(3, 0)], end(1, 12), 0, true);
    check("nothing is cut past the end", &[(1, 0)], end(1, 99), 30, true);
}

#[test]
fn a_diverging_log_is_cut_and_fetched_on_at_once() {
    let mut logs = TestLogs::one(0, 30, &[(1, 0), (3, 20)]);
    let mut fetcher = fetcher(new_protocol(), 9, 30, &logs);
    exchange(&mut fetcher, &logs, NOW);
    let answer = FetchAnswer {
        diverging: Some(end(2, 25)),
        ..records(5)
    };
    let Step::Truncate(truncation) = fetcher.fetched(&t0(), &answer, NOW, &logs) else {
        panic!("not cut")
    };
    logs.truncate(&t0(), &truncation);
    fetcher.truncated(&t0(), &truncation, true, &logs);
    let request = exchange(&mut fetcher, &logs, NOW);
    let ask = request.partitions[0].2;
    assert_eq!(
        (ask.fetch_offset, ask.last_fetched_epoch),
        (Offset(20), Some(LeaderEpoch(1)))
    );
}

#[test]
fn an_old_protocol_asks_for_epochs_in_rounds_before_it_fetches() {
    // KIP-279: leader's epochs 1 (0..10), 2 (10..15), 5; the follower's 1 (0..10), 3 (10..20), 4 (20..30).
    let mut logs = TestLogs::one(0, 30, &[(1, 0), (3, 10), (4, 20)]);
    let mut fetcher = fetcher(old_protocol(), 5, 8, &logs);
    let mut rounds = Vec::new();
    loop {
        match fetcher.next(NOW, &logs) {
            Next::AskEpochEnds(questions) => {
                let question = &questions[0];
                rounds.push(question.leader_epoch.0);
                let answer = match question.leader_epoch.0 {
                    4 | 3 => end(2, 15),
                    1 => end(1, 10),
                    other => panic!("asked for epoch {other}"),
                };
                let Step::Truncate(truncation) = fetcher.epoch_end(question, Ok(answer), NOW, &logs) else {
                    panic!("not cut")
                };
                logs.truncate(&t0(), &truncation);
                fetcher.truncated(&t0(), &truncation, true, &logs);
            }
            Next::Fetch(request) => {
                assert_eq!(asked(&request), [("t-0".to_owned(), 10)]);
                assert_eq!(request.partitions[0].2.last_fetched_epoch, None);
                break;
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(rounds, [4, 1]);
}

#[test]
fn what_an_old_protocol_makes_of_an_epoch_end() {
    let logs = TestLogs::one(0, 30, &[(1, 0), (3, 20)]);
    let check = |name: &str, answer: Result<EpochEnd, LeaderError>, expected: Option<(i64, bool)>, gone| {
        let mut fetcher = fetcher(old_protocol(), 5, 8, &logs);
        let Next::AskEpochEnds(questions) = fetcher.next(NOW, &logs) else {
            panic!("not asked")
        };
        let step = fetcher.epoch_end(&questions[0], answer, NOW, &logs);
        let cut = match step {
            Step::Truncate(Truncation::To { offset, completed }) => Some((offset.0, completed)),
            _ => None,
        };
        assert_eq!(cut, expected, "{name}");
        assert_eq!(step == Step::Failed, gone, "{name}");
    };
    check(
        "the leader cannot tell: high watermark",
        Ok(end(-1, -1)),
        Some((8, true)),
        false,
    );
    check("version 0 has no epoch", Ok(end(-1, 17)), Some((17, true)), false);
    check("fenced", Err(LeaderError::FencedLeaderEpoch), None, true);
    check("not the leader yet", Err(LeaderError::NotLeaderOrFollower), None, false);
}

#[test]
fn a_log_without_epochs_is_cut_to_its_high_watermark() {
    for config in [old_protocol(), new_protocol()] {
        let mut logs = TestLogs::one(0, 30, &[]);
        let mut fetcher = fetcher(config, 5, 8, &logs);
        let Next::Truncate(name, truncation) = fetcher.next(NOW, &logs) else {
            panic!("not cut")
        };
        assert_eq!(truncation.offset(), Offset(8));
        logs.truncate(&name, &truncation);
        fetcher.truncated(&name, &truncation, true, &logs);
        assert_eq!(asked(&sent(fetcher.next(NOW, &logs))), [("t-0".to_owned(), 8)]);
    }
}

#[test]
fn out_of_range_ends_where_the_leader_is() {
    // The follower's log is [5, 30).
    let check = |name: &str, leader_start, leader_end, expected: Option<Truncation>, fetches_from, lag| {
        let mut logs = TestLogs::one(5, 30, &[(1, 5)]);
        let mut fetcher = fetcher(new_protocol(), 2, 30, &logs);
        exchange(&mut fetcher, &logs, NOW);
        fetcher.fetched(&t0(), &refusal(LeaderError::OffsetOutOfRange), NOW, &logs);
        let mut cut = None;
        while let Next::AskOffsets(questions) = fetcher.next(NOW, &logs) {
            let question = &questions[0];
            let answer = if question.latest { leader_end } else { leader_start };
            if let Step::Truncate(truncation) = fetcher.listed(question, Ok(Offset(answer)), NOW, &logs) {
                cut = Some(truncation);
                logs.truncate(&t0(), &truncation);
                fetcher.truncated(&t0(), &truncation, true, &logs);
            }
        }
        assert_eq!(cut, expected, "{name}");
        let state = fetcher.partition(&t0()).unwrap();
        assert_eq!((state.fetch_offset.0, state.lag), (fetches_from, Some(lag)), "{name}");
    };
    let to = |offset| {
        Some(Truncation::To {
            offset: Offset(offset),
            completed: true,
        })
    };
    let fully = |offset| Some(Truncation::FullyAndStartAt { offset: Offset(offset) });
    //    name                               leader      cut         from  lag
    check("unclean leader is shorter", 0, 20, to(20), 20, 0);
    check("the leader starts past the end", 50, 90, fully(50), 50, 40);
    check("the leader has come past it since", 0, 40, None, 30, 10);
    check("it ends where the leader ends", 0, 30, None, 30, 0);
}

#[test]
fn out_of_range_is_asked_anew_after_a_refusal_and_given_up_when_fenced() {
    let logs = TestLogs::one(5, 30, &[(1, 5)]);
    let check = |error, gone| {
        let mut fetcher = fetcher(new_protocol(), 2, 30, &logs);
        exchange(&mut fetcher, &logs, NOW);
        fetcher.fetched(&t0(), &refusal(LeaderError::OffsetOutOfRange), NOW, &logs);
        let Next::AskOffsets(questions) = fetcher.next(NOW, &logs) else {
            panic!("not asked")
        };
        let step = fetcher.listed(&questions[0], Err(error), NOW, &logs);
        assert_eq!(step == Step::Failed, gone, "{error:?}");
        if !gone {
            let later = NOW + BACKOFF;
            let again = fetcher.next(later, &logs);
            assert!(
                matches!(&again, Next::AskOffsets(questions) if questions[0].latest),
                "{again:?}"
            );
        }
    };
    check(LeaderError::NotLeaderOrFollower, false);
    check(LeaderError::UnknownLeaderEpoch, false);
    check(LeaderError::FencedLeaderEpoch, true);
}

#[test]
fn one_partition_in_trouble_does_not_hold_up_the_others() {
    let mut logs = TestLogs::one(0, 10, &[(1, 0)]);
    logs.put("t", 1, 0, 10, &[(1, 0)]);
    let mut fetcher = fetcher(new_protocol(), 1, 10, &logs);
    follow(&mut fetcher, &TopicPartition::new("t", 1), 1, 10, &logs);
    exchange(&mut fetcher, &logs, NOW);
    fetcher.fetched(&t0(), &refusal(LeaderError::Other(-1)), NOW, &logs);
    let request = exchange(&mut fetcher, &logs, NOW);
    assert_eq!(forgotten(&request), ["t-0"]);
    let request = exchange(&mut fetcher, &logs, NOW + BACKOFF);
    assert_eq!(asked(&request), [("t-0".to_owned(), 10)], "back in the session");
}

#[test]
fn a_log_whose_directory_failed_is_left_alone() {
    let mut logs = TestLogs::one(0, 10, &[(1, 0)]);
    let mut fetcher = fetcher(new_protocol(), 1, 10, &logs);
    logs.0.clear();
    assert_eq!(fetcher.next(NOW, &logs), Next::Wait(Some(NOW + Millis(20))));
}

#[test]
fn the_leader_hears_of_a_log_start_that_moved_here() {
    let mut logs = TestLogs::one(0, 10, &[(1, 0)]);
    let mut fetcher = fetcher(new_protocol(), 1, 10, &logs);
    exchange(&mut fetcher, &logs, NOW);
    logs.put("t", 0, 4, 10, &[(1, 4)]);
    fetcher.log_starts_may_have_moved(&logs);
    let request = exchange(&mut fetcher, &logs, NOW);
    assert_eq!(request.partitions[0].2.log_start_offset, Offset(4));
}

#[test]
fn a_throttle_holds_only_those_that_lag() {
    let mut logs = TestLogs::one(0, 10, &[(1, 0)]);
    let mut fetcher = fetcher(new_protocol(), 1, 10, &logs);
    exchange(&mut fetcher, &logs, NOW);
    let mut take = |logs: &TestLogs, last: i64, high_watermark: i64| {
        fetcher.fetched(&t0(), &records(high_watermark), NOW, logs);
        fetcher.appended(&t0(), appended(Some(last), high_watermark), NOW);
        exchange(&mut fetcher, logs, NOW)
    };
    logs.1 = true;
    assert_eq!(asked(&take(&logs, 19, 20)), [("t-0".to_owned(), 20)], "it has all");
    assert_eq!(forgotten(&take(&logs, 29, 50)), ["t-0"], "it lags");
    assert_eq!(fetcher.next(NOW, &logs), Next::Wait(Some(NOW + THROTTLE_PAUSE)));
    logs.1 = false;
    assert_eq!(
        asked(&exchange(&mut fetcher, &logs, NOW + THROTTLE_PAUSE)),
        [("t-0".to_owned(), 30)]
    );
}
