//! The same rules, by whom they are for: may somebody write to *any* topic?
//!
//! Asked only when a producer asks for an id, so it is kept apart from what every request reads, behind a lock.
//!
//! Source: Kafka 3.9 `AclAuthorizer.resourceCache`, `authorizeByResourceType`.

use std::sync::Arc;

use hashbrown::{HashMap, HashSet};
use zk_schema::acl::{Operation, PatternType, ResourcePattern, ResourceType};

use super::WILDCARD;
use super::rules::{Rule, Rules};

/// For everybody.
const EVERYBODY: &str = "User:*";

/// One kind of rule; where it is attached is its value.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Kind {
    principal: Box<str>,
    host: Box<str>,
    operation: Operation,
    allow: bool,
    resource_type: ResourceType,
    pattern_type: PatternType,
}

type Names = HashSet<Arc<str>>;

/// All rules, by whom they are for.
#[derive(Debug, Default)]
pub(super) struct ByPrincipal {
    names: HashMap<Kind, Names>,
}

impl ByPrincipal {
    /// Takes over that the rules of `resource`, whose name is kept as `name`, were `before` and are `after`.
    pub(super) fn replace(
        &mut self,
        resource: &ResourcePattern,
        name: &Arc<str>,
        before: Option<&Rules>,
        after: Option<&Rules>,
    ) {
        let kind = |rule: &Rule| Kind {
            principal: rule.principal.clone(),
            host: rule.host.to_string().into(),
            operation: rule.operation,
            allow: rule.allow,
            resource_type: resource.resource_type,
            pattern_type: resource.pattern_type,
        };
        for rule in before.into_iter().flat_map(Rules::iter) {
            let kind = kind(rule);
            if let Some(names) = self.names.get_mut(&kind) {
                names.remove(name);
                if names.is_empty() {
                    self.names.remove(&kind);
                }
            }
        }
        for rule in after.into_iter().flat_map(Rules::iter) {
            self.names.entry(kind(rule)).or_default().insert(Arc::clone(name));
        }
    }

    /// Whether there is, or could be, a resource of the kind to which this may be done.
    pub(super) fn may_with_any(
        &self,
        principal: &str,
        host: &str,
        operation: Operation,
        resource_type: ResourceType,
        allow_everyone_if_no_acl_found: bool,
    ) -> bool {
        let matching = |allow: bool, pattern_type: PatternType| {
            let mut found: Vec<&Names> = Vec::new();
            for principal in [principal, EVERYBODY] {
                for host in [host, WILDCARD] {
                    for operation in [operation, Operation::All] {
                        found.extend(self.names.get(&Kind {
                            principal: principal.into(),
                            host: host.into(),
                            operation,
                            allow,
                            resource_type,
                            pattern_type,
                        }));
                    }
                }
            }
            found
        };
        let denied_literals = matching(false, PatternType::Literal);
        if denied_literals.iter().any(|names| names.contains(WILDCARD)) {
            return false;
        }
        // There is always a name of which no rule speaks.
        if allow_everyone_if_no_acl_found {
            return true;
        }
        let denied_prefixes = matching(false, PatternType::Prefixed);
        let under_denied_prefix = |name: &str| {
            let ends = name.char_indices().map(|(at, c)| at + c.len_utf8());
            let mut starts = ends.map(|end| &name[..end]);
            starts.any(|start| denied_prefixes.iter().any(|names| names.contains(start)))
        };
        let allowed_prefixes = matching(true, PatternType::Prefixed);
        let mut prefixes = allowed_prefixes.iter().flat_map(|names| names.iter());
        if prefixes.any(|prefix| !under_denied_prefix(prefix)) {
            return true;
        }
        let allowed_literals = matching(true, PatternType::Literal);
        let mut literals = allowed_literals.iter().flat_map(|names| names.iter());
        literals.any(|name| {
            **name == *WILDCARD
                || !(denied_literals.iter().any(|names| names.contains(name)) || under_denied_prefix(name))
        })
    }
}
