//! What our own connections go over, and how they are opened: TCP, then TLS, then a login, each where it is asked for.
//!
//! A [`Connector`] is made once from the configuration of a listener and shared by all that connect to such listeners:
//! fetchers, the channel to the controller, the controller itself. Decides nothing about retries.
//!
//! Invariants: what [`Connector::connect`] returns has passed every step, within one bound of time; nothing is sent over a
//! connection before. A plain connection without a login is a bare socket: reading costs one branch.
//!
//! Source: Kafka 3.9 `ChannelBuilders.clientChannelBuilder`, `BrokerBlockingSender`.

use std::fmt;
use std::future::Future;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use broker_security::tls::TlsClient;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

use crate::client::ClientError;

/// An open stream of bytes to a peer.
#[derive(Debug)]
pub enum Transport {
    /// TCP.
    Plain(TcpStream),
    /// TLS over TCP.
    Tls(Box<TlsStream<TcpStream>>),
}

/// Logs in over a new connection, before anything else goes over it. Implemented by SASL.
pub trait Login: fmt::Debug + Send + Sync + 'static {
    /// Says who we are. Nothing has been sent yet, and nothing of what comes after may be read.
    fn login<'a>(&'a self, transport: &'a mut Transport, to: Peer<'a>) -> LoginFuture<'a>;
}

/// What [`Login::login`] returns.
pub type LoginFuture<'a> = Pin<Box<dyn Future<Output = Result<Session, LoginError>> + Send + 'a>>;

/// To whom a connection goes.
#[derive(Clone, Copy, Debug)]
pub struct Peer<'a> {
    /// As it was asked for, not resolved.
    pub host: &'a str,
    /// Its port.
    pub port: u16,
}

/// What a login has come to.
#[derive(Clone, Copy, Debug, Default)]
pub struct Session {
    /// How long the peer lets it be used (KIP-368); `None`: for ever.
    pub lifetime: Option<Duration>,
}

/// Why a login has failed.
#[derive(Debug, thiserror::Error)]
pub enum LoginError {
    /// The peer does not accept who we are, or we do not trust it. Never with a secret in it.
    #[error("{0}")]
    Refused(String),
    /// The connection was lost meanwhile, or spoke something else.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// Opens connections.
#[derive(Clone, Debug, Default)]
pub struct Connector {
    tls: Option<Arc<TlsClient>>,
    login: Option<Arc<dyn Login>>,
}

/// A connection that is ready for requests.
#[derive(Debug)]
pub struct Opened {
    /// Its stream.
    pub transport: Transport,
    /// From when on another one must be opened, because the peer would close this one.
    pub expires: Option<Instant>,
}

/// A part of a session's lifetime that is used at most; the rest is for what is on its way.
/// Source: Kafka 3.9 `SaslClientAuthenticator`, which begins again after 85 % to 95 %.
const LIFETIME_USED_PERCENT: u32 = 85;

impl Connector {
    /// Plain TCP, without a login.
    pub fn plaintext() -> Self {
        Self::default()
    }

    /// With TLS and a login, where given.
    pub fn new(tls: Option<Arc<TlsClient>>, login: Option<Arc<dyn Login>>) -> Self {
        Self { tls, login }
    }

    /// The same with another login.
    pub fn with_login(self, login: Option<Arc<dyn Login>>) -> Self {
        Self { login, ..self }
    }

    /// Opens a connection, without Nagle's delay.
    ///
    /// # Errors
    /// Not connected within `limit`, refused, or either side does not accept the other.
    pub async fn connect(&self, host: &str, port: u16, limit: Duration) -> Result<Opened, ClientError> {
        let failed = |error: io::Error| ClientError::Connect {
            address: format!("{host}:{port}"),
            error: Arc::new(error),
        };
        match tokio::time::timeout(limit, self.open(host, port)).await {
            Ok(opened) => opened,
            Err(elapsed) => Err(failed(elapsed.into())),
        }
    }

    async fn open(&self, host: &str, port: u16) -> Result<Opened, ClientError> {
        let address = || format!("{host}:{port}");
        let failed = |error: io::Error| ClientError::Connect {
            address: address(),
            error: Arc::new(error),
        };
        let refused = |reason: String| ClientError::Authentication {
            address: address(),
            reason: reason.into(),
        };
        let stream = TcpStream::connect((host, port)).await.map_err(failed)?;
        stream.set_nodelay(true).map_err(failed)?;
        let mut transport = match &self.tls {
            None => Transport::Plain(stream),
            Some(tls) => match tls.connect(stream, host).await {
                Ok(stream) => Transport::Tls(Box::new(stream)),
                Err(error) => return Err(refused(format!("SSL handshake failed: {error}"))),
            },
        };
        let mut expires = None;
        if let Some(login) = &self.login {
            let began = Instant::now();
            let session = match login.login(&mut transport, Peer { host, port }).await {
                Ok(session) => session,
                Err(LoginError::Refused(reason)) => return Err(refused(reason)),
                Err(LoginError::Io(error)) => return Err(failed(error)),
            };
            // A lifetime beyond what the clock can say is none.
            expires = session
                .lifetime
                .and_then(|lifetime| began.checked_add(lifetime / 100 * LIFETIME_USED_PERCENT));
        }
        Ok(Opened { transport, expires })
    }
}

impl AsyncRead for Transport {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_read(cx, buf),
            Self::Tls(stream) => Pin::new(stream).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Transport {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write(cx, buf),
            Self::Tls(stream) => Pin::new(stream).poll_write(cx, buf),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
            Self::Tls(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Self::Plain(stream) => stream.is_write_vectored(),
            Self::Tls(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Self::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}
