//! `/controller` — who the controller is.
//!
//! Ephemeral. Created by whoever wins the race, in one multi with the bump of `/controller_epoch`; deleted by a
//! controller that resigns, by its session's end, or by an operator who wants a new election.

use model::{BrokerId, ControllerEpoch, Millis};
use serde_json::json;

use crate::decode::{DecodeError, Object};
use crate::{Op, controller_epoch};

/// Where it is.
pub const PATH: &str = "/controller";

/// What `/controller` says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Controller {
    /// The controller's id.
    pub broker_id: BrokerId,
    /// When it was elected (its own clock).
    pub timestamp: Millis,
    /// −1, unless a KRaft controller holds the office during a migration (version 2 only).
    pub kraft_controller_epoch: i32,
}

impl Controller {
    /// A ZooKeeper controller.
    pub fn new(broker_id: BrokerId, timestamp: Millis) -> Self {
        Self {
            broker_id,
            timestamp,
            kraft_controller_epoch: -1,
        }
    }

    /// As Kafka 3.9 writes it (version 2).
    pub fn encode(&self) -> Vec<u8> {
        json!({
            "version": 2,
            "brokerid": self.broker_id.0,
            "timestamp": self.timestamp.to_string(),
            "kraftControllerEpoch": self.kraft_controller_epoch,
        })
        .to_string()
        .into_bytes()
    }

    /// Reads versions 0 to 2.
    ///
    /// # Errors
    /// No JSON object with a `brokerid`.
    pub fn decode(data: &[u8]) -> Result<Self, DecodeError> {
        let object = Object::parse(PATH, data)?;
        Ok(Self {
            broker_id: BrokerId(object.number("brokerid")?),
            timestamp: Millis(object.optional_number("timestamp")?.unwrap_or(Millis::NONE.0)),
            kraft_controller_epoch: object.optional_number("kraftControllerEpoch")?.unwrap_or(-1),
        })
    }

    /// The multi that wins the office: this znode, and epoch `next` over data version `epoch_zk_version`.
    ///
    /// Source: Kafka 3.9 `KafkaZkClient.registerControllerAndIncrementControllerEpoch`.
    pub fn election(&self, next: ControllerEpoch, epoch_zk_version: i32) -> Vec<Op> {
        vec![
            Op::create_ephemeral(PATH, self.encode()),
            Op::set(
                controller_epoch::PATH,
                controller_epoch::encode(next),
                Some(epoch_zk_version),
            ),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn older_versions_are_read() {
        let check = |json: &str, broker: i32, timestamp: i64| {
            let controller = Controller::decode(json.as_bytes()).unwrap();
            assert_eq!(controller.broker_id, BrokerId(broker), "{json}");
            assert_eq!(controller.timestamp, Millis(timestamp), "{json}");
            assert_eq!(controller.kraft_controller_epoch, -1, "{json}");
        };
        check(
            r#"{"version":1,"brokerid":3,"timestamp":"1795248318285"}"#,
            3,
            1_795_248_318_285,
        );
        check(r#"{"version":0,"brokerid":3,"timestamp":17}"#, 3, 17);
        check(r#"{"brokerid":3,"new":{}}"#, 3, -1);
        for bad in ["", "3", "{}", r#"{"brokerid":"x"}"#, r#"{"brokerid":99999999999}"#] {
            assert!(Controller::decode(bad.as_bytes()).is_err(), "{bad}");
        }
    }
}
