//! DescribeCluster (key 60, versions 0–1): cluster id, controller, live brokers.

use broker_wire::ErrorCode;
use kafka_protocol::messages::describe_cluster_response::DescribeClusterBroker;
use kafka_protocol::messages::{BrokerId as WireBrokerId, DescribeClusterRequest, DescribeClusterResponse};
use kafka_protocol::protocol::StrBytes;

use super::{Api, RequestContext, api};
use crate::security::{CLUSTER_NAME, Operation, ResourceType};

pub(super) const API: Api = api!(DescribeCluster, 0..=1, handle);

/// `EndpointType`: 1 asks for brokers, 2 for KRaft controllers.
const BROKERS: i8 = 1;
const CONTROLLERS: i8 = 2;

async fn handle(cx: &RequestContext, request: DescribeClusterRequest) -> DescribeClusterResponse {
    if cx.version() >= 1 && request.endpoint_type != BROKERS {
        let (code, message) = match request.endpoint_type {
            CONTROLLERS => (
                ErrorCode::MismatchedEndpointType,
                "The request was sent to an endpoint of type BROKER, but we wanted an endpoint of type CONTROLLER"
                    .to_owned(),
            ),
            other => (
                ErrorCode::UnsupportedEndpointType,
                format!("Unsupported endpoint type {other}"),
            ),
        };
        return DescribeClusterResponse::default()
            .with_error_code(code as i16)
            .with_error_message(Some(StrBytes::from_string(message)));
    }
    let image = cx.broker.metadata.image();
    let brokers = image.brokers.values().filter_map(|broker| {
        let endpoint = broker.endpoints.get(&*cx.connection.listener)?;
        Some(
            DescribeClusterBroker::default()
                .with_broker_id(WireBrokerId(broker.id.0))
                .with_host(StrBytes::from_string(endpoint.host.to_string()))
                .with_port(endpoint.port)
                .with_rack(broker.rack.as_ref().map(|rack| StrBytes::from_string(rack.to_string()))),
        )
    });
    let mut response = DescribeClusterResponse::default()
        .with_cluster_id(StrBytes::from_string(cx.broker.cluster_id.clone()))
        .with_controller_id(WireBrokerId(image.controller_for_clients(cx.broker_id()).0))
        .with_brokers(brokers.collect());
    if request.include_cluster_authorized_operations {
        // Who may not describe the cluster learns nothing of what else they may do.
        response.cluster_authorized_operations = match cx.authorize_cluster(Operation::Describe) {
            true => cx.authorized_operations(ResourceType::Cluster, CLUSTER_NAME),
            false => 0,
        };
    }
    response
}
