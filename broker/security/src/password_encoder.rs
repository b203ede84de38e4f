//! Passwords as they stand in `/config/brokers/N`: encrypted with a key that is derived from a secret of the brokers.
//!
//! Decides how a password becomes Kafka's text and back, so that Kafka's brokers and tools and this broker read each
//! other's: fields `name:value` separated by commas, binary ones in base64, each text carrying all that it was made
//! with but the secret. Reads no configuration and no ZooKeeper.
//!
//! Invariants: what is decoded is outside data, and may neither panic nor keep a thread for long (the count of
//! iterations is bounded); neither the secret nor a password is ever in an error or a `Debug` output.
//!
//! Source: Kafka 3.9 `EncryptingPasswordEncoder`, `IvParamsEncoder`, `GcmParamsEncoder`, `PasswordEncoderConfigs`.

use core::fmt;
use std::collections::HashMap;

use aes::cipher::block_padding::Pkcs7;
use aes::cipher::{BlockDecryptMut, BlockEncryptMut, KeyIvInit};
use aws_lc_rs::aead::{self, Aad, LessSafeKey, Nonce, UnboundKey};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use pbkdf2::pbkdf2_hmac;

/// `password.encoder.keyfactory.algorithm` where none is set.
pub const DEFAULT_KEY_FACTORY: &str = "PBKDF2WithHmacSHA512";

const SALT_BYTES: usize = 256;
const BLOCK_BYTES: usize = 16;
const NONCE_BYTES: usize = 12;
const TAG_BYTES: usize = 16;
/// More iterations than this would keep a thread for longer than anybody means to; Kafka's default is 4096.
const ITERATIONS_MAX: u32 = 10_000_000;
/// Longer texts are not decoded: a PEM key store encoded is a few thousand bytes.
const ENCODED_BYTES_MAX: usize = 4 << 20;

/// Why a password cannot be encoded or decoded.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PasswordEncoderError {
    /// An algorithm that is not there.
    #[error("{name} SecretKeyFactory not available")]
    KeyFactory {
        /// As it was asked for.
        name: String,
    },
    /// A cipher that is not there, or not in this mode.
    #[error("Cannot find any provider supporting {name}")]
    Cipher {
        /// As it was asked for.
        name: String,
    },
    /// AES has keys of 128, 192 and 256 bits.
    #[error("Invalid AES key length: {bits} bits")]
    KeyLength {
        /// As it was asked for.
        bits: u32,
    },
    /// A count that is zero, or would keep a thread for too long.
    #[error("Iteration count {0} is not between 1 and 10000000")]
    Iterations(u32),
    /// The text is not one of an encoded password.
    #[error("Password could not be decoded: the field {0} is missing or malformed")]
    Malformed(&'static str),
    /// The secret is another one, or the text was tampered with.
    #[error("Password could not be decoded")]
    Undecodable,
    /// The system gives no random numbers.
    #[error("no random numbers can be had")]
    Random,
}

/// What the key is derived by. Source: Java `SecretKeyFactory` names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum KeyFactory {
    Sha1,
    Sha224,
    Sha256,
    Sha384,
    Sha512,
}

impl KeyFactory {
    const ALL: [(Self, &'static str); 5] = [
        (Self::Sha1, "PBKDF2WithHmacSHA1"),
        (Self::Sha224, "PBKDF2WithHmacSHA224"),
        (Self::Sha256, "PBKDF2WithHmacSHA256"),
        (Self::Sha384, "PBKDF2WithHmacSHA384"),
        (Self::Sha512, DEFAULT_KEY_FACTORY),
    ];

    fn named(name: &str) -> Result<Self, PasswordEncoderError> {
        Self::ALL
            .iter()
            .find(|(_, known)| known.eq_ignore_ascii_case(name))
            .map(|(factory, _)| *factory)
            .ok_or_else(|| PasswordEncoderError::KeyFactory { name: name.to_owned() })
    }

    fn name(self) -> &'static str {
        Self::ALL
            .iter()
            .find(|(factory, _)| *factory == self)
            .map_or(DEFAULT_KEY_FACTORY, |(_, name)| name)
    }

    fn key(self, secret: &[u8], salt: &[u8], iterations: u32, bits: u32) -> Result<Vec<u8>, PasswordEncoderError> {
        if !matches!(bits, 128 | 192 | 256) {
            return Err(PasswordEncoderError::KeyLength { bits });
        }
        if !(1..=ITERATIONS_MAX).contains(&iterations) {
            return Err(PasswordEncoderError::Iterations(iterations));
        }
        let mut key = vec![0; bits as usize / 8];
        match self {
            Self::Sha1 => pbkdf2_hmac::<sha1::Sha1>(secret, salt, iterations, &mut key),
            Self::Sha224 => pbkdf2_hmac::<sha2::Sha224>(secret, salt, iterations, &mut key),
            Self::Sha256 => pbkdf2_hmac::<sha2::Sha256>(secret, salt, iterations, &mut key),
            Self::Sha384 => pbkdf2_hmac::<sha2::Sha384>(secret, salt, iterations, &mut key),
            Self::Sha512 => pbkdf2_hmac::<sha2::Sha512>(secret, salt, iterations, &mut key),
        }
        Ok(key)
    }
}

/// What encrypts: AES in one of two modes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    Cbc,
    Gcm,
}

impl Mode {
    fn named(name: &str) -> Result<Self, PasswordEncoderError> {
        // `AES` alone is ECB in Java, for which Kafka finds no initialization vector either.
        [
            ("AES/CBC/PKCS5Padding", Self::Cbc),
            ("AES_128/CBC/PKCS5Padding", Self::Cbc),
            ("AES_256/CBC/PKCS5Padding", Self::Cbc),
            ("AES/GCM/NoPadding", Self::Gcm),
        ]
        .iter()
        .find(|(known, _)| known.eq_ignore_ascii_case(name))
        .map(|(_, mode)| *mode)
        .ok_or_else(|| PasswordEncoderError::Cipher { name: name.to_owned() })
    }
}

/// How passwords are encoded; each encoded text says itself how it is decoded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// `password.encoder.keyfactory.algorithm`.
    pub key_factory_algorithm: Option<String>,
    /// `password.encoder.cipher.algorithm`.
    pub cipher_algorithm: String,
    /// `password.encoder.key.length`, in bits.
    pub key_length: u32,
    /// `password.encoder.iterations`.
    pub iterations: u32,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            key_factory_algorithm: None,
            cipher_algorithm: "AES/CBC/PKCS5Padding".to_owned(),
            key_length: 128,
            iterations: 4096,
        }
    }
}

/// Encodes and decodes passwords with one secret.
#[derive(Clone)]
pub struct PasswordEncoder {
    secret: Vec<u8>,
    key_factory: KeyFactory,
    mode: Mode,
    settings: Settings,
}

/// Without the secret.
impl fmt::Debug for PasswordEncoder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PasswordEncoder")
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}

impl PasswordEncoder {
    /// An encoder with `password.encoder.secret` (or `.old.secret`).
    ///
    /// # Errors
    /// An algorithm or a length that is not there.
    pub fn new(secret: &str, settings: Settings) -> Result<Self, PasswordEncoderError> {
        let key_factory = match settings.key_factory_algorithm.as_deref() {
            Some(name) => KeyFactory::named(name)?,
            None => KeyFactory::Sha512,
        };
        let mode = Mode::named(&settings.cipher_algorithm)?;
        if !matches!(settings.key_length, 128 | 192 | 256) {
            return Err(PasswordEncoderError::KeyLength {
                bits: settings.key_length,
            });
        }
        if !(1..=ITERATIONS_MAX).contains(&settings.iterations) {
            return Err(PasswordEncoderError::Iterations(settings.iterations));
        }
        Ok(Self {
            secret: secret.as_bytes().to_vec(),
            key_factory,
            mode,
            settings,
        })
    }

    /// The text for ZooKeeper; another one each time, for the salt is random.
    ///
    /// # Errors
    /// There are no random numbers.
    pub fn encode(&self, password: &str) -> Result<String, PasswordEncoderError> {
        let mut salt = [0; SALT_BYTES];
        let mut vector = [0; BLOCK_BYTES];
        let vector = match self.mode {
            Mode::Cbc => &mut vector[..],
            Mode::Gcm => &mut vector[..NONCE_BYTES],
        };
        aws_lc_rs::rand::fill(&mut salt).map_err(|_| PasswordEncoderError::Random)?;
        aws_lc_rs::rand::fill(vector).map_err(|_| PasswordEncoderError::Random)?;
        self.encode_with(password, &salt, vector)
    }

    fn encode_with(&self, password: &str, salt: &[u8], vector: &[u8]) -> Result<String, PasswordEncoderError> {
        let (iterations, bits) = (self.settings.iterations, self.settings.key_length);
        let key = self.key_factory.key(&self.secret, salt, iterations, bits)?;
        let (encrypted, tag_field) = match self.mode {
            Mode::Cbc => (encrypt_cbc(&key, vector, password.as_bytes())?, String::new()),
            Mode::Gcm => (
                encrypt_gcm(&key, vector, password.as_bytes())?,
                format!("authenticationTagLength:{},", TAG_BYTES * 8),
            ),
        };
        // In the order in which Java's hash map happens to give the fields; nobody depends on it, but znodes are
        // compared by eye.
        Ok(format!(
            "initializationVector:{},keyLength:{bits},salt:{},keyFactoryAlgorithm:{},cipherAlgorithm:{},{tag_field}iterations:{iterations},passwordLength:{},encryptedPassword:{}",
            STANDARD.encode(vector),
            STANDARD.encode(salt),
            self.key_factory.name(),
            self.settings.cipher_algorithm,
            password.encode_utf16().count(),
            STANDARD.encode(encrypted),
        ))
    }

    /// The password that `encoded` holds. How it was encoded it says itself; only the secret is ours.
    ///
    /// # Errors
    /// Another secret, or a text that nobody has encoded.
    pub fn decode(&self, encoded: &str) -> Result<String, PasswordEncoderError> {
        if encoded.len() > ENCODED_BYTES_MAX {
            return Err(PasswordEncoderError::Undecodable);
        }
        let fields = Fields::parse(encoded);
        let key_factory = match fields.0.get("keyFactoryAlgorithm") {
            Some(name) => KeyFactory::named(name)?,
            None => KeyFactory::Sha512,
        };
        let mode = Mode::named(fields.text("cipherAlgorithm")?)?;
        let (bits, iterations) = (fields.number("keyLength")?, fields.number("iterations")?);
        let (salt, vector) = (fields.bytes("salt")?, fields.bytes("initializationVector")?);
        let encrypted = fields.bytes("encryptedPassword")?;
        let length = fields.number("passwordLength")?;
        let key = key_factory.key(&self.secret, &salt, iterations, bits)?;
        let decrypted = match mode {
            Mode::Cbc => decrypt_cbc(&key, &vector, &encrypted)?,
            Mode::Gcm => {
                // Shorter tags exist in Java; Kafka never writes them.
                if fields.number("authenticationTagLength")? as usize != TAG_BYTES * 8 {
                    return Err(PasswordEncoderError::Malformed("authenticationTagLength"));
                }
                decrypt_gcm(&key, &vector, encrypted)?
            }
        };
        let password = String::from_utf8(decrypted).map_err(|_| PasswordEncoderError::Undecodable)?;
        // Kafka's own check: a wrong key may by chance leave a valid padding.
        if password.encode_utf16().count() != length as usize {
            return Err(PasswordEncoderError::Undecodable);
        }
        Ok(password)
    }
}

/// `name:value` pairs; of several colons the last one counts. Source: Kafka `Csv.parseCsvMap`.
struct Fields<'a>(HashMap<&'a str, &'a str>);

impl<'a> Fields<'a> {
    fn parse(text: &'a str) -> Self {
        let pairs = text.split(',').filter_map(|item| item.trim().rsplit_once(':'));
        Self(pairs.map(|(name, value)| (name.trim(), value.trim())).collect())
    }

    fn text(&self, name: &'static str) -> Result<&'a str, PasswordEncoderError> {
        self.0.get(name).copied().ok_or(PasswordEncoderError::Malformed(name))
    }

    fn number(&self, name: &'static str) -> Result<u32, PasswordEncoderError> {
        self.text(name)?
            .parse()
            .map_err(|_| PasswordEncoderError::Malformed(name))
    }

    fn bytes(&self, name: &'static str) -> Result<Vec<u8>, PasswordEncoderError> {
        STANDARD
            .decode(self.text(name)?)
            .map_err(|_| PasswordEncoderError::Malformed(name))
    }
}

/// Runs `$body` with `$cipher` as AES in CBC mode of the key's size.
macro_rules! with_aes {
    ($key:expr, $vector:expr, $mode:ident, |$cipher:ident| $body:expr) => {{
        let (key, vector): (&[u8], &[u8]) = ($key, $vector);
        let malformed = |_| PasswordEncoderError::Malformed("initializationVector");
        match key.len() {
            16 => {
                let $cipher = cbc::$mode::<aes::Aes128>::new_from_slices(key, vector).map_err(malformed)?;
                $body
            }
            24 => {
                let $cipher = cbc::$mode::<aes::Aes192>::new_from_slices(key, vector).map_err(malformed)?;
                $body
            }
            _ => {
                let $cipher = cbc::$mode::<aes::Aes256>::new_from_slices(key, vector).map_err(malformed)?;
                $body
            }
        }
    }};
}

fn encrypt_cbc(key: &[u8], vector: &[u8], plain: &[u8]) -> Result<Vec<u8>, PasswordEncoderError> {
    Ok(with_aes!(key, vector, Encryptor, |cipher| {
        cipher.encrypt_padded_vec_mut::<Pkcs7>(plain)
    }))
}

fn decrypt_cbc(key: &[u8], vector: &[u8], encrypted: &[u8]) -> Result<Vec<u8>, PasswordEncoderError> {
    with_aes!(key, vector, Decryptor, |cipher| {
        cipher
            .decrypt_padded_vec_mut::<Pkcs7>(encrypted)
            .map_err(|_| PasswordEncoderError::Undecodable)
    })
}

fn gcm_key(key: &[u8]) -> Result<LessSafeKey, PasswordEncoderError> {
    let algorithm = match key.len() {
        16 => &aead::AES_128_GCM,
        24 => &aead::AES_192_GCM,
        _ => &aead::AES_256_GCM,
    };
    UnboundKey::new(algorithm, key)
        .map(LessSafeKey::new)
        .map_err(|_| PasswordEncoderError::Undecodable)
}

fn nonce(vector: &[u8]) -> Result<Nonce, PasswordEncoderError> {
    Nonce::try_assume_unique_for_key(vector).map_err(|_| PasswordEncoderError::Malformed("initializationVector"))
}

fn encrypt_gcm(key: &[u8], vector: &[u8], plain: &[u8]) -> Result<Vec<u8>, PasswordEncoderError> {
    let mut data = plain.to_vec();
    gcm_key(key)?
        .seal_in_place_append_tag(nonce(vector)?, Aad::empty(), &mut data)
        .map_err(|_| PasswordEncoderError::Undecodable)?;
    Ok(data)
}

fn decrypt_gcm(key: &[u8], vector: &[u8], mut encrypted: Vec<u8>) -> Result<Vec<u8>, PasswordEncoderError> {
    let plain = gcm_key(key)?
        .open_in_place(nonce(vector)?, Aad::empty(), &mut encrypted)
        .map_err(|_| PasswordEncoderError::Undecodable)?;
    Ok(plain.to_vec())
}

#[cfg(test)]
#[path = "password_encoder_tests.rs"]
mod tests;
