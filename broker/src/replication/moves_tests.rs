//! Moves over real logs in two directories: under appends, over truncations, throttled, redirected and cancelled.

use std::path::PathBuf;

use broker_log::append::Origin;
use broker_log::batch::BatchBuilder;
use broker_log::{LogsConfig, MoveError};
use broker_wire::ErrorCode;
use model::{BrokerId, ControllerEpoch, PartitionEpoch};
use tempfile::TempDir;
use zk_schema_store::{MemoryTree, Store};

use super::*;
use crate::config::{BrokerConfig, ConfigHandle};
use crate::partition::{Fetched, LeaderAndIsrPartition, PartitionState, Partitions, ReplicaSettings, StopReplica};

const ME: BrokerId = BrokerId(1);

struct Scene {
    broker: Arc<Broker>,
    dirs: [TempDir; 3],
}

fn t0() -> TopicPartition {
    TopicPartition::new("t", 0)
}

fn batch(base: i64, epoch: i32, value: &[u8]) -> Bytes {
    let mut builder = BatchBuilder::new()
        .base_offset(Offset(base))
        .leader_epoch(LeaderEpoch(epoch));
    builder.push(Millis(1), None, Some(value));
    builder.build()
}

impl Scene {
    fn new() -> Self {
        let dirs = [(); 3].map(|()| TempDir::new().unwrap());
        let paths = dirs.iter().map(|dir| dir.path().to_owned()).collect();
        let logs = Logs::open(LogsConfig::new(paths)).unwrap();
        let settings = ReplicaSettings::new(ME, Millis(30_000));
        let pairs = [
            ("zookeeper.connect", "z"),
            ("broker.id", "1"),
            ("replica.fetch.max.bytes", "1000"),
        ];
        let config = Arc::new(ConfigHandle::new(BrokerConfig::from_pairs(pairs).unwrap()));
        let store = Store::in_memory(MemoryTree::new());
        let broker = Broker::new(ME, "cluster".into(), config, store, Partitions::new(settings, logs));
        broker.start_replication();
        let scene = Self { broker, dirs };
        scene.broker.partitions.logs().prefer_dir(&t0(), &scene.path(0));
        scene
    }

    fn path(&self, dir: usize) -> PathBuf {
        self.dirs[dir].path().to_owned()
    }

    fn elect(&self, leader: i32, epoch: i32) {
        let state = PartitionState {
            controller_epoch: ControllerEpoch(1),
            leader: BrokerId(leader),
            leader_epoch: LeaderEpoch(epoch),
            partition_epoch: PartitionEpoch(epoch),
            isr: vec![BrokerId(leader)],
            replicas: vec![BrokerId(1), BrokerId(2)],
            adding_replicas: vec![],
            removing_replicas: vec![],
            is_new: false,
        };
        let request = LeaderAndIsrPartition {
            partition: t0(),
            topic_id: None,
            state,
        };
        let codes = self.broker.partitions.become_leader_or_follower(&[request]);
        assert_eq!(codes, [ErrorCode::None]);
    }

    fn partition(&self) -> Arc<Partition> {
        BrokerLogs::of(&self.broker.partitions, &t0()).unwrap()
    }

    fn log(&self) -> Arc<Log> {
        self.partition().log().unwrap()
    }

    fn produce(&self, count: usize) {
        for n in 0..count {
            let value = format!("value {n} {}", "x".repeat(100));
            let records = batch(0, 0, value.as_bytes());
            let origin = Origin::Client { api_version: 9 };
            let partitions = &self.broker.partitions;
            self.partition()
                .append(records, 1, origin, partitions.settings(), clock::now())
                .unwrap();
        }
    }

    fn alter(&self, dir: usize) -> ErrorCode {
        self.broker.partitions.alter_log_dirs(&[(t0(), self.path(dir))])[0]
    }

    async fn until(&self, what: &str, holds: impl Fn(&Self) -> bool) {
        let poll = async {
            while !holds(self) {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        assert!(
            tokio::time::timeout(Duration::from_secs(20), poll).await.is_ok(),
            "{what}"
        );
    }

    fn is_in(&self, dir: usize) -> bool {
        self.log().parent_dir() == self.path(dir) && self.broker.partitions.logs().future(&t0()).is_none()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_moves_while_it_is_written() {
    let scene = Scene::new();
    scene.elect(1, 0);
    scene.produce(200);
    assert_eq!(scene.alter(1), ErrorCode::None);
    let mut produced = 200;
    while !scene.is_in(1) {
        scene.produce(5);
        produced += 5;
        assert!(
            produced < 100_000,
            "a log that is written all the time is caught up with"
        );
        tokio::task::yield_now().await;
    }
    scene.produce(1);
    let log = scene.log();
    assert_eq!(log.log_end_offset(), Offset(produced + 1));
    assert_eq!(log.high_watermark(), log.log_end_offset());
    assert_eq!(
        scene.partition().log().unwrap().dir().as_ref(),
        scene.path(1).join("t-0")
    );
    assert_eq!(scene.alter(1), ErrorCode::None, "it is there");
    assert!(scene.is_in(1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_starts_late_is_copied_from_there() {
    let scene = Scene::new();
    scene.elect(1, 0);
    scene.produce(50);
    scene.log().delete_records_before(Offset(30)).unwrap();
    scene.alter(2);
    scene.until("moved", |scene| scene.is_in(2)).await;
    let log = scene.log();
    assert_eq!((log.log_start_offset(), log.log_end_offset()), (Offset(30), Offset(50)));
}

/// Throttles moves to nothing once they have begun.
fn throttle(scene: &Scene, bytes_per_second: i64) {
    scene
        .broker
        .replication_quotas
        .alter_log_dirs
        .set_rate(bytes_per_second);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_throttled_move_can_be_redirected_and_cancelled() {
    let scene = Scene::new();
    scene.elect(1, 0);
    scene.produce(200);
    throttle(&scene, 1);
    let future = || scene.broker.partitions.logs().future(&t0());
    scene.alter(1);
    scene
        .until("begun", |_| future().is_some_and(|it| it.log_end_offset() > Offset(0)))
        .await;
    let copied = future().unwrap().log_end_offset();
    assert!(copied < Offset(200), "{copied}");
    scene.alter(2);
    assert_eq!(future().unwrap().parent_dir(), scene.path(2));
    assert_eq!(scene.alter(0), ErrorCode::None, "where it is: cancelled");
    assert!(future().is_none());
    assert!(scene.is_in(0));
    throttle(&scene, i64::MAX);
    scene.alter(2);
    scene.until("moved at last", |scene| scene.is_in(2)).await;
    assert_eq!(scene.log().log_end_offset(), Offset(200));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_is_cut_where_its_log_was() {
    let scene = Scene::new();
    // A log with an epoch: the fetcher that the election starts cuts nothing off before it has asked a leader.
    scene.elect(1, 0);
    scene.produce(1);
    scene.elect(2, 1);
    let follow = |offset: i64, epoch: i32, value: &str| {
        let fetched = Fetched {
            leader_epoch: LeaderEpoch(epoch),
            fetch_offset: Offset(offset),
            records: batch(offset, epoch, value.as_bytes()),
            high_watermark: Offset(0),
            log_start_offset: Offset(0),
        };
        scene.partition().append_as_follower(fetched, clock::now()).unwrap();
    };
    for offset in 1..50 {
        follow(offset, 1, &format!("of the old leader {}", "x".repeat(100)));
    }
    throttle(&scene, 1);
    scene.alter(1);
    let copied = |scene: &Scene| {
        let future = scene.broker.partitions.logs().future(&t0());
        future.map_or(Offset(-1), |it| it.log_end_offset())
    };
    scene.until("begun", |scene| copied(scene) > Offset(2)).await;
    // Another leader, whose log parts from the old one's at 2.
    scene.elect(2, 2);
    let cut = Truncation::To {
        offset: Offset(2),
        completed: true,
    };
    scene.partition().truncate_as_follower(&cut, LeaderEpoch(2)).unwrap();
    for offset in 2..60 {
        follow(offset, 2, "of the new leader");
    }
    throttle(&scene, i64::MAX);
    scene.until("moved", |scene| scene.is_in(1)).await;
    let log = scene.log();
    let starts: Vec<_> = log
        .epoch_starts()
        .iter()
        .map(|(epoch, start)| (epoch.0, start.0))
        .collect();
    assert_eq!(
        (log.log_end_offset(), starts),
        (Offset(60), vec![(0, 0), (1, 1), (2, 2)])
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_move_ends_with_its_partition() {
    let scene = Scene::new();
    scene.elect(1, 0);
    scene.produce(200);
    throttle(&scene, 1);
    scene.alter(1);
    let stop = StopReplica {
        partition: t0(),
        leader_epoch: LeaderEpoch(-2),
        delete: true,
    };
    assert_eq!(scene.broker.partitions.stop_replicas(&[stop]), [ErrorCode::None]);
    let replication = Arc::clone(scene.broker.replication().unwrap());
    scene
        .until("ended", |_| replication.moves.running.lock().is_empty())
        .await;
    assert!(scene.broker.partitions.logs().future(&t0()).is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_move_goes_on_after_a_restart() {
    let scene = Scene::new();
    scene.elect(1, 0);
    scene.produce(200);
    throttle(&scene, 1);
    scene.alter(1);
    scene.broker.replication().unwrap().shutdown().await;
    scene.broker.partitions.logs().shutdown(model::BrokerEpoch(-1));
    assert!(scene.broker.partitions.logs().future(&t0()).is_some());
    let again = Scene {
        broker: {
            let paths = scene.dirs.iter().map(|dir| dir.path().to_owned()).collect();
            let logs = Logs::open(LogsConfig::new(paths)).unwrap();
            let settings = scene.broker.partitions.settings().clone();
            let config = Arc::clone(&scene.broker.config);
            let store = scene.broker.store.clone();
            Broker::new(ME, "cluster".into(), config, store, Partitions::new(settings, logs))
        },
        dirs: scene.dirs,
    };
    again.broker.start_replication();
    again.elect(1, 1);
    again.until("moved", |scene| scene.is_in(1)).await;
    assert_eq!(again.log().log_end_offset(), Offset(200));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_moved_is_refused() {
    let scene = Scene::new();
    let ask = |partition: TopicPartition, dir: PathBuf| scene.broker.partitions.alter_log_dirs(&[(partition, dir)])[0];
    assert_eq!(ask(t0(), "/nowhere".into()), ErrorCode::LogDirNotFound);
    let long = TopicPartition::new("x".repeat(240), 0);
    assert_eq!(ask(long, scene.path(0)), ErrorCode::InvalidTopicException);
    assert_eq!(ask(t0(), scene.path(2)), ErrorCode::ReplicaNotAvailable);
    scene.elect(1, 0);
    assert!(scene.is_in(2), "created where it was asked to be");
    let unknown = scene
        .broker
        .partitions
        .logs()
        .create_future(&t0(), None, std::path::Path::new("/nowhere"));
    assert!(matches!(unknown, Err(MoveError::UnknownDir(_))));
}

/// A read that races a truncation gives bytes of two batches.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_record_batch_is_compared_anew_and_only_a_damaged_log_ends_the_move() {
    let scene = Scene::new();
    scene.elect(1, 0);
    scene.produce(20);
    // So that nobody else moves it.
    scene.broker.replication().unwrap().moves.shutdown().await;
    scene.alter(1);
    let name = t0();
    let mut moving = Move::new(&scene.broker, &name);
    let pair = moving.pair().unwrap();
    let mut torn = read(&pair.current, Offset(0), 1000).unwrap().to_vec();
    torn[80] ^= 1;
    let torn = Bytes::from(torn);
    moving.compare(&pair);
    for _ in 0..CORRUPT_READS_MAX {
        assert_eq!(moving.append(&pair, torn.clone(), 1000, clock::now()).unwrap(), None);
        assert_eq!(moving.compared, None, "it is compared anew");
        moving.compare(&pair);
    }
    let damaged = moving.append(&pair, torn, 1000, clock::now()).unwrap_err();
    assert!(damaged.is_corrupt(), "{damaged}");
    let mut moving = Move::new(&scene.broker, &name);
    assert_eq!(moving.run(&AtomicBool::new(false)), Ended::Done);
    assert!(scene.is_in(1));
    assert_eq!(scene.log().log_end_offset(), Offset(20));
}
