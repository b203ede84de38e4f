//! A cable that can be cut: a TCP proxy on 127.0.0.1.
//!
//! While it is cut it behaves as a network that loses packets: connections stay open and nothing passes, new ones are accepted and
//! hear nothing. When it is mended, what was open during the cut is closed. It can be cut for the connections of one process alone.

use crate::free_port;
use parking_lot::Mutex;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

/// Who cannot get through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    /// Everybody passes.
    Nobody,
    /// Nobody passes.
    Everybody,
    /// The connections of this process do not pass.
    Process(u32),
}

struct Shared {
    port: u16,
    target: u16,
    cut: Mutex<Cut>,
    /// Counts mendings: a connection that was open during a cut does not survive the mending.
    mended: AtomicU64,
    ending: AtomicBool,
}

/// A proxy before one port; gone when dropped.
pub struct Proxy {
    shared: Arc<Shared>,
}

impl Proxy {
    /// Starts one before `target` on 127.0.0.1.
    ///
    /// # Panics
    /// Panics when there is no port or thread left.
    pub fn start(target: u16) -> Self {
        let listener = (0..100)
            .find_map(|_| TcpListener::bind(("127.0.0.1", free_port())).ok())
            .expect("a free port");
        let shared = Arc::new(Shared {
            port: listener.local_addr().expect("it is bound").port(),
            target,
            cut: Mutex::new(Cut::Nobody),
            mended: AtomicU64::new(0),
            ending: AtomicBool::new(false),
        });
        let accepting = Arc::clone(&shared);
        std::thread::Builder::new()
            .name("proxy".to_owned())
            .spawn(move || accept(&listener, &accepting))
            .expect("a thread can be started");
        Self { shared }
    }

    /// The port to connect to instead of the target.
    pub fn port(&self) -> u16 {
        self.shared.port
    }

    /// Cuts for those.
    pub fn cut(&self, cut: Cut) {
        *self.shared.cut.lock() = cut;
    }

    /// Lets everybody through again; what was stalled is closed.
    pub fn mend(&self) {
        self.cut(Cut::Nobody);
        self.shared.mended.fetch_add(1, Ordering::SeqCst);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.shared.ending.store(true, Ordering::SeqCst);
        // Wakes the thread that accepts; if that fails, nobody listens any more anyway.
        let _ = TcpStream::connect(("127.0.0.1", self.shared.port));
    }
}

fn accept(listener: &TcpListener, shared: &Arc<Shared>) {
    for connection in listener.incoming() {
        if shared.ending.load(Ordering::SeqCst) {
            return;
        }
        let Ok(near) = connection else { continue };
        let shared = Arc::clone(shared);
        // A connection that gets no thread is closed, which its owner notices.
        let _ = std::thread::Builder::new()
            .name("proxied".to_owned())
            .spawn(move || serve(&near, &shared));
    }
}

fn serve(near: &TcpStream, shared: &Arc<Shared>) {
    let Ok(from) = near.peer_addr().map(|a| a.port()) else {
        return;
    };
    let gate = Gate {
        shared: Arc::clone(shared),
        from,
    };
    if !gate.wait() {
        return;
    }
    let Ok(far) = TcpStream::connect(("127.0.0.1", shared.target)) else {
        return;
    };
    std::thread::scope(|scope| {
        scope.spawn(|| copy(near, &far, &gate));
        copy(&far, near, &gate);
    });
}

fn copy(mut from: &TcpStream, mut to: &TcpStream, gate: &Gate) {
    // Short, so that the end of the proxy and a mended cut are noticed by idle connections too.
    let deadlines = from
        .set_nodelay(true)
        .and_then(|()| from.set_read_timeout(Some(Duration::from_millis(200))));
    let mut bytes = vec![0; 64 << 10];
    while deadlines.is_ok() {
        let read = match from.read(&mut bytes) {
            Ok(0) => break,
            Ok(read) => read,
            Err(e) if matches!(e.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut) => 0,
            Err(_) => break,
        };
        if !gate.wait() || to.write_all(&bytes[..read]).is_err() {
            break;
        }
    }
    // Either side may have gone by itself.
    let _ = from.shutdown(Shutdown::Both);
    let _ = to.shutdown(Shutdown::Both);
}

struct Gate {
    shared: Arc<Shared>,
    from: u16,
}

impl Gate {
    /// Returns at once if the way is free, and false after a cut.
    fn wait(&self) -> bool {
        let mended = self.shared.mended.load(Ordering::SeqCst);
        let mut stalled = false;
        while self.is_cut() {
            stalled = true;
            if self.shared.ending.load(Ordering::SeqCst) {
                return false;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        !stalled && mended == self.shared.mended.load(Ordering::SeqCst) && !self.shared.ending.load(Ordering::SeqCst)
    }

    fn is_cut(&self) -> bool {
        let cut = *self.shared.cut.lock();
        match cut {
            Cut::Nobody => false,
            Cut::Everybody => true,
            Cut::Process(pid) => owns(pid, self.from),
        }
    }
}

/// Whether the process has a TCP socket with this local port. Source: `proc(5)`, `/proc/net/tcp` and `/proc/PID/fd`.
fn owns(pid: u32, port: u16) -> bool {
    let local = format!(":{port:04X}");
    let process = Path::new("/proc").join(pid.to_string());
    let inodes: Vec<String> = ["net/tcp", "net/tcp6"]
        .iter()
        .filter_map(|table| std::fs::read_to_string(process.join(table)).ok())
        .flat_map(|table| {
            table
                .lines()
                .map(|l| l.split_whitespace().collect::<Vec<_>>())
                .filter(|words| words.get(1).is_some_and(|w| w.ends_with(&local)))
                .filter_map(|words| words.get(9).map(|inode| format!("socket:[{inode}]")))
                .collect::<Vec<_>>()
        })
        .collect();
    std::fs::read_dir(process.join("fd"))
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|fd| std::fs::read_link(fd.path()).ok())
        .any(|link| inodes.iter().any(|inode| link.as_os_str() == inode.as_str()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn echo() -> u16 {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        std::thread::spawn(move || {
            for connection in listener.incoming() {
                let mut connection = connection.unwrap();
                std::thread::spawn(move || {
                    let mut byte = [0; 1];
                    while connection.read_exact(&mut byte).is_ok() && connection.write_all(&byte).is_ok() {}
                });
            }
        });
        port
    }

    fn ask(connection: &mut TcpStream) -> bool {
        connection.set_read_timeout(Some(Duration::from_millis(600))).unwrap();
        connection.write_all(b"x").is_ok() && connection.read_exact(&mut [0; 1]).is_ok()
    }

    #[test]
    fn a_cut_stalls_and_a_mended_cable_carries_new_connections() {
        let proxy = Proxy::start(echo());
        let open = || TcpStream::connect(("127.0.0.1", proxy.port())).unwrap();
        let check = |cut: Cut, passes: bool| {
            let mut before = open();
            assert!(ask(&mut before), "before {cut:?}");
            proxy.cut(cut);
            assert_eq!(ask(&mut before), passes, "an open connection, {cut:?}");
            assert_eq!(ask(&mut open()), passes, "a new connection, {cut:?}");
            proxy.mend();
            assert!(ask(&mut open()), "after {cut:?}");
        };
        check(Cut::Everybody, false);
        check(Cut::Process(std::process::id()), false);
        check(Cut::Process(1), true);
    }
}
