//! One fetcher: a task, a connection to one leader, and the core that says what to do.
//!
//! Appends happen on this task, from slices of the response's own frame, as a producer's do on the task of its
//! connection; truncations, which may have to read and rename, go to the blocking pool. A fetch that waits at the leader
//! does not hold up a partition that has just come: it is given up soon, with its connection, and a full one is sent.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use broker_replica::follower::{
    AppendOutcome, EpochQuestion, FetchRequest, Fetcher, InitialFetch, LeaderError, Next, OffsetQuestion,
    SessionAnswer, Step, Truncation, initial_offset,
};
use broker_wire::Request;
use broker_wire::client::{ClientError, Options};
use broker_wire::serial::SerialConnection;
use coordinator_service::InterBrokerProtocol;
use hashbrown::HashMap;
use kafka_protocol::messages::FetchResponse;
use kafka_protocol::messages::fetch_response::PartitionData;
use model::{Millis, Offset, TopicId, TopicPartition};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};
use tracing::{debug, error, info, warn};

use super::local_logs::offsets;
use super::request::{self, Replica};
use super::{BrokerLogs, Command, FetcherKey, Followed, Replication, fetcher_config};
use crate::partition::{Fetched, FollowError};
use crate::{Broker, blocking, clock};

/// How long a fetch that waits at the leader may keep new partitions from being fetched. Under load it is answered
/// sooner than this; the long wait is that of an idle leader (`replica.fetch.wait.max.ms`).
const PATIENCE: Duration = Duration::from_millis(5);

/// For each partition of the fetcher it waits longer, since the fetch after it is a full one.
const PATIENCE_PER_PARTITION: Duration = Duration::from_micros(20);

/// How often the leader is told of log start offsets that retention has moved here.
const LOG_STARTS_INTERVAL: Duration = Duration::from_secs(5);

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
enum NoAnswer {
    /// The leader's address is not known (yet).
    #[error("the leader is not among the live brokers, or has no listener for brokers")]
    UnknownLeader,
    /// No connection, or it has ended.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// Given up for the sake of partitions that have just come.
    #[error("given up for new partitions")]
    Abandoned,
    /// The fetcher is to end.
    #[error("stopped")]
    Stopped,
}

/// Over what a request goes.
enum Target {
    Open(SerialConnection),
    /// To be connected to.
    Closed(Option<(String, u16)>, Options),
}

/// What a leader answers of each partition; it may leave some out.
struct Answers<'a, T>(HashMap<(&'a str, i32), Result<T, LeaderError>>);

impl<'a, T: Copy> Answers<'a, T> {
    fn of(answers: impl Iterator<Item = (&'a str, i32, Result<T, LeaderError>)>) -> Self {
        Self(
            answers
                .map(|(topic, partition, answer)| ((topic, partition), answer))
                .collect(),
        )
    }

    fn to(&self, name: &TopicPartition) -> Result<T, LeaderError> {
        let answer = self.0.get(&(&*name.topic, name.partition)).copied();
        answer.unwrap_or(Err(LeaderError::UnknownTopicOrPartition))
    }
}

pub(super) struct FetcherTask {
    key: FetcherKey,
    replication: Arc<Replication>,
    broker: Arc<Broker>,
    commands: mpsc::UnboundedReceiver<Command>,
    core: Fetcher,
    logs: BrokerLogs,
    protocol: InterBrokerProtocol,
    truncate_on_fetch: bool,
    connection: Option<SerialConnection>,
    /// The leader could not be asked last time: said once, not each second.
    lost: bool,
    log_starts_told: Instant,
}

impl FetcherTask {
    pub(super) fn new(
        key: FetcherKey,
        replication: Arc<Replication>,
        broker: Arc<Broker>,
        commands: mpsc::UnboundedReceiver<Command>,
    ) -> Self {
        let config = fetcher_config(&broker);
        Self {
            key,
            replication,
            commands,
            core: Fetcher::new(config),
            logs: BrokerLogs::new(&broker),
            protocol: crate::controller::inter_broker_protocol(&broker.config.load()),
            truncate_on_fetch: config.truncate_on_fetch,
            broker,
            connection: None,
            lost: false,
            log_starts_told: Instant::now(),
        }
    }

    /// Fetches until its commands end.
    pub(super) async fn run(mut self) {
        let outcome = self.fetch_on().await;
        debug!(leader = %self.key.leader, fetcher_id = self.key.fetcher_id, ?outcome, "fetcher ended");
    }

    async fn fetch_on(&mut self) -> NoAnswer {
        loop {
            loop {
                match self.commands.try_recv() {
                    Ok(command) => {
                        self.obey(command);
                    }
                    Err(mpsc::error::TryRecvError::Empty) => break,
                    Err(mpsc::error::TryRecvError::Disconnected) => return NoAnswer::Stopped,
                }
            }
            if self.log_starts_told.elapsed() >= LOG_STARTS_INTERVAL {
                self.log_starts_told = Instant::now();
                self.core.log_starts_may_have_moved(&self.logs);
            }
            let done = match self.core.next(clock::now(), &self.logs) {
                Next::Wait(until) => self.wait(until).await,
                Next::Truncate(partition, truncation) => {
                    self.truncate(&partition, &truncation).await;
                    Ok(())
                }
                Next::AskEpochEnds(questions) => self.ask_epoch_ends(&questions).await,
                Next::AskOffsets(questions) => self.ask_offsets(&questions).await,
                Next::Fetch(request) => self.fetch(&request).await,
            };
            match done {
                Ok(()) => {}
                Err(NoAnswer::Stopped) => return NoAnswer::Stopped,
                Err(NoAnswer::Abandoned) => self.core.abandoned(),
                Err(failed @ (NoAnswer::UnknownLeader | NoAnswer::Client(_))) => self.disconnected(&failed),
            }
        }
    }

    fn disconnected(&mut self, failed: &NoAnswer) {
        let (leader, fetcher_id) = (self.key.leader, self.key.fetcher_id);
        if self.lost {
            debug!(%leader, fetcher_id, error = %failed, "leader still cannot be asked");
        } else {
            warn!(%leader, fetcher_id, error = %failed, "leader cannot be asked, trying again");
        }
        self.lost = true;
        self.connection = None;
        self.core.disconnected(clock::now());
    }

    /// Takes up a command; whether there are partitions to be fetched that were not before.
    fn obey(&mut self, command: Command) -> bool {
        match command {
            Command::Cease(partitions) => {
                for partition in &partitions {
                    self.core.remove(partition);
                }
                false
            }
            Command::Follow(followed) => {
                for it in &followed {
                    self.follow(it);
                }
                // The controller believes that the leader lives.
                self.core.resume();
                true
            }
        }
    }

    fn follow(&mut self, followed: &Followed) {
        let Some(log) = self.logs.log(&followed.partition) else {
            // Its directory has failed, or it is gone again: that will be said, or has been.
            return;
        };
        let initial = InitialFetch {
            topic_id: followed.topic_id,
            leader_epoch: followed.leader_epoch,
            offset: initial_offset(self.truncate_on_fetch, &offsets(&log), log.high_watermark()),
        };
        self.core.add(&followed.partition, initial, &self.logs);
    }

    fn begin_again(&mut self, name: &TopicPartition) {
        let topic_id = self.core.topic_id(&name.topic);
        if let Some(state) = self.core.remove(name) {
            self.follow(&Followed {
                partition: name.clone(),
                topic_id,
                leader_epoch: state.leader_epoch,
            });
        }
    }

    /// Waits for that moment, or a command, or news of where brokers are.
    async fn wait(&mut self, until: Option<Millis>) -> Result<(), NoAnswer> {
        if self.core.is_empty() {
            // Whoever has nothing to ask keeps nobody's connection.
            self.connection = None;
            self.lost = false;
        }
        let mut news = self.broker.metadata.changes();
        let unreachable = self.lost && self.address().is_none();
        let sleep = async {
            match until {
                Some(until) => {
                    let left = u64::try_from((until - clock::now()).0).unwrap_or(0);
                    tokio::time::sleep(Duration::from_millis(left)).await;
                }
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            command = self.commands.recv() => match command {
                Some(command) => {
                    self.obey(command);
                }
                None => return Err(NoAnswer::Stopped),
            },
            _ = news.changed(), if unreachable => self.core.resume(),
            () = sleep => {}
        }
        Ok(())
    }

    /// Where the leader listens for brokers.
    fn address(&self) -> Option<(String, u16)> {
        let image = self.broker.metadata.image();
        let config = self.broker.config.load();
        let endpoint = image
            .brokers
            .get(&self.key.leader)?
            .endpoints
            .get(config.inter_broker_listener_name.as_str())?;
        Some((endpoint.host.to_string(), u16::try_from(endpoint.port).ok()?))
    }

    fn replica(&self) -> Replica {
        Replica {
            id: self.broker.id,
            epoch: self.broker.epoch(),
        }
    }

    /// Sends a request and waits for its answer, taking up commands meanwhile.
    async fn ask<R: Request>(&mut self, request: &R, version: i16, may_wait: bool) -> Result<R::Response, NoAnswer> {
        let open = self.connection.take().filter(|connection| !connection.is_broken());
        let target = match open {
            Some(connection) => Target::Open(connection),
            None => Target::Closed(self.address(), self.options()),
        };
        let exchange = pin!(async {
            let mut connection = match target {
                Target::Open(connection) => connection,
                Target::Closed(address, options) => {
                    let (host, port) = address.ok_or(NoAnswer::UnknownLeader)?;
                    SerialConnection::connect(&host, port, options).await?
                }
            };
            let response = connection.send(request, version).await?;
            Ok::<_, NoAnswer>((connection, response))
        });
        let mut exchange = exchange;
        let mut give_up = None;
        let (connection, response) = loop {
            tokio::select! {
                biased;
                done = &mut exchange => break done?,
                command = self.commands.recv() => match command {
                    None => return Err(NoAnswer::Stopped),
                    Some(command) => {
                        if self.obey(command) && may_wait && give_up.is_none() {
                            let partitions = u32::try_from(self.core.len()).unwrap_or(u32::MAX);
                            let patience = PATIENCE + PATIENCE_PER_PARTITION.saturating_mul(partitions);
                            give_up = Some(Instant::now() + patience);
                        }
                    }
                },
                () = sleep_until(give_up.unwrap_or_else(Instant::now)), if give_up.is_some() => {
                    return Err(NoAnswer::Abandoned);
                }
            }
        };
        if self.lost {
            info!(leader = %self.key.leader, fetcher_id = self.key.fetcher_id, "leader answers again");
            self.lost = false;
        }
        self.connection = Some(connection);
        Ok(response)
    }

    fn options(&self) -> Options {
        let config = self.broker.config.load();
        let timeout = Duration::from_millis(u64::try_from(config.replica_socket_timeout_ms).unwrap_or(0));
        Options {
            client_id: format!("broker-{}-fetcher-{}", self.broker.id, self.key.fetcher_id),
            connect_timeout: timeout,
            request_timeout: timeout,
            // A first batch comes whole, however small `replica.fetch.response.max.bytes` is.
            max_response_len: i32::MAX as usize,
            max_in_flight: 1,
            connector: self.broker.connectors().inter_broker.clone(),
        }
    }

    async fn ask_epoch_ends(&mut self, questions: &[EpochQuestion]) -> Result<(), NoAnswer> {
        let version = self.protocol.offset_for_leader_epoch;
        let request = request::epoch_ends(questions, version, self.replica());
        let response = self.ask(&request, version, false).await?;
        let answers = Answers::of(response.topics.iter().flat_map(|topic| {
            let answers = topic.partitions.iter();
            answers.map(|it| (topic.topic.as_str(), it.partition, request::epoch_answer(it)))
        }));
        for question in questions {
            let name = &question.partition;
            let answer = answers.to(name);
            let step = self.core.epoch_end(question, answer, clock::now(), &self.logs);
            self.perform(name, step).await;
        }
        Ok(())
    }

    async fn ask_offsets(&mut self, questions: &[OffsetQuestion]) -> Result<(), NoAnswer> {
        let version = self.protocol.list_offsets;
        let request = request::list_offsets(questions, version, self.replica());
        let response = self.ask(&request, version, false).await?;
        let answers = Answers::of(response.topics.iter().flat_map(|topic| {
            let answers = topic.partitions.iter();
            answers.map(|it| (topic.name.as_str(), it.partition_index, request::offset_answer(it)))
        }));
        for question in questions {
            let name = &question.partition;
            let answer = answers.to(name);
            let step = self.core.listed(question, answer, clock::now(), &self.logs);
            self.perform(name, step).await;
        }
        Ok(())
    }

    async fn fetch(&mut self, asked: &FetchRequest) -> Result<(), NoAnswer> {
        let version = request::fetch_version(self.protocol.fetch, asked);
        let request = {
            let config = self.broker.config.load();
            request::fetch(asked, version, self.replica(), &config)
        };
        let response = self.ask(&request, version, true).await?;
        let count = response.responses.iter().map(|topic| topic.partitions.len()).sum();
        let error = request::session_error(response.error_code);
        match self
            .core
            .session_answer(error, response.session_id, count, clock::now())
        {
            SessionAnswer::Accepted => self.fetched(response).await,
            SessionAnswer::Refused => {
                info!(
                    leader = %self.key.leader, session = asked.session_id, epoch = asked.session_epoch, ?error,
                    "fetch session ended by the leader, beginning anew"
                );
            }
        }
        Ok(())
    }

    async fn fetched(&mut self, response: FetchResponse) {
        for topic in response.responses {
            let name = if topic.topic_id.is_nil() {
                self.core.topic_key(&topic.topic)
            } else {
                self.core.topic_name(TopicId(*topic.topic_id.as_bytes()))
            };
            // Removed since it was asked.
            let Some(name) = name.cloned() else { continue };
            for data in topic.partitions {
                let partition = TopicPartition::new(Arc::clone(&name), data.partition_index);
                self.fetched_partition(&partition, data).await;
            }
        }
    }

    async fn fetched_partition(&mut self, partition: &TopicPartition, data: PartitionData) {
        let answer = request::fetch_answer(&data);
        let now = clock::now();
        if let Some(refusal) = answer.error {
            self.report(partition, refusal);
        }
        match self.core.fetched(partition, &answer, now, &self.logs) {
            Step::Append {
                leader_epoch,
                fetch_offset,
            } => {
                let fetched = Fetched {
                    leader_epoch,
                    fetch_offset,
                    records: data.records.unwrap_or_default(),
                    high_watermark: Offset(data.high_watermark),
                    log_start_offset: Offset(data.log_start_offset),
                };
                let outcome = self.append(partition, fetched, now);
                let step = self.core.appended(partition, outcome, now);
                self.perform(partition, step).await;
            }
            step => self.perform(partition, step).await,
        }
    }

    fn append(&mut self, name: &TopicPartition, fetched: Fetched, now: Millis) -> AppendOutcome {
        let Some(partition) = self.logs.partition(name) else {
            return AppendOutcome::Superseded;
        };
        let (leader_high_watermark, offset) = (fetched.high_watermark, fetched.fetch_offset);
        let bytes = fetched.records.len();
        match partition.append_as_follower(fetched, now) {
            Ok(done) => {
                let quota = &self.broker.replication_quotas.follower;
                if bytes > 0 && quota.is_throttled(&name.topic, name.partition) {
                    quota.record(bytes, now);
                }
                if done.log_start_moved {
                    self.core.log_start_moved(name);
                }
                AppendOutcome::Appended {
                    last_offset: done.appended.as_ref().map(|it| it.last_offset),
                    leader_epoch: done.appended.map(|it| it.leader_epoch).filter(|epoch| epoch.0 >= 0),
                    leader_high_watermark,
                }
            }
            Err(FollowError::Superseded(_)) => AppendOutcome::Superseded,
            Err(cause @ FollowError::OffsetMismatch { .. }) => {
                // Another fetcher has appended, before this partition came from it: begin again where the log is now.
                info!(partition = %name, %cause, "beginning again at the end of the log");
                self.begin_again(name);
                AppendOutcome::Superseded
            }
            Err(cause) if cause.is_corrupt() => {
                error!(partition = %name, %offset, %cause, "found invalid messages during fetch");
                AppendOutcome::Corrupt
            }
            Err(cause) => {
                error!(partition = %name, %offset, %cause, "records fetched cannot be appended");
                AppendOutcome::Failed
            }
        }
    }

    /// Does what the core demands, until it demands nothing more of this partition.
    async fn perform(&mut self, partition: &TopicPartition, step: Step) {
        match step {
            // Records are at hand only where they are fetched.
            Step::None | Step::Append { .. } => {}
            Step::Failed => self.replication.mark_failed(partition),
            Step::Truncate(truncation) => self.truncate(partition, &truncation).await,
        }
    }

    async fn truncate(&mut self, name: &TopicPartition, truncation: &Truncation) {
        let followed = self.core.partition(name).map(|state| state.leader_epoch);
        let (Some(partition), Some(leader_epoch)) = (self.logs.partition(name), followed) else {
            self.core
                .delay(name, clock::now() + fetcher_config(&self.broker).fetch_backoff);
            return;
        };
        info!(partition = %name, ?truncation, "truncating to where the leader's log agrees");
        let what = *truncation;
        let outcome = blocking::run(move || partition.truncate_as_follower(&what, leader_epoch)).await;
        if let Err(cause) = &outcome
            && !matches!(cause, FollowError::Superseded(_))
        {
            error!(partition = %name, %cause, "log cannot be truncated");
        }
        if let Step::Failed = self.core.truncated(name, truncation, outcome.is_ok(), &self.logs) {
            self.replication.mark_failed(name);
        }
    }

    /// Says why a leader refuses a partition, as loudly as it deserves.
    fn report(&self, partition: &TopicPartition, refusal: LeaderError) {
        let leader = self.key.leader;
        match refusal {
            LeaderError::NotLeaderOrFollower | LeaderError::UnknownLeaderEpoch => {
                debug!(%partition, %leader, ?refusal, "the leader does not answer for the partition yet");
            }
            LeaderError::OffsetOutOfRange | LeaderError::FencedLeaderEpoch => {
                info!(%partition, %leader, ?refusal, "the leader has another log than expected");
            }
            LeaderError::UnknownTopicOrPartition | LeaderError::UnknownTopicId | LeaderError::InconsistentTopicId => {
                warn!(
                    %partition, %leader, ?refusal,
                    "the leader does not know the partition; while it is created or deleted this passes"
                );
            }
            LeaderError::OffsetMovedToTieredStorage | LeaderError::Other(_) => {
                error!(%partition, %leader, ?refusal, "error for partition");
            }
        }
    }
}

#[cfg(test)]
#[path = "fetcher_tests.rs"]
mod tests;
