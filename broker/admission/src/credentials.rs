//! Everybody's SCRAM credentials, read from `/config/users` and followed by the notices in `/config/changes`.
//!
//! For a program that needs nothing else of those: a broker follows all configurations at once, and passes users' on.
//!
//! Source: Kafka 3.9 `CredentialProvider`, `UserConfigHandler`.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use broker_security::sasl::scram::ScramCache;
use bytes::Bytes;
use zk_schema::config::{self, Entity, changes};
use zk_schema_store::{Notices, Obey, ReadAll, Store, StoreError};

use crate::clock;

/// Keeps `cache` as ZooKeeper has it.
#[derive(Debug)]
pub struct Credentials {
    store: Store,
    cache: Arc<ScramCache>,
    /// Who had a configuration when it was last read.
    known: BTreeSet<String>,
}

impl Credentials {
    /// Reads everybody's, before anybody may log in.
    ///
    /// # Errors
    /// ZooKeeper has not answered.
    pub async fn load(store: Store, cache: Arc<ScramCache>) -> Result<Self, StoreError> {
        let mut credentials = Self {
            store,
            cache,
            known: BTreeSet::new(),
        };
        credentials.read_all().await?;
        Ok(credentials)
    }

    /// Follows changes until the store is closed; end it by dropping the future.
    pub async fn follow(mut self) {
        let store = self.store.clone();
        let notices = Notices::new(changes::PATH, changes::NAME_PREFIX, ReadAll::EverySession);
        notices.follow(&store, clock::now, &mut self).await;
    }

    /// What cannot be understood is logged, and what was known before stays.
    async fn read_users(&mut self, users: BTreeSet<String>) -> Result<(), StoreError> {
        let path = |user: &String| Entity::User(Some(user.clone())).path();
        let found = self.store.get_all(users.iter().map(path)).await;
        for (user, found) in users.into_iter().zip(found) {
            let path = path(&user);
            let config = match found? {
                None => BTreeMap::new(),
                Some((data, _)) => match config::decode(&path, &data) {
                    Ok(config) => config,
                    Err(error) => {
                        tracing::error!(%error, "a user's configuration cannot be understood");
                        continue;
                    }
                },
            };
            self.cache.user_changed(&user, &config);
            match config.is_empty() {
                true => self.known.remove(&user),
                false => self.known.insert(user),
            };
        }
        Ok(())
    }
}

impl Obey for Credentials {
    async fn read_all(&mut self) -> Result<(), StoreError> {
        let names = self.store.get_children("/config/users").await?.unwrap_or_default();
        let user = |name: String| match Entity::from_relative_path(&format!("users/{name}")) {
            Some(Entity::User(Some(user))) => Some(user),
            _ => None,
        };
        let mut users: BTreeSet<String> = names.into_iter().filter_map(user).collect();
        users.extend(self.known.iter().cloned());
        self.read_users(users).await
    }

    async fn read(&mut self, notices: Vec<Bytes>) -> Result<(), StoreError> {
        let user = |notice: Bytes| match changes::decode(&notice) {
            Ok(Entity::User(user)) => user,
            Ok(_) => None,
            Err(error) => {
                tracing::error!(%error, "a change notification cannot be understood");
                None
            }
        };
        self.read_users(notices.into_iter().filter_map(user).collect()).await
    }
}

#[cfg(test)]
mod tests {
    use broker_security::sasl::scram::ScramCredentials;
    use broker_security::sasl::{ScramCredential, ScramMechanism};
    use zk_schema_store::{CreateMode, MemoryTree};

    use super::*;

    async fn set(store: &Store, user: &str, password: Option<&str>) {
        let entity = Entity::User(Some(user.into()));
        let path = entity.path();
        match password {
            None => store.delete(&path, None).await.unwrap(),
            Some(password) => {
                let credential = ScramCredential::of_password(ScramMechanism::Sha256, password, 4096).unwrap();
                let config = BTreeMap::from([("SCRAM-SHA-256".to_owned(), credential.to_text())]);
                let created = store.create_recursive(&path, config::encode(&config), CreateMode::Persistent);
                created.await.unwrap();
            }
        }
        let notice = store.create_recursive(
            changes::PREFIX,
            changes::encode(&entity),
            CreateMode::PersistentSequential,
        );
        notice.await.unwrap();
    }

    #[tokio::test]
    async fn users_that_come_and_go_are_known_and_forgotten() {
        let tree = MemoryTree::new();
        let store = Store::in_memory(tree.clone());
        set(&store, "alice", Some("a")).await;
        set(&store, "a b%/c", Some("b")).await;
        let cache = Arc::new(ScramCache::default());
        let knows = |user: &str| cache.credential(ScramMechanism::Sha256, user).is_some();
        let own = Store::in_memory(tree.clone());
        let credentials = Credentials::load(own.clone(), Arc::clone(&cache)).await.unwrap();
        assert!(knows("alice") && knows("a b%/c") && !knows("bob"));
        let following = tokio::spawn(credentials.follow());
        let settle = async || {
            for _ in 0..100 {
                tokio::task::yield_now().await;
            }
        };
        settle().await;
        set(&store, "bob", Some("c")).await;
        set(&store, "alice", None).await;
        settle().await;
        assert!(!knows("alice") && knows("bob"));
        own.close().await;
        following.await.unwrap();
    }
}
