//! Log directories: ours open in Apache Kafka and Kafka's in ours, and a disk that is full.

use integration_tests::{
    Batch, Broker, Connection, Scene, eventually, kafka, kafka_with_input, kcat, kcat_with_input, repository, run,
};
use std::collections::HashMap;
use std::path::Path;

/// Everything in a topic: partition, offset, timestamp, key, value, headers.
fn contents(broker: &Broker, topic: &str) -> String {
    let format = "%p %o %T %k=%s %h\n";
    let isolation = "isolation.level=read_uncommitted";
    eventually(20, "a topic is read", || {
        let at = broker.bootstrap();
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
            "-X",
            isolation,
            "-f",
            format,
        ];
        let out = kcat(&words).says();
        if out.contains("ERROR") || out.is_empty() {
            Err(out)
        } else {
            Ok(out)
        }
    })
}

#[test]
fn a_directory_goes_from_us_to_kafka_and_back_with_the_same_records() {
    let scene = Scene::new("there-and-back");
    // The log cleaner would make the contents depend on the time.
    let mut broker = scene
        .broker(1)
        .set("log.cleaner.enable", "false")
        .set("zookeeper.session.timeout.ms", "2000")
        .start();
    let at = broker.bootstrap();
    broker.create_topic("plain", 1, &[("segment.bytes", "5000")]);
    broker.create_topic("compact", 1, &[("cleanup.policy", "compact")]);
    let lines = |from: usize, to: usize| {
        (from..to)
            .map(|i| format!("key{}:value {i} {}\n", i % 7, "y".repeat(50)))
            .collect::<String>()
    };
    let produce = |topic: &str, codec: &str, from: usize, to: usize| {
        let codec = format!("compression.codec={codec}");
        kcat_with_input(
            &[
                "-b",
                &at,
                "-P",
                "-t",
                topic,
                "-K:",
                "-H",
                "h=1",
                "-X",
                &codec,
                "-X",
                "batch.num.messages=10",
            ],
            lines(from, to).as_bytes(),
        )
        .succeeds();
    };
    for (i, codec) in ["none", "gzip", "snappy", "lz4", "zstd"].into_iter().enumerate() {
        produce("plain", codec, i * 40, i * 40 + 40);
    }
    produce("compact", "none", 0, 50);
    let request = scene.directory().join("delete.json");
    std::fs::write(
        &request,
        r#"{"partitions":[{"topic":"plain","partition":0,"offset":17}],"version":1}"#,
    )
    .unwrap();
    kafka(
        "kafka-delete-records",
        &[
            "--bootstrap-server",
            &at,
            "--offset-json-file",
            &request.display().to_string(),
        ],
    )
    .succeeds();
    let read = ["-b", &at, "-G", "readers", "-e", "-q", "-o", "beginning", "plain"];
    assert!(kcat(&read).says().contains("value 199"), "a group reads and commits");

    let (plain, compact) = (contents(&broker, "plain"), contents(&broker, "compact"));
    assert!(plain.starts_with("0 17 ") && plain.lines().count() == 183, "{plain}");
    let same = |broker: &Broker, plain: &str, who: &str| {
        assert_eq!(contents(broker, "plain"), plain, "plain, {who}");
        assert_eq!(contents(broker, "compact"), compact, "compact, {who}");
        let out = eventually(30, "the group's coordinator answers", || {
            let out = kafka(
                "kafka-consumer-groups",
                &["--bootstrap-server", &at, "--describe", "--group", "readers"],
            )
            .says();
            if out.contains(" plain ") { Ok(out) } else { Err(out) }
        });
        let row = out.lines().find(|l| l.contains(" plain ")).expect("was just there");
        assert_eq!(
            row.split_whitespace().nth(3),
            Some("200"),
            "committed offset, {who}: {out}"
        );
    };

    broker.stop();
    broker.become_kafka(true);
    broker.start_again();
    same(&broker, &plain, "Kafka after our clean stop");
    assert!(!broker.log().contains("ERROR"), "{}", broker.log());
    produce("plain", "lz4", 200, 240);
    let plain = contents(&broker, "plain");
    broker.kill();

    broker.become_kafka(false);
    broker.start_again();
    same(&broker, &plain, "ours after Kafka was killed");
    produce("plain", "zstd", 240, 260);
    let plain = contents(&broker, "plain");
    broker.kill();

    broker.become_kafka(true);
    broker.start_again();
    same(&broker, &plain, "Kafka after ours was killed");
    broker.stop();
    broker.become_kafka(false);
    broker.start_again();
    same(&broker, &plain, "ours after Kafka's clean stop");
}

/// One of Kafka's own directories, kept in `testdata`, put under a broker whose ZooKeeper knows its topics.
fn open_sample(scene: &Scene, name: &str) -> Broker {
    let archive = repository()
        .join(format!("integration-tests/testdata/{name}.tar.gz"))
        .display()
        .to_string();
    let target = scene.directory().display().to_string();
    run(&["tar", "-xzf", &archive, "-C", &target].map(str::to_owned), 20).succeeds();
    let directory = std::fs::read_dir(scene.directory())
        .expect("it was just filled")
        .filter_map(|d| d.ok().map(|d| d.path()))
        .find(|d| d.join("meta.properties").exists())
        .expect("the archive holds a log directory");

    // The chroot has to be there before anything can be put into it.
    let (server, chroot) = scene
        .zookeeper_connect()
        .split_once('/')
        .expect("a shared ZooKeeper has a chroot");
    let mut commands = vec![format!("create /{chroot}")];
    commands.extend(
        ["/cluster", "/brokers", "/brokers/topics", "/config", "/config/topics"]
            .map(|p| format!("create /{chroot}{p}")),
    );
    commands.push(format!(
        r#"create /{chroot}/cluster/id {{"version":"1","id":"30U8ch2kTnukcgvJ2SXjYQ"}}"#
    ));
    for (topic, partitions) in partitions_of(&directory) {
        let id = topic_id(&directory.join(format!("{topic}-0")));
        let assigned: Vec<String> = partitions.iter().map(|p| format!(r#""{p}":[7]"#)).collect();
        commands.push(format!(
            r#"create /{chroot}/brokers/topics/{topic} {{"partitions":{{{}}},"topic_id":"{id}","adding_replicas":{{}},"removing_replicas":{{}},"version":3}}"#,
            assigned.join(",")
        ));
        let configs = if topic == "compacted" {
            r#""cleanup.policy":"compact""#
        } else {
            ""
        };
        commands.push(format!(
            r#"create /{chroot}/config/topics/{topic} {{"version":1,"config":{{{configs}}}}}"#
        ));
    }
    let out = integration_tests::ZooKeeper::shell(server, &commands.iter().map(String::as_str).collect::<Vec<_>>());
    assert_eq!(out.matches("Created ").count(), commands.len(), "{out}");

    scene
        .broker(7)
        .set("log.dirs", &directory.display().to_string())
        .set("offsets.topic.num.partitions", "1")
        .set("transaction.state.log.num.partitions", "1")
        // The sample grows old, and is to be found as it is.
        .set("log.retention.ms", "-1")
        .set("log.cleaner.enable", "false")
        .start()
}

/// Topics in a log directory with their partitions, but for those that are on their way out.
fn partitions_of(directory: &Path) -> HashMap<String, Vec<u32>> {
    let mut topics: HashMap<String, Vec<u32>> = HashMap::new();
    for entry in std::fs::read_dir(directory).expect("the log directory is there") {
        let entry = entry.expect("and can be read");
        let name = entry.file_name().to_string_lossy().into_owned();
        if let Some((topic, number)) = name.rsplit_once('-')
            && let Ok(number) = number.parse()
            && entry.path().is_dir()
        {
            topics.entry(topic.to_owned()).or_default().push(number);
        }
    }
    topics
}

fn topic_id(partition: &Path) -> String {
    let text = std::fs::read_to_string(partition.join("partition.metadata")).expect("a partition has its topic's id");
    text.lines()
        .find_map(|l| l.strip_prefix("topic_id: "))
        .expect("an id")
        .to_owned()
}

/// `rows`: topic-partition, earliest and latest offset, how many records a read_committed consumer gets.
fn check_sample(name: &str, rows: &[(&str, i64, i64, usize)]) {
    let scene = Scene::new(name);
    let broker = open_sample(&scene, name);
    let at = broker.bootstrap();
    let get = |time: &str| {
        let out = kafka("kafka-get-offsets", &["--bootstrap-server", &at, "--time", time]).succeeds();
        let pair = |l: &str| {
            l.rsplit_once(':')
                .map(|(p, o)| (p.to_owned(), o.parse::<i64>().unwrap_or(-1)))
        };
        out.lines().filter_map(pair).collect::<HashMap<_, _>>()
    };
    let (earliest, latest) = eventually(30, "every partition has a leader", || {
        let (earliest, latest) = (get("earliest"), get("latest"));
        if rows.iter().all(|r| latest.contains_key(r.0)) {
            Ok((earliest, latest))
        } else {
            Err(format!("{latest:?}"))
        }
    });
    for (partition, first, last, count) in rows {
        assert_eq!(earliest.get(*partition), Some(first), "{partition}: earliest");
        // Who has transactions ends the one that was left open, by a marker.
        let ended = *partition == "txn:0" && latest.get(*partition) == Some(&(last + 1));
        assert!(
            ended || latest.get(*partition) == Some(last),
            "{partition}: latest {last}, got {latest:?}"
        );
        let (topic, number) = partition.split_once(':').expect("topic:partition");
        let committed = "isolation.level=read_committed";
        let words = [
            "-b",
            &at,
            "-C",
            "-t",
            topic,
            "-p",
            number,
            "-o",
            "beginning",
            "-e",
            "-q",
            "-X",
            committed,
            "-X",
            "check.crcs=true",
            "-f",
            "%o\n",
        ];
        let read = kcat(&words).succeeds().lines().count();
        assert_eq!(read, *count, "{partition}: records");
    }
}

#[test]
fn a_directory_that_kafka_has_left_cleanly_opens_with_the_same_records() {
    check_sample(
        "sample-log-dir",
        &[
            ("plain:0", 45, 210, 165),
            ("plain:1", 0, 0, 0),
            ("txn:0", 0, 41, 16),
            ("compacted:0", 0, 330, 40),
            ("magic0:0", 0, 9, 9),
            ("magic1:0", 0, 9, 9),
            ("lat:0", 0, 100, 100),
        ],
    );
}

#[test]
fn a_directory_of_a_killed_kafka_opens_with_the_same_records() {
    check_sample(
        "sample-log-dir-after-kill",
        &[
            ("plain:0", 45, 220, 175),
            ("plain:1", 0, 0, 0),
            ("txn:0", 0, 41, 16),
            ("compacted:0", 0, 330, 40),
            ("magic0:0", 0, 9, 9),
            ("magic1:0", 0, 9, 9),
            ("lat:0", 0, 100, 100),
        ],
    );
}

#[test]
fn a_full_disk_is_told_as_kafka_storage_error_and_loses_nothing_acknowledged() {
    const KAFKA_STORAGE_ERROR: i16 = 56;
    let scene = Scene::new("full-disk");
    let directories = [scene.directory().join("a"), scene.directory().join("b")].map(|d| d.display().to_string());
    // A file may not grow past 8 MB: to the broker, the disk of the segment which does is full. No root is needed for that, and
    // the files are still there when the limit is not.
    let limit = "trap '' XFSZ; exec prlimit --fsize=8388608 -- \"$0\" \"$@\"";
    let mut broker = scene
        .broker(1)
        .set("log.dirs", &directories.join(","))
        .set("log.index.size.max.bytes", "100000")
        .under(&["sh", "-c", limit])
        .start();
    let at = broker.bootstrap();
    let mut connection = Connection::open(broker.port()).unwrap();
    broker.create_topic("filling", 1, &[]);
    broker.create_topic("other", 1, &[]);

    let mut acknowledged: HashMap<i64, String> = HashMap::new();
    let mut refused = None;
    for number in 0..400 {
        let value = format!("{number} {}", "z".repeat(60_000));
        let answer = match connection.produce("filling", 0, &Batch::of_values([value.clone()]).encode()) {
            Ok(answer) => answer,
            Err(e) => panic!("batch {number}: no answer: {e}"),
        };
        match answer.error {
            0 => assert!(
                acknowledged.insert(answer.base_offset, value).is_none(),
                "an offset is given once"
            ),
            3 | 5 | 6 if acknowledged.is_empty() => std::thread::sleep(std::time::Duration::from_millis(50)),
            error => {
                refused = Some(error);
                break;
            }
        }
    }
    assert_eq!(refused, Some(KAFKA_STORAGE_ERROR));
    assert!(
        acknowledged.len() > 100,
        "{} before the disk was full",
        acknowledged.len()
    );
    // The other directory goes on.
    eventually(10, "another directory takes records", || {
        let answer = connection
            .produce("other", 0, &Batch::of_values(["on it goes"]).encode())
            .map_err(|e| e.to_string())?;
        if answer.error == 0 {
            Ok(())
        } else {
            Err(format!("{answer:?}"))
        }
    });
    assert!(broker.ended().is_none());
    broker.kill();
    broker.without_limits();
    broker.start_again();

    let out = eventually(20, "the records are read", || {
        let out = kcat(&[
            "-b",
            &at,
            "-C",
            "-t",
            "filling",
            "-o",
            "beginning",
            "-e",
            "-q",
            "-X",
            "check.crcs=true",
            "-f",
            "%o %s\n",
        ])
        .says();
        if out.lines().count() >= acknowledged.len() {
            Ok(out)
        } else {
            Err(out.chars().take(300).collect())
        }
    });
    let found: HashMap<i64, &str> = out
        .lines()
        .filter_map(|l| l.split_once(' '))
        .map(|(o, v)| (o.parse().expect("an offset"), v))
        .collect();
    for (offset, value) in &acknowledged {
        assert!(found.get(offset) == Some(&value.as_str()), "offset {offset} is lost");
    }
    let lines = "again\n".as_bytes();
    kafka_with_input(
        "kafka-console-producer",
        &["--bootstrap-server", &at, "--topic", "filling"],
        lines,
    )
    .succeeds();
}
