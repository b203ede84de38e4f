//! A bucket of tokens for changes that the controller must carry out: refilled at the quota's rate, emptied by changes,
//! and allowed below zero once. Pure: `now` is an argument.
//!
//! Source: Kafka 3.9 `TokenBucket`, `ControllerMutationQuotaManager`; KIP-599.

use model::Millis;

use super::window::Windows;

/// The tokens of one client.
#[derive(Clone, Debug)]
pub(super) struct TokenBucket {
    tokens: f64,
    refilled: Millis,
}

impl TokenBucket {
    /// A full one.
    pub(super) fn full(windows: Windows, limit: f64, now: Millis) -> Self {
        Self {
            tokens: burst(windows, limit),
            refilled: now,
        }
    }

    /// Takes so many tokens, if none is owed already.
    ///
    /// # Errors
    /// How long it takes until none is owed; nothing was taken.
    pub(super) fn take_strictly(
        &mut self,
        windows: Windows,
        limit: f64,
        tokens: f64,
        now: Millis,
    ) -> Result<(), Millis> {
        match self.owed_for(windows, limit, now) {
            Millis(0) => {
                self.take(windows, limit, tokens);
                Ok(())
            }
            pause => Err(pause),
        }
    }

    /// Takes so many tokens; how long it then takes until none is owed.
    pub(super) fn take_anyway(&mut self, windows: Windows, limit: f64, tokens: f64, now: Millis) -> Millis {
        self.refill(windows, limit, now);
        self.take(windows, limit, tokens);
        self.owed_for(windows, limit, now)
    }

    /// Whether it is as if nothing had ever been taken.
    pub(super) fn is_full(&mut self, windows: Windows, limit: f64, now: Millis) -> bool {
        self.refill(windows, limit, now);
        self.tokens >= burst(windows, limit)
    }

    fn take(&mut self, windows: Windows, limit: f64, tokens: f64) {
        self.tokens = (self.tokens - tokens).min(burst(windows, limit));
    }

    fn refill(&mut self, windows: Windows, limit: f64, now: Millis) {
        let elapsed = (now - self.refilled).0.max(0) as f64 / 1_000.0;
        self.tokens = (self.tokens + limit * elapsed).min(burst(windows, limit));
        self.refilled = now;
    }

    fn owed_for(&mut self, windows: Windows, limit: f64, now: Millis) -> Millis {
        self.refill(windows, limit, now);
        if self.tokens >= 0.0 {
            return Millis(0);
        }
        if limit <= 0.0 {
            // Nobody refills it: as long as a whole bucket would take, again and again.
            return windows.whole();
        }
        let millis = (-self.tokens / limit * 1_000.0 + 0.5).floor();
        Millis(millis.clamp(1.0, f64::from(i32::MAX)) as i64)
    }
}

/// What a full bucket holds: all windows' worth.
fn burst(windows: Windows, limit: f64) -> f64 {
    limit * windows.whole().0 as f64 / 1_000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    const WINDOWS: Windows = Windows {
        count: 10,
        length: Millis(1_000),
    };

    fn bucket() -> TokenBucket {
        TokenBucket::full(WINDOWS, 5.0, Millis(0))
    }

    #[test]
    fn the_last_taker_may_owe_and_the_next_must_wait() {
        let mut bucket = bucket();
        assert_eq!(bucket.take_strictly(WINDOWS, 5.0, 49.0, Millis(0)), Ok(()));
        assert_eq!(
            bucket.take_strictly(WINDOWS, 5.0, 11.0, Millis(0)),
            Ok(()),
            "one is left"
        );
        let refused = |bucket: &mut TokenBucket, now| bucket.take_strictly(WINDOWS, 5.0, 1.0, Millis(now));
        assert_eq!(refused(&mut bucket, 0), Err(Millis(2_000)));
        assert_eq!(refused(&mut bucket, 500), Err(Millis(1_500)));
        assert_eq!(refused(&mut bucket, 2_000), Ok(()), "zero is not owed");
        assert_eq!(refused(&mut bucket, 2_000), Err(Millis(200)));
    }

    #[test]
    fn who_cannot_be_refused_is_told_to_pause() {
        let mut bucket = bucket();
        assert_eq!(bucket.take_anyway(WINDOWS, 5.0, 50.0, Millis(0)), Millis(0));
        assert_eq!(bucket.take_anyway(WINDOWS, 5.0, 5.0, Millis(0)), Millis(1_000));
        assert_eq!(bucket.take_anyway(WINDOWS, 5.0, 5.0, Millis(0)), Millis(2_000));
    }

    #[test]
    fn it_fills_up_and_no_further() {
        let mut bucket = bucket();
        assert!(bucket.is_full(WINDOWS, 5.0, Millis(0)));
        assert_eq!(bucket.take_strictly(WINDOWS, 5.0, 50.0, Millis(0)), Ok(()));
        assert!(!bucket.is_full(WINDOWS, 5.0, Millis(9_000)));
        assert!(bucket.is_full(WINDOWS, 5.0, Millis(1_000_000)));
        assert_eq!(bucket.take_anyway(WINDOWS, 5.0, 51.0, Millis(1_000_000)), Millis(200));
    }

    #[test]
    fn a_quota_of_nothing_lets_one_change_pass_as_kafka_does() {
        let mut bucket = TokenBucket::full(WINDOWS, 0.0, Millis(0));
        assert_eq!(bucket.take_strictly(WINDOWS, 0.0, 3.0, Millis(0)), Ok(()));
        assert_eq!(bucket.take_strictly(WINDOWS, 0.0, 3.0, Millis(0)), Err(Millis(10_000)));
        assert_eq!(
            bucket.take_strictly(WINDOWS, 0.0, 3.0, Millis(99_000)),
            Err(Millis(10_000))
        );
    }
}
