//! The keys of one listener: `listener.name.<listener>.<mechanism>.<key>` over `listener.name.<listener>.<key>` over
//! `<key>`.
//!
//! Source: Kafka 3.9 `AbstractConfig.valuesWithPrefixOverride`, `ListenerName.configPrefix`.

use super::Refused;

/// What keys are set to where nobody has set them, as far as logins read them. The same as in the broker's table of keys,
/// which a test there sees to.
pub const DEFAULTS: [(&str, &str); 10] = [
    ("connection.failed.authentication.delay.ms", "100"),
    ("connections.max.reauth.ms", "0"),
    ("sasl.enabled.mechanisms", "GSSAPI"),
    ("sasl.mechanism.inter.broker.protocol", "GSSAPI"),
    ("sasl.oauthbearer.clock.skew.seconds", "30"),
    ("sasl.oauthbearer.jwks.endpoint.refresh.ms", "3600000"),
    ("sasl.oauthbearer.jwks.endpoint.retry.backoff.max.ms", "10000"),
    ("sasl.oauthbearer.jwks.endpoint.retry.backoff.ms", "100"),
    ("sasl.oauthbearer.scope.claim.name", "scope"),
    ("sasl.server.max.receive.size", "524288"),
];

/// The keys as one listener sees them.
#[derive(Clone, Copy)]
pub struct ListenerKeys<'a> {
    listener: &'a str,
    given: &'a dyn Fn(&str) -> Option<String>,
}

impl<'a> ListenerKeys<'a> {
    /// Of the listener of this name; `given` tells what a key, spelt out, was set to.
    pub fn new(listener: &'a str, given: &'a dyn Fn(&str) -> Option<String>) -> Self {
        Self { listener, given }
    }

    /// The listener's name.
    pub fn listener(&self) -> &'a str {
        self.listener
    }

    /// What stands before a listener's own keys: `listener.name.external.`.
    pub fn prefix(&self) -> String {
        format!("listener.name.{}.", self.listener.to_lowercase())
    }

    /// What `key` was set to, its own or everybody's.
    pub fn text(&self, key: &str) -> Option<String> {
        self.own_text(key).or_else(|| (self.given)(key))
    }

    /// What `key` was set to for this listener alone.
    pub fn own_text(&self, key: &str) -> Option<String> {
        (self.given)(&format!("{}{key}", self.prefix()))
    }

    /// What `<mechanism>.<key>` was set to for this listener: `listener.name.external.scram-sha-256.sasl.jaas.config`.
    pub fn text_for_mechanism(&self, mechanism: &str, key: &str) -> Option<String> {
        self.own_text(&format!("{}.{key}", mechanism.to_lowercase()))
    }

    /// The items of a list.
    pub(super) fn list(&self, key: &str) -> Vec<String> {
        let text = self.text(key).or_else(|| default(key)).unwrap_or_default();
        let items = text.split(',').map(str::trim).filter(|item| !item.is_empty());
        items.map(str::to_owned).collect()
    }

    /// A whole number.
    pub(super) fn number(&self, key: &str) -> Result<i64, Refused> {
        let text = self.text(key).or_else(|| default(key)).unwrap_or_default();
        number(key, &text)
    }
}

impl core::fmt::Debug for ListenerKeys<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("ListenerKeys")
            .field("listener", &self.listener)
            .finish_non_exhaustive()
    }
}

pub(super) fn number(key: &str, text: &str) -> Result<i64, Refused> {
    text.trim()
        .parse()
        .map_err(|_| Refused(format!("Invalid value {text} for configuration {key}: Not a number")))
}

pub(super) fn default(key: &str) -> Option<String> {
    let found = DEFAULTS.iter().find(|(known, _)| *known == key);
    found.map(|(_, default)| (*default).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listeners_own_keys_come_before_everybodys() {
        let given = |key: &str| {
            let value = match key {
                "sasl.enabled.mechanisms" => "PLAIN",
                "listener.name.inside.sasl.enabled.mechanisms" => " PLAIN , SCRAM-SHA-256 ",
                "listener.name.inside.scram-sha-256.sasl.jaas.config" => "x",
                "connections.max.reauth.ms" => "soon",
                _ => return None,
            };
            Some(value.to_owned())
        };
        let (inside, outside) = (
            ListenerKeys::new("INSIDE", &given),
            ListenerKeys::new("OUTSIDE", &given),
        );
        let jaas = |keys: &ListenerKeys<'_>| keys.text_for_mechanism("SCRAM-SHA-256", "sasl.jaas.config");
        assert_eq!(inside.list("sasl.enabled.mechanisms"), ["PLAIN", "SCRAM-SHA-256"]);
        assert_eq!(outside.list("sasl.enabled.mechanisms"), ["PLAIN"]);
        assert_eq!((jaas(&inside).as_deref(), jaas(&outside)), (Some("x"), None));
        assert_eq!(inside.number("sasl.server.max.receive.size"), Ok(524_288));
        assert!(inside.number("connections.max.reauth.ms").is_err());
    }
}
