//! Requests that wait: fetches for bytes, produces for replication.
//!
//! A waiting request is a small struct with a counter; the partitions it waits for hold a reference to it. An append
//! or a move of the high watermark counts down and wakes it at zero. Nobody polls, and a request that stopped waiting
//! leaves its partitions by itself. Kafka calls this purgatory (`DelayedOperationPurgatory`).

mod queue;

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use tokio::sync::Notify;

pub use queue::{Place, WaitQueue};

/// One request that waits until enough has happened.
#[derive(Debug)]
pub struct Waiter {
    /// What is still missing: bytes for a fetch, partitions for a produce.
    missing: AtomicI64,
    woken: Notify,
}

impl Waiter {
    /// A request that waits until `missing` has been counted down to zero.
    pub fn new(missing: i64) -> Arc<Self> {
        Arc::new(Self {
            missing: AtomicI64::new(missing),
            woken: Notify::new(),
        })
    }

    /// Something happened that is worth `amount`; wakes the request when nothing is missing any more.
    pub fn count_down(&self, amount: i64) {
        if self.missing.fetch_sub(amount, Ordering::AcqRel) <= amount {
            self.woken.notify_one();
        }
    }

    /// Wakes the request whatever is missing: the partition is no longer led here, or its log failed.
    pub fn wake(&self) {
        self.missing.store(0, Ordering::Release);
        self.woken.notify_one();
    }

    /// Whether nothing is missing any more.
    pub fn is_satisfied(&self) -> bool {
        self.missing.load(Ordering::Acquire) <= 0
    }

    /// Waits until nothing is missing, at most `limit`. `false`: the time ran out.
    pub async fn wait(&self, limit: Duration) -> bool {
        if self.is_satisfied() {
            return true;
        }
        let woken = async {
            while !self.is_satisfied() {
                self.woken.notified().await;
            }
        };
        tokio::time::timeout(limit, woken).await.is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_waiter_is_woken_when_enough_has_happened() {
        let waiter = Waiter::new(10);
        assert!(!waiter.wait(Duration::from_millis(1)).await);
        waiter.count_down(4);
        assert!(!waiter.is_satisfied());
        let other = Arc::clone(&waiter);
        let waiting = tokio::spawn(async move { other.wait(Duration::from_secs(10)).await });
        waiter.count_down(6);
        assert!(waiting.await.unwrap());
    }

    #[tokio::test]
    async fn a_waiter_can_be_woken_early() {
        let waiter = Waiter::new(i64::MAX);
        waiter.wake();
        assert!(waiter.wait(Duration::from_secs(10)).await);
    }
}
