//! AlterConfigs (key 33, versions 0–2): replaces all that is set for a topic or broker.
//!
//! Superseded by IncrementalAlterConfigs, which does not forget what the client did not know of.
//!
//! Source: Kafka 3.9 `KafkaApis.handleAlterConfigsRequest`.

use kafka_protocol::messages::alter_configs_request::AlterConfigsResource;
use kafka_protocol::messages::alter_configs_response::AlterConfigsResourceResponse;
use kafka_protocol::messages::{AlterConfigsRequest, AlterConfigsResponse};

use super::text::wire;
use super::{Api, RequestContext, api, config_resource};
use crate::zookeeper::AdminError;

pub(super) const API: Api = api!(AlterConfigs, 0..=2, handle);

async fn handle(cx: &RequestContext, request: AlterConfigsRequest) -> AlterConfigsResponse {
    let named = request
        .resources
        .iter()
        .map(|it| (it.resource_type, it.resource_name.as_str()));
    let twice = config_resource::named_twice(named);
    let mut responses = Vec::with_capacity(request.resources.len());
    for resource in request.resources {
        let altered = match twice.contains(&(resource.resource_type, resource.resource_name.to_string())) {
            true => Err(config_resource::twice()),
            false => alter(cx, &resource, request.validate_only).await,
        };
        let mut response = AlterConfigsResourceResponse::default()
            .with_resource_type(resource.resource_type)
            .with_resource_name(resource.resource_name)
            .with_error_message(None);
        if let Err(error) = altered {
            response = response
                .with_error_code(error.code().code())
                .with_error_message(error.message().map(|message| wire(&message)));
        }
        responses.push(response);
    }
    AlterConfigsResponse::default().with_responses(responses)
}

async fn alter(cx: &RequestContext, resource: &AlterConfigsResource, validate_only: bool) -> Result<(), AdminError> {
    let configs = &resource.configs;
    config_resource::check_keys(configs.iter().map(|it| (it.name.as_str(), it.value.is_some())))?;
    let entity = config_resource::entity(cx, resource.resource_type, &resource.resource_name)?;
    let pairs = configs
        .iter()
        .filter_map(|it| Some((it.name.to_string(), it.value.as_ref()?.to_string())));
    config_resource::replace(cx, &entity, &pairs.collect(), validate_only).await
}
