//! Versions of TLS and cipher suites by the names that Java has for them.
//!
//! What rustls does not have (TLS before 1.2, suites without forward secrecy) is left out and named; if nothing is left, the
//! settings are refused, because the listener would not be what was asked for.

use rustls::crypto::CryptoProvider;
use rustls::{SupportedCipherSuite, SupportedProtocolVersion};

use super::error::TlsError;

/// The one provider of cryptography.
pub(super) fn provider() -> CryptoProvider {
    rustls::crypto::aws_lc_rs::default_provider()
}

/// The cryptography that is used for TLS, for libraries that want to be told.
pub fn crypto_provider() -> std::sync::Arc<CryptoProvider> {
    std::sync::Arc::new(provider())
}

/// Whether `ssl.protocol` is one of Java's names. It says no more here: `ssl.enabled.protocols` decides, as in Java.
pub(super) fn is_protocol_name(name: &str) -> bool {
    ["TLS", "TLSv1", "TLSv1.1", "TLSv1.2", "TLSv1.3", "SSL", "SSLv2", "SSLv3"].contains(&name)
}

/// The versions of `ssl.enabled.protocols`.
pub(super) fn protocols(
    names: &str,
    ignored: &mut Vec<String>,
) -> Result<Vec<&'static SupportedProtocolVersion>, TlsError> {
    let mut found = Vec::new();
    for name in listed(names) {
        match name {
            "TLSv1.3" => found.push(&rustls::version::TLS13),
            "TLSv1.2" => found.push(&rustls::version::TLS12),
            name if is_protocol_name(name) || name == "SSLv2Hello" => ignored.push(name.to_owned()),
            name => {
                return Err(TlsError::Settings(format!(
                    "Invalid value {name} for configuration ssl.enabled.protocols"
                )));
            }
        }
    }
    found.dedup();
    if found.is_empty() {
        return Err(TlsError::Settings(format!(
            "ssl.enabled.protocols={names}: only TLSv1.2 and TLSv1.3 are spoken"
        )));
    }
    Ok(found)
}

/// The suites of `ssl.cipher.suites`, in their order.
pub(super) fn cipher_suites(
    names: &str,
    protocols: &[&'static SupportedProtocolVersion],
    ignored: &mut Vec<String>,
) -> Result<Vec<SupportedCipherSuite>, TlsError> {
    let known = provider().cipher_suites;
    let mut found = Vec::new();
    for name in listed(names) {
        match known.iter().find(|suite| java_name(suite) == name) {
            Some(suite) => found.push(*suite),
            None => ignored.push(name.to_owned()),
        }
    }
    if !found.iter().any(|suite| protocols.contains(&suite.version())) {
        let all: Vec<_> = known.iter().map(java_name).collect();
        return Err(TlsError::Settings(format!(
            "ssl.cipher.suites={names}: none of them can be used with the enabled protocols; there are {}",
            all.join(", ")
        )));
    }
    Ok(found)
}

/// `TLS_AES_256_GCM_SHA384`; rustls tells the suites of TLS 1.3 by another prefix.
fn java_name(suite: &SupportedCipherSuite) -> String {
    format!("{:?}", suite.suite()).replace("TLS13_", "TLS_")
}

fn listed(names: &str) -> impl Iterator<Item = &str> {
    names.split(',').map(str::trim).filter(|name| !name.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_and_suites_go_by_javas_names() {
        let check = |versions: &str, suites: &str, expected: Result<(usize, &[&str]), &str>| {
            let mut ignored = Vec::new();
            let found = protocols(versions, &mut ignored).and_then(|protocols| {
                let suites = cipher_suites(suites, &protocols, &mut ignored)?;
                Ok((protocols.len(), suites.len()))
            });
            match (found, expected) {
                (Ok((_, suites)), Ok((count, left_out))) => {
                    assert_eq!((suites, &ignored[..]), (count, &to_owned(left_out)[..]))
                }
                (Err(error), Err(says)) => assert!(error.to_string().contains(says), "{error}"),
                (found, expected) => panic!("{found:?} instead of {expected:?}"),
            }
        };
        let to_both = "TLS_AES_256_GCM_SHA384,TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384";
        check("TLSv1.2,TLSv1.3", to_both, Ok((2, &[])));
        check("TLSv1.1, TLSv1.2", to_both, Ok((2, &["TLSv1.1"])));
        check(
            "TLSv1.2",
            "TLS_RSA_WITH_AES_128_CBC_SHA, TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256",
            Ok((1, &["TLS_RSA_WITH_AES_128_CBC_SHA"])),
        );
        check("TLSv1.2", "TLS_AES_256_GCM_SHA384", Err("none of them can be used"));
        check(
            "TLSv1.3",
            "TLS_RSA_WITH_AES_128_CBC_SHA",
            Err("none of them can be used"),
        );
        check("TLSv1,SSLv3", to_both, Err("only TLSv1.2 and TLSv1.3"));
        check("TLSv7", to_both, Err("Invalid value TLSv7"));
    }

    fn to_owned(names: &[&str]) -> Vec<String> {
        names.iter().map(|&name| name.to_owned()).collect()
    }
}
