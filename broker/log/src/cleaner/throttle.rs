//! `log.cleaner.io.max.bytes.per.second`: how fast all cleaner threads together read and write.
//!
//! Each amount moves the time at which the next may be dealt with; whoever comes too early waits. What was not used for
//! more than [`BURST`] is lost. Source: Kafka 3.9 `Throttler`.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

const BURST: Duration = Duration::from_millis(300);

/// Shared by the threads.
pub(crate) struct Throttle {
    /// Bits of an `f64`.
    rate: AtomicU64,
    free_at: Mutex<Option<Instant>>,
}

impl Throttle {
    pub(crate) fn new(bytes_per_second: f64) -> Self {
        Self {
            rate: AtomicU64::new(bytes_per_second.to_bits()),
            free_at: Mutex::new(None),
        }
    }

    pub(crate) fn set_rate(&self, bytes_per_second: f64) {
        self.rate.store(bytes_per_second.to_bits(), Ordering::Relaxed);
        *self.free_at.lock() = None;
    }

    /// Takes `bytes` into account at `now`; how long to wait before going on.
    pub(crate) fn take(&self, bytes: u64, now: Instant) -> Duration {
        let rate = f64::from_bits(self.rate.load(Ordering::Relaxed));
        // Ten gigabytes a second are as good as no limit, and are Kafka's default.
        if rate >= 1e10 {
            return Duration::ZERO;
        }
        let cost = Duration::try_from_secs_f64(bytes as f64 / rate.max(1.0)).unwrap_or(Duration::MAX);
        let mut free_at = self.free_at.lock();
        let earliest = now.checked_sub(BURST).unwrap_or(now);
        let start = free_at.map_or(now, |free| free.max(earliest));
        let free = start.checked_add(cost).unwrap_or(now);
        *free_at = Some(free);
        free.saturating_duration_since(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_is_kept_over_time_and_a_short_pause_is_made_up_for() {
        let throttle = Throttle::new(1000.0);
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        assert_eq!(throttle.take(500, at(0)), Duration::from_millis(500));
        assert_eq!(throttle.take(100, at(500)), Duration::from_millis(100));
        assert_eq!(throttle.take(100, at(800)), Duration::ZERO);
        // Idle since 700, of which 300 ms count.
        assert_eq!(throttle.take(500, at(5000)), Duration::from_millis(200));
        throttle.set_rate(f64::MAX);
        assert_eq!(throttle.take(u64::MAX, at(5000)), Duration::ZERO);
        throttle.set_rate(0.0);
        assert!(throttle.take(10, at(5000)) >= Duration::from_secs(10));
    }
}
