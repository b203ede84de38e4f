//! ConsumerGroupDescribe (key 69, version 0): groups of the new protocol (KIP-848).
//!
//! Advertised and never served, like ConsumerGroupHeartbeat: each group is refused, before anybody asks what the client
//! may do.
//!
//! Source: Kafka 3.9 `KafkaApis.handleConsumerGroupDescribe`.

use broker_wire::ErrorCode;
use kafka_protocol::messages::consumer_group_describe_response::DescribedGroup;
use kafka_protocol::messages::{ConsumerGroupDescribeRequest, ConsumerGroupDescribeResponse};

use super::{Api, RequestContext, api};

pub(super) const API: Api = api!(ConsumerGroupDescribe, 0..=0, handle);

async fn handle(_: &RequestContext, request: ConsumerGroupDescribeRequest) -> ConsumerGroupDescribeResponse {
    let refuse = |group_id| {
        DescribedGroup::default()
            .with_group_id(group_id)
            .with_error_code(ErrorCode::UnsupportedVersion as i16)
            .with_error_message(None)
    };
    ConsumerGroupDescribeResponse::default().with_groups(request.group_ids.into_iter().map(refuse).collect())
}
