//! Access control lists: made by stock tools of 3.9 and 2.8, kept as Kafka keeps them, obeyed by every broker at once.

use std::collections::BTreeSet;

use integration_tests::{
    Batch, Broker, BrokerSetup, Connection, Scene, Znodes, eventually, free_port, kafka, kafka_2_8,
};

/// A broker at whose plain listener everybody is `User:ANONYMOUS` and has no rights; brokers and tools come to
/// `INTERNAL` as `User:admin`, a super user.
struct Guarded {
    broker: Broker,
    internal: String,
}

const PLAIN: &str =
    "org.apache.kafka.common.security.plain.PlainLoginModule required username=\"admin\" password=\"s\"";

impl Guarded {
    fn start(setup: BrokerSetup) -> Self {
        let (port, internal) = (setup.port(), free_port());
        let listeners = format!("PLAINTEXT://127.0.0.1:{port},INTERNAL://127.0.0.1:{internal}");
        let broker = setup
            .set("listeners", &listeners)
            .set(
                "listener.security.protocol.map",
                "PLAINTEXT:PLAINTEXT,INTERNAL:SASL_PLAINTEXT",
            )
            .set("inter.broker.listener.name", "INTERNAL")
            .set("sasl.enabled.mechanisms", "PLAIN")
            .set("sasl.mechanism.inter.broker.protocol", "PLAIN")
            .set(
                "listener.name.internal.plain.sasl.jaas.config",
                &format!("{PLAIN} user_admin=\"s\";"),
            )
            .set("authorizer.class.name", "kafka.security.authorizer.AclAuthorizer")
            .set("super.users", "User:admin")
            .start();
        Self {
            broker,
            internal: format!("127.0.0.1:{internal}"),
        }
    }

    /// Runs one of Kafka's tools as `admin`.
    fn admin(&self, scene: &Scene, tool: &str, arguments: &[&str]) -> String {
        let login = scene.directory().join("admin.properties");
        let text = format!("security.protocol=SASL_PLAINTEXT\nsasl.mechanism=PLAIN\nsasl.jaas.config={PLAIN};\n");
        std::fs::write(&login, text).expect("a file can be written");
        let login = login.display().to_string();
        let to = ["--bootstrap-server", &self.internal, "--command-config", &login];
        kafka(tool, &[&to[..], arguments].concat()).succeeds()
    }

    /// With which error somebody without a name is answered who writes to the topic here.
    fn write(&self, topic: &str) -> Result<i16, String> {
        let answer = Connection::open(self.broker.port())
            .and_then(|mut connection| connection.produce(topic, 0, &Batch::of_values(["record"]).encode()));
        answer.map(|answer| answer.error).map_err(|error| error.to_string())
    }

    /// Waits at most so many seconds until that error is this one.
    fn answers(&self, topic: &str, expected: i16, seconds: u64) {
        eventually(seconds, "a write is answered with another error", || {
            match self.write(topic)? {
                error if error == expected => Ok(()),
                error => Err(format!("error {error}")),
            }
        });
    }
}

/// Version and rules of a znode, in no order.
fn rules(scene: &Scene, path: &str) -> Option<(i32, BTreeSet<String>)> {
    let mut znodes = Znodes::open(scene.zookeeper_connect()).expect("ZooKeeper listens");
    let znode = znodes.get(path).expect("it answers")?;
    let data: serde_json::Value = serde_json::from_str(&znode.data).expect("JSON");
    let text = |acl: &serde_json::Value, key: &str| acl[key].as_str().expect("a text").to_owned();
    let rule = |acl: &serde_json::Value| {
        let keys = ["principal", "permissionType", "host", "operation"];
        keys.map(|key| text(acl, key)).join(" ")
    };
    let acls = data["acls"].as_array().expect("rules");
    Some((znode.version, acls.iter().map(rule).collect()))
}

/// The calls of captures 17a and 17b, of a Kafka 3.9.1 cluster, but for a few that add nothing new.
#[test]
fn both_tools_rules_are_kept_as_kafka_keeps_them() {
    let scene = Scene::new("acl-znodes");
    let broker = Guarded::start(scene.broker(1));
    let acls = |arguments: &[&str]| broker.admin(&scene, "kafka-acls", arguments);
    let check = |path: &str, expected: Option<(i32, &[&str])>| {
        let expected =
            expected.map(|(version, rules)| (version, rules.iter().map(|rule| (*rule).to_owned()).collect()));
        assert_eq!(rules(&scene, path), expected, "{path}");
    };
    acls(&[
        "--add",
        "--allow-principal",
        "User:alice",
        "--operation",
        "Read",
        "--operation",
        "Describe",
        "--topic",
        "t39",
    ]);
    acls(&[
        "--add",
        "--allow-principal",
        "User:alice",
        "--allow-principal",
        "User:bob",
        "--allow-host",
        "10.0.0.1",
        "--operation",
        "Write",
        "--topic",
        "t39",
    ]);
    acls(&[
        "--add",
        "--allow-principal",
        "User:alice",
        "--producer",
        "--resource-pattern-type",
        "prefixed",
        "--topic",
        "pre-",
        "--transactional-id",
        "tx-",
    ]);
    acls(&[
        "--add",
        "--deny-principal",
        "User:mallory",
        "--operation",
        "All",
        "--group",
        "grp-1",
    ]);
    check(
        "/kafka-acl/Topic/t39",
        Some((
            1,
            &[
                "User:alice Allow * Read",
                "User:alice Allow * Describe",
                "User:alice Allow 10.0.0.1 Write",
                "User:bob Allow 10.0.0.1 Write",
            ],
        )),
    );
    check(
        "/kafka-acl-extended/prefixed/Topic/pre-",
        Some((
            0,
            &[
                "User:alice Allow * Describe",
                "User:alice Allow * Create",
                "User:alice Allow * Write",
            ],
        )),
    );
    check(
        "/kafka-acl-extended/prefixed/TransactionalId/tx-",
        Some((0, &["User:alice Allow * Describe", "User:alice Allow * Write"])),
    );
    check("/kafka-acl/Group/grp-1", Some((0, &["User:mallory Deny * All"])));
    // 2.8 writes by itself, and announces it.
    let zookeeper = format!("zookeeper.connect={}", scene.zookeeper_connect());
    let carol = [
        "--add",
        "--allow-principal",
        "User:carol",
        "--operation",
        "Write",
        "--topic",
        "t39",
    ];
    kafka_2_8(
        "kafka-acls",
        &[&["--authorizer-properties", &zookeeper], &carol[..]].concat(),
    )
    .succeeds();
    // The tool has taken longer to end than the notice to come.
    let listed = acls(&["--list", "--topic", "t39"]);
    assert!(listed.contains("User:carol"), "{listed}");
    let matching = acls(&["--list", "--topic", "pre-1", "--resource-pattern-type", "match"]);
    assert!(matching.contains("pre-") && !matching.contains("t39"), "{matching}");
    acls(&[
        "--remove",
        "--force",
        "--deny-principal",
        "User:mallory",
        "--operation",
        "All",
        "--group",
        "grp-1",
    ]);
    acls(&[
        "--remove",
        "--force",
        "--allow-principal",
        "User:alice",
        "--operation",
        "Describe",
        "--topic",
        "t39",
    ]);
    check("/kafka-acl/Group/grp-1", None);
    check(
        "/kafka-acl/Topic/t39",
        Some((
            3,
            &[
                "User:alice Allow * Read",
                "User:alice Allow 10.0.0.1 Write",
                "User:bob Allow 10.0.0.1 Write",
                "User:carol Allow * Write",
            ],
        )),
    );
    let mut znodes = Znodes::open(scene.zookeeper_connect()).expect("ZooKeeper listens");
    let notice = znodes
        .get("/kafka-acl-changes/acl_changes_0000000004")
        .expect("it answers")
        .expect("a notice");
    assert_eq!(notice.data, "GROUP:grp-1");
}

#[test]
fn a_right_given_at_one_broker_holds_at_the_other_within_a_second() {
    let scene = Scene::new("acl-two-brokers");
    let (one, other) = (Guarded::start(scene.broker(1)), Guarded::start(scene.broker(2)));
    one.admin(
        &scene,
        "kafka-topics",
        &["--create", "--topic", "t", "--replica-assignment", "2"],
    );
    const TOPIC_AUTHORIZATION_FAILED: i16 = 29;
    other.answers("t", TOPIC_AUTHORIZATION_FAILED, 20);
    let line = "Principal = User:ANONYMOUS is Denied Operation = Write from host = 127.0.0.1 on resource = Topic:LITERAL:t for request = Produce with resourceRefCount = 1";
    eventually(5, "the denial is logged", || match other.broker.log() {
        log if log.contains(line) => Ok(()),
        log => Err(log),
    });
    let write = [
        "--allow-principal",
        "User:ANONYMOUS",
        "--operation",
        "Write",
        "--topic",
        "t",
    ];
    one.admin(&scene, "kafka-acls", &[&["--add"], &write[..]].concat());
    other.answers("t", 0, 1);
    one.admin(&scene, "kafka-acls", &[&["--remove", "--force"], &write[..]].concat());
    other.answers("t", TOPIC_AUTHORIZATION_FAILED, 1);
}
