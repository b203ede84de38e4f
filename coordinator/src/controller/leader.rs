//! Partitions get leaders: new ones their first, offline ones another, and whoever asks a different one.
//!
//! Decides by the pure functions of [`super::election`]; here they meet the image, ZooKeeper and the brokers. A conflict
//! with another writer of the `state` znode (a leader below inter.broker.protocol.version 2.7) is settled by reading it
//! again and deciding anew.
//!
//! Invariants: every change of a `state` znode made here raises the leader epoch by one, and is conditional on the version
//! known; the image and the brokers learn of it only after ZooKeeper has.

use std::collections::{BTreeMap, BTreeSet};

use model::{BrokerId, LeaderEpoch, PartitionEpoch, TopicPartition};
use zk_schema::Op;

use super::active::{Active, CannotGoOn};
use super::election::{Elected, offline_leader, preferred_leader, reassignment_leader, shutdown_leader};
use super::event::{Answer, Read};
use super::image::Leadership;
use super::partition_state::PartitionState;
use super::znodes;

/// By which rule to choose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Strategy {
    /// The leader is gone. Unclean where the caller or the topic's configuration allows it.
    Offline {
        /// Whatever the configuration says.
        unclean: bool,
    },
    /// The replicas are being moved.
    Reassignment,
    /// Back to the preferred leader.
    Preferred,
    /// The leader is shutting down.
    Shutdown,
}

/// What came of each election: `Err` says why there is no new leader.
pub(super) type Elections = BTreeMap<TopicPartition, Result<(), String>>;

/// A new leadership and who must hear of it.
type Decision = (TopicPartition, Leadership, Vec<BrokerId>);

impl Active {
    /// Moves partitions to a state that needs no leader; a move that does not exist is logged and left out.
    pub(super) fn move_partitions(&mut self, partitions: &[TopicPartition], state: PartitionState) {
        for partition in partitions {
            if let Some(known) = self.image.partition_mut(partition) {
                if state.valid_previous().contains(&known.state) {
                    known.state = state;
                } else {
                    tracing::error!(%partition, from = ?known.state, to = ?state, "no such move of a partition");
                }
            }
        }
    }

    /// Gives every new or offline partition (of `topic`, or of all) a leader, where it can, and tells the brokers.
    pub(super) async fn bring_offline_online(&mut self, topic: Option<&str>) -> Result<(), CannotGoOn> {
        self.elect_offline(topic).await.map(drop)
    }

    /// As [`Active::bring_offline_online`], with what came of it.
    pub(super) async fn elect_offline(&mut self, topic: Option<&str>) -> Result<Elections, CannotGoOn> {
        let partitions: Vec<_> = self
            .image
            .all_partitions()
            .filter(|(partition, known)| {
                matches!(known.state, PartitionState::New | PartitionState::Offline)
                    && topic.is_none_or(|topic| *partition.topic == *topic)
                    && !self.image.is_being_deleted(&partition.topic)
            })
            .map(|(partition, _)| partition)
            .collect();
        self.bring_online(&partitions, Strategy::Offline { unclean: false })
            .await
    }

    /// Gives the partitions leaders by this strategy, and tells the brokers. New ones get their first leader.
    pub(super) async fn bring_online(
        &mut self,
        partitions: &[TopicPartition],
        strategy: Strategy,
    ) -> Result<Elections, CannotGoOn> {
        let mut new = Vec::new();
        let mut elect = Vec::new();
        for partition in partitions {
            match self.image.partition(partition).map(|known| known.state) {
                Some(PartitionState::New) => new.push(partition.clone()),
                Some(PartitionState::Online | PartitionState::Offline) => elect.push(partition.clone()),
                state => tracing::error!(%partition, ?state, "no such partition to bring online"),
            }
        }
        let mut elections = Elections::new();
        elect.extend(self.initialize(new, &mut elections).await?);
        self.elect(elect, strategy, &mut elections).await?;
        for (partition, elected) in &elections {
            match elected {
                Ok(()) => self.move_partitions(std::slice::from_ref(partition), PartitionState::Online),
                Err(reason) => tracing::warn!(%partition, ?strategy, reason, "no leader elected"),
            }
        }
        self.send_batch();
        Ok(elections)
    }

    /// First leaders: the first live replica leads, and all live ones are in sync. Returns those that turned out to have
    /// had a leader already, so that they must be elected instead.
    ///
    /// Source: Kafka 3.9 `PartitionStateMachine.initializeLeaderAndIsrForPartitions`.
    async fn initialize(
        &mut self,
        partitions: Vec<TopicPartition>,
        elections: &mut Elections,
    ) -> Result<Vec<TopicPartition>, CannotGoOn> {
        let mut decisions = Vec::new();
        for partition in partitions {
            let replicas = self.image.replicas(&partition);
            let live: Vec<_> = replicas
                .iter()
                .copied()
                .filter(|id| self.image.is_online(*id, &partition))
                .collect();
            let Some(leader) = live.first().copied() else {
                elections.insert(partition, Err("no assigned replica is alive".to_owned()));
                continue;
            };
            let leadership = Leadership {
                leader,
                leader_epoch: LeaderEpoch(0),
                isr: live,
                recovering: false,
                partition_epoch: PartitionEpoch(0),
                controller_epoch: self.image.epoch,
            };
            decisions.push((partition, leadership));
        }
        let answers = self.create_states(&decisions).await;
        let mut existing = Vec::new();
        for ((partition, leadership), answer) in decisions.into_iter().zip(answers) {
            match answer {
                Answer::Written { .. } => {
                    let isr = leadership.isr.clone();
                    self.image.set_leadership(&partition, leadership);
                    self.batch.lead_or_follow(&self.image, &isr, &partition, true);
                    elections.insert(partition, Ok(()));
                }
                Answer::NodeExists => existing.push(partition),
                other => {
                    elections.insert(partition, Err(format!("zookeeper answered {other:?}")));
                }
            }
        }
        if !existing.is_empty() {
            self.refresh(&existing).await?;
            self.move_partitions(&existing, PartitionState::Offline);
        }
        Ok(existing)
    }

    /// Creates the `state` znodes, and above them what is missing; the answers for the `state` znodes alone.
    ///
    /// In three rounds, because the writes of one round must not build on each other: `partitions` of each topic, then
    /// each partition, then each state. A parent that is there already is as good as created.
    async fn create_states(&self, decisions: &[(TopicPartition, Leadership)]) -> Vec<Answer> {
        let topics: BTreeSet<_> = decisions.iter().map(|(partition, _)| partition.topic.clone()).collect();
        let parents = topics.iter().map(|topic| Op::create(znodes::partitions(topic), []));
        self.port.write(parents.collect()).await;
        let parents = decisions
            .iter()
            .map(|(partition, _)| Op::create(znodes::partition(partition), []));
        self.port.write(parents.collect()).await;
        let states = decisions
            .iter()
            .map(|(partition, it)| Op::create(znodes::state(partition), znodes::encode_state(it)));
        self.port.write(states.collect()).await
    }

    async fn elect(
        &mut self,
        mut partitions: Vec<TopicPartition>,
        strategy: Strategy,
        elections: &mut Elections,
    ) -> Result<(), CannotGoOn> {
        let mut looked_again = false;
        while !partitions.is_empty() {
            let unclean = self.unclean_topics(&partitions, strategy).await?;
            let mut decisions = Vec::new();
            let mut undecided = Vec::new();
            for partition in partitions {
                match self.decide(&partition, strategy, &unclean) {
                    Ok((leadership, recipients)) => decisions.push((partition, leadership, recipients)),
                    Err(reason) => undecided.push((partition, reason)),
                }
            }
            partitions = self.write_elected(decisions, elections).await?;
            // Where nobody can lead by what is known, look once whether a leader below inter.broker.protocol.version 2.7
            // has changed the in-sync set since.
            if looked_again {
                elections.extend(
                    undecided
                        .into_iter()
                        .map(|(partition, reason)| (partition, Err(reason))),
                );
            } else {
                let again: Vec<_> = undecided.into_iter().map(|(partition, _)| partition).collect();
                self.refresh(&again).await?;
                partitions.extend(again);
                looked_again = true;
            }
        }
        Ok(())
    }

    /// The topics among those of `partitions` without a live in-sync replica that allow an unclean election.
    async fn unclean_topics(
        &self,
        partitions: &[TopicPartition],
        strategy: Strategy,
    ) -> Result<BTreeSet<String>, CannotGoOn> {
        let Strategy::Offline { unclean } = strategy else {
            return Ok(BTreeSet::new());
        };
        let without_isr = partitions.iter().filter(|partition| {
            let isr = self.image.leadership(partition).map_or(&[][..], |it| &it.isr);
            !isr.iter().any(|id| self.image.is_online(*id, partition))
        });
        let topics: BTreeSet<String> = without_isr.map(|partition| partition.topic.to_string()).collect();
        if unclean || topics.is_empty() {
            return Ok(topics);
        }
        let topics: Vec<String> = topics.into_iter().collect();
        // The default may have been changed at run time: for this broker, or for all.
        let defaults = [znodes::broker_config(self.config.id), znodes::default_broker_config()];
        let paths: Vec<_> = defaults
            .into_iter()
            .chain(topics.iter().map(|topic| znodes::topic_config(topic)))
            .collect();
        let reads = paths.iter().map(|path| Read::Data {
            path: path.clone(),
            watch: false,
        });
        let answers = self.port.read(reads.collect()).await;
        let mut said = paths.iter().zip(answers).map(|(path, answer)| match answer {
            Answer::Data { data, .. } => znodes::unclean_election_enabled(path, &data).unwrap_or_else(|error| {
                // Records might be lost against the will of whoever wrote what cannot be read.
                tracing::error!(path, %error, "configuration cannot be read: no unclean election");
                Some(false)
            }),
            Answer::NoNode => None,
            other => {
                tracing::error!(path, answer = ?other, "configuration cannot be read: no unclean election");
                Some(false)
            }
        });
        let (own, all) = (said.next().flatten(), said.next().flatten());
        let default = own.or(all).unwrap_or(self.config.unclean_leader_election_enable);
        let allowed = topics
            .into_iter()
            .zip(said)
            .filter(|(_, enabled)| enabled.unwrap_or(default));
        Ok(allowed.map(|(topic, _)| topic).collect())
    }

    /// The next leadership of a partition and who must hear of it.
    fn decide(
        &mut self,
        partition: &TopicPartition,
        strategy: Strategy,
        unclean: &BTreeSet<String>,
    ) -> Result<(Leadership, Vec<BrokerId>), String> {
        let image = &self.image;
        let Some(now) = image.leadership(partition) else {
            return Err("it has no state in zookeeper".to_owned());
        };
        if now.controller_epoch > image.epoch {
            return Err(format!(
                "its state was written by the controller of epoch {}",
                now.controller_epoch
            ));
        }
        let assignment = image.assignment(partition);
        let online = |id| image.is_online(id, partition);
        let live = |of: &[BrokerId]| of.iter().copied().filter(|id| online(*id)).collect::<Vec<_>>();
        let mut next = now.clone();
        let mut was_unclean = false;
        let recipients = match strategy {
            Strategy::Offline { .. } => {
                let allowed = unclean.contains(&*partition.topic);
                match offline_leader(&assignment.replicas, &now.isr, online, allowed) {
                    Some(Elected::Clean(leader)) => {
                        next.leader = leader;
                        next.isr = live(&now.isr);
                    }
                    Some(Elected::Unclean(leader)) => {
                        next.leader = leader;
                        next.isr = vec![leader];
                        next.recovering |= self.config.leader_recovery;
                        was_unclean = true;
                    }
                    None => return Err("no eligible replica is alive".to_owned()),
                }
                live(&assignment.replicas)
            }
            Strategy::Reassignment => {
                let target = assignment.target();
                next.leader = reassignment_leader(&target, &now.isr, online)
                    .ok_or_else(|| "no target replica is alive and in sync".to_owned())?;
                target
            }
            Strategy::Preferred => {
                next.leader = preferred_leader(&assignment.replicas, &now.isr, online)
                    .ok_or_else(|| "the preferred leader is not alive and in sync".to_owned())?;
                assignment.replicas
            }
            Strategy::Shutdown => {
                let up = |id| image.is_online_or_shutting_down(id, partition);
                let going = |id| image.shutting_down.contains(&id);
                next.leader = shutdown_leader(&assignment.replicas, &now.isr, up, going)
                    .ok_or_else(|| "no other replica is alive and in sync".to_owned())?;
                next.isr.retain(|id| !going(*id));
                assignment.replicas.iter().copied().filter(|id| up(*id)).collect()
            }
        };
        next.leader_epoch = now.leader_epoch.next();
        if was_unclean {
            self.unclean_elections += 1;
            tracing::warn!(%partition, leader = %next.leader, "unclean leader election: records may be lost");
        }
        Ok((next, recipients))
    }

    /// Writes decisions and tells the brokers of those that stand. Returns the partitions to be decided anew.
    async fn write_elected(
        &mut self,
        decisions: Vec<Decision>,
        elections: &mut Elections,
    ) -> Result<Vec<TopicPartition>, CannotGoOn> {
        let recipients: Vec<_> = decisions
            .iter()
            .map(|(partition, _, to)| (partition.clone(), to.clone()))
            .collect();
        let written = self.write_leaderships(
            decisions
                .into_iter()
                .map(|(partition, it, _)| (partition, it))
                .collect(),
        );
        let written = written.await;
        let mut again = Vec::new();
        for ((partition, to), outcome) in recipients.into_iter().zip(written) {
            match outcome {
                Written::Ok => {
                    self.batch.lead_or_follow(&self.image, &to, &partition, false);
                    elections.insert(partition, Ok(()));
                }
                Written::Conflict => again.push(partition),
                Written::Failed(reason) => {
                    elections.insert(partition, Err(reason));
                }
            }
        }
        self.refresh(&again).await?;
        Ok(again)
    }

    /// Writes leaderships, each conditional on the version that it carries; the image follows where ZooKeeper agrees.
    pub(super) async fn write_leaderships(&mut self, next: Vec<(TopicPartition, Leadership)>) -> Vec<Written> {
        let mut ops = Vec::with_capacity(next.len());
        let mut leaderships = Vec::with_capacity(next.len());
        for (partition, mut leadership) in next {
            leadership.controller_epoch = self.image.epoch;
            let version = leadership.partition_epoch.0;
            ops.push(Op::set(
                znodes::state(&partition),
                znodes::encode_state(&leadership),
                Some(version),
            ));
            leaderships.push((partition, leadership));
        }
        let answers = self.port.write(ops).await;
        let mut outcomes = Vec::with_capacity(leaderships.len());
        for ((partition, mut leadership), answer) in leaderships.into_iter().zip(answers) {
            outcomes.push(match answer {
                Answer::Written { version } => {
                    leadership.partition_epoch = PartitionEpoch(version);
                    self.image.set_leadership(&partition, leadership);
                    Written::Ok
                }
                Answer::BadVersion => Written::Conflict,
                other => Written::Failed(format!("zookeeper answered {other:?}")),
            });
        }
        outcomes
    }

    /// Reads the `state` znodes again into the image; one that is gone leaves no leadership.
    pub(super) async fn refresh(&mut self, partitions: &[TopicPartition]) -> Result<(), CannotGoOn> {
        self.read_states(partitions).await.map(drop)
    }

    /// As [`Active::refresh`]; returns the transaction that wrote each of them last, 0 where there is none.
    pub(super) async fn read_states(&mut self, partitions: &[TopicPartition]) -> Result<Vec<i64>, CannotGoOn> {
        let states = self
            .data_of(partitions.iter().map(znodes::state).collect(), false)
            .await?;
        let mut written = Vec::with_capacity(partitions.len());
        for (partition, state) in partitions.iter().zip(states) {
            written.push(state.as_ref().map_or(0, |found| found.mzxid));
            let leadership =
                state.and_then(
                    |found| match znodes::decode_state(partition, &found.data, found.version) {
                        Ok(leadership) => Some(leadership),
                        Err(error) => {
                            tracing::error!(%partition, %error, "state cannot be read: it has no leader");
                            None
                        }
                    },
                );
            if let Some(known) = self.image.partition_mut(partition) {
                known.leadership = leadership;
            }
        }
        Ok(written)
    }

    /// Raises a partition's leader epoch and changes nothing else. `false`: it has no leadership, or may not be written.
    ///
    /// Source: Kafka 3.9 `KafkaController.updateLeaderEpoch`.
    pub(super) async fn raise_leader_epoch(&mut self, partition: &TopicPartition) -> Result<bool, CannotGoOn> {
        loop {
            let Some(mut next) = self.image.leadership(partition).cloned() else {
                return Ok(false);
            };
            next.leader_epoch = next.leader_epoch.next();
            match self.write_leaderships(vec![(partition.clone(), next)]).await.pop() {
                Some(Written::Ok) => return Ok(true),
                Some(Written::Conflict) => self.refresh(std::slice::from_ref(partition)).await?,
                other => {
                    tracing::error!(%partition, ?other, "leader epoch cannot be raised");
                    return Ok(false);
                }
            }
        }
    }
}

/// What came of writing a leadership.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Written {
    /// ZooKeeper and the image have it.
    Ok,
    /// Somebody else has written since: read again.
    Conflict,
    /// It cannot be written.
    Failed(String),
}
