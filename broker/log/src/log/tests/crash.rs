//! What is left after a crash, a torn write, a full or failing disk.

use std::sync::atomic::AtomicUsize;

use super::*;
use crate::disk::{Faults, Operation, Verdict};
use crate::testing::{files, produced};

fn log_file(path: &Path) -> PathBuf {
    path.join("00000000000000000000.log")
}

#[test]
fn a_torn_tail_is_cut_at_the_last_whole_batch_wherever_it_is_torn() {
    let mut bench = Bench::new(&[]);
    for i in 0..3 {
        bench.put(batch(i, &["a", "b"]));
    }
    let whole = bench.size_bytes();
    bench.put(batch(9, &["torn"]));
    let content = std::fs::read(log_file(&bench.path())).unwrap();
    for len in whole..content.len() as u64 {
        let truncated = bench.crash(|path| {
            std::fs::write(log_file(path), &content[..len as usize]).unwrap();
        });
        assert_eq!(truncated, len - whole, "torn at {len}");
        assert_eq!(bench.log_end_offset(), Offset(6));
        assert_eq!(bench.size_bytes(), whole);
    }
    assert_eq!(bench.put(batch(0, &["next"])).first_offset, Offset(6));
    assert_eq!(bench.all().len(), 7);
}

#[test]
fn zeros_at_the_end_are_no_records() {
    let mut bench = Bench::new(&[]);
    bench.put(batch(0, &["a"]));
    bench.crash(|path| {
        let file = File::options().write(true).open(log_file(path)).unwrap();
        let len = file.metadata().unwrap().len();
        file.set_len(len + 4096).unwrap();
    });
    assert_eq!(bench.log_end_offset(), Offset(1));
}

#[test]
fn a_flipped_bit_past_the_recovery_point_ends_the_log_there() {
    let mut bench = Bench::new(&[("segment.bytes", "200")]);
    for i in 0..8 {
        bench.put(batch(i, &["0123456789"]));
    }
    let bases = bench.bases();
    let log = bench.log.take().unwrap();
    log.shared.scheduler.stop();
    drop(log);
    // In the third segment; what follows it is not part of the log any more.
    let path = bench.path().join(format!("{:020}.log", bases[2]));
    let mut content = std::fs::read(&path).unwrap();
    content[70] ^= 1;
    std::fs::write(&path, content).unwrap();
    bench
        .load(false, Offset(0), Offset(bases[1]), Offset(8), false)
        .unwrap();
    assert_eq!(bench.log_end_offset(), Offset(bases[2]));
    assert_eq!(bench.bases(), bases[..3]);
    assert_eq!(bench.all().len() as i64, bases[2]);
    assert_eq!(bench.high_watermark(), Offset(bases[2]));
    assert_eq!(bench.put(batch(0, &["next"])).first_offset, Offset(bases[2]));
    bench.reopen();
    assert_eq!(bench.all().len() as i64, bases[2] + 1);
}

#[test]
fn recovery_reads_only_from_the_recovery_point() {
    let mut bench = Bench::new(&[("index.interval.bytes", "100")]);
    for i in 0..50 {
        bench.put(batch(i, &["0123456789"]));
    }
    bench.flush().unwrap();
    let flushed = bench.size_bytes();
    for i in 0..5 {
        bench.put(batch(i, &["0123456789"]));
    }
    // Damage below it is not seen: nobody reads there (and the reader's checksum will tell).
    bench.crash(|path| {
        let mut content = std::fs::read(log_file(path)).unwrap();
        content[70] ^= 1;
        std::fs::write(log_file(path), content).unwrap();
    });
    assert_eq!(bench.log_end_offset(), Offset(55));
    // With an index that lies, everything is read, and the damage is found.
    bench.crash(|path| {
        let index = path.join("00000000000000000000.index");
        let mut content = std::fs::read(&index).unwrap();
        for entry in content.chunks_mut(8).filter(|e| e.iter().any(|b| *b != 0)) {
            entry[7] ^= 1;
        }
        std::fs::write(index, content).unwrap();
    });
    assert_eq!(bench.log_end_offset(), Offset(0));
    assert!(flushed > 0);
}

#[test]
fn missing_indexes_are_made_anew_to_the_same_bytes() {
    let mut bench = Bench::new(&[("segment.bytes", "500"), ("index.interval.bytes", "100")]);
    for i in 0..20 {
        bench.put(batch(i * 10, &["0123456789"]));
    }
    bench.reopen();
    let log = bench.log.take().unwrap();
    log.close().unwrap();
    log.shared.scheduler.stop();
    drop(log);
    let before = files(&bench.path());
    for (name, _) in before.iter().filter(|(name, _)| name.ends_with("index")) {
        std::fs::remove_file(bench.path().join(name)).unwrap();
    }
    bench.load(true, Offset(0), Offset(20), Offset(20), false).unwrap();
    assert_eq!(bench.all().len(), 20);
    bench.close().unwrap();
    let after = files(&bench.path());
    for (name, content) in before {
        assert_eq!(after[&name], content, "{name}");
    }
}

#[test]
fn what_an_interrupted_deletion_or_cleaning_left_is_tidied_up() {
    let mut bench = Bench::new(&[("segment.bytes", "200")]);
    for i in 0..6 {
        bench.put(batch(i, &["0123456789"]));
    }
    let all = bench.all();
    let bases = bench.bases();
    bench.crash(|path| {
        let write = |name: String| std::fs::write(path.join(name), b"x").unwrap();
        write("00000000000000000000.log.deleted".to_owned());
        write("leader-epoch-checkpoint.tmp".to_owned());
        write(format!("{:020}.index", 12345));
        write(format!("{:020}.log.cleaned", bases[1]));
        write("unrelated".to_owned());
        // A cleaned segment which had only to be renamed, in place of the first.
        std::fs::copy(log_file(path), path.join("00000000000000000000.log.swap")).unwrap();
        std::fs::remove_file(log_file(path)).unwrap();
    });
    assert_eq!(bench.all(), all);
    let leftovers = [".deleted", ".tmp", ".cleaned", ".swap"];
    assert!(!bench.names().iter().any(|n| leftovers.iter().any(|l| n.ends_with(l))));
    assert!(!bench.names().contains(&format!("{:020}.index", 12345)));
}

#[test]
fn a_log_whose_files_were_removed_starts_at_its_start_offset() {
    let mut bench = Bench::new(&[]);
    bench.put(batch(0, &["a"]));
    let log = bench.log.take().unwrap();
    log.shared.scheduler.stop();
    drop(log);
    bench.load(false, Offset(40), Offset(0), Offset(50), false).unwrap();
    assert_eq!(
        (bench.log_start_offset(), bench.log_end_offset()),
        (Offset(40), Offset(40))
    );
    assert_eq!(bench.put(batch(0, &["b"])).first_offset, Offset(40));
}

/// Fails the operation number `at`, and all after it while `stays`; a write is torn in the middle.
struct FailAt {
    seen: AtomicUsize,
    at: usize,
    errno: i32,
}

impl Faults for FailAt {
    fn decide(&self, operation: Operation, _: &Path) -> Verdict {
        let number = self.seen.fetch_add(1, Ordering::Relaxed);
        match operation {
            _ if number != self.at => Verdict::Go,
            Operation::Write(bytes) => Verdict::Tear(bytes / 2, self.errno),
            _ => Verdict::Fail(self.errno),
        }
    }
}

/// Appends, flushes, truncates; what was acknowledged, in order, until something failed.
fn work(bench: &Bench) -> (Vec<(i64, String)>, Result<(), String>) {
    let mut acknowledged: Vec<(i64, String)> = Vec::new();
    let mut run = || -> Result<(), String> {
        for i in 0..14i64 {
            let value = format!("value {i}");
            let appended = bench
                .append_as_leader(batch(i, &[&value]), LeaderEpoch((i / 5) as i32), CLIENT, bench.now())
                .map_err(|e| e.to_string())?;
            acknowledged.push((appended.first_offset.0, value));
            bench.increment_high_watermark(bench.log_end_offset());
            if i == 5 {
                bench.flush().map_err(|e| e.to_string())?;
            }
            if i == 9 {
                // Whether it takes effect is open when it fails: both are right afterwards.
                let cut = bench.truncate_to(Offset(8));
                acknowledged.truncate(8);
                cut.map_err(|e| e.to_string())?;
            }
        }
        Ok(())
    };
    let result = run();
    (acknowledged, result)
}

#[test]
fn whichever_operation_fails_nothing_acknowledged_is_lost_and_the_log_opens_again() {
    let configs = [("segment.bytes", "300"), ("index.interval.bytes", "0")];
    for errno in [5, 28] {
        let mut at = 0;
        loop {
            let mut bench = Bench::unopened(&configs);
            bench.load(true, Offset(0), Offset(0), Offset(0), true).unwrap();
            let log = bench.log.take().unwrap();
            log.shared.scheduler.stop();
            drop(log);
            bench.disk = Disk::faulty(Arc::new(FailAt {
                seen: AtomicUsize::new(0),
                at,
                errno,
            }));
            let opened = bench.load(true, Offset(0), Offset(0), Offset(0), false);
            let mut done = false;
            let mut acknowledged = Vec::new();
            let mut point = Offset(0);
            if opened.is_ok() {
                // Without background work the order of operations is the same each time.
                bench.shared.scheduler.stop();
                let (acked, result) = work(&bench);
                acknowledged = acked;
                done = result.is_ok();
                point = bench.recovery_point();
                if !done {
                    assert!(bench.is_offline(), "operation {at}");
                    let refused = bench.append_as_leader(batch(0, &["x"]), LeaderEpoch(9), CLIENT, bench.now());
                    assert!(refused.is_err());
                }
            }
            bench.log = None;
            bench.disk = Disk::real();
            bench.load(false, Offset(0), point, Offset(0), false).unwrap();
            let found = bench.all();
            assert!(
                found.starts_with(&acknowledged),
                "operation {at}, error {errno}: {acknowledged:?} were acknowledged, {found:?} are there"
            );
            // What was cut off by a truncation that failed half-way may be there, but nothing that was never written.
            assert!(found.iter().enumerate().all(|(i, (offset, _))| i as i64 == *offset));
            bench.put(batch(0, &["next"]));
            if done {
                break;
            }
            at += 1;
        }
        assert!(at > 30, "only {at} operations were tried");
    }
}

#[test]
fn records_deleted_past_the_recovery_point_stay_deleted_after_a_crash() {
    let mut bench = Bench::new(&[("segment.bytes", "200")]);
    for i in 0..6 {
        bench.put(produced(7, i, false, &["0123456789"]));
    }
    bench.delete_records_before(Offset(5)).unwrap();
    let log = bench.log.take().unwrap();
    log.shared.scheduler.stop();
    drop(log);
    bench.load(false, Offset(5), Offset(0), Offset(6), false).unwrap();
    assert_eq!(
        (bench.log_start_offset(), bench.log_end_offset()),
        (Offset(5), Offset(6))
    );
    assert_eq!(bench.all().len(), 1);
    assert!(bench.put(produced(7, 5, false, &["0123456789"])).duplicate);
}
