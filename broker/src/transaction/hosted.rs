//! One core and what it needs to live: its partition, its waiting requests, its appends under way, its clock.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use broker_log::append::Origin;
use broker_log::batch::BatchBuilder;
use bytes::Bytes;
use coordinator::transaction::{
    Append, AppendFailure, Effect, MarkerOutcome, Markers, MarkersId, Note, Now, Producer, Ticket, TransactionError,
    Transactions, WriteId,
};
use model::{Millis, TopicPartition};
use parking_lot::Mutex;
use tokio::runtime::Handle;
use tokio::sync::{Notify, oneshot};
use tokio::time::Instant;
use tracing::{debug, info, warn};

use super::senders::Senders;
use crate::config::ConfigHandle;
use crate::delayed::Waiter;
use crate::partition::{Partition, PartitionError, Partitions, Required};
use crate::vital::vital;

/// What all cores share.
pub(super) struct Host {
    pub(super) config: Arc<ConfigHandle>,
    pub(super) partitions: Arc<Partitions>,
    pub(super) origin: Instant,
    pub(super) runtime: Handle,
}

/// A core, hosted.
pub(super) struct Hosted {
    state: Mutex<State>,
    /// For the keeper: an append is the first to wait, a deadline has come nearer, or the core is gone.
    news: Notify,
    replica: Arc<Partition>,
    senders: Option<Arc<Senders>>,
    host: Host,
}

struct State {
    /// `None` once this broker has resigned.
    core: Option<Transactions>,
    waiting: HashMap<Ticket, Waiting>,
    /// Who waits for the end of which id's transaction.
    ends: HashMap<Arc<str>, Vec<oneshot::Sender<()>>>,
    /// In the order of the log.
    appends: VecDeque<UnderWay>,
    /// When the core's timer will wake.
    armed: Millis,
}

/// An append that is not known to be on all in-sync replicas.
struct UnderWay {
    id: WriteId,
    required: Required,
    deadline: Instant,
}

/// A request that waits for its answer.
pub(super) enum Waiting {
    Init(oneshot::Sender<Result<Producer, TransactionError>>),
    Plain(oneshot::Sender<Result<(), TransactionError>>),
}

impl Hosted {
    pub(super) fn new(
        core: Transactions,
        replica: Arc<Partition>,
        senders: Option<Arc<Senders>>,
        host: Host,
    ) -> Arc<Self> {
        let armed = core.next_deadline();
        Arc::new(Self {
            state: Mutex::new(State {
                core: Some(core),
                waiting: HashMap::new(),
                ends: HashMap::new(),
                appends: VecDeque::new(),
                armed,
            }),
            news: Notify::new(),
            replica,
            senders,
            host,
        })
    }

    /// Begins to keep time, and does what loading has left to do.
    pub(super) fn start(self: &Arc<Self>) {
        let this = Arc::clone(self);
        let keep = vital("transaction keeper", async move { this.keep().await });
        self.host.runtime.spawn(keep);
        self.act(self.now(), |_| ());
    }

    /// Lets the core do something, and performs what it decides. `None` if this broker has resigned.
    pub(super) fn act<T>(self: &Arc<Self>, now: Now, what: impl FnOnce(&mut Transactions) -> T) -> Option<T> {
        let mut state = self.state.lock();
        let done = what(state.core.as_mut()?);
        let markers = self.perform(&mut state, now);
        self.rearm(&state);
        drop(state);
        self.send(markers);
        Some(done)
    }

    /// Looks without changing anything.
    pub(super) fn look<T>(&self, what: impl FnOnce(&Transactions) -> T) -> Option<T> {
        self.state.lock().core.as_ref().map(what)
    }

    pub(super) fn len(&self) -> usize {
        self.look(Transactions::len).unwrap_or(0)
    }

    /// A request whose answer may come later.
    pub(super) fn ask<T>(
        self: &Arc<Self>,
        ticket: Ticket,
        now: Now,
        waiting: impl FnOnce(oneshot::Sender<T>) -> Waiting,
        what: impl FnOnce(&mut Transactions),
    ) -> oneshot::Receiver<T> {
        let (sender, receiver) = oneshot::channel();
        let mut state = self.state.lock();
        let State { core, waiting: all, .. } = &mut *state;
        // Resigned: the sender is dropped, and the receiver learns it so.
        if let Some(core) = core {
            all.insert(ticket, waiting(sender));
            what(core);
            let markers = self.perform(&mut state, now);
            self.rearm(&state);
            drop(state);
            self.send(markers);
        }
        receiver
    }

    /// To be waited for where the id's transaction is decided and not complete.
    pub(super) fn ending(&self, transactional_id: &Arc<str>) -> Option<oneshot::Receiver<()>> {
        let mut state = self.state.lock();
        if !state.core.as_ref()?.is_ending(transactional_id) {
            return None;
        }
        let (sender, receiver) = oneshot::channel();
        let waiting = state.ends.entry(Arc::clone(transactional_id)).or_default();
        // Those that have given up are gone.
        waiting.retain(|sender| !sender.is_closed());
        waiting.push(sender);
        Some(receiver)
    }

    /// What became of markers.
    pub(super) fn markers_answered(self: &Arc<Self>, id: MarkersId, outcomes: Vec<(TopicPartition, MarkerOutcome)>) {
        let now = self.now();
        self.act(now, |core| core.markers_answered(id, outcomes, now));
    }

    /// Whether this broker has not resigned.
    pub(super) fn is_active(&self) -> bool {
        self.state.lock().core.is_some()
    }

    /// Answers everybody who waits and forgets the transactions.
    pub(super) fn resign(&self, now: Now) {
        let mut state = self.state.lock();
        let Some(core) = state.core.take() else { return };
        debug!(partition = %self.replica.topic_partition, ids = core.len(), ?now, "forgetting transactions");
        for effect in core.resign() {
            // Nothing is appended or sent any more.
            answer(&mut state, effect);
        }
        state.appends.clear();
        state.ends.clear();
        drop(state);
        self.news.notify_one();
    }

    fn now(&self) -> Now {
        super::now(self.host.origin)
    }

    fn send(self: &Arc<Self>, markers: Vec<Markers>) {
        if let Some(senders) = &self.senders {
            markers.into_iter().for_each(|markers| senders.send(self, markers));
        }
    }

    /// Performs effects until there are none, for an append that is stored at once has effects of its own. Markers are left to
    /// the caller, for when the lock is released.
    fn perform(&self, state: &mut State, now: Now) -> Vec<Markers> {
        let mut markers = Vec::new();
        while let Some(core) = &mut state.core {
            let effects = core.take_effects();
            if effects.is_empty() {
                break;
            }
            for effect in effects {
                match effect {
                    Effect::Append(id, append) => self.append(state, id, &append, now),
                    Effect::Send(some) => markers.push(some),
                    other => answer(state, other),
                }
            }
        }
        markers
    }

    /// Appends under the core's lock, for the log must have the order of the decisions; the followers are waited for by the
    /// keeper.
    fn append(&self, state: &mut State, id: WriteId, append: &Append, now: Now) {
        let appended = self.replica.append(
            encode(append),
            -1,
            Origin::Coordinator,
            self.host.partitions.settings(),
            now.wall,
        );
        let outcome = match appended {
            Err(cause) => Some(Err(cause)),
            Ok((_, required)) => self.replica.is_replicated(required).or_else(|| {
                let request_timeout = || self.host.config.load().request_timeout_ms.into();
                let timeout = append.timeout.map_or_else(request_timeout, |timeout| timeout.0);
                let timeout = Duration::from_millis(u64::try_from(timeout).unwrap_or(0));
                if state.appends.is_empty() {
                    self.news.notify_one();
                }
                state.appends.push_back(UnderWay {
                    id,
                    required,
                    deadline: Instant::now() + timeout,
                });
                None
            }),
        };
        if let (Some(outcome), Some(core)) = (outcome, &mut state.core) {
            core.appended(id, outcome.map_err(|cause| self.failure(&cause)), now);
        }
    }

    fn failure(&self, cause: &PartitionError) -> AppendFailure {
        debug!(partition = %self.replica.topic_partition, %cause, "append failed");
        append_failure(cause)
    }

    fn rearm(&self, state: &State) {
        if state
            .core
            .as_ref()
            .is_none_or(|core| core.next_deadline() < state.armed)
        {
            self.news.notify_one();
        }
    }

    /// Waits for followers and deadlines until the core is gone.
    async fn keep(self: Arc<Self>) {
        loop {
            let (timer, first) = {
                let mut state = self.state.lock();
                let Some(core) = &state.core else { return };
                let armed = core.next_deadline();
                state.armed = armed;
                let timer = self.host.origin + Duration::from_millis(u64::try_from(armed.0).unwrap_or(0));
                let deadline = state.appends.iter().map(|append| append.deadline).min();
                let first = state.appends.front().map(|append| append.required);
                (deadline.map_or(timer, |deadline| deadline.min(timer)), first)
            };
            match first {
                None => {
                    tokio::select! {
                        () = tokio::time::sleep_until(timer) => {}
                        () = self.news.notified() => {}
                    }
                }
                Some(required) => {
                    let waiter = Waiter::new(1);
                    let _place = self.replica.produces().join_from(&waiter, required.offset.0);
                    if self.replica.is_replicated(required).is_none() {
                        tokio::select! {
                            _ = waiter.wait(timer.saturating_duration_since(Instant::now())) => {}
                            () = self.news.notified() => {}
                        }
                    }
                }
            }
            self.settle();
        }
    }

    /// Tells the core which appends are replicated, or will not be, and what time it is.
    fn settle(self: &Arc<Self>) {
        let now = self.now();
        let mut state = self.state.lock();
        let mut settled = Vec::new();
        while let Some(first) = state.appends.front() {
            let Some(outcome) = self.replica.is_replicated(first.required) else {
                break;
            };
            settled.push((first.id, outcome.map_err(|cause| self.failure(&cause))));
            state.appends.pop_front();
        }
        let moment = Instant::now();
        state.appends.retain(|append| {
            let is_late = append.deadline <= moment;
            if is_late {
                debug!(partition = %self.replica.topic_partition, "append not replicated in time");
                settled.push((append.id, Err(AppendFailure::TimedOut)));
            }
            !is_late
        });
        let Some(core) = &mut state.core else { return };
        for (id, outcome) in settled {
            core.appended(id, outcome, now);
        }
        if core.next_deadline() <= now.steady {
            core.tick(now);
        }
        let markers = self.perform(&mut state, now);
        drop(state);
        self.send(markers);
    }
}

/// Hands an answer to who waits for it. A client that has gone does not mind.
fn answer(state: &mut State, effect: Effect) {
    match effect {
        Effect::Initialized(ticket, answer) => {
            if let Some(Waiting::Init(sender)) = state.waiting.remove(&ticket) {
                let _gone = sender.send(answer);
            }
        }
        Effect::Added(ticket, answer) | Effect::Ended(ticket, answer) => {
            if let Some(Waiting::Plain(sender)) = state.waiting.remove(&ticket) {
                let _gone = sender.send(answer);
            }
        }
        Effect::Note(note) => {
            if let Note::Completed { transactional_id, .. } = &note {
                for sender in state.ends.remove(transactional_id).unwrap_or_default() {
                    let _gone = sender.send(());
                }
            }
            log(&note);
        }
        Effect::Append(..) | Effect::Send(_) => {}
    }
}

fn encode(append: &Append) -> Bytes {
    let mut builder = BatchBuilder::new();
    for record in &append.records {
        builder.push(append.timestamp, Some(&record.key), record.value.as_deref());
    }
    builder.build()
}

/// Source: Kafka 3.9 `TransactionStateManager.appendTransactionToLog`.
fn append_failure(cause: &PartitionError) -> AppendFailure {
    use broker_wire::ErrorCode;
    match crate::api::error_code::of_partition(cause) {
        ErrorCode::UnknownTopicOrPartition | ErrorCode::NotEnoughReplicas | ErrorCode::NotEnoughReplicasAfterAppend => {
            AppendFailure::NotAvailable
        }
        ErrorCode::NotLeaderOrFollower | ErrorCode::KafkaStorageError => AppendFailure::NotLeader,
        ErrorCode::RequestTimedOut => AppendFailure::TimedOut,
        ErrorCode::MessageTooLarge | ErrorCode::RecordListTooLarge => AppendFailure::TooLarge,
        _ => AppendFailure::Other,
    }
}

fn log(note: &Note) {
    match note {
        Note::Initialized {
            transactional_id,
            producer,
        } => {
            info!(%transactional_id, producer_id = %producer.id, epoch = %producer.epoch, "initialized a producer");
        }
        Note::TimedOut {
            transactional_id,
            producer,
        } => {
            info!(
                %transactional_id, producer_id = %producer.id, epoch = %producer.epoch,
                "completed rollback of a transaction that took longer than its timeout"
            );
        }
        Note::Resumed {
            transactional_id,
            result,
        } => {
            info!(%transactional_id, ?result, "sending the markers of a transaction that an earlier coordinator prepared");
        }
        Note::Completed {
            transactional_id,
            result,
        } => debug!(%transactional_id, ?result, "transaction complete"),
        Note::MarkersSkipped {
            transactional_id,
            partitions,
        } => {
            info!(%transactional_id, ?partitions, "no markers for partitions that cannot have them");
        }
        Note::MarkersRetried {
            transactional_id,
            partitions,
        } => {
            let is_unexpected = partitions
                .iter()
                .any(|(_, outcome)| *outcome == MarkerOutcome::Unexpected);
            if is_unexpected {
                warn!(%transactional_id, ?partitions, "markers refused for no known reason, will be sent again");
            } else {
                info!(%transactional_id, ?partitions, "markers will be sent again");
            }
        }
        Note::MarkersFenced {
            transactional_id,
            partition,
        } => {
            warn!(%transactional_id, %partition, "marker refused: a newer producer or coordinator has been there");
        }
        Note::Expired { transactional_ids } => {
            info!(ids = transactional_ids.len(), "removed expired transactional ids")
        }
        Note::StoreFailed {
            transactional_id,
            state,
            failure,
        } => warn!(%transactional_id, %state, ?failure, "change of a transaction not stored"),
    }
}
