//! The server's side of OAUTHBEARER.
//!
//! A token that is refused is told to the client as a challenge of JSON; its next message ends the login.
//!
//! Source: RFC 7628 §3.2.3; Kafka 3.9 `OAuthBearerSaslServer`.

use std::sync::Arc;

use model::Millis;

use super::message::{ClientFirst, SEPARATOR};
use super::{MECHANISM, Validator};
use crate::principal::KafkaPrincipal;
use crate::sasl::{Authenticated, Failure, ServerFactory, ServerMechanism, Step};

/// OAUTHBEARER as a listener offers it.
#[derive(Clone)]
pub struct OAuthBearerServers {
    validator: Arc<Validator>,
    now: fn() -> Millis,
}

impl OAuthBearerServers {
    /// With tokens that this validator takes; `now` is the time in milliseconds since 1970.
    pub fn new(validator: Validator, now: fn() -> Millis) -> Self {
        Self {
            validator: Arc::new(validator),
            now,
        }
    }
}

impl ServerFactory for OAuthBearerServers {
    fn name(&self) -> &str {
        MECHANISM
    }

    fn begin(&self) -> Box<dyn ServerMechanism> {
        Box::new(OAuthBearerServer {
            servers: self.clone(),
            told: None,
        })
    }
}

/// One login.
struct OAuthBearerServer {
    servers: OAuthBearerServers,
    /// What the client was told of its token.
    told: Option<Failure>,
}

impl ServerMechanism for OAuthBearerServer {
    fn step(&mut self, client: &[u8]) -> Step {
        if let Some(told) = self.told.take()
            && client == [SEPARATOR]
        {
            return Step::Failed(told);
        }
        let first = match ClientFirst::parse(client) {
            Ok(first) => first,
            Err(error) => return Step::Failed(Failure::new(error.to_string())),
        };
        let bearer = match self.servers.validator.validate(&first.token, (self.servers.now)()) {
            Ok(bearer) => bearer,
            Err(refusal) => {
                let json = refusal.json();
                self.told = Some(Failure {
                    reason: format!("{json}: {}", refusal.reason),
                    sentence: Some(json.clone()),
                });
                return Step::Challenge(json.into_bytes());
            }
        };
        if !first.authorization_id.is_empty() && first.authorization_id != bearer.name {
            return Step::Failed(Failure::told(format!(
                "Authentication failed: Client requested an authorization id ({}) that is different from the token's principal name ({})",
                first.authorization_id, bearer.name
            )));
        }
        Step::Done(Authenticated {
            final_message: Vec::new(),
            principal: KafkaPrincipal::user(bearer.name),
            expires_at: Some(bearer.expires),
        })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::super::UnsecuredValidator;
    use super::super::unsecured::login_token;
    use super::*;

    const NOW: Millis = Millis(1_800_000_000_000);

    fn begin() -> Box<dyn ServerMechanism> {
        let validator = UnsecuredValidator::from_options(&BTreeMap::new()).unwrap();
        OAuthBearerServers::new(Validator::Unsecured(validator), || NOW).begin()
    }

    fn first(authorization_id: &str, lifetime: &str) -> Vec<u8> {
        let options = [("StringClaim_sub", "alice"), ("LifetimeSeconds", lifetime)];
        let options = options.map(|(key, value)| (format!("unsecuredLogin{key}"), value.to_owned()));
        let (token, _) = login_token(&BTreeMap::from(options), NOW).unwrap().unwrap();
        let message = ClientFirst {
            authorization_id: authorization_id.into(),
            token,
            extensions: BTreeMap::new(),
        };
        message.encode()
    }

    #[test]
    fn a_good_token_logs_its_owner_in_for_as_long_as_it_is_good() {
        for authorization_id in ["", "alice"] {
            let Step::Done(done) = begin().step(&first(authorization_id, "60")) else {
                panic!("not logged in");
            };
            assert_eq!(done.principal, KafkaPrincipal::user("alice"));
            assert_eq!(done.expires_at, Some(Millis(NOW.0 + 60_000)));
            assert_eq!(done.final_message, b"");
        }
    }

    #[test]
    fn a_bad_token_is_refused_in_two_steps() {
        let mut login = begin();
        let Step::Challenge(json) = login.step(&first("", "0")) else {
            panic!("no challenge");
        };
        assert_eq!(json, br#"{"status":"invalid_token"}"#);
        let Step::Failed(failure) = login.step(&[1]) else {
            panic!("not refused");
        };
        assert_eq!(failure.sentence.as_deref(), Some(r#"{"status":"invalid_token"}"#));
        assert!(failure.reason.contains("Expiration Time"));
    }

    #[test]
    fn whoever_is_not_named_by_the_token_or_says_nothing_is_refused() {
        let check = |message: &[u8], told: bool| {
            let Step::Failed(failure) = begin().step(message) else {
                panic!("not refused");
            };
            assert_eq!(failure.sentence.is_some(), told, "{failure}");
        };
        check(&first("bob", "60"), true);
        check(&[1], false);
        check(b"", false);
        check(b"n,,\x01auth=Basic x\x01\x01", false);
    }
}
