//! Random histories, from a seed: coordinators that come and go over a log that is slow, fails and loses its end; clients that retry,
//! crash, come back and linger as zombies; partitions that take markers late or not at all. The invariants hold at every step, and once
//! things have calmed down nothing is open.
//!
//! What fails names its seed: `OTTLA_SEED=n` plays that history alone and prints it, `OTTLA_SEEDS=from..to` plays many.
//!
//! What the protocol of 3.9 itself cannot stand is left out: a copy of a client's request, or of a marker, that arrives after its sender
//! has had the answer and gone on to the next transaction of the same epoch (KIP-890, part 2).

use std::collections::{BTreeMap, BTreeSet};

use model::{LeaderEpoch, Millis, ProducerId, TopicPartition};

use super::super::*;
use super::bench::WALL;

const SEEDS: u64 = 400;
const STEPS: usize = 1_500;
const PARTITIONS: i32 = 3;
/// What a calm world may take: a timeout, the scan that finds it, every marker and record after it.
const CALM_MS: i64 = 120_000;

#[test]
fn transactions_stay_whole_in_random_histories() {
    if let Some(seed) = std::env::var("OTTLA_SEED").ok().and_then(|it| it.parse().ok()) {
        println!("{:?}", World::new(seed, true).play());
        return;
    }
    let seeds = std::env::var("OTTLA_SEEDS").ok().and_then(|it| {
        let (from, to) = it.split_once("..")?;
        Some(from.parse().ok()?..to.parse().ok()?)
    });
    let mut sum = Figures::default();
    for seed in seeds.unwrap_or(0..SEEDS) {
        match std::panic::catch_unwind(|| World::new(seed, false).play()) {
            Ok(figures) => sum.add(&figures),
            Err(_) => panic!("seed {seed} fails: OTTLA_SEED={seed} plays it alone"),
        }
    }
    println!("{sum:?}");
    // Histories in which nothing happens hold every invariant.
    assert!(
        sum.committed > 1_000 && sum.aborted > 1_000 && sum.fenced > 300 && sum.failovers > 1_000,
        "{sum:?}"
    );
    assert!(
        sum.timed_out > 100 && sum.unknown > 100 && sum.lost_records > 300,
        "{sum:?}"
    );
}

/// What has happened, so that a simulation that does nothing is seen.
#[derive(Debug, Default)]
struct Figures {
    committed: usize,
    aborted: usize,
    fenced: usize,
    timed_out: usize,
    failovers: usize,
    lost_records: usize,
    /// Ends whose answer the client never had.
    unknown: usize,
}

impl Figures {
    fn add(&mut self, other: &Self) {
        self.committed += other.committed;
        self.aborted += other.aborted;
        self.fenced += other.fenced;
        self.timed_out += other.timed_out;
        self.failovers += other.failovers;
        self.lost_records += other.lost_records;
        self.unknown += other.unknown;
    }
}

/// SplitMix64.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) % bound as u64) as usize
    }

    fn one_in(&mut self, bound: usize) -> bool {
        self.below(bound) == 0
    }
}

/// One transaction of one client process: what its records are tagged with.
type Tag = u64;

/// A client process. A successor of the same transactional id is another process; this one may linger.
#[derive(Debug)]
struct Client {
    id: &'static str,
    producer: Option<Producer>,
    /// What it waits for: the correlation of the request, and the request.
    asks: Option<(u64, Ask)>,
    /// The coordinator that it has found. It never goes back to an older one.
    coordinator: usize,
    tag: Tag,
    added: BTreeSet<i32>,
    is_dead: bool,
}

#[derive(Clone, Debug)]
enum Ask {
    Init(Option<Producer>),
    Add(BTreeSet<i32>),
    End(TransactionResult),
}

/// What the world knows of a transaction, to be compared with what becomes of it.
#[derive(Debug, Default)]
struct Fate {
    written: BTreeSet<i32>,
    /// What became of its records, by partition.
    ends: BTreeMap<i32, TransactionResult>,
    /// Its client has asked for this.
    asked: BTreeSet<&'static str>,
    /// And was told that it is so.
    told: Option<TransactionResult>,
    /// The next producer has begun; nothing may change any more.
    is_over: bool,
}

/// A data partition, as far as transactions concern it.
#[derive(Debug, Default)]
struct Data {
    producers: BTreeMap<ProducerId, DataProducer>,
    is_deleted: bool,
}

#[derive(Debug)]
struct DataProducer {
    epoch: i16,
    coordinator_epoch: i32,
    open: BTreeSet<Tag>,
}

#[derive(Debug)]
enum Message {
    Request {
        client: usize,
        correlation: u64,
        ask: Ask,
    },
    Answer {
        client: usize,
        correlation: u64,
        answer: Result<Option<Producer>, TransactionError>,
    },
    Marker {
        coordinator: usize,
        id: MarkersId,
        producer: Producer,
        coordinator_epoch: LeaderEpoch,
        result: TransactionResult,
        partition: i32,
    },
    MarkerAnswer {
        coordinator: usize,
        id: MarkersId,
        partition: i32,
        outcome: MarkerOutcome,
    },
}

/// A coordinator, current or not. One that has been deposed lives on until it learns so.
struct Coordinator {
    core: Option<Transactions>,
    log: Vec<Record>,
    /// Appended and not yet replicated: which write, and the end of its records.
    waiting: Vec<(WriteId, usize)>,
    tickets: BTreeMap<Ticket, (usize, u64)>,
}

struct World {
    random: Random,
    prints: bool,
    now: i64,
    coordinators: Vec<Coordinator>,
    /// Of the current coordinator's log, what every replica has.
    replicated: usize,
    clients: Vec<Client>,
    partitions: Vec<Data>,
    messages: Vec<Message>,
    fates: BTreeMap<Tag, Fate>,
    figures: Figures,
    next: u64,
    next_producer_id: i64,
    is_calm: bool,
}

fn partition(number: i32) -> TopicPartition {
    TopicPartition::new("t", number)
}

const IDS: [&str; 2] = ["x", "y"];

impl World {
    fn new(seed: u64, prints: bool) -> Self {
        let mut world = Self {
            random: Random(seed),
            prints,
            now: 0,
            coordinators: Vec::new(),
            replicated: 0,
            clients: Vec::new(),
            partitions: (0..PARTITIONS).map(|_| Data::default()).collect(),
            messages: Vec::new(),
            fates: BTreeMap::new(),
            figures: Figures::default(),
            next: 0,
            next_producer_id: 0,
            is_calm: false,
        };
        world.elect(Vec::new());
        for id in IDS {
            world.start_client(id);
        }
        world
    }

    fn at(&self) -> Now {
        Now {
            wall: Millis(WALL + self.now),
            steady: Millis(self.now),
        }
    }

    fn number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    fn say(&self, what: impl FnOnce() -> String) {
        if self.prints {
            println!("{:>7} {}", self.now, what());
        }
    }

    fn play(mut self) -> Figures {
        for _ in 0..STEPS {
            self.step();
            self.check();
        }
        self.calm_down();
        self.figures
    }

    fn step(&mut self) {
        match self.random.below(1_000) {
            0..450 => self.deliver(),
            450..680 => self.client_acts(),
            680..880 => self.replicate(),
            880..978 => {
                let ms = if self.random.one_in(40) { 15_000 } else { 40 };
                let ms = self.random.below(ms);
                self.pass(ms as i64);
            }
            978..983 => self.crash_client(),
            983..988 => self.fail_over(),
            988..993 => self.depose_learns(),
            993..998 => self.lose(),
            _ => self.delete_partition(),
        }
    }

    // The coordinator and its log

    fn current(&self) -> usize {
        self.coordinators.len() - 1
    }

    /// A new leader, with this log, all of which is replicated before it begins.
    fn elect(&mut self, log: Vec<Record>) {
        let mut loader = Loader::new();
        for record in &log {
            loader.replay(&record.key, record.value.as_deref()).unwrap();
        }
        let epoch = LeaderEpoch(self.coordinators.len() as i32);
        let config = TransactionConfig {
            transactional_id_expiration: Millis(60_000),
            remove_expired_interval: Millis(20_000),
            ..TransactionConfig::default()
        };
        let core = loader.finish(config, epoch, self.at());
        self.replicated = log.len();
        self.coordinators.push(Coordinator {
            core: Some(core),
            log,
            waiting: Vec::new(),
            tickets: BTreeMap::new(),
        });
        self.perform(self.current());
    }

    fn fail_over(&mut self) {
        let old = &self.coordinators[self.current()];
        // What is replicated survives; of the rest, as much as the new leader happens to have.
        let end = self.replicated + self.random.below(old.log.len() - self.replicated + 1);
        let log = old.log[..end].to_vec();
        self.figures.lost_records += old.log.len() - end;
        self.figures.failovers += 1;
        self.say(|| format!("new coordinator, {} records lost", old.log.len() - end));
        self.elect(log);
    }

    /// A deposed coordinator hears of it.
    fn depose_learns(&mut self) {
        let index = self.random.below(self.coordinators.len());
        if index == self.current() {
            return;
        }
        let now = self.at();
        if let Some(mut core) = self.coordinators[index].core.take() {
            // Before that, its followers may have refused what it appended.
            if self.random.one_in(2) {
                for (id, _) in std::mem::take(&mut self.coordinators[index].waiting) {
                    core.appended(id, Err(AppendFailure::NotLeader), now);
                }
            }
            let effects = core.resign();
            self.perform_all(index, effects);
            assert!(
                self.coordinators[index].tickets.is_empty(),
                "somebody waits for a coordinator that is gone"
            );
        }
    }

    /// Lets a core act, and performs what it decides.
    fn act(&mut self, index: usize, what: impl FnOnce(&mut Transactions, Now)) {
        let now = self.at();
        if let Some(core) = &mut self.coordinators[index].core {
            what(core, now);
        }
        self.perform(index);
    }

    fn perform(&mut self, index: usize) {
        while let Some(core) = &mut self.coordinators[index].core {
            let effects = core.take_effects();
            if effects.is_empty() {
                return;
            }
            self.perform_all(index, effects);
        }
    }

    fn perform_all(&mut self, index: usize, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::Append(id, append) => self.append(index, id, append),
                Effect::Send(markers) => self.send(index, markers),
                Effect::Initialized(ticket, answer) => self.answer(index, ticket, answer.map(Some)),
                Effect::Added(ticket, answer) | Effect::Ended(ticket, answer) => {
                    self.answer(index, ticket, answer.map(|()| None));
                }
                Effect::Note(note) => {
                    self.say(|| format!("[{index}] {note:?}"));
                    if let Note::TimedOut { .. } = note {
                        self.figures.timed_out += 1;
                    }
                }
            }
        }
    }

    fn append(&mut self, index: usize, id: WriteId, append: Append) {
        self.say(|| {
            format!(
                "[{index}] appends {:?}",
                append.records.iter().map(shown).collect::<Vec<_>>()
            )
        });
        if !self.is_calm && self.random.one_in(15) {
            self.act(index, |core, now| {
                core.appended(id, Err(AppendFailure::NotAvailable), now)
            });
            return;
        }
        let coordinator = &mut self.coordinators[index];
        coordinator.log.extend(append.records);
        coordinator.waiting.push((id, coordinator.log.len()));
    }

    /// The followers of the current coordinator catch up, not always in time.
    fn replicate(&mut self) {
        let index = self.current();
        let behind = self.coordinators[index].log.len() - self.replicated;
        if behind == 0 {
            return;
        }
        if !self.is_calm && self.random.one_in(12) {
            // Nobody waits any longer for the first of them. It is in the log all the same, and may yet be replicated.
            if !self.coordinators[index].waiting.is_empty() {
                let (id, _) = self.coordinators[index].waiting.remove(0);
                self.say(|| format!("[{index}] {id:?} not replicated in time"));
                self.act(index, |core, now| core.appended(id, Err(AppendFailure::TimedOut), now));
            }
            return;
        }
        self.replicated += 1 + self.random.below(behind);
        while let Some((id, end)) = self.coordinators[index].waiting.first().copied()
            && end <= self.replicated
        {
            self.coordinators[index].waiting.remove(0);
            self.act(index, |core, now| core.appended(id, Ok(()), now));
        }
    }

    // Markers

    fn send(&mut self, index: usize, markers: Markers) {
        self.say(|| format!("[{index}] sends {markers:?}"));
        self.a_marker_follows_its_replicated_decision(&markers);
        for to in &markers.partitions {
            self.messages.push(Message::Marker {
                coordinator: index,
                id: markers.id,
                producer: markers.producer,
                coordinator_epoch: markers.coordinator_epoch,
                result: markers.result,
                partition: to.partition,
            });
        }
    }

    /// As `ProducerAppendInfo` takes a marker, or refuses it.
    fn write_marker(
        &mut self,
        producer: Producer,
        coordinator_epoch: LeaderEpoch,
        result: TransactionResult,
        number: i32,
    ) -> MarkerOutcome {
        let data = &mut self.partitions[number as usize];
        if data.is_deleted {
            return MarkerOutcome::Deleted;
        }
        let entry = data.producers.entry(producer.id).or_insert(DataProducer {
            epoch: producer.epoch.0,
            coordinator_epoch: -1,
            open: BTreeSet::new(),
        });
        if producer.epoch.0 < entry.epoch || coordinator_epoch.0 < entry.coordinator_epoch {
            return MarkerOutcome::Fenced;
        }
        entry.epoch = producer.epoch.0;
        entry.coordinator_epoch = coordinator_epoch.0;
        for tag in std::mem::take(&mut entry.open) {
            self.end_in_partition(tag, number, result);
        }
        MarkerOutcome::Written
    }

    fn end_in_partition(&mut self, tag: Tag, number: i32, result: TransactionResult) {
        self.say(|| format!("transaction {tag} ends in {number}: {result:?}"));
        let fate = self.fates.entry(tag).or_default();
        assert!(
            !fate.is_over,
            "transaction {tag} ends in {number} when its successor has begun"
        );
        let earlier = fate.ends.insert(number, result);
        assert_eq!(earlier, None, "transaction {tag} ends twice in {number}");
        assert!(
            fate.ends.values().all(|other| *other == result),
            "transaction {tag} commits and aborts: {fate:?}"
        );
        if result == TransactionResult::Commit {
            assert!(fate.asked.contains("commit"), "transaction {tag} commits unasked");
            assert_ne!(
                fate.told,
                Some(TransactionResult::Abort),
                "transaction {tag} was acknowledged as aborted"
            );
            self.figures.committed += 1;
        } else {
            assert_ne!(
                fate.told,
                Some(TransactionResult::Commit),
                "transaction {tag} was acknowledged as committed"
            );
            self.figures.aborted += 1;
        }
    }

    // Messages

    fn deliver(&mut self) {
        if self.messages.is_empty() {
            return;
        }
        let which = self.random.below(self.messages.len());
        let message = self.messages.swap_remove(which);
        match message {
            Message::Request {
                client,
                correlation,
                ask,
            } => self.request(client, correlation, ask),
            Message::Answer {
                client,
                correlation,
                answer,
            } => self.answered(client, correlation, answer),
            Message::Marker {
                coordinator,
                id,
                producer,
                coordinator_epoch,
                result,
                partition,
            } => {
                let refuses = !self.is_calm && self.random.one_in(8);
                let mut outcome = MarkerOutcome::Retry;
                if !refuses {
                    outcome = self.write_marker(producer, coordinator_epoch, result, partition);
                    // Written, but the answer is lost: the sender is told that the connection broke.
                    if !self.is_calm && self.random.one_in(8) {
                        outcome = MarkerOutcome::Retry;
                    }
                }
                let current = coordinator == self.current();
                assert!(
                    !(current && outcome == MarkerOutcome::Fenced),
                    "the current coordinator is fenced"
                );
                self.messages.push(Message::MarkerAnswer {
                    coordinator,
                    id,
                    partition,
                    outcome,
                });
            }
            Message::MarkerAnswer {
                coordinator,
                id,
                partition: number,
                outcome,
            } => self.act(coordinator, |core, now| {
                core.markers_answered(id, [(partition(number), outcome)], now);
            }),
        }
    }

    /// The network loses a request or an answer; its client asks again.
    fn lose(&mut self) {
        let Some(which) = self
            .messages
            .iter()
            .position(|it| matches!(it, Message::Request { .. } | Message::Answer { .. }))
        else {
            return;
        };
        self.messages.swap_remove(which);
    }

    fn request(&mut self, client: usize, correlation: u64, ask: Ask) {
        let sender = &self.clients[client];
        // A copy of something that was answered already.
        if !sender.is_dead && sender.asks.as_ref().map(|(asked, _)| *asked) != Some(correlation) {
            return;
        }
        let index = sender.coordinator;
        if self.coordinators[index].core.is_none() {
            let answer = Err(TransactionError::NotCoordinator);
            self.messages.push(Message::Answer {
                client,
                correlation,
                answer,
            });
            return;
        }
        let (id, producer) = (sender.id, sender.producer);
        let ticket = Ticket(self.number());
        self.coordinators[index].tickets.insert(ticket, (client, correlation));
        self.say(|| format!("[{index}] hears client {client} ({id}, {producer:?}): {ask:?}"));
        match ask {
            Ask::Init(expected) => {
                self.next_producer_id += 1;
                let fresh = ProducerId(self.next_producer_id);
                let request = InitRequest {
                    transactional_id: id.into(),
                    timeout_ms: 10_000,
                    expected,
                };
                self.act(index, |core, now| {
                    core.init_producer_id(ticket, &request, || Ok(fresh), now);
                });
            }
            Ask::Add(added) => {
                let request = AddPartitionsRequest {
                    transactional_id: id.into(),
                    producer: producer.expect("added without a producer"),
                    partitions: added.into_iter().map(partition).collect(),
                };
                self.act(index, |core, now| core.add_partitions(ticket, request, now));
            }
            Ask::End(result) => {
                let request = EndRequest {
                    transactional_id: id.into(),
                    producer: producer.expect("ended without a producer"),
                    result,
                };
                self.act(index, |core, now| core.end(ticket, &request, now));
            }
        }
    }

    fn answer(&mut self, index: usize, ticket: Ticket, answer: Result<Option<Producer>, TransactionError>) {
        let waiting = self.coordinators[index].tickets.remove(&ticket);
        let (client, correlation) = waiting.expect("a ticket is answered twice");
        self.say(|| format!("[{index}] answers client {client}: {answer:?}"));
        let asked = &self.clients[client];
        if let (Some((waits_for, Ask::End(result))), Ok(None)) = (&asked.asks, answer)
            && *waits_for == correlation
        {
            let (tag, result) = (asked.tag, *result);
            let fate = self.fates.entry(tag).or_default();
            assert!(
                fate.ends.values().all(|end| *end == result),
                "transaction {tag}: {result:?} is acknowledged, but {fate:?}"
            );
            fate.told = Some(result);
        }
        if let Ok(Some(producer)) = answer {
            self.the_one_before_is_over(client, producer);
        }
        self.messages.push(Message::Answer {
            client,
            correlation,
            answer,
        });
    }

    // Clients

    fn start_client(&mut self, id: &'static str) {
        let tag = self.number();
        self.clients.push(Client {
            id,
            producer: None,
            asks: None,
            coordinator: self.current(),
            tag,
            added: BTreeSet::new(),
            is_dead: false,
        });
        let client = self.clients.len() - 1;
        self.ask(client, Ask::Init(None));
    }

    /// Crashed, or taken for crashed: then it goes on beside its successor.
    fn crash_client(&mut self) {
        let id = IDS[self.random.below(IDS.len())];
        if self.random.one_in(2) {
            for client in &mut self.clients {
                client.is_dead |= client.id == id;
            }
        }
        self.say(|| format!("{id} is started anew"));
        self.start_client(id);
    }

    fn ask(&mut self, client: usize, ask: Ask) {
        let correlation = self.number();
        let (tag, producer) = (self.clients[client].tag, self.clients[client].producer);
        if let Ask::End(result) = ask {
            let fate = self.fates.entry(tag).or_default();
            fate.asked.insert(match result {
                TransactionResult::Commit => "commit",
                TransactionResult::Abort => "abort",
            });
        }
        self.say(|| format!("client {client} ({producer:?}, transaction {tag}) asks {ask:?}"));
        self.clients[client].asks = Some((correlation, ask.clone()));
        self.messages.push(Message::Request {
            client,
            correlation,
            ask,
        });
    }

    fn client_acts(&mut self) {
        let alive: Vec<usize> = (0..self.clients.len())
            .filter(|it| !self.clients[*it].is_dead)
            .collect();
        if alive.is_empty() {
            return;
        }
        let index = alive[self.random.below(alive.len())];
        if let Some((correlation, ask)) = self.clients[index].asks.clone() {
            // What it has produced may arrive after its request to end the transaction.
            if matches!(ask, Ask::End(_)) && self.random.one_in(4) {
                self.write(index);
            }
            if !self.random.one_in(5) {
                return;
            }
            // Asks again what was not answered, perhaps somebody else.
            let moves = self
                .random
                .below(self.coordinators.len() - self.clients[index].coordinator);
            self.clients[index].coordinator += moves;
            self.messages.push(Message::Request {
                client: index,
                correlation,
                ask,
            });
            return;
        }
        let Some(producer) = self.clients[index].producer else {
            self.ask(index, Ask::Init(None));
            return;
        };
        match self.random.below(10) {
            0..4 if !self.clients[index].added.is_empty() => self.write(index),
            0..6 => {
                let added = (0..PARTITIONS).filter(|_| self.random.one_in(2));
                let added: BTreeSet<i32> = added.collect();
                if !added.is_empty() && !self.is_calm {
                    self.ask(index, Ask::Add(added));
                }
            }
            6..8 if !self.clients[index].added.is_empty() => self.ask(index, Ask::End(TransactionResult::Commit)),
            8 if !self.clients[index].added.is_empty() => self.ask(index, Ask::End(TransactionResult::Abort)),
            9 if self.clients[index].added.is_empty() && self.random.one_in(3) => {
                self.ask(index, Ask::Init(Some(producer)));
            }
            _ => {}
        }
    }

    /// A transactional write, verified with the coordinator as KIP-890 has it.
    fn write(&mut self, index: usize) {
        let client = &self.clients[index];
        let Some(producer) = client.producer else { return };
        let tag = client.tag;
        let added: Vec<i32> = client.added.iter().copied().collect();
        let number = added[self.random.below(added.len())];
        let request = AddPartitionsRequest {
            transactional_id: client.id.into(),
            producer,
            partitions: [partition(number)].into(),
        };
        let current = self.current();
        let Some(core) = &self.coordinators[current].core else {
            return;
        };
        let is_part = core
            .verify_partitions(&request)
            .is_ok_and(|all| all.iter().all(|(_, answer)| answer.is_ok()));
        let data = &mut self.partitions[number as usize];
        if !is_part || data.is_deleted {
            return;
        }
        let entry = data.producers.entry(producer.id).or_insert(DataProducer {
            epoch: producer.epoch.0,
            coordinator_epoch: -1,
            open: BTreeSet::new(),
        });
        if producer.epoch.0 < entry.epoch {
            return;
        }
        assert!(
            producer.epoch.0 == entry.epoch || entry.open.is_empty(),
            "client {index} writes over an open transaction of an older epoch"
        );
        entry.epoch = producer.epoch.0;
        entry.open.insert(tag);
        let fate = self.fates.entry(tag).or_default();
        fate.written.insert(number);
        assert!(
            !fate.ends.contains_key(&number),
            "client {index} writes into {number} after transaction {tag} has ended there"
        );
        self.say(|| format!("client {index} writes into {number}, transaction {tag}"));
    }

    fn answered(&mut self, index: usize, correlation: u64, answer: Result<Option<Producer>, TransactionError>) {
        use TransactionError::*;
        let fresh_tag = self.number();
        let current = self.current();
        let client = &mut self.clients[index];
        let Some((asked, ask)) = client.asks.clone() else {
            return;
        };
        if asked != correlation || client.is_dead {
            return;
        }
        match (answer, ask) {
            (Ok(Some(producer)), Ask::Init(_)) => {
                client.producer = Some(producer);
                client.added.clear();
                client.asks = None;
                client.tag = fresh_tag;
            }
            (Ok(None), Ask::Add(added)) => {
                client.added.extend(added);
                client.asks = None;
            }
            (Ok(None), Ask::End(_)) => {
                client.added.clear();
                client.asks = None;
                client.tag = fresh_tag;
            }
            (Ok(answer), ask) => panic!("client {index} asked {ask:?} and was told {answer:?}"),
            // Asks again, by and by; and looks for the coordinator if this is none.
            (Err(ConcurrentTransactions | CoordinatorLoadInProgress), _) => {}
            (Err(NotCoordinator | CoordinatorNotAvailable), _) => client.coordinator = current,
            (Err(error), ask) => {
                self.say(|| format!("client {index} gives up: {error:?}"));
                let client = &mut self.clients[index];
                if error == ProducerFenced {
                    self.figures.fenced += 1;
                }
                if matches!(ask, Ask::End(_)) {
                    self.figures.unknown += 1;
                }
                client.is_dead = true;
                client.asks = None;
                let id = client.id;
                // Its host starts it anew, unless somebody has taken its place.
                if self.clients.iter().all(|other| other.is_dead || other.id != id) {
                    self.start_client(id);
                }
            }
        }
    }

    // Time and mishaps

    /// Time passes for every coordinator, the deposed ones too.
    fn pass(&mut self, ms: i64) {
        let until = self.now + ms;
        loop {
            let due = self.coordinators.iter().enumerate().filter_map(|(index, coordinator)| {
                let core = coordinator.core.as_ref()?;
                Some((core.next_deadline().0, index))
            });
            let Some((at, index)) = due.min().filter(|(at, _)| *at <= until) else {
                break;
            };
            self.now = self.now.max(at);
            self.act(index, |core, now| core.tick(now));
        }
        self.now = until;
    }

    fn delete_partition(&mut self) {
        let last = self.partitions.len() - 1;
        if self.random.one_in(20) && !self.partitions[last].is_deleted {
            self.say(|| format!("partition {last} is deleted"));
            self.partitions[last].is_deleted = true;
            for entry in self.partitions[last].producers.values_mut() {
                entry.open.clear();
            }
            for fate in self.fates.values_mut() {
                fate.written.remove(&(last as i32));
                fate.ends.remove(&(last as i32));
            }
        }
    }

    // Invariants

    /// Its `Prepare` record is in what every replica has.
    fn a_marker_follows_its_replicated_decision(&self, markers: &Markers) {
        let state = match markers.result {
            TransactionResult::Commit => TransactionState::PrepareCommit,
            TransactionResult::Abort => TransactionState::PrepareAbort,
        };
        let current = self.current();
        let decided = self.coordinators[current].log[..self.replicated].iter().any(|record| {
            record.value.as_deref().is_some_and(|value| {
                let stored = StoredTransaction::decode(value).unwrap();
                stored.state == state && stored.producer == markers.producer
            })
        });
        assert!(decided, "{markers:?} without a replicated decision");
    }

    /// Once a producer has its id and epoch, nothing of its predecessors is open, nor will be.
    fn the_one_before_is_over(&mut self, client: usize, producer: Producer) {
        let id = self.clients[client].id;
        let tags: BTreeSet<Tag> = self.clients.iter().filter(|it| it.id == id).map(|it| it.tag).collect();
        for (number, data) in self.partitions.iter().enumerate() {
            for entry in data.producers.values() {
                let left: Vec<_> = entry.open.intersection(&tags).collect();
                assert!(
                    left.is_empty(),
                    "{id} begins with {producer:?} while {left:?} are open in {number}"
                );
            }
        }
    }

    fn check(&mut self) {
        for (tag, fate) in &self.fates {
            let first = fate.ends.values().next();
            assert!(
                fate.ends.values().all(|end| Some(end) == first),
                "transaction {tag}: {fate:?}"
            );
        }
        // An id has at most one record under way: what waits at one coordinator is of different ids.
        for coordinator in &self.coordinators {
            assert!(coordinator.waiting.len() <= IDS.len() + 1, "more appends than ids");
        }
    }

    /// Nothing fails any more, clients go away: in the end every transaction is over, everywhere in the same way.
    fn calm_down(&mut self) {
        self.is_calm = true;
        self.say(|| "calm".to_owned());
        for client in &mut self.clients {
            client.is_dead = true;
        }
        let until = self.now + CALM_MS;
        while self.now < until {
            while self.coordinators[self.current()].log.len() > self.replicated || !self.messages.is_empty() {
                self.replicate();
                self.deliver();
                self.check();
            }
            self.pass(500);
        }
        for (number, data) in self.partitions.iter().enumerate() {
            for (producer_id, entry) in &data.producers {
                assert!(
                    entry.open.is_empty(),
                    "producer {producer_id} has an open transaction in {number}: {entry:?}"
                );
            }
        }
        for (tag, fate) in &self.fates {
            for number in &fate.written {
                let end = fate.ends.get(number);
                assert!(end.is_some(), "transaction {tag} has no end in {number}: {fate:?}");
                if let Some(told) = fate.told {
                    assert_eq!(end, Some(&told), "transaction {tag} was acknowledged otherwise");
                }
            }
        }
        let Some(core) = &self.coordinators[self.current()].core else {
            panic!("no coordinator")
        };
        assert_eq!(core.owed_count(), 0);
        for listed in core.list(&ListFilter::default(), self.at()) {
            assert!(listed.state.may_expire(), "{listed:?} is not over");
        }
        assert!(
            self.coordinators[self.current()].tickets.is_empty(),
            "a request was never answered"
        );
    }
}

fn shown(record: &Record) -> String {
    let Ok(Key::Transaction(id)) = Key::decode(&record.key) else {
        return format!("{:?}", record.key);
    };
    match record.value.as_deref().map(StoredTransaction::decode) {
        Some(Ok(stored)) => format!("{id} {} {:?} {:?}", stored.state, stored.producer, stored.partitions),
        Some(Err(error)) => format!("{id} {error}"),
        None => format!("{id} gone"),
    }
}
