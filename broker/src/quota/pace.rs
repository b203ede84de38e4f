//! How a client that produces or fetches is held to its bytes per second. Pure: `now` is an argument.
//!
//! Two measures. [`Rate`] is Kafka's: whoever stays within it over the windows is not held back, so that a client that
//! was silent may make up for it. By itself it lets a client that always has something to send use up all windows at once
//! and then wait for them to pass, in rounds of eleven seconds, each a tenth too much. So whoever has gone beyond is held
//! to an even pace instead: what has passed is owed, time pays it back at the limit, and who owes more than
//! half a window pauses until it does not. The pace ends when nothing has been owed for half a window. A client that has
//! just come has no silence to make up for, and is held to the pace from its first byte on.
//!
//! What follows, and is tested: whoever always has something to send gets its limit, within 5 % over any 30 seconds from
//! the first on, as long as one request is worth less than half a second of it; and nobody gets more than 8 % beyond it
//! over 30 seconds, whatever it does: Kafka's rate lets eleven seconds' worth pass in the eleven that begin with silence.
//!
//! Source: Kafka 3.9 `Rate`, `ClientQuotaManager` for the first measure; the second is the generic cell rate algorithm.

use model::Millis;

use super::window::{Rate, Windows};

/// So far back no thread reads the clock.
const CLOCK_WAS_SET: Millis = Millis(1_000);

/// What one client has sent or got.
#[derive(Clone, Debug)]
pub(super) struct Pace {
    rate: Rate,
    /// What has passed and time has not paid back, at `at`.
    owed: f64,
    at: Millis,
    /// Whether only the rate counts, because nothing was owed for a while.
    eased: bool,
}

impl Pace {
    /// Nothing has passed.
    pub(super) fn new(now: Millis) -> Self {
        Self {
            rate: Rate::default(),
            owed: 0.0,
            at: now,
            eased: false,
        }
    }

    /// So much has passed; how long the client must pause for it.
    pub(super) fn record(&mut self, windows: Windows, limit: f64, amount: f64, now: Millis) -> Millis {
        self.pass(windows, limit, amount, now);
        self.pause(windows, limit, now)
    }

    /// So much would pass; zero: it does, else it does not and must wait for so long. Whoever owes little may get
    /// something of any size: what is larger than all windows would never pass otherwise.
    pub(super) fn admit(&mut self, windows: Windows, limit: f64, amount: f64, now: Millis) -> Millis {
        self.pay(windows, limit, now);
        if limit > 0.0 && !self.eased {
            let pause = self.pause_of_pace(windows, limit, now);
            if pause.0 == 0 {
                self.pass(windows, limit, amount, now);
            }
            return pause;
        }
        self.pass(windows, limit, amount, now);
        let by_rate = self.rate.measure(windows, now).throttle(limit, windows.whole());
        if by_rate.0 == 0 {
            return Millis(0);
        }
        self.take_back(windows, limit, amount, now);
        if limit <= 0.0 {
            return by_rate;
        }
        let pause = self.pause_of_pace(windows, limit, now);
        if pause.0 == 0 {
            self.pass(windows, limit, amount, now);
        }
        pause
    }

    /// What was recorded did not pass.
    pub(super) fn take_back(&mut self, windows: Windows, limit: f64, amount: f64, now: Millis) {
        self.pay(windows, limit, now);
        self.rate.record(windows, -amount, now);
        self.owed = (self.owed - amount).max(0.0);
    }

    /// What one answer may hold at most, so that the pace is even.
    pub(super) fn at_once_max(&mut self, windows: Windows, limit: f64, now: Millis) -> f64 {
        self.pay(windows, limit, now);
        match self.eased {
            true => windows.at_once_max(limit),
            false => slack(windows, limit),
        }
    }

    /// Whether it is as if nothing had ever been recorded.
    pub(super) fn is_blank(&mut self, windows: Windows, limit: f64, now: Millis) -> bool {
        self.pay(windows, limit, now);
        self.owed <= 0.0 && self.rate.is_blank(windows, now)
    }

    fn pass(&mut self, windows: Windows, limit: f64, amount: f64, now: Millis) {
        self.pay(windows, limit, now);
        self.owed += amount;
        self.rate.record(windows, amount, now);
    }

    fn pause(&mut self, windows: Windows, limit: f64, now: Millis) -> Millis {
        if limit <= 0.0 || self.eased {
            let by_rate = self.rate.measure(windows, now).throttle(limit, windows.whole());
            if limit <= 0.0 || by_rate.0 == 0 {
                return by_rate;
            }
        }
        self.pause_of_pace(windows, limit, now)
    }

    /// Called with a limit above zero.
    fn pause_of_pace(&mut self, windows: Windows, limit: f64, now: Millis) -> Millis {
        self.pay(windows, limit, now);
        let beyond = self.owed - slack(windows, limit);
        if beyond <= 0.0 {
            return Millis(0);
        }
        // The throttle time on the wire is a 32-bit number.
        let millis = (beyond / limit * 1_000.0).ceil().clamp(1.0, f64::from(i32::MAX));
        self.eased = false;
        Millis(millis as i64)
    }

    /// Time has passed.
    fn pay(&mut self, windows: Windows, limit: f64, now: Millis) {
        let elapsed = (now - self.at).0;
        // A little back is another thread's reading of the clock; more is a clock that was set.
        if !(-CLOCK_WAS_SET.0..0).contains(&elapsed) {
            self.at = now;
        }
        let limit = limit.max(0.0);
        let left = self.owed - limit * elapsed.max(0) as f64 / 1_000.0;
        self.owed = left.max(0.0);
        self.eased |= limit > 0.0 && -left >= slack(windows, limit);
    }
}

/// What may be owed without a pause: enough to make up for the time that a client takes to come back.
fn slack(windows: Windows, limit: f64) -> f64 {
    limit * windows.length.0 as f64 / 2_000.0
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const WINDOWS: Windows = Windows {
        count: 11,
        length: Millis(1_000),
    };
    const LIMIT: f64 = 1_000.0;

    #[derive(Clone, Copy)]
    enum Kind {
        Produce,
        Fetch,
    }

    /// Pauses, for `(at, amount)` one after the other.
    fn pauses(kind: Kind, limit: f64, events: &[(i64, f64)]) -> Vec<i64> {
        let mut pace = Pace::new(Millis(0));
        let pause = |&(at, amount): &(i64, f64)| match kind {
            Kind::Produce => pace.record(WINDOWS, limit, amount, Millis(at)).0,
            Kind::Fetch => pace.admit(WINDOWS, limit, amount, Millis(at)).0,
        };
        events.iter().map(pause).collect()
    }

    #[test]
    fn who_owes_more_than_half_a_window_pauses_until_it_does_not() {
        let check = |name: &str, limit: f64, events: &[(i64, f64)], expected: &[i64]| {
            assert_eq!(pauses(Kind::Produce, limit, events), expected, "{name}");
        };
        check("half a window at once", LIMIT, &[(0, 500.0)], &[0]);
        check("more at once", LIMIT, &[(0, 600.0)], &[100]);
        let events = [(0, 500.0), (100, 100.0), (200, 200.0)];
        check("time pays", LIMIT, &events, &[0, 0, 100]);
        let events = [(0, 2_500.0), (0, 100.0)];
        check("the pause is not shortened by others", LIMIT, &events, &[2_000, 2_100]);
        let events = [(0, 0.0), (9_000, 9_999.0), (9_000, 2.0)];
        check("a silent client may make up for it", LIMIT, &events, &[0, 0, 9_501]);
        let events = [(0, 0.0), (9_000, 10_001.0), (18_501, 100.0)];
        check("and is then held to the pace", LIMIT, &events, &[0, 9_501, 100]);
        check(
            "half a window is silence",
            LIMIT,
            &[(0, 0.0), (499, 1_000.0)],
            &[0, 500],
        );
        let bursts = [(0, 2_000.0), (2_500, 2_000.0), (5_000, 2_000.0), (7_500, 2_000.0)];
        check(
            "bursts within the windows, but for the first",
            LIMIT,
            &bursts,
            &[1_500, 0, 0, 0],
        );
        let events = [(0, 0.0), (0, 1.0), (5_000, 0.0)];
        check("nothing may pass", 0.0, &events, &[0, 11_000, 11_000]);
        check(
            "nothing may pass any more",
            0.0,
            &[(0, 1.0), (20_000, 0.0)],
            &[11_000, 0],
        );
        check("no overflow", 1e-300, &[(0, 1e300)], &[i64::from(i32::MAX)]);
    }

    #[test]
    fn an_answer_passes_whole_or_waits() {
        let check = |name: &str, limit: f64, events: &[(i64, f64)], expected: &[i64]| {
            assert_eq!(pauses(Kind::Fetch, limit, events), expected, "{name}");
        };
        check(
            "of any size, if nothing is owed",
            LIMIT,
            &[(0, 50_000.0), (0, 1.0)],
            &[0, 49_500],
        );
        check(
            "what waited is not owed",
            LIMIT,
            &[(0, 700.0), (0, 700.0), (200, 700.0)],
            &[0, 200, 0],
        );
        check(
            "after silence",
            LIMIT,
            &[(0, 0.0), (9_000, 9_999.0), (9_000, 700.0)],
            &[0, 0, 9_499],
        );
        check(
            "after silence, more than all windows",
            LIMIT,
            &[(0, 0.0), (9_000, 50_000.0)],
            &[0, 0],
        );
        check(
            "nothing may pass",
            0.0,
            &[(0, 0.0), (0, 1.0), (20_000, 1.0)],
            &[0, 11_000, 11_000],
        );
    }

    #[test]
    fn what_did_not_pass_is_not_owed() {
        let mut pace = Pace::new(Millis(0));
        assert_eq!(pace.admit(WINDOWS, LIMIT, 5_000.0, Millis(0)), Millis(0));
        pace.take_back(WINDOWS, LIMIT, 5_000.0, Millis(0));
        assert!(pace.is_blank(WINDOWS, LIMIT, Millis(11_000)));
        assert_eq!(pace.admit(WINDOWS, LIMIT, 1.0, Millis(0)), Millis(0));
    }

    #[test]
    fn an_answer_is_no_larger_than_an_even_pace_lets_it_be() {
        let mut pace = Pace::new(Millis(0));
        assert_eq!(pace.at_once_max(WINDOWS, LIMIT, Millis(0)), 500.0);
        assert_eq!(pace.at_once_max(WINDOWS, LIMIT, Millis(500)), 10_000.0, "eased");
        pace.record(WINDOWS, LIMIT, 20_000.0, Millis(500));
        assert_eq!(pace.at_once_max(WINDOWS, LIMIT, Millis(20_500)), 500.0);
    }

    /// What `clients` connections get that always have something to send and pause as told: `(when, how much)`.
    fn greedy(kind: Kind, connections: usize, amount: f64, delay: i64, until: i64) -> Vec<(i64, f64)> {
        let mut pace = Pace::new(Millis(0));
        let mut ready = vec![0_i64; connections];
        let mut passed = Vec::new();
        loop {
            let (at, now) = ready
                .iter()
                .copied()
                .enumerate()
                .min_by_key(|(_, ready)| *ready)
                .expect("some");
            if now > until {
                return passed;
            }
            let pause = match kind {
                Kind::Produce => {
                    passed.push((now, amount));
                    pace.record(WINDOWS, LIMIT, amount, Millis(now))
                }
                Kind::Fetch => {
                    let amount = amount.min(pace.at_once_max(WINDOWS, LIMIT, Millis(now)));
                    let pause = pace.admit(WINDOWS, LIMIT, amount, Millis(now));
                    if pause.0 == 0 {
                        passed.push((now, amount));
                    }
                    pause
                }
            };
            ready[at] = now + pause.0 + delay;
        }
    }

    /// What has passed in the 30 seconds after each second, as a part of the limit.
    fn over_30_seconds(passed: &[(i64, f64)], until: i64) -> Vec<f64> {
        let of = |from: i64| {
            let within = passed.iter().filter(|(at, _)| (from..from + 30_000).contains(at));
            within.map(|(_, amount)| amount).sum::<f64>() / (30.0 * LIMIT)
        };
        (0..=until - 30_000).step_by(1_000).map(of).collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]

        /// Whoever always has something to send gets its limit over any 30 seconds, from the first on.
        #[test]
        fn whoever_is_greedy_gets_its_limit(
            fetches in any::<bool>(),
            connections in 1..5_usize,
            amount in 0.002..0.5_f64,
            delay in 1..200_i64,
        ) {
            let amount = amount * LIMIT;
            // Together they can go at twice the limit at least.
            prop_assume!(amount * connections as f64 * 1_000.0 / delay as f64 > 2.0 * LIMIT);
            let kind = if fetches { Kind::Fetch } else { Kind::Produce };
            // Requests that are on their way at once are beyond what one alone would be.
            let tolerance = 0.05 + (connections - 1) as f64 * amount / (30.0 * LIMIT);
            for (second, found) in over_30_seconds(&greedy(kind, connections, amount, delay, 90_000), 90_000).into_iter().enumerate() {
                prop_assert!((found - 1.0).abs() <= tolerance, "{found} of the limit from second {second} on");
            }
        }

        /// Nobody gets more than its limit over any 30 seconds by being silent now and then.
        #[test]
        fn silence_and_bursts_do_not_get_more(
            fetches in any::<bool>(),
            steps in prop::collection::vec((0..15_000_i64, 0.01..0.5_f64, 1..60_u32), 1..40),
        ) {
            let mut pace = Pace::new(Millis(0));
            let (mut now, mut passed) = (0, Vec::new());
            for (silence, amount, times) in steps {
                now += silence;
                for _ in 0..times {
                    let amount = amount * LIMIT;
                    let pause = match fetches {
                        false => {
                            passed.push((now, amount));
                            pace.record(WINDOWS, LIMIT, amount, Millis(now))
                        }
                        true => {
                            let pause = pace.admit(WINDOWS, LIMIT, amount, Millis(now));
                            if pause.0 == 0 {
                                passed.push((now, amount));
                            }
                            pause
                        }
                    };
                    now += pause.0 + 1;
                }
            }
            for (second, found) in over_30_seconds(&passed, now.max(30_000)).into_iter().enumerate() {
                prop_assert!(found <= 1.08, "{found} of the limit from second {second} on");
            }
        }
    }
}
