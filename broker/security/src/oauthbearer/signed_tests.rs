//! Signed tokens: which are believed, and of whom.

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, ECDSA_P521_SHA512_FIXED_SIGNING, EcdsaKeyPair,
    EcdsaSigningAlgorithm, KeyPair,
};
use proptest::prelude::*;

use super::super::jwks::KeySet;
use super::super::jwt::to_base64;
use super::*;

const NOW: Millis = Millis(1_800_000_000_000);

/// RFC 7515, appendix A.2 and A.3.
const RFC_KEYS: &str = r#"{"keys":[
    {"kty":"RSA","kid":"rsa","n":"ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yRT-SFd2lZS-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXBdQOS-UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXpoQ","e":"AQAB"},
    {"kty":"EC","kid":"ec","crv":"P-256","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}
]}"#;
const RFC_CLAIMS: &str =
    "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ";
const RFC_RS256: &str = "cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5jujGbds9uJdbF9CUAr7t1dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K0GarZRmB_eSN9383LcOLn6_dO--xi12jzDwusC-eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrBp0igcN_IoypGlUPQGe77Rw";
const RFC_ES256: &str = "DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q";

struct Provider {
    key: EcdsaKeyPair,
    name: &'static str,
    validator: SignedValidator,
}

impl Provider {
    fn new(name: &'static str, curve: &str, signing: &'static EcdsaSigningAlgorithm) -> Self {
        let key = EcdsaKeyPair::generate(signing).unwrap();
        let point = &key.public_key().as_ref()[1..];
        let (x, y) = point.split_at(point.len() / 2);
        let json = format!(
            r#"{{"keys":[{{"kty":"EC","crv":"{curve}","kid":"k","x":"{}","y":"{}"}}]}}"#,
            to_base64(x),
            to_base64(y)
        );
        Self {
            key,
            name,
            validator: validator(&json),
        }
    }

    fn p256() -> Self {
        Self::new("ES256", "P-256", &ECDSA_P256_SHA256_FIXED_SIGNING)
    }

    fn token(&self, claims: &str) -> String {
        self.token_with(&format!(r#"{{"alg":"{}","kid":"k"}}"#, self.name), claims)
    }

    fn token_with(&self, header: &str, claims: &str) -> String {
        let signed = format!("{}.{}", to_base64(header.as_bytes()), to_base64(claims.as_bytes()));
        let signature = self.key.sign(&SystemRandom::new(), signed.as_bytes()).unwrap();
        format!("{signed}.{}", to_base64(signature.as_ref()))
    }
}

fn validator(keys: &str) -> SignedValidator {
    SignedValidator {
        keys: Keys::new(KeySet::parse(keys.as_bytes()).unwrap()),
        expected_audience: Vec::new(),
        expected_issuer: None,
        scope_claim_name: "scope".into(),
        sub_claim_name: "sub".into(),
        clock_skew_seconds: 30,
    }
}

#[test]
fn the_examples_of_the_rfc_are_signed_by_their_keys() {
    let validator = validator(RFC_KEYS);
    let check = |algorithm: &str, signature: &str, is_signed: bool| {
        let header = to_base64(format!(r#"{{"alg":"{algorithm}"}}"#).as_bytes());
        let refusal = validator
            .validate(&format!("{header}.{RFC_CLAIMS}.{signature}"), NOW)
            .unwrap_err();
        // Signed, the example is refused for what it does not say; else for its signature.
        assert_eq!(
            refusal.reason.contains("(iat)"),
            is_signed,
            "{algorithm}: {}",
            refusal.reason
        );
    };
    check("RS256", RFC_RS256, true);
    check("ES256", RFC_ES256, true);
    check("RS384", RFC_RS256, false);
    check("PS256", RFC_RS256, false);
    check("ES256", RFC_RS256, false);
    check("RS256", RFC_ES256, false);
    check("none", RFC_RS256, false);
    check("HS256", RFC_RS256, false);
}

#[test]
fn each_curve_signs_and_no_bit_may_change() {
    let providers = [
        Provider::p256(),
        Provider::new("ES384", "P-384", &ECDSA_P384_SHA384_FIXED_SIGNING),
        Provider::new("ES512", "P-521", &ECDSA_P521_SHA512_FIXED_SIGNING),
    ];
    for provider in providers {
        let token = provider.token(r#"{"sub":"alice","iat":1800000000,"exp":1800000060}"#);
        let expected = Bearer {
            name: "alice".into(),
            expires: Millis(1_800_000_060_000),
        };
        assert_eq!(provider.validator.validate(&token, NOW), Ok(expected));
        for at in (0..token.len() - 2).step_by(7) {
            let mut changed = token.clone().into_bytes();
            changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
            let changed = String::from_utf8(changed).unwrap();
            assert!(provider.validator.validate(&changed, NOW).is_err(), "{at}");
        }
        let unsigned = token.rsplit_once('.').unwrap().0;
        for stripped in [format!("{unsigned}."), unsigned.to_owned()] {
            assert!(provider.validator.validate(&stripped, NOW).is_err());
        }
    }
}

#[test]
fn claims_are_checked_as_the_reference_checks_them() {
    let mut provider = Provider::p256();
    let check = |provider: &Provider, claims: &str, expected: Result<&str, &str>| {
        let found = provider.validator.validate(&provider.token(claims), NOW);
        match (found, expected) {
            (Ok(bearer), Ok(name)) => assert_eq!(bearer.name, name, "{claims}"),
            (Err(refusal), Err(reason)) => {
                assert!(refusal.reason.contains(reason), "{claims}: {}", refusal.reason);
                assert_eq!(refusal.json(), r#"{"status":"invalid_token"}"#);
            }
            (found, _) => panic!("{claims}: {found:?}"),
        }
    };
    let good = r#""sub":"a","iat":1800000000,"exp":1800000060"#;
    check(&provider, &format!("{{{good}}}"), Ok("a"));
    check(
        &provider,
        r#"{"sub":" a ","iat":1800000000,"exp":1800000060.9}"#,
        Ok("a"),
    );
    check(&provider, r#"{"sub":"a","iat":1,"exp":1799999971}"#, Ok("a"));
    check(
        &provider,
        r#"{"sub":"a","iat":1,"exp":1799999970}"#,
        Err("no longer valid"),
    );
    check(&provider, r#"{"sub":"a","exp":1800000060}"#, Err("(iat)"));
    check(&provider, r#"{"sub":"a","iat":1800000000}"#, Err("(exp)"));
    check(
        &provider,
        r#"{"sub":"a","iat":1800000000,"exp":"1800000060"}"#,
        Err("'exp'"),
    );
    check(
        &provider,
        r#"{"sub":"a","iat":1800000061,"exp":1800000060}"#,
        Err("before the Issued At"),
    );
    check(&provider, r#"{"sub":"a","iat":-1,"exp":1800000060}"#, Err("negative"));
    check(&provider, &format!(r#"{{{good},"nbf":1800000030}}"#), Ok("a"));
    check(
        &provider,
        &format!(r#"{{{good},"nbf":1800000031}}"#),
        Err("not yet valid"),
    );
    check(&provider, r#"{"iat":1800000000,"exp":1800000060}"#, Err("subject"));
    check(
        &provider,
        r#"{"sub":7,"iat":1800000000,"exp":1800000060}"#,
        Err("subject"),
    );
    check(
        &provider,
        r#"{"sub":"","iat":1800000000,"exp":1800000060}"#,
        Err("subject"),
    );
    check(&provider, &format!(r#"{{{good},"scope":["a","b"]}}"#), Ok("a"));
    check(
        &provider,
        &format!(r#"{{{good},"scope":["a","a"]}}"#),
        Err("duplicates"),
    );
    check(&provider, &format!(r#"{{{good},"scope":""}}"#), Err("scope"));
    check(
        &provider,
        &format!(r#"{{{good},"aud":"x"}}"#),
        Err("sasl.oauthbearer.expected.audience is not set"),
    );

    provider.validator.expected_audience = vec!["kafka".into(), "other".into()];
    check(&provider, &format!(r#"{{{good},"aud":"kafka"}}"#), Ok("a"));
    check(&provider, &format!(r#"{{{good},"aud":["x","other"]}}"#), Ok("a"));
    check(&provider, &format!(r#"{{{good},"aud":["x"]}}"#), Err("acceptable"));
    check(&provider, &format!(r#"{{{good},"aud":7}}"#), Err("audience"));
    check(&provider, &format!("{{{good}}}"), Err("No Audience"));

    provider.validator.expected_audience.clear();
    provider.validator.expected_issuer = Some("https://issuer".into());
    check(&provider, &format!(r#"{{{good},"iss":"https://issuer"}}"#), Ok("a"));
    check(
        &provider,
        &format!(r#"{{{good},"iss":"https://issuer/"}}"#),
        Err("Issuer"),
    );
    check(&provider, &format!("{{{good}}}"), Err("Issuer"));

    provider.validator.expected_issuer = None;
    provider.validator.sub_claim_name = "user".into();
    check(&provider, &format!(r#"{{{good},"user":"bob"}}"#), Ok("bob"));
    check(&provider, &format!("{{{good}}}"), Err("subject"));
}

#[test]
fn a_header_that_asks_for_more_than_is_known_is_refused() {
    let provider = Provider::p256();
    let claims = r#"{"sub":"a","iat":1800000000,"exp":1800000060}"#;
    let check = |header: &str, good: bool| {
        let token = provider.token_with(header, claims);
        assert_eq!(provider.validator.validate(&token, NOW).is_ok(), good, "{header}");
    };
    check(r#"{"alg":"ES256"}"#, true);
    check(r#"{"alg":"ES256","kid":"k","typ":"JWT"}"#, true);
    check(r#"{"alg":"ES256","kid":"other"}"#, false);
    check(r#"{"alg":"ES256","kid":7}"#, false);
    check(r#"{"alg":"ES256","crit":["b64"],"b64":false}"#, false);
    check(r#"{"alg":"none"}"#, false);
    check(r#"{"alg":["ES256"]}"#, false);
    check("{}", false);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn nothing_that_is_sent_makes_it_panic(
        header in r#"\{"alg":"(ES256|RS256|none)"(,"kid":"[a-z]*")?\}"#,
        claims in r#"\{("(exp|iat|nbf|aud|sub)":(1e99|-1|"x"|\[\]|null),)*"sub":"a"\}"#,
        signature in "[A-Za-z0-9_-]{0,90}",
        noise in "[A-Za-z0-9._=-]{0,60}",
    ) {
        let validator = validator(RFC_KEYS);
        let token = format!("{}.{}.{signature}", to_base64(header.as_bytes()), to_base64(claims.as_bytes()));
        prop_assert!(validator.validate(&token, NOW).is_err());
        prop_assert!(validator.validate(&noise, NOW).is_err());
    }
}
