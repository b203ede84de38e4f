//! AlterUserScramCredentials (key 51, version 0): gives users passwords for SCRAM, and takes them away.
//!
//! The password comes salted and hashed; what is kept stands beside the user's quotas in `/config/users/<name>`. Served
//! by any broker. A user is altered as a whole or not at all.
//!
//! Source: Kafka 3.9 `ZkAdminManager.alterUserScramCredentials`.

use std::collections::{HashMap, HashSet};

use broker_security::sasl::{ScramCredential, ScramMechanism};
use broker_wire::ErrorCode;
use bytes::Bytes;
use indexmap::IndexMap;
use kafka_protocol::messages::alter_user_scram_credentials_response::AlterUserScramCredentialsResult;
use kafka_protocol::messages::{AlterUserScramCredentialsRequest, AlterUserScramCredentialsResponse};
use zk_schema::config::Entity;

use super::text::wire;
use super::{Api, RequestContext, api};
use crate::security::Operation;
use crate::zookeeper::{AdminError, configs};

pub(super) const API: Api = api!(AlterUserScramCredentials, 0..=0, handle);

async fn handle(cx: &RequestContext, request: AlterUserScramCredentialsRequest) -> AlterUserScramCredentialsResponse {
    let mut results = Vec::new();
    let may = cx.authorize_cluster(Operation::Alter);
    for (user, plan) in plan(&request) {
        let done = match plan {
            _ if !may => Err(AdminError::refused(
                ErrorCode::ClusterAuthorizationFailed,
                "Cluster authorization failed.",
            )),
            Ok(alterations) => alter(cx, &user, &alterations).await,
            Err(refusal) => Err(refusal),
        };
        let result = AlterUserScramCredentialsResult::default().with_user(wire(&user));
        results.push(match done {
            Ok(()) => result,
            Err(error) => {
                if !matches!(error, AdminError::Refused { .. }) {
                    tracing::info!(user, %error, "Error encountered while altering user SCRAM credentials");
                }
                let message = error.message().unwrap_or_else(|| error.code().to_string());
                result
                    .with_error_code(error.code() as i16)
                    .with_error_message(Some(wire(&message)))
            }
        });
    }
    AlterUserScramCredentialsResponse::default().with_results(results)
}

/// What is to be done for one mechanism of a user.
#[derive(Debug, PartialEq, Eq)]
enum Alteration {
    Delete,
    Set {
        salt: Bytes,
        salted: Bytes,
        iterations: u32,
    },
}

type Alterations = HashMap<ScramMechanism, Alteration>;

/// What is to be done for each user, in the request's order, or why it is refused.
fn plan(request: &AlterUserScramCredentialsRequest) -> IndexMap<String, Result<Alterations, AdminError>> {
    let mut plans: IndexMap<String, Result<Alterations, AdminError>> = IndexMap::new();
    let mut twice: HashSet<String> = HashSet::new();
    let deletions = request.deletions.iter().map(|deletion| {
        (
            deletion.name.as_str(),
            known(&deletion.name, deletion.mechanism).map(|it| (it, Alteration::Delete)),
        )
    });
    let upsertions = request.upsertions.iter().map(|upsertion| {
        let alteration = known(&upsertion.name, upsertion.mechanism).and_then(|mechanism| {
            let iterations = iterations(mechanism, upsertion.iterations)?;
            let (salt, salted) = (upsertion.salt.clone(), upsertion.salted_password.clone());
            Ok((
                mechanism,
                Alteration::Set {
                    salt,
                    salted,
                    iterations,
                },
            ))
        });
        (upsertion.name.as_str(), alteration)
    });
    for (user, alteration) in deletions.chain(upsertions) {
        let plan = plans.entry(user.to_owned()).or_insert_with(|| Ok(Alterations::new()));
        match alteration {
            // The last reason counts, as in Kafka.
            Err(refusal) => *plan = Err(refusal),
            Ok((mechanism, alteration)) => {
                if let Ok(alterations) = plan
                    && alterations.insert(mechanism, alteration).is_some()
                {
                    twice.insert(user.to_owned());
                }
            }
        }
    }
    for user in twice {
        if let Some(plan @ Ok(_)) = plans.get_mut(&user) {
            *plan = Err(AdminError::refused(
                ErrorCode::DuplicateResource,
                "A user credential cannot be altered twice in the same request",
            ));
        }
    }
    plans
}

fn known(user: &str, mechanism: i8) -> Result<ScramMechanism, AdminError> {
    if user.is_empty() {
        let code = ErrorCode::UnacceptableCredential;
        return Err(AdminError::refused(code, "Username must not be empty"));
    }
    ScramMechanism::from_number(mechanism)
        .ok_or_else(|| AdminError::refused(ErrorCode::UnsupportedSaslMechanism, "Unknown SCRAM mechanism"))
}

fn iterations(mechanism: ScramMechanism, count: i32) -> Result<u32, AdminError> {
    let refuse = |message| Err(AdminError::refused(ErrorCode::UnacceptableCredential, message));
    match u32::try_from(count) {
        Ok(count) if count > mechanism.max_iterations() => refuse("Too many iterations"),
        Ok(count) if count >= mechanism.min_iterations() => Ok(count),
        _ => refuse("Too few iterations"),
    }
}

async fn alter(cx: &RequestContext, user: &str, alterations: &Alterations) -> Result<(), AdminError> {
    let store = &cx.broker.store;
    let entity = Entity::User(Some(user.to_owned()));
    let mut config = configs::read(store, &entity).await?;
    for (mechanism, alteration) in alterations {
        match alteration {
            Alteration::Delete => {
                if config.remove(mechanism.name()).is_none() {
                    return Err(AdminError::refused(
                        ErrorCode::ResourceNotFound,
                        "Attempt to delete a user credential that does not exist",
                    ));
                }
            }
            Alteration::Set {
                salt,
                salted,
                iterations,
            } => {
                let credential = ScramCredential::of_salted_password(*mechanism, salt.to_vec(), salted, *iterations);
                config.insert(mechanism.name().to_owned(), credential.to_text());
            }
        }
    }
    configs::change(store, &entity, &config).await?;
    // This broker need not wait for the notice.
    cx.broker.credentials.scram.user_changed(user, &config);
    tracing::info!(user, "SCRAM credentials were changed");
    Ok(())
}

#[cfg(test)]
mod tests {
    use kafka_protocol::messages::alter_user_scram_credentials_request::{
        ScramCredentialDeletion, ScramCredentialUpsertion,
    };

    use super::*;

    #[test]
    fn wishes_are_refused_in_kafkas_words() {
        let check =
            |name: &str, deletions: &[(&str, i8)], upsertions: &[(&str, i8, i32)], expected: &[(&str, &str)]| {
                let request = AlterUserScramCredentialsRequest::default()
                    .with_deletions(
                        deletions
                            .iter()
                            .map(|(user, mechanism)| {
                                ScramCredentialDeletion::default()
                                    .with_name(wire(user))
                                    .with_mechanism(*mechanism)
                            })
                            .collect(),
                    )
                    .with_upsertions(
                        upsertions
                            .iter()
                            .map(|(user, mechanism, iterations)| {
                                ScramCredentialUpsertion::default()
                                    .with_name(wire(user))
                                    .with_mechanism(*mechanism)
                                    .with_iterations(*iterations)
                            })
                            .collect(),
                    );
                let planned: Vec<(String, String)> = plan(&request)
                    .into_iter()
                    .map(|(user, plan)| match plan {
                        Ok(alterations) => (user, format!("{} done", alterations.len())),
                        Err(refusal) => (user, format!("{} {refusal}", refusal.code() as i16)),
                    })
                    .collect();
                let planned: Vec<(&str, &str)> = planned
                    .iter()
                    .map(|(user, plan)| (user.as_str(), plan.as_str()))
                    .collect();
                assert_eq!(planned, expected, "{name}");
            };
        check("nothing", &[], &[], &[]);
        check(
            "both mechanisms",
            &[],
            &[("a", 1, 4096), ("a", 2, 16_384)],
            &[("a", "2 done")],
        );
        check(
            "one goes, one comes",
            &[("a", 1)],
            &[("a", 2, 4096)],
            &[("a", "2 done")],
        );
        check(
            "two users",
            &[("b", 1)],
            &[("a", 1, 4096)],
            &[("b", "1 done"), ("a", "1 done")],
        );
        check(
            "twice",
            &[("a", 1)],
            &[("a", 1, 4096)],
            &[("a", "92 A user credential cannot be altered twice in the same request")],
        );
        check("nobody", &[("", 1)], &[], &[("", "93 Username must not be empty")]);
        check("few", &[], &[("a", 1, 4095)], &[("a", "93 Too few iterations")]);
        check(
            "less than none",
            &[],
            &[("a", 1, -1)],
            &[("a", "93 Too few iterations")],
        );
        check("many", &[], &[("a", 2, 16_385)], &[("a", "93 Too many iterations")]);
        check(
            "unknown mechanism",
            &[("a", 3)],
            &[("a", 1, 4096)],
            &[("a", "33 Unknown SCRAM mechanism")],
        );
        check(
            "the last reason",
            &[("a", 0)],
            &[("a", 1, 1)],
            &[("a", "93 Too few iterations")],
        );
    }
}
