//! SASL as the configuration has it: which mechanisms a listener offers, with which JAAS lines, and how brokers log in to
//! each other.
//!
//! Decides what is refused at start: a mechanism without a JAAS line, a line that is not JAAS, a Java class that cannot
//! run here. Makes no mechanism (see `net::sasl`).
//!
//! Source: Kafka 3.9 `JaasContext.loadServerContext`, `SaslChannelBuilder`, `KafkaConfig.validateValues`.

use std::time::Duration;

use broker_security::sasl::jaas::{self, JaasEntry};
use broker_security::sasl::{GSSAPI, OAUTHBEARER, PLAIN, ScramMechanism};

use super::broker_config::BrokerConfig;
use super::error::ConfigError;
use super::listener::SecurityProtocol;
use super::listener_values::ListenerConfig;
use super::oauthbearer::{TokenCheck, TokenSource};
use super::value::Value;

const ENABLED_MECHANISMS: &str = "sasl.enabled.mechanisms";
const INTER_BROKER_MECHANISM: &str = "sasl.mechanism.inter.broker.protocol";
const JAAS_CONFIG: &str = "sasl.jaas.config";
const MAX_REAUTH_MS: &str = "connections.max.reauth.ms";

/// A mechanism that can be served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SaslMechanism {
    /// `PLAIN`.
    Plain,
    /// `SCRAM-SHA-256`, `SCRAM-SHA-512`.
    Scram(ScramMechanism),
    /// `OAUTHBEARER`.
    OauthBearer,
}

impl SaslMechanism {
    /// As clients ask for it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Plain => PLAIN,
            Self::Scram(mechanism) => mechanism.name(),
            Self::OauthBearer => OAUTHBEARER,
        }
    }

    fn from_name(name: &str, key: &str) -> Result<Self, ConfigError> {
        match name {
            PLAIN => Ok(Self::Plain),
            OAUTHBEARER => Ok(Self::OauthBearer),
            GSSAPI => Err(ConfigError::Refused(format!(
                "{key}={GSSAPI} (its default) needs Kerberos, which this broker does not speak: set it to \
                 {PLAIN}, SCRAM-SHA-256, SCRAM-SHA-512 or {OAUTHBEARER}"
            ))),
            _ => ScramMechanism::from_name(name).map(Self::Scram).ok_or_else(|| {
                ConfigError::Refused(format!(
                    "{key}: the SASL mechanism {name} is not known here: {PLAIN}, SCRAM-SHA-256, SCRAM-SHA-512 and \
                     {OAUTHBEARER} are"
                ))
            }),
        }
    }
}

/// A mechanism that a listener offers.
#[derive(Clone, Debug)]
pub struct EnabledMechanism {
    /// Which.
    pub mechanism: SaslMechanism,
    /// Its login module and options.
    pub jaas: JaasEntry,
    /// How long a session may last before the client must log in again. `None`: for ever.
    pub max_reauth: Option<Duration>,
    /// Of OAUTHBEARER: who checks tokens.
    pub token_check: Option<TokenCheck>,
}

/// SASL of one listener.
#[derive(Clone, Debug)]
pub struct SaslListenerConfig {
    /// In the order of `sasl.enabled.mechanisms`, each once.
    pub mechanisms: Vec<EnabledMechanism>,
    /// `sasl.server.max.receive.size`.
    pub max_receive_size: usize,
    /// `connection.failed.authentication.delay.ms`.
    pub failed_authentication_delay: Duration,
}

/// How this broker logs in to others.
#[derive(Clone, Debug)]
pub struct BrokerLogin {
    /// By which mechanism.
    pub mechanism: SaslMechanism,
    /// With which credentials.
    pub jaas: JaasEntry,
    /// Of OAUTHBEARER: where tokens come from.
    pub token_source: Option<TokenSource>,
}

impl SecurityProtocol {
    /// Whether connections log in by SASL.
    pub const fn uses_sasl(self) -> bool {
        matches!(self, Self::SaslPlaintext | Self::SaslSsl)
    }
}

impl BrokerConfig {
    /// SASL of the listener of this name.
    ///
    /// # Errors
    /// It could not be served as it is asked for.
    pub fn sasl_of(&self, listener: &str) -> Result<SaslListenerConfig, ConfigError> {
        let values = self.for_listener(listener);
        let mut mechanisms: Vec<EnabledMechanism> = Vec::new();
        for name in enabled_mechanisms(&values) {
            let mechanism = SaslMechanism::from_name(&name, &format!("listener {listener}: {ENABLED_MECHANISMS}"))?;
            if mechanisms.iter().all(|known| known.mechanism != mechanism) {
                let jaas = jaas_entry(&values, listener, mechanism)?;
                let is_oauthbearer = mechanism == SaslMechanism::OauthBearer;
                mechanisms.push(EnabledMechanism {
                    mechanism,
                    token_check: is_oauthbearer.then(|| TokenCheck::read(&values, &jaas)).transpose()?,
                    jaas,
                    max_reauth: max_reauth(&values, mechanism)?,
                });
            }
        }
        if mechanisms.is_empty() {
            return Err(ConfigError::Refused(format!(
                "No SASL mechanisms are enabled for the listener {listener}"
            )));
        }
        let max_receive_size =
            integer(&values, "sasl.server.max.receive.size").and_then(|size| usize::try_from(size).ok());
        let delay = u64::try_from(self.connection_failed_authentication_delay_ms).unwrap_or(0);
        Ok(SaslListenerConfig {
            mechanisms,
            max_receive_size: max_receive_size.unwrap_or(0),
            failed_authentication_delay: Duration::from_millis(delay),
        })
    }

    /// How brokers log in to each other; `None` where the listener between brokers has no SASL.
    ///
    /// # Errors
    /// Nobody could log in so.
    pub fn inter_broker_login(&self) -> Result<Option<BrokerLogin>, ConfigError> {
        self.login_to(&self.inter_broker_listener_name)
    }

    /// How brokers, and the controller in them, log in at this listener of others; `None` where it has no SASL.
    ///
    /// # Errors
    /// Nobody could log in so.
    pub fn login_to(&self, listener: &str) -> Result<Option<BrokerLogin>, ConfigError> {
        let protocol = self.listener_security_protocol_map.get(listener);
        if !protocol.is_some_and(|protocol| protocol.uses_sasl()) {
            return Ok(None);
        }
        let name = match self.value(INTER_BROKER_MECHANISM) {
            Some(Value::String(name)) => name,
            _ => String::new(),
        };
        let values = self.for_listener(listener);
        if !enabled_mechanisms(&values).contains(&name) {
            return Err(ConfigError::Refused(format!(
                "{INTER_BROKER_MECHANISM} must be included in {ENABLED_MECHANISMS} when SASL is used for inter-broker communication"
            )));
        }
        let mechanism = SaslMechanism::from_name(&name, INTER_BROKER_MECHANISM)?;
        let jaas = jaas_entry(&values, listener, mechanism)?;
        let is_oauthbearer = mechanism == SaslMechanism::OauthBearer;
        Ok(Some(BrokerLogin {
            mechanism,
            token_source: is_oauthbearer.then(|| TokenSource::read(&values, &jaas)).transpose()?,
            jaas,
        }))
    }

    /// Everything about SASL that is wrong, before anything is started.
    pub(super) fn validate_sasl(&self) -> Result<(), ConfigError> {
        for listener in &self.listeners {
            if listener.security_protocol.uses_sasl() {
                self.sasl_of(&listener.listener_name)?;
            }
        }
        self.inter_broker_login()?;
        if let Some(listener) = &self.control_plane_listener_name {
            self.login_to(listener)?;
        }
        for (key, class) in &self.originals {
            refuse_java_class(key, class.trim())?;
        }
        Ok(())
    }
}

fn enabled_mechanisms(values: &ListenerConfig<'_>) -> Vec<String> {
    match values.value(ENABLED_MECHANISMS) {
        Some(Value::List(names)) => names,
        _ => Vec::new(),
    }
}

fn jaas_entry(values: &ListenerConfig<'_>, listener: &str, mechanism: SaslMechanism) -> Result<JaasEntry, ConfigError> {
    let name = mechanism.name().to_lowercase();
    let key = format!("{}{name}.{JAAS_CONFIG}", values.prefix());
    let Some(line) = values.text_for_mechanism(mechanism.name(), JAAS_CONFIG) else {
        return Err(ConfigError::Refused(format!(
            "Could not find a 'KafkaServer' or '{}.KafkaServer' entry in the JAAS configuration: set {key}",
            listener.to_lowercase()
        )));
    };
    // The line itself is a secret.
    let entry = jaas::parse_line(line).map_err(|error| ConfigError::Refused(format!("{key}: {error}")))?;
    if !LOGIN_MODULES.contains(&entry.login_module.as_str()) {
        return Err(ConfigError::Refused(format!(
            "{key}: {} is a Java class and cannot run here",
            entry.login_module
        )));
    }
    Ok(entry)
}

fn max_reauth(values: &ListenerConfig<'_>, mechanism: SaslMechanism) -> Result<Option<Duration>, ConfigError> {
    let ms = match values.text_for_mechanism(mechanism.name(), MAX_REAUTH_MS) {
        Some(text) => text.trim().parse::<i64>().map_err(|_| {
            ConfigError::invalid(
                &format!("{}{}.{MAX_REAUTH_MS}", values.prefix(), mechanism.name().to_lowercase()),
                text,
                &"Not a number of type LONG",
            )
        })?,
        None => integer(values, MAX_REAUTH_MS).unwrap_or(0),
    };
    Ok(u64::try_from(ms).ok().filter(|ms| *ms > 0).map(Duration::from_millis))
}

fn integer(values: &ListenerConfig<'_>, key: &str) -> Option<i64> {
    match values.value(key) {
        Some(Value::Integer(value)) => Some(value),
        _ => None,
    }
}

/// The login modules of the mechanisms that are served.
const LOGIN_MODULES: [&str; 3] = [
    broker_security::sasl::plain::PLAIN_LOGIN_MODULE,
    broker_security::sasl::scram::SCRAM_LOGIN_MODULE,
    "org.apache.kafka.common.security.oauthbearer.OAuthBearerLoginModule",
];

/// Keys that name Java classes, with those of Kafka's own that mean what is done here anyway. In front of each may
/// stand a listener and a mechanism.
const CLASSES: [(&str, &[&str]); 4] = [
    (
        "sasl.server.callback.handler.class",
        &[
            "org.apache.kafka.common.security.plain.internals.PlainServerCallbackHandler",
            "org.apache.kafka.common.security.scram.internals.ScramServerCallbackHandler",
            "org.apache.kafka.common.security.oauthbearer.OAuthBearerValidatorCallbackHandler",
            "org.apache.kafka.common.security.oauthbearer.secured.OAuthBearerValidatorCallbackHandler",
            "org.apache.kafka.common.security.oauthbearer.internals.unsecured.OAuthBearerUnsecuredValidatorCallbackHandler",
        ],
    ),
    (
        "sasl.client.callback.handler.class",
        &[
            "org.apache.kafka.common.security.authenticator.SaslClientCallbackHandler",
            "org.apache.kafka.common.security.oauthbearer.internals.OAuthBearerSaslClientCallbackHandler",
        ],
    ),
    (
        "sasl.login.callback.handler.class",
        &[
            "org.apache.kafka.common.security.authenticator.AbstractLogin$DefaultLoginCallbackHandler",
            "org.apache.kafka.common.security.oauthbearer.OAuthBearerLoginCallbackHandler",
            "org.apache.kafka.common.security.oauthbearer.secured.OAuthBearerLoginCallbackHandler",
            "org.apache.kafka.common.security.oauthbearer.internals.unsecured.OAuthBearerUnsecuredLoginCallbackHandler",
        ],
    ),
    (
        "sasl.login.class",
        &[
            "org.apache.kafka.common.security.authenticator.DefaultLogin",
            "org.apache.kafka.common.security.oauthbearer.internals.OAuthBearerRefreshingLogin",
        ],
    ),
];

fn refuse_java_class(key: &str, class: &str) -> Result<(), ConfigError> {
    let known = CLASSES.iter().find(|(name, _)| {
        key == *name || (key.starts_with("listener.name.") && key.ends_with(name) && key.len() > name.len())
    });
    match known {
        Some((_, own)) if !class.is_empty() && !own.contains(&class) => Err(ConfigError::Refused(format!(
            "{key}={class} is a Java class and cannot run here"
        ))),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SCRAM: &str = "org.apache.kafka.common.security.scram.ScramLoginModule";

    fn config(extra: &[(&str, &str)]) -> Result<BrokerConfig, ConfigError> {
        let base = [
            ("zookeeper.connect", "z"),
            ("broker.id", "0"),
            ("listeners", "IN://:9092,OUT://:9093"),
            ("listener.security.protocol.map", "IN:PLAINTEXT,OUT:SASL_PLAINTEXT"),
            ("inter.broker.listener.name", "IN"),
            ("sasl.enabled.mechanisms", "SCRAM-SHA-256"),
        ];
        BrokerConfig::from_pairs(base.into_iter().chain(extra.iter().copied()))
    }

    #[test]
    fn what_could_not_be_served_is_refused_at_start() {
        let line = format!("{SCRAM} required username=\"a\" password=\"s3cret\";");
        let out = "listener.name.out.scram-sha-256.sasl.jaas.config";
        let check = |name: &str, extra: &[(&str, &str)], expected: Result<(), &str>| {
            let found = config(extra).map(drop).map_err(|error| error.to_string());
            match (&found, expected) {
                (Ok(()), Ok(())) => {}
                (Err(found), Err(expected)) => {
                    assert!(found.contains(expected), "{name}: {found}");
                    assert!(!found.contains("s3cret"), "{name}: {found}");
                }
                _ => panic!("{name}: {found:?}"),
            }
        };
        check("all there", &[(out, &line)], Ok(()));
        check(
            "no JAAS",
            &[],
            Err("Could not find a 'KafkaServer' or 'out.KafkaServer' entry"),
        );
        check(
            "not JAAS",
            &[(out, "x s3cret;")],
            Err("Invalid login module control flag"),
        );
        check(
            "two modules",
            &[(out, &format!("{line}{line}"))],
            Err("contains 2 login modules"),
        );
        check(
            "foreign module",
            &[(out, "org.example.Login required;")],
            Err("org.example.Login is a Java class"),
        );
        check(
            "GSSAPI",
            &[("sasl.enabled.mechanisms", "GSSAPI")],
            Err("needs Kerberos"),
        );
        check(
            "unknown",
            &[("sasl.enabled.mechanisms", "DIGEST-MD5")],
            Err("DIGEST-MD5 is not known here"),
        );
        check(
            "none",
            &[("sasl.enabled.mechanisms", "")],
            Err("No SASL mechanisms are enabled"),
        );
        let mechanism = ("sasl.mechanism.inter.broker.protocol", "SCRAM-SHA-512");
        check("of no use between brokers", &[(out, &line), mechanism], Ok(()));
        let handler = "listener.name.out.scram-sha-256.sasl.server.callback.handler.class";
        check(
            "foreign handler",
            &[(out, &line), (handler, "org.example.H")],
            Err("org.example.H is a Java class"),
        );
        let own = "org.apache.kafka.common.security.scram.internals.ScramServerCallbackHandler";
        check("Kafka's own handler", &[(out, &line), (handler, own)], Ok(()));
        let reauth = "listener.name.out.scram-sha-256.connections.max.reauth.ms";
        check(
            "no number",
            &[(out, &line), (reauth, "soon")],
            Err("Not a number of type LONG"),
        );
    }

    #[test]
    fn a_session_lasts_as_long_as_listener_and_mechanism_say() {
        let line = format!("{SCRAM} required;");
        let both = ("sasl.enabled.mechanisms", "SCRAM-SHA-256,SCRAM-SHA-512,SCRAM-SHA-256");
        let jaas = [
            ("listener.name.out.scram-sha-256.sasl.jaas.config", line.as_str()),
            ("listener.name.out.scram-sha-512.sasl.jaas.config", line.as_str()),
        ];
        let check = |name: &str, extra: &[(&str, &str)], expected: [Option<u64>; 2]| {
            let pairs: Vec<_> = jaas.iter().chain([&both]).chain(extra).copied().collect();
            let sasl = config(&pairs).unwrap().sasl_of("OUT").unwrap();
            let found: Vec<_> = sasl.mechanisms.iter().map(|it| it.max_reauth).collect();
            assert_eq!(found, expected.map(|ms| ms.map(Duration::from_millis)), "{name}");
            assert_eq!(
                (sasl.max_receive_size, sasl.failed_authentication_delay.as_millis()),
                (524_288, 100)
            );
        };
        let all = ("connections.max.reauth.ms", "5000");
        let listener = ("listener.name.out.connections.max.reauth.ms", "4000");
        let mechanism = ("listener.name.out.scram-sha-512.connections.max.reauth.ms", "3000");
        check("never", &[], [None, None]);
        check("all", &[all], [Some(5000), Some(5000)]);
        check("listener", &[all, listener], [Some(4000), Some(4000)]);
        check("mechanism", &[all, listener, mechanism], [Some(4000), Some(3000)]);
        check(
            "switched off",
            &[all, ("listener.name.out.connections.max.reauth.ms", "0")],
            [None, None],
        );
    }

    #[test]
    fn brokers_log_in_by_a_mechanism_that_their_listener_offers() {
        let line = format!("{SCRAM} required username=\"broker\" password=\"x\";");
        let pairs = |mechanism: &'static str| {
            vec![
                ("inter.broker.listener.name", "OUT"),
                ("sasl.mechanism.inter.broker.protocol", mechanism),
                ("listener.name.out.scram-sha-256.sasl.jaas.config", line.as_str()),
            ]
        };
        let config_of = |mechanism| config(&pairs(mechanism));
        let login = config_of("SCRAM-SHA-256")
            .unwrap()
            .inter_broker_login()
            .unwrap()
            .unwrap();
        assert_eq!(login.mechanism, SaslMechanism::Scram(ScramMechanism::Sha256));
        assert_eq!(login.jaas.options["username"], "broker");
        let refused = config_of("PLAIN").unwrap_err().to_string();
        assert!(
            refused.contains("sasl.mechanism.inter.broker.protocol must be included in"),
            "{refused}"
        );
    }
}
