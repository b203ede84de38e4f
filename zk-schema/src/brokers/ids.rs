//! `/brokers/ids/<id>` — a live broker: where it listens, its rack.
//!
//! Ephemeral. Written by the broker in one multi: created empty, then set, so its data version is 1; its czxid is the
//! *broker epoch* which fences requests meant for an earlier life of the broker. Updated in place when listeners
//! change at run time.

use std::collections::BTreeMap;

use model::{BrokerId, Millis};
use serde_json::{Map, Value, json};

use crate::Op;
use crate::decode::{DecodeError, Object, number};

/// Parent of all live brokers.
pub const PATH: &str = "/brokers/ids";

/// Where broker `id` registers.
pub fn path(id: BrokerId) -> String {
    format!("{PATH}/{id}")
}

/// How a listener secures its connections. Source: Kafka `SecurityProtocol`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SecurityProtocol {
    /// Nothing.
    Plaintext,
    /// TLS.
    Ssl,
    /// SASL over plain TCP.
    SaslPlaintext,
    /// SASL over TLS.
    SaslSsl,
}

impl SecurityProtocol {
    /// Kafka's name of it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Plaintext => "PLAINTEXT",
            Self::Ssl => "SSL",
            Self::SaslPlaintext => "SASL_PLAINTEXT",
            Self::SaslSsl => "SASL_SSL",
        }
    }

    /// By its name, in any case.
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::Plaintext, Self::Ssl, Self::SaslPlaintext, Self::SaslSsl]
            .into_iter()
            .find(|protocol| protocol.name().eq_ignore_ascii_case(name))
    }

    /// Its number in UpdateMetadata.
    pub const fn id(self) -> i16 {
        match self {
            Self::Plaintext => 0,
            Self::Ssl => 1,
            Self::SaslPlaintext => 2,
            Self::SaslSsl => 3,
        }
    }
}

/// An advertised listener.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// The listener's name.
    pub listener: String,
    /// Host name or address, without brackets.
    pub host: String,
    /// Port.
    pub port: i32,
    /// What the listener's name is mapped to.
    pub security_protocol: SecurityProtocol,
}

impl Endpoint {
    /// `LISTENER://host:port`, IPv6 in brackets. Source: Kafka `EndPoint.connectionString`.
    pub fn connection_string(&self) -> String {
        match self.host.contains(':') {
            true => format!("{}://[{}]:{}", self.listener, self.host, self.port),
            false => format!("{}://{}:{}", self.listener, self.host, self.port),
        }
    }
}

/// What a broker says about itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BrokerRegistration {
    /// Its id (from the path, not in the JSON).
    pub id: BrokerId,
    /// 5 from inter.broker.protocol.version 2.7 on, 4 from 0.10.0 on, else 2.
    pub version: i32,
    /// Its listeners.
    pub endpoints: Vec<Endpoint>,
    /// `broker.rack`.
    pub rack: Option<String>,
    /// −1 if it has none.
    pub jmx_port: i32,
    /// When it registered (its own clock).
    pub timestamp: Millis,
    /// Supported features: least and greatest version by name.
    pub features: BTreeMap<String, (i16, i16)>,
}

impl BrokerRegistration {
    /// As Kafka 3.9 writes its `version`.
    pub fn encode(&self) -> Vec<u8> {
        // Clients older than listeners know one host and port: those of the first plain one.
        let plain = self
            .endpoints
            .iter()
            .find(|e| e.security_protocol == SecurityProtocol::Plaintext);
        let mut json = Map::new();
        if self.version >= 5 {
            let features = self
                .features
                .iter()
                .map(|(name, (min, max))| (name.clone(), json!({"min_version": min, "max_version": max})));
            json.insert("features".into(), Value::Object(features.collect()));
        }
        if self.version >= 4 {
            let map = self
                .endpoints
                .iter()
                .map(|e| (e.listener.clone(), Value::from(e.security_protocol.name())));
            json.insert("listener_security_protocol_map".into(), Value::Object(map.collect()));
        }
        let endpoints: Vec<String> = self.endpoints.iter().map(Endpoint::connection_string).collect();
        json.insert("endpoints".into(), endpoints.into());
        if let Some(rack) = &self.rack
            && self.version >= 3
        {
            json.insert("rack".into(), rack.as_str().into());
        }
        json.insert("jmx_port".into(), self.jmx_port.into());
        json.insert("port".into(), plain.map_or(-1, |e| e.port).into());
        json.insert("host".into(), plain.map(|e| e.host.as_str()).into());
        json.insert("version".into(), self.version.into());
        json.insert("timestamp".into(), self.timestamp.to_string().into());
        Value::Object(json).to_string().into_bytes()
    }

    /// Reads versions 1 to 5 of broker `id`.
    ///
    /// # Errors
    /// No JSON object with a version and listeners that can be understood.
    pub fn decode(id: BrokerId, data: &[u8]) -> Result<Self, DecodeError> {
        let znode = path(id);
        let object = Object::parse(&znode, data)?;
        let version: i32 = object.number("version")?;
        if version < 1 {
            return Err(object.error(format!("unsupported version {version}")));
        }
        let endpoints = match version {
            1 => vec![Endpoint {
                listener: SecurityProtocol::Plaintext.name().to_owned(),
                host: object.string("host")?,
                port: object.number("port")?,
                security_protocol: SecurityProtocol::Plaintext,
            }],
            _ => decode_endpoints(&object)?,
        };
        let mut features = BTreeMap::new();
        for (name, range) in object.object("features")?.into_iter().flatten() {
            let bound = |field| range.get(field).and_then(number::<i16>);
            // Kafka 2.7 to 3.2 wrote first_active_version beside these two.
            match (bound("min_version"), bound("max_version")) {
                (Some(min), Some(max)) => features.insert(name.clone(), (min, max)),
                _ => return Err(object.error(format!("feature '{name}' has no range"))),
            };
        }
        Ok(Self {
            id,
            version,
            endpoints,
            rack: object.optional_string("rack")?,
            jmx_port: object.optional_number("jmx_port")?.unwrap_or(-1),
            timestamp: Millis(object.optional_number("timestamp")?.unwrap_or(Millis::NONE.0)),
            features,
        })
    }

    /// The multi that registers the broker; the stat of its second result holds the broker epoch (czxid).
    ///
    /// Source: Kafka 3.9 `KafkaZkClient.registerBroker` / `CheckedEphemeral`.
    pub fn registration(&self) -> Vec<Op> {
        let path = path(self.id);
        vec![
            Op::create_ephemeral(path.as_str(), Vec::new()),
            Op::set(path, self.encode(), None),
        ]
    }

    /// The listener of this name.
    pub fn endpoint(&self, listener: &str) -> Option<&Endpoint> {
        self.endpoints.iter().find(|e| e.listener == listener)
    }
}

fn decode_endpoints(object: &Object<'_>) -> Result<Vec<Endpoint>, DecodeError> {
    let protocols = object.object("listener_security_protocol_map")?;
    let endpoints = object
        .array("endpoints")?
        .ok_or_else(|| object.error("no 'endpoints'"))?;
    endpoints
        .iter()
        .map(|endpoint| {
            let text = endpoint.as_str().unwrap_or_default();
            let bad = || object.error(format!("bad endpoint '{text}'"));
            let (listener, address) = text.split_once("://").ok_or_else(bad)?;
            let (host, port) = address.rsplit_once(':').ok_or_else(bad)?;
            let host = host.strip_prefix('[').and_then(|h| h.strip_suffix(']')).unwrap_or(host);
            let listener = listener.to_uppercase();
            let protocol = match protocols {
                Some(map) => map.get(&listener).and_then(Value::as_str),
                None => Some(listener.as_str()),
            };
            Ok(Endpoint {
                security_protocol: protocol.and_then(SecurityProtocol::from_name).ok_or_else(bad)?,
                host: host.to_owned(),
                port: port.parse().map_err(|_| bad())?,
                listener,
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoint(listener: &str, host: &str, port: i32, security_protocol: SecurityProtocol) -> Endpoint {
        Endpoint {
            listener: listener.into(),
            host: host.into(),
            port,
            security_protocol,
        }
    }

    #[test]
    fn older_versions_are_read() {
        use SecurityProtocol::{Plaintext, Ssl};
        let check = |json: &str, endpoints: &[Endpoint], rack: Option<&str>| {
            let broker = BrokerRegistration::decode(BrokerId(1), json.as_bytes()).unwrap();
            assert_eq!(broker.endpoints, endpoints, "{json}");
            assert_eq!(broker.rack.as_deref(), rack, "{json}");
        };
        check(
            r#"{"version":1,"host":"localhost","port":9092,"jmx_port":9999,"timestamp":"2233345666"}"#,
            &[endpoint("PLAINTEXT", "localhost", 9092, Plaintext)],
            None,
        );
        check(
            r#"{"version":2,"host":"localhost","port":9092,"jmx_port":9999,"timestamp":"2233345666","endpoints":["PLAINTEXT://host1:9092","SSL://[::1]:9093"]}"#,
            &[
                endpoint("PLAINTEXT", "host1", 9092, Plaintext),
                endpoint("SSL", "::1", 9093, Ssl),
            ],
            None,
        );
        check(
            r#"{"version":3,"host":"l","port":9092,"jmx_port":-1,"timestamp":"2","endpoints":["PLAINTEXT://:9092"],"rack":"dc1"}"#,
            &[endpoint("PLAINTEXT", "", 9092, Plaintext)],
            Some("dc1"),
        );
        check(
            r#"{"version":4,"host":"l","port":9092,"jmx_port":-1,"timestamp":"2","endpoints":["CLIENT://h:1"],"rack":null,"listener_security_protocol_map":{"CLIENT":"SSL"}}"#,
            &[endpoint("CLIENT", "h", 1, Ssl)],
            None,
        );
        check(
            r#"{"version":5,"jmx_port":-1,"timestamp":"2","endpoints":[],"features":{"f":{"min_version":1,"first_active_version":2,"max_version":3}}}"#,
            &[],
            None,
        );
    }

    #[test]
    fn nonsense_is_refused() {
        for bad in [
            "",
            "[]",
            "{}",
            r#"{"version":0}"#,
            r#"{"version":2,"endpoints":["x"]}"#,
            r#"{"version":2,"endpoints":[7]}"#,
            r#"{"version":2,"endpoints":["PLAINTEXT://h:99999999999"]}"#,
            r#"{"version":4,"endpoints":["CLIENT://h:1"],"listener_security_protocol_map":{}}"#,
        ] {
            assert!(
                BrokerRegistration::decode(BrokerId(1), bad.as_bytes()).is_err(),
                "{bad}"
            );
        }
    }

    #[test]
    fn a_broker_without_a_plain_listener_has_no_host_for_old_clients() {
        let broker = BrokerRegistration {
            id: BrokerId(1),
            version: 5,
            endpoints: vec![endpoint("SSL", "::1", 9093, SecurityProtocol::Ssl)],
            rack: None,
            jmx_port: -1,
            timestamp: Millis(1),
            features: BTreeMap::new(),
        };
        let json = String::from_utf8(broker.encode()).unwrap();
        assert_eq!(
            json,
            r#"{"features":{},"listener_security_protocol_map":{"SSL":"SSL"},"endpoints":["SSL://[::1]:9093"],"jmx_port":-1,"port":-1,"host":null,"version":5,"timestamp":"1"}"#
        );
        assert_eq!(BrokerRegistration::decode(BrokerId(1), json.as_bytes()), Ok(broker));
    }
}
