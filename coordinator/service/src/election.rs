//! The race for `/controller`: who may take part, how it is won, and how it is lost.
//!
//! Runs on its own, beside the loop that owns the core, and tells it `Elected` and `Deposed`. It watches `/controller` all
//! the time. Winning is one multi: create `/controller`, ephemeral, and set `/controller_epoch` to the next epoch at
//! the version read before; so that two can never win the same epoch. Losing is any of: `/controller` is not ours any more, the
//! session has ended, the controller has resigned (it is then deleted, fenced), or somebody else is to race.
//!
//! A dedicated coordinator races while every registered broker is ours; brokers leave the race to it then. Kafka's own
//! brokers look for the controller among brokers only, so with one of them in the cluster it is the other way round.
//!
//! Invariant: after `Deposed`, and before the next `Elected`, this session does not hold `/controller` by our doing.
//! Source: Kafka 3.9 `KafkaController.elect`, `KafkaZkClient.registerControllerAndIncrementControllerEpoch`.

use std::time::Duration;

use model::{BrokerId, ControllerEpoch};
use tokio::sync::{mpsc, watch};
use zk_schema::brokers::ids;
use zk_schema::controller::{self, Controller};
use zk_schema::{controller_epoch, ottla};
use zk_schema_store::{CreateMode, MultiError, Op, SessionState, Store, StoreError, Watch};

use crate::clock;
use crate::config::{Role, ServiceConfig};
use crate::handle::Status;
use crate::service::Input;

/// How long to wait before looking again after ZooKeeper has answered what it should not.
const BACKOFF: Duration = Duration::from_millis(500);

/// Tells the race to give `/controller` up: the term that resigns.
pub(crate) type Resignations = mpsc::UnboundedReceiver<u64>;

/// An office won: what `Elected` tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Office {
    pub(crate) term: u64,
    pub(crate) epoch: ControllerEpoch,
    pub(crate) epoch_zk_version: i32,
}

/// Races until the service ends.
pub(crate) struct Race {
    pub(crate) config: ServiceConfig,
    pub(crate) store: Store,
    pub(crate) inputs: mpsc::Sender<Input>,
    pub(crate) resignations: Resignations,
    pub(crate) status: watch::Sender<Status>,
    pub(crate) term: u64,
    pub(crate) office: Option<Office>,
}

/// What must change before it is worth looking again.
struct Wait {
    watches: Vec<Watch>,
}

impl Race {
    /// Runs until the loop that owns the core has ended.
    pub(crate) async fn run(mut self) {
        let mut session = self.store.session();
        loop {
            let SessionState::Connected { session_id, generation } = *session.borrow_and_update() else {
                if matches!(*session.borrow(), SessionState::Closed) {
                    self.depose("zookeeper session closed").await;
                    return;
                }
                if matches!(*session.borrow(), SessionState::Expired { .. }) {
                    self.depose("zookeeper session expired").await;
                    self.set_controller(None);
                }
                tokio::select! {
                    changed = session.changed() => if changed.is_err() { return },
                    resigned = self.resignations.recv() => match resigned {
                        // Without a connection it cannot be deleted; the fence, and the session's end, see to it.
                        Some(term) => self.forget(term),
                        None => return,
                    },
                }
                continue;
            };
            let wait = match self.look(session_id).await {
                Ok(wait) => wait,
                Err(StoreError::Closed) => return self.depose("zookeeper store closed").await,
                Err(error) => {
                    tracing::warn!(%error, "controller election could not look at zookeeper: trying again");
                    Wait { watches: Vec::new() }
                }
            };
            let ended = self.wait(wait, &mut session, generation).await;
            if ended {
                return;
            }
        }
    }

    /// Waits until something has changed; `true` when the service has ended.
    async fn wait(&mut self, wait: Wait, session: &mut watch::Receiver<SessionState>, generation: u64) -> bool {
        let changed = async {
            if wait.watches.is_empty() {
                tokio::time::sleep(BACKOFF).await;
            } else {
                futures::future::select_all(wait.watches).await;
            }
        };
        tokio::pin!(changed);
        loop {
            tokio::select! {
                () = &mut changed => return false,
                state = session.changed() => {
                    if state.is_err() {
                        return true;
                    }
                    // A connection that comes and goes within one session changes nothing: ephemeral znodes stay.
                    let state = *session.borrow_and_update();
                    if matches!(state, SessionState::Expired { .. } | SessionState::Closed) {
                        session.mark_changed();
                        self.depose("zookeeper session has ended").await;
                        return false;
                    }
                    // The next session is there already, and the office may have been won in it: look whose it is.
                    if state.generation() != generation {
                        session.mark_changed();
                        return false;
                    }
                }
                resigned = self.resignations.recv() => match resigned {
                    Some(term) => {
                        self.give_up(term).await;
                        return false;
                    }
                    None => return true,
                },
            }
        }
    }

    /// Looks at `/controller` and acts: notes who holds it, races where it is free.
    async fn look(&mut self, session_id: i64) -> Result<Wait, StoreError> {
        let (may_race, mut watches) = self.may_race().await?;
        if self.office.is_some() && !may_race {
            tracing::info!("another process is to be the controller: handing over");
            if let Some(office) = self.office {
                self.depose("handing over").await;
                self.delete_controller(office.epoch_zk_version).await;
            }
        }
        let (found, watch) = self.store.watch_data(controller::PATH).await?;
        watches.push(watch);
        let Some((data, stat)) = found else {
            self.depose("/controller is gone").await;
            self.set_controller(None);
            if may_race {
                // Whatever came of it, look at what is there now; the watch has fired by then if we won.
                self.race().await?;
            }
            return Ok(Wait { watches });
        };
        let holder = match Controller::decode(&data) {
            Ok(controller) => controller.broker_id,
            Err(error) => return Err(StoreError::Other(error.to_string())),
        };
        self.set_controller(Some(holder));
        let ours = holder == self.config.id && stat.ephemeral_owner == session_id;
        if !ours {
            self.depose("another controller has been elected").await;
        } else if self.office.is_none() {
            // Won by a multi whose answer was lost, or left by a resignation that could not delete it. Whose epoch it is
            // cannot be told any more, so it is not taken up but freed, and won again with an epoch of its own.
            tracing::info!("/controller is held by this session without an office: freeing it");
            match self.store.delete(controller::PATH, Some(stat.version)).await {
                Ok(()) | Err(StoreError::NoNode { .. } | StoreError::BadVersion { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(Wait { watches })
    }

    /// Whether this process may race now, and what may change that.
    async fn may_race(&self) -> Result<(bool, Vec<Watch>), StoreError> {
        if self.config.role == (Role::HostedByBroker { eligible: false }) {
            return Ok((false, Vec::new()));
        }
        let (coordinators, coordinators_watch) = self.store.watch_children(ottla::COORDINATORS_PATH).await?;
        let mut watches = vec![coordinators_watch];
        if self.config.role != Role::Dedicated && coordinators.unwrap_or_default().is_empty() {
            return Ok((true, watches));
        }
        // Either a coordinator, or a broker that sees one: the coordinator races if all brokers are ours.
        let (registered, watch) = self.store.watch_children(ids::PATH).await?;
        watches.push(watch);
        let (ours, watch) = self.store.watch_children(ottla::BROKERS_PATH).await?;
        watches.push(watch);
        let ours = ours.unwrap_or_default();
        let all_ours = registered.unwrap_or_default().iter().all(|id| ours.contains(id));
        Ok((all_ours == (self.config.role == Role::Dedicated), watches))
    }

    /// Tries to win. Losing to somebody else is no error.
    async fn race(&mut self) -> Result<(), StoreError> {
        let (epoch, version) = match self.store.controller_epoch().await? {
            Some(found) => found,
            None => {
                let initial = controller_epoch::encode(controller_epoch::INITIAL);
                match self
                    .store
                    .create(controller_epoch::PATH, initial, CreateMode::Persistent)
                    .await
                {
                    Ok(_) => (controller_epoch::INITIAL, 0),
                    Err(StoreError::NodeExists { .. }) => match self.store.controller_epoch().await? {
                        Some(found) => found,
                        None => return Ok(()),
                    },
                    Err(error) => return Err(error),
                }
            }
        };
        let next = ControllerEpoch(epoch.0 + 1);
        let candidate = Controller::new(self.config.id, clock::now());
        match self.store.multi(candidate.election(next, version)).await {
            Ok(results) => {
                let stat = results.last().and_then(zk_schema_store::OpResult::stat);
                let stat =
                    stat.ok_or_else(|| StoreError::Other("an election answered without a version".to_owned()))?;
                self.take_office(next, stat.version).await;
                Ok(())
            }
            Err(MultiError {
                source: StoreError::NodeExists { .. } | StoreError::BadVersion { .. },
                ..
            }) => Ok(()),
            Err(MultiError { source, .. }) => Err(source),
        }
    }

    async fn take_office(&mut self, epoch: ControllerEpoch, epoch_zk_version: i32) {
        self.term += 1;
        let office = Office {
            term: self.term,
            epoch,
            epoch_zk_version,
        };
        tracing::info!(controller_id = %self.config.id, controller_epoch = %epoch, "elected as the controller");
        self.office = Some(office);
        self.set_controller(Some(self.config.id));
        self.tell(Input::Elected(office)).await;
    }

    /// Tells the core that it is over, if it was not.
    async fn depose(&mut self, reason: &str) {
        if let Some(office) = self.office.take() {
            tracing::info!(controller_epoch = %office.epoch, reason, "no longer the controller");
            self.tell(Input::Deposed(office.term)).await;
        }
    }

    /// The core cannot go on, or the service stops: frees `/controller` for whoever can.
    async fn give_up(&mut self, term: u64) {
        if let Some(office) = self.office.filter(|office| office.term == term) {
            self.office = None;
            self.delete_controller(office.epoch_zk_version).await;
        }
    }

    fn forget(&mut self, term: u64) {
        if self.office.is_some_and(|office| office.term == term) {
            self.office = None;
        }
    }

    /// Deletes `/controller`, if it still is that of this epoch.
    async fn delete_controller(&self, epoch_zk_version: i32) {
        if let Err(error) = self
            .store
            .fenced(epoch_zk_version, Op::delete(controller::PATH, None))
            .await
        {
            tracing::warn!(%error, "could not delete /controller: it goes with the session");
        }
    }

    fn set_controller(&self, controller: Option<BrokerId>) {
        let changed = self.status.send_if_modified(|status| {
            let changed = status.controller != controller;
            status.controller = controller;
            changed
        });
        if changed
            && self.config.role == Role::Dedicated
            && let Some(other) = controller.filter(|id| *id != self.config.id)
        {
            tracing::info!(controller = %other, "standing by: another process is the controller");
        }
    }

    async fn tell(&self, input: Input) {
        // A closed channel means that the service ends, and this with it.
        let _ = self.inputs.send(input).await;
    }
}
