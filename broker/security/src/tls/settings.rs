//! The `ssl.*` keys as one listener sees them, read and checked for what can be told without their files.
//!
//! Source: Kafka 3.9 `SslConfigs`, `BrokerSecurityConfigs`, `DefaultSslEngineFactory.configure`.

use std::fmt;
use std::path::PathBuf;

use super::error::TlsError;
use super::keystore::{KeyStoreSettings, StoreSource, StoreType, TrustStoreSettings};
use super::suites;

/// A password or a private key; shows nothing of itself.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Hides a text.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text itself.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[hidden]")
    }
}

/// `ssl.client.auth`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientAuth {
    /// Clients are not asked for a certificate.
    None,
    /// Clients may show one; one that is shown must be good.
    Requested,
    /// Clients must show one.
    Required,
}

/// The `ssl.*` keys of one listener.
#[derive(Clone, Debug, PartialEq)]
pub struct TlsSettings {
    /// `ssl.keystore.*`, `ssl.key.password`; `None`: no key of our own.
    pub keystore: Option<KeyStoreSettings>,
    /// `ssl.truststore.*`; `None`: the certificates that the system trusts.
    pub truststore: Option<TrustStoreSettings>,
    /// `ottla.ssl.crl.location`: a PEM file of revocation lists.
    pub crl_location: Option<PathBuf>,
    /// `ssl.enabled.protocols` that exist here: `TLSv1.2`, `TLSv1.3`.
    pub protocols: Vec<&'static rustls::SupportedProtocolVersion>,
    /// `ssl.cipher.suites` that exist here; empty: all.
    pub cipher_suites: Vec<rustls::SupportedCipherSuite>,
    /// `ssl.client.auth`.
    pub client_auth: ClientAuth,
    /// `ssl.endpoint.identification.algorithm` is `https`: the server must have the name that was connected to.
    pub check_host: bool,
    /// `ssl.allow.dn.changes`.
    pub allow_dn_changes: bool,
    /// `ssl.allow.san.changes`.
    pub allow_san_changes: bool,
    /// Protocols and suites that are asked for and not there, to be named in a warning.
    pub ignored: Vec<String>,
}

impl TlsSettings {
    /// Reads the keys; `value` gives what is set, the listener's own before everybody's, and nothing for what is not.
    ///
    /// # Errors
    /// A value that is none, or keys that do not go together.
    pub fn read(value: impl Fn(&str) -> Option<String>) -> Result<Self, TlsError> {
        let text = |key: &str| {
            value(key)
                .map(|text| text.trim().to_owned())
                .filter(|text| !text.is_empty())
        };
        let secret = |key: &str| value(key).filter(|text| !text.is_empty()).map(Secret::new);
        let boolean = |key: &str| match text(key).as_deref() {
            None => Ok(false),
            Some(text) if text.eq_ignore_ascii_case("true") => Ok(true),
            Some(text) if text.eq_ignore_ascii_case("false") => Ok(false),
            Some(text) => Err(invalid(key, text)),
        };
        if let Some(protocol) = text("ssl.protocol")
            && !suites::is_protocol_name(&protocol)
        {
            return Err(invalid("ssl.protocol", &protocol));
        }
        let mut ignored = Vec::new();
        let protocols = text("ssl.enabled.protocols").unwrap_or_else(|| "TLSv1.2,TLSv1.3".to_owned());
        let protocols = suites::protocols(&protocols, &mut ignored)?;
        let cipher_suites = match text("ssl.cipher.suites") {
            Some(names) => suites::cipher_suites(&names, &protocols, &mut ignored)?,
            None => Vec::new(),
        };
        let client_auth = match text("ssl.client.auth").map(|text| text.to_lowercase()).as_deref() {
            None | Some("none") => ClientAuth::None,
            Some("requested") => ClientAuth::Requested,
            Some("required") => ClientAuth::Required,
            Some(other) => return Err(invalid("ssl.client.auth", other)),
        };
        // Unlike other keys, set to nothing means something: no check.
        let check_host = match value("ssl.endpoint.identification.algorithm").as_deref().map(str::trim) {
            Some("") => false,
            None => true,
            Some(algorithm) if algorithm.eq_ignore_ascii_case("https") => true,
            Some(other) => return Err(invalid("ssl.endpoint.identification.algorithm", other)),
        };
        Ok(Self {
            keystore: key_store(
                StoreType::read("ssl.keystore.type", text("ssl.keystore.type"))?,
                text("ssl.keystore.location"),
                secret("ssl.keystore.password"),
                secret("ssl.key.password"),
                secret("ssl.keystore.key"),
                secret("ssl.keystore.certificate.chain"),
            )?,
            truststore: trust_store(
                StoreType::read("ssl.truststore.type", text("ssl.truststore.type"))?,
                text("ssl.truststore.location"),
                secret("ssl.truststore.password"),
                secret("ssl.truststore.certificates"),
            )?,
            crl_location: text("ottla.ssl.crl.location").map(PathBuf::from),
            protocols,
            cipher_suites,
            client_auth,
            check_host,
            allow_dn_changes: boolean("ssl.allow.dn.changes")?,
            allow_san_changes: boolean("ssl.allow.san.changes")?,
            ignored,
        })
    }
}

fn invalid(key: &str, value: &str) -> TlsError {
    TlsError::Settings(format!("Invalid value {value} for configuration {key}"))
}

/// Source: Kafka 3.9 `DefaultSslEngineFactory.createKeystore`, with its words.
fn key_store(
    of: StoreType,
    location: Option<String>,
    password: Option<Secret>,
    key_password: Option<Secret>,
    key: Option<Secret>,
    chain: Option<Secret>,
) -> Result<Option<KeyStoreSettings>, TlsError> {
    let refuse = |reason: String| Err(TlsError::Settings(reason));
    let source = match (key, chain, location, password) {
        (Some(_), ..) if of != StoreType::Pem => {
            return refuse(format!(
                "SSL private key can be specified only for PEM, but key store type is {of}."
            ));
        }
        (Some(_), None, ..) => {
            return refuse("SSL private key is specified, but certificate chain is not specified.".into());
        }
        (Some(_), Some(_), Some(_), _) => {
            return refuse("Both SSL key store location and separate private key are specified.".into());
        }
        (Some(_), Some(_), None, Some(_)) => {
            return refuse(
                "SSL key store password cannot be specified with PEM format, only key password may be specified."
                    .into(),
            );
        }
        (Some(key), Some(chain), None, None) => StoreSource::Inline { key, chain },
        (None, Some(_), ..) => {
            return refuse("SSL certificate chain is specified, but private key is not specified".into());
        }
        (None, None, None, None) => return Ok(None),
        (None, None, None, Some(_)) => {
            return refuse("SSL key store is not specified, but key store password is specified.".into());
        }
        (None, None, Some(_), Some(_)) if of == StoreType::Pem => {
            return refuse(
                "SSL key store password cannot be specified with PEM format, only key password may be specified".into(),
            );
        }
        (None, None, Some(_), None) if of != StoreType::Pem => {
            return refuse("SSL key store is specified, but key store password is not specified.".into());
        }
        (None, None, Some(location), password) => StoreSource::File {
            of,
            path: location.into(),
            password,
        },
    };
    Ok(Some(KeyStoreSettings { source, key_password }))
}

/// Source: Kafka 3.9 `DefaultSslEngineFactory.createTruststore`, with its words.
fn trust_store(
    of: StoreType,
    location: Option<String>,
    password: Option<Secret>,
    certificates: Option<Secret>,
) -> Result<Option<TrustStoreSettings>, TlsError> {
    let refuse = |reason: String| Err(TlsError::Settings(reason));
    match (certificates, location, password) {
        (Some(_), ..) if of != StoreType::Pem => refuse(format!(
            "SSL trust store certs can be specified only for PEM, but trust store type is {of}."
        )),
        (Some(_), Some(_), _) => {
            refuse("Both SSL trust store location and separate trust certificates are specified.".into())
        }
        (Some(_), None, Some(_)) => refuse("SSL trust store password cannot be specified for PEM format.".into()),
        (Some(certificates), None, None) => Ok(Some(TrustStoreSettings::Inline(certificates))),
        (None, Some(_), Some(_)) if of == StoreType::Pem => {
            refuse("SSL trust store password cannot be specified for PEM format.".into())
        }
        (None, None, Some(_)) => {
            refuse("SSL trust store is not specified, but trust store password is specified.".into())
        }
        (None, None, None) => Ok(None),
        (None, Some(location), password) => Ok(Some(TrustStoreSettings::File {
            of,
            path: location.into(),
            password,
        })),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(pairs: &[(&str, &str)]) -> Result<TlsSettings, String> {
        let found = |key: &str| {
            let pair = pairs.iter().find(|(name, _)| *name == key);
            pair.map(|(_, value)| (*value).to_owned())
        };
        TlsSettings::read(found).map_err(|error| error.to_string())
    }

    #[test]
    fn keys_that_do_not_go_together_are_refused_in_kafkas_words() {
        let check = |pairs: &[(&str, &str)], says: &str| match says {
            "" => assert!(read(pairs).is_ok(), "{pairs:?}: {:?}", read(pairs)),
            says => assert_eq!(read(pairs).unwrap_err(), says, "{pairs:?}"),
        };
        check(&[], "");
        check(&[("ssl.keystore.location", "/k"), ("ssl.keystore.password", "x")], "");
        check(&[("ssl.keystore.type", "PEM"), ("ssl.keystore.location", "/k")], "");
        check(
            &[("ssl.keystore.location", "/k")],
            "SSL key store is specified, but key store password is not specified.",
        );
        check(
            &[("ssl.keystore.password", "x")],
            "SSL key store is not specified, but key store password is specified.",
        );
        check(
            &[("ssl.keystore.key", "k"), ("ssl.keystore.certificate.chain", "c")],
            "SSL private key can be specified only for PEM, but key store type is JKS.",
        );
        check(
            &[("ssl.keystore.type", "PEM"), ("ssl.keystore.key", "k")],
            "SSL private key is specified, but certificate chain is not specified.",
        );
        check(
            &[("ssl.keystore.certificate.chain", "c")],
            "SSL certificate chain is specified, but private key is not specified",
        );
        check(
            &[
                ("ssl.keystore.type", "PEM"),
                ("ssl.keystore.location", "/k"),
                ("ssl.keystore.password", "x"),
            ],
            "SSL key store password cannot be specified with PEM format, only key password may be specified",
        );
        check(
            &[("ssl.truststore.password", "x")],
            "SSL trust store is not specified, but trust store password is specified.",
        );
        check(
            &[("ssl.truststore.certificates", "c")],
            "SSL trust store certs can be specified only for PEM, but trust store type is JKS.",
        );
        check(&[("ssl.truststore.location", "/t")], "");
        check(
            &[("ssl.keystore.type", "BKS")],
            "Invalid value BKS for configuration ssl.keystore.type: JKS, PKCS12 and PEM are read",
        );
        check(
            &[("ssl.client.auth", "x")],
            "Invalid value x for configuration ssl.client.auth",
        );
        check(
            &[("ssl.protocol", "TLSv9")],
            "Invalid value TLSv9 for configuration ssl.protocol",
        );
        check(
            &[("ssl.endpoint.identification.algorithm", "ldap")],
            "Invalid value ldap for configuration ssl.endpoint.identification.algorithm",
        );
    }

    #[test]
    fn a_host_is_checked_unless_the_algorithm_is_set_to_nothing() {
        let check_host = |pairs: &[(&str, &str)]| read(pairs).unwrap().check_host;
        assert!(check_host(&[]));
        assert!(check_host(&[("ssl.endpoint.identification.algorithm", "HTTPS")]));
        assert!(!check_host(&[("ssl.endpoint.identification.algorithm", "")]));
    }

    #[test]
    fn nothing_secret_is_shown() {
        let settings = read(&[
            ("ssl.keystore.location", "/k"),
            ("ssl.keystore.password", "hunter2"),
            ("ssl.key.password", "hunter3"),
        ]);
        let shown = format!("{settings:?}");
        assert!(shown.contains("[hidden]") && !shown.contains("hunter"), "{shown}");
    }
}
