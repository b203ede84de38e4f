//! Entities of quotas, as requests name them.
//!
//! A user, a client id, both, or an address; `None` as the name stands for all that have no quota of their own.
//!
//! Source: Kafka 3.9 `ClientQuotaEntity`, `ZkAdminManager.parseAndSanitizeQuotaEntity`, `DynamicConfig`.

use broker_wire::ErrorCode;
use zk_schema::config::Entity;

use crate::config::Value;
use crate::quota::{
    CONNECTION_CREATION_RATE, CONSUMER_BYTE_RATE, CONTROLLER_MUTATION_RATE, PRODUCER_BYTE_RATE, REQUEST_PERCENTAGE,
};
use crate::zookeeper::AdminError;

/// `ClientQuotaEntity.USER`.
pub(super) const USER: &str = "user";
/// `ClientQuotaEntity.CLIENT_ID`.
pub(super) const CLIENT_ID: &str = "client-id";
/// `ClientQuotaEntity.IP`.
pub(super) const IP: &str = "ip";

/// The entity of these types and names.
///
/// # Errors
/// There is none, in Kafka's words.
pub(super) fn entity<'a>(parts: impl Iterator<Item = (&'a str, Option<&'a str>)>) -> Result<Entity, AdminError> {
    let (mut user, mut client, mut ip) = (None, None, None);
    let mut any = false;
    for (kind, name) in parts {
        any = true;
        let name_of = match kind {
            USER => &mut user,
            CLIENT_ID => &mut client,
            IP => &mut ip,
            _ => return Err(invalid(format!("Unhandled client quota entity type: {kind}"))),
        };
        *name_of = Some(name.map(str::to_owned));
        if name == Some("") {
            return Err(invalid(format!("Empty {kind} not supported")));
        }
    }
    match (user, client, ip) {
        _ if !any => Err(invalid("Invalid empty client quota entity")),
        (Some(user), Some(client), None) => Ok(Entity::UserClient(user, client)),
        (Some(user), None, None) => Ok(Entity::User(user)),
        (None, Some(client), None) => Ok(Entity::Client(client)),
        (None, None, Some(ip)) => Ok(Entity::Ip(ip)),
        (_, _, Some(_)) => Err(invalid(
            "Invalid quota entity combination, IP entity should not be used with user/client ID entity.",
        )),
        (None, None, None) => Err(invalid("Invalid client quota entity")),
    }
}

/// The types and names of an entity; none for what has no quotas.
pub(super) fn parts(entity: &Entity) -> Vec<(&'static str, Option<&str>)> {
    match entity {
        Entity::User(user) => vec![(USER, user.as_deref())],
        Entity::Client(client) => vec![(CLIENT_ID, client.as_deref())],
        Entity::UserClient(user, client) => vec![(USER, user.as_deref()), (CLIENT_ID, client.as_deref())],
        Entity::Ip(ip) => vec![(IP, ip.as_deref())],
        Entity::Topic(_) | Entity::Broker(_) => Vec::new(),
    }
}

/// What kind of number a quota is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Number {
    Long,
    Int,
    Double,
}

/// Whether the key is a quota that such an entity may have.
pub(super) fn is_quota(entity: &Entity, key: &str) -> bool {
    number(entity, key).is_some()
}

fn number(entity: &Entity, key: &str) -> Option<Number> {
    match (entity, key) {
        (Entity::Topic(_) | Entity::Broker(_), _) => None,
        (Entity::Ip(_), CONNECTION_CREATION_RATE) => Some(Number::Int),
        (Entity::Ip(_), _) => None,
        (_, PRODUCER_BYTE_RATE | CONSUMER_BYTE_RATE) => Some(Number::Long),
        (_, REQUEST_PERCENTAGE | CONTROLLER_MUTATION_RATE) => Some(Number::Double),
        _ => None,
    }
}

/// A quota as it stands in ZooKeeper.
///
/// # Errors
/// The entity has no such quota, or it must be a whole number, in Kafka's words.
pub(super) fn value(entity: &Entity, key: &str, value: f64) -> Result<String, AdminError> {
    const EPSILON: f64 = 1e-6;
    let whole = |whole: i64, kind: &str| match (whole as f64 - value).abs() > EPSILON {
        true => Err(invalid(format!("Configuration {key} must be a {kind} value"))),
        false => Ok(whole.to_string()),
    };
    match number(entity, key) {
        None => Err(invalid(format!("Invalid configuration key {key}"))),
        Some(Number::Double) => Ok(Value::Double(value).to_string()),
        Some(Number::Long) => whole((value + EPSILON) as i64, "LONG"),
        Some(Number::Int) => whole(i64::from((value + EPSILON) as i32), "INT"),
    }
}

/// The client may not do this to the cluster.
pub(super) fn denied() -> AdminError {
    AdminError::refused(ErrorCode::ClusterAuthorizationFailed, "Cluster authorization failed.")
}

pub(super) fn invalid(message: impl Into<String>) -> AdminError {
    AdminError::refused(ErrorCode::InvalidRequest, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn some(name: &str) -> Option<String> {
        Some(name.to_owned())
    }

    #[test]
    fn an_entity_is_a_user_a_client_both_or_an_address() {
        let check = |named: &[(&str, Option<&str>)], expected: Result<Entity, &str>| {
            let found = entity(named.iter().copied()).map_err(|error| error.to_string());
            assert_eq!(found, expected.map_err(str::to_owned), "{named:?}");
            if let Ok(entity) = found {
                assert_eq!(parts(&entity), named);
            }
        };
        let combined = "Invalid quota entity combination, IP entity should not be used with user/client ID entity.";
        check(&[(USER, Some("a"))], Ok(Entity::User(some("a"))));
        check(&[(USER, None)], Ok(Entity::User(None)));
        check(&[(CLIENT_ID, Some("c"))], Ok(Entity::Client(some("c"))));
        check(
            &[(USER, Some("a")), (CLIENT_ID, None)],
            Ok(Entity::UserClient(some("a"), None)),
        );
        check(&[(IP, Some("1.2.3.4"))], Ok(Entity::Ip(some("1.2.3.4"))));
        check(&[], Err("Invalid empty client quota entity"));
        check(&[(USER, Some(""))], Err("Empty user not supported"));
        check(&[("group", None)], Err("Unhandled client quota entity type: group"));
        check(&[(USER, None), (IP, None)], Err(combined));
        check(&[(IP, None), (CLIENT_ID, Some("c"))], Err(combined));
    }

    #[test]
    fn quotas_are_written_as_java_writes_them() {
        let user = Entity::User(None);
        let check = |entity: &Entity, key: &str, number: f64, expected: Result<&str, &str>| {
            let found = value(entity, key, number).map_err(|error| error.to_string());
            let expected = expected.map(str::to_owned).map_err(str::to_owned);
            assert_eq!(found, expected, "{key}={number}");
        };
        check(&user, PRODUCER_BYTE_RATE, 1_048_576.0, Ok("1048576"));
        check(&user, PRODUCER_BYTE_RATE, 0.999_999_9, Ok("1"));
        check(
            &user,
            CONSUMER_BYTE_RATE,
            4096.5,
            Err("Configuration consumer_byte_rate must be a LONG value"),
        );
        check(&user, REQUEST_PERCENTAGE, 200.0, Ok("200.0"));
        check(&user, CONTROLLER_MUTATION_RATE, 5.0, Ok("5.0"));
        check(
            &user,
            CONNECTION_CREATION_RATE,
            5.0,
            Err("Invalid configuration key connection_creation_rate"),
        );
        check(&Entity::Ip(None), CONNECTION_CREATION_RATE, 10.0, Ok("10"));
        check(
            &Entity::Ip(None),
            CONNECTION_CREATION_RATE,
            1e12,
            Err("Configuration connection_creation_rate must be a INT value"),
        );
        check(
            &Entity::Ip(None),
            PRODUCER_BYTE_RATE,
            1.0,
            Err("Invalid configuration key producer_byte_rate"),
        );
        check(
            &user,
            "SCRAM-SHA-256",
            1.0,
            Err("Invalid configuration key SCRAM-SHA-256"),
        );
    }
}
