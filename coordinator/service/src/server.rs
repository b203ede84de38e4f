//! The requests that a dedicated coordinator serves: those that only the controller can answer.
//!
//! A broker needs no other; clients never come here, because nobody tells them. One task per connection, one request at a
//! time, in order. Bounds: [`MAX_CONNECTIONS`] connections, frames of [`MAX_FRAME`] bytes.

use std::sync::Arc;
use std::time::Duration;

use broker_wire::codec::{self, EncodeError};
use broker_wire::frame::{FrameBuffer, FrameError};
use broker_wire::guard::Malformed;
use broker_wire::header::{HeaderError, RequestHeader};
use broker_wire::{Encodable, ErrorCode};
use bytes::Bytes;
use kafka_protocol::messages::api_versions_response::ApiVersion;
use kafka_protocol::messages::{ApiKey, ApiVersionsRequest, ApiVersionsResponse};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

use crate::handle::ControllerHandle;
use crate::security::{Door, NotLetIn};

/// How many connections may be open; a further one waits to be accepted.
const MAX_CONNECTIONS: usize = 1_000;
/// The largest request: an AlterPartition for every partition of a large broker is far below.
const MAX_FRAME: usize = 16 << 20;

/// How long a handshake may take.
const HANDSHAKE_TIME_MAX: Duration = Duration::from_secs(30);

/// What is served, with its versions.
const SERVED: [(ApiKey, i16, i16); 7] = [
    (ApiKey::ControlledShutdown, 0, 3),
    (ApiKey::ApiVersions, 0, 4),
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
    #[error(transparent)]
    Socket(#[from] std::io::Error),
}

/// Serves until dropped: everybody, or those whom `door` lets in.
pub async fn serve(listener: TcpListener, door: Option<Arc<Door>>, controller: ControllerHandle) {
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
                    if let Err(reason) = open(stream, door, &controller).await {
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

async fn open(stream: TcpStream, door: Option<Arc<Door>>, controller: &ControllerHandle) -> Result<(), Closed> {
    stream.set_nodelay(true)?;
    match door {
        None => converse(stream, controller).await,
        Some(door) => {
            let accepted = tokio::time::timeout(HANDSHAKE_TIME_MAX, door.let_in(stream)).await;
            let accepted = accepted.map_err(|_| Closed::NoHandshake)?;
            converse(accepted?, controller).await
        }
    }
}

async fn converse(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    controller: &ControllerHandle,
) -> Result<(), Closed> {
    let mut frames = FrameBuffer::new(MAX_FRAME);
    while let Some(frame) = frames.read_frame(&mut stream).await? {
        let answer = answer(frame, controller).await?;
        stream.write_all(&answer).await?;
        stream.flush().await?;
    }
    Ok(())
}

async fn answer(frame: Bytes, controller: &ControllerHandle) -> Result<Bytes, Closed> {
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
    match key {
        ApiKey::ApiVersions => {
            codec::decode_request::<ApiVersionsRequest>(version, body)?;
            reply(&header, version, &api_versions())
        }
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
            reply(
                &header,
                version,
                &controller.alter_partition_reassignments(request).await,
            )
        }
        ApiKey::ListPartitionReassignments => {
            let request = codec::decode_request(version, body)?;
            reply(
                &header,
                version,
                &controller.list_partition_reassignments(request).await,
            )
        }
        _ => Err(Closed::NotServed(header.api.name)),
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
