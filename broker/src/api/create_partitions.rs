//! CreatePartitions (key 37, versions 0–3): topics get more partitions.
//!
//! Served by any broker: it rewrites the topic's assignment in ZooKeeper. The answer waits, at most the request's
//! timeout, until this broker's metadata shows leaders of all partitions.
//!
//! Source: Kafka 3.9 `KafkaApis.handleCreatePartitionsRequest`, `ZkAdminManager.createPartitions`.

use std::collections::{BTreeMap, HashMap, HashSet};

use broker_wire::ErrorCode;
use kafka_protocol::messages::create_partitions_request::CreatePartitionsTopic;
use kafka_protocol::messages::create_partitions_response::CreatePartitionsTopicResult;
use kafka_protocol::messages::{CreatePartitionsRequest, CreatePartitionsResponse, TopicName};
use model::BrokerId;
use zk_schema::admin::delete_topic_path;
use zk_schema::brokers::topics::ReplicaAssignment;

use super::text::wire;
use super::{Api, RequestContext, api, throttle, topic_wait};
use crate::clock;
use crate::metadata::MetadataImage;
use crate::net::Reply;
use crate::quota::Mutations;
use crate::security::{Operation, ResourceType};
use crate::zookeeper::AdminError;
use crate::zookeeper::topics::{MorePartitions, add_partitions};

pub(super) const API: Api = api!(CreatePartitions, 0..=3, replies handle);

/// The first version that can be refused for a quota's sake (KIP-599).
const REFUSES_SINCE: i16 = 3;

async fn handle(cx: &RequestContext, request: CreatePartitionsRequest) -> Reply {
    let whose = throttle::Whose::of(cx);
    let mut mutations = throttle::mutations(cx, &whose, REFUSES_SINCE);
    let deadline = topic_wait::deadline(request.timeout_ms);
    let mut times: HashMap<&TopicName, usize> = HashMap::new();
    for topic in &request.topics {
        *times.entry(&topic.name).or_default() += 1;
    }
    let single = request.topics.iter().map(|topic| &topic.name);
    let single = single.filter(|name| times.get(name) == Some(&1));
    let authorized = cx.authorized(Operation::Alter, ResourceType::Topic, single.map(|name| name.as_str()));
    let mut answered = HashSet::new();
    let mut done = Vec::with_capacity(request.topics.len());
    for topic in &request.topics {
        // One answer for a topic that is named twice.
        if !answered.insert(&topic.name) {
            continue;
        }
        let outcome = match times.get(&topic.name) {
            Some(1) if !authorized.contains(&topic.name) => Err(AdminError::refused(
                ErrorCode::TopicAuthorizationFailed,
                "The topic authorization is failed.",
            )),
            Some(1) => add(cx, topic, request.validate_only, &mut mutations).await,
            _ => Err(AdminError::refused(
                ErrorCode::InvalidRequest,
                "Duplicate topic in request.",
            )),
        };
        done.push((&topic.name, outcome));
    }
    let mut results = Vec::with_capacity(done.len());
    for (name, mut outcome) in done {
        if let Ok(partitions) = &outcome
            && !request.validate_only
        {
            let led = |image: &MetadataImage| topic_wait::is_led(image, name, partitions.keys().copied());
            if request.timeout_ms <= 0 || !topic_wait::until(cx, deadline, led).await {
                outcome = Err(AdminError::TimedOut);
            }
        }
        let result = CreatePartitionsTopicResult::default().with_name(name.clone());
        results.push(match outcome {
            Ok(_) => result.with_error_message(None),
            Err(error) => result
                .with_error_code(error.code().code())
                .with_error_message(error.message().map(|message| wire(&message))),
        });
    }
    let pause = mutations.pause(clock::now());
    let response = CreatePartitionsResponse::default()
        .with_results(results)
        .with_throttle_time_ms(throttle::throttle_time_ms(pause));
    throttle::reply_and_pause(cx, &response, pause)
}

async fn add(
    cx: &RequestContext,
    topic: &CreatePartitionsTopic,
    validate_only: bool,
    mutations: &mut Mutations<'_>,
) -> Result<BTreeMap<i32, ReplicaAssignment>, AdminError> {
    let name = topic.name.as_str();
    let store = &cx.broker.store;
    if model::validate_topic_name(name).is_ok() && store.exists(&delete_topic_path(name)).await?.is_some() {
        return Err(AdminError::refused(
            ErrorCode::InvalidTopicException,
            "The topic is queued for deletion.",
        ));
    }
    let replicas = |ids: &[kafka_protocol::messages::BrokerId]| ids.iter().map(|id| BrokerId(id.0)).collect();
    let wish = MorePartitions {
        count: topic.count,
        assignments: topic
            .assignments
            .as_ref()
            .map(|given| given.iter().map(|it| replicas(&it.broker_ids)).collect()),
    };
    let ask = |added| throttle::ask(mutations, added);
    let partitions = add_partitions(store, name, &wish, validate_only, ask).await?;
    if !validate_only {
        tracing::info!(
            topic = name,
            partitions = partitions.len(),
            "added partitions to a topic"
        );
    }
    Ok(partitions)
}
