//! Markers on their way to partition leaders, as the wire has them: which go where, in which request, and what an answer
//! means. Pure.
//!
//! Source: Kafka 3.9 `TransactionMarkerChannelManager.addTxnMarkersToBrokerQueue`,
//! `TransactionMarkerRequestCompletionHandler`.

use broker_wire::ErrorCode;
use coordinator::transaction::{MarkerOutcome, Markers, TransactionResult};
use hashbrown::HashMap;
use kafka_protocol::messages::write_txn_markers_request::{WritableTxnMarker, WritableTxnMarkerTopic};
use kafka_protocol::messages::{
    ProducerId as WireProducerId, TopicName, WriteTxnMarkersRequest, WriteTxnMarkersResponse,
};
use kafka_protocol::protocol::StrBytes;
use model::{BrokerId, TopicPartition};

use crate::metadata::MetadataImage;

/// Where partitions are led.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Routes {
    /// By brokers that are alive.
    pub(super) led: Vec<(BrokerId, Vec<TopicPartition>)>,
    /// By nobody now.
    pub(super) leaderless: Vec<TopicPartition>,
    /// They do not exist any more: there is nothing to be marked.
    pub(super) deleted: Vec<TopicPartition>,
}

/// Looks for the leaders. As long as the controller has told nothing, nothing counts as deleted.
pub(super) fn routes(image: &MetadataImage, listener: &str, partitions: Vec<TopicPartition>) -> Routes {
    let mut routes = Routes::default();
    for partition in partitions {
        let Some(known) = image.partition(&partition.topic, partition.partition) else {
            if image.brokers.is_empty() {
                routes.leaderless.push(partition);
            } else {
                routes.deleted.push(partition);
            }
            continue;
        };
        let alive = image.brokers.get(&known.leader);
        if alive.is_none_or(|broker| !broker.endpoints.contains_key(listener)) {
            routes.leaderless.push(partition);
            continue;
        }
        match routes.led.iter_mut().find(|(leader, _)| *leader == known.leader) {
            Some((_, led)) => led.push(partition),
            None => routes.led.push((known.leader, vec![partition])),
        }
    }
    routes
}

/// The request for these markers.
pub(super) fn request<'a>(markers: impl Iterator<Item = &'a Markers>) -> WriteTxnMarkersRequest {
    let markers = markers.map(|markers| {
        WritableTxnMarker::default()
            .with_producer_id(WireProducerId(markers.producer.id.0))
            .with_producer_epoch(markers.producer.epoch.0)
            .with_transaction_result(markers.result == TransactionResult::Commit)
            .with_coordinator_epoch(markers.coordinator_epoch.0)
            .with_topics(topics(&markers.partitions))
    });
    WriteTxnMarkersRequest::default().with_markers(markers.collect())
}

fn topics(partitions: &[TopicPartition]) -> Vec<WritableTxnMarkerTopic> {
    let mut topics: Vec<WritableTxnMarkerTopic> = Vec::new();
    for partition in partitions {
        match topics.iter_mut().find(|topic| *topic.name.0 == *partition.topic) {
            Some(topic) => topic.partition_indexes.push(partition.partition),
            None => topics.push(
                WritableTxnMarkerTopic::default()
                    .with_name(TopicName(StrBytes::from_string(partition.topic.to_string())))
                    .with_partition_indexes(vec![partition.partition]),
            ),
        }
    }
    topics
}

/// A leader's answers, found by what was asked.
pub(super) struct Answers<'a>(HashMap<(i64, &'a str, i32), i16>);

impl<'a> Answers<'a> {
    pub(super) fn of(response: &'a WriteTxnMarkersResponse) -> Self {
        let mut all = HashMap::new();
        for marker in &response.markers {
            for topic in &marker.topics {
                for partition in &topic.partitions {
                    let key = (marker.producer_id.0, topic.name.as_str(), partition.partition_index);
                    all.insert(key, partition.error_code);
                }
            }
        }
        Self(all)
    }

    /// What is said of the partitions of these markers. What is not mentioned is unexpected.
    pub(super) fn outcomes(&self, markers: Markers) -> Vec<(TopicPartition, MarkerOutcome)> {
        let producer_id = markers.producer.id.0;
        let outcome = |partition: TopicPartition| {
            let code = self.0.get(&(producer_id, &*partition.topic, partition.partition));
            let outcome = code.map_or(MarkerOutcome::Unexpected, |code| outcome(*code));
            if outcome != MarkerOutcome::Written {
                tracing::debug!(%partition, producer_id, ?code, "marker not written");
            }
            (partition, outcome)
        };
        markers.partitions.into_iter().map(outcome).collect()
    }
}

fn outcome(code: i16) -> MarkerOutcome {
    match ErrorCode::from_i16(code) {
        Some(ErrorCode::None) => MarkerOutcome::Written,
        Some(ErrorCode::UnsupportedForMessageFormat | ErrorCode::UnsupportedVersion) => MarkerOutcome::Unsupported,
        Some(
            ErrorCode::UnknownTopicOrPartition
            | ErrorCode::NotLeaderOrFollower
            | ErrorCode::NotEnoughReplicas
            | ErrorCode::NotEnoughReplicasAfterAppend
            | ErrorCode::RequestTimedOut
            | ErrorCode::KafkaStorageError,
        ) => MarkerOutcome::Retry,
        Some(ErrorCode::InvalidProducerEpoch | ErrorCode::TransactionCoordinatorFenced) => MarkerOutcome::Fenced,
        Some(_) | None => MarkerOutcome::Unexpected,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::Arc;

    use coordinator::transaction::{MarkersId, Producer};
    use kafka_protocol::messages::write_txn_markers_response::{
        WritableTxnMarkerPartitionResult, WritableTxnMarkerResult, WritableTxnMarkerTopicResult,
    };
    use kafka_protocol::protocol::Encodable;
    use model::{LeaderEpoch, PartitionEpoch, ProducerEpoch, ProducerId};

    use super::*;
    use crate::metadata::{Endpoint, LiveBroker, PartitionImage, TopicImage};

    fn at(partition: &str) -> TopicPartition {
        let (topic, index) = partition.rsplit_once('-').unwrap();
        TopicPartition::new(topic, index.parse().unwrap())
    }

    fn all(partitions: &[&str]) -> Vec<TopicPartition> {
        partitions.iter().map(|partition| at(partition)).collect()
    }

    fn markers(partitions: &[&str]) -> Markers {
        Markers {
            id: MarkersId(1),
            producer: Producer {
                id: ProducerId(7),
                epoch: ProducerEpoch(3),
            },
            coordinator_epoch: LeaderEpoch(5),
            result: TransactionResult::Commit,
            partitions: all(partitions),
        }
    }

    fn image(leaders: &[(&str, i32)], alive: &[(i32, &str)]) -> MetadataImage {
        let mut image = MetadataImage::default();
        for (id, listener) in alive {
            let endpoint = Endpoint {
                host: "h".into(),
                port: 1,
                security_protocol: 0,
            };
            let broker = LiveBroker {
                id: BrokerId(*id),
                rack: None,
                endpoints: BTreeMap::from([(Arc::from(*listener), endpoint)]),
            };
            image.brokers.insert(broker.id, Arc::new(broker));
        }
        for (partition, leader) in leaders {
            let partition = at(partition);
            let mut topic = image
                .topics
                .get(&partition.topic)
                .map_or_else(TopicImage::default, |it| (**it).clone());
            topic.partitions.insert(
                partition.partition,
                PartitionImage {
                    leader: BrokerId(*leader),
                    leader_epoch: LeaderEpoch(0),
                    partition_epoch: PartitionEpoch(0),
                    replicas: Vec::new(),
                    isr: Vec::new(),
                    offline_replicas: Vec::new(),
                },
            );
            image.topics.insert(Arc::clone(&partition.topic), Arc::new(topic));
        }
        image
    }

    #[test]
    fn markers_go_to_the_leaders_of_now() {
        let leaders = [("a-0", 1), ("a-1", 2), ("b-0", 1), ("c-0", -1), ("d-0", 3), ("e-0", 4)];
        let image = image(&leaders, &[(1, "IN"), (2, "IN"), (4, "OTHER")]);
        let asked = all(&["a-0", "a-1", "b-0", "c-0", "d-0", "e-0", "gone-0", "a-9"]);
        let expected = Routes {
            led: vec![(BrokerId(1), all(&["a-0", "b-0"])), (BrokerId(2), all(&["a-1"]))],
            leaderless: all(&["c-0", "d-0", "e-0"]),
            deleted: all(&["gone-0", "a-9"]),
        };
        assert_eq!(routes(&image, "IN", asked), expected);
        let untold = routes(&MetadataImage::default(), "IN", all(&["a-0"]));
        assert_eq!(untold.leaderless, all(&["a-0"]), "before the controller's first word");
    }

    #[test]
    fn a_request_names_each_topic_of_a_marker_once() {
        let request = request([&markers(&["a-0", "b-0", "a-1"])].into_iter());
        for version in 0..=1 {
            request.encode(&mut bytes::BytesMut::new(), version).unwrap();
        }
        let marker = &request.markers[0];
        assert_eq!((marker.producer_id.0, marker.producer_epoch), (7, 3));
        assert_eq!((marker.coordinator_epoch, marker.transaction_result), (5, true));
        let topics: Vec<_> = marker
            .topics
            .iter()
            .map(|it| (it.name.as_str(), &it.partition_indexes[..]))
            .collect();
        assert_eq!(topics, [("a", &[0, 1][..]), ("b", &[0][..])]);
    }

    #[test]
    fn answers_mean_what_they_mean_in_kafka() {
        let response = |code: i16| {
            let partition = WritableTxnMarkerPartitionResult::default().with_error_code(code);
            let topic = WritableTxnMarkerTopicResult::default()
                .with_name(TopicName(StrBytes::from_static_str("a")))
                .with_partitions(vec![partition]);
            let marker = WritableTxnMarkerResult::default()
                .with_producer_id(WireProducerId(7))
                .with_topics(vec![topic]);
            WriteTxnMarkersResponse::default().with_markers(vec![marker])
        };
        let check = |code: i16, expected: MarkerOutcome| {
            let response = response(code);
            let outcomes = Answers::of(&response).outcomes(markers(&["a-0"]));
            assert_eq!(outcomes, [(at("a-0"), expected)], "{code}");
        };
        check(ErrorCode::None as i16, MarkerOutcome::Written);
        check(
            ErrorCode::UnsupportedForMessageFormat as i16,
            MarkerOutcome::Unsupported,
        );
        check(ErrorCode::NotLeaderOrFollower as i16, MarkerOutcome::Retry);
        check(ErrorCode::UnknownTopicOrPartition as i16, MarkerOutcome::Retry);
        check(ErrorCode::RequestTimedOut as i16, MarkerOutcome::Retry);
        check(ErrorCode::TransactionCoordinatorFenced as i16, MarkerOutcome::Fenced);
        check(ErrorCode::InvalidProducerEpoch as i16, MarkerOutcome::Fenced);
        check(ErrorCode::CorruptMessage as i16, MarkerOutcome::Unexpected);
        check(12_345, MarkerOutcome::Unexpected);
        let other = response(0);
        let unmentioned = Answers::of(&other).outcomes(markers(&["b-0"]));
        assert_eq!(unmentioned, [(at("b-0"), MarkerOutcome::Unexpected)]);
    }
}
