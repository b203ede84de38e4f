//! The configuration as one listener sees it: `listener.name.<listener>.<key>` over `<key>`.
//!
//! Source: Kafka 3.9 `AbstractConfig.valuesWithPrefixOverride`, `ListenerName.configPrefix`.

use super::broker_config::BrokerConfig;
use super::keys;
use super::value::Value;

/// The keys of one listener.
#[derive(Clone, Copy, Debug)]
pub struct ListenerConfig<'a> {
    config: &'a BrokerConfig,
    listener: &'a str,
}

impl BrokerConfig {
    /// The configuration as the listener of this name sees it.
    pub fn for_listener<'a>(&'a self, name: &'a str) -> ListenerConfig<'a> {
        ListenerConfig {
            config: self,
            listener: name,
        }
    }
}

impl<'a> ListenerConfig<'a> {
    /// What stands before a listener's own keys: `listener.name.external.`.
    pub fn prefix(&self) -> String {
        format!("listener.name.{}.", self.listener.to_lowercase())
    }

    /// The text of `key`, its own or everybody's, as it was set; `None` where nobody has set it.
    pub fn text(&self, key: &str) -> Option<&'a str> {
        self.own_text(key).or_else(|| self.find(key))
    }

    /// The text of `key` that was set for this listener alone.
    pub fn own_text(&self, key: &str) -> Option<&'a str> {
        self.find(&format!("{}{key}", self.prefix()))
    }

    /// The value of `key`: its own, everybody's, or the default. `None`: no such key, or an own value that is not valid.
    pub fn value(&self, key: &str) -> Option<Value> {
        match self.own_text(key) {
            Some(text) => keys::lookup_any(key)?.parse(text).ok(),
            None => self.config.value(key),
        }
    }

    /// The text of `<mechanism>.<key>` for this listener: `listener.name.external.scram-sha-256.sasl.jaas.config`.
    pub fn text_for_mechanism(&self, mechanism: &str, key: &str) -> Option<&'a str> {
        self.own_text(&format!("{}.{key}", mechanism.to_lowercase()))
    }

    fn find(&self, key: &str) -> Option<&'a str> {
        self.config.originals.get(key).map(String::as_str)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listeners_own_keys_come_before_everybodys() {
        let config = BrokerConfig::from_pairs([
            ("zookeeper.connect", "z"),
            ("broker.id", "0"),
            ("max.connections", "7"),
            ("ssl.client.auth", "none"),
            ("listener.name.inside.max.connections", "3"),
            ("listener.name.inside.scram-sha-256.sasl.jaas.config", "x"),
        ])
        .unwrap();
        let (inside, outside) = (config.for_listener("INSIDE"), config.for_listener("OUTSIDE"));
        assert_eq!(inside.prefix(), "listener.name.inside.");
        assert_eq!(inside.value("max.connections"), Some(Value::Integer(3)));
        assert_eq!(outside.value("max.connections"), Some(Value::Integer(7)));
        assert_eq!(inside.text("ssl.client.auth"), Some("none"));
        assert_eq!(inside.own_text("ssl.client.auth"), None);
        assert_eq!(
            inside.text_for_mechanism("SCRAM-SHA-256", "sasl.jaas.config"),
            Some("x")
        );
        assert_eq!(outside.text_for_mechanism("SCRAM-SHA-256", "sasl.jaas.config"), None);
        assert_eq!(inside.value("no.such.key"), None);
    }
}
