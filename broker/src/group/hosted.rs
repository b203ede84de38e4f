//! One core and what it needs to live: its partition, its waiting requests, its clock.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use broker_log::append::Origin;
use broker_log::batch::BatchBuilder;
use broker_log::compress::{Compression, CompressionType};
use bytes::Bytes;
use coordinator::group::{
    AppendFailure, Batch, CommitAnswer, Effect, GroupError, GroupOverview, Groups, JoinAnswer, Note, Now, SyncAnswer,
    Ticket, WriteId,
};
use model::{Millis, Offset, ProducerEpoch, ProducerId, TopicPartition};
use parking_lot::Mutex;
use tokio::runtime::Handle;
use tokio::sync::{Notify, oneshot};
use tokio::time::Instant;
use tracing::{debug, info, warn};

use super::EndedTransaction;
use crate::config::ConfigHandle;
use crate::partition::{Partition, PartitionError, Partitions, Required, replicated};
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
    /// The core's next deadline has come nearer, or the core is gone.
    earlier: Notify,
    replica: Arc<Partition>,
    host: Host,
}

struct State {
    /// `None` once this broker has resigned.
    groups: Option<Groups>,
    waiting: HashMap<Ticket, Waiting>,
    /// When the timer will wake.
    armed: Millis,
}

/// A request that waits for its answer.
enum Waiting {
    Join(oneshot::Sender<JoinAnswer>),
    Sync(oneshot::Sender<Result<SyncAnswer, GroupError>>),
    Commit(oneshot::Sender<CommitAnswer>),
}

impl Hosted {
    pub(super) fn new(groups: Groups, replica: Arc<Partition>, host: Host) -> Arc<Self> {
        let armed = groups.next_deadline();
        Arc::new(Self {
            state: Mutex::new(State {
                groups: Some(groups),
                waiting: HashMap::new(),
                armed,
            }),
            earlier: Notify::new(),
            replica,
            host,
        })
    }

    /// Begins to keep time, and does what loading has left to do.
    pub(super) fn start(self: &Arc<Self>) {
        let this = Arc::clone(self);
        self.host
            .runtime
            .spawn(vital("group timer", async move { this.keep_time().await }));
        self.act(super::now(self.host.origin), |_| ());
    }

    /// Sleeps from deadline to deadline until the core is gone.
    async fn keep_time(self: Arc<Self>) {
        loop {
            let due = {
                let mut state = self.state.lock();
                let Some(groups) = &state.groups else { return };
                state.armed = groups.next_deadline();
                state.armed
            };
            let at = self.host.origin + Duration::from_millis(u64::try_from(due.0).unwrap_or(0));
            tokio::select! {
                () = tokio::time::sleep_until(at) => {}
                () = self.earlier.notified() => continue,
            }
            let now = super::now(self.host.origin);
            self.act(now, |groups| groups.tick(now));
        }
    }

    /// Lets the core do something, and performs what it decides. `None` if this broker has resigned.
    pub(super) fn act<T>(self: &Arc<Self>, now: Now, what: impl FnOnce(&mut Groups) -> T) -> Option<T> {
        let mut state = self.state.lock();
        let done = what(state.groups.as_mut()?);
        self.perform(&mut state, now);
        self.rearm(&state);
        Some(done)
    }

    /// The partition that it is the coordinator for.
    pub(super) fn replica(&self) -> &Arc<Partition> {
        &self.replica
    }

    /// Looks without changing anything.
    pub(super) fn look<T>(&self, what: impl FnOnce(&Groups) -> T) -> Option<T> {
        self.state.lock().groups.as_ref().map(what)
    }

    pub(super) fn list(&self) -> Vec<GroupOverview> {
        self.look(|groups| groups.list().collect()).unwrap_or_default()
    }

    pub(super) fn partitions_deleted(self: &Arc<Self>, partitions: &[TopicPartition], now: Now) {
        self.act(now, |groups| groups.partitions_deleted(partitions, now));
    }

    pub(super) fn transactions_ended(self: &Arc<Self>, ended: &[EndedTransaction], now: Now) {
        self.act(now, |groups| ended.iter().for_each(|ended| ended.tell(groups)));
    }

    /// A request whose answer may come later.
    fn ask<T>(
        self: &Arc<Self>,
        ticket: Ticket,
        now: Now,
        waiting: impl FnOnce(oneshot::Sender<T>) -> Waiting,
        what: impl FnOnce(&mut Groups),
    ) -> oneshot::Receiver<T> {
        let (sender, receiver) = oneshot::channel();
        let mut state = self.state.lock();
        let State {
            groups, waiting: all, ..
        } = &mut *state;
        // Resigned: the sender is dropped, and the receiver learns it so.
        if let Some(groups) = groups {
            all.insert(ticket, waiting(sender));
            what(groups);
            self.perform(&mut state, now);
            self.rearm(&state);
        }
        receiver
    }

    pub(super) fn ask_join(
        self: &Arc<Self>,
        ticket: Ticket,
        now: Now,
        what: impl FnOnce(&mut Groups),
    ) -> oneshot::Receiver<JoinAnswer> {
        self.ask(ticket, now, Waiting::Join, what)
    }

    pub(super) fn ask_sync(
        self: &Arc<Self>,
        ticket: Ticket,
        now: Now,
        what: impl FnOnce(&mut Groups),
    ) -> oneshot::Receiver<Result<SyncAnswer, GroupError>> {
        self.ask(ticket, now, Waiting::Sync, what)
    }

    pub(super) fn ask_commit(
        self: &Arc<Self>,
        ticket: Ticket,
        now: Now,
        what: impl FnOnce(&mut Groups),
    ) -> oneshot::Receiver<CommitAnswer> {
        self.ask(ticket, now, Waiting::Commit, what)
    }

    /// Answers everybody who waits and forgets the groups.
    pub(super) fn resign(&self, now: Now) {
        let mut state = self.state.lock();
        let Some(groups) = state.groups.take() else { return };
        for effect in groups.resign(now) {
            // Nothing is appended any more.
            answer(&mut state, effect);
        }
        drop(state);
        self.earlier.notify_one();
    }

    /// Performs effects until there are none: an append that is stored at once has effects of its own.
    fn perform(self: &Arc<Self>, state: &mut State, now: Now) {
        while let Some(groups) = &mut state.groups {
            let effects = groups.take_effects();
            if effects.is_empty() {
                return;
            }
            for effect in effects {
                match effect {
                    Effect::Append(id, batch) => self.append(state, id, &batch, now),
                    Effect::AppendLazily(batch) => {
                        if let Err(cause) = self.append_locally(&batch, 1) {
                            warn!(partition = %self.replica.topic_partition, %cause, "tombstones not written, will be again");
                        }
                    }
                    other => answer(state, other),
                }
            }
        }
    }

    /// Appends under the core's lock, for the log must have the order of the decisions; waits for the followers behind.
    fn append(self: &Arc<Self>, state: &mut State, id: WriteId, batch: &Batch, now: Now) {
        let acks = self.host.config.load().offsets_commit_required_acks;
        let outcome = match self.append_locally(batch, acks) {
            Err(cause) => Some(Err(cause)),
            Ok((first, end)) => {
                if let Some(groups) = &mut state.groups {
                    groups.placed(id, first);
                }
                match acks {
                    -1 => self.outcome(id, first, end),
                    _ => Some(Ok(first)),
                }
            }
        };
        if let (Some(outcome), Some(groups)) = (outcome, &mut state.groups) {
            groups.appended(id, outcome.map_err(|cause| self.failure(&cause)), now);
        }
    }

    /// What has become of an append with acks=all; `None` if that will be told later.
    fn outcome(self: &Arc<Self>, id: WriteId, first: Offset, end: Required) -> Option<Result<Offset, PartitionError>> {
        let done = self.replica.is_replicated(end).map(|done| done.map(|()| first));
        if done.is_none() {
            self.await_followers(id, first, end);
        }
        done
    }

    /// Appends to the leader's log; first offset, and what is to be waited for.
    fn append_locally(&self, batch: &Batch, acks: i16) -> Result<(Offset, Required), PartitionError> {
        let bytes = encode(batch, self.host.config.load().offsets_topic_compression_codec);
        let settings = self.host.partitions.settings();
        let (appended, required) = self.replica.append_verified(
            bytes,
            acks,
            Origin::Coordinator,
            batch.verification,
            settings,
            crate::clock::now(),
        )?;
        Ok((appended.first_offset, required))
    }

    fn await_followers(self: &Arc<Self>, id: WriteId, first: Offset, end: Required) {
        let this = Arc::clone(self);
        let timeout = self.host.config.load().offsets_commit_timeout_ms;
        let timeout = Duration::from_millis(u64::try_from(timeout).unwrap_or(0));
        self.host.runtime.spawn(async move {
            let outcome = replicated(&this.replica, end, timeout).await;
            let outcome = outcome.map(|()| first).map_err(|cause| this.failure(&cause));
            let now = super::now(this.host.origin);
            this.act(now, |groups| groups.appended(id, outcome, now));
        });
    }

    fn failure(&self, cause: &PartitionError) -> AppendFailure {
        debug!(partition = %self.replica.topic_partition, %cause, "append failed");
        append_failure(cause)
    }

    fn rearm(&self, state: &State) {
        if state
            .groups
            .as_ref()
            .is_none_or(|groups| groups.next_deadline() < state.armed)
        {
            self.earlier.notify_one();
        }
    }
}

/// Hands an answer to who waits for it. A client that has gone does not mind.
fn answer(state: &mut State, effect: Effect) {
    match effect {
        Effect::Joined(ticket, answer) => {
            if let Some(Waiting::Join(sender)) = state.waiting.remove(&ticket) {
                let _gone = sender.send(answer);
            }
        }
        Effect::Synced(ticket, answer) => {
            if let Some(Waiting::Sync(sender)) = state.waiting.remove(&ticket) {
                let _gone = sender.send(answer);
            }
        }
        Effect::Committed(ticket, answer) => {
            if let Some(Waiting::Commit(sender)) = state.waiting.remove(&ticket) {
                let _gone = sender.send(answer);
            }
        }
        Effect::Note(note) => log(&note),
        Effect::Append(..) | Effect::AppendLazily(_) => {}
    }
}

/// The batch as Kafka's coordinator writes it, compressed as `offsets.topic.compression.codec` says.
fn encode(batch: &Batch, codec: i32) -> Bytes {
    let (id, epoch) = batch.producer.unwrap_or((ProducerId::NONE, ProducerEpoch::NONE));
    let mut builder = BatchBuilder::new()
        .producer(id, epoch, batch.base_sequence)
        .transactional(batch.producer.is_some());
    for record in &batch.records {
        builder.push(batch.timestamp, Some(&record.key), record.value.as_deref());
    }
    let codec = u8::try_from(codec)
        .ok()
        .and_then(CompressionType::from_id)
        .unwrap_or_default();
    if codec == CompressionType::None {
        return builder.build();
    }
    let plain = builder.clone();
    builder
        .build_compressed(Compression::of(codec))
        .unwrap_or_else(|cause| {
            warn!(%cause, "writing to the offsets topic without compression");
            plain.build()
        })
}

/// Source: Kafka 3.9 `GroupMetadataManager.storeGroup`, `maybeConvertOffsetCommitError`.
fn append_failure(cause: &PartitionError) -> AppendFailure {
    use broker_wire::ErrorCode;
    match crate::api::error_code::of_partition(cause) {
        ErrorCode::UnknownTopicOrPartition | ErrorCode::NotEnoughReplicas | ErrorCode::NotEnoughReplicasAfterAppend => {
            AppendFailure::NotAvailable
        }
        ErrorCode::NotLeaderOrFollower | ErrorCode::KafkaStorageError => AppendFailure::NotLeader,
        ErrorCode::RequestTimedOut => AppendFailure::TimedOut,
        ErrorCode::MessageTooLarge | ErrorCode::RecordListTooLarge => AppendFailure::TooLarge,
        ErrorCode::InvalidProducerEpoch => AppendFailure::Fenced,
        ErrorCode::InvalidTxnState => AppendFailure::NoTransaction,
        _ => AppendFailure::Other,
    }
}

fn log(note: &Note) {
    match note {
        Note::Rebalancing {
            group_id,
            generation_id,
            reason,
        } => {
            info!(group = %group_id, generation = generation_id, reason, "preparing to rebalance group");
        }
        Note::Stabilized {
            group_id,
            generation_id,
            members,
        } => {
            info!(group = %group_id, generation = generation_id, members, "stabilized group");
        }
        Note::RebalanceCompleted {
            group_id,
            generation_id,
        } => {
            info!(group = %group_id, generation = generation_id, "assignment received from leader and stored");
        }
        Note::Emptied {
            group_id,
            generation_id,
        } => {
            info!(group = %group_id, generation = generation_id, "group is now empty");
        }
        Note::MemberFailed {
            group_id,
            member_id,
            missed,
        } => {
            info!(group = %group_id, member = %member_id, ?missed, "member has failed, removed from the group");
        }
        Note::OffsetsExpired { group_id, count } => info!(group = %group_id, count, "removed expired offsets"),
        Note::Removed {
            group_id,
            generation_id,
        } => {
            info!(group = %group_id, generation = generation_id, "group removed");
        }
        Note::StoreFailed {
            group_id,
            generation_id,
            failure,
        } => {
            warn!(group = %group_id, generation = generation_id, ?failure, "group metadata not stored");
        }
    }
}
