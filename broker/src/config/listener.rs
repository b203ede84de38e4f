//! Listeners: where the broker listens, and what it tells clients to connect to.
//!
//! Reads `listeners`, `advertised.listeners` and `listener.security.protocol.map`. Resolves no name and binds nothing.
//!
//! Source: Kafka 3.9 `SocketServerConfigs.listenerListToEndPoints`, `CoreUtils.listenerListToEndPoints`.

use core::fmt;
use core::str::FromStr;
use std::net::IpAddr;

use indexmap::IndexMap;

/// How a listener's connections are secured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SecurityProtocol {
    /// Neither encrypted nor authenticated.
    Plaintext,
    /// TLS.
    Ssl,
    /// SASL without encryption.
    SaslPlaintext,
    /// SASL over TLS.
    SaslSsl,
}

impl SecurityProtocol {
    /// Kafka's name: `SASL_PLAINTEXT`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Plaintext => "PLAINTEXT",
            Self::Ssl => "SSL",
            Self::SaslPlaintext => "SASL_PLAINTEXT",
            Self::SaslSsl => "SASL_SSL",
        }
    }

    /// The number in UpdateMetadata requests. Source: Kafka `SecurityProtocol.id`.
    pub const fn id(self) -> i16 {
        match self {
            Self::Plaintext => 0,
            Self::Ssl => 1,
            Self::SaslPlaintext => 2,
            Self::SaslSsl => 3,
        }
    }
}

impl fmt::Display for SecurityProtocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for SecurityProtocol {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        [Self::Plaintext, Self::Ssl, Self::SaslPlaintext, Self::SaslSsl]
            .into_iter()
            .find(|protocol| protocol.name().eq_ignore_ascii_case(text))
            .ok_or_else(|| format!("Invalid security protocol `{text}`"))
    }
}

/// The name of a listener in capitals, as Kafka normalises it.
pub(super) fn normalised(listener_name: &str) -> String {
    listener_name.trim().to_uppercase()
}

/// One listener: `EXTERNAL://broker-1.example:9094`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Endpoint {
    /// In capitals.
    pub listener_name: String,
    /// By the protocol map.
    pub security_protocol: SecurityProtocol,
    /// `None`: every interface of this machine (in `listeners`), this machine's name (when advertised).
    pub host: Option<String>,
    /// 0: any free port (tests).
    pub port: u16,
}

/// `PLAINTEXT://host:9092`, as `/brokers/ids/N` lists it; an IPv6 address stands in brackets.
impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.host.as_deref() {
            None => write!(f, "{}://:{}", self.listener_name, self.port),
            Some(host) if host.contains(':') => write!(f, "{}://[{host}]:{}", self.listener_name, self.port),
            Some(host) => write!(f, "{}://{host}:{}", self.listener_name, self.port),
        }
    }
}

/// Which security protocol each listener name uses.
pub type ProtocolMap = IndexMap<String, SecurityProtocol>;

/// Reads `listener.security.protocol.map`: `CLIENTS:SASL_SSL,PLAINTEXT:PLAINTEXT`.
///
/// # Errors
/// What is wrong with the text.
pub(super) fn parse_protocol_map(text: &str) -> Result<ProtocolMap, String> {
    let mut map = ProtocolMap::new();
    for item in text.split(',').map(str::trim).filter(|item| !item.is_empty()) {
        let Some((name, protocol)) = item.rsplit_once(':') else {
            return Err(format!("`{item}` is not of the form LISTENER:PROTOCOL"));
        };
        let protocol = protocol.trim().parse::<SecurityProtocol>()?;
        map.insert(normalised(name), protocol);
    }
    Ok(map)
}

/// Whether listeners must differ in their ports: those bound must, those advertised need not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ports {
    /// `listeners`.
    Distinct,
    /// `advertised.listeners`.
    Any,
}

/// Reads `listeners` or `advertised.listeners`.
///
/// # Errors
/// What is wrong with the text, in Kafka's words.
pub(super) fn parse_listeners(text: &str, protocols: &ProtocolMap, ports: Ports) -> Result<Vec<Endpoint>, String> {
    let mut endpoints = Vec::<Endpoint>::new();
    for item in text.split(',').map(str::trim).filter(|item| !item.is_empty()) {
        let endpoint = parse_endpoint(item, protocols)
            .map_err(|reason| format!("Error creating broker listeners from '{text}': {reason}"))?;
        if endpoints
            .iter()
            .any(|other| other.listener_name == endpoint.listener_name)
        {
            return Err(format!("Each listener must have a different name, listeners: {text}"));
        }
        endpoints.push(endpoint);
    }
    if ports == Ports::Distinct {
        check_ports(&endpoints, text)?;
    }
    Ok(endpoints)
}

fn parse_endpoint(text: &str, protocols: &ProtocolMap) -> Result<Endpoint, String> {
    let unparsable = || format!("Unable to parse {text} to a broker endpoint");
    let (name, address) = text.split_once("://").ok_or_else(unparsable)?;
    let (host, port) = address.rsplit_once(':').ok_or_else(unparsable)?;
    let host = host.strip_prefix('[').unwrap_or(host);
    let host = host.strip_suffix(']').unwrap_or(host);
    if !host.bytes().all(|b| b.is_ascii_alphanumeric() || b"-%._:".contains(&b)) {
        return Err(unparsable());
    }
    let port = port.parse::<i64>().map_err(|_| unparsable())?;
    let port = u16::try_from(port).map_err(|_| format!("Invalid port {port}: must be between 0 and 65535"))?;
    let listener_name = normalised(name);
    let security_protocol = *protocols
        .get(&listener_name)
        .ok_or_else(|| format!("No security protocol defined for listener {listener_name}"))?;
    Ok(Endpoint {
        listener_name,
        security_protocol,
        host: (!host.is_empty()).then(|| host.to_owned()),
        port,
    })
}

/// Two listeners may share a port only where one host is an IPv4 and the other an IPv6 address.
fn check_ports(endpoints: &[Endpoint], text: &str) -> Result<(), String> {
    for (i, one) in endpoints.iter().enumerate().filter(|(_, endpoint)| endpoint.port != 0) {
        let address = |endpoint: &Endpoint| endpoint.host.as_deref().and_then(|host| host.parse::<IpAddr>().ok());
        let sharing: Vec<_> = endpoints.iter().filter(|other| other.port == one.port).collect();
        for other in endpoints.iter().skip(i + 1).filter(|other| other.port == one.port) {
            match (address(one), address(other)) {
                _ if sharing.len() > 2 => {}
                (Some(a), Some(b)) if a.is_ipv4() != b.is_ipv4() => continue,
                (Some(_), Some(_)) => {
                    return Err(format!(
                        "If you have two listeners on the same port then one needs to be IPv4 and the other IPv6, listeners: {text}, port: {}",
                        one.port
                    ));
                }
                _ => {}
            }
            return Err(format!("Each listener must have a different port, listeners: {text}"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn protocols() -> ProtocolMap {
        parse_protocol_map("PLAINTEXT:PLAINTEXT,SSL:SSL,internal:PLAINTEXT, EXTERNAL : sasl_ssl").unwrap()
    }

    #[test]
    fn listeners_are_read_as_kafka_reads_them() {
        let check = |text: &str, expected: Result<&[&str], &str>| {
            let read = parse_listeners(text, &protocols(), Ports::Distinct);
            let shown = read.map(|endpoints| endpoints.iter().map(Endpoint::to_string).collect::<Vec<_>>());
            let expected = expected
                .map(|all| all.iter().map(|&one| one.to_owned()).collect())
                .map_err(str::to_owned);
            assert_eq!(shown, expected, "{text}");
        };
        check("PLAINTEXT://:9092", Ok(&["PLAINTEXT://:9092"]));
        check("plaintext://localhost:9092", Ok(&["PLAINTEXT://localhost:9092"]));
        check("PLAINTEXT://[::1]:9092", Ok(&["PLAINTEXT://[::1]:9092"]));
        check(
            "INTERNAL://kafka:29092, EXTERNAL://localhost:9092",
            Ok(&["INTERNAL://kafka:29092", "EXTERNAL://localhost:9092"]),
        );
        check(
            "INTERNAL://a:0,EXTERNAL://a:0",
            Ok(&["INTERNAL://a:0", "EXTERNAL://a:0"]),
        );
        check(
            "PLAINTEXT://127.0.0.1:9092,SSL://[::1]:9092",
            Ok(&["PLAINTEXT://127.0.0.1:9092", "SSL://[::1]:9092"]),
        );
        check(
            "PLAINTEXT://:9092,SSL://:9092",
            Err("Each listener must have a different port, listeners: PLAINTEXT://:9092,SSL://:9092"),
        );
        check(
            "PLAINTEXT://127.0.0.1:9092,SSL://127.0.0.2:9092",
            Err(
                "If you have two listeners on the same port then one needs to be IPv4 and the other IPv6, listeners: PLAINTEXT://127.0.0.1:9092,SSL://127.0.0.2:9092, port: 9092",
            ),
        );
        check(
            "PLAINTEXT://:9092,PLAINTEXT://:9093",
            Err("Each listener must have a different name, listeners: PLAINTEXT://:9092,PLAINTEXT://:9093"),
        );
        check(
            "OTHER://:9092",
            Err(
                "Error creating broker listeners from 'OTHER://:9092': No security protocol defined for listener OTHER",
            ),
        );
        check(
            "localhost:9092",
            Err(
                "Error creating broker listeners from 'localhost:9092': Unable to parse localhost:9092 to a broker endpoint",
            ),
        );
        check(
            "PLAINTEXT://a:70000",
            Err(
                "Error creating broker listeners from 'PLAINTEXT://a:70000': Invalid port 70000: must be between 0 and 65535",
            ),
        );
    }

    #[test]
    fn advertised_listeners_may_share_a_port() {
        let read = parse_listeners("PLAINTEXT://a:9092,SSL://b:9092", &protocols(), Ports::Any);
        assert_eq!(read.map(|endpoints| endpoints.len()), Ok(2));
    }

    #[test]
    fn the_protocol_map_refuses_what_it_does_not_know() {
        assert_eq!(
            parse_protocol_map("A:TLS"),
            Err("Invalid security protocol `TLS`".into())
        );
        assert_eq!(
            parse_protocol_map("A"),
            Err("`A` is not of the form LISTENER:PROTOCOL".into())
        );
    }
}
