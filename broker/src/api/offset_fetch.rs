//! OffsetFetch (key 9, versions 0–9): how far groups have read. Version 0 reads from ZooKeeper, version 8 on asks for many groups.

use std::collections::BTreeMap;

use broker_wire::ErrorCode;
use coordinator::group::FetchedOffset;
use kafka_protocol::messages::offset_fetch_response::{
    OffsetFetchResponseGroup, OffsetFetchResponsePartition, OffsetFetchResponsePartitions, OffsetFetchResponseTopic,
    OffsetFetchResponseTopics,
};
use kafka_protocol::messages::{OffsetFetchRequest, OffsetFetchResponse, TopicName};
use model::{LeaderEpoch, Offset, TopicPartition};
use tracing::warn;

use super::text::{shared, wire};
use super::{Api, RequestContext, api, error_code};
use crate::security::{Operation, ResourceType};
use crate::zookeeper::consumer_offsets;

pub(super) const API: Api = api!(OffsetFetch, 0..=9, handle);

/// One partition of the answer, before it takes the form of its version.
struct Fetched {
    partition: TopicPartition,
    offset: Offset,
    leader_epoch: LeaderEpoch,
    metadata: String,
    code: ErrorCode,
}

async fn handle(cx: &RequestContext, request: OffsetFetchRequest) -> OffsetFetchResponse {
    if cx.version() >= 8 {
        let groups = request.groups.iter().map(|group| {
            let asked = group.topics.as_ref().map(|topics| {
                topics
                    .iter()
                    .flat_map(|topic| partitions(&topic.name, &topic.partition_indexes))
                    .collect()
            });
            let answer = OffsetFetchResponseGroup::default().with_group_id(group.group_id.clone());
            match fetch(cx, &group.group_id, asked, request.require_stable) {
                Ok(fetched) => answer.with_topics(many_groups_topics(fetched)),
                Err(code) => answer.with_error_code(code as i16),
            }
        });
        return OffsetFetchResponse::default().with_groups(groups.collect());
    }
    let asked: Option<Vec<TopicPartition>> = request.topics.as_ref().map(|topics| {
        topics
            .iter()
            .flat_map(|topic| partitions(&topic.name, &topic.partition_indexes))
            .collect()
    });
    if cx.version() == 0 {
        let asked = asked.unwrap_or_default();
        let fetched = if cx.authorize(Operation::Describe, ResourceType::Group, &request.group_id) {
            fetch_from_zookeeper(cx, &request.group_id, asked).await
        } else {
            let refuse = |partition| Fetched::refused(partition, ErrorCode::GroupAuthorizationFailed);
            asked.into_iter().map(refuse).collect()
        };
        return OffsetFetchResponse::default().with_topics(one_group_topics(fetched));
    }
    match fetch(cx, &request.group_id, asked.clone(), request.require_stable) {
        Ok(fetched) => OffsetFetchResponse::default().with_topics(one_group_topics(fetched)),
        Err(code) if cx.version() >= 2 => OffsetFetchResponse::default().with_error_code(code as i16),
        // Kafka has no partitions to put this error at, and answers with none.
        Err(ErrorCode::GroupAuthorizationFailed) => OffsetFetchResponse::default(),
        // Version 1 has no error but those of partitions.
        Err(code) => {
            let refused = asked
                .unwrap_or_default()
                .into_iter()
                .map(|partition| Fetched::refused(partition, code));
            OffsetFetchResponse::default().with_topics(one_group_topics(refused.collect()))
        }
    }
}

fn partitions(topic: &TopicName, indexes: &[i32]) -> Vec<TopicPartition> {
    let name = shared(topic);
    indexes
        .iter()
        .map(|index| TopicPartition::new(name.clone(), *index))
        .collect()
}

/// Asks the coordinator; `None` is for all partitions of the group.
fn fetch(
    cx: &RequestContext,
    group_id: &str,
    asked: Option<Vec<TopicPartition>>,
    require_stable: bool,
) -> Result<Vec<Fetched>, ErrorCode> {
    if !cx.authorize(Operation::Describe, ResourceType::Group, group_id) {
        return Err(ErrorCode::GroupAuthorizationFailed);
    }
    let groups = &cx.broker.groups;
    let Some(asked) = asked else {
        let all = groups
            .fetch_all_offsets(group_id, require_stable)
            .map_err(error_code::of_group)?;
        // Of topics that the client may not describe it is not told that the group reads them.
        let may = describable(cx, all.iter().map(|(partition, _)| partition));
        let told = all.into_iter().zip(may).filter(|(_, may)| *may);
        return Ok(told
            .map(|((partition, fetched), _)| Fetched::new(partition, fetched))
            .collect());
    };
    let may = describable(cx, asked.iter());
    let (mut allowed, mut refused) = (Vec::with_capacity(asked.len()), Vec::new());
    for (partition, may) in asked.into_iter().zip(may) {
        if may {
            allowed.push(partition);
        } else {
            refused.push(Fetched::refused(partition, ErrorCode::TopicAuthorizationFailed));
        }
    }
    let fetched = groups
        .fetch_offsets(group_id, &allowed, require_stable)
        .map_err(error_code::of_group)?;
    let fetched = allowed.into_iter().zip(fetched);
    let told = fetched.map(|(partition, fetched)| Fetched::new(partition, fetched));
    Ok(told.chain(refused).collect())
}

/// For each partition whether the client may describe its topic.
fn describable<'a>(cx: &RequestContext, partitions: impl Iterator<Item = &'a TopicPartition> + Clone) -> Vec<bool> {
    let topics = partitions.clone().map(|partition| &*partition.topic);
    let authorized = cx.authorized(Operation::Describe, ResourceType::Topic, topics);
    partitions
        .map(|partition| authorized.contains(&partition.topic))
        .collect()
}

async fn fetch_from_zookeeper(cx: &RequestContext, group_id: &str, asked: Vec<TopicPartition>) -> Vec<Fetched> {
    let mut all = Vec::with_capacity(asked.len());
    let may = describable(cx, asked.iter());
    for (partition, may) in asked.into_iter().zip(may) {
        if !may {
            all.push(Fetched::refused(partition, ErrorCode::TopicAuthorizationFailed));
            continue;
        }
        let exists = cx
            .broker
            .metadata
            .image()
            .partition(&partition.topic, partition.partition)
            .is_some();
        if !exists {
            all.push(Fetched::refused(partition, ErrorCode::UnknownTopicOrPartition));
            continue;
        }
        let TopicPartition {
            topic,
            partition: index,
        } = &partition;
        let fetched = match consumer_offsets::fetch(&cx.broker.store, group_id, topic, *index).await {
            Ok(None) => Fetched::refused(partition, ErrorCode::UnknownTopicOrPartition),
            Ok(Some(offset)) => Fetched {
                offset,
                ..Fetched::refused(partition, ErrorCode::None)
            },
            Err(cause) => {
                warn!(group = group_id, %partition, %cause, "offset not read from ZooKeeper");
                Fetched::refused(partition, cause.code())
            }
        };
        all.push(fetched);
    }
    all
}

impl Fetched {
    fn new(partition: TopicPartition, fetched: FetchedOffset) -> Self {
        match fetched {
            FetchedOffset::None => Self::refused(partition, ErrorCode::None),
            FetchedOffset::Unstable => Self::refused(partition, ErrorCode::UnstableOffsetCommit),
            FetchedOffset::Committed(value) => Self {
                partition,
                offset: value.offset,
                leader_epoch: value.leader_epoch,
                metadata: value.metadata.to_string(),
                code: ErrorCode::None,
            },
        }
    }

    /// No offset.
    fn refused(partition: TopicPartition, code: ErrorCode) -> Self {
        Self {
            partition,
            offset: Offset(-1),
            leader_epoch: LeaderEpoch::NONE,
            metadata: String::new(),
            code,
        }
    }
}

fn by_topic(fetched: Vec<Fetched>) -> BTreeMap<std::sync::Arc<str>, Vec<Fetched>> {
    let mut topics = BTreeMap::<_, Vec<Fetched>>::new();
    for one in fetched {
        topics.entry(one.partition.topic.clone()).or_default().push(one);
    }
    topics
}

fn one_group_topics(fetched: Vec<Fetched>) -> Vec<OffsetFetchResponseTopic> {
    let partition = |one: Fetched| {
        OffsetFetchResponsePartition::default()
            .with_partition_index(one.partition.partition)
            .with_committed_offset(one.offset.0)
            .with_committed_leader_epoch(one.leader_epoch.0)
            .with_metadata(Some(wire(&one.metadata)))
            .with_error_code(one.code as i16)
    };
    let topics = by_topic(fetched).into_iter().map(|(name, all)| {
        let partitions = all.into_iter().map(partition).collect();
        OffsetFetchResponseTopic::default()
            .with_name(wire(&name).into())
            .with_partitions(partitions)
    });
    topics.collect()
}

fn many_groups_topics(fetched: Vec<Fetched>) -> Vec<OffsetFetchResponseTopics> {
    let partition = |one: Fetched| {
        OffsetFetchResponsePartitions::default()
            .with_partition_index(one.partition.partition)
            .with_committed_offset(one.offset.0)
            .with_committed_leader_epoch(one.leader_epoch.0)
            .with_metadata(Some(wire(&one.metadata)))
            .with_error_code(one.code as i16)
    };
    let topics = by_topic(fetched).into_iter().map(|(name, all)| {
        let partitions = all.into_iter().map(partition).collect();
        OffsetFetchResponseTopics::default()
            .with_name(wire(&name).into())
            .with_partitions(partitions)
    });
    topics.collect()
}

#[cfg(test)]
mod tests {
    use broker_wire::codec;
    use kafka_protocol::messages::ApiKey;

    use super::*;

    #[test]
    fn every_version_can_be_answered() {
        for version in 0..=9 {
            let fetched = || {
                let committed = coordinator::group::CommittedOffset {
                    offset: Offset(5),
                    leader_epoch: LeaderEpoch(3),
                    metadata: "m".into(),
                    commit_timestamp: model::Millis(0),
                    expire_timestamp: None,
                };
                vec![
                    Fetched::new(TopicPartition::new("t", 0), FetchedOffset::Committed(committed)),
                    Fetched::new(TopicPartition::new("t", 1), FetchedOffset::None),
                ]
            };
            let response = if version >= 8 {
                let group = OffsetFetchResponseGroup::default().with_topics(many_groups_topics(fetched()));
                OffsetFetchResponse::default().with_groups(vec![group])
            } else {
                OffsetFetchResponse::default().with_topics(one_group_topics(fetched()))
            };
            codec::encode_response(1, ApiKey::OffsetFetch as i16, version, &response).unwrap();
        }
    }
}
