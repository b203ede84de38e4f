//! Skeleton.
pub mod config;
