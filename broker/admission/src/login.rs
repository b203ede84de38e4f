//! How brokers and coordinators log in to brokers and to each other.

use std::sync::Arc;

use broker_security::sasl::ClientFailure;
use broker_wire::login::SaslLogin;
use broker_wire::transport::Login;

use crate::oauthbearer;
use crate::settings::{BrokerLogin, SaslMechanism};

/// A login that cannot be made.
#[derive(Debug, thiserror::Error)]
#[error("brokers cannot log in to each other by {mechanism}: {reason}")]
pub struct NoLogin {
    mechanism: &'static str,
    reason: ClientFailure,
}

/// Makes a login ready; `client_id` stands in the headers of its requests. On a runtime.
///
/// # Errors
/// The JAAS line says too little.
pub fn login(config: &BrokerLogin, client_id: &str) -> Result<Arc<dyn Login>, NoLogin> {
    let mechanism = config.mechanism.name();
    let login = match config.mechanism {
        SaslMechanism::Plain | SaslMechanism::Scram(_) => SaslLogin::from_jaas(mechanism, &config.jaas, client_id),
        SaslMechanism::OauthBearer => match &config.token_source {
            Some(source) => oauthbearer::logins(source)
                .map(|logins| SaslLogin::new(logins, client_id))
                .map_err(ClientFailure),
            None => Err(ClientFailure("it has no source of tokens".into())),
        },
    };
    let login = login.map_err(|reason| NoLogin { mechanism, reason })?;
    Ok(Arc::new(login))
}
