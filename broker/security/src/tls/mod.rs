//! TLS as Kafka's `ssl.*` keys describe it, by rustls.
//!
//! [`TlsSettings`] are the keys of one listener, [`Material`] is what its key and trust stores hold, [`TlsServer`] and
//! [`TlsClient`] are what takes in and opens connections, both exchangeable at run time. [`PrincipalMapper`] makes a user
//! name of a certificate's subject. Opens no socket by itself; reads the files of the stores.
//!
//! Invariants: no secret is in an error, a log line or a `Debug` output; a new certificate counts only after everything
//! about it has been checked, and what is open goes on with the old one.
//!
//! Source: Kafka 3.9 `DefaultSslEngineFactory`, `SslFactory`, `SslPrincipalMapper`, `DefaultKafkaPrincipalBuilder`.

mod client;
mod distinguished_name;
mod error;
mod handshake;
mod jks;
mod keystore;
mod pem;
mod pkcs12;
mod principal_mapper;
mod reloadable;
mod server;
mod settings;
mod suites;
mod trust;

pub use distinguished_name::{Malformed as MalformedName, rfc2253, rfc2253_of};
pub use error::TlsError;
pub use handshake::{is_client_hello, speaks_plaintext};
pub use keystore::{CertificateSummary, KeyMaterial, KeyStoreSettings, Material, TrustStoreSettings};
pub use principal_mapper::{InvalidRule, NoMatchingRule, PrincipalMapper};
pub use reloadable::{Reloadable, TlsClient, TlsServer};
pub use settings::{ClientAuth, Secret, TlsSettings};
pub use suites::crypto_provider;

#[cfg(test)]
mod tests;
