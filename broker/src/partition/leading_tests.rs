//! A leader's high watermark and the replicas that are about to join the in-sync set, or were.

use std::sync::Arc;

use broker_log::append::Origin;
use broker_log::batch::BatchBuilder;
use broker_log::{Logs, LogsConfig};
use kafka_protocol::messages::update_metadata_request::UpdateMetadataBroker;
use kafka_protocol::messages::{BrokerId as WireBrokerId, UpdateMetadataRequest};
use model::{BrokerEpoch, ControllerEpoch, PartitionEpoch, TopicPartition};
use tempfile::TempDir;

use super::*;
use crate::partition::{LeaderAndIsrPartition, Lookup, PartitionState, Partitions};

const NOW: Millis = Millis(5_000);

#[tokio::test]
async fn the_high_watermark_waits_for_a_replica_that_is_about_to_join_and_not_for_a_dead_one() {
    let dir = TempDir::new().unwrap();
    let settings = ReplicaSettings {
        broker_id: BrokerId(1),
        replica_lag_time_max: Millis(30_000),
        metadata: Arc::default(),
        proposals: Arc::default(),
    };
    let living = |up_to: i32| {
        let brokers = (1..=up_to).map(|id| UpdateMetadataBroker::default().with_id(WireBrokerId(id)));
        UpdateMetadataRequest::default().with_live_brokers(brokers.collect())
    };
    settings.metadata.update(&living(3));
    let partitions = Partitions::new(
        settings.clone(),
        Logs::open(LogsConfig::new(vec![dir.path().to_owned()])).unwrap(),
    );
    let elected = LeaderAndIsrPartition {
        partition: TopicPartition::new("t", 0),
        topic_id: None,
        state: PartitionState {
            controller_epoch: ControllerEpoch(1),
            leader: BrokerId(1),
            leader_epoch: LeaderEpoch(1),
            partition_epoch: PartitionEpoch(1),
            isr: vec![BrokerId(1), BrokerId(2)],
            replicas: vec![BrokerId(1), BrokerId(2), BrokerId(3)],
            adding_replicas: vec![],
            removing_replicas: vec![],
            is_new: false,
        },
    };
    partitions.become_leader_or_follower(&[elected]);
    let Lookup::Online(partition) = partitions.lookup("t", 0) else {
        panic!("it is led here");
    };
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
    let mut batch = BatchBuilder::new();
    batch.push(NOW, None, Some(b"value"));
    partition
        .append(batch.build(), -1, Origin::Client { api_version: 9 }, &settings, NOW)
        .unwrap();
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
