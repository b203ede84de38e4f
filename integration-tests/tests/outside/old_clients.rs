//! Clients from before Kafka 0.11: message formats 0 and 1, and requests at their first versions.

use std::collections::BTreeSet;

use integration_tests::{Scene, kafka, kafka_0_10, kcat, kcat_reads_all, kcat_with_input, run};

const CODECS: [&str; 4] = ["none", "gzip", "snappy", "lz4"];

/// `gzip-1` to `gzip-200`.
fn lines(codec: &str) -> Vec<String> {
    (1..=200).map(|i| format!("{codec}-{i}")).collect()
}

fn all_lines() -> BTreeSet<String> {
    CODECS.iter().flat_map(|codec| lines(codec)).collect()
}

fn set_of(out: &str) -> BTreeSet<String> {
    out.lines().map(str::to_owned).collect()
}

/// Java clients of Kafka 0.10: Produce 2, Fetch 2, format 1, groups at their first versions, and the consumer that keeps its
/// offsets in ZooKeeper.
#[test]
fn java_clients_of_0_10() {
    let scene = Scene::new("old-java");
    let broker = scene.broker(1).start();
    let bootstrap = broker.bootstrap();
    broker.create_topic("old", 1, &[]);
    for codec in CODECS {
        let input = lines(codec).join("\n") + "\n";
        let arguments = [
            "--broker-list",
            &bootstrap,
            "--topic",
            "old",
            "--compression-codec",
            codec,
        ];
        kafka_0_10("kafka-console-producer", &arguments, input.as_bytes()).succeeds();
    }
    let count = (CODECS.len() * 200).to_string();

    // What they wrote is format 2 in the log, of the codec they chose, and a new client reads it.
    let log = broker
        .data()
        .join("old-0/00000000000000000000.log")
        .display()
        .to_string();
    let dump = kafka("kafka-dump-log", &["--files", &log]).succeeds();
    for codec in CODECS {
        assert!(
            dump.contains(&format!("magic: 2 compresscodec: {codec}")),
            "{codec}: {dump}"
        );
    }
    assert!(!dump.contains("magic: 1"), "{dump}");
    assert_eq!(set_of(&kcat_reads_all(&bootstrap, "old", "%s\n")), all_lines());

    // What a new client wrote, they read: with timestamps in format 1, without headers.
    let message = b"k:new\n";
    let arguments = [
        "-b",
        &bootstrap,
        "-P",
        "-t",
        "new",
        "-K:",
        "-H",
        "header=lost",
        "-z",
        "lz4",
    ];
    kcat_with_input(&arguments, message).succeeds();
    let group = scene.directory().join("consumer.properties");
    std::fs::write(&group, "group.id=old-group\nauto.offset.reset=earliest\n").expect("a file can be written");
    let group = group.display().to_string();
    let read = |topic: &str, count: &str, how: &[&str]| {
        let what = [
            "--topic",
            topic,
            "--from-beginning",
            "--max-messages",
            count,
            "--consumer.config",
            &group,
        ];
        let outcome = kafka_0_10("kafka-console-consumer", &[how, &what].concat(), &[]);
        set_of(&outcome.succeeds())
    };
    let by_broker = ["--new-consumer", "--bootstrap-server", bootstrap.as_str()];
    assert_eq!(read("old", &count, &by_broker), all_lines());
    let with_time = [&by_broker[..], &["--property", "print.timestamp=true"]].concat();
    let new = read("new", "1", &with_time);
    let line = new.first().expect("one record");
    assert!(line.starts_with("CreateTime:") && line.ends_with("\tnew"), "{line}");

    // The group that did so is there for a new tool.
    let described = ["--bootstrap-server", &bootstrap, "--describe", "--group", "old-group"];
    let described = kafka("kafka-consumer-groups", &described).succeeds();
    let row = described
        .lines()
        .find(|line| line.contains(" old "))
        .unwrap_or_default();
    let fields: Vec<&str> = row.split_whitespace().collect();
    assert_eq!(
        fields.get(3..6),
        Some(&[count.as_str(), count.as_str(), "0"][..]),
        "{described}"
    );

    // And the consumer of the days when ZooKeeper did it all.
    let by_zookeeper = ["--zookeeper", scene.zookeeper_connect()];
    assert_eq!(read("old", &count, &by_zookeeper), all_lines());
    let owners = scene.zookeeper_shell(&["get /consumers/old-group/offsets/old/0"]);
    assert!(owners.lines().any(|line| line.trim() == count), "{owners}");
}

/// librdkafka as it speaks to a broker of which it believes that it is so old: Produce and Fetch 0 and 1.
#[test]
fn librdkafka_that_takes_the_broker_for_an_old_one() {
    let scene = Scene::new("old-kcat");
    let broker = scene.broker(1).start();
    let bootstrap = broker.bootstrap();
    for fallback in ["0.8.2", "0.9.0.1"] {
        let topic = format!("old-{fallback}");
        let fallback = format!("broker.version.fallback={fallback}");
        let old = [
            "-b",
            &bootstrap,
            "-X",
            "api.version.request=false",
            "-X",
            &fallback,
            "-t",
            &topic,
        ];
        for codec in CODECS {
            let input = lines(codec).join("\n") + "\n";
            kcat_with_input(&[&old[..], &["-P", "-z", codec]].concat(), input.as_bytes()).succeeds();
        }
        let reads = [
            "-C",
            "-o",
            "beginning",
            "-e",
            "-q",
            "-X",
            "check.crcs=true",
            "-f",
            "%s\n",
        ];
        let by_old = kcat(&[&old[..], &reads].concat()).succeeds();
        assert_eq!(set_of(&by_old), all_lines(), "{fallback}");
        assert_eq!(by_old.lines().count(), CODECS.len() * 200, "{fallback}");
        assert_eq!(
            set_of(&kcat_reads_all(&bootstrap, &topic, "%s\n")),
            all_lines(),
            "{fallback}"
        );
        // From within a batch: what comes before is left out.
        let tail = kcat(&[&old[..], &["-C", "-o", "-3", "-e", "-q", "-f", "%o\n"]].concat()).succeeds();
        assert_eq!(
            tail.split_whitespace().collect::<Vec<_>>(),
            ["797", "798", "799"],
            "{fallback}"
        );
    }
}

/// More than is converted at once, and records that shrink and grow: all of it arrives, with bounded memory.
#[test]
fn a_long_log_is_converted_while_it_is_sent() {
    let scene = Scene::new("old-long");
    let broker = scene.broker(1).start();
    let bootstrap = broker.bootstrap();
    broker.create_topic("long", 1, &[("segment.bytes", "20000000")]);
    let big = [
        "--topic",
        "long",
        "--num-records",
        "40000",
        "--record-size",
        "1000",
        "--throughput",
        "-1",
    ];
    let props = format!("bootstrap.servers={bootstrap}");
    let big = [&big[..], &["--producer-props", &props, "batch.size=200000"]].concat();
    kafka("kafka-producer-perf-test", &big).succeeds();
    let small: String = (0..40_000).map(|i| format!("{i}\n")).collect();
    kcat_with_input(&["-b", &bootstrap, "-P", "-t", "long"], small.as_bytes()).succeeds();

    let before = broker.memory_peak();
    let wide = [
        "-X",
        "fetch.message.max.bytes=50000000",
        "-X",
        "receive.message.max.bytes=100000000",
    ];
    let old = [
        "-X",
        "api.version.request=false",
        "-X",
        "broker.version.fallback=0.9.0.1",
        "-X",
        "check.crcs=true",
    ];
    let reads = [
        "-b",
        &bootstrap,
        "-C",
        "-t",
        "long",
        "-o",
        "beginning",
        "-e",
        "-q",
        "-f",
        "%o\n",
    ];
    let offsets = kcat(&[&reads[..], &wide, &old].concat()).succeeds();
    assert!(offsets.lines().map(|line| line.parse::<u64>()).eq((0..80_000).map(Ok)));
    let grown = broker.memory_peak().saturating_sub(before);
    assert!(grown < 32 << 20, "{grown} bytes for 45 MB that were converted");
}

/// A topic that keeps old consumers out, and one whose codec they cannot know.
#[test]
fn what_old_consumers_cannot_have_is_refused() {
    let scene = Scene::new("old-refused");
    let broker = scene.broker(1).start();
    let bootstrap = broker.bootstrap();
    broker.create_topic("kept", 1, &[("message.downconversion.enable", "false")]);
    broker.create_topic("zstd", 1, &[("compression.type", "zstd")]);
    for topic in ["kept", "zstd"] {
        kcat_with_input(&["-b", &bootstrap, "-P", "-t", topic], b"x\n").succeeds();
        assert_eq!(kcat_reads_all(&bootstrap, topic, "%s\n"), "x\n");
        let old = [
            "-X",
            "api.version.request=false",
            "-X",
            "broker.version.fallback=0.9.0.1",
        ];
        let reads = ["-b", &bootstrap, "-C", "-t", topic, "-o", "beginning", "-c", "1", "-q"];
        let words: Vec<String> = ["timeout", "5", "kcat"]
            .iter()
            .chain(&reads)
            .chain(&old)
            .map(|word| (*word).to_owned())
            .collect();
        let told = run(&words, 20).fails();
        assert!(!told.lines().any(|line| line == "x"), "{told}");
    }
}
