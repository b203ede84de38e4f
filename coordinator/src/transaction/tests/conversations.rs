//! What follows from what: records before changes, fences, markers, time, a change of coordinator.

use model::{Millis, ProducerId};

use super::super::TransactionError::*;
use super::super::TransactionResult::*;
use super::super::TransactionState::*;
use super::super::*;
use super::bench::{Bench, COORDINATOR, FIRST_ID, WALL, at, partitions, producer, stored, written};

#[test]
fn a_transaction_commits_record_by_record() {
    let mut bench = Bench::new();
    let init = bench.init("x", None);
    assert_eq!(bench.answer(init), None, "answered before its record is stored");
    let record = bench.store();
    assert_eq!(record.timestamp, Millis(WALL));
    assert_eq!(record.timeout, Some(Millis(60_000)));
    let first = producer(FIRST_ID, 0);
    assert_eq!(written(&record), stored(Empty, first, ""));
    assert_eq!(bench.answer(init), Some(Ok(Some(first))));

    bench.now = 10;
    let add = bench.add("x", first, "a-0 b-1");
    assert_eq!(bench.answer(add), None);
    assert_eq!(bench.state("x"), Empty, "changed before its record is stored");
    let record = written(&bench.store());
    assert_eq!(
        (record.state, record.start, record.last_update),
        (Ongoing, Millis(WALL + 10), Millis(WALL + 10))
    );
    assert_eq!(record.partitions, partitions("a-0 b-1"));
    assert_eq!(bench.answer(add), Some(Ok(None)));

    bench.now = 20;
    let more = bench.add("x", first, "a-1");
    let record = written(&bench.store());
    assert_eq!(
        (record.start, record.last_update),
        (Millis(WALL + 10), Millis(WALL + 20))
    );
    assert_eq!(record.partitions, partitions("a-0 a-1 b-1"));
    assert_eq!(bench.answer(more), Some(Ok(None)));

    let end = bench.end("x", first, Commit);
    assert_eq!(bench.answer(end), None);
    assert_eq!(bench.sent, [], "a marker before Prepare is replicated");
    assert_eq!(written(&bench.store()).state, PrepareCommit);
    assert_eq!(
        bench.answer(end),
        Some(Ok(None)),
        "answered with the decision, not after the markers"
    );
    let markers = bench.sent.pop().unwrap();
    assert_eq!(
        markers.partitions,
        partitions("a-0 a-1 b-1").into_iter().collect::<Vec<_>>()
    );
    assert_eq!(
        (markers.producer, markers.result, markers.coordinator_epoch),
        (first, Commit, COORDINATOR)
    );

    bench.markers_answered(markers.id, "a-0 b-1", MarkerOutcome::Written);
    assert_eq!(bench.core.describe("x").unwrap().partitions, partitions("a-1"));
    assert!(bench.held.is_empty(), "complete before every marker is written");
    bench.markers_answered(markers.id, "a-1", MarkerOutcome::Written);
    assert_eq!(bench.state("x"), PrepareCommit);
    let record = written(&bench.store());
    assert_eq!((record.state, record.start), (CompleteCommit, Millis(WALL + 10)));
    assert!(record.partitions.is_empty());
    assert_eq!(bench.state("x"), CompleteCommit);
    assert_eq!(bench.core.owed_count(), 0);

    bench.now = 30;
    bench.add("x", first, "c-0");
    let record = written(&bench.store());
    assert_eq!(
        (record.state, record.start),
        (Ongoing, Millis(WALL + 30)),
        "the next one"
    );
    assert_eq!(record.partitions, partitions("c-0"));
}

/// What each request is told while the record of another is under way.
#[test]
fn while_a_record_is_under_way_every_change_is_refused() {
    let check = |name: &str, mut bench: Bench, now: Producer| {
        assert_eq!(bench.held.len(), 1, "{name}");
        let asked = [
            bench.init("x", None),
            bench.init("x", Some(now)),
            bench.add("x", now, "z-9"),
            bench.end("x", now, Commit),
            bench.end("x", now, Abort),
        ];
        for ticket in asked {
            assert_eq!(bench.answer(ticket), Some(Err(ConcurrentTransactions)), "{name}");
        }
        assert_eq!(bench.held.len(), 1, "{name}");
    };
    let mut bench = Bench::new();
    let first = bench.producer_of("x");
    bench.init("x", None);
    check("initializing", bench, first);

    let mut bench = Bench::new();
    let first = bench.producer_of("x");
    bench.add("x", first, "a-0");
    check("adding", bench, first);

    let mut bench = Bench::new();
    let first = bench.open("x", "a-0");
    bench.end("x", first, Commit);
    check("committing", bench, first);

    let mut bench = Bench::new();
    let first = bench.open("x", "a-0");
    bench.end("x", first, Abort);
    bench.store();
    let markers = bench.sent.pop().unwrap();
    bench.markers_answered(markers.id, "a-0", MarkerOutcome::Written);
    check("completing", bench, first);

    let mut bench = Bench::loaded(&stored(CompleteCommit, producer(7, 3), ""));
    bench.advance(7 * 24 * 3_600_000 + 3_600_000);
    check("expiring", bench, producer(7, 3));
}

#[test]
fn a_record_that_is_not_stored_changes_nothing() {
    let failures = [
        (AppendFailure::NotAvailable, CoordinatorNotAvailable),
        (AppendFailure::TimedOut, CoordinatorNotAvailable),
        (AppendFailure::NotLeader, NotCoordinator),
        (AppendFailure::TooLarge, UnknownServerError),
        (AppendFailure::Other, UnknownServerError),
    ];
    for (failure, error) in failures {
        let mut bench = Bench::new();
        let init = bench.init("x", None);
        bench.fail(failure);
        assert_eq!(bench.answer(init), Some(Err(error)));
        let first = bench.producer_of("x");
        assert_eq!(
            first,
            producer(FIRST_ID, 0),
            "the producer id of the failed attempt is used, its epoch is not"
        );

        let add = bench.add("x", first, "a-0");
        bench.fail(failure);
        assert_eq!(bench.answer(add), Some(Err(error)));
        assert_eq!(bench.state("x"), Empty);

        bench.add("x", first, "a-0");
        bench.store();
        let end = bench.end("x", first, Commit);
        bench.fail(failure);
        assert_eq!(bench.answer(end), Some(Err(error)));
        assert_eq!(bench.state("x"), Ongoing);
        assert_eq!(bench.sent, []);

        // The producer may still decide otherwise: nothing was sent.
        let end = bench.end("x", first, Abort);
        bench.store();
        assert_eq!(bench.answer(end), Some(Ok(None)));
        assert_eq!(bench.sent.len(), 1);
    }
}

#[test]
fn a_new_producer_fences_the_old_one_and_aborts_its_transaction() {
    let mut bench = Bench::new();
    let old = bench.open("x", "a-0");
    let init = bench.init("x", None);
    assert_eq!(bench.answer(init), None);
    // Shut out at once, though the record is not stored.
    let late = bench.end("x", old, Commit);
    assert_eq!(bench.answer(late), Some(Err(ProducerFenced)));
    let record = written(&bench.store());
    assert_eq!((record.state, record.producer), (PrepareAbort, producer(FIRST_ID, 1)));
    assert_eq!(bench.answer(init), Some(Err(ConcurrentTransactions)), "come again");
    let markers = bench.sent.pop().unwrap();
    assert_eq!((markers.producer, markers.result), (producer(FIRST_ID, 1), Abort));

    let again = bench.init("x", None);
    assert_eq!(bench.answer(again), Some(Err(ConcurrentTransactions)), "not yet over");
    bench.markers_answered(markers.id, "a-0", MarkerOutcome::Written);
    bench.store();
    let new = bench.producer_of("x");
    assert_eq!(new, producer(FIRST_ID, 2), "the epoch of the fence is nobody's");
    for (name, ticket) in [
        ("add", bench.add("x", old, "a-0")),
        ("commit", bench.end("x", old, Commit)),
        ("abort", bench.end("x", old, Abort)),
        ("go on", bench.init("x", Some(old))),
    ] {
        assert_eq!(bench.answer(ticket), Some(Err(ProducerFenced)), "{name}");
    }
}

#[test]
fn a_fence_that_is_not_stored_is_not_bumped_again() {
    let mut bench = Bench::new();
    let old = bench.open("x", "a-0");
    for _ in 0..3 {
        let init = bench.init("x", None);
        assert_eq!(
            written(&bench.fail(AppendFailure::TimedOut)).producer,
            producer(FIRST_ID, 1)
        );
        assert_eq!(bench.answer(init), Some(Err(CoordinatorNotAvailable)));
        assert_eq!(bench.state("x"), Ongoing);
        let late = bench.end("x", old, Commit);
        assert_eq!(bench.answer(late), Some(Err(ProducerFenced)), "the old one stays out");
    }
    bench.init("x", None);
    assert_eq!(written(&bench.store()).producer, producer(FIRST_ID, 1));
    let markers = bench.sent.pop().unwrap();
    bench.markers_answered(markers.id, "a-0", MarkerOutcome::Written);
    bench.store();
    assert_eq!(bench.producer_of("x"), producer(FIRST_ID, 2));
    // Over and done: the next fence bumps.
    bench.add("x", producer(FIRST_ID, 2), "a-0");
    bench.store();
    bench.init("x", None);
    assert_eq!(written(&bench.store()).producer, producer(FIRST_ID, 3));
}

/// KIP-360: a producer that goes on after an error asks again when it hears no answer.
#[test]
fn a_retried_bump_is_answered_with_the_same_epoch() {
    let mut bench = Bench::new();
    let zero = bench.producer_of("x");
    let one = bench.init("x", Some(zero));
    bench.store();
    assert_eq!(bench.answer(one), Some(Ok(Some(producer(FIRST_ID, 1)))));
    let again = bench.init("x", Some(zero));
    bench.store();
    assert_eq!(bench.answer(again), Some(Ok(Some(producer(FIRST_ID, 1)))));
    // Somebody else has come.
    assert_eq!(bench.producer_of("x"), producer(FIRST_ID, 2));
    for epoch in [0, 1] {
        let late = bench.init("x", Some(producer(FIRST_ID, epoch)));
        assert_eq!(bench.answer(late), Some(Err(ProducerFenced)), "{epoch}");
    }
}

#[test]
fn a_retried_change_of_the_producer_id_is_answered_with_the_same_id() {
    let last = producer(7, i16::MAX - 1);
    let mut bench = Bench::loaded(&stored(CompleteCommit, last, ""));
    let ticket = bench.init("x", Some(last));
    bench.store();
    assert_eq!(bench.answer(ticket), Some(Ok(Some(producer(FIRST_ID, 0)))));
    let again = bench.init("x", Some(last));
    bench.store();
    assert_eq!(bench.answer(again), Some(Ok(Some(producer(FIRST_ID, 0)))));
    assert_eq!(bench.next_id, FIRST_ID + 1, "no other id was used up");
}

#[test]
fn without_a_producer_id_at_hand_a_new_id_is_told_to_come_again() {
    let mut bench = Bench::new();
    let request = InitRequest {
        transactional_id: "x".into(),
        timeout_ms: 1,
        expected: None,
    };
    let none = || Err(CoordinatorLoadInProgress);
    bench.core.init_producer_id(Ticket(9), &request, none, at(0));
    let refused = Effect::Initialized(Ticket(9), Err(CoordinatorLoadInProgress));
    assert_eq!(bench.core.take_effects(), [refused]);
    assert!(bench.core.is_empty());

    let mut bench = Bench::loaded(&stored(Empty, producer(7, i16::MAX), ""));
    bench.core.init_producer_id(Ticket(9), &request, none, at(0));
    let refused = Effect::Initialized(Ticket(9), Err(CoordinatorLoadInProgress));
    assert_eq!(bench.core.take_effects(), [refused]);
    let ids = || Ok(ProducerId(8));
    bench.core.init_producer_id(Ticket(10), &request, ids, at(0));
    assert!(
        matches!(bench.core.take_effects()[..], [Effect::Append(..)]),
        "nothing is pending from before"
    );
}

#[test]
fn a_transaction_that_takes_too_long_is_aborted() {
    let mut bench = Bench::new();
    bench.advance(5_000);
    let old = bench.open("x", "a-0");
    let idle = bench.producer_of("idle");
    bench.advance(65_000);
    assert!(bench.held.is_empty(), "aborted before its time");
    bench.advance(70_000);
    let late = bench.end("x", old, Commit);
    assert_eq!(bench.answer(late), Some(Err(ProducerFenced)));
    let record = written(&bench.store());
    assert_eq!((record.state, record.producer.epoch.0), (PrepareAbort, 1));
    assert!(matches!(bench.notes.last(), Some(Note::TimedOut { .. })));
    let markers = bench.sent.pop().unwrap();
    assert_eq!((markers.result, markers.producer.epoch.0), (Abort, 1));
    bench.markers_answered(markers.id, "a-0", MarkerOutcome::Written);
    bench.store();
    // Only transactions time out.
    bench.advance(1_000_000);
    assert!(bench.held.is_empty());
    let add = bench.add("idle", idle, "a-0");
    bench.store();
    assert_eq!(bench.answer(add), Some(Ok(None)));
}

#[test]
fn an_abort_for_time_that_is_not_stored_is_tried_again() {
    let mut bench = Bench::new();
    bench.open("x", "a-0");
    bench.advance(70_000);
    bench.fail(AppendFailure::NotAvailable);
    assert_eq!(bench.state("x"), Ongoing);
    bench.advance(80_000);
    let record = written(&bench.store());
    assert_eq!((record.state, record.producer.epoch.0), (PrepareAbort, 1));
}

/// The timeout goes on over a change of coordinator, and is not shortened by a step of the wall clock.
#[test]
fn the_timeout_counts_from_the_beginning_of_the_transaction() {
    let mut transaction = stored(Ongoing, producer(7, 3), "a-0");
    transaction.start = Millis(WALL - 55_000);
    let mut bench = Bench::loaded(&transaction);
    bench.advance(9_999);
    assert!(bench.held.is_empty());
    bench.advance(10_000);
    assert_eq!(written(&bench.store()).state, PrepareAbort);

    let mut bench = Bench::new();
    bench.open("x", "a-0");
    let a_year_on = Now {
        wall: Millis(WALL + 365 * 24 * 3_600_000),
        steady: Millis(10_000),
    };
    bench.core.tick(a_year_on);
    assert_eq!(bench.core.take_effects(), []);
}

#[test]
fn an_id_that_nobody_uses_expires() {
    let week = 7 * 24 * 3_600_000;
    for (state, expires) in [
        (Empty, true),
        (CompleteCommit, true),
        (CompleteAbort, true),
        (PrepareCommit, false),
        (PrepareAbort, false),
    ] {
        let names = if expires { "" } else { "a-0" };
        let mut bench = Bench::loaded(&stored(state, producer(7, 3), names));
        bench.advance(week - 1);
        assert!(bench.held.is_empty(), "{state}: expired before its time");
        bench.advance(week + 3_600_000);
        if !expires {
            assert!(bench.held.is_empty(), "{state}: expired");
            continue;
        }
        let (_, append) = bench.held[0].clone();
        let tombstone = Record {
            key: Key::encode("x").unwrap(),
            value: None,
        };
        assert_eq!(append.records, [tombstone]);
        assert_eq!(append.timeout, None);
        // Not stored: it stays, and may be used.
        bench.fail(AppendFailure::NotAvailable);
        assert_eq!(bench.state("x"), state);
        bench.advance(bench.now + 3_600_000);
        bench.store();
        assert_eq!(bench.core.describe("x"), Err(TransactionalIdNotFound));
        let refused = bench.add("x", producer(7, 3), "a-0");
        assert_eq!(bench.answer(refused), Some(Err(InvalidProducerIdMapping)));
    }
}

#[test]
fn tombstones_are_batched_within_the_size_of_a_message() {
    let mut loader = Loader::new();
    for number in 0..100 {
        let key = Key::encode(&format!("transactional-id-{number:03}")).unwrap();
        let value = stored(Empty, producer(number, 0), "").encode(false).unwrap();
        loader.replay(&key, Some(&value)).unwrap();
    }
    let config = TransactionConfig {
        max_batch_bytes: 1_000,
        ..TransactionConfig::default()
    };
    let mut core = loader.finish(config, COORDINATOR, at(0));
    core.tick(at(8 * 24 * 3_600_000));
    let mut all = 0;
    for effect in core.take_effects() {
        let Effect::Append(id, append) = effect else {
            panic!("{effect:?}")
        };
        let bytes: usize = append.records.iter().map(|record| record.key.len() + 28).sum();
        assert!(61 + bytes <= 1_000);
        all += append.records.len();
        core.appended(id, Ok(()), at(8 * 24 * 3_600_000));
    }
    assert_eq!(all, 100);
    assert!(core.is_empty());
}

/// What each outcome of a marker leads to.
#[test]
fn markers() {
    use MarkerOutcome::*;
    #[derive(Debug, PartialEq)]
    enum Then {
        Completes,
        /// Sent again after so many milliseconds.
        SendsAgain(i64),
        Stays,
    }
    use Then::*;
    let check = |outcome, expected| {
        let mut bench = Bench::loaded(&stored(PrepareCommit, producer(7, 3), "a-0 b-0"));
        let markers = bench.sent.pop().unwrap();
        bench.markers_answered(markers.id, "b-0", Written);
        bench.markers_answered(markers.id, "a-0", outcome);
        let before = bench.now;
        let actual = if let Some((_, append)) = bench.held.back() {
            assert_eq!(written(append).state, CompleteCommit);
            Completes
        } else {
            bench.advance(9_000);
            match bench.sent.pop() {
                Some(again) => {
                    assert_eq!(
                        again,
                        Markers {
                            partitions: partitions("a-0").into_iter().collect(),
                            ..markers
                        }
                    );
                    assert!(bench.sent.is_empty());
                    let mut twin = Bench::loaded(&stored(PrepareCommit, producer(7, 3), "a-0 b-0"));
                    twin.markers_answered(again.id, "a-0", outcome);
                    SendsAgain(twin.core.next_deadline().0 - before)
                }
                None => Stays,
            }
        };
        assert_eq!(actual, expected, "{outcome:?}");
        assert_eq!(bench.state("x"), PrepareCommit);
    };
    check(Written, Completes);
    check(Deleted, Completes);
    check(Unsupported, Completes);
    check(Retry, SendsAgain(10));
    check(Unexpected, SendsAgain(1_280));
    check(Fenced, Stays);
}

#[test]
fn a_refused_marker_is_sent_again_less_and_less_often_for_ever() {
    let mut bench = Bench::loaded(&stored(PrepareAbort, producer(7, 3), "a-0 b-0"));
    let id = bench.sent.pop().unwrap().id;
    let mut waits = Vec::new();
    for _ in 0..9 {
        bench.markers_answered(id, "a-0", MarkerOutcome::Retry);
        let before = bench.now;
        bench.advance(bench.core.next_deadline().0);
        waits.push(bench.now - before);
        let again = bench.sent.pop().unwrap();
        assert_eq!(again.partitions, partitions("a-0").into_iter().collect::<Vec<_>>());
    }
    assert_eq!(waits, [10, 20, 40, 80, 160, 320, 640, 1_280, 1_280]);
    bench.markers_answered(id, "a-0 b-0", MarkerOutcome::Written);
    assert_eq!(written(&bench.store()).state, CompleteAbort);
}

#[test]
fn markers_that_are_refused_together_are_sent_again_together() {
    let mut bench = Bench::loaded(&stored(PrepareAbort, producer(7, 3), "a-0 b-0 c-0"));
    let id = bench.sent.pop().unwrap().id;
    bench.markers_answered(id, "a-0", MarkerOutcome::Retry);
    bench.markers_answered(id, "c-0", MarkerOutcome::Retry);
    // Its answer was late, not lost.
    bench.markers_answered(id, "a-0", MarkerOutcome::Written);
    bench.markers_answered(id, "b-0", MarkerOutcome::Retry);
    bench.advance(10);
    let again = bench.sent.pop().unwrap();
    assert_eq!(again.partitions, partitions("b-0 c-0").into_iter().collect::<Vec<_>>());
    assert!(bench.sent.is_empty());
}

#[test]
fn outcomes_of_an_earlier_transaction_are_not_mistaken_for_those_of_the_next() {
    let mut bench = Bench::new();
    let first = bench.open("x", "a-0");
    bench.end("x", first, Commit);
    bench.store();
    let old = bench.sent.pop().unwrap().id;
    bench.markers_answered(old, "a-0", MarkerOutcome::Written);
    bench.store();
    bench.add("x", first, "a-0");
    bench.store();
    bench.end("x", first, Commit);
    bench.store();
    bench.markers_answered(old, "a-0", MarkerOutcome::Written);
    assert!(bench.held.is_empty(), "complete without a marker");
    assert_eq!(bench.core.describe("x").unwrap().partitions, partitions("a-0"));
}

#[test]
fn the_last_record_is_appended_until_it_is_stored() {
    let mut bench = Bench::loaded(&stored(PrepareCommit, producer(7, 3), "a-0"));
    let id = bench.sent.pop().unwrap().id;
    bench.markers_answered(id, "a-0", MarkerOutcome::Written);
    for failure in [
        AppendFailure::NotAvailable,
        AppendFailure::TimedOut,
        AppendFailure::Other,
    ] {
        bench.fail(failure);
        assert_eq!(bench.state("x"), PrepareCommit);
        assert!(bench.held.is_empty());
        bench.advance(bench.core.next_deadline().0);
        assert_eq!(bench.held.len(), 1);
    }
    assert_eq!(bench.sent, [], "no marker is written twice for it");
    bench.store();
    assert_eq!(bench.state("x"), CompleteCommit);
    bench.advance(9_000);
    assert!(bench.held.is_empty());
}

#[test]
fn the_next_coordinator_sends_the_markers_of_what_was_prepared() {
    for (state, result) in [(PrepareCommit, Commit), (PrepareAbort, Abort)] {
        let bench = Bench::loaded(&stored(state, producer(7, 3), "a-0 b-0"));
        let markers = &bench.sent[0];
        assert_eq!((markers.producer, markers.result), (producer(7, 3), result));
        assert_eq!(
            markers.partitions,
            partitions("a-0 b-0").into_iter().collect::<Vec<_>>()
        );
        assert_eq!(markers.coordinator_epoch, COORDINATOR);
    }
    // Every marker had been written, but the record of it was lost.
    let mut bench = Bench::loaded(&stored(PrepareCommit, producer(7, 3), ""));
    assert_eq!(bench.sent, []);
    assert_eq!(written(&bench.store()).state, CompleteCommit);
    for state in [Empty, Ongoing, CompleteCommit, CompleteAbort] {
        assert_eq!(Bench::loaded(&stored(state, producer(7, 3), "")).sent, []);
    }
}

#[test]
fn a_coordinator_that_resigns_sends_everybody_away() {
    let mut bench = Bench::new();
    let ids: Vec<_> = ["a", "b", "c", "d"]
        .into_iter()
        .map(|id| (id, bench.open(id, "t-0")))
        .collect();
    let init = bench.init("e", None);
    let add = bench.add(ids[0].0, ids[0].1, "t-1");
    let end = bench.end(ids[1].0, ids[1].1, Commit);
    let fence = bench.init(ids[2].0, None);
    let mut effects = bench.core.resign();
    effects.sort_by_key(|effect| match effect {
        Effect::Initialized(ticket, _) | Effect::Added(ticket, _) | Effect::Ended(ticket, _) => *ticket,
        other => panic!("{other:?}"),
    });
    assert_eq!(
        effects,
        [
            Effect::Initialized(init, Err(NotCoordinator)),
            Effect::Added(add, Err(NotCoordinator)),
            Effect::Ended(end, Err(NotCoordinator)),
            Effect::Initialized(fence, Err(NotCoordinator)),
        ]
    );
}
