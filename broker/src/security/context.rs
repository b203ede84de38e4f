//! How handlers ask whether their client may do what it asks for.
//!
//! Source: Kafka 3.9 `AuthHelper`.

use broker_admission::{Action, LogIf};
use broker_security::authorizer::{CLUSTER_NAME, Requester, supported_operations};
use broker_security::principal::KafkaPrincipal;
use smallvec::SmallVec;
use zk_schema::acl::{Operation, ResourceType};

use crate::api::RequestContext;

/// Which of the resources that a request names its client may use.
#[derive(Clone, Debug)]
pub enum Authorized<'a> {
    /// All of them.
    All,
    /// These, sorted.
    Only(SmallVec<[&'a str; 4]>),
}

impl Authorized<'_> {
    /// Whether it may use the one of this name, which is among those that were asked about.
    pub fn contains(&self, name: &str) -> bool {
        match self {
            Self::All => true,
            Self::Only(names) => names.binary_search(&name).is_ok(),
        }
    }
}

impl RequestContext {
    /// Whether the client may do this to the resource. A refusal is logged.
    pub fn authorize(&self, operation: Operation, resource_type: ResourceType, name: &str) -> bool {
        self.authorize_logged(operation, resource_type, name, LogIf::BOTH)
    }

    /// [`RequestContext::authorize`], where a refusal is not worth a line: the client will be served another way.
    pub fn authorize_quietly(&self, operation: Operation, resource_type: ResourceType, name: &str) -> bool {
        self.authorize_logged(operation, resource_type, name, LogIf::ALLOWED)
    }

    /// Whether the client may do this to the cluster: otherwise CLUSTER_AUTHORIZATION_FAILED.
    pub fn authorize_cluster(&self, operation: Operation) -> bool {
        self.authorize(operation, ResourceType::Cluster, CLUSTER_NAME)
    }

    /// [`RequestContext::authorize_cluster`], where a refusal is not worth a line.
    pub fn authorize_cluster_quietly(&self, operation: Operation) -> bool {
        self.authorize_quietly(operation, ResourceType::Cluster, CLUSTER_NAME)
    }

    /// Whether there is, or could be, a resource of the kind to which the client may do this.
    pub fn authorize_any(&self, operation: Operation, resource_type: ResourceType) -> bool {
        match self.broker.authorizer() {
            None => true,
            Some(authorizer) => {
                let principal = self.connection.principal();
                authorizer.authorize_any(
                    self.requester(&principal),
                    self.header.api.name,
                    operation,
                    resource_type,
                )
            }
        }
    }

    /// To which of these resources the client may do this. Refusals are logged, each name once.
    pub fn authorized<'a>(
        &self,
        operation: Operation,
        resource_type: ResourceType,
        names: impl IntoIterator<Item = &'a str>,
    ) -> Authorized<'a> {
        self.authorized_logged(operation, resource_type, names, LogIf::BOTH)
    }

    /// [`RequestContext::authorized`], where refusals are not worth a line.
    pub fn authorized_quietly<'a>(
        &self,
        operation: Operation,
        resource_type: ResourceType,
        names: impl IntoIterator<Item = &'a str>,
    ) -> Authorized<'a> {
        self.authorized_logged(operation, resource_type, names, LogIf::ALLOWED)
    }

    /// What the client may do to the resource, as the bit field that responses carry (KIP-430).
    ///
    /// Source: Kafka 3.9 `AuthHelper.authorizedOperations`, `Utils.to32BitField`.
    pub fn authorized_operations(&self, resource_type: ResourceType, name: &str) -> i32 {
        let supported = supported_operations(resource_type).iter();
        let allowed =
            supported.filter(|operation| self.authorize_logged(**operation, resource_type, name, LogIf::NEITHER));
        allowed.fold(0, |bits, operation| bits | 1 << operation_code(*operation))
    }

    fn requester<'a>(&self, principal: &'a KafkaPrincipal) -> Requester<'a> {
        Requester {
            principal,
            host: self.connection.peer.ip(),
        }
    }

    fn authorize_logged(&self, operation: Operation, resource_type: ResourceType, name: &str, log: LogIf) -> bool {
        match self.broker.authorizer() {
            None => true,
            Some(authorizer) => {
                let action = Action {
                    operation,
                    resource_type,
                    name,
                    count: 1,
                    log,
                };
                let principal = self.connection.principal();
                authorizer.authorize(self.requester(&principal), self.header.api.name, &[action])[0]
            }
        }
    }

    fn authorized_logged<'a>(
        &self,
        operation: Operation,
        resource_type: ResourceType,
        names: impl IntoIterator<Item = &'a str>,
        log: LogIf,
    ) -> Authorized<'a> {
        let Some(authorizer) = self.broker.authorizer() else {
            return Authorized::All;
        };
        let mut all: SmallVec<[&str; 4]> = names.into_iter().collect();
        all.sort_unstable();
        let mut actions: SmallVec<[Action<'_>; 4]> = SmallVec::new();
        for name in &all {
            match actions.last_mut() {
                Some(last) if last.name == *name => last.count += 1,
                _ => actions.push(Action {
                    operation,
                    resource_type,
                    name,
                    count: 1,
                    log,
                }),
            }
        }
        let principal = self.connection.principal();
        let allowed = authorizer.authorize(self.requester(&principal), self.header.api.name, &actions);
        all.dedup();
        let mut allowed = allowed.iter();
        all.retain(|_| allowed.next().is_some_and(|allowed| *allowed));
        Authorized::Only(all)
    }
}

/// The number of an operation on the wire. Source: Kafka `AclOperation.code`.
pub(crate) const fn operation_code(operation: Operation) -> i8 {
    match operation {
        Operation::All => 2,
        Operation::Read => 3,
        Operation::Write => 4,
        Operation::Create => 5,
        Operation::Delete => 6,
        Operation::Alter => 7,
        Operation::Describe => 8,
        Operation::ClusterAction => 9,
        Operation::DescribeConfigs => 10,
        Operation::AlterConfigs => 11,
        Operation::IdempotentWrite => 12,
        Operation::CreateTokens => 13,
        Operation::DescribeTokens => 14,
    }
}
