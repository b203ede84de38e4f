//! Skeleton.
pub mod config;
pub mod logging;
