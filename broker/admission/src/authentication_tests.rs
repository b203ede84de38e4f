//! Logins frame by frame: what is taken when, and what a failure looks like.

use broker_security::sasl::jaas;
use broker_security::sasl::scram::ScramCache;
use broker_security::sasl::{ScramCredential, ScramMechanism, ServerFactory};
use broker_wire::messages::MetadataRequest;
use broker_wire::{Decodable, Request, apis};

use super::*;
use crate::{CredentialStores, EnabledMechanism, SaslListenerConfig, SaslMechanism};

/// One connection to a listener with PLAIN (alice, bob) and SCRAM-SHA-256.
struct Talk {
    authenticator: Authenticator,
    now: Now,
}

fn listener(max_reauth: Option<u64>) -> SaslListener {
    let entry = |text: &str| jaas::parse_line(text).unwrap();
    let plain =
        entry(r#"org.apache.kafka.common.security.plain.PlainLoginModule required user_alice="wonder" user_bob="b";"#);
    let scram = entry("org.apache.kafka.common.security.scram.ScramLoginModule required;");
    let enabled = |mechanism, jaas| EnabledMechanism {
        mechanism,
        jaas,
        max_reauth: max_reauth.map(Duration::from_millis),
        token_check: None,
    };
    let config = SaslListenerConfig {
        mechanisms: vec![
            enabled(SaslMechanism::Plain, plain),
            enabled(SaslMechanism::Scram(ScramMechanism::Sha256), scram),
        ],
        max_receive_size: 1000,
        failed_authentication_delay: Duration::from_millis(100),
    };
    SaslListener::new(&config, &CredentialStores::default()).unwrap()
}

impl Talk {
    fn new(max_reauth: Option<u64>) -> Self {
        Self::with(listener(max_reauth))
    }

    fn with(listener: SaslListener) -> Self {
        Self {
            authenticator: Authenticator::new(Arc::new(listener)),
            now: Now {
                instant: Instant::now(),
                wall: Millis(1_000_000),
            },
        }
    }

    fn frame(&mut self, frame: impl Into<Bytes>) -> Verdict {
        self.authenticator.receive(frame.into(), self.now)
    }

    fn send<R: Request>(&mut self, version: i16, request: &R) -> Verdict {
        let frame = codec::encode_request(7, "test", version, request).unwrap();
        self.frame(frame.slice(4..))
    }

    fn handshake(&mut self, version: i16, mechanism: &'static str) -> Verdict {
        let request = SaslHandshakeRequest::default().with_mechanism(StrBytes::from_static_str(mechanism));
        self.send(version, &request)
    }

    fn authenticate(&mut self, version: i16, token: &[u8]) -> Verdict {
        self.send(
            version,
            &SaslAuthenticateRequest::default().with_auth_bytes(Bytes::copy_from_slice(token)),
        )
    }

    /// The error code and message, token and session lifetime of a reply to SaslAuthenticate.
    fn authenticated(&mut self, version: i16, token: &[u8]) -> (i16, Option<String>, Vec<u8>, i64) {
        let reply = match self.authenticate(version, token) {
            Verdict::Reply(reply) => reply,
            Verdict::Fail(Failed { reply: Some(reply), .. }) => reply,
            other => panic!("{other:?}"),
        };
        let response: SaslAuthenticateResponse = response::<SaslAuthenticateRequest>(version, &reply);
        let message = response
            .error_message
            .map(|message| message.to_string())
            .filter(|message| !message.is_empty());
        (
            response.error_code,
            message,
            response.auth_bytes.to_vec(),
            response.session_lifetime_ms,
        )
    }

    fn log_in(&mut self) {
        assert!(matches!(self.handshake(1, "PLAIN"), Verdict::Reply(_)));
        let (code, message, ..) = self.authenticated(1, b"\0alice\0wonder");
        assert_eq!((code, message), (0, None));
        assert_eq!(self.principal(), "User:alice");
    }

    /// Whose connection it is.
    fn principal(&self) -> String {
        let principal = self.authenticator.principal().cloned();
        principal.unwrap_or_else(KafkaPrincipal::anonymous).to_string()
    }

    fn pass(&mut self, ms: u64) {
        self.now.instant += Duration::from_millis(ms);
        self.now.wall.0 += i64::try_from(ms).unwrap();
    }
}

fn response<R: Request>(version: i16, reply: &Bytes) -> R::Response {
    let header_version = apis::api(R::KEY).unwrap().response_header_version(version);
    let (_, mut body) = broker_wire::header::parse_response_header(&reply.slice(4..), header_version).unwrap();
    R::Response::decode(&mut body, version).unwrap()
}

fn failure(verdict: Verdict) -> (Option<Bytes>, String) {
    match verdict {
        Verdict::Fail(Failed { reply, reason }) => (reply, reason),
        other => panic!("{other:?}"),
    }
}

fn closed(verdict: Verdict) -> String {
    match verdict {
        Verdict::Close(reason) => reason,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_client_says_its_mechanism_and_then_who_it_is() {
    for version in 0..=2 {
        let mut talk = Talk::new(None);
        let Verdict::Reply(reply) = talk.handshake(1, "PLAIN") else {
            panic!()
        };
        let names: Vec<String> = response::<SaslHandshakeRequest>(1, &reply)
            .mechanisms
            .iter()
            .map(ToString::to_string)
            .collect();
        assert_eq!(names, ["PLAIN", "SCRAM-SHA-256"]);
        assert!(talk.authenticator.in_progress());
        assert_eq!(talk.principal(), "User:ANONYMOUS");
        assert_eq!(
            talk.authenticated(version, b"\0alice\0wonder"),
            (0, None, Vec::new(), 0)
        );
        assert!(!talk.authenticator.in_progress());
        assert_eq!(talk.principal(), "User:alice");
        assert!(matches!(talk.send(9, &MetadataRequest::default()), Verdict::Serve(_)));
    }
}

#[test]
fn a_client_of_version_0_sends_tokens_without_headers() {
    let mut talk = Talk::new(None);
    assert!(matches!(talk.handshake(0, "PLAIN"), Verdict::Reply(_)));
    let Verdict::Reply(reply) = talk.frame(&b"\0alice\0wonder"[..]) else {
        panic!()
    };
    assert_eq!(reply, [0; 4][..]);
    assert_eq!(talk.principal(), "User:alice");

    let mut talk = Talk::new(None);
    talk.handshake(0, "PLAIN");
    let (reply, reason) = failure(talk.frame(&b"\0alice\0x"[..]));
    assert_eq!(
        (reply, reason.as_str()),
        (None, "Authentication failed: Invalid username or password")
    );
}

#[test]
fn versions_are_asked_for_once_and_before_the_handshake() {
    let versions = |talk: &mut Talk, version: i16| {
        let mut frame = vec![0, 18, 0, 0, 0, 0, 0, 7, 0, 0];
        frame[3] = u8::try_from(version).unwrap();
        frame.push(0);
        talk.frame(frame)
    };
    let mut talk = Talk::new(None);
    // A version that is not known, and then version 0: both are answered.
    assert!(matches!(versions(&mut talk, 99), Verdict::ServeVersions(_)));
    talk.authenticator
        .versions_answered(&Bytes::from_static(&[0, 0, 0, 6, 0, 0, 0, 7, 0, 35]));
    assert!(matches!(versions(&mut talk, 0), Verdict::ServeVersions(_)));
    talk.authenticator
        .versions_answered(&Bytes::from_static(&[0, 0, 0, 6, 0, 0, 0, 7, 0, 0]));
    assert_eq!(
        closed(versions(&mut talk, 0)),
        "ApiVersions a second time before the login"
    );

    let mut talk = Talk::new(None);
    versions(&mut talk, 0);
    talk.authenticator
        .versions_answered(&Bytes::from_static(&[0, 0, 0, 6, 0, 0, 0, 7, 0, 0]));
    talk.log_in();
}

#[test]
fn a_mechanism_that_is_not_offered_is_refused_with_those_that_are() {
    let mut talk = Talk::new(None);
    let (reply, reason) = failure(talk.handshake(1, "SCRAM-SHA-512"));
    let response = response::<SaslHandshakeRequest>(1, &reply.unwrap());
    assert_eq!((response.error_code, response.mechanisms.len()), (33, 2));
    assert_eq!(reason, "Unsupported SASL mechanism \"SCRAM-SHA-512\"");
    assert_eq!(closed(talk.handshake(1, "PLAIN")), "request after a failed login");
}

#[test]
fn requests_before_the_login_are_not_served() {
    let metadata = MetadataRequest::default();
    let check = |name: &str, prepare: &dyn Fn(&mut Talk), expected: &str| {
        let mut talk = Talk::new(None);
        prepare(&mut talk);
        let (reply, reason) = failure(talk.send(9, &metadata));
        assert_eq!((reply, reason.as_str()), (None, expected), "{name}");
        assert_eq!(talk.principal(), "User:ANONYMOUS", "{name}");
        assert_eq!(
            closed(talk.send(9, &metadata)),
            "request after a failed login",
            "{name}"
        );
    };
    let handshake = "Unexpected Kafka request of type Metadata during SASL handshake.";
    let authentication = "Unexpected Kafka request of type Metadata during SASL authentication.";
    check("at once", &|_| (), handshake);
    check(
        "after ApiVersions",
        &|talk| talk.authenticator.versions_answered(&Bytes::new()),
        handshake,
    );
    check(
        "after the handshake",
        &|talk| drop(talk.handshake(1, "PLAIN")),
        authentication,
    );
    check(
        "in the middle of SCRAM",
        &|talk| {
            talk.handshake(1, "SCRAM-SHA-256");
            assert!(matches!(talk.authenticate(1, b"n,,n=alice,r=abc"), Verdict::Reply(_)));
        },
        authentication,
    );
    let mut talk = Talk::new(None);
    talk.handshake(1, "PLAIN");
    let (reply, _) = failure(talk.handshake(1, "PLAIN"));
    assert_eq!(response::<SaslHandshakeRequest>(1, &reply.unwrap()).error_code, 34);
    // SaslAuthenticate without a handshake.
    let (reply, reason) = failure(Talk::new(None).authenticate(1, b"\0alice\0wonder"));
    assert_eq!(reply, None);
    assert_eq!(
        reason,
        "Unexpected Kafka request of type SaslAuthenticate during SASL handshake."
    );
}

#[test]
fn what_is_no_request_is_refused() {
    let mut talk = Talk::new(None);
    let (reply, reason) = failure(talk.frame(&b"\x60\x82\x01"[..]));
    assert_eq!(reply, None);
    assert_eq!(
        reason,
        "Exception handling first SASL packet from client, GSSAPI is not supported by server"
    );
    let mut talk = Talk::new(None);
    talk.handshake(1, "PLAIN");
    closed(talk.frame(&b"\x60\x82\x01"[..]));
}

#[test]
fn a_login_has_an_end() {
    let mut talk = Talk::new(None);
    for _ in 0..FRAMES_MAX {
        let frame = Bytes::from_static(&[0, 18, 0, 99, 0, 0, 0, 7, 0, 0, 0]);
        assert!(matches!(talk.frame(frame), Verdict::ServeVersions(_)));
        talk.authenticator
            .versions_answered(&Bytes::from_static(&[0, 0, 0, 6, 0, 0, 0, 7, 0, 35]));
    }
    assert_eq!(
        failure(talk.handshake(1, "PLAIN")).1,
        "too many requests without a login"
    );
}

#[test]
fn a_failed_login_is_told_what_kafka_tells() {
    let mut talk = Talk::new(None);
    talk.handshake(1, "PLAIN");
    let (code, message, token, _) = talk.authenticated(1, b"\0alice\0x");
    assert_eq!((code, token), (58, Vec::new()));
    assert_eq!(message.unwrap(), "Authentication failed: Invalid username or password");

    let mut talk = Talk::new(None);
    talk.handshake(1, "SCRAM-SHA-256");
    let (code, message, ..) = talk.authenticated(1, b"y,,n=alice,r=abc");
    assert_eq!(code, 58);
    assert_eq!(
        message.unwrap(),
        "Authentication failed during authentication due to invalid credentials with SASL mechanism SCRAM-SHA-256"
    );
    assert_eq!(talk.authenticator.what(), "authentication");
    assert_eq!(talk.principal(), "User:ANONYMOUS");
}

#[test]
fn a_session_is_renewed_or_ends() {
    let mut talk = Talk::new(Some(3000));
    talk.handshake(1, "PLAIN");
    assert_eq!(talk.authenticated(1, b"\0alice\0wonder"), (0, None, Vec::new(), 3000));
    talk.pass(2999);
    assert!(matches!(talk.send(9, &MetadataRequest::default()), Verdict::Serve(_)));
    talk.pass(2);
    assert_eq!(
        closed(talk.send(9, &MetadataRequest::default())),
        "the session has expired and was not renewed"
    );
    // A late renewal is still one.
    talk.log_in();
    assert!(matches!(talk.send(9, &MetadataRequest::default()), Verdict::Serve(_)));
    talk.pass(500);
    assert!(
        matches!(talk.handshake(1, "PLAIN"), Verdict::Serve(_)),
        "twice within a second"
    );
    talk.pass(500);
    talk.log_in();
}

#[test]
fn a_session_without_an_end_is_not_renewed() {
    let mut talk = Talk::new(None);
    talk.log_in();
    talk.pass(1 << 40);
    assert!(matches!(talk.handshake(1, "PLAIN"), Verdict::Serve(_)));
    assert!(matches!(talk.send(9, &MetadataRequest::default()), Verdict::Serve(_)));
}

#[test]
fn a_session_cannot_become_anothers() {
    let mut talk = Talk::new(Some(3000));
    talk.log_in();
    talk.handshake(1, "PLAIN");
    let (code, message, ..) = talk.authenticated(1, b"\0bob\0b");
    assert_eq!(code, 58);
    assert_eq!(
        message.unwrap(),
        "Cannot change principals during re-authentication from User.alice: User.bob"
    );
    assert_eq!(talk.principal(), "User:alice");
    closed(talk.send(9, &MetadataRequest::default()));

    let mut talk = Talk::new(Some(3000));
    talk.log_in();
    assert!(matches!(talk.handshake(1, "SCRAM-SHA-256"), Verdict::Reply(_)));
    let (reply, reason) = failure(talk.authenticate(1, b"n,,n=alice,r=abc"));
    assert_eq!(reply, None);
    assert_eq!(
        reason,
        "SASL mechanism 'SCRAM-SHA-256' requested by client is not supported for re-authentication of mechanism 'PLAIN'"
    );

    let mut talk = Talk::new(Some(3000));
    talk.log_in();
    talk.handshake(1, "PLAIN");
    let (_, message, ..) = talk.authenticated(1, b"\0alice\0x");
    assert_eq!(message.unwrap(), "Authentication failed: Invalid username or password");
    assert_eq!(talk.authenticator.what(), "re-authentication");
}

/// A mechanism whose credentials end.
struct Ending(Option<Millis>);

impl ServerFactory for Ending {
    fn name(&self) -> &str {
        "PLAIN"
    }

    fn begin(&self) -> Box<dyn ServerMechanism> {
        Box::new(Ending(self.0))
    }
}

impl ServerMechanism for Ending {
    fn step(&mut self, _client: &[u8]) -> Step {
        Step::Done(Authenticated {
            final_message: b"bye".to_vec(),
            principal: KafkaPrincipal::user("alice"),
            expires_at: self.0,
        })
    }
}

#[test]
fn a_session_does_not_outlive_the_credential() {
    let check = |name: &str, expires_at: Option<i64>, max_reauth: Option<u64>, expected: i64| {
        let mut listener = listener(max_reauth);
        listener.mechanisms[0].factory = Arc::new(Ending(expires_at.map(Millis)));
        let mut talk = Talk::with(listener);
        talk.handshake(1, "PLAIN");
        assert_eq!(
            talk.authenticated(1, b"x"),
            (0, None, b"bye".to_vec(), expected),
            "{name}"
        );
    };
    check("neither ends", None, None, 0);
    check("the credential", Some(1_005_000), None, 5000);
    check("the session", None, Some(3000), 3000);
    check("the session first", Some(1_005_000), Some(3000), 3000);
    check("the credential first", Some(1_002_000), Some(3000), 2000);
    check("the credential has ended", Some(999_999), None, 0);
    // Zero means for ever to the client, but not to the broker.
    let mut listener = listener(None);
    listener.mechanisms[0].factory = Arc::new(Ending(Some(Millis(999_999))));
    let mut talk = Talk::with(listener);
    talk.handshake(1, "PLAIN");
    talk.authenticate(1, b"x");
    talk.pass(1);
    closed(talk.send(9, &MetadataRequest::default()));
}

#[test]
fn scram_goes_over_three_requests() {
    let cache = Arc::new(ScramCache::default());
    let credential = ScramCredential::of_password(ScramMechanism::Sha256, "wonder", 4096).unwrap();
    cache.user_changed("alice", &[("SCRAM-SHA-256".to_owned(), credential.to_text())].into());
    let line = jaas::parse_line(
        r#"org.apache.kafka.common.security.scram.ScramLoginModule required username="alice" password="wonder";"#,
    )
    .unwrap();
    let config = SaslListenerConfig {
        mechanisms: vec![EnabledMechanism {
            mechanism: SaslMechanism::Scram(ScramMechanism::Sha256),
            jaas: line.clone(),
            max_reauth: None,
            token_check: None,
        }],
        max_receive_size: 1000,
        failed_authentication_delay: Duration::ZERO,
    };
    let stores = CredentialStores {
        scram: cache,
        ..CredentialStores::default()
    };
    let mut talk = Talk::with(SaslListener::new(&config, &stores).unwrap());
    talk.handshake(1, "SCRAM-SHA-256");
    let factory = broker_security::sasl::ScramClient::from_jaas(ScramMechanism::Sha256, &line).unwrap();
    let mut client = broker_security::sasl::ClientFactory::begin(&factory).unwrap();
    let mut from_server = Vec::new();
    while let broker_security::sasl::ClientStep::Send(token) = client.step(&from_server).unwrap() {
        let (code, message, token, _) = talk.authenticated(2, &token);
        assert_eq!((code, message), (0, None));
        from_server = token;
    }
    assert_eq!(talk.principal(), "User:alice");
}
