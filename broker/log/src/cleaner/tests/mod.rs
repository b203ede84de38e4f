//! Cleaning whole logs, on real files.

mod crash;
mod model_based;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicI64;

use bytes::Bytes;
use model::{LeaderEpoch, Millis, Offset, ProducerEpoch, ProducerId, Sequence, TopicId, TopicPartition};

use super::*;
use crate::append::Origin;
use crate::batch::{BatchBuilder, EndTransactionMarker, Entries, Entry};
use crate::compress::Compression;
use crate::config::LogConfig;
use crate::disk::{Disk, DiskError};
use crate::log::{Home, Load, Log, Shared};
use crate::scheduler::Scheduler;

/// A record as a reader sees it: offset, timestamp, key, value.
type Seen = (i64, i64, String, Option<String>);

/// A log in a directory of its own.
struct Bench {
    dir: Arc<tempfile::TempDir>,
    config: LogConfig,
    log: Arc<Log>,
}

impl std::ops::Deref for Bench {
    type Target = Log;

    fn deref(&self) -> &Log {
        &self.log
    }
}

fn config(configs: &[(&str, &str)]) -> LogConfig {
    let mut overrides = BTreeMap::from([("cleanup.policy".to_owned(), "compact".to_owned())]);
    overrides.extend(configs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())));
    LogConfig::resolve(&LogConfig::default(), &overrides).unwrap()
}

/// Opens the log in `home`; as a new one, or as a broker does that was killed.
fn load(home: &Path, config: &LogConfig, disk: &Disk, new: bool) -> Result<Arc<Log>, DiskError> {
    let shared = Arc::new(Shared {
        disk: disk.clone(),
        scheduler: Scheduler::new(1),
        clock: Arc::new(|| Millis(1_000_000)),
        producer_id_expiration_ms: AtomicI64::new(86_400_000),
        max_transaction_timeout_ms: Millis(900_000),
        verify_transactions: false.into(),
    });
    // Nothing runs besides: files to be deleted later stay, syncs come in order.
    shared.scheduler.stop();
    let load = Load {
        partition: TopicPartition::new("t", 0),
        config: config.clone(),
        name: "t-0".to_owned(),
        log_start_offset: Offset(0),
        recovery_point: Offset(0),
        high_watermark: Offset(i64::MAX),
        clean: false,
        new: new.then_some(TopicId::ZERO),
    };
    let home = Home::new(home.to_owned(), |_| {});
    Ok(Log::load(&shared, &home, load)?.log)
}

impl Bench {
    fn new(configs: &[(&str, &str)]) -> Self {
        Self::on(&Disk::real(), configs)
    }

    fn on(disk: &Disk, configs: &[(&str, &str)]) -> Self {
        let dir = Arc::new(tempfile::tempdir().unwrap());
        let config = config(configs);
        let log = load(dir.path(), &config, disk, true).unwrap();
        Self { dir, config, log }
    }

    /// As kill -9 and a start.
    fn crash(&mut self) {
        self.log = load(self.dir.path(), &self.config, &Disk::real(), false).unwrap();
    }

    fn path(&self) -> PathBuf {
        self.dir.path().join("t-0")
    }

    fn append(&self, bytes: Bytes, origin: Origin) -> Offset {
        let appended = self
            .append_as_leader(bytes, LeaderEpoch(3), origin, Millis(1_000_000))
            .unwrap();
        self.increment_high_watermark(self.log_end_offset());
        appended.first_offset
    }

    fn put(&self, records: &[(&str, Option<&str>)]) -> Offset {
        self.append(plain(records), Origin::Client { api_version: 11 })
    }

    fn end_transaction(&self, id: i64, committed: bool) {
        let marker = EndTransactionMarker {
            committed,
            coordinator_epoch: 0,
        };
        let bytes = BatchBuilder::end_transaction(ProducerId(id), ProducerEpoch(0), Millis(1_000_000), marker);
        self.append(bytes, Origin::Coordinator);
    }

    /// Fills the active segment up, so that what is in it so far can be cleaned.
    fn roll(&self) {
        let count = self.segment_count();
        while self.segment_count() == count {
            self.put(&[("roll", Some("0123456789012345678901234567890123456789"))]);
        }
    }

    fn dirt(&self, checkpoint: Option<Offset>, now: Millis) -> Dirt {
        let segments = self.segments();
        let described: Vec<_> = segments
            .iter()
            .map(|segment| SegmentFacts {
                base_offset: segment.base_offset(),
                size: segment.end().size,
            })
            .collect();
        let facts = Facts {
            log_start_offset: self.log_start_offset(),
            log_end_offset: self.log_end_offset(),
            last_stable_offset: self.last_stable_offset(),
            segments: &described,
            checkpoint,
        };
        let largest = |at: usize| segments[at].max_timestamp().map(|entry| entry.timestamp);
        dirt(&facts, &self.config, now, largest, |at| segments[at].first_timestamp()).unwrap()
    }

    fn clean_with(&self, checkpoint: Offset, now: i64, map_bytes: u64) -> Result<(Offset, Stats), CleanError> {
        let dirt = self.dirt(Some(checkpoint), Millis(now));
        let job = Job {
            log: &self.log,
            first_dirty: dirt.first_dirty,
            first_uncleanable: dirt.first_uncleanable,
            now: Millis(now),
            map_bytes,
            load_factor: 0.9,
            io_bytes: 0,
            pace: &|_| Ok(()),
        };
        job.run()
    }

    /// Cleans what can be cleaned from `checkpoint` on; the new checkpoint.
    fn clean(&self, checkpoint: Offset, now: i64) -> Offset {
        self.clean_with(checkpoint, now, 1 << 20).unwrap().0
    }

    fn batches(&self) -> Vec<Bytes> {
        let mut batches = Vec::new();
        let mut next = self.log_start_offset();
        loop {
            let slice = self.read(next, 1, self.log_end_offset(), true).unwrap();
            if slice.is_empty() {
                return batches;
            }
            let bytes = slice.read().unwrap();
            let entry = Entries::new(&bytes).next().unwrap().unwrap();
            assert!(entry.is_valid(), "at {next}");
            next = entry.last_offset().next();
            batches.push(bytes.slice(..entry.size()));
        }
    }

    /// All records but markers, those of aborted transactions included.
    fn all(&self) -> Vec<Seen> {
        self.seen(false)
    }

    /// What a consumer with `read_committed` makes of it.
    fn committed(&self) -> Vec<Seen> {
        self.seen(true)
    }

    fn seen(&self, committed: bool) -> Vec<Seen> {
        let limit = if committed {
            self.last_stable_offset()
        } else {
            self.log_end_offset()
        };
        let mut aborted = self.aborted_transactions(self.log_start_offset(), limit).unwrap();
        aborted.sort_by_key(|aborted| std::cmp::Reverse(aborted.first_offset));
        let mut open: Vec<ProducerId> = Vec::new();
        let mut seen = Vec::new();
        for bytes in self.batches() {
            let entry = Entries::new(&bytes).next().unwrap().unwrap();
            let Entry::Batch(batch) = entry else { panic!("format 2") };
            if batch.base_offset() >= limit {
                break;
            }
            while aborted
                .last()
                .is_some_and(|next| next.first_offset <= batch.last_offset())
            {
                open.extend(aborted.pop().map(|next| next.producer_id));
            }
            let mut scratch = Vec::new();
            if batch.is_control() {
                let marker = EndTransactionMarker::of_batch(&batch).unwrap();
                if marker.is_some_and(|(marker, _)| !marker.committed) {
                    open.retain(|id| *id != batch.producer_id());
                }
                continue;
            }
            if committed && batch.is_transactional() && open.contains(&batch.producer_id()) {
                continue;
            }
            for record in batch.records(&mut scratch, 1 << 20).unwrap() {
                let record = record.unwrap();
                let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
                seen.push((
                    record.offset.0,
                    record.timestamp.0,
                    record.key.map_or("(none)".to_owned(), text),
                    record.value.map(text),
                ));
            }
        }
        seen
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

/// What the records say in the end: the newest offset and value of each key that has one.
fn table(seen: &[Seen]) -> BTreeMap<String, (i64, String)> {
    let mut table = BTreeMap::new();
    for (offset, _, key, value) in seen {
        match value {
            Some(value) => drop(table.insert(key.clone(), (*offset, value.clone()))),
            None => drop(table.remove(key)),
        }
    }
    table
}

fn builder(records: &[(&str, Option<&str>)]) -> BatchBuilder {
    let mut builder = BatchBuilder::new();
    for (at, (key, value)) in records.iter().enumerate() {
        builder.push(Millis(1000 + at as i64), Some(key.as_bytes()), value.map(str::as_bytes));
    }
    builder
}

fn plain(records: &[(&str, Option<&str>)]) -> Bytes {
    builder(records).build()
}

fn produced(id: i64, sequence: i32, transactional: bool, records: &[(&str, Option<&str>)]) -> Bytes {
    builder(records)
        .producer(ProducerId(id), ProducerEpoch(0), Sequence(sequence))
        .transactional(transactional)
        .build()
}

const CLIENT: Origin = Origin::Client { api_version: 11 };
const SMALL: [(&str, &str); 2] = [("segment.bytes", "400"), ("index.interval.bytes", "100")];

#[test]
fn the_latest_record_of_each_key_stays_at_its_offset() {
    let bench = Bench::new(&SMALL);
    for round in 0..10 {
        for key in ["a", "b", "c"] {
            bench.put(&[(key, Some(&format!("{key}{round}")))]);
        }
    }
    bench.roll();
    let before = bench.all();
    let end = bench.clean(Offset(0), 1_000_000);
    assert_eq!(end, bench.segments().last().unwrap().base_offset());
    let after = bench.all();
    let kept: Vec<_> = after.iter().map(|(offset, ..)| *offset).take(3).collect();
    assert_eq!(kept, [27, 28, 29]);
    assert_eq!(table(&after), table(&before));
    assert!(after.iter().all(|record| before.contains(record)));
    // Nothing is left of the cleaner but what readers may still have open.
    let names = bench.names();
    assert!(
        names
            .iter()
            .all(|name| !name.ends_with(".cleaned") && !name.ends_with(".swap")),
        "{names:?}"
    );
    assert!(names.iter().any(|name| name.ends_with(".log.deleted")), "{names:?}");
    // Again: small segments become one, and nothing else changes.
    assert!(bench.segment_count() > 2);
    assert_eq!(bench.clean(end, 1_000_000), end);
    assert_eq!(bench.segment_count(), 2);
    assert_eq!(bench.all(), after);
}

#[test]
fn a_reader_with_an_old_segment_goes_on_with_it() {
    let bench = Bench::new(&SMALL);
    for round in 0..30 {
        bench.put(&[("a", Some(&format!("{round}")))]);
    }
    bench.roll();
    let limit = bench.log_end_offset();
    let old = bench.segments();
    let slice = bench.read(Offset(5), 100, limit, true).unwrap();
    let bytes = slice.read().unwrap();
    bench.clean(Offset(0), 1_000_000);
    assert_eq!(slice.read().unwrap(), bytes);
    for segment in &old[..old.len() - 1] {
        let size = segment.end().size;
        let found = segment.locate(segment.base_offset() + 1, size).unwrap().unwrap();
        assert_eq!(found.base_offset, segment.base_offset() + 1);
    }
    // Where the slice ends cannot be told by the new file: the bound is that of the new segment.
    assert!(bench.upper_bound_offset(Offset(5), &slice).unwrap() >= old[1].base_offset());
    // At the very moment of the exchange.
    let last = bench.segments().last().unwrap().clone();
    let at = Offset(limit.0 - 1);
    let tail = bench.read(at, 100, limit, true).unwrap();
    last.close_indexes();
    last.let_go_of_indexes();
    assert_eq!(bench.upper_bound_offset(at, &tail).unwrap(), limit);
}

#[test]
fn a_tombstone_stays_for_delete_retention_ms_after_it_was_first_cleaned() {
    let bench = Bench::new(&[("segment.bytes", "400"), ("delete.retention.ms", "1000")]);
    bench.put(&[("a", Some("1")), ("b", Some("1"))]);
    bench.put(&[("a", None), ("c", Some("1"))]);
    bench.roll();
    let first = |bench: &Bench| {
        bench
            .all()
            .into_iter()
            .take(3)
            .map(|r| (r.0, r.1, r.2))
            .collect::<Vec<_>>()
    };
    let with = [
        (1, 1001, "b".to_owned()),
        (2, 1000, "a".to_owned()),
        (3, 1001, "c".to_owned()),
    ];
    let end = bench.clean(Offset(0), 10_000);
    assert_eq!(first(&bench), with, "timestamps are what they were");
    let horizons = |bench: &Bench| -> Vec<Option<Millis>> {
        let of = |bytes: &Bytes| crate::batch::Batch::new(bytes).unwrap().delete_horizon();
        bench.batches().iter().take(2).map(of).collect()
    };
    assert_eq!(horizons(&bench), [None, Some(Millis(11_000))]);
    bench.clean(end, 10_999);
    assert_eq!(first(&bench), with);
    assert_eq!(horizons(&bench), [None, Some(Millis(11_000))], "set once");
    bench.clean(end, 11_000);
    assert_eq!(first(&bench)[1], (3, 1001, "c".to_owned()));
    assert_eq!(
        horizons(&bench)[1],
        Some(Millis(11_000)),
        "of what is left of the batch"
    );
}

#[test]
fn the_last_sequence_of_a_producer_is_known_after_its_records_are_gone() {
    let mut bench = Bench::new(&SMALL);
    bench.append(produced(7, 0, false, &[("a", Some("1")), ("b", Some("1"))]), CLIENT);
    bench.append(produced(7, 2, false, &[("a", Some("2")), ("b", Some("2"))]), CLIENT);
    bench.put(&[("a", Some("3")), ("b", Some("3"))]);
    bench.roll();
    let end = bench.clean(Offset(0), 1_000_000);
    bench.clean(end, 1_000_000);
    let batches = bench.batches();
    let empty = crate::batch::Batch::new(&batches[0]).unwrap();
    assert_eq!(
        (empty.record_count(), empty.base_offset(), empty.last_offset()),
        (0, Offset(2), Offset(3))
    );
    assert_eq!(
        (empty.base_sequence(), empty.last_sequence()),
        (Sequence(2), Sequence(3))
    );
    assert_eq!(empty.leader_epoch(), LeaderEpoch(3));
    for name in bench.names().iter().filter(|name| name.ends_with(".snapshot")) {
        std::fs::remove_file(bench.path().join(name)).unwrap();
    }
    bench.crash();
    assert_eq!(bench.active_producers()[0].last_sequence, Sequence(3));
    let again = produced(7, 2, false, &[("a", Some("2")), ("b", Some("2"))]);
    let again = bench
        .append_as_leader(again, LeaderEpoch(3), CLIENT, Millis(1_000_000))
        .unwrap();
    assert!(again.duplicate);
}

#[test]
fn aborted_records_go_at_once_and_their_marker_and_index_entry_later() {
    let bench = Bench::new(&[("segment.bytes", "600"), ("delete.retention.ms", "1000")]);
    bench.put(&[("a", Some("stays"))]);
    bench.append(produced(1, 0, true, &[("a", Some("aborted"))]), CLIENT);
    bench.end_transaction(1, false);
    bench.append(produced(1, 1, true, &[("b", Some("committed"))]), CLIENT);
    bench.end_transaction(1, true);
    bench.put(&[("b", Some("newer"))]);
    bench.roll();
    let committed = table(&bench.committed());
    let aborted = |bench: &Bench| {
        bench
            .aborted_transactions(Offset(0), bench.log_end_offset())
            .unwrap()
            .len()
    };
    let markers = |bench: &Bench| {
        let is_control = |bytes: &&Bytes| crate::batch::Batch::new(bytes).unwrap().is_control();
        bench.batches().iter().filter(is_control).count()
    };
    let check = |bench: &Bench, name: &str, entries, left| {
        assert_eq!(table(&bench.committed()), committed, "{name}");
        assert_eq!((aborted(bench), markers(bench)), (entries, left), "{name}");
    };
    check(&bench, "at first", 1, 2);
    let end = bench.clean(Offset(0), 10_000);
    assert!(!bench.all().iter().any(|record| record.3.as_deref() == Some("aborted")));
    check(&bench, "the records are gone", 1, 2);
    bench.clean(end, 20_000);
    // Of the committed transaction the last batch of the producer is left, empty, and so its marker.
    check(&bench, "the marker has a horizon", 0, 2);
    bench.clean(end, 20_999);
    check(&bench, "not yet", 0, 2);
    bench.clean(end, 21_000);
    check(&bench, "the marker is gone", 0, 1);
}

#[test]
fn nothing_past_an_open_transaction_is_cleaned() {
    let bench = Bench::new(&SMALL);
    for _ in 0..10 {
        bench.put(&[("a", Some("0123456789"))]);
    }
    let stable = bench.log_end_offset();
    bench.append(produced(1, 0, true, &[("t", Some("open"))]), CLIENT);
    for _ in 0..10 {
        bench.put(&[("a", Some("0123456789"))]);
    }
    bench.roll();
    let before: Vec<_> = bench.all().into_iter().filter(|record| record.0 >= stable.0).collect();
    let end = bench.clean(Offset(0), 1_000_000);
    assert!(end > Offset(0) && end <= stable, "{end}");
    let after: Vec<_> = bench.all().into_iter().filter(|record| record.0 >= stable.0).collect();
    assert_eq!(after, before);
    assert_eq!(bench.all().iter().filter(|record| record.0 < end.0).count(), 1);
}

#[test]
fn a_small_map_takes_several_rounds_and_a_tiny_one_none() {
    let bench = Bench::new(&SMALL);
    for round in 0..4 {
        for key in 0..100 {
            bench.put(&[(&format!("key-{key}"), Some(&format!("{round}")))]);
        }
    }
    bench.roll();
    let expected = table(&bench.all());
    let bytes = (offset_map::SLOT_BYTES * 64 * 2) as u64;
    let (mut checkpoint, mut rounds) = (Offset(0), 0);
    let limit = bench.dirt(None, Millis(0)).first_uncleanable;
    while checkpoint < limit {
        let (end, stats) = bench.clean_with(checkpoint, 1_000_000, bytes).unwrap();
        assert!(end > checkpoint && stats.map_bytes as u64 <= bytes, "{end} {stats:?}");
        checkpoint = end;
        rounds += 1;
        assert_eq!(table(&bench.all()), expected);
    }
    assert!(rounds > 2, "{rounds}");
    // What a later round sees supersedes what an earlier one kept.
    assert_eq!(bench.all().iter().filter(|record| record.2 == "key-7").count(), 1);
    let refused = Bench::new(&SMALL);
    refused.put(&[("a", Some("1"))]);
    refused.roll();
    assert!(matches!(
        refused.clean_with(Offset(0), 0, 0),
        Err(CleanError::MapTooSmall { .. })
    ));
}

#[test]
fn a_batch_larger_than_the_buffer_is_read_whole() {
    let bench = Bench::new(&[("segment.bytes", "20000")]);
    let large = "x".repeat(9000);
    bench.put(&[("a", Some(&large)), ("b", Some("1"))]);
    bench.put(&[("a", Some("small"))]);
    bench.put(&[("c", Some(&large))]);
    bench.put(&[("d", Some(&large))]);
    let expected = table(&bench.all());
    bench.clean(Offset(0), 1_000_000);
    assert_eq!(table(&bench.all()), expected);
    assert!(!bench.all().iter().any(|record| record.0 == 0));
}

#[test]
fn a_corrupt_batch_ends_the_cleaning_and_leaves_the_log_as_it_is() {
    let bench = Bench::new(&SMALL);
    for round in 0..30 {
        bench.put(&[("a", Some(&format!("{round}")))]);
    }
    bench.roll();
    let third = bench.segments()[2].path();
    let mut content = std::fs::read(&third).unwrap();
    let before = crate::testing::files(&bench.path());
    for at in [16, 70] {
        content[at] ^= 0x40;
        std::fs::write(&third, &content).unwrap();
        let error = bench.clean_with(Offset(0), 0, 1 << 20).unwrap_err();
        assert!(
            matches!(&error, CleanError::Corrupt { path, .. } if *path == third),
            "{error}"
        );
        assert!(!bench.is_offline());
        content[at] ^= 0x40;
        std::fs::write(&third, &content).unwrap();
    }
    assert_eq!(crate::testing::files(&bench.path()), before);
}

#[test]
fn a_truncation_or_deletion_meanwhile_wins() {
    for truncate in [true, false] {
        let bench = Bench::new(&SMALL);
        for round in 0..30 {
            bench.put(&[("a", Some(&format!("{round}")))]);
        }
        bench.roll();
        let dirt = bench.dirt(None, Millis(0));
        let done = std::cell::Cell::new(false);
        let pace = |_: u64| {
            if !done.replace(true) {
                if truncate {
                    bench.truncate_to(Offset(10)).unwrap();
                } else {
                    bench.delete_records_before(Offset(10)).unwrap();
                    bench.enforce_retention(Millis(0)).unwrap();
                }
            }
            Ok(())
        };
        let job = Job {
            log: &bench.log,
            first_dirty: dirt.first_dirty,
            first_uncleanable: dirt.first_uncleanable,
            now: Millis(0),
            map_bytes: 1 << 20,
            load_factor: 0.9,
            io_bytes: 0,
            pace: &pace,
        };
        let result = job.run();
        if truncate {
            assert!(matches!(result, Err(CleanError::Aborted(_))), "{result:?}");
            assert_eq!(bench.log_end_offset(), Offset(10));
            assert_eq!(bench.all().len(), 10);
            assert_eq!(bench.take_lowest_truncation(), Some(Offset(10)));
            assert_eq!(bench.take_lowest_truncation(), None);
        }
        assert!(!bench.is_offline());
        assert!(
            !bench
                .names()
                .iter()
                .any(|name| name.ends_with(".swap") || name.ends_with(".cleaned"))
        );
    }
}

#[test]
fn every_codec_is_kept() {
    let bench = Bench::new(&[("segment.bytes", "2000")]);
    let codecs = [
        Compression::Gzip { level: -1 },
        Compression::Snappy,
        Compression::Lz4 { level: 9 },
        Compression::Zstd { level: 3 },
        Compression::None,
    ];
    for (at, codec) in codecs.into_iter().enumerate() {
        let own = format!("own-{at}");
        let records = builder(&[("a", Some("superseded")), (&own, Some("stays")), ("a", None)]);
        bench.append(records.build_compressed(codec).unwrap(), CLIENT);
    }
    bench.put(&[("a", Some("last"))]);
    while bench.segment_count() == 1 {
        bench.roll();
    }
    let expected = table(&bench.all());
    bench.clean(Offset(0), 1_000_000);
    assert_eq!(table(&bench.all()), expected);
    for (bytes, codec) in bench.batches().iter().zip(codecs) {
        let batch = crate::batch::Batch::new(bytes).unwrap();
        assert_eq!((batch.compression(), batch.record_count()), (Some(codec.kind()), 1));
    }
}

#[test]
fn a_follower_copies_what_is_left_batch_by_batch() {
    let bench = Bench::new(&[("segment.bytes", "600"), ("delete.retention.ms", "1000")]);
    bench.append(produced(7, 0, false, &[("a", Some("1")), ("b", Some("1"))]), CLIENT);
    bench.append(produced(8, 0, true, &[("a", Some("2"))]), CLIENT);
    bench.append(produced(8, 1, true, &[("a", Some("3")), ("c", None)]), CLIENT);
    bench.end_transaction(8, false);
    bench.append(produced(9, 0, true, &[("b", Some("4")), ("d", None)]), CLIENT);
    bench.end_transaction(9, true);
    bench.put(&[("a", Some("5")), ("b", Some("5"))]);
    bench.roll();
    let end = bench.clean(Offset(0), 10_000);
    bench.clean(end, 10_500);
    let batches = bench.batches();
    let empty = |bytes: &&Bytes| crate::batch::Batch::new(bytes).unwrap().record_count() == 0;
    assert_eq!(
        batches.iter().filter(empty).count(),
        2,
        "of two producers nothing but their sequence is left"
    );
    let follower = Bench::new(&[("segment.bytes", "600")]);
    while follower.log_end_offset() < bench.log_end_offset() {
        let slice = bench
            .read(follower.log_end_offset(), 200, bench.log_end_offset(), true)
            .unwrap();
        follower
            .append_as_follower(slice.read().unwrap(), LeaderEpoch(3), Millis(0))
            .unwrap();
        follower.update_high_watermark(follower.log_end_offset());
    }
    assert_eq!(follower.batches(), batches);
    assert_eq!(follower.committed(), bench.committed());
    let producers = |bench: &Bench| {
        let mut all: Vec<_> = bench
            .active_producers()
            .iter()
            .map(|p| (p.producer_id, p.last_sequence))
            .collect();
        all.sort();
        all
    };
    assert_eq!(producers(&follower), producers(&bench));
    let aborted = |bench: &Bench| bench.aborted_transactions(Offset(0), bench.log_end_offset()).unwrap();
    let offsets = |bench: &Bench| {
        aborted(bench)
            .iter()
            .map(|a| (a.producer_id, a.last_offset))
            .collect::<Vec<_>>()
    };
    assert_eq!(offsets(&follower), offsets(&bench));
}
