//! Transactions as stock clients and tools see them: written, read, listed, taken up by another coordinator; with Kafka's own
//! brokers beside ours.

use integration_tests::{Cluster, Scene, Transactor, eventually, is_reference, kafka, kcat_reads_all};
use std::collections::BTreeSet;

fn cluster(name: &str, kafka: impl Fn(u32) -> bool) -> Cluster {
    Cluster::start(Scene::new(name), 3, |b| {
        let b = b
            .set("transaction.state.log.replication.factor", "3")
            .set("transaction.state.log.min.isr", "2")
            .set("transaction.state.log.num.partitions", "6")
            .set("zookeeper.session.timeout.ms", "6000");
        if kafka(b.id()) { b.kafka() } else { b }
    })
}

/// The state of a transactional id as the stock tool tells it, and its partitions.
fn describe(bootstrap: &str, id: &str) -> Result<(String, String), String> {
    let says = kafka(
        "kafka-transactions",
        &["--bootstrap-server", bootstrap, "describe", "--transactional-id", id],
    )
    .says();
    // CoordinatorId TransactionalId ProducerId ProducerEpoch State Timeout Start Duration Partitions
    let words: Vec<&str> = says
        .lines()
        .filter(|line| line.contains(id))
        .flat_map(str::split_whitespace)
        .collect();
    match words[..] {
        [_, _, _, _, state, _, _, _, ref partitions @ ..] => Ok((state.to_owned(), partitions.concat())),
        _ => Err(says),
    }
}

fn wait_for_state(bootstrap: &str, id: &str, expected: &str) {
    eventually(60, "the transaction stands as expected", || {
        match describe(bootstrap, id)? {
            (state, _) if state == expected => Ok(()),
            other => Err(format!("{id}: {other:?} instead of {expected}")),
        }
    });
}

/// What a reader of committed records finds, which is what librdkafka is unless told otherwise.
fn committed(bootstrap: &str, topic: &str) -> Vec<String> {
    let all = kcat_reads_all(bootstrap, topic, "%s\n");
    let mut all: Vec<String> = all.lines().map(str::to_owned).collect();
    all.sort();
    all
}

fn produce(transactor: &mut Transactor, id: &str, topic: &str, partitions: impl Iterator<Item = i32>, value: &str) {
    for partition in partitions {
        transactor.does(id, &format!("produce {topic} {partition} {value}-{partition}"));
    }
    transactor.does(id, "flush");
}

#[test]
fn stock_programs_write_in_transactions_and_tell_how_they_stand() {
    let cluster = cluster("transactions", |_| false);
    let bootstrap = cluster.bootstrap();
    cluster.create_topic("perf", 3, &[]);
    cluster.create_topic("t", 3, &[]);
    let properties = format!("bootstrap.servers={bootstrap}");
    let load = ["--num-records", "3000", "--record-size", "100", "--throughput", "-1"];
    let transactional = ["--transactional-id", "perf", "--transaction-duration-ms", "20"];
    let mut arguments = vec!["--topic", "perf", "--producer-props", &properties];
    arguments.extend(load);
    arguments.extend(transactional);
    kafka("kafka-producer-perf-test", &arguments).succeeds();
    let read = kafka(
        "kafka-console-consumer",
        &[
            "--bootstrap-server",
            &bootstrap,
            "--topic",
            "perf",
            "--from-beginning",
            "--isolation-level",
            "read_committed",
            "--max-messages",
            "3000",
            "--timeout-ms",
            "30000",
        ],
    )
    .succeeds();
    assert_eq!(read.lines().filter(|line| line.len() == 100).count(), 3_000);

    let mut clients = Transactor::start(&bootstrap);
    for id in ["committed", "aborted", "open"] {
        clients.does(id, "init");
        clients.does(id, "begin");
        produce(&mut clients, id, "t", 0..3, id);
    }
    clients.does("committed", "commit");
    clients.does("aborted", "abort");
    let list = kafka("kafka-transactions", &["--bootstrap-server", &bootstrap, "list"]).succeeds();
    for id in ["perf", "committed", "aborted", "open"] {
        assert!(list.contains(id), "{id} is not in\n{list}");
    }
    wait_for_state(&bootstrap, "perf", "CompleteCommit");
    wait_for_state(&bootstrap, "aborted", "CompleteAbort");
    let (state, partitions) = describe(&bootstrap, "open").expect("it is known");
    assert_eq!(state, "Ongoing");
    let partitions: BTreeSet<_> = partitions.split(',').map(str::to_owned).collect();
    assert_eq!(
        partitions,
        ["t-0", "t-1", "t-2"].map(str::to_owned).into(),
        "of the open one"
    );

    // A new producer of the same id shuts the old one out, and aborts what it left.
    let mut others = Transactor::start(&bootstrap);
    others.does("open", "init");
    wait_for_state(&bootstrap, "open", "Empty");
    let refused = clients.try_to("open", "commit").expect_err("it has been shut out");
    assert!(refused.contains("FENCED"), "{refused}");
    assert_eq!(
        committed(&bootstrap, "t"),
        ["committed-0", "committed-1", "committed-2"]
    );
}

#[test]
fn a_decision_outlives_its_coordinator() {
    let mut cluster = cluster("transactions-kill", |_| false);
    let bootstrap = cluster.bootstrap();
    cluster.create_topic("t", 3, &[]);
    // One partition whose only replica is on the broker that will be away.
    let away = 3;
    let create = |topic: &str, assignment: &str| {
        let mut arguments = vec!["--bootstrap-server", &bootstrap, "--create", "--topic", topic];
        arguments.extend(["--replica-assignment", assignment, "--config", "min.insync.replicas=1"]);
        kafka("kafka-topics", &arguments).succeeds();
    };
    create("away", "3");
    // Its decisions are on the other two.
    create("__transaction_state", "1:2");
    cluster.wait_until_in_sync("__transaction_state", 30);
    let mut clients = Transactor::start(&bootstrap);
    for id in ["commits", "aborts", "goes-on"] {
        clients.does(id, "init");
        clients.does(id, "begin");
        produce(&mut clients, id, "t", 0..3, id);
    }
    for id in ["commits", "aborts"] {
        produce(&mut clients, id, "away", 0..1, id);
    }
    cluster.broker(away).kill();
    clients.does("commits", "commit");
    clients.does("aborts", "abort");
    let (state, left) = describe(&bootstrap, "commits").expect("it is known");
    assert_eq!(state, "PrepareCommit", "{left}");
    assert!(left.contains("away-0"), "{left}");

    // Decided and not carried out: the next coordinator does that.
    let before = cluster.partition("__transaction_state", 0).leader;
    cluster.broker(before).kill();
    cluster.wait_for_partition("__transaction_state", 0, 30, "another broker leads", |p| {
        p.leader != before && p.leader > 0
    });
    wait_for_state(&bootstrap, "commits", "PrepareCommit");
    cluster.broker(away).start_again();
    wait_for_state(&bootstrap, "commits", "CompleteCommit");
    wait_for_state(&bootstrap, "aborts", "CompleteAbort");
    // One that nobody had decided goes on at the new coordinator.
    produce(&mut clients, "goes-on", "t", 0..3, "more");
    clients.does("goes-on", "commit");
    cluster.broker(before).start_again();
    cluster.wait_until_in_sync("t", 60);
    assert_eq!(committed(&bootstrap, "away"), ["commits-0"]);
    let mut expected: Vec<String> = Vec::new();
    for id in ["commits", "goes-on", "more"] {
        expected.extend((0..3).map(|partition| format!("{id}-{partition}")));
    }
    assert_eq!(committed(&bootstrap, "t"), expected);
}

#[test]
fn coordinators_and_leaders_may_be_ours_or_kafkas() {
    if is_reference() {
        // Kafka alone is what the other tests show then.
        return;
    }
    let mut cluster = cluster("transactions-mixed", |id| id != 3);
    let bootstrap = cluster.bootstrap();
    cluster.create_topic("t", 6, &[]);
    let mut clients = Transactor::start(&bootstrap);
    let ids: Vec<String> = (0..12).map(|n| format!("id-{n:02}")).collect();
    let mut expected = Vec::new();
    let mut round = |clients: &mut Transactor, what: &str| {
        for (n, id) in ids.iter().enumerate() {
            clients.does(id, "begin");
            produce(clients, id, "t", 0..6, &format!("{what}-{id}"));
            if n % 3 == 2 {
                clients.does(id, "abort");
            } else {
                clients.does(id, "commit");
                expected.extend((0..6).map(|partition| format!("{what}-{id}-{partition}")));
            }
        }
    };
    for id in &ids {
        clients.does(id, "init");
    }
    round(&mut clients, "first");
    // Every coordinator moves: ours takes over from Kafka's, and the other way round.
    for id in 1..=3 {
        cluster.broker(id).stop();
        cluster.broker(id).start_again();
        cluster.wait_until_in_sync("__transaction_state", 60);
        cluster.wait_until_in_sync("t", 60);
        round(&mut clients, &format!("without-{id}"));
    }
    for (n, id) in ids.iter().enumerate() {
        wait_for_state(
            &bootstrap,
            id,
            if n % 3 == 2 { "CompleteAbort" } else { "CompleteCommit" },
        );
    }
    expected.sort();
    assert_eq!(committed(&bootstrap, "t"), expected);
}
