//! DescribeConfigs (key 32, versions 0–4): configurations of topics and of this broker.
//!
//! A topic's overrides are read from ZooKeeper, so that what was just changed shows at any broker. The loggers are those
//! of `logging::levels`.
//!
//! Source: Kafka 3.9 `ConfigHelper.handleDescribeConfigsRequest`.

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
use super::config_resource::{Refusal, ResourceKind, check_broker};
use super::text::wire;
use super::{Api, RequestContext, api};
use crate::config::ValueSource;
use crate::logging::levels;
use crate::zookeeper::configs;

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
    // One resource of an unknown kind fails all of them: Kafka looks at the kinds while it authorises.
    let unknown =
        |resource: &DescribeConfigsResource| ResourceKind::of(resource.resource_type) == ResourceKind::Unknown;
    let all_refused = request.resources.iter().any(unknown);
    let mut results = Vec::with_capacity(request.resources.len());
    for resource in request.resources {
        let result = DescribeConfigsResult::default();
        let described = match all_refused {
            true => Err(Refusal::invalid_request(MALFORMED)),
            false => describe(cx, &resource, shown).await,
        };
        let result = match described {
            Ok(configs) => {
                let asked = resource.configuration_keys.unwrap_or_default();
                let wanted = |config: &DescribeConfigsResourceResult| asked.is_empty() || asked.contains(&config.name);
                result
                    .with_error_message(Some(StrBytes::default()))
                    .with_configs(configs.into_iter().filter(wanted).collect())
            }
            Err(refusal) => result
                .with_error_code(refusal.code.code())
                .with_error_message(refusal.message.map(StrBytes::from_string)),
        };
        results.push(
            result
                .with_resource_type(resource.resource_type)
                .with_resource_name(resource.resource_name),
        );
    }
    DescribeConfigsResponse::default().with_results(results)
}

/// What Kafka says with INVALID_REQUEST where it has nothing better to say.
const MALFORMED: &str = "This most likely occurs because of a request being malformed by the client library or the message was sent to an incompatible broker. See the broker logs for more details.";

async fn describe(
    cx: &RequestContext,
    resource: &DescribeConfigsResource,
    shown: Shown,
) -> Result<Vec<DescribeConfigsResourceResult>, Refusal> {
    let name = resource.resource_name.as_str();
    let id = cx.broker_id();
    let config = &cx.broker.config;
    let shown_all = |entries: Vec<Entry>| entries.into_iter().map(|entry| shown.entry(entry)).collect();
    match ResourceKind::of(resource.resource_type) {
        ResourceKind::Topic => Ok(shown_all(describe_topic(cx, name).await?)),
        ResourceKind::Broker if name.is_empty() => Ok(shown_all(config_entries::of_all_brokers(config))),
        ResourceKind::Broker => {
            let expected = format!("Unexpected broker id, expected {id} or empty string, but received {name}");
            check_broker(id, name, "Broker", &expected)?;
            Ok(shown_all(config_entries::of_broker(config)))
        }
        ResourceKind::BrokerLogger if name.is_empty() => Err(Refusal::invalid_request("Broker id must not be empty")),
        ResourceKind::BrokerLogger => {
            let expected = format!("Unexpected broker id, expected {id} but received {name}");
            check_broker(id, name, "Broker", &expected)?;
            let all = levels::levels().map(levels::Levels::all).unwrap_or_default();
            Ok(all.into_iter().map(|(name, level)| logger(&name, level)).collect())
        }
        ResourceKind::ClientMetrics if name.is_empty() => Err(Refusal::invalid_request(
            "Client metrics subscription name must not be empty",
        )),
        ResourceKind::ClientMetrics => Err(Refusal::invalid_request(
            "Config type client-metrics is only supported on KRaft clusters",
        )),
        ResourceKind::Unknown => Err(Refusal::invalid_request(MALFORMED)),
    }
}

async fn describe_topic(cx: &RequestContext, name: &str) -> Result<Vec<Entry>, Refusal> {
    validate_topic_name(name).map_err(|invalid| Refusal::new(ErrorCode::InvalidTopicException, invalid.to_string()))?;
    if cx.broker.metadata.image().topic(name).is_none() {
        return Err(Refusal::new(ErrorCode::UnknownTopicOrPartition, ""));
    }
    let overrides = configs::read(&cx.broker.store, &Entity::Topic(name.to_owned())).await?;
    let defaults = cx.broker.partitions.logs().topic_config("");
    Ok(config_entries::of_topic_overrides(
        &cx.broker.config,
        &defaults,
        overrides,
    ))
}

fn logger(name: &str, level: &str) -> DescribeConfigsResourceResult {
    // `ConfigSource.DYNAMIC_BROKER_LOGGER_CONFIG`.
    const SOURCE: i8 = 6;
    DescribeConfigsResourceResult::default()
        .with_name(wire(name))
        .with_value(Some(wire(level)))
        .with_config_source(SOURCE)
        .with_documentation(None)
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
