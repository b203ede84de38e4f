//! What a broker does when a configuration has changed: topics' to its logs, brokers' to its own configuration.
//!
//! Quotas of clients, users and addresses are not acted upon yet; they are kept in ZooKeeper all the same.

use std::collections::BTreeMap;
use std::sync::Arc;

use broker_log::LogConfig;
use model::BrokerId;
use zk_schema::config::Entity;

use super::changes::{self, ConfigChange};
use crate::{Broker, clock};

/// Follows `/config/changes` for as long as the broker lives; end it by dropping the future.
pub async fn follow(broker: Arc<Broker>) {
    let mut brokers = BrokerEntries::default();
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

fn apply(broker: &Broker, brokers: &mut BrokerEntries, change: ConfigChange) {
    let ConfigChange { entity, config } = change;
    match entity {
        Entity::Topic(topic) => {
            let logs = broker.partitions.logs();
            if logs.topic_overrides(&topic) != config {
                tracing::info!(topic, ?config, "applying the topic's changed configuration");
                logs.set_topic_overrides(&topic, config);
            }
        }
        Entity::Broker(None) => {
            brokers.default = config;
            apply_brokers(broker, brokers);
        }
        Entity::Broker(Some(id)) if BrokerId(id) == broker.id => {
            brokers.own = config;
            apply_brokers(broker, brokers);
        }
        Entity::Broker(Some(_)) | Entity::Client(_) | Entity::User(_) | Entity::UserClient(..) | Entity::Ip(_) => {}
    }
}

fn apply_brokers(broker: &Broker, entries: &BrokerEntries) {
    match broker
        .config
        .apply_dynamic(entries.default.clone(), entries.own.clone())
    {
        Ok(false) => {}
        Ok(true) => {
            tracing::info!("the broker's dynamic configuration has changed");
            let config = broker.config.current();
            match LogConfig::from_broker(|key| config.originals.get(key).map(String::as_str)) {
                Ok(defaults) => broker.partitions.logs().set_defaults(defaults),
                Err(error) => tracing::error!(%error, "the changed defaults of topics are not valid"),
            }
        }
        // Whoever wrote it past our checks; Kafka goes on with what it has, too.
        Err(error) => tracing::error!(%error, "the dynamic configuration is not valid and is not applied"),
    }
}
