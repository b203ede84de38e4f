//! What a session outlives, and what it does not: cut connections, a frozen server, a restarted one, an expiry.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::sync::Arc;
use std::time::Duration;

use support::{Proxy, ZooKeeper};
use tokio::sync::watch;
use zk_schema_store::{CreateMode, FencedError, Op, SessionState, Store, StoreConfig, StoreError};

const SOON: Duration = Duration::from_secs(15);

async fn through(proxy: &Arc<Proxy>, session_timeout: Duration) -> Store {
    let mut config = StoreConfig::new(proxy.address.to_string());
    config.session_timeout = session_timeout;
    Store::connect(config).await.unwrap()
}

async fn reaches(
    session: &mut watch::Receiver<SessionState>,
    wanted: impl FnMut(&SessionState) -> bool,
) -> SessionState {
    *tokio::time::timeout(SOON, session.wait_for(wanted))
        .await
        .expect("in time")
        .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cut_connection_keeps_the_session_and_fires_the_watches() {
    let server = ZooKeeper::start().await;
    let proxy = Proxy::before(&server).await;
    let store = through(&proxy, Duration::from_secs(4)).await;
    let mut session = store.session();
    let before = *session.borrow();
    store.create("/e", "", CreateMode::Ephemeral).await.unwrap();
    let (_, mut watch) = store.watch_data("/e").await.unwrap();
    proxy.close();
    tokio::time::timeout(SOON, watch.changed()).await.unwrap();
    reaches(&mut session, |state| {
        matches!(state, SessionState::Disconnected { generation: 1, .. })
    })
    .await;
    // A request waits, and is answered afterwards.
    let waiting = tokio::spawn({
        let store = store.clone();
        async move { store.set("/e", "x", Some(0)).await }
    });
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(!waiting.is_finished());
    proxy.open();
    assert_eq!(reaches(&mut session, SessionState::is_connected).await, before);
    assert_eq!(waiting.await.unwrap().unwrap().version, 1);
    store.close().await;
}

/// Each write says what version it expects: were one applied twice, or lost and reported done, the count would tell.
#[tokio::test(flavor = "multi_thread")]
async fn answers_that_are_lost_are_settled() {
    let server = ZooKeeper::start().await;
    let proxy = Proxy::before(&server).await;
    let store = through(&proxy, Duration::from_secs(10)).await;
    for path in ["/set", "/multi", "/parent", "/controller_epoch"] {
        store.create(path, "0", CreateMode::Persistent).await.unwrap();
    }
    let done = watch::Sender::new(false);
    let cutter = tokio::spawn({
        let (proxy, done) = (proxy.clone(), done.subscribe());
        async move {
            let mut cuts = 0;
            while !*done.borrow() {
                // Not in step with anything: some cuts fall between a request and its answer.
                tokio::time::sleep(Duration::from_millis(17 + cuts % 23)).await;
                proxy.cut();
                cuts += 1;
            }
            cuts
        }
    });
    for i in 0..150 {
        let data = i.to_string();
        assert_eq!(store.set("/set", data.as_str(), Some(i)).await.unwrap().version, i + 1);
        let result = store
            .fenced(0, Op::set("/multi", data.as_str(), Some(i)))
            .await
            .unwrap();
        assert_eq!(result.stat().unwrap().version, i + 1);
        store
            .create(&format!("/parent/{i}"), data, CreateMode::Ephemeral)
            .await
            .unwrap();
        if i > 0 {
            store.delete(&format!("/parent/{}", i - 1), Some(0)).await.unwrap();
        }
    }
    done.send_replace(true);
    let cuts = cutter.await.unwrap();
    assert!(cuts > 10, "{cuts}");
    assert_eq!(store.get_children("/parent").await, Ok(Some(vec!["149".to_owned()])));
    assert!(matches!(
        *store.session().borrow(),
        SessionState::Connected { generation: 1, .. }
    ));
    store.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_servers_word_ends_a_session_and_then_a_new_one_begins() {
    let server = ZooKeeper::start().await;
    let proxy = Proxy::before(&server).await;
    let store = through(&proxy, Duration::from_secs(1)).await;
    let watcher = Store::connect(StoreConfig::new(server.connect())).await.unwrap();
    let mut session = store.session();
    let first = *session.borrow();
    store.create("/e", "", CreateMode::Ephemeral).await.unwrap();
    store.create("/p", "", CreateMode::Persistent).await.unwrap();
    let (_, mut gone) = watcher.watch_exists("/e").await.unwrap();
    proxy.close();
    tokio::time::timeout(SOON, gone.changed())
        .await
        .expect("the server expires the session");
    // Nobody has told us: for all we know the session lives.
    assert!(matches!(
        *session.borrow_and_update(),
        SessionState::Disconnected { generation: 1, .. }
    ));
    let waiting = tokio::spawn({
        let store = store.clone();
        async move { store.set("/p", "x", Some(0)).await }
    });
    tokio::time::sleep(Duration::from_millis(100)).await;
    proxy.open();
    let second = reaches(&mut session, |state| {
        matches!(state, SessionState::Connected { generation: 2, .. })
    })
    .await;
    assert_ne!(first, second);
    // It had not been sent: either it was refused with the old session, or it goes with the new one.
    assert!(matches!(
        waiting.await.unwrap(),
        Err(StoreError::SessionExpired) | Ok(_)
    ));
    assert_eq!(store.exists("/e").await, Ok(None));
    let created = store.create("/e", "", CreateMode::Ephemeral).await.unwrap();
    assert!(matches!(second, SessionState::Connected { session_id, .. } if session_id == created.stat.ephemeral_owner));
    store.close().await;
    watcher.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_restarts_finds_the_session_again() {
    let mut server = ZooKeeper::start().await;
    let mut config = StoreConfig::new(server.connect());
    config.session_timeout = Duration::from_secs(2);
    let store = Store::connect(config).await.unwrap();
    let mut session = store.session();
    let before = *session.borrow();
    store.create("/e", "", CreateMode::Ephemeral).await.unwrap();
    // Away for longer than the session timeout and than the client's own patience.
    server.restart(Duration::from_secs(4)).await;
    reaches(&mut session, |state| !state.is_connected()).await;
    assert_eq!(reaches(&mut session, SessionState::is_connected).await, before);
    assert!(store.exists("/e").await.unwrap().is_some());
    store.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frozen_server_is_waited_for() {
    let server = ZooKeeper::start().await;
    let mut config = StoreConfig::new(server.connect());
    config.session_timeout = Duration::from_secs(2);
    let store = Store::connect(config).await.unwrap();
    let mut session = store.session();
    store.create("/e", "", CreateMode::Ephemeral).await.unwrap();
    server.signal("-STOP");
    reaches(&mut session, |state| !state.is_connected()).await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert!(matches!(
        *session.borrow(),
        SessionState::Disconnected { generation: 1, .. }
    ));
    server.signal("-CONT");
    let state = reaches(&mut session, SessionState::is_connected).await;
    // The server decides whether it counts its own absence.
    let kept = store.exists("/e").await.unwrap().is_some();
    assert_eq!(kept, state.generation() == 1, "{state:?}");
    store.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_server_is_an_error_in_time() {
    let port = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let mut config = StoreConfig::new(format!("127.0.0.1:{port}"));
    config.connection_timeout = Duration::from_millis(700);
    let started = std::time::Instant::now();
    let refused = Store::connect(config).await.map(drop);
    assert!(matches!(refused, Err(StoreError::ConnectionLost(_))), "{refused:?}");
    assert!(started.elapsed() < Duration::from_secs(3));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_controller_that_was_replaced_while_cut_off_cannot_write() {
    let server = ZooKeeper::start().await;
    let proxy = Proxy::before(&server).await;
    let store = through(&proxy, Duration::from_secs(4)).await;
    let rival = Store::connect(StoreConfig::new(server.connect())).await.unwrap();
    store
        .create("/controller_epoch", "1", CreateMode::Persistent)
        .await
        .unwrap();
    proxy.close();
    let mut session = store.session();
    reaches(&mut session, |state| !state.is_connected()).await;
    let writing = tokio::spawn({
        let store = store.clone();
        async move { store.fenced(0, Op::create("/t", "")).await }
    });
    rival.set("/controller_epoch", "2", Some(0)).await.unwrap();
    proxy.open();
    let moved = FencedError::ControllerMoved { expected_zk_version: 0 };
    assert_eq!(writing.await.unwrap(), Err(moved));
    assert_eq!(rival.exists("/t").await, Ok(None));
    store.close().await;
    rival.close().await;
}
