//! Producers with acks=all: each sends one record at a time and tries again until it is acknowledged or given up.

use model::{BrokerId, TopicPartition};

use crate::call::{Caller, Reply, Request};
use crate::cluster::{Cluster, Happening};

/// After how many tries a record is given up.
const TRIES: u32 = 20;

#[derive(Default)]
pub(crate) struct Clients {
    pub(crate) producers: Vec<Producer>,
    last_payload: u64,
    /// Send nothing new.
    pub(crate) stopped: bool,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Producer {
    /// What it is about to send, or has sent.
    record: Option<(TopicPartition, u64)>,
    tries: u32,
    /// Only to this one, for as long as it takes.
    pub(crate) only: Option<TopicPartition>,
    pub(crate) acknowledged: usize,
}

impl Cluster {
    pub(crate) fn add_producer(&mut self, only: Option<TopicPartition>) -> usize {
        self.clients.producers.push(Producer {
            only,
            ..Producer::default()
        });
        let client = self.clients.producers.len() - 1;
        self.later(1, Happening::Client(client));
        client
    }

    pub(crate) fn client_acts(&mut self, client: usize) {
        if self.clients.producers[client].record.is_none() {
            if self.clients.stopped && self.clients.producers[client].only.is_none() {
                return;
            }
            let partitions = self.partitions();
            let chosen = self.clients.producers[client]
                .only
                .clone()
                .or_else(|| self.random.pick(&partitions));
            let Some(partition) = chosen else {
                return self.later(100, Happening::Client(client));
            };
            self.clients.last_payload += 1;
            let producer = &mut self.clients.producers[client];
            producer.record = Some((partition, self.clients.last_payload));
            producer.tries = 0;
        }
        let Some((partition, payload)) = self.clients.producers[client].record.clone() else {
            return;
        };
        // Any broker's idea of who leads.
        let told: Vec<BrokerId> = self
            .processes
            .iter()
            .filter(|process| process.up && !process.paused)
            .filter_map(|process| process.broker.as_ref()?.leaders.get(&partition).copied())
            .collect();
        let leader = self.random.pick(&told).and_then(|leader| self.pid(leader));
        match leader {
            Some(to) => {
                self.call(Caller::Client(client), to, Request::Produce { partition, payload });
            }
            None => self.client_called(client, None),
        }
    }

    pub(crate) fn client_called(&mut self, client: usize, reply: Option<Reply>) {
        let producer = &mut self.clients.producers[client];
        producer.tries += 1;
        let done = matches!(reply, Some(Reply::Produced(Ok(_))));
        if done {
            producer.acknowledged += 1;
        }
        if done || (producer.tries >= TRIES && producer.only.is_none()) {
            producer.record = None;
        }
        if done && producer.only.is_some() {
            return;
        }
        let after = if done {
            self.random.between(5, 100)
        } else {
            self.random.between(20, 200)
        };
        self.later(after, Happening::Client(client));
    }
}
