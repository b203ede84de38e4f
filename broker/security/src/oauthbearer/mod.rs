//! OAUTHBEARER (RFC 7628): a login by a token that somebody else has issued.
//!
//! Parses the client's message, has the token checked, and tells the client why not, in the two steps that the
//! mechanism has for it. Tokens are either unsecured (Kafka's default, for development) or signed by an identity
//! provider whose keys are a JSON web key set. Does not fetch keys, does not read a clock.
//!
//! Invariants: no part of a token gets into an error or a log line; a token is never both unsigned and trusted unless
//! the validator is the one for unsecured tokens.
//!
//! Source: Kafka 3.9 `OAuthBearerSaslServer`, `OAuthBearerSaslClient`.

pub mod client;
pub mod jwks;
mod jwt;
pub mod message;
pub mod server;
pub mod signed;
pub mod unsecured;

use model::Millis;

pub use self::signed::SignedValidator;
pub use self::unsecured::UnsecuredValidator;

/// The mechanism's name.
pub const MECHANISM: &str = "OAUTHBEARER";

/// Kafka's class that checks signed tokens, by its two names.
pub const SIGNED_VALIDATOR_CLASSES: [&str; 2] = [
    "org.apache.kafka.common.security.oauthbearer.OAuthBearerValidatorCallbackHandler",
    "org.apache.kafka.common.security.oauthbearer.secured.OAuthBearerValidatorCallbackHandler",
];

/// Kafka's class that checks unsecured tokens: what is used where none is named.
pub const UNSECURED_VALIDATOR_CLASS: &str =
    "org.apache.kafka.common.security.oauthbearer.internals.unsecured.OAuthBearerUnsecuredValidatorCallbackHandler";

/// Whom a good token stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bearer {
    /// The user's name.
    pub name: String,
    /// Until when the token is good.
    pub expires: Millis,
}

/// Why a token is not good.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// `invalid_token` or `insufficient_scope`.
    pub status: &'static str,
    /// The scope that it should have, where that is what is missing.
    pub scope: Option<String>,
    /// For the log of this broker alone; holds nothing of the token.
    pub reason: String,
}

impl Refusal {
    pub(crate) fn invalid_token(reason: String) -> Self {
        Self {
            status: "invalid_token",
            scope: None,
            reason,
        }
    }

    /// What the client is told.
    pub fn json(&self) -> String {
        let status = self.status;
        match &self.scope {
            None => format!("{{\"status\":\"{status}\"}}"),
            Some(scope) => format!("{{\"status\":\"{status}\", \"scope\":\"{scope}\"}}"),
        }
    }
}

/// Who looks into tokens.
#[derive(Clone, Debug)]
pub enum Validator {
    /// Kafka's default.
    Unsecured(UnsecuredValidator),
    /// With keys of an identity provider.
    Signed(SignedValidator),
}

impl Validator {
    /// Whose token it is, if it is good at `now`.
    ///
    /// # Errors
    /// It is not.
    pub fn validate(&self, token: &str, now: Millis) -> Result<Bearer, Refusal> {
        match self {
            Self::Unsecured(validator) => validator.validate(token, now),
            Self::Signed(validator) => validator.validate(token, now),
        }
    }
}
