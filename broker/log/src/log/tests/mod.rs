//! How a log behaves, on real files, with a clock of the test's own.

mod crash;
mod model_based;
mod reading;
mod transactions;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use bytes::Bytes;
use model::{LeaderEpoch, Millis, Offset, TopicId, TopicPartition};

use super::*;
use crate::append::Origin;
use crate::testing::{batch, records, replicated};

const CLIENT: Origin = Origin::Client { api_version: 11 };

/// A log in a directory of its own, which can be closed, crashed and opened again.
struct Bench {
    dir: tempfile::TempDir,
    clock: Arc<AtomicI64>,
    disk: Disk,
    config: LogConfig,
    log: Option<Arc<Log>>,
}

impl std::ops::Deref for Bench {
    type Target = Log;

    fn deref(&self) -> &Log {
        self.log.as_ref().unwrap()
    }
}

impl Bench {
    fn new(configs: &[(&str, &str)]) -> Self {
        let mut bench = Self::unopened(configs);
        bench.load(true, Offset(0), Offset(0), Offset(0), true).unwrap();
        bench
    }

    fn unopened(configs: &[(&str, &str)]) -> Self {
        let overrides = configs
            .iter()
            .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
            .collect();
        Self {
            dir: tempfile::tempdir().unwrap(),
            clock: Arc::new(AtomicI64::new(1_000_000)),
            disk: Disk::real(),
            config: LogConfig::resolve(&LogConfig::default(), &overrides).unwrap(),
            log: None,
        }
    }

    fn path(&self) -> PathBuf {
        self.dir.path().join("t-0")
    }

    fn now(&self) -> Millis {
        Millis(self.clock.load(Ordering::Relaxed))
    }

    fn load(
        &mut self,
        clean: bool,
        start: Offset,
        recovery_point: Offset,
        high_watermark: Offset,
        new: bool,
    ) -> Result<u64, DiskError> {
        let clock = self.clock.clone();
        let shared = Arc::new(Shared {
            disk: self.disk.clone(),
            scheduler: Scheduler::new(1),
            clock: Arc::new(move || Millis(clock.load(Ordering::Relaxed))),
            producer_id_expiration_ms: AtomicI64::new(86_400_000),
            max_transaction_timeout_ms: Millis(900_000),
            verify_transactions: AtomicBool::new(false),
        });
        let home = Home::new(self.dir.path().to_owned(), |_| {});
        let load = Load {
            partition: TopicPartition::new("t", 0),
            config: self.config.clone(),
            name: "t-0".to_owned(),
            log_start_offset: start,
            recovery_point,
            high_watermark,
            clean,
            new: new.then_some(TopicId::ZERO),
        };
        let loaded = Log::load(&shared, &home, load)?;
        self.log = Some(loaded.log);
        Ok(loaded.truncated_bytes)
    }

    /// Stops cleanly and starts again.
    fn reopen(&mut self) {
        let log = self.log.take().unwrap();
        log.close().unwrap();
        log.sync_closed().unwrap();
        log.closed_and_synced();
        assert_eq!(log.recovery_point(), log.log_end_offset());
        let (start, end, high_watermark) = (log.log_start_offset(), log.recovery_point(), log.high_watermark());
        log.shared.scheduler.stop();
        drop(log);
        self.load(true, start, end, high_watermark, false).unwrap();
    }

    /// Ends as kill -9 does. `damage` may do to the files what a power failure does.
    fn crash(&mut self, damage: impl FnOnce(&Path)) -> u64 {
        let log = self.log.take().unwrap();
        log.shared.scheduler.stop();
        let (start, point, high_watermark) = (log.log_start_offset(), log.recovery_point(), log.high_watermark());
        drop(log);
        damage(&self.path());
        self.load(false, start, point, high_watermark, false).unwrap()
    }

    /// Appends as leader; everything is replicated at once.
    fn put(&self, bytes: Bytes) -> Appended {
        let appended = self
            .append_as_leader(bytes, LeaderEpoch(0), CLIENT, self.now())
            .unwrap();
        self.increment_high_watermark(self.log_end_offset());
        appended
    }

    fn all(&self) -> Vec<(i64, String)> {
        records(self, self.log_start_offset(), self.log_end_offset())
    }

    fn bases(&self) -> Vec<i64> {
        self.segments.load().iter().map(|s| s.base_offset().0).collect()
    }

    fn names(&self) -> Vec<String> {
        let mut names: Vec<_> = std::fs::read_dir(self.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }
}

#[test]
fn a_new_log_has_preallocated_indexes_and_nothing_else() {
    let bench = Bench::new(&[("segment.index.bytes", "1000")]);
    let len = |name: &str| std::fs::metadata(bench.path().join(name)).unwrap().len();
    assert_eq!(len("00000000000000000000.log"), 0);
    assert_eq!(len("00000000000000000000.index"), 1000);
    assert_eq!(len("00000000000000000000.timeindex"), 996);
    assert_eq!(bench.names().len(), 3);
}

#[test]
fn segments_are_rolled_by_size_and_are_trimmed() {
    let mut bench = Bench::new(&[("segment.bytes", "300"), ("index.interval.bytes", "50")]);
    for i in 0..12 {
        bench.put(batch(i, &["0123456789"]));
    }
    let bases = bench.bases();
    assert!(bases.len() > 3, "{bases:?}");
    for segment in &bench.segments.load()[..bases.len() - 1] {
        assert!(segment.end().size <= 300);
        let index = std::fs::metadata(segment.path().with_extension("index")).unwrap().len();
        assert!(index < 100 && index > 0, "{index}");
    }
    assert_eq!(bench.all().len(), 12);
    bench.reopen();
    assert_eq!(bench.bases(), bases);
    assert_eq!(bench.all().len(), 12);
}

#[test]
fn segments_are_rolled_by_the_records_own_time() {
    let bench = Bench::new(&[("segment.ms", "1000")]);
    bench.put(batch(5_000, &["a"]));
    bench.put(batch(6_000, &["b"]));
    assert_eq!(bench.bases(), [0]);
    bench.put(batch(6_001, &["c"]));
    assert_eq!(bench.bases(), [0, 2]);
}

#[test]
fn segments_are_rolled_when_an_index_is_full_even_an_empty_one() {
    let bench = Bench::new(&[("segment.index.bytes", "24"), ("index.interval.bytes", "0")]);
    for i in 0..20 {
        bench.put(batch(i, &["a"]));
    }
    assert!(bench.segment_count() > 5);
    assert_eq!(bench.all().len(), 20);
    // No index of this size ever has room: each append has a segment of its own.
    let bench = Bench::new(&[("segment.index.bytes", "4")]);
    for i in 0..3 {
        bench.put(batch(i, &["a"]));
    }
    assert_eq!(bench.bases(), [0, 1, 2]);
    assert_eq!(bench.all().len(), 3);
}

#[test]
fn segments_are_rolled_before_an_offset_overflows() {
    let bench = Bench::new(&[]);
    let far = i64::from(i32::MAX) + 1;
    for (offset, segments) in [(0, 1), (far - 1, 1), (far, 2), (far + 5, 2)] {
        bench
            .append_as_follower(replicated(offset, 0, &["a"]), LeaderEpoch(0), bench.now())
            .unwrap();
        assert_eq!(bench.segment_count(), segments, "{offset}");
    }
    assert_eq!(bench.bases(), [0, far]);
    assert_eq!(bench.log_end_offset(), Offset(far + 6));
    let offsets: Vec<i64> = bench.all().iter().map(|(offset, _)| *offset).collect();
    assert_eq!(offsets, [0, far - 1, far, far + 5]);
}

#[test]
fn a_preallocated_segment_is_trimmed_when_it_is_left() {
    let mut bench = Bench::new(&[("preallocate", "true"), ("segment.bytes", "300")]);
    for i in 0..6 {
        bench.put(batch(i, &["0123456789"]));
    }
    let last = bench.active().path();
    assert_eq!(std::fs::metadata(&last).unwrap().len(), 300);
    let first = bench.segments.load()[0].path();
    assert!(std::fs::metadata(first).unwrap().len() < 300);
    let all = bench.all();
    bench.crash(|_| {});
    assert_eq!(bench.all(), all);
    bench.reopen();
    assert_eq!(bench.all(), all);
    assert!(std::fs::metadata(last).unwrap().len() < 300);
}

#[test]
fn flush_messages_moves_the_recovery_point_with_the_append() {
    let bench = Bench::new(&[("flush.messages", "3")]);
    bench.put(batch(0, &["a", "b"]));
    assert_eq!(bench.recovery_point(), Offset(0));
    bench.put(batch(0, &["c"]));
    assert_eq!(bench.recovery_point(), Offset(3));
}

#[test]
fn flush_ms_is_counted_from_the_last_flush() {
    let bench = Bench::new(&[("flush.ms", "1000")]);
    bench.put(batch(0, &["a"]));
    bench.flush_if_due(bench.now() + Millis(999)).unwrap();
    assert_eq!(bench.recovery_point(), Offset(0));
    bench.flush_if_due(bench.now() + Millis(1000)).unwrap();
    assert_eq!(bench.recovery_point(), Offset(1));
}

#[test]
fn a_follower_learns_the_leaders_epochs_and_keeps_its_offsets() {
    let mut bench = Bench::new(&[]);
    let append = |bench: &Bench, offset, epoch| {
        bench.append_as_follower(replicated(offset, epoch, &["a", "b"]), LeaderEpoch(9), bench.now())
    };
    append(&bench, 0, 1).unwrap();
    append(&bench, 2, 1).unwrap();
    let appended = append(&bench, 7, 4).unwrap();
    assert_eq!((appended.first_offset, appended.last_offset), (Offset(7), Offset(8)));
    assert!(append(&bench, 3, 4).is_err());
    let starts = [(LeaderEpoch(1), Offset(0)), (LeaderEpoch(4), Offset(7))];
    assert_eq!(bench.epoch_starts(), starts);
    bench.crash(|path| std::fs::remove_file(path.join(leader_epoch::FILE)).unwrap());
    assert_eq!(bench.epoch_starts(), starts);
    assert_eq!(
        bench.end_offset_for_epoch(LeaderEpoch(2)).unwrap().end_offset,
        Offset(7)
    );
    assert_eq!(bench.log_end_offset(), Offset(9));
}

#[test]
fn truncation_takes_records_epochs_and_segments() {
    let mut bench = Bench::new(&[("segment.bytes", "200"), ("index.interval.bytes", "0")]);
    for i in 0..10 {
        let epoch = i / 4;
        bench
            .append_as_follower(
                replicated(i, epoch as i32, &["0123456789"]),
                LeaderEpoch(9),
                bench.now(),
            )
            .unwrap();
    }
    bench.update_high_watermark(Offset(9));
    assert!(!bench.truncate_to(Offset(10)).unwrap());
    assert!(bench.truncate_to(Offset(5)).unwrap());
    assert_eq!(bench.log_end_offset(), Offset(5));
    assert_eq!(bench.high_watermark(), Offset(5));
    assert_eq!(bench.latest_epoch(), Some(LeaderEpoch(1)));
    assert_eq!(bench.all().len(), 5);
    bench
        .append_as_follower(replicated(5, 3, &["new"]), LeaderEpoch(9), bench.now())
        .unwrap();
    let all = bench.all();
    assert_eq!(all[5], (5, "new".to_owned()));
    bench.crash(|_| {});
    assert_eq!(bench.all(), all);
    assert!(bench.truncate_to(Offset(0)).unwrap());
    assert_eq!(bench.all(), []);
    assert_eq!(bench.latest_epoch(), None);
    bench.reopen();
    assert_eq!(bench.log_end_offset(), Offset(0));
}

#[test]
fn a_log_can_start_anew_anywhere() {
    let mut bench = Bench::new(&[("segment.bytes", "200")]);
    for i in 0..6 {
        bench.put(batch(i, &["0123456789"]));
    }
    bench.truncate_fully_and_start_at(Offset(100)).unwrap();
    assert_eq!(
        (bench.log_start_offset(), bench.log_end_offset()),
        (Offset(100), Offset(100))
    );
    assert_eq!(bench.put(batch(0, &["x"])).first_offset, Offset(100));
    bench.crash(|_| {});
    assert_eq!(bench.all(), [(100, "x".to_owned())]);
    bench.truncate_fully_and_start_at(Offset(3)).unwrap();
    assert_eq!(bench.put(batch(0, &["y"])).first_offset, Offset(3));
    bench.reopen();
    assert_eq!(bench.all(), [(3, "y".to_owned())]);
}

#[test]
fn retention_by_size_keeps_at_least_so_much() {
    let bench = Bench::new(&[("segment.bytes", "200"), ("retention.bytes", "250")]);
    for i in 0..10 {
        bench.put(batch(i, &["0123456789"]));
    }
    bench.enforce_retention(bench.now()).unwrap();
    let size = bench.size_bytes();
    assert!((250..450).contains(&size), "{size}");
    assert_eq!(bench.log_start_offset().0, bench.bases()[0]);
    assert!(bench.read(Offset(0), 10, Offset(10), true).is_err());
    assert!(bench.names().iter().any(|name| name.ends_with(".log.deleted")));
}

#[test]
fn retention_by_time_goes_by_the_records_and_begins_a_new_segment_when_all_expire() {
    let bench = Bench::new(&[("segment.bytes", "200"), ("retention.ms", "1000")]);
    for i in 0..4 {
        bench.put(batch(i * 1000, &["0123456789"]));
    }
    bench.enforce_retention(Millis(3500)).unwrap();
    assert_eq!(bench.log_start_offset().0, bench.bases()[0]);
    assert!(bench.log_start_offset() > Offset(0));
    assert!(bench.all().contains(&(3, "0123456789".to_owned())));
    bench.enforce_retention(Millis(9000)).unwrap();
    assert_eq!(bench.bases(), [4]);
    assert_eq!(bench.all(), []);
    assert_eq!(bench.put(batch(0, &["x"])).first_offset, Offset(4));
}

#[test]
fn retention_never_takes_what_is_not_replicated() {
    let bench = Bench::new(&[("segment.bytes", "200"), ("retention.ms", "0")]);
    for i in 0..6 {
        bench
            .append_as_leader(batch(i, &["0123456789"]), LeaderEpoch(0), CLIENT, bench.now())
            .unwrap();
    }
    bench.update_high_watermark(Offset(3));
    bench.enforce_retention(bench.now()).unwrap();
    assert!(bench.log_start_offset() <= Offset(3));
    assert_eq!(bench.log_end_offset(), Offset(6));
}

#[test]
fn compaction_alone_keeps_old_records() {
    let bench = Bench::new(&[
        ("cleanup.policy", "compact"),
        ("retention.ms", "0"),
        ("segment.bytes", "200"),
    ]);
    for i in 0..6 {
        bench.put(batch(i, &["0123456789"]));
    }
    bench.enforce_retention(bench.now()).unwrap();
    assert_eq!(bench.all().len(), 6);
}

#[test]
fn deleted_records_stay_deleted_and_their_segments_go() {
    let mut bench = Bench::new(&[("segment.bytes", "200")]);
    for i in 0..10 {
        bench.put(batch(i, &["0123456789"]));
    }
    bench.assign_epoch_start(LeaderEpoch(0), Offset(0)).unwrap();
    assert_eq!(bench.delete_records_before(Offset(5)).unwrap(), Offset(5));
    assert_eq!(bench.delete_records_before(Offset(2)).unwrap(), Offset(5));
    assert!(bench.delete_records_before(Offset(11)).is_err());
    assert_eq!(bench.all().len(), 5);
    assert_eq!(bench.epoch_starts(), [(LeaderEpoch(0), Offset(5))]);
    assert!(bench.read(Offset(4), 10, Offset(10), true).is_err());
    bench.enforce_retention(bench.now()).unwrap();
    assert!(bench.bases()[0] > 0 && bench.bases()[0] <= 5);
    bench.reopen();
    assert_eq!(bench.log_start_offset(), Offset(5));
    assert_eq!(bench.delete_records_before(Offset(-1)).unwrap(), Offset(10));
    assert_eq!(bench.all(), []);
}

#[test]
fn the_high_watermark_stays_between_start_and_end() {
    let bench = Bench::new(&[]);
    bench
        .append_as_leader(batch(0, &["a", "b", "c"]), LeaderEpoch(0), CLIENT, bench.now())
        .unwrap();
    assert!(!bench.increment_high_watermark(Offset(0)));
    assert!(bench.increment_high_watermark(Offset(2)));
    assert!(!bench.increment_high_watermark(Offset(1)));
    assert!(bench.update_high_watermark(Offset(1)));
    assert!(bench.update_high_watermark(Offset(99)));
    assert_eq!(bench.high_watermark(), Offset(3));
}
