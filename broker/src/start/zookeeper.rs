//! The connection to ZooKeeper, and what the start reads and writes there: the roots, the cluster's id, a broker id,
//! the configurations.
//!
//! The session has a runtime thread of its own: a disk that stalls the workers which append must not cost the session.
//!
//! Source: Kafka 3.9 `KafkaZkClient.createTopLevelPaths`, `createOrGetClusterId`, `generateBrokerSequenceId`.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use model::BrokerId;
use tokio::runtime::Runtime;
use zk_schema::brokers::SEQID_PATH;
use zk_schema::{PERSISTENT_PATHS, cluster_id};
use zk_schema_store::{CreateMode, Store, StoreConfig, StoreError};

use super::error::StartError;
use crate::config::BrokerConfig;

/// The session and the thread that keeps it alive.
pub(super) struct ZooKeeper {
    pub(super) store: Store,
    runtime: Option<Runtime>,
}

impl ZooKeeper {
    pub(super) async fn connect(config: &BrokerConfig) -> Result<Self, StartError> {
        let connect = config.zookeeper_connect.clone();
        let store_config = StoreConfig {
            connect: connect.clone(),
            session_timeout: millis(config.zookeeper_session_timeout_ms),
            connection_timeout: millis(config.zookeeper_connection_timeout_ms),
            max_in_flight: usize::try_from(config.zookeeper_max_in_flight_requests).unwrap_or(1),
        };
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("zookeeper")
            .enable_all()
            .build()
            .map_err(|source| StartError::System { doing: "start a thread", source })?;
        match runtime.spawn(Store::connect(store_config)).await {
            Ok(Ok(store)) => Ok(Self { store, runtime: Some(runtime) }),
            failed => {
                runtime.shutdown_background();
                match failed {
                    Ok(Err(source)) => Err(StartError::Connect { connect, source }),
                    Err(panicked) => Err(StoreError::Other(panicked.to_string()).into()),
                    Ok(Ok(_)) => unreachable!("a connection was returned above"),
                }
            }
        }
    }

    pub(super) async fn close(&self) {
        self.store.close().await;
    }
}

impl Drop for ZooKeeper {
    /// A runtime must not be dropped where others wait for it.
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
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
    match store.create_recursive(cluster_id::PATH, cluster_id::encode(&proposed), CreateMode::Persistent).await {
        Ok(_) => Ok(proposed),
        Err(StoreError::NodeExists { .. }) => match store.get(cluster_id::PATH).await? {
            Some((data, _)) => cluster_id::decode(&data).map_err(malformed),
            None => Err(StoreError::NoNode { path: cluster_id::PATH.to_owned() }),
        },
        Err(error) => Err(error),
    }
}

/// An id above `reserved.broker.max.id` that no broker has had: the data version of `/brokers/seqid` after a write.
pub(super) async fn generate_broker_id(store: &Store, reserved_max: i32) -> Result<BrokerId, StoreError> {
    let stat = match store.set(SEQID_PATH, Vec::new(), None).await {
        Err(StoreError::NoNode { .. }) => {
            match store.create_recursive(SEQID_PATH, Vec::new(), CreateMode::Persistent).await {
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
