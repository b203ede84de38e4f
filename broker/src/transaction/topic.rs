//! How many partitions `__transaction_state` has.

use model::TRANSACTION_STATE_TOPIC;
use zk_schema::brokers::topics::{self, TopicAssignment};
use zk_schema_store::Store;

use super::loading::LoadError;

/// The number of partitions, from ZooKeeper: a metadata cache may know only some of them while the topic is being created,
/// and an id that is looked for in the wrong partition has lost its transactions.
pub(super) async fn partition_count(store: &Store) -> Result<i32, LoadError> {
    let path = topics::path(TRANSACTION_STATE_TOPIC);
    let (data, _) = store.get(&path).await?.ok_or(LoadError::NoTopic)?;
    let assignment = TopicAssignment::decode(TRANSACTION_STATE_TOPIC, &data)?;
    i32::try_from(assignment.partitions.len()).map_err(|_too_many| LoadError::NoTopic)
}
