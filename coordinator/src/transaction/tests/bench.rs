//! A core on a bench: requests in, appends held until the test stores or fails them, everything else as a list.

use std::collections::{BTreeSet, VecDeque};

use model::{LeaderEpoch, Millis, ProducerEpoch, ProducerId, TopicPartition};

use super::super::*;

/// 2023, so that wall clock and steady clock are not taken for each other.
pub(super) const WALL: i64 = 1_700_000_000_000;

/// The leader epoch of every core here.
pub(super) const COORDINATOR: LeaderEpoch = LeaderEpoch(5);

/// The first producer id that is handed out.
pub(super) const FIRST_ID: i64 = 4_000;

pub(super) fn at(steady: i64) -> Now {
    Now {
        wall: Millis(WALL + steady),
        steady: Millis(steady),
    }
}

pub(super) fn producer(id: i64, epoch: i16) -> Producer {
    Producer {
        id: ProducerId(id),
        epoch: ProducerEpoch(epoch),
    }
}

/// `a-0 b-2` as partitions.
pub(super) fn partitions(names: &str) -> BTreeSet<TopicPartition> {
    let partition = |name: &str| {
        let (topic, partition) = name.rsplit_once('-').unwrap();
        TopicPartition::new(topic, partition.parse().unwrap())
    };
    names.split_whitespace().map(partition).collect()
}

pub(super) fn stored(state: TransactionState, producer: Producer, names: &str) -> StoredTransaction {
    StoredTransaction {
        producer,
        timeout_ms: 60_000,
        state,
        partitions: partitions(names),
        last_update: Millis(WALL),
        start: if state == TransactionState::Empty {
            Millis::NONE
        } else {
            Millis(WALL)
        },
    }
}

pub(super) struct Bench {
    pub(super) core: Transactions,
    pub(super) now: i64,
    /// Appends whose outcome is open, oldest first.
    pub(super) held: VecDeque<(WriteId, Append)>,
    pub(super) sent: Vec<Markers>,
    pub(super) notes: Vec<Note>,
    /// Answers, newest last, as (ticket, answer).
    answers: Vec<(Ticket, Result<Option<Producer>, TransactionError>)>,
    tickets: u64,
    pub(super) next_id: i64,
}

impl Bench {
    pub(super) fn new() -> Self {
        Self::with_core(Transactions::new(TransactionConfig::default(), COORDINATOR, at(0)))
    }

    /// One id, `x`, as it was loaded.
    pub(super) fn loaded(transaction: &StoredTransaction) -> Self {
        let mut loader = Loader::new();
        let key = Key::encode("x").unwrap();
        let value = transaction.encode(false).unwrap();
        loader.replay(&key, Some(&value)).unwrap();
        Self::with_core(loader.finish(TransactionConfig::default(), COORDINATOR, at(0)))
    }

    fn with_core(core: Transactions) -> Self {
        let mut bench = Self {
            core,
            now: 0,
            held: VecDeque::new(),
            sent: Vec::new(),
            notes: Vec::new(),
            answers: Vec::new(),
            tickets: 0,
            next_id: FIRST_ID,
        };
        bench.take();
        bench
    }

    fn take(&mut self) {
        for effect in self.core.take_effects() {
            match effect {
                Effect::Append(id, append) => self.held.push_back((id, append)),
                Effect::Send(markers) => self.sent.push(markers),
                Effect::Initialized(ticket, answer) => self.answers.push((ticket, answer.map(Some))),
                Effect::Added(ticket, answer) | Effect::Ended(ticket, answer) => {
                    self.answers.push((ticket, answer.map(|()| None)));
                }
                Effect::Note(note) => self.notes.push(note),
            }
        }
    }

    fn ticket(&mut self) -> Ticket {
        self.tickets += 1;
        Ticket(self.tickets)
    }

    /// The answer to `ticket`, if there is one; `None` while it waits.
    pub(super) fn answer(&self, ticket: Ticket) -> Option<Result<Option<Producer>, TransactionError>> {
        let all: Vec<_> = self.answers.iter().filter(|(other, _)| *other == ticket).collect();
        assert!(all.len() <= 1, "answered twice: {all:?}");
        all.first().map(|(_, answer)| *answer)
    }

    pub(super) fn init(&mut self, id: &str, expected: Option<Producer>) -> Ticket {
        let request = InitRequest {
            transactional_id: id.into(),
            timeout_ms: 60_000,
            expected,
        };
        self.init_as(&request)
    }

    pub(super) fn init_as(&mut self, request: &InitRequest) -> Ticket {
        let ticket = self.ticket();
        let (now, next_id) = (at(self.now), &mut self.next_id);
        let new_id = || {
            *next_id += 1;
            Ok(ProducerId(*next_id - 1))
        };
        self.core.init_producer_id(ticket, request, new_id, now);
        self.take();
        ticket
    }

    pub(super) fn add(&mut self, id: &str, producer: Producer, names: &str) -> Ticket {
        let ticket = self.ticket();
        let request = AddPartitionsRequest {
            transactional_id: id.into(),
            producer,
            partitions: partitions(names),
        };
        self.core.add_partitions(ticket, request, at(self.now));
        self.take();
        ticket
    }

    pub(super) fn end(&mut self, id: &str, producer: Producer, result: TransactionResult) -> Ticket {
        let ticket = self.ticket();
        let request = EndRequest {
            transactional_id: id.into(),
            producer,
            result,
        };
        self.core.end(ticket, &request, at(self.now));
        self.take();
        ticket
    }

    /// The oldest open append is stored and replicated; what it was.
    pub(super) fn store(&mut self) -> Append {
        self.settle(Ok(()))
    }

    pub(super) fn fail(&mut self, failure: AppendFailure) -> Append {
        self.settle(Err(failure))
    }

    fn settle(&mut self, outcome: Result<(), AppendFailure>) -> Append {
        let (id, append) = self.held.pop_front().expect("nothing is being appended");
        self.core.appended(id, outcome, at(self.now));
        self.take();
        append
    }

    pub(super) fn markers_answered(&mut self, id: MarkersId, names: &str, outcome: MarkerOutcome) {
        let outcomes = partitions(names).into_iter().map(|partition| (partition, outcome));
        self.core.markers_answered(id, outcomes, at(self.now));
        self.take();
    }

    /// Goes on to `until`, stopping wherever something is due.
    pub(super) fn advance(&mut self, until: i64) {
        while self.core.next_deadline().0 <= until {
            self.now = self.now.max(self.core.next_deadline().0);
            self.core.tick(at(self.now));
            self.take();
        }
        self.now = until;
    }

    /// Goes to `moment` at once, and lets happen what is due then.
    pub(super) fn tick_at(&mut self, moment: i64) {
        self.now = moment;
        self.core.tick(at(self.now));
        self.take();
    }

    pub(super) fn state(&self, id: &str) -> TransactionState {
        self.core.describe(id).unwrap().state
    }

    /// An id with a producer, from scratch.
    pub(super) fn producer_of(&mut self, id: &str) -> Producer {
        let ticket = self.init(id, None);
        self.store();
        self.answer(ticket).unwrap().unwrap().unwrap()
    }

    /// An id with an open transaction over these partitions.
    pub(super) fn open(&mut self, id: &str, names: &str) -> Producer {
        let producer = self.producer_of(id);
        self.add(id, producer, names);
        self.store();
        producer
    }
}

/// What a record says.
pub(super) fn written(append: &Append) -> StoredTransaction {
    assert_eq!(append.records.len(), 1);
    StoredTransaction::decode(append.records[0].value.as_deref().unwrap()).unwrap()
}
