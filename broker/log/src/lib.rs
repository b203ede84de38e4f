//! The log of a partition, and the directories that hold logs: Kafka 3.9's files, to the byte.
//!
//! Blocking, without a runtime, a network or ZooKeeper. [`Log`] is one partition, [`Logs`] all of a broker's
//! partitions over several `log.dirs`. What may be appended is decided in pure code ([`append`], [`batch`],
//! [`compress`], [`producer`]); what is written where is decided in [`mod@log`] and done through one narrow port,
//! [`disk`], so that a test can make any write fail or tear.
//!
//! Invariants: `log_start_offset <= high_watermark <= log_end_offset`; a record is visible to readers only once it is
//! wholly in its file; readers never take the append lock.

pub mod append;
pub mod batch;
pub mod compress;
pub mod convert;
pub mod producer;

pub mod checkpoint;
pub mod clean_shutdown;
pub mod cleaner;
pub mod config;
#[cfg(test)]
mod damage;
pub mod dir_lock;
pub mod dirs;
pub mod disk;
mod index;
pub mod leader_epoch;
pub mod log;
pub mod meta_properties;
pub mod partition_metadata;
mod scheduler;
mod segment;
#[cfg(test)]
mod testing;

pub use cleaner::{CleanerConfig, CleanerStatus, Uncleanable};
pub use config::LogConfig;
pub use dirs::{DirFailure, DirStatus, LogSize, Logs, LogsConfig, MoveError, OpenError, ShutdownReport};
pub use disk::{Disk, DiskError};
pub use log::{
    AbortedTransaction, ActiveProducer, AppendError, Appended, EpochEnd, FileSlice, Log, ReadError, TimestampOffset,
};
