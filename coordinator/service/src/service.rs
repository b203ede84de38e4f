//! The loop that owns the core: inputs become events, effects are performed.
//!
//! One task, and nothing else, steps the core. Reads and writes are performed by a task each, watches by one task per
//! term, commands by one task per broker; all of them only send [`Input`]s back. Whatever belongs to a term carries
//! its number, and what comes from an earlier term is dropped.
//!
//! Invariant: effects of one step are begun in their order. Bounds: [`MAX_INPUTS`] inputs, [`MAX_QUESTIONS`] questions.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use coordinator::controller::{
    Answer, Ask, AskId, BrokerReply, Channel, Config, Controller, Effect, Event, Read, Refusal, Reply, RequestId,
};
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use model::{BrokerEpoch, BrokerId};
use parking_lot::Mutex;
use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;
use zk_schema_store::Store;

use crate::clock;
use crate::config::ServiceConfig;
use crate::election::{Office, Race};
use crate::handle::{Command, ControllerHandle, MAX_QUESTIONS, Status};
use crate::request::Addresses;
use crate::sender::{Destination, Sender, envelope};
use crate::{presence, zookeeper};

/// How many inputs may wait for the loop; whoever has one more waits.
const MAX_INPUTS: usize = 1_000;

/// How long after an election leaderships are first looked at for imbalance. Source: `onControllerFailover`.
const FIRST_REBALANCE: std::time::Duration = std::time::Duration::from_secs(5);

/// Something for the loop. The number is the term that it belongs to.
pub(crate) enum Input {
    Elected(Office),
    Deposed(u64),
    Answered(u64, RequestId, Vec<Answer>, zookeeper::Watches),
    TermOver(u64, zookeeper::TermOver),
    Changed(u64, String),
    Replied(u64, BrokerId, BrokerEpoch, BrokerReply),
    RebalanceDue(u64),
}

/// The controller's shell. See [`ControllerService::start`].
#[derive(Debug)]
pub struct ControllerService;

impl ControllerService {
    /// Starts racing for `/controller`, and being the controller where the race is won, over the sessions of `store`.
    ///
    /// Ends by [`ControllerHandle::stop`], or when the last handle has been dropped (then without resigning: `/controller`
    /// goes with the session). Must be called within a tokio runtime.
    pub fn start(config: ServiceConfig, store: Store) -> ControllerHandle {
        let (inputs, input) = mpsc::channel(MAX_INPUTS);
        let (commands, command) = mpsc::channel(MAX_QUESTIONS);
        let (status, status_seen) = watch::channel(Status::default());
        let (resign, resignations) = mpsc::unbounded_channel();
        let alive = CancellationToken::new();

        let race = Race {
            config: config.clone(),
            store: store.clone(),
            inputs: inputs.clone(),
            resignations,
            status: status.clone(),
            term: 0,
            office: None,
        };
        let race = spawn_while(&alive, &alive, race.run());
        let presence = spawn_while(&alive, &alive, presence::keep(config.clone(), store.clone()));
        let service = Loop {
            core: Controller::new(core_config(&config)),
            config: config.clone(),
            store,
            inputs,
            status,
            resign,
            term: None,
            questions: HashMap::new(),
            last_question: 0,
            race: Some(race),
            alive: alive.clone(),
        };
        let done = alive.clone();
        spawn_while(&alive, &alive, async move {
            service.run(input, command).await;
            presence.abort();
            done.cancel();
        });
        ControllerHandle {
            commands,
            status: status_seen,
            id: config.id,
            _alive: Arc::new(alive.drop_guard()),
        }
    }
}

/// Runs `task` until `over` is cancelled. Should it panic, the whole service ends, by `alive`: a controller that has lost
/// one of its tasks would hold the office and do half of its work.
pub(crate) fn spawn_while(
    alive: &CancellationToken,
    over: &CancellationToken,
    task: impl Future<Output = ()> + Send + 'static,
) -> tokio::task::JoinHandle<()> {
    let vital = Vital(alive.clone());
    let task = over.clone().run_until_cancelled_owned(task);
    tokio::spawn(async move {
        let _vital = vital;
        task.await;
    })
}

/// Ends the service if dropped by a panic.
struct Vital(CancellationToken);

impl Drop for Vital {
    fn drop(&mut self) {
        if std::thread::panicking() {
            tracing::error!("a task of the controller has panicked: the controller ends");
            self.0.cancel();
        }
    }
}

fn core_config(config: &ServiceConfig) -> Config {
    let protocol = config.inter_broker_protocol;
    Config {
        id: config.id,
        topic_ids: protocol.topic_ids,
        leader_recovery: protocol.leader_recovery(),
        feature_versioning: protocol.feature_versioning,
        delete_topic_enable: config.delete_topic_enable,
        unclean_leader_election_enable: config.unclean_leader_election_enable,
        auto_leader_rebalance_enable: config.auto_leader_rebalance_enable,
        leader_imbalance_per_broker_percentage: config.leader_imbalance_per_broker_percentage,
        seed: *uuid::Uuid::new_v4().as_bytes(),
    }
}

/// What belongs to the time in office. Dropping it ends all of its tasks.
struct Term {
    office: Office,
    senders: BTreeMap<BrokerId, Sender>,
    addresses: Arc<Mutex<Addresses>>,
    watches: mpsc::UnboundedSender<(String, zk_schema_store::Watch)>,
    over: CancellationToken,
}

impl Drop for Term {
    fn drop(&mut self) {
        self.over.cancel();
    }
}

struct Loop {
    core: Controller,
    config: ServiceConfig,
    store: Store,
    inputs: mpsc::Sender<Input>,
    status: watch::Sender<Status>,
    resign: mpsc::UnboundedSender<u64>,
    term: Option<Term>,
    questions: HashMap<AskId, oneshot::Sender<Result<Reply, Refusal>>>,
    last_question: u64,
    race: Option<tokio::task::JoinHandle<()>>,
    /// Cancelled: the service ends, also by the panic of a task.
    alive: CancellationToken,
}

impl Loop {
    async fn run(mut self, mut inputs: mpsc::Receiver<Input>, mut commands: mpsc::Receiver<Command>) {
        loop {
            tokio::select! {
                Some(input) = inputs.recv() => self.input(input),
                command = commands.recv(), if self.questions.len() < MAX_QUESTIONS => match command {
                    Some(Command::Ask(ask, answer)) => self.ask(ask, answer),
                    Some(Command::UncleanElectionEnabled(topic)) => self.step(Event::UncleanElectionEnabled(topic)),
                    Some(Command::Stop(done)) => {
                        self.stop().await;
                        // Whoever asked may have gone; that is its business.
                        let _ = done.send(());
                        return;
                    }
                    None => return,
                },
            }
        }
    }

    fn input(&mut self, input: Input) {
        let current = self.term.as_ref().map(|term| term.office.term);
        match input {
            Input::Elected(office) => self.begin(office),
            Input::Deposed(term) if current == Some(term) => self.end(),
            Input::TermOver(term, reason) if current == Some(term) => {
                tracing::warn!(%reason, "the controller resigns");
                self.give_up();
            }
            Input::Answered(term, id, answers, watches) if current == Some(term) => {
                if let Some(term) = &self.term {
                    for watch in watches {
                        // The task that takes them lives as long as the term.
                        let _ = term.watches.send(watch);
                    }
                }
                self.step(Event::Answered(id, answers));
            }
            Input::Changed(term, path) if current == Some(term) => self.step(Event::Changed(path)),
            Input::Replied(term, broker, epoch, reply) if current == Some(term) => {
                self.step(Event::Replied(broker, epoch, reply));
            }
            Input::RebalanceDue(term) if current == Some(term) => self.step(Event::RebalanceDue),
            // Of an earlier term.
            Input::Deposed(_)
            | Input::TermOver(..)
            | Input::Answered(..)
            | Input::Changed(..)
            | Input::Replied(..)
            | Input::RebalanceDue(_) => {}
        }
    }

    fn begin(&mut self, office: Office) {
        let (watches, left) = mpsc::unbounded_channel();
        let over = self.alive.child_token();
        self.term = Some(Term {
            office,
            senders: BTreeMap::new(),
            addresses: Arc::default(),
            watches,
            over: over.clone(),
        });
        self.status.send_modify(|status| status.active = Some(office.epoch));
        spawn_while(
            &self.alive,
            &over,
            follow_watches(office.term, left, self.inputs.clone()),
        );
        if self.config.auto_leader_rebalance_enable {
            let interval = self.config.leader_imbalance_check_interval;
            let inputs = self.inputs.clone();
            spawn_while(&self.alive, &over, async move {
                let mut due = tokio::time::interval_at(tokio::time::Instant::now() + FIRST_REBALANCE, interval);
                due.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
                loop {
                    due.tick().await;
                    if inputs.send(Input::RebalanceDue(office.term)).await.is_err() {
                        return;
                    }
                }
            });
        }
        self.step(Event::Elected { epoch: office.epoch });
    }

    fn end(&mut self) {
        self.term = None;
        self.status.send_modify(|status| {
            status.active = None;
            status.gauges = Default::default();
        });
        self.step(Event::Resigned);
    }

    /// Ends the term of one's own accord, and has `/controller` deleted.
    fn give_up(&mut self) {
        if let Some(term) = &self.term {
            // The race lives as long as this loop.
            let _ = self.resign.send(term.office.term);
        }
        self.end();
    }

    async fn stop(&mut self) {
        // Whoever races must not win what is freed below. Waited for, because it may be in the middle of something.
        if let Some(race) = self.race.take() {
            race.abort();
            let _ = race.await;
        }
        let Some(office) = self.term.as_ref().map(|term| term.office) else {
            return;
        };
        self.end();
        let delete = zk_schema_store::Op::delete(zk_schema::controller::PATH, None);
        // Not for ever: without ZooKeeper it goes with the session.
        let deleted = tokio::time::timeout(
            self.config.request_timeout,
            self.store.fenced(office.epoch_zk_version, delete),
        );
        match deleted.await {
            Ok(Ok(_)) => tracing::info!(controller_epoch = %office.epoch, "resigned as the controller"),
            Ok(Err(error)) => tracing::warn!(%error, "could not delete /controller: it goes with the session"),
            Err(_) => tracing::warn!("could not delete /controller in time: it goes with the session"),
        }
    }

    fn ask(&mut self, ask: Ask, answer: oneshot::Sender<Result<Reply, Refusal>>) {
        self.last_question += 1;
        let id = AskId(self.last_question);
        self.questions.insert(id, answer);
        self.step(Event::Asked(id, ask));
    }

    fn step(&mut self, event: Event) {
        for effect in self.core.step(event, clock::now()) {
            self.perform(effect);
        }
    }

    fn perform(&mut self, effect: Effect) {
        match effect {
            Effect::Answer(id, answer) => {
                if let Some(asker) = self.questions.remove(&id) {
                    // The asker may have gone with its connection.
                    let _ = asker.send(answer);
                }
            }
            Effect::Gauges(gauges) => self.status.send_modify(|status| status.gauges = gauges),
            Effect::Resign(reason) => {
                tracing::error!(reason, "the controller cannot go on and resigns");
                self.give_up();
            }
            Effect::Read(id, reads) => self.read(id, reads),
            Effect::Write(id, ops) => self.write(id, ops),
            Effect::Connect(channel) => self.connect(channel),
            Effect::Disconnect(broker) => {
                if let Some(term) = &mut self.term {
                    term.senders.remove(&broker);
                    term.addresses.lock().remove(&broker);
                }
            }
            Effect::Send(addressed) => {
                let sender = self.term.as_ref().and_then(|term| term.senders.get(&addressed.broker));
                if let Some(sender) = sender {
                    sender.send(addressed.command);
                }
            }
        }
    }

    fn read(&self, id: RequestId, reads: Vec<Read>) {
        let Some(term) = &self.term else { return };
        let (store, inputs, number) = (self.store.clone(), self.inputs.clone(), term.office.term);
        spawn_while(&self.alive, &term.over, async move {
            let input = match zookeeper::read(&store, reads).await {
                Ok((answers, watches)) => Input::Answered(number, id, answers, watches),
                Err(over) => Input::TermOver(number, over),
            };
            // A closed channel means that the service has ended.
            let _ = inputs.send(input).await;
        });
    }

    fn write(&self, id: RequestId, ops: Vec<zk_schema_store::Op>) {
        let Some(term) = &self.term else { return };
        let (store, inputs, office) = (self.store.clone(), self.inputs.clone(), term.office);
        spawn_while(&self.alive, &term.over, async move {
            let input = match zookeeper::write(&store, office.epoch_zk_version, ops).await {
                Ok(answers) => Input::Answered(office.term, id, answers, Vec::new()),
                Err(over) => Input::TermOver(office.term, over),
            };
            // A closed channel means that the service has ended.
            let _ = inputs.send(input).await;
        });
    }

    /// Opens a channel to a life of a broker, in place of any other channel to it.
    fn connect(&mut self, channel: Channel) {
        let Some(term) = &mut self.term else { return };
        let listener = &self.config.listener_name;
        let endpoint = channel
            .endpoints
            .iter()
            .find(|it| it.listener.eq_ignore_ascii_case(listener));
        let found = endpoint.and_then(|it| u16::try_from(it.port).ok().map(|port| (it.host.clone(), port)));
        let Some((host, port)) = found else {
            tracing::error!(broker = %channel.broker, listener, "broker has no endpoint for the controller: it is told nothing");
            term.senders.remove(&channel.broker);
            return;
        };
        term.addresses
            .lock()
            .insert(channel.broker, (host.clone(), i32::from(port)));
        let to = Destination {
            broker: channel.broker,
            host,
            port,
            envelope: envelope(&self.config, term.office.epoch, channel.broker_epoch),
            addresses: term.addresses.clone(),
        };
        let sender = Sender::start(to, &self.config, term.office.term, self.inputs.clone(), &self.alive);
        term.senders.insert(channel.broker, sender);
    }
}

/// Turns watches that fire into inputs, until the term ends.
async fn follow_watches(
    term: u64,
    mut left: mpsc::UnboundedReceiver<(String, zk_schema_store::Watch)>,
    inputs: mpsc::Sender<Input>,
) {
    let mut watches = FuturesUnordered::new();
    loop {
        tokio::select! {
            watch = left.recv() => match watch {
                Some((path, watch)) => watches.push(async move {
                    watch.await;
                    path
                }),
                None => return,
            },
            Some(path) = watches.next() => {
                if inputs.send(Input::Changed(term, path)).await.is_err() {
                    return;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_panic_of_any_task_ends_the_service() {
        let alive = CancellationToken::new();
        let over = alive.child_token();
        let other = spawn_while(&alive, &over, std::future::pending());
        spawn_while(&alive, &over, async {}).await.unwrap();
        let aborted = spawn_while(&alive, &over, std::future::pending());
        aborted.abort();
        assert!(aborted.await.unwrap_err().is_cancelled());
        assert!(!alive.is_cancelled());

        let panics = spawn_while(&alive, &over, async { panic!("on purpose") });
        assert!(panics.await.unwrap_err().is_panic());
        assert!(alive.is_cancelled());
        other.await.unwrap();
    }
}
