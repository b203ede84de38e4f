//! Topics that nobody created: because a client asked for their metadata, or because the broker itself needs them.
//!
//! Source: Kafka 3.9 `AutoTopicCreationManager`.

use std::collections::BTreeMap;

use broker_wire::ErrorCode;
use model::{GROUP_METADATA_TOPIC, TRANSACTION_STATE_TOPIC};

use super::assignment::{Candidate, Start, assign};
use super::{AdminError, topics};
use crate::config::BrokerConfig;
use crate::quota::Client;
use crate::{Broker, clock};

/// Creates a topic with the broker's defaults, or an internal topic as its coordinator wants it; the code that
/// Metadata answers for it. It counts for the quota of the `client`, but is not refused. LEADER_NOT_AVAILABLE: it was created (or was there already); ask again.
pub async fn auto_create_topic(broker: &Broker, name: &str, client: Client<'_>) -> ErrorCode {
    match create(broker, name, client).await {
        Ok(()) => ErrorCode::LeaderNotAvailable,
        Err(error) if error.code() == ErrorCode::TopicAlreadyExists => ErrorCode::LeaderNotAvailable,
        Err(error) => {
            tracing::info!(topic = name, %error, "auto-creation of a topic failed");
            error.code()
        }
    }
}

async fn create(broker: &Broker, name: &str, client: Client<'_>) -> Result<(), AdminError> {
    let wish = Wish::of(name, &broker.config.load());
    let candidates: Vec<Candidate> = broker
        .metadata
        .live_brokers()
        .into_values()
        .map(|live| Candidate {
            id: live.id,
            rack: live.rack.as_deref().map(str::to_owned),
        })
        .collect();
    let topic = topics::NewTopic {
        name: name.to_owned(),
        assignment: assign(
            &candidates,
            wish.partitions,
            wish.replication_factor,
            Start::random(),
            0,
        )?,
        config: wish.config,
    };
    topics::validate_create(&broker.store, &topic, &broker.partitions.logs().topic_config("")).await?;
    let partitions = topic.assignment.len() as f64;
    broker.client_quotas.mutation.record(client, partitions, clock::now());
    topics::create(&broker.store, &topic, topics::new_topic_id()).await?;
    tracing::info!(
        topic = name,
        partitions = topic.assignment.len(),
        "auto-created a topic"
    );
    Ok(())
}

/// What an automatically created topic is like.
#[derive(Debug, PartialEq, Eq)]
struct Wish {
    partitions: i32,
    replication_factor: i32,
    config: BTreeMap<String, String>,
}

impl Wish {
    fn of(name: &str, config: &BrokerConfig) -> Self {
        let pairs = |pairs: &[(&str, String)]| {
            pairs
                .iter()
                .map(|(key, value)| ((*key).to_owned(), value.clone()))
                .collect()
        };
        match name {
            // Source: Kafka 3.9 `GroupMetadataManager.offsetsTopicConfigs`.
            GROUP_METADATA_TOPIC => Self {
                partitions: config.offsets_topic_num_partitions,
                replication_factor: config.offsets_topic_replication_factor.into(),
                config: pairs(&[
                    ("cleanup.policy", "compact".into()),
                    ("segment.bytes", config.offsets_topic_segment_bytes.to_string()),
                    ("compression.type", "producer".into()),
                ]),
            },
            // Source: Kafka 3.9 `TransactionStateManager.transactionTopicConfigs`.
            TRANSACTION_STATE_TOPIC => Self {
                partitions: config.transaction_state_log_num_partitions,
                replication_factor: config.transaction_state_log_replication_factor.into(),
                config: pairs(&[
                    ("unclean.leader.election.enable", "false".into()),
                    ("compression.type", "uncompressed".into()),
                    ("cleanup.policy", "compact".into()),
                    ("min.insync.replicas", config.transaction_state_log_min_isr.to_string()),
                    ("segment.bytes", config.transaction_state_log_segment_bytes.to_string()),
                ]),
            },
            _ => Self {
                partitions: config.num_partitions,
                replication_factor: config.default_replication_factor,
                config: BTreeMap::new(),
            },
        }
    }
}
