//! ListPartitionReassignments (key 46, version 0): which replicas the controller is moving.
//!
//! Answered by the controller that this broker hosts, with NOT_CONTROLLER while it is not the one; or by a dedicated
//! coordinator, to which it is passed on.

use broker_wire::ErrorCode;
use kafka_protocol::messages::list_partition_reassignments_response::{
    OngoingPartitionReassignment, OngoingTopicReassignment,
};
use kafka_protocol::messages::{ListPartitionReassignmentsRequest, ListPartitionReassignmentsResponse};

use super::{Api, RequestContext, api};
use crate::security::Operation;

pub(super) const API: Api = api!(ListPartitionReassignments, 0..=0, handle);

async fn handle(cx: &RequestContext, request: ListPartitionReassignmentsRequest) -> ListPartitionReassignmentsResponse {
    let refuse = || ListPartitionReassignmentsResponse::default().with_error_code(ErrorCode::NotController.code());
    if !cx.authorize_cluster(Operation::Describe) {
        let topics = request.topics.iter().flatten().map(|topic| {
            let partition = |index: &i32| OngoingPartitionReassignment::default().with_partition_index(*index);
            OngoingTopicReassignment::default()
                .with_name(topic.name.clone())
                .with_partitions(topic.partition_indexes.iter().map(partition).collect())
        });
        return ListPartitionReassignmentsResponse::default()
            .with_error_code(ErrorCode::ClusterAuthorizationFailed.code())
            .with_topics(topics.collect());
    }
    let Some(channel) = cx.broker.controller_channel() else {
        return refuse();
    };
    match channel.pass_on(&request, cx.version()).await {
        Ok(Some(response)) => response,
        Ok(None) => channel.hosted().list_partition_reassignments(request).await,
        Err(error) => {
            tracing::warn!(%error, "the coordinator could not be asked");
            refuse()
        }
    }
}
