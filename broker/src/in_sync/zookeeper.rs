//! Proposals as writes to ZooKeeper, for clusters below `inter.broker.protocol.version` 2.7.
//!
//! The leader sets `/brokers/topics/<t>/partitions/<p>/state` itself, if its version is still the partition epoch of the
//! proposal, and some time later tells the controller in one `/isr_change_notification` which partitions have changed.
//! A write whose answer was lost is found again by what it wrote. Source: Kafka 3.9 `ZkAlterPartitionManager`,
//! `ReplicationUtils`.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use model::{PartitionEpoch, TopicPartition};
use zk_schema::brokers::partition_state::{self, LeaderRecoveryState, PartitionState};
use zk_schema::notifications;
use zk_schema::op::CreateMode;
use zk_schema_store::{Store, StoreError};

use super::Submitted;
use crate::partition::{Answer, Refusal};

/// How often it is looked whether the controller is to be told.
pub(super) const CHECK_INTERVAL: Duration = Duration::from_millis(2500);
/// So long must nothing have changed before the controller is told …
const LINGER: Duration = Duration::from_secs(5);
/// … unless it has been so long since it was told last.
const MAX_DELAY: Duration = Duration::from_secs(60);
/// A notification is one znode, which holds at most 1 MiB: so many partitions fit whatever their names.
const PARTITIONS_IN_NOTIFICATION: usize = 3000;

/// Writes one proposal.
///
/// # Errors
/// ZooKeeper could not be asked: nothing is known, the same is to be written again.
pub(super) async fn write(store: &Store, submitted: &Submitted) -> Result<Answer, StoreError> {
    let proposal = &submitted.proposal;
    let path = partition_state::path(&submitted.partition);
    let state = PartitionState {
        leader: proposal.leader,
        leader_epoch: proposal.leader_epoch,
        isr: proposal.isr.clone(),
        controller_epoch: proposal.controller_epoch,
        leader_recovery_state: LeaderRecoveryState::Recovered,
    };
    match store.set(&path, state.encode(), Some(proposal.partition_epoch.0)).await {
        Ok(stat) => Ok(accepted(&state, stat.version)),
        Err(StoreError::BadVersion { .. } | StoreError::NoNode { .. }) => {
            // It may be our own write, whose answer was lost with the connection.
            let Some((data, stat)) = store.get(&path).await? else {
                return Ok(Answer::Refused(Refusal::OutOfDate));
            };
            let written = PartitionState::decode(&submitted.partition, &data);
            Ok(match written {
                Ok(written) if written == state => accepted(&state, stat.version),
                Ok(_) => Answer::Refused(Refusal::OutOfDate),
                Err(error) => {
                    tracing::warn!(%error, "the state of a partition cannot be read");
                    Answer::Refused(Refusal::OutOfDate)
                }
            })
        }
        Err(error) => Err(error),
    }
}

fn accepted(state: &PartitionState, version: i32) -> Answer {
    Answer::Accepted {
        leader_epoch: state.leader_epoch,
        partition_epoch: PartitionEpoch(version),
        isr: state.isr.clone(),
    }
}

/// Partitions whose change the controller has not been told of yet.
#[derive(Debug)]
pub(super) struct Untold {
    partitions: BTreeSet<TopicPartition>,
    last_change: Instant,
    last_told: Instant,
}

impl Untold {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            partitions: BTreeSet::new(),
            last_change: now,
            last_told: now,
        }
    }

    /// The in-sync set of this partition was written.
    pub(super) fn changed(&mut self, partition: TopicPartition, now: Instant) {
        self.partitions.insert(partition);
        self.last_change = now;
    }

    /// Whether the controller is to be told now: a lull after the last change, or too long a wait.
    fn is_due(&self, now: Instant) -> bool {
        !self.partitions.is_empty()
            && (now.saturating_duration_since(self.last_change) > LINGER
                || now.saturating_duration_since(self.last_told) > MAX_DELAY)
    }

    /// Tells the controller, if it is time. What could not be told is told the next time.
    pub(super) async fn tell(&mut self, store: &Store, now: Instant) {
        if !self.is_due(now) {
            return;
        }
        while !self.partitions.is_empty() {
            let some: Vec<TopicPartition> = self
                .partitions
                .iter()
                .take(PARTITIONS_IN_NOTIFICATION)
                .cloned()
                .collect();
            let data = notifications::encode_isr_change(&some);
            let created = store
                .create_recursive(notifications::ISR_CHANGE_PREFIX, data, CreateMode::PersistentSequential)
                .await;
            if let Err(error) = created {
                tracing::warn!(%error, "the controller could not be told of ISR changes and will be later");
                return;
            }
            for partition in some {
                self.partitions.remove(&partition);
            }
        }
        self.last_told = now;
    }
}

#[cfg(test)]
mod tests {
    use model::{BrokerId, ControllerEpoch, LeaderEpoch};
    use zk_schema_store::MemoryTree;

    use super::*;
    use crate::partition::{IsrChange, Proposal};

    fn submitted(partition_epoch: i32, isr: &[i32]) -> Submitted {
        Submitted {
            partition: TopicPartition::new("orders", 0),
            topic_id: None,
            proposal: Proposal {
                leader: BrokerId(1),
                leader_epoch: LeaderEpoch(5),
                partition_epoch: PartitionEpoch(partition_epoch),
                controller_epoch: ControllerEpoch(2),
                isr: isr.iter().copied().map(BrokerId).collect(),
                change: IsrChange::Expand(BrokerId(2)),
            },
        }
    }

    fn accepted_at(version: i32, isr: &[i32]) -> Answer {
        Answer::Accepted {
            leader_epoch: LeaderEpoch(5),
            partition_epoch: PartitionEpoch(version),
            isr: isr.iter().copied().map(BrokerId).collect(),
        }
    }

    #[tokio::test]
    async fn a_set_is_written_only_over_the_state_that_it_was_proposed_for() {
        let tree = MemoryTree::new();
        let store = Store::in_memory(tree.clone());
        let first = submitted(0, &[1]);
        let outdated = Answer::Refused(Refusal::OutOfDate);
        assert_eq!(
            write(&store, &first).await.unwrap(),
            outdated,
            "there is no such partition"
        );

        let path = partition_state::path(&first.partition);
        store
            .create_recursive(&path, "{}", CreateMode::Persistent)
            .await
            .unwrap();
        assert_eq!(write(&store, &first).await.unwrap(), accepted_at(1, &[1]));
        assert_eq!(
            tree.dump()[&path],
            r#"{"controller_epoch":2,"leader":1,"version":1,"leader_epoch":5,"isr":[1]}"#
        );
        assert_eq!(
            write(&store, &first).await.unwrap(),
            accepted_at(1, &[1]),
            "its own write, found again"
        );
        assert_eq!(write(&store, &submitted(0, &[1, 2])).await.unwrap(), outdated);
        assert_eq!(
            write(&store, &submitted(1, &[1, 2])).await.unwrap(),
            accepted_at(2, &[1, 2])
        );
    }

    #[tokio::test]
    async fn the_controller_is_told_after_a_lull_or_at_last() {
        let tree = MemoryTree::new();
        let store = Store::in_memory(tree.clone());
        store
            .create("/isr_change_notification", "", CreateMode::Persistent)
            .await
            .unwrap();
        let told = || tree.dump().keys().filter(|path| path.contains("isr_change_0")).count();
        let start = Instant::now();
        let at = |ms: u64| start + Duration::from_millis(ms);
        let orders = TopicPartition::new("orders", 0);
        let mut untold = Untold::new(start);
        untold.tell(&store, at(70_000)).await;
        assert_eq!(told(), 0, "nothing has changed");

        untold.changed(orders.clone(), at(1_000));
        untold.tell(&store, at(6_000)).await;
        assert_eq!(told(), 0, "no lull yet");
        untold.tell(&store, at(6_001)).await;
        assert_eq!(told(), 1);
        untold.tell(&store, at(20_000)).await;
        assert_eq!(told(), 1, "told once");

        // It changes all the time: after a minute it is told all the same.
        for second in 7..=67 {
            untold.changed(orders.clone(), at(second * 1_000));
            untold.tell(&store, at(second * 1_000)).await;
        }
        assert_eq!(told(), 2);
        let dump = tree.dump();
        let notification = dump.get("/isr_change_notification/isr_change_0000000000").unwrap();
        assert_eq!(
            notification,
            r#"{"version":1,"partitions":[{"topic":"orders","partition":0}]}"#
        );
    }
}
