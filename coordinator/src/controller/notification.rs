//! Notes that brokers leave for the controller: changed in-sync sets, failed log directories.
//!
//! A note is a sequential znode; the controller reads it, acts, and deletes it. It is a reason to look again, not data: a
//! note that is lost with a controller costs nothing, because the next one reads everything.
//! Source: Kafka 3.9 `KafkaController.processIsrChangeNotification`, `processLogDirEventNotification`.

use std::collections::BTreeSet;

use super::active::{Active, CannotGoOn};
use super::replica_state::ReplicaState;
use super::znodes;

impl Active {
    /// Leaders below inter.broker.protocol.version 2.7 have changed in-sync sets in ZooKeeper themselves.
    pub(super) async fn isr_changes_notified(&mut self) -> Result<(), CannotGoOn> {
        let (paths, notes) = self.notes(znodes::ISR_CHANGES).await?;
        let mut partitions = BTreeSet::new();
        for data in &notes {
            match znodes::decode_isr_changes(data) {
                Ok(changed) => partitions.extend(changed),
                Err(error) => tracing::error!(%error, "note of changed in-sync sets cannot be read"),
            }
        }
        let partitions: Vec<_> = (partitions.into_iter())
            .filter(|it| self.image.partition(it).is_some())
            .collect();
        if !partitions.is_empty() {
            self.refresh(&partitions).await?;
            self.send_metadata(self.image.live_or_shutting_down(), partitions.iter().cloned());
            for partition in &partitions {
                self.finish_reassignment_of(partition).await?;
            }
        }
        self.delete_all(paths).await;
        Ok(())
    }

    /// Log directories have failed: asks their brokers, by a LeaderAndIsr for all of their replicas, which are still
    /// there; the answers tell.
    pub(super) async fn log_dir_events_notified(&mut self) -> Result<(), CannotGoOn> {
        let (paths, notes) = self.notes(znodes::LOG_DIR_EVENTS).await?;
        let mut brokers = Vec::new();
        for data in &notes {
            match znodes::decode_log_dir_event(data) {
                Ok(broker) => brokers.push(broker),
                Err(error) => tracing::error!(%error, "note of a failed log directory cannot be read"),
            }
        }
        if !brokers.is_empty() {
            let replicas = self.image.replicas_on(&brokers);
            self.move_replicas(&replicas, ReplicaState::Online).await?;
        }
        self.delete_all(paths).await;
        Ok(())
    }

    async fn notes(&self, parent: &str) -> Result<(Vec<String>, Vec<bytes::Bytes>), CannotGoOn> {
        let names = self.children(parent, true).await?;
        let paths: Vec<_> = names.iter().map(|name| format!("{parent}/{name}")).collect();
        let notes = self.data_of(paths.clone(), false).await?;
        Ok((paths, notes.into_iter().flatten().map(|note| note.data).collect()))
    }

    /// Deletes the notes to an earlier controller, and leaves a watch for new ones.
    pub(super) async fn discard_notes(&self, parent: &str) -> Result<(), CannotGoOn> {
        let names = self.children(parent, true).await?;
        self.delete_all(names.iter().map(|name| format!("{parent}/{name}")).collect())
            .await;
        Ok(())
    }
}
