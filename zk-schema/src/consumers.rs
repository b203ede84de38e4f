//! `/consumers/<group>/offsets/<topic>/<partition>` — offsets of consumers older than 0.9.
//!
//! Persistent; ASCII decimal. Written by OffsetCommit version 0 and by the old consumers themselves.

use model::Offset;

use crate::decode::{DecodeError, decimal};

/// The parent of all groups.
pub const PATH: &str = "/consumers";

/// Where a group's offset of a partition is.
pub fn offset_path(group: &str, topic: &str, partition: i32) -> String {
    format!("{PATH}/{group}/offsets/{topic}/{partition}")
}

/// Where a group's topics with offsets are.
pub fn offsets_path(group: &str) -> String {
    format!("{PATH}/{group}/offsets")
}

/// Whether a group's name can be part of a path.
pub fn is_valid_group(group: &str) -> bool {
    !matches!(group, "" | "." | "..") && !group.contains('/') && !group.chars().any(char::is_control)
}

/// As Kafka writes it.
pub fn encode_offset(offset: Offset) -> Vec<u8> {
    offset.to_string().into_bytes()
}

/// Reads an offset.
///
/// # Errors
/// Not a 64-bit decimal number.
pub fn decode_offset(data: &[u8]) -> Result<Offset, DecodeError> {
    decimal(PATH, data).map(Offset)
}
