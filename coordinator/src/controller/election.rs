//! The four ways to choose a partition's leader, as pure functions.
//!
//! Each decides from the assignment, the in-sync set and who is online; none reads a clock, a config or the image, and
//! whether an election was unclean is part of the answer, so that counting it is the caller's business.
//!
//! Invariant: whoever is elected is assigned and online; and in sync, except by [`offline_leader`] when it may be unclean.

use model::BrokerId;

/// Who was elected by [`offline_leader`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Elected {
    /// An in-sync replica: nothing that was acknowledged is lost.
    Clean(BrokerId),
    /// A replica that was not in sync: records may be lost.
    Unclean(BrokerId),
}

/// First assigned replica that is online and in sync; if `unclean` is allowed, else the first online one.
///
/// Source: Kafka 3.9 `PartitionLeaderElectionAlgorithms.offlinePartitionLeaderElection`.
pub fn offline_leader(
    assigned: &[BrokerId],
    isr: &[BrokerId],
    online: impl Fn(BrokerId) -> bool,
    unclean: bool,
) -> Option<Elected> {
    let clean = assigned.iter().copied().find(|id| online(*id) && isr.contains(id));
    match clean {
        Some(id) => Some(Elected::Clean(id)),
        None if unclean => assigned.iter().copied().find(|id| online(*id)).map(Elected::Unclean),
        None => None,
    }
}

/// First target replica that is online and in sync.
///
/// Source: Kafka 3.9 `PartitionLeaderElectionAlgorithms.reassignPartitionLeaderElection`.
pub fn reassignment_leader(
    target: &[BrokerId],
    isr: &[BrokerId],
    online: impl Fn(BrokerId) -> bool,
) -> Option<BrokerId> {
    target.iter().copied().find(|id| online(*id) && isr.contains(id))
}

/// The preferred leader, which is the first assigned replica, if it is online and in sync.
///
/// Source: Kafka 3.9 `PartitionLeaderElectionAlgorithms.preferredReplicaPartitionLeaderElection`.
pub fn preferred_leader(
    assigned: &[BrokerId],
    isr: &[BrokerId],
    online: impl Fn(BrokerId) -> bool,
) -> Option<BrokerId> {
    assigned.first().copied().filter(|id| online(*id) && isr.contains(id))
}

/// First assigned replica that is online, in sync and not on its way down.
///
/// Source: Kafka 3.9 `PartitionLeaderElectionAlgorithms.controlledShutdownPartitionLeaderElection`.
pub fn shutdown_leader(
    assigned: &[BrokerId],
    isr: &[BrokerId],
    online: impl Fn(BrokerId) -> bool,
    shutting_down: impl Fn(BrokerId) -> bool,
) -> Option<BrokerId> {
    assigned
        .iter()
        .copied()
        .find(|id| online(*id) && isr.contains(id) && !shutting_down(*id))
}

#[cfg(test)]
mod tests {
    use super::*;
    use Elected::{Clean, Unclean};

    fn ids(ids: &[i32]) -> Vec<BrokerId> {
        ids.iter().copied().map(BrokerId).collect()
    }

    #[test]
    fn offline_leader_is_the_first_in_sync_one_or_any_if_unclean() {
        let check = |name: &str, assigned: &[i32], isr: &[i32], live: &[i32], unclean, elected: Option<Elected>| {
            let found = offline_leader(&ids(assigned), &ids(isr), |id| live.contains(&id.0), unclean);
            assert_eq!(found, elected, "{name}");
        };
        //    name                          assigned    isr        live       unclean elected
        check(
            "first live in sync",
            &[1, 2, 3],
            &[2, 3],
            &[2, 3],
            false,
            Some(Clean(BrokerId(2))),
        );
        check(
            "order of assignment",
            &[3, 1, 2],
            &[1, 2, 3],
            &[1, 2, 3],
            false,
            Some(Clean(BrokerId(3))),
        );
        check(
            "live but not in sync",
            &[1, 2, 3],
            &[3],
            &[1, 2, 3],
            true,
            Some(Clean(BrokerId(3))),
        );
        check("isr is gone", &[1, 2], &[1], &[2], false, None);
        check(
            "isr is gone, unclean",
            &[1, 2],
            &[1],
            &[2],
            true,
            Some(Unclean(BrokerId(2))),
        );
        check("all are gone, unclean", &[1, 2], &[1], &[], true, None);
        check("in sync but not assigned", &[1, 2], &[4], &[4], true, None);
    }

    #[test]
    fn reassignment_leader_is_the_first_target_in_sync() {
        let check = |name: &str, target: &[i32], isr: &[i32], live: &[i32], elected: Option<i32>| {
            let found = reassignment_leader(&ids(target), &ids(isr), |id| live.contains(&id.0));
            assert_eq!(found, elected.map(BrokerId), "{name}");
        };
        check("first target", &[4, 5], &[1, 4, 5], &[1, 4, 5], Some(4));
        check("first target is dead", &[4, 5], &[1, 4, 5], &[1, 5], Some(5));
        check("none in sync", &[4, 5], &[1], &[1, 4, 5], None);
    }

    #[test]
    fn preferred_leader_is_the_first_replica_or_nobody() {
        let check = |name: &str, assigned: &[i32], isr: &[i32], live: &[i32], elected: Option<i32>| {
            let found = preferred_leader(&ids(assigned), &ids(isr), |id| live.contains(&id.0));
            assert_eq!(found, elected.map(BrokerId), "{name}");
        };
        check("first", &[2, 1], &[1, 2], &[1, 2], Some(2));
        check("first is dead", &[2, 1], &[1, 2], &[1], None);
        check("first is out of sync", &[2, 1], &[1], &[1, 2], None);
        check("no replica", &[], &[], &[1], None);
    }

    #[test]
    fn shutdown_leader_is_not_on_its_way_down() {
        let check = |name: &str, assigned: &[i32], isr: &[i32], live: &[i32], down: &[i32], elected: Option<i32>| {
            let found = shutdown_leader(
                &ids(assigned),
                &ids(isr),
                |id| live.contains(&id.0),
                |id| down.contains(&id.0),
            );
            assert_eq!(found, elected.map(BrokerId), "{name}");
        };
        check("next one", &[1, 2, 3], &[1, 2, 3], &[1, 2, 3], &[1], Some(2));
        check("both go", &[1, 2, 3], &[1, 2, 3], &[1, 2, 3], &[1, 2], Some(3));
        check("the other is out of sync", &[1, 2], &[1], &[1, 2], &[1], None);
    }
}
