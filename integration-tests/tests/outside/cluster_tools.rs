//! The tools with which operators look after a cluster: Kafka 3.9's over the wire, Kafka 2.8's through ZooKeeper.

use integration_tests::{
    Cluster, Outcome, Process, Scene, Writer, eventually, kafka, kafka_2_8, kcat, kcat_with_input, repository,
};
use std::path::PathBuf;

/// A file with JSON for a tool.
fn file(cluster: &mut Cluster, name: &str, json: &str) -> String {
    let path: PathBuf = cluster.scene().directory().join(name);
    std::fs::write(&path, json).expect("a file can be written");
    path.display().to_string()
}

fn with<'a>(first: &[&'a str], rest: &[&'a str]) -> Vec<&'a str> {
    [first, rest].concat()
}

/// The numbers of the broker's `kafka-topics --describe` lines with this condition: `topic-partition`.
fn described(at: &str, condition: &str) -> Vec<String> {
    let out = kafka("kafka-topics", &["--bootstrap-server", at, "--describe", condition]).succeeds();
    let word = |line: &str, name: &str| {
        line.split('\t')
            .find_map(|w| w.trim().strip_prefix(name).map(|v| v.trim().to_owned()))
            .unwrap_or_default()
    };
    let mut all: Vec<String> = out
        .lines()
        .filter(|l| l.contains("Partition: "))
        .map(|l| format!("{}-{}", word(l, "Topic:"), word(l, "Partition:")))
        .collect();
    all.sort();
    all
}

#[test]
fn troubled_partitions_are_described_and_leaders_elected_uncleanly_and_preferred() {
    let mut cluster = Cluster::start(Scene::new("troubled"), 3, |b| {
        b.set("zookeeper.session.timeout.ms", "2000")
            .set("auto.leader.rebalance.enable", "false")
    });
    let all = cluster.bootstrap();
    let create = |topic: &str, assignment: &str, config: &str| {
        let arguments = [
            "--create",
            "--topic",
            topic,
            "--replica-assignment",
            assignment,
            "--config",
            config,
        ];
        kafka("kafka-topics", &with(&["--bootstrap-server", &all], &arguments)).succeeds();
        cluster.wait_until_in_sync(topic, 20);
    };
    create("three", "1:2:3,2:3:1", "min.insync.replicas=2");
    create("one", "3", "min.insync.replicas=1");
    create("rash", "1:2:3", "unclean.leader.election.enable=true");
    for condition in [
        "--under-replicated-partitions",
        "--unavailable-partitions",
        "--under-min-isr-partitions",
        "--at-min-isr-partitions",
    ] {
        let expected: &[&str] = if condition == "--at-min-isr-partitions" {
            &["one-0"]
        } else {
            &[]
        };
        assert_eq!(described(&all, condition), expected, "{condition} while all is well");
    }
    kcat_with_input(&["-b", &all, "-P", "-t", "three", "-p", "0"], b"of all\n").succeeds();

    cluster.broker(3).kill();
    let at = cluster.broker(1).bootstrap();
    cluster.wait_for_members(&[1, 2], 20);
    for p in 0..2 {
        cluster.wait_for_partition("three", p, 20, "3 is out", |p| p.isr == [1, 2]);
    }
    assert_eq!(
        described(&at, "--under-replicated-partitions"),
        ["rash-0", "three-0", "three-1"],
        "the last replica in sync stays one"
    );
    assert_eq!(described(&at, "--unavailable-partitions"), ["one-0"]);
    assert_eq!(
        described(&at, "--at-min-isr-partitions"),
        ["one-0", "rash-0", "three-0", "three-1"]
    );
    assert_eq!(described(&at, "--under-min-isr-partitions"), ["one-0"]);

    cluster.broker(2).kill();
    cluster.wait_for_members(&[1], 20);
    for p in 0..2 {
        cluster.wait_for_partition("three", p, 20, "2 is out", |p| p.isr == [1] && p.leader == 1);
    }
    assert_eq!(
        described(&at, "--under-min-isr-partitions"),
        ["one-0", "rash-0", "three-0", "three-1"]
    );
    kcat_with_input(
        &["-b", &at, "-P", "-t", "three", "-p", "0", "-X", "acks=1"],
        b"of the first alone\n",
    )
    .succeeds();

    cluster.broker(1).kill();
    cluster.broker(2).start_again();
    let at = cluster.broker(2).bootstrap();
    cluster.wait_for_members(&[2], 20);
    eventually(20, "nobody leads without the last of the in-sync replicas", || {
        let found = described(&at, "--unavailable-partitions");
        if found == ["one-0", "three-0", "three-1"] {
            Ok(())
        } else {
            Err(format!("{found:?}"))
        }
    });
    cluster.wait_for_partition("rash", 0, 20, "a topic may ask for any leader at all", |p| {
        p.leader == 2 && p.isr == [2]
    });
    let elect = |kind: &str, at: &str, what: &[&str]| -> Outcome {
        kafka(
            "kafka-leader-election",
            &with(&["--bootstrap-server", at, "--election-type", kind], what),
        )
    };
    let out = elect("preferred", &at, &["--topic", "three", "--partition", "0"]).fails();
    assert!(out.contains("PreferredLeaderNotAvailableException"), "{out}");
    let json = file(
        &mut cluster,
        "elect.json",
        r#"{"partitions": [{"topic": "three", "partition": 0}, {"topic": "three", "partition": 1}]}"#,
    );
    let out = elect("unclean", &at, &["--path-to-json-file", &json]).succeeds();
    assert!(
        out.contains("Successfully completed leader election (UNCLEAN) for partitions three-0, three-1")
            || out.contains("Successfully completed leader election (UNCLEAN) for partitions three-1, three-0"),
        "{out}"
    );
    for p in 0..2 {
        cluster.wait_for_partition("three", p, 5, "2 leads uncleanly", |p| p.leader == 2 && p.isr == [2]);
    }
    let out = elect("unclean", &at, &["--topic", "three", "--partition", "0"]).succeeds();
    assert!(
        out.contains("Valid replica already elected for partitions three-0"),
        "{out}"
    );

    cluster.broker(1).start_again();
    cluster.broker(3).start_again();
    cluster.wait_until_in_sync("three", 30);
    cluster.wait_until_in_sync("one", 30);
    cluster.check_replicas("three");
    let out = kcat(&[
        "-b",
        &all,
        "-C",
        "-t",
        "three",
        "-p",
        "0",
        "-o",
        "beginning",
        "-e",
        "-q",
    ])
    .succeeds();
    assert_eq!(out, "of all\n", "the old leader has cut off what the new one never had");

    assert_eq!(cluster.partition("three", 0).leader, 2);
    let out = elect("preferred", &all, &["--all-topic-partitions"]).succeeds();
    assert!(
        out.contains("Successfully completed leader election (PREFERRED) for partitions") && out.contains("three-0"),
        "{out}"
    );
    cluster.wait_for_partition("three", 0, 5, "the preferred leader leads", |p| p.leader == 1);
}

#[test]
fn partitions_are_reassigned_throttled_listed_cancelled_and_verified() {
    let mut cluster = Cluster::start(Scene::new("reassign-tool"), 3, |b| b);
    let at = cluster.bootstrap();
    let topics = |arguments: &[&str]| kafka("kafka-topics", &with(&["--bootstrap-server", &at], arguments));
    topics(&["--create", "--topic", "t", "--replica-assignment", "1:2,2:1"]).succeeds();
    cluster.wait_until_in_sync("t", 20);
    // Three megabytes for each partition: the first fetch brings one of them, the next waits for the throttle.
    for p in ["0", "1"] {
        let lines: String = (0..3000).map(|n| format!("{n} {}\n", "x".repeat(1000))).collect();
        kcat_with_input(&["-b", &at, "-P", "-t", "t", "-p", p], lines.as_bytes()).succeeds();
    }
    let reassign = |arguments: &[&str]| {
        kafka(
            "kafka-reassign-partitions",
            &with(&["--bootstrap-server", &at], arguments),
        )
    };

    let to_move = file(
        &mut cluster,
        "move.json",
        r#"{"topics": [{"topic": "t"}], "version": 1}"#,
    );
    let out = reassign(&[
        "--generate",
        "--topics-to-move-json-file",
        &to_move,
        "--broker-list",
        "2,3",
    ])
    .succeeds();
    let proposed = out
        .split("Proposed partition reassignment configuration")
        .nth(1)
        .expect("a proposal");
    assert!(
        out.contains(r#"{"topic":"t","partition":0,"replicas":[1,2],"log_dirs":["any","any"]}"#)
            && !proposed.contains("[1,")
            && (proposed.contains("[2,3]") || proposed.contains("[3,2]")),
        "{out}"
    );

    let plan = |replicas: [&str; 2]| {
        format!(
            r#"{{"version": 1, "partitions": [{{"topic": "t", "partition": 0, "replicas": {}}}, {{"topic": "t", "partition": 1, "replicas": {}}}]}}"#,
            replicas[0], replicas[1]
        )
    };
    let moved = file(&mut cluster, "moved.json", &plan(["[3,1]", "[2,3]"]));
    let out = reassign(&["--execute", "--reassignment-json-file", &moved, "--throttle", "10000"]).succeeds();
    assert!(
        out.contains("The inter-broker throttle limit was set to 10000 B/s")
            && out.contains("Successfully started partition reassignments for t-0,t-1"),
        "{out}"
    );
    let out = reassign(&["--list"]).succeeds();
    assert!(
        out.contains("t-0: replicas: 3,1,2. adding: 3. removing: 2.")
            && out.contains("t-1: replicas: 2,3,1. adding: 3. removing: 1."),
        "{out}"
    );
    let out = reassign(&["--verify", "--reassignment-json-file", &moved, "--preserve-throttles"]).succeeds();
    assert!(
        out.contains("Reassignment of partition t-0 is still in progress.")
            && out.contains("Reassignment of partition t-1 is still in progress."),
        "{out}"
    );
    let out = reassign(&["--execute", "--reassignment-json-file", &moved]).fails();
    assert!(
        out.contains("Cannot execute because there is an existing partition assignment."),
        "{out}"
    );
    let out = reassign(&["--cancel", "--reassignment-json-file", &moved, "--preserve-throttles"]).succeeds();
    assert!(
        out.contains("Successfully cancelled partition reassignments for: t-0,t-1"),
        "{out}"
    );
    let out = reassign(&["--list"]).succeeds();
    assert!(out.contains("No partition reassignments found."), "{out}");
    for (index, replicas) in [(0, [1, 2]), (1, [2, 1])] {
        cluster.wait_for_partition("t", index, 10, "it is as before", |p| p.replicas == replicas);
    }
    let gone = cluster.broker(3).data();
    eventually(20, "the cancelled replicas are gone", || {
        match [0, 1].iter().find(|p| gone.join(format!("t-{p}")).exists()) {
            None => Ok(()),
            Some(p) => Err(format!("t-{p} is still there")),
        }
    });

    let out = reassign(&[
        "--execute",
        "--reassignment-json-file",
        &moved,
        "--throttle",
        "50000000",
        "--additional",
    ])
    .succeeds();
    assert!(out.contains("Successfully started partition reassignments"), "{out}");
    eventually(60, "the reassignment is complete", || {
        let out = reassign(&["--verify", "--reassignment-json-file", &moved]).says();
        let done = out.contains("Reassignment of partition t-0 is completed.")
            && out.contains("Reassignment of partition t-1 is completed.")
            && out.contains("Clearing broker-level throttles on brokers 1,2,3")
            && out.contains("Clearing topic-level throttles on topic t");
        if done { Ok(()) } else { Err(out) }
    });
    for (index, replicas) in [(0, [3, 1]), (1, [2, 3])] {
        let p = cluster.partition("t", index);
        assert_eq!(p.replicas, replicas, "{p:?}");
    }
    cluster.wait_until_in_sync("t", 20);
    cluster.check_replicas("t");
    for (broker, partition) in [(2, 0), (1, 1)] {
        let left = cluster.broker(broker).data().join(format!("t-{partition}"));
        eventually(20, "a replica that was moved away is gone", || {
            if left.exists() {
                Err(left.display().to_string())
            } else {
                Ok(())
            }
        });
    }
    let out = kafka(
        "kafka-configs",
        &[
            "--bootstrap-server",
            &at,
            "--describe",
            "--entity-type",
            "brokers",
            "--entity-name",
            "3",
        ],
    )
    .succeeds();
    assert!(!out.contains("throttled"), "the throttles are cleared: {out}");

    let out = kafka(
        "kafka-log-dirs",
        &["--bootstrap-server", &at, "--describe", "--topic-list", "t"],
    )
    .succeeds();
    let json: serde_json::Value = serde_json::from_str(out.lines().last().expect("a line of JSON")).unwrap();
    let count = |broker: u64| {
        json["brokers"]
            .as_array()
            .into_iter()
            .flatten()
            .filter(|b| b["broker"] == broker)
            .flat_map(|b| b["logDirs"].as_array().into_iter().flatten())
            .flat_map(|d| d["partitions"].as_array().into_iter().flatten())
            .filter(|p| p["offsetLag"] == 0 && p["isFuture"] == false && p["size"].as_u64() > Some(3_000_000))
            .count()
    };
    assert_eq!([count(1), count(2), count(3)], [1, 1, 2], "{out}");
    replicas_are_verified(&mut cluster, &at);
}

/// `kafka-replica-verification` runs until it is stopped and reports what it has found.
fn replicas_are_verified(cluster: &mut Cluster, at: &str) {
    let launcher = repository().join("integration-tests/tools/kafka").display().to_string();
    let words = [
        &launcher,
        // Its class, as which the launcher lets the signal through.
        "org.apache.kafka.tools.ReplicaVerificationTool",
        "--broker-list",
        at,
        "--topics-include",
        "t",
        "--time",
        "-2",
        "--report-interval-ms",
        "500",
    ]
    .map(str::to_owned);
    let verification = Process::start(
        "verification",
        &words,
        &cluster.scene().directory().join("verification"),
    );
    eventually(30, "the replicas are verified to their ends", || {
        let log = verification.log();
        if log.contains("max lag is 0 for partition t-") {
            Ok(())
        } else {
            Err(log)
        }
    });
    let log = verification.log();
    assert!(!log.contains("doesn't match"), "{log}");
}

#[test]
fn the_tools_of_kafka_2_8_work_through_zookeeper() {
    let mut cluster = Cluster::start(Scene::new("old-tools"), 3, |b| {
        b.set("auto.leader.rebalance.enable", "false")
            .set("log.segment.delete.delay.ms", "500")
    });
    let zookeeper = cluster.scene().zookeeper_connect().to_owned();
    let at = cluster.bootstrap();
    let old = |tool: &str, arguments: &[&str]| kafka_2_8(tool, &with(&["--zookeeper", &zookeeper], arguments));

    let out = old(
        "kafka-topics",
        &["--create", "--topic", "old", "--replica-assignment", "1:2:3"],
    )
    .succeeds();
    assert!(out.contains("Created topic old."), "{out}");
    cluster.wait_until_in_sync("old", 20);
    old("kafka-topics", &["--alter", "--topic", "old", "--partitions", "3"]).succeeds();
    eventually(20, "the added partitions are served", || {
        match cluster.partitions("old")?.len() {
            3 => Ok(()),
            other => Err(format!("{other} partitions")),
        }
    });
    cluster.wait_until_in_sync("old", 20);
    let out = old("kafka-topics", &["--describe", "--topic", "old"]).succeeds();
    assert!(
        out.contains("Topic: old\tPartition: 0\tLeader: 1\tReplicas: 1,2,3\tIsr: 1,2,3"),
        "{out}"
    );
    let writer = Writer::start(&cluster.writer("old", 3));
    writer.wait_for_each(50, 20);

    old(
        "kafka-configs",
        &[
            "--alter",
            "--entity-type",
            "topics",
            "--entity-name",
            "old",
            "--add-config",
            "segment.bytes=65536",
        ],
    )
    .succeeds();
    eventually(20, "the brokers know of the changed configuration", || {
        let out = kafka(
            "kafka-configs",
            &[
                "--bootstrap-server",
                &at,
                "--describe",
                "--entity-type",
                "topics",
                "--entity-name",
                "old",
            ],
        )
        .says();
        if out.contains("segment.bytes=65536") {
            Ok(())
        } else {
            Err(out)
        }
    });

    let plan = r#"{"version": 1, "partitions": [{"topic": "old", "partition": 0, "replicas": [3, 2]}]}"#;
    let plan = file(&mut cluster, "old.json", plan);
    let out = old(
        "kafka-reassign-partitions",
        &["--execute", "--reassignment-json-file", &plan],
    )
    .succeeds();
    assert!(
        out.contains("Successfully started partition reassignment for old-0"),
        "{out}"
    );
    eventually(30, "the reassignment is complete", || {
        let out = old(
            "kafka-reassign-partitions",
            &["--verify", "--reassignment-json-file", &plan],
        )
        .says();
        if out.contains("Reassignment of partition old-0 is complete.") {
            Ok(())
        } else {
            Err(out)
        }
    });
    let p = cluster.partition("old", 0);
    assert!(p.replicas == [3, 2] && p.isr == [2, 3] && p.leader == 3, "{p:?}");

    // Leaders that are not the preferred ones, and the election that an old tool asks for by a znode.
    cluster.broker(3).stop();
    cluster.wait_for_partition("old", 0, 10, "the other one leads", |p| p.leader == 2);
    cluster.broker(3).start_again();
    cluster.wait_until_in_sync("old", 30);
    assert_eq!(cluster.partition("old", 0).leader, 2);
    let elect = file(
        &mut cluster,
        "elect.json",
        r#"{"partitions": [{"topic": "old", "partition": 0}]}"#,
    );
    old("kafka-preferred-replica-election", &["--path-to-json-file", &elect]).succeeds();
    cluster.wait_for_partition("old", 0, 10, "the preferred leader leads", |p| p.leader == 3);

    let written = writer.stop();
    cluster.check_written("old", &written);
    let out = old("kafka-topics", &["--delete", "--topic", "old"]).succeeds();
    assert!(out.contains("Topic old is marked for deletion."), "{out}");
    let directories: Vec<PathBuf> = cluster.brokers.iter().map(|b| b.data()).collect();
    // Kafka deletes nothing in the first 30 s after a broker's start.
    eventually(60, "all traces of the topic are gone", || {
        let mut left = cluster
            .znodes()
            .children("/brokers/topics")
            .map_err(|e| e.to_string())?;
        left.extend(
            cluster
                .znodes()
                .children("/admin/delete_topics")
                .map_err(|e| e.to_string())?,
        );
        left.retain(|t| t == "old");
        for directory in &directories {
            let files = std::fs::read_dir(directory).map_err(|e| e.to_string())?.flatten();
            left.extend(
                files
                    .map(|f| f.file_name().to_string_lossy().into_owned())
                    .filter(|n| n.starts_with("old-")),
            );
        }
        if left.is_empty() {
            Ok(())
        } else {
            Err(format!("{left:?}"))
        }
    });
}

#[test]
fn replicas_move_between_log_directories_while_they_are_written_to() {
    let mut cluster = Cluster::start(Scene::new("log-directories"), 3, |b| {
        let [one, other] = ["data", "other"].map(|name| b.directory().join(name).display().to_string());
        b.set("log.dirs", &format!("{one},{other}"))
            .set("log.segment.bytes", "50000")
    });
    cluster.create_topic("t", 1, &[]);
    let at = cluster.bootstrap();
    let writer = Writer::start(&cluster.writer("t", 1));
    writer.wait_for_each(1000, 30);
    writer.take_gap();
    let p = cluster.partition("t", 0);
    let holds = |cluster: &Cluster, id: i32| -> (PathBuf, PathBuf) {
        let mut all = cluster.brokers[id as usize - 1].log_directories();
        all.sort_by_key(|d| !d.join("t-0").exists());
        (all[0].clone(), all[1].clone())
    };
    // The leader's and one follower's.
    let moving = [p.replicas[0], p.replicas[1]];
    let targets = moving.map(|id| holds(&cluster, id).1);
    let plan = format!(
        r#"{{"version": 1, "partitions": [{{"topic": "t", "partition": 0, "replicas": {:?}, "log_dirs": ["{}", "{}", "any"]}}]}}"#,
        p.replicas,
        targets[0].display(),
        targets[1].display()
    );
    let plan = file(&mut cluster, "directories.json", &plan);
    let reassign = |arguments: &[&str]| {
        kafka(
            "kafka-reassign-partitions",
            &with(&["--bootstrap-server", &at], arguments),
        )
    };
    let out = reassign(&["--execute", "--reassignment-json-file", &plan]).succeeds();
    for (id, target) in moving.iter().zip(&targets) {
        let started = format!(
            "Successfully started moving log directory to {} for replica t-0 with broker {id}",
            target.display()
        );
        assert!(out.contains(&started), "{out}");
    }
    eventually(60, "both replicas have moved", || {
        let out = reassign(&["--verify", "--reassignment-json-file", &plan]).says();
        let done = |id: i32| out.contains(&format!("Reassignment of replica t-0-{id} completed successfully."));
        if done(moving[0]) && done(moving[1]) {
            Ok(())
        } else {
            Err(out)
        }
    });
    for (id, target) in moving.iter().zip(&targets) {
        let (now, before) = holds(&cluster, *id);
        assert_eq!(&now, target, "broker {id}");
        assert!(!before.join("t-0").exists(), "broker {id}");
    }
    writer.wait_for_each(200, 30);
    println!(
        "replicas moved between directories: longest gap {:.3} s",
        writer.take_gap().as_secs_f64()
    );
    let written = writer.stop();
    cluster.check_written("t", &written);
    // What has moved is what is found at the next start.
    cluster.broker(moving[0]).kill();
    cluster.broker(moving[0]).start_again();
    cluster.check_written("t", &written);
}
