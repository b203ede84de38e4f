//! Follows `/delegation_token/token_changes`: what another broker has done with a token is read again.
//!
//! With every session all tokens are read: notices live 15 minutes, and this broker may have been away for longer.
//!
//! Source: Kafka 3.9 `ZkNodeChangeNotificationListener`, `DelegationTokenManagerZk.TokenChangedNotificationHandler`.

use std::collections::BTreeSet;
use std::time::Duration;

use model::Millis;
use zk_schema::delegation_token as znode;
use zk_schema_store::{SessionState, StoreError, Watch};

use super::DelegationTokens;
use crate::clock;

/// How long a notice is kept.
const EXPIRATION_MS: i64 = 15 * 60 * 1000;
/// How long to wait after a failure that no session change explains.
const RETRY_PAUSE: Duration = Duration::from_secs(1);

/// What has been seen of the notices.
#[derive(Default)]
pub(super) struct Seen {
    last: Option<u64>,
    /// The session in which all tokens were read; 0: none.
    generation: u64,
}

/// Obeys notices for ever.
pub(super) async fn follow(tokens: &DelegationTokens) {
    let mut seen = Seen::default();
    let mut session = tokens.store.session();
    loop {
        let state = *session.borrow_and_update();
        let pass = match state {
            SessionState::Closed => return,
            SessionState::Connected { generation, .. } => pass(tokens, &mut seen, generation, clock::now()).await,
            SessionState::Disconnected { .. } | SessionState::Expired { .. } => {
                if session.changed().await.is_err() {
                    return;
                }
                continue;
            }
        };
        match pass {
            Ok(mut watch) => watch.changed().await,
            Err(StoreError::Closed) => return,
            Err(error) => {
                tracing::error!(%error, "changes of delegation tokens could not be read and will be tried again");
                // A new session needs no pause.
                let _: Result<_, tokio::time::error::Elapsed> =
                    tokio::time::timeout(RETRY_PAUSE, session.changed()).await;
            }
        }
    }
}

/// Obeys what is new, purges what is old; the watch fires when there may be more.
pub(super) async fn pass(
    tokens: &DelegationTokens,
    seen: &mut Seen,
    generation: u64,
    now: Millis,
) -> Result<Watch, StoreError> {
    let prefix = znode::CHANGE_PREFIX
        .rsplit_once('/')
        .map_or(znode::CHANGE_PREFIX, |(_, name)| name);
    let (children, watch) = tokens.store.watch_children(znode::CHANGES_PATH).await?;
    let mut numbered: Vec<(u64, String)> = children
        .unwrap_or_default()
        .into_iter()
        .filter_map(|name| {
            let number = name.strip_prefix(prefix)?.parse().ok()?;
            Some((number, format!("{}/{name}", znode::CHANGES_PATH)))
        })
        .collect();
    numbered.sort();
    if seen.generation == generation {
        let fresh = numbered
            .iter()
            .filter(|(number, _)| seen.last.is_none_or(|last| *number > last));
        let mut changed = BTreeSet::new();
        for found in tokens.store.get_all(fresh.map(|(_, path)| path.as_str())).await {
            match found? {
                Some((data, _)) => match String::from_utf8(data.to_vec()) {
                    // A name that is a path would read another znode.
                    Ok(token_id) if !token_id.is_empty() && !token_id.contains('/') => {
                        changed.insert(token_id);
                    }
                    _ => tracing::error!("a notice of a changed delegation token cannot be understood"),
                },
                // Purged already: which token it was of is not known any more.
                None => tokens.read_all().await?,
            }
        }
        for token_id in changed {
            tracing::info!(%token_id, "processing a notice of a changed delegation token");
            tokens.read(&token_id).await?;
        }
    } else {
        tokens.read_all().await?;
        seen.generation = generation;
    }
    seen.last = seen.last.max(numbered.last().map(|(number, _)| *number));
    purge(tokens, numbered, now).await?;
    Ok(watch)
}

/// Deletes notices that are too old, oldest first, until one is not.
async fn purge(tokens: &DelegationTokens, numbered: Vec<(u64, String)>, now: Millis) -> Result<(), StoreError> {
    for (_, path) in numbered {
        let Some(stat) = tokens.store.exists(&path).await? else {
            continue;
        };
        if now.0.saturating_sub(stat.ctime) <= EXPIRATION_MS {
            return Ok(());
        }
        match tokens.store.delete(&path, None).await {
            Ok(()) | Err(StoreError::NoNode { .. }) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
