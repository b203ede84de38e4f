//! Changing configurations, for AlterConfigs and IncrementalAlterConfigs alike: who may be changed, to what, in which
//! words it is refused.
//!
//! A change is checked as a whole before it is written, and takes effect when `/config/changes` says so, here as on
//! every other broker. Passwords are written encoded; one that cannot be decoded here (its secret is another one) is
//! kept as it is for as long as nobody sets or deletes it.
//!
//! Source: Kafka 3.9 `ConfigAdminManager.preprocess`, `ZkAdminManager`, `RuntimeLoggerManager`.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use broker_log::LogConfig;
use broker_log::config::{ConfigError as LogConfigError, Kind};
use broker_wire::ErrorCode;
use model::{BrokerId, validate_topic_name};
use zk_schema::brokers::topics;
use zk_schema::config::Entity;

use super::RequestContext;
use super::config_resource::{self, Refusal, ResourceKind, check_broker};
use crate::blocking;
use crate::config::{ConfigError, ConfigHandle, Type, is_dynamic_password, lookup};
use crate::logging::levels::{self, LEVELS, ROOT_LOGGER};
use crate::security::Operation;
use crate::zookeeper::{AdminError, configs};

/// `AlterConfigOp.OpType`s.
pub(super) const SET: i8 = 0;
const DELETE: i8 = 1;
const APPEND: i8 = 2;
const SUBTRACT: i8 = 3;

type Entries = BTreeMap<String, String>;

/// One resource that is to be changed.
#[derive(Clone, Debug)]
pub(super) struct Wish {
    /// As on the wire: it is answered with.
    pub(super) kind: i8,
    pub(super) name: String,
    pub(super) entries: Vec<Entry>,
}

/// One configuration of it.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) name: String,
    pub(super) operation: i8,
    pub(super) value: Option<String>,
}

/// What becomes of configurations that are not named.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    /// They go.
    Replace,
    /// They stay.
    Incremental,
}

/// Changes what is wished, or only says whether it could; outcomes in the order of `wishes`.
pub(super) async fn alter(
    cx: &RequestContext,
    wishes: &[Wish],
    mode: Mode,
    validate_only: bool,
) -> Vec<Result<(), Refusal>> {
    let mut times = HashMap::<(i8, &str), usize>::new();
    for wish in wishes {
        *times.entry((wish.kind, &wish.name)).or_default() += 1;
    }
    let mut outcomes = Vec::with_capacity(wishes.len());
    for wish in wishes {
        outcomes.push(if times[&(wish.kind, wish.name.as_str())] > 1 {
            Err(Refusal::invalid_request("Each resource must appear at most once."))
        } else {
            alter_one(cx, wish, mode, validate_only).await
        });
    }
    outcomes
}

async fn alter_one(cx: &RequestContext, wish: &Wish, mode: Mode, validate_only: bool) -> Result<(), Refusal> {
    check_entries(&wish.entries)?;
    let kind = ResourceKind::of(wish.kind);
    if kind == ResourceKind::Broker && !wish.name.is_empty() {
        // Refused as what it is, whoever asks.
        let id = cx.broker_id();
        let expected = format!("Unexpected broker id, expected {id}, but received {}", wish.name);
        check_broker(id, &wish.name, "Node", &expected)?;
    }
    config_resource::authorize(cx, Operation::AlterConfigs, wish.kind, &wish.name, false)?;
    match (kind, mode) {
        (ResourceKind::Topic, _) => alter_topic(cx, wish, mode, validate_only).await,
        (ResourceKind::Broker, _) => alter_broker(cx, wish, mode, validate_only).await,
        (ResourceKind::BrokerLogger, Mode::Incremental) => alter_loggers(cx.broker_id(), wish, validate_only),
        (ResourceKind::ClientMetrics, _) => Err(Refusal::invalid_request(
            "AlterConfigs is only supported for topics and brokers, but resource type is CLIENT_METRICS",
        )),
        (ResourceKind::BrokerLogger | ResourceKind::Unknown, _) => {
            Err(Refusal::invalid_request(format!("Unknown resource type {}", wish.kind)))
        }
    }
}

fn check_entries(entries: &[Entry]) -> Result<(), Refusal> {
    let mut names = HashSet::new();
    if !entries.iter().all(|entry| names.insert(entry.name.as_str())) {
        return Err(Refusal::invalid_request("Error due to duplicate config keys"));
    }
    let nulls: Vec<&str> = entries
        .iter()
        .filter(|entry| entry.operation != DELETE && entry.value.is_none())
        .map(|entry| entry.name.as_str())
        .collect();
    if nulls.is_empty() {
        Ok(())
    } else {
        Err(Refusal::invalid_request(format!(
            "Null value not supported for : {}",
            nulls.join(", ")
        )))
    }
}

async fn alter_topic(cx: &RequestContext, wish: &Wish, mode: Mode, validate_only: bool) -> Result<(), Refusal> {
    let topic = wish.name.as_str();
    if topic.is_empty() {
        return Err(Refusal::invalid_request("Default topic resources are not allowed."));
    }
    let store = &cx.broker.store;
    let entity = Entity::Topic(topic.to_owned());
    let before = match mode {
        Mode::Replace => Entries::new(),
        // What is no topic's name is no path either, and is refused below.
        Mode::Incremental if validate_topic_name(topic).is_err() => Entries::new(),
        Mode::Incremental => configs::read(store, &entity).await?,
    };
    let after = altered(before, &wish.entries, topic_list_default)?;
    // Kafka asks its metadata; ZooKeeper knows of a topic that was created a moment ago at another broker.
    let exists = validate_topic_name(topic).is_ok()
        && store
            .exists(&topics::path(topic))
            .await
            .map_err(AdminError::from)?
            .is_some();
    if !exists {
        return Err(Refusal::new(
            ErrorCode::UnknownTopicOrPartition,
            format!("The topic '{topic}' does not exist."),
        ));
    }
    check_topic(cx, topic, &after)?;
    if !validate_only {
        tracing::info!(topic, config = ?after, "updating the topic with a new configuration");
        configs::change(store, &entity, &after).await?;
    }
    Ok(())
}

fn check_topic(cx: &RequestContext, topic: &str, entries: &Entries) -> Result<(), Refusal> {
    let config = cx.broker.config.current();
    let defaults = LogConfig::from_broker(|key| config.originals.get(key).map(String::as_str)).unwrap_or_default();
    LogConfig::validate(&defaults, entries).map_err(|error| {
        let message = match &error {
            LogConfigError::Invalid { .. } => invalid_value(ResourceKind::Topic, topic, &error.to_string()),
            LogConfigError::UnknownName(_) | LogConfigError::Conflict(_) => error.to_string(),
        };
        Refusal::new(ErrorCode::InvalidConfig, message)
    })
}

fn invalid_value(kind: ResourceKind, name: &str, reason: &str) -> String {
    format!(
        "Invalid config value for resource ConfigResource(type={}, name='{name}'): {reason}",
        kind.name()
    )
}

async fn alter_broker(cx: &RequestContext, wish: &Wish, mode: Mode, validate_only: bool) -> Result<(), Refusal> {
    let per_broker = !wish.name.is_empty();
    let id = cx.broker_id();
    if per_broker {
        let expected = format!("Unexpected broker id, expected {id}, but received {}", wish.name);
        check_broker(id, &wish.name, "Node", &expected)?;
    }
    let entity = Entity::Broker(per_broker.then_some(id.0));
    let store = &cx.broker.store;
    let config = &cx.broker.config;
    let (unreadable, before) = match mode {
        Mode::Replace => Default::default(),
        Mode::Incremental => {
            let stored = configs::read(store, &entity).await?;
            let (plain, _) = config.usable(stored.clone(), per_broker);
            let unreadable = |name: &str| is_dynamic_password(name) && !plain.contains_key(name);
            let unreadable: Entries = stored.into_iter().filter(|(name, _)| unreadable(name)).collect();
            (unreadable, plain)
        }
    };
    if let Some(entry) = wish
        .entries
        .iter()
        .find(|entry| !(SET..=SUBTRACT).contains(&entry.operation))
    {
        return Err(Refusal::invalid_request(format!(
            "Unknown operations type {}",
            entry.operation
        )));
    }
    let after = altered(before, &wish.entries, broker_list_default)?;
    let names: Vec<String> = after.keys().cloned().collect();
    let checked = {
        let (config, resource) = (Arc::clone(config), wish.name.clone());
        // Key stores are read, and passwords take their time.
        blocking::run(move || check_broker_entries(&config, &resource, after, validate_only)).await?
    };
    let Some(mut stored) = checked else { return Ok(()) };
    tracing::info!(
        broker = wish.name,
        ?names,
        "updating the brokers with a new configuration"
    );
    let altered = |name: &String| wish.entries.iter().any(|entry| entry.name == *name);
    stored.extend(unreadable.into_iter().filter(|(name, _)| !altered(name)));
    configs::change(store, &entity, &stored).await?;
    Ok(())
}

/// What is to be written for the broker called `resource` (all of them, if it has no name); `None` if only the check was
/// asked for. Files that the configuration names are looked at again, as a write would have it.
fn check_broker_entries(
    config: &ConfigHandle,
    resource: &str,
    entries: Entries,
    validate_only: bool,
) -> Result<Option<Entries>, Refusal> {
    let per_broker = !resource.is_empty();
    config
        .validate_dynamic(&entries, per_broker)
        .map_err(|error| Refusal::invalid_request(error.to_string()))?;
    if validate_only {
        return Ok(None);
    }
    let invalid = |error: ConfigError| {
        let message = invalid_value(ResourceKind::Broker, resource, &error.to_string());
        Refusal::new(ErrorCode::InvalidConfig, message)
    };
    if per_broker {
        config.reload_files(&entries).map_err(invalid)?;
    }
    config.persistent(entries, per_broker).map(Some).map_err(invalid)
}

/// Carries `entries` out on `config`; `list_default` answers with a list's default, or why a key is no list.
///
/// Source: Kafka 3.9 `ConfigAdminManager.prepareIncrementalConfigs`.
fn altered(
    mut config: Entries,
    entries: &[Entry],
    list_default: fn(&str) -> Result<&'static str, NotAList>,
) -> Result<Entries, Refusal> {
    for Entry { name, operation, value } in entries {
        let value = value.as_deref().unwrap_or_default();
        match *operation {
            SET => {
                config.insert(name.clone(), value.to_owned());
            }
            DELETE => {
                config.remove(name);
            }
            APPEND | SUBTRACT => {
                let verb = if *operation == APPEND { "append" } else { "subtract" };
                let default = list_default(name).map_err(|not| match not {
                    NotAList::Other => Refusal::new(
                        ErrorCode::InvalidConfig,
                        format!("Config value {verb} is not allowed for config key: {name}"),
                    ),
                    NotAList::Unknown => Refusal::unknown(),
                })?;
                let old = config.get(name).map_or(default, String::as_str);
                let new = if *operation == APPEND {
                    appended(old, value)
                } else {
                    subtracted(old, value)
                };
                config.insert(name.clone(), new);
            }
            _ => return Err(Refusal::unknown()),
        }
    }
    Ok(config)
}

fn appended(old: &str, value: &str) -> String {
    let mut items = if old.is_empty() { Vec::new() } else { split(old) };
    let known = items.clone();
    items.extend(split(value).into_iter().filter(|item| !known.contains(item)));
    items.join(",")
}

/// Each item of `value` takes away one of its equals, as Scala's `diff` does.
fn subtracted(old: &str, value: &str) -> String {
    let mut items = split(old);
    for gone in split(value) {
        if let Some(at) = items.iter().position(|item| *item == gone) {
            items.remove(at);
        }
    }
    items.join(",")
}

/// As Java's `String.split(",")`: empty items at the end do not count, except where there is nothing else.
fn split(text: &str) -> Vec<&str> {
    let mut items: Vec<&str> = text.split(',').collect();
    while items.len() > 1 && items.last().is_some_and(|item| item.is_empty()) {
        items.pop();
    }
    items
}

enum NotAList {
    /// No such key.
    Unknown,
    /// A key of another type.
    Other,
}

fn topic_list_default(name: &str) -> Result<&'static str, NotAList> {
    let key = broker_log::config::find(name).ok_or(NotAList::Unknown)?;
    match key.kind {
        Kind::Words(_) | Kind::ThrottledReplicas => Ok(key.default),
        _ => Err(NotAList::Other),
    }
}

fn broker_list_default(name: &str) -> Result<&'static str, NotAList> {
    let key = lookup(name).ok_or(NotAList::Unknown)?;
    match key.of {
        Type::List => Ok(key.default.unwrap_or_default()),
        _ => Err(NotAList::Other),
    }
}

fn alter_loggers(id: BrokerId, wish: &Wish, validate_only: bool) -> Result<(), Refusal> {
    let expected = format!("Unexpected node id. Expected {id}, but received {}", wish.name);
    check_broker(id, &wish.name, "Node", &expected)?;
    // Only a test has not started logging: then there are no loggers.
    let levels = levels::levels();
    for entry in &wish.entries {
        check_logger(entry, |logger| levels.is_some_and(|levels| levels.exists(logger)))?;
    }
    let Some(levels) = levels.filter(|_| !validate_only) else {
        return Ok(());
    };
    for Entry { name, operation, value } in &wish.entries {
        let done = match (*operation, value) {
            (SET, Some(level)) => levels.set(name, level),
            _ => levels.unset(name),
        };
        tracing::warn!(logger = name, level = ?value, done, "updated the level of a logger");
    }
    Ok(())
}

fn check_logger(entry: &Entry, exists: impl Fn(&str) -> bool) -> Result<(), Refusal> {
    let name = &entry.name;
    let must_exist = || match exists(name) {
        true => Ok(()),
        false => Err(Refusal::new(
            ErrorCode::InvalidConfig,
            format!("Logger {name} does not exist!"),
        )),
    };
    match entry.operation {
        SET => {
            must_exist()?;
            let level = entry.value.as_deref().unwrap_or_default();
            if LEVELS.contains(&level) {
                return Ok(());
            }
            Err(Refusal::new(
                ErrorCode::InvalidConfig,
                format!(
                    "Cannot set the log level of {name} to {level} as it is not a supported log level. Valid log levels are {}",
                    LEVELS.join(", ")
                ),
            ))
        }
        DELETE => {
            must_exist()?;
            if name == ROOT_LOGGER {
                return Err(Refusal::invalid_request(
                    "Removing the log level of the root logger is not allowed",
                ));
            }
            Ok(())
        }
        APPEND => Err(Refusal::invalid_request(
            "APPEND operation is not allowed for the BROKER_LOGGER resource",
        )),
        SUBTRACT => Err(Refusal::invalid_request(
            "SUBTRACT operation is not allowed for the BROKER_LOGGER resource",
        )),
        other => Err(Refusal::invalid_request(format!(
            "Unknown operation type {other} is not allowed for the BROKER_LOGGER resource"
        ))),
    }
}

#[cfg(test)]
#[path = "config_alteration_tests.rs"]
mod tests;
