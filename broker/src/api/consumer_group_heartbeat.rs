//! ConsumerGroupHeartbeat (key 68, version 0): membership in a group of the new protocol (KIP-848).
//!
//! Advertised and never served: the coordinator that knows that protocol exists only in KRaft mode. Kafka refuses before it
//! asks what the client may do.
//!
//! Source: Kafka 3.9 `KafkaApis.handleConsumerGroupHeartbeat`.

use broker_wire::ErrorCode;
use kafka_protocol::messages::{ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse};

use super::{Api, RequestContext, api};

pub(super) const API: Api = api!(ConsumerGroupHeartbeat, 0..=0, handle);

async fn handle(_: &RequestContext, _: ConsumerGroupHeartbeatRequest) -> ConsumerGroupHeartbeatResponse {
    ConsumerGroupHeartbeatResponse::default()
        .with_error_code(ErrorCode::UnsupportedVersion as i16)
        .with_error_message(None)
        .with_member_id(None)
        .with_assignment(None)
}
