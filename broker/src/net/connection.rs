//! One connection from accept to close.

use std::future::Future;
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::{Duration, Instant};

use broker_wire::frame::{FrameBuffer, FrameError};
use bytes::Bytes;
use tracing::{debug, info};

use super::reply::Reply;
use super::transport::Transport;
use crate::Broker;
use crate::api::{self, ConnectionInfo};
use crate::quota::Place;

/// Replies are gathered up to this size before they are written, as long as further requests are there already.
const GATHER_BYTES: usize = 64 * 1024;

/// Why a connection ends, other than by the peer's wish.
#[derive(Debug, thiserror::Error)]
enum Closed {
    #[error(transparent)]
    Frame(#[from] FrameError),
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error("{0}")]
    Refused(String),
    #[error("idle for longer than connections.max.idle.ms")]
    Idle,
}

/// Serves a connection until either side ends it.
pub(super) async fn serve(
    broker: Arc<Broker>,
    info: Arc<ConnectionInfo>,
    transport: Transport,
    max_request: usize,
    max_idle: Duration,
    place: Place,
) {
    let mut connection = Connection {
        broker,
        info,
        transport,
        frames: FrameBuffer::new(max_request),
        gathered: Vec::new(),
        gathered_bytes: 0,
        idle: Idle::new(max_idle, place),
    };
    match connection.run().await {
        Ok(()) => debug!(peer = %connection.info.peer, "connection closed by the peer"),
        Err(Closed::Io(error)) | Err(Closed::Frame(FrameError::Io(error))) => {
            debug!(peer = %connection.info.peer, %error, "connection lost");
        }
        Err(Closed::Frame(FrameError::TooLarge { size, .. }))
            if u32::try_from(size).is_ok_and(broker_security::tls::is_client_hello) =>
        {
            let (peer, listener) = (connection.info.peer, &connection.info.listener);
            info!(%peer, %listener, "connection closed: looks like a TLS handshake on a {} listener", connection.info.security_protocol);
        }
        Err(Closed::Idle) => debug!(peer = %connection.info.peer, reason = %Closed::Idle, "connection closed"),
        Err(reason) => {
            info!(peer = %connection.info.peer, listener = %connection.info.listener, %reason, "connection closed");
        }
    }
}

struct Connection {
    broker: Arc<Broker>,
    info: Arc<ConnectionInfo>,
    transport: Transport,
    frames: FrameBuffer,
    /// Replies that are not written yet.
    gathered: Vec<Bytes>,
    gathered_bytes: usize,
    idle: Idle,
}

impl Connection {
    async fn run(&mut self) -> Result<(), Closed> {
        while let Some(frame) = self.next_frame().await? {
            let (reply, pause) = match self.serve(frame).await? {
                Reply::Throttled(reply, pause) => (*reply, Some(pause)),
                reply => (reply, None),
            };
            match reply {
                Reply::Bytes(bytes) => {
                    self.gathered_bytes += bytes.len();
                    self.gathered.push(bytes);
                    if self.gathered_bytes >= GATHER_BYTES {
                        self.flush().await?;
                    }
                }
                Reply::Parts { parts, files } => {
                    self.gathered_bytes = 0;
                    self.transport.write_parts(&mut self.gathered, parts, &files).await?;
                }
                Reply::Nothing => {}
                Reply::Close(reason) => {
                    self.flush().await?;
                    return Err(Closed::Refused(reason));
                }
                Reply::Throttled(..) => unreachable!("a reply pauses once"),
            }
            if let Some(pause) = pause {
                self.flush().await?;
                self.pause(pause).await?;
            }
        }
        Ok(())
    }

    /// The next request, from what has been read already or from the socket; before waiting, replies are written.
    async fn next_frame(&mut self) -> Result<Option<Bytes>, Closed> {
        if let Some(frame) = self.frames.take_frame()? {
            return Ok(Some(frame));
        }
        self.flush().await?;
        let frame = {
            let mut read = pin!(self.frames.read_frame(&mut self.transport));
            let idle = &mut self.idle;
            std::future::poll_fn(|cx| {
                if let std::task::Poll::Ready(frame) = read.as_mut().poll(cx) {
                    return std::task::Poll::Ready(frame.map_err(Closed::from));
                }
                idle.poll_expired(cx).map(|()| Err(Closed::Idle))
            })
            .await?
        };
        self.idle.touch();
        Ok(frame)
    }

    /// Serves one request; if it has to wait for something, replies to earlier ones are written first.
    async fn serve(&mut self, frame: Bytes) -> Result<Reply, Closed> {
        let mut serving = pin!(api::serve(&self.broker, &self.info, frame));
        if let std::task::Poll::Ready(reply) = futures::poll!(serving.as_mut()) {
            return Ok(reply);
        }
        self.gathered_bytes = 0;
        self.transport.write_all(&mut self.gathered).await?;
        let reply = serving.await;
        self.idle.touch();
        Ok(reply)
    }

    /// Reads nothing for so long, and keeps requests waiting that have been read already. A pause does not keep a
    /// connection longer than it may be idle.
    async fn pause(&mut self, pause: Duration) -> Result<(), Closed> {
        tokio::time::sleep(pause.min(self.idle.max)).await;
        if pause > self.idle.max {
            return Err(Closed::Idle);
        }
        self.idle.touch();
        Ok(())
    }

    async fn flush(&mut self) -> Result<(), Closed> {
        self.gathered_bytes = 0;
        if !self.gathered.is_empty() {
            self.transport.write_all(&mut self.gathered).await?;
        }
        Ok(())
    }
}

/// Notices that nothing has come for `connections.max.idle.ms`, with one timer for the connection's whole life.
struct Idle {
    max: Duration,
    last: Instant,
    /// Told as well when the connection was used last.
    place: Place,
    timer: Pin<Box<tokio::time::Sleep>>,
}

impl Idle {
    fn new(max: Duration, place: Place) -> Self {
        Self {
            max,
            last: Instant::now(),
            place,
            timer: Box::pin(tokio::time::sleep(max)),
        }
    }

    fn touch(&mut self) {
        self.last = Instant::now();
        self.place.touch(self.last);
    }

    fn poll_expired(&mut self, cx: &mut std::task::Context<'_>) -> std::task::Poll<()> {
        while self.timer.as_mut().poll(cx).is_ready() {
            let expires = self.last + self.max;
            if expires <= Instant::now() {
                return std::task::Poll::Ready(());
            }
            self.timer.as_mut().reset(expires.into());
        }
        std::task::Poll::Pending
    }
}
