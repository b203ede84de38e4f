//! The cluster: processes, the wires between them, and fake time.
//!
//! Everything that will happen is in one queue, in the order of its time; equal times in the order of their making. A
//! process that is paused gets what was meant for it when it wakes up; one that has died never. A call between two
//! processes ends exactly once for its caller: with an answer, or broken; a broken call may still have been obeyed, and may
//! still arrive, late. Requests to ZooKeeper and what comes back keep their order for as long as a session lasts.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, VecDeque};

use coordinator::controller::{Answer, Read, RequestId};
use model::{BrokerEpoch, BrokerId, ControllerEpoch};
use zk_schema::Op;

use crate::broker::BrokerShell;
use crate::call::{Call, CallId, Caller, Reply, Request};
use crate::client::Clients;
use crate::controller::ControllerShell;
use crate::faults::Faults;
use crate::invariants::Checker;
use crate::model_log::ModelLog;
use crate::random::Random;
use crate::zookeeper::{SessionId, Watcher, ZooKeeper};

/// A process, by its place in [`Cluster::processes`].
pub(crate) type Pid = usize;

/// How long ZooKeeper waits for a silent session.
pub(crate) const SESSION_TIMEOUT: i64 = 6_000;
/// How long a caller waits for an answer.
pub(crate) const CALL_TIMEOUT: i64 = 3_000;
/// `replica.lag.time.max.ms`.
pub(crate) const LAG_MAX: i64 = 3_000;
/// `min.insync.replicas`.
pub(crate) const MIN_ISR: i32 = 2;
/// A session that has been silent since its process died.
const NEVER_AGAIN: i64 = -1;
/// The tag of watches that are about the race for `/controller`.
pub(crate) const RACE: u64 = 0;

/// Something for a process to do later of its own accord.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Timer {
    /// Connect to ZooKeeper with a new session.
    OpenSession,
    /// Try to register again.
    Register,
    /// `leader.imbalance.check.interval.seconds`, in a term.
    Rebalance(u64),
    /// Try the broker's channel again, in a term.
    Channel(u64, BrokerId),
    /// Fetch from a leader again.
    Fetch(BrokerId),
    /// A fetch that waits at a leader has waited long enough.
    FetchWaited(CallId),
    /// Half of `replica.lag.time.max.ms`.
    ShrinkIsr,
    /// Send proposals again.
    Propose,
    /// `log.flush.interval`, and the checkpoint of high watermarks.
    Flush,
}

/// What a process asks ZooKeeper.
#[derive(Clone, Debug)]
pub(crate) enum ZkRequest {
    /// Part of the core's reads: from which place on.
    Read {
        term: u64,
        id: RequestId,
        at: usize,
        reads: Vec<Read>,
    },
    /// Part of the core's writes, each fenced.
    Write {
        term: u64,
        id: RequestId,
        at: usize,
        epoch: ControllerEpoch,
        fence: i32,
        ops: Vec<Op>,
    },
    /// Who is the controller, and who may be.
    Look,
    /// Win the office.
    Race { epoch: ControllerEpoch, version: i32 },
    /// Give the office up, fenced.
    Resign { fence: i32 },
    /// Create `/brokers/ids/N` or the coordinator's znode.
    Register,
}

/// What ZooKeeper tells a process.
#[derive(Clone, Debug)]
pub(crate) enum ZkMessage {
    Connected,
    Expired,
    Answers {
        term: u64,
        id: RequestId,
        at: usize,
        answers: Vec<Answer>,
    },
    Fenced {
        term: u64,
    },
    Fired {
        tag: u64,
        path: String,
    },
    Looked {
        holder: Option<(BrokerId, SessionId, i32)>,
        epoch: ControllerEpoch,
        version: i32,
        coordinators: usize,
    },
    Won {
        epoch: ControllerEpoch,
        version: i32,
    },
    Lost,
    Registered(Option<BrokerEpoch>),
}

/// Something that will happen.
#[derive(Clone, Debug)]
pub(crate) enum Happening {
    ToZk {
        pid: Pid,
        session: SessionId,
        request: ZkRequest,
    },
    FromZk {
        pid: Pid,
        life: u64,
        session: SessionId,
        message: ZkMessage,
    },
    Timer {
        pid: Pid,
        life: u64,
        timer: Timer,
    },
    Request {
        call: CallId,
        to: Pid,
        life: u64,
        request: Request,
    },
    /// To the caller; `None` means that the call has broken.
    Reply {
        call: CallId,
        reply: Option<Reply>,
    },
    /// ZooKeeper's clock for a session that has been silent since.
    SessionTimeout {
        pid: Pid,
        session: SessionId,
        since: i64,
    },
    /// The guardian of a process has seen it die.
    Certificate {
        session: SessionId,
    },
    Restart {
        pid: Pid,
        life: u64,
    },
    Resume {
        pid: Pid,
        life: u64,
    },
    Client(usize),
    Kill {
        pid: Pid,
        life: u64,
    },
    ElectPreferred {
        pid: Pid,
        life: u64,
    },
    Fault,
    /// A fault of some length ends.
    Heal(u64),
}

struct Queued {
    at: i64,
    number: u64,
    what: Happening,
}

impl PartialEq for Queued {
    fn eq(&self, other: &Self) -> bool {
        (self.at, self.number) == (other.at, other.number)
    }
}

impl Eq for Queued {}

impl PartialOrd for Queued {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Queued {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.at, self.number).cmp(&(other.at, other.number))
    }
}

/// A process: a broker that may host the controller, or a dedicated coordinator.
pub(crate) struct Process {
    pub(crate) id: BrokerId,
    pub(crate) life: u64,
    pub(crate) up: bool,
    pub(crate) paused: bool,
    /// What has come while it was paused.
    held: VecDeque<Happening>,
    pub(crate) zk_cut: bool,
    /// What waits for the wire to ZooKeeper.
    to_zk: VecDeque<Happening>,
    /// What ZooKeeper has said while it could not hear.
    from_zk: VecDeque<Happening>,
    silent_since: Option<i64>,
    last_to_zk: i64,
    last_from_zk: i64,
    /// The session as the process knows it.
    pub(crate) session: SessionId,
    /// The session that ZooKeeper has for it.
    pub(crate) server_session: SessionId,
    pub(crate) controller: ControllerShell,
    pub(crate) broker: Option<BrokerShell>,
    /// What its disk holds; survives it.
    pub(crate) disk: BTreeMap<model::TopicPartition, ModelLog>,
    /// It has lost records that it had acknowledged to have, and may not have them back yet.
    pub(crate) torn: bool,
}

impl Process {
    pub(crate) fn new(id: BrokerId, is_broker: bool, seed: u64) -> Self {
        Self {
            id,
            life: 0,
            up: false,
            paused: false,
            held: VecDeque::new(),
            zk_cut: false,
            to_zk: VecDeque::new(),
            from_zk: VecDeque::new(),
            silent_since: None,
            last_to_zk: 0,
            last_from_zk: 0,
            session: 0,
            server_session: 0,
            controller: ControllerShell::new(id, !is_broker, seed),
            broker: is_broker.then(BrokerShell::default),
            disk: BTreeMap::new(),
            torn: false,
        }
    }

    pub(crate) fn is_broker(&self) -> bool {
        self.broker.is_some()
    }
}

/// What is the same all the time in one history.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Settings {
    pub(crate) brokers: usize,
    pub(crate) coordinators: usize,
    /// Followers are told by the leader where their logs diverge (Fetch 12), rather than asking.
    pub(crate) truncate_on_fetch: bool,
    /// Followers fetch in sessions.
    pub(crate) sessions: bool,
    /// Machines fail, and with them what was not flushed; then only one failure at a time.
    pub(crate) torn: bool,
    /// How long faults go on.
    pub(crate) duration: i64,
}

/// Everything there is.
pub(crate) struct Cluster {
    pub(crate) now: i64,
    number: u64,
    queue: BinaryHeap<Reverse<Queued>>,
    pub(crate) random: Random,
    pub(crate) zk: ZooKeeper,
    pub(crate) processes: Vec<Process>,
    pub(crate) calls: BTreeMap<CallId, Call>,
    last_call: u64,
    /// Pairs of processes that do not hear each other, the smaller first.
    pub(crate) cut: std::collections::BTreeSet<(Pid, Pid)>,
    pub(crate) clients: Clients,
    pub(crate) faults: Faults,
    /// What [`Cluster::partitions`] has found last.
    pub(crate) known_partitions: Option<Vec<model::TopicPartition>>,
    pub(crate) check: Checker,
    pub(crate) settings: Settings,
    pub(crate) trace: bool,
    /// How many calls in a thousand break, or are answered late.
    pub(crate) noise: u64,
}

/// Prints a line of the history where one is wanted.
macro_rules! trace {
    ($cluster:expr, $($what:tt)*) => {
        if $cluster.trace {
            eprintln!("{:>8} {}", $cluster.now, format!($($what)*));
        }
    };
}
pub(crate) use trace;

impl Cluster {
    pub(crate) fn new(settings: Settings, random: Random, processes: Vec<Process>, zk: ZooKeeper, trace: bool) -> Self {
        Self {
            now: 0,
            number: 0,
            queue: BinaryHeap::new(),
            random,
            zk,
            processes,
            calls: BTreeMap::new(),
            last_call: 0,
            cut: std::collections::BTreeSet::new(),
            clients: Clients::default(),
            faults: Faults::default(),
            known_partitions: None,
            check: Checker::default(),
            settings,
            trace,
            noise: 0,
        }
    }

    /// Lets `what` happen in `after` milliseconds.
    pub(crate) fn later(&mut self, after: i64, what: Happening) {
        self.at(self.now + after, what);
    }

    fn at(&mut self, at: i64, what: Happening) {
        self.number += 1;
        let number = self.number;
        self.queue.push(Reverse(Queued { at, number, what }));
    }

    pub(crate) fn timer(&mut self, pid: Pid, after: i64, timer: Timer) {
        let life = self.processes[pid].life;
        self.later(after, Happening::Timer { pid, life, timer });
    }

    /// The process with this id.
    pub(crate) fn pid(&self, id: BrokerId) -> Option<Pid> {
        self.processes.iter().position(|process| process.id == id)
    }

    /// Goes on until `until`.
    pub(crate) fn run_until(&mut self, until: i64) {
        while self.queue.peek().is_some_and(|next| next.0.at <= until) {
            let Some(Reverse(next)) = self.queue.pop() else { break };
            self.now = next.at;
            self.happen(next.what);
            self.pass_on_watches();
            self.look();
        }
        self.now = until;
    }

    fn happen(&mut self, what: Happening) {
        if let Some(pid) = self.addressee(&what)
            && self.processes[pid].paused
        {
            self.processes[pid].held.push_back(what);
            return;
        }
        match what {
            Happening::ToZk { pid, session, request } => self.at_zk(pid, session, request),
            Happening::FromZk {
                pid,
                life,
                session,
                message,
            } => {
                let process = &mut self.processes[pid];
                if process.zk_cut || process.paused {
                    process.from_zk.push_back(Happening::FromZk {
                        pid,
                        life,
                        session,
                        message,
                    });
                } else if self.is_life(pid, life)
                    && (self.processes[pid].session == session || matches!(message, ZkMessage::Connected))
                {
                    self.zk_says(pid, session, message);
                }
            }
            Happening::Timer { pid, life, timer } => {
                if self.is_life(pid, life) {
                    self.ring(pid, timer);
                }
            }
            Happening::Request {
                call,
                to,
                life,
                request,
            } => {
                if self.is_life(to, life) {
                    self.obey(call, to, request);
                } else {
                    let after = self.random.between(1, 20);
                    self.later(after, Happening::Reply { call, reply: None });
                }
            }
            Happening::Reply { call, reply } => {
                if let Some(open) = self.calls.remove(&call) {
                    self.called(open, reply);
                }
            }
            Happening::SessionTimeout { pid, session, since } => {
                let process = &self.processes[pid];
                if since == NEVER_AGAIN || process.server_session != session || process.silent_since == Some(since) {
                    self.expire(pid, session);
                }
            }
            Happening::Certificate { session } => {
                // As the guardian does it: only what that session owns.
                if self.zk.is_open(session) {
                    for path in self.zk.ephemerals(session) {
                        let _ = self.zk.multi(0, &[Op::delete(path, None)]);
                    }
                }
            }
            Happening::Restart { pid, life } => {
                if !self.processes[pid].up && self.processes[pid].life == life {
                    self.start(pid);
                }
            }
            Happening::Resume { pid, life } => {
                if self.processes[pid].life == life {
                    self.resume(pid);
                }
            }
            Happening::Kill { pid, life } => {
                if self.is_life(pid, life) && !self.faults.over {
                    self.kill(pid, false);
                    let after = self.random.between(1, 5_000);
                    self.later(after, Happening::Restart { pid, life });
                }
            }
            Happening::ElectPreferred { pid, life } => {
                if self.is_life(pid, life) {
                    self.elect_preferred(pid);
                }
            }
            Happening::Client(client) => self.client_acts(client),
            Happening::Fault => self.fault(),
            Happening::Heal(fault) => self.heal(fault),
        }
    }

    pub(crate) fn is_life(&self, pid: Pid, life: u64) -> bool {
        self.processes[pid].up && self.processes[pid].life == life
    }

    /// Which process must be awake for it.
    fn addressee(&self, what: &Happening) -> Option<Pid> {
        match what {
            Happening::Timer { pid, .. } => Some(*pid),
            Happening::Request { to, life, .. } => self.is_life(*to, *life).then_some(*to),
            Happening::Reply { call, .. } => self.calls.get(call).and_then(|open| open.caller.pid()),
            _ => None,
        }
    }

    // ---- processes

    /// Starts a process that is down.
    pub(crate) fn start(&mut self, pid: Pid) {
        let process = &mut self.processes[pid];
        process.life += 1;
        process.up = true;
        process.paused = false;
        process.session = 0;
        process.controller.begin_life();
        if process.is_broker() {
            process.broker = Some(BrokerShell::default());
        }
        trace!(self, "start {}", self.processes[pid].id);
        self.timer(pid, 1, Timer::OpenSession);
        if self.processes[pid].is_broker() {
            self.timer(pid, LAG_MAX / 2, Timer::ShrinkIsr);
            let after = self.random.between(100, 5_000);
            self.timer(pid, after, Timer::Flush);
        }
    }

    /// The process dies at once. `torn`: with the machine, whose page cache is lost.
    pub(crate) fn kill(&mut self, pid: Pid, torn: bool) {
        trace!(self, "kill {} torn {torn}", self.processes[pid].id);
        let process = &mut self.processes[pid];
        process.up = false;
        process.paused = false;
        process.held.clear();
        process.to_zk.clear();
        process.from_zk.clear();
        for log in process.disk.values_mut() {
            let kept = torn.then(|| self.random.below(log.unflushed() as u64 + 1) as usize);
            log.restart(kept);
        }
        let (session, id) = (process.server_session, process.id);
        if torn {
            self.processes[pid].torn = true;
        }
        self.check.died(id);
        self.fall_silent(pid);
        // The next life has a session of its own; nobody goes on with this one.
        let since = self.processes[pid].silent_since.unwrap_or(self.now);
        let left = since + SESSION_TIMEOUT - self.now;
        let since = NEVER_AGAIN;
        self.later(left, Happening::SessionTimeout { pid, session, since });
        // With the machine goes the guardian.
        if !torn && self.random.chance(70) {
            let after = self.random.between(5, 100);
            self.later(after, Happening::Certificate { session });
        }
        // Whoever waits for it learns that the connection is gone.
        let waiting: Vec<_> = (self.calls.iter())
            .filter(|(_, call)| call.to == pid)
            .map(|(call, _)| *call)
            .collect();
        for call in waiting {
            let after = self.random.between(1, 20);
            self.later(after, Happening::Reply { call, reply: None });
        }
    }

    pub(crate) fn pause(&mut self, pid: Pid) {
        trace!(self, "pause {}", self.processes[pid].id);
        self.processes[pid].paused = true;
        self.fall_silent(pid);
    }

    pub(crate) fn resume(&mut self, pid: Pid) {
        if !self.processes[pid].paused {
            return;
        }
        trace!(self, "resume {}", self.processes[pid].id);
        self.processes[pid].paused = false;
        self.speak_up(pid);
        let held = std::mem::take(&mut self.processes[pid].held);
        for what in held {
            self.later(0, what);
        }
    }

    /// Cuts a process off from ZooKeeper, or joins it again.
    pub(crate) fn cut_from_zk(&mut self, pid: Pid, cut: bool) {
        trace!(self, "cut {} from zookeeper: {cut}", self.processes[pid].id);
        self.processes[pid].zk_cut = cut;
        if cut {
            self.fall_silent(pid);
        } else {
            for what in std::mem::take(&mut self.processes[pid].to_zk) {
                self.later(0, what);
            }
            self.speak_up(pid);
        }
    }

    fn fall_silent(&mut self, pid: Pid) {
        let process = &mut self.processes[pid];
        let since = *process.silent_since.get_or_insert(self.now);
        let session = process.server_session;
        let left = since + SESSION_TIMEOUT - self.now;
        self.later(left, Happening::SessionTimeout { pid, session, since });
    }

    fn speak_up(&mut self, pid: Pid) {
        let process = &mut self.processes[pid];
        if process.up && !process.paused && !process.zk_cut {
            process.silent_since = None;
            for what in std::mem::take(&mut process.from_zk) {
                self.later(0, what);
            }
        }
    }

    // ---- ZooKeeper

    pub(crate) fn expire(&mut self, pid: Pid, session: SessionId) {
        if !self.zk.is_open(session) {
            return;
        }
        trace!(self, "session {session} of {} expires", self.processes[pid].id);
        self.zk.expire(session);
        if self.processes[pid].server_session == session {
            self.tell(pid, session, ZkMessage::Expired);
        }
    }

    /// Sends a request to ZooKeeper.
    pub(crate) fn ask_zk(&mut self, pid: Pid, request: ZkRequest) {
        let after = self.random.between(0, 3);
        let process = &mut self.processes[pid];
        process.last_to_zk = process.last_to_zk.max(self.now + after);
        let (at, session) = (process.last_to_zk, process.session);
        self.at(at, Happening::ToZk { pid, session, request });
    }

    /// Sends something from ZooKeeper to a process.
    fn tell(&mut self, pid: Pid, session: SessionId, message: ZkMessage) {
        let after = self.random.between(0, 3);
        let process = &mut self.processes[pid];
        process.last_from_zk = process.last_from_zk.max(self.now + after);
        let (at, life) = (process.last_from_zk, process.life);
        self.at(
            at,
            Happening::FromZk {
                pid,
                life,
                session,
                message,
            },
        );
    }

    fn at_zk(&mut self, pid: Pid, session: SessionId, request: ZkRequest) {
        if self.processes[pid].zk_cut {
            self.processes[pid]
                .to_zk
                .push_back(Happening::ToZk { pid, session, request });
            return;
        }
        // What a session asked that is over is lost; its process learns, or has learnt, that it is over.
        if !self.zk.is_open(session) {
            return;
        }
        let race = Watcher { session, tag: RACE };
        let message = match request {
            ZkRequest::Read { term, id, at, reads } => {
                let watcher = Watcher { session, tag: term };
                let answers = reads.iter().map(|read| self.zk.read(read, watcher)).collect();
                ZkMessage::Answers { term, id, at, answers }
            }
            ZkRequest::Write {
                term,
                id,
                at,
                epoch,
                fence,
                ops,
            } => {
                let mut answers = Vec::new();
                for op in ops {
                    let path = op.path().to_owned();
                    let fenced = [Op::check(zk_schema::controller_epoch::PATH, fence), op];
                    match self.zk.multi(session, &fenced) {
                        Ok(mut done) => {
                            self.check.controller_wrote(epoch, &path);
                            answers.extend(done.pop());
                        }
                        Err((0, _)) => return self.tell(pid, session, ZkMessage::Fenced { term }),
                        Err((_, refusal)) => answers.push(refusal),
                    }
                }
                ZkMessage::Answers { term, id, at, answers }
            }
            ZkRequest::Look => self.looked(race),
            ZkRequest::Race { epoch, version } => {
                let candidate = zk_schema::controller::Controller::new(self.processes[pid].id, model::Millis(self.now));
                match self.zk.multi(session, &candidate.election(epoch, version)) {
                    Ok(done) => match done.last() {
                        Some(Answer::Written { version }) => {
                            self.check.elected(epoch, self.processes[pid].id);
                            ZkMessage::Won {
                                epoch,
                                version: *version,
                            }
                        }
                        _ => ZkMessage::Lost,
                    },
                    Err(_) => ZkMessage::Lost,
                }
            }
            ZkRequest::Resign { fence } => {
                let ops = [
                    Op::check(zk_schema::controller_epoch::PATH, fence),
                    Op::delete(zk_schema::controller::PATH, None),
                ];
                // Whether or not it was there, a look follows.
                let _ = self.zk.multi(session, &ops);
                return;
            }
            ZkRequest::Register => {
                let op = self.processes[pid]
                    .controller
                    .registration(self.processes[pid].is_broker());
                let path = op.path().to_owned();
                let done = self.zk.multi(session, &[op]);
                ZkMessage::Registered(match done {
                    Ok(_) => self.zk.node(&path).map(|node| BrokerEpoch(node.czxid)),
                    Err(_) => None,
                })
            }
        };
        self.tell(pid, session, message);
    }

    fn looked(&mut self, race: Watcher) -> ZkMessage {
        self.zk.watch(zk_schema::controller::PATH, false, race);
        self.zk.watch(zk_schema::ottla::COORDINATORS_PATH, true, race);
        let coordinators = self
            .zk
            .children(zk_schema::ottla::COORDINATORS_PATH)
            .map_or(0, |it| it.len());
        let holder = self.zk.node(zk_schema::controller::PATH).map(|node| {
            let decoded = zk_schema::controller::Controller::decode(&node.data);
            let id = decoded.expect("written by the election").broker_id;
            (id, node.owner, node.version)
        });
        let node = self
            .zk
            .node(zk_schema::controller_epoch::PATH)
            .expect("made with the cluster");
        let epoch = zk_schema::controller_epoch::decode(&node.data).expect("written by the election");
        ZkMessage::Looked {
            holder,
            epoch,
            version: node.version,
            coordinators,
        }
    }

    fn pass_on_watches(&mut self) {
        for (watcher, path) in std::mem::take(&mut self.zk.fired) {
            let owner = self
                .processes
                .iter()
                .position(|it| it.server_session == watcher.session);
            if let Some(pid) = owner {
                self.tell(pid, watcher.session, ZkMessage::Fired { tag: watcher.tag, path });
            }
        }
    }

    fn zk_says(&mut self, pid: Pid, session: SessionId, message: ZkMessage) {
        match message {
            ZkMessage::Connected => {
                self.processes[pid].session = session;
                self.ask_zk(pid, ZkRequest::Register);
                self.ask_zk(pid, ZkRequest::Look);
            }
            ZkMessage::Expired => {
                self.processes[pid].session = 0;
                self.deposed(pid);
                let after = self.random.between(1, 200);
                self.timer(pid, after, Timer::OpenSession);
            }
            ZkMessage::Registered(Some(epoch)) => {
                trace!(self, "{} registered with epoch {epoch}", self.processes[pid].id);
                if let Some(broker) = &mut self.processes[pid].broker {
                    broker.epoch = Some(epoch);
                }
            }
            ZkMessage::Registered(None) => {
                // The znode of an earlier life, which its session still holds.
                let after = self.random.between(50, 500);
                self.timer(pid, after, Timer::Register);
            }
            other => self.controller_hears(pid, other),
        }
    }

    fn ring(&mut self, pid: Pid, timer: Timer) {
        match timer {
            Timer::OpenSession => {
                if self.processes[pid].zk_cut {
                    return self.timer(pid, 200, timer);
                }
                let session = self.zk.open_session();
                self.processes[pid].server_session = session;
                self.processes[pid].silent_since = None;
                self.tell(pid, session, ZkMessage::Connected);
            }
            Timer::Register => self.ask_zk(pid, ZkRequest::Register),
            Timer::Rebalance(term) => self.rebalance_due(pid, term),
            Timer::Channel(term, broker) => self.pump(pid, term, broker),
            Timer::Fetch(leader) => self.fetch(pid, leader),
            Timer::FetchWaited(call) => self.fetch_waited(pid, call),
            Timer::ShrinkIsr => {
                self.shrink_isr(pid);
                self.timer(pid, LAG_MAX / 2, Timer::ShrinkIsr);
            }
            Timer::Propose => self.send_proposals(pid),
            Timer::Flush => {
                let all = self.random.chance(50);
                for log in self.processes[pid].disk.values_mut() {
                    if all || self.random.chance(50) {
                        log.flush();
                    }
                    log.checkpoint();
                }
                let after = self.random.between(500, 5_000);
                self.timer(pid, after, Timer::Flush);
            }
        }
    }

    // ---- calls

    fn hear_each_other(&self, caller: &Caller, to: Pid) -> bool {
        let Some(from) = caller.pid() else { return true };
        !self.cut.contains(&(from.min(to), from.max(to)))
    }

    /// Calls a process: its answer, or the news that the call has broken, goes to `caller`.
    pub(crate) fn call(&mut self, caller: Caller, to: Pid, request: Request) -> CallId {
        self.last_call += 1;
        let call = CallId(self.last_call);
        // A broker listens once it is registered.
        let listens = self.processes[to]
            .broker
            .as_ref()
            .is_none_or(|broker| broker.epoch.is_some());
        let reachable = self.processes[to].up && listens && self.hear_each_other(&caller, to);
        let life = self.processes[to].life;
        let broken = Happening::Reply { call, reply: None };
        if !reachable {
            let after = self.random.between(1, 300);
            self.later(after, broken);
        } else if self.random.per_mille(self.noise) {
            // The connection breaks. The request is lost, or arrives although nobody waits any more, perhaps much later.
            let after = self.random.between(1, 500);
            self.later(after, broken);
            if self.random.chance(60) {
                let late = self.random.chance(50);
                let after = self.random.between(0, if late { 12_000 } else { 50 });
                self.later(
                    after,
                    Happening::Request {
                        call,
                        to,
                        life,
                        request,
                    },
                );
            }
        } else {
            let slow = self.random.per_mille(self.noise);
            let after = self.random.between(0, if slow { 1_000 } else { 4 });
            self.later(
                after,
                Happening::Request {
                    call,
                    to,
                    life,
                    request,
                },
            );
            self.later(CALL_TIMEOUT, broken);
        }
        self.calls.insert(call, Call { caller, to });
        call
    }

    /// Answers a call. The caller may not wait for it any more.
    pub(crate) fn reply(&mut self, call: CallId, reply: Reply) {
        let Some(open) = self.calls.get(&call) else { return };
        if !self.hear_each_other(&open.caller, open.to) || self.random.per_mille(self.noise) {
            let after = self.random.between(1, 500);
            return self.later(after, Happening::Reply { call, reply: None });
        }
        let after = self.random.between(0, 4);
        self.later(
            after,
            Happening::Reply {
                call,
                reply: Some(reply),
            },
        );
    }
}
