//! A follower's partition over a real log: what is appended, cut and refused, and what replication is told.

use broker_log::batch::{BatchBuilder, EndTransactionMarker};
use broker_log::{Logs, LogsConfig};
use broker_wire::ErrorCode;
use model::{ControllerEpoch, PartitionEpoch, ProducerEpoch, ProducerId, Sequence};
use parking_lot::Mutex;
use tempfile::TempDir;

use super::*;
use crate::fetch_session::PartitionFetch;
use crate::partition::{
    Isolation, LeaderAndIsrPartition, Lookup, PartitionState, Partitions, ReadSpec, ReplicaSettings, StopReplica,
};

const ME: BrokerId = BrokerId(1);
const NOW: Millis = Millis(5_000);

struct Stage {
    partitions: Arc<Partitions>,
    told: Arc<Mutex<Vec<FollowChange>>>,
    _dir: TempDir,
}

impl Stage {
    fn new() -> Self {
        let dir = TempDir::new().unwrap();
        let logs = Logs::open(LogsConfig::new(vec![dir.path().to_owned()])).unwrap();
        let settings = ReplicaSettings::new(ME, Millis(30_000));
        let partitions = Partitions::new(settings, logs);
        let told = Arc::new(Mutex::new(Vec::new()));
        let listener = Arc::clone(&told);
        partitions.set_replication(move |changes| listener.lock().extend(changes));
        Self {
            partitions,
            told,
            _dir: dir,
        }
    }

    fn elect(&self, leader: i32, epoch: i32) -> ErrorCode {
        let request = LeaderAndIsrPartition {
            partition: t0(),
            topic_id: None,
            state: PartitionState {
                controller_epoch: ControllerEpoch(1),
                leader: BrokerId(leader),
                leader_epoch: LeaderEpoch(epoch),
                partition_epoch: PartitionEpoch(epoch),
                isr: vec![BrokerId(1), BrokerId(2)],
                replicas: vec![BrokerId(1), BrokerId(2), BrokerId(3)],
                adding_replicas: vec![],
                removing_replicas: vec![],
                is_new: false,
            },
        };
        self.partitions.become_leader_or_follower(&[request])[0]
    }

    /// A follower of broker 2 at epoch 1.
    fn following() -> (Self, Arc<Partition>) {
        let stage = Self::new();
        stage.elect(2, 1);
        let partition = stage.partition();
        (stage, partition)
    }

    fn partition(&self) -> Arc<Partition> {
        match self.partitions.lookup("t", 0) {
            Lookup::Online(partition) => partition,
            other => panic!("{other:?}"),
        }
    }

    fn told(&self) -> Vec<FollowChange> {
        core::mem::take(&mut self.told.lock())
    }
}

fn t0() -> TopicPartition {
    TopicPartition::new("t", 0)
}

/// A batch of `count` records from `base` on.
fn batch(base: i64, count: i64, epoch: i32) -> Bytes {
    let mut builder = BatchBuilder::new()
        .base_offset(Offset(base))
        .leader_epoch(LeaderEpoch(epoch));
    for _ in 0..count {
        builder.push(NOW, None, Some(b"value"));
    }
    builder.build()
}

fn fetched(offset: i64, records: Bytes, high_watermark: i64, log_start: i64) -> Fetched {
    Fetched {
        leader_epoch: LeaderEpoch(1),
        fetch_offset: Offset(offset),
        records,
        high_watermark: Offset(high_watermark),
        log_start_offset: Offset(log_start),
    }
}

#[test]
fn a_follower_takes_over_records_high_watermark_and_log_start() {
    let (_stage, partition) = Stage::following();
    let log = partition.log().unwrap();
    //           fetched from, records, leader's high watermark and log start → log start, high watermark, log end
    let check = |name: &str, fetched: Fetched, expected: (i64, i64, i64)| {
        partition.append_as_follower(fetched, NOW).unwrap();
        let found = (log.log_start_offset().0, log.high_watermark().0, log.log_end_offset().0);
        assert_eq!(found, expected, "{name}");
    };
    check(
        "what is not here is not committed here",
        fetched(0, batch(0, 10, 1), 50, 0),
        (0, 10, 10),
    );
    check("no records, but news", fetched(10, Bytes::new(), 8, 0), (0, 8, 10));
    check(
        "the leader has deleted",
        fetched(10, batch(10, 5, 1), 15, 4),
        (4, 15, 15),
    );
    check(
        "not past the high watermark",
        fetched(15, Bytes::new(), 12, 14),
        (12, 12, 15),
    );
    assert_eq!(log.latest_epoch(), Some(LeaderEpoch(1)));
}

#[test]
fn what_was_fetched_from_a_former_leader_is_dropped() {
    let (stage, partition) = Stage::following();
    let log = partition.log().unwrap();
    let refused = |name: &str| {
        let append = partition.append_as_follower(fetched(0, batch(0, 10, 1), 10, 0), NOW);
        assert!(matches!(append, Err(FollowError::Superseded(_))), "{name}: {append:?}");
        let whole = Truncation::FullyAndStartAt { offset: Offset(7) };
        let truncate = partition.truncate_as_follower(&whole, LeaderEpoch(1));
        assert!(
            matches!(truncate, Err(FollowError::Superseded(_))),
            "{name}: {truncate:?}"
        );
        assert_eq!(log.log_end_offset(), Offset(0), "{name}");
    };
    stage.elect(3, 2);
    refused("another leader");
    stage.elect(1, 3);
    refused("leader itself");
    partition.resign();
    refused("stopped");
}

#[test]
fn records_that_do_not_continue_the_log_are_refused() {
    let (_stage, partition) = Stage::following();
    partition
        .append_as_follower(fetched(0, batch(0, 10, 1), 10, 0), NOW)
        .unwrap();
    let check = |name: &str, fetched: Fetched, corrupt: bool| {
        let error = partition.append_as_follower(fetched, NOW).unwrap_err();
        assert_eq!(error.is_corrupt(), corrupt, "{name}: {error}");
        assert_eq!(partition.log().unwrap().log_end_offset(), Offset(10), "{name}");
    };
    let mut damaged = batch(10, 3, 1).to_vec();
    let last = damaged.len() - 1;
    damaged[last] ^= 1;
    check("asked from elsewhere", fetched(9, batch(10, 3, 1), 10, 0), false);
    check("begins before the end", fetched(10, batch(9, 3, 1), 10, 0), false);
    check("damaged", fetched(10, damaged.into(), 10, 0), true);
}

#[test]
fn an_empty_log_begins_within_the_batch_that_holds_the_leaders_start() {
    let (_stage, partition) = Stage::following();
    let log = partition.log().unwrap();
    // The leader's log starts at 5, in the middle of a batch of 0 to 9.
    let start = Truncation::FullyAndStartAt { offset: Offset(5) };
    partition.truncate_as_follower(&start, LeaderEpoch(1)).unwrap();
    partition
        .append_as_follower(fetched(5, batch(0, 10, 1), 10, 5), NOW)
        .unwrap();
    assert_eq!(log.log_end_offset(), Offset(10));
    assert_eq!(log.log_start_offset(), Offset(5));
}

#[test]
fn a_batch_of_a_later_epoch_than_the_fetch_is_left_out() {
    let (_stage, partition) = Stage::following();
    let records = [batch(0, 2, 1), batch(2, 2, 9)].concat();
    let appended = partition
        .append_as_follower(fetched(0, records.into(), 4, 0), NOW)
        .unwrap();
    assert_eq!(appended.appended.map(|it| it.last_offset), Some(Offset(1)));
    assert_eq!(partition.log().unwrap().log_end_offset(), Offset(2));
}

#[test]
fn a_truncation_takes_the_epochs_of_what_is_cut() {
    let (_stage, partition) = Stage::following();
    partition
        .append_as_follower(fetched(0, batch(0, 10, 0), 10, 0), NOW)
        .unwrap();
    partition
        .append_as_follower(fetched(10, batch(10, 10, 1), 20, 0), NOW)
        .unwrap();
    let log = partition.log().unwrap();
    let cut = |offset| Truncation::To {
        offset: Offset(offset),
        completed: true,
    };
    let check = |name: &str, offset, end: i64, high_watermark: i64, epochs: &[(i32, i64)]| {
        partition.truncate_as_follower(&cut(offset), LeaderEpoch(1)).unwrap();
        let found: Vec<_> = log
            .epoch_starts()
            .iter()
            .map(|(epoch, start)| (epoch.0, start.0))
            .collect();
        assert_eq!(
            (log.log_end_offset().0, log.high_watermark().0),
            (end, high_watermark),
            "{name}"
        );
        assert_eq!(found, epochs, "{name}");
    };
    check("at its end", 20, 20, 20, &[(0, 0), (1, 10)]);
    check("between epochs, below the high watermark", 10, 10, 10, &[(0, 0)]);
}

#[test]
fn consumers_that_wait_hear_of_the_high_watermark() {
    let (_stage, partition) = Stage::following();
    let waiter = crate::delayed::Waiter::new(1);
    let _place = partition.fetches(false).join(&waiter);
    partition
        .append_as_follower(fetched(0, batch(0, 10, 1), 0, 0), NOW)
        .unwrap();
    assert!(!waiter.is_satisfied(), "nothing is committed yet");
    partition
        .append_as_follower(fetched(10, Bytes::new(), 10, 0), NOW)
        .unwrap();
    assert!(waiter.is_satisfied());
}

#[test]
fn replication_is_told_whom_to_follow() {
    let stage = Stage::new();
    let follow = |leader, epoch| FollowChange::Follow {
        partition: t0(),
        topic_id: None,
        leader: BrokerId(leader),
        leader_epoch: LeaderEpoch(epoch),
    };
    let cease = FollowChange::Cease(t0());
    stage.elect(2, 1);
    assert_eq!(stage.told(), [follow(2, 1)]);
    stage.elect(2, 1);
    assert_eq!(stage.told(), [], "the controller repeats itself");
    stage.elect(2, 2);
    assert_eq!(stage.told(), [follow(2, 2)], "the same leader at another epoch");
    stage.elect(1, 3);
    assert_eq!(stage.told(), core::slice::from_ref(&cease));
    stage.elect(-1, 4);
    assert_eq!(stage.told(), [follow(-1, 4)]);
    stage.elect(2, 3);
    assert_eq!(stage.told(), [], "an older epoch");
    stage.elect(3, 5);
    stage.told();
    let stop = |delete| {
        let stop = StopReplica {
            partition: t0(),
            leader_epoch: LeaderEpoch(5),
            delete,
        };
        stage.partitions.stop_replicas(&[stop])
    };
    stop(false);
    assert_eq!(stage.told(), core::slice::from_ref(&cease));
    stop(true);
    assert_eq!(stage.told(), [cease]);
}

/// A batch of one record of a producer's transaction, or the marker that ends it.
fn of_transaction(base: i64, producer_id: i64, end: Option<bool>) -> Bytes {
    let sequence = end.map_or(Sequence(0), |_| Sequence::NONE);
    let mut builder = BatchBuilder::new()
        .base_offset(Offset(base))
        .leader_epoch(LeaderEpoch(1))
        .producer(ProducerId(producer_id), ProducerEpoch(0), sequence)
        .transactional(true)
        .control(end.is_some());
    match end {
        None => builder.push(NOW, None, Some(b"value")),
        Some(committed) => {
            let marker = EndTransactionMarker {
                committed,
                coordinator_epoch: 0,
            };
            builder.push(NOW, Some(&marker.key()), Some(&marker.value()));
        }
    }
    builder.build()
}

#[test]
fn readers_of_committed_records_may_ask_a_follower() {
    let (stage, partition) = Stage::following();
    let read = |from: i64| {
        let spec = ReadSpec {
            fetch: PartitionFetch {
                fetch_offset: Offset(from),
                max_bytes: 1 << 20,
                current_leader_epoch: LeaderEpoch::NONE,
                last_fetched_epoch: LeaderEpoch::NONE,
                log_start_offset: Offset(0),
            },
            isolation: Isolation::Committed,
            follower: None,
            only_leader: false,
            record: false,
            max_bytes: 1 << 20,
            min_one_batch: true,
        };
        let read = partition.read(&spec, stage.partitions.settings(), NOW).unwrap();
        let aborted = read.aborted.unwrap_or_default();
        let aborted: Vec<(i64, i64)> = aborted
            .iter()
            .map(|one| (one.producer_id.0, one.first_offset.0))
            .collect();
        (
            read.last_stable_offset.0,
            read.slice.map_or(0, |slice| slice.len),
            aborted,
        )
    };
    let one = of_transaction(0, 1, None);
    let both = [
        one.clone(),
        of_transaction(1, 2, None),
        of_transaction(2, 1, Some(false)),
    ]
    .concat();
    partition
        .append_as_follower(fetched(0, both.into(), 3, 0), NOW)
        .unwrap();
    assert_eq!(read(0), (1, one.len(), vec![(1, 0)]), "held back by producer 2");
    assert_eq!(read(1), (1, 0, vec![]));
    // The marker is here, but not known to be everywhere.
    let marker = of_transaction(3, 2, Some(true));
    partition.append_as_follower(fetched(3, marker, 3, 0), NOW).unwrap();
    assert_eq!(read(1), (1, 0, vec![]));
    partition
        .append_as_follower(fetched(4, Bytes::new(), 4, 0), NOW)
        .unwrap();
    let (stable, bytes, aborted) = read(1);
    assert_eq!((stable, aborted), (4, vec![(1, 0)]), "its marker is at 2");
    assert!(bytes > 0);
    assert_eq!(read(3).2, []);
}
