//! Configurations as DescribeConfigs and CreateTopics show them: value, where it comes from, what else sets it.
//!
//! Source: Kafka 3.9 `ConfigHelper`.

use std::collections::{BTreeMap, BTreeSet};

use broker_log::config as topic;
use broker_log::config::LogConfig;

use crate::config::{ConfigHandle, DescribedValue, KEYS, Type, UpdateMode, ValueSource, key_type, lookup};

/// One configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) name: String,
    pub(super) value: Option<String>,
    pub(super) source: ValueSource,
    pub(super) read_only: bool,
    pub(super) is_sensitive: bool,
    /// All that give it a value, the one that counts first.
    pub(super) synonyms: Vec<DescribedValue>,
    /// In DescribeConfigs' numbers.
    pub(super) config_type: i8,
    pub(super) documentation: Option<&'static str>,
}

/// Every configuration of a topic; `broker` answers for the broker's configurations that set defaults.
pub(super) fn of_topic(broker: &ConfigHandle, config: &LogConfig) -> Vec<Entry> {
    topic::KEYS.iter().map(|key| topic_entry(broker, config, key)).collect()
}

/// The same of a topic with these overrides, as ZooKeeper has them. Invalid values have no effect; unknown keys are
/// shown without value, since what they hold is not known to be harmless.
pub(super) fn of_topic_overrides(
    broker: &ConfigHandle,
    defaults: &LogConfig,
    overrides: BTreeMap<String, String>,
) -> Vec<Entry> {
    let usable = |(name, text): &(String, String)| topic::find(name).is_some_and(|key| topic::check(key, text).is_ok());
    let (usable, others): (Vec<_>, Vec<_>) = overrides.into_iter().partition(usable);
    let config = LogConfig::resolve(defaults, &usable.into_iter().collect()).unwrap_or_else(|_| defaults.clone());
    let mut entries = of_topic(broker, &config);
    for (name, _) in others {
        if topic::find(&name).is_some() {
            continue;
        }
        let synonym = DescribedValue {
            name: name.clone(),
            value: None,
            source: ValueSource::Topic,
        };
        entries.push(Entry {
            name,
            value: None,
            source: ValueSource::Topic,
            read_only: false,
            is_sensitive: true,
            synonyms: vec![synonym],
            config_type: 0,
            documentation: None,
        });
    }
    entries
}

fn topic_entry(broker: &ConfigHandle, config: &LogConfig, key: &topic::Key) -> Entry {
    let of = topic_type(key.kind);
    let shown = |text: &str| {
        of.parse(text)
            .map_or_else(|_| text.to_owned(), |value| value.to_string())
    };
    // Only the first synonym counts: where a topic's `retention.ms` comes from `log.retention.hours`, Kafka says
    // nothing and calls it a default.
    let mut synonyms = match key.synonyms.first() {
        Some(synonym) => described(broker, synonym.name),
        None => Vec::new(),
    };
    if let Some(own) = config.overridden(key.name) {
        let own = DescribedValue {
            name: key.name.to_owned(),
            value: Some(shown(own)),
            source: ValueSource::Topic,
        };
        synonyms.insert(0, own);
    }
    Entry {
        name: key.name.to_owned(),
        value: config.value(key.name).map(shown),
        source: synonyms.first().map_or(ValueSource::Default, |first| first.source),
        read_only: false,
        is_sensitive: false,
        synonyms,
        config_type: of.wire_id(),
        documentation: topic_documentation(key),
    }
}

fn topic_documentation(key: &topic::Key) -> Option<&'static str> {
    match key.name {
        "leader.replication.throttled.replicas" => {
            Some("Replicas whose leaders send them their records at the throttled rate: `partition:broker,…` or `*`.")
        }
        "follower.replication.throttled.replicas" => {
            Some("Replicas that fetch records at the throttled rate: `partition:broker,…` or `*`.")
        }
        name if name.starts_with("remote.") => {
            Some("Tiered storage, which brokers of a ZooKeeper cluster do not have.")
        }
        _ => lookup(key.synonyms.first()?.name).map(|key| key.doc),
    }
}

const fn topic_type(kind: topic::Kind) -> Type {
    match kind {
        topic::Kind::Int(..) | topic::Kind::IntOr(..) => Type::Int,
        topic::Kind::Long(_) => Type::Long,
        topic::Kind::Ratio => Type::Double,
        topic::Kind::Boolean => Type::Boolean,
        topic::Kind::Word(_) | topic::Kind::Release => Type::String,
        topic::Kind::Words(_) | topic::Kind::ThrottledReplicas => Type::List,
    }
}

/// Every configuration of this broker, also those that were set without being known.
pub(super) fn of_broker(broker: &ConfigHandle) -> Vec<Entry> {
    let config = broker.current();
    let (own, default) = broker.dynamic_entries();
    let known = KEYS.iter().filter(|key| !key.internal).map(|key| key.name);
    let set: BTreeSet<&str> = [&config.originals, &own, &default]
        .into_iter()
        .flat_map(|layer| layer.keys())
        .map(String::as_str)
        .filter(|name| lookup(name).is_none_or(|key| key.internal))
        .collect();
    known
        .chain(set)
        .map(|name| {
            let layers = [&config.originals, &own, &default];
            let text = layers.iter().find_map(|layer| layer.get(name)).map(String::as_str);
            match (text, other_id(name)) {
                // One id under two names, as Kafka fills them in from each other.
                (None, Some(other)) if config.originals.contains_key(other) => Entry {
                    name: name.to_owned(),
                    synonyms: described(broker, other)
                        .into_iter()
                        .map(|synonym| DescribedValue {
                            name: name.to_owned(),
                            ..synonym
                        })
                        .collect(),
                    ..broker_entry(broker, other, config.originals.get(other).map(String::as_str), false)
                },
                (text, _) => broker_entry(broker, name, text, false),
            }
        })
        .collect()
}

fn other_id(name: &str) -> Option<&'static str> {
    match name {
        "broker.id" => Some("node.id"),
        "node.id" => Some("broker.id"),
        _ => None,
    }
}

/// What is set at `/config/brokers/<default>`.
pub(super) fn of_all_brokers(broker: &ConfigHandle) -> Vec<Entry> {
    let (_, default) = broker.dynamic_entries();
    default
        .iter()
        .map(|(name, value)| broker_entry(broker, name, Some(value), true))
        .collect()
}

fn broker_entry(broker: &ConfigHandle, name: &str, set: Option<&str>, cluster_wide: bool) -> Entry {
    let key = lookup(name);
    let of = key_type(name);
    // What an unknown key holds is not known to be harmless.
    let is_sensitive = of.is_none_or(|of| of == Type::Password);
    let text = set.or_else(|| key.and_then(|key| key.default));
    let value = text.filter(|_| !is_sensitive).map(|text| {
        let parsed = of.and_then(|of| of.parse(text).ok());
        parsed.map_or_else(|| text.to_owned(), |value| value.to_string())
    });
    let mut synonyms = described(broker, name);
    if is_sensitive {
        synonyms.iter_mut().for_each(|synonym| synonym.value = None);
    }
    if cluster_wide {
        synonyms.retain(|synonym| synonym.source == ValueSource::DynamicDefaultBroker);
    }
    Entry {
        name: name.to_owned(),
        value,
        source: synonyms.first().map_or(ValueSource::Default, |first| first.source),
        read_only: key.is_none_or(|key| key.update_mode == UpdateMode::ReadOnly),
        is_sensitive,
        synonyms,
        config_type: of.map_or(0, Type::wire_id),
        documentation: key.map(|key| key.doc),
    }
}

/// What gives `name` a value, without what comes before it among its synonyms (a listener's own value when the base
/// key is described). Source: Kafka 3.9 `ConfigHelper.configSynonyms`.
fn described(broker: &ConfigHandle, name: &str) -> Vec<DescribedValue> {
    let mut found = broker.describe(name);
    let first = found.iter().position(|synonym| synonym.name == name);
    found.drain(..first.unwrap_or(found.len()));
    found
}

#[cfg(test)]
#[path = "config_entries_tests.rs"]
mod tests;
