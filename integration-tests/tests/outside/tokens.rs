//! Delegation tokens, as the stock tool and stock clients see them.

use integration_tests::{Scene, Security, eventually, kafka, kafka_with_input, kcat_reads_all};

/// The words of the first line that names a token: id, secret, owner, requester, renewers, times.
fn token(said: &str) -> Vec<String> {
    let line = said
        .lines()
        .find(|line| line.contains("==") && line.contains("User:"))
        .unwrap_or_else(|| panic!("no token in {said}"));
    line.split_whitespace().map(str::to_owned).collect()
}

#[test]
fn a_token_made_at_one_broker_logs_in_at_another_until_it_is_ended() {
    let scene = Scene::new("tokens");
    let security = Security::new(&scene);
    let broker = |id: u32| {
        let setup = security.configure(scene.broker(id));
        setup.set("delegation.token.secret.key", "all-brokers-know-it").start()
    };
    let (one, two) = (broker(1), broker(2));
    one.create_replicated_topic("t", 1, 2, &[]);
    let admin = security.by_password("PLAIN", "admin").java("admin");
    let tool = |broker: &integration_tests::Broker, arguments: &[&str]| {
        let at = broker.listener("SASL_SSL");
        let common = ["--bootstrap-server", &at, "--command-config", &admin];
        kafka("kafka-delegation-tokens", &[&common[..], arguments].concat())
    };
    let made = tool(
        &one,
        &[
            "--create",
            "--max-life-time-period",
            "-1",
            "--renewer-principal",
            "User:bob",
        ],
    )
    .succeeds();
    let made = token(&made);
    let (id, secret) = (&made[0], &made[1]);
    let described = tool(&two, &["--describe", "--owner-principal", "User:admin"]).succeeds();
    assert_eq!(token(&described)[..2], made[..2], "{described}");

    // Whoever has the token is its owner, here at the broker that did not make it.
    let jaas = format!(
        "org.apache.kafka.common.security.scram.ScramLoginModule required username=\"{id}\" password=\"{secret}\" tokenauth=\"true\";"
    );
    let login = security.by_password("SCRAM-SHA-256", "nobody").java("token");
    let text: String = std::fs::read_to_string(&login)
        .unwrap()
        .lines()
        .filter(|line| !line.starts_with("sasl.jaas.config"))
        .map(|line| format!("{line}\n"))
        .collect();
    std::fs::write(&login, format!("{text}sasl.jaas.config={jaas}\n")).unwrap();
    let produce = || {
        let to = two.listener("SASL_SSL");
        let arguments = ["--bootstrap-server", &to, "--topic", "t", "--producer.config", &login];
        kafka_with_input("kafka-console-producer", &arguments, b"by token\n")
    };
    produce().succeeds();
    assert_eq!(kcat_reads_all(&one.bootstrap(), "t", "%s\n"), "by token\n");

    // A token may not ask for tokens.
    let at = two.listener("SASL_SSL");
    let arguments = ["--bootstrap-server", &at, "--command-config", &login, "--describe"];
    let refused = kafka("kafka-delegation-tokens", &arguments).says();
    assert!(
        refused.contains("Delegation Token requests are not allowed"),
        "{refused}"
    );

    tool(&two, &["--renew", "--renew-time-period", "3600000", "--hmac", secret]).succeeds();
    tool(&two, &["--expire", "--expiry-time-period", "-1", "--hmac", secret]).succeeds();
    eventually(30, "the token is good nowhere", || {
        let said = produce().says();
        match said.contains("SaslAuthenticationException") {
            true => Ok(()),
            false => Err(said),
        }
    });
}
