//! Why a broker does not start.

use std::io;
use std::path::PathBuf;

use broker_admission::NoLogin;
use broker_log::OpenError;
use zk_schema_store::StoreError;

use super::directories::DirectoryError;
use crate::config::ConfigError;
use crate::net::{self, ListenerTlsError};
use crate::registration::RegisterError;
use crate::zookeeper::AdminError;

/// The start has failed: one sentence for the log, exit status 1.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// No ZooKeeper.
    #[error("cannot connect to zookeeper at {connect}: {source}")]
    Connect {
        /// `zookeeper.connect`.
        connect: String,
        /// Why.
        source: StoreError,
    },
    /// The keys for logging in to ZooKeeper.
    #[error(transparent)]
    ZooKeeperSecurity(#[from] coordinator_service::InvalidZooKeeperSecurity),
    /// ZooKeeper did not do what was asked.
    #[error("zookeeper: {0}")]
    ZooKeeper(#[from] StoreError),
    /// The log directories are not ours.
    #[error(transparent)]
    Directory(#[from] DirectoryError),
    /// The keys of the authorizer.
    #[error(transparent)]
    Authorizer(ConfigError),
    /// Neither configured nor known to the directories, and not to be generated.
    #[error("No broker ID found, and broker.id.generation.enable is disabled.")]
    NoBrokerId,
    /// The log directories cannot be opened.
    #[error(transparent)]
    Logs(#[from] OpenError),
    /// The configuration of the logs is refused.
    #[error(transparent)]
    LogConfig(#[from] broker_log::config::ConfigError),
    /// TLS of a listener cannot be had.
    #[error(transparent)]
    Tls(#[from] ListenerTlsError),
    /// A listener cannot be opened.
    #[error(transparent)]
    Listener(#[from] net::OpenError),
    /// Brokers cannot log in to each other.
    #[error(transparent)]
    Login(#[from] NoLogin),
    /// The configuration, with what ZooKeeper holds laid over it, is refused.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// What is set for users cannot be read.
    #[error("zookeeper: {0}")]
    Users(#[from] AdminError),
    /// A name in `max.connections.per.ip.overrides` has no address.
    #[error("max.connections.per.ip.overrides names {host}, which cannot be resolved: {source}")]
    UnknownHost {
        /// The name.
        host: String,
        /// Why.
        source: io::Error,
    },
    /// The id is taken, an endpoint is taken, or ZooKeeper refuses.
    #[error(transparent)]
    Register(#[from] RegisterError),
    /// The system refuses something that every program may have.
    #[error("cannot {doing}: {source}")]
    System {
        /// What was tried.
        doing: &'static str,
        /// Why not.
        source: io::Error,
    },
    /// A background task that must not end has ended.
    #[error("a background task has ended: {0}")]
    Background(String),
    /// The last log directory has failed.
    #[error("Shutdown broker because all log dirs in {} have failed", .0.iter().map(|dir| dir.display().to_string()).collect::<Vec<_>>().join(", "))]
    AllDirectoriesFailed(Vec<PathBuf>),
}
