//! SASL as the broker's configuration has it: which mechanisms a listener offers, and how brokers log in to each other.
//!
//! The keys are read by `broker_admission`; here is said for which listeners, and everything is checked at start.

use broker_admission::{BrokerLogin, ListenerKeys, Refused, SaslListenerConfig, refuse_java_class};

use super::broker_config::BrokerConfig;
use super::error::ConfigError;
use super::listener::SecurityProtocol;
use super::value::Value;

impl SecurityProtocol {
    /// Whether connections log in by SASL.
    pub const fn uses_sasl(self) -> bool {
        matches!(self, Self::SaslPlaintext | Self::SaslSsl)
    }
}

impl From<Refused> for ConfigError {
    fn from(Refused(reason): Refused) -> Self {
        Self::Refused(reason)
    }
}

impl BrokerConfig {
    /// SASL of the listener of this name.
    ///
    /// # Errors
    /// It could not be served as it is asked for.
    pub fn sasl_of(&self, listener: &str) -> Result<SaslListenerConfig, ConfigError> {
        let given = self.given();
        Ok(SaslListenerConfig::read(&ListenerKeys::new(listener, &given))?)
    }

    /// How brokers log in to each other; `None` where the listener between brokers has no SASL.
    ///
    /// # Errors
    /// Nobody could log in so.
    pub fn inter_broker_login(&self) -> Result<Option<BrokerLogin>, ConfigError> {
        self.login_to(&self.inter_broker_listener_name)
    }

    /// How brokers, and the controller in them, log in at this listener of others; `None` where it has no SASL.
    ///
    /// # Errors
    /// Nobody could log in so.
    pub fn login_to(&self, listener: &str) -> Result<Option<BrokerLogin>, ConfigError> {
        let protocol = self.listener_security_protocol_map.get(listener);
        if !protocol.is_some_and(|protocol| protocol.uses_sasl()) {
            return Ok(None);
        }
        let mechanism = match self.value("sasl.mechanism.inter.broker.protocol") {
            Some(Value::String(name)) => name,
            _ => String::new(),
        };
        let given = self.given();
        let login = BrokerLogin::read(&ListenerKeys::new(listener, &given), &mechanism)?;
        Ok(Some(login))
    }

    /// Everything about SASL that is wrong, before anything is started.
    pub(super) fn validate_sasl(&self) -> Result<(), ConfigError> {
        for listener in &self.listeners {
            if listener.security_protocol.uses_sasl() {
                self.sasl_of(&listener.listener_name)?;
            }
        }
        self.inter_broker_login()?;
        if let Some(listener) = &self.control_plane_listener_name {
            self.login_to(listener)?;
        }
        for (key, class) in &self.originals {
            refuse_java_class(key, class.trim())?;
        }
        Ok(())
    }

    fn given(&self) -> impl Fn(&str) -> Option<String> + '_ {
        |key| self.originals.get(key).cloned()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use broker_admission::{DEFAULTS, SaslMechanism};
    use broker_security::sasl::ScramMechanism;

    use super::super::keys;
    use super::*;

    const SCRAM: &str = "org.apache.kafka.common.security.scram.ScramLoginModule";

    fn config(extra: &[(&str, &str)]) -> Result<BrokerConfig, ConfigError> {
        let base = [
            ("zookeeper.connect", "z"),
            ("broker.id", "0"),
            ("listeners", "IN://:9092,OUT://:9093"),
            ("listener.security.protocol.map", "IN:PLAINTEXT,OUT:SASL_PLAINTEXT"),
            ("inter.broker.listener.name", "IN"),
            ("sasl.enabled.mechanisms", "SCRAM-SHA-256"),
        ];
        BrokerConfig::from_pairs(base.into_iter().chain(extra.iter().copied()))
    }

    #[test]
    fn logins_have_the_defaults_of_the_table() {
        for (key, default) in DEFAULTS {
            assert_eq!(keys::lookup(key).unwrap().default, Some(default), "{key}");
        }
    }

    #[test]
    fn what_could_not_be_served_is_refused_at_start() {
        let line = format!("{SCRAM} required username=\"a\" password=\"s3cret\";");
        let out = "listener.name.out.scram-sha-256.sasl.jaas.config";
        let check = |name: &str, extra: &[(&str, &str)], expected: Result<(), &str>| {
            let found = config(extra).map(drop).map_err(|error| error.to_string());
            match (&found, expected) {
                (Ok(()), Ok(())) => {}
                (Err(found), Err(expected)) => {
                    assert!(found.contains(expected), "{name}: {found}");
                    assert!(!found.contains("s3cret"), "{name}: {found}");
                }
                _ => panic!("{name}: {found:?}"),
            }
        };
        check("all there", &[(out, &line)], Ok(()));
        check(
            "no JAAS",
            &[],
            Err("Could not find a 'KafkaServer' or 'out.KafkaServer' entry"),
        );
        check(
            "not JAAS",
            &[(out, "x s3cret;")],
            Err("Invalid login module control flag"),
        );
        check(
            "two modules",
            &[(out, &format!("{line}{line}"))],
            Err("contains 2 login modules"),
        );
        check(
            "foreign module",
            &[(out, "org.example.Login required;")],
            Err("org.example.Login is a Java class"),
        );
        check(
            "GSSAPI",
            &[("sasl.enabled.mechanisms", "GSSAPI")],
            Err("needs Kerberos"),
        );
        check(
            "unknown",
            &[("sasl.enabled.mechanisms", "DIGEST-MD5")],
            Err("DIGEST-MD5 is not known here"),
        );
        check(
            "none",
            &[("sasl.enabled.mechanisms", "")],
            Err("No SASL mechanisms are enabled"),
        );
        let mechanism = ("sasl.mechanism.inter.broker.protocol", "SCRAM-SHA-512");
        check("of no use between brokers", &[(out, &line), mechanism], Ok(()));
        let handler = "listener.name.out.scram-sha-256.sasl.server.callback.handler.class";
        check(
            "foreign handler",
            &[(out, &line), (handler, "org.example.H")],
            Err("org.example.H is a Java class"),
        );
        let own = "org.apache.kafka.common.security.scram.internals.ScramServerCallbackHandler";
        check("Kafka's own handler", &[(out, &line), (handler, own)], Ok(()));
        let reauth = "listener.name.out.scram-sha-256.connections.max.reauth.ms";
        check(
            "no number",
            &[(out, &line), (reauth, "soon")],
            Err("Not a number of type LONG"),
        );
    }

    #[test]
    fn a_session_lasts_as_long_as_listener_and_mechanism_say() {
        let line = format!("{SCRAM} required;");
        let both = ("sasl.enabled.mechanisms", "SCRAM-SHA-256,SCRAM-SHA-512,SCRAM-SHA-256");
        let jaas = [
            ("listener.name.out.scram-sha-256.sasl.jaas.config", line.as_str()),
            ("listener.name.out.scram-sha-512.sasl.jaas.config", line.as_str()),
        ];
        let check = |name: &str, extra: &[(&str, &str)], expected: [Option<u64>; 2]| {
            let pairs: Vec<_> = jaas.iter().chain([&both]).chain(extra).copied().collect();
            let sasl = config(&pairs).unwrap().sasl_of("OUT").unwrap();
            let found: Vec<_> = sasl.mechanisms.iter().map(|it| it.max_reauth).collect();
            assert_eq!(found, expected.map(|ms| ms.map(Duration::from_millis)), "{name}");
            assert_eq!(
                (sasl.max_receive_size, sasl.failed_authentication_delay.as_millis()),
                (524_288, 100)
            );
        };
        let all = ("connections.max.reauth.ms", "5000");
        let listener = ("listener.name.out.connections.max.reauth.ms", "4000");
        let mechanism = ("listener.name.out.scram-sha-512.connections.max.reauth.ms", "3000");
        check("never", &[], [None, None]);
        check("all", &[all], [Some(5000), Some(5000)]);
        check("listener", &[all, listener], [Some(4000), Some(4000)]);
        check("mechanism", &[all, listener, mechanism], [Some(4000), Some(3000)]);
        check(
            "switched off",
            &[all, ("listener.name.out.connections.max.reauth.ms", "0")],
            [None, None],
        );
    }

    #[test]
    fn brokers_log_in_by_a_mechanism_that_their_listener_offers() {
        let line = format!("{SCRAM} required username=\"broker\" password=\"x\";");
        let pairs = |mechanism: &'static str| {
            vec![
                ("inter.broker.listener.name", "OUT"),
                ("sasl.mechanism.inter.broker.protocol", mechanism),
                ("listener.name.out.scram-sha-256.sasl.jaas.config", line.as_str()),
            ]
        };
        let config_of = |mechanism| config(&pairs(mechanism));
        let login = config_of("SCRAM-SHA-256")
            .unwrap()
            .inter_broker_login()
            .unwrap()
            .unwrap();
        assert_eq!(login.mechanism, SaslMechanism::Scram(ScramMechanism::Sha256));
        assert_eq!(login.jaas.options["username"], "broker");
        let refused = config_of("PLAIN").unwrap_err().to_string();
        assert!(
            refused.contains("sasl.mechanism.inter.broker.protocol must be included in"),
            "{refused}"
        );
    }
}
