//! DescribeDelegationToken (key 41, versions 0–3): the tokens that the client owns, may renew, or has rights on.
//!
//! Source: Kafka 3.9 `KafkaApis.handleDescribeTokensRequest`, `DelegationTokenManager.filterToken`.

use broker_security::delegation_token::{DelegationToken, is_owner_or_renewer};
use broker_security::principal::KafkaPrincipal;
use broker_wire::ErrorCode;
use bytes::Bytes;
use kafka_protocol::messages::describe_delegation_token_response::{
    DescribedDelegationToken, DescribedDelegationTokenRenewer,
};
use kafka_protocol::messages::{DescribeDelegationTokenRequest, DescribeDelegationTokenResponse};

use super::delegation_tokens::{are_allowed, parts, principal};
use super::text::wire;
use super::{Api, RequestContext, api};
use crate::security::{Operation, ResourceType};

pub(super) const API: Api = api!(DescribeDelegationToken, 0..=3, handle);

async fn handle(cx: &RequestContext, request: DescribeDelegationTokenRequest) -> DescribeDelegationTokenResponse {
    let answer = DescribeDelegationTokenResponse::default();
    if !are_allowed(cx) {
        return answer.with_error_code(ErrorCode::DelegationTokenRequestNotAllowed.code());
    }
    let Some(tokens) = cx.broker.tokens() else {
        return answer.with_error_code(ErrorCode::DelegationTokenAuthDisabled.code());
    };
    // No list is everybody; an empty one nobody.
    let owners: Option<Vec<KafkaPrincipal>> = request.owners.map(|owners| {
        let owners = owners.iter();
        owners
            .map(|owner| principal(&owner.principal_type, &owner.principal_name))
            .collect()
    });
    let requester = cx.connection.principal().clone();
    let found = tokens.cache().filtered(|token| {
        let is_asked_for = match &owners {
            Some(owners) => owners.iter().any(|owner| is_owner_or_renewer(token, owner)),
            None => true,
        };
        is_asked_for
            && (is_owner_or_renewer(token, &requester)
                || cx.authorize(Operation::Describe, ResourceType::DelegationToken, &token.token_id)
                || cx.authorize(Operation::DescribeTokens, ResourceType::User, &token.owner))
    });
    let version = cx.version();
    let found = found.iter().map(|(token, hmac)| described(token, hmac, version));
    answer.with_tokens(found.collect())
}

fn described(token: &DelegationToken, hmac: &[u8], version: i16) -> DescribedDelegationToken {
    let (owner_type, owner_name) = parts(&token.owner);
    let renewers = token.renewers.iter().map(|renewer| {
        let (principal_type, name) = parts(renewer);
        DescribedDelegationTokenRenewer::default()
            .with_principal_type(principal_type)
            .with_principal_name(name)
    });
    let described = DescribedDelegationToken::default()
        .with_principal_type(owner_type)
        .with_principal_name(owner_name)
        .with_issue_timestamp(token.issue_timestamp.0)
        .with_expiry_timestamp(token.expiry_timestamp.0)
        .with_max_timestamp(token.max_timestamp.0)
        .with_token_id(wire(&token.token_id))
        .with_hmac(Bytes::copy_from_slice(hmac))
        .with_renewers(renewers.collect());
    match version {
        ..3 => described,
        _ => {
            let (requester_type, requester_name) = parts(&token.token_requester);
            described
                .with_token_requester_principal_type(requester_type)
                .with_token_requester_principal_name(requester_name)
        }
    }
}
