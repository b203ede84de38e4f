//! What the four requests about delegation tokens have in common.
//!
//! Source: Kafka 3.9 `KafkaApis.allowTokenRequests`.

use broker_security::principal::KafkaPrincipal;
use kafka_protocol::protocol::StrBytes;

use super::RequestContext;
use super::text::wire;
use crate::config::SecurityProtocol;

/// What stands for a time where there is none.
pub(super) const NO_TIME: i64 = -1;

/// Whether the client may ask for tokens at all: it must have proved who it is, and by more than a token.
pub(super) fn are_allowed(cx: &RequestContext) -> bool {
    let principal = cx.connection.principal();
    match cx.connection.security_protocol {
        SecurityProtocol::Plaintext => false,
        // Without a certificate of its own.
        SecurityProtocol::Ssl if **principal == KafkaPrincipal::anonymous() => false,
        _ => !principal.token_authenticated,
    }
}

/// A principal's type and name, from its text.
pub(super) fn parts(principal: &str) -> (StrBytes, StrBytes) {
    let (principal_type, name) = principal.split_once(':').unwrap_or(("", principal));
    (wire(principal_type), wire(name))
}

/// A principal of a request.
pub(super) fn principal(principal_type: &StrBytes, name: &StrBytes) -> KafkaPrincipal {
    KafkaPrincipal {
        principal_type: principal_type.to_string(),
        ..KafkaPrincipal::user(name.to_string())
    }
}
