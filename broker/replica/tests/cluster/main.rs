//! Whole clusters in one thread, with fake time: the controller's core and the replicas' cores over an in-memory ZooKeeper,
//! model logs and wires that fail, driven by a seed.
//!
//! Processes die, are paused and wake up with old epochs; sessions expire; machines lose what they had not flushed; calls
//! are lost, late, doubled by being tried again; brokers are cut off from each other or from ZooKeeper; topics are made,
//! moved and deleted meanwhile. [`invariants`] says what holds after every step; when faults stop, everything must come to
//! rest, and new records get through.
//!
//! A failure names its seed: `OTTLA_SEED=n` plays that history alone and prints it, `OTTLA_SEEDS=from..to` plays many.

mod broker;
mod call;
mod client;
mod cluster;
mod controller;
mod faults;
mod fetching;
mod invariants;
mod model_log;
mod random;
mod zookeeper;

use std::panic::{AssertUnwindSafe, catch_unwind};

use cluster::{Cluster, Happening, Process, Settings};
use model::{BrokerId, ControllerEpoch};
use random::Random;
use zookeeper::ZooKeeper;

/// How many histories are played where nothing else is said.
const SEEDS: u64 = 2_000;
/// How long the cluster may take to come to rest.
const REST: i64 = 90_000;

#[test]
fn nothing_acknowledged_is_lost_and_all_come_to_rest() {
    if let Some(seed) = std::env::var("OTTLA_SEED").ok().and_then(|it| it.parse().ok()) {
        println!("{:?}", play(seed, true));
        return;
    }
    let seeds = std::env::var("OTTLA_SEEDS").ok().and_then(|it| {
        let (from, to) = it.split_once("..")?;
        Some(from.parse().ok()?..to.parse().ok()?)
    });
    let mut totals = Totals::default();
    let mut failed = Vec::new();
    for seed in seeds.unwrap_or(0..SEEDS) {
        match catch_unwind(AssertUnwindSafe(|| play(seed, false))) {
            Ok(history) => totals.add(&history),
            Err(_) => failed.push(seed),
        }
        assert!(failed.len() < 10, "OTTLA_SEED=n plays one of these alone: {failed:?}");
    }
    assert!(failed.is_empty(), "OTTLA_SEED=n plays one of these alone: {failed:?}");
    println!("{totals:?}");
    assert!(totals.acknowledged > 0, "nothing was acknowledged at all: {totals:?}");
}

/// What happened in a history, lest it was nothing.
#[derive(Clone, Copy, Debug, Default)]
struct Totals {
    histories: u64,
    acknowledged: usize,
    controllers: usize,
    leaders: usize,
    time: i64,
}

impl Totals {
    fn add(&mut self, other: &Self) {
        self.histories += other.histories;
        self.acknowledged += other.acknowledged;
        self.controllers += other.controllers;
        self.leaders += other.leaders;
        self.time += other.time;
    }
}

fn play(seed: u64, trace: bool) -> Totals {
    let mut random = Random::new(seed);
    let settings = Settings {
        brokers: 3 + random.below(3) as usize,
        coordinators: random.below(3) as usize,
        truncate_on_fetch: random.chance(60),
        sessions: random.chance(60),
        torn: random.chance(40),
        duration: random.between(4_000, 24_000),
    };
    let mut processes = Vec::new();
    for id in 1..=settings.brokers {
        processes.push(Process::new(BrokerId(id as i32), true, seed));
    }
    for id in 0..settings.coordinators {
        processes.push(Process::new(BrokerId(1_000 + id as i32), false, seed));
    }
    let mut zk = ZooKeeper::new(&[
        "/admin",
        "/admin/delete_topics",
        "/brokers",
        "/brokers/ids",
        "/brokers/topics",
        "/cluster",
        "/cluster/ottla",
        "/cluster/ottla/coordinators",
        "/config",
        "/config/brokers",
        "/config/topics",
        "/isr_change_notification",
        "/latest_producer_id_block",
        "/log_dir_event_notification",
    ]);
    zk.put(
        "/controller_epoch",
        zk_schema::controller_epoch::encode(ControllerEpoch(0)),
    );
    let mut cluster = Cluster::new(settings, random, processes, zk, trace);
    cluster::trace!(cluster, "seed {seed}: {settings:?}");
    for pid in 0..cluster.processes.len() {
        cluster.start(pid);
    }
    cluster.run_until(200);
    cluster.make_topic();
    cluster.run_until(1_000);
    for _ in 0..3 {
        cluster.add_producer(None);
    }
    cluster.later(500, Happening::Fault);
    cluster.run_until(settings.duration);

    cluster.calm_down();
    let mut rested = None;
    let until = cluster.now + REST;
    while cluster.now < until {
        cluster.run_until(cluster.now + 1_000);
        if cluster.now > settings.duration + 2_000 {
            cluster.clients.stopped = true;
        }
        rested = cluster.why_unsettled(true);
        if rested.is_none() && cluster.clients.stopped {
            break;
        }
    }
    assert_eq!(rested, None, "{REST} ms after the last fault");
    let partitions = cluster.partitions();
    let producers: Vec<_> = partitions
        .iter()
        .map(|partition| cluster.add_producer(Some(partition.clone())))
        .collect();
    cluster.run_until(cluster.now + 5_000);
    for (client, partition) in producers.into_iter().zip(&partitions) {
        assert_eq!(
            cluster.clients.producers[client].acknowledged, 1,
            "no new record gets through to {partition}"
        );
    }
    cluster.check.totals(cluster.now)
}
