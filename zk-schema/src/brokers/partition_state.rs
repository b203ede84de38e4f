//! `/brokers/topics/<topic>/partitions/<n>/state` — who leads a partition, at which epoch, and who is in sync.
//!
//! Persistent. Written by the controller under its fence (also for the leader's AlterPartition); by leaders
//! themselves only under inter.broker.protocol.version below 2.7. Its data version is the *partition epoch*.

use model::{BrokerId, ControllerEpoch, LeaderEpoch, TopicPartition};
use serde_json::{Map, Value};

use super::topics;
use crate::decode::{DecodeError, Object};

/// Where it is.
pub fn path(partition: &TopicPartition) -> String {
    format!("{}/state", topics::partition_path(partition))
}

/// Whether the leader still has to recover from an unclean election. Source: Kafka `LeaderRecoveryState`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum LeaderRecoveryState {
    /// 0, not written.
    #[default]
    Recovered,
    /// 1.
    Recovering,
}

/// What `state` says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartitionState {
    /// −1: none is alive in sync; −2 only in requests, never here.
    pub leader: BrokerId,
    /// Grows with every change that the controller makes.
    pub leader_epoch: LeaderEpoch,
    /// In sync; the last one stays even when it is dead.
    pub isr: Vec<BrokerId>,
    /// Which controller wrote it.
    pub controller_epoch: ControllerEpoch,
    /// Left by an unclean election until the leader has confirmed.
    pub leader_recovery_state: LeaderRecoveryState,
}

impl PartitionState {
    /// As Kafka 3.9 writes it (version 1).
    pub fn encode(&self) -> Vec<u8> {
        let mut json = Map::new();
        json.insert("controller_epoch".into(), self.controller_epoch.0.into());
        json.insert("leader".into(), self.leader.0.into());
        json.insert("version".into(), 1.into());
        if self.leader_recovery_state == LeaderRecoveryState::Recovering {
            json.insert("leader_recovery_state".into(), 1.into());
        }
        json.insert("leader_epoch".into(), self.leader_epoch.0.into());
        let isr: Vec<i32> = self.isr.iter().map(|id| id.0).collect();
        json.insert("isr".into(), isr.into());
        Value::Object(json).to_string().into_bytes()
    }

    /// Reads it.
    ///
    /// # Errors
    /// No JSON object with all fields of version 1.
    pub fn decode(partition: &TopicPartition, data: &[u8]) -> Result<Self, DecodeError> {
        let znode = path(partition);
        let object = Object::parse(&znode, data)?;
        let isr = object.get("isr").ok_or_else(|| object.error("no 'isr'"))?;
        Ok(Self {
            leader: BrokerId(object.number("leader")?),
            leader_epoch: LeaderEpoch(object.number("leader_epoch")?),
            isr: object.numbers("isr", isr)?.into_iter().map(BrokerId).collect(),
            controller_epoch: ControllerEpoch(object.number("controller_epoch")?),
            leader_recovery_state: match object.optional_number("leader_recovery_state")? {
                None | Some(0) => LeaderRecoveryState::Recovered,
                Some(1) => LeaderRecoveryState::Recovering,
                Some(other) => return Err(object.error(format!("unknown leader_recovery_state {other}"))),
            },
        })
    }
}
