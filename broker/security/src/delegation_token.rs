//! Delegation tokens (KIP-48): short credentials that stand for a principal, made and ended by requests.
//!
//! Decides who may have which token until when, and holds the tokens of the cluster in memory, ready for logins. Does
//! not read ZooKeeper and does not read a clock. A token's secret is not kept anywhere: it is made of its id and of the
//! secret that all brokers share.
//!
//! Source: Kafka 3.9 `DelegationTokenManagerZk`, `DelegationTokenCache`, `TokenInformation`.

use core::fmt;
use std::sync::{Arc, OnceLock};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hashbrown::HashMap;
use hmac::{Hmac, Mac};
use model::Millis;
use parking_lot::RwLock;
use sha2::Sha512;
pub use zk_schema::delegation_token::DelegationToken;

use crate::principal::KafkaPrincipal;
use crate::sasl::{ScramCredential, ScramMechanism, TokenCredential, TokenCredentials};

/// `delegation.token.secret.key`: who has it can make the secret of any token.
#[derive(Clone)]
pub struct TokenSecret(Vec<u8>);

impl TokenSecret {
    /// The secret that all brokers share.
    pub fn new(secret: &str) -> Self {
        Self(secret.as_bytes().to_vec())
    }

    /// A token's own secret: HMAC-SHA512 of its id.
    pub fn hmac(&self, token_id: &str) -> [u8; 64] {
        let mut mac = Hmac::<Sha512>::new_from_slice(&self.0).expect("HMAC takes a key of any length");
        mac.update(token_id.as_bytes());
        mac.finalize().into_bytes().into()
    }
}

impl fmt::Debug for TokenSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenSecret([hidden])")
    }
}

/// How long tokens live.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lifetimes {
    /// `delegation.token.max.lifetime.ms`.
    pub max_lifetime: Millis,
    /// `delegation.token.expiry.time.ms`: unless renewed.
    pub expiry_time: Millis,
}

/// What is asked of a token cannot be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// → DELEGATION_TOKEN_OWNER_MISMATCH. Neither the owner nor a renewer.
    #[error("neither the owner of the token nor one of its renewers")]
    OwnerMismatch,
    /// → DELEGATION_TOKEN_EXPIRED. It has ended.
    #[error("the token has expired")]
    Expired,
}

/// What is to become of a token that is to expire.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Expiry {
    /// Now.
    Remove,
    /// Later: it is to be replaced by this.
    Replace(DelegationToken),
}

impl Lifetimes {
    /// A new token. `max_lifetime` 0 or less: as long as may be.
    pub fn create(
        &self,
        token_id: String,
        owner: &KafkaPrincipal,
        requester: &KafkaPrincipal,
        renewers: &[KafkaPrincipal],
        max_lifetime: Millis,
        now: Millis,
    ) -> DelegationToken {
        let lifetime = match max_lifetime.0 {
            ..=0 => self.max_lifetime.0,
            asked => asked.min(self.max_lifetime.0),
        };
        let max_timestamp = now.0.saturating_add(lifetime);
        DelegationToken {
            token_id,
            owner: owner.to_string(),
            token_requester: requester.to_string(),
            renewers: renewers.iter().map(ToString::to_string).collect(),
            issue_timestamp: now,
            expiry_timestamp: Millis(max_timestamp.min(now.0.saturating_add(self.expiry_time.0))),
            max_timestamp: Millis(max_timestamp),
        }
    }

    /// A token that is to live on for `period` from `now` (negative: for the usual time), but not past its longest life.
    ///
    /// # Errors
    /// [`TokenError`].
    pub fn renew(
        &self,
        token: &DelegationToken,
        principal: &KafkaPrincipal,
        period: Millis,
        now: Millis,
    ) -> Result<DelegationToken, TokenError> {
        require_owner_or_renewer(token, principal)?;
        require_alive(token, now)?;
        let period = if period.0 < 0 { self.expiry_time } else { period };
        Ok(expiring(token, now, period))
    }
}

/// A token that is to end `period` from `now`; negative: at once, even if it has ended before.
///
/// # Errors
/// [`TokenError`].
pub fn expire(
    token: &DelegationToken,
    principal: &KafkaPrincipal,
    period: Millis,
    now: Millis,
) -> Result<Expiry, TokenError> {
    require_owner_or_renewer(token, principal)?;
    if period.0 < 0 {
        return Ok(Expiry::Remove);
    }
    require_alive(token, now)?;
    Ok(Expiry::Replace(expiring(token, now, period)))
}

/// Whether it has ended by `now`.
pub fn is_expired(token: &DelegationToken, now: Millis) -> bool {
    token.max_timestamp < now || token.expiry_timestamp < now
}

/// Whether `principal` owns it, has asked for it, or may renew it: then it may see it.
pub fn is_owner_or_renewer(token: &DelegationToken, principal: &KafkaPrincipal) -> bool {
    let name = principal.to_string();
    token.owner == name || token.token_requester == name || token.renewers.contains(&name)
}

fn require_owner_or_renewer(token: &DelegationToken, principal: &KafkaPrincipal) -> Result<(), TokenError> {
    let name = principal.to_string();
    match token.owner == name || token.renewers.contains(&name) {
        true => Ok(()),
        false => Err(TokenError::OwnerMismatch),
    }
}

fn require_alive(token: &DelegationToken, now: Millis) -> Result<(), TokenError> {
    match is_expired(token, now) {
        true => Err(TokenError::Expired),
        false => Ok(()),
    }
}

fn expiring(token: &DelegationToken, now: Millis, period: Millis) -> DelegationToken {
    DelegationToken {
        expiry_timestamp: Millis(token.max_timestamp.0.min(now.0.saturating_add(period.0))),
        ..token.clone()
    }
}

/// The cluster's tokens, as this broker knows them.
#[derive(Debug)]
pub struct TokenCache {
    secret: TokenSecret,
    tokens: RwLock<HashMap<String, Arc<Cached>>>,
}

struct Cached {
    token: DelegationToken,
    owner: KafkaPrincipal,
    hmac: [u8; 64],
    /// Made when somebody first logs in with it: thousands of hashes.
    credentials: [OnceLock<Option<Arc<ScramCredential>>>; 2],
}

impl fmt::Debug for Cached {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cached")
            .field("token", &self.token)
            .finish_non_exhaustive()
    }
}

impl TokenCache {
    /// Without tokens.
    pub fn new(secret: TokenSecret) -> Self {
        Self {
            secret,
            tokens: RwLock::default(),
        }
    }

    /// The secret of a token.
    pub fn hmac(&self, token_id: &str) -> [u8; 64] {
        self.secret.hmac(token_id)
    }

    /// A token is now this. One whose owner is no principal can stand for nobody, and is logged.
    pub fn update(&self, token: DelegationToken) {
        let owner = match token.owner.parse::<KafkaPrincipal>() {
            Ok(owner) => KafkaPrincipal {
                token_authenticated: true,
                ..owner
            },
            Err(error) => {
                tracing::error!(token_id = token.token_id, %error, "a delegation token in zookeeper cannot be used");
                return;
            }
        };
        let mut tokens = self.tokens.write();
        let credentials = match tokens.get(&token.token_id) {
            // The same id has the same secret.
            Some(known) => known.credentials.clone(),
            None => Default::default(),
        };
        let cached = Cached {
            owner,
            hmac: self.secret.hmac(&token.token_id),
            credentials,
            token,
        };
        tokens.insert(cached.token.token_id.clone(), Arc::new(cached));
    }

    /// A token is no more.
    pub fn remove(&self, token_id: &str) {
        self.tokens.write().remove(token_id);
    }

    /// These are all tokens that there are.
    pub fn replace_all(&self, tokens: Vec<DelegationToken>) {
        let ids: std::collections::HashSet<&str> = tokens.iter().map(|token| token.token_id.as_str()).collect();
        self.tokens.write().retain(|id, _| ids.contains(id.as_str()));
        for token in tokens {
            self.update(token);
        }
    }

    /// The token with this secret. The secret is 64 bytes of an HMAC, so that its comparison need not take the same
    /// time for all: nobody can come nearer to one byte by byte, since the id that makes it is not theirs to choose.
    pub fn by_hmac(&self, hmac: &[u8]) -> Option<DelegationToken> {
        use subtle::ConstantTimeEq;
        let tokens = self.tokens.read();
        let mut found = tokens.values().filter(|cached| cached.hmac.ct_eq(hmac).into());
        found.next().map(|cached| cached.token.clone())
    }

    /// Those that `wanted` says, with their secrets, by id.
    pub fn filtered(&self, mut wanted: impl FnMut(&DelegationToken) -> bool) -> Vec<(DelegationToken, [u8; 64])> {
        // Without the lock while others are asked.
        let all: Vec<Arc<Cached>> = self.tokens.read().values().cloned().collect();
        let wanted = all.iter().filter(|cached| wanted(&cached.token));
        let mut found: Vec<_> = wanted.map(|cached| (cached.token.clone(), cached.hmac)).collect();
        found.sort_by(|one, other| one.0.token_id.cmp(&other.0.token_id));
        found
    }
}

impl TokenCredentials for TokenCache {
    fn token(&self, mechanism: ScramMechanism, token_id: &str) -> Option<TokenCredential> {
        let cached = self.tokens.read().get(token_id).cloned()?;
        let place = &cached.credentials[usize::from(mechanism == ScramMechanism::Sha512)];
        let credential = place.get_or_init(|| {
            let password = STANDARD.encode(cached.hmac);
            match ScramCredential::of_password(mechanism, &password, mechanism.min_iterations()) {
                Ok(credential) => Some(Arc::new(credential)),
                Err(error) => {
                    tracing::error!(%error, "no credential could be made for a delegation token");
                    None
                }
            }
        });
        Some(TokenCredential {
            owner: cached.owner.clone(),
            credential: credential.clone()?,
            expires_at: cached.token.expiry_timestamp,
        })
    }
}

#[cfg(test)]
#[path = "delegation_token_tests.rs"]
mod tests;
