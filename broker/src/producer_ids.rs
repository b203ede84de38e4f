//! Ids for idempotent producers: taken from a block that this broker reserved in `/latest_producer_id_block`.
//!
//! A block of 1,000 is claimed by a versioned write, so that no id is ever given twice in a cluster, whoever writes:
//! this broker, or a Kafka broker or controller. Ids of a block that was not used up are lost at a restart, as Kafka's.
//! Source: Kafka 3.9 `ZkProducerIdManager`.

use model::{BrokerId, ProducerId};
use tokio::sync::Mutex;
use zk_schema::producer_id_block::{self as znode, ProducerIdBlock};
use zk_schema_store::{Store, StoreError};

/// Another broker wins the race for a block only so often before the request is refused, for the client to try again.
const MAX_ATTEMPTS: usize = 100;

/// Why there is no id.
#[derive(Debug, thiserror::Error)]
pub enum NoProducerId {
    /// ZooKeeper does not answer.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The znode holds something else.
    #[error("{path} cannot be read: {cause}", path = znode::PATH)]
    Malformed {
        /// What is wrong.
        cause: String,
    },
    /// All 2⁶³ ids are given away.
    #[error("producer ids are used up")]
    Exhausted,
    /// Other brokers were always faster.
    #[error("{path} changed {MAX_ATTEMPTS} times while a block was being claimed", path = znode::PATH)]
    Contended,
}

/// The ids of this broker's block that are not given away yet.
#[derive(Debug, Default)]
pub struct ProducerIds {
    block: Mutex<Option<core::ops::Range<i64>>>,
}

impl ProducerIds {
    /// The next id; claims a block when there is none left.
    ///
    /// # Errors
    /// No block can be claimed.
    pub async fn next(&self, store: &Store, broker: BrokerId) -> Result<ProducerId, NoProducerId> {
        // Held over the await on purpose: who comes meanwhile wants an id of the very block that is being claimed.
        let mut block = self.block.lock().await;
        loop {
            if let Some(id) = block.as_mut().and_then(Iterator::next) {
                return Ok(ProducerId(id));
            }
            *block = Some(claim(store, broker).await?);
        }
    }
}

async fn claim(store: &Store, broker: BrokerId) -> Result<core::ops::Range<i64>, NoProducerId> {
    for _ in 0..MAX_ATTEMPTS {
        let (data, version) = match store.get(znode::PATH).await? {
            Some((data, stat)) => (data, stat.version),
            None => {
                store
                    .create_recursive(znode::PATH, Vec::new(), zk_schema_store::CreateMode::Persistent)
                    .await?;
                continue;
            }
        };
        let latest = ProducerIdBlock::decode(&data).map_err(|cause| NoProducerId::Malformed {
            cause: cause.to_string(),
        })?;
        let claimed = ProducerIdBlock::after(latest.as_ref(), broker).ok_or(NoProducerId::Exhausted)?;
        match store.set(znode::PATH, claimed.encode(), Some(version)).await {
            Ok(_) => {
                tracing::info!(first = %claimed.first, last = %claimed.last, "claimed a block of producer ids");
                return Ok(claimed.first.0..claimed.last.0 + 1);
            }
            Err(StoreError::BadVersion { .. }) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Err(NoProducerId::Contended)
}
