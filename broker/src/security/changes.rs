//! Follows `/kafka-acl-changes` and `/kafka-acl-extended-changes`: what any broker or tool has changed is read again.
//!
//! Notices live 15 minutes. A session that follows another goes on after the last notice that was seen; if notices in
//! between may be gone already, all rules are read again. Kafka goes on in either case, and would miss them.
//!
//! Source: Kafka 3.9 `ZkNodeChangeNotificationListener`, `ZkAclChangeStore`.

use std::collections::BTreeSet;
use std::time::Duration;

use model::Millis;
use zk_schema::DecodeError;
use zk_schema::acl::{self, ResourcePattern};
use zk_schema_store::{SessionState, Store, StoreError, Watch};

use super::AclAuthorizer;
use crate::clock;

/// How long a notice is kept.
const EXPIRATION_MS: i64 = 15 * 60 * 1000;
/// How long to wait after a failure that no session change explains.
const RETRY_PAUSE: Duration = Duration::from_secs(1);

/// One of the two kinds of notices.
struct Notices {
    path: &'static str,
    decode: fn(&[u8]) -> Result<ResourcePattern, DecodeError>,
    /// The last one that was obeyed.
    last: Option<u64>,
    /// The session in which the notices were last listed.
    generation: Option<u64>,
}

/// Obeys notices for ever.
pub(super) async fn follow(authorizer: &AclAuthorizer) {
    let literal = Notices {
        path: acl::LITERAL_CHANGES_PATH,
        decode: ResourcePattern::decode_literal_change,
        last: None,
        generation: None,
    };
    let extended = Notices {
        path: acl::EXTENDED_CHANGES_PATH,
        decode: ResourcePattern::decode_extended_change,
        last: None,
        generation: None,
    };
    futures::join!(literal.follow(authorizer), extended.follow(authorizer));
}

impl Notices {
    async fn follow(mut self, authorizer: &AclAuthorizer) {
        let mut session = authorizer.store().session();
        loop {
            let state = *session.borrow_and_update();
            let pass = match state {
                SessionState::Closed => return,
                SessionState::Connected { generation, .. } => self.pass(authorizer, generation, clock::now()).await,
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
                    tracing::error!(%error, path = self.path, "changes of ACLs could not be read and will be tried again");
                    // A new session needs no pause.
                    let _: Result<_, tokio::time::error::Elapsed> =
                        tokio::time::timeout(RETRY_PAUSE, session.changed()).await;
                }
            }
        }
    }

    /// Obeys what is new, purges what is old; the watch fires when there may be more.
    async fn pass(&mut self, authorizer: &AclAuthorizer, generation: u64, now: Millis) -> Result<Watch, StoreError> {
        let store = authorizer.store();
        let (children, watch) = store.watch_children(self.path).await?;
        let mut numbered: Vec<(u64, String)> = children
            .unwrap_or_default()
            .into_iter()
            .filter_map(|name| Some((name.strip_prefix(acl::CHANGE_NAME_PREFIX)?.parse().ok()?, name)))
            .collect();
        numbered.sort();
        if self.generation.is_some_and(|before| before != generation) && self.may_have_missed(&numbered) {
            tell(authorizer.read_all().await?);
        } else {
            // The first listing of all: a change between the reading of all rules and now has its notice here. Notices of
            // what was read already cost a second reading.
            let fresh = numbered
                .iter()
                .filter(|(number, _)| self.last.is_none_or(|last| *number > last));
            let paths: Vec<String> = fresh.map(|(_, name)| format!("{}/{name}", self.path)).collect();
            let mut resources = BTreeSet::new();
            for found in store.get_all(paths).await {
                // Purged meanwhile by a broker whose clock is ahead: as if it had been missed.
                let Some((data, _)) = found? else {
                    tell(authorizer.read_all().await?);
                    continue;
                };
                match (self.decode)(&data) {
                    Ok(resource) => {
                        resources.insert(resource);
                    }
                    Err(error) => tracing::error!(%error, "a notice of changed ACLs cannot be understood"),
                }
            }
            if !resources.is_empty() {
                tracing::info!(
                    resources = resources.len(),
                    path = self.path,
                    "processing notices of changed ACLs"
                );
                tell(authorizer.refresh(resources.into_iter().collect()).await?);
            }
        }
        self.generation = Some(generation);
        self.last = self.last.max(numbered.last().map(|(number, _)| *number));
        purge(store, self.path, numbered, now).await?;
        Ok(watch)
    }

    /// Whether notices after the last one that was obeyed may be purged already.
    fn may_have_missed(&self, numbered: &[(u64, String)]) -> bool {
        let next = self.last.map_or(0, |last| last.saturating_add(1));
        numbered.first().is_none_or(|(oldest, _)| *oldest > next)
    }
}

/// What cannot be understood is said, and no reason to try again until it changes.
fn tell(misunderstood: Option<DecodeError>) {
    if let Some(error) = misunderstood {
        tracing::error!(%error, "changed ACLs cannot be understood; those known before stay in force");
    }
}

/// Deletes notices that are too old, oldest first, until one is not.
async fn purge(store: &Store, parent: &str, numbered: Vec<(u64, String)>, now: Millis) -> Result<(), StoreError> {
    for (_, name) in numbered {
        let path = format!("{parent}/{name}");
        let Some(stat) = store.exists(&path).await? else {
            continue;
        };
        if now.0.saturating_sub(stat.ctime) <= EXPIRATION_MS {
            return Ok(());
        }
        match store.delete(&path, None).await {
            Ok(()) | Err(StoreError::NoNode { .. }) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_session_reads_everything_only_if_notices_may_be_gone() {
        let check = |name: &str, last: Option<u64>, there: &[u64], missed: bool| {
            let notices = Notices {
                path: acl::LITERAL_CHANGES_PATH,
                decode: ResourcePattern::decode_literal_change,
                last,
                generation: Some(1),
            };
            let numbered: Vec<(u64, String)> = there.iter().map(|number| (*number, String::new())).collect();
            assert_eq!(notices.may_have_missed(&numbered), missed, "{name}");
        };
        check("none was ever seen, the first is there", None, &[0, 1], false);
        check("none was ever seen, the first is gone", None, &[3], true);
        check("none is there: all may be purged", Some(4), &[], true);
        check("the last seen is still there", Some(4), &[4, 5], false);
        check("the next is there", Some(4), &[5, 6], false);
        check("the next is gone", Some(4), &[6], true);
    }
}
