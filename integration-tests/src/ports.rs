//! Ports on 127.0.0.1, below the range from which the kernel gives ports to outgoing connections.
//!
//! A broker that is killed and started again must get its port back; a port of the ephemeral range could by then be the
//! local end of somebody's connection. `OTTLA_TEST_PORTS` (`first-last`) moves the range.

use std::net::TcpListener;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

static RANGE: OnceLock<(u32, u32)> = OnceLock::new();
static NEXT: AtomicU32 = AtomicU32::new(0);

fn range() -> (u32, u32) {
    *RANGE.get_or_init(|| {
        let text = std::env::var("OTTLA_TEST_PORTS").unwrap_or_else(|_| "22700-23699".to_owned());
        let parse = |t: &str| t.trim().parse::<u32>().ok().filter(|p| (1024..65536).contains(p));
        match text.split_once('-').and_then(|(a, b)| Some((parse(a)?, parse(b)?))) {
            Some((first, last)) if first < last => (first, last),
            _ => panic!("OTTLA_TEST_PORTS: `{text}` is not a range like 22700-23699"),
        }
    })
}

/// A port on which nobody listens now, not given out before by this process until the range has gone round.
///
/// # Panics
/// Panics when every port of the range is taken.
pub fn free_port() -> u16 {
    let (first, last) = range();
    let size = last - first + 1;
    // Two runs beside each other start at different places.
    let start = std::process::id() % size;
    for _ in 0..size {
        let port = first + (start + NEXT.fetch_add(1, Ordering::Relaxed)) % size;
        let port = u16::try_from(port).expect("the range was checked");
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
    panic!("no free port in {first}-{last}");
}
