//! SASL without TLS: PLAIN and both SCRAMs with Java's clients and librdkafka, brokers that log in to each other, wrong
//! passwords, requests before the login, sessions that are renewed under a running producer.

use std::time::{Duration, Instant};

use integration_tests::{
    Broker, BrokerSetup, Cluster, Connection, Scene, Scram, free_port, kafka, kafka_2_8, kafka_with_input, kcat,
    kcat_with_input,
};

const MECHANISMS: [&str; 3] = ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"];
const SECRET: &str = "wonder-land";

/// The plain listener of the harness, and `OUT` with SASL.
fn configure(setup: BrokerSetup) -> BrokerSetup {
    let listeners = format!("PLAINTEXT://127.0.0.1:{},OUT://127.0.0.1:{}", setup.port(), free_port());
    let module = |name: &str, options: &str| format!("org.apache.kafka.common.security.{name} required{options};");
    let scram = module(
        "scram.ScramLoginModule",
        r#" username="broker" password="between-brokers""#,
    );
    let plain = module("plain.PlainLoginModule", &format!(r#" user_alice="{SECRET}""#));
    setup
        .set("listeners", &listeners)
        .set(
            "listener.security.protocol.map",
            "PLAINTEXT:PLAINTEXT,OUT:SASL_PLAINTEXT",
        )
        .set("inter.broker.listener.name", "PLAINTEXT")
        .set("sasl.enabled.mechanisms", &MECHANISMS.join(","))
        .set("listener.name.out.plain.sasl.jaas.config", &plain)
        .set("listener.name.out.scram-sha-256.sasl.jaas.config", &scram)
        .set("listener.name.out.scram-sha-512.sasl.jaas.config", &scram)
}

/// Alice may log in by SCRAM, too.
fn create_alice(broker: &Broker) {
    let credentials = format!("SCRAM-SHA-256=[iterations=8192,password={SECRET}],SCRAM-SHA-512=[password={SECRET}]");
    let to = [
        "--bootstrap-server",
        &broker.bootstrap(),
        "--alter",
        "--entity-type",
        "users",
    ];
    let what = ["--entity-name", "alice", "--add-config", &credentials];
    kafka("kafka-configs", &[&to[..], &what].concat()).succeeds();
}

/// A properties file for Java's clients.
fn java(scene: &Scene, mechanism: &str, password: &str) -> String {
    let module = match mechanism {
        "PLAIN" => "plain.PlainLoginModule",
        _ => "scram.ScramLoginModule",
    };
    let text = format!(
        "security.protocol=SASL_PLAINTEXT\nsasl.mechanism={mechanism}\nsasl.jaas.config=org.apache.kafka.common.security.{module} required username=\"alice\" password=\"{password}\";\nmax.block.ms=15000\n"
    );
    let file = scene.directory().join(format!("{mechanism}-{password}.properties"));
    std::fs::write(&file, text).expect("a file can be written");
    file.display().to_string()
}

/// Arguments for kcat.
fn librdkafka(bootstrap: &str, mechanism: &str, password: &str) -> Vec<String> {
    let pairs = [
        "security.protocol=SASL_PLAINTEXT".to_owned(),
        format!("sasl.mechanism={mechanism}"),
        "sasl.username=alice".to_owned(),
        format!("sasl.password={password}"),
    ];
    let mut arguments = vec!["-b".to_owned(), bootstrap.to_owned()];
    arguments.extend(pairs.into_iter().flat_map(|pair| ["-X".to_owned(), pair]));
    arguments
}

fn with<'a>(arguments: &'a [String], more: &[&'a str]) -> Vec<&'a str> {
    arguments
        .iter()
        .map(String::as_str)
        .chain(more.iter().copied())
        .collect()
}

fn open(broker: &Broker) -> Connection {
    let port = broker
        .listener("OUT")
        .rsplit(':')
        .next()
        .and_then(|port| port.parse().ok())
        .expect("a port");
    Connection::open(port).expect("the broker listens")
}

#[test]
fn stock_clients_log_in_by_every_mechanism() {
    let scene = Scene::new("sasl-clients");
    let broker = configure(scene.broker(1)).start();
    create_alice(&broker);
    broker.create_topic("t", 1, &[]);
    let out = broker.listener("OUT");
    for mechanism in MECHANISMS {
        let config = java(&scene, mechanism, SECRET);
        let line = format!("java by {mechanism}\n");
        let to = ["--bootstrap-server", &out, "--topic", "t", "--producer.config", &config];
        kafka_with_input("kafka-console-producer", &to, line.as_bytes()).succeeds();
        let arguments = librdkafka(&out, mechanism, SECRET);
        let line = format!("librdkafka by {mechanism}\n");
        kcat_with_input(&with(&arguments, &["-P", "-t", "t"]), line.as_bytes()).succeeds();
    }
    let expected: Vec<String> = MECHANISMS
        .iter()
        .flat_map(|mechanism| [format!("java by {mechanism}"), format!("librdkafka by {mechanism}")])
        .collect();
    for mechanism in MECHANISMS {
        let arguments = librdkafka(&out, mechanism, SECRET);
        let read = kcat(&with(&arguments, &["-C", "-t", "t", "-e", "-q"])).succeeds();
        assert_eq!(read.lines().collect::<Vec<_>>(), expected, "{mechanism}");
    }
    let config = java(&scene, "SCRAM-SHA-512", SECRET);
    let from = [
        "--bootstrap-server",
        &out,
        "--topic",
        "t",
        "--from-beginning",
        "--max-messages",
        "6",
    ];
    let read = kafka(
        "kafka-console-consumer",
        &[&from[..], &["--consumer.config", &config]].concat(),
    )
    .succeeds();
    assert_eq!(read.lines().collect::<Vec<_>>(), expected);
}

#[test]
fn a_wrong_password_is_told_and_held_back() {
    let scene = Scene::new("sasl-wrong");
    let broker = configure(scene.broker(1))
        .set("connection.failed.authentication.delay.ms", "700")
        .start();
    create_alice(&broker);
    broker.create_topic("t", 1, &[]);
    let config = java(&scene, "SCRAM-SHA-256", "wrong");
    let to = [
        "--bootstrap-server",
        &broker.listener("OUT"),
        "--topic",
        "t",
        "--producer.config",
        &config,
    ];
    let said = kafka_with_input("kafka-console-producer", &to, b"x\n").says();
    let sentence = "SaslAuthenticationException: Authentication failed during authentication due to invalid credentials with SASL mechanism SCRAM-SHA-256";
    assert!(said.contains(sentence), "{said}");

    let check = |name: &str, log_in: &dyn Fn(&mut Connection) -> (i16, String), expected: &str| {
        let mut connection = open(&broker);
        let begin = Instant::now();
        let (error, message) = log_in(&mut connection);
        assert_eq!((error, message.as_str()), (58, expected), "{name}");
        assert!(
            begin.elapsed() >= Duration::from_millis(700),
            "{name}: {:?}",
            begin.elapsed()
        );
        assert!(connection.is_closed_by_broker(), "{name}");
    };
    let general =
        "Authentication failed during authentication due to invalid credentials with SASL mechanism SCRAM-SHA-256";
    let plain = |user: &'static str, password: &'static str| {
        move |connection: &mut Connection| {
            let answer = connection.log_in(user, password).unwrap();
            (answer.error, answer.message)
        }
    };
    let scram = |user: &'static str, password: &'static str| {
        move |connection: &mut Connection| {
            let answer = connection.log_in_by_scram(user, password).unwrap();
            (answer.error, answer.message)
        }
    };
    let wrong = "Authentication failed: Invalid username or password";
    check("password", &plain("alice", "wrong"), wrong);
    check("user", &plain("nobody", SECRET), wrong);
    check("password by SCRAM", &scram("alice", "wrong"), general);
    check("user by SCRAM", &scram("nobody", SECRET), general);
    let tampered = |connection: &mut Connection| {
        let client = Scram::new("alice", SECRET, "nonce");
        connection.sasl_handshake("SCRAM-SHA-256").unwrap();
        let first = connection.sasl_authenticate(client.first().as_bytes()).unwrap();
        let last = client.last(&String::from_utf8_lossy(&first.bytes)).unwrap();
        let last = last.replacen("c=biws", "c=eSws", 1);
        let answer = connection.sasl_authenticate(last.as_bytes()).unwrap();
        (answer.error, answer.message)
    };
    check("tampered with", &tampered, general);
    let log = broker.log();
    assert!(log.contains("Failed authentication with /127.0.0.1"), "{log}");
    assert!(!log.contains(SECRET), "the log shows a password");
}

#[test]
fn nothing_is_served_before_the_login() {
    let scene = Scene::new("sasl-before");
    let broker = configure(scene.broker(1)).start();
    let mut connection = open(&broker);
    assert!(connection.metadata().is_err(), "metadata without a login");
    let mut connection = open(&broker);
    let (error, offered) = connection.sasl_handshake("GSSAPI").unwrap();
    assert_eq!((error, offered), (33, MECHANISMS.map(str::to_owned).to_vec()));
    assert!(connection.is_closed_by_broker());
    let mut connection = open(&broker);
    connection.sasl_handshake("PLAIN").unwrap();
    assert!(connection.metadata().is_err(), "metadata in the middle of a login");
    // More than sasl.server.max.receive.size.
    let mut connection = open(&broker);
    connection.write_raw(&(524_289_i32).to_be_bytes()).unwrap();
    assert!(connection.is_closed_by_broker());
    let mut connection = open(&broker);
    assert_eq!(connection.log_in("alice", SECRET).unwrap().error, 0);
    connection.metadata().unwrap();
    assert_eq!(connection.sasl_handshake("PLAIN").unwrap().0, 34);
}

#[test]
fn a_session_is_renewed_under_a_running_producer_and_ends_without() {
    let scene = Scene::new("sasl-renewal");
    let broker = configure(scene.broker(1))
        .set("connections.max.reauth.ms", "3000")
        .start();
    create_alice(&broker);
    broker.create_topic("t", 1, &[]);
    let config = java(&scene, "SCRAM-SHA-256", SECRET);
    let amount = ["--num-records", "1000", "--record-size", "10", "--throughput", "100"];
    let properties = format!("bootstrap.servers={}", broker.listener("OUT"));
    let to = [
        "--topic",
        "t",
        "--producer.config",
        &config,
        "--producer-props",
        &properties,
    ];
    let said = kafka("kafka-producer-perf-test", &[&to[..], &amount].concat()).succeeds();
    assert!(said.contains("1000 records sent"), "{said}");
    let log = broker.log();
    assert!(!log.contains("session has expired"), "{log}");

    let mut connection = open(&broker);
    assert_eq!(connection.log_in("alice", SECRET).unwrap().error, 0);
    connection.metadata().unwrap();
    std::thread::sleep(Duration::from_millis(3200));
    assert!(connection.metadata().is_err(), "a session of three seconds");
    assert!(broker.log().contains("session has expired"));
}

#[test]
fn brokers_log_in_to_each_other_by_scram() {
    let scene = Scene::with_own_zookeeper("sasl-brokers");
    // Nobody could do that through a broker: there is none before.
    let zookeeper = scene.zookeeper_connect().to_owned();
    let to = [
        "--zookeeper",
        &zookeeper,
        "--alter",
        "--entity-type",
        "users",
        "--entity-name",
        "broker",
    ];
    let what = [
        "--add-config",
        "SCRAM-SHA-512=[iterations=4096,password=between-brokers]",
    ];
    kafka_2_8("kafka-configs", &[&to[..], &what].concat()).succeeds();
    let cluster = Cluster::start(scene, 2, |setup| {
        configure(setup)
            .set("inter.broker.listener.name", "OUT")
            .set("sasl.mechanism.inter.broker.protocol", "SCRAM-SHA-512")
            // Connections of fetchers and controller are opened anew several times.
            .set("connections.max.reauth.ms", "3000")
    });
    cluster.create_replicated_topic("t", 2, 2, &[("min.insync.replicas", "2")]);
    let bootstrap = cluster.bootstrap();
    for round in 0..5 {
        let line = format!("{round}\n");
        let all = ["-b", bootstrap.as_str(), "-P", "-t", "t", "-X", "acks=all"];
        kcat_with_input(&all, line.as_bytes()).succeeds();
        std::thread::sleep(Duration::from_secs(1));
    }
    cluster.wait_until_in_sync("t", 20);
}
