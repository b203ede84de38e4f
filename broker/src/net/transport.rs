//! What a connection that has come in goes over: TCP, or TLS over TCP.
//!
//! The plain way is a bare socket, to which files go by `sendfile`. TLS is opened here, within [`HANDSHAKE_TIME_MAX`], by the
//! connection's own task, so that nobody's handshake holds up another's; whose certificate the peer has shown becomes the
//! connection's principal.
//!
//! Invariant: before the handshake has ended nothing of what the peer sends is kept beyond one TLS message.
//!
//! Source: Kafka 3.9 `SslTransportLayer`, `SslChannelBuilder`, `DefaultKafkaPrincipalBuilder`.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use broker_security::principal::KafkaPrincipal;
use broker_security::tls::speaks_plaintext;
use broker_wire::placeholder::Part;
use bytes::Bytes;
use tokio::io::{AsyncRead, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;

use super::reply::FromFile;
use super::tls::ListenerTls;
use super::{send, send_tls};
use crate::api::ConnectionInfo;

/// How long a handshake may take; less where connections may be idle for less.
pub(super) const HANDSHAKE_TIME_MAX: Duration = Duration::from_secs(30);

/// The stream of a connection.
pub(super) enum Transport {
    /// TCP.
    Plain(TcpStream),
    /// TLS over TCP.
    Tls(Box<TlsStream<TcpStream>>),
}

/// Why TLS could not be opened.
#[derive(Debug, thiserror::Error)]
pub(super) enum NoTls {
    #[error("SSL handshake failed: peer speaks plaintext to a TLS port")]
    Plaintext,
    #[error("SSL handshake failed: {0}")]
    Refused(io::Error),
    #[error("no SSL handshake within {0:?}")]
    TooSlow(Duration),
    #[error("closed by the peer during the SSL handshake")]
    Gone,
    #[error("the peer's certificate names nobody: {0}")]
    NoPrincipal(String),
}

impl Transport {
    /// Opens TLS on a connection, and says whose it is.
    pub(super) async fn secure(
        stream: TcpStream,
        tls: &ListenerTls,
        info: &ConnectionInfo,
        limit: Duration,
    ) -> Result<Self, NoTls> {
        let accepted = tokio::time::timeout(limit, tls.server.accept(stream)).await;
        let stream = match accepted {
            Err(_) => return Err(NoTls::TooSlow(limit)),
            Ok(Err(error)) if speaks_plaintext(&error) => return Err(NoTls::Plaintext),
            Ok(Err(error)) => {
                use io::ErrorKind::{BrokenPipe, ConnectionReset, UnexpectedEof};
                return Err(match error.kind() {
                    UnexpectedEof | ConnectionReset | BrokenPipe => NoTls::Gone,
                    _ => NoTls::Refused(error),
                });
            }
            Ok(Ok(stream)) => stream,
        };
        let (_, session) = stream.get_ref();
        if let Some(certificate) = session.peer_certificates().and_then(|chain| chain.first())
            && let Some(name) = tls.principal(certificate).map_err(NoTls::NoPrincipal)?
        {
            info.set_principal(KafkaPrincipal::user(name));
        }
        Ok(Self::Tls(Box::new(stream)))
    }

    /// Writes these frames, in order.
    pub(super) async fn write_all(&mut self, frames: &mut Vec<Bytes>) -> io::Result<()> {
        match self {
            Self::Plain(stream) => send::write_all(stream, frames).await,
            Self::Tls(stream) => send_tls::write_all(stream, frames).await,
        }
    }

    /// Writes what is gathered in `frames`, then the parts of one reply, in order.
    pub(super) async fn write_parts(
        &mut self,
        frames: &mut Vec<Bytes>,
        parts: Vec<Part>,
        files: Vec<FromFile>,
    ) -> io::Result<()> {
        match self {
            Self::Plain(stream) => send::write_parts(stream, frames, parts, files).await,
            Self::Tls(stream) => send_tls::write_parts(stream, frames, parts, files).await,
        }
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
