//! The committed offsets of one group: stored, on their way to the log, and pending in transactions.
//!
//! Invariant: of two stored commits of a partition the one further on in the log wins, whichever outcome is heard first,
//! so that what is in memory is what a replay of the compacted log would give.
//! Source: Kafka 3.9 `GroupMetadata.scala` (offsets, pendingOffsetCommits, pendingTransactionalOffsetCommits).

use std::collections::BTreeMap;

use model::{Millis, Offset, ProducerId, TopicPartition};

use super::api::{CommittedOffset, FetchedOffset};

/// A stored commit and where in the log its batch begins; `None` for a transactional one that is about to be appended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Stored {
    pub(super) value: CommittedOffset,
    pub(super) batch_offset: Option<Offset>,
}

impl Stored {
    fn is_older_than(&self, other: &Self) -> bool {
        self.batch_offset < other.batch_offset
    }
}

#[derive(Debug, Default)]
pub(super) struct Offsets {
    committed: BTreeMap<TopicPartition, Stored>,
    /// The newest commit on its way to the log, per partition.
    pending: BTreeMap<TopicPartition, CommittedOffset>,
    transactional: BTreeMap<ProducerId, BTreeMap<TopicPartition, Stored>>,
}

impl Offsets {
    pub(super) fn is_empty(&self) -> bool {
        self.committed.is_empty() && self.pending.is_empty() && self.transactional.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.committed.len()
    }

    /// A commit is on its way to the log.
    pub(super) fn prepare(&mut self, producer_id: Option<ProducerId>, offsets: &[(TopicPartition, CommittedOffset)]) {
        match producer_id {
            None => self.pending.extend(offsets.iter().cloned()),
            Some(producer_id) => {
                let of_producer = self.transactional.entry(producer_id).or_default();
                of_producer.extend(offsets.iter().map(|(partition, value)| {
                    let stored = Stored {
                        value: value.clone(),
                        batch_offset: None,
                    };
                    (partition.clone(), stored)
                }));
            }
        }
    }

    /// The transactional commit is in the log, in the batch that begins at `batch_offset`. Whether it stays there is not known
    /// yet; but if the marker behind it does, it does too.
    pub(super) fn placed(
        &mut self,
        producer_id: ProducerId,
        offsets: &[(TopicPartition, CommittedOffset)],
        batch_offset: Offset,
    ) {
        let Some(of_producer) = self.transactional.get_mut(&producer_id) else {
            return;
        };
        for (partition, value) in offsets {
            if let Some(stored) = of_producer.get_mut(partition).filter(|stored| stored.value == *value) {
                stored.batch_offset = Some(batch_offset);
            }
        }
    }

    /// The commit is stored in the batch that begins at `batch_offset`.
    pub(super) fn stored(
        &mut self,
        producer_id: Option<ProducerId>,
        offsets: Vec<(TopicPartition, CommittedOffset)>,
        batch_offset: Offset,
    ) {
        for (partition, value) in offsets {
            match producer_id {
                None => {
                    // Not pending any more: its topic was deleted meanwhile.
                    let Some(newest) = self.pending.get(&partition) else {
                        continue;
                    };
                    if *newest == value {
                        self.pending.remove(&partition);
                    }
                    let batch_offset = Some(batch_offset);
                    self.keep_newer(partition, Stored { value, batch_offset });
                }
                Some(producer_id) => self.placed(producer_id, &[(partition, value)], batch_offset),
            }
        }
    }

    /// The commit could not be stored.
    pub(super) fn failed(&mut self, producer_id: Option<ProducerId>, offsets: &[(TopicPartition, CommittedOffset)]) {
        for (partition, value) in offsets {
            match producer_id {
                None => {
                    if self.pending.get(partition) == Some(value) {
                        self.pending.remove(partition);
                    }
                }
                Some(producer_id) => {
                    if let Some(of_producer) = self.transactional.get_mut(&producer_id) {
                        if of_producer.get(partition).is_some_and(|stored| stored.value == *value) {
                            of_producer.remove(partition);
                        }
                        if of_producer.is_empty() {
                            self.transactional.remove(&producer_id);
                        }
                    }
                }
            }
        }
    }

    /// The producer's transaction ended; its marker is in the log at `marker_offset`. What the log has behind it, or not yet,
    /// belongs to the next transaction. Whether something of that is pending.
    pub(super) fn complete_transaction(
        &mut self,
        producer_id: ProducerId,
        committed: bool,
        marker_offset: Offset,
    ) -> bool {
        let Some(offsets) = self.transactional.remove(&producer_id) else {
            return false;
        };
        let mut next = BTreeMap::new();
        for (partition, stored) in offsets {
            if stored
                .batch_offset
                .is_none_or(|batch_offset| batch_offset > marker_offset)
            {
                next.insert(partition, stored);
            } else if committed {
                self.keep_newer(partition, stored);
            }
        }
        let is_pending = !next.is_empty();
        if is_pending {
            self.transactional.insert(producer_id, next);
        }
        is_pending
    }

    /// Whether the producer has commits pending.
    pub(super) fn is_pending(&self, producer_id: ProducerId) -> bool {
        self.transactional.contains_key(&producer_id)
    }

    /// The producers that have commits pending.
    pub(super) fn transactional_producers(&self) -> impl Iterator<Item = ProducerId> {
        self.transactional.keys().copied()
    }

    fn keep_newer(&mut self, partition: TopicPartition, stored: Stored) {
        if self
            .committed
            .get(&partition)
            .is_none_or(|current| current.is_older_than(&stored))
        {
            self.committed.insert(partition, stored);
        }
    }

    /// Replays one record of the log; `None` is a tombstone.
    pub(super) fn replay(
        &mut self,
        producer_id: Option<ProducerId>,
        partition: TopicPartition,
        stored: Option<Stored>,
    ) {
        let offsets = match producer_id {
            None => &mut self.committed,
            Some(producer_id) => self.transactional.entry(producer_id).or_default(),
        };
        match stored {
            Some(stored) => offsets.insert(partition, stored),
            None => offsets.remove(&partition),
        };
        self.transactional.retain(|_, offsets| !offsets.is_empty());
    }

    pub(super) fn fetch(&self, partition: &TopicPartition, require_stable: bool) -> FetchedOffset {
        if require_stable && self.is_unstable(partition) {
            return FetchedOffset::Unstable;
        }
        match self.committed.get(partition) {
            Some(stored) => FetchedOffset::Committed(stored.value.clone()),
            None => FetchedOffset::None,
        }
    }

    pub(super) fn fetch_all(&self, require_stable: bool) -> Vec<(TopicPartition, FetchedOffset)> {
        let partitions = self.committed.keys();
        partitions
            .map(|partition| (partition.clone(), self.fetch(partition, require_stable)))
            .collect()
    }

    fn is_unstable(&self, partition: &TopicPartition) -> bool {
        self.pending.contains_key(partition)
            || self
                .transactional
                .values()
                .any(|offsets| offsets.contains_key(partition))
    }

    /// Forgets these partitions; returns those that need a tombstone.
    ///
    /// Commits on their way are forgotten too, and get a tombstone behind them: they are already in the log.
    pub(super) fn remove<'a>(
        &mut self,
        partitions: impl IntoIterator<Item = &'a TopicPartition>,
    ) -> Vec<TopicPartition> {
        let mut removed = Vec::new();
        for partition in partitions {
            let pending = self.pending.remove(partition).is_some();
            for offsets in self.transactional.values_mut() {
                offsets.remove(partition);
            }
            let committed = self.committed.remove(partition).is_some();
            if pending || committed {
                removed.push(partition.clone());
            }
        }
        self.transactional.retain(|_, offsets| !offsets.is_empty());
        removed
    }

    /// Forgets everything; returns the partitions that need a tombstone.
    pub(super) fn remove_all(&mut self) -> Vec<TopicPartition> {
        let mut partitions: Vec<_> = self.committed.keys().chain(self.pending.keys()).cloned().collect();
        partitions.sort_unstable();
        partitions.dedup();
        self.transactional.clear();
        self.remove(&partitions)
    }

    /// Forgets what has expired at `now`; returns the partitions, which need a tombstone.
    ///
    /// `base` is the moment from which the broker's retention counts, `None` for the commit's own; an offset that carries its own
    /// expiry obeys that. Offsets with a commit on the way stay, and so does whatever `is_consumed` says.
    pub(super) fn expire(
        &mut self,
        now: Millis,
        retention: Millis,
        base: Option<Millis>,
        is_consumed: impl Fn(&TopicPartition) -> bool,
    ) -> Vec<TopicPartition> {
        let is_expired = |value: &CommittedOffset| match value.expire_timestamp {
            Some(expire) => now >= expire,
            None => now - base.unwrap_or(value.commit_timestamp) >= retention,
        };
        let expired: Vec<_> = self
            .committed
            .iter()
            .filter(|(partition, stored)| {
                !is_consumed(partition) && !self.pending.contains_key(*partition) && is_expired(&stored.value)
            })
            .map(|(partition, _)| partition.clone())
            .collect();
        for partition in &expired {
            self.committed.remove(partition);
        }
        expired
    }
}
