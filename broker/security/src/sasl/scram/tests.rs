//! SCRAM against the RFCs' vectors, Kafka's credentials, and those who tamper.

use std::collections::BTreeMap;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use model::Millis;
use proptest::prelude::*;

use super::client::ScramLogin;
use super::messages::{ClientFinal, ClientFirst, ServerFinal, ServerFirst, escape, unescape};
use super::server::ScramServer;
use super::*;
use crate::principal::KafkaPrincipal;
use crate::sasl::{
    ClientFactory, ClientFailure, ClientMechanism, ClientStep, ServerFactory, ServerMechanism, Step, jaas,
};

/// Users alice (8192 iterations) and `a=b,c`, and one whose credential is too weak.
fn cache(mechanism: ScramMechanism) -> Arc<ScramCache> {
    let cache = ScramCache::default();
    for (user, password, iterations) in [("alice", "wonder", 8192), ("a=b,c", "odd", 4096), ("weak", "w", 1000)] {
        let credential = ScramCredential::of_password(mechanism, password, iterations).unwrap();
        cache.user_changed(user, &config(mechanism, &credential.to_text()));
    }
    Arc::new(cache)
}

fn config(mechanism: ScramMechanism, text: &str) -> BTreeMap<String, String> {
    BTreeMap::from([
        (mechanism.name().to_owned(), text.to_owned()),
        ("producer_byte_rate".to_owned(), "1".to_owned()),
    ])
}

struct OneToken(ScramCredential);

impl TokenCredentials for OneToken {
    fn token(&self, _mechanism: ScramMechanism, token_id: &str) -> Option<TokenCredential> {
        (token_id == "token-1").then(|| TokenCredential {
            owner: KafkaPrincipal::user("owner"),
            credential: Arc::new(self.0.clone()),
            expires_at: Millis(1234),
        })
    }
}

fn servers(mechanism: ScramMechanism) -> ScramServers {
    let token = ScramCredential::of_password(mechanism, "hmac", 4096).unwrap();
    ScramServers::new(mechanism, cache(mechanism), Arc::new(OneToken(token)))
}

fn client(mechanism: ScramMechanism, user: &str, password: &str, token: bool) -> ScramClient {
    let line = format!(r#"{SCRAM_LOGIN_MODULE} required username="{user}" password="{password}" tokenauth="{token}";"#);
    ScramClient::from_jaas(mechanism, &jaas::parse_line(&line).unwrap()).unwrap()
}

/// Both sides talk, with what stands between them; who is logged in then, and until when.
fn converse(
    mut client: Box<dyn ClientMechanism>,
    mut server: Box<dyn ServerMechanism>,
    mut between: impl FnMut(usize, &mut Vec<u8>),
) -> Result<(KafkaPrincipal, Option<Millis>), String> {
    let mut from_server = Vec::new();
    let mut done = None;
    for turn in 0.. {
        match client
            .step(&from_server)
            .map_err(|failure| format!("client: {failure}"))?
        {
            ClientStep::Send(mut message) => {
                between(2 * turn, &mut message);
                match server.step(&message) {
                    Step::Challenge(challenge) => from_server = challenge,
                    Step::Done(end) => {
                        from_server = end.final_message;
                        done = Some((end.principal, end.expires_at));
                    }
                    Step::Failed(failure) => return Err(format!("server: {failure}")),
                }
                between(2 * turn + 1, &mut from_server);
            }
            ClientStep::Done => break,
        }
    }
    done.ok_or_else(|| "the client is content too early".to_owned())
}

#[test]
fn the_exchange_of_rfc_7677() {
    let mechanism = ScramMechanism::Sha256;
    let salt = [
        0x5b, 0x6d, 0x99, 0x68, 0x9d, 0x12, 0x35, 0x8e, 0xec, 0xa0, 0x4b, 0x14, 0x12, 0x36, 0xfa, 0x81,
    ];
    let salted = mechanism.salted_password(b"pencil", &salt, 4096);
    let credential = ScramCredential::of_salted_password(mechanism, salt.to_vec(), &salted, 4096);
    let cache = ScramCache::default();
    cache.user_changed("user", &config(mechanism, &credential.to_text()));
    let mut server = ScramServer::new(ScramServers::new(mechanism, Arc::new(cache), Arc::new(NoTokens)));
    server.nonce = Some("%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0".into());
    let mut client: ScramLogin = client(mechanism, "user", "pencil", false).begin_with("rOprNGfwEbeRWgbNEkqO".into());

    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    let Ok(ClientStep::Send(first)) = client.step(b"") else {
        panic!()
    };
    assert_eq!(text(first.clone()), "n,,n=user,r=rOprNGfwEbeRWgbNEkqO");
    let Step::Challenge(challenge) = server.step(&first) else {
        panic!()
    };
    assert_eq!(
        text(challenge.clone()),
        "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096"
    );
    let Ok(ClientStep::Send(last)) = client.step(&challenge) else {
        panic!()
    };
    assert_eq!(
        text(last.clone()),
        "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ="
    );
    let Step::Done(done) = server.step(&last) else { panic!() };
    assert_eq!(
        text(done.final_message.clone()),
        "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="
    );
    assert_eq!(done.principal, KafkaPrincipal::user("user"));
    assert_eq!(client.step(&done.final_message), Ok(ClientStep::Done));
}

#[test]
fn credentials_are_those_that_kafkas_tools_write() {
    // As captured from Kafka 3.9.1 (alice, through a broker) and 2.8.2 (dave, straight into ZooKeeper).
    let check = |mechanism: ScramMechanism, password: &str, text: &str| {
        let credential = ScramCredential::from_text(text).unwrap();
        let salted = mechanism.salted_password(password.as_bytes(), &credential.salt, credential.iterations);
        let again =
            ScramCredential::of_salted_password(mechanism, credential.salt.clone(), &salted, credential.iterations);
        assert!(again == credential, "{password}");
        assert_eq!(again.to_text(), text);
        assert_eq!(
            format!("{again:?}"),
            format!("ScramCredential {{ iterations: {}, .. }}", credential.iterations)
        );
    };
    check(
        ScramMechanism::Sha256,
        "alice-secret",
        "salt=MTY4bTBrbGdpYm80MHBjanNkb2ZhcWFoaDQ=,stored_key=cm3rW/ehq/w56Q+7qOOp+mQAvEfKI5485cjFJz3iSs4=,server_key=6ufpfy9PCIUNdV6Ie5TgyrHm0bxrNPcY6GvRK1sJjNg=,iterations=8192",
    );
    check(
        ScramMechanism::Sha512,
        "dave-secret",
        "salt=YWd0bWF6ZnRlemFodmd2MXJpOWFicWw2cg==,stored_key=/uPwtTtEY0gyCKi2synUEV7kf0cDUh7qI87pBsBljJFHC389nXt2st7wNSmdk4xO/uy/93t0GgYKXsLMqLETaQ==,server_key=3KZxBgVzxCPy7bVoasZXuLth8e3BFTRnfEaRNo0OHHFlpi2lzNbLOrM5xsNIPxqcBmRMyvVXTDZo3nYopFUDbQ==,iterations=4096",
    );
}

#[test]
fn what_is_no_credential_is_refused_without_being_shown() {
    let check = |text: &str, expected: &str| {
        let error = ScramCredential::from_text(text).expect_err(text);
        assert_eq!(error.to_string(), format!("Credentials not valid: {expected}"));
    };
    check("", "a field has no value");
    check("salt=AAAA", "a field is missing");
    check(
        "salt=AAAA,stored_key=AAAA,server_key=AAAA,iterations=x",
        "iterations are not a number",
    );
    check(
        "salt=AAAA,stored_key=AAAA,server_key=AAAA,iterations=-1",
        "iterations are not a number",
    );
    check(
        "salt=secret!,stored_key=AAAA,server_key=AAAA,iterations=1",
        "a field is not base64",
    );
    check(
        "salt=AAAA,stored_key=AAAA,server_key=AAAA,iterations=1,password=secret",
        "an unknown field",
    );
    let any_order = "iterations=4096,server_key=AAAA,salt=AAAA,stored_key=AAAA";
    assert_eq!(ScramCredential::from_text(any_order).unwrap().iterations, 4096);
}

#[test]
fn who_knows_the_password_logs_in_and_nobody_else() {
    for mechanism in ScramMechanism::ALL {
        let servers = servers(mechanism);
        let check = |name: &str, user: &str, password: &str, token: bool, expected: Result<&str, &str>| {
            let client = client(mechanism, user, password, token).begin().unwrap();
            let found = converse(client, servers.begin(), |_, _| {});
            let found = found.map(|(principal, expires_at)| {
                assert_eq!(principal.token_authenticated, token, "{name}");
                assert_eq!(expires_at, token.then_some(Millis(1234)), "{name}");
                principal.to_string()
            });
            assert_eq!(
                found.as_deref().map_err(String::as_str),
                expected,
                "{} {name}",
                mechanism.name()
            );
        };
        let none = format!(
            "server: Authentication failed: Invalid user credentials: carol has none for {}",
            mechanism.name()
        );
        let weak = format!(
            "server: Iterations 1000 is less than the minimum 4096 for {}",
            mechanism.name()
        );
        check("right", "alice", "wonder", false, Ok("User:alice"));
        check("a name to be escaped", "a=b,c", "odd", false, Ok("User:a=b,c"));
        check(
            "wrong password",
            "alice",
            "Wonder",
            false,
            Err("server: Invalid client credentials of User:alice"),
        );
        check("unknown user", "carol", "wonder", false, Err(&none));
        check("too few iterations", "weak", "w", false, Err(&weak));
        check("by token", "token-1", "hmac", true, Ok("User:owner"));
        check(
            "wrong hmac",
            "token-1",
            "x",
            true,
            Err("server: Invalid client credentials of User:owner"),
        );
        check(
            "unknown token",
            "token-2",
            "hmac",
            true,
            Err("server: Token Authentication failed: Invalid tokenId : token-2"),
        );
        check(
            "a user is no token",
            "alice",
            "wonder",
            true,
            Err("server: Token Authentication failed: Invalid tokenId : alice"),
        );
    }
}

#[test]
fn a_credential_of_the_other_mechanism_does_not_do() {
    let servers = ScramServers::new(
        ScramMechanism::Sha512,
        cache(ScramMechanism::Sha256),
        Arc::new(NoTokens),
    );
    let client = client(ScramMechanism::Sha512, "alice", "wonder", false);
    let refused = converse(client.begin().unwrap(), servers.begin(), |_, _| {}).unwrap_err();
    assert!(refused.contains("has none for SCRAM-SHA-512"), "{refused}");
}

#[test]
fn an_unknown_user_is_challenged_like_a_known_one() {
    let servers = servers(ScramMechanism::Sha256);
    let salt_of = |user: &str| {
        let Step::Challenge(challenge) = servers.begin().step(format!("n,,n={user},r=abc").as_bytes()) else {
            panic!("{user} is not challenged")
        };
        ServerFirst::parse(&challenge).unwrap().salt
    };
    assert_eq!(salt_of("carol"), salt_of("carol"));
    assert_ne!(salt_of("carol"), salt_of("dora"));
    let salt = salt_of("carol");
    assert_eq!(salt.len(), 26);
    assert!(
        salt.iter()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit())
    );
}

#[test]
fn a_message_that_was_tampered_with_ends_the_login() {
    let mechanism = ScramMechanism::Sha256;
    let servers = servers(mechanism);
    let check = |name: &str, turn: usize, from: &str, to: &str, expected: &str| {
        let client = client(mechanism, "alice", "wonder", false).begin().unwrap();
        let refused = converse(client, servers.begin(), |now, message| {
            if now == turn {
                let text = String::from_utf8(message.clone()).unwrap();
                assert!(text.contains(from), "{name}: {text}");
                *message = text.replacen(from, to, 1).into_bytes();
            }
        });
        assert_eq!(refused.unwrap_err(), expected, "{name}");
    };
    let first = "server: Invalid SCRAM client first message format";
    check("channel binding asked for", 0, "n,,", "y,,", first);
    check("channel binding demanded", 0, "n,,", "p=tls-unique,,", first);
    check("mandatory extension", 0, "n=", "m=x,n=", first);
    check(
        "another user",
        0,
        "alice",
        "weak",
        "server: Iterations 1000 is less than the minimum 4096 for SCRAM-SHA-256",
    );
    check(
        "client's nonce",
        0,
        "r=",
        "r=x",
        "client: Invalid server nonce: does not start with client nonce",
    );
    check(
        "another's authorization id",
        0,
        "n,,",
        "n,a=bob,",
        "server: Authentication failed: Client requested an authorization id that is different from username",
    );
    check(
        "iterations lowered",
        1,
        "i=8192",
        "i=1",
        "client: Requested iterations 1 is less than the minimum 4096 for SCRAM-SHA-256",
    );
    check(
        "iterations raised",
        1,
        "i=8192",
        "i=99999999",
        "client: Requested iterations 99999999 are too many",
    );
    check(
        "iterations changed",
        1,
        "i=8192",
        "i=4096",
        "server: Invalid client credentials of User:alice",
    );
    check(
        "salt",
        1,
        "s=",
        "s=AAAA",
        "server: Invalid client credentials of User:alice",
    );
    check(
        "channel binding of the end",
        2,
        "c=biws",
        "c=eSws",
        "server: Invalid channel binding in the final client message.",
    );
    check(
        "nonce of the end",
        2,
        ",p=",
        "x,p=",
        "server: Invalid client nonce in the final client message.",
    );
    check(
        "before the nonce of the end",
        2,
        "r=",
        "r=x",
        "server: Invalid client credentials of User:alice",
    );
    check(
        "extension of the end",
        2,
        ",p=",
        ",x=y,p=",
        "server: Invalid client credentials of User:alice",
    );
    check(
        "short proof",
        2,
        ",p=",
        ",p=AAAA",
        "server: Invalid client credentials: the proof has another length",
    );
    check(
        "server's signature",
        3,
        "v=",
        "v=AAAA",
        "client: Invalid server signature in server final message",
    );
    check(
        "server's error",
        3,
        "v=",
        "e=other-error,v=",
        "client: Invalid SCRAM server final message format",
    );
}

#[test]
fn librdkafka_may_say_its_nonce_twice() {
    let mechanism = ScramMechanism::Sha256;
    let salted = mechanism.salted_password(b"wonder", b"salt", 4096);
    let credential = ScramCredential::of_salted_password(mechanism, b"salt".to_vec(), &salted, 4096);
    let cache = ScramCache::default();
    cache.user_changed("alice", &config(mechanism, &credential.to_text()));
    let mut server = ScramServer::new(ScramServers::new(mechanism, Arc::new(cache), Arc::new(NoTokens)));
    server.nonce = Some("server".into());
    let Step::Challenge(challenge) = server.step(b"n,,n=alice,r=mine") else {
        panic!("challenged")
    };
    assert!(challenge.starts_with(b"r=mineserver,"));
    let without_proof = b"c=biws,r=minemineserver";
    let proved = [&b"n=alice,r=mine"[..], &challenge, without_proof].join(&b',');
    let client_key = mechanism.hmac(&salted, b"Client Key");
    let proof = xor(&client_key, &mechanism.hmac(&mechanism.hash(&client_key), &proved));
    let last = [without_proof, &b",p="[..], STANDARD.encode(proof).as_bytes()].concat();
    assert!(matches!(server.step(&last), Step::Done(_)));
}

#[test]
fn a_client_whose_salt_has_changed_hashes_its_password_anew() {
    let mechanism = ScramMechanism::Sha256;
    let cache = cache(mechanism);
    let servers = ScramServers::new(
        mechanism,
        Arc::clone(&cache) as Arc<dyn ScramCredentials>,
        Arc::new(NoTokens),
    );
    let client = client(mechanism, "alice", "wonder", false);
    for _ in 0..2 {
        let logged_in = converse(client.begin().unwrap(), servers.begin(), |_, _| {});
        assert_eq!(logged_in.unwrap().0, KafkaPrincipal::user("alice"));
    }
    let credential = ScramCredential::of_password(mechanism, "wonder", 4096).unwrap();
    cache.user_changed("alice", &config(mechanism, &credential.to_text()));
    let logged_in = converse(client.begin().unwrap(), servers.begin(), |_, _| {});
    assert_eq!(logged_in.unwrap().0, KafkaPrincipal::user("alice"));
}

#[test]
fn a_strangers_name_is_one_short_line_in_the_log() {
    let mut server = servers_of_the_fuzzed().begin();
    let name = format!("a\nb{}", "c".repeat(10_000));
    let Step::Challenge(challenge) = server.step(format!("n,,n={name},r=abc").as_bytes()) else {
        panic!("challenged")
    };
    let nonce = ServerFirst::parse(&challenge).unwrap().nonce.to_owned();
    let proof = STANDARD.encode([0; 32]);
    let Step::Failed(failure) = server.step(format!("c=biws,r={nonce},p={proof}").as_bytes()) else {
        panic!("refused")
    };
    assert!(
        failure.reason.len() < 200 && !failure.reason.contains('\n'),
        "{failure}"
    );
    assert_eq!(failure.sentence, None);
}

#[test]
fn nothing_follows_the_end() {
    let mut server = servers(ScramMechanism::Sha256).begin();
    assert!(matches!(server.step(b"x"), Step::Failed(_)));
    assert!(matches!(server.step(b"n,,n=alice,r=abc"), Step::Failed(_)));
    let mut client = client(ScramMechanism::Sha256, "alice", "wonder", false)
        .begin()
        .unwrap();
    client.step(b"").unwrap();
    assert!(client.step(b"x").is_err());
    assert_eq!(
        client.step(b"r=x,s=AAAA,i=4096"),
        Err(ClientFailure(
            "Unexpected challenge after the end of the exchange".into()
        ))
    );
}

#[test]
fn a_server_that_says_why_is_heard() {
    let login = client(ScramMechanism::Sha256, "alice", "wonder", false);
    let mut login = login.begin_with("abc".into());
    login.step(b"").unwrap();
    login.step(b"r=abcdef,s=AAAA,i=4096").unwrap();
    assert_eq!(
        login.step(b"e=invalid-proof"),
        Err(ClientFailure(
            "Sasl authentication using SCRAM-SHA-256 failed with error: invalid-proof".into()
        ))
    );
}

#[test]
fn a_user_whose_configuration_changes_has_what_it_says_now() {
    let mechanism = ScramMechanism::Sha256;
    let cache = cache(mechanism);
    assert!(cache.credential(mechanism, "alice").is_some());
    cache.user_changed("alice", &config(mechanism, "nonsense"));
    assert!(cache.credential(mechanism, "alice").is_none());
    let credential = ScramCredential::of_password(mechanism, "x", 4096).unwrap();
    cache.user_changed("alice", &config(mechanism, &credential.to_text()));
    assert_eq!(*cache.credential(mechanism, "alice").unwrap(), credential);
    assert!(cache.credential(ScramMechanism::Sha512, "alice").is_none());
    cache.user_changed("alice", &BTreeMap::new());
    assert!(cache.credential(mechanism, "alice").is_none());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn any_bytes_are_parsed_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
        let _ = (ClientFirst::parse(&bytes), ServerFirst::parse(&bytes), ClientFinal::parse(&bytes), ServerFinal::parse(&bytes));
    }

    #[test]
    fn any_mutation_of_a_message_is_parsed_or_refused(
        which in 0..4usize, at in 0..60usize, to in any::<u8>(), cut in 0..60usize,
    ) {
        let messages = [
            "n,a=alice,n=alice,r=fyko+d2lbbFgONRv9qkxdawL,tokenauth=true",
            "r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,s=QSXCR+Q6sek=,i=4096",
            "c=biws,r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1,x=y,p=v0X8v3Bz2T0=",
            "v=rmF9pqV8S7suAoZWja4dJRkFsKQ=,x=y",
        ];
        let mut bytes = messages[which].as_bytes().to_vec();
        if let Some(byte) = bytes.get_mut(at) {
            *byte = to;
        }
        bytes.truncate(bytes.len().min(cut + 10));
        let mut server = servers_of_the_fuzzed().begin();
        for _ in 0..2 {
            if let Step::Done(_) = server.step(&bytes) {
                panic!("logged in by {bytes:?}");
            }
        }
        let _ = (ClientFirst::parse(&bytes), ServerFirst::parse(&bytes), ClientFinal::parse(&bytes), ServerFinal::parse(&bytes));
    }

    #[test]
    fn names_survive_escaping(name in "[ -~]{1,20}") {
        prop_assert!(!escape(&name).contains(','));
        prop_assert_eq!(unescape(&escape(&name)), name);
    }
}

/// Without users: making credentials takes longer than everything else.
fn servers_of_the_fuzzed() -> ScramServers {
    ScramServers::new(
        ScramMechanism::Sha256,
        Arc::new(ScramCache::default()),
        Arc::new(NoTokens),
    )
}

#[test]
fn messages_are_read_as_kafkas_grammar_has_them() {
    let first = |text: &'static str| {
        ClientFirst::parse(text.as_bytes()).map(|first| {
            (
                first.authorization_id,
                first.user,
                first.nonce,
                first.token_authenticated,
            )
        })
    };
    let check = |name: &str, text: &'static str, expected: Option<(&str, &str, &str, bool)>| {
        assert_eq!(first(text), expected, "{name}");
    };
    check("plain", "n,,n=a,r=x", Some(("", "a", "x", false)));
    check("authorization id", "n,a=b,n=a,r=x", Some(("b", "a", "x", false)));
    check("token", "n,,n=a,r=x,tokenauth=true", Some(("", "a", "x", true)));
    check("no token", "n,,n=a,r=x,tokenauth=false", Some(("", "a", "x", false)));
    check(
        "unknown extension",
        "n,,n=a,r=x,foo=bar=baz",
        Some(("", "a", "x", false)),
    );
    check("extension without value", "n,,n=a,r=x,foo=", None);
    check("extension without name", "n,,n=a,r=x,=bar", None);
    check("escaped", "n,,n=a=2Cb=3D,r=x", Some(("", "a=2Cb=3D", "x", false)));
    check("bad escape", "n,,n=a=b,r=x", None);
    check("no user", "n,,n=,r=x", None);
    check("no nonce", "n,,n=a,r=", None);
    check("nonce with a space", "n,,n=a,r=x y", None);
    check("not ASCII", "n,,n=\u{fc},r=x", None);
    check("NUL", "n,,n=\0,r=x", None);
    check("fields swapped", "n,,r=x,n=a", None);
    check("nothing", "", None);
}
