//! What is removed: offsets by expiry or request, and groups that nothing is left of. Removal is written as tombstones.
//!
//! Source: Kafka 3.9 `GroupMetadata.removeExpiredOffsets` (KIP-211), `GroupCoordinator.handleDeleteGroups`,
//! `handleDeleteOffsets`, `GroupMetadataManager.cleanupGroupMetadata`.

use model::{Sequence, TopicPartition, VerificationGuard};

use super::api::{Batch, GroupError, Note};
use super::classic::Group;
use super::outbox::Step;
use super::record::Key;
use super::state::GroupState;
use crate::record::Record;

impl Group {
    /// Forgets the offsets that have expired; returns their partitions.
    ///
    /// When depends on who may still want them. No members, but once had some: retention counts from when the group became empty,
    /// and everything goes at once. Consumers at work: from the commit, and only topics that none of them reads. Offsets without
    /// a group: from the commit. In the middle of a rebalance nothing expires.
    pub(super) fn expire_offsets(&mut self, step: &Step<'_>) -> Vec<TopicPartition> {
        let now = step.now.wall;
        let retention = step.config.offsets_retention;
        let mut offsets = std::mem::take(&mut self.offsets);
        let expired = match self.protocol_type {
            Some(_) if self.state == GroupState::Empty => offsets.expire(now, retention, self.state_since, |_| false),
            Some(_) if self.is_consumer_group() && self.knows_subscriptions() && self.state == GroupState::Stable => {
                offsets.expire(now, retention, None, |partition| {
                    self.is_subscribed_to(&partition.topic)
                })
            }
            None => offsets.expire(now, retention, None, |_| false),
            Some(_) => Vec::new(),
        };
        self.offsets = offsets;
        expired
    }

    /// Takes the group out of use, with all of its offsets; returns their partitions.
    pub(super) fn delete(&mut self, step: &Step<'_>) -> Result<Vec<TopicPartition>, GroupError> {
        match self.state {
            GroupState::Dead => Err(GroupError::GroupIdNotFound),
            GroupState::Empty => {
                self.move_to(GroupState::Dead, step.now.wall);
                Ok(self.offsets.remove_all())
            }
            GroupState::Stable | GroupState::PreparingRebalance | GroupState::CompletingRebalance => {
                Err(GroupError::NonEmptyGroup)
            }
        }
    }

    /// Which of `partitions` may be deleted; of a consumer group those that it does not read.
    pub(super) fn validate_delete_offsets(
        &self,
        partitions: &[TopicPartition],
    ) -> Result<Vec<Option<GroupError>>, GroupError> {
        match self.state {
            GroupState::Dead => Err(GroupError::GroupIdNotFound),
            GroupState::Empty => Ok(vec![None; partitions.len()]),
            _ if self.is_consumer_group() => Ok(partitions
                .iter()
                .map(|partition| {
                    self.is_subscribed_to(&partition.topic)
                        .then_some(GroupError::GroupSubscribedToTopic)
                })
                .collect()),
            _ => Err(GroupError::NonEmptyGroup),
        }
    }

    /// Writes the tombstones of `removed`. A group of which nothing is left dies; `true` then.
    pub(super) fn write_tombstones(&mut self, removed: Vec<TopicPartition>, step: &mut Step<'_>) -> bool {
        if self.state == GroupState::Empty && self.offsets.is_empty() {
            self.move_to(GroupState::Dead, step.now.wall);
        }
        let is_dead = self.state == GroupState::Dead;
        let mut keys: Vec<Key> = removed
            .into_iter()
            .map(|partition| Key::Offset {
                group_id: self.id.clone(),
                partition,
            })
            .collect();
        // At generation 0 there never was a record of the group itself.
        if is_dead && self.generation_id > 0 {
            keys.push(Key::Group {
                group_id: self.id.clone(),
            });
        }
        // Whatever could be written can be written again: the same key.
        let records: Vec<Record> = keys
            .iter()
            .filter_map(|key| key.encode().ok().flatten())
            .map(|key| Record { key, value: None })
            .collect();
        if !records.is_empty() {
            step.append_lazily(Batch {
                records,
                timestamp: step.now.wall,
                producer: None,
                verification: VerificationGuard::NONE,
                base_sequence: Sequence::NONE,
            });
        }
        if is_dead {
            step.note(Note::Removed {
                group_id: self.id.clone(),
                generation_id: self.generation_id,
            });
        }
        is_dead
    }
}
