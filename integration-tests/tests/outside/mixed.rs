//! Our brokers and Apache Kafka 3.9's own in one cluster: a cluster of Kafka becomes ours broker by broker and back, under load,
//! with the controller on either side and, once all brokers are ours, in the coordinator.

use integration_tests::{Cluster, Coordinator, Group, Scene, Writer, is_reference, kafka};
use std::time::Duration;

/// SIGTERM, a start, and everybody in sync: leaders move away and back.
fn restart(cluster: &mut Cluster, id: i32, kafka_from_now: Option<bool>) {
    cluster.broker(id).stop();
    if let Some(kafka) = kafka_from_now {
        cluster.broker(id).become_kafka(kafka);
    }
    cluster.broker(id).start_again();
    cluster.wait_for_members(&[1, 2, 3], 30);
    cluster.wait_until_in_sync("t", 60);
}

/// Restarts whoever is in office until this broker is.
fn put_into_office(cluster: &mut Cluster, wanted: &[i32]) -> i32 {
    for _ in 0..8 {
        let controller = cluster.wait_for_controller(30, |_| true);
        if wanted.contains(&controller) {
            return controller;
        }
        restart(cluster, controller, None);
    }
    panic!("none of {wanted:?} came into office in eight elections");
}

#[test]
fn a_cluster_of_kafka_becomes_ours_broker_by_broker_and_back_under_load() {
    if is_reference() {
        // Kafka alone is what the other tests show then.
        return;
    }
    let mut cluster = Cluster::start(Scene::new("mixed"), 3, |b| {
        b.kafka()
            .set("zookeeper.session.timeout.ms", "6000")
            .set("auto.leader.rebalance.enable", "false")
            .set("log.segment.bytes", "1000000")
    });
    cluster.create_topic("t", 6, &[]);
    let mut setup = cluster.writer("t", 6);
    setup.pause = Duration::from_millis(30);
    let writer = Writer::start(&setup);
    let bootstrap = cluster.bootstrap();
    let group = Group::start(cluster.scene(), &bootstrap, "t", 2);
    writer.wait_for_each(30, 30);
    group.wait_for(100, 60);
    let phase = |writer: &Writer, what: &str| {
        writer.wait_for_each(30, 60);
        println!("{what}: longest gap {:.3} s", writer.take_gap().as_secs_f64());
    };
    phase(&writer, "three of Kafka");
    // Kafka's brokers could not find it: it leaves the office to brokers while there is one of them.
    let mut coordinator = Coordinator::start(cluster.scene(), 100_001, &[]);
    coordinator.wait_until_announced(cluster.scene());
    assert!((1..=3).contains(&cluster.wait_for_controller(10, |_| true)));

    // Two of Kafka and ours, Kafka in office.
    let controller = put_into_office(&mut cluster, &[1, 2]);
    restart(&mut cluster, 3, Some(false));
    cluster.elect_preferred_leaders("t");
    phase(&writer, "broker 3 is ours, Kafka in office");
    assert_eq!(cluster.controller(), Some(controller));
    cluster.broker(3).kill();
    cluster.broker(3).start_again();
    cluster.wait_until_in_sync("t", 60);
    cluster.create_topic("made-by-kafka", 3, &[]);
    cluster.elect_preferred_leaders("t");
    phase(&writer, "kill -9 of ours");

    // The same, ours in office: each of Kafka's is restarted at least once on the way or now.
    put_into_office(&mut cluster, &[3]);
    cluster.elect_preferred_leaders("t");
    phase(&writer, "ours in office");
    restart(&mut cluster, 1, None);
    cluster.elect_preferred_leaders("t");
    cluster.create_topic("made-by-ours", 3, &[]);
    let out = kafka(
        "kafka-topics",
        &["--bootstrap-server", &bootstrap, "--delete", "--topic", "made-by-kafka"],
    );
    out.succeeds();
    phase(&writer, "Kafka restarted under ours");
    cluster.broker(2).kill();
    cluster.broker(2).become_kafka(false);
    cluster.broker(2).start_again();
    cluster.wait_until_in_sync("t", 60);
    cluster.elect_preferred_leaders("t");
    phase(&writer, "kill -9 of Kafka's broker 2, which is ours from now on");

    restart(&mut cluster, 1, Some(false));
    cluster.elect_preferred_leaders("t");
    phase(&writer, "three of ours");
    cluster.wait_for_controller(20, |id| id == coordinator.id());
    phase(&writer, "the coordinator in office");

    // And back: Kafka reads what ours has written.
    restart(&mut cluster, 2, Some(true));
    cluster.wait_for_controller(20, |id| (1..=3).contains(&id));
    cluster.elect_preferred_leaders("t");
    phase(&writer, "broker 2 is Kafka's again");
    cluster.wait_until_in_sync("made-by-ours", 30);

    let written = writer.stop();
    println!("mixed cluster: {written}");
    cluster.check_written("t", &written);
    group.check(&written, 60);
}
