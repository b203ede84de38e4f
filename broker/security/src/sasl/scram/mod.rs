//! SCRAM-SHA-256 and SCRAM-SHA-512 (RFC 5802, RFC 7677): proof of a password that neither side sends.
//!
//! Without channel binding, as Kafka has it; with Kafka's extension `tokenauth=true`, which logs in by a delegation
//! token.
//!
//! Source: Kafka 3.9 `ScramSaslServer`, `ScramSaslClient`, `ScramFormatter`, `ScramMessages`.

mod cache;
mod client;
mod credential;
mod messages;
mod server;

#[cfg(test)]
mod tests;

use hmac::{Hmac, Mac};
use sha2::{Digest, Sha256, Sha512};

pub use cache::ScramCache;
pub use client::{SCRAM_LOGIN_MODULE, ScramClient};
pub use credential::{InvalidCredential, ScramCredential};
pub use server::{NoTokens, ScramCredentials, ScramServers, TokenCredential, TokenCredentials};

/// Which hash a SCRAM mechanism is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ScramMechanism {
    /// `SCRAM-SHA-256`.
    Sha256,
    /// `SCRAM-SHA-512`.
    Sha512,
}

impl ScramMechanism {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Sha256, Self::Sha512];

    /// Its name: as clients ask for it, and the key of its credentials in `/config/users`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Sha256 => super::SCRAM_SHA_256,
            Self::Sha512 => super::SCRAM_SHA_512,
        }
    }

    /// The mechanism of this name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|mechanism| mechanism.name() == name)
    }

    /// Its number in requests. Source: Kafka 3.9 `ScramMechanism.type`.
    pub const fn number(self) -> i8 {
        match self {
            Self::Sha256 => 1,
            Self::Sha512 => 2,
        }
    }

    /// The mechanism of this number.
    pub fn from_number(number: i8) -> Option<Self> {
        Self::ALL.into_iter().find(|mechanism| mechanism.number() == number)
    }

    /// The fewest iterations that are taken.
    pub const fn min_iterations(self) -> u32 {
        4096
    }

    /// The most iterations that are taken.
    pub const fn max_iterations(self) -> u32 {
        16_384
    }

    /// Length of a hash, a key and a proof.
    pub(crate) const fn len(self) -> usize {
        match self {
            Self::Sha256 => 32,
            Self::Sha512 => 64,
        }
    }

    fn hash(self, bytes: &[u8]) -> Vec<u8> {
        match self {
            Self::Sha256 => Sha256::digest(bytes).to_vec(),
            Self::Sha512 => Sha512::digest(bytes).to_vec(),
        }
    }

    fn hmac(self, key: &[u8], bytes: &[u8]) -> Vec<u8> {
        fn of<M: Mac + hmac::digest::KeyInit>(key: &[u8], bytes: &[u8]) -> Vec<u8> {
            let mut mac = <M as Mac>::new_from_slice(key).expect("HMAC takes a key of any length");
            mac.update(bytes);
            mac.finalize().into_bytes().to_vec()
        }
        match self {
            Self::Sha256 => of::<Hmac<Sha256>>(key, bytes),
            Self::Sha512 => of::<Hmac<Sha512>>(key, bytes),
        }
    }

    /// `Hi(password, salt, iterations)`. The password's bytes count as they are: Kafka does not apply SASLprep.
    fn salted_password(self, password: &[u8], salt: &[u8], iterations: u32) -> Vec<u8> {
        let mut salted = vec![0; self.len()];
        match self {
            Self::Sha256 => pbkdf2::pbkdf2_hmac::<Sha256>(password, salt, iterations, &mut salted),
            Self::Sha512 => pbkdf2::pbkdf2_hmac::<Sha512>(password, salt, iterations, &mut salted),
        }
        salted
    }
}

fn xor(one: &[u8], other: &[u8]) -> Vec<u8> {
    debug_assert_eq!(one.len(), other.len());
    one.iter().zip(other).map(|(one, other)| one ^ other).collect()
}
