//! Topics created, grown and wished away, as Kafka writes and words it. No controller takes part.

use model::Millis;
use zk_schema::brokers::ids::{Endpoint, SecurityProtocol};
use zk_schema::controller::{self, Controller};
use zk_schema_store::MemoryTree;

use super::*;

/// A cluster of brokers 1 to 3 with a controller.
async fn cluster() -> (MemoryTree, Store) {
    let tree = MemoryTree::new();
    let store = Store::in_memory(tree.clone());
    for path in zk_schema::PERSISTENT_PATHS {
        store
            .create_recursive(path, Vec::new(), CreateMode::Persistent)
            .await
            .unwrap();
    }
    for id in 1..=3 {
        let broker = BrokerRegistration {
            id: BrokerId(id),
            version: 5,
            endpoints: vec![Endpoint {
                listener: "PLAINTEXT".into(),
                host: "localhost".into(),
                port: 9092,
                security_protocol: SecurityProtocol::Plaintext,
            }],
            rack: None,
            jmx_port: -1,
            timestamp: Millis(1),
            features: BTreeMap::new(),
        };
        store.multi(broker.registration()).await.unwrap();
    }
    let controller = Controller::new(BrokerId(1), Millis(1)).encode();
    store
        .create(controller::PATH, controller, CreateMode::Ephemeral)
        .await
        .unwrap();
    (tree, store)
}

fn ids(ids: &[i32]) -> Vec<BrokerId> {
    ids.iter().copied().map(BrokerId).collect()
}

fn new_topic(name: &str, assignment: &[(i32, &[i32])], config: &[(&str, &str)]) -> NewTopic {
    NewTopic {
        name: name.into(),
        assignment: assignment.iter().map(|(p, replicas)| (*p, ids(replicas))).collect(),
        config: config.iter().map(|(k, v)| ((*k).into(), (*v).into())).collect(),
    }
}

/// The znodes of capture 02 of the reference.
#[tokio::test]
async fn a_new_topic_is_two_znodes_as_kafka_writes_them() {
    let (tree, store) = cluster().await;
    let topic = new_topic("t39", &[(0, &[1, 2, 3]), (1, &[2, 3, 1]), (2, &[3, 1, 2])], &[]);
    validate_create(&store, &topic, &LogConfig::default()).await.unwrap();
    create(&store, &topic, "tMvAWnNmQxqqRn9hnKObvQ".parse().unwrap())
        .await
        .unwrap();
    let znodes = tree.dump();
    assert_eq!(znodes["/config/topics/t39"], r#"{"version":1,"config":{}}"#);
    assert_eq!(
        znodes["/brokers/topics/t39"],
        r#"{"partitions":{"0":[1,2,3],"1":[2,3,1],"2":[3,1,2]},"topic_id":"tMvAWnNmQxqqRn9hnKObvQ","adding_replicas":{},"removing_replicas":{},"version":3}"#
    );
    assert!(
        !znodes.keys().any(|path| path.starts_with("/config/changes/")),
        "a creation is not announced"
    );
    let again = create(&store, &topic, new_topic_id()).await;
    assert_eq!(again.unwrap_err().code(), ErrorCode::TopicAlreadyExists);
}

#[tokio::test]
async fn what_is_not_a_valid_topic_is_refused_in_kafkas_words() {
    use ErrorCode::{InvalidConfig, InvalidReplicaAssignment, InvalidTopicException, TopicAlreadyExists};
    let (_, store) = cluster().await;
    create(&store, &new_topic("probe.c", &[(0, &[1])], &[]), new_topic_id())
        .await
        .unwrap();
    create(&store, &new_topic("going", &[(0, &[1])], &[]), new_topic_id())
        .await
        .unwrap();
    delete(&store, "going").await.unwrap();
    let check = async |topic: NewTopic, code: ErrorCode, message: &str| {
        let refused = validate_create(&store, &topic, &LogConfig::default()).await;
        assert_eq!(refused, Err(AdminError::refused(code, message)), "{topic:?}");
    };
    let one: &[(i32, &[i32])] = &[(0, &[1])];
    let invalid = "Topic name is invalid: the empty string is not allowed";
    check(new_topic("", one, &[]), InvalidTopicException, invalid).await;
    let slash =
        "Topic name is invalid: 'a/b' contains one or more characters other than ASCII alphanumerics, '.', '_' and '-'";
    check(new_topic("a/b", one, &[]), InvalidTopicException, slash).await;
    let exists = "Topic 'probe.c' already exists.";
    check(new_topic("probe.c", one, &[]), TopicAlreadyExists, exists).await;
    let collides = "Topic 'probe_c' collides with existing topics: probe.c";
    check(new_topic("probe_c", one, &[]), InvalidTopicException, collides).await;
    let marked = "Topic 'going' is marked for deletion.";
    check(new_topic("going", one, &[]), TopicAlreadyExists, marked).await;
    let twice = "Duplicate replica assignment found: HashMap(0 -> ArrayBuffer(1, 1))";
    check(new_topic("t", &[(0, &[1, 1])], &[]), InvalidReplicaAssignment, twice).await;
    let gap = "partitions should be a consecutive 0-based integer sequence";
    check(
        new_topic("t", &[(0, &[1]), (2, &[1])], &[]),
        InvalidReplicaAssignment,
        gap,
    )
    .await;
    let unequal = "All partitions should have the same number of replicas";
    check(
        new_topic("t", &[(0, &[1]), (1, &[1, 2])], &[]),
        InvalidReplicaAssignment,
        unequal,
    )
    .await;
    let unknown = "Unknown topic config name: no.such.config";
    check(new_topic("t", one, &[("no.such.config", "1")]), InvalidConfig, unknown).await;
    let text = "Invalid value abc for configuration retention.ms: Not a number of type LONG";
    check(new_topic("t", one, &[("retention.ms", "abc")]), InvalidConfig, text).await;
}

#[tokio::test]
async fn a_topic_is_wished_away_once_or_twice() {
    let (tree, store) = cluster().await;
    create(&store, &new_topic("t", &[(0, &[1])], &[]), new_topic_id())
        .await
        .unwrap();
    delete(&store, "t").await.unwrap();
    delete(&store, "t").await.unwrap();
    assert_eq!(tree.dump()["/admin/delete_topics/t"], "");
    for name in ["nope", "", "a/b", ".."] {
        let refused = delete(&store, name).await.unwrap_err();
        assert_eq!(refused.code(), ErrorCode::UnknownTopicOrPartition, "{name}");
    }
}

#[tokio::test]
async fn partitions_are_added_and_the_topic_keeps_its_id() {
    let (_, store) = cluster().await;
    let topic_id = new_topic_id();
    create(&store, &new_topic("t", &[(0, &[2, 3])], &[]), topic_id)
        .await
        .unwrap();
    let more = |count: i32, assignments: Option<&[&[i32]]>| MorePartitions {
        count,
        assignments: assignments.map(|given| given.iter().map(|replicas| ids(replicas)).collect()),
    };
    let replicas = |partitions: BTreeMap<i32, ReplicaAssignment>| -> Vec<Vec<BrokerId>> {
        partitions.into_values().map(|assignment| assignment.replicas).collect()
    };
    let stored = async || {
        let (data, _) = store.get("/brokers/topics/t").await.unwrap().unwrap();
        TopicAssignment::decode("t", &data).unwrap()
    };
    // The round goes on from the first partition's leader: broker 2 is second in the ring.
    let planned = replicas(
        add_partitions(&store, "t", &more(3, None), true, |_| Ok(()))
            .await
            .unwrap(),
    );
    assert_eq!(planned, [ids(&[2, 3]), ids(&[3, 2]), ids(&[1, 3])]);
    assert_eq!(stored().await.partitions.len(), 1, "validate only");
    let added = add_partitions(&store, "t", &more(3, None), false, |_| Ok(()))
        .await
        .unwrap();
    assert_eq!(replicas(added), planned);
    let manual: &[&[i32]] = &[&[3, 1]];
    add_partitions(&store, "t", &more(4, Some(manual)), false, |_| Ok(()))
        .await
        .unwrap();
    let after = stored().await;
    assert_eq!(after.topic_id, Some(topic_id));
    assert_eq!(after.partitions[&3].replicas, ids(&[3, 1]));
}

#[tokio::test]
async fn partitions_that_cannot_be_added_are_refused_in_kafkas_words() {
    use ErrorCode::{InvalidPartitions, InvalidReplicaAssignment, ReassignmentInProgress, UnknownTopicOrPartition};
    let (_, store) = cluster().await;
    create(&store, &new_topic("probe", &[(0, &[1])], &[]), new_topic_id())
        .await
        .unwrap();
    let mut moving = TopicAssignment::default();
    let assignment = ReplicaAssignment {
        adding_replicas: ids(&[2]),
        ..ReplicaAssignment::new(ids(&[1, 2]))
    };
    moving.partitions.insert(0, assignment);
    store
        .create("/brokers/topics/moving", moving.encode(), CreateMode::Persistent)
        .await
        .unwrap();
    let check = async |topic: &str, count: i32, assignments: Option<&[&[i32]]>, code: ErrorCode, message: &str| {
        let wish = MorePartitions {
            count,
            assignments: assignments.map(|given| given.iter().map(|replicas| ids(replicas)).collect()),
        };
        let refused = add_partitions(&store, topic, &wish, false, |_| Ok(())).await;
        assert_eq!(refused, Err(AdminError::refused(code, message)));
    };
    let fewer = "Topic currently has 1 partitions, which is higher than the requested 0.";
    check("probe", 0, None, InvalidPartitions, fewer).await;
    check("probe", 1, None, InvalidPartitions, "Topic already has 1 partitions.").await;
    let many = "A topic cannot have more than 131072 partitions.";
    check("probe", i32::MAX, None, InvalidPartitions, many).await;
    check(
        "nope",
        2,
        None,
        UnknownTopicOrPartition,
        "The topic 'nope' does not exist.",
    )
    .await;
    check(
        "a/b",
        2,
        None,
        UnknownTopicOrPartition,
        "The topic 'a/b' does not exist.",
    )
    .await;
    let too_few = "Increasing the number of partitions by 2 but 1 assignments provided.";
    check("probe", 3, Some(&[&[1]]), InvalidReplicaAssignment, too_few).await;
    let unknown = "Unknown broker(s) in replica assignment: 77.";
    check("probe", 2, Some(&[&[77]]), InvalidReplicaAssignment, unknown).await;
    let factor = "Inconsistent replication factor between partitions, partition 0 has 1 while partitions [1] have replication factors [2], respectively.";
    check("probe", 2, Some(&[&[1, 2]]), InvalidReplicaAssignment, factor).await;
    let moving = "A partition reassignment is in progress for the topic 'moving'.";
    check("moving", 2, None, ReassignmentInProgress, moving).await;
}

#[test]
fn ids_differ_and_never_read_like_an_option() {
    let made: BTreeSet<TopicId> = (0..200).map(|_| new_topic_id()).collect();
    assert_eq!(made.len(), 200);
    assert!(made.iter().all(|id| !id.to_string().starts_with('-')));
}
