//! What AlterConfigs and IncrementalAlterConfigs have in common: whose configuration it is, what may be set, and how
//! it is written.
//!
//! Served by any broker, but a broker's own configuration only by itself, which alone can check it.
//!
//! Source: Kafka 3.9 `ConfigAdminManager`, `ZkAdminManager.alterConfigs`.

use std::collections::{BTreeMap, HashSet};

use broker_log::LogConfig;
use broker_wire::ErrorCode;
use model::{BrokerId, validate_topic_name};
use zk_schema::brokers::topics;
use zk_schema::config::Entity;

use super::RequestContext;
use crate::config::lookup;
use crate::zookeeper::{AdminError, configs};

/// Source: Kafka `ConfigResource.Type`.
pub(super) const TOPIC: i8 = 2;
pub(super) const BROKER: i8 = 4;

/// Kafka's name of a resource type.
pub(super) fn type_name(resource_type: i8) -> &'static str {
    match resource_type {
        TOPIC => "TOPIC",
        BROKER => "BROKER",
        8 => "BROKER_LOGGER",
        16 => "CLIENT_METRICS",
        32 => "GROUP",
        _ => "UNKNOWN",
    }
}

/// The id in a broker resource's name.
pub(super) fn broker_id(name: &str) -> Result<BrokerId, AdminError> {
    name.parse().map(BrokerId).map_err(|_| {
        AdminError::refused(
            ErrorCode::InvalidRequest,
            format!("Broker id must be an integer, but it is: {name}"),
        )
    })
}

/// Whose configuration is to be changed: a topic, this broker, or all brokers.
pub(super) fn entity(cx: &RequestContext, resource_type: i8, name: &str) -> Result<Entity, AdminError> {
    let refuse = |message: String| Err(AdminError::refused(ErrorCode::InvalidRequest, message));
    match resource_type {
        TOPIC if name.is_empty() => refuse("Default topic resources are not allowed.".into()),
        TOPIC => Ok(Entity::Topic(name.to_owned())),
        BROKER if name.is_empty() => Ok(Entity::Broker(None)),
        BROKER => match name.parse::<i32>() {
            Ok(id) if BrokerId(id) == cx.broker_id() => Ok(Entity::Broker(Some(id))),
            Ok(_) => refuse(format!(
                "Unexpected broker id, expected {}, but received {name}",
                cx.broker_id()
            )),
            Err(_) => refuse(format!("Node id must be an integer, but it is: {name}")),
        },
        other => refuse(format!("Unknown resource type {other}")),
    }
}

/// Which resources are named more than once: none of them is changed.
pub(super) fn named_twice<'a>(resources: impl Iterator<Item = (i8, &'a str)>) -> HashSet<(i8, String)> {
    let mut seen = HashSet::new();
    resources
        .filter(|resource| !seen.insert(*resource))
        .map(|(kind, name)| (kind, name.to_owned()))
        .collect()
}

/// The refusal for a resource that is named more than once.
pub(super) fn twice() -> AdminError {
    AdminError::refused(ErrorCode::InvalidRequest, "Each resource must appear at most once.")
}

/// Checks the keys of one resource: none twice, and a value for each that is set.
pub(super) fn check_keys<'a>(keys: impl Iterator<Item = (&'a str, bool)>) -> Result<(), AdminError> {
    let mut seen = HashSet::new();
    let mut without = Vec::new();
    let mut duplicate = false;
    for (name, has_value) in keys {
        duplicate |= !seen.insert(name);
        if !has_value {
            without.push(name);
        }
    }
    if duplicate {
        return Err(AdminError::refused(
            ErrorCode::InvalidRequest,
            "Error due to duplicate config keys",
        ));
    }
    if !without.is_empty() {
        return Err(AdminError::refused(
            ErrorCode::InvalidRequest,
            format!("Null value not supported for : {}", without.join(", ")),
        ));
    }
    Ok(())
}

/// Replaces all that is set for `entity` by `config`, after checking it.
pub(super) async fn replace(
    cx: &RequestContext,
    entity: &Entity,
    config: &BTreeMap<String, String>,
    validate_only: bool,
) -> Result<(), AdminError> {
    match entity {
        Entity::Topic(topic) => check_topic(cx, topic, config).await?,
        Entity::Broker(id) => check_broker(cx, config, id.is_some())?,
        // `entity` makes no others.
        Entity::Client(_) | Entity::User(_) | Entity::UserClient(..) | Entity::Ip(_) => {}
    }
    if !validate_only {
        configs::change(&cx.broker.store, entity, config).await?;
        let keys: Vec<&String> = config.keys().collect();
        tracing::info!(entity = entity.relative_path(), ?keys, "changed a configuration");
    }
    Ok(())
}

async fn check_topic(cx: &RequestContext, topic: &str, config: &BTreeMap<String, String>) -> Result<(), AdminError> {
    let unknown = || {
        AdminError::refused(
            ErrorCode::UnknownTopicOrPartition,
            format!("The topic '{topic}' does not exist."),
        )
    };
    // Kafka asks its metadata; ZooKeeper knows of a topic that was created a moment ago at another broker.
    if validate_topic_name(topic).is_err() || cx.broker.store.exists(&topics::path(topic)).await?.is_none() {
        return Err(unknown());
    }
    let defaults = cx.broker.partitions.logs().topic_config("");
    LogConfig::validate(&defaults, config).map_err(|error| {
        let message = match &error {
            // What is an API error in Kafka is passed on as it is; a bad value is explained.
            broker_log::config::ConfigError::UnknownName(_) => error.to_string(),
            broker_log::config::ConfigError::Invalid { .. } | broker_log::config::ConfigError::Conflict(_) => {
                format!("Invalid config value for resource ConfigResource(type=TOPIC, name='{topic}'): {error}")
            }
        };
        AdminError::refused(ErrorCode::InvalidConfig, message)
    })
}

fn check_broker(cx: &RequestContext, config: &BTreeMap<String, String>, own: bool) -> Result<(), AdminError> {
    cx.broker.config.validate_dynamic(config, own)?;
    let current = cx.broker.config.current();
    let now = [
        ("num.io.threads", current.num_io_threads),
        ("num.replica.fetchers", current.num_replica_fetchers),
        (
            "num.recovery.threads.per.data.dir",
            current.num_recovery_threads_per_data_dir,
        ),
        ("background.threads", current.background_threads),
        ("num.network.threads", current.num_network_threads),
    ];
    for (name, now) in now {
        if let Some(asked) = config.get(name).and_then(|value| value.trim().parse().ok()) {
            check_threads(name, now, asked)?;
        }
    }
    // Kafka stores passwords encrypted with password.encoder.secret; storing them readable would be worse than not.
    let is_password = |name: &&String| lookup(name).is_some_and(|key| key.is_sensitive());
    if let Some(name) = config.keys().find(is_password) {
        return Err(AdminError::refused(
            ErrorCode::InvalidRequest,
            format!("Passwords cannot be changed dynamically: {name}"),
        ));
    }
    Ok(())
}

/// Threads may at most double or halve at a time. Source: Kafka 3.9 `DynamicThreadPool.validateReconfiguration`.
fn check_threads(name: &str, now: i32, asked: i32) -> Result<(), AdminError> {
    let bound = if asked <= 0 {
        "value should be at least 1".to_owned()
    } else if asked < now / 2 {
        format!("value should be at least half the current value {now}")
    } else if asked > now.saturating_mul(2) {
        format!("value should not be greater than double the current value {now}")
    } else {
        return Ok(());
    };
    Err(AdminError::refused(
        ErrorCode::InvalidRequest,
        format!(
            "Invalid value org.apache.kafka.common.config.ConfigException: Dynamic thread count update validation \
             failed for {name}={asked}, {bound} for configuration Invalid dynamic configuration"
        ),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threads_at_most_double_or_halve() {
        let check = |now: i32, asked: i32, allowed: bool| {
            assert_eq!(
                check_threads("num.io.threads", now, asked).is_ok(),
                allowed,
                "{now} {asked}"
            );
        };
        check(8, 16, true);
        check(8, 17, false);
        check(8, 4, true);
        check(8, 3, false);
        check(1, 1, true);
        check(1, 0, false);
        check(i32::MAX, i32::MAX, true);
    }

    #[test]
    fn keys_come_once_and_with_a_value() {
        let check = |keys: &[(&str, bool)], message: Option<&str>| {
            let refused = check_keys(keys.iter().copied()).err().and_then(|error| error.message());
            assert_eq!(refused.as_deref(), message, "{keys:?}");
        };
        check(&[("a", true), ("b", true)], None);
        check(&[("a", true), ("a", true)], Some("Error due to duplicate config keys"));
        check(&[("a", true), ("b", false)], Some("Null value not supported for : b"));
        let twice = named_twice([(TOPIC, "t"), (BROKER, "t"), (TOPIC, "t")].into_iter());
        assert_eq!(twice, HashSet::from([(TOPIC, "t".to_owned())]));
    }
}
