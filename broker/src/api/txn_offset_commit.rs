//! TxnOffsetCommit (key 28, versions 0–4): how far a group has read, counting once the transaction commits.
//!
//! Source: Kafka 3.9 `KafkaApis.handleTxnOffsetCommitRequest`, `GroupCoordinator.handleTxnCommitOffsets`.

use std::collections::HashMap;

use broker_wire::ErrorCode;
use coordinator::group::{CommitRequest, CommittedOffset, TransactionalCommitRequest};
use kafka_protocol::messages::txn_offset_commit_request::TxnOffsetCommitRequestPartition;
use kafka_protocol::messages::txn_offset_commit_response::{
    TxnOffsetCommitResponsePartition, TxnOffsetCommitResponseTopic,
};
use kafka_protocol::messages::{TxnOffsetCommitRequest, TxnOffsetCommitResponse};
use model::{LeaderEpoch, Millis, Offset, ProducerEpoch, ProducerId, Sequence, TopicPartition, VerificationGuard};

use super::text::{shared, shared_option};
use super::{Api, RequestContext, api, error_code};
use crate::clock;
use crate::partition::Partition;
use crate::security::{Authorized, Operation, ResourceType};
use crate::verification::Question;

pub(super) const API: Api = api!(TxnOffsetCommit, 0..=4, handle);

/// From this version on clients know TRANSACTION_ABORTABLE.
const KNOWS_ABORTABLE: i16 = 4;
/// From this version on clients know what to do while the coordinator is loading (KAFKA-7296).
const KNOWS_LOADING: i16 = 2;

async fn handle(cx: &RequestContext, request: TxnOffsetCommitRequest) -> TxnOffsetCommitResponse {
    if !cx.authorize(
        Operation::Write,
        ResourceType::TransactionalId,
        &request.transactional_id,
    ) {
        return response(&request, |_, _| ErrorCode::TransactionalIdAuthorizationFailed);
    }
    if !cx.authorize(Operation::Read, ResourceType::Group, &request.group_id) {
        return response(&request, |_, _| ErrorCode::GroupAuthorizationFailed);
    }
    let topics = request.topics.iter().map(|topic| topic.name.as_str());
    let authorized = cx.authorized(Operation::Read, ResourceType::Topic, topics);
    let offsets = known_offsets(cx, &request, &authorized, clock::now());
    let answers = if offsets.is_empty() {
        HashMap::new()
    } else {
        commit(cx, &request, offsets).await
    };
    response(&request, |topic, index| match authorized.contains(topic) {
        false => ErrorCode::TopicAuthorizationFailed,
        true => {
            let answer = answers.get(&TopicPartition::new(topic, index)).copied();
            match answer.unwrap_or(ErrorCode::UnknownTopicOrPartition) {
                ErrorCode::CoordinatorLoadInProgress if cx.version() < KNOWS_LOADING => {
                    ErrorCode::CoordinatorNotAvailable
                }
                code => code,
            }
        }
    })
}

async fn commit(
    cx: &RequestContext,
    request: &TxnOffsetCommitRequest,
    offsets: Vec<(TopicPartition, CommittedOffset)>,
) -> HashMap<TopicPartition, ErrorCode> {
    let partitions: Vec<TopicPartition> = offsets.iter().map(|(partition, _)| partition.clone()).collect();
    let refuse = |code: ErrorCode| partitions.iter().map(|partition| (partition.clone(), code)).collect();
    let verification = match cx.broker.groups.partition_of(&request.group_id) {
        Ok(partition) => verify(cx, request, &partition).await,
        Err(refusal) => return refuse(error_code::of_group(refusal)),
    };
    let verification = match verification {
        Ok(guard) => guard,
        Err(code) => return refuse(code),
    };
    let commit = TransactionalCommitRequest {
        commit: CommitRequest {
            group_id: shared(&request.group_id),
            generation_id: request.generation_id,
            member_id: shared(&request.member_id),
            group_instance_id: shared_option(request.group_instance_id.as_ref()),
            offsets,
        },
        producer_id: ProducerId(request.producer_id.0),
        producer_epoch: ProducerEpoch(request.producer_epoch),
        verification,
    };
    let answers = cx.broker.groups.commit_transactional(commit).await.into_iter();
    answers
        .map(|(partition, error)| (partition, error.map_or(ErrorCode::None, error_code::of_group)))
        .collect()
}

/// Asks whether the group's partition belongs to the transaction, unless it is known to.
async fn verify(
    cx: &RequestContext,
    request: &TxnOffsetCommitRequest,
    partition: &Partition,
) -> Result<VerificationGuard, ErrorCode> {
    if !cx.broker.config.load().transaction_partition_verification_enable {
        return Ok(VerificationGuard::NONE);
    }
    let log = partition
        .leader_log(LeaderEpoch::NONE)
        .map_err(|refusal| of_verification(error_code::of_partition(&refusal)))?;
    let (id, epoch) = (ProducerId(request.producer_id.0), ProducerEpoch(request.producer_epoch));
    let guard = log.begin_verification(id, epoch, Sequence::NONE, clock::now());
    if guard == VerificationGuard::NONE {
        return Ok(guard);
    }
    let question = Question {
        transactional_id: request.transactional_id.0.clone(),
        producer_id: id,
        producer_epoch: epoch,
        partitions: vec![partition.topic_partition.clone()],
        knows_abortable: cx.version() >= KNOWS_ABORTABLE,
    };
    let codes = cx.broker.verification.ask(&cx.broker, question).await;
    match codes.first().copied().unwrap_or(ErrorCode::NetworkException) {
        ErrorCode::None => Ok(guard),
        refusal => Err(of_verification(refusal)),
    }
}

/// Source: Kafka 3.9 `GroupMetadataManager.maybeConvertOffsetCommitError`.
fn of_verification(code: ErrorCode) -> ErrorCode {
    match code {
        // Clients send the request again, and need not look for the coordinator anew.
        ErrorCode::NetworkException => ErrorCode::CoordinatorLoadInProgress,
        ErrorCode::UnknownTopicOrPartition | ErrorCode::NotEnoughReplicas | ErrorCode::NotEnoughReplicasAfterAppend => {
            ErrorCode::CoordinatorNotAvailable
        }
        ErrorCode::NotLeaderOrFollower | ErrorCode::KafkaStorageError => ErrorCode::NotCoordinator,
        other => other,
    }
}

/// The offsets of partitions that exist, and whose topics the client may read.
fn known_offsets(
    cx: &RequestContext,
    request: &TxnOffsetCommitRequest,
    authorized: &Authorized<'_>,
    now: Millis,
) -> Vec<(TopicPartition, CommittedOffset)> {
    let image = cx.broker.metadata.image();
    let mut offsets = Vec::new();
    for topic in request.topics.iter().filter(|topic| authorized.contains(&topic.name)) {
        let name = shared(&topic.name);
        for partition in &topic.partitions {
            if image.partition(&name, partition.partition_index).is_some() {
                let key = TopicPartition::new(name.clone(), partition.partition_index);
                offsets.push((key, committed(partition, now)));
            }
        }
    }
    offsets
}

fn committed(partition: &TxnOffsetCommitRequestPartition, now: Millis) -> CommittedOffset {
    CommittedOffset {
        offset: Offset(partition.committed_offset),
        leader_epoch: LeaderEpoch(partition.committed_leader_epoch),
        metadata: partition.committed_metadata.as_ref().map_or_else(|| "".into(), shared),
        commit_timestamp: now,
        expire_timestamp: None,
    }
}

fn response(request: &TxnOffsetCommitRequest, answer: impl Fn(&str, i32) -> ErrorCode) -> TxnOffsetCommitResponse {
    let topics = request.topics.iter().map(|topic| {
        let partitions = topic.partitions.iter().map(|asked| {
            let index = asked.partition_index;
            TxnOffsetCommitResponsePartition::default()
                .with_partition_index(index)
                .with_error_code(answer(&topic.name, index) as i16)
        });
        let partitions = partitions.collect();
        TxnOffsetCommitResponseTopic::default()
            .with_name(topic.name.clone())
            .with_partitions(partitions)
    });
    TxnOffsetCommitResponse::default().with_topics(topics.collect())
}
