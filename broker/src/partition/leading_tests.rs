//! A leader's high watermark and the replicas that are about to join the in-sync set, or were.

use std::sync::Arc;

use broker_log::append::Origin;
use broker_log::batch::BatchBuilder;
use broker_log::disk::{Faults, Operation, Verdict};
use broker_log::{Disk, Logs, LogsConfig};
use kafka_protocol::messages::update_metadata_request::UpdateMetadataBroker;
use kafka_protocol::messages::{BrokerId as WireBrokerId, UpdateMetadataRequest};
use model::{BrokerEpoch, ControllerEpoch, PartitionEpoch, TopicPartition};
use tempfile::TempDir;

use super::*;
use crate::partition::{LeaderAndIsrPartition, Lookup, PartitionState, Partitions};

const NOW: Millis = Millis(5_000);

fn settings() -> ReplicaSettings {
    ReplicaSettings::new(BrokerId(1), Millis(30_000))
}

/// The partition `t-0` with the replicas 1, 2 and 3.
fn told(leader: i32, leader_epoch: i32, isr: &[i32]) -> LeaderAndIsrPartition {
    LeaderAndIsrPartition {
        partition: TopicPartition::new("t", 0),
        topic_id: None,
        state: PartitionState {
            controller_epoch: ControllerEpoch(1),
            leader: BrokerId(leader),
            leader_epoch: LeaderEpoch(leader_epoch),
            partition_epoch: PartitionEpoch(leader_epoch),
            isr: isr.iter().copied().map(BrokerId).collect(),
            replicas: vec![BrokerId(1), BrokerId(2), BrokerId(3)],
            adding_replicas: vec![],
            removing_replicas: vec![],
            is_new: false,
        },
    }
}

fn partition(partitions: &Partitions) -> Arc<Partition> {
    match partitions.lookup("t", 0) {
        Lookup::Online(partition) => partition,
        other => panic!("no replica here: {other:?}"),
    }
}

fn append(partition: &Partition, settings: &ReplicaSettings) -> Required {
    let mut batch = BatchBuilder::new();
    batch.push(NOW, None, Some(b"value"));
    let origin = Origin::Client { api_version: 9 };
    partition.append(batch.build(), -1, origin, settings, NOW).unwrap().1
}

#[test]
fn an_append_is_acknowledged_only_by_the_leadership_that_made_it() {
    let check = |name: &str, words: &[LeaderAndIsrPartition], acknowledged: bool| {
        let dir = TempDir::new().unwrap();
        let logs = Logs::open(LogsConfig::new(vec![dir.path().to_owned()])).unwrap();
        let settings = settings();
        let partitions = Partitions::new(settings.clone(), logs);
        partitions.become_leader_or_follower(&[told(1, 1, &[1, 2, 3])]);
        let partition = partition(&partitions);
        let required = append(&partition, &settings);
        assert!(partition.is_replicated(required).is_none(), "{name}: nobody has it yet");
        for word in words {
            partitions.become_leader_or_follower(core::slice::from_ref(word));
        }
        // Whoever looks only now finds a high watermark past the offset that it waits for.
        append(&partition, &settings);
        assert!(partition.log().unwrap().high_watermark() >= required.offset, "{name}");
        let found = partition.is_replicated(required);
        if acknowledged {
            assert!(matches!(found, Some(Ok(()))), "{name}: {found:?}");
        } else {
            assert!(
                matches!(found, Some(Err(PartitionError::NotLeader(_)))),
                "{name}: {found:?}"
            );
        }
    };
    check("the others have left the ISR", &[told(1, 2, &[1])], true);
    // As a follower it may have lost the records, and have others at their offsets since.
    check(
        "another has led meanwhile",
        &[told(2, 2, &[1, 2]), told(1, 3, &[1])],
        false,
    );
}

/// Fails whatever is done to leader epoch checkpoints.
struct NoEpochs;

impl Faults for NoEpochs {
    fn decide(&self, _: Operation, path: &std::path::Path) -> Verdict {
        if path.to_string_lossy().contains("leader-epoch-checkpoint") {
            Verdict::Fail(5)
        } else {
            Verdict::Go
        }
    }
}

#[test]
fn a_directory_that_fails_while_the_partition_is_taken_over_takes_it_offline() {
    let dir = TempDir::new().unwrap();
    let config = LogsConfig {
        disk: Disk::faulty(Arc::new(NoEpochs)),
        ..LogsConfig::new(vec![dir.path().to_owned()])
    };
    let partitions = Partitions::new(settings(), Logs::open(config).unwrap());
    let (done, outcome) = std::sync::mpsc::channel();
    let taking = Arc::clone(&partitions);
    std::thread::spawn(move || {
        let codes = taking.become_leader_or_follower(&[told(1, 1, &[1])]);
        done.send(codes).unwrap();
    });
    let codes = outcome.recv_timeout(std::time::Duration::from_secs(60)).unwrap();
    assert_eq!(codes, [broker_wire::ErrorCode::KafkaStorageError]);
    assert!(matches!(partitions.lookup("t", 0), Lookup::Offline));
}

#[tokio::test]
async fn the_high_watermark_waits_for_a_replica_that_is_about_to_join_and_not_for_a_dead_one() {
    let dir = TempDir::new().unwrap();
    let settings = settings();
    let living = |up_to: i32| {
        let brokers = (1..=up_to).map(|id| UpdateMetadataBroker::default().with_id(WireBrokerId(id)));
        UpdateMetadataRequest::default().with_live_brokers(brokers.collect())
    };
    settings.metadata.update(&living(3));
    let partitions = Partitions::new(
        settings.clone(),
        Logs::open(LogsConfig::new(vec![dir.path().to_owned()])).unwrap(),
    );
    partitions.become_leader_or_follower(&[told(1, 1, &[1, 2])]);
    let partition = partition(&partitions);
    let log = partition.log().unwrap();
    let fetch = |replica: i32, offset: i64| {
        let fetch = FollowerFetch {
            replica: BrokerId(replica),
            fetch_offset: Offset(offset),
            log_start_offset: Offset(0),
            broker_epoch: BrokerEpoch::NONE,
            leader_end: log.log_end_offset(),
            at: NOW,
        };
        partition.record_fetch(&fetch, &settings).unwrap();
    };
    fetch(3, 0);
    append(&partition, &settings);
    fetch(2, 1);
    assert_eq!(log.high_watermark(), Offset(0), "who may have joined is waited for");
    let submitted = settings.proposals.next_batch().await;
    let answer = Answer::Refused(Refusal::NotAttempted);
    let outcome = partition.proposal_answered(&submitted[0].proposal, &answer, &settings, NOW);
    assert_eq!(outcome, Outcome::Reverted);
    // It is alive and was at the end a moment ago: Kafka lets the high watermark wait for such a one too.
    assert_eq!(log.high_watermark(), Offset(0));
    settings.metadata.update(&living(2));
    fetch(2, 1);
    assert_eq!(
        log.high_watermark(),
        Offset(1),
        "who is dead is not waited for any longer"
    );
}
