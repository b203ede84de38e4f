//! Background work: one thread that waits for the clock, and workers on demand.
//!
//! Workers are started when something is due and nobody is free, at most so many at once, and end when they have had
//! nothing to do for a while, so that an idle broker has one thread here. A job that runs late does not pile up: the
//! next run of a repeated job is planned when the last one ended.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

type Job = Box<dyn FnOnce() + Send>;

/// How long a worker waits for more.
const WORKER_IDLE: Duration = Duration::from_secs(2);

#[derive(Clone)]
pub(crate) struct Scheduler(Arc<Inner>);

struct Inner {
    state: Mutex<State>,
    clock: Condvar,
    work: Condvar,
}

#[derive(Default)]
struct State {
    workers_max: usize,
    timers: BinaryHeap<Reverse<Timer>>,
    sequence: u64,
    ready: VecDeque<Job>,
    workers: usize,
    idle: usize,
    clock_thread: Option<JoinHandle<()>>,
    stopped: bool,
}

struct Timer {
    due: Instant,
    sequence: u64,
    job: Job,
}

impl PartialEq for Timer {
    fn eq(&self, other: &Self) -> bool {
        self.sequence == other.sequence
    }
}

impl Eq for Timer {}

impl PartialOrd for Timer {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Timer {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.due, self.sequence).cmp(&(other.due, other.sequence))
    }
}

impl Scheduler {
    pub(crate) fn new(workers_max: usize) -> Self {
        Self(Arc::new(Inner {
            state: Mutex::new(State {
                workers_max: workers_max.max(1),
                ..State::default()
            }),
            clock: Condvar::new(),
            work: Condvar::new(),
        }))
    }

    /// At most so many workers from now on; those beyond end with what they are at.
    pub(crate) fn resize(&self, workers_max: usize) {
        let mut state = self.0.state.lock();
        state.workers_max = workers_max.max(1);
        for _ in 0..state.ready.len() {
            self.0.clone().find_worker(&mut state);
        }
    }

    /// Runs `job` as soon as a worker is free. After [`Scheduler::stop`] it is dropped.
    pub(crate) fn soon(&self, job: impl FnOnce() + Send + 'static) {
        let mut state = self.0.state.lock();
        if !state.stopped {
            state.ready.push_back(Box::new(job));
            self.0.clone().find_worker(&mut state);
        }
    }

    /// Runs `job` after `delay`.
    pub(crate) fn later(&self, delay: Duration, job: impl FnOnce() + Send + 'static) {
        let Some(due) = Instant::now().checked_add(delay) else {
            return;
        };
        let mut state = self.0.state.lock();
        if state.stopped {
            return;
        }
        state.sequence += 1;
        let sequence = state.sequence;
        state.timers.push(Reverse(Timer {
            due,
            sequence,
            job: Box::new(job),
        }));
        if state.clock_thread.is_none() {
            let inner = self.0.clone();
            match std::thread::Builder::new()
                .name("log-scheduler".to_owned())
                .spawn(move || inner.watch_the_clock())
            {
                Ok(thread) => state.clock_thread = Some(thread),
                Err(error) => tracing::error!(%error, "cannot start the log scheduler"),
            }
        }
        self.0.clock.notify_one();
    }

    /// Runs `job` after `initial`, and again whenever `period` has passed since it ended. A period of `None` is never.
    pub(crate) fn every(&self, initial: Duration, period: Option<Duration>, job: impl Fn() + Send + Sync + 'static) {
        let Some(period) = period else { return };
        self.again(initial, period, Arc::new(job));
    }

    fn again(&self, delay: Duration, period: Duration, job: Arc<dyn Fn() + Send + Sync>) {
        let scheduler = self.clone();
        self.later(delay, move || {
            job();
            scheduler.again(period, period, job);
        });
    }

    /// Drops what is planned, and waits for what is running.
    pub(crate) fn stop(&self) {
        let clock_thread = {
            let mut state = self.0.state.lock();
            state.stopped = true;
            state.timers.clear();
            state.ready.clear();
            self.0.clock.notify_all();
            self.0.work.notify_all();
            state.clock_thread.take()
        };
        if let Some(thread) = clock_thread
            && thread.thread().id() != std::thread::current().id()
            && thread.join().is_err()
        {
            tracing::error!("the log scheduler has panicked");
        }
        let mut state = self.0.state.lock();
        let on_worker = std::thread::current().name() == Some(WORKER_NAME);
        while state.workers > usize::from(on_worker) {
            self.0.clock.wait(&mut state);
        }
    }
}

const WORKER_NAME: &str = "log-background";

impl Inner {
    fn find_worker(self: Arc<Self>, state: &mut State) {
        if state.idle >= state.ready.len() {
            self.work.notify_one();
        } else if state.workers < state.workers_max {
            state.workers += 1;
            let inner = self.clone();
            let started = std::thread::Builder::new()
                .name(WORKER_NAME.to_owned())
                .spawn(move || inner.work());
            if let Err(error) = started {
                state.workers -= 1;
                tracing::error!(%error, "cannot start a background worker");
            }
        }
    }

    fn watch_the_clock(self: Arc<Self>) {
        let mut state = self.state.lock();
        while !state.stopped {
            let now = Instant::now();
            match state.timers.peek() {
                Some(Reverse(timer)) if timer.due <= now => {
                    if let Some(Reverse(timer)) = state.timers.pop() {
                        state.ready.push_back(timer.job);
                        self.clone().find_worker(&mut state);
                    }
                }
                Some(Reverse(timer)) => {
                    let due = timer.due;
                    self.clock.wait_until(&mut state, due);
                }
                None => self.clock.wait(&mut state),
            }
        }
    }

    fn work(self: Arc<Self>) {
        let mut state = self.state.lock();
        loop {
            if state.workers > state.workers_max {
                // Whoever waits takes what this one may have been called for.
                self.work.notify_one();
                break;
            }
            if let Some(job) = state.ready.pop_front() {
                drop(state);
                // A panic in one job must not take the worker's place in the count with it.
                if std::panic::catch_unwind(std::panic::AssertUnwindSafe(job)).is_err() {
                    tracing::error!("a background job has panicked");
                }
                state = self.state.lock();
                continue;
            }
            if state.stopped {
                break;
            }
            state.idle += 1;
            let waited = self.work.wait_for(&mut state, WORKER_IDLE);
            state.idle -= 1;
            if waited.timed_out() && state.ready.is_empty() {
                break;
            }
        }
        state.workers -= 1;
        self.clock.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;

    const SOON: Duration = Duration::from_secs(20);

    #[test]
    fn jobs_run_now_later_and_again() {
        let scheduler = Scheduler::new(2);
        let (tell, told) = mpsc::channel();
        let t = tell.clone();
        scheduler.soon(move || t.send("now").unwrap());
        assert_eq!(told.recv_timeout(SOON), Ok("now"));
        let t = tell.clone();
        scheduler.later(Duration::from_millis(1), move || t.send("later").unwrap());
        assert_eq!(told.recv_timeout(SOON), Ok("later"));
        scheduler.every(Duration::ZERO, Some(Duration::from_millis(1)), move || {
            let _ = tell.send("again");
        });
        assert_eq!(told.recv_timeout(SOON), Ok("again"));
        assert_eq!(told.recv_timeout(SOON), Ok("again"));
        scheduler.stop();
    }

    #[test]
    fn workers_come_and_go_with_their_number() {
        let scheduler = Scheduler::new(1);
        let (tell, told) = mpsc::channel();
        let (go, gone) = mpsc::channel::<()>();
        let gone = Arc::new(Mutex::new(gone));
        for n in 0..3 {
            let (tell, gone) = (tell.clone(), Arc::clone(&gone));
            scheduler.soon(move || {
                tell.send(n).unwrap();
                gone.lock().recv().unwrap();
            });
        }
        assert_eq!(told.recv_timeout(SOON), Ok(0));
        assert!(told.recv_timeout(Duration::from_millis(50)).is_err(), "one at a time");
        scheduler.resize(3);
        let mut begun = [told.recv_timeout(SOON).unwrap(), told.recv_timeout(SOON).unwrap()];
        begun.sort_unstable();
        assert_eq!(begun, [1, 2], "what had waited begins at once");
        scheduler.resize(1);
        for _ in 0..3 {
            go.send(()).unwrap();
        }
        let deadline = Instant::now() + SOON;
        while scheduler.0.state.lock().workers > 1 {
            assert!(Instant::now() < deadline, "those beyond the number end");
            std::thread::yield_now();
        }
        scheduler.soon(move || tell.send(3).unwrap());
        assert_eq!(told.recv_timeout(SOON), Ok(3));
        scheduler.stop();
    }

    #[test]
    fn stopping_waits_for_what_runs_and_drops_the_rest() {
        let scheduler = Scheduler::new(1);
        let (tell, told) = mpsc::channel();
        let (go, gone) = mpsc::channel::<()>();
        let t = tell.clone();
        scheduler.soon(move || {
            t.send("started").unwrap();
            gone.recv().unwrap();
            t.send("ended").unwrap();
        });
        assert_eq!(told.recv_timeout(SOON), Ok("started"));
        let t = tell.clone();
        scheduler.soon(move || t.send("never").unwrap());
        let stopping = std::thread::spawn({
            let scheduler = scheduler.clone();
            move || scheduler.stop()
        });
        while !scheduler.0.state.lock().stopped {
            std::thread::yield_now();
        }
        go.send(()).unwrap();
        stopping.join().unwrap();
        scheduler.soon(move || tell.send("never").unwrap());
        assert_eq!(told.recv_timeout(SOON), Ok("ended"));
        assert!(told.recv().is_err());
    }

    #[test]
    fn a_panic_ends_only_its_job() {
        let scheduler = Scheduler::new(1);
        let (tell, told) = mpsc::channel();
        scheduler.soon(|| panic!("on purpose"));
        scheduler.soon(move || tell.send(()).unwrap());
        assert_eq!(told.recv_timeout(SOON), Ok(()));
        scheduler.stop();
    }
}
