//! The shell over a ZooKeeper in memory, with brokers that are real sockets: who is elected, what brokers hear, who answers.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use broker_wire::codec;
use broker_wire::frame::FrameBuffer;
use broker_wire::header::RequestHeader;
use coordinator_service::{ControllerHandle, ControllerService, InterBrokerProtocol, Role, ServiceConfig};
use kafka_protocol::messages::{
    AllocateProducerIdsRequest, ApiKey, BrokerId as WireBrokerId, ControlledShutdownRequest, LeaderAndIsrRequest,
    LeaderAndIsrResponse, StopReplicaRequest, StopReplicaResponse, UpdateMetadataRequest, UpdateMetadataResponse,
    stop_replica_response::StopReplicaPartitionError,
};
use model::{BrokerId, Millis, TopicId};
use parking_lot::Mutex;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;
use zk_schema::brokers::ids::{self, BrokerRegistration, Endpoint, SecurityProtocol};
use zk_schema::brokers::topics::{self, ReplicaAssignment, TopicAssignment};
use zk_schema::{PERSISTENT_PATHS, admin, controller, controller_epoch};
use zk_schema_store::{CreateMode, MemoryTree, Store};

/// A deadline that no machine, however busy, needs.
const PATIENCE: Duration = Duration::from_secs(60);

/// What a broker has been told, as text.
type Heard = Arc<Mutex<Vec<String>>>;

/// A broker that registers, and does nothing but note and answer what the controller says.
struct Broker {
    store: Store,
    heard: Heard,
    epoch: i64,
}

impl Broker {
    async fn start(tree: &MemoryTree, id: i32) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = i32::from(listener.local_addr().unwrap().port());
        let heard = Heard::default();
        tokio::spawn(listen(listener, heard.clone()));
        let store = Store::in_memory(tree.clone());
        let registration = BrokerRegistration {
            id: BrokerId(id),
            version: 5,
            endpoints: vec![Endpoint {
                listener: "PLAINTEXT".to_owned(),
                host: "127.0.0.1".to_owned(),
                port,
                security_protocol: SecurityProtocol::Plaintext,
            }],
            rack: None,
            jmx_port: -1,
            timestamp: Millis(0),
            features: BTreeMap::new(),
        };
        store.multi(registration.registration()).await.unwrap();
        let epoch = store.exists(&ids::path(BrokerId(id))).await.unwrap().unwrap().czxid;
        Self { store, heard, epoch }
    }

    async fn hears(&self, what: &str) {
        until(
            what,
            || self.heard.lock().iter().any(|it| it.contains(what)),
            || format!("{:#?}", self.heard.lock()),
        )
        .await;
    }
}

async fn listen(listener: TcpListener, heard: Heard) {
    while let Ok((mut stream, _)) = listener.accept().await {
        let heard = heard.clone();
        tokio::spawn(async move {
            let mut frames = FrameBuffer::new(1 << 20);
            while let Ok(Some(frame)) = frames.read_frame(&mut stream).await {
                let (header, body) = RequestHeader::parse(&frame).unwrap();
                let version = header.api_version;
                let (text, answer) = hear(header.api.key, version, header.correlation_id, body);
                heard.lock().push(text);
                if stream.write_all(&answer).await.is_err() {
                    return;
                }
            }
        });
    }
}

fn hear(key: i16, version: i16, correlation_id: i32, body: bytes::Bytes) -> (String, bytes::Bytes) {
    if key == ApiKey::LeaderAndIsr as i16 {
        let request: LeaderAndIsrRequest = codec::decode_request(version, body).unwrap();
        let partitions: Vec<_> = (request.topic_states.iter())
            .flat_map(|topic| {
                topic.partition_states.iter().map(move |it| {
                    format!(
                        "{}-{} leader={} epoch={}",
                        topic.topic_name.as_str(),
                        it.partition_index,
                        it.leader.0,
                        it.leader_epoch
                    )
                })
            })
            .collect();
        let text = format!(
            "LeaderAndIsr v{version} by {} epoch {}: {}",
            request.controller_id.0,
            request.controller_epoch,
            partitions.join("; ")
        );
        (
            text,
            codec::encode_response(correlation_id, key, version, &LeaderAndIsrResponse::default()).unwrap(),
        )
    } else if key == ApiKey::UpdateMetadata as i16 {
        let request: UpdateMetadataRequest = codec::decode_request(version, body).unwrap();
        let brokers: Vec<_> = request.live_brokers.iter().map(|it| it.id.0.to_string()).collect();
        let text = format!(
            "UpdateMetadata v{version} by {}: brokers {}",
            request.controller_id.0,
            brokers.join(",")
        );
        (
            text,
            codec::encode_response(correlation_id, key, version, &UpdateMetadataResponse::default()).unwrap(),
        )
    } else {
        assert_eq!(key, ApiKey::StopReplica as i16);
        let request: StopReplicaRequest = codec::decode_request(version, body).unwrap();
        let mut errors = Vec::new();
        let mut text = format!("StopReplica v{version}:");
        for topic in &request.topic_states {
            for it in &topic.partition_states {
                text.push_str(&format!(
                    " {}-{} delete={}",
                    topic.topic_name.as_str(),
                    it.partition_index,
                    it.delete_partition
                ));
                let error = StopReplicaPartitionError::default();
                errors.push(
                    error
                        .with_topic_name(topic.topic_name.clone())
                        .with_partition_index(it.partition_index),
                );
            }
        }
        let response = StopReplicaResponse::default().with_partition_errors(errors);
        (
            text,
            codec::encode_response(correlation_id, key, version, &response).unwrap(),
        )
    }
}

async fn until(what: &str, reached: impl Fn() -> bool, seen: impl Fn() -> String) {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    while !reached() {
        assert!(
            tokio::time::Instant::now() < deadline,
            "waited for {what}; seen: {}",
            seen()
        );
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

async fn until_active(handle: &ControllerHandle) {
    until(
        "being elected",
        || handle.is_active(),
        || format!("{:?}", handle.status().borrow()),
    )
    .await;
}

async fn cluster() -> (MemoryTree, Store) {
    let tree = MemoryTree::new();
    let admin = Store::in_memory(tree.clone());
    for path in PERSISTENT_PATHS {
        admin
            .create_recursive(path, Vec::new(), CreateMode::Persistent)
            .await
            .unwrap();
    }
    (tree, admin)
}

fn config(id: i32) -> ServiceConfig {
    ServiceConfig {
        request_timeout: Duration::from_secs(20),
        ..ServiceConfig::new(BrokerId(id))
    }
}

async fn create_topic(admin: &Store, topic: &str, replicas: &[i32]) {
    let replicas: Vec<_> = replicas.iter().copied().map(BrokerId).collect();
    let assignment = TopicAssignment {
        topic_id: Some(TopicId([9; 16])),
        partitions: BTreeMap::from([(0, ReplicaAssignment::new(replicas))]),
    };
    admin
        .create(&topics::path(topic), assignment.encode(), CreateMode::Persistent)
        .await
        .unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_topic_is_led_moved_and_deleted() {
    let (tree, admin) = cluster().await;
    let one = Broker::start(&tree, 1).await;
    let two = Broker::start(&tree, 2).await;
    let handle = ControllerService::start(config(1), one.store.clone());
    until_active(&handle).await;
    assert_eq!(handle.controller_id(), Some(BrokerId(1)));
    assert_eq!(handle.controller_epoch().map(|it| it.0), Some(1));

    create_topic(&admin, "t", &[2, 1]).await;
    two.hears("LeaderAndIsr v7 by 1 epoch 1: t-0 leader=2 epoch=0").await;
    one.hears("LeaderAndIsr v7 by 1 epoch 1: t-0 leader=2 epoch=0").await;

    // Broker 2 leaves in order.
    let request = ControlledShutdownRequest::default()
        .with_broker_id(WireBrokerId(2))
        .with_broker_epoch(two.epoch);
    let response = handle.controlled_shutdown(request.clone()).await;
    assert_eq!((response.error_code, response.remaining_partitions.len()), (0, 0));
    one.hears("t-0 leader=1 epoch=1").await;
    let stale = handle
        .controlled_shutdown(request.with_broker_epoch(two.epoch - 1))
        .await;
    assert_eq!(stale.error_code, 77);
    two.store.close().await;
    one.hears("UpdateMetadata v8 by 1: brokers 1").await;
    let back = Broker::start(&tree, 2).await;
    back.hears("LeaderAndIsr v7 by 1 epoch 1: t-0 leader=1").await;

    let request = AllocateProducerIdsRequest::default()
        .with_broker_id(WireBrokerId(2))
        .with_broker_epoch(back.epoch);
    let ids = handle.allocate_producer_ids(request.clone()).await;
    assert_eq!(
        (ids.error_code, ids.producer_id_start.0, ids.producer_id_len),
        (0, 0, 1000)
    );
    let ids = handle.allocate_producer_ids(request).await;
    assert_eq!(ids.producer_id_start.0, 1000);

    admin
        .create(&admin::delete_topic_path("t"), Vec::new(), CreateMode::Persistent)
        .await
        .unwrap();
    back.hears("t-0 delete=true").await;
    one.hears("t-0 delete=true").await;
    let deadline = tokio::time::Instant::now() + PATIENCE;
    while admin.exists(&topics::path("t")).await.unwrap().is_some()
        || admin.exists(&admin::delete_topic_path("t")).await.unwrap().is_some()
    {
        assert!(
            tokio::time::Instant::now() < deadline,
            "the topic is still there: {:?}",
            tree.dump().keys()
        );
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    handle.stop().await;
    assert!(!handle.is_active());
    assert_eq!(admin.exists(controller::PATH).await.unwrap(), None);
    let refused = handle.controlled_shutdown(ControlledShutdownRequest::default()).await;
    assert_eq!(refused.error_code, 41);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_takes_over_when_the_controller_stops_or_loses_its_session() {
    let (tree, admin) = cluster().await;
    let one = Broker::start(&tree, 1).await;
    let two = Broker::start(&tree, 2).await;
    let first = ControllerService::start(config(1), one.store.clone());
    until_active(&first).await;
    let second = ControllerService::start(config(2), two.store.clone());
    let seen = || second.controller_id() == Some(BrokerId(1));
    until("broker 2 sees the controller", seen, || {
        format!("{:?}", second.status().borrow())
    })
    .await;
    assert!(!second.is_active());

    first.stop().await;
    until_active(&second).await;
    assert_eq!(second.controller_epoch().map(|it| it.0), Some(2));
    one.hears("UpdateMetadata v8 by 2: brokers 1,2").await;

    // The second loses its session: it resigns at once, and its store's next session wins again with a new epoch.
    let zk_schema_store::SessionState::Connected { session_id, .. } = *two.store.session().borrow() else {
        panic!("not connected")
    };
    tree.expire(session_id);
    tree.reconnect(session_id);
    let epoch = || second.controller_epoch().map(|it| it.0);
    until(
        "a new term",
        || epoch() == Some(3),
        || format!("{:?}", second.status().borrow()),
    )
    .await;
    let (data, stat) = admin.get(controller_epoch::PATH).await.unwrap().unwrap();
    assert_eq!((&data[..], stat.version), (&b"3"[..], 3));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fenced_controller_resigns_and_changes_nothing() {
    let (tree, admin) = cluster().await;
    let one = Broker::start(&tree, 1).await;
    let handle = ControllerService::start(config(1), one.store.clone());
    until_active(&handle).await;
    one.hears("UpdateMetadata v8 by 1: brokers 1").await;

    // Somebody else has bumped the epoch, and this one has not seen /controller change.
    admin.set(controller_epoch::PATH, "2", None).await.unwrap();
    create_topic(&admin, "t", &[1]).await;
    until(
        "the resignation",
        || !handle.is_active() || handle.controller_epoch().is_some_and(|it| it.0 > 2),
        || format!("{:?}", handle.status().borrow()),
    )
    .await;
    // It takes office again only with a later epoch, and then leads the topic with that.
    one.hears("epoch 3: t-0 leader=1 epoch=0").await;
    let heard = one.heard.lock().join("\n");
    assert!(!heard.contains("epoch 1: t-0"), "told by a fenced controller: {heard}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn brokers_leave_the_race_to_a_coordinator_unless_a_stock_kafka_is_there() {
    let (tree, admin) = cluster().await;
    let one = Broker::start(&tree, 1).await;
    let hosted = ControllerService::start(config(1), one.store.clone());
    until_active(&hosted).await;

    let dedicated = ServiceConfig {
        role: Role::Dedicated,
        advertised: Some(("127.0.0.1".to_owned(), 9190)),
        ..config(100_001)
    };
    let store = Store::in_memory(tree.clone());
    let coordinator = ControllerService::start(dedicated, store.clone());
    until_active(&coordinator).await;
    until("the broker to resign", || !hosted.is_active(), String::new).await;
    one.hears("UpdateMetadata v8 by 100001: brokers 1").await;

    // A stock Kafka would not find the coordinator: it hands over to a broker.
    let stock = Broker::start(&tree, 7).await;
    until_active(&hosted).await;
    until("the coordinator to resign", || !coordinator.is_active(), String::new).await;
    stock.hears("UpdateMetadata v8 by 1: brokers 1,7").await;

    stock.store.close().await;
    until_active(&coordinator).await;
    coordinator.stop().await;
    store.close().await;
    until_active(&hosted).await;
    drop(admin);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_older_protocol_version_is_spoken_to_older_brokers() {
    let (tree, admin) = cluster().await;
    let one = Broker::start(&tree, 1).await;
    let old = ServiceConfig {
        inter_broker_protocol: "2.6".parse::<InterBrokerProtocol>().unwrap(),
        ..config(1)
    };
    let handle = ControllerService::start(old, one.store.clone());
    until_active(&handle).await;
    create_topic(&admin, "t", &[1]).await;
    one.hears("LeaderAndIsr v4 by 1 epoch 1: t-0 leader=1 epoch=0").await;
    one.hears("UpdateMetadata v6 by 1: brokers 1").await;
    admin
        .create(&admin::delete_topic_path("t"), Vec::new(), CreateMode::Persistent)
        .await
        .unwrap();
    one.hears("StopReplica v3: t-0 delete=true").await;
    let features = admin.get(zk_schema::feature::PATH).await.unwrap().unwrap().0;
    assert_eq!(&features[..], br#"{"features":{},"version":2,"status":0}"#);
}
