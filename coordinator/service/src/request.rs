//! The controller's commands as Kafka requests, in the versions of an inter.broker.protocol.version.
//!
//! Pure. A StopReplica below version 3 says for the whole request whether to delete, so that one command may become two.

use std::collections::BTreeMap;
use std::sync::Arc;

use coordinator::controller::{BrokerCommand, BrokerReply, LeaderAndIsr, StopReplica, UpdateMetadata};
use kafka_protocol::messages::leader_and_isr_request::{
    LeaderAndIsrLiveLeader, LeaderAndIsrPartitionState, LeaderAndIsrTopicState,
};
use kafka_protocol::messages::leader_and_isr_response::LeaderAndIsrPartitionError;
use kafka_protocol::messages::stop_replica_request::{
    StopReplicaPartitionState, StopReplicaPartitionV0, StopReplicaTopicState, StopReplicaTopicV1,
};
use kafka_protocol::messages::update_metadata_request::{
    UpdateMetadataBroker, UpdateMetadataEndpoint, UpdateMetadataPartitionState, UpdateMetadataTopicState,
};
use kafka_protocol::messages::{
    BrokerId as WireBrokerId, LeaderAndIsrRequest, LeaderAndIsrResponse, StopReplicaRequest, StopReplicaResponse,
    UpdateMetadataRequest,
};
use model::{BrokerEpoch, BrokerId, ControllerEpoch, TopicId, TopicPartition};

use crate::convert::{broker_ids, text, topic_name, uuid};
use crate::protocol_version::InterBrokerProtocol;

/// Who sends, and to which life of which broker: in every request.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Envelope {
    pub(crate) controller: BrokerId,
    pub(crate) controller_epoch: ControllerEpoch,
    pub(crate) broker_epoch: BrokerEpoch,
    pub(crate) protocol: InterBrokerProtocol,
}

/// A request to be sent, and its version.
#[derive(Clone, Debug)]
pub(crate) enum ControlRequest {
    LeaderAndIsr(LeaderAndIsrRequest, i16),
    UpdateMetadata(UpdateMetadataRequest, i16),
    /// With the partitions that it deletes, because only of those is the answer of interest.
    StopReplica(StopReplicaRequest, i16, Vec<TopicPartition>),
}

/// The nodes that may be named as live leaders, where the versions want their address.
pub(crate) type Addresses = BTreeMap<BrokerId, (String, i32)>;

/// The requests that carry a command.
pub(crate) fn requests(command: &BrokerCommand, envelope: &Envelope, addresses: &Addresses) -> Vec<ControlRequest> {
    match command {
        BrokerCommand::LeaderAndIsr(command) => vec![leader_and_isr(command, envelope, addresses)],
        BrokerCommand::UpdateMetadata(command) => vec![update_metadata(command, envelope)],
        BrokerCommand::StopReplica(command) => stop_replica(command, envelope),
    }
}

/// A topic, its id (zero where it has none), and what is said of its partitions.
type OfTopic<'a, T> = (Arc<str>, TopicId, Vec<(i32, &'a T)>);

/// Groups by topic.
fn topics<'a, T>(
    partitions: &'a BTreeMap<TopicPartition, T>,
    ids: &BTreeMap<Arc<str>, TopicId>,
) -> Vec<OfTopic<'a, T>> {
    let mut topics: Vec<OfTopic<'a, T>> = Vec::new();
    for (partition, state) in partitions {
        match topics.last_mut() {
            Some((topic, _, states)) if *topic == partition.topic => states.push((partition.partition, state)),
            _ => {
                let id = ids.get(&partition.topic).copied().unwrap_or(TopicId::ZERO);
                topics.push((partition.topic.clone(), id, vec![(partition.partition, state)]));
            }
        }
    }
    topics
}

fn leader_and_isr(command: &LeaderAndIsr, envelope: &Envelope, addresses: &Addresses) -> ControlRequest {
    let version = envelope.protocol.leader_and_isr;
    let mut topic_states = Vec::new();
    let mut ungrouped = Vec::new();
    for (topic, id, partitions) in topics(&command.partitions, &command.topic_ids) {
        let states = partitions.into_iter().map(|(index, it)| {
            let mut state = LeaderAndIsrPartitionState::default()
                .with_partition_index(index)
                .with_controller_epoch(it.controller_epoch.0)
                .with_leader(WireBrokerId(it.leader.0))
                .with_leader_epoch(it.leader_epoch.0)
                .with_isr(broker_ids(&it.isr))
                .with_partition_epoch(it.partition_epoch.0)
                .with_replicas(broker_ids(&it.replicas));
            if version >= 1 {
                state = state.with_is_new(it.is_new);
            }
            if version >= 3 {
                state = state
                    .with_adding_replicas(broker_ids(&it.adding_replicas))
                    .with_removing_replicas(broker_ids(&it.removing_replicas));
            }
            if version >= 6 {
                state = state.with_leader_recovery_state(i8::from(it.recovering));
            }
            state
        });
        if version >= 2 {
            let mut state = LeaderAndIsrTopicState::default()
                .with_topic_name(topic_name(topic))
                .with_partition_states(states.collect());
            if version >= 5 {
                state = state.with_topic_id(uuid(id));
            }
            topic_states.push(state);
        } else {
            ungrouped.extend(states.map(|state| state.with_topic_name(topic_name(&topic))));
        }
    }
    let live_leaders = command.live_leaders.iter().filter_map(|id| {
        let (host, port) = addresses.get(id)?;
        let leader = LeaderAndIsrLiveLeader::default().with_broker_id(WireBrokerId(id.0));
        Some(leader.with_host_name(text(host)).with_port(*port))
    });
    let mut request = LeaderAndIsrRequest::default()
        .with_controller_id(WireBrokerId(envelope.controller.0))
        .with_controller_epoch(envelope.controller_epoch.0)
        .with_topic_states(topic_states)
        .with_ungrouped_partition_states(ungrouped)
        .with_live_leaders(live_leaders.collect());
    if version >= 2 {
        request = request.with_broker_epoch(envelope.broker_epoch.0);
    }
    ControlRequest::LeaderAndIsr(request, version)
}

fn update_metadata(command: &UpdateMetadata, envelope: &Envelope) -> ControlRequest {
    let version = envelope.protocol.update_metadata;
    let mut topic_states = Vec::new();
    let mut ungrouped = Vec::new();
    for (topic, id, partitions) in topics(&command.partitions, &command.topic_ids) {
        let states = partitions.into_iter().map(|(index, it)| {
            let state = UpdateMetadataPartitionState::default()
                .with_partition_index(index)
                .with_controller_epoch(it.controller_epoch.0)
                .with_leader(WireBrokerId(it.leader.0))
                .with_leader_epoch(it.leader_epoch.0)
                .with_isr(broker_ids(&it.isr))
                .with_zk_version(it.partition_epoch.0)
                .with_replicas(broker_ids(&it.replicas));
            if version >= 4 {
                state.with_offline_replicas(broker_ids(&it.offline_replicas))
            } else {
                state
            }
        });
        if version >= 5 {
            let mut state = UpdateMetadataTopicState::default()
                .with_topic_name(topic_name(topic))
                .with_partition_states(states.collect());
            if version >= 7 {
                state = state.with_topic_id(uuid(id));
            }
            topic_states.push(state);
        } else {
            ungrouped.extend(states.map(|state| state.with_topic_name(topic_name(&topic))));
        }
    }
    let live_brokers = command.live_brokers.iter().map(|broker| {
        let endpoints = broker.endpoints.iter().map(|endpoint| {
            let wire = UpdateMetadataEndpoint::default()
                .with_host(text(&endpoint.host))
                .with_port(endpoint.port)
                .with_security_protocol(endpoint.security_protocol.id());
            if version >= 3 {
                wire.with_listener(text(&endpoint.listener))
            } else {
                wire
            }
        });
        UpdateMetadataBroker::default()
            .with_id(WireBrokerId(broker.id.0))
            .with_endpoints(endpoints.collect())
            .with_rack(broker.rack.as_ref().map(text))
    });
    let mut request = UpdateMetadataRequest::default()
        .with_controller_id(WireBrokerId(envelope.controller.0))
        .with_controller_epoch(envelope.controller_epoch.0)
        .with_topic_states(topic_states)
        .with_ungrouped_partition_states(ungrouped)
        .with_live_brokers(live_brokers.collect());
    if version >= 5 {
        request = request.with_broker_epoch(envelope.broker_epoch.0);
    }
    ControlRequest::UpdateMetadata(request, version)
}

fn stop_replica(command: &StopReplica, envelope: &Envelope) -> Vec<ControlRequest> {
    let version = envelope.protocol.stop_replica;
    let ids = BTreeMap::new();
    let of = |delete| command.partitions.iter().filter(move |(_, it)| it.delete == delete);
    let deleted: Vec<_> = of(true).map(|(partition, _)| partition.clone()).collect();
    let base = StopReplicaRequest::default()
        .with_controller_id(WireBrokerId(envelope.controller.0))
        .with_controller_epoch(envelope.controller_epoch.0);
    let base = if version >= 1 {
        base.with_broker_epoch(envelope.broker_epoch.0)
    } else {
        base
    };
    if version >= 3 {
        let topic_states = topics(&command.partitions, &ids)
            .into_iter()
            .map(|(topic, _, partitions)| {
                let states = partitions.into_iter().map(|(index, it)| {
                    StopReplicaPartitionState::default()
                        .with_partition_index(index)
                        .with_leader_epoch(it.leader_epoch.0)
                        .with_delete_partition(it.delete)
                });
                StopReplicaTopicState::default()
                    .with_topic_name(topic_name(topic))
                    .with_partition_states(states.collect())
            });
        let request = base.with_topic_states(topic_states.collect());
        return vec![ControlRequest::StopReplica(request, version, deleted)];
    }
    let mut requests = Vec::new();
    for delete in [true, false] {
        let partitions: BTreeMap<_, _> = of(delete).map(|(partition, it)| (partition.clone(), *it)).collect();
        if partitions.is_empty() {
            continue;
        }
        let request = base.clone().with_delete_partitions(delete);
        let request = if version >= 1 {
            let topics = topics(&partitions, &ids).into_iter().map(|(topic, _, partitions)| {
                StopReplicaTopicV1::default()
                    .with_name(topic_name(topic))
                    .with_partition_indexes(partitions.into_iter().map(|(index, _)| index).collect())
            });
            request.with_topics(topics.collect())
        } else {
            let ungrouped = partitions.keys().map(|partition| {
                StopReplicaPartitionV0::default()
                    .with_topic_name(topic_name(&partition.topic))
                    .with_partition_index(partition.partition)
            });
            request.with_ungrouped_partitions(ungrouped.collect())
        };
        let deleted = if delete { deleted.clone() } else { Vec::new() };
        requests.push(ControlRequest::StopReplica(request, version, deleted));
    }
    requests
}

/// What a broker says to a LeaderAndIsr. `command` tells which topic has which id.
pub(crate) fn leader_and_isr_reply(response: LeaderAndIsrResponse, command: &LeaderAndIsr) -> BrokerReply {
    let error =
        |topic: &str, it: &LeaderAndIsrPartitionError| (TopicPartition::new(topic, it.partition_index), it.error_code);
    let mut partitions: Vec<_> = response
        .partition_errors
        .iter()
        .map(|it| error(it.topic_name.as_str(), it))
        .collect();
    for topic in &response.topics {
        let named = command.topic_ids.iter().find(|(_, id)| uuid(**id) == topic.topic_id);
        if let Some((name, _)) = named {
            partitions.extend(topic.partition_errors.iter().map(|it| error(name, it)));
        }
    }
    BrokerReply::LeaderAndIsr {
        error_code: response.error_code,
        partitions,
    }
}

/// What a broker says of the replicas that it was to delete; `None` if it was to delete none.
pub(crate) fn stop_replica_reply(response: StopReplicaResponse, deleted: &[TopicPartition]) -> Option<BrokerReply> {
    if deleted.is_empty() {
        return None;
    }
    let found: BTreeMap<_, _> = (response.partition_errors.iter())
        .map(|it| {
            (
                TopicPartition::new(it.topic_name.as_str(), it.partition_index),
                it.error_code,
            )
        })
        .collect();
    // A refusal as a whole names no partitions: then it is said of each.
    let partitions = (deleted.iter())
        .filter_map(|partition| match found.get(partition) {
            Some(error) => Some((partition.clone(), *error)),
            None if response.error_code != 0 => Some((partition.clone(), response.error_code)),
            None => None,
        })
        .collect();
    Some(BrokerReply::StopReplica {
        error_code: response.error_code,
        partitions,
    })
}
