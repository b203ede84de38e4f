//! Configurations as they take effect: topics' own over the broker's; what cannot be used is left out alone.

use std::time::Duration;

use broker_log::{Logs, LogsConfig};
use tempfile::TempDir;
use zk_schema::controller::{self, Controller};
use zk_schema_store::{CreateMode, MemoryTree, Store};

use super::*;
use crate::config::ConfigHandle;
use crate::partition::{Partitions, ReplicaSettings};
use crate::zookeeper::configs;

/// A broker with id 1 over an in-memory ZooKeeper, following its changes.
struct Scene {
    broker: Arc<Broker>,
    _dir: TempDir,
}

impl Scene {
    async fn new() -> Self {
        let store = Store::in_memory(MemoryTree::new());
        let controller = Controller::new(BrokerId(1), Millis(0)).encode();
        for (path, data) in [(controller::PATH, controller), ("/config/changes", Vec::new())] {
            store
                .create_recursive(path, data, CreateMode::Persistent)
                .await
                .unwrap();
        }
        let dir = tempfile::tempdir().unwrap();
        let logs = Logs::open(LogsConfig::new(vec![dir.path().to_owned()])).unwrap();
        let settings = ReplicaSettings::new(BrokerId(1), Millis(30_000));
        let config = BrokerConfig::from_pairs([("zookeeper.connect", "z"), ("broker.id", "1")]).unwrap();
        let broker = Broker::new(
            BrokerId(1),
            "cluster".into(),
            Arc::new(ConfigHandle::new(config)),
            store,
            Partitions::new(settings, logs),
        );
        tokio::spawn(follow(Arc::clone(&broker)));
        Self { broker, _dir: dir }
    }

    async fn change(&self, entity: Entity, pairs: &[(&str, &str)]) {
        configs::change(&self.broker.store, &entity, &entries(pairs))
            .await
            .unwrap();
    }

    async fn until(&self, what: &str, holds: impl Fn(&Broker) -> bool) {
        let poll = async {
            while !holds(&self.broker) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        assert!(
            tokio::time::timeout(Duration::from_secs(10), poll).await.is_ok(),
            "{what}"
        );
    }
}

fn entries(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|&(k, v)| (k.to_owned(), v.to_owned())).collect()
}

fn retention(broker: &Broker, topic: &str) -> i64 {
    broker.partitions.logs().topic_config(topic).retention_ms.0
}

#[tokio::test]
async fn topics_follow_their_own_and_the_brokers_configuration() {
    let scene = Scene::new().await;
    scene.change(Entity::Topic("t".into()), &[("retention.ms", "5")]).await;
    scene
        .until("the topic's own", |broker| retention(broker, "t") == 5)
        .await;
    scene.change(Entity::Broker(None), &[("log.retention.ms", "6")]).await;
    scene
        .until("of all brokers", |broker| retention(broker, "other") == 6)
        .await;
    assert_eq!(retention(&scene.broker, "t"), 5);
    scene
        .change(Entity::Broker(Some(1)), &[("log.retention.ms", "7")])
        .await;
    scene
        .until("of this broker", |broker| retention(broker, "other") == 7)
        .await;
    scene.change(Entity::Topic("t".into()), &[]).await;
    scene
        .until("no longer its own", |broker| retention(broker, "t") == 7)
        .await;
    scene.change(Entity::Broker(Some(1)), &[]).await;
    scene.until("of all again", |broker| retention(broker, "t") == 6).await;
}

#[tokio::test]
async fn what_cannot_be_used_is_left_out_alone() {
    let scene = Scene::new().await;
    let mixed = [
        ("log.retention.ms", "8"),
        ("message.max.bytes", "-7"),
        ("broker.id", "9"),
    ];
    scene.change(Entity::Broker(None), &mixed).await;
    scene.until("the good one", |broker| retention(broker, "t") == 8).await;
    assert_eq!(scene.broker.config.load().message_max_bytes, 1_048_588);
    let mixed = [("retention.ms", "9"), ("segment.bytes", "x"), ("no.such", "x")];
    scene.change(Entity::Topic("t".into()), &mixed).await;
    scene
        .until("the topic's good one", |broker| retention(broker, "t") == 9)
        .await;
}

#[tokio::test]
async fn other_brokers_configurations_are_not_ours() {
    let scene = Scene::new().await;
    scene
        .change(Entity::Broker(Some(2)), &[("log.retention.ms", "7")])
        .await;
    scene
        .change(Entity::Topic("later".into()), &[("retention.ms", "5")])
        .await;
    scene
        .until("the later change", |broker| retention(broker, "later") == 5)
        .await;
    assert_eq!(retention(&scene.broker, "t"), 604_800_000);
}
