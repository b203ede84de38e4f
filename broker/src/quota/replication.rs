//! Replication throttles: so many bytes a second for the replicas that an administrator names.
//!
//! A quota knows which partitions it is about (`leader.replication.throttled.replicas`, `follower.…`) and how much may
//! pass (`leader.replication.throttled.rate`, `follower.…`). It does not hold anything back: who sends or fetches asks
//! [`ReplicationQuota::is_throttled`] and [`ReplicationQuota::is_exceeded`], and records what has passed. Free to ask
//! while nothing is throttled. Source: Kafka 3.9 `ReplicationQuotaManager`, KIP-73.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};

use hashbrown::HashMap;
use model::{BrokerId, Millis};
use parking_lot::{Mutex, RwLock};

use super::SampledRate;

/// `replication.quota.window.num`.
const SAMPLES: usize = 11;
/// `replication.quota.window.size.seconds`.
const WINDOW: Millis = Millis(1_000);
/// A rate without limit. Source: Kafka `QuotaConfigs.QUOTA_BYTES_PER_SECOND_DEFAULT`.
const UNLIMITED: i64 = i64::MAX;

/// Which replicas of a topic are throttled on this broker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Throttled {
    /// `*`.
    All,
    /// These partitions.
    Partitions(BTreeSet<i32>),
}

impl Throttled {
    /// Reads `partition:broker,…` or `*`, as far as it concerns `me`. `None`: nothing is throttled. What is neither is
    /// left out: whoever wrote it did so past our checks.
    ///
    /// Source: Kafka 3.9 `TopicConfigHandler.parseThrottledPartitions`.
    pub fn parse(text: &str, me: BrokerId) -> Option<Self> {
        let text = text.trim();
        if text.is_empty() {
            return None;
        }
        if text == "*" {
            return Some(Self::All);
        }
        let partitions = text.split(',').filter_map(|entry| {
            let (partition, broker) = entry.trim().split_once(':')?;
            let broker: i32 = broker.parse().ok()?;
            (broker == me.0).then(|| partition.parse().ok()).flatten()
        });
        Some(Self::Partitions(partitions.collect()))
    }

    fn contains(&self, partition: i32) -> bool {
        match self {
            Self::All => true,
            Self::Partitions(partitions) => partitions.contains(&partition),
        }
    }
}

/// One direction of replication.
#[derive(Debug)]
pub struct ReplicationQuota {
    bytes_per_second_max: AtomicI64,
    /// Whether any topic is throttled: asked for each partition of each follower's fetch.
    any: AtomicBool,
    topics: RwLock<HashMap<Arc<str>, Throttled>>,
    rate: Mutex<SampledRate>,
}

impl ReplicationQuota {
    /// No limit, nothing throttled; `samples` of `window` each count.
    pub fn new(samples: usize, window: Millis) -> Self {
        Self {
            bytes_per_second_max: AtomicI64::new(UNLIMITED),
            any: AtomicBool::new(false),
            topics: RwLock::default(),
            rate: Mutex::new(SampledRate::new(samples, window)),
        }
    }

    /// Sets the limit.
    pub fn set_rate(&self, bytes_per_second: i64) {
        self.bytes_per_second_max.store(bytes_per_second, Ordering::Release);
    }

    /// The limit; `i64::MAX` without one.
    pub fn rate(&self) -> i64 {
        self.bytes_per_second_max.load(Ordering::Acquire)
    }

    /// Says which replicas of a topic are throttled from now on.
    pub fn set_throttled(&self, topic: &str, throttled: Option<Throttled>) {
        let mut topics = self.topics.write();
        match throttled {
            Some(throttled) => {
                topics.insert(Arc::from(topic), throttled);
            }
            None => {
                topics.remove(topic);
            }
        }
        self.any.store(!topics.is_empty(), Ordering::Release);
    }

    /// Whether the quota is about this partition.
    pub fn is_throttled(&self, topic: &str, partition: i32) -> bool {
        self.any.load(Ordering::Acquire)
            && self
                .topics
                .read()
                .get(topic)
                .is_some_and(|throttled| throttled.contains(partition))
    }

    /// Whether more has passed than may.
    pub fn is_exceeded(&self, now: Millis) -> bool {
        let limit = self.rate();
        limit != UNLIMITED && self.rate.lock().per_second(now) > limit as f64
    }

    /// So many bytes of throttled partitions have passed.
    pub fn record(&self, bytes: usize, now: Millis) {
        if bytes > 0 {
            self.rate.lock().record(i64::try_from(bytes).unwrap_or(i64::MAX), now);
        }
    }
}

impl Default for ReplicationQuota {
    fn default() -> Self {
        Self::new(SAMPLES, WINDOW)
    }
}

/// The quotas of a broker.
#[derive(Debug, Default)]
pub struct ReplicationQuotas {
    /// What leaders here send to followers that are not in sync.
    pub leader: ReplicationQuota,
    /// What followers here fetch.
    pub follower: ReplicationQuota,
    /// What moves between log directories: all of it is throttled.
    pub alter_log_dirs: ReplicationQuota,
}

impl ReplicationQuotas {
    /// Takes over a topic's configuration.
    pub fn topic_changed(&self, topic: &str, me: BrokerId, value: impl Fn(&str) -> Option<String>) {
        let parse = |key: &str| value(key).and_then(|text| Throttled::parse(&text, me));
        self.leader
            .set_throttled(topic, parse("leader.replication.throttled.replicas"));
        self.follower
            .set_throttled(topic, parse("follower.replication.throttled.replicas"));
    }

    /// Takes over the broker's dynamic configuration: its own over the default of all brokers.
    pub fn broker_changed(&self, value: impl Fn(&str) -> Option<String>) {
        let rate = |key: &str| {
            value(key)
                .and_then(|text| text.trim().parse().ok())
                .unwrap_or(UNLIMITED)
        };
        self.leader.set_rate(rate("leader.replication.throttled.rate"));
        self.follower.set_rate(rate("follower.replication.throttled.rate"));
        self.alter_log_dirs
            .set_rate(rate("replica.alter.log.dirs.io.max.bytes.per.second"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_of_replicas_is_read_as_far_as_it_concerns_this_broker() {
        let check = |text: &str, expected: Option<&[i32]>| {
            let found = Throttled::parse(text, BrokerId(101));
            let expected = expected.map(|list| Throttled::Partitions(list.iter().copied().collect()));
            assert_eq!(found, expected, "{text}");
        };
        check("", None);
        check("0:101", Some(&[0]));
        check("0:101,0:102,1:101", Some(&[0, 1]));
        check(" 0:101 , 1:101 ", Some(&[0, 1]));
        check("0:102", Some(&[]));
        check("nonsense,:,1:,:101,3:101", Some(&[3]));
        assert_eq!(Throttled::parse(" * ", BrokerId(101)), Some(Throttled::All));
    }

    #[test]
    fn only_named_replicas_are_throttled() {
        let quota = ReplicationQuota::default();
        assert!(!quota.is_throttled("orders", 0));
        quota.set_throttled("orders", Throttled::parse("0:1,2:1", BrokerId(1)));
        let found: Vec<_> = (0..3)
            .map(|partition| quota.is_throttled("orders", partition))
            .collect();
        assert_eq!(found, [true, false, true]);
        assert!(!quota.is_throttled("other", 0));
        quota.set_throttled("orders", Some(Throttled::All));
        assert!(quota.is_throttled("orders", 1));
        quota.set_throttled("orders", None);
        assert!(!quota.is_throttled("orders", 0));
    }

    #[test]
    fn it_is_exceeded_when_more_has_passed_than_may_until_time_has_passed() {
        let quota = ReplicationQuota::default();
        quota.record(1_000_000, Millis(0));
        assert!(!quota.is_exceeded(Millis(0)), "no limit");
        quota.set_rate(200_000);
        assert!(quota.is_exceeded(Millis(0)));
        assert!(quota.is_exceeded(Millis(4_999)));
        assert!(!quota.is_exceeded(Millis(5_000)));
        quota.set_rate(0);
        assert!(quota.is_exceeded(Millis(5_000)), "nothing may pass");
        quota.set_rate(UNLIMITED);
        assert!(!quota.is_exceeded(Millis(5_000)));
    }

    #[test]
    fn rates_come_from_the_dynamic_configuration() {
        let quotas = ReplicationQuotas::default();
        quotas.broker_changed(|key| (key == "leader.replication.throttled.rate").then(|| "1000".to_owned()));
        assert_eq!((quotas.leader.rate(), quotas.follower.rate()), (1_000, UNLIMITED));
        quotas.broker_changed(|_| None);
        assert_eq!(quotas.leader.rate(), UNLIMITED);
    }
}
