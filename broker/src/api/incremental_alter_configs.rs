//! IncrementalAlterConfigs (key 44, versions 0–1): sets, deletes, appends to and subtracts from single configurations
//! of topics and brokers (KIP-339), and sets levels of this broker's loggers (KIP-412).

use broker_wire::ErrorCode;
use kafka_protocol::messages::incremental_alter_configs_response::AlterConfigsResourceResponse;
use kafka_protocol::messages::{IncrementalAlterConfigsRequest, IncrementalAlterConfigsResponse};
use kafka_protocol::protocol::StrBytes;

use super::config_alteration::{self, Entry, Mode, Wish};
use super::{Api, RequestContext, api};

pub(super) const API: Api = api!(IncrementalAlterConfigs, 0..=1, handle);

async fn handle(cx: &RequestContext, request: IncrementalAlterConfigsRequest) -> IncrementalAlterConfigsResponse {
    let wishes: Vec<Wish> = request
        .resources
        .iter()
        .map(|resource| Wish {
            kind: resource.resource_type,
            name: resource.resource_name.to_string(),
            entries: resource
                .configs
                .iter()
                .map(|config| Entry {
                    name: config.name.to_string(),
                    operation: config.config_operation,
                    value: config.value.as_ref().map(ToString::to_string),
                })
                .collect(),
        })
        .collect();
    let outcomes = config_alteration::alter(cx, &wishes, Mode::Incremental, request.validate_only).await;
    let responses = wishes.into_iter().zip(outcomes).map(|(wish, outcome)| {
        let (code, message) = match outcome {
            Ok(()) => (ErrorCode::None, None),
            Err(refusal) => (refusal.code, refusal.message),
        };
        AlterConfigsResourceResponse::default()
            .with_error_code(code as i16)
            .with_error_message(message.map(StrBytes::from_string))
            .with_resource_type(wish.kind)
            .with_resource_name(StrBytes::from_string(wish.name))
    });
    IncrementalAlterConfigsResponse::default().with_responses(responses.collect())
}
