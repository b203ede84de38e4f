//! The server's side of SCRAM.
//!
//! A user or token that does not exist gets a challenge like any other, made up but always the same for the same name,
//! and fails at the end: neither messages nor time tell who exists. Kafka ends such a login at once.
//!
//! Source: Kafka 3.9 `ScramSaslServer`, `ScramServerCallbackHandler`; RFC 5802 sections 3, 5 and 9.

use std::sync::{Arc, OnceLock};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use model::Millis;
use subtle::ConstantTimeEq;

use super::messages::{ClientFinal, ClientFirst, unescape};
use super::{ScramCredential, ScramMechanism, xor};
use crate::principal::KafkaPrincipal;
use crate::sasl::{Authenticated, Failure, ServerFactory, ServerMechanism, Step, random, random_text};

/// Where users' credentials are looked up.
pub trait ScramCredentials: Send + Sync {
    /// The credential of a user, if it has one for this mechanism.
    fn credential(&self, mechanism: ScramMechanism, user: &str) -> Option<Arc<ScramCredential>>;
}

/// Where delegation tokens are looked up.
pub trait TokenCredentials: Send + Sync {
    /// The token of this id.
    fn token(&self, mechanism: ScramMechanism, token_id: &str) -> Option<TokenCredential>;
}

/// A delegation token to log in with.
#[derive(Clone, Debug)]
pub struct TokenCredential {
    /// Whom it stands for.
    pub owner: KafkaPrincipal,
    /// Its HMAC (in base64) as the password.
    pub credential: Arc<ScramCredential>,
    /// When it ends.
    pub expires_at: Millis,
}

/// No delegation tokens at all.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoTokens;

impl TokenCredentials for NoTokens {
    fn token(&self, _mechanism: ScramMechanism, _token_id: &str) -> Option<TokenCredential> {
        None
    }
}

/// A SCRAM mechanism that a listener offers.
#[derive(Clone)]
pub struct ScramServers {
    mechanism: ScramMechanism,
    credentials: Arc<dyn ScramCredentials>,
    tokens: Arc<dyn TokenCredentials>,
}

impl ScramServers {
    /// With credentials looked up there.
    pub fn new(
        mechanism: ScramMechanism,
        credentials: Arc<dyn ScramCredentials>,
        tokens: Arc<dyn TokenCredentials>,
    ) -> Self {
        Self {
            mechanism,
            credentials,
            tokens,
        }
    }
}

impl ServerFactory for ScramServers {
    fn name(&self) -> &str {
        self.mechanism.name()
    }

    fn begin(&self) -> Box<dyn ServerMechanism> {
        Box::new(ScramServer::new(self.clone()))
    }
}

/// One login.
pub(super) struct ScramServer {
    servers: ScramServers,
    state: State,
    /// Set by tests, which must know what comes out.
    #[cfg(test)]
    pub(super) nonce: Option<String>,
}

enum State {
    First,
    Final(Box<Exchange>),
    Ended,
}

/// What is remembered between the two messages of the client.
struct Exchange {
    gs2_header: String,
    client_first_bare: String,
    server_first: String,
    nonce: String,
    credential: Arc<ScramCredential>,
    outcome: Result<Who, Failure>,
}

/// Who has logged in if the proof is right.
struct Who {
    principal: KafkaPrincipal,
    expires_at: Option<Millis>,
}

impl ServerMechanism for ScramServer {
    fn step(&mut self, client: &[u8]) -> Step {
        match std::mem::replace(&mut self.state, State::Ended) {
            State::First => match self.first(client) {
                Ok(exchange) => {
                    let challenge = exchange.server_first.clone().into_bytes();
                    self.state = State::Final(Box::new(exchange));
                    Step::Challenge(challenge)
                }
                Err(failure) => Step::Failed(failure),
            },
            State::Final(exchange) => match exchange.finish(self.servers.mechanism, client) {
                Ok(done) => Step::Done(done),
                Err(failure) => Step::Failed(failure),
            },
            State::Ended => Step::Failed(Failure::new("Unexpected message after the end of the exchange")),
        }
    }
}

impl ScramServer {
    pub(super) fn new(servers: ScramServers) -> Self {
        Self {
            servers,
            state: State::First,
            #[cfg(test)]
            nonce: None,
        }
    }

    fn server_nonce(&self) -> Result<String, Failure> {
        #[cfg(test)]
        if let Some(nonce) = &self.nonce {
            return Ok(nonce.clone());
        }
        random_text().map_err(|error| Failure::new(error.to_string()))
    }

    fn first(&self, message: &[u8]) -> Result<Exchange, Failure> {
        // The message is not logged: it is whatever a stranger wanted to see in the log.
        let first =
            ClientFirst::parse(message).ok_or_else(|| Failure::new("Invalid SCRAM client first message format"))?;
        let user = unescape(first.user);
        if !first.authorization_id.is_empty()
            && first.authorization_id != user
            && unescape(first.authorization_id) != user
        {
            return Err(Failure::told(
                "Authentication failed: Client requested an authorization id that is different from username",
            ));
        }
        let mechanism = self.servers.mechanism;
        let found = if first.token_authenticated {
            self.servers.tokens.token(mechanism, &user).map(|token| {
                let principal = KafkaPrincipal {
                    token_authenticated: true,
                    ..token.owner
                };
                let who = Who {
                    principal,
                    expires_at: Some(token.expires_at),
                };
                (token.credential, who)
            })
        } else {
            self.servers.credentials.credential(mechanism, &user).map(|credential| {
                let who = Who {
                    principal: KafkaPrincipal::user(user.as_str()),
                    expires_at: None,
                };
                (credential, who)
            })
        };
        let (credential, outcome) = match found {
            Some((credential, _)) if credential.iterations < mechanism.min_iterations() => {
                return Err(Failure::new(format!(
                    "Iterations {} is less than the minimum {} for {}",
                    credential.iterations,
                    mechanism.min_iterations(),
                    mechanism.name()
                )));
            }
            Some((credential, who)) => (credential, Ok(who)),
            None => {
                let reason = if first.token_authenticated {
                    format!("Token Authentication failed: Invalid tokenId : {}", shown(&user))
                } else {
                    format!(
                        "Authentication failed: Invalid user credentials: {} has none for {}",
                        shown(&user),
                        mechanism.name()
                    )
                };
                (made_up(mechanism, &user)?, Err(Failure::new(reason)))
            }
        };
        let nonce = format!("{}{}", first.nonce, self.server_nonce()?);
        let server_first = format!(
            "r={nonce},s={},i={}",
            STANDARD.encode(&credential.salt),
            credential.iterations
        );
        Ok(Exchange {
            gs2_header: first.gs2_header.to_owned(),
            client_first_bare: first.bare.to_owned(),
            server_first,
            nonce,
            credential,
            outcome,
        })
    }
}

impl Exchange {
    fn finish(self, mechanism: ScramMechanism, message: &[u8]) -> Result<Authenticated, Failure> {
        let last =
            ClientFinal::parse(message).ok_or_else(|| Failure::new("Invalid SCRAM client final message format"))?;
        // Only its end counts, as in Kafka: librdkafka (up to 2.x) says its own nonce twice.
        if !last.nonce.ends_with(&self.nonce) {
            return Err(Failure::new("Invalid client nonce in the final client message."));
        }
        // Kafka does not look at it; Java's client says `n,,` whatever its header was. Anything else was tampered with.
        if last.channel_binding != self.gs2_header.as_bytes() && last.channel_binding != b"n,," {
            return Err(Failure::new("Invalid channel binding in the final client message."));
        }
        if last.proof.len() != mechanism.len() {
            return Err(Failure::new("Invalid client credentials: the proof has another length"));
        }
        let proved = format!(
            "{},{},{}",
            self.client_first_bare, self.server_first, last.without_proof
        );
        let credential = &self.credential;
        let client_signature = mechanism.hmac(&credential.stored_key, proved.as_bytes());
        let stored_key = mechanism.hash(&xor(&client_signature, &last.proof));
        let right = bool::from(stored_key.ct_eq(&credential.stored_key));
        let who = self.outcome?;
        if !right {
            return Err(Failure::new(format!("Invalid client credentials of {}", who.principal)));
        }
        let signature = mechanism.hmac(&credential.server_key, proved.as_bytes());
        Ok(Authenticated {
            final_message: format!("v={}", STANDARD.encode(signature)).into_bytes(),
            principal: who.principal,
            expires_at: who.expires_at,
        })
    }
}

/// A name that a stranger has chosen, for one line of the log.
fn shown(name: &str) -> String {
    const LONGEST: usize = 64;
    let shown: String = name.chars().take(LONGEST).flat_map(char::escape_default).collect();
    if name.len() > LONGEST { shown + "…" } else { shown }
}

/// A credential for who has none: no password fits, and its salt is always the same for the same name.
fn made_up(mechanism: ScramMechanism, name: &str) -> Result<Arc<ScramCredential>, Failure> {
    static KEY: OnceLock<[u8; 32]> = OnceLock::new();
    let key = match KEY.get() {
        Some(key) => key,
        None => {
            let mut key = [0; 32];
            random::fill(&mut key).map_err(|error| Failure::new(error.to_string()))?;
            KEY.get_or_init(|| key)
        }
    };
    let of = |what: &str| mechanism.hmac(key, format!("{what} {} {name}", mechanism.name()).as_bytes());
    // Looks like the salts which Kafka's tools make: a number of 130 bits in base 36.
    let letter = |byte: &u8| b"0123456789abcdefghijklmnopqrstuvwxyz"[usize::from(byte % 36)];
    let salt = of("salt").iter().take(26).map(letter).collect();
    Ok(Arc::new(ScramCredential {
        salt,
        stored_key: of("stored key"),
        server_key: of("server key"),
        iterations: mechanism.min_iterations(),
    }))
}
