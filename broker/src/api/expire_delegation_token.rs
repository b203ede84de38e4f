//! ExpireDelegationToken (key 40, versions 0–2): its owner or a renewer ends a token, at once or later.

use kafka_protocol::messages::{ExpireDelegationTokenRequest, ExpireDelegationTokenResponse};
use model::Millis;

use super::delegation_tokens::{NO_TIME, are_allowed};
use super::{Api, RequestContext, api, error_code};
use crate::clock;
use broker_wire::ErrorCode;

pub(super) const API: Api = api!(ExpireDelegationToken, 0..=2, handle);

async fn handle(cx: &RequestContext, request: ExpireDelegationTokenRequest) -> ExpireDelegationTokenResponse {
    let answer = ExpireDelegationTokenResponse::default();
    let refuse = |code: ErrorCode| {
        let answer = ExpireDelegationTokenResponse::default().with_expiry_timestamp_ms(NO_TIME);
        answer.with_error_code(code.code())
    };
    if !are_allowed(cx) {
        return refuse(ErrorCode::DelegationTokenRequestNotAllowed);
    }
    let Some(tokens) = cx.broker.tokens() else {
        return refuse(ErrorCode::DelegationTokenAuthDisabled);
    };
    let principal = cx.connection.principal().clone();
    let period = Millis(request.expiry_time_period_ms);
    match tokens.expire(&principal, &request.hmac, period, clock::now()).await {
        Ok(expiry) => answer.with_expiry_timestamp_ms(expiry.0),
        Err(error) => refuse(error_code::of_tokens(&error)),
    }
}
