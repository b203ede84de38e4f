//! How a dedicated coordinator and the brokers reach each other: TLS and logins, by the keys that brokers have for their
//! listener between brokers.
//!
//! `inter.broker.listener.name` and `listener.security.protocol.map` say how brokers are spoken to, and how the
//! coordinator's own port is: with TLS where they have it, with the same mechanisms of SASL. Who may ask there is said by
//! `authorizer.class.name` and the access control lists of the cluster (CLUSTER_ACTION, as among brokers), or by
//! `super.users` alone. With neither, whoever gets in may. Reads keys; see [`crate::Door`] for the port.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use broker_admission::{
    AUTHORIZER_KEYS, AuthorizerSettings, BrokerLogin, ListenerKeys, SaslListenerConfig, ZooKeeperDefaults, login,
};
use broker_security::principal::KafkaPrincipal;
use broker_security::tls::{ClientAuth, PrincipalMapper, TlsClient, TlsError, TlsServer, TlsSettings};
use broker_wire::transport::Connector;

/// How often it is looked whether files of stores have changed.
const LOOK_AT_FILES: Duration = Duration::from_secs(10);
/// Stands in the headers of the requests of our logins.
const LOGIN_CLIENT_ID: &str = "coordinator-login";
const MECHANISM: &str = "sasl.mechanism.inter.broker.protocol";
const JAAS_CONFIG: &str = "sasl.jaas.config";

/// The keys that are read here, besides those with a listener's prefix.
pub(crate) fn is_known(key: &str) -> bool {
    const KEYS: [&str; 4] = [
        "authorizer.class.name",
        "connection.failed.authentication.delay.ms",
        "connections.max.reauth.ms",
        "listener.security.protocol.map",
    ];
    const PREFIXES: [&str; 4] = ["ssl.", "ottla.ssl.", "sasl.", "listener.name."];
    KEYS.contains(&key) || AUTHORIZER_KEYS.contains(&key) || PREFIXES.iter().any(|prefix| key.starts_with(prefix))
}

/// The security of the listener between brokers, as it stands in `coordinator.properties`.
#[derive(Clone, Debug)]
pub struct Security {
    tls: Option<TlsSettings>,
    /// `ssl.principal.mapping.rules`.
    pub(crate) mapping: String,
    /// What the own port offers to those who log in.
    pub(crate) sasl: Option<SaslListenerConfig>,
    login: Option<BrokerLogin>,
    pub(crate) guests: Guests,
}

/// Who may ask for changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Guests {
    /// Whoever gets in.
    Everybody,
    /// These, and nobody else.
    SuperUsers(Vec<KafkaPrincipal>),
    /// Whom the cluster's access control lists allow CLUSTER_ACTION.
    Allowed(AuthorizerSettings),
}

impl Security {
    /// Reads the keys for this listener.
    ///
    /// # Errors
    /// What is wrong with them.
    pub(crate) fn read(
        given: &BTreeMap<String, String>,
        listener: &str,
        zookeeper: ZooKeeperDefaults,
    ) -> Result<Self, String> {
        let protocol = protocol(given, listener)?;
        let guests = guests(given, zookeeper)?;
        let prefix = format!("listener.name.{}.", listener.to_lowercase());
        let text = |key: &str| {
            let found = given.get(key);
            // One line for all mechanisms is enough where there is only one.
            let found = found.or_else(|| {
                let any = key.ends_with(JAAS_CONFIG);
                any.then(|| {
                    given
                        .get(&format!("{prefix}{JAAS_CONFIG}"))
                        .or_else(|| given.get(JAAS_CONFIG))
                })?
            });
            found.cloned()
        };
        let keys = ListenerKeys::new(listener, &text);
        let mut tls = match protocol.ends_with("SSL") {
            true => Some(TlsSettings::read(|key| keys.text(key)).map_err(|error| error.to_string())?),
            false => None,
        };
        let has_sasl = protocol.starts_with("SASL_");
        if let Some(tls) = &mut tls
            && !has_sasl
            && guests != Guests::Everybody
        {
            // Nothing else tells who it is.
            tls.client_auth = ClientAuth::Required;
        }
        let (mut sasl, mut login) = (None, None);
        if has_sasl {
            let mechanism = keys.text(MECHANISM).unwrap_or_else(|| "GSSAPI".to_owned());
            let refused = |error: broker_admission::Refused| error.to_string();
            login = Some(BrokerLogin::by(&keys, &mechanism).map_err(refused)?);
            sasl = Some(match keys.text("sasl.enabled.mechanisms") {
                Some(_) => SaslListenerConfig::read(&keys).map_err(refused)?,
                None => SaslListenerConfig::of(&keys, &[mechanism]).map_err(refused)?,
            });
        }
        Ok(Self {
            tls,
            mapping: keys
                .text("ssl.principal.mapping.rules")
                .unwrap_or_else(|| "DEFAULT".to_owned()),
            sasl,
            login,
            guests,
        })
    }

    /// Makes what these settings ask for. Reads files; on a runtime.
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
            Some(settings) => Some(login(settings, LOGIN_CLIENT_ID).map_err(|error| error.to_string())?),
            None => None,
        };
        PrincipalMapper::parse(&self.mapping).map_err(|error| error.to_string())?;
        if self.guests == Guests::Everybody {
            let certified = self.tls.as_ref().map(|tls| tls.client_auth) == Some(ClientAuth::Required);
            let whoever = match (&self.sasl, certified) {
                (Some(_), _) => "whoever can log in",
                (None, true) => "whoever has a certificate",
                (None, false) => "everybody",
            };
            tracing::warn!(
                "{whoever} may ask this controller for changes: name the brokers in super.users, or set authorizer.class.name"
            );
        }
        Ok(Opened {
            connector: Connector::new(client.clone(), login),
            client,
            server,
        })
    }
}

/// TLS and logins that are ready to be used.
#[derive(Clone, Debug)]
pub struct Opened {
    /// How brokers are reached.
    pub connector: Connector,
    /// TLS of the own port.
    pub(crate) server: Option<Arc<TlsServer>>,
    client: Option<Arc<TlsClient>>,
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

fn guests(given: &BTreeMap<String, String>, zookeeper: ZooKeeperDefaults) -> Result<Guests, String> {
    let text = |key: &str| given.get(key).cloned();
    let class = text("authorizer.class.name").unwrap_or_default();
    let settings = AuthorizerSettings::read(&class, text, zookeeper).map_err(|error| error.to_string())?;
    if let Some(settings) = settings {
        return Ok(Guests::Allowed(settings));
    }
    let users = text("super.users").unwrap_or_default();
    if users.trim().is_empty() {
        return Ok(Guests::Everybody);
    }
    let users = AuthorizerSettings::super_users(&users).map_err(|error| error.to_string())?;
    Ok(Guests::SuperUsers(users))
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

    const DEFAULTS: ZooKeeperDefaults = ZooKeeperDefaults {
        connection_timeout_ms: 1,
        session_timeout_ms: 2,
        max_in_flight_requests: 3,
    };

    /// `text`: pairs with `;` between them.
    fn read(text: &str, listener: &str) -> Result<Security, String> {
        let pairs = text.split(';').filter_map(|pair| pair.split_once('='));
        let given = pairs.map(|(key, value)| (key.to_owned(), value.to_owned())).collect();
        Security::read(&given, listener, DEFAULTS)
    }

    #[test]
    fn who_may_ask_is_named_or_allowed_or_everybody() {
        const KEY: &str = "ssl.keystore.type=PEM;ssl.keystore.location=/k";
        let check = |name: &str, extra: &str, expected: Guests, certificate: bool| {
            let found = read(&format!("{KEY};{extra}"), "SSL").unwrap();
            assert_eq!(found.guests, expected, "{name}");
            let required = found.tls.unwrap().client_auth == ClientAuth::Required;
            assert_eq!(required, certificate, "{name}");
        };
        let user = |name: &str| KafkaPrincipal::user(name);
        check("nobody is named", "", Guests::Everybody, false);
        check("nobody", "super.users=", Guests::Everybody, false);
        check("one", "super.users=User:b", Guests::SuperUsers(vec![user("b")]), true);
        let group: KafkaPrincipal = "Group:g".parse().unwrap();
        check("no user", "super.users=Group:g", Guests::SuperUsers(vec![group]), true);
        let allowed = Guests::Allowed(AuthorizerSettings {
            super_users: vec![user("b")],
            allow_everyone_if_no_acl_found: false,
            zookeeper: None,
        });
        let class = "authorizer.class.name=kafka.security.authorizer.AclAuthorizer;super.users=User:b";
        check("by lists", class, allowed, true);
        assert!(read("authorizer.class.name=my.Authorizer", "PLAINTEXT").is_err());
        assert!(read("super.users=b", "PLAINTEXT").is_err());
    }

    #[test]
    fn the_listener_between_brokers_says_how_they_are_reached() {
        const SCRAM: &str = "org.apache.kafka.common.security.scram.ScramLoginModule required username=a password=b@";
        let check = |text: &str, listener: &str, expected: Result<(bool, usize), &str>| {
            // A JAAS line ends with what stands between pairs here.
            let pairs = text
                .replace('@', "\u{0}")
                .split(';')
                .map(|it| it.replace('\u{0}', ";"))
                .collect::<Vec<_>>();
            let pairs = pairs.iter().filter_map(|pair| pair.split_once('='));
            let given = pairs.map(|(key, value)| (key.to_owned(), value.to_owned())).collect();
            let found = Security::read(&given, listener, DEFAULTS);
            let found = found.map(|it| (it.tls.is_some(), it.sasl.map_or(0, |sasl| sasl.mechanisms.len())));
            assert_eq!(found, expected.map_err(str::to_owned), "{text} {listener}");
        };
        let map = "listener.security.protocol.map=IN:SASL_SSL,OUT:PLAINTEXT";
        let mechanism = "sasl.mechanism.inter.broker.protocol=SCRAM-SHA-256";
        check("", "PLAINTEXT", Ok((false, 0)));
        check("", "INTERNAL", Ok((false, 0)));
        check("", "SSL", Ok((true, 0)));
        let own = format!("{map};{mechanism};listener.name.in.scram-sha-256.sasl.jaas.config={SCRAM}");
        check(&own, "IN", Ok((true, 1)));
        check(
            &format!("{mechanism};sasl.jaas.config={SCRAM}"),
            "SASL_PLAINTEXT",
            Ok((false, 1)),
        );
        let both = "sasl.enabled.mechanisms=SCRAM-SHA-256,SCRAM-SHA-512";
        check(
            &format!("{mechanism};{both};sasl.jaas.config={SCRAM}"),
            "SASL_PLAINTEXT",
            Ok((false, 2)),
        );
        check(map, "OUT", Ok((false, 0)));
        check(
            &format!("{map};{mechanism}"),
            "IN",
            Err(
                "Could not find a 'KafkaServer' or 'in.KafkaServer' entry in the JAAS configuration: set listener.name.in.scram-sha-256.sasl.jaas.config",
            ),
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
