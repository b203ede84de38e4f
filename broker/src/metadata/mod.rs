//! What this broker believes of the cluster: live brokers, the controller, every partition's leader.
//!
//! Written by `UpdateMetadata` (from the controller) alone, read by every request. Readers take a snapshot without a
//! lock; a writer builds the next one and swaps it in. It is a cache and may be behind: decisions that matter are
//! fenced by epochs, never taken from here alone. Source: Kafka 3.9 `ZkMetadataCache`.

mod image;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::{ArcSwap, Guard};
use kafka_protocol::messages::UpdateMetadataRequest;
use model::BrokerId;
use parking_lot::Mutex;
use tokio::sync::watch;

pub use image::{Endpoint, LEADER_DURING_DELETE, LiveBroker, MetadataImage, PartitionImage, TopicImage};

/// The cache: a snapshot that is swapped, and a counter for those who wait for a change.
#[derive(Debug)]
pub struct MetadataCache {
    image: ArcSwap<MetadataImage>,
    /// Serialises writers; readers never take it.
    writer: Mutex<()>,
    changes: watch::Sender<u64>,
}

impl Default for MetadataCache {
    fn default() -> Self {
        Self {
            image: ArcSwap::default(),
            writer: Mutex::new(()),
            changes: watch::Sender::new(0),
        }
    }
}

impl MetadataCache {
    /// The snapshot of this moment.
    pub fn image(&self) -> Guard<Arc<MetadataImage>> {
        self.image.load()
    }

    /// The snapshot of this moment, to be kept across an await.
    pub fn snapshot(&self) -> Arc<MetadataImage> {
        self.image.load_full()
    }

    /// Applies what the controller said. Topics that it says are being deleted leave the image.
    pub fn update(&self, request: &UpdateMetadataRequest) {
        {
            let _one_writer = self.writer.lock();
            let next = self.image.load().updated(request);
            self.image.store(Arc::new(next));
        }
        self.changes.send_modify(|count| *count += 1);
    }

    /// A receiver that is marked changed after each update: `changed().await`, then look at [`Self::image`] again.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// Waits until the controller has said anything at all, at most for `limit`.
    ///
    /// Until then the image is empty, and whoever reads it would think that the cluster has no topics.
    pub async fn first_update(&self, limit: Duration) {
        let mut changes = self.changes.subscribe();
        let told = changes.wait_for(|count| *count > 0);
        // Too late: the caller shows what there is, which is what Kafka does at once.
        let _ = tokio::time::timeout(limit, told).await;
    }

    /// The live brokers by id.
    pub fn live_brokers(&self) -> BTreeMap<BrokerId, Arc<LiveBroker>> {
        self.image.load().brokers.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_first_update_is_waited_for_but_not_for_ever() {
        let cache = MetadataCache::default();
        let soon = Duration::from_secs(20);
        let never = tokio::time::timeout(soon, cache.first_update(Duration::from_millis(10)));
        assert_eq!(never.await, Ok(()), "nobody waits for ever");
        let update = async {
            tokio::time::sleep(Duration::from_millis(10)).await;
            cache.update(&UpdateMetadataRequest::default());
        };
        let (told, ()) = tokio::join!(tokio::time::timeout(soon, cache.first_update(soon * 2)), update);
        assert_eq!(told, Ok(()), "the update is noticed");
        let again = tokio::time::timeout(soon, cache.first_update(soon * 2));
        assert_eq!(again.await, Ok(()), "once told, nobody waits");
    }
}
