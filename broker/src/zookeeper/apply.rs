//! What a broker does when a configuration has changed: topics' to its logs, brokers' to its own configuration.
//!
//! What cannot be used is logged and left out, never fatal: Kafka's tools, other versions and hands write to ZooKeeper
//! past our checks.
//!
//! Source: Kafka 3.9 `TopicConfigHandler`, `BrokerConfigHandler`, `DynamicLogConfig`.

use std::collections::BTreeMap;
use std::sync::Arc;

use broker_log::LogConfig;
use model::{BrokerId, Millis, TopicPartition};
use zk_schema::config::Entity;

use super::changes::{self, ConfigChange};
use super::{AdminError, configs, quotas};
use crate::config::{BrokerConfig, ConfigHandle};
use crate::{Broker, clock};

const UNCLEAN_LEADER_ELECTION_ENABLE: &str = "unclean.leader.election.enable";

/// Follows `/config/changes` for as long as the broker lives; end it by dropping the future.
pub async fn follow(broker: Arc<Broker>) {
    // As the start has read and applied them.
    let (own, default) = broker.config.dynamic_entries();
    let mut brokers = BrokerEntries { default, own };
    brokers.throttle(&broker);
    let store = broker.store.clone();
    let apply = move |change| apply(&broker, &mut brokers, change);
    changes::follow(store, clock::now, apply).await;
}

/// What is set at `/config/brokers/<default>` and at `/config/brokers/<our id>`: both are needed to lay one over the
/// other.
#[derive(Debug, Default)]
struct BrokerEntries {
    default: BTreeMap<String, String>,
    own: BTreeMap<String, String>,
}

impl BrokerEntries {
    /// The rates of replication throttles live nowhere else.
    fn throttle(&self, broker: &Broker) {
        let value = |key: &str| self.own.get(key).or_else(|| self.default.get(key)).cloned();
        broker.replication_quotas.broker_changed(value);
    }
}

fn apply(broker: &Arc<Broker>, brokers: &mut BrokerEntries, change: ConfigChange) {
    let ConfigChange { entity, config } = change;
    match entity {
        Entity::Topic(topic) => {
            let quotas = &broker.replication_quotas;
            quotas.topic_changed(&topic, broker.id, |key| config.get(key).cloned());
            let logs = broker.partitions.logs();
            let before = logs.topic_overrides(&topic);
            if before != config {
                tracing::info!(topic, ?config, "applying the topic's changed configuration");
                let enables = |overrides: &BTreeMap<String, String>| {
                    let value = overrides.get(UNCLEAN_LEADER_ELECTION_ENABLE);
                    value.is_some_and(|value| value.trim().eq_ignore_ascii_case("true"))
                };
                let newly_unclean = enables(&config) && !enables(&before);
                logs.set_topic_overrides(&topic, config);
                reconsider_high_watermarks(broker, |partition| *partition.topic == topic);
                if newly_unclean {
                    tell_controller(broker, Some(topic));
                }
            }
        }
        Entity::Broker(None) => {
            brokers.default = usable_entries(&broker.config, config, false);
            apply_brokers(broker, brokers);
        }
        Entity::Broker(Some(id)) if BrokerId(id) == broker.id => {
            brokers.own = usable_entries(&broker.config, config, true);
            apply_brokers(broker, brokers);
        }
        Entity::Broker(Some(_)) => {}
        Entity::Client(_) | Entity::User(_) | Entity::UserClient(..) | Entity::Ip(_) => {
            apply_to_clients(broker, &entity, &config);
        }
    }
}

/// Reads every user's credentials and everybody's quotas, before anybody may log in; changes follow with [`follow`].
///
/// # Errors
/// ZooKeeper has not answered.
pub async fn load_clients(broker: &Broker) -> Result<(), AdminError> {
    for (entity, config) in configs::read_all(&broker.store, &["clients", "users", "ips"]).await? {
        apply_to_clients(broker, &entity, &config);
    }
    Ok(())
}

fn apply_to_clients(broker: &Broker, entity: &Entity, config: &BTreeMap<String, String>) {
    if let Entity::User(Some(user)) = entity {
        broker.credentials.scram.user_changed(user, config);
    }
    quotas::apply(broker, entity, config);
}

/// The entries of `/config/brokers/N` or `/config/brokers/<default>` that count; the others are named in the log.
pub(crate) fn usable_entries(
    config: &ConfigHandle,
    entries: BTreeMap<String, String>,
    per_broker: bool,
) -> BTreeMap<String, String> {
    let (used, ignored) = config.usable(entries, per_broker);
    for entry in ignored {
        tracing::error!(
            name = entry.name,
            reason = entry.reason,
            per_broker,
            "a dynamic configuration in zookeeper is ignored"
        );
    }
    used
}

fn apply_brokers(broker: &Arc<Broker>, entries: &BrokerEntries) {
    entries.throttle(broker);
    let before = broker.config.current();
    match broker
        .config
        .apply_dynamic(entries.default.clone(), entries.own.clone())
    {
        Ok(false) => {}
        Ok(true) => {
            tracing::info!("the broker's dynamic configuration has changed");
            reconfigure(broker, &before, &broker.config.current());
        }
        // Whoever wrote it past our checks; Kafka goes on with what it has, too.
        Err(error) => tracing::error!(%error, "the dynamic configuration is not valid and is not applied"),
    }
}

/// Passes on what others keep a copy of; all else reads the configuration when it needs it.
fn reconfigure(broker: &Arc<Broker>, before: &BrokerConfig, after: &BrokerConfig) {
    let logs = broker.partitions.logs();
    match (log_defaults(before), log_defaults(after)) {
        (Ok(before), Ok(after)) if before == after => {}
        (_, Ok(after)) => {
            logs.set_defaults(after);
            reconsider_high_watermarks(broker, |_| true);
        }
        (_, Err(error)) => tracing::error!(%error, "the changed defaults of topics are not valid"),
    }
    let threads = |count: i32| usize::try_from(count).unwrap_or(1);
    if before.background_threads != after.background_threads {
        logs.set_background_threads(threads(after.background_threads));
    }
    if before.num_recovery_threads_per_data_dir != after.num_recovery_threads_per_data_dir {
        logs.set_recovery_threads(threads(after.num_recovery_threads_per_data_dir));
    }
    if before.cleaner() != after.cleaner() {
        logs.set_cleaner_config(after.cleaner());
    }
    if before.producer_id_expiration_ms != after.producer_id_expiration_ms {
        logs.set_producer_id_expiration(Millis(i64::from(after.producer_id_expiration_ms)));
    }
    if before.transaction_partition_verification_enable != after.transaction_partition_verification_enable {
        logs.set_verify_transactions(after.transaction_partition_verification_enable);
    }
    let thread_counts = |config: &BrokerConfig| (config.num_io_threads, config.num_network_threads);
    if thread_counts(before) != thread_counts(after) {
        tracing::warn!(
            "num.io.threads and num.network.threads are kept and shown, but change nothing here: one worker for each \
             core serves sockets and requests alike"
        );
    }
    if after.unclean_leader_election_enable && !before.unclean_leader_election_enable {
        tell_controller(broker, None);
    }
}

/// `min.insync.replicas` may have been lowered, and records that waited for more replicas are committed now. Kafka would
/// find that out only with the next append.
fn reconsider_high_watermarks(broker: &Arc<Broker>, concerned: impl Fn(&TopicPartition) -> bool) {
    let settings = broker.partitions.settings();
    for partition in broker.partitions.all() {
        if concerned(&partition.topic_partition) {
            partition.reconsider_high_watermark(settings, clock::now());
        }
    }
}

fn log_defaults(config: &BrokerConfig) -> Result<LogConfig, broker_log::config::ConfigError> {
    LogConfig::from_broker(|key| config.originals.get(key).map(String::as_str))
}

/// The controller, if it is hosted here, may now elect leaders that are not in sync, for one topic or for all.
fn tell_controller(broker: &Arc<Broker>, topic: Option<String>) {
    let broker = Arc::clone(broker);
    tokio::spawn(async move {
        if let Some(controller) = broker.controller() {
            controller.unclean_election_enabled(topic.as_deref()).await;
        }
    });
}

#[cfg(test)]
#[path = "apply_tests.rs"]
mod tests;
