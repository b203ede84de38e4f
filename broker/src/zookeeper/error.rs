//! Why an administrative wish was not fulfilled.

use broker_wire::ErrorCode;
use zk_schema::DecodeError;
use zk_schema_store::{FencedError, MultiError, StoreError};

/// A refusal in Kafka's words, or ZooKeeper did not do it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AdminError {
    /// The wish cannot be fulfilled.
    #[error("{message}")]
    Refused {
        /// What the client is answered.
        code: ErrorCode,
        /// And told.
        message: String,
    },
    /// Kafka fails here without a word: UNKNOWN_SERVER_ERROR.
    #[error("{0}")]
    Unexplained(String),
    /// It was written; that the cluster acts on it was not seen in time.
    #[error("timed out waiting for the cluster")]
    TimedOut,
    /// ZooKeeper refused, or has not answered.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A znode holds what nobody understands.
    #[error(transparent)]
    Znode(#[from] DecodeError),
}

impl AdminError {
    /// A refusal.
    pub fn refused(code: ErrorCode, message: impl Into<String>) -> Self {
        Self::Refused {
            code,
            message: message.into(),
        }
    }

    /// What the client is answered. Source: Kafka `Errors.forException`: what is no API error is the server's.
    pub fn code(&self) -> ErrorCode {
        match self {
            Self::Refused { code, .. } => *code,
            Self::TimedOut => ErrorCode::RequestTimedOut,
            Self::Unexplained(_) | Self::Store(_) | Self::Znode(_) => ErrorCode::UnknownServerError,
        }
    }

    /// What the client is told beside the code: nothing of the server's own troubles, as Kafka does.
    pub fn message(&self) -> Option<String> {
        match self {
            // Kafka leaves out what the code says already (`ApiError.fromThrowable`).
            Self::Refused {
                code: ErrorCode::ThrottlingQuotaExceeded,
                ..
            } => None,
            Self::Refused { message, .. } => Some(message.clone()),
            Self::Unexplained(_) | Self::TimedOut | Self::Store(_) | Self::Znode(_) => None,
        }
    }
}

impl From<MultiError> for AdminError {
    fn from(error: MultiError) -> Self {
        Self::Store(error.source)
    }
}

impl From<FencedError> for AdminError {
    fn from(error: FencedError) -> Self {
        match error {
            FencedError::ControllerMoved { .. } => Self::refused(ErrorCode::StaleControllerEpoch, error.to_string()),
            FencedError::Op(error) => Self::Store(error),
        }
    }
}

impl From<crate::config::ConfigError> for AdminError {
    /// Kafka answers INVALID_REQUEST for a broker's configuration and INVALID_CONFIG for a topic's (KAFKA-13609).
    fn from(error: crate::config::ConfigError) -> Self {
        Self::refused(ErrorCode::InvalidRequest, error.to_string())
    }
}

impl From<broker_log::config::ConfigError> for AdminError {
    fn from(error: broker_log::config::ConfigError) -> Self {
        Self::refused(ErrorCode::InvalidConfig, error.to_string())
    }
}
