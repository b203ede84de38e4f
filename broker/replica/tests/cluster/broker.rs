//! A broker round the replica cores: what the controller says, produces, and proposals of in-sync sets, as `broker` does it.
//!
//! Its logs lie on the process's disk; everything else is forgotten with the process.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use broker_replica::in_sync::{Answer, Outcome, Proposal, Refusal as Refused};
use broker_replica::leader::{LeaderState, PartitionState};
use coordinator::controller::{
    Ask, BrokerCommand, BrokerReply, IsrProposal, LeaderAndIsrPartition, Refusal, StopReplica, TopicRef,
};
use model::{
    BrokerEpoch, BrokerId, ControllerEpoch, LeaderEpoch, Millis, Offset, PartitionEpoch, TopicId, TopicPartition,
};

use crate::call::{Call, CallId, Caller, Reply, Request};
use crate::cluster::{Cluster, LAG_MAX, MIN_ISR, Pid, Timer, trace};
use crate::fetching::{FetchSession, OpenFetcher, WaitingFetch};
use crate::model_log::{ModelLog, Record};

const NONE: i16 = 0;
const FENCED_LEADER_EPOCH: i16 = 74;
const INCONSISTENT_TOPIC_ID: i16 = 103;
const STALE_CONTROLLER_EPOCH: i16 = 11;
const STALE_BROKER_EPOCH: i16 = 77;
const UNKNOWN_TOPIC_OR_PARTITION: i16 = 3;
/// Overrides any leader epoch in a StopReplica.
const EPOCH_DURING_DELETE: LeaderEpoch = LeaderEpoch(-2);

/// What the broker is for a partition.
pub(crate) enum Role {
    Leader {
        state: LeaderState,
        /// Produces that wait for the high watermark to reach an offset, and what they have written before it.
        produces: Vec<(CallId, i64, u64)>,
    },
    Follower {
        leader_epoch: LeaderEpoch,
        partition_epoch: PartitionEpoch,
    },
}

impl Role {
    pub(crate) fn leader_epoch(&self) -> LeaderEpoch {
        match self {
            Self::Leader { state, .. } => state.leader_epoch,
            Self::Follower { leader_epoch, .. } => *leader_epoch,
        }
    }

    fn partition_epoch(&self) -> PartitionEpoch {
        match self {
            Self::Leader { state, .. } => state.partition_epoch,
            Self::Follower { partition_epoch, .. } => *partition_epoch,
        }
    }
}

#[derive(Default)]
pub(crate) struct BrokerShell {
    /// Its registration; the last one while it has none.
    pub(crate) epoch: Option<BrokerEpoch>,
    controller_epoch: ControllerEpoch,
    pub(crate) roles: BTreeMap<TopicPartition, Role>,
    /// As the controller told.
    pub(crate) live: BTreeSet<BrokerId>,
    pub(crate) leaders: BTreeMap<TopicPartition, BrokerId>,
    told: BTreeMap<TopicPartition, (LeaderEpoch, PartitionEpoch)>,
    pub(crate) fetchers: BTreeMap<BrokerId, OpenFetcher>,
    pub(crate) sessions: BTreeMap<i32, FetchSession>,
    pub(crate) waiting_fetches: BTreeMap<CallId, WaitingFetch>,
    proposals: VecDeque<(TopicPartition, Proposal)>,
    proposing: Option<Vec<(TopicPartition, Proposal)>>,
    /// It has asked to leave, so many times.
    leaving: Option<u32>,
}

impl Cluster {
    pub(crate) fn broker(&mut self, pid: Pid) -> &mut BrokerShell {
        self.processes[pid]
            .broker
            .as_mut()
            .expect("only brokers are asked as brokers")
    }

    /// A request has arrived.
    pub(crate) fn obey(&mut self, call: CallId, pid: Pid, request: Request) {
        match request {
            Request::Ask(ask) => self.asked(pid, call, ask),
            Request::Control {
                controller_epoch,
                broker_epoch,
                command,
            } => {
                let reply = self.control(pid, controller_epoch, broker_epoch, command);
                self.reply(call, Reply::Controlled(reply));
            }
            Request::Fetch {
                replica,
                broker_epoch,
                session_id,
                session_epoch,
                partitions,
                forgotten,
            } => match self.in_session(pid, session_id, session_epoch, partitions, &forgotten) {
                Ok((session, partitions)) => self.serve_fetch(pid, call, replica, broker_epoch, session, partitions),
                Err(error) => self.reply(call, Reply::Fetched(Err(error), Vec::new())),
            },
            Request::EpochEnds(questions) => self.serve_epoch_ends(pid, call, &questions),
            Request::Offsets(questions) => self.serve_offsets(pid, call, &questions),
            Request::Produce { partition, payload } => self.produce(pid, call, &partition, payload),
        }
    }

    /// A call has ended.
    pub(crate) fn called(&mut self, open: Call, reply: Option<Reply>) {
        match open.caller {
            Caller::Channel {
                pid,
                life,
                term,
                broker,
                serial,
            } => {
                if self.is_life(pid, life) {
                    self.channel_called(pid, term, broker, serial, reply);
                }
            }
            Caller::Fetcher {
                pid,
                life,
                leader,
                serial,
            } => {
                if self.is_life(pid, life) {
                    self.fetch_called(pid, leader, serial, reply);
                }
            }
            Caller::Proposals { pid, life } => {
                if self.is_life(pid, life) {
                    self.proposals_answered(pid, reply);
                }
            }
            Caller::Leaving { pid, life } => {
                if self.is_life(pid, life) {
                    self.may_leave(pid, reply);
                }
            }
            Caller::Client(client) => self.client_called(client, reply),
            Caller::Administrator => {}
        }
    }

    // ---- the controller's word

    fn control(
        &mut self,
        pid: Pid,
        controller_epoch: ControllerEpoch,
        broker_epoch: BrokerEpoch,
        command: BrokerCommand,
    ) -> Option<BrokerReply> {
        let broker = self.broker(pid);
        let error = if broker.epoch.is_some_and(|epoch| broker_epoch < epoch) {
            STALE_BROKER_EPOCH
        } else if controller_epoch < broker.controller_epoch {
            STALE_CONTROLLER_EPOCH
        } else {
            broker.controller_epoch = controller_epoch;
            NONE
        };
        if error == NONE {
            let id = self.processes[pid].id;
            self.check.obeys(id, controller_epoch);
        }
        match command {
            BrokerCommand::LeaderAndIsr(command) => {
                let mut partitions = Vec::new();
                if error == NONE {
                    for (partition, state) in &command.partitions {
                        let id = command.topic_ids.get(&partition.topic).copied();
                        partitions.push((partition.clone(), self.become_either(pid, partition, id, state)));
                    }
                }
                Some(BrokerReply::LeaderAndIsr {
                    error_code: error,
                    partitions,
                })
            }
            BrokerCommand::UpdateMetadata(command) => {
                if error == NONE {
                    let broker = self.broker(pid);
                    broker.live = command.live_brokers.iter().map(|live| live.id).collect();
                    for (partition, state) in &command.partitions {
                        // A request of a connection that has ended may come after those of the next.
                        let epochs = (state.leader_epoch, state.partition_epoch);
                        let deleting = state.leader.0 == -2;
                        if !deleting && broker.told.get(partition).is_some_and(|known| epochs < *known) {
                            continue;
                        }
                        broker.told.insert(partition.clone(), epochs);
                        broker.leaders.insert(partition.clone(), state.leader);
                    }
                }
                None
            }
            BrokerCommand::StopReplica(StopReplica { partitions }) => {
                let mut answers = Vec::new();
                for (partition, stop) in partitions {
                    let code = if error == NONE {
                        self.stop_replica(pid, &partition, stop.leader_epoch, stop.delete)
                    } else {
                        error
                    };
                    if stop.delete {
                        answers.push((partition, code));
                    }
                }
                (!answers.is_empty()).then_some(BrokerReply::StopReplica {
                    error_code: error,
                    partitions: answers,
                })
            }
        }
    }

    fn become_either(
        &mut self,
        pid: Pid,
        partition: &TopicPartition,
        topic: Option<TopicId>,
        told: &LeaderAndIsrPartition,
    ) -> i16 {
        let id = self.processes[pid].id;
        let topic_id = topic.unwrap_or(TopicId::ZERO);
        if self.processes[pid]
            .disk
            .get(partition)
            .is_some_and(|log| log.topic != topic_id)
        {
            return INCONSISTENT_TOPIC_ID;
        }
        let (current, current_partition_epoch) = self
            .broker(pid)
            .roles
            .get(partition)
            .map_or((LeaderEpoch::NONE, PartitionEpoch(-1)), |role| {
                (role.leader_epoch(), role.partition_epoch())
            });
        if told.leader_epoch <= current {
            return STALE_CONTROLLER_EPOCH;
        }
        if !told.replicas.contains(&id) {
            return UNKNOWN_TOPIC_OR_PARTITION;
        }
        if told.partition_epoch < current_partition_epoch {
            return NONE;
        }
        let now = Millis(self.now);
        let log = self.processes[pid]
            .disk
            .entry(partition.clone())
            .or_insert_with(|| ModelLog::new(topic_id));
        let state = PartitionState {
            controller_epoch: told.controller_epoch,
            leader: told.leader,
            leader_epoch: told.leader_epoch,
            partition_epoch: told.partition_epoch,
            isr: told.isr.clone(),
            replicas: told.replicas.clone(),
            adding_replicas: told.adding_replicas.clone(),
            removing_replicas: told.removing_replicas.clone(),
            is_new: told.is_new,
        };
        let end = Offset(log.end());
        if told.leader == id {
            log.assign_epoch(told.leader_epoch.0);
            trace!(
                self,
                "{id} leads {partition} at {} isr {:?} end {end}", told.leader_epoch, told.isr
            );
            let log = &self.processes[pid].disk[partition];
            self.check.leads(&self.zk, partition, log, id, told);
            let broker = self.broker(pid);
            let before = broker.roles.remove(partition);
            let (state, waiting) = match before {
                Some(Role::Leader {
                    state: mut led,
                    produces,
                }) => {
                    led.re_elected(&state, end, now);
                    (led, produces)
                }
                _ => (LeaderState::new(id, &state, end, now), Vec::new()),
            };
            broker.roles.insert(
                partition.clone(),
                Role::Leader {
                    state,
                    produces: waiting,
                },
            );
            self.stop_fetching(pid, partition);
            self.raise_high_watermark(pid, partition);
        } else {
            trace!(
                self,
                "{id} follows {} of {partition} at {} end {end}", told.leader, told.leader_epoch
            );
            let role = Role::Follower {
                leader_epoch: told.leader_epoch,
                partition_epoch: told.partition_epoch,
            };
            let before = self.broker(pid).roles.insert(partition.clone(), role);
            if let Some(Role::Leader { produces, .. }) = before {
                for (call, ..) in produces {
                    self.reply(call, Reply::Produced(Err("NOT_LEADER_OR_FOLLOWER")));
                }
            }
            self.wake_fetches(pid, partition);
            self.follow(pid, partition, topic, told.leader, told.leader_epoch);
        }
        NONE
    }

    fn stop_replica(&mut self, pid: Pid, partition: &TopicPartition, asked: LeaderEpoch, delete: bool) -> i16 {
        let current = self.broker(pid).roles.get(partition).map(Role::leader_epoch);
        if asked != EPOCH_DURING_DELETE && asked != LeaderEpoch::NONE && current.is_some_and(|current| asked < current)
        {
            return FENCED_LEADER_EPOCH;
        }
        self.stop_fetching(pid, partition);
        if delete {
            trace!(self, "{} deletes {partition}", self.processes[pid].id);
            let before = self.broker(pid).roles.remove(partition);
            if let Some(Role::Leader { produces, .. }) = before {
                for (call, ..) in produces {
                    self.reply(call, Reply::Produced(Err("NOT_LEADER_OR_FOLLOWER")));
                }
            }
            self.wake_fetches(pid, partition);
            let id = self.processes[pid].id;
            if let Some(log) = self.processes[pid].disk.remove(partition) {
                self.check.deleted(id, partition, log.topic);
            }
        }
        NONE
    }

    // ---- produces

    fn produce(&mut self, pid: Pid, call: CallId, partition: &TopicPartition, payload: u64) {
        let process = &mut self.processes[pid];
        let role = process.broker.as_ref().and_then(|broker| broker.roles.get(partition));
        let Some(Role::Leader { state, .. }) = role else {
            return self.reply(call, Reply::Produced(Err("NOT_LEADER_OR_FOLLOWER")));
        };
        if state.is_under_min_isr(MIN_ISR) {
            return self.reply(call, Reply::Produced(Err("NOT_ENOUGH_REPLICAS")));
        }
        let epoch = state.leader_epoch.0;
        let Some(log) = process.disk.get_mut(partition) else {
            return;
        };
        log.append(Record { epoch, payload });
        let required = log.end();
        if let Some(Role::Leader { produces, .. }) = self.broker(pid).roles.get_mut(partition) {
            produces.push((call, required, payload));
        }
        self.wake_fetches(pid, partition);
        self.raise_high_watermark(pid, partition);
    }

    /// Moves the high watermark as far as the replicas allow, and answers the produces that waited for it.
    pub(crate) fn raise_high_watermark(&mut self, pid: Pid, partition: &TopicPartition) {
        let now = Millis(self.now);
        let process = &mut self.processes[pid];
        let id = process.id;
        let Some(broker) = &mut process.broker else { return };
        let Some(Role::Leader { state, produces }) = broker.roles.get_mut(partition) else {
            return;
        };
        let Some(log) = process.disk.get_mut(partition) else {
            return;
        };
        let live = &broker.live;
        let to = state.high_watermark(Offset(log.end()), MIN_ISR, now, Millis(LAG_MAX), |id| {
            live.contains(&id)
        });
        if let Some(to) = to {
            log.raise_high_watermark(to.0);
        }
        let high_watermark = log.high_watermark();
        self.check.leader_high_watermark(partition, id, state.leader_epoch, log);
        let enough = !state.is_under_min_isr(MIN_ISR);
        let (done, waiting): (Vec<_>, Vec<_>) = std::mem::take(produces)
            .into_iter()
            .partition(|(_, required, _)| *required <= high_watermark);
        *produces = waiting;
        let topic = log.topic;
        for (call, required, payload) in done {
            let offset = required - 1;
            let produced = if enough {
                Ok(offset)
            } else {
                Err("NOT_ENOUGH_REPLICAS_AFTER_APPEND")
            };
            if produced.is_ok() {
                self.check.acknowledged(partition, topic, offset, payload);
            }
            self.reply(call, Reply::Produced(produced));
        }
    }

    // ---- the in-sync set

    pub(crate) fn shrink_isr(&mut self, pid: Pid) {
        let now = Millis(self.now);
        let process = &mut self.processes[pid];
        let Some(broker) = &mut process.broker else { return };
        let mut proposals = Vec::new();
        for (partition, role) in &mut broker.roles {
            if let Role::Leader { state, .. } = role
                && let Some(log) = process.disk.get(partition)
                && let Some(proposal) = state.propose_shrink(Offset(log.end()), now, Millis(LAG_MAX))
            {
                proposals.push((partition.clone(), proposal));
            }
        }
        for (partition, proposal) in proposals {
            self.propose(pid, partition, proposal);
        }
    }

    pub(crate) fn propose(&mut self, pid: Pid, partition: TopicPartition, proposal: Proposal) {
        trace!(
            self,
            "{} proposes {:?} for {partition}", self.processes[pid].id, proposal.isr
        );
        self.broker(pid).proposals.push_back((partition, proposal));
        self.send_proposals(pid);
    }

    /// Asks the controller for all changes that wait; one request at a time.
    pub(crate) fn send_proposals(&mut self, pid: Pid) {
        let (life, id) = (self.processes[pid].life, self.processes[pid].id);
        let holder = self.processes[pid].controller.holder;
        let to = holder.and_then(|holder| self.pid(holder));
        let process = &mut self.processes[pid];
        let disk = &process.disk;
        let Some(broker) = &mut process.broker else { return };
        if broker.proposing.is_some() || broker.proposals.is_empty() {
            return;
        }
        let roles = &broker.roles;
        let awaited: Vec<_> = std::mem::take(&mut broker.proposals)
            .into_iter()
            .filter(|(partition, proposal)| match roles.get(partition) {
                Some(Role::Leader { state, .. }) => state.awaits(proposal),
                _ => false,
            })
            .collect();
        if awaited.is_empty() {
            return;
        }
        let (Some(to), Some(broker_epoch)) = (to, broker.epoch) else {
            broker.proposals = awaited.into();
            return self.timer(pid, 100, Timer::Propose);
        };
        let partitions = awaited.iter().filter_map(|(partition, proposal)| {
            Some(IsrProposal {
                topic: TopicRef::Id(disk.get(partition)?.topic),
                partition: partition.partition,
                leader_epoch: proposal.leader_epoch,
                partition_epoch: proposal.partition_epoch,
                isr: proposal.isr.clone(),
                recovering: false,
            })
        });
        let partitions = partitions.collect();
        broker.proposing = Some(awaited);
        let ask = Ask::AlterPartition {
            broker: id,
            broker_epoch,
            version: 3,
            partitions,
        };
        self.call(Caller::Proposals { pid, life }, to, Request::Ask(ask));
    }

    fn proposals_answered(&mut self, pid: Pid, reply: Option<Reply>) {
        let Some(proposed) = self.broker(pid).proposing.take() else {
            return;
        };
        let results = match reply {
            Some(Reply::Answered(Ok(coordinator::controller::Reply::AlterPartition(results)))) => results,
            _ => Vec::new(),
        };
        let mut again = false;
        for (partition, proposal) in proposed {
            let topic = self.processes[pid]
                .disk
                .get(&partition)
                .map(|log| TopicRef::Id(log.topic));
            let found = results
                .iter()
                .find(|(of, index, _)| Some(of) == topic.as_ref() && *index == partition.partition);
            let answer = match found {
                Some((_, _, Ok(accepted))) => Answer::Accepted {
                    leader_epoch: accepted.leader_epoch,
                    partition_epoch: accepted.partition_epoch,
                    isr: accepted.isr.clone(),
                },
                Some((_, _, Err(refusal))) => Answer::Refused(refused(refusal)),
                None => Answer::Refused(Refused::Other),
            };
            let outcome = match self.broker(pid).roles.get_mut(&partition) {
                Some(Role::Leader { state, .. }) => state.answered(&proposal, &answer),
                _ => Outcome::Overtaken,
            };
            match outcome {
                Outcome::Committed => self.raise_high_watermark(pid, &partition),
                Outcome::Retry => {
                    again = true;
                    self.broker(pid).proposals.push_back((partition, proposal));
                }
                Outcome::Overtaken | Outcome::Reverted | Outcome::AwaitingController => {}
            }
        }
        if again {
            self.timer(pid, 100, Timer::Propose);
        } else {
            self.send_proposals(pid);
        }
    }

    // ---- leaving in order

    /// Asks the controller to let this broker go; it then stops, and starts again later.
    pub(crate) fn leave(&mut self, pid: Pid) {
        let (life, id) = (self.processes[pid].life, self.processes[pid].id);
        let holder = self.processes[pid].controller.holder;
        let to = holder.and_then(|holder| self.pid(holder));
        let broker = self.broker(pid);
        let tries = broker.leaving.get_or_insert(0);
        *tries += 1;
        match (to, broker.epoch) {
            (Some(to), Some(broker_epoch)) if *tries <= 3 => {
                trace!(self, "{id} asks to leave");
                let ask = Ask::ControlledShutdown {
                    broker: id,
                    broker_epoch,
                };
                self.call(Caller::Leaving { pid, life }, to, Request::Ask(ask));
            }
            _ => self.stop(pid),
        }
    }

    fn may_leave(&mut self, pid: Pid, reply: Option<Reply>) {
        match reply {
            Some(Reply::Answered(Ok(coordinator::controller::Reply::ControlledShutdown(left)))) if left.is_empty() => {
                self.stop(pid);
            }
            _ => self.leave(pid),
        }
    }

    /// Stops a process that can close its session, its logs written out.
    fn stop(&mut self, pid: Pid) {
        for log in self.processes[pid].disk.values_mut() {
            log.flush();
            log.checkpoint();
        }
        let session = self.processes[pid].server_session;
        self.kill(pid, false);
        if !self.processes[pid].zk_cut {
            self.expire(pid, session);
        }
        let life = self.processes[pid].life;
        let after = self.random.between(100, 3_000);
        self.later(after, crate::cluster::Happening::Restart { pid, life });
    }
}

/// What a controller's refusal means to a leader.
fn refused(refusal: &Refusal) -> Refused {
    match refusal {
        Refusal::OperationNotAttempted | Refusal::IneligibleReplica => Refused::NotAttempted,
        Refusal::FencedLeaderEpoch
        | Refusal::InvalidUpdateVersion
        | Refusal::UnknownTopicOrPartition
        | Refusal::UnknownTopicId
        | Refusal::InvalidRequest => Refused::OutOfDate,
        _ => Refused::Other,
    }
}
