//! What can come of a request to ZooKeeper, as its caller can act on it.

/// A read or a single write failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// There is no such znode (or no such parent, for a create).
    #[error("no node {path}")]
    NoNode {
        /// Which.
        path: String,
    },
    /// The znode to be created is there already.
    #[error("node {path} exists")]
    NodeExists {
        /// Which.
        path: String,
    },
    /// The data version is not the expected one.
    #[error("version of {path} is not the expected one")]
    BadVersion {
        /// Which.
        path: String,
    },
    /// The znode to be deleted has children.
    #[error("node {path} has children")]
    NotEmpty {
        /// Which.
        path: String,
    },
    /// The parent is ephemeral.
    #[error("ephemeral parent of {path} cannot have children")]
    NoChildrenForEphemerals {
        /// Which.
        path: String,
    },
    /// The ACL of the znode forbids it.
    #[error("not authorized for {path}")]
    NoAuth {
        /// Which.
        path: String,
    },
    /// The session is gone, by the server's own word, before the answer; whether a write happened is not known.
    /// Ephemeral znodes are gone. A new session is on its way.
    #[error("zookeeper session has expired")]
    SessionExpired,
    /// The connection could not be had in time (only while connecting, or when the store was closed meanwhile).
    #[error("connection to zookeeper lost: {0}")]
    ConnectionLost(String),
    /// The request is larger than ZooKeeper takes (`jute.maxbuffer`, 1 MiB); it was not sent.
    #[error("request of {size} bytes for {path} exceeds zookeeper's limit of {limit}")]
    TooLarge {
        /// Which.
        path: String,
        /// Size on the wire.
        size: usize,
        /// What ZooKeeper takes.
        limit: usize,
    },
    /// ZooKeeper refuses our credentials.
    #[error("zookeeper authentication failed")]
    AuthFailed,
    /// `zookeeper.connect` cannot be used.
    #[error("invalid zookeeper.connect: {0}")]
    InvalidConnectString(String),
    /// A certificate or a key for TLS to ZooKeeper cannot be used.
    #[error("zookeeper.ssl: {0}")]
    InvalidTls(String),
    /// The path is not one that ZooKeeper takes.
    #[error("invalid path {path}")]
    InvalidPath {
        /// Which.
        path: String,
    },
    /// [`crate::Store::close`] has been called.
    #[error("zookeeper store is closed")]
    Closed,
    /// The server answered something else.
    #[error("zookeeper: {0}")]
    Other(String),
}

/// A multi failed; nothing of it was applied (except where `source` is [`StoreError::SessionExpired`]: not known).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("operation {index:?} of a multi: {source}")]
pub struct MultiError {
    /// Which operation the server refused; `None` if the request as a whole failed.
    pub index: Option<usize>,
    /// Why.
    pub source: StoreError,
}

/// A controller's write failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FencedError {
    /// `/controller_epoch` has moved on: another controller has been elected. Resign.
    #[error("controller moved: /controller_epoch is not at version {expected_zk_version}")]
    ControllerMoved {
        /// The data version that this controller was elected with.
        expected_zk_version: i32,
    },
    /// This controller is still the one, but its operation was refused or its fate is unknown.
    #[error(transparent)]
    Op(#[from] StoreError),
}
