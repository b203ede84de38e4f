//! What follows when a log directory fails: the controller hears of it, and the last one ends the broker.
//!
//! The partitions have been taken offline by then. Source: Kafka 3.9 `ReplicaManager.handleLogDirFailure`,
//! `KafkaZkClient.propagateLogDirEvent`.

use std::path::PathBuf;
use std::sync::Weak;
use std::time::Duration;

use broker_log::Logs;
use model::BrokerId;
use tokio::sync::mpsc::UnboundedReceiver;
use tracing::warn;
use zk_schema::notifications::{LOG_DIR_EVENT_PREFIX, encode_log_dir_failure};
use zk_schema_store::{CreateMode, Store, StoreError};

/// How long telling the controller rests after it has failed.
const RETRY_PAUSE: Duration = Duration::from_secs(1);

/// Tells the controller of each failure, until no directory is left: then it answers all of them, and the broker must
/// end. `failures` holds one message a failure.
pub(super) async fn watch(
    mut failures: UnboundedReceiver<()>,
    logs: Weak<Logs>,
    store: Store,
    id: BrokerId,
) -> Vec<PathBuf> {
    while failures.recv().await.is_some() {
        let Some(dirs) = logs.upgrade().map(|logs| (logs.live_dirs(), logs.dirs())) else {
            break;
        };
        match dirs {
            (live, all) if live.is_empty() => return all.into_iter().map(|dir| dir.dir).collect(),
            _ => tell_controller(&store, id).await,
        }
    }
    // The logs are being closed: the broker ends anyway.
    std::future::pending().await
}

/// The controller asks this broker for its partitions (LeaderAndIsr) and moves the leaderships of those that failed.
async fn tell_controller(store: &Store, id: BrokerId) {
    loop {
        match store
            .create(
                LOG_DIR_EVENT_PREFIX,
                encode_log_dir_failure(id),
                CreateMode::PersistentSequential,
            )
            .await
        {
            Ok(_) | Err(StoreError::Closed) => return,
            Err(error) => warn!(%error, "the controller could not be told of a failed log directory; trying again"),
        }
        tokio::time::sleep(RETRY_PAUSE).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use zk_schema_store::MemoryTree;

    #[tokio::test]
    async fn the_controller_is_told_as_kafka_tells_it() {
        let store = Store::in_memory(MemoryTree::new());
        store
            .create("/log_dir_event_notification", Vec::new(), CreateMode::Persistent)
            .await
            .unwrap();
        tell_controller(&store, BrokerId(2)).await;
        let (data, _) = store
            .get("/log_dir_event_notification/log_dir_event_0000000000")
            .await
            .unwrap()
            .unwrap();
        assert_eq!(data, br#"{"version":1,"broker":2,"event":1}"#.as_slice());
    }
}
