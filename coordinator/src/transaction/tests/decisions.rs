//! What is answered in which state: one table for each request.

use std::collections::BTreeSet;

use model::Millis;

use super::super::TransactionError::*;
use super::super::TransactionResult::*;
use super::super::TransactionState::*;
use super::super::*;
use super::bench::{Bench, COORDINATOR, FIRST_ID, at, partitions, producer, stored, written};

/// What a request leads to: an append, or an answer at once.
#[derive(Debug, PartialEq)]
enum Then {
    Stores(TransactionState),
    Answers(Result<(), TransactionError>),
}
use Then::{Answers, Stores};

fn outcome(bench: &Bench, ticket: Ticket) -> Then {
    match bench.answer(ticket) {
        Some(answer) => Answers(answer.map(|_| ())),
        None => Stores(written(&bench.held.back().expect("neither answered nor appended").1).state),
    }
}

/// An id loaded in `state`, its producer 7 at epoch 3; partitions wherever there may be some.
fn in_state(state: TransactionState) -> Bench {
    let has_partitions = matches!(state, Ongoing | PrepareCommit | PrepareAbort);
    Bench::loaded(&stored(
        state,
        producer(7, 3),
        if has_partitions { "a-0 a-1" } else { "" },
    ))
}

#[test]
fn end_txn() {
    let check = |name: &str, state, result, (id, epoch), expected| {
        let mut bench = in_state(state);
        let ticket = bench.end("x", producer(id, epoch), result);
        assert_eq!(outcome(&bench, ticket), expected, "{name}");
    };
    //     name                       state           request  producer  then
    check("commit", Ongoing, Commit, (7, 3), Stores(PrepareCommit));
    check("abort", Ongoing, Abort, (7, 3), Stores(PrepareAbort));
    check(
        "nothing to commit",
        Empty,
        Commit,
        (7, 3),
        Answers(Err(InvalidTxnState)),
    );
    check("nothing to abort", Empty, Abort, (7, 3), Answers(Err(InvalidTxnState)));
    check("commit again", CompleteCommit, Commit, (7, 3), Answers(Ok(())));
    check("abort again", CompleteAbort, Abort, (7, 3), Answers(Ok(())));
    check(
        "abort what is committed",
        CompleteCommit,
        Abort,
        (7, 3),
        Answers(Err(InvalidTxnState)),
    );
    check(
        "commit what is aborted",
        CompleteAbort,
        Commit,
        (7, 3),
        Answers(Err(InvalidTxnState)),
    );
    check(
        "commit while committing",
        PrepareCommit,
        Commit,
        (7, 3),
        Answers(Err(ConcurrentTransactions)),
    );
    check(
        "abort while committing",
        PrepareCommit,
        Abort,
        (7, 3),
        Answers(Err(ConcurrentTransactions)),
    );
    check(
        "commit while aborting",
        PrepareAbort,
        Commit,
        (7, 3),
        Answers(Err(ConcurrentTransactions)),
    );
    check(
        "abort while aborting",
        PrepareAbort,
        Abort,
        (7, 3),
        Answers(Err(ConcurrentTransactions)),
    );
    for state in [
        Empty,
        Ongoing,
        PrepareCommit,
        PrepareAbort,
        CompleteCommit,
        CompleteAbort,
    ] {
        check("an old epoch", state, Commit, (7, 2), Answers(Err(ProducerFenced)));
        check("an epoch to come", state, Commit, (7, 4), Answers(Err(ProducerFenced)));
        check(
            "another producer",
            state,
            Commit,
            (8, 3),
            Answers(Err(InvalidProducerIdMapping)),
        );
    }
}

#[test]
fn add_partitions() {
    let check = |name: &str, state, names: &str, (id, epoch), expected| {
        let mut bench = in_state(state);
        let ticket = bench.add("x", producer(id, epoch), names);
        assert_eq!(outcome(&bench, ticket), expected, "{name}");
    };
    //     name              state            partitions  producer  then
    check("first", Empty, "a-0", (7, 3), Stores(Ongoing));
    check("after a commit", CompleteCommit, "a-0", (7, 3), Stores(Ongoing));
    check("after an abort", CompleteAbort, "a-0", (7, 3), Stores(Ongoing));
    check("one more", Ongoing, "b-0", (7, 3), Stores(Ongoing));
    check("one more of two", Ongoing, "a-0 b-0", (7, 3), Stores(Ongoing));
    check("nothing new", Ongoing, "a-0", (7, 3), Answers(Ok(())));
    check("nothing new at all", Ongoing, "a-0 a-1", (7, 3), Answers(Ok(())));
    check(
        "while committing",
        PrepareCommit,
        "a-0",
        (7, 3),
        Answers(Err(ConcurrentTransactions)),
    );
    check(
        "while aborting",
        PrepareAbort,
        "a-0",
        (7, 3),
        Answers(Err(ConcurrentTransactions)),
    );
    for state in [
        Empty,
        Ongoing,
        PrepareCommit,
        PrepareAbort,
        CompleteCommit,
        CompleteAbort,
    ] {
        check("an old epoch", state, "a-0", (7, 2), Answers(Err(ProducerFenced)));
        check("an epoch to come", state, "a-0", (7, 4), Answers(Err(ProducerFenced)));
        check(
            "another producer",
            state,
            "a-0",
            (8, 3),
            Answers(Err(InvalidProducerIdMapping)),
        );
    }
}

#[test]
fn verify_partitions() {
    let check = |name: &str, state, names: &str, (id, epoch), expected: Result<&[bool], TransactionError>| {
        let request = AddPartitionsRequest {
            transactional_id: "x".into(),
            producer: producer(id, epoch),
            partitions: partitions(names),
        };
        let answer = in_state(state).core.verify_partitions(&request);
        let answer = answer.map(|all| {
            all.into_iter()
                .map(|(_, each)| {
                    assert!(matches!(each, Ok(()) | Err(TransactionAbortable)), "{name}");
                    each.is_ok()
                })
                .collect::<Vec<_>>()
        });
        assert_eq!(answer, expected.map(<[bool]>::to_vec), "{name}");
    };
    check("both", Ongoing, "a-0 a-1", (7, 3), Ok(&[true, true]));
    check("one of them", Ongoing, "a-1 b-0", (7, 3), Ok(&[true, false]));
    check("nothing is open", Empty, "a-0", (7, 3), Ok(&[false]));
    check("no longer open", CompleteCommit, "a-0", (7, 3), Ok(&[false]));
    check("committing", PrepareCommit, "a-0", (7, 3), Err(ConcurrentTransactions));
    check("aborting", PrepareAbort, "a-0", (7, 3), Err(ConcurrentTransactions));
    check("an old epoch", Ongoing, "a-0", (7, 2), Err(ProducerFenced));
    check("an epoch to come", Ongoing, "a-0", (7, 4), Err(ProducerFenced));
    check(
        "another producer",
        Ongoing,
        "a-0",
        (8, 3),
        Err(InvalidProducerIdMapping),
    );
}

#[test]
fn a_request_about_no_known_id_is_refused() {
    let mut bench = Bench::new();
    let check = |bench: &Bench, ticket, error| assert_eq!(outcome(bench, ticket), Answers(Err(error)));
    for (id, error) in [("", InvalidRequest), ("unknown", InvalidProducerIdMapping)] {
        let ticket = bench.add(id, producer(7, 3), "a-0");
        check(&bench, ticket, error);
        let ticket = bench.end(id, producer(7, 3), Abort);
        check(&bench, ticket, error);
        let request = AddPartitionsRequest {
            transactional_id: id.into(),
            producer: producer(7, 3),
            partitions: partitions("a-0"),
        };
        assert_eq!(bench.core.verify_partitions(&request), Err(error));
    }
    let ticket = bench.init("", None);
    check(&bench, ticket, InvalidRequest);
    assert_eq!(bench.core.describe(""), Err(InvalidRequest));
    assert_eq!(bench.core.describe("unknown"), Err(TransactionalIdNotFound));
    // An id that cannot be written leaves nothing behind, not even a producer id.
    let ticket = bench.init(&"x".repeat(40_000), None);
    check(&bench, ticket, UnknownServerError);
    assert!(bench.core.is_empty());
    assert_eq!(bench.next_id, FIRST_ID);
}

#[test]
fn the_transaction_timeout_must_be_positive_and_no_longer_than_allowed() {
    let check = |timeout_ms, expected| {
        let mut bench = Bench::new();
        let ticket = bench.init_as(&InitRequest {
            transactional_id: "x".into(),
            timeout_ms,
            expected: None,
        });
        assert_eq!(outcome(&bench, ticket), expected, "{timeout_ms}");
        assert_eq!(bench.core.is_empty(), expected != Stores(Empty));
    };
    check(i32::MIN, Answers(Err(InvalidTransactionTimeout)));
    check(0, Answers(Err(InvalidTransactionTimeout)));
    check(1, Stores(Empty));
    check(900_000, Stores(Empty));
    check(900_001, Answers(Err(InvalidTransactionTimeout)));
}

/// What InitProducerId of an id in `state` gives to a producer that has nothing, or says that it has `expected`.
#[test]
fn init_producer_id() {
    #[derive(Debug, PartialEq)]
    enum Given {
        Gets(i64, i16),
        /// The old producer's transaction is aborted at this epoch; come again.
        Fences(i16),
        Refused(TransactionError),
    }
    use Given::*;
    const LAST: i16 = i16::MAX - 1;
    let check = |name: &str, state, has: (i64, i16), expected: Option<(i64, i16)>, given| {
        let names = if matches!(state, Ongoing | PrepareCommit | PrepareAbort) {
            "a-0"
        } else {
            ""
        };
        let mut bench = Bench::loaded(&stored(state, producer(has.0, has.1), names));
        let ticket = bench.init("x", expected.map(|(id, epoch)| producer(id, epoch)));
        let actual = match bench.answer(ticket) {
            Some(answer) => Refused(answer.unwrap_err()),
            None => {
                let record = written(&bench.store());
                match bench.answer(ticket).unwrap() {
                    Ok(Some(producer)) => {
                        assert_eq!((record.producer, record.state), (producer, Empty), "{name}");
                        Gets(producer.id.0, producer.epoch.0)
                    }
                    answer => {
                        assert_eq!(answer, Err(ConcurrentTransactions), "{name}");
                        assert_eq!(record.state, PrepareAbort, "{name}");
                        Fences(record.producer.epoch.0)
                    }
                }
            }
        };
        assert_eq!(actual, given, "{name}");
    };
    let new = FIRST_ID;
    for state in [Empty, CompleteCommit, CompleteAbort] {
        //     name                    state  has        expected         given
        check("a new one", state, (7, 3), None, Gets(7, 4));
        check("goes on", state, (7, 3), Some((7, 3)), Gets(7, 4));
        check("a zombie", state, (7, 3), Some((7, 2)), Refused(ProducerFenced));
        check("from the future", state, (7, 3), Some((7, 4)), Refused(ProducerFenced));
        check("another id", state, (7, 3), Some((6, 3)), Refused(ProducerFenced));
        check("the last but one epoch", state, (7, LAST - 1), None, Gets(7, LAST));
        check("epochs used up", state, (7, LAST), None, Gets(new, 0));
        check(
            "its own epochs used up",
            state,
            (7, LAST),
            Some((7, LAST)),
            Gets(new, 0),
        );
        check(
            "used up by another",
            state,
            (7, LAST),
            Some((7, 3)),
            Refused(ProducerFenced),
        );
        check("used up by a fence", state, (7, i16::MAX), None, Gets(new, 0));
        check(
            "fenced at the last epoch",
            state,
            (7, i16::MAX),
            Some((7, LAST)),
            Refused(ProducerFenced),
        );
    }
    check("a new one", Ongoing, (7, 3), None, Fences(4));
    check(
        "goes on in its own transaction",
        Ongoing,
        (7, 3),
        Some((7, 3)),
        Fences(4),
    );
    check("another id", Ongoing, (7, 3), Some((6, 3)), Refused(ProducerFenced));
    check(
        "the last epoch is kept for this",
        Ongoing,
        (7, LAST),
        None,
        Fences(i16::MAX),
    );
    for state in [PrepareCommit, PrepareAbort] {
        check("not yet over", state, (7, 3), None, Refused(ConcurrentTransactions));
        check(
            "not yet over",
            state,
            (7, 3),
            Some((7, 3)),
            Refused(ConcurrentTransactions),
        );
        check(
            "another id, not yet over",
            state,
            (7, 3),
            Some((6, 3)),
            Refused(ConcurrentTransactions),
        );
    }
}

#[test]
fn list() {
    let mut loader = Loader::new();
    let ids = [
        ("a", Empty, 1, -1),
        ("b", Ongoing, 2, 1_000),
        ("c", Ongoing, 3, 9_000),
        ("d", CompleteCommit, 4, 2_000),
    ];
    for (id, state, producer_id, age) in ids {
        let mut transaction = stored(state, producer(producer_id, 0), "");
        if age >= 0 {
            transaction.start = Millis(super::bench::WALL - age);
        }
        let value = transaction.encode(false).unwrap();
        loader.replay(&Key::encode(id).unwrap(), Some(&value)).unwrap();
    }
    let core = loader.finish(TransactionConfig::default(), COORDINATOR, at(0));
    let check =
        |name: &str, producer_ids: &[i64], states: Option<&[TransactionState]>, duration: Option<i64>, ids: &str| {
            let filter = ListFilter {
                producer_ids: producer_ids.iter().map(|id| (*id).into()).collect(),
                states: states.map(|states| states.iter().copied().collect::<BTreeSet<_>>()),
                duration: duration.map(Millis),
            };
            let listed: Vec<_> = core
                .list(&filter, at(0))
                .into_iter()
                .map(|l| l.transactional_id)
                .collect();
            assert_eq!(listed.join(" "), ids, "{name}");
        };
    check("all", &[], None, None, "a b c d");
    check("of these producers", &[2, 4, 9], None, None, "b d");
    check("in these states", &[], Some(&[Ongoing, PrepareCommit]), None, "b c");
    check("in no state that there is", &[], Some(&[]), None, "");
    check("longer than", &[], Some(&[Ongoing]), Some(1_000), "c");
    check(
        "one that never began is as old as time",
        &[],
        None,
        Some(1_999),
        "a c d",
    );
    check("any duration", &[], None, Some(-1), "a b c d");
    check("all of it", &[3], Some(&[Ongoing]), Some(0), "c");
}

#[test]
fn a_state_is_entered_only_from_the_ones_that_lead_to_it() {
    for state in TransactionState::ALL {
        assert_eq!(TransactionState::from_id(state.id()), Some(state));
        assert_eq!(TransactionState::from_name(state.name()), Some(state));
    }
    assert_eq!(TransactionState::from_id(8), None);
    assert_eq!(TransactionState::from_id(-1), None);
    assert_eq!(TransactionState::from_name("ongoing"), None);
    // What is prepared has one way out, and nobody gets back into a transaction that was.
    let leads_to = |from: TransactionState| -> Vec<_> {
        TransactionState::ALL
            .into_iter()
            .filter(|to| to.valid_previous().contains(&from))
            .collect()
    };
    assert_eq!(leads_to(PrepareCommit), [CompleteCommit]);
    assert_eq!(leads_to(PrepareAbort), [CompleteAbort]);
    assert_eq!(
        leads_to(Ongoing),
        [Ongoing, PrepareCommit, PrepareAbort, PrepareEpochFence]
    );
    assert_eq!(leads_to(CompleteCommit), [Empty, Ongoing, Dead]);
    assert_eq!(leads_to(Dead), []);
}
