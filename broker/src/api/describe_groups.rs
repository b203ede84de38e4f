//! DescribeGroups (key 15, versions 0–5): state, protocol and members of groups coordinated here.

use broker_wire::ErrorCode;
use coordinator::group::MemberDescription;
use kafka_protocol::messages::describe_groups_response::{DescribedGroup, DescribedGroupMember};
use kafka_protocol::messages::{DescribeGroupsRequest, DescribeGroupsResponse, GroupId};

use super::text::{wire, wire_option};
use super::{Api, RequestContext, api, error_code};
use crate::security::{Operation, ResourceType};

pub(super) const API: Api = api!(DescribeGroups, 0..=5, handle);

async fn handle(cx: &RequestContext, request: DescribeGroupsRequest) -> DescribeGroupsResponse {
    let with_operations = cx.version() >= 3 && request.include_authorized_operations;
    let groups = request.groups.into_iter().map(|id| describe(cx, id, with_operations));
    DescribeGroupsResponse::default().with_groups(groups.collect())
}

fn describe(cx: &RequestContext, id: GroupId, with_operations: bool) -> DescribedGroup {
    if !cx.authorize(Operation::Describe, ResourceType::Group, &id) {
        return DescribedGroup::default()
            .with_group_id(id)
            .with_error_code(ErrorCode::GroupAuthorizationFailed as i16);
    }
    let described = match cx.broker.groups.describe(&id) {
        Err(error) => {
            return DescribedGroup::default()
                .with_group_id(id)
                .with_error_code(error_code::of_group(error) as i16);
        }
        Ok(group) => DescribedGroup::default()
            .with_group_id(id)
            .with_group_state(wire(group.state.name()))
            .with_protocol_type(wire(&group.protocol_type))
            .with_protocol_data(wire(&group.protocol))
            .with_members(group.members.iter().map(|one| member(one, cx.version())).collect()),
    };
    if with_operations {
        let operations = cx.authorized_operations(ResourceType::Group, &described.group_id);
        described.with_authorized_operations(operations)
    } else {
        described
    }
}

fn member(member: &MemberDescription, version: i16) -> DescribedGroupMember {
    let described = DescribedGroupMember::default()
        .with_member_id(wire(&member.member_id))
        .with_client_id(wire(&member.client_id))
        .with_client_host(wire(&member.client_host))
        .with_member_metadata(member.metadata.clone())
        .with_member_assignment(member.assignment.clone());
    if version < 4 {
        return described;
    }
    described.with_group_instance_id(wire_option(member.group_instance_id.as_ref()))
}
