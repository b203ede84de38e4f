//! Every key of a Kafka 3.9.1 broker: the one table from which parsing, defaults, `DescribeConfigs`,
//! `docs/compatibility.md` and the warnings at start come.
//!
//! Invariants: sorted by name; a default satisfies its own type and bounds. A key that is [`NOT_YET`] acted on is read
//! and checked, and named in one warning when it is set.

use super::error::ConfigError;
use super::value::Type::{self, Boolean, Class, Double, Int, List, Long, Password, Short, String};
use super::value::Valid::{self, *};
use super::value::Value;

/// How much a key matters, as Kafka's documentation ranks it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Importance {
    /// Most users set it.
    High,
    /// Some do.
    Medium,
    /// Few do.
    Low,
}

/// Whether a key may change while the broker runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UpdateMode {
    /// Only by a restart.
    ReadOnly,
    /// For one broker, at `/config/brokers/N`.
    PerBroker,
    /// Also for all brokers, at `/config/brokers/<default>`.
    ClusterWide,
}

impl UpdateMode {
    /// Kafka's word: `cluster-wide`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::ReadOnly => "read-only",
            Self::PerBroker => "per-broker",
            Self::ClusterWide => "cluster-wide",
        }
    }
}

/// One configuration key.
#[derive(Clone, Copy, Debug)]
pub struct Key {
    /// Kafka's name.
    pub name: &'static str,
    /// What its values are.
    pub of: Type,
    /// The default, as text; `None` is null.
    pub default: Option<&'static str>,
    /// What a value must satisfy besides its type.
    pub valid: Valid,
    /// How much it matters.
    pub importance: Importance,
    /// Whether it may change at run time.
    pub update_mode: UpdateMode,
    /// Not documented by Kafka, and not shown by `DescribeConfigs`.
    pub internal: bool,
    /// Whether this broker does what the key says.
    pub acted_on: bool,
    /// What it is for.
    pub doc: &'static str,
}

const PUBLIC: bool = false;
const INTERNAL: bool = true;
const ACTED_ON: bool = true;
/// The key is known and checked, but changes nothing yet.
pub const NOT_YET: bool = false;

#[expect(clippy::too_many_arguments, reason = "one column of the table each")]
const fn key(
    name: &'static str,
    of: Type,
    default: Option<&'static str>,
    valid: Valid,
    importance: Importance,
    update_mode: UpdateMode,
    internal: bool,
    acted_on: bool,
    doc: &'static str,
) -> Key {
    Key {
        name,
        of,
        default,
        valid,
        importance,
        update_mode,
        internal,
        acted_on,
        doc,
    }
}

impl Key {
    /// Reads and checks `text`.
    ///
    /// # Errors
    /// The key, the text (hidden for a password) and what is wrong with it.
    pub fn parse(&self, text: &str) -> Result<Value, ConfigError> {
        let invalid = |reason| {
            let shown = if self.is_sensitive() { "[hidden]" } else { text };
            ConfigError::invalid(self.name, shown, &reason)
        };
        let value = self.of.parse(text).map_err(invalid)?;
        self.valid.check(&value).map_err(invalid)?;
        Ok(value)
    }

    /// The default as a value.
    pub fn default_value(&self) -> Value {
        match self.default {
            None => Value::Null,
            Some(text) => self.of.parse(text).expect("a default has the type of its key"),
        }
    }

    /// Whether values must never be shown.
    pub fn is_sensitive(&self) -> bool {
        self.of == Password
    }
}

/// The key called `name`.
pub fn lookup(name: &str) -> Option<&'static Key> {
    KEYS.binary_search_by(|key| key.name.cmp(name)).ok().map(|at| &KEYS[at])
}

use Importance::{High, Low, Medium};
use UpdateMode::{ClusterWide, PerBroker, ReadOnly};

/// Every broker key, sorted by name.
#[rustfmt::skip]
pub static KEYS: &[Key] = &[
    key("advertised.listeners", String, None, Any, High, PerBroker, PUBLIC, NOT_YET, ""),
    key("alter.config.policy.class.name", Class, None, Any, Low, ReadOnly, PUBLIC, NOT_YET, ""),
    key("alter.log.dirs.replication.quota.window.num", Int, Some("11"), AtLeast(1), Low, ReadOnly, PUBLIC, NOT_YET, ""),
    key("alter.log.dirs.replication.quota.window.size.seconds", Int, Some("1"), AtLeast(1), Low, ReadOnly, PUBLIC, NOT_YET, ""),
    key("authorizer.class.name", String, Some(""), NonNull, Low, ReadOnly, PUBLIC, NOT_YET, ""),
    key("auto.create.topics.enable", Boolean, Some("true"), Any, High, ReadOnly, PUBLIC, NOT_YET, ""),
    key("auto.include.jmx.reporter", Boolean, Some("true"), Any, Low, ReadOnly, PUBLIC, NOT_YET, ""),
    key("auto.leader.rebalance.enable", Boolean, Some("true"), Any, High, ReadOnly, PUBLIC, NOT_YET, ""),
    key("background.threads", Int, Some("10"), AtLeast(1), High, ClusterWide, PUBLIC, NOT_YET, ""),
    key("broker.heartbeat.interval.ms", Int, Some("2000"), Any, Medium, ReadOnly, PUBLIC, NOT_YET, ""),
    key("broker.id", Int, Some("-1"), Any, High, ReadOnly, PUBLIC, NOT_YET, ""),
    key("broker.id.generation.enable", Boolean, Some("true"), Any, Medium, ReadOnly, PUBLIC, NOT_YET, ""),
    key("broker.rack", String, None, Any, Medium, ReadOnly, PUBLIC, NOT_YET, ""),
    key("broker.session.timeout.ms", Int, Some("9000"), Any, Medium, ReadOnly, PUBLIC, NOT_YET, ""),
    key("client.quota.callback.class", Class, None, Any, Low, ReadOnly, PUBLIC, NOT_YET, ""),
    key("compression.gzip.level", Int, Some("-1"), GzipLevel, Medium, ClusterWide, PUBLIC, NOT_YET, ""),
    key("compression.lz4.level", Int, Some("9"), Between(1, 17), Medium, ClusterWide, PUBLIC, NOT_YET, ""),
    key("compression.type", String, Some("producer"), OneOf(&["uncompressed", "zstd", "lz4", "snappy", "gzip", "producer"]), High, ClusterWide, PUBLIC, NOT_YET, ""),
    key("compression.zstd.level", Int, Some("3"), Between(-131072, 22), Medium, ClusterWide, PUBLIC, NOT_YET, ""),
    key("connection.failed.authentication.delay.ms", Int, Some("100"), AtLeast(0), Low, ReadOnly, PUBLIC, NOT_YET, ""),
    key("connections.max.idle.ms", Long, Some("600000"), Any, Medium, ReadOnly, PUBLIC, NOT_YET, ""),
    key("connections.max.reauth.ms", Long, Some("0"), Any, Medium, ReadOnly, PUBLIC, NOT_YET, ""),
    key("control.plane.listener.name", String, None, Any, High, ReadOnly, PUBLIC, NOT_YET, ""),
    key("controlled.shutdown.enable", Boolean, Some("true"), Any, Medium, ReadOnly, PUBLIC, NOT_YET, ""),
    key("controlled.shutdown.max.retries", Int, Some("3"), Any, Medium, ReadOnly, PUBLIC, NOT_YET, ""),
    key("controlled.shutdown.retry.backoff.ms", Long, Some("5000"), Any, Medium, ReadOnly, PUBLIC, NOT_YET, ""),
    key("controller.listener.names", String, None, Any, High, ReadOnly, PUBLIC, NOT_YET, ""),
    key("controller.quorum.append.linger.ms", Int, Some("25"), Any, Medium, ReadOnly, PUBLIC, NOT_YET, ""),
    key("controller.quorum.bootstrap.servers", List, Some(""), KRaftList, High, ReadOnly, PUBLIC, NOT_YET, ""),
    key("controller.quorum.election.backoff.max.ms", Int, Some("1000"), Any, High, ReadOnly, PUBLIC, NOT_YET, ""),
    key("controller.quorum.election.timeout.ms", Int, Some("1000"), Any, High, ReadOnly, PUBLIC, NOT_YET, ""),
    key("controller.quorum.fetch.timeout.ms", Int, Some("2000"), Any, High, ReadOnly, PUBLIC, NOT_YET, ""),
    key("controller.quorum.request.timeout.ms", Int, Some("2000"), Any, Medium, ReadOnly, PUBLIC, NOT_YET, ""),
    key("controller.quorum.retry.backoff.ms", Int, Some("20"), Any, Low, ReadOnly, PUBLIC, NOT_YET, ""),
    key("controller.quorum.voters", List, Some(""), KRaftList, High, ReadOnly, PUBLIC, NOT_YET, ""),
    key("controller.quota.window.num", Int, Some("11"), AtLeast(1), Low, ReadOnly, PUBLIC, NOT_YET, ""),
    key("controller.quota.window.size.seconds", Int, Some("1"), AtLeast(1), Low, ReadOnly, PUBLIC, NOT_YET, ""),
    key("controller.socket.timeout.ms", Int, Some("30000"), Any, Medium, ReadOnly, PUBLIC, NOT_YET, ""),
    key("create.topic.policy.class.name", Class, None, Any, Low, ReadOnly, PUBLIC, NOT_YET, ""),
    key("default.replication.factor", Int, Some("1"), Any, Medium, ReadOnly, PUBLIC, NOT_YET, ""),
    key("delegation.token.expiry.check.interval.ms", Long, Some("3600000"), AtLeast(1), Low, ReadOnly, PUBLIC, NOT_YET, ""),
    key("delegation.token.expiry.time.ms", Long, Some("86400000"), AtLeast(1), Medium, ReadOnly, PUBLIC, NOT_YET, ""),
    key("delegation.token.master.key", Password, None, Any, Medium, ReadOnly, PUBLIC, NOT_YET, ""),
    key("delegation.token.max.lifetime.ms", Long, Some("604800000"), AtLeast(1), Medium, ReadOnly, PUBLIC, NOT_YET, ""),
    key("delegation.token.secret.key", Password, None, Any, Medium, ReadOnly, PUBLIC, NOT_YET, ""),
    key("delete.records.purgatory.purge.interval.requests", Int, Some("1"), Any, Medium, ReadOnly, PUBLIC, NOT_YET, ""),
    key("delete.topic.enable", Boolean, Some("true"), Any, High, ReadOnly, PUBLIC, NOT_YET, ""),
    key("early.start.listeners", String, None, Any, High, ReadOnly, PUBLIC, NOT_YET, ""),
    key("eligible.leader.replicas.enable", Boolean, Some("false"), Any, High, ReadOnly, PUBLIC, NOT_YET, ""),
    key("fetch.max.bytes", Int, Some("57671680"), AtLeast(1024), Medium, ReadOnly, PUBLIC, NOT_YET, ""),
    key("fetch.purgatory.purge.interval.requests", Int, Some("1000"), Any, Medium, ReadOnly, PUBLIC, NOT_YET, ""),
    key("group.consumer.assignors", List, Some("org.apache.kafka.coordinator.group.assignor.UniformAssignor,org.apache.kafka.coordinator.group.assignor.RangeAssignor"), Any, Medium, ReadOnly, PUBLIC, NOT_YET, ""),
    key("group.consumer.heartbeat.interval.ms", Int, Some("5000"), AtLeast(1), Medium, ReadOnly, PUBLIC, NOT_YET, ""),
    key("group.consumer.max.heartbeat.interval.ms", Int, Some("15000"), AtLeast(1), Medium, ReadOnly, PUBLIC, NOT_YET, ""),
    key("group.consumer.max.session.timeout.ms", Int, Some("60000"), AtLeast(1), Medium, ReadOnly, PUBLIC, NOT_YET, ""),
    key("group.consumer.max.size", Int, Some("2147483647"), AtLeast(1), Medium, ReadOnly, PUBLIC, NOT_YET, ""),
    key("group.consumer.migration.policy", String, Some("disabled"), OneOfIgnoringCase(&["DISABLED", "DOWNGRADE", "UPGRADE", "BIDIRECTIONAL"]), Medium, ReadOnly, INTERNAL, NOT_YET, ""),
    key("group.consumer.min.heartbeat.interval.ms", Int, Some("5000"), AtLeast(1), Medium, ReadOnly, PUBLIC, NOT_YET, ""),
    key("group.consumer.min.session.timeout.ms", Int, Some("45000"), AtLeast(1), Medium, ReadOnly, PUBLIC, NOT_YET, ""),
    key("group.consumer.session.timeout.ms", Int, Some("45000"), AtLeast(1), Medium, ReadOnly, PUBLIC, NOT_YET, ""),
    key("group.coordinator.append.linger.ms", Int, Some("10"), AtLeast(0), Medium, ReadOnly, PUBLIC, NOT_YET, ""),
    key("group.coordinator.new.enable", Boolean, Some("false"), Any, Medium, ReadOnly, INTERNAL, NOT_YET, ""),
    key("group.coordinator.rebalance.protocols", List, Some("classic"), OneOf(&["consumer", "classic", "share", "unknown"]), Medium, ReadOnly, PUBLIC, NOT_YET, ""),
    key("group.coordinator.threads", Int, Some("1"), AtLeast(1), Medium, ReadOnly, PUBLIC, NOT_YET, ""),
    key("group.initial.rebalance.delay.ms", Int, Some("3000"), Any, Medium, ReadOnly, PUBLIC, NOT_YET, ""),
    key("group.max.session.timeout.ms", Int, Some("1800000"), Any, Medium, ReadOnly, PUBLIC, NOT_YET, ""),
    key("group.max.size", Int, Some("2147483647"), AtLeast(1), Medium, ReadOnly, PUBLIC, NOT_YET, ""),
    key("group.min.session.timeout.ms", Int, Some("6000"), Any, Medium, ReadOnly, PUBLIC, NOT_YET, ""),
    key("group.share.delivery.count.limit", Int, Some("5"), Between(2, 10), Medium, ReadOnly, PUBLIC, NOT_YET, ""),
    key("group.share.enable", Boolean, Some("false"), Any, Medium, ReadOnly, INTERNAL, NOT_YET, ""),
    key("group.share.heartbeat.interval.ms", Int, Some("5000"), AtLeast(1), Medium, ReadOnly, PUBLIC, NOT_YET, ""),
    key("group.share.max.groups", Short, Some("10"), Between(1, 100), Medium, ReadOnly, PUBLIC, NOT_YET, ""),
    key("group.share.max.heartbeat.interval.ms", Int, Some("15000"), AtLeast(1), Medium, ReadOnly, PUBLIC, NOT_YET, ""),
    key("group.share.max.record.lock.duration.ms", Int, Some("60000"), Between(30000, 3600000), Medium, ReadOnly, PUBLIC, NOT_YET, ""),
    key("group.share.max.session.timeout.ms", Int, Some("60000"), AtLeast(1), Medium, ReadOnly, PUBLIC, NOT_YET, ""),
    key("group.share.max.size", Short, Some("200"), Between(10, 1000), Medium, ReadOnly, PUBLIC, NOT_YET, ""),
    key("group.share.min.heartbeat.interval.ms", Int, Some("5000"), AtLeast(1), Medium, ReadOnly, PUBLIC, NOT_YET, ""),
    key("group.share.min.record.lock.duration.ms", Int, Some("15000"), Between(1000, 30000), Medium, ReadOnly, PUBLIC, NOT_YET, ""),
    key("group.share.min.session.timeout.ms", Int, Some("45000"), AtLeast(1), Medium, ReadOnly, PUBLIC, NOT_YET, ""),
    key("group.share.partition.max.record.locks", Int, Some("200"), Between(100, 10000), Medium, ReadOnly, PUBLIC, NOT_YET, ""),
    key("group.share.record.lock.duration.ms", Int, Some("30000"), Between(1000, 60000), Medium, ReadOnly, PUBLIC, NOT_YET, ""),
    key("group.share.session.timeout.ms", Int, Some("45000"), AtLeast(1), Medium, ReadOnly, PUBLIC, NOT_YET, ""),
    key("initial.broker.registration.timeout.ms", Int, Some("60000"), Any, Medium, ReadOnly, PUBLIC, NOT_YET, ""),
    key("inter.broker.listener.name", String, None, Any, Medium, ReadOnly, PUBLIC, NOT_YET, ""),
    key("inter.broker.protocol.version", String, Some("3.9-IV0"), ProtocolVersion, Medium, ReadOnly, PUBLIC, NOT_YET, ""),
    key("kafka.metrics.polling.interval.secs", Int, Some("10"), AtLeast(1), Low, ReadOnly, PUBLIC, NOT_YET, ""),
    key("kafka.metrics.reporters", List, Some(""), Any, Low, ReadOnly, PUBLIC, NOT_YET, ""),
    key("leader.imbalance.check.interval.seconds", Long, Some("300"), AtLeast(1), High, ReadOnly, PUBLIC, NOT_YET, ""),
    key("leader.imbalance.per.broker.percentage", Int, Some("10"), Any, High, ReadOnly, PUBLIC, NOT_YET, ""),
    key("listener.security.protocol.map", String, Some("SASL_SSL:SASL_SSL,PLAINTEXT:PLAINTEXT,SSL:SSL,SASL_PLAINTEXT:SASL_PLAINTEXT"), Any, Low, PerBroker, PUBLIC, NOT_YET, ""),
    key("listeners", String, Some("PLAINTEXT://:9092"), Any, High, PerBroker, PUBLIC, NOT_YET, ""),
    key("log.cleaner.backoff.ms", Long, Some("15000"), AtLeast(0), Medium, ClusterWide, PUBLIC, NOT_YET, ""),
    key("log.cleaner.dedupe.buffer.size", Long, Some("134217728"), Any, Medium, ClusterWide, PUBLIC, NOT_YET, ""),
    key("log.cleaner.delete.retention.ms", Long, Some("86400000"), AtLeast(0), Medium, ClusterWide, PUBLIC, NOT_YET, ""),
    key("log.cleaner.enable", Boolean, Some("true"), Any, Medium, ReadOnly, PUBLIC, NOT_YET, ""),
    key("log.cleaner.io.buffer.load.factor", Double, Some("0.9"), Any, Medium, ClusterWide, PUBLIC, NOT_YET, ""),
    key("log.cleaner.io.buffer.size", Int, Some("524288"), AtLeast(0), Medium, ClusterWide, PUBLIC, NOT_YET, ""),
    key("log.cleaner.io.max.bytes.per.second", Double, Some("1.7976931348623157E308"), Any, Medium, ClusterWide, PUBLIC, NOT_YET, ""),
    key("log.cleaner.max.compaction.lag.ms", Long, Some("9223372036854775807"), AtLeast(1), Medium, ClusterWide, PUBLIC, NOT_YET, ""),
    key("log.cleaner.min.cleanable.ratio", Double, Some("0.5"), BetweenReal(0.0, 1.0), Medium, ClusterWide, PUBLIC, NOT_YET, ""),
    key("log.cleaner.min.compaction.lag.ms", Long, Some("0"), AtLeast(0), Medium, ClusterWide, PUBLIC, NOT_YET, ""),
    key("log.cleaner.threads", Int, Some("1"), AtLeast(0), Medium, ClusterWide, PUBLIC, NOT_YET, ""),
    key("log.cleanup.policy", List, Some("delete"), OneOf(&["compact", "delete"]), Medium, ClusterWide, PUBLIC, NOT_YET, ""),
    key("log.dir", String, Some("/tmp/kafka-logs"), Any, High, ReadOnly, PUBLIC, NOT_YET, ""),
    key("log.dir.failure.timeout.ms", Long, Some("30000"), AtLeast(1), Low, ReadOnly, PUBLIC, NOT_YET, ""),
    key("log.dirs", String, None, Any, High, ReadOnly, PUBLIC, NOT_YET, ""),
    key("log.flush.interval.messages", Long, Some("9223372036854775807"), AtLeast(1), High, ClusterWide, PUBLIC, NOT_YET, ""),
    key("log.flush.interval.ms", Long, None, Any, High, ClusterWide, PUBLIC, NOT_YET, ""),
    key("log.flush.offset.checkpoint.interval.ms", Int, Some("60000"), AtLeast(0), High, ReadOnly, PUBLIC, NOT_YET, ""),
    key("log.flush.scheduler.interval.ms", Long, Some("9223372036854775807"), Any, High, ReadOnly, PUBLIC, NOT_YET, ""),
    key("log.flush.start.offset.checkpoint.interval.ms", Int, Some("60000"), AtLeast(0), High, ReadOnly, PUBLIC, NOT_YET, ""),
    key("log.index.interval.bytes", Int, Some("4096"), AtLeast(0), Medium, ClusterWide, PUBLIC, NOT_YET, ""),
    key("log.index.size.max.bytes", Int, Some("10485760"), AtLeast(4), Medium, ClusterWide, PUBLIC, NOT_YET, ""),
    key("log.initial.task.delay.ms", Long, Some("30000"), AtLeast(0), Low, ReadOnly, INTERNAL, NOT_YET, ""),
    key("log.local.retention.bytes", Long, Some("-2"), AtLeast(-2), Medium, ClusterWide, PUBLIC, NOT_YET, ""),
    key("log.local.retention.ms", Long, Some("-2"), AtLeast(-2), Medium, ClusterWide, PUBLIC, NOT_YET, ""),
    key("log.message.downconversion.enable", Boolean, Some("true"), Any, Low, ClusterWide, PUBLIC, NOT_YET, ""),
    key("log.message.format.version", String, Some("3.0-IV1"), ProtocolVersion, Medium, ReadOnly, PUBLIC, NOT_YET, ""),
    key("log.message.timestamp.after.max.ms", Long, Some("9223372036854775807"), AtLeast(0), Medium, ClusterWide, PUBLIC, NOT_YET, ""),
    key("log.message.timestamp.before.max.ms", Long, Some("9223372036854775807"), AtLeast(0), Medium, ClusterWide, PUBLIC, NOT_YET, ""),
    key("log.message.timestamp.difference.max.ms", Long, Some("9223372036854775807"), AtLeast(0), Medium, ClusterWide, PUBLIC, NOT_YET, ""),
    key("log.message.timestamp.type", String, Some("CreateTime"), OneOf(&["CreateTime", "LogAppendTime"]), Medium, ClusterWide, PUBLIC, NOT_YET, ""),
    key("log.preallocate", Boolean, Some("false"), Any, Medium, ClusterWide, PUBLIC, NOT_YET, ""),
    key("log.retention.bytes", Long, Some("-1"), Any, High, ClusterWide, PUBLIC, NOT_YET, ""),
    key("log.retention.check.interval.ms", Long, Some("300000"), AtLeast(1), Medium, ReadOnly, PUBLIC, NOT_YET, ""),
    key("log.retention.hours", Int, Some("168"), Any, High, ReadOnly, PUBLIC, NOT_YET, ""),
    key("log.retention.minutes", Int, None, Any, High, ReadOnly, PUBLIC, NOT_YET, ""),
    key("log.retention.ms", Long, None, Any, High, ClusterWide, PUBLIC, NOT_YET, ""),
    key("log.roll.hours", Int, Some("168"), AtLeast(1), High, ReadOnly, PUBLIC, NOT_YET, ""),
    key("log.roll.jitter.hours", Int, Some("0"), AtLeast(0), High, ReadOnly, PUBLIC, NOT_YET, ""),
    key("log.roll.jitter.ms", Long, None, Any, High, ClusterWide, PUBLIC, NOT_YET, ""),
    key("log.roll.ms", Long, None, Any, High, ClusterWide, PUBLIC, NOT_YET, ""),
    key("log.segment.bytes", Int, Some("1073741824"), AtLeast(14), High, ClusterWide, PUBLIC, NOT_YET, ""),
    key("log.segment.delete.delay.ms", Long, Some("60000"), AtLeast(0), High, ClusterWide, PUBLIC, NOT_YET, ""),
    key("max.connection.creation.rate", Int, Some("2147483647"), AtLeast(0), Medium, ClusterWide, PUBLIC, NOT_YET, ""),
    key("max.connections", Int, Some("2147483647"), AtLeast(0), Medium, ClusterWide, PUBLIC, NOT_YET, ""),
    key("max.connections.per.ip", Int, Some("2147483647"), AtLeast(0), Medium, ClusterWide, PUBLIC, NOT_YET, ""),
    key("max.connections.per.ip.overrides", String, Some(""), Any, Medium, ClusterWide, PUBLIC, NOT_YET, ""),
    key("max.incremental.fetch.session.cache.slots", Int, Some("1000"), AtLeast(0), Medium, ReadOnly, PUBLIC, NOT_YET, ""),
    key("max.request.partition.size.limit", Int, Some("2000"), AtLeast(1), Medium, ReadOnly, PUBLIC, NOT_YET, ""),
    key("message.max.bytes", Int, Some("1048588"), AtLeast(0), High, ClusterWide, PUBLIC, NOT_YET, ""),
    key("metadata.log.dir", String, None, Any, High, ReadOnly, PUBLIC, NOT_YET, ""),
    key("metadata.log.max.record.bytes.between.snapshots", Long, Some("20971520"), AtLeast(1), High, ReadOnly, PUBLIC, NOT_YET, ""),
    key("metadata.log.max.snapshot.interval.ms", Long, Some("3600000"), AtLeast(0), High, ReadOnly, PUBLIC, NOT_YET, ""),
    key("metadata.log.segment.bytes", Int, Some("1073741824"), AtLeast(12), High, ReadOnly, PUBLIC, NOT_YET, ""),
    key("metadata.log.segment.min.bytes", Int, Some("8388608"), AtLeast(12), High, ReadOnly, INTERNAL, NOT_YET, ""),
    key("metadata.log.segment.ms", Long, Some("604800000"), Any, High, ReadOnly, PUBLIC, NOT_YET, ""),
    key("metadata.max.idle.interval.ms", Int, Some("500"), AtLeast(0), Low, ReadOnly, PUBLIC, NOT_YET, ""),
    key("metadata.max.retention.bytes", Long, Some("104857600"), Any, High, ReadOnly, PUBLIC, NOT_YET, ""),
    key("metadata.max.retention.ms", Long, Some("604800000"), Any, High, ReadOnly, PUBLIC, NOT_YET, ""),
    key("metric.reporters", List, Some(""), Any, Low, ClusterWide, PUBLIC, NOT_YET, ""),
    key("metrics.num.samples", Int, Some("2"), AtLeast(1), Low, ReadOnly, PUBLIC, NOT_YET, ""),
    key("metrics.recording.level", String, Some("INFO"), Any, Low, ReadOnly, PUBLIC, NOT_YET, ""),
    key("metrics.sample.window.ms", Long, Some("30000"), AtLeast(1), Low, ReadOnly, PUBLIC, NOT_YET, ""),
    key("min.insync.replicas", Int, Some("1"), AtLeast(1), High, ClusterWide, PUBLIC, NOT_YET, ""),
    key("node.id", Int, Some("-1"), Any, High, ReadOnly, PUBLIC, NOT_YET, ""),
    key("num.io.threads", Int, Some("8"), AtLeast(1), High, ClusterWide, PUBLIC, NOT_YET, ""),
    key("num.network.threads", Int, Some("3"), AtLeast(1), High, ClusterWide, PUBLIC, NOT_YET, ""),
    key("num.partitions", Int, Some("1"), AtLeast(1), Medium, ReadOnly, PUBLIC, NOT_YET, ""),
    key("num.recovery.threads.per.data.dir", Int, Some("1"), AtLeast(1), High, ClusterWide, PUBLIC, NOT_YET, ""),
    key("num.replica.alter.log.dirs.threads", Int, None, Any, High, ReadOnly, PUBLIC, NOT_YET, ""),
    key("num.replica.fetchers", Int, Some("1"), Any, High, ClusterWide, PUBLIC, NOT_YET, ""),
    key("offset.metadata.max.bytes", Int, Some("4096"), Any, High, ReadOnly, PUBLIC, NOT_YET, ""),
    key("offsets.commit.required.acks", Short, Some("-1"), Any, High, ReadOnly, PUBLIC, NOT_YET, ""),
    key("offsets.commit.timeout.ms", Int, Some("5000"), AtLeast(1), High, ReadOnly, PUBLIC, NOT_YET, ""),
    key("offsets.load.buffer.size", Int, Some("5242880"), AtLeast(1), High, ReadOnly, PUBLIC, NOT_YET, ""),
    key("offsets.retention.check.interval.ms", Long, Some("600000"), AtLeast(1), High, ReadOnly, PUBLIC, NOT_YET, ""),
    key("offsets.retention.minutes", Int, Some("10080"), AtLeast(1), High, ReadOnly, PUBLIC, NOT_YET, ""),
    key("offsets.topic.compression.codec", Int, Some("0"), Any, High, ReadOnly, PUBLIC, NOT_YET, ""),
    key("offsets.topic.num.partitions", Int, Some("50"), AtLeast(1), High, ReadOnly, PUBLIC, NOT_YET, ""),
    key("offsets.topic.replication.factor", Short, Some("3"), AtLeast(1), High, ReadOnly, PUBLIC, NOT_YET, ""),
    key("offsets.topic.segment.bytes", Int, Some("104857600"), AtLeast(1), High, ReadOnly, PUBLIC, NOT_YET, ""),
    key("password.encoder.cipher.algorithm", String, Some("AES/CBC/PKCS5Padding"), Any, Low, ReadOnly, PUBLIC, NOT_YET, ""),
    key("password.encoder.iterations", Int, Some("4096"), AtLeast(1024), Low, ReadOnly, PUBLIC, NOT_YET, ""),
    key("password.encoder.key.length", Int, Some("128"), AtLeast(8), Low, ReadOnly, PUBLIC, NOT_YET, ""),
    key("password.encoder.keyfactory.algorithm", String, None, Any, Low, ReadOnly, PUBLIC, NOT_YET, ""),
    key("password.encoder.old.secret", Password, None, Any, Medium, ReadOnly, PUBLIC, NOT_YET, ""),
    key("password.encoder.secret", Password, None, Any, Medium, ReadOnly, PUBLIC, NOT_YET, ""),
    key("principal.builder.class", Class, Some("org.apache.kafka.common.security.authenticator.DefaultKafkaPrincipalBuilder"), Any, Medium, PerBroker, PUBLIC, NOT_YET, ""),
    key("process.roles", List, Some(""), OneOf(&["broker", "controller"]), High, ReadOnly, PUBLIC, NOT_YET, ""),
    key("producer.id.expiration.check.interval.ms", Int, Some("600000"), AtLeast(1), Low, ReadOnly, INTERNAL, NOT_YET, ""),
    key("producer.id.expiration.ms", Int, Some("86400000"), AtLeast(1), Low, ClusterWide, PUBLIC, NOT_YET, ""),
    key("producer.purgatory.purge.interval.requests", Int, Some("1000"), Any, Medium, ReadOnly, PUBLIC, NOT_YET, ""),
    key("queued.max.request.bytes", Long, Some("-1"), Any, Medium, ReadOnly, PUBLIC, NOT_YET, ""),
    key("queued.max.requests", Int, Some("500"), AtLeast(1), High, ReadOnly, PUBLIC, NOT_YET, ""),
    key("quota.window.num", Int, Some("11"), AtLeast(1), Low, ReadOnly, PUBLIC, NOT_YET, ""),
    key("quota.window.size.seconds", Int, Some("1"), AtLeast(1), Low, ReadOnly, PUBLIC, NOT_YET, ""),
    key("remote.fetch.max.wait.ms", Int, Some("500"), AtLeast(1), Medium, ClusterWide, PUBLIC, NOT_YET, ""),
    key("remote.log.index.file.cache.total.size.bytes", Long, Some("1073741824"), AtLeast(1), Low, ClusterWide, PUBLIC, NOT_YET, ""),
    key("remote.log.manager.copier.thread.pool.size", Int, Some("-1"), ThreadsOrDefault, Medium, ReadOnly, PUBLIC, NOT_YET, ""),
    key("remote.log.manager.copy.max.bytes.per.second", Long, Some("9223372036854775807"), AtLeast(1), Medium, ClusterWide, PUBLIC, NOT_YET, ""),
    key("remote.log.manager.copy.quota.window.num", Int, Some("11"), AtLeast(1), Medium, ReadOnly, PUBLIC, NOT_YET, ""),
    key("remote.log.manager.copy.quota.window.size.seconds", Int, Some("1"), AtLeast(1), Medium, ReadOnly, PUBLIC, NOT_YET, ""),
    key("remote.log.manager.expiration.thread.pool.size", Int, Some("-1"), ThreadsOrDefault, Medium, ReadOnly, PUBLIC, NOT_YET, ""),
    key("remote.log.manager.fetch.max.bytes.per.second", Long, Some("9223372036854775807"), AtLeast(1), Medium, ClusterWide, PUBLIC, NOT_YET, ""),
    key("remote.log.manager.fetch.quota.window.num", Int, Some("11"), AtLeast(1), Medium, ReadOnly, PUBLIC, NOT_YET, ""),
    key("remote.log.manager.fetch.quota.window.size.seconds", Int, Some("1"), AtLeast(1), Medium, ReadOnly, PUBLIC, NOT_YET, ""),
    key("remote.log.manager.task.interval.ms", Long, Some("30000"), AtLeast(1), Low, ReadOnly, PUBLIC, NOT_YET, ""),
    key("remote.log.manager.task.retry.backoff.max.ms", Long, Some("30000"), AtLeast(1), Low, ReadOnly, INTERNAL, NOT_YET, ""),
    key("remote.log.manager.task.retry.backoff.ms", Long, Some("500"), AtLeast(1), Low, ReadOnly, INTERNAL, NOT_YET, ""),
    key("remote.log.manager.task.retry.jitter", Double, Some("0.2"), BetweenReal(0.0, 0.5), Low, ReadOnly, INTERNAL, NOT_YET, ""),
    key("remote.log.manager.thread.pool.size", Int, Some("10"), AtLeast(1), Medium, ReadOnly, PUBLIC, NOT_YET, ""),
    key("remote.log.metadata.custom.metadata.max.bytes", Int, Some("128"), AtLeast(0), Low, ReadOnly, PUBLIC, NOT_YET, ""),
    key("remote.log.metadata.manager.class.name", String, Some("org.apache.kafka.server.log.remote.metadata.storage.TopicBasedRemoteLogMetadataManager"), NonEmptyString, Medium, ReadOnly, PUBLIC, NOT_YET, ""),
    key("remote.log.metadata.manager.class.path", String, None, Any, Medium, ReadOnly, PUBLIC, NOT_YET, ""),
    key("remote.log.metadata.manager.impl.prefix", String, Some("rlmm.config."), NonEmptyString, Medium, ReadOnly, PUBLIC, NOT_YET, ""),
    key("remote.log.metadata.manager.listener.name", String, None, NonEmptyString, Medium, ReadOnly, PUBLIC, NOT_YET, ""),
    key("remote.log.reader.max.pending.tasks", Int, Some("100"), AtLeast(1), Medium, ReadOnly, PUBLIC, NOT_YET, ""),
    key("remote.log.reader.threads", Int, Some("10"), AtLeast(1), Medium, ReadOnly, PUBLIC, NOT_YET, ""),
    key("remote.log.storage.manager.class.name", String, None, NonEmptyString, Medium, ReadOnly, PUBLIC, NOT_YET, ""),
    key("remote.log.storage.manager.class.path", String, None, Any, Medium, ReadOnly, PUBLIC, NOT_YET, ""),
    key("remote.log.storage.manager.impl.prefix", String, Some("rsm.config."), NonEmptyString, Medium, ReadOnly, PUBLIC, NOT_YET, ""),
    key("remote.log.storage.system.enable", Boolean, Some("false"), Any, Medium, ReadOnly, PUBLIC, NOT_YET, ""),
    key("replica.fetch.backoff.ms", Int, Some("1000"), AtLeast(0), Medium, ReadOnly, PUBLIC, NOT_YET, ""),
    key("replica.fetch.max.bytes", Int, Some("1048576"), AtLeast(0), Medium, ReadOnly, PUBLIC, NOT_YET, ""),
    key("replica.fetch.min.bytes", Int, Some("1"), Any, High, ReadOnly, PUBLIC, NOT_YET, ""),
    key("replica.fetch.response.max.bytes", Int, Some("10485760"), AtLeast(0), Medium, ReadOnly, PUBLIC, NOT_YET, ""),
    key("replica.fetch.wait.max.ms", Int, Some("500"), Any, High, ReadOnly, PUBLIC, NOT_YET, ""),
    key("replica.high.watermark.checkpoint.interval.ms", Long, Some("5000"), Any, High, ReadOnly, PUBLIC, NOT_YET, ""),
    key("replica.lag.time.max.ms", Long, Some("30000"), Any, High, ReadOnly, PUBLIC, NOT_YET, ""),
    key("replica.selector.class", String, None, Any, Medium, ReadOnly, PUBLIC, NOT_YET, ""),
    key("replica.socket.receive.buffer.bytes", Int, Some("65536"), Any, High, ReadOnly, PUBLIC, NOT_YET, ""),
    key("replica.socket.timeout.ms", Int, Some("30000"), Any, High, ReadOnly, PUBLIC, NOT_YET, ""),
    key("replication.quota.window.num", Int, Some("11"), AtLeast(1), Low, ReadOnly, PUBLIC, NOT_YET, ""),
    key("replication.quota.window.size.seconds", Int, Some("1"), AtLeast(1), Low, ReadOnly, PUBLIC, NOT_YET, ""),
    key("request.timeout.ms", Int, Some("30000"), Any, High, ReadOnly, PUBLIC, NOT_YET, ""),
    key("reserved.broker.max.id", Int, Some("1000"), AtLeast(0), Medium, ReadOnly, PUBLIC, NOT_YET, ""),
    key("sasl.client.callback.handler.class", Class, None, Any, Medium, ReadOnly, PUBLIC, NOT_YET, ""),
    key("sasl.enabled.mechanisms", List, Some("GSSAPI"), Any, Medium, PerBroker, PUBLIC, NOT_YET, ""),
    key("sasl.jaas.config", Password, None, Any, Medium, PerBroker, PUBLIC, NOT_YET, ""),
    key("sasl.kerberos.kinit.cmd", String, Some("/usr/bin/kinit"), Any, Medium, PerBroker, PUBLIC, NOT_YET, ""),
    key("sasl.kerberos.min.time.before.relogin", Long, Some("60000"), Any, Medium, PerBroker, PUBLIC, NOT_YET, ""),
    key("sasl.kerberos.principal.to.local.rules", List, Some("DEFAULT"), Any, Medium, PerBroker, PUBLIC, NOT_YET, ""),
    key("sasl.kerberos.service.name", String, None, Any, Medium, PerBroker, PUBLIC, NOT_YET, ""),
    key("sasl.kerberos.ticket.renew.jitter", Double, Some("0.05"), Any, Medium, PerBroker, PUBLIC, NOT_YET, ""),
    key("sasl.kerberos.ticket.renew.window.factor", Double, Some("0.8"), Any, Medium, PerBroker, PUBLIC, NOT_YET, ""),
    key("sasl.login.callback.handler.class", Class, None, Any, Medium, ReadOnly, PUBLIC, NOT_YET, ""),
    key("sasl.login.class", Class, None, Any, Medium, ReadOnly, PUBLIC, NOT_YET, ""),
    key("sasl.login.connect.timeout.ms", Int, None, Any, Low, ReadOnly, PUBLIC, NOT_YET, ""),
    key("sasl.login.read.timeout.ms", Int, None, Any, Low, ReadOnly, PUBLIC, NOT_YET, ""),
    key("sasl.login.refresh.buffer.seconds", Short, Some("300"), Any, Medium, PerBroker, PUBLIC, NOT_YET, ""),
    key("sasl.login.refresh.min.period.seconds", Short, Some("60"), Any, Medium, PerBroker, PUBLIC, NOT_YET, ""),
    key("sasl.login.refresh.window.factor", Double, Some("0.8"), Any, Medium, PerBroker, PUBLIC, NOT_YET, ""),
    key("sasl.login.refresh.window.jitter", Double, Some("0.05"), Any, Medium, PerBroker, PUBLIC, NOT_YET, ""),
    key("sasl.login.retry.backoff.max.ms", Long, Some("10000"), Any, Low, ReadOnly, PUBLIC, NOT_YET, ""),
    key("sasl.login.retry.backoff.ms", Long, Some("100"), Any, Low, ReadOnly, PUBLIC, NOT_YET, ""),
    key("sasl.mechanism.controller.protocol", String, Some("GSSAPI"), Any, High, ReadOnly, PUBLIC, NOT_YET, ""),
    key("sasl.mechanism.inter.broker.protocol", String, Some("GSSAPI"), Any, Medium, PerBroker, PUBLIC, NOT_YET, ""),
    key("sasl.oauthbearer.clock.skew.seconds", Int, Some("30"), Any, Low, ReadOnly, PUBLIC, NOT_YET, ""),
    key("sasl.oauthbearer.expected.audience", List, None, Any, Low, ReadOnly, PUBLIC, NOT_YET, ""),
    key("sasl.oauthbearer.expected.issuer", String, None, Any, Low, ReadOnly, PUBLIC, NOT_YET, ""),
    key("sasl.oauthbearer.jwks.endpoint.refresh.ms", Long, Some("3600000"), Any, Low, ReadOnly, PUBLIC, NOT_YET, ""),
    key("sasl.oauthbearer.jwks.endpoint.retry.backoff.max.ms", Long, Some("10000"), Any, Low, ReadOnly, PUBLIC, NOT_YET, ""),
    key("sasl.oauthbearer.jwks.endpoint.retry.backoff.ms", Long, Some("100"), Any, Low, ReadOnly, PUBLIC, NOT_YET, ""),
    key("sasl.oauthbearer.jwks.endpoint.url", String, None, Any, Medium, ReadOnly, PUBLIC, NOT_YET, ""),
    key("sasl.oauthbearer.scope.claim.name", String, Some("scope"), Any, Low, ReadOnly, PUBLIC, NOT_YET, ""),
    key("sasl.oauthbearer.sub.claim.name", String, Some("sub"), Any, Low, ReadOnly, PUBLIC, NOT_YET, ""),
    key("sasl.oauthbearer.token.endpoint.url", String, None, Any, Medium, ReadOnly, PUBLIC, NOT_YET, ""),
    key("sasl.server.callback.handler.class", Class, None, Any, Medium, ReadOnly, PUBLIC, NOT_YET, ""),
    key("sasl.server.max.receive.size", Int, Some("524288"), Any, Medium, ReadOnly, PUBLIC, NOT_YET, ""),
    key("security.inter.broker.protocol", String, Some("PLAINTEXT"), OneOf(&["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"]), Medium, ReadOnly, PUBLIC, NOT_YET, ""),
    key("security.providers", String, None, Any, Low, ReadOnly, PUBLIC, NOT_YET, ""),
    key("server.max.startup.time.ms", Long, Some("9223372036854775807"), AtLeast(0), Medium, ReadOnly, INTERNAL, NOT_YET, ""),
    key("socket.connection.setup.timeout.max.ms", Long, Some("30000"), Any, Medium, ReadOnly, PUBLIC, NOT_YET, ""),
    key("socket.connection.setup.timeout.ms", Long, Some("10000"), Any, Medium, ReadOnly, PUBLIC, NOT_YET, ""),
    key("socket.listen.backlog.size", Int, Some("50"), AtLeast(1), Medium, ReadOnly, PUBLIC, NOT_YET, ""),
    key("socket.receive.buffer.bytes", Int, Some("102400"), Any, High, ReadOnly, PUBLIC, NOT_YET, ""),
    key("socket.request.max.bytes", Int, Some("104857600"), AtLeast(1), High, ReadOnly, PUBLIC, NOT_YET, ""),
    key("socket.send.buffer.bytes", Int, Some("102400"), Any, High, ReadOnly, PUBLIC, NOT_YET, ""),
    key("ssl.allow.dn.changes", Boolean, Some("false"), Any, Low, ReadOnly, PUBLIC, NOT_YET, ""),
    key("ssl.allow.san.changes", Boolean, Some("false"), Any, Low, ReadOnly, PUBLIC, NOT_YET, ""),
    key("ssl.cipher.suites", List, Some(""), Any, Medium, PerBroker, PUBLIC, NOT_YET, ""),
    key("ssl.client.auth", String, Some("none"), OneOf(&["required", "requested", "none"]), Medium, PerBroker, PUBLIC, NOT_YET, ""),
    key("ssl.enabled.protocols", List, Some("TLSv1.2,TLSv1.3"), Any, Medium, PerBroker, PUBLIC, NOT_YET, ""),
    key("ssl.endpoint.identification.algorithm", String, Some("https"), Any, Low, PerBroker, PUBLIC, NOT_YET, ""),
    key("ssl.engine.factory.class", Class, None, Any, Low, PerBroker, PUBLIC, NOT_YET, ""),
    key("ssl.key.password", Password, None, Any, Medium, PerBroker, PUBLIC, NOT_YET, ""),
    key("ssl.keymanager.algorithm", String, Some("SunX509"), Any, Medium, PerBroker, PUBLIC, NOT_YET, ""),
    key("ssl.keystore.certificate.chain", Password, None, Any, Medium, PerBroker, PUBLIC, NOT_YET, ""),
    key("ssl.keystore.key", Password, None, Any, Medium, PerBroker, PUBLIC, NOT_YET, ""),
    key("ssl.keystore.location", String, None, Any, Medium, PerBroker, PUBLIC, NOT_YET, ""),
    key("ssl.keystore.password", Password, None, Any, Medium, PerBroker, PUBLIC, NOT_YET, ""),
    key("ssl.keystore.type", String, Some("JKS"), Any, Medium, PerBroker, PUBLIC, NOT_YET, ""),
    key("ssl.principal.mapping.rules", String, Some("DEFAULT"), Any, Low, ReadOnly, PUBLIC, NOT_YET, ""),
    key("ssl.protocol", String, Some("TLSv1.3"), Any, Medium, PerBroker, PUBLIC, NOT_YET, ""),
    key("ssl.provider", String, None, Any, Medium, PerBroker, PUBLIC, NOT_YET, ""),
    key("ssl.secure.random.implementation", String, None, Any, Low, PerBroker, PUBLIC, NOT_YET, ""),
    key("ssl.trustmanager.algorithm", String, Some("PKIX"), Any, Medium, PerBroker, PUBLIC, NOT_YET, ""),
    key("ssl.truststore.certificates", Password, None, Any, Medium, PerBroker, PUBLIC, NOT_YET, ""),
    key("ssl.truststore.location", String, None, Any, Medium, PerBroker, PUBLIC, NOT_YET, ""),
    key("ssl.truststore.password", Password, None, Any, Medium, PerBroker, PUBLIC, NOT_YET, ""),
    key("ssl.truststore.type", String, Some("JKS"), Any, Medium, PerBroker, PUBLIC, NOT_YET, ""),
    key("telemetry.max.bytes", Int, Some("1048576"), AtLeast(1), Low, ReadOnly, PUBLIC, NOT_YET, ""),
    key("transaction.abort.timed.out.transaction.cleanup.interval.ms", Int, Some("10000"), AtLeast(1), Low, ReadOnly, PUBLIC, NOT_YET, ""),
    key("transaction.max.timeout.ms", Int, Some("900000"), AtLeast(1), High, ReadOnly, PUBLIC, NOT_YET, ""),
    key("transaction.partition.verification.enable", Boolean, Some("true"), Any, Low, ClusterWide, PUBLIC, NOT_YET, ""),
    key("transaction.remove.expired.transaction.cleanup.interval.ms", Int, Some("3600000"), AtLeast(1), Low, ReadOnly, PUBLIC, NOT_YET, ""),
    key("transaction.state.log.load.buffer.size", Int, Some("5242880"), AtLeast(1), High, ReadOnly, PUBLIC, NOT_YET, ""),
    key("transaction.state.log.min.isr", Int, Some("2"), AtLeast(1), High, ReadOnly, PUBLIC, NOT_YET, ""),
    key("transaction.state.log.num.partitions", Int, Some("50"), AtLeast(1), High, ReadOnly, PUBLIC, NOT_YET, ""),
    key("transaction.state.log.replication.factor", Short, Some("3"), AtLeast(1), High, ReadOnly, PUBLIC, NOT_YET, ""),
    key("transaction.state.log.segment.bytes", Int, Some("104857600"), AtLeast(1), High, ReadOnly, PUBLIC, NOT_YET, ""),
    key("transactional.id.expiration.ms", Int, Some("604800000"), AtLeast(1), High, ReadOnly, PUBLIC, NOT_YET, ""),
    key("unclean.leader.election.enable", Boolean, Some("false"), Any, High, ClusterWide, PUBLIC, NOT_YET, ""),
    key("unclean.leader.election.interval.ms", Long, Some("300000"), AtLeast(1), Medium, ReadOnly, INTERNAL, NOT_YET, ""),
    key("unstable.api.versions.enable", Boolean, Some("false"), Any, High, ReadOnly, INTERNAL, NOT_YET, ""),
    key("unstable.feature.versions.enable", Boolean, Some("false"), Any, High, ReadOnly, INTERNAL, NOT_YET, ""),
    key("zookeeper.clientCnxnSocket", String, None, Any, Medium, ReadOnly, PUBLIC, NOT_YET, ""),
    key("zookeeper.connect", String, None, Any, High, ReadOnly, PUBLIC, NOT_YET, ""),
    key("zookeeper.connection.timeout.ms", Int, None, Any, High, ReadOnly, PUBLIC, NOT_YET, ""),
    key("zookeeper.max.in.flight.requests", Int, Some("10"), AtLeast(1), High, ReadOnly, PUBLIC, NOT_YET, ""),
    key("zookeeper.metadata.migration.enable", Boolean, Some("false"), Any, High, ReadOnly, PUBLIC, NOT_YET, ""),
    key("zookeeper.metadata.migration.min.batch.size", Int, Some("200"), AtLeast(1), Medium, ReadOnly, INTERNAL, NOT_YET, ""),
    key("zookeeper.session.timeout.ms", Int, Some("18000"), Any, High, ReadOnly, PUBLIC, NOT_YET, ""),
    key("zookeeper.set.acl", Boolean, Some("false"), Any, High, ReadOnly, PUBLIC, NOT_YET, ""),
    key("zookeeper.ssl.cipher.suites", List, None, Any, Low, ReadOnly, PUBLIC, NOT_YET, ""),
    key("zookeeper.ssl.client.enable", Boolean, Some("false"), Any, Medium, ReadOnly, PUBLIC, NOT_YET, ""),
    key("zookeeper.ssl.crl.enable", Boolean, Some("false"), Any, Low, ReadOnly, PUBLIC, NOT_YET, ""),
    key("zookeeper.ssl.enabled.protocols", List, None, Any, Low, ReadOnly, PUBLIC, NOT_YET, ""),
    key("zookeeper.ssl.endpoint.identification.algorithm", String, Some("HTTPS"), Any, Low, ReadOnly, PUBLIC, NOT_YET, ""),
    key("zookeeper.ssl.keystore.location", String, None, Any, Medium, ReadOnly, PUBLIC, NOT_YET, ""),
    key("zookeeper.ssl.keystore.password", Password, None, Any, Medium, ReadOnly, PUBLIC, NOT_YET, ""),
    key("zookeeper.ssl.keystore.type", String, None, Any, Medium, ReadOnly, PUBLIC, NOT_YET, ""),
    key("zookeeper.ssl.ocsp.enable", Boolean, Some("false"), Any, Low, ReadOnly, PUBLIC, NOT_YET, ""),
    key("zookeeper.ssl.protocol", String, Some("TLSv1.2"), Any, Low, ReadOnly, PUBLIC, NOT_YET, ""),
    key("zookeeper.ssl.truststore.location", String, None, Any, Medium, ReadOnly, PUBLIC, NOT_YET, ""),
    key("zookeeper.ssl.truststore.password", Password, None, Any, Medium, ReadOnly, PUBLIC, NOT_YET, ""),
    key("zookeeper.ssl.truststore.type", String, None, Any, Medium, ReadOnly, PUBLIC, NOT_YET, ""),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_sorted_and_their_defaults_are_valid() {
        assert!(KEYS.is_sorted_by(|a, b| a.name < b.name));
        assert_eq!(KEYS.len(), 328);
        for key in KEYS {
            let value = key.default_value();
            // Kafka, too, exempts what a KRaft broker would need.
            assert_eq!(key.valid.check(&value), Ok(()), "{}", key.name);
            assert!(
                key.doc.ends_with('.') && key.doc.len() > 10,
                "{} has no documentation",
                key.name
            );
        }
    }

    #[test]
    fn a_password_is_not_shown_even_when_it_is_wrong() {
        let key = Key {
            valid: OneOf(&["x"]),
            ..*lookup("ssl.key.password").unwrap()
        };
        let error = key.parse("secret").unwrap_err().to_string();
        assert_eq!(
            error,
            "Invalid value [hidden] for configuration ssl.key.password: String must be one of: x"
        );
    }

    #[test]
    fn lookup_finds_exactly_the_keys_of_the_table() {
        assert!(
            KEYS.iter()
                .all(|key| lookup(key.name).is_some_and(|found| found.name == key.name))
        );
        assert!(lookup("log.retention").is_none());
        assert!(lookup("").is_none());
    }
}
