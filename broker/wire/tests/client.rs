//! A client connection and a peer that behaves, or does not.

#![allow(clippy::unwrap_used)] // A failed step fails the test.

use std::time::Duration;

use broker_wire::client::{ClientError, Closed, Connection, Options};
use broker_wire::frame::FrameBuffer;
use broker_wire::header::RequestHeader;
use broker_wire::messages::{
    ApiVersionsResponse, HeartbeatRequest, HeartbeatResponse, MetadataRequest, MetadataResponse, ProduceRequest,
};
use broker_wire::{Encodable, codec};
use bytes::{BufMut, Bytes, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};

fn options() -> Options {
    Options {
        client_id: "tester".to_owned(),
        connect_timeout: Duration::from_secs(5),
        request_timeout: Duration::from_secs(10),
        max_response_len: 4096,
        max_in_flight: 4,
        ..Options::default()
    }
}

/// The other end of a connection.
struct Peer {
    stream: DuplexStream,
    buffer: FrameBuffer,
}

fn connected(options: Options) -> (Connection, Peer) {
    let (ours, theirs) = tokio::io::duplex(1 << 16);
    (
        Connection::over(ours, options),
        Peer {
            stream: theirs,
            buffer: FrameBuffer::default(),
        },
    )
}

impl Peer {
    async fn request(&mut self) -> RequestHeader {
        let frame = self.buffer.read_frame(&mut self.stream).await.unwrap().unwrap();
        let (header, _) = RequestHeader::parse(&frame).unwrap();
        assert_eq!(&*header.client_id, "tester");
        header
    }

    async fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.unwrap();
    }

    async fn respond(&mut self, to: &RequestHeader, response: &impl Encodable) {
        let frame = codec::encode_response(to.correlation_id, to.api.key, to.api_version, response).unwrap();
        self.send(&frame).await;
    }
}

fn closed<T: std::fmt::Debug>(answer: Result<T, ClientError>) -> Closed {
    match answer {
        Err(ClientError::Closed(closed)) => closed,
        other => panic!("not closed: {other:?}"),
    }
}

#[tokio::test]
async fn requests_are_answered_in_order_while_more_are_on_their_way() {
    let (connection, mut peer) = connected(options());
    let serve = async {
        // All three have come before the first is answered.
        let asked = [peer.request().await, peer.request().await, peer.request().await];
        for (at, header) in asked.iter().enumerate() {
            peer.respond(header, &HeartbeatResponse::default().with_error_code(at as i16))
                .await;
        }
    };
    let heartbeat = HeartbeatRequest::default();
    let (first, second, third, ()) = tokio::join!(
        connection.send(&heartbeat, 0),
        connection.send(&heartbeat, 4),
        connection.send(&heartbeat, 1),
        serve
    );
    let codes = [first, second, third].map(|answer| answer.unwrap().error_code);
    assert_eq!(codes, [0, 1, 2]);
    assert!(!connection.is_closed());
}

#[tokio::test]
async fn api_versions_are_asked_in_version_0() {
    let (connection, mut peer) = connected(options());
    let serve = async {
        let header = peer.request().await;
        assert_eq!((header.api.name, header.api_version), ("ApiVersions", 0));
        peer.respond(&header, &ApiVersionsResponse::default().with_error_code(0))
            .await;
    };
    let (answer, ()) = tokio::join!(connection.api_versions(), serve);
    assert_eq!(answer.unwrap().api_keys.len(), 0);
}

#[tokio::test]
async fn no_more_requests_are_in_flight_than_allowed() {
    let (connection, mut peer) = connected(Options {
        max_in_flight: 2,
        ..options()
    });
    let heartbeat = HeartbeatRequest::default();
    let three = async {
        tokio::join!(
            connection.send(&heartbeat, 0),
            connection.send(&heartbeat, 0),
            connection.send(&heartbeat, 0)
        )
    };
    let serve = async {
        let first = peer.request().await;
        let second = peer.request().await;
        let early = tokio::time::timeout(Duration::from_millis(50), peer.request()).await;
        assert!(early.is_err(), "a third request before an answer");
        peer.respond(&first, &HeartbeatResponse::default()).await;
        let third = peer.request().await;
        peer.respond(&second, &HeartbeatResponse::default()).await;
        peer.respond(&third, &HeartbeatResponse::default()).await;
    };
    let ((first, second, third), ()) = tokio::join!(three, serve);
    assert!(first.is_ok() && second.is_ok() && third.is_ok());
}

#[tokio::test]
async fn whoever_waits_learns_why_the_connection_ended() {
    async fn check(name: &str, answer: impl AsyncFnOnce(&mut Peer, RequestHeader), expected: &str) {
        let (connection, mut peer) = connected(options());
        let serve = async {
            let first = peer.request().await;
            peer.request().await;
            answer(&mut peer, first).await;
            peer // Not dropped: the end is our own doing, unless the peer closed.
        };
        let request = MetadataRequest::default();
        let (first, second, _peer) = tokio::join!(connection.send(&request, 12), connection.send(&request, 12), serve);
        assert_eq!(closed(first).to_string(), expected, "{name}");
        assert_eq!(closed(second).to_string(), expected, "{name}");
        assert_eq!(connection.closed().await.to_string(), expected, "{name}");
        assert_eq!(
            closed(connection.send(&request, 12).await).to_string(),
            expected,
            "{name}: afterwards"
        );
    }
    check(
        "closed",
        async |peer, _| peer.stream.shutdown().await.unwrap(),
        "by the peer",
    )
    .await;
    check(
        "closed within a response",
        async |peer, _| {
            peer.send(&[0, 0, 0, 9, 0]).await;
            peer.stream.shutdown().await.unwrap();
        },
        "connection closed within a frame, after 5 bytes of it",
    )
    .await;
    check(
        "too large",
        async |peer, _| peer.send(&[0x10, 0, 0, 0]).await,
        "frame size 268435456 is larger than 4096",
    )
    .await;
    check(
        "another's answer",
        async |peer, mut header| {
            header.correlation_id = 41;
            peer.respond(&header, &MetadataResponse::default()).await;
        },
        "response 41 instead of 0",
    )
    .await;
    check(
        "a count from hell",
        async |peer, header| {
            let mut frame = BytesMut::new();
            frame.put_u32(4 + 1 + 4 + 5);
            frame.put_i32(header.correlation_id);
            frame.put_u8(0);
            frame.put_i32(0);
            frame.put_slice(&[0xff, 0xff, 0xff, 0xff, 0x07]);
            peer.send(&frame).await;
        },
        "malformed response: brokers has 2147483646 elements, 0 bytes are left",
    )
    .await;
}

#[tokio::test]
async fn an_unasked_response_ends_the_connection() {
    let (connection, mut peer) = connected(options());
    peer.send(&[0, 0, 0, 4, 0, 0, 0, 0]).await;
    assert_eq!(connection.closed().await.to_string(), "response without a request");
}

#[tokio::test]
async fn a_late_response_ends_the_connection() {
    let (connection, mut peer) = connected(Options {
        request_timeout: Duration::from_millis(60),
        ..options()
    });
    let heartbeat = HeartbeatRequest::default();
    assert!(matches!(
        closed(connection.send(&heartbeat, 0).await),
        Closed::Timeout(_)
    ));
    assert!(connection.is_closed());
    // The peer sees it too.
    peer.request().await;
    let mut rest = Vec::new();
    peer.stream.read_to_end(&mut rest).await.unwrap();
    assert!(rest.is_empty());
}

#[tokio::test]
async fn a_caller_that_gave_up_does_not_confuse_the_next() {
    let (connection, mut peer) = connected(options());
    let heartbeat = HeartbeatRequest::default();
    let gave_up = tokio::time::timeout(Duration::from_millis(30), connection.send(&heartbeat, 0)).await;
    assert!(gave_up.is_err());
    let serve = async {
        let abandoned = peer.request().await;
        let wanted = peer.request().await;
        peer.respond(&abandoned, &HeartbeatResponse::default().with_error_code(1))
            .await;
        peer.respond(&wanted, &HeartbeatResponse::default().with_error_code(2))
            .await;
    };
    let (answer, ()) = tokio::join!(connection.send(&heartbeat, 0), serve);
    assert_eq!(answer.unwrap().error_code, 2);
}

#[tokio::test]
async fn what_cannot_be_said_in_a_version_is_not_sent() {
    let (connection, _peer) = connected(options());
    let transactional =
        ProduceRequest::default().with_transactional_id(Some(broker_wire::StrBytes::from_static_str("t").into()));
    let answer = connection.send(&transactional, 2).await;
    assert!(matches!(answer, Err(ClientError::Encode(_))), "{answer:?}");
    assert!(!connection.is_closed());
}

#[tokio::test]
async fn dropping_the_connection_closes_it() {
    let (connection, mut peer) = connected(options());
    drop(connection);
    assert_eq!(peer.stream.read(&mut [0; 1]).await.unwrap(), 0);
}

#[tokio::test]
async fn it_connects_by_tcp_and_says_why_not() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let serve = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        let frame: Bytes = FrameBuffer::default().read_frame(&mut stream).await.unwrap().unwrap();
        let (header, _) = RequestHeader::parse(&frame).unwrap();
        let response = codec::encode_response(header.correlation_id, 12, 4, &HeartbeatResponse::default()).unwrap();
        stream.write_all(&response).await.unwrap();
        stream
    };
    let ask = async {
        let connection = Connection::connect("127.0.0.1", port, options()).await.unwrap();
        connection.send(&HeartbeatRequest::default(), 4).await
    };
    let (answer, stream) = tokio::join!(ask, serve);
    assert_eq!(answer.unwrap().error_code, 0);
    drop((stream, listener));
    let refused = Connection::connect("127.0.0.1", port, options()).await;
    assert!(
        refused
            .unwrap_err()
            .to_string()
            .starts_with(&format!("cannot connect to 127.0.0.1:{port}: "))
    );
}
