//! What users of the store see of its session.

use std::time::Instant;

/// Where the session stands. `generation` counts sessions: 1 is the first, and whoever keeps ephemeral znodes makes
/// them anew when it grows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SessionState {
    /// Requests are served.
    Connected {
        /// ZooKeeper's id of the session: `ephemeral_owner` of what it creates.
        session_id: i64,
        /// Which session of this store.
        generation: u64,
    },
    /// The connection is lost, the session perhaps not: the store is re-attaching to it, for as long as that takes.
    Disconnected {
        /// Which session of this store.
        generation: u64,
        /// When the connection was lost.
        since: Instant,
    },
    /// The server has said that the session is gone; a new one is being opened.
    Expired {
        /// The session that is gone.
        generation: u64,
    },
    /// [`crate::Store::close`] was called; nothing follows.
    Closed,
}

impl SessionState {
    /// The session's count; 0 once closed.
    pub fn generation(&self) -> u64 {
        match *self {
            Self::Connected { generation, .. }
            | Self::Disconnected { generation, .. }
            | Self::Expired { generation } => generation,
            Self::Closed => 0,
        }
    }

    /// Whether requests are served.
    pub fn is_connected(&self) -> bool {
        matches!(self, Self::Connected { .. })
    }
}
