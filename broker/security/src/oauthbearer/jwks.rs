//! The keys of an identity provider: a JSON web key set, and which key a token wants.
//!
//! Decides when keys that are missing are worth asking for again; does not fetch them. What cannot verify a signature
//! (symmetric keys, unknown curves) is left out of the set, so that a secret can never be taken for a public key.
//!
//! Source: RFC 7517, RFC 7518 §6; Kafka 3.9 `RefreshingHttpsJwks`, `VerificationJwkSelector` of jose4j.

use std::sync::Arc;

use arc_swap::ArcSwap;
use aws_lc_rs::signature::{self, RsaPublicKeyComponents, UnparsedPublicKey};
use model::Millis;
use parking_lot::Mutex;
use serde_json::{Map, Value};
use tokio::sync::Notify;

use super::jwt::base64;

/// How many ids of keys that nobody has are remembered.
const MISSING_MAX: usize = 16;
/// How long one of them is not asked for again.
const MISSING_FOR: Millis = Millis(60_000);
/// Longer ids are not believed to be any.
const KEY_ID_MAX: usize = 1_000;

/// How a token is signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Algorithm {
    Rs256,
    Rs384,
    Rs512,
    Ps256,
    Ps384,
    Ps512,
    Es256,
    Es384,
    Es512,
    EdDsa,
}

impl Algorithm {
    /// By its name in a header. `none` is none, and so are the symmetric ones.
    pub(super) fn named(name: &str) -> Option<Self> {
        Some(match name {
            "RS256" => Self::Rs256,
            "RS384" => Self::Rs384,
            "RS512" => Self::Rs512,
            "PS256" => Self::Ps256,
            "PS384" => Self::Ps384,
            "PS512" => Self::Ps512,
            "ES256" => Self::Es256,
            "ES384" => Self::Es384,
            "ES512" => Self::Es512,
            "EdDSA" => Self::EdDsa,
            _ => return None,
        })
    }
}

/// A public key.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Key {
    id: Option<String>,
    /// The one algorithm it is meant for, if it says so.
    algorithm: Option<String>,
    material: Material,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Material {
    Rsa {
        n: Vec<u8>,
        e: Vec<u8>,
    },
    /// An uncompressed point.
    Ec {
        curve: Curve,
        point: Vec<u8>,
    },
    Ed25519(Vec<u8>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Curve {
    P256,
    P384,
    P521,
}

/// The keys of one provider at one time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeySet(Vec<Key>);

impl KeySet {
    /// Parses a JSON web key set. Keys that cannot verify signatures here are left out.
    ///
    /// # Errors
    /// It is none: a sentence that says so.
    pub fn parse(json: &[u8]) -> Result<Self, String> {
        let set: Value = serde_json::from_slice(json).map_err(|error| format!("not a JSON web key set: {error}"))?;
        let keys = set.get("keys").and_then(Value::as_array);
        let keys = keys.ok_or("not a JSON web key set: no 'keys'")?;
        let keys = keys.iter().filter_map(Value::as_object);
        Ok(Self(keys.filter_map(key).collect()))
    }

    /// How many keys can be used.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The key for a token with this header; several that fit are one too many only for those that say another algorithm.
    fn select(&self, key_id: Option<&str>, name: &str, algorithm: Algorithm) -> Option<&Key> {
        let fits = |key: &&Key| key_id.is_none_or(|id| key.id.as_deref() == Some(id)) && key.material.signs(algorithm);
        let mut found = self.0.iter().filter(fits);
        let first = found.next()?;
        match found.next() {
            None => Some(first),
            Some(_) => self
                .0
                .iter()
                .filter(fits)
                .find(|key| key.algorithm.as_deref().is_none_or(|own| own == name)),
        }
    }
}

impl Material {
    fn signs(&self, algorithm: Algorithm) -> bool {
        use Algorithm::*;
        match self {
            Self::Rsa { .. } => matches!(algorithm, Rs256 | Rs384 | Rs512 | Ps256 | Ps384 | Ps512),
            Self::Ec { curve, .. } => matches!(
                (curve, algorithm),
                (Curve::P256, Es256) | (Curve::P384, Es384) | (Curve::P521, Es512)
            ),
            Self::Ed25519(_) => algorithm == EdDsa,
        }
    }

    /// Whether `signature` is this key's for `message`.
    fn verify(&self, algorithm: Algorithm, message: &[u8], signature: &[u8]) -> bool {
        let rsa = |with: &'static signature::RsaParameters| match self {
            Self::Rsa { n, e } => RsaPublicKeyComponents { n, e }.verify(with, message, signature).is_ok(),
            _ => false,
        };
        let other = |with: &'static dyn signature::VerificationAlgorithm| match self {
            Self::Ec { point: bytes, .. } | Self::Ed25519(bytes) => {
                UnparsedPublicKey::new(with, bytes).verify(message, signature).is_ok()
            }
            Self::Rsa { .. } => false,
        };
        match algorithm {
            Algorithm::Rs256 => rsa(&signature::RSA_PKCS1_2048_8192_SHA256),
            Algorithm::Rs384 => rsa(&signature::RSA_PKCS1_2048_8192_SHA384),
            Algorithm::Rs512 => rsa(&signature::RSA_PKCS1_2048_8192_SHA512),
            Algorithm::Ps256 => rsa(&signature::RSA_PSS_2048_8192_SHA256),
            Algorithm::Ps384 => rsa(&signature::RSA_PSS_2048_8192_SHA384),
            Algorithm::Ps512 => rsa(&signature::RSA_PSS_2048_8192_SHA512),
            Algorithm::Es256 => other(&signature::ECDSA_P256_SHA256_FIXED),
            Algorithm::Es384 => other(&signature::ECDSA_P384_SHA384_FIXED),
            Algorithm::Es512 => other(&signature::ECDSA_P521_SHA512_FIXED),
            Algorithm::EdDsa => other(&signature::ED25519),
        }
    }
}

/// `None` for what cannot verify a signature.
fn key(json: &Map<String, Value>) -> Option<Key> {
    let text = |name: &str| json.get(name).and_then(Value::as_str);
    let bytes = |name: &str| base64(text(name)?).ok().filter(|bytes| !bytes.is_empty());
    if text("use").is_some_and(|usage| usage != "sig") {
        return None;
    }
    let material = match text("kty")? {
        "RSA" => Material::Rsa {
            n: unsigned(bytes("n")?),
            e: unsigned(bytes("e")?),
        },
        "EC" => {
            let (curve, size) = match text("crv")? {
                "P-256" => (Curve::P256, 32_usize),
                "P-384" => (Curve::P384, 48),
                "P-521" => (Curve::P521, 66),
                _ => return None,
            };
            let mut point = vec![4];
            for coordinate in [bytes("x")?, bytes("y")?] {
                let missing = size.checked_sub(coordinate.len())?;
                point.extend(core::iter::repeat_n(0, missing));
                point.extend(coordinate);
            }
            Material::Ec { curve, point }
        }
        "OKP" if text("crv") == Some("Ed25519") => Material::Ed25519(bytes("x")?),
        _ => return None,
    };
    Some(Key {
        id: text("kid").map(str::to_owned),
        algorithm: text("alg").map(str::to_owned),
        material,
    })
}

/// A number without the zeros before it, which some providers send and the cryptography refuses.
fn unsigned(bytes: Vec<u8>) -> Vec<u8> {
    let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
    bytes[zeros..].to_vec()
}

/// The keys of a provider as they are now; whoever fetches them replaces them.
pub struct Keys {
    current: ArcSwap<KeySet>,
    missing: Mutex<Vec<(String, Millis)>>,
    wanted: Notify,
}

impl Keys {
    /// Begins with these.
    pub fn new(keys: KeySet) -> Arc<Self> {
        Arc::new(Self {
            current: ArcSwap::from_pointee(keys),
            missing: Mutex::default(),
            wanted: Notify::new(),
        })
    }

    /// The provider has others now.
    pub fn replace(&self, keys: KeySet) {
        let has = |id: &str| keys.0.iter().any(|key| key.id.as_deref() == Some(id));
        self.missing.lock().retain(|(id, _)| !has(id));
        self.current.store(Arc::new(keys));
    }

    /// Waits until a token names a key that is not here: fetching them now may help.
    pub async fn wanted(&self) {
        self.wanted.notified().await;
    }

    /// Whether the key that the header names has signed `message`. A key that is not there is asked for, at most once
    /// a minute for each id.
    pub(super) fn verify(
        &self,
        key_id: Option<&str>,
        algorithm: &str,
        message: &[u8],
        signature: &[u8],
        now: Millis,
    ) -> Result<(), &'static str> {
        let known = Algorithm::named(algorithm).ok_or("the signature's algorithm is not one that is allowed")?;
        let keys = self.current.load();
        let Some(key) = keys.select(key_id, algorithm, known) else {
            if let Some(id) = key_id {
                self.want(id, now);
            }
            return Err("Unable to find a suitable verification key");
        };
        match key.material.verify(known, message, signature) {
            true => Ok(()),
            false => Err("JWT rejected due to invalid signature"),
        }
    }

    fn want(&self, id: &str, now: Millis) {
        if id.len() > KEY_ID_MAX {
            return;
        }
        let mut missing = self.missing.lock();
        let known = missing.iter().position(|(known, _)| known == id);
        if known.is_some_and(|at| now.0 < missing[at].1.0) {
            return;
        }
        if let Some(at) = known.or((missing.len() >= MISSING_MAX).then_some(0)) {
            missing.remove(at);
        }
        missing.push((id.to_owned(), Millis(now.0.saturating_add(MISSING_FOR.0))));
        self.wanted.notify_one();
    }
}

impl core::fmt::Debug for Keys {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Keys")
            .field("count", &self.current.load().len())
            .finish()
    }
}

#[cfg(test)]
#[path = "jwks_tests.rs"]
mod tests;
