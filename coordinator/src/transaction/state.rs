//! The states of a transactional id and the moves between them.

use core::fmt;

/// Where a transactional id stands. Printed as DescribeTransactions and ListTransactions spell it.
///
/// `Empty → Ongoing → PrepareCommit → CompleteCommit → Ongoing …`, or through `PrepareAbort → CompleteAbort`;
/// InitProducerId leads back to `Empty`. `Dead` and `PrepareEpochFence` are only ever pending, never entered and never stored.
/// Source: Kafka 3.9 `TransactionState` in `TransactionMetadata.scala`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum TransactionState {
    /// Has a producer, and no transaction since.
    Empty,
    /// A transaction has partitions.
    Ongoing,
    /// Will commit, whatever happens; markers are owed.
    PrepareCommit,
    /// Will abort, whatever happens; markers are owed.
    PrepareAbort,
    /// Every partition has its commit marker.
    CompleteCommit,
    /// Every partition has its abort marker.
    CompleteAbort,
    /// Expired; its tombstone is under way.
    Dead,
    /// The producer is being fenced, its transaction about to be aborted.
    PrepareEpochFence,
}

use TransactionState::*;

impl TransactionState {
    /// All of them, in the order of their numbers.
    pub const ALL: [Self; 8] = [
        Empty,
        Ongoing,
        PrepareCommit,
        PrepareAbort,
        CompleteCommit,
        CompleteAbort,
        Dead,
        PrepareEpochFence,
    ];

    /// The number by which records name it.
    pub const fn id(self) -> i8 {
        match self {
            Empty => 0,
            Ongoing => 1,
            PrepareCommit => 2,
            PrepareAbort => 3,
            CompleteCommit => 4,
            CompleteAbort => 5,
            Dead => 6,
            PrepareEpochFence => 7,
        }
    }

    /// The state of that number.
    pub fn from_id(id: i8) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.id() == id)
    }

    /// The name that Kafka's tools show.
    pub const fn name(self) -> &'static str {
        match self {
            Empty => "Empty",
            Ongoing => "Ongoing",
            PrepareCommit => "PrepareCommit",
            PrepareAbort => "PrepareAbort",
            CompleteCommit => "CompleteCommit",
            CompleteAbort => "CompleteAbort",
            Dead => "Dead",
            PrepareEpochFence => "PrepareEpochFence",
        }
    }

    /// The state of that name, spelled exactly so.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.name() == name)
    }

    /// The states from which `self` may be entered (`Dead` and `PrepareEpochFence`: made pending).
    pub const fn valid_previous(self) -> &'static [Self] {
        match self {
            Empty => &[Empty, CompleteCommit, CompleteAbort],
            Ongoing => &[Ongoing, Empty, CompleteCommit, CompleteAbort],
            PrepareCommit => &[Ongoing],
            // Kafka also names PrepareEpochFence, from which nothing is ever entered: the fence is turned into an abort first.
            PrepareAbort => &[Ongoing],
            CompleteCommit => &[PrepareCommit],
            CompleteAbort => &[PrepareAbort],
            Dead => &[Empty, CompleteAbort, CompleteCommit],
            PrepareEpochFence => &[Ongoing],
        }
    }

    /// Whether an id that has been left alone in this state may be forgotten.
    pub const fn may_expire(self) -> bool {
        matches!(self, Empty | CompleteCommit | CompleteAbort)
    }
}

impl fmt::Display for TransactionState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
