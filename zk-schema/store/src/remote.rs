//! Requests over a real ZooKeeper: when they may be sent, and what their answers mean.
//!
//! A request is sent only on a link that is up, so nothing piles up in the client while ZooKeeper is away. An answer
//! that was lost with its connection is settled: reads are repeated; writes are repeated, and a refusal of the
//! repetition is checked against what is there (`settle`). A write that began in one session and was not settled in
//! it fails with `SessionExpired`: it never crosses into the next.

mod link;
mod supervisor;

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::{Semaphore, oneshot, watch};
use zk_schema::{CreateMode, Created, Op, OpResult, Stat};
use zookeeper_client as zk;

use self::link::Link;
use self::supervisor::Supervisor;
use crate::settle::{self, Found};
use crate::{MultiError, Read, Reading, SessionState, StoreConfig, StoreError, Watch};

/// How often an answer that nobody understands is asked for again before it is an error.
const STRANGE_ANSWERS_MAX: u32 = 3;

/// The session with a ZooKeeper, over however many connections.
pub(crate) struct Remote {
    attachment: watch::Receiver<Attachment>,
    session: watch::Receiver<SessionState>,
    permits: Semaphore,
    max_in_flight: usize,
    chroot_len: usize,
    close: parking_lot::Mutex<Option<oneshot::Sender<()>>>,
}

/// The session's state with, if it is connected, the link that serves it.
#[derive(Clone)]
pub(crate) struct Attachment {
    pub(crate) state: SessionState,
    pub(crate) link: Option<Arc<Link>>,
}

/// One attempt's outcome.
enum Attempt<T> {
    Answer(T),
    /// The connection went before the answer came: whether the request had an effect is not known.
    Unknown,
}

impl Remote {
    pub(crate) async fn connect(config: StoreConfig) -> Result<Self, StoreError> {
        let (servers, chroot) = split_connect_string(&config.connect)?;
        config.security.check(&servers)?;
        let max_in_flight = config.max_in_flight.max(1);
        let chroot_len = chroot.len();
        let (close, closing) = oneshot::channel();
        let (attachment, session) = Supervisor::start(config, servers, chroot, closing).await?;
        Ok(Self {
            attachment,
            session,
            permits: Semaphore::new(max_in_flight),
            max_in_flight,
            chroot_len,
            close: parking_lot::Mutex::new(Some(close)),
        })
    }

    pub(crate) fn session(&self) -> watch::Receiver<SessionState> {
        self.session.clone()
    }

    pub(crate) fn max_in_flight(&self) -> usize {
        self.max_in_flight
    }

    pub(crate) fn chroot_len(&self) -> usize {
        self.chroot_len
    }

    pub(crate) async fn close(&self) {
        // The supervisor closes when told, and also when this end is dropped.
        drop(self.close.lock().take());
        // Its end drops the sender, or it has ended already.
        let mut attachment = self.attachment.clone();
        while attachment.changed().await.is_ok() {}
    }

    // ---- reads

    pub(crate) async fn read(
        &self,
        path: &str,
        what: Read,
        watch: bool,
    ) -> Result<(Option<Reading>, Option<Watch>), StoreError> {
        let _permit = self.permit().await?;
        let mut strange = 0;
        loop {
            let link = self.link().await?;
            let attempt = link.guard(read_once(&link, path, what, watch)).await;
            match self.judge(&link, path, attempt, &mut strange)? {
                Attempt::Unknown => {}
                Attempt::Answer(Ok(found)) => return Ok(found),
                Attempt::Answer(Err(StoreError::NoNode { .. })) => return Ok((None, None)),
                Attempt::Answer(Err(error)) => return Err(error),
            }
        }
    }

    /// The data of many znodes in one request; `Ok(None)` where that gets no answer for each of them.
    pub(crate) async fn read_all(&self, paths: &[String]) -> Result<Option<Vec<Option<(Bytes, Stat)>>>, StoreError> {
        let _permit = self.permit().await?;
        let mut strange = 0;
        let first = paths.first().map_or("", String::as_str);
        loop {
            let link = self.link().await?;
            if link.reads_one_by_one() {
                return Ok(None);
            }
            let attempt = link.guard(read_all_once(&link, paths)).await;
            match self.judge(&link, first, attempt, &mut strange)? {
                Attempt::Unknown => {}
                Attempt::Answer(Ok(found)) => return Ok(found),
                Attempt::Answer(Err(_)) => {
                    link.read_one_by_one();
                    return Ok(None);
                }
            }
        }
    }

    // ---- writes

    pub(crate) async fn write(&self, op: Op) -> Result<OpResult, StoreError> {
        let path = op.path().to_owned();
        let results = self.perform(vec![op]).await.map_err(|error| error.source)?;
        let first = results.into_iter().next();
        first.ok_or_else(|| StoreError::Other(format!("no answer for {path}")))
    }

    pub(crate) async fn multi(&self, ops: Vec<Op>) -> Result<Vec<OpResult>, MultiError> {
        self.perform(ops).await
    }

    async fn perform(&self, ops: Vec<Op>) -> Result<Vec<OpResult>, MultiError> {
        let whole = |source| MultiError { index: None, source };
        let _permit = self.permit().await.map_err(whole)?;
        let path = ops.first().map(Op::path).unwrap_or_default().to_owned();
        let mut strange = 0;
        // Set once an answer was lost: the session in which that happened.
        let mut unsettled: Option<i64> = None;
        loop {
            let link = self.link().await.map_err(whole)?;
            if unsettled.is_some_and(|session_id| session_id != link.session_id) {
                return Err(whole(StoreError::SessionExpired));
            }
            let attempt = link.guard(write_once(&link, &ops)).await;
            let refusal = match attempt {
                Some(Ok(results)) => return Ok(results),
                Some(Err((index, error))) => match self
                    .judge::<()>(&link, &path, Some(Err(error)), &mut strange)
                    .map_err(whole)?
                {
                    Attempt::Unknown | Attempt::Answer(Ok(())) => None,
                    Attempt::Answer(Err(source)) => Some(MultiError {
                        source: with_path(
                            source,
                            index.and_then(|at: usize| ops.get(at)).map_or(&path, |op| op.path()),
                        ),
                        index,
                    }),
                },
                None => None,
            };
            let Some(refusal) = refusal else {
                unsettled = Some(link.session_id);
                continue;
            };
            if let Some(session_id) = unsettled
                && let Some(results) = self.settle(&ops, session_id).await.map_err(whole)?
            {
                return Ok(results);
            }
            return Err(refusal);
        }
    }

    /// Reads back what `ops` are about: were they applied by an attempt whose answer was lost?
    async fn settle(&self, ops: &[Op], session_id: i64) -> Result<Option<Vec<OpResult>>, StoreError> {
        let mut found: BTreeMap<String, Found> = BTreeMap::new();
        for op in ops {
            let mut strange = 0;
            let node = loop {
                let link = self.link().await?;
                if link.session_id != session_id {
                    return Err(StoreError::SessionExpired);
                }
                let attempt = link.guard(read_once(&link, op.path(), Read::Data, false)).await;
                match self.judge(&link, op.path(), attempt, &mut strange)? {
                    Attempt::Unknown => {}
                    Attempt::Answer(Ok((reading, _))) => break reading.map(|r| (r.data.to_vec(), r.stat)),
                    Attempt::Answer(Err(StoreError::NoNode { .. })) => break None,
                    Attempt::Answer(Err(error)) => return Err(error),
                }
            };
            found.insert(op.path().to_owned(), node);
        }
        Ok(settle::applied(ops, &found, session_id))
    }

    // ---- the gate

    async fn permit(&self) -> Result<tokio::sync::SemaphorePermit<'_>, StoreError> {
        self.permits.acquire().await.map_err(|_| StoreError::Closed)
    }

    /// The link, once there is one that is up.
    async fn link(&self) -> Result<Arc<Link>, StoreError> {
        let mut attachment = self.attachment.clone();
        loop {
            {
                let now = attachment.borrow_and_update();
                match (&now.state, &now.link) {
                    (SessionState::Closed, _) => return Err(StoreError::Closed),
                    (SessionState::Expired { .. }, _) => return Err(StoreError::SessionExpired),
                    (SessionState::Connected { .. }, Some(link)) if link.is_up() => return Ok(link.clone()),
                    _ => {}
                }
            }
            attachment.changed().await.map_err(|_| StoreError::Closed)?;
        }
    }

    /// Tells an answer from a lost connection; `None` is an attempt that its link did not outlive.
    fn judge<T>(
        &self,
        link: &Link,
        path: &str,
        attempt: Option<Result<T, zk::Error>>,
        strange: &mut u32,
    ) -> Result<Attempt<Result<T, StoreError>>, StoreError> {
        let error = match attempt {
            None => return Ok(Attempt::Unknown),
            Some(Ok(answer)) => return Ok(Attempt::Answer(Ok(answer))),
            Some(Err(error)) => error,
        };
        match error {
            // A client's "expired" is a guess; the supervisor asks the server.
            zk::Error::ConnectionLoss
            | zk::Error::Custom(_)
            | zk::Error::Timeout
            | zk::Error::SessionExpired
            | zk::Error::SessionMoved
            | zk::Error::ClientClosed => {
                link.give_up();
                Ok(Attempt::Unknown)
            }
            zk::Error::UnexpectedError(_) | zk::Error::UnmarshalError { .. } => {
                // A client that ends under a request answers strangely, too.
                *strange += u32::from(!link.is_down());
                link.give_up();
                match *strange > STRANGE_ANSWERS_MAX {
                    true => Err(StoreError::Other(error.to_string())),
                    false => Ok(Attempt::Unknown),
                }
            }
            error => Ok(Attempt::Answer(Err(store_error(error, path)))),
        }
    }
}

async fn read_once(
    link: &Link,
    path: &str,
    what: Read,
    watch: bool,
) -> Result<(Option<Reading>, Option<Watch>), zk::Error> {
    let client = &link.client;
    let mut reading = Reading::default();
    let watcher = match (what, watch) {
        (Read::Data, false) => {
            let (data, stat) = client.get_data(path).await?;
            (reading.data, reading.stat) = (Bytes::from(data), from_client(stat));
            None
        }
        (Read::Data, true) => {
            let (data, stat, watcher) = client.get_and_watch_data(path).await?;
            (reading.data, reading.stat) = (Bytes::from(data), from_client(stat));
            Some(watcher)
        }
        (Read::Children, false) => {
            let (children, stat) = client.get_children(path).await?;
            (reading.children, reading.stat) = (children, from_client(stat));
            None
        }
        (Read::Children, true) => {
            let (children, stat, watcher) = client.get_and_watch_children(path).await?;
            (reading.children, reading.stat) = (children, from_client(stat));
            Some(watcher)
        }
        (Read::Exists, watch) => {
            let (stat, watcher) = match watch {
                false => (client.check_stat(path).await?, None),
                true => {
                    let (stat, watcher) = client.check_and_watch_stat(path).await?;
                    (stat, Some(watcher))
                }
            };
            let watch = watcher.map(|watcher| link.watch(watcher));
            let Some(stat) = stat else { return Ok((None, watch)) };
            reading.stat = from_client(stat);
            return Ok((Some(reading), watch));
        }
    };
    Ok((Some(reading), watcher.map(|watcher| link.watch(watcher))))
}

async fn read_all_once(link: &Link, paths: &[String]) -> Result<Option<Vec<Option<(Bytes, Stat)>>>, zk::Error> {
    let mut reader = link.client.new_multi_reader();
    for path in paths {
        reader.add_get_data(path)?;
    }
    let results = match reader.commit().await {
        Ok(results) => results,
        // Not what a server says that knows the request. Nothing else on the connection is affected.
        Err(zk::Error::UnmarshalError { .. }) => return Err(zk::Error::Unimplemented),
        Err(error) => return Err(error),
    };
    if results.len() != paths.len() {
        return Ok(None);
    }
    let found = results.into_iter().map(|result| match result {
        zk::MultiReadResult::Data { data, stat } => Some(Some((Bytes::from(data), from_client(stat)))),
        zk::MultiReadResult::Error { err: zk::Error::NoNode } => Some(None),
        _ => None,
    });
    Ok(found.collect())
}

/// One attempt; an error says which operation the server refused, if it was one of them.
async fn write_once(link: &Link, ops: &[Op]) -> Result<Vec<OpResult>, (Option<usize>, zk::Error)> {
    let client = &link.client;
    let whole = |error| (None, error);
    if let [op] = ops {
        let first = |error| (Some(0), error);
        let result = match op {
            Op::Create { path, data, mode } => {
                let (stat, sequence) = client
                    .create(path, data, &client_mode(*mode).with_acls(link.acls(path)))
                    .await
                    .map_err(first)?;
                let path = match mode {
                    CreateMode::PersistentSequential => format!("{path}{sequence}"),
                    CreateMode::Persistent | CreateMode::Ephemeral => path.clone(),
                };
                let stat = from_client(stat);
                OpResult::Created(Created { path, stat })
            }
            Op::SetData {
                path,
                data,
                expected_version,
            } => {
                let stat = client.set_data(path, data, *expected_version).await.map_err(first)?;
                OpResult::Set(from_client(stat))
            }
            Op::Delete { path, expected_version } => {
                client.delete(path, *expected_version).await.map_err(first)?;
                OpResult::Deleted
            }
            Op::Check { .. } => return write_multi(link, ops).await,
        };
        return Ok(vec![result]);
    }
    if ops.is_empty() {
        return Ok(Vec::new());
    }
    write_multi(link, ops).await.map_err(|error| match error {
        (None, error) => whole(error),
        refused => refused,
    })
}

async fn write_multi(link: &Link, ops: &[Op]) -> Result<Vec<OpResult>, (Option<usize>, zk::Error)> {
    let whole = |error| (None, error);
    let mut writer = link.client.new_multi_writer();
    for op in ops {
        match op {
            Op::Create { path, data, mode } => {
                writer.add_create(path, data, &client_mode(*mode).with_acls(link.acls(path)))
            }
            Op::SetData {
                path,
                data,
                expected_version,
            } => writer.add_set_data(path, data, *expected_version),
            Op::Delete { path, expected_version } => writer.add_delete(path, *expected_version),
            Op::Check { path, version } => writer.add_check_version(path, *version),
        }
        .map_err(whole)?;
    }
    let results = writer.commit().await.map_err(|error| match error {
        zk::MultiWriteError::RequestFailed { source } => (None, source),
        zk::MultiWriteError::OperationFailed { index, source } => (Some(index), source),
    })?;
    let results = results.into_iter().map(|result| match result {
        zk::MultiWriteResult::Create { path, stat } => {
            let stat = match stat.is_invalid() {
                // Servers may leave the stat of a create in a multi out (ZOOKEEPER-4667): it is new, so at version 0.
                true => Stat {
                    czxid: -1,
                    mzxid: -1,
                    ..Stat::default()
                },
                false => from_client(stat),
            };
            Ok(OpResult::Created(Created { path, stat }))
        }
        zk::MultiWriteResult::SetData { stat } => Ok(OpResult::Set(from_client(stat))),
        zk::MultiWriteResult::Delete => Ok(OpResult::Deleted),
        zk::MultiWriteResult::Check => Ok(OpResult::Checked),
        other => Err(zk::Error::UnexpectedError(format!("{other:?}"))),
    });
    let results: Vec<OpResult> = results.collect::<Result<_, _>>().map_err(whole)?;
    match results.len() == ops.len() {
        true => Ok(results),
        false => Err(whole(zk::Error::UnexpectedError(format!(
            "a multi of {} operations answered {}",
            ops.len(),
            results.len()
        )))),
    }
}

fn client_mode(mode: CreateMode) -> zk::CreateMode {
    match mode {
        CreateMode::Persistent => zk::CreateMode::Persistent,
        CreateMode::Ephemeral => zk::CreateMode::Ephemeral,
        CreateMode::PersistentSequential => zk::CreateMode::PersistentSequential,
    }
}

fn from_client(stat: zk::Stat) -> Stat {
    Stat {
        czxid: stat.czxid,
        mzxid: stat.mzxid,
        ctime: stat.ctime,
        mtime: stat.mtime,
        version: stat.version,
        cversion: stat.cversion,
        ephemeral_owner: stat.ephemeral_owner,
        num_children: stat.num_children,
    }
}

fn store_error(error: zk::Error, path: &str) -> StoreError {
    let path = path.to_owned();
    match error {
        zk::Error::NoNode => StoreError::NoNode { path },
        zk::Error::NodeExists => StoreError::NodeExists { path },
        zk::Error::BadVersion => StoreError::BadVersion { path },
        zk::Error::NotEmpty => StoreError::NotEmpty { path },
        zk::Error::NoChildrenForEphemerals => StoreError::NoChildrenForEphemerals { path },
        zk::Error::NoAuth => StoreError::NoAuth { path },
        zk::Error::AuthFailed => StoreError::AuthFailed,
        zk::Error::BadArguments(_) => StoreError::InvalidPath { path },
        other => StoreError::Other(other.to_string()),
    }
}

fn with_path(error: StoreError, refused: &str) -> StoreError {
    let path = refused.to_owned();
    match error {
        StoreError::NoNode { .. } => StoreError::NoNode { path },
        StoreError::NodeExists { .. } => StoreError::NodeExists { path },
        StoreError::BadVersion { .. } => StoreError::BadVersion { path },
        StoreError::NotEmpty { .. } => StoreError::NotEmpty { path },
        StoreError::NoChildrenForEphemerals { .. } => StoreError::NoChildrenForEphemerals { path },
        StoreError::NoAuth { .. } => StoreError::NoAuth { path },
        StoreError::InvalidPath { .. } => StoreError::InvalidPath { path },
        other => other,
    }
}

/// Servers and chroot (empty, or with a leading and without a trailing slash) of a `zookeeper.connect`.
fn split_connect_string(connect: &str) -> Result<(String, String), StoreError> {
    let invalid = |why: &str| StoreError::InvalidConnectString(format!("{why}: {connect}"));
    let connect = connect.trim();
    let (servers, chroot) = match connect.find('/') {
        None => (connect, ""),
        Some(at) => connect.split_at(at),
    };
    let servers: Vec<&str> = servers
        .split(',')
        .map(str::trim)
        .filter(|server| !server.is_empty())
        .collect();
    if servers.is_empty() {
        return Err(invalid("no server"));
    }
    let chroot = chroot.trim_end_matches('/');
    let names = chroot.split('/').skip(1);
    if names.clone().any(|name| matches!(name, "" | "." | "..")) {
        return Err(invalid("bad chroot"));
    }
    Ok((servers.join(","), chroot.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connect_string_is_servers_and_a_chroot() {
        let check = |connect: &str, expected: Option<(&str, &str)>| {
            let found = split_connect_string(connect).ok();
            let found = found
                .as_ref()
                .map(|(servers, chroot)| (servers.as_str(), chroot.as_str()));
            assert_eq!(found, expected, "{connect}");
        };
        check("localhost:2181", Some(("localhost:2181", "")));
        check("a:1,b:2", Some(("a:1,b:2", "")));
        check(" a:1 , b:2 ", Some(("a:1,b:2", "")));
        check("a:1,b:2/kafka", Some(("a:1,b:2", "/kafka")));
        check("a:1/kafka/one/", Some(("a:1", "/kafka/one")));
        check("a:1/", Some(("a:1", "")));
        check("", None);
        check("/kafka", None);
        check("a:1//kafka", None);
        check("a:1/../kafka", None);
    }
}
