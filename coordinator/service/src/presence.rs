//! Says in ZooKeeper that this process is ours: below `/cluster/ottla`, where Kafka does not look.
//!
//! A broker announces itself under `brokers/<id>`, so that a dedicated coordinator knows which brokers would find it; a
//! coordinator registers under `coordinators/<id>`, so that brokers leave the race to it. Both are ephemeral, and made anew
//! with every session.

use std::time::Duration;

use model::BrokerId;
use zk_schema::ottla;
use zk_schema_store::{CreateMode, SessionState, Store, StoreError};

use crate::config::{Role, ServiceConfig};

/// How long to wait before trying again.
const BACKOFF: Duration = Duration::from_secs(1);

/// Keeps the announcement there until dropped.
pub(crate) async fn keep(config: ServiceConfig, store: Store) {
    let path = match config.role {
        Role::HostedByBroker { .. } => ottla::broker_path(config.id),
        Role::Dedicated => ottla::coordinator_path(config.id),
    };
    let data = config
        .advertised
        .as_ref()
        .map_or_else(Vec::new, |(host, port)| ottla::encode_address(host, *port));
    let mut session = store.session();
    let mut announced = 0;
    loop {
        let state = *session.borrow_and_update();
        match state {
            SessionState::Closed => return,
            SessionState::Connected { session_id, generation } if generation != announced => {
                match announce(&store, &path, &data, session_id).await {
                    Ok(()) => announced = generation,
                    Err(error) => {
                        tracing::warn!(path, %error, "could not announce this process: trying again");
                        tokio::time::sleep(BACKOFF).await;
                        continue;
                    }
                }
            }
            _ => {}
        }
        if session.changed().await.is_err() {
            return;
        }
    }
}

/// Announces a broker before it registers: one that is registered and not announced is Kafka's to a dedicated coordinator,
/// which would hand over its office at once. [`keep`] finds the znode there, and keeps it through later sessions.
///
/// An announcement that is there stays: it may be that of a living broker with the same id, which this one is yet to find out.
///
/// # Errors
/// ZooKeeper's.
pub async fn announce_broker(store: &Store, id: BrokerId) -> Result<(), StoreError> {
    match store
        .create_recursive(&ottla::broker_path(id), &[], CreateMode::Ephemeral)
        .await
    {
        Ok(_) | Err(StoreError::NodeExists { .. }) => Ok(()),
        Err(error) => Err(error),
    }
}

/// Creates the znode, in place of one that an earlier session of this process has left.
async fn announce(store: &Store, path: &str, data: &[u8], session_id: i64) -> Result<(), StoreError> {
    loop {
        match store.create_recursive(path, data, CreateMode::Ephemeral).await {
            Ok(_) => return Ok(()),
            Err(StoreError::NodeExists { .. }) => {}
            Err(error) => return Err(error),
        }
        match store.exists(path).await? {
            Some(stat) if stat.ephemeral_owner == session_id => return Ok(()),
            Some(stat) => match store.delete(path, Some(stat.version)).await {
                Ok(()) | Err(StoreError::NoNode { .. }) => {}
                Err(error) => return Err(error),
            },
            None => {}
        }
    }
}
