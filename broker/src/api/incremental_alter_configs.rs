//! IncrementalAlterConfigs (key 44, versions 0–1): sets, deletes, appends to and subtracts from configurations.
//!
//! Reads what is set, changes it, writes all of it: of two at once the last wins, as in Kafka.
//!
//! Source: Kafka 3.9 `KafkaApis.handleIncrementalAlterConfigsRequest`, `ConfigAdminManager.prepareIncrementalConfigs`.

use std::collections::BTreeMap;

use broker_log::config as topic;
use broker_wire::ErrorCode;
use kafka_protocol::messages::incremental_alter_configs_request::{AlterConfigsResource, AlterableConfig};
use kafka_protocol::messages::incremental_alter_configs_response::AlterConfigsResourceResponse;
use kafka_protocol::messages::{IncrementalAlterConfigsRequest, IncrementalAlterConfigsResponse};
use zk_schema::config::Entity;

use super::text::wire;
use super::{Api, RequestContext, api, config_resource};
use crate::config::{Type, lookup};
use crate::zookeeper::{AdminError, configs};

pub(super) const API: Api = api!(IncrementalAlterConfigs, 0..=1, handle);

/// Source: Kafka `AlterConfigOp.OpType`.
const SET: i8 = 0;
const DELETE: i8 = 1;
const APPEND: i8 = 2;
const SUBTRACT: i8 = 3;

async fn handle(cx: &RequestContext, request: IncrementalAlterConfigsRequest) -> IncrementalAlterConfigsResponse {
    let named = request
        .resources
        .iter()
        .map(|it| (it.resource_type, it.resource_name.as_str()));
    let twice = config_resource::named_twice(named);
    let mut responses = Vec::with_capacity(request.resources.len());
    for resource in request.resources {
        let altered = match twice.contains(&(resource.resource_type, resource.resource_name.to_string())) {
            true => Err(config_resource::twice()),
            false => alter(cx, &resource, request.validate_only).await,
        };
        let mut response = AlterConfigsResourceResponse::default()
            .with_resource_type(resource.resource_type)
            .with_resource_name(resource.resource_name)
            .with_error_message(None);
        if let Err(error) = altered {
            response = response
                .with_error_code(error.code().code())
                .with_error_message(error.message().map(|message| wire(&message)));
        }
        responses.push(response);
    }
    IncrementalAlterConfigsResponse::default().with_responses(responses)
}

async fn alter(cx: &RequestContext, resource: &AlterConfigsResource, validate_only: bool) -> Result<(), AdminError> {
    let keys = resource
        .configs
        .iter()
        .map(|it| (it.name.as_str(), it.value.is_some() || it.config_operation == DELETE));
    config_resource::check_keys(keys)?;
    let entity = config_resource::entity(cx, resource.resource_type, &resource.resource_name)?;
    let mut config = match &entity {
        // An invalid name would be an invalid path; `replace` refuses it.
        Entity::Topic(name) if model::validate_topic_name(name).is_err() => BTreeMap::new(),
        entity => configs::read(&cx.broker.store, entity).await?,
    };
    for change in &resource.configs {
        apply(&mut config, change, &entity)?;
    }
    config_resource::replace(cx, &entity, &config, validate_only).await
}

fn apply(config: &mut BTreeMap<String, String>, change: &AlterableConfig, entity: &Entity) -> Result<(), AdminError> {
    let name = change.name.as_str();
    let value = change.value.as_deref().unwrap_or_default();
    match change.config_operation {
        SET => {
            config.insert(name.to_owned(), value.to_owned());
        }
        DELETE => {
            config.remove(name);
        }
        operation @ (APPEND | SUBTRACT) => {
            let verb = if operation == APPEND { "append" } else { "subtract" };
            let default = list_default(entity, name, verb)?;
            let old = config.get(name).map_or(default, String::as_str);
            let old = old.split(',').filter(|item| !item.is_empty());
            let asked: Vec<&str> = value.split(',').collect();
            let new: Vec<&str> = match operation {
                APPEND => {
                    let old: Vec<&str> = old.collect();
                    let more = asked.into_iter().filter(|item| !old.contains(item)).collect::<Vec<_>>();
                    [old, more].concat()
                }
                _ => old.filter(|item| !asked.contains(item)).collect(),
            };
            config.insert(name.to_owned(), new.join(","));
        }
        // Kafka fails with a NullPointerException for topics, and says so for brokers.
        other => {
            let message = format!("Unknown operations type {other}");
            return Err(match entity {
                Entity::Topic(_) => AdminError::Unexplained(message),
                _ => AdminError::refused(ErrorCode::InvalidRequest, message),
            });
        }
    }
    Ok(())
}

/// What a list holds while nothing is set; only lists can be appended to.
fn list_default(entity: &Entity, name: &str, verb: &str) -> Result<&'static str, AdminError> {
    let found = match entity {
        Entity::Topic(_) => topic::find(name).map(|key| (key.kind.type_name() == "LIST", key.default)),
        _ => lookup(name).map(|key| (key.of == Type::List, key.default.unwrap_or_default())),
    };
    match found {
        Some((true, default)) => Ok(default),
        Some((false, _)) => Err(AdminError::refused(
            ErrorCode::InvalidConfig,
            format!("Config value {verb} is not allowed for config key: {name}"),
        )),
        None => Err(AdminError::refused(
            ErrorCode::InvalidConfig,
            format!("Unknown config name: {name}"),
        )),
    }
}

#[cfg(test)]
mod tests {
    use kafka_protocol::protocol::StrBytes;

    use super::*;

    #[test]
    fn lists_grow_and_shrink() {
        let check = |set: Option<&str>, operation: i8, value: &str, expected: Result<Option<&str>, ErrorCode>| {
            let name = "cleanup.policy";
            let mut config: BTreeMap<String, String> =
                set.map(|set| (name.to_owned(), set.to_owned())).into_iter().collect();
            let change = AlterableConfig::default()
                .with_name(StrBytes::from_static_str(name))
                .with_config_operation(operation)
                .with_value(Some(StrBytes::from_string(value.to_owned())));
            let applied = apply(&mut config, &change, &Entity::Topic("t".into()));
            let found = applied
                .map(|()| config.get(name).map(String::as_str))
                .map_err(|error| error.code());
            assert_eq!(found, expected, "{set:?} {operation} {value}");
        };
        check(None, SET, "compact", Ok(Some("compact")));
        check(Some("compact"), DELETE, "", Ok(None));
        check(None, APPEND, "compact", Ok(Some("delete,compact")));
        check(Some("compact"), APPEND, "compact,delete", Ok(Some("compact,delete")));
        check(Some("compact,delete"), SUBTRACT, "delete", Ok(Some("compact")));
        check(Some("compact"), SUBTRACT, "delete", Ok(Some("compact")));
        check(None, 9, "x", Err(ErrorCode::UnknownServerError));
    }

    #[test]
    fn only_lists_are_appended_to() {
        let check = |entity: Entity, name: &'static str, message: Option<&str>| {
            let refused = list_default(&entity, name, "append")
                .err()
                .and_then(|error| error.message());
            assert_eq!(refused.as_deref(), message, "{name}");
        };
        let topic = || Entity::Topic("t".into());
        check(topic(), "cleanup.policy", None);
        let number = "Config value append is not allowed for config key: retention.ms";
        check(topic(), "retention.ms", Some(number));
        check(topic(), "no.such", Some("Unknown config name: no.such"));
        check(Entity::Broker(None), "log.cleanup.policy", None);
    }
}
