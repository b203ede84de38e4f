//! DeleteAcls (key 31, versions 0–3): access control lists go, those that filters mean.
//!
//! Source: Kafka 3.9 `AclApis.handleDeleteAcls`, `AclAuthorizer.deleteAcls`.

use broker_admission::Deleted;
use broker_wire::ErrorCode;
use kafka_protocol::messages::delete_acls_response::{DeleteAclsFilterResult, DeleteAclsMatchingAcl};
use kafka_protocol::messages::{DeleteAclsRequest, DeleteAclsResponse};
use kafka_protocol::protocol::StrBytes;

use super::acl_requests::{WireFilter, pattern_type_code, permission_code, resource_type_code};
use super::text::wire;
use super::{Api, RequestContext, api};
use crate::net::Reply;
use crate::security::{Operation, operation_code};

pub(super) const API: Api = api!(DeleteAcls, 0..=3, replies handle);

async fn handle(cx: &RequestContext, request: DeleteAclsRequest) -> Reply {
    let mut filters = Vec::with_capacity(request.filters.len());
    for filter in &request.filters {
        let filter = WireFilter {
            resource_type: filter.resource_type_filter,
            resource_name: filter.resource_name_filter.as_ref(),
            pattern_type: filter.pattern_type_filter,
            principal: filter.principal_filter.as_ref(),
            host: filter.host_filter.as_ref(),
            operation: filter.operation,
            permission: filter.permission_type,
        };
        match filter.read(cx.version()) {
            Ok(filter) => filters.push(filter),
            Err(reason) => return Reply::Close(reason.to_owned()),
        }
    }
    let all = |code: ErrorCode, message: Option<&'static str>| {
        let result = || {
            DeleteAclsFilterResult::default()
                .with_error_code(code as i16)
                .with_error_message(message.map(StrBytes::from_static_str))
        };
        let results = filters.iter().map(|_| result()).collect();
        cx.reply(&DeleteAclsResponse::default().with_filter_results(results))
    };
    if !cx.authorize_cluster(Operation::Alter) {
        return all(ErrorCode::ClusterAuthorizationFailed, None);
    }
    let Some(authorizer) = cx.broker.authorizer() else {
        return all(ErrorCode::SecurityDisabled, Some("No Authorizer is configured."));
    };
    let meant: Vec<_> = filters.iter().flatten().cloned().collect();
    let mut deleted = authorizer.delete(&meant).await.into_iter();
    let results = filters.iter().map(|filter| {
        let deleted = filter.as_ref().and_then(|_| deleted.next()).unwrap_or_default();
        DeleteAclsFilterResult::default()
            .with_error_message(None)
            .with_matching_acls(deleted.iter().map(matching).collect())
    });
    cx.reply(&DeleteAclsResponse::default().with_filter_results(results.collect()))
}

fn matching((resource, entry, done): &Deleted) -> DeleteAclsMatchingAcl {
    let code = match done {
        Ok(()) => ErrorCode::None,
        Err(error) => {
            tracing::warn!(?resource, %error, "an ACL was not deleted");
            ErrorCode::UnknownServerError
        }
    };
    DeleteAclsMatchingAcl::default()
        .with_error_code(code as i16)
        .with_error_message(None)
        .with_resource_type(resource_type_code(resource.resource_type))
        .with_resource_name(wire(&resource.name))
        .with_pattern_type(pattern_type_code(resource.pattern_type))
        .with_principal(wire(&entry.principal))
        .with_host(wire(&entry.host))
        .with_operation(operation_code(entry.operation))
        .with_permission_type(permission_code(entry.allow))
}
