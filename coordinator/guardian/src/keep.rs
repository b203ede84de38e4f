//! A program's side: starts its guardian, tells it which session counts, and starts another if that one ends.
//!
//! Each session is marked in ZooKeeper first (see `estate`) and told then, so that the guardian never knows of a session
//! that it could not remove safely. Whatever fails here costs speed alone: the session timeout is still there.

use std::io;
use std::process::Stdio;
use std::time::{Duration, Instant};

use tokio::io::AsyncWriteExt;
use tokio::process::{Child, ChildStdin, Command};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use zk_schema::ottla;
use zk_schema_store::{CreateMode, SessionState, Store, StoreConfig, StoreError};

use crate::GUARDIAN_ROLE;
use crate::estate::Estate;
use crate::notice::{Notice, Will};

/// How long to wait before trying again what has failed; twice as long each time in a row, up to the most.
const RETRY_PAUSE: Duration = Duration::from_secs(1);
const RETRY_PAUSE_MAX: Duration = Duration::from_secs(60);
/// A guardian that has lived so long did not fail to start: where the system has no pidfd, each one ends at once.
const LIVED: Duration = Duration::from_secs(10);
/// The first session is marked within this, or the program goes on without waiting for it.
const FIRST_TIME_MAX: Duration = Duration::from_secs(2);
/// How long a dismissed guardian may take to end.
const END_TIME_MAX: Duration = Duration::from_secs(2);

/// What a guardian is told of the program.
#[derive(Clone, Debug)]
pub struct Charge {
    /// For the log: `broker 1`.
    pub name: String,
    /// How to reach ZooKeeper: as the program itself does.
    pub zookeeper: StoreConfig,
    /// The ephemeral znodes that the program may make: [`Estate::paths_of_broker`], [`Estate::paths_of_coordinator`].
    pub paths: Vec<String>,
}

/// A guardian of this process. Dropping it leaves the guardian at its work.
#[derive(Debug)]
pub struct Guardian {
    dismiss: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

impl Guardian {
    /// Starts the guardian of this process, and returns once it knows the session of `store`, or could not be told.
    pub async fn start(charge: Charge, store: Store) -> Self {
        let (dismiss, dismissed) = oneshot::channel();
        let (ready, first) = oneshot::channel();
        let mut keeper = Keeper {
            charge,
            process: None,
            told: None,
            ready: Some(ready),
        };
        let task = tokio::spawn(async move {
            tokio::select! {
                () = keeper.keep(store) => {}
                dismissed = dismissed => if dismissed.is_ok() {
                    keeper.dismiss().await;
                },
            }
        });
        // Late, or never: the program need not wait for it.
        let _ = tokio::time::timeout(FIRST_TIME_MAX, first).await;
        Self { dismiss, task }
    }

    /// The process ends in order and has closed its session: the guardian ends, too.
    pub async fn dismiss(self) {
        if self.dismiss.send(()).is_ok() {
            // A panic in there has been logged.
            let _ = self.task.await;
        }
    }
}

struct Process {
    child: Child,
    stdin: ChildStdin,
    since: Instant,
}

struct Keeper {
    charge: Charge,
    process: Option<Process>,
    /// The session that the process knows.
    told: Option<i64>,
    ready: Option<oneshot::Sender<()>>,
}

impl Keeper {
    /// Until the store is closed.
    async fn keep(&mut self, store: Store) {
        let mut session = store.session();
        let mut pause = RETRY_PAUSE;
        loop {
            let state = *session.borrow_and_update();
            if state == SessionState::Closed {
                return std::future::pending().await;
            }
            if let SessionState::Connected { session_id, .. } = state
                && self.told != Some(session_id)
                && let Err(error) = self.tell_session(&store, session_id).await
            {
                tracing::warn!(%error, "no death certificate: the guardian could not be told of the session; trying again");
                tokio::time::sleep(pause).await;
                pause = (2 * pause).min(RETRY_PAUSE_MAX);
                continue;
            }
            let ended = async {
                match &mut self.process {
                    Some(process) => process.child.wait().await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                changed = session.changed() => if changed.is_err() {
                    return std::future::pending().await;
                },
                status = ended => {
                    let status = status.map_or_else(|error| error.to_string(), |status| status.to_string());
                    tracing::warn!(status, "the guardian process has ended; starting another");
                    if self.process.take().is_some_and(|process| process.since.elapsed() > LIVED) {
                        pause = RETRY_PAUSE;
                    }
                    self.told = None;
                    tokio::time::sleep(pause).await;
                    pause = (2 * pause).min(RETRY_PAUSE_MAX);
                }
            }
        }
    }

    async fn tell_session(&mut self, store: &Store, session_id: i64) -> Result<(), TellError> {
        if self.process.is_none() {
            self.process = Some(start()?);
        }
        mark(store, session_id).await?;
        let will = Will {
            name: self.charge.name.clone(),
            zookeeper: self.charge.zookeeper.clone(),
            estate: Estate {
                session_id,
                paths: self.charge.paths.clone(),
            },
        };
        self.tell(&Notice::Will(will)).await?;
        self.told = Some(session_id);
        if let Some(ready) = self.ready.take() {
            // Whoever waited may have gone on.
            let _ = ready.send(());
        }
        Ok(())
    }

    async fn tell(&mut self, notice: &Notice) -> io::Result<()> {
        let Some(process) = &mut self.process else {
            return Ok(());
        };
        let written = process.stdin.write_all(&notice.encode()?).await;
        if written.is_err() {
            // It has ended; the runtime buries it.
            (self.process, self.told) = (None, None);
        }
        written
    }

    async fn dismiss(&mut self) {
        // A guardian that has ended need not be told.
        if self.tell(&Notice::Dismissed).await.is_ok()
            && let Some(process) = &mut self.process
            && tokio::time::timeout(END_TIME_MAX, process.child.wait()).await.is_err()
        {
            tracing::warn!("the guardian process does not end in time; it ends after this one");
        }
    }
}

/// Why the guardian does not know of a session.
#[derive(Debug, thiserror::Error)]
enum TellError {
    /// It cannot be started, or written to.
    #[error(transparent)]
    Process(#[from] io::Error),
    /// The session cannot be marked.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Starts this program once more, as a guardian. Also where its file has been replaced meanwhile.
fn start() -> io::Result<Process> {
    let mut child = Command::new("/proc/self/exe")
        .arg0("ottla-guardian")
        .args([GUARDIAN_ROLE, &std::process::id().to_string()])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()?;
    let stdin = child.stdin.take();
    let stdin = stdin.ok_or_else(|| io::Error::other("a pipe was asked for, and is not there"))?;
    Ok(Process {
        child,
        stdin,
        since: Instant::now(),
    })
}

/// Makes the mark of the session.
async fn mark(store: &Store, session_id: i64) -> Result<(), StoreError> {
    let path = ottla::session_path(session_id);
    match store.create_recursive(&path, Vec::new(), CreateMode::Ephemeral).await {
        // Nobody but this session makes it: then it is ours from an earlier attempt.
        Ok(_) | Err(StoreError::NodeExists { .. }) => Ok(()),
        Err(error) => Err(error),
    }
}
