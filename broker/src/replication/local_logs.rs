//! The logs of this broker, as a fetcher's core sees them.

use std::sync::Arc;

use broker_log::Log;
use broker_replica::follower::{EpochEnd, LocalLogs, LogOffsets};
use model::{LeaderEpoch, TopicPartition};

use crate::partition::{Lookup, Partition, Partitions};
use crate::{Broker, clock};

/// The logs of the partitions that are hosted here.
#[derive(Clone)]
pub(super) struct BrokerLogs {
    broker: Arc<Broker>,
}

impl BrokerLogs {
    pub(super) fn new(broker: &Arc<Broker>) -> Self {
        Self {
            broker: Arc::clone(broker),
        }
    }

    /// The partition, while it is hosted and its directory works.
    pub(super) fn of(partitions: &Partitions, name: &TopicPartition) -> Option<Arc<Partition>> {
        match partitions.lookup(&name.topic, name.partition) {
            Lookup::Online(partition) => Some(partition),
            Lookup::Offline | Lookup::None => None,
        }
    }

    /// As [`Self::of`].
    pub(super) fn partition(&self, name: &TopicPartition) -> Option<Arc<Partition>> {
        Self::of(&self.broker.partitions, name)
    }

    /// Its log.
    pub(super) fn log(&self, name: &TopicPartition) -> Option<Arc<Log>> {
        self.partition(name)?.log().filter(|log| !log.is_offline())
    }
}

impl LocalLogs for BrokerLogs {
    fn offsets(&self, partition: &TopicPartition) -> Option<LogOffsets> {
        self.log(partition).map(|log| offsets(&log))
    }

    fn end_offset_for_epoch(&self, partition: &TopicPartition, epoch: LeaderEpoch) -> Option<EpochEnd> {
        self.log(partition).and_then(|log| epoch_end(&log, epoch))
    }

    fn is_throttled(&self, name: &TopicPartition) -> bool {
        let quota = &self.broker.replication_quotas.follower;
        quota.is_throttled(&name.topic, name.partition) && quota.is_exceeded(clock::now())
    }
}

/// Where `log` stands.
pub(super) fn offsets(log: &Log) -> LogOffsets {
    LogOffsets {
        log_start_offset: log.log_start_offset(),
        log_end_offset: log.log_end_offset(),
        latest_epoch: log.latest_epoch(),
    }
}

/// Where the records of the largest epoch at or below `epoch` end in `log`.
pub(super) fn epoch_end(log: &Log, epoch: LeaderEpoch) -> Option<EpochEnd> {
    log.end_offset_for_epoch(epoch).map(|end| EpochEnd {
        leader_epoch: end.leader_epoch,
        end_offset: end.end_offset,
    })
}
