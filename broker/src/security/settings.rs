//! What `server.properties` says of the authorizer.
//!
//! Source: Kafka 3.9 `AclAuthorizer.configure`: its keys are not among the broker's own.

use broker_security::principal::KafkaPrincipal;

use crate::config::{BrokerConfig, ConfigError};

/// The one authorizer that there is: Kafka's own for ZooKeeper.
const ACL_AUTHORIZER: &str = "kafka.security.authorizer.AclAuthorizer";

/// Its keys, which are not among the broker's own.
pub(crate) const AUTHORIZER_KEYS: [&str; 6] = [
    "allow.everyone.if.no.acl.found",
    "authorizer.zookeeper.connection.timeout.ms",
    "authorizer.zookeeper.max.in.flight.requests",
    "authorizer.zookeeper.session.timeout.ms",
    "authorizer.zookeeper.url",
    "super.users",
];

/// How to decide, and where the rules are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuthorizerSettings {
    /// `super.users`.
    pub super_users: Vec<KafkaPrincipal>,
    /// `allow.everyone.if.no.acl.found`.
    pub allow_everyone_if_no_acl_found: bool,
    /// `authorizer.zookeeper.url`: the rules are in another ZooKeeper than everything else.
    pub zookeeper: Option<OtherZooKeeper>,
}

/// A ZooKeeper for the rules alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OtherZooKeeper {
    /// `authorizer.zookeeper.url`.
    pub url: String,
    /// `authorizer.zookeeper.connection.timeout.ms`.
    pub connection_timeout_ms: i32,
    /// `authorizer.zookeeper.session.timeout.ms`.
    pub session_timeout_ms: i32,
    /// `authorizer.zookeeper.max.in.flight.requests`.
    pub max_in_flight_requests: i32,
}

impl AuthorizerSettings {
    /// What is configured; nothing if there is to be no authorizer.
    ///
    /// # Errors
    /// `authorizer.class.name` names another authorizer, or one of the authorizer's keys has no such value.
    pub fn of(config: &BrokerConfig) -> Result<Option<Self>, ConfigError> {
        let refuse = |reason: String| Err(ConfigError::Refused(reason));
        let text = |key: &str| config.originals.get(key).map(|text| text.trim());
        match config.authorizer_class_name.trim() {
            "" => return Ok(None),
            ACL_AUTHORIZER => {}
            class => {
                return refuse(format!(
                    "authorizer.class.name={class} is a Java class and cannot run here; {ACL_AUTHORIZER} can"
                ));
            }
        }
        let mut super_users = Vec::new();
        // As Java splits: nothing behind the last semicolons is no user.
        let users = text("super.users").unwrap_or_default().trim_end_matches(';');
        for user in users.split(';').filter(|_| !users.is_empty()) {
            match user.trim().parse() {
                Ok(user) => super_users.push(user),
                Err(reason) => return refuse(format!("super.users: {reason}")),
            }
        }
        let allow_everyone_if_no_acl_found = match text("allow.everyone.if.no.acl.found") {
            None => false,
            Some(value) if value.eq_ignore_ascii_case("true") => true,
            Some(value) if value.eq_ignore_ascii_case("false") => false,
            Some(value) => {
                return refuse(format!(
                    "allow.everyone.if.no.acl.found={value} is neither true nor false"
                ));
            }
        };
        let number = |key: &str, default: i32| match text(key) {
            None => Ok(default),
            Some(value) => value
                .parse::<i32>()
                .map_err(|_| ConfigError::Refused(format!("{key}={value} is not a number"))),
        };
        let session_timeout_ms = config.zookeeper_session_timeout_ms;
        let zookeeper = match text("authorizer.zookeeper.url") {
            None => None,
            Some(url) => Some(OtherZooKeeper {
                url: url.to_owned(),
                connection_timeout_ms: number(
                    "authorizer.zookeeper.connection.timeout.ms",
                    config.zookeeper_connection_timeout_ms,
                )?,
                session_timeout_ms: number("authorizer.zookeeper.session.timeout.ms", session_timeout_ms)?,
                max_in_flight_requests: number(
                    "authorizer.zookeeper.max.in.flight.requests",
                    config.zookeeper_max_in_flight_requests,
                )?,
            }),
        };
        Ok(Some(Self {
            super_users,
            allow_everyone_if_no_acl_found,
            zookeeper,
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(pairs: &[(&str, &str)]) -> Result<Option<AuthorizerSettings>, String> {
        let own = [("zookeeper.connect", "localhost:2181")];
        let pairs = own
            .iter()
            .chain(pairs)
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
        let config = BrokerConfig::from_pairs(pairs).map_err(|error| error.to_string())?;
        AuthorizerSettings::of(&config).map_err(|error| error.to_string())
    }

    #[test]
    fn the_authorizers_keys_are_read_as_kafka_reads_them() {
        let class = ("authorizer.class.name", ACL_AUTHORIZER);
        assert_eq!(settings(&[]), Ok(None));
        assert_eq!(settings(&[("super.users", "nobody")]), Ok(None));
        let users = |text: &str| {
            let settings = settings(&[class, ("super.users", text)]).ok()??;
            Some(settings.super_users.iter().map(ToString::to_string).collect::<Vec<_>>())
        };
        assert_eq!(users(""), Some(vec![]));
        let both = vec!["User:a".to_owned(), "User:CN=b,O=c".to_owned()];
        assert_eq!(users(" User:a ;User:CN=b,O=c; ".trim_end()), Some(both));
        assert_eq!(users("User:a;;User:b"), None);
        assert_eq!(users("alice"), None);
        let everyone = |text: &str| {
            let settings = settings(&[class, ("allow.everyone.if.no.acl.found", text)]).ok()??;
            Some(settings.allow_everyone_if_no_acl_found)
        };
        assert_eq!(everyone("TRUE"), Some(true));
        assert_eq!(everyone("false"), Some(false));
        assert_eq!(everyone("yes"), None);
        let other = settings(&[class, ("authorizer.zookeeper.url", "zk:1/acls")])
            .unwrap()
            .unwrap();
        assert_eq!(
            other.zookeeper.map(|zookeeper| zookeeper.url),
            Some("zk:1/acls".to_owned())
        );
        for other in ["kafka.security.auth.SimpleAclAuthorizer", "my.Authorizer"] {
            assert!(settings(&[("authorizer.class.name", other)]).is_err());
        }
    }
}
