//! How this broker, and the controller in it, log in to other brokers.

use std::sync::Arc;

use broker_security::sasl::ClientFailure;
use broker_wire::login::SaslLogin;
use broker_wire::transport::Login;

use super::oauthbearer;
use crate::config::{BrokerLogin, SaslMechanism};

/// Stands in the headers of the requests of a login.
const CLIENT_ID: &str = "broker-login";

/// A login that cannot be made.
#[derive(Debug, thiserror::Error)]
#[error("brokers cannot log in to each other by {mechanism}: {reason}")]
pub struct NoLogin {
    mechanism: &'static str,
    reason: ClientFailure,
}

/// Makes a login ready.
///
/// # Errors
/// The JAAS line says too little.
pub fn login(config: &BrokerLogin) -> Result<Arc<dyn Login>, NoLogin> {
    let mechanism = config.mechanism.name();
    let login = match config.mechanism {
        SaslMechanism::Plain | SaslMechanism::Scram(_) => SaslLogin::from_jaas(mechanism, &config.jaas, CLIENT_ID),
        SaslMechanism::OauthBearer => match &config.token_source {
            Some(source) => oauthbearer::logins(source)
                .map(|logins| SaslLogin::new(logins, CLIENT_ID))
                .map_err(ClientFailure),
            None => Err(ClientFailure("it has no source of tokens".into())),
        },
    };
    let login = login.map_err(|reason| NoLogin { mechanism, reason })?;
    Ok(Arc::new(login))
}
