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

/// A value of one of the types that are texts. Java reads them all as UTF-8, also those that are not.
fn text(value: &Any<'_>) -> Option<String> {
    match value.header.tag() {
        Tag::Utf8String
        | Tag::PrintableString
        | Tag::Ia5String
        | Tag::GeneralString
        | Tag::T61String
        | Tag::BmpString => Some(String::from_utf8_lossy(value.data).into_owned()),
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

#[cfg(test)]
mod tests {
    use super::*;

    /// Each line: a name in DER, and what Java 17 makes of it (`X500Principal.getName`).
    #[rustfmt::skip]
    const JAVA: &[(&str, &str)] = &[
        ("3041310b3009060355040613025553310c300a060355040a13034f726731153013060355040b130c536572766963655573657273310d300b0603550403130444756b65", "CN=Duke,OU=ServiceUsers,O=Org,C=US"),
        ("304f31123010060a0992268993f22c6401191602637a31163014060a0992268993f22c640119160667656f646973310c300a060355040b130349545a311330110603550403130a546b61632c204164616d", "CN=Tkac\\, Adam,OU=ITZ,DC=geodis,DC=cz"),
        ("3022310a3008060355040a1301633114300806035504031301613008060355040b130162", "CN=a+OU=b,O=c"),
        ("3031310a3008060355040a130163310d300b060355040313046d61696c3114301206092a864886f70d01090116057840792e7a", "1.2.840.113549.1.9.1=#16057840792e7a,CN=mail,O=c"),
        ("306531123010060a0992268993f22c64010113027531310a30080603550407130142310e300c060355040913055765672031310d300b060355040813044265726e310d300b060355040c1304626f73733115300806035504031301733009060355040513023132", "CN=s+2.5.4.5=#13023132,2.5.4.12=#1304626f7373,ST=Bern,STREET=Weg 1,L=B,UID=u1"),
        ("303a311f301d060355040a0c1623686173683d706c75732b3c6c6573733e3b73656d69311730150603550403130e6c65616420616e6420747261696c", "CN=lead and trail,O=\\#hash\\=plus\\+\\<less\\>\\;semi"),
        ("301d311b301906035504030c126261636b5c736c617368202271756f746522", "CN=back\\\\slash \\\"quote\\\""),
        ("303331193017060355040a0c104dc3bc6c6c657220262053c3b6686e653116301406035504030c0d5a6fc3ab20c3a4e697a5e69cac", "CN=Zoë ä日本,O=Müller & Söhne"),
        ("300b3109300706035504031300", "CN="),
        ("30163114301206035504030c0b6120622f633a642a653f66", "CN=a b/c:d*e?f"),
        ("300f310d300b06035504031e0400610142", "CN=\\00a\u{1}B"),
        ("300d310b30090603550403140261e9", "CN=a\u{fffd}"),
        ("300d310b3009060355040316026961", "CN=ia"),
        ("300f310d300b06035504031c040001f600", "CN=#1c040001f600"),
        ("300c310a30080603550403020105", "CN=#020105"),
        ("300b3109300706035504030c00", "CN="),
        ("300c310a30080603550403130170", "CN=p"),
        ("300e310c300a06035504030c03610062", "CN=a\\00b"),
        ("300c310a300806035504031b0167", "CN=g"),
        ("300c310a30080603550403120137", "CN=#120137"),
        ("300e310c300a06035504031303206120", "CN=\\ a\\ "),
        ("300d310b300906035504030c022020", "CN=\\ \\ "),
        ("300f310d300b06035504030c040d61090d", "CN=\\\ra\t\\\r"),
        ("300d310b3009060355040314026162", "CN=ab"),
        ("3010310e300c06035504030c05202c783d20", "CN=\\ \\,x\\=\\ "),
        ("300d310b30090603550403160261e9", "CN=a\u{fffd}"),
        ("3000", ""),
    ];

    fn bytes(hex: &str) -> Vec<u8> {
        let digits: Vec<u8> = hex
            .chars()
            .filter_map(|digit| digit.to_digit(16).and_then(|digit| u8::try_from(digit).ok()))
            .collect();
        digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect()
    }

    #[test]
    fn names_are_written_as_java_writes_them() {
        for (der, expected) in JAVA {
            assert_eq!(rfc2253(&bytes(der)).as_deref(), Ok(*expected), "{der}");
        }
    }

    #[test]
    fn what_is_no_name_is_refused() {
        for cut in 1..20 {
            let der = bytes(JAVA[0].0);
            assert_eq!(rfc2253(&der[..cut]), Err(Malformed), "{cut}");
        }
    }
}
