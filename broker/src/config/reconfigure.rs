//! What a running broker can change to, and whom it asks.
//!
//! Two kinds of say: fixed rules between the configuration as it is and as it would be (numbers of threads, listeners),
//! and parts of the broker that have to try the new values (key stores, limits), which register as [`Reconfigurable`].
//! Both are asked before anything is written to ZooKeeper, and again before what ZooKeeper says is taken over.
//!
//! Source: Kafka 3.9 `DynamicBrokerConfig.processReconfiguration`, `DynamicListenerConfig`, `DynamicThreadPool`,
//! `SocketServer` (`ListenerConnectionQuota`, `DataPlaneAcceptor`), `LogCleaner.validateReconfiguration`.

use std::collections::{BTreeMap, BTreeSet};

use super::broker_config::BrokerConfig;
use super::error::ConfigError;
use super::handle::{is_of_listeners, is_per_listener_only, listener_base_name};
use super::listener::Endpoint;
use super::value::Value;

/// A part of the broker that keeps something made of the configuration, and makes it anew when that changes.
///
/// Both are called on a thread that may block for a moment (reading a key store), never under a lock of the
/// configuration that readers need.
pub trait Reconfigurable: Send + Sync {
    /// Whether it could take over `next`; makes what it would keep, and throws it away.
    ///
    /// # Errors
    /// Why not, for whoever asked; without any secret.
    fn validate(&self, current: &BrokerConfig, next: &BrokerConfig) -> Result<(), String>;

    /// Takes over `after`, which has passed [`Reconfigurable::validate`]. What fails now is logged; the old stays.
    fn reconfigure(&self, before: &BrokerConfig, after: &BrokerConfig);

    /// Looks again at files that the configuration names, though it has not changed: what `kafka-configs` on a broker
    /// does as well. Source: Kafka `DynamicBrokerConfig.reloadUpdatedFilesWithoutConfigChange`.
    ///
    /// # Errors
    /// The files cannot be used; the old stays.
    fn reload(&self, _config: &BrokerConfig) -> Result<(), String> {
        Ok(())
    }
}

/// Whether a running broker may go from one configuration to the other, by the fixed rules.
///
/// # Errors
/// The first rule that is broken, wrapped as Kafka wraps it.
pub(super) fn check(current: &BrokerConfig, next: &BrokerConfig) -> Result<(), ConfigError> {
    check_rules(current, next).map_err(|reason| wrapped(&reason))
}

/// Kafka wraps the reason in another exception, whose two arguments it takes for a name and a value.
pub(super) fn wrapped(reason: &str) -> ConfigError {
    ConfigError::Refused(format!(
        "Invalid value org.apache.kafka.common.config.ConfigException: {reason} for configuration Invalid dynamic configuration"
    ))
}

fn check_rules(current: &BrokerConfig, next: &BrokerConfig) -> Result<(), String> {
    check_network_threads(current, next)?;
    check_listener_limits(current, next)?;
    check_classes(current, next)?;
    check_threads(current, next)?;
    check_local_retention(current, next)?;
    check_listeners(current, next)?;
    check_cleaner_threads(current.log_cleaner_threads, next.log_cleaner_threads)
}

fn changed(current: &BrokerConfig, next: &BrokerConfig, key: &str) -> bool {
    current.originals.get(key) != next.originals.get(key)
}

/// Numbers of threads at most halve or double.
fn check_count(name: &str, old: i64, new: i64) -> Result<(), String> {
    let failed = format!("Dynamic thread count update validation failed for {name}={new}, value should");
    match new {
        _ if new == old => Ok(()),
        ..=0 => Err(format!("{failed} be at least 1")),
        _ if new < old / 2 => Err(format!("{failed} be at least half the current value {old}")),
        _ if new > 2 * old => Err(format!("{failed} not be greater than double the current value {old}")),
        _ => Ok(()),
    }
}

fn check_threads(current: &BrokerConfig, next: &BrokerConfig) -> Result<(), String> {
    [
        (
            "background.threads",
            current.background_threads,
            next.background_threads,
        ),
        ("num.io.threads", current.num_io_threads, next.num_io_threads),
        (
            "num.recovery.threads.per.data.dir",
            current.num_recovery_threads_per_data_dir,
            next.num_recovery_threads_per_data_dir,
        ),
        (
            "num.replica.fetchers",
            current.num_replica_fetchers,
            next.num_replica_fetchers,
        ),
    ]
    .into_iter()
    .try_for_each(|(name, old, new)| check_count(name, i64::from(old), i64::from(new)))
}

/// The number that `key` is for a listener.
fn number(config: &BrokerConfig, listener: &str, key: &str) -> Option<i64> {
    match config.for_listener(listener).value(key) {
        Some(Value::Integer(number)) => Some(number),
        _ => None,
    }
}

/// Listeners that stay.
fn kept<'a>(current: &'a BrokerConfig, next: &'a BrokerConfig) -> impl Iterator<Item = (&'a Endpoint, &'a Endpoint)> {
    current.listeners.iter().filter_map(|old| {
        let new = next
            .listeners
            .iter()
            .find(|new| new.listener_name == old.listener_name)?;
        Some((old, new))
    })
}

fn check_network_threads(current: &BrokerConfig, next: &BrokerConfig) -> Result<(), String> {
    const KEY: &str = "num.network.threads";
    kept(current, next).try_for_each(|(listener, _)| {
        let name = &listener.listener_name;
        match (number(current, name, KEY), number(next, name, KEY)) {
            (Some(old), Some(new)) => check_count(KEY, old, new),
            _ => Ok(()),
        }
    })
}

/// None at all would shut a listener out of its own reconfiguration.
fn check_listener_limits(current: &BrokerConfig, next: &BrokerConfig) -> Result<(), String> {
    for (listener, _) in kept(current, next) {
        let name = &listener.listener_name;
        for key in ["max.connections", "max.connection.creation.rate"] {
            let new = number(next, name, key);
            if new != number(current, name, key) && new.is_some_and(|limit| limit <= 0) {
                return Err(format!("Invalid {key} {}", new.unwrap_or(0)));
            }
        }
    }
    Ok(())
}

/// Java classes that a running broker would have to load.
fn check_classes(current: &BrokerConfig, next: &BrokerConfig) -> Result<(), String> {
    const REPORTERS: &str = "metric.reporters";
    let set = |key: &str| next.originals.get(key).is_some_and(|text| !text.trim().is_empty());
    if changed(current, next, REPORTERS) && set(REPORTERS) {
        return Err(format!(
            "Validation of dynamic config update of Set({REPORTERS}) failed with class class kafka.server.DynamicMetricsReporters"
        ));
    }
    Ok(())
}

/// What stays on local disks of a tiered topic is part of what is kept at all.
fn check_local_retention(current: &BrokerConfig, next: &BrokerConfig) -> Result<(), String> {
    let integer = |config: &BrokerConfig, key: &str| match config.value(key) {
        Some(Value::Integer(number)) => number,
        _ => -2,
    };
    let pairs = [
        ("log.local.retention.ms", "log.retention.ms", next.log_retention_ms),
        (
            "log.local.retention.bytes",
            "log.retention.bytes",
            next.log_retention_bytes,
        ),
    ];
    for (local_key, key, all) in pairs {
        if !changed(current, next, local_key) && !changed(current, next, key) {
            continue;
        }
        let local = integer(next, local_key);
        let refuse = |reason: String| Err(format!("Invalid value {local} for configuration {local_key}: {reason}"));
        match local {
            _ if all <= -1 || local == -2 => {}
            -1 => return refuse(format!("Value must not be -1 as {key} value is set as {all}.")),
            _ if local > all => return refuse(format!("Value must not be more than {key} property value: {all}")),
            _ => {}
        }
    }
    Ok(())
}

/// Keys of a listener that change while it is open. Source: Kafka `DynamicSecurityConfigs`,
/// `SocketServer.ListenerReconfigurableConfigs`, `DataPlaneAcceptor.ListenerReconfigurableConfigs`.
fn changes_while_open(base: &str) -> bool {
    is_per_listener_only(base)
        || matches!(
            base,
            "max.connections" | "max.connection.creation.rate" | "num.network.threads"
        )
}

/// Whether a key changes that the listeners are made of. One with a listener's prefix is not such a key: Kafka checks the
/// prefixed keys only beside one of these.
fn listeners_concerned(current: &BrokerConfig, next: &BrokerConfig) -> bool {
    let keys = current.originals.keys().chain(next.originals.keys());
    keys.filter(|key| is_of_listeners(key))
        .any(|key| changed(current, next, key))
}

fn check_listeners(current: &BrokerConfig, next: &BrokerConfig) -> Result<(), String> {
    if !listeners_concerned(current, next) {
        return Ok(());
    }
    let names = |endpoints: &[Endpoint]| -> BTreeSet<String> {
        endpoints
            .iter()
            .map(|endpoint| endpoint.listener_name.clone())
            .collect()
    };
    if !names(&next.advertised_listeners).is_subset(&names(&next.listeners)) {
        let shown = |endpoints: &[Endpoint]| {
            let all = endpoints
                .iter()
                .map(|it| format!("ListenerName({}) -> {it}", it.listener_name));
            format!("Map({})", all.collect::<Vec<_>>().join(", "))
        };
        return Err(format!(
            "Advertised listeners '{}' must be a subset of listeners '{}'",
            shown(&next.advertised_listeners),
            shown(&next.listeners)
        ));
    }
    for (old, new) in kept(current, next) {
        let name = &old.listener_name;
        let fixed = |config: &BrokerConfig| -> BTreeMap<String, String> {
            let prefix = config.for_listener(name).prefix();
            let own = config.originals.iter().filter(|(key, _)| key.starts_with(&prefix));
            own.filter(|(key, _)| listener_base_name(key).is_none_or(|base| !changes_while_open(base)))
                .map(|(key, value)| (key.clone(), value.clone()))
                .collect()
        };
        if fixed(current) != fixed(next) {
            return Err(format!(
                "Configs cannot be updated dynamically for existing listener ListenerName({name}), restart broker or create a new listener for update"
            ));
        }
        if old.security_protocol != new.security_protocol {
            return Err(format!(
                "Security protocol cannot be updated for existing listener ListenerName({name})"
            ));
        }
    }
    if !names(&next.advertised_listeners).contains(&next.inter_broker_listener_name) {
        return Err(format!(
            "Advertised listener must be specified for inter-broker listener ListenerName({})",
            next.inter_broker_listener_name
        ));
    }
    Ok(())
}

fn check_cleaner_threads(old: i32, new: i32) -> Result<(), String> {
    match new {
        _ if new == old => Ok(()),
        ..=0 => Err("Log cleaner threads should be at least 1".into()),
        _ if new < old / 2 => Err(format!(
            "Log cleaner threads cannot be reduced to less than half the current value {old}"
        )),
        _ if i64::from(new) > 2 * i64::from(old) => Err(format!(
            "Log cleaner threads cannot be increased to more than double the current value {old}"
        )),
        _ => Ok(()),
    }
}

#[cfg(test)]
#[path = "reconfigure_tests.rs"]
mod tests;
