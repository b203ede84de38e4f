//! TLS that can be exchanged while connections are open: by new keys in the configuration, or new content of their files.
//!
//! Invariants: a change is taken whole or not at all; whoever has connected goes on with what there was.
//!
//! Source: Kafka 3.9 `SslFactory.createNewSslEngineFactory`, `CertificateEntries.ensureCompatible`, `SslEngineValidator`.

use std::io;
use std::sync::Arc;

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ServerConfig};
use tokio::net::TcpStream;
use tokio_rustls::{TlsAcceptor, TlsConnector, client, server};

use super::client::client_config;
use super::error::TlsError;
use super::handshake::try_out;
use super::keystore::{CertificateSummary, Material, Stamp};
use super::server::server_config;
use super::settings::TlsSettings;

/// TLS of a listener.
pub type TlsServer = Reloadable<ServerConfig>;
/// TLS of connections that we open.
pub type TlsClient = Reloadable<ClientConfig>;

/// A side of TLS: [`TlsServer`] or [`TlsClient`].
#[derive(Debug)]
pub struct Reloadable<C> {
    build: fn(&TlsSettings, &Material) -> Result<C, TlsError>,
    /// Brokers connect to each other over it: what is new must understand what is old, and itself.
    among_brokers: bool,
    current: ArcSwap<C>,
    state: Mutex<State>,
    /// Held by whoever changes it, files read meanwhile: what was read first must not come last.
    changing: Mutex<()>,
}

#[derive(Debug)]
struct State {
    settings: TlsSettings,
    certificate: Option<CertificateSummary>,
    has_truststore: bool,
    stamps: Vec<Stamp>,
    /// Both sides of a connection among brokers.
    pair: Option<Pair>,
}

#[derive(Clone, Debug)]
struct Pair {
    server: Arc<ServerConfig>,
    client: Arc<ClientConfig>,
}

struct Built<C> {
    config: C,
    state: State,
}

impl TlsServer {
    /// TLS of a listener; `among_brokers` for the one that brokers use among themselves, whose own certificate they must
    /// trust.
    ///
    /// # Errors
    /// The keys or their files cannot be used.
    pub fn server(settings: TlsSettings, among_brokers: bool) -> Result<Self, TlsError> {
        Self::new(settings, server_config, among_brokers)
    }

    /// Takes in a connection: the server's side of the handshake.
    ///
    /// # Errors
    /// The socket's, or an [`rustls::Error`] within.
    pub async fn accept(&self, stream: TcpStream) -> io::Result<server::TlsStream<TcpStream>> {
        TlsAcceptor::from(self.current.load_full()).accept(stream).await
    }
}

impl TlsClient {
    /// TLS of connections that we open.
    ///
    /// # Errors
    /// The keys or their files cannot be used.
    pub fn client(settings: TlsSettings) -> Result<Self, TlsError> {
        Self::new(settings, client_config, false)
    }

    /// Opens TLS over a connection to `host`: the client's side of the handshake.
    ///
    /// # Errors
    /// `host` is neither a name nor an address, the socket's, or an [`rustls::Error`] within.
    pub async fn connect(&self, stream: TcpStream, host: &str) -> io::Result<client::TlsStream<TcpStream>> {
        let host = host
            .strip_prefix('[')
            .and_then(|host| host.strip_suffix(']'))
            .unwrap_or(host);
        let name = ServerName::try_from(host.to_owned())
            .map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))?;
        TlsConnector::from(self.current.load_full()).connect(name, stream).await
    }
}

impl<C> Reloadable<C> {
    fn new(
        settings: TlsSettings,
        build: fn(&TlsSettings, &Material) -> Result<C, TlsError>,
        among_brokers: bool,
    ) -> Result<Self, TlsError> {
        let built = read(settings, build, among_brokers)?;
        if let Some(pair) = &built.state.pair {
            try_out(&pair.server, &pair.client).map_err(|reason| {
                TlsError::Settings(format!(
                    "A client SSLEngine created with the provided settings can't connect to a server SSLEngine created with those settings: {reason}"
                ))
            })?;
        }
        Ok(Self {
            build,
            among_brokers,
            current: ArcSwap::from_pointee(built.config),
            state: Mutex::new(built.state),
            changing: Mutex::default(),
        })
    }

    /// What is told of our certificate, if we have one.
    pub fn certificate(&self) -> Option<CertificateSummary> {
        self.state.lock().certificate.clone()
    }

    /// The settings that count now.
    pub fn settings(&self) -> TlsSettings {
        self.state.lock().settings.clone()
    }

    /// Whether these settings could be taken. Reads files.
    ///
    /// # Errors
    /// Why not.
    pub fn validate(&self, settings: &TlsSettings) -> Result<(), TlsError> {
        self.next(settings.clone()).map(drop)
    }

    /// Takes these settings for connections that are opened from now on; answers whether anything has changed. Reads
    /// files, again if only their content has changed.
    ///
    /// # Errors
    /// Why not; then everything is as it was.
    pub fn reconfigure(&self, settings: TlsSettings) -> Result<bool, TlsError> {
        let _one_at_a_time = self.changing.lock();
        self.change(settings)
    }

    /// Reads the files again, if they have changed; answers whether they have.
    ///
    /// # Errors
    /// They cannot be used; then everything is as it was, and it is tried again.
    pub fn reload(&self) -> Result<bool, TlsError> {
        let _one_at_a_time = self.changing.lock();
        self.change(self.settings())
    }

    fn change(&self, settings: TlsSettings) -> Result<bool, TlsError> {
        {
            let state = self.state.lock();
            if state.settings == settings && state.stamps == Stamp::of(&settings) {
                return Ok(false);
            }
        }
        let built = self.next(settings)?;
        *self.state.lock() = built.state;
        self.current.store(Arc::new(built.config));
        Ok(true)
    }

    fn next(&self, settings: TlsSettings) -> Result<Built<C>, TlsError> {
        let built = read(settings, self.build, self.among_brokers)?;
        self.state
            .lock()
            .ensure_compatible(&built.state)
            .map_err(TlsError::Change)?;
        Ok(built)
    }
}

fn read<C>(
    settings: TlsSettings,
    build: fn(&TlsSettings, &Material) -> Result<C, TlsError>,
    among_brokers: bool,
) -> Result<Built<C>, TlsError> {
    let material = Material::load(&settings)?;
    let config = build(&settings, &material)?;
    let pair = match among_brokers {
        false => None,
        true => Some(Pair {
            server: Arc::new(server_config(&settings, &material)?),
            client: Arc::new(client_config(
                // Which host it is does not matter here.
                &TlsSettings {
                    check_host: false,
                    ..settings.clone()
                },
                &material,
            )?),
        }),
    };
    let certificate = material.keys.as_ref().map(|keys| keys.summary()).transpose()?;
    Ok(Built {
        config,
        state: State {
            settings,
            certificate,
            has_truststore: material.trusted.is_some(),
            stamps: material.stamps,
            pair,
        },
    })
}

impl State {
    /// Whether a running listener may go on with `next`, in Kafka's words.
    fn ensure_compatible(&self, next: &Self) -> Result<(), String> {
        match (&self.certificate, &next.certificate) {
            (None, Some(_)) => {
                return Err(
                    "Cannot add SSL keystore to an existing listener for which no keystore was configured.".into(),
                );
            }
            (Some(_), None) => {
                return Err(
                    "Cannot remove the SSL keystore from an existing listener for which a keystore was configured."
                        .into(),
                );
            }
            (Some(old), Some(new)) => {
                if !next.settings.allow_dn_changes && !old.subject.eq_ignore_ascii_case(&new.subject) {
                    return Err(format!(
                        "Keystore DistinguishedName does not match: existing={{DN={}}}, new={{DN={}}}",
                        old.subject, new.subject
                    ));
                }
                let lost = old
                    .alternative_names
                    .iter()
                    .any(|name| !new.alternative_names.contains(name));
                if !next.settings.allow_san_changes && lost {
                    return Err(format!(
                        "Keystore SubjectAltNames do not match: existing={{SAN=[{}]}}, new={{SAN=[{}]}}",
                        old.alternative_names.join(", "),
                        new.alternative_names.join(", ")
                    ));
                }
            }
            (None, None) => {}
        }
        if !self.has_truststore && next.has_truststore {
            return Err(
                "Cannot add SSL truststore to an existing listener for which no truststore was configured.".into(),
            );
        }
        if let (Some(old), Some(new)) = (&self.pair, &next.pair) {
            try_out(&old.server, &new.client).map_err(|reason| format!("new client, old server: {reason}"))?;
            try_out(&new.server, &old.client).map_err(|reason| format!("old client, new server: {reason}"))?;
        }
        Ok(())
    }
}
