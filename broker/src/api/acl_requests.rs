//! What the three requests about ACLs share: the numbers on the wire, and what they mean.
//!
//! Source: Kafka 3.9 `ResourceType`, `PatternType`, `AclOperation`, `AclPermissionType`.

use kafka_protocol::protocol::StrBytes;

use crate::security::{
    AclEntry, BindingFilter, EntryFilter, Operation, PatternType, PatternTypeFilter, ResourceFilter, ResourcePattern,
    ResourceType, operation_code,
};

/// A number that stands for nothing. Kafka does not take a request that has it.
pub(super) const UNKNOWN: i8 = 0;
/// A number that stands for all: only filters have it.
pub(super) const ANY: i8 = 1;
const MATCH: i8 = 2;
const LITERAL: i8 = 3;
const PREFIXED: i8 = 4;
const DENY: i8 = 2;
const ALLOW: i8 = 3;

pub(super) fn resource_type(code: i8) -> Option<ResourceType> {
    ResourceType::ALL
        .iter()
        .copied()
        .find(|kind| resource_type_code(*kind) == code)
}

pub(super) const fn resource_type_code(kind: ResourceType) -> i8 {
    match kind {
        ResourceType::Topic => 2,
        ResourceType::Group => 3,
        ResourceType::Cluster => 4,
        ResourceType::TransactionalId => 5,
        ResourceType::DelegationToken => 6,
        ResourceType::User => 7,
    }
}

pub(super) fn pattern_type(code: i8) -> Option<PatternType> {
    match code {
        LITERAL => Some(PatternType::Literal),
        PREFIXED => Some(PatternType::Prefixed),
        _ => None,
    }
}

pub(super) const fn pattern_type_code(pattern_type: PatternType) -> i8 {
    match pattern_type {
        PatternType::Literal => LITERAL,
        PatternType::Prefixed => PREFIXED,
    }
}

pub(super) fn operation(code: i8) -> Option<Operation> {
    Operation::ALL
        .iter()
        .copied()
        .find(|operation| operation_code(*operation) == code)
}

/// Whether an entry with this permission allows.
pub(super) fn allows(permission: i8) -> Option<bool> {
    match permission {
        ALLOW => Some(true),
        DENY => Some(false),
        _ => None,
    }
}

pub(super) const fn permission_code(allow: bool) -> i8 {
    if allow { ALLOW } else { DENY }
}

/// Whether a creation with this pattern type is one for all or by match: Kafka fails the whole request.
pub(super) const fn is_only_for_filters(pattern_type: i8) -> bool {
    matches!(pattern_type, ANY | MATCH)
}

/// A filter as it is on the wire.
pub(super) struct WireFilter<'a> {
    pub(super) resource_type: i8,
    pub(super) resource_name: Option<&'a StrBytes>,
    pub(super) pattern_type: i8,
    pub(super) principal: Option<&'a StrBytes>,
    pub(super) host: Option<&'a StrBytes>,
    pub(super) operation: i8,
    pub(super) permission: i8,
}

/// Why a filter closes the connection.
pub(super) const UNKNOWN_ELEMENTS: &str = "a filter for ACLs has an element of unknown kind";

impl WireFilter<'_> {
    /// What it means; nothing if it can mean no ACL at all.
    ///
    /// # Errors
    /// Kafka does not take such a request, and closes the connection: the sentence for the log.
    pub(super) fn read(&self, version: i16) -> Result<Option<BindingFilter>, &'static str> {
        let mut pattern_type = self.pattern_type;
        if version == 0 {
            // Before there were prefixes, all was literal.
            match pattern_type {
                ANY => pattern_type = LITERAL,
                LITERAL => {}
                _ => return Err("version 0 only supports literal resource patterns"),
            }
        }
        if [self.resource_type, pattern_type, self.operation, self.permission].contains(&UNKNOWN) {
            return Err(UNKNOWN_ELEMENTS);
        }
        let any_or = |code: i8, known: bool| code == ANY || known;
        let resource_type = resource_type(self.resource_type);
        let operation = operation(self.operation);
        let allow = allows(self.permission);
        let pattern_type = match pattern_type {
            ANY => Some(PatternTypeFilter::Any),
            MATCH => Some(PatternTypeFilter::Match),
            code => self::pattern_type(code).map(PatternTypeFilter::Only),
        };
        let Some(pattern_type) = pattern_type else {
            return Ok(None);
        };
        let understood = any_or(self.resource_type, resource_type.is_some())
            && any_or(self.operation, operation.is_some())
            && any_or(self.permission, allow.is_some());
        let text = |text: Option<&StrBytes>| text.map(|text| text.to_string());
        Ok(understood.then(|| BindingFilter {
            resource: ResourceFilter {
                resource_type,
                name: text(self.resource_name),
                pattern_type,
            },
            entry: EntryFilter {
                principal: text(self.principal),
                host: text(self.host),
                operation,
                allow,
            },
        }))
    }
}

/// A rule that is to be made; `None` if one of its numbers is not known.
pub(super) fn binding(
    resource: (i8, &str, i8),
    principal: &str,
    host: &str,
    operation_code: i8,
    permission: i8,
) -> Option<(ResourcePattern, AclEntry)> {
    let (kind, name, pattern) = resource;
    Some((
        ResourcePattern {
            resource_type: resource_type(kind)?,
            name: name.to_owned(),
            pattern_type: pattern_type(pattern)?,
        },
        AclEntry {
            principal: principal.to_owned(),
            allow: allows(permission)?,
            host: host.to_owned(),
            operation: operation(operation_code)?,
        },
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_means_what_kafkas_means() {
        let text = StrBytes::from_static_str("t");
        let filter = |version: i16, kind: i8, pattern: i8, operation: i8, permission: i8| {
            let filter = WireFilter {
                resource_type: kind,
                resource_name: Some(&text),
                pattern_type: pattern,
                principal: None,
                host: None,
                operation,
                permission,
            };
            filter.read(version)
        };
        let check =
            |name: &str, read: Result<Option<BindingFilter>, &str>, expected: Option<Option<PatternTypeFilter>>| {
                let found = read
                    .ok()
                    .map(|filter| filter.map(|filter| filter.resource.pattern_type));
                assert_eq!(found, expected, "{name}");
            };
        let literal = PatternTypeFilter::Only(PatternType::Literal);
        check("any", filter(1, ANY, ANY, ANY, ANY), Some(Some(PatternTypeFilter::Any)));
        check(
            "match",
            filter(1, 2, MATCH, 3, ALLOW),
            Some(Some(PatternTypeFilter::Match)),
        );
        check(
            "any in version 0 is literal",
            filter(0, ANY, ANY, ANY, ANY),
            Some(Some(literal)),
        );
        check("prefixed in version 0", filter(0, ANY, PREFIXED, ANY, ANY), None);
        check("zero", filter(1, ANY, ANY, UNKNOWN, ANY), None);
        check("a number that is not known", filter(1, 77, ANY, ANY, ANY), Some(None));
        check(
            "an operation that is not known",
            filter(1, ANY, ANY, 77, ANY),
            Some(None),
        );
        check("a pattern that is not known", filter(1, ANY, 77, ANY, ANY), Some(None));
    }

    #[test]
    fn every_number_is_read_back() {
        for kind in ResourceType::ALL {
            assert_eq!(resource_type(resource_type_code(*kind)), Some(*kind));
        }
        for one in Operation::ALL {
            assert_eq!(operation(operation_code(*one)), Some(*one));
        }
        for one in PatternType::ALL {
            assert_eq!(pattern_type(pattern_type_code(*one)), Some(*one));
        }
        for one in [true, false] {
            assert_eq!(allows(permission_code(one)), Some(one));
        }
    }
}
