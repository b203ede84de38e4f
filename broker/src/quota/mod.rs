//! Quotas: how much of something may happen in a second.
//!
//! `replication`: throttles of followers that copy, of leaders that send to them, and of moves between directories.

mod rate;
mod replication;

pub use rate::SampledRate;
pub use replication::{ReplicationQuota, ReplicationQuotas, Throttled};
