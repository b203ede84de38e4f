//! `/cluster/ottla` — what is ours alone; no stock Kafka reads or writes it.
//!
//! Ephemeral children announce which brokers and which dedicated coordinators are of this product: whoever is in
//! `/brokers/ids` but not here is a stock Kafka; and which sessions may be ended by a death certificate. Below `/cluster`, so that `ls /` shows the classic paths only.

use model::BrokerId;

use crate::DecodeError;

/// The parent.
pub const PATH: &str = "/cluster/ottla";
/// Brokers of this product (ephemeral children by broker id).
pub const BROKERS_PATH: &str = "/cluster/ottla/brokers";
/// Dedicated coordinators (ephemeral children by id).
pub const COORDINATORS_PATH: &str = "/cluster/ottla/coordinators";
/// Sessions of processes that a guardian watches (ephemeral children by session id).
pub const SESSIONS_PATH: &str = "/cluster/ottla/sessions";

/// Where a broker announces itself.
pub fn broker_path(id: BrokerId) -> String {
    format!("{BROKERS_PATH}/{id}")
}

/// Where a dedicated coordinator announces itself.
pub fn coordinator_path(id: BrokerId) -> String {
    format!("{COORDINATORS_PATH}/{id}")
}

/// The mark of a session, made in it: while it is there, the session has not ended. A multi that deletes it is fenced by the
/// session, which no data version can do: a registration of the next life has the same version as that of the last.
pub fn session_path(session_id: i64) -> String {
    format!("{SESSIONS_PATH}/0x{session_id:x}")
}

/// The content of a coordinator's znode: where it takes the brokers' requests, as `host:port` in plain text.
pub fn encode_address(host: &str, port: u16) -> Vec<u8> {
    format!("{host}:{port}").into_bytes()
}

/// Reads [`encode_address`]'s text; an IPv6 host may have brackets or not.
///
/// # Errors
/// It is no `host:port`.
pub fn decode_address(id: BrokerId, data: &[u8]) -> Result<(String, u16), DecodeError> {
    let malformed = |reason: &str| DecodeError::new(&coordinator_path(id), reason, data);
    let text = std::str::from_utf8(data).map_err(|_| malformed("not UTF-8"))?;
    let (host, port) = text.rsplit_once(':').ok_or_else(|| malformed("no host:port"))?;
    let port = port.parse().map_err(|_| malformed("no port"))?;
    Ok((host.trim_matches(['[', ']']).to_owned(), port))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_read_as_it_was_written() {
        let check = |host: &str, port| {
            let read = decode_address(BrokerId(100_001), &encode_address(host, port)).unwrap();
            assert_eq!(read, (host.to_owned(), port));
        };
        check("kafka-1.example", 9190);
        check("127.0.0.1", 1);
        check("::1", 9190);
        for text in ["", "host", "host:", "host:70000", "host:x"] {
            assert!(decode_address(BrokerId(100_001), text.as_bytes()).is_err(), "{text}");
        }
    }
}
