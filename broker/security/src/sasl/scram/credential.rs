//! What is kept of a password: `salt=…,stored_key=…,server_key=…,iterations=…`.
//!
//! The value of `SCRAM-SHA-256` and `SCRAM-SHA-512` in `/config/users/<name>`; the base64 is Java's basic one.
//!
//! Source: Kafka 3.9 `ScramCredential`, `ScramCredentialUtils`, `ScramFormatter.generateCredential`.

use core::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::ScramMechanism;
use crate::sasl::{NoRandomness, random_text};

/// A credential: enough to check a proof of the password, and to prove to the client that it is known.
#[derive(Clone, PartialEq, Eq)]
pub struct ScramCredential {
    /// The salt.
    pub salt: Vec<u8>,
    /// `H(ClientKey)`.
    pub stored_key: Vec<u8>,
    /// `HMAC(SaltedPassword, "Server Key")`.
    pub server_key: Vec<u8>,
    /// How often the password was hashed.
    pub iterations: u32,
}

/// Who has the keys can pose as the server, and search for the password.
impl fmt::Debug for ScramCredential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ScramCredential")
            .field("iterations", &self.iterations)
            .finish_non_exhaustive()
    }
}

/// A text that is no credential. Says only what is wrong, since the rest may be secret.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("Credentials not valid: {0}")]
pub struct InvalidCredential(&'static str);

impl ScramCredential {
    /// The credential of a password, with a new salt.
    ///
    /// # Errors
    /// The system gives no random bytes.
    pub fn of_password(mechanism: ScramMechanism, password: &str, iterations: u32) -> Result<Self, NoRandomness> {
        let salt = random_text()?.into_bytes();
        let salted = mechanism.salted_password(password.as_bytes(), &salt, iterations);
        Ok(Self::of_salted_password(mechanism, salt, &salted, iterations))
    }

    /// The credential of a password that was salted elsewhere, as AlterUserScramCredentials brings it.
    pub fn of_salted_password(mechanism: ScramMechanism, salt: Vec<u8>, salted: &[u8], iterations: u32) -> Self {
        Self {
            salt,
            stored_key: mechanism.hash(&mechanism.hmac(salted, b"Client Key")),
            server_key: mechanism.hmac(salted, b"Server Key"),
            iterations,
        }
    }

    /// As it stands in ZooKeeper.
    pub fn to_text(&self) -> String {
        format!(
            "salt={},stored_key={},server_key={},iterations={}",
            STANDARD.encode(&self.salt),
            STANDARD.encode(&self.stored_key),
            STANDARD.encode(&self.server_key),
            self.iterations
        )
    }

    /// Reads it as it stands in ZooKeeper; fields in any order, all of them and no other.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn from_text(text: &str) -> Result<Self, InvalidCredential> {
        let (mut salt, mut stored_key, mut server_key, mut iterations) = (None, None, None, None);
        for field in text.split(',') {
            let (name, value) = field.split_once('=').ok_or(InvalidCredential("a field has no value"))?;
            let decoded = || {
                STANDARD
                    .decode(value)
                    .map_err(|_| InvalidCredential("a field is not base64"))
            };
            match name {
                "salt" => salt = Some(decoded()?),
                "stored_key" => stored_key = Some(decoded()?),
                "server_key" => server_key = Some(decoded()?),
                "iterations" => {
                    let number = value.parse::<i32>().ok().and_then(|number| u32::try_from(number).ok());
                    iterations = Some(number.ok_or(InvalidCredential("iterations are not a number"))?);
                }
                _ => return Err(InvalidCredential("an unknown field")),
            }
        }
        match (salt, stored_key, server_key, iterations) {
            (Some(salt), Some(stored_key), Some(server_key), Some(iterations)) => Ok(Self {
                salt,
                stored_key,
                server_key,
                iterations,
            }),
            _ => Err(InvalidCredential("a field is missing")),
        }
    }
}
