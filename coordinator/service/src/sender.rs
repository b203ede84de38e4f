//! One task per broker that puts the controller's commands on the wire, one at a time and in order.
//!
//! A command is tried for ever, because a broker that has not heard it would go on with what it knew; it ends with the
//! broker's registration, when the controller closes the channel. What the broker answers goes back as an event.
//! Source: Kafka 3.9 `RequestSendThread`.

use std::sync::Arc;
use std::time::Duration;

use broker_wire::client::{ClientError, Connection, Options};
use coordinator::controller::{BrokerCommand, BrokerReply};
use model::{BrokerEpoch, BrokerId};
use parking_lot::Mutex;
use tokio::sync::{Notify, mpsc};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::config::ServiceConfig;
use crate::queue::Queue;
use crate::request::{Addresses, ControlRequest, Envelope, leader_and_isr_reply, requests, stop_replica_reply};
use crate::service::{Input, spawn_while};

/// How long to wait before trying again. Source: `RequestSendThread.backoff`.
const BACKOFF: Duration = Duration::from_millis(100);

/// A channel to one life of one broker. Dropping it closes it.
pub(crate) struct Sender {
    queue: Arc<Waiting>,
    task: JoinHandle<()>,
}

#[derive(Default)]
struct Waiting {
    queue: Mutex<Queue>,
    filled: Notify,
}

/// Where a sender sends and as whom.
pub(crate) struct Destination {
    pub(crate) broker: BrokerId,
    pub(crate) host: String,
    pub(crate) port: u16,
    pub(crate) envelope: Envelope,
    /// Shared with the other senders: addresses of brokers that may be named as leaders.
    pub(crate) addresses: Arc<Mutex<Addresses>>,
}

impl Sender {
    /// Opens the channel.
    pub(crate) fn start(
        to: Destination,
        config: &ServiceConfig,
        term: u64,
        inputs: mpsc::Sender<Input>,
        alive: &CancellationToken,
    ) -> Self {
        let options = Options {
            client_id: config.id.to_string(),
            connect_timeout: config.socket_timeout,
            request_timeout: config.request_timeout,
            max_in_flight: 1,
            connector: config.connector.clone(),
            ..Options::default()
        };
        let queue = Arc::new(Waiting::default());
        let task = spawn_while(alive, alive, drive(to, options, queue.clone(), term, inputs));
        Self { queue, task }
    }

    /// Puts a command into the channel.
    pub(crate) fn send(&self, command: BrokerCommand) {
        self.queue.queue.lock().push(command);
        self.queue.filled.notify_one();
    }
}

impl Drop for Sender {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn drive(to: Destination, options: Options, waiting: Arc<Waiting>, term: u64, inputs: mpsc::Sender<Input>) {
    let mut connection = None;
    loop {
        let next = waiting.queue.lock().pop();
        let Some(command) = next else {
            waiting.filled.notified().await;
            continue;
        };
        let addresses = to.addresses.lock().clone();
        for request in requests(&command, &to.envelope, &addresses) {
            let reply = deliver(&to, &options, &mut connection, &command, request).await;
            let Some(reply) = reply else { continue };
            let replied = Input::Replied(term, to.broker, to.envelope.broker_epoch, reply);
            if inputs.send(replied).await.is_err() {
                return;
            }
        }
    }
}

/// Sends a request until the broker has answered.
async fn deliver(
    to: &Destination,
    options: &Options,
    connection: &mut Option<Connection>,
    command: &BrokerCommand,
    request: ControlRequest,
) -> Option<BrokerReply> {
    let mut failures = 0u32;
    loop {
        match exchange(to, options, connection, command, &request).await {
            Ok(reply) => return reply,
            Err(error @ ClientError::Encode(_)) => {
                // The same request would fail for ever and hold up all others.
                tracing::error!(broker = %to.broker, %error, ?request, "request cannot be encoded: skipping it");
                return None;
            }
            Err(error) => {
                // The first failure is worth a line, and then one every ten seconds or so.
                if failures.is_multiple_of(100) {
                    tracing::warn!(broker = %to.broker, host = to.host, port = to.port, %error, "request to broker failed: trying again");
                }
                failures = failures.saturating_add(1);
                *connection = None;
                tokio::time::sleep(BACKOFF).await;
            }
        }
    }
}

async fn exchange(
    to: &Destination,
    options: &Options,
    connection: &mut Option<Connection>,
    command: &BrokerCommand,
    request: &ControlRequest,
) -> Result<Option<BrokerReply>, ClientError> {
    let connection = match connection {
        Some(open) if !open.is_closed() => open,
        other => {
            let opened = Connection::connect(&to.host, to.port, options.clone()).await?;
            tracing::info!(broker = %to.broker, host = to.host, port = to.port, "controller connected to broker");
            other.insert(opened)
        }
    };
    match request {
        ControlRequest::LeaderAndIsr(request, version) => {
            let response = connection.send(request, *version).await?;
            let BrokerCommand::LeaderAndIsr(command) = command else {
                return Ok(None);
            };
            Ok(Some(leader_and_isr_reply(response, command)))
        }
        ControlRequest::UpdateMetadata(request, version) => {
            let response = connection.send(request, *version).await?;
            if response.error_code != 0 {
                tracing::error!(broker = %to.broker, error_code = response.error_code, "broker refuses UpdateMetadata");
            }
            Ok(None)
        }
        ControlRequest::StopReplica(request, version, deleted) => {
            let response = connection.send(request, *version).await?;
            if response.error_code != 0 {
                tracing::error!(broker = %to.broker, error_code = response.error_code, "broker refuses StopReplica");
            }
            Ok(stop_replica_reply(response, deleted))
        }
    }
}

/// Which life of a broker a channel is for.
pub(crate) fn envelope(config: &ServiceConfig, epoch: model::ControllerEpoch, broker_epoch: BrokerEpoch) -> Envelope {
    Envelope {
        controller: config.id,
        controller_epoch: epoch,
        broker_epoch,
        protocol: config.inter_broker_protocol,
    }
}
