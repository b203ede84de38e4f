//! What this broker believes of the cluster: live brokers, the controller, every partition's leader.
//!
//! Written by `UpdateMetadata` (from the controller) alone, read by every request. Readers take a snapshot without a
//! lock; a writer builds the next one and swaps it in. It is a cache and may be behind: decisions that matter are
//! fenced by epochs, never taken from here alone. Source: Kafka 3.9 `ZkMetadataCache`.

mod image;

use std::collections::BTreeMap;
use std::sync::Arc;

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

    /// The live brokers by id.
    pub fn live_brokers(&self) -> BTreeMap<BrokerId, Arc<LiveBroker>> {
        self.image.load().brokers.clone()
    }
}
