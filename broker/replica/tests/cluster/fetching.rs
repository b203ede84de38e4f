//! Both ends of replication: a follower's fetchers, driven as `broker` drives them, and the leader that answers them.

use std::collections::BTreeMap;

use broker_replica::follower::{
    AppendOutcome, EpochEnd, EpochQuestion, FetchAnswer, Fetcher, FetcherConfig, InitialFetch, LeaderError, LocalLogs,
    LogOffsets, Next, OffsetQuestion, SessionAnswer, SessionError, Step, Truncation, initial_offset,
};
use broker_replica::leader::FollowerFetch;
use model::{BrokerEpoch, BrokerId, LeaderEpoch, Millis, Offset, TopicId, TopicPartition};

use crate::broker::Role;
use crate::call::{CallId, Caller, FetchPartition, Fetched, Reply, Request};
use crate::cluster::{Cluster, Pid, Timer, trace};
use crate::model_log::ModelLog;

/// `replica.fetch.wait.max.ms`.
const WAIT_MAX: i64 = 500;
/// How many records an answer holds.
const MAX_RECORDS: usize = 5;

/// The fetcher for one leader, and what it waits for.
pub(crate) struct OpenFetcher {
    core: Fetcher,
    serial: u64,
    asking: Option<Asking>,
}

enum Asking {
    Fetch,
    EpochEnds(Vec<EpochQuestion>),
    Offsets(Vec<OffsetQuestion>),
}

/// A follower's fetch that found nothing.
pub(crate) struct WaitingFetch {
    session: Option<i32>,
    partitions: Vec<FetchPartition>,
}

/// What a leader remembers of a follower's fetches: each partition, and the high watermark that it was told last.
#[derive(Default)]
pub(crate) struct FetchSession {
    epoch: i32,
    partitions: BTreeMap<TopicPartition, (FetchPartition, Option<i64>)>,
}

/// Logs as the fetcher's core sees them.
struct Logs<'a>(&'a BTreeMap<TopicPartition, ModelLog>);

impl LocalLogs for Logs<'_> {
    fn offsets(&self, partition: &TopicPartition) -> Option<LogOffsets> {
        self.0.get(partition).map(offsets)
    }

    fn end_offset_for_epoch(&self, partition: &TopicPartition, epoch: LeaderEpoch) -> Option<EpochEnd> {
        let (epoch, end) = self.0.get(partition)?.end_offset_for(epoch.0)?;
        Some(EpochEnd {
            leader_epoch: LeaderEpoch(epoch),
            end_offset: Offset(end),
        })
    }
}

fn offsets(log: &ModelLog) -> LogOffsets {
    LogOffsets {
        log_start_offset: Offset(0),
        log_end_offset: Offset(log.end()),
        latest_epoch: (log.latest_epoch() >= 0).then(|| LeaderEpoch(log.latest_epoch())),
    }
}

impl Cluster {
    // ---- the follower's end

    /// Begins to follow a leader, and ceases to follow any other.
    pub(crate) fn follow(
        &mut self,
        pid: Pid,
        partition: &TopicPartition,
        topic_id: Option<TopicId>,
        leader: BrokerId,
        leader_epoch: LeaderEpoch,
    ) {
        for (other, fetcher) in &mut self.broker(pid).fetchers {
            if *other != leader {
                fetcher.core.remove(partition);
            }
        }
        if leader == BrokerId::NONE {
            return;
        }
        let config = FetcherConfig {
            truncate_on_fetch: self.settings.truncate_on_fetch,
            sessions: self.settings.sessions,
            topic_ids: true,
            fetch_backoff: Millis(100),
        };
        let process = &mut self.processes[pid];
        let Some(log) = process.disk.get(partition) else { return };
        let offset = initial_offset(config.truncate_on_fetch, &offsets(log), Offset(log.high_watermark()));
        let initial = InitialFetch {
            topic_id,
            leader_epoch,
            offset,
        };
        let Some(broker) = &mut process.broker else { return };
        let fetcher = broker.fetchers.entry(leader).or_insert_with(|| OpenFetcher {
            core: Fetcher::new(config),
            serial: 0,
            asking: None,
        });
        fetcher.core.add(partition, initial, &Logs(&process.disk));
        self.fetch(pid, leader);
    }

    pub(crate) fn stop_fetching(&mut self, pid: Pid, partition: &TopicPartition) {
        for fetcher in self.broker(pid).fetchers.values_mut() {
            fetcher.core.remove(partition);
        }
    }

    /// Does what a fetcher wants next, unless it waits for an answer.
    pub(crate) fn fetch(&mut self, pid: Pid, leader: BrokerId) {
        let now = Millis(self.now);
        let Some(to) = self.pid(leader) else { return };
        loop {
            let process = &mut self.processes[pid];
            let (id, life) = (process.id, process.life);
            let Some(broker) = &mut process.broker else { return };
            let broker_epoch = broker.epoch.unwrap_or(BrokerEpoch::NONE);
            let Some(fetcher) = broker.fetchers.get_mut(&leader) else {
                return;
            };
            if fetcher.asking.is_some() {
                return;
            }
            let request = match fetcher.core.next(now, &Logs(&process.disk)) {
                Next::Truncate(partition, truncation) => {
                    self.truncate(pid, leader, &partition, truncation);
                    continue;
                }
                Next::AskEpochEnds(questions) => {
                    fetcher.asking = Some(Asking::EpochEnds(questions.clone()));
                    Request::EpochEnds(questions)
                }
                Next::AskOffsets(questions) => {
                    fetcher.asking = Some(Asking::Offsets(questions.clone()));
                    Request::Offsets(questions)
                }
                Next::Fetch(request) => {
                    fetcher.asking = Some(Asking::Fetch);
                    let partitions = request
                        .partitions
                        .into_iter()
                        .map(|(partition, topic, asked)| FetchPartition {
                            partition,
                            topic: topic.unwrap_or(TopicId::ZERO),
                            leader_epoch: asked.leader_epoch,
                            offset: asked.fetch_offset.0,
                            last_fetched_epoch: asked.last_fetched_epoch.map_or(-1, |epoch| epoch.0),
                        });
                    Request::Fetch {
                        replica: id,
                        broker_epoch,
                        session_id: request.session_id,
                        session_epoch: request.session_epoch,
                        partitions: partitions.collect(),
                        forgotten: request.forgotten.into_iter().map(|it| it.partition).collect(),
                    }
                }
                Next::Wait(until) => {
                    if let Some(until) = until {
                        let after = (until.0 - self.now).max(1);
                        self.timer(pid, after, Timer::Fetch(leader));
                    }
                    return;
                }
            };
            fetcher.serial += 1;
            let caller = Caller::Fetcher {
                pid,
                life,
                leader,
                serial: fetcher.serial,
            };
            self.call(caller, to, request);
            return;
        }
    }

    pub(crate) fn fetch_called(&mut self, pid: Pid, leader: BrokerId, serial: u64, reply: Option<Reply>) {
        let now = Millis(self.now);
        let Some(fetcher) = self
            .broker(pid)
            .fetchers
            .get_mut(&leader)
            .filter(|it| it.serial == serial)
        else {
            return;
        };
        let Some(asking) = fetcher.asking.take() else { return };
        match (asking, reply) {
            (Asking::Fetch, Some(Reply::Fetched(session, answers))) => {
                let taken = fetcher
                    .core
                    .session_answer(session.err(), session.unwrap_or(0), answers.len(), now);
                if taken == SessionAnswer::Accepted {
                    for (partition, answer) in answers {
                        self.fetched(pid, leader, &partition, answer);
                    }
                }
            }
            (Asking::EpochEnds(questions), Some(Reply::EpochEnds(answers))) => {
                for (question, answer) in questions.iter().zip(answers) {
                    let Some((fetcher, disk)) = self.fetcher(pid, leader) else {
                        return;
                    };
                    let step = fetcher.core.epoch_end(question, answer, now, &Logs(disk));
                    self.take_step(pid, leader, &question.partition, step, Vec::new(), 0);
                }
            }
            (Asking::Offsets(questions), Some(Reply::Offsets(answers))) => {
                for (question, answer) in questions.iter().zip(answers) {
                    let Some((fetcher, disk)) = self.fetcher(pid, leader) else {
                        return;
                    };
                    let step = fetcher.core.listed(question, answer, now, &Logs(disk));
                    self.take_step(pid, leader, &question.partition, step, Vec::new(), 0);
                }
            }
            _ => fetcher.core.disconnected(now),
        }
        self.fetch(pid, leader);
    }

    fn fetcher(
        &mut self,
        pid: Pid,
        leader: BrokerId,
    ) -> Option<(&mut OpenFetcher, &BTreeMap<TopicPartition, ModelLog>)> {
        let process = &mut self.processes[pid];
        let fetcher = process.broker.as_mut()?.fetchers.get_mut(&leader)?;
        Some((fetcher, &process.disk))
    }

    fn fetched(&mut self, pid: Pid, leader: BrokerId, partition: &TopicPartition, fetched: Fetched) {
        let now = Millis(self.now);
        let mut answer = FetchAnswer {
            error: None,
            high_watermark: Offset(0),
            diverging: None,
        };
        let mut found = Vec::new();
        match fetched {
            Fetched::Records {
                records,
                high_watermark,
            } => {
                answer.high_watermark = Offset(high_watermark);
                found = records;
            }
            Fetched::Diverging { epoch, end } => {
                answer.diverging = Some(EpochEnd {
                    leader_epoch: LeaderEpoch(epoch),
                    end_offset: Offset(end),
                });
            }
            Fetched::Refused(error) => answer.error = Some(error),
        }
        let Some((fetcher, disk)) = self.fetcher(pid, leader) else {
            return;
        };
        let step = fetcher.core.fetched(partition, &answer, now, &Logs(disk));
        self.take_step(pid, leader, partition, step, found, answer.high_watermark.0);
    }

    fn take_step(
        &mut self,
        pid: Pid,
        leader: BrokerId,
        partition: &TopicPartition,
        step: Step,
        records: Vec<crate::model_log::Record>,
        leader_high_watermark: i64,
    ) {
        match step {
            Step::None => {}
            Step::Failed => trace!(
                self,
                "{} gives up fetching {partition} from {leader}", self.processes[pid].id
            ),
            Step::Truncate(truncation) => self.truncate(pid, leader, partition, truncation),
            Step::Append {
                leader_epoch,
                fetch_offset,
            } => {
                let process = &mut self.processes[pid];
                let id = process.id;
                let follows = process
                    .broker
                    .as_ref()
                    .and_then(|broker| broker.roles.get(partition))
                    .is_some_and(
                        |role| matches!(role, Role::Follower { leader_epoch: known, .. } if *known == leader_epoch),
                    );
                let outcome = match process.disk.get_mut(partition) {
                    Some(log) if follows && log.end() == fetch_offset.0 => {
                        let mut last = None;
                        for record in records.into_iter().take_while(|record| record.epoch <= leader_epoch.0) {
                            log.append(record);
                            last = Some(record);
                        }
                        let last_offset = last.map(|_| Offset(log.end() - 1));
                        log.raise_high_watermark(leader_high_watermark);
                        self.check.replicated(partition, id, log);
                        AppendOutcome::Appended {
                            last_offset,
                            leader_epoch: last.map(|record| LeaderEpoch(record.epoch)),
                            leader_high_watermark: Offset(leader_high_watermark),
                        }
                    }
                    Some(_) if follows => AppendOutcome::Failed,
                    _ => AppendOutcome::Superseded,
                };
                let now = Millis(self.now);
                if let Some((fetcher, _)) = self.fetcher(pid, leader) {
                    fetcher.core.appended(partition, outcome, now);
                }
            }
        }
    }

    fn truncate(&mut self, pid: Pid, leader: BrokerId, partition: &TopicPartition, truncation: Truncation) {
        let process = &mut self.processes[pid];
        let id = process.id;
        let done = match process.disk.get_mut(partition) {
            Some(log) => {
                trace!(self, "{id} truncates {partition} from {} to {truncation:?}", log.end());
                log.truncate(truncation.offset().0);
                self.check.truncated(partition, id, log);
                true
            }
            None => false,
        };
        if let Some((fetcher, disk)) = self.fetcher(pid, leader) {
            fetcher.core.truncated(partition, &truncation, done, &Logs(disk));
        }
    }

    // ---- the leader's end

    /// The session of a fetch, and all partitions that it is about. Source: Kafka 3.9 `FetchManager.newContext`.
    pub(crate) fn in_session(
        &mut self,
        pid: Pid,
        id: i32,
        epoch: i32,
        asked: Vec<FetchPartition>,
        forgotten: &[TopicPartition],
    ) -> Result<(Option<i32>, Vec<FetchPartition>), SessionError> {
        if epoch < 0 {
            return Ok((None, asked));
        }
        let evicted = self.random.chance(1);
        let sessions = &mut self.broker(pid).sessions;
        if epoch == 0 || evicted {
            sessions.remove(&id);
        }
        let id = if epoch == 0 {
            let new = sessions.last_key_value().map_or(1, |(last, _)| last + 1).max(id + 1);
            sessions.insert(new, FetchSession::default());
            new
        } else {
            id
        };
        let session = sessions.get_mut(&id).ok_or(SessionError::IdNotFound)?;
        if session.epoch != epoch {
            return Err(SessionError::InvalidEpoch);
        }
        session.epoch += 1;
        for partition in forgotten {
            session.partitions.remove(partition);
        }
        for asked in asked {
            let known = session.partitions.remove(&asked.partition).and_then(|(_, told)| told);
            session.partitions.insert(asked.partition.clone(), (asked, known));
        }
        Ok((
            Some(id),
            session.partitions.values().map(|(asked, _)| asked.clone()).collect(),
        ))
    }

    /// Answers a fetch; in a session with what is news alone.
    fn answer_fetch(
        &mut self,
        pid: Pid,
        call: CallId,
        session: Option<i32>,
        mut answers: Vec<(TopicPartition, Fetched)>,
    ) {
        if let Some(session) = session.and_then(|id| self.broker(pid).sessions.get_mut(&id)) {
            let full = session.epoch == 1;
            answers.retain(|(partition, answer)| {
                let Fetched::Records {
                    records,
                    high_watermark,
                } = answer
                else {
                    return true;
                };
                let Some((_, told)) = session.partitions.get_mut(partition) else {
                    return full;
                };
                let news = *told != Some(*high_watermark) || !records.is_empty();
                *told = Some(*high_watermark);
                news || full
            });
        }
        self.reply(call, Reply::Fetched(Ok(session.unwrap_or(0)), answers));
    }

    pub(crate) fn serve_fetch(
        &mut self,
        pid: Pid,
        call: CallId,
        replica: BrokerId,
        broker_epoch: BrokerEpoch,
        session: Option<i32>,
        partitions: Vec<FetchPartition>,
    ) {
        let now = Millis(self.now);
        let (answers, ready) = self.read_all(pid, &partitions, Some(replica));
        for (asked, (partition, answer)) in partitions.iter().zip(&answers) {
            if !matches!(answer, Fetched::Records { .. }) {
                continue;
            }
            let process = &mut self.processes[pid];
            let Some(broker) = &mut process.broker else { return };
            let (Some(Role::Leader { state, .. }), Some(log)) =
                (broker.roles.get_mut(partition), process.disk.get(partition))
            else {
                continue;
            };
            let fetch = FollowerFetch {
                replica,
                fetch_offset: Offset(asked.offset),
                log_start_offset: Offset(0),
                broker_epoch,
                leader_end: Offset(log.end()),
                at: now,
            };
            if !state.record_fetch(&fetch) {
                continue;
            }
            let live = &broker.live;
            let proposal = state.propose_expansion(replica, Offset(log.high_watermark()), |id| live.contains(&id));
            if let Some(proposal) = proposal {
                self.propose(pid, partition.clone(), proposal);
            }
            self.raise_high_watermark(pid, partition);
        }
        if ready {
            self.answer_fetch(pid, call, session, answers);
        } else {
            self.broker(pid)
                .waiting_fetches
                .insert(call, WaitingFetch { session, partitions });
            self.timer(pid, WAIT_MAX, Timer::FetchWaited(call));
        }
    }

    /// Reads without being told how far the follower is: that was the first read's.
    pub(crate) fn fetch_waited(&mut self, pid: Pid, call: CallId) {
        if let Some(waiting) = self.broker(pid).waiting_fetches.remove(&call) {
            let (answers, _) = self.read_all(pid, &waiting.partitions, None);
            self.answer_fetch(pid, call, waiting.session, answers);
        }
    }

    /// The log, or the role, has changed: fetches that wait for the partition are answered.
    pub(crate) fn wake_fetches(&mut self, pid: Pid, partition: &TopicPartition) {
        let waiting = &self.broker(pid).waiting_fetches;
        let woken: Vec<_> = (waiting.iter())
            .filter(|(_, fetch)| fetch.partitions.iter().any(|asked| asked.partition == *partition))
            .map(|(call, _)| *call)
            .collect();
        for call in woken {
            self.fetch_waited(pid, call);
        }
    }

    fn read_all(
        &mut self,
        pid: Pid,
        partitions: &[FetchPartition],
        replica: Option<BrokerId>,
    ) -> (Vec<(TopicPartition, Fetched)>, bool) {
        let mut ready = partitions.is_empty();
        let mut answers = Vec::with_capacity(partitions.len());
        for asked in partitions {
            let answer = self.read(pid, asked, replica);
            ready |= !matches!(&answer, Fetched::Records { records, .. } if records.is_empty());
            answers.push((asked.partition.clone(), answer));
        }
        (answers, ready)
    }

    /// The log that this broker leads at this epoch.
    fn led(
        &self,
        pid: Pid,
        partition: &TopicPartition,
        epoch: LeaderEpoch,
    ) -> Result<(&broker_replica::leader::LeaderState, &ModelLog), LeaderError> {
        let process = &self.processes[pid];
        let broker = process.broker.as_ref().ok_or(LeaderError::NotLeaderOrFollower)?;
        let role = broker.roles.get(partition).ok_or(LeaderError::NotLeaderOrFollower)?;
        if epoch < role.leader_epoch() {
            return Err(LeaderError::FencedLeaderEpoch);
        }
        if epoch > role.leader_epoch() {
            return Err(LeaderError::UnknownLeaderEpoch);
        }
        match (role, process.disk.get(partition)) {
            (Role::Leader { state, .. }, Some(log)) => Ok((state, log)),
            _ => Err(LeaderError::NotLeaderOrFollower),
        }
    }

    fn read(&self, pid: Pid, asked: &FetchPartition, replica: Option<BrokerId>) -> Fetched {
        let (state, log) = match self.led(pid, &asked.partition, asked.leader_epoch) {
            Ok(led) => led,
            Err(error) => return Fetched::Refused(error),
        };
        if log.topic != asked.topic {
            return Fetched::Refused(LeaderError::InconsistentTopicId);
        }
        if replica.is_some_and(|replica| !state.followers.contains_key(&replica)) {
            return Fetched::Refused(LeaderError::UnknownLeaderEpoch);
        }
        if asked.last_fetched_epoch >= 0 {
            match log.end_offset_for(asked.last_fetched_epoch) {
                None => return Fetched::Refused(LeaderError::OffsetOutOfRange),
                Some((epoch, end)) if epoch < asked.last_fetched_epoch || end < asked.offset => {
                    return Fetched::Diverging { epoch, end };
                }
                Some(_) => {}
            }
        }
        if asked.offset < 0 || asked.offset > log.end() {
            return Fetched::Refused(LeaderError::OffsetOutOfRange);
        }
        Fetched::Records {
            records: log.read(asked.offset, MAX_RECORDS),
            high_watermark: log.high_watermark(),
        }
    }

    pub(crate) fn serve_epoch_ends(&mut self, pid: Pid, call: CallId, questions: &[EpochQuestion]) {
        let answers = questions.iter().map(|question| {
            let (_, log) = self.led(pid, &question.partition, question.current_leader_epoch)?;
            let (epoch, end) = log.end_offset_for(question.leader_epoch.0).unwrap_or((-1, -1));
            Ok(EpochEnd {
                leader_epoch: LeaderEpoch(epoch),
                end_offset: Offset(end),
            })
        });
        let answers = answers.collect();
        self.reply(call, Reply::EpochEnds(answers));
    }

    pub(crate) fn serve_offsets(&mut self, pid: Pid, call: CallId, questions: &[OffsetQuestion]) {
        let answers = questions.iter().map(|question| {
            let (_, log) = self.led(pid, &question.partition, question.current_leader_epoch)?;
            Ok(Offset(if question.latest { log.end() } else { 0 }))
        });
        let answers = answers.collect();
        self.reply(call, Reply::Offsets(answers));
    }
}
