//! The guard before the decoder: walks a message along its shape, without allocating, before the crate decodes it.
//!
//! `kafka-protocol` 0.15.1 allocates whatever a count on the wire says: four bytes of Metadata make it ask for
//! 154 GB and abort the process. So every count, length and tag is checked here first, as strictly as Kafka 3.9's own readers
//! and no stricter, but for what no honest peer sends: more than [`MAX_UNKNOWN_TAGS`] unknown tags in one struct (or
//! more than 2^31, which Kafka takes for none), more than [`MAX_ODD_NULLS`] nulls in an odd spelling, a message that
//! would take a large multiple of its size in memory ([`memory_limit`]), or text that is not UTF-8, which is left to the
//! decoder to refuse (Kafka reads it with replacement characters).
//!
//! Kafka takes any negative length for null, the crate only −1 (0 where lengths are compact). Such lengths are
//! rewritten in a copy of the message ([`Passed::canonical`]).
//!
//! Does not judge values: a name may be nonsense, records may be garbage. Those are the handlers' to refuse.

pub mod shapes;
mod walk;

pub use walk::Passed;
pub(crate) use walk::Walk;

use crate::apis;

/// The most unknown tagged fields in one struct.
pub const MAX_UNKNOWN_TAGS: u32 = 64;

/// The most nulls that are not spelt −1 (or 0) in one message.
pub const MAX_ODD_NULLS: usize = 1024;

/// The most memory that a message of `len` bytes may take when decoded.
///
/// Honest messages need 2 to 5 times their size; a list of empty names needs 40 times.
pub const fn memory_limit(len: usize) -> usize {
    let proportional = len.saturating_mul(8);
    if proportional > 16 << 20 {
        proportional
    } else {
        16 << 20
    }
}

/// Why a message must not be decoded. The connection is to be closed with this as the logged reason.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// The API has no such version, or there is no such API.
    #[error("unsupported version {version} of api key {api_key}")]
    UnsupportedVersion {
        /// The key asked for.
        api_key: i16,
        /// The version asked for.
        version: i16,
    },
    /// The message ends before the field does.
    #[error("{field} needs {wanted} bytes, {left} are left")]
    Truncated {
        /// The field that is cut.
        field: &'static str,
        /// Bytes that it needs.
        wanted: usize,
        /// Bytes that are left.
        left: usize,
    },
    /// More elements than bytes left.
    #[error("{field} has {count} elements, {left} bytes are left")]
    Count {
        /// The array.
        field: &'static str,
        /// Its count on the wire.
        count: usize,
        /// Bytes that are left.
        left: usize,
    },
    /// Null where this version forbids it.
    #[error("{field} is null")]
    Null {
        /// The field.
        field: &'static str,
    },
    /// A variable-length integer of more than five bytes.
    #[error("variable-length integer of {field} is too long")]
    Varint {
        /// The field.
        field: &'static str,
    },
    /// A string of more than 32,767 bytes.
    #[error("string {field} has {len} bytes")]
    StringTooLong {
        /// The field.
        field: &'static str,
        /// Its length.
        len: usize,
    },
    /// A known tag in a version that does not have it.
    #[error("tag {tag} is not valid in version {version}")]
    TagVersion {
        /// The tag.
        tag: u32,
        /// The version of the message.
        version: i16,
    },
    /// More than [`MAX_UNKNOWN_TAGS`] unknown tagged fields in one struct.
    #[error("more than {MAX_UNKNOWN_TAGS} unknown tagged fields")]
    TooManyTags,
    /// More than [`MAX_ODD_NULLS`] nulls in an odd spelling.
    #[error("more than {MAX_ODD_NULLS} nulls spelt with other lengths than -1")]
    TooManyOddNulls,
    /// Decoded, the message would take more than [`memory_limit`].
    #[error("{len} bytes would take more than {limit} bytes of memory")]
    Memory {
        /// Bytes of the message.
        len: usize,
        /// What it may take.
        limit: usize,
    },
    /// The guard let it pass, the decoder did not: text that is not UTF-8.
    #[error("{0}")]
    Undecodable(String),
}

/// Walks the body of a request.
pub fn request(api_key: i16, version: i16, body: &[u8]) -> Result<Passed, Malformed> {
    pass(shapes::request(api_key), api_key, version, body)
}

/// Walks the body of a response.
pub fn response(api_key: i16, version: i16, body: &[u8]) -> Result<Passed, Malformed> {
    pass(shapes::response(api_key), api_key, version, body)
}

/// Where a field of a response stands that is no tagged one: after so many bytes of the body. `None`: this version does
/// not have it, or the body is not such a response.
pub fn position_in_response(api_key: i16, version: i16, body: &[u8], field: &str) -> Option<usize> {
    let api = apis::api(api_key).filter(|api| api.supports(version))?;
    let shape = shapes::response(api_key)?;
    Walk::new(body).position_of(shape, version, api.is_flexible(version), field)
}

fn pass(shape: Option<&'static shapes::Shape>, api_key: i16, version: i16, body: &[u8]) -> Result<Passed, Malformed> {
    match (apis::api(api_key), shape) {
        (Some(api), Some(shape)) if api.supports(version) => {
            Walk::new(body).message(shape, version, api.is_flexible(version))
        }
        _ => Err(Malformed::UnsupportedVersion { api_key, version }),
    }
}
