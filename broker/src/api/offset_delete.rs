//! OffsetDelete (key 47, version 0): removes committed offsets of topics that the group does not read.

use std::collections::HashMap;

use broker_wire::ErrorCode;
use kafka_protocol::messages::offset_delete_response::{OffsetDeleteResponsePartition, OffsetDeleteResponseTopic};
use kafka_protocol::messages::{OffsetDeleteRequest, OffsetDeleteResponse};
use model::TopicPartition;

use super::text::shared;
use super::{Api, RequestContext, api, error_code};
use crate::security::{Authorized, Operation, ResourceType};

pub(super) const API: Api = api!(OffsetDelete, 0..=0, handle);

async fn handle(cx: &RequestContext, request: OffsetDeleteRequest) -> OffsetDeleteResponse {
    if !cx.authorize(Operation::Delete, ResourceType::Group, &request.group_id) {
        return OffsetDeleteResponse::default().with_error_code(ErrorCode::GroupAuthorizationFailed as i16);
    }
    let topics = request.topics.iter().map(|topic| topic.name.as_str());
    let authorized = cx.authorized(Operation::Read, ResourceType::Topic, topics);
    let known = known_partitions(cx, &request, &authorized);
    let answers = match cx.broker.groups.delete_offsets(&request.group_id, &known) {
        Ok(answers) => answers,
        Err(error) => return OffsetDeleteResponse::default().with_error_code(error_code::of_group(error) as i16),
    };
    let answers: HashMap<_, _> = known.into_iter().zip(answers).collect();
    let topics = request.topics.iter().map(|topic| {
        let name = shared(&topic.name);
        let partitions = topic.partitions.iter().map(|asked| {
            let index = asked.partition_index;
            let error_code = match answers.get(&TopicPartition::new(name.clone(), index)) {
                Some(answer) => error_code::of_group_answer(*answer),
                None if !authorized.contains(&name) => ErrorCode::TopicAuthorizationFailed as i16,
                None => ErrorCode::UnknownTopicOrPartition as i16,
            };
            OffsetDeleteResponsePartition::default()
                .with_partition_index(index)
                .with_error_code(error_code)
        });
        OffsetDeleteResponseTopic::default()
            .with_name(topic.name.clone())
            .with_partitions(partitions.collect())
    });
    OffsetDeleteResponse::default().with_topics(topics.collect())
}

/// The partitions that exist and whose topics the client may read.
fn known_partitions(
    cx: &RequestContext,
    request: &OffsetDeleteRequest,
    authorized: &Authorized<'_>,
) -> Vec<TopicPartition> {
    let image = cx.broker.metadata.image();
    let mut known = Vec::new();
    for topic in request.topics.iter().filter(|topic| authorized.contains(&topic.name)) {
        let name = shared(&topic.name);
        let exists = |index| image.partition(&name, index).is_some();
        let indexes = topic
            .partitions
            .iter()
            .map(|partition| partition.partition_index)
            .filter(|index| exists(*index));
        known.extend(indexes.map(|index| TopicPartition::new(name.clone(), index)));
    }
    known
}
