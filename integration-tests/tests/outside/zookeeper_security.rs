//! A ZooKeeper that asks who comes: SASL, TLS, and znodes that only brokers may change.

use std::path::{Path, PathBuf};

use integration_tests::{
    Authority, Connection, Coordinator, STORE_PASSWORD, Scene, ZooKeeper, eventually, free_port, repository,
    run_with_input,
};

const CREATOR: &str = "'sasl,'kafka: cdrwa";
const READERS: &str = "'sasl,'kafka: cdrwa'world,'anyone: r";
const EVERYBODY: &str = "'world,'anyone: cdrwa";
const LINE: &str =
    "org.apache.zookeeper.server.auth.DigestLoginModule required username=\"kafka\" password=\"secret\";";

/// A ZooKeeper that knows the user `kafka`, on a plain port and on one with TLS.
struct Secured {
    zookeeper: ZooKeeper,
    authority: Authority,
    truststore: PathBuf,
    secure_port: u16,
}

impl Secured {
    fn start(directory: &Path) -> Self {
        Self::start_with(directory, "none")
    }

    /// `client_auth`: whether who comes by TLS must show a certificate.
    fn start_with(directory: &Path, client_auth: &str) -> Self {
        std::fs::create_dir_all(directory).expect("a directory can be made");
        let authority = Authority::new(&directory.join("certificates"), "authority");
        let keystore = authority.server("zookeeper").keystore("PKCS12");
        let truststore = authority.truststore("JKS");
        let jaas = directory.join("server.jaas");
        let module = "org.apache.zookeeper.server.auth.DigestLoginModule";
        std::fs::write(
            &jaas,
            format!("Server {{ {module} required user_kafka=\"secret\"; }};\n"),
        )
        .expect("a file can be written");
        let secure_port = free_port();
        let lines = format!(
            "authProvider.1=org.apache.zookeeper.server.auth.SASLAuthenticationProvider\n\
             serverCnxnFactory=org.apache.zookeeper.server.NettyServerCnxnFactory\n\
             secureClientPort={secure_port}\nssl.clientAuth={client_auth}\nssl.keyStore.location={}\nssl.keyStore.password={STORE_PASSWORD}\n\
             ssl.keyStore.type=PKCS12\nssl.trustStore.location={}\nssl.trustStore.password={STORE_PASSWORD}\nssl.trustStore.type=JKS\n",
            keystore.display(),
            truststore.display()
        );
        let environment = vec![
            "OTTLA_ZOOKEEPER_TLS=yes".to_owned(),
            format!("JDK_JAVA_OPTIONS=-Djava.security.auth.login.config={}", jaas.display()),
        ];
        Self {
            zookeeper: ZooKeeper::start_with(&directory.join("zookeeper"), &lines, environment),
            authority,
            truststore,
            secure_port,
        }
    }

    fn connect(&self) -> String {
        format!("{}/secure/kafka", self.zookeeper.connect())
    }
}

/// A broker's JAAS file with the section `Client`, for `KAFKA_OPTS`.
fn options(directory: &Path, password: &str) -> String {
    let file = directory.join(format!("client-{password}.jaas"));
    let module = "org.apache.zookeeper.server.auth.DigestLoginModule";
    let text = format!("Client {{ {module} required username=\"kafka\" password=\"{password}\"; }};\n");
    std::fs::write(&file, text).expect("a file can be written");
    format!("KAFKA_OPTS=-Djava.security.auth.login.config={}", file.display())
}

/// What `getAcl` says of these paths to whoever is logged in, one after the other on one line.
fn acls(connect: &str, options: &str, paths: &[&str]) -> String {
    let options = options.replace("KAFKA_OPTS", "JDK_JAVA_OPTIONS");
    let tool = repository().join("integration-tests/tools/kafka").display().to_string();
    let words = ["env", &options, &tool, "zookeeper-shell", connect].map(str::to_owned);
    let mut input: String = paths.iter().map(|path| format!("getAcl {path}\n")).collect();
    input.push_str("quit\n");
    let said = run_with_input(&words, input.as_bytes(), 90).says();
    let lines = said.lines().map(str::trim);
    lines
        .filter(|line| line.starts_with('\'') || line.starts_with(": "))
        .collect()
}

#[test]
fn znodes_are_kept_from_others_and_brokers_get_in_by_sasl_and_by_tls() {
    let scene = Scene::new("zookeeper-security");
    let secured = Secured::start(&scene.directory().join("secured"));
    let connect = secured.connect();
    let options = options(scene.directory(), "secret");
    let by_sasl = |id: u32| {
        let setup = scene.broker(id).set("zookeeper.connect", &connect);
        setup.set("zookeeper.set.acl", "true")
    };
    let mut first = by_sasl(1).under(&["env", &options]).start();
    first.create_topic("t", 1, &[]);
    let expected = [
        ("/secure", READERS),
        ("/secure/kafka", READERS),
        ("/secure/kafka/brokers/topics/t", READERS),
        ("/secure/kafka/brokers/topics/t/partitions/0/state", READERS),
        ("/secure/kafka/config/users", CREATOR),
        ("/secure/kafka/config/brokers", CREATOR),
        ("/secure/kafka/consumers", EVERYBODY),
        ("/secure/kafka/controller", READERS),
    ];
    let found = acls(&secured.zookeeper.connect(), &options, &expected.map(|(path, _)| path));
    assert_eq!(found, expected.map(|(_, acl)| acl).concat());
    let refused = ZooKeeper::shell(
        &connect,
        &["get /config/users", "delete /brokers/topics/t", "create /brokers/x 1"],
    );
    assert_eq!(refused.matches("Insufficient permission").count(), 3, "{refused}");

    // The second one comes by TLS, and is told who it is by a key.
    let second = by_sasl(2)
        .set(
            "zookeeper.connect",
            &format!("127.0.0.1:{}/secure/kafka", secured.secure_port),
        )
        .set("ottla.zookeeper.sasl.jaas.config", LINE)
        .set("zookeeper.ssl.client.enable", "true")
        .set(
            "zookeeper.clientCnxnSocket",
            "org.apache.zookeeper.ClientCnxnSocketNetty",
        )
        .set(
            "zookeeper.ssl.truststore.location",
            &secured.truststore.display().to_string(),
        )
        .set("zookeeper.ssl.truststore.password", STORE_PASSWORD)
        .start();
    eventually(20, "the second broker knows both", || {
        let metadata = Connection::open(second.port()).and_then(|mut it| it.metadata());
        match metadata {
            Ok(2) => Ok(()),
            other => Err(format!("{other:?}")),
        }
    });

    // The guardian of the first knows how to log in as well: its session would live for six seconds.
    first.kill();
    eventually(4, "the first broker is gone", || {
        match Connection::open(second.port()).and_then(|mut it| it.metadata()) {
            Ok(1) => Ok(()),
            other => Err(format!("{other:?}")),
        }
    });
}

#[test]
fn a_broker_that_zookeeper_does_not_know_is_refused_with_a_sentence() {
    let scene = Scene::new("zookeeper-strangers");
    let secured = Secured::start(&scene.directory().join("secured"));
    let check = |under: Option<&str>, extra: &[(&str, &str)], words: &[&str]| {
        let mut setup = scene.broker(1).set("zookeeper.connect", &secured.connect());
        setup = setup.set("zookeeper.connection.timeout.ms", "5000");
        for (key, value) in extra {
            setup = setup.set(key, value);
        }
        if let Some(options) = under {
            setup = setup.under(&["env", options]);
        }
        let mut broker = setup.launch();
        let status = broker.wait(60);
        let log = broker.log();
        assert_eq!(status.code(), Some(1), "{log}");
        for word in words {
            assert!(log.contains(word), "`{word}` is not in\n{log}");
        }
        assert!(!log.contains("wrong"), "{log}");
    };
    let set_acl = ("zookeeper.set.acl", "true");
    check(
        None,
        &[set_acl],
        &["zookeeper.set.acl is true, but ZooKeeper client TLS configuration"],
    );
    let wrong = options(scene.directory(), "wr0ng");
    check(Some(&wrong), &[set_acl], &["zookeeper authentication failed"]);
    let secure = format!("127.0.0.1:{}/secure/kafka", secured.secure_port);
    let stranger = Authority::new(&scene.directory().join("others"), "other").truststore("JKS");
    check(
        None,
        &[
            ("zookeeper.connect", &secure),
            ("zookeeper.ssl.client.enable", "true"),
            ("zookeeper.ssl.truststore.location", &stranger.display().to_string()),
            ("zookeeper.ssl.truststore.password", STORE_PASSWORD),
        ],
        &["cannot connect to zookeeper", "is its certificate trusted"],
    );
}

#[test]
fn a_coordinator_logs_in_as_brokers_do() {
    let scene = Scene::new("zookeeper-coordinator");
    let secured = Secured::start(&scene.directory().join("secured"));
    let connect = secured.connect();
    let keys = [
        ("zookeeper.connect", connect.as_str()),
        ("zookeeper.set.acl", "true"),
        ("ottla.zookeeper.sasl.jaas.config", LINE),
    ];
    let coordinator = Coordinator::start(&scene, 100_001, &keys);
    eventually(20, "the coordinator is the controller", || {
        let log = coordinator.log();
        match log.contains("elected as the controller") {
            true => Ok(()),
            false => Err(log),
        }
    });
    let setup = keys
        .iter()
        .fold(scene.broker(1), |setup, (key, value)| setup.set(key, value));
    setup.start().create_topic("t", 1, &[]);
    let found = acls(
        &secured.zookeeper.connect(),
        &options(scene.directory(), "secret"),
        &[
            "/secure",
            "/secure/kafka/controller_epoch",
            "/secure/kafka/brokers/topics/t/partitions/0/state",
        ],
    );
    assert_eq!(found, [READERS; 3].concat());
}

#[test]
fn a_broker_is_known_to_zookeeper_by_its_certificate() {
    let scene = Scene::new("zookeeper-x509");
    let secured = Secured::start_with(&scene.directory().join("secured"), "need");
    let text = |path: PathBuf| path.display().to_string();
    let setup = |id: u32| {
        scene
            .broker(id)
            .set("zookeeper.connect", &format!("127.0.0.1:{}/x509", secured.secure_port))
            .set("zookeeper.set.acl", "true")
            .set("zookeeper.ssl.client.enable", "true")
            .set(
                "zookeeper.clientCnxnSocket",
                "org.apache.zookeeper.ClientCnxnSocketNetty",
            )
            .set("zookeeper.ssl.truststore.location", &text(secured.truststore.clone()))
            .set("zookeeper.ssl.truststore.password", STORE_PASSWORD)
    };
    let keystore = text(secured.authority.client("broker").keystore("PKCS12"));
    let known = |id: u32| {
        setup(id)
            .set("zookeeper.ssl.keystore.location", &keystore)
            .set("zookeeper.ssl.keystore.password", STORE_PASSWORD)
            .set("zookeeper.ssl.keystore.type", "PKCS12")
    };
    let mut first = known(1).start();
    first.create_topic("t", 1, &[]);
    let plain = secured.zookeeper.connect();
    // The shell writes a comma in a name so.
    let found = acls(&plain, "KAFKA_OPTS=", &["/x509/brokers/topics/t", "/x509/controller"]);
    assert_eq!(
        found,
        ["'x509,'CN=broker%2CO=Ottla: cdrwa'world,'anyone: r"; 2].concat()
    );
    let refused = ZooKeeper::shell(&plain, &["get /x509/config/users", "delete /x509/brokers/topics/t"]);
    assert_eq!(refused.matches("Insufficient permission").count(), 2, "{refused}");
    // Another broker with a certificate of the same name may change what the first has made; its guardian, too.
    let second = known(2).start();
    first.kill();
    eventually(4, "the first broker is gone", || {
        match Connection::open(second.port()).and_then(|mut it| it.metadata()) {
            Ok(1) => Ok(()),
            other => Err(format!("{other:?}")),
        }
    });
    second.create_topic("u", 1, &[]);
    // Who has no certificate does not come in.
    let mut stranger = setup(3)
        .set("zookeeper.set.acl", "false")
        .set("zookeeper.connection.timeout.ms", "5000")
        .launch();
    assert_eq!(stranger.wait(60).code(), Some(1));
    let log = stranger.log();
    assert!(log.contains("cannot connect to zookeeper"), "{log}");
}
