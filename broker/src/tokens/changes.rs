//! Follows `/delegation_token/token_changes`: what another broker has done with a token is read again.
//!
//! Source: Kafka 3.9 `DelegationTokenManagerZk.TokenChangedNotificationHandler`.

use std::collections::BTreeSet;

use bytes::Bytes;
use zk_schema::delegation_token as znode;
use zk_schema_store::{Notices, Obey, ReadAll, StoreError};

use super::DelegationTokens;
use crate::clock;

/// The notices of changed tokens, none of them obeyed yet.
pub(super) const fn notices() -> Notices {
    Notices::new(znode::CHANGES_PATH, znode::CHANGE_NAME_PREFIX, ReadAll::EverySession)
}

/// Obeys notices for ever.
pub(super) async fn follow(tokens: &DelegationTokens) {
    notices().follow(&tokens.store, clock::now, &mut Follower(tokens)).await;
}

/// Keeps tokens as ZooKeeper has them.
pub(super) struct Follower<'a>(pub(super) &'a DelegationTokens);

impl Obey for Follower<'_> {
    async fn read_all(&mut self) -> Result<(), StoreError> {
        self.0.read_all().await
    }

    async fn read(&mut self, notices: Vec<Bytes>) -> Result<(), StoreError> {
        let mut changed = BTreeSet::new();
        for notice in notices {
            match String::from_utf8(notice.to_vec()) {
                // A name that is a path would read another znode.
                Ok(token_id) if !token_id.is_empty() && !token_id.contains('/') => {
                    changed.insert(token_id);
                }
                _ => tracing::error!("a notice of a changed delegation token cannot be understood"),
            }
        }
        for token_id in changed {
            tracing::info!(%token_id, "processing a notice of a changed delegation token");
            self.0.read(&token_id).await?;
        }
        Ok(())
    }
}
