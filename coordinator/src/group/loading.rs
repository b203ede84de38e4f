//! Reading a `__consumer_offsets` partition back into memory.
//!
//! Records are replayed in the order of the log; the last one of each key counts. Offsets in a transactional batch wait for the marker
//! of their producer; those whose marker has not come stay pending.
//! Source: Kafka 3.9 `GroupMetadataManager.doLoadGroupsAndOffsets`.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use model::{Offset, ProducerId};

use super::api::{CommittedOffset, GroupConfig};
use super::classic::Group;
use super::groups::Groups;
use super::offsets::{Offsets, Stored};
use super::record::{Key, StoredGroup};
use crate::hosting::Now;
use crate::record::RecordError;

/// The groups of one partition while its log is being read.
#[derive(Debug, Default)]
pub struct Loader {
    groups: BTreeMap<Arc<str>, StoredGroup>,
    offsets: BTreeMap<Arc<str>, Offsets>,
    /// The groups in which a producer may have commits pending.
    open: BTreeMap<ProducerId, BTreeSet<Arc<str>>>,
}

impl Loader {
    /// Nothing read yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Replays one record of the batch that begins at `batch_offset`; `producer_id` if the batch is transactional.
    ///
    /// # Errors
    /// If the record cannot be read; it has changed nothing, and loading may go on without it.
    pub fn replay(
        &mut self,
        batch_offset: Offset,
        producer_id: Option<ProducerId>,
        key: &[u8],
        value: Option<&[u8]>,
    ) -> Result<(), RecordError> {
        match Key::decode(key)? {
            Key::Offset { group_id, partition } => {
                let stored = match value {
                    Some(value) => Some(Stored {
                        value: CommittedOffset::decode(value)?,
                        batch_offset: Some(batch_offset),
                    }),
                    None => None,
                };
                if let Some(producer_id) = producer_id {
                    self.open.entry(producer_id).or_default().insert(group_id.clone());
                }
                self.offsets
                    .entry(group_id)
                    .or_default()
                    .replay(producer_id, partition, stored);
            }
            Key::Group { group_id } => {
                match value {
                    Some(value) => self.groups.insert(group_id, StoredGroup::decode(value)?),
                    None => self.groups.remove(&group_id),
                };
            }
            Key::Unknown(_) => {}
        }
        Ok(())
    }

    /// Replays the marker that ends a transaction, at `marker_offset`.
    pub fn complete_transaction(&mut self, producer_id: ProducerId, committed: bool, marker_offset: Offset) {
        for group_id in self.open.remove(&producer_id).unwrap_or_default() {
            if let Some(offsets) = self.offsets.get_mut(&group_id) {
                offsets.complete_transaction(producer_id, committed, marker_offset);
            }
        }
    }

    /// The log is read: members' sessions begin anew.
    pub fn finish(self, config: GroupConfig, now: Now) -> Groups {
        let Self {
            groups: stored,
            mut offsets,
            open: _,
        } = self;
        let mut groups = Groups::new(config, now);
        for (group_id, stored) in stored {
            let mut group = Group::loaded(group_id.clone(), groups.next_incarnation(), stored);
            group.offsets = offsets.remove(&group_id).unwrap_or_default();
            groups.adopt(group, now);
        }
        // Offsets of committers that use no group membership.
        for (group_id, offsets) in offsets {
            if !offsets.is_empty() {
                let mut group = Group::new(group_id, groups.next_incarnation(), now.wall);
                group.offsets = offsets;
                groups.adopt(group, now);
            }
        }
        groups
    }
}
