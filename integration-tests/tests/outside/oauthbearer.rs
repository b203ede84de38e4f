//! OAUTHBEARER, as stock clients and brokers among themselves speak it.

use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use integration_tests::{
    Authority, BrokerSetup, Process, Scene, client, eventually, free_port, kafka_with_input, kcat_with_input,
    repository, run, run_with_input,
};

const MODULE: &str = "org.apache.kafka.common.security.oauthbearer.OAuthBearerLoginModule required";

/// A broker whose other listener, also the one between brokers, speaks OAUTHBEARER.
fn broker(scene: &Scene, id: u32) -> BrokerSetup {
    let setup = scene.broker(id);
    let listeners = format!(
        "PLAINTEXT://127.0.0.1:{},OAUTH://127.0.0.1:{}",
        setup.port(),
        free_port()
    );
    setup
        .set("listeners", &listeners)
        .set(
            "listener.security.protocol.map",
            "PLAINTEXT:PLAINTEXT,OAUTH:SASL_PLAINTEXT",
        )
        .set("sasl.enabled.mechanisms", "OAUTHBEARER")
}

fn openssl(arguments: &[&str], input: &[u8]) -> String {
    let words: Vec<String> = ["openssl"]
        .iter()
        .chain(arguments)
        .map(|word| (*word).to_owned())
        .collect();
    run_with_input(&words, input, 30).succeeds()
}

/// Makes an RSA key in this file; the key set that others know it by.
fn new_key(key: &Path) -> String {
    openssl(&["genrsa", "-out", &key.display().to_string(), "2048"], b"");
    let said = run(
        &[
            "openssl",
            "rsa",
            "-in",
            &key.display().to_string(),
            "-noout",
            "-modulus",
        ]
        .map(str::to_owned),
        30,
    )
    .succeeds();
    let hex = said
        .lines()
        .find_map(|line| line.strip_prefix("Modulus="))
        .expect("a modulus")
        .trim()
        .to_owned();
    let modulus: Vec<u8> = (0..hex.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&hex[at..at + 2], 16).expect("hexadecimal digits"))
        .collect();
    format!(
        r#"{{"keys":[{{"kty":"RSA","kid":"one","use":"sig","alg":"RS256","e":"AQAB","n":"{}"}}]}}"#,
        URL_SAFE_NO_PAD.encode(modulus)
    )
}

/// A token for `user`, signed with RS256 by the key in this file.
fn signed_token(key: &Path, user: &str, audience: &str, lifetime: i64) -> String {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
        .as_secs()
        .cast_signed();
    let header = URL_SAFE_NO_PAD.encode(r#"{"alg":"RS256","kid":"one"}"#);
    let claims = format!(
        r#"{{"sub":"{user}","aud":"{audience}","iss":"issuer","iat":{now},"exp":{}}}"#,
        now + lifetime
    );
    let signed = format!("{header}.{}", URL_SAFE_NO_PAD.encode(claims));
    let signature = key.with_extension("signature");
    let (key, file) = (key.display().to_string(), signature.display().to_string());
    openssl(&["dgst", "-sha256", "-sign", &key, "-out", &file], signed.as_bytes());
    format!(
        "{signed}.{}",
        URL_SAFE_NO_PAD.encode(std::fs::read(&signature).expect("openssl has signed"))
    )
}

#[test]
fn brokers_and_librdkafka_log_in_with_unsecured_tokens() {
    let scene = Scene::new("oauthbearer-unsecured");
    let start = |id: u32| {
        let line = format!(
            "{MODULE} unsecuredLoginStringClaim_sub=\"broker\" unsecuredValidatorRequiredScope=\"kafka\" unsecuredLoginListClaim_scope=\"|kafka\";"
        );
        broker(&scene, id)
            .set("inter.broker.listener.name", "OAUTH")
            .set("sasl.mechanism.inter.broker.protocol", "OAUTHBEARER")
            .set("listener.name.oauth.oauthbearer.sasl.jaas.config", &line)
            .start()
    };
    let (one, two) = (start(1), start(2));
    // Two replicas: acks=all comes when the second has fetched, over the listener with OAUTHBEARER.
    one.create_replicated_topic("t", 1, 2, &[("min.insync.replicas", "2")]);
    let produce = |config: &str| {
        let to = two.listener("OAUTH");
        let login = [
            "-X",
            "security.protocol=sasl_plaintext",
            "-X",
            "sasl.mechanism=OAUTHBEARER",
            "-X",
            "enable.sasl.oauthbearer.unsecure.jwt=true",
        ];
        let config = format!("sasl.oauthbearer.config={config}");
        let what = [
            "-b",
            &to,
            "-P",
            "-t",
            "t",
            "-X",
            "acks=all",
            "-X",
            "message.timeout.ms=15000",
            "-X",
            &config,
        ];
        kcat_with_input(&[&what[..], &login].concat(), b"by a bearer\n")
    };
    produce("principal=alice scope=kafka").succeeds();
    let refused = produce("principal=alice scope=other").fails();
    assert!(refused.contains("insufficient_scope"), "{refused}");
}

#[test]
fn java_logs_in_with_a_token_that_the_provider_has_signed() {
    let scene = Scene::new("oauthbearer-signed");
    let (key, keys, file) = (
        scene.directory().join("key.pem"),
        scene.directory().join("keys.json"),
        scene.directory().join("token.jwt"),
    );
    std::fs::write(&keys, new_key(&key)).unwrap();
    let broker = broker(&scene, 1)
        .set(
            "listener.name.oauth.oauthbearer.sasl.jaas.config",
            &format!("{MODULE};"),
        )
        .set(
            "listener.name.oauth.oauthbearer.sasl.server.callback.handler.class",
            "org.apache.kafka.common.security.oauthbearer.OAuthBearerValidatorCallbackHandler",
        )
        .set(
            "sasl.oauthbearer.jwks.endpoint.url",
            &format!("file://{}", keys.display()),
        )
        .set("sasl.oauthbearer.expected.audience", "kafka")
        .set("sasl.oauthbearer.expected.issuer", "issuer")
        .start();
    broker.create_topic("t", 1, &[]);
    let config = scene.directory().join("client.properties");
    let text = format!(
        "security.protocol=SASL_PLAINTEXT\nsasl.mechanism=OAUTHBEARER\nsasl.jaas.config={MODULE};\n\
         sasl.login.callback.handler.class=org.apache.kafka.common.security.oauthbearer.OAuthBearerLoginCallbackHandler\n\
         sasl.oauthbearer.token.endpoint.url=file://{}\nmax.block.ms=15000\n",
        file.display()
    );
    std::fs::write(&config, text).unwrap();
    let produce = |token: &str| {
        std::fs::write(&file, token).unwrap();
        let (to, config) = (broker.listener("OAUTH"), config.display().to_string());
        let arguments = ["--bootstrap-server", &to, "--topic", "t", "--producer.config", &config];
        kafka_with_input("kafka-console-producer", &arguments, b"signed\n")
    };
    produce(&signed_token(&key, "alice", "kafka", 600)).succeeds();
    let refused = produce(&signed_token(&key, "alice", "others", 600)).says();
    assert!(refused.contains("invalid_token"), "{refused}");
    let stranger = scene.directory().join("other.pem");
    openssl(&["genrsa", "-out", &stranger.display().to_string(), "2048"], b"");
    let refused = produce(&signed_token(&stranger, "alice", "kafka", 600)).says();
    assert!(refused.contains("invalid_token"), "{refused}");
    // Reasons stay here, tokens do not.
    let log = broker.log();
    assert!(log.contains("invalid signature") && !log.contains("eyJ"), "{log}");
}

const VALIDATOR: &str = "org.apache.kafka.common.security.oauthbearer.OAuthBearerValidatorCallbackHandler";
const LOGIN: &str = "org.apache.kafka.common.security.oauthbearer.OAuthBearerLoginCallbackHandler";

/// Brokers check tokens by keys that a provider has over HTTPS, log in to each other by tokens that it gives them, and
/// trust nobody else's certificate for that; franz-go comes with a token of its own.
#[test]
fn keys_and_tokens_come_over_https_from_a_provider_that_is_trusted() {
    let scene = Scene::new("oauthbearer-https");
    let authority = Authority::new(&scene.directory().join("certificates"), "authority");
    let certificate = authority.server("provider");
    let file = |name: &str| scene.directory().join(name);
    let (key, keys, token) = (file("key.pem"), file("keys.json"), file("token.jwt"));
    std::fs::write(&keys, new_key(&key)).unwrap();
    std::fs::write(&token, signed_token(&key, "broker", "kafka", 600)).unwrap();
    let port = free_port();
    let words: Vec<String> = [
        "python3".to_owned(),
        repository()
            .join("integration-tests/tools/clients/python/provider.py")
            .display()
            .to_string(),
        port.to_string(),
    ]
    .into_iter()
    .chain([&certificate.certificate, &certificate.key, &keys, &token].map(|path| path.display().to_string()))
    .chain(["broker-id:broker-secret".to_owned()])
    .collect();
    let provider = Process::start("provider", &words, &file("provider.log"));
    let setup = |id: u32, trust: &Path| {
        let line = format!(
            "{MODULE} clientId=\"broker-id\" clientSecret=\"broker-secret\" ssl.truststore.type=\"PEM\" ssl.truststore.location=\"{}\";",
            trust.display()
        );
        broker(&scene, id)
            .set("inter.broker.listener.name", "OAUTH")
            .set("sasl.mechanism.inter.broker.protocol", "OAUTHBEARER")
            .set("listener.name.oauth.oauthbearer.sasl.jaas.config", &line)
            .set(
                "listener.name.oauth.oauthbearer.sasl.server.callback.handler.class",
                VALIDATOR,
            )
            .set(
                "listener.name.oauth.oauthbearer.sasl.login.callback.handler.class",
                LOGIN,
            )
            .set(
                "sasl.oauthbearer.jwks.endpoint.url",
                &format!("https://127.0.0.1:{port}/keys"),
            )
            .set(
                "sasl.oauthbearer.token.endpoint.url",
                &format!("https://127.0.0.1:{port}/token"),
            )
            .set("sasl.oauthbearer.expected.audience", "kafka")
    };
    let trust = authority.pem();
    let (one, two) = (setup(1, &trust).start(), setup(2, &trust).start());
    one.create_replicated_topic("t", 1, 2, &[("min.insync.replicas", "2")]);
    let by = [
        "security.protocol=SASL_PLAINTEXT".to_owned(),
        "sasl.mechanism=OAUTHBEARER".to_owned(),
        format!("oauthbearer.token={}", signed_token(&key, "alice", "kafka", 600)),
    ];
    let to = two.listener("OAUTH");
    let out = client("go", &[&to, "of-go", "100", &by[0], &by[1], &by[2]]).succeeds();
    assert_eq!(out.trim(), "consumed 100 committed 100");
    assert!(!provider.log().contains(" 401 "), "{}", provider.log());
    drop((one, two));
    // A provider with somebody else's certificate is no provider.
    let stranger = Authority::new(&scene.directory().join("stranger"), "other").pem();
    let third = setup(3, &stranger).launch();
    eventually(10, "the broker says that it does not trust the provider", || {
        let log = third.log();
        let said = log.contains("the keys of the identity provider could not be fetched")
            && log.contains("no token to log in with could be fetched")
            && log.contains("UnknownIssuer");
        if said { Ok(()) } else { Err(log) }
    });
}
