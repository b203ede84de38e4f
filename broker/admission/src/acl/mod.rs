//! Access control lists in ZooKeeper: read at start, followed, changed; and decisions on what was read.
//!
//! A change reads what is there, writes with its version, and tries again if somebody else was faster. The notice goes
//! out after the write, and only if something has changed. What is in ZooKeeper wins, always: a notice is a hint to read.
//!
//! Source: Kafka 3.9 `AclAuthorizer`, `KafkaZkClient.createAclPaths`.

mod changes;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use broker_security::authorizer::{
    Authorizer, BindingFilter, PatternTypeFilter, Requester, ResourceFilter, VersionedAcls,
};
use smallvec::SmallVec;
use zk_schema::DecodeError;
use zk_schema::acl::{self, AclEntry, Operation, PatternType, ResourcePattern, ResourceType};
use zk_schema_store::{CreateMode, Stat, Store, StoreError};

use crate::audit;
use crate::settings::AuthorizerSettings;

pub use crate::audit::{Action, LogIf};

/// How often a change is tried again because somebody else changed the same resource meanwhile.
const RETRIES_MAX: usize = 10;
/// How long it waits before it is, and up to how much longer.
const BACKOFF_MS: u64 = 100;
const BACKOFF_JITTER_MS: u64 = 50;
/// How many znodes are read before what they say is taken over.
const READ_AT_ONCE: usize = 10_000;

/// Why rules were not changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AclError {
    /// A principal is not `Type:name`. Kafka: UNKNOWN_SERVER_ERROR.
    #[error("{0}")]
    Principal(String),
    /// Others kept changing the same resource.
    #[error("the ACLs of {0} could not be changed in {RETRIES_MAX} attempts")]
    TooManyRaces(String),
    /// ZooKeeper refused, or has not answered.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Which rules are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AclScope {
    /// All.
    All,
    /// Those of the cluster: enough to know a broker by.
    Cluster,
    /// None: only super users may do anything. ZooKeeper is neither read nor followed.
    Nothing,
}

impl AclScope {
    fn contains(self, resource_type: ResourceType) -> bool {
        match self {
            Self::All => true,
            Self::Cluster => resource_type == ResourceType::Cluster,
            Self::Nothing => false,
        }
    }
}

/// A rule that was to be deleted, and what came of it.
pub type Deleted = (ResourcePattern, AclEntry, Result<(), AclError>);

/// Kafka's authorizer over ZooKeeper.
pub struct AclAuthorizer {
    rules: Authorizer,
    scope: AclScope,
    store: Store,
    /// Held, as Kafka's, while ZooKeeper is asked and what it says is taken over: what is read first must not be taken
    /// over last. Decisions never wait for it.
    updates: tokio::sync::Mutex<()>,
}

impl AclAuthorizer {
    /// Makes sure of the znodes, and reads all rules.
    ///
    /// # Errors
    /// ZooKeeper has not answered, or a rule cannot be understood: nobody may be let in past a rule that denies it.
    pub async fn start(store: Store, settings: &AuthorizerSettings, scope: AclScope) -> Result<Arc<Self>, StoreError> {
        if scope != AclScope::Nothing {
            create_paths(&store).await?;
        }
        let users = settings.super_users.iter().cloned();
        let authorizer = Arc::new(Self {
            rules: Authorizer::new(users, settings.allow_everyone_if_no_acl_found),
            scope,
            store,
            updates: tokio::sync::Mutex::new(()),
        });
        if scope == AclScope::Nothing {
            return Ok(authorizer);
        }
        match authorizer.read_all().await? {
            None => Ok(authorizer),
            Some(error) => Err(StoreError::Other(error.to_string())),
        }
    }

    /// Follows the notices of changes for as long as the broker lives; end it by dropping the future.
    pub async fn follow(self: Arc<Self>) {
        changes::follow(&self).await;
    }

    fn store(&self) -> &Store {
        &self.store
    }

    /// Decides each action of a request, all on the same rules, and logs it.
    pub fn authorize(&self, requester: Requester<'_>, request: &str, actions: &[Action<'_>]) -> SmallVec<[bool; 4]> {
        let index = self.rules.snapshot();
        let decide = |action: &Action<'_>| {
            let decision = self
                .rules
                .decide(&index, requester, action.operation, action.resource_type, action.name);
            audit::decided(requester, request, *action, &decision);
            decision.is_allowed()
        };
        actions.iter().map(decide).collect()
    }

    /// Decides whether a request may do this to at least one resource of the kind, and logs it.
    pub fn authorize_any(
        &self,
        requester: Requester<'_>,
        request: &str,
        operation: Operation,
        kind: ResourceType,
    ) -> bool {
        let allowed = self.rules.may_with_any(requester, operation, kind);
        if !self.rules.is_super_user(requester.principal) {
            audit::decided_for_any(requester, request, operation, kind, allowed);
        }
        allowed
    }

    /// The rules that `filter` means, by resource.
    pub fn matching(&self, filter: &BindingFilter) -> Vec<(ResourcePattern, Vec<AclEntry>)> {
        let resources = self.rules.snapshot().matching(&filter.resource);
        let matching = |(resource, rules): (_, Arc<broker_security::authorizer::Rules>)| {
            let entries: Vec<AclEntry> = rules.entries().filter(|entry| filter.entry.matches(entry)).collect();
            (!entries.is_empty()).then_some((resource, entries))
        };
        resources.into_iter().filter_map(matching).collect()
    }

    /// Adds rules to one resource.
    ///
    /// # Errors
    /// See [`AclError`].
    pub async fn add(&self, resource: &ResourcePattern, entries: &[AclEntry]) -> Result<(), AclError> {
        for entry in entries {
            let parsed: Result<broker_security::principal::KafkaPrincipal, String> = entry.principal.parse();
            parsed.map_err(AclError::Principal)?;
        }
        let _updating = self.updates.lock().await;
        self.change(resource, |current| {
            for entry in entries {
                if !current.contains(entry) {
                    current.push(entry.clone());
                }
            }
        })
        .await
    }

    /// Deletes all rules that `filters` mean; for each filter those that it was the first to mean.
    pub async fn delete(&self, filters: &[BindingFilter]) -> Vec<Vec<Deleted>> {
        let mut results: Vec<Vec<Deleted>> = filters.iter().map(|_| Vec::new()).collect();
        let _updating = self.updates.lock().await;
        let mut resources: BTreeSet<ResourcePattern> = BTreeSet::new();
        for filter in filters {
            let known = self.rules.snapshot().matching(&filter.resource);
            resources.extend(known.into_iter().map(|(resource, _)| resource));
            // Of those that are named outright ZooKeeper may know more than this broker.
            resources.extend(filter.resource.named());
        }
        for resource in resources {
            let filters: Vec<(usize, &BindingFilter)> = filters
                .iter()
                .enumerate()
                .filter(|(_, filter)| filter.resource.matches(&resource))
                .collect();
            let mut removed: Vec<(usize, AclEntry)> = Vec::new();
            let done = self
                .change(&resource, |current| {
                    current.retain(|entry| {
                        let by = filters.iter().find(|(_, filter)| filter.entry.matches(entry));
                        if let Some((at, _)) = by
                            && !removed.iter().any(|(_, known)| known == entry)
                        {
                            removed.push((*at, entry.clone()));
                        }
                        by.is_none()
                    });
                })
                .await;
            for (at, entry) in removed {
                results[at].push((resource.clone(), entry, done.clone()));
            }
        }
        results
    }

    /// Writes what `change` makes of the rules of one resource, takes it over and announces it. Called with `updates`
    /// held.
    async fn change(
        &self,
        resource: &ResourcePattern,
        mut change: impl FnMut(&mut Vec<AclEntry>),
    ) -> Result<(), AclError> {
        let mut current = match self.rules.acls_of(resource) {
            Some(known) => known,
            None => self.read(resource).await?,
        };
        for attempt in 0..=RETRIES_MAX {
            if attempt > 0 {
                let jitter = u64::from(uuid::Uuid::new_v4().as_bytes()[0]) % BACKOFF_JITTER_MS;
                tokio::time::sleep(Duration::from_millis(BACKOFF_MS + jitter)).await;
                current = match self.read(resource).await {
                    Err(StoreError::SessionExpired) => continue,
                    read => read?,
                };
            }
            let mut entries = current.entries.clone();
            change(&mut entries);
            let written = match self.write(resource, &entries, current.version).await {
                Ok(version) => VersionedAcls { entries, version },
                Err(
                    StoreError::BadVersion { .. }
                    | StoreError::NoNode { .. }
                    | StoreError::NodeExists { .. }
                    | StoreError::SessionExpired,
                ) => continue,
                Err(error) => return Err(error.into()),
            };
            let changed = written.entries != current.entries;
            tracing::debug!(?resource, ?written, "updated ACLs");
            self.rules.update([(resource.clone(), written)]);
            if changed {
                let (prefix, data) = resource.change();
                self.store
                    .create_recursive(&prefix, data, CreateMode::PersistentSequential)
                    .await?;
            }
            return Ok(());
        }
        Err(AclError::TooManyRaces(resource.path()))
    }

    /// The data version after the write; nothing if the znode is gone.
    async fn write(
        &self,
        resource: &ResourcePattern,
        entries: &[AclEntry],
        version: Option<i32>,
    ) -> Result<Option<i32>, StoreError> {
        let path = resource.path();
        match (entries.is_empty(), version) {
            (false, Some(_)) => {
                let stat = self.store.set(&path, acl::encode(entries), version).await?;
                Ok(Some(stat.version))
            }
            (false, None) => {
                let created = self
                    .store
                    .create_recursive(&path, acl::encode(entries), CreateMode::Persistent)
                    .await?;
                Ok(Some(created.stat.version))
            }
            (true, Some(_)) => match self.store.delete(&path, version).await {
                Ok(()) | Err(StoreError::NoNode { .. }) => Ok(None),
                Err(error) => Err(error),
            },
            (true, None) => Ok(None),
        }
    }

    /// What ZooKeeper says of one resource.
    async fn read(&self, resource: &ResourcePattern) -> Result<VersionedAcls, StoreError> {
        let path = resource.path();
        understand(&path, self.store.get(&path).await?).map_err(|error| StoreError::Other(error.to_string()))
    }

    /// Reads these resources again and takes over what ZooKeeper says; what cannot be understood is told, and what was
    /// known of that resource stays.
    async fn refresh(&self, mut resources: Vec<ResourcePattern>) -> Result<Option<DecodeError>, StoreError> {
        resources.retain(|resource| self.scope.contains(resource.resource_type));
        let _updating = self.updates.lock().await;
        let paths: Vec<String> = resources.iter().map(ResourcePattern::path).collect();
        let found = self.store.get_all(paths.iter().map(String::as_str)).await;
        let mut changes = Vec::with_capacity(resources.len());
        let mut misunderstood = None;
        for ((resource, path), found) in resources.into_iter().zip(paths).zip(found) {
            match understand(&path, found?) {
                Ok(acls) => changes.push((resource, acls)),
                Err(error) => misunderstood = Some(error),
            }
        }
        self.rules.update(changes);
        Ok(misunderstood)
    }

    /// Reads all rules, and forgets those that are no longer there.
    async fn read_all(&self) -> Result<Option<DecodeError>, StoreError> {
        let mut misunderstood = None;
        let mut gone: BTreeSet<ResourcePattern> = {
            let all = ResourceFilter {
                resource_type: None,
                name: None,
                pattern_type: PatternTypeFilter::Any,
            };
            let known = self.rules.snapshot().matching(&all);
            known.into_iter().map(|(resource, _)| resource).collect()
        };
        for pattern_type in PatternType::ALL {
            let root = acl::root(*pattern_type);
            for kind in self.store.get_children(&root).await?.unwrap_or_default() {
                let Some(resource_type) = ResourceType::from_name(&kind) else {
                    tracing::warn!(kind, "ignoring ACLs of an unknown kind of resource");
                    continue;
                };
                if !self.scope.contains(resource_type) {
                    continue;
                }
                let names = self.store.get_children(&format!("{root}/{kind}")).await?;
                for names in names.unwrap_or_default().chunks(READ_AT_ONCE) {
                    let resource = |name: &String| ResourcePattern {
                        resource_type,
                        name: name.clone(),
                        pattern_type: *pattern_type,
                    };
                    let resources: Vec<ResourcePattern> = names.iter().map(resource).collect();
                    for resource in &resources {
                        gone.remove(resource);
                    }
                    misunderstood = misunderstood.or(self.refresh(resources).await?);
                }
            }
        }
        Ok(misunderstood.or(self.refresh(gone.into_iter().collect()).await?))
    }
}

fn understand(path: &str, found: Option<(bytes::Bytes, Stat)>) -> Result<VersionedAcls, DecodeError> {
    let Some((data, stat)) = found else {
        return Ok(VersionedAcls {
            entries: Vec::new(),
            version: None,
        });
    };
    let mut entries = acl::decode(path, &data)?;
    // Kafka holds a set; hands may have written an entry twice.
    let mut seen = std::collections::HashSet::new();
    entries.retain(|entry| seen.insert(entry.clone()));
    Ok(VersionedAcls {
        entries,
        version: Some(stat.version),
    })
}

/// Creates what Kafka creates, in its order.
async fn create_paths(store: &Store) -> Result<(), StoreError> {
    for path in acl::persistent_paths() {
        if store.exists(&path).await?.is_some() {
            continue;
        }
        match store.create_recursive(&path, Vec::new(), CreateMode::Persistent).await {
            Ok(_) | Err(StoreError::NodeExists { .. }) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
