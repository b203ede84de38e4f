//! Listeners that come and go while a broker runs.

use std::collections::BTreeMap;
use std::time::Duration;

use broker_log::{Logs, LogsConfig};
use model::{BrokerId, Millis};
use tokio::net::TcpStream;
use zk_schema_store::{MemoryTree, Store};

use super::*;
use crate::config::ConfigHandle;
use crate::partition::{Partitions, ReplicaSettings};

fn free_port() -> u16 {
    let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    socket.local_addr().unwrap().port()
}

async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let poll = async {
        while !holds().await {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let done = tokio::time::timeout(Duration::from_secs(10), poll).await;
    assert!(done.is_ok(), "{what}");
}

#[tokio::test]
async fn a_listener_is_opened_advertised_and_closed_while_others_serve() {
    let (first, second) = (free_port(), free_port());
    let one = format!("PLAINTEXT://127.0.0.1:{first}");
    let two = format!("{one},OTHER://127.0.0.1:{second}");
    let config = BrokerConfig::from_pairs([
        ("zookeeper.connect", "z"),
        ("broker.id", "1"),
        ("listener.security.protocol.map", "PLAINTEXT:PLAINTEXT,OTHER:PLAINTEXT"),
        ("listeners", &one),
    ])
    .unwrap();
    let dir = tempfile::tempdir().unwrap();
    let logs = Logs::open(LogsConfig::new(vec![dir.path().to_owned()])).unwrap();
    let broker = Broker::new(
        BrokerId(1),
        "cluster".into(),
        Arc::new(ConfigHandle::new(config)),
        Store::in_memory(MemoryTree::new()),
        Partitions::new(ReplicaSettings::new(BrokerId(1), Millis(30_000)), logs),
    );
    let config = broker.config.current();
    let bound = vec![
        Listener::bind(&config.listeners[0], SocketSettings::of(&config))
            .await
            .unwrap(),
    ];
    let identity = Identity::new(broker.id, &config, &ports(&bound).unwrap(), "here");
    let (identity, advertised) = watch::channel(identity);
    let listeners = Listeners::new(Arc::clone(&broker), "here".into(), identity, bound).unwrap();
    let running = tokio::spawn(listeners.run());
    let names = || {
        let advertised = advertised.borrow();
        let names = advertised.endpoints().iter().map(|endpoint| endpoint.listener.clone());
        names.collect::<Vec<_>>()
    };
    let set = |listeners: &str| {
        let own = BTreeMap::from([("listeners".to_owned(), listeners.to_owned())]);
        broker.config.apply_dynamic(BTreeMap::new(), own).unwrap();
    };
    let answers = async |port: u16| TcpStream::connect(("127.0.0.1", port)).await.is_ok();
    assert!(answers(first).await && !answers(second).await);

    set(&two);
    until("the new listener is open", async || answers(second).await).await;
    until("and advertised", async || names() == ["PLAINTEXT", "OTHER"]).await;
    let stays = TcpStream::connect(("127.0.0.1", first)).await.unwrap();
    let goes = TcpStream::connect(("127.0.0.1", second)).await.unwrap();

    set(&one);
    until("it is closed again", async || !answers(second).await).await;
    until("and not advertised", async || names() == ["PLAINTEXT"]).await;
    let mut byte = [0];
    let end = tokio::time::timeout(Duration::from_secs(10), goes.readable()).await;
    assert!(end.is_ok());
    assert!(
        matches!(goes.try_read(&mut byte), Ok(0) | Err(_)),
        "its connections end with it"
    );
    let kind = stays.try_read(&mut byte).unwrap_err().kind();
    assert_eq!(kind, std::io::ErrorKind::WouldBlock, "connections of others go on");

    // The port is free again, for whoever wants it.
    let taken = std::net::TcpListener::bind(("127.0.0.1", second)).unwrap();
    set(&two);
    until("who is advertised", async || names() == ["PLAINTEXT", "OTHER"]).await;
    assert!(answers(first).await, "a listener that cannot be bound takes none away");
    drop(taken);
    running.abort();
}
