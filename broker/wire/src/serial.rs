//! A connection of ours for one request at a time: whoever asks also writes and reads.
//!
//! For those who never have two requests on their way (replica fetchers). [`crate::client::Connection`] has tasks of its
//! own for writing and reading, so that many can share it; each exchange over it wakes four tasks, and waking was the
//! largest part of what a follower spent on small fetches. Here nobody is woken but by the socket.
//!
//! Invariants: as for [`crate::client`]; an exchange that fails or is dropped halfway leaves a connection that is not used
//! again, because its stream stands in the middle of something.

use std::time::{Duration, Instant};

use kafka_protocol::protocol::Request;
use tokio::io::AsyncWriteExt;

use crate::apis;
use crate::client::{ClientError, Closed, Options};
use crate::codec::{self, EncodeError};
use crate::frame::FrameBuffer;
use crate::header;
use crate::transport::Transport;

/// An open connection without tasks. Dropping it closes it.
#[derive(Debug)]
pub struct SerialConnection {
    stream: Transport,
    frames: FrameBuffer,
    next_correlation_id: i32,
    client_id: String,
    request_timeout: Duration,
    /// An exchange has begun and not ended.
    broken: bool,
    /// From when on the peer may close it, because the login is too old.
    expires: Option<Instant>,
}

impl SerialConnection {
    /// Connects as [`Options::connector`] says. `max_in_flight` is one, whatever the options say.
    ///
    /// # Errors
    /// No connection within the time, refused, or not authenticated.
    pub async fn connect(host: &str, port: u16, options: Options) -> Result<Self, ClientError> {
        let opened = options.connector.connect(host, port, options.connect_timeout).await?;
        Ok(Self {
            stream: opened.transport,
            expires: opened.expires,
            frames: FrameBuffer::new(options.max_response_len),
            next_correlation_id: 0,
            client_id: options.client_id,
            request_timeout: options.request_timeout,
            broken: false,
        })
    }

    /// Whether it should not be used again: the last exchange has not ended well, and the next one would fail; or its
    /// login grows too old.
    pub fn is_broken(&self) -> bool {
        self.broken || self.expires.is_some_and(|expires| expires <= Instant::now())
    }

    /// Sends a request and waits for its response.
    ///
    /// # Errors
    /// The connection is of no use any more.
    pub async fn send<R: Request>(&mut self, request: &R, version: i16) -> Result<R::Response, ClientError> {
        if core::mem::replace(&mut self.broken, true) {
            return Err(ClientError::Closed(Closed::ByUs));
        }
        let limit = self.request_timeout;
        let response = tokio::time::timeout(limit, self.exchange(request, version))
            .await
            .unwrap_or(Err(ClientError::Closed(Closed::Timeout(limit))))?;
        self.broken = false;
        Ok(response)
    }

    async fn exchange<R: Request>(&mut self, request: &R, version: i16) -> Result<R::Response, ClientError> {
        let transport =
            |error: &dyn core::fmt::Display| ClientError::Closed(Closed::Transport(error.to_string().into()));
        let api = apis::api(R::KEY).ok_or(EncodeError::UnknownApi(R::KEY))?;
        let expected = self.next_correlation_id;
        self.next_correlation_id = expected.wrapping_add(1);
        let frame = codec::encode_request(expected, &self.client_id, version, request)?;
        self.stream.write_all(&frame).await.map_err(|error| transport(&error))?;
        self.stream.flush().await.map_err(|error| transport(&error))?;
        let answer = self.frames.read_frame(&mut self.stream).await;
        let answer = answer.map_err(|error| transport(&error))?;
        let answer = answer.ok_or(ClientError::Closed(Closed::ByPeer))?;
        let malformed = |malformed| ClientError::Closed(Closed::Malformed(malformed));
        let (found, body) =
            header::parse_response_header(&answer, api.response_header_version(version)).map_err(malformed)?;
        if found != expected {
            return Err(ClientError::Closed(Closed::Correlation { expected, found }));
        }
        codec::decode_response::<R>(version, body).map_err(malformed)
    }
}
