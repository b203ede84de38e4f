//! DeleteGroups (key 42, versions 0–2): removes groups without members, with their offsets.

use broker_wire::ErrorCode;
use kafka_protocol::messages::delete_groups_response::DeletableGroupResult;
use kafka_protocol::messages::{DeleteGroupsRequest, DeleteGroupsResponse};

use super::{Api, RequestContext, api, error_code};
use crate::security::{Operation, ResourceType};

pub(super) const API: Api = api!(DeleteGroups, 0..=2, handle);

async fn handle(cx: &RequestContext, request: DeleteGroupsRequest) -> DeleteGroupsResponse {
    let mut names = request.groups_names;
    // A group named twice is deleted once, and answered once.
    names.sort_unstable_by(|one, other| one.as_str().cmp(other.as_str()));
    names.dedup();
    let allowed: Vec<bool> = {
        let all = names.iter().map(|name| name.as_str());
        let authorized = cx.authorized(Operation::Delete, ResourceType::Group, all);
        names.iter().map(|name| authorized.contains(name)).collect()
    };
    let results = names.into_iter().zip(allowed).map(|(name, allowed)| {
        if !allowed {
            return DeletableGroupResult::default()
                .with_error_code(ErrorCode::GroupAuthorizationFailed as i16)
                .with_group_id(name);
        }
        let answer = cx.broker.groups.delete(&name);
        DeletableGroupResult::default()
            .with_error_code(error_code::of_group_answer(answer.err()))
            .with_group_id(name)
    });
    DeleteGroupsResponse::default().with_results(results.collect())
}
