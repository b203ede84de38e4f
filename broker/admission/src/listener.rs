//! What a listener offers to those who log in: its mechanisms, made ready from its configuration and the stores of
//! credentials.

use std::sync::Arc;
use std::time::Duration;

use broker_security::sasl::scram::{NoTokens, ScramCache, ScramServers, TokenCredentials};
use broker_security::sasl::{PlainUsers, ServerFactory};

use crate::oauthbearer;
use crate::settings::{EnabledMechanism, SaslListenerConfig, SaslMechanism};

/// Where mechanisms look credentials up.
#[derive(Clone)]
pub struct CredentialStores {
    /// Users of SCRAM.
    pub scram: Arc<ScramCache>,
    /// Delegation tokens.
    pub tokens: Arc<dyn TokenCredentials>,
}

impl Default for CredentialStores {
    fn default() -> Self {
        Self {
            scram: Arc::default(),
            tokens: Arc::new(NoTokens),
        }
    }
}

/// SASL of one listener, ready for logins.
pub struct SaslListener {
    pub(crate) mechanisms: Vec<Offered>,
    /// `sasl.server.max.receive.size`.
    pub(crate) max_receive_size: usize,
    /// How long the answer to a failed login is held back.
    pub(crate) failed_authentication_delay: Duration,
}

impl std::fmt::Debug for SaslListener {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list()
            .entries(self.mechanisms.iter().map(|it| it.factory.name()))
            .finish()
    }
}

/// A mechanism on offer.
pub(crate) struct Offered {
    pub(crate) factory: Arc<dyn ServerFactory>,
    /// How long a session may last.
    pub(crate) max_reauth: Option<Duration>,
}

/// A mechanism that cannot be made ready.
#[derive(Debug, thiserror::Error)]
#[error("the SASL mechanism {mechanism} cannot be served: {reason}")]
pub struct NotOffered {
    mechanism: &'static str,
    reason: String,
}

impl SaslListener {
    /// Makes the mechanisms of a listener ready.
    ///
    /// # Errors
    /// One of them cannot be served.
    pub fn new(config: &SaslListenerConfig, stores: &CredentialStores) -> Result<Self, NotOffered> {
        let offered = config.mechanisms.iter().map(|enabled| {
            Ok(Offered {
                factory: factory(enabled, stores)?,
                max_reauth: enabled.max_reauth,
            })
        });
        Ok(Self {
            mechanisms: offered.collect::<Result<_, NotOffered>>()?,
            max_receive_size: config.max_receive_size,
            failed_authentication_delay: config.failed_authentication_delay,
        })
    }
}

fn factory(enabled: &EnabledMechanism, stores: &CredentialStores) -> Result<Arc<dyn ServerFactory>, NotOffered> {
    let not_offered = |reason: String| NotOffered {
        mechanism: enabled.mechanism.name(),
        reason,
    };
    Ok(match enabled.mechanism {
        SaslMechanism::Plain => {
            let users = PlainUsers::from_jaas([&enabled.jaas]);
            Arc::new(users.map_err(|error| not_offered(error.to_string()))?)
        }
        SaslMechanism::Scram(mechanism) => {
            let credentials = Arc::clone(&stores.scram);
            Arc::new(ScramServers::new(mechanism, credentials, Arc::clone(&stores.tokens)))
        }
        SaslMechanism::OauthBearer => match &enabled.token_check {
            Some(check) => oauthbearer::servers(check).map_err(not_offered)?,
            None => return Err(not_offered("nobody checks its tokens".into())),
        },
    })
}
