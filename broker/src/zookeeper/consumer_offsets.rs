//! Offsets in ZooKeeper: OffsetCommit and OffsetFetch version 0.
//!
//! Source: Kafka 3.9 `KafkaZkClient.setOrCreateConsumerOffset`, `getConsumerOffset`.

use model::Offset;
use zk_schema::consumers;
use zk_schema_store::{CreateMode, Store, StoreError};

use super::AdminError;

/// Stores a group's offset of a partition.
///
/// # Errors
/// The group's name cannot be part of a path, or ZooKeeper did not do it.
pub async fn commit(store: &Store, group: &str, topic: &str, partition: i32, offset: Offset) -> Result<(), AdminError> {
    check_group(group)?;
    let path = consumers::offset_path(group, topic, partition);
    let data = consumers::encode_offset(offset);
    match store.set(&path, data.as_slice(), None).await {
        Ok(_) => return Ok(()),
        Err(StoreError::NoNode { .. }) => {}
        Err(error) => return Err(error.into()),
    }
    match store
        .create_recursive(&path, data.as_slice(), CreateMode::Persistent)
        .await
    {
        Ok(_) => Ok(()),
        Err(StoreError::NodeExists { .. }) => Ok(store.set(&path, data, None).await.map(drop)?),
        Err(error) => Err(error.into()),
    }
}

/// A group's offset of a partition, if it has stored one.
///
/// # Errors
/// The group's name cannot be part of a path, ZooKeeper has not answered, or the znode holds no number.
pub async fn fetch(store: &Store, group: &str, topic: &str, partition: i32) -> Result<Option<Offset>, AdminError> {
    check_group(group)?;
    match store.get(&consumers::offset_path(group, topic, partition)).await? {
        None => Ok(None),
        Some((data, _)) if data.is_empty() => Ok(None),
        Some((data, _)) => Ok(Some(consumers::decode_offset(&data)?)),
    }
}

fn check_group(group: &str) -> Result<(), AdminError> {
    match consumers::is_valid_group(group) {
        true => Ok(()),
        false => Err(AdminError::refused(
            broker_wire::ErrorCode::InvalidGroupId,
            format!("The group '{group}' cannot be stored in ZooKeeper."),
        )),
    }
}

#[cfg(test)]
mod tests {
    use zk_schema_store::MemoryTree;

    use super::*;

    #[tokio::test]
    async fn an_offset_comes_back() {
        let tree = MemoryTree::new();
        let store = Store::in_memory(tree.clone());
        assert_eq!(fetch(&store, "g", "t", 0).await, Ok(None));
        for offset in [17, 3] {
            commit(&store, "g", "t", 0, Offset(offset)).await.unwrap();
            assert_eq!(fetch(&store, "g", "t", 0).await, Ok(Some(Offset(offset))));
        }
        assert_eq!(tree.dump()["/consumers/g/offsets/t/0"], "3");
        for bad in ["", "a/b", ".."] {
            assert!(commit(&store, bad, "t", 0, Offset(1)).await.is_err(), "{bad}");
        }
    }
}
