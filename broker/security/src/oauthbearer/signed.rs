//! Tokens that an identity provider has signed.
//!
//! Source: Kafka 3.9 `OAuthBearerValidatorCallbackHandler`, `ValidatorAccessTokenValidator`, and what jose4j's
//! `JwtConsumer` checks by itself: audience, issuer, times.

use std::collections::BTreeSet;
use std::sync::Arc;

use model::Millis;
use serde_json::{Map, Value};

use super::jwks::Keys;
use super::jwt::Compact;
use super::{Bearer, Refusal};

/// What a signed token must hold, and who may have signed it.
#[derive(Clone, Debug)]
pub struct SignedValidator {
    /// Of the identity provider.
    pub keys: Arc<Keys>,
    /// `sasl.oauthbearer.expected.audience`: one of these; empty: the token must be for nobody in particular.
    pub expected_audience: Vec<String>,
    /// `sasl.oauthbearer.expected.issuer`.
    pub expected_issuer: Option<String>,
    /// `sasl.oauthbearer.scope.claim.name`.
    pub scope_claim_name: String,
    /// `sasl.oauthbearer.sub.claim.name`.
    pub sub_claim_name: String,
    /// `sasl.oauthbearer.clock.skew.seconds`.
    pub clock_skew_seconds: i32,
}

impl SignedValidator {
    /// Whose token it is, if it is good at `now`.
    ///
    /// # Errors
    /// It is not.
    pub fn validate(&self, token: &str, now: Millis) -> Result<Bearer, Refusal> {
        let invalid = |reason: &str| Refusal::invalid_token(reason.to_owned());
        let parts = Compact::parse(token).map_err(invalid)?;
        if parts.signature.is_empty() {
            return Err(invalid("the token is not signed"));
        }
        let header = |name: &str| match parts.header.get(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text.as_str())),
            Some(_) => Err(invalid("malformed JWT header")),
        };
        let Some(algorithm) = header("alg")? else {
            return Err(invalid("JWS header must have an Algorithm value"));
        };
        // Whoever marks an extension as critical means that who does not know it must refuse; none is known here.
        if parts.header.contains_key("crit") {
            return Err(invalid("Unrecognized critical header parameters"));
        }
        self.keys
            .verify(
                header("kid")?,
                algorithm,
                parts.signed.as_bytes(),
                &parts.signature,
                now,
            )
            .map_err(invalid)?;
        // From here on the claims are the provider's.
        self.check_times(&parts.claims, now)?;
        self.check_parties(&parts.claims)?;
        self.check_scope(&parts.claims)?;
        let name = match parts.claims.get(&self.sub_claim_name) {
            Some(Value::String(name)) if !name.trim().is_empty() => name.trim().to_owned(),
            _ => return Err(invalid("the claim with the subject is no string, or empty")),
        };
        let expires = number(&parts.claims, "exp")?.unwrap_or_default();
        Ok(Bearer {
            name,
            expires: Millis(expires.saturating_mul(1000)),
        })
    }

    fn check_times(&self, claims: &Map<String, Value>, now: Millis) -> Result<(), Refusal> {
        let invalid = |reason: &str| Err(Refusal::invalid_token(reason.to_owned()));
        let (now, skew) = (now.0.div_euclid(1000), i64::from(self.clock_skew_seconds));
        let (issued_at, not_before) = (number(claims, "iat")?, number(claims, "nbf")?);
        let Some(expires) = number(claims, "exp")? else {
            return invalid("No Expiration Time (exp) claim present.");
        };
        let Some(issued_at) = issued_at else {
            return invalid("No Issued At (iat) claim present.");
        };
        if expires < 0 || issued_at < 0 {
            return invalid("a time in the token is negative");
        }
        if now.saturating_sub(skew) >= expires {
            return invalid("The JWT is no longer valid: its Expiration Time (exp) has passed");
        }
        if expires < issued_at || not_before.is_some_and(|not_before| expires < not_before) {
            return invalid("The Expiration Time (exp) is before the Issued At (iat) or Not Before (nbf) time");
        }
        if not_before.is_some_and(|not_before| now.saturating_add(skew) < not_before) {
            return invalid("The JWT is not yet valid: its Not Before time (nbf) has not come");
        }
        Ok(())
    }

    fn check_parties(&self, claims: &Map<String, Value>) -> Result<(), Refusal> {
        let invalid = |reason: &str| Err(Refusal::invalid_token(reason.to_owned()));
        let audience: Option<Vec<&str>> = match claims.get("aud") {
            None => None,
            Some(Value::String(one)) => Some(vec![one]),
            Some(Value::Array(many)) => Some(many.iter().filter_map(Value::as_str).collect()),
            Some(_) => return invalid("The audience (aud) claim is neither a string nor a list of strings"),
        };
        match audience {
            None if self.expected_audience.is_empty() => {}
            None => return invalid("No Audience (aud) claim present."),
            // Meant for somebody, and nobody has said that this is us.
            Some(_) if self.expected_audience.is_empty() => {
                return invalid("the token is for an audience, and sasl.oauthbearer.expected.audience is not set");
            }
            Some(audience) => {
                if !audience
                    .iter()
                    .any(|one| self.expected_audience.iter().any(|ours| ours == one))
                {
                    return invalid("Audience (aud) claim doesn't contain an acceptable identifier.");
                }
            }
        }
        match &self.expected_issuer {
            Some(issuer) if claims.get("iss").and_then(Value::as_str) != Some(issuer) => {
                invalid("Issuer (iss) claim doesn't match the expected value.")
            }
            _ => Ok(()),
        }
    }

    /// Kafka asks nothing of the scope but that it makes sense.
    fn check_scope(&self, claims: &Map<String, Value>) -> Result<(), Refusal> {
        let invalid = |reason: &str| Err(Refusal::invalid_token(reason.to_owned()));
        let scopes = match claims.get(&self.scope_claim_name) {
            Some(Value::Array(scopes)) => scopes.as_slice(),
            Some(scope @ Value::String(_)) => core::slice::from_ref(scope),
            _ => &[],
        };
        let mut seen = BTreeSet::new();
        for scope in scopes {
            let Some(scope) = scope.as_str().map(str::trim).filter(|scope| !scope.is_empty()) else {
                return invalid("a scope is no string, or empty");
            };
            if !seen.insert(scope) {
                return invalid("the scope must not contain duplicates");
            }
        }
        Ok(())
    }
}

/// Whole seconds.
fn number(claims: &Map<String, Value>, name: &str) -> Result<Option<i64>, Refusal> {
    let malformed = || Refusal::invalid_token(format!("Could not extract the '{name}' claim from the access token"));
    match claims.get(name) {
        None => Ok(None),
        Some(value) => match (value.as_i64(), value.as_f64()) {
            (Some(seconds), _) => Ok(Some(seconds)),
            (None, Some(seconds)) if seconds.is_finite() => Ok(Some(seconds as i64)),
            _ => Err(malformed()),
        },
    }
}

#[cfg(test)]
#[path = "signed_tests.rs"]
mod tests;
