//! What of `/config/brokers/…` can be used, and how far numbers of threads may change at once.
//!
//! Whoever writes to ZooKeeper past a broker's checks (the old `--zookeeper` tools, another version, a hand) must not
//! stop brokers: an entry that cannot be used is left out with the reason, the others count.
//!
//! Source: Kafka 3.9 `DynamicBrokerConfig.fromPersistentProps`, `DynamicThreadPool.validateReconfiguration`,
//! `LogCleaner.validateReconfiguration`.

use std::collections::BTreeMap;

use super::broker_config::BrokerConfig;
use super::error::ConfigError;
use super::handle::{DYNAMIC_ONLY_KEYS, base_name, check_value, is_per_broker, is_per_listener_only};
use super::keys::{UpdateMode, lookup};
use super::value::Type;

/// An entry in ZooKeeper that does not count.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ignored {
    /// The key.
    pub name: String,
    /// Why not; never with a password in it.
    pub reason: String,
}

/// Parts the entries of `/config/brokers/N` (or of `<default>`) into those that count and those that do not.
pub fn usable(entries: BTreeMap<String, String>, per_broker: bool) -> (BTreeMap<String, String>, Vec<Ignored>) {
    let mut ignored = Vec::new();
    let used = entries
        .into_iter()
        .filter(|(name, text)| match why_not(name, text, per_broker) {
            None => true,
            Some(reason) => {
                ignored.push(Ignored {
                    name: name.clone(),
                    reason,
                });
                false
            }
        })
        .collect();
    (used, ignored)
}

fn why_not(name: &str, text: &str, per_broker: bool) -> Option<String> {
    if is_dynamic_password(name) {
        return Some("passwords that are encoded in zookeeper cannot be read".into());
    }
    if let Err(error) = check_value(name, text) {
        return Some(error.to_string());
    }
    if lookup(name).is_some_and(|key| key.update_mode == UpdateMode::ReadOnly) {
        return Some("it can be changed only by a restart".into());
    }
    if is_per_listener_only(name) {
        return Some("it can be changed only with the prefix of a listener".into());
    }
    if !per_broker && is_per_broker(name) {
        return Some("it can be changed only for one broker".into());
    }
    None
}

/// Whether values of this key stand encoded in ZooKeeper. Source: Kafka `DynamicBrokerConfig.isPasswordConfig`.
pub fn is_dynamic_password(name: &str) -> bool {
    const PASSWORDS: &[&str] = &[
        "sasl.jaas.config",
        "ssl.key.password",
        "ssl.keystore.certificate.chain",
        "ssl.keystore.key",
        "ssl.keystore.password",
        "ssl.truststore.certificates",
        "ssl.truststore.password",
    ];
    PASSWORDS.iter().any(|password| name.ends_with(password))
}

/// The type of a broker key, also of one with the prefix of a listener (and a SASL mechanism); `None` if it is unknown.
/// Source: Kafka `KafkaConfig.configType`.
pub fn key_type(name: &str) -> Option<Type> {
    // Source: Kafka `DynamicBrokerConfig.ListenerMechanismConfigs`: these stand behind a mechanism as well.
    const BEHIND_MECHANISM: &[&str] = &[
        "connections.max.reauth.ms",
        "sasl.jaas.config",
        "sasl.login.callback.handler.class",
        "sasl.login.class",
        "sasl.server.callback.handler.class",
    ];
    if DYNAMIC_ONLY_KEYS.contains(&name) {
        return Some(Type::Long);
    }
    let base = base_name(name);
    let base = match BEHIND_MECHANISM.iter().find(|key| base.ends_with(*key)) {
        Some(key) if base != name => key,
        _ => base,
    };
    lookup(base).map(|key| key.of)
}

/// Whether a running broker may go from one configuration to the other: numbers of threads at most halve or double.
pub(super) fn check_thread_counts(current: &BrokerConfig, next: &BrokerConfig) -> Result<(), ConfigError> {
    let pools = [
        (
            "background.threads",
            current.background_threads,
            next.background_threads,
        ),
        ("num.io.threads", current.num_io_threads, next.num_io_threads),
        (
            "num.network.threads",
            current.num_network_threads,
            next.num_network_threads,
        ),
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
    ];
    for (name, old, new) in pools {
        let failed = format!("Dynamic thread count update validation failed for {name}={new}, value should");
        check_count(
            old,
            new,
            format!("{failed} be at least 1"),
            format!("{failed} be at least half the current value {old}"),
            format!("{failed} not be greater than double the current value {old}"),
        )?;
    }
    let (old, new) = (current.log_cleaner_threads, next.log_cleaner_threads);
    check_count(
        old,
        new,
        "Log cleaner threads should be at least 1".into(),
        format!("Log cleaner threads cannot be reduced to less than half the current value {old}"),
        format!("Log cleaner threads cannot be increased to more than double the current value {old}"),
    )
}

fn check_count(old: i32, new: i32, none: String, too_few: String, too_many: String) -> Result<(), ConfigError> {
    let reason = match new {
        _ if new == old => return Ok(()),
        ..=0 => none,
        _ if new < old / 2 => too_few,
        _ if i64::from(new) > 2 * i64::from(old) => too_many,
        _ => return Ok(()),
    };
    // Kafka wraps the reason in another exception, whose two arguments it takes for a name and a value.
    Err(ConfigError::Refused(format!(
        "Invalid value org.apache.kafka.common.config.ConfigException: {reason} for configuration Invalid dynamic configuration"
    )))
}

#[cfg(test)]
mod tests {
    use super::super::ConfigHandle;
    use super::*;

    #[test]
    fn entries_that_cannot_be_used_are_left_out_alone() {
        let check = |name: &str, text: &str, per_broker: bool, used: bool| {
            let entries = [(name, text), ("log.retention.ms", "5")].map(|(k, v)| (k.to_owned(), v.to_owned()));
            let (kept, ignored) = usable(BTreeMap::from(entries), per_broker);
            assert_eq!(kept.contains_key(name), used, "{name}={text}");
            assert!(kept.contains_key("log.retention.ms"));
            assert_eq!(ignored.len(), usize::from(!used), "{ignored:?}");
        };
        check("message.max.bytes", "7", false, true);
        check("message.max.bytes", "-7", false, false);
        check("message.max.bytes", "x", true, false);
        check("zookeeper.connect", "other", true, false);
        check("ssl.keystore.type", "PEM", true, false);
        check("listener.name.internal.ssl.keystore.type", "PEM", true, true);
        check("listener.name.internal.ssl.keystore.type", "PEM", false, false);
        check("listener.name.internal.ssl.keystore.password", "x", true, false);
        check("leader.replication.throttled.rate", "100", true, true);
        check("leader.replication.throttled.rate", "lots", true, false);
        check("my.own.setting", "x", false, true);
    }

    #[test]
    fn types_are_found_behind_listeners_and_mechanisms() {
        let check = |name: &str, of: Option<Type>| assert_eq!(key_type(name), of, "{name}");
        check("num.io.threads", Some(Type::Int));
        check("listener.name.ssl.ssl.keystore.password", Some(Type::Password));
        check(
            "listener.name.sasl_plaintext.scram-sha-256.sasl.jaas.config",
            Some(Type::Password),
        );
        check("follower.replication.throttled.rate", Some(Type::Long));
        check("super.users", None);
    }

    #[test]
    fn threads_at_most_halve_or_double() {
        let pairs = [("zookeeper.connect", "z"), ("broker.id", "0"), ("num.io.threads", "6")];
        let handle = ConfigHandle::new(BrokerConfig::from_pairs(pairs).unwrap());
        let check = |name: &str, value: &str, expected: Result<(), &str>| {
            let entries = BTreeMap::from([(name.to_owned(), value.to_owned())]);
            let wrapped = expected.map_err(|reason| {
                format!(
                    "Invalid value org.apache.kafka.common.config.ConfigException: {reason} for configuration Invalid dynamic configuration"
                )
            });
            let found = handle
                .validate_dynamic(&entries, true)
                .map_err(|error| error.to_string());
            assert_eq!(found, wrapped, "{name}={value}");
        };
        check("num.io.threads", "12", Ok(()));
        check("num.io.threads", "3", Ok(()));
        check(
            "num.io.threads",
            "100",
            Err(
                "Dynamic thread count update validation failed for num.io.threads=100, value should not be greater than double the current value 6",
            ),
        );
        check(
            "num.io.threads",
            "2",
            Err(
                "Dynamic thread count update validation failed for num.io.threads=2, value should be at least half the current value 6",
            ),
        );
        check(
            "log.cleaner.threads",
            "3",
            Err("Log cleaner threads cannot be increased to more than double the current value 1"),
        );
    }
}
