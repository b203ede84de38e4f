//! FindCoordinator (key 10, versions 0–6): which broker coordinates a group, or the transactions of an
//! id. The first search creates `__consumer_offsets` or `__transaction_state`.

use broker_wire::ErrorCode;
use kafka_protocol::messages::find_coordinator_response::Coordinator;
use kafka_protocol::messages::{BrokerId as WireBrokerId, FindCoordinatorRequest, FindCoordinatorResponse};
use kafka_protocol::protocol::StrBytes;
use model::{GROUP_METADATA_TOPIC, TRANSACTION_STATE_TOPIC};

use super::text::wire;
use super::throttle::Whose;
use super::{Api, RequestContext, api};
use crate::security::{Operation, ResourceType};
use crate::zookeeper;

pub(super) const API: Api = api!(FindCoordinator, 0..=6, handle);

/// `CoordinatorType` ids.
const GROUP: i8 = 0;
const TRANSACTION: i8 = 1;
const SHARE: i8 = 2;

/// A broker that clients can connect to.
struct Node {
    id: i32,
    host: StrBytes,
    port: i32,
}

async fn handle(cx: &RequestContext, request: FindCoordinatorRequest) -> FindCoordinatorResponse {
    if cx.version() < 4 {
        return one(find(cx, request.key_type, &request.key).await, cx.version());
    }
    let mut coordinators = Vec::with_capacity(request.coordinator_keys.len());
    for key in request.coordinator_keys {
        let (code, node) = split(find(cx, request.key_type, &key).await);
        // Kafka has words here only for a type that it does not know at all.
        let words = match request.key_type {
            GROUP | TRANSACTION | SHARE => "",
            _ => message(code),
        };
        coordinators.push(
            Coordinator::default()
                .with_key(key)
                .with_error_code(code as i16)
                .with_error_message(Some(StrBytes::from_static_str(words)))
                .with_node_id(WireBrokerId(node.id))
                .with_host(node.host)
                .with_port(node.port),
        );
    }
    FindCoordinatorResponse::default().with_coordinators(coordinators)
}

/// Before version 4: one coordinator, and from version 1 on the error in words.
fn one(found: Result<Node, ErrorCode>, version: i16) -> FindCoordinatorResponse {
    let (code, node) = split(found);
    let response = FindCoordinatorResponse::default()
        .with_error_code(code as i16)
        .with_node_id(WireBrokerId(node.id))
        .with_host(node.host)
        .with_port(node.port);
    if version == 0 {
        return response;
    }
    response.with_error_message(Some(StrBytes::from_static_str(message(code))))
}

fn split(found: Result<Node, ErrorCode>) -> (ErrorCode, Node) {
    match found {
        Ok(node) => (ErrorCode::None, node),
        Err(code) => (
            code,
            Node {
                id: -1,
                host: StrBytes::default(),
                port: -1,
            },
        ),
    }
}

/// The texts of Kafka's `Errors`; success has the name of its code.
fn message(code: ErrorCode) -> &'static str {
    match code {
        ErrorCode::None => "NONE",
        ErrorCode::CoordinatorNotAvailable => "The coordinator is not available.",
        ErrorCode::InvalidRequest => {
            "This most likely occurs because of a request being malformed by the client library or the message was \
             sent to an incompatible broker. See the broker logs for more details."
        }
        ErrorCode::GroupAuthorizationFailed => "Group authorization failed.",
        ErrorCode::TransactionalIdAuthorizationFailed => "The transactional id authorization failed.",
        other => other.name(),
    }
}

async fn find(cx: &RequestContext, key_type: i8, key: &str) -> Result<Node, ErrorCode> {
    match key_type {
        GROUP if !cx.authorize(Operation::Describe, ResourceType::Group, key) => {
            Err(ErrorCode::GroupAuthorizationFailed)
        }
        TRANSACTION if !cx.authorize(Operation::Describe, ResourceType::TransactionalId, key) => {
            Err(ErrorCode::TransactionalIdAuthorizationFailed)
        }
        SHARE if cx.version() >= 6 && !cx.authorize_cluster(Operation::ClusterAction) => {
            Err(ErrorCode::ClusterAuthorizationFailed)
        }
        GROUP => find_group_coordinator(cx, key).await,
        TRANSACTION => find_transaction_coordinator(cx, key).await,
        SHARE if cx.version() >= 6 => Err(ErrorCode::CoordinatorNotAvailable),
        _ => Err(ErrorCode::InvalidRequest),
    }
}

async fn find_group_coordinator(cx: &RequestContext, group_id: &str) -> Result<Node, ErrorCode> {
    if cx.broker.metadata.image().topic(GROUP_METADATA_TOPIC).is_none() {
        // The client asks again; by then the controller will have told of the new topic.
        let whose = Whose::of(cx);
        zookeeper::auto_create_topic(&cx.broker, GROUP_METADATA_TOPIC, whose.client(cx)).await;
        return Err(ErrorCode::CoordinatorNotAvailable);
    }
    cx.broker.groups.learn_partition_count().await;
    leader(cx, GROUP_METADATA_TOPIC, cx.broker.groups.partition_for(group_id))
}

async fn find_transaction_coordinator(cx: &RequestContext, transactional_id: &str) -> Result<Node, ErrorCode> {
    if cx.broker.metadata.image().topic(TRANSACTION_STATE_TOPIC).is_none() {
        let whose = Whose::of(cx);
        zookeeper::auto_create_topic(&cx.broker, TRANSACTION_STATE_TOPIC, whose.client(cx)).await;
        return Err(ErrorCode::CoordinatorNotAvailable);
    }
    let transactions = &cx.broker.transactions;
    transactions.learn_partition_count().await;
    leader(
        cx,
        TRANSACTION_STATE_TOPIC,
        transactions.partition_for(transactional_id),
    )
}

/// The leader of the partition, at the listener that the client came in at.
fn leader(cx: &RequestContext, topic: &str, partition: i32) -> Result<Node, ErrorCode> {
    let image = cx.broker.metadata.image();
    let leader = image
        .partition(topic, partition)
        .and_then(|partition| image.brokers.get(&partition.leader));
    let endpoint = leader.and_then(|broker| broker.endpoints.get(&cx.connection.listener).map(|at| (broker.id, at)));
    let (id, endpoint) = endpoint.ok_or(ErrorCode::CoordinatorNotAvailable)?;
    Ok(Node {
        id: id.0,
        host: wire(&endpoint.host),
        port: endpoint.port,
    })
}
