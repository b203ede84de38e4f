//! The order in which a node and its change notices are read, over a lost connection and a new session too.

use std::sync::Arc;

use model::BrokerId;
use parking_lot::Mutex;
use zk_schema::controller::{self, Controller};
use zk_schema_store::{CreateMode, MemoryTree, SessionState};

use super::*;

const NOW: Millis = Millis(1_000_000_000);

/// A tree with a controller, a store, what has been applied, and the follower at work.
struct Cluster {
    tree: MemoryTree,
    store: Store,
    applied: Arc<Mutex<Vec<(String, String)>>>,
}

impl Cluster {
    async fn new() -> Self {
        let tree = MemoryTree::new();
        tree.set_time(NOW.0);
        let store = Store::in_memory(tree.clone());
        for path in zk_schema::PERSISTENT_PATHS {
            store
                .create_recursive(path, Vec::new(), CreateMode::Persistent)
                .await
                .unwrap();
        }
        let controller = Controller::new(BrokerId(1), Millis(1)).encode();
        store
            .create(controller::PATH, controller, CreateMode::Persistent)
            .await
            .unwrap();
        Self {
            tree,
            store,
            applied: Arc::default(),
        }
    }

    fn follow(&self) -> (Store, tokio::task::JoinHandle<()>) {
        let store = Store::in_memory(self.tree.clone());
        let applied = Arc::clone(&self.applied);
        let apply = move |change: ConfigChange| {
            let value = change.config.get("x").cloned().unwrap_or_default();
            applied.lock().push((change.entity.relative_path(), value));
        };
        (store.clone(), tokio::spawn(follow(store, || NOW, apply)))
    }

    async fn change(&self, topic: &str, value: &str) {
        let config = BTreeMap::from([("x".to_owned(), value.to_owned())]);
        configs::change(&self.store, &Entity::Topic(topic.into()), &config)
            .await
            .unwrap();
    }

    /// Lets the follower run until it waits, then what it has applied since the last time.
    async fn applied(&self) -> Vec<(String, String)> {
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
        core::mem::take(&mut *self.applied.lock())
    }
}

fn is(applied: Vec<(String, String)>, expected: &[(&str, &str)]) {
    let applied: Vec<(&str, &str)> = applied
        .iter()
        .map(|(entity, value)| (entity.as_str(), value.as_str()))
        .collect();
    assert_eq!(applied, expected);
}

#[tokio::test]
async fn what_is_set_comes_first_and_then_each_change() {
    let cluster = Cluster::new().await;
    cluster.change("a", "1").await;
    let (_, following) = cluster.follow();
    is(cluster.applied().await, &[("topics/a", "1")]);
    cluster.change("b", "2").await;
    is(cluster.applied().await, &[("topics/b", "2")]);
    // Two changes of one topic before anybody looks are one.
    cluster.change("a", "3").await;
    cluster.change("a", "4").await;
    is(cluster.applied().await, &[("topics/a", "4")]);
    let garbage = cluster
        .store
        .create(changes::PREFIX, "garbage", CreateMode::PersistentSequential);
    garbage.await.unwrap();
    cluster.change("b", "5").await;
    is(cluster.applied().await, &[("topics/b", "5")]);
    following.abort();
}

#[tokio::test]
async fn a_lost_connection_misses_nothing_and_a_new_session_reads_everything() {
    let cluster = Cluster::new().await;
    let (store, following) = cluster.follow();
    cluster.change("a", "1").await;
    is(cluster.applied().await, &[("topics/a", "1")]);
    let SessionState::Connected { session_id, .. } = *store.session().borrow() else {
        panic!("connected")
    };
    cluster.tree.disconnect(session_id);
    cluster.change("b", "2").await;
    is(cluster.applied().await, &[]);
    cluster.tree.reconnect(session_id);
    is(cluster.applied().await, &[("topics/b", "2")]);
    cluster.tree.expire(session_id);
    cluster.change("c", "3").await;
    cluster.store.delete_recursive(changes::PATH).await.unwrap();
    cluster.tree.reconnect(session_id);
    is(
        cluster.applied().await,
        &[("topics/a", "1"), ("topics/b", "2"), ("topics/c", "3")],
    );
    following.abort();
}

#[tokio::test]
async fn who_lost_everything_while_nobody_looked_is_told_with_the_new_session() {
    let cluster = Cluster::new().await;
    let config = BTreeMap::from([("x".to_owned(), "1".to_owned())]);
    for user in ["alice", "bob"] {
        let entity = Entity::User(Some(user.into()));
        configs::change(&cluster.store, &entity, &config).await.unwrap();
    }
    let (store, following) = cluster.follow();
    is(cluster.applied().await, &[("users/alice", "1"), ("users/bob", "1")]);
    let SessionState::Connected { session_id, .. } = *store.session().borrow() else {
        panic!("connected")
    };
    cluster.tree.expire(session_id);
    cluster.store.delete_recursive("/config/users/alice").await.unwrap();
    cluster.store.delete_recursive(changes::PATH).await.unwrap();
    cluster.tree.reconnect(session_id);
    is(cluster.applied().await, &[("users/bob", "1"), ("users/alice", "")]);
    following.abort();
}
