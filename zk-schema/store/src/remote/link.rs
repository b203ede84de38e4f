//! One connection to ZooKeeper, from its handshake to its loss, on a thread of its own.
//!
//! The client crate cannot be told to stop without closing its session, and it decides for itself when to try again
//! and when to believe in an expiry. So each connection of ours gets a client of its own with a runtime of its own:
//! when the connection is lost the runtime is dropped, which ends the client at once and leaves the session alive at
//! the server, for the next link to re-attach to. The thread also keeps heartbeats going while the broker's workers
//! are busy with disks.

use core::future::Future;
use core::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::{oneshot, watch};
use zookeeper_client as zk;

use crate::security::{self, Security};
use crate::{StoreError, Watch};

/// How long the server may take to confirm that the session is closed.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);

/// A connection that is, or was, up.
pub(crate) struct Link {
    pub(crate) client: zk::Client,
    /// The session it serves.
    pub(crate) session_id: i64,
    /// True once the connection is lost.
    down: watch::Receiver<bool>,
    give_up: watch::Sender<bool>,
    /// Whether what is created is kept from others.
    set_acl: bool,
    /// This server does not know several reads in one request.
    one_by_one: AtomicBool,
}

/// What to connect to.
#[derive(Clone)]
pub(crate) struct Target {
    /// `host:port,host:port`.
    pub(crate) servers: String,
    /// Empty, or an absolute path that is prefixed to every path.
    pub(crate) chroot: String,
    pub(crate) session_timeout: Duration,
    pub(crate) security: Security,
}

impl Link {
    /// Connects: to `session` if there is one to re-attach to, else to a new one. Tries each server once.
    ///
    /// Dropping the future gives the attempt up.
    pub(crate) async fn open(target: Target, session: Option<zk::SessionInfo>) -> Result<Self, zk::Error> {
        let (result, opened) = oneshot::channel();
        let (down_sender, down) = watch::channel(false);
        let give_up = watch::Sender::new(false);
        let set_acl = target.security.set_acl;
        let run = Run {
            target,
            session,
            result,
            down: down_sender,
            give_up: give_up.subscribe(),
        };
        std::thread::Builder::new()
            .name("zookeeper-link".into())
            .spawn(move || run.run())
            .map_err(|error| zk::Error::UnexpectedError(format!("cannot start a thread: {error}")))?;
        let client = opened.await.map_err(|_| zk::Error::ConnectionLoss)??;
        Ok(Self {
            session_id: client.session_id().0,
            client,
            down,
            give_up,
            set_acl,
            one_by_one: AtomicBool::new(false),
        })
    }

    /// Who may do what with a znode that is created at `path`.
    pub(crate) fn acls(&self, path: &str) -> zk::Acls<'static> {
        security::acls(path, self.set_acl)
    }

    /// Whether several reads in one request have been refused.
    pub(crate) fn reads_one_by_one(&self) -> bool {
        self.one_by_one.load(Ordering::Relaxed)
    }

    /// Several reads in one request have been refused: servers before ZooKeeper 3.6 do not know them.
    pub(crate) fn read_one_by_one(&self) {
        self.one_by_one.store(true, Ordering::Relaxed);
    }

    pub(crate) fn is_up(&self) -> bool {
        !self.is_down() && self.client.state() == zk::SessionState::SyncConnected
    }

    /// Whether its loss is known already.
    pub(crate) fn is_down(&self) -> bool {
        *self.down.borrow()
    }

    /// Ends it without ending the session.
    pub(crate) fn give_up(&self) {
        self.give_up.send_replace(true);
    }

    /// Resolves once it is lost.
    pub(crate) fn lost(&self) -> impl Future<Output = ()> + Send + use<> {
        let mut down = self.down.clone();
        async move {
            // An error means that the thread is gone: lost, too.
            let _: Result<_, watch::error::RecvError> = down.wait_for(|down| *down).await;
        }
    }

    /// The answer, or `None` if the link is lost before.
    pub(crate) async fn guard<T>(&self, answer: impl Future<Output = T>) -> Option<T> {
        let lost = self.lost();
        tokio::select! {
            biased;
            answer = answer => Some(answer),
            () = lost => None,
        }
    }

    /// Fires with the watcher, or when the link is lost.
    pub(crate) fn watch(&self, watcher: zk::OneshotWatcher) -> Watch {
        let lost = self.lost();
        Watch::new(async move {
            tokio::select! {
                // The watcher panics if its client is gone, so that is looked at first.
                biased;
                () = lost => {}
                _ = watcher.changed() => {}
            }
        })
    }
}

struct Run {
    target: Target,
    session: Option<zk::SessionInfo>,
    result: oneshot::Sender<Result<zk::Client, zk::Error>>,
    down: watch::Sender<bool>,
    give_up: watch::Receiver<bool>,
}

impl Run {
    fn run(self) {
        let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
            Ok(runtime) => runtime,
            Err(error) => {
                let error = zk::Error::UnexpectedError(format!("cannot build a runtime: {error}"));
                // Nobody may be waiting any more.
                let _: Result<(), _> = self.result.send(Err(error));
                return;
            }
        };
        let Self {
            target,
            session,
            mut result,
            down,
            give_up,
        } = self;
        runtime.block_on(async move {
            let opened = tokio::select! {
                opened = open(&target, session) => opened,
                () = result.closed() => return,
            };
            match opened {
                Err(error) => {
                    let _: Result<(), _> = result.send(Err(error));
                }
                Ok(client) => {
                    let states = client.state_watcher();
                    if result.send(Ok(client)).is_ok() {
                        serve(states, give_up).await;
                    }
                }
            }
            // Before the runtime and with it the client are dropped: whoever waits must learn it from here.
            down.send_replace(true);
        });
    }
}

/// Until the connection is lost, the session closed, or the link given up.
///
/// If the client's task panics its state never changes again; but then its watches fire and requests fail in a
/// strange way, upon which the link is given up.
async fn serve(mut states: zk::StateWatcher, mut give_up: watch::Receiver<bool>) {
    loop {
        tokio::select! {
            state = states.changed() => match state {
                // Lost and found again by the client itself before we saw it: answers are lost, watches are not.
                zk::SessionState::SyncConnected => {}
                _ => return,
            },
            // Given up, or every user has gone: then the client is closing the session, and says when it is done.
            given_up = give_up.wait_for(|given_up| *given_up) => match given_up {
                Ok(_) => return,
                Err(_) => {
                    let closed = async { while states.changed().await == zk::SessionState::SyncConnected {} };
                    if tokio::time::timeout(CLOSE_TIMEOUT, closed).await.is_err() {
                        tracing::warn!("zookeeper has not confirmed the end of the session; it will time out");
                    }
                    return;
                }
            },
        }
    }
}

async fn open(target: &Target, session: Option<zk::SessionInfo>) -> Result<zk::Client, zk::Error> {
    let mut connector = zk::Client::connector()
        .with_session_timeout(target.session_timeout)
        .with_fail_eagerly();
    let is_new = session.is_none();
    if let Some(session) = session {
        connector = connector.with_session(session);
    }
    let connector = target.security.apply(connector).map_err(|error| match error {
        StoreError::AuthFailed => zk::Error::AuthFailed,
        other => zk::Error::UnexpectedError(other.to_string()),
    })?;
    let client = match target.security.tls {
        Some(_) => connector.secure_connect(&target.servers).await?,
        None => connector.connect(&target.servers).await?,
    };
    if !target.chroot.is_empty() && is_new {
        let ends = target
            .chroot
            .char_indices()
            .filter(|&(at, c)| c == '/' && at > 0)
            .map(|(at, _)| at);
        let there = client.check_stat(&target.chroot).await?.is_some();
        let ends = ends.chain([target.chroot.len()]).filter(|_| !there);
        for end in ends {
            let path = &target.chroot[..end];
            let options = zk::CreateMode::Persistent.with_acls(security::acls(path, target.security.set_acl));
            match client.create(path, &[], &options).await {
                Ok(_) | Err(zk::Error::NodeExists) => {}
                Err(error) => return Err(error),
            }
        }
    }
    let client = match target.chroot.is_empty() {
        true => client,
        false => client
            .chroot(target.chroot.as_str())
            .map_err(|_| zk::Error::BadArguments(&"chroot"))?,
    };
    if !is_new {
        // Another server may lag behind what this session has seen.
        client.sync("/").await?;
    }
    Ok(client)
}
