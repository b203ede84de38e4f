//! How a dedicated coordinator and the brokers reach each other: TLS and logins, by the keys that brokers have for their
//! listener between brokers.
//!
//! `inter.broker.listener.name` and `listener.security.protocol.map` say how brokers are spoken to; `ssl.*` and
//! `sasl.jaas.config` may stand with that listener's prefix. Where it has TLS, so has the coordinator's own port: there a peer
//! must show a certificate whose name, after `ssl.principal.mapping.rules`, is among `super.users`. Who may ask a controller for
//! changes is a broker, and there are no access control lists here. Without `super.users` whoever has a certificate may
//! (`ssl.client.auth=required`), or everybody, which is logged. A login by SASL is not asked for.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use broker_security::sasl::jaas;
use broker_security::tls::{ClientAuth, PrincipalMapper, TlsClient, TlsError, TlsServer, TlsSettings, rfc2253_of};
use broker_wire::login::SaslLogin;
use broker_wire::transport::{Connector, Login};
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;

/// How often it is looked whether files of stores have changed.
const LOOK_AT_FILES: Duration = Duration::from_secs(10);

/// The keys that are read here, besides those with a listener's prefix.
pub(crate) fn is_known(key: &str) -> bool {
    const KEYS: [&str; 4] = [
        "super.users",
        "listener.security.protocol.map",
        "sasl.jaas.config",
        "sasl.mechanism.inter.broker.protocol",
    ];
    KEYS.contains(&key) || key.starts_with("ssl.") || key.starts_with("ottla.ssl.") || key.starts_with("listener.name.")
}

/// The security of the listener between brokers, as it stands in `coordinator.properties`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Security {
    tls: Option<TlsSettings>,
    guests: Option<Guests>,
    login: Option<LoginSettings>,
}

/// Who is let in, by certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Guests {
    /// `ssl.principal.mapping.rules`.
    rules: String,
    /// Of `super.users`, without `User:`.
    names: BTreeSet<String>,
}

#[derive(Clone, PartialEq, Eq)]
struct LoginSettings {
    mechanism: String,
    /// A secret.
    jaas: String,
}

impl std::fmt::Debug for LoginSettings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LoginSettings")
            .field("mechanism", &self.mechanism)
            .finish_non_exhaustive()
    }
}

impl Security {
    /// Reads the keys for this listener.
    ///
    /// # Errors
    /// What is wrong with them.
    pub(crate) fn read(given: &BTreeMap<String, String>, listener: &str) -> Result<Self, String> {
        let protocol = protocol(given, listener)?;
        let prefix = format!("listener.name.{}.", listener.to_lowercase());
        let value = |key: &str| given.get(&format!("{prefix}{key}")).or_else(|| given.get(key)).cloned();
        let mut tls = match protocol.ends_with("SSL") {
            true => Some(TlsSettings::read(value).map_err(|error| error.to_string())?),
            false => None,
        };
        let guests = match (&mut tls, given.get("super.users").map(|users| users.trim())) {
            (Some(tls), Some(users)) if !users.is_empty() => {
                tls.client_auth = ClientAuth::Required;
                Some(Guests {
                    rules: value("ssl.principal.mapping.rules").unwrap_or_else(|| "DEFAULT".to_owned()),
                    names: super_users(users),
                })
            }
            _ => None,
        };
        let login = match protocol.starts_with("SASL_") {
            false => None,
            true => {
                let mechanism = value("sasl.mechanism.inter.broker.protocol").unwrap_or_else(|| "GSSAPI".to_owned());
                let key = format!("{}.sasl.jaas.config", mechanism.to_lowercase());
                let jaas = given
                    .get(&format!("{prefix}{key}"))
                    .cloned()
                    .or_else(|| value("sasl.jaas.config"));
                let jaas = jaas.ok_or_else(|| format!("brokers want a login: set {prefix}{key}"))?;
                Some(LoginSettings { mechanism, jaas })
            }
        };
        Ok(Self { tls, guests, login })
    }

    /// Makes what these settings ask for. Reads files.
    ///
    /// # Errors
    /// A file or a JAAS line that cannot be used.
    pub fn open(&self) -> Result<Opened, String> {
        let (client, server) = match &self.tls {
            Some(settings) => {
                let client = TlsClient::client(settings.clone()).map_err(|error| error.to_string())?;
                let server = TlsServer::server(settings.clone(), true).map_err(|error| error.to_string())?;
                (Some(Arc::new(client)), Some(Arc::new(server)))
            }
            None => (None, None),
        };
        let login = match &self.login {
            Some(login) => {
                let entry = jaas::parse_line(&login.jaas).map_err(|error| format!("sasl.jaas.config: {error}"))?;
                let login = SaslLogin::from_jaas(&login.mechanism, &entry, "coordinator-login");
                let login: Arc<dyn Login> = Arc::new(login.map_err(|error| format!("sasl.jaas.config: {error}"))?);
                Some(login)
            }
            None => None,
        };
        let guests = match &self.guests {
            Some(guests) => {
                let mapper = PrincipalMapper::parse(&guests.rules).map_err(|error| error.to_string())?;
                Some((mapper, guests.names.clone()))
            }
            None => None,
        };
        if let Some(TlsSettings { client_auth, .. }) = &self.tls
            && guests.is_none()
        {
            match client_auth {
                ClientAuth::Required => tracing::warn!(
                    "whoever has a certificate may ask this controller for changes: name the brokers in super.users"
                ),
                _ => tracing::warn!("everybody may ask this controller for changes: name the brokers in super.users"),
            }
        }
        Ok(Opened {
            connector: Connector::new(client.clone(), login),
            client,
            door: server.clone().map(|server| Arc::new(Door { server, guests })),
            server,
        })
    }
}

/// Security that is ready to be used.
#[derive(Clone, Debug)]
pub struct Opened {
    /// How brokers are reached.
    pub connector: Connector,
    /// TLS of the coordinator's own port, if it has any, and who is let in.
    pub door: Option<Arc<Door>>,
    server: Option<Arc<TlsServer>>,
    client: Option<Arc<TlsClient>>,
}

/// The coordinator's own port, where it has TLS.
#[derive(Debug)]
pub struct Door {
    server: Arc<TlsServer>,
    guests: Option<(PrincipalMapper, BTreeSet<String>)>,
}

/// Why a peer is not let in.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NotLetIn {
    #[error("SSL handshake failed: {0}")]
    Handshake(#[from] std::io::Error),
    #[error("the peer's certificate names nobody: {0}")]
    Nobody(String),
    #[error("User:{0} is not among super.users")]
    NoBroker(String),
}

impl Door {
    /// Does the handshake, and sees who comes.
    pub(crate) async fn let_in(&self, stream: TcpStream) -> Result<TlsStream<TcpStream>, NotLetIn> {
        let stream = self.server.accept(stream).await?;
        let Some((mapper, names)) = &self.guests else {
            return Ok(stream);
        };
        let chain = stream.get_ref().1.peer_certificates();
        let certificate = chain.and_then(|chain| chain.first());
        let certificate = certificate.ok_or_else(|| NotLetIn::Nobody("there is none".to_owned()))?;
        let name = rfc2253_of(certificate).map_err(|error| NotLetIn::Nobody(error.to_string()))?;
        let name = mapper
            .name(&name)
            .map_err(|error| NotLetIn::Nobody(error.to_string()))?;
        match names.contains(&name) {
            true => Ok(stream),
            false => Err(NotLetIn::NoBroker(name)),
        }
    }
}

/// The names in `super.users`: `User:a;User:b`.
fn super_users(text: &str) -> BTreeSet<String> {
    let users = text.split(';').filter_map(|user| user.trim().strip_prefix("User:"));
    users.map(str::to_owned).collect()
}

impl Opened {
    /// Takes up certificates whose files have changed, again and again; returns at once where there are none.
    pub async fn follow_files(self) {
        let (Some(client), Some(server)) = (self.client, self.server) else {
            return;
        };
        loop {
            tokio::time::sleep(LOOK_AT_FILES).await;
            let (client, server) = (Arc::clone(&client), Arc::clone(&server));
            let reloaded = tokio::task::spawn_blocking(move || Ok::<_, TlsError>(server.reload()? | client.reload()?));
            match reloaded.await {
                Ok(Ok(true)) => tracing::info!("TLS certificates renewed"),
                Ok(Ok(false)) => {}
                Ok(Err(error)) => tracing::error!(%error, "TLS cannot be changed; it goes on as it is"),
                Err(error) => tracing::error!(%error, "looking at certificates failed"),
            }
        }
    }
}

/// The security protocol of a listener: by the map, else by its own name.
fn protocol(given: &BTreeMap<String, String>, listener: &str) -> Result<String, String> {
    const KNOWN: [&str; 4] = ["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"];
    let map = given.get("listener.security.protocol.map").map_or("", String::as_str);
    let mapped = map
        .split(',')
        .filter_map(|item| item.trim().rsplit_once(':'))
        .find(|(name, _)| name.trim().eq_ignore_ascii_case(listener))
        .map(|(_, protocol)| protocol.trim());
    let protocol = mapped.unwrap_or(listener).to_uppercase();
    match KNOWN.contains(&protocol.as_str()) {
        true => Ok(protocol),
        // A plain cluster needs no map here, whatever its listener is called.
        false if mapped.is_none() => Ok("PLAINTEXT".to_owned()),
        false => Err(format!(
            "listener.security.protocol.map: Invalid security protocol `{protocol}`"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_is_named_must_show_a_certificate() {
        let read = |users: &str| {
            let pairs = [
                ("ssl.keystore.type", "PEM"),
                ("ssl.keystore.location", "/k"),
                ("super.users", users),
            ];
            let given = pairs.map(|(key, value)| (key.to_owned(), value.to_owned()));
            Security::read(&given.into(), "SSL").unwrap()
        };
        let named = read("User:broker; User:CN=b,O=x;Group:g");
        assert_eq!(named.tls.unwrap().client_auth, ClientAuth::Required);
        let names: Vec<String> = named.guests.unwrap().names.into_iter().collect();
        assert_eq!(names, ["CN=b,O=x", "broker"]);
        assert_eq!(read("").guests, None);
        // Names that are no users' let nobody in, rather than everybody.
        assert_eq!(read("Group:g").guests.unwrap().names.len(), 0);
    }

    #[test]
    fn the_listener_between_brokers_says_how_they_are_reached() {
        let read = |text: &str, listener: &str| {
            let pairs = text.split(';').filter_map(|pair| pair.split_once('='));
            let given = pairs.map(|(key, value)| (key.to_owned(), value.to_owned())).collect();
            Security::read(&given, listener).map(|found| (found.tls.is_some(), found.login.is_some()))
        };
        let check = |text: &str, listener: &str, expected: Result<(bool, bool), &str>| {
            assert_eq!(
                read(text, listener),
                expected.map_err(str::to_owned),
                "{text} {listener}"
            );
        };
        let map = "listener.security.protocol.map=IN:SASL_SSL,OUT:PLAINTEXT";
        let jaas = "listener.name.in.plain.sasl.jaas.config=x;sasl.mechanism.inter.broker.protocol=PLAIN";
        check("", "PLAINTEXT", Ok((false, false)));
        check("", "INTERNAL", Ok((false, false)));
        check("", "SSL", Ok((true, false)));
        check(&format!("{map};{jaas}"), "IN", Ok((true, true)));
        check(map, "OUT", Ok((false, false)));
        check(
            map,
            "IN",
            Err("brokers want a login: set listener.name.in.gssapi.sasl.jaas.config"),
        );
        check(
            "listener.security.protocol.map=IN:TLS",
            "IN",
            Err("listener.security.protocol.map: Invalid security protocol `TLS`"),
        );
        check(
            "listener.name.ssl.ssl.keystore.location=/k",
            "SSL",
            Err("SSL key store is specified, but key store password is not specified."),
        );
    }
}
