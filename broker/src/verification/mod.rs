//! Asking transactions' coordinators whether a partition that is led here belongs to a transaction that is open (KIP-890).
//!
//! Asked before the first records of a transaction are appended to a partition, so that none is left open there that its
//! coordinator does not know of and will never end. One request is on its way to each coordinator; what is asked meanwhile goes
//! together in the next. Says what the answers mean to whoever asked; what is told to clients is the handlers' to decide.
//!
//! Does not try again: clients do. Does not remember answers: an open transaction is known to the log.
//!
//! Source: Kafka 3.9 `AddPartitionsToTxnManager`.

mod queue;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use broker_wire::ErrorCode;
use broker_wire::client::{ClientError, Connection, Options};
use coordinator::group::partition_for;
use coordinator::transaction::{AddPartitionsRequest, Producer, TransactionError};
use kafka_protocol::messages::add_partitions_to_txn_request::{
    AddPartitionsToTxnRequest, AddPartitionsToTxnTopic, AddPartitionsToTxnTransaction,
};
use kafka_protocol::messages::add_partitions_to_txn_response::AddPartitionsToTxnResponse;
use kafka_protocol::messages::{ApiKey, ProducerId as WireProducerId, TopicName, TransactionalId};
use kafka_protocol::protocol::StrBytes;
use model::{BrokerId, ProducerEpoch, ProducerId, TRANSACTION_STATE_TOPIC, TopicPartition};
use parking_lot::Mutex;
use tokio::sync::oneshot;
use tracing::{error, warn};

use crate::Broker;
use crate::api::error_code;
use queue::{Asked, Queue, Together};

/// Brokers ask for several transactions at once, and may ask without adding, from this version on.
const OLDEST: i16 = 4;
/// The newest version. Source: Kafka 3.9 `AddPartitionsToTxnRequest.json`, "latestVersionUnstable" aside.
const NEWEST: i16 = 5;

/// What is asked of a coordinator.
#[derive(Clone, Debug)]
pub struct Question {
    /// Whose transaction.
    pub transactional_id: StrBytes,
    /// Its producer.
    pub producer_id: ProducerId,
    /// Its producer's epoch.
    pub producer_epoch: ProducerEpoch,
    /// Which partitions should belong to it.
    pub partitions: Vec<TopicPartition>,
    /// Whether the client knows TRANSACTION_ABORTABLE. Source: Kafka `TransactionSupportedOperation`, `genericError`.
    pub knows_abortable: bool,
}

impl Question {
    fn all(&self, code: ErrorCode) -> Vec<ErrorCode> {
        vec![code; self.partitions.len()]
    }
}

/// The questions that are waiting, by coordinator.
#[derive(Default)]
pub struct Verification {
    nodes: Mutex<HashMap<BrokerId, Arc<Mutex<Node>>>>,
}

#[derive(Default)]
struct Node {
    queue: Queue,
    /// Somebody sends what is in the queue.
    sending: bool,
    /// While nobody does.
    idle: Option<Open>,
}

struct Open {
    connection: Connection,
    address: (String, u16),
    /// `None`: the coordinator is too old to be asked, and what cannot be asked is taken for granted.
    version: Option<i16>,
}

impl Verification {
    /// An answer for each partition of the question, in order: [`ErrorCode::None`] where it belongs to the transaction.
    pub async fn ask(&self, broker: &Arc<Broker>, question: Question) -> Vec<ErrorCode> {
        let Some(coordinator) = coordinator(broker, &question.transactional_id) else {
            return question.all(ErrorCode::CoordinatorNotAvailable);
        };
        if coordinator == broker.id {
            return ask_here(broker, &question);
        }
        let count = question.partitions.len();
        let node = Arc::clone(self.nodes.lock().entry(coordinator).or_default());
        let (sender, answer) = oneshot::channel();
        let must_send = {
            let mut node = node.lock();
            node.queue.add(Asked { question, sender });
            !std::mem::replace(&mut node.sending, true)
        };
        if must_send {
            let broker = Arc::clone(broker);
            tokio::spawn(async move { send(&broker, coordinator, &node).await });
        }
        let lost = |_: oneshot::error::RecvError| vec![ErrorCode::NetworkException; count];
        answer.await.unwrap_or_else(lost)
    }
}

/// This broker is the coordinator itself.
fn ask_here(broker: &Broker, question: &Question) -> Vec<ErrorCode> {
    let request = AddPartitionsRequest {
        transactional_id: Arc::from(question.transactional_id.as_str()),
        producer: Producer {
            id: question.producer_id,
            epoch: question.producer_epoch,
        },
        partitions: question.partitions.iter().cloned().collect(),
    };
    let code = |error| meaning(error_code::of_transaction(error), question.knows_abortable);
    match broker.transactions.verify(&request) {
        Err(error) => question.all(code(error)),
        Ok(verified) => {
            let refused: HashMap<TopicPartition, TransactionError> = verified
                .into_iter()
                .filter_map(|(partition, verified)| Some((partition, verified.err()?)))
                .collect();
            let partitions = question.partitions.iter();
            partitions
                .map(|partition| refused.get(partition).map_or(ErrorCode::None, |error| code(*error)))
                .collect()
        }
    }
}

/// Who coordinates the transactions of this id, if anybody does.
fn coordinator(broker: &Broker, transactional_id: &str) -> Option<BrokerId> {
    let image = broker.metadata.image();
    let topic = image.topic(TRANSACTION_STATE_TOPIC)?;
    let count = i32::try_from(topic.partitions.len()).ok().filter(|count| *count > 0)?;
    let leader = topic.partitions.get(&partition_for(transactional_id, count))?.leader;
    image.brokers.contains_key(&leader).then_some(leader)
}

/// Sends what has been asked until there is nothing more.
async fn send(broker: &Broker, to: BrokerId, node: &Mutex<Node>) {
    let mut open = node.lock().idle.take();
    loop {
        let asked = {
            let mut node = node.lock();
            let asked = node.queue.take();
            if asked.is_empty() {
                node.sending = false;
                node.idle = open.take();
                return;
            }
            asked
        };
        let answer = exchange(broker, to, &mut open, &asked).await;
        if answer.is_err() {
            open = None;
        }
        tell(to, asked.into_iter().flatten().collect(), answer);
    }
}

/// One request and its answer; `None` if the coordinator cannot be asked such a thing.
async fn exchange(
    broker: &Broker,
    to: BrokerId,
    open: &mut Option<Open>,
    asked: &[Together],
) -> Result<Option<AddPartitionsToTxnResponse>, Failure> {
    let address = address(broker, to).ok_or(Failure::Unknown)?;
    if open
        .as_ref()
        .is_some_and(|open| open.address != address || open.connection.is_closed())
    {
        *open = None;
    }
    let open = match open {
        Some(open) => open,
        None => open.insert(connect(broker, address).await?),
    };
    let Some(version) = open.version else {
        return Ok(None);
    };
    Ok(Some(open.connection.send(&request(asked), version).await?))
}

/// Why a coordinator was not asked.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("it does not listen where brokers do")]
    Unknown,
    #[error(transparent)]
    Client(#[from] ClientError),
}

impl Failure {
    fn code(&self) -> ErrorCode {
        match self {
            Self::Unknown => ErrorCode::CoordinatorNotAvailable,
            Self::Client(ClientError::Authentication { .. }) => ErrorCode::SaslAuthenticationFailed,
            Self::Client(ClientError::Encode(_)) => ErrorCode::UnknownServerError,
            Self::Client(ClientError::Connect { .. } | ClientError::Closed(_)) => ErrorCode::NetworkException,
        }
    }
}

fn address(broker: &Broker, to: BrokerId) -> Option<(String, u16)> {
    let listener = broker.config.load().inter_broker_listener_name.clone();
    let image = broker.metadata.image();
    let endpoint = image.brokers.get(&to)?.endpoints.get(listener.as_str())?;
    Some((endpoint.host.to_string(), u16::try_from(endpoint.port).ok()?))
}

async fn connect(broker: &Broker, address: (String, u16)) -> Result<Open, ClientError> {
    let timeout = broker.config.load().request_timeout_ms;
    let timeout = Duration::from_millis(u64::try_from(timeout).unwrap_or(0));
    let options = Options {
        client_id: broker.id.to_string(),
        connect_timeout: timeout,
        request_timeout: timeout,
        max_in_flight: 1,
        connector: broker.connectors().inter_broker.clone(),
        ..Options::default()
    };
    let connection = Connection::connect(&address.0, address.1, options).await?;
    let versions = connection.api_versions().await?;
    let known = versions.api_keys.iter();
    let newest = known
        .filter(|api| api.api_key == ApiKey::AddPartitionsToTxn as i16)
        .map(|api| api.max_version.min(NEWEST))
        .max();
    let version = newest.filter(|newest| *newest >= OLDEST);
    if version.is_none() {
        warn!(
            host = address.0,
            port = address.1,
            "a coordinator cannot verify transactions: their records are appended without"
        );
    }
    Ok(Open {
        connection,
        address,
        version,
    })
}

fn request(asked: &[Together]) -> AddPartitionsToTxnRequest {
    let transaction = |together: &Together| {
        let mut topics: Vec<AddPartitionsToTxnTopic> = Vec::new();
        for partition in together.iter().flat_map(|asked| &asked.question.partitions) {
            match topics.iter_mut().find(|topic| *topic.name.as_str() == *partition.topic) {
                Some(topic) if topic.partitions.contains(&partition.partition) => {}
                Some(topic) => topic.partitions.push(partition.partition),
                None => topics.push(
                    AddPartitionsToTxnTopic::default()
                        .with_name(TopicName(StrBytes::from_string(partition.topic.to_string())))
                        .with_partitions(vec![partition.partition]),
                ),
            }
        }
        let question = &together.first()?.question;
        let transaction = AddPartitionsToTxnTransaction::default()
            .with_transactional_id(TransactionalId(question.transactional_id.clone()))
            .with_producer_id(WireProducerId(question.producer_id.0))
            .with_producer_epoch(question.producer_epoch.0)
            .with_verify_only(true)
            .with_topics(topics);
        Some(transaction)
    };
    AddPartitionsToTxnRequest::default().with_transactions(asked.iter().filter_map(transaction).collect())
}

fn tell(to: BrokerId, asked: Vec<Asked>, answer: Result<Option<AddPartitionsToTxnResponse>, Failure>) {
    let response = match answer {
        Ok(Some(response)) => response,
        Ok(None) => return asked.into_iter().for_each(|asked| asked.answer_all(ErrorCode::None)),
        Err(failure) => {
            warn!(coordinator = %to, %failure, "transactions not verified");
            let code = failure.code();
            return asked.into_iter().for_each(|asked| asked.answer_all(code));
        }
    };
    let whole = code_of(response.error_code);
    if whole != ErrorCode::None {
        error!(coordinator = %to, error = %whole, "transactions not verified: the coordinator refused to be asked");
        // That brokers may not ask each other is nothing that a client could mend.
        let code = match whole {
            ErrorCode::ClusterAuthorizationFailed => ErrorCode::InvalidTxnState,
            other => other,
        };
        return asked.into_iter().for_each(|asked| asked.answer_all(code));
    }
    let mut results: HashMap<&str, Vec<(&str, i32, i16)>> = HashMap::new();
    for transaction in &response.results_by_transaction {
        let found = results.entry(transaction.transactional_id.as_str()).or_default();
        for topic in &transaction.topic_results {
            let partitions = topic.results_by_partition.iter();
            found.extend(partitions.map(|it| (topic.name.as_str(), it.partition_index, it.partition_error_code)));
        }
    }
    for asked in asked {
        let Some(found) = results.get(asked.question.transactional_id.as_str()) else {
            asked.answer_all(ErrorCode::NetworkException);
            continue;
        };
        let codes = asked.question.partitions.iter().map(|partition| {
            let result = found
                .iter()
                .find(|(topic, index, _)| *topic == &*partition.topic && *index == partition.partition);
            result.map_or(ErrorCode::None, |(_, _, code)| {
                meaning(code_of(*code), asked.question.knows_abortable)
            })
        });
        let codes = codes.collect();
        asked.answer(codes);
    }
}

fn code_of(code: i16) -> ErrorCode {
    ErrorCode::from_i16(code).unwrap_or(ErrorCode::UnknownServerError)
}

/// What a producer understands of a coordinator's answer.
fn meaning(code: ErrorCode, knows_abortable: bool) -> ErrorCode {
    match code {
        ErrorCode::ProducerFenced => ErrorCode::InvalidProducerEpoch,
        ErrorCode::TransactionAbortable if !knows_abortable => ErrorCode::InvalidTxnState,
        other => other,
    }
}
