//! What a connector does before the first request: TLS, a login, and what comes of either failing.

#![allow(clippy::unwrap_used)] // A failed step fails the test.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use broker_security::tls::{TlsClient, TlsServer, TlsSettings};
use broker_wire::client::{ClientError, Connection, Options};
use broker_wire::serial::SerialConnection;
use broker_wire::transport::{Connector, Login, LoginError, LoginFuture, Peer, Session, Transport};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

const PATIENT: Duration = Duration::from_secs(10);

/// Says `login`, and waits for `welcome`, before what it was told to come to.
#[derive(Debug)]
struct Password(Option<Session>);

impl Login for Password {
    fn login<'a>(&'a self, transport: &'a mut Transport, _to: Peer<'a>) -> LoginFuture<'a> {
        Box::pin(async move {
            transport.write_all(b"login").await?;
            transport.flush().await?;
            let mut answer = [0; 7];
            transport.read_exact(&mut answer).await?;
            assert_eq!(&answer, b"welcome");
            self.0.ok_or_else(|| LoginError::Refused("not you".to_owned()))
        })
    }
}

/// A store that keytool has made, for `localhost` and 127.0.0.1, trusted by itself.
fn settings() -> TlsSettings {
    let stores = Path::new(env!("CARGO_MANIFEST_DIR")).join("../security/src/tls/testdata");
    let path = |name: &str| -> Option<String> {
        let path: PathBuf = stores.join(name);
        Some(path.display().to_string())
    };
    TlsSettings::read(|key| match key {
        "ssl.keystore.type" => Some("PKCS12".to_owned()),
        "ssl.keystore.location" => path("new.p12"),
        "ssl.keystore.password" => Some("store-secret".to_owned()),
        "ssl.truststore.type" => Some("PEM".to_owned()),
        "ssl.truststore.location" => path("cert.pem"),
        _ => None,
    })
    .unwrap()
}

/// A peer that takes one connection, over TLS if asked to, and welcomes who says `login`; gives its port.
async fn welcoming(tls: bool) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut said = [0; 5];
        if tls {
            let server = TlsServer::server(settings(), false).unwrap();
            let mut stream = server.accept(stream).await.unwrap();
            stream.read_exact(&mut said).await.unwrap();
            stream.write_all(b"welcome").await.unwrap();
            stream.flush().await.unwrap();
            drop(stream.read(&mut said).await);
        } else {
            stream.read_exact(&mut said).await.unwrap();
            stream.write_all(b"welcome").await.unwrap();
            drop(stream.read(&mut said).await);
        }
    });
    port
}

fn options(tls: bool, session: Option<Session>) -> Options {
    let client = tls.then(|| Arc::new(TlsClient::client(settings()).unwrap()));
    Options {
        connector: Connector::new(client, Some(Arc::new(Password(session)))),
        connect_timeout: PATIENT,
        ..Options::default()
    }
}

#[tokio::test]
async fn a_login_comes_first_with_tls_and_without() {
    for tls in [false, true] {
        let port = welcoming(tls).await;
        let session = Some(Session { lifetime: None });
        let connection = Connection::connect("127.0.0.1", port, options(tls, session))
            .await
            .unwrap();
        assert!(!connection.is_closed(), "tls {tls}");
    }
}

#[tokio::test]
async fn a_refused_login_is_no_connection_and_says_why() {
    let port = welcoming(false).await;
    let refused = Connection::connect("127.0.0.1", port, options(false, None))
        .await
        .unwrap_err();
    assert!(matches!(refused, ClientError::Authentication { .. }), "{refused}");
    assert!(refused.to_string().ends_with("not you"), "{refused}");
}

#[tokio::test]
async fn a_session_is_not_used_to_its_end() {
    let short = Some(Session {
        lifetime: Some(Duration::from_millis(1)),
    });
    let long = Some(Session {
        lifetime: Some(Duration::from_secs(3600)),
    });
    for (session, over) in [(short, true), (long, false)] {
        let serial = SerialConnection::connect("127.0.0.1", welcoming(false).await, options(false, session));
        let serial = serial.await.unwrap();
        let shared = Connection::connect("127.0.0.1", welcoming(false).await, options(false, session));
        let shared = shared.await.unwrap();
        tokio::time::sleep(Duration::from_millis(5)).await;
        assert_eq!((serial.is_broken(), shared.is_closed()), (over, over));
    }
}

#[tokio::test]
async fn a_peer_that_says_nothing_is_given_up_in_time() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let options = Options {
        connect_timeout: Duration::from_millis(50),
        ..options(true, None)
    };
    let refused = Connection::connect("127.0.0.1", port, options).await.unwrap_err();
    assert!(matches!(refused, ClientError::Connect { .. }), "{refused}");
}
