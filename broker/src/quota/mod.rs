//! Quotas: how much of something may happen in a second.
//!
//! `replication`: throttles of followers that copy, of leaders that send to them, and of moves between directories.
//! `client`: what users and client ids may produce, fetch, and otherwise ask for. `connections`: how many connections
//! there may be, and how many new ones a second.

mod bucket;
mod client;
mod connections;
mod counted;
mod limits;
mod pace;
mod rate;
mod replication;
mod request_time;
mod window;

pub use client::{
    ByteQuota, CONSUMER_BYTE_RATE, CONTROLLER_MUTATION_RATE, Client, ClientQuotas, MutationQuota, Mutations,
    PRODUCER_BYTE_RATE, REQUEST_PERCENTAGE, TimeQuota,
};
pub use connections::{CONNECTION_CREATION_RATE, ConnectionLimits, ConnectionQuotas, ListenerLimits, Place, Refusal};
pub use rate::SampledRate;
pub use replication::{ReplicationQuota, ReplicationQuotas, Throttled};
pub use request_time::RequestTime;
pub use window::Windows;
