//! Process 1 of a container: starts the program itself as a child, passes signals on, buries what has died.
//!
//! The kernel kills every process of a container with its process 1; a guardian could not outlive a program that is that
//! one. So the program moves one process down, has its guardian beside it as everywhere, and process 1 waits for both: after
//! the death of the program, until the guardian has done its work. It exits as the program did, with 128 + the signal's
//! number where a signal has killed it, as a shell does.
//!
//! The child has a process group of its own, so that a terminal's Ctrl-C reaches it once, through us.

use std::io;
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};
use std::time::Duration;

use rustix::process::{Pid, Signal, WaitOptions, WaitStatus, kill_process};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

/// How long a guardian may hold up the end of the container, and so its restart.
const GUARDIAN_TIME_MAX: Duration = Duration::from_secs(5);

/// What is passed on.
const PASSED_ON: [(SignalKind, Signal); 6] = [
    (SignalKind::terminate(), Signal::TERM),
    (SignalKind::interrupt(), Signal::INT),
    (SignalKind::hangup(), Signal::HUP),
    (SignalKind::quit(), Signal::QUIT),
    (SignalKind::user_defined1(), Signal::USR1),
    (SignalKind::user_defined2(), Signal::USR2),
];

/// Plays the role of process 1.
pub(crate) fn run() -> ExitCode {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let status = runtime.and_then(|runtime| runtime.block_on(preside()));
    match status {
        Ok(status) => ExitCode::from(status),
        Err(error) => {
            eprintln!("init: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn preside() -> io::Result<u8> {
    let mut deaths = signal(SignalKind::child())?;
    let (tell, mut signals) = mpsc::unbounded_channel();
    for (kind, number) in PASSED_ON {
        let mut received = signal(kind)?;
        let tell = tell.clone();
        tokio::spawn(async move { while received.recv().await.is_some() && tell.send(number).is_ok() {} });
    }
    // Not tokio's: that would wait for the child itself, and here all waiting is done in one place.
    let mut arguments = std::env::args_os();
    // By its own path, so that it is listed under its own name.
    let program = std::env::current_exe()
        .ok()
        .filter(|path| path.exists())
        .unwrap_or_else(|| "/proc/self/exe".into());
    let child = Command::new(program)
        .arg0(arguments.next().unwrap_or_default())
        .args(arguments)
        .process_group(0)
        .spawn()?;
    let child = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    let child = child.ok_or_else(|| io::Error::other("a child without a process id"))?;
    let status = loop {
        tokio::select! {
            _ = deaths.recv() => if let Reaped { status: Some(status), .. } = reap(child)? {
                break status;
            },
            Some(number) = signals.recv() => match kill_process(child, number) {
                // It has ended, and is about to be waited for.
                Ok(()) | Err(rustix::io::Errno::SRCH) => {}
                Err(error) => return Err(error.into()),
            },
        }
    };
    // The guardian has become ours with the death of its parent.
    let guardian = async {
        while !reap(child)?.all {
            deaths.recv().await;
        }
        Ok::<_, io::Error>(())
    };
    match tokio::time::timeout(GUARDIAN_TIME_MAX, guardian).await {
        Ok(reaped) => reaped?,
        Err(_) => eprintln!("init: the guardian has not told zookeeper in time; the session ends by itself"),
    }
    Ok(status)
}

struct Reaped {
    /// How the program ended, if it is among them.
    status: Option<u8>,
    /// Whether no child is left.
    all: bool,
}

/// Buries whoever has died, also what others have left to process 1.
fn reap(child: Pid) -> io::Result<Reaped> {
    let mut status = None;
    loop {
        match rustix::process::wait(WaitOptions::NOHANG) {
            Ok(Some((pid, how))) if pid == child => status = exit_status(how),
            Ok(Some(_)) | Err(rustix::io::Errno::INTR) => {}
            Ok(None) => return Ok(Reaped { status, all: false }),
            Err(rustix::io::Errno::CHILD) => return Ok(Reaped { status, all: true }),
            Err(error) => return Err(error.into()),
        }
    }
}

fn exit_status(how: WaitStatus) -> Option<u8> {
    let number = how
        .exit_status()
        .or_else(|| how.terminating_signal().map(|signal| 128 + signal))?;
    Some(u8::try_from(number).unwrap_or(u8::MAX))
}
