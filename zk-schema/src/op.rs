//! Writes to ZooKeeper as data, and what the server says about a znode.
//!
//! Deciding code builds an [`Op`]; `zk-schema-store` performs it. A controller's write is a [`Fenced`]: one operation
//! in one multi with a check of `/controller_epoch`, so that a controller which has lost its office cannot write.
//! Nothing here performs I/O, and nothing here knows of sessions.

use crate::controller_epoch;

/// How a znode comes to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CreateMode {
    /// Stays until it is deleted.
    Persistent,
    /// Goes with the session that made it.
    Ephemeral,
    /// Stays; the server appends ten digits to the path (the parent's count of child changes).
    PersistentSequential,
}

/// One write, or one condition, as it goes into a multi.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Op {
    /// Create a znode.
    Create {
        /// Absolute path; for a sequential znode the prefix of its name.
        path: String,
        /// Its content.
        data: Vec<u8>,
        /// How long it lives.
        mode: CreateMode,
    },
    /// Replace the content of a znode.
    SetData {
        /// Absolute path.
        path: String,
        /// The new content.
        data: Vec<u8>,
        /// The data version that must be there; `None` is any.
        expected_version: Option<i32>,
    },
    /// Delete a znode without children.
    Delete {
        /// Absolute path.
        path: String,
        /// The data version that must be there; `None` is any.
        expected_version: Option<i32>,
    },
    /// Fail the multi unless the znode exists at this data version.
    Check {
        /// Absolute path.
        path: String,
        /// The data version that must be there.
        version: i32,
    },
}

impl Op {
    /// Create a persistent znode.
    pub fn create(path: impl Into<String>, data: impl Into<Vec<u8>>) -> Self {
        Self::Create {
            path: path.into(),
            data: data.into(),
            mode: CreateMode::Persistent,
        }
    }

    /// Create an ephemeral znode.
    pub fn create_ephemeral(path: impl Into<String>, data: impl Into<Vec<u8>>) -> Self {
        Self::Create {
            path: path.into(),
            data: data.into(),
            mode: CreateMode::Ephemeral,
        }
    }

    /// Replace the content, if the data version is `expected_version` (`None`: whatever it is).
    pub fn set(path: impl Into<String>, data: impl Into<Vec<u8>>, expected_version: Option<i32>) -> Self {
        Self::SetData {
            path: path.into(),
            data: data.into(),
            expected_version,
        }
    }

    /// Delete, if the data version is `expected_version` (`None`: whatever it is).
    pub fn delete(path: impl Into<String>, expected_version: Option<i32>) -> Self {
        Self::Delete {
            path: path.into(),
            expected_version,
        }
    }

    /// The znode must exist at `version`.
    pub fn check(path: impl Into<String>, version: i32) -> Self {
        Self::Check {
            path: path.into(),
            version,
        }
    }

    /// The path it is about.
    pub fn path(&self) -> &str {
        match self {
            Self::Create { path, .. }
            | Self::SetData { path, .. }
            | Self::Delete { path, .. }
            | Self::Check { path, .. } => path,
        }
    }
}

/// A controller's write: `op` happens only while `/controller_epoch` is at the data version that this controller's
/// election left it at.
///
/// Source: Kafka 3.9 `KafkaZkClient.retryRequestsUntilConnected(requests, expectedControllerZkVersion)`: one multi of
/// a check and one operation, never more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fenced {
    /// Data version ("zkVersion") of `/controller_epoch`.
    pub epoch_zk_version: i32,
    /// The write.
    pub op: Op,
}

impl Fenced {
    /// The multi to send: the check first.
    pub fn into_ops(self) -> Vec<Op> {
        vec![Op::check(controller_epoch::PATH, self.epoch_zk_version), self.op]
    }
}

/// What ZooKeeper keeps about a znode beside its content.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Stat {
    /// zxid of its creation; for `/brokers/ids/N` the broker epoch.
    pub czxid: i64,
    /// zxid of its last change of content.
    pub mzxid: i64,
    /// When it was created, in milliseconds since 1970 by the server's clock.
    pub ctime: i64,
    /// When its content last changed, likewise.
    pub mtime: i64,
    /// Count of content changes: what `expected_version` is compared with; Kafka's "zkVersion".
    pub version: i32,
    /// Count of changes among its children.
    pub cversion: i32,
    /// Session that owns it if ephemeral, else 0.
    pub ephemeral_owner: i64,
    /// How many children it has.
    pub num_children: i32,
}

/// A znode that has been created.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Created {
    /// Its path, with the sequence number if it is sequential.
    pub path: String,
    /// Its state right after creation.
    pub stat: Stat,
}

/// What came of one [`Op`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OpResult {
    /// Of [`Op::Create`].
    Created(Created),
    /// Of [`Op::SetData`].
    Set(Stat),
    /// Of [`Op::Delete`].
    Deleted,
    /// Of [`Op::Check`].
    Checked,
}

impl OpResult {
    /// The state of the znode after a create or a set.
    pub fn stat(&self) -> Option<Stat> {
        match self {
            Self::Created(created) => Some(created.stat),
            Self::Set(stat) => Some(*stat),
            Self::Deleted | Self::Checked => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fenced_write_checks_the_controller_epoch_first() {
        let ops = Fenced {
            epoch_zk_version: 7,
            op: Op::delete("/admin/delete_topics/t", Some(0)),
        }
        .into_ops();
        assert_eq!(
            ops,
            [
                Op::check("/controller_epoch", 7),
                Op::delete("/admin/delete_topics/t", Some(0))
            ]
        );
    }
}
