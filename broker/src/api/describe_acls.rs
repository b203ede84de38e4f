//! DescribeAcls (key 29, versions 0–3): the access control lists that a filter means.
//!
//! Source: Kafka 3.9 `AclApis.handleDescribeAcls`.

use broker_wire::ErrorCode;
use kafka_protocol::messages::describe_acls_response::{AclDescription, DescribeAclsResource};
use kafka_protocol::messages::{ApiKey, DescribeAclsRequest, DescribeAclsResponse};
use kafka_protocol::protocol::StrBytes;

use super::acl_requests::{WireFilter, pattern_type_code, permission_code, resource_type_code};
use super::text::wire;
use super::{Api, RequestContext};
use crate::net::Reply;
use crate::security::{AclEntry, Operation, ResourcePattern, operation_code};

pub(super) const API: Api = Api {
    key: ApiKey::DescribeAcls as i16,
    min_version: 0,
    max_version: 3,
    serve: |cx, body| {
        Box::pin(async move {
            match cx.decode(body) {
                Ok(request) => handle(&cx, &request),
                Err(malformed) => Reply::Close(malformed.to_string()),
            }
        })
    },
};

fn handle(cx: &RequestContext, request: &DescribeAclsRequest) -> Reply {
    let filter = WireFilter {
        resource_type: request.resource_type_filter,
        resource_name: request.resource_name_filter.as_ref(),
        pattern_type: request.pattern_type_filter,
        principal: request.principal_filter.as_ref(),
        host: request.host_filter.as_ref(),
        operation: request.operation,
        permission: request.permission_type,
    };
    let filter = match filter.read(cx.version()) {
        Ok(filter) => filter,
        Err(reason) => return Reply::Close(reason.to_owned()),
    };
    let response = DescribeAclsResponse::default();
    if !cx.authorize_cluster(Operation::Describe) {
        return cx.reply(&response.with_error_code(ErrorCode::ClusterAuthorizationFailed as i16));
    }
    let Some(authorizer) = cx.broker.authorizer() else {
        return cx.reply(
            &response
                .with_error_code(ErrorCode::SecurityDisabled as i16)
                .with_error_message(Some(StrBytes::from_static_str(
                    "No Authorizer is configured on the broker",
                ))),
        );
    };
    let resources = filter.map(|filter| authorizer.matching(&filter)).unwrap_or_default();
    let resources = resources
        .into_iter()
        .map(|(pattern, entries)| resource(&pattern, &entries));
    cx.reply(&response.with_resources(resources.collect()))
}

fn resource(pattern: &ResourcePattern, entries: &[AclEntry]) -> DescribeAclsResource {
    let description = |entry: &AclEntry| {
        AclDescription::default()
            .with_principal(wire(&entry.principal))
            .with_host(wire(&entry.host))
            .with_operation(operation_code(entry.operation))
            .with_permission_type(permission_code(entry.allow))
    };
    DescribeAclsResource::default()
        .with_resource_type(resource_type_code(pattern.resource_type))
        .with_resource_name(wire(&pattern.name))
        .with_pattern_type(pattern_type_code(pattern.pattern_type))
        .with_acls(entries.iter().map(description).collect())
}
