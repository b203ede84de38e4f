//! Request and response headers: who asks for what, at which version, and which answer belongs to it.
//!
//! Reads them without the crate's decoder, which trusts the number and the sizes of tagged fields. Checks the API key and
//! version against [`crate::apis`] before anything of the body is looked at. Does not know which APIs a listener
//! offers or whether a connection is authenticated: that is the broker's business, before it decodes the body.

use bytes::{BufMut, Bytes};
use kafka_protocol::protocol::StrBytes;

use crate::apis::{self, API_VERSIONS, Api};
use crate::guard::{Malformed, Walk};

/// The header of a request.
///
/// Source: Kafka `RequestHeader.json`, versions 0–2.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestHeader {
    /// The API that is asked for; always one of [`apis::APIS`].
    pub api: &'static Api,
    /// The version of the body. Supported by `api`, except for ApiVersions, where any version gets an answer: see
    /// [`RequestHeader::is_supported`].
    pub api_version: i16,
    /// Comes back in the response's header.
    pub correlation_id: i32,
    /// The client's name for itself; empty where it sent none. A slice of the frame: copy it before keeping it.
    pub client_id: StrBytes,
}

/// Why a request cannot be answered; the connection is to be closed, as Kafka does.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HeaderError {
    /// No API of a 3.9 broker in ZooKeeper mode has this key.
    #[error("unknown api key {api_key}")]
    UnknownApi {
        /// The key in the request.
        api_key: i16,
    },
    /// The API is known, the version is not.
    #[error("unsupported version {api_version} of {api_name}")]
    UnsupportedVersion {
        /// Kafka's name of the API.
        api_name: &'static str,
        /// The version in the request.
        api_version: i16,
    },
    /// The header itself is cut short or broken.
    #[error("malformed request header: {0}")]
    Malformed(#[from] Malformed),
}

impl RequestHeader {
    /// Reads the header of a frame (without its size prefix) and returns it with the body.
    ///
    /// An ApiVersions request of an unsupported version is returned, not refused, because it is answered with the
    /// versions that are supported (KIP-511): check [`RequestHeader::is_supported`] before decoding its body.
    pub fn parse(frame: &Bytes) -> Result<(RequestHeader, Bytes), HeaderError> {
        let mut walk = Walk::new(frame);
        let api_key = walk.i16("request_api_key")?;
        let api_version = walk.i16("request_api_version")?;
        let api = apis::api(api_key).ok_or(HeaderError::UnknownApi { api_key })?;
        if !api.supports(api_version) && api_key != API_VERSIONS {
            return Err(HeaderError::UnsupportedVersion {
                api_name: api.name,
                api_version,
            });
        }
        let header_version = api.request_header_version(api_version);
        let correlation_id = walk.i32("correlation_id")?;
        let client_id = if header_version >= 1 {
            let at = walk.string("client_id")?;
            lossy(frame.slice(at))
        } else {
            StrBytes::default()
        };
        if header_version >= 2 {
            walk.unknown_tags()?;
        }
        let body = frame.slice(walk.position()..);
        Ok((
            RequestHeader {
                api,
                api_version,
                correlation_id,
                client_id,
            },
            body,
        ))
    }

    /// Whether the body's version is one that the schema has; false only for ApiVersions.
    pub fn is_supported(&self) -> bool {
        self.api.supports(self.api_version)
    }
}

/// Text as Java reads it: what is not UTF-8 becomes U+FFFD.
fn lossy(bytes: Bytes) -> StrBytes {
    match StrBytes::from_utf8(bytes.clone()) {
        Ok(text) => text,
        Err(_) => StrBytes::from_string(String::from_utf8_lossy(&bytes).into_owned()),
    }
}

/// Bytes that [`put_request_header`] writes.
pub fn request_header_len(header_version: i16, client_id: &str) -> usize {
    match header_version {
        0 => 8,
        1 => 10 + client_id.len(),
        _ => 11 + client_id.len(),
    }
}

/// Writes a request header. `client_id` must be at most `i16::MAX` bytes, which [`crate::client`] checks once.
pub fn put_request_header(buf: &mut impl BufMut, api: &Api, api_version: i16, correlation_id: i32, client_id: &str) {
    buf.put_i16(api.key);
    buf.put_i16(api_version);
    buf.put_i32(correlation_id);
    let header_version = api.request_header_version(api_version);
    if header_version >= 1 {
        buf.put_i16(i16::try_from(client_id.len()).unwrap_or(0));
        buf.put_slice(if client_id.len() <= i16::MAX as usize {
            client_id.as_bytes()
        } else {
            &[]
        });
    }
    if header_version >= 2 {
        buf.put_u8(0); // No tagged fields.
    }
}

/// Bytes that [`put_response_header`] writes: 4, or 5 with an empty section of tagged fields.
pub fn response_header_len(header_version: i16) -> usize {
    if header_version >= 1 { 5 } else { 4 }
}

/// Writes a response header.
pub fn put_response_header(buf: &mut impl BufMut, header_version: i16, correlation_id: i32) {
    buf.put_i32(correlation_id);
    if header_version >= 1 {
        buf.put_u8(0); // No tagged fields.
    }
}

/// Reads the correlation id of a response frame (without its size prefix) and returns it with the body.
pub fn parse_response_header(frame: &Bytes, header_version: i16) -> Result<(i32, Bytes), Malformed> {
    let mut walk = Walk::new(frame);
    let correlation_id = walk.i32("correlation_id")?;
    if header_version >= 1 {
        walk.unknown_tags()?;
    }
    Ok((correlation_id, frame.slice(walk.position()..)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(bytes: &[u8]) -> Result<(i16, i16, i32, String, usize), HeaderError> {
        let (header, body) = RequestHeader::parse(&Bytes::copy_from_slice(bytes))?;
        let client_id = header.client_id.to_string();
        Ok((
            header.api.key,
            header.api_version,
            header.correlation_id,
            client_id,
            body.len(),
        ))
    }

    #[test]
    fn headers_of_every_version_are_read() {
        let check = |name: &str, bytes: &[u8], expected: (i16, i16, i32, &str, usize)| {
            let (key, version, correlation_id, client_id, body) = parse(bytes).expect(name);
            assert_eq!((key, version, correlation_id, &*client_id, body), expected, "{name}");
        };
        check(
            "version 0 has no client id",
            &[0, 7, 0, 0, 0, 0, 0, 9, 0xaa],
            (7, 0, 9, "", 1),
        );
        check(
            "version 1",
            &[0, 7, 0, 1, 0, 0, 0, 9, 0, 2, b'm', b'e', 0xaa],
            (7, 1, 9, "me", 1),
        );
        check(
            "null client id",
            &[0, 3, 0, 1, 0, 0, 0, 9, 0xff, 0xff],
            (3, 1, 9, "", 0),
        );
        check(
            "client id of length -2",
            &[0, 3, 0, 1, 0, 0, 0, 9, 0xff, 0xfe, 5],
            (3, 1, 9, "", 1),
        );
        check(
            "client id is not UTF-8",
            &[0, 3, 0, 1, 0, 0, 0, 9, 0, 1, 0xff],
            (3, 1, 9, "\u{fffd}", 0),
        );
        check(
            "version 2, no tags",
            &[0, 3, 0, 9, 0, 0, 0, 9, 0, 1, b'm', 0, 0xaa],
            (3, 9, 9, "m", 1),
        );
        check(
            "version 2, an unknown tag",
            &[0, 3, 0, 9, 0, 0, 0, 9, 0, 0, 1, 5, 2, 1, 2, 0xaa, 0xaa],
            (3, 9, 9, "", 2),
        );
        check(
            "ApiVersions of the future",
            &[0, 18, 0, 99, 0, 0, 0, 9, 0, 1, b'm', 0, 0xaa],
            (18, 99, 9, "m", 1),
        );
        check(
            "ApiVersions of no time",
            &[0, 18, 0xff, 0xff, 0, 0, 0, 9, 0, 1, b'm'],
            (18, -1, 9, "m", 0),
        );
    }

    #[test]
    fn headers_that_cannot_be_answered_are_refused() {
        let check = |name: &str, bytes: &[u8], expected: HeaderError| {
            assert_eq!(parse(bytes).expect_err(name), expected, "{name}");
        };
        let truncated = |field, wanted, left| HeaderError::Malformed(Malformed::Truncated { field, wanted, left });
        check("nothing", &[], truncated("request_api_key", 2, 0));
        check("key only", &[0, 3], truncated("request_api_version", 2, 0));
        check(
            "unknown key",
            &[0, 99, 0, 0, 0, 0, 0, 0],
            HeaderError::UnknownApi { api_key: 99 },
        );
        check(
            "KRaft's key",
            &[0, 52, 0, 0, 0, 0, 0, 0],
            HeaderError::UnknownApi { api_key: 52 },
        );
        check(
            "version too new",
            &[0, 3, 0, 13, 0, 0, 0, 0],
            HeaderError::UnsupportedVersion {
                api_name: "Metadata",
                api_version: 13,
            },
        );
        check(
            "version below zero",
            &[0, 3, 0xff, 0xff, 0, 0, 0, 0],
            HeaderError::UnsupportedVersion {
                api_name: "Metadata",
                api_version: -1,
            },
        );
        check(
            "client id is cut",
            &[0, 3, 0, 1, 0, 0, 0, 9, 0, 9, b'm'],
            truncated("client_id", 9, 1),
        );
        check(
            "a tag larger than the frame",
            &[0, 3, 0, 9, 0, 0, 0, 9, 0, 0, 1, 5, 0xff, 0xff, 0xff, 0xff, 7],
            truncated("tagged field", 0x7fff_ffff, 0),
        );
        let mut tags = vec![0, 3, 0, 9, 0, 0, 0, 9, 0, 0, 65];
        tags.extend([9, 0].repeat(65));
        check("too many tags", &tags, HeaderError::Malformed(Malformed::TooManyTags));
        check(
            "endless varint",
            &[0, 3, 0, 9, 0, 0, 0, 9, 0, 0, 0x80, 0x80, 0x80, 0x80, 0x80, 0],
            HeaderError::Malformed(Malformed::Varint { field: "tagged fields" }),
        );
    }

    #[test]
    fn a_written_header_reads_back() {
        for (key, version) in [(7, 0), (7, 1), (3, 12), (18, 0), (18, 4), (0, 3)] {
            let api = apis::api(key).unwrap();
            let mut buf = Vec::new();
            put_request_header(&mut buf, api, version, -5, "me");
            assert_eq!(buf.len(), request_header_len(api.request_header_version(version), "me"));
            let (header, body) = RequestHeader::parse(&buf.into()).unwrap();
            let client_id = if key == 7 && version == 0 { "" } else { "me" };
            assert_eq!(
                (header.api, header.api_version, header.correlation_id),
                (api, version, -5)
            );
            assert_eq!((&*header.client_id, body.len()), (client_id, 0));

            let header_version = api.response_header_version(version);
            let mut buf = Vec::new();
            put_response_header(&mut buf, header_version, -5);
            assert_eq!(buf.len(), response_header_len(header_version));
            assert_eq!(
                parse_response_header(&buf.into(), header_version),
                Ok((-5, Bytes::new()))
            );
        }
    }
}
