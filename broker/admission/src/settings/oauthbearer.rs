//! OAUTHBEARER as the configuration has it: who checks tokens on a listener, and where tokens for this broker's own
//! logins come from.
//!
//! Reads keys and the options of the JAAS line; opens no file and asks nobody (see `crate::oauthbearer`).
//!
//! Source: Kafka 3.9 `OAuthBearerValidatorCallbackHandler`, `OAuthBearerLoginCallbackHandler`, `ConfigurationUtils`.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use broker_security::oauthbearer::{SIGNED_VALIDATOR_CLASSES, UnsecuredValidator};
use broker_security::sasl::OAUTHBEARER;
use broker_security::sasl::jaas::JaasEntry;
use broker_security::tls::Secret;

use super::keys::{default, number};
use super::{ListenerKeys, Refused};

const LOGIN_CLASSES: [&str; 2] = [
    "org.apache.kafka.common.security.oauthbearer.OAuthBearerLoginCallbackHandler",
    "org.apache.kafka.common.security.oauthbearer.secured.OAuthBearerLoginCallbackHandler",
];

/// Who checks the tokens of a listener.
#[derive(Clone, Debug)]
pub enum TokenCheck {
    /// Nobody has signed them.
    Unsecured(UnsecuredValidator),
    /// An identity provider has.
    Signed(SignedTokens),
}

/// What signed tokens must hold.
#[derive(Clone, Debug)]
pub struct SignedTokens {
    /// `sasl.oauthbearer.jwks.endpoint.url`.
    pub jwks: Source,
    /// `sasl.oauthbearer.jwks.endpoint.refresh.ms`.
    pub refresh: Duration,
    /// `sasl.oauthbearer.jwks.endpoint.retry.backoff.ms`.
    pub retry_backoff: Duration,
    /// `sasl.oauthbearer.jwks.endpoint.retry.backoff.max.ms`.
    pub retry_backoff_max: Duration,
    /// `sasl.oauthbearer.expected.audience`.
    pub expected_audience: Vec<String>,
    /// `sasl.oauthbearer.expected.issuer`.
    pub expected_issuer: Option<String>,
    /// `sasl.oauthbearer.scope.claim.name`.
    pub scope_claim_name: String,
    /// `sasl.oauthbearer.sub.claim.name`.
    pub sub_claim_name: String,
    /// `sasl.oauthbearer.clock.skew.seconds`.
    pub clock_skew_seconds: i32,
}

/// Where something is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// In a file.
    File(PathBuf),
    /// At a server.
    Http(Endpoint),
}

/// A server of an identity provider.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// `http://…` or `https://…`.
    pub url: String,
    /// `ssl.truststore.*` of the JAAS line: location, type, password. `None`: the certificates that the system trusts.
    pub truststore: Option<(PathBuf, Option<String>, Option<Secret>)>,
    /// `sasl.login.connect.timeout.ms`.
    pub connect_timeout: Option<Duration>,
    /// `sasl.login.read.timeout.ms`.
    pub read_timeout: Option<Duration>,
}

/// Where tokens for this broker's own logins come from.
#[derive(Clone, Debug)]
pub enum TokenSource {
    /// Made by itself from the options of the JAAS line.
    Unsecured(BTreeMap<String, String>),
    /// A token in a file, read for each login.
    File(PathBuf),
    /// `sasl.oauthbearer.token.endpoint.url`, with client credentials.
    Http {
        /// Whom to ask.
        endpoint: Endpoint,
        /// `clientId`.
        client_id: String,
        /// `clientSecret`.
        client_secret: Secret,
        /// `scope`.
        scope: Option<String>,
        /// `extension_NAME`, by name.
        extensions: BTreeMap<String, String>,
    },
}

impl TokenCheck {
    /// For a listener's OAUTHBEARER.
    ///
    /// # Errors
    /// It could not be as it is asked for.
    pub fn read(values: &ListenerKeys<'_>, jaas: &JaasEntry) -> Result<Self, Refused> {
        let class = values.text_for_mechanism(OAUTHBEARER, "sasl.server.callback.handler.class");
        if !class
            .as_deref()
            .is_some_and(|class| SIGNED_VALIDATOR_CLASSES.contains(&class.trim()))
        {
            return UnsecuredValidator::from_options(&jaas.options)
                .map(Self::Unsecured)
                .map_err(Refused);
        }
        let keys = Keys(values);
        let millis = |key: &str| Ok(Duration::from_millis(keys.at_least(key, 1)?));
        Ok(Self::Signed(SignedTokens {
            jwks: keys.source("sasl.oauthbearer.jwks.endpoint.url", jaas)?,
            refresh: millis("sasl.oauthbearer.jwks.endpoint.refresh.ms")?,
            retry_backoff: millis("sasl.oauthbearer.jwks.endpoint.retry.backoff.ms")?,
            retry_backoff_max: millis("sasl.oauthbearer.jwks.endpoint.retry.backoff.max.ms")?,
            expected_audience: keys
                .text("sasl.oauthbearer.expected.audience")
                .unwrap_or_default()
                .split(',')
                .map(|one| one.trim().to_owned())
                .filter(|one| !one.is_empty())
                .collect(),
            expected_issuer: keys.text("sasl.oauthbearer.expected.issuer"),
            scope_claim_name: keys.claim("sasl.oauthbearer.scope.claim.name", "scope"),
            sub_claim_name: keys.claim("sasl.oauthbearer.sub.claim.name", "sub"),
            clock_skew_seconds: keys
                .at_least("sasl.oauthbearer.clock.skew.seconds", 0)
                .map(|seconds| i32::try_from(seconds).unwrap_or(i32::MAX))?,
        }))
    }
}

impl TokenSource {
    /// For the logins of brokers among themselves.
    ///
    /// # Errors
    /// Nobody could log in so.
    pub fn read(values: &ListenerKeys<'_>, jaas: &JaasEntry) -> Result<Self, Refused> {
        let class = values.text_for_mechanism(OAUTHBEARER, "sasl.login.callback.handler.class");
        if !class
            .as_deref()
            .is_some_and(|class| LOGIN_CLASSES.contains(&class.trim()))
        {
            return Ok(Self::Unsecured(jaas.options.clone()));
        }
        let endpoint = match Keys(values).source("sasl.oauthbearer.token.endpoint.url", jaas)? {
            Source::File(path) => return Ok(Self::File(path)),
            Source::Http(endpoint) => endpoint,
        };
        let option = |name: &str| {
            let value = jaas.options.get(name).map(|value| value.trim());
            value.filter(|value| !value.is_empty()).map(str::to_owned)
        };
        let required = |name: &str| {
            option(name).ok_or_else(|| Refused(format!("The OAuth configuration option {name} value must be non-null")))
        };
        let extensions = jaas.options.iter().filter_map(|(key, value)| {
            let name = key.strip_prefix("extension_")?;
            Some((name.to_owned(), value.clone()))
        });
        Ok(Self::Http {
            endpoint,
            client_id: required("clientId")?,
            client_secret: Secret::new(required("clientSecret")?),
            scope: option("scope"),
            extensions: extensions.collect(),
        })
    }
}

/// Keys, a mechanism's own before the listener's before everybody's.
struct Keys<'a>(&'a ListenerKeys<'a>);

impl Keys<'_> {
    /// What is set and not blank.
    fn text(&self, key: &str) -> Option<String> {
        let text = self
            .0
            .text_for_mechanism(OAUTHBEARER, key)
            .or_else(|| self.0.text(key))?;
        let text = text.trim();
        (!text.is_empty()).then(|| text.to_owned())
    }

    fn claim(&self, key: &str, default: &str) -> String {
        self.text(key).unwrap_or_else(|| default.to_owned())
    }

    fn at_least(&self, key: &str, least: u64) -> Result<u64, Refused> {
        let text = self.text(key);
        let value = match text.clone().or_else(|| default(key)) {
            Some(text) => number(key, &text).ok().and_then(|value| u64::try_from(value).ok()),
            None => None,
        };
        value.filter(|value| *value >= least).ok_or_else(|| {
            Refused(format!(
                "The OAuth configuration option {key} value must be at least {least}; it is {}",
                text.unwrap_or_default()
            ))
        })
    }

    fn millis(&self, key: &str) -> Option<Duration> {
        self.text(key)?.parse().ok().map(Duration::from_millis)
    }

    fn source(&self, key: &str, jaas: &JaasEntry) -> Result<Source, Refused> {
        let refuse = |what: &str| Err(Refused(format!("The OAuth configuration option {key} {what}")));
        let Some(url) = self.text(key) else {
            return refuse("value must be non-null");
        };
        let Some((protocol, rest)) = url.split_once(':') else {
            return refuse(&format!("contains a URL ({url}) that is missing the protocol"));
        };
        match protocol.to_lowercase().as_str() {
            "file" => {
                // `file:/path` or `file:///path`.
                let path = match rest.strip_prefix("//") {
                    Some(rest) => rest.find('/').map_or("", |at| &rest[at..]),
                    None => rest,
                };
                match path.is_empty() {
                    true => refuse(&format!("contains a URL ({url}) that names no file")),
                    false => Ok(Source::File(PathBuf::from(path))),
                }
            }
            "http" | "https" => {
                let option = |name: &str| jaas.options.get(name).cloned();
                let truststore = option("ssl.truststore.location").map(|location| {
                    let password = option("ssl.truststore.password").map(Secret::new);
                    (PathBuf::from(location), option("ssl.truststore.type"), password)
                });
                Ok(Source::Http(Endpoint {
                    truststore,
                    connect_timeout: self.millis("sasl.login.connect.timeout.ms"),
                    read_timeout: self.millis("sasl.login.read.timeout.ms"),
                    url,
                }))
            }
            _ => refuse(&format!(
                "contains a URL ({url}) that contains an invalid protocol ({protocol}); only \"http\", \"https\", and \
                 \"file\" protocol are supported"
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use broker_security::sasl::jaas;

    use super::*;

    const HANDLER: &str = "listener.name.out.oauthbearer.sasl.server.callback.handler.class";
    const URL: &str = "sasl.oauthbearer.jwks.endpoint.url";

    fn check_of(extra: &[(&str, &str)]) -> Result<TokenCheck, String> {
        let given = |key: &str| {
            let found = extra.iter().rev().find(|(name, _)| *name == key);
            found.map(|(_, value)| (*value).to_owned())
        };
        let line = "org.apache.kafka.common.security.oauthbearer.OAuthBearerLoginModule required;";
        let jaas = jaas::parse_line(line).unwrap();
        TokenCheck::read(&ListenerKeys::new("OUT", &given), &jaas).map_err(|error| error.to_string())
    }

    #[test]
    fn tokens_are_unsecured_unless_a_handler_is_named() {
        assert!(matches!(check_of(&[]), Ok(TokenCheck::Unsecured(_))));
        for class in SIGNED_VALIDATOR_CLASSES {
            let check = check_of(&[(HANDLER, class), (URL, "file:///k.json")]);
            assert!(matches!(check, Ok(TokenCheck::Signed(_))), "{class}");
        }
    }

    #[test]
    fn keys_are_in_a_file_or_at_a_server() {
        let check = |url: &str, expected: Result<&str, &str>| {
            let found = check_of(&[(HANDLER, SIGNED_VALIDATOR_CLASSES[0]), (URL, url)]);
            let found = found.map(|check| match check {
                TokenCheck::Signed(signed) => match signed.jwks {
                    Source::File(path) => path.display().to_string(),
                    Source::Http(endpoint) => endpoint.url,
                },
                TokenCheck::Unsecured(_) => panic!("not signed"),
            });
            match (found, expected) {
                (Ok(found), Ok(expected)) => assert_eq!(found, expected),
                (Err(found), Err(expected)) => assert!(found.contains(expected), "{found}"),
                (found, _) => panic!("{url}: {found:?}"),
            }
        };
        check("file:///a/b.json", Ok("/a/b.json"));
        check("file:/a/b.json", Ok("/a/b.json"));
        check("file://host/a.json", Ok("/a.json"));
        check("HTTPS://idp/keys", Ok("HTTPS://idp/keys"));
        check("http://idp:1/keys", Ok("http://idp:1/keys"));
        check("file://", Err("names no file"));
        check("ftp://x", Err("invalid protocol (ftp)"));
        check("nothing", Err("missing the protocol"));
        check("", Err("must be non-null"));
    }

    #[test]
    fn a_listeners_and_a_mechanisms_own_keys_count_first() {
        let signed = |extra: &[(&str, &str)]| {
            let base = [(HANDLER, SIGNED_VALIDATOR_CLASSES[1]), (URL, "file:/k")];
            let all: Vec<_> = base.iter().chain(extra).copied().collect();
            check_of(&all).map(|check| match check {
                TokenCheck::Signed(signed) => signed,
                TokenCheck::Unsecured(_) => panic!("not signed"),
            })
        };
        let defaults = signed(&[]).unwrap();
        assert_eq!(defaults.clock_skew_seconds, 30);
        assert_eq!(defaults.refresh, Duration::from_secs(3600));
        assert_eq!(
            (defaults.scope_claim_name.as_str(), defaults.sub_claim_name.as_str()),
            ("scope", "sub")
        );
        let own = signed(&[
            ("sasl.oauthbearer.expected.audience", "all"),
            ("listener.name.out.sasl.oauthbearer.expected.audience", "a, b"),
            ("sasl.oauthbearer.sub.claim.name", "user"),
            ("listener.name.out.oauthbearer.sasl.oauthbearer.sub.claim.name", "who"),
            ("sasl.oauthbearer.clock.skew.seconds", "0"),
        ]);
        let own = own.unwrap();
        assert_eq!(own.expected_audience, ["a", "b"]);
        assert_eq!(own.sub_claim_name, "who");
        assert_eq!(own.clock_skew_seconds, 0);
        assert!(signed(&[("sasl.oauthbearer.jwks.endpoint.refresh.ms", "0")]).is_err());
    }
}
