//! A follower's log: what was fetched is appended, what has left the leader's log is cut off.
//!
//! Decides nothing about offsets: `broker_replica::follower` does. Everything here holds the role's lock and checks
//! that this broker still follows at the leader epoch of the fetch, so that nothing fetched from an old leader reaches the
//! log of a new one, or of a follower of another. Consumers see nothing past the high watermark, which is the leader's
//! as far as this log reaches.
//!
//! Source: Kafka 3.9 `ReplicaFetcherThread.processPartitionData`, `truncate`,
//! `Partition.appendRecordsToFollowerOrFutureReplica`.

use std::sync::Arc;

use broker_log::append::AppendError as Refusal;
use broker_log::{AppendError, Appended, DiskError, Log};
use broker_replica::follower::Truncation;
use bytes::Bytes;
use model::{BrokerId, LeaderEpoch, Millis, Offset, TopicId, TopicPartition};
use tracing::{info, warn};

use super::{Partition, Role};

/// What a follower has fetched of one partition.
#[derive(Clone, Debug)]
pub struct Fetched {
    /// Of the leader it came from, as the fetch said.
    pub leader_epoch: LeaderEpoch,
    /// From where on it was fetched: where the log must end.
    pub fetch_offset: Offset,
    /// Whole batches, the last one may be cut.
    pub records: Bytes,
    /// The leader's.
    pub high_watermark: Offset,
    /// The leader's.
    pub log_start_offset: Offset,
}

/// Why a follower's log was not changed.
#[derive(Debug, thiserror::Error)]
pub enum FollowError {
    /// The controller has said something else since: what was fetched is dropped.
    #[error("{0} is not followed at this leader epoch any more")]
    Superseded(TopicPartition),
    /// The fetch and the log do not fit together.
    #[error("offset mismatch for {partition}: fetched from {fetch_offset}, log end offset is {log_end_offset}")]
    OffsetMismatch {
        /// Of which partition.
        partition: TopicPartition,
        /// Fetched from.
        fetch_offset: Offset,
        /// The log ends at.
        log_end_offset: Offset,
    },
    /// As the log says.
    #[error(transparent)]
    Append(#[from] AppendError),
    /// As the log says.
    #[error(transparent)]
    Disk(#[from] DiskError),
}

impl FollowError {
    /// The bytes are bad, perhaps only this time: they are worth fetching again.
    pub fn is_corrupt(&self) -> bool {
        matches!(
            self,
            Self::Append(AppendError::Refused(
                Refusal::Framing(_)
                    | Refusal::Corrupt { .. }
                    | Refusal::InvalidRequest(_)
                    | Refusal::InvalidRecord(_)
                    | Refusal::RecordsRejected { .. }
            ))
        )
    }
}

/// What became of what was fetched.
#[derive(Clone, Debug)]
pub struct FollowerAppended {
    /// What was appended; `None` when there was nothing to append.
    pub appended: Option<Appended>,
    /// The log start offset has followed the leader's.
    pub log_start_moved: bool,
}

/// A partition begins or ceases to be copied from another broker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FollowChange {
    /// It has this leader now, at this epoch.
    Follow {
        /// Which partition.
        partition: TopicPartition,
        /// Its topic's id, if known.
        topic_id: Option<TopicId>,
        /// Whom to fetch from; −1: nobody leads.
        leader: BrokerId,
        /// Of that leader.
        leader_epoch: LeaderEpoch,
    },
    /// It is led here, stopped, deleted or offline.
    Cease(TopicPartition),
    /// It has a copy on its way to another log directory: the move begins or goes on.
    Move(TopicPartition),
}

impl Partition {
    /// The log, if this broker follows at `leader_epoch`; nothing changes that while `role` is locked.
    fn followed_log(&self, role: &Role, leader_epoch: LeaderEpoch) -> Result<Arc<Log>, FollowError> {
        match (role, self.log()) {
            (Role::Follower(follower), Some(log)) if follower.leader_epoch == leader_epoch => Ok(log),
            _ => Err(FollowError::Superseded(self.topic_partition.clone())),
        }
    }

    /// Appends what was fetched, and takes over the leader's high watermark and log start offset.
    ///
    /// # Errors
    /// Nothing was appended.
    pub fn append_as_follower(&self, fetched: Fetched, now: Millis) -> Result<FollowerAppended, FollowError> {
        let (appended, moved) = {
            let role = self.role.read();
            let log = &*self.followed_log(&role, fetched.leader_epoch)?;
            let log_end_offset = log.log_end_offset();
            if fetched.fetch_offset != log_end_offset {
                return Err(FollowError::OffsetMismatch {
                    partition: self.topic_partition.clone(),
                    fetch_offset: fetched.fetch_offset,
                    log_end_offset,
                });
            }
            // Most answers of a quiet leader have no records, and none needs the append lock then.
            let appended = match fetched.records.is_empty() {
                true => None,
                false => append_fetched(log, fetched.records, fetched.leader_epoch, now)?,
            };
            let moved = log.update_high_watermark(fetched.high_watermark);
            let start = fetched.log_start_offset.min(log.high_watermark());
            let log_start_moved = start > log.log_start_offset();
            if log_start_moved && let Err(error) = log.delete_records_before(start) {
                warn!(partition = %self.topic_partition, %error, "the leader's log start offset is not taken over");
            }
            let appended = FollowerAppended {
                appended,
                log_start_moved,
            };
            (appended, moved)
        };
        if moved {
            // Consumers that read from this follower: each looks again, since nobody knows what it lacks.
            self.consumer_fetches.wake_all();
        }
        Ok(appended)
    }

    /// Cuts the log as the leader's answers demand.
    ///
    /// # Errors
    /// Superseded, or the disk failed.
    pub fn truncate_as_follower(&self, truncation: &Truncation, leader_epoch: LeaderEpoch) -> Result<(), FollowError> {
        // No append may lie between its look at the log's end and its write now: it would leave a hole.
        let role = self.role.write();
        let log = self.followed_log(&role, leader_epoch)?;
        let high_watermark = log.high_watermark();
        let partition = &self.topic_partition;
        match *truncation {
            Truncation::To { offset, .. } => {
                if offset < high_watermark {
                    warn!(%partition, %offset, %high_watermark, "truncating below the high watermark");
                }
                log.truncate_to(offset)?;
            }
            Truncation::FullyAndStartAt { offset } => {
                info!(%partition, %offset, "truncating fully: the leader's log starts past the end of this one");
                log.truncate_fully_and_start_at(offset)?;
            }
        }
        Ok(())
    }
}

/// Appends; an empty log begins anew at the first offset fetched, if the records reach back before its start.
///
/// The leader's log start offset may lie within a batch, which is fetched whole. Source: Kafka
/// `UnexpectedAppendOffsetException` in `appendRecordsToFollowerOrFutureReplica`.
pub(crate) fn append_fetched(
    log: &Log,
    records: Bytes,
    leader_epoch: LeaderEpoch,
    now: Millis,
) -> Result<Option<Appended>, FollowError> {
    let appended = match log.append_as_follower(records.clone(), leader_epoch, now) {
        Err(AppendError::Refused(Refusal::UnexpectedOffset {
            first_offset,
            last_offset,
            log_end_offset,
        })) if log.log_start_offset() == log_end_offset
            && first_offset < log_end_offset
            && last_offset >= log_end_offset =>
        {
            warn!(
                partition = %log.topic_partition(), %first_offset, %log_end_offset,
                "the records fetched begin before the start of the empty log: it begins anew there"
            );
            log.truncate_fully_and_start_at(first_offset)?;
            log.append_as_follower(records, leader_epoch, now)?
        }
        other => other?,
    };
    Ok(Some(appended).filter(|appended| !appended.is_empty()))
}

#[cfg(test)]
#[path = "follower_tests.rs"]
mod tests;
