//! What holds for the store over a real ZooKeeper and over the in-memory tree alike.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[allow(dead_code, reason = "each test crate uses a part of it")]
mod support;

use std::time::Duration;

use support::ZooKeeper;
use zk_schema_store::{
    CreateMode, FencedError, MemoryTree, MultiError, Op, OpResult, SessionState, Store, StoreConfig, StoreError,
};

#[tokio::test]
async fn the_memory_tree_behaves() {
    let tree = MemoryTree::new();
    behaves(Store::in_memory(tree.clone()), Store::in_memory(tree)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_real_zookeeper_behaves() {
    let server = ZooKeeper::start().await;
    let open = || async {
        let mut config = StoreConfig::new(format!("{}/some/chroot", server.connect()));
        config.session_timeout = Duration::from_secs(4);
        Store::connect(config).await.unwrap()
    };
    behaves(open().await, open().await).await;
}

async fn behaves(store: Store, other: Store) {
    reads_and_writes(&store).await;
    multis_are_all_or_nothing(&store).await;
    a_fenced_write_needs_the_epoch(&store).await;
    watches_fire_once(&store, &other).await;
    many_at_once(&store).await;
    ephemerals_go_with_their_session(store, other).await;
}

fn no_node(path: &str) -> StoreError {
    StoreError::NoNode { path: path.into() }
}

async fn reads_and_writes(store: &Store) {
    assert_eq!(store.get("/a").await, Ok(None));
    assert_eq!(store.exists("/a").await, Ok(None));
    assert_eq!(store.get_children("/a").await, Ok(None));
    assert_eq!(
        store.create("/a/b", "x", CreateMode::Persistent).await,
        Err(no_node("/a/b"))
    );
    let created = store
        .create_recursive("/a/b/c", "x", CreateMode::Persistent)
        .await
        .unwrap();
    assert_eq!((created.path.as_str(), created.stat.version), ("/a/b/c", 0));
    assert_eq!(
        store.create("/a/b/c", "y", CreateMode::Persistent).await,
        Err(StoreError::NodeExists { path: "/a/b/c".into() })
    );
    let stat = store.set("/a/b/c", "y", Some(0)).await.unwrap();
    assert_eq!((stat.version, stat.czxid), (1, created.stat.czxid));
    assert!(stat.mzxid > stat.czxid);
    let bad_version = Err(StoreError::BadVersion { path: "/a/b/c".into() });
    assert_eq!(store.set("/a/b/c", "z", Some(0)).await, bad_version);
    assert_eq!(store.get("/a/b/c").await, Ok(Some(("y".into(), stat))));
    assert_eq!(store.set("/a/b/c", "z", None).await.unwrap().version, 2);
    assert_eq!(store.delete("/a/b/c", Some(1)).await, bad_version.map(drop));
    assert_eq!(
        store.delete("/a/b", None).await,
        Err(StoreError::NotEmpty { path: "/a/b".into() })
    );
    assert_eq!(store.get_children("/a/b").await, Ok(Some(vec!["c".to_owned()])));
    assert_eq!(store.exists("/a/b").await.unwrap().unwrap().num_children, 1);
    assert_eq!(store.delete_recursive("/a").await, Ok(true));
    assert_eq!(store.delete_recursive("/a").await, Ok(false));
    assert_eq!(store.delete("/a", None).await, Err(no_node("/a")));
    store.create("/seq", "", CreateMode::Persistent).await.unwrap();
    for expected in ["/seq/n_0000000000", "/seq/n_0000000001"] {
        let created = store
            .create("/seq/n_", "", CreateMode::PersistentSequential)
            .await
            .unwrap();
        assert_eq!(created.path, expected);
    }
    assert!(matches!(
        store.get("no-slash").await,
        Err(StoreError::InvalidPath { .. })
    ));
    assert!(matches!(store.get("/a//b").await, Err(StoreError::InvalidPath { .. })));
    assert!(matches!(
        store.create("/large", vec![0; 1 << 20], CreateMode::Persistent).await,
        Err(StoreError::TooLarge { .. })
    ));
    let almost = vec![7; (1 << 20) - 500];
    store
        .create("/large", almost.clone(), CreateMode::Persistent)
        .await
        .unwrap();
    assert_eq!(store.get("/large").await.unwrap().unwrap().0, almost);
}

async fn multis_are_all_or_nothing(store: &Store) {
    let results = store
        .multi(vec![
            Op::create("/m", "1"),
            Op::set("/m", "2", Some(0)),
            Op::check("/m", 1),
            Op::create("/m/child", "3"),
            Op::delete("/m/child", Some(0)),
        ])
        .await
        .unwrap();
    assert_eq!(results[1].stat().unwrap().version, 1);
    assert_eq!(results[2..3], [OpResult::Checked]);
    assert_eq!(results[4], OpResult::Deleted);
    let refused = store
        .multi(vec![
            Op::set("/m", "9", None),
            Op::create("/m/x", ""),
            Op::check("/m", 7),
        ])
        .await;
    let source = StoreError::BadVersion { path: "/m".into() };
    assert_eq!(refused, Err(MultiError { index: Some(2), source }));
    assert_eq!(store.get("/m").await.unwrap().unwrap().0, "2");
    assert_eq!(store.get_children("/m").await, Ok(Some(vec![])));
    assert_eq!(store.multi(vec![]).await, Ok(vec![]));
}

async fn a_fenced_write_needs_the_epoch(store: &Store) {
    let moved = FencedError::ControllerMoved { expected_zk_version: 0 };
    assert_eq!(store.fenced(0, Op::create("/f", "")).await, Err(moved));
    store
        .create("/controller_epoch", "0", CreateMode::Persistent)
        .await
        .unwrap();
    assert!(matches!(
        store.fenced(0, Op::create("/f", "")).await,
        Ok(OpResult::Created(_))
    ));
    let again = store.fenced(0, Op::create("/f", "")).await;
    assert_eq!(again, Err(StoreError::NodeExists { path: "/f".into() }.into()));
    let stale = store.fenced(0, Op::set("/f", "x", Some(3))).await;
    assert_eq!(stale, Err(StoreError::BadVersion { path: "/f".into() }.into()));
    store.set("/controller_epoch", "1", Some(0)).await.unwrap();
    let moved = FencedError::ControllerMoved { expected_zk_version: 0 };
    assert_eq!(store.fenced(0, Op::delete("/f", None)).await, Err(moved));
    assert_eq!(store.controller_epoch().await.unwrap().unwrap().1, 1);
}

async fn watches_fire_once(store: &Store, other: &Store) {
    let soon = Duration::from_secs(5);
    let not_yet = Duration::from_millis(50);
    // What does not exist yet.
    let (found, mut watch) = store.watch_data("/w").await.unwrap();
    assert_eq!(found, None);
    assert!(tokio::time::timeout(not_yet, watch.changed()).await.is_err());
    other.create("/w", "1", CreateMode::Persistent).await.unwrap();
    tokio::time::timeout(soon, watch.changed()).await.unwrap();
    // Data.
    let (found, mut watch) = store.watch_data("/w").await.unwrap();
    assert_eq!(found.unwrap().0, "1");
    let (_, mut children) = store.watch_children("/w").await.unwrap();
    other.set("/w", "2", None).await.unwrap();
    tokio::time::timeout(soon, watch.changed()).await.unwrap();
    // Children, not disturbed by data.
    assert!(tokio::time::timeout(not_yet, children.changed()).await.is_err());
    let (_, mut watch) = store.watch_data("/w").await.unwrap();
    other.create("/w/c", "", CreateMode::Persistent).await.unwrap();
    tokio::time::timeout(soon, children.changed()).await.unwrap();
    assert!(tokio::time::timeout(not_yet, watch.changed()).await.is_err());
    // Gone.
    let (_, mut exists) = store.watch_exists("/w").await.unwrap();
    other.delete_recursive("/w").await.unwrap();
    tokio::time::timeout(soon, watch.changed()).await.unwrap();
    tokio::time::timeout(soon, exists.changed()).await.unwrap();
}

async fn many_at_once(store: &Store) {
    store.create("/many", "", CreateMode::Persistent).await.unwrap();
    let paths: Vec<String> = (0..500).map(|i| format!("/many/{i}")).collect();
    let ops = paths
        .iter()
        .map(|path| Op::create(path.as_str(), path.as_str()))
        .collect();
    for result in store.fenced_all(1, ops).await {
        assert!(matches!(result, Ok(OpResult::Created(_))), "{result:?}");
    }
    // One that is refused does not take the others with it; they are written although they shared a multi.
    let ops: Vec<Op> = paths[..100]
        .iter()
        .map(|path| Op::set(path.as_str(), "new", Some(if path.ends_with("50") { 7 } else { 0 })))
        .collect();
    for (path, result) in paths.iter().zip(store.fenced_all(1, ops.clone()).await) {
        match result {
            Ok(OpResult::Set(stat)) => assert!(stat.version == 1 && !path.ends_with("50"), "{path}"),
            Err(FencedError::Op(StoreError::BadVersion { .. })) => assert!(path.ends_with("50"), "{path}"),
            other => panic!("{path}: {other:?}"),
        }
    }
    // Behind the fence nothing is written at all.
    for result in store.fenced_all(0, ops).await {
        assert!(matches!(result, Err(FencedError::ControllerMoved { .. })), "{result:?}");
    }
    let reset: Vec<Op> = paths[..100]
        .iter()
        .map(|path| Op::delete(path.as_str(), None))
        .collect();
    let created = paths[..100].iter().map(|path| Op::create(path.as_str(), path.as_str()));
    let created: Vec<Op> = created.collect();
    for op in [reset, created] {
        assert!(store.fenced_all(1, op).await.iter().all(Result::is_ok));
    }
    for found in [
        store.get_all(paths.clone()).await,
        store.get_all_small(paths.clone()).await,
    ] {
        for (path, found) in paths.iter().zip(found) {
            let (data, stat) = found.unwrap().unwrap();
            assert_eq!((data, stat.version), (path.clone().into(), 0));
        }
    }
    let some = store.get_all_small(vec!["/many/7".into(), "/many/none".into(), "/many/8".into()]);
    let some = some.await.into_iter().map(|found| found.unwrap().map(|(data, _)| data));
    assert_eq!(
        some.collect::<Vec<_>>(),
        [Some("/many/7".into()), None, Some("/many/8".into())]
    );
    assert_eq!(store.delete_recursive("/many").await, Ok(true));
}

async fn ephemerals_go_with_their_session(store: Store, other: Store) {
    let session_id = match *store.session().borrow() {
        SessionState::Connected {
            session_id,
            generation: 1,
        } => session_id,
        state => panic!("{state:?}"),
    };
    let created = store.create("/e", "", CreateMode::Ephemeral).await.unwrap();
    assert_eq!(created.stat.ephemeral_owner, session_id);
    assert!(matches!(
        store.create("/e/c", "", CreateMode::Persistent).await,
        Err(StoreError::NoChildrenForEphemerals { .. })
    ));
    let (_, mut watch) = other.watch_exists("/e").await.unwrap();
    store.close().await;
    tokio::time::timeout(Duration::from_millis(900), watch.changed())
        .await
        .expect("gone at once");
    assert_eq!(other.exists("/e").await, Ok(None));
    assert_eq!(store.get("/e").await, Err(StoreError::Closed));
    other.close().await;
}
