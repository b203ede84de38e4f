//! The stop, step by step: hand over, take no more requests, leave the cluster, close the logs, end the session.
//!
//! Source: Kafka 3.9 `KafkaServer.shutdown`, with one difference. There the registration goes with the session, after the
//! logs have been closed: new leaders wait for a replica that was caught up a moment ago until it is known to be gone, and
//! producers with acks=all wait with them for as long as this broker flushes. Here it goes as soon as no request is taken any
//! more; the locks of the directories keep a successor out until the logs are closed. Where ZooKeeper is away it is as with
//! Kafka, so that a clean mark is written all the same.

use std::sync::Arc;
use std::time::Duration;

use guardian::{Estate, Fence};
use model::BrokerEpoch;
use tracing::{error, info, warn};
use zk_schema_store::SessionState;

use super::hand_over::hand_over;
use super::parts::Parts;
use crate::blocking;
use crate::logging::KAFKA_SERVER;

/// How long resigning may take: a few writes to ZooKeeper.
const RESIGN_TIME_MAX: Duration = Duration::from_secs(5);
/// How long leaving may take; the session's end sees to it anyway.
const LEAVE_TIME_MAX: Duration = Duration::from_secs(2);
/// How long closing the session may take; the server expires it anyway.
const CLOSE_TIME_MAX: Duration = Duration::from_secs(5);

/// Stops whatever has been started.
pub(super) async fn stop(parts: &mut Parts) {
    let ident = parts.ident();
    info!(target: KAFKA_SERVER, "{ident}shutting down");
    if let Some(broker) = parts.broker.as_ref().filter(|_| parts.serving) {
        let config = parts.config.current();
        hand_over(broker, &config, &ident).await;
    }
    // Members that wait for a rebalance would hold up the listeners.
    if let Some(broker) = &parts.broker {
        broker.groups.shut_down();
        broker.transactions.shut_down();
    }
    parts.listeners.shutdown().await;
    if let Some(opening) = parts.opening.take() {
        info!("waiting until the logs are open, to close them");
        match opening.await {
            Ok(Ok(logs)) => parts.logs = Some(logs),
            Ok(Err(error)) => error!(%error, "logs could not be opened"),
            Err(error) => error!(%error, "opening the logs failed"),
        }
    }
    // Before the logs are closed: what is fetched now could not be appended any more.
    if let Some(replication) = parts.broker.as_ref().and_then(|broker| broker.replication()) {
        replication.shutdown().await;
    }
    parts.background.shutdown().await;
    if let Some(failed) = parts.failed.take() {
        failed.abort();
    }
    leave(parts).await;
    if let Some(logs) = parts.logs.take() {
        let closing = Arc::clone(&logs);
        // Kafka writes an epoch into the clean mark only under KRaft.
        let report = blocking::run(move || closing.shutdown(BrokerEpoch::NONE)).await;
        for (dir, reason) in report.unclean {
            warn!(dir = %dir.display(), %reason, "log directory has no clean mark; it is recovered at the next start");
        }
    }
    // Once more, for where ZooKeeper was away.
    resign(parts).await;
    if let Some(zookeeper) = parts.zookeeper.take() {
        if tokio::time::timeout(CLOSE_TIME_MAX, zookeeper.close()).await.is_ok() {
            if let Some(guardian) = parts.guardian.take() {
                guardian.dismiss().await;
            }
        } else {
            // A guardian stays, and tries after the end of this process.
            warn!("zookeeper does not answer; the session is left to expire");
        }
    }
    info!(target: KAFKA_SERVER, "{ident}shut down completed");
}

/// Resigns as the controller and removes the registration, if ZooKeeper is there now. Nobody keeps it up any more.
async fn leave(parts: &Parts) {
    let (Some(zookeeper), Some(id)) = (&parts.zookeeper, parts.id) else {
        return;
    };
    let SessionState::Connected { session_id, .. } = *zookeeper.session().borrow() else {
        return;
    };
    // First, because it would race again for an office that is free.
    resign(parts).await;
    let estate = Estate {
        session_id,
        paths: Estate::paths_of_broker(id),
    };
    let left = tokio::time::timeout(LEAVE_TIME_MAX, guardian::bury(zookeeper, &estate, Fence::IfMarked));
    match left.await {
        Ok(Ok(_)) => {}
        Ok(Err(error)) => warn!(%error, "cannot leave the cluster yet; the registration goes with the session"),
        Err(_) => warn!("zookeeper does not answer; the registration goes with the session"),
    }
}

/// Resigns as the controller; does nothing where that has been done.
async fn resign(parts: &Parts) {
    if let Some(controller) = parts.broker.as_ref().and_then(|broker| broker.controller())
        && tokio::time::timeout(RESIGN_TIME_MAX, controller.stop()).await.is_err()
    {
        warn!("the controller does not resign in time; its znode goes with the session");
    }
}
