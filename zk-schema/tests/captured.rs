//! Every znode captured from the real thing is read and written again to the same bytes.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use model::{BrokerId, TopicPartition};
use zk_schema::acl::{self, ResourcePattern};
use zk_schema::brokers::ids::BrokerRegistration;
use zk_schema::brokers::partition_state::PartitionState;
use zk_schema::brokers::topics::TopicAssignment;
use zk_schema::config::{self, Entity};
use zk_schema::controller::Controller;
use zk_schema::delegation_token::DelegationToken;
use zk_schema::feature::Features;
use zk_schema::producer_id_block::ProducerIdBlock;
use zk_schema::{DecodeError, admin, cluster_id, controller_epoch, notifications};

const CAPTURED: &str = include_str!("captured/kafka-3.9.1.tsv");

/// Decodes the content by what its path says it is, and encodes it again.
fn again(path: &str, data: &[u8]) -> Result<Vec<u8>, DecodeError> {
    let parts: Vec<&str> = path.split('/').skip(1).collect();
    Ok(match parts[..] {
        ["admin", "preferred_replica_election"] => {
            admin::encode_preferred_replica_election(&admin::decode_preferred_replica_election(data)?)
        }
        ["admin", "reassign_partitions"] => admin::encode_reassignment(&admin::decode_reassignment(data)?),
        ["brokers", "ids", id] => BrokerRegistration::decode(BrokerId(id.parse().unwrap()), data)?.encode(),
        ["brokers", "topics", topic] => TopicAssignment::decode(topic, data)?.encode(),
        ["brokers", "topics", topic, "partitions", partition, "state"] => {
            PartitionState::decode(&TopicPartition::new(topic, partition.parse().unwrap()), data)?.encode()
        }
        ["cluster", "id"] => cluster_id::encode(&cluster_id::decode(data)?),
        ["config", "changes", _] => config::changes::encode(&config::changes::decode(data)?),
        ["config", ..] => {
            let entity = Entity::from_relative_path(path.strip_prefix("/config/").unwrap()).unwrap();
            assert_eq!(entity.path(), path);
            config::encode(&config::decode(path, data)?)
        }
        ["controller"] => Controller::decode(data)?.encode(),
        ["controller_epoch"] => controller_epoch::encode(controller_epoch::decode(data)?),
        ["delegation_token", "tokens", _] => DelegationToken::decode(data)?.unwrap().encode(),
        ["delegation_token", "token_changes", _] => data.to_vec(),
        ["feature"] => Features::decode(data)?.encode(),
        ["isr_change_notification", _] => notifications::encode_isr_change(&notifications::decode_isr_change(data)?),
        ["kafka-acl" | "kafka-acl-extended", ..] => acl::encode(&acl::decode(path, data)?),
        ["kafka-acl-changes", _] => ResourcePattern::decode_literal_change(data)?.change().1,
        ["kafka-acl-extended-changes", _] => ResourcePattern::decode_extended_change(data)?.change().1,
        ["latest_producer_id_block"] => ProducerIdBlock::decode(data)?.unwrap().encode(),
        ["log_dir_event_notification", _] => {
            notifications::encode_log_dir_failure(notifications::decode_log_dir_failure(data)?)
        }
        _ => panic!("no schema for {path}"),
    })
}

#[test]
fn what_kafka_wrote_is_written_again_to_the_byte() {
    let mut seen = 0;
    for line in CAPTURED.lines().filter(|line| !line.starts_with('#')) {
        let (path, data) = line.split_once('\t').unwrap();
        let encoded = again(path, data.as_bytes()).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(String::from_utf8(encoded).unwrap(), data, "{path}");
        seen += 1;
    }
    assert!(seen > 80, "{seen}");
}

#[test]
fn cut_and_garbled_content_is_refused_or_read_but_never_panics() {
    for line in CAPTURED.lines().filter(|line| !line.starts_with('#')) {
        let (path, data) = line.split_once('\t').unwrap();
        for end in 1..data.len() {
            if data.is_char_boundary(end) {
                let cut = std::panic::catch_unwind(|| again(path, &data.as_bytes()[..end]).is_ok());
                assert!(cut.is_ok(), "{path} {}", &data[..end]);
            }
        }
    }
}
