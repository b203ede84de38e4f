//! The limits on connections as the configuration has them, at the start and whenever it changes.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use super::error::StartError;
use crate::Broker;
use crate::config::{BrokerConfig, Value};
use crate::quota::{ConnectionLimits, ListenerLimits};

/// The limits, with the names of hosts resolved.
///
/// # Errors
/// A name has no address.
pub(super) async fn read(config: &BrokerConfig) -> Result<ConnectionLimits, StartError> {
    let mut per_ip_overrides = BTreeMap::new();
    for (host, max) in &config.max_connections_per_ip_overrides {
        per_ip_overrides.extend(resolve(host).await?.map(|ip| (ip, *max)));
    }
    let listeners = config.listeners.iter().map(|endpoint| {
        let name = &endpoint.listener_name;
        let values = config.for_listener(name);
        let number = |key: &str| match values.value(key) {
            Some(Value::Integer(number)) => i32::try_from(number).unwrap_or(i32::MAX),
            _ => i32::MAX,
        };
        let limits = ListenerLimits {
            max: number("max.connections"),
            creation_rate: number("max.connection.creation.rate"),
        };
        (name.clone(), limits)
    });
    Ok(ConnectionLimits {
        max: config.max_connections,
        creation_rate: config.max_connection_creation_rate,
        max_per_ip: config.max_connections_per_ip,
        per_ip_overrides,
        listeners: listeners.collect(),
    })
}

async fn resolve(host: &str) -> Result<impl Iterator<Item = IpAddr> + use<>, StartError> {
    let found = tokio::net::lookup_host((host, 0)).await;
    let found = found.map_err(|source| StartError::UnknownHost {
        host: host.to_owned(),
        source,
    })?;
    let addresses: Vec<IpAddr> = found.map(|address| address.ip().to_canonical()).collect();
    Ok(addresses.into_iter())
}

/// Takes over changed limits for as long as the broker lives; end it by dropping the future.
pub(super) async fn follow(broker: Arc<Broker>) {
    let mut changes = broker.config.changes();
    let mut last = None;
    while changes.changed().await.is_ok() {
        match read(&broker.config.current()).await {
            Ok(limits) => {
                if last.as_ref() != Some(&limits) {
                    broker.connection_quotas.configure(&limits);
                    last = Some(limits);
                }
            }
            Err(error) => tracing::error!(%error, "changed limits on connections are not applied"),
        }
    }
}
