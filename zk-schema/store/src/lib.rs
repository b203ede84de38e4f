//! ZooKeeper as the rooms above see it: reads with one-shot watches, versioned and fenced writes, one session that
//! outlives connections.
//!
//! The only user of `zookeeper-client`. It decides what a lost connection means (re-attach to the session; only the
//! server's word ends it), what an unknown result was (read back), and when a request may be sent at all (never while
//! disconnected: it waits, unsent, and costs nothing but its caller's patience). It does not know what the znodes
//! mean, and keeps no copy of them.
//!
//! Invariants: a watch that fires means "read again", never data; a write is applied at most once if it carries an
//! expected version, is a create, or is fenced; no more than `max_in_flight` requests are at the server.

mod error;
mod grouped;
mod memory;
mod notices;
mod op_size;
mod remote;
mod security;
mod session;
mod settle;
mod watch;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::stream::{self, StreamExt};
use zk_schema::controller_epoch;

pub use crate::error::{FencedError, MultiError, StoreError};
pub use crate::memory::MemoryTree;
pub use crate::notices::{Notices, Obey, ReadAll};
pub use crate::security::{ClientIdentity, DigestLogin, Security, Tls};
pub use crate::session::SessionState;
pub use crate::watch::Watch;
pub use zk_schema::op::{CreateMode, Created, Fenced, Op, OpResult, Stat};

/// How to reach ZooKeeper. Serializable, because a guardian process is told it by the program that it watches: through
/// a pipe, since it may hold secrets. `Debug` does not show them.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct StoreConfig {
    /// `zookeeper.connect`: `host:port,host:port/chroot`. A chroot that does not exist is created.
    pub connect: String,
    /// `zookeeper.session.timeout.ms`: asked for; the server may give another.
    pub session_timeout: Duration,
    /// `zookeeper.connection.timeout.ms`: how long [`Store::connect`] tries.
    pub connection_timeout: Duration,
    /// `zookeeper.max.in.flight.requests`.
    pub max_in_flight: usize,
    /// How to log in there, and who may do what with the znodes that are created.
    pub security: Security,
}

impl StoreConfig {
    /// Kafka's defaults: 18 s, 18 s, 10.
    pub fn new(connect: impl Into<String>) -> Self {
        Self {
            connect: connect.into(),
            session_timeout: Duration::from_secs(18),
            connection_timeout: Duration::from_secs(18),
            max_in_flight: 10,
            security: Security::default(),
        }
    }
}

/// A cheap handle to one ZooKeeper session after another.
///
/// Every request waits while the connection is lost (put a timeout round it if you must not), fails with
/// [`StoreError::SessionExpired`] once the session is gone, and may be dropped at any time: a write that was dropped
/// may or may not happen.
#[derive(Clone)]
pub struct Store {
    backend: Backend,
}

#[derive(Clone)]
enum Backend {
    Remote(Arc<remote::Remote>),
    Memory(Arc<memory::MemorySession>),
}

/// What a read wants to know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Read {
    Data,
    Children,
    Exists,
}

/// What a read found; of the fields only those that were asked for.
#[derive(Debug, Default)]
pub(crate) struct Reading {
    pub(crate) data: Bytes,
    pub(crate) children: Vec<String>,
    pub(crate) stat: Stat,
}

impl Store {
    /// Connects and opens a session, creating the chroot if need be.
    ///
    /// # Errors
    /// [`StoreError::ConnectionLost`] when no server has answered within `connection_timeout`,
    /// [`StoreError::AuthFailed`], [`StoreError::InvalidConnectString`].
    pub async fn connect(config: StoreConfig) -> Result<Self, StoreError> {
        let remote = remote::Remote::connect(config).await?;
        Ok(Self {
            backend: Backend::Remote(Arc::new(remote)),
        })
    }

    /// A session with an in-memory tree that behaves as ZooKeeper does, for tests and simulation.
    pub fn in_memory(tree: MemoryTree) -> Self {
        Self {
            backend: Backend::Memory(Arc::new(tree.open_session())),
        }
    }

    /// Where the session stands, and how it goes on.
    pub fn session(&self) -> tokio::sync::watch::Receiver<SessionState> {
        match &self.backend {
            Backend::Remote(remote) => remote.session(),
            Backend::Memory(memory) => memory.session(),
        }
    }

    /// Closes the session: ephemeral znodes go at once. Requests fail from now on with [`StoreError::Closed`].
    pub async fn close(&self) {
        match &self.backend {
            Backend::Remote(remote) => remote.close().await,
            Backend::Memory(memory) => memory.close(),
        }
    }

    // ---- reads

    /// Content and state of a znode; `None` if there is none.
    pub async fn get(&self, path: &str) -> Result<Option<(Bytes, Stat)>, StoreError> {
        let (reading, _) = self.read(path, Read::Data, false).await?;
        Ok(reading.map(|r| (r.data, r.stat)))
    }

    /// Names of the children, in no order; `None` if there is no such znode.
    pub async fn get_children(&self, path: &str) -> Result<Option<Vec<String>>, StoreError> {
        let (reading, _) = self.read(path, Read::Children, false).await?;
        Ok(reading.map(|r| r.children))
    }

    /// State of a znode; `None` if there is none.
    pub async fn exists(&self, path: &str) -> Result<Option<Stat>, StoreError> {
        let (reading, _) = self.read(path, Read::Exists, false).await?;
        Ok(reading.map(|r| r.stat))
    }

    /// [`Store::get`], and a watch that fires when the content changes, or the znode comes or goes.
    pub async fn watch_data(&self, path: &str) -> Result<(Option<(Bytes, Stat)>, Watch), StoreError> {
        let (reading, watch) = self.read_and_watch(path, Read::Data).await?;
        Ok((reading.map(|r| (r.data, r.stat)), watch))
    }

    /// [`Store::get_children`], and a watch that fires when a child comes or goes, or the znode itself does.
    pub async fn watch_children(&self, path: &str) -> Result<(Option<Vec<String>>, Watch), StoreError> {
        let (reading, watch) = self.read_and_watch(path, Read::Children).await?;
        Ok((reading.map(|r| r.children), watch))
    }

    /// [`Store::exists`], and a watch that fires when the znode comes, goes or changes content.
    pub async fn watch_exists(&self, path: &str) -> Result<(Option<Stat>, Watch), StoreError> {
        let (reading, watch) = self.read_and_watch(path, Read::Exists).await?;
        Ok((reading.map(|r| r.stat), watch))
    }

    /// [`Store::get`] of many, pipelined; results in the order of `paths`.
    pub async fn get_all<P: Into<String>>(
        &self,
        paths: impl IntoIterator<Item = P>,
    ) -> Vec<Result<Option<(Bytes, Stat)>, StoreError>> {
        let paths: Vec<String> = paths.into_iter().map(Into::into).collect();
        stream::iter(paths)
            .map(|path| async move { self.get(&path).await })
            .buffered(self.max_in_flight())
            .collect()
            .await
    }

    // ---- writes

    /// Creates a znode; its parent must exist.
    ///
    /// # Errors
    /// [`StoreError::NodeExists`], [`StoreError::NoNode`] (of the parent), ….
    pub async fn create(&self, path: &str, data: impl Into<Vec<u8>>, mode: CreateMode) -> Result<Created, StoreError> {
        let op = Op::Create {
            path: path.to_owned(),
            data: data.into(),
            mode,
        };
        match self.write(op).await? {
            OpResult::Created(created) => Ok(created),
            other => Err(unexpected(path, &other)),
        }
    }

    /// [`Store::create`], creating missing parents (persistent, empty) first.
    pub async fn create_recursive(
        &self,
        path: &str,
        data: impl Into<Vec<u8>>,
        mode: CreateMode,
    ) -> Result<Created, StoreError> {
        let data = data.into();
        match self.create(path, data.clone(), mode).await {
            Err(StoreError::NoNode { .. }) => {}
            done => return done,
        }
        let ends = path.char_indices().filter(|&(at, c)| c == '/' && at > 0);
        for (end, _) in ends {
            match self.create(&path[..end], Vec::new(), CreateMode::Persistent).await {
                Ok(_) | Err(StoreError::NodeExists { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        self.create(path, data, mode).await
    }

    /// Replaces the content of a znode, if its data version is the expected one (`None`: whatever it is).
    ///
    /// # Errors
    /// [`StoreError::NoNode`], [`StoreError::BadVersion`], ….
    pub async fn set(
        &self,
        path: &str,
        data: impl Into<Vec<u8>>,
        expected_version: Option<i32>,
    ) -> Result<Stat, StoreError> {
        match self.write(Op::set(path, data, expected_version)).await? {
            OpResult::Set(stat) => Ok(stat),
            other => Err(unexpected(path, &other)),
        }
    }

    /// Deletes a znode without children, if its data version is the expected one (`None`: whatever it is).
    ///
    /// # Errors
    /// [`StoreError::NoNode`], [`StoreError::BadVersion`], [`StoreError::NotEmpty`], ….
    pub async fn delete(&self, path: &str, expected_version: Option<i32>) -> Result<(), StoreError> {
        self.write(Op::delete(path, expected_version)).await.map(drop)
    }

    /// Deletes a znode with all below it, children first; whether there was one.
    pub async fn delete_recursive(&self, path: &str) -> Result<bool, StoreError> {
        // Depth first without recursion: a znode is visited once to list its children and once to be deleted.
        let mut pending = vec![(path.to_owned(), false)];
        let mut existed = false;
        while let Some((path, listed)) = pending.pop() {
            if listed {
                match self.delete(&path, None).await {
                    Ok(()) => existed = true,
                    Err(StoreError::NoNode { .. }) => {}
                    // Somebody made a child meanwhile: list again.
                    Err(StoreError::NotEmpty { .. }) => pending.push((path, false)),
                    Err(error) => return Err(error),
                }
            } else if let Some(children) = self.get_children(&path).await? {
                pending.push((path.clone(), true));
                pending.extend(children.into_iter().map(|child| (format!("{path}/{child}"), false)));
            }
        }
        Ok(existed)
    }

    /// Applies all operations or none.
    pub async fn multi(&self, ops: Vec<Op>) -> Result<Vec<OpResult>, MultiError> {
        op_size::check(&ops, self.chroot_len()).map_err(|source| MultiError { index: None, source })?;
        match &self.backend {
            Backend::Remote(remote) => remote.multi(ops).await,
            Backend::Memory(memory) => memory.multi(ops).await,
        }
    }

    /// One operation of a controller: happens only while `/controller_epoch` is at data version `epoch_zk_version`.
    pub async fn fenced(&self, epoch_zk_version: i32, op: Op) -> Result<OpResult, FencedError> {
        let ops = Fenced { epoch_zk_version, op }.into_ops();
        match self.multi(ops).await {
            Ok(results) => results
                .into_iter()
                .nth(1)
                .ok_or_else(|| StoreError::Other("a multi of two answered less".into()).into()),
            Err(MultiError {
                index: Some(0),
                source: StoreError::BadVersion { .. } | StoreError::NoNode { .. },
            }) => Err(FencedError::ControllerMoved {
                expected_zk_version: epoch_zk_version,
            }),
            Err(MultiError { source, .. }) => Err(source.into()),
        }
    }

    /// The data version of `/controller_epoch`, with its content; `None` before the first controller.
    pub async fn controller_epoch(&self) -> Result<Option<(model::ControllerEpoch, i32)>, StoreError> {
        let Some((data, stat)) = self.get(controller_epoch::PATH).await? else {
            return Ok(None);
        };
        let epoch = controller_epoch::decode(&data).map_err(|error| StoreError::Other(error.to_string()))?;
        Ok(Some((epoch, stat.version)))
    }

    // ---- below: one way to each backend

    async fn write(&self, op: Op) -> Result<OpResult, StoreError> {
        op_size::check(core::slice::from_ref(&op), self.chroot_len())?;
        match &self.backend {
            Backend::Remote(remote) => remote.write(op).await,
            Backend::Memory(memory) => memory.write(op).await,
        }
    }

    async fn read(&self, path: &str, what: Read, watch: bool) -> Result<(Option<Reading>, Option<Watch>), StoreError> {
        match &self.backend {
            Backend::Remote(remote) => remote.read(path, what, watch).await,
            Backend::Memory(memory) => memory.read(path, what, watch).await,
        }
    }

    /// ZooKeeper sets no data or child watch on what does not exist: an exists watch stands in, and if the znode
    /// appears in between, the read is done again.
    async fn read_and_watch(&self, path: &str, what: Read) -> Result<(Option<Reading>, Watch), StoreError> {
        loop {
            if let (reading, Some(watch)) = self.read(path, what, true).await? {
                return Ok((reading, watch));
            }
            if let (None, Some(watch)) = self.read(path, Read::Exists, true).await? {
                return Ok((None, watch));
            }
        }
    }

    fn max_in_flight(&self) -> usize {
        match &self.backend {
            Backend::Remote(remote) => remote.max_in_flight(),
            Backend::Memory(_) => 64,
        }
    }

    fn chroot_len(&self) -> usize {
        match &self.backend {
            Backend::Remote(remote) => remote.chroot_len(),
            Backend::Memory(_) => 0,
        }
    }
}

fn unexpected(path: &str, result: &OpResult) -> StoreError {
    StoreError::Other(format!("unexpected answer for {path}: {result:?}"))
}

impl core::fmt::Debug for Store {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Store")
            .field("session", &*self.session().borrow())
            .finish_non_exhaustive()
    }
}
