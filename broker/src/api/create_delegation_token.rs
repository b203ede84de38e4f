//! CreateDelegationToken (key 38, versions 0–3): a credential that stands for the client, or for another (KIP-373).

use broker_security::principal::{KafkaPrincipal, USER_TYPE};
use broker_wire::ErrorCode;
use bytes::Bytes;
use kafka_protocol::messages::{CreateDelegationTokenRequest, CreateDelegationTokenResponse};
use model::Millis;

use super::delegation_tokens::{NO_TIME, are_allowed, principal};
use super::text::wire;
use super::{Api, RequestContext, api, error_code};
use crate::clock;
use crate::security::{Operation, ResourceType};

pub(super) const API: Api = api!(CreateDelegationToken, 0..=3, handle);

async fn handle(cx: &RequestContext, request: CreateDelegationTokenRequest) -> CreateDelegationTokenResponse {
    let requester = KafkaPrincipal {
        // It asks in its own name.
        token_authenticated: false,
        ..(**cx.connection.principal()).clone()
    };
    let owner = match &request.owner_principal_name {
        Some(name) if !name.is_empty() => {
            let owner_type = request.owner_principal_type.clone().unwrap_or_default();
            principal(&owner_type, name)
        }
        _ => requester.clone(),
    };
    let answer = CreateDelegationTokenResponse::default()
        .with_principal_type(wire(&owner.principal_type))
        .with_principal_name(wire(&owner.name))
        .with_issue_timestamp_ms(NO_TIME)
        .with_expiry_timestamp_ms(NO_TIME)
        .with_max_timestamp_ms(NO_TIME);
    let answer = match cx.version() {
        ..3 => answer,
        _ => answer
            .with_token_requester_principal_type(wire(&requester.principal_type))
            .with_token_requester_principal_name(wire(&requester.name)),
    };
    let renewers: Vec<KafkaPrincipal> = request
        .renewers
        .iter()
        .map(|renewer| principal(&renewer.principal_type, &renewer.principal_name))
        .collect();
    let refuse = |code: ErrorCode| answer.clone().with_error_code(code.code());
    if !are_allowed(cx) {
        return refuse(ErrorCode::DelegationTokenRequestNotAllowed);
    }
    if owner != requester && !cx.authorize(Operation::CreateTokens, ResourceType::User, &owner.to_string()) {
        return refuse(ErrorCode::DelegationTokenAuthorizationFailed);
    }
    if renewers.iter().any(|renewer| renewer.principal_type != USER_TYPE) {
        return refuse(ErrorCode::InvalidPrincipalType);
    }
    let Some(tokens) = cx.broker.tokens() else {
        return refuse(ErrorCode::DelegationTokenAuthDisabled);
    };
    let made = tokens.create(
        &owner,
        &requester,
        &renewers,
        Millis(request.max_lifetime_ms),
        clock::now(),
    );
    match made.await {
        Ok((token, hmac)) => answer
            .with_issue_timestamp_ms(token.issue_timestamp.0)
            .with_expiry_timestamp_ms(token.expiry_timestamp.0)
            .with_max_timestamp_ms(token.max_timestamp.0)
            .with_token_id(wire(&token.token_id))
            .with_hmac(Bytes::copy_from_slice(&hmac)),
        Err(error) => refuse(error_code::of_tokens(&error.into())),
    }
}
