//! A ZooKeeper tree in memory, for tests and simulation: versions, zxids, ephemerals, sequential znodes, one-shot
//! watches, atomic multis; sessions that are cut, re-attached and expired when the test says so.
//!
//! Time does not pass by itself ([`MemoryTree::set_time`]), and nothing waits except a request of a session that is
//! disconnected. What a real server does and this does not: quotas, ACLs, containers, TTLs.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::{oneshot, watch};
use zk_schema::{CreateMode, Created, Op, OpResult, Stat};

use crate::{MultiError, Read, Reading, SessionState, StoreError, Watch};

/// The tree that several [`crate::Store`]s share.
#[derive(Clone)]
pub struct MemoryTree {
    inner: Arc<Mutex<Tree>>,
}

/// One store's sessions, one after another, with a [`MemoryTree`].
pub(crate) struct MemorySession {
    tree: MemoryTree,
    /// Index into [`Tree::slots`].
    slot: usize,
    state: watch::Receiver<SessionState>,
}

struct Tree {
    nodes: BTreeMap<String, Node>,
    slots: Vec<Slot>,
    watches: Vec<Registered>,
    zxid: i64,
    next_session_id: i64,
    now_ms: i64,
}

struct Slot {
    /// The session it has, or had last.
    session_id: i64,
    state: watch::Sender<SessionState>,
}

#[derive(Clone, Default)]
struct Node {
    data: Bytes,
    stat: Stat,
    children: BTreeSet<String>,
}

struct Registered {
    path: String,
    of_children: bool,
    slot: usize,
    fire: oneshot::Sender<()>,
}

impl Default for MemoryTree {
    fn default() -> Self {
        Self::new()
    }
}

impl MemoryTree {
    /// A tree with nothing but its root.
    pub fn new() -> Self {
        Self {
            inner: Arc::new(Mutex::new(Tree {
                nodes: BTreeMap::from([("/".to_owned(), Node::default())]),
                slots: Vec::new(),
                watches: Vec::new(),
                zxid: 0,
                next_session_id: 0x1000_0000_0001,
                now_ms: 0,
            })),
        }
    }

    /// The server's clock, for `ctime` and `mtime`.
    pub fn set_time(&self, now_ms: i64) {
        self.inner.lock().now_ms = now_ms;
    }

    /// The connection of this session is cut: its watches fire, its requests wait; the server keeps the session.
    pub fn disconnect(&self, session_id: i64) {
        self.inner.lock().change(session_id, |tree, slot, state| {
            let SessionState::Connected { generation, .. } = state else {
                return state;
            };
            tree.drop_watches(slot);
            SessionState::Disconnected {
                generation,
                since: Instant::now(),
            }
        });
    }

    /// The server ends this session: its ephemerals go, its watches fire. [`MemoryTree::reconnect`] opens the next.
    pub fn expire(&self, session_id: i64) {
        self.inner.lock().change(session_id, |tree, slot, state| {
            if state == SessionState::Closed {
                return state;
            }
            tree.drop_watches(slot);
            tree.delete_ephemerals(session_id);
            SessionState::Expired {
                generation: state.generation(),
            }
        });
    }

    /// The store that had this session is connected again: with the same one after [`MemoryTree::disconnect`], with
    /// a new one after [`MemoryTree::expire`].
    pub fn reconnect(&self, session_id: i64) {
        self.inner.lock().change(session_id, |tree, slot, state| match state {
            SessionState::Disconnected { generation, .. } => SessionState::Connected { session_id, generation },
            SessionState::Expired { generation } => {
                let session_id = tree.new_session_id();
                tree.slots[slot].session_id = session_id;
                SessionState::Connected {
                    session_id,
                    generation: generation + 1,
                }
            }
            SessionState::Connected { .. } | SessionState::Closed => state,
        });
    }

    /// Every znode but the root, with its content: for assertions.
    pub fn dump(&self) -> BTreeMap<String, Bytes> {
        let tree = self.inner.lock();
        let nodes = tree.nodes.iter().filter(|(path, _)| path.as_str() != "/");
        nodes.map(|(path, node)| (path.clone(), node.data.clone())).collect()
    }

    pub(crate) fn open_session(&self) -> MemorySession {
        let mut tree = self.inner.lock();
        let session_id = tree.new_session_id();
        let generation = 1;
        let (sender, state) = watch::channel(SessionState::Connected { session_id, generation });
        tree.slots.push(Slot {
            session_id,
            state: sender,
        });
        MemorySession {
            tree: self.clone(),
            slot: tree.slots.len() - 1,
            state,
        }
    }
}

impl MemorySession {
    pub(crate) fn session(&self) -> watch::Receiver<SessionState> {
        self.state.clone()
    }

    pub(crate) fn close(&self) {
        let mut tree = self.tree.inner.lock();
        let session_id = tree.slots[self.slot].session_id;
        tree.drop_watches(self.slot);
        tree.delete_ephemerals(session_id);
        tree.slots[self.slot].state.send_replace(SessionState::Closed);
    }

    pub(crate) async fn read(
        &self,
        path: &str,
        what: Read,
        watch: bool,
    ) -> Result<(Option<Reading>, Option<Watch>), StoreError> {
        check_path(path)?;
        self.connected().await?;
        let mut tree = self.tree.inner.lock();
        let reading = tree.nodes.get(path).map(|node| Reading {
            data: node.data.clone(),
            children: match what {
                Read::Children => node.children.iter().cloned().collect(),
                Read::Data | Read::Exists => Vec::new(),
            },
            stat: node.stat(),
        });
        // As the server: no data or child watch on what does not exist.
        let set = watch && (reading.is_some() || what == Read::Exists);
        let watch = set.then(|| {
            let (fire, fired) = oneshot::channel();
            tree.watches.push(Registered {
                path: path.to_owned(),
                of_children: what == Read::Children,
                slot: self.slot,
                fire,
            });
            Watch::new(async move {
                let _: Result<(), oneshot::error::RecvError> = fired.await;
            })
        });
        Ok((reading, watch))
    }

    pub(crate) async fn write(&self, op: Op) -> Result<OpResult, StoreError> {
        let path = op.path().to_owned();
        let results = self.multi(vec![op]).await.map_err(|error| error.source)?;
        let first = results.into_iter().next();
        first.ok_or_else(|| StoreError::Other(format!("no answer for {path}")))
    }

    pub(crate) async fn multi(&self, ops: Vec<Op>) -> Result<Vec<OpResult>, MultiError> {
        let whole = |source| MultiError { index: None, source };
        for op in &ops {
            check_path(op.path()).map_err(whole)?;
        }
        let session_id = self.connected().await.map_err(whole)?;
        self.tree.inner.lock().apply(ops, session_id)
    }

    /// Waits while disconnected; the session's id.
    async fn connected(&self) -> Result<i64, StoreError> {
        let mut state = self.state.clone();
        loop {
            match *state.borrow_and_update() {
                SessionState::Connected { session_id, .. } => return Ok(session_id),
                SessionState::Expired { .. } => return Err(StoreError::SessionExpired),
                SessionState::Closed => return Err(StoreError::Closed),
                SessionState::Disconnected { .. } => {}
            }
            state.changed().await.map_err(|_| StoreError::Closed)?;
        }
    }
}

impl Node {
    fn stat(&self) -> Stat {
        Stat {
            num_children: i32::try_from(self.children.len()).unwrap_or(i32::MAX),
            ..self.stat
        }
    }
}

/// What a multi did so far: to fire if it succeeds, to put back if it does not.
#[derive(Default)]
struct Journal {
    before: Vec<(String, Option<Node>)>,
    changed: Vec<String>,
    children_changed: Vec<String>,
}

impl Tree {
    fn new_session_id(&mut self) -> i64 {
        self.next_session_id += 1;
        self.next_session_id
    }

    fn change(&mut self, session_id: i64, next: impl FnOnce(&mut Self, usize, SessionState) -> SessionState) {
        if let Some(slot) = self.slots.iter().position(|slot| slot.session_id == session_id) {
            let state = *self.slots[slot].state.borrow();
            let state = next(self, slot, state);
            self.slots[slot].state.send_replace(state);
        }
    }

    fn drop_watches(&mut self, slot: usize) {
        // Dropping the sender fires.
        self.watches.retain(|watch| watch.slot != slot);
    }

    fn delete_ephemerals(&mut self, session_id: i64) {
        let owned = self
            .nodes
            .iter()
            .filter(|(_, node)| node.stat.ephemeral_owner == session_id);
        let ops: Vec<Op> = owned.map(|(path, _)| Op::delete(path.as_str(), None)).collect();
        for op in ops {
            // An ephemeral has no children and no version is asked for: it cannot fail.
            let _: Result<_, MultiError> = self.apply(vec![op], session_id);
        }
    }

    fn apply(&mut self, ops: Vec<Op>, session_id: i64) -> Result<Vec<OpResult>, MultiError> {
        self.zxid += 1;
        let mut journal = Journal::default();
        let mut results = Vec::with_capacity(ops.len());
        for (index, op) in ops.into_iter().enumerate() {
            match self.apply_one(op, session_id, &mut journal) {
                Ok(result) => results.push(result),
                Err(source) => {
                    for (path, node) in journal.before.into_iter().rev() {
                        match node {
                            Some(node) => self.nodes.insert(path, node),
                            None => self.nodes.remove(&path),
                        };
                    }
                    let index = Some(index);
                    return Err(MultiError { index, source });
                }
            }
        }
        let watches = core::mem::take(&mut self.watches);
        for watch in watches {
            let changed = match watch.of_children {
                false => journal.changed.contains(&watch.path),
                true => journal.children_changed.contains(&watch.path),
            };
            if changed {
                // Whoever set it may have lost interest.
                let _: Result<(), ()> = watch.fire.send(());
            } else {
                self.watches.push(watch);
            }
        }
        Ok(results)
    }

    fn apply_one(&mut self, op: Op, session_id: i64, journal: &mut Journal) -> Result<OpResult, StoreError> {
        let (zxid, now_ms) = (self.zxid, self.now_ms);
        match op {
            Op::Create { path, data, mode } => {
                let parent = parent(&path).to_owned();
                let Some(above) = self.nodes.get(&parent) else {
                    return Err(StoreError::NoNode { path });
                };
                if above.stat.ephemeral_owner != 0 {
                    return Err(StoreError::NoChildrenForEphemerals { path });
                }
                let path = match mode {
                    CreateMode::PersistentSequential => format!("{path}{:010}", above.stat.cversion),
                    CreateMode::Persistent | CreateMode::Ephemeral => path,
                };
                if self.nodes.contains_key(&path) {
                    return Err(StoreError::NodeExists { path });
                }
                let stat = Stat {
                    czxid: zxid,
                    mzxid: zxid,
                    ctime: now_ms,
                    mtime: now_ms,
                    ephemeral_owner: if mode == CreateMode::Ephemeral { session_id } else { 0 },
                    ..Stat::default()
                };
                self.remember(&parent, journal);
                self.remember(&path, journal);
                if let Some(above) = self.nodes.get_mut(&parent) {
                    above.children.insert(name(&path).to_owned());
                    above.stat.cversion += 1;
                }
                let node = Node {
                    data: data.into(),
                    stat,
                    children: BTreeSet::new(),
                };
                self.nodes.insert(path.clone(), node);
                journal.changed.push(path.clone());
                journal.children_changed.push(parent);
                Ok(OpResult::Created(Created { path, stat }))
            }
            Op::SetData {
                path,
                data,
                expected_version,
            } => {
                self.version_is(&path, expected_version)?;
                self.remember(&path, journal);
                journal.changed.push(path.clone());
                let Some(node) = self.nodes.get_mut(&path) else {
                    return Err(StoreError::NoNode { path });
                };
                node.data = data.into();
                node.stat.version += 1;
                node.stat.mzxid = zxid;
                node.stat.mtime = now_ms;
                Ok(OpResult::Set(node.stat()))
            }
            Op::Delete { path, expected_version } => {
                self.version_is(&path, expected_version)?;
                if self.nodes.get(&path).is_some_and(|node| !node.children.is_empty()) {
                    return Err(StoreError::NotEmpty { path });
                }
                let parent = parent(&path).to_owned();
                self.remember(&parent, journal);
                self.remember(&path, journal);
                self.nodes.remove(&path);
                if let Some(above) = self.nodes.get_mut(&parent) {
                    above.children.remove(name(&path));
                    above.stat.cversion += 1;
                }
                journal.changed.push(path.clone());
                journal.children_changed.push(path);
                journal.children_changed.push(parent);
                Ok(OpResult::Deleted)
            }
            Op::Check { path, version } => self.version_is(&path, Some(version)).map(|()| OpResult::Checked),
        }
    }

    fn remember(&self, path: &str, journal: &mut Journal) {
        journal.before.push((path.to_owned(), self.nodes.get(path).cloned()));
    }

    fn version_is(&self, path: &str, expected: Option<i32>) -> Result<(), StoreError> {
        let path = path.to_owned();
        match (self.nodes.get(&path), expected) {
            (None, _) => Err(StoreError::NoNode { path }),
            (Some(node), Some(expected)) if node.stat.version != expected => Err(StoreError::BadVersion { path }),
            (Some(_), _) => Ok(()),
        }
    }
}

fn check_path(path: &str) -> Result<(), StoreError> {
    let valid = path == "/"
        || path
            .strip_prefix('/')
            .is_some_and(|rest| rest.split('/').all(|name| !matches!(name, "" | "." | "..")) && !rest.contains('\0'));
    match valid {
        true => Ok(()),
        false => Err(StoreError::InvalidPath { path: path.to_owned() }),
    }
}

fn parent(path: &str) -> &str {
    match path.rfind('/') {
        None | Some(0) => "/",
        Some(at) => &path[..at],
    }
}

fn name(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or_default()
}
