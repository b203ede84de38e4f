//! DescribeLogDirs (key 35, versions 0–4): the log directories, what lies in them, and how large it is.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use broker_log::{DirStatus, LogSize};
use broker_wire::ErrorCode;
use kafka_protocol::messages::describe_log_dirs_response::{
    DescribeLogDirsPartition, DescribeLogDirsResult, DescribeLogDirsTopic,
};
use kafka_protocol::messages::{DescribeLogDirsRequest, DescribeLogDirsResponse, TopicName};
use kafka_protocol::protocol::StrBytes;
use model::TopicPartition;

use super::{Api, RequestContext, api};
use crate::blocking;
use crate::partition::{Lookup, Partitions};
use crate::security::Operation;

pub(super) const API: Api = api!(DescribeLogDirs, 0..=4, handle);

async fn handle(cx: &RequestContext, request: DescribeLogDirsRequest) -> DescribeLogDirsResponse {
    if !cx.authorize_cluster(Operation::Describe) {
        let nothing = DescribeLogDirsResponse::default();
        // Before version 3 there is no word for it but silence.
        return match cx.version() {
            ..3 => nothing,
            3.. => nothing.with_error_code(ErrorCode::ClusterAuthorizationFailed as i16),
        };
    }
    let wanted: Option<HashSet<TopicPartition>> = request.topics.map(|topics| {
        let partitions = topics.iter().flat_map(|topic| {
            let name: Arc<str> = Arc::from(topic.topic.as_str());
            topic
                .partitions
                .iter()
                .map(move |index| TopicPartition::new(Arc::clone(&name), *index))
        });
        partitions.collect()
    });
    let partitions = Arc::clone(&cx.broker.partitions);
    let results = blocking::run(move || {
        let dirs = partitions.logs().dirs();
        dirs.into_iter()
            .map(|dir| describe(&partitions, dir, wanted.as_ref()))
            .collect()
    })
    .await;
    DescribeLogDirsResponse::default().with_results(results)
}

fn describe(
    partitions: &Partitions,
    dir: DirStatus,
    wanted: Option<&HashSet<TopicPartition>>,
) -> DescribeLogDirsResult {
    let result =
        DescribeLogDirsResult::default().with_log_dir(StrBytes::from_string(dir.dir.to_string_lossy().into_owned()));
    if dir.offline.is_some() {
        return result
            .with_error_code(ErrorCode::KafkaStorageError as i16)
            .with_total_bytes(-1)
            .with_usable_bytes(-1);
    }
    let mut topics: BTreeMap<Arc<str>, Vec<DescribeLogDirsPartition>> = BTreeMap::new();
    for log in dir.logs {
        if wanted.is_none_or(|wanted| wanted.contains(&log.partition)) {
            let partition = DescribeLogDirsPartition::default()
                .with_partition_index(log.partition.partition)
                .with_partition_size(i64::try_from(log.bytes).unwrap_or(i64::MAX))
                .with_offset_lag(lag(partitions, &log))
                .with_is_future_key(log.is_future);
            topics
                .entry(Arc::clone(&log.partition.topic))
                .or_default()
                .push(partition);
        }
    }
    let topics = topics.into_iter().map(|(name, partitions)| {
        DescribeLogDirsTopic::default()
            .with_name(TopicName(StrBytes::from_string(name.to_string())))
            .with_partitions(partitions)
    });
    result
        .with_topics(topics.collect())
        .with_total_bytes(dir.total_bytes)
        .with_usable_bytes(dir.usable_bytes)
}

/// How far the log is behind: a replica behind the high watermark, a future log behind the current one; −1 unknown.
fn lag(partitions: &Partitions, log: &LogSize) -> i64 {
    let Lookup::Online(partition) = partitions.lookup(&log.partition.topic, log.partition.partition) else {
        return -1;
    };
    let Some(current) = partition.log() else { return -1 };
    if log.is_future {
        current.log_end_offset() - log.log_end_offset
    } else {
        (current.high_watermark() - log.log_end_offset).max(0)
    }
}
