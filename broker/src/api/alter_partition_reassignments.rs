//! AlterPartitionReassignments (key 45, version 0): an administrator has the controller move replicas.
//!
//! Answered by the controller that this broker hosts, with NOT_CONTROLLER while it is not the one; or by a dedicated
//! coordinator, to which it is passed on.

use broker_wire::ErrorCode;
use kafka_protocol::messages::alter_partition_reassignments_response::{
    ReassignablePartitionResponse, ReassignableTopicResponse,
};
use kafka_protocol::messages::{AlterPartitionReassignmentsRequest, AlterPartitionReassignmentsResponse};

use super::{Api, RequestContext, api};
use crate::security::Operation;

pub(super) const API: Api = api!(AlterPartitionReassignments, 0..=0, handle);

async fn handle(
    cx: &RequestContext,
    request: AlterPartitionReassignmentsRequest,
) -> AlterPartitionReassignmentsResponse {
    let refuse = || AlterPartitionReassignmentsResponse::default().with_error_code(ErrorCode::NotController.code());
    if !cx.authorize_cluster(Operation::Alter) {
        let code = ErrorCode::ClusterAuthorizationFailed.code();
        let topics = request.topics.iter().map(|topic| {
            let partitions = topic.partitions.iter().map(|partition| {
                ReassignablePartitionResponse::default()
                    .with_partition_index(partition.partition_index)
                    .with_error_code(code)
            });
            ReassignableTopicResponse::default()
                .with_name(topic.name.clone())
                .with_partitions(partitions.collect())
        });
        return AlterPartitionReassignmentsResponse::default()
            .with_error_code(code)
            .with_responses(topics.collect());
    }
    let Some(channel) = cx.broker.controller_channel() else {
        return refuse();
    };
    match channel.pass_on(&request, cx.version()).await {
        Ok(Some(response)) => response,
        Ok(None) => channel.hosted().alter_partition_reassignments(request).await,
        Err(error) => {
            tracing::warn!(%error, "the coordinator could not be asked");
            refuse()
        }
    }
}
