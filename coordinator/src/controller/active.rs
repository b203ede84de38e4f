//! The controller while it is elected: works events off, one at a time.
//!
//! Only dispatches; each kind of event has a module of its own, which adds its methods to [`Active`].

use std::collections::BTreeMap;

use bytes::Bytes;
use model::{BrokerId, ControllerEpoch, TopicPartition};
use zk_schema::Op;

use super::Config;
use super::batch::Batch;
use super::event::{Answer, Ask, AskId, Effect, Event, Gauges, Read, Refusal};
use super::image::Image;
use super::port::Port;
use super::znodes;

/// Why the controller cannot go on: it resigns, and another election follows.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(super) struct CannotGoOn(pub(super) String);

/// A znode that was read.
pub(super) struct Found {
    pub(super) data: Bytes,
    pub(super) version: i32,
    pub(super) czxid: i64,
    pub(super) mzxid: i64,
}

/// An elected controller.
pub(super) struct Active {
    pub(super) config: Config,
    pub(super) image: Image,
    pub(super) batch: Batch,
    pub(super) port: Port,
    pub(super) unclean_elections: u64,
    /// How many topic ids have been drawn from the seed.
    pub(super) drawn_ids: u64,
    gauges: Option<Gauges>,
    /// Found at the start: replicas in sync on brokers that have restarted unseen.
    pub(super) restarted: BTreeMap<BrokerId, Vec<TopicPartition>>,
}

impl Active {
    pub(super) fn new(config: Config, epoch: ControllerEpoch, port: Port) -> Self {
        Self {
            config,
            image: Image::new(epoch),
            batch: Batch::default(),
            port,
            unclean_elections: 0,
            drawn_ids: 0,
            gauges: None,
            restarted: BTreeMap::new(),
        }
    }

    /// Takes over, then works events off until dropped. Returns only when it cannot go on.
    pub(super) async fn run(mut self) {
        if let Err(error) = self.work().await {
            self.port.emit(Effect::Resign(error.0));
        }
    }

    async fn work(&mut self) -> Result<(), CannotGoOn> {
        self.take_over().await?;
        loop {
            self.report();
            let event = self.port.event().await;
            self.handle(event).await?;
        }
    }

    async fn handle(&mut self, event: Event) -> Result<(), CannotGoOn> {
        match event {
            Event::Changed(path) => self.changed(&path).await,
            Event::Replied(broker, epoch, reply) => self.replied(broker, epoch, reply).await,
            Event::Asked(id, ask) => self.asked(id, ask).await,
            Event::UncleanElectionEnabled(topic) => self.bring_offline_online(topic.as_deref()).await,
            Event::RebalanceDue => self.rebalance_leaders().await,
            // `step` keeps these to itself.
            Event::Elected { .. } | Event::Resigned | Event::Answered(..) => Ok(()),
        }
    }

    async fn changed(&mut self, path: &str) -> Result<(), CannotGoOn> {
        match path {
            znodes::BROKER_IDS => self.brokers_changed().await,
            znodes::TOPICS => self.topics_changed().await,
            znodes::DELETE_TOPICS => self.deletions_changed().await,
            znodes::REASSIGN_PARTITIONS => self.legacy_reassignment_changed().await.map(drop),
            znodes::PREFERRED_ELECTION => self.legacy_election_changed().await,
            znodes::ISR_CHANGES => self.isr_changes_notified().await,
            znodes::LOG_DIR_EVENTS => self.log_dir_events_notified().await,
            _ => {
                if let Some(broker) = znodes::broker_of(path) {
                    self.broker_modified(broker).await
                } else if let Some(topic) = znodes::topic_of(path) {
                    self.topic_modified(topic).await
                } else {
                    tracing::debug!(path, "a watch fired that the controller does not know");
                    Ok(())
                }
            }
        }
    }

    async fn asked(&mut self, id: AskId, ask: Ask) -> Result<(), CannotGoOn> {
        match ask {
            Ask::AlterPartition {
                broker,
                broker_epoch,
                version,
                partitions,
            } => {
                self.alter_partition(id, broker, broker_epoch, version, partitions)
                    .await
            }
            Ask::ControlledShutdown { broker, broker_epoch } => {
                let answer = self.controlled_shutdown(broker, broker_epoch).await?;
                self.port.answer(id, answer);
                Ok(())
            }
            Ask::AllocateProducerIds { broker, broker_epoch } => {
                let answer = self.allocate_producer_ids(broker, broker_epoch).await;
                self.port.answer(id, answer);
                Ok(())
            }
            Ask::ElectLeaders { unclean, partitions } => self.elect_leaders(id, unclean, partitions).await,
            Ask::AlterPartitionReassignments { partitions } => self.alter_reassignments(id, partitions).await,
            Ask::ListPartitionReassignments { partitions } => {
                self.port.answer(id, Ok(self.list_reassignments(partitions)));
                Ok(())
            }
        }
    }

    // ---- what all modules share

    /// A znode's data with its version and creation transaction; `None` if it does not exist.
    pub(super) async fn data(&self, path: &str, watch: bool) -> Result<Option<(Bytes, i32, i64)>, CannotGoOn> {
        let read = Read::Data {
            path: path.to_owned(),
            watch,
        };
        match self.port.read(vec![read]).await.pop() {
            Some(Answer::Data {
                data, version, czxid, ..
            }) => Ok(Some((data, version, czxid))),
            Some(Answer::NoNode) => Ok(None),
            other => Err(unexpected(path, other)),
        }
    }

    /// A znode's children, sorted; none if it does not exist.
    pub(super) async fn children(&self, path: &str, watch: bool) -> Result<Vec<String>, CannotGoOn> {
        let read = Read::Children {
            path: path.to_owned(),
            watch,
        };
        match self.port.read(vec![read]).await.pop() {
            Some(Answer::Children(mut children)) => {
                children.sort();
                Ok(children)
            }
            Some(Answer::NoNode) => Ok(Vec::new()),
            other => Err(unexpected(path, other)),
        }
    }

    /// The data of many znodes, pipelined; `None` for those that do not exist.
    pub(super) async fn data_of(&self, paths: Vec<String>, watch: bool) -> Result<Vec<Option<Found>>, CannotGoOn> {
        let reads = paths
            .iter()
            .map(|path| Read::Data {
                path: path.clone(),
                watch,
            })
            .collect();
        let answers = self.port.read(reads).await;
        paths
            .iter()
            .zip(answers)
            .map(|(path, answer)| match answer {
                Answer::Data {
                    data,
                    version,
                    czxid,
                    mzxid,
                } => Ok(Some(Found {
                    data,
                    version,
                    czxid,
                    mzxid,
                })),
                Answer::NoNode => Ok(None),
                other => Err(unexpected(path, Some(other))),
            })
            .collect()
    }

    /// Deletes znodes; those that are gone already are no error, others are logged and left.
    pub(super) async fn delete_all(&self, paths: Vec<String>) {
        let ops = paths.iter().map(|path| Op::delete(path.clone(), None)).collect();
        let answers = self.port.write(ops).await;
        for (path, answer) in paths.iter().zip(answers) {
            if !matches!(answer, Answer::Written { .. } | Answer::NoNode) {
                tracing::warn!(path, ?answer, "could not delete znode");
            }
        }
    }

    /// Sends what has been gathered.
    pub(super) fn send_batch(&mut self) {
        for addressed in self.batch.flush(&self.image) {
            self.port.emit(Effect::Send(addressed));
        }
    }

    /// Tells `to` of the live brokers and these partitions, at once.
    pub(super) fn send_metadata(&mut self, to: Vec<BrokerId>, partitions: impl IntoIterator<Item = TopicPartition>) {
        self.batch.update_metadata(to, partitions);
        self.send_batch();
    }

    /// Puts the gauges out, where they have changed.
    fn report(&mut self) {
        let counts = self.image.count();
        let image = &self.image;
        let gauges = Gauges {
            topics: image.topics.len(),
            partitions: counts.partitions,
            offline_partitions: counts.offline,
            preferred_replica_imbalance: counts.imbalanced,
            topics_to_delete: image.deleting.len(),
            topics_ineligible_to_delete: image.deleting.values().filter(|it| it.ineligible).count(),
            active_brokers: image.brokers.len(),
            unclean_elections: self.unclean_elections,
        };
        if self.gauges != Some(gauges) {
            self.gauges = Some(gauges);
            self.port.emit(Effect::Gauges(gauges));
        }
    }
}

/// The error for an answer that leaves the controller not knowing what ZooKeeper holds.
pub(super) fn unexpected(path: &str, answer: Option<Answer>) -> CannotGoOn {
    CannotGoOn(format!("cannot read or write {path}: {answer:?}"))
}

/// The refusal for a write that failed.
pub(super) fn failed(answer: &Answer) -> Refusal {
    Refusal::Failed(format!("zookeeper answered {answer:?}"))
}
