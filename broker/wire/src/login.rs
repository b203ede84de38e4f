//! Our own logins by SASL: what a broker or coordinator says over a new connection before anything else.
//!
//! ApiVersions tells in which versions the peer takes SaslHandshake and SaslAuthenticate; then the mechanism's messages
//! go to and fro. A peer without SaslAuthenticate (older than Kafka 1.0) is refused. Knows no mechanism itself.
//!
//! Invariants: at most [`EXCHANGES_MAX`] messages are sent, and none of the peer's is larger than
//! [`MAX_RESPONSE_LEN`]; nothing is read beyond the answer to the last one.
//!
//! Source: Kafka 3.9 `SaslClientAuthenticator`, KIP-43, KIP-152, KIP-368.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use broker_security::sasl::jaas::JaasEntry;
use broker_security::sasl::{
    ClientFactory, ClientFailure, ClientStep, PLAIN, PlainClient, ScramClient, ScramMechanism,
};
use kafka_protocol::messages::{
    ApiKey, ApiVersionsRequest, ApiVersionsResponse, SaslAuthenticateRequest, SaslHandshakeRequest,
};
use kafka_protocol::protocol::{Request, StrBytes};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};

use crate::frame::FrameBuffer;
use crate::transport::{Login, LoginError, LoginFuture, Peer, Session, Transport};
use crate::{apis, codec, header};

/// The largest answer that is read: a list of versions, a token.
const MAX_RESPONSE_LEN: usize = 512 * 1024;
/// The longest mechanism needs three.
const EXCHANGES_MAX: usize = 16;

/// The login of one program to its peers.
pub struct SaslLogin {
    mechanism: Arc<dyn ClientFactory>,
    client_id: String,
}

impl fmt::Debug for SaslLogin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SaslLogin")
            .field("mechanism", &self.mechanism.name())
            .finish_non_exhaustive()
    }
}

impl SaslLogin {
    /// Logs in by this mechanism; `client_id` stands in the headers.
    pub fn new(mechanism: Arc<dyn ClientFactory>, client_id: impl Into<String>) -> Self {
        Self {
            mechanism,
            client_id: client_id.into(),
        }
    }

    /// Logs in by PLAIN or SCRAM with the name and password of a JAAS line.
    ///
    /// # Errors
    /// The line has none, or it is another mechanism.
    pub fn from_jaas(mechanism: &str, jaas: &JaasEntry, client_id: impl Into<String>) -> Result<Self, ClientFailure> {
        let factory: Arc<dyn ClientFactory> = match ScramMechanism::from_name(mechanism) {
            Some(scram) => Arc::new(ScramClient::from_jaas(scram, jaas)?),
            None if mechanism == PLAIN => Arc::new(PlainClient::from_jaas(jaas)?),
            None => {
                return Err(ClientFailure(format!(
                    "no login by {mechanism} with a name and a password"
                )));
            }
        };
        Ok(Self::new(factory, client_id))
    }
}

impl Login for SaslLogin {
    fn login<'a>(&'a self, transport: &'a mut Transport, _to: Peer<'a>) -> LoginFuture<'a> {
        Box::pin(self.over(transport))
    }
}

impl SaslLogin {
    /// Logs in over a stream on which nothing has been sent yet.
    ///
    /// # Errors
    /// As [`Login::login`].
    pub async fn over(&self, stream: &mut (impl AsyncRead + AsyncWrite + Unpin + Send)) -> Result<Session, LoginError> {
        let name = self.mechanism.name();
        let mut machine = self.mechanism.begin().map_err(|failure| refused(failure.0))?;
        let mut exchange = Exchange {
            stream,
            frames: FrameBuffer::new(MAX_RESPONSE_LEN),
            client_id: &self.client_id,
            correlation_id: 0,
        };
        // In version 0, which every broker answers.
        let versions = exchange.ask(&ApiVersionsRequest::default(), 0).await?;
        let handshake_version = common_version(&versions, ApiKey::SaslHandshake)?;
        let authenticate_version = common_version(&versions, ApiKey::SaslAuthenticate)?;
        if handshake_version < 1 {
            return Err(refused("the peer does not take SaslAuthenticate requests".into()));
        }
        let handshake = SaslHandshakeRequest::default().with_mechanism(StrBytes::from_string(name.to_owned()));
        let answer = exchange.ask(&handshake, handshake_version).await?;
        if answer.error_code != 0 {
            let offered: Vec<&str> = answer.mechanisms.iter().map(StrBytes::as_str).collect();
            return Err(refused(format!(
                "Client SASL mechanism '{name}' not enabled in the server, enabled mechanisms are [{}]",
                offered.join(", ")
            )));
        }
        let mut from_server = bytes::Bytes::new();
        let mut lifetime_ms = 0;
        for _ in 0..EXCHANGES_MAX {
            match machine.step(&from_server).map_err(|failure| refused(failure.0))? {
                ClientStep::Done => {
                    if exchange.frames.buffered() != 0 {
                        return Err(refused("the peer has said more than it was asked".into()));
                    }
                    let lifetime = u64::try_from(lifetime_ms).ok().filter(|ms| *ms > 0);
                    return Ok(Session {
                        lifetime: lifetime.map(Duration::from_millis),
                    });
                }
                ClientStep::Send(token) => {
                    let request = SaslAuthenticateRequest::default().with_auth_bytes(token.into());
                    let answer = exchange.ask(&request, authenticate_version).await?;
                    if answer.error_code != 0 {
                        let message = answer.error_message.unwrap_or_default();
                        return Err(refused(format!("{message} (error code {})", answer.error_code)));
                    }
                    from_server = answer.auth_bytes;
                    lifetime_ms = answer.session_lifetime_ms;
                }
            }
        }
        Err(refused(format!("no end of {name} after {EXCHANGES_MAX} messages")))
    }
}

/// The newest version that both sides speak.
fn common_version(versions: &ApiVersionsResponse, key: ApiKey) -> Result<i16, LoginError> {
    let ours = apis::api(key as i16);
    let theirs = versions.api_keys.iter().find(|api| api.api_key == key as i16);
    match (ours, theirs) {
        (Some(ours), Some(theirs))
            if theirs.max_version >= ours.min_version && theirs.min_version <= ours.max_version =>
        {
            Ok(ours.max_version.min(theirs.max_version))
        }
        _ => Err(refused(format!("the peer does not take {key:?} requests"))),
    }
}

struct Exchange<'a, S> {
    stream: &'a mut S,
    frames: FrameBuffer,
    client_id: &'a str,
    correlation_id: i32,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Exchange<'_, S> {
    async fn ask<R: Request>(&mut self, request: &R, version: i16) -> Result<R::Response, LoginError> {
        let malformed =
            |error: &dyn fmt::Display| LoginError::Io(io::Error::new(io::ErrorKind::InvalidData, error.to_string()));
        let correlation_id = self.correlation_id;
        self.correlation_id += 1;
        let frame = codec::encode_request(correlation_id, self.client_id, version, request)
            .map_err(|error| refused(error.to_string()))?;
        self.stream.write_all(&frame).await?;
        self.stream.flush().await?;
        let answer = self
            .frames
            .read_frame(self.stream)
            .await
            .map_err(|error| malformed(&error))?;
        let answer = answer.ok_or_else(|| io::Error::from(io::ErrorKind::UnexpectedEof))?;
        let header_version = apis::api(R::KEY).map_or(0, |api| api.response_header_version(version));
        let (found, body) =
            header::parse_response_header(&answer, header_version).map_err(|error| malformed(&error))?;
        if found != correlation_id {
            return Err(malformed(&format_args!("response {found} instead of {correlation_id}")));
        }
        codec::decode_response::<R>(version, body).map_err(|error| malformed(&error))
    }
}

fn refused(reason: String) -> LoginError {
    LoginError::Refused(reason)
}
