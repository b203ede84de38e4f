//! Who waits for one partition.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering, fence};

use parking_lot::Mutex;

use super::Waiter;

/// The waiters of one partition. Free to look at while nobody waits: one relaxed load an append.
#[derive(Debug, Default)]
pub struct WaitQueue {
    /// How many wait; changed under the lock, read without it.
    count: AtomicUsize,
    waiters: Mutex<Vec<Waiting>>,
}

#[derive(Debug)]
struct Waiting {
    waiter: Arc<Waiter>,
    /// Only a move to this offset or beyond is of interest; `i64::MIN` for any move.
    from: i64,
}

/// A place in a queue; leaves it when dropped.
#[derive(Debug)]
pub struct Place<'a> {
    queue: &'a WaitQueue,
    waiter: Arc<Waiter>,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.queue.leave(&self.waiter);
    }
}

impl WaitQueue {
    /// Adds a waiter that hears of every event.
    pub fn join(&self, waiter: &Arc<Waiter>) -> Place<'_> {
        self.join_from(waiter, i64::MIN)
    }

    /// Adds a waiter that hears only of moves to `from` or beyond, once.
    pub fn join_from(&self, waiter: &Arc<Waiter>, from: i64) -> Place<'_> {
        let mut waiters = self.waiters.lock();
        waiters.push(Waiting {
            waiter: Arc::clone(waiter),
            from,
        });
        self.count.store(waiters.len(), Ordering::SeqCst);
        fence(Ordering::SeqCst);
        Place {
            queue: self,
            waiter: Arc::clone(waiter),
        }
    }

    /// Whether anyone waits, as seen after the event that is about to be told.
    ///
    /// The fences pair: who joins looks at the partition again afterwards, so that either it sees the event or the
    /// one who tells of the event sees it.
    fn is_empty(&self) -> bool {
        fence(Ordering::SeqCst);
        self.count.load(Ordering::SeqCst) == 0
    }

    fn leave(&self, waiter: &Arc<Waiter>) {
        let mut waiters = self.waiters.lock();
        waiters.retain(|waiting| !Arc::ptr_eq(&waiting.waiter, waiter));
        self.count.store(waiters.len(), Ordering::SeqCst);
    }

    /// Counts `amount` down for every waiter.
    pub fn count_down(&self, amount: i64) {
        if self.is_empty() {
            return;
        }
        for waiting in self.waiters.lock().iter() {
            waiting.waiter.count_down(amount);
        }
    }

    /// Counts one down for each waiter whose offset has been reached, and lets it go.
    pub fn reached(&self, offset: i64) {
        if self.is_empty() {
            return;
        }
        let mut waiters = self.waiters.lock();
        waiters.retain(|waiting| {
            let reached = waiting.from <= offset;
            if reached {
                waiting.waiter.count_down(1);
            }
            !reached
        });
        self.count.store(waiters.len(), Ordering::SeqCst);
    }

    /// Wakes everyone to look again: what they wait for may have happened, or will not happen here.
    pub fn wake_all(&self) {
        if self.is_empty() {
            return;
        }
        for waiting in self.waiters.lock().iter() {
            waiting.waiter.wake();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waiters_leave_when_their_place_is_dropped() {
        let queue = WaitQueue::default();
        let waiter = Waiter::new(2);
        let place = queue.join(&waiter);
        queue.count_down(1);
        assert!(!waiter.is_satisfied());
        drop(place);
        queue.count_down(1);
        assert!(!waiter.is_satisfied());
        assert_eq!(queue.waiters.lock().len(), 0);
    }

    #[test]
    fn an_offset_is_reached_once() {
        let queue = WaitQueue::default();
        let waiter = Waiter::new(2);
        let _first = queue.join_from(&waiter, 10);
        queue.reached(9);
        assert!(!waiter.is_satisfied());
        queue.reached(10);
        queue.reached(11);
        assert!(!waiter.is_satisfied(), "one partition of two");
        let _second = queue.join_from(&waiter, 5);
        queue.reached(5);
        assert!(waiter.is_satisfied());
    }
}
