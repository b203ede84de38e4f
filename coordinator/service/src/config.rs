//! What the shell must be told: who it is, how it talks, what it may do.

use std::time::Duration;

use broker_wire::transport::Connector;
use model::BrokerId;

use crate::protocol_version::InterBrokerProtocol;

/// The settings of a [`crate::ControllerService`], from `server.properties` or `coordinator.properties`.
#[derive(Clone, Debug)]
pub struct ServiceConfig {
    /// The broker that hosts it, or the coordinator's own id. Written into `/controller` and sent in every request.
    pub id: BrokerId,
    /// Whether a broker hosts it, or it is a process of its own.
    pub role: Role,
    /// Where a dedicated coordinator takes requests; brokers read it where it registers.
    pub advertised: Option<(String, u16)>,
    /// `inter.broker.protocol.version`: which versions its requests have, and what it writes.
    pub inter_broker_protocol: InterBrokerProtocol,
    /// The listener at which brokers take its requests: `control.plane.listener.name`, else `inter.broker.listener.name`.
    pub listener_name: String,
    /// How brokers are reached at that listener: TLS and login.
    pub connector: Connector,
    /// `controller.socket.timeout.ms`: how long a connection may take to be made.
    pub socket_timeout: Duration,
    /// `request.timeout.ms`: how long a broker may take to answer.
    pub request_timeout: Duration,
    /// `delete.topic.enable`.
    pub delete_topic_enable: bool,
    /// `unclean.leader.election.enable`, the broker-wide default.
    pub unclean_leader_election_enable: bool,
    /// `auto.leader.rebalance.enable`.
    pub auto_leader_rebalance_enable: bool,
    /// `leader.imbalance.check.interval.seconds`.
    pub leader_imbalance_check_interval: Duration,
    /// `leader.imbalance.per.broker.percentage`.
    pub leader_imbalance_per_broker_percentage: i32,
}

impl ServiceConfig {
    /// Kafka's defaults for everything but the id.
    pub fn new(id: BrokerId) -> Self {
        Self {
            id,
            role: Role::HostedByBroker { eligible: true },
            advertised: None,
            inter_broker_protocol: InterBrokerProtocol::LATEST,
            listener_name: "PLAINTEXT".to_owned(),
            connector: Connector::plaintext(),
            socket_timeout: Duration::from_secs(30),
            request_timeout: Duration::from_secs(30),
            delete_topic_enable: true,
            unclean_leader_election_enable: false,
            auto_leader_rebalance_enable: true,
            leader_imbalance_check_interval: Duration::from_secs(300),
            leader_imbalance_per_broker_percentage: 10,
        }
    }
}

/// In which process the controller lives, and so when it races for `/controller`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// In a broker: it races while no dedicated coordinator is registered.
    HostedByBroker {
        /// `controller.eligible`: whether it races at all.
        eligible: bool,
    },
    /// In a `coordinator` process: it races while all registered brokers are ours.
    Dedicated,
}
