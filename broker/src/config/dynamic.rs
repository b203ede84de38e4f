//! What of `/config/brokers/…` can be used.
//!
//! Whoever writes to ZooKeeper past a broker's checks (the old `--zookeeper` tools, another version, a hand) must not
//! stop brokers: an entry that cannot be used is left out with the reason, the others count.
//!
//! Source: Kafka 3.9 `DynamicBrokerConfig.fromPersistentProps`.

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

/// Why an entry of ZooKeeper cannot be used, passwords apart.
pub(super) fn why_not(name: &str, text: &str, per_broker: bool) -> Option<String> {
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

/// Keys of a listener that stand behind the name of a SASL mechanism as well.
/// Source: Kafka `DynamicBrokerConfig.ListenerMechanismConfigs`.
pub(super) const BEHIND_MECHANISM: &[&str] = &[
    "connections.max.reauth.ms",
    "sasl.jaas.config",
    "sasl.login.callback.handler.class",
    "sasl.login.class",
    "sasl.server.callback.handler.class",
];

/// The type of a broker key, also of one with the prefix of a listener (and a SASL mechanism); `None` if it is unknown.
/// Source: Kafka `KafkaConfig.configType`.
pub fn key_type(name: &str) -> Option<Type> {
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

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::super::{BrokerConfig, ConfigHandle};
    use super::*;

    #[test]
    fn entries_that_cannot_be_used_are_left_out_alone() {
        let check = |name: &str, text: &str, per_broker: bool, used: bool| {
            let entries = [(name, text), ("log.retention.ms", "5")].map(|(k, v)| (k.to_owned(), v.to_owned()));
            let config = BrokerConfig::from_pairs([("zookeeper.connect", "z"), ("broker.id", "0")]).unwrap();
            let (kept, ignored) = ConfigHandle::new(config).usable(BTreeMap::from(entries), per_broker);
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
}
