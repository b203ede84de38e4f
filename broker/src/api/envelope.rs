//! Envelope (key 58, version 0): a request that a broker passes on to the controller in its client's name (KIP-590).
//!
//! Brokers do so only in KRaft mode and while a cluster moves there. In ZooKeeper mode nobody has a reason to send one, and
//! whoever does is taken for a peer that cannot be understood: the connection is closed, whoever it is.
//!
//! Source: Kafka 3.9 `KafkaApis.handleEnvelope`, where forwarding is not enabled.

use kafka_protocol::messages::EnvelopeRequest;

use super::{Api, RequestContext, api};
use crate::net::Reply;

pub(super) const API: Api = api!(Envelope, 0..=0, replies handle);

async fn handle(_: &RequestContext, _: EnvelopeRequest) -> Reply {
    Reply::Close("an Envelope request, though forwarding has not been enabled".to_owned())
}
