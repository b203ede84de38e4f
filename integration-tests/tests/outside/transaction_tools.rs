//! Kafka's own tools about transactions on three brokers: a transactional producer, the console's readers, `kafka-transactions` asked
//! about leaders and about followers.

use integration_tests::{Cluster, Scene, kafka, kcat};

#[test]
fn the_stock_tools_produce_in_transactions_and_tell_of_them() {
    let cluster = Cluster::start(Scene::new("transaction-tools"), 3, |b| {
        b.set("transaction.state.log.replication.factor", "3")
            .set("transaction.state.log.min.isr", "2")
            .set("transaction.state.log.num.partitions", "4")
    });
    let bootstrap = cluster.bootstrap();
    cluster.create_topic("orders", 6, &[]);
    let what = ["--topic", "orders", "--num-records", "5000", "--record-size", "100"];
    let how = [
        "--throughput",
        "-1",
        "--transactional-id",
        "perf",
        "--transaction-duration-ms",
        "50",
    ];
    let servers = format!("bootstrap.servers={bootstrap}");
    let to = ["--producer-props", &servers, "acks=all"];
    let said = kafka("kafka-producer-perf-test", &[&what[..], &how[..], &to[..]].concat()).succeeds();
    assert!(said.contains("5000 records sent"), "{said}");
    for isolation in ["isolation.level=read_committed", "isolation.level=read_uncommitted"] {
        let from = ["-b", &bootstrap, "-C", "-t", "orders", "-o", "beginning", "-e", "-q"];
        let read = kcat(&[&from[..], &["-X", isolation, "-f", "%p\n"]].concat()).succeeds();
        assert_eq!(read.lines().count(), 5000, "{isolation}");
    }

    let transactions = |words: &[&str]| {
        let all = [&["--bootstrap-server", &bootstrap][..], words].concat();
        kafka("kafka-transactions", &all).succeeds()
    };
    let listed = transactions(&["list"]);
    assert!(listed.contains("perf") && listed.contains("CompleteCommit"), "{listed}");
    let described = transactions(&["describe", "--transactional-id", "perf"]);
    assert!(
        described.contains("CompleteCommit") && described.contains("60000"),
        "{described}"
    );
    // Followers know as much of a partition's producers as its leader does.
    for broker in ["1", "2", "3"] {
        let of = [
            "describe-producers",
            "--topic",
            "orders",
            "--partition",
            "0",
            "--broker-id",
            broker,
        ];
        let producers = transactions(&of);
        let rows: Vec<Vec<&str>> = producers.lines().map(|it| it.split_whitespace().collect()).collect();
        assert!(
            rows.iter().any(|row| row.last() == Some(&"None")),
            "broker {broker}: {producers}"
        );
        let hanging = transactions(&["find-hanging", "--broker-id", broker]);
        assert!(
            !hanging.contains("perf") && !hanging.contains("Failed"),
            "broker {broker}: {hanging}"
        );
    }
}
