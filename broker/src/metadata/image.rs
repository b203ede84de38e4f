//! One snapshot of the cluster, and how an `UpdateMetadata` request makes the next.

use std::collections::BTreeMap;
use std::sync::Arc;

use hashbrown::HashMap;
use kafka_protocol::messages::UpdateMetadataRequest;
use kafka_protocol::messages::update_metadata_request::UpdateMetadataPartitionState;
use model::{BrokerId, LeaderEpoch, PartitionEpoch, TopicId};

/// The leader that `UpdateMetadata` names for a partition whose topic is being deleted.
///
/// Source: Kafka `LeaderAndIsr.LEADER_DURING_DELETE`.
pub const LEADER_DURING_DELETE: BrokerId = BrokerId(-2);

/// A broker that is registered, as told by the controller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LiveBroker {
    /// Its id.
    pub id: BrokerId,
    /// `broker.rack`.
    pub rack: Option<Arc<str>>,
    /// Advertised address per listener name.
    pub endpoints: BTreeMap<Arc<str>, Endpoint>,
}

/// Where a listener of a broker can be reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// Advertised host.
    pub host: Arc<str>,
    /// Advertised port.
    pub port: i32,
    /// `SecurityProtocol` id: 0 PLAINTEXT, 1 SSL, 2 SASL_PLAINTEXT, 3 SASL_SSL.
    pub security_protocol: i16,
}

/// A topic: its id and its partitions by index.
#[derive(Clone, Debug, Default)]
pub struct TopicImage {
    /// Zero when the controller's version of the request has no ids.
    pub id: TopicId,
    /// By index; indexes may have gaps while partitions are being created.
    pub partitions: BTreeMap<i32, PartitionImage>,
}

/// A partition as clients are told of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartitionImage {
    /// −1: none.
    pub leader: BrokerId,
    /// Of that leader.
    pub leader_epoch: LeaderEpoch,
    /// Version of the `state` znode.
    pub partition_epoch: PartitionEpoch,
    /// Assigned replicas, preferred leader first.
    pub replicas: Vec<BrokerId>,
    /// In-sync replicas.
    pub isr: Vec<BrokerId>,
    /// Replicas on dead brokers or failed log directories.
    pub offline_replicas: Vec<BrokerId>,
}

/// One snapshot.
#[derive(Clone, Debug, Default)]
pub struct MetadataImage {
    /// Who the controller is; `None` before the first update.
    pub controller_id: Option<BrokerId>,
    /// Live brokers.
    pub brokers: BTreeMap<BrokerId, Arc<LiveBroker>>,
    /// Topics by name.
    pub topics: HashMap<Arc<str>, Arc<TopicImage>>,
    /// Names by topic id.
    pub topic_names: HashMap<TopicId, Arc<str>>,
}

impl MetadataImage {
    /// The topic, if it is known here.
    pub fn topic(&self, name: &str) -> Option<&Arc<TopicImage>> {
        self.topics.get(name)
    }

    /// The partition, if it is known here.
    pub fn partition(&self, topic: &str, partition: i32) -> Option<&PartitionImage> {
        self.topics.get(topic)?.partitions.get(&partition)
    }

    /// The name of the topic with this id.
    pub fn topic_name(&self, id: TopicId) -> Option<&Arc<str>> {
        self.topic_names.get(&id)
    }

    /// The id of the topic; [`TopicId::ZERO`] when unknown.
    pub fn topic_id(&self, name: &str) -> TopicId {
        self.topics.get(name).map_or(TopicId::ZERO, |topic| topic.id)
    }

    /// Whom clients are told to take for the controller; −1 before the first update.
    ///
    /// A dedicated coordinator is no broker that a client could reach: then this broker, which passes on what is for the
    /// controller.
    pub fn controller_for_clients(&self, own: BrokerId) -> BrokerId {
        match self.controller_id {
            Some(id) if self.brokers.contains_key(&id) => id,
            Some(_) => own,
            None => BrokerId::NONE,
        }
    }

    /// The image after `request`: all live brokers replaced, the named partitions changed or removed.
    #[must_use]
    pub fn updated(&self, request: &UpdateMetadataRequest) -> Self {
        let mut next = self.clone();
        next.controller_id = Some(BrokerId(request.controller_id.0)).filter(|id| id.0 >= 0);
        next.brokers = request
            .live_brokers
            .iter()
            .map(|broker| {
                let endpoints = broker
                    .endpoints
                    .iter()
                    .map(|endpoint| {
                        let listener = if endpoint.listener.is_empty() {
                            protocol_name(endpoint.security_protocol)
                        } else {
                            endpoint.listener.as_str()
                        };
                        (
                            Arc::from(listener),
                            Endpoint {
                                host: Arc::from(endpoint.host.as_str()),
                                port: endpoint.port,
                                security_protocol: endpoint.security_protocol,
                            },
                        )
                    })
                    .collect();
                let id = BrokerId(broker.id.0);
                (
                    id,
                    Arc::new(LiveBroker {
                        id,
                        rack: broker.rack.as_ref().map(|r| Arc::from(r.as_str())),
                        endpoints,
                    }),
                )
            })
            .collect();
        for topic in &request.topic_states {
            let id = TopicId(*topic.topic_id.as_bytes());
            next.apply(&topic.topic_name, id, &topic.partition_states);
        }
        // Below version 5 the partitions come without a topic round them.
        for state in &request.ungrouped_partition_states {
            next.apply(&state.topic_name, TopicId::ZERO, core::slice::from_ref(state));
        }
        next
    }

    fn apply(&mut self, name: &str, id: TopicId, states: &[UpdateMetadataPartitionState]) {
        let known = self.topics.get(name).cloned().unwrap_or_default();
        if !known.id.is_zero() && !id.is_zero() && known.id != id {
            // The name was deleted and created again: nothing of the old topic may linger.
            self.topic_names.remove(&known.id);
            self.topics.remove(name);
            return self.apply(name, id, states);
        }
        // Without ids a topic that was made anew, at the epochs where they all begin, looks like the one before.
        let same_topic = !id.is_zero() && known.id == id;
        let mut topic = TopicImage::clone(&known);
        if !id.is_zero() {
            topic.id = id;
        }
        for state in states {
            if BrokerId(state.leader.0) == LEADER_DURING_DELETE {
                topic.partitions.remove(&state.partition_index);
            } else if !(same_topic && is_older(state, topic.partitions.get(&state.partition_index))) {
                topic.partitions.insert(state.partition_index, partition_image(state));
            }
        }
        if topic.partitions.is_empty() {
            self.topics.remove(name);
            self.topic_names.remove(&topic.id);
            return;
        }
        let name: Arc<str> = match self.topics.get_key_value(name) {
            Some((known, _)) => Arc::clone(known),
            None => Arc::from(name),
        };
        if !topic.id.is_zero() {
            self.topic_names.insert(topic.id, Arc::clone(&name));
        }
        self.topics.insert(name, Arc::new(topic));
    }
}

/// Whether less is told than is known: by a request of a connection that the controller has given up, which comes to be
/// read after those of the next connection. Kafka 3.9 takes it, and keeps it until the next change of the partition.
fn is_older(state: &UpdateMetadataPartitionState, known: Option<&PartitionImage>) -> bool {
    known.is_some_and(|known| (state.leader_epoch, state.zk_version) < (known.leader_epoch.0, known.partition_epoch.0))
}

fn partition_image(state: &UpdateMetadataPartitionState) -> PartitionImage {
    let ids = |list: &[kafka_protocol::messages::BrokerId]| list.iter().map(|id| BrokerId(id.0)).collect();
    PartitionImage {
        leader: BrokerId(state.leader.0),
        leader_epoch: LeaderEpoch(state.leader_epoch),
        partition_epoch: PartitionEpoch(state.zk_version),
        replicas: ids(&state.replicas),
        isr: ids(&state.isr),
        offline_replicas: ids(&state.offline_replicas),
    }
}

/// The listener name that versions without one imply: that of the security protocol.
fn protocol_name(security_protocol: i16) -> &'static str {
    match security_protocol {
        1 => "SSL",
        2 => "SASL_PLAINTEXT",
        3 => "SASL_SSL",
        _ => "PLAINTEXT",
    }
}

#[cfg(test)]
mod tests {
    use kafka_protocol::messages::update_metadata_request::{UpdateMetadataBroker, UpdateMetadataTopicState};
    use kafka_protocol::messages::{BrokerId as WireBrokerId, TopicName};
    use kafka_protocol::protocol::StrBytes;
    use uuid::Uuid;

    use super::*;

    fn request(topic: &str, id: u128, partitions: &[(i32, i32)]) -> UpdateMetadataRequest {
        let states = partitions.iter().map(|(index, leader)| {
            UpdateMetadataPartitionState::default()
                .with_partition_index(*index)
                .with_leader(WireBrokerId(*leader))
                .with_leader_epoch(3)
        });
        UpdateMetadataRequest::default()
            .with_controller_id(WireBrokerId(1))
            .with_live_brokers(vec![UpdateMetadataBroker::default().with_id(WireBrokerId(1))])
            .with_topic_states(vec![
                UpdateMetadataTopicState::default()
                    .with_topic_name(TopicName(StrBytes::from_string(topic.to_owned())))
                    .with_topic_id(Uuid::from_u128(id))
                    .with_partition_states(states.collect()),
            ])
    }

    #[test]
    fn partitions_are_added_changed_and_removed() {
        let image = MetadataImage::default().updated(&request("orders", 7, &[(0, 1), (1, 1)]));
        assert_eq!(image.controller_id, Some(BrokerId(1)));
        assert_eq!(image.topic("orders").unwrap().partitions.len(), 2);
        let id = image.topic_id("orders");
        assert_eq!(image.topic_name(id).unwrap().as_ref(), "orders");

        let image = image.updated(&request("orders", 7, &[(1, 2)]));
        assert_eq!(image.partition("orders", 0).unwrap().leader, BrokerId(1));
        assert_eq!(image.partition("orders", 1).unwrap().leader, BrokerId(2));

        let image = image.updated(&request("orders", 7, &[(0, -2), (1, -2)]));
        assert!(image.topic("orders").is_none());
        assert!(image.topic_name(id).is_none());
    }

    #[test]
    fn what_was_said_before_and_comes_later_changes_nothing() {
        let told = |leader, leader_epoch, partition_epoch| {
            let mut request = request("orders", 7, &[(0, leader)]);
            let state = &mut request.topic_states[0].partition_states[0];
            (state.leader_epoch, state.zk_version) = (leader_epoch, partition_epoch);
            request
        };
        let check = |name: &str, later: &UpdateMetadataRequest, leader: Option<i32>| {
            let image = MetadataImage::default().updated(&told(2, 5, 9)).updated(later);
            let found = image.partition("orders", 0).map(|partition| partition.leader.0);
            assert_eq!(found, leader, "{name}");
        };
        check("an older leader", &told(1, 4, 8), Some(2));
        check("an older in-sync set", &told(1, 5, 8), Some(2));
        check("the same", &told(3, 5, 9), Some(3));
        check("a newer in-sync set", &told(3, 5, 10), Some(3));
        check("a newer leader", &told(3, 6, 10), Some(3));
        check("the topic is being deleted", &told(-2, 0, 0), None);
    }

    #[test]
    fn a_topic_created_again_forgets_its_former_self() {
        let image = MetadataImage::default().updated(&request("orders", 7, &[(0, 1), (1, 1)]));
        let old = image.topic_id("orders");
        let image = image.updated(&request("orders", 8, &[(0, 1)]));
        assert_eq!(image.topic("orders").unwrap().partitions.len(), 1);
        assert!(image.topic_name(old).is_none());
        assert_eq!(image.topic_name(image.topic_id("orders")).unwrap().as_ref(), "orders");
    }
}
