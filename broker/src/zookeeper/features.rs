//! Follows `/feature`: the finalized features of the cluster (KIP-584), which ApiVersions tells clients.
//!
//! A broker in ZooKeeper mode supports no feature, so none can be finalized; what remains is their epoch, the version of
//! the znode, by which clients see that the cluster has feature versioning at all. Does not write the znode: the
//! controller does, at its election.
//!
//! Source: Kafka 3.9 `FinalizedFeatureChangeListener`, `ZkMetadataCache.updateFeaturesOrThrow`.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use tracing::error;
use zk_schema::feature::{Features, PATH};
use zk_schema_store::{SessionState, Store, StoreError, Watch};

/// How long to wait after a failure that no session change explains.
const RETRY_PAUSE: Duration = Duration::from_secs(1);

/// What is known of the finalized features.
#[derive(Debug)]
pub struct FinalizedFeatures {
    epoch: AtomicI64,
}

impl Default for FinalizedFeatures {
    fn default() -> Self {
        Self {
            epoch: AtomicI64::new(Self::UNKNOWN_EPOCH),
        }
    }
}

impl FinalizedFeatures {
    /// Feature versioning is off, or nothing is known yet.
    pub const UNKNOWN_EPOCH: i64 = -1;

    /// Version of `/feature`, or [`FinalizedFeatures::UNKNOWN_EPOCH`].
    pub fn epoch(&self) -> i64 {
        self.epoch.load(Ordering::Relaxed)
    }

    /// Reads the znode, and again whenever it may have changed, for ever.
    pub async fn follow(self: Arc<Self>, store: Store) {
        let mut session = store.session();
        loop {
            let state = *session.borrow_and_update();
            match state {
                SessionState::Closed => return,
                SessionState::Connected { .. } => {}
                SessionState::Disconnected { .. } | SessionState::Expired { .. } => {
                    if session.changed().await.is_err() {
                        return;
                    }
                    continue;
                }
            }
            match self.read(&store).await {
                Ok(mut watch) => watch.changed().await,
                Err(StoreError::Closed) => return,
                Err(error) => {
                    error!(%error, "the finalized features could not be read and will be tried again");
                    // A new session needs no pause.
                    let _: Result<_, tokio::time::error::Elapsed> =
                        tokio::time::timeout(RETRY_PAUSE, session.changed()).await;
                }
            }
        }
    }

    /// Reads the znode; the watch fires when it may have changed.
    ///
    /// # Errors
    /// ZooKeeper has not answered.
    pub async fn read(&self, store: &Store) -> Result<Watch, StoreError> {
        let (found, watch) = store.watch_data(PATH).await?;
        let epoch = found.map_or(Self::UNKNOWN_EPOCH, |(data, stat)| epoch(&data, stat.version));
        self.epoch.store(epoch, Ordering::Relaxed);
        Ok(watch)
    }
}

fn epoch(data: &[u8], version: i32) -> i64 {
    match Features::decode(data) {
        Ok(features) if !features.enabled => FinalizedFeatures::UNKNOWN_EPOCH,
        Ok(features) => {
            if !features.finalized.is_empty() {
                error!(features = ?features.finalized, "features are finalized that this broker does not support");
            }
            i64::from(version)
        }
        Err(error) => {
            error!(%error, "the finalized features cannot be understood");
            FinalizedFeatures::UNKNOWN_EPOCH
        }
    }
}

#[cfg(test)]
mod tests {
    use zk_schema_store::{CreateMode, MemoryTree};

    use super::*;

    #[tokio::test]
    async fn the_epoch_is_the_version_of_a_znode_that_says_enabled() {
        let store = Store::in_memory(MemoryTree::new());
        let features = FinalizedFeatures::default();
        let read = async |expected: i64| {
            features.read(&store).await.unwrap();
            assert_eq!(features.epoch(), expected);
        };
        read(-1).await;
        store
            .create(PATH, Features::enabled().encode(), CreateMode::Persistent)
            .await
            .unwrap();
        read(0).await;
        let mut off = Features::enabled();
        off.enabled = false;
        store.set(PATH, off.encode(), None).await.unwrap();
        read(-1).await;
        store.set(PATH, Features::enabled().encode(), None).await.unwrap();
        read(2).await;
        store.set(PATH, b"{".to_vec(), None).await.unwrap();
        read(-1).await;
    }

    #[tokio::test]
    async fn a_change_is_followed() {
        let store = Store::in_memory(MemoryTree::new());
        let features = Arc::new(FinalizedFeatures::default());
        let following = tokio::spawn(Arc::clone(&features).follow(store.clone()));
        store
            .create(PATH, Features::enabled().encode(), CreateMode::Persistent)
            .await
            .unwrap();
        store.set(PATH, Features::enabled().encode(), None).await.unwrap();
        while features.epoch() != 1 {
            tokio::task::yield_now().await;
        }
        following.abort();
    }
}
