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

/// Keys that Kafka does not have. They are no part of `DescribeConfigs`, which lists what Kafka lists.
#[rustfmt::skip]
pub static OWN_KEYS: &[Key] = &[
    key("controller.eligible", Boolean, Some("true"), Any, Medium, ReadOnly, PUBLIC, ACTED_ON, "Whether this broker may become the controller while no dedicated coordinator is there."),
    key("ottla.death.certificate", Boolean, Some("true"), Any, Medium, ReadOnly, PUBLIC, ACTED_ON, "Whether a guardian process beside this one tells ZooKeeper of its death at once."),
    key("ottla.ssl.crl.location", String, None, Any, Medium, PerBroker, PUBLIC, ACTED_ON, "A PEM file of revocation lists for certificates of peers; also with a listener's prefix."),
    key("ottla.zookeeper.sasl.jaas.config", Password, None, Any, Medium, ReadOnly, PUBLIC, ACTED_ON, "Who logs in to ZooKeeper by SASL: a line of JAAS with the DigestLoginModule; before the section `Client` of a file in KAFKA_OPTS."),
];

/// The key called `name`, Kafka's or our own.
pub(super) fn lookup_any(name: &str) -> Option<&'static Key> {
    lookup(name).or_else(|| OWN_KEYS.iter().find(|key| key.name == name))
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
    key("advertised.listeners", String, None, Any, High, PerBroker, PUBLIC, ACTED_ON, "Where clients and other brokers are told to connect, if not to `listeners`."),
    key("alter.config.policy.class.name", Class, None, Any, Low, ReadOnly, PUBLIC, ACTED_ON, "A Java class that may veto configuration changes; cannot run here."),
    key("alter.log.dirs.replication.quota.window.num", Int, Some("11"), AtLeast(1), Low, ReadOnly, PUBLIC, ACTED_ON, "Windows kept for measuring moves between log directories."),
    key("alter.log.dirs.replication.quota.window.size.seconds", Int, Some("1"), AtLeast(1), Low, ReadOnly, PUBLIC, ACTED_ON, "Length of one window when measuring moves between log directories."),
    key("authorizer.class.name", String, Some(""), NonNull, Low, ReadOnly, PUBLIC, ACTED_ON, "Who decides about permissions; empty lets everyone do everything."),
    key("auto.create.topics.enable", Boolean, Some("true"), Any, High, ReadOnly, PUBLIC, ACTED_ON, "Whether asking for a topic that does not exist creates it."),
    key("auto.include.jmx.reporter", Boolean, Some("true"), Any, Low, ReadOnly, PUBLIC, NOT_YET, "Whether metrics appear in JMX; there is no JVM here."),
    key("auto.leader.rebalance.enable", Boolean, Some("true"), Any, High, ReadOnly, PUBLIC, ACTED_ON, "Whether the controller gives leadership back to preferred replicas by itself."),
    key("background.threads", Int, Some("10"), AtLeast(1), High, ClusterWide, PUBLIC, ACTED_ON, "The most threads for background work on logs; idle ones end."),
    key("broker.heartbeat.interval.ms", Int, Some("2000"), Any, Medium, ReadOnly, PUBLIC, NOT_YET, "KRaft only: time between heartbeats to the controller."),
    key("broker.id", Int, Some("-1"), Any, High, ReadOnly, PUBLIC, ACTED_ON, "This broker's id; -1 asks ZooKeeper for one above `reserved.broker.max.id`."),
    key("broker.id.generation.enable", Boolean, Some("true"), Any, Medium, ReadOnly, PUBLIC, ACTED_ON, "Whether a broker without an id gets one from ZooKeeper."),
    key("broker.rack", String, None, Any, Medium, ReadOnly, PUBLIC, ACTED_ON, "The rack this broker stands in, for spreading replicas."),
    key("broker.session.timeout.ms", Int, Some("9000"), Any, Medium, ReadOnly, PUBLIC, NOT_YET, "KRaft only: how long the controller waits for a heartbeat."),
    key("client.quota.callback.class", Class, None, Any, Low, ReadOnly, PUBLIC, NOT_YET, "A Java class that computes quotas; cannot run here."),
    key("compression.gzip.level", Int, Some("-1"), GzipLevel, Medium, ClusterWide, PUBLIC, ACTED_ON, "How hard gzip tries when the broker compresses; -1 is gzip's own default."),
    key("compression.lz4.level", Int, Some("9"), Between(1, 17), Medium, ClusterWide, PUBLIC, ACTED_ON, "How hard lz4 tries when the broker compresses."),
    key("compression.type", String, Some("producer"), OneOf(&["uncompressed", "zstd", "lz4", "snappy", "gzip", "producer"]), High, ClusterWide, PUBLIC, ACTED_ON, "How batches are stored: as the producer sent them, uncompressed, or in one codec."),
    key("compression.zstd.level", Int, Some("3"), Between(-131072, 22), Medium, ClusterWide, PUBLIC, ACTED_ON, "How hard zstd tries when the broker compresses."),
    key("connection.failed.authentication.delay.ms", Int, Some("100"), AtLeast(0), Low, ReadOnly, PUBLIC, ACTED_ON, "How long the answer to a failed authentication is held back."),
    key("connections.max.idle.ms", Long, Some("600000"), Any, Medium, ReadOnly, PUBLIC, ACTED_ON, "A connection idle for longer is closed."),
    key("connections.max.reauth.ms", Long, Some("0"), Any, Medium, ReadOnly, PUBLIC, ACTED_ON, "How long a SASL session lasts before the client must authenticate again."),
    key("control.plane.listener.name", String, None, Any, High, ReadOnly, PUBLIC, ACTED_ON, "The listener for requests of the controller, if they have one of their own."),
    key("controlled.shutdown.enable", Boolean, Some("true"), Any, Medium, ReadOnly, PUBLIC, ACTED_ON, "Whether leadership is handed over before the broker stops."),
    key("controlled.shutdown.max.retries", Int, Some("3"), Any, Medium, ReadOnly, PUBLIC, ACTED_ON, "How often handing over is tried again."),
    key("controlled.shutdown.retry.backoff.ms", Long, Some("5000"), Any, Medium, ReadOnly, PUBLIC, ACTED_ON, "How long to wait before handing over is tried again."),
    key("controller.listener.names", String, None, Any, High, ReadOnly, PUBLIC, ACTED_ON, "KRaft only: listeners of the controller quorum."),
    key("controller.quorum.append.linger.ms", Int, Some("25"), Any, Medium, ReadOnly, PUBLIC, NOT_YET, "KRaft only: how long the leader gathers writes."),
    key("controller.quorum.bootstrap.servers", List, Some(""), KRaftList, High, ReadOnly, PUBLIC, NOT_YET, "KRaft only: where to find the controller quorum."),
    key("controller.quorum.election.backoff.max.ms", Int, Some("1000"), Any, High, ReadOnly, PUBLIC, NOT_YET, "KRaft only: longest pause between elections."),
    key("controller.quorum.election.timeout.ms", Int, Some("1000"), Any, High, ReadOnly, PUBLIC, NOT_YET, "KRaft only: how long an election may take."),
    key("controller.quorum.fetch.timeout.ms", Int, Some("2000"), Any, High, ReadOnly, PUBLIC, NOT_YET, "KRaft only: how long a voter goes without the leader."),
    key("controller.quorum.request.timeout.ms", Int, Some("2000"), Any, Medium, ReadOnly, PUBLIC, NOT_YET, "KRaft only: how long a request among voters may take."),
    key("controller.quorum.retry.backoff.ms", Int, Some("20"), Any, Low, ReadOnly, PUBLIC, NOT_YET, "KRaft only: pause before a request is sent again."),
    key("controller.quorum.voters", List, Some(""), KRaftList, High, ReadOnly, PUBLIC, NOT_YET, "KRaft only: ids and addresses of the voters."),
    key("controller.quota.window.num", Int, Some("11"), AtLeast(1), Low, ReadOnly, PUBLIC, ACTED_ON, "Windows kept for the quota on topic changes."),
    key("controller.quota.window.size.seconds", Int, Some("1"), AtLeast(1), Low, ReadOnly, PUBLIC, ACTED_ON, "Length of one window of the quota on topic changes."),
    key("controller.socket.timeout.ms", Int, Some("30000"), Any, Medium, ReadOnly, PUBLIC, ACTED_ON, "How long the controller waits for a broker's answer."),
    key("create.topic.policy.class.name", Class, None, Any, Low, ReadOnly, PUBLIC, ACTED_ON, "A Java class that may veto new topics; cannot run here."),
    key("default.replication.factor", Int, Some("1"), Any, Medium, ReadOnly, PUBLIC, ACTED_ON, "Replicas of a topic that is created automatically or without a number."),
    key("delegation.token.expiry.check.interval.ms", Long, Some("3600000"), AtLeast(1), Low, ReadOnly, PUBLIC, ACTED_ON, "How often expired delegation tokens are removed."),
    key("delegation.token.expiry.time.ms", Long, Some("86400000"), AtLeast(1), Medium, ReadOnly, PUBLIC, ACTED_ON, "How long a delegation token is valid before it must be renewed."),
    key("delegation.token.master.key", Password, None, Any, Medium, ReadOnly, PUBLIC, ACTED_ON, "The old name of `delegation.token.secret.key`."),
    key("delegation.token.max.lifetime.ms", Long, Some("604800000"), AtLeast(1), Medium, ReadOnly, PUBLIC, ACTED_ON, "How long a delegation token may live, however often it is renewed."),
    key("delegation.token.secret.key", Password, None, Any, Medium, ReadOnly, PUBLIC, ACTED_ON, "The secret that signs delegation tokens; the same on all brokers."),
    key("delete.records.purgatory.purge.interval.requests", Int, Some("1"), Any, Medium, ReadOnly, PUBLIC, NOT_YET, "When waiting DeleteRecords requests are swept; here they are removed at once."),
    key("delete.topic.enable", Boolean, Some("true"), Any, High, ReadOnly, PUBLIC, ACTED_ON, "Whether topics can be deleted at all."),
    key("early.start.listeners", String, None, Any, High, ReadOnly, PUBLIC, NOT_YET, "Listeners that answer before the others; here all are bound first and answer together."),
    key("eligible.leader.replicas.enable", Boolean, Some("false"), Any, High, ReadOnly, PUBLIC, NOT_YET, "KRaft only: leaders outside the in-sync replicas under conditions."),
    key("fetch.max.bytes", Int, Some("57671680"), AtLeast(1024), Medium, ReadOnly, PUBLIC, ACTED_ON, "The most bytes that one fetch is answered with."),
    key("fetch.purgatory.purge.interval.requests", Int, Some("1000"), Any, Medium, ReadOnly, PUBLIC, NOT_YET, "When waiting fetches are swept; here they are removed at once."),
    key("group.consumer.assignors", List, Some("org.apache.kafka.coordinator.group.assignor.UniformAssignor,org.apache.kafka.coordinator.group.assignor.RangeAssignor"), Any, Medium, ReadOnly, PUBLIC, NOT_YET, "Assignors of the new consumer group protocol."),
    key("group.consumer.heartbeat.interval.ms", Int, Some("5000"), AtLeast(1), Medium, ReadOnly, PUBLIC, NOT_YET, "Time between heartbeats of members of the new protocol."),
    key("group.consumer.max.heartbeat.interval.ms", Int, Some("15000"), AtLeast(1), Medium, ReadOnly, PUBLIC, NOT_YET, "Longest heartbeat interval that a group may set."),
    key("group.consumer.max.session.timeout.ms", Int, Some("60000"), AtLeast(1), Medium, ReadOnly, PUBLIC, NOT_YET, "Longest session timeout that a group may set."),
    key("group.consumer.max.size", Int, Some("2147483647"), AtLeast(1), Medium, ReadOnly, PUBLIC, NOT_YET, "Most members of a group of the new protocol."),
    key("group.consumer.migration.policy", String, Some("disabled"), OneOfIgnoringCase(&["DISABLED", "DOWNGRADE", "UPGRADE", "BIDIRECTIONAL"]), Medium, ReadOnly, INTERNAL, NOT_YET, "Whether groups may change between the old and the new protocol."),
    key("group.consumer.min.heartbeat.interval.ms", Int, Some("5000"), AtLeast(1), Medium, ReadOnly, PUBLIC, NOT_YET, "Shortest heartbeat interval that a group may set."),
    key("group.consumer.min.session.timeout.ms", Int, Some("45000"), AtLeast(1), Medium, ReadOnly, PUBLIC, NOT_YET, "Shortest session timeout that a group may set."),
    key("group.consumer.session.timeout.ms", Int, Some("45000"), AtLeast(1), Medium, ReadOnly, PUBLIC, NOT_YET, "After how long without heartbeat a member of the new protocol is gone."),
    key("group.coordinator.append.linger.ms", Int, Some("10"), AtLeast(0), Medium, ReadOnly, PUBLIC, NOT_YET, "How long the new coordinator gathers writes."),
    key("group.coordinator.new.enable", Boolean, Some("false"), Any, Medium, ReadOnly, INTERNAL, NOT_YET, "Whether the new group coordinator is used."),
    key("group.coordinator.rebalance.protocols", List, Some("classic"), OneOf(&["consumer", "classic", "share", "unknown"]), Medium, ReadOnly, PUBLIC, NOT_YET, "Which group protocols are served; `classic` is."),
    key("group.coordinator.threads", Int, Some("1"), AtLeast(1), Medium, ReadOnly, PUBLIC, NOT_YET, "Threads of the new group coordinator."),
    key("group.initial.rebalance.delay.ms", Int, Some("3000"), Any, Medium, ReadOnly, PUBLIC, ACTED_ON, "How long the first rebalance of an empty group waits for more members."),
    key("group.max.session.timeout.ms", Int, Some("1800000"), Any, Medium, ReadOnly, PUBLIC, ACTED_ON, "The longest session timeout a group member may ask for."),
    key("group.max.size", Int, Some("2147483647"), AtLeast(1), Medium, ReadOnly, PUBLIC, ACTED_ON, "The most members of one group."),
    key("group.min.session.timeout.ms", Int, Some("6000"), Any, Medium, ReadOnly, PUBLIC, ACTED_ON, "The shortest session timeout a group member may ask for."),
    key("group.share.delivery.count.limit", Int, Some("5"), Between(2, 10), Medium, ReadOnly, PUBLIC, NOT_YET, "How often a record of a share group is delivered."),
    key("group.share.enable", Boolean, Some("false"), Any, Medium, ReadOnly, INTERNAL, NOT_YET, "Whether share groups are served."),
    key("group.share.heartbeat.interval.ms", Int, Some("5000"), AtLeast(1), Medium, ReadOnly, PUBLIC, NOT_YET, "Time between heartbeats of members of share groups."),
    key("group.share.max.groups", Short, Some("10"), Between(1, 100), Medium, ReadOnly, PUBLIC, NOT_YET, "The most share groups."),
    key("group.share.max.heartbeat.interval.ms", Int, Some("15000"), AtLeast(1), Medium, ReadOnly, PUBLIC, NOT_YET, "Longest heartbeat interval of share groups."),
    key("group.share.max.record.lock.duration.ms", Int, Some("60000"), Between(30000, 3600000), Medium, ReadOnly, PUBLIC, NOT_YET, "Longest lock on a record of a share group."),
    key("group.share.max.session.timeout.ms", Int, Some("60000"), AtLeast(1), Medium, ReadOnly, PUBLIC, NOT_YET, "Longest session timeout of share groups."),
    key("group.share.max.size", Short, Some("200"), Between(10, 1000), Medium, ReadOnly, PUBLIC, NOT_YET, "The most members of a share group."),
    key("group.share.min.heartbeat.interval.ms", Int, Some("5000"), AtLeast(1), Medium, ReadOnly, PUBLIC, NOT_YET, "Shortest heartbeat interval of share groups."),
    key("group.share.min.record.lock.duration.ms", Int, Some("15000"), Between(1000, 30000), Medium, ReadOnly, PUBLIC, NOT_YET, "Shortest lock on a record of a share group."),
    key("group.share.min.session.timeout.ms", Int, Some("45000"), AtLeast(1), Medium, ReadOnly, PUBLIC, NOT_YET, "Shortest session timeout of share groups."),
    key("group.share.partition.max.record.locks", Int, Some("200"), Between(100, 10000), Medium, ReadOnly, PUBLIC, NOT_YET, "The most locked records of a partition in a share group."),
    key("group.share.record.lock.duration.ms", Int, Some("30000"), Between(1000, 60000), Medium, ReadOnly, PUBLIC, NOT_YET, "How long a record of a share group is locked."),
    key("group.share.session.timeout.ms", Int, Some("45000"), AtLeast(1), Medium, ReadOnly, PUBLIC, NOT_YET, "After how long without heartbeat a member of a share group is gone."),
    key("initial.broker.registration.timeout.ms", Int, Some("60000"), Any, Medium, ReadOnly, PUBLIC, NOT_YET, "KRaft only: how long the first registration may take."),
    key("inter.broker.listener.name", String, None, Any, Medium, ReadOnly, PUBLIC, ACTED_ON, "The listener that brokers use among themselves."),
    key("inter.broker.protocol.version", String, Some("3.9-IV0"), ProtocolVersion, Medium, ReadOnly, PUBLIC, ACTED_ON, "Which version of the protocol among brokers is spoken, for rolling upgrades."),
    key("kafka.metrics.polling.interval.secs", Int, Some("10"), AtLeast(1), Low, ReadOnly, PUBLIC, NOT_YET, "How often Java metrics reporters are called."),
    key("kafka.metrics.reporters", List, Some(""), Any, Low, ReadOnly, PUBLIC, NOT_YET, "Java classes that report metrics; cannot run here."),
    key("leader.imbalance.check.interval.seconds", Long, Some("300"), AtLeast(1), High, ReadOnly, PUBLIC, ACTED_ON, "How often the controller looks for leaders that are not preferred."),
    key("leader.imbalance.per.broker.percentage", Int, Some("10"), Any, High, ReadOnly, PUBLIC, ACTED_ON, "How many leaders of a broker may be elsewhere before leadership is given back."),
    key("listener.security.protocol.map", String, Some("SASL_SSL:SASL_SSL,PLAINTEXT:PLAINTEXT,SSL:SSL,SASL_PLAINTEXT:SASL_PLAINTEXT"), Any, Low, PerBroker, PUBLIC, ACTED_ON, "Which security protocol each listener name uses."),
    key("listeners", String, Some("PLAINTEXT://:9092"), Any, High, PerBroker, PUBLIC, ACTED_ON, "Where this broker listens: `NAME://host:port`, separated by commas."),
    key("log.cleaner.backoff.ms", Long, Some("15000"), AtLeast(0), Medium, ClusterWide, PUBLIC, ACTED_ON, "How long the cleaner sleeps when no log needs it."),
    key("log.cleaner.dedupe.buffer.size", Long, Some("134217728"), Any, Medium, ClusterWide, PUBLIC, ACTED_ON, "Memory for the key maps of all cleaner threads together."),
    key("log.cleaner.delete.retention.ms", Long, Some("86400000"), AtLeast(0), Medium, ClusterWide, PUBLIC, ACTED_ON, "How long tombstones are kept in compacted topics."),
    key("log.cleaner.enable", Boolean, Some("true"), Any, Medium, ReadOnly, PUBLIC, ACTED_ON, "Whether compacted topics are compacted."),
    key("log.cleaner.io.buffer.load.factor", Double, Some("0.9"), Any, Medium, ClusterWide, PUBLIC, ACTED_ON, "How full the cleaner's key map may become."),
    key("log.cleaner.io.buffer.size", Int, Some("524288"), AtLeast(0), Medium, ClusterWide, PUBLIC, ACTED_ON, "Memory for the reading and writing of all cleaner threads together."),
    key("log.cleaner.io.max.bytes.per.second", Double, Some("1.7976931348623157E308"), Any, Medium, ClusterWide, PUBLIC, ACTED_ON, "How fast the cleaner may read and write."),
    key("log.cleaner.max.compaction.lag.ms", Long, Some("9223372036854775807"), AtLeast(1), Medium, ClusterWide, PUBLIC, ACTED_ON, "How long a record of a compacted topic may stay uncompacted."),
    key("log.cleaner.min.cleanable.ratio", Double, Some("0.5"), BetweenReal(0.0, 1.0), Medium, ClusterWide, PUBLIC, ACTED_ON, "How much of a log must be uncompacted before the cleaner starts on it."),
    key("log.cleaner.min.compaction.lag.ms", Long, Some("0"), AtLeast(0), Medium, ClusterWide, PUBLIC, ACTED_ON, "How long a record of a compacted topic stays uncompacted at least."),
    key("log.cleaner.threads", Int, Some("1"), AtLeast(0), Medium, ClusterWide, PUBLIC, ACTED_ON, "Threads of the cleaner."),
    key("log.cleanup.policy", List, Some("delete"), OneOf(&["compact", "delete"]), Medium, ClusterWide, PUBLIC, ACTED_ON, "What happens to old segments: `delete`, `compact`, or both."),
    key("log.dir", String, Some("/tmp/kafka-logs"), Any, High, ReadOnly, PUBLIC, ACTED_ON, "The directory for data, if `log.dirs` is not set."),
    key("log.dir.failure.timeout.ms", Long, Some("30000"), AtLeast(1), Low, ReadOnly, PUBLIC, NOT_YET, "KRaft only: how long a failed directory may go unreported."),
    key("log.dirs", String, None, Any, High, ReadOnly, PUBLIC, ACTED_ON, "The directories for data, separated by commas."),
    key("log.flush.interval.messages", Long, Some("9223372036854775807"), AtLeast(1), High, ClusterWide, PUBLIC, ACTED_ON, "After how many records a partition is forced to disk."),
    key("log.flush.interval.ms", Long, None, Any, High, ClusterWide, PUBLIC, ACTED_ON, "After how long a record is forced to disk; else `log.flush.scheduler.interval.ms`."),
    key("log.flush.offset.checkpoint.interval.ms", Int, Some("60000"), AtLeast(0), High, ReadOnly, PUBLIC, ACTED_ON, "How often the recovery point is written down."),
    key("log.flush.scheduler.interval.ms", Long, Some("9223372036854775807"), Any, High, ReadOnly, PUBLIC, ACTED_ON, "How often is looked for logs that must be forced to disk."),
    key("log.flush.start.offset.checkpoint.interval.ms", Int, Some("60000"), AtLeast(0), High, ReadOnly, PUBLIC, ACTED_ON, "How often the log start offset is written down."),
    key("log.index.interval.bytes", Int, Some("4096"), AtLeast(0), Medium, ClusterWide, PUBLIC, ACTED_ON, "How many bytes of records lie between two entries of the offset index."),
    key("log.index.size.max.bytes", Int, Some("10485760"), AtLeast(4), Medium, ClusterWide, PUBLIC, ACTED_ON, "The largest size of an index."),
    key("log.initial.task.delay.ms", Long, Some("30000"), AtLeast(0), Low, ReadOnly, INTERNAL, ACTED_ON, "How long after the start the background tasks of the logs begin."),
    key("log.local.retention.bytes", Long, Some("-2"), AtLeast(-2), Medium, ClusterWide, PUBLIC, NOT_YET, "Tiered storage: how many bytes stay on local disks."),
    key("log.local.retention.ms", Long, Some("-2"), AtLeast(-2), Medium, ClusterWide, PUBLIC, NOT_YET, "Tiered storage: how long records stay on local disks."),
    key("log.message.downconversion.enable", Boolean, Some("true"), Any, Low, ClusterWide, PUBLIC, ACTED_ON, "Whether old consumers get records in old formats."),
    key("log.message.format.version", String, Some("3.0-IV1"), ProtocolVersion, Medium, ReadOnly, PUBLIC, ACTED_ON, "Ignored, as in Kafka, since the inter-broker protocol version is 3.0 or higher."),
    key("log.message.timestamp.after.max.ms", Long, Some("9223372036854775807"), AtLeast(0), Medium, ClusterWide, PUBLIC, ACTED_ON, "How far a record's timestamp may be ahead of this broker's clock."),
    key("log.message.timestamp.before.max.ms", Long, Some("9223372036854775807"), AtLeast(0), Medium, ClusterWide, PUBLIC, ACTED_ON, "How far a record's timestamp may be behind this broker's clock."),
    key("log.message.timestamp.difference.max.ms", Long, Some("9223372036854775807"), AtLeast(0), Medium, ClusterWide, PUBLIC, ACTED_ON, "The old name for both bounds of a record's timestamp."),
    key("log.message.timestamp.type", String, Some("CreateTime"), OneOf(&["CreateTime", "LogAppendTime"]), Medium, ClusterWide, PUBLIC, ACTED_ON, "Whether a record's timestamp is set by the producer or by the broker."),
    key("log.preallocate", Boolean, Some("false"), Any, Medium, ClusterWide, PUBLIC, ACTED_ON, "Whether a new segment file gets its full size at once."),
    key("log.retention.bytes", Long, Some("-1"), Any, High, ClusterWide, PUBLIC, ACTED_ON, "How large a partition may become before old segments are deleted; -1 is no limit."),
    key("log.retention.check.interval.ms", Long, Some("300000"), AtLeast(1), Medium, ReadOnly, PUBLIC, ACTED_ON, "How often is looked for segments to be deleted."),
    key("log.retention.hours", Int, Some("168"), Any, High, ReadOnly, PUBLIC, ACTED_ON, "How long segments are kept, in hours."),
    key("log.retention.minutes", Int, None, Any, High, ReadOnly, PUBLIC, ACTED_ON, "How long segments are kept, in minutes; counts before `log.retention.hours`."),
    key("log.retention.ms", Long, None, Any, High, ClusterWide, PUBLIC, ACTED_ON, "How long segments are kept, in milliseconds; counts before the other two; -1 is for ever."),
    key("log.roll.hours", Int, Some("168"), AtLeast(1), High, ReadOnly, PUBLIC, ACTED_ON, "After how long a new segment begins, in hours."),
    key("log.roll.jitter.hours", Int, Some("0"), AtLeast(0), High, ReadOnly, PUBLIC, ACTED_ON, "By how much the roll time is spread, in hours."),
    key("log.roll.jitter.ms", Long, None, Any, High, ClusterWide, PUBLIC, ACTED_ON, "By how much the roll time is spread, in milliseconds."),
    key("log.roll.ms", Long, None, Any, High, ClusterWide, PUBLIC, ACTED_ON, "After how long a new segment begins, in milliseconds; counts before `log.roll.hours`."),
    key("log.segment.bytes", Int, Some("1073741824"), AtLeast(14), High, ClusterWide, PUBLIC, ACTED_ON, "The largest size of a segment."),
    key("log.segment.delete.delay.ms", Long, Some("60000"), AtLeast(0), High, ClusterWide, PUBLIC, ACTED_ON, "How long a deleted file stays under another name."),
    key("max.connection.creation.rate", Int, Some("2147483647"), AtLeast(0), Medium, ClusterWide, PUBLIC, ACTED_ON, "How many connections per second are accepted."),
    key("max.connections", Int, Some("2147483647"), AtLeast(0), Medium, ClusterWide, PUBLIC, ACTED_ON, "How many connections this broker accepts."),
    key("max.connections.per.ip", Int, Some("2147483647"), AtLeast(0), Medium, ClusterWide, PUBLIC, ACTED_ON, "How many connections it accepts from one address."),
    key("max.connections.per.ip.overrides", String, Some(""), Any, Medium, ClusterWide, PUBLIC, ACTED_ON, "The same for single addresses: `address:count`, separated by commas."),
    key("max.incremental.fetch.session.cache.slots", Int, Some("1000"), AtLeast(0), Medium, ReadOnly, PUBLIC, ACTED_ON, "How many incremental fetch sessions are kept."),
    key("max.request.partition.size.limit", Int, Some("2000"), AtLeast(1), Medium, ReadOnly, PUBLIC, NOT_YET, "The most partitions in one answer of DescribeTopicPartitions."),
    key("message.max.bytes", Int, Some("1048588"), AtLeast(0), High, ClusterWide, PUBLIC, ACTED_ON, "The largest record batch that is accepted."),
    key("metadata.log.dir", String, None, Any, High, ReadOnly, PUBLIC, NOT_YET, "KRaft only: the directory of the metadata log."),
    key("metadata.log.max.record.bytes.between.snapshots", Long, Some("20971520"), AtLeast(1), High, ReadOnly, PUBLIC, NOT_YET, "KRaft only: bytes of metadata between two snapshots."),
    key("metadata.log.max.snapshot.interval.ms", Long, Some("3600000"), AtLeast(0), High, ReadOnly, PUBLIC, NOT_YET, "KRaft only: time between two snapshots."),
    key("metadata.log.segment.bytes", Int, Some("1073741824"), AtLeast(12), High, ReadOnly, PUBLIC, NOT_YET, "KRaft only: the largest size of a metadata segment."),
    key("metadata.log.segment.min.bytes", Int, Some("8388608"), AtLeast(12), High, ReadOnly, INTERNAL, NOT_YET, "KRaft only: the smallest size of a metadata segment."),
    key("metadata.log.segment.ms", Long, Some("604800000"), Any, High, ReadOnly, PUBLIC, NOT_YET, "KRaft only: after how long a new metadata segment begins."),
    key("metadata.max.idle.interval.ms", Int, Some("500"), AtLeast(0), Low, ReadOnly, PUBLIC, NOT_YET, "KRaft only: how often an idle controller writes."),
    key("metadata.max.retention.bytes", Long, Some("104857600"), Any, High, ReadOnly, PUBLIC, NOT_YET, "KRaft only: how much old metadata is kept."),
    key("metadata.max.retention.ms", Long, Some("604800000"), Any, High, ReadOnly, PUBLIC, NOT_YET, "KRaft only: how long old metadata is kept."),
    key("metric.reporters", List, Some(""), Any, Low, ClusterWide, PUBLIC, NOT_YET, "Java classes that report metrics; cannot run here."),
    key("metrics.num.samples", Int, Some("2"), AtLeast(1), Low, ReadOnly, PUBLIC, NOT_YET, "How many samples a metric keeps."),
    key("metrics.recording.level", String, Some("INFO"), Any, Low, ReadOnly, PUBLIC, NOT_YET, "How detailed metrics are."),
    key("metrics.sample.window.ms", Long, Some("30000"), AtLeast(1), Low, ReadOnly, PUBLIC, NOT_YET, "How long one sample of a metric is."),
    key("min.insync.replicas", Int, Some("1"), AtLeast(1), High, ClusterWide, PUBLIC, ACTED_ON, "How many replicas must have a record that is produced with acks=all."),
    key("node.id", Int, Some("-1"), Any, High, ReadOnly, PUBLIC, ACTED_ON, "Another name of `broker.id`."),
    key("num.io.threads", Int, Some("8"), AtLeast(1), High, ClusterWide, PUBLIC, NOT_YET, "Threads that handle requests; here the runtime has one worker per core."),
    key("num.network.threads", Int, Some("3"), AtLeast(1), High, ClusterWide, PUBLIC, NOT_YET, "Threads for sockets; here the runtime has one worker per core."),
    key("num.partitions", Int, Some("1"), AtLeast(1), Medium, ReadOnly, PUBLIC, ACTED_ON, "Partitions of a topic that is created automatically or without a number."),
    key("num.recovery.threads.per.data.dir", Int, Some("1"), AtLeast(1), High, ClusterWide, PUBLIC, ACTED_ON, "Threads per directory that open and close logs."),
    key("num.replica.alter.log.dirs.threads", Int, None, Any, High, ReadOnly, PUBLIC, ACTED_ON, "Threads that move replicas between directories."),
    key("num.replica.fetchers", Int, Some("1"), Any, High, ClusterWide, PUBLIC, ACTED_ON, "Connections for replication from one other broker."),
    key("offset.metadata.max.bytes", Int, Some("4096"), Any, High, ReadOnly, PUBLIC, ACTED_ON, "The most bytes of metadata with a committed offset."),
    key("offsets.commit.required.acks", Short, Some("-1"), Any, High, ReadOnly, PUBLIC, ACTED_ON, "Acknowledgements for an offset commit; -1 is all replicas in sync."),
    key("offsets.commit.timeout.ms", Int, Some("5000"), AtLeast(1), High, ReadOnly, PUBLIC, ACTED_ON, "How long an offset commit waits for replicas."),
    key("offsets.load.buffer.size", Int, Some("5242880"), AtLeast(1), High, ReadOnly, PUBLIC, ACTED_ON, "How much is read at a time when group state is loaded."),
    key("offsets.retention.check.interval.ms", Long, Some("600000"), AtLeast(1), High, ReadOnly, PUBLIC, ACTED_ON, "How often is looked for offsets that have expired."),
    key("offsets.retention.minutes", Int, Some("10080"), AtLeast(1), High, ReadOnly, PUBLIC, ACTED_ON, "How long offsets of an empty group are kept."),
    key("offsets.topic.compression.codec", Int, Some("0"), Any, High, ReadOnly, PUBLIC, ACTED_ON, "How `__consumer_offsets` batches are compressed; 0 is not at all."),
    key("offsets.topic.num.partitions", Int, Some("50"), AtLeast(1), High, ReadOnly, PUBLIC, ACTED_ON, "Partitions of `__consumer_offsets`; never to be changed."),
    key("offsets.topic.replication.factor", Short, Some("3"), AtLeast(1), High, ReadOnly, PUBLIC, ACTED_ON, "Replicas of `__consumer_offsets`."),
    key("offsets.topic.segment.bytes", Int, Some("104857600"), AtLeast(1), High, ReadOnly, PUBLIC, ACTED_ON, "The largest size of a segment of `__consumer_offsets`."),
    key("password.encoder.cipher.algorithm", String, Some("AES/CBC/PKCS5Padding"), Any, Low, ReadOnly, PUBLIC, ACTED_ON, "How passwords in dynamic configurations are encrypted."),
    key("password.encoder.iterations", Int, Some("4096"), AtLeast(1024), Low, ReadOnly, PUBLIC, ACTED_ON, "How often the key for them is hashed."),
    key("password.encoder.key.length", Int, Some("128"), AtLeast(8), Low, ReadOnly, PUBLIC, ACTED_ON, "How many bits the key for them has."),
    key("password.encoder.keyfactory.algorithm", String, None, Any, Low, ReadOnly, PUBLIC, ACTED_ON, "How the key for them is derived."),
    key("password.encoder.old.secret", Password, None, Any, Medium, ReadOnly, PUBLIC, ACTED_ON, "The secret before the present one."),
    key("password.encoder.secret", Password, None, Any, Medium, ReadOnly, PUBLIC, ACTED_ON, "The secret that encrypts passwords in dynamic configurations."),
    key("principal.builder.class", Class, Some("org.apache.kafka.common.security.authenticator.DefaultKafkaPrincipalBuilder"), Any, Medium, PerBroker, PUBLIC, ACTED_ON, "A Java class that names users; the default's behaviour is built in."),
    key("process.roles", List, Some(""), OneOf(&["broker", "controller"]), High, ReadOnly, PUBLIC, ACTED_ON, "KRaft only: refused, this broker runs on ZooKeeper."),
    key("producer.id.expiration.check.interval.ms", Int, Some("600000"), AtLeast(1), Low, ReadOnly, INTERNAL, ACTED_ON, "How often is looked for idempotent producers that have expired."),
    key("producer.id.expiration.ms", Int, Some("86400000"), AtLeast(1), Low, ClusterWide, PUBLIC, ACTED_ON, "How long an idempotent producer's state is kept after its last write."),
    key("producer.purgatory.purge.interval.requests", Int, Some("1000"), Any, Medium, ReadOnly, PUBLIC, NOT_YET, "When waiting produces are swept; here they are removed at once."),
    key("queued.max.request.bytes", Long, Some("-1"), Any, Medium, ReadOnly, PUBLIC, NOT_YET, "How many bytes of requests may be in memory; -1 is no limit of its own."),
    key("queued.max.requests", Int, Some("500"), AtLeast(1), High, ReadOnly, PUBLIC, NOT_YET, "How many requests may wait; here each connection has at most one being handled."),
    key("quota.window.num", Int, Some("11"), AtLeast(1), Low, ReadOnly, PUBLIC, ACTED_ON, "Windows kept for client quotas."),
    key("quota.window.size.seconds", Int, Some("1"), AtLeast(1), Low, ReadOnly, PUBLIC, ACTED_ON, "Length of one window of client quotas."),
    key("remote.fetch.max.wait.ms", Int, Some("500"), AtLeast(1), Medium, ClusterWide, PUBLIC, NOT_YET, "Tiered storage: how long a fetch waits for remote data."),
    key("remote.log.index.file.cache.total.size.bytes", Long, Some("1073741824"), AtLeast(1), Low, ClusterWide, PUBLIC, NOT_YET, "Tiered storage: room for cached indexes."),
    key("remote.log.manager.copier.thread.pool.size", Int, Some("-1"), ThreadsOrDefault, Medium, ReadOnly, PUBLIC, NOT_YET, "Tiered storage: threads that copy segments."),
    key("remote.log.manager.copy.max.bytes.per.second", Long, Some("9223372036854775807"), AtLeast(1), Medium, ClusterWide, PUBLIC, NOT_YET, "Tiered storage: how fast segments are copied."),
    key("remote.log.manager.copy.quota.window.num", Int, Some("11"), AtLeast(1), Medium, ReadOnly, PUBLIC, NOT_YET, "Tiered storage: windows kept for the copy quota."),
    key("remote.log.manager.copy.quota.window.size.seconds", Int, Some("1"), AtLeast(1), Medium, ReadOnly, PUBLIC, NOT_YET, "Tiered storage: length of one window of the copy quota."),
    key("remote.log.manager.expiration.thread.pool.size", Int, Some("-1"), ThreadsOrDefault, Medium, ReadOnly, PUBLIC, NOT_YET, "Tiered storage: threads that delete segments."),
    key("remote.log.manager.fetch.max.bytes.per.second", Long, Some("9223372036854775807"), AtLeast(1), Medium, ClusterWide, PUBLIC, NOT_YET, "Tiered storage: how fast remote data is fetched."),
    key("remote.log.manager.fetch.quota.window.num", Int, Some("11"), AtLeast(1), Medium, ReadOnly, PUBLIC, NOT_YET, "Tiered storage: windows kept for the fetch quota."),
    key("remote.log.manager.fetch.quota.window.size.seconds", Int, Some("1"), AtLeast(1), Medium, ReadOnly, PUBLIC, NOT_YET, "Tiered storage: length of one window of the fetch quota."),
    key("remote.log.manager.task.interval.ms", Long, Some("30000"), AtLeast(1), Low, ReadOnly, PUBLIC, NOT_YET, "Tiered storage: how often its tasks run."),
    key("remote.log.manager.task.retry.backoff.max.ms", Long, Some("30000"), AtLeast(1), Low, ReadOnly, INTERNAL, NOT_YET, "Tiered storage: longest pause before a task is tried again."),
    key("remote.log.manager.task.retry.backoff.ms", Long, Some("500"), AtLeast(1), Low, ReadOnly, INTERNAL, NOT_YET, "Tiered storage: first pause before a task is tried again."),
    key("remote.log.manager.task.retry.jitter", Double, Some("0.2"), BetweenReal(0.0, 0.5), Low, ReadOnly, INTERNAL, NOT_YET, "Tiered storage: by how much those pauses are spread."),
    key("remote.log.manager.thread.pool.size", Int, Some("10"), AtLeast(1), Medium, ReadOnly, PUBLIC, NOT_YET, "Tiered storage: threads of its tasks."),
    key("remote.log.metadata.custom.metadata.max.bytes", Int, Some("128"), AtLeast(0), Low, ReadOnly, PUBLIC, NOT_YET, "Tiered storage: most bytes of custom metadata."),
    key("remote.log.metadata.manager.class.name", String, Some("org.apache.kafka.server.log.remote.metadata.storage.TopicBasedRemoteLogMetadataManager"), NonEmptyString, Medium, ReadOnly, PUBLIC, NOT_YET, "Tiered storage: a Java class; cannot run here."),
    key("remote.log.metadata.manager.class.path", String, None, Any, Medium, ReadOnly, PUBLIC, NOT_YET, "Tiered storage: where that class is."),
    key("remote.log.metadata.manager.impl.prefix", String, Some("rlmm.config."), NonEmptyString, Medium, ReadOnly, PUBLIC, NOT_YET, "Tiered storage: prefix of that class's settings."),
    key("remote.log.metadata.manager.listener.name", String, None, NonEmptyString, Medium, ReadOnly, PUBLIC, NOT_YET, "Tiered storage: the listener that class uses."),
    key("remote.log.reader.max.pending.tasks", Int, Some("100"), AtLeast(1), Medium, ReadOnly, PUBLIC, NOT_YET, "Tiered storage: how many reads may wait."),
    key("remote.log.reader.threads", Int, Some("10"), AtLeast(1), Medium, ReadOnly, PUBLIC, NOT_YET, "Tiered storage: threads that read."),
    key("remote.log.storage.manager.class.name", String, None, NonEmptyString, Medium, ReadOnly, PUBLIC, NOT_YET, "Tiered storage: a Java class; cannot run here."),
    key("remote.log.storage.manager.class.path", String, None, Any, Medium, ReadOnly, PUBLIC, NOT_YET, "Tiered storage: where that class is."),
    key("remote.log.storage.manager.impl.prefix", String, Some("rsm.config."), NonEmptyString, Medium, ReadOnly, PUBLIC, NOT_YET, "Tiered storage: prefix of that class's settings."),
    key("remote.log.storage.system.enable", Boolean, Some("false"), Any, Medium, ReadOnly, PUBLIC, NOT_YET, "Whether tiered storage is on."),
    key("replica.fetch.backoff.ms", Int, Some("1000"), AtLeast(0), Medium, ReadOnly, PUBLIC, ACTED_ON, "How long a follower waits after a failed fetch."),
    key("replica.fetch.max.bytes", Int, Some("1048576"), AtLeast(0), Medium, ReadOnly, PUBLIC, ACTED_ON, "How many bytes a follower fetches of one partition."),
    key("replica.fetch.min.bytes", Int, Some("1"), Any, High, ReadOnly, PUBLIC, ACTED_ON, "How many bytes a follower's fetch waits for."),
    key("replica.fetch.response.max.bytes", Int, Some("10485760"), AtLeast(0), Medium, ReadOnly, PUBLIC, ACTED_ON, "How many bytes a follower fetches at once."),
    key("replica.fetch.wait.max.ms", Int, Some("500"), Any, High, ReadOnly, PUBLIC, ACTED_ON, "How long a follower's fetch waits."),
    key("replica.high.watermark.checkpoint.interval.ms", Long, Some("5000"), Any, High, ReadOnly, PUBLIC, ACTED_ON, "How often high watermarks are written down."),
    key("replica.lag.time.max.ms", Long, Some("30000"), Any, High, ReadOnly, PUBLIC, ACTED_ON, "How long a follower may lag before it leaves the in-sync replicas."),
    key("replica.selector.class", String, None, Any, Medium, ReadOnly, PUBLIC, ACTED_ON, "Which replica a consumer reads from; the leader, unless set."),
    key("replica.socket.receive.buffer.bytes", Int, Some("65536"), Any, High, ReadOnly, PUBLIC, NOT_YET, "Socket buffer of a follower's connection."),
    key("replica.socket.timeout.ms", Int, Some("30000"), Any, High, ReadOnly, PUBLIC, ACTED_ON, "How long a follower waits for an answer."),
    key("replication.quota.window.num", Int, Some("11"), AtLeast(1), Low, ReadOnly, PUBLIC, ACTED_ON, "Windows kept for replication quotas."),
    key("replication.quota.window.size.seconds", Int, Some("1"), AtLeast(1), Low, ReadOnly, PUBLIC, ACTED_ON, "Length of one window of replication quotas."),
    key("request.timeout.ms", Int, Some("30000"), Any, High, ReadOnly, PUBLIC, ACTED_ON, "How long a request to another broker may take."),
    key("reserved.broker.max.id", Int, Some("1000"), AtLeast(0), Medium, ReadOnly, PUBLIC, ACTED_ON, "The largest id that may be configured; generated ones are above it."),
    key("sasl.client.callback.handler.class", Class, None, Any, Medium, ReadOnly, PUBLIC, ACTED_ON, "A Java class for SASL clients; cannot run here."),
    key("sasl.enabled.mechanisms", List, Some("GSSAPI"), Any, Medium, PerBroker, PUBLIC, ACTED_ON, "The SASL mechanisms that are served."),
    key("sasl.jaas.config", Password, None, Any, Medium, PerBroker, PUBLIC, ACTED_ON, "Login modules and their options, in JAAS syntax."),
    key("sasl.kerberos.kinit.cmd", String, Some("/usr/bin/kinit"), Any, Medium, PerBroker, PUBLIC, NOT_YET, "The kinit command."),
    key("sasl.kerberos.min.time.before.relogin", Long, Some("60000"), Any, Medium, PerBroker, PUBLIC, NOT_YET, "Kerberos: shortest time between two logins."),
    key("sasl.kerberos.principal.to.local.rules", List, Some("DEFAULT"), Any, Medium, PerBroker, PUBLIC, NOT_YET, "Kerberos: how principals become user names."),
    key("sasl.kerberos.service.name", String, None, Any, Medium, PerBroker, PUBLIC, NOT_YET, "Kerberos: the name of the service."),
    key("sasl.kerberos.ticket.renew.jitter", Double, Some("0.05"), Any, Medium, PerBroker, PUBLIC, NOT_YET, "Kerberos: by how much renewals are spread."),
    key("sasl.kerberos.ticket.renew.window.factor", Double, Some("0.8"), Any, Medium, PerBroker, PUBLIC, NOT_YET, "Kerberos: when in its life a ticket is renewed."),
    key("sasl.login.callback.handler.class", Class, None, Any, Medium, ReadOnly, PUBLIC, ACTED_ON, "A Java class for logins; cannot run here."),
    key("sasl.login.class", Class, None, Any, Medium, ReadOnly, PUBLIC, ACTED_ON, "A Java class for logins; cannot run here."),
    key("sasl.login.connect.timeout.ms", Int, None, Any, Low, ReadOnly, PUBLIC, ACTED_ON, "How long connecting to an identity provider may take."),
    key("sasl.login.read.timeout.ms", Int, None, Any, Low, ReadOnly, PUBLIC, ACTED_ON, "How long reading from an identity provider may take."),
    key("sasl.login.refresh.buffer.seconds", Short, Some("300"), Any, Medium, PerBroker, PUBLIC, NOT_YET, "How long before its end a credential is refreshed."),
    key("sasl.login.refresh.min.period.seconds", Short, Some("60"), Any, Medium, PerBroker, PUBLIC, NOT_YET, "How long a credential is kept at least."),
    key("sasl.login.refresh.window.factor", Double, Some("0.8"), Any, Medium, PerBroker, PUBLIC, NOT_YET, "When in its life a credential is refreshed."),
    key("sasl.login.refresh.window.jitter", Double, Some("0.05"), Any, Medium, PerBroker, PUBLIC, NOT_YET, "By how much refreshes are spread."),
    key("sasl.login.retry.backoff.max.ms", Long, Some("10000"), Any, Low, ReadOnly, PUBLIC, NOT_YET, "Longest pause before a login is tried again."),
    key("sasl.login.retry.backoff.ms", Long, Some("100"), Any, Low, ReadOnly, PUBLIC, NOT_YET, "First pause before a login is tried again."),
    key("sasl.mechanism.controller.protocol", String, Some("GSSAPI"), Any, High, ReadOnly, PUBLIC, NOT_YET, "KRaft only: SASL mechanism towards controllers."),
    key("sasl.mechanism.inter.broker.protocol", String, Some("GSSAPI"), Any, Medium, PerBroker, PUBLIC, ACTED_ON, "The SASL mechanism that brokers use among themselves."),
    key("sasl.oauthbearer.clock.skew.seconds", Int, Some("30"), Any, Low, ReadOnly, PUBLIC, ACTED_ON, "By how much clocks may differ when a token is checked."),
    key("sasl.oauthbearer.expected.audience", List, None, Any, Low, ReadOnly, PUBLIC, ACTED_ON, "Audiences that a token must be for."),
    key("sasl.oauthbearer.expected.issuer", String, None, Any, Low, ReadOnly, PUBLIC, ACTED_ON, "Who must have issued a token."),
    key("sasl.oauthbearer.jwks.endpoint.refresh.ms", Long, Some("3600000"), Any, Low, ReadOnly, PUBLIC, ACTED_ON, "How often the keys of the identity provider are fetched."),
    key("sasl.oauthbearer.jwks.endpoint.retry.backoff.max.ms", Long, Some("10000"), Any, Low, ReadOnly, PUBLIC, ACTED_ON, "Longest pause before they are fetched again."),
    key("sasl.oauthbearer.jwks.endpoint.retry.backoff.ms", Long, Some("100"), Any, Low, ReadOnly, PUBLIC, ACTED_ON, "First pause before they are fetched again."),
    key("sasl.oauthbearer.jwks.endpoint.url", String, None, Any, Medium, ReadOnly, PUBLIC, ACTED_ON, "Where the keys of the identity provider are."),
    key("sasl.oauthbearer.scope.claim.name", String, Some("scope"), Any, Low, ReadOnly, PUBLIC, ACTED_ON, "The claim that holds a token's scope."),
    key("sasl.oauthbearer.sub.claim.name", String, Some("sub"), Any, Low, ReadOnly, PUBLIC, ACTED_ON, "The claim that holds a token's subject."),
    key("sasl.oauthbearer.token.endpoint.url", String, None, Any, Medium, ReadOnly, PUBLIC, ACTED_ON, "Where tokens are issued."),
    key("sasl.server.callback.handler.class", Class, None, Any, Medium, ReadOnly, PUBLIC, ACTED_ON, "A Java class for SASL servers; cannot run here."),
    key("sasl.server.max.receive.size", Int, Some("524288"), Any, Medium, ReadOnly, PUBLIC, ACTED_ON, "The largest SASL message before authentication."),
    key("security.inter.broker.protocol", String, Some("PLAINTEXT"), OneOf(&["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"]), Medium, ReadOnly, PUBLIC, ACTED_ON, "The security protocol among brokers, if no listener is named for it."),
    key("security.providers", String, None, Any, Low, ReadOnly, PUBLIC, NOT_YET, "Java security providers; there is no JVM here."),
    key("server.max.startup.time.ms", Long, Some("9223372036854775807"), AtLeast(0), Medium, ReadOnly, INTERNAL, NOT_YET, "KRaft only: how long the start may take."),
    key("socket.connection.setup.timeout.max.ms", Long, Some("30000"), Any, Medium, ReadOnly, PUBLIC, NOT_YET, "The longest time for setting up a connection to another broker."),
    key("socket.connection.setup.timeout.ms", Long, Some("10000"), Any, Medium, ReadOnly, PUBLIC, NOT_YET, "How long setting up a connection to another broker may take."),
    key("socket.listen.backlog.size", Int, Some("50"), AtLeast(1), Medium, ReadOnly, PUBLIC, ACTED_ON, "How many connections may wait to be accepted."),
    key("socket.receive.buffer.bytes", Int, Some("102400"), Any, High, ReadOnly, PUBLIC, ACTED_ON, "Receive buffer of client sockets; -1 leaves it to the system."),
    key("socket.request.max.bytes", Int, Some("104857600"), AtLeast(1), High, ReadOnly, PUBLIC, ACTED_ON, "The largest request that is read."),
    key("socket.send.buffer.bytes", Int, Some("102400"), Any, High, ReadOnly, PUBLIC, ACTED_ON, "Send buffer of client sockets; -1 leaves it to the system."),
    key("ssl.allow.dn.changes", Boolean, Some("false"), Any, Low, ReadOnly, PUBLIC, ACTED_ON, "Whether a new certificate may have another distinguished name."),
    key("ssl.allow.san.changes", Boolean, Some("false"), Any, Low, ReadOnly, PUBLIC, ACTED_ON, "Whether a new certificate may have other alternative names."),
    key("ssl.cipher.suites", List, Some(""), Any, Medium, PerBroker, PUBLIC, ACTED_ON, "The cipher suites that are allowed."),
    key("ssl.client.auth", String, Some("none"), OneOf(&["required", "requested", "none"]), Medium, PerBroker, PUBLIC, ACTED_ON, "Whether clients must show a certificate."),
    key("ssl.enabled.protocols", List, Some("TLSv1.2,TLSv1.3"), Any, Medium, PerBroker, PUBLIC, ACTED_ON, "The TLS versions that are allowed."),
    key("ssl.endpoint.identification.algorithm", String, Some("https"), Any, Low, PerBroker, PUBLIC, ACTED_ON, "How a server's name is checked."),
    key("ssl.engine.factory.class", Class, None, Any, Low, PerBroker, PUBLIC, ACTED_ON, "A Java class for TLS engines; cannot run here."),
    key("ssl.key.password", Password, None, Any, Medium, PerBroker, PUBLIC, ACTED_ON, "The password of the private key."),
    key("ssl.keymanager.algorithm", String, Some("SunX509"), Any, Medium, PerBroker, PUBLIC, NOT_YET, "A Java key manager; there is no JVM here."),
    key("ssl.keystore.certificate.chain", Password, None, Any, Medium, PerBroker, PUBLIC, ACTED_ON, "The certificate chain, in PEM."),
    key("ssl.keystore.key", Password, None, Any, Medium, PerBroker, PUBLIC, ACTED_ON, "The private key, in PEM."),
    key("ssl.keystore.location", String, None, Any, Medium, PerBroker, PUBLIC, ACTED_ON, "The file with key and certificate."),
    key("ssl.keystore.password", Password, None, Any, Medium, PerBroker, PUBLIC, ACTED_ON, "The password of that file."),
    key("ssl.keystore.type", String, Some("JKS"), Any, Medium, PerBroker, PUBLIC, ACTED_ON, "The format of that file."),
    key("ssl.principal.mapping.rules", String, Some("DEFAULT"), Any, Low, ReadOnly, PUBLIC, ACTED_ON, "How a certificate's name becomes a user name."),
    key("ssl.protocol", String, Some("TLSv1.3"), Any, Medium, PerBroker, PUBLIC, ACTED_ON, "The TLS version that is preferred."),
    key("ssl.provider", String, None, Any, Medium, PerBroker, PUBLIC, NOT_YET, "A Java TLS provider; there is no JVM here."),
    key("ssl.secure.random.implementation", String, None, Any, Low, PerBroker, PUBLIC, NOT_YET, "A Java random generator; there is no JVM here."),
    key("ssl.trustmanager.algorithm", String, Some("PKIX"), Any, Medium, PerBroker, PUBLIC, NOT_YET, "A Java trust manager; there is no JVM here."),
    key("ssl.truststore.certificates", Password, None, Any, Medium, PerBroker, PUBLIC, ACTED_ON, "Certificates that are trusted, in PEM."),
    key("ssl.truststore.location", String, None, Any, Medium, PerBroker, PUBLIC, ACTED_ON, "The file with certificates that are trusted."),
    key("ssl.truststore.password", Password, None, Any, Medium, PerBroker, PUBLIC, ACTED_ON, "The password of that file."),
    key("ssl.truststore.type", String, Some("JKS"), Any, Medium, PerBroker, PUBLIC, ACTED_ON, "The format of that file."),
    key("telemetry.max.bytes", Int, Some("1048576"), AtLeast(1), Low, ReadOnly, PUBLIC, NOT_YET, "The most bytes of metrics that a client may push."),
    key("transaction.abort.timed.out.transaction.cleanup.interval.ms", Int, Some("10000"), AtLeast(1), Low, ReadOnly, PUBLIC, ACTED_ON, "How often is looked for transactions that have timed out."),
    key("transaction.max.timeout.ms", Int, Some("900000"), AtLeast(1), High, ReadOnly, PUBLIC, ACTED_ON, "The longest timeout of a transaction."),
    key("transaction.partition.verification.enable", Boolean, Some("true"), Any, Low, ClusterWide, PUBLIC, ACTED_ON, "Whether a partition must have been added to its transaction."),
    key("transaction.remove.expired.transaction.cleanup.interval.ms", Int, Some("3600000"), AtLeast(1), Low, ReadOnly, PUBLIC, ACTED_ON, "How often is looked for transactional ids that have expired."),
    key("transaction.state.log.load.buffer.size", Int, Some("5242880"), AtLeast(1), High, ReadOnly, PUBLIC, ACTED_ON, "How much is read at a time when transaction state is loaded."),
    key("transaction.state.log.min.isr", Int, Some("2"), AtLeast(1), High, ReadOnly, PUBLIC, ACTED_ON, "`min.insync.replicas` of `__transaction_state`."),
    key("transaction.state.log.num.partitions", Int, Some("50"), AtLeast(1), High, ReadOnly, PUBLIC, ACTED_ON, "Partitions of `__transaction_state`; never to be changed."),
    key("transaction.state.log.replication.factor", Short, Some("3"), AtLeast(1), High, ReadOnly, PUBLIC, ACTED_ON, "Replicas of `__transaction_state`."),
    key("transaction.state.log.segment.bytes", Int, Some("104857600"), AtLeast(1), High, ReadOnly, PUBLIC, ACTED_ON, "The largest size of a segment of `__transaction_state`."),
    key("transactional.id.expiration.ms", Int, Some("604800000"), AtLeast(1), High, ReadOnly, PUBLIC, ACTED_ON, "How long an unused transactional id is kept."),
    key("unclean.leader.election.enable", Boolean, Some("false"), Any, High, ClusterWide, PUBLIC, ACTED_ON, "Whether a replica that is not in sync may lead, losing records."),
    key("unclean.leader.election.interval.ms", Long, Some("300000"), AtLeast(1), Medium, ReadOnly, INTERNAL, NOT_YET, "How often the controller looks for partitions that need it."),
    key("unstable.api.versions.enable", Boolean, Some("false"), Any, High, ReadOnly, INTERNAL, NOT_YET, "Whether unfinished versions of requests are served."),
    key("unstable.feature.versions.enable", Boolean, Some("false"), Any, High, ReadOnly, INTERNAL, NOT_YET, "Whether unfinished features can be enabled."),
    key("zookeeper.clientCnxnSocket", String, None, Any, Medium, ReadOnly, PUBLIC, ACTED_ON, "A Java class for ZooKeeper connections; there is no JVM here."),
    key("zookeeper.connect", String, None, Any, High, ReadOnly, PUBLIC, ACTED_ON, "Where ZooKeeper is: `host:port,host:port/chroot`."),
    key("zookeeper.connection.timeout.ms", Int, None, Any, High, ReadOnly, PUBLIC, ACTED_ON, "How long the first connection to ZooKeeper may take; else the session timeout."),
    key("zookeeper.max.in.flight.requests", Int, Some("10"), AtLeast(1), High, ReadOnly, PUBLIC, ACTED_ON, "How many requests to ZooKeeper may be on their way."),
    key("zookeeper.metadata.migration.enable", Boolean, Some("false"), Any, High, ReadOnly, PUBLIC, ACTED_ON, "Migration to KRaft: refused."),
    key("zookeeper.metadata.migration.min.batch.size", Int, Some("200"), AtLeast(1), Medium, ReadOnly, INTERNAL, NOT_YET, "Migration to KRaft: records in one batch."),
    key("zookeeper.session.timeout.ms", Int, Some("18000"), Any, High, ReadOnly, PUBLIC, ACTED_ON, "After how long without heartbeat ZooKeeper gives this broker up."),
    key("zookeeper.set.acl", Boolean, Some("false"), Any, High, ReadOnly, PUBLIC, ACTED_ON, "Whether znodes are created so that only brokers may change them."),
    key("zookeeper.ssl.cipher.suites", List, None, Any, Low, ReadOnly, PUBLIC, ACTED_ON, "ZooKeeper over TLS: cipher suites that are allowed."),
    key("zookeeper.ssl.client.enable", Boolean, Some("false"), Any, Medium, ReadOnly, PUBLIC, ACTED_ON, "Whether ZooKeeper is spoken to over TLS."),
    key("zookeeper.ssl.crl.enable", Boolean, Some("false"), Any, Low, ReadOnly, PUBLIC, ACTED_ON, "ZooKeeper over TLS: whether revocation lists are checked."),
    key("zookeeper.ssl.enabled.protocols", List, None, Any, Low, ReadOnly, PUBLIC, ACTED_ON, "ZooKeeper over TLS: versions that are allowed."),
    key("zookeeper.ssl.endpoint.identification.algorithm", String, Some("HTTPS"), Any, Low, ReadOnly, PUBLIC, ACTED_ON, "ZooKeeper over TLS: how the server's name is checked."),
    key("zookeeper.ssl.keystore.location", String, None, Any, Medium, ReadOnly, PUBLIC, ACTED_ON, "ZooKeeper over TLS: the file with key and certificate."),
    key("zookeeper.ssl.keystore.password", Password, None, Any, Medium, ReadOnly, PUBLIC, ACTED_ON, "ZooKeeper over TLS: the password of that file."),
    key("zookeeper.ssl.keystore.type", String, None, Any, Medium, ReadOnly, PUBLIC, ACTED_ON, "ZooKeeper over TLS: the format of that file."),
    key("zookeeper.ssl.ocsp.enable", Boolean, Some("false"), Any, Low, ReadOnly, PUBLIC, ACTED_ON, "ZooKeeper over TLS: whether OCSP is asked."),
    key("zookeeper.ssl.protocol", String, Some("TLSv1.2"), Any, Low, ReadOnly, PUBLIC, ACTED_ON, "ZooKeeper over TLS: the version that is preferred."),
    key("zookeeper.ssl.truststore.location", String, None, Any, Medium, ReadOnly, PUBLIC, ACTED_ON, "ZooKeeper over TLS: the file with certificates that are trusted."),
    key("zookeeper.ssl.truststore.password", Password, None, Any, Medium, ReadOnly, PUBLIC, ACTED_ON, "ZooKeeper over TLS: the password of that file."),
    key("zookeeper.ssl.truststore.type", String, None, Any, Medium, ReadOnly, PUBLIC, ACTED_ON, "ZooKeeper over TLS: the format of that file."),
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
