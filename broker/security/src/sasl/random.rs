//! Random bytes and texts, from the system.

use rustls::crypto::aws_lc_rs;

/// The system gave no random bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the system gives no random bytes")]
pub struct NoRandomness;

/// Fills `bytes`.
pub(crate) fn fill(bytes: &mut [u8]) -> Result<(), NoRandomness> {
    aws_lc_rs::default_provider()
        .secure_random
        .fill(bytes)
        .map_err(|_| NoRandomness)
}

/// A text of 160 random bits in small letters and digits: a nonce, a salt.
///
/// Source: what Kafka 3.9 `ScramFormatter.secureRandomString` is for; it takes 130 bits in base 36.
///
/// # Errors
/// The system gives no random bytes.
pub fn random_text() -> Result<String, NoRandomness> {
    // 32 letters of five bits each.
    const LETTERS: &[u8; 32] = b"0123456789abcdefghijklmnopqrstuv";
    let mut bytes = [0; 32];
    fill(&mut bytes)?;
    Ok(bytes
        .iter()
        .map(|byte| char::from(LETTERS[usize::from(byte % 32)]))
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn random_texts_differ_and_are_printable() {
        let (one, other) = (random_text().unwrap(), random_text().unwrap());
        assert_ne!(one, other);
        assert_eq!(one.len(), 32);
        assert!(
            one.bytes()
                .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit())
        );
    }
}
