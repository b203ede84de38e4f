//! A secured cluster of Apache Kafka 3.9 (SASL_SSL and SCRAM among brokers, access control lists, quotas) becomes ours broker
//! by broker and one back, with clients attached at every kind of listener.

use integration_tests::{
    Batch, Cluster, Connection, Group, Login, Scene, Security, Writer, create_scram_users, eventually, is_reference,
    kafka, kafka_2_8, kcat, kcat_with_input, password,
};
use std::time::Duration;

const TOPIC: &str = "secured";

/// What is attached to the cluster besides the writer and the group.
struct Clients {
    alice: Login,
    carol: Login,
    mallory: Login,
    /// How many lines alice has written.
    lines: usize,
}

fn strs(words: &[String]) -> Vec<&str> {
    words.iter().map(String::as_str).collect()
}

/// `host:port` of this listener of all brokers.
fn listeners(cluster: &Cluster, name: &str) -> String {
    let all: Vec<String> = cluster.brokers.iter().map(|broker| broker.listener(name)).collect();
    all.join(",")
}

impl Clients {
    /// Whoever has rights writes and reads, whoever has none is refused, and whoever has a quota is told to pause by
    /// every broker.
    fn check(&mut self, cluster: &Cluster, what: &str) {
        let over_sasl = listeners(cluster, "SASL_SSL");
        let line = format!("{what}\n");
        let mut words = vec![
            "-b".to_owned(),
            over_sasl.clone(),
            "-P".into(),
            "-t".into(),
            TOPIC.into(),
        ];
        words.extend(self.alice.kcat());
        kcat_with_input(&strs(&words), line.as_bytes()).succeeds();
        self.lines += 1;
        for (login, listener) in [(&self.alice, "SASL_SSL"), (&self.carol, "SSL")] {
            let mut words = vec![
                "-b".to_owned(),
                listeners(cluster, listener),
                "-C".into(),
                "-t".into(),
                TOPIC.into(),
            ];
            words.extend(["-o", "beginning", "-e", "-q"].map(str::to_owned));
            words.extend(login.kcat());
            let out = kcat(&strs(&words)).succeeds();
            assert_eq!(out.lines().count(), self.lines, "{what}, {listener}: {out}");
        }
        let mut words = vec![
            "-b".to_owned(),
            over_sasl,
            "-L".into(),
            "-m".into(),
            "5".into(),
            "-t".into(),
            TOPIC.into(),
        ];
        words.extend(self.mallory.kcat());
        let out = kcat(&strs(&words)).says();
        assert!(out.contains("authorization failed"), "{what}: {out}");
        for partition in cluster.partitions("quota").expect("metadata") {
            let leader = &cluster.brokers[usize::try_from(partition.leader).expect("there is one") - 1];
            let at = leader.listener("SASL_PLAINTEXT");
            let port = at
                .rsplit(':')
                .next()
                .and_then(|port| port.parse().ok())
                .expect("a port");
            let mut bob = Connection::open(port).expect("the broker listens");
            assert_eq!(
                bob.log_in("bob", &password("bob")).expect("an answer").error,
                0,
                "{what}"
            );
            let records = Batch::of_values([vec![b'x'; 50_000]]).encode();
            let (error, pause) = bob
                .produce_throttled("quota", partition.index, &records)
                .expect("an answer");
            assert_eq!(error, 0, "{what}");
            // 50 kB at 1,000 B/s; Kafka lets 10 kB pass.
            assert!(pause > 30_000, "{what}, broker {}: {pause} ms", partition.leader);
        }
    }
}

/// SIGTERM, a start as the other, and everybody in sync.
fn restart(cluster: &mut Cluster, id: i32, kafka: bool) {
    cluster.broker(id).stop();
    cluster.broker(id).become_kafka(kafka);
    cluster.broker(id).start_again();
    cluster.wait_for_members(&[1, 2, 3], 60);
    for topic in ["t", TOPIC, "quota"] {
        cluster.wait_until_in_sync(topic, 60);
        cluster.elect_preferred_leaders(topic);
    }
}

#[test]
fn a_secured_cluster_of_kafka_becomes_ours_broker_by_broker_under_load() {
    if is_reference() {
        // Kafka alone is what the other tests show then.
        return;
    }
    let scene = Scene::with_own_zookeeper("secured-rollover");
    let security = Security::new(&scene);
    // Brokers log in to each other by SCRAM: their password must be there before any of them.
    let credentials = format!("SCRAM-SHA-256=[iterations=4096,password={}]", password("broker"));
    let at = [
        "--zookeeper",
        scene.zookeeper_connect(),
        "--alter",
        "--entity-type",
        "users",
    ];
    eventually(30, "the tool has set the brokers' password", || {
        let what = ["--entity-name", "broker", "--add-config", &credentials];
        let out = kafka_2_8("kafka-configs", &[&at[..], &what].concat()).says();
        match out.contains("Completed updating config") {
            true => Ok(()),
            false => Err(out),
        }
    });
    let scram = format!(
        "org.apache.kafka.common.security.scram.ScramLoginModule required username=\"broker\" password=\"{}\";",
        password("broker")
    );
    let mut cluster = Cluster::start(scene, 3, |broker| {
        security
            .configure(broker.kafka())
            .set("inter.broker.listener.name", "SASL_SSL")
            .set("sasl.mechanism.inter.broker.protocol", "SCRAM-SHA-256")
            .set("listener.name.sasl_ssl.scram-sha-256.sasl.jaas.config", &scram)
            .set("super.users", "User:ANONYMOUS;User:broker")
            .set("zookeeper.session.timeout.ms", "6000")
            .set("auto.leader.rebalance.enable", "false")
    });
    let bootstrap = cluster.bootstrap();
    create_scram_users(&bootstrap, &["alice"]);
    cluster.create_topic("t", 3, &[]);
    cluster.create_topic(TOPIC, 3, &[]);
    cluster.create_topic("quota", 3, &[]);
    let to = ["--bootstrap-server", &bootstrap, "--add"];
    for (principal, topic) in [("User:alice", TOPIC), ("User:carol", TOPIC), ("User:bob", "quota")] {
        let what = ["--allow-principal", principal, "--operation", "All", "--topic", topic];
        kafka("kafka-acls", &[&to[..], &what].concat()).succeeds();
    }
    let to = ["--bootstrap-server", &bootstrap, "--alter", "--entity-type", "users"];
    let what = ["--entity-name", "bob", "--add-config", "producer_byte_rate=1000"];
    kafka("kafka-configs", &[&to[..], &what].concat()).succeeds();

    let mut clients = Clients {
        alice: security.by_password("SCRAM-SHA-512", "alice"),
        carol: security.by_certificate(&security.authority.client("carol")),
        mallory: security.by_password("PLAIN", "mallory"),
        lines: 0,
    };
    let mut setup = cluster.writer("t", 3);
    setup.pause = Duration::from_millis(30);
    let writer = Writer::start(&setup);
    let group = Group::start(cluster.scene(), &bootstrap, "t", 2);
    let mut phase = |cluster: &Cluster, what: &str| {
        writer.wait_for_each(30, 60);
        clients.check(cluster, what);
        println!("{what}: longest gap {:.3} s", writer.take_gap().as_secs_f64());
    };
    phase(&cluster, "three of Kafka");
    for id in [3, 2, 1] {
        restart(&mut cluster, id, false);
        phase(&cluster, &format!("broker {id} is ours"));
    }
    cluster.broker(2).kill();
    cluster.broker(2).start_again();
    cluster.wait_until_in_sync("t", 60);
    cluster.elect_preferred_leaders(TOPIC);
    cluster.elect_preferred_leaders("quota");
    phase(&cluster, "kill -9 of broker 2");
    // And back: Kafka reads what ours has written, lists and quotas too.
    restart(&mut cluster, 3, true);
    phase(&cluster, "broker 3 is Kafka's again");
    let written = writer.stop();
    println!("secured rollover: {written}");
    cluster.check_written("t", &written);
    group.check(&written, 60);
}
