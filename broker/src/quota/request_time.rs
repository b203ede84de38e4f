//! How long the threads were busy with one request.
//!
//! Kafka counts the time that a request keeps its threads from others. Here a request is a future: what counts is the
//! time in which it is polled, not the time in which it waits.

use std::future::Future;
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// A clock that runs while its request is worked on.
#[derive(Debug)]
pub struct RequestTime {
    since: Instant,
    /// Nanoseconds of polls that are over.
    spent: AtomicU64,
    /// When the present poll began, in nanoseconds after `since`; [`IDLE`] between polls.
    polling: AtomicU64,
}

const IDLE: u64 = u64::MAX;

impl RequestTime {
    /// Stands at zero.
    pub fn new() -> Self {
        Self {
            since: Instant::now(),
            spent: AtomicU64::new(0),
            polling: AtomicU64::new(IDLE),
        }
    }

    /// Runs while `work` is polled.
    pub async fn measure<F: Future>(&self, work: F) -> F::Output {
        let mut work = pin!(work);
        std::future::poll_fn(|cx| {
            self.polling.store(self.now(), Ordering::Relaxed);
            let polled = work.as_mut().poll(cx);
            self.spent.store(self.nanos(), Ordering::Relaxed);
            self.polling.store(IDLE, Ordering::Relaxed);
            polled
        })
        .await
    }

    /// What it shows now, also from within the work.
    pub fn spent(&self) -> Duration {
        Duration::from_nanos(self.nanos())
    }

    /// The same in percent of a thread and a second. Source: Kafka `ClientRequestQuotaManager`.
    pub fn percent(&self) -> f64 {
        self.nanos() as f64 * 100.0 / 1e9
    }

    fn nanos(&self) -> u64 {
        let spent = self.spent.load(Ordering::Relaxed);
        match self.polling.load(Ordering::Relaxed) {
            IDLE => spent,
            began => spent + self.now().saturating_sub(began),
        }
    }

    fn now(&self) -> u64 {
        u64::try_from(self.since.elapsed().as_nanos()).unwrap_or(IDLE - 1)
    }
}

impl Default for RequestTime {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn waiting_does_not_count_and_work_does() {
        let time = RequestTime::new();
        let within = time
            .measure(async {
                std::thread::sleep(Duration::from_millis(20));
                tokio::time::sleep(Duration::from_millis(200)).await;
                std::thread::sleep(Duration::from_millis(20));
                time.spent()
            })
            .await;
        let spent = time.spent();
        assert!(within >= Duration::from_millis(40), "{within:?}");
        assert!(spent >= within && spent < Duration::from_millis(150), "{spent:?}");
        assert!((4.0..15.0).contains(&time.percent()));
    }
}
