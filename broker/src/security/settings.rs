//! What `server.properties` says of the authorizer.

use broker_admission::{AuthorizerSettings, ZooKeeperDefaults};

use crate::config::{BrokerConfig, ConfigError};

/// What is configured; nothing if there is to be no authorizer.
///
/// # Errors
/// `authorizer.class.name` names another authorizer, or one of the authorizer's keys has no such value.
pub(crate) fn authorizer_settings(config: &BrokerConfig) -> Result<Option<AuthorizerSettings>, ConfigError> {
    let given = |key: &str| config.originals.get(key).cloned();
    let zookeeper = ZooKeeperDefaults {
        connection_timeout_ms: config.zookeeper_connection_timeout_ms,
        session_timeout_ms: config.zookeeper_session_timeout_ms,
        max_in_flight_requests: config.zookeeper_max_in_flight_requests,
    };
    Ok(AuthorizerSettings::read(
        &config.authorizer_class_name,
        given,
        zookeeper,
    )?)
}
