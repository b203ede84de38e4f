//! `coordinator.properties`: the keys that the program `coordinator` knows, spelt as a broker's.
//!
//! One table of keys with their defaults; a key that is not in it is named and ignored, as Kafka does. Later pairs count
//! over earlier ones, `--override` over the file.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use broker_admission::ZooKeeperDefaults;
use model::BrokerId;
use zk_schema_store::StoreConfig;

use crate::config::{Role, ServiceConfig};
use crate::security::{self, Security};
use crate::zookeeper_security::{InvalidZooKeeperSecurity, ZOOKEEPER_SECURITY_KEYS, zookeeper_security};

/// Ids from here on are coordinators'. Brokers have ids up to `reserved.broker.max.id` (1000), and generated ones above
/// it, counted up by one for each broker ever made.
pub const MIN_COORDINATOR_ID: i32 = 100_000;

/// Every key with its default; `None` must be given.
const KEYS: &[(&str, Option<&str>)] = &[
    ("auto.leader.rebalance.enable", Some("true")),
    ("advertised.host", Some("")),
    ("controller.socket.timeout.ms", Some("30000")),
    ("coordinator.id", None),
    ("delete.topic.enable", Some("true")),
    ("host", Some("127.0.0.1")),
    ("inter.broker.listener.name", Some("PLAINTEXT")),
    ("inter.broker.protocol.version", Some("3.9")),
    ("leader.imbalance.check.interval.seconds", Some("300")),
    ("leader.imbalance.per.broker.percentage", Some("10")),
    ("ottla.death.certificate", Some("true")),
    ("ottla.health.listener", Some("")),
    ("port", Some("9190")),
    ("request.timeout.ms", Some("30000")),
    ("unclean.leader.election.enable", Some("false")),
    ("zookeeper.connect", None),
    ("zookeeper.connection.timeout.ms", Some("18000")),
    ("zookeeper.max.in.flight.requests", Some("10")),
    ("zookeeper.session.timeout.ms", Some("18000")),
];

/// What the program runs with.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The controller's part.
    pub service: ServiceConfig,
    /// How to reach ZooKeeper.
    pub store: StoreConfig,
    /// `host` and `port`: where brokers' requests are taken.
    pub listen: (String, u16),
    /// `advertised.host`: where brokers find it, if not at `host`.
    pub advertised_host: String,
    /// TLS and logins between this program and the brokers.
    pub security: Security,
    /// `ottla.health.listener`: where `GET /health` is answered, if anywhere.
    pub health_listener: Option<(String, u16)>,
    /// `ottla.death.certificate`: whether a guardian process tells ZooKeeper of this one's death.
    pub death_certificate: bool,
    /// Keys that are not known here.
    pub unknown: Vec<String>,
}

/// A value that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidProperty {
    /// It must be given.
    #[error("missing required configuration {0}")]
    Missing(&'static str),
    /// TLS or logins cannot be had so.
    #[error("{0}")]
    Security(String),
    /// It is given, and is no such thing.
    #[error("invalid value {value} for configuration {key}: {reason}")]
    Invalid {
        /// Which key.
        key: &'static str,
        /// What it was set to.
        value: String,
        /// What is wrong.
        reason: String,
    },
    /// How to log in to ZooKeeper.
    #[error(transparent)]
    ZooKeeper(#[from] InvalidZooKeeperSecurity),
}

/// Reads settings from pairs of key and value, later ones first, and what `KAFKA_OPTS` tells Java programs.
///
/// # Errors
/// A value is missing or cannot be used.
pub fn settings(
    pairs: impl IntoIterator<Item = (String, String)>,
    java_options: &str,
) -> Result<Settings, InvalidProperty> {
    let given: BTreeMap<String, String> = pairs.into_iter().collect();
    let unknown = given
        .keys()
        .filter(|key| !KEYS.iter().any(|(known, _)| known == key))
        .filter(|key| !security::is_known(key) && !ZOOKEEPER_SECURITY_KEYS.contains(&key.as_str()))
        .cloned()
        .collect();
    let given = Given(given);

    let id: i32 = given.parse("coordinator.id")?;
    if id < MIN_COORDINATOR_ID {
        let reason = format!("a coordinator's id must be at least {MIN_COORDINATOR_ID}, outside the brokers' range");
        return Err(given.invalid("coordinator.id", reason));
    }
    let connect: String = given.text("zookeeper.connect")?;
    if connect.trim().is_empty() {
        return Err(InvalidProperty::Missing("zookeeper.connect"));
    }
    let percentage: i32 = given.parse("leader.imbalance.per.broker.percentage")?;
    let interval: u64 = given.positive("leader.imbalance.check.interval.seconds")?;
    let host = given.text("host")?;
    let advertised = Some(given.text("advertised.host")?).filter(|it| !it.is_empty());
    let listener_name = given.text("inter.broker.listener.name")?;
    let zookeeper = ZooKeeperDefaults {
        connection_timeout_ms: given.parse("zookeeper.connection.timeout.ms")?,
        session_timeout_ms: given.parse("zookeeper.session.timeout.ms")?,
        max_in_flight_requests: given.parse("zookeeper.max.in.flight.requests")?,
    };
    Ok(Settings {
        security: Security::read(&given.0, &listener_name, zookeeper).map_err(InvalidProperty::Security)?,
        service: ServiceConfig {
            role: Role::Dedicated,
            inter_broker_protocol: given.parse("inter.broker.protocol.version")?,
            listener_name,
            socket_timeout: given.millis("controller.socket.timeout.ms")?,
            request_timeout: given.millis("request.timeout.ms")?,
            delete_topic_enable: given.parse("delete.topic.enable")?,
            unclean_leader_election_enable: given.parse("unclean.leader.election.enable")?,
            auto_leader_rebalance_enable: given.parse("auto.leader.rebalance.enable")?,
            leader_imbalance_check_interval: Duration::from_secs(interval),
            leader_imbalance_per_broker_percentage: percentage,
            ..ServiceConfig::new(BrokerId(id))
        },
        store: StoreConfig {
            session_timeout: given.millis("zookeeper.session.timeout.ms")?,
            connection_timeout: given.millis("zookeeper.connection.timeout.ms")?,
            max_in_flight: usize::try_from(given.positive("zookeeper.max.in.flight.requests")?).unwrap_or(usize::MAX),
            security: zookeeper_security(|key| given.0.get(key).cloned(), java_options)?,
            ..StoreConfig::new(connect)
        },
        health_listener: given.address("ottla.health.listener")?,
        death_certificate: given.parse("ottla.death.certificate")?,
        advertised_host: advertised.unwrap_or_else(|| host.clone()),
        listen: (host, given.parse("port")?),
        unknown,
    })
}

struct Given(BTreeMap<String, String>);

impl Given {
    fn text(&self, key: &'static str) -> Result<String, InvalidProperty> {
        let default = KEYS
            .iter()
            .find(|(known, _)| *known == key)
            .and_then(|(_, default)| *default);
        let value = self.0.get(key).map(|value| value.trim()).or(default);
        value.map(str::to_owned).ok_or(InvalidProperty::Missing(key))
    }

    fn parse<T: FromStr<Err: fmt::Display>>(&self, key: &'static str) -> Result<T, InvalidProperty> {
        self.text(key)?
            .parse()
            .map_err(|error: T::Err| self.invalid(key, error.to_string()))
    }

    fn positive(&self, key: &'static str) -> Result<u64, InvalidProperty> {
        match self.parse(key)? {
            0 => Err(self.invalid(key, "it must be at least 1".to_owned())),
            value => Ok(value),
        }
    }

    fn millis(&self, key: &'static str) -> Result<Duration, InvalidProperty> {
        self.positive(key).map(Duration::from_millis)
    }

    /// `host:port`, an IPv6 host in brackets or not; empty is none.
    fn address(&self, key: &'static str) -> Result<Option<(String, u16)>, InvalidProperty> {
        let text = self.text(key)?;
        if text.is_empty() {
            return Ok(None);
        }
        let parsed = text.rsplit_once(':').and_then(|(host, port)| {
            let host = host.trim_matches(['[', ']']);
            (!host.is_empty()).then_some((host.to_owned(), port.parse().ok()?))
        });
        let parsed = parsed.ok_or_else(|| self.invalid(key, "it must be host:port".to_owned()))?;
        Ok(Some(parsed))
    }

    fn invalid(&self, key: &'static str, reason: String) -> InvalidProperty {
        InvalidProperty::Invalid {
            key,
            value: self.0.get(key).cloned().unwrap_or_default(),
            reason,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Settings, InvalidProperty> {
        settings(
            text.split_whitespace()
                .filter_map(|it| it.split_once('='))
                .map(|(key, value)| (key.into(), value.into())),
            "",
        )
    }

    #[test]
    fn two_keys_are_enough_and_the_rest_has_kafkas_defaults() {
        let settings = read("zookeeper.connect=zk:2181/kafka coordinator.id=100001 what.is.this=1").unwrap();
        assert_eq!(settings.service.id, BrokerId(100_001));
        assert_eq!(settings.service.role, Role::Dedicated);
        assert_eq!(settings.service.request_timeout, Duration::from_secs(30));
        assert_eq!(settings.store.connect, "zk:2181/kafka");
        assert_eq!(settings.store.session_timeout, Duration::from_secs(18));
        assert_eq!(settings.listen, ("127.0.0.1".to_owned(), 9190));
        assert_eq!(settings.advertised_host, "127.0.0.1");
        assert_eq!(settings.health_listener, None);
        assert!(settings.death_certificate);
        assert_eq!(settings.unknown, ["what.is.this"]);
    }

    #[test]
    fn a_listener_for_health_is_host_and_port() {
        let check = |text: &str, expected: Option<(&str, u16)>| {
            let found = read(&format!(
                "zookeeper.connect=zk coordinator.id=100001 ottla.health.listener={text}"
            ));
            let found = found.ok().and_then(|settings| settings.health_listener);
            assert_eq!(
                found.as_ref().map(|(host, port)| (host.as_str(), *port)),
                expected,
                "{text}"
            );
        };
        check("0.0.0.0:9191", Some(("0.0.0.0", 9191)));
        check("[::1]:9191", Some(("::1", 9191)));
        check("", None);
        check("9191", None);
        check(":9191", None);
        check("host:70000", None);
    }

    #[test]
    fn what_cannot_be_used_is_named() {
        let check = |text: &str, says: &str| assert_eq!(read(text).unwrap_err().to_string(), says);
        check(
            "coordinator.id=100001",
            "missing required configuration zookeeper.connect",
        );
        check("zookeeper.connect=zk", "missing required configuration coordinator.id");
        check(
            "zookeeper.connect=zk coordinator.id=7",
            "invalid value 7 for configuration coordinator.id: a coordinator's id must be at least 100000, outside the \
             brokers' range",
        );
        check(
            "zookeeper.connect=zk coordinator.id=100001 port=x",
            "invalid value x for configuration port: invalid digit found in string",
        );
        check(
            "zookeeper.connect=zk coordinator.id=100001 inter.broker.protocol.version=9",
            "invalid value 9 for configuration inter.broker.protocol.version: Version 9 is not a valid version",
        );
    }
}
