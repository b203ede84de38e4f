//! MirrorMaker 2 between a cluster of ours and one of Apache Kafka 3.9, both ways: records, exactly once though it is killed,
//! consumers' offsets, configurations, heartbeats.

use integration_tests::{
    Cluster, Program, Scene, eventually, free_port, kafka, kcat, kcat_with_input, whole_ecosystem,
};

const RECORDS: usize = 500;

fn write(bootstrap: &str, topic: &str) {
    let lines: String = (0..RECORDS).map(|n| format!("k{}:{topic} {n}\n", n % 7)).collect();
    kcat_with_input(&["-b", bootstrap, "-P", "-t", topic, "-K:"], lines.as_bytes()).succeeds();
}

/// Partition, key and value of each record, in the order of each partition.
fn read(bootstrap: &str, topic: &str) -> Vec<String> {
    let from = [
        "-b",
        bootstrap,
        "-C",
        "-t",
        topic,
        "-o",
        "beginning",
        "-e",
        "-q",
        "-f",
        "%p %k %s\n",
    ];
    // Nothing, with a complaint, as long as there is no such topic.
    let mut lines: Vec<String> = kcat(&from).out.lines().map(str::to_owned).collect();
    // Kcat mixes partitions as they come; within one the order stays.
    lines.sort_by_key(|line| line.split(' ').next().unwrap_or_default().to_owned());
    lines
}

/// Reads a topic to its end in a group, which commits.
fn consume(bootstrap: &str, topic: &str, group: &str) {
    let servers = ["--bootstrap-server", bootstrap, "--topic", topic, "--group", group];
    let much = ["--from-beginning", "--max-messages", "500", "--timeout-ms", "30000"];
    kafka("kafka-console-consumer", &[&servers[..], &much[..]].concat()).succeeds();
}

/// How many records of a topic a group has not read yet, as the stock tool says.
fn lag(bootstrap: &str, topic: &str, group: &str) -> Result<i64, String> {
    let said = kafka(
        "kafka-consumer-groups",
        &["--bootstrap-server", bootstrap, "--describe", "--group", group],
    )
    .says();
    let mut lags = Vec::new();
    for line in said.lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        if words.len() > 5 && words[1] == topic {
            lags.push(words[5].parse::<i64>().map_err(|_| said.clone())?);
        }
    }
    if lags.len() == 2 {
        Ok(lags.iter().sum())
    } else {
        Err(said)
    }
}

#[test]
fn records_and_offsets_go_both_ways_between_ours_and_kafka() {
    if !whole_ecosystem() {
        println!("with OTTLA_ECOSYSTEM=all only");
        return;
    }
    let mut ours = Cluster::start(Scene::new("mirror-ours"), 3, |b| {
        b.set("transaction.state.log.replication.factor", "3")
    });
    let theirs = Cluster::start(Scene::new("mirror-theirs"), 1, |b| {
        b.kafka().set("min.insync.replicas", "1")
    });
    let (here, there) = (ours.bootstrap(), theirs.bootstrap());
    ours.create_topic("orders", 2, &[("cleanup.policy", "compact,delete")]);
    theirs.create_replicated_topic("bills", 2, 1, &[("retention.ms", "86400000")]);
    write(&here, "orders");
    write(&there, "bills");
    consume(&here, "orders", "readers");
    consume(&there, "bills", "payers");
    let port = free_port();
    let properties = format!(
        "clusters=ours,theirs\n\
         ours.bootstrap.servers={here}\n\
         theirs.bootstrap.servers={there}\n\
         ours->theirs.enabled=true\n\
         theirs->ours.enabled=true\n\
         topics=orders,bills\n\
         groups=readers,payers\n\
         ours.replication.factor=3\n\
         theirs.replication.factor=1\n\
         ours.config.storage.replication.factor=3\nours.offset.storage.replication.factor=3\nours.status.storage.replication.factor=3\n\
         ours.checkpoints.topic.replication.factor=3\nours.heartbeats.topic.replication.factor=3\nours.offset-syncs.topic.replication.factor=3\n\
         theirs.config.storage.replication.factor=1\ntheirs.offset.storage.replication.factor=1\ntheirs.status.storage.replication.factor=1\n\
         theirs.checkpoints.topic.replication.factor=1\ntheirs.heartbeats.topic.replication.factor=1\ntheirs.offset-syncs.topic.replication.factor=1\n\
         theirs->ours.replication.factor=3\nours->theirs.replication.factor=1\n\
         theirs->ours.offset-syncs.topic.replication.factor=1\nours->theirs.offset-syncs.topic.replication.factor=3\n\
         theirs->ours.checkpoints.topic.replication.factor=3\nours->theirs.checkpoints.topic.replication.factor=1\n\
         theirs->ours.heartbeats.topic.replication.factor=3\nours->theirs.heartbeats.topic.replication.factor=1\n\
         sync.topic.acls.enabled=false\n\
         sync.group.offsets.enabled=true\n\
         sync.group.offsets.interval.seconds=1\n\
         emit.checkpoints.interval.seconds=1\n\
         emit.heartbeats.interval.seconds=1\n\
         refresh.topics.interval.seconds=5\n\
         refresh.groups.interval.seconds=5\n\
         offset.lag.max=0\n\
         dedicated.mode.enable.internal.rest=true\n\
         listeners=http://127.0.0.1:{port}\n\
         exactly.once.source.support=enabled\n\
         scheduled.rebalance.max.delay.ms=0\n\
         offset.flush.interval.ms=1000\n"
    );
    let mut mirror = Program::start(ours.scene(), "mirror-maker", "connect-mirror-maker", &properties, &[]);
    let wait_for_mirrored = |mirror: &mut Program, topic: &str, from: &str, to: &str, alias: &str| {
        let wanted = read(from, topic);
        let mirrored = format!("{alias}.{topic}");
        eventually(120, &format!("{mirrored} has what {topic} has"), || {
            mirror.must_run();
            let found = read(to, &mirrored);
            if found == wanted {
                return Ok(());
            }
            std::thread::sleep(std::time::Duration::from_millis(500));
            Err(format!("{} of {} records", found.len(), wanted.len()))
        });
    };
    wait_for_mirrored(&mut mirror, "orders", &here, &there, "ours");
    wait_for_mirrored(&mut mirror, "bills", &there, &here, "theirs");
    let wait_for_offsets = |mirror: &mut Program| {
        for (bootstrap, topic, group) in [(&there, "ours.orders", "readers"), (&here, "theirs.bills", "payers")] {
            eventually(90, &format!("{group} can go on with {topic}"), || {
                mirror.must_run();
                match lag(bootstrap, topic, group)? {
                    0 => Ok(()),
                    lag => Err(format!("{lag} behind")),
                }
            });
        }
    };
    wait_for_offsets(&mut mirror);

    // Both ends go on while a broker of ours, and then the mirror, are killed. It copies exactly once (KIP-618).
    write(&here, "orders");
    write(&there, "bills");
    let leader = ours.partition("orders", 0).leader;
    ours.broker(leader).kill();
    wait_for_mirrored(&mut mirror, "orders", &here, &there, "ours");
    ours.broker(leader).start_again();
    wait_for_mirrored(&mut mirror, "bills", &there, &here, "theirs");
    write(&here, "orders");
    mirror.kill();
    consume(&here, "orders", "readers");
    consume(&there, "bills", "payers");
    consume(&here, "orders", "readers");
    mirror.start_again();
    wait_for_mirrored(&mut mirror, "orders", &here, &there, "ours");
    wait_for_offsets(&mut mirror);

    // The copy has the configuration of the original.
    for (bootstrap, topic, config) in [
        (&there, "ours.orders", "cleanup.policy=compact,delete"),
        (&here, "theirs.bills", "retention.ms=86400000"),
    ] {
        eventually(30, &format!("{topic} has {config}"), || {
            let said = kafka(
                "kafka-topics",
                &["--bootstrap-server", bootstrap, "--describe", "--topic", topic],
            )
            .says();
            if said.contains(config) { Ok(()) } else { Err(said) }
        });
    }
    for (bootstrap, topic) in [(&there, "ours.heartbeats"), (&here, "theirs.heartbeats")] {
        eventually(30, &format!("{topic} beats"), || match read(bootstrap, topic).len() {
            0 => Err("not yet".to_owned()),
            _ => Ok(()),
        });
    }
    mirror.stop();
    println!(
        "mirror maker: {} records to Kafka and {} to us, each once",
        read(&there, "ours.orders").len(),
        read(&here, "theirs.bills").len()
    );
}
