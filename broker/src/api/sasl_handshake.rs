//! SaslHandshake (key 17, versions 0–1) after the login, or where there is none: refused. Before it, it is
//! `net::authentication` that answers.
//!
//! Source: Kafka 3.9 `KafkaApis.handleSaslHandshakeRequest`.

use broker_wire::ErrorCode;
use kafka_protocol::messages::{SaslHandshakeRequest, SaslHandshakeResponse};

use super::{Api, RequestContext, api};

pub(super) const API: Api = api!(SaslHandshake, 0..=1, handle);

async fn handle(_cx: &RequestContext, _request: SaslHandshakeRequest) -> SaslHandshakeResponse {
    SaslHandshakeResponse::default().with_error_code(ErrorCode::IllegalSaslState as i16)
}
