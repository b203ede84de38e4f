//! PKCS#12 stores, of keytool (old and new) and of OpenSSL.
//!
//! As in Java, a certificate without a key is trusted only if the store marks it so, as `keytool -importcert` does.
//!
//! Source: Java `sun.security.pkcs12.PKCS12KeyStore`; RFC 7292.

use p12_keystore::error::Error;
use p12_keystore::{CertificateBag, Pkcs12Archive, PrivateKeyBag};
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer};

use super::keystore::KeyMaterial;
use super::settings::Secret;

/// How long a chain is followed.
const CHAIN_MAX: usize = 16;

/// The first key and its certificates.
pub(super) fn key_material(bytes: &[u8], password: Option<&Secret>) -> Result<KeyMaterial, String> {
    let archive = open(bytes, password)?;
    let key = archive.keys.first().ok_or("it has no entry with a private key")?;
    let chain = chain(key, &archive.certs);
    let alias = key.friendly_name.clone().unwrap_or_else(|| "1".to_owned());
    if chain.is_empty() {
        return Err(format!("its entry {alias} has no certificate"));
    }
    Ok(KeyMaterial {
        alias,
        key: PrivatePkcs8KeyDer::from(key.key.as_der().to_vec()).into(),
        chain,
    })
}

/// Certificates that are trusted: those that are marked so, and the first of each key's.
pub(super) fn trusted(bytes: &[u8], password: Option<&Secret>) -> Result<Vec<CertificateDer<'static>>, String> {
    let archive = open(bytes, password)?;
    let marked = archive.certs.iter().filter(|it| it.trusted).map(der);
    let of_keys = archive
        .keys
        .iter()
        .filter_map(|key| chain(key, &archive.certs).into_iter().next());
    let found: Vec<_> = marked.chain(of_keys).collect();
    match (found.is_empty(), archive.certs.len()) {
        (false, _) => Ok(found),
        (true, 0) => Err("it has no certificate".into()),
        (true, count) => Err(format!(
            "none of its {count} certificates is marked as trusted: import them with `keytool -importcert`"
        )),
    }
}

/// Opens an encrypted key of PKCS#8: it is what a store would hold, so a store is put round it.
pub(super) fn decrypt_key(encrypted: &[u8], password: &Secret) -> Result<Vec<u8>, String> {
    const DATA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x07, 0x01];
    const SHROUDED_KEY_BAG: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x0c, 0x0a, 0x01, 0x02];
    let bag = sequence(&[element(0x06, SHROUDED_KEY_BAG), element(0xa0, encrypted)]);
    let data = |content: &[u8]| sequence(&[element(0x06, DATA), element(0xa0, &element(0x04, content))]);
    let safe = sequence(&[data(&sequence(&[bag]))]);
    let store = sequence(&[element(0x02, &[3]), data(&safe)]);
    let wrong = || "ssl.key.password is wrong, or the private key is encrypted in a way that is not known".to_owned();
    let archive = Pkcs12Archive::from_pkcs12(&store, password.reveal()).map_err(|_| wrong())?;
    let key = archive.keys.first().ok_or_else(wrong)?;
    Ok(key.key.as_der().to_vec())
}

fn open(bytes: &[u8], password: Option<&Secret>) -> Result<Pkcs12Archive, String> {
    let password = password.map_or("", Secret::reveal);
    Pkcs12Archive::from_pkcs12(bytes, password).map_err(|error| match error {
        Error::MacError(_) | Error::UnpadError | Error::Pkcs5Error(_) => "the password is wrong".to_owned(),
        Error::DerError(_) => "it is neither a JKS nor a PKCS12 store, or it is damaged".to_owned(),
        error => error.to_string(),
    })
}

/// The certificate that belongs to a key, and those that it was signed by, as far as the store has them.
fn chain(key: &PrivateKeyBag, certificates: &[CertificateBag]) -> Vec<CertificateDer<'static>> {
    let own = certificates.iter().find(|it| match &key.local_key_id {
        Some(id) => it.local_key_id.as_deref() == Some(id.as_ref()),
        None => !it.trusted,
    });
    let Some(mut last) = own else { return Vec::new() };
    let mut chain = vec![der(last)];
    while last.cert.issuer() != last.cert.subject() && chain.len() < CHAIN_MAX {
        let issuer = certificates.iter().find(|it| it.cert.subject() == last.cert.issuer());
        let Some(issuer) = issuer else { break };
        chain.push(der(issuer));
        last = issuer;
    }
    chain
}

fn der(bag: &CertificateBag) -> CertificateDer<'static> {
    CertificateDer::from(bag.cert.as_der().to_vec())
}

fn sequence(elements: &[Vec<u8>]) -> Vec<u8> {
    element(0x30, &elements.concat())
}

/// A DER element.
pub(super) fn element(tag: u8, content: &[u8]) -> Vec<u8> {
    let mut der = vec![tag];
    match u8::try_from(content.len()) {
        Ok(len) if len < 0x80 => der.push(len),
        _ => {
            let len = content.len().to_be_bytes();
            let significant: Vec<u8> = len.into_iter().skip_while(|byte| *byte == 0).collect();
            der.push(0x80 | u8::try_from(significant.len()).unwrap_or(8));
            der.extend(significant);
        }
    }
    der.extend(content);
    der
}
