//! Copies of logs on their way to another log directory (AlterReplicaLogDirs).
//!
//! A copy lies in the destination under a name that ends in `-future`, and is an ordinary log. Once it has all that the
//! log has, the two change places: the copy takes the log's name, then the log's directory is renamed for deletion. A
//! crash before leaves the log as it was and the copy to be gone on with; a crash between the two renames leaves two logs
//! of one name, which a start refuses as Kafka's does, since only a human can say which directory is to be trusted.
//!
//! Does not copy: whoever moves a replica does, and says when the copy is complete.
//!
//! Source: Kafka 3.9 `LogManager.getOrCreateLog`, `replaceCurrentWithFutureLog`, `maybeUpdatePreferredLogDir`.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use model::{TopicId, TopicPartition};

use super::{Dir, Logs, names};
use crate::disk::DiskError;
use crate::log::Log;

/// Why a replica cannot be moved to a directory.
#[derive(Debug, thiserror::Error)]
pub enum MoveError {
    /// → INVALID_TOPIC_EXCEPTION.
    #[error("The topic name is too long.")]
    NameTooLong,
    /// → LOG_DIR_NOT_FOUND.
    #[error("Log dir {} is not found in the config.", .0.display())]
    UnknownDir(PathBuf),
    /// → KAFKA_STORAGE_ERROR.
    #[error("Log directory {} is offline", .0.display())]
    Offline(PathBuf),
    /// → KAFKA_STORAGE_ERROR. A copy might exist already in a directory that cannot be read.
    #[error("Can not create log for {partition} because log directories {} are offline", list(.offline))]
    DirsOffline {
        /// Of which partition.
        partition: TopicPartition,
        /// Which directories.
        offline: Vec<PathBuf>,
    },
    /// → KAFKA_STORAGE_ERROR.
    #[error(transparent)]
    Disk(#[from] DiskError),
}

fn list(dirs: &[PathBuf]) -> String {
    let names: Vec<_> = dirs.iter().map(|dir| dir.display().to_string()).collect();
    names.join(",")
}

impl Logs {
    /// The copy of the log of `partition`, if one is on its way.
    pub fn future(&self, partition: &TopicPartition) -> Option<Arc<Log>> {
        self.future_logs.read().get(partition).cloned()
    }

    /// Whether a replica of `partition` could be moved to `dir` at all.
    ///
    /// # Errors
    /// Why not.
    pub fn check_destination(&self, partition: &TopicPartition, dir: &Path) -> Result<(), MoveError> {
        if !names::future_name_fits(partition) {
            return Err(MoveError::NameTooLong);
        }
        self.online(dir).map(drop)
    }

    fn online(&self, path: &Path) -> Result<&Dir, MoveError> {
        let dir = self.dirs.iter().find(|dir| dir.home.path == path);
        let dir = dir.ok_or_else(|| MoveError::UnknownDir(path.to_owned()))?;
        match dir.home.offline() {
            None => Ok(dir),
            Some(_) => Err(MoveError::Offline(path.to_owned())),
        }
    }

    /// The log of `partition`, when it comes to be created, goes to `dir`. Not remembered over a restart.
    pub fn prefer_dir(&self, partition: &TopicPartition, dir: &Path) {
        let is_there = |log: Option<Arc<Log>>| log.is_some_and(|log| log.parent_dir() == dir);
        if !is_there(self.get(partition)) && !is_there(self.future(partition)) {
            self.preferred_dirs.lock().insert(partition.clone(), dir.to_owned());
        }
    }

    /// Makes an empty copy of the log of `partition` in `dir`; the one that is there already, if there is one.
    ///
    /// # Errors
    /// When the directory, or any other, is offline, or the disk fails.
    pub fn create_future(
        self: &Arc<Self>,
        partition: &TopicPartition,
        topic_id: Option<TopicId>,
        dir: &Path,
    ) -> Result<Arc<Log>, MoveError> {
        let _changing = self.changing.lock();
        self.preferred_dirs.lock().remove(partition);
        if let Some(log) = self.future(partition) {
            return Ok(log);
        }
        let offline: Vec<_> = self
            .dirs
            .iter()
            .filter(|dir| dir.home.offline().is_some())
            .map(|dir| dir.home.path.clone())
            .collect();
        if !offline.is_empty() {
            return Err(MoveError::DirsOffline {
                partition: partition.clone(),
                offline,
            });
        }
        let home = self.online(dir)?.home.clone();
        let log = self.create(partition, topic_id, &home, names::with_suffix(partition, names::FUTURE))?;
        tracing::info!(%partition, dir = %home.path.display(), "created future log");
        self.future_logs.write().insert(partition.clone(), log.clone());
        Ok(log)
    }

    /// Gives a copy up and deletes it; whether there was one.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn abandon_future(self: &Arc<Self>, partition: &TopicPartition) -> Result<bool, DiskError> {
        let _changing = self.changing.lock();
        self.abandon_future_locked(partition)
    }

    pub(super) fn abandon_future_locked(self: &Arc<Self>, partition: &TopicPartition) -> Result<bool, DiskError> {
        let Some(future) = self.future_logs.write().remove(partition) else {
            return Ok(false);
        };
        self.retire_log(&future, names::DELETE)?;
        Ok(true)
    }

    /// The complete copy takes the place of the log, which is deleted; the copy, or `None` if it is gone.
    ///
    /// The caller sees to it that nobody appends meanwhile, and that the copy has all that the log has.
    ///
    /// # Errors
    /// When the copy's disk fails: then the log is still in place. A failure of the log's own disk is no error here, as in
    /// Kafka: the copy is in place by then, and what is left of the log goes with its directory.
    pub fn replace_with_future(self: &Arc<Self>, partition: &TopicPartition) -> Result<Option<Arc<Log>>, DiskError> {
        let _changing = self.changing.lock();
        let (Some(current), Some(future)) = (self.get(partition), self.future(partition)) else {
            return Ok(None);
        };
        assert_eq!(
            future.log_end_offset(),
            current.log_end_offset(),
            "the copy is complete"
        );
        future.rename_dir(&partition.to_string())?;
        future.update_high_watermark(current.high_watermark());
        // A leader announces its epoch before it has a record of it.
        let known = future.latest_epoch();
        for (epoch, start) in current.epoch_starts() {
            if known.is_none_or(|known| epoch > known) {
                future.assign_epoch_start(epoch, start)?;
            }
        }
        self.future_logs.write().remove(partition);
        self.move_cleaned(partition, current.parent_dir(), Some(future.parent_dir()));
        self.logs.write().insert(partition.clone(), future.clone());
        tracing::info!(
            %partition, from = %current.parent_dir().display(), to = %future.parent_dir().display(),
            "the future log has replaced the current one"
        );
        if let Err(error) = self.retire_log(&current, names::DELETE) {
            tracing::error!(%partition, %error, "the log that was moved away cannot be marked for deletion");
        }
        self.rewrite_checkpoints_soon(future.parent_dir());
        Ok(Some(future))
    }
}
