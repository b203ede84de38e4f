//! The requests of consumer groups at every version, as frames: the life of one member, and refusals.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use broker_log::{Logs, LogsConfig};
use broker_wire::header::parse_response_header;
use broker_wire::{ErrorCode, Request, apis, codec};
use bytes::Bytes;
use kafka_protocol::messages::join_group_request::JoinGroupRequestProtocol;
use kafka_protocol::messages::leave_group_request::MemberIdentity;
use kafka_protocol::messages::offset_commit_request::{OffsetCommitRequestPartition, OffsetCommitRequestTopic};
use kafka_protocol::messages::offset_delete_request::{OffsetDeleteRequestPartition, OffsetDeleteRequestTopic};
use kafka_protocol::messages::offset_fetch_request::{
    OffsetFetchRequestGroup, OffsetFetchRequestTopic, OffsetFetchRequestTopics,
};
use kafka_protocol::messages::sync_group_request::SyncGroupRequestAssignment;
use kafka_protocol::messages::update_metadata_request::{
    UpdateMetadataBroker, UpdateMetadataEndpoint, UpdateMetadataPartitionState, UpdateMetadataTopicState,
};
use kafka_protocol::messages::{
    BrokerId as WireBrokerId, DeleteGroupsRequest, DescribeGroupsRequest, FindCoordinatorRequest, GroupId,
    HeartbeatRequest, JoinGroupRequest, LeaveGroupRequest, ListGroupsRequest, OffsetCommitRequest, OffsetDeleteRequest,
    OffsetFetchRequest, SyncGroupRequest, TopicName, UpdateMetadataRequest,
};
use kafka_protocol::protocol::StrBytes;
use model::{BrokerId, ControllerEpoch, GROUP_METADATA_TOPIC, LeaderEpoch, Millis, PartitionEpoch, TopicPartition};
use tempfile::TempDir;
use zk_schema::brokers::topics::{self, ReplicaAssignment, TopicAssignment};
use zk_schema_store::{CreateMode, MemoryTree, Store};

use super::text::wire;
use super::{ConnectionInfo, served};
use crate::Broker;
use crate::config::{BrokerConfig, ConfigHandle, SecurityProtocol};
use crate::net::Reply;
use crate::partition::{LeaderAndIsrPartition, PartitionState, Partitions, ReplicaSettings};

const ME: BrokerId = BrokerId(1);

struct Stage {
    broker: Arc<Broker>,
    connection: Arc<ConnectionInfo>,
    _dir: TempDir,
}

impl Stage {
    /// A broker that leads the only partition of `__consumer_offsets` and knows a topic `t`.
    async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::in_memory(MemoryTree::new());
        let assignment = TopicAssignment {
            topic_id: None,
            partitions: [(0, ReplicaAssignment::new([ME]))].into_iter().collect(),
        };
        let path = topics::path(GROUP_METADATA_TOPIC);
        store
            .create_recursive(&path, assignment.encode(), CreateMode::Persistent)
            .await
            .unwrap();
        let config = BrokerConfig::from_pairs([
            ("zookeeper.connect", "z"),
            ("group.initial.rebalance.delay.ms", "0"),
            ("offsets.topic.num.partitions", "1"),
        ]);
        let config = Arc::new(ConfigHandle::new(config.unwrap()));
        let logs = Logs::open(LogsConfig::new(vec![dir.path().to_owned()])).unwrap();
        let settings = ReplicaSettings::new(ME, Millis(30_000));
        let partitions = Partitions::new(settings, logs);
        let broker = Broker::new(ME, "cluster".to_owned(), config, store, Arc::clone(&partitions));
        broker.metadata.update(&metadata());
        crate::blocking::run(move || partitions.become_leader_or_follower(&[leader()])).await;
        for _ in 0..2_000 {
            if broker.groups.describe("any").is_ok() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let connection = Arc::new(ConnectionInfo::new(
            "PLAINTEXT".into(),
            SecurityProtocol::Plaintext,
            SocketAddr::from((Ipv4Addr::LOCALHOST, 50_000)),
        ));
        Self {
            broker,
            connection,
            _dir: dir,
        }
    }

    /// Sends a request as a client does, and reads the answer as one.
    async fn ask<R: Request>(&self, version: i16, request: &R) -> R::Response {
        let frame = codec::encode_request(7, "client", version, request).unwrap();
        let reply = super::serve(&self.broker, &self.connection, frame.slice(4..)).await;
        let Reply::Bytes(frame) = reply else {
            panic!("version {version}: {reply:?}")
        };
        let api = apis::api(R::KEY).unwrap();
        let header_version = api.response_header_version(version);
        let (correlation_id, body) = parse_response_header(&frame.slice(4..), header_version).unwrap();
        assert_eq!(correlation_id, 7);
        codec::decode_response::<R>(version, body).unwrap()
    }
}

fn leader() -> LeaderAndIsrPartition {
    LeaderAndIsrPartition {
        partition: TopicPartition::new(GROUP_METADATA_TOPIC, 0),
        topic_id: None,
        state: PartitionState {
            controller_epoch: ControllerEpoch(1),
            leader: ME,
            leader_epoch: LeaderEpoch(0),
            partition_epoch: PartitionEpoch(0),
            isr: vec![ME],
            replicas: vec![ME],
            adding_replicas: Vec::new(),
            removing_replicas: Vec::new(),
            is_new: true,
        },
    }
}

fn metadata() -> UpdateMetadataRequest {
    let endpoint = UpdateMetadataEndpoint::default()
        .with_listener(wire("PLAINTEXT"))
        .with_host(wire("localhost"))
        .with_port(9092);
    let broker = UpdateMetadataBroker::default()
        .with_id(WireBrokerId(ME.0))
        .with_endpoints(vec![endpoint]);
    let topic = |name: &str| {
        let partition = UpdateMetadataPartitionState::default().with_leader(WireBrokerId(ME.0));
        UpdateMetadataTopicState::default()
            .with_topic_name(topic_name(name))
            .with_partition_states(vec![partition])
    };
    UpdateMetadataRequest::default()
        .with_live_brokers(vec![broker])
        .with_topic_states(vec![topic(GROUP_METADATA_TOPIC), topic("t")])
}

fn topic_name(name: &str) -> TopicName {
    TopicName(wire(name))
}

fn group(version: i16) -> GroupId {
    GroupId(wire(&format!("group-{version}")))
}

fn versions<R: Request>() -> std::ops::RangeInclusive<i16> {
    let api = served(R::KEY).unwrap();
    api.min_version..=api.max_version
}

/// Clamps the version of a conversation to what the request has: version 9 of JoinGroup goes with version 4 of Heartbeat.
fn at<R: Request>(version: i16) -> i16 {
    version.clamp(*versions::<R>().start(), *versions::<R>().end())
}

fn join(version: i16, member_id: &StrBytes) -> JoinGroupRequest {
    let protocol = JoinGroupRequestProtocol::default()
        .with_name(wire("range"))
        .with_metadata(Bytes::from_static(b"\0\0\0\0\0\x01\0\x01t\xff\xff\xff\xff"));
    JoinGroupRequest::default()
        .with_group_id(group(version))
        .with_member_id(member_id.clone())
        .with_session_timeout_ms(30_000)
        .with_rebalance_timeout_ms(60_000)
        .with_protocol_type(wire("consumer"))
        .with_protocols(vec![protocol])
}

fn commit(version: i16, topic: &str, member_id: &StrBytes, generation: i32) -> OffsetCommitRequest {
    let mut partition = OffsetCommitRequestPartition::default()
        .with_committed_offset(i64::from(version) + 10)
        .with_committed_metadata(Some(wire("m")));
    if version >= 6 {
        partition.committed_leader_epoch = 4;
    }
    let topic = OffsetCommitRequestTopic::default()
        .with_name(topic_name(topic))
        .with_partitions(vec![partition]);
    let request = OffsetCommitRequest::default()
        .with_group_id(group(version))
        .with_topics(vec![topic]);
    if version == 0 {
        return request;
    }
    request
        .with_member_id(member_id.clone())
        .with_generation_id_or_member_epoch(generation)
}

async fn committed(stage: &Stage, version: i16, of: i16) -> (i64, String, i16) {
    if version >= 8 {
        let topic = OffsetFetchRequestTopics::default()
            .with_name(topic_name("t"))
            .with_partition_indexes(vec![0]);
        let asked = OffsetFetchRequestGroup::default()
            .with_group_id(group(of))
            .with_topics(Some(vec![topic]));
        let answer = stage
            .ask(version, &OffsetFetchRequest::default().with_groups(vec![asked]))
            .await;
        let partition = &answer.groups[0].topics[0].partitions[0];
        let metadata = partition.metadata.as_ref().unwrap().to_string();
        return (partition.committed_offset, metadata, partition.error_code);
    }
    let topic = OffsetFetchRequestTopic::default()
        .with_name(topic_name("t"))
        .with_partition_indexes(vec![0]);
    let request = OffsetFetchRequest::default()
        .with_group_id(group(of))
        .with_topics(Some(vec![topic]));
    let answer = stage.ask(version, &request).await;
    let partition = &answer.topics[0].partitions[0];
    (
        partition.committed_offset,
        partition.metadata.as_ref().unwrap().to_string(),
        partition.error_code,
    )
}

#[tokio::test]
async fn a_member_lives_at_every_version() {
    let stage = Stage::new().await;
    for version in versions::<JoinGroupRequest>() {
        let mut joined = stage.ask(version, &join(version, &StrBytes::default())).await;
        if version >= 4 {
            assert_eq!(
                joined.error_code,
                ErrorCode::MemberIdRequired as i16,
                "version {version}"
            );
            joined = stage.ask(version, &join(version, &joined.member_id)).await;
        }
        assert_eq!((joined.error_code, joined.generation_id), (0, 1), "version {version}");
        assert_eq!(joined.leader, joined.member_id);
        assert_eq!(joined.members.len(), 1);
        assert_eq!(joined.protocol_name.as_deref(), Some("range"));
        let member_id = joined.member_id;

        let assignment = SyncGroupRequestAssignment::default()
            .with_member_id(member_id.clone())
            .with_assignment(Bytes::from_static(b"all"));
        let mut sync = SyncGroupRequest::default()
            .with_group_id(group(version))
            .with_generation_id(1)
            .with_member_id(member_id.clone())
            .with_assignments(vec![assignment]);
        if at::<SyncGroupRequest>(version) >= 5 {
            let refused = stage.ask(5, &sync).await;
            assert_eq!(refused.error_code, ErrorCode::InconsistentGroupProtocol as i16);
            sync = sync
                .with_protocol_type(Some(wire("consumer")))
                .with_protocol_name(Some(wire("range")));
        }
        let synced = stage.ask(at::<SyncGroupRequest>(version), &sync).await;
        assert_eq!(
            (synced.error_code, &synced.assignment[..]),
            (0, &b"all"[..]),
            "version {version}"
        );

        let heartbeat = HeartbeatRequest::default()
            .with_group_id(group(version))
            .with_generation_id(1)
            .with_member_id(member_id.clone());
        assert_eq!(
            stage.ask(at::<HeartbeatRequest>(version), &heartbeat).await.error_code,
            0
        );

        let answer = stage.ask(version, &commit(version, "t", &member_id, 1)).await;
        assert_eq!(answer.topics[0].partitions[0].error_code, 0, "version {version}");
        // What version 0 writes to ZooKeeper is without metadata, and only version 0 reads it.
        let metadata = if version == 0 { "" } else { "m" };
        assert_eq!(
            committed(&stage, version, version).await,
            (i64::from(version) + 10, metadata.to_owned(), 0)
        );

        let request = DescribeGroupsRequest::default().with_groups(vec![group(version)]);
        let described = stage
            .ask(at::<DescribeGroupsRequest>(version), &request)
            .await
            .groups
            .remove(0);
        assert_eq!((described.error_code, &*described.group_state), (0, "Stable"));
        assert_eq!(&*described.members[0].client_host, "/127.0.0.1");
        assert_eq!(&*described.members[0].client_id, "client");

        let delete = DeleteGroupsRequest::default().with_groups_names(vec![group(version)]);
        let refused = stage.ask(at::<DeleteGroupsRequest>(version), &delete).await;
        assert_eq!(refused.results[0].error_code, ErrorCode::NonEmptyGroup as i16);

        let leave = LeaveGroupRequest::default().with_group_id(group(version));
        let leave = if at::<LeaveGroupRequest>(version) >= 3 {
            leave.with_members(vec![MemberIdentity::default().with_member_id(member_id)])
        } else {
            leave.with_member_id(member_id)
        };
        let left = stage.ask(at::<LeaveGroupRequest>(version), &leave).await;
        assert_eq!(left.error_code, 0);
        assert!(left.members.iter().all(|member| member.error_code == 0));

        let listed = stage
            .ask(at::<ListGroupsRequest>(version), &ListGroupsRequest::default())
            .await;
        let listed = listed
            .groups
            .iter()
            .find(|listed| listed.group_id == group(version))
            .unwrap();
        assert_eq!(&*listed.protocol_type, "consumer");
        if version >= 5 {
            assert_eq!((&*listed.group_state, &*listed.group_type), ("Empty", "classic"));
        }
        let deleted = stage.ask(at::<DeleteGroupsRequest>(version), &delete).await;
        assert_eq!(deleted.results[0].error_code, 0, "version {version}");
    }
}

#[tokio::test]
async fn a_coordinator_is_found_at_every_version() {
    let stage = Stage::new().await;
    for version in versions::<FindCoordinatorRequest>() {
        let (code, node, host) = if version >= 4 {
            let request = FindCoordinatorRequest::default().with_coordinator_keys(vec![wire("g")]);
            let found = stage.ask(version, &request).await.coordinators.remove(0);
            (found.error_code, found.node_id, found.host)
        } else {
            let found = stage
                .ask(version, &FindCoordinatorRequest::default().with_key(wire("g")))
                .await;
            (found.error_code, found.node_id, found.host)
        };
        assert_eq!((code, node.0, &*host), (0, 1, "localhost"), "version {version}");
    }
    let check = |version, key_type, expected: ErrorCode| {
        let stage = &stage;
        async move {
            let request = FindCoordinatorRequest::default().with_key_type(key_type);
            let request = if version >= 4 {
                request.with_coordinator_keys(vec![wire("g")])
            } else {
                request.with_key(wire("g"))
            };
            let answer = stage.ask(version, &request).await;
            let code = answer
                .coordinators
                .first()
                .map_or(answer.error_code, |found| found.error_code);
            assert_eq!(code, expected as i16, "version {version}, key type {key_type}");
        }
    };
    check(1, 1, ErrorCode::CoordinatorNotAvailable).await;
    check(1, 9, ErrorCode::InvalidRequest).await;
    check(5, 2, ErrorCode::InvalidRequest).await;
    check(6, 2, ErrorCode::CoordinatorNotAvailable).await;
}

#[tokio::test]
async fn commits_are_refused_at_every_version() {
    let stage = Stage::new().await;
    for version in versions::<OffsetCommitRequest>() {
        let answer = stage
            .ask(version, &commit(version, "nope", &StrBytes::default(), -1))
            .await;
        let code = answer.topics[0].partitions[0].error_code;
        assert_eq!(code, ErrorCode::UnknownTopicOrPartition as i16, "version {version}");
        if version > 0 {
            let answer = stage.ask(version, &commit(version, "t", &wire("stranger"), 3)).await;
            let code = answer.topics[0].partitions[0].error_code;
            assert_eq!(code, ErrorCode::IllegalGeneration as i16, "version {version}");
        }
    }
}

#[tokio::test]
async fn offsets_that_nobody_committed_are_none() {
    let stage = Stage::new().await;
    for version in versions::<OffsetFetchRequest>() {
        // Version 0 has always had an error for it.
        let code = if version == 0 {
            ErrorCode::UnknownTopicOrPartition
        } else {
            ErrorCode::None
        };
        assert_eq!(
            committed(&stage, version, 99).await,
            (-1, String::new(), code as i16),
            "version {version}"
        );
    }
}

#[tokio::test]
async fn a_group_that_moved_away_is_refused_at_every_version_of_offset_fetch() {
    let stage = Stage::new().await;
    stage.broker.groups.shut_down();
    let refused = ErrorCode::NotCoordinator as i16;
    assert_eq!(committed(&stage, 1, 1).await.2, refused);
    for version in 2..=7 {
        let answer = stage
            .ask(
                version,
                &OffsetFetchRequest::default().with_group_id(group(1)).with_topics(None),
            )
            .await;
        assert_eq!(
            (answer.error_code, answer.topics.len()),
            (refused, 0),
            "version {version}"
        );
    }
    for version in 8..=9 {
        let asked = OffsetFetchRequestGroup::default()
            .with_group_id(group(1))
            .with_topics(None);
        let answer = stage
            .ask(version, &OffsetFetchRequest::default().with_groups(vec![asked]))
            .await;
        assert_eq!(answer.groups[0].error_code, refused, "version {version}");
    }
}

#[tokio::test]
async fn offsets_are_deleted() {
    let stage = Stage::new().await;
    let answer = stage.ask(9, &commit(9, "t", &StrBytes::default(), -1)).await;
    assert_eq!(answer.topics[0].partitions[0].error_code, 0);
    let partition = |index| OffsetDeleteRequestPartition::default().with_partition_index(index);
    let topic = OffsetDeleteRequestTopic::default()
        .with_name(topic_name("t"))
        .with_partitions(vec![partition(0), partition(5)]);
    let request = OffsetDeleteRequest::default()
        .with_group_id(group(9))
        .with_topics(vec![topic]);
    let answer = stage.ask(0, &request).await;
    let codes: Vec<i16> = answer.topics[0]
        .partitions
        .iter()
        .map(|partition| partition.error_code)
        .collect();
    assert_eq!(
        (answer.error_code, codes),
        (0, vec![0, ErrorCode::UnknownTopicOrPartition as i16])
    );
    assert_eq!(committed(&stage, 9, 9).await.0, -1);
    // The group died with its last offset.
    assert_eq!(
        stage.ask(0, &request).await.error_code,
        ErrorCode::GroupIdNotFound as i16
    );
}
