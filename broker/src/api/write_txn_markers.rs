//! WriteTxnMarkers (key 27, versions 0–1): a transaction coordinator ends transactions in partitions that are led here.
//!
//! All markers of a request are appended first; then all are waited for together.

use std::sync::Arc;
use std::time::{Duration, Instant};

use broker_log::append::Origin;
use broker_log::batch::{BatchBuilder, EndTransactionMarker};
use broker_wire::ErrorCode;
use kafka_protocol::messages::write_txn_markers_request::WritableTxnMarker;
use kafka_protocol::messages::write_txn_markers_response::{
    WritableTxnMarkerPartitionResult, WritableTxnMarkerResult, WritableTxnMarkerTopicResult,
};
use kafka_protocol::messages::{WriteTxnMarkersRequest, WriteTxnMarkersResponse};
use model::{ProducerEpoch, ProducerId};

use super::{Api, RequestContext, api, error_code};
use crate::delayed::Waiter;
use crate::partition::{Partition, PartitionError, Required};
use crate::security::Operation;
use crate::{Broker, clock};

pub(super) const API: Api = api!(WriteTxnMarkers, 0..=1, handle);

async fn handle(cx: &RequestContext, request: WriteTxnMarkersRequest) -> WriteTxnMarkersResponse {
    // Tools that end hanging transactions may alter the cluster (KIP-664).
    if !cx.authorize_cluster_quietly(Operation::Alter) && !cx.authorize_cluster(Operation::ClusterAction) {
        return response(&request, |_, _, _| ErrorCode::ClusterAuthorizationFailed);
    }
    write(&cx.broker, request).await
}

/// A marker that is in the log.
type Written = (Arc<Partition>, Required);

/// Writes the markers, and answers when they are on all in-sync replicas.
pub(crate) async fn write(broker: &Arc<Broker>, request: WriteTxnMarkersRequest) -> WriteTxnMarkersResponse {
    let mut written = Vec::new();
    for marker in &request.markers {
        for topic in &marker.topics {
            for partition in &topic.partition_indexes {
                written.push(append(broker, marker, &topic.name, *partition));
            }
        }
    }
    let timeout = broker.config.load().request_timeout_ms;
    replicate(&written, Duration::from_millis(u64::try_from(timeout).unwrap_or(0))).await;
    let mut outcomes = written.into_iter().map(|written| match written {
        Err(code) => code,
        Ok((partition, required)) => match partition.is_replicated(required) {
            Some(Ok(())) => ErrorCode::None,
            Some(Err(refusal)) => error_code::of_partition(&refusal),
            None => ErrorCode::RequestTimedOut,
        },
    });
    // As many as there are partitions in the request.
    response(&request, |_, _, _| {
        outcomes.next().unwrap_or(ErrorCode::UnknownServerError)
    })
}

fn append(broker: &Broker, marker: &WritableTxnMarker, topic: &str, index: i32) -> Result<Written, ErrorCode> {
    let code = |error: PartitionError| error_code::of_partition(&error);
    let known = || broker.metadata.image().partition(topic, index).is_some();
    let partition = broker.partitions.get(topic, index, known).map_err(code)?;
    let now = clock::now();
    let batch = BatchBuilder::end_transaction(
        ProducerId(marker.producer_id.0),
        ProducerEpoch(marker.producer_epoch),
        now,
        EndTransactionMarker {
            committed: marker.transaction_result,
            coordinator_epoch: marker.coordinator_epoch,
        },
    );
    let appended = partition.append(batch, -1, Origin::Coordinator, broker.partitions.settings(), now);
    let (_, required) = appended.map_err(code)?;
    Ok((partition, required))
}

/// Waits until every append is replicated, or the time is over.
async fn replicate(written: &[Result<Written, ErrorCode>], timeout: Duration) {
    let deadline = Instant::now() + timeout;
    let pending = || -> Vec<&Written> {
        let appended = written.iter().filter_map(|written| written.as_ref().ok());
        appended
            .filter(|(partition, required)| partition.is_replicated(*required).is_none())
            .collect()
    };
    loop {
        let waiting = pending();
        if waiting.is_empty() {
            return;
        }
        let waiter = Waiter::new(i64::try_from(waiting.len()).unwrap_or(i64::MAX));
        let _places: Vec<_> = waiting
            .iter()
            .map(|(partition, required)| partition.produces().join_from(&waiter, required.offset.0))
            .collect();
        // What was replicated before its place was taken told nobody: begin again without it.
        if pending().len() < waiting.len() {
            continue;
        }
        if !waiter.wait(deadline.saturating_duration_since(Instant::now())).await {
            return;
        }
    }
}

fn response(
    request: &WriteTxnMarkersRequest,
    mut code: impl FnMut(&WritableTxnMarker, &str, i32) -> ErrorCode,
) -> WriteTxnMarkersResponse {
    let mut markers = Vec::with_capacity(request.markers.len());
    for marker in &request.markers {
        let mut topics = Vec::with_capacity(marker.topics.len());
        for topic in &marker.topics {
            let partitions = topic.partition_indexes.iter().map(|index| {
                WritableTxnMarkerPartitionResult::default()
                    .with_partition_index(*index)
                    .with_error_code(code(marker, &topic.name, *index) as i16)
            });
            topics.push(
                WritableTxnMarkerTopicResult::default()
                    .with_name(topic.name.clone())
                    .with_partitions(partitions.collect()),
            );
        }
        markers.push(
            WritableTxnMarkerResult::default()
                .with_producer_id(marker.producer_id)
                .with_topics(topics),
        );
    }
    WriteTxnMarkersResponse::default().with_markers(markers)
}
