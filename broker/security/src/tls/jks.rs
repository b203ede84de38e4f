//! Java's own key stores, version 1 and 2.
//!
//! ```text
//! magic FEEDFEED | version | count | entry… | SHA-1 over password, "Mighty Aphrodite" and everything before
//! entry: tag 1 (key) | alias | date | length, protected key | count, certificate…
//!        tag 2       | alias | date | certificate
//! ```
//! Read here and not by a crate, because those there are trust every length in the file.
//!
//! Source: Java `sun.security.provider.JavaKeyStore`, `KeyProtector`.

use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use sha1::{Digest, Sha1};
use subtle::ConstantTimeEq;

use super::keystore::KeyMaterial;
use super::settings::Secret;

const MAGIC: u32 = 0xFEED_FEED;
/// JCEKS, which only symmetric keys ever needed.
const JCEKS_MAGIC: u32 = 0xCECE_CECE;
const SHA1_LEN: usize = 20;
/// 1.3.6.1.4.1.42.2.17.1.1, in DER.
const KEY_PROTECTOR_OID: &[u8] = &[0x2b, 0x06, 0x01, 0x04, 0x01, 0x2a, 0x02, 0x11, 0x01, 0x01];

/// Whether a file is a Java key store.
pub(super) fn is_jks(bytes: &[u8]) -> bool {
    let magic = bytes.first_chunk().map(|magic| u32::from_be_bytes(*magic));
    matches!(magic, Some(MAGIC | JCEKS_MAGIC))
}

/// The first entry with a key.
pub(super) fn key_material(
    bytes: &[u8],
    password: Option<&Secret>,
    key_password: Option<&Secret>,
) -> Result<KeyMaterial, String> {
    let entries = entries(bytes, password)?;
    let (alias, key, chain) = entries
        .into_iter()
        .find_map(|entry| match entry.content {
            Content::Key { protected, chain } => Some((entry.alias, protected, chain)),
            Content::Trusted(_) => None,
        })
        .ok_or("it has no entry with a private key")?;
    if chain.is_empty() {
        return Err(format!("its entry {alias} has no certificate"));
    }
    let password = key_password.or(password).ok_or("no password for the private key")?;
    let key = unprotect(key, password).map_err(|reason| format!("the private key of its entry {alias}: {reason}"))?;
    Ok(KeyMaterial {
        alias,
        key: PrivatePkcs8KeyDer::from(key).into(),
        chain: chain
            .into_iter()
            .map(|der| CertificateDer::from(der.to_vec()))
            .collect(),
    })
}

/// Certificates that are trusted: those of trusted entries, and the first of each key's.
pub(super) fn trusted(bytes: &[u8], password: Option<&Secret>) -> Result<Vec<CertificateDer<'static>>, String> {
    let found: Vec<_> = entries(bytes, password)?
        .iter()
        .filter_map(|entry| match &entry.content {
            Content::Trusted(der) => Some(*der),
            Content::Key { chain, .. } => chain.first().copied(),
        })
        .map(|der| CertificateDer::from(der.to_vec()))
        .collect();
    match found.is_empty() {
        true => Err("it has no certificate".to_owned()),
        false => Ok(found),
    }
}

struct Entry<'a> {
    alias: String,
    content: Content<'a>,
}

enum Content<'a> {
    Key { protected: &'a [u8], chain: Vec<&'a [u8]> },
    Trusted(&'a [u8]),
}

fn entries<'a>(bytes: &'a [u8], password: Option<&Secret>) -> Result<Vec<Entry<'a>>, String> {
    let Some(content_len) = bytes.len().checked_sub(SHA1_LEN) else {
        return Err("it is cut off".into());
    };
    let (content, digest) = bytes.split_at(content_len);
    let mut input = Input(content);
    if input.u32()? == JCEKS_MAGIC {
        return Err("it is of type JCEKS: convert it with `keytool -importkeystore -deststoretype PKCS12`".into());
    }
    if let Some(password) = password {
        let expected = Sha1::new()
            .chain_update(utf16(password))
            .chain_update("Mighty Aphrodite")
            .chain_update(content)
            .finalize();
        if !bool::from(expected.as_slice().ct_eq(digest)) {
            return Err("the file was tampered with, or the password is wrong".into());
        }
    }
    let version = input.u32()?;
    if !(1..=2).contains(&version) {
        return Err(format!("it has the unknown version {version}"));
    }
    let count = input.u32()?;
    let mut found = Vec::new();
    for _ in 0..count {
        let tag = input.u32()?;
        let alias = input.text()?;
        input.take(8)?;
        let content = match tag {
            1 => {
                let len = input.len()?;
                let protected = input.take(len)?;
                let count = input.u32()?;
                let mut chain = Vec::new();
                for _ in 0..count {
                    chain.push(input.certificate(version)?);
                }
                Content::Key { protected, chain }
            }
            2 => Content::Trusted(input.certificate(version)?),
            tag => return Err(format!("its entry {alias} is of the unknown kind {tag}")),
        };
        found.push(Entry { alias, content });
    }
    Ok(found)
}

/// What has not been read yet.
struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    fn take(&mut self, len: usize) -> Result<&'a [u8], String> {
        let (taken, rest) = self.0.split_at_checked(len).ok_or("it is cut off")?;
        self.0 = rest;
        Ok(taken)
    }

    fn u16(&mut self) -> Result<u16, String> {
        let bytes = self.take(2)?;
        Ok(bytes.iter().fold(0, |sum, byte| sum << 8 | u16::from(*byte)))
    }

    fn u32(&mut self) -> Result<u32, String> {
        let bytes = self.take(4)?;
        Ok(bytes.iter().fold(0, |sum, byte| sum << 8 | u32::from(*byte)))
    }

    fn len(&mut self) -> Result<usize, String> {
        usize::try_from(self.u32()?).map_err(|error| error.to_string())
    }

    fn text(&mut self) -> Result<String, String> {
        let len = self.u16()?;
        let bytes = self.take(usize::from(len))?;
        Ok(String::from_utf8_lossy(bytes).into_owned())
    }

    fn certificate(&mut self, version: u32) -> Result<&'a [u8], String> {
        if version == 2 {
            let of = self.text()?;
            if of != "X.509" {
                return Err(format!("it has a certificate of type {of}"));
            }
        }
        let len = self.len()?;
        self.take(len)
    }
}

/// Opens an `EncryptedPrivateKeyInfo` of Java's proprietary scheme: a key stream of chained SHA-1.
fn unprotect(der: &[u8], password: &Secret) -> Result<Vec<u8>, String> {
    let malformed = || "it is malformed".to_owned();
    let (outer, _) = tlv(der, 0x30).ok_or_else(malformed)?;
    let (algorithm, rest) = tlv(outer, 0x30).ok_or_else(malformed)?;
    let (oid, _) = tlv(algorithm, 0x06).ok_or_else(malformed)?;
    if oid != KEY_PROTECTOR_OID {
        return Err("it is encrypted in an unknown way".into());
    }
    let (protected, _) = tlv(rest, 0x04).ok_or_else(malformed)?;
    let (salt, rest) = protected.split_at_checked(SHA1_LEN).ok_or_else(malformed)?;
    let len = rest.len().checked_sub(SHA1_LEN).ok_or_else(malformed)?;
    let (encrypted, check) = rest.split_at(len);
    let password = utf16(password);
    let mut key = Vec::with_capacity(len);
    let mut stream = Sha1::new().chain_update(&password).chain_update(salt).finalize();
    for block in encrypted.chunks(SHA1_LEN) {
        key.extend(block.iter().zip(&stream).map(|(byte, mask)| byte ^ mask));
        stream = Sha1::new().chain_update(&password).chain_update(stream).finalize();
    }
    let expected = Sha1::new().chain_update(&password).chain_update(&key).finalize();
    match bool::from(expected.as_slice().ct_eq(check)) {
        true => Ok(key),
        false => Err("ssl.key.password is wrong".into()),
    }
}

/// The content of a DER element of this kind, and what comes after it.
fn tlv(der: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let (found, rest) = der.split_first()?;
    let (first, mut rest) = rest.split_first()?;
    if *found != tag {
        return None;
    }
    let mut len = usize::from(*first);
    if len >= 0x80 {
        let (bytes, after) = rest.split_at_checked(len - 0x80)?;
        if bytes.len() > 4 {
            return None;
        }
        len = bytes.iter().fold(0, |sum, byte| sum << 8 | usize::from(*byte));
        rest = after;
    }
    rest.split_at_checked(len)
}

/// A password as Java hashes it.
fn utf16(password: &Secret) -> Vec<u8> {
    password.reveal().encode_utf16().flat_map(u16::to_be_bytes).collect()
}
