//! A fetcher over a real socket to a leader that is played by the test.

use broker_log::batch::BatchBuilder;
use broker_log::{Logs, LogsConfig};
use broker_wire::codec;
use broker_wire::frame::FrameBuffer;
use broker_wire::header::RequestHeader;
use bytes::Bytes;
use kafka_protocol::messages::fetch_response::{FetchableTopicResponse, PartitionData};
use kafka_protocol::messages::update_metadata_request::{UpdateMetadataBroker, UpdateMetadataEndpoint};
use kafka_protocol::messages::{
    BrokerId as WireBrokerId, FetchRequest as WireFetchRequest, TopicName, UpdateMetadataRequest,
};
use kafka_protocol::protocol::StrBytes;
use model::{BrokerId, ControllerEpoch, LeaderEpoch, PartitionEpoch};
use tempfile::TempDir;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use zk_schema_store::{MemoryTree, Store};

use super::*;
use crate::config::{BrokerConfig, ConfigHandle};
use crate::partition::{LeaderAndIsrPartition, PartitionState, Partitions, ReplicaSettings};

const ME: BrokerId = BrokerId(1);
const LEADER: BrokerId = BrokerId(2);
const SESSION: i32 = 9;

/// Broker 1, and the listener of broker 2.
struct Scene {
    broker: Arc<Broker>,
    leader: TcpListener,
    _dir: TempDir,
}

/// One connection of the follower, as the leader sees it.
struct Peer {
    stream: TcpStream,
    frames: FrameBuffer,
}

/// A Fetch as it came.
struct Asked {
    header: RequestHeader,
    session: (i32, i32),
    /// Partition and fetch offset.
    partitions: Vec<(i32, i64)>,
}

async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    let limit = Duration::from_secs(20);
    match tokio::time::timeout(limit, future).await {
        Ok(done) => done,
        Err(_) => panic!("{what} does not happen"),
    }
}

impl Scene {
    async fn new() -> Self {
        let dir = TempDir::new().unwrap();
        let logs = Logs::open(LogsConfig::new(vec![dir.path().to_owned()])).unwrap();
        let settings = ReplicaSettings::new(ME, Millis(30_000));
        let pairs = [("zookeeper.connect", "z"), ("broker.id", "1")];
        let config = Arc::new(ConfigHandle::new(BrokerConfig::from_pairs(pairs).unwrap()));
        let store = Store::in_memory(MemoryTree::new());
        let broker = Broker::new(ME, "cluster".into(), config, store, Partitions::new(settings, logs));
        broker.start_replication();
        let leader = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let _dir = dir;
        Self { broker, leader, _dir }
    }

    /// The controller tells where the leader is.
    fn tell_address(&self) {
        let endpoint = UpdateMetadataEndpoint::default()
            .with_listener(StrBytes::from_static_str("PLAINTEXT"))
            .with_host(StrBytes::from_static_str("127.0.0.1"))
            .with_port(i32::from(self.leader.local_addr().unwrap().port()));
        let leader = UpdateMetadataBroker::default()
            .with_id(WireBrokerId(LEADER.0))
            .with_endpoints(vec![endpoint]);
        let request = UpdateMetadataRequest::default().with_live_brokers(vec![leader]);
        self.broker.metadata.update(&request);
    }

    /// The controller has broker 1 follow broker 2 in this partition of `t`.
    fn follow(&self, partition: i32, epoch: i32) {
        let state = PartitionState {
            controller_epoch: ControllerEpoch(1),
            leader: LEADER,
            leader_epoch: LeaderEpoch(epoch),
            partition_epoch: PartitionEpoch(epoch),
            isr: vec![LEADER],
            replicas: vec![ME, LEADER],
            adding_replicas: vec![],
            removing_replicas: vec![],
            is_new: false,
        };
        let request = LeaderAndIsrPartition {
            partition: TopicPartition::new("t", partition),
            topic_id: None,
            state,
        };
        self.broker.partitions.become_leader_or_follower(&[request]);
    }

    async fn accept(&self) -> Peer {
        let (stream, _) = soon("a connection", self.leader.accept()).await.unwrap();
        Peer {
            stream,
            frames: FrameBuffer::new(1 << 20),
        }
    }

    fn offsets(&self, partition: i32) -> (i64, i64) {
        let logs = BrokerLogs::new(&self.broker);
        let log = logs.log(&TopicPartition::new("t", partition)).unwrap();
        (log.high_watermark().0, log.log_end_offset().0)
    }
}

impl Peer {
    async fn asked(&mut self) -> Asked {
        let frame = soon("a request", self.frames.read_frame(&mut self.stream)).await;
        let frame = frame.unwrap().unwrap();
        let (header, body) = RequestHeader::parse(&frame).unwrap();
        let request: WireFetchRequest = codec::decode_request(header.api_version, body).unwrap();
        let topics = request.topics.iter().flat_map(|topic| &topic.partitions);
        let mut partitions: Vec<_> = topics.map(|it| (it.partition, it.fetch_offset)).collect();
        partitions.sort_unstable();
        Asked {
            session: (request.session_id, request.session_epoch),
            partitions,
            header,
        }
    }

    /// Answers with so many records for each of these partitions: partition, from where, how many, high watermark.
    async fn answer(&mut self, to: &Asked, partitions: &[(i32, i64, i64, i64)]) {
        let data = partitions.iter().map(|&(partition, from, count, high_watermark)| {
            let mut builder = BatchBuilder::new()
                .base_offset(Offset(from))
                .leader_epoch(LeaderEpoch(1));
            for _ in 0..count {
                builder.push(Millis(1), None, Some(b"value"));
            }
            PartitionData::default()
                .with_partition_index(partition)
                .with_high_watermark(high_watermark)
                .with_log_start_offset(0)
                .with_records(Some(if count == 0 { Bytes::new() } else { builder.build() }))
        });
        let topic = FetchableTopicResponse::default()
            .with_topic(TopicName(StrBytes::from_static_str("t")))
            .with_partitions(data.collect());
        let response = FetchResponse::default()
            .with_session_id(SESSION)
            .with_responses(vec![topic]);
        let header = &to.header;
        let frame = codec::encode_response(header.correlation_id, header.api.key, header.api_version, &response);
        self.stream.write_all(&frame.unwrap()).await.unwrap();
    }
}

/// Follows partition 0 and has answered the first two fetches: ten records are here, and the third fetch waits.
async fn following() -> (Scene, Peer) {
    let scene = Scene::new().await;
    scene.tell_address();
    scene.follow(0, 1);
    let mut peer = scene.accept().await;
    let first = peer.asked().await;
    assert_eq!((first.session, first.partitions.clone()), ((0, 0), vec![(0, 0)]));
    assert_eq!(&*first.header.client_id, "broker-1-fetcher-0");
    peer.answer(&first, &[(0, 0, 10, 4)]).await;
    let second = peer.asked().await;
    assert_eq!(
        (second.session, second.partitions.clone()),
        ((SESSION, 1), vec![(0, 10)])
    );
    assert_eq!(scene.offsets(0), (4, 10));
    peer.answer(&second, &[(0, 10, 0, 10)]).await;
    let third = peer.asked().await;
    assert_eq!(
        (third.session, third.partitions.clone()),
        ((SESSION, 2), vec![]),
        "nothing to say"
    );
    assert_eq!(scene.offsets(0), (10, 10));
    (scene, peer)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_partition_that_comes_is_not_held_up_by_a_fetch_that_waits() {
    let (scene, _waiting) = following().await;
    scene.follow(1, 1);
    let mut peer = scene.accept().await;
    let asked = peer.asked().await;
    // The session that the leader still keeps is named, to be closed.
    assert_eq!((asked.session, asked.partitions), ((SESSION, 0), vec![(0, 10), (1, 0)]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_connection_is_made_anew() {
    let (scene, waiting) = following().await;
    drop(waiting);
    let mut peer = scene.accept().await;
    let asked = peer.asked().await;
    assert_eq!((asked.session, asked.partitions.clone()), ((SESSION, 0), vec![(0, 10)]));
    peer.answer(&asked, &[(0, 10, 5, 10)]).await;
    let asked = peer.asked().await;
    assert_eq!(asked.partitions, [(0, 15)]);
    assert_eq!(scene.offsets(0), (10, 15));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_whose_address_comes_later_is_found() {
    let scene = Scene::new().await;
    scene.follow(0, 1);
    // Until it has looked for it in vain.
    tokio::time::sleep(Duration::from_millis(50)).await;
    scene.tell_address();
    let mut peer = scene.accept().await;
    assert_eq!(peer.asked().await.partitions, [(0, 0)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_does_not_wait_for_the_leader() {
    let (scene, _waiting) = following().await;
    let replication = Arc::clone(scene.broker.replication().unwrap());
    soon("the end of the fetchers", replication.shutdown()).await;
    scene.follow(0, 2);
    assert!(replication.fetchers.lock().running.is_empty(), "none starts afterwards");
}
