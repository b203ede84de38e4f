//! A dedicated coordinator among brokers that log in to each other: it logs in to them, and they to it.

use integration_tests::{
    Cluster, Connection, Coordinator, Scene, eventually, free_port, is_reference, kafka, kafka_2_8, password,
};

const CLUSTER_AUTHORIZATION_FAILED: i16 = 31;
const ALLOCATE_PRODUCER_IDS: i16 = 67;

/// What brokers and coordinator have in common: the plain listener of the harness, and `IN` among brokers.
fn common(mechanism: &str) -> Vec<(String, String)> {
    let jaas = match mechanism {
        "OAUTHBEARER" => {
            "org.apache.kafka.common.security.oauthbearer.OAuthBearerLoginModule required unsecuredLoginStringClaim_sub=\"broker\";"
                .to_owned()
        }
        "PLAIN" => format!(
            "org.apache.kafka.common.security.plain.PlainLoginModule required username=\"broker\" password=\"{0}\" user_broker=\"{0}\" user_alice=\"{1}\";",
            password("broker"),
            password("alice")
        ),
        _ => format!(
            "org.apache.kafka.common.security.scram.ScramLoginModule required username=\"broker\" password=\"{}\";",
            password("broker")
        ),
    };
    let key = format!("listener.name.in.{}.sasl.jaas.config", mechanism.to_lowercase());
    [
        (
            "listener.security.protocol.map",
            "PLAINTEXT:PLAINTEXT,IN:SASL_PLAINTEXT",
        ),
        ("inter.broker.listener.name", "IN"),
        ("sasl.mechanism.inter.broker.protocol", mechanism),
        ("sasl.enabled.mechanisms", mechanism),
        ("authorizer.class.name", "kafka.security.authorizer.AclAuthorizer"),
        ("super.users", "User:ANONYMOUS;User:broker"),
        (&key, &jaas),
    ]
    .map(|(key, value)| (key.to_owned(), value.to_owned()))
    .into()
}

/// Two brokers and a coordinator; the harness comes to the plain listener. Strangers at the coordinator are no super users.
fn cluster(name: &str, mechanism: &str) -> (Cluster, Coordinator) {
    let scene = Scene::with_own_zookeeper(name);
    if mechanism.starts_with("SCRAM") {
        let at = [
            "--zookeeper",
            scene.zookeeper_connect(),
            "--alter",
            "--entity-type",
            "users",
        ];
        for user in ["broker", "alice"] {
            let credentials = format!("{mechanism}=[iterations=4096,password={}]", password(user));
            let what = ["--entity-name", user, "--add-config", &credentials];
            kafka_2_8("kafka-configs", &[&at[..], &what].concat()).succeeds();
        }
    }
    let keys = common(mechanism);
    let of_coordinator: Vec<(&str, &str)> = keys
        .iter()
        .map(|(key, value)| match key.as_str() {
            "super.users" => ("super.users", "User:broker"),
            key => (key, value.as_str()),
        })
        .collect();
    let mut coordinator = Coordinator::start(&scene, 100_001, &of_coordinator);
    coordinator.wait_until_announced(&scene);
    let cluster = Cluster::start(scene, 2, |mut broker| {
        let listeners = format!("PLAINTEXT://127.0.0.1:{},IN://127.0.0.1:{}", broker.port(), free_port());
        broker = broker.set("listeners", &listeners).set("min.insync.replicas", "1");
        keys.iter().fold(broker, |broker, (key, value)| broker.set(key, value))
    });
    cluster.wait_for_controller(20, |id| id == coordinator.id());
    (cluster, coordinator)
}

/// In-sync sets shrink and grow, and that goes through the coordinator: AlterPartition, and LeaderAndIsr back.
fn check_at_work(cluster: &mut Cluster) {
    cluster.create_replicated_topic("t", 2, 2, &[]);
    cluster.broker(2).kill();
    cluster.wait_for_partition("t", 0, 30, "broker 2 is out", |p| p.isr == [1]);
    cluster.broker(2).start_again();
    cluster.wait_until_in_sync("t", 30);
    // ControlledShutdown, too.
    cluster.broker(2).stop();
    let log = cluster.broker(2).log();
    assert!(
        log.contains("Controlled shutdown request returned successfully"),
        "{log}"
    );
    cluster.broker(2).start_again();
    cluster.wait_until_in_sync("t", 30);
}

/// The error code of AllocateProducerIds.
fn allocate(connection: &mut Connection) -> std::io::Result<i16> {
    // Tags of the header, broker id and epoch, no tags.
    let mut body = vec![0, 0, 0, 0, 1];
    body.extend_from_slice(&1_i64.to_be_bytes());
    body.push(0);
    connection.send(ALLOCATE_PRODUCER_IDS, 0, &body)?;
    let (_, answer) = connection.receive()?;
    // Tags of the header, throttle time.
    Ok(i16::from_be_bytes([answer[5], answer[6]]))
}

#[test]
fn brokers_and_a_coordinator_log_in_to_each_other_by_scram() {
    if is_reference() {
        // Kafka has no such program.
        return;
    }
    let (mut cluster, coordinator) = cluster("coordinator-scram", "SCRAM-SHA-256");
    check_at_work(&mut cluster);
    // Who has not logged in is not served.
    let mut stranger = Connection::open(coordinator.port()).expect("it listens");
    assert!(allocate(&mut stranger).is_err(), "a request before the login");
    let log_in = |password: &str| {
        let mut connection = Connection::open(coordinator.port()).expect("it listens");
        let answer = connection.log_in_by_scram("alice", password).expect("an answer");
        (connection, answer.error)
    };
    assert_eq!(log_in("wrong").1, 58, "SASL_AUTHENTICATION_FAILED");
    // Who has logged in needs a right, and may have it from ZooKeeper.
    let (mut alice, error) = log_in(&password("alice"));
    assert_eq!(error, 0);
    assert_eq!(allocate(&mut alice).expect("an answer"), CLUSTER_AUTHORIZATION_FAILED);
    assert!(
        coordinator
            .log()
            .contains("Principal = User:alice is Denied Operation = ClusterAction"),
        "{}",
        coordinator.log()
    );
    let bootstrap = cluster.bootstrap();
    let to = [
        "--bootstrap-server",
        &bootstrap,
        "--add",
        "--allow-principal",
        "User:alice",
    ];
    kafka(
        "kafka-acls",
        &[&to[..], &["--operation", "ClusterAction", "--cluster"]].concat(),
    )
    .succeeds();
    eventually(2, "the coordinator has heard of the right", || {
        match allocate(&mut alice).map_err(|error| error.to_string())? {
            CLUSTER_AUTHORIZATION_FAILED => Err("still refused".to_owned()),
            _ => Ok(()),
        }
    });
}

#[test]
fn brokers_and_a_coordinator_log_in_to_each_other_by_oauthbearer() {
    if is_reference() {
        return;
    }
    let (mut cluster, _coordinator) = cluster("coordinator-oauthbearer", "OAUTHBEARER");
    check_at_work(&mut cluster);
}

#[test]
fn brokers_and_a_coordinator_log_in_to_each_other_by_plain() {
    if is_reference() {
        return;
    }
    let (mut cluster, coordinator) = cluster("coordinator-plain", "PLAIN");
    check_at_work(&mut cluster);
    let mut alice = Connection::open(coordinator.port()).expect("it listens");
    let answer = alice.log_in("alice", &password("alice")).expect("an answer");
    assert_eq!(answer.error, 0);
    assert_eq!(allocate(&mut alice).expect("an answer"), CLUSTER_AUTHORIZATION_FAILED);
}
