//! UpdateMetadata (key 6): the controller tells who is alive and who leads what.

use broker_wire::ErrorCode;
use kafka_protocol::messages::{UpdateMetadataRequest, UpdateMetadataResponse};
use model::TopicPartition;

use super::text::shared;
use super::{Api, RequestContext, api, from_controller};
use crate::clock;
use crate::metadata::LEADER_DURING_DELETE;

pub(super) const API: Api = api!(UpdateMetadata, 0..=8, handle);

async fn handle(cx: &RequestContext, request: UpdateMetadataRequest) -> UpdateMetadataResponse {
    let answer = |code: ErrorCode| UpdateMetadataResponse::default().with_error_code(code as i16);
    if let Err(code) = from_controller::accept(
        cx,
        request.broker_epoch,
        request.controller_id.0,
        request.controller_epoch,
    ) {
        return answer(code);
    }
    let before = cx.broker.metadata.snapshot();
    cx.broker.metadata.update(&request);
    let after = cx.broker.metadata.snapshot();
    if before.brokers.keys().any(|id| !after.brokers.contains_key(id)) {
        // High watermarks wait for replicas that were caught up and alive a moment ago, in sync or not. Kafka would find
        // out with the next append or a follower's progress, and an acks=all producer may be waiting for just this.
        let partitions = &cx.broker.partitions;
        for partition in partitions.all() {
            partition.reconsider_high_watermark(partitions.settings(), clock::now());
        }
    }
    cx.broker.groups.partitions_deleted(&deleted_partitions(&request));
    answer(ErrorCode::None)
}

/// Partitions of topics that are being deleted: consumer groups forget what they have committed there.
fn deleted_partitions(request: &UpdateMetadataRequest) -> Vec<TopicPartition> {
    let mut deleted = Vec::new();
    for topic in &request.topic_states {
        let gone = topic
            .partition_states
            .iter()
            .filter(|state| state.leader.0 == LEADER_DURING_DELETE.0);
        let mut name = None;
        deleted.extend(gone.map(|state| {
            let name = name.get_or_insert_with(|| shared(&topic.topic_name));
            TopicPartition::new(name.clone(), state.partition_index)
        }));
    }
    let gone = request
        .ungrouped_partition_states
        .iter()
        .filter(|state| state.leader.0 == LEADER_DURING_DELETE.0);
    deleted.extend(gone.map(|state| TopicPartition::new(state.topic_name.as_str(), state.partition_index)));
    deleted
}
