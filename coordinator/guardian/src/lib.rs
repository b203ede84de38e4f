//! The death certificate: a small process beside each broker and coordinator, which tells ZooKeeper at once when that
//! process has died, so that failover need not wait for the session timeout.
//!
//! Three parts in one crate: [`Guardian`], what a program uses to have itself watched; the role of the watching process,
//! which is the program's own binary, started with a first argument of ours ([`role`]); and the role of an init where the
//! program is process 1 of a container, since the kernel kills everything in there with process 1.
//!
//! What it removes is what the death of the session would remove, and nothing else ([`bury`]). It decides by a pidfd alone
//! that a process has died: neither a closed pipe, nor silence, nor a lost session counts. Where it cannot do its work the
//! session timeout is still there.
//!
//! Invariants: a process that exists, however slow or stopped, is never declared dead; what a later life of the same broker
//! has made is never removed; the guardian holds no socket, lock or directory of the program, and not its session.

mod estate;
mod init;
mod keep;
mod notice;
mod watch;

use std::ffi::OsStr;
use std::process::ExitCode;

pub use estate::{Buried, Estate, Fence, bury};
pub use keep::{Charge, Guardian};

/// The first argument that makes a program a guardian; the second is the id of the process to be watched.
const GUARDIAN_ROLE: &str = "--guardian-of";

/// Call it first in `main`: plays the role of a guardian, or of process 1 of a container, if this process has one of them,
/// and answers the status to exit with; `None` in the program itself.
pub fn role() -> Option<ExitCode> {
    let mut arguments = std::env::args_os().skip(1);
    if arguments.next().as_deref() == Some(OsStr::new(GUARDIAN_ROLE)) {
        let watched = arguments.next().and_then(|id| id.to_str()?.parse().ok());
        return Some(watch::run(watched));
    }
    rustix::process::getpid().is_init().then(init::run)
}
