//! Why a configuration is refused.

use core::fmt;
use std::path::PathBuf;

/// The broker does not start, or a change is not taken over, for this reason.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// One key has a value that it cannot have.
    #[error("Invalid value {value} for configuration {name}: {reason}")]
    Invalid {
        /// The key.
        name: String,
        /// What was written, `[hidden]` for a password.
        value: String,
        /// Why not.
        reason: String,
    },
    /// A key without a default is not set.
    #[error("Missing required configuration `{0}` which has no default value.")]
    Missing(&'static str),
    /// Keys contradict each other, or ask for what this broker is not.
    #[error("{0}")]
    Refused(String),
    /// Values contradict each other, in Kafka's words. Source: what `KafkaConfig.validateValues` requires.
    #[error("{0}")]
    Requirement(String),
    /// The properties file cannot be read.
    #[error("cannot read the properties file {}: {source}", path.display())]
    File {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The properties file is not a properties file.
    #[error("the properties file {} is malformed: {reason}", path.display())]
    Malformed {
        /// Which file.
        path: PathBuf,
        /// Where and why.
        reason: String,
    },
}

impl ConfigError {
    pub(super) fn invalid(name: &str, value: &str, reason: &dyn fmt::Display) -> Self {
        Self::Invalid {
            name: name.to_owned(),
            value: value.to_owned(),
            reason: reason.to_string(),
        }
    }
}
