//! The client's side of OAUTHBEARER: this broker's own logins.
//!
//! Source: Kafka 3.9 `OAuthBearerSaslClient`.

use std::collections::BTreeMap;

use model::Millis;

use super::message::{ClientFirst, SEPARATOR};
use super::{MECHANISM, unsecured};
use crate::sasl::{ClientFactory, ClientFailure, ClientMechanism, ClientStep};

/// Logins with unsecured tokens, each with a fresh one.
#[derive(Clone)]
pub struct UnsecuredLogins {
    options: BTreeMap<String, String>,
    extensions: BTreeMap<String, String>,
    now: fn() -> Millis,
}

impl UnsecuredLogins {
    /// By the options of the JAAS line; `now` is the time in milliseconds since 1970.
    ///
    /// # Errors
    /// The options make no token: a sentence that says why.
    pub fn from_options(options: &BTreeMap<String, String>, now: fn() -> Millis) -> Result<Self, String> {
        if unsecured::login_token(options, now())?.is_none() {
            return Err("the login module has no unsecuredLogin options, so nobody can log in with it".to_owned());
        }
        Ok(Self {
            options: options.clone(),
            extensions: unsecured::login_extensions(options)?,
            now,
        })
    }
}

impl ClientFactory for UnsecuredLogins {
    fn name(&self) -> &str {
        MECHANISM
    }

    fn begin(&self) -> Result<Box<dyn ClientMechanism>, ClientFailure> {
        let made = unsecured::login_token(&self.options, (self.now)()).map_err(ClientFailure)?;
        let (token, _) = made.ok_or_else(|| ClientFailure("there is no token to log in with".to_owned()))?;
        Ok(Box::new(OAuthBearerClient::new(token, self.extensions.clone())))
    }
}

/// One login with a token.
pub struct OAuthBearerClient {
    state: State,
}

enum State {
    First(ClientFirst),
    Sent,
    /// The server's reason; it says no more than that to the last message.
    Refused(String),
    Ended,
}

impl OAuthBearerClient {
    /// With this token, and extensions.
    pub fn new(token: String, extensions: BTreeMap<String, String>) -> Self {
        Self {
            state: State::First(ClientFirst {
                authorization_id: String::new(),
                token,
                extensions,
            }),
        }
    }
}

impl ClientMechanism for OAuthBearerClient {
    fn step(&mut self, server: &[u8]) -> Result<ClientStep, ClientFailure> {
        match core::mem::replace(&mut self.state, State::Ended) {
            State::First(first) if server.is_empty() => {
                self.state = State::Sent;
                Ok(ClientStep::Send(first.encode()))
            }
            State::Sent if server.is_empty() => Ok(ClientStep::Done),
            State::Sent => {
                self.state = State::Refused(String::from_utf8_lossy(server).chars().take(1_000).collect());
                Ok(ClientStep::Send(vec![SEPARATOR]))
            }
            State::Refused(reason) => Err(ClientFailure(format!("the token was refused: {reason}"))),
            State::First(_) | State::Ended => Err(ClientFailure("Unexpected challenge".to_owned())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::server::OAuthBearerServers;
    use super::super::{UnsecuredValidator, Validator};
    use super::*;
    use crate::sasl::{ServerFactory, Step};

    const NOW: Millis = Millis(1_800_000_000_000);

    fn options(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs
            .iter()
            .map(|(key, value)| ((*key).into(), (*value).into()))
            .collect()
    }

    #[test]
    fn client_and_server_agree() {
        let login = options(&[
            ("unsecuredLoginStringClaim_sub", "broker"),
            ("unsecuredLoginExtension_trace", "x"),
        ]);
        let logins = UnsecuredLogins::from_options(&login, || NOW).unwrap();
        let check = |required: &str, good: bool| {
            let validator = options(&[("unsecuredValidatorRequiredScope", required)]);
            let validator = UnsecuredValidator::from_options(&validator).unwrap();
            let mut server = OAuthBearerServers::new(Validator::Unsecured(validator), || NOW).begin();
            let mut client = logins.begin().unwrap();
            let Ok(ClientStep::Send(first)) = client.step(b"") else {
                panic!("no first message");
            };
            match server.step(&first) {
                Step::Done(done) => {
                    assert!(good);
                    assert_eq!(client.step(&done.final_message), Ok(ClientStep::Done));
                }
                Step::Challenge(json) => {
                    assert!(!good);
                    assert_eq!(json, br#"{"status":"insufficient_scope", "scope":"[admin]"}"#);
                    assert_eq!(client.step(&json), Ok(ClientStep::Send(vec![1])));
                    assert!(client.step(b"").unwrap_err().0.contains("insufficient_scope"));
                }
                Step::Failed(failure) => panic!("{failure}"),
            }
        };
        check("", true);
        check("admin", false);
    }

    #[test]
    fn options_that_make_no_token_are_found_out_at_once() {
        for pairs in [&[][..], &[("unsecuredLoginStringClaim_x", "y")]] {
            assert!(UnsecuredLogins::from_options(&options(pairs), || NOW).is_err());
        }
    }
}
