use model::{ProducerEpoch, ProducerId, Sequence, VerificationGuard};

use super::*;
use crate::append;
use crate::batch::{BatchBuilder, EndTransactionMarker};
use crate::producer::ProducerError;
use crate::testing::produced;

fn end(bench: &Bench, id: i64, committed: bool) -> Appended {
    let marker = EndTransactionMarker {
        committed,
        coordinator_epoch: 0,
    };
    let bytes = BatchBuilder::end_transaction(ProducerId(id), ProducerEpoch(0), bench.now(), marker);
    let appended = bench
        .append_as_leader(bytes, LeaderEpoch(0), Origin::Coordinator, bench.now())
        .unwrap();
    bench.increment_high_watermark(bench.log_end_offset());
    appended
}

#[test]
fn a_repeated_batch_is_answered_with_its_first_offset_also_after_restarts() {
    let mut bench = Bench::new(&[("segment.bytes", "300")]);
    bench.put(batch(0, &["other"]));
    for i in 0..8 {
        let appended = bench.put(produced(7, 2 * i, false, &["a", "b"]));
        assert_eq!(appended.first_offset, Offset(1 + 2 * i64::from(i)));
    }
    for round in 0..3 {
        let again = bench.put(produced(7, 14, false, &["a", "b"]));
        assert!(again.duplicate, "round {round}");
        assert_eq!((again.first_offset, again.last_offset), (Offset(15), Offset(16)));
        let gap = bench.append_as_leader(produced(7, 18, false, &["x"]), LeaderEpoch(0), CLIENT, bench.now());
        assert!(matches!(
            gap,
            Err(AppendError::Refused(append::AppendError::Producer(_)))
        ));
        match round {
            0 => bench.reopen(),
            _ => drop(bench.crash(|_| {})),
        }
    }
    assert_eq!(bench.log_end_offset(), Offset(17));
    // And where every snapshot is lost.
    bench.crash(|path| {
        for entry in std::fs::read_dir(path).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_some_and(|e| e == "snapshot") {
                std::fs::write(path, b"torn").unwrap();
            }
        }
    });
    assert!(bench.put(produced(7, 14, false, &["a", "b"])).duplicate);
}

#[test]
fn an_open_transaction_holds_back_readers_of_committed_records() {
    let mut bench = Bench::new(&[("segment.bytes", "400")]);
    bench.put(batch(0, &["before"]));
    bench.put(produced(1, 0, true, &["a", "b"]));
    bench.put(produced(2, 0, true, &["c"]));
    bench.put(batch(0, &["between"]));
    assert_eq!(
        (bench.high_watermark(), bench.last_stable_offset()),
        (Offset(5), Offset(1))
    );
    end(&bench, 1, false);
    assert_eq!(bench.last_stable_offset(), Offset(3));
    bench.reopen();
    assert_eq!(bench.last_stable_offset(), Offset(3));
    end(&bench, 2, true);
    assert_eq!(bench.last_stable_offset(), Offset(7));
    let aborted = bench.aborted_transactions(Offset(0), Offset(7)).unwrap();
    assert_eq!(
        aborted,
        [AbortedTransaction {
            producer_id: ProducerId(1),
            first_offset: Offset(1),
            last_offset: Offset(5),
            last_stable_offset: Offset(3),
        }]
    );
    assert_eq!(bench.aborted_transactions(Offset(6), Offset(7)).unwrap(), []);
    assert_eq!(bench.aborted_transactions(Offset(0), Offset(1)).unwrap(), []);
    // The index is made anew from the records.
    bench.crash(|path| {
        for entry in std::fs::read_dir(path).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_some_and(|e| e == "txnindex" || e == "snapshot") {
                std::fs::remove_file(path).unwrap();
            }
        }
    });
    // Not below the recovery point: there it was synced; here that is the end of the last clean stop.
    assert_eq!(bench.last_stable_offset(), Offset(7));
}

#[test]
fn a_marker_counts_once_it_is_replicated() {
    let bench = Bench::new(&[]);
    bench.put(produced(1, 0, true, &["a"]));
    let marker = EndTransactionMarker {
        committed: true,
        coordinator_epoch: 0,
    };
    let bytes = BatchBuilder::end_transaction(ProducerId(1), ProducerEpoch(0), bench.now(), marker);
    bench
        .append_as_leader(bytes, LeaderEpoch(0), Origin::Coordinator, bench.now())
        .unwrap();
    assert_eq!(bench.last_stable_offset(), Offset(0));
    bench.increment_high_watermark(Offset(2));
    assert_eq!(bench.last_stable_offset(), Offset(2));
}

#[test]
fn aborted_transactions_are_indexed_again_after_a_crash_before_any_flush() {
    let mut bench = Bench::new(&[("segment.bytes", "350")]);
    for i in 0..6 {
        bench.put(produced(1, 2 * i, true, &["a", "b"]));
        end(&bench, 1, i % 2 == 0);
    }
    assert!(bench.segment_count() > 1);
    let aborted = bench.aborted_transactions(Offset(0), Offset(18)).unwrap();
    assert_eq!(aborted.len(), 3);
    let log = bench.log.take().unwrap();
    log.shared.scheduler.stop();
    drop(log);
    for name in std::fs::read_dir(bench.path()).unwrap() {
        let path = name.unwrap().path();
        if path.extension().is_some_and(|e| e != "log") {
            std::fs::remove_file(path).unwrap();
        }
    }
    bench.load(false, Offset(0), Offset(0), Offset(18), false).unwrap();
    assert_eq!(bench.aborted_transactions(Offset(0), Offset(18)).unwrap(), aborted);
}

#[test]
fn truncation_goes_back_to_the_producers_of_then() {
    let bench = Bench::new(&[("segment.bytes", "300")]);
    for i in 0..8 {
        bench.put(produced(7, 2 * i, i >= 6, &["a", "b"]));
    }
    assert_eq!(bench.last_stable_offset(), Offset(12));
    bench.truncate_to(Offset(8)).unwrap();
    assert_eq!(bench.active_producers()[0].last_sequence.0, 7);
    assert_eq!(bench.last_stable_offset(), Offset(8));
    assert_eq!(bench.put(produced(7, 8, false, &["a", "b"])).first_offset, Offset(8));
}

#[test]
fn a_transaction_begins_only_where_its_coordinator_was_asked() {
    let bench = Bench::new(&[]);
    bench.shared.verify_transactions.store(true, Ordering::Relaxed);
    let append = |id: i64, sequence: i32, transactional: bool, guard: VerificationGuard| {
        bench
            .append_verified(
                produced(id, sequence, transactional, &["a"]),
                LeaderEpoch(0),
                CLIENT,
                guard,
                bench.now(),
            )
            .map(|appended| appended.first_offset)
    };
    let begin =
        |sequence: i32| bench.begin_verification(ProducerId(1), ProducerEpoch(0), Sequence(sequence), bench.now());
    let is_refused = |result: Result<Offset, AppendError>| {
        matches!(
            result,
            Err(AppendError::Refused(append::AppendError::Producer(
                ProducerError::NotVerified { .. }
            )))
        )
    };
    // Whoever writes outside of transactions is not asked.
    assert_eq!(append(2, 0, false, VerificationGuard::NONE).unwrap(), Offset(0));
    assert!(is_refused(append(1, 0, true, VerificationGuard::NONE)));
    let guard = begin(0);
    assert!(is_refused(append(1, 0, true, VerificationGuard::NONE)));
    assert_eq!(append(1, 0, true, guard).unwrap(), Offset(1));
    // The transaction is open: nothing more to verify, whatever is shown.
    assert_eq!(begin(1), VerificationGuard::NONE);
    assert_eq!(append(1, 1, true, VerificationGuard::NONE).unwrap(), Offset(2));
    bench.increment_high_watermark(bench.log_end_offset());
    end(&bench, 1, true);
    assert!(is_refused(append(1, 2, true, guard)));

    // The coordinator's answer comes after the transaction that it speaks of has ended.
    let late = begin(2);
    end(&bench, 1, false);
    assert!(is_refused(append(1, 2, true, late)));
    assert!(!bench.has_ongoing_transaction(ProducerId(1)));
    // Again, and a repeated batch is recognised without a guard.
    assert_eq!(append(1, 2, true, begin(2)).unwrap(), Offset(5));
    assert_eq!(append(1, 2, true, VerificationGuard::NONE).unwrap(), Offset(5));
    // A follower copies what its leader has let in.
    bench.shared.verify_transactions.store(false, Ordering::Relaxed);
    assert_eq!(append(3, 0, true, VerificationGuard::NONE).unwrap(), Offset(6));
}

#[test]
fn a_batch_does_not_overtake_one_that_could_not_be_verified() {
    let bench = Bench::new(&[]);
    bench.shared.verify_transactions.store(true, Ordering::Relaxed);
    let verify =
        |sequence: i32| bench.begin_verification(ProducerId(1), ProducerEpoch(0), Sequence(sequence), bench.now());
    let append = |sequence: i32, guard: VerificationGuard| {
        let records = produced(1, sequence, true, &["a"]);
        bench.append_verified(records, LeaderEpoch(0), CLIENT, guard, bench.now())
    };
    // Both are on their way, and the coordinator cannot be asked for the first of them. Nothing is known of the producer, so
    // that any sequence would do.
    let _first = verify(0);
    let second = verify(1);
    assert!(matches!(
        append(1, second),
        Err(AppendError::Refused(append::AppendError::Producer(
            ProducerError::OutOfOrderSequence {
                last: Sequence(0),
                found: Sequence(1),
                ..
            }
        )))
    ));
    assert_eq!(append(0, verify(0)).unwrap().first_offset, Offset(0));
    assert_eq!(append(1, VerificationGuard::NONE).unwrap().first_offset, Offset(1));
}

/// Ours was wrong once: the first unstable offset was looked at before the high watermark.
#[test]
fn no_record_of_an_open_transaction_is_below_the_last_stable_offset() {
    let bench = Bench::new(&[]);
    let log = bench.log.as_ref().unwrap();
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let readers: Vec<_> = (0..2)
            .map(|_| {
                scope.spawn(|| {
                    let mut looks = 0_u64;
                    while !done.load(Ordering::Relaxed) {
                        // Transactions are of one record, so that markers have odd offsets. The last stable offset lies at one
                        // only if it was replicated before the look was over.
                        let stable = log.last_stable_offset();
                        let replicated = log.high_watermark() > stable;
                        assert!(stable.0 % 2 == 0 || replicated, "{stable} is inside a transaction");
                        looks += 1;
                    }
                    looks
                })
            })
            .collect();
        for round in 0..10_000 {
            log.append_as_leader(produced(1, round, true, &["a"]), LeaderEpoch(0), CLIENT, bench.now())
                .unwrap();
            log.increment_high_watermark(log.log_end_offset());
            std::thread::yield_now();
            end(&bench, 1, round % 2 == 0);
        }
        done.store(true, Ordering::Relaxed);
        for reader in readers {
            assert!(reader.join().unwrap() > 0);
        }
    });
}

#[test]
fn the_index_of_aborted_transactions_is_searched() {
    let bench = Bench::new(&[("segment.bytes", "20000")]);
    for round in 0..300 {
        // Producer 2 overlaps several of the others.
        if round % 7 == 0 {
            bench.put(produced(2, round / 7, true, &["long"]));
        }
        bench.put(produced(1, round, true, &["short"]));
        end(&bench, 1, false);
        if round % 7 == 5 {
            end(&bench, 2, false);
        }
    }
    assert!(bench.segment_count() > 1);
    let log_end = bench.log_end_offset();
    let all = bench.aborted_transactions(Offset(0), log_end).unwrap();
    assert_eq!(all.len(), 343);
    for from in 0..log_end.0 {
        for span in [1, 3, 40] {
            let (from, upper) = (Offset(from), Offset((from + span).min(log_end.0)));
            let found = bench.aborted_transactions(from, upper).unwrap();
            let expected: Vec<_> = all
                .iter()
                .filter(|one| one.last_offset >= from && one.first_offset < upper)
                .copied()
                .collect();
            assert_eq!(found, expected, "[{from}, {upper})");
        }
    }
}

#[test]
fn kill_9_does_not_let_readers_into_an_open_transaction() {
    let mut bench = Bench::new(&[("segment.bytes", "400")]);
    bench.put(batch(0, &["before"]));
    bench.put(produced(1, 0, true, &["a"]));
    for sequence in 0..12 {
        bench.put(produced(2, sequence, true, &["b"]));
        end(&bench, 2, sequence % 2 == 0);
    }
    assert!(bench.segment_count() > 2);
    assert_eq!(bench.last_stable_offset(), Offset(1));
    let aborted = bench.aborted_transactions(Offset(0), bench.log_end_offset()).unwrap();
    for round in 0..2 {
        bench.crash(|_| {});
        assert_eq!(bench.last_stable_offset(), Offset(1), "round {round}");
        assert!(bench.has_ongoing_transaction(ProducerId(1)));
        let again = bench.aborted_transactions(Offset(0), bench.log_end_offset()).unwrap();
        assert_eq!(again, aborted, "round {round}");
    }
    end(&bench, 1, false);
    assert_eq!(bench.last_stable_offset(), bench.log_end_offset());
}

#[test]
fn deleting_records_does_not_end_the_transaction_they_were_of() {
    let mut bench = Bench::new(&[]);
    bench.put(produced(1, 0, true, &["a"]));
    bench.put(batch(0, &["b", "c"]));
    bench.delete_records_before(Offset(2)).unwrap();
    assert_eq!(bench.last_stable_offset(), Offset(2));
    bench.reopen();
    assert_eq!(bench.last_stable_offset(), Offset(2));
    end(&bench, 1, false);
    assert_eq!(bench.last_stable_offset(), Offset(4));
}
