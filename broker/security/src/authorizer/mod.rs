//! Who may do what: access control lists and the decisions made by them.
//!
//! Decides; does not read ZooKeeper, write, log or know requests: the shell in the broker does. Decisions are made on a
//! snapshot that updates replace, so that nobody waits for an update, and an update never copies more than one small part
//! of what is there.
//!
//! Invariants: what a principal may do by a deny rule it may not do by any allow rule; a principal named in `super.users`
//! may do everything; a resource of which no rule speaks is everybody's or nobody's, by `allow.everyone.if.no.acl.found`.
//!
//! Source: Kafka 3.9 `AclAuthorizer`, of the same decisions.

mod by_principal;
mod filter;
mod host;
mod index;
mod rules;

use core::net::IpAddr;
use std::sync::Arc;

use arc_swap::ArcSwap;
use hashbrown::HashSet;
use parking_lot::{Mutex, RwLock};
use zk_schema::acl::{AclEntry, Operation, ResourcePattern, ResourceType};

pub use self::filter::{BindingFilter, EntryFilter, PatternTypeFilter, ResourceFilter};
pub use self::host::host_address;
pub use self::index::AclIndex;
pub use self::rules::{Rule, Rules};

use self::by_principal::ByPrincipal;
use crate::principal::KafkaPrincipal;

/// `*`: every principal's name, every host, every resource.
pub const WILDCARD: &str = "*";
/// The only name that a cluster has in ACLs.
pub const CLUSTER_NAME: &str = "kafka-cluster";

/// Who asks, and from where.
#[derive(Clone, Copy, Debug)]
pub struct Requester<'a> {
    /// Whose connection it is.
    pub principal: &'a KafkaPrincipal,
    /// Where it comes from.
    pub host: IpAddr,
}

/// What was decided, and why: the audit log tells of both.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision<'a> {
    /// A super user may do everything.
    SuperUser,
    /// No rule speaks of the resource: `allow.everyone.if.no.acl.found` decides.
    NoRules {
        /// What it says.
        allowed: bool,
    },
    /// A rule denies it.
    DeniedBy(&'a Rule),
    /// A rule allows it, and none denies it.
    AllowedBy(&'a Rule),
    /// Rules speak of the resource, none of them of this.
    NoRuleAllows,
}

impl Decision<'_> {
    /// Whether it may be done.
    pub const fn is_allowed(&self) -> bool {
        match self {
            Self::SuperUser | Self::AllowedBy(_) => true,
            Self::NoRules { allowed } => *allowed,
            Self::DeniedBy(_) | Self::NoRuleAllows => false,
        }
    }
}

/// What is now attached to a resource: the rules, and the data version of the znode that holds them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VersionedAcls {
    /// The rules, in the order in which they stand in the znode.
    pub entries: Vec<AclEntry>,
    /// Its data version; nothing where there is no znode.
    pub version: Option<i32>,
}

/// The rules of a cluster, and what they decide.
pub struct Authorizer {
    super_users: HashSet<KafkaPrincipal>,
    allow_everyone_if_no_acl_found: bool,
    index: ArcSwap<AclIndex>,
    /// The same rules by whom they are for; read only where a right to *any* resource is asked for.
    by_principal: RwLock<ByPrincipal>,
    /// Held while an update is made, so that none is lost.
    updating: Mutex<()>,
}

impl Authorizer {
    /// An authorizer that knows no rules yet.
    pub fn new(super_users: impl IntoIterator<Item = KafkaPrincipal>, allow_everyone_if_no_acl_found: bool) -> Self {
        Self {
            super_users: super_users.into_iter().collect(),
            allow_everyone_if_no_acl_found,
            index: ArcSwap::from_pointee(AclIndex::default()),
            by_principal: RwLock::default(),
            updating: Mutex::new(()),
        }
    }

    /// The rules as they are now.
    pub fn snapshot(&self) -> arc_swap::Guard<Arc<AclIndex>> {
        self.index.load()
    }

    /// Whether `principal` is named in `super.users`.
    pub fn is_super_user(&self, principal: &KafkaPrincipal) -> bool {
        self.super_users.contains(principal)
    }

    /// Decides by `index`, which [`Authorizer::snapshot`] gave: several decisions about one request are made on the same
    /// rules.
    ///
    /// Source: Kafka 3.9 `AclAuthorizer.authorizeAction`.
    pub fn decide<'a>(
        &self,
        index: &'a AclIndex,
        requester: Requester<'_>,
        operation: Operation,
        resource_type: ResourceType,
        name: &str,
    ) -> Decision<'a> {
        if self.is_super_user(requester.principal) {
            return Decision::SuperUser;
        }
        let denying = mask(operation) | mask(Operation::All);
        let allowing = implied_by(operation) | mask(Operation::All);
        let host = requester.host.to_canonical();
        let mut any = false;
        let mut allowed_by = None;
        let mut denied_by = None;
        index.visit(resource_type, name, |rules| {
            any = true;
            rules.for_principal(requester.principal, |rule| {
                let operation = mask(rule.operation);
                if !rule.host.matches(host) {
                } else if !rule.allow && operation & denying != 0 {
                    denied_by = denied_by.or(Some(rule));
                } else if rule.allow && operation & allowing != 0 {
                    allowed_by = allowed_by.or(Some(rule));
                }
            });
        });
        match (denied_by, allowed_by) {
            (Some(rule), _) => Decision::DeniedBy(rule),
            (None, Some(rule)) => Decision::AllowedBy(rule),
            (None, None) if any => Decision::NoRuleAllows,
            (None, None) => Decision::NoRules {
                allowed: self.allow_everyone_if_no_acl_found,
            },
        }
    }

    /// Whether the requester may do this to at least one resource of the kind, existing or not.
    ///
    /// No operation implies another here.
    ///
    /// Source: Kafka 3.9 `AclAuthorizer.authorizeByResourceType` (KIP-679).
    pub fn may_with_any(&self, requester: Requester<'_>, operation: Operation, resource_type: ResourceType) -> bool {
        self.is_super_user(requester.principal)
            || self.by_principal.read().may_with_any(
                &requester.principal.to_string(),
                &host_address(requester.host),
                operation,
                resource_type,
                self.allow_everyone_if_no_acl_found,
            )
    }

    /// What is attached to `resource` now.
    pub fn acls_of(&self, resource: &ResourcePattern) -> Option<VersionedAcls> {
        let index = self.snapshot();
        let rules = index.get(resource)?;
        Some(VersionedAcls {
            entries: rules.entries().collect(),
            version: Some(rules.version),
        })
    }

    /// Takes over what is now attached to these resources; no entries are no rules.
    pub fn update(&self, changes: impl IntoIterator<Item = (ResourcePattern, VersionedAcls)>) {
        let _updating = self.updating.lock();
        let mut index = AclIndex::clone(&self.index.load());
        let mut by_principal = self.by_principal.write();
        for (resource, acls) in changes {
            let rules = (!acls.entries.is_empty())
                .then(|| Arc::new(Rules::new(acls.entries.iter(), acls.version.unwrap_or_default())));
            let (name, before) = index.replace(&resource, rules.clone());
            by_principal.replace(&resource, &name, before.as_deref(), rules.as_deref());
        }
        self.index.store(Arc::new(index));
    }
}

impl core::fmt::Debug for Authorizer {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Authorizer")
            .field("super_users", &self.super_users)
            .field("resources", &self.snapshot().len())
            .finish_non_exhaustive()
    }
}

/// One bit for each operation.
const fn mask(operation: Operation) -> u16 {
    1 << operation as u16
}

/// The operations a right to which is a right to `operation`.
///
/// Source: Kafka 3.9 `AclAuthorizer.authorizeAction`: only allowing is implied, never denying.
const fn implied_by(operation: Operation) -> u16 {
    match operation {
        Operation::Describe => {
            mask(Operation::Describe)
                | mask(Operation::Read)
                | mask(Operation::Write)
                | mask(Operation::Delete)
                | mask(Operation::Alter)
        }
        Operation::DescribeConfigs => mask(Operation::DescribeConfigs) | mask(Operation::AlterConfigs),
        Operation::All
        | Operation::Read
        | Operation::Write
        | Operation::Create
        | Operation::Delete
        | Operation::Alter
        | Operation::ClusterAction
        | Operation::AlterConfigs
        | Operation::IdempotentWrite
        | Operation::CreateTokens
        | Operation::DescribeTokens => mask(operation),
    }
}

/// The operations that make sense for a kind of resource.
///
/// Source: Kafka 3.9 `AclEntry.supportedOperations`.
pub const fn supported_operations(resource_type: ResourceType) -> &'static [Operation] {
    use Operation::*;
    match resource_type {
        ResourceType::Topic => &[
            Read,
            Write,
            Create,
            Describe,
            Delete,
            Alter,
            DescribeConfigs,
            AlterConfigs,
        ],
        ResourceType::Group => &[Read, Describe, Delete],
        ResourceType::Cluster => &[
            Create,
            ClusterAction,
            DescribeConfigs,
            AlterConfigs,
            IdempotentWrite,
            Alter,
            Describe,
        ],
        ResourceType::TransactionalId => &[Describe, Write],
        ResourceType::DelegationToken => &[Describe],
        ResourceType::User => &[CreateTokens, DescribeTokens],
    }
}

#[cfg(test)]
mod tests;
