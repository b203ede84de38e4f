//! The deciding cores: pure functions of `(state, event, now)`.
//!
//! Contains no I/O, no clock, no tokio and no wire protocol; the shells (`coordinator/service`, `broker`) drive it.

pub mod controller;
pub mod group;
mod hosting;
mod placement;
mod record;
pub mod transaction;
