//! UpdateFeatures (key 57, versions 0–1): changes finalized features (KIP-584).
//!
//! A broker in ZooKeeper mode supports no feature, and so none can be finalized: each update is refused, with the words
//! that Kafka has for it. Kafka answers NOT_CONTROLLER unless the controller is asked; here the answer is the same
//! everywhere, and so everybody gives it.
//!
//! Source: Kafka 3.9 `KafkaApis.handleUpdateFeatures`, `KafkaController.validateFeatureUpdate`.

use broker_wire::ErrorCode;
use kafka_protocol::messages::update_features_request::FeatureUpdateKey;
use kafka_protocol::messages::update_features_response::UpdatableFeatureResult;
use kafka_protocol::messages::{UpdateFeaturesRequest, UpdateFeaturesResponse};
use kafka_protocol::protocol::StrBytes;

use super::{Api, RequestContext, api};
use crate::config::ProtocolVersion;
use crate::security::Operation;

pub(super) const API: Api = api!(UpdateFeatures, 0..=1, handle);

/// `FeatureUpdate.UpgradeType`.
const UPGRADE: i8 = 1;
const SAFE_DOWNGRADE: i8 = 2;
const UNSAFE_DOWNGRADE: i8 = 3;

async fn handle(cx: &RequestContext, request: UpdateFeaturesRequest) -> UpdateFeaturesResponse {
    if !cx.authorize_cluster(Operation::Alter) {
        return refuse(ErrorCode::ClusterAuthorizationFailed, "Cluster authorization failed.");
    }
    if cx.broker.config.load().inter_broker_protocol_version < ProtocolVersion::IBP_2_7_IV0 {
        return refuse(ErrorCode::InvalidRequest, "Feature versioning system is disabled.");
    }
    let mut results: Vec<UpdatableFeatureResult> = Vec::with_capacity(request.feature_updates.len());
    for update in &request.feature_updates {
        let result = UpdatableFeatureResult::default()
            .with_feature(update.feature.clone())
            .with_error_code(ErrorCode::InvalidRequest as i16)
            .with_error_message(Some(StrBytes::from_string(refusal(update, cx.version()))));
        // Of a feature that is named twice, the last word counts.
        match results.iter_mut().find(|earlier| earlier.feature == update.feature) {
            Some(earlier) => *earlier = result,
            None => results.push(result),
        }
    }
    UpdateFeaturesResponse::default()
        .with_error_message(None)
        .with_results(results)
}

fn refuse(code: ErrorCode, message: &'static str) -> UpdateFeaturesResponse {
    UpdateFeaturesResponse::default()
        .with_error_code(code as i16)
        .with_error_message(Some(StrBytes::from_static_str(message)))
}

/// Why a feature cannot be set, where none is finalized and none is supported.
fn refusal(update: &FeatureUpdateKey, version: i16) -> String {
    let upgrade_type = match version {
        0 if update.allow_downgrade => SAFE_DOWNGRADE,
        0 => UPGRADE,
        _ => update.upgrade_type,
    };
    let level = update.max_version_level;
    match upgrade_type {
        _ if update.feature.is_empty() => "Feature name can not be empty.".to_owned(),
        UPGRADE if level < 1 => format!(
            "Can not provide versionLevel: {level} less than 1 without setting the SAFE downgradeType in the request."
        ),
        SAFE_DOWNGRADE | UNSAFE_DOWNGRADE if level < 1 => "Can not delete non-existing finalized feature.".to_owned(),
        UPGRADE | SAFE_DOWNGRADE | UNSAFE_DOWNGRADE => {
            "Could not apply finalized feature update because the provided feature is not supported.".to_owned()
        }
        _ => "Received unknown upgrade type.".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_update_is_refused_with_kafkas_words() {
        let check = |feature: &str, level: i16, upgrade_type: i8, expected: &str| {
            let update = FeatureUpdateKey::default()
                .with_feature(StrBytes::from_string(feature.to_owned()))
                .with_max_version_level(level)
                .with_upgrade_type(upgrade_type);
            let found = refusal(&update, 1);
            assert!(found.starts_with(expected), "{feature} {level} {upgrade_type}: {found}");
        };
        check("", 1, UPGRADE, "Feature name can not be empty");
        check("f", 1, 0, "Received unknown upgrade type");
        check("f", 1, 4, "Received unknown upgrade type");
        check("f", 0, UPGRADE, "Can not provide versionLevel: 0 less than 1");
        check("f", 0, SAFE_DOWNGRADE, "Can not delete non-existing");
        check("f", 0, UNSAFE_DOWNGRADE, "Can not delete non-existing");
        check("f", 1, UPGRADE, "Could not apply finalized feature update");
        check("f", 1, SAFE_DOWNGRADE, "Could not apply finalized feature update");
    }

    #[test]
    fn version_0_knows_only_whether_a_downgrade_is_allowed() {
        let update = FeatureUpdateKey::default().with_feature(StrBytes::from_static_str("f"));
        assert!(refusal(&update, 0).starts_with("Can not provide versionLevel"));
        let update = update.with_allow_downgrade(true);
        assert!(refusal(&update, 0).starts_with("Can not delete"));
    }
}
