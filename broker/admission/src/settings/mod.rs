//! Logins and the authorizer as keys have them.
//!
//! Decides what is refused at start: a mechanism without a JAAS line, a line that is not JAAS, a Java class that cannot
//! run here. Reads keys; opens no file, makes no mechanism (see `listener`), asks nobody.
//!
//! Source: Kafka 3.9 `JaasContext.loadServerContext`, `SaslChannelBuilder`, `KafkaConfig.validateValues`.

mod authorizer;
mod keys;
mod oauthbearer;

use std::time::Duration;

use broker_security::sasl::jaas::{self, JaasEntry};
use broker_security::sasl::{GSSAPI, OAUTHBEARER, PLAIN, ScramMechanism};

pub use self::authorizer::{
    AUTHORIZER_KEYS, AUTHORIZER_PREFIX, AuthorizerSettings, OtherZooKeeper, ZooKeeperDefaults, is_authorizer_key,
};
pub use self::keys::{DEFAULTS, ListenerKeys};
pub(crate) use self::oauthbearer::{Endpoint, SignedTokens, Source};
pub use self::oauthbearer::{TokenCheck, TokenSource};

const ENABLED_MECHANISMS: &str = "sasl.enabled.mechanisms";
const INTER_BROKER_MECHANISM: &str = "sasl.mechanism.inter.broker.protocol";
const JAAS_CONFIG: &str = "sasl.jaas.config";
const MAX_REAUTH_MS: &str = "connections.max.reauth.ms";

/// Keys ask for what cannot be, in a sentence without secrets.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Refused(pub String);

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

    fn from_name(name: &str, key: &str) -> Result<Self, Refused> {
        match name {
            PLAIN => Ok(Self::Plain),
            OAUTHBEARER => Ok(Self::OauthBearer),
            GSSAPI => Err(Refused(format!(
                "{key}={GSSAPI} (its default) needs Kerberos, which this broker does not speak: set it to \
                 {PLAIN}, SCRAM-SHA-256, SCRAM-SHA-512 or {OAUTHBEARER}"
            ))),
            _ => ScramMechanism::from_name(name).map(Self::Scram).ok_or_else(|| {
                Refused(format!(
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

impl SaslListenerConfig {
    /// SASL of a listener.
    ///
    /// # Errors
    /// It could not be served as it is asked for.
    pub fn read(keys: &ListenerKeys<'_>) -> Result<Self, Refused> {
        Self::of(keys, &keys.list(ENABLED_MECHANISMS))
    }

    /// The same with these mechanisms.
    ///
    /// # Errors
    /// It could not be served as it is asked for.
    pub fn of(keys: &ListenerKeys<'_>, names: &[String]) -> Result<Self, Refused> {
        let listener = keys.listener();
        let mut mechanisms: Vec<EnabledMechanism> = Vec::new();
        for name in names {
            let mechanism = SaslMechanism::from_name(name, &format!("listener {listener}: {ENABLED_MECHANISMS}"))?;
            if mechanisms.iter().all(|known| known.mechanism != mechanism) {
                let jaas = jaas_entry(keys, mechanism)?;
                let is_oauthbearer = mechanism == SaslMechanism::OauthBearer;
                mechanisms.push(EnabledMechanism {
                    mechanism,
                    token_check: is_oauthbearer.then(|| TokenCheck::read(keys, &jaas)).transpose()?,
                    jaas,
                    max_reauth: max_reauth(keys, mechanism)?,
                });
            }
        }
        if mechanisms.is_empty() {
            return Err(Refused(format!(
                "No SASL mechanisms are enabled for the listener {listener}"
            )));
        }
        let delay = keys.number("connection.failed.authentication.delay.ms")?;
        Ok(Self {
            mechanisms,
            max_receive_size: usize::try_from(keys.number("sasl.server.max.receive.size")?).unwrap_or(0),
            failed_authentication_delay: Duration::from_millis(u64::try_from(delay).unwrap_or(0)),
        })
    }
}

impl BrokerLogin {
    /// How a listener of others is logged in at, by the mechanism of this name.
    ///
    /// # Errors
    /// Nobody could log in so.
    pub fn read(keys: &ListenerKeys<'_>, mechanism: &str) -> Result<Self, Refused> {
        if !keys.list(ENABLED_MECHANISMS).iter().any(|enabled| enabled == mechanism) {
            return Err(Refused(format!(
                "{INTER_BROKER_MECHANISM} must be included in {ENABLED_MECHANISMS} when SASL is used for inter-broker communication"
            )));
        }
        Self::by(keys, mechanism)
    }

    /// The same for a program whose own port may offer other mechanisms, or none.
    ///
    /// # Errors
    /// Nobody could log in so.
    pub fn by(keys: &ListenerKeys<'_>, mechanism: &str) -> Result<Self, Refused> {
        let mechanism = SaslMechanism::from_name(mechanism, INTER_BROKER_MECHANISM)?;
        let jaas = jaas_entry(keys, mechanism)?;
        let is_oauthbearer = mechanism == SaslMechanism::OauthBearer;
        Ok(Self {
            mechanism,
            token_source: is_oauthbearer.then(|| TokenSource::read(keys, &jaas)).transpose()?,
            jaas,
        })
    }
}

fn jaas_entry(keys: &ListenerKeys<'_>, mechanism: SaslMechanism) -> Result<JaasEntry, Refused> {
    let name = mechanism.name().to_lowercase();
    let key = format!("{}{name}.{JAAS_CONFIG}", keys.prefix());
    let Some(line) = keys.text_for_mechanism(mechanism.name(), JAAS_CONFIG) else {
        return Err(Refused(format!(
            "Could not find a 'KafkaServer' or '{}.KafkaServer' entry in the JAAS configuration: set {key}",
            keys.listener().to_lowercase()
        )));
    };
    // The line itself is a secret.
    let entry = jaas::parse_line(&line).map_err(|error| Refused(format!("{key}: {error}")))?;
    if !LOGIN_MODULES.contains(&entry.login_module.as_str()) {
        return Err(Refused(format!(
            "{key}: {} is a Java class and cannot run here",
            entry.login_module
        )));
    }
    Ok(entry)
}

fn max_reauth(keys: &ListenerKeys<'_>, mechanism: SaslMechanism) -> Result<Option<Duration>, Refused> {
    let ms = match keys.text_for_mechanism(mechanism.name(), MAX_REAUTH_MS) {
        Some(text) => text.trim().parse::<i64>().map_err(|_| {
            let name = mechanism.name().to_lowercase();
            Refused(format!(
                "Invalid value {text} for configuration {}{name}.{MAX_REAUTH_MS}: Not a number of type LONG",
                keys.prefix()
            ))
        })?,
        None => keys.number(MAX_REAUTH_MS)?,
    };
    Ok(u64::try_from(ms).ok().filter(|ms| *ms > 0).map(Duration::from_millis))
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

/// Refuses a key that names a class that cannot run here.
///
/// # Errors
/// It does.
pub fn refuse_java_class(key: &str, class: &str) -> Result<(), Refused> {
    let known = CLASSES.iter().find(|(name, _)| {
        key == *name || (key.starts_with("listener.name.") && key.ends_with(name) && key.len() > name.len())
    });
    match known {
        Some((_, own)) if !class.is_empty() && !own.contains(&class) => {
            Err(Refused(format!("{key}={class} is a Java class and cannot run here")))
        }
        _ => Ok(()),
    }
}
