//! Controlled shutdown: the controller moves leadership off this broker before it stops.
//!
//! Asks the controller over the wire, also where this process is the controller, and tries again as configured. Whether
//! it succeeds or not, the broker stops. With no other broker alive there is nobody to hand over to.
//! Source: Kafka 3.9 `KafkaServer.controlledShutdown`.

use std::sync::Arc;
use std::time::Duration;

use broker_wire::client::{ClientError, Connection, Options};
use kafka_protocol::messages::ControlledShutdownRequest;
use tracing::{info, warn};

use crate::Broker;
use crate::config::{BrokerConfig, ProtocolVersion};
use crate::logging::KAFKA_SERVER;
use crate::metadata::Endpoint;

/// What one attempt came to.
enum Attempt {
    Done,
    Again(String),
}

/// Hands over, or says why not.
pub(super) async fn hand_over(broker: &Arc<Broker>, config: &BrokerConfig, ident: &str) {
    if !config.controlled_shutdown_enable || !broker.metadata.image().brokers.keys().any(|id| *id != broker.id) {
        return;
    }
    info!(target: KAFKA_SERVER, "{ident}Starting controlled shutdown");
    let pause = Duration::from_millis(u64::try_from(config.controlled_shutdown_retry_backoff_ms).unwrap_or(0));
    for retries_left in (0..config.controlled_shutdown_max_retries).rev() {
        match attempt(broker, config).await {
            Attempt::Done => {
                info!(target: KAFKA_SERVER, "{ident}Controlled shutdown request returned successfully");
                return;
            }
            Attempt::Again(reason) => {
                warn!(target: KAFKA_SERVER, "{ident}Controlled shutdown has not succeeded: {reason}")
            }
        }
        if retries_left > 0 {
            tokio::time::sleep(pause).await;
            info!(target: KAFKA_SERVER, "{ident}Retrying controlled shutdown ({retries_left} retries remaining)");
        }
    }
    warn!(
        target: KAFKA_SERVER,
        "{ident}Proceeding to do an unclean shutdown as all the controlled shutdown attempts failed"
    );
}

async fn attempt(broker: &Arc<Broker>, config: &BrokerConfig) -> Attempt {
    let Some(controller) = controller(broker, config) else {
        return Attempt::Again("no controller is known".to_owned());
    };
    match ask(broker, config, &controller).await {
        Ok(Attempt::Done) => Attempt::Done,
        Ok(again) => again,
        Err(error) => Attempt::Again(error.to_string()),
    }
}

/// Where the controller is, on the listener which brokers use.
fn controller(broker: &Broker, config: &BrokerConfig) -> Option<Endpoint> {
    let image = broker.metadata.image();
    let controller = image.brokers.get(&image.controller_id?)?;
    controller
        .endpoints
        .get(config.inter_broker_listener_name.as_str())
        .cloned()
}

async fn ask(broker: &Broker, config: &BrokerConfig, controller: &Endpoint) -> Result<Attempt, ClientError> {
    let timeout = |ms: i32| Duration::from_millis(u64::try_from(ms).unwrap_or(0));
    let options = Options {
        client_id: broker.id.to_string(),
        connect_timeout: timeout(config.controller_socket_timeout_ms),
        request_timeout: timeout(config.request_timeout_ms),
        ..Options::default()
    };
    let Ok(port) = u16::try_from(controller.port) else {
        return Ok(Attempt::Again(format!(
            "the controller's port {} is none",
            controller.port
        )));
    };
    let version = request_version(config.inter_broker_protocol_version);
    let connection = Connection::connect(&controller.host, port, options).await?;
    let request = ControlledShutdownRequest::default()
        .with_broker_id(broker.id.0.into())
        .with_broker_epoch(if version >= 2 { broker.epoch().0 } else { -1 });
    let response = connection.send(&request, version).await?;
    Ok(match (response.error_code, response.remaining_partitions.len()) {
        (0, 0) => Attempt::Done,
        (0, left) => Attempt::Again(format!("{left} partitions remain to be moved")),
        (code, _) => Attempt::Again(format!("the controller answered error {code}")),
    })
}

/// Between brokers the configured version decides, nobody asks. Source: Kafka 3.9 `KafkaServer.doControlledShutdown`.
fn request_version(version: ProtocolVersion) -> i16 {
    match version {
        version if version < ProtocolVersion::IBP_0_9_0 => 0,
        version if version < ProtocolVersion::IBP_2_2_IV0 => 1,
        version if version < ProtocolVersion::IBP_2_4_IV1 => 2,
        _ => 3,
    }
}
