//! One connection from accept to close.

use std::future::Future;
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::{Duration, Instant};

use broker_admission::{Authenticator, Failed, Now, SaslListener, Verdict};
use broker_wire::frame::{FrameBuffer, FrameError};
use bytes::Bytes;
use tracing::{debug, info};

use super::reply::Reply;
use super::transport::Transport;
use crate::api::{self, ConnectionInfo};
use crate::quota::{Place, RequestTime};
use crate::{Broker, clock};

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
    #[error("{what} failed: {reason}")]
    Authentication { what: &'static str, reason: String },
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
    sasl: Option<Arc<SaslListener>>,
    place: Place,
) {
    let sasl = sasl.map(|listener| Box::new(Authenticator::new(listener)));
    let mut connection = Connection {
        broker,
        info,
        transport,
        frames: FrameBuffer::new(sasl.as_ref().map_or(max_request, |sasl| sasl.max_frame_len())),
        max_request,
        sasl,
        gathered: Vec::new(),
        gathered_bytes: 0,
        idle: Idle::new(max_idle, place),
    };
    match connection.run().await {
        // In Kafka's words, which operators search for.
        Err(Closed::Authentication { what, reason }) => info!(
            target: "org.apache.kafka.common.network.Selector",
            "Failed {what} with /{} (listener={}) ({reason})",
            connection.info.peer.ip(),
            connection.info.listener,
        ),
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
    /// `socket.request.max.bytes`: the limit of frames once somebody is logged in.
    max_request: usize,
    /// Who is at the other end, on listeners where that must be said first.
    sasl: Option<Box<Authenticator>>,
    /// Replies that are not written yet.
    gathered: Vec<Bytes>,
    gathered_bytes: usize,
    idle: Idle,
}

impl Connection {
    async fn run(&mut self) -> Result<(), Closed> {
        while let Some(frame) = self.next_frame().await? {
            let reply = match &self.sasl {
                None => self.serve(frame).await?,
                Some(_) => self.authenticated(frame).await?,
            };
            let (reply, pause) = match reply {
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
                    let sent = self.transport.write_parts(&mut self.gathered, parts, files);
                    timed(&self.broker, &self.info, sent).await?;
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

    /// Serves a request of somebody who is logged in, or takes a step towards that.
    async fn authenticated(&mut self, frame: Bytes) -> Result<Reply, Closed> {
        let Some(sasl) = &mut self.sasl else {
            return self.serve(frame).await;
        };
        let now = Now {
            instant: Instant::now(),
            wall: clock::now(),
        };
        let was_in_progress = sasl.in_progress();
        let verdict = sasl.receive(frame, now);
        if was_in_progress
            && !sasl.in_progress()
            && let Some(principal) = sasl.principal()
        {
            self.info.set_principal(principal.clone());
        }
        let limit = if sasl.in_progress() {
            sasl.max_frame_len()
        } else {
            self.max_request
        };
        self.frames.set_max_frame_len(limit);
        match verdict {
            Verdict::Serve(frame) => self.serve(frame).await,
            Verdict::ServeVersions(frame) => {
                let reply = self.serve(frame).await?;
                if let (Some(sasl), Reply::Bytes(bytes)) = (&mut self.sasl, &reply) {
                    sasl.versions_answered(bytes);
                }
                Ok(reply)
            }
            Verdict::Reply(bytes) => Ok(Reply::Bytes(bytes)),
            Verdict::Fail(failed) => Err(self.fail_login(failed).await?),
            Verdict::Close(reason) => Ok(Reply::Close(reason)),
        }
    }

    /// Whoever guesses passwords waits for each answer.
    async fn fail_login(&mut self, failed: Failed) -> Result<Closed, Closed> {
        self.flush().await?;
        let Some(sasl) = &self.sasl else {
            return Ok(Closed::Refused(failed.reason));
        };
        let (what, delay) = (sasl.what(), sasl.failure_delay());
        tokio::time::sleep(delay).await;
        if let Some(reply) = failed.reply {
            self.gathered.push(reply);
            self.flush().await?;
        }
        Ok(Closed::Authentication {
            what,
            reason: failed.reason,
        })
    }

    /// The next request, from what has been read already or from the socket; before waiting, replies are written.
    async fn next_frame(&mut self) -> Result<Option<Bytes>, Closed> {
        if let Some(frame) = self.frames.take_frame()? {
            return Ok(Some(frame));
        }
        self.flush().await?;
        let frame = {
            let read = self.frames.read_frame(&mut self.transport);
            let mut read = pin!(timed(&self.broker, &self.info, read));
            let idle = &mut self.idle;
            std::future::poll_fn(|cx| {
                if let std::task::Poll::Ready(frame) = read.as_mut().poll(cx) {
                    return std::task::Poll::Ready(frame.map_err(Closed::from));
                }
                idle.poll_expired(cx).map(|()| Err(Closed::Idle))
            })
            .await?
        };
        // A login must not take longer than a connection may be idle, however slowly its bytes come.
        if !self.sasl.as_ref().is_some_and(|sasl| sasl.is_first_login()) {
            self.idle.touch();
        }
        Ok(frame)
    }

    /// Serves one request; if it has to wait for something, replies to earlier ones are written first.
    async fn serve(&mut self, frame: Bytes) -> Result<Reply, Closed> {
        let mut serving = pin!(api::serve(&self.broker, &self.info, frame));
        if let std::task::Poll::Ready(reply) = futures::poll!(serving.as_mut()) {
            return Ok(reply);
        }
        self.gathered_bytes = 0;
        let sent = self.transport.write_all(&mut self.gathered);
        timed(&self.broker, &self.info, sent).await?;
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
            let sent = self.transport.write_all(&mut self.gathered);
            timed(&self.broker, &self.info, sent).await?;
        }
        Ok(())
    }
}

/// Sends or receives; where somebody's time has a quota, what it takes counts (not what it waits).
async fn timed<F: Future>(broker: &Broker, info: &ConnectionInfo, work: F) -> F::Output {
    if !broker.client_quotas.request.is_any() {
        return work.await;
    }
    let time = RequestTime::new();
    let done = time.measure(work).await;
    api::count_network_time(broker, info, &time);
    done
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
