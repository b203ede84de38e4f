//! Waiting until this broker's metadata shows what was asked of ZooKeeper, since clients ask it next.
//!
//! Source: Kafka 3.9 `DelayedCreatePartitions`, `DelayedDeleteTopics`.

use std::time::Duration;

use model::BrokerId;
use tokio::time::Instant;

use super::RequestContext;
use crate::metadata::MetadataImage;

/// When a request with this `timeout_ms` gives up.
pub(super) fn deadline(timeout_ms: i32) -> Instant {
    Instant::now() + Duration::from_millis(u64::try_from(timeout_ms).unwrap_or(0))
}

/// Whether `shown` came true before the deadline.
pub(super) async fn until(cx: &RequestContext, deadline: Instant, shown: impl Fn(&MetadataImage) -> bool) -> bool {
    let mut changes = cx.broker.metadata.changes();
    loop {
        if shown(&cx.broker.metadata.snapshot()) {
            return true;
        }
        match tokio::time::timeout_at(deadline, changes.changed()).await {
            Ok(Ok(())) => {}
            Ok(Err(_)) | Err(_) => return false,
        }
    }
}

/// Whether each of the topic's partitions has a leader.
pub(super) fn is_led(image: &MetadataImage, topic: &str, mut partitions: impl Iterator<Item = i32>) -> bool {
    partitions.all(|partition| {
        image
            .partition(topic, partition)
            .is_some_and(|partition| partition.leader != BrokerId::NONE)
    })
}
