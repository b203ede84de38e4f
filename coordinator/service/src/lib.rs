//! The controller's shell: drives the pure core over ZooKeeper and the wire.
//!
//! A library, which brokers host, and the program `coordinator`, which is a process of its own round it. It races for
//! `/controller` (`election`), performs the core's reads and writes (`zookeeper`), puts its commands on the wire
//! (`sender`, `request`) and answers questions ([`ControllerHandle`]). It decides nothing about partitions.

mod clock;
mod config;
mod convert;
mod door;
mod election;
mod handle;
mod health;
mod presence;
mod properties;
mod protocol_version;
mod queue;
mod request;
mod security;
mod sender;
mod server;
mod service;
mod zookeeper;
mod zookeeper_security;

pub use config::{Role, ServiceConfig};
pub use coordinator::controller::{Gauges, Refusal};
pub use door::Door;
pub use handle::{ControllerHandle, MAX_QUESTIONS, Status};
pub use health::serve_health;
pub use presence::announce_broker;
pub use properties::{InvalidProperty, MIN_COORDINATOR_ID, Settings, settings};
pub use protocol_version::{InterBrokerProtocol, UnknownProtocolVersion};
pub use security::{Opened, Security};
pub use server::serve;
pub use service::ControllerService;
pub use zookeeper_security::{InvalidZooKeeperSecurity, ZOOKEEPER_SECURITY_KEYS, java_properties, zookeeper_security};
