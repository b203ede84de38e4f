//! The shell with a real log and an in-memory ZooKeeper: what is stored, what waits, what a new leader knows.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use broker_log::{Logs, LogsConfig};
use bytes::Bytes;
use coordinator::group::{
    CommitRequest, CommittedOffset, FetchedOffset, GroupError, GroupState, HeartbeatRequest, JoinAnswer, JoinRequest,
    LeavingMember, Protocol, SyncRequest, TransactionalCommitRequest,
};
use model::{
    BrokerEpoch, BrokerId, ControllerEpoch, GROUP_METADATA_TOPIC, LeaderEpoch, Millis, Offset, PartitionEpoch,
    ProducerEpoch, ProducerId, TopicPartition, VerificationGuard,
};
use tempfile::TempDir;
use zk_schema::brokers::topics::{self, ReplicaAssignment, TopicAssignment};
use zk_schema_store::{CreateMode, MemoryTree, Store};

use super::{GroupCoordinator, Slot};
use crate::config::{BrokerConfig, ConfigHandle};
use crate::fetch_session::PartitionFetch;
use crate::partition::{
    Isolation, LeaderAndIsrPartition, Lookup, PartitionState, Partitions, ReadSpec, ReplicaSettings, StopReplica,
};

const ME: BrokerId = BrokerId(1);
const OTHER: BrokerId = BrokerId(2);

/// A broker that has nothing but partitions and groups.
struct Stage {
    groups: Arc<GroupCoordinator>,
    partitions: Arc<Partitions>,
    epoch: i32,
    replicas: Vec<BrokerId>,
}

impl Stage {
    /// `__consumer_offsets` has one partition, with these replicas.
    async fn new(dir: &Path, replicas: &[BrokerId], settings: &[(&str, &str)]) -> Self {
        let store = Store::in_memory(MemoryTree::new());
        let partitions = [(0, ReplicaAssignment::new(replicas.to_vec()))].into_iter().collect();
        let assignment = TopicAssignment {
            topic_id: None,
            partitions,
        };
        let path = topics::path(GROUP_METADATA_TOPIC);
        store
            .create_recursive(&path, assignment.encode(), CreateMode::Persistent)
            .await
            .unwrap();
        let fixed = [
            ("zookeeper.connect", "z"),
            ("group.initial.rebalance.delay.ms", "0"),
            ("offsets.topic.num.partitions", "1"),
        ];
        let config = BrokerConfig::from_pairs(fixed.into_iter().chain(settings.iter().copied())).unwrap();
        let logs = Logs::open(LogsConfig::new(vec![dir.to_owned()])).unwrap();
        let settings = ReplicaSettings::new(ME, Millis(30_000));
        let partitions = Partitions::new(settings, logs);
        let groups = GroupCoordinator::new(Arc::new(ConfigHandle::new(config)), store, Arc::clone(&partitions));
        let told = Arc::clone(&groups);
        partitions.set_leadership_listener(move |changes| told.leadership_changed(changes));
        Self {
            groups,
            partitions,
            epoch: 0,
            replicas: replicas.to_vec(),
        }
    }

    /// The controller makes `leader` lead.
    async fn elect(&mut self, leader: BrokerId) {
        self.epoch += 1;
        let request = LeaderAndIsrPartition {
            partition: offsets_partition(),
            topic_id: None,
            state: PartitionState {
                controller_epoch: ControllerEpoch(1),
                leader,
                leader_epoch: LeaderEpoch(self.epoch),
                partition_epoch: PartitionEpoch(self.epoch),
                isr: self.replicas.clone(),
                replicas: self.replicas.clone(),
                adding_replicas: Vec::new(),
                removing_replicas: Vec::new(),
                is_new: false,
            },
        };
        let partitions = Arc::clone(&self.partitions);
        crate::blocking::run(move || partitions.become_leader_or_follower(&[request])).await;
    }

    /// Waits until the groups are loaded.
    async fn ready(&self) {
        let is_ready = || match self.groups.fetch_all_offsets("any", false) {
            Ok(_) => true,
            Err(GroupError::CoordinatorLoadInProgress) => false,
            Err(other) => panic!("{other}"),
        };
        until(is_ready).await;
    }

    async fn join(&self, member_id: &str) -> JoinAnswer {
        self.groups.join(join_request(member_id)).await
    }

    async fn commit(&self, offset: i64) -> Option<GroupError> {
        let answer = self.groups.commit(commit_request(offset)).await;
        assert_eq!(answer.len(), 1);
        answer[0].1
    }

    fn committed(&self) -> Option<i64> {
        match self
            .groups
            .fetch_offsets("g", &[TopicPartition::new("t", 0)], false)
            .unwrap()
            .remove(0)
        {
            FetchedOffset::Committed(value) => Some(value.offset.0),
            FetchedOffset::None => None,
            FetchedOffset::Unstable => panic!("unstable"),
        }
    }

    /// The follower has fetched all there is.
    fn follower_catches_up(&self) {
        let Lookup::Online(partition) = self.partitions.lookup(GROUP_METADATA_TOPIC, 0) else {
            panic!("no partition")
        };
        let end = partition.log().unwrap().log_end_offset();
        let fetch = PartitionFetch {
            fetch_offset: end,
            max_bytes: 1,
            current_leader_epoch: LeaderEpoch::NONE,
            last_fetched_epoch: LeaderEpoch::NONE,
            log_start_offset: Offset(0),
        };
        let spec = ReadSpec {
            fetch,
            isolation: Isolation::LogEnd,
            follower: Some((OTHER, BrokerEpoch::NONE)),
            only_leader: true,
            record: true,
            max_bytes: 1,
            min_one_batch: false,
        };
        partition
            .read(&spec, self.partitions.settings(), crate::clock::now())
            .unwrap();
    }
}

fn offsets_partition() -> TopicPartition {
    TopicPartition::new(GROUP_METADATA_TOPIC, 0)
}

fn join_request(member_id: &str) -> JoinRequest {
    JoinRequest {
        group_id: "g".into(),
        member_id: member_id.into(),
        group_instance_id: None,
        client_id: "c".into(),
        client_host: "/127.0.0.1".into(),
        rebalance_timeout_ms: 60_000,
        session_timeout_ms: 30_000,
        protocol_type: "consumer".into(),
        protocols: vec![Protocol {
            name: "range".into(),
            metadata: Bytes::new(),
        }],
        require_known_member_id: false,
        support_skipping_assignment: true,
        new_member_uuid: uuid::Uuid::new_v4().to_string(),
        reason: None,
    }
}

fn commit_request(offset: i64) -> CommitRequest {
    let value = CommittedOffset {
        offset: Offset(offset),
        leader_epoch: LeaderEpoch::NONE,
        metadata: "".into(),
        commit_timestamp: crate::clock::now(),
        expire_timestamp: None,
    };
    CommitRequest {
        group_id: "g".into(),
        generation_id: -1,
        member_id: "".into(),
        group_instance_id: None,
        offsets: vec![(TopicPartition::new("t", 0), value)],
    }
}

fn sync_request(member_id: &Arc<str>, generation_id: i32, assignment: &'static [u8]) -> SyncRequest {
    SyncRequest {
        group_id: "g".into(),
        generation_id,
        member_id: Arc::clone(member_id),
        group_instance_id: None,
        protocol_type: None,
        protocol_name: None,
        assignments: vec![(Arc::clone(member_id), Bytes::from_static(assignment))],
    }
}

fn is_unstable(stage: &Stage) -> bool {
    stage
        .groups
        .fetch_offsets("g", &[TopicPartition::new("t", 0)], true)
        .unwrap()
        == [FetchedOffset::Unstable]
}

/// Waits for the condition, not for ever.
async fn until(condition: impl Fn() -> bool) {
    for _ in 0..2_000 {
        if condition() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("this takes too long");
}

fn dir() -> TempDir {
    tempfile::tempdir().unwrap()
}

#[tokio::test]
async fn nothing_is_coordinated_here_before_a_partition_is_led() {
    let dir = dir();
    let stage = Stage::new(dir.path(), &[ME], &[]).await;
    assert_eq!(stage.join("").await.error, Some(GroupError::NotCoordinator));
    assert_eq!(stage.commit(1).await, Some(GroupError::NotCoordinator));
    assert_eq!(stage.groups.describe("g"), Err(GroupError::NotCoordinator));
    assert_eq!(stage.groups.describe(""), Err(GroupError::NotCoordinator));
    let nameless = JoinRequest {
        group_id: "".into(),
        ..join_request("")
    };
    assert_eq!(
        stage.groups.join(nameless).await.error,
        Some(GroupError::InvalidGroupId)
    );
    assert_eq!(stage.groups.list(), (Vec::new(), false));
}

#[tokio::test]
async fn a_member_joins_gets_its_assignment_commits_and_leaves() {
    let dir = dir();
    let mut stage = Stage::new(dir.path(), &[ME], &[]).await;
    stage.elect(ME).await;
    stage.ready().await;
    let joined = stage.join("").await;
    assert_eq!((joined.error, joined.generation_id), (None, 1));
    let answer = stage
        .groups
        .sync(sync_request(&joined.member_id, 1, b"all"))
        .await
        .unwrap();
    assert_eq!(&answer.assignment[..], b"all");
    let heartbeat = HeartbeatRequest {
        group_id: "g".into(),
        generation_id: 1,
        member_id: Arc::clone(&joined.member_id),
        group_instance_id: None,
    };
    assert_eq!(stage.groups.heartbeat(&heartbeat), Ok(()));
    let commit = CommitRequest {
        generation_id: 1,
        member_id: Arc::clone(&joined.member_id),
        ..commit_request(42)
    };
    assert_eq!(stage.groups.commit(commit).await[0].1, None);
    assert_eq!(stage.committed(), Some(42));
    let leaving = LeavingMember {
        member_id: Arc::clone(&joined.member_id),
        group_instance_id: None,
        reason: None,
    };
    assert_eq!(stage.groups.leave("g", &[leaving]), Ok(vec![Ok(())]));
    assert_eq!(stage.groups.describe("g").unwrap().state, GroupState::Empty);
    assert_eq!(stage.groups.delete("g"), Ok(()));
    assert_eq!(stage.groups.describe("g").unwrap().state, GroupState::Dead);
}

#[tokio::test]
async fn a_new_leader_knows_what_was_stored() {
    let dir = dir();
    let mut stage = Stage::new(dir.path(), &[ME], &[]).await;
    stage.elect(ME).await;
    stage.ready().await;
    let joined = stage.join("").await;
    stage
        .groups
        .sync(sync_request(&joined.member_id, 1, b"all"))
        .await
        .unwrap();
    let commit = CommitRequest {
        generation_id: 1,
        member_id: joined.member_id,
        ..commit_request(42)
    };
    assert_eq!(stage.groups.commit(commit).await[0].1, None);

    stage.elect(OTHER).await;
    assert_eq!(
        stage.groups.fetch_all_offsets("g", false),
        Err(GroupError::NotCoordinator)
    );
    stage.elect(ME).await;
    stage.ready().await;
    assert_eq!(stage.committed(), Some(42));
    let group = stage.groups.describe("g").unwrap();
    assert_eq!((group.state, group.members.len()), (GroupState::Stable, 1));
    assert_eq!(&group.members[0].assignment[..], b"all");
}

#[tokio::test]
async fn compressed_records_are_read_back() {
    for codec in ["1", "2", "3", "4"] {
        let dir = dir();
        let mut stage = Stage::new(dir.path(), &[ME], &[("offsets.topic.compression.codec", codec)]).await;
        stage.elect(ME).await;
        stage.ready().await;
        assert_eq!(stage.commit(7).await, None, "codec {codec}");
        stage.elect(OTHER).await;
        stage.elect(ME).await;
        stage.ready().await;
        assert_eq!(stage.committed(), Some(7), "codec {codec}");
    }
}

#[tokio::test]
async fn elected_again_without_a_break_goes_on() {
    let dir = dir();
    let mut stage = Stage::new(dir.path(), &[ME], &[]).await;
    stage.elect(ME).await;
    stage.ready().await;
    let joined = stage.join("").await;
    stage.elect(ME).await;
    // The rebalance in progress is not forgotten.
    assert!(
        stage
            .groups
            .sync(sync_request(&joined.member_id, 1, b"all"))
            .await
            .is_ok()
    );
}

#[tokio::test]
async fn a_commit_is_answered_once_the_follower_has_it() {
    let dir = dir();
    let mut stage = Stage::new(dir.path(), &[ME, OTHER], &[]).await;
    stage.elect(ME).await;
    stage.ready().await;
    let groups = Arc::clone(&stage.groups);
    let commit = tokio::spawn(async move { groups.commit(commit_request(9)).await });
    until(|| is_unstable(&stage)).await;
    assert_eq!(stage.committed(), None);
    assert!(!commit.is_finished());
    stage.follower_catches_up();
    assert_eq!(commit.await.unwrap()[0].1, None);
    assert_eq!(stage.committed(), Some(9));
}

#[tokio::test]
async fn a_commit_that_is_not_replicated_in_time_is_refused() {
    let dir = dir();
    let mut stage = Stage::new(dir.path(), &[ME, OTHER], &[("offsets.commit.timeout.ms", "20")]).await;
    stage.elect(ME).await;
    stage.ready().await;
    assert_eq!(stage.commit(9).await, Some(GroupError::RequestTimedOut));
    assert_eq!(stage.committed(), None);
}

#[tokio::test]
async fn who_waits_is_sent_away_when_leadership_ends() {
    let dir = dir();
    let mut stage = Stage::new(dir.path(), &[ME, OTHER], &[]).await;
    stage.elect(ME).await;
    stage.ready().await;
    let joined = stage.join("").await;
    let waiting = |groups: Arc<GroupCoordinator>| tokio::spawn(async move { groups.join(join_request("")).await });
    let second = waiting(Arc::clone(&stage.groups));
    let groups = Arc::clone(&stage.groups);
    let commit = tokio::spawn(async move {
        let commit = CommitRequest {
            generation_id: 1,
            member_id: joined.member_id,
            ..commit_request(9)
        };
        groups.commit(commit).await
    });
    until(|| stage.groups.describe("g").unwrap().state == GroupState::PreparingRebalance).await;
    until(|| is_unstable(&stage)).await;
    stage.elect(OTHER).await;
    assert_eq!(second.await.unwrap().error, Some(GroupError::NotCoordinator));
    assert_eq!(commit.await.unwrap()[0].1, Some(GroupError::NotCoordinator));
}

#[tokio::test]
async fn the_shutdown_and_the_end_of_the_topic_send_everybody_away() {
    let dir = dir();
    let mut stage = Stage::new(dir.path(), &[ME], &[]).await;
    stage.elect(ME).await;
    stage.ready().await;
    assert_eq!(stage.commit(1).await, None);
    let stop = StopReplica {
        partition: offsets_partition(),
        leader_epoch: LeaderEpoch(-2),
        delete: true,
    };
    let partitions = Arc::clone(&stage.partitions);
    crate::blocking::run(move || partitions.stop_replicas(&[stop])).await;
    assert_eq!(stage.commit(1).await, Some(GroupError::NotCoordinator));
    stage.elect(ME).await;
    stage.ready().await;
    assert_eq!(stage.committed(), None);
    stage.groups.shut_down();
    assert_eq!(stage.commit(1).await, Some(GroupError::NotCoordinator));
}

#[tokio::test]
async fn time_passes_for_members() {
    let dir = dir();
    let settings = [("group.min.session.timeout.ms", "50")];
    let mut stage = Stage::new(dir.path(), &[ME], &settings).await;
    stage.elect(ME).await;
    stage.ready().await;
    let request = JoinRequest {
        session_timeout_ms: 50,
        ..join_request("")
    };
    let joined = stage.groups.join(request).await;
    stage
        .groups
        .sync(sync_request(&joined.member_id, 1, b"all"))
        .await
        .unwrap();
    until(|| stage.groups.describe("g").unwrap().state == GroupState::Empty).await;
}

#[tokio::test]
async fn a_topic_that_zookeeper_does_not_know_is_not_loaded_until_it_does() {
    let dir = dir();
    let mut stage = Stage::new(dir.path(), &[ME], &[]).await;
    let path = topics::path(GROUP_METADATA_TOPIC);
    let (data, _) = stage.groups.store.get(&path).await.unwrap().unwrap();
    stage.groups.store.delete(&path, None).await.unwrap();
    stage.elect(ME).await;
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert!(stage.groups.list().1);
    stage
        .groups
        .store
        .create(&path, data.to_vec(), CreateMode::Persistent)
        .await
        .unwrap();
    until(|| !stage.groups.list().1).await;
    assert_eq!(stage.commit(3).await, None);
}

async fn commit_in_transaction(stage: &Stage, offset: i64) {
    let request = TransactionalCommitRequest {
        commit: commit_request(offset),
        producer_id: ProducerId(7),
        producer_epoch: ProducerEpoch(0),
        verification: VerificationGuard::NONE,
    };
    let answer = stage.groups.commit_transactional(request).await;
    assert_eq!(answer[0].1, None);
}

#[tokio::test]
async fn offsets_of_a_transaction_wait_for_its_marker() {
    let dir = TempDir::new().unwrap();
    let mut stage = Stage::new(dir.path(), &[ME], &[]).await;
    stage.elect(ME).await;
    stage.ready().await;
    stage.commit(1).await;
    commit_in_transaction(&stage, 2).await;
    assert!(is_unstable(&stage));
    assert_eq!(stage.committed(), Some(1));
    stage.groups.complete_transaction(0, ProducerId(7), true, Offset(2));
    assert!(!is_unstable(&stage));
    assert_eq!(stage.committed(), Some(2));
    // Another partition's groups are none of ours.
    stage.groups.complete_transaction(1, ProducerId(7), true, Offset(2));
}

#[tokio::test]
async fn a_marker_that_comes_while_the_groups_are_loaded_is_not_lost() {
    let dir = TempDir::new().unwrap();
    let mut stage = Stage::new(dir.path(), &[ME], &[]).await;
    stage.elect(ME).await;
    stage.ready().await;
    commit_in_transaction(&stage, 2).await;
    // As if it had just been elected, and the marker were behind what is read.
    let loading = Slot::Loading(LeaderEpoch(stage.epoch), Vec::new());
    stage.groups.slots.write().insert(0, loading);
    stage.groups.complete_transaction(0, ProducerId(7), true, Offset(1));
    Arc::clone(&stage.groups).load(0).await;
    assert!(!is_unstable(&stage));
    assert_eq!(stage.committed(), Some(2));
}
