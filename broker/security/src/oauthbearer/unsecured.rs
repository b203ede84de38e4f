//! Tokens that nobody has signed: for development, and Kafka's default for OAUTHBEARER.
//!
//! Checks a client's token, and makes one for this broker's own logins, by the options of the login module's JAAS line.
//!
//! Source: Kafka 3.9 `OAuthBearerUnsecuredValidatorCallbackHandler`, `OAuthBearerUnsecuredJws`,
//! `OAuthBearerUnsecuredLoginCallbackHandler`.

use std::collections::BTreeMap;

use model::Millis;
use serde_json::{Map, Value};

use super::jwt::{Compact, strings, to_base64};
use super::{Bearer, Refusal};

/// What an unsecured token must hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnsecuredValidator {
    principal_claim_name: String,
    scope_claim_name: String,
    required_scope: Vec<String>,
    allowable_clock_skew: Millis,
}

impl UnsecuredValidator {
    /// By the options `unsecuredValidatorPrincipalClaimName` (`sub`), `…ScopeClaimName` (`scope`), `…RequiredScope` and
    /// `…AllowableClockSkewMs` (0).
    ///
    /// # Errors
    /// An option has a value that it cannot have: a sentence that says so.
    pub fn from_options(options: &BTreeMap<String, String>) -> Result<Self, String> {
        let option = |name: &str| {
            let value = options.get(&format!("unsecuredValidator{name}"));
            value.map(|value| value.trim()).filter(|value| !value.is_empty())
        };
        let skew = option("AllowableClockSkewMs").unwrap_or("0");
        let allowable_clock_skew = match skew.parse::<i32>() {
            Ok(skew) if skew >= 0 => Millis(i64::from(skew)),
            Ok(_) => return Err(format!("Allowable clock skew millis must not be negative: {skew}")),
            Err(_) => {
                return Err(format!(
                    "unsecuredValidatorAllowableClockSkewMs is not a number: {skew}"
                ));
            }
        };
        let required_scope: Vec<String> = option("RequiredScope")
            .unwrap_or_default()
            .split(' ')
            .filter(|item| !item.is_empty())
            .map(str::to_owned)
            .collect();
        if let Some(item) = required_scope.iter().find(|item| !is_scope_item(item)) {
            return Err(format!("Invalid scope value: {item}"));
        }
        Ok(Self {
            principal_claim_name: option("PrincipalClaimName").unwrap_or("sub").to_owned(),
            scope_claim_name: option("ScopeClaimName").unwrap_or("scope").to_owned(),
            required_scope,
            allowable_clock_skew,
        })
    }

    /// Whose token it is, if it is good at `now`.
    ///
    /// # Errors
    /// It is not.
    pub fn validate(&self, token: &str, now: Millis) -> Result<Bearer, Refusal> {
        let invalid = |reason: String| Refusal::invalid_token(reason);
        let parts = Compact::parse(token).map_err(|reason| invalid(reason.to_owned()))?;
        if parts.header.get("alg").and_then(Value::as_str) != Some("none") {
            return Err(invalid("Unsecured JWS must have 'none' for an algorithm".into()));
        }
        if !parts.signature.is_empty() {
            return Err(invalid("Unsecured JWS must not contain a digital signature".into()));
        }
        let claims = &parts.claims;
        let name = match claims.get(&self.principal_claim_name) {
            Some(Value::String(name)) if !name.trim().is_empty() => name.clone(),
            _ => {
                let claim = &self.principal_claim_name;
                return Err(invalid(format!("No principal name in JWT claim: {claim}")));
            }
        };
        let issued_at = seconds(claims, "iat")?;
        let Some(expires) = seconds(claims, "exp")? else {
            return Err(invalid("No expiration time in JWT".into()));
        };
        let (now_ms, skew_ms) = (now.0 as f64, self.allowable_clock_skew.0 as f64);
        if issued_at.is_some_and(|issued_at| 1000.0 * issued_at > now_ms + skew_ms) {
            return Err(invalid("The Issued At value was after the indicated time".into()));
        }
        if now_ms - skew_ms >= 1000.0 * expires {
            return Err(invalid(
                "The indicated time was on or after the Expiration Time value".into(),
            ));
        }
        if issued_at.is_some_and(|issued_at| expires <= issued_at) {
            return Err(invalid("The Expiration Time was not after the Issued At time".into()));
        }
        let scope = strings(claims.get(&self.scope_claim_name));
        let missing = self.required_scope.iter().find(|item| !scope.contains(&item.as_str()));
        if let Some(item) = missing {
            return Err(Refusal {
                status: "insufficient_scope",
                scope: Some(format!("[{}]", self.required_scope.join(", "))),
                reason: format!("The provided scope was missing a required scope ({item})"),
            });
        }
        Ok(Bearer {
            name,
            expires: Millis((1000.0 * expires).round() as i64),
        })
    }
}

/// An unsecured token for a login of this broker's own, by the options `unsecuredLoginStringClaim_NAME`,
/// `…NumberClaim_NAME`, `…ListClaim_NAME`, `…PrincipalClaimName` (`sub`) and `…LifetimeSeconds` (3600).
///
/// Beside it what it says and until when it is good. `None` without options: such a line serves others only.
///
/// # Errors
/// An option has a value that it cannot have, or there is no claim with a principal: a sentence that says so.
pub fn login_token(options: &BTreeMap<String, String>, now: Millis) -> Result<Option<(String, Bearer)>, String> {
    const PREFIX: &str = "unsecuredLogin";
    let options: BTreeMap<&str, &str> = options
        .iter()
        .filter_map(|(key, value)| Some((key.strip_prefix(PREFIX)?, value.as_str())))
        .collect();
    if options.is_empty() {
        return Ok(None);
    }
    if options.keys().all(|key| key.starts_with("Extension_")) {
        return Err("Extensions provided in login context without a token".into());
    }
    let trimmed = |key: &str| {
        let value = options.get(key).map(|value| value.trim());
        value.filter(|value| !value.is_empty())
    };
    let principal_claim = trimmed("PrincipalClaimName").unwrap_or("sub");
    let lifetime = trimmed("LifetimeSeconds").unwrap_or("3600");
    let Ok(lifetime_seconds) = lifetime.parse::<i32>() else {
        return Err(format!("unsecuredLoginLifetimeSeconds is not a number: {lifetime}"));
    };
    let now_seconds = now.0 as f64 / 1000.0;
    let expires = now_seconds + f64::from(lifetime_seconds);
    let mut claims = Map::new();
    claims.insert("exp".into(), expires.into());
    claims.insert("iat".into(), now_seconds.into());
    for (key, value) in &options {
        let Some((kind, name)) = key.split_once("Claim_").filter(|(_, name)| !name.is_empty()) else {
            continue;
        };
        if matches!(name, "iat" | "exp") {
            return Err(format!("Cannot explicitly set the '{name}' claim"));
        }
        let value: Value = match kind {
            "String" => (*value).into(),
            "Number" => match value.trim().parse::<f64>() {
                Ok(number) if number.is_finite() => number.into(),
                _ => return Err(format!("unsecuredLoginNumberClaim_{name} is not a number: {value}")),
            },
            // The first character separates the others: `|a|b`.
            "List" => match value.chars().next() {
                Some(separator) => value[separator.len_utf8()..].split(separator).collect(),
                None => Value::Array(Vec::new()),
            },
            _ => continue,
        };
        claims.insert(name.to_owned(), value);
    }
    let name = match claims.get(principal_claim) {
        Some(Value::String(name)) if !name.trim().is_empty() => name.clone(),
        _ => return Err(format!("No principal name in JWT claim: {principal_claim}")),
    };
    let token = format!(
        "{}.{}.",
        to_base64(br#"{"alg":"none"}"#),
        to_base64(Value::Object(claims).to_string().as_bytes())
    );
    let expires = Millis((1000.0 * expires).round() as i64);
    Ok(Some((token, Bearer { name, expires })))
}

/// The extensions that a login of this broker's own sends along: `unsecuredLoginExtension_NAME`.
///
/// # Errors
/// One may not be sent: a sentence that says so.
pub fn login_extensions(options: &BTreeMap<String, String>) -> Result<BTreeMap<String, String>, String> {
    let mut extensions = BTreeMap::new();
    for (key, value) in options {
        let Some(name) = key.strip_prefix("unsecuredLoginExtension_") else {
            continue;
        };
        if name == "auth" || !super::message::is_extension_name(name) {
            return Err(format!("Extension name {name} is invalid"));
        }
        if !super::message::is_extension_value(value) {
            return Err(format!("Extension value for extension {name} is invalid"));
        }
        extensions.insert(name.to_owned(), value.clone());
    }
    Ok(extensions)
}

/// A time in a claim; `None` where there is no such claim.
fn seconds(claims: &Map<String, Value>, name: &str) -> Result<Option<f64>, Refusal> {
    match claims.get(name) {
        None => Ok(None),
        Some(value) => match value.as_f64().filter(|seconds| seconds.is_finite()) {
            Some(seconds) => Ok(Some(seconds)),
            None => Err(Refusal::invalid_token(format!(
                "The '{name}' claim was not of type Number"
            ))),
        },
    }
}

/// RFC 6749's `scope-token`.
fn is_scope_item(item: &str) -> bool {
    item.bytes()
        .all(|byte| matches!(byte, 0x21 | 0x23..=0x5b | 0x5d..=0x7e))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Millis = Millis(1_800_000_000_000);

    fn options(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs
            .iter()
            .map(|(key, value)| ((*key).into(), (*value).into()))
            .collect()
    }

    fn token(header: &str, claims: &str, signature: &str) -> String {
        format!(
            "{}.{}.{signature}",
            to_base64(header.as_bytes()),
            to_base64(claims.as_bytes())
        )
    }

    #[test]
    fn a_token_must_be_unsigned_in_time_and_of_somebody() {
        let check = |claims: &str, expected: Result<(&str, i64), &str>| {
            let validator = UnsecuredValidator::from_options(&options(&[])).unwrap();
            let found = validator.validate(&token(r#"{"alg":"none"}"#, claims, ""), NOW);
            let found = found.map(|bearer| (bearer.name, bearer.expires.0));
            match expected {
                Ok((name, expires)) => assert_eq!(found, Ok((name.to_owned(), expires)), "{claims}"),
                Err(reason) => assert!(found.unwrap_err().reason.contains(reason), "{claims}"),
            }
        };
        check(
            r#"{"sub":"alice","exp":1800000000.5}"#,
            Ok(("alice", 1_800_000_000_500)),
        );
        check(
            r#"{"sub":"alice","exp":1800000001,"iat":1800000000}"#,
            Ok(("alice", 1_800_000_001_000)),
        );
        check(r#"{"sub":"alice","exp":1e300}"#, Ok(("alice", i64::MAX)));
        check(
            r#"{"sub":"alice","exp":1800000000}"#,
            Err("on or after the Expiration Time"),
        );
        check(
            r#"{"sub":"alice","exp":1800000009,"iat":1800000001}"#,
            Err("Issued At value was after"),
        );
        check(r#"{"sub":"alice","exp":"1800000009"}"#, Err("not of type Number"));
        check(r#"{"sub":"alice","exp":null}"#, Err("not of type Number"));
        check(r#"{"sub":"alice"}"#, Err("No expiration time"));
        check(r#"{"sub":" ","exp":1800000009}"#, Err("No principal name"));
        check(r#"{"sub":1,"exp":1800000009}"#, Err("No principal name"));
        check(r#"{"exp":1800000009}"#, Err("No principal name"));
        check(r#"[]"#, Err("malformed JSON"));
    }

    #[test]
    fn a_token_that_claims_to_be_signed_is_refused() {
        let validator = UnsecuredValidator::from_options(&options(&[])).unwrap();
        let claims = r#"{"sub":"alice","exp":1800000009}"#;
        for (header, signature) in [
            (r#"{"alg":"RS256"}"#, ""),
            (r#"{"alg":"None"}"#, ""),
            (r#"{}"#, ""),
            (r#"{"alg":"none"}"#, "AQID"),
        ] {
            let refusal = validator.validate(&token(header, claims, signature), NOW).unwrap_err();
            assert_eq!((refusal.status, refusal.scope), ("invalid_token", None), "{header}");
        }
    }

    #[test]
    fn options_change_the_claims_the_scope_and_the_skew() {
        let validator = UnsecuredValidator::from_options(&options(&[
            ("unsecuredValidatorPrincipalClaimName", " user "),
            ("unsecuredValidatorScopeClaimName", "scp"),
            ("unsecuredValidatorRequiredScope", "read write"),
            ("unsecuredValidatorAllowableClockSkewMs", "5000"),
        ]))
        .unwrap();
        let check = |claims: &str, expected: Result<&str, &str>| {
            let found = validator.validate(&token(r#"{"alg":"none"}"#, claims, ""), NOW);
            match (found, expected) {
                (Ok(bearer), Ok(name)) => assert_eq!(bearer.name, name),
                (Err(refusal), Err(status)) => assert_eq!(refusal.status, status, "{claims}"),
                (found, _) => panic!("{claims}: {found:?}"),
            }
        };
        check(r#"{"user":"bob","scp":["write","read"],"exp":1799999996}"#, Ok("bob"));
        check(
            r#"{"user":"bob","scp":["write","read"],"exp":1799999995}"#,
            Err("invalid_token"),
        );
        check(
            r#"{"user":"bob","scp":"read write","exp":1800000009}"#,
            Err("insufficient_scope"),
        );
        check(
            r#"{"user":"bob","scp":["read"],"exp":1800000009}"#,
            Err("insufficient_scope"),
        );
        check(r#"{"user":"bob","exp":1800000009}"#, Err("insufficient_scope"));
        let invalid = |key: &str, value: &str| UnsecuredValidator::from_options(&options(&[(key, value)])).is_err();
        assert!(invalid("unsecuredValidatorAllowableClockSkewMs", "-1"));
        assert!(invalid("unsecuredValidatorAllowableClockSkewMs", "x"));
        assert!(invalid("unsecuredValidatorRequiredScope", "a\"b"));
    }

    #[test]
    fn a_token_for_a_login_is_good_for_the_validator() {
        let made = login_token(
            &options(&[
                ("unsecuredLoginStringClaim_sub", "broker"),
                ("unsecuredLoginNumberClaim_shoe", "43.5"),
                ("unsecuredLoginListClaim_scope", "|a|b"),
                ("unsecuredLoginExtension_trace", "x"),
                ("unsecuredLoginLifetimeSeconds", "60"),
            ]),
            NOW,
        );
        let (token, bearer) = made.unwrap().unwrap();
        let required = options(&[("unsecuredValidatorRequiredScope", "a b")]);
        let validator = UnsecuredValidator::from_options(&required).unwrap();
        assert_eq!(validator.validate(&token, NOW), Ok(bearer.clone()));
        assert_eq!(
            (bearer.name.as_str(), bearer.expires),
            ("broker", Millis(NOW.0 + 60_000))
        );
    }

    #[test]
    fn a_login_needs_a_principal() {
        let check = |pairs: &[(&str, &str)], expected: Result<bool, &str>| {
            let found = login_token(&options(pairs), NOW).map(|made| made.is_some());
            assert_eq!(found, expected.map_err(str::to_owned), "{pairs:?}");
        };
        check(&[], Ok(false));
        check(&[("unsecuredValidatorRequiredScope", "x")], Ok(false));
        check(&[("unsecuredLoginStringClaim_sub", "a")], Ok(true));
        check(
            &[("unsecuredLoginExtension_a", "b")],
            Err("Extensions provided in login context without a token"),
        );
        check(
            &[("unsecuredLoginStringClaim_x", "a")],
            Err("No principal name in JWT claim: sub"),
        );
        check(
            &[("unsecuredLoginStringClaim_exp", "a")],
            Err("Cannot explicitly set the 'exp' claim"),
        );
    }
}
