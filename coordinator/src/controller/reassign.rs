//! Replicas move from brokers to brokers.
//!
//! A reassignment lives in the topic's znode (`adding_replicas`, `removing_replicas`), so that whoever is the controller
//! goes on with it. Its steps are Kafka's: the assignment becomes target plus origin, the leader epoch goes up, the new
//! replicas start; when all of the target is in sync, the leader moves if it must, the old replicas leave the in-sync
//! set, stop and are deleted, and the assignment becomes the target.
//!
//! Two ways to ask: the AlterPartitionReassignments request, and the older znode `/admin/reassign_partitions`, which is
//! emptied as its partitions are done. The newer request wins.
//!
//! Invariant: ZooKeeper's assignment changes before the image's does at the start, and after the replicas are gone at the
//! end: it alone remembers what the origin was. Source: Kafka 3.9 `KafkaController.onPartitionReassignment`; KIP-455.

use std::collections::{BTreeMap, BTreeSet};

use model::{BrokerId, TopicPartition};
use zk_schema::Op;

use super::active::{Active, CannotGoOn};
use super::event::{Answer, AskId, Refusal, Reply};
use super::image::{Assignment, Replica};
use super::leader::Strategy;
use super::replica_state::ReplicaState;
use super::znodes;

type Outcomes = BTreeMap<TopicPartition, Result<(), Refusal>>;

impl Active {
    /// AlterPartitionReassignments: starts, replaces or cancels (`None`).
    pub(super) async fn alter_reassignments(
        &mut self,
        ask: AskId,
        asked: Vec<(TopicPartition, Option<Vec<BrokerId>>)>,
    ) -> Result<(), CannotGoOn> {
        let mut outcomes = Outcomes::new();
        let mut accepted = Vec::new();
        let order: Vec<_> = asked.iter().map(|(partition, _)| partition.clone()).collect();
        for (partition, target) in asked {
            match self.plan_reassignment(&partition, target.as_deref(), true) {
                Ok(assignment) => accepted.push((partition, assignment)),
                Err(refusal) => {
                    outcomes.insert(partition, Err(refusal));
                }
            }
        }
        let replaced: BTreeSet<_> = accepted.iter().map(|(partition, _)| partition.clone()).collect();
        self.forget_legacy_reassignments(|partition, _| replaced.contains(partition))
            .await?;
        self.start_reassignments(accepted, &mut outcomes).await?;
        let answers = order
            .into_iter()
            .filter_map(|partition| outcomes.remove_entry(&partition))
            .collect();
        self.port.answer(ask, Ok(Reply::AlterPartitionReassignments(answers)));
        Ok(())
    }

    /// ListPartitionReassignments.
    pub(super) fn list_reassignments(&self, of: Option<Vec<TopicPartition>>) -> Reply {
        let partitions = of.unwrap_or_else(|| self.image.reassigning.iter().cloned().collect());
        let moving = partitions.into_iter().filter_map(|partition| {
            let assignment = self.image.assignment(&partition);
            assignment.is_being_reassigned().then_some((partition, assignment))
        });
        Reply::ListPartitionReassignments(moving.collect())
    }

    /// `/admin/reassign_partitions` has come or changed. Returns the partitions whose reassignment has been started now, not
    /// those that were on their way: a controller that takes over has to go on with them.
    pub(super) async fn legacy_reassignment_changed(&mut self) -> Result<BTreeSet<TopicPartition>, CannotGoOn> {
        let Some(asked) = self.legacy_reassignments(true).await? else {
            return Ok(BTreeSet::new());
        };
        let mut outcomes = Outcomes::new();
        let mut accepted = Vec::new();
        for (partition, target) in asked {
            if self.image.reassigning.contains(&partition) && self.image.assignment(&partition).target() == target {
                // On its way already; this is the znode as this controller, or an earlier one, has seen it.
                continue;
            }
            match self.plan_reassignment(&partition, Some(&target), false) {
                Ok(assignment) => accepted.push((partition, assignment)),
                Err(refusal) => {
                    outcomes.insert(partition, Err(refusal));
                }
            }
        }
        self.start_reassignments(accepted, &mut outcomes).await?;
        let failed: BTreeSet<_> = outcomes
            .iter()
            .filter(|(_, outcome)| outcome.is_err())
            .map(|(partition, _)| partition.clone())
            .collect();
        if !failed.is_empty() {
            tracing::warn!(?failed, "reassignments asked for in zookeeper are not possible");
            self.forget_legacy_reassignments(|partition, _| failed.contains(partition))
                .await?;
        }
        Ok(outcomes
            .into_keys()
            .filter(|partition| !failed.contains(partition))
            .collect())
    }

    /// Goes on with the reassignments that `which` picks, such as those that wait for a broker that has come.
    pub(super) async fn resume_reassignments(&mut self, which: impl Fn(&Assignment) -> bool) -> Result<(), CannotGoOn> {
        let partitions: Vec<_> = self.image.reassigning.iter().cloned().collect();
        for partition in partitions {
            let assignment = self.image.assignment(&partition);
            if which(&assignment) {
                self.go_on(&partition, assignment).await?;
            }
        }
        Ok(())
    }

    /// Goes on with every reassignment that `except` does not name.
    pub(super) async fn resume_reassignments_except(
        &mut self,
        except: &BTreeSet<TopicPartition>,
    ) -> Result<(), CannotGoOn> {
        let partitions: Vec<_> = self.image.reassigning.difference(except).cloned().collect();
        for partition in partitions {
            let assignment = self.image.assignment(&partition);
            self.go_on(&partition, assignment).await?;
        }
        Ok(())
    }

    /// The in-sync set has changed: completes the partition's reassignment, if it only waited for that.
    pub(super) async fn finish_reassignment_of(&mut self, partition: &TopicPartition) -> Result<(), CannotGoOn> {
        if !self.image.reassigning.contains(partition) {
            return Ok(());
        }
        let assignment = self.image.assignment(partition);
        if self.is_complete(partition, &assignment) {
            self.go_on(partition, assignment).await?;
        }
        Ok(())
    }

    /// Takes a reassignment that has been started as far as it goes now.
    async fn go_on(&mut self, partition: &TopicPartition, assignment: Assignment) -> Result<(), CannotGoOn> {
        if let Err(refusal) = self.reassign(partition, assignment).await? {
            tracing::error!(%partition, %refusal, "reassignment does not go on");
        }
        Ok(())
    }

    /// The assignment on its way to `target`; `None` cancels. `checked`: whether new replicas must be alive.
    fn plan_reassignment(
        &self,
        partition: &TopicPartition,
        target: Option<&[BrokerId]>,
        checked: bool,
    ) -> Result<Assignment, Refusal> {
        let current = self.image.assignment(partition);
        let refuse = |why: &str| Err(Refusal::InvalidReplicaAssignment(why.to_owned()));
        if let Some(target) = target {
            let distinct: BTreeSet<_> = target.iter().collect();
            if target.is_empty() {
                return refuse("Empty replica list specified in partition reassignment.");
            }
            if distinct.len() != target.len() {
                return refuse("Duplicate replica ids in partition reassignment replica list.");
            }
            if target.iter().any(|id| id.0 < 0) {
                return refuse("Invalid broker id in replica list.");
            }
            if checked
                && current
                    .reassign_to(target)
                    .adding
                    .iter()
                    .any(|id| !self.image.is_live(*id))
            {
                return refuse("Replica assignment has brokers that are not alive.");
            }
        }
        let assignment = match target {
            Some(target) => current.reassign_to(target),
            None if current.is_being_reassigned() => current.reassign_to(&current.origin()),
            None => return Err(Refusal::NoReassignmentInProgress),
        };
        if current.replicas.is_empty() || self.image.is_being_deleted(&partition.topic) {
            return Err(Refusal::UnknownTopicOrPartition);
        }
        // A replica that was being added may be the last one in sync. Going back without it would delete the only log with
        // all that was committed, as Kafka 3.9 does with ZooKeeper; with KRaft it refuses.
        let in_sync = self.image.leadership(partition).map_or(&[][..], |it| &it.isr);
        if !in_sync.is_empty() && !assignment.replicas.iter().any(|id| in_sync.contains(id)) {
            return refuse("None of the replicas that would be left is in sync.");
        }
        Ok(assignment)
    }

    async fn start_reassignments(
        &mut self,
        planned: Vec<(TopicPartition, Assignment)>,
        outcomes: &mut Outcomes,
    ) -> Result<(), CannotGoOn> {
        for (partition, assignment) in planned {
            let outcome = self.reassign(&partition, assignment).await?;
            outcomes.insert(partition, outcome);
        }
        Ok(())
    }

    /// Takes a reassignment as far as it goes now. `Err`: its start could not be written.
    async fn reassign(
        &mut self,
        partition: &TopicPartition,
        assignment: Assignment,
    ) -> Result<Result<(), Refusal>, CannotGoOn> {
        // A topic that is to go gets no leaders, so that this would wait for one, and the deletion for this, for ever.
        // In Kafka 3.9 they do.
        if self.image.is_being_deleted(&partition.topic) && !self.image.has_online_leader(partition) {
            return Ok(Ok(()));
        }
        self.hold_deletion_up(&partition.topic, "a reassignment is in progress");
        let current = self.image.assignment(partition);
        if current != assignment {
            if let Err(refusal) = self.write_assignment(partition, &assignment).await {
                return Ok(Err(refusal));
            }
            self.image.set_assignment(partition, assignment.clone());
            // Replicas that an earlier reassignment was adding, and this one does not want.
            let unwanted = current.replicas.iter().filter(|id| !assignment.replicas.contains(id));
            let unwanted: Vec<Replica> = unwanted.map(|id| (partition.clone(), *id)).collect();
            self.remove_replicas(&unwanted).await?;
        }
        self.image.reassigning.insert(partition.clone());
        if self.is_complete(partition, &assignment) {
            self.complete_reassignment(partition, &assignment).await?;
        } else {
            self.announce_assignment(partition, &assignment).await?;
            for replica in &assignment.adding {
                let replica = (partition.clone(), *replica);
                // One that has been started already stays as it is.
                if self.image.replica_state(partition, replica.1) == ReplicaState::NonExistent {
                    self.move_replicas(&[replica], ReplicaState::New).await?;
                }
            }
        }
        Ok(Ok(()))
    }

    fn is_complete(&self, partition: &TopicPartition, assignment: &Assignment) -> bool {
        if !assignment.is_being_reassigned() {
            return true;
        }
        let isr = self.image.leadership(partition).map_or(&[][..], |it| &it.isr);
        assignment.target().iter().all(|id| isr.contains(id))
    }

    async fn complete_reassignment(
        &mut self,
        partition: &TopicPartition,
        assignment: &Assignment,
    ) -> Result<(), CannotGoOn> {
        let replicas = |of: &[BrokerId]| of.iter().map(|id| (partition.clone(), *id)).collect::<Vec<Replica>>();
        let added: Vec<_> = (replicas(&assignment.adding).into_iter())
            .filter(|(_, id)| self.image.replica_state(partition, *id) != ReplicaState::NonExistent)
            .collect();
        self.move_replicas(&added, ReplicaState::Online).await?;
        let completed = Assignment::of(assignment.target());
        self.image.set_assignment(partition, completed.clone());
        let leader = self.image.leadership(partition).map_or(BrokerId::NONE, |it| it.leader);
        if completed.replicas.contains(&leader) && self.image.is_online(leader, partition) {
            self.announce_assignment(partition, &completed).await?;
        } else {
            self.bring_online(std::slice::from_ref(partition), Strategy::Reassignment)
                .await?;
        }
        self.remove_replicas(&replicas(&assignment.removing)).await?;
        if let Err(refusal) = self.write_assignment(partition, &completed).await {
            // The next controller, or the next change, completes it; nothing has been lost.
            tracing::error!(%partition, %refusal, "completed reassignment cannot be written");
            return Ok(());
        }
        let target = completed.replicas;
        self.forget_legacy_reassignments(|it, replicas| it == partition && *replicas == target)
            .await?;
        self.image.reassigning.remove(partition);
        tracing::info!(%partition, replicas = ?target, "reassignment completed");
        self.send_metadata(self.image.live_or_shutting_down(), [partition.clone()]);
        self.resume_deletion_of(&BTreeSet::from([partition.topic.clone()]))
            .await
    }

    /// Raises the leader epoch and tells every replica of the assignment as it is now.
    ///
    /// Replicas being added may settle in any good directory; the others may not, lest a replica whose directory has
    /// failed be made anew elsewhere, empty.
    async fn announce_assignment(
        &mut self,
        partition: &TopicPartition,
        assignment: &Assignment,
    ) -> Result<(), CannotGoOn> {
        if self.raise_leader_epoch(partition).await? {
            self.batch
                .lead_or_follow(&self.image, &assignment.origin(), partition, false);
            self.batch
                .lead_or_follow(&self.image, &assignment.adding, partition, true);
            self.send_batch();
        }
        Ok(())
    }

    /// Stops and deletes replicas that are not wanted any more, and forgets them.
    async fn remove_replicas(&mut self, replicas: &[Replica]) -> Result<(), CannotGoOn> {
        // Their states are kept with the partition although they are in its assignment no longer. One that was to be
        // added and never was started has nothing to stop.
        let replicas: Vec<_> = (replicas.iter())
            .filter(|(partition, id)| self.image.replica_state(partition, *id) != ReplicaState::NonExistent)
            .cloned()
            .collect();
        let replicas = &replicas[..];
        self.move_replicas(replicas, ReplicaState::Offline).await?;
        self.move_replicas(replicas, ReplicaState::DeletionStarted).await?;
        self.move_replicas(replicas, ReplicaState::DeletionSuccessful).await?;
        self.move_replicas(replicas, ReplicaState::NonExistent).await
    }

    async fn write_assignment(&mut self, partition: &TopicPartition, assignment: &Assignment) -> Result<(), Refusal> {
        let mut all = self.assignments_of(&partition.topic);
        for (index, known) in &mut all {
            if *index == partition.partition {
                *known = assignment.clone();
            }
        }
        let data = znodes::encode_topic(self.image.topic_id(&partition.topic), &all);
        let answers = self
            .port
            .write(vec![Op::set(znodes::topic(&partition.topic), data, None)])
            .await;
        match answers.first() {
            Some(Answer::Written { .. }) => Ok(()),
            other => Err(Refusal::Failed(format!("zookeeper answered {other:?}"))),
        }
    }

    /// What `/admin/reassign_partitions` asks for; `None` if it does not exist.
    async fn legacy_reassignments(
        &self,
        watch: bool,
    ) -> Result<Option<Vec<(TopicPartition, Vec<BrokerId>)>>, CannotGoOn> {
        let Some((data, ..)) = self.data(znodes::REASSIGN_PARTITIONS, watch).await? else {
            return Ok(None);
        };
        match znodes::decode_reassignment(&data) {
            Ok(asked) => Ok(Some(asked)),
            Err(error) => {
                // Nothing in it can be done, and while it is there no tool can ask again.
                tracing::error!(%error, "znode that asks for reassignments cannot be read: deleting it");
                self.delete_all(vec![znodes::REASSIGN_PARTITIONS.to_owned()]).await;
                Ok(None)
            }
        }
    }

    /// Takes partitions out of `/admin/reassign_partitions`, and it with the last one.
    pub(super) async fn forget_legacy_reassignments(
        &mut self,
        which: impl Fn(&TopicPartition, &Vec<BrokerId>) -> bool,
    ) -> Result<(), CannotGoOn> {
        let Some(asked) = self.legacy_reassignments(false).await? else {
            return Ok(());
        };
        let before = asked.len();
        let left: Vec<_> = asked
            .into_iter()
            .filter(|(partition, replicas)| !which(partition, replicas))
            .collect();
        if left.is_empty() {
            self.delete_all(vec![znodes::REASSIGN_PARTITIONS.to_owned()]).await;
        } else if left.len() < before {
            let write = Op::set(znodes::REASSIGN_PARTITIONS, znodes::encode_reassignment(&left), None);
            let answers = self.port.write(vec![write]).await;
            if !matches!(answers[..], [Answer::Written { .. }]) {
                tracing::warn!(?answers, "znode that asks for reassignments cannot be written");
            }
        }
        Ok(())
    }
}
