//! DeleteTopics (key 20, versions 0–6): topics go, by name or by id.
//!
//! Served by any broker: it leaves the wish in ZooKeeper. The answer waits, at most the request's timeout, until this
//! broker's metadata no longer shows the topics; they are deleted all the same if it takes longer.
//!
//! Source: Kafka 3.9 `KafkaApis.handleDeleteTopicsRequest`, `ZkAdminManager.deleteTopics`.

use broker_wire::ErrorCode;
use kafka_protocol::messages::delete_topics_response::DeletableTopicResult;
use kafka_protocol::messages::{DeleteTopicsRequest, DeleteTopicsResponse, TopicName};
use model::TopicId;
use uuid::Uuid;

use super::text::wire;
use super::{Api, RequestContext, api, throttle, topic_wait};
use crate::clock;
use crate::metadata::MetadataImage;
use crate::net::Reply;
use crate::quota::Mutations;
use crate::security::{Operation, ResourceType};
use crate::zookeeper::topics;

pub(super) const API: Api = api!(DeleteTopics, 0..=6, replies handle);

/// The first version that can be refused for a quota's sake (KIP-599).
const REFUSES_SINCE: i16 = 5;

/// A topic as the request names it.
struct Asked {
    name: Option<TopicName>,
    id: Uuid,
}

async fn handle(cx: &RequestContext, request: DeleteTopicsRequest) -> Reply {
    let whose = throttle::Whose::of(cx);
    let mut mutations = throttle::mutations(cx, &whose, REFUSES_SINCE);
    let deadline = topic_wait::deadline(request.timeout_ms);
    let by_name = request.topic_names.into_iter().map(|name| Asked {
        name: Some(name),
        id: Uuid::nil(),
    });
    let asked: Vec<Asked> = request
        .topics
        .into_iter()
        .map(|topic| Asked {
            name: topic.name,
            id: topic.topic_id,
        })
        .chain(by_name)
        .collect();
    let mut codes = Vec::with_capacity(asked.len());
    let mut names = Vec::with_capacity(asked.len());
    for topic in &asked {
        let (name, code) = delete(cx, topic, &mut mutations).await;
        codes.push(code);
        names.push(name);
    }
    for (name, code) in names.iter().zip(&mut codes) {
        if let (Some(name), ErrorCode::None) = (name, &code) {
            let gone = |image: &MetadataImage| image.topic(name).is_none();
            if request.timeout_ms <= 0 || !topic_wait::until(cx, deadline, gone).await {
                *code = ErrorCode::RequestTimedOut;
            }
        }
    }
    let results = asked.into_iter().zip(names).zip(codes).map(|((asked, name), code)| {
        let mut result = DeletableTopicResult::default().with_error_code(code.code());
        // Only where the versions have the fields.
        if cx.version() >= 6 {
            result = result.with_topic_id(asked.id);
        }
        result.with_name(name.map(|name| TopicName(wire(&name))))
    });
    let pause = mutations.pause(clock::now());
    let response = DeleteTopicsResponse::default()
        .with_responses(results.collect())
        .with_throttle_time_ms(throttle::throttle_time_ms(pause));
    throttle::reply_and_pause(cx, &response, pause)
}

/// The topic's name, if it has one, and what came of the wish.
async fn delete(cx: &RequestContext, asked: &Asked, mutations: &mut Mutations<'_>) -> (Option<String>, ErrorCode) {
    let image = cx.broker.metadata.snapshot();
    let name = match (&asked.name, asked.id.is_nil()) {
        (Some(name), true) => name.to_string(),
        (Some(name), false) => return (Some(name.to_string()), ErrorCode::InvalidRequest),
        (None, true) => return (None, ErrorCode::InvalidRequest),
        (None, false) => match image.topic_name(TopicId(asked.id.into_bytes())) {
            Some(name) => name.to_string(),
            None => return (None, ErrorCode::UnknownTopicId),
        },
    };
    if !cx.broker.config.load().delete_topic_enable {
        // Source: KIP-322; older clients do not know the newer code.
        let code = match cx.version() {
            ..3 => ErrorCode::InvalidRequest,
            3.. => ErrorCode::TopicDeletionDisabled,
        };
        return (Some(name), code);
    }
    // Ids are no secret; which name one has is.
    if asked.name.is_none() && !cx.authorize(Operation::Describe, ResourceType::Topic, &name) {
        return (None, ErrorCode::TopicAuthorizationFailed);
    }
    if !cx.authorize(Operation::Delete, ResourceType::Topic, &name) {
        return (Some(name), ErrorCode::TopicAuthorizationFailed);
    }
    if image.topic(&name).is_none() {
        return (Some(name), ErrorCode::UnknownTopicOrPartition);
    }
    let partitions = image.topic(&name).map_or(0, |topic| topic.partitions.len());
    if let Err(refusal) = throttle::ask(mutations, partitions) {
        return (Some(name), refusal.code());
    }
    match topics::delete(&cx.broker.store, &name).await {
        Ok(()) => {
            tracing::info!(topic = name, "the topic is to be deleted");
            (Some(name), ErrorCode::None)
        }
        Err(error) => {
            tracing::warn!(topic = name, %error, "the topic could not be marked for deletion");
            (Some(name), error.code())
        }
    }
}
