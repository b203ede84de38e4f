//! The quotas of users and client ids: what may be set, what has been used, and how long whoever used too much pauses.
//!
//! Decides how long a pause must be; the answer carries it and the connection keeps to it (KIP-219). Bytes produced and
//! fetched are held to a pace, the time of requests is measured as a rate, changes for the controller by a bucket of
//! tokens (KIP-599). Reads no clock. Where no quota of a kind is set, asking costs one relaxed load.
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
use super::pace::Pace;
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
    pub produce: ByteQuota,
    /// Bytes of fetch responses a second.
    pub fetch: ByteQuota,
    /// Percent of one thread.
    pub request: TimeQuota,
    /// Partitions created or deleted a second.
    pub mutation: MutationQuota,
}

impl ClientQuotas {
    /// No quota is set. `windows`: `quota.window.*`; `mutation`: `controller.quota.window.*`.
    pub fn new(windows: Windows, mutation: Windows) -> Self {
        Self {
            produce: ByteQuota(Measures::new(windows)),
            fetch: ByteQuota(Measures::new(windows)),
            request: TimeQuota(Measures::new(windows)),
            mutation: MutationQuota(Measures::new(mutation)),
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
        self.produce.0.set(entity, number(PRODUCER_BYTE_RATE, true));
        self.fetch.0.set(entity, number(CONSUMER_BYTE_RATE, true));
        self.request.0.set(entity, number(REQUEST_PERCENTAGE, false));
        self.mutation.0.set(entity, number(CONTROLLER_MUTATION_RATE, false));
    }
}

/// Limits of one kind, and what has been measured of each who has one.
#[derive(Debug)]
struct Measures<T> {
    windows: Windows,
    any: AtomicBool,
    state: Mutex<State<T>>,
}

#[derive(Debug)]
struct State<T> {
    limits: Limits,
    counted: Counted<T>,
}

/// What is measured of one client.
trait Measure {
    /// At the client's first sight.
    fn new(windows: Windows, limit: f64, now: Millis) -> Self;

    /// Whether it is as good as new.
    fn is_blank(&mut self, windows: Windows, limit: f64, now: Millis) -> bool;
}

impl<T: Measure> Measures<T> {
    fn new(windows: Windows) -> Self {
        Self {
            windows,
            any: AtomicBool::new(false),
            state: Mutex::new(State {
                limits: Limits::default(),
                counted: Counted::default(),
            }),
        }
    }

    fn is_any(&self) -> bool {
        self.any.load(Ordering::Relaxed)
    }

    fn set(&self, entity: &Entity, limit: Option<f64>) {
        let mut state = self.state.lock();
        state.limits.set(entity, limit);
        self.any.store(!state.limits.is_empty(), Ordering::Relaxed);
    }

    /// Does something with what is measured of a client and its limit, if it has one.
    fn with<R>(&self, client: Client<'_>, now: Millis, act: impl FnOnce(&mut T, f64, Windows) -> R) -> Option<R> {
        if !self.is_any() {
            return None;
        }
        let windows = self.windows;
        let mut state = self.state.lock();
        let State { limits, counted } = &mut *state;
        let (tags, limit) = limits.find(client.user, client.client_id)?;
        let measure = counted.of(
            tags,
            now,
            || T::new(windows, limit, now),
            |measure| measure.is_blank(windows, limit, now),
        );
        Some(act(measure, limit, windows))
    }
}

impl Measure for Pace {
    fn new(_: Windows, _: f64, now: Millis) -> Self {
        Self::new(now)
    }

    fn is_blank(&mut self, windows: Windows, limit: f64, now: Millis) -> bool {
        Self::is_blank(self, windows, limit, now)
    }
}

impl Measure for Rate {
    fn new(_: Windows, _: f64, _: Millis) -> Self {
        Self::default()
    }

    fn is_blank(&mut self, windows: Windows, _: f64, now: Millis) -> bool {
        Self::is_blank(self, windows, now)
    }
}

impl Measure for TokenBucket {
    fn new(windows: Windows, limit: f64, now: Millis) -> Self {
        Self::full(windows, limit, now)
    }

    fn is_blank(&mut self, windows: Windows, limit: f64, now: Millis) -> bool {
        self.is_full(windows, limit, now)
    }
}

/// A quota of bytes a second.
#[derive(Debug)]
pub struct ByteQuota(Measures<Pace>);

impl ByteQuota {
    /// Whether anybody has such a quota.
    pub fn is_any(&self) -> bool {
        self.0.is_any()
    }

    /// The client has sent so much; how long it must pause. Zero: it is within its quota.
    pub fn record(&self, client: Client<'_>, amount: f64, now: Millis) -> Millis {
        let pause = self.0.with(client, now, |pace, limit, windows| {
            pace.record(windows, limit, amount, now)
        });
        pause.unwrap_or(Millis(0))
    }

    /// The client would get so much. Zero: it does, and that is recorded; else it gets nothing, and must pause so long.
    pub fn admit(&self, client: Client<'_>, amount: f64, now: Millis) -> Millis {
        let pause = self.0.with(client, now, |pace, limit, windows| {
            pace.admit(windows, limit, amount, now)
        });
        pause.unwrap_or(Millis(0))
    }

    /// What was recorded did not take place.
    pub fn take_back(&self, client: Client<'_>, amount: f64, now: Millis) {
        self.0.with(client, now, |pace, limit, windows| {
            pace.take_back(windows, limit, amount, now)
        });
    }

    /// More than so much at once would not be an even pace; or, where an answer is cut wherever that is and so must be
    /// large enough for any batch, more than may ever pass at once. `None`: it has no quota.
    pub fn at_once_max(&self, client: Client<'_>, is_cut: bool, now: Millis) -> Option<f64> {
        self.0.with(client, now, |pace, limit, windows| match is_cut {
            true => windows.at_once_max(limit),
            false => pace.at_once_max(windows, limit, now),
        })
    }
}

/// A quota of the time that requests take.
#[derive(Debug)]
pub struct TimeQuota(Measures<Rate>);

impl TimeQuota {
    /// Whether anybody has such a quota.
    pub fn is_any(&self) -> bool {
        self.0.is_any()
    }

    /// The client has used so much, in percent of a thread and a second; how long it must pause, at most one window.
    pub fn record(&self, client: Client<'_>, percent: f64, now: Millis) -> Millis {
        let pause = self.0.with(client, now, |rate, limit, windows| {
            rate.record(windows, percent, now);
            rate.measure(windows, now)
                .throttle(limit, windows.whole())
                .min(windows.length)
        });
        pause.unwrap_or(Millis(0))
    }
}

/// The quota for changes that the controller must carry out.
#[derive(Debug)]
pub struct MutationQuota(Measures<TokenBucket>);

impl MutationQuota {
    /// So many changes are wished, unless the client owes some.
    ///
    /// # Errors
    /// It does: how long it must wait. Nothing was counted.
    pub fn ask(&self, client: Client<'_>, changes: f64, now: Millis) -> Result<(), Millis> {
        let asked = self.0.with(client, now, |bucket, limit, windows| {
            bucket.take_strictly(windows, limit, changes, now)
        });
        asked.unwrap_or(Ok(()))
    }

    /// So many changes take place; how long the client must pause.
    pub fn record(&self, client: Client<'_>, changes: f64, now: Millis) -> Millis {
        let pause = self.0.with(client, now, |bucket, limit, windows| {
            bucket.take_anyway(windows, limit, changes, now)
        });
        pause.unwrap_or(Millis(0))
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
        assert_eq!(quotas.produce.record(ALICE, 500.0, Millis(0)), Millis(0));
        assert_eq!(quotas.produce.record(ALICE, 1_000.0, Millis(0)), Millis(1_000));
        assert_eq!(quotas.produce.record(BOB, 1e12, Millis(0)), Millis(0));
        assert_eq!(quotas.fetch.admit(ALICE, 1e12, Millis(0)), Millis(0), "another kind");
    }

    #[test]
    fn a_changed_quota_is_obeyed_with_what_was_used_before() {
        let quotas = quotas();
        set(&quotas, &alice(), &[(CONSUMER_BYTE_RATE, "1000")]);
        assert_eq!(quotas.fetch.admit(ALICE, 10_000.0, Millis(0)), Millis(0));
        set(&quotas, &alice(), &[(CONSUMER_BYTE_RATE, "500")]);
        assert_eq!(quotas.fetch.admit(ALICE, 1.0, Millis(0)), Millis(19_500));
        set(&quotas, &alice(), &[]);
        assert!(!quotas.fetch.is_any());
        assert_eq!(quotas.fetch.admit(ALICE, 1e12, Millis(0)), Millis(0));
    }

    #[test]
    fn what_was_not_sent_is_taken_back() {
        let quotas = quotas();
        set(&quotas, &alice(), &[(CONSUMER_BYTE_RATE, "1000")]);
        assert_eq!(quotas.fetch.admit(ALICE, 20_000.0, Millis(0)), Millis(0));
        assert_eq!(quotas.fetch.admit(ALICE, 1.0, Millis(0)), Millis(19_500));
        quotas.fetch.take_back(ALICE, 20_000.0, Millis(0));
        assert_eq!(quotas.fetch.admit(ALICE, 1.0, Millis(0)), Millis(0));
        assert_eq!(quotas.fetch.at_once_max(ALICE, false, Millis(0)), Some(500.0));
        assert_eq!(quotas.fetch.at_once_max(ALICE, true, Millis(0)), Some(10_000.0));
        assert_eq!(quotas.fetch.at_once_max(BOB, false, Millis(0)), None);
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
