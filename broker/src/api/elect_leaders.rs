//! ElectLeaders (key 43, versions 0–2): an administrator wants preferred or unclean elections.
//!
//! Answered by the controller that this broker hosts, or by a dedicated coordinator. The answer waits, at most the request's timeout, until this broker's
//! own metadata shows the new leaders, because clients ask it next. Source: Kafka 3.9 `DelayedElectLeader`.

use std::time::Duration;

use broker_wire::ErrorCode;
use kafka_protocol::messages::elect_leaders_response::{PartitionResult, ReplicaElectionResult};
use kafka_protocol::messages::{ElectLeadersRequest, ElectLeadersResponse};
use tokio::time::Instant;

use super::{Api, RequestContext, api};
use crate::security::Operation;

pub(super) const API: Api = api!(ElectLeaders, 0..=2, handle);

async fn handle(cx: &RequestContext, request: ElectLeadersRequest) -> ElectLeadersResponse {
    let refuse = || ElectLeadersResponse::default().with_error_code(ErrorCode::NotController.code());
    if !cx.authorize_cluster(Operation::Alter) {
        return unauthorized(&request, cx.version());
    }
    let Some(channel) = cx.broker.controller_channel() else {
        return refuse();
    };
    let timeout = Duration::from_millis(u64::try_from(request.timeout_ms).unwrap_or(0));
    let deadline = Instant::now() + timeout;
    let mut changes = cx.broker.metadata.changes();
    let response = match channel.pass_on(&request, cx.version()).await {
        Ok(Some(response)) => response,
        Ok(None) => channel.hosted().elect_leaders(request, cx.version()).await,
        Err(error) => {
            tracing::warn!(%error, "the coordinator could not be asked for elections");
            return refuse();
        }
    };
    while !shown(cx, &response) {
        match tokio::time::timeout_at(deadline, changes.changed()).await {
            Ok(Ok(())) => {}
            // Elected all the same; this broker just does not show it yet.
            Ok(Err(_)) | Err(_) => break,
        }
    }
    response
}

/// Kafka names the partitions as well; version 0 has nothing but them.
fn unauthorized(request: &ElectLeadersRequest, version: i16) -> ElectLeadersResponse {
    let code = ErrorCode::ClusterAuthorizationFailed.code();
    let topics = request.topic_partitions.iter().flatten().map(|topic| {
        let partitions = topic.partitions.iter().map(|index| {
            PartitionResult::default()
                .with_partition_id(*index)
                .with_error_code(code)
                .with_error_message(None)
        });
        ReplicaElectionResult::default()
            .with_topic(topic.topic.clone())
            .with_partition_result(partitions.collect())
    });
    let response = ElectLeadersResponse::default().with_replica_election_results(topics.collect());
    match version {
        0 => response,
        _ => response.with_error_code(code),
    }
}

/// Whether this broker's metadata has a leader for each partition that was elected one.
fn shown(cx: &RequestContext, response: &ElectLeadersResponse) -> bool {
    let image = cx.broker.metadata.snapshot();
    response.replica_election_results.iter().all(|topic| {
        let elected = topic.partition_result.iter().filter(|it| it.error_code == 0);
        elected
            .map(|it| image.partition(topic.topic.as_str(), it.partition_id))
            .all(|known| known.is_some_and(|it| it.leader.0 >= 0 && image.brokers.contains_key(&it.leader)))
    })
}
