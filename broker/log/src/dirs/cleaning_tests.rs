//! The cleaner over several logs and directories.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use model::{BrokerEpoch, LeaderEpoch, Millis, Offset, TopicPartition};

use super::{Logs, LogsConfig};
use crate::append::Origin;
use crate::batch::{Entries, Entry};
use crate::checkpoint;
use crate::cleaner::CleanerConfig;
use crate::disk::Disk;
use crate::log::Log;
use crate::testing::{batch, records};

fn config(dirs: &[&Path], cleaner: CleanerConfig) -> LogsConfig {
    let mut config = LogsConfig::new(dirs.iter().map(|dir| (*dir).to_owned()).collect());
    let overrides = [("cleanup.policy", "compact"), ("segment.bytes", "400")];
    let overrides = overrides.map(|(key, value)| (key.to_owned(), value.to_owned()));
    for topic in ["a", "b"] {
        config
            .topic_overrides
            .insert(topic.to_owned(), overrides.clone().into());
    }
    config.cleaner = cleaner;
    config
}

/// Threads that never wake by themselves.
fn by_hand() -> CleanerConfig {
    CleanerConfig {
        enable: false,
        ..CleanerConfig::default()
    }
}

fn open(dirs: &[&Path]) -> Arc<Logs> {
    Logs::open(config(dirs, by_hand())).unwrap()
}

fn tp(topic: &str) -> TopicPartition {
    TopicPartition::new(topic, 0)
}

/// Appends `count` records of one key, and makes them committed.
fn fill(log: &Log, count: usize) {
    for i in 0..count {
        log.append_as_leader(
            batch(i as i64, &["0123456789"]),
            LeaderEpoch(0),
            Origin::Client { api_version: 11 },
            Millis(1000),
        )
        .unwrap();
    }
    log.increment_high_watermark(log.log_end_offset());
}

fn filled(logs: &Arc<Logs>, topic: &str, dir: Option<&Path>, count: usize) -> Arc<Log> {
    let log = logs.get_or_create(&tp(topic), None, dir).unwrap();
    fill(&log, count);
    log
}

fn active_base(log: &Log) -> Offset {
    log.segments().last().unwrap().base_offset()
}

fn left(log: &Log) -> usize {
    records(log, log.log_start_offset(), log.log_end_offset()).len()
}

fn on_disk(dir: &Path, topic: &str) -> Option<Offset> {
    let offsets = checkpoint::read(&Disk::real(), dir, checkpoint::CLEANER_OFFSET).unwrap();
    offsets.get(&tp(topic)).copied()
}

fn eventually(what: &str, condition: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !condition() {
        assert!(Instant::now() < deadline, "{what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn the_dirtiest_log_comes_first_and_the_checkpoint_says_how_far_it_is_clean() {
    let dir = tempfile::tempdir().unwrap();
    let logs = open(&[dir.path()]);
    let (a, b) = (filled(&logs, "a", None, 20), filled(&logs, "b", None, 20));
    assert!(logs.clean_dirtiest() && logs.clean_dirtiest());
    assert!(!logs.clean_dirtiest(), "nothing is dirty");
    assert_eq!(logs.cleaned_offset(&tp("a")), Some(active_base(&a)));
    assert_eq!(on_disk(dir.path(), "b"), Some(active_base(&b)));
    assert!(left(&a) < 8, "{}", left(&a));
    // Half of a is dirty, and much more of b.
    fill(&a, 8);
    fill(&b, 100);
    assert!(logs.clean_dirtiest());
    assert_eq!(on_disk(dir.path(), "b"), Some(active_base(&b)));
    assert!(on_disk(dir.path(), "a") < Some(active_base(&a)));
    let status = logs.cleaner_status();
    assert_eq!((status.cleanings, status.uncleanable.len(), status.panics), (3, 0, 0));
    assert!(
        status.max_dirty_percent > 90 && status.recopy_percent < 50,
        "{status:?}"
    );
    // A start goes on from there.
    let clean = on_disk(dir.path(), "b");
    logs.shutdown(BrokerEpoch(1));
    drop((a, b, logs));
    let logs = open(&[dir.path()]);
    assert_eq!(logs.cleaned_offset(&tp("b")), clean);
}

#[test]
fn a_log_that_is_always_the_dirtiest_does_not_keep_the_cleaner_from_others() {
    let dir = tempfile::tempdir().unwrap();
    let logs = open(&[dir.path()]);
    let (busy, other) = (filled(&logs, "a", None, 40), filled(&logs, "b", None, 12));
    // What is clean in the other one makes it less dirty than the busy one is each time.
    while logs.clean_dirtiest() {}
    fill(&other, 20);
    let clean = on_disk(dir.path(), "b");
    let mut rounds = 0;
    while on_disk(dir.path(), "b") == clean {
        fill(&busy, 100);
        assert!(logs.clean_dirtiest());
        rounds += 1;
        assert!(rounds < 20, "it waits for ever");
    }
    assert!(rounds > 1, "the dirtiest comes first");
}

#[test]
fn a_topic_that_is_not_compacted_is_left_alone_until_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let logs = open(&[dir.path()]);
    let log = filled(&logs, "a", None, 20);
    let overrides = logs.topic_overrides("a");
    let mut deleting = overrides.clone();
    deleting.insert("cleanup.policy".to_owned(), "delete".to_owned());
    logs.set_topic_overrides("a", deleting);
    assert!(!logs.clean_dirtiest());
    assert_eq!(left(&log), 20);
    logs.set_topic_overrides("a", overrides);
    assert!(logs.clean_dirtiest());
    assert!(left(&log) < 8);
}

#[test]
fn what_was_truncated_and_written_anew_is_dirty() {
    let dir = tempfile::tempdir().unwrap();
    let logs = open(&[dir.path()]);
    let log = filled(&logs, "a", None, 40);
    assert!(logs.clean_dirtiest());
    let clean = on_disk(dir.path(), "a").unwrap();
    log.truncate_to(Offset(10)).unwrap();
    fill(&log, 60);
    assert!(logs.clean_dirtiest());
    assert!(on_disk(dir.path(), "a").unwrap() > clean);
    assert!(left(&log) < 8, "{}", left(&log));
    // Also where the broker stops before the cleaner looks again.
    log.truncate_to(Offset(10)).unwrap();
    logs.shutdown(BrokerEpoch(1));
    assert_eq!(on_disk(dir.path(), "a"), Some(Offset(10)));
}

#[test]
fn a_deleted_logs_successor_begins_anew() {
    let dir = tempfile::tempdir().unwrap();
    let logs = open(&[dir.path()]);
    drop(filled(&logs, "a", None, 40));
    assert!(logs.clean_dirtiest());
    logs.delete(&tp("a")).unwrap();
    let log = filled(&logs, "a", None, 50);
    assert_eq!(logs.cleaned_offset(&tp("a")), None);
    eventually("the file forgets it", || on_disk(dir.path(), "a").is_none());
    assert!(logs.clean_dirtiest());
    assert_eq!(on_disk(dir.path(), "a"), Some(active_base(&log)));
}

#[test]
fn a_moved_log_takes_its_checkpoint_along() {
    let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let logs = open(&[one.path(), two.path()]);
    let log = filled(&logs, "a", Some(one.path()), 40);
    assert!(logs.clean_dirtiest());
    let clean = on_disk(one.path(), "a").unwrap();
    let future = logs.create_future(&tp("a"), None, two.path()).unwrap();
    let mut next = Offset(0);
    while next < log.log_end_offset() {
        let slice = log.read(next, 1 << 20, log.log_end_offset(), true).unwrap();
        future
            .append_as_follower(slice.read().unwrap(), LeaderEpoch(9), Millis(0))
            .unwrap();
        next = future.log_end_offset();
    }
    logs.replace_with_future(&tp("a")).unwrap().unwrap();
    assert_eq!(logs.cleaned_offset(&tp("a")), Some(clean));
    eventually("the files follow", || {
        on_disk(one.path(), "a").is_none() && on_disk(two.path(), "a") == Some(clean)
    });
}

#[test]
fn a_log_that_cannot_be_cleaned_is_set_aside_while_others_go_on() {
    let dir = tempfile::tempdir().unwrap();
    let logs = open(&[dir.path()]);
    let (a, b) = (filled(&logs, "a", None, 40), filled(&logs, "b", None, 20));
    let path = a.segments()[1].path();
    let mut content = std::fs::read(&path).unwrap();
    content[70] ^= 1;
    std::fs::write(&path, content).unwrap();
    // In whichever order.
    let cleaned = [(); 3].map(|()| logs.clean_dirtiest());
    assert_eq!(cleaned.iter().filter(|cleaned| **cleaned).count(), 1);
    assert_eq!(on_disk(dir.path(), "b"), Some(active_base(&b)));
    assert_eq!(on_disk(dir.path(), "a"), None);
    let [uncleanable] = &logs.cleaner_status().uncleanable[..] else {
        panic!("one is")
    };
    assert_eq!(
        (&uncleanable.partition, &uncleanable.dir),
        (&tp("a"), &dir.path().to_owned())
    );
    assert!(uncleanable.reason.contains("checksum"), "{}", uncleanable.reason);
    assert!(!a.is_offline());
    logs.delete(&tp("a")).unwrap();
    assert!(logs.cleaner_status().uncleanable.is_empty());
}

#[test]
fn threads_clean_by_themselves_and_follow_the_configuration() {
    let dir = tempfile::tempdir().unwrap();
    let fast = CleanerConfig {
        backoff_ms: Millis(5),
        ..CleanerConfig::default()
    };
    let logs = Logs::open(config(&[dir.path()], fast.clone())).unwrap();
    let log = filled(&logs, "a", None, 40);
    let is_clean = || logs.cleaned_offset(&tp("a")) == Some(active_base(&log));
    eventually("it is cleaned", is_clean);
    // No thread, no cleaning; and again with two.
    logs.set_cleaner_config(CleanerConfig {
        threads: 0,
        ..fast.clone()
    });
    std::thread::sleep(Duration::from_millis(50));
    fill(&log, 100);
    std::thread::sleep(Duration::from_millis(100));
    assert!(!is_clean());
    // A long rest ends with the configuration.
    logs.set_cleaner_config(CleanerConfig {
        backoff_ms: Millis(3_600_000),
        ..fast.clone()
    });
    logs.set_cleaner_config(CleanerConfig { threads: 2, ..fast });
    eventually("it is cleaned again", is_clean);
    logs.shutdown(BrokerEpoch(1));
}

#[test]
fn a_stop_does_not_wait_for_a_throttled_cleaning() {
    let dir = tempfile::tempdir().unwrap();
    let slow = CleanerConfig {
        backoff_ms: Millis(1),
        max_io_bytes_per_second: 1.0,
        ..CleanerConfig::default()
    };
    let logs = Logs::open(config(&[dir.path()], slow)).unwrap();
    let log = filled(&logs, "a", None, 40);
    eventually("it has begun", || {
        logs.cleaner_status().time_since_last_run.is_some() && logs.cleaner_status().max_dirty_percent > 0
    });
    let begin = Instant::now();
    logs.shutdown(BrokerEpoch(1));
    assert!(begin.elapsed() < Duration::from_secs(20));
    assert_eq!(on_disk(dir.path(), "a"), None);
    drop(log);
}

/// What Kafka cleaned is opened and read (the captured directory has a compacted log), and cleaned on.
#[test]
fn a_log_that_kafka_cleaned_is_cleaned_on() {
    let dir = tempfile::tempdir().unwrap();
    crate::testing::unpack(crate::testing::CLEAN, dir.path());
    let path: PathBuf = dir.path().join("log-dir");
    let mut config = LogsConfig::new(vec![path.clone()]);
    config.cleaner = by_hand();
    let overrides = [
        ("cleanup.policy", "compact"),
        ("segment.bytes", "1000"),
        ("min.cleanable.dirty.ratio", "0.0"),
    ];
    let overrides: BTreeMap<_, _> = overrides.map(|(k, v)| (k.to_owned(), v.to_owned())).into();
    for topic in [
        "compacted",
        "magic0",
        "magic1",
        "txn",
        "__consumer_offsets",
        "__transaction_state",
    ] {
        config.topic_overrides.insert(topic.to_owned(), overrides.clone());
    }
    let logs = Logs::open(config).unwrap();
    let log = logs.get(&tp("compacted")).unwrap();
    log.update_high_watermark(log.log_end_offset());
    let before = table(&log);
    for log in logs.all() {
        log.update_high_watermark(log.log_end_offset());
        fill(&log, 12);
    }
    let mut cleanings = 0;
    while logs.clean_dirtiest() {
        cleanings += 1;
        assert!(cleanings < 50, "it ends");
    }
    let status = logs.cleaner_status();
    assert!(status.uncleanable.is_empty() && cleanings > 3, "{status:?}");
    let after = table(&log);
    assert_eq!(after, before);
    logs.shutdown(BrokerEpoch(1));
}

/// The newest offset and value of each key but that of [`fill`].
fn table(log: &Log) -> BTreeMap<Vec<u8>, (Offset, Vec<u8>)> {
    let mut table = BTreeMap::new();
    let mut next = log.log_start_offset();
    while next < log.log_end_offset() {
        let slice = log.read(next, 1 << 20, log.log_end_offset(), true).unwrap();
        for entry in Entries::new(&slice.read().unwrap()) {
            let entry = entry.unwrap();
            next = entry.last_offset().next();
            let Entry::Batch(batch) = entry else { panic!("format 2") };
            let mut scratch = Vec::new();
            for record in batch.records(&mut scratch, 1 << 20).unwrap() {
                let record = record.unwrap();
                let key = record.key.unwrap().to_vec();
                match record.value {
                    Some(value) => table.insert(key, (record.offset, value.to_vec())),
                    None => table.remove(&key),
                };
            }
        }
    }
    table.remove(&b"k"[..]);
    table
}
