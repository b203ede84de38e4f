//! All rules by resource: what a decision reads.
//!
//! Cut into [`SHARDS`] tables by hash. A copy of the whole shares them all, and a change copies one of them: with a
//! million resources some two hundred and fifty entries. Rules for prefixes are found by looking up each start of the
//! name that has a length which some prefix has.

use std::collections::BTreeMap;
use std::hash::BuildHasher;
use std::sync::Arc;

use hashbrown::{DefaultHashBuilder, HashTable};
use zk_schema::acl::{PatternType, ResourcePattern, ResourceType};

use super::WILDCARD;
use super::filter::{PatternTypeFilter, ResourceFilter};
use super::rules::Rules;

/// Into how many tables the resources are cut; a power of two.
const SHARDS: usize = 4096;

#[derive(Clone)]
struct Resource {
    resource_type: ResourceType,
    pattern_type: PatternType,
    name: Arc<str>,
    rules: Arc<Rules>,
}

impl Resource {
    fn is(&self, resource_type: ResourceType, pattern_type: PatternType, name: &str) -> bool {
        self.resource_type == resource_type && self.pattern_type == pattern_type && *self.name == *name
    }

    fn pattern(&self) -> ResourcePattern {
        ResourcePattern {
            resource_type: self.resource_type,
            name: self.name.to_string(),
            pattern_type: self.pattern_type,
        }
    }
}

/// The rules of a cluster at one moment.
#[derive(Clone)]
pub struct AclIndex {
    hasher: DefaultHashBuilder,
    shards: Box<[Arc<HashTable<Resource>>]>,
    /// For each kind of resource how many prefixes have which length.
    prefix_lengths: [Arc<BTreeMap<usize, usize>>; ResourceType::ALL.len()],
    resources: usize,
}

impl Default for AclIndex {
    fn default() -> Self {
        let empty = Arc::new(HashTable::new());
        Self {
            hasher: DefaultHashBuilder::default(),
            shards: vec![empty; SHARDS].into(),
            prefix_lengths: Default::default(),
            resources: 0,
        }
    }
}

impl AclIndex {
    /// How many resources have rules.
    pub fn len(&self) -> usize {
        self.resources
    }

    /// Whether there are no rules at all.
    pub fn is_empty(&self) -> bool {
        self.resources == 0
    }

    /// The rules of exactly this resource pattern.
    pub fn get(&self, resource: &ResourcePattern) -> Option<&Rules> {
        self.find(resource.resource_type, resource.pattern_type, &resource.name)
            .map(|found| &*found.rules)
    }

    /// Calls `visit` with the rules of each pattern that the resource called `name` falls under: prefixes, `*`, itself.
    /// This order is Kafka's, and decides which rule the audit log names.
    pub(super) fn visit<'a>(&'a self, resource_type: ResourceType, name: &str, mut visit: impl FnMut(&'a Rules)) {
        self.visit_prefixes(resource_type, name, |found| visit(&found.rules));
        for literal in [WILDCARD, name] {
            if let Some(found) = self.find(resource_type, PatternType::Literal, literal) {
                visit(&found.rules);
            }
            if name == WILDCARD {
                break;
            }
        }
    }

    /// The resources that have rules and that `filter` means, in order.
    pub fn matching(&self, filter: &ResourceFilter) -> Vec<(ResourcePattern, Arc<Rules>)> {
        let mut found: Vec<&Resource> = Vec::new();
        if let Some(name) = &filter.name {
            // A name leaves so few candidates that nothing else need be looked at.
            for kind in ResourceType::ALL {
                if filter.resource_type.is_some_and(|only| only != *kind) {
                    continue;
                }
                match filter.pattern_type {
                    PatternTypeFilter::Only(pattern_type) => found.extend(self.find(*kind, pattern_type, name)),
                    PatternTypeFilter::Any => {
                        found.extend(self.find(*kind, PatternType::Literal, name));
                        found.extend(self.find(*kind, PatternType::Prefixed, name));
                    }
                    PatternTypeFilter::Match => {
                        found.extend(self.find(*kind, PatternType::Literal, name));
                        if name != WILDCARD {
                            found.extend(self.find(*kind, PatternType::Literal, WILDCARD));
                        }
                        self.visit_prefixes(*kind, name, |resource| found.push(resource));
                    }
                }
            }
        } else {
            let all = self.shards.iter().flat_map(|shard| shard.iter());
            found.extend(all.filter(|resource| filter.matches_kind(resource.resource_type, resource.pattern_type)));
        }
        found.sort_by(|a, b| {
            (a.resource_type, a.pattern_type, &a.name).cmp(&(b.resource_type, b.pattern_type, &b.name))
        });
        let resource = |found: &Resource| (found.pattern(), Arc::clone(&found.rules));
        found.into_iter().map(resource).collect()
    }

    /// Sets, or takes away, the rules of one resource; its name as it is kept, and the rules that it had.
    pub(super) fn replace(
        &mut self,
        resource: &ResourcePattern,
        rules: Option<Arc<Rules>>,
    ) -> (Arc<str>, Option<Arc<Rules>>) {
        let ResourcePattern {
            resource_type,
            pattern_type,
            ref name,
        } = *resource;
        let hasher = self.hasher.clone();
        let hash = hash(&hasher, resource_type, pattern_type, name);
        if rules.is_none() && self.find(resource_type, pattern_type, name).is_none() {
            return (Arc::from(name.as_str()), None);
        }
        let shard = Arc::make_mut(&mut self.shards[shard_of(hash)]);
        let before = match shard.find_entry(hash, |found| found.is(resource_type, pattern_type, name)) {
            Ok(mut occupied) => match rules {
                Some(rules) => {
                    let found = occupied.get_mut();
                    let before = core::mem::replace(&mut found.rules, rules);
                    return (Arc::clone(&found.name), Some(before));
                }
                None => {
                    let (removed, _) = occupied.remove();
                    (removed.name, Some(removed.rules))
                }
            },
            Err(_) => {
                let kept: Arc<str> = Arc::from(name.as_str());
                if let Some(rules) = rules {
                    let new = Resource {
                        resource_type,
                        pattern_type,
                        name: Arc::clone(&kept),
                        rules,
                    };
                    shard.insert_unique(hash, new, |found| {
                        self::hash(&hasher, found.resource_type, found.pattern_type, &found.name)
                    });
                }
                (kept, None)
            }
        };
        let came = before.1.is_none();
        self.resources = if came { self.resources + 1 } else { self.resources - 1 };
        if pattern_type == PatternType::Prefixed {
            let lengths = Arc::make_mut(&mut self.prefix_lengths[resource_type as usize]);
            let count = lengths.entry(name.len()).or_insert(0);
            *count = if came { *count + 1 } else { *count - 1 };
            if *count == 0 {
                lengths.remove(&name.len());
            }
        }
        before
    }

    fn visit_prefixes<'a>(&'a self, resource_type: ResourceType, name: &str, mut visit: impl FnMut(&'a Resource)) {
        // Longest first, as Kafka's reverse order of names has it.
        for length in self.prefix_lengths[resource_type as usize].range(..=name.len()).rev() {
            if let Some(prefix) = name.get(..*length.0)
                && let Some(found) = self.find(resource_type, PatternType::Prefixed, prefix)
            {
                visit(found);
            }
        }
    }

    fn find(&self, resource_type: ResourceType, pattern_type: PatternType, name: &str) -> Option<&Resource> {
        let hash = hash(&self.hasher, resource_type, pattern_type, name);
        self.shards[shard_of(hash)].find(hash, |found| found.is(resource_type, pattern_type, name))
    }
}

impl core::fmt::Debug for AclIndex {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("AclIndex")
            .field("resources", &self.resources)
            .finish_non_exhaustive()
    }
}

fn hash(hasher: &DefaultHashBuilder, resource_type: ResourceType, pattern_type: PatternType, name: &str) -> u64 {
    hasher.hash_one((resource_type as u8, pattern_type as u8, name))
}

/// Bits that the tables themselves use neither for their places nor for their tags.
fn shard_of(hash: u64) -> usize {
    usize::try_from(hash >> 32).unwrap_or(0) % SHARDS
}
