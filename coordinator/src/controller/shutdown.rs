//! A broker asks to leave in order: its leaderships move before it goes.
//!
//! Source: Kafka 3.9 `KafkaController.doControlledShutdown`; KIP-380 for the broker epoch.

use model::{BrokerEpoch, BrokerId};

use super::active::{Active, CannotGoOn};
use super::event::{Refusal, Reply};
use super::leader::Strategy;
use super::replica_state::ReplicaState;

impl Active {
    /// Moves leaderships away from the broker, stops its other replicas, and says which partitions it still leads.
    pub(super) async fn controlled_shutdown(
        &mut self,
        broker: BrokerId,
        broker_epoch: BrokerEpoch,
    ) -> Result<Result<Reply, Refusal>, CannotGoOn> {
        let Some(registered) = self.image.brokers.get(&broker) else {
            return Ok(Err(Refusal::BrokerNotAvailable));
        };
        if broker_epoch != BrokerEpoch::NONE && broker_epoch < registered.epoch {
            return Ok(Err(Refusal::StaleBrokerEpoch));
        }
        tracing::info!(%broker, "broker shuts down");
        self.image.shutting_down.insert(broker);
        let mut led = Vec::new();
        let mut followed = Vec::new();
        for (partition, known) in self.image.all_partitions() {
            let Some(leadership) = &known.leadership else { continue };
            let replicas = &known.assignment.replicas;
            // A partition with one replica only stays where it is: nobody else has its records.
            if !replicas.contains(&broker) || replicas.len() < 2 || self.image.is_being_deleted(&partition.topic) {
                continue;
            }
            if leadership.leader == broker {
                led.push(partition)
            } else {
                followed.push(partition)
            }
        }
        self.bring_online(&led, Strategy::Shutdown).await?;
        for partition in &followed {
            self.batch.stop(&self.image, broker, partition, false);
        }
        self.send_batch();
        let replicas: Vec<_> = followed.into_iter().map(|partition| (partition, broker)).collect();
        self.move_replicas(&replicas, ReplicaState::Offline).await?;
        Ok(Ok(Reply::ControlledShutdown(self.image.partitions_led_by(broker))))
    }
}
