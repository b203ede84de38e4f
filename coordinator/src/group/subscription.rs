//! The topics that a consumer's metadata names.
//!
//! The consumer protocol is the clients' own; of it the coordinator reads the part that all versions share (version 0):
//! which topics a member subscribes to, so that offsets of consumed topics are neither expired nor deleted.
//! Source: Kafka 3.9 `ConsumerProtocol.deserializeSubscription`, `ConsumerProtocolSubscription.json`.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::record::{Reader, RecordError};

/// The protocol type of consumers. Source: `ConsumerProtocol.PROTOCOL_TYPE`.
pub(super) const CONSUMER_PROTOCOL_TYPE: &str = "consumer";

/// Adds the topics of `metadata` to `topics`.
pub(super) fn collect_topics(metadata: &[u8], topics: &mut BTreeSet<Arc<str>>) -> Result<(), RecordError> {
    let mut reader = Reader { left: metadata };
    if reader.i16()? < 0 {
        return Err(RecordError::UnknownVersion(-1));
    }
    let count = reader.i32()?;
    for _ in 0..count {
        topics.insert(reader.string()?);
    }
    // The user data, opaque and nullable, must be there too.
    match reader.i32()? {
        -1 => Ok(()),
        length if usize::try_from(length).is_ok_and(|length| length <= reader.left.len()) => Ok(()),
        _ => Err(RecordError::Truncated),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn topics_are_read_from_the_common_prefix_of_all_versions() {
        let check = |name: &str, bytes: &[u8], expected: Option<&[&str]>| {
            let mut topics = BTreeSet::new();
            let read = collect_topics(bytes, &mut topics).is_ok();
            let topics: Vec<&str> = topics.iter().map(|topic| &**topic).collect();
            assert_eq!(read.then_some(&topics[..]), expected, "{name}");
        };
        check(
            "two topics, no user data",
            b"\0\0\0\0\0\x02\0\x01b\0\x01a\xff\xff\xff\xff",
            Some(&["a", "b"]),
        );
        check(
            "version 3 with more fields behind",
            b"\0\x03\0\0\0\x01\0\x01a\0\0\0\0tail",
            Some(&["a"]),
        );
        check("no topics", b"\0\0\0\0\0\0\xff\xff\xff\xff", Some(&[]));
        check("empty", b"", None);
        check("a count without topics", b"\0\0\x7f\xff\xff\xff", None);
        check("a negative version", b"\xff\xff\0\0\0\0\xff\xff\xff\xff", None);
        check("user data cut", b"\0\0\0\0\0\0\0\0\0\x05ab", None);
    }
}
