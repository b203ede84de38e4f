//! Configurations as znodes and notices, as Kafka writes them. No broker takes part.

use model::{BrokerId, Millis};
use zk_schema_store::MemoryTree;

use super::*;

async fn cluster() -> (MemoryTree, Store) {
    let tree = MemoryTree::new();
    let store = Store::in_memory(tree.clone());
    for path in zk_schema::PERSISTENT_PATHS {
        store
            .create_recursive(path, Vec::new(), CreateMode::Persistent)
            .await
            .unwrap();
    }
    let controller = Controller::new(BrokerId(1), Millis(1)).encode();
    store
        .create(controller::PATH, controller, CreateMode::Ephemeral)
        .await
        .unwrap();
    (tree, store)
}

fn pairs(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(k, v)| ((*k).into(), (*v).into())).collect()
}

/// The znodes of captures 04 and 20 of the reference.
#[tokio::test]
async fn a_change_is_written_and_announced() {
    let (tree, store) = cluster().await;
    let topic = Entity::Topic("cfg".into());
    assert_eq!(read(&store, &topic).await, Ok(BTreeMap::new()));
    let config = pairs(&[
        ("min.insync.replicas", "2"),
        ("cleanup.policy", "compact,delete"),
        ("segment.bytes", "1048576"),
    ]);
    change(&store, &topic, &config).await.unwrap();
    change(&store, &Entity::Broker(None), &pairs(&[("log.cleaner.threads", "2")]))
        .await
        .unwrap();
    let znodes = tree.dump();
    assert_eq!(
        znodes["/config/topics/cfg"],
        r#"{"version":1,"config":{"cleanup.policy":"compact,delete","min.insync.replicas":"2","segment.bytes":"1048576"}}"#
    );
    assert_eq!(
        znodes["/config/changes/config_change_0000000000"],
        r#"{"version":2,"entity_path":"topics/cfg"}"#
    );
    assert_eq!(
        znodes["/config/changes/config_change_0000000001"],
        r#"{"version":2,"entity_path":"brokers/<default>"}"#
    );
    assert_eq!(read(&store, &topic).await, Ok(config));
    change(&store, &topic, &BTreeMap::new()).await.unwrap();
    assert_eq!(
        tree.dump()["/config/topics/cfg"],
        r#"{"version":1,"config":{}}"#,
        "a topic's znode stays"
    );
}

/// As in capture 13b: an emptied quota's znode goes, with parents that held nothing else.
#[tokio::test]
async fn an_emptied_quota_leaves_nothing_behind() {
    let (tree, store) = cluster().await;
    let quota = pairs(&[("producer_byte_rate", "1")]);
    let some = |name: &str| Some(name.to_owned());
    let user = Entity::User(some("alice"));
    let (one, two) = (
        Entity::UserClient(some("alice"), None),
        Entity::UserClient(some("alice"), some("app")),
    );
    let exists = |entity: &Entity| tree.dump().contains_key(&entity.path());
    for entity in [&user, &one, &two] {
        change(&store, entity, &quota).await.unwrap();
    }
    let none = BTreeMap::new();
    change(&store, &user, &none).await.unwrap();
    assert!(exists(&user), "it has children");
    change(&store, &one, &none).await.unwrap();
    assert!(!exists(&one) && exists(&two));
    change(&store, &two, &none).await.unwrap();
    assert!(!exists(&two) && !exists(&user), "the last one takes its parents along");
    assert!(tree.dump().contains_key("/config/users"));
}

#[tokio::test]
async fn nothing_is_written_without_a_controller_of_zookeeper() {
    let (tree, store) = cluster().await;
    let topic = Entity::Topic("t".into());
    let config = pairs(&[("retention.ms", "1")]);
    let mut kraft = Controller::new(BrokerId(3000), Millis(1));
    kraft.kraft_controller_epoch = 5;
    store.set(controller::PATH, kraft.encode(), None).await.unwrap();
    let refused = change(&store, &topic, &config).await.unwrap_err();
    assert_eq!(refused.code(), ErrorCode::StaleControllerEpoch);
    store.delete(controller::PATH, None).await.unwrap();
    let refused = change(&store, &topic, &config).await.unwrap_err();
    assert_eq!(refused.code(), ErrorCode::StaleControllerEpoch);
    assert!(!tree.dump().contains_key("/config/topics/t"));
    // One that is elected while the write waits is good enough.
    let writing = tokio::spawn({
        let store = store.clone();
        async move { change(&store, &topic, &config).await }
    });
    tokio::time::sleep(Duration::from_millis(50)).await;
    let controller = Controller::new(BrokerId(2), Millis(1)).encode();
    store
        .create(controller::PATH, controller, CreateMode::Ephemeral)
        .await
        .unwrap();
    assert_eq!(writing.await.unwrap(), Ok(()));
}

#[tokio::test]
async fn everything_is_read_at_once() {
    let (_, store) = cluster().await;
    let some = |name: &str| Some(name.to_owned());
    let entities = [
        Entity::Topic("t".into()),
        Entity::Broker(Some(1)),
        Entity::Broker(None),
        Entity::Client(some("app 1")),
        Entity::User(None),
        Entity::UserClient(some("a b"), some("c/d")),
        Entity::Ip(some("127.0.0.1")),
    ];
    for (at, entity) in entities.iter().enumerate() {
        change(&store, entity, &pairs(&[("x", &at.to_string())])).await.unwrap();
    }
    store
        .create("/config/topics/broken", r#"{"config":{"x":1}}"#, CreateMode::Persistent)
        .await
        .unwrap();
    let all: BTreeMap<Entity, BTreeMap<String, String>> = read_all(&store, &KINDS).await.unwrap().into_iter().collect();
    for (at, entity) in entities.iter().enumerate() {
        assert_eq!(all[entity], pairs(&[("x", &at.to_string())]), "{entity:?}");
    }
    assert!(!all.contains_key(&Entity::Topic("broken".into())));
}
