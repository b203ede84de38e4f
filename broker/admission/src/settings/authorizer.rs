//! What keys say of the authorizer.
//!
//! Source: Kafka 3.9 `AclAuthorizer.configure`: its keys are not among the broker's own.

use std::time::Duration;

use broker_security::principal::KafkaPrincipal;
use zk_schema_store::StoreConfig;

use super::Refused;

/// The one authorizer that there is: Kafka's own for ZooKeeper.
const ACL_AUTHORIZER: &str = "kafka.security.authorizer.AclAuthorizer";

/// Its keys, which are not among the broker's own.
pub const AUTHORIZER_KEYS: [&str; 6] = [
    "allow.everyone.if.no.acl.found",
    "authorizer.zookeeper.connection.timeout.ms",
    "authorizer.zookeeper.max.in.flight.requests",
    "authorizer.zookeeper.session.timeout.ms",
    "authorizer.zookeeper.url",
    "super.users",
];

/// Stands before `zookeeper.ssl.…` where the rules are in a ZooKeeper of their own. Source: `AclAuthorizer.configPrefix`.
pub const AUTHORIZER_PREFIX: &str = "authorizer.";

/// Whether the authorizer reads this key.
pub fn is_authorizer_key(key: &str) -> bool {
    let of_tls = key.strip_prefix(AUTHORIZER_PREFIX);
    AUTHORIZER_KEYS.contains(&key)
        || of_tls.is_some_and(|key| key.starts_with("zookeeper.ssl.") || key == "zookeeper.clientCnxnSocket")
}

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

/// What counts for [`OtherZooKeeper`] where nothing else is said: the program's own keys.
#[derive(Clone, Copy, Debug)]
pub struct ZooKeeperDefaults {
    /// `zookeeper.connection.timeout.ms`.
    pub connection_timeout_ms: i32,
    /// `zookeeper.session.timeout.ms`.
    pub session_timeout_ms: i32,
    /// `zookeeper.max.in.flight.requests`.
    pub max_in_flight_requests: i32,
}

impl AuthorizerSettings {
    /// What is configured, with `authorizer.class.name`; nothing if there is to be no authorizer.
    ///
    /// # Errors
    /// `authorizer.class.name` names another authorizer, or one of the authorizer's keys has no such value.
    pub fn read(
        class: &str,
        given: impl Fn(&str) -> Option<String>,
        zookeeper: ZooKeeperDefaults,
    ) -> Result<Option<Self>, Refused> {
        let refuse = |reason: String| Err(Refused(reason));
        let text = |key: &str| given(key).map(|text| text.trim().to_owned());
        match class.trim() {
            "" => return Ok(None),
            ACL_AUTHORIZER => {}
            class => {
                return refuse(format!(
                    "authorizer.class.name={class} is a Java class and cannot run here; {ACL_AUTHORIZER} can"
                ));
            }
        }
        let super_users = Self::super_users(&text("super.users").unwrap_or_default())?;
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
                .map_err(|_| Refused(format!("{key}={value} is not a number"))),
        };
        let zookeeper = match text("authorizer.zookeeper.url") {
            None => None,
            Some(url) => Some(OtherZooKeeper {
                url,
                connection_timeout_ms: number(
                    "authorizer.zookeeper.connection.timeout.ms",
                    zookeeper.connection_timeout_ms,
                )?,
                session_timeout_ms: number("authorizer.zookeeper.session.timeout.ms", zookeeper.session_timeout_ms)?,
                max_in_flight_requests: number(
                    "authorizer.zookeeper.max.in.flight.requests",
                    zookeeper.max_in_flight_requests,
                )?,
            }),
        };
        Ok(Some(Self {
            super_users,
            allow_everyone_if_no_acl_found,
            zookeeper,
        }))
    }

    /// The principals in `super.users`: `User:a;User:b`. As Java splits: nothing behind the last semicolons is no user.
    ///
    /// # Errors
    /// One is no principal.
    pub fn super_users(text: &str) -> Result<Vec<KafkaPrincipal>, Refused> {
        let users = text.trim().trim_end_matches(';');
        let parse = |user: &str| {
            user.trim()
                .parse()
                .map_err(|reason| Refused(format!("super.users: {reason}")))
        };
        users.split(';').filter(|_| !users.is_empty()).map(parse).collect()
    }
}

impl OtherZooKeeper {
    /// How it is reached; in what it does not say as the cluster's own.
    pub fn store_config(&self, own: &StoreConfig) -> StoreConfig {
        let millis = |ms: i32| Duration::from_millis(u64::try_from(ms).unwrap_or(0));
        StoreConfig {
            connect: self.url.clone(),
            session_timeout: millis(self.session_timeout_ms),
            connection_timeout: millis(self.connection_timeout_ms),
            max_in_flight: usize::try_from(self.max_in_flight_requests).unwrap_or(1),
            ..own.clone()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(pairs: &[(&str, &str)]) -> Result<Option<AuthorizerSettings>, String> {
        let given = |key: &str| {
            let found = pairs.iter().find(|(name, _)| *name == key);
            found.map(|(_, value)| (*value).to_owned())
        };
        let class = given("authorizer.class.name").unwrap_or_default();
        let defaults = ZooKeeperDefaults {
            connection_timeout_ms: 1,
            session_timeout_ms: 2,
            max_in_flight_requests: 3,
        };
        AuthorizerSettings::read(&class, given, defaults).map_err(|error| error.to_string())
    }

    #[test]
    fn its_zookeeper_may_have_tls_of_its_own() {
        for key in [
            "super.users",
            "authorizer.zookeeper.url",
            "authorizer.zookeeper.ssl.keystore.password",
        ] {
            assert!(is_authorizer_key(key), "{key}");
        }
        for key in [
            "authorizer.class.name",
            "zookeeper.ssl.keystore.password",
            "authorizer.zookeeper.x",
        ] {
            assert!(!is_authorizer_key(key), "{key}");
        }
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
