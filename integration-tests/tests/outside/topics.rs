//! `kafka-topics`, `kafka-configs`, `kafka-broker-api-versions`.

use integration_tests::{Scene, eventually, kafka, kcat_with_input};

#[test]
fn topics_are_created_listed_described_altered_and_deleted() {
    let scene = Scene::new("topics");
    let broker = scene.broker(1).start();
    let at = broker.bootstrap();
    let topics = |arguments: &[&str]| {
        kafka(
            "kafka-topics",
            &[&["--bootstrap-server", at.as_str()], arguments].concat(),
        )
    };

    let out = topics(&["--create", "--topic", "plain"]).succeeds();
    assert!(out.contains("Created topic plain."), "{out}");
    let out = topics(&["--create", "--topic", "plain"]).fails();
    assert!(out.contains("Topic 'plain' already exists"), "{out}");
    topics(&["--create", "--topic", "plain", "--if-not-exists"]).succeeds();
    topics(&[
        "--create",
        "--topic",
        "tuned",
        "--partitions",
        "3",
        "--config",
        "retention.ms=3600000",
        "--config",
        "cleanup.policy=compact",
    ])
    .succeeds();
    let out = topics(&["--create", "--topic", "no", "--replication-factor", "2"]).fails();
    assert!(out.contains("InvalidReplicationFactorException"), "{out}");
    let out = topics(&["--create", "--topic", "no", "--config", "retention.ms=soon"]).fails();
    assert!(
        out.contains("Invalid value soon for configuration retention.ms"),
        "{out}"
    );
    let out = topics(&["--create", "--topic", "no", "--config", "nonsense=1"]).fails();
    assert!(out.contains("Unknown topic config name: nonsense"), "{out}");
    let out = topics(&["--create", "--topic", "not/a/topic"]).fails();
    assert!(out.contains("not/a/topic"), "{out}");

    assert_eq!(topics(&["--list"]).succeeds().trim(), "plain\ntuned");
    let out = topics(&["--describe", "--topic", "tuned"]).succeeds();
    assert!(
        out.contains("PartitionCount: 3\tReplicationFactor: 1\tConfigs: "),
        "{out}"
    );
    assert!(
        out.contains("cleanup.policy=compact") && out.contains("retention.ms=3600000"),
        "{out}"
    );
    assert!(
        out.contains("Topic: tuned\tPartition: 2\tLeader: 1\tReplicas: 1\tIsr: 1"),
        "{out}"
    );

    topics(&["--alter", "--topic", "plain", "--partitions", "4"]).succeeds();
    let out = topics(&["--alter", "--topic", "plain", "--partitions", "2"]).fails();
    assert!(out.contains("4 partition"), "{out}");
    eventually(10, "the new partition has a leader", || {
        let out = topics(&["--describe", "--topic", "plain"]).succeeds();
        if out.contains("Partition: 3\tLeader: 1") {
            Ok(())
        } else {
            Err(out)
        }
    });

    topics(&["--delete", "--topic", "plain"]).succeeds();
    let out = topics(&["--delete", "--topic", "plain"]).fails();
    assert!(out.contains("plain"), "{out}");
    eventually(20, "all traces of the topic are gone", || {
        let znodes = scene.zookeeper_shell(&["ls /brokers/topics", "ls /config/topics", "ls /admin/delete_topics"]);
        let files: Vec<_> = std::fs::read_dir(broker.data())
            .unwrap()
            .map(|f| f.unwrap().file_name())
            .collect();
        let file_left = files
            .iter()
            .any(|f| f.to_string_lossy().starts_with("plain-") && !f.to_string_lossy().ends_with("-delete"));
        if znodes.contains("plain") || file_left {
            Err(format!("{znodes}\n{files:?}"))
        } else {
            Ok(())
        }
    });
    assert_eq!(topics(&["--list"]).succeeds().trim(), "tuned");
}

#[test]
fn configs_are_changed_described_and_obeyed() {
    let scene = Scene::new("configs");
    let broker = scene.broker(1).start();
    let at = broker.bootstrap();
    let configs = |arguments: &[&str]| {
        kafka(
            "kafka-configs",
            &[&["--bootstrap-server", at.as_str()], arguments].concat(),
        )
    };
    kafka(
        "kafka-topics",
        &["--bootstrap-server", &at, "--create", "--topic", "small"],
    )
    .succeeds();

    let out = configs(&[
        "--alter",
        "--entity-type",
        "topics",
        "--entity-name",
        "small",
        "--add-config",
        "max.message.bytes=1000",
    ])
    .succeeds();
    assert!(out.contains("Completed updating config for topic small."), "{out}");
    let out = configs(&["--describe", "--entity-type", "topics", "--entity-name", "small"]).succeeds();
    assert!(
        out.contains("max.message.bytes=1000 sensitive=false synonyms={DYNAMIC_TOPIC_CONFIG:max.message.bytes=1000, "),
        "{out}"
    );
    let znode = scene.zookeeper_shell(&["get /config/topics/small"]);
    assert!(
        znode.contains(r#"{"version":1,"config":{"max.message.bytes":"1000"}}"#),
        "{znode}"
    );

    // The running broker takes it up without a restart.
    eventually(10, "a record of 2000 bytes is refused", || {
        let out = kcat_with_input(
            &["-b", &at, "-P", "-t", "small", "-X", "message.send.max.retries=0"],
            &[b'x'; 2000],
        )
        .says();
        if out.contains("Message size too large") {
            Ok(())
        } else {
            Err(out)
        }
    });
    configs(&[
        "--alter",
        "--entity-type",
        "topics",
        "--entity-name",
        "small",
        "--delete-config",
        "max.message.bytes",
    ])
    .succeeds();
    eventually(10, "a record of 2000 bytes is taken again", || {
        let outcome = kcat_with_input(
            &["-b", &at, "-P", "-t", "small", "-X", "message.send.max.retries=0"],
            &[b'x'; 2000],
        )
        .says();
        if outcome.contains("failed") {
            Err(outcome)
        } else {
            Ok(())
        }
    });

    let out = configs(&[
        "--alter",
        "--entity-type",
        "topics",
        "--entity-name",
        "small",
        "--add-config",
        "retention.ms=never",
    ])
    .fails();
    assert!(out.contains("retention.ms"), "{out}");
    let out = configs(&[
        "--alter",
        "--entity-type",
        "topics",
        "--entity-name",
        "absent",
        "--add-config",
        "retention.ms=1",
    ])
    .fails();
    assert!(out.contains("UnknownTopicOrPartitionException"), "{out}");

    let out = configs(&[
        "--alter",
        "--entity-type",
        "brokers",
        "--entity-name",
        "1",
        "--add-config",
        "log.cleaner.threads=2",
    ])
    .succeeds();
    assert!(out.contains("Completed updating config for broker 1."), "{out}");
    let out = configs(&["--describe", "--entity-type", "brokers", "--entity-name", "1"]).succeeds();
    assert!(
        out.contains("log.cleaner.threads=2 sensitive=false synonyms={DYNAMIC_BROKER_CONFIG:log.cleaner.threads=2"),
        "{out}"
    );
    let out = configs(&[
        "--alter",
        "--entity-type",
        "brokers",
        "--entity-default",
        "--add-config",
        "zookeeper.connect=elsewhere:1",
    ])
    .fails();
    assert!(out.contains("zookeeper.connect"), "{out}");
    let out = configs(&["--describe", "--entity-type", "brokers", "--entity-name", "1", "--all"]).succeeds();
    assert!(
        out.contains("offsets.topic.num.partitions=4") && out.lines().count() > 250,
        "{out}"
    );
}

#[test]
fn api_versions_lists_what_a_stock_tool_understands() {
    let scene = Scene::new("api-versions");
    let broker = scene.broker(7).start();
    let out = kafka(
        "kafka-broker-api-versions",
        &["--bootstrap-server", &broker.bootstrap()],
    )
    .succeeds();
    assert!(
        out.contains(&format!("{} (id: 7 rack: null) -> (", broker.bootstrap())),
        "{out}"
    );
    for line in [
        "Produce(0): 0 to 11",
        "Fetch(1): 0 to 17",
        "ListOffsets(2): 0 to 9",
        "Metadata(3): 0 to 12",
        "ApiVersions(18): 0 to 4",
    ] {
        assert!(out.contains(line), "{line} in\n{out}");
    }
    // What only KRaft has is not advertised, and nothing that is advertised is unknown to the tool of the same version.
    assert!(!out.contains("UNKNOWN"), "{out}");
    assert!(out.contains("DescribeQuorum(55): UNSUPPORTED"), "{out}");
}
