//! Our own logins against a peer that plays a broker: who gets in, and what is said of who does not.

#![allow(clippy::unwrap_used)] // A failed step fails the test.

use std::time::Duration;

use broker_security::sasl::{PlainUsers, ServerFactory, Step, jaas};
use broker_wire::frame::FrameBuffer;
use broker_wire::header::RequestHeader;
use broker_wire::login::SaslLogin;
use broker_wire::messages::api_versions_response::ApiVersion;
use broker_wire::messages::{
    ApiVersionsResponse, SaslAuthenticateRequest, SaslAuthenticateResponse, SaslHandshakeResponse,
};
use broker_wire::transport::LoginError;
use broker_wire::{Encodable, StrBytes, codec};
use tokio::io::{AsyncWriteExt, DuplexStream};

const MODULE: &str = "org.apache.kafka.common.security.plain.PlainLoginModule";

/// What the peer is like.
#[derive(Clone, Copy)]
struct Peer {
    offers_plain: bool,
    authenticate_versions: Option<(i16, i16)>,
    lifetime_ms: i64,
}

/// Answers until the connection ends.
async fn play(peer: Peer, mut stream: DuplexStream) {
    let line = format!(r#"{MODULE} required user_broker="secret";"#);
    let users = PlainUsers::from_jaas([&jaas::parse_line(&line).unwrap()]).unwrap();
    let mut machine = users.begin();
    let mut frames = FrameBuffer::new(10_000);
    while let Ok(Some(frame)) = frames.read_frame(&mut stream).await {
        let (header, body) = RequestHeader::parse(&frame).unwrap();
        let (key, version) = (header.api.key, header.api_version);
        let answer = match key {
            18 => {
                let api = |key, (min, max)| {
                    ApiVersion::default()
                        .with_api_key(key)
                        .with_min_version(min)
                        .with_max_version(max)
                };
                let mut apis = vec![api(17, (0, 1))];
                apis.extend(peer.authenticate_versions.map(|versions| api(36, versions)));
                encode(&header, &ApiVersionsResponse::default().with_api_keys(apis))
            }
            17 => {
                let code = if peer.offers_plain { 0 } else { 33 };
                let names = vec![StrBytes::from_static_str("SCRAM-SHA-256")];
                let response = SaslHandshakeResponse::default()
                    .with_error_code(code)
                    .with_mechanisms(names);
                encode(&header, &response)
            }
            _ => {
                let request: SaslAuthenticateRequest = codec::decode_request(version, body).unwrap();
                let response = SaslAuthenticateResponse::default();
                let response = match machine.step(&request.auth_bytes) {
                    Step::Done(_) if version >= 1 => response.with_session_lifetime_ms(peer.lifetime_ms),
                    Step::Done(_) => response,
                    Step::Failed(failure) => response
                        .with_error_code(58)
                        .with_error_message(failure.sentence.map(StrBytes::from_string)),
                    Step::Challenge(_) => panic!("PLAIN has none"),
                };
                encode(&header, &response)
            }
        };
        stream.write_all(&answer).await.unwrap();
    }
}

fn encode<T: Encodable>(header: &RequestHeader, response: &T) -> bytes::Bytes {
    codec::encode_response(header.correlation_id, header.api.key, header.api_version, response).unwrap()
}

async fn log_in(peer: Peer, password: &str) -> Result<Option<Duration>, String> {
    let (mut ours, theirs) = tokio::io::duplex(10_000);
    let playing = tokio::spawn(play(peer, theirs));
    let line = format!(r#"{MODULE} required username="broker" password="{password}";"#);
    let login = SaslLogin::from_jaas("PLAIN", &jaas::parse_line(&line).unwrap(), "test").unwrap();
    let outcome = login.over(&mut ours).await;
    drop(ours);
    playing.await.unwrap();
    match outcome {
        Ok(session) => Ok(session.lifetime),
        Err(LoginError::Refused(reason)) => Err(reason),
        Err(LoginError::Io(error)) => Err(format!("io: {error}")),
    }
}

#[tokio::test]
async fn who_is_known_gets_in_and_learns_how_long() {
    let peer = Peer {
        offers_plain: true,
        authenticate_versions: Some((0, 2)),
        lifetime_ms: 0,
    };
    let check = async |name: &str, peer: Peer, password: &str, expected: Result<Option<u64>, &str>| {
        let found = log_in(peer, password).await;
        let expected = expected.map(|ms| ms.map(Duration::from_millis)).map_err(str::to_owned);
        assert_eq!(found, expected, "{name}");
    };
    check("for ever", peer, "secret", Ok(None)).await;
    let lifetime_ms = 5000;
    check("for a time", Peer { lifetime_ms, ..peer }, "secret", Ok(Some(5000))).await;
    let authenticate_versions = Some((0, 0));
    let old = Peer {
        authenticate_versions,
        lifetime_ms,
        ..peer
    };
    check("of an old peer", old, "secret", Ok(None)).await;
    let wrong = "Authentication failed: Invalid username or password (error code 58)";
    check("wrong password", peer, "guess", Err(wrong)).await;
    let offers_plain = false;
    let other = "Client SASL mechanism 'PLAIN' not enabled in the server, enabled mechanisms are [SCRAM-SHA-256]";
    check("another mechanism", Peer { offers_plain, ..peer }, "secret", Err(other)).await;
    let authenticate_versions = None;
    let ancient = Peer {
        authenticate_versions,
        ..peer
    };
    check(
        "an ancient peer",
        ancient,
        "secret",
        Err("the peer does not take SaslAuthenticate requests"),
    )
    .await;
}
