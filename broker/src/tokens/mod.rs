//! Delegation tokens (KIP-48) of the cluster: made, renewed and ended in ZooKeeper, known to every broker.
//!
//! The shell round `broker_security::delegation_token`, which decides and remembers. A change is written first, then
//! known here, then told to the others by a notice; they read the token again. The secret of a token is in no znode.
//!
//! Only the controller removes tokens that have expired (the first broker, where a dedicated coordinator is the
//! controller), so that each is removed once.
//!
//! Source: Kafka 3.9 `DelegationTokenManagerZk`; znodes in `zk_schema::delegation_token`.

mod changes;

use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use broker_security::delegation_token::{
    DelegationToken, Expiry, Lifetimes, TokenCache, TokenError, TokenSecret, expire, is_expired,
};
use broker_security::principal::KafkaPrincipal;
use model::Millis;
use zk_schema::delegation_token as znode;
use zk_schema_store::{CreateMode, Store, StoreError};

use crate::Broker;
use crate::config::{BrokerConfig, Value};

/// The tokens of a cluster whose brokers share a secret.
pub struct DelegationTokens {
    store: Store,
    cache: Arc<TokenCache>,
    lifetimes: Lifetimes,
    expiry_check_interval: Duration,
}

/// What is asked of a token was not done.
#[derive(Debug, thiserror::Error)]
pub enum TokensError {
    /// → DELEGATION_TOKEN_NOT_FOUND.
    #[error("there is no such token")]
    NotFound,
    /// It may not be.
    #[error(transparent)]
    Refused(#[from] TokenError),
    /// ZooKeeper did not do it.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl DelegationTokens {
    /// `None` without `delegation.token.secret.key` (or `delegation.token.master.key`, its old name).
    pub fn new(config: &BrokerConfig, store: Store) -> Option<Arc<Self>> {
        let text = |key: &str| match config.value(key) {
            Some(Value::String(text)) => Some(text),
            _ => None,
        };
        let secret = text("delegation.token.secret.key").or_else(|| text("delegation.token.master.key"));
        let secret = secret.filter(|secret| !secret.is_empty())?;
        let ms = |key: &str| match config.value(key) {
            Some(Value::Integer(ms)) => Millis(ms),
            _ => Millis(0),
        };
        let interval = ms("delegation.token.expiry.check.interval.ms");
        Some(Arc::new(Self {
            store,
            cache: Arc::new(TokenCache::new(TokenSecret::new(&secret))),
            lifetimes: Lifetimes {
                max_lifetime: ms("delegation.token.max.lifetime.ms"),
                expiry_time: ms("delegation.token.expiry.time.ms"),
            },
            expiry_check_interval: Duration::from_millis(u64::try_from(interval.0).unwrap_or(0).max(1)),
        }))
    }

    /// What is known of them: for logins and for those who ask.
    pub fn cache(&self) -> &Arc<TokenCache> {
        &self.cache
    }

    /// Makes sure of the znodes and reads all tokens; before the listeners open.
    ///
    /// # Errors
    /// ZooKeeper has not answered.
    pub async fn load(&self) -> Result<(), StoreError> {
        for path in [znode::CHANGES_PATH, znode::TOKENS_PATH] {
            match self
                .store
                .create_recursive(path, Vec::new(), CreateMode::Persistent)
                .await
            {
                Ok(_) | Err(StoreError::NodeExists { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        self.read_all().await
    }

    /// Follows the notices of changes for as long as the broker lives; end it by dropping the future.
    pub async fn follow(self: Arc<Self>) {
        changes::follow(&self).await;
    }

    /// Removes expired tokens from time to time, while that is up to this broker.
    pub async fn expire_from_time_to_time(self: Arc<Self>, broker: std::sync::Weak<Broker>) {
        loop {
            tokio::time::sleep(self.expiry_check_interval).await;
            let Some(broker) = broker.upgrade() else { return };
            let image = broker.metadata.snapshot();
            let responsible = match image.controller_id {
                Some(controller) if image.brokers.contains_key(&controller) => Some(controller),
                // A dedicated coordinator knows nothing of tokens.
                Some(_) => image.brokers.keys().next().copied(),
                None => None,
            };
            if responsible == Some(broker.id) {
                self.expire_now(crate::clock::now()).await;
            }
        }
    }

    /// Removes what has expired by `now`.
    pub async fn expire_now(&self, now: Millis) {
        for (token, _) in self.cache.filtered(|token| is_expired(token, now)) {
            tracing::info!(
                token_id = token.token_id,
                owner = token.owner,
                "delegation token expired"
            );
            if let Err(error) = self.remove(&token.token_id).await {
                tracing::warn!(%error, token_id = token.token_id, "an expired delegation token could not be removed yet");
            }
        }
    }

    /// Makes a token; with its secret.
    ///
    /// # Errors
    /// ZooKeeper did not take it.
    pub async fn create(
        &self,
        owner: &KafkaPrincipal,
        requester: &KafkaPrincipal,
        renewers: &[KafkaPrincipal],
        max_lifetime: Millis,
        now: Millis,
    ) -> Result<(DelegationToken, [u8; 64]), StoreError> {
        let token_id = URL_SAFE_NO_PAD.encode(uuid::Uuid::new_v4().as_bytes());
        let token = self
            .lifetimes
            .create(token_id, owner, requester, renewers, max_lifetime, now);
        let path = znode::path(&token.token_id);
        self.store.create(&path, token.encode(), CreateMode::Persistent).await?;
        self.cache.update(token.clone());
        self.tell(&token.token_id).await?;
        tracing::info!(
            token_id = token.token_id,
            owner = token.owner,
            "created a delegation token"
        );
        let hmac = self.cache.hmac(&token.token_id);
        Ok((token, hmac))
    }

    /// Lets a token live on; until when.
    ///
    /// # Errors
    /// [`TokensError`].
    pub async fn renew(
        &self,
        principal: &KafkaPrincipal,
        hmac: &[u8],
        period: Millis,
        now: Millis,
    ) -> Result<Millis, TokensError> {
        let token = self.cache.by_hmac(hmac).ok_or(TokensError::NotFound)?;
        let renewed = self.lifetimes.renew(&token, principal, period, now)?;
        self.replace(renewed).await
    }

    /// Ends a token, at once or at a time to come; when.
    ///
    /// # Errors
    /// [`TokensError`].
    pub async fn expire(
        &self,
        principal: &KafkaPrincipal,
        hmac: &[u8],
        period: Millis,
        now: Millis,
    ) -> Result<Millis, TokensError> {
        let token = self.cache.by_hmac(hmac).ok_or(TokensError::NotFound)?;
        match expire(&token, principal, period, now)? {
            Expiry::Remove => {
                self.remove(&token.token_id).await?;
                Ok(now)
            }
            Expiry::Replace(token) => self.replace(token).await,
        }
    }

    /// Not created anew if it is gone: another broker has ended it meanwhile.
    async fn replace(&self, token: DelegationToken) -> Result<Millis, TokensError> {
        match self
            .store
            .set(&znode::path(&token.token_id), token.encode(), None)
            .await
        {
            Ok(_) => {}
            Err(StoreError::NoNode { .. }) => {
                self.cache.remove(&token.token_id);
                return Err(TokensError::NotFound);
            }
            Err(error) => return Err(error.into()),
        }
        let (token_id, expiry) = (token.token_id.clone(), token.expiry_timestamp);
        self.cache.update(token);
        self.tell(&token_id).await?;
        Ok(expiry)
    }

    async fn remove(&self, token_id: &str) -> Result<(), StoreError> {
        match self.store.delete(&znode::path(token_id), None).await {
            Ok(()) | Err(StoreError::NoNode { .. }) => {}
            Err(error) => return Err(error),
        }
        self.cache.remove(token_id);
        self.tell(token_id).await
    }

    async fn tell(&self, token_id: &str) -> Result<(), StoreError> {
        let mode = CreateMode::PersistentSequential;
        self.store.create(znode::CHANGE_PREFIX, token_id, mode).await.map(drop)
    }

    async fn read_all(&self) -> Result<(), StoreError> {
        let ids = self.store.get_children(znode::TOKENS_PATH).await?.unwrap_or_default();
        let found = self.store.get_all(ids.iter().map(|id| znode::path(id))).await;
        let mut tokens = Vec::with_capacity(ids.len());
        for (token_id, found) in ids.iter().zip(found) {
            let Some((data, _)) = found? else { continue };
            tokens.extend(decode(token_id, &data));
        }
        tracing::info!(tokens = tokens.len(), "loaded delegation tokens");
        self.cache.replace_all(tokens);
        Ok(())
    }

    async fn read(&self, token_id: &str) -> Result<(), StoreError> {
        match self.store.get(&znode::path(token_id)).await? {
            Some((data, _)) => match decode(token_id, &data) {
                Some(token) => self.cache.update(token),
                None => self.cache.remove(token_id),
            },
            None => self.cache.remove(token_id),
        }
        Ok(())
    }
}

/// What cannot be understood is no token, and is logged.
fn decode(token_id: &str, data: &[u8]) -> Option<DelegationToken> {
    match DelegationToken::decode(data) {
        // The secret is made of the id: that of the znode, whatever is in it.
        Ok(Some(token)) if token.token_id == token_id => Some(token),
        Ok(None) => None,
        Ok(Some(_)) => {
            tracing::error!(token_id, "a delegation token in zookeeper has another's id");
            None
        }
        Err(error) => {
            tracing::error!(token_id, %error, "a delegation token in zookeeper cannot be understood");
            None
        }
    }
}

#[cfg(test)]
mod tests;
