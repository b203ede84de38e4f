//! Stopping in order: what runs ends, every log is closed and synced, the checkpoints say so, and last the clean mark.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use model::BrokerEpoch;

use super::{Dir, Logs, ShutdownReport};
use crate::clean_shutdown;
use crate::disk::DiskError;
use crate::log::Log;

/// Up to so many logs are synced one by one; more by one sync of the file system, since a thousand logs would wait for
/// several thousand syncs.
const SYNCED_ONE_BY_ONE: usize = 16;

impl Logs {
    /// Ends the background work, closes and flushes all logs, writes the checkpoints and the clean mark, and unlocks.
    /// Later appends are refused. A second call does nothing.
    ///
    /// Source: Kafka `LogManager.shutdown`.
    pub fn shutdown(&self, broker_epoch: BrokerEpoch) -> ShutdownReport {
        let mut report = ShutdownReport::default();
        if self.stopped.swap(true, Ordering::AcqRel) {
            return report;
        }
        self.cleaner.stop();
        self.shared.scheduler.stop();
        // Nobody creates or deletes any more.
        let _changing = self.changing.lock();
        let results: Vec<(usize, Result<(), String>)> = std::thread::scope(|scope| {
            let running: Vec<_> = self
                .dirs
                .iter()
                .enumerate()
                .map(|(at, dir)| (at, scope.spawn(|| self.stop_dir(dir, broker_epoch))))
                .collect();
            running
                .into_iter()
                .map(|(at, thread)| (at, thread.join().unwrap_or_else(|_| Err("it panicked".to_owned()))))
                .collect()
        });
        for (at, result) in results {
            let dir = &self.dirs[at];
            match result {
                Ok(()) => report.clean.push(dir.home.path.clone()),
                Err(reason) => {
                    tracing::error!(dir = %dir.home.path.display(), %reason, "log directory was not closed cleanly");
                    report.unclean.push((dir.home.path.clone(), reason));
                }
            }
            dir.lock.lock().take();
        }
        report
    }

    fn stop_dir(&self, dir: &Dir, broker_epoch: BrokerEpoch) -> Result<(), String> {
        if let Some(reason) = dir.home.offline() {
            return Err(reason.to_owned());
        }
        let logs = self.logs_in(&dir.home);
        let closed = self
            .close_all(dir, &logs)
            .and_then(|()| self.write_recovery_points(dir))
            .and_then(|()| self.write_log_starts(dir))
            .and_then(|()| self.write_high_watermarks(dir))
            .and_then(|()| self.write_cleaned_at_stop(dir));
        if let Err(error) = closed {
            return Err(error.to_string());
        }
        if let Some(reason) = dir.home.offline() {
            return Err(reason.to_owned());
        }
        clean_shutdown::put(&self.shared.disk, &dir.home.path, broker_epoch).map_err(|error| error.to_string())
    }

    fn close_all(&self, dir: &Dir, logs: &[Arc<Log>]) -> Result<(), DiskError> {
        let one_by_one = logs.len() <= SYNCED_ONE_BY_ONE;
        let next = AtomicUsize::new(0);
        let failed = parking_lot::Mutex::new(None);
        let work = || {
            while let Some(log) = logs.get(next.fetch_add(1, Ordering::Relaxed)) {
                let closed = log.close();
                let synced = if one_by_one {
                    closed.and_then(|()| log.sync_closed())
                } else {
                    closed
                };
                if let Err(error) = synced {
                    failed.lock().get_or_insert(error);
                }
            }
        };
        let threads = self.recovery_threads_per_dir.load(Ordering::Relaxed).min(logs.len());
        std::thread::scope(|scope| {
            for _ in 1..threads {
                scope.spawn(work);
            }
            work();
        });
        if let Some(error) = failed.into_inner() {
            return Err(error);
        }
        if !one_by_one {
            self.shared.disk.sync_file_system(&dir.home.path)?;
        }
        logs.iter().for_each(|log| log.closed_and_synced());
        Ok(())
    }
}
