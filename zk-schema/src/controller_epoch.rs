//! `/controller_epoch` — how many controllers this cluster has had.
//!
//! Persistent; ASCII decimal, no JSON. Created (as `0`) by the first candidate and set by the winner of `/controller`
//! in the same multi. Its *znode version* is checked by every later write of that controller ([`crate::op::Fenced`]).

use model::ControllerEpoch;

use crate::decode::{DecodeError, decimal};

/// Where it is.
pub const PATH: &str = "/controller_epoch";

/// What the first candidate creates. Source: Kafka 3.9 `KafkaController.InitialControllerEpoch`.
pub const INITIAL: ControllerEpoch = ControllerEpoch(0);

/// The epoch as the znode holds it.
pub fn encode(epoch: ControllerEpoch) -> Vec<u8> {
    epoch.to_string().into_bytes()
}

/// Reads the epoch.
///
/// # Errors
/// The content is not a 32-bit decimal number.
pub fn decode(data: &[u8]) -> Result<ControllerEpoch, DecodeError> {
    decimal(PATH, data).map(ControllerEpoch)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_it_writes() {
        assert_eq!(encode(ControllerEpoch(12)), b"12");
        assert_eq!(decode(b"12"), Ok(ControllerEpoch(12)));
        for bad in [&b""[..], b"x", b"1.5", b"99999999999", b"\xff"] {
            assert!(decode(bad).is_err(), "{bad:?}");
        }
    }
}
