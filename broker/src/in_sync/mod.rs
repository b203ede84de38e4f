//! In-sync sets: the room where leaders' proposals become the controller's word.
//!
//! Hands proposals of all partitions to the controller in batches, one request at a time (AlterPartition), or, below
//! `inter.broker.protocol.version` 2.7, writes them to ZooKeeper itself; gives the answers back to the partitions. Looks at
//! every half of `replica.lag.time.max.ms` for followers that lag. Decides nothing about sets: `broker_replica::in_sync`
//! does.
//!
//! Invariant: a proposal leaves this room only with an answer that its partition takes, or when its partition does not
//! wait for it any more; so a partition that waits is never forgotten.
//! Source: Kafka 3.9 `DefaultAlterPartitionManager`, `ZkAlterPartitionManager`, `ReplicaManager.maybeShrinkIsr`.

mod alter_partition;
mod proposals;
mod zookeeper;

use std::sync::Arc;
use std::time::{Duration, Instant};

use broker_wire::ErrorCode;
use kafka_protocol::messages::AlterPartitionResponse;
use tokio::time::MissedTickBehavior;
use tracing::{debug, warn};

pub use proposals::{Proposals, Submitted};

use crate::config::ProtocolVersion;
use crate::controller::NoController;
use crate::partition::{Answer, Lookup, Outcome};
use crate::{Broker, clock};
use zookeeper::Untold;

/// How long to wait after a request that was not answered as hoped. Source: Kafka `DefaultAlterPartitionManager`.
const RETRY_PAUSE: Duration = Duration::from_millis(50);

/// Keeps the in-sync sets of partitions that are led here, for ever; end it by dropping the future.
pub async fn run(broker: Arc<Broker>) {
    let by_controller = broker.config.current().inter_broker_protocol_version >= ProtocolVersion::IBP_2_7_IV2;
    if by_controller {
        tokio::join!(watch_lag(&broker), ask_controller(&broker));
    } else {
        tokio::join!(watch_lag(&broker), write_zookeeper(&broker));
    }
}

/// Lets partitions propose that followers leave which lag.
async fn watch_lag(broker: &Broker) {
    let settings = broker.partitions.settings();
    let half = u64::try_from(settings.replica_lag_time_max.0 / 2).unwrap_or(0).max(1);
    let mut ticks = tokio::time::interval(Duration::from_millis(half));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        for partition in broker.partitions.all() {
            partition.shrink_isr(settings, clock::now());
        }
    }
}

/// The way from 2.7 on.
async fn ask_controller(broker: &Broker) {
    let topic_ids = broker.config.current().inter_broker_protocol_version >= ProtocolVersion::IBP_2_8_IV0;
    let proposals = &broker.partitions.settings().proposals;
    // Said once, not twenty times a second until there is a controller again.
    let mut lost = false;
    loop {
        let mut batch = proposals.next_batch().await;
        batch.retain(|submitted| still_awaited(broker, submitted));
        if batch.is_empty() {
            continue;
        }
        let again = match send(broker, &batch, topic_ids).await {
            Ok((response, version)) => {
                lost = false;
                answered(broker, batch, &response, version)
            }
            Err(error) if lost => {
                debug!(%error, "the controller still cannot be asked for ISR changes");
                batch
            }
            Err(error) => {
                lost = true;
                warn!(%error, "the controller could not be asked for ISR changes and will be again");
                batch
            }
        };
        if !again.is_empty() {
            again.into_iter().for_each(|submitted| proposals.again(submitted));
            tokio::time::sleep(RETRY_PAUSE).await;
        }
    }
}

/// Asks whoever is the controller, until it answers or another is.
async fn send(
    broker: &Broker,
    batch: &[Submitted],
    topic_ids: bool,
) -> Result<(AlterPartitionResponse, i16), NoController> {
    let channel = broker.controller_channel().ok_or(NoController::Unknown)?;
    let newest = alter_partition::newest_version(batch, topic_ids);
    let build = |version| alter_partition::request(broker.id, broker.epoch(), batch, version);
    tokio::select! {
        answer = channel.alter_partition(newest, build) => answer,
        // One that hangs would let this request wait for its time-out.
        () = channel.another_controller() => Err(NoController::Unknown),
    }
}

/// Gives the partitions their answers; what has to be sent again.
fn answered(broker: &Broker, batch: Vec<Submitted>, response: &AlterPartitionResponse, version: i16) -> Vec<Submitted> {
    match ErrorCode::from_i16(response.error_code) {
        Some(ErrorCode::None) => {}
        Some(code) => {
            // NOT_CONTROLLER, STALE_BROKER_EPOCH while a new registration is on its way, …: all pass.
            debug!(%code, "the controller refused a request for ISR changes");
            return batch;
        }
        None => {
            warn!(
                code = response.error_code,
                "the controller answers an unknown error to ISR changes"
            );
            return batch;
        }
    }
    let answers = alter_partition::answers(&batch, response, version);
    let mut again = Vec::new();
    for (submitted, answer) in batch.into_iter().zip(answers) {
        match answer {
            Some(answer) => again.extend(give(broker, submitted, &answer)),
            None => {
                warn!(partition = %submitted.partition, "the controller has not answered an ISR change");
                again.push(submitted);
            }
        }
    }
    again
}

/// Gives a partition its answer; the proposal, if it is to be made again.
fn give(broker: &Broker, submitted: Submitted, answer: &Answer) -> Option<Submitted> {
    let name = &submitted.partition;
    let Lookup::Online(partition) = broker.partitions.lookup(&name.topic, name.partition) else {
        return None;
    };
    let settings = broker.partitions.settings();
    let outcome = partition.proposal_answered(&submitted.proposal, answer, settings, clock::now());
    (outcome == Outcome::Retry).then_some(submitted)
}

fn still_awaited(broker: &Broker, submitted: &Submitted) -> bool {
    let name = &submitted.partition;
    match broker.partitions.lookup(&name.topic, name.partition) {
        Lookup::Online(partition) => partition.awaits(&submitted.proposal),
        Lookup::Offline | Lookup::None => false,
    }
}

/// The way below 2.7.
async fn write_zookeeper(broker: &Broker) {
    let proposals = &broker.partitions.settings().proposals;
    let mut untold = Untold::new(Instant::now());
    let mut lost = false;
    let mut ticks = tokio::time::interval(zookeeper::CHECK_INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let batch = tokio::select! {
            batch = proposals.next_batch() => batch,
            _ = ticks.tick() => {
                untold.tell(&broker.store, Instant::now()).await;
                continue;
            }
        };
        let mut failed = false;
        for submitted in batch {
            if !still_awaited(broker, &submitted) {
                continue;
            }
            match zookeeper::write(&broker.store, &submitted).await {
                Ok(answer) => {
                    lost = false;
                    if matches!(answer, Answer::Accepted { .. }) {
                        untold.changed(submitted.partition.clone(), Instant::now());
                    }
                    if let Some(submitted) = give(broker, submitted, &answer) {
                        failed = true;
                        proposals.again(submitted);
                    }
                }
                Err(error) => {
                    if lost {
                        debug!(partition = %submitted.partition, %error, "an ISR still cannot be written");
                    } else {
                        warn!(partition = %submitted.partition, %error, "an ISR could not be written and will be again");
                    }
                    lost = true;
                    failed = true;
                    proposals.again(submitted);
                }
            }
        }
        if failed {
            tokio::time::sleep(RETRY_PAUSE).await;
        }
    }
}
