//! What the replicas of a partition decide, as plain data and functions: no log, no clock, no socket, no runtime.
//!
//! `leader`: what a leader knows of its followers, and what follows for the high watermark and the in-sync set.
//! `in_sync`: how that set changes, proposal and answer.

pub mod in_sync;
pub mod leader;
