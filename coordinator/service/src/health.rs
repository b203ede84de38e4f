//! `GET /health`: how this process is, over HTTP, for whoever watches over it.
//!
//! 200 while it is connected to ZooKeeper, in office or standing by; 503 while it is not, since it can do nothing then. The
//! body is JSON in both cases. One request per connection, which is closed afterwards; no other path, no other method than
//! GET and HEAD. It reveals ids and counts, and changes nothing; it has no access control, so it is off unless
//! `ottla.health.listener` says where to listen.
//!
//! Bounds: [`MAX_CONNECTIONS`] connections, a request head of [`MAX_HEAD`] bytes, [`TIME_MAX`] for each.

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use zk_schema_store::{SessionState, Store};

use crate::handle::{ControllerHandle, Status};

/// How many connections may be open; a further one waits to be accepted.
const MAX_CONNECTIONS: usize = 32;
/// The longest request line with its headers.
const MAX_HEAD: usize = 8 << 10;
/// How long a connection may take, from its first byte to its last.
const TIME_MAX: Duration = Duration::from_secs(5);
/// How long to wait when no connection can be accepted.
const BACKOFF: Duration = Duration::from_millis(100);

/// Serves until dropped.
pub async fn serve_health(listener: TcpListener, controller: ControllerHandle, store: Store) {
    let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    loop {
        let Ok(place) = places.clone().acquire_owned().await else {
            return;
        };
        match listener.accept().await {
            Ok((stream, peer)) => {
                let (controller, store) = (controller.clone(), store.clone());
                tokio::spawn(async move {
                    let conversation = converse(stream, &controller, &store);
                    if let Ok(Err(error)) = tokio::time::timeout(TIME_MAX, conversation).await {
                        tracing::debug!(%peer, %error, "health connection failed");
                    }
                    drop(place);
                });
            }
            Err(error) => {
                // Out of file descriptors, mostly: others must close first.
                tracing::warn!(%error, "could not accept a health connection");
                tokio::time::sleep(BACKOFF).await;
            }
        }
    }
}

async fn converse(mut stream: TcpStream, controller: &ControllerHandle, store: &Store) -> std::io::Result<()> {
    let mut head = Vec::new();
    while !is_complete(&head) && head.len() < MAX_HEAD {
        let room = (MAX_HEAD - head.len()) as u64;
        if (&mut stream).take(room).read_buf(&mut head).await? == 0 {
            break;
        }
    }
    let status = *controller.status().borrow();
    let session = *store.session().borrow();
    let answer = answer(&head, || (is_well(session), report(controller.id().0, status, session)));
    stream.write_all(&answer).await?;
    stream.shutdown().await?;
    // What the client may still be sending must not turn the close into a reset that takes the answer away.
    let mut rest = [0; 1024];
    while stream.read(&mut rest).await? > 0 {}
    Ok(())
}

fn is_complete(head: &[u8]) -> bool {
    head.windows(4).any(|four| four == b"\r\n\r\n") || head.windows(2).any(|two| two == b"\n\n")
}

/// The answer to a request's head, whatever it is.
fn answer(head: &[u8], health: impl FnOnce() -> (bool, serde_json::Value)) -> Vec<u8> {
    let plain = |status, text: &str| response(status, "text/plain", text, true);
    if !is_complete(head) {
        return match head.len() >= MAX_HEAD {
            true => plain("431 Request Header Fields Too Large", "the request is too long\n"),
            false => plain("400 Bad Request", "the request has no end\n"),
        };
    }
    let line = head.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let line = str::from_utf8(line).unwrap_or_default().trim_end();
    let words: Vec<&str> = line.split(' ').collect();
    let [method, target, version] = words[..] else {
        return plain("400 Bad Request", "no request line\n");
    };
    if !version.starts_with("HTTP/1.") {
        return plain("505 HTTP Version Not Supported", "HTTP/1.1 is spoken here\n");
    }
    if !matches!(method, "GET" | "HEAD") {
        return plain("405 Method Not Allowed", "GET /health\n");
    }
    let path = target.split_once('?').map_or(target, |(path, _)| path);
    if path != "/health" {
        return plain("404 Not Found", "GET /health\n");
    }
    let (is_well, report) = health();
    let status = if is_well { "200 OK" } else { "503 Service Unavailable" };
    response(status, "application/json", &format!("{report}\n"), method == "GET")
}

fn response(status: &str, content_type: &str, body: &str, with_body: bool) -> Vec<u8> {
    let length = body.len();
    let allow = if status.starts_with("405") {
        "Allow: GET, HEAD\r\n"
    } else {
        ""
    };
    let body = if with_body { body } else { "" };
    format!(
        "HTTP/1.1 {status}\r\nContent-Type: {content_type}\r\nContent-Length: {length}\r\n{allow}Cache-Control: no-store\r\n\
         Connection: close\r\n\r\n{body}"
    )
    .into_bytes()
}

fn is_well(session: SessionState) -> bool {
    session.is_connected()
}

/// What the body says. `epoch` and the gauges count only in office, and are null elsewhere.
fn report(id: i32, status: Status, session: SessionState) -> serde_json::Value {
    let (session_name, session_id) = match session {
        SessionState::Connected { session_id, .. } => ("connected", Some(format!("0x{session_id:x}"))),
        SessionState::Disconnected { .. } => ("disconnected", None),
        SessionState::Expired { .. } => ("expired", None),
        SessionState::Closed => ("closed", None),
    };
    let gauges = status.active.map(|_| {
        let gauges = status.gauges;
        json!({
            "ActiveBrokerCount": gauges.active_brokers,
            "GlobalTopicCount": gauges.topics,
            "GlobalPartitionCount": gauges.partitions,
            "OfflinePartitionsCount": gauges.offline_partitions,
            "PreferredReplicaImbalanceCount": gauges.preferred_replica_imbalance,
            "TopicsToDeleteCount": gauges.topics_to_delete,
            "TopicsIneligibleToDeleteCount": gauges.topics_ineligible_to_delete,
            "UncleanLeaderElections": gauges.unclean_elections,
        })
    });
    json!({
        "id": id,
        "role": if status.active.is_some() { "active" } else { "standby" },
        "controller": status.controller.map(|id| id.0),
        "epoch": status.active.map(|epoch| epoch.0),
        "session": session_name,
        "sessionId": session_id,
        "gauges": gauges,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use coordinator::controller::Gauges;
    use model::{BrokerId, ControllerEpoch};

    fn ask(head: &[u8], is_well: bool) -> String {
        String::from_utf8(answer(head, || (is_well, json!({"id": 1})))).unwrap()
    }

    #[test]
    fn one_path_is_answered_and_everything_else_refused() {
        let check = |head: &[u8], status: &str| {
            let answer = ask(head, true);
            assert_eq!(answer.lines().next(), Some(&*format!("HTTP/1.1 {status}")), "{head:?}");
            assert!(answer.contains("\r\nConnection: close\r\n"), "{answer}");
        };
        check(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n", "200 OK");
        check(b"GET /health?verbose HTTP/1.0\n\n", "200 OK");
        check(b"HEAD /health HTTP/1.1\r\n\r\n", "200 OK");
        check(b"GET / HTTP/1.1\r\n\r\n", "404 Not Found");
        check(b"GET /health/../../etc/passwd HTTP/1.1\r\n\r\n", "404 Not Found");
        check(b"POST /health HTTP/1.1\r\n\r\n", "405 Method Not Allowed");
        check(b"GET /health HTTP/2\r\n\r\n", "505 HTTP Version Not Supported");
        check(b"GET /health\r\n\r\n", "400 Bad Request");
        check(b"\xff\xfe\x00\r\n\r\n", "400 Bad Request");
        check(b"\r\n\r\n", "400 Bad Request");
        check(b"", "400 Bad Request");
        check(b"GET /health HTTP/1.1\r\n", "400 Bad Request");
        check(&[b'x'; MAX_HEAD], "431 Request Header Fields Too Large");
    }

    #[test]
    fn a_body_is_as_long_as_it_says_and_left_out_for_head() {
        let answer = ask(b"GET /health HTTP/1.1\r\n\r\n", false);
        assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
        assert!(
            answer.contains("Content-Length: 9\r\n") && answer.ends_with("\r\n\r\n{\"id\":1}\n"),
            "{answer}"
        );
        let answer = ask(b"HEAD /health HTTP/1.1\r\n\r\n", true);
        assert!(
            answer.contains("Content-Length: 9\r\n") && answer.ends_with("\r\n\r\n"),
            "{answer}"
        );
    }

    #[test]
    fn the_report_says_who_is_in_office_and_how_zookeeper_is() {
        let connected = SessionState::Connected {
            session_id: 0x1a,
            generation: 1,
        };
        let standby = Status {
            controller: Some(BrokerId(2)),
            ..Status::default()
        };
        assert_eq!(
            report(100_001, standby, connected).to_string(),
            r#"{"id":100001,"role":"standby","controller":2,"epoch":null,"session":"connected","sessionId":"0x1a","gauges":null}"#
        );
        let active = Status {
            controller: Some(BrokerId(100_001)),
            active: Some(ControllerEpoch(7)),
            gauges: Gauges {
                partitions: 5,
                ..Gauges::default()
            },
        };
        let found = report(100_001, active, SessionState::Expired { generation: 1 });
        assert_eq!(
            (
                &found["role"],
                &found["epoch"],
                &found["gauges"]["GlobalPartitionCount"],
                &found["session"]
            ),
            (&json!("active"), &json!(7), &json!(5), &json!("expired"))
        );
        assert!(is_well(connected) && !is_well(SessionState::Expired { generation: 1 }));
    }
}
