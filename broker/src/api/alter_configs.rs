//! AlterConfigs (key 33, versions 0–2): replaces all that is set for topics and brokers. Deprecated, but what
//! `kafka-configs` still sends for brokers.

use broker_wire::ErrorCode;
use kafka_protocol::messages::alter_configs_response::AlterConfigsResourceResponse;
use kafka_protocol::messages::{AlterConfigsRequest, AlterConfigsResponse};
use kafka_protocol::protocol::StrBytes;

use super::config_alteration::{self, Entry, Mode, Wish};
use super::{Api, RequestContext, api};

pub(super) const API: Api = api!(AlterConfigs, 0..=2, handle);

async fn handle(cx: &RequestContext, request: AlterConfigsRequest) -> AlterConfigsResponse {
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
                    operation: config_alteration::SET,
                    value: config.value.as_ref().map(ToString::to_string),
                })
                .collect(),
        })
        .collect();
    let outcomes = config_alteration::alter(cx, &wishes, Mode::Replace, request.validate_only).await;
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
    AlterConfigsResponse::default().with_responses(responses.collect())
}
