//! How much has happened in a second, over the last few seconds. Pure: `now` is an argument.
//!
//! Samples of one second each; the rate is their sum over the time since the oldest began, but at least one second, so
//! that the first event does not look like a flood. A sample counts for as long as its last event is within the window.
//! Source: Kafka 3.9 `SimpleRate`, `SampledStat`.

use std::collections::VecDeque;

use model::Millis;

/// A rate over a sliding window.
#[derive(Clone, Debug)]
pub struct SampledRate {
    samples: VecDeque<Sample>,
    window: Millis,
    samples_max: usize,
}

#[derive(Clone, Copy, Debug)]
struct Sample {
    began: Millis,
    last_event: Millis,
    sum: i64,
}

impl SampledRate {
    /// No event yet; at most `samples_max` samples of `window` each count.
    pub fn new(samples_max: usize, window: Millis) -> Self {
        Self {
            samples: VecDeque::new(),
            window,
            samples_max,
        }
    }

    /// So much happened now.
    pub fn record(&mut self, amount: i64, now: Millis) {
        self.forget(now);
        match self.samples.back_mut() {
            Some(sample) if now - sample.began < self.window => {
                sample.sum = sample.sum.saturating_add(amount);
                sample.last_event = now;
            }
            _ => {
                // One more than fit, for the one that overlaps the window's start.
                if self.samples.len() > self.samples_max {
                    self.samples.pop_front();
                }
                self.samples.push_back(Sample {
                    began: now,
                    last_event: now,
                    sum: amount,
                });
            }
        }
    }

    /// So much happens in a second.
    pub fn per_second(&mut self, now: Millis) -> f64 {
        self.forget(now);
        let Some(oldest) = self.samples.front() else { return 0.0 };
        let elapsed = (now - oldest.began).max(self.window);
        let sum: i64 = self
            .samples
            .iter()
            .fold(0, |sum, sample| sum.saturating_add(sample.sum));
        sum as f64 * 1000.0 / elapsed.0.max(1) as f64
    }

    fn forget(&mut self, now: Millis) {
        let age_max = Millis(self.window.0.saturating_mul(self.samples_max as i64));
        while self.samples.front().is_some_and(|it| now - it.last_event >= age_max) {
            self.samples.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `(at, amount)` recorded in order, then the rate at `now`.
    fn rate(events: &[(i64, i64)], now: i64) -> f64 {
        let mut rate = SampledRate::new(11, Millis(1_000));
        for (at, amount) in events {
            rate.record(*amount, Millis(*at));
        }
        rate.per_second(Millis(now))
    }

    #[test]
    fn the_rate_is_the_sum_over_the_time_since_the_oldest_sample() {
        let check = |name: &str, events: &[(i64, i64)], now: i64, expected: f64| {
            let found = rate(events, now);
            assert!((found - expected).abs() < 1e-9, "{name}: {found}");
        };
        check("nothing", &[], 5, 0.0);
        check("the first window is a whole one", &[(0, 100)], 1, 100.0);
        check("two windows", &[(0, 100), (1_000, 100)], 2_000, 100.0);
        check("it fades", &[(0, 100)], 5_000, 20.0);
        check("it is forgotten", &[(0, 100)], 11_000, 0.0);
        check("only what is old is forgotten", &[(0, 100), (6_000, 50)], 11_000, 10.0);
        let steady: Vec<_> = (0..60).map(|second| (second * 1_000, 500)).collect();
        let found = rate(&steady, 60_000);
        assert!((found - 500.0).abs() < 1.0, "{found}");
    }

    #[test]
    fn samples_are_bounded() {
        let mut rate = SampledRate::new(3, Millis(10));
        for at in 0..10_000 {
            rate.record(1, Millis(at));
        }
        assert!(rate.samples.len() <= 4);
    }
}
