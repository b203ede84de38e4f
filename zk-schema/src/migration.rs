//! `/migration` — how far a KRaft quorum has taken the cluster over.
//!
//! Persistent; written by KRaft controllers only. Where it exists, ZooKeeper brokers must not become controller
//! once `/controller` names a KRaft one; read here so that it can be shown and respected.

use serde_json::json;

use crate::decode::{DecodeError, Object};

/// Where it is.
pub const PATH: &str = "/migration";

/// What `/migration` says (version 0).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Migration {
    /// Id of the active KRaft controller.
    pub kraft_controller_id: i32,
    /// Its epoch.
    pub kraft_controller_epoch: i32,
    /// Offset in the metadata log up to which ZooKeeper has been written.
    pub kraft_metadata_offset: i64,
    /// Epoch of that offset.
    pub kraft_metadata_epoch: i32,
}

impl Migration {
    /// As Kafka writes it: five entries of an immutable Scala map, in the order of their hashes.
    pub fn encode(&self) -> Vec<u8> {
        json!({
            "version": 0,
            "kraft_metadata_offset": self.kraft_metadata_offset,
            "kraft_controller_id": self.kraft_controller_id,
            "kraft_metadata_epoch": self.kraft_metadata_epoch,
            "kraft_controller_epoch": self.kraft_controller_epoch,
        })
        .to_string()
        .into_bytes()
    }

    /// Reads version 0.
    ///
    /// # Errors
    /// Another version, or a field is missing.
    pub fn decode(data: &[u8]) -> Result<Self, DecodeError> {
        let object = Object::parse(PATH, data)?;
        match object.number::<i32>("version")? {
            0 => Ok(Self {
                kraft_controller_id: object.number("kraft_controller_id")?,
                kraft_controller_epoch: object.number("kraft_controller_epoch")?,
                kraft_metadata_offset: object.number("kraft_metadata_offset")?,
                kraft_metadata_epoch: object.number("kraft_metadata_epoch")?,
            }),
            other => Err(object.error(format!("unknown version {other}"))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_it_writes() {
        let migration = Migration {
            kraft_controller_id: 3000,
            kraft_controller_epoch: 2,
            kraft_metadata_offset: 1234,
            kraft_metadata_epoch: 1,
        };
        assert_eq!(Migration::decode(&migration.encode()), Ok(migration));
        assert!(Migration::decode(br#"{"version":1}"#).is_err());
    }
}
