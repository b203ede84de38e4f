//! Transactions where they write: produce, offsets of groups, markers, and readers of what is committed, as frames at every
//! version.

use std::sync::Arc;
use std::time::Duration;

use broker_log::Log;
use broker_log::batch::BatchBuilder;
use broker_wire::ErrorCode;
use bytes::Bytes;
use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use kafka_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use kafka_protocol::messages::txn_offset_commit_request::{
    TxnOffsetCommitRequestPartition, TxnOffsetCommitRequestTopic,
};
use kafka_protocol::messages::write_txn_markers_request::{WritableTxnMarker, WritableTxnMarkerTopic};
use kafka_protocol::messages::{
    AddOffsetsToTxnRequest, BrokerId as WireBrokerId, FetchRequest, GroupId, ProduceRequest,
    ProducerId as WireProducerId, TopicName, TxnOffsetCommitRequest, WriteTxnMarkersRequest,
};
use model::{BrokerId, Millis, Offset, ProducerEpoch, ProducerId, Sequence, TopicPartition};

use ErrorCode::None as Fine;
use coordinator::group::FetchedOffset;

use super::text::wire;
use super::transaction_requests_tests::{ME, Stage, code, transactional_id, until};

/// A broker that verifies, as brokers do by default.
async fn stage() -> Stage {
    let stage = Stage::new(&[ME]).await;
    stage.broker.partitions.logs().set_verify_transactions(true);
    stage
}

fn log(stage: &Stage, index: i32) -> Arc<Log> {
    let partition = stage.broker.partitions.get("t", index, || true).unwrap();
    partition.log().unwrap()
}

fn batch(producer: (i64, i16), sequence: i32, value: &[u8]) -> Bytes {
    let mut builder = BatchBuilder::new()
        .producer(ProducerId(producer.0), ProducerEpoch(producer.1), Sequence(sequence))
        .transactional(true);
    builder.push(Millis(1), None, Some(value));
    builder.build()
}

fn produce_request(id: &str, index: i32, records: Bytes) -> ProduceRequest {
    let data = PartitionProduceData::default()
        .with_index(index)
        .with_records(Some(records));
    let topic = TopicProduceData::default()
        .with_name(TopicName(wire("t")))
        .with_partition_data(vec![data]);
    ProduceRequest::default()
        .with_transactional_id(Some(transactional_id(id)))
        .with_acks(-1)
        .with_timeout_ms(10_000)
        .with_topic_data(vec![topic])
}

async fn produce(stage: &Stage, version: i16, id: &str, index: i32, records: Bytes) -> (ErrorCode, Option<String>) {
    let answer = stage.ask(version, &produce_request(id, index, records)).await;
    let answer = &answer.responses[0].partition_responses[0];
    let message = answer.error_message.as_ref().map(|text| text.to_string());
    (code(answer.error_code), message)
}

async fn add_offsets(stage: &Stage, id: &str, producer: (i64, i16), group: &str) -> ErrorCode {
    let request = AddOffsetsToTxnRequest::default()
        .with_transactional_id(transactional_id(id))
        .with_producer_id(WireProducerId(producer.0))
        .with_producer_epoch(producer.1)
        .with_group_id(GroupId(wire(group)));
    code(stage.ask(3, &request).await.error_code)
}

async fn commit_offset(
    stage: &Stage,
    version: i16,
    id: &str,
    producer: (i64, i16),
    group: &str,
    (topic, offset): (&str, i64),
    generation_id: i32,
) -> ErrorCode {
    let partition = TxnOffsetCommitRequestPartition::default().with_committed_offset(offset);
    let topic = TxnOffsetCommitRequestTopic::default()
        .with_name(TopicName(wire(topic)))
        .with_partitions(vec![partition]);
    let mut request = TxnOffsetCommitRequest::default()
        .with_transactional_id(transactional_id(id))
        .with_group_id(GroupId(wire(group)))
        .with_producer_id(WireProducerId(producer.0))
        .with_producer_epoch(producer.1)
        .with_topics(vec![topic]);
    if version >= 3 {
        request.generation_id = generation_id;
    }
    let answer = stage.ask(version, &request).await;
    code(answer.topics[0].partitions[0].error_code)
}

fn offset_of(stage: &Stage, group: &str, require_stable: bool) -> FetchedOffset {
    let partition = [TopicPartition::new("t", 0)];
    let fetched = stage.broker.groups.fetch_offsets(group, &partition, require_stable);
    fetched.unwrap().remove(0)
}

#[tokio::test]
async fn what_a_transaction_writes_counts_when_it_commits_at_every_version() {
    let stage = stage().await;
    for version in 3..=11_i16 {
        let id = format!("tx-{version}");
        let answer = stage.init(4, &id).await;
        let me = (answer.producer_id.0, answer.producer_epoch);
        let group = format!("group-{version}");
        let commits = version % 2 == 1;
        let of_offsets = version.clamp(3, 7) - 3;

        let start = log(&stage, 0).log_end_offset();
        let (refused, message) = produce(&stage, version, &id, 0, batch(me, 0, b"a")).await;
        let expected = match version {
            11 => ErrorCode::TransactionAbortable,
            _ => ErrorCode::InvalidTxnState,
        };
        assert_eq!(refused, expected, "{id}: not added");
        assert_eq!(message.is_some(), (8..11).contains(&version), "{id}: {message:?}");
        assert_eq!(stage.add(3, &id, me, &[("t", 0)]).await, [Fine], "{id}");
        assert_eq!(
            produce(&stage, version, &id, 0, batch(me, 0, b"a")).await,
            (Fine, None),
            "{id}"
        );
        assert_eq!(
            produce(&stage, version, &id, 0, batch(me, 1, b"b")).await,
            (Fine, None),
            "{id}"
        );
        assert_eq!(
            produce(&stage, version, &id, 1, batch(me, 0, b"b")).await.0,
            expected,
            "{id}: t-1"
        );

        let not_added = commit_offset(&stage, of_offsets, &id, me, &group, ("t", 5), -1).await;
        let expected = match of_offsets {
            4 => ErrorCode::TransactionAbortable,
            _ => ErrorCode::InvalidTxnState,
        };
        assert_eq!(not_added, expected, "{id}: the group was not added");
        assert_eq!(add_offsets(&stage, &id, me, &group).await, Fine, "{id}");
        let stored = commit_offset(&stage, of_offsets, &id, me, &group, ("t", 5), -1).await;
        assert_eq!(stored, Fine, "{id}");
        assert_eq!(offset_of(&stage, &group, true), FetchedOffset::Unstable, "{id}");
        assert_eq!(offset_of(&stage, &group, false), FetchedOffset::None, "{id}");
        assert_eq!(log(&stage, 0).last_stable_offset(), start, "{id}");

        assert_eq!(stage.end(3, &id, me, commits).await, Fine, "{id}");
        until(|| log(&stage, 0).last_stable_offset() == start + 3).await;
        until(|| offset_of(&stage, &group, true) != FetchedOffset::Unstable).await;
        let committed =
            matches!(offset_of(&stage, &group, true), FetchedOffset::Committed(value) if value.offset.0 == 5);
        assert_eq!(committed, commits, "{id}");
        let aborted = log(&stage, 0).aborted_transactions(start, start + 3).unwrap();
        assert_eq!(aborted.is_empty(), commits, "{id}");
    }
}

#[tokio::test]
async fn offsets_are_refused_as_those_of_groups_are() {
    let stage = stage().await;
    let answer = stage.init(4, "tx").await;
    let me = (answer.producer_id.0, answer.producer_epoch);
    assert_eq!(add_offsets(&stage, "tx", me, "g").await, Fine);
    let check =
        async |name: &str, version: i16, me: (i64, i16), group: &str, topic: &str, generation: i32, expected| {
            let answer = commit_offset(&stage, version, "tx", me, group, (topic, 1), generation).await;
            assert_eq!(answer, expected, "{name}");
        };
    //    name                 version  producer      group  topic  generation  answer
    check("no group", 3, me, "", "t", -1, ErrorCode::InvalidGroupId).await;
    check("no topic", 3, me, "g", "none", -1, ErrorCode::UnknownTopicOrPartition).await;
    check(
        "an old producer",
        3,
        (me.0, -1),
        "g",
        "t",
        -1,
        ErrorCode::InvalidProducerEpoch,
    )
    .await;
    check(
        "somebody else",
        3,
        (me.0 + 1, 0),
        "g",
        "t",
        -1,
        ErrorCode::InvalidProducerIdMapping,
    )
    .await;
    check(
        "a generation that is not",
        3,
        me,
        "g",
        "t",
        7,
        ErrorCode::UnknownMemberId,
    )
    .await;
    check("fine", 3, me, "g", "t", -1, Fine).await;
}

fn marker(producer: (i64, i16), coordinator_epoch: i32, partitions: &[(&str, i32)]) -> WritableTxnMarker {
    let topic = |(topic, index): &(&str, i32)| {
        WritableTxnMarkerTopic::default()
            .with_name(TopicName(wire(topic)))
            .with_partition_indexes(vec![*index])
    };
    WritableTxnMarker::default()
        .with_producer_id(WireProducerId(producer.0))
        .with_producer_epoch(producer.1)
        .with_coordinator_epoch(coordinator_epoch)
        .with_topics(partitions.iter().map(topic).collect())
}

#[tokio::test]
async fn markers_are_answered_each_for_itself_at_every_version() {
    let stage = stage().await;
    for version in 0..=1 {
        let first = 100 * i64::from(version);
        let markers = vec![
            marker((first + 1, 0), 5, &[("t", 0), ("none", 0), ("t", 1), ("t", 9)]),
            marker((first + 2, 3), 5, &[("t", 0)]),
            marker((first + 1, 0), 4, &[("t", 0)]),
        ];
        let request = WriteTxnMarkersRequest::default().with_markers(markers);
        let answer = stage.ask(version, &request).await;
        let told: Vec<(i64, Vec<ErrorCode>)> = answer
            .markers
            .iter()
            .map(|marker| {
                let partitions = marker.topics.iter().flat_map(|topic| &topic.partitions);
                let codes = partitions.map(|partition| code(partition.error_code)).collect();
                (marker.producer_id.0 - first, codes)
            })
            .collect();
        let unknown = ErrorCode::UnknownTopicOrPartition;
        let fenced = ErrorCode::TransactionCoordinatorFenced;
        assert_eq!(told, [(1, vec![Fine, unknown, Fine, unknown, fenced]), (2, vec![Fine])]);
    }
    assert_eq!(
        (log(&stage, 0).log_end_offset(), log(&stage, 1).log_end_offset()),
        (Offset(4), Offset(2))
    );
    let of_nobody = vec![marker((1, 0), 5, &[("t", 0)]), marker((1, -1), 5, &[("t", 0)])];
    let request = WriteTxnMarkersRequest::default().with_markers(of_nobody);
    let answer = stage.ask(1, &request).await;
    let topics = answer.markers.iter().flat_map(|marker| &marker.topics);
    let mut codes = topics
        .flat_map(|topic| &topic.partitions)
        .map(|partition| code(partition.error_code));
    assert!(codes.all(|code| code == ErrorCode::UnknownServerError));
    assert_eq!(log(&stage, 0).log_end_offset(), Offset(4), "nothing was appended");
    let empty = stage.ask(1, &WriteTxnMarkersRequest::default()).await;
    assert!(empty.markers.is_empty());
}

#[tokio::test]
async fn a_reader_of_committed_records_is_woken_by_the_marker() {
    let stage = Arc::new(stage().await);
    let answer = stage.init(4, "tx").await;
    let me = (answer.producer_id.0, answer.producer_epoch);
    assert_eq!(stage.add(3, "tx", me, &[("t", 0)]).await, [Fine]);
    let partition = FetchPartition::default()
        .with_partition_max_bytes(1 << 20)
        .with_current_leader_epoch(-1)
        .with_last_fetched_epoch(-1);
    let topic = FetchTopic::default()
        .with_topic(TopicName(wire("t")))
        .with_partitions(vec![partition]);
    // More bytes than a marker has.
    let request = FetchRequest::default()
        .with_replica_id(WireBrokerId(BrokerId::NONE.0))
        .with_max_wait_ms(60_000)
        .with_min_bytes(1_000)
        .with_isolation_level(1)
        .with_session_epoch(-1)
        .with_topics(vec![topic]);
    let reader = Arc::clone(&stage);
    let reading = tokio::spawn(async move { reader.serve(11, &request).await });
    assert_eq!(produce(&stage, 9, "tx", 0, batch(me, 0, &[b'x'; 5_000])).await.0, Fine);
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert!(!reading.is_finished(), "nothing is committed yet");
    assert_eq!(stage.end(3, "tx", me, true).await, Fine);
    let woken = tokio::time::timeout(Duration::from_secs(20), reading).await;
    assert!(woken.is_ok(), "the marker has woken nobody");
}
