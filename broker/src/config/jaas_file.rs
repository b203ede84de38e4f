//! The JAAS file that `KAFKA_OPTS` names, as Kafka's scripts hand it to the JVM: its sections as if they stood in
//! `listener.name.<listener>.<mechanism>.sasl.jaas.config`.
//!
//! A listener has the section `<listener>.KafkaServer`, else `KafkaServer`; keys in `server.properties` come before it. Of
//! a section with several login modules each mechanism has its own, else the first.
//!
//! Source: Kafka 3.9 `JaasContext.defaultContext`.

use std::collections::BTreeMap;

use broker_security::sasl::jaas::{self, JaasEntry};
use broker_security::sasl::plain::PLAIN_LOGIN_MODULE;
use broker_security::sasl::scram::SCRAM_LOGIN_MODULE;
use broker_security::sasl::{OAUTHBEARER, PLAIN, SCRAM_SHA_256, SCRAM_SHA_512};

use super::error::ConfigError;
use super::keys;
use super::listener::parse_protocol_map;
use super::value::Value;

const LOGIN_CONFIG: &str = "java.security.auth.login.config";
const SECTION: &str = "KafkaServer";
const MECHANISMS: [(&str, &str); 4] = [
    (PLAIN, PLAIN_LOGIN_MODULE),
    (SCRAM_SHA_256, SCRAM_LOGIN_MODULE),
    (SCRAM_SHA_512, SCRAM_LOGIN_MODULE),
    (
        OAUTHBEARER,
        "org.apache.kafka.common.security.oauthbearer.OAuthBearerLoginModule",
    ),
];

/// Adds what the file says to `pairs`, where they say nothing. Nothing happens without such a file, or without a
/// listener that needs it.
///
/// # Errors
/// The file cannot be read, or is not JAAS.
pub(super) fn add(pairs: &mut BTreeMap<String, String>, environment: &[(String, String)]) -> Result<(), ConfigError> {
    let Some((_, options)) = environment.iter().find(|(name, _)| name == "KAFKA_OPTS") else {
        return Ok(());
    };
    let java = coordinator_service::java_properties(options);
    let listeners = sasl_listeners(pairs);
    let Some(file) = java.get(LOGIN_CONFIG).filter(|_| !listeners.is_empty()) else {
        return Ok(());
    };
    // Java takes `=file` for a file that stands alone.
    let file = file.strip_prefix('=').unwrap_or(file);
    let text = std::fs::read_to_string(file).map_err(|source| ConfigError::File {
        path: file.into(),
        source,
    })?;
    // The file holds secrets, the error none of them.
    let sections =
        jaas::parse_file(&text).map_err(|error| ConfigError::Refused(format!("{LOGIN_CONFIG}={file}: {error}")))?;
    for listener in listeners {
        let own = sections.get(&format!("{listener}.{SECTION}"));
        let Some(entries) = own.or_else(|| sections.get(SECTION)) else {
            continue;
        };
        for (mechanism, module) in MECHANISMS {
            let entry = entries
                .iter()
                .find(|entry| entry.login_module == module)
                .or(entries.first());
            if let Some(entry) = entry {
                let mechanism = mechanism.to_lowercase();
                pairs
                    .entry(format!("listener.name.{listener}.{mechanism}.sasl.jaas.config"))
                    .or_insert_with(|| line(entry));
            }
        }
    }
    Ok(())
}

/// The names of listeners with SASL, in small letters. What is wrong with the keys is said by who reads them properly.
fn sasl_listeners(pairs: &BTreeMap<String, String>) -> Vec<String> {
    let text = |name: &str| match pairs.get(name) {
        Some(text) => text.clone(),
        None => match keys::lookup(name).map(|key| key.default_value()) {
            Some(Value::String(text)) => text,
            _ => String::new(),
        },
    };
    let protocols = parse_protocol_map(&text("listener.security.protocol.map")).unwrap_or_default();
    let listeners = text("listeners");
    let names = listeners
        .split(',')
        .filter_map(|listener| listener.trim().split_once("://"));
    names
        .map(|(name, _)| name.to_uppercase())
        .filter(|name| protocols.get(name).is_some_and(|protocol| protocol.uses_sasl()))
        .map(|name| name.to_lowercase())
        .collect()
}

/// The entry as `sasl.jaas.config` has it.
fn line(entry: &JaasEntry) -> String {
    let mut line = format!("{} required", entry.login_module);
    for (option, value) in &entry.options {
        let quoted = |text: &str| {
            let text = text.replace('\\', "\\\\").replace('"', "\\\"");
            text.replace('\n', "\\n").replace('\r', "\\r")
        };
        line.push_str(&format!(" \"{}\"=\"{}\"", quoted(option), quoted(value)));
    }
    line.push(';');
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listener_has_its_section_or_everybodys() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let text = format!(
            r#"
            KafkaServer {{
                {PLAIN_LOGIN_MODULE} required user_a="b\"c\\d";
                {SCRAM_LOGIN_MODULE} required username="all" password="x";
            }};
            out.KafkaServer {{ {SCRAM_LOGIN_MODULE} required username="out" password="x"; }};
            Client {{ org.apache.zookeeper.server.auth.DigestLoginModule required; }};
            "#
        );
        std::fs::write(file.path(), text).unwrap();
        let options = format!("-Xmx1g -Djava.security.auth.login.config={}", file.path().display());
        let environment = [("KAFKA_OPTS".to_owned(), options)];
        let mut pairs: BTreeMap<String, String> = [
            ("listeners", "IN://:1,OUT://:2,PLAIN://:3"),
            (
                "listener.security.protocol.map",
                "IN:SASL_PLAINTEXT,OUT:SASL_SSL,PLAIN:PLAINTEXT",
            ),
            ("listener.name.in.scram-sha-512.sasl.jaas.config", "set already"),
        ]
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .into();
        add(&mut pairs, &environment).unwrap();
        let user = |listener: &str, mechanism: &str| {
            let line = pairs.get(&format!("listener.name.{listener}.{mechanism}.sasl.jaas.config"))?;
            let entry = jaas::parse_line(line).ok()?;
            let option = entry.options.get("username").or(entry.options.get("user_a"));
            option.cloned()
        };
        assert_eq!(user("in", "plain").as_deref(), Some("b\"c\\d"));
        assert_eq!(user("in", "scram-sha-256").as_deref(), Some("all"));
        assert_eq!(pairs["listener.name.in.scram-sha-512.sasl.jaas.config"], "set already");
        assert_eq!(user("out", "scram-sha-256").as_deref(), Some("out"));
        assert_eq!(user("out", "plain").as_deref(), Some("out"));
        assert_eq!(user("plain", "plain"), None);
    }

    #[test]
    fn a_file_that_cannot_be_used_is_refused_where_it_is_needed() {
        let options = "-Djava.security.auth.login.config=/no/such/file".to_owned();
        let environment = [("KAFKA_OPTS".to_owned(), options)];
        let pairs = |listeners: &str| BTreeMap::from([("listeners".to_owned(), listeners.to_owned())]);
        assert!(add(&mut pairs("PLAINTEXT://:1"), &environment).is_ok());
        let refused = add(&mut pairs("SASL_PLAINTEXT://:1"), &environment).unwrap_err();
        assert!(refused.to_string().contains("/no/such/file"), "{refused}");
    }
}
