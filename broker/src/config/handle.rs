//! The configuration while the broker runs: what was set at start, with `/config/brokers/<default>` and
//! `/config/brokers/N` laid over it.
//!
//! Precedence: per-broker over cluster-wide over static over default. Does not read ZooKeeper: the listener of
//! `/config/changes` calls [`ConfigHandle::apply_dynamic`]. A change that would be invalid, or that a part of the broker
//! cannot take over, leaves everything as it was. Passwords are plain here and encoded in ZooKeeper.
//!
//! Source: Kafka 3.9 `DynamicBrokerConfig`.

use core::fmt;
use std::collections::BTreeMap;
use std::sync::Arc;

use arc_swap::{ArcSwap, Guard};
use parking_lot::Mutex;
use tokio::sync::watch;

use super::broker_config::BrokerConfig;
use super::dynamic::{BEHIND_MECHANISM, Ignored, is_dynamic_password, key_type, why_not};
use super::error::ConfigError;
use super::keys::{UpdateMode, lookup};
use super::originals::Originals;
use super::passwords::Passwords;
use super::reconfigure::{self, Reconfigurable};
use super::value::{Type, Value};

/// Keys and texts.
pub type Entries = BTreeMap<String, String>;

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

struct Inner {
    current: ArcSwap<BrokerConfig>,
    layers: Mutex<Layers>,
    passwords: Passwords,
    reconfigurables: Mutex<Vec<Arc<dyn Reconfigurable>>>,
    /// Held while a change is taken over: one at a time, in the order of the changes.
    applying: Mutex<()>,
    changes: watch::Sender<u64>,
}

impl fmt::Debug for Inner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inner")
            .field("current", &self.current)
            .finish_non_exhaustive()
    }
}

#[derive(Clone, Default)]
struct Layers {
    fixed: Originals,
    default: Entries,
    broker: Entries,
}

impl ConfigHandle {
    /// A handle on the configuration at start.
    pub fn new(config: BrokerConfig) -> Self {
        let layers = Layers {
            fixed: config.originals.clone(),
            ..Layers::default()
        };
        // A configuration that exists has encoders that can be made.
        let passwords = Passwords::of(&config).unwrap_or_default();
        Self(Arc::new(Inner {
            current: ArcSwap::from_pointee(config),
            layers: Mutex::new(layers),
            passwords,
            reconfigurables: Mutex::default(),
            applying: Mutex::default(),
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

    /// Asks `part` from now on about every change, and tells it of those that are taken over.
    pub fn add_reconfigurable(&self, part: Arc<dyn Reconfigurable>) {
        self.0.reconfigurables.lock().push(part);
    }

    /// Lays what `/config/brokers/<default>` and `/config/brokers/N` hold over the static configuration when the broker
    /// starts: anything that is valid can be begun with.
    ///
    /// # Errors
    /// The result would be invalid; nothing has changed.
    pub fn initialize(&self, default: Entries, broker: Entries) -> Result<(), ConfigError> {
        self.apply(default, broker, |_, _| Ok(())).map(drop)
    }

    /// Lays what `/config/brokers/<default>` and `/config/brokers/N` hold over the static configuration of a running
    /// broker, tells who has registered as a part of it, and answers whether anything changed.
    ///
    /// # Errors
    /// The result would be invalid, or a part cannot take it over; nothing has changed.
    pub fn apply_dynamic(&self, default: Entries, broker: Entries) -> Result<bool, ConfigError> {
        self.apply(default, broker, |before, after| self.check_change(before, after))
    }

    fn apply(
        &self,
        default: Entries,
        broker: Entries,
        check: impl Fn(&BrokerConfig, &BrokerConfig) -> Result<(), ConfigError>,
    ) -> Result<bool, ConfigError> {
        let _one_at_a_time = self.0.applying.lock();
        let next = {
            let layers = self.0.layers.lock();
            if layers.default == default && layers.broker == broker {
                return Ok(false);
            }
            Layers {
                fixed: layers.fixed.clone(),
                default,
                broker,
            }
        };
        let before = self.current();
        let after = Arc::new(BrokerConfig::from_pairs(next.pairs())?);
        check(&before, &after)?;
        *self.0.layers.lock() = next;
        self.0.current.store(Arc::clone(&after));
        for part in self.reconfigurables() {
            part.reconfigure(&before, &after);
        }
        self.0.changes.send_modify(|version| *version += 1);
        Ok(true)
    }

    fn reconfigurables(&self) -> Vec<Arc<dyn Reconfigurable>> {
        self.0.reconfigurables.lock().clone()
    }

    fn check_change(&self, before: &BrokerConfig, after: &BrokerConfig) -> Result<(), ConfigError> {
        for part in self.reconfigurables() {
            part.validate(before, after)
                .map_err(|reason| reconfigure::wrapped(&reason))?;
        }
        reconfigure::check(before, after)
    }

    /// Has every part look again at the files that the configuration names, unless `entries`, which are about to be
    /// written for this broker, name others: those are looked at when they are taken over.
    ///
    /// # Errors
    /// The first part that cannot use them; it keeps what it has.
    pub fn reload_files(&self, entries: &Entries) -> Result<(), ConfigError> {
        let of_files = |(name, _): &(&String, &String)| listener_base_name(name).is_some_and(is_per_listener_only);
        {
            let layers = self.0.layers.lock();
            if !layers
                .broker
                .iter()
                .filter(of_files)
                .eq(entries.iter().filter(of_files))
            {
                return Ok(());
            }
        }
        let config = self.current();
        for part in self.reconfigurables() {
            part.reload(&config).map_err(ConfigError::Refused)?;
        }
        Ok(())
    }

    /// Parts the entries of `/config/brokers/N` (or of `<default>`), as they stand in ZooKeeper, into those that count,
    /// passwords decoded, and those that do not.
    ///
    /// Source: Kafka `DynamicBrokerConfig.fromPersistentProps`.
    pub fn usable(&self, stored: Entries, per_broker: bool) -> (Entries, Vec<Ignored>) {
        let (mut used, mut ignored) = (Entries::new(), Vec::new());
        for (name, text) in stored {
            let plain = match why_not(&name, &text, per_broker) {
                Some(reason) => Err(reason),
                None if is_dynamic_password(&name) => self.0.passwords.decode(&text),
                None => Ok(text),
            };
            match plain {
                Ok(plain) => {
                    used.insert(name, plain);
                }
                Err(reason) => ignored.push(Ignored { name, reason }),
            }
        }
        (used, ignored)
    }

    /// `entries` as they are written to ZooKeeper: passwords encoded.
    ///
    /// # Errors
    /// A password for all brokers, or without `password.encoder.secret`.
    pub fn persistent(&self, entries: Entries, per_broker: bool) -> Result<Entries, ConfigError> {
        self.0.passwords.persistent(entries, per_broker)
    }

    /// What `/config/brokers/N` must hold instead of `stored`, if passwords there are encoded with
    /// `password.encoder.old.secret`. Source: Kafka `DynamicBrokerConfig.maybeReEncodePasswords`.
    ///
    /// # Errors
    /// There is an old secret, and no new one.
    pub fn reencoded(&self, stored: &Entries) -> Result<Option<Entries>, ConfigError> {
        self.0.passwords.reencoded(stored)
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
        let next = BrokerConfig::from_pairs(next.pairs()).map_err(|error| match error {
            // As Scala's `require` says it.
            ConfigError::Requirement(reason) => ConfigError::Refused(format!("requirement failed: {reason}")),
            error => error,
        })?;
        self.check_change(&self.current(), &next)
    }

    /// Every place that gives `name` or a synonym of it a value, the one that counts first. Values are as they were
    /// written; null for a password, and for an unknown key: what it holds is not known to be harmless.
    /// Source: Kafka `ConfigHelper.configSynonyms`.
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
    /// All layers, later ones over earlier ones, without what cannot be changed at run time. A dynamic value takes the
    /// place of all synonyms below it, not only of those that it comes before.
    ///
    /// Source: Kafka `DynamicBrokerConfig.overrideProps`.
    fn pairs(&self) -> Entries {
        let mut pairs = (*self.fixed).clone();
        for layer in [&self.default, &self.broker] {
            for (name, value) in layer.iter().filter(|(name, _)| is_dynamic(name)) {
                for synonym in synonyms_of_broker(name) {
                    pairs.remove(*synonym);
                }
                pairs.insert(name.clone(), value.clone());
            }
        }
        pairs
    }
}

/// Whether `name` may be changed at run time: a key of the table that says so, one of a listener, and whatever no table
/// knows. Source: Kafka `DynamicConfig.Broker.nonDynamicProps`.
pub fn is_dynamic(name: &str) -> bool {
    lookup(name).is_none_or(|key| key.update_mode != UpdateMode::ReadOnly)
}

/// Whether listeners are made of this key, which has no prefix of one. Source: Kafka
/// `DynamicListenerConfig.ReconfigurableConfigs`.
pub(super) fn is_of_listeners(name: &str) -> bool {
    CLUSTER_LEVEL_LISTENER_KEYS.contains(&name)
        || lookup(name).is_some_and(|key| key.update_mode == UpdateMode::PerBroker)
}

const CLUSTER_LEVEL_LISTENER_KEYS: &[&str] =
    &["max.connection.creation.rate", "max.connections", "num.network.threads"];

/// `listener.name.internal.ssl.client.auth` is about `ssl.client.auth`.
pub(super) fn listener_base_name(name: &str) -> Option<&str> {
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
    match (synonyms_of_broker(name), listener_base_name(name)) {
        ([], None) => vec![name],
        ([], Some(base)) => {
            let behind_mechanism = BEHIND_MECHANISM.iter().find(|key| base.ends_with(*key));
            vec![name, behind_mechanism.copied().unwrap_or(base)]
        }
        (all, _) => all.to_vec(),
    }
}

/// The same without listeners; empty for a key that has no other name.
fn synonyms_of_broker(name: &str) -> &'static [&'static str] {
    match name {
        "log.roll.ms" | "log.roll.hours" => &["log.roll.ms", "log.roll.hours"],
        "log.roll.jitter.ms" | "log.roll.jitter.hours" => &["log.roll.jitter.ms", "log.roll.jitter.hours"],
        "log.flush.interval.ms" => &["log.flush.interval.ms", "log.flush.scheduler.interval.ms"],
        "log.retention.ms" | "log.retention.minutes" | "log.retention.hours" => {
            &["log.retention.ms", "log.retention.minutes", "log.retention.hours"]
        }
        _ => &[],
    }
}

#[cfg(test)]
#[path = "handle_tests.rs"]
mod tests;
