//! Configurations as DescribeConfigs and CreateTopics show them: value, where it comes from, what else sets it.
//!
//! Source: Kafka 3.9 `ConfigHelper`.

use std::collections::BTreeMap;

use broker_log::config as topic;
use broker_log::config::LogConfig;

use crate::config::{ConfigHandle, DescribedValue, KEYS, Type, ValueSource, is_dynamic, lookup};

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
    topic::KEYS
        .iter()
        .map(|key| {
            let shown = |text: &str| shown_topic_value(key.kind, text);
            let mut synonyms = match key.synonyms.first() {
                Some(synonym) => broker.describe(synonym.name),
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
                config_type: type_number(key.kind.type_name()),
                documentation: key
                    .synonyms
                    .first()
                    .and_then(|synonym| lookup(synonym.name))
                    .map(|key| key.doc),
            }
        })
        .collect()
}

/// Every configuration of this broker, also those that were set without being known.
pub(super) fn of_broker(broker: &ConfigHandle) -> Vec<Entry> {
    let config = broker.current();
    let known = KEYS.iter().filter(|key| !key.internal).map(|key| key.name);
    let unknown = config
        .originals
        .keys()
        .map(String::as_str)
        .filter(|name| lookup(name).is_none());
    known
        .chain(unknown)
        .map(|name| broker_entry(broker, name, config.originals.get(name), false))
        .collect()
}

/// What is set at `/config/brokers/<default>`.
pub(super) fn of_all_brokers(broker: &ConfigHandle) -> Vec<Entry> {
    let (_, default) = broker.dynamic_entries();
    let entries: BTreeMap<String, String> = default;
    entries
        .iter()
        .map(|(name, value)| broker_entry(broker, name, Some(value), true))
        .collect()
}

fn broker_entry(broker: &ConfigHandle, name: &str, set: Option<&String>, cluster_wide: bool) -> Entry {
    let key = lookup(name).or_else(|| lookup(base_name(name)));
    // What an unknown key holds is not known to be harmless.
    let is_sensitive = key.is_none_or(|key| key.is_sensitive());
    let text = set.map(String::as_str).or_else(|| key.and_then(|key| key.default));
    let value = match (is_sensitive, key, text) {
        (true, ..) | (false, _, None) => None,
        (false, Some(key), Some(text)) => Some(key.parse(text).map_or_else(|_| text.to_owned(), |v| v.to_string())),
        (false, None, Some(text)) => Some(text.to_owned()),
    };
    let mut synonyms = broker.describe(name);
    if cluster_wide {
        synonyms.retain(|synonym| synonym.source == ValueSource::DynamicDefaultBroker);
    }
    Entry {
        name: name.to_owned(),
        value,
        source: synonyms.first().map_or(ValueSource::Default, |first| first.source),
        read_only: !is_dynamic(name),
        is_sensitive,
        synonyms,
        config_type: key.map_or(0, |key| type_number(kafka_type(key.of))),
        documentation: key.map(|key| key.doc),
    }
}

/// `listener.name.internal.ssl.client.auth` is about `ssl.client.auth`.
fn base_name(name: &str) -> &str {
    name.strip_prefix("listener.name.")
        .and_then(|rest| rest.split_once('.'))
        .map_or(name, |(_, base)| base)
}

/// As Kafka prints the parsed value.
fn shown_topic_value(kind: topic::Kind, text: &str) -> String {
    let of = match kind {
        topic::Kind::Int(..) | topic::Kind::IntOr(..) => Type::Int,
        topic::Kind::Long(_) => Type::Long,
        topic::Kind::Ratio => Type::Double,
        topic::Kind::Boolean => Type::Boolean,
        topic::Kind::Word(_) | topic::Kind::Release => Type::String,
        topic::Kind::Words(_) | topic::Kind::ThrottledReplicas => Type::List,
    };
    of.parse(text)
        .map_or_else(|_| text.to_owned(), |value| value.to_string())
}

fn kafka_type(of: Type) -> &'static str {
    match of {
        Type::Boolean => "BOOLEAN",
        Type::String => "STRING",
        Type::Int => "INT",
        Type::Short => "SHORT",
        Type::Long => "LONG",
        Type::Double => "DOUBLE",
        Type::List => "LIST",
        Type::Class => "CLASS",
        Type::Password => "PASSWORD",
    }
}

/// Source: Kafka `DescribeConfigsResponse.ConfigType`.
fn type_number(name: &str) -> i8 {
    match name {
        "BOOLEAN" => 1,
        "STRING" => 2,
        "INT" => 3,
        "SHORT" => 4,
        "LONG" => 5,
        "DOUBLE" => 6,
        "LIST" => 7,
        "CLASS" => 8,
        "PASSWORD" => 9,
        _ => 0,
    }
}
