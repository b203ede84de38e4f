//! Handshakes that are none: who speaks what to whom by mistake; and one played through in memory.

use std::sync::Arc;

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, Error, InvalidMessage, ServerConfig, ServerConnection};

/// Whether a frame's size is in truth the beginning of a TLS handshake: record type 22, version 3.x.
pub const fn is_client_hello(size: u32) -> bool {
    let [record, major, minor, _] = size.to_be_bytes();
    record == 22 && major == 3 && minor <= 4
}

/// Whether a handshake has failed because the peer does not speak TLS at all.
pub fn speaks_plaintext(error: &std::io::Error) -> bool {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<Error>());
    matches!(
        inner,
        Some(Error::InvalidMessage(
            InvalidMessage::InvalidContentType | InvalidMessage::UnknownProtocolVersion
        ))
    )
}

/// Whether this client and this server would agree, played through in memory.
pub(super) fn try_out(server: &Arc<ServerConfig>, client: &Arc<ClientConfig>) -> Result<(), String> {
    /// Flights of a handshake, with room for a retry.
    const ROUNDS_MAX: usize = 10;
    let failed = |side: &str, error: &dyn std::fmt::Display| format!("{side}: {error}");
    let name = ServerName::try_from("localhost").map_err(|error| error.to_string())?;
    let mut client = ClientConnection::new(Arc::clone(client), name).map_err(|error| failed("the client", &error))?;
    let mut server = ServerConnection::new(Arc::clone(server)).map_err(|error| failed("the server", &error))?;
    for _ in 0..ROUNDS_MAX {
        let mut flight = Vec::new();
        while client.wants_write() {
            client
                .write_tls(&mut flight)
                .map_err(|error| failed("the client", &error))?;
        }
        let mut rest = flight.as_slice();
        while !rest.is_empty() {
            server
                .read_tls(&mut rest)
                .map_err(|error| failed("the server", &error))?;
            server
                .process_new_packets()
                .map_err(|error| failed("the server refuses the client", &error))?;
        }
        let mut flight = Vec::new();
        while server.wants_write() {
            server
                .write_tls(&mut flight)
                .map_err(|error| failed("the server", &error))?;
        }
        let mut rest = flight.as_slice();
        while !rest.is_empty() {
            client
                .read_tls(&mut rest)
                .map_err(|error| failed("the client", &error))?;
            client
                .process_new_packets()
                .map_err(|error| failed("the client refuses the server", &error))?;
        }
        if !client.is_handshaking() && !server.is_handshaking() && !client.wants_write() {
            return Ok(());
        }
    }
    Err("no end to the handshake".into())
}
