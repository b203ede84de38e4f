//! Kafka Connect, distributed: two workers, a file as source, a file as sink, the three internal topics; a worker is killed, then a
//! broker. The source is exactly-once (KIP-618): what is committed in the topic is the file, line by line.

use integration_tests::{Cluster, ConnectWorker, Scene, eventually, kafka, kcat, lines_of};
use serde_json::json;
use std::fs::File;
use std::io::Write;
use std::path::Path;

fn append(file: &Path, from: usize, to: usize) {
    let mut file = File::options()
        .create(true)
        .append(true)
        .open(file)
        .expect("a file can be opened");
    let lines: String = (from..to).map(|n| format!("line {n}\n")).collect();
    file.write_all(lines.as_bytes()).expect("a file can be written");
}

/// What somebody reads who reads only what is committed.
fn committed(bootstrap: &str) -> Vec<String> {
    let from = ["-b", bootstrap, "-C", "-t", "lines", "-o", "beginning", "-e", "-q"];
    let how = ["-X", "isolation.level=read_committed", "-f", "%s\n"];
    let out = kcat(&[&from[..], &how[..]].concat()).succeeds();
    out.lines().map(str::to_owned).collect()
}

/// The topic is the file; the sink has every line, some perhaps twice.
fn check(bootstrap: &str, count: usize, sink: &Path, workers: &mut [ConnectWorker]) {
    let wanted: Vec<String> = (0..count).map(|n| format!("line {n}")).collect();
    eventually(90, "all lines are in the topic and in the sink", || {
        workers.iter_mut().for_each(|it| it.program.must_run());
        let found = committed(bootstrap);
        if found.len() < wanted.len() {
            std::thread::sleep(std::time::Duration::from_millis(300));
            return Err(format!("{} of {count} in the topic", found.len()));
        }
        assert!(found == wanted, "the topic is not the file: {found:?}");
        let sunk: std::collections::BTreeSet<String> = lines_of(sink).into_iter().collect();
        match wanted.iter().find(|it| !sunk.contains(*it)) {
            None => Ok(()),
            Some(missing) => Err(format!("`{missing}` is not in the sink, which has {}", sunk.len())),
        }
    });
}

#[test]
fn lines_go_from_file_to_topic_to_file_through_workers_and_brokers_that_die() {
    let mut cluster = Cluster::start(Scene::new("connect"), 3, |b| {
        b.set("transaction.state.log.replication.factor", "3")
            .set("transaction.state.log.min.isr", "2")
            .set("transaction.state.log.num.partitions", "4")
    });
    let bootstrap = cluster.bootstrap();
    cluster.create_topic("lines", 1, &[]);
    let directory = cluster.scene().directory().to_owned();
    let (source, sink) = (directory.join("source.txt"), directory.join("sink.txt"));
    append(&source, 0, 100);
    let mut workers = vec![
        ConnectWorker::start(cluster.scene(), "worker-0", &bootstrap),
        ConnectWorker::start(cluster.scene(), "worker-1", &bootstrap),
    ];
    let connectors = [
        json!({"name": "source", "config": {
            "connector.class": "org.apache.kafka.connect.file.FileStreamSourceConnector", "tasks.max": "1",
            "file": source, "topic": "lines", "exactly.once.support": "required"}}),
        json!({"name": "sink", "config": {
            "connector.class": "org.apache.kafka.connect.file.FileStreamSinkConnector", "tasks.max": "1",
            "file": sink, "topics": "lines"}}),
    ];
    for connector in &connectors {
        workers[0].ask(90, "POST", "/connectors", &connector.to_string());
    }
    let mut at = workers[1].wait_until_running("source", 1, 60);
    at.extend(workers[1].wait_until_running("sink", 1, 60));
    check(&bootstrap, 100, &sink, &mut workers);
    for topic in ["connect-configs", "connect-offsets", "connect-status"] {
        let said = kafka(
            "kafka-topics",
            &["--bootstrap-server", &bootstrap, "--describe", "--topic", topic],
        )
        .succeeds();
        assert!(said.contains("cleanup.policy=compact"), "{said}");
    }

    // The worker of the source dies, its work moves to the other one.
    append(&source, 100, 200);
    let victim = usize::from(at[0] == workers[1].id());
    assert_eq!(at[0], workers[victim].id());
    workers[victim].program.kill();
    append(&source, 200, 300);
    let left = workers[1 - victim].id();
    eventually(60, "the source has moved", || {
        match workers[1 - victim].wait_until_running("source", 1, 60) {
            moved if moved == [left.clone()] => Ok(()),
            other => Err(format!("{other:?}")),
        }
    });
    check(&bootstrap, 300, &sink, std::slice::from_mut(&mut workers[1 - victim]));

    // It comes back, and the broker dies that leads the topic of the lines.
    workers[victim].program.start_again();
    append(&source, 300, 400);
    let leader = cluster.partition("lines", 0).leader;
    cluster.broker(leader).kill();
    append(&source, 400, 500);
    check(&bootstrap, 500, &sink, std::slice::from_mut(&mut workers[1 - victim]));
    cluster.broker(leader).start_again();
    append(&source, 500, 600);
    let again = workers[victim].wait_until_running("source", 1, 90);
    assert_eq!(again.len(), 1);
    check(&bootstrap, 600, &sink, &mut workers);

    // Connect tells how far its source is: to the end of the file.
    let length = std::fs::metadata(&source).expect("the file is there").len();
    eventually(20, "the source's offset is the end of the file", || {
        let offsets = workers[0].ask(20, "GET", "/connectors/source/offsets", "");
        match offsets["offsets"][0]["offset"]["position"].as_u64() {
            Some(position) if position == length => Ok(()),
            _ => Err(format!("{offsets} of {length}")),
        }
    });
    let sunk = lines_of(&sink);
    println!(
        "connect: 600 lines exactly once in the topic, {} lines in the sink",
        sunk.len()
    );

    // Connectors are stopped, made to forget how far they were, and begin anew (KIP-875): everything comes once more.
    for connector in ["sink", "source"] {
        let path = format!("/connectors/{connector}");
        workers[0].ask(60, "PUT", &format!("{path}/stop"), "");
        workers[0].wait_for_state(connector, "STOPPED", 60);
        workers[0].ask(60, "DELETE", &format!("{path}/offsets"), "");
        workers[0].ask(60, "PUT", &format!("{path}/resume"), "");
        workers[0].wait_until_running(connector, 1, 60);
    }
    eventually(60, "everything has come once more", || {
        match (committed(&bootstrap).len(), lines_of(&sink).len()) {
            (1200, lines) if lines >= 1800 => Ok(()),
            other => Err(format!("{other:?} lines in the topic and in the sink")),
        }
    });
    for connector in ["source", "sink"] {
        workers[0].ask(60, "DELETE", &format!("/connectors/{connector}"), "");
    }
    for worker in &mut workers {
        worker.program.stop();
    }
    cluster.check_replicas("lines");
}
