use model::{ProducerEpoch, ProducerId};

use super::*;
use crate::append;
use crate::batch::{BatchBuilder, EndTransactionMarker};
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
