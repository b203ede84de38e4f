//! `/isr_change_notification` and `/log_dir_event_notification` — news from brokers for the controller.
//!
//! Persistent sequential children, written by brokers, read and deleted by the controller: partitions whose ISR a
//! leader has changed by itself (inter.broker.protocol.version below 2.7), and brokers that have lost a log directory.

use model::{BrokerId, TopicPartition};
use serde_json::json;

use crate::decode::{DecodeError, Object};
use crate::partition_list;

/// Parent of ISR notifications.
pub const ISR_CHANGE_PATH: &str = "/isr_change_notification";
/// Prefix of an ISR notification's path; the server appends ten digits.
pub const ISR_CHANGE_PREFIX: &str = "/isr_change_notification/isr_change_";
/// Parent of log directory notifications.
pub const LOG_DIR_EVENT_PATH: &str = "/log_dir_event_notification";
/// Prefix of a log directory notification's path; the server appends ten digits.
pub const LOG_DIR_EVENT_PREFIX: &str = "/log_dir_event_notification/log_dir_event_";

/// Which partitions' ISR have changed.
pub fn encode_isr_change(partitions: &[TopicPartition]) -> Vec<u8> {
    partition_list::encode(partitions)
}

/// Reads which partitions' ISR have changed.
///
/// # Errors
/// Not a list of partitions.
pub fn decode_isr_change(data: &[u8]) -> Result<Vec<TopicPartition>, DecodeError> {
    partition_list::decode(ISR_CHANGE_PATH, data)
}

/// Which broker has lost a log directory (event 1, the only one).
pub fn encode_log_dir_failure(broker_id: BrokerId) -> Vec<u8> {
    json!({"version": 1, "broker": broker_id.0, "event": 1})
        .to_string()
        .into_bytes()
}

/// Reads which broker has lost a log directory.
///
/// # Errors
/// Not a JSON object with a `broker`.
pub fn decode_log_dir_failure(data: &[u8]) -> Result<BrokerId, DecodeError> {
    Object::parse(LOG_DIR_EVENT_PATH, data)?.number("broker").map(BrokerId)
}
