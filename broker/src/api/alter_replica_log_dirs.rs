//! AlterReplicaLogDirs (key 34): moves replicas of this broker to other log directories.
//!
//! Answered when the moves have begun, not when they are over: DescribeLogDirs shows how far they are.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use broker_wire::ErrorCode;
use indexmap::IndexMap;
use kafka_protocol::messages::alter_replica_log_dirs_response::{
    AlterReplicaLogDirPartitionResult, AlterReplicaLogDirTopicResult,
};
use kafka_protocol::messages::{AlterReplicaLogDirsRequest, AlterReplicaLogDirsResponse, TopicName};
use kafka_protocol::protocol::StrBytes;
use model::TopicPartition;

use super::{Api, RequestContext, api};
use crate::blocking;
use crate::security::Operation;

pub(super) const API: Api = api!(AlterReplicaLogDirs, 0..=2, handle);

async fn handle(cx: &RequestContext, request: AlterReplicaLogDirsRequest) -> AlterReplicaLogDirsResponse {
    let asked = asked(&request);
    if !cx.authorize_cluster(Operation::Alter) {
        let codes = vec![ErrorCode::ClusterAuthorizationFailed; asked.len()];
        return answer(&asked, &codes);
    }
    let partitions = Arc::clone(&cx.broker.partitions);
    let (asked, codes) = blocking::run(move || {
        let codes = partitions.alter_log_dirs(&asked);
        (asked, codes)
    })
    .await;
    answer(&asked, &codes)
}

/// What goes where. A path is made absolute as Kafka does, and one that names nothing is found out later.
fn asked(request: &AlterReplicaLogDirsRequest) -> Vec<(TopicPartition, PathBuf)> {
    let mut all = Vec::new();
    for dir in &request.dirs {
        let path = Path::new(dir.path.as_str());
        let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
        for topic in &dir.topics {
            let name: Arc<str> = Arc::from(topic.name.as_str());
            let partitions = topic.partitions.iter();
            all.extend(partitions.map(|index| (TopicPartition::new(Arc::clone(&name), *index), path.clone())));
        }
    }
    all
}

/// Grouped by topic, in the order asked.
fn answer(asked: &[(TopicPartition, PathBuf)], codes: &[ErrorCode]) -> AlterReplicaLogDirsResponse {
    let mut results: IndexMap<&str, Vec<AlterReplicaLogDirPartitionResult>> = IndexMap::new();
    for ((partition, _), code) in asked.iter().zip(codes) {
        let result = AlterReplicaLogDirPartitionResult::default()
            .with_partition_index(partition.partition)
            .with_error_code(*code as i16);
        results.entry(&*partition.topic).or_default().push(result);
    }
    let results = results.into_iter().map(|(topic, partitions)| {
        AlterReplicaLogDirTopicResult::default()
            .with_topic_name(TopicName(StrBytes::from_string(topic.to_owned())))
            .with_partitions(partitions)
    });
    AlterReplicaLogDirsResponse::default().with_results(results.collect())
}
