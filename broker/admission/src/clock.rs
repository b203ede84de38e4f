//! The only place that reads the wall clock.

use std::time::{SystemTime, UNIX_EPOCH};

use model::Millis;

/// Milliseconds since 1970; 0 for a clock set before that.
pub(crate) fn now() -> Millis {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Millis(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}
