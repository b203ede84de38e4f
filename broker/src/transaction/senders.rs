//! Markers to partition leaders: a queue and a connection for each broker, one request on its way at a time.
//!
//! What comes while a request is on its way goes together in the next one; nothing waits for company. Markers for this
//! broker take the same queue, but no connection. What could not be written is the core's to send again; a coordinator that
//! has resigned has its markers forgotten, because the next one will send them. Bounded by the transactions that are ending,
//! of which each producer has one at most.
//! Source: Kafka 3.9 `TransactionMarkerChannelManager`.

use std::sync::{Arc, Weak};
use std::time::Duration;

use broker_wire::client::{ClientError, Options};
use broker_wire::serial::SerialConnection;
use coordinator::transaction::{MarkerOutcome, Markers};
use coordinator_service::InterBrokerProtocol;
use hashbrown::HashMap;
use kafka_protocol::messages::{WriteTxnMarkersRequest, WriteTxnMarkersResponse};
use model::BrokerId;
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::task::AbortHandle;
use tracing::{debug, warn};

use super::hosted::Hosted;
use super::routing::{Answers, request, routes};
use crate::Broker;
use crate::vital::vital;

/// How many transactions a request may end at most: the rest go in the next.
const TRANSACTIONS_AT_ONCE: usize = 4_096;

/// The end of a transaction, in those of its partitions that go the same way.
struct Ending {
    /// Who is told what has become of it.
    hosted: Arc<Hosted>,
    markers: Markers,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
enum NoAnswer {
    #[error("the broker is not alive, or has no listener for brokers")]
    UnknownBroker,
    #[error(transparent)]
    Client(#[from] ClientError),
}

/// All queues.
pub(super) struct Senders {
    broker: Weak<Broker>,
    protocol: InterBrokerProtocol,
    queues: Mutex<Queues>,
}

#[derive(Default)]
struct Queues {
    by_broker: HashMap<BrokerId, Arc<Queue>>,
    tasks: Vec<AbortHandle>,
    is_stopped: bool,
}

/// What goes to one broker.
#[derive(Default)]
struct Queue {
    waiting: Mutex<Vec<Ending>>,
    came: Notify,
}

impl Queue {
    fn push(&self, ending: Ending) {
        self.waiting.lock().push(ending);
        self.came.notify_one();
    }

    /// Waits until there is something, and takes it.
    async fn next_batch(&self) -> Vec<Ending> {
        loop {
            let batch = {
                let mut waiting = self.waiting.lock();
                let many = waiting.len().min(TRANSACTIONS_AT_ONCE);
                let rest = waiting.split_off(many);
                core::mem::replace(&mut *waiting, rest)
            };
            if !batch.is_empty() {
                return batch;
            }
            self.came.notified().await;
        }
    }
}

impl Senders {
    /// No queues yet: markers bring them.
    pub(super) fn new(broker: &Arc<Broker>) -> Self {
        Self {
            broker: Arc::downgrade(broker),
            protocol: crate::controller::inter_broker_protocol(&broker.config.load()),
            queues: Mutex::default(),
        }
    }

    /// Sends markers on their way, and says at once of which there is none. Not to be called under the lock of the core.
    pub(super) fn send(self: &Arc<Self>, hosted: &Arc<Hosted>, mut markers: Markers) {
        let Some(broker) = self.broker.upgrade() else { return };
        let id = markers.id;
        let routes = {
            let config = broker.config.load();
            let partitions = core::mem::take(&mut markers.partitions);
            routes(&broker.metadata.image(), &config.inter_broker_listener_name, partitions)
        };
        for (leader, partitions) in routes.led {
            let Some(queue) = self.queue(&broker, leader) else {
                return;
            };
            queue.push(Ending {
                hosted: Arc::clone(hosted),
                markers: Markers { partitions, ..markers },
            });
        }
        let leaderless = routes.leaderless.into_iter().map(|it| (it, MarkerOutcome::Retry));
        let deleted = routes.deleted.into_iter().map(|it| (it, MarkerOutcome::Deleted));
        let outcomes: Vec<_> = leaderless.chain(deleted).collect();
        if !outcomes.is_empty() {
            hosted.markers_answered(id, outcomes);
        }
    }

    /// Ends all tasks; none starts afterwards.
    pub(super) fn shut_down(&self) {
        let tasks = {
            let mut queues = self.queues.lock();
            queues.is_stopped = true;
            queues.by_broker.clear();
            core::mem::take(&mut queues.tasks)
        };
        tasks.iter().for_each(AbortHandle::abort);
    }

    fn queue(self: &Arc<Self>, broker: &Arc<Broker>, id: BrokerId) -> Option<Arc<Queue>> {
        let mut queues = self.queues.lock();
        if queues.is_stopped {
            return None;
        }
        if let Some(queue) = queues.by_broker.get(&id) {
            return Some(Arc::clone(queue));
        }
        let queue = Arc::new(Queue::default());
        queues.by_broker.insert(id, Arc::clone(&queue));
        let serve = Arc::clone(self).serve(Arc::clone(broker), id, Arc::clone(&queue));
        let task = tokio::spawn(vital("marker sender", serve));
        queues.tasks.push(task.abort_handle());
        Some(queue)
    }

    /// Sends what comes into the queue, for ever.
    async fn serve(self: Arc<Self>, broker: Arc<Broker>, to: BrokerId, queue: Arc<Queue>) {
        let mut connection = None;
        // Said once, not twenty times a second while a broker is away.
        let mut lost = false;
        loop {
            let mut batch = queue.next_batch().await;
            batch.retain(|ending| ending.hosted.is_active());
            if batch.is_empty() {
                continue;
            }
            let asked = request(batch.iter().map(|ending| &ending.markers));
            match self.exchange(&broker, to, &mut connection, asked).await {
                Ok(response) => {
                    lost = false;
                    let answers = Answers::of(&response);
                    for Ending { hosted, markers } in batch {
                        hosted.markers_answered(markers.id, answers.outcomes(markers));
                    }
                }
                Err(cause) => {
                    if lost {
                        debug!(broker = %to, %cause, "markers still cannot be sent");
                    } else {
                        warn!(broker = %to, %cause, "markers could not be sent and will be again");
                    }
                    lost = true;
                    for Ending { hosted, markers } in batch {
                        let outcomes = markers.partitions.into_iter().map(|it| (it, MarkerOutcome::Retry));
                        hosted.markers_answered(markers.id, outcomes.collect());
                    }
                }
            }
        }
    }

    /// Sends a request and waits for its answer.
    async fn exchange(
        &self,
        broker: &Arc<Broker>,
        to: BrokerId,
        connection: &mut Option<SerialConnection>,
        request: WriteTxnMarkersRequest,
    ) -> Result<WriteTxnMarkersResponse, NoAnswer> {
        if to == broker.id {
            return Ok(crate::api::write_txn_markers::write(broker, request).await);
        }
        let version = self.protocol.write_txn_markers;
        let ask = async {
            if let Some(open) = connection.as_mut().filter(|open| !open.is_broken()) {
                match open.send(&request, version).await {
                    Ok(response) => return Ok(response),
                    // It may have been idle for too long for the other side: another at once.
                    Err(cause) => debug!(broker = %to, %cause, "connection for markers has ended"),
                }
            }
            let (host, port) = address(broker, to).ok_or(NoAnswer::UnknownBroker)?;
            let open = SerialConnection::connect(&host, port, options(broker)).await?;
            Ok(connection.insert(open).send(&request, version).await?)
        };
        let answer = tokio::select! {
            biased;
            answer = ask => answer,
            // Whoever leads in its place is asked sooner than the request's time is over.
            () = gone(broker, to) => Err(NoAnswer::UnknownBroker),
        };
        if answer.is_err() {
            *connection = None;
        }
        answer
    }
}

/// Returns when the controller does not count the broker among the live ones.
async fn gone(broker: &Broker, id: BrokerId) {
    let mut changes = broker.metadata.changes();
    while broker.metadata.image().brokers.contains_key(&id) {
        if changes.changed().await.is_err() {
            return;
        }
    }
}

/// Where the broker listens for brokers.
fn address(broker: &Broker, id: BrokerId) -> Option<(String, u16)> {
    let image = broker.metadata.image();
    let config = broker.config.load();
    let endpoints = &image.brokers.get(&id)?.endpoints;
    let endpoint = endpoints.get(config.inter_broker_listener_name.as_str())?;
    Some((endpoint.host.to_string(), u16::try_from(endpoint.port).ok()?))
}

fn options(broker: &Broker) -> Options {
    let config = broker.config.load();
    let time = |ms: i64| Duration::from_millis(u64::try_from(ms).unwrap_or(0));
    Options {
        client_id: format!("broker-{}-txn-marker-sender", broker.id),
        connect_timeout: time(config.socket_connection_setup_timeout_ms),
        request_timeout: time(config.request_timeout_ms.into()),
        max_in_flight: 1,
        connector: broker.connectors().inter_broker.clone(),
        ..Options::default()
    }
}
