//! TLS of this broker: of its listeners, and of its connections to others of their kind.
//!
//! Reads the `ssl.*` keys of each listener, the listener's own before everybody's, makes what `broker-security` needs, and
//! takes up new certificates: when the configuration changes, and when files do ([`LOOK_AT_FILES`]; Kafka looks only when
//! told to).
//!
//! Source: Kafka 3.9 `ChannelBuilders.serverChannelBuilder`, `SslChannelBuilder`, `DynamicBrokerConfig`; KIP-226.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use broker_security::tls::{
    CertificateSummary, PrincipalMapper, TlsClient, TlsError, TlsServer, TlsSettings, rfc2253_of,
};
use broker_wire::transport::Connector;
use rustls_pki_types::CertificateDer;
use tracing::{error, info, warn};

use crate::blocking;
use crate::config::{BrokerConfig, Reconfigurable, SecurityProtocol};

/// How often it is looked whether files of stores have changed.
const LOOK_AT_FILES: Duration = Duration::from_secs(10);

/// TLS of one listener.
#[derive(Debug)]
pub struct ListenerTls {
    /// Takes in connections.
    pub server: TlsServer,
    /// Who a client is by its certificate; `None` where clients log in by SASL.
    mapper: Option<PrincipalMapper>,
}

impl ListenerTls {
    fn new(config: &BrokerConfig, listener: &str, protocol: SecurityProtocol) -> Result<Self, TlsError> {
        let settings = settings(config, listener, protocol)?;
        for name in &settings.ignored {
            warn!(
                listener,
                name, "TLS version or cipher suite is not there and is left out"
            );
        }
        let mapper = match protocol {
            SecurityProtocol::Ssl => {
                let rules = config.for_listener(listener).text("ssl.principal.mapping.rules");
                let mapper = PrincipalMapper::parse(rules.unwrap_or("DEFAULT"));
                Some(mapper.map_err(|error| TlsError::Settings(error.to_string()))?)
            }
            _ => None,
        };
        let among_brokers = listener == config.inter_broker_listener_name;
        let server = TlsServer::server(settings, among_brokers)?;
        tell(listener, server.certificate());
        Ok(Self { server, mapper })
    }

    /// The user name of a client's certificate, if certificates name users here.
    ///
    /// # Errors
    /// It should, and does not.
    pub(super) fn principal(&self, certificate: &CertificateDer<'_>) -> Result<Option<String>, String> {
        let Some(mapper) = &self.mapper else { return Ok(None) };
        let name = rfc2253_of(certificate).map_err(|error| error.to_string())?;
        mapper.name(&name).map(Some).map_err(|error| error.to_string())
    }
}

/// TLS of all listeners. Empty where none has any.
#[derive(Debug, Default)]
pub struct Tls {
    /// By listener name.
    listeners: ArcSwap<BTreeMap<String, Arc<ListenerTls>>>,
    /// Of connections to such listeners of other brokers: the one among brokers, and the controller's.
    clients: BTreeMap<String, Arc<TlsClient>>,
}

/// A listener whose TLS cannot be had.
#[derive(Debug, thiserror::Error)]
#[error("listener {listener}: {error}")]
pub struct ListenerTlsError {
    /// Its name.
    pub listener: String,
    /// What is wrong.
    pub error: TlsError,
}

impl Tls {
    /// Reads everything that the listeners of this configuration need.
    ///
    /// # Errors
    /// A key or a file that cannot be used.
    pub fn new(config: &BrokerConfig) -> Result<Self, ListenerTlsError> {
        let mut listeners = BTreeMap::new();
        let mut clients = BTreeMap::new();
        for endpoint in &config.listeners {
            let (name, protocol) = (&endpoint.listener_name, endpoint.security_protocol);
            if !uses_tls(protocol) {
                continue;
            }
            let refused = |error| ListenerTlsError {
                listener: name.clone(),
                error,
            };
            let tls = ListenerTls::new(config, name, protocol).map_err(refused)?;
            listeners.insert(name.clone(), Arc::new(tls));
            if is_used_by_brokers(config, name) {
                let settings = settings(config, name, protocol).map_err(refused)?;
                let client = TlsClient::client(settings).map_err(refused)?;
                clients.insert(name.clone(), Arc::new(client));
            }
        }
        Ok(Self {
            listeners: ArcSwap::from_pointee(listeners),
            clients,
        })
    }

    /// TLS of a listener that has it.
    pub(super) fn listener(&self, name: &str) -> Option<Arc<ListenerTls>> {
        self.listeners.load().get(name).cloned()
    }

    /// How other brokers are reached at their listener of this name: over TLS if it has any. Without a login.
    pub fn connector(&self, listener: &str) -> Connector {
        Connector::new(self.clients.get(listener).cloned(), None)
    }

    /// Whether a changed configuration could be taken over; reads files. Listeners that are new are tried as a whole.
    ///
    /// # Errors
    /// Why not.
    pub fn validate(&self, next: &BrokerConfig) -> Result<(), ListenerTlsError> {
        let listeners = self.listeners.load();
        for endpoint in &next.listeners {
            let (name, protocol) = (&endpoint.listener_name, endpoint.security_protocol);
            if !uses_tls(protocol) {
                continue;
            }
            let refused = |error| ListenerTlsError {
                listener: name.clone(),
                error,
            };
            match listeners.get(name) {
                None => drop(ListenerTls::new(next, name, protocol).map_err(refused)?),
                Some(tls) => {
                    let settings = settings(next, name, protocol).map_err(refused)?;
                    tls.server.validate(&settings).map_err(refused)?;
                    if let Some(client) = self.clients.get(name) {
                        client.validate(&settings).map_err(refused)?;
                    }
                }
            }
        }
        Ok(())
    }

    /// Takes over a changed configuration, and files that have changed, for connections from now on. A listener for
    /// which that fails goes on as it is; the reason is logged.
    pub fn reconfigure(&self, next: &BrokerConfig) {
        let mut listeners = BTreeMap::clone(&self.listeners.load());
        listeners.retain(|name, _| next.listeners.iter().any(|endpoint| endpoint.listener_name == *name));
        for endpoint in &next.listeners {
            let (name, protocol) = (&endpoint.listener_name, endpoint.security_protocol);
            if !uses_tls(protocol) {
                continue;
            }
            if let Err(error) = self.reconfigure_listener(next, name, protocol, &mut listeners) {
                error!(listener = name.as_str(), %error, "TLS cannot be changed; the listener goes on as it is");
            }
        }
        self.listeners.store(Arc::new(listeners));
    }

    fn reconfigure_listener(
        &self,
        next: &BrokerConfig,
        name: &str,
        protocol: SecurityProtocol,
        listeners: &mut BTreeMap<String, Arc<ListenerTls>>,
    ) -> Result<(), TlsError> {
        let Some(tls) = listeners.get(name) else {
            let tls = ListenerTls::new(next, name, protocol)?;
            listeners.insert(name.to_owned(), Arc::new(tls));
            return Ok(());
        };
        let settings = settings(next, name, protocol)?;
        if tls.server.reconfigure(settings.clone())? {
            tell(name, tls.server.certificate());
        }
        if let Some(client) = self.clients.get(name) {
            client.reconfigure(settings)?;
        }
        Ok(())
    }

    /// Takes up files that have changed, under the keys that count. Not those of the configuration: a newer one may be
    /// on its way.
    fn reload_files(&self) {
        for (name, tls) in self.listeners.load().iter() {
            let reload = || {
                if tls.server.reload()? {
                    tell(name, tls.server.certificate());
                }
                self.clients.get(name).map_or(Ok(false), |client| client.reload())
            };
            if let Err(error) = reload() {
                error!(listener = name.as_str(), %error, "TLS cannot be changed; the listener goes on as it is");
            }
        }
    }

    /// Looks at the files again and again.
    pub async fn follow_files(self: Arc<Self>) {
        loop {
            tokio::time::sleep(LOOK_AT_FILES).await;
            // A listener with TLS may come later.
            if self.listeners.load().is_empty() {
                continue;
            }
            let tls = Arc::clone(&self);
            blocking::run(move || tls.reload_files()).await;
        }
    }
}

/// What is refused here is refused before it is written to ZooKeeper. Source: Kafka 3.9 `SslFactory`.
impl Reconfigurable for Tls {
    fn validate(&self, _: &BrokerConfig, next: &BrokerConfig) -> Result<(), String> {
        Tls::validate(self, next)
            .map_err(|error| format!("Validation of dynamic config update of SSLFactory failed: {error}"))
    }

    fn reconfigure(&self, _: &BrokerConfig, after: &BrokerConfig) {
        Tls::reconfigure(self, after);
    }

    fn reload(&self, config: &BrokerConfig) -> Result<(), String> {
        Tls::validate(self, config).map_err(|error| format!("Reload of SSL stores failed: {error}"))?;
        Tls::reconfigure(self, config);
        Ok(())
    }
}

/// Whether connections of this kind are encrypted.
pub(super) const fn uses_tls(protocol: SecurityProtocol) -> bool {
    matches!(protocol, SecurityProtocol::Ssl | SecurityProtocol::SaslSsl)
}

fn is_used_by_brokers(config: &BrokerConfig, listener: &str) -> bool {
    config.inter_broker_listener_name == listener || config.control_plane_listener_name.as_deref() == Some(listener)
}

/// The keys as this listener sees them.
fn settings(config: &BrokerConfig, listener: &str, protocol: SecurityProtocol) -> Result<TlsSettings, TlsError> {
    let values = config.for_listener(listener);
    TlsSettings::read(|key| {
        let text = match (key, protocol) {
            // Where clients log in by SASL they need no certificate, unless this very listener asks for one.
            // Source: Kafka `ChannelBuilders.create`, KIP-684.
            ("ssl.client.auth", SecurityProtocol::SaslSsl) => values.own_text(key),
            _ => values.text(key),
        };
        text.map(str::to_owned)
    })
}

fn tell(listener: &str, certificate: Option<CertificateSummary>) {
    if let Some(certificate) = certificate {
        let (subject, not_after) = (certificate.subject, certificate.not_after_text);
        info!(listener, subject, not_after, "TLS certificate in use");
    }
}
