//! TLS: stock clients with certificates, brokers among themselves, a controller of its own, renewal, mistaken peers.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::time::Duration;

use integration_tests::{
    Authority, BrokerSetup, Cluster, Coordinator, Identity, Scene, eventually, free_port, is_reference, kafka,
    kafka_with_input, kcat, kcat_with_input, run,
};
use rustix::process::Signal;

/// What brokers that speak TLS to each other have in common.
struct Tls {
    authority: Authority,
    server: Identity,
}

fn text(path: &Path) -> String {
    path.display().to_string()
}

impl Tls {
    fn new(scene: &Scene) -> Self {
        let authority = Authority::new(&scene.directory().join("certificates"), "authority");
        let server = authority.server("broker");
        Self { authority, server }
    }

    /// The plain listener of the harness, and `INTERNAL` with TLS, which wants certificates, for brokers.
    fn configure(&self, setup: BrokerSetup) -> BrokerSetup {
        let listeners = format!(
            "PLAINTEXT://127.0.0.1:{},INTERNAL://127.0.0.1:{}",
            setup.port(),
            free_port()
        );
        let setup = setup
            .set("listeners", &listeners)
            .set("listener.security.protocol.map", "PLAINTEXT:PLAINTEXT,INTERNAL:SSL")
            .set("inter.broker.listener.name", "INTERNAL");
        self.stores()
            .iter()
            .fold(setup, |setup, (key, value)| setup.set(key, value))
    }

    fn stores(&self) -> [(&'static str, String); 5] {
        [
            ("listener.name.internal.ssl.keystore.type", "PEM".to_owned()),
            ("listener.name.internal.ssl.keystore.location", text(&self.server.pem)),
            ("listener.name.internal.ssl.truststore.type", "PEM".to_owned()),
            (
                "listener.name.internal.ssl.truststore.location",
                text(&self.authority.pem()),
            ),
            ("listener.name.internal.ssl.client.auth", "required".to_owned()),
        ]
    }

    /// A file for Java's clients, with a certificate or without.
    fn java(&self, scene: &Path, identity: Option<&Identity>) -> String {
        let mut properties = format!(
            "security.protocol=SSL\nssl.truststore.type=PEM\nssl.truststore.location={}\n\
             request.timeout.ms=10000\ndefault.api.timeout.ms=15000\nmax.block.ms=15000\n",
            text(&self.authority.pem())
        );
        if let Some(identity) = identity {
            properties += &format!("ssl.keystore.type=PEM\nssl.keystore.location={}\n", text(&identity.pem));
        }
        let file = scene.join(if identity.is_some() {
            "with.properties"
        } else {
            "without.properties"
        });
        std::fs::write(&file, properties).expect("a file can be written");
        text(&file)
    }
}

fn start(name: &str, count: u32, also: impl Fn(BrokerSetup) -> BrokerSetup) -> (Cluster, Tls) {
    let scene = Scene::new(name);
    let tls = Tls::new(&scene);
    let cluster = Cluster::start(scene, count, |setup| {
        also(tls.configure(setup)).set("min.insync.replicas", "1")
    });
    (cluster, tls)
}

#[test]
fn brokers_replicate_and_clients_produce_over_tls() {
    let (mut cluster, tls) = start("tls-pair", 2, |setup| setup);
    cluster.create_replicated_topic("t", 2, 2, &[]);
    let bootstrap = cluster.broker(1).listener("INTERNAL");
    let alice = tls.authority.client("alice");
    let directory = cluster.scene().directory().to_owned();
    let with = tls.java(&directory, Some(&alice));
    let lines: String = (0..200).map(|n| format!("value {n}\n")).collect();
    let to = [
        "--bootstrap-server",
        &bootstrap,
        "--topic",
        "t",
        "--producer.config",
        &with,
    ];
    kafka_with_input("kafka-console-producer", &to, lines.as_bytes()).succeeds();
    cluster.wait_until_in_sync("t", 20);
    let from = [
        "--bootstrap-server",
        &bootstrap,
        "--topic",
        "t",
        "--consumer.config",
        &with,
    ];
    let all = ["--from-beginning", "--max-messages", "200", "--timeout-ms", "30000"];
    let read = kafka("kafka-console-consumer", &[&from[..], &all[..]].concat()).succeeds();
    let mut found: Vec<&str> = read.lines().filter(|line| line.starts_with("value ")).collect();
    let mut expected: Vec<&str> = lines.lines().collect();
    found.sort_unstable();
    expected.sort_unstable();
    assert_eq!(found, expected);
    cluster.check_replicas("t");

    // librdkafka, with and without a certificate.
    let authority = format!("ssl.ca.location={}", text(&tls.authority.pem()));
    let common = [
        "-b",
        &bootstrap,
        "-L",
        "-m",
        "10",
        "-X",
        "security.protocol=ssl",
        "-X",
        &authority,
    ];
    let (key, certificate) = (
        format!("ssl.key.location={}", text(&alice.key)),
        format!("ssl.certificate.location={}", text(&alice.certificate)),
    );
    let listed = kcat(&[&common[..], &["-X", &key, "-X", &certificate]].concat()).succeeds();
    assert!(listed.contains("2 brokers"), "{listed}");
    kcat(&common).fails();
    eventually(10, "the log says who was refused", || {
        match cluster.brokers[0].log().contains("peer sent no certificates") {
            true => Ok(()),
            false => Err("not yet".to_owned()),
        }
    });
}

#[test]
fn a_controller_of_its_own_and_its_brokers_reach_each_other_over_tls() {
    if is_reference() {
        return;
    }
    let scene = Scene::new("tls-office");
    let tls = Tls::new(&scene);
    let stores = tls.stores();
    let mut configs = vec![
        ("listener.security.protocol.map", "INTERNAL:SSL"),
        ("inter.broker.listener.name", "INTERNAL"),
    ];
    configs.extend(stores.iter().map(|(key, value)| (*key, value.as_str())));
    let mut coordinator = Coordinator::start(&scene, 100_001, &configs);
    coordinator.wait_until_announced(&scene);
    let mut cluster = Cluster::start(scene, 2, |setup| {
        // The session outlives the pause: it is the leader who takes the follower out.
        tls.configure(setup)
            .set("zookeeper.session.timeout.ms", "30000")
            .set("replica.lag.time.max.ms", "2000")
            .set("min.insync.replicas", "1")
    });
    assert_eq!(cluster.wait_for_controller(10, |_| true), coordinator.id());
    cluster.create_replicated_topic("t", 1, 2, &[]);
    cluster.wait_until_in_sync("t", 20);
    let leader = cluster.partition("t", 0).leader;
    let follower = 3 - leader;
    cluster.broker(follower).signal(Signal::STOP);
    // A follower that has all there is stays in sync, however silent it is.
    let bootstrap = cluster.broker(leader).bootstrap();
    kcat_with_input(&["-b", &bootstrap, "-P", "-t", "t", "-X", "acks=1"], b"a\nb\n").succeeds();
    cluster.wait_for_partition("t", 0, 30, "the leader has told the coordinator", |p| p.isr == [leader]);
    cluster.broker(follower).signal(Signal::CONT);
    cluster.wait_until_in_sync("t", 30);
    drop(cluster);
    coordinator.stop();
}

#[test]
fn the_controller_speaks_to_brokers_at_the_control_plane_listener() {
    let mut control_port = 0;
    let scene = Scene::new("tls-control-plane");
    let tls = Tls::new(&scene);
    let ports = std::cell::RefCell::new(Vec::new());
    let mut cluster = Cluster::start(scene, 2, |setup| {
        let control = free_port();
        ports.borrow_mut().push(control);
        let listeners = format!(
            "PLAINTEXT://127.0.0.1:{},INTERNAL://127.0.0.1:{},CONTROL://127.0.0.1:{control}",
            setup.port(),
            free_port()
        );
        let setup = tls.configure(setup).set("listeners", &listeners).set(
            "listener.security.protocol.map",
            "PLAINTEXT:PLAINTEXT,INTERNAL:SSL,CONTROL:SSL",
        );
        tls.stores()
            .iter()
            .fold(setup, |setup, (key, value)| {
                setup.set(&key.replace("internal", "control"), value)
            })
            .set("control.plane.listener.name", "CONTROL")
            .set("min.insync.replicas", "1")
    });
    cluster.create_replicated_topic("t", 2, 2, &[]);
    cluster.wait_until_in_sync("t", 20);
    let controller = cluster.wait_for_controller(10, |_| true);
    let log = cluster.broker(controller).log();
    for port in ports.into_inner() {
        control_port = port;
        let connected = log
            .lines()
            .any(|line| line.contains("controller connected to broker") && line.contains(&port.to_string()));
        assert!(connected, "the controller has not connected to port {port}:\n{log}");
    }
    assert_ne!(control_port, 0);
}

/// The serial number of the certificate that a listener shows.
fn serial(address: &str) -> Result<String, String> {
    let command = format!("openssl s_client -connect {address} </dev/null 2>/dev/null | openssl x509 -noout -serial");
    let words = ["sh", "-c", &command].map(str::to_owned);
    let shown = run(&words, 20).says();
    let serial = shown.lines().find_map(|line| line.strip_prefix("serial="));
    serial.map(str::to_owned).ok_or(shown)
}

#[test]
fn a_certificate_is_renewed_when_its_file_changes() {
    let (mut cluster, tls) = start("tls-renewal", 2, |setup| setup);
    cluster.create_replicated_topic("t", 1, 2, &[]);
    let address = cluster.broker(1).listener("INTERNAL");
    let before = serial(&address).expect("a certificate is shown");
    let renewed = tls.authority.server("broker");
    std::fs::copy(&renewed.pem, &tls.server.pem).expect("a file can be copied");
    eventually(40, "the new certificate is shown", || match serial(&address)? {
        now if now == before => Err(format!("still {now}")),
        _ => Ok(()),
    });
    assert!(cluster.broker(1).log().contains("TLS certificate in use"));
    // Another subject is not taken.
    let stranger = tls.authority.server("somebody-else");
    std::fs::copy(&stranger.pem, &tls.server.pem).expect("a file can be copied");
    eventually(40, "the refusal is logged", || {
        match cluster
            .broker(1)
            .log()
            .contains("Keystore DistinguishedName does not match")
        {
            true => Ok(()),
            false => Err("not yet".to_owned()),
        }
    });
    // Replication has gone on all the while.
    cluster.wait_until_in_sync("t", 20);
}

#[test]
fn peers_that_mistake_the_port_are_named_in_the_log() {
    let (mut cluster, _tls) = start("tls-mistakes", 1, |setup| setup);
    let broker = cluster.broker(1);
    let send = |address: &str, bytes: &[u8]| {
        let mut stream = TcpStream::connect(address).expect("it listens");
        stream
            .set_read_timeout(Some(Duration::from_secs(10)))
            .expect("a timeout can be set");
        stream.write_all(bytes).expect("it is sent");
        let mut rest = Vec::new();
        // A reset is an end as well.
        let _ = stream.read_to_end(&mut rest);
    };
    // ApiVersions to TLS; the beginning of a handshake to plaintext.
    send(
        &broker.listener("INTERNAL"),
        &[0, 0, 0, 11, 0, 18, 0, 0, 0, 0, 0, 1, 0, 1, b'x'],
    );
    send(&broker.bootstrap(), &[0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3]);
    for sentence in [
        "peer speaks plaintext to a TLS port",
        "looks like a TLS handshake on a PLAINTEXT listener",
    ] {
        eventually(10, sentence, || match broker.log().contains(sentence) {
            true => Ok(()),
            false => Err("not yet".to_owned()),
        });
    }
}

#[test]
fn kafkas_own_broker_and_ours_replicate_over_tls() {
    if is_reference() {
        return;
    }
    let scene = Scene::new("tls-mixed");
    let tls = Tls::new(&scene);
    let mut cluster = Cluster::start(scene, 2, |setup| {
        let setup = tls.configure(setup).set("min.insync.replicas", "1");
        match setup.id() {
            2 => setup.kafka(),
            _ => setup,
        }
    });
    cluster.create_replicated_topic("t", 4, 2, &[]);
    cluster.wait_until_in_sync("t", 40);
    let bootstrap = cluster.bootstrap();
    let lines: String = (0..400).map(|n| format!("value {n}\n")).collect();
    kcat_with_input(&["-b", &bootstrap, "-P", "-t", "t", "-X", "acks=all"], lines.as_bytes()).succeeds();
    // Each leads some partitions, so each has fetched from the other.
    let leaders: Vec<i32> = (0..4).map(|index| cluster.partition("t", index).leader).collect();
    assert!(leaders.contains(&1) && leaders.contains(&2), "{leaders:?}");
    cluster.wait_until_in_sync("t", 40);
    cluster.check_replicas("t");
    // Whichever was the controller: the other one takes over, and tells it over TLS.
    let controller = cluster.wait_for_controller(10, |_| true);
    cluster.broker(controller).stop();
    let other = 3 - controller;
    cluster.wait_for_controller(30, |id| id == other);
    cluster.wait_for_partition("t", 0, 30, "led by who is left", |p| p.leader == other);
    cluster.broker(controller).start_again();
    cluster.wait_until_in_sync("t", 60);
}

#[test]
fn kafka_configs_exchanges_the_key_store_of_a_listener() {
    let (mut cluster, tls) = start("tls-reconfigured", 2, |setup| {
        setup.set("password.encoder.secret", "encoder-secret")
    });
    cluster.create_replicated_topic("t", 1, 2, &[]);
    let address = cluster.broker(1).listener("INTERNAL");
    let bootstrap = cluster.broker(1).bootstrap();
    let before = serial(&address).expect("a certificate is shown");
    let alter = |identity: &Identity, entity: &[&str]| {
        let config = format!(
            "listener.name.internal.ssl.keystore.location={},listener.name.internal.ssl.keystore.type=PEM",
            text(&identity.pem)
        );
        let to = ["--bootstrap-server", &bootstrap, "--alter", "--entity-type", "brokers"];
        kafka("kafka-configs", &[&to[..], entity, &["--add-config", &config]].concat())
    };
    let one = ["--entity-name", "1"];
    // What would cut the broker off is refused, and nothing is written.
    let strangers = Authority::new(&cluster.scene().directory().join("strangers"), "strangers");
    let said = alter(&strangers.server("broker"), &one).fails();
    assert!(
        said.contains("Validation of dynamic config update of SSLFactory failed"),
        "{said}"
    );
    let said = alter(&tls.authority.server("somebody-else"), &one).fails();
    assert!(said.contains("Keystore DistinguishedName does not match"), "{said}");
    let said = alter(&tls.authority.server("broker"), &["--entity-default"]).fails();
    assert!(
        said.contains("Cannot update these configs at default cluster level"),
        "{said}"
    );
    assert_eq!(serial(&address).expect("a certificate is shown"), before);
    // A renewed certificate is taken, without a restart.
    alter(&tls.authority.server("broker"), &one).succeeds();
    eventually(10, "the new certificate is shown", || match serial(&address)? {
        now if now == before => Err(format!("still {now}")),
        _ => Ok(()),
    });
    cluster.wait_until_in_sync("t", 20);
}

#[test]
fn records_of_many_sizes_come_whole_over_tls() {
    let (mut cluster, tls) = start("tls-sizes", 2, |setup| setup.set("message.max.bytes", "4000000"));
    cluster.create_replicated_topic("t", 1, 2, &[("max.message.bytes", "4000000")]);
    let leader = cluster.partition("t", 0).leader;
    let bootstrap = cluster.broker(leader).listener("INTERNAL");
    let alice = tls.authority.client("alice");
    let secured = [
        "security.protocol=ssl".to_owned(),
        format!("ssl.ca.location={}", text(&tls.authority.pem())),
        format!("ssl.key.location={}", text(&alice.key)),
        format!("ssl.certificate.location={}", text(&alice.certificate)),
        "message.max.bytes=4000000".to_owned(),
    ];
    let options: Vec<&str> = secured.iter().flat_map(|option| ["-X", option]).collect();
    // From a few bytes to far more than a TLS record, a piece of a file, and what is sent in one go.
    let lines: String = [
        1usize, 100, 16_383, 16_384, 16_385, 32_769, 65_536, 65_537, 500_000, 3_000_000,
    ]
    .iter()
    .cycle()
    .take(40)
    .enumerate()
    .map(|(n, len)| format!("{n:03}{}\n", "x".repeat(*len)))
    .collect();
    let produce = ["-b", &bootstrap, "-P", "-t", "t", "-p", "0", "-X", "acks=all"];
    kcat_with_input(&[&produce[..], &options].concat(), lines.as_bytes()).succeeds();
    let consume = [
        "-b",
        &bootstrap,
        "-C",
        "-t",
        "t",
        "-o",
        "beginning",
        "-e",
        "-q",
        "-X",
        "check.crcs=true",
    ];
    let read = kcat(&[&consume[..], &options].concat()).succeeds();
    assert!(read == lines, "{} bytes instead of {}", read.len(), lines.len());
    cluster.wait_until_in_sync("t", 30);
    cluster.check_replicas("t");
}
