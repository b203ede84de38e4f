//! Follows `/config/changes`: every broker applies what others have changed.
//!
//! Says for each notification that is new which entity's configuration is now what. A notification is only a hint to
//! read again: several about one entity are one change. With every new session everything is read, since
//! notifications live 15 minutes and this broker may have been away for longer. Deletes notifications that old, as
//! every broker does.
//!
//! Source: Kafka 3.9 `ZkNodeChangeNotificationListener`, `ZkConfigManager`.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use model::Millis;
use zk_schema::config::{Entity, changes};
use zk_schema_store::{SessionState, Store, StoreError};

use super::{AdminError, configs};

/// How long a notification is kept.
const EXPIRATION_MS: i64 = 15 * 60 * 1000;
/// How long to wait after a failure that no session change explains.
const RETRY_PAUSE: Duration = Duration::from_secs(1);

/// What is now set for an entity.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigChange {
    /// For whom.
    pub entity: Entity,
    /// All that is set; empty where nothing is any more.
    pub config: BTreeMap<String, String>,
}

/// What has been seen of the notifications.
#[derive(Debug, Default)]
struct Seen {
    /// The last one that was applied.
    last: Option<u64>,
    /// The session in which everything was read.
    generation: u64,
    /// Who had a configuration when it was last read: with the next session, who has none any more must be told too.
    known: BTreeSet<Entity>,
}

impl Seen {
    fn remember(&mut self, entity: &Entity, config: &BTreeMap<String, String>) {
        // Topics always have one; they go with the controller's word.
        if matches!(entity, Entity::Topic(_)) {
            return;
        }
        if config.is_empty() {
            self.known.remove(entity);
        } else {
            self.known.insert(entity.clone());
        }
    }
}

/// Applies changes for ever; end it by dropping the future. `apply` first gets everything that is set.
pub async fn follow(store: Store, now: fn() -> Millis, mut apply: impl FnMut(ConfigChange) + Send) {
    let mut seen = Seen::default();
    let mut session = store.session();
    loop {
        let state = *session.borrow_and_update();
        let pass = match state {
            SessionState::Closed => return,
            SessionState::Connected { generation, .. } => pass(&store, &mut seen, generation, now(), &mut apply).await,
            SessionState::Disconnected { .. } | SessionState::Expired { .. } => {
                if session.changed().await.is_err() {
                    return;
                }
                continue;
            }
        };
        match pass {
            Ok(mut watch) => watch.changed().await,
            Err(AdminError::Store(StoreError::Closed)) => return,
            Err(error) => {
                tracing::warn!(%error, "configuration changes could not be read and will be tried again");
                // A new session needs no pause.
                let _: Result<_, tokio::time::error::Elapsed> =
                    tokio::time::timeout(RETRY_PAUSE, session.changed()).await;
            }
        }
    }
}

/// Applies what is new, purges what is old; the watch fires when there may be more.
async fn pass(
    store: &Store,
    seen: &mut Seen,
    generation: u64,
    now: Millis,
    apply: &mut (impl FnMut(ConfigChange) + Send),
) -> Result<zk_schema_store::Watch, AdminError> {
    let (children, watch) = store.watch_children(changes::PATH).await?;
    let mut numbered: Vec<(u64, String)> = children
        .unwrap_or_default()
        .into_iter()
        .filter_map(|name| Some((name.strip_prefix(changes::NAME_PREFIX)?.parse().ok()?, name)))
        .collect();
    numbered.sort();
    let newest = numbered.last().map(|(number, _)| *number);
    if seen.generation == generation {
        let fresh = numbered
            .iter()
            .filter(|(number, _)| seen.last.is_none_or(|last| *number > last));
        let paths: Vec<String> = fresh.map(|(_, name)| format!("{}/{name}", changes::PATH)).collect();
        let mut entities = BTreeSet::new();
        for found in store.get_all(paths).await {
            // Purged by another broker meanwhile: whoever is that late reads everything with its new session.
            let Some((data, _)) = found? else { continue };
            match changes::decode(&data) {
                Ok(entity) => {
                    entities.insert(entity);
                }
                Err(error) => tracing::error!(%error, "a change notification cannot be understood"),
            }
        }
        for entity in entities {
            match configs::read(store, &entity).await {
                Ok(config) => {
                    seen.remember(&entity, &config);
                    apply(ConfigChange { entity, config });
                }
                Err(AdminError::Znode(error)) => {
                    tracing::error!(%error, "a changed configuration cannot be understood")
                }
                Err(error) => return Err(error),
            }
        }
    } else {
        let all = configs::read_all(store, &configs::KINDS).await?;
        let mut gone = std::mem::take(&mut seen.known);
        for (entity, config) in all {
            gone.remove(&entity);
            seen.remember(&entity, &config);
            apply(ConfigChange { entity, config });
        }
        for entity in gone {
            let config = BTreeMap::new();
            apply(ConfigChange { entity, config });
        }
        seen.generation = generation;
    }
    seen.last = seen.last.max(newest);
    purge(store, numbered, now).await?;
    Ok(watch)
}

/// Deletes notifications that are too old, oldest first, until one is not.
async fn purge(store: &Store, numbered: Vec<(u64, String)>, now: Millis) -> Result<(), AdminError> {
    for (_, name) in numbered {
        let path = format!("{}/{name}", changes::PATH);
        let Some(stat) = store.exists(&path).await? else {
            continue;
        };
        if now.0.saturating_sub(stat.ctime) <= EXPIRATION_MS {
            return Ok(());
        }
        match store.delete(&path, None).await {
            Ok(()) | Err(StoreError::NoNode { .. }) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

#[cfg(test)]
#[path = "changes_tests.rs"]
mod tests;
