//! The only place where the broker reads a clock.

use std::time::{SystemTime, UNIX_EPOCH};

use model::Millis;

/// The wall clock, in milliseconds since 1970; 0 for a clock set before that.
pub fn now() -> Millis {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Millis(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}
