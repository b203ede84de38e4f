//! This broker's questions to the controller: to itself where it is the one, else over the wire.
//!
//! One connection, to whoever the metadata cache names; made anew when that changes or the connection ends. Does not try
//! again on its own: NOT_CONTROLLER, or no answer, is the caller's to wait out, since only it knows whether its question is
//! still the same. Source: Kafka 3.9 `NodeToControllerChannelManager`.

use std::sync::Arc;
use std::time::Duration;

use broker_wire::Request;
use broker_wire::client::{ClientError, Connection, Options};
use broker_wire::transport::Connector;
use coordinator_service::{ControllerHandle, InterBrokerProtocol};
use kafka_protocol::messages::{
    AllocateProducerIdsRequest, AllocateProducerIdsResponse, AlterPartitionRequest, AlterPartitionResponse,
    ControlledShutdownRequest, ControlledShutdownResponse,
};
use model::BrokerId;
use tokio::sync::Mutex;
use zk_schema::ottla;
use zk_schema_store::{Store, StoreError};

use crate::metadata::MetadataCache;

/// The newest AlterPartition. Between brokers of Kafka 3.9 its version follows ApiVersions, not the protocol version: the
/// controller of a mixed cluster may know less, so the connection asks.
const ALTER_PARTITION_MAX: i16 = 3;
/// The only AllocateProducerIds.
const ALLOCATE_PRODUCER_IDS: i16 = 0;
/// ApiKey of AlterPartition.
const ALTER_PARTITION_KEY: i16 = 56;

/// Why the controller could not be asked.
#[derive(Debug, thiserror::Error)]
pub enum NoController {
    /// Nobody is known to be the controller, or it does not listen where brokers do.
    #[error("no controller is known")]
    Unknown,
    /// The connection, or the answer, failed.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// Where a dedicated coordinator is could not be read.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The way to the controller. Cheap to share; questions over the wire are asked one at a time.
pub struct ControllerChannel {
    id: BrokerId,
    hosted: ControllerHandle,
    metadata: Arc<MetadataCache>,
    store: Store,
    listener: Arc<str>,
    protocol: InterBrokerProtocol,
    options: Options,
    open: Mutex<Option<Open>>,
}

struct Open {
    to: BrokerId,
    connection: Connection,
    alter_partition: i16,
}

impl ControllerChannel {
    /// A channel that has not been used; `listener` is the one between brokers.
    pub fn new(
        id: BrokerId,
        hosted: ControllerHandle,
        metadata: Arc<MetadataCache>,
        store: Store,
        listener: Arc<str>,
        protocol: InterBrokerProtocol,
        timeout: Duration,
        connector: Connector,
    ) -> Self {
        Self {
            id,
            hosted,
            metadata,
            store,
            listener,
            protocol,
            options: Options {
                client_id: id.to_string(),
                connect_timeout: timeout,
                request_timeout: timeout,
                max_in_flight: 1,
                connector,
                ..Options::default()
            },
            open: Mutex::new(None),
        }
    }

    /// The controller that this broker hosts.
    pub fn hosted(&self) -> &ControllerHandle {
        &self.hosted
    }

    /// Returns when `/controller` names another than at the call.
    pub async fn another_controller(&self) {
        let mut status = self.hosted.status();
        let before = status.borrow_and_update().controller;
        loop {
            if status.changed().await.is_err() {
                // The hosted controller has stopped: nobody watches any more.
                return std::future::pending().await;
            }
            let now = status.borrow_and_update().controller;
            if now.is_some() && now != before {
                return;
            }
        }
    }

    /// AlterPartition: proposes in-sync sets. `build` makes the request for the version that the controller speaks, at
    /// most `newest`: topics go by id from version 2 on, and members with their epochs from version 3 on.
    ///
    /// # Errors
    /// The controller could not be asked.
    pub async fn alter_partition(
        &self,
        newest: i16,
        build: impl FnOnce(i16) -> AlterPartitionRequest,
    ) -> Result<(AlterPartitionResponse, i16), NoController> {
        if self.hosted.is_active() {
            let version = newest.min(ALTER_PARTITION_MAX);
            return Ok((self.hosted.alter_partition(build(version), version).await, version));
        }
        let mut open = self.open.lock().await;
        let version = self.connected(&mut open).await?.alter_partition.min(newest);
        let response = self.send(&mut open, &build(version), version).await?;
        Ok((response, version))
    }

    /// ControlledShutdown: asks to leave in order.
    ///
    /// # Errors
    /// The controller could not be asked.
    pub async fn controlled_shutdown(
        &self,
        request: ControlledShutdownRequest,
    ) -> Result<ControlledShutdownResponse, NoController> {
        if self.hosted.is_active() {
            return Ok(self.hosted.controlled_shutdown(request).await);
        }
        let mut open = self.open.lock().await;
        self.connected(&mut open).await?;
        let version = self.protocol.controlled_shutdown;
        let request = if version >= 2 {
            request
        } else {
            request.with_broker_epoch(-1)
        };
        self.send(&mut open, &request, version).await
    }

    /// AllocateProducerIds: asks for a block of ids.
    ///
    /// # Errors
    /// The controller could not be asked.
    pub async fn allocate_producer_ids(
        &self,
        request: AllocateProducerIdsRequest,
    ) -> Result<AllocateProducerIdsResponse, NoController> {
        if self.hosted.is_active() {
            return Ok(self.hosted.allocate_producer_ids(request).await);
        }
        let mut open = self.open.lock().await;
        self.connected(&mut open).await?;
        self.send(&mut open, &request, ALLOCATE_PRODUCER_IDS).await
    }

    /// Passes a request on to a dedicated coordinator; `None` where a broker is the controller, to which clients go
    /// themselves.
    ///
    /// # Errors
    /// The coordinator could not be asked.
    pub async fn pass_on<R: Request>(&self, request: &R, version: i16) -> Result<Option<R::Response>, NoController> {
        let image = self.metadata.snapshot();
        let dedicated = self
            .hosted
            .controller_id()
            .is_some_and(|id| id != self.id && !image.brokers.contains_key(&id));
        if self.hosted.is_active() || !dedicated {
            return Ok(None);
        }
        let mut open = self.open.lock().await;
        self.connected(&mut open).await?;
        self.send(&mut open, request, version).await.map(Some)
    }

    /// The open connection to the controller of now.
    async fn connected<'a>(&self, open: &'a mut Option<Open>) -> Result<&'a Open, NoController> {
        // `/controller` as this broker watches it is newer than what the controller has told.
        let told = self.metadata.snapshot().controller_id;
        let controller = self.hosted.controller_id().or(told).filter(|id| *id != self.id);
        let controller = controller.ok_or(NoController::Unknown)?;
        if open
            .as_ref()
            .is_some_and(|it| it.to != controller || it.connection.is_closed())
        {
            *open = None;
        }
        if open.is_none() {
            let (host, port) = self.address(controller).await?;
            // A dedicated coordinator asks for what brokers ask of each other.
            let connection = Connection::connect(&host, port, self.options.clone()).await?;
            let versions = connection.api_versions().await?;
            let known = versions.api_keys.iter().find(|api| api.api_key == ALTER_PARTITION_KEY);
            tracing::info!(controller = %controller, host, port, "connected to the controller");
            *open = Some(Open {
                to: controller,
                connection,
                alter_partition: known.map_or(0, |api| api.max_version.min(ALTER_PARTITION_MAX)),
            });
        }
        open.as_ref().ok_or(NoController::Unknown)
    }

    /// Where the controller is: a broker's listener, or where a dedicated coordinator has registered.
    async fn address(&self, controller: BrokerId) -> Result<(String, u16), NoController> {
        let image = self.metadata.snapshot();
        if let Some(broker) = image.brokers.get(&controller) {
            let endpoint = broker.endpoints.get(&self.listener).ok_or(NoController::Unknown)?;
            let port = u16::try_from(endpoint.port).map_err(|_| NoController::Unknown)?;
            return Ok((endpoint.host.to_string(), port));
        }
        let registered = self.store.get(&ottla::coordinator_path(controller)).await?;
        let (data, _) = registered.ok_or(NoController::Unknown)?;
        ottla::decode_address(controller, &data).map_err(|error| {
            tracing::warn!(%error, "coordinator's registration cannot be read");
            NoController::Unknown
        })
    }

    async fn send<R: Request>(
        &self,
        open: &mut Option<Open>,
        request: &R,
        version: i16,
    ) -> Result<R::Response, NoController> {
        let Some(it) = open.as_ref() else {
            return Err(NoController::Unknown);
        };
        let answer = it.connection.send(request, version).await;
        if answer.is_err() {
            *open = None;
        }
        Ok(answer?)
    }
}
