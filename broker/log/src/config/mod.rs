//! The configuration of one topic's logs: the broker's defaults under the topic's own overrides.
//!
//! Decides which values are valid and what each means. Does not know where they come from: the broker's file, its
//! dynamic configs and `/config/topics/T` are read elsewhere.

mod keys;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;

use model::Millis;

pub use keys::{KEYS, Key, Kind, Synonym, find};

/// A value that is refused. → INVALID_CONFIG. The text is Kafka's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// The value does not have the type, or is out of bounds.
    #[error("Invalid value {value} for configuration {name}: {reason}")]
    Invalid {
        /// Of which config (its name where it was set: the topic's or the broker's).
        name: String,
        /// The value given.
        value: String,
        /// What is wrong with it.
        reason: String,
    },
    /// There is no such topic config.
    #[error("Unknown topic config name: {0}")]
    UnknownName(String),
    /// Two values contradict each other.
    #[error("{0}")]
    Conflict(String),
}

/// `compression.type`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CompressionType {
    /// Records are stored as the producer compressed them.
    Producer,
    /// Records are stored uncompressed.
    Uncompressed,
    /// zstd at `compression.zstd.level`.
    Zstd,
    /// lz4 at `compression.lz4.level`.
    Lz4,
    /// snappy.
    Snappy,
    /// gzip at `compression.gzip.level`.
    Gzip,
}

/// `message.timestamp.type`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimestampType {
    /// The producer's timestamps stay.
    CreateTime,
    /// The broker puts its own time in their place.
    LogAppendTime,
}

/// The configuration of one topic's logs. Cheap enough to clone where a config changes, shared otherwise.
///
/// Source: Kafka 3.9 `LogConfig`; the fields have the meaning of the topic configs of the same name.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs)]
pub struct LogConfig {
    pub segment_bytes: u32,
    pub segment_ms: Millis,
    pub segment_jitter_ms: Millis,
    pub segment_index_bytes: u32,
    pub index_interval_bytes: u32,
    pub flush_messages: i64,
    pub flush_ms: Millis,
    /// −1: without bound.
    pub retention_bytes: i64,
    /// −1: without bound.
    pub retention_ms: Millis,
    pub max_message_bytes: usize,
    pub file_delete_delay_ms: Millis,
    pub delete_retention_ms: Millis,
    pub min_compaction_lag_ms: Millis,
    pub max_compaction_lag_ms: Millis,
    pub min_cleanable_dirty_ratio: f64,
    /// `cleanup.policy` has `compact`.
    pub compact: bool,
    /// `cleanup.policy` has `delete`.
    pub delete: bool,
    pub unclean_leader_election_enable: bool,
    pub min_insync_replicas: i32,
    pub compression_type: CompressionType,
    pub compression_gzip_level: i32,
    pub compression_lz4_level: i32,
    pub compression_zstd_level: i32,
    pub preallocate: bool,
    pub message_timestamp_type: TimestampType,
    /// With the older `message.timestamp.difference.max.ms` where only that is set.
    pub message_timestamp_before_max_ms: Millis,
    /// With the older `message.timestamp.difference.max.ms` where only that is set.
    pub message_timestamp_after_max_ms: Millis,
    pub message_downconversion_enable: bool,
    pub leader_replication_throttled_replicas: Arc<[String]>,
    pub follower_replication_throttled_replicas: Arc<[String]>,
    /// The broker's default of each key that it sets.
    defaults: Arc<BTreeMap<&'static str, String>>,
    /// The topic's own value of each key that it sets.
    overrides: Arc<BTreeMap<&'static str, String>>,
}

impl Default for LogConfig {
    fn default() -> Self {
        Self::build(Arc::default(), Arc::default()).expect("the defaults of the table are valid")
    }
}

impl LogConfig {
    /// The defaults that the broker's own configs give; `broker` answers with the value of a broker config that is set.
    ///
    /// # Errors
    /// The first value that is not valid, under the broker config's name.
    pub fn from_broker<'a>(broker: impl Fn(&str) -> Option<&'a str>) -> Result<Self, ConfigError> {
        let mut defaults = BTreeMap::new();
        for key in KEYS {
            for synonym in key.synonyms {
                let Some(value) = broker(synonym.name) else { continue };
                let value = if synonym.times == 1 {
                    value.trim().to_owned()
                } else {
                    let number: i64 = value.trim().parse().map_err(|_| ConfigError::Invalid {
                        name: synonym.name.to_owned(),
                        value: value.to_owned(),
                        reason: "Not a number of type INT".to_owned(),
                    })?;
                    let scaled = number.saturating_mul(synonym.times);
                    // log.retention.hours=-1 means for ever, not minus an hour. Source: KafkaConfig.logRetentionTimeMillis.
                    (if scaled < 0 { -1 } else { scaled }).to_string()
                };
                check(key, &value).map_err(|error| match error {
                    ConfigError::Invalid { value, reason, .. } => ConfigError::Invalid {
                        name: synonym.name.to_owned(),
                        value,
                        reason,
                    },
                    other => other,
                })?;
                defaults.insert(key.name, value);
                break;
            }
        }
        Self::build(Arc::new(defaults), Arc::default())
    }

    /// What holds for a topic with these overrides. Names that are not topic configs are passed over, as Kafka does
    /// with what an older or newer version left in ZooKeeper; see [`LogConfig::validate`] for what a client sets.
    ///
    /// # Errors
    /// The first value that is not valid.
    pub fn resolve(defaults: &Self, overrides: &BTreeMap<String, String>) -> Result<Self, ConfigError> {
        let known = overrides
            .iter()
            .filter_map(|(name, value)| find(name).map(|key| (key.name, value.trim().to_owned())))
            .collect();
        Self::build(defaults.defaults.clone(), Arc::new(known))
    }

    /// Whether a client may set these overrides. Source: Kafka `LogConfig.validate`, for a ZooKeeper cluster without
    /// tiered storage.
    ///
    /// # Errors
    /// An unknown name, an invalid value or a contradiction.
    pub fn validate(defaults: &Self, overrides: &BTreeMap<String, String>) -> Result<(), ConfigError> {
        if let Some(name) = overrides.keys().find(|name| find(name).is_none()) {
            return Err(ConfigError::UnknownName(name.clone()));
        }
        let config = Self::resolve(defaults, overrides)?;
        if config.min_compaction_lag_ms > config.max_compaction_lag_ms {
            return Err(ConfigError::Conflict(format!(
                "conflict topic config setting min.compaction.lag.ms ({}) > max.compaction.lag.ms ({})",
                config.min_compaction_lag_ms, config.max_compaction_lag_ms
            )));
        }
        let is_true = |name| config.value(name).is_some_and(|v| v.eq_ignore_ascii_case("true"));
        if is_true("remote.log.delete.on.disable") || is_true("remote.log.copy.disable") {
            return Err(ConfigError::Conflict(
                "It is invalid to set `remote.log.delete.on.disable` or `remote.log.copy.disable` under Zookeeper's mode."
                    .to_owned(),
            ));
        }
        if is_true("remote.storage.enable") {
            return Err(ConfigError::Conflict(
                "Tiered Storage functionality is disabled in the broker. Topic cannot be configured with remote log storage."
                    .to_owned(),
            ));
        }
        Ok(())
    }

    /// The value in force of a topic config, as text; `None` if there is no such config.
    pub fn value(&self, name: &str) -> Option<&str> {
        let key = find(name)?;
        Some(value_of(key.name, &self.defaults, &self.overrides))
    }

    /// The topic's own value, if it sets one.
    pub fn overridden(&self, name: &str) -> Option<&str> {
        self.overrides.get(name).map(String::as_str)
    }

    /// The longest time until a segment is rolled: a compacted topic may not wait longer than
    /// `max.compaction.lag.ms`, since the active segment is never compacted.
    pub fn max_segment_ms(&self) -> Millis {
        if self.compact && self.max_compaction_lag_ms > Millis(0) {
            self.max_compaction_lag_ms.min(self.segment_ms)
        } else {
            self.segment_ms
        }
    }

    fn build(
        defaults: Arc<BTreeMap<&'static str, String>>,
        overrides: Arc<BTreeMap<&'static str, String>>,
    ) -> Result<Self, ConfigError> {
        for (name, value) in defaults.iter().chain(overrides.iter()) {
            if let Some(key) = find(name) {
                check(key, value)?;
            }
        }
        let text = |name: &'static str| value_of(name, &defaults, &overrides);
        // Everything was checked above, and the tests check the table's own defaults.
        let long = |name| {
            text(name)
                .parse::<i64>()
                .map_err(|_| not_a_number(name, text(name), "LONG"))
        };
        let int = |name| {
            text(name)
                .parse::<i32>()
                .map_err(|_| not_a_number(name, text(name), "INT"))
        };
        let boolean = |name| text(name).eq_ignore_ascii_case("true");
        let millis = |name| long(name).map(Millis);
        let difference = millis("message.timestamp.difference.max.ms")?;
        let or_difference = |value: Millis| if value == Millis(i64::MAX) { difference } else { value };
        Ok(Self {
            segment_bytes: int("segment.bytes")?.max(0) as u32,
            segment_ms: millis("segment.ms")?,
            segment_jitter_ms: millis("segment.jitter.ms")?,
            segment_index_bytes: int("segment.index.bytes")?.max(0) as u32,
            index_interval_bytes: int("index.interval.bytes")?.max(0) as u32,
            flush_messages: long("flush.messages")?,
            flush_ms: millis("flush.ms")?,
            retention_bytes: long("retention.bytes")?,
            retention_ms: millis("retention.ms")?,
            max_message_bytes: int("max.message.bytes")?.max(0) as usize,
            file_delete_delay_ms: millis("file.delete.delay.ms")?,
            delete_retention_ms: millis("delete.retention.ms")?,
            min_compaction_lag_ms: millis("min.compaction.lag.ms")?,
            max_compaction_lag_ms: millis("max.compaction.lag.ms")?,
            min_cleanable_dirty_ratio: text("min.cleanable.dirty.ratio")
                .parse()
                .map_err(|_| not_a_number("min.cleanable.dirty.ratio", text("min.cleanable.dirty.ratio"), "DOUBLE"))?,
            compact: list(text("cleanup.policy")).any(|p| p.eq_ignore_ascii_case("compact")),
            delete: list(text("cleanup.policy")).any(|p| p.eq_ignore_ascii_case("delete")),
            unclean_leader_election_enable: boolean("unclean.leader.election.enable"),
            min_insync_replicas: int("min.insync.replicas")?,
            compression_type: match text("compression.type") {
                "uncompressed" => CompressionType::Uncompressed,
                "zstd" => CompressionType::Zstd,
                "lz4" => CompressionType::Lz4,
                "snappy" => CompressionType::Snappy,
                "gzip" => CompressionType::Gzip,
                _ => CompressionType::Producer,
            },
            compression_gzip_level: int("compression.gzip.level")?,
            compression_lz4_level: int("compression.lz4.level")?,
            compression_zstd_level: int("compression.zstd.level")?,
            preallocate: boolean("preallocate"),
            message_timestamp_type: match text("message.timestamp.type") {
                "LogAppendTime" => TimestampType::LogAppendTime,
                _ => TimestampType::CreateTime,
            },
            message_timestamp_before_max_ms: or_difference(millis("message.timestamp.before.max.ms")?),
            message_timestamp_after_max_ms: or_difference(millis("message.timestamp.after.max.ms")?),
            message_downconversion_enable: boolean("message.downconversion.enable"),
            leader_replication_throttled_replicas: list(text("leader.replication.throttled.replicas"))
                .map(str::to_owned)
                .collect(),
            follower_replication_throttled_replicas: list(text("follower.replication.throttled.replicas"))
                .map(str::to_owned)
                .collect(),
            defaults: defaults.clone(),
            overrides: overrides.clone(),
        })
    }
}

fn value_of<'a>(
    name: &'static str,
    defaults: &'a BTreeMap<&'static str, String>,
    overrides: &'a BTreeMap<&'static str, String>,
) -> &'a str {
    overrides
        .get(name)
        .or_else(|| defaults.get(name))
        .map_or_else(|| find(name).map_or("", |key| key.default), String::as_str)
}

/// The elements of a LIST. Source: Kafka `ConfigDef.parseType`.
fn list(value: &str) -> impl Iterator<Item = &str> {
    let value = value.trim();
    value.split(',').map(str::trim).filter(move |_| !value.is_empty())
}

fn not_a_number(name: &str, value: &str, type_name: &str) -> ConfigError {
    ConfigError::Invalid {
        name: name.to_owned(),
        value: value.to_owned(),
        reason: format!("Not a number of type {type_name}"),
    }
}

/// Whether `value` has the type and keeps the bounds of `key`. Source: Kafka `ConfigDef` and its validators.
///
/// # Errors
/// With the name of the topic config.
pub fn check(key: &Key, value: &str) -> Result<(), ConfigError> {
    let value = value.trim();
    let invalid = |value: String, reason: String| {
        Err(ConfigError::Invalid {
            name: key.name.to_owned(),
            value,
            reason,
        })
    };
    let bounds = |number: i64, least: i64, most: i64| {
        if number < least {
            invalid(number.to_string(), format!("Value must be at least {least}"))
        } else if number > most {
            invalid(number.to_string(), format!("Value must be no more than {most}"))
        } else {
            Ok(())
        }
    };
    let one_of = |word: &str, words: &[&str]| {
        if words.contains(&word) {
            Ok(())
        } else {
            invalid(word.to_owned(), format!("String must be one of: {}", words.join(", ")))
        }
    };
    match key.kind {
        Kind::Int(least, most) => match value.parse::<i32>() {
            Ok(number) => bounds(number.into(), least.into(), most.into()),
            Err(_) => Err(not_a_number(key.name, value, "INT")),
        },
        Kind::IntOr(or, least, most) => match value.parse::<i32>() {
            Ok(number) if number == or || (least..=most).contains(&number) => Ok(()),
            Ok(number) => invalid(
                number.to_string(),
                format!("Value must be between {least} and {most} or equal to {or}"),
            ),
            Err(_) => Err(not_a_number(key.name, value, "INT")),
        },
        Kind::Long(least) => match value.parse::<i64>() {
            Ok(number) => bounds(number, least, i64::MAX),
            Err(_) => Err(not_a_number(key.name, value, "LONG")),
        },
        Kind::Ratio => match value.parse::<f64>() {
            Ok(number) if number < 0.0 => invalid(value.to_owned(), "Value must be at least 0".to_owned()),
            Ok(number) if number > 1.0 => invalid(value.to_owned(), "Value must be no more than 1".to_owned()),
            Ok(number) if number.is_nan() => invalid(value.to_owned(), "Not a number of type DOUBLE".to_owned()),
            Ok(_) => Ok(()),
            Err(_) => Err(not_a_number(key.name, value, "DOUBLE")),
        },
        Kind::Boolean => {
            if value.eq_ignore_ascii_case("true") || value.eq_ignore_ascii_case("false") {
                Ok(())
            } else {
                invalid(value.to_owned(), "Expected value to be either true or false".to_owned())
            }
        }
        Kind::Word(words) => one_of(value, words),
        Kind::Words(words) => list(value).try_for_each(|word| one_of(word, words)),
        Kind::ThrottledReplicas => {
            let number = |s: &str| !s.is_empty() && s.bytes().all(|b| b.is_ascii_digit());
            let replica = |s: &str| s.is_empty() || s.split_once(':').is_some_and(|(p, b)| number(p) && number(b));
            if list(value).all(replica) || value == "*" {
                Ok(())
            } else {
                invalid(
                    format!("[{}]", list(value).collect::<Vec<_>>().join(", ")),
                    format!(
                        "{} must be the literal '*' or a list of replicas in the following format: [partitionId]:[brokerId],[partitionId]:[brokerId],...",
                        key.name
                    ),
                )
            }
        }
        Kind::Release => {
            if keys::is_release(value) {
                Ok(())
            } else {
                invalid(value.to_owned(), format!("Version `{value}` is not a valid version"))
            }
        }
    }
}
