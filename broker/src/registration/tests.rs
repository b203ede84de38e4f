//! Registering in ZooKeeper, over the in-memory tree: first, again, and against others.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use model::{BrokerEpoch, BrokerId, Millis};
use parking_lot::Mutex;
use zk_schema_store::{CreateMode, MemoryTree, SessionState, Store, StoreError};

use super::*;
use crate::config::BrokerConfig;

const SESSION_TIMEOUT: Duration = Duration::from_secs(6);

async fn tree() -> MemoryTree {
    let tree = MemoryTree::new();
    let store = Store::in_memory(tree.clone());
    store
        .create_recursive("/brokers/ids", Vec::new(), CreateMode::Persistent)
        .await
        .unwrap();
    tree
}

fn identity(id: i32, listeners: &str) -> Identity {
    let config = BrokerConfig::from_pairs([
        ("zookeeper.connect", "z"),
        ("listener.security.protocol.map", "PLAINTEXT:PLAINTEXT,OTHER:PLAINTEXT"),
        ("listeners", listeners),
    ])
    .unwrap();
    Identity::new(
        BrokerId(id),
        &config,
        &BTreeMap::from([("OTHER".to_owned(), 4711)]),
        "broker-1.example",
    )
}

fn session_of(store: &Store) -> i64 {
    match *store.session().borrow() {
        SessionState::Connected { session_id, .. } => session_id,
        ref state => panic!("not connected: {state:?}"),
    }
}

async fn owner(store: &Store, path: &str) -> i64 {
    store.exists(path).await.unwrap().unwrap().ephemeral_owner
}

#[test]
fn the_registration_is_kafkas_to_the_byte() {
    let json = identity(1, "PLAINTEXT://127.0.0.1:23101")
        .registration(Millis(1_795_248_317_928))
        .encode();
    assert_eq!(
        String::from_utf8(json).unwrap(),
        r#"{"features":{},"listener_security_protocol_map":{"PLAINTEXT":"PLAINTEXT"},"endpoints":["PLAINTEXT://127.0.0.1:23101"],"jmx_port":-1,"port":23101,"host":"127.0.0.1","version":5,"timestamp":"1795248317928"}"#
    );
}

#[test]
fn what_is_left_open_is_filled_in() {
    let identity = identity(1, "PLAINTEXT://:9092,OTHER://10.0.0.1:0");
    assert_eq!(identity.addresses(), ["broker-1.example:9092", "10.0.0.1:4711"]);
}

#[tokio::test]
async fn the_epoch_is_the_czxid_and_the_znode_belongs_to_the_session() {
    let tree = tree().await;
    let store = Store::in_memory(tree.clone());
    let registration = Registration::first(store.clone(), identity(1, "PLAINTEXT://a:1"), SESSION_TIMEOUT, &[])
        .await
        .unwrap();
    let stat = store.exists("/brokers/ids/1").await.unwrap().unwrap();
    assert_eq!(registration.epoch(), BrokerEpoch(stat.czxid));
    assert_eq!((stat.version, stat.ephemeral_owner), (1, session_of(&store)));
}

#[tokio::test]
async fn an_endpoint_of_another_broker_is_refused() {
    let tree = tree().await;
    let other = Store::in_memory(tree.clone());
    Registration::first(other, identity(1, "PLAINTEXT://a:1"), SESSION_TIMEOUT, &[])
        .await
        .unwrap();
    let store = Store::in_memory(tree);
    let refused = Registration::first(store, identity(2, "PLAINTEXT://a:1"), SESSION_TIMEOUT, &[])
        .await
        .unwrap_err();
    assert_eq!(
        refused.to_string(),
        "Configured end points a:1 in advertised listeners are already registered by broker 1"
    );
}

#[tokio::test]
async fn a_live_broker_keeps_its_id() {
    let tree = tree().await;
    let live = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = live.local_addr().unwrap().port();
    let other = Store::in_memory(tree.clone());
    let _live = Registration::first(
        other.clone(),
        identity(1, &format!("PLAINTEXT://127.0.0.1:{port}")),
        SESSION_TIMEOUT,
        &[],
    )
    .await
    .unwrap();
    let store = Store::in_memory(tree);
    let refused = Registration::first(
        store.clone(),
        identity(1, "PLAINTEXT://127.0.0.1:1"),
        SESSION_TIMEOUT,
        &[],
    )
    .await
    .unwrap_err();
    assert_eq!(
        refused.to_string(),
        format!(
            "Error while creating ephemeral at /brokers/ids/1, node already exists and owner '0x{:x}' does not match current session '0x{:x}'",
            session_of(&other),
            session_of(&store)
        )
    );
}

#[tokio::test]
async fn a_dead_session_is_waited_out() {
    let tree = tree().await;
    let dead = Store::in_memory(tree.clone());
    let before = Registration::first(dead.clone(), identity(1, "PLAINTEXT://a:1"), SESSION_TIMEOUT, &[])
        .await
        .unwrap();
    let session = session_of(&dead);
    let store = Store::in_memory(tree.clone());
    let expiry = async {
        tokio::time::sleep(Duration::from_millis(200)).await;
        tree.expire(session);
    };
    let again = Registration::first(store.clone(), identity(1, "PLAINTEXT://a:1"), SESSION_TIMEOUT, &[]);
    let (after, ()) = tokio::join!(again, expiry);
    assert!(after.unwrap().epoch() > before.epoch());
    assert_eq!(owner(&store, "/brokers/ids/1").await, session_of(&store));
}

#[tokio::test]
async fn a_session_that_never_dies_ends_the_start() {
    let tree = tree().await;
    let other = Store::in_memory(tree.clone());
    Registration::first(other, identity(1, "PLAINTEXT://a:1"), SESSION_TIMEOUT, &[])
        .await
        .unwrap();
    // Pretends that the session timeout has passed long ago.
    let refused = Registration::wait(Store::in_memory(tree), identity(1, "PLAINTEXT://a:1"), Instant::now()).await;
    assert!(matches!(refused, Err(RegisterError::Occupied { .. })), "{refused:?}");
}

#[tokio::test]
async fn an_expired_session_and_a_deleted_znode_bring_new_epochs() {
    let tree = tree().await;
    let store = Store::in_memory(tree.clone());
    let registration = Registration::first(store.clone(), identity(1, "PLAINTEXT://a:1"), SESSION_TIMEOUT, &[])
        .await
        .unwrap();
    let first = registration.epoch();
    let mut state = registration.state();
    let published = Arc::new(Mutex::new(Vec::new()));
    let publish = Arc::clone(&published);
    let keeping = tokio::spawn(
        registration.keep(watch::channel(identity(1, "PLAINTEXT://a:1")).1, move |epoch, _| {
            publish.lock().push(epoch)
        }),
    );

    let session = session_of(&store);
    tree.expire(session);
    tree.reconnect(session);
    let renewed = |state: &RegistrationState, than: BrokerEpoch| matches!(*state, RegistrationState::Registered { epoch } if epoch > than);
    let wait = Duration::from_secs(5);
    tokio::time::timeout(wait, state.wait_for(|state| renewed(state, first)))
        .await
        .unwrap()
        .unwrap();
    let second = BrokerEpoch(store.exists("/brokers/ids/1").await.unwrap().unwrap().czxid);

    let admin = Store::in_memory(tree.clone());
    admin.delete("/brokers/ids/1", None).await.unwrap();
    tokio::time::timeout(wait, state.wait_for(|state| renewed(state, second)))
        .await
        .unwrap()
        .unwrap();
    let third = BrokerEpoch(store.exists("/brokers/ids/1").await.unwrap().unwrap().czxid);
    // The last one is published right after the state.
    store.close().await;
    tokio::time::timeout(wait, keeping).await.unwrap().unwrap();
    assert_eq!(*published.lock(), [second, third]);
    assert_eq!(admin.get("/brokers/ids/1").await, Ok::<_, StoreError>(None));
}

#[tokio::test]
async fn who_has_taken_the_id_meanwhile_is_said_and_outlived() {
    let tree = tree().await;
    let store = Store::in_memory(tree.clone());
    let registration = Registration::first(store.clone(), identity(1, "PLAINTEXT://a:1"), SESSION_TIMEOUT, &[])
        .await
        .unwrap();
    let mut state = registration.state();
    let keeping = tokio::spawn(registration.keep(watch::channel(identity(1, "PLAINTEXT://a:1")).1, |_, _| {}));
    let thief = Store::in_memory(tree.clone());
    let stolen = vec![
        zk_schema::Op::delete("/brokers/ids/1", None),
        zk_schema::Op::create_ephemeral("/brokers/ids/1", "{}"),
    ];
    thief.multi(stolen).await.unwrap();
    let wait = Duration::from_secs(5);
    let retrying = |state: &RegistrationState| matches!(state, RegistrationState::Retrying { reason, .. } if reason.contains("node already exists"));
    tokio::time::timeout(wait, state.wait_for(retrying))
        .await
        .unwrap()
        .unwrap();
    thief.close().await;
    let registered = |state: &RegistrationState| matches!(state, RegistrationState::Registered { .. });
    tokio::time::timeout(wait, state.wait_for(registered))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(owner(&store, "/brokers/ids/1").await, session_of(&store));
    keeping.abort();
}

#[tokio::test]
async fn what_a_dead_process_has_left_is_removed_at_once() {
    let tree = tree().await;
    let dead = Store::in_memory(tree.clone());
    let before = Registration::first(dead.clone(), identity(1, "PLAINTEXT://a:1"), SESSION_TIMEOUT, &[])
        .await
        .unwrap();
    dead.create("/controller", "{}", CreateMode::Ephemeral).await.unwrap();
    let store = Store::in_memory(tree.clone());
    let dead_sessions = [7, session_of(&dead)];
    let after = Registration::first(
        store.clone(),
        identity(1, "PLAINTEXT://a:1"),
        SESSION_TIMEOUT,
        &dead_sessions,
    );
    let after = tokio::time::timeout(Duration::from_secs(2), after)
        .await
        .unwrap()
        .unwrap();
    assert!(after.epoch() > before.epoch());
    assert_eq!(owner(&store, "/brokers/ids/1").await, session_of(&store));
    assert_eq!(store.exists("/controller").await, Ok(None));
}

#[tokio::test]
async fn the_controller_of_another_session_is_left_alone() {
    let tree = tree().await;
    let (dead, other) = (Store::in_memory(tree.clone()), Store::in_memory(tree.clone()));
    Registration::first(dead.clone(), identity(1, "PLAINTEXT://a:1"), SESSION_TIMEOUT, &[])
        .await
        .unwrap();
    other.create("/controller", "{}", CreateMode::Ephemeral).await.unwrap();
    let store = Store::in_memory(tree.clone());
    let dead_sessions = [session_of(&dead)];
    Registration::first(
        store.clone(),
        identity(1, "PLAINTEXT://a:1"),
        SESSION_TIMEOUT,
        &dead_sessions,
    )
    .await
    .unwrap();
    assert_eq!(owner(&store, "/controller").await, session_of(&other));
}
