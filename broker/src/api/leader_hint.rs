//! Where a partition is led now, for a client that came to the wrong broker (KIP-951).

use kafka_protocol::messages::BrokerId as WireBrokerId;
use kafka_protocol::protocol::StrBytes;

use super::RequestContext;

/// The leader of a partition, as Produce 10 and Fetch 16 tell it.
pub(super) struct LeaderHint {
    pub(super) leader: WireBrokerId,
    pub(super) leader_epoch: i32,
    /// Where it can be reached over the client's listener; `None` while it is not known to live.
    pub(super) node: Option<LeaderNode>,
}

/// Where a leader can be reached.
pub(super) struct LeaderNode {
    pub(super) host: StrBytes,
    pub(super) port: i32,
    pub(super) rack: Option<StrBytes>,
}

/// The leader of the partition; `None` where the partition is not known.
pub(super) fn leader_hint(cx: &RequestContext, topic: &str, partition: i32) -> Option<LeaderHint> {
    let image = cx.broker.metadata.image();
    let partition = image.partition(topic, partition)?;
    let node = image.brokers.get(&partition.leader).and_then(|broker| {
        let endpoint = broker.endpoints.get(&*cx.connection.listener)?;
        Some(LeaderNode {
            host: StrBytes::from_string(endpoint.host.to_string()),
            port: endpoint.port,
            rack: broker.rack.as_ref().map(|rack| StrBytes::from_string(rack.to_string())),
        })
    });
    Some(LeaderHint {
        leader: WireBrokerId(partition.leader.0),
        leader_epoch: partition.leader_epoch.0,
        node,
    })
}
