//! Dynamic configurations in ZooKeeper: read, replaced, announced.
//!
//! A write checks that `/controller` has not changed since it was looked at, so that nothing is written past a KRaft
//! controller that has taken the cluster over; the last writer wins, as in Kafka. A change is followed by a
//! notification under `/config/changes`, upon which every broker reads the entity again; a topic's creation is not.
//!
//! Source: Kafka 3.9 `KafkaZkClient.setOrCreateEntityConfigs`, `AdminZkClient.changeEntityConfig`.

use std::collections::BTreeMap;
use std::time::Duration;

use broker_wire::ErrorCode;
use futures::future::join_all;
use zk_schema::config::{self, Entity, changes};
use zk_schema::controller::{self, Controller};
use zk_schema_store::{CreateMode, MultiError, Op, Store, StoreError};

use super::AdminError;

/// How long a write waits for the cluster to have a controller.
const CONTROLLER_WAIT: Duration = Duration::from_millis(if cfg!(test) { 300 } else { 5000 });
/// So many users are asked for their clients at a time.
const LISTED_AT_ONCE: usize = 64;
/// How often a write is tried anew because the controller changed under it.
const ATTEMPTS_MAX: usize = 10;

/// What is set for `entity`; nothing where there is no znode.
///
/// # Errors
/// ZooKeeper has not answered, or a value is not a string.
pub async fn read(store: &Store, entity: &Entity) -> Result<BTreeMap<String, String>, AdminError> {
    let path = entity.path();
    match store.get(&path).await? {
        None => Ok(BTreeMap::new()),
        Some((data, _)) => Ok(config::decode(&path, &data)?),
    }
}

/// Replaces what is set for `entity`, and announces it. Quota entities with nothing left are deleted instead, with
/// parents that only held them.
///
/// # Errors
/// There is no controller, or a KRaft one, or ZooKeeper did not do it.
pub async fn change(store: &Store, entity: &Entity, config: &BTreeMap<String, String>) -> Result<(), AdminError> {
    if !config.is_empty() || !delete_empty(store, entity).await? {
        set_or_create(store, entity, config).await?;
    }
    let notification = changes::encode(entity);
    store
        .create_recursive(changes::PREFIX, notification, CreateMode::PersistentSequential)
        .await?;
    Ok(())
}

/// Replaces what is set for `entity` without announcing it.
///
/// # Errors
/// As [`change`].
pub async fn set_or_create(
    store: &Store,
    entity: &Entity,
    config: &BTreeMap<String, String>,
) -> Result<(), AdminError> {
    let path = entity.path();
    let data = config::encode(config);
    for _ in 0..ATTEMPTS_MAX {
        let controller_version = controller_version(store).await?;
        let ops = vec![
            Op::check(controller::PATH, controller_version),
            Op::set(path.as_str(), data.as_slice(), None),
        ];
        match store.multi(ops).await {
            Ok(_) => return Ok(()),
            Err(MultiError {
                index: Some(1),
                source: StoreError::NoNode { .. },
            }) => match store
                .create_recursive(&path, data.as_slice(), CreateMode::Persistent)
                .await
            {
                Ok(_) => return Ok(()),
                Err(StoreError::NodeExists { .. }) => {}
                Err(error) => return Err(error.into()),
            },
            // Another controller: look again whether it is one of ours.
            Err(MultiError {
                index: Some(0),
                source: StoreError::NoNode { .. } | StoreError::BadVersion { .. },
            }) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Err(no_controller(entity))
}

/// The kinds of entities that have configurations.
pub const KINDS: [&str; 5] = ["topics", "clients", "users", "brokers", "ips"];

/// Every entity of these kinds that has a configuration, read in one go: what a broker applies when it starts, and again
/// whenever it may have missed notifications.
///
/// # Errors
/// ZooKeeper has not answered. Entities that cannot be understood are left out, and said.
pub async fn read_all(store: &Store, kinds: &[&str]) -> Result<Vec<(Entity, BTreeMap<String, String>)>, AdminError> {
    let mut names = Vec::new();
    for kind in kinds {
        let children = store.get_children(&format!("/config/{kind}")).await?;
        let children = children.unwrap_or_default();
        if *kind == "users" {
            for some in children.chunks(LISTED_AT_ONCE) {
                let listed = some.iter().map(|user| clients_of(store.clone(), user.clone()));
                for clients in join_all(listed).await {
                    names.extend(clients?);
                }
            }
        }
        names.extend(children.into_iter().map(|name| format!("{kind}/{name}")));
    }
    let found = store.get_all(names.iter().map(|name| format!("/config/{name}"))).await;
    let mut entities = Vec::with_capacity(names.len());
    for (name, found) in names.iter().zip(found) {
        let Some((data, _)) = found? else { continue };
        let Some(entity) = Entity::from_relative_path(name) else {
            tracing::warn!(path = name, "unknown kind of configuration");
            continue;
        };
        match config::decode(&entity.path(), &data) {
            Ok(config) => entities.push((entity, config)),
            Err(error) => tracing::error!(%error, "configuration cannot be understood and is left out"),
        }
    }
    Ok(entities)
}

/// The entities of a user's clients, as paths below `/config`.
async fn clients_of(store: Store, user: String) -> Result<Vec<String>, AdminError> {
    let clients = store.get_children(&format!("/config/users/{user}/clients")).await?;
    let path = |client: String| format!("users/{user}/clients/{client}");
    Ok(clients.unwrap_or_default().into_iter().map(path).collect())
}

/// The data version of `/controller`, once there is one of a ZooKeeper cluster.
async fn controller_version(store: &Store) -> Result<i32, AdminError> {
    let deadline = tokio::time::Instant::now() + CONTROLLER_WAIT;
    loop {
        let (found, mut watch) = store.watch_data(controller::PATH).await?;
        if let Some((data, stat)) = found {
            let controller = Controller::decode(&data)?;
            if controller.kraft_controller_epoch > 0 {
                return Err(AdminError::refused(
                    ErrorCode::StaleControllerEpoch,
                    "Cannot set entity configs directly when there is a KRaft controller.",
                ));
            }
            return Ok(stat.version);
        }
        // An election takes milliseconds; Kafka refuses at once.
        if tokio::time::timeout_at(deadline, watch.changed()).await.is_err() {
            return Err(AdminError::refused(
                ErrorCode::StaleControllerEpoch,
                "Cannot set entity configs when there is no controller.",
            ));
        }
    }
}

fn no_controller(entity: &Entity) -> AdminError {
    AdminError::refused(
        ErrorCode::StaleControllerEpoch,
        format!(
            "Cannot set entity configs for {} while controllers change.",
            entity.relative_path()
        ),
    )
}

/// Deletes the znode of a quota entity without children, with its parents if they held nothing else; whether it did.
/// Source: Kafka 3.9 `AdminZkClient.tryCleanQuotaNodes`.
async fn delete_empty(store: &Store, entity: &Entity) -> Result<bool, AdminError> {
    let path = entity.path();
    match entity {
        Entity::Topic(_) | Entity::Broker(_) => return Ok(false),
        Entity::Client(_) | Entity::User(_) | Entity::UserClient(..) | Entity::Ip(_) => {}
    }
    let children =
        |path: String| async move { Ok::<_, AdminError>(store.get_children(&path).await?.unwrap_or_default()) };
    if !children(path.clone()).await?.is_empty() {
        return Ok(false);
    }
    let mut delete = path.clone();
    if let Entity::UserClient(user, _) = entity {
        let user = Entity::User(user.clone());
        let clients = format!("{}/clients", user.path());
        let only = |found: &[String], name: &str| found.len() == 1 && found[0] == name;
        if only(
            &children(clients.clone()).await?,
            path.rsplit('/').next().unwrap_or_default(),
        ) {
            delete = clients;
            if read(store, &user).await?.is_empty() && only(&children(user.path()).await?, "clients") {
                delete = user.path();
            }
        }
    }
    store.delete_recursive(&delete).await?;
    Ok(true)
}

#[cfg(test)]
#[path = "configs_tests.rs"]
mod tests;
