//! The configuration while the broker runs: what was set at start, with `/config/brokers/<default>` and
//! `/config/brokers/N` laid over it.
//!
//! Precedence: per-broker over cluster-wide over static over default. Does not read ZooKeeper: the listener of
//! `/config/changes` calls [`ConfigHandle::apply_dynamic`]. A change that would be invalid leaves everything as it was.
//!
//! Source: Kafka 3.9 `DynamicBrokerConfig`.

use std::collections::BTreeMap;
use std::sync::Arc;

use arc_swap::{ArcSwap, Guard};
use parking_lot::Mutex;
use tokio::sync::watch;

use super::broker_config::BrokerConfig;
use super::dynamic::{check_thread_counts, key_type};
use super::error::ConfigError;
use super::keys::{UpdateMode, lookup};
use super::value::{Type, Value};

/// Keys that exist only dynamically, at `/config/brokers/…`: replication throttles in bytes per second.
/// Source: Kafka `DynamicConfig.Broker`.
pub const DYNAMIC_ONLY_KEYS: &[&str] = &[
    "follower.replication.throttled.rate",
    "leader.replication.throttled.rate",
    "replica.alter.log.dirs.io.max.bytes.per.second",
];

/// Where a value comes from, in `DescribeConfigs`' numbers. Source: Kafka `DescribeConfigsResponse.ConfigSource`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i8)]
pub enum ValueSource {
    /// `/config/topics/T`.
    Topic = 1,
    /// `/config/brokers/N`.
    DynamicBroker = 2,
    /// `/config/brokers/<default>`.
    DynamicDefaultBroker = 3,
    /// File, environment or command line.
    StaticBroker = 4,
    /// The table.
    Default = 5,
}

/// One place that gives a key (or a synonym of it) a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DescribedValue {
    /// The key, or its synonym: `log.retention.hours`.
    pub name: String,
    /// As Kafka shows it; `None` is null, also for a password.
    pub value: Option<String>,
    /// Which layer.
    pub source: ValueSource,
}

/// The current configuration, shared and cheap to clone.
#[derive(Clone, Debug)]
pub struct ConfigHandle(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    current: ArcSwap<BrokerConfig>,
    layers: Mutex<Layers>,
    changes: watch::Sender<u64>,
}

#[derive(Clone, Debug, Default)]
struct Layers {
    fixed: BTreeMap<String, String>,
    default: BTreeMap<String, String>,
    broker: BTreeMap<String, String>,
}

impl ConfigHandle {
    /// A handle on the configuration at start.
    pub fn new(config: BrokerConfig) -> Self {
        let layers = Layers {
            fixed: config.originals.clone(),
            ..Layers::default()
        };
        Self(Arc::new(Inner {
            current: ArcSwap::from_pointee(config),
            layers: Mutex::new(layers),
            changes: watch::Sender::new(0),
        }))
    }

    /// The configuration as it is now; do not hold it across an await.
    pub fn load(&self) -> Guard<Arc<BrokerConfig>> {
        self.0.current.load()
    }

    /// The configuration as it is now, to keep.
    pub fn current(&self) -> Arc<BrokerConfig> {
        self.0.current.load_full()
    }

    /// Resolves whenever the configuration has changed.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.0.changes.subscribe()
    }

    /// Lays what `/config/brokers/<default>` and `/config/brokers/N` hold over the static configuration, and answers
    /// whether anything changed. Entries that no broker may change at run time are left out, as Kafka does.
    ///
    /// # Errors
    /// The result would be invalid; nothing has changed.
    pub fn apply_dynamic(
        &self,
        default: BTreeMap<String, String>,
        broker: BTreeMap<String, String>,
    ) -> Result<bool, ConfigError> {
        let mut layers = self.0.layers.lock();
        if layers.default == default && layers.broker == broker {
            return Ok(false);
        }
        let next = Layers {
            fixed: layers.fixed.clone(),
            default,
            broker,
        };
        let config = BrokerConfig::from_pairs(next.pairs())?;
        *layers = next;
        self.0.current.store(Arc::new(config));
        self.0.changes.send_modify(|version| *version += 1);
        Ok(true)
    }

    /// Checks what an AlterConfigs of a broker resource would leave at `/config/brokers/N` (or `<default>`), without
    /// doing it. Source: Kafka `DynamicBrokerConfig.validateConfigs` and `validate`.
    ///
    /// # Errors
    /// Why the change must be refused, in Kafka's words.
    pub fn validate_dynamic(&self, entries: &BTreeMap<String, String>, per_broker: bool) -> Result<(), ConfigError> {
        // Kafka's messages end in how Scala prints the set at hand.
        let refuse_set = |message: &str, set: &str, names: Vec<&str>| match names.is_empty() {
            true => Ok(()),
            false => Err(ConfigError::Refused(format!("{message}: {set}({})", names.join(", ")))),
        };
        let refuse = |message: &str, names: Vec<&str>| refuse_set(message, "Set", names);
        let named = |holds: &dyn Fn(&str) -> bool| -> Vec<&str> {
            entries.keys().map(String::as_str).filter(|name| holds(name)).collect()
        };
        let mode = |name: &str| lookup(name).map(|key| key.update_mode);
        refuse(
            "Cannot update these configs dynamically",
            named(&|name| mode(name) == Some(UpdateMode::ReadOnly)),
        )?;
        refuse_set(
            "These security configs can be dynamically updated only per-listener using the listener prefix",
            "HashSet",
            named(&|name| is_per_listener_only(name)),
        )?;
        for (name, text) in entries {
            check_value(name, text)?;
        }
        if !per_broker {
            refuse(
                "Cannot update these configs at default cluster level, broker id must be specified",
                named(&|name| is_per_broker(name)),
            )?;
        }
        let layers = self.0.layers.lock().clone();
        let next = match per_broker {
            true => Layers {
                broker: entries.clone(),
                ..layers
            },
            false => Layers {
                default: entries.clone(),
                ..layers
            },
        };
        let next = BrokerConfig::from_pairs(next.pairs())?;
        check_thread_counts(&self.load(), &next)
    }

    /// Every place that gives `name` or a synonym of it a value, the one that counts first; never empty for a key of
    /// the table. Passwords are null. Source: Kafka `ConfigHelper.configSynonyms`.
    pub fn describe(&self, name: &str) -> Vec<DescribedValue> {
        let layers = self.0.layers.lock();
        let mut found = Vec::new();
        let names = synonyms(name);
        for (layer, source) in [
            (&layers.broker, ValueSource::DynamicBroker),
            (&layers.default, ValueSource::DynamicDefaultBroker),
            (&layers.fixed, ValueSource::StaticBroker),
        ] {
            for name in &names {
                if let Some(text) = layer.get(*name) {
                    let value = shown(name, text);
                    found.push(DescribedValue {
                        name: (*name).to_owned(),
                        value,
                        source,
                    });
                }
            }
        }
        for name in &names {
            // Kafka lists a default only where there is one.
            if let Some(default) = lookup(name).and_then(|key| key.default) {
                let value = shown(name, default);
                found.push(DescribedValue {
                    name: (*name).to_owned(),
                    value,
                    source: ValueSource::Default,
                });
            }
        }
        found
    }

    /// The entries that are set at `/config/brokers/N` and `/config/brokers/<default>`, as last applied.
    pub fn dynamic_entries(&self) -> (BTreeMap<String, String>, BTreeMap<String, String>) {
        let layers = self.0.layers.lock();
        (layers.broker.clone(), layers.default.clone())
    }
}

/// Null for a password, and for an unknown key: what it holds is not known to be harmless.
fn shown(name: &str, text: &str) -> Option<String> {
    let of = key_type(name).filter(|of| *of != Type::Password)?;
    Some(
        of.parse(text)
            .map_or_else(|_| text.to_owned(), |value| value.to_string()),
    )
}

impl Layers {
    /// All layers, later ones over earlier ones, without what cannot be changed at run time. A dynamic value also hides
    /// the static value of its synonyms: `log.retention.ms` is looked at before `log.retention.hours` anyway.
    fn pairs(&self) -> BTreeMap<String, String> {
        let mut pairs = self.fixed.clone();
        let changeable = |(name, _): &(&String, &String)| is_dynamic(name);
        for layer in [&self.default, &self.broker] {
            pairs.extend(
                layer
                    .iter()
                    .filter(changeable)
                    .map(|(name, value)| (name.clone(), value.clone())),
            );
        }
        pairs
    }
}

/// Whether `name` may be changed at run time: a key of the table that says so, or one of a listener.
pub fn is_dynamic(name: &str) -> bool {
    lookup(base_name(name)).is_some_and(|key| key.update_mode != UpdateMode::ReadOnly)
        || DYNAMIC_ONLY_KEYS.contains(&name)
}

const CLUSTER_LEVEL_LISTENER_KEYS: &[&str] =
    &["max.connection.creation.rate", "max.connections", "num.network.threads"];

/// `listener.name.internal.ssl.client.auth` is about `ssl.client.auth`.
fn listener_base_name(name: &str) -> Option<&str> {
    name.strip_prefix("listener.name.")?
        .split_once('.')
        .map(|(_, base)| base)
}

pub(super) fn base_name(name: &str) -> &str {
    listener_base_name(name).unwrap_or(name)
}

/// Keys that change only with a listener's prefix. Source: Kafka `SslConfigs.RECONFIGURABLE_CONFIGS`.
pub(super) fn is_per_listener_only(name: &str) -> bool {
    matches!(
        name,
        "ssl.key.password"
            | "ssl.keystore.certificate.chain"
            | "ssl.keystore.key"
            | "ssl.keystore.location"
            | "ssl.keystore.password"
            | "ssl.keystore.type"
            | "ssl.truststore.certificates"
            | "ssl.truststore.location"
            | "ssl.truststore.password"
            | "ssl.truststore.type"
    )
}

/// Keys that cannot be set for all brokers at once. Source: Kafka `DynamicBrokerConfig.perBrokerConfigs`.
pub(super) fn is_per_broker(name: &str) -> bool {
    match listener_base_name(name) {
        Some(base) => !CLUSTER_LEVEL_LISTENER_KEYS.contains(&base),
        None => lookup(name).is_some_and(|key| key.update_mode == UpdateMode::PerBroker),
    }
}

/// Checks one value by its key's type and bounds; keys that nobody knows pass, as in Kafka.
pub(super) fn check_value(name: &str, text: &str) -> Result<(), ConfigError> {
    if let Some(key) = lookup(base_name(name)) {
        return key.parse(text).map(drop);
    }
    if DYNAMIC_ONLY_KEYS.contains(&name) {
        return match Type::Long.parse(text) {
            Ok(Value::Integer(rate)) if rate >= 0 => Ok(()),
            Ok(_) => Err(ConfigError::invalid(name, text, &"Value must be at least 0")),
            Err(reason) => Err(ConfigError::invalid(name, text, &reason)),
        };
    }
    Ok(())
}

/// Names under which the same thing may be set, the one that counts first; just `name` for most.
/// Source: Kafka `DynamicBrokerConfig.brokerConfigSynonyms`.
pub fn synonyms(name: &str) -> Vec<&str> {
    match name {
        "log.roll.ms" | "log.roll.hours" => vec!["log.roll.ms", "log.roll.hours"],
        "log.roll.jitter.ms" | "log.roll.jitter.hours" => vec!["log.roll.jitter.ms", "log.roll.jitter.hours"],
        "log.flush.interval.ms" => vec!["log.flush.interval.ms", "log.flush.scheduler.interval.ms"],
        "log.retention.ms" | "log.retention.minutes" | "log.retention.hours" => {
            vec!["log.retention.ms", "log.retention.minutes", "log.retention.hours"]
        }
        _ => match listener_base_name(name) {
            Some(base) => vec![name, base],
            None => vec![name],
        },
    }
}

#[cfg(test)]
#[path = "handle_tests.rs"]
mod tests;
