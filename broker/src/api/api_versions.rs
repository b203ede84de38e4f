//! ApiVersions (key 18, versions 0–4): what this broker serves, exactly.
//!
//! The one request that is answered at any version: a client that speaks a newer one gets version 0 of the answer with
//! UNSUPPORTED_VERSION and the versions of ApiVersions itself (KIP-511).

use broker_wire::{ErrorCode, apis, codec};
use kafka_protocol::messages::api_versions_response::ApiVersion;
use kafka_protocol::messages::{ApiVersionsRequest, ApiVersionsResponse};

use super::{APIS, Api, RequestContext, api};
use crate::net::Reply;

pub(super) const API: Api = api!(ApiVersions, 0..=4, handle);

async fn handle(cx: &RequestContext, request: ApiVersionsRequest) -> ApiVersionsResponse {
    if cx.version() >= 3 {
        let (name, version) = (
            request.client_software_name.as_str(),
            request.client_software_version.as_str(),
        );
        if !is_software_word(name) || !is_software_word(version) {
            return ApiVersionsResponse::default().with_error_code(ErrorCode::InvalidRequest as i16);
        }
        *cx.connection.software.lock() = Some((name.to_owned(), version.to_owned()));
    }
    let response = ApiVersionsResponse::default().with_api_keys(
        APIS.iter()
            .map(|api| api_version(api.key, api.min_version, api.max_version))
            .collect(),
    );
    // No feature is supported in ZooKeeper mode, and so none is finalized (KIP-584); what is told is their epoch.
    response.with_finalized_features_epoch(cx.broker.features.epoch())
}

fn api_version(key: i16, min: i16, max: i16) -> ApiVersion {
    ApiVersion::default()
        .with_api_key(key)
        .with_min_version(min)
        .with_max_version(max)
}

/// The answer to a version that is not served: version 0, and how to ask again.
pub(super) fn unsupported_version(cx: &RequestContext) -> Reply {
    let response = ApiVersionsResponse::default()
        .with_error_code(ErrorCode::UnsupportedVersion as i16)
        .with_api_keys(vec![api_version(API.key, API.min_version, API.max_version)]);
    match codec::encode_response(cx.header.correlation_id, apis::API_VERSIONS, 0, &response) {
        Ok(frame) => Reply::Bytes(frame),
        Err(unrepresentable) => Reply::Close(unrepresentable.to_string()),
    }
}

/// Letters, digits, `-` and `.`, a letter or digit first and last. Source: Kafka 3.9 `ApiVersionsRequest.isValid`.
fn is_software_word(word: &str) -> bool {
    let bytes = word.as_bytes();
    let inner = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.');
    match (bytes.first(), bytes.last()) {
        (Some(first), Some(last)) => {
            first.is_ascii_alphanumeric() && last.is_ascii_alphanumeric() && bytes.iter().all(inner)
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::is_software_word;

    #[test]
    fn a_software_name_is_checked_as_kafka_does() {
        let check = |word: &str, valid: bool| assert_eq!(is_software_word(word), valid, "{word}");
        check("apache-kafka-java", true);
        check("3.9.1", true);
        check("a", true);
        check("", false);
        check("-a", false);
        check("a.", false);
        check("a b", false);
        check("a_b", false);
    }
}
