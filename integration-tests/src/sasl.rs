//! SASL by hand, over a plain socket: what a client library would never send, and what it would not tell.
//!
//! [`Scram`] is a client of RFC 5802 whose messages are strings, so that a test can spoil them before they go out.

use crate::wire::{Connection, malformed, put_string};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::{Buf, BufMut, Bytes, BytesMut};
use hmac::{Hmac, Mac};
use sha2::{Digest, Sha256};
use std::io::Result;

const SASL_HANDSHAKE: i16 = 17;
const SASL_AUTHENTICATE: i16 = 36;

/// A broker's answer to one step of a login.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SaslAnswer {
    /// Kafka's error code, 0 for none.
    pub error: i16,
    /// What it says about the error.
    pub message: String,
    /// The mechanism's own bytes.
    pub bytes: Bytes,
}

impl Connection {
    /// Names a mechanism (SaslHandshake version 1); gives the error code and the mechanisms that the broker offers.
    ///
    /// # Errors
    /// As for [`Connection::receive`].
    pub fn sasl_handshake(&mut self, mechanism: &str) -> Result<(i16, Vec<String>)> {
        let mut body = BytesMut::new();
        put_string(&mut body, mechanism);
        self.send(SASL_HANDSHAKE, 1, &body)?;
        let (_, mut answer) = self.receive()?;
        if answer.remaining() < 6 {
            return Err(malformed("a short SaslHandshake answer"));
        }
        let (error, count) = (answer.get_i16(), answer.get_i32());
        let mut offered = Vec::new();
        for _ in 0..count {
            offered.push(take_string(&mut answer)?.unwrap_or_default());
        }
        Ok((error, offered))
    }

    /// One step of the mechanism (SaslAuthenticate version 0).
    ///
    /// # Errors
    /// As for [`Connection::receive`].
    pub fn sasl_authenticate(&mut self, bytes: &[u8]) -> Result<SaslAnswer> {
        let mut body = BytesMut::new();
        body.put_i32(i32::try_from(bytes.len()).expect("a test's token is small"));
        body.put_slice(bytes);
        self.send(SASL_AUTHENTICATE, 0, &body)?;
        let (_, mut answer) = self.receive()?;
        if answer.remaining() < 2 {
            return Err(malformed("a short SaslAuthenticate answer"));
        }
        let error = answer.get_i16();
        let message = take_string(&mut answer)?.unwrap_or_default();
        if answer.remaining() < 4 {
            return Err(malformed("a short SaslAuthenticate answer"));
        }
        let length = usize::try_from(answer.get_i32()).unwrap_or(0);
        if answer.remaining() < length {
            return Err(malformed("a short SaslAuthenticate answer"));
        }
        Ok(SaslAnswer {
            error,
            message,
            bytes: answer.split_to(length),
        })
    }

    /// Logs in by `PLAIN`; gives the answer to the password.
    ///
    /// # Errors
    /// As for [`Connection::receive`].
    pub fn log_in(&mut self, user: &str, password: &str) -> Result<SaslAnswer> {
        self.sasl_handshake("PLAIN")?;
        self.sasl_authenticate(format!("\0{user}\0{password}").as_bytes())
    }

    /// Logs in by `SCRAM-SHA-256`; gives the last answer.
    ///
    /// # Errors
    /// As for [`Connection::receive`].
    pub fn log_in_by_scram(&mut self, user: &str, password: &str) -> Result<SaslAnswer> {
        let scram = Scram::new(user, password, "a-nonce-of-a-test");
        self.sasl_handshake("SCRAM-SHA-256")?;
        let answer = self.sasl_authenticate(scram.first().as_bytes())?;
        if answer.error != 0 {
            return Ok(answer);
        }
        let server_first = String::from_utf8_lossy(&answer.bytes).into_owned();
        self.sasl_authenticate(scram.last(&server_first)?.as_bytes())
    }
}

pub(crate) fn take_string(from: &mut Bytes) -> Result<Option<String>> {
    if from.remaining() < 2 {
        return Err(malformed("no string"));
    }
    let Ok(length) = usize::try_from(from.get_i16()) else {
        return Ok(None);
    };
    if from.remaining() < length {
        return Err(malformed("a short string"));
    }
    let text = from.split_to(length);
    Ok(Some(String::from_utf8_lossy(&text).into_owned()))
}

/// A client of `SCRAM-SHA-256`.
pub struct Scram {
    user: String,
    password: String,
    nonce: String,
}

impl Scram {
    /// A client with this password that says `nonce`.
    pub fn new(user: &str, password: &str, nonce: &str) -> Self {
        Self {
            user: user.to_owned(),
            password: password.to_owned(),
            nonce: nonce.to_owned(),
        }
    }

    fn first_bare(&self) -> String {
        format!("n={},r={}", self.user, self.nonce)
    }

    /// The client's first message.
    pub fn first(&self) -> String {
        format!("n,,{}", self.first_bare())
    }

    /// The client's last message, with the proof that it knows the password.
    ///
    /// # Errors
    /// Fails when the server's first message makes no sense.
    pub fn last(&self, server_first: &str) -> Result<String> {
        let part = |name: &str| {
            let found = server_first.split(',').find_map(|p| p.strip_prefix(name));
            found.ok_or_else(|| malformed("a part of the server's first message is missing"))
        };
        let salt = STANDARD
            .decode(part("s=")?)
            .map_err(|_| malformed("a salt that is not base64"))?;
        let iterations = part("i=")?
            .parse()
            .map_err(|_| malformed("iterations that are no number"))?;
        let without_proof = format!("c=biws,r={}", part("r=")?);
        let message = format!("{},{server_first},{without_proof}", self.first_bare());
        let client_key = hmac(&salted(&self.password, &salt, iterations), b"Client Key");
        let signature = hmac(&Sha256::digest(client_key), message.as_bytes());
        let proof: Vec<u8> = client_key.iter().zip(signature).map(|(a, b)| a ^ b).collect();
        Ok(format!("{without_proof},p={}", STANDARD.encode(proof)))
    }
}

/// The salted password of RFC 5802, for SHA-256.
pub(crate) fn salted(password: &str, salt: &[u8], iterations: u32) -> [u8; 32] {
    pbkdf2::pbkdf2_hmac_array::<Sha256, 32>(password.as_bytes(), salt, iterations)
}

fn hmac(key: &[u8], message: &[u8]) -> [u8; 32] {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("a key of any length will do");
    mac.update(message);
    mac.finalize().into_bytes().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The conversation of RFC 7677, section 3.
    #[test]
    fn the_proof_is_that_of_the_rfcs_example() {
        let scram = Scram::new("user", "pencil", "rOprNGfwEbeRWgbNEkqO");
        let last = scram
            .last("r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096")
            .unwrap();
        assert_eq!(
            last,
            "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ="
        );
    }
}
