//! Moving a replica to another log directory of this broker: what is asked, and the moment at which the copy takes over.
//!
//! The copying itself is `replication::moves`. Source: Kafka 3.9 `ReplicaManager.alterReplicaLogDirs`,
//! `Partition.maybeReplaceCurrentWithFutureReplica`.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use broker_log::{Log, Logs, MoveError};
use broker_wire::ErrorCode;
use model::TopicPartition;
use tracing::{info, warn};

use super::{FollowChange, FollowError, Lookup, Partition, Partitions, Role};

impl Partitions {
    /// Begins, redirects or cancels moves of replicas to these directories. One answer for each.
    ///
    /// A replica that is there already, or on its way there, is left alone; to be asked to where it is cancels its move. One
    /// that is not created yet will be created there, and is answered REPLICA_NOT_AVAILABLE. Blocking.
    pub fn alter_log_dirs(&self, asked: &[(TopicPartition, PathBuf)]) -> Vec<ErrorCode> {
        let _one_at_a_time = self.state_change.lock();
        let mut begun = Vec::new();
        let answers = asked
            .iter()
            .map(|(partition, dir)| match self.alter_log_dir(partition, dir) {
                Ok(begins) => {
                    begun.extend(begins.then(|| FollowChange::Move(partition.clone())));
                    ErrorCode::None
                }
                Err(code) => code,
            })
            .collect();
        self.follow(begun);
        answers
    }

    /// Whether a move has begun.
    fn alter_log_dir(&self, name: &TopicPartition, dir: &Path) -> Result<bool, ErrorCode> {
        let refused = |error: &MoveError| {
            warn!(partition = %name, %error, "unable to alter the log directory");
            match error {
                MoveError::NameTooLong => ErrorCode::InvalidTopicException,
                MoveError::UnknownDir(_) => ErrorCode::LogDirNotFound,
                MoveError::Offline(_) | MoveError::DirsOffline { .. } | MoveError::Disk(_) => {
                    ErrorCode::KafkaStorageError
                }
            }
        };
        let logs = self.logs();
        logs.check_destination(name, dir).map_err(|error| refused(&error))?;
        let hosted = self.lookup(&name.topic, name.partition);
        if matches!(hosted, Lookup::Offline) {
            warn!(partition = %name, "unable to alter the log directory: the partition is offline");
            return Err(ErrorCode::KafkaStorageError);
        }
        if logs.future(name).is_some_and(|future| future.parent_dir() != dir) {
            info!(partition = %name, to = %dir.display(), "the move to another directory is given up");
            logs.abandon_future(name).map_err(|error| refused(&error.into()))?;
        }
        logs.prefer_dir(name, dir);
        let current = match &hosted {
            Lookup::Online(partition) => partition.log(),
            Lookup::Offline | Lookup::None => None,
        };
        let Some(current) = current else {
            warn!(partition = %name, "the replica is not here yet; it will be created in the directory asked for");
            return Err(ErrorCode::ReplicaNotAvailable);
        };
        if current.parent_dir() == dir || logs.future(name).is_some() {
            return Ok(false);
        }
        logs.create_future(name, current.topic_id(), dir)
            .map_err(|error| refused(&error))?;
        Ok(true)
    }
}

/// What came of an attempt to put a copy in place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Replaced {
    /// It is the log now.
    Yes,
    /// The log was truncated, or the leader epoch has changed, since the copy was compared with it: compare again.
    Changed,
    /// There is no such move any more.
    Gone,
}

impl Partition {
    /// Puts `future` in place of the log, which it was a prefix of at this number of truncations.
    ///
    /// What the log has beyond it is copied by `copy_rest` while nobody can append: a log that is written all the time would
    /// else never be caught. So it is to be called only when little is left.
    ///
    /// # Errors
    /// The rest cannot be copied, or the disk failed; the log is still in place.
    pub fn replace_log(
        &self,
        logs: &Arc<Logs>,
        future: &Arc<Log>,
        truncations: u64,
        copy_rest: impl FnOnce(&Log, &Log) -> Result<(), FollowError>,
    ) -> Result<Replaced, FollowError> {
        {
            let role = self.role.write();
            let Some(current) = self.log.load_full().filter(|_| !matches!(&*role, Role::Unassigned)) else {
                return Ok(Replaced::Gone);
            };
            let is_wanted = logs
                .future(&self.topic_partition)
                .is_some_and(|wanted| Arc::ptr_eq(&wanted, future));
            if !is_wanted {
                return Ok(Replaced::Gone);
            }
            if current.truncations() != truncations || future.log_end_offset() > current.log_end_offset() {
                return Ok(Replaced::Changed);
            }
            copy_rest(&current, future)?;
            if future.log_end_offset() != current.log_end_offset() {
                return Ok(Replaced::Changed);
            }
            let Some(future) = logs.replace_with_future(&self.topic_partition)? else {
                return Ok(Replaced::Gone);
            };
            self.log.store(Some(future));
        }
        self.wake_all();
        Ok(Replaced::Yes)
    }
}
