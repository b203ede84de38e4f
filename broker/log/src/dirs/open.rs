//! Opening the directories at start: locks, clean marks, checkpoints, and all logs, in parallel.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock, Weak};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use model::{BrokerEpoch, Millis, Offset, TopicPartition};
use parking_lot::{Mutex, RwLock};

use super::names::{self, Named};
use super::{Dir, Failures, Logs, LogsConfig, OpenError, resolve};
use crate::checkpoint;
use crate::clean_shutdown;
use crate::cleaner::Cleaner;
use crate::config::LogConfig;
use crate::dir_lock::{self, DirLock};
use crate::disk::DiskError;
use crate::log::{Home, Load, Loaded, Log, Shared};
use crate::scheduler::Scheduler;

impl Logs {
    /// Locks the directories, loads (after an unclean stop: recovers) their logs, and starts the background work.
    ///
    /// A directory that cannot be used is offline from the start; see [`Logs::dirs`] and [`Logs::on_failure`].
    ///
    /// # Errors
    /// When no directory can be used, or when what is in them contradicts itself.
    pub fn open(config: LogsConfig) -> Result<Arc<Self>, OpenError> {
        let shared = Arc::new(Shared {
            disk: config.disk.clone(),
            scheduler: Scheduler::new(config.background_threads),
            clock: Arc::new(system_clock),
            producer_id_expiration_ms: AtomicI64::new(config.producer_id_expiration_ms.0),
            max_transaction_timeout_ms: config.max_transaction_timeout_ms,
            verify_transactions: AtomicBool::new(config.verify_transactions),
        });
        let owner: Arc<OnceLock<Weak<Self>>> = Arc::default();
        let mut dirs = Vec::new();
        let mut seen = HashSet::new();
        for path in &config.dirs {
            let home = home(&shared, &owner, path);
            let lock = prepare(&shared, &home, &mut seen)?;
            dirs.push(Dir {
                home,
                lock: Mutex::new(lock),
                rewriting: AtomicBool::new(false),
                high_watermarks: Mutex::default(),
                unsynced: Mutex::default(),
                cleaned: Mutex::default(),
                checkpoints: Mutex::new(()),
            });
        }
        none_left(&dirs)?;

        let started = Instant::now();
        let opened: Vec<Result<Opened, OpenError>> = std::thread::scope(|scope| {
            let running: Vec<_> = dirs
                .iter()
                .map(|dir| scope.spawn(|| open_dir(&shared, &dir.home, &config)))
                .collect();
            running
                .into_iter()
                .map(|thread| match thread.join() {
                    Ok(opened) => opened,
                    Err(panic) => std::panic::resume_unwind(panic),
                })
                .collect()
        });
        none_left(&dirs)?;
        let mut logs: hashbrown::HashMap<TopicPartition, Arc<Log>> = hashbrown::HashMap::new();
        let mut future_logs = hashbrown::HashMap::new();
        let mut deleted = Vec::new();
        let mut epochs = HashSet::new();
        for (opened, dir) in opened.into_iter().zip(&dirs) {
            let opened = opened?;
            if dir.home.offline().is_some() {
                continue;
            }
            *dir.cleaned.lock() = opened.cleaned;
            epochs.insert(opened.clean.unwrap_or(BrokerEpoch::NONE));
            deleted.extend(opened.deleted);
            for log in opened.logs {
                let partition = log.topic_partition().clone();
                if let Some(other) = logs.insert(partition.clone(), log.clone()) {
                    return Err(OpenError::DuplicateLog {
                        partition,
                        first: other.dir().to_path_buf(),
                        second: log.dir().to_path_buf(),
                    });
                }
            }
            for log in opened.future_logs {
                future_logs.insert(log.topic_partition().clone(), log);
            }
        }
        tracing::info!(
            logs = logs.len(),
            took_ms = started.elapsed().as_millis() as u64,
            "logs loaded"
        );
        let previous_broker_epoch = match epochs.into_iter().collect::<Vec<_>>()[..] {
            [epoch] => epoch,
            _ => BrokerEpoch::NONE,
        };
        let this = Arc::new(Self {
            shared,
            dirs,
            logs: RwLock::new(logs),
            future_logs: RwLock::new(future_logs),
            preferred_dirs: Mutex::default(),
            changing: Mutex::new(()),
            defaults: ArcSwap::from_pointee(config.defaults.clone()),
            overrides: RwLock::new(config.topic_overrides.clone()),
            previous_broker_epoch,
            failures: Mutex::new(Failures::default()),
            recovery_threads_per_dir: AtomicUsize::new(config.recovery_threads_per_dir.max(1)),
            cleaner: Cleaner::new(config.cleaner.clone()),
            stopped: AtomicBool::new(false),
        });
        // From here on a failure is told; those before are made up for.
        let _ = owner.set(Arc::downgrade(&this));
        for dir in &this.dirs {
            if let Some(reason) = dir.home.offline() {
                this.dir_failed(&dir.home.path, reason);
            }
        }
        for dir in deleted {
            this.remove_later(dir, config.defaults.file_delete_delay_ms);
        }
        this.start_background(&config);
        this.start_cleaner();
        Ok(this)
    }
}

/// A directory as its logs see it; its failure is told to the table of logs on a thread of its own, since whoever
/// notices it may hold a log's lock.
fn home(shared: &Arc<Shared>, owner: &Arc<OnceLock<Weak<Logs>>>, path: &Path) -> Arc<Home> {
    let (scheduler, owner, dir) = (shared.scheduler.clone(), owner.clone(), path.to_owned());
    Home::new(path.to_owned(), move |reason| {
        let Some(logs) = owner.get().cloned() else { return };
        let (dir, reason) = (dir.clone(), reason.to_owned());
        scheduler.soon(move || {
            if let Some(logs) = logs.upgrade() {
                logs.dir_failed(&dir, &reason);
            }
        });
    })
}

/// Makes the directory and locks it. One that cannot be used is offline.
fn prepare(shared: &Shared, home: &Home, seen: &mut HashSet<PathBuf>) -> Result<Option<DirLock>, OpenError> {
    let lock = shared.disk.create_dir(&home.path).and_then(|()| {
        if let Ok(canonical) = home.path.canonicalize()
            && !seen.insert(canonical)
        {
            return Ok(Err(OpenError::Duplicate(home.path.clone())));
        }
        // A directory that cannot be listed is of no use.
        shared.disk.list(&home.path)?;
        match dir_lock::lock(&shared.disk, &home.path)? {
            Some(lock) => Ok(Ok(lock)),
            None => Ok(Err(OpenError::Locked(home.path.clone()))),
        }
    });
    match lock {
        Ok(Ok(lock)) => Ok(Some(lock)),
        Ok(Err(refused)) => Err(refused),
        Err(error) => {
            home.fail(&error);
            Ok(None)
        }
    }
}

fn none_left(dirs: &[Dir]) -> Result<(), OpenError> {
    if dirs.iter().all(|dir| dir.home.offline().is_some()) {
        return Err(OpenError::NoUsableDir(
            dirs.iter().map(|dir| dir.home.path.clone()).collect(),
        ));
    }
    Ok(())
}

#[derive(Default)]
struct Opened {
    logs: Vec<Arc<Log>>,
    future_logs: Vec<Arc<Log>>,
    deleted: Vec<PathBuf>,
    /// `cleaner-offset-checkpoint`
    cleaned: hashbrown::HashMap<TopicPartition, Offset>,
    clean: Option<BrokerEpoch>,
}

/// Loads the logs of one directory. A disk that fails takes it offline; only contradictions end the start.
fn open_dir(shared: &Arc<Shared>, home: &Arc<Home>, config: &LogsConfig) -> Result<Opened, OpenError> {
    if home.offline().is_some() {
        return Ok(Opened::default());
    }
    let names = match shared.disk.list(&home.path) {
        Ok(names) => names,
        Err(error) => {
            home.fail(&error);
            return Ok(Opened::default());
        }
    };
    let mut opened = Opened::default();
    let mut to_load = Vec::new();
    for (name, _) in names.into_iter().filter(|(_, is_dir)| *is_dir) {
        if name == REMOTE_LOG_INDEX_CACHE || name == CLUSTER_METADATA {
            continue;
        }
        match names::parse(&name) {
            Some(Named::Log(partition)) => to_load.push((name, partition, false)),
            Some(Named::Future(partition)) => to_load.push((name, partition, true)),
            Some(Named::Deleted(_)) => opened.deleted.push(home.path.join(name)),
            Some(Named::Stray(partition)) => {
                tracing::warn!(%partition, dir = %name, "found a stray log directory, leaving it alone");
            }
            None => {
                return Err(OpenError::ForeignDirectory {
                    path: home.path.join(&name),
                    name,
                });
            }
        }
    }
    let loaded = checkpoint::read(&shared.disk, &home.path, checkpoint::CLEANER_OFFSET)
        .and_then(|cleaned| Ok((cleaned, load_all(shared, home, config, to_load)?)));
    match loaded {
        Ok((cleaned, (clean, loaded))) => {
            opened.cleaned = cleaned;
            opened.clean = clean;
            for (log, is_future) in loaded {
                if is_future {
                    opened.future_logs.push(log);
                } else {
                    opened.logs.push(log);
                }
            }
        }
        Err(error) => home.fail(&error),
    }
    Ok(opened)
}

/// Tiered storage's and KRaft's own directories are none of ours, and no error either.
const REMOTE_LOG_INDEX_CACHE: &str = "remote-log-index-cache";
const CLUSTER_METADATA: &str = "__cluster_metadata-0";

/// How often a long recovery says how far it is.
const PROGRESS_EVERY: Duration = Duration::from_secs(2);

type LoadedLogs = (Option<BrokerEpoch>, Vec<(Arc<Log>, bool)>);

fn load_all(
    shared: &Arc<Shared>,
    home: &Arc<Home>,
    config: &LogsConfig,
    to_load: Vec<(String, TopicPartition, bool)>,
) -> Result<LoadedLogs, DiskError> {
    let disk = &shared.disk;
    // The mark goes before the first log is touched: a crash while loading is not a clean stop.
    let clean = clean_shutdown::take(disk, &home.path)?;
    let read = |name| checkpoint::read(disk, &home.path, name);
    let recovery_points = read(checkpoint::RECOVERY_POINT)?;
    let log_starts = read(checkpoint::LOG_START_OFFSET)?;
    let high_watermarks = read(checkpoint::HIGH_WATERMARK)?;
    let total = to_load.len();
    if total == 0 {
        return Ok((clean, Vec::new()));
    }
    if clean.is_none() {
        tracing::info!(
            dir = %home.path.display(),
            logs = total,
            "recovering logs since no clean shutdown file was found"
        );
    } else {
        tracing::info!(dir = %home.path.display(), logs = total, "skipping recovery since clean shutdown file was found");
    }
    let started = Instant::now();
    let (next, done, recovered, truncated) = (
        AtomicUsize::new(0),
        AtomicUsize::new(0),
        AtomicUsize::new(0),
        AtomicI64::new(0),
    );
    let last_progress = Mutex::new(started);
    let loaded: Mutex<Vec<(Arc<Log>, bool)>> = Mutex::new(Vec::with_capacity(total));
    let offset_in = |offsets: &hashbrown::HashMap<TopicPartition, Offset>, partition: &TopicPartition| {
        offsets.get(partition).copied().unwrap_or(Offset::ZERO)
    };
    let work = || {
        while let Some((name, partition, is_future)) = to_load.get(next.fetch_add(1, Ordering::Relaxed)) {
            if home.offline().is_some() {
                return;
            }
            let load = Load {
                partition: partition.clone(),
                config: config_of(config, &partition.topic),
                name: name.clone(),
                log_start_offset: offset_in(&log_starts, partition),
                recovery_point: offset_in(&recovery_points, partition),
                high_watermark: offset_in(&high_watermarks, partition),
                clean: clean.is_some(),
                new: None,
            };
            match Log::load(shared, home, load) {
                Ok(Loaded {
                    log,
                    recovered_segments,
                    truncated_bytes,
                    unsynced: _,
                }) => {
                    recovered.fetch_add(recovered_segments, Ordering::Relaxed);
                    truncated.fetch_add(truncated_bytes as i64, Ordering::Relaxed);
                    loaded.lock().push((log, *is_future));
                }
                Err(error) => home.fail(&error),
            }
            let done = done.fetch_add(1, Ordering::Relaxed) + 1;
            let mut last = last_progress.lock();
            if last.elapsed() >= PROGRESS_EVERY {
                *last = Instant::now();
                let verb = if clean.is_some() { "loaded" } else { "recovered" };
                tracing::info!("{verb} {done} of {total} logs in dir {}", home.path.display());
            }
        }
    };
    let threads = config.recovery_threads_per_dir.max(1).min(total);
    std::thread::scope(|scope| {
        for _ in 1..threads {
            scope.spawn(work);
        }
        work();
    });
    tracing::info!(
        dir = %home.path.display(),
        recovered_segments = recovered.into_inner(),
        truncated_bytes = truncated.into_inner(),
        took_ms = started.elapsed().as_millis() as u64,
        "loaded {} of {total} logs",
        loaded.lock().len(),
    );
    Ok((clean, loaded.into_inner()))
}

fn config_of(config: &LogsConfig, topic: &str) -> LogConfig {
    match config.topic_overrides.get(topic) {
        None => config.defaults.clone(),
        Some(overrides) => resolve(&config.defaults, topic, overrides),
    }
}

fn system_clock() -> Millis {
    let since_epoch = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap_or_default();
    Millis(since_epoch.as_millis() as i64)
}
