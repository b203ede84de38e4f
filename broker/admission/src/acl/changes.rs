//! Follows `/kafka-acl-changes` and `/kafka-acl-extended-changes`: what any broker or tool has changed is read again.
//!
//! Source: Kafka 3.9 `ZkAclChangeStore`.

use std::collections::BTreeSet;

use bytes::Bytes;
use zk_schema::DecodeError;
use zk_schema::acl::{self, ResourcePattern};
use zk_schema_store::{Notices, Obey, ReadAll, StoreError};

use super::AclAuthorizer;
use crate::clock;

/// Obeys notices for as long as the store is open.
pub(super) async fn follow(authorizer: &AclAuthorizer) {
    let mut literal = OfKind {
        authorizer,
        path: acl::LITERAL_CHANGES_PATH,
        decode: ResourcePattern::decode_literal_change,
    };
    let mut extended = OfKind {
        authorizer,
        path: acl::EXTENDED_CHANGES_PATH,
        decode: ResourcePattern::decode_extended_change,
    };
    futures::join!(literal.follow(), extended.follow());
}

/// The rules of which one of the two kinds of notices speaks.
struct OfKind<'a> {
    authorizer: &'a AclAuthorizer,
    path: &'static str,
    decode: fn(&[u8]) -> Result<ResourcePattern, DecodeError>,
}

impl OfKind<'_> {
    async fn follow(&mut self) {
        // All rules were read before the listeners opened.
        let notices = Notices::new(self.path, acl::CHANGE_NAME_PREFIX, ReadAll::IfMissed);
        let store = self.authorizer.store().clone();
        notices.follow(&store, clock::now, self).await;
    }
}

impl Obey for OfKind<'_> {
    async fn read_all(&mut self) -> Result<(), StoreError> {
        tell(self.authorizer.read_all().await?);
        Ok(())
    }

    async fn read(&mut self, notices: Vec<Bytes>) -> Result<(), StoreError> {
        let mut resources = BTreeSet::new();
        for notice in notices {
            match (self.decode)(&notice) {
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
            tell(self.authorizer.refresh(resources.into_iter().collect()).await?);
        }
        Ok(())
    }
}

/// What cannot be understood is said, and no reason to try again until it changes.
fn tell(misunderstood: Option<DecodeError>) {
    if let Some(error) = misunderstood {
        tracing::error!(%error, "changed ACLs cannot be understood; those known before stay in force");
    }
}
