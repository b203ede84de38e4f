//! `kafka-topics`, `kafka-configs`, `kafka-broker-api-versions`.

use integration_tests::{Scene, eventually, kafka};

#[test]
fn topics_are_created_listed_described_altered_and_deleted() {
    let scene = Scene::new("topics");
    let broker = scene.broker(1).start();
    let at = broker.bootstrap();
    let topics = |arguments: &[&str]| kafka("kafka-topics", &[&["--bootstrap-server", at.as_str()], arguments].concat());

    let out = topics(&["--create", "--topic", "plain"]).succeeds();
    assert!(out.contains("Created topic plain."), "{out}");
    let out = topics(&["--create", "--topic", "plain"]).fails();
    assert!(out.contains("Topic 'plain' already exists"), "{out}");
    topics(&["--create", "--topic", "plain", "--if-not-exists"]).succeeds();
    topics(&["--create", "--topic", "tuned", "--partitions", "3", "--config", "retention.ms=3600000", "--config", "cleanup.policy=compact"])
        .succeeds();
    let out = topics(&["--create", "--topic", "no", "--replication-factor", "2"]).fails();
    assert!(out.contains("InvalidReplicationFactorException"), "{out}");
    let out = topics(&["--create", "--topic", "no", "--config", "retention.ms=soon"]).fails();
    assert!(out.contains("Invalid value soon for configuration retention.ms"), "{out}");
    let out = topics(&["--create", "--topic", "no", "--config", "nonsense=1"]).fails();
    assert!(out.contains("Unknown topic config name: nonsense"), "{out}");
    let out = topics(&["--create", "--topic", "not/a/topic"]).fails();
    assert!(out.contains("not/a/topic"), "{out}");

    assert_eq!(topics(&["--list"]).succeeds().trim(), "plain\ntuned");
    let out = topics(&["--describe", "--topic", "tuned"]).succeeds();
    assert!(out.contains("PartitionCount: 3\tReplicationFactor: 1\tConfigs: "), "{out}");
    assert!(out.contains("cleanup.policy=compact") && out.contains("retention.ms=3600000"), "{out}");
    assert!(out.contains("Topic: tuned\tPartition: 2\tLeader: 1\tReplicas: 1\tIsr: 1"), "{out}");

    topics(&["--alter", "--topic", "plain", "--partitions", "4"]).succeeds();
    let out = topics(&["--alter", "--topic", "plain", "--partitions", "2"]).fails();
    assert!(out.contains("4 partition"), "{out}");
    eventually(10, "the new partition has a leader", || {
        let out = topics(&["--describe", "--topic", "plain"]).succeeds();
        if out.contains("Partition: 3\tLeader: 1") { Ok(()) } else { Err(out) }
    });

    topics(&["--delete", "--topic", "plain"]).succeeds();
    let out = topics(&["--delete", "--topic", "plain"]).fails();
    assert!(out.contains("plain"), "{out}");
    eventually(20, "all traces of the topic are gone", || {
        let znodes = scene.zookeeper_shell(&["ls /brokers/topics", "ls /config/topics", "ls /admin/delete_topics"]);
        let files: Vec<_> = std::fs::read_dir(broker.data()).unwrap().map(|f| f.unwrap().file_name()).collect();
        let file_left = files.iter().any(|f| f.to_string_lossy().starts_with("plain-") && !f.to_string_lossy().ends_with("-delete"));
        if znodes.contains("plain") || file_left { Err(format!("{znodes}\n{files:?}")) } else { Ok(()) }
    });
    assert_eq!(topics(&["--list"]).succeeds().trim(), "tuned");
}
