//! CreateAcls (key 30, versions 0–3): new access control lists. Served by any broker: it is a write to ZooKeeper.
//!
//! Source: Kafka 3.9 `AclApis.handleCreateAcls`, `AclAuthorizer.createAcls`.

use broker_wire::ErrorCode;
use indexmap::IndexMap;
use kafka_protocol::messages::create_acls_request::AclCreation;
use kafka_protocol::messages::create_acls_response::AclCreationResult;
use kafka_protocol::messages::{CreateAclsRequest, CreateAclsResponse};
use kafka_protocol::protocol::StrBytes;

use super::acl_requests::{ANY, UNKNOWN, binding, is_only_for_filters, pattern_type_code};
use super::{Api, RequestContext, api};
use crate::net::Reply;
use crate::security::{AclEntry, CLUSTER_NAME, Operation, PatternType, ResourcePattern, ResourceType};

pub(super) const API: Api = api!(CreateAcls, 0..=3, replies handle);

/// Why one is refused, in Kafka's words.
type Refusal = (ErrorCode, Option<&'static str>);

async fn handle(cx: &RequestContext, request: CreateAclsRequest) -> Reply {
    let creations = &request.creations;
    if cx.version() == 0 && creations.iter().any(|it| it.resource_pattern_type != LITERAL) {
        return Reply::Close("version 0 only supports literal resource patterns".to_owned());
    }
    if creations.iter().any(has_unknown) {
        return Reply::Close("an ACL that is to be created has an element of unknown kind".to_owned());
    }
    let all = |refusal: Refusal| cx.reply(&response(creations.iter().map(|_| Err(refusal))));
    if !cx.authorize_cluster(Operation::Alter) {
        return all((ErrorCode::ClusterAuthorizationFailed, None));
    }
    let Some(authorizer) = cx.broker.authorizer() else {
        return all((ErrorCode::SecurityDisabled, Some("No Authorizer is configured.")));
    };
    // What only a filter may say fails all of them, in Kafka without a word.
    if creations.iter().any(has_any) {
        return all((ErrorCode::UnknownServerError, None));
    }
    let mut results: Vec<Result<(), Refusal>> = Vec::with_capacity(creations.len());
    let mut wanted: IndexMap<ResourcePattern, (Vec<usize>, Vec<AclEntry>)> = IndexMap::new();
    for (at, creation) in creations.iter().enumerate() {
        match check(creation) {
            Ok((resource, entry)) => {
                let (places, entries) = wanted.entry(resource).or_default();
                places.push(at);
                entries.push(entry);
                results.push(Ok(()));
            }
            Err(refusal) => results.push(Err(refusal)),
        }
    }
    for (resource, (places, entries)) in wanted {
        if let Err(error) = authorizer.add(&resource, &entries).await {
            tracing::warn!(?resource, %error, "ACLs were not created");
            for at in places {
                results[at] = Err((ErrorCode::UnknownServerError, None));
            }
        }
    }
    cx.reply(&response(results.into_iter()))
}

const LITERAL: i8 = pattern_type_code(PatternType::Literal);

fn has_unknown(creation: &AclCreation) -> bool {
    let codes = [
        creation.resource_pattern_type,
        creation.resource_type,
        creation.permission_type,
        creation.operation,
    ];
    codes.contains(&UNKNOWN)
}

fn has_any(creation: &AclCreation) -> bool {
    is_only_for_filters(creation.resource_pattern_type)
        || [creation.resource_type, creation.permission_type, creation.operation].contains(&ANY)
}

fn check(creation: &AclCreation) -> Result<(ResourcePattern, AclEntry), Refusal> {
    let refuse = |message: &'static str| Err((ErrorCode::InvalidRequest, Some(message)));
    let name = creation.resource_name.as_str();
    let kind = super::acl_requests::resource_type(creation.resource_type);
    if kind == Some(ResourceType::Cluster) && name != CLUSTER_NAME {
        return refuse("The only valid name for the CLUSTER resource is kafka-cluster");
    }
    if name.is_empty() {
        return refuse("Invalid empty resource name");
    }
    let binding = binding(
        (creation.resource_type, name, creation.resource_pattern_type),
        &creation.principal,
        &creation.host,
        creation.operation,
        creation.permission_type,
    );
    // A name becomes part of a path.
    match binding.filter(|_| !name.contains('/')) {
        Some(binding) => Ok(binding),
        None => refuse("Failed to create ACL"),
    }
}

fn response(results: impl Iterator<Item = Result<(), Refusal>>) -> CreateAclsResponse {
    let result = |result: Result<(), Refusal>| match result {
        Ok(()) => AclCreationResult::default(),
        Err((code, message)) => AclCreationResult::default()
            .with_error_code(code as i16)
            .with_error_message(message.map(StrBytes::from_static_str)),
    };
    CreateAclsResponse::default().with_results(results.map(result).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_created_is_refused_in_kafkas_words() {
        let check = |kind: i8, name: &'static str, pattern: i8, expected: Result<&str, &str>| {
            let creation = AclCreation::default()
                .with_resource_type(kind)
                .with_resource_name(StrBytes::from_static_str(name))
                .with_resource_pattern_type(pattern)
                .with_principal(StrBytes::from_static_str("User:a"))
                .with_host(StrBytes::from_static_str("*"))
                .with_operation(3)
                .with_permission_type(3);
            let found = check(&creation);
            let found = found.as_ref().map(|(resource, _)| resource.name.as_str());
            let found = found.map_err(|(_, message)| message.unwrap_or_default());
            assert_eq!(found, expected, "{kind} {name} {pattern}");
        };
        check(2, "t", LITERAL, Ok("t"));
        check(2, "*", 4, Ok("*"));
        check(4, "kafka-cluster", LITERAL, Ok("kafka-cluster"));
        let cluster = "The only valid name for the CLUSTER resource is kafka-cluster";
        check(4, "other", LITERAL, Err(cluster));
        check(4, "", LITERAL, Err(cluster));
        check(2, "", LITERAL, Err("Invalid empty resource name"));
        check(3, "a/b", LITERAL, Err("Failed to create ACL"));
        check(77, "t", LITERAL, Err("Failed to create ACL"));
        check(2, "t", 77, Err("Failed to create ACL"));
    }
}
