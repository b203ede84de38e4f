//! The quotas of users and client ids: what may be set, what has been used, and how long whoever used too much pauses.
//!
//! Decides how long a pause must be; the answer carries it and the connection keeps to it (KIP-219). Bytes produced and
//! fetched and the time of requests are measured as rates, changes for the controller by a bucket of tokens (KIP-599).
//! Reads no clock. Where no quota of a kind is set, asking costs one relaxed load.
//!
//! Source: Kafka 3.9 `ClientQuotaManager`, `ClientRequestQuotaManager`, `ControllerMutationQuotaManager`,
//! `QuotaConfigHandler`.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};

use model::Millis;
use parking_lot::Mutex;
use zk_schema::config::Entity;

use super::bucket::TokenBucket;
use super::counted::Counted;
use super::limits::Limits;
use super::window::{Rate, Windows};

/// The key of [`ClientQuotas::produce`].
pub const PRODUCER_BYTE_RATE: &str = "producer_byte_rate";
/// The key of [`ClientQuotas::fetch`].
pub const CONSUMER_BYTE_RATE: &str = "consumer_byte_rate";
/// The key of [`ClientQuotas::request`].
pub const REQUEST_PERCENTAGE: &str = "request_percentage";
/// The key of [`ClientQuotas::mutation`].
pub const CONTROLLER_MUTATION_RATE: &str = "controller_mutation_rate";

/// Who asks for something: a principal's name and a client id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Client<'a> {
    /// The principal's name.
    pub user: &'a str,
    /// What the client calls itself; may be empty.
    pub client_id: &'a str,
}

/// All quotas of clients.
#[derive(Debug)]
pub struct ClientQuotas {
    /// Bytes of produce requests a second.
    pub produce: RateQuota,
    /// Bytes of fetch responses a second.
    pub fetch: RateQuota,
    /// Percent of one thread.
    pub request: RateQuota,
    /// Partitions created or deleted a second.
    pub mutation: MutationQuota,
}

impl ClientQuotas {
    /// No quota is set. `windows`: `quota.window.*`; `mutation`: `controller.quota.window.*`.
    pub fn new(windows: Windows, mutation: Windows) -> Self {
        Self {
            produce: RateQuota::new(windows, None),
            fetch: RateQuota::new(windows, None),
            request: RateQuota::new(windows, Some(windows.length)),
            mutation: MutationQuota::new(mutation),
        }
    }

    /// Takes over what is now set for a user, a client id, or both. What is no number is logged, and as if not set.
    pub fn apply(&self, entity: &Entity, config: &BTreeMap<String, String>) {
        let number = |key: &str, whole: bool| {
            let text = config.get(key)?;
            let parsed = match whole {
                true => text.trim().parse::<i64>().ok().map(|number| number as f64),
                false => text.trim().parse::<f64>().ok().filter(|number| number.is_finite()),
            };
            if parsed.is_none() {
                tracing::error!(entity = entity.relative_path(), key, text, "a quota is not a number");
            }
            parsed
        };
        self.produce.set(entity, number(PRODUCER_BYTE_RATE, true));
        self.fetch.set(entity, number(CONSUMER_BYTE_RATE, true));
        self.request.set(entity, number(REQUEST_PERCENTAGE, false));
        self.mutation.set(entity, number(CONTROLLER_MUTATION_RATE, false));
    }
}

/// A quota that is measured as a rate.
#[derive(Debug)]
pub struct RateQuota {
    windows: Windows,
    /// The longest pause.
    pause_max: Option<Millis>,
    any: AtomicBool,
    state: Mutex<State<Rate>>,
}

#[derive(Debug)]
struct State<T> {
    limits: Limits,
    counted: Counted<T>,
}

impl<T> Default for State<T> {
    fn default() -> Self {
        Self {
            limits: Limits::default(),
            counted: Counted::default(),
        }
    }
}

impl RateQuota {
    fn new(windows: Windows, pause_max: Option<Millis>) -> Self {
        Self {
            windows,
            pause_max,
            any: AtomicBool::new(false),
            state: Mutex::default(),
        }
    }

    /// Whether anybody has such a quota.
    pub fn is_any(&self) -> bool {
        self.any.load(Ordering::Relaxed)
    }

    /// The client has used, or is about to use, so much; how long it must pause. Zero: it is within its quota.
    pub fn record(&self, client: Client<'_>, amount: f64, now: Millis) -> Millis {
        let pause = self.with(client, now, |rate, limit, windows| {
            rate.record(windows, amount, now);
            rate.measure(windows, now).throttle(limit, windows.whole())
        });
        let pause = pause.unwrap_or(Millis(0));
        self.pause_max.map_or(pause, |max| pause.min(max))
    }

    /// What was recorded did not take place.
    pub fn take_back(&self, client: Client<'_>, amount: f64, now: Millis) {
        self.with(client, now, |rate, _, windows| rate.record(windows, -amount, now));
    }

    /// More than so much at once would make the client pause even after a long silence. `None`: it has no quota.
    pub fn at_once_max(&self, client: Client<'_>) -> Option<f64> {
        if !self.is_any() {
            return None;
        }
        let state = self.state.lock();
        let (_, limit) = state.limits.find(client.user, client.client_id)?;
        Some(self.windows.at_once_max(limit))
    }

    fn with<R>(&self, client: Client<'_>, now: Millis, act: impl FnOnce(&mut Rate, f64, Windows) -> R) -> Option<R> {
        if !self.is_any() {
            return None;
        }
        let windows = self.windows;
        let mut state = self.state.lock();
        let State { limits, counted } = &mut *state;
        let (tags, limit) = limits.find(client.user, client.client_id)?;
        let rate = counted.of(tags, now, Rate::default, |rate| rate.is_blank(windows, now));
        Some(act(rate, limit, windows))
    }

    fn set(&self, entity: &Entity, limit: Option<f64>) {
        let mut state = self.state.lock();
        state.limits.set(entity, limit);
        self.any.store(!state.limits.is_empty(), Ordering::Relaxed);
    }
}

/// The quota for changes that the controller must carry out.
#[derive(Debug)]
pub struct MutationQuota {
    windows: Windows,
    any: AtomicBool,
    state: Mutex<State<TokenBucket>>,
}

impl MutationQuota {
    fn new(windows: Windows) -> Self {
        Self {
            windows,
            any: AtomicBool::new(false),
            state: Mutex::default(),
        }
    }

    /// So many changes are wished, unless the client owes some.
    ///
    /// # Errors
    /// It does: how long it must wait. Nothing was counted.
    pub fn ask(&self, client: Client<'_>, changes: f64, now: Millis) -> Result<(), Millis> {
        self.with(client, now, |bucket, limit, windows| {
            bucket.take_strictly(windows, limit, changes, now)
        })
        .unwrap_or(Ok(()))
    }

    /// So many changes take place; how long the client must pause.
    pub fn record(&self, client: Client<'_>, changes: f64, now: Millis) -> Millis {
        self.with(client, now, |bucket, limit, windows| {
            bucket.take_anyway(windows, limit, changes, now)
        })
        .unwrap_or(Millis(0))
    }

    fn with<R>(
        &self,
        client: Client<'_>,
        now: Millis,
        act: impl FnOnce(&mut TokenBucket, f64, Windows) -> R,
    ) -> Option<R> {
        if !self.any.load(Ordering::Relaxed) {
            return None;
        }
        let windows = self.windows;
        let mut state = self.state.lock();
        let State { limits, counted } = &mut *state;
        let (tags, limit) = limits.find(client.user, client.client_id)?;
        let bucket = counted.of(
            tags,
            now,
            || TokenBucket::full(windows, limit, now),
            |bucket| bucket.is_full(windows, limit, now),
        );
        Some(act(bucket, limit, windows))
    }

    fn set(&self, entity: &Entity, limit: Option<f64>) {
        let mut state = self.state.lock();
        state.limits.set(entity, limit);
        self.any.store(!state.limits.is_empty(), Ordering::Relaxed);
    }
}

/// What one request may change, and how long its client must pause for it.
///
/// Newer versions of requests can be refused with THROTTLING_QUOTA_EXCEEDED, and are, as long as the client owes
/// changes; older ones are served, and the client pauses.
#[derive(Clone, Copy, Debug)]
pub struct Mutations<'a> {
    quota: &'a MutationQuota,
    client: Client<'a>,
    strict: bool,
    pause: Millis,
    told_at: Millis,
}

impl<'a> Mutations<'a> {
    /// For one request; `strict`: its version can be refused.
    pub fn new(quota: &'a MutationQuota, client: Client<'a>, strict: bool) -> Self {
        Self {
            quota,
            client,
            strict,
            pause: Millis(0),
            told_at: Millis(0),
        }
    }

    /// Whether so many changes may take place.
    ///
    /// # Errors
    /// Not before so much time has passed.
    pub fn ask(&mut self, changes: usize, now: Millis) -> Result<(), Millis> {
        let changes = changes as f64;
        let pause = match self.strict {
            true => self.quota.ask(self.client, changes, now).err(),
            false => Some(self.quota.record(self.client, changes, now)).filter(|pause| pause.0 > 0),
        };
        match pause {
            None => Ok(()),
            Some(pause) => {
                (self.pause, self.told_at) = (pause, now);
                if self.strict { Err(pause) } else { Ok(()) }
            }
        }
    }

    /// What is left of the pause: the request may have waited since.
    pub fn pause(&self, now: Millis) -> Millis {
        Millis((self.pause - (now - self.told_at)).0.max(0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALICE: Client<'static> = Client {
        user: "alice",
        client_id: "app",
    };
    const BOB: Client<'static> = Client {
        user: "bob",
        client_id: "app",
    };

    fn quotas() -> ClientQuotas {
        ClientQuotas::new(Windows::new(11, 1), Windows::new(11, 1))
    }

    fn set(quotas: &ClientQuotas, entity: &Entity, pairs: &[(&str, &str)]) {
        let config = pairs.iter().map(|&(key, value)| (key.to_owned(), value.to_owned()));
        quotas.apply(entity, &config.collect());
    }

    fn alice() -> Entity {
        Entity::User(Some("alice".into()))
    }

    #[test]
    fn who_uses_more_than_its_quota_pauses_and_others_do_not() {
        let quotas = quotas();
        assert_eq!(quotas.produce.record(ALICE, 1e12, Millis(0)), Millis(0), "no quota");
        set(&quotas, &alice(), &[(PRODUCER_BYTE_RATE, "1000")]);
        assert_eq!(quotas.produce.record(ALICE, 10_000.0, Millis(0)), Millis(0));
        assert_eq!(quotas.produce.record(ALICE, 1_000.0, Millis(0)), Millis(1_000));
        assert_eq!(quotas.produce.record(BOB, 1e12, Millis(0)), Millis(0));
        assert_eq!(quotas.fetch.record(ALICE, 1e12, Millis(0)), Millis(0), "another kind");
    }

    #[test]
    fn a_changed_quota_is_obeyed_with_what_was_used_before() {
        let quotas = quotas();
        set(&quotas, &alice(), &[(CONSUMER_BYTE_RATE, "1000")]);
        assert_eq!(quotas.fetch.record(ALICE, 10_000.0, Millis(0)), Millis(0));
        set(&quotas, &alice(), &[(CONSUMER_BYTE_RATE, "500")]);
        assert_eq!(quotas.fetch.record(ALICE, 0.0, Millis(0)), Millis(10_000));
        set(&quotas, &alice(), &[]);
        assert!(!quotas.fetch.is_any());
        assert_eq!(quotas.fetch.record(ALICE, 1e12, Millis(0)), Millis(0));
    }

    #[test]
    fn what_was_not_sent_is_taken_back() {
        let quotas = quotas();
        set(&quotas, &alice(), &[(CONSUMER_BYTE_RATE, "1000")]);
        assert_eq!(quotas.fetch.record(ALICE, 20_000.0, Millis(0)), Millis(10_000));
        quotas.fetch.take_back(ALICE, 20_000.0, Millis(0));
        assert_eq!(quotas.fetch.record(ALICE, 10_000.0, Millis(0)), Millis(0));
        assert_eq!(quotas.fetch.at_once_max(ALICE), Some(10_000.0));
        assert_eq!(quotas.fetch.at_once_max(BOB), None);
    }

    #[test]
    fn nobody_pauses_longer_than_a_window_for_the_time_of_its_requests() {
        let quotas = quotas();
        set(&quotas, &alice(), &[(REQUEST_PERCENTAGE, "0.5")]);
        assert_eq!(quotas.request.record(ALICE, 1_000.0, Millis(0)), Millis(1_000));
    }

    #[test]
    fn numbers_are_read_as_kafka_does() {
        let check = |key: &str, text: &str, any: bool| {
            let quotas = quotas();
            set(&quotas, &alice(), &[(key, text)]);
            let found = quotas.produce.is_any() || quotas.request.is_any();
            assert_eq!(found, any, "{key}={text}");
        };
        check(PRODUCER_BYTE_RATE, "1000", true);
        check(PRODUCER_BYTE_RATE, "1000.5", false);
        check(PRODUCER_BYTE_RATE, "many", false);
        check(REQUEST_PERCENTAGE, "12.5", true);
        check(REQUEST_PERCENTAGE, "NaN", false);
        check("SCRAM-SHA-256", "salt=…", false);
    }

    #[test]
    fn newer_requests_are_refused_and_older_ones_pause() {
        let quotas = quotas();
        set(&quotas, &alice(), &[(CONTROLLER_MUTATION_RATE, "1")]);
        let mut strict = Mutations::new(&quotas.mutation, ALICE, true);
        assert_eq!(strict.ask(13, Millis(0)), Ok(()), "the last may owe");
        assert_eq!(strict.pause(Millis(0)), Millis(0));
        assert_eq!(strict.ask(1, Millis(0)), Err(Millis(2_000)));
        assert_eq!(strict.pause(Millis(500)), Millis(1_500));
        assert_eq!(strict.pause(Millis(9_500)), Millis(0));
        let mut permissive = Mutations::new(&quotas.mutation, ALICE, false);
        assert_eq!(permissive.ask(1, Millis(0)), Ok(()));
        assert_eq!(permissive.pause(Millis(0)), Millis(3_000));
        let mut other = Mutations::new(&quotas.mutation, BOB, true);
        assert_eq!(other.ask(1_000, Millis(0)), Ok(()));
    }
}
