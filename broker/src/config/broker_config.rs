//! The broker's configuration as the rest of the program reads it: one field per key, typed, checked and derived.
//!
//! Decides how keys work together: `log.retention.ms` over `.minutes` over `.hours`, `log.dirs` over `log.dir`, which
//! listeners are advertised, which one brokers use among themselves. Reads no file and no environment (see `layers`).
//!
//! Invariant: a `BrokerConfig` that exists has passed every check that Kafka makes before it starts.
//! Source: Kafka 3.9 `KafkaConfig`, above all `validateValues`.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::path::PathBuf;

use model::{BrokerId, Millis};

use super::error::ConfigError;
use super::keys;
use super::listener::{
    Endpoint, Ports, ProtocolMap, SecurityProtocol, normalised, parse_listeners, parse_protocol_map,
};
use super::originals::Originals;
use super::passwords::Passwords;
use super::protocol_version::ProtocolVersion;
use super::value::Value;

/// `replica.selector.class` that sends consumers to a replica in their rack. Kafka's name, for there is no Java here.
pub const RACK_AWARE_SELECTOR: &str = "org.apache.kafka.common.replica.RackAwareReplicaSelector";
/// `replica.selector.class` that always takes the leader, as without one.
const LEADER_SELECTOR: &str = "org.apache.kafka.common.replica.LeaderSelector";

macro_rules! broker_config {
    ($($field:ident: $type:ty = $key:literal,)*) => {
        /// The configuration of one broker. A field is named after its key, with `_` for `.`; units are last.
        #[derive(Clone, Debug)]
        pub struct BrokerConfig {
            $(#[doc = concat!("`", $key, "`.")] pub $field: $type,)*
            /// `broker.id` or `node.id`; `None` (−1) asks for a generated one.
            pub broker_id: Option<BrokerId>,
            /// `zookeeper.connect`: `host:port,host:port/chroot`.
            pub zookeeper_connect: String,
            /// `zookeeper.connection.timeout.ms`, else the session timeout.
            pub zookeeper_connection_timeout_ms: i32,
            /// `inter.broker.protocol.version`.
            pub inter_broker_protocol_version: ProtocolVersion,
            /// `log.dirs`, else `log.dir`; at least one.
            pub log_dirs: Vec<PathBuf>,
            /// `log.retention.ms`, else `.minutes`, else `.hours`; −1 keeps for ever.
            pub log_retention_ms: i64,
            /// `log.roll.ms`, else `.hours`.
            pub log_roll_ms: i64,
            /// `log.roll.jitter.ms`, else `.hours`.
            pub log_roll_jitter_ms: i64,
            /// `log.flush.interval.ms`, else `log.flush.scheduler.interval.ms`.
            pub log_flush_interval_ms: i64,
            /// `log.message.timestamp.before.max.ms`, else `.difference.max.ms`.
            pub log_message_timestamp_before_max_ms: i64,
            /// `log.message.timestamp.after.max.ms`, else `.difference.max.ms`.
            pub log_message_timestamp_after_max_ms: i64,
            /// `listeners`: what to bind.
            pub listeners: Vec<Endpoint>,
            /// `advertised.listeners`, else `listeners`: what clients are told. A `None` host is this machine's name.
            pub advertised_listeners: Vec<Endpoint>,
            /// `listener.security.protocol.map`.
            pub listener_security_protocol_map: ProtocolMap,
            /// `inter.broker.listener.name`, else the listener named like `security.inter.broker.protocol`.
            pub inter_broker_listener_name: String,
            /// The security protocol of that listener.
            pub inter_broker_security_protocol: SecurityProtocol,
            /// `control.plane.listener.name`: where the controller's requests arrive, if not with the others.
            pub control_plane_listener_name: Option<String>,
            /// `max.connections.per.ip.overrides`: by address or host name.
            pub max_connections_per_ip_overrides: HashMap<String, i32>,
            /// Every pair that was set, as it was written: file, environment and command line together.
            pub originals: Originals,
        }

        impl BrokerConfig {
            fn read(values: &Values, derived: Derived, originals: Originals) -> Self {
                Self {
                    $($field: values.read($key),)*
                    broker_id: derived.broker_id,
                    zookeeper_connect: derived.zookeeper_connect,
                    zookeeper_connection_timeout_ms: derived.zookeeper_connection_timeout_ms,
                    inter_broker_protocol_version: derived.inter_broker_protocol_version,
                    log_dirs: derived.log_dirs,
                    log_retention_ms: derived.log_retention_ms,
                    log_roll_ms: derived.log_roll_ms,
                    log_roll_jitter_ms: derived.log_roll_jitter_ms,
                    log_flush_interval_ms: derived.log_flush_interval_ms,
                    log_message_timestamp_before_max_ms: derived.log_message_timestamp_before_max_ms,
                    log_message_timestamp_after_max_ms: derived.log_message_timestamp_after_max_ms,
                    listeners: derived.listeners.bound,
                    advertised_listeners: derived.listeners.advertised,
                    listener_security_protocol_map: derived.listeners.protocols,
                    inter_broker_listener_name: derived.listeners.inter_broker_name,
                    inter_broker_security_protocol: derived.listeners.inter_broker_protocol,
                    control_plane_listener_name: derived.listeners.control_plane_name,
                    max_connections_per_ip_overrides: derived.max_connections_per_ip_overrides,
                    originals,
                }
            }
        }
    };
}

broker_config! {
    alter_log_dirs_replication_quota_window_num: i32 = "alter.log.dirs.replication.quota.window.num",
    alter_log_dirs_replication_quota_window_size_seconds: i32 = "alter.log.dirs.replication.quota.window.size.seconds",
    authorizer_class_name: String = "authorizer.class.name",
    auto_create_topics_enable: bool = "auto.create.topics.enable",
    auto_leader_rebalance_enable: bool = "auto.leader.rebalance.enable",
    background_threads: i32 = "background.threads",
    broker_id_generation_enable: bool = "broker.id.generation.enable",
    broker_rack: Option<String> = "broker.rack",
    compression_gzip_level: i32 = "compression.gzip.level",
    compression_lz4_level: i32 = "compression.lz4.level",
    compression_type: String = "compression.type",
    compression_zstd_level: i32 = "compression.zstd.level",
    connection_failed_authentication_delay_ms: i32 = "connection.failed.authentication.delay.ms",
    connections_max_idle_ms: i64 = "connections.max.idle.ms",
    connections_max_reauth_ms: i64 = "connections.max.reauth.ms",
    controlled_shutdown_enable: bool = "controlled.shutdown.enable",
    controlled_shutdown_max_retries: i32 = "controlled.shutdown.max.retries",
    controlled_shutdown_retry_backoff_ms: i64 = "controlled.shutdown.retry.backoff.ms",
    controller_eligible: bool = "controller.eligible",
    controller_quota_window_num: i32 = "controller.quota.window.num",
    controller_quota_window_size_seconds: i32 = "controller.quota.window.size.seconds",
    controller_socket_timeout_ms: i32 = "controller.socket.timeout.ms",
    create_topic_policy_class_name: Option<String> = "create.topic.policy.class.name",
    default_replication_factor: i32 = "default.replication.factor",
    delete_topic_enable: bool = "delete.topic.enable",
    fetch_max_bytes: i32 = "fetch.max.bytes",
    group_initial_rebalance_delay_ms: i32 = "group.initial.rebalance.delay.ms",
    group_max_session_timeout_ms: i32 = "group.max.session.timeout.ms",
    group_max_size: i32 = "group.max.size",
    group_min_session_timeout_ms: i32 = "group.min.session.timeout.ms",
    leader_imbalance_check_interval_seconds: i64 = "leader.imbalance.check.interval.seconds",
    leader_imbalance_per_broker_percentage: i32 = "leader.imbalance.per.broker.percentage",
    log_cleaner_backoff_ms: i64 = "log.cleaner.backoff.ms",
    log_cleaner_dedupe_buffer_size: i64 = "log.cleaner.dedupe.buffer.size",
    log_cleaner_delete_retention_ms: i64 = "log.cleaner.delete.retention.ms",
    log_cleaner_enable: bool = "log.cleaner.enable",
    log_cleaner_io_buffer_load_factor: f64 = "log.cleaner.io.buffer.load.factor",
    log_cleaner_io_buffer_size: i32 = "log.cleaner.io.buffer.size",
    log_cleaner_io_max_bytes_per_second: f64 = "log.cleaner.io.max.bytes.per.second",
    log_cleaner_max_compaction_lag_ms: i64 = "log.cleaner.max.compaction.lag.ms",
    log_cleaner_min_cleanable_ratio: f64 = "log.cleaner.min.cleanable.ratio",
    log_cleaner_min_compaction_lag_ms: i64 = "log.cleaner.min.compaction.lag.ms",
    log_cleaner_threads: i32 = "log.cleaner.threads",
    log_cleanup_policy: Vec<String> = "log.cleanup.policy",
    log_dir_failure_timeout_ms: i64 = "log.dir.failure.timeout.ms",
    log_flush_interval_messages: i64 = "log.flush.interval.messages",
    log_flush_offset_checkpoint_interval_ms: i32 = "log.flush.offset.checkpoint.interval.ms",
    log_flush_scheduler_interval_ms: i64 = "log.flush.scheduler.interval.ms",
    log_flush_start_offset_checkpoint_interval_ms: i32 = "log.flush.start.offset.checkpoint.interval.ms",
    log_index_interval_bytes: i32 = "log.index.interval.bytes",
    log_index_size_max_bytes: i32 = "log.index.size.max.bytes",
    log_initial_task_delay_ms: i64 = "log.initial.task.delay.ms",
    log_message_downconversion_enable: bool = "log.message.downconversion.enable",
    log_message_timestamp_type: String = "log.message.timestamp.type",
    log_preallocate: bool = "log.preallocate",
    log_retention_bytes: i64 = "log.retention.bytes",
    log_retention_check_interval_ms: i64 = "log.retention.check.interval.ms",
    log_segment_bytes: i32 = "log.segment.bytes",
    log_segment_delete_delay_ms: i64 = "log.segment.delete.delay.ms",
    max_connection_creation_rate: i32 = "max.connection.creation.rate",
    max_connections: i32 = "max.connections",
    max_connections_per_ip: i32 = "max.connections.per.ip",
    max_incremental_fetch_session_cache_slots: i32 = "max.incremental.fetch.session.cache.slots",
    max_request_partition_size_limit: i32 = "max.request.partition.size.limit",
    message_max_bytes: i32 = "message.max.bytes",
    min_insync_replicas: i32 = "min.insync.replicas",
    num_io_threads: i32 = "num.io.threads",
    num_network_threads: i32 = "num.network.threads",
    num_partitions: i32 = "num.partitions",
    num_recovery_threads_per_data_dir: i32 = "num.recovery.threads.per.data.dir",
    num_replica_fetchers: i32 = "num.replica.fetchers",
    offset_metadata_max_bytes: i32 = "offset.metadata.max.bytes",
    offsets_commit_required_acks: i16 = "offsets.commit.required.acks",
    offsets_commit_timeout_ms: i32 = "offsets.commit.timeout.ms",
    offsets_load_buffer_size: i32 = "offsets.load.buffer.size",
    offsets_retention_check_interval_ms: i64 = "offsets.retention.check.interval.ms",
    offsets_retention_minutes: i32 = "offsets.retention.minutes",
    offsets_topic_compression_codec: i32 = "offsets.topic.compression.codec",
    offsets_topic_num_partitions: i32 = "offsets.topic.num.partitions",
    offsets_topic_replication_factor: i16 = "offsets.topic.replication.factor",
    offsets_topic_segment_bytes: i32 = "offsets.topic.segment.bytes",
    ottla_death_certificate: bool = "ottla.death.certificate",
    producer_id_expiration_check_interval_ms: i32 = "producer.id.expiration.check.interval.ms",
    producer_id_expiration_ms: i32 = "producer.id.expiration.ms",
    queued_max_request_bytes: i64 = "queued.max.request.bytes",
    queued_max_requests: i32 = "queued.max.requests",
    quota_window_num: i32 = "quota.window.num",
    quota_window_size_seconds: i32 = "quota.window.size.seconds",
    replica_fetch_backoff_ms: i32 = "replica.fetch.backoff.ms",
    replica_fetch_max_bytes: i32 = "replica.fetch.max.bytes",
    replica_fetch_min_bytes: i32 = "replica.fetch.min.bytes",
    replica_fetch_response_max_bytes: i32 = "replica.fetch.response.max.bytes",
    replica_fetch_wait_max_ms: i32 = "replica.fetch.wait.max.ms",
    replica_high_watermark_checkpoint_interval_ms: i64 = "replica.high.watermark.checkpoint.interval.ms",
    replica_lag_time_max_ms: i64 = "replica.lag.time.max.ms",
    replica_selector_class: Option<String> = "replica.selector.class",
    replica_socket_receive_buffer_bytes: i32 = "replica.socket.receive.buffer.bytes",
    replica_socket_timeout_ms: i32 = "replica.socket.timeout.ms",
    replication_quota_window_num: i32 = "replication.quota.window.num",
    replication_quota_window_size_seconds: i32 = "replication.quota.window.size.seconds",
    request_timeout_ms: i32 = "request.timeout.ms",
    reserved_broker_max_id: i32 = "reserved.broker.max.id",
    socket_connection_setup_timeout_max_ms: i64 = "socket.connection.setup.timeout.max.ms",
    socket_connection_setup_timeout_ms: i64 = "socket.connection.setup.timeout.ms",
    socket_listen_backlog_size: i32 = "socket.listen.backlog.size",
    socket_receive_buffer_bytes: i32 = "socket.receive.buffer.bytes",
    socket_request_max_bytes: i32 = "socket.request.max.bytes",
    socket_send_buffer_bytes: i32 = "socket.send.buffer.bytes",
    transaction_abort_timed_out_transaction_cleanup_interval_ms: i32 = "transaction.abort.timed.out.transaction.cleanup.interval.ms",
    transaction_max_timeout_ms: i32 = "transaction.max.timeout.ms",
    transaction_partition_verification_enable: bool = "transaction.partition.verification.enable",
    transaction_remove_expired_transaction_cleanup_interval_ms: i32 = "transaction.remove.expired.transaction.cleanup.interval.ms",
    transaction_state_log_load_buffer_size: i32 = "transaction.state.log.load.buffer.size",
    transaction_state_log_min_isr: i32 = "transaction.state.log.min.isr",
    transaction_state_log_num_partitions: i32 = "transaction.state.log.num.partitions",
    transaction_state_log_replication_factor: i16 = "transaction.state.log.replication.factor",
    transaction_state_log_segment_bytes: i32 = "transaction.state.log.segment.bytes",
    transactional_id_expiration_ms: i32 = "transactional.id.expiration.ms",
    unclean_leader_election_enable: bool = "unclean.leader.election.enable",
    zookeeper_max_in_flight_requests: i32 = "zookeeper.max.in.flight.requests",
    zookeeper_session_timeout_ms: i32 = "zookeeper.session.timeout.ms",
    zookeeper_set_acl: bool = "zookeeper.set.acl",
}

impl BrokerConfig {
    /// Reads and checks `pairs`; keys that are not set have their defaults. Keys that are not known are kept in
    /// [`BrokerConfig::originals`] and otherwise ignored.
    ///
    /// # Errors
    /// The first key that is wrong, with its value and the reason.
    pub fn from_pairs<K: Into<String>, V: Into<String>>(
        pairs: impl IntoIterator<Item = (K, V)>,
    ) -> Result<Self, ConfigError> {
        let originals: BTreeMap<String, String> = pairs
            .into_iter()
            .map(|(key, value)| (key.into(), value.into()))
            .collect();
        let values = Values::parse(&originals)?;
        let derived = Derived::from(&values, &originals)?;
        let config = Self::read(&values, derived, originals.into());
        config.validate()?;
        Ok(config)
    }

    /// `log.cleaner.*`. Source: Kafka `LogCleaner.cleanerConfig`.
    pub fn cleaner(&self) -> broker_log::CleanerConfig {
        broker_log::CleanerConfig {
            enable: self.log_cleaner_enable,
            threads: usize::try_from(self.log_cleaner_threads).unwrap_or(0),
            dedupe_buffer_size: u64::try_from(self.log_cleaner_dedupe_buffer_size).unwrap_or(0),
            load_factor: self.log_cleaner_io_buffer_load_factor,
            io_buffer_size: usize::try_from(self.log_cleaner_io_buffer_size).unwrap_or(0),
            max_io_bytes_per_second: self.log_cleaner_io_max_bytes_per_second,
            backoff_ms: Millis(self.log_cleaner_backoff_ms),
        }
    }

    /// What Kafka requires across keys. Source: `KafkaConfig.validateValues`.
    fn validate(&self) -> Result<(), ConfigError> {
        let require = |holds: bool, reason: &str| {
            if holds {
                Ok(())
            } else {
                Err(ConfigError::Requirement(reason.into()))
            }
        };
        let id = self.broker_id.map_or(-1, |id| id.0);
        if self.broker_id_generation_enable {
            require(
                id >= -1 && id <= self.reserved_broker_max_id,
                "broker.id must be greater than or equal to -1 and not greater than reserved.broker.max.id",
            )?;
        } else {
            require(id >= 0, "broker.id must be greater than or equal to 0")?;
        }
        require(self.log_roll_ms >= 1, "log.roll.ms must be greater than or equal to 1")?;
        require(
            self.log_roll_jitter_ms >= 0,
            "log.roll.jitter.ms must be greater than or equal to 0",
        )?;
        require(
            self.log_retention_ms >= 1 || self.log_retention_ms == -1,
            "log.retention.ms must be unlimited (-1) or, greater than or equal to 1",
        )?;
        require(
            !self.log_dirs.is_empty(),
            "At least one log directory must be defined via log.dirs or log.dir.",
        )?;
        require(
            self.log_cleaner_dedupe_buffer_size / i64::from(self.log_cleaner_threads.max(1)) > 1024 * 1024,
            "log.cleaner.dedupe.buffer.size must be at least 1MB per cleaner thread.",
        )?;
        require(
            self.replica_fetch_wait_max_ms <= self.replica_socket_timeout_ms,
            "replica.socket.timeout.ms should always be at least replica.fetch.wait.max.ms to prevent unnecessary socket timeouts",
        )?;
        require(
            i64::from(self.replica_fetch_wait_max_ms) <= self.replica_lag_time_max_ms,
            "replica.fetch.wait.max.ms should always be less than or equal to replica.lag.time.max.ms to prevent frequent changes in ISR",
        )?;
        self.validate_listeners()?;
        self.refuse_what_would_be_ignored_at_a_cost()?;
        self.validate_sasl()?;
        Passwords::of(self)?;
        require(
            self.queued_max_request_bytes <= 0
                || self.queued_max_request_bytes >= i64::from(self.socket_request_max_bytes),
            "queued.max.request.bytes must be larger or equal to socket.request.max.bytes",
        )?;
        require(
            self.max_connections_per_ip != 0 || !self.max_connections_per_ip_overrides.is_empty(),
            "max.connections.per.ip can be set to zero only if max.connections.per.ip.overrides property is set.",
        )?;
        if self.connections_max_idle_ms >= 0 {
            let delay = self.connection_failed_authentication_delay_ms;
            let idle = self.connections_max_idle_ms;
            require(
                i64::from(delay) < idle,
                &format!(
                    "connection.failed.authentication.delay.ms={delay} should always be less than connections.max.idle.ms={idle} to prevent failed authentication responses from timing out"
                ),
            )?;
        }
        Ok(())
    }

    fn validate_listeners(&self) -> Result<(), ConfigError> {
        let names = |endpoints: &[Endpoint]| {
            endpoints
                .iter()
                .map(|endpoint| endpoint.listener_name.clone())
                .collect::<Vec<_>>()
        };
        let (bound, advertised) = (names(&self.listeners), names(&self.advertised_listeners));
        let refuse = |reason: String| Err(ConfigError::Requirement(reason));
        if advertised.is_empty() {
            return refuse("There must be at least one broker advertised listener.".into());
        }
        if !advertised.contains(&self.inter_broker_listener_name) {
            return refuse(format!(
                "inter.broker.listener.name must be a listener name defined in advertised.listeners. The valid options based on currently configured listeners are {}",
                advertised.join(",")
            ));
        }
        if !advertised.iter().all(|name| bound.contains(name)) {
            return refuse(format!(
                "advertised.listeners listener names must be equal to or a subset of the ones defined in listeners. Found {}. The valid options based on the current configuration are {}",
                advertised.join(","),
                bound.join(",")
            ));
        }
        if self
            .advertised_listeners
            .iter()
            .any(|endpoint| endpoint.host.as_deref() == Some("0.0.0.0"))
        {
            return refuse(
                "advertised.listeners cannot use the nonroutable meta-address 0.0.0.0. Use a routable IP address."
                    .into(),
            );
        }
        if let Some(name) = &self.control_plane_listener_name {
            if !advertised.contains(name) {
                return refuse(format!(
                    "control.plane.listener.name must be a listener name defined in advertised.listeners. The valid options based on currently configured listeners are {}",
                    advertised.join(",")
                ));
            }
            if *name == self.inter_broker_listener_name {
                return refuse(format!(
                    "control.plane.listener.name, when defined, should have a different value from the inter broker listener name. Currently they both have the value {name}"
                ));
            }
        }
        Ok(())
    }

    /// What is asked for and not there, and would be missed: another kind of cluster, or protection. Everything else that
    /// has no effect yet is only named in a warning.
    fn refuse_what_would_be_ignored_at_a_cost(&self) -> Result<(), ConfigError> {
        const DEFAULT_PRINCIPAL_BUILDER: &str =
            "org.apache.kafka.common.security.authenticator.DefaultKafkaPrincipalBuilder";
        let set = |key: &str| {
            self.originals
                .get(key)
                .map(|text| text.trim())
                .filter(|text| !text.is_empty())
        };
        let refuse = |reason: String| Err(ConfigError::Refused(reason));
        for key in ["process.roles", "controller.listener.names"] {
            if let Some(value) = set(key) {
                return refuse(format!(
                    "{key}={value} asks for KRaft mode, but this broker runs on ZooKeeper: remove {key} and set zookeeper.connect"
                ));
            }
        }
        if self.value("zookeeper.metadata.migration.enable") == Some(Value::Boolean(true)) {
            return refuse(
                "zookeeper.metadata.migration.enable=true asks for a migration to KRaft, which this broker does not take part in".into(),
            );
        }
        for key in ["create.topic.policy.class.name", "alter.config.policy.class.name"] {
            if let Some(class) = set(key) {
                return refuse(format!(
                    "{key}={class} would not be enforced: this broker has no such check yet, and does not start as if it had"
                ));
            }
        }
        crate::security::authorizer_settings(self)?;
        for (key, class) in &self.originals {
            let engine = key == "ssl.engine.factory.class"
                || (key.starts_with("listener.name.") && key.ends_with(".ssl.engine.factory.class"));
            if engine && !class.trim().is_empty() {
                return refuse(format!("{key}={class} is a Java class and cannot run here"));
            }
        }
        if let Some(class) = set("principal.builder.class").filter(|class| *class != DEFAULT_PRINCIPAL_BUILDER) {
            return refuse(format!(
                "principal.builder.class={class} is a Java class and cannot run here"
            ));
        }
        let selectors = [RACK_AWARE_SELECTOR, LEADER_SELECTOR];
        if let Some(class) = set("replica.selector.class").filter(|class| !selectors.contains(class)) {
            return refuse(format!(
                "replica.selector.class={class} is a Java class and cannot run here; {} can",
                selectors.join(" and ")
            ));
        }
        Ok(())
    }

    /// The value of `key`: set, or the default. `None`: no such key.
    pub fn value(&self, key: &str) -> Option<Value> {
        let key = keys::lookup_any(key)?;
        match self.originals.get(key.name) {
            Some(text) => key.parse(text).ok(),
            None => Some(key.default_value()),
        }
    }
}

/// All values by key: what was set, else the defaults.
struct Values(HashMap<&'static str, Value>);

impl Values {
    fn parse(originals: &BTreeMap<String, String>) -> Result<Self, ConfigError> {
        let mut values = HashMap::with_capacity(keys::KEYS.len());
        for key in keys::KEYS.iter().chain(keys::OWN_KEYS) {
            let value = match originals.get(key.name) {
                Some(text) => key.parse(text)?,
                None => key.default_value(),
            };
            values.insert(key.name, value);
        }
        Ok(Self(values))
    }

    fn value(&self, key: &'static str) -> &Value {
        self.0.get(key).expect("every key that is read is in the table")
    }

    fn read<T: FromValue>(&self, key: &'static str) -> T {
        T::from_value(self.value(key)).expect("a key is read as the type which the table gives it")
    }
}

/// What is worked out from several keys.
struct Derived {
    broker_id: Option<BrokerId>,
    zookeeper_connect: String,
    zookeeper_connection_timeout_ms: i32,
    inter_broker_protocol_version: ProtocolVersion,
    log_dirs: Vec<PathBuf>,
    log_retention_ms: i64,
    log_roll_ms: i64,
    log_roll_jitter_ms: i64,
    log_flush_interval_ms: i64,
    log_message_timestamp_before_max_ms: i64,
    log_message_timestamp_after_max_ms: i64,
    listeners: Listeners,
    max_connections_per_ip_overrides: HashMap<String, i32>,
}

const MINUTE_MS: i64 = 60_000;
const HOUR_MS: i64 = 60 * MINUTE_MS;

impl Derived {
    fn from(values: &Values, originals: &BTreeMap<String, String>) -> Result<Self, ConfigError> {
        let hours = |key: &'static str| HOUR_MS * i64::from(values.read::<i32>(key));
        let retention_ms = values.read::<Option<i64>>("log.retention.ms").unwrap_or_else(|| {
            match values.read::<Option<i32>>("log.retention.minutes") {
                Some(minutes) => MINUTE_MS * i64::from(minutes),
                None => hours("log.retention.hours"),
            }
        });
        let difference_max_ms: i64 = values.read("log.message.timestamp.difference.max.ms");
        let or_difference = |key: &'static str| match values.read::<i64>(key) {
            i64::MAX => difference_max_ms,
            set => set,
        };
        let version: String = values.read("inter.broker.protocol.version");
        Ok(Self {
            broker_id: broker_id(values, originals)?,
            zookeeper_connect: values
                .read::<Option<String>>("zookeeper.connect")
                .filter(|connect| !connect.is_empty())
                .ok_or(ConfigError::Missing("zookeeper.connect"))?,
            zookeeper_connection_timeout_ms: values
                .read::<Option<i32>>("zookeeper.connection.timeout.ms")
                .unwrap_or_else(|| values.read("zookeeper.session.timeout.ms")),
            inter_broker_protocol_version: version
                .parse()
                .map_err(|error| ConfigError::invalid("inter.broker.protocol.version", &version, &error))?,
            log_dirs: values
                .read::<Option<String>>("log.dirs")
                .unwrap_or_else(|| values.read("log.dir"))
                .split(',')
                .map(str::trim)
                .filter(|dir| !dir.is_empty())
                .map(PathBuf::from)
                .collect(),
            log_retention_ms: if retention_ms < 0 { -1 } else { retention_ms },
            log_roll_ms: values
                .read::<Option<i64>>("log.roll.ms")
                .unwrap_or_else(|| hours("log.roll.hours")),
            log_roll_jitter_ms: values
                .read::<Option<i64>>("log.roll.jitter.ms")
                .unwrap_or_else(|| hours("log.roll.jitter.hours")),
            log_flush_interval_ms: values
                .read::<Option<i64>>("log.flush.interval.ms")
                .unwrap_or_else(|| values.read("log.flush.scheduler.interval.ms")),
            log_message_timestamp_before_max_ms: or_difference("log.message.timestamp.before.max.ms"),
            log_message_timestamp_after_max_ms: or_difference("log.message.timestamp.after.max.ms"),
            listeners: Listeners::from(values, originals)?,
            max_connections_per_ip_overrides: connection_overrides(
                &values.read::<String>("max.connections.per.ip.overrides"),
            )?,
        })
    }
}

/// `broker.id` and `node.id` are the same thing under two names.
fn broker_id(values: &Values, originals: &BTreeMap<String, String>) -> Result<Option<BrokerId>, ConfigError> {
    let (broker_id, node_id): (i32, i32) = (values.read("broker.id"), values.read("node.id"));
    let id = match (originals.contains_key("broker.id"), originals.contains_key("node.id")) {
        (true, true) if broker_id != node_id => {
            return Err(ConfigError::Refused(
                "You must set `node.id` to the same value as `broker.id`.".into(),
            ));
        }
        (false, true) => node_id,
        _ => broker_id,
    };
    match id {
        -1 => Ok(None),
        id => Ok(Some(BrokerId(id))),
    }
}

fn connection_overrides(text: &str) -> Result<HashMap<String, i32>, ConfigError> {
    let invalid = |reason: &str| ConfigError::invalid("max.connections.per.ip.overrides", text, &reason);
    let mut overrides = HashMap::new();
    for item in text.split(',').map(str::trim).filter(|item| !item.is_empty()) {
        let (host, count) = item
            .rsplit_once(':')
            .ok_or_else(|| invalid("not of the form HOST:COUNT"))?;
        let host = host.trim().trim_start_matches('[').trim_end_matches(']');
        let plausible = host.parse::<IpAddr>().is_ok()
            || (!host.is_empty() && host.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._%".contains(&b)));
        if !plausible {
            return Err(ConfigError::Refused(format!(
                "max.connections.per.ip.overrides contains invalid addresses : {host}"
            )));
        }
        let count = count.trim().parse().map_err(|_| invalid("Not a number of type INT"))?;
        overrides.insert(host.to_owned(), count);
    }
    Ok(overrides)
}

/// Everything about listeners.
struct Listeners {
    bound: Vec<Endpoint>,
    advertised: Vec<Endpoint>,
    protocols: ProtocolMap,
    inter_broker_name: String,
    inter_broker_protocol: SecurityProtocol,
    control_plane_name: Option<String>,
}

impl Listeners {
    fn from(values: &Values, originals: &BTreeMap<String, String>) -> Result<Self, ConfigError> {
        const MAP: &str = "listener.security.protocol.map";
        let text: String = values.read(MAP);
        let protocols = parse_protocol_map(&text).map_err(|reason| ConfigError::invalid(MAP, &text, &reason))?;
        let text: String = values.read("listeners");
        let bound = parse_listeners(&text, &protocols, Ports::Distinct).map_err(ConfigError::Refused)?;
        let advertised = match values.read::<Option<String>>("advertised.listeners") {
            None => bound.clone(),
            Some(text) => parse_listeners(&text, &protocols, Ports::Any).map_err(ConfigError::Refused)?,
        };
        let by_name = |key: &'static str, name: &str| {
            let name = normalised(name);
            match protocols.get(&name) {
                Some(protocol) => Ok((name, *protocol)),
                None => Err(ConfigError::Refused(format!(
                    "Listener with name {name} defined in {key} not found in {MAP}."
                ))),
            }
        };
        let (inter_broker_name, inter_broker_protocol) = match values
            .read::<Option<String>>("inter.broker.listener.name")
        {
            Some(_) if originals.contains_key("security.inter.broker.protocol") => {
                return Err(ConfigError::Refused(
                    "Only one of inter.broker.listener.name and security.inter.broker.protocol should be set.".into(),
                ));
            }
            Some(name) => by_name("inter.broker.listener.name", &name)?,
            None => {
                let text: String = values.read("security.inter.broker.protocol");
                let protocol = text
                    .parse::<SecurityProtocol>()
                    .map_err(|reason| ConfigError::invalid("security.inter.broker.protocol", &text, &reason))?;
                (protocol.name().to_owned(), protocol)
            }
        };
        let control_plane_name = match values.read::<Option<String>>("control.plane.listener.name") {
            Some(name) => Some(by_name("control.plane.listener.name", &name)?.0),
            None => None,
        };
        Ok(Self {
            bound,
            advertised,
            protocols,
            inter_broker_name,
            inter_broker_protocol,
            control_plane_name,
        })
    }
}

/// How a field's type is taken from a value.
trait FromValue: Sized {
    fn from_value(value: &Value) -> Option<Self>;
}

macro_rules! from_value {
    ($($type:ty: $pattern:pat => $read:expr;)*) => {
        $(impl FromValue for $type {
            fn from_value(value: &Value) -> Option<Self> {
                match value {
                    $pattern => $read,
                    _ => None,
                }
            }
        })*
    };
}

from_value! {
    bool: Value::Boolean(value) => Some(*value);
    i16: Value::Integer(value) => i16::try_from(*value).ok();
    i32: Value::Integer(value) => i32::try_from(*value).ok();
    i64: Value::Integer(value) => Some(*value);
    f64: Value::Double(value) => Some(*value);
    String: Value::String(value) => Some(value.clone());
    Vec<String>: Value::List(values) => Some(values.clone());
}

impl<T: FromValue> FromValue for Option<T> {
    fn from_value(value: &Value) -> Option<Self> {
        match value {
            Value::Null => Some(None),
            value => T::from_value(value).map(Some),
        }
    }
}

#[cfg(test)]
#[path = "broker_config_tests.rs"]
mod tests;
