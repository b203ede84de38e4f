//! Log directories as a whole: opening, failing, deleting, stopping.

use std::sync::mpsc;

use bytes::Bytes;
use model::LeaderEpoch;

use super::*;
use crate::append::Origin;
use crate::checkpoint;
use crate::testing::{CLEAN, KILLED, batch, files, records, unpack};

const EPOCH: LeaderEpoch = LeaderEpoch(0);
const CLIENT: Origin = Origin::Client { api_version: 11 };

fn config(dirs: &[&Path]) -> LogsConfig {
    let mut config = LogsConfig::new(dirs.iter().map(|dir| (*dir).to_owned()).collect());
    config.defaults = LogConfig::from_broker(|name| match name {
        // As in the captured directories.
        "log.index.size.max.bytes" => Some("4096"),
        _ => None,
    })
    .unwrap();
    config.topic_overrides.insert(
        "plain".to_owned(),
        BTreeMap::from([
            ("segment.bytes".to_owned(), "2048".to_owned()),
            ("index.interval.bytes".to_owned(), "100".to_owned()),
        ]),
    );
    config
}

fn open(dir: &Path) -> Arc<Logs> {
    Logs::open(config(&[dir])).unwrap()
}

fn tp(topic: &str, partition: i32) -> TopicPartition {
    TopicPartition::new(topic, partition)
}

fn append(log: &Log, bytes: Bytes) -> Offset {
    log.append_as_leader(bytes, EPOCH, CLIENT, Millis(1000))
        .unwrap()
        .first_offset
}

fn check_sample(logs: &Logs, plain_end: i64) {
    let check = |topic: &str, partition: i32, start: i64, end: i64| {
        let log = logs.get(&tp(topic, partition)).unwrap();
        assert_eq!(log.log_start_offset(), Offset(start), "{topic}");
        assert_eq!(log.log_end_offset(), Offset(end), "{topic}");
        log
    };
    let all = |log: &Log| records(log, log.log_start_offset(), log.log_end_offset()).len() as i64;
    let plain = check("plain", 0, 45, plain_end);
    assert_eq!(all(&plain), plain_end - 45);
    assert_eq!(
        plain.end_offset_for_epoch(LeaderEpoch(0)).unwrap().end_offset,
        Offset(plain_end)
    );
    check("plain", 1, 0, 0);
    assert_eq!(all(&check("lat", 0, 0, 100)), 100);
    assert_eq!(all(&check("compacted", 0, 0, 330)), 40);
    check("magic0", 0, 0, 9);
    let magic1 = check("magic1", 0, 0, 9);
    // Four messages, of offsets 3 to 6, are in one wrapper.
    for (timestamp, offset) in [(1_795_250_354_067, 3), (1_795_250_354_070, 3), (1_795_250_354_071, 7)] {
        let found = magic1.offset_for_timestamp(Millis(timestamp)).unwrap().unwrap();
        assert_eq!(found.offset, Offset(offset), "{timestamp}");
    }
    check("__consumer_offsets", 0, 0, 31);
    check("__transaction_state", 0, 0, 28);

    // A transaction is open from 38 on; what readers of committed records see below that is in the capture's notes.
    let txn = check("txn", 0, 0, 41);
    txn.update_high_watermark(Offset(41));
    assert_eq!(txn.last_stable_offset(), Offset(38));
    let below = records(&txn, Offset(0), txn.last_stable_offset());
    let aborted = txn.aborted_transactions(Offset(0), Offset(38)).unwrap();
    let committed = below
        .iter()
        .filter(|(offset, _)| {
            !aborted
                .iter()
                .any(|t| (t.first_offset.0..=t.last_offset.0).contains(offset))
        })
        .count();
    assert_eq!(committed, 16);
    assert_eq!(txn.active_producers().len(), 3);
}

#[test]
fn kafkas_directory_after_a_clean_stop_opens_and_is_left_as_it_was() {
    let temporary = tempfile::tempdir().unwrap();
    unpack(CLEAN, temporary.path());
    let dir = temporary.path().join("log-dir");
    let before = files(&dir);
    let logs = open(&dir);
    check_sample(&logs, 210);
    assert_eq!(logs.previous_broker_epoch(), BrokerEpoch(-1));
    assert!(!dir.join(".kafka_cleanshutdown").exists());
    assert_eq!(
        std::fs::metadata(dir.join("lat-0/00000000000000000000.index"))
            .unwrap()
            .len(),
        4096
    );
    let report = logs.shutdown(BrokerEpoch(-1));
    assert_eq!(report.clean, std::slice::from_ref(&dir));
    let after = files(&dir);
    for (name, content) in &before {
        if name.contains("checkpoint") && !name.contains('/') {
            let read = |content: &[u8]| checkpoint::decode_offsets(std::str::from_utf8(content).unwrap()).unwrap();
            assert_eq!(read(&after[name]), read(content), "{name}");
        } else if ["magic0-0/leader", "magic1-0/leader", "plain-1/leader"]
            .iter()
            .any(|n| name.starts_with(n))
        {
            // An epoch without a record is forgotten when a log is loaded, also by Kafka; its leader says it again.
            assert_eq!(after[name], b"0\n0\n", "{name}");
        } else {
            assert_eq!(after.get(name), Some(content), "{name}");
        }
    }
    let added: Vec<_> = after.keys().filter(|name| !before.contains_key(*name)).collect();
    assert_eq!(added, [".lock"]);
}

#[test]
fn kafkas_directory_after_a_kill_is_recovered() {
    let temporary = tempfile::tempdir().unwrap();
    unpack(KILLED, temporary.path());
    let dir = temporary.path().join("log-dir");
    let logs = open(&dir);
    check_sample(&logs, 220);
    // The recovery point is a promise about the device: recovery alone does not move it.
    assert_eq!(logs.get(&tp("plain", 0)).unwrap().recovery_point(), Offset(210));
    logs.shutdown(BrokerEpoch(3));
    let logs = open(&dir);
    check_sample(&logs, 220);
    assert_eq!(logs.previous_broker_epoch(), BrokerEpoch(3));
}

#[test]
fn records_are_there_after_a_stop_and_after_a_crash() {
    let dir = tempfile::tempdir().unwrap();
    let logs = open(dir.path());
    let id = "YZ3qIQ53SGabhNKf04TPNQ".parse().unwrap();
    let log = logs.get_or_create(&tp("plain", 0), Some(id), None).unwrap();
    log.assign_epoch_start(LeaderEpoch(0), Offset(0)).unwrap();
    for i in 0..100 {
        assert_eq!(append(&log, batch(i, &["a", "b"])), Offset(2 * i));
    }
    assert!(log.segment_count() > 3);
    log.update_high_watermark(Offset(150));
    let all = records(&log, Offset(0), Offset(200));
    assert_eq!(all.len(), 200);
    logs.shutdown(BrokerEpoch(1));
    assert!(
        log.append_as_leader(batch(0, &["late"]), EPOCH, CLIENT, Millis(0))
            .is_err()
    );

    let logs = open(dir.path());
    let log = logs.get(&tp("plain", 0)).unwrap();
    assert_eq!(log.topic_id(), Some(id));
    assert_eq!(log.high_watermark(), Offset(150));
    assert_eq!(log.recovery_point(), Offset(200));
    assert_eq!(records(&log, Offset(0), Offset(200)), all);
    for i in 0..10 {
        append(&log, batch(i, &["c"]));
    }
    drop((log, logs));

    let logs = open(dir.path());
    let log = logs.get(&tp("plain", 0)).unwrap();
    assert_eq!(log.log_end_offset(), Offset(210));
    assert_eq!(records(&log, Offset(0), Offset(210))[..200], all);
    assert_eq!(log.latest_epoch(), Some(LeaderEpoch(0)));
}

#[test]
fn a_deleted_log_is_renamed_and_later_removed_and_its_offsets_are_forgotten() {
    let dir = tempfile::tempdir().unwrap();
    let logs = open(dir.path());
    logs.set_topic_overrides(
        "gone",
        BTreeMap::from([("file.delete.delay.ms".to_owned(), "1".to_owned())]),
    );
    let log = logs.get_or_create(&tp("gone", 0), None, None).unwrap();
    append(&log, batch(0, &["a"]));
    log.update_high_watermark(Offset(1));
    logs.checkpoint_high_watermarks();
    assert!(logs.delete(&tp("gone", 0)).unwrap());
    assert!(!logs.delete(&tp("gone", 0)).unwrap());
    assert!(logs.get(&tp("gone", 0)).is_none());
    assert!(log.read(Offset(0), 10, Offset(1), true).is_err());
    assert!(!dir.path().join("gone-0").exists());
    let again = logs.get_or_create(&tp("gone", 0), None, None).unwrap();
    assert_eq!(again.log_end_offset(), Offset(0));
    let deadline = std::time::Instant::now() + Duration::from_secs(20);
    let forgotten = || {
        let offsets = checkpoint::read(&Disk::real(), dir.path(), checkpoint::HIGH_WATERMARK).unwrap();
        let gone = !std::fs::read_dir(dir.path())
            .unwrap()
            .any(|e| e.unwrap().file_name().to_string_lossy().ends_with("-delete"));
        gone && offsets[&tp("gone", 0)] == Offset(0)
    };
    while !forgotten() {
        assert!(std::time::Instant::now() < deadline, "the files of a deleted log stay");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn new_logs_go_where_the_fewest_are_and_a_failed_directory_takes_only_its_own() {
    let (a, b) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    struct FailsIn(PathBuf);
    impl crate::disk::Faults for FailsIn {
        fn decide(&self, operation: crate::disk::Operation, path: &Path) -> crate::disk::Verdict {
            // EIO on every write of records into this directory's logs.
            let write = matches!(operation, crate::disk::Operation::Write(_));
            if write && path.starts_with(&self.0) && path.extension().is_some_and(|e| e == "log") {
                crate::disk::Verdict::Fail(5)
            } else {
                crate::disk::Verdict::Go
            }
        }
    }
    let mut config = config(&[a.path(), b.path()]);
    config.disk = Disk::faulty(Arc::new(FailsIn(b.path().to_owned())));
    let logs = Logs::open(config).unwrap();
    let (tell, told) = mpsc::channel();
    logs.on_failure(move |failure| tell.send(failure.clone()).unwrap());
    let created: Vec<_> = (0..4)
        .map(|p| logs.get_or_create(&tp("t", p), None, None).unwrap())
        .collect();
    let in_a = created.iter().filter(|log| log.parent_dir() == a.path()).count();
    assert_eq!(in_a, 2);
    let failing = created.iter().find(|log| log.parent_dir() == b.path()).unwrap();
    let error = failing
        .append_as_leader(batch(0, &["a"]), EPOCH, CLIENT, Millis(0))
        .unwrap_err();
    assert!(matches!(error, crate::log::AppendError::Disk(_)), "{error}");
    let failure = told.recv_timeout(Duration::from_secs(20)).unwrap();
    assert_eq!(failure.dir, b.path());
    assert_eq!(failure.partitions.len(), 2);
    assert_eq!(logs.live_dirs(), [a.path()]);
    assert!(failing.is_offline());
    assert!(logs.get(failing.topic_partition()).is_none());
    // It may not be created anew elsewhere while its records are on a disk that is only away.
    assert!(logs.get_or_create(failing.topic_partition(), None, None).is_err());
    let working = created.iter().find(|log| log.parent_dir() == a.path()).unwrap();
    append(working, batch(0, &["a"]));
    let fifth = logs.get_or_create(&tp("t", 4), None, None).unwrap();
    assert_eq!(fifth.parent_dir(), a.path());
    let (tell, told) = mpsc::channel();
    logs.on_failure(move |failure| tell.send(failure.dir.clone()).unwrap());
    assert_eq!(told.recv().unwrap(), b.path());
    let report = logs.shutdown(BrokerEpoch(1));
    assert_eq!(report.clean, [a.path()]);
    assert_eq!(report.unclean.len(), 1);
    assert!(!b.path().join(".kafka_cleanshutdown").exists());
}

#[test]
fn a_start_is_refused_where_directories_contradict_each_other() {
    let (a, b) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    assert!(matches!(
        Logs::open(config(&[a.path(), a.path()])),
        Err(OpenError::Duplicate(_))
    ));
    let running = open(a.path());
    assert!(matches!(Logs::open(config(&[a.path()])), Err(OpenError::Locked(_))));
    drop(running);
    for dir in [&a, &b] {
        std::fs::create_dir(dir.path().join("t-0")).unwrap();
    }
    assert!(matches!(
        Logs::open(config(&[a.path(), b.path()])),
        Err(OpenError::DuplicateLog { .. })
    ));
    std::fs::create_dir(a.path().join("lost+found")).unwrap();
    assert!(matches!(
        Logs::open(config(&[a.path()])),
        Err(OpenError::ForeignDirectory { .. })
    ));
    let file = a.path().join("file");
    std::fs::write(&file, "x").unwrap();
    assert!(matches!(Logs::open(config(&[&file])), Err(OpenError::NoUsableDir(_))));
    // One that works is enough.
    let logs = Logs::open(config(&[&file, b.path()])).unwrap();
    assert_eq!(logs.live_dirs(), [b.path()]);
    assert!(logs.dirs()[0].offline.is_some());
}

#[test]
fn overrides_reach_logs_at_once_and_bad_values_are_passed_over() {
    let dir = tempfile::tempdir().unwrap();
    let logs = open(dir.path());
    let log = logs.get_or_create(&tp("t", 0), None, None).unwrap();
    logs.set_topic_overrides(
        "t",
        BTreeMap::from([
            ("retention.ms".to_owned(), "5".to_owned()),
            ("segment.bytes".to_owned(), "nonsense".to_owned()),
        ]),
    );
    assert_eq!(log.config().retention_ms, Millis(5));
    assert_eq!(log.config().segment_bytes, 1 << 30);
    logs.set_defaults(LogConfig::from_broker(|n| (n == "log.segment.bytes").then_some("1000")).unwrap());
    assert_eq!(
        (log.config().retention_ms, log.config().segment_bytes),
        (Millis(5), 1000)
    );
    logs.set_topic_overrides("t", BTreeMap::new());
    assert_eq!(log.config().retention_ms, Millis(604_800_000));
}

#[test]
fn the_directories_say_what_is_in_them() {
    let dir = tempfile::tempdir().unwrap();
    let logs = open(dir.path());
    let log = logs.get_or_create(&tp("t", 0), None, None).unwrap();
    append(&log, batch(0, &["a"]));
    let [status] = &logs.dirs()[..] else {
        panic!("one directory")
    };
    assert_eq!(status.offline, None);
    assert!(status.total_bytes > 0 && status.usable_bytes > 0);
    assert_eq!(status.logs[0].bytes, log.size_bytes());
    assert_eq!(status.logs[0].log_end_offset, Offset(1));
}

/// Two directories, and a log with two batches in the first of them.
struct TwoDirs {
    a: tempfile::TempDir,
    b: tempfile::TempDir,
    logs: Arc<Logs>,
    log: Arc<Log>,
}

impl TwoDirs {
    fn new() -> Self {
        let (a, b) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let logs = Logs::open(config(&[a.path(), b.path()])).unwrap();
        let log = logs.get_or_create(&tp("moved", 0), None, Some(a.path())).unwrap();
        append(&log, batch(1, &["x", "y"]));
        append(&log, batch(2, &["z"]));
        log.update_high_watermark(Offset(2));
        Self { a, b, logs, log }
    }

    fn copy(&self, future: &Log) {
        let slice = self.log.read(Offset(0), 1 << 20, Offset(3), true).unwrap();
        future
            .append_as_follower(slice.read().unwrap(), EPOCH, Millis(1))
            .unwrap();
    }

    fn names(&self, dir: &Path) -> Vec<String> {
        let all = std::fs::read_dir(dir).unwrap().map(|it| it.unwrap().file_name());
        let mut names: Vec<_> = all.map(|name| name.into_string().unwrap()).collect();
        names.retain(|name| name.starts_with("moved"));
        // Without what makes them unique.
        names
            .iter()
            .map(|name| name.replace(|c: char| c.is_ascii_hexdigit() && !"ed".contains(c), ""))
            .collect()
    }
}

#[test]
fn a_complete_copy_takes_the_place_of_its_log() {
    let it = TwoDirs::new();
    it.log.assign_epoch_start(LeaderEpoch(5), Offset(3)).unwrap();
    let future = it.logs.create_future(&tp("moved", 0), None, it.b.path()).unwrap();
    let in_b = std::fs::read_dir(it.b.path())
        .unwrap()
        .map(|it| it.unwrap().file_name());
    assert!(in_b.into_iter().any(|name| name.to_str().unwrap().ends_with("-future")));
    it.copy(&future);
    let now = it.logs.replace_with_future(&tp("moved", 0)).unwrap().unwrap();
    assert!(Arc::ptr_eq(&now, &it.logs.get(&tp("moved", 0)).unwrap()));
    assert_eq!(now.dir().as_ref(), it.b.path().join("moved-0"));
    assert_eq!(now.high_watermark(), Offset(2));
    assert_eq!(now.latest_epoch(), Some(LeaderEpoch(5)), "announced without a record");
    assert!(it.logs.future(&tp("moved", 0)).is_none());
    assert!(
        it.names(it.a.path()).iter().all(|name| name.ends_with("-delete")),
        "{:?}",
        it.names(it.a.path())
    );
    // It goes on as a log like any other, over a restart too.
    append(&now, batch(3, &["after"]));
    it.logs.shutdown(BrokerEpoch(-1));
    let again = Logs::open(config(&[it.a.path(), it.b.path()])).unwrap();
    let log = again.get(&tp("moved", 0)).unwrap();
    assert_eq!(log.parent_dir(), it.b.path());
    assert_eq!(records(&log, Offset(0), Offset(4)).len(), 4);
}

#[test]
fn a_copy_on_its_way_survives_a_restart() {
    let it = TwoDirs::new();
    let future = it.logs.create_future(&tp("moved", 0), None, it.b.path()).unwrap();
    it.copy(&future);
    future.update_high_watermark(Offset(1));
    let report = it.logs.shutdown(BrokerEpoch(-1));
    assert_eq!(report.clean.len(), 2);
    let again = Logs::open(config(&[it.a.path(), it.b.path()])).unwrap();
    let future = again.future(&tp("moved", 0)).unwrap();
    assert_eq!(future.parent_dir(), it.b.path());
    assert_eq!(
        (future.log_end_offset(), future.high_watermark()),
        (Offset(3), Offset(1))
    );
    let sizes = again.dirs();
    let listed: Vec<_> = sizes[1]
        .logs
        .iter()
        .map(|log| (log.log_end_offset, log.is_future))
        .collect();
    assert_eq!(listed, [(Offset(3), true)]);
}

#[test]
fn a_copy_goes_with_its_log_and_alone_when_it_is_given_up() {
    let it = TwoDirs::new();
    it.logs.create_future(&tp("moved", 0), None, it.b.path()).unwrap();
    assert!(it.logs.abandon_future(&tp("moved", 0)).unwrap());
    assert!(!it.logs.abandon_future(&tp("moved", 0)).unwrap());
    assert!(it.names(it.b.path()).iter().all(|name| name.ends_with("-delete")));
    assert!(it.logs.get(&tp("moved", 0)).is_some());
    it.logs.create_future(&tp("moved", 0), None, it.b.path()).unwrap();
    assert!(it.logs.delete(&tp("moved", 0)).unwrap());
    assert!(it.logs.future(&tp("moved", 0)).is_none());
    assert!(it.names(it.b.path()).iter().all(|name| name.ends_with("-delete")));
}

#[test]
fn where_a_replica_cannot_go() {
    let it = TwoDirs::new();
    let long = tp(&"x".repeat(240), 0);
    let check = |partition: &TopicPartition, dir: &Path, expected: &str| {
        let error = it.logs.check_destination(partition, dir).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    };
    check(&long, it.b.path(), "too long");
    check(&tp("moved", 0), Path::new("/nowhere"), "not found in the config");
    it.logs.dirs[1].home.fail_for("gone".to_owned());
    check(&tp("moved", 0), it.b.path(), "is offline");
    let error = it.logs.create_future(&tp("moved", 0), None, it.a.path()).unwrap_err();
    assert!(matches!(error, MoveError::DirsOffline { .. }), "{error}");
}

#[test]
fn a_failed_destination_ends_the_move_and_not_the_log() {
    let it = TwoDirs::new();
    it.logs.create_future(&tp("moved", 0), None, it.b.path()).unwrap();
    let (tell, told) = mpsc::channel();
    it.logs.on_failure(move |failure| tell.send(failure.clone()).unwrap());
    it.logs.dirs[1].home.fail_for("gone".to_owned());
    let failure = told.recv_timeout(Duration::from_secs(10)).unwrap();
    assert_eq!((failure.partitions, failure.futures), (vec![], vec![tp("moved", 0)]));
    assert!(it.logs.future(&tp("moved", 0)).is_none());
    append(&it.log, batch(3, &["goes on"]));
}

#[test]
fn a_log_is_created_where_it_was_asked_to_be() {
    let it = TwoDirs::new();
    for (partition, dir) in [(1, it.a.path()), (2, it.a.path()), (3, it.b.path())] {
        it.logs.prefer_dir(&tp("moved", partition), dir);
        let log = it.logs.get_or_create(&tp("moved", partition), None, None).unwrap();
        assert_eq!(log.parent_dir(), dir);
    }
}
