//! What the replicas of a partition decide, as plain data and functions: no log, no clock, no socket, no runtime.
//!
//! `leader`: what a leader knows of its followers, and what follows for the high watermark and the in-sync set.

pub mod leader;
