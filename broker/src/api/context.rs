//! What a handler is given beside the request.

use std::net::SocketAddr;
use std::sync::Arc;

use arc_swap::{ArcSwap, Guard};
use broker_security::principal::KafkaPrincipal;
use broker_wire::codec;
use broker_wire::guard::Malformed;
use broker_wire::header::RequestHeader;
use broker_wire::{Encodable, Request};
use bytes::Bytes;
use model::BrokerId;
use parking_lot::Mutex;

use crate::Broker;
use crate::config::SecurityProtocol;
use crate::net::Reply;
use crate::quota::RequestTime;

/// Who is at the other end of a connection, and where it came in.
#[derive(Debug)]
pub struct ConnectionInfo {
    /// Name of the listener (`PLAINTEXT`, `INTERNAL`).
    pub listener: Arc<str>,
    /// How the listener's connections are secured.
    pub security_protocol: SecurityProtocol,
    /// The client's address.
    pub peer: SocketAddr,
    /// Name and version of the client's software, once ApiVersions has told them (KIP-511).
    pub software: Mutex<Option<(String, String)>>,
    /// Whose connection it is.
    principal: ArcSwap<KafkaPrincipal>,
    /// The client id of the last request whose time counts for a quota; `None`: sending and receiving counts for nobody.
    pub(crate) timed_client: Mutex<Option<Box<str>>>,
}

impl ConnectionInfo {
    /// A connection that has come in, whose owner is not known yet.
    pub fn new(listener: Arc<str>, security_protocol: SecurityProtocol, peer: SocketAddr) -> Self {
        Self {
            listener,
            security_protocol,
            peer,
            software: Mutex::default(),
            principal: ArcSwap::from_pointee(KafkaPrincipal::anonymous()),
            timed_client: Mutex::default(),
        }
    }

    /// Whose connection it is; `User:ANONYMOUS` until somebody has logged in.
    pub fn principal(&self) -> Guard<Arc<KafkaPrincipal>> {
        self.principal.load()
    }

    /// Somebody has logged in.
    pub fn set_principal(&self, principal: KafkaPrincipal) {
        self.principal.store(Arc::new(principal));
    }

    /// The client's host as Kafka shows it in `DescribeGroups`: `/127.0.0.1`.
    pub fn client_host(&self) -> String {
        format!("/{}", self.peer.ip())
    }
}

/// One request's surroundings.
#[derive(Clone)]
pub struct RequestContext {
    /// The broker.
    pub broker: Arc<Broker>,
    /// The connection that it came over.
    pub connection: Arc<ConnectionInfo>,
    /// Its header.
    pub header: RequestHeader,
    /// Bytes of it, the header included.
    pub size: usize,
    /// How long it has kept threads busy; `None` where no quota asks.
    pub time: Option<Arc<RequestTime>>,
}

impl RequestContext {
    /// The version of the request, and of its response.
    pub fn version(&self) -> i16 {
        self.header.api_version
    }

    /// The client's id; empty if it did not say one.
    pub fn client_id(&self) -> &str {
        &self.header.client_id
    }

    /// This broker's id.
    pub fn broker_id(&self) -> BrokerId {
        self.broker.id
    }

    /// Decodes the body, guard first.
    ///
    /// # Errors
    /// The bytes are not such a request: the connection is to be closed.
    pub fn decode<R: Request>(&self, body: Bytes) -> Result<R, Malformed> {
        codec::decode_request(self.version(), body)
    }

    /// Encodes the response; a response that this version cannot express closes the connection with the reason.
    pub fn reply<T: Encodable>(&self, response: &T) -> Reply {
        let header = &self.header;
        match codec::encode_response(header.correlation_id, header.api.key, header.api_version, response) {
            Ok(frame) => Reply::Bytes(frame),
            Err(unrepresentable) => Reply::Close(unrepresentable.to_string()),
        }
    }
}
