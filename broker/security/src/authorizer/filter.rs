//! Which rules a request means: filters for resources and for entries.
//!
//! Source: Kafka 3.9 `ResourcePatternFilter`, `AccessControlEntryFilter`, `AclBindingFilter`.

use zk_schema::acl::{AclEntry, Operation, PatternType, ResourcePattern, ResourceType};

use super::WILDCARD;

/// How a filter's name is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PatternTypeFilter {
    /// Patterns of either kind that have the name.
    Any,
    /// Patterns that a resource of the name falls under: itself, `*`, and prefixes of it.
    Match,
    /// Patterns of this kind that have the name.
    Only(PatternType),
}

/// Which resource patterns are meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResourceFilter {
    /// Of which kind; any if nothing.
    pub resource_type: Option<ResourceType>,
    /// Of which name; any if nothing.
    pub name: Option<String>,
    /// How the name is meant.
    pub pattern_type: PatternTypeFilter,
}

/// Which entries are meant.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EntryFilter {
    /// For whom; any if nothing.
    pub principal: Option<String>,
    /// From where; any if nothing.
    pub host: Option<String>,
    /// To do what; any if nothing.
    pub operation: Option<Operation>,
    /// Allowing, or denying; either if nothing.
    pub allow: Option<bool>,
}

/// Which rules are meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BindingFilter {
    /// Attached to what.
    pub resource: ResourceFilter,
    /// Saying what.
    pub entry: EntryFilter,
}

impl ResourceFilter {
    /// Whether patterns of this kind may be meant, whatever their names are.
    pub(super) fn matches_kind(&self, resource_type: ResourceType, pattern_type: PatternType) -> bool {
        self.resource_type.is_none_or(|kind| kind == resource_type)
            && match self.pattern_type {
                PatternTypeFilter::Any | PatternTypeFilter::Match => true,
                PatternTypeFilter::Only(only) => only == pattern_type,
            }
    }

    /// Whether this pattern is meant.
    pub fn matches(&self, pattern: &ResourcePattern) -> bool {
        if !self.matches_kind(pattern.resource_type, pattern.pattern_type) {
            return false;
        }
        let Some(name) = &self.name else { return true };
        match (self.pattern_type, pattern.pattern_type) {
            (PatternTypeFilter::Any | PatternTypeFilter::Only(_), _) => *name == pattern.name,
            (PatternTypeFilter::Match, PatternType::Literal) => *name == pattern.name || pattern.name == WILDCARD,
            (PatternTypeFilter::Match, PatternType::Prefixed) => name.starts_with(&pattern.name),
        }
    }

    /// The patterns that it means, if it names them: they are looked for also where nobody knows of rules of theirs.
    pub fn named(&self) -> Vec<ResourcePattern> {
        let (Some(resource_type), Some(name)) = (self.resource_type, &self.name) else {
            return Vec::new();
        };
        let kinds: &[PatternType] = match self.pattern_type {
            PatternTypeFilter::Only(PatternType::Literal) => &[PatternType::Literal],
            PatternTypeFilter::Only(PatternType::Prefixed) => &[PatternType::Prefixed],
            PatternTypeFilter::Any => &[PatternType::Literal, PatternType::Prefixed],
            PatternTypeFilter::Match => &[],
        };
        let pattern = |pattern_type: &PatternType| ResourcePattern {
            resource_type,
            name: name.clone(),
            pattern_type: *pattern_type,
        };
        kinds.iter().map(pattern).collect()
    }
}

impl EntryFilter {
    /// Whether this entry is meant.
    pub fn matches(&self, entry: &AclEntry) -> bool {
        self.principal
            .as_ref()
            .is_none_or(|principal| *principal == entry.principal)
            && self.host.as_ref().is_none_or(|host| *host == entry.host)
            && self.operation.is_none_or(|operation| operation == entry.operation)
            && self.allow.is_none_or(|allow| allow == entry.allow)
    }
}
