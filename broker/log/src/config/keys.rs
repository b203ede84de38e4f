//! The topic configs: name, type, default, bounds, and the broker configs that set the default.
//!
//! One table from which parsing, validation, the broker's defaults and DescribeConfigs come.
//! Source: Kafka 3.9 `LogConfig.CONFIG` and `ServerTopicConfigSynonyms`.

/// The type of a config and what its values may be.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Kind {
    /// A 32-bit number, not below the first nor above the second.
    Int(i32, i32),
    /// 32 bits, the default is outside the bounds (gzip's level: −1, or 1 to 9).
    IntOr(i32, i32, i32),
    /// A 64-bit number, not below this.
    Long(i64),
    /// A fraction from 0 to 1.
    Ratio,
    /// `true` or `false`, in any case.
    Boolean,
    /// One of these words.
    Word(&'static [&'static str]),
    /// Some of these words, separated by commas.
    Words(&'static [&'static str]),
    /// `partition:broker,…` or `*`: replicas whose replication is throttled.
    ThrottledReplicas,
    /// The name of a release (`2.6`, `3.0-IV1`).
    Release,
}

impl Kind {
    /// Kafka's name of the type, as DescribeConfigs knows it.
    pub const fn type_name(self) -> &'static str {
        match self {
            Self::Int(..) | Self::IntOr(..) => "INT",
            Self::Long(_) => "LONG",
            Self::Ratio => "DOUBLE",
            Self::Boolean => "BOOLEAN",
            Self::Word(_) | Self::Release => "STRING",
            Self::Words(_) | Self::ThrottledReplicas => "LIST",
        }
    }
}

/// A broker config that sets the default of a topic config, in a unit of so many of the topic config's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Synonym {
    /// The broker config.
    pub name: &'static str,
    /// What its value is multiplied by (1, or milliseconds a minute or hour).
    pub times: i64,
}

/// One topic config.
#[derive(Clone, Copy, Debug)]
pub struct Key {
    /// Its name.
    pub name: &'static str,
    /// Its type and bounds.
    pub kind: Kind,
    /// Its value where nobody sets one.
    pub default: &'static str,
    /// The broker configs that set the default; the first one that is set counts.
    pub synonyms: &'static [Synonym],
}

const fn key(name: &'static str, kind: Kind, default: &'static str, synonyms: &'static [Synonym]) -> Key {
    Key {
        name,
        kind,
        default,
        synonyms,
    }
}

const fn one(name: &'static str) -> Synonym {
    Synonym { name, times: 1 }
}

const fn minutes(name: &'static str) -> Synonym {
    Synonym { name, times: 60_000 }
}

const fn hours(name: &'static str) -> Synonym {
    Synonym { name, times: 3_600_000 }
}

const MAX: i32 = i32::MAX;
const FOREVER: &str = "9223372036854775807";
const WEEK: &str = "604800000";
const COMPRESSION: &[&str] = &["uncompressed", "zstd", "lz4", "snappy", "gzip", "producer"];

/// Every topic config, by name.
#[rustfmt::skip]
pub const KEYS: &[Key] = &[
    key("cleanup.policy", Kind::Words(&["compact", "delete"]), "delete", &[one("log.cleanup.policy")]),
    key("compression.gzip.level", Kind::IntOr(-1, 1, 9), "-1", &[one("compression.gzip.level")]),
    key("compression.lz4.level", Kind::Int(1, 17), "9", &[one("compression.lz4.level")]),
    key("compression.type", Kind::Word(COMPRESSION), "producer", &[one("compression.type")]),
    key("compression.zstd.level", Kind::Int(-131_072, 22), "3", &[one("compression.zstd.level")]),
    key("delete.retention.ms", Kind::Long(0), "86400000", &[one("log.cleaner.delete.retention.ms")]),
    key("file.delete.delay.ms", Kind::Long(0), "60000", &[one("log.segment.delete.delay.ms")]),
    key("flush.messages", Kind::Long(1), FOREVER, &[one("log.flush.interval.messages")]),
    key("flush.ms", Kind::Long(0), FOREVER, &[one("log.flush.interval.ms"), one("log.flush.scheduler.interval.ms")]),
    key("follower.replication.throttled.replicas", Kind::ThrottledReplicas, "", &[]),
    key("index.interval.bytes", Kind::Int(0, MAX), "4096", &[one("log.index.interval.bytes")]),
    key("leader.replication.throttled.replicas", Kind::ThrottledReplicas, "", &[]),
    key("local.retention.bytes", Kind::Long(-2), "-2", &[one("log.local.retention.bytes")]),
    key("local.retention.ms", Kind::Long(-2), "-2", &[one("log.local.retention.ms")]),
    key("max.compaction.lag.ms", Kind::Long(1), FOREVER, &[one("log.cleaner.max.compaction.lag.ms")]),
    key("max.message.bytes", Kind::Int(0, MAX), "1048588", &[one("message.max.bytes")]),
    key("message.downconversion.enable", Kind::Boolean, "true", &[one("log.message.downconversion.enable")]),
    key("message.format.version", Kind::Release, "3.0-IV1", &[one("log.message.format.version")]),
    key("message.timestamp.after.max.ms", Kind::Long(0), FOREVER, &[one("log.message.timestamp.after.max.ms")]),
    key("message.timestamp.before.max.ms", Kind::Long(0), FOREVER, &[one("log.message.timestamp.before.max.ms")]),
    key("message.timestamp.difference.max.ms", Kind::Long(0), FOREVER, &[one("log.message.timestamp.difference.max.ms")]),
    key("message.timestamp.type", Kind::Word(&["CreateTime", "LogAppendTime"]), "CreateTime", &[one("log.message.timestamp.type")]),
    key("min.cleanable.dirty.ratio", Kind::Ratio, "0.5", &[one("log.cleaner.min.cleanable.ratio")]),
    key("min.compaction.lag.ms", Kind::Long(0), "0", &[one("log.cleaner.min.compaction.lag.ms")]),
    key("min.insync.replicas", Kind::Int(1, MAX), "1", &[one("min.insync.replicas")]),
    key("preallocate", Kind::Boolean, "false", &[one("log.preallocate")]),
    key("remote.log.copy.disable", Kind::Boolean, "false", &[]),
    key("remote.log.delete.on.disable", Kind::Boolean, "false", &[]),
    key("remote.storage.enable", Kind::Boolean, "false", &[]),
    key("retention.bytes", Kind::Long(i64::MIN), "-1", &[one("log.retention.bytes")]),
    key("retention.ms", Kind::Long(-1), WEEK,
        &[one("log.retention.ms"), minutes("log.retention.minutes"), hours("log.retention.hours")]),
    key("segment.bytes", Kind::Int(14, MAX), "1073741824", &[one("log.segment.bytes")]),
    key("segment.index.bytes", Kind::Int(4, MAX), "10485760", &[one("log.index.size.max.bytes")]),
    key("segment.jitter.ms", Kind::Long(0), "0", &[one("log.roll.jitter.ms"), hours("log.roll.jitter.hours")]),
    key("segment.ms", Kind::Long(1), WEEK, &[one("log.roll.ms"), hours("log.roll.hours")]),
    key("unclean.leader.election.enable", Kind::Boolean, "false", &[one("unclean.leader.election.enable")]),
];

/// The config called `name`.
pub fn find(name: &str) -> Option<&'static Key> {
    KEYS.binary_search_by(|key| key.name.cmp(name)).ok().map(|i| &KEYS[i])
}

/// Every release of the inter-broker protocol up to 4.0. Source: Kafka 3.9 `MetadataVersion`.
#[rustfmt::skip]
const RELEASES: &[&str] = &[
    "0.8.0", "0.8.1", "0.8.2", "0.9.0", "0.10.0-IV0", "0.10.0-IV1", "0.10.1-IV0", "0.10.1-IV1", "0.10.1-IV2",
    "0.10.2-IV0", "0.11.0-IV0", "0.11.0-IV1", "0.11.0-IV2", "1.0-IV0", "1.1-IV0", "2.0-IV0", "2.0-IV1", "2.1-IV0",
    "2.1-IV1", "2.1-IV2", "2.2-IV0", "2.2-IV1", "2.3-IV0", "2.3-IV1", "2.4-IV0", "2.4-IV1", "2.5-IV0", "2.6-IV0",
    "2.7-IV0", "2.7-IV1", "2.7-IV2", "2.8-IV0", "2.8-IV1", "3.0-IV0", "3.0-IV1", "3.1-IV0", "3.2-IV0", "3.3-IV0",
    "3.3-IV1", "3.3-IV2", "3.3-IV3", "3.4-IV0", "3.5-IV0", "3.5-IV1", "3.5-IV2", "3.6-IV0", "3.6-IV1", "3.6-IV2",
    "3.7-IV0", "3.7-IV1", "3.7-IV2", "3.7-IV3", "3.7-IV4", "3.8-IV0", "3.9-IV0", "4.0-IV0", "4.0-IV1",
];

/// Whether `version` names a release: `2.6`, `2.6-IV0`, `2.6.1`. Source: Kafka `MetadataVersion.fromVersionString`.
pub(super) fn is_release(version: &str) -> bool {
    let segments: Vec<&str> = version.split('.').collect();
    let significant = if version.starts_with("0.") { 3 } else { 2 };
    let name = segments[..significant.min(segments.len())].join(".");
    RELEASES.iter().any(|release| {
        *release == name
            || release
                .strip_prefix(name.as_str())
                .is_some_and(|r| r.starts_with("-IV"))
    })
}
