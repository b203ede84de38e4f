//! DescribeProducers (key 61, version 0): the producers that a partition remembers (KIP-664).

use broker_wire::ErrorCode;
use kafka_protocol::messages::describe_producers_response::{PartitionResponse, ProducerState, TopicResponse};
use kafka_protocol::messages::{DescribeProducersRequest, DescribeProducersResponse, ProducerId as WireProducerId};
use kafka_protocol::protocol::StrBytes;
use model::validate_topic_name;

use super::{Api, RequestContext, api, error_code};
use crate::security::{Operation, ResourceType};

pub(super) const API: Api = api!(DescribeProducers, 0..=0, handle);

async fn handle(cx: &RequestContext, request: DescribeProducersRequest) -> DescribeProducersResponse {
    let topics = request.topics.iter().map(|topic| {
        // What is no name at all is refused as that, whoever asks.
        let may = validate_topic_name(&topic.name).is_err()
            || cx.authorize(Operation::Read, ResourceType::Topic, &topic.name);
        let answer = |index: &i32| match may {
            true => answer(cx, &topic.name, *index),
            false => PartitionResponse::default()
                .with_partition_index(*index)
                .with_error_code(ErrorCode::TopicAuthorizationFailed as i16)
                .with_error_message(Some(StrBytes::from_static_str("Topic authorization failed."))),
        };
        let partitions = topic.partition_indexes.iter().map(answer).collect();
        TopicResponse::default()
            .with_name(topic.name.clone())
            .with_partitions(partitions)
    });
    DescribeProducersResponse::default().with_topics(topics.collect())
}

fn answer(cx: &RequestContext, topic: &str, index: i32) -> PartitionResponse {
    let answer = PartitionResponse::default().with_partition_index(index);
    if let Err(invalid) = validate_topic_name(topic) {
        return answer
            .with_error_code(ErrorCode::InvalidTopicException as i16)
            .with_error_message(Some(StrBytes::from_string(invalid.to_string())));
    }
    if cx.broker.metadata.image().topic(topic).is_none() {
        return answer
            .with_error_code(ErrorCode::UnknownTopicOrPartition as i16)
            .with_error_message(Some(StrBytes::from_static_str(
                "This server does not host this topic-partition.",
            )));
    }
    let known = || cx.broker.metadata.image().partition(topic, index).is_some();
    let log = cx
        .broker
        .partitions
        .get(topic, index, known)
        .map(|partition| partition.log());
    // Whoever has a replica answers: `kafka-transactions find-hanging --broker-id` asks followers as well.
    let log = match log {
        Ok(Some(log)) => log,
        Ok(None) => return answer.with_error_code(ErrorCode::NotLeaderOrFollower as i16),
        Err(refusal) => return answer.with_error_code(error_code::of_partition(&refusal) as i16),
    };
    let producers = log.active_producers().into_iter().map(|producer| {
        ProducerState::default()
            .with_producer_id(WireProducerId(producer.producer_id.0))
            .with_producer_epoch(i32::from(producer.producer_epoch.0))
            .with_last_sequence(producer.last_sequence.0)
            .with_last_timestamp(producer.last_timestamp.0)
            .with_coordinator_epoch(producer.coordinator_epoch)
            .with_current_txn_start_offset(producer.current_transaction_first_offset.map_or(-1, |offset| offset.0))
    });
    answer.with_active_producers(producers.collect())
}
