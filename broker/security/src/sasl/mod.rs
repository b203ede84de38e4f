//! The mechanisms of SASL, as machines that are given messages and say what follows.
//!
//! A mechanism knows neither connections nor requests: whoever carries its messages (frames of Kafka's own, or raw
//! tokens) feeds them in and sends what comes out. Look-ups are synchronous: credentials are held in memory
//! ([`ScramCredentials`], [`TokenCredentials`]) and kept up to date by others.
//!
//! Invariants: a mechanism that has said [`Step::Done`] or [`Step::Failed`] takes nothing more; nothing that it says
//! for the log or for the client holds a secret; what the client is told does not depend on whether a user exists.
//!
//! Source: Kafka 3.9 `SaslServerAuthenticator`, and the `SaslServer`s of PLAIN and SCRAM.

pub mod jaas;
pub mod plain;
pub mod scram;

mod random;

use core::fmt;

use model::Millis;

use crate::principal::KafkaPrincipal;

pub use plain::{PlainClient, PlainUsers};
pub use random::{NoRandomness, random_text};
pub use scram::{ScramClient, ScramCredential, ScramCredentials, ScramMechanism, TokenCredential, TokenCredentials};

/// `PLAIN`.
pub const PLAIN: &str = "PLAIN";
/// `SCRAM-SHA-256`.
pub const SCRAM_SHA_256: &str = "SCRAM-SHA-256";
/// `SCRAM-SHA-512`.
pub const SCRAM_SHA_512: &str = "SCRAM-SHA-512";
/// `OAUTHBEARER`.
pub const OAUTHBEARER: &str = "OAUTHBEARER";
/// `GSSAPI`.
pub const GSSAPI: &str = "GSSAPI";

/// The server's side of one login.
pub trait ServerMechanism: Send {
    /// Takes the client's next message.
    fn step(&mut self, client: &[u8]) -> Step;
}

/// A mechanism that a listener offers: makes a [`ServerMechanism`] for each login.
pub trait ServerFactory: Send + Sync {
    /// Its name, as clients ask for it.
    fn name(&self) -> &str;
    /// A login begins.
    fn begin(&self) -> Box<dyn ServerMechanism>;
}

/// What follows a client's message.
#[derive(Debug)]
pub enum Step {
    /// The client is to answer this.
    Challenge(Vec<u8>),
    /// The client is who it says it is.
    Done(Authenticated),
    /// It is not, or does not speak the mechanism.
    Failed(Failure),
}

/// A login that has succeeded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Authenticated {
    /// What the client is still to be told; often empty.
    pub final_message: Vec<u8>,
    /// Who has logged in; says itself whether a delegation token stood for it.
    pub principal: KafkaPrincipal,
    /// When the credential ends (milliseconds since 1970): the session does not outlive it. `None`: never.
    pub expires_at: Option<Millis>,
}

/// A login that has failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// For the log; without secrets.
    pub reason: String,
    /// For the client, if the general sentence says too little; must not tell whether a user exists.
    pub sentence: Option<String>,
}

impl Failure {
    /// A failure of which the client only hears the general sentence.
    pub fn new(reason: impl Into<String>) -> Self {
        Self {
            reason: reason.into(),
            sentence: None,
        }
    }

    /// A failure of which the client hears the same as the log.
    /// Source: Kafka's `SaslAuthenticationException`, thrown by a `SaslServer`.
    pub fn told(sentence: impl Into<String>) -> Self {
        let sentence = sentence.into();
        Self {
            reason: sentence.clone(),
            sentence: Some(sentence),
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.reason)
    }
}

/// The client's side of one login.
pub trait ClientMechanism: Send {
    /// Takes the server's next message; the first one is empty, since clients speak first.
    ///
    /// # Errors
    /// The server does not speak the mechanism, or is not who it should be.
    fn step(&mut self, server: &[u8]) -> Result<ClientStep, ClientFailure>;
}

/// A login of ours: makes a [`ClientMechanism`] for each connection.
pub trait ClientFactory: Send + Sync {
    /// The mechanism's name.
    fn name(&self) -> &str;
    /// A login begins.
    ///
    /// # Errors
    /// There is no credential to log in with just now.
    fn begin(&self) -> Result<Box<dyn ClientMechanism>, ClientFailure>;
}

/// What follows a server's message.
#[derive(PartialEq, Eq)]
pub enum ClientStep {
    /// The server is to be told this, and will answer.
    Send(Vec<u8>),
    /// Both sides are content.
    Done,
}

/// Messages may hold passwords.
impl fmt::Debug for ClientStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Send(message) => write!(f, "Send({} bytes)", message.len()),
            Self::Done => f.write_str("Done"),
        }
    }
}

/// Why a login of ours failed before the server has judged it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ClientFailure(pub String);
