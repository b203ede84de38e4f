//! The client's side of SCRAM: how brokers log in to each other.
//!
//! Source: Kafka 3.9 `ScramSaslClient`, `ScramLoginModule`; RFC 5802.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use parking_lot::Mutex;
use subtle::ConstantTimeEq;

use super::messages::{ServerFinal, ServerFirst, escape};
use super::{ScramMechanism, xor};
use crate::sasl::jaas::JaasEntry;
use crate::sasl::{ClientFactory, ClientFailure, ClientMechanism, ClientStep, random_text};

/// The login module of both mechanisms.
pub const SCRAM_LOGIN_MODULE: &str = "org.apache.kafka.common.security.scram.ScramLoginModule";

/// A password of more iterations than this is not hashed for a server that asks for it: it would be kept busy for
/// seconds. Kafka stores at most 16,384.
const ITERATIONS_MAX: u32 = 1 << 18;

/// A name and a password of ours.
#[derive(Clone)]
pub struct ScramClient {
    mechanism: ScramMechanism,
    username: String,
    password: String,
    token_authenticated: bool,
    salted: Arc<SaltedPassword>,
}

/// The password as the last server wanted it hashed. Salt and iterations change only with the password, and hashing
/// takes milliseconds, which a broker with hundreds of connections to renew need not spend for each.
#[derive(Default)]
struct SaltedPassword(Mutex<Option<Salted>>);

struct Salted {
    salt: Vec<u8>,
    iterations: u32,
    password: Vec<u8>,
}

impl SaltedPassword {
    fn of(&self, mechanism: ScramMechanism, password: &str, salt: &[u8], iterations: u32) -> Vec<u8> {
        let mut last = self.0.lock();
        match &*last {
            Some(known) if known.salt == salt && known.iterations == iterations => known.password.clone(),
            _ => {
                // Whoever else logs in now wants the same: let them wait for it.
                let password = mechanism.salted_password(password.as_bytes(), salt, iterations);
                *last = Some(Salted {
                    salt: salt.to_vec(),
                    iterations,
                    password: password.clone(),
                });
                password
            }
        }
    }
}

impl core::fmt::Debug for ScramClient {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("ScramClient")
            .field("mechanism", &self.mechanism)
            .field("username", &self.username)
            .finish_non_exhaustive()
    }
}

impl ScramClient {
    /// The `username` and `password` of a JAAS line; with `tokenauth="true"` they are a token's id and HMAC.
    ///
    /// # Errors
    /// One of them is not there.
    pub fn from_jaas(mechanism: ScramMechanism, entry: &JaasEntry) -> Result<Self, ClientFailure> {
        let (username, password) = entry.username_and_password()?;
        let token = entry.options.get("tokenauth");
        Ok(Self {
            mechanism,
            username,
            password,
            token_authenticated: token.is_some_and(|value| value.eq_ignore_ascii_case("true")),
            salted: Arc::default(),
        })
    }

    pub(super) fn begin_with(&self, nonce: String) -> ScramLogin {
        let extension = if self.token_authenticated {
            ",tokenauth=true"
        } else {
            ""
        };
        ScramLogin {
            mechanism: self.mechanism,
            password: self.password.clone(),
            salted: Arc::clone(&self.salted),
            first_bare: format!("n={},r={nonce}{extension}", escape(&self.username)),
            nonce,
            state: State::First,
        }
    }
}

impl ClientFactory for ScramClient {
    fn name(&self) -> &str {
        self.mechanism.name()
    }

    fn begin(&self) -> Result<Box<dyn ClientMechanism>, ClientFailure> {
        let nonce = random_text().map_err(|error| ClientFailure(error.to_string()))?;
        Ok(Box::new(self.begin_with(nonce)))
    }
}

/// One login.
pub(super) struct ScramLogin {
    mechanism: ScramMechanism,
    password: String,
    salted: Arc<SaltedPassword>,
    nonce: String,
    first_bare: String,
    state: State,
}

enum State {
    First,
    /// The server's salt comes next.
    Challenge,
    /// The server's signature comes next; this is what it must be.
    Signature(Vec<u8>),
    Ended,
}

impl ClientMechanism for ScramLogin {
    fn step(&mut self, server: &[u8]) -> Result<ClientStep, ClientFailure> {
        let refuse = |reason: String| Err(ClientFailure(reason));
        match std::mem::replace(&mut self.state, State::Ended) {
            State::First => {
                self.state = State::Challenge;
                Ok(ClientStep::Send(format!("n,,{}", self.first_bare).into_bytes()))
            }
            State::Challenge => {
                let Some(first) = ServerFirst::parse(server) else {
                    return refuse("Invalid SCRAM server first message format".into());
                };
                if !first.nonce.starts_with(&self.nonce) || first.nonce.len() == self.nonce.len() {
                    return refuse("Invalid server nonce: does not start with client nonce".into());
                }
                let (mechanism, least) = (self.mechanism, self.mechanism.min_iterations());
                if first.iterations < least {
                    return refuse(format!(
                        "Requested iterations {} is less than the minimum {least} for {}",
                        first.iterations,
                        mechanism.name()
                    ));
                }
                if first.iterations > ITERATIONS_MAX {
                    return refuse(format!("Requested iterations {} are too many", first.iterations));
                }
                let salted = self.salted.of(mechanism, &self.password, &first.salt, first.iterations);
                let without_proof = format!("c=biws,r={}", first.nonce);
                // A message that was parsed is ASCII.
                let proved = [self.first_bare.as_bytes(), server, without_proof.as_bytes()].join(&b',');
                let client_key = mechanism.hmac(&salted, b"Client Key");
                let client_signature = mechanism.hmac(&mechanism.hash(&client_key), &proved);
                let proof = STANDARD.encode(xor(&client_key, &client_signature));
                let server_key = mechanism.hmac(&salted, b"Server Key");
                self.state = State::Signature(mechanism.hmac(&server_key, &proved));
                Ok(ClientStep::Send(format!("{without_proof},p={proof}").into_bytes()))
            }
            State::Signature(expected) => match ServerFinal::parse(server) {
                Some(ServerFinal::Signature(found)) if bool::from(found.ct_eq(&expected)) => Ok(ClientStep::Done),
                Some(ServerFinal::Signature(_)) => refuse("Invalid server signature in server final message".into()),
                Some(ServerFinal::Error(error)) => refuse(format!(
                    "Sasl authentication using {} failed with error: {error}",
                    self.mechanism.name()
                )),
                None => refuse("Invalid SCRAM server final message format".into()),
            },
            State::Ended => refuse("Unexpected challenge after the end of the exchange".into()),
        }
    }
}
