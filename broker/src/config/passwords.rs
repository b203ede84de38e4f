//! Passwords among dynamic configurations: encoded in ZooKeeper, plain in memory.
//!
//! With `password.encoder.secret` they can be set and read; without it they can be neither, in Kafka's words. With
//! `password.encoder.old.secret` what was encoded with that is encoded anew.
//!
//! Source: Kafka 3.9 `DynamicBrokerConfig.toPersistentProps`, `fromPersistentProps`, `maybeReEncodePasswords`.

use broker_security::password_encoder::{PasswordEncoder, Settings};

use super::broker_config::BrokerConfig;
use super::dynamic::is_dynamic_password;
use super::error::ConfigError;
use super::handle::Entries;
use super::value::Value;

/// The encoders of one broker; its secrets change only by a restart.
#[derive(Debug, Default)]
pub(super) struct Passwords {
    current: Option<PasswordEncoder>,
    old: Option<PasswordEncoder>,
}

impl Passwords {
    /// From `password.encoder.*`.
    ///
    /// # Errors
    /// A secret is set, and what is to encode with it is not there.
    pub(super) fn of(config: &BrokerConfig) -> Result<Self, ConfigError> {
        let text = |key: &str| match config.value(key) {
            Some(Value::String(text)) => Some(text),
            _ => None,
        };
        let number = |key: &str| match config.value(key) {
            Some(Value::Integer(number)) => u32::try_from(number).unwrap_or(0),
            _ => 0,
        };
        let defaults = Settings::default();
        let settings = Settings {
            key_factory_algorithm: text("password.encoder.keyfactory.algorithm"),
            cipher_algorithm: text("password.encoder.cipher.algorithm").unwrap_or(defaults.cipher_algorithm),
            key_length: number("password.encoder.key.length"),
            iterations: number("password.encoder.iterations"),
        };
        let encoder = |key: &str| match text(key) {
            None => Ok(None),
            Some(secret) => PasswordEncoder::new(&secret, settings.clone())
                .map(Some)
                .map_err(|error| ConfigError::Refused(format!("{key} cannot be used: {error}"))),
        };
        Ok(Self {
            current: encoder("password.encoder.secret")?,
            old: encoder("password.encoder.old.secret")?,
        })
    }

    /// The password behind a text from ZooKeeper, also if it has not been encoded anew yet.
    ///
    /// # Errors
    /// Why it cannot be had; holds neither.
    pub(super) fn decode(&self, text: &str) -> Result<String, String> {
        let encoder = self.current.as_ref().ok_or(NO_SECRET)?;
        let decoded = encoder.decode(text).or_else(|error| {
            let old = self.old.as_ref().and_then(|old| old.decode(text).ok());
            old.ok_or(error)
        });
        decoded.map_err(|error| error.to_string())
    }

    /// Entries as they are written to ZooKeeper: passwords encoded.
    ///
    /// # Errors
    /// A password for all brokers, or one that cannot be encoded.
    pub(super) fn persistent(&self, mut entries: Entries, per_broker: bool) -> Result<Entries, ConfigError> {
        let refuse = |reason: &str| Err(ConfigError::Refused(reason.to_owned()));
        for (_, text) in entries.iter_mut().filter(|(name, _)| is_dynamic_password(name)) {
            if !per_broker {
                return refuse("Password config can be defined only at broker level");
            }
            *text = match self.current.as_ref().map(|encoder| encoder.encode(text)) {
                Some(Ok(encoded)) => encoded,
                Some(Err(error)) => return refuse(&error.to_string()),
                None => return refuse(NO_SECRET),
            };
        }
        Ok(entries)
    }

    /// `stored` with each password that the old secret decodes encoded with the new one; `None` where there is nothing
    /// to do.
    ///
    /// # Errors
    /// There is no new secret.
    pub(super) fn reencoded(&self, stored: &Entries) -> Result<Option<Entries>, ConfigError> {
        let Some(old) = &self.old else { return Ok(None) };
        let mut plain = Entries::new();
        for (name, text) in stored.iter().filter(|(name, _)| is_dynamic_password(name)) {
            match old.decode(text) {
                Ok(password) => {
                    plain.insert(name.clone(), password);
                }
                // The old secret may be left in the configuration for ever.
                Err(_) => tracing::debug!(name, "not encoded with password.encoder.old.secret; left as it is"),
            }
        }
        if plain.is_empty() {
            return Ok(None);
        }
        let mut entries = stored.clone();
        entries.extend(self.persistent(plain, true)?);
        Ok(Some(entries))
    }
}

const NO_SECRET: &str = "Password encoder secret not configured";

#[cfg(test)]
mod tests {
    use super::*;

    const NAME: &str = "listener.name.outside.ssl.keystore.password";

    fn passwords(pairs: &[(&str, &str)]) -> Result<Passwords, ConfigError> {
        let all = [("zookeeper.connect", "z"), ("broker.id", "0")];
        Passwords::of(&BrokerConfig::from_pairs(all.iter().chain(pairs).copied())?)
    }

    fn entries(pairs: &[(&str, &str)]) -> Entries {
        pairs.iter().map(|&(k, v)| (k.to_owned(), v.to_owned())).collect()
    }

    #[test]
    fn passwords_go_out_encoded_and_come_back_plain() {
        let passwords = passwords(&[("password.encoder.secret", "s")]).unwrap();
        let plain = entries(&[(NAME, "hunter2"), ("num.io.threads", "8")]);
        let stored = passwords.persistent(plain, true).unwrap();
        assert_eq!(stored["num.io.threads"], "8");
        assert!(!stored[NAME].contains("hunter2") && stored[NAME].contains("passwordLength:7"));
        assert_eq!(passwords.decode(&stored[NAME]).as_deref(), Ok("hunter2"));
        assert!(passwords.decode("hunter2").is_err());
    }

    #[test]
    fn without_a_secret_or_for_all_brokers_they_are_refused_in_kafkas_words() {
        let check = |set: &[(&str, &str)], per_broker: bool, expected: &str| {
            let refused = passwords(set).unwrap().persistent(entries(&[(NAME, "x")]), per_broker);
            assert_eq!(refused.unwrap_err().to_string(), expected);
        };
        let secret = &[("password.encoder.secret", "s")];
        check(&[], true, "Password encoder secret not configured");
        check(secret, false, "Password config can be defined only at broker level");
        check(&[], false, "Password config can be defined only at broker level");
        let nothing = passwords(&[]).unwrap().persistent(entries(&[("a", "b")]), false);
        assert_eq!(nothing.unwrap(), entries(&[("a", "b")]));
    }

    #[test]
    fn what_the_old_secret_opens_is_encoded_with_the_new_one() {
        let old = passwords(&[("password.encoder.secret", "old")]).unwrap();
        let both = passwords(&[
            ("password.encoder.secret", "new"),
            ("password.encoder.old.secret", "old"),
        ])
        .unwrap();
        let stored = old.persistent(entries(&[(NAME, "hunter2"), ("a", "b")]), true).unwrap();
        assert_eq!(both.decode(&stored[NAME]).as_deref(), Ok("hunter2"), "until then");
        let anew = both.reencoded(&stored).unwrap().unwrap();
        assert_eq!(both.decode(&anew[NAME]).as_deref(), Ok("hunter2"));
        assert_eq!(anew["a"], "b");
        // A second start finds nothing to do.
        assert_eq!(both.reencoded(&anew).unwrap(), None);
        assert_eq!(old.reencoded(&stored).unwrap(), None);
    }

    #[test]
    fn an_algorithm_that_is_not_there_is_refused_at_the_start() {
        let check = |key: &str, value: &str, refused: bool| {
            let found = passwords(&[("password.encoder.secret", "s"), (key, value)]);
            assert_eq!(found.is_err(), refused, "{key}={value}");
            assert!(
                passwords(&[(key, value)]).is_ok(),
                "nothing is encoded without a secret"
            );
        };
        check("password.encoder.keyfactory.algorithm", "PBKDF2WithHmacSHA256", false);
        check("password.encoder.keyfactory.algorithm", "DES", true);
        check("password.encoder.cipher.algorithm", "AES/GCM/NoPadding", false);
        check("password.encoder.cipher.algorithm", "Blowfish/CBC/PKCS5Padding", true);
        check("password.encoder.key.length", "256", false);
        check("password.encoder.key.length", "100", true);
    }
}
