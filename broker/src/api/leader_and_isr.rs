//! LeaderAndIsr (key 4): the controller makes this broker leader or follower of partitions.

use std::sync::Arc;

use broker_wire::ErrorCode;
use kafka_protocol::messages::leader_and_isr_request::LeaderAndIsrPartitionState;
use kafka_protocol::messages::leader_and_isr_response::{LeaderAndIsrPartitionError, LeaderAndIsrTopicError};
use kafka_protocol::messages::{LeaderAndIsrRequest, LeaderAndIsrResponse, TopicName};
use model::{BrokerId, ControllerEpoch, LeaderEpoch, PartitionEpoch, TopicId, TopicPartition};
use uuid::Uuid;

use super::{Api, RequestContext, api, from_controller};
use crate::blocking;
use crate::partition::{LeaderAndIsrPartition, PartitionState};
use crate::zookeeper::new_topics;

pub(super) const API: Api = api!(LeaderAndIsr, 0..=7, handle);

async fn handle(cx: &RequestContext, request: LeaderAndIsrRequest) -> LeaderAndIsrResponse {
    let refuse = |code: ErrorCode| LeaderAndIsrResponse::default().with_error_code(code as i16);
    if let Err(code) = from_controller::accept(
        cx,
        request.broker_epoch,
        request.controller_id.0,
        request.controller_epoch,
    ) {
        if code == ErrorCode::ClusterAuthorizationFailed {
            // As Kafka, which names the partitions as well.
            let asked = partitions(&request);
            let codes = vec![code; asked.len()];
            return answer(cx.version(), &request, &asked, &codes).with_error_code(code as i16);
        }
        return refuse(code);
    }
    let requests = partitions(&request);
    let named = requests.iter().map(|asked| &asked.partition);
    new_topics::learn(&cx.broker.store, cx.broker.partitions.logs(), named).await;
    let partitions = Arc::clone(&cx.broker.partitions);
    let (requests, codes) = blocking::run(move || {
        let codes = partitions.become_leader_or_follower(&requests);
        (requests, codes)
    })
    .await;
    answer(cx.version(), &request, &requests, &codes)
}

/// The partitions of the request: grouped by topic from version 2 on.
fn partitions(request: &LeaderAndIsrRequest) -> Vec<LeaderAndIsrPartition> {
    let ungrouped = request.ungrouped_partition_states.iter().map(|state| {
        let topic: Arc<str> = Arc::from(state.topic_name.as_str());
        partition(topic, Uuid::nil(), state)
    });
    let grouped = request.topic_states.iter().flat_map(|topic| {
        let name: Arc<str> = Arc::from(topic.topic_name.as_str());
        topic
            .partition_states
            .iter()
            .map(move |state| partition(Arc::clone(&name), topic.topic_id, state))
    });
    ungrouped.chain(grouped).collect()
}

fn partition(topic: Arc<str>, id: Uuid, state: &LeaderAndIsrPartitionState) -> LeaderAndIsrPartition {
    let ids = |list: &[kafka_protocol::messages::BrokerId]| list.iter().map(|id| BrokerId(id.0)).collect();
    LeaderAndIsrPartition {
        partition: TopicPartition::new(topic, state.partition_index),
        topic_id: (!id.is_nil()).then(|| TopicId(*id.as_bytes())),
        state: PartitionState {
            controller_epoch: ControllerEpoch(state.controller_epoch),
            leader: BrokerId(state.leader.0),
            leader_epoch: LeaderEpoch(state.leader_epoch),
            partition_epoch: PartitionEpoch(state.partition_epoch),
            isr: ids(&state.isr),
            replicas: ids(&state.replicas),
            adding_replicas: ids(&state.adding_replicas),
            removing_replicas: ids(&state.removing_replicas),
            is_new: state.is_new,
        },
    }
}

/// Grouped by topic id from version 5 on, by name before.
fn answer(
    version: i16,
    request: &LeaderAndIsrRequest,
    requests: &[LeaderAndIsrPartition],
    codes: &[ErrorCode],
) -> LeaderAndIsrResponse {
    let error = |asked: &LeaderAndIsrPartition, code: &ErrorCode| {
        LeaderAndIsrPartitionError::default()
            .with_partition_index(asked.partition.partition)
            .with_error_code(*code as i16)
    };
    let mut response = LeaderAndIsrResponse::default();
    if version < 5 {
        response.partition_errors = requests
            .iter()
            .zip(codes)
            .map(|(asked, code)| {
                let name = kafka_protocol::protocol::StrBytes::from_string(asked.partition.topic.to_string());
                error(asked, code).with_topic_name(TopicName(name))
            })
            .collect();
        return response;
    }
    let mut left = requests.iter().zip(codes);
    response.topics = request
        .topic_states
        .iter()
        .map(|topic| {
            let errors = left
                .by_ref()
                .take(topic.partition_states.len())
                .map(|(asked, code)| error(asked, code));
            LeaderAndIsrTopicError::default()
                .with_topic_id(topic.topic_id)
                .with_partition_errors(errors.collect())
        })
        .collect();
    response
}
