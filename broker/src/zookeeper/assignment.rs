//! Which brokers hold the partitions of a new topic.
//!
//! Spreads leaders round-robin over the brokers, shifts followers further with every round, and gives no rack a second
//! replica before each has one. Pure: where to start is an argument.
//!
//! Source: Kafka 3.9 `AdminUtils.assignReplicasToBrokers`.

use std::collections::{BTreeMap, BTreeSet};

use broker_wire::ErrorCode;
use model::BrokerId;

use super::AdminError;

/// A topic's znode holds at most 1 MiB, and a partition takes at least eight bytes of it: `"0":[1],`.
pub const PARTITIONS_MAX: i32 = 131_072;

/// A broker that may hold replicas.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// Its id.
    pub id: BrokerId,
    /// `broker.rack`.
    pub rack: Option<String>,
}

/// Where the round begins: indexes into the brokers, drawn at random for a new topic, fixed for further partitions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Start {
    /// The broker that leads partition 0.
    pub start_index: usize,
    /// How far from the leader the second replica is.
    pub replica_shift: usize,
}

impl Start {
    /// Somewhere.
    pub fn random() -> Self {
        let bytes = uuid::Uuid::new_v4().into_bytes();
        Self {
            start_index: usize::from(u16::from_be_bytes([bytes[0], bytes[1]])),
            replica_shift: usize::from(u16::from_be_bytes([bytes[2], bytes[3]])),
        }
    }
}

/// Replicas of the partitions `first_partition` and on, `partitions` of them.
///
/// # Errors
/// Numbers that are not positive or too large, more replicas than brokers, or racks known of some brokers only.
pub fn assign(
    candidates: &[Candidate],
    partitions: i32,
    replication_factor: i32,
    start: Start,
    first_partition: i32,
) -> Result<BTreeMap<i32, Vec<BrokerId>>, AdminError> {
    if partitions <= 0 {
        return Err(AdminError::refused(
            ErrorCode::InvalidPartitions,
            "Number of partitions must be larger than 0.",
        ));
    }
    if replication_factor <= 0 {
        return Err(AdminError::refused(
            ErrorCode::InvalidReplicationFactor,
            "Replication factor must be larger than 0.",
        ));
    }
    if partitions > PARTITIONS_MAX {
        return Err(AdminError::refused(
            ErrorCode::InvalidPartitions,
            format!("A topic cannot have more than {PARTITIONS_MAX} partitions."),
        ));
    }
    let replicas = usize::try_from(replication_factor).unwrap_or(usize::MAX);
    if replicas > candidates.len() {
        return Err(AdminError::refused(
            ErrorCode::InvalidReplicationFactor,
            format!(
                "Replication factor: {replication_factor} larger than available brokers: {}.",
                candidates.len()
            ),
        ));
    }
    let ring = Ring::of(candidates)?;
    let mut shift = start.replica_shift % ring.brokers.len();
    let mut assignment = BTreeMap::new();
    for partition in (first_partition.max(0)..).take(partitions as usize) {
        let turn = partition as usize;
        if turn > 0 && turn.is_multiple_of(ring.brokers.len()) {
            shift += 1;
        }
        let first = (turn + start.start_index) % ring.brokers.len();
        assignment.insert(partition, ring.replicas(first, shift, replicas));
    }
    Ok(assignment)
}

/// Brokers in the order in which replicas go round, with their racks (numbered; all in one if there are none).
struct Ring {
    brokers: Vec<BrokerId>,
    rack_of: Vec<usize>,
    racks: usize,
}

impl Ring {
    fn of(candidates: &[Candidate]) -> Result<Self, AdminError> {
        let mut by_id: Vec<&Candidate> = candidates.iter().collect();
        by_id.sort_by_key(|candidate| candidate.id);
        if by_id.iter().all(|candidate| candidate.rack.is_none()) {
            return Ok(Self {
                brokers: by_id.iter().map(|candidate| candidate.id).collect(),
                rack_of: (0..by_id.len()).collect(),
                racks: 0,
            });
        }
        let mut by_rack: BTreeMap<&str, Vec<BrokerId>> = BTreeMap::new();
        for candidate in by_id {
            let Some(rack) = &candidate.rack else {
                return Err(AdminError::refused(
                    ErrorCode::UnknownServerError,
                    "Not all brokers have rack information for replica rack aware assignment.",
                ));
            };
            by_rack.entry(rack).or_default().push(candidate.id);
        }
        // One broker of each rack in turn, racks by name: a, b, c, a, b, c, ….
        let longest = by_rack.values().map(Vec::len).max().unwrap_or(0);
        let alternated: Vec<(BrokerId, usize)> = (0..longest)
            .flat_map(|turn| {
                let racks = by_rack.values().enumerate();
                racks.filter_map(move |(rack, brokers)| Some((*brokers.get(turn)?, rack)))
            })
            .collect();
        Ok(Self {
            racks: by_rack.len(),
            brokers: alternated.iter().map(|(broker, _)| *broker).collect(),
            rack_of: alternated.iter().map(|(_, rack)| *rack).collect(),
        })
    }

    /// The leader at `first`, and the followers further on; at most as many as there are brokers.
    fn replicas(&self, first: usize, shift: usize, count: usize) -> Vec<BrokerId> {
        let mut chosen = vec![first];
        let mut racks = BTreeSet::from([self.rack_of[first]]);
        let stride = if self.racks == 0 { shift } else { shift * self.racks };
        let mut step = 0;
        while chosen.len() < count {
            let next = self.further(first, stride + step);
            step += 1;
            let rack_is_free = self.racks == 0 || racks.len() == self.racks || !racks.contains(&self.rack_of[next]);
            if rack_is_free && !chosen.contains(&next) {
                racks.insert(self.rack_of[next]);
                chosen.push(next);
            }
        }
        chosen.into_iter().map(|index| self.brokers[index]).collect()
    }

    /// Never the leader itself: 1 to n − 1 places on.
    fn further(&self, first: usize, shift: usize) -> usize {
        let brokers = self.brokers.len();
        (first + 1 + shift % (brokers - 1)) % brokers
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn plain(brokers: i32) -> Vec<Candidate> {
        (0..brokers)
            .map(|id| Candidate {
                id: BrokerId(id),
                rack: None,
            })
            .collect()
    }

    fn racked(racks: &[(i32, &str)]) -> Vec<Candidate> {
        let candidate = |(id, rack): &(i32, &str)| Candidate {
            id: BrokerId(*id),
            rack: Some((*rack).to_owned()),
        };
        racks.iter().map(candidate).collect()
    }

    fn plan(candidates: &[Candidate], partitions: i32, factor: i32, at: usize, first: i32) -> Vec<Vec<i32>> {
        let start = Start {
            start_index: at,
            replica_shift: at,
        };
        let assignment = assign(candidates, partitions, factor, start, first).unwrap();
        assert!(assignment.keys().copied().eq(first..first + partitions));
        assignment
            .into_values()
            .map(|replicas| replicas.into_iter().map(|id| id.0).collect())
            .collect()
    }

    /// The example in the documentation of Kafka's `AdminUtils`: ten partitions, three replicas, five brokers.
    #[test]
    fn followers_shift_with_every_round() {
        assert_eq!(
            plan(&plain(5), 10, 3, 0, 0),
            [
                [0, 1, 2],
                [1, 2, 3],
                [2, 3, 4],
                [3, 4, 0],
                [4, 0, 1],
                [0, 2, 3],
                [1, 3, 4],
                [2, 4, 0],
                [3, 0, 1],
                [4, 1, 2],
            ]
        );
    }

    #[test]
    fn racks_take_turns() {
        let brokers = racked(&[
            (0, "rack1"),
            (1, "rack3"),
            (2, "rack3"),
            (3, "rack2"),
            (4, "rack2"),
            (5, "rack1"),
        ]);
        assert_eq!(
            plan(&brokers, 7, 3, 0, 0),
            [
                [0, 3, 1],
                [3, 1, 5],
                [1, 5, 4],
                [5, 4, 2],
                [4, 2, 0],
                [2, 0, 3],
                [0, 4, 2],
            ]
        );
    }

    /// A table that the real program filled in.
    #[test]
    fn replicas_are_placed_as_kafka_places_them() {
        let table = include_str!("assignment_of_kafka.txt");
        let rows: Vec<&str> = table.lines().filter(|line| !line.starts_with('#')).collect();
        assert_eq!(rows.len(), 21);
        for row in rows {
            let mut columns = row.split('|').map(str::trim);
            let mut candidates: Vec<Candidate> = columns
                .next()
                .unwrap()
                .split(',')
                .map(|broker| {
                    let (id, rack) = broker
                        .split_once(':')
                        .map_or((broker, None), |(id, rack)| (id, Some(rack)));
                    Candidate {
                        id: BrokerId(id.parse().unwrap()),
                        rack: rack.map(str::to_owned),
                    }
                })
                .collect();
            candidates.reverse();
            let numbers: Vec<i32> = columns
                .next()
                .unwrap()
                .split(' ')
                .map(|it| it.parse().unwrap())
                .collect();
            let [partitions, factor, start, first] = numbers[..] else {
                panic!("four numbers: {row}");
            };
            let found = plan(&candidates, partitions, factor, start as usize, first);
            assert_eq!(format!("{found:?}"), columns.next().unwrap(), "{row}");
        }
    }

    #[test]
    fn refusals_are_kafkas() {
        let check = |candidates: &[Candidate], partitions: i32, factor: i32, code: ErrorCode, message: &str| {
            let start = Start {
                start_index: 0,
                replica_shift: 0,
            };
            let refused = assign(candidates, partitions, factor, start, 0);
            assert_eq!(refused, Err(AdminError::refused(code, message)));
        };
        use ErrorCode::{InvalidPartitions, InvalidReplicationFactor, UnknownServerError};
        check(
            &plain(3),
            0,
            1,
            InvalidPartitions,
            "Number of partitions must be larger than 0.",
        );
        check(
            &plain(3),
            -3,
            1,
            InvalidPartitions,
            "Number of partitions must be larger than 0.",
        );
        check(
            &plain(3),
            1,
            0,
            InvalidReplicationFactor,
            "Replication factor must be larger than 0.",
        );
        check(
            &plain(3),
            1,
            -2,
            InvalidReplicationFactor,
            "Replication factor must be larger than 0.",
        );
        let many = "Replication factor: 4 larger than available brokers: 3.";
        check(&plain(3), 1, 4, InvalidReplicationFactor, many);
        let none = "Replication factor: 1 larger than available brokers: 0.";
        check(&[], 1, 1, InvalidReplicationFactor, none);
        let too_many = "A topic cannot have more than 131072 partitions.";
        check(&plain(3), i32::MAX, 1, InvalidPartitions, too_many);
        let mut some = plain(2);
        some[0].rack = Some("r".into());
        let message = "Not all brokers have rack information for replica rack aware assignment.";
        check(&some, 1, 1, UnknownServerError, message);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(128))]
        #[test]
        fn replicas_are_distinct_and_racks_are_used_first(
            racks in proptest::collection::vec(0..4u8, 1..9),
            with_racks: bool,
            factor in 1..5i32,
            partitions in 1..40i32,
            start_index: u16,
            replica_shift: u16,
        ) {
            let factor = factor.min(racks.len() as i32);
            let candidates: Vec<Candidate> = racks
                .iter()
                .enumerate()
                .map(|(id, rack)| Candidate { id: BrokerId(id as i32), rack: with_racks.then(|| rack.to_string()) })
                .collect();
            let start = Start { start_index: start_index.into(), replica_shift: replica_shift.into() };
            let assignment = assign(&candidates, partitions, factor, start, 0).unwrap();
            let all_racks: BTreeSet<u8> = racks.iter().copied().collect();
            let mut leaders = vec![0i32; racks.len()];
            for replicas in assignment.values() {
                let distinct: BTreeSet<_> = replicas.iter().collect();
                prop_assert_eq!(distinct.len() as i32, factor);
                leaders[replicas[0].0 as usize] += 1;
                if with_racks {
                    let used: BTreeSet<u8> = replicas.iter().map(|id| racks[id.0 as usize]).collect();
                    prop_assert_eq!(used.len(), all_racks.len().min(factor as usize));
                }
            }
            prop_assert!(leaders.iter().max().unwrap() - leaders.iter().min().unwrap() <= 1);
        }
    }
}
