//! Where a partition stands in its life, and which moves exist.

use PartitionState::{New, NonExistent, Offline, Online};

/// The state of a partition, kept in the controller's memory only.
///
/// `NonExistent → New → Online ⇄ Offline → NonExistent`. Source: Kafka 3.9 `PartitionStateMachine`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PartitionState {
    /// Was never created, or has been deleted.
    #[default]
    NonExistent,
    /// Has replicas, but no leader and no in-sync set yet.
    New,
    /// Has a leader.
    Online,
    /// Its leader is gone.
    Offline,
}

impl PartitionState {
    /// The states from which `self` may be entered.
    pub const fn valid_previous(self) -> &'static [PartitionState] {
        match self {
            New => &[NonExistent],
            Online | Offline => &[New, Online, Offline],
            NonExistent => &[Offline],
        }
    }
}
