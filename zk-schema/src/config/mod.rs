//! Below `/config`: dynamic configuration of topics, brokers, clients, users and IPs, and news of its changes.
//!
//! `/config/<type>/<name>` is persistent, written by whichever broker is asked, in a multi with a check of
//! `/controller`. `/config/topics/<t>` exists for every topic; the others only once something is set.

pub mod changes;

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use crate::decode::{DecodeError, Object};
use crate::java_order::sort_as_properties;
use crate::sanitizer::sanitize;

/// Name of the entity that stands for all without one of their own.
pub const DEFAULT_ENTITY: &str = "<default>";

/// Who a configuration is for. Source: Kafka 3.9 `ConfigType`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Entity {
    /// A topic.
    Topic(String),
    /// One broker, or all (`None`).
    Broker(Option<i32>),
    /// A client id, or all others (`None`).
    Client(Option<String>),
    /// A user (not its znode's name), or all others (`None`).
    User(Option<String>),
    /// A user's client id: both may be all others.
    UserClient(Option<String>, Option<String>),
    /// An address, or all others (`None`).
    Ip(Option<String>),
}

/// The persistent parents below `/config`, in the order in which a broker creates them.
/// Source: Kafka 3.9 `ConfigType.ALL`.
pub const TYPE_PATHS: [&str; 5] = [
    "/config/topics",
    "/config/clients",
    "/config/users",
    "/config/brokers",
    "/config/ips",
];

impl Entity {
    /// `topics/t`, `users/alice/clients/<default>`, …: its path below `/config`, also in change notifications.
    pub fn relative_path(&self) -> String {
        let name = |name: &Option<String>| name.as_deref().map_or(DEFAULT_ENTITY.to_owned(), sanitize);
        match self {
            Self::Topic(topic) => format!("topics/{topic}"),
            Self::Broker(id) => format!("brokers/{}", id.map_or(DEFAULT_ENTITY.to_owned(), |id| id.to_string())),
            Self::Client(client) => format!("clients/{}", name(client)),
            Self::User(user) => format!("users/{}", name(user)),
            Self::UserClient(user, client) => format!("users/{}/clients/{}", name(user), name(client)),
            Self::Ip(ip) => format!("ips/{}", ip.as_deref().unwrap_or(DEFAULT_ENTITY)),
        }
    }

    /// The entity of a path below `/config`; `None` if it is of no kind known here.
    pub fn from_relative_path(path: &str) -> Option<Self> {
        let name = |name: &str| match name {
            "" => None,
            DEFAULT_ENTITY => Some(None),
            name => crate::sanitizer::desanitize(name).map(Some),
        };
        let plain = |name: &str| (name != DEFAULT_ENTITY).then(|| name.to_owned());
        let parts: Vec<&str> = path.trim_start_matches('/').split('/').collect();
        match parts[..] {
            ["topics", topic] if !topic.is_empty() => Some(Self::Topic(topic.to_owned())),
            ["brokers", DEFAULT_ENTITY] => Some(Self::Broker(None)),
            ["brokers", id] => Some(Self::Broker(Some(id.parse().ok()?))),
            ["clients", client] => Some(Self::Client(name(client)?)),
            ["users", user] => Some(Self::User(name(user)?)),
            ["users", user, "clients", client] => Some(Self::UserClient(name(user)?, name(client)?)),
            ["ips", ip] if !ip.is_empty() => Some(Self::Ip(plain(ip))),
            _ => None,
        }
    }

    /// Its znode.
    pub fn path(&self) -> String {
        format!("/config/{}", self.relative_path())
    }
}

/// Keys and values as Kafka writes them (version 1), in the order of Java's `Properties`.
pub fn encode(config: &BTreeMap<String, String>) -> Vec<u8> {
    let mut entries: Vec<(&String, &String)> = config.iter().collect();
    sort_as_properties(&mut entries, |(key, _)| key);
    let entries = entries
        .into_iter()
        .map(|(key, value)| (key.clone(), Value::from(value.as_str())));
    let mut json = Map::new();
    json.insert("version".into(), 1.into());
    json.insert("config".into(), Value::Object(entries.collect()));
    Value::Object(json).to_string().into_bytes()
}

/// Reads keys and values; nothing where the znode is empty or has no `config`, as Kafka does.
///
/// # Errors
/// A value is not a string.
pub fn decode(path: &str, data: &[u8]) -> Result<BTreeMap<String, String>, DecodeError> {
    // Kafka takes what is not JSON for no configuration at all; so do we, or a broker would not start.
    let Ok(object) = Object::parse(path, data) else {
        return Ok(BTreeMap::new());
    };
    let Some(Value::Object(config)) = object.get("config") else {
        return Ok(BTreeMap::new());
    };
    config
        .iter()
        .map(|(key, value)| match value {
            Value::String(value) => Ok((key.clone(), value.clone())),
            _ => Err(object.error(format!("value of '{key}' is not a string"))),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entity_is_its_path() {
        let some = |name: &str| Some(name.to_owned());
        let check = |entity: Entity, path: &str| {
            assert_eq!(entity.relative_path(), path);
            assert_eq!(Entity::from_relative_path(path), Some(entity));
        };
        check(Entity::Topic("t".into()), "topics/t");
        check(Entity::Broker(Some(3)), "brokers/3");
        check(Entity::Broker(None), "brokers/<default>");
        check(Entity::User(some("CN=bob smith")), "users/CN%3Dbob%20smith");
        check(Entity::User(None), "users/<default>");
        check(Entity::Client(some("app-1")), "clients/app-1");
        check(Entity::UserClient(some("a"), None), "users/a/clients/<default>");
        check(
            Entity::UserClient(None, some("app 2/é")),
            "users/<default>/clients/app%202%2F%C3%A9",
        );
        check(Entity::Ip(some("127.0.0.9")), "ips/127.0.0.9");
        check(Entity::Ip(None), "ips/<default>");
        for bad in [
            "",
            "topics/",
            "topics",
            "brokers/x",
            "other/x",
            "users/a/b",
            "users//clients/x",
            "users/%",
        ] {
            assert_eq!(Entity::from_relative_path(bad), None, "{bad}");
        }
    }

    #[test]
    fn what_is_no_configuration_is_an_empty_one() {
        for none in [
            "",
            "x",
            "[]",
            "{}",
            r#"{"version":1}"#,
            r#"{"version":1,"config":null}"#,
        ] {
            assert_eq!(
                decode("/config/topics/t", none.as_bytes()),
                Ok(BTreeMap::new()),
                "{none}"
            );
        }
        assert!(decode("/config/topics/t", br#"{"config":{"a":1}}"#).is_err());
    }
}
