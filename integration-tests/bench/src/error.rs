//! Why a scenario has no figures.

use std::io;

/// One failure, with what was being done.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BenchError {
    /// The system refused.
    #[error("{what}: {source}")]
    Io {
        /// What was being done.
        what: String,
        /// The system's reason.
        source: io::Error,
    },
    /// A broker answered with one of Kafka's error codes.
    #[error("{what}: the broker answers with error {code}")]
    Refused {
        /// What was asked.
        what: String,
        /// Kafka's code.
        code: i16,
    },
    /// An answer that does not look like one.
    #[error("{0}")]
    Malformed(String),
    /// It did not happen in time.
    #[error("{what}: not within {seconds} s{}", last.as_deref().map(|it| format!("; last: {it}")).unwrap_or_default())]
    Late {
        /// What was waited for.
        what: String,
        /// How long.
        seconds: u64,
        /// The last thing that was seen.
        last: Option<String>,
    },
    /// A promise was broken: acknowledged records are missing.
    #[error("{0}")]
    Broken(String),
}

/// What a step of a scenario gives.
pub(crate) type Result<T> = std::result::Result<T, BenchError>;

/// Says what was being done when the system refused.
pub(crate) trait Doing<T> {
    /// `what` names the attempt.
    fn doing(self, what: impl FnOnce() -> String) -> Result<T>;
}

impl<T> Doing<T> for io::Result<T> {
    fn doing(self, what: impl FnOnce() -> String) -> Result<T> {
        self.map_err(|source| BenchError::Io { what: what(), source })
    }
}
