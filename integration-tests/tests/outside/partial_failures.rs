//! Failures in part: sessions that end while their owner lives, ZooKeeper away, cables cut on one side.

use integration_tests::{
    Broker, Cluster, Coordinator, Cut, Proxy, Scene, Writer, Written, eventually, free_port, is_reference, kcat,
};
use rustix::process::Signal;
use std::time::Duration;

/// The epoch of a broker's registration, if there is one.
fn broker_epoch(cluster: &Cluster, id: i32) -> Option<i64> {
    let path = format!("/brokers/ids/{id}");
    cluster
        .znodes()
        .exists(&path)
        .expect("ZooKeeper answers")
        .map(|z| z.created)
}

/// Stops the writer once all partitions are written again and compares everything.
fn settle(cluster: &Cluster, writer: Writer, topic: &str, seconds: u64) -> Written {
    writer.wait_for_each(50, seconds);
    cluster.wait_until_in_sync(topic, seconds);
    let written = writer.stop();
    cluster.check_written(topic, &written);
    written
}

#[test]
fn a_broker_paused_beyond_its_session_finds_itself_replaced_and_rejoins() {
    let mut cluster = Cluster::start(Scene::new("paused"), 3, |b| {
        b.set("zookeeper.session.timeout.ms", "2000")
            .set("auto.leader.rebalance.enable", "false")
    });
    cluster.create_topic("t", 3, &[]);
    let writer = Writer::start(&cluster.writer("t", 3));
    writer.wait_for_each(50, 20);
    let controller = cluster.wait_for_controller(10, |_| true);
    let leader = (0..3)
        .map(|p| cluster.partition("t", p).leader)
        .find(|l| *l != controller)
        .expect("leaders are spread");
    for (paused, what) in [(leader, "a leader"), (controller, "the controller")] {
        let before = broker_epoch(&cluster, paused).expect("it is registered");
        cluster.broker(paused).signal(Signal::STOP);
        eventually(20, "its session has ended", || match broker_epoch(&cluster, paused) {
            None => Ok(()),
            Some(epoch) => Err(format!("broker epoch {epoch}")),
        });
        for p in 0..3 {
            cluster.wait_for_partition("t", p, 20, "somebody else leads", |p| {
                p.leader != paused && !p.isr.contains(&paused)
            });
        }
        writer.wait_for_each(50, 30);
        cluster.broker(paused).signal(Signal::CONT);
        let after = eventually(30, "it is registered again", || {
            broker_epoch(&cluster, paused).ok_or_else(|| "not yet".to_owned())
        });
        assert!(after > before, "{what}: a new broker epoch");
        cluster.wait_until_in_sync("t", 30);
        assert!(cluster.broker(paused).ended().is_none(), "{what}: without a restart");
        writer.wait_for_each(50, 30);
        println!("{what} paused: longest gap {:.3} s", writer.take_gap().as_secs_f64());
    }
    // Whoever rules now makes topics with all three.
    cluster.create_topic("after", 3, &[]);
    println!("{}", settle(&cluster, writer, "t", 30));
}

#[test]
fn a_cluster_works_on_without_zookeeper_and_settles_when_it_is_back() {
    let mut cluster = Cluster::start(Scene::with_own_zookeeper("zookeeper-away"), 3, |b| {
        b.set("zookeeper.session.timeout.ms", "3000")
    });
    cluster.create_topic("t", 3, &[]);
    let writer = Writer::start(&cluster.writer("t", 3));
    writer.wait_for_each(50, 20);
    writer.take_gap();
    let away: u64 = std::env::var("OTTLA_ZOOKEEPER_AWAY_SECONDS").map_or(8, |s| s.parse().expect("a number"));
    let all: [i32; 3] = [1, 2, 3];
    let before = all.map(|id| broker_epoch(&cluster, id).expect("it is registered"));
    cluster.scene().zookeeper().kill();
    std::thread::sleep(Duration::from_secs(away));
    writer.wait_for_each(50, 10);
    let at = cluster.bootstrap();
    let out = kcat(&["-b", &at, "-C", "-t", "t", "-o", "-20", "-c", "20", "-q"]).succeeds();
    assert_eq!(out.lines().count(), 20, "records are read meanwhile");
    let gap = writer.take_gap();
    println!("ZooKeeper away for {away} s: longest gap {:.3} s", gap.as_secs_f64());
    assert!(gap < Duration::from_secs(3), "nobody waited for ZooKeeper: {gap:?}");

    cluster.scene().zookeeper().start_again();
    cluster.wait_for_members(&all, 30);
    let after = all.map(|id| broker_epoch(&cluster, id).expect("it is registered"));
    println!("broker epochs before {before:?}, after {after:?}");
    cluster.wait_for_controller(30, |_| true);
    cluster.create_topic("after", 3, &[]);
    let gap = writer.take_gap();
    println!("its return: longest gap {:.3} s", gap.as_secs_f64());
    // All that waited for ZooKeeper is done: a follower that dies now leaves the in-sync set, and comes back.
    cluster.broker(3).kill();
    cluster.wait_for_partition("t", 0, 20, "3 is out", |p| p.isr == [1, 2]);
    cluster.broker(3).start_again();
    println!("{}", settle(&cluster, writer, "t", 30));
}

/// Three brokers, each with a listener for the others behind a proxy, and one before its ZooKeeper.
struct Cables {
    cluster: Cluster,
    between: Vec<Proxy>,
    to_zookeeper: Vec<Proxy>,
}

impl Cables {
    fn new(name: &str) -> Self {
        let scene = Scene::new(name);
        let internal: Vec<u16> = (0..3).map(|_| free_port()).collect();
        let between: Vec<Proxy> = internal.iter().map(|port| Proxy::start(*port)).collect();
        let (address, chroot) = scene.zookeeper_connect().split_once('/').expect("it has a chroot");
        let port = address
            .rsplit(':')
            .next()
            .and_then(|p| p.parse().ok())
            .expect("it has a port");
        let chroot = chroot.to_owned();
        let to_zookeeper: Vec<Proxy> = (0..3).map(|_| Proxy::start(port)).collect();
        let cluster = Cluster::start(scene, 3, |b| {
            let (n, client) = (b.id() as usize - 1, b.port());
            let listeners = |port: u16| format!("CLIENT://127.0.0.1:{client},INTERNAL://127.0.0.1:{port}");
            b.set("listeners", &listeners(internal[n]))
                .set("advertised.listeners", &listeners(between[n].port()))
                .set("listener.security.protocol.map", "CLIENT:PLAINTEXT,INTERNAL:PLAINTEXT")
                .set("inter.broker.listener.name", "INTERNAL")
                .set(
                    "zookeeper.connect",
                    &format!("127.0.0.1:{}/{chroot}", to_zookeeper[n].port()),
                )
                .set("zookeeper.session.timeout.ms", "3000")
                .set("auto.leader.rebalance.enable", "false")
                .set("replica.lag.time.max.ms", "2000")
                .set("replica.socket.timeout.ms", "3000")
                .set("controller.socket.timeout.ms", "3000")
                .set("replica.fetch.wait.max.ms", "300")
        });
        Self {
            cluster,
            between,
            to_zookeeper,
        }
    }

    /// Neither does this broker reach the others, nor they it.
    fn cut_off(&self, id: i32) {
        let pid = self
            .cluster
            .brokers
            .iter()
            .map(Broker::pid)
            .nth(id as usize - 1)
            .expect("it exists");
        for (n, proxy) in self.between.iter().enumerate() {
            proxy.cut(if n + 1 == id as usize {
                Cut::Everybody
            } else {
                Cut::Process(pid)
            });
        }
    }

    /// A topic `t` that is being written to, and the broker that is controller.
    fn under_load(&self) -> (Writer, i32) {
        let cluster = &self.cluster;
        cluster.create_topic("t", 3, &[]);
        let writer = Writer::start(&cluster.writer("t", 3));
        writer.wait_for_each(50, 20);
        writer.take_gap();
        (writer, cluster.wait_for_controller(10, |_| true))
    }

    fn mend(&self) {
        self.between.iter().chain(&self.to_zookeeper).for_each(Proxy::mend);
    }
}

#[test]
fn a_broker_cut_off_from_the_others_but_not_from_zookeeper_loses_nothing() {
    let cables = Cables::new("cut-from-brokers");
    let cluster = &cables.cluster;
    let (writer, controller) = cables.under_load();
    let cut = (1..=3).find(|id| *id != controller).expect("three brokers");
    cables.cut_off(cut);
    for p in 0..3 {
        if cluster.partition("t", p).leader != cut {
            cluster.wait_for_partition("t", p, 20, "the one that is cut off is out of sync", |p| {
                !p.isr.contains(&cut) && p.isr.len() == 2
            });
        }
    }
    // The one that it leads cannot shrink its in-sync set without the controller: not acknowledged, not lost.
    std::thread::sleep(Duration::from_secs(3));
    assert!(broker_epoch(cluster, cut).is_some(), "ZooKeeper sees it all the time");
    cables.mend();
    println!("{}", settle(cluster, writer, "t", 40));
    cluster.create_topic("after", 3, &[]);
}

#[test]
fn a_broker_cut_off_from_zookeeper_but_not_from_the_others_is_replaced_and_rejoins() {
    let cables = Cables::new("cut-from-zookeeper");
    let cluster = &cables.cluster;
    let (writer, controller) = cables.under_load();
    let other = (1..=3).find(|id| *id != controller).expect("three brokers");
    for (cut, what) in [(other, "a broker"), (controller, "the controller")] {
        let before = broker_epoch(cluster, cut).expect("it is registered");
        cables.to_zookeeper[cut as usize - 1].cut(Cut::Everybody);
        eventually(20, "its session has ended", || match broker_epoch(cluster, cut) {
            None => Ok(()),
            Some(epoch) => Err(format!("broker epoch {epoch}")),
        });
        for p in 0..3 {
            cluster.wait_for_partition("t", p, 20, "somebody else leads", |p| p.leader != cut);
        }
        writer.wait_for_each(50, 30);
        println!(
            "{what} without ZooKeeper: longest gap {:.3} s",
            writer.take_gap().as_secs_f64()
        );
        cables.mend();
        let after = eventually(30, "it is registered again", || {
            broker_epoch(cluster, cut).ok_or_else(|| "not yet".to_owned())
        });
        assert!(after > before, "{what}: a new broker epoch");
        cluster.wait_until_in_sync("t", 30);
        cluster.wait_for_controller(10, |_| true);
    }
    println!("{}", settle(cluster, writer, "t", 40));
    cluster.create_topic("after", 3, &[]);
}

#[test]
fn a_coordinator_cut_off_from_zookeeper_changes_nothing_any_more_and_stands_by_when_it_is_back() {
    if is_reference() {
        // Kafka has no such program.
        return;
    }
    let mut cluster = Cluster::start(Scene::new("coordinator-cut"), 3, |b| {
        b.set("zookeeper.session.timeout.ms", "3000")
            .set("auto.leader.rebalance.enable", "false")
    });
    let connect = cluster.scene().zookeeper_connect().to_owned();
    let (address, chroot) = connect.split_once('/').expect("it has a chroot");
    let port = address
        .rsplit(':')
        .next()
        .and_then(|p| p.parse().ok())
        .expect("it has a port");
    let proxy = Proxy::start(port);
    let through = format!("127.0.0.1:{}/{chroot}", proxy.port());
    let session = ("zookeeper.session.timeout.ms", "3000");
    let mut first = Coordinator::start(cluster.scene(), 100_001, &[session, ("zookeeper.connect", &through)]);
    first.wait_until_announced(cluster.scene());
    cluster.wait_for_controller(20, |id| id == first.id());
    let mut second = Coordinator::start(cluster.scene(), 100_002, &[session]);
    second.wait_until_announced(cluster.scene());
    cluster.create_topic("t", 3, &[]);
    let writer = Writer::start(&cluster.writer("t", 3));
    writer.wait_for_each(50, 20);
    writer.take_gap();

    proxy.cut(Cut::Everybody);
    cluster.wait_for_controller(20, |id| id == second.id());
    let leader = cluster.partition("t", 0).leader;
    cluster.broker(leader).kill();
    cluster.wait_for_partition("t", 0, 20, "the second lets another lead", |p| p.leader != leader);
    writer.wait_for_each(50, 30);
    proxy.mend();
    first.wait_until_announced(cluster.scene());
    cluster.broker(leader).start_again();
    cluster.wait_until_in_sync("t", 30);
    assert_eq!(cluster.controller(), Some(second.id()), "who came back stands by");
    cluster.create_topic("after", 3, &[]);
    second.kill();
    cluster.wait_for_controller(20, |id| id == first.id());
    println!("{}", settle(&cluster, writer, "t", 30));
}
