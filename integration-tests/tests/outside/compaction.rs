//! Compaction beside Kafka's: the same log cleaned by both, each opening what the other left; internal topics that stay small.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use integration_tests::{
    Batch, BatchRecord, Broker, Scene, TransactionalProducer, eventually, is_reference, kafka, kcat, kcat_with_input,
};

/// The offsets at which segments of partition 0 of `topic` begin, with their sizes.
fn segments(data: &Path, topic: &str) -> BTreeMap<i64, (PathBuf, u64)> {
    let folder = data.join(format!("{topic}-0"));
    let entries = std::fs::read_dir(&folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
    entries
        .flatten()
        .filter_map(|entry| {
            let base = entry.file_name().to_str()?.strip_suffix(".log")?.parse().ok()?;
            Some((base, (entry.path(), entry.metadata().ok()?.len())))
        })
        .collect()
}

fn active(data: &Path, topic: &str) -> i64 {
    segments(data, topic).keys().copied().max().expect("a log has segments")
}

fn await_cleaned(data: &Path, topic: &str) {
    let active = active(data, topic);
    eventually(60, "the log is cleaned", || {
        let text = std::fs::read_to_string(data.join("cleaner-offset-checkpoint")).unwrap_or_default();
        let prefix = format!("{topic} 0 ");
        match text.lines().find_map(|line| line.strip_prefix(&prefix)) {
            Some(offset) if offset.parse::<i64>().is_ok_and(|offset| offset >= active) => Ok(()),
            _ => Err(format!("{text} (the active segment begins at {active})")),
        }
    });
}

/// What `kafka-dump-log` says of all closed segments: batches and records, without what depends on where they lie and when
/// they were cleaned.
fn dump(data: &Path, topic: &str) -> Vec<String> {
    let segments = segments(data, topic);
    let active = active(data, topic);
    let files: Vec<String> = segments
        .iter()
        .filter(|(base, _)| **base < active)
        .map(|(_, (path, _))| path.display().to_string())
        .collect();
    let arguments = ["--deep-iteration", "--print-data-log", "--files", &files.join(",")];
    let says = kafka("kafka-dump-log", &arguments).says();
    let lines = says
        .lines()
        .filter(|line| line.starts_with("baseOffset") || line.starts_with("| offset"));
    let told: Vec<String> = lines
        .map(|line| {
            let mut words: Vec<&str> = line.split_whitespace().collect();
            for left_out in ["position:", "size:", "crc:"] {
                if let Some(at) = words.iter().position(|word| *word == left_out) {
                    words.drain(at..at + 2);
                }
            }
            let words: Vec<&str> = words
                .into_iter()
                .map(|word| if word.starts_with("OptionalLong[") { "set" } else { word })
                .collect();
            words.join(" ")
        })
        .collect();
    assert!(told.iter().all(|line| !line.contains("isvalid: false")), "{says}");
    told
}

fn begin(broker: &Broker, id: &str) -> TransactionalProducer {
    TransactionalProducer::begin(broker.port(), id, Duration::from_secs(60)).expect("a producer begins")
}

fn record(key: &str, value: &str) -> BatchRecord {
    BatchRecord {
        key: Some(key.as_bytes().to_vec()),
        value: value.as_bytes().to_vec(),
    }
}

/// Lines of a key and a value, in batches that fit into the small segments; an empty value is a tombstone.
fn write(at: &str, topic: &str, codec: &str, lines: &str) {
    let codec = format!("compression.codec={codec}");
    let topic = ["-b", at, "-P", "-t", topic, "-p", "0"];
    let words = [&topic[..], &["-K:", "-Z", "-X", &codec, "-X", "batch.num.messages=7"]].concat();
    kcat_with_input(&words, lines.as_bytes()).succeeds();
}

/// Keys written over and over, in all codecs, with tombstones, and in transactions that are committed and aborted.
fn fill(broker: &Broker, topic: &str) {
    let at = broker.bootstrap();
    let mut producer = begin(broker, "fills");
    producer.add_partition(topic, 0).expect("the partition is added");
    for (round, codec) in ["none", "gzip", "snappy", "lz4", "zstd", "none"]
        .into_iter()
        .enumerate()
    {
        let lines: String = (0..60)
            .map(|i| match (i + round) % 11 {
                3 => format!("key{}:\n", i % 17),
                _ => format!("key{}:value {round}.{i} {}\n", i % 17, "y".repeat(i)),
            })
            .collect();
        write(&at, topic, codec, &lines);
        for (part, commit) in [true, false, true].into_iter().enumerate() {
            let value = format!("in a transaction {round}.{part} {commit}");
            let records = || {
                [
                    record(&format!("txn{part}"), &value),
                    record("key1", &value),
                    record("own", &value),
                ]
            };
            for _ in 0..2 {
                let answer = producer
                    .write_batch(topic, 0, Batch::of(records()))
                    .expect("it is answered");
                assert_eq!(answer.error, 0);
            }
            producer.end(commit).expect("it ends");
            producer.add_partition(topic, 0).expect("the partition is added");
        }
    }
    producer.end(true).expect("it ends");
    // Something in the active segment, and nothing else that could be cleaned.
    let last: String = (0..40).map(|i| format!("last{i}:{}\n", "z".repeat(100))).collect();
    write(&at, topic, "none", &last);
}

/// What a reader of committed records makes of a topic: the last value of each key.
fn table(broker: &Broker, topic: &str) -> BTreeMap<String, String> {
    let mut table = BTreeMap::new();
    let at = broker.bootstrap();
    let says = eventually(30, "the topic is read", || {
        let words = [
            "-b",
            &at,
            "-C",
            "-t",
            topic,
            "-o",
            "beginning",
            "-e",
            "-q",
            "-X",
            "check.crcs=true",
        ];
        let says = kcat(&[&words[..], &["-f", "%k=%S=%s\n"]].concat()).says();
        if says.is_empty() || says.contains("ERROR") {
            Err(says)
        } else {
            Ok(says)
        }
    });
    for line in says.lines() {
        let mut parts = line.splitn(3, '=');
        let mut part = || parts.next().unwrap_or_default().to_owned();
        let (key, size, value) = (part(), part(), part());
        if size == "-1" {
            table.remove(&key);
        } else {
            table.insert(key, value);
        }
    }
    table
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("a directory can be made");
    for entry in std::fs::read_dir(from).expect("it is there").flatten() {
        let to = to.join(entry.file_name());
        if entry.file_type().expect("it is there").is_dir() {
            copy(&entry.path(), &to);
        } else {
            std::fs::copy(entry.path(), to).expect("it is copied");
        }
    }
}

#[test]
fn of_the_same_log_we_and_kafka_leave_the_same_and_open_what_the_other_left() {
    let scene = Scene::new("compaction");
    let mut broker = scene
        .broker(1)
        .kafka()
        .set("log.cleaner.enable", "false")
        .set("log.cleaner.backoff.ms", "200")
        .set("zookeeper.session.timeout.ms", "2000")
        .start();
    let configs = [
        ("cleanup.policy", "compact"),
        ("segment.bytes", "3000"),
        ("min.cleanable.dirty.ratio", "0.01"),
        ("file.delete.delay.ms", "100"),
    ];
    broker.create_topic("t", 1, &configs);
    fill(&broker, "t");
    let expected = table(&broker, "t");
    assert!(expected.len() > 40, "{expected:?}");
    broker.stop();
    let data = broker.data();
    let (original, by_kafka) = (scene.directory().join("original"), scene.directory().join("by-kafka"));
    copy(&data, &original);
    let before = dump(&data, "t");

    broker.set("log.cleaner.enable", "true");
    broker.start_again();
    await_cleaned(&data, "t");
    broker.stop();
    let kafkas = dump(&data, "t");
    assert!(kafkas.len() < before.len() / 2, "{} of {}", kafkas.len(), before.len());
    std::fs::rename(&data, &by_kafka).expect("it is moved");

    copy(&original, &data);
    broker.become_kafka(false);
    broker.start_again();
    await_cleaned(&data, "t");
    assert_eq!(table(&broker, "t"), expected, "ours, cleaned by us");
    broker.stop();
    let ours = dump(&data, "t");
    let different: Vec<_> = kafkas
        .iter()
        .filter(|line| !ours.contains(line))
        .map(|line| format!("only Kafka's: {line}"))
        .chain(
            ours.iter()
                .filter(|line| !kafkas.contains(line))
                .map(|line| format!("only ours: {line}")),
        )
        .collect();
    assert!(different.is_empty(), "{}", different.join("\n"));
    assert_eq!(ours, kafkas);

    broker.set("log.cleaner.enable", "false");
    broker.become_kafka(true);
    broker.start_again();
    assert_eq!(table(&broker, "t"), expected, "Kafka, cleaned by us");
    broker.stop();
    std::fs::remove_dir_all(&data).expect("it is removed");
    std::fs::rename(&by_kafka, &data).expect("it is moved");
    broker.set("log.cleaner.enable", "true");
    broker.become_kafka(false);
    broker.start_again();
    assert_eq!(table(&broker, "t"), expected, "ours, cleaned by Kafka");
    // And on it goes: the first segment has closed ones behind it again.
    let more: String = (0..200)
        .map(|i| format!("key{}:more {i} {}\n", i % 17, "m".repeat(60)))
        .collect();
    let at = broker.bootstrap();
    write(&at, "t", "none", &more);
    let expected = table(&broker, "t");
    await_cleaned(&data, "t");
    assert_eq!(table(&broker, "t"), expected, "ours, cleaned by Kafka and then by us");
}

#[test]
fn internal_topics_stay_small_however_much_is_written_to_them() {
    if is_reference() {
        return;
    }
    let scene = Scene::new("churn");
    let broker = scene
        .broker(1)
        .set("log.cleaner.backoff.ms", "100")
        .set("log.cleaner.delete.retention.ms", "100")
        .set("offsets.topic.num.partitions", "1")
        .set("offsets.topic.segment.bytes", "20000")
        .set("transaction.state.log.num.partitions", "1")
        .set("transaction.state.log.segment.bytes", "20000")
        .set("log.segment.delete.delay.ms", "100")
        .start();
    let at = broker.bootstrap();
    broker.create_topic("t", 1, &[]);
    let mut producer = begin(&broker, "churns");
    for i in 0..1500 {
        producer.add_partition("t", 0).expect("the partition is added");
        producer.commit_offset("readers", "t", 0, i).expect("it is committed");
        producer.end(true).expect("it ends");
    }
    // Of 280,000, and of 800,000. Half of what is written to the first are markers, which the second cleaning takes; and a log
    // that nobody writes to is not cleaned again.
    for (topic, bound) in [("__consumer_offsets", 190_000), ("__transaction_state", 60_000)] {
        assert!(active(&broker.data(), topic) > 1000, "{topic} was written to");
        eventually(60, "the topic is small", || {
            let bytes: u64 = segments(&broker.data(), topic).values().map(|(_, size)| size).sum();
            if bytes < bound {
                Ok(())
            } else {
                Err(format!("{topic} has {bytes} bytes"))
            }
        });
    }
    let cleaners = |count: usize| {
        eventually(30, "there are as many threads as the configuration says", || {
            let tasks = std::fs::read_dir(format!("/proc/{}/task", broker.pid())).map_err(|e| e.to_string())?;
            let names = tasks
                .flatten()
                .map(|it| std::fs::read_to_string(it.path().join("comm")));
            // The system keeps fifteen letters of `kafka-log-cleaner-thread-0`.
            let found = names.flatten().filter(|name| name.trim() == "kafka-log-clean").count();
            if found == count {
                Ok(())
            } else {
                Err(format!("{found}, not {count}"))
            }
        });
    };
    cleaners(1);
    let mut words = vec![
        "--bootstrap-server",
        &at,
        "--alter",
        "--entity-type",
        "brokers",
        "--entity-default",
    ];
    words.extend([
        "--add-config",
        "log.cleaner.threads=2,log.cleaner.io.max.bytes.per.second=1000000",
    ]);
    kafka("kafka-configs", &words).succeeds();
    cleaners(2);
    // What counts is still there after a start.
    let mut broker = broker;
    broker.stop();
    broker.start_again();
    let arguments = [
        "--bootstrap-server",
        &broker.bootstrap(),
        "--describe",
        "--group",
        "readers",
    ];
    eventually(30, "the committed offset is known", || {
        let says = kafka("kafka-consumer-groups", &arguments).says();
        let row = says.lines().find(|line| line.contains(" t "));
        match row.and_then(|row| row.split_whitespace().nth(3)) {
            Some("1499") => Ok(()),
            _ => Err(says),
        }
    });
}
