//! Deadlines as data.
//!
//! A [`Deadline`] lives beside what it guards and may move at every heartbeat without touching the queue: only when the queue's
//! entry comes up is it looked at, dropped, or queued again for the later moment. So a heartbeat costs no queue operation and
//! each deadline has one live entry at a time.

use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;
use std::sync::Arc;

use model::Millis;

/// What happens at a deadline.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Due {
    /// A member has been silent for its session timeout.
    Heartbeat(Arc<str>),
    /// A member id was given out and not used.
    SecondJoin(Arc<str>),
    /// The rebalance waits no longer for members to join.
    Join,
    /// The group waits no longer for members to sync.
    Sync,
}

/// A moment, if any, and the queue entry that will look at it.
#[derive(Debug, Default)]
pub(super) struct Deadline {
    at: Option<Millis>,
    queued: Option<Millis>,
}

impl Deadline {
    pub(super) fn clear(&mut self) {
        self.at = None;
    }

    /// Takes the entry that was queued for `queued_at` off; `true` if the deadline is due.
    ///
    /// One that has moved is queued again; one that was cleared, or has another entry, is not.
    fn fires(&mut self, queued_at: Millis, now: Millis, requeue: impl FnOnce(Millis)) -> bool {
        if self.queued != Some(queued_at) {
            return false;
        }
        self.queued = None;
        match self.at {
            Some(at) if at <= now => {
                self.at = None;
                true
            }
            Some(at) => {
                self.queued = Some(at);
                requeue(at);
                false
            }
            None => false,
        }
    }
}

#[derive(Debug)]
pub(super) struct Entry {
    at: Millis,
    /// Entries of one moment come up in the order in which they were queued.
    order: u64,
    pub(super) group_id: Arc<str>,
    pub(super) due: Due,
}

impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Entry {}

impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Entry {
    fn cmp(&self, other: &Self) -> Ordering {
        (self.at, self.order).cmp(&(other.at, other.order))
    }
}

/// The queue of one core.
#[derive(Debug, Default)]
pub(super) struct Timers {
    queue: BinaryHeap<Reverse<Entry>>,
    order: u64,
}

impl Timers {
    /// Moves `deadline` to `at`.
    pub(super) fn arm(&mut self, deadline: &mut Deadline, at: Millis, group_id: &Arc<str>, due: impl FnOnce() -> Due) {
        deadline.at = Some(at);
        if deadline.queued.is_none_or(|queued| at < queued) {
            deadline.queued = Some(at);
            self.push(at, group_id.clone(), due());
        }
    }

    fn push(&mut self, at: Millis, group_id: Arc<str>, due: Due) {
        self.order += 1;
        self.queue.push(Reverse(Entry {
            at,
            order: self.order,
            group_id,
            due,
        }));
    }

    /// The moment of the first entry; at or before the first deadline.
    pub(super) fn next(&self) -> Option<Millis> {
        self.queue.peek().map(|Reverse(entry)| entry.at)
    }

    /// The first entry, if its moment has come.
    pub(super) fn pop(&mut self, now: Millis) -> Option<Entry> {
        if self.next()? > now {
            return None;
        }
        self.queue.pop().map(|Reverse(entry)| entry)
    }

    /// Whether `deadline`, for which `entry` came up, is due.
    pub(super) fn fires(&mut self, entry: &Entry, deadline: &mut Deadline, now: Millis) -> bool {
        deadline.fires(entry.at, now, |at| {
            self.push(at, entry.group_id.clone(), entry.due.clone())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deadline_that_moves_later_fires_once_at_the_later_moment() {
        let mut timers = Timers::default();
        let mut deadline = Deadline::default();
        let group: Arc<str> = "g".into();
        timers.arm(&mut deadline, Millis(10), &group, || Due::Join);
        timers.arm(&mut deadline, Millis(30), &group, || Due::Join);
        assert_eq!(timers.next(), Some(Millis(10)));
        let entry = timers.pop(Millis(10)).unwrap();
        assert!(!timers.fires(&entry, &mut deadline, Millis(10)));
        assert_eq!(timers.next(), Some(Millis(30)));
        let entry = timers.pop(Millis(31)).unwrap();
        assert!(timers.fires(&entry, &mut deadline, Millis(31)));
        assert_eq!(timers.next(), None);
    }

    #[test]
    fn a_deadline_that_moves_earlier_fires_once_at_the_earlier_moment() {
        let mut timers = Timers::default();
        let mut deadline = Deadline::default();
        let group: Arc<str> = "g".into();
        timers.arm(&mut deadline, Millis(30), &group, || Due::Sync);
        timers.arm(&mut deadline, Millis(10), &group, || Due::Sync);
        let entry = timers.pop(Millis(10)).unwrap();
        assert!(timers.fires(&entry, &mut deadline, Millis(10)));
        let stale = timers.pop(Millis(40)).unwrap();
        assert!(!timers.fires(&stale, &mut deadline, Millis(40)));
    }

    #[test]
    fn a_cleared_deadline_does_not_fire() {
        let mut timers = Timers::default();
        let mut deadline = Deadline::default();
        timers.arm(&mut deadline, Millis(10), &"g".into(), || Due::Join);
        deadline.clear();
        let entry = timers.pop(Millis(10)).unwrap();
        assert!(!timers.fires(&entry, &mut deadline, Millis(10)));
        assert_eq!(timers.next(), None);
    }
}
