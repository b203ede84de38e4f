//! `/feature` — the finalized features of the cluster (KIP-584).
//!
//! Persistent; written by the controller at its election: version 2 and status 1 from
//! inter.broker.protocol.version 3.3 on, version 1 from 2.7 on, status 0 below.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use crate::decode::{DecodeError, Object, number};

/// Where it is.
pub const PATH: &str = "/feature";

/// What `/feature` says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Features {
    /// 1 with minimum levels, 2 without.
    pub version: i32,
    /// Whether the levels count.
    pub enabled: bool,
    /// Finalized level by feature.
    pub finalized: BTreeMap<String, i16>,
}

impl Features {
    /// What a controller at inter.broker.protocol.version 3.9 writes into an empty cluster.
    pub fn enabled() -> Self {
        Self {
            version: 2,
            enabled: true,
            finalized: BTreeMap::new(),
        }
    }

    /// As Kafka 3.9 writes it.
    pub fn encode(&self) -> Vec<u8> {
        let features: Map<String, Value> = self
            .finalized
            .iter()
            .map(|(name, level)| {
                let levels = match self.version {
                    1 => json!({"max_version_level": level, "min_version_level": level}),
                    _ => json!({"max_version_level": level}),
                };
                (name.clone(), levels)
            })
            .collect();
        json!({"features": features, "version": self.version, "status": i32::from(self.enabled)})
            .to_string()
            .into_bytes()
    }

    /// Reads versions 1 and 2.
    ///
    /// # Errors
    /// Another version or status, or a feature without `max_version_level` of at least 1.
    pub fn decode(data: &[u8]) -> Result<Self, DecodeError> {
        let object = Object::parse(PATH, data)?;
        let version = object.number("version")?;
        if !(1..=2).contains(&version) {
            return Err(object.error(format!("unsupported version {version}")));
        }
        let enabled = match object.number("status")? {
            0 => false,
            1 => true,
            other => return Err(object.error(format!("malformed status {other}"))),
        };
        let features = object
            .object("features")?
            .ok_or_else(|| object.error("no 'features'"))?;
        let finalized = features.iter().map(|(name, levels)| {
            let level = levels
                .get("max_version_level")
                .and_then(number::<i16>)
                .filter(|level| *level >= 1)
                .ok_or_else(|| object.error(format!("bad 'max_version_level' of '{name}'")))?;
            Ok((name.clone(), level))
        });
        Ok(Self {
            version,
            enabled,
            finalized: finalized.collect::<Result<_, DecodeError>>()?,
        })
    }
}
