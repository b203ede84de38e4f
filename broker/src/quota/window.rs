//! How fast a client goes, as client quotas measure it, and how long it must pause to be within its quota. Pure: `now`
//! is an argument.
//!
//! Unlike [`super::SampledRate`], a rate is taken over all windows but the last even if fewer have passed: a client
//! that has been silent may send ten windows' worth at once. Values may be negative, which takes back what was recorded.
//!
//! Source: Kafka 3.9 `Rate`, `SampledStat`, `QuotaUtils`.

use std::collections::VecDeque;

use model::Millis;

/// `quota.window.num` windows of `quota.window.size.seconds` each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Windows {
    /// How many count; at least 1.
    pub count: usize,
    /// How long each is; at least a millisecond.
    pub length: Millis,
}

impl Windows {
    /// So many windows of so many seconds; less than one of either is one.
    pub fn new(count: i32, seconds: i32) -> Self {
        Self {
            count: usize::try_from(count).unwrap_or(1).max(1),
            length: Millis(i64::from(seconds.max(1)) * 1_000),
        }
    }

    /// All of them together.
    pub(super) fn whole(&self) -> Millis {
        Millis(self.length.0.saturating_mul(self.count_i64()))
    }

    /// What may pass at once after a long silence, at a limit of `per_second`.
    ///
    /// Source: Kafka `ClientQuotaManager.getMaxValueInQuotaWindow`.
    pub(super) fn at_once_max(&self, per_second: f64) -> f64 {
        per_second * (self.count - 1) as f64 * self.length.0 as f64 / 1_000.0
    }

    fn count_i64(&self) -> i64 {
        i64::try_from(self.count).unwrap_or(i64::MAX)
    }
}

/// A rate, and the time over which it was taken.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Measured {
    /// So much in a second.
    pub(super) per_second: f64,
    /// Over this time.
    pub(super) over: Millis,
}

impl Measured {
    /// How long nothing may be recorded for the rate to come down to `limit`; zero if it is within.
    ///
    /// With a limit of zero the rate never comes down: then it is `never`. Source: Kafka `QuotaUtils.throttleTime`.
    pub(super) fn throttle(&self, limit: f64, never: Millis) -> Millis {
        if self.per_second <= limit {
            return Millis(0);
        }
        if limit <= 0.0 {
            return never;
        }
        let millis = (self.per_second - limit) / limit * self.over.0 as f64;
        // The throttle time on the wire is a 32-bit number.
        Millis((millis + 0.5).floor().clamp(0.0, f64::from(i32::MAX)) as i64)
    }
}

/// The rate of one client.
#[derive(Clone, Debug, Default)]
pub(super) struct Rate {
    samples: VecDeque<Sample>,
}

#[derive(Clone, Copy, Debug)]
struct Sample {
    began: Millis,
    last_event: Millis,
    sum: f64,
}

impl Rate {
    /// So much happened now.
    pub(super) fn record(&mut self, windows: Windows, amount: f64, now: Millis) {
        match self.samples.back_mut() {
            Some(sample) if now - sample.began < windows.length => {
                sample.sum += amount;
                sample.last_event = now;
            }
            _ => {
                self.forget(windows, now);
                // One more than count, for the one that overlaps the beginning.
                if self.samples.len() > windows.count {
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

    /// How fast it goes now.
    pub(super) fn measure(&mut self, windows: Windows, now: Millis) -> Measured {
        self.forget(windows, now);
        let length = windows.length.0.max(1);
        let mut elapsed = self.samples.front().map_or(0, |oldest| (now - oldest.began).0.max(0));
        let full = elapsed / length;
        let full_min = windows.count_i64() - 1;
        if full < full_min {
            elapsed += (full_min - full) * length;
        }
        let over = Millis(elapsed.max(1));
        let sum: f64 = self.samples.iter().map(|sample| sample.sum).sum();
        Measured {
            per_second: sum * 1_000.0 / over.0 as f64,
            over,
        }
    }

    /// Whether it is as if nothing had ever been recorded.
    pub(super) fn is_blank(&mut self, windows: Windows, now: Millis) -> bool {
        self.forget(windows, now);
        self.samples.is_empty()
    }

    fn forget(&mut self, windows: Windows, now: Millis) {
        let age_max = windows.whole();
        while self.samples.front().is_some_and(|it| now - it.last_event >= age_max) {
            self.samples.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const WINDOWS: Windows = Windows {
        count: 11,
        length: Millis(1_000),
    };

    fn measured(events: &[(i64, f64)], now: i64) -> Measured {
        let mut rate = Rate::default();
        for (at, amount) in events {
            rate.record(WINDOWS, *amount, Millis(*at));
        }
        rate.measure(WINDOWS, Millis(now))
    }

    #[test]
    fn a_rate_is_taken_over_at_least_ten_windows() {
        let check = |name: &str, events: &[(i64, f64)], now: i64, per_second: f64, over: i64| {
            let found = measured(events, now);
            assert!(
                (found.per_second - per_second).abs() < 1e-9,
                "{name}: {}",
                found.per_second
            );
            assert_eq!(found.over, Millis(over), "{name}");
        };
        check("nothing", &[], 5, 0.0, 10_000);
        check("at once", &[(0, 100.0)], 0, 10.0, 10_000);
        check("half a window", &[(0, 105.0)], 500, 10.0, 10_500);
        check("two events", &[(0, 50.0), (500, 55.0)], 500, 10.0, 10_500);
        check("later windows", &[(0, 100.0), (5_000, 100.0)], 5_000, 20.0, 10_000);
        check("it fades", &[(0, 1000.0)], 10_500, 1000.0 / 10.5, 10_500);
        check("it is forgotten", &[(0, 1000.0)], 11_000, 0.0, 10_000);
        check("taken back", &[(0, 100.0), (0, -100.0)], 0, 0.0, 10_000);
    }

    #[test]
    fn a_pause_brings_the_rate_down_to_the_limit() {
        let check = |name: &str, rate: f64, limit: f64, pause: i64| {
            let measured = Measured {
                per_second: rate,
                over: Millis(10_000),
            };
            assert_eq!(measured.throttle(limit, Millis(11_000)), Millis(pause), "{name}");
        };
        check("within", 10.0, 10.0, 0);
        check("a tenth over", 11.0, 10.0, 1_000);
        check("twice", 20.0, 10.0, 10_000);
        check("rounded", 10.000_06, 10.0, 0);
        check("nothing may pass", 1.0, 0.0, 11_000);
        check("nothing may pass, nothing did", 0.0, 0.0, 0);
        check("no overflow", 1e300, 1e-300, i64::from(i32::MAX));
    }

    #[test]
    fn samples_are_bounded() {
        let mut rate = Rate::default();
        let windows = Windows {
            count: 3,
            length: Millis(10),
        };
        for at in 0..10_000 {
            rate.record(windows, 1.0, Millis(at));
        }
        assert!(rate.samples.len() <= 4);
        assert!(!rate.is_blank(windows, Millis(10_000)));
        assert!(rate.is_blank(windows, Millis(10_040)));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        /// Whoever always pauses as told goes at its limit. A client that could go much faster uses up all windows at
        /// once and then waits for them to pass, again and again: what it gets is right over such rounds of eleven
        /// windows, as in Kafka.
        #[test]
        fn pauses_as_told_lead_to_the_limit(limit in 100.0..10_000.0_f64, batch in 0.002..0.1_f64) {
            let batch = limit * batch;
            let mut rate = Rate::default();
            let (mut now, mut sent) = (Millis(1_000_000), 0.0);
            let began = now;
            while now - began < Millis(33_000) {
                rate.record(WINDOWS, batch, now);
                sent += batch;
                let pause = rate.measure(WINDOWS, now).throttle(limit, Millis(0));
                now = now + pause.max(Millis(1));
            }
            let found = sent * 1_000.0 / (now - began).0 as f64 / limit;
            prop_assert!((0.95..=1.05).contains(&found), "{found} of the limit");
        }
    }
}
