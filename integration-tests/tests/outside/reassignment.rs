//! Partitions that move while they are written to, and topics that go while a broker is away.

use integration_tests::{Cluster, Scene, Writer, eventually, is_reference, kafka, kcat_with_input};
use std::time::Duration;

#[test]
fn fifty_partitions_move_while_they_are_written_to() {
    const PARTITIONS: i32 = 50;
    let mut cluster = Cluster::start(Scene::new("move-fifty"), 3, |b| {
        b.set("log.segment.delete.delay.ms", "500")
    });
    let at = cluster.bootstrap();
    let before: Vec<[i32; 2]> = (0..PARTITIONS).map(|p| [p % 3 + 1, (p + 1) % 3 + 1]).collect();
    let after: Vec<[i32; 2]> = (0..PARTITIONS).map(|p| [(p + 2) % 3 + 1, p % 3 + 1]).collect();
    let assignment: Vec<String> = before.iter().map(|[a, b]| format!("{a}:{b}")).collect();
    kafka(
        "kafka-topics",
        &[
            "--bootstrap-server",
            &at,
            "--create",
            "--topic",
            "t",
            "--replica-assignment",
            &assignment.join(","),
            "--config",
            "min.insync.replicas=1",
            "--config",
            "segment.bytes=100000",
        ],
    )
    .succeeds();
    cluster.wait_until_in_sync("t", 20);
    let mut setup = cluster.writer("t", PARTITIONS);
    setup.pause = Duration::from_millis(50);
    let writer = Writer::start(&setup);
    writer.wait_for_each(100, 30);
    writer.take_gap();

    let partitions: Vec<String> = (after.iter().enumerate())
        .map(|(p, [a, b])| format!(r#"{{"topic": "t", "partition": {p}, "replicas": [{a}, {b}]}}"#))
        .collect();
    let json = cluster.scene().directory().join("move.json");
    std::fs::write(
        &json,
        format!(r#"{{"version": 1, "partitions": [{}]}}"#, partitions.join(", ")),
    )
    .expect("a file can be written");
    kafka(
        "kafka-reassign-partitions",
        &[
            "--bootstrap-server",
            &at,
            "--execute",
            "--reassignment-json-file",
            &json.display().to_string(),
        ],
    )
    .succeeds();
    eventually(60, "all partitions have moved", || {
        let partitions = cluster.partitions("t")?;
        let waiting: Vec<_> = (partitions.iter().zip(&after))
            .filter(|(p, a)| p.replicas != **a)
            .collect();
        match waiting.first() {
            None => Ok(()),
            Some(first) => Err(format!("{} have not, such as {first:?}", waiting.len())),
        }
    });
    writer.wait_for_each(100, 30);
    println!(
        "reassignment of {PARTITIONS} partitions: longest gap {:.3} s",
        writer.take_gap().as_secs_f64()
    );
    let written = writer.stop();
    println!("{written}");
    cluster.check_written("t", &written);
    let brokers: Vec<_> = cluster.brokers.iter().map(|b| b.data()).collect();
    eventually(
        if is_reference() { 100 } else { 20 },
        "replicas that moved away are gone",
        || {
            for (p, [a, b]) in after.iter().enumerate() {
                let gone = 6 - a - b;
                let left = brokers[gone as usize - 1].join(format!("t-{p}"));
                if left.exists() {
                    return Err(left.display().to_string());
                }
            }
            Ok(())
        },
    );
}

#[test]
fn a_topic_deleted_while_a_broker_is_away_goes_from_it_when_it_is_back() {
    let mut cluster = Cluster::start(Scene::new("delete-away"), 3, |b| {
        b.set("zookeeper.session.timeout.ms", "2000")
            .set("log.segment.delete.delay.ms", "500")
    });
    let at = cluster.bootstrap();
    cluster.create_topic("t", 4, &[]);
    cluster.create_topic("stays", 1, &[]);
    kcat_with_input(&["-b", &at, "-P", "-t", "t"], b"one\ntwo\nthree\n").succeeds();
    // Not the controller: who that is when the topic goes, is not to decide whether it does.
    let controller = cluster.wait_for_controller(10, |_| true);
    let away = (1..=3).find(|id| *id != controller).expect("three brokers");
    cluster.broker(away).kill();
    let mut others: Vec<i32> = (1..=3).filter(|id| *id != away).collect();
    cluster.wait_for_members(&others, 20);
    let alive = cluster.broker(controller).bootstrap();
    kafka(
        "kafka-topics",
        &["--bootstrap-server", &alive, "--delete", "--topic", "t"],
    )
    .succeeds();
    let left = |cluster: &Cluster, id: i32| -> Vec<String> {
        let data = cluster.brokers[id as usize - 1].data();
        let names = std::fs::read_dir(data).expect("the directory is there").flatten();
        let names = names.map(|f| f.file_name().to_string_lossy().into_owned());
        names.filter(|n| n.starts_with("t-")).collect()
    };
    for id in &others {
        // Kafka deletes nothing in the first 30 s after a broker's start.
        eventually(60, "the brokers that are there delete it", || {
            match left(&cluster, *id) {
                left if left.is_empty() => Ok(()),
                left => Err(format!("broker {id} has {left:?}")),
            }
        });
    }
    let marked = |cluster: &Cluster| cluster.znodes().children("/admin/delete_topics").unwrap_or_default();
    assert_eq!(
        marked(&cluster),
        ["t"],
        "the deletion waits for the broker that is away"
    );
    assert_eq!(left(&cluster, away).len(), 4);

    // Another controller takes the held deletion over.
    cluster.broker(controller).kill();
    cluster.wait_for_controller(20, |id| id != controller && id != away);
    assert_eq!(marked(&cluster), ["t"]);
    cluster.broker(controller).start_again();
    cluster.broker(away).start_again();
    others.push(away);
    others.sort_unstable();
    cluster.wait_for_members(&others, 20);
    eventually(60, "all traces of the topic are gone", || {
        let mut traces: Vec<String> = (1..=3).flat_map(|id| left(&cluster, id)).collect();
        for path in ["/brokers/topics", "/config/topics", "/admin/delete_topics"] {
            let names = cluster.znodes().children(path).map_err(|e| e.to_string())?;
            traces.extend(names.into_iter().filter(|n| n == "t").map(|n| format!("{path}/{n}")));
        }
        if traces.is_empty() {
            Ok(())
        } else {
            Err(format!("{traces:?}"))
        }
    });
    cluster.wait_until_in_sync("stays", 20);
    cluster.create_topic("t", 2, &[]);
    kcat_with_input(&["-b", &at, "-P", "-t", "t"], b"of another topic with this name\n").succeeds();
    cluster.check_replicas("t");
}
