//! The five states of a classic group and the moves between them.

use core::fmt;

/// Where a group stands in its rebalance protocol. Printed as DescribeGroups and ListGroups spell it.
///
/// `Empty → PreparingRebalance → CompletingRebalance → Stable → PreparingRebalance …`, back to `Empty` when the last
/// member has left, and `Dead` from anywhere: the group is being removed and answers no one.
/// Source: Kafka 3.9 `GroupMetadata.scala`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum GroupState {
    /// No member; offsets may linger until they expire.
    Empty,
    /// Waiting for every member to send JoinGroup.
    PreparingRebalance,
    /// The members are known; waiting for the leader's assignment.
    CompletingRebalance,
    /// Every member has, or can have, its assignment.
    Stable,
    /// Gone.
    Dead,
}

impl GroupState {
    /// The states from which `self` may be entered.
    pub const fn valid_previous(self) -> &'static [Self] {
        use GroupState::*;
        match self {
            Empty => &[PreparingRebalance],
            PreparingRebalance => &[Stable, CompletingRebalance, Empty],
            CompletingRebalance => &[PreparingRebalance],
            Stable => &[CompletingRebalance],
            Dead => &[Stable, PreparingRebalance, CompletingRebalance, Empty, Dead],
        }
    }

    /// The name that Kafka's tools show.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Empty => "Empty",
            Self::PreparingRebalance => "PreparingRebalance",
            Self::CompletingRebalance => "CompletingRebalance",
            Self::Stable => "Stable",
            Self::Dead => "Dead",
        }
    }
}

impl fmt::Display for GroupState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
