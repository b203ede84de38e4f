//! PEM as Kafka reads it: also on one line, as it stands in a configuration.
//!
//! Source: Kafka 3.9 `DefaultSslEngineFactory.PemParser`, `PemStore`. Beyond Kafka, keys in the older forms of OpenSSL
//! (`RSA PRIVATE KEY`, `EC PRIVATE KEY`) are read as well.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rustls::pki_types::{
    CertificateDer, CertificateRevocationListDer, PrivateKeyDer, PrivatePkcs1KeyDer, PrivatePkcs8KeyDer,
    PrivateSec1KeyDer,
};

use super::keystore::KeyMaterial;
use super::pkcs12;
use super::settings::Secret;

/// A key and its certificates, which may stand in the same text.
pub(super) fn key_material(key: &str, chain: &str, password: Option<&Secret>) -> Result<KeyMaterial, String> {
    let mut keys = sections(key)?
        .into_iter()
        .filter(|section| section.label.ends_with("PRIVATE KEY"));
    let found = keys.next().ok_or("No matching PRIVATE KEY entries in PEM file")?;
    let others = keys.count();
    if others > 0 {
        return Err(format!("Expected one private key, but found {}", others + 1));
    }
    Ok(KeyMaterial {
        alias: "kafka".to_owned(),
        key: private_key(found, password)?,
        chain: certificates(chain)?,
    })
}

/// All certificates; at least one.
pub(super) fn certificates(text: &str) -> Result<Vec<CertificateDer<'static>>, String> {
    let found: Vec<_> = sections(text)?
        .into_iter()
        .filter(|section| section.label.ends_with("CERTIFICATE"))
        .map(|section| CertificateDer::from(section.der))
        .collect();
    match found.is_empty() {
        true => Err("No matching CERTIFICATE entries in PEM file".to_owned()),
        false => Ok(found),
    }
}

/// All revocation lists; at least one.
pub(super) fn revocation_lists(text: &str) -> Result<Vec<CertificateRevocationListDer<'static>>, String> {
    let found: Vec<_> = sections(text)?
        .into_iter()
        .filter(|section| section.label == "X509 CRL")
        .map(|section| CertificateRevocationListDer::from(section.der))
        .collect();
    match found.is_empty() {
        true => Err("No matching X509 CRL entries in PEM file".to_owned()),
        false => Ok(found),
    }
}

/// As PEM.
pub(super) fn encode(label: &str, der: &[u8]) -> String {
    let body = STANDARD.encode(der);
    let mut text = format!("-----BEGIN {label}-----\n");
    for line in body.as_bytes().chunks(64) {
        text.extend(line.iter().map(|byte| char::from(*byte)));
        text.push('\n');
    }
    text.push_str(&format!("-----END {label}-----\n"));
    text
}

struct Section {
    label: String,
    der: Vec<u8>,
    /// Its headers say that it is encrypted by itself, as OpenSSL once did.
    encrypted: bool,
}

fn private_key(section: Section, password: Option<&Secret>) -> Result<PrivateKeyDer<'static>, String> {
    if section.encrypted {
        return Err("the private key is encrypted in OpenSSL's old way: convert it with `openssl pkcs8 -topk8`".into());
    }
    match section.label.as_str() {
        "ENCRYPTED PRIVATE KEY" => {
            let password = password.ok_or("the private key is encrypted, but ssl.key.password is not specified")?;
            let key = pkcs12::decrypt_key(&section.der, password)?;
            Ok(PrivatePkcs8KeyDer::from(key).into())
        }
        "RSA PRIVATE KEY" => Ok(PrivatePkcs1KeyDer::from(section.der).into()),
        "EC PRIVATE KEY" => Ok(PrivateSec1KeyDer::from(section.der).into()),
        _ => Ok(PrivatePkcs8KeyDer::from(section.der).into()),
    }
}

/// Cuts a text into its sections; what stands round them is left out.
fn sections(text: &str) -> Result<Vec<Section>, String> {
    const BEGIN: &str = "-----BEGIN ";
    const DASHES: &str = "-----";
    let mut found = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.find(BEGIN) {
        rest = &rest[at + BEGIN.len()..];
        let cut = || "PEM is cut off or malformed".to_owned();
        let (label, body) = rest.split_once(DASHES).ok_or_else(cut)?;
        let label = label.split_whitespace().collect::<Vec<_>>().join(" ");
        let (body, after) = body.split_once("-----END ").ok_or_else(cut)?;
        rest = after;
        let (headers, body): (Vec<_>, Vec<_>) = body.lines().partition(|line| line.contains(':'));
        let encoded: String = body.iter().flat_map(|line| line.split_whitespace()).collect();
        let der = STANDARD
            .decode(encoded)
            .map_err(|_| format!("the PEM entry {label} is not in base 64"))?;
        found.push(Section {
            label,
            der,
            encrypted: headers.iter().any(|header| header.contains("ENCRYPTED")),
        });
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pem_is_read_from_lines_and_from_one_line() {
        let labels = |text: &str| {
            let sections = sections(text)?;
            let shown = sections.iter().map(|it| format!("{} {}", it.label, it.der.len()));
            Ok::<_, String>(shown.collect::<Vec<_>>().join(", "))
        };
        let check = |text: &str, expected: Result<&str, &str>| {
            let expected = expected.map(str::to_owned).map_err(str::to_owned);
            assert_eq!(labels(text), expected, "{text}");
        };
        check("", Ok(""));
        check("Bag Attributes\n  friendlyName: x\n", Ok(""));
        check(
            "a: b\n-----BEGIN CERTIFICATE-----\nAAAA\nAAAA\n-----END CERTIFICATE-----\n",
            Ok("CERTIFICATE 6"),
        );
        check(
            "-----BEGIN PRIVATE KEY----- AAAA AAAA -----END PRIVATE KEY----- -----BEGIN CERTIFICATE----- AAAA -----END CERTIFICATE-----",
            Ok("PRIVATE KEY 6, CERTIFICATE 3"),
        );
        check(
            "-----BEGIN RSA PRIVATE KEY-----\r\nX: y\r\n\r\nAAAA\r\n-----END RSA PRIVATE KEY-----",
            Ok("RSA PRIVATE KEY 3"),
        );
        check("-----BEGIN CERTIFICATE-----\nAAAA", Err("PEM is cut off or malformed"));
        check(
            "-----BEGIN CERTIFICATE-----\n!!!!\n-----END CERTIFICATE-----",
            Err("the PEM entry CERTIFICATE is not in base 64"),
        );
    }

    #[test]
    fn what_is_encoded_is_read_again() {
        let der = vec![7; 100];
        let text = encode("CERTIFICATE", &der);
        assert_eq!(certificates(&text), Ok(vec![CertificateDer::from(der)]));
        assert!(certificates("nothing").is_err());
    }
}
