//! StopReplica (key 5): the controller takes replicas away, and deletes the logs of deleted topics.

use std::sync::Arc;

use broker_wire::ErrorCode;
use kafka_protocol::messages::stop_replica_response::StopReplicaPartitionError;
use kafka_protocol::messages::{StopReplicaRequest, StopReplicaResponse, TopicName};
use kafka_protocol::protocol::StrBytes;
use model::{LeaderEpoch, TopicPartition};

use super::{Api, RequestContext, api, from_controller};
use crate::blocking;
use crate::partition::StopReplica;

pub(super) const API: Api = api!(StopReplica, 0..=4, handle);

async fn handle(cx: &RequestContext, request: StopReplicaRequest) -> StopReplicaResponse {
    let refuse = |code: ErrorCode| StopReplicaResponse::default().with_error_code(code as i16);
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
            return refuse(code).with_partition_errors(errors(&asked, codes));
        }
        return refuse(code);
    }
    let requests = partitions(&request);
    let partitions = Arc::clone(&cx.broker.partitions);
    let (requests, codes) = blocking::run(move || {
        let codes = partitions.stop_replicas(&requests);
        (requests, codes)
    })
    .await;
    StopReplicaResponse::default().with_partition_errors(errors(&requests, codes))
}

fn errors(requests: &[StopReplica], codes: Vec<ErrorCode>) -> Vec<StopReplicaPartitionError> {
    let errors = requests.iter().zip(codes).map(|(asked, code)| {
        StopReplicaPartitionError::default()
            .with_topic_name(TopicName(StrBytes::from_string(asked.partition.topic.to_string())))
            .with_partition_index(asked.partition.partition)
            .with_error_code(code as i16)
    });
    errors.collect()
}

/// The partitions of the request, which each third of its versions groups in another way.
fn partitions(request: &StopReplicaRequest) -> Vec<StopReplica> {
    let name = |topic: &TopicName| -> Arc<str> { Arc::from(topic.as_str()) };
    let stop = |topic: &Arc<str>, partition: i32, leader_epoch: i32, delete: bool| StopReplica {
        partition: TopicPartition::new(Arc::clone(topic), partition),
        leader_epoch: LeaderEpoch(leader_epoch),
        delete,
    };
    let mut all = Vec::new();
    for partition in &request.ungrouped_partitions {
        all.push(stop(
            &name(&partition.topic_name),
            partition.partition_index,
            -1,
            request.delete_partitions,
        ));
    }
    for topic in &request.topics {
        let topic_name = name(&topic.name);
        for partition in &topic.partition_indexes {
            all.push(stop(&topic_name, *partition, -1, request.delete_partitions));
        }
    }
    for topic in &request.topic_states {
        let topic_name = name(&topic.topic_name);
        for state in &topic.partition_states {
            all.push(stop(
                &topic_name,
                state.partition_index,
                state.leader_epoch,
                state.delete_partition,
            ));
        }
    }
    all
}
