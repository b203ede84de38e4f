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
use super::config_resource::{self, Refusal, ResourceKind, check_broker};
use super::text::wire;
use super::{Api, RequestContext, api};
use crate::logging::levels;
use crate::security::Operation;
use crate::zookeeper::configs;

pub(super) const API: Api = api!(DescribeConfigs, 0..=4, handle);

/// What to show of each configuration.
#[derive(Clone, Copy)]
struct Shown {
    synonyms: bool,
    documentation: bool,
}

async fn handle(cx: &RequestContext, request: DescribeConfigsRequest) -> DescribeConfigsResponse {
    let shown = Shown {
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
    config_resource::authorize(cx, Operation::DescribeConfigs, resource.resource_type, name, true)?;
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

#[cfg(test)]
mod tests {
    use broker_log::LogConfig;
    use broker_wire::codec::encode_response;

    use super::*;
    use crate::config::ValueSource;
    use crate::config::{BrokerConfig, ConfigHandle};

    fn handle() -> ConfigHandle {
        let set = [
            ("zookeeper.connect", "localhost:2181"),
            ("log.retention.hours", "24"),
            ("message.max.bytes", "2000"),
            ("ssl.keystore.password", "secret"),
            ("no.such.key", "x"),
        ];
        let pairs = set.map(|(key, value)| (key.to_owned(), value.to_owned()));
        ConfigHandle::new(BrokerConfig::from_pairs(pairs).unwrap())
    }

    fn entry(entries: Vec<Entry>, name: &str) -> Entry {
        entries.into_iter().find(|entry| entry.name == name).unwrap()
    }

    #[test]
    fn a_topics_values_say_where_they_come_from() {
        let handle = handle();
        let defaults = LogConfig::from_broker(|key| match key {
            "log.retention.hours" => Some("24"),
            "message.max.bytes" => Some("2000"),
            _ => None,
        })
        .unwrap();
        let overrides = [("cleanup.policy".to_owned(), "compact, delete".to_owned())].into();
        let config = LogConfig::resolve(&defaults, &overrides).unwrap();
        let check = |name: &str, value: &str, source: ValueSource, synonyms: &[&str]| {
            let entry = entry(config_entries::of_topic(&handle, &config), name);
            assert_eq!((entry.value.as_deref(), entry.source), (Some(value), source), "{name}");
            let found: Vec<&str> = entry.synonyms.iter().map(|synonym| synonym.name.as_str()).collect();
            assert_eq!(found, synonyms, "{name}");
        };
        use ValueSource::{Default, StaticBroker, Topic};
        check(
            "cleanup.policy",
            "compact,delete",
            Topic,
            &["cleanup.policy", "log.cleanup.policy"],
        );
        // The broker's hours do not count as a synonym of its milliseconds here (Kafka `ConfigHelper.configSynonyms`).
        check("retention.ms", "86400000", Default, &[]);
        let message = &["message.max.bytes", "message.max.bytes"];
        check("max.message.bytes", "2000", StaticBroker, message);
        check("segment.bytes", "1073741824", Default, &["log.segment.bytes"]);
        check("leader.replication.throttled.replicas", "", Default, &[]);
        assert_eq!(config_entries::of_topic(&handle, &config).len(), 36);
    }

    #[test]
    fn a_brokers_secrets_stay_secret() {
        let handle = handle();
        for name in ["ssl.keystore.password", "no.such.key"] {
            let entry = entry(config_entries::of_broker(&handle), name);
            assert!(entry.is_sensitive && entry.value.is_none(), "{name}");
            assert!(entry.synonyms.iter().all(|synonym| synonym.value.is_none()), "{name}");
        }
        assert_eq!(config_entries::of_all_brokers(&handle), []);
    }

    /// The codec refuses fields that a version does not have.
    #[test]
    fn every_version_can_show_every_entry() {
        let entries = config_entries::of_broker(&handle());
        for version in 0..=4 {
            let shown = Shown {
                synonyms: true,
                documentation: true,
            };
            let configs = entries.iter().cloned().map(|entry| shown.entry(entry)).collect();
            let result = DescribeConfigsResult::default().with_configs(configs);
            let response = DescribeConfigsResponse::default().with_results(vec![result]);
            assert!(encode_response(1, API.key, version, &response).is_ok(), "{version}");
        }
    }
}
