//! Quotas of clients and limits on connections: set by stock tools, obeyed by every broker within a second, measured.

use integration_tests::{Batch, Cluster, Connection, Scene, Znodes, eventually, kafka, kafka_2_8};
use std::io::ErrorKind;
use std::time::{Duration, Instant};

/// Whoever has not logged in.
const USER: &str = "ANONYMOUS";
const THROTTLING_QUOTA_EXCEEDED: i16 = 89;

fn connect(port: u16) -> Connection {
    Connection::open(port).expect("the broker accepts")
}

/// A batch of about so many bytes.
fn batch(bytes: usize) -> Vec<u8> {
    Batch::of_values([vec![b'x'; bytes]]).encode().to_vec()
}

fn set_quota(port: u16, key: &str, value: Option<f64>) {
    let code = connect(port).alter_quota(USER, key, value).expect("an answer");
    assert_eq!(code, 0, "{key} {value:?}");
}

#[test]
fn quotas_are_written_shown_and_removed_by_stock_tools_old_and_new() {
    let scene = Scene::new("quota-tools");
    let broker = scene.broker(1).start();
    let at = broker.bootstrap();
    let configs = |arguments: &[&str]| {
        kafka(
            "kafka-configs",
            &[&["--bootstrap-server", at.as_str()], arguments].concat(),
        )
    };
    let user = ["--entity-type", "users", "--entity-name", "CN=bob smith,O=A&B/C"];
    let client = ["--entity-type", "clients", "--entity-name", "app 2/é"];
    let add = |entity: &[&str], config: &str| configs(&[&["--alter", "--add-config", config], entity].concat());
    add(
        &[&user[..], &client[..]].concat(),
        "producer_byte_rate=77,controller_mutation_rate=5",
    )
    .succeeds();
    add(
        &["--entity-type", "users", "--entity-default"],
        "request_percentage=200",
    )
    .succeeds();
    add(
        &["--entity-type", "ips", "--entity-name", "127.0.0.9"],
        "connection_creation_rate=10",
    )
    .succeeds();
    let mut znodes = Znodes::open(scene.zookeeper_connect()).expect("zookeeper is there");
    let mut config = |path: &str| {
        let found = znodes.get(path).expect("zookeeper answers");
        found.map(|znode| znode.data)
    };
    // As in the capture of Kafka's own znodes.
    let both = "/config/users/CN%3Dbob%20smith%2CO%3DA%26B%2FC/clients/app%202%2F%C3%A9";
    assert_eq!(
        config(both).as_deref(),
        Some(r#"{"version":1,"config":{"producer_byte_rate":"77","controller_mutation_rate":"5.0"}}"#)
    );
    assert_eq!(
        config("/config/users/<default>").as_deref(),
        Some(r#"{"version":1,"config":{"request_percentage":"200.0"}}"#)
    );
    assert_eq!(
        config("/config/ips/127.0.0.9").as_deref(),
        Some(r#"{"version":1,"config":{"connection_creation_rate":"10"}}"#)
    );
    kafka_2_8(
        "kafka-configs",
        &[
            "--zookeeper",
            scene.zookeeper_connect(),
            "--alter",
            "--entity-type",
            "users",
            "--entity-name",
            "carol",
            "--add-config",
            "producer_byte_rate=512",
        ],
    )
    .succeeds();
    let out = configs(&["--describe", "--entity-type", "users", "--entity-name", "carol"]).succeeds();
    assert!(
        out.contains("Quota configs for user-principal 'carol' are producer_byte_rate=512.0"),
        "{out}"
    );
    let out = configs(&[&["--describe"], &user[..], &client[..]].concat()).succeeds();
    assert!(
        out.contains("controller_mutation_rate=5.0") && out.contains("producer_byte_rate=77.0"),
        "{out}"
    );
    let refused = add(&client, "no_such_quota=1").fails();
    assert!(refused.contains("no_such_quota"), "{refused}");
    configs(
        &[
            &[
                "--alter",
                "--delete-config",
                "producer_byte_rate,controller_mutation_rate",
            ],
            &user[..],
            &client[..],
        ]
        .concat(),
    )
    .succeeds();
    assert_eq!(config("/config/users/CN%3Dbob%20smith%2CO%3DA%26B%2FC"), None);
}

#[test]
fn every_broker_obeys_a_changed_quota_within_a_second() {
    let mut cluster = Cluster::start(Scene::new("quota-change"), 2, |broker| broker);
    cluster.create_replicated_topic("t", 8, 1, &[]);
    let ports = [1, 2].map(|id| cluster.broker(id).port());
    let led: Vec<(u16, i32)> = [1, 2]
        .iter()
        .zip(ports)
        .map(|(id, port)| {
            let partitions = cluster.partitions("t").expect("metadata");
            let of = partitions.iter().position(|partition| partition.leader == *id);
            (port, i32::try_from(of.expect("each broker leads some")).expect("few"))
        })
        .collect();
    let records = batch(100_000);
    let throttled = |(port, partition): (u16, i32)| {
        let (error, throttle) = connect(port)
            .produce_throttled("t", partition, &records)
            .expect("an answer");
        assert_eq!(error, 0);
        throttle
    };
    for led in &led {
        assert_eq!(throttled(*led), 0, "there is no quota");
    }
    set_quota(ports[0], "producer_byte_rate", Some(1000.0));
    let changed = Instant::now();
    for led in &led {
        eventually(1, "the broker obeys", || match throttled(*led) {
            0 => Err(format!("not after {:?}", changed.elapsed())),
            pause => Ok(pause),
        });
    }
    set_quota(ports[1], "producer_byte_rate", None);
    for led in &led {
        eventually(1, "the broker has heard", || match throttled(*led) {
            0 => Ok(()),
            pause => Err(format!("{pause} ms")),
        });
    }
}

/// Three windows of a second: what is right over rounds of three seconds needs no minutes to be seen.
fn broker_with_short_windows(scene: &Scene) -> integration_tests::Broker {
    scene.broker(1).set("quota.window.num", "3").start()
}

/// Does `step` (which gives the bytes that passed) for so long; bytes per second. The first round is not counted.
fn rate(rounds: u32, mut step: impl FnMut() -> usize) -> f64 {
    let round = Duration::from_secs(3);
    let begin = Instant::now();
    while begin.elapsed() < round {
        step();
    }
    let (begin, mut bytes) = (Instant::now(), 0);
    while begin.elapsed() < round * rounds {
        bytes += step();
    }
    f64::from(u32::try_from(bytes).expect("few")) / begin.elapsed().as_secs_f64()
}

/// Bytes of records that a fetch from the middle of the topic gives; an answer without the topic is one that is held back.
fn fetched(connection: &mut Connection) -> usize {
    match connection.fetch("t", 0, -1, 1, "") {
        Ok(answer) => {
            assert_eq!(answer.error, 0);
            answer.bytes
        }
        Err(error) if error.kind() == ErrorKind::InvalidData => 0,
        Err(error) => panic!("{error}"),
    }
}

#[test]
fn who_ignores_the_throttle_time_is_held_to_its_quota_all_the_same() {
    const QUOTA: f64 = 200_000.0;
    let scene = Scene::new("quota-rates");
    let broker = broker_with_short_windows(&scene);
    let port = broker.port();
    connect(port).create_topic("t", 1, 1, &[]).expect("an answer");
    set_quota(port, "producer_byte_rate", Some(QUOTA));
    eventually(5, "the quota is obeyed", || {
        let (_, pause) = connect(port)
            .produce_throttled("t", 0, &batch(500_000))
            .map_err(|error| error.to_string())?;
        if pause > 0 { Ok(()) } else { Err("no pause".to_owned()) }
    });
    let records = batch(5_000);
    let mut connection = connect(port);
    // The connection is muted: sending on at once is of no use.
    let produced = rate(3, || {
        let (error, _) = connection.produce_throttled("t", 0, &records).expect("an answer");
        assert_eq!(error, 0);
        records.len()
    });
    assert!((produced / QUOTA - 1.0).abs() < 0.15, "produced {produced} bytes/s");

    set_quota(port, "producer_byte_rate", None);
    // Fetches of a megabyte each: they must be small beside the quota, or too little passes, as in Kafka.
    const FETCH_QUOTA: f64 = 10.0 * QUOTA * 2.0;
    set_quota(port, "consumer_byte_rate", Some(FETCH_QUOTA));
    eventually(5, "the quota is obeyed", || {
        let begin = Instant::now();
        let mut connection = connect(port);
        for _ in 0..30 {
            fetched(&mut connection);
        }
        if begin.elapsed() > Duration::from_secs(1) {
            Ok(())
        } else {
            Err("not slowed".to_owned())
        }
    });
    let mut connection = connect(port);
    let got = rate(3, || fetched(&mut connection));
    assert!((got / FETCH_QUOTA - 1.0).abs() < 0.2, "fetched {got} bytes/s");
}

#[test]
fn time_that_requests_take_has_a_quota_too() {
    let scene = Scene::new("quota-time");
    let broker = broker_with_short_windows(&scene);
    let port = broker.port();
    let requests = |seconds: u64| {
        let mut connection = connect(port);
        let (begin, mut count) = (Instant::now(), 0);
        while begin.elapsed() < Duration::from_secs(seconds) {
            connection.metadata().expect("an answer");
            count += 1;
        }
        count
    };
    let free = requests(1);
    set_quota(port, "request_percentage", Some(0.05));
    let held = eventually(20, "requests are held back", || {
        let held = requests(3) / 3;
        if held * 4 < free {
            Ok(held)
        } else {
            Err(format!("{held} of {free} requests in a second"))
        }
    });
    assert!(held > 0, "nobody is shut out");
}

/// The error code of CreateTopics version 7, the first that can be refused being 6.
fn create_topic_at_7(connection: &mut Connection, topic: &str, partitions: i32) -> i16 {
    let mut body = vec![0, 2, u8::try_from(topic.len() + 1).expect("short")];
    body.extend_from_slice(topic.as_bytes());
    body.extend_from_slice(&partitions.to_be_bytes());
    body.extend_from_slice(&1_i16.to_be_bytes());
    // No assignments, no configs, no tags; then the timeout, not only to be validated, no tags.
    body.extend_from_slice(&[1, 1, 0]);
    body.extend_from_slice(&10_000_i32.to_be_bytes());
    body.extend_from_slice(&[0, 0]);
    connection.send(19, 7, &body).expect("the broker reads");
    let (_, answer) = connection.receive().expect("an answer");
    // Tags of the header, throttle time, one topic, its name and id.
    let at = 1 + 4 + 1 + 1 + topic.len() + 16;
    i16::from_be_bytes([answer[at], answer[at + 1]])
}

#[test]
fn changes_to_topics_are_refused_beyond_their_quota() {
    let scene = Scene::new("quota-mutations");
    let broker = scene.broker(1).set("controller.quota.window.num", "2").start();
    let port = broker.port();
    set_quota(port, "controller_mutation_rate", Some(2.0));
    let mut connection = connect(port);
    // Version 2 cannot be refused: it is served, and its client pauses.
    eventually(10, "somebody who changes much must pause", || {
        let name = format!("t{}", std::process::id());
        let begin = Instant::now();
        assert_eq!(connection.create_topic(&name, 6, 1, &[]).expect("an answer"), 0);
        assert_eq!(connection.delete_topic(&name).expect("an answer"), 0);
        connection.metadata().expect("an answer");
        if begin.elapsed() > Duration::from_secs(2) {
            Ok(())
        } else {
            Err(format!("{:?}", begin.elapsed()))
        }
    });
    // Newer versions can: whoever owes changes is refused, and its connection pauses until it owes none.
    let codes: Vec<i16> = ["a", "b", "c"]
        .iter()
        .map(|topic| create_topic_at_7(&mut connection, topic, 16))
        .collect();
    assert!(
        codes == [0, THROTTLING_QUOTA_EXCEEDED, 0]
            || codes == [THROTTLING_QUOTA_EXCEEDED, 0, THROTTLING_QUOTA_EXCEEDED],
        "{codes:?}"
    );
    // The stock tool does not try again, but says why.
    let told = ["d", "e"].iter().any(|topic| {
        let at = broker.bootstrap();
        let create = [
            "--bootstrap-server",
            &at,
            "--create",
            "--topic",
            topic,
            "--partitions",
            "16",
        ];
        let said = kafka("kafka-topics", &create).says();
        said.contains("The throttling quota has been exceeded")
    });
    assert!(told, "the tool is refused");
}

#[test]
fn an_address_has_no_more_connections_than_it_may_and_makes_them_no_faster() {
    let scene = Scene::new("quota-connections");
    let broker = scene.broker(1).set("max.connections.per.ip", "5").start();
    let port = broker.port();
    // The broker itself has some to itself, as its own controller.
    let works = |connection: &mut Connection| connection.metadata().is_ok();
    let mut open = Vec::new();
    let refused = (0..6).any(|_| {
        let mut connection = connect(port);
        let refused = !works(&mut connection);
        open.push(connection);
        refused
    });
    assert!(refused, "six connections from one address");
    open.clear();
    let at = broker.bootstrap();
    let alter = |config: &str| {
        eventually(10, "the tool gets in", || {
            let outcome = kafka(
                "kafka-configs",
                &[
                    "--bootstrap-server",
                    &at,
                    "--alter",
                    "--entity-type",
                    "brokers",
                    "--entity-default",
                    "--add-config",
                    config,
                ],
            );
            let out = outcome.says();
            if out.contains("Completed updating") {
                Ok(())
            } else {
                Err(out)
            }
        });
    };
    alter("max.connections.per.ip=100");
    eventually(2, "more are let in at run time", || {
        let mut open: Vec<_> = (0..10).map(|_| connect(port)).collect();
        if open.iter_mut().all(works) {
            Ok(())
        } else {
            Err("refused".to_owned())
        }
    });
    kafka(
        "kafka-configs",
        &[
            "--bootstrap-server",
            &at,
            "--alter",
            "--entity-type",
            "ips",
            "--entity-name",
            "127.0.0.1",
            "--add-config",
            "connection_creation_rate=2",
        ],
    )
    .succeeds();
    let begin = Instant::now();
    let mut accepted = 0;
    while begin.elapsed() < Duration::from_secs(10) {
        accepted += i32::from(works(&mut connect(port)));
    }
    // Ten windows' worth at once, and then two a second.
    assert!((10..=45).contains(&accepted), "{accepted} in ten seconds");
}

#[test]
fn a_full_broker_accepts_nobody_until_somebody_leaves() {
    let scene = Scene::new("quota-full");
    let setup = scene.broker(1);
    let (client, inside) = (setup.port(), integration_tests::free_port());
    let broker = setup
        .set(
            "listeners",
            &format!("CLIENT://127.0.0.1:{client},INSIDE://127.0.0.1:{inside}"),
        )
        .set("listener.security.protocol.map", "CLIENT:PLAINTEXT,INSIDE:PLAINTEXT")
        .set("inter.broker.listener.name", "INSIDE")
        .set("max.connections", "6")
        .set("listener.name.client.max.connections", "3")
        .start();
    let quick = |port: u16| Connection::open_within(port, Duration::from_millis(700)).expect("the kernel accepts");
    let mut open: Vec<_> = (0..3).map(|_| connect(client)).collect();
    assert!(open.iter_mut().all(|connection| connection.metadata().is_ok()));
    let mut waiting = quick(client);
    assert!(waiting.metadata().is_err(), "the listener is full");
    // Brokers have a listener of their own, and get in whatever happens: one of the clients must go for them.
    let mut brokers: Vec<_> = (0..4).map(|_| connect(inside)).collect();
    assert!(brokers.iter_mut().all(|connection| connection.metadata().is_ok()));
    let left = open
        .iter_mut()
        .filter_map(|connection| connection.metadata().ok())
        .count();
    assert!(left < 3, "{left} of three clients are still there");
    brokers.clear();
    drop(waiting);
    drop(broker);
}
