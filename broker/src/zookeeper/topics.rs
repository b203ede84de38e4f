//! Topics come, grow and are wished away.
//!
//! A new topic is its configuration (`/config/topics/T`, also where nothing is set) and then its assignment
//! (`/brokers/topics/T`): two writes, as Kafka does; whoever loses a race for the name at the second gets
//! TOPIC_ALREADY_EXISTS. A topic to be deleted is a child of `/admin/delete_topics`; the rest is the controller's.
//!
//! Source: Kafka 3.9 `AdminZkClient`, `ZkAdminManager`.

use std::collections::{BTreeMap, BTreeSet};

use broker_log::config::LogConfig;
use broker_wire::ErrorCode;
use model::{BrokerId, TopicId, validate_topic_name};
use zk_schema::admin::delete_topic_path;
use zk_schema::brokers::ids::{self, BrokerRegistration};
use zk_schema::brokers::topics::{self, ReplicaAssignment, TopicAssignment};
use zk_schema::config::Entity;
use zk_schema_store::{CreateMode, Store, StoreError};

use super::assignment::{Candidate, PARTITIONS_MAX, Start, assign};
use super::{AdminError, configs};

/// How often a change of a topic is planned anew because somebody else changed the topic meanwhile.
const ATTEMPTS_MAX: usize = 10;

/// A topic to be created.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewTopic {
    /// Its name.
    pub name: String,
    /// Replicas by partition, the preferred leader first.
    pub assignment: BTreeMap<i32, Vec<BrokerId>>,
    /// Its overrides.
    pub config: BTreeMap<String, String>,
}

/// Partitions that a topic is to get.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MorePartitions {
    /// How many it shall have in all.
    pub count: i32,
    /// Replicas of the new ones, in order; `None`: to be chosen.
    pub assignments: Option<Vec<Vec<BrokerId>>>,
}

/// An id for a new topic: random, never one that reads like an option (`-…`) or that Kafka reserves.
/// Source: Kafka `Uuid.randomUuid`.
pub fn new_topic_id() -> TopicId {
    loop {
        let id = TopicId(uuid::Uuid::new_v4().into_bytes());
        if !id.to_string().starts_with('-') && !id.is_zero() {
            return id;
        }
    }
}

/// Checks all that Kafka checks before it writes a new topic.
///
/// # Errors
/// The name, the assignment or the configuration is not valid, or the name is taken.
/// Source: Kafka 3.9 `AdminZkClient.validateTopicCreate`.
pub async fn validate_create(store: &Store, topic: &NewTopic, defaults: &LogConfig) -> Result<(), AdminError> {
    let name = &topic.name;
    validate_topic_name(name)
        .map_err(|error| AdminError::refused(ErrorCode::InvalidTopicException, error.to_string()))?;
    if store.exists(&delete_topic_path(name)).await?.is_some() {
        return Err(exists(format!("Topic '{name}' is marked for deletion.")));
    }
    if store.exists(&topics::path(name)).await?.is_some() {
        return Err(exists(format!("Topic '{name}' already exists.")));
    }
    if name.contains(['.', '_']) {
        let like = |other: &str| other.replace('.', "_") == name.replace('.', "_");
        let all = store.get_children(topics::PATH).await?.unwrap_or_default();
        if all.contains(name) {
            return Err(exists(format!("Topic '{name}' already exists.")));
        }
        let mut colliding: Vec<String> = all.into_iter().filter(|other| like(other)).collect();
        if !colliding.is_empty() {
            colliding.sort();
            return Err(AdminError::refused(
                ErrorCode::InvalidTopicException,
                format!("Topic '{name}' collides with existing topics: {}", colliding.join(", ")),
            ));
        }
    }
    validate_assignment(&topic.assignment)?;
    LogConfig::validate(defaults, &topic.config)?;
    Ok(())
}

/// Writes a topic that has been validated.
///
/// # Errors
/// Somebody else has just created it, or ZooKeeper did not do it.
pub async fn create(store: &Store, topic: &NewTopic, topic_id: TopicId) -> Result<(), AdminError> {
    let entity = Entity::Topic(topic.name.clone());
    configs::set_or_create(store, &entity, &topic.config).await?;
    let replicas = |replicas: &Vec<BrokerId>| ReplicaAssignment::new(replicas.clone());
    let assignment = TopicAssignment {
        topic_id: Some(topic_id),
        partitions: topic.assignment.iter().map(|(p, r)| (*p, replicas(r))).collect(),
    };
    let path = topics::path(&topic.name);
    match store.create(&path, assignment.encode(), CreateMode::Persistent).await {
        Ok(_) => Ok(()),
        Err(StoreError::NodeExists { .. }) => Err(exists(format!("Topic '{}' already exists.", topic.name))),
        Err(error @ StoreError::TooLarge { .. }) => {
            Err(AdminError::refused(ErrorCode::InvalidPartitions, error.to_string()))
        }
        Err(error) => Err(error.into()),
    }
}

/// Asks the controller to delete a topic; that it has been asked before is no error.
///
/// # Errors
/// There is no such topic.
pub async fn delete(store: &Store, topic: &str) -> Result<(), AdminError> {
    let unknown = || {
        AdminError::refused(
            ErrorCode::UnknownTopicOrPartition,
            format!("Topic `{topic}` to delete does not exist"),
        )
    };
    // A name that is none would be a path that is none.
    if validate_topic_name(topic).is_err() || store.exists(&topics::path(topic)).await?.is_none() {
        return Err(unknown());
    }
    match store
        .create(&delete_topic_path(topic), Vec::new(), CreateMode::Persistent)
        .await
    {
        Ok(_) | Err(StoreError::NodeExists { .. }) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Gives a topic more partitions, or says what it would give it; all its partitions afterwards.
///
/// # Errors
/// The numbers or the assignment are not valid, the topic does not exist or is being reassigned.
/// Source: Kafka 3.9 `ZkAdminManager.createPartitions`.
pub async fn add_partitions(
    store: &Store,
    topic: &str,
    wish: &MorePartitions,
    validate_only: bool,
    mut ask: impl FnMut(usize) -> Result<(), AdminError>,
) -> Result<BTreeMap<i32, ReplicaAssignment>, AdminError> {
    let mut asked = false;
    let unknown = || {
        AdminError::refused(
            ErrorCode::UnknownTopicOrPartition,
            format!("The topic '{topic}' does not exist."),
        )
    };
    if validate_topic_name(topic).is_err() {
        return Err(unknown());
    }
    let candidates = live_brokers(store).await?;
    let path = topics::path(topic);
    for _ in 0..ATTEMPTS_MAX {
        let (data, stat) = store.get(&path).await?.ok_or_else(unknown)?;
        let mut assignment = TopicAssignment::decode(topic, &data)?;
        if assignment.partitions.is_empty() {
            return Err(unknown());
        }
        let added = plan_more(topic, &assignment.partitions, wish, &candidates)?;
        let count = added.len();
        assignment.partitions.extend(added);
        if validate_only {
            return Ok(assignment.partitions);
        }
        if !asked {
            ask(count)?;
            asked = true;
        }
        // Kafka overwrites whatever is there; a reassignment or topic id written in between would be lost.
        match store.set(&path, assignment.encode(), Some(stat.version)).await {
            Ok(_) => return Ok(assignment.partitions),
            Err(StoreError::BadVersion { .. }) => {}
            Err(error @ StoreError::TooLarge { .. }) => {
                return Err(AdminError::refused(ErrorCode::InvalidPartitions, error.to_string()));
            }
            Err(error) => return Err(error.into()),
        }
    }
    Err(AdminError::refused(
        ErrorCode::UnknownServerError,
        format!("The topic '{topic}' is being changed by others all the time."),
    ))
}

/// The brokers that are registered, by id.
///
/// # Errors
/// ZooKeeper has not answered, or a registration cannot be understood.
pub async fn live_brokers(store: &Store) -> Result<Vec<Candidate>, AdminError> {
    let children = store.get_children(ids::PATH).await?.unwrap_or_default();
    let mut found: Vec<BrokerId> = children.iter().filter_map(|id| id.parse().ok().map(BrokerId)).collect();
    found.sort();
    let paths: Vec<String> = found.iter().map(|id| ids::path(*id)).collect();
    let mut candidates = Vec::with_capacity(found.len());
    for (id, data) in found.into_iter().zip(store.get_all(paths).await) {
        // One that has just gone is no candidate.
        if let Some((data, _)) = data? {
            let rack = BrokerRegistration::decode(id, &data)?.rack;
            candidates.push(Candidate { id, rack });
        }
    }
    Ok(candidates)
}

/// Source: Kafka 3.9 `ZkAdminManager.createPartitions` and `AdminZkClient.createNewPartitionsAssignment`.
fn plan_more(
    topic: &str,
    existing: &BTreeMap<i32, ReplicaAssignment>,
    wish: &MorePartitions,
    candidates: &[Candidate],
) -> Result<BTreeMap<i32, ReplicaAssignment>, AdminError> {
    if existing.values().any(ReplicaAssignment::is_being_reassigned) {
        return Err(AdminError::refused(
            ErrorCode::ReassignmentInProgress,
            format!("A partition reassignment is in progress for the topic '{topic}'."),
        ));
    }
    let now = i32::try_from(existing.len()).unwrap_or(i32::MAX);
    let count = wish.count;
    if count < now {
        return Err(AdminError::refused(
            ErrorCode::InvalidPartitions,
            format!("Topic currently has {now} partitions, which is higher than the requested {count}."),
        ));
    }
    if count == now {
        return Err(AdminError::refused(
            ErrorCode::InvalidPartitions,
            format!("Topic already has {now} partitions."),
        ));
    }
    if count > PARTITIONS_MAX {
        return Err(AdminError::refused(
            ErrorCode::InvalidPartitions,
            format!("A topic cannot have more than {PARTITIONS_MAX} partitions."),
        ));
    }
    let increment = count - now;
    let Some(first) = existing.get(&0) else {
        return Err(AdminError::refused(
            ErrorCode::UnknownServerError,
            format!("Unexpected existing replica assignment for topic '{topic}', partition id 0 is missing."),
        ));
    };
    let factor = i32::try_from(first.replicas.len()).unwrap_or(i32::MAX);
    let added = match &wish.assignments {
        None => {
            let leader = first.replicas.first().copied().unwrap_or(BrokerId::NONE);
            let start = candidates.iter().position(|c| c.id >= leader).unwrap_or(0);
            let start = Start {
                start_index: start,
                replica_shift: start,
            };
            assign(candidates, increment, factor, start, now)?
        }
        Some(assignments) => {
            check_manual(now, increment, first.replicas.len(), assignments, candidates)?;
            (now..).zip(assignments.iter().cloned()).collect()
        }
    };
    Ok(added
        .into_iter()
        .map(|(p, replicas)| (p, ReplicaAssignment::new(replicas)))
        .collect())
}

fn check_manual(
    now: i32,
    increment: i32,
    factor: usize,
    assignments: &[Vec<BrokerId>],
    candidates: &[Candidate],
) -> Result<(), AdminError> {
    let invalid = |message: String| Err(AdminError::refused(ErrorCode::InvalidReplicaAssignment, message));
    let known: BTreeSet<BrokerId> = candidates.iter().map(|c| c.id).collect();
    let unknown: BTreeSet<BrokerId> = assignments
        .iter()
        .flatten()
        .copied()
        .filter(|id| !known.contains(id))
        .collect();
    if !unknown.is_empty() {
        return invalid(format!(
            "Unknown broker(s) in replica assignment: {}.",
            joined(&unknown)
        ));
    }
    if usize::try_from(increment) != Ok(assignments.len()) {
        return invalid(format!(
            "Increasing the number of partitions by {increment} but {} assignments provided.",
            assignments.len()
        ));
    }
    for (partition, replicas) in (now..).zip(assignments) {
        if replicas.is_empty() {
            return invalid(format!(
                "Cannot have replication factor of 0 for partition id {partition}."
            ));
        }
        if replicas.iter().collect::<BTreeSet<_>>().len() != replicas.len() {
            return invalid(format!(
                "Duplicate brokers not allowed in replica assignment: {} for partition id {partition}.",
                joined(replicas)
            ));
        }
    }
    let bad: Vec<(i32, usize)> = (now..)
        .zip(assignments.iter().map(Vec::len))
        .filter(|(_, replicas)| *replicas != factor)
        .collect();
    if !bad.is_empty() {
        return invalid(format!(
            "Inconsistent replication factor between partitions, partition 0 has {factor} while partitions [{}] have \
             replication factors [{}], respectively.",
            joined(bad.iter().map(|(p, _)| p)),
            joined(bad.iter().map(|(_, replicas)| replicas))
        ));
    }
    Ok(())
}

/// Kafka does not ask here whether the brokers exist.
fn validate_assignment(assignment: &BTreeMap<i32, Vec<BrokerId>>) -> Result<(), AdminError> {
    let invalid = |message: String| Err(AdminError::refused(ErrorCode::InvalidReplicaAssignment, message));
    let counts: BTreeSet<usize> = assignment.values().map(Vec::len).collect();
    if counts.len() != 1 {
        return invalid("All partitions should have the same number of replicas".into());
    }
    if assignment
        .values()
        .any(|replicas| replicas.iter().collect::<BTreeSet<_>>().len() != replicas.len())
    {
        // Shown as the Scala collections that hold it.
        let entries = assignment
            .iter()
            .map(|(p, replicas)| format!("{p} -> ArrayBuffer({})", joined(replicas)));
        return invalid(format!(
            "Duplicate replica assignment found: HashMap({})",
            entries.collect::<Vec<_>>().join(", ")
        ));
    }
    if !assignment.keys().copied().eq((0..).take(assignment.len())) {
        return invalid("partitions should be a consecutive 0-based integer sequence".into());
    }
    Ok(())
}

fn exists(message: String) -> AdminError {
    AdminError::refused(ErrorCode::TopicAlreadyExists, message)
}

fn joined<T: ToString>(items: impl IntoIterator<Item = T>) -> String {
    let items: Vec<String> = items.into_iter().map(|item| item.to_string()).collect();
    items.join(", ")
}

#[cfg(test)]
#[path = "topics_tests.rs"]
mod tests;
