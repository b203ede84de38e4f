//! Proposals that have not been sent yet.

use hashbrown::HashMap;
use model::{TopicId, TopicPartition};
use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::partition::Proposal;

/// A proposal on its way to the controller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Submitted {
    /// Of which partition.
    pub partition: TopicPartition,
    /// The id of its topic, where it has one.
    pub topic_id: Option<TopicId>,
    /// The change.
    pub proposal: Proposal,
}

/// What leaders here propose, at most one for each partition: bounded by the partitions led.
#[derive(Debug, Default)]
pub struct Proposals {
    waiting: Mutex<HashMap<TopicPartition, Submitted>>,
    came: Notify,
}

impl Proposals {
    /// Takes a proposal in. One of the same partition that has not been sent yet is overtaken by it: a partition makes
    /// another only once its state has changed.
    pub fn submit(&self, partition: TopicPartition, topic_id: Option<TopicId>, proposal: Proposal) {
        let submitted = Submitted {
            partition: partition.clone(),
            topic_id,
            proposal,
        };
        self.waiting.lock().insert(partition, submitted);
        self.came.notify_one();
    }

    /// Puts one back that has to be sent again, unless the partition has made another since.
    pub fn again(&self, submitted: Submitted) {
        self.waiting
            .lock()
            .entry(submitted.partition.clone())
            .or_insert(submitted);
        self.came.notify_one();
    }

    /// Waits until there is something to send, and takes all of it.
    pub async fn next_batch(&self) -> Vec<Submitted> {
        loop {
            let batch: Vec<_> = self.waiting.lock().drain().map(|(_, submitted)| submitted).collect();
            if !batch.is_empty() {
                return batch;
            }
            self.came.notified().await;
        }
    }
}
