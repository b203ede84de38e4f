//! Every request of somebody who has no right at all, in every version: which errors it is answered with.
//!
//! What is expected was recorded from Apache Kafka 3.9.1: run this test with `OTTLA_BROKER_COMMAND` naming its broker and
//! `OTTLA_RECORD=1`. A version that our broker does not advertise is left out, and only that.

use std::collections::BTreeMap;
use std::fmt::Debug;

use base64::Engine;
use bytes::{Buf, BufMut, Bytes, BytesMut};
use integration_tests::{Connection, Scene, Znodes, free_port, is_reference, kafka, repository};
use kafka_protocol::messages::*;
use kafka_protocol::protocol::{Decodable, HeaderVersion, Request, StrBytes};

const TOPIC: &str = "secret";
const GOLDEN: &str = "integration-tests/testdata/acls/rightless.tsv";

fn text(text: &str) -> StrBytes {
    StrBytes::from_string(text.to_owned())
}

fn topic() -> TopicName {
    TopicName(text(TOPIC))
}

fn group() -> GroupId {
    GroupId(text("g"))
}

/// The way to the broker, and what its answers were.
struct Table {
    port: u16,
    /// Versions that the broker advertises.
    versions: BTreeMap<i16, (i16, i16)>,
    topic_id: uuid::Uuid,
    lines: BTreeMap<(i16, String, i16), String>,
}

impl Table {
    /// Sends what `request` makes for each version, and keeps the codes of the answers.
    fn ask<R: Request>(&mut self, what: &str, request: impl Fn(i16) -> Option<R>)
    where
        R::Response: Debug,
    {
        let Some((oldest, newest)) = self.versions.get(&R::KEY).copied() else {
            return;
        };
        for version in oldest..=newest {
            let Some(request) = request(version) else { continue };
            let name = format!("{:?} {what}", ApiKey::try_from(R::KEY).expect("a key that is known"));
            let answer = self.answer(version, &request).unwrap_or_else(|error| error);
            self.lines.insert((R::KEY, name.trim().to_owned(), version), answer);
        }
    }

    /// All codes in the answer, in the order of their numbers.
    fn answer<R: Request>(&self, version: i16, request: &R) -> Result<String, String>
    where
        R::Response: Debug,
    {
        let mut body = BytesMut::new();
        body.put_i16(R::KEY);
        body.put_i16(version);
        body.put_i32(7);
        let client = "rightless";
        body.put_i16(9);
        body.put_slice(client.as_bytes());
        if R::header_version(version) >= 2 {
            body.put_u8(0);
        }
        request
            .encode(&mut body, version)
            .unwrap_or_else(|error| panic!("version {version} of {}: {error}", R::KEY));
        let mut frame = BytesMut::new();
        frame.put_i32(i32::try_from(body.len()).expect("a small request"));
        frame.put_slice(&body);
        let mut connection = Connection::open(self.port).map_err(|error| error.to_string())?;
        connection.write_raw(&frame).map_err(|_| "closed".to_owned())?;
        let (_, mut answer) = connection.receive().map_err(|_| "closed".to_owned())?;
        if R::Response::header_version(version) >= 1 {
            answer.advance(1);
        }
        let decoded = R::Response::decode(&mut answer, version).map_err(|error| format!("not understood: {error}"))?;
        let shown = format!("{decoded:?}");
        let mut codes: Vec<i16> = shown
            .match_indices("error_code: ")
            .map(|(at, name)| {
                let rest = &shown[at + name.len()..];
                let end = rest
                    .find(|c: char| c != '-' && !c.is_ascii_digit())
                    .unwrap_or(rest.len());
                rest[..end].parse().expect("a number")
            })
            .collect();
        codes.sort_unstable();
        Ok(format!("{codes:?}"))
    }
}

/// `GetApiVersions` of version 0: keys and their versions.
fn advertised(port: u16) -> BTreeMap<i16, (i16, i16)> {
    let mut connection = Connection::open(port).expect("the broker listens");
    connection.send(18, 0, &[]).expect("it reads");
    let (_, mut answer) = connection.receive().expect("it answers");
    assert_eq!(answer.get_i16(), 0);
    let count = answer.get_i32();
    (0..count)
        .map(|_| (answer.get_i16(), (answer.get_i16(), answer.get_i16())))
        .collect()
}

#[test]
fn every_request_without_rights_is_refused_as_kafka_refuses_it() {
    let scene = Scene::new("rightless");
    let internal = free_port();
    let setup = scene.broker(1);
    let port = setup.port();
    let setup = setup
        .set(
            "listeners",
            &format!("PLAINTEXT://127.0.0.1:{port},INTERNAL://127.0.0.1:{internal}"),
        )
        .set(
            "listener.security.protocol.map",
            "PLAINTEXT:PLAINTEXT,INTERNAL:SASL_PLAINTEXT",
        )
        .set("inter.broker.listener.name", "INTERNAL")
        .set("sasl.enabled.mechanisms", "PLAIN")
        .set("sasl.mechanism.inter.broker.protocol", "PLAIN")
        .set(
            "listener.name.internal.plain.sasl.jaas.config",
            "org.apache.kafka.common.security.plain.PlainLoginModule required username=\"admin\" password=\"s\" user_admin=\"s\";",
        )
        .set("authorizer.class.name", "kafka.security.authorizer.AclAuthorizer")
        .set("super.users", "User:admin");
    let _broker = setup.start();
    let login = scene.directory().join("admin.properties");
    std::fs::write(
        &login,
        "security.protocol=SASL_PLAINTEXT\nsasl.mechanism=PLAIN\nsasl.jaas.config=org.apache.kafka.common.security.plain.PlainLoginModule required username=\"admin\" password=\"s\";\n",
    )
    .expect("a file can be written");
    let bootstrap = format!("127.0.0.1:{internal}");
    let login = login.display().to_string();
    let admin = ["--bootstrap-server", &bootstrap, "--command-config", &login];
    let create = [
        "--create",
        "--topic",
        TOPIC,
        "--partitions",
        "1",
        "--replication-factor",
        "1",
    ];
    kafka("kafka-topics", &[&admin[..], &create[..]].concat()).succeeds();

    let mut znodes = Znodes::open(scene.zookeeper_connect()).expect("ZooKeeper listens");
    let znode = znodes
        .get("/brokers/topics/secret")
        .expect("it answers")
        .expect("the topic is there");
    let data: serde_json::Value = serde_json::from_str(&znode.data).expect("JSON");
    let id = data["topic_id"].as_str().expect("an id");
    let id = base64::engine::general_purpose::URL_SAFE_NO_PAD
        .decode(id)
        .expect("base64");
    let mut table = Table {
        port,
        versions: advertised(port),
        topic_id: uuid::Uuid::from_slice(&id).expect("sixteen bytes"),
        lines: BTreeMap::new(),
    };
    records(&mut table);
    transactions(&mut table);
    groups(&mut table);
    topics(&mut table);
    administration(&mut table);
    between_brokers(&mut table);
    compare(&table);
}

fn compare(table: &Table) {
    let line =
        |((key, name, version), codes): (&(i16, String, i16), &String)| format!("{key}\t{name}\t{version}\t{codes}\n");
    let found: Vec<String> = table.lines.iter().map(line).collect();
    let path = repository().join(GOLDEN);
    if is_reference() && std::env::var_os("OTTLA_RECORD").is_some() {
        std::fs::write(&path, found.concat()).expect("the golden file can be written");
        return;
    }
    let golden = std::fs::read_to_string(&path).expect("the golden file is there");
    let expected: Vec<&str> = golden
        .split_inclusive('\n')
        .filter(|line| {
            let mut words = line.split('\t');
            let key: i16 = words.next().and_then(|key| key.parse().ok()).expect("a key");
            let version: i16 = words
                .nth(1)
                .and_then(|version| version.parse().ok())
                .expect("a version");
            let ours = table.versions.get(&key);
            ours.is_some_and(|(oldest, newest)| (*oldest..=*newest).contains(&version))
        })
        .collect();
    let differences: Vec<String> = expected
        .iter()
        .filter(|line| !found.iter().any(|found| found == *line))
        .map(|line| format!("expected {line}"))
        .chain(
            found
                .iter()
                .filter(|line| !expected.contains(&line.as_str()))
                .map(|line| format!("found    {line}")),
        )
        .collect();
    assert!(differences.is_empty(), "{}", differences.concat());
    assert!(expected.len() > 150, "the table has {} lines", expected.len());
}

fn records(table: &mut Table) {
    use {fetch_request as fetch, list_offsets_request as list, offset_for_leader_epoch_request as epoch};
    table.ask("", |_| {
        let data = produce_request::PartitionProduceData::default().with_records(Some(Bytes::new()));
        let topic = produce_request::TopicProduceData::default()
            .with_name(topic())
            .with_partition_data(vec![data]);
        Some(
            ProduceRequest::default()
                .with_acks(1)
                .with_timeout_ms(1000)
                .with_topic_data(vec![topic]),
        )
    });
    let id = table.topic_id;
    let fetched = move |version: i16| {
        let partition = fetch::FetchPartition::default().with_partition_max_bytes(1000);
        let named = match version {
            ..13 => fetch::FetchTopic::default().with_topic(topic()),
            _ => fetch::FetchTopic::default().with_topic_id(id),
        };
        FetchRequest::default()
            .with_max_bytes(1000)
            .with_topics(vec![named.with_partitions(vec![partition])])
    };
    table.ask("", |version| Some(fetched(version)));
    table.ask("of a follower", |version| {
        Some(match version {
            ..15 => fetched(version).with_replica_id(BrokerId(1)),
            _ => fetched(version).with_replica_state(fetch::ReplicaState::default().with_replica_id(BrokerId(1))),
        })
    });
    table.ask("", |_| {
        let partition = list::ListOffsetsPartition::default().with_timestamp(-1);
        let topic = list::ListOffsetsTopic::default()
            .with_name(topic())
            .with_partitions(vec![partition]);
        Some(
            ListOffsetsRequest::default()
                .with_replica_id(BrokerId(-1))
                .with_topics(vec![topic]),
        )
    });
    table.ask("", |_| {
        let topic = epoch::OffsetForLeaderTopic::default()
            .with_topic(topic())
            .with_partitions(vec![epoch::OffsetForLeaderPartition::default()]);
        Some(OffsetForLeaderEpochRequest::default().with_topics(vec![topic]))
    });
    table.ask("", |_| {
        Some(InitProducerIdRequest::default().with_transactional_id(None))
    });
    table.ask("for transactions", |_| {
        Some(InitProducerIdRequest::default().with_transactional_id(Some(TransactionalId(text("tx")))))
    });
    table.ask("", |_| {
        let topic = delete_records_request::DeleteRecordsTopic::default()
            .with_name(topic())
            .with_partitions(vec![delete_records_request::DeleteRecordsPartition::default()]);
        Some(
            DeleteRecordsRequest::default()
                .with_timeout_ms(1000)
                .with_topics(vec![topic]),
        )
    });
    table.ask("", |_| {
        let topic = describe_producers_request::TopicRequest::default()
            .with_name(topic())
            .with_partition_indexes(vec![0]);
        Some(DescribeProducersRequest::default().with_topics(vec![topic]))
    });
}

fn transactions(table: &mut Table) {
    use add_partitions_to_txn_request as add;
    let id = || TransactionalId(text("tx"));
    let topics = |name: &str| {
        let topic = add::AddPartitionsToTxnTopic::default().with_name(TopicName(text(name)));
        vec![topic.with_partitions(vec![0])]
    };
    table.ask("", |version| {
        let request = AddPartitionsToTxnRequest::default();
        let transaction = add::AddPartitionsToTxnTransaction::default().with_transactional_id(id());
        Some(match version {
            ..4 => request
                .with_v3_and_below_transactional_id(id())
                .with_v3_and_below_topics(topics(TOPIC)),
            _ => request.with_transactions(vec![transaction.with_topics(topics(TOPIC))]),
        })
    });
    table.ask("", |_| {
        Some(
            AddOffsetsToTxnRequest::default()
                .with_transactional_id(id())
                .with_group_id(group()),
        )
    });
    table.ask("", |_| Some(EndTxnRequest::default().with_transactional_id(id())));
    table.ask("", |_| {
        use write_txn_markers_request as write;
        let topic = write::WritableTxnMarkerTopic::default()
            .with_name(topic())
            .with_partition_indexes(vec![0]);
        let marker = write::WritableTxnMarker::default().with_topics(vec![topic]);
        Some(WriteTxnMarkersRequest::default().with_markers(vec![marker]))
    });
    table.ask("", |_| {
        use txn_offset_commit_request as commit;
        let topic = commit::TxnOffsetCommitRequestTopic::default()
            .with_name(topic())
            .with_partitions(vec![commit::TxnOffsetCommitRequestPartition::default()]);
        Some(
            TxnOffsetCommitRequest::default()
                .with_transactional_id(id())
                .with_group_id(group())
                .with_topics(vec![topic]),
        )
    });
    table.ask("", |_| {
        Some(DescribeTransactionsRequest::default().with_transactional_ids(vec![id(), TransactionalId(text(""))]))
    });
    table.ask("", |_| Some(ListTransactionsRequest::default()));
}

fn groups(table: &mut Table) {
    table.ask("", |_| {
        let partition = offset_commit_request::OffsetCommitRequestPartition::default();
        let topic = offset_commit_request::OffsetCommitRequestTopic::default()
            .with_name(topic())
            .with_partitions(vec![partition]);
        Some(
            OffsetCommitRequest::default()
                .with_group_id(group())
                .with_topics(vec![topic]),
        )
    });
    table.ask("", |version| {
        use offset_fetch_request as fetch;
        let request = OffsetFetchRequest::default();
        Some(match version {
            ..8 => request.with_group_id(group()).with_topics(Some(vec![
                fetch::OffsetFetchRequestTopic::default()
                    .with_name(topic())
                    .with_partition_indexes(vec![0]),
            ])),
            _ => request.with_groups(vec![
                fetch::OffsetFetchRequestGroup::default()
                    .with_group_id(group())
                    .with_topics(Some(vec![
                        fetch::OffsetFetchRequestTopics::default()
                            .with_name(topic())
                            .with_partition_indexes(vec![0]),
                    ])),
            ]),
        })
    });
    for (what, kind) in [("of a group", 0), ("of transactions", 1)] {
        table.ask(what, |version| {
            let request = FindCoordinatorRequest::default();
            Some(match version {
                0 if kind > 0 => return None,
                0 => request.with_key(text("g")),
                1..4 => request.with_key(text("g")).with_key_type(kind),
                _ => request.with_coordinator_keys(vec![text("g")]).with_key_type(kind),
            })
        });
    }
    table.ask("", |_| {
        let protocol = join_group_request::JoinGroupRequestProtocol::default().with_name(text("range"));
        Some(
            JoinGroupRequest::default()
                .with_group_id(group())
                .with_session_timeout_ms(10_000)
                .with_protocol_type(text("consumer"))
                .with_protocols(vec![protocol]),
        )
    });
    table.ask("", |_| Some(HeartbeatRequest::default().with_group_id(group())));
    table.ask("", |version| {
        let request = LeaveGroupRequest::default().with_group_id(group());
        Some(match version {
            ..3 => request.with_member_id(text("m")),
            _ => request.with_members(vec![
                leave_group_request::MemberIdentity::default().with_member_id(text("m")),
            ]),
        })
    });
    table.ask("", |version| {
        let request = SyncGroupRequest::default()
            .with_group_id(group())
            .with_member_id(text("m"));
        Some(match version {
            ..5 => request,
            _ => request
                .with_protocol_type(Some(text("consumer")))
                .with_protocol_name(Some(text("range"))),
        })
    });
    table.ask("", |_| {
        Some(DescribeGroupsRequest::default().with_groups(vec![group()]))
    });
    table.ask("", |_| Some(ListGroupsRequest::default()));
    table.ask("", |_| {
        Some(DeleteGroupsRequest::default().with_groups_names(vec![group()]))
    });
    table.ask("", |_| {
        let topic = offset_delete_request::OffsetDeleteRequestTopic::default()
            .with_name(topic())
            .with_partitions(vec![offset_delete_request::OffsetDeleteRequestPartition::default()]);
        Some(
            OffsetDeleteRequest::default()
                .with_group_id(group())
                .with_topics(vec![topic]),
        )
    });
}

fn topics(table: &mut Table) {
    use metadata_request::MetadataRequestTopic;
    for name in [TOPIC, "unknown"] {
        table.ask(name, |_| {
            let topic = MetadataRequestTopic::default().with_name(Some(TopicName(text(name))));
            Some(MetadataRequest::default().with_topics(Some(vec![topic])))
        });
    }
    let id = table.topic_id;
    table.ask("by id", |version| {
        let topic = MetadataRequestTopic::default().with_name(None).with_topic_id(id);
        (version >= 12).then(|| MetadataRequest::default().with_topics(Some(vec![topic])))
    });
    table.ask("of all topics", |version| {
        Some(MetadataRequest::default().with_topics((version == 0).then(Vec::new)))
    });
    table.ask("", |_| {
        let new = create_topics_request::CreatableTopic::default()
            .with_name(TopicName(text("new")))
            .with_num_partitions(1)
            .with_replication_factor(1);
        Some(
            CreateTopicsRequest::default()
                .with_timeout_ms(1000)
                .with_topics(vec![new]),
        )
    });
    for name in [TOPIC, "unknown"] {
        table.ask(name, |version| {
            let request = DeleteTopicsRequest::default().with_timeout_ms(1000);
            let name = TopicName(text(name));
            Some(match version {
                ..6 => request.with_topic_names(vec![name]),
                _ => request.with_topics(vec![
                    delete_topics_request::DeleteTopicState::default().with_name(Some(name)),
                ]),
            })
        });
    }
    table.ask("", |_| {
        let topic = create_partitions_request::CreatePartitionsTopic::default()
            .with_name(topic())
            .with_count(2)
            .with_assignments(None);
        Some(
            CreatePartitionsRequest::default()
                .with_timeout_ms(1000)
                .with_topics(vec![topic]),
        )
    });
}

fn administration(table: &mut Table) {
    table.ask("", |_| {
        Some(
            DescribeAclsRequest::default()
                .with_resource_type_filter(1)
                .with_resource_name_filter(None)
                .with_principal_filter(None)
                .with_host_filter(None)
                .with_operation(1)
                .with_permission_type(1),
        )
    });
    table.ask("", |_| {
        let creation = create_acls_request::AclCreation::default()
            .with_resource_type(2)
            .with_resource_name(text("t"))
            .with_principal(text("User:a"))
            .with_host(text("*"))
            .with_operation(3)
            .with_permission_type(3);
        Some(CreateAclsRequest::default().with_creations(vec![creation]))
    });
    table.ask("", |_| {
        let filter = delete_acls_request::DeleteAclsFilter::default()
            .with_resource_type_filter(1)
            .with_resource_name_filter(None)
            .with_principal_filter(None)
            .with_host_filter(None)
            .with_operation(1)
            .with_permission_type(1);
        Some(DeleteAclsRequest::default().with_filters(vec![filter]))
    });
    for (what, kind, name) in [
        ("of a topic", 2, TOPIC),
        ("of a broker", 4, "1"),
        ("of loggers", 8, "1"),
    ] {
        table.ask(what, |_| {
            let resource = describe_configs_request::DescribeConfigsResource::default()
                .with_resource_type(kind)
                .with_resource_name(text(name))
                .with_configuration_keys(None);
            Some(DescribeConfigsRequest::default().with_resources(vec![resource]))
        });
        if kind != 8 {
            table.ask(what, |_| {
                let resource = alter_configs_request::AlterConfigsResource::default()
                    .with_resource_type(kind)
                    .with_resource_name(text(name));
                Some(AlterConfigsRequest::default().with_resources(vec![resource]))
            });
        }
        table.ask(what, |_| {
            let resource = incremental_alter_configs_request::AlterConfigsResource::default()
                .with_resource_type(kind)
                .with_resource_name(text(name));
            Some(IncrementalAlterConfigsRequest::default().with_resources(vec![resource]))
        });
    }
    table.ask("", |_| {
        let topic = alter_replica_log_dirs_request::AlterReplicaLogDirTopic::default()
            .with_name(topic())
            .with_partitions(vec![0]);
        let dir = alter_replica_log_dirs_request::AlterReplicaLogDir::default()
            .with_path(text("/nowhere"))
            .with_topics(vec![topic]);
        Some(AlterReplicaLogDirsRequest::default().with_dirs(vec![dir]))
    });
    table.ask("", |_| Some(DescribeLogDirsRequest::default().with_topics(None)));
    table.ask("", |_| {
        let topic = elect_leaders_request::TopicPartitions::default()
            .with_topic(topic())
            .with_partitions(vec![0]);
        Some(
            ElectLeadersRequest::default()
                .with_timeout_ms(1000)
                .with_topic_partitions(Some(vec![topic])),
        )
    });
    table.ask("", |_| {
        use alter_partition_reassignments_request::{ReassignablePartition, ReassignableTopic};
        let partition = ReassignablePartition::default().with_replicas(Some(vec![BrokerId(1)]));
        let topic = ReassignableTopic::default()
            .with_name(topic())
            .with_partitions(vec![partition]);
        Some(
            AlterPartitionReassignmentsRequest::default()
                .with_timeout_ms(1000)
                .with_topics(vec![topic]),
        )
    });
    table.ask("", |_| {
        Some(
            ListPartitionReassignmentsRequest::default()
                .with_timeout_ms(1000)
                .with_topics(None),
        )
    });
    table.ask("", |_| Some(DescribeClientQuotasRequest::default()));
    table.ask("", |_| {
        use alter_client_quotas_request::{EntityData, EntryData};
        let entity = EntityData::default()
            .with_entity_type(text("user"))
            .with_entity_name(Some(text("a")));
        let entry = EntryData::default().with_entity(vec![entity]);
        Some(AlterClientQuotasRequest::default().with_entries(vec![entry]))
    });
    table.ask("", |_| {
        let user = describe_user_scram_credentials_request::UserName::default().with_name(text("a"));
        Some(DescribeUserScramCredentialsRequest::default().with_users(Some(vec![user])))
    });
    table.ask("", |_| {
        let deletion = alter_user_scram_credentials_request::ScramCredentialDeletion::default()
            .with_name(text("a"))
            .with_mechanism(1);
        Some(AlterUserScramCredentialsRequest::default().with_deletions(vec![deletion]))
    });
    table.ask("", |_| {
        Some(DescribeClusterRequest::default().with_include_cluster_authorized_operations(true))
    });
    table.ask("", |_| Some(CreateDelegationTokenRequest::default()));
    table.ask("", |_| {
        Some(RenewDelegationTokenRequest::default().with_hmac(Bytes::from_static(b"x")))
    });
    table.ask("", |_| {
        Some(ExpireDelegationTokenRequest::default().with_hmac(Bytes::from_static(b"x")))
    });
    table.ask("", |_| {
        Some(DescribeDelegationTokenRequest::default().with_owners(None))
    });
    table.ask("", |_| {
        let update = update_features_request::FeatureUpdateKey::default()
            .with_feature(text("f"))
            .with_max_version_level(1);
        Some(UpdateFeaturesRequest::default().with_feature_updates(vec![update]))
    });
    // What is not served at all is refused before anybody asks who wants it.
    table.ask("", |_| {
        Some(ConsumerGroupHeartbeatRequest::default().with_group_id(group()))
    });
    table.ask("", |_| {
        Some(ConsumerGroupDescribeRequest::default().with_group_ids(vec![group()]))
    });
}

fn between_brokers(table: &mut Table) {
    let id = table.topic_id;
    table.ask("", |version| {
        use leader_and_isr_request::{LeaderAndIsrPartitionState, LeaderAndIsrTopicState};
        let state = LeaderAndIsrPartitionState::default();
        let request = LeaderAndIsrRequest::default().with_controller_epoch(1);
        Some(match version {
            ..2 => request.with_ungrouped_partition_states(vec![state.with_topic_name(topic())]),
            _ => {
                let named = LeaderAndIsrTopicState::default()
                    .with_topic_name(topic())
                    .with_partition_states(vec![state]);
                request.with_topic_states(vec![match version {
                    ..5 => named,
                    _ => named.with_topic_id(id),
                }])
            }
        })
    });
    table.ask("", |version| {
        use stop_replica_request::*;
        let request = StopReplicaRequest::default().with_controller_epoch(1);
        Some(match version {
            0 => request.with_ungrouped_partitions(vec![StopReplicaPartitionV0::default().with_topic_name(topic())]),
            1..3 => request.with_topics(vec![
                StopReplicaTopicV1::default()
                    .with_name(topic())
                    .with_partition_indexes(vec![0]),
            ]),
            _ => request.with_topic_states(vec![
                StopReplicaTopicState::default()
                    .with_topic_name(topic())
                    .with_partition_states(vec![StopReplicaPartitionState::default()]),
            ]),
        })
    });
    table.ask("", |_| Some(UpdateMetadataRequest::default().with_controller_epoch(1)));
    table.ask("", |_| {
        Some(ControlledShutdownRequest::default().with_broker_id(BrokerId(1)))
    });
    table.ask("", |_| {
        Some(AlterPartitionRequest::default().with_broker_id(BrokerId(1)))
    });
    table.ask("", |_| {
        Some(AllocateProducerIdsRequest::default().with_broker_id(BrokerId(1)))
    });
}
