//! The controller's office: who holds it, who is told what, and what a controller of yesterday can still do.

use integration_tests::{
    Cluster, Connection, Coordinator, Partition, Scene, eventually, free_port, is_reference, kafka,
};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

const UPDATE_METADATA: i16 = 6;
const CONTROLLED_SHUTDOWN: i16 = 7;
const STALE_CONTROLLER_EPOCH: i16 = 11;
const NOT_CONTROLLER: i16 = 41;

/// What a coordinator answers to these bytes, whole.
fn http(port: u16, request: &[u8]) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    stream.write_all(request)?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

/// Status and body of `GET /health`.
fn health(port: u16) -> Result<(String, Value), String> {
    let answer = http(port, b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n").map_err(|e| e.to_string())?;
    let (head, body) = answer.split_once("\r\n\r\n").ok_or("no end of the head")?;
    let status = head.split_whitespace().nth(1).ok_or("no status")?.to_owned();
    let body = serde_json::from_str(body).map_err(|e| format!("{e}: {body}"))?;
    Ok((status, body))
}

/// Waits until `/health` looks as `wanted` says.
fn wait_for_health(port: u16, what: &str, wanted: impl Fn(&str, &Value) -> bool) -> Value {
    eventually(30, what, || match health(port)? {
        (status, body) if wanted(&status, &body) => Ok(body),
        other => Err(format!("{other:?}")),
    })
}

#[test]
fn a_coordinator_says_over_http_how_it_is() {
    if is_reference() {
        // Kafka has no such program.
        return;
    }
    let mut scene = Scene::with_own_zookeeper("health");
    let ports = [free_port(), free_port()];
    let listener = |port: u16| format!("127.0.0.1:{port}");
    let start = |scene: &Scene, id: u32, port: u16| {
        let configs = [
            ("ottla.health.listener", &*listener(port)),
            ("zookeeper.session.timeout.ms", "4000"),
        ];
        Coordinator::start(scene, id, &configs)
    };
    let mut first = start(&scene, 100_001, ports[0]);
    let body = wait_for_health(ports[0], "the first is in office", |status, body| {
        status == "200" && body["role"] == "active"
    });
    assert_eq!(
        (
            &body["id"],
            &body["controller"],
            &body["session"],
            &body["gauges"]["OfflinePartitionsCount"]
        ),
        (
            &Value::from(100_001),
            &Value::from(100_001),
            &Value::from("connected"),
            &Value::from(0)
        ),
    );
    let epoch = body["epoch"].as_i64().expect("a number");
    let mut second = start(&scene, 100_002, ports[1]);
    wait_for_health(ports[1], "the second stands by", |status, body| {
        status == "200" && body["role"] == "standby" && body["controller"] == 100_001 && body["gauges"].is_null()
    });
    assert!(second.log().contains("standing by"), "{}", second.log());

    // Strangers: who says nothing, too much or nonsense holds up nobody.
    let silent: Vec<TcpStream> = (0..40)
        .map(|_| TcpStream::connect(("127.0.0.1", ports[0])).expect("it listens"))
        .collect();
    let begin = Instant::now();
    assert_eq!(health(ports[0]).expect("an answer").0, "200");
    assert!(begin.elapsed() < Duration::from_secs(9), "{:?}", begin.elapsed());
    drop(silent);
    let refused = |request: &[u8], status: &str| {
        let answer = http(ports[0], request).expect("an answer");
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{answer}");
    };
    refused(b"GET /metrics HTTP/1.1\r\n\r\n", "404");
    refused(b"DELETE /health HTTP/1.1\r\n\r\n", "405");
    refused(b"\x16\x03\x01\x02\x00\x01\r\n\r\n", "400");
    refused(&[b'A'; 100_000], "431");

    scene.zookeeper().kill();
    wait_for_health(ports[0], "it is not well without ZooKeeper", |status, body| {
        status == "503" && body["session"] == "disconnected"
    });
    scene.zookeeper().start_again();
    wait_for_health(ports[0], "it is well again", |status, _| status == "200");

    let active = |port: u16| health(port).is_ok_and(|(_, body)| body["role"] == "active");
    eventually(20, "one of them is in office", || {
        match active(ports[0]) || active(ports[1]) {
            true => Ok(()),
            false => Err("none".to_owned()),
        }
    });
    if active(ports[0]) {
        first.stop();
        let body = wait_for_health(ports[1], "the second takes over", |_, body| body["role"] == "active");
        assert!(body["epoch"].as_i64() > Some(epoch), "{body}");
        assert!(first.log().contains("resigned as the controller"), "{}", first.log());
    }
    second.stop();
}

/// The controller's id and epoch as ZooKeeper has them.
fn office(cluster: &Cluster) -> (Option<i32>, i32) {
    let epoch = cluster.znodes().get("/controller_epoch").expect("ZooKeeper answers");
    let epoch = epoch.expect("there was an election").data.parse();
    (cluster.controller(), epoch.expect("a number"))
}

/// An UpdateMetadata without news, as this controller at this epoch would send it; gives the error code.
fn update_metadata(port: u16, controller: i32, epoch: i32) -> i16 {
    let mut body = Vec::new();
    body.extend(controller.to_be_bytes());
    body.extend(epoch.to_be_bytes());
    body.extend([0; 8]); // no partitions, no brokers
    let mut connection = Connection::open(port).expect("the broker listens");
    connection.send(UPDATE_METADATA, 0, &body).expect("it can be sent");
    let (_, answer) = connection.receive().expect("an answer");
    i16::from_be_bytes([answer[0], answer[1]])
}

/// Asks whoever listens at `port` to move all leaderships off `broker`; the answer is read later.
fn ask_for_shutdown(port: u16, broker: i32) -> Connection {
    let mut connection = Connection::open(port).expect("it listens");
    connection
        .send(CONTROLLED_SHUTDOWN, 1, &broker.to_be_bytes())
        .expect("it can be sent");
    connection
}

/// A controller that was paused beyond its session, and replaced.
struct Old {
    id: i32,
    pid: u32,
    /// Where it takes requests.
    port: u16,
    epoch: i32,
}

/// Lets it go on, and sees that it can do nothing.
fn goes_on_in_vain(cluster: &Cluster, old: &Old) {
    let new = cluster.wait_for_controller(20, |id| id != old.id);
    let awake = cluster.brokers.iter().find(|broker| broker.port() != old.port);
    let awake = awake.expect("there are several");
    awake.create_replicated_topic("by-the-new-one", 2, 2, &[]);
    let found = office(cluster);
    assert_eq!(found, (Some(new), old.epoch + 1));
    let before = cluster.partitions("by-the-old-one").expect("ZooKeeper answers");
    // A question which it finds as soon as it goes on, before it knows that it is replaced: to move leaderships.
    let mut question = ask_for_shutdown(old.port, before[0].leader);
    let pid = i32::try_from(old.pid)
        .ok()
        .and_then(Pid::from_raw)
        .expect("a process id");
    kill_process(pid, Signal::CONT).expect("it can be signalled");
    let (_, answer) = question.receive().expect("an answer");
    assert_eq!(i16::from_be_bytes([answer[0], answer[1]]), NOT_CONTROLLER);
    std::thread::sleep(Duration::from_secs(2));
    assert_eq!(office(cluster), found, "the office is with the new one, at its epoch");
    let after = cluster.partitions("by-the-old-one").expect("ZooKeeper answers");
    let leaders = |all: &[Partition]| all.iter().map(|p| (p.leader, p.leader_epoch)).collect::<Vec<_>>();
    assert_eq!(leaders(&after), leaders(&before));
    for broker in &cluster.brokers {
        let told = update_metadata(broker.port(), old.id, old.epoch);
        assert_eq!(told, STALE_CONTROLLER_EPOCH, "a broker tells a controller of yesterday");
    }
    cluster.create_replicated_topic("after", 2, 2, &[]);
    cluster.wait_until_in_sync("by-the-new-one", 30);
}

#[test]
fn a_paused_controller_that_wakes_up_can_change_nothing() {
    let mut cluster = Cluster::start(Scene::new("stale-hosted"), 3, |b| {
        b.set("zookeeper.session.timeout.ms", "3000")
            .set("auto.leader.rebalance.enable", "false")
    });
    let id = cluster.wait_for_controller(10, |_| true);
    cluster.create_replicated_topic("by-the-old-one", 2, 2, &[]);
    let old = Old {
        id,
        pid: cluster.broker(id).pid(),
        port: cluster.broker(id).port(),
        epoch: office(&cluster).1,
    };
    cluster.broker(id).signal(Signal::STOP);
    goes_on_in_vain(&cluster, &old);
    cluster.wait_for_members(&[1, 2, 3], 20);
    if !is_reference() {
        let log = cluster.broker(id).log();
        let says = ["no longer the controller", "the controller resigns"];
        assert!(says.iter().any(|words| log.contains(words)), "{log}");
    }
}

#[test]
fn a_paused_coordinator_that_wakes_up_can_change_nothing() {
    if is_reference() {
        return;
    }
    let mut cluster = Cluster::start(Scene::new("stale-dedicated"), 2, |b| {
        b.set("auto.leader.rebalance.enable", "false")
    });
    let (port, health_port) = (free_port(), free_port());
    let configs = [
        ("zookeeper.session.timeout.ms", "3000"),
        ("port", &*port.to_string()),
        ("ottla.health.listener", &*format!("127.0.0.1:{health_port}")),
    ];
    let mut first = Coordinator::start(cluster.scene(), 100_001, &configs);
    cluster.wait_for_controller(20, |id| id == 100_001);
    cluster.create_replicated_topic("by-the-old-one", 2, 2, &[]);
    let mut second = Coordinator::start(cluster.scene(), 100_002, &configs[..1]);
    second.wait_until_announced(cluster.scene());
    let old = Old {
        id: first.id(),
        pid: first.pid(),
        port,
        epoch: office(&cluster).1,
    };
    first.signal(Signal::STOP);
    cluster.wait_for_controller(20, |id| id == 100_002);
    goes_on_in_vain(&cluster, &old);
    wait_for_health(health_port, "the old one stands by", |status, body| {
        status == "200" && body["role"] == "standby" && body["controller"] == 100_002
    });
    first.wait_until_announced(cluster.scene());
    second.stop();
    cluster.wait_for_controller(20, |id| id == 100_001);
    cluster.create_replicated_topic("decided-by-the-first-again", 1, 2, &[]);
}

#[test]
fn tools_work_through_brokers_while_a_coordinator_is_in_office() {
    if is_reference() {
        return;
    }
    let mut cluster = Cluster::start(Scene::new("office-tools"), 3, |b| {
        b.set("auto.leader.rebalance.enable", "false")
    });
    let configs = [("auto.leader.rebalance.enable", "false")];
    let coordinator = Coordinator::start(cluster.scene(), 100_001, &configs);
    cluster.wait_for_controller(20, |id| id == 100_001);
    cluster.create_replicated_topic("t", 3, 2, &[]);
    for broker in &cluster.brokers {
        let told = Connection::open(broker.port()).and_then(|mut c| c.topic_metadata("t"));
        let controller = told.expect("an answer").controller;
        assert!(
            (1..=3).contains(&controller),
            "clients are told a broker, not {controller}"
        );
    }
    let at = cluster.bootstrap();

    // Partition 0 onto the other brokers, in another order.
    let p = cluster.partition("t", 0);
    let outside = (1..=3).find(|id| !p.replicas.contains(id)).expect("two of three");
    let target = [outside, p.replicas[0]];
    let json = format!(
        r#"{{"version":1,"partitions":[{{"topic":"t","partition":0,"replicas":[{},{}]}}]}}"#,
        target[0], target[1]
    );
    let file = cluster.scene().directory().join("reassign.json");
    std::fs::write(&file, json).expect("a file can be written");
    let file = file.display().to_string();
    let reassign = ["--bootstrap-server", &at, "--reassignment-json-file", &file];
    let out = kafka("kafka-reassign-partitions", &[&reassign[..], &["--execute"]].concat()).succeeds();
    assert!(out.contains("Successfully started partition reassignment"), "{out}");
    cluster.wait_for_partition("t", 0, 30, "the replicas have moved", |p| {
        p.replicas == target && p.isr.len() == 2
    });
    let out = kafka("kafka-reassign-partitions", &[&reassign[..], &["--verify"]].concat()).succeeds();
    assert!(out.contains("t-0 is completed"), "{out}");

    // The leader stayed with the replica that was there before.
    let elect = [
        "--bootstrap-server",
        &at,
        "--election-type",
        "preferred",
        "--topic",
        "t",
        "--partition",
        "0",
    ];
    if cluster.partition("t", 0).leader == target[0] {
        // Then make it another, by the preferred one's restart.
        cluster.broker(target[0]).stop();
        cluster.wait_for_partition("t", 0, 20, "the other one leads", |p| p.leader == target[1]);
        cluster.broker(target[0]).start_again();
        cluster.wait_until_in_sync("t", 30);
    }
    let out = kafka("kafka-leader-election", &elect).succeeds();
    assert!(out.contains("Successfully completed leader election"), "{out}");
    cluster.wait_for_partition("t", 0, 20, "the preferred replica leads", |p| p.leader == target[0]);
    assert_eq!(cluster.controller(), Some(coordinator.id()));
}

#[test]
fn a_coordinator_leaves_the_office_to_brokers_while_one_of_kafkas_own_is_there() {
    if is_reference() {
        return;
    }
    let mut cluster = Cluster::start(Scene::new("office-mixed"), 1, |b| b);
    let mut coordinator = Coordinator::start(cluster.scene(), 100_001, &[]);
    cluster.wait_for_controller(20, |id| id == 100_001);
    let mut kafka = cluster.scene().broker(2).kafka().start();
    let controller = cluster.wait_for_controller(30, |id| id < 100);
    assert!(coordinator.log().contains("handing over"), "{}", coordinator.log());
    cluster.create_replicated_topic("mixed", 1, 2, &[]);
    assert_eq!(cluster.controller(), Some(controller), "and stays with it");
    kafka.stop();
    cluster.wait_for_controller(30, |id| id == 100_001);
    coordinator.stop();
    cluster.wait_for_controller(20, |id| id == 1);
}
