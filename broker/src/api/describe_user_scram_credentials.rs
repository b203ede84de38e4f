//! DescribeUserScramCredentials (key 50, version 0): who can log in by SCRAM, and with how many iterations.
//!
//! Read from ZooKeeper, so that what was just changed shows at any broker.
//!
//! Source: Kafka 3.9 `ZkAdminManager.describeUserScramCredentials`.

use std::collections::{BTreeMap, HashMap};

use broker_security::sasl::{ScramCredential, ScramMechanism};
use broker_wire::ErrorCode;
use kafka_protocol::messages::describe_user_scram_credentials_response::{
    CredentialInfo, DescribeUserScramCredentialsResult,
};
use kafka_protocol::messages::{DescribeUserScramCredentialsRequest, DescribeUserScramCredentialsResponse};
use zk_schema::config::Entity;

use super::text::wire;
use super::{Api, RequestContext, api};
use crate::security::Operation;
use crate::zookeeper::{AdminError, configs};

pub(super) const API: Api = api!(DescribeUserScramCredentials, 0..=0, handle);

async fn handle(
    cx: &RequestContext,
    request: DescribeUserScramCredentialsRequest,
) -> DescribeUserScramCredentialsResponse {
    let users = request.users.unwrap_or_default();
    let answer = DescribeUserScramCredentialsResponse::default();
    if !cx.authorize_cluster(Operation::Describe) {
        // As many refusals as names, but not the names.
        let code = ErrorCode::ClusterAuthorizationFailed;
        let results = users.iter().map(|_| refused("", code, "Cluster authorization failed."));
        return answer
            .with_error_code(code as i16)
            .with_error_message(None)
            .with_results(results.collect());
    }
    if users.is_empty() {
        return match everybody(cx).await {
            Ok(results) => answer.with_results(results),
            Err(error) => {
                tracing::error!(%error, "users' configurations cannot be read");
                let code = error.code();
                answer
                    .with_error_code(code as i16)
                    .with_error_message(Some(wire(&error.message().unwrap_or_else(|| error.code().to_string()))))
            }
        };
    }
    let mut times: HashMap<&str, usize> = HashMap::new();
    for user in &users {
        *times.entry(user.name.as_str()).or_default() += 1;
    }
    let mut results = Vec::new();
    for user in &users {
        let name = user.name.as_str();
        // Who was asked for several times is answered once.
        let Some(count) = times.remove(name) else { continue };
        results.push(match (name, count) {
            ("", _) => refused(name, ErrorCode::ResourceNotFound, "Username must not be empty"),
            (_, 1) => one(cx, name).await,
            _ => refused(
                name,
                ErrorCode::DuplicateResource,
                &format!("Cannot describe SCRAM credentials for the same user twice in a single request: {name}"),
            ),
        });
    }
    answer.with_results(results)
}

async fn everybody(cx: &RequestContext) -> Result<Vec<DescribeUserScramCredentialsResult>, AdminError> {
    let mut described = BTreeMap::new();
    for (entity, config) in configs::read_all(&cx.broker.store, &["users"]).await? {
        if let Entity::User(Some(user)) = entity
            && let Some(result) = describe(&user, &config)
        {
            described.insert(user, result);
        }
    }
    Ok(described.into_values().collect())
}

async fn one(cx: &RequestContext, user: &str) -> DescribeUserScramCredentialsResult {
    match configs::read(&cx.broker.store, &Entity::User(Some(user.to_owned()))).await {
        Ok(config) => describe(user, &config).unwrap_or_else(|| {
            refused(
                user,
                ErrorCode::ResourceNotFound,
                &format!("Attempt to describe a user credential that does not exist: {user}"),
            )
        }),
        Err(error) => {
            tracing::error!(user, %error, "a user's configuration cannot be read");
            refused(
                user,
                error.code(),
                &error.message().unwrap_or_else(|| error.code().to_string()),
            )
        }
    }
}

/// What a user's configuration says; `None` if there are no credentials in it.
fn describe(user: &str, config: &BTreeMap<String, String>) -> Option<DescribeUserScramCredentialsResult> {
    let mut infos = Vec::new();
    for mechanism in ScramMechanism::ALL {
        let Some(text) = config.get(mechanism.name()) else {
            continue;
        };
        match ScramCredential::from_text(text) {
            Ok(credential) => infos.push(
                CredentialInfo::default()
                    .with_mechanism(mechanism.number())
                    .with_iterations(i32::try_from(credential.iterations).unwrap_or(i32::MAX)),
            ),
            Err(error) => {
                tracing::error!(user, mechanism = mechanism.name(), %error, "a credential in zookeeper cannot be read");
                let code = ErrorCode::UnknownServerError;
                return Some(refused(user, code, &code.to_string()));
            }
        }
    }
    let result = DescribeUserScramCredentialsResult::default().with_user(wire(user));
    (!infos.is_empty()).then(|| result.with_credential_infos(infos))
}

fn refused(user: &str, code: ErrorCode, message: &str) -> DescribeUserScramCredentialsResult {
    DescribeUserScramCredentialsResult::default()
        .with_user(wire(user))
        .with_error_code(code as i16)
        .with_error_message(Some(wire(message)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_who_has_credentials_is_described() {
        let credential = "salt=AAAA,stored_key=AAAA,server_key=AAAA,iterations=8192";
        let check = |name: &str, config: &[(&str, &str)], expected: Option<(i16, &[(i8, i32)])>| {
            let config = config
                .iter()
                .map(|(key, value)| (key.to_string(), value.to_string()))
                .collect();
            let found = describe("alice", &config);
            let found = found.map(|result| {
                let infos = result
                    .credential_infos
                    .iter()
                    .map(|info| (info.mechanism, info.iterations));
                (result.error_code, infos.collect::<Vec<_>>())
            });
            assert_eq!(found, expected.map(|(code, infos)| (code, infos.to_vec())), "{name}");
        };
        check("nothing", &[], None);
        check("a quota", &[("producer_byte_rate", "1")], None);
        check("one", &[("SCRAM-SHA-512", credential)], Some((0, &[(2, 8192)])));
        check(
            "both",
            &[
                ("SCRAM-SHA-512", credential),
                ("SCRAM-SHA-256", credential),
                ("producer_byte_rate", "1"),
            ],
            Some((0, &[(1, 8192), (2, 8192)])),
        );
        check(
            "no credential",
            &[("SCRAM-SHA-256", "x"), ("SCRAM-SHA-512", credential)],
            Some((-1, &[])),
        );
    }
}
