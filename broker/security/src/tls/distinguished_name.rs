//! The name of a certificate's subject as Java writes it: RFC 2253, the most specific part first.
//!
//! ACLs and mapping rules of existing clusters are written against this text, so it is Java's to the letter: only the
//! types that RFC 2253 names have names (`EMAILADDRESS` has none, and its value is shown in hexadecimal), and non-ASCII
//! letters stand as they are.
//!
//! Source: Java `X500Principal.getName`, `sun.security.x509.AVA.toRFC2253String`, `AVAKeyword`.

use rustls::pki_types::CertificateDer;
use x509_parser::asn1_rs::{Any, Tag};
use x509_parser::prelude::{FromDer, X509Certificate, X509Name};

use super::pkcs12::element;

/// A name that is not in DER.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("malformed distinguished name")]
pub struct Malformed;

/// Writes a name that stands in DER.
///
/// # Errors
/// It is malformed.
pub fn rfc2253(der: &[u8]) -> Result<String, Malformed> {
    let (_, name) = X509Name::from_der(der).map_err(|_| Malformed)?;
    let mut parts = Vec::new();
    for relative in name.iter_rdn() {
        let attributes: Vec<_> = relative
            .iter()
            .map(|attribute| shown(&attribute.attr_type().to_id_string(), attribute.attr_value()))
            .collect();
        parts.push(attributes.join("+"));
    }
    parts.reverse();
    Ok(parts.join(","))
}

/// Writes the name of a certificate's subject.
///
/// # Errors
/// It is no certificate.
pub fn rfc2253_of(certificate: &CertificateDer<'_>) -> Result<String, Malformed> {
    let (_, certificate) = X509Certificate::from_der(certificate).map_err(|_| Malformed)?;
    rfc2253(certificate.subject().as_raw())
}

fn keyword(oid: &str) -> Option<&'static str> {
    Some(match oid {
        "2.5.4.3" => "CN",
        "2.5.4.6" => "C",
        "2.5.4.7" => "L",
        "2.5.4.8" => "ST",
        "2.5.4.9" => "STREET",
        "2.5.4.10" => "O",
        "2.5.4.11" => "OU",
        "0.9.2342.19200300.100.1.1" => "UID",
        "0.9.2342.19200300.100.1.25" => "DC",
        _ => return None,
    })
}

fn shown(oid: &str, value: &Any<'_>) -> String {
    match (keyword(oid), text(value)) {
        (Some(keyword), Some(text)) => format!("{keyword}={}", escaped(&text)),
        (keyword, _) => {
            let tag =
                u8::try_from(value.header.tag().0).unwrap_or(0) | if value.header.is_constructed() { 0x20 } else { 0 };
            let hex: String = element(tag, value.data)
                .iter()
                .map(|byte| format!("{byte:02x}"))
                .collect();
            format!("{}=#{hex}", keyword.unwrap_or(oid))
        }
    }
}

/// A value of one of the types that are texts.
fn text(value: &Any<'_>) -> Option<String> {
    let bytes = value.data;
    match value.header.tag() {
        Tag::Utf8String | Tag::PrintableString | Tag::Ia5String | Tag::GeneralString => {
            Some(String::from_utf8_lossy(bytes).into_owned())
        }
        Tag::T61String => Some(bytes.iter().map(|byte| char::from(*byte)).collect()),
        Tag::BmpString => {
            let units: Vec<_> = bytes
                .chunks_exact(2)
                .map(|pair| pair.iter().fold(0, |sum, byte| sum << 8 | u16::from(*byte)))
                .collect();
            Some(String::from_utf16_lossy(&units))
        }
        Tag::UniversalString => Some(
            bytes
                .chunks_exact(4)
                .map(|four| four.iter().fold(0, |sum, byte| sum << 8 | u32::from(*byte)))
                .map(|code| char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER))
                .collect(),
        ),
        _ => None,
    }
}

fn escaped(text: &str) -> String {
    let is_blank = |c: char| c == ' ' || c == '\r';
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            ',' | '=' | '+' | '<' | '>' | '#' | ';' | '"' | '\\' => {
                shown.push('\\');
                shown.push(c);
            }
            '\0' => shown.push_str("\\00"),
            c => shown.push(c),
        }
    }
    let lead = shown.chars().take_while(|c| is_blank(*c)).count();
    let length = shown.chars().count();
    let trail = length - shown.chars().rev().take_while(|c| is_blank(*c)).count();
    if lead == 0 && trail == length {
        return shown;
    }
    let mut escaped = String::with_capacity(shown.len() + 8);
    for (at, c) in shown.chars().enumerate() {
        if at < lead || at >= trail {
            escaped.push('\\');
        }
        escaped.push(c);
    }
    escaped
}
