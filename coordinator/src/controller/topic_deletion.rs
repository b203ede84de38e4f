//! Topics are deleted: asked for by `/admin/delete_topics/T`, done once every replica has said so.
//!
//! The order is Kafka's. Everybody is told that the topic has no leader any more (−2); every replica is stopped, then
//! deleted; when all have answered, the znodes go child by child, then the configuration, and last the request, so that a
//! controller that takes over halfway finds it and goes on. A replica that is offline, or a reassignment, holds the
//! deletion up; it is resumed when the broker comes back or the reassignment is done.
//!
//! Invariant: no znode of the topic goes before all of its replicas have.
//! Source: Kafka 3.9 `TopicDeletionManager`, `KafkaController.processTopicDeletion`.

use std::collections::BTreeSet;
use std::sync::Arc;

use zk_schema::Op;

use super::active::{Active, CannotGoOn, unexpected};
use super::event::{Answer, Read};
use super::image::Replica;
use super::partition_state::PartitionState;
use super::replica_state::ReplicaState;
use super::znodes;

/// How often the removal of a subtree starts again because somebody adds to it meanwhile.
const MAX_REMOVALS: usize = 10;

impl Active {
    /// `/admin/delete_topics` has other children.
    pub(super) async fn deletions_changed(&mut self) -> Result<(), CannotGoOn> {
        let asked = self.children(znodes::DELETE_TOPICS, true).await?;
        let (known, unknown): (Vec<_>, Vec<_>) = asked
            .into_iter()
            .partition(|topic| self.image.topics.contains_key(&**topic));
        if !unknown.is_empty() {
            tracing::warn!(topics = ?unknown, "ignoring the request to delete topics that do not exist");
            self.delete_all(unknown.iter().map(|topic| znodes::delete_topic(topic)).collect())
                .await;
        }
        if !self.config.delete_topic_enable {
            self.delete_all(known.iter().map(|topic| znodes::delete_topic(topic)).collect())
                .await;
            return Ok(());
        }
        for topic in &known {
            self.queue_for_deletion(topic);
        }
        if !known.is_empty() {
            self.resume_deletions().await?;
        }
        Ok(())
    }

    /// Queues a topic that exists; a reassignment in progress holds it up, if it can go on.
    pub(super) fn queue_for_deletion(&mut self, topic: &str) {
        let reassigning = (self.image.reassigning.iter())
            .any(|partition| *partition.topic == *topic && self.image.has_online_leader(partition));
        let deletion = self.image.deleting.entry(Arc::from(topic)).or_default();
        deletion.ineligible |= reassigning;
    }

    /// Holds the deletion of a topic up, if it is queued.
    pub(super) fn hold_deletion_up(&mut self, topic: &str, reason: &str) {
        if let Some(deletion) = self.image.deleting.get_mut(topic) {
            deletion.ineligible = true;
            tracing::info!(topic, reason, "deletion held up");
        }
    }

    /// What held these topics up may be over.
    pub(super) async fn resume_deletion_of(&mut self, topics: &BTreeSet<Arc<str>>) -> Result<(), CannotGoOn> {
        let mut any = false;
        for topic in topics {
            if let Some(deletion) = self.image.deleting.get_mut(topic) {
                deletion.ineligible = false;
                any = true;
            }
        }
        if any { self.resume_deletions().await } else { Ok(()) }
    }

    /// Replicas that were to be deleted cannot be: wait for something to change.
    pub(super) async fn replica_deletion_failed(&mut self, replicas: Vec<Replica>) -> Result<(), CannotGoOn> {
        let failed: Vec<_> = replicas
            .into_iter()
            .filter(|(partition, broker)| {
                self.image.is_being_deleted(&partition.topic)
                    && ReplicaState::DeletionIneligible
                        .valid_previous()
                        .contains(&self.image.replica_state(partition, *broker))
            })
            .collect();
        let topics: BTreeSet<_> = failed.iter().map(|(partition, _)| partition.topic.clone()).collect();
        if topics.is_empty() {
            return Ok(());
        }
        self.move_replicas(&failed, ReplicaState::DeletionIneligible).await?;
        for topic in &topics {
            self.hold_deletion_up(topic, "a replica could not be deleted");
        }
        self.resume_deletions().await
    }

    /// Brokers have deleted replicas.
    pub(super) async fn replicas_deleted(&mut self, mut replicas: Vec<Replica>) -> Result<(), CannotGoOn> {
        replicas.retain(|(partition, broker)| {
            self.image.is_being_deleted(&partition.topic)
                && self.image.replica_state(partition, *broker) == ReplicaState::DeletionStarted
        });
        self.move_replicas(&replicas, ReplicaState::DeletionSuccessful).await?;
        self.resume_deletions().await
    }

    /// Takes every queued deletion as far as it goes now.
    pub(super) async fn resume_deletions(&mut self) -> Result<(), CannotGoOn> {
        let queued: Vec<Arc<str>> = self.image.deleting.keys().cloned().collect();
        let mut retry = Vec::new();
        let mut start = Vec::new();
        for topic in queued {
            let has = |state| !self.image.replicas_in(&topic, state).is_empty();
            if self.image.all_replicas_in(&topic, ReplicaState::DeletionSuccessful) {
                self.complete_deletion(&topic).await?;
                continue;
            }
            let in_progress = has(ReplicaState::DeletionStarted);
            if !in_progress && has(ReplicaState::DeletionIneligible) {
                retry.extend(self.image.replicas_in(&topic, ReplicaState::DeletionIneligible));
            }
            if !in_progress && self.image.deleting.get(&topic).is_some_and(|it| !it.ineligible) {
                start.push(topic);
            }
        }
        self.move_replicas(&retry, ReplicaState::Offline).await?;
        self.start_deletions(start).await
    }

    async fn start_deletions(&mut self, topics: Vec<Arc<str>>) -> Result<(), CannotGoOn> {
        if topics.is_empty() {
            return Ok(());
        }
        let mut partitions = Vec::new();
        for topic in &topics {
            tracing::info!(%topic, "deletion started");
            let of_topic = self.image.partitions_of(topic);
            if let Some(deletion) = self.image.deleting.get_mut(topic)
                && !std::mem::replace(&mut deletion.started, true)
            {
                self.take_partitions_out(&of_topic);
            }
            partitions.extend(of_topic);
        }
        self.send_metadata(self.image.live_or_shutting_down(), partitions);

        let mut dead = Vec::new();
        let mut alive = Vec::new();
        for topic in &topics {
            let dead_before = dead.len();
            for replica in self.image.replicas_of(topic) {
                let (partition, broker) = &replica;
                if !self.image.is_online(*broker, partition) {
                    dead.push(replica);
                } else if self.image.replica_state(partition, *broker) != ReplicaState::DeletionSuccessful {
                    alive.push(replica);
                }
            }
            if dead.len() > dead_before {
                self.hold_deletion_up(topic, "a replica is offline");
            }
        }
        // A dead replica may not have been moved offline yet; only from there it can wait.
        let not_offline: Vec<_> = (dead.iter())
            .filter(|(partition, id)| {
                let state = self.image.replica_state(partition, *id);
                state != ReplicaState::Offline && ReplicaState::Offline.valid_previous().contains(&state)
            })
            .cloned()
            .collect();
        self.move_replicas(&not_offline, ReplicaState::Offline).await?;
        dead.retain(|(partition, id)| {
            ReplicaState::DeletionIneligible
                .valid_previous()
                .contains(&self.image.replica_state(partition, *id))
        });
        self.move_replicas(&dead, ReplicaState::DeletionIneligible).await?;
        self.move_replicas(&alive, ReplicaState::Offline).await?;
        self.move_replicas(&alive, ReplicaState::DeletionStarted).await
    }

    /// Partitions go offline, then out of existence; one that never was new goes straight.
    fn take_partitions_out(&mut self, partitions: &[model::TopicPartition]) {
        let (existing, _): (Vec<_>, Vec<_>) = partitions.iter().cloned().partition(|partition| {
            self.image
                .partition(partition)
                .is_some_and(|known| known.state != PartitionState::NonExistent)
        });
        self.move_partitions(&existing, PartitionState::Offline);
        self.move_partitions(&existing, PartitionState::NonExistent);
    }

    /// Every replica is gone: so goes everything that ZooKeeper holds of the topic.
    async fn complete_deletion(&mut self, topic: &Arc<str>) -> Result<(), CannotGoOn> {
        let replicas = self.image.replicas_in(topic, ReplicaState::DeletionSuccessful);
        self.move_replicas(&replicas, ReplicaState::NonExistent).await?;
        self.delete_recursively(znodes::topic(topic)).await?;
        self.delete_recursively(znodes::topic_config(topic)).await?;
        self.delete_all(vec![znodes::delete_topic(topic)]).await;
        if self.image.reassigning.iter().any(|partition| partition.topic == *topic) {
            self.forget_legacy_reassignments(|partition, _| partition.topic == *topic)
                .await?;
        }
        self.image.remove_topic(topic);
        tracing::info!(%topic, "deletion completed");
        Ok(())
    }

    /// Deletes a znode and all below it, the deepest level first; each level is read and deleted in one round.
    async fn delete_recursively(&self, root: String) -> Result<(), CannotGoOn> {
        for _ in 0..MAX_REMOVALS {
            let mut levels = vec![vec![root.clone()]];
            while let Some(level) = levels.last().filter(|level| !level.is_empty()) {
                let reads = level
                    .iter()
                    .map(|path| Read::Children {
                        path: path.clone(),
                        watch: false,
                    })
                    .collect();
                let answers = self.port.read(reads).await;
                let mut next = Vec::new();
                for (path, answer) in level.iter().zip(answers) {
                    match answer {
                        Answer::Children(children) => {
                            next.extend(children.into_iter().map(|it| format!("{path}/{it}")))
                        }
                        Answer::NoNode => {}
                        other => return Err(unexpected(path, Some(other))),
                    }
                }
                next.sort();
                levels.push(next);
            }
            let mut last = None;
            for level in levels.into_iter().rev() {
                let ops = level.into_iter().map(|path| Op::delete(path, None)).collect();
                last = self.port.write(ops).await.pop();
            }
            match last {
                Some(Answer::Written { .. } | Answer::NoNode) => return Ok(()),
                // Somebody has added to it meanwhile: look again.
                Some(Answer::NotEmpty) => {}
                other => return Err(unexpected(&root, other)),
            }
        }
        Err(CannotGoOn(format!("{root} keeps growing while it is being deleted")))
    }
}
