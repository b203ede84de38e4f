//! Reading from a partition: which records a fetch may see, and offsets by timestamp.

use std::sync::Arc;

use broker_log::{AbortedTransaction, EpochEnd, FileSlice, Log, TimestampOffset};
use model::{BrokerEpoch, BrokerId, LeaderEpoch, Millis, Offset};

use super::{FollowerFetch, Partition, PartitionError, ReplicaSettings, Role};
use crate::fetch_session::PartitionFetch;

/// Up to where a reader may see.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Isolation {
    /// A follower: everything.
    LogEnd,
    /// `read_uncommitted`: what is replicated.
    HighWatermark,
    /// `read_committed`: what is replicated and not in an open transaction.
    Committed,
}

/// How a fetch wants to read one partition.
#[derive(Clone, Copy, Debug)]
pub struct ReadSpec {
    /// What the fetcher asks.
    pub fetch: PartitionFetch,
    /// Up to where it may see.
    pub isolation: Isolation,
    /// The fetching follower and its broker epoch.
    pub follower: Option<(BrokerId, BrokerEpoch)>,
    /// Whether a follower here must not answer (followers' fetches, old clients).
    pub only_leader: bool,
    /// At most so many bytes, already cut to what is left of the whole fetch.
    pub max_bytes: usize,
    /// Whether the fetch tells how far the follower has come. Not when a fetch that waited looks again: it is as old as
    /// its first look. Source: Kafka 3.9 `DelayedFetch`, `updateFetchState`.
    pub record: bool,
    /// Return the first batch whole even if it is larger.
    pub min_one_batch: bool,
}

/// What a read found.
#[derive(Debug)]
pub struct Read {
    /// The records; `None` where there are none.
    pub slice: Option<FileSlice>,
    /// The high watermark.
    pub high_watermark: Offset,
    /// The last stable offset.
    pub last_stable_offset: Offset,
    /// The log start offset.
    pub log_start_offset: Offset,
    /// The follower's log has diverged: it must truncate to here first.
    pub diverging: Option<EpochEnd>,
    /// For `read_committed`: the aborted transactions among the records.
    pub aborted: Option<Vec<AbortedTransaction>>,
    /// The consumer is to read from this replica instead; there are no records.
    pub preferred_read_replica: Option<BrokerId>,
}

impl Read {
    /// Bytes of records found.
    pub fn bytes(&self) -> usize {
        self.slice.as_ref().map_or(0, |slice| slice.len)
    }
}

impl Partition {
    /// Reads for a fetch; a follower's fetch is recorded and may move the high watermark.
    ///
    /// # Errors
    /// As the epochs, the role and the log say.
    pub fn read(&self, spec: &ReadSpec, settings: &ReplicaSettings, now: Millis) -> Result<Read, PartitionError> {
        let (mut read, leader_end) = {
            let role = self.role.read();
            let log = self.log_for(&role, spec.fetch.current_leader_epoch, spec.only_leader)?;
            if let (Some((replica, _)), Role::Leader(leading)) = (spec.follower, &*role)
                && !leading.state().followers.contains_key(&replica)
            {
                return Err(self.unknown_follower(replica, spec.fetch.current_leader_epoch, leading.leader_epoch));
            }
            let leader_end = log.log_end_offset();
            (self.read_log(&log, spec)?, leader_end)
        };
        match spec.follower {
            Some((replica, broker_epoch)) if spec.record && read.diverging.is_none() => {
                self.record_fetch(
                    &FollowerFetch {
                        replica,
                        fetch_offset: spec.fetch.fetch_offset,
                        log_start_offset: spec.fetch.log_start_offset,
                        broker_epoch,
                        leader_end,
                        at: now,
                    },
                    settings,
                )?;
                // The follower may learn at once what its own fetch has committed.
                if let Some(log) = self.log.load().as_ref() {
                    read.high_watermark = log.high_watermark();
                }
            }
            _ => {}
        }
        Ok(read)
    }

    fn unknown_follower(&self, replica: BrokerId, asked: LeaderEpoch, current: LeaderEpoch) -> PartitionError {
        let partition = self.topic_partition.clone();
        // A follower that says its epoch is told to wait for the leader to learn of it; an old one, that it is no replica.
        if asked >= LeaderEpoch(0) {
            PartitionError::UnknownLeaderEpoch {
                partition,
                asked,
                current,
                replica,
            }
        } else {
            PartitionError::NotLeader(partition)
        }
    }

    fn read_log(&self, log: &Log, spec: &ReadSpec) -> Result<Read, PartitionError> {
        // Taken before the read, so that what is told is never more than what could be read.
        let high_watermark = log.high_watermark();
        let last_stable_offset = log.last_stable_offset();
        let mut read = Read {
            slice: None,
            high_watermark,
            last_stable_offset,
            log_start_offset: log.log_start_offset(),
            diverging: None,
            aborted: None,
            preferred_read_replica: None,
        };
        if spec.fetch.last_fetched_epoch >= LeaderEpoch(0) {
            let end = log
                .end_offset_for_epoch(spec.fetch.last_fetched_epoch)
                .ok_or_else(|| PartitionError::UnknownFetchedEpoch(self.topic_partition.clone()))?;
            if end.leader_epoch < spec.fetch.last_fetched_epoch || end.end_offset < spec.fetch.fetch_offset {
                read.diverging = Some(end);
                return Ok(read);
            }
        }
        let limit = match spec.isolation {
            Isolation::LogEnd => log.log_end_offset(),
            Isolation::HighWatermark => high_watermark,
            Isolation::Committed => last_stable_offset,
        };
        let slice = log.read(spec.fetch.fetch_offset, spec.max_bytes, limit, spec.min_one_batch)?;
        if spec.isolation == Isolation::Committed {
            read.aborted = Some(if slice.is_empty() {
                Vec::new()
            } else {
                let upper = log.upper_bound_offset(spec.fetch.fetch_offset, &slice)?;
                log.aborted_transactions(spec.fetch.fetch_offset, upper)?
            });
        }
        read.slice = Some(slice).filter(|slice| !slice.is_empty());
        Ok(read)
    }

    /// The high watermark or log end offset that a reader of this isolation may go to (ListOffsets −1).
    ///
    /// # Errors
    /// As the epochs and the role say; [`PartitionError::OffsetNotAvailable`] while a new leader has not learnt what
    /// is committed.
    pub fn latest_offset(
        &self,
        asked: LeaderEpoch,
        isolation: Isolation,
        only_leader: bool,
    ) -> Result<(Offset, LeaderEpoch), PartitionError> {
        let role = self.role.read();
        let log = self.log_for(&role, asked, only_leader)?;
        self.check_available(&role, &log, isolation)?;
        Ok((last_fetchable(&log, isolation), role.leader_epoch()))
    }

    /// The first record at or after `timestamp` that a reader of this isolation may see.
    ///
    /// # Errors
    /// As for [`Self::latest_offset`].
    pub fn offset_for_timestamp(
        &self,
        timestamp: Millis,
        asked: LeaderEpoch,
        isolation: Isolation,
        only_leader: bool,
    ) -> Result<Option<TimestampOffset>, PartitionError> {
        self.offset_by(asked, isolation, only_leader, |log| log.offset_for_timestamp(timestamp))
    }

    /// The record with the largest timestamp that a reader of this isolation may see.
    ///
    /// # Errors
    /// As for [`Self::latest_offset`].
    pub fn max_timestamp_offset(
        &self,
        asked: LeaderEpoch,
        isolation: Isolation,
        only_leader: bool,
    ) -> Result<Option<TimestampOffset>, PartitionError> {
        self.offset_by(asked, isolation, only_leader, Log::max_timestamp_offset)
    }

    fn offset_by(
        &self,
        asked: LeaderEpoch,
        isolation: Isolation,
        only_leader: bool,
        look_up: impl FnOnce(&Log) -> Result<Option<TimestampOffset>, broker_log::ReadError>,
    ) -> Result<Option<TimestampOffset>, PartitionError> {
        let (log, available, limit): (Arc<Log>, _, _) = {
            let role = self.role.read();
            let log = self.log_for(&role, asked, only_leader)?;
            let available = self.check_available(&role, &log, isolation);
            let limit = last_fetchable(&log, isolation);
            (log, available, limit)
        };
        match look_up(&log)?.filter(|found| found.offset < limit) {
            Some(found) => Ok(Some(found)),
            None => available.map(|()| None),
        }
    }

    /// The log start offset (ListOffsets −2) and the epoch of the record there.
    ///
    /// # Errors
    /// As the epochs and the role say.
    pub fn earliest_offset(
        &self,
        asked: LeaderEpoch,
        only_leader: bool,
    ) -> Result<(Offset, LeaderEpoch), PartitionError> {
        let role = self.role.read();
        let log = self.log_for(&role, asked, only_leader)?;
        let start = log.log_start_offset();
        Ok((start, log.epoch_for_offset(start).unwrap_or(LeaderEpoch::NONE)))
    }

    fn check_available(&self, role: &Role, log: &Log, isolation: Isolation) -> Result<(), PartitionError> {
        let lagging = Self::epoch_start(role).is_some_and(|start| start > log.high_watermark());
        if isolation != Isolation::LogEnd && lagging {
            return Err(PartitionError::OffsetNotAvailable(self.topic_partition.clone()));
        }
        Ok(())
    }
}

fn last_fetchable(log: &Log, isolation: Isolation) -> Offset {
    match isolation {
        Isolation::LogEnd => log.log_end_offset(),
        Isolation::HighWatermark => log.high_watermark(),
        Isolation::Committed => log.last_stable_offset(),
    }
}
