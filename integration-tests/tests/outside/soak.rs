//! Everything goes wrong at random, for as long as one likes (`OTTLA_SOAK_SECONDS`, 25 by default), with a seed that is printed and
//! can be given back (`OTTLA_SOAK_SEED`): brokers, coordinators and ZooKeeper are killed, paused and restarted under an idempotent
//! acks=all producer of ours, librdkafka's with five requests in flight, and a consumer group. Afterwards each acknowledged record is there exactly once, in order, the group has
//! read it, and all replicas have the same bytes.

use integration_tests::{Cluster, Coordinator, Group, Scene, StockWriter, Writer, is_reference};
use rustix::process::Signal;
use std::time::{Duration, Instant};

/// A small generator of numbers (SplitMix64): the same seed, the same faults in the same order.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % bound
    }
}

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().expect("a number"))
}

const PARTITIONS: i32 = 4;

#[test]
fn nothing_acknowledged_is_lost_whatever_is_killed_paused_or_restarted() {
    let seconds = number("OTTLA_SOAK_SECONDS", 25);
    let fresh = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .expect("it is after 1970");
    let seed = number("OTTLA_SOAK_SEED", u64::from(fresh.subsec_nanos()));
    println!("soak: {seconds} s, OTTLA_SOAK_SEED={seed}");
    // "2.6": in-sync sets through ZooKeeper, truncation by OffsetForLeaderEpoch.
    let protocol = std::env::var("OTTLA_SOAK_PROTOCOL").unwrap_or_else(|_| "3.9".to_owned());
    let mut random = Random(seed);

    let mut cluster = Cluster::start(Scene::with_own_zookeeper("soak"), 3, |b| {
        b.set("zookeeper.session.timeout.ms", "3000")
            .set("replica.lag.time.max.ms", "3000")
            // Rolls and recoveries of more than one segment.
            .set("log.segment.bytes", "500000")
            .set("log.segment.delete.delay.ms", "500")
            .set("leader.imbalance.check.interval.seconds", "5")
            .set("inter.broker.protocol.version", &protocol)
    });
    let mut coordinators: Vec<Coordinator> = if is_reference() {
        Vec::new()
    } else {
        let configs = [("zookeeper.session.timeout.ms", "3000")];
        [100_001, 100_002]
            .map(|id| Coordinator::start(cluster.scene(), id, &configs))
            .into()
    };
    cluster.create_topic("t", PARTITIONS, &[]);
    let writer = Writer::start(&cluster.writer("t", PARTITIONS));
    let bootstrap = cluster.bootstrap();
    let group = Group::start(cluster.scene(), &bootstrap, "t", 2);
    cluster.create_topic("stock", 2, &[]);
    let stock = StockWriter::start(cluster.scene(), &bootstrap, "stock", 2);
    writer.wait_for_each(50, 20);
    group.wait_for(100, 30);

    let begin = Instant::now();
    let end = begin + Duration::from_secs(seconds);
    let mut faults = 0;
    while Instant::now() < end {
        let broker = 1 + random.below(3) as i32;
        let pause = Duration::from_millis(200 + random.below(1500));
        let long_pause = Duration::from_millis(3500 + random.below(3000));
        let coordinator = random.below(2) as usize;
        let kind = random.below(if coordinators.is_empty() { 8 } else { 11 });
        let tell = |what: &str| println!("soak: {:6.2} s: {what}", begin.elapsed().as_secs_f64());
        match kind {
            0 | 1 => {
                tell(&format!("kill -9 of broker {broker}, back after {pause:?}"));
                cluster.broker(broker).kill();
                std::thread::sleep(pause);
                cluster.broker(broker).start_again();
            }
            2 => {
                tell(&format!("SIGTERM of broker {broker}, back after {pause:?}"));
                cluster.broker(broker).stop();
                std::thread::sleep(pause);
                cluster.broker(broker).start_again();
            }
            3 | 4 => {
                let pause = if kind == 3 { pause } else { long_pause };
                tell(&format!("broker {broker} paused for {pause:?}"));
                cluster.broker(broker).signal(Signal::STOP);
                std::thread::sleep(pause);
                cluster.broker(broker).signal(Signal::CONT);
            }
            5 => {
                tell(&format!("ZooKeeper killed, back after {pause:?}"));
                cluster.scene().zookeeper().kill();
                std::thread::sleep(pause);
                cluster.scene().zookeeper().start_again();
            }
            6 => {
                // Whoever is in office, when it is a broker.
                let Some(id) = cluster.controller().filter(|id| (1..=3).contains(id)) else {
                    continue;
                };
                tell(&format!(
                    "kill -9 of the controller's broker {id}, back after {pause:?}"
                ));
                cluster.broker(id).kill();
                std::thread::sleep(pause);
                cluster.broker(id).start_again();
            }
            7 => {
                tell(&format!("kill -9 of all brokers at once, back after {pause:?}"));
                cluster.brokers.iter_mut().for_each(|b| b.signal(Signal::KILL));
                cluster.brokers.iter_mut().for_each(|b| {
                    b.wait(20);
                });
                std::thread::sleep(pause);
                cluster.start_all_again();
            }
            8 => {
                tell(&format!("kill -9 of coordinator {coordinator}, back after {pause:?}"));
                coordinators[coordinator].kill();
                std::thread::sleep(pause);
                coordinators[coordinator].start_again();
            }
            9 => {
                tell(&format!("SIGTERM of coordinator {coordinator}, back after {pause:?}"));
                coordinators[coordinator].stop();
                std::thread::sleep(pause);
                coordinators[coordinator].start_again();
            }
            _ => {
                tell(&format!("coordinator {coordinator} paused for {long_pause:?}"));
                coordinators[coordinator].signal(Signal::STOP);
                std::thread::sleep(long_pause);
                coordinators[coordinator].signal(Signal::CONT);
            }
        }
        faults += 1;
        // Topics come and go meanwhile, or try to.
        cluster.try_topic(&format!("brief-{faults}"), true);
        if faults > 2 {
            cluster.try_topic(&format!("brief-{}", faults - 2), false);
        }
        // Sometimes the next fault comes before this one has healed; then two of three may be missing, and nobody may write.
        if random.below(3) > 0 {
            writer.wait_for_each(20, 60);
        }
        std::thread::sleep(Duration::from_millis(random.below(800)));
    }
    println!("soak: {faults} faults; all must settle now");
    writer.wait_for_each(50, 60);
    cluster.wait_until_in_sync("t", 60);
    let of_stock = stock.stop();
    let written = writer.stop();
    println!("soak: seed {seed}, {faults} faults: {written}");
    cluster.check_written("t", &written);
    println!("soak: {} records of librdkafka's producer", of_stock.records());
    cluster.check_written("stock", &of_stock);
    group.check(&written, 60);
    // No stuck controller, no stuck deletion.
    cluster.delete_topics("brief-", 120);
    cluster.create_topic("after", 3, &[]);
}
