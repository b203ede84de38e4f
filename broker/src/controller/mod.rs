//! The controller that this broker hosts, and the way to whoever is the controller.
//!
//! Every eligible broker hosts a [`coordinator_service::ControllerService`] that races for `/controller`. Requests for the
//! controller that arrive here are answered by it, with NOT_CONTROLLER while it is not the one. [`ControllerChannel`] is
//! the other direction: this broker's own questions, to itself or over the wire.

mod channel;

use std::time::Duration;

use broker_wire::transport::Connector;
use coordinator_service::{ControllerHandle, ControllerService, InterBrokerProtocol, Role, ServiceConfig};
use model::BrokerId;
use zk_schema_store::Store;

pub use channel::{ControllerChannel, NoController};

use crate::config::BrokerConfig;

/// Whether this broker races for `/controller` while no dedicated coordinator does. Ours alone; Kafka has no such key.
const CONTROLLER_ELIGIBLE: &str = "controller.eligible";

/// Starts the hosted controller. After the registration, because a controller that finds its own broker missing would
/// move leaderships away from it.
pub fn host(id: BrokerId, config: &BrokerConfig, connector: Connector, store: Store) -> ControllerHandle {
    let settings = ServiceConfig {
        connector,
        ..service_config(id, config)
    };
    ControllerService::start(settings, store)
}

/// What `server.properties` says to the controller.
pub fn service_config(id: BrokerId, config: &BrokerConfig) -> ServiceConfig {
    let eligible = config
        .originals
        .get(CONTROLLER_ELIGIBLE)
        .is_none_or(|it| !it.trim().eq_ignore_ascii_case("false"));
    let listener = config
        .control_plane_listener_name
        .as_ref()
        .unwrap_or(&config.inter_broker_listener_name);
    ServiceConfig {
        role: Role::HostedByBroker { eligible },
        inter_broker_protocol: inter_broker_protocol(config),
        listener_name: listener.clone(),
        socket_timeout: millis(config.controller_socket_timeout_ms),
        request_timeout: millis(config.request_timeout_ms),
        delete_topic_enable: config.delete_topic_enable,
        unclean_leader_election_enable: config.unclean_leader_election_enable,
        auto_leader_rebalance_enable: config.auto_leader_rebalance_enable,
        leader_imbalance_check_interval: Duration::from_secs(
            u64::try_from(config.leader_imbalance_check_interval_seconds)
                .unwrap_or(0)
                .max(1),
        ),
        leader_imbalance_per_broker_percentage: config.leader_imbalance_per_broker_percentage,
        ..ServiceConfig::new(id)
    }
}

/// The request versions of `inter.broker.protocol.version`. What is older than 1.0 is spoken to as 1.0.
pub fn inter_broker_protocol(config: &BrokerConfig) -> InterBrokerProtocol {
    let name = config.inter_broker_protocol_version.name();
    name.parse().unwrap_or_else(|error| {
        tracing::warn!(%error, "inter.broker.protocol.version is older than 1.0: speaking 1.0");
        InterBrokerProtocol::OLDEST
    })
}

fn millis(ms: i32) -> Duration {
    Duration::from_millis(u64::try_from(ms).unwrap_or(0))
}
