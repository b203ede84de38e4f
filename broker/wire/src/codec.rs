//! Bodies: the guard, then the crate's decoder; and the crate's encoder into one allocation of the right size.
//!
//! Nothing else in this workspace may call `Decodable::decode` on bytes from a socket.

use bytes::{BufMut, Bytes, BytesMut};
use kafka_protocol::protocol::{Decodable, Encodable, Request};

use crate::apis::{self, Api};
use crate::guard::{self, Malformed};
use crate::header;

/// Why a message could not be encoded: a mistake of the caller, never of the peer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EncodeError {
    /// No such API in [`crate::apis::APIS`].
    #[error("unknown api key {0}")]
    UnknownApi(i16),
    /// A field holds what this version cannot say, or a string is too long.
    #[error("{api} version {version}: {reason}")]
    Unrepresentable {
        /// Kafka's name of the API.
        api: &'static str,
        /// The version asked for.
        version: i16,
        /// The encoder's own words.
        reason: String,
    },
    /// More than a frame's 31-bit size can tell.
    #[error("{api} version {version}: {bytes} bytes do not fit in one frame")]
    TooLarge {
        /// Kafka's name of the API.
        api: &'static str,
        /// The version asked for.
        version: i16,
        /// Size of the frame.
        bytes: usize,
    },
}

/// Decodes the body of a request whose header has been read.
///
/// Names and records are slices of `body`: whatever outlives the request should be copied. Bytes after the end of the
/// message are ignored, as Kafka does.
pub fn decode_request<R: Request>(version: i16, body: Bytes) -> Result<R, Malformed> {
    decode(guard::request(R::KEY, version, &body)?, version, body)
}

/// Decodes the body of a response to `R`, with the same care: a peer is a stranger too.
pub fn decode_response<R: Request>(version: i16, body: Bytes) -> Result<R::Response, Malformed> {
    decode(guard::response(R::KEY, version, &body)?, version, body)
}

fn decode<T: Decodable>(passed: guard::Passed, version: i16, body: Bytes) -> Result<T, Malformed> {
    let mut body = passed.canonical(body);
    T::decode(&mut body, version).map_err(|e| Malformed::Undecodable(e.to_string()))
}

/// Encodes a response with its header and the 4-byte size before it: what goes to the socket, as it is.
pub fn encode_response<T: Encodable>(
    correlation_id: i32,
    api_key: i16,
    version: i16,
    response: &T,
) -> Result<Bytes, EncodeError> {
    let api = apis::api(api_key).ok_or(EncodeError::UnknownApi(api_key))?;
    let header_version = api.response_header_version(version);
    let body_len = response
        .compute_size(version)
        .map_err(|e| unrepresentable(api, version, e))?;
    let mut buf = sized(api, version, header::response_header_len(header_version) + body_len)?;
    header::put_response_header(&mut buf, header_version, correlation_id);
    response
        .encode(&mut buf, version)
        .map_err(|e| unrepresentable(api, version, e))?;
    seal(api, version, buf)
}

/// Encodes a request with its header and the 4-byte size before it.
pub fn encode_request<R: Request>(
    correlation_id: i32,
    client_id: &str,
    version: i16,
    request: &R,
) -> Result<Bytes, EncodeError> {
    let api = apis::api(R::KEY).ok_or(EncodeError::UnknownApi(R::KEY))?;
    let header_len = header::request_header_len(api.request_header_version(version), client_id);
    let body_len = request
        .compute_size(version)
        .map_err(|e| unrepresentable(api, version, e))?;
    let mut buf = sized(api, version, header_len + body_len)?;
    header::put_request_header(&mut buf, api, version, correlation_id, client_id);
    request
        .encode(&mut buf, version)
        .map_err(|e| unrepresentable(api, version, e))?;
    seal(api, version, buf)
}

/// A buffer for the whole frame which begins with its size.
fn sized(api: &Api, version: i16, frame_len: usize) -> Result<BytesMut, EncodeError> {
    let size = i32::try_from(frame_len).map_err(|_| EncodeError::TooLarge {
        api: api.name,
        version,
        bytes: frame_len,
    })?;
    let mut buf = BytesMut::with_capacity(4 + frame_len);
    buf.put_i32(size);
    Ok(buf)
}

/// Checks that the size written first is the size that came out: else the peer would read nonsense from here on.
fn seal(api: &Api, version: i16, buf: BytesMut) -> Result<Bytes, EncodeError> {
    let found = buf.len() - 4;
    if buf[..4] != (found as u32).to_be_bytes() {
        return Err(unrepresentable(
            api,
            version,
            format_args!("computed size differs from the {found} bytes encoded"),
        ));
    }
    Ok(buf.freeze())
}

pub(crate) fn unrepresentable(api: &Api, version: i16, e: impl std::fmt::Display) -> EncodeError {
    EncodeError::Unrepresentable {
        api: api.name,
        version,
        reason: e.to_string(),
    }
}
