//! AlterPartition: leaders propose in-sync sets, the controller accepts or refuses.
//!
//! Decides by leader epoch and partition epoch, and by who is alive; it does not judge who has caught up, which only
//! the leader can know. Source: Kafka 3.9 `KafkaController.processAlterPartition`; KIP-497, KIP-704, KIP-841.

use model::{BrokerEpoch, BrokerId, TopicPartition};

use super::active::{Active, CannotGoOn};
use super::event::{AskId, IsrAccepted, IsrProposal, Refusal, Reply, TopicRef};
use super::image::Leadership;
use super::leader::Written;

/// The first version that names topics by id and knows INELIGIBLE_REPLICA.
const FIRST_VERSION_WITH_TOPIC_IDS: i16 = 2;

/// What a proposal deserves, before ZooKeeper is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Judgement {
    /// It is so already.
    AlreadySo,
    /// Write this.
    Write(Leadership),
}

impl Active {
    /// Accepts or refuses each proposal, writes those accepted, tells the brokers, answers, and finishes reassignments
    /// that only waited for it.
    pub(super) async fn alter_partition(
        &mut self,
        ask: AskId,
        broker: BrokerId,
        broker_epoch: BrokerEpoch,
        version: i16,
        proposals: Vec<IsrProposal>,
    ) -> Result<(), CannotGoOn> {
        if self
            .image
            .brokers
            .get(&broker)
            .is_none_or(|it| it.epoch != broker_epoch)
        {
            self.port.answer(ask, Err(Refusal::StaleBrokerEpoch));
            return Ok(());
        }
        let mut results: Vec<Result<IsrAccepted, Refusal>> = Vec::with_capacity(proposals.len());
        let mut writes = Vec::new();
        let mut partitions = Vec::new();
        for (at, proposal) in proposals.iter().enumerate() {
            let partition = match self.partition_of(proposal) {
                Ok(partition) => partition,
                Err(refusal) => {
                    results.push(Err(refusal));
                    continue;
                }
            };
            let judgement = match self.image.leadership(&partition) {
                Some(current) => judge(proposal, broker, version, current, |id| self.image.is_live(id)),
                None => Err(Refusal::UnknownTopicOrPartition),
            };
            results.push(match judgement {
                Ok(Judgement::Write(next)) => {
                    writes.push((at, partition.clone(), next));
                    Err(Refusal::Failed("not written".to_owned()))
                }
                Ok(Judgement::AlreadySo) => self.accepted(&partition),
                Err(refusal) => Err(refusal),
            });
            partitions.push(partition);
        }

        let outcomes = self.write_leaderships(
            writes
                .iter()
                .map(|(_, partition, next)| (partition.clone(), next.clone()))
                .collect(),
        );
        let outcomes = outcomes.await;
        let mut changed = Vec::new();
        let mut stale = Vec::new();
        for ((at, partition, _), outcome) in writes.into_iter().zip(outcomes) {
            results[at] = match outcome {
                Written::Ok => {
                    let accepted = self.accepted(&partition);
                    changed.push(partition);
                    accepted
                }
                Written::Conflict => {
                    stale.push(partition);
                    Err(Refusal::InvalidUpdateVersion)
                }
                Written::Failed(reason) => Err(Refusal::Failed(reason)),
            };
        }
        self.refresh(&stale).await?;
        self.send_metadata(self.image.live_or_shutting_down(), partitions);
        let answers = proposals.into_iter().zip(results);
        let answers = answers
            .map(|(proposal, result)| (proposal.topic, proposal.partition, result))
            .collect();
        self.port.answer(ask, Ok(Reply::AlterPartition(answers)));

        for partition in changed {
            self.finish_reassignment_of(&partition).await?;
        }
        Ok(())
    }

    fn partition_of(&self, proposal: &IsrProposal) -> Result<TopicPartition, Refusal> {
        let topic = match &proposal.topic {
            TopicRef::Name(name) => self.image.topics.get_key_value(&**name).map(|(name, _)| name),
            TopicRef::Id(id) => Some(self.image.topic_name(*id).ok_or(Refusal::UnknownTopicId)?),
        };
        let topic = topic.ok_or(Refusal::UnknownTopicOrPartition)?;
        Ok(TopicPartition::new(topic.clone(), proposal.partition))
    }

    fn accepted(&self, partition: &TopicPartition) -> Result<IsrAccepted, Refusal> {
        let current = self
            .image
            .leadership(partition)
            .ok_or(Refusal::UnknownTopicOrPartition)?;
        Ok(IsrAccepted {
            leader: current.leader,
            leader_epoch: current.leader_epoch,
            isr: current.isr.clone(),
            recovering: current.recovering,
            partition_epoch: current.partition_epoch,
        })
    }
}

/// What a proposal of `broker` deserves, given the current leadership. The order of the checks is Kafka's.
fn judge(
    proposal: &IsrProposal,
    broker: BrokerId,
    version: i16,
    current: &Leadership,
    is_live: impl Fn(BrokerId) -> bool,
) -> Result<Judgement, Refusal> {
    if proposal.partition_epoch > current.partition_epoch || proposal.leader_epoch > current.leader_epoch {
        // The leader knows more than this controller, which so is probably not the controller any more.
        return Err(Refusal::NotController);
    }
    if proposal.leader_epoch < current.leader_epoch {
        return Err(Refusal::FencedLeaderEpoch);
    }
    // Before the partition epoch is looked at, so that a retry of a request whose answer was lost succeeds.
    if broker == current.leader && proposal.isr == current.isr && proposal.recovering == current.recovering {
        return Ok(Judgement::AlreadySo);
    }
    if proposal.partition_epoch < current.partition_epoch {
        return Err(Refusal::InvalidUpdateVersion);
    }
    if proposal.recovering && (proposal.isr.len() > 1 || !current.recovering) {
        return Err(Refusal::InvalidRequest);
    }
    // A set without the proposing leader, or with somebody twice, would be a set that nobody can have meant.
    let mut distinct = proposal.isr.clone();
    distinct.sort();
    distinct.dedup();
    if broker != current.leader || !proposal.isr.contains(&broker) || distinct.len() != proposal.isr.len() {
        return Err(Refusal::InvalidRequest);
    }
    if proposal.isr.iter().any(|id| !is_live(*id)) {
        return Err(if version >= FIRST_VERSION_WITH_TOPIC_IDS {
            Refusal::IneligibleReplica
        } else {
            Refusal::OperationNotAttempted
        });
    }
    Ok(Judgement::Write(Leadership {
        isr: proposal.isr.clone(),
        recovering: proposal.recovering,
        ..current.clone()
    }))
}

#[cfg(test)]
mod tests {
    use model::{ControllerEpoch, LeaderEpoch, PartitionEpoch};

    use super::*;

    fn ids(ids: &[i32]) -> Vec<BrokerId> {
        ids.iter().copied().map(BrokerId).collect()
    }

    #[test]
    fn proposals_are_judged_by_epochs_and_by_who_is_alive() {
        let current = |recovering| Leadership {
            leader: BrokerId(1),
            leader_epoch: LeaderEpoch(5),
            isr: ids(&[1, 2]),
            recovering,
            partition_epoch: PartitionEpoch(7),
            controller_epoch: ControllerEpoch(1),
        };
        let check =
            |name: &str, was_recovering, broker, leader_epoch, partition_epoch, isr: &[i32], recovering, expected| {
                let proposal = IsrProposal {
                    topic: TopicRef::Name("t".to_owned()),
                    partition: 0,
                    leader_epoch: LeaderEpoch(leader_epoch),
                    partition_epoch: PartitionEpoch(partition_epoch),
                    isr: ids(isr),
                    recovering,
                };
                let found = judge(&proposal, BrokerId(broker), 3, &current(was_recovering), |id| id.0 <= 3);
                let found = found.map(|judgement| match judgement {
                    Judgement::AlreadySo => None,
                    Judgement::Write(next) => {
                        Some((next.isr.iter().map(|id| id.0).collect::<Vec<_>>(), next.leader_epoch.0))
                    }
                });
                assert_eq!(found, expected, "{name}");
            };
        let write = |isr: &[i32]| Ok(Some((isr.to_vec(), 5)));
        check("shrink", false, 1, 5, 7, &[1], false, write(&[1]));
        check("expand", false, 1, 5, 7, &[1, 2, 3], false, write(&[1, 2, 3]));
        check(
            "nothing new, old partition epoch",
            false,
            1,
            5,
            6,
            &[1, 2],
            false,
            Ok(None),
        );
        check(
            "old partition epoch",
            false,
            1,
            5,
            6,
            &[1],
            false,
            Err(Refusal::InvalidUpdateVersion),
        );
        check(
            "newer partition epoch",
            false,
            1,
            5,
            8,
            &[1],
            false,
            Err(Refusal::NotController),
        );
        check(
            "old leader epoch",
            false,
            1,
            4,
            7,
            &[1],
            false,
            Err(Refusal::FencedLeaderEpoch),
        );
        check(
            "newer leader epoch",
            false,
            1,
            6,
            7,
            &[1],
            false,
            Err(Refusal::NotController),
        );
        check(
            "dead replica",
            false,
            1,
            5,
            7,
            &[1, 4],
            false,
            Err(Refusal::IneligibleReplica),
        );
        check(
            "not the leader",
            false,
            2,
            5,
            7,
            &[2],
            false,
            Err(Refusal::InvalidRequest),
        );
        check(
            "without the leader",
            false,
            1,
            5,
            7,
            &[2],
            false,
            Err(Refusal::InvalidRequest),
        );
        check(
            "somebody twice",
            false,
            1,
            5,
            7,
            &[1, 1],
            false,
            Err(Refusal::InvalidRequest),
        );
        check(
            "recovered leaders do not recover",
            false,
            1,
            5,
            7,
            &[1],
            true,
            Err(Refusal::InvalidRequest),
        );
        check(
            "recovering with followers",
            true,
            1,
            5,
            7,
            &[1, 3],
            true,
            Err(Refusal::InvalidRequest),
        );
        check("recovered", true, 1, 5, 7, &[1], false, write(&[1]));
    }
}
