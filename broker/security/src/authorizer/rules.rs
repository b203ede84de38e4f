//! The rules of one resource, small in memory and quick to look through.

use core::cmp::Ordering;

use zk_schema::acl::{AclEntry, Operation};

use super::host::Host;
use crate::principal::{KafkaPrincipal, USER_TYPE};

/// From how many rules on they are searched by principal instead of one by one.
const SORT_FROM: usize = 16;

/// One rule: what [`AclEntry`] says, ready to be compared.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Rule {
    /// `User:alice`, `User:*`.
    pub(super) principal: Box<str>,
    /// From where.
    pub(super) host: Host,
    /// What.
    pub(super) operation: Operation,
    /// Allow, or deny.
    pub(super) allow: bool,
}

impl Rule {
    pub(super) fn new(entry: &AclEntry) -> Self {
        Self {
            principal: entry.principal.as_str().into(),
            host: Host::new(&entry.host),
            operation: entry.operation,
            allow: entry.allow,
        }
    }

    /// As it stands in ZooKeeper.
    pub fn entry(&self) -> AclEntry {
        AclEntry {
            principal: self.principal.clone().into(),
            allow: self.allow,
            host: self.host.to_string(),
            operation: self.operation,
        }
    }
}

/// As Kafka's log names a rule. Source: Kafka 3.9 `AclEntry.toString`.
impl core::fmt::Display for Rule {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(
            f,
            "{} has {} permission for operations: {} from hosts: {}",
            self.principal,
            if self.allow { "ALLOW" } else { "DENY" },
            self.operation.upper(),
            self.host
        )
    }
}

/// All rules of one resource.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rules {
    /// The data version of the znode that holds them.
    pub version: i32,
    /// In the order in which they stand in the znode.
    rules: Box<[Rule]>,
    /// Positions in `rules` ordered by principal, where there are many.
    by_principal: Box<[u32]>,
}

impl Rules {
    pub(super) fn new<'a>(entries: impl Iterator<Item = &'a AclEntry>, version: i32) -> Self {
        let rules: Box<[Rule]> = entries.map(Rule::new).collect();
        let mut by_principal: Vec<u32> = Vec::new();
        if rules.len() >= SORT_FROM {
            by_principal = (0u32..).take(rules.len()).collect();
            by_principal.sort_by(|a, b| rules[*a as usize].principal.cmp(&rules[*b as usize].principal));
        }
        Self {
            version,
            rules,
            by_principal: by_principal.into(),
        }
    }

    /// The rules.
    pub fn iter(&self) -> impl Iterator<Item = &Rule> {
        self.rules.iter()
    }

    /// The rules, as they stand in ZooKeeper.
    pub fn entries(&self) -> impl Iterator<Item = AclEntry> + '_ {
        self.iter().map(Rule::entry)
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.rules.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }

    /// Calls `visit` with each rule that is for `principal` or for everybody, those for everybody last where there are
    /// many.
    pub(super) fn for_principal<'a>(&'a self, principal: &KafkaPrincipal, mut visit: impl FnMut(&'a Rule)) {
        if self.by_principal.is_empty() {
            for rule in &self.rules {
                if is(&rule.principal, &principal.principal_type, &principal.name)
                    || is(&rule.principal, USER_TYPE, super::WILDCARD)
                {
                    visit(rule);
                }
            }
            return;
        }
        self.range(&principal.principal_type, &principal.name, &mut visit);
        if !(principal.principal_type == USER_TYPE && principal.name == super::WILDCARD) {
            self.range(USER_TYPE, super::WILDCARD, &mut visit);
        }
    }

    fn range<'a>(&'a self, principal_type: &str, name: &str, visit: &mut impl FnMut(&'a Rule)) {
        let rule = |at: &u32| &self.rules[*at as usize];
        let first = self
            .by_principal
            .partition_point(|at| compare(&rule(at).principal, principal_type, name) == Ordering::Less);
        self.by_principal[first..]
            .iter()
            .map(rule)
            .take_while(|rule| is(&rule.principal, principal_type, name))
            .for_each(visit);
    }
}

/// Whether `text` is `type:name`, without putting the two together.
fn is(text: &str, principal_type: &str, name: &str) -> bool {
    text.len() == principal_type.len() + 1 + name.len()
        && text.as_bytes()[principal_type.len()] == b':'
        && text.as_bytes().ends_with(name.as_bytes())
        && text.as_bytes().starts_with(principal_type.as_bytes())
}

fn compare(text: &str, principal_type: &str, name: &str) -> Ordering {
    let other = principal_type.bytes().chain([b':']).chain(name.bytes());
    text.bytes().cmp(other)
}
