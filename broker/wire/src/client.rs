//! A connection of ours to another broker: requests out, responses back in the same order.
//!
//! The versions are the caller's: between brokers they follow from `inter.broker.protocol.version` and nobody sends
//! ApiVersions ([`Connection::api_versions`] is there for others). Does not reconnect, retry or back off: it ends, says
//! why, and the caller makes another.
//!
//! Invariants: responses are matched in order, and their correlation ids are checked; a response that is late, malformed,
//! too large or not asked for ends the connection, because nothing after it can be trusted; every waiting request
//! is then answered with the reason. At most `max_in_flight` requests are on their way.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use kafka_protocol::messages::{ApiVersionsRequest, ApiVersionsResponse};
use kafka_protocol::protocol::Request;
use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, mpsc, oneshot};

use crate::apis;
use crate::codec::{self, EncodeError};
use crate::frame::FrameBuffer;
use crate::guard::Malformed;
use crate::header;
use crate::transport::Connector;

/// How a connection behaves.
#[derive(Debug, Clone)]
pub struct Options {
    /// Sent in every request's header; at most 32,767 bytes.
    pub client_id: String,
    /// How long resolving, connecting, TLS and login may take together (`socket.connection.setup.timeout.ms`).
    pub connect_timeout: Duration,
    /// How long a response may take (`request.timeout.ms`, `controller.socket.timeout.ms`).
    pub request_timeout: Duration,
    /// The largest response that is read.
    pub max_response_len: usize,
    /// How many requests may wait for their response at once.
    pub max_in_flight: usize,
    /// TLS and login.
    pub connector: Connector,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            client_id: String::new(),
            connect_timeout: Duration::from_secs(10),
            request_timeout: Duration::from_secs(30),
            max_response_len: 100 << 20,
            max_in_flight: 5,
            connector: Connector::plaintext(),
        }
    }
}

/// Why a request got no answer.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ClientError {
    /// No connection within the time, or refused.
    #[error("cannot connect to {address}: {error}")]
    Connect {
        /// Host and port.
        address: String,
        /// The system's reason.
        error: Arc<io::Error>,
    },
    /// Connected, but TLS or the login has failed.
    #[error("cannot authenticate with {address}: {reason}")]
    Authentication {
        /// Host and port.
        address: String,
        /// Which step, and why; never with a secret in it.
        reason: Arc<str>,
    },
    /// The connection has ended; the request may or may not have been acted upon.
    #[error("connection closed: {0}")]
    Closed(Closed),
    /// The request was not sent: it cannot be said in this version.
    #[error(transparent)]
    Encode(#[from] EncodeError),
}

/// Why a connection has ended.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Closed {
    /// The peer closed it between two responses.
    #[error("by the peer")]
    ByPeer,
    /// We closed it.
    #[error("by this side")]
    ByUs,
    /// A response did not come in time.
    #[error("no response within {0:?}")]
    Timeout(Duration),
    /// Reading or writing failed, or a frame was too large or cut.
    #[error("{0}")]
    Transport(Arc<str>),
    /// A response that answers something else.
    #[error("response {found} instead of {expected}")]
    Correlation {
        /// Correlation id of the request that waited longest.
        expected: i32,
        /// Correlation id of the response.
        found: i32,
    },
    /// A response that does not look like one.
    #[error("malformed response: {0}")]
    Malformed(#[from] Malformed),
}

/// An open connection. Dropping it closes it.
#[derive(Debug)]
pub struct Connection {
    shared: Arc<Shared>,
    outgoing: mpsc::UnboundedSender<Outgoing>,
    in_flight: Arc<Semaphore>,
    next_correlation_id: AtomicI32,
    client_id: String,
    request_timeout: Duration,
    /// From when on the peer may close it, because the login is too old.
    expires: Option<Instant>,
}

impl Connection {
    /// Connects as [`Options::connector`] says.
    ///
    /// # Errors
    /// No connection within the time, refused, or not authenticated.
    pub async fn connect(host: &str, port: u16, options: Options) -> Result<Connection, ClientError> {
        let opened = options.connector.connect(host, port, options.connect_timeout).await?;
        let mut connection = Connection::over(opened.transport, options);
        connection.expires = opened.expires;
        Ok(connection)
    }

    /// Speaks over a stream that is there already.
    pub fn over(transport: impl AsyncRead + AsyncWrite + Send + Unpin + 'static, options: Options) -> Connection {
        let shared = Arc::new(Shared::default());
        let (outgoing, queued) = mpsc::unbounded_channel();
        let (reader, writer) = tokio::io::split(transport);
        tokio::spawn(write_requests(writer, queued, Arc::clone(&shared)));
        tokio::spawn(read_responses(reader, options.max_response_len, Arc::clone(&shared)));
        Connection {
            shared,
            outgoing,
            in_flight: Arc::new(Semaphore::new(options.max_in_flight)),
            next_correlation_id: AtomicI32::new(0),
            client_id: options.client_id,
            request_timeout: options.request_timeout,
            expires: None,
        }
    }

    /// Sends a request and waits for its response.
    ///
    /// Requests are sent in the order in which this is first polled. The time counts from the call, waiting for a free
    /// place in flight included; when it is over the connection is closed.
    pub async fn send<R: Request>(&self, request: &R, version: i16) -> Result<R::Response, ClientError> {
        match tokio::time::timeout(self.request_timeout, self.exchange(request, version)).await {
            Ok(answer) => answer,
            Err(_) => Err(self.fail(Closed::Timeout(self.request_timeout))),
        }
    }

    /// Asks which versions the peer speaks.
    ///
    /// In version 0, which every broker since 0.10 answers; later versions tell features besides, and a peer that
    /// does not know the version would answer in version 0 all the same (KIP-511).
    pub async fn api_versions(&self) -> Result<ApiVersionsResponse, ClientError> {
        self.send(&ApiVersionsRequest::default(), 0).await
    }

    /// Why the connection has ended, if it has.
    pub fn closed_reason(&self) -> Option<Closed> {
        self.shared.state.lock().closed.clone()
    }

    /// Whether the connection has ended, or should not be used for another request because its login grows too old.
    pub fn is_closed(&self) -> bool {
        self.expires.is_some_and(|expires| expires <= Instant::now()) || self.shared.state.lock().closed.is_some()
    }

    /// Waits until the connection has ended.
    pub async fn closed(&self) -> Closed {
        self.shared.closed().await
    }

    /// Ends the connection; requests that wait fail with [`Closed::ByUs`].
    pub fn close(&self) {
        self.shared.close(Closed::ByUs);
    }

    async fn exchange<R: Request>(&self, request: &R, version: i16) -> Result<R::Response, ClientError> {
        let place = Arc::clone(&self.in_flight)
            .acquire_owned()
            .await
            .map_err(|_| self.fail(Closed::ByUs))?;
        let api = apis::api(R::KEY).ok_or(EncodeError::UnknownApi(R::KEY))?;
        let correlation_id = self.next_correlation_id.fetch_add(1, Ordering::Relaxed);
        let frame = codec::encode_request(correlation_id, &self.client_id, version, request)?;
        let (answer, answered) = oneshot::channel();
        let waiter = Waiter {
            correlation_id,
            header_version: api.response_header_version(version),
            answer,
            _place: place,
        };
        if self.outgoing.send(Outgoing { frame, waiter }).is_err() {
            return Err(self.fail(Closed::ByUs));
        }
        let body = match answered.await {
            Ok(Ok(body)) => body,
            Ok(Err(closed)) => return Err(ClientError::Closed(closed)),
            // The tasks drop a waiter only when the connection has ended.
            Err(_) => return Err(self.fail(Closed::ByUs)),
        };
        codec::decode_response::<R>(version, body).map_err(|malformed| self.fail(Closed::Malformed(malformed)))
    }

    /// Ends the connection, and returns the first reason for which it ended.
    fn fail(&self, reason: Closed) -> ClientError {
        ClientError::Closed(self.shared.close(reason))
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.close();
    }
}

/// A request on its way to the writing task.
#[derive(Debug)]
struct Outgoing {
    frame: Bytes,
    waiter: Waiter,
}

/// Someone who waits for a response.
#[derive(Debug)]
struct Waiter {
    correlation_id: i32,
    header_version: i16,
    answer: oneshot::Sender<Result<Bytes, Closed>>,
    /// Its place in flight: held until answered, also when the caller has given up.
    _place: OwnedSemaphorePermit,
}

/// What the two tasks and the callers share.
#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    ended: Notify,
}

#[derive(Debug, Default)]
struct State {
    /// In the order of their requests on the wire.
    waiters: VecDeque<Waiter>,
    closed: Option<Closed>,
}

impl Shared {
    /// Ends the connection, unless it has ended; returns why it has.
    fn close(&self, reason: Closed) -> Closed {
        let (reason, waiters) = {
            let mut state = self.state.lock();
            if let Some(earlier) = &state.closed {
                return earlier.clone();
            }
            state.closed = Some(reason.clone());
            (reason, std::mem::take(&mut state.waiters))
        };
        self.ended.notify_waiters();
        for waiter in waiters {
            // A caller that has given up is no loss.
            let _ = waiter.answer.send(Err(reason.clone()));
        }
        reason
    }

    async fn closed(&self) -> Closed {
        loop {
            // Made before looking, so that an end in between is not missed.
            let ended = self.ended.notified();
            if let Some(reason) = self.state.lock().closed.clone() {
                return reason;
            }
            ended.await;
        }
    }

    /// Queues whoever waits, before the request is written: the response cannot be earlier.
    fn expect(&self, waiter: Waiter) -> bool {
        let mut state = self.state.lock();
        if let Some(reason) = &state.closed {
            let _ = waiter.answer.send(Err(reason.clone()));
            return false;
        }
        state.waiters.push_back(waiter);
        true
    }

    /// Gives a response to whoever has waited longest.
    fn answer(&self, frame: &Bytes) -> Result<(), Closed> {
        let waiter = self.state.lock().waiters.pop_front();
        let Some(waiter) = waiter else {
            return Err(Closed::Transport("response without a request".into()));
        };
        let outcome = match header::parse_response_header(frame, waiter.header_version) {
            Ok((found, body)) if found == waiter.correlation_id => Ok(body),
            Ok((found, _)) => Err(Closed::Correlation {
                expected: waiter.correlation_id,
                found,
            }),
            Err(malformed) => Err(Closed::Malformed(malformed)),
        };
        let passed_on = outcome.as_ref().map(|_| ()).map_err(Clone::clone);
        let _ = waiter.answer.send(outcome);
        passed_on
    }
}

async fn write_requests(
    mut writer: impl AsyncWrite + Unpin,
    mut queued: mpsc::UnboundedReceiver<Outgoing>,
    shared: Arc<Shared>,
) {
    let write_all = async {
        while let Some(Outgoing { frame, waiter }) = queued.recv().await {
            if !shared.expect(waiter) {
                return;
            }
            if let Err(error) = async {
                writer.write_all(&frame).await?;
                writer.flush().await
            }
            .await
            {
                shared.close(Closed::Transport(error.to_string().into()));
                return;
            }
        }
    };
    tokio::select! {
        () = write_all => {}
        _ = shared.closed() => {}
    }
    // The peer may be gone already; there is nobody left to tell.
    let _ = writer.shutdown().await;
}

async fn read_responses(mut reader: impl AsyncRead + Unpin, max_len: usize, shared: Arc<Shared>) {
    let mut buffer = FrameBuffer::new(max_len);
    let read_all = async {
        loop {
            match buffer.read_frame(&mut reader).await {
                Ok(Some(frame)) => {
                    if let Err(reason) = shared.answer(&frame) {
                        return reason;
                    }
                }
                Ok(None) => return Closed::ByPeer,
                Err(error) => return Closed::Transport(error.to_string().into()),
            }
        }
    };
    tokio::select! {
        reason = read_all => { shared.close(reason); }
        _ = shared.closed() => {}
    }
}
