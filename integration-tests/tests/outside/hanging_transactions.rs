//! Transactions in a partition: readers of committed records, partitions that nobody added, transactions that nobody ends,
//! and directories with all of them that go from us to Kafka and back.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use integration_tests::{Broker, Cluster, Connection, Scene, TransactionalProducer, eventually, kafka, kcat};

const LONG: Duration = Duration::from_secs(900);
const INVALID_TXN_STATE: i16 = 48;
const INVALID_PRODUCER_EPOCH: i16 = 47;
const UNKNOWN_TOPIC_OR_PARTITION: i16 = 3;

fn setup(scene: &Scene) -> integration_tests::BrokerSetup {
    scene
        .broker(1)
        .set("transaction.state.log.num.partitions", "2")
        .set("transaction.abort.timed.out.transaction.cleanup.interval.ms", "500")
        .set("log.cleaner.enable", "false")
}

/// The values that a reader of committed records gets, from the start to the last stable offset.
fn committed(broker: &Broker, topic: &str) -> Vec<String> {
    let at = broker.bootstrap();
    let read = ["-b", &at, "-C", "-t", topic, "-p", "0", "-o", "beginning", "-e", "-q"];
    let how = [
        "-X",
        "isolation.level=read_committed",
        "-X",
        "check.crcs=true",
        "-f",
        "%o %s\n",
    ];
    let words = [&read[..], &how[..]].concat();
    let out = eventually(30, "committed records are read", || match kcat(&words).says() {
        // It has only just begun to lead.
        out if out.contains("ERROR") => Err(out),
        out => Ok(out),
    });
    out.lines().map(str::to_owned).collect()
}

fn transactions(broker: &Broker, words: &[&str]) -> String {
    let at = broker.bootstrap();
    kafka("kafka-transactions", &[&["--bootstrap-server", &at], words].concat()).succeeds()
}

/// The row of `describe-producers` of a producer, by the headings.
fn producer(broker: &Broker, topic: &str, producer_id: i64) -> BTreeMap<String, String> {
    let out = transactions(broker, &["describe-producers", "--topic", topic, "--partition", "0"]);
    let rows: Vec<Vec<&str>> = out.lines().map(|line| line.split_whitespace().collect()).collect();
    let heading = rows.iter().find(|row| row.first() == Some(&"ProducerId"));
    let row = rows
        .iter()
        .find(|row| row.first() == Some(&producer_id.to_string().as_str()));
    match (heading, row) {
        (Some(heading), Some(row)) => {
            let pairs = heading
                .iter()
                .zip(row)
                .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
            pairs.collect()
        }
        _ => panic!("producer {producer_id} is not in {out}"),
    }
}

#[test]
fn a_partition_that_was_not_added_to_a_transaction_is_not_written() {
    let scene = Scene::new("not-added");
    let broker = setup(&scene).start();
    broker.create_topic("t", 2, &[]);
    let mut writer = TransactionalProducer::begin(broker.port(), "writer", LONG).unwrap();
    assert_eq!(writer.write("t", 0, &["a"]).unwrap().error, INVALID_TXN_STATE);
    writer.add_partition("t", 1).unwrap();
    assert_eq!(
        writer.write("t", 0, &["a"]).unwrap().error,
        INVALID_TXN_STATE,
        "another one was"
    );
    writer.add_partition("t", 0).unwrap();
    assert_eq!(writer.write("t", 0, &["a"]).unwrap().base_offset, 0);
    assert_eq!(writer.write("t", 0, &["b"]).unwrap().base_offset, 1);
    assert_eq!(committed(&broker, "t"), Vec::<String>::new(), "the transaction is open");
    writer.end(true).unwrap();
    eventually(10, "the marker", || match committed(&broker, "t") {
        read if read == ["0 a", "1 b"] => Ok(()),
        read => Err(format!("{read:?}")),
    });
    // The next transaction begins anew.
    assert_eq!(writer.write("t", 0, &["c"]).unwrap().error, INVALID_TXN_STATE);

    // A newer instance has fenced it, and may write.
    let mut next = TransactionalProducer::begin(broker.port(), "writer", LONG).unwrap();
    assert_eq!((next.producer_id, next.epoch), (writer.producer_id, writer.epoch + 1));
    next.add_partition("t", 0).unwrap();
    assert_eq!(writer.write("t", 0, &["c"]).unwrap().error, INVALID_PRODUCER_EPOCH);
    assert_eq!(next.write("t", 0, &["d"]).unwrap().error, 0);
    next.end(false).unwrap();
    assert_eq!(committed(&broker, "t"), ["0 a", "1 b"]);
}

/// Lets partitions be written that nobody has added.
fn stop_verifying(broker: &Broker) {
    let at = broker.bootstrap();
    let whom = [
        "--bootstrap-server",
        &at,
        "--alter",
        "--entity-type",
        "brokers",
        "--entity-default",
    ];
    let what = ["--add-config", "transaction.partition.verification.enable=false"];
    kafka("kafka-configs", &[&whom[..], &what[..]].concat()).succeeds();
}

#[test]
fn a_transaction_is_verified_with_a_coordinator_elsewhere() {
    const NOT_ENOUGH_REPLICAS: i16 = 19;
    let mut cluster = Cluster::start(Scene::new("verified-elsewhere"), 2, |setup| {
        setup
            .set("transaction.state.log.num.partitions", "1")
            .set("request.timeout.ms", "3000")
    });
    let at = cluster.bootstrap();
    for id in ["1", "2"] {
        let topic = format!("on-{id}");
        let words = ["--create", "--topic", &topic, "--replica-assignment", id];
        kafka("kafka-topics", &[&["--bootstrap-server", &at], &words[..]].concat()).succeeds();
    }
    let ports = [cluster.broker(1).port(), cluster.broker(2).port()];
    let mut writer = TransactionalProducer::begin(ports[0], "writer", LONG).unwrap();
    let (here, there, leader) = if writer.coordinator() == ports[0] {
        (1, 2, ports[1])
    } else {
        (2, 1, ports[0])
    };
    writer.leader = Some(leader);
    let topic = format!("on-{there}");
    assert_eq!(writer.write(&topic, 0, &["a"]).unwrap().error, INVALID_TXN_STATE);
    writer.add_partition(&topic, 0).unwrap();
    assert_eq!(writer.write(&topic, 0, &["a"]).unwrap().error, 0);
    assert_eq!(writer.write(&topic, 0, &["b"]).unwrap().error, 0);
    writer.end(true).unwrap();
    eventually(10, "the marker is written elsewhere", || {
        match committed(cluster.broker(there), &topic) {
            read if read == ["0 a", "1 b"] => Ok(()),
            read => Err(format!("{read:?}")),
        }
    });
    // While nobody can be asked nothing begins, and producers shall send again.
    cluster.broker(here).kill();
    for _ in 0..3 {
        assert_eq!(writer.write(&topic, 0, &["c"]).unwrap().error, NOT_ENOUGH_REPLICAS);
    }
}

#[test]
fn a_hanging_transaction_is_found_and_aborted() {
    let scene = Scene::new("hanging");
    let broker = setup(&scene).start();
    broker.create_topic("t", 1, &[]);
    let mut writer = TransactionalProducer::begin(broker.port(), "writer", LONG).unwrap();
    assert_eq!(writer.write("t", 0, &["hangs"]).unwrap().error, INVALID_TXN_STATE);
    stop_verifying(&broker);
    writer.age = Duration::from_secs(3600);
    assert_eq!(writer.write("t", 0, &["hangs"]).unwrap().base_offset, 0);
    let at = broker.bootstrap();
    let mut other = TransactionalProducer::begin(broker.port(), "other", LONG).unwrap();
    other.add_partition("t", 0).unwrap();
    assert_eq!(other.write("t", 0, &["committed"]).unwrap().base_offset, 1);
    other.end(true).unwrap();
    assert_eq!(committed(&broker, "t"), Vec::<String>::new(), "held back by who hangs");

    let hangs = producer(&broker, "t", writer.producer_id);
    assert_eq!(hangs["CurrentTransactionStartOffset"], "0", "{hangs:?}");
    assert_eq!(hangs["LatestCoordinatorEpoch"], "-1", "{hangs:?}");
    let ended = eventually(10, "the marker of the other one", || {
        let ended = producer(&broker, "t", other.producer_id);
        match ended["CurrentTransactionStartOffset"] == "None" {
            true => Ok(ended),
            false => Err(format!("{ended:?}")),
        }
    });
    assert_ne!(ended["LatestCoordinatorEpoch"], "-1", "{ended:?}");

    let found = transactions(&broker, &["find-hanging", "--broker-id", "1"]);
    let row = found
        .lines()
        .find(|line| line.starts_with('t'))
        .unwrap_or_else(|| panic!("nothing found: {found}"));
    let row: Vec<&str> = row.split_whitespace().collect();
    let (id, epoch) = (writer.producer_id.to_string(), writer.epoch.to_string());
    assert_eq!(row[..5], ["t", "0", &id, &epoch, "-1"], "{found}");

    let wrong = ["abort", "--topic", "t", "--partition", "0", "--start-offset", "1"];
    let out = kafka(
        "kafka-transactions",
        &[&["--bootstrap-server", &at], &wrong[..]].concat(),
    )
    .fails();
    assert!(
        out.contains("Could not find any open transactions starting at offset 1"),
        "{out}"
    );
    transactions(
        &broker,
        &["abort", "--topic", "t", "--partition", "0", "--start-offset", "0"],
    );
    eventually(10, "readers go on", || match committed(&broker, "t") {
        read if read == ["1 committed"] => Ok(()),
        read => Err(format!("{read:?}")),
    });
    assert_eq!(
        producer(&broker, "t", writer.producer_id)["CurrentTransactionStartOffset"],
        "None"
    );
    assert!(!transactions(&broker, &["find-hanging", "--broker-id", "1"]).contains(&id));

    // As brokers before 3.0 had to be told.
    assert_eq!(writer.write("t", 0, &["hangs again"]).unwrap().error, 0);
    let older = [
        "--producer-id",
        &id,
        "--producer-epoch",
        &epoch,
        "--coordinator-epoch",
        "0",
    ];
    transactions(
        &broker,
        &[&["abort", "--topic", "t", "--partition", "0"], &older[..]].concat(),
    );
    assert_eq!(
        producer(&broker, "t", writer.producer_id)["CurrentTransactionStartOffset"],
        "None"
    );
    assert_eq!(committed(&broker, "t"), ["1 committed"]);
}

#[test]
fn markers_are_written_by_whom_the_partition_believes() {
    let scene = Scene::new("markers");
    let broker = setup(&scene)
        .set("transaction.partition.verification.enable", "false")
        .start();
    broker.create_topic("t", 1, &[]);
    TransactionalProducer::begin(broker.port(), "writer", LONG).unwrap();
    let mut writer = TransactionalProducer::begin(broker.port(), "writer", LONG).unwrap();
    assert_eq!(writer.write("t", 0, &["a"]).unwrap().base_offset, 0);
    let (id, epoch) = (writer.producer_id, writer.epoch);
    let mut coordinator = Connection::open(broker.port()).unwrap();
    let mut check = |name: &str, epoch: i16, coordinator_epoch: i32, topic: &str, expected: i16| {
        let code = coordinator
            .write_marker((id, epoch), false, coordinator_epoch, topic, 0)
            .unwrap();
        assert_eq!(code, expected, "{name}");
    };
    //    name                    epoch     coordinator's  topic   error
    check("no such topic", epoch, 5, "none", UNKNOWN_TOPIC_OR_PARTITION);
    check("an old producer", epoch - 1, 5, "t", INVALID_PRODUCER_EPOCH);
    check("nobody", -1, 5, "t", -1);
    check("aborted", epoch, 5, "t", 0);
    check("once more", epoch, 5, "t", 0);
    check("an old coordinator", epoch, 4, "t", 52);
    check("a newer producer", epoch + 1, 6, "t", 0);
    assert_eq!(
        writer.write("t", 0, &["b"]).unwrap().error,
        INVALID_PRODUCER_EPOCH,
        "fenced by a marker"
    );
    assert_eq!(committed(&broker, "t"), Vec::<String>::new());
}

/// What of a group is committed, once its coordinator answers.
fn committed_offset(broker: &Broker, group: &str) -> String {
    let at = broker.bootstrap();
    let words = ["--bootstrap-server", &at, "--describe", "--group", group];
    eventually(30, "the group's coordinator answers", || {
        let out = kafka("kafka-consumer-groups", &words).says();
        let row = out.lines().find(|line| line.contains(" t "));
        let offset = row.and_then(|row| row.split_whitespace().nth(3)).map(str::to_owned);
        offset.ok_or(out)
    })
}

#[test]
fn a_directory_with_transactions_goes_from_us_to_kafka_and_back() {
    let scene = Scene::new("transactions-there-and-back");
    let mut broker = setup(&scene).set("zookeeper.session.timeout.ms", "2000").start();
    broker.create_topic("t", 1, &[("segment.bytes", "1000")]);
    let begin = |id: &str| TransactionalProducer::begin(broker.port(), id, LONG).unwrap();
    let (mut one, mut two) = (begin("one"), begin("two"));
    let mut expected = Vec::new();
    let mut round = |one: &mut TransactionalProducer, commit: bool, offset: i64| {
        one.add_partition("t", 0).unwrap();
        for part in 0..3 {
            let value = format!("{offset}-{part} {}", "x".repeat(100));
            let answer = one.write("t", 0, &[&value]).unwrap();
            assert_eq!(answer.error, 0);
            if commit {
                expected.push(format!("{} {value}", answer.base_offset));
            }
        }
        one.commit_offset("group", "t", 0, offset).unwrap();
        one.end(commit).unwrap();
        expected.clone()
    };
    round(&mut one, true, 1);
    round(&mut one, false, 2);
    round(&mut one, true, 3);
    let before = round(&mut one, false, 4);
    // One is left open, in the partition and in the group.
    two.add_partition("t", 0).unwrap();
    assert_eq!(two.write("t", 0, &["open"]).unwrap().error, 0);
    two.commit_offset("group", "t", 0, 100).unwrap();
    let behind = round(&mut one, true, 5);

    let same = |broker: &Broker, expected: &[String], offset: &str, who: &str| {
        eventually(20, "committed records are read", || match committed(broker, "t") {
            read if read == expected => Ok(()),
            read => Err(format!("{who}: {read:?}")),
        });
        assert_eq!(committed_offset(broker, "group"), offset, "{who}");
    };
    same(&broker, &before, "5", "ours");
    broker.stop();
    dump(&broker.data());

    broker.become_kafka(true);
    broker.start_again();
    same(&broker, &before, "5", "Kafka after our clean stop");
    two.reconnect().unwrap();
    one.reconnect().unwrap();
    let answer = two.write("t", 0, &["open still"]).unwrap();
    assert_eq!(answer.error, 0, "Kafka knows the transaction that is open");
    let after = round(&mut one, true, 6);
    same(&broker, &before, "6", "Kafka, with the transaction still open");
    broker.kill();

    broker.become_kafka(false);
    broker.start_again();
    same(&broker, &before, "6", "ours after Kafka was killed");
    two.reconnect().unwrap();
    one.reconnect().unwrap();
    two.end(true).unwrap();
    let mut all = after;
    all.push(format!("{} open still", answer.base_offset));
    assert!(all.len() > behind.len());
    let opened = answer.base_offset;
    eventually(20, "the transaction ends", || {
        let read = committed(&broker, "t");
        match read.iter().any(|line| *line == format!("{opened} open still")) {
            true => Ok(()),
            false => Err(format!("{read:?}")),
        }
    });
    // What the transaction committed came before what the other one did later, though it ended later.
    let ended = committed(&broker, "t");
    assert_eq!(committed_offset(&broker, "group"), "6");
    broker.kill();
    dump(&broker.data());

    broker.become_kafka(true);
    broker.start_again();
    same(&broker, &ended, "6", "Kafka after ours was killed");
    one.reconnect().unwrap();
    round(&mut one, false, 7);
    same(&broker, &ended, "6", "Kafka, which has aborted one more");
    broker.stop();

    broker.become_kafka(false);
    broker.start_again();
    same(&broker, &ended, "6", "ours after Kafka's clean stop");
}

/// Lets the stock tool read every file of ours.
fn dump(data: &Path) {
    let mut kinds: BTreeMap<String, usize> = BTreeMap::new();
    let mut seen = String::new();
    for partition in std::fs::read_dir(data).expect("there are logs").flatten() {
        let name = partition.file_name().to_string_lossy().into_owned();
        if !partition.path().is_dir() || !(name.starts_with("t-") || name.starts_with("__")) {
            continue;
        }
        let mut files: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for file in std::fs::read_dir(partition.path()).expect("it is there").flatten() {
            let path = file.path();
            let kind = path
                .extension()
                .map(|it| it.to_string_lossy().into_owned())
                .unwrap_or_default();
            let is_empty = file.metadata().map_or(true, |it| it.len() == 0);
            if ["log", "txnindex", "snapshot"].contains(&kind.as_str()) && !is_empty {
                *kinds.entry(kind.clone()).or_default() += 1;
                files.entry(kind).or_default().push(path.display().to_string());
            }
        }
        for (kind, files) in files {
            let decoder: &[&str] = match (kind.as_str(), name.rsplit_once('-').map(|(topic, _)| topic)) {
                ("log", Some("__transaction_state")) => &["--transaction-log-decoder"],
                ("log", Some("__consumer_offsets")) => &["--offsets-decoder"],
                ("log", _) => &["--print-data-log"],
                _ => &[],
            };
            let out = kafka("kafka-dump-log", &[&["--files", &files.join(",")], decoder].concat()).succeeds();
            assert!(
                !out.contains("isvalid: false") && !out.contains("Could not"),
                "{name}: {out}"
            );
            seen.push_str(&out);
        }
    }
    assert!(
        ["log", "txnindex", "snapshot"]
            .iter()
            .all(|kind| kinds.contains_key(*kind)),
        "{kinds:?}"
    );
    for what in [
        "endTxnMarker: COMMIT",
        "endTxnMarker: ABORT",
        "isTransactional: true",
        "transactionalId=one",
        "lastStableOffset",
        "coordinatorEpoch",
        "currentTxnFirstOffset",
    ] {
        assert!(seen.contains(what), "{what} is not in {seen}");
    }
}
