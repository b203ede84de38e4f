//! CreateTopics (key 19, versions 0–7): new topics, with chosen or given replicas.
//!
//! Served by any broker: it is a matter of two writes to ZooKeeper, upon which the controller elects leaders. The
//! answer waits, at most the request's timeout, until this broker's metadata shows them.
//!
//! Source: Kafka 3.9 `KafkaApis.handleCreateTopicsRequest`, `ZkAdminManager.createTopics`.

use std::collections::{BTreeMap, HashMap};

use broker_log::LogConfig;
use broker_wire::ErrorCode;
use kafka_protocol::messages::create_topics_request::CreatableTopic;
use kafka_protocol::messages::create_topics_response::{CreatableTopicConfigs, CreatableTopicResult};
use kafka_protocol::messages::{CreateTopicsRequest, CreateTopicsResponse, TopicName};
use model::{BrokerId, TopicId};
use uuid::Uuid;

use super::text::wire;
use super::{Api, RequestContext, api, config_entries, throttle, topic_wait};
use crate::clock;
use crate::metadata::MetadataImage;
use crate::net::Reply;
use crate::quota::Mutations;
use crate::security::{Authorized, Operation, ResourceType};
use crate::zookeeper::AdminError;
use crate::zookeeper::assignment::{Candidate, Start, assign};
use crate::zookeeper::topics::{self, NewTopic};

pub(super) const API: Api = api!(CreateTopics, 0..=7, replies handle);

/// "Use the broker's default". Source: Kafka `CreateTopicsRequest.NO_NUM_PARTITIONS`, `NO_REPLICATION_FACTOR`.
const UNSET: i32 = -1;
/// The topic of KRaft's metadata; its name is taken.
const CLUSTER_METADATA_TOPIC: &str = "__cluster_metadata";

/// The first version that can be refused for a quota's sake (KIP-599).
const REFUSES_SINCE: i16 = 6;

async fn handle(cx: &RequestContext, request: CreateTopicsRequest) -> Reply {
    let whose = throttle::Whose::of(cx);
    let mut mutations = throttle::mutations(cx, &whose, REFUSES_SINCE);
    let deadline = topic_wait::deadline(request.timeout_ms);
    let mut times: HashMap<&TopicName, usize> = HashMap::new();
    for topic in &request.topics {
        *times.entry(&topic.name).or_default() += 1;
    }
    let names = || request.topics.iter().map(|topic| topic.name.as_str());
    let authorized = match cx.authorize_cluster_quietly(Operation::Create) {
        true => Authorized::All,
        false => cx.authorized(Operation::Create, ResourceType::Topic, names()),
    };
    let describable = cx.authorized_quietly(Operation::DescribeConfigs, ResourceType::Topic, names());
    let mut results = Vec::with_capacity(request.topics.len());
    let mut created = Vec::new();
    for topic in &request.topics {
        let done = match refuse_name(topic, times.get(&topic.name).copied().unwrap_or(0)) {
            Some(refusal) => Err(refusal),
            None if !authorized.contains(&topic.name) => Err(AdminError::refused(
                ErrorCode::TopicAuthorizationFailed,
                "Authorization failed.",
            )),
            None => create(cx, topic, request.validate_only, &mut mutations).await,
        };
        if let Ok(done) = &done
            && !request.validate_only
        {
            created.push((results.len(), topic.name.clone(), done.partitions));
        }
        let asked_in_vain = done.is_err();
        let mut result = result(&topic.name, done);
        if !describable.contains(&topic.name) && topic.name.as_str() != CLUSTER_METADATA_TOPIC {
            result = hide_configs(result, cx.version(), asked_in_vain);
        }
        results.push(result);
    }
    for (index, name, partitions) in created {
        let led = |image: &MetadataImage| topic_wait::is_led(image, &name, 0..partitions);
        // A timeout of 0 waits for nothing and says so, as Kafka does.
        if request.timeout_ms <= 0 || !topic_wait::until(cx, deadline, led).await {
            results[index] = result(&name, Err(AdminError::TimedOut));
        }
    }
    let pause = mutations.pause(clock::now());
    let response = CreateTopicsResponse::default()
        .with_topics(results)
        .with_throttle_time_ms(throttle::throttle_time_ms(pause));
    throttle::reply_and_pause(cx, &response, pause)
}

/// A topic that was created, or would have been.
struct Done {
    topic_id: TopicId,
    partitions: i32,
    replication_factor: i16,
    entries: Vec<config_entries::Entry>,
}

async fn create(
    cx: &RequestContext,
    topic: &CreatableTopic,
    validate_only: bool,
    mutations: &mut Mutations<'_>,
) -> Result<Done, AdminError> {
    let store = &cx.broker.store;
    let new = plan(cx, topic)?;
    let defaults = cx.broker.partitions.logs().topic_config("");
    topics::validate_create(store, &new, &defaults).await?;
    let config = LogConfig::resolve(&defaults, &new.config)?;
    let mut topic_id = TopicId::ZERO;
    if !validate_only {
        throttle::ask(mutations, new.assignment.len())?;
        topic_id = topics::new_topic_id();
        topics::create(store, &new, topic_id).await?;
        tracing::info!(topic = new.name, partitions = new.assignment.len(), "created a topic");
    }
    Ok(Done {
        topic_id,
        partitions: i32::try_from(new.assignment.len()).unwrap_or(i32::MAX),
        replication_factor: i16::try_from(new.assignment.values().next().map_or(0, Vec::len)).unwrap_or(i16::MAX),
        entries: config_entries::of_topic(&cx.broker.config, &config),
    })
}

/// What is to be written, before ZooKeeper is asked.
fn plan(cx: &RequestContext, topic: &CreatableTopic) -> Result<NewTopic, AdminError> {
    let name = topic.name.as_str();
    let image = cx.broker.metadata.snapshot();
    if image.topic(name).is_some() {
        return Err(AdminError::refused(
            ErrorCode::TopicAlreadyExists,
            format!("Topic '{name}' already exists."),
        ));
    }
    let nulls: Vec<&str> = topic
        .configs
        .iter()
        .filter(|config| config.value.is_none())
        .map(|config| config.name.as_str())
        .collect();
    if !nulls.is_empty() {
        return Err(AdminError::refused(
            ErrorCode::InvalidConfig,
            format!("Null value not supported for topic configs: {}", nulls.join(",")),
        ));
    }
    let replication_factor = i32::from(topic.replication_factor);
    if (topic.num_partitions != UNSET || replication_factor != UNSET) && !topic.assignments.is_empty() {
        return Err(AdminError::refused(
            ErrorCode::InvalidRequest,
            "Both numPartitions or replicationFactor and replicasAssignments were set. Both cannot be used at the \
             same time.",
        ));
    }
    let config = cx.broker.config.load();
    let or_default = |asked: i32, default: i32| if asked == UNSET { default } else { asked };
    let assignment = if topic.assignments.is_empty() {
        let candidates: Vec<Candidate> = image
            .brokers
            .values()
            .map(|live| Candidate {
                id: live.id,
                rack: live.rack.as_deref().map(str::to_owned),
            })
            .collect();
        let partitions = or_default(topic.num_partitions, config.num_partitions);
        let factor = or_default(replication_factor, config.default_replication_factor);
        assign(&candidates, partitions, factor, Start::random(), 0)?
    } else {
        let replicas = |ids: &[kafka_protocol::messages::BrokerId]| ids.iter().map(|id| BrokerId(id.0)).collect();
        let given = topic.assignments.iter();
        given.map(|it| (it.partition_index, replicas(&it.broker_ids))).collect()
    };
    let configs = topic.configs.iter().filter_map(|config| {
        let value = config.value.as_ref()?;
        Some((config.name.to_string(), value.to_string()))
    });
    Ok(NewTopic {
        name: name.to_owned(),
        assignment,
        config: configs.collect::<BTreeMap<_, _>>(),
    })
}

/// Who may not describe the topic's configuration is not told how the topic came out either.
///
/// Source: Kafka 3.9 `ZkAdminManager.createTopics`; of what it has tried in vain it keeps the plain refusal.
fn hide_configs(result: CreatableTopicResult, version: i16, refused: bool) -> CreatableTopicResult {
    let tried = result.error_code != ErrorCode::TopicAuthorizationFailed as i16
        && result.error_code != ErrorCode::InvalidRequest as i16;
    if refused && tried {
        return result;
    }
    let result = result
        .with_num_partitions(-1)
        .with_replication_factor(-1)
        .with_topic_id(Uuid::nil())
        .with_configs(Some(Vec::new()));
    match version {
        ..5 => result,
        5.. => result.with_topic_config_error_code(ErrorCode::TopicAuthorizationFailed as i16),
    }
}

fn refuse_name(topic: &CreatableTopic, times: usize) -> Option<AdminError> {
    let refuse = |message: &str| Some(AdminError::refused(ErrorCode::InvalidRequest, message));
    if topic.name.as_str() == CLUSTER_METADATA_TOPIC {
        return refuse("Creation of internal topic __cluster_metadata is prohibited.");
    }
    if times > 1 {
        return refuse("Found multiple entries for this topic.");
    }
    None
}

fn result(name: &TopicName, done: Result<Done, AdminError>) -> CreatableTopicResult {
    let result = CreatableTopicResult::default().with_name(name.clone());
    match done {
        Err(error) => result
            .with_error_code(error.code().code())
            .with_error_message(error.message().map(|message| wire(&message)))
            .with_num_partitions(-1)
            .with_replication_factor(-1)
            .with_configs(Some(Vec::new())),
        Ok(done) => {
            let configs = done.entries.iter().map(|entry| {
                CreatableTopicConfigs::default()
                    .with_name(wire(&entry.name))
                    .with_value(entry.value.as_deref().map(wire))
                    .with_read_only(entry.read_only)
                    .with_config_source(entry.source as i8)
                    .with_is_sensitive(entry.is_sensitive)
            });
            result
                .with_error_message(None)
                .with_topic_id(Uuid::from_bytes(done.topic_id.0))
                .with_num_partitions(done.partitions)
                .with_replication_factor(done.replication_factor)
                .with_configs(Some(configs.collect()))
        }
    }
}

#[cfg(test)]
mod tests {
    use broker_wire::codec::encode_response;
    use kafka_protocol::protocol::StrBytes;

    use super::*;
    use crate::config::{DescribedValue, ValueSource};

    /// The codec refuses fields that a version does not have.
    #[test]
    fn every_version_can_say_what_became_of_a_topic() {
        let name = TopicName(StrBytes::from_static_str("t"));
        let done = || Done {
            topic_id: topics::new_topic_id(),
            partitions: 3,
            replication_factor: 2,
            entries: vec![config_entries::Entry {
                name: "retention.ms".into(),
                value: Some("1".into()),
                source: ValueSource::Topic,
                read_only: false,
                is_sensitive: false,
                synonyms: vec![DescribedValue {
                    name: "log.retention.hours".into(),
                    value: Some("168".into()),
                    source: ValueSource::Default,
                }],
                config_type: 5,
                documentation: None,
            }],
        };
        for version in 0..=7 {
            let results = vec![
                result(&name, Ok(done())),
                result(&name, Err(AdminError::TimedOut)),
                result(&name, Err(AdminError::refused(ErrorCode::InvalidConfig, "no"))),
            ];
            let response = CreateTopicsResponse::default().with_topics(results);
            assert!(encode_response(1, API.key, version, &response).is_ok(), "{version}");
        }
    }

    #[test]
    fn names_that_cannot_be_asked_for_are_refused() {
        let check = |name: &'static str, times: usize, message: Option<&str>| {
            let topic = CreatableTopic::default().with_name(TopicName(StrBytes::from_static_str(name)));
            let refused = refuse_name(&topic, times).and_then(|error| error.message());
            assert_eq!(refused.as_deref(), message, "{name} {times}");
        };
        check("t", 1, None);
        check("t", 2, Some("Found multiple entries for this topic."));
        let prohibited = "Creation of internal topic __cluster_metadata is prohibited.";
        check("__cluster_metadata", 1, Some(prohibited));
    }
}
