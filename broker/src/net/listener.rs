//! Listening sockets and the connections that come in over them.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use broker_admission::SaslListener;
use socket2::{Domain, Protocol, Socket, TcpKeepalive, Type};
use tokio::net::{TcpListener, TcpStream, lookup_host};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tracing::{error, info, warn};

use super::connection;
use super::refusals::Refusals;
use super::tls::uses_tls;
use super::transport::{HANDSHAKE_TIME_MAX, NoTls, Transport};
use crate::Broker;
use crate::api::ConnectionInfo;
use crate::clock;
use crate::config::{BrokerConfig, Endpoint, SecurityProtocol};
use crate::quota::Refusal;

/// At most so many connections of a listener are kept waiting for their end because their addresses are too fast.
const CLOSING_MAX: usize = 1_000;

/// `socket.*` settings. −1 for a buffer: the system's default.
#[derive(Clone, Copy, Debug)]
pub struct SocketSettings {
    /// `socket.send.buffer.bytes`.
    pub send_buffer_bytes: i32,
    /// `socket.receive.buffer.bytes`.
    pub receive_buffer_bytes: i32,
    /// `socket.listen.backlog.size`.
    pub listen_backlog_size: i32,
    /// `socket.request.max.bytes`.
    pub request_max_bytes: i32,
    /// `connections.max.idle.ms`; negative: never.
    pub connections_max_idle_ms: i64,
}

impl SocketSettings {
    /// From the keys of these names.
    pub fn of(config: &BrokerConfig) -> Self {
        Self {
            send_buffer_bytes: config.socket_send_buffer_bytes,
            receive_buffer_bytes: config.socket_receive_buffer_bytes,
            listen_backlog_size: config.socket_listen_backlog_size,
            request_max_bytes: config.socket_request_max_bytes,
            connections_max_idle_ms: config.connections_max_idle_ms,
        }
    }
}

/// Why a listener cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum ListenerError {
    /// The host name has no address.
    #[error("the host of listener {name}, '{host}', cannot be resolved: {cause}")]
    Resolve {
        /// The listener.
        name: String,
        /// Its host.
        host: String,
        /// What the resolver says.
        cause: io::Error,
    },
    /// The port cannot be had.
    #[error("socket server failed to bind to {address} for listener {name}: {cause}")]
    Bind {
        /// The listener.
        name: String,
        /// Where.
        address: SocketAddr,
        /// What the system says.
        cause: io::Error,
    },
}

/// A bound listener. Connections queue in the kernel until [`Listener::serve`].
#[derive(Debug)]
pub struct Listener {
    name: Arc<str>,
    security_protocol: SecurityProtocol,
    socket: TcpListener,
    settings: SocketSettings,
    sasl: Option<Arc<SaslListener>>,
}

impl Listener {
    /// Binds. Without a host it listens on all addresses.
    ///
    /// # Errors
    /// The host has no address, or the port is taken.
    pub async fn bind(endpoint: &Endpoint, settings: SocketSettings) -> Result<Self, ListenerError> {
        let (name, port) = (endpoint.listener_name.as_str(), endpoint.port);
        let host = endpoint.host.as_deref().unwrap_or_default();
        let address = if host.is_empty() {
            // All addresses, over IPv6 where the machine has it: it takes IPv4 connections as well.
            let v6 = SocketAddr::from(([0u16; 8], port));
            let v4 = SocketAddr::from(([0u8; 4], port));
            if Socket::new(Domain::IPV6, Type::STREAM, None).is_ok() {
                v6
            } else {
                v4
            }
        } else {
            let resolve_error = |cause| ListenerError::Resolve {
                name: name.into(),
                host: host.into(),
                cause,
            };
            let mut found = lookup_host((host, port)).await.map_err(resolve_error)?;
            found
                .next()
                .ok_or_else(|| resolve_error(io::ErrorKind::NotFound.into()))?
        };
        let socket = listen(address, &settings).map_err(|cause| ListenerError::Bind {
            name: name.into(),
            address,
            cause,
        })?;
        Ok(Self {
            name: Arc::from(name),
            security_protocol: endpoint.security_protocol,
            socket,
            settings,
            sasl: None,
        })
    }

    /// Asks all who come who they are.
    pub fn set_sasl(&mut self, sasl: SaslListener) {
        self.sasl = Some(Arc::new(sasl));
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The port that it has really got (port 0 asks for any).
    ///
    /// # Errors
    /// The system cannot say.
    pub fn port(&self) -> io::Result<u16> {
        Ok(self.socket.local_addr()?.port())
    }

    /// Accepts and serves connections until the future is dropped; with it all of its connections end.
    pub async fn serve(self, broker: Arc<Broker>) {
        let mut connections = JoinSet::new();
        let quotas = Arc::clone(&broker.connection_quotas);
        let closing = Arc::new(Semaphore::new(CLOSING_MAX));
        let max_request = usize::try_from(self.settings.request_max_bytes).unwrap_or(0);
        let max_idle = match u64::try_from(self.settings.connections_max_idle_ms) {
            Ok(ms) => Duration::from_millis(ms),
            Err(_) => Duration::from_secs(u64::from(u32::MAX)),
        };
        // Made before the listener was; one without TLS has none.
        let tls = broker.tls().listener(&self.name);
        let tls = tls.map(|tls| (tls, Arc::new(Refusals::default())));
        if tls.is_none() && uses_tls(self.security_protocol) {
            error!(listener = %self.name, "there is no TLS for this listener: it takes no connections");
            return;
        }
        loop {
            let (stream, peer) = tokio::select! {
                accepted = self.socket.accept() => match accepted {
                    Ok(accepted) => accepted,
                    Err(error) => {
                        // Out of file descriptors, mostly: existing connections go on, and some will end.
                        warn!(listener = %self.name, %error, "cannot accept connections, trying again");
                        tokio::time::sleep(Duration::from_millis(100)).await;
                        continue;
                    }
                },
                Some(ended) = connections.join_next(), if !connections.is_empty() => {
                    if let Err(failed) = ended
                        && failed.is_panic()
                    {
                        error!(listener = %self.name, %failed, "a connection ended by a panic");
                    }
                    continue;
                }
            };
            // An IPv4 client of a socket that takes both has an address of its own, not one mapped into IPv6.
            let peer = SocketAddr::new(peer.ip().to_canonical(), peer.port());
            let place = match quotas.admit(&self.name, peer.ip(), clock::now).await {
                Ok(place) => place,
                Err(refusal) => {
                    info!(listener = %self.name, %peer, %refusal, "connection refused");
                    if let Refusal::TooFast { pause } = refusal
                        && let Ok(room) = Arc::clone(&closing).try_acquire_owned()
                    {
                        connections.spawn(async move {
                            tokio::time::sleep(Duration::from_millis(pause.0.unsigned_abs())).await;
                            drop((stream, room));
                        });
                    }
                    continue;
                }
            };
            let id = place.id();
            if let Err(error) = prepare(&stream, &self.settings) {
                warn!(listener = %self.name, %peer, %error, "socket options not set");
            }
            let info = Arc::new(ConnectionInfo::new(
                Arc::clone(&self.name),
                self.security_protocol,
                peer,
            ));
            let (broker, tls, sasl) = (Arc::clone(&broker), tls.clone(), self.sasl.clone());
            let serving = async move {
                let transport = match tls {
                    None => Transport::Plain(stream),
                    Some((tls, refusals)) => {
                        let limit = max_idle.min(HANDSHAKE_TIME_MAX);
                        match Transport::secure(stream, &tls, &info, limit).await {
                            Ok(transport) => transport,
                            // Who only looks whether the port is open is not worth a line.
                            Err(NoTls::Gone) => return,
                            Err(reason) => return refusals.tell(&info, &reason),
                        }
                    }
                };
                connection::serve(broker, info, transport, max_request, max_idle, sasl, place).await;
            };
            quotas.serve_by(id, connections.spawn(serving));
        }
    }
}

fn listen(address: SocketAddr, settings: &SocketSettings) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    if address.is_ipv6() {
        socket.set_only_v6(false)?;
    }
    if let Ok(bytes) = usize::try_from(settings.receive_buffer_bytes) {
        socket.set_recv_buffer_size(bytes)?;
    }
    socket.bind(&address.into())?;
    socket.listen(settings.listen_backlog_size)?;
    TcpListener::from_std(socket.into())
}

fn prepare(stream: &TcpStream, settings: &SocketSettings) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let socket = socket2::SockRef::from(stream);
    socket.set_tcp_keepalive(&TcpKeepalive::new())?;
    if let Ok(bytes) = usize::try_from(settings.send_buffer_bytes) {
        socket.set_send_buffer_size(bytes)?;
    }
    Ok(())
}
