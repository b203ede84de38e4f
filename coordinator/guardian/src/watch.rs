//! The guardian's own process: waits for the death of the program that started it, and certifies it.
//!
//! While it waits it is one thread in `poll`: no runtime, no connection. It is in a session of its own and deaf to the
//! signals that end programs, since a supervisor that stops a service may send them to all of its processes; SIGKILL
//! excepted. A pidfd says when the program is gone, with all of its threads; the pipe's end says nothing, because whoever
//! has inherited the pipe may close it or keep it. A pidfd of a process id is safe here although ids are used again: the
//! parent's is ours for as long as `getppid` names it, which is looked at after the pidfd was opened.
//!
//! Its log goes to stderr, which is the program's.

use std::os::fd::{AsFd, OwnedFd};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, getppid, pidfd_open, setsid};
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;
use zk_schema_store::{Store, StoreConfig, StoreError};

use crate::estate::{Buried, Fence, bury};
use crate::notice::{Inbox, Notice, Will};

/// What the server may take beyond the session timeout before it expires a session: two ticks of its default 2 s.
const EXPIRY_GRACE: Duration = Duration::from_secs(4);
/// How long to wait after ZooKeeper has refused.
const RETRY_PAUSE: Duration = Duration::from_millis(200);
/// The only server may be down for a moment, and connecting starts anew then.
const CONNECT_TIME: Duration = Duration::from_secs(5);

/// Plays the role; `watched` is the process that has started this one.
pub(crate) fn run(watched: Option<i32>) -> ExitCode {
    let Some(watched) = watched.and_then(Pid::from_raw) else {
        eprintln!("guardian: started without the id of a process to be watched");
        return ExitCode::FAILURE;
    };
    match wait(watched) {
        Ok(Some(will)) => certify(&will, watched),
        Ok(None) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("guardian: cannot watch process {watched}: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Waits for the death of `watched`; answers what it has left, if anything.
fn wait(watched: Pid) -> Result<Option<Will>, String> {
    let failed = |doing: &'static str| move |error: Errno| format!("{doing}: {error}");
    // It fails for the leader of a process group, which is in a session of its own then or never gets what others do.
    let _ = setsid();
    // So that nobody who ends programs by their name ends this one with them. A name is all that could be lost.
    let _ = rustix::thread::set_name(c"ottla-guardian");
    // The directory of the program may be to be unmounted.
    let _ = std::env::set_current_dir("/");
    be_deaf()?;
    let pidfd = pidfd_open(watched, PidfdFlags::empty());
    let lives = getppid() == Some(watched);
    let stdin = std::io::stdin();
    rustix::io::ioctl_fionbio(&stdin, true).map_err(failed("setting up the pipe"))?;
    let mut inbox = Inbox::default();
    if lives {
        let pidfd = pidfd.map_err(failed("opening a pidfd"))?;
        until_dead(&pidfd, &stdin, &mut inbox).map_err(failed("waiting"))?;
    } else {
        receive(&stdin, &mut inbox);
    }
    Ok(match inbox.last() {
        Some(Notice::Will(will)) => Some(will.clone()),
        Some(Notice::Dismissed) | None => None,
    })
}

/// Returns when the process is gone, and all that it has said is in `inbox`; or when it has dismissed us.
fn until_dead(pidfd: &OwnedFd, stdin: &impl AsFd, inbox: &mut Inbox) -> Result<(), Errno> {
    let mut open = true;
    loop {
        let mut fds = vec![PollFd::new(pidfd, PollFlags::IN)];
        if open {
            fds.push(PollFd::new(stdin, PollFlags::IN));
        }
        match poll(&mut fds, None) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error),
        }
        let dead = fds[0].revents().contains(PollFlags::IN);
        if open {
            open = receive(stdin, inbox);
        }
        if dead || inbox.last() == Some(&Notice::Dismissed) {
            return Ok(());
        }
    }
}

/// Reads what is there; whether there may be more some time.
fn receive(stdin: &impl AsFd, inbox: &mut Inbox) -> bool {
    let mut buffer = [0; 4096];
    loop {
        match rustix::io::read(stdin, &mut buffer) {
            Ok(0) => return false,
            Ok(count) => inbox.take(&buffer[..count]),
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) => return true,
            Err(_) => return false,
        }
    }
}

/// Handles the signals that end a process, by doing nothing. The runtime is only needed to install the handlers, which
/// stay for the life of the process (`tokio::signal::unix`).
fn be_deaf() -> Result<(), String> {
    let failed = |error: std::io::Error| format!("handling signals: {error}");
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .build()
        .map_err(failed)?;
    let _entered = runtime.enter();
    for kind in [
        SignalKind::terminate(),
        SignalKind::interrupt(),
        SignalKind::hangup(),
        SignalKind::quit(),
    ] {
        drop(signal(kind).map_err(failed)?);
    }
    Ok(())
}

/// Does what the will says.
fn certify(will: &Will, dead: Pid) -> ExitCode {
    let since = Instant::now();
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        // The client tells of its sessions, of which nobody here wants to know.
        .with_env_filter(EnvFilter::new("info,zookeeper_client=warn"))
        .with_ansi(false)
        .init();
    let name = &will.name;
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            tracing::error!(%error, "{name} has died; no death certificate: cannot start a runtime");
            return ExitCode::FAILURE;
        }
    };
    let timeout = will.zookeeper.session_timeout + EXPIRY_GRACE;
    let done = runtime.block_on(async { tokio::time::timeout(timeout, remove(will)).await });
    let took_ms = since.elapsed().as_millis();
    match done {
        Ok(Buried::Removed(paths)) => {
            let paths = paths.join(", ");
            tracing::info!(pid = dead.as_raw_pid(), took_ms, "{name} has died: removed {paths}");
        }
        Ok(Buried::SessionOver) => {
            tracing::info!(pid = dead.as_raw_pid(), "{name} has died: its session was over already");
        }
        Err(_) => tracing::warn!(
            pid = dead.as_raw_pid(),
            "{name} has died: zookeeper could not be told before its session ends by itself"
        ),
    }
    // Its threads may wait for a server that does not answer.
    runtime.shutdown_background();
    ExitCode::SUCCESS
}

/// Tries until it is done.
async fn remove(will: &Will) -> Buried {
    let mut last = String::new();
    loop {
        match attempt(will).await {
            Ok(buried) => return buried,
            Err(error) => {
                let reason = error.to_string();
                if reason != last {
                    tracing::warn!("{} has died; zookeeper cannot be told yet: {reason}", will.name);
                    last = reason;
                }
                tokio::time::sleep(RETRY_PAUSE).await;
            }
        }
    }
}

async fn attempt(will: &Will) -> Result<Buried, StoreError> {
    let config = StoreConfig {
        connection_timeout: CONNECT_TIME,
        ..will.zookeeper.clone()
    };
    let store = Store::connect(config).await?;
    let buried = bury(&store, &will.estate, Fence::Required).await;
    // Not more than politeness: there is nothing ephemeral in it.
    let _ = tokio::time::timeout(Duration::from_secs(1), store.close()).await;
    buried
}
