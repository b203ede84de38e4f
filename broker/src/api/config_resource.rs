//! What the requests about configurations share: kinds of resources, and why one is refused.

use broker_wire::ErrorCode;
use model::BrokerId;

use super::RequestContext;
use crate::security::{Operation, ResourceType};
use crate::zookeeper::AdminError;

/// What a configuration is for. Source: Kafka 3.9 `ConfigResource.Type`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ResourceKind {
    /// 2: overrides of a topic.
    Topic,
    /// 4: a broker, or with an empty name all of them.
    Broker,
    /// 8: levels of a broker's loggers (KIP-412).
    BrokerLogger,
    /// 16: subscriptions to clients' metrics; only KRaft clusters have them.
    ClientMetrics,
    /// Anything else.
    Unknown,
}

impl ResourceKind {
    pub(super) fn of(wire: i8) -> Self {
        match wire {
            2 => Self::Topic,
            4 => Self::Broker,
            8 => Self::BrokerLogger,
            16 => Self::ClientMetrics,
            _ => Self::Unknown,
        }
    }

    /// Kafka's word, in messages.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Topic => "TOPIC",
            Self::Broker => "BROKER",
            Self::BrokerLogger => "BROKER_LOGGER",
            Self::ClientMetrics => "CLIENT_METRICS",
            Self::Unknown => "UNKNOWN",
        }
    }
}

/// Why a resource is answered with an error. Source: Kafka 3.9 `ApiError`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    pub(super) code: ErrorCode,
    pub(super) message: Option<String>,
}

impl Refusal {
    pub(super) fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self {
            code,
            message: Some(message.into()),
        }
    }

    /// The most common one.
    pub(super) fn invalid_request(message: impl Into<String>) -> Self {
        Self::new(ErrorCode::InvalidRequest, message)
    }

    /// What Kafka answers where it throws something that is no API error: the client is not told what.
    pub(super) fn unknown() -> Self {
        Self {
            code: ErrorCode::UnknownServerError,
            message: None,
        }
    }
}

impl From<AdminError> for Refusal {
    fn from(error: AdminError) -> Self {
        if let AdminError::Store(_) | AdminError::Znode(_) = error {
            tracing::error!(%error, "a configuration could not be read or written");
        }
        Self {
            code: error.code(),
            message: error.message(),
        }
    }
}

/// Whether the client may do this to the configuration of the resource; `with_message` if Kafka says more than the code.
///
/// # Errors
/// TOPIC_AUTHORIZATION_FAILED, CLUSTER_AUTHORIZATION_FAILED. Source: Kafka 3.9 `KafkaApis.configsAuthorizationApiError`,
/// `ConfigHelper.handleDescribeConfigsRequest`.
pub(super) fn authorize(
    cx: &RequestContext,
    operation: Operation,
    kind: i8,
    name: &str,
    with_message: bool,
) -> Result<(), Refusal> {
    let (allowed, code, message) = match ResourceKind::of(kind) {
        ResourceKind::Topic => (
            cx.authorize(operation, ResourceType::Topic, name),
            ErrorCode::TopicAuthorizationFailed,
            "Topic authorization failed.",
        ),
        ResourceKind::Broker | ResourceKind::BrokerLogger | ResourceKind::ClientMetrics => (
            cx.authorize_cluster(operation),
            ErrorCode::ClusterAuthorizationFailed,
            "Cluster authorization failed.",
        ),
        // Refused for what it is.
        ResourceKind::Unknown => return Ok(()),
    };
    match allowed {
        true => Ok(()),
        false => Err(Refusal {
            code,
            message: with_message.then(|| message.to_owned()),
        }),
    }
}

/// Checks that the named broker is this one; `noun` is what Kafka calls it at this place.
pub(super) fn check_broker(id: BrokerId, name: &str, noun: &str, expected: &str) -> Result<(), Refusal> {
    let number = name
        .parse::<i32>()
        .map_err(|_| Refusal::invalid_request(format!("{noun} id must be an integer, but it is: {name}")))?;
    if number == id.0 {
        Ok(())
    } else {
        Err(Refusal::invalid_request(expected))
    }
}
