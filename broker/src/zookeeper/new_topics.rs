//! The configs of topics that come to this broker for the first time.
//!
//! A topic's creation is not announced under `/config/changes`: who is told to host its first partition reads
//! `/config/topics/T` before the log is made, so that no record is ever kept under another policy than its topic's.
//!
//! Source: Kafka 3.9 `Partition.createLog`, `ZkConfigRepository`; `LogManager.initializingLog` for the race with a
//! change that is announced meanwhile.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use broker_log::Logs;
use futures::future::join_all;
use model::TopicPartition;
use tracing::warn;
use zk_schema::config::Entity;
use zk_schema_store::Store;

use super::configs;

/// Between two attempts to read while ZooKeeper does not answer. There is no end to them: a log that was made with the
/// defaults could delete what its topic wants kept.
const RETRY: Duration = Duration::from_millis(200);

/// Sees to it that `logs` know the configs of those topics among `partitions` of which some have no log here yet.
pub async fn learn(store: &Store, logs: &Logs, partitions: impl Iterator<Item = &TopicPartition>) {
    let topics: BTreeSet<Arc<str>> = partitions
        .filter(|partition| logs.get(partition).is_none())
        .map(|partition| Arc::clone(&partition.topic))
        .collect();
    join_all(topics.iter().map(|topic| learn_one(store, logs, topic))).await;
}

async fn learn_one(store: &Store, logs: &Logs, topic: &Arc<str>) {
    let entity = Entity::Topic(topic.to_string());
    loop {
        let before = logs.topic_overrides(topic);
        match configs::read(store, &entity).await {
            Ok(config) => {
                // Otherwise a change was announced and applied while this was on its way: that is the newer one.
                if config != before && logs.topic_overrides(topic) == before {
                    logs.set_topic_overrides(topic, config);
                }
                return;
            }
            Err(error) => {
                warn!(%topic, %error, "cannot read the topic's configuration, trying again");
                tokio::time::sleep(RETRY).await;
            }
        }
    }
}
