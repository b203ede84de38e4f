//! DescribeConfigs (key 32, versions 0–4): configurations of topics and of this broker.
//!
//! A topic's overrides are read from ZooKeeper, so that what was just changed shows at any broker. Loggers cannot be
//! described: levels are set where the broker is started.
//!
//! Source: Kafka 3.9 `ConfigHelper.handleDescribeConfigsRequest`.

use broker_log::LogConfig;
use broker_wire::ErrorCode;
use kafka_protocol::messages::describe_configs_request::DescribeConfigsResource;
use kafka_protocol::messages::describe_configs_response::{
    DescribeConfigsResourceResult, DescribeConfigsResult, DescribeConfigsSynonym,
};
use kafka_protocol::messages::{DescribeConfigsRequest, DescribeConfigsResponse};
use kafka_protocol::protocol::StrBytes;
use model::validate_topic_name;
use zk_schema::config::Entity;

use super::config_entries::{self, Entry};
use super::config_resource::{self, BROKER, TOPIC};
use super::text::wire;
use super::{Api, RequestContext, api};
use crate::config::ValueSource;
use crate::zookeeper::{AdminError, configs};

pub(super) const API: Api = api!(DescribeConfigs, 0..=4, handle);

/// What to show of each configuration.
#[derive(Clone, Copy)]
struct Shown {
    version: i16,
    synonyms: bool,
    documentation: bool,
}

async fn handle(cx: &RequestContext, request: DescribeConfigsRequest) -> DescribeConfigsResponse {
    let shown = Shown {
        version: cx.version(),
        synonyms: request.include_synonyms,
        documentation: request.include_documentation,
    };
    let mut results = Vec::with_capacity(request.resources.len());
    for resource in request.resources {
        let result = DescribeConfigsResult::default();
        let result = match describe(cx, &resource).await {
            Ok(entries) => {
                let asked = resource.configuration_keys.unwrap_or_default();
                let wanted = |entry: &Entry| asked.is_empty() || asked.iter().any(|key| key.as_str() == entry.name);
                let entries = entries.into_iter().filter(wanted);
                result
                    .with_error_message(Some(StrBytes::default()))
                    .with_configs(entries.map(|entry| shown.entry(entry)).collect())
            }
            Err(error) => result
                .with_error_code(error.code().code())
                .with_error_message(Some(wire(&error.message().unwrap_or_default()))),
        };
        results.push(
            result
                .with_resource_type(resource.resource_type)
                .with_resource_name(resource.resource_name),
        );
    }
    DescribeConfigsResponse::default().with_results(results)
}

async fn describe(cx: &RequestContext, resource: &DescribeConfigsResource) -> Result<Vec<Entry>, AdminError> {
    let name = resource.resource_name.as_str();
    match resource.resource_type {
        TOPIC => {
            validate_topic_name(name)
                .map_err(|error| AdminError::refused(ErrorCode::InvalidTopicException, error.to_string()))?;
            if cx.broker.metadata.image().topic(name).is_none() {
                return Err(AdminError::refused(ErrorCode::UnknownTopicOrPartition, ""));
            }
            let overrides = configs::read(&cx.broker.store, &Entity::Topic(name.to_owned())).await?;
            let defaults = cx.broker.partitions.logs().topic_config("");
            let config = LogConfig::resolve(&defaults, &overrides)?;
            Ok(config_entries::of_topic(&cx.broker.config, &config))
        }
        BROKER if name.is_empty() => Ok(config_entries::of_all_brokers(&cx.broker.config)),
        BROKER if config_resource::broker_id(name)? == cx.broker_id() => {
            Ok(config_entries::of_broker(&cx.broker.config))
        }
        BROKER => Err(AdminError::refused(
            ErrorCode::InvalidRequest,
            format!(
                "Unexpected broker id, expected {} or empty string, but received {name}",
                cx.broker_id()
            ),
        )),
        other => Err(AdminError::refused(
            ErrorCode::InvalidRequest,
            format!("Unsupported resource type: {}", config_resource::type_name(other)),
        )),
    }
}

impl Shown {
    fn entry(self, entry: Entry) -> DescribeConfigsResourceResult {
        let mut result = DescribeConfigsResourceResult::default()
            .with_name(wire(&entry.name))
            .with_value(entry.value.as_deref().map(wire))
            .with_read_only(entry.read_only)
            .with_config_source(entry.source as i8)
            .with_is_sensitive(entry.is_sensitive)
            .with_config_type(entry.config_type);
        if self.version == 0 {
            // The codec refuses a field that its version does not have.
            result = result.with_is_default(entry.source == ValueSource::Default);
        }
        if self.synonyms {
            let synonyms = entry.synonyms.iter().map(|synonym| {
                DescribeConfigsSynonym::default()
                    .with_name(wire(&synonym.name))
                    .with_value(synonym.value.as_deref().map(wire))
                    .with_source(synonym.source as i8)
            });
            result = result.with_synonyms(synonyms.collect());
        }
        let documentation = entry.documentation.filter(|_| self.documentation);
        result.with_documentation(documentation.map(wire))
    }
}
