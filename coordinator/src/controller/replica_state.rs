//! Where a replica stands in its life, and which moves exist.

use ReplicaState::{DeletionIneligible, DeletionStarted, DeletionSuccessful, New, NonExistent, Offline, Online};

/// The state of one replica of one partition, kept in the controller's memory only.
///
/// `NonExistent → New → Online ⇄ Offline → DeletionStarted → DeletionSuccessful → NonExistent`; a deletion that cannot be
/// done now waits in `DeletionIneligible`. Source: Kafka 3.9 `ReplicaStateMachine`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ReplicaState {
    /// Not there, or deleted.
    #[default]
    NonExistent,
    /// Just assigned; its broker has been told.
    New,
    /// Alive, as leader or follower.
    Online,
    /// Its broker, or its log directory, is gone; or it has been told to stop.
    Offline,
    /// Its broker has been told to delete it.
    DeletionStarted,
    /// Its broker has deleted it.
    DeletionSuccessful,
    /// It cannot be deleted now.
    DeletionIneligible,
}

impl ReplicaState {
    /// The states from which `self` may be entered.
    pub const fn valid_previous(self) -> &'static [ReplicaState] {
        match self {
            New => &[NonExistent],
            Online | Offline => &[New, Online, Offline, DeletionIneligible],
            DeletionStarted => &[Offline],
            DeletionSuccessful => &[DeletionStarted],
            DeletionIneligible => &[Offline, DeletionStarted],
            NonExistent => &[DeletionSuccessful],
        }
    }
}
