//! SaslAuthenticate (key 36, versions 0–2) after the login, or where there is none: refused. Before it, it is
//! `net::authentication` that answers.
//!
//! Source: Kafka 3.9 `KafkaApis.handleSaslAuthenticateRequest`.

use broker_wire::ErrorCode;
use kafka_protocol::messages::{SaslAuthenticateRequest, SaslAuthenticateResponse};

use super::text::wire;
use super::{Api, RequestContext, api};

pub(super) const API: Api = api!(SaslAuthenticate, 0..=2, handle);

async fn handle(_cx: &RequestContext, _request: SaslAuthenticateRequest) -> SaslAuthenticateResponse {
    SaslAuthenticateResponse::default()
        .with_error_code(ErrorCode::IllegalSaslState as i16)
        .with_error_message(Some(wire(
            "SaslAuthenticate request received after successful authentication",
        )))
}
