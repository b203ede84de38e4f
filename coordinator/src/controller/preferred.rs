//! Elections that somebody asks for: back to the preferred leaders, or unclean ones.
//!
//! Three ask: an administrator with ElectLeaders, the older znode `/admin/preferred_replica_election`, and the clock
//! (`auto.leader.rebalance.enable`). Source: Kafka 3.9 `KafkaController.processReplicaLeaderElection`,
//! `checkAndTriggerAutoLeaderRebalance`; KIP-460.

use std::collections::BTreeMap;

use model::{BrokerId, TopicPartition};

use super::active::{Active, CannotGoOn};
use super::election::preferred_leader;
use super::event::{AskId, Refusal, Reply};
use super::leader::Strategy;
use super::znodes;

impl Active {
    /// ElectLeaders.
    pub(super) async fn elect_leaders(
        &mut self,
        ask: AskId,
        unclean: bool,
        partitions: Option<Vec<TopicPartition>>,
    ) -> Result<(), CannotGoOn> {
        let asked = partitions.unwrap_or_else(|| self.image.all_partitions().map(|(partition, _)| partition).collect());
        let mut results = BTreeMap::new();
        let mut elect = Vec::new();
        for partition in &asked {
            match self.election_needed(partition, unclean) {
                Ok(()) => elect.push(partition.clone()),
                Err(refusal) => {
                    results.insert(partition.clone(), Err(refusal));
                }
            }
        }
        let strategy = if unclean {
            Strategy::Offline { unclean }
        } else {
            Strategy::Preferred
        };
        for (partition, elected) in self.bring_online(&elect, strategy).await? {
            let result = elected.map_err(|_| {
                let why = format!("Failed to elect leader for partition {partition}");
                if unclean {
                    Refusal::EligibleLeadersNotAvailable(why)
                } else {
                    Refusal::PreferredLeaderNotAvailable(why)
                }
            });
            results.insert(partition, result);
        }
        let answers = asked
            .into_iter()
            .filter_map(|partition| results.remove_entry(&partition))
            .collect();
        self.port.answer(ask, Ok(Reply::ElectLeaders(answers)));
        Ok(())
    }

    fn election_needed(&self, partition: &TopicPartition, unclean: bool) -> Result<(), Refusal> {
        let Some(known) = self.image.partition(partition) else {
            return Err(Refusal::UnknownTopicOrPartition);
        };
        if self.image.is_being_deleted(&partition.topic) {
            return Err(Refusal::TopicBeingDeleted);
        }
        let leader = known.leadership.as_ref().map_or(BrokerId::NONE, |it| it.leader);
        let needed = if unclean {
            !self.image.is_live(leader)
        } else {
            known.assignment.replicas.first() != Some(&leader)
        };
        if needed {
            Ok(())
        } else {
            Err(Refusal::ElectionNotNeeded)
        }
    }

    /// `/admin/preferred_replica_election` has come: does what it asks for and deletes it.
    pub(super) async fn legacy_election_changed(&mut self) -> Result<(), CannotGoOn> {
        let Some((data, ..)) = self.data(znodes::PREFERRED_ELECTION, true).await? else {
            return Ok(());
        };
        match znodes::decode_preferred_election(&data) {
            Ok(mut partitions) => {
                partitions.retain(|partition| self.election_needed(partition, false).is_ok());
                self.bring_online(&partitions, Strategy::Preferred).await?;
            }
            Err(error) => tracing::error!(%error, "znode that asks for elections cannot be read: deleting it"),
        }
        self.delete_all(vec![znodes::PREFERRED_ELECTION.to_owned()]).await;
        // The read above may have left its watch on a znode that is gone: look for the next one.
        if self.data(znodes::PREFERRED_ELECTION, true).await?.is_some() {
            tracing::debug!("another election was asked for meanwhile; its own event follows");
        }
        Ok(())
    }

    /// Moves leaderships back to preferred leaders, on behalf of each broker that has lost more than
    /// `leader.imbalance.per.broker.percentage` of its own.
    pub(super) async fn rebalance_leaders(&mut self) -> Result<(), CannotGoOn> {
        if !self.config.auto_leader_rebalance_enable {
            return Ok(());
        }
        let image = &self.image;
        let mut preferred: BTreeMap<BrokerId, (usize, Vec<TopicPartition>)> = BTreeMap::new();
        for (partition, known) in image.all_partitions() {
            let Some(first) = known.assignment.replicas.first() else {
                continue;
            };
            if image.is_being_deleted(&partition.topic) {
                continue;
            }
            let (all, elsewhere) = preferred.entry(*first).or_default();
            *all += 1;
            if known.leadership.as_ref().is_some_and(|it| it.leader != *first) {
                elsewhere.push(partition);
            }
        }
        let allowed = f64::from(self.config.leader_imbalance_per_broker_percentage) / 100.0;
        for (broker, (all, elsewhere)) in preferred {
            if elsewhere.len() as f64 / all as f64 <= allowed {
                continue;
            }
            let movable: Vec<_> = elsewhere
                .into_iter()
                .filter(|partition| {
                    let isr = self.image.leadership(partition).map_or(&[][..], |it| &it.isr);
                    let online = |id| self.image.is_online(id, partition);
                    preferred_leader(self.image.replicas(partition), isr, online).is_some()
                })
                .collect();
            tracing::info!(%broker, partitions = movable.len(), "moving leaderships back to the preferred leader");
            self.bring_online(&movable, Strategy::Preferred).await?;
        }
        Ok(())
    }
}
