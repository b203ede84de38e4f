//! The connection to ZooKeeper, and what the start reads and writes there: the roots, the cluster's id, a broker id,
//! the configurations.
//!
//! Source: Kafka 3.9 `KafkaZkClient.createTopLevelPaths`, `createOrGetClusterId`, `generateBrokerSequenceId`.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use broker_admission::{AUTHORIZER_PREFIX, OtherZooKeeper};
use coordinator_service::zookeeper_security;
use model::BrokerId;
use tracing::warn;
use zk_schema::brokers::SEQID_PATH;
use zk_schema::config::{self as znode_config, Entity};
use zk_schema::{PERSISTENT_PATHS, cluster_id};
use zk_schema_store::{CreateMode, Security, SessionState, Store, StoreConfig, StoreError};

use super::error::StartError;
use crate::config::BrokerConfig;

/// How ZooKeeper is reached; reads the files that the keys name.
pub(super) fn store_config(config: &BrokerConfig) -> Result<StoreConfig, StartError> {
    Ok(StoreConfig {
        connect: config.zookeeper_connect.clone(),
        session_timeout: millis(config.zookeeper_session_timeout_ms),
        connection_timeout: millis(config.zookeeper_connection_timeout_ms),
        max_in_flight: usize::try_from(config.zookeeper_max_in_flight_requests).unwrap_or(1),
        security: security(|key| config.originals.get(key).cloned())?,
    })
}

fn security(value: impl Fn(&str) -> Option<String>) -> Result<Security, StartError> {
    let java_options = std::env::var("KAFKA_OPTS").unwrap_or_default();
    Ok(zookeeper_security(value, &java_options)?)
}

/// Opens the session.
pub(super) async fn connect(config: &BrokerConfig) -> Result<Store, StartError> {
    Store::connect(store_config(config)?)
        .await
        .map_err(|source| StartError::Connect {
            connect: config.zookeeper_connect.clone(),
            source,
        })
}

/// Opens a session with the ZooKeeper that has nothing but the ACLs.
pub(super) async fn connect_authorizer(config: &BrokerConfig, other: &OtherZooKeeper) -> Result<Store, StartError> {
    // `authorizer.zookeeper.ssl.…` over `zookeeper.ssl.…`, key by key.
    let value = |key: &str| {
        let own = config.originals.get(&format!("{AUTHORIZER_PREFIX}{key}"));
        own.or_else(|| config.originals.get(key)).cloned()
    };
    let connect = StoreConfig {
        security: security(value)?,
        ..other.store_config(&store_config(config)?)
    };
    let failed = |source| StartError::Connect {
        connect: other.url.clone(),
        source,
    };
    Store::connect(connect).await.map_err(failed)
}

/// In how many sessions the start tries the same.
const SESSIONS_MAX: usize = 3;

/// Does `what` again in a new session if the one that it was begun in expires: all that the start reads and writes there
/// may be done twice. Kafka ends the process instead.
pub(super) async fn in_session<T>(
    store: &Store,
    connection_timeout: Duration,
    mut what: impl AsyncFnMut() -> Result<T, StoreError>,
) -> Result<T, StoreError> {
    for _ in 1..SESSIONS_MAX {
        match what().await {
            Err(StoreError::SessionExpired) => {}
            done => return done,
        }
        warn!("the zookeeper session has expired during the start; trying again in a new one");
        let mut session = store.session();
        let connected =
            session.wait_for(|state| matches!(state, SessionState::Connected { .. } | SessionState::Closed));
        if tokio::time::timeout(connection_timeout, connected).await.is_err() {
            return Err(StoreError::SessionExpired);
        }
    }
    what().await
}

pub(super) fn millis(ms: i32) -> Duration {
    Duration::from_millis(u64::try_from(ms).unwrap_or(0))
}

/// Creates the persistent znodes that are not there yet, in Kafka's order.
pub(super) async fn create_roots(store: &Store) -> Result<(), StoreError> {
    let found = store.get_all(PERSISTENT_PATHS.iter().copied()).await;
    for (path, found) in PERSISTENT_PATHS.iter().zip(found) {
        if found?.is_some() {
            continue;
        }
        match store.create_recursive(path, Vec::new(), CreateMode::Persistent).await {
            Ok(_) | Err(StoreError::NodeExists { .. }) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// The cluster's id; the first broker of a cluster makes it up.
pub(super) async fn cluster_id(store: &Store) -> Result<String, StoreError> {
    let malformed = |error: zk_schema::DecodeError| StoreError::Other(error.to_string());
    if let Some((data, _)) = store.get(cluster_id::PATH).await? {
        return cluster_id::decode(&data).map_err(malformed);
    }
    let proposed = URL_SAFE_NO_PAD.encode(uuid::Uuid::new_v4().as_bytes());
    match store
        .create_recursive(cluster_id::PATH, cluster_id::encode(&proposed), CreateMode::Persistent)
        .await
    {
        Ok(_) => Ok(proposed),
        Err(StoreError::NodeExists { .. }) => match store.get(cluster_id::PATH).await? {
            Some((data, _)) => cluster_id::decode(&data).map_err(malformed),
            None => Err(StoreError::NoNode {
                path: cluster_id::PATH.to_owned(),
            }),
        },
        Err(error) => Err(error),
    }
}

/// An id above `reserved.broker.max.id` that no broker has had: the data version of `/brokers/seqid` after a write.
pub(super) async fn generate_broker_id(store: &Store, reserved_max: i32) -> Result<BrokerId, StoreError> {
    let stat = match store.set(SEQID_PATH, Vec::new(), None).await {
        Err(StoreError::NoNode { .. }) => {
            match store
                .create_recursive(SEQID_PATH, Vec::new(), CreateMode::Persistent)
                .await
            {
                Ok(_) | Err(StoreError::NodeExists { .. }) => {}
                Err(error) => return Err(error),
            }
            store.set(SEQID_PATH, Vec::new(), None).await?
        }
        set => set?,
    };
    stat.version
        .checked_add(reserved_max)
        .map(BrokerId)
        .ok_or_else(|| StoreError::Other("no broker ids are left above reserved.broker.max.id".into()))
}

/// Keys and values.
pub(super) type Entries = BTreeMap<String, String>;

/// `/config/brokers/<default>` and `/config/brokers/N`.
pub(super) async fn broker_configs(store: &Store, id: BrokerId) -> Result<(Entries, Entries), StoreError> {
    let default = entity(store, &Entity::Broker(None).path()).await?;
    let own = entity(store, &Entity::Broker(Some(id.0)).path()).await?;
    Ok((default, own))
}

async fn entity(store: &Store, path: &str) -> Result<Entries, StoreError> {
    match store.get(path).await? {
        Some((data, _)) => znode_config::decode(path, &data).map_err(|error| StoreError::Other(error.to_string())),
        None => Ok(Entries::new()),
    }
}

/// `/config/topics/T` of every topic that overrides anything. One that cannot be read is left out and named: one
/// topic's configuration must not keep all others from being served.
pub(super) async fn topic_configs(store: &Store) -> Result<HashMap<String, Entries>, StoreError> {
    let topics = store.get_children(TOPICS_PATH).await?.unwrap_or_default();
    let found = store
        .get_all(topics.iter().map(|topic| format!("{TOPICS_PATH}/{topic}")))
        .await;
    let mut configs = HashMap::new();
    for (topic, found) in topics.into_iter().zip(found) {
        let Some((data, _)) = found? else { continue };
        match znode_config::decode(&format!("{TOPICS_PATH}/{topic}"), &data) {
            Ok(entries) if entries.is_empty() => {}
            Ok(entries) => {
                configs.insert(topic, entries);
            }
            Err(error) => {
                warn!(%topic, %error, "the topic's configuration cannot be read; using the broker's defaults")
            }
        }
    }
    Ok(configs)
}

const TOPICS_PATH: &str = "/config/topics";

#[cfg(test)]
mod tests {
    use super::*;
    use zk_schema_store::MemoryTree;

    async fn children(store: &Store, path: &str) -> Vec<String> {
        let mut children = store.get_children(path).await.unwrap().unwrap();
        children.sort();
        children
    }

    #[tokio::test]
    async fn an_empty_zookeeper_gets_kafkas_roots_and_one_cluster_id() {
        let tree = MemoryTree::new();
        let (one, other) = (Store::in_memory(tree.clone()), Store::in_memory(tree));
        create_roots(&one).await.unwrap();
        create_roots(&other).await.unwrap();
        let roots = children(&one, "/").await;
        assert_eq!(
            roots,
            [
                "admin",
                "brokers",
                "config",
                "consumers",
                "isr_change_notification",
                "latest_producer_id_block",
                "log_dir_event_notification"
            ]
        );
        assert_eq!(
            children(&one, "/config").await,
            ["brokers", "changes", "clients", "ips", "topics", "users"]
        );
        let id = cluster_id(&one).await.unwrap();
        assert_eq!(id.len(), 22);
        assert_eq!(cluster_id(&other).await.unwrap(), id);
    }

    #[tokio::test]
    async fn a_session_that_expires_during_the_start_is_followed_by_another() {
        let store = Store::in_memory(MemoryTree::new());
        let check = async |failures: usize, expected: Result<usize, StoreError>| {
            let mut attempts = 0;
            let attempt = async || {
                attempts += 1;
                match attempts <= failures {
                    true => Err(StoreError::SessionExpired),
                    false => Ok(attempts),
                }
            };
            assert_eq!(in_session(&store, Duration::from_secs(5), attempt).await, expected);
        };
        check(0, Ok(1)).await;
        check(2, Ok(3)).await;
        check(3, Err(StoreError::SessionExpired)).await;
    }

    #[tokio::test]
    async fn generated_ids_are_above_the_reserved_ones() {
        let store = Store::in_memory(MemoryTree::new());
        assert_eq!(generate_broker_id(&store, 1000).await, Ok(BrokerId(1001)));
        assert_eq!(generate_broker_id(&store, 1000).await, Ok(BrokerId(1002)));
        assert!(generate_broker_id(&store, i32::MAX).await.is_err());
    }

    #[tokio::test]
    async fn configurations_are_read() {
        let store = Store::in_memory(MemoryTree::new());
        let put = async |path: &str, json: &str| {
            store
                .create_recursive(path, json.as_bytes(), CreateMode::Persistent)
                .await
                .unwrap();
        };
        put("/config/topics/a", r#"{"version":1,"config":{"retention.ms":"5"}}"#).await;
        put("/config/topics/b", r#"{"version":1,"config":{}}"#).await;
        put("/config/topics/c", r#"{"version":1,"config":{"retention.ms":5}}"#).await;
        put(
            "/config/brokers/<default>",
            r#"{"version":1,"config":{"log.retention.ms":"6"}}"#,
        )
        .await;
        let entries = |key: &str, value: &str| Entries::from([(key.to_owned(), value.to_owned())]);
        let topics = topic_configs(&store).await.unwrap();
        assert_eq!(topics, HashMap::from([("a".to_owned(), entries("retention.ms", "5"))]));
        let (default, own) = broker_configs(&store, BrokerId(1)).await.unwrap();
        assert_eq!((default, own), (entries("log.retention.ms", "6"), Entries::new()));
    }
}
