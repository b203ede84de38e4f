//! Ids for producers: given away from blocks of 1,000 that belong to this broker alone.
//!
//! From `inter.broker.protocol.version` 3.0 on the controller gives the blocks (AllocateProducerIds, KIP-730); below, this
//! broker claims them by a versioned write of `/latest_producer_id_block`. Either way no id is given twice in a cluster,
//! whoever writes: this broker, or a Kafka broker or controller. Ids of a block that was not used up are lost at a restart,
//! as Kafka's.
//!
//! The next block is fetched when nine tenths of one are given away, so that nobody waits for it. Whoever comes when
//! there is none waits for it no longer than it would wait before asking again, had it been refused at once as by Kafka.
//! Source: Kafka 3.9 `ProducerIdManager`.

use core::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use broker_wire::ErrorCode;
use kafka_protocol::messages::{AllocateProducerIdsRequest, AllocateProducerIdsResponse, BrokerId as WireBrokerId};
use model::{BrokerId, Millis, ProducerId};
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::Instant;
use tracing::{info, warn};
use zk_schema::producer_id_block::{self as znode, ProducerIdBlock};
use zk_schema_store::{Store, StoreError};

use crate::controller::NoController;
use crate::{Broker, clock};

/// Another broker wins the race for a block only so often before this try is given up.
const MAX_ATTEMPTS: usize = 100;

/// How long to wait after a failure before a block is asked for again. Source: Kafka `ProducerIdManager.RetryBackoffMs`.
const RETRY_BACKOFF: Millis = Millis(50);

/// How long a request waits for the block that is on its way: clients that are refused come again after
/// `retry.backoff.ms`, 100 ms by default.
const PATIENCE: Duration = Duration::from_millis(100);

/// Why there is no block.
#[derive(Debug, thiserror::Error)]
enum NoBlock {
    /// ZooKeeper does not answer.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The znode holds something else.
    #[error("{path} cannot be read: {cause}", path = znode::PATH)]
    Malformed {
        /// What is wrong.
        cause: String,
    },
    /// All 2⁶³ ids are given away.
    #[error("producer ids are used up")]
    Exhausted,
    /// Other brokers were always faster.
    #[error("{path} changed {MAX_ATTEMPTS} times while a block was being claimed", path = znode::PATH)]
    Contended,
    /// Nobody to be asked.
    #[error(transparent)]
    Controller(#[from] NoController),
    /// The controller has another opinion.
    #[error("the controller answers {0}")]
    Refused(String),
    /// Not a range of ids that have not been given away.
    #[error("the controller answers the block of {len} ids from {start} on")]
    Nonsense {
        /// The first.
        start: i64,
        /// How many.
        len: i32,
    },
}

/// → COORDINATOR_LOAD_IN_PROGRESS. There is no id now; a block has been asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no producer id is at hand, the next block is on its way")]
pub struct NoProducerId;

/// The ids of this broker's blocks that are not given away yet.
#[derive(Debug, Default)]
pub struct ProducerIds {
    blocks: Mutex<Blocks>,
    /// A block has come, or has not.
    answered: Notify,
}

impl ProducerIds {
    /// The next id.
    ///
    /// # Errors
    /// There is none, and none comes in a moment.
    pub async fn next(&self, broker: &Arc<Broker>) -> Result<ProducerId, NoProducerId> {
        self.at_hand(broker).await;
        self.take(broker).ok_or(NoProducerId)
    }

    /// Waits a moment for a block, if there is none.
    pub async fn at_hand(&self, broker: &Arc<Broker>) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            // Before looking, so that no answer in between is missed.
            let answered = self.answered.notified();
            let (is_empty, is_to_be_fetched) = {
                let mut blocks = self.blocks.lock();
                (blocks.is_empty(), blocks.is_to_be_fetched(clock::now()))
            };
            self.fetch_if(is_to_be_fetched, broker);
            if !is_empty || tokio::time::timeout_at(deadline, answered).await.is_err() {
                return;
            }
        }
    }

    /// The next id, if there is one now.
    pub fn take(&self, broker: &Arc<Broker>) -> Option<ProducerId> {
        let (id, is_to_be_fetched) = {
            let mut blocks = self.blocks.lock();
            let id = blocks.take();
            (id, blocks.is_to_be_fetched(clock::now()))
        };
        self.fetch_if(is_to_be_fetched, broker);
        id
    }

    fn fetch_if(&self, is_to_be_fetched: bool, broker: &Arc<Broker>) {
        if is_to_be_fetched {
            let broker = Arc::clone(broker);
            tokio::spawn(async move {
                let fetched = fetch(&broker).await;
                let ids = &broker.producer_ids;
                {
                    let mut blocks = ids.blocks.lock();
                    match fetched.and_then(|block| blocks.accept(block)) {
                        Ok(()) => {}
                        Err(cause) => {
                            warn!(%cause, "no block of producer ids could be had");
                            blocks.fetch_failed(clock::now());
                        }
                    }
                }
                ids.answered.notify_waiters();
            });
        }
    }
}

/// Which ids there are, and when more are needed. Pure.
#[derive(Debug, Default)]
struct Blocks {
    current: Range<i64>,
    /// Ids of the current block from which on the next one is fetched.
    prefetch_at: i64,
    next: Option<Range<i64>>,
    is_on_its_way: bool,
    /// No question before this moment: the last one has failed.
    not_before: Option<Millis>,
}

impl Blocks {
    fn take(&mut self) -> Option<ProducerId> {
        if self.current.is_empty() {
            let next = self.next.take()?;
            let nine_tenths = (next.end - next.start) / 10 * 9;
            self.prefetch_at = next.start + nine_tenths;
            self.current = next;
        }
        self.current.next().map(ProducerId)
    }

    fn is_empty(&self) -> bool {
        self.current.is_empty() && self.next.is_none()
    }

    /// Whether the next block is to be asked for; then it counts as asked for.
    fn is_to_be_fetched(&mut self, now: Millis) -> bool {
        let due = self.current.is_empty() || self.current.start > self.prefetch_at;
        let wait = self.is_on_its_way || self.next.is_some() || self.not_before.is_some_and(|at| now < at);
        if !due || wait {
            return false;
        }
        self.is_on_its_way = true;
        true
    }

    fn accept(&mut self, block: Range<i64>) -> Result<(), NoBlock> {
        if block.start < 0 || block.is_empty() || block.start < self.current.end {
            return Err(NoBlock::Nonsense {
                start: block.start,
                len: i32::try_from(block.end.saturating_sub(block.start)).unwrap_or(i32::MAX),
            });
        }
        self.is_on_its_way = false;
        self.not_before = None;
        self.next = Some(block);
        Ok(())
    }

    fn fetch_failed(&mut self, now: Millis) {
        self.is_on_its_way = false;
        self.not_before = Some(now + RETRY_BACKOFF);
    }
}

async fn fetch(broker: &Broker) -> Result<Range<i64>, NoBlock> {
    if crate::controller::inter_broker_protocol(&broker.config.load()).allocate_producer_ids {
        allocate(broker).await
    } else {
        claim(&broker.store, broker.id).await
    }
}

/// Asks the controller for a block.
async fn allocate(broker: &Broker) -> Result<Range<i64>, NoBlock> {
    let channel = broker.controller_channel().ok_or(NoController::Unknown)?;
    let request = AllocateProducerIdsRequest::default()
        .with_broker_id(WireBrokerId(broker.id.0))
        .with_broker_epoch(broker.epoch().0);
    let response = tokio::select! {
        response = channel.allocate_producer_ids(request) => response?,
        () = channel.another_controller() => return Err(NoController::Unknown.into()),
    };
    block_of(&response)
}

fn block_of(response: &AllocateProducerIdsResponse) -> Result<Range<i64>, NoBlock> {
    match ErrorCode::from_i16(response.error_code) {
        Some(ErrorCode::None) => {}
        Some(code) => return Err(NoBlock::Refused(code.to_string())),
        None => return Err(NoBlock::Refused(format!("error {}", response.error_code))),
    }
    let (start, len) = (response.producer_id_start.0, response.producer_id_len);
    let end = start
        .checked_add(i64::from(len))
        .filter(|end| start >= 0 && *end > start);
    let end = end.ok_or(NoBlock::Nonsense { start, len })?;
    info!(
        first = start,
        last = end - 1,
        "the controller gave a block of producer ids"
    );
    Ok(start..end)
}

/// Writes a block for this broker into ZooKeeper.
async fn claim(store: &Store, broker: BrokerId) -> Result<Range<i64>, NoBlock> {
    for _ in 0..MAX_ATTEMPTS {
        let (data, version) = match store.get(znode::PATH).await? {
            Some((data, stat)) => (data, stat.version),
            None => {
                store
                    .create_recursive(znode::PATH, Vec::new(), zk_schema_store::CreateMode::Persistent)
                    .await?;
                continue;
            }
        };
        let latest = ProducerIdBlock::decode(&data).map_err(|cause| NoBlock::Malformed {
            cause: cause.to_string(),
        })?;
        let claimed = ProducerIdBlock::after(latest.as_ref(), broker).ok_or(NoBlock::Exhausted)?;
        match store.set(znode::PATH, claimed.encode(), Some(version)).await {
            Ok(_) => {
                info!(first = %claimed.first, last = %claimed.last, "claimed a block of producer ids");
                return Ok(claimed.first.0..claimed.last.0 + 1);
            }
            Err(StoreError::BadVersion { .. }) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Err(NoBlock::Contended)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_is_given_away_once_and_the_next_is_fetched_in_time() {
        let mut blocks = Blocks::default();
        assert_eq!(blocks.take(), None);
        assert!(blocks.is_to_be_fetched(Millis(0)));
        assert!(!blocks.is_to_be_fetched(Millis(0)), "once");
        blocks.accept(5_000..6_000).unwrap();
        let mut asked_after = None;
        for id in 5_000..6_000 {
            assert_eq!(blocks.take(), Some(ProducerId(id)));
            if blocks.is_to_be_fetched(Millis(0)) {
                assert_eq!(asked_after.replace(id), None, "once a block");
            }
        }
        assert_eq!(asked_after, Some(5_900));
        assert_eq!(blocks.take(), None, "the next has not come");
        blocks.accept(9_000..10_000).unwrap();
        assert_eq!(blocks.take(), Some(ProducerId(9_000)));
    }

    #[test]
    fn after_a_failure_there_is_a_pause() {
        let mut blocks = Blocks::default();
        assert!(blocks.is_to_be_fetched(Millis(100)));
        blocks.fetch_failed(Millis(110));
        assert!(!blocks.is_to_be_fetched(Millis(159)));
        assert!(blocks.is_to_be_fetched(Millis(160)));
    }

    #[test]
    fn ids_that_were_given_away_are_not_taken_again() {
        let mut blocks = Blocks::default();
        blocks.accept(2_000..3_000).unwrap();
        assert_eq!(blocks.take(), Some(ProducerId(2_000)));
        assert!(blocks.accept(2_000..3_000).is_err());
        assert!(blocks.accept(-5..3).is_err());
        assert!(blocks.accept(3_000..3_000).is_err());
        blocks.accept(3_000..4_000).unwrap();
    }

    #[test]
    fn only_a_range_of_ids_is_a_block() {
        let check = |code: ErrorCode, start: i64, len: i32, expected: Option<Range<i64>>| {
            let response = AllocateProducerIdsResponse::default()
                .with_error_code(code as i16)
                .with_producer_id_start(kafka_protocol::messages::ProducerId(start))
                .with_producer_id_len(len);
            assert_eq!(block_of(&response).ok(), expected, "{start} {len}");
        };
        check(ErrorCode::None, 0, 1_000, Some(0..1_000));
        check(ErrorCode::None, -1, 1_000, None);
        check(ErrorCode::None, 0, 0, None);
        check(ErrorCode::None, 5, -5, None);
        check(ErrorCode::None, i64::MAX, 1_000, None);
        check(ErrorCode::StaleBrokerEpoch, 0, 1_000, None);
    }
}
