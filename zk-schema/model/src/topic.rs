//! Topics: names, ids, partitions.

use core::fmt;
use core::str::FromStr;
use std::sync::Arc;

/// A topic's id: a UUID, shown as URL-safe base64 without padding (22 characters) as Kafka's `Uuid.toString`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct TopicId(pub [u8; 16]);

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

impl TopicId {
    /// All zeros: "no id" on the wire.
    pub const ZERO: Self = Self([0; 16]);

    /// Whether this is [`TopicId::ZERO`].
    pub fn is_zero(&self) -> bool {
        *self == Self::ZERO
    }
}

impl fmt::Display for TopicId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bits = u128::from_be_bytes(self.0);
        let mut text = [0u8; 22];
        for (i, character) in text.iter_mut().enumerate().take(21) {
            *character = ALPHABET[(bits >> (122 - 6 * i)) as usize & 63];
        }
        text[21] = ALPHABET[(bits << 4) as usize & 63];
        f.pad(core::str::from_utf8(&text).map_err(|_| fmt::Error)?)
    }
}

impl fmt::Debug for TopicId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The text is not 22 characters of URL-safe base64.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ParseTopicIdError;

impl fmt::Display for ParseTopicIdError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a topic id is 22 characters of URL-safe base64")
    }
}

impl std::error::Error for ParseTopicIdError {}

impl FromStr for TopicId {
    type Err = ParseTopicIdError;

    fn from_str(text: &str) -> Result<Self, ParseTopicIdError> {
        let text = text.trim_end_matches('=').as_bytes();
        if text.len() != 22 {
            return Err(ParseTopicIdError);
        }
        let mut bits = 0u128;
        for (i, character) in text.iter().enumerate() {
            let six = ALPHABET.iter().position(|a| a == character).ok_or(ParseTopicIdError)? as u128;
            bits = if i == 21 { bits << 2 | six >> 4 } else { bits << 6 | six };
        }
        Ok(Self(bits.to_be_bytes()))
    }
}

/// One partition of one topic. Cheap to clone; prints as `topic-0`, as in log lines and directory names.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopicPartition {
    /// The topic's name.
    pub topic: Arc<str>,
    /// The partition's index, from 0.
    pub partition: i32,
}

impl TopicPartition {
    /// The partition `partition` of `topic`.
    pub fn new(topic: impl Into<Arc<str>>, partition: i32) -> Self {
        Self {
            topic: topic.into(),
            partition,
        }
    }
}

impl fmt::Display for TopicPartition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.topic, self.partition)
    }
}

impl fmt::Debug for TopicPartition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Why a topic name is refused (INVALID_TOPIC_EXCEPTION); its text is the one that Kafka answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidTopicName(String);

impl fmt::Display for InvalidTopicName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for InvalidTopicName {}

/// The longest topic name: directory names add a partition and a suffix. Source: Kafka `Topic.MAX_NAME_LENGTH`.
const MAX_NAME_LENGTH: usize = 249;

/// Checks a topic name: 1 to 249 of `[a-zA-Z0-9._-]`, and neither `.` nor `..`.
///
/// # Errors
/// The reason in Kafka's words. Source: Kafka 3.9 `Topic.validate`.
pub fn validate_topic_name(name: &str) -> Result<(), InvalidTopicName> {
    let refuse = |reason: String| Err(InvalidTopicName(format!("Topic name is invalid: {reason}")));
    if name.is_empty() {
        return refuse("the empty string is not allowed".into());
    }
    if name == "." || name == ".." {
        return refuse(format!("'{name}' is not allowed"));
    }
    if name.len() > MAX_NAME_LENGTH {
        return refuse(format!(
            "the length of '{name}' is longer than the max allowed length {MAX_NAME_LENGTH}"
        ));
    }
    if !name
        .bytes()
        .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'))
    {
        return refuse(format!(
            "'{name}' contains one or more characters other than ASCII alphanumerics, '.', '_' and '-'"
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_topic_id_reads_as_kafka_writes_it() {
        let id: TopicId = "YZ3qIQ53SGabhNKf04TPNQ".parse().unwrap();
        assert_eq!(id.to_string(), "YZ3qIQ53SGabhNKf04TPNQ");
        assert_eq!(id.0[0], 0x61);
        assert_eq!(id.0[15], 0x35);
        assert_eq!(TopicId::ZERO.to_string(), "AAAAAAAAAAAAAAAAAAAAAA");
        assert_eq!("short".parse::<TopicId>(), Err(ParseTopicIdError));
        assert_eq!("YZ3qIQ53SGabhNKf04TPN+".parse::<TopicId>(), Err(ParseTopicIdError));
    }

    #[test]
    fn topic_names_are_checked_as_kafka_does() {
        let check = |name: &str, valid: bool| assert_eq!(validate_topic_name(name).is_ok(), valid, "{name}");
        check("orders", true);
        check("a.b_c-D9", true);
        check("", false);
        check(".", false);
        check("..", false);
        check("...", true);
        check("with space", false);
        check("schräg", false);
        check(&"x".repeat(249), true);
        check(&"x".repeat(250), false);
    }
}
