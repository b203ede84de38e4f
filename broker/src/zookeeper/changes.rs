//! Follows `/config/changes`: every broker applies what others have changed.
//!
//! Says for each notification that is new which entity's configuration is now what. A notification is only a hint to
//! read again: several about one entity are one change. With every new session everything is read, since
//! notifications live 15 minutes and this broker may have been away for longer.
//!
//! Source: Kafka 3.9 `ZkConfigManager`.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use model::Millis;
use zk_schema::config::{Entity, changes};
use zk_schema_store::{Notices, Obey, ReadAll, Store, StoreError};

use super::{AdminError, configs};

/// What is now set for an entity.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigChange {
    /// For whom.
    pub entity: Entity,
    /// All that is set; empty where nothing is any more.
    pub config: BTreeMap<String, String>,
}

/// Applies changes for ever; end it by dropping the future. `apply` first gets everything that is set.
pub async fn follow(store: Store, now: fn() -> Millis, apply: impl FnMut(ConfigChange) + Send) {
    let mut follower = Follower {
        store: store.clone(),
        known: BTreeSet::new(),
        apply,
    };
    let notices = Notices::new(changes::PATH, changes::NAME_PREFIX, ReadAll::EverySession);
    notices.follow(&store, now, &mut follower).await;
}

struct Follower<F> {
    store: Store,
    /// Who had a configuration when it was last read: with the next session, who has none any more must be told too.
    known: BTreeSet<Entity>,
    apply: F,
}

impl<F: FnMut(ConfigChange) + Send> Follower<F> {
    fn is_now(&mut self, entity: Entity, config: BTreeMap<String, String>) {
        // Topics always have one; they go with the controller's word.
        if !matches!(entity, Entity::Topic(_)) {
            match config.is_empty() {
                true => self.known.remove(&entity),
                false => self.known.insert(entity.clone()),
            };
        }
        (self.apply)(ConfigChange { entity, config });
    }
}

impl<F: FnMut(ConfigChange) + Send> Obey for Follower<F> {
    async fn read_all(&mut self) -> Result<(), StoreError> {
        let all = configs::read_all(&self.store, &configs::KINDS)
            .await
            .map_err(of_store)?;
        let mut gone = std::mem::take(&mut self.known);
        for (entity, config) in all {
            gone.remove(&entity);
            self.is_now(entity, config);
        }
        for entity in gone {
            self.is_now(entity, BTreeMap::new());
        }
        Ok(())
    }

    async fn read(&mut self, notices: Vec<Bytes>) -> Result<(), StoreError> {
        let mut entities = BTreeSet::new();
        for notice in notices {
            match changes::decode(&notice) {
                Ok(entity) => {
                    entities.insert(entity);
                }
                Err(error) => tracing::error!(%error, "a change notification cannot be understood"),
            }
        }
        for entity in entities {
            match configs::read(&self.store, &entity).await {
                Ok(config) => self.is_now(entity, config),
                Err(AdminError::Znode(error)) => {
                    tracing::error!(%error, "a changed configuration cannot be understood")
                }
                Err(error) => return Err(of_store(error)),
            }
        }
        Ok(())
    }
}

fn of_store(error: AdminError) -> StoreError {
    match error {
        AdminError::Store(error) => error,
        other => StoreError::Other(other.to_string()),
    }
}

#[cfg(test)]
#[path = "changes_tests.rs"]
mod tests;
