//! What this broker says of itself in `/brokers/ids/N`.

use std::collections::BTreeMap;

use model::{BrokerId, Millis};
use zk_schema::brokers::ids::{self, BrokerRegistration};

use crate::config::{BrokerConfig, ProtocolVersion, SecurityProtocol};

/// A broker's id, its endpoints as clients shall use them, and its rack; all but the id may differ from life to life.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity(BrokerRegistration);

impl Identity {
    /// From the configuration: an advertised port 0 becomes the port that was bound, an advertised empty host becomes
    /// this machine's name. Source: Kafka 3.9 `KafkaServer.createBrokerInfo`, `BrokerInfo.apply`.
    pub fn new(id: BrokerId, config: &BrokerConfig, bound_ports: &BTreeMap<String, u16>, host_name: &str) -> Self {
        let endpoints = config.advertised_listeners.iter().map(|endpoint| {
            let bound = || bound_ports.get(&endpoint.listener_name).copied().unwrap_or(0);
            ids::Endpoint {
                listener: endpoint.listener_name.clone(),
                host: endpoint.host.clone().unwrap_or_else(|| host_name.to_owned()),
                port: i32::from(if endpoint.port == 0 { bound() } else { endpoint.port }),
                security_protocol: znode_protocol(endpoint.security_protocol),
            }
        });
        Self(BrokerRegistration {
            id,
            version: json_version(config.inter_broker_protocol_version),
            endpoints: endpoints.collect(),
            rack: config.broker_rack.clone(),
            jmx_port: -1,
            timestamp: Millis::NONE,
            features: BTreeMap::new(),
        })
    }

    /// The broker's id.
    pub fn id(&self) -> BrokerId {
        self.0.id
    }

    /// Its endpoints as they are registered.
    pub fn endpoints(&self) -> &[ids::Endpoint] {
        &self.0.endpoints
    }

    /// The znode.
    pub fn path(&self) -> String {
        ids::path(self.0.id)
    }

    /// The registration as of `now`.
    pub fn registration(&self, now: Millis) -> BrokerRegistration {
        BrokerRegistration {
            timestamp: now,
            ..self.0.clone()
        }
    }

    /// `host:port` of every endpoint, which no other broker may share.
    pub fn addresses(&self) -> Vec<String> {
        addresses(&self.0.endpoints)
    }
}

pub(super) fn addresses(endpoints: &[ids::Endpoint]) -> Vec<String> {
    endpoints
        .iter()
        .map(|endpoint| format!("{}:{}", endpoint.host, endpoint.port))
        .collect()
}

/// Which JSON version brokers of that age understand.
fn json_version(version: ProtocolVersion) -> i32 {
    match version {
        version if version >= ProtocolVersion::IBP_2_7_IV0 => 5,
        version if version >= ProtocolVersion::IBP_0_10_0_IV1 => 4,
        _ => 2,
    }
}

const fn znode_protocol(protocol: SecurityProtocol) -> ids::SecurityProtocol {
    match protocol {
        SecurityProtocol::Plaintext => ids::SecurityProtocol::Plaintext,
        SecurityProtocol::Ssl => ids::SecurityProtocol::Ssl,
        SecurityProtocol::SaslPlaintext => ids::SecurityProtocol::SaslPlaintext,
        SecurityProtocol::SaslSsl => ids::SecurityProtocol::SaslSsl,
    }
}
