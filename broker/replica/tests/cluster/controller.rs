//! The shell of the controller's core: the race for `/controller`, and effects performed, as `coordinator-service` does it.

use std::collections::{BTreeMap, VecDeque};

use coordinator::controller::{Answer, Ask, AskId, BrokerCommand, Config, Controller, Effect, Event, RequestId};
use model::{BrokerEpoch, BrokerId, ControllerEpoch, Millis};
use zk_schema::Op;
use zk_schema::brokers::ids::{BrokerRegistration, Endpoint, SecurityProtocol};

use crate::call::{CallId, Caller, Reply, Request};
use crate::cluster::{Cluster, Pid, RACE, Timer, ZkMessage, ZkRequest, trace};

/// An office won.
#[derive(Clone, Copy, Debug)]
struct Office {
    term: u64,
    epoch: ControllerEpoch,
    fence: i32,
}

/// A channel to one life of a broker.
#[derive(Debug)]
struct Channel {
    broker_epoch: BrokerEpoch,
    serial: u64,
    queue: VecDeque<BrokerCommand>,
    busy: bool,
}

pub(crate) struct ControllerShell {
    id: BrokerId,
    dedicated: bool,
    core: Controller,
    office: Option<Office>,
    term: u64,
    /// Who the controller is, as this process has last seen.
    pub(crate) holder: Option<BrokerId>,
    looking: bool,
    look_again: bool,
    channels: BTreeMap<BrokerId, Channel>,
    serial: u64,
    /// Answers of reads and writes that have not all come yet.
    gathered: BTreeMap<RequestId, Vec<Option<Answer>>>,
    asked: BTreeMap<AskId, CallId>,
    last_ask: u64,
}

impl ControllerShell {
    pub(crate) fn new(id: BrokerId, dedicated: bool, seed: u64) -> Self {
        let config = Config {
            id,
            topic_ids: true,
            leader_recovery: true,
            feature_versioning: true,
            delete_topic_enable: true,
            unclean_leader_election_enable: false,
            auto_leader_rebalance_enable: true,
            leader_imbalance_per_broker_percentage: 0,
            seed: (u128::from(seed) << 32 | id.0 as u128).to_be_bytes(),
        };
        Self {
            id,
            dedicated,
            core: Controller::new(config),
            office: None,
            term: RACE,
            holder: None,
            looking: false,
            look_again: false,
            channels: BTreeMap::new(),
            serial: 0,
            gathered: BTreeMap::new(),
            asked: BTreeMap::new(),
            last_ask: 0,
        }
    }

    /// The process starts anew and knows nothing.
    pub(crate) fn begin_life(&mut self) {
        let (term, serial) = (self.term, self.serial);
        *self = Self::new(self.id, self.dedicated, 0);
        (self.term, self.serial) = (term, serial);
    }

    pub(crate) fn is_active(&self) -> bool {
        self.office.is_some()
    }

    pub(crate) fn registration(&self, is_broker: bool) -> Op {
        if !is_broker {
            return Op::create_ephemeral(zk_schema::ottla::coordinator_path(self.id), "{}");
        }
        let registration = BrokerRegistration {
            id: self.id,
            version: 5,
            endpoints: vec![Endpoint {
                listener: "PLAINTEXT".to_owned(),
                host: "127.0.0.1".to_owned(),
                port: 9092,
                security_protocol: SecurityProtocol::Plaintext,
            }],
            rack: None,
            jmx_port: -1,
            timestamp: Millis(0),
            features: BTreeMap::new(),
        };
        Op::create_ephemeral(zk_schema::brokers::ids::path(self.id), registration.encode())
    }
}

impl Cluster {
    fn shell(&mut self, pid: Pid) -> &mut ControllerShell {
        &mut self.processes[pid].controller
    }

    fn look_at_controller(&mut self, pid: Pid) {
        let shell = self.shell(pid);
        if shell.looking {
            shell.look_again = true;
        } else {
            shell.looking = true;
            self.ask_zk(pid, ZkRequest::Look);
        }
    }

    pub(crate) fn controller_hears(&mut self, pid: Pid, message: ZkMessage) {
        let term = self.shell(pid).office.map(|office| office.term);
        match message {
            ZkMessage::Answers {
                term: of,
                id,
                at,
                answers,
            } => {
                if term == Some(of) {
                    self.gather(pid, id, at, answers);
                }
            }
            ZkMessage::Fenced { term: of } => {
                if term == Some(of) {
                    trace!(self, "controller {} hits the fence", self.processes[pid].id);
                    self.deposed(pid);
                    self.look_at_controller(pid);
                }
            }
            ZkMessage::Fired { tag: RACE, .. } => self.look_at_controller(pid),
            ZkMessage::Fired { tag, path } => {
                if term == Some(tag) {
                    self.step(pid, Event::Changed(path));
                }
            }
            ZkMessage::Looked {
                holder,
                epoch,
                version,
                coordinators,
            } => {
                let shell = self.shell(pid);
                shell.looking = false;
                if std::mem::take(&mut shell.look_again) {
                    return self.look_at_controller(pid);
                }
                self.looked_at_controller(pid, holder, epoch, version, coordinators);
            }
            ZkMessage::Won { epoch, version } => self.won(pid, epoch, version),
            ZkMessage::Lost => self.look_at_controller(pid),
            ZkMessage::Connected | ZkMessage::Expired | ZkMessage::Registered(_) => {}
        }
    }

    fn looked_at_controller(
        &mut self,
        pid: Pid,
        holder: Option<(BrokerId, i64, i32)>,
        epoch: ControllerEpoch,
        version: i32,
        coordinators: usize,
    ) {
        let session = self.processes[pid].session;
        let shell = self.shell(pid);
        let may_race = shell.dedicated || coordinators == 0;
        shell.holder = holder.map(|(id, ..)| id);
        if let Some(office) = shell.office
            && !may_race
        {
            self.deposed(pid);
            self.ask_zk(pid, ZkRequest::Resign { fence: office.fence });
            return self.look_at_controller(pid);
        }
        match holder {
            None => {
                self.deposed(pid);
                if may_race {
                    let epoch = ControllerEpoch(epoch.0 + 1);
                    self.ask_zk(pid, ZkRequest::Race { epoch, version });
                }
            }
            Some((_, owner, _)) if owner == session => {
                if self.shell(pid).office.is_none() {
                    self.ask_zk(pid, ZkRequest::Resign { fence: version });
                    self.look_at_controller(pid);
                }
            }
            Some(_) => self.deposed(pid),
        }
    }

    fn won(&mut self, pid: Pid, epoch: ControllerEpoch, fence: i32) {
        trace!(self, "{} is the controller of epoch {epoch}", self.processes[pid].id);
        let id = self.processes[pid].id;
        let shell = self.shell(pid);
        shell.term += 1;
        let term = shell.term;
        shell.office = Some(Office { term, epoch, fence });
        shell.holder = Some(id);
        self.timer(pid, 5_000, Timer::Rebalance(term));
        self.step(pid, Event::Elected { epoch });
        self.look_at_controller(pid);
    }

    /// The office is lost, if it was held.
    pub(crate) fn deposed(&mut self, pid: Pid) {
        let shell = self.shell(pid);
        if shell.office.take().is_some() {
            shell.channels.clear();
            shell.gathered.clear();
            self.step(pid, Event::Resigned);
        }
        self.shell(pid).looking = false;
    }

    pub(crate) fn rebalance_due(&mut self, pid: Pid, term: u64) {
        if self.shell(pid).office.is_some_and(|office| office.term == term) {
            self.step(pid, Event::RebalanceDue);
            self.timer(pid, 10_000, Timer::Rebalance(term));
        }
    }

    /// A question has come over the wire.
    pub(crate) fn asked(&mut self, pid: Pid, call: CallId, ask: Ask) {
        let shell = self.shell(pid);
        shell.last_ask += 1;
        let id = AskId(shell.last_ask);
        shell.asked.insert(id, call);
        self.step(pid, Event::Asked(id, ask));
    }

    fn gather(&mut self, pid: Pid, id: RequestId, at: usize, answers: Vec<Answer>) {
        let Some(gathered) = self.shell(pid).gathered.get_mut(&id) else {
            return;
        };
        for (place, answer) in gathered[at..].iter_mut().zip(answers) {
            *place = Some(answer);
        }
        if gathered.iter().all(Option::is_some) {
            let answers = self.shell(pid).gathered.remove(&id).unwrap_or_default();
            self.step(pid, Event::Answered(id, answers.into_iter().flatten().collect()));
        }
    }

    fn step(&mut self, pid: Pid, event: Event) {
        let now = Millis(self.now);
        let effects = self.shell(pid).core.step(event, now);
        for effect in effects {
            self.perform(pid, effect);
        }
    }

    fn perform(&mut self, pid: Pid, effect: Effect) {
        let office = self.shell(pid).office;
        match effect {
            Effect::Answer(id, answer) => {
                if let Some(call) = self.shell(pid).asked.remove(&id) {
                    self.reply(call, Reply::Answered(answer));
                }
            }
            Effect::Gauges(_) => {}
            Effect::Resign(reason) => {
                trace!(self, "controller {} resigns: {reason}", self.processes[pid].id);
                if let Some(office) = office {
                    self.ask_zk(pid, ZkRequest::Resign { fence: office.fence });
                }
                self.deposed(pid);
                self.look_at_controller(pid);
            }
            Effect::Read(id, reads) => {
                let Some(Office { term, .. }) = office else { return };
                self.shell(pid).gathered.insert(id, vec![None; reads.len()]);
                for (at, reads) in self.pieces(reads) {
                    self.ask_zk(pid, ZkRequest::Read { term, id, at, reads });
                }
            }
            Effect::Write(id, ops) => {
                let Some(Office { term, epoch, fence }) = office else {
                    return;
                };
                self.shell(pid).gathered.insert(id, vec![None; ops.len()]);
                for (at, ops) in self.pieces(ops) {
                    self.ask_zk(
                        pid,
                        ZkRequest::Write {
                            term,
                            id,
                            at,
                            epoch,
                            fence,
                            ops,
                        },
                    );
                }
            }
            Effect::Connect(channel) => {
                let shell = self.shell(pid);
                shell.serial += 1;
                let open = Channel {
                    broker_epoch: channel.broker_epoch,
                    serial: shell.serial,
                    queue: VecDeque::new(),
                    busy: false,
                };
                shell.channels.insert(channel.broker, open);
            }
            Effect::Disconnect(broker) => {
                self.shell(pid).channels.remove(&broker);
            }
            Effect::Send(addressed) => {
                let Some(office) = office else { return };
                if let BrokerCommand::LeaderAndIsr(command) = &addressed.command {
                    self.check.commanded(&self.zk, addressed.broker, command);
                }
                if let Some(channel) = self.shell(pid).channels.get_mut(&addressed.broker) {
                    channel.queue.push_back(addressed.command);
                    self.pump(pid, office.term, addressed.broker);
                }
            }
        }
    }

    /// Cuts a pipelined batch, so that others may come in between.
    fn pieces<T>(&mut self, mut items: Vec<T>) -> Vec<(usize, Vec<T>)> {
        let mut pieces = Vec::new();
        let mut at = 0;
        while !items.is_empty() {
            let len = if self.random.chance(70) {
                items.len()
            } else {
                1 + self.random.below(items.len() as u64) as usize
            };
            let rest = items.split_off(len);
            pieces.push((at, items));
            at += len;
            items = rest;
        }
        pieces
    }

    /// Sends the next command of a channel that is not busy.
    pub(crate) fn pump(&mut self, pid: Pid, term: u64, broker: BrokerId) {
        let life = self.processes[pid].life;
        let Some(office) = self.shell(pid).office.filter(|office| office.term == term) else {
            return;
        };
        let Some(channel) = self.shell(pid).channels.get_mut(&broker) else {
            return;
        };
        if channel.busy {
            return;
        }
        let Some(command) = channel.queue.front().cloned() else {
            return;
        };
        channel.busy = true;
        let caller = Caller::Channel {
            pid,
            life,
            term,
            broker,
            serial: channel.serial,
        };
        let request = Request::Control {
            controller_epoch: office.epoch,
            broker_epoch: channel.broker_epoch,
            command,
        };
        if let Some(to) = self.pid(broker) {
            self.call(caller, to, request);
        }
    }

    /// A broker has answered a channel's command, or the call has broken.
    pub(crate) fn channel_called(&mut self, pid: Pid, term: u64, broker: BrokerId, serial: u64, reply: Option<Reply>) {
        if self.shell(pid).office.is_none_or(|office| office.term != term) {
            return;
        }
        let Some(channel) = self
            .shell(pid)
            .channels
            .get_mut(&broker)
            .filter(|it| it.serial == serial)
        else {
            return;
        };
        channel.busy = false;
        let epoch = channel.broker_epoch;
        match reply {
            Some(Reply::Controlled(reply)) => {
                channel.queue.pop_front();
                self.pump(pid, term, broker);
                if let Some(reply) = reply {
                    self.step(pid, Event::Replied(broker, epoch, reply));
                }
            }
            // It must hear it, for as long as it is registered.
            _ => self.timer(pid, 100, Timer::Channel(term, broker)),
        }
    }
}
