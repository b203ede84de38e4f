//! Metadata (key 3, versions 0–12): brokers, controller, topics and their leaders, as this broker knows them.
//!
//! A topic that does not exist is created where the client and `auto.create.topics.enable` allow it; the client is
//! told LEADER_NOT_AVAILABLE and asks again.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use broker_wire::ErrorCode;
use kafka_protocol::messages::metadata_response::{
    MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
};
use kafka_protocol::messages::{BrokerId as WireBrokerId, MetadataRequest, MetadataResponse, TopicName};
use kafka_protocol::protocol::StrBytes;
use model::{BrokerId, TopicId, is_internal_topic, validate_topic_name};
use uuid::Uuid;

use super::throttle::Whose;
use super::{Api, RequestContext, api};
use crate::metadata::{MetadataImage, PartitionImage, TopicImage};
use crate::security::{Authorized, CLUSTER_NAME, Operation, ResourceType};

pub(super) const API: Api = api!(Metadata, 0..=12, handle);

/// How long a client that comes first after a start waits for the controller's first word.
///
/// Kafka answers at once that there are no brokers and no such topics, and librdkafka then gives partitions up that are
/// still there.
const FIRST_UPDATE_WAIT: Duration = Duration::from_secs(1);

async fn handle(cx: &RequestContext, request: MetadataRequest) -> MetadataResponse {
    if cx.broker.metadata.image().controller_id.is_none() {
        cx.broker.metadata.first_update(FIRST_UPDATE_WAIT).await;
    }
    let image = cx.broker.metadata.snapshot();
    let mut response = MetadataResponse::default()
        .with_brokers(brokers(cx, &image))
        .with_cluster_id(Some(StrBytes::from_string(cx.broker.cluster_id.clone())))
        .with_controller_id(WireBrokerId(image.controller_for_clients(cx.broker_id()).0));
    response.topics = match &request.topics {
        // Version 0 cannot say null: an empty list means all topics.
        Some(topics) if !(topics.is_empty() && cx.version() == 0) => {
            let usable = |topic: &kafka_protocol::messages::metadata_request::MetadataRequestTopic| {
                cx.version() >= 12 || (topic.name.is_some() && topic.topic_id.is_nil())
            };
            if !topics.iter().all(usable) {
                return refused(response, &request);
            }
            let ids: BTreeSet<Uuid> = topics
                .iter()
                .map(|topic| topic.topic_id)
                .filter(|id| !id.is_nil())
                .collect();
            if ids.is_empty() {
                let names: BTreeSet<&str> = topics
                    .iter()
                    .filter_map(|topic| topic.name.as_deref())
                    .map(|n| &**n)
                    .collect();
                by_name(cx, &image, &names, request.allow_auto_topic_creation).await
            } else {
                by_ids(cx, &image, ids)
            }
        }
        // Who asks for all topics is told of those that they may describe, and not that there are others.
        _ => {
            let names = image.topics.keys().map(|name| &**name);
            let authorized = cx.authorized_quietly(Operation::Describe, ResourceType::Topic, names);
            let topics = image.topics.iter();
            topics
                .filter(|(name, _)| authorized.contains(name))
                .map(|(name, topic)| describe(cx, &image, name, topic))
                .collect()
        }
    };
    if cx.version() >= 8 {
        if cx.version() <= 10 && request.include_cluster_authorized_operations {
            response.cluster_authorized_operations = match cx.authorize_cluster(Operation::Describe) {
                true => cx.authorized_operations(ResourceType::Cluster, CLUSTER_NAME),
                false => 0,
            };
        }
        if request.include_topic_authorized_operations {
            for topic in &mut response.topics {
                // Only of topics that they may describe is more told.
                if let (Some(name), false) = (&topic.name, is_unauthorized(topic)) {
                    topic.topic_authorized_operations = cx.authorized_operations(ResourceType::Topic, name);
                }
            }
        }
    }
    response
}

/// Kafka answers each named topic with INVALID_REQUEST when the request names topics in a way of later versions.
fn refused(response: MetadataResponse, request: &MetadataRequest) -> MetadataResponse {
    let topics = request.topics.iter().flatten().map(|topic| {
        MetadataResponseTopic::default()
            .with_name(Some(topic.name.clone().unwrap_or_default()))
            .with_topic_id(topic.topic_id)
            .with_error_code(ErrorCode::InvalidRequest as i16)
    });
    response.with_topics(topics.collect())
}

fn brokers(cx: &RequestContext, image: &MetadataImage) -> Vec<MetadataResponseBroker> {
    let reachable = image.brokers.values().filter_map(|broker| {
        let endpoint = broker.endpoints.get(&*cx.connection.listener)?;
        Some(
            MetadataResponseBroker::default()
                .with_node_id(WireBrokerId(broker.id.0))
                .with_host(StrBytes::from_string(endpoint.host.to_string()))
                .with_port(endpoint.port)
                .with_rack(broker.rack.as_ref().map(|rack| StrBytes::from_string(rack.to_string()))),
        )
    });
    reachable.collect()
}

fn is_unauthorized(topic: &MetadataResponseTopic) -> bool {
    topic.error_code == ErrorCode::TopicAuthorizationFailed as i16
        || topic.error_code == ErrorCode::UnknownTopicId as i16
}

fn by_ids(cx: &RequestContext, image: &MetadataImage, ids: BTreeSet<Uuid>) -> Vec<MetadataResponseTopic> {
    let name = |id: &Uuid| image.topic_name(TopicId(*id.as_bytes())).map(|name| &**name);
    let names = ids.iter().filter_map(name);
    let authorized = cx.authorized(Operation::Describe, ResourceType::Topic, names);
    let describe = |id: &Uuid| {
        let refuse = |code: ErrorCode| {
            MetadataResponseTopic::default()
                .with_name(None)
                .with_topic_id(*id)
                .with_error_code(code as i16)
        };
        match name(id).and_then(|name| Some((name, image.topic(name)?))) {
            // Ids are no secret; which name one has is.
            Some((name, _)) if !authorized.contains(name) => refuse(ErrorCode::TopicAuthorizationFailed),
            Some((name, topic)) => describe(cx, image, name, topic),
            None => refuse(ErrorCode::UnknownTopicId),
        }
    };
    ids.iter().map(describe).collect()
}

async fn by_name(
    cx: &RequestContext,
    image: &MetadataImage,
    names: &BTreeSet<&str>,
    may_create: bool,
) -> Vec<MetadataResponseTopic> {
    // Before version 4 a client cannot forbid it; the field's default says so.
    let may_create = may_create && cx.broker.config.load().auto_create_topics_enable;
    let mut topics = Vec::with_capacity(names.len());
    let mut missing = Vec::new();
    let authorized = cx.authorized(Operation::Describe, ResourceType::Topic, names.iter().copied());
    for name in names {
        match image.topic(name) {
            // Whether the topic exists is not told, and neither is its id.
            _ if !authorized.contains(name) => topics.push(
                MetadataResponseTopic::default()
                    .with_name(Some(topic_name(name)))
                    .with_error_code(ErrorCode::TopicAuthorizationFailed as i16),
            ),
            Some(topic) => topics.push(describe(cx, image, name, topic)),
            None => missing.push(*name),
        }
    }
    let creatable = if may_create && !missing.is_empty() && !cx.authorize_cluster_quietly(Operation::Create) {
        cx.authorized(Operation::Create, ResourceType::Topic, missing.iter().copied())
    } else {
        Authorized::All
    };
    for name in missing {
        let code = match validate_topic_name(name) {
            _ if !creatable.contains(name) => ErrorCode::TopicAuthorizationFailed,
            Err(_) => ErrorCode::InvalidTopicException,
            Ok(()) if may_create => {
                let whose = Whose::of(cx);
                crate::zookeeper::auto_create_topic(&cx.broker, name, whose.client(cx)).await
            }
            Ok(()) => ErrorCode::UnknownTopicOrPartition,
        };
        topics.push(
            MetadataResponseTopic::default()
                .with_name(Some(topic_name(name)))
                .with_is_internal(is_internal_topic(name))
                .with_error_code(code as i16),
        );
    }
    topics
}

fn topic_name(name: &str) -> TopicName {
    TopicName(StrBytes::from_string(name.to_owned()))
}

fn describe(cx: &RequestContext, image: &MetadataImage, name: &str, topic: &Arc<TopicImage>) -> MetadataResponseTopic {
    let partitions = topic
        .partitions
        .iter()
        .map(|(index, partition)| describe_partition(cx, image, *index, partition));
    MetadataResponseTopic::default()
        .with_name(Some(topic_name(name)))
        .with_topic_id(Uuid::from_bytes(topic.id.0))
        .with_is_internal(is_internal_topic(name))
        .with_partitions(partitions.collect())
}

fn describe_partition(
    cx: &RequestContext,
    image: &MetadataImage,
    index: i32,
    partition: &PartitionImage,
) -> MetadataResponsePartition {
    let reachable = |id: &BrokerId| {
        image
            .brokers
            .get(id)
            .is_some_and(|broker| broker.endpoints.contains_key(&*cx.connection.listener))
    };
    // Version 0 left unreachable replicas out and told of it; later ones name them all.
    let told = |ids: &[BrokerId]| -> Vec<WireBrokerId> {
        ids.iter()
            .filter(|id| cx.version() > 0 || reachable(id))
            .map(|id| WireBrokerId(id.0))
            .collect()
    };
    let replicas = told(&partition.replicas);
    let isr = told(&partition.isr);
    let leader_reachable = reachable(&partition.leader);
    let code = if !leader_reachable {
        if image.brokers.contains_key(&partition.leader) && cx.version() >= 6 {
            ErrorCode::ListenerNotFound
        } else {
            ErrorCode::LeaderNotAvailable
        }
    } else if replicas.len() < partition.replicas.len() || isr.len() < partition.isr.len() {
        ErrorCode::ReplicaNotAvailable
    } else {
        ErrorCode::None
    };
    MetadataResponsePartition::default()
        .with_error_code(code as i16)
        .with_partition_index(index)
        .with_leader_id(WireBrokerId(if leader_reachable { partition.leader.0 } else { -1 }))
        .with_leader_epoch(partition.leader_epoch.0)
        .with_replica_nodes(replicas)
        .with_isr_nodes(isr)
        .with_offline_replicas(partition.offline_replicas.iter().map(|id| WireBrokerId(id.0)).collect())
}
