//! `/config/changes/config_change_<ten digits>` — "read this entity's configuration again".
//!
//! Persistent sequential; written after each change (but not at a topic's creation) by whoever made it, read by every
//! broker, deleted by any broker once 15 minutes old.

use serde_json::json;

use super::Entity;
use crate::decode::{DecodeError, Object};

/// Parent of the notifications.
pub const PATH: &str = "/config/changes";
/// Prefix of a notification's path; the server appends ten digits.
pub const PREFIX: &str = "/config/changes/config_change_";
/// How a notification's name starts.
pub const NAME_PREFIX: &str = "config_change_";

/// As Kafka 3.9 writes it (version 2).
pub fn encode(entity: &Entity) -> Vec<u8> {
    json!({"version": 2, "entity_path": entity.relative_path()})
        .to_string()
        .into_bytes()
}

/// Reads versions 1 and 2.
///
/// # Errors
/// Another version, or no entity that is known here.
pub fn decode(data: &[u8]) -> Result<Entity, DecodeError> {
    let object = Object::parse(PATH, data)?;
    let path = match object.number::<i32>("version")? {
        // Only topics and clients could change then.
        1 => match object.string("entity_type")?.as_str() {
            kind @ ("topics" | "clients") => format!("{kind}/{}", object.string("entity_name")?),
            other => return Err(object.error(format!("version 1 cannot name '{other}'"))),
        },
        2 => object.string("entity_path")?,
        other => return Err(object.error(format!("unknown version {other}"))),
    };
    Entity::from_relative_path(&path).ok_or_else(|| object.error(format!("unknown entity '{path}'")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn older_versions_are_read() {
        let v1 = br#"{"version":1,"entity_type":"topics","entity_name":"t"}"#;
        assert_eq!(decode(v1), Ok(Entity::Topic("t".into())));
        for bad in [
            r#"{"version":1,"entity_type":"users","entity_name":"t"}"#,
            r#"{"version":3,"entity_path":"topics/t"}"#,
            r#"{"version":2,"entity_path":"nothing"}"#,
            r#"{"version":2}"#,
        ] {
            assert!(decode(bad.as_bytes()).is_err(), "{bad}");
        }
    }
}
