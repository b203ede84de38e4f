//! A ZooKeeper: one tree, one order of transactions, sessions with ephemerals and one-shot watches.
//!
//! The server only. When a request arrives, how long its answer takes and who notices that a session is silent is the
//! business of [`super::cluster`].

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use coordinator::controller::{Answer, Read};
use zk_schema::{CreateMode, Op};

/// A session.
pub(crate) type SessionId = i64;

/// A watch left by a session; the number tells its owner what it is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Watcher {
    pub(crate) session: SessionId,
    pub(crate) tag: u64,
}

#[derive(Clone, Debug)]
pub(crate) struct Node {
    pub(crate) data: Bytes,
    pub(crate) version: i32,
    pub(crate) czxid: i64,
    pub(crate) mzxid: i64,
    pub(crate) owner: SessionId,
}

#[derive(Default)]
pub(crate) struct ZooKeeper {
    nodes: BTreeMap<String, Node>,
    sessions: BTreeSet<SessionId>,
    watches: BTreeMap<(String, bool), BTreeSet<Watcher>>,
    /// Watches that have fired and not been passed on yet.
    pub(crate) fired: Vec<(Watcher, String)>,
    /// Paths written since somebody looked.
    pub(crate) written: Vec<String>,
    zxid: i64,
    next_session: SessionId,
}

impl ZooKeeper {
    pub(crate) fn new(paths: &[&str]) -> Self {
        let mut zookeeper = Self::default();
        for path in paths {
            zookeeper.put(path, "");
        }
        zookeeper
    }

    pub(crate) fn node(&self, path: &str) -> Option<&Node> {
        self.nodes.get(path)
    }

    /// Creates or replaces a persistent znode, as a tool does.
    pub(crate) fn put(&mut self, path: &str, data: impl Into<Vec<u8>>) {
        let op = match self.nodes.contains_key(path) {
            true => Op::set(path, data, None),
            false => Op::create(path, data),
        };
        let done = self.multi(0, &[op]);
        assert!(done.is_ok(), "{path}: {done:?}");
    }

    pub(crate) fn open_session(&mut self) -> SessionId {
        self.next_session += 1;
        self.sessions.insert(self.next_session);
        self.next_session
    }

    pub(crate) fn is_open(&self, session: SessionId) -> bool {
        self.sessions.contains(&session)
    }

    /// Ends a session: its ephemerals go, its watches are forgotten.
    pub(crate) fn expire(&mut self, session: SessionId) {
        if !self.sessions.remove(&session) {
            return;
        }
        for watchers in self.watches.values_mut() {
            watchers.retain(|watcher| watcher.session != session);
        }
        for path in self.ephemerals(session) {
            let gone = self.multi(0, &[Op::delete(path, None)]);
            assert!(gone.is_ok(), "{gone:?}");
        }
    }

    pub(crate) fn ephemerals(&self, session: SessionId) -> Vec<String> {
        let owned = self.nodes.iter().filter(|(_, node)| node.owner == session);
        owned.map(|(path, _)| path.clone()).collect()
    }

    pub(crate) fn children(&self, path: &str) -> Option<Vec<String>> {
        self.nodes.get(path)?;
        let below = format!("{path}/");
        let names = self.nodes.range(below.clone()..).map(|(it, _)| it);
        let names = names.map_while(|it| it.strip_prefix(&below));
        Some(names.filter(|it| !it.contains('/')).map(str::to_owned).collect())
    }

    pub(crate) fn watch(&mut self, path: &str, of_children: bool, watcher: Watcher) {
        self.watches
            .entry((path.to_owned(), of_children))
            .or_default()
            .insert(watcher);
    }

    pub(crate) fn read(&mut self, read: &Read, watcher: Watcher) -> Answer {
        match read {
            Read::Data { path, watch } => {
                if *watch {
                    self.watch(path, false, watcher);
                }
                self.nodes.get(path).map_or(Answer::NoNode, |node| Answer::Data {
                    data: node.data.clone(),
                    version: node.version,
                    czxid: node.czxid,
                    mzxid: node.mzxid,
                })
            }
            Read::Children { path, watch } => {
                if *watch {
                    self.watch(path, true, watcher);
                }
                self.children(path).map_or(Answer::NoNode, Answer::Children)
            }
        }
    }

    /// All of these or none; `Err` says which one was refused, and how.
    pub(crate) fn multi(&mut self, session: SessionId, ops: &[Op]) -> Result<Vec<Answer>, (usize, Answer)> {
        for (at, op) in ops.iter().enumerate() {
            if let Some(refusal) = self.refusal(op) {
                return Err((at, refusal));
            }
        }
        self.zxid += 1;
        Ok(ops.iter().map(|op| self.apply(session, op)).collect())
    }

    fn refusal(&self, op: &Op) -> Option<Answer> {
        let node = self.nodes.get(op.path());
        let version_of = |expected: Option<i32>| match node {
            None => Some(Answer::NoNode),
            Some(node) if expected.is_some_and(|it| it != node.version) => Some(Answer::BadVersion),
            Some(_) => None,
        };
        match op {
            Op::Create { .. } if node.is_some() => Some(Answer::NodeExists),
            Op::Create { path, .. } => {
                let parent = parent(path);
                (!parent.is_empty() && !self.nodes.contains_key(parent)).then_some(Answer::NoNode)
            }
            Op::SetData { expected_version, .. } => version_of(*expected_version),
            Op::Check { version, .. } => version_of(Some(*version)),
            Op::Delete { path, expected_version } => version_of(*expected_version).or_else(|| {
                let below = format!("{path}/");
                let next = self.nodes.range(below.clone()..).next();
                next.is_some_and(|(it, _)| it.starts_with(&below))
                    .then_some(Answer::NotEmpty)
            }),
        }
    }

    fn apply(&mut self, session: SessionId, op: &Op) -> Answer {
        let path = op.path().to_owned();
        let mut version = 0;
        match op {
            Op::Create { data, mode, .. } => {
                let node = Node {
                    data: Bytes::from(data.clone()),
                    version: 0,
                    czxid: self.zxid,
                    mzxid: self.zxid,
                    owner: if *mode == CreateMode::Ephemeral { session } else { 0 },
                };
                self.nodes.insert(path.clone(), node);
                self.fire(parent(&path), true);
            }
            Op::SetData { data, .. } => {
                if let Some(node) = self.nodes.get_mut(&path) {
                    node.data = Bytes::from(data.clone());
                    node.version += 1;
                    node.mzxid = self.zxid;
                    version = node.version;
                }
            }
            Op::Delete { .. } => {
                self.nodes.remove(&path);
                self.fire(&path, true);
                self.fire(parent(&path), true);
            }
            Op::Check { .. } => return Answer::Written { version: 0 },
        }
        self.fire(&path, false);
        self.written.push(path);
        Answer::Written { version }
    }

    fn fire(&mut self, path: &str, of_children: bool) {
        let watchers = self.watches.remove(&(path.to_owned(), of_children));
        let fired = watchers.into_iter().flatten().map(|watcher| (watcher, path.to_owned()));
        self.fired.extend(fired);
    }
}

fn parent(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(parent, _)| parent)
}
