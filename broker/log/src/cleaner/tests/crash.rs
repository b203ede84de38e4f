//! Killed, or refused by the disk, at each operation of a cleaning.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use super::*;
use crate::disk::{Faults, Operation, Verdict};

/// Keeps a copy of the directory as it is before each operation, unless the last one changed nothing.
struct Copies {
    from: PathBuf,
    to: PathBuf,
    count: AtomicUsize,
    on: AtomicBool,
    changed: AtomicBool,
}

impl Faults for Copies {
    fn decide(&self, operation: Operation, _: &Path) -> Verdict {
        let changes = !matches!(operation, Operation::Sync | Operation::SyncDir | Operation::Read);
        if self.changed.swap(changes, Ordering::Relaxed) && self.on.load(Ordering::Relaxed) {
            let copy = self
                .to
                .join(self.count.fetch_add(1, Ordering::Relaxed).to_string())
                .join("t-0");
            std::fs::create_dir_all(&copy).unwrap();
            for (name, content) in crate::testing::files(&self.from) {
                std::fs::write(copy.join(name), content).unwrap();
            }
        }
        Verdict::Go
    }
}

struct FailAt {
    left: AtomicUsize,
    errno: i32,
}

impl Faults for FailAt {
    fn decide(&self, operation: Operation, _: &Path) -> Verdict {
        let left = self.left.load(Ordering::Relaxed);
        self.left.store(left.saturating_sub(1), Ordering::Relaxed);
        match (left, operation) {
            (1, Operation::Write(bytes)) => Verdict::Tear(bytes / 2, self.errno),
            (1, _) => Verdict::Fail(self.errno),
            _ => Verdict::Go,
        }
    }
}

const CONFIGS: [(&str, &str); 2] = [("segment.bytes", "700"), ("index.interval.bytes", "100")];

fn fill(bench: &Bench) {
    for round in 0..4 {
        let sequence = 2 * round;
        let value = format!("{round}");
        let records = [("a", Some(value.as_str())), ("b", Some(&value))];
        bench.append(produced(1, sequence, true, &records), CLIENT);
        bench.end_transaction(1, round % 2 == 0);
        bench.append(produced(2, round, false, &[("c", Some(&value))]), CLIENT);
        bench.put(&[("d", Some(&value)), ("e", None)]);
    }
    bench.roll();
}

fn producers(bench: &Bench) -> Vec<(ProducerId, Sequence)> {
    let mut producers: Vec<_> = bench
        .active_producers()
        .iter()
        .map(|producer| (producer.producer_id, producer.last_sequence))
        .collect();
    producers.sort();
    producers
}

/// What must hold of the log in `home` after a start.
fn check(home: &Arc<tempfile::TempDir>, path: &Path, before: &Bench, and_clean: bool, what: &str) {
    let log = load(path, &before.config, &Disk::real(), false).unwrap_or_else(|error| panic!("{what}: {error}"));
    let bench = Bench {
        dir: home.clone(),
        config: before.config.clone(),
        log,
    };
    assert_eq!(table(&bench.committed()), table(&before.committed()), "{what}");
    assert_eq!(bench.log_end_offset(), before.log_end_offset(), "{what}");
    assert_eq!(producers(&bench), producers(before), "{what}");
    let names: Vec<_> = std::fs::read_dir(path.join("t-0"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| {
            [".cleaned", ".swap", ".deleted"]
                .iter()
                .any(|suffix| name.ends_with(suffix))
        })
        .collect();
    assert!(names.is_empty(), "{what}: {names:?}");
    // It is cleaned, and written, as if nothing had happened.
    if and_clean {
        bench.clean(Offset(0), 1_000_000);
    }
    assert_eq!(table(&bench.committed()), table(&before.committed()), "{what}");
    bench.put(&[("z", Some("next"))]);
}

#[test]
fn killed_before_any_operation_of_a_cleaning_the_log_opens_and_holds_what_it_held() {
    let home = tempfile::tempdir().unwrap();
    let copies = tempfile::tempdir().unwrap();
    let faults = Arc::new(Copies {
        from: home.path().join("t-0"),
        to: copies.path().to_owned(),
        count: AtomicUsize::new(0),
        on: false.into(),
        changed: false.into(),
    });
    let disk = Disk::faulty(faults.clone());
    let config = config(&CONFIGS);
    let bench = Bench {
        log: load(home.path(), &config, &disk, true).unwrap(),
        dir: Arc::new(home),
        config,
    };
    fill(&bench);
    let before = Bench::new(&CONFIGS);
    fill(&before);
    assert_eq!(bench.all(), before.all());
    faults.on.store(true, Ordering::Relaxed);
    let end = bench.clean(Offset(0), 1_000_000);
    bench.clean(end, 90_000_000);
    faults.on.store(false, Ordering::Relaxed);
    let count = faults.count.load(Ordering::Relaxed);
    assert!(count > 40, "{count}");
    for at in 0..count {
        check(
            &bench.dir,
            &copies.path().join(at.to_string()),
            &before,
            at % 8 == 0,
            &format!("killed at operation {at}"),
        );
    }
}

#[test]
fn whichever_operation_fails_the_log_holds_what_it_held() {
    let before = Bench::new(&CONFIGS);
    fill(&before);
    for errno in [5, 28] {
        for at in 1.. {
            let dir = Arc::new(tempfile::tempdir().unwrap());
            let config = config(&CONFIGS);
            let bench = Bench {
                log: load(dir.path(), &config, &Disk::real(), true).unwrap(),
                dir: dir.clone(),
                config: config.clone(),
            };
            fill(&bench);
            drop(bench);
            let faults = Arc::new(FailAt {
                left: AtomicUsize::new(0),
                errno,
            });
            let bench = Bench {
                log: load(dir.path(), &config, &Disk::faulty(faults.clone()), false).unwrap(),
                dir: dir.clone(),
                config,
            };
            faults.left.store(at, Ordering::Relaxed);
            let result = bench.clean_with(Offset(0), 1_000_000, 1 << 20);
            let done = faults.left.swap(0, Ordering::Relaxed) > 0;
            if let Err(error) = &result {
                let full = matches!(error, CleanError::Disk(error) if error.is_full());
                assert!(full == (errno == 28) || bench.is_offline(), "{at}: {error}");
            }
            if !bench.is_offline() {
                // Only this log is set aside; it is read and written as before.
                assert_eq!(table(&bench.committed()), table(&before.committed()), "operation {at}");
            }
            drop(bench);
            check(
                &dir,
                dir.path(),
                &before,
                at % 8 == 0,
                &format!("operation {at} failed with {errno}"),
            );
            if done {
                assert!(result.is_ok() && at > 20, "{at}");
                break;
            }
        }
    }
}
