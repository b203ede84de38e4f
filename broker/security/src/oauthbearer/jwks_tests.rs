//! Key sets as issuers publish them, and others.

use super::*;
use proptest::prelude::*;

fn keys(json: &str) -> KeySet {
    KeySet::parse(json.as_bytes()).unwrap()
}

#[test]
fn only_public_keys_for_signatures_are_kept() {
    let check = |key: &str, kept: bool| {
        let set = keys(&format!(r#"{{"keys":[{key}]}}"#));
        assert_eq!(!set.is_empty(), kept, "{key}");
    };
    check(r#"{"kty":"RSA","n":"AQAB","e":"AQAB"}"#, true);
    check(
        r#"{"kty":"RSA","n":"AQAB","e":"AQAB","use":"sig","kid":"a","alg":"RS256"}"#,
        true,
    );
    check(r#"{"kty":"RSA","n":"AQAB","e":"AQAB","use":"enc"}"#, false);
    check(r#"{"kty":"RSA","n":"","e":"AQAB"}"#, false);
    check(r#"{"kty":"RSA","e":"AQAB"}"#, false);
    check(r#"{"kty":"EC","crv":"P-256","x":"AQ","y":"AQ"}"#, true);
    check(r#"{"kty":"EC","crv":"P-999","x":"AQ","y":"AQ"}"#, false);
    check(r#"{"kty":"EC","crv":"P-256","x":"AQ"}"#, false);
    check(
        r#"{"kty":"EC","crv":"P-256","x":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA","y":"AQ"}"#,
        false,
    );
    check(r#"{"kty":"OKP","crv":"Ed25519","x":"AQ"}"#, true);
    check(r#"{"kty":"OKP","crv":"X25519","x":"AQ"}"#, false);
    check(r#"{"kty":"oct","k":"AQAB"}"#, false);
    check(r#"{}"#, false);
    check("7", false);
}

#[test]
fn what_is_no_key_set_is_refused() {
    for json in ["", "[]", "{}", r#"{"keys":7}"#, "null"] {
        assert!(KeySet::parse(json.as_bytes()).is_err(), "{json}");
    }
}

#[test]
fn a_key_is_chosen_by_its_id_and_its_kind_and_then_by_its_algorithm() {
    let set = keys(
        r#"{"keys":[
            {"kid":"a","kty":"RSA","n":"AQ","e":"AQAB","alg":"RS256"},
            {"kid":"a","kty":"RSA","n":"Ag","e":"AQAB","alg":"RS512"},
            {"kid":"a","kty":"EC","crv":"P-256","x":"Aw","y":"Aw"},
            {"kid":"b","kty":"RSA","n":"BA","e":"AQAB","alg":"RS256"},
            {"kty":"EC","crv":"P-384","x":"BQ","y":"BQ"}
        ]}"#,
    );
    let check = |id: Option<&str>, algorithm: &str, expected: Option<usize>| {
        let found = set.select(id, algorithm, Algorithm::named(algorithm).unwrap());
        let found = found.map(|key| set.0.iter().position(|other| other == key).unwrap());
        assert_eq!(found, expected, "{id:?} {algorithm}");
    };
    check(Some("a"), "RS256", Some(0));
    check(Some("a"), "RS512", Some(1));
    check(Some("a"), "PS256", None);
    check(Some("a"), "ES256", Some(2));
    check(Some("a"), "ES384", None);
    check(Some("b"), "RS512", Some(3));
    check(Some("c"), "RS256", None);
    check(None, "RS256", Some(0));
    check(None, "ES384", Some(4));
    check(None, "EdDSA", None);
}

#[test]
fn algorithms_that_prove_nothing_have_no_name() {
    for name in ["none", "None", "NONE", "HS256", "HS512", "RS1", "rs256", ""] {
        assert_eq!(Algorithm::named(name), None, "{name}");
    }
}

#[tokio::test]
async fn a_key_that_is_missing_is_asked_for_once_a_minute() {
    let keys = Keys::new(KeySet::default());
    let asked = async || {
        tokio::time::timeout(core::time::Duration::ZERO, keys.wanted())
            .await
            .is_ok()
    };
    let ask = |id: &str, now: i64| {
        let refused = keys.verify(Some(id), "RS256", b"", b"", Millis(now));
        assert!(refused.is_err());
    };
    ask("a", 0);
    assert!(asked().await);
    ask("a", 59_999);
    assert!(!asked().await);
    ask("b", 59_999);
    assert!(asked().await);
    ask("a", 60_000);
    assert!(asked().await);
    ask(&"x".repeat(1_001), 60_000);
    assert!(!asked().await);
    for id in 0..100 {
        ask(&id.to_string(), 60_001);
    }
    assert_eq!(keys.missing.lock().len(), 16);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn no_key_set_makes_it_panic(kty in "RSA|EC|OKP", crv in "P-256|P-521|Ed25519", n in "[A-Za-z0-9_-]{0,90}", e in "[A-Za-z0-9_-]{0,9}") {
        let json = format!(r#"{{"keys":[{{"kty":"{kty}","crv":"{crv}","n":"{n}","e":"{e}","x":"{n}","y":"{e}"}}]}}"#);
        let keys = Keys::new(KeySet::parse(json.as_bytes()).unwrap());
        for algorithm in ["RS256", "PS512", "ES256", "ES512", "EdDSA"] {
            prop_assert!(keys.verify(None, algorithm, b"m", e.as_bytes(), Millis(0)).is_err());
        }
    }
}
