//! DescribeClientQuotas (key 48, versions 0–1): the quotas that are set for users, client ids and addresses.
//!
//! Read from ZooKeeper, not from what this broker obeys: whoever has just changed a quota sees it.
//!
//! Source: Kafka 3.9 `ZkAdminManager.describeClientQuotas`, `handleDescribeClientQuotas`, `handleDescribeIpQuotas`.

use std::collections::BTreeMap;

use broker_wire::ErrorCode;
use kafka_protocol::messages::describe_client_quotas_request::ComponentData;
use kafka_protocol::messages::describe_client_quotas_response::{EntityData, EntryData, ValueData};
use kafka_protocol::messages::{DescribeClientQuotasRequest, DescribeClientQuotasResponse};
use zk_schema::config::Entity;

use super::quota_entity::{self, CLIENT_ID, IP, USER, denied, invalid};
use super::text::wire;
use super::{Api, RequestContext, api};
use crate::security::Operation;
use crate::zookeeper::{AdminError, configs};

pub(super) const API: Api = api!(DescribeClientQuotas, 0..=1, handle);

/// `DescribeClientQuotasRequest`'s match types.
const EXACT: i8 = 0;
const DEFAULT: i8 = 1;
const SPECIFIED: i8 = 2;

async fn handle(cx: &RequestContext, request: DescribeClientQuotasRequest) -> DescribeClientQuotasResponse {
    match describe(cx, &request).await {
        Ok(entries) => DescribeClientQuotasResponse::default()
            .with_error_message(Some(wire("")))
            .with_entries(Some(entries)),
        Err(error) => {
            let code = error.code();
            // Where the message says no more than the code, Kafka leaves it out here.
            let message = error
                .message()
                .filter(|_| code != ErrorCode::ClusterAuthorizationFailed);
            DescribeClientQuotasResponse::default()
                .with_error_code(code.code())
                .with_error_message(message.map(|message| wire(&message)))
                .with_entries(None)
        }
    }
}

async fn describe(cx: &RequestContext, request: &DescribeClientQuotasRequest) -> Result<Vec<EntryData>, AdminError> {
    if !cx.authorize_cluster(Operation::DescribeConfigs) {
        return Err(denied());
    }
    let filter = Filter::of(&request.components, request.strict)?;
    let mut kinds = Vec::new();
    if filter.ip.is_none() {
        kinds.extend(["users", "clients"]);
    }
    if filter.user.is_none() && filter.client.is_none() {
        kinds.push("ips");
    }
    let found = match filter.exact() {
        Some(entity) => {
            let config = configs::read(&cx.broker.store, &entity).await?;
            vec![(entity, config)]
        }
        None => configs::read_all(&cx.broker.store, &kinds).await?,
    };
    let matching = found.into_iter().filter(|(entity, _)| filter.matches(entity));
    Ok(matching
        .filter_map(|(entity, config)| entry(&entity, &config))
        .collect())
}

/// An entity with its quotas; `None` if it has none, but only credentials, say.
fn entry(entity: &Entity, config: &BTreeMap<String, String>) -> Option<EntryData> {
    let values = config
        .iter()
        .filter(|(key, _)| quota_entity::is_quota(entity, key))
        .filter_map(|(key, text)| match text.trim().parse() {
            Ok(value) => Some(ValueData::default().with_key(wire(key)).with_value(value)),
            Err(_) => {
                tracing::error!(entity = entity.relative_path(), key, text, "a quota is not a number");
                None
            }
        });
    let values: Vec<_> = values.collect();
    let parts = quota_entity::parts(entity).into_iter().map(|(kind, name)| {
        EntityData::default()
            .with_entity_type(wire(kind))
            .with_entity_name(name.map(wire))
    });
    (!values.is_empty()).then(|| EntryData::default().with_entity(parts.collect()).with_values(values))
}

/// Which names of one type are wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Wanted {
    /// This one; `None`: the default.
    Exactly(Option<String>),
    /// Any, the default included.
    Any,
}

/// Which entities are wanted; a type that is not named does not matter, or with `strict` must not be there.
#[derive(Clone, Debug, Default)]
struct Filter {
    user: Option<Wanted>,
    client: Option<Wanted>,
    ip: Option<Wanted>,
    strict: bool,
}

impl Filter {
    fn of(components: &[ComponentData], strict: bool) -> Result<Self, AdminError> {
        let mut filter = Self {
            strict,
            ..Self::default()
        };
        for component in components {
            let (wanted, name) = match component.entity_type.as_str() {
                USER => (&mut filter.user, "user"),
                CLIENT_ID => (&mut filter.client, "client"),
                IP => (&mut filter.ip, "ip"),
                "" => return Err(invalid("Unexpected empty filter component entity type")),
                other => {
                    return Err(AdminError::refused(
                        ErrorCode::UnsupportedVersion,
                        format!("Custom entity type '{other}' not supported"),
                    ));
                }
            };
            if wanted.is_some() {
                return Err(invalid(format!("Duplicate {name} filter component entity type")));
            }
            *wanted = Some(match component.match_type {
                EXACT => Wanted::Exactly(component._match.as_ref().map(ToString::to_string)),
                DEFAULT => Wanted::Exactly(None),
                SPECIFIED => Wanted::Any,
                other => return Err(invalid(format!("Unexpected match type: {other}"))),
            });
        }
        if (filter.user.is_some() || filter.client.is_some()) && filter.ip.is_some() {
            return Err(invalid(
                "Invalid entity filter component combination, IP filter component should not be used with user or \
                 clientId filter component.",
            ));
        }
        Ok(filter)
    }

    /// The only entity that can match, if it is known.
    fn exact(&self) -> Option<Entity> {
        match (&self.user, &self.client, &self.ip, self.strict) {
            (Some(Wanted::Exactly(user)), Some(Wanted::Exactly(client)), None, _) => {
                Some(Entity::UserClient(user.clone(), client.clone()))
            }
            (Some(Wanted::Exactly(user)), None, None, true) => Some(Entity::User(user.clone())),
            (None, Some(Wanted::Exactly(client)), None, true) => Some(Entity::Client(client.clone())),
            (None, None, Some(Wanted::Exactly(ip)), _) => Some(Entity::Ip(ip.clone())),
            _ => None,
        }
    }

    fn matches(&self, entity: &Entity) -> bool {
        let part = |wanted: &Option<Wanted>, name: Option<&Option<String>>| match (wanted, name) {
            (None, None) => true,
            (None, Some(_)) => !self.strict,
            (Some(_), None) => false,
            (Some(Wanted::Any), Some(_)) => true,
            (Some(Wanted::Exactly(wanted)), Some(name)) => wanted == name,
        };
        let (user, client, ip) = match entity {
            Entity::User(user) => (Some(user), None, None),
            Entity::Client(client) => (None, Some(client), None),
            Entity::UserClient(user, client) => (Some(user), Some(client), None),
            Entity::Ip(ip) => (None, None, Some(ip)),
            Entity::Topic(_) | Entity::Broker(_) => return false,
        };
        part(&self.user, user) && part(&self.client, client) && part(&self.ip, ip)
    }
}

#[cfg(test)]
mod tests {
    use kafka_protocol::protocol::StrBytes;

    use super::*;

    fn component(kind: &'static str, match_type: i8, name: Option<&'static str>) -> ComponentData {
        ComponentData::default()
            .with_entity_type(StrBytes::from_static_str(kind))
            .with_match_type(match_type)
            ._with_match(name)
    }

    trait WithMatch {
        fn _with_match(self, name: Option<&'static str>) -> Self;
    }

    impl WithMatch for ComponentData {
        fn _with_match(mut self, name: Option<&'static str>) -> Self {
            self._match = name.map(StrBytes::from_static_str);
            self
        }
    }

    fn entities() -> Vec<Entity> {
        let some = |name: &str| Some(name.to_owned());
        vec![
            Entity::User(some("a")),
            Entity::User(None),
            Entity::Client(some("c")),
            Entity::Client(None),
            Entity::UserClient(some("a"), some("c")),
            Entity::UserClient(some("a"), None),
            Entity::UserClient(None, some("c")),
            Entity::Ip(some("1.2.3.4")),
            Entity::Ip(None),
        ]
    }

    #[test]
    fn a_filter_names_types_and_names() {
        let check = |components: &[ComponentData], strict: bool, expected: &[&str]| {
            let filter = Filter::of(components, strict).unwrap();
            let found: Vec<_> = entities()
                .into_iter()
                .filter(|entity| filter.matches(entity))
                .map(|entity| entity.relative_path())
                .collect();
            assert_eq!(found, expected, "{filter:?}");
            if let Some(exact) = filter.exact() {
                assert!(found.iter().all(|path| *path == exact.relative_path()), "{filter:?}");
            }
        };
        let (user_a, any_user) = (component(USER, EXACT, Some("a")), component(USER, SPECIFIED, None));
        let default_client = component(CLIENT_ID, DEFAULT, None);
        check(
            &[],
            false,
            &entities()
                .iter()
                .map(Entity::relative_path)
                .collect::<Vec<_>>()
                .iter()
                .map(String::as_str)
                .collect::<Vec<_>>(),
        );
        check(&[], true, &[]);
        check(
            std::slice::from_ref(&user_a),
            false,
            &["users/a", "users/a/clients/c", "users/a/clients/<default>"],
        );
        check(std::slice::from_ref(&user_a), true, &["users/a"]);
        check(std::slice::from_ref(&any_user), true, &["users/a", "users/<default>"]);
        check(&[user_a, default_client.clone()], true, &["users/a/clients/<default>"]);
        check(&[default_client], true, &["clients/<default>"]);
        check(&[component(IP, EXACT, Some("1.2.3.4"))], true, &["ips/1.2.3.4"]);
        check(
            &[component(IP, SPECIFIED, None)],
            false,
            &["ips/1.2.3.4", "ips/<default>"],
        );
    }

    #[test]
    fn filters_that_make_no_sense_are_refused() {
        let check = |components: &[ComponentData], message: &str| {
            let refused = Filter::of(components, false).unwrap_err();
            assert_eq!(refused.to_string(), message);
        };
        let user = component(USER, SPECIFIED, None);
        check(
            &[user.clone(), user.clone()],
            "Duplicate user filter component entity type",
        );
        check(
            &[component("", 0, None)],
            "Unexpected empty filter component entity type",
        );
        check(
            &[component("group", 0, None)],
            "Custom entity type 'group' not supported",
        );
        check(&[component(USER, 9, None)], "Unexpected match type: 9");
        check(
            &[user, component(IP, SPECIFIED, None)],
            "Invalid entity filter component combination, IP filter component should not be used with user or clientId \
             filter component.",
        );
    }

    #[test]
    fn credentials_are_no_quotas() {
        let user = Entity::User(Some("a".into()));
        let config = |pairs: &[(&str, &str)]| pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        assert_eq!(entry(&user, &config(&[("SCRAM-SHA-256", "salt=…")])), None);
        let found = entry(
            &user,
            &config(&[("SCRAM-SHA-256", "x"), ("producer_byte_rate", "1024")]),
        )
        .unwrap();
        assert_eq!(found.values.len(), 1);
        assert!((found.values[0].value - 1024.0).abs() < f64::EPSILON);
    }
}
