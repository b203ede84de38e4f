//! A connection for one request at a time and a peer that behaves, or does not.

#![allow(clippy::unwrap_used)] // A failed step fails the test.

use std::time::Duration;

use broker_wire::client::{ClientError, Closed, Options};
use broker_wire::codec;
use broker_wire::frame::FrameBuffer;
use broker_wire::header::RequestHeader;
use broker_wire::messages::{HeartbeatRequest, HeartbeatResponse};
use broker_wire::serial::SerialConnection;
use bytes::{BufMut, BytesMut};
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};

struct Peer {
    stream: TcpStream,
    buffer: FrameBuffer,
}

async fn connected(request_timeout: Duration) -> (SerialConnection, Peer) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let options = Options {
        client_id: "tester".to_owned(),
        request_timeout,
        max_response_len: 4096,
        ..Options::default()
    };
    let (connection, accepted) = tokio::join!(SerialConnection::connect("127.0.0.1", port, options), listener.accept());
    let peer = Peer {
        stream: accepted.unwrap().0,
        buffer: FrameBuffer::new(4096),
    };
    (connection.unwrap(), peer)
}

const PATIENT: Duration = Duration::from_secs(10);

impl Peer {
    async fn request(&mut self) -> RequestHeader {
        let frame = self.buffer.read_frame(&mut self.stream).await.unwrap().unwrap();
        RequestHeader::parse(&frame).unwrap().0
    }

    /// Answers the next request; `off_by` is added to its correlation id.
    async fn respond(&mut self, error_code: i16, off_by: i32) {
        let to = self.request().await;
        let response = HeartbeatResponse::default().with_error_code(error_code);
        let id = to.correlation_id + off_by;
        let frame = codec::encode_response(id, to.api.key, to.api_version, &response).unwrap();
        self.stream.write_all(&frame).await.unwrap();
    }
}

#[tokio::test]
async fn each_request_has_its_answer() {
    let (mut connection, mut peer) = connected(PATIENT).await;
    for code in [0, 25, 27] {
        let heartbeat = HeartbeatRequest::default();
        let (answer, ()) = tokio::join!(connection.send(&heartbeat, 4), peer.respond(code, 0));
        assert_eq!(answer.unwrap().error_code, code);
        assert!(!connection.is_broken());
    }
}

/// Whether the connection is of no use after the peer's misbehaviour, and why.
async fn breaks(
    name: &str,
    timeout: Duration,
    misbehave: impl AsyncFnOnce(&mut Peer),
    is_expected: impl Fn(&Closed) -> bool,
) {
    let (mut connection, mut peer) = connected(timeout).await;
    let heartbeat = HeartbeatRequest::default();
    let (answer, ()) = tokio::join!(connection.send(&heartbeat, 4), misbehave(&mut peer));
    match answer {
        Err(ClientError::Closed(closed)) if is_expected(&closed) => {}
        other => panic!("{name}: {other:?}"),
    }
    assert!(connection.is_broken(), "{name}");
    assert!(connection.send(&heartbeat, 4).await.is_err(), "{name}: used again");
}

#[tokio::test]
async fn whatever_is_not_the_answer_ends_the_connection() {
    let soon = Duration::from_millis(20);
    breaks(
        "an answer to something else",
        PATIENT,
        async |peer| peer.respond(0, 7).await,
        |closed| matches!(closed, Closed::Correlation { expected: 0, found: 7 }),
    )
    .await;
    breaks(
        "silence",
        soon,
        async |peer| {
            peer.request().await;
        },
        |closed| matches!(closed, Closed::Timeout(_)),
    )
    .await;
    breaks(
        "hanging up",
        PATIENT,
        async |peer| {
            peer.request().await;
            peer.stream.shutdown().await.unwrap();
        },
        |closed| matches!(closed, Closed::ByPeer),
    )
    .await;
    breaks(
        "more than is read",
        PATIENT,
        async |peer| {
            peer.request().await;
            peer.stream.write_all(&5000i32.to_be_bytes()).await.unwrap();
        },
        |closed| matches!(closed, Closed::Transport(_)),
    )
    .await;
    breaks(
        "no body",
        PATIENT,
        async |peer| {
            let to = peer.request().await;
            let mut frame = BytesMut::new();
            frame.put_i32(5);
            frame.put_i32(to.correlation_id);
            frame.put_u8(0);
            peer.stream.write_all(&frame).await.unwrap();
        },
        |closed| matches!(closed, Closed::Malformed(_)),
    )
    .await;
}

#[tokio::test]
async fn an_exchange_given_up_halfway_is_not_gone_on_with() {
    let (mut connection, mut peer) = connected(PATIENT).await;
    let heartbeat = HeartbeatRequest::default();
    tokio::select! {
        _ = connection.send(&heartbeat, 4) => panic!("nobody answered"),
        _ = peer.request() => {}
    }
    assert!(connection.is_broken());
    assert!(connection.send(&heartbeat, 4).await.is_err());
}
