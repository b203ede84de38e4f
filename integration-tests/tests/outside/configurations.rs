//! Configurations, quotas, credentials and ACLs as the stock tools write them: the same znodes as with Kafka, and obeyed at
//! once.

use integration_tests::{Scene, Znodes, eventually, free_port, is_reference, kafka, kafka_2_8, kcat, repository};
use std::collections::BTreeMap;

/// What Kafka 3.9.1 leaves behind. Recorded by running this test against it, with `OTTLA_RECORD=1` and the
/// `OTTLA_BROKER_COMMAND` of the README.
const GOLDEN: &str = "integration-tests/testdata/administration.znodes";

/// Where administration is kept.
const ROOTS: &[&str] = &[
    "/config",
    "/kafka-acl",
    "/kafka-acl-changes",
    "/kafka-acl-extended",
    "/kafka-acl-extended-changes",
];

/// Texts of which every writer makes up a part: of encoded passwords and of credentials, lengths stay.
fn without_salt(value: &str) -> String {
    const RANDOM: &[&str] = &[
        "initializationVector:",
        "salt:",
        "encryptedPassword:",
        "salt=",
        "stored_key=",
        "server_key=",
    ];
    let item = |item: &str| match RANDOM.iter().find(|field| item.starts_with(**field)) {
        Some(field) => format!("{field}<{}>", item.len() - field.len()),
        None => item.to_owned(),
    };
    let mut items: Vec<String> = value.split(',').map(item).collect();
    if items.len() > 1 {
        items.sort();
    }
    items.join(",")
}

fn normalised(value: serde_json::Value) -> serde_json::Value {
    use serde_json::Value;
    match value {
        Value::String(text) => Value::String(without_salt(&text)),
        Value::Object(map) => {
            let sorted: BTreeMap<String, Value> = map.into_iter().map(|(k, v)| (k, normalised(v))).collect();
            Value::Object(sorted.into_iter().collect())
        }
        Value::Array(all) => {
            let mut all: Vec<Value> = all.into_iter().map(normalised).collect();
            all.sort_by_key(Value::to_string);
            Value::Array(all)
        }
        other => other,
    }
}

/// A line of a dump without what is another each time.
fn comparable(line: &str) -> String {
    let (znode, data) = line.split_once(" v").expect("a znode and its version");
    let (version, data) = data.split_once(' ').expect("a version and data");
    let data = match serde_json::from_str(data) {
        Ok(json) => normalised(json).to_string(),
        Err(_) => data.to_owned(),
    };
    format!("{znode} v{version} {data}")
}

fn dump(znodes: &mut Znodes, path: &str, lines: &mut Vec<String>) {
    let Some(found) = znodes.get(path).expect("zookeeper answers") else {
        return;
    };
    lines.push(format!("{path} v{} {}", found.version, found.data));
    for child in znodes.children(path).expect("zookeeper answers") {
        dump(znodes, &format!("{path}/{child}"), lines);
    }
}

#[test]
fn tools_leave_the_znodes_that_they_leave_with_kafka() {
    let scene = Scene::with_own_zookeeper("administration");
    let broker = scene
        .broker(1)
        .set("authorizer.class.name", "kafka.security.authorizer.AclAuthorizer")
        .set("super.users", "User:ANONYMOUS")
        .set("password.encoder.secret", "the secret of a test")
        .start();
    let bootstrap = broker.bootstrap();
    let configs = |words: &[&str]| {
        let all = [&["--bootstrap-server", &bootstrap, "--alter"], words].concat();
        kafka("kafka-configs", &all).succeeds();
    };
    let acls = |words: &[&str]| {
        kafka(
            "kafka-acls",
            &[&["--bootstrap-server", &bootstrap, "--force"], words].concat(),
        )
        .succeeds();
    };
    let old_configs = |words: &[&str]| {
        let all = [&["--zookeeper", scene.zookeeper_connect(), "--alter"], words].concat();
        kafka_2_8("kafka-configs", &all).succeeds();
    };
    broker.create_topic("t", 1, &[("retention.ms", "5000")]);
    let topic = ["--entity-type", "topics", "--entity-name", "t"];
    configs(
        &[
            &topic[..],
            &["--add-config", "cleanup.policy=[compact,delete],segment.bytes=1000000"],
        ]
        .concat(),
    );
    configs(&[&topic[..], &["--delete-config", "segment.bytes"]].concat());
    let all_brokers = ["--entity-type", "brokers", "--entity-default"];
    configs(
        &[
            &all_brokers[..],
            &["--add-config", "log.cleaner.threads=2,max.connections.per.ip=500"],
        ]
        .concat(),
    );
    let this_broker = ["--entity-type", "brokers", "--entity-name", "1"];
    configs(&[&this_broker[..], &["--add-config", "num.io.threads=6"]].concat());
    configs(&[&this_broker[..], &["--delete-config", "num.io.threads"]].concat());
    let password = "log.retention.ms=9000,listener.name.outside.ssl.keystore.password=capture-pass";
    configs(&[&this_broker[..], &["--add-config", password]].concat());
    let alice = ["--entity-type", "users", "--entity-name", "alice"];
    configs(&[&alice[..], &["--add-config", "producer_byte_rate=1024"]].concat());
    configs(
        &[
            &alice[..],
            &["--add-config", "SCRAM-SHA-256=[iterations=4096,password=p]"],
        ]
        .concat(),
    );
    configs(
        &[
            &alice[..],
            &["--entity-type", "clients", "--entity-name", "app 1"],
            &["--add-config", "request_percentage=50"],
        ]
        .concat(),
    );
    configs(&[&alice[..], &["--delete-config", "producer_byte_rate"]].concat());
    configs(&[
        "--entity-type",
        "ips",
        "--entity-name",
        "127.0.0.9",
        "--add-config",
        "connection_creation_rate=10",
    ]);
    configs(&[
        "--entity-type",
        "clients",
        "--entity-default",
        "--add-config",
        "consumer_byte_rate=5",
    ]);
    configs(&[
        "--entity-type",
        "clients",
        "--entity-default",
        "--delete-config",
        "consumer_byte_rate",
    ]);
    acls(&["--add", "--allow-principal", "User:bob", "--producer", "--topic", "t"]);
    acls(&[
        "--add",
        "--deny-principal",
        "User:carol",
        "--operation",
        "Read",
        "--topic",
        "pre",
        "--resource-pattern-type",
        "prefixed",
    ]);
    acls(&[
        "--remove",
        "--allow-principal",
        "User:bob",
        "--operation",
        "Create",
        "--topic",
        "t",
    ]);
    old_configs(&[&topic[..], &["--add-config", "max.message.bytes=4000"]].concat());
    old_configs(&[
        "--entity-type",
        "users",
        "--entity-name",
        "dave",
        "--add-config",
        "producer_byte_rate=7",
    ]);

    let mut znodes = Znodes::open(scene.zookeeper_connect()).unwrap();
    let mut found = Vec::new();
    for root in ROOTS {
        dump(&mut znodes, root, &mut found);
    }
    let found = found.join("\n") + "\n";
    let golden = repository().join(GOLDEN);
    if is_reference() && std::env::var_os("OTTLA_RECORD").is_some() {
        std::fs::write(&golden, &found).unwrap();
    }
    let expected = std::fs::read_to_string(&golden).unwrap();
    let comparable = |dump: &str| dump.lines().map(comparable).collect::<Vec<_>>();
    for (found, expected) in comparable(&found).iter().zip(comparable(&expected)) {
        assert_eq!(*found, expected);
    }
    assert_eq!(found.lines().count(), expected.lines().count());
}

#[test]
fn a_broker_changes_while_it_runs_and_keeps_that_over_a_restart() {
    let scene = Scene::new("at run time");
    let mut broker = scene
        .broker(1)
        .set("listener.security.protocol.map", "PLAINTEXT:PLAINTEXT,SECOND:PLAINTEXT")
        .set("password.encoder.secret", "the secret of a test")
        .start();
    let (bootstrap, first, second) = (broker.bootstrap(), broker.port(), free_port());
    let configs = |words: &[&str]| {
        let this = [
            "--bootstrap-server",
            &bootstrap,
            "--entity-type",
            "brokers",
            "--entity-name",
            "1",
        ];
        kafka("kafka-configs", &[&this[..], words].concat())
    };
    let listeners = format!("PLAINTEXT://127.0.0.1:{first},SECOND://127.0.0.1:{second}");
    let set = format!("listeners=[{listeners}],advertised.listeners=[{listeners}],background.threads=12");
    configs(&["--alter", "--add-config", &set]).succeeds();
    let address = format!("127.0.0.1:{second}");
    let answers = |address: &str| kcat(&["-L", "-b", address, "-m", "2"]);
    eventually(10, "the new listener answers, and says where it is", || {
        let says = answers(&address).says();
        says.contains(&format!("at {address}")).then_some(()).ok_or(says)
    });
    let mut znodes = Znodes::open(scene.zookeeper_connect()).unwrap();
    let registered = znodes.get("/brokers/ids/1").unwrap().unwrap();
    assert!(
        registered.data.contains(&format!("SECOND://127.0.0.1:{second}")),
        "{}",
        registered.data
    );

    let refused = configs(&["--alter", "--add-config", "background.threads=100"]).fails();
    let reason = "Dynamic thread count update validation failed for background.threads=100, value should not be greater than double the current value 12";
    assert!(refused.contains(reason), "{refused}");
    let refused = configs(&["--alter", "--add-config", "log.dirs=/tmp/elsewhere"]).fails();
    assert!(
        refused.contains("Cannot update these configs dynamically: Set(log.dirs)"),
        "{refused}"
    );

    configs(&[
        "--alter",
        "--add-config",
        "listener.name.third.ssl.keystore.password=hunter2",
    ])
    .succeeds();
    let stored = znodes.get("/config/brokers/1").unwrap().unwrap().data;
    assert!(
        stored.contains("encryptedPassword:") && !stored.contains("hunter2"),
        "{stored}"
    );
    let described = configs(&["--describe"]).succeeds();
    for line in [
        "background.threads=12 sensitive=false synonyms={DYNAMIC_BROKER_CONFIG:background.threads=12, DEFAULT_CONFIG:background.threads=10}",
        "listener.name.third.ssl.keystore.password=null sensitive=true synonyms={DYNAMIC_BROKER_CONFIG:listener.name.third.ssl.keystore.password=null}",
    ] {
        assert!(described.contains(line), "{described}");
    }

    broker.stop();
    broker.start_again();
    eventually(10, "the listener is there again", || {
        let says = answers(&address).says();
        says.contains(&format!("at {address}")).then_some(()).ok_or(says)
    });
    assert!(
        !broker.log().contains("could not be decoded"),
        "the password is read again"
    );
    // Written past the broker, by the old tool.
    // The tool wants passwords to be said again with whatever else is changed.
    let back = format!(
        "listeners=[PLAINTEXT://127.0.0.1:{first}],advertised.listeners=[PLAINTEXT://127.0.0.1:{first}],listener.name.third.ssl.keystore.password=hunter2"
    );
    configs(&["--alter", "--add-config", &back]).succeeds();
    eventually(10, "the listener is closed", || {
        match std::net::TcpStream::connect(&address) {
            Ok(_) => Err("it is open".to_owned()),
            Err(_) => Ok(()),
        }
    });
    assert!(answers(&bootstrap).succeeds().contains(&bootstrap));
}
