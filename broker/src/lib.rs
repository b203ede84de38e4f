//! Skeleton.

pub mod clock;
pub mod config;
pub mod logging;
pub mod registration;
