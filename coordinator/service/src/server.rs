//! The requests that a dedicated coordinator serves: those that only the controller can answer.
//!
//! A broker needs no other; clients never come here, because nobody tells them. Who may ask is for the [`Door`]. One task
//! per connection, one request at a time, in order. Bounds: [`MAX_CONNECTIONS`] connections, frames of [`MAX_FRAME`] bytes.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use broker_admission::{Failed, Verdict};
use broker_wire::codec::{self, EncodeError};
use broker_wire::frame::{FrameBuffer, FrameError};
use broker_wire::guard::Malformed;
use broker_wire::header::{HeaderError, RequestHeader};
use broker_wire::{Encodable, ErrorCode};
use bytes::Bytes;
use kafka_protocol::messages::api_versions_response::ApiVersion;
use kafka_protocol::messages::{
    AllocateProducerIdsResponse, AlterPartitionReassignmentsResponse, AlterPartitionResponse, ApiKey,
    ApiVersionsRequest, ApiVersionsResponse, ControlledShutdownResponse, ElectLeadersResponse,
    ListPartitionReassignmentsResponse,
};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

use crate::door::{Door, Guest, NotLetIn};
use crate::handle::ControllerHandle;

/// How many connections may be open; a further one waits to be accepted.
const MAX_CONNECTIONS: usize = 1_000;
/// The largest request: an AlterPartition for every partition of a large broker is far below.
const MAX_FRAME: usize = 16 << 20;

/// How long a handshake, and then a login, may take.
const HANDSHAKE_TIME_MAX: Duration = Duration::from_secs(30);

/// What is served, with its versions.
const SERVED: [(ApiKey, i16, i16); 9] = [
    (ApiKey::ControlledShutdown, 0, 3),
    (ApiKey::SaslHandshake, 0, 1),
    (ApiKey::ApiVersions, 0, 4),
    (ApiKey::SaslAuthenticate, 0, 2),
    (ApiKey::ElectLeaders, 0, 2),
    (ApiKey::AlterPartitionReassignments, 0, 0),
    (ApiKey::ListPartitionReassignments, 0, 0),
    (ApiKey::AlterPartition, 0, 3),
    (ApiKey::AllocateProducerIds, 0, 0),
];

/// Why a connection is closed.
#[derive(Debug, thiserror::Error)]
enum Closed {
    #[error(transparent)]
    Frame(#[from] FrameError),
    #[error(transparent)]
    Header(#[from] HeaderError),
    #[error(transparent)]
    Malformed(#[from] Malformed),
    #[error(transparent)]
    Encode(#[from] EncodeError),
    #[error("{0} is not served by a coordinator")]
    NotServed(&'static str),
    #[error(transparent)]
    NotLetIn(#[from] NotLetIn),
    #[error("no SSL handshake within {HANDSHAKE_TIME_MAX:?}")]
    NoHandshake,
    #[error("no login within {HANDSHAKE_TIME_MAX:?}")]
    NoLogin,
    #[error("authentication failed: {0}")]
    Authentication(String),
    #[error("{0}")]
    Refused(String),
    #[error(transparent)]
    Socket(#[from] std::io::Error),
}

/// Serves those whom `door` lets in, until dropped.
pub async fn serve(listener: TcpListener, door: Arc<Door>, controller: ControllerHandle) {
    let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let mut connections = tokio::task::JoinSet::new();
    loop {
        let Ok(place) = places.clone().acquire_owned().await else {
            return;
        };
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            // Only to forget those that have ended.
            Some(_) = connections.join_next() => continue,
        };
        match accepted {
            Ok((stream, peer)) => {
                let (controller, door) = (controller.clone(), door.clone());
                connections.spawn(async move {
                    if let Err(reason) = open(stream, peer.ip(), &door, &controller).await {
                        tracing::info!(%peer, %reason, "connection closed");
                    }
                    drop(place);
                });
            }
            Err(error) => {
                // Out of file descriptors, mostly: others must close first.
                tracing::warn!(%error, "could not accept a connection");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

async fn open(stream: TcpStream, host: IpAddr, door: &Door, controller: &ControllerHandle) -> Result<(), Closed> {
    stream.set_nodelay(true)?;
    if !door.has_tls() {
        return converse(stream, door.stranger(host), door, controller).await;
    }
    let accepted = tokio::time::timeout(HANDSHAKE_TIME_MAX, door.shake_hands(stream, host)).await;
    let (stream, guest) = accepted.map_err(|_| Closed::NoHandshake)??;
    converse(stream, guest, door, controller).await
}

async fn converse(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    mut guest: Guest,
    door: &Door,
    controller: &ControllerHandle,
) -> Result<(), Closed> {
    let mut frames = FrameBuffer::new(guest.max_frame_len(MAX_FRAME));
    let login_until = tokio::time::Instant::now() + HANDSHAKE_TIME_MAX;
    loop {
        let read = frames.read_frame(&mut stream);
        let frame = match guest.must_log_in() {
            true => tokio::time::timeout_at(login_until, read)
                .await
                .map_err(|_| Closed::NoLogin)??,
            false => read.await?,
        };
        let Some(frame) = frame else { return Ok(()) };
        let verdict = guest.receive(frame);
        frames.set_max_frame_len(guest.max_frame_len(MAX_FRAME));
        let answer = match verdict {
            Verdict::Serve(frame) => answer(frame, &mut guest, door, controller).await?,
            Verdict::ServeVersions(frame) => {
                let answer = answer(frame, &mut guest, door, controller).await?;
                guest.versions_answered(&answer);
                answer
            }
            Verdict::Reply(answer) => answer,
            Verdict::Fail(Failed { reply, reason }) => {
                // Whoever guesses passwords waits for each answer.
                tokio::time::sleep(guest.failure_delay()).await;
                if let Some(reply) = reply {
                    stream.write_all(&reply).await?;
                    stream.flush().await?;
                }
                return Err(Closed::Authentication(reason));
            }
            Verdict::Close(reason) => return Err(Closed::Refused(reason)),
        };
        stream.write_all(&answer).await?;
        stream.flush().await?;
    }
}

async fn answer(frame: Bytes, guest: &mut Guest, door: &Door, controller: &ControllerHandle) -> Result<Bytes, Closed> {
    let (header, body) = RequestHeader::parse(&frame)?;
    let version = header.api_version;
    let served = SERVED
        .iter()
        .find(|(key, min, max)| *key as i16 == header.api.key && (*min..=*max).contains(&version));
    let key = match served {
        Some((key, ..)) => *key,
        None if header.api.key == ApiKey::ApiVersions as i16 => {
            let refusal = api_versions().with_error_code(ErrorCode::UnsupportedVersion.code());
            return reply(&header, 0, &refusal);
        }
        None => return Err(Closed::NotServed(header.api.name)),
    };
    if key == ApiKey::ApiVersions {
        codec::decode_request::<ApiVersionsRequest>(version, body)?;
        return reply(&header, version, &api_versions());
    }
    if !door.allows(guest, header.api.name) {
        return refuse(key, &header);
    }
    match key {
        ApiKey::AlterPartition => {
            let request = codec::decode_request(version, body)?;
            reply(&header, version, &controller.alter_partition(request, version).await)
        }
        ApiKey::ControlledShutdown => {
            let request = codec::decode_request(version, body)?;
            reply(&header, version, &controller.controlled_shutdown(request).await)
        }
        ApiKey::AllocateProducerIds => {
            let request = codec::decode_request(version, body)?;
            reply(&header, version, &controller.allocate_producer_ids(request).await)
        }
        ApiKey::ElectLeaders => {
            let request = codec::decode_request(version, body)?;
            reply(&header, version, &controller.elect_leaders(request, version).await)
        }
        ApiKey::AlterPartitionReassignments => {
            let request = codec::decode_request(version, body)?;
            let answer = controller.alter_partition_reassignments(request).await;
            reply(&header, version, &answer)
        }
        ApiKey::ListPartitionReassignments => {
            let request = codec::decode_request(version, body)?;
            let answer = controller.list_partition_reassignments(request).await;
            reply(&header, version, &answer)
        }
        _ => Err(Closed::NotServed(header.api.name)),
    }
}

/// The answer to whoever may not ask.
fn refuse(key: ApiKey, header: &RequestHeader) -> Result<Bytes, Closed> {
    let (version, code) = (header.api_version, ErrorCode::ClusterAuthorizationFailed.code());
    match key {
        ApiKey::AlterPartition => reply(
            header,
            version,
            &AlterPartitionResponse::default().with_error_code(code),
        ),
        ApiKey::ControlledShutdown => reply(
            header,
            version,
            &ControlledShutdownResponse::default().with_error_code(code),
        ),
        ApiKey::AllocateProducerIds => reply(
            header,
            version,
            &AllocateProducerIdsResponse::default().with_error_code(code),
        ),
        // Version 0 has no place for it.
        ApiKey::ElectLeaders if version >= 1 => {
            reply(header, version, &ElectLeadersResponse::default().with_error_code(code))
        }
        ApiKey::AlterPartitionReassignments => {
            let response = AlterPartitionReassignmentsResponse::default().with_error_code(code);
            reply(header, version, &response)
        }
        ApiKey::ListPartitionReassignments => {
            let response = ListPartitionReassignmentsResponse::default().with_error_code(code);
            reply(header, version, &response)
        }
        _ => Err(Closed::Refused(format!("{} is not allowed", header.api.name))),
    }
}

fn reply<T: Encodable>(header: &RequestHeader, version: i16, response: &T) -> Result<Bytes, Closed> {
    Ok(codec::encode_response(
        header.correlation_id,
        header.api.key,
        version,
        response,
    )?)
}

fn api_versions() -> ApiVersionsResponse {
    let keys = SERVED.iter().map(|(key, min, max)| {
        ApiVersion::default()
            .with_api_key(*key as i16)
            .with_min_version(*min)
            .with_max_version(*max)
    });
    ApiVersionsResponse::default().with_api_keys(keys.collect())
}
