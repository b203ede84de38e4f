//! `/latest_producer_id_block` — the last block of producer ids handed out.
//!
//! Persistent, at first without content. Written with an expected version: by the controller for AllocateProducerIds,
//! or by each broker itself under inter.broker.protocol.version below 3.0. Bounds are JSON strings, inclusive.

use model::{BrokerId, ProducerId};
use serde_json::json;

use crate::decode::{DecodeError, Object};

/// Where it is.
pub const PATH: &str = "/latest_producer_id_block";

/// Ids per block. Source: Kafka `ProducerIdsBlock.PRODUCER_ID_BLOCK_SIZE`.
pub const BLOCK_SIZE: i64 = 1000;

/// A block of producer ids.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProducerIdBlock {
    /// Who got it.
    pub broker_id: BrokerId,
    /// The first id.
    pub first: ProducerId,
    /// The last id (inclusive).
    pub last: ProducerId,
}

impl ProducerIdBlock {
    /// The block after `latest`, for `broker_id`; `None` when the ids are used up.
    pub fn after(latest: Option<&Self>, broker_id: BrokerId) -> Option<Self> {
        let first = match latest {
            None => 0,
            Some(latest) => latest.last.0.checked_add(1)?,
        };
        Some(Self {
            broker_id,
            first: ProducerId(first),
            last: ProducerId(first.checked_add(BLOCK_SIZE - 1)?),
        })
    }

    /// As Kafka writes it.
    pub fn encode(&self) -> Vec<u8> {
        json!({
            "version": 1,
            "broker": self.broker_id.0,
            "block_start": self.first.to_string(),
            "block_end": self.last.to_string(),
        })
        .to_string()
        .into_bytes()
    }

    /// Reads the block; `None` where none has been handed out.
    ///
    /// # Errors
    /// Not a JSON object with the three numbers, or they are no range.
    pub fn decode(data: &[u8]) -> Result<Option<Self>, DecodeError> {
        if data.is_empty() {
            return Ok(None);
        }
        let object = Object::parse(PATH, data)?;
        let block = Self {
            broker_id: BrokerId(object.number("broker")?),
            first: ProducerId(object.number("block_start")?),
            last: ProducerId(object.number("block_end")?),
        };
        match 0 <= block.first.0 && block.first <= block.last {
            true => Ok(Some(block)),
            false => Err(object.error("the bounds are no range")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_follow_each_other() {
        let first = ProducerIdBlock::after(None, BrokerId(1)).unwrap();
        assert_eq!((first.first, first.last), (ProducerId(0), ProducerId(999)));
        let second = ProducerIdBlock::after(Some(&first), BrokerId(2)).unwrap();
        assert_eq!((second.first, second.last), (ProducerId(1000), ProducerId(1999)));
        let end = ProducerIdBlock {
            last: ProducerId(i64::MAX - 5),
            ..second
        };
        assert_eq!(ProducerIdBlock::after(Some(&end), BrokerId(2)), None);
        assert_eq!(ProducerIdBlock::decode(b""), Ok(None));
        assert!(ProducerIdBlock::decode(br#"{"version":1,"broker":1,"block_start":"9","block_end":"8"}"#).is_err());
    }
}
