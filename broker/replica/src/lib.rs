//! What the replicas of a partition decide, as plain data and functions: no log, no clock, no socket, no runtime.
//!
//! `leader`: what a leader knows of its followers, and what follows for the high watermark and the in-sync set.
//! `in_sync`: how that set changes, proposal and answer.
//! `follower`: what a fetcher asks a leader for, and what it does to its logs with the answers.

#[cfg(test)]
mod examples;
pub mod follower;
pub mod in_sync;
pub mod leader;
