//! WriteTxnMarkers (key 27, versions 0 and 1): a transaction's coordinator ends it in the partitions that are led here.
//!
//! Each marker is one control batch for each partition, appended with acks=all. All are appended first and waited for
//! together, on no lock. Behind a marker in a partition of `__consumer_offsets` the group coordinator makes the
//! transaction's offsets count, or forgets them, before the answer goes.
//!
//! Source: Kafka 3.9 `KafkaApis.handleWriteTxnMarkersRequest`.

use std::sync::Arc;
use std::time::Duration;

use broker_log::append::Origin;
use broker_log::batch::{BatchBuilder, EndTransactionMarker};
use broker_wire::ErrorCode;
use bytes::Bytes;
use kafka_protocol::messages::write_txn_markers_request::WritableTxnMarker;
use kafka_protocol::messages::write_txn_markers_response::{
    WritableTxnMarkerPartitionResult, WritableTxnMarkerResult, WritableTxnMarkerTopicResult,
};
use kafka_protocol::messages::{
    ProducerId as WireProducerId, TopicName, WriteTxnMarkersRequest, WriteTxnMarkersResponse,
};
use model::{GROUP_METADATA_TOPIC, Millis, Offset, ProducerEpoch, ProducerId};
use tracing::debug;

use super::{Api, RequestContext, api, error_code};
use crate::Broker;
use crate::clock;
use crate::partition::{Partition, PartitionError, Required, replicated_all};
use crate::security::Operation;

pub(super) const API: Api = api!(WriteTxnMarkers, 0..=1, handle);

async fn handle(cx: &RequestContext, request: WriteTxnMarkersRequest) -> WriteTxnMarkersResponse {
    // The tools that abort hanging transactions may alter the cluster without being a part of it (KIP-664).
    if !cx.authorize_cluster_quietly(Operation::Alter) && !cx.authorize_cluster(Operation::ClusterAction) {
        return response(&request, |_| ErrorCode::ClusterAuthorizationFailed);
    }
    write(&cx.broker, request).await
}

/// What became of one marker in one partition.
enum Outcome {
    Appended {
        partition: Arc<Partition>,
        required: Required,
        offset: Offset,
    },
    Refused(ErrorCode),
}

/// Writes the markers and answers when they are replicated, or are not within `request.timeout.ms`.
pub(crate) async fn write(broker: &Arc<Broker>, request: WriteTxnMarkersRequest) -> WriteTxnMarkersResponse {
    // Of nobody: Kafka fails while it makes the batch. Source: `MemoryRecordsBuilder.close`.
    let of_nobody = |marker: &WritableTxnMarker| marker.producer_id.0 < 0 || marker.producer_epoch < 0;
    if request.markers.iter().any(of_nobody) {
        return response(&request, |_| ErrorCode::UnknownServerError);
    }
    let timeout = broker.config.load().request_timeout_ms;
    let timeout = Duration::from_millis(u64::try_from(timeout).unwrap_or(0));
    let now = clock::now();
    let mut outcomes = Vec::new();
    for marker in &request.markers {
        let records = control_batch(marker, now);
        for (topic, index) in partitions(marker) {
            outcomes.push(append(broker, topic, index, &records, now));
        }
    }
    let waiting: Vec<_> = outcomes.iter().filter_map(Outcome::unreplicated).collect();
    replicated_all(&waiting, timeout).await;

    let mut left = outcomes.iter();
    let mut codes = Vec::with_capacity(outcomes.len());
    for marker in &request.markers {
        for ((topic, index), outcome) in partitions(marker).zip(&mut left) {
            let result = outcome.result();
            if let (Ok(offset), GROUP_METADATA_TOPIC) = (result, topic.as_str()) {
                let (producer_id, committed) = (ProducerId(marker.producer_id.0), marker.transaction_result);
                broker
                    .groups
                    .complete_transaction(index, producer_id, committed, offset);
            }
            codes.push(result.map_or_else(|code| code, |_| ErrorCode::None));
        }
    }
    let mut codes = codes.into_iter();
    response(&request, |_| codes.next().unwrap_or(ErrorCode::UnknownServerError))
}

/// The batch of a marker: the same bytes for all its partitions. Source: Kafka `MemoryRecords.withEndTransactionMarker`.
fn control_batch(marker: &WritableTxnMarker, now: Millis) -> Bytes {
    let end = EndTransactionMarker {
        committed: marker.transaction_result,
        coordinator_epoch: marker.coordinator_epoch,
    };
    let (id, epoch) = (ProducerId(marker.producer_id.0), ProducerEpoch(marker.producer_epoch));
    BatchBuilder::end_transaction(id, epoch, now, end)
}

fn partitions(marker: &WritableTxnMarker) -> impl Iterator<Item = (&TopicName, i32)> {
    let topics = marker.topics.iter();
    topics.flat_map(|topic| topic.partition_indexes.iter().map(|index| (&topic.name, *index)))
}

fn append(broker: &Broker, topic: &TopicName, index: i32, records: &Bytes, now: Millis) -> Outcome {
    let appended = broker.partitions.get(topic, index, || false).and_then(|partition| {
        let settings = broker.partitions.settings();
        let (appended, required) = partition.append(records.clone(), -1, Origin::Coordinator, settings, now)?;
        Ok(Outcome::Appended {
            partition,
            required,
            offset: appended.first_offset,
        })
    });
    appended.unwrap_or_else(|refusal| {
        // The coordinator says so where it matters: it tries again many times a second.
        debug!(topic = topic.as_str(), partition = index, %refusal, "transaction marker not written");
        Outcome::Refused(match refusal {
            // Kafka asks for the log first, and has none of a failed directory.
            PartitionError::Offline(_) => ErrorCode::UnknownTopicOrPartition,
            other => error_code::of_partition(&other),
        })
    })
}

impl Outcome {
    fn unreplicated(&self) -> Option<(Arc<Partition>, Required)> {
        match self {
            Self::Appended {
                partition, required, ..
            } if partition.is_replicated(*required).is_none() => Some((Arc::clone(partition), *required)),
            Self::Appended { .. } | Self::Refused(_) => None,
        }
    }

    /// The marker's offset, if it is replicated.
    fn result(&self) -> Result<Offset, ErrorCode> {
        match self {
            Self::Refused(code) => Err(*code),
            Self::Appended {
                partition,
                required,
                offset,
            } => match partition.is_replicated(*required) {
                Some(Ok(())) => Ok(*offset),
                Some(Err(refusal)) => Err(error_code::of_partition(&refusal)),
                None => Err(ErrorCode::RequestTimedOut),
            },
        }
    }
}

/// An answer for each partition of each marker, asked for in their order; markers of one producer are answered together.
fn response(
    request: &WriteTxnMarkersRequest,
    mut code: impl FnMut(&TopicName) -> ErrorCode,
) -> WriteTxnMarkersResponse {
    let mut results: Vec<WritableTxnMarkerResult> = Vec::with_capacity(request.markers.len());
    for marker in &request.markers {
        let topics = marker.topics.iter().map(|topic| {
            let partitions = topic.partition_indexes.iter().map(|index| {
                WritableTxnMarkerPartitionResult::default()
                    .with_partition_index(*index)
                    .with_error_code(code(&topic.name) as i16)
            });
            let partitions = partitions.collect();
            WritableTxnMarkerTopicResult::default()
                .with_name(topic.name.clone())
                .with_partitions(partitions)
        });
        let topics: Vec<_> = topics.collect();
        match results
            .iter_mut()
            .find(|result| result.producer_id == marker.producer_id)
        {
            Some(result) => result.topics.extend(topics),
            None => results.push(
                WritableTxnMarkerResult::default()
                    .with_producer_id(WireProducerId(marker.producer_id.0))
                    .with_topics(topics),
            ),
        }
    }
    WriteTxnMarkersResponse::default().with_markers(results)
}
