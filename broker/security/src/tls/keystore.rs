//! Keys and certificates as they stand in files: which formats there are, and what comes out of them.
//!
//! A store that is called `JKS` or `PKCS12` is read as what it is, as Java does since version 9. The first entry with a
//! private key counts.
//!
//! Source: Kafka 3.9 `DefaultSslEngineFactory.SecurityStore`; Java `KeyStore`, `TrustStoreUtil`.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use rustls::pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer};
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

use super::distinguished_name::rfc2253;
use super::error::TlsError;
use super::settings::{Secret, TlsSettings};
use super::{jks, pem, pkcs12};

/// How large a store may be: a bundle of all public authorities has a quarter of a megabyte.
const STORE_BYTES_MAX: u64 = 16 << 20;

/// `ssl.keystore.type`, `ssl.truststore.type`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoreType {
    /// Java's own.
    Jks,
    /// PKCS#12.
    Pkcs12,
    /// Text.
    Pem,
}

impl StoreType {
    /// Reads the value of `key`; Java's default is Kafka's.
    pub(super) fn read(key: &str, text: Option<String>) -> Result<Self, TlsError> {
        match text.as_deref().map(str::to_uppercase).as_deref() {
            None | Some("JKS") => Ok(Self::Jks),
            Some("PKCS12") => Ok(Self::Pkcs12),
            Some("PEM") => Ok(Self::Pem),
            Some(_) => Err(TlsError::Settings(format!(
                "Invalid value {} for configuration {key}: JKS, PKCS12 and PEM are read",
                text.unwrap_or_default()
            ))),
        }
    }
}

impl fmt::Display for StoreType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Jks => "JKS",
            Self::Pkcs12 => "PKCS12",
            Self::Pem => "PEM",
        })
    }
}

/// Where our key is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyStoreSettings {
    /// File or text.
    pub source: StoreSource,
    /// `ssl.key.password`, where it is not the store's.
    pub key_password: Option<Secret>,
}

/// A key store's file, or what would be in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoreSource {
    /// `ssl.keystore.location`.
    File {
        /// Its format.
        of: StoreType,
        /// Where it is.
        path: PathBuf,
        /// `ssl.keystore.password`; never with PEM.
        password: Option<Secret>,
    },
    /// PEM in the configuration itself.
    Inline {
        /// `ssl.keystore.key`.
        key: Secret,
        /// `ssl.keystore.certificate.chain`.
        chain: Secret,
    },
}

/// Where the certificates are that we trust.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TrustStoreSettings {
    /// `ssl.truststore.location`.
    File {
        /// Its format.
        of: StoreType,
        /// Where it is.
        path: PathBuf,
        /// `ssl.truststore.password`; without one its integrity is not checked.
        password: Option<Secret>,
    },
    /// `ssl.truststore.certificates`: PEM in the configuration itself.
    Inline(Secret),
}

impl KeyStoreSettings {
    /// A store in a file, for those who have other keys for it (`zookeeper.ssl.keystore.*`).
    ///
    /// # Errors
    /// `of` is no type that is read here.
    pub fn file(of: Option<String>, path: PathBuf, password: Option<Secret>) -> Result<Self, TlsError> {
        let of = StoreType::read("ssl.keystore.type", of.or_else(|| type_of(&path)))?;
        Ok(Self {
            key_password: password.clone().filter(|_| of == StoreType::Pem),
            source: StoreSource::File {
                of,
                path,
                password: password.filter(|_| of != StoreType::Pem),
            },
        })
    }

    /// Reads the key and its certificates.
    ///
    /// # Errors
    /// No file, wrong password, no key in it.
    pub fn load(&self) -> Result<KeyMaterial, TlsError> {
        let key_password = self.key_password.as_ref();
        let (loaded, origin) = match &self.source {
            StoreSource::Inline { key, chain } => (
                pem::key_material(key.reveal(), chain.reveal(), key_password),
                "ssl.keystore.key".to_owned(),
            ),
            StoreSource::File { of, path, password } => {
                let bytes = read("key store", path)?;
                let loaded = match of {
                    StoreType::Pem => {
                        let text = String::from_utf8_lossy(&bytes);
                        pem::key_material(&text, &text, key_password)
                    }
                    _ if jks::is_jks(&bytes) => jks::key_material(&bytes, password.as_ref(), key_password),
                    _ => pkcs12::key_material(&bytes, password.as_ref()),
                };
                (loaded, format!("{} of type {of}", path.display()))
            }
        };
        loaded.map_err(|reason| TlsError::Store {
            what: "key store",
            origin,
            reason,
        })
    }
}

impl TrustStoreSettings {
    /// A store in a file, for those who have other keys for it (`zookeeper.ssl.truststore.*`).
    ///
    /// # Errors
    /// `of` is no type that is read here.
    pub fn file(of: Option<String>, path: PathBuf, password: Option<Secret>) -> Result<Self, TlsError> {
        Ok(Self::File {
            of: StoreType::read("ssl.truststore.type", of.or_else(|| type_of(&path)))?,
            path,
            password,
        })
    }

    /// The certificates that the system trusts; perhaps none.
    pub fn of_the_system() -> Vec<CertificateDer<'static>> {
        rustls_native_certs::load_native_certs().certs
    }

    /// The certificates that are trusted as PEM, for libraries that take nothing else; without a store the system's.
    ///
    /// # Errors
    /// As [`TrustStoreSettings::load`]; or the system trusts none.
    pub fn trusted_pem(store: Option<&Self>) -> Result<String, TlsError> {
        let trusted = match store {
            Some(store) => store.load()?,
            None => Self::of_the_system(),
        };
        if trusted.is_empty() {
            return Err(TlsError::Settings(
                "no trust store is specified, and the system trusts no certificate".into(),
            ));
        }
        Ok(trusted.iter().map(|der| pem::encode("CERTIFICATE", der)).collect())
    }

    /// Reads the certificates; at least one.
    ///
    /// # Errors
    /// No file, wrong password, nothing in it.
    pub fn load(&self) -> Result<Vec<CertificateDer<'static>>, TlsError> {
        let (loaded, origin) = match self {
            Self::Inline(text) => (
                pem::certificates(text.reveal()),
                "ssl.truststore.certificates".to_owned(),
            ),
            Self::File { of, path, password } => {
                let bytes = read("trust store", path)?;
                let loaded = match of {
                    StoreType::Pem => pem::certificates(&String::from_utf8_lossy(&bytes)),
                    _ if jks::is_jks(&bytes) => jks::trusted(&bytes, password.as_ref()),
                    _ => pkcs12::trusted(&bytes, password.as_ref()),
                };
                (loaded, format!("{} of type {of}", path.display()))
            }
        };
        loaded.map_err(|reason| TlsError::Store {
            what: "trust store",
            origin,
            reason,
        })
    }
}

/// ZooKeeper's clients tell the type of a store by the ending of its name, if it is not set.
fn type_of(path: &Path) -> Option<String> {
    match path.extension()?.to_str()? {
        "jks" => Some("JKS".into()),
        "pem" => Some("PEM".into()),
        "p12" => Some("PKCS12".into()),
        _ => None,
    }
}

/// A private key with its certificates, the key's own first.
pub struct KeyMaterial {
    /// The entry's name; `kafka` for PEM, as in Kafka.
    pub alias: String,
    /// The key.
    pub key: PrivateKeyDer<'static>,
    /// At least one.
    pub chain: Vec<CertificateDer<'static>>,
}

impl fmt::Debug for KeyMaterial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyMaterial")
            .field("alias", &self.alias)
            .field("certificates", &self.chain.len())
            .finish_non_exhaustive()
    }
}

impl KeyMaterial {
    /// The key's own certificate.
    pub fn certificate(&self) -> &CertificateDer<'static> {
        &self.chain[0]
    }

    /// What is told of its certificate.
    ///
    /// # Errors
    /// It is no certificate.
    pub fn summary(&self) -> Result<CertificateSummary, TlsError> {
        CertificateSummary::read(self.certificate())
    }

    /// The key as PEM, for libraries that take nothing else. Secret.
    pub fn key_pem(&self) -> Secret {
        let label = match &self.key {
            PrivateKeyDer::Pkcs1(_) => "RSA PRIVATE KEY",
            PrivateKeyDer::Sec1(_) => "EC PRIVATE KEY",
            _ => "PRIVATE KEY",
        };
        Secret::new(pem::encode(label, self.key.secret_der()))
    }

    /// The certificates as PEM.
    pub fn chain_pem(&self) -> String {
        self.chain.iter().map(|der| pem::encode("CERTIFICATE", der)).collect()
    }
}

/// What people want to know of a certificate, and what a new one must have in common with the old.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateSummary {
    /// As Java writes it (RFC 2253).
    pub subject: String,
    /// Alternative names, sorted: `DNS:a`, `IP:127.0.0.1`.
    pub alternative_names: Vec<String>,
    /// Valid from, in seconds since 1970.
    pub not_before: i64,
    /// Valid to, in seconds since 1970.
    pub not_after: i64,
    /// The same as text.
    pub not_after_text: String,
}

impl CertificateSummary {
    /// Reads a certificate.
    ///
    /// # Errors
    /// It is none.
    pub fn read(der: &CertificateDer<'_>) -> Result<Self, TlsError> {
        let unusable = |reason: String| TlsError::Unusable {
            what: "the certificate",
            reason,
        };
        let (_, certificate) = X509Certificate::from_der(der).map_err(|error| unusable(error.to_string()))?;
        let names = certificate
            .subject_alternative_name()
            .map_err(|error| unusable(error.to_string()))?;
        let mut alternative_names: Vec<_> = names
            .iter()
            .flat_map(|extension| &extension.value.general_names)
            .map(shown)
            .collect();
        alternative_names.sort();
        let validity = certificate.validity();
        Ok(Self {
            subject: rfc2253(certificate.subject().as_raw()).map_err(|error| unusable(error.to_string()))?,
            alternative_names,
            not_before: validity.not_before.timestamp(),
            not_after: validity.not_after.timestamp(),
            not_after_text: validity.not_after.to_string(),
        })
    }
}

fn shown(name: &GeneralName<'_>) -> String {
    match name {
        GeneralName::DNSName(name) => format!("DNS:{name}"),
        GeneralName::IPAddress(bytes) => match (<[u8; 4]>::try_from(*bytes), <[u8; 16]>::try_from(*bytes)) {
            (Ok(v4), _) => format!("IP:{}", std::net::IpAddr::from(v4)),
            (_, Ok(v6)) => format!("IP:{}", std::net::IpAddr::from(v6)),
            _ => format!("IP:{bytes:02x?}"),
        },
        other => format!("{other}"),
    }
}

/// Everything that the keys of a listener name, read.
#[derive(Debug)]
pub struct Material {
    /// Our key.
    pub keys: Option<KeyMaterial>,
    /// What we trust; `None`: what the system trusts.
    pub trusted: Option<Vec<CertificateDer<'static>>>,
    /// What is revoked.
    pub revocation_lists: Vec<CertificateRevocationListDer<'static>>,
    /// How the files were when they were read.
    pub(super) stamps: Vec<Stamp>,
}

impl Material {
    /// Reads the files.
    ///
    /// # Errors
    /// One of them cannot be used.
    pub fn load(settings: &TlsSettings) -> Result<Self, TlsError> {
        // Before the files are read, so that a change meanwhile is seen the next time.
        let stamps = Stamp::of(settings);
        let revocation_lists = match &settings.crl_location {
            None => Vec::new(),
            Some(path) => {
                let bytes = read("revocation lists", path)?;
                pem::revocation_lists(&String::from_utf8_lossy(&bytes)).map_err(|reason| TlsError::Store {
                    what: "revocation lists",
                    origin: path.display().to_string(),
                    reason,
                })?
            }
        };
        Ok(Self {
            keys: settings.keystore.as_ref().map(KeyStoreSettings::load).transpose()?,
            trusted: settings.truststore.as_ref().map(TrustStoreSettings::load).transpose()?,
            revocation_lists,
            stamps,
        })
    }
}

/// A file at one moment, as far as its directory entry tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Stamp {
    path: PathBuf,
    seen: Option<(SystemTime, u64)>,
}

impl Stamp {
    /// All files that these settings name.
    pub(super) fn of(settings: &TlsSettings) -> Vec<Self> {
        let keystore = settings.keystore.as_ref().and_then(|store| match &store.source {
            StoreSource::File { path, .. } => Some(path),
            StoreSource::Inline { .. } => None,
        });
        let truststore = settings.truststore.as_ref().and_then(|store| match store {
            TrustStoreSettings::File { path, .. } => Some(path),
            TrustStoreSettings::Inline(_) => None,
        });
        let paths = [keystore, truststore, settings.crl_location.as_ref()];
        paths.into_iter().flatten().map(|path| Self::now(path)).collect()
    }

    fn now(path: &Path) -> Self {
        let seen = std::fs::metadata(path)
            .and_then(|metadata| Ok((metadata.modified()?, metadata.len())))
            .ok();
        Self {
            path: path.to_owned(),
            seen,
        }
    }
}

fn read(what: &'static str, path: &Path) -> Result<Vec<u8>, TlsError> {
    let failed = |error| TlsError::Read {
        what,
        path: path.to_owned(),
        error,
    };
    let len = std::fs::metadata(path).map_err(failed)?.len();
    if len > STORE_BYTES_MAX {
        return Err(failed(std::io::Error::other(format!(
            "it has {len} bytes, which no store has"
        ))));
    }
    std::fs::read(path).map_err(failed)
}

#[cfg(test)]
#[path = "keystore_tests.rs"]
mod tests;
