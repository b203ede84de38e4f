//! Which partition coordinates an id, while partitions come and go. What becomes of requests is shown beside their handlers.

use std::sync::Arc;
use std::time::Duration;

use broker_log::{Logs, LogsConfig};
use model::{BrokerId, LeaderEpoch, Millis, TRANSACTION_STATE_TOPIC, TopicPartition};
use zk_schema::brokers::topics::{self, ReplicaAssignment, TopicAssignment};
use zk_schema_store::{CreateMode, MemoryTree, Store};

use super::{TransactionCoordinator, partition_for};
use crate::config::{BrokerConfig, ConfigHandle};
use crate::partition::{LeadershipChange, Partitions, ReplicaSettings};

/// A coordinator that is configured for 50 partitions, of a topic that was made with two.
async fn coordinator(dir: &std::path::Path) -> Arc<TransactionCoordinator> {
    let store = Store::in_memory(MemoryTree::new());
    let replicas = || ReplicaAssignment::new([BrokerId(1)]);
    let assignment = TopicAssignment {
        topic_id: None,
        partitions: [(0, replicas()), (1, replicas())].into_iter().collect(),
    };
    let path = topics::path(TRANSACTION_STATE_TOPIC);
    let create = store.create_recursive(&path, assignment.encode(), CreateMode::Persistent);
    create.await.unwrap();
    let config = BrokerConfig::from_pairs([("zookeeper.connect", "z")]).unwrap();
    let logs = Logs::open(LogsConfig::new(vec![dir.to_owned()])).unwrap();
    let partitions = Partitions::new(ReplicaSettings::new(BrokerId(1), Millis(30_000)), logs);
    TransactionCoordinator::new(Arc::new(ConfigHandle::new(config)), store, partitions)
}

fn change(partition: i32, leader_epoch: Option<i32>, is_leader: bool) -> LeadershipChange {
    LeadershipChange {
        partition: TopicPartition::new(TRANSACTION_STATE_TOPIC, partition),
        leader_epoch: leader_epoch.map(LeaderEpoch),
        is_leader,
    }
}

#[tokio::test]
async fn ids_are_found_by_the_topics_partitions_also_when_one_replica_is_taken_away() {
    let dir = tempfile::tempdir().unwrap();
    let coordinator = coordinator(dir.path()).await;
    // Another partition of 2 than of 50.
    let id = ["a", "b", "c", "d"]
        .into_iter()
        .find(|id| partition_for(id, 50) != partition_for(id, 2))
        .unwrap();
    assert_eq!(
        coordinator.partition_for(id),
        partition_for(id, 50),
        "nobody knows better"
    );
    coordinator.leadership_changed(&[change(0, Some(1), true), change(1, Some(1), true)]);
    for _ in 0..1_000 {
        if coordinator.partition_for(id) == partition_for(id, 2) {
            break;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    coordinator.leadership_changed(&[change(1, None, false)]);
    assert_eq!(
        coordinator.partition_for(id),
        partition_for(id, 2),
        "one replica of two is gone"
    );
    coordinator.leadership_changed(&[change(0, None, false)]);
    assert_eq!(
        coordinator.partition_for(id),
        partition_for(id, 50),
        "all are gone, maybe the topic"
    );
    coordinator.shut_down();
}

#[tokio::test]
async fn a_word_of_an_older_epoch_ends_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let coordinator = coordinator(dir.path()).await;
    let is_known = || coordinator.slots.read().contains_key(&0);
    coordinator.leadership_changed(&[change(0, Some(5), true)]);
    coordinator.leadership_changed(&[change(0, Some(4), false)]);
    assert!(is_known());
    coordinator.leadership_changed(&[change(0, Some(6), true)]);
    // Elected twice without a break: it coordinates at the epoch at which it began.
    assert!(coordinator.is_loading(0, LeaderEpoch(5)));
    coordinator.leadership_changed(&[change(0, Some(5), false)]);
    assert!(is_known());
    coordinator.leadership_changed(&[change(0, Some(7), false)]);
    assert!(!is_known());
    coordinator.shut_down();
    coordinator.leadership_changed(&[change(0, Some(8), true)]);
    assert!(!is_known(), "a broker that stops begins nothing");
}
