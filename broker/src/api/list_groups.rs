//! ListGroups (key 16, versions 0–5): the groups coordinated here, by state and type.

use broker_wire::ErrorCode;
use coordinator::group::GroupOverview;
use kafka_protocol::messages::list_groups_response::ListedGroup;
use kafka_protocol::messages::{GroupId, ListGroupsRequest, ListGroupsResponse};

use super::text::wire;
use super::{Api, RequestContext, api};
use crate::security::{Operation, ResourceType};

pub(super) const API: Api = api!(ListGroups, 0..=5, handle);

/// The only type of groups there is here. Source: Kafka 3.9 `Group.GroupType`.
const CLASSIC: &str = "classic";

async fn handle(cx: &RequestContext, request: ListGroupsRequest) -> ListGroupsResponse {
    let sees_all = cx.authorize_cluster_quietly(Operation::Describe);
    let (groups, loading) = cx.broker.groups.list();
    // Those that are known are told all the same.
    let error = if loading {
        ErrorCode::CoordinatorLoadInProgress
    } else {
        ErrorCode::None
    };
    let listed = groups
        .iter()
        .filter(|group| is_asked_for(&request, group))
        .filter(|group| sees_all || cx.authorize_quietly(Operation::Describe, ResourceType::Group, &group.group_id))
        .map(|group| listed(group, cx.version()));
    ListGroupsResponse::default()
        .with_error_code(error as i16)
        .with_groups(listed.collect())
}

/// Empty filters let everything pass; names are compared without regard to case.
fn is_asked_for(request: &ListGroupsRequest, group: &GroupOverview) -> bool {
    let states = &request.states_filter;
    let types = &request.types_filter;
    (states.is_empty()
        || states
            .iter()
            .any(|state| state.eq_ignore_ascii_case(group.state.name())))
        && (types.is_empty() || types.iter().any(|kind| kind.eq_ignore_ascii_case(CLASSIC)))
}

fn listed(group: &GroupOverview, version: i16) -> ListedGroup {
    let mut listed = ListedGroup::default()
        .with_group_id(GroupId(wire(&group.group_id)))
        .with_protocol_type(wire(&group.protocol_type));
    if version >= 4 {
        listed.group_state = wire(group.state.name());
    }
    if version >= 5 {
        listed.group_type = wire(CLASSIC);
    }
    listed
}

#[cfg(test)]
mod tests {
    use coordinator::group::GroupState;

    use super::*;

    #[test]
    fn groups_are_filtered_by_state_and_type() {
        let group = GroupOverview {
            group_id: "g".into(),
            protocol_type: "consumer".into(),
            state: GroupState::Stable,
        };
        let check = |states: &[&str], types: &[&str], expected: bool| {
            let names = |list: &[&str]| list.iter().map(|name| wire(name)).collect();
            let request = ListGroupsRequest::default()
                .with_states_filter(names(states))
                .with_types_filter(names(types));
            assert_eq!(is_asked_for(&request, &group), expected, "{states:?} {types:?}");
        };
        check(&[], &[], true);
        check(&["stable"], &[], true);
        check(&["Empty", "STABLE"], &["Classic"], true);
        check(&["Empty"], &[], false);
        check(&[], &["consumer"], false);
        check(&["nonsense"], &["nonsense"], false);
    }
}
