//! Threads that work without pause, of which only a window is measured.

use std::sync::atomic::{AtomicU8, Ordering};
use std::time::{Duration, Instant};

use crate::process::{Spent, Window};

const WARMING: u8 = 0;
const MEASURING: u8 = 1;
const ENDED: u8 = 2;

/// Where a run is: warming up, measured, ended. The threads at work look at it after each piece of work.
#[derive(Default)]
pub(crate) struct Phase(AtomicU8);

impl Phase {
    /// Whether what has just been answered counts.
    pub(crate) fn measures(&self) -> bool {
        self.0.load(Ordering::Relaxed) == MEASURING
    }

    /// Whether nothing more is to be begun.
    pub(crate) fn has_ended(&self) -> bool {
        self.0.load(Ordering::Relaxed) == ENDED
    }

    /// Ends it early: one that works less would make figures that mean nothing.
    pub(crate) fn end(&self) {
        self.0.store(ENDED, Ordering::Relaxed);
    }

    /// Goes through all of it while others work, the window ending early once there is `enough`; gives what the brokers with
    /// these process ids have used in the window.
    pub(crate) fn run(
        &self,
        warm_up: Duration,
        window: Duration,
        processes: &[u32],
        enough: impl Fn() -> bool,
    ) -> Spent {
        self.pause(warm_up, || false);
        let measured = Window::open(processes);
        // Fails where somebody has ended it meanwhile: then it stays so.
        let _ = self
            .0
            .compare_exchange(WARMING, MEASURING, Ordering::Relaxed, Ordering::Relaxed);
        self.pause(window, enough);
        self.end();
        measured.close()
    }

    fn pause(&self, time: Duration, enough: impl Fn() -> bool) {
        const STEP: Duration = Duration::from_millis(10);
        let end = Instant::now() + time;
        while Instant::now() < end && !self.has_ended() && !enough() {
            std::thread::sleep(STEP.min(end.saturating_duration_since(Instant::now())));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_measured_once_somebody_has_ended_it() {
        let phase = Phase::default();
        assert!(!phase.measures() && !phase.has_ended());
        phase.end();
        let begin = Instant::now();
        phase.run(Duration::from_secs(60), Duration::from_secs(60), &[], || false);
        assert!(begin.elapsed() < Duration::from_secs(30));
        assert!(!phase.measures() && phase.has_ended());
    }

    #[test]
    fn enough_ends_the_window() {
        let phase = Phase::default();
        phase.run(Duration::ZERO, Duration::from_secs(60), &[], || phase.measures());
        assert!(phase.has_ended());
    }
}
