//! `/cluster/id` — the cluster's id, 22 characters of URL-safe base64.
//!
//! Persistent; created by the first broker, never changed; `meta.properties` of every log directory must agree.
//! Its version is a JSON string: `"1"`.

use serde_json::json;

use crate::decode::{DecodeError, Object};

/// Where it is.
pub const PATH: &str = "/cluster/id";

/// As Kafka writes it.
pub fn encode(cluster_id: &str) -> Vec<u8> {
    json!({"version": "1", "id": cluster_id}).to_string().into_bytes()
}

/// Reads the id.
///
/// # Errors
/// No JSON object with an `id`.
pub fn decode(data: &[u8]) -> Result<String, DecodeError> {
    Object::parse(PATH, data)?.string("id")
}
