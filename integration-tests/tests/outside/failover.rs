//! A broker or the controller dies or stops under load: writers go on, and nothing acknowledged is lost.

use integration_tests::{Cluster, Coordinator, Scene, Writer, is_reference};
use std::time::{Duration, Instant};

/// Waits until every lane goes on, and says how long the longest of them had to wait.
fn gap(writer: &Writer, what: &str) -> Duration {
    writer.wait_for_each(30, 60);
    let gap = writer.take_gap();
    println!("{what}: longest gap {:.3} s", gap.as_secs_f64());
    gap
}

#[test]
fn writers_go_on_when_a_leader_or_the_controller_is_killed_or_stopped() {
    let mut cluster = Cluster::start(Scene::new("failover"), 3, |b| {
        b.set(
            "zookeeper.session.timeout.ms",
            if is_reference() { "6000" } else { "3000" },
        )
        .set("auto.leader.rebalance.enable", "false")
    });
    cluster.create_topic("t", 3, &[]);
    let writer = Writer::start(&cluster.writer("t", 3));
    gap(&writer, "quiet");

    let leader_other_than = |cluster: &Cluster, other: Option<i32>| {
        (0..3)
            .map(|p| cluster.partition("t", p).leader)
            .find(|l| Some(*l) != other)
            .expect("leaders are spread")
    };
    let controller = cluster.controller();
    let leader = leader_other_than(&cluster, controller);
    cluster.broker(leader).kill();
    gap(&writer, "kill -9 of a leader");
    cluster.broker(leader).start_again();
    cluster.wait_until_in_sync("t", 30);
    gap(&writer, "its return");

    let controller = cluster.wait_for_controller(10, |_| true);
    cluster.broker(controller).kill();
    gap(&writer, "kill -9 of the broker that hosts the controller");
    cluster.wait_for_controller(20, |id| id != controller);
    cluster.broker(controller).start_again();
    cluster.wait_until_in_sync("t", 30);
    gap(&writer, "its return");

    let controller = cluster.controller();
    let leader = leader_other_than(&cluster, controller);
    cluster.broker(leader).stop();
    let stopped = gap(&writer, "SIGTERM of a leader");
    for p in 0..3 {
        assert_ne!(cluster.partition("t", p).leader, leader, "partition {p}");
    }
    cluster.broker(leader).start_again();
    cluster.wait_until_in_sync("t", 30);

    let controller = cluster.wait_for_controller(10, |_| true);
    cluster.broker(controller).stop();
    gap(&writer, "SIGTERM of the broker that hosts the controller");
    cluster.broker(controller).start_again();
    cluster.wait_until_in_sync("t", 30);
    let written = writer.stop();
    println!("all of it: {written}");
    cluster.check_written("t", &written);
    assert!(
        stopped < Duration::from_secs(3),
        "leaders move before a broker goes in order, not after its session: {stopped:?}"
    );
}

#[test]
fn brokers_go_on_without_their_coordinator_and_obey_its_successor() {
    if is_reference() {
        // Kafka has no such program.
        return;
    }
    let mut cluster = Cluster::start(Scene::new("coordinator-failover"), 3, |b| {
        b.set("zookeeper.session.timeout.ms", "3000")
            .set("auto.leader.rebalance.enable", "false")
    });
    let configs = [("zookeeper.session.timeout.ms", "3000")];
    let mut first = Coordinator::start(cluster.scene(), 100_001, &configs);
    first.wait_until_announced(cluster.scene());
    // A broker hands over to it.
    cluster.wait_for_controller(20, |id| id == first.id());
    cluster.create_topic("t", 3, &[]);
    let writer = Writer::start(&cluster.writer("t", 3));
    gap(&writer, "quiet");

    let mut second = Coordinator::start(cluster.scene(), 100_002, &configs);
    second.wait_until_announced(cluster.scene());
    first.kill();
    let killed = Instant::now();
    let (second_id, first_id) = (second.id(), first.id());
    cluster.wait_for_controller(20, |id| id == second_id);
    println!(
        "the second coordinator is in office after {:.3} s",
        killed.elapsed().as_secs_f64()
    );
    gap(&writer, "kill -9 of the coordinator");

    let leader = cluster.partition("t", 0).leader;
    cluster.broker(leader).kill();
    gap(&writer, "kill -9 of a leader under the second coordinator");
    cluster.broker(leader).start_again();
    cluster.wait_until_in_sync("t", 30);

    first.start_again();
    first.wait_until_announced(cluster.scene());
    second.stop();
    cluster.wait_for_controller(10, |id| id == first_id);
    cluster.create_topic("decided-by-the-first-again", 3, &[]);
    first.stop();
    cluster.wait_for_controller(20, |id| (1..=3).contains(&id));
    cluster.create_topic("decided-by-a-broker", 3, &[]);
    gap(&writer, "SIGTERM of the coordinators");
    let written = writer.stop();
    println!("all of it: {written}");
    cluster.check_written("t", &written);
}
