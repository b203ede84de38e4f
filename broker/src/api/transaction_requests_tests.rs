//! The requests of transactions at every version, as frames: the life of a producer, and refusals; and what a change of the
//! coordinator's leadership does to them.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use broker_log::{Logs, LogsConfig};
use broker_wire::header::parse_response_header;
use broker_wire::{ErrorCode, Request, apis, codec};
use bytes::Bytes;
use kafka_protocol::messages::add_partitions_to_txn_request::{AddPartitionsToTxnTopic, AddPartitionsToTxnTransaction};
use kafka_protocol::messages::update_metadata_request::{
    UpdateMetadataBroker, UpdateMetadataEndpoint, UpdateMetadataPartitionState, UpdateMetadataTopicState,
};
use kafka_protocol::messages::{
    AddOffsetsToTxnRequest, AddPartitionsToTxnRequest, AddPartitionsToTxnResponse, BrokerId as WireBrokerId,
    DescribeTransactionsRequest, EndTxnRequest, FindCoordinatorRequest, GroupId, InitProducerIdRequest,
    InitProducerIdResponse, ListTransactionsRequest, ProducerId as WireProducerId, TopicName, TransactionalId,
    UpdateMetadataRequest,
};
use model::{
    BrokerEpoch, BrokerId, ControllerEpoch, GROUP_METADATA_TOPIC, LeaderEpoch, Millis, Offset, PartitionEpoch,
    TRANSACTION_STATE_TOPIC, TopicPartition,
};
use tempfile::TempDir;
use zk_schema::brokers::topics::{self, ReplicaAssignment, TopicAssignment};
use zk_schema_store::{CreateMode, MemoryTree, Store};

use super::text::wire;
use super::{ConnectionInfo, served};
use crate::Broker;
use crate::config::{BrokerConfig, ConfigHandle, SecurityProtocol};
use crate::fetch_session::PartitionFetch;
use crate::net::Reply;
use crate::partition::{
    Isolation, LeaderAndIsrPartition, Lookup, PartitionState, Partitions, ReadSpec, ReplicaSettings,
};

pub(super) const ME: BrokerId = BrokerId(1);
const OTHER: BrokerId = BrokerId(2);

pub(super) struct Stage {
    pub(super) broker: Arc<Broker>,
    connection: Arc<ConnectionInfo>,
    epoch: i32,
    replicas: Vec<BrokerId>,
    _dir: TempDir,
}

impl Stage {
    /// A broker that leads `t-0`, `t-1` and the only partitions of both internal topics; that of transactions has these replicas.
    pub(super) async fn new(replicas: &[BrokerId]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::in_memory(MemoryTree::new());
        for topic in [TRANSACTION_STATE_TOPIC, GROUP_METADATA_TOPIC] {
            let assignment = TopicAssignment {
                topic_id: None,
                partitions: [(0, ReplicaAssignment::new(replicas.to_vec()))].into_iter().collect(),
            };
            let path = topics::path(topic);
            let create = store.create_recursive(&path, assignment.encode(), CreateMode::Persistent);
            create.await.unwrap();
        }
        let config = BrokerConfig::from_pairs([
            ("zookeeper.connect", "z"),
            // Producer ids are claimed in ZooKeeper: there is no controller.
            ("inter.broker.protocol.version", "2.8"),
            ("transaction.abort.timed.out.transaction.cleanup.interval.ms", "50"),
        ]);
        let config = Arc::new(ConfigHandle::new(config.unwrap()));
        let logs = Logs::open(LogsConfig::new(vec![dir.path().to_owned()])).unwrap();
        let partitions = Partitions::new(ReplicaSettings::new(ME, Millis(30_000)), logs);
        let broker = Broker::new(ME, "cluster".to_owned(), config, store, partitions);
        broker.metadata.update(&metadata());
        let connection = Arc::new(ConnectionInfo::new(
            "PLAINTEXT".into(),
            SecurityProtocol::Plaintext,
            SocketAddr::from((Ipv4Addr::LOCALHOST, 50_000)),
        ));
        let mut stage = Self {
            broker,
            connection,
            epoch: 0,
            replicas: replicas.to_vec(),
            _dir: dir,
        };
        for (topic, index) in [("t", 0), ("t", 1), (GROUP_METADATA_TOPIC, 0)] {
            stage.lead(topic, index, ME, &[ME]).await;
        }
        stage.elect(ME).await;
        stage.ready().await;
        stage
    }

    async fn lead(&self, topic: &str, index: i32, leader: BrokerId, replicas: &[BrokerId]) {
        let request = LeaderAndIsrPartition {
            partition: TopicPartition::new(topic, index),
            topic_id: None,
            state: PartitionState {
                controller_epoch: ControllerEpoch(1),
                leader,
                leader_epoch: LeaderEpoch(self.epoch),
                partition_epoch: PartitionEpoch(self.epoch),
                isr: replicas.to_vec(),
                replicas: replicas.to_vec(),
                adding_replicas: Vec::new(),
                removing_replicas: Vec::new(),
                is_new: false,
            },
        };
        let partitions = Arc::clone(&self.broker.partitions);
        crate::blocking::run(move || partitions.become_leader_or_follower(&[request])).await;
    }

    /// The controller makes `leader` lead the partition of transactions.
    async fn elect(&mut self, leader: BrokerId) {
        self.epoch += 1;
        let replicas = self.replicas.clone();
        self.lead(TRANSACTION_STATE_TOPIC, 0, leader, &replicas).await;
    }

    /// Waits until the transactions are loaded.
    async fn ready(&self) {
        until(|| self.describe_now("any") == Some(ErrorCode::TransactionalIdNotFound)).await;
    }

    fn describe_now(&self, id: &str) -> Option<ErrorCode> {
        let described = self.broker.transactions.describe(id);
        described.err().map(super::error_code::of_transaction)
    }

    fn state(&self, id: &str) -> &'static str {
        let described = self.broker.transactions.describe(id);
        described.map_or("none", |description| description.state.name())
    }

    /// The follower has fetched all there is.
    fn follower_catches_up(&self) {
        let Lookup::Online(partition) = self.broker.partitions.lookup(TRANSACTION_STATE_TOPIC, 0) else {
            panic!("no partition")
        };
        let end = partition.log().unwrap().log_end_offset();
        let fetch = PartitionFetch {
            fetch_offset: end,
            max_bytes: 1,
            current_leader_epoch: LeaderEpoch::NONE,
            last_fetched_epoch: LeaderEpoch::NONE,
            log_start_offset: Offset(0),
        };
        let spec = ReadSpec {
            fetch,
            isolation: Isolation::LogEnd,
            follower: Some((OTHER, BrokerEpoch::NONE)),
            only_leader: true,
            record: true,
            max_bytes: 1,
            min_one_batch: false,
        };
        partition
            .read(&spec, self.broker.partitions.settings(), crate::clock::now())
            .unwrap();
    }

    /// Sends a request as a client does.
    pub(super) async fn serve<R: Request>(&self, version: i16, request: &R) -> Reply {
        let frame = codec::encode_request(7, "client", version, request).unwrap();
        super::serve(&self.broker, &self.connection, frame.slice(4..)).await
    }

    /// Sends a request as a client does, and reads the answer as one.
    pub(super) async fn ask<R: Request>(&self, version: i16, request: &R) -> R::Response {
        let reply = self.serve(version, request).await;
        let Reply::Bytes(frame) = reply else {
            panic!("version {version}: {reply:?}")
        };
        let api = apis::api(R::KEY).unwrap();
        let header_version = api.response_header_version(version);
        let (correlation_id, body) = parse_response_header(&frame.slice(4..), header_version).unwrap();
        assert_eq!(correlation_id, 7);
        codec::decode_response::<R>(version, body).unwrap()
    }

    pub(super) async fn init(&self, version: i16, id: &str) -> InitProducerIdResponse {
        self.ask(version, &init_request(id, 60_000)).await
    }

    /// The answers to `t-0` and `t-1`, or whatever was asked for.
    pub(super) async fn add(
        &self,
        version: i16,
        id: &str,
        producer: (i64, i16),
        partitions: &[(&str, i32)],
    ) -> Vec<ErrorCode> {
        let request = if version < 4 {
            AddPartitionsToTxnRequest::default()
                .with_v3_and_below_transactional_id(transactional_id(id))
                .with_v3_and_below_producer_id(WireProducerId(producer.0))
                .with_v3_and_below_producer_epoch(producer.1)
                .with_v3_and_below_topics(topics_of(partitions))
        } else {
            AddPartitionsToTxnRequest::default().with_transactions(vec![transaction(id, producer, partitions, false)])
        };
        codes(&self.ask(version, &request).await)
    }

    async fn verify(&self, version: i16, id: &str, producer: (i64, i16), partitions: &[(&str, i32)]) -> Vec<ErrorCode> {
        let transactions = vec![transaction(id, producer, partitions, true)];
        let request = AddPartitionsToTxnRequest::default().with_transactions(transactions);
        codes(&self.ask(version, &request).await)
    }

    pub(super) async fn end(&self, version: i16, id: &str, producer: (i64, i16), committed: bool) -> ErrorCode {
        let request = EndTxnRequest::default()
            .with_transactional_id(transactional_id(id))
            .with_producer_id(WireProducerId(producer.0))
            .with_producer_epoch(producer.1)
            .with_committed(committed);
        code(self.ask(version, &request).await.error_code)
    }
}

fn init_request(id: &str, timeout_ms: i32) -> InitProducerIdRequest {
    InitProducerIdRequest::default()
        .with_transactional_id(Some(transactional_id(id)))
        .with_transaction_timeout_ms(timeout_ms)
        .with_producer_id(WireProducerId(-1))
        .with_producer_epoch(-1)
}

pub(super) fn transactional_id(id: &str) -> TransactionalId {
    TransactionalId(wire(id))
}

fn transaction(
    id: &str,
    producer: (i64, i16),
    partitions: &[(&str, i32)],
    verify_only: bool,
) -> AddPartitionsToTxnTransaction {
    AddPartitionsToTxnTransaction::default()
        .with_transactional_id(transactional_id(id))
        .with_producer_id(WireProducerId(producer.0))
        .with_producer_epoch(producer.1)
        .with_verify_only(verify_only)
        .with_topics(topics_of(partitions))
}

fn topics_of(partitions: &[(&str, i32)]) -> Vec<AddPartitionsToTxnTopic> {
    let topic = |(topic, index): &(&str, i32)| {
        AddPartitionsToTxnTopic::default()
            .with_name(TopicName(wire(topic)))
            .with_partitions(vec![*index])
    };
    partitions.iter().map(topic).collect()
}

fn codes(response: &AddPartitionsToTxnResponse) -> Vec<ErrorCode> {
    assert_eq!(response.error_code, 0);
    let by_transaction = response.results_by_transaction.iter().flat_map(|it| &it.topic_results);
    let topics = by_transaction.chain(&response.results_by_topic_v3_and_below);
    let partitions = topics.flat_map(|topic| &topic.results_by_partition);
    partitions
        .map(|partition| code(partition.partition_error_code))
        .collect()
}

pub(super) fn code(code: i16) -> ErrorCode {
    ErrorCode::from_i16(code).unwrap()
}

fn metadata() -> UpdateMetadataRequest {
    let topic = |name: &str, partitions: i32| {
        let state = |index| {
            UpdateMetadataPartitionState::default()
                .with_partition_index(index)
                .with_leader(WireBrokerId(ME.0))
                .with_replicas(vec![WireBrokerId(ME.0)])
                .with_isr(vec![WireBrokerId(ME.0)])
        };
        UpdateMetadataTopicState::default()
            .with_topic_name(TopicName(wire(name)))
            .with_partition_states((0..partitions).map(state).collect())
    };
    let endpoint = UpdateMetadataEndpoint::default()
        .with_host(wire("localhost"))
        .with_port(9092)
        .with_listener(wire("PLAINTEXT"));
    UpdateMetadataRequest::default()
        .with_controller_id(WireBrokerId(ME.0))
        .with_live_brokers(vec![
            UpdateMetadataBroker::default()
                .with_id(WireBrokerId(ME.0))
                .with_endpoints(vec![endpoint]),
        ])
        .with_topic_states(vec![
            topic("t", 2),
            topic(TRANSACTION_STATE_TOPIC, 1),
            topic(GROUP_METADATA_TOPIC, 1),
        ])
}

pub(super) async fn until(done: impl Fn() -> bool) {
    for _ in 0..2_000 {
        if done() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("it never came to pass");
}

use ErrorCode::None as Fine;

#[tokio::test]
async fn a_producer_lives_at_every_version() {
    let stage = Stage::new(&[ME]).await;
    for version in 0..=6 {
        let id = format!("find-{version}");
        let request = FindCoordinatorRequest::default().with_key_type(1);
        let found = if version == 0 {
            // Knows groups only.
            continue;
        } else if version < 4 {
            let answer = stage.ask(version, &request.with_key(wire(&id))).await;
            (answer.error_code, answer.node_id.0)
        } else {
            let answer = stage
                .ask(version, &request.with_coordinator_keys(vec![wire(&id)]))
                .await;
            (answer.coordinators[0].error_code, answer.coordinators[0].node_id.0)
        };
        assert_eq!(found, (0, ME.0), "version {version}");
    }
    for version in 0..=5 {
        let id = format!("tx-{version}");
        let older = version.min(4);
        let answer = stage.init(version, &id).await;
        assert_eq!((answer.error_code, answer.producer_epoch), (0, 0), "{id}");
        let me = (answer.producer_id.0, 0);
        assert_eq!(
            stage.add(version, &id, me, &[("t", 0), ("t", 1)]).await,
            [Fine, Fine],
            "{id}"
        );
        assert_eq!(stage.state(&id), "Ongoing");
        let offsets = AddOffsetsToTxnRequest::default()
            .with_transactional_id(transactional_id(&id))
            .with_producer_id(WireProducerId(me.0))
            .with_group_id(GroupId(wire("g")));
        assert_eq!(stage.ask(older, &offsets).await.error_code, 0, "{id}");
        let partitions = &stage.broker.transactions.describe(&id).unwrap().partitions;
        let names: Vec<_> = partitions.iter().map(ToString::to_string).collect();
        assert_eq!(names, ["__consumer_offsets-0", "t-0", "t-1"]);
        assert_eq!(stage.end(older, &id, me, version % 2 == 0).await, Fine, "{id}");
        let expected = if version % 2 == 0 {
            "CompleteCommit"
        } else {
            "CompleteAbort"
        };
        until(|| stage.state(&id) == expected).await;
    }
}

#[tokio::test]
async fn a_marker_is_written_into_every_partition_of_the_transaction() {
    let stage = Stage::new(&[ME]).await;
    let me = (stage.init(4, "tx").await.producer_id.0, 0);
    assert_eq!(stage.add(3, "tx", me, &[("t", 0), ("t", 1)]).await, [Fine, Fine]);
    assert_eq!(stage.end(3, "tx", me, true).await, Fine);
    until(|| stage.state("tx") == "CompleteCommit").await;
    for index in 0..2 {
        let Lookup::Online(partition) = stage.broker.partitions.lookup("t", index) else {
            panic!("no partition")
        };
        assert_eq!(partition.log().unwrap().log_end_offset(), Offset(1), "t-{index}");
    }
}

#[tokio::test]
async fn whoever_was_fenced_is_told_as_its_version_knows() {
    let stage = Stage::new(&[ME]).await;
    let old = (stage.init(5, "tx").await.producer_id.0, 0);
    assert_eq!(stage.init(5, "tx").await.producer_epoch, 1);
    for version in 0..=5 {
        let fenced = |since: i16| {
            if version < since {
                ErrorCode::InvalidProducerEpoch
            } else {
                ErrorCode::ProducerFenced
            }
        };
        assert_eq!(
            stage.add(version, "tx", old, &[("t", 0)]).await,
            [fenced(2)],
            "add {version}"
        );
        if version <= 4 {
            assert_eq!(stage.end(version, "tx", old, true).await, fenced(2), "end {version}");
        }
        if version >= 3 {
            let stranger = init_request("tx", 60_000)
                .with_producer_id(WireProducerId(old.0 + 99))
                .with_producer_epoch(0);
            let answer = stage.ask(version, &stranger).await;
            assert_eq!(code(answer.error_code), fenced(4), "init {version}");
            assert_eq!((answer.producer_id.0, answer.producer_epoch), (-1, -1));
        }
    }
}

#[tokio::test]
async fn one_partition_that_is_refused_keeps_the_others_out() {
    let stage = Stage::new(&[ME]).await;
    let me = (stage.init(4, "tx").await.producer_id.0, 0);
    let not_attempted = ErrorCode::OperationNotAttempted;
    let unknown = ErrorCode::UnknownTopicOrPartition;
    for version in 0..=5 {
        let answer = stage.add(version, "tx", me, &[("t", 0), ("t", 9), ("u", 0)]).await;
        assert_eq!(answer, [not_attempted, unknown, unknown], "version {version}");
    }
    let internal = [("t", 0), (GROUP_METADATA_TOPIC, 0)];
    let answer = stage.add(3, "tx", me, &internal).await;
    assert_eq!(answer, [not_attempted, ErrorCode::TopicAuthorizationFailed]);
    assert_eq!(stage.state("tx"), "Empty");
}

#[tokio::test]
async fn brokers_learn_whether_partitions_are_part_of_a_transaction() {
    let stage = Stage::new(&[ME]).await;
    let me = (stage.init(4, "tx").await.producer_id.0, 0);
    assert_eq!(stage.add(3, "tx", me, &[("t", 1)]).await, [Fine]);
    for version in 4..=5 {
        let abortable = ErrorCode::TransactionAbortable;
        assert_eq!(
            stage.verify(version, "tx", me, &[("t", 0), ("t", 1)]).await,
            [abortable, Fine]
        );
        assert_eq!(
            stage.verify(version, "tx", (me.0, 7), &[("t", 1)]).await,
            [ErrorCode::ProducerFenced]
        );
        let mapping = ErrorCode::InvalidProducerIdMapping;
        assert_eq!(stage.verify(version, "tx", (me.0 + 1, 0), &[("t", 1)]).await, [mapping]);
        assert_eq!(stage.verify(version, "never", me, &[("t", 1)]).await, [mapping]);
    }
}

#[tokio::test]
async fn requests_that_nobody_can_mean_are_refused() {
    let stage = Stage::new(&[ME]).await;
    let init = async |request: InitProducerIdRequest| code(stage.ask(4, &request).await.error_code);
    assert_eq!(init(init_request("", 1_000)).await, ErrorCode::InvalidRequest);
    assert_eq!(init(init_request("tx", 0)).await, ErrorCode::InvalidTransactionTimeout);
    assert_eq!(
        init(init_request("tx", 900_001)).await,
        ErrorCode::InvalidTransactionTimeout
    );
    let half = init_request("tx", 1_000).with_producer_id(WireProducerId(5));
    assert_eq!(init(half).await, ErrorCode::InvalidRequest);
    assert_eq!(stage.end(3, "", (0, 0), true).await, ErrorCode::InvalidRequest);
    assert_eq!(
        stage.end(3, "never", (0, 0), true).await,
        ErrorCode::InvalidProducerIdMapping
    );
    assert_eq!(stage.add(3, "", (0, 0), &[("t", 0)]).await, [ErrorCode::InvalidRequest]);
    let me = (stage.init(4, "tx").await.producer_id.0, 0);
    assert_eq!(stage.end(3, "tx", me, true).await, ErrorCode::InvalidTxnState);
}

#[tokio::test]
async fn transactions_are_listed_and_described() {
    let stage = Stage::new(&[ME]).await;
    let a = (stage.init(4, "a").await.producer_id.0, 0);
    let b = stage.init(4, "b").await.producer_id;
    assert_eq!(stage.add(3, "a", a, &[("t", 1), ("t", 0)]).await, [Fine, Fine]);
    for version in 0..=1 {
        let list = async |states: &[&str], ids: &[WireProducerId], duration: i64| {
            let mut request = ListTransactionsRequest::default()
                .with_state_filters(states.iter().map(|name| wire(name)).collect())
                .with_producer_id_filters(ids.to_vec());
            if version >= 1 {
                request.duration_filter = duration;
            }
            let answer = stage.ask(version, &request).await;
            assert_eq!(answer.error_code, 0);
            let mut listed: Vec<_> = answer
                .transaction_states
                .iter()
                .map(|it| format!("{} {}", it.transactional_id.as_str(), it.transaction_state))
                .collect();
            listed.sort();
            (listed.join(", "), answer.unknown_state_filters.len())
        };
        assert_eq!(list(&[], &[], -1).await, ("a Ongoing, b Empty".to_owned(), 0));
        assert_eq!(list(&["Ongoing"], &[], -1).await, ("a Ongoing".to_owned(), 0));
        assert_eq!(list(&["nonsense"], &[], -1).await, (String::new(), 1));
        assert_eq!(list(&[], &[b], -1).await, ("b Empty".to_owned(), 0));
        if version >= 1 {
            // An id without a transaction began it at -1, as Kafka counts.
            assert_eq!(list(&["Ongoing"], &[], 3_600_000).await, (String::new(), 0));
        }
    }
    let ids = ["a", "never", ""].map(transactional_id).to_vec();
    let answer = stage
        .ask(0, &DescribeTransactionsRequest::default().with_transactional_ids(ids))
        .await;
    let states = &answer.transaction_states;
    assert_eq!(
        (states[0].error_code, states[0].transaction_state.as_str()),
        (0, "Ongoing")
    );
    assert_eq!(
        (states[0].producer_id.0, states[0].transaction_timeout_ms),
        (a.0, 60_000)
    );
    assert_eq!(states[0].topics[0].partitions, [0, 1]);
    assert_eq!(code(states[1].error_code), ErrorCode::TransactionalIdNotFound);
    assert_eq!(code(states[2].error_code), ErrorCode::InvalidRequest);
}

#[tokio::test]
async fn an_answer_waits_for_the_followers() {
    let stage = Stage::new(&[ME, OTHER]).await;
    let asking = stage.init(4, "tx");
    tokio::pin!(asking);
    let early = tokio::time::timeout(Duration::from_millis(100), &mut asking).await;
    assert!(early.is_err(), "answered before the follower had it");
    stage.follower_catches_up();
    assert_eq!(asking.await.error_code, 0);
}

#[tokio::test]
async fn who_waits_at_a_coordinator_that_resigns_is_sent_away() {
    let mut stage = Stage::new(&[ME, OTHER]).await;
    let broker = Arc::clone(&stage.broker);
    let connection = Arc::clone(&stage.connection);
    let frame: Bytes = codec::encode_request(7, "client", 4, &init_request("tx", 1_000)).unwrap();
    let asking = tokio::spawn(async move { super::serve(&broker, &connection, frame.slice(4..)).await });
    until(|| {
        let Lookup::Online(partition) = stage.broker.partitions.lookup(TRANSACTION_STATE_TOPIC, 0) else {
            panic!("no partition")
        };
        partition.log().unwrap().log_end_offset() > Offset(0)
    })
    .await;
    stage.elect(OTHER).await;
    let Reply::Bytes(frame) = asking.await.unwrap() else {
        panic!("no answer")
    };
    let (_, body) = parse_response_header(&frame.slice(4..), 1).unwrap();
    let answer = codec::decode_response::<InitProducerIdRequest>(4, body).unwrap();
    assert_eq!(code(answer.error_code), ErrorCode::NotCoordinator);
    let answer = stage.init(4, "tx").await;
    assert_eq!(code(answer.error_code), ErrorCode::NotCoordinator);
}

#[tokio::test]
async fn a_new_leader_goes_on_where_the_log_ends_once_it_is_replicated() {
    let mut stage = Stage::new(&[ME, OTHER]).await;
    let followed = async {
        loop {
            stage.follower_catches_up();
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    let me = tokio::select! {
        () = followed => unreachable!("it never ends"),
        me = async {
            let me = (stage.init(4, "tx").await.producer_id.0, 0);
            assert_eq!(stage.add(3, "tx", me, &[("t", 0)]).await, [Fine]);
            me
        } => me,
    };
    // The decision is in the log, and not replicated, when the leadership comes and goes.
    let early = tokio::time::timeout(Duration::from_millis(100), stage.end(3, "tx", me, true)).await;
    assert!(early.is_err(), "answered before the follower had it");
    stage.elect(OTHER).await;
    stage.elect(ME).await;
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(stage.describe_now("tx"), Some(ErrorCode::CoordinatorLoadInProgress));
    until(|| {
        stage.follower_catches_up();
        stage.state("tx") == "CompleteCommit"
    })
    .await;
    let Lookup::Online(partition) = stage.broker.partitions.lookup("t", 0) else {
        panic!("no partition")
    };
    assert_eq!(partition.log().unwrap().log_end_offset(), Offset(1), "the marker");
}

#[tokio::test]
async fn the_next_transaction_waits_for_the_last_markers() {
    let stage = Stage::new(&[ME]).await;
    let me = (stage.init(4, "tx").await.producer_id.0, 0);
    for _ in 0..20 {
        assert_eq!(stage.add(3, "tx", me, &[("t", 0), ("t", 1)]).await, [Fine, Fine]);
        assert_eq!(stage.end(3, "tx", me, true).await, Fine);
    }
    // A leader that nobody knows: for ever nobody waits.
    let mut leaderless = metadata();
    leaderless.topic_states.truncate(1);
    leaderless.topic_states[0].partition_states[0].leader = WireBrokerId(-1);
    assert_eq!(stage.add(3, "tx", me, &[("t", 0)]).await, [Fine]);
    stage.broker.metadata.update(&leaderless);
    assert_eq!(stage.end(3, "tx", me, true).await, Fine);
    let concurrent = ErrorCode::ConcurrentTransactions;
    assert_eq!(stage.add(3, "tx", me, &[("t", 1)]).await, [concurrent]);
    let init = init_request("tx", 60_000)
        .with_producer_id(WireProducerId(me.0))
        .with_producer_epoch(0);
    assert_eq!(code(stage.ask(4, &init).await.error_code), concurrent);
    stage.broker.metadata.update(&metadata());
    until(|| stage.state("tx") == "CompleteCommit").await;
}

#[tokio::test]
async fn a_transaction_that_takes_too_long_is_aborted() {
    let stage = Stage::new(&[ME]).await;
    let request = init_request("tx", 50);
    let me = (stage.ask(4, &request).await.producer_id.0, 0);
    assert_eq!(stage.add(3, "tx", me, &[("t", 0)]).await, [Fine]);
    until(|| stage.state("tx") == "CompleteAbort").await;
    assert_eq!(stage.end(3, "tx", me, true).await, ErrorCode::ProducerFenced);
}

#[tokio::test]
async fn a_deleted_partition_holds_up_nobody() {
    let stage = Stage::new(&[ME]).await;
    let me = (stage.init(4, "tx").await.producer_id.0, 0);
    assert_eq!(stage.add(3, "tx", me, &[("t", 0), ("t", 1)]).await, [Fine, Fine]);
    let mut deleted = metadata();
    deleted.topic_states.truncate(1);
    for state in &mut deleted.topic_states[0].partition_states {
        state.leader = WireBrokerId(-2);
    }
    stage.broker.metadata.update(&deleted);
    assert_eq!(stage.end(3, "tx", me, true).await, Fine);
    until(|| stage.state("tx") == "CompleteCommit").await;
}

#[test]
fn the_requests_are_served_as_kafka_serves_them() {
    for (key, newest) in [(22, 5), (24, 5), (25, 4), (26, 4), (27, 1), (65, 0), (66, 1)] {
        let api = served(key).unwrap();
        assert_eq!((api.min_version, api.max_version), (0, newest), "{}", api.name());
    }
}
