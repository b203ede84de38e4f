//! Sockets: listeners, connections, frames in and replies out.
//!
//! A connection is one task. It reads a frame, has it served, sends the reply, and reads the next: requests of one
//! connection are answered in order, and a peer that does not read is not read from. Replies to requests that arrived
//! together leave together. Knows nothing of what a request means.

mod connection;
mod listener;
mod listeners;
mod refusals;
mod reply;
mod send;
mod send_tls;
mod tls;
mod transport;

pub use listener::{Listener, ListenerError, SocketSettings};
pub use listeners::{Listeners, OpenError, open_listener, ports};
pub use reply::{FilePart, FromFile, Reply};
pub use tls::{ListenerTls, ListenerTlsError, Tls};
