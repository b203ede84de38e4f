//! Why TLS cannot be had from the keys as they are set.

use std::io;
use std::path::PathBuf;

/// What is wrong with `ssl.*` keys or the files that they name. In Kafka's words where Kafka has any; never with a secret.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// Keys that do not go together, or a value that is none.
    #[error("{0}")]
    Settings(String),
    /// A file cannot be read.
    #[error("cannot read the SSL {what} {}: {error}", path.display())]
    Read {
        /// `key store`, `trust store`.
        what: &'static str,
        /// Where it should be.
        path: PathBuf,
        /// The system's reason.
        error: io::Error,
    },
    /// A store was read and cannot be used: not such a file, a wrong password, nothing of use in it.
    #[error("Failed to load SSL {what} {origin}: {reason}")]
    Store {
        /// `key store`, `trust store`.
        what: &'static str,
        /// The file, or the key that holds it.
        origin: String,
        /// What is wrong with it.
        reason: String,
    },
    /// rustls does not take what was loaded.
    #[error("cannot use {what}: {reason}")]
    Unusable {
        /// `the private key`, `the certificates`.
        what: &'static str,
        /// Why not.
        reason: String,
    },
    /// A change that Kafka does not allow while the listener runs.
    #[error("Validation of dynamic config update of SSLFactory failed: {0}")]
    Change(String),
}
