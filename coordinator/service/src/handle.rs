//! How a broker's request handlers, and the program `coordinator`, speak to the controller of their process.
//!
//! Cheap to clone. Every question is answered: by NOT_CONTROLLER (41) where this process is not the controller, also when
//! it stops being it halfway. Nothing here waits for ever, and at most [`MAX_QUESTIONS`] questions wait at a time.

use std::sync::Arc;

use coordinator::controller::{Ask, Gauges, Refusal, Reply};
use kafka_protocol::messages::{
    AllocateProducerIdsRequest, AllocateProducerIdsResponse, AlterPartitionReassignmentsRequest,
    AlterPartitionReassignmentsResponse, AlterPartitionRequest, AlterPartitionResponse, ControlledShutdownRequest,
    ControlledShutdownResponse, ElectLeadersRequest, ElectLeadersResponse, ListPartitionReassignmentsRequest,
    ListPartitionReassignmentsResponse,
};
use model::{BrokerId, ControllerEpoch};
use tokio::sync::{mpsc, oneshot, watch};

use crate::convert;

/// How many questions may wait for the controller; further ones wait before they are queued.
pub const MAX_QUESTIONS: usize = 1_000;

/// Who is the controller, as this process sees it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Status {
    /// The id in `/controller`, if there is one.
    pub controller: Option<BrokerId>,
    /// This process's epoch, while it is the controller.
    pub active: Option<ControllerEpoch>,
    /// What it counts, while it is the controller.
    pub gauges: Gauges,
}

/// What a handle sends to the loop that owns the core.
pub(crate) enum Command {
    /// A question and where to put the answer.
    Ask(Ask, oneshot::Sender<Result<Reply, Refusal>>),
    /// `unclean.leader.election.enable` became true: for a topic, or by default.
    UncleanElectionEnabled(Option<String>),
    /// Resign in order and end; told when done.
    Stop(oneshot::Sender<()>),
}

/// A handle to the controller of this process.
#[derive(Clone)]
pub struct ControllerHandle {
    pub(crate) commands: mpsc::Sender<Command>,
    pub(crate) status: watch::Receiver<Status>,
    pub(crate) id: BrokerId,
    /// Kept so that the service's tasks end when the last handle goes.
    pub(crate) _alive: Arc<tokio_util::sync::DropGuard>,
}

impl ControllerHandle {
    /// Whether this process is the controller.
    pub fn is_active(&self) -> bool {
        self.status.borrow().active.is_some()
    }

    /// This process's controller epoch, while it is the controller.
    pub fn controller_epoch(&self) -> Option<ControllerEpoch> {
        self.status.borrow().active
    }

    /// The id in `/controller`, as last seen.
    pub fn controller_id(&self) -> Option<BrokerId> {
        self.status.borrow().controller
    }

    /// Follows who is the controller.
    pub fn status(&self) -> watch::Receiver<Status> {
        self.status.clone()
    }

    /// The id under which this process races.
    pub fn id(&self) -> BrokerId {
        self.id
    }

    /// AlterPartition (key 56): a leader proposes in-sync sets.
    pub async fn alter_partition(&self, request: AlterPartitionRequest, version: i16) -> AlterPartitionResponse {
        let answer = self.ask(convert::alter_partition_ask(&request, version)).await;
        convert::alter_partition_response(answer, version)
    }

    /// ControlledShutdown (key 7): a broker wants to leave in order.
    pub async fn controlled_shutdown(&self, request: ControlledShutdownRequest) -> ControlledShutdownResponse {
        convert::controlled_shutdown_response(self.ask(convert::controlled_shutdown_ask(&request)).await)
    }

    /// AllocateProducerIds (key 67): a broker wants a block of producer ids.
    pub async fn allocate_producer_ids(&self, request: AllocateProducerIdsRequest) -> AllocateProducerIdsResponse {
        convert::producer_ids_response(self.ask(convert::producer_ids_ask(&request)).await)
    }

    /// ElectLeaders (key 43): an administrator wants preferred or unclean elections.
    pub async fn elect_leaders(&self, request: ElectLeadersRequest, version: i16) -> ElectLeadersResponse {
        let answer = self.ask(convert::elect_leaders_ask(&request, version)).await;
        convert::elect_leaders_response(answer, &request)
    }

    /// AlterPartitionReassignments (key 45): an administrator moves replicas.
    pub async fn alter_partition_reassignments(
        &self,
        request: AlterPartitionReassignmentsRequest,
    ) -> AlterPartitionReassignmentsResponse {
        convert::alter_reassignments_response(self.ask(convert::alter_reassignments_ask(&request)).await)
    }

    /// ListPartitionReassignments (key 46): which replicas are being moved.
    pub async fn list_partition_reassignments(
        &self,
        request: ListPartitionReassignmentsRequest,
    ) -> ListPartitionReassignmentsResponse {
        convert::list_reassignments_response(self.ask(convert::list_reassignments_ask(&request)).await)
    }

    /// Tells the controller that `unclean.leader.election.enable` became true, for a topic or by default, so that it
    /// elects leaders where it could not. Does nothing elsewhere.
    pub async fn unclean_election_enabled(&self, topic: Option<&str>) {
        let command = Command::UncleanElectionEnabled(topic.map(str::to_owned));
        // A closed channel means that the service has stopped: then there is nobody to tell.
        let _ = self.commands.send(command).await;
    }

    /// Resigns in order, if this process is the controller, and ends the service. Returns when it is done.
    pub async fn stop(&self) {
        let (done, wait) = oneshot::channel();
        if self.commands.send(Command::Stop(done)).await.is_ok() {
            // An error means that the loop has ended already.
            let _ = wait.await;
        }
    }

    /// Waits until the service has ended: stopped, or because of a fault of ours, after which the process must not go on.
    pub async fn ended(&self) {
        self.commands.closed().await;
    }

    async fn ask(&self, ask: Ask) -> Result<Reply, Refusal> {
        let (answer, wait) = oneshot::channel();
        if self.commands.send(Command::Ask(ask, answer)).await.is_err() {
            return Err(Refusal::NotController);
        }
        wait.await.unwrap_or(Err(Refusal::NotController))
    }
}
