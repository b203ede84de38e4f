//! What every request can reach: the parts of a running broker.

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, OnceLock};

use broker_admission::{AclAuthorizer, CredentialStores};
use broker_security::sasl::TokenCredentials;
use broker_wire::transport::Connector;
use coordinator_service::ControllerHandle;
use model::{BrokerEpoch, BrokerId, Millis};
use zk_schema_store::Store;

use crate::config::ConfigHandle;
use crate::controller::ControllerChannel;
use crate::fetch_session::FetchSessions;
use crate::group::GroupCoordinator;
use crate::metadata::MetadataCache;
use crate::net::Tls;
use crate::partition::Partitions;
use crate::producer_ids::ProducerIds;
use crate::quota::{ClientQuotas, ConnectionQuotas, ReplicationQuota, ReplicationQuotas, Windows};
use crate::replication::Replication;
use crate::tokens::DelegationTokens;
use crate::transaction::TransactionCoordinator;
use crate::verification::Verification;
use crate::zookeeper::features::FinalizedFeatures;

/// A running broker. Made by `start`, shared by all connections.
pub struct Broker {
    /// Its id.
    pub id: BrokerId,
    /// The cluster's id, from `/cluster/id`.
    pub cluster_id: String,
    /// Its configuration; parts of it change at run time.
    pub config: Arc<ConfigHandle>,
    /// ZooKeeper.
    pub store: Store,
    /// The partitions that have a replica here, and their logs.
    pub partitions: Arc<Partitions>,
    /// What the controller told of the cluster.
    pub metadata: Arc<MetadataCache>,
    /// The consumer groups that are coordinated here.
    pub groups: Arc<GroupCoordinator>,
    /// The transactional ids that are coordinated here.
    pub transactions: Arc<TransactionCoordinator>,
    /// Fetchers' sessions.
    pub fetch_sessions: FetchSessions,
    /// Throttles of replication.
    pub replication_quotas: ReplicationQuotas,
    /// What users and client ids may use.
    pub client_quotas: ClientQuotas,
    /// How many connections there may be.
    pub connection_quotas: Arc<ConnectionQuotas>,
    /// Questions to the coordinators of transactions that write here.
    pub verification: Verification,
    /// Ids for idempotent producers.
    pub producer_ids: ProducerIds,
    /// Finalized features of the cluster.
    pub features: Arc<FinalizedFeatures>,
    /// What users and tokens log in with.
    pub credentials: CredentialStores,
    /// TLS of listeners and of connections to other brokers; from before the listeners on.
    tls: OnceLock<Arc<Tls>>,
    /// How other brokers are reached; from before the replication on.
    connectors: OnceLock<Connectors>,
    /// The way to the controller, and the one hosted here; from the registration on.
    controller: OnceLock<ControllerChannel>,
    /// Copies from the leaders of what is followed here; from before the registration on.
    replication: OnceLock<Arc<Replication>>,
    /// Who may do what; from before the listeners open on, if there is to be one.
    authorizer: OnceLock<Arc<AclAuthorizer>>,
    /// Delegation tokens, if brokers share a secret for them.
    tokens: Option<Arc<DelegationTokens>>,
    /// Which life of this broker id it is: the czxid of its registration; −1 while it is not registered.
    epoch: AtomicI64,
}

/// How other brokers are reached: TLS and login.
#[derive(Clone, Debug, Default)]
pub struct Connectors {
    /// At `inter.broker.listener.name`.
    pub inter_broker: Connector,
    /// By the controller hosted here, at `control.plane.listener.name` if there is one.
    pub control_plane: Connector,
}

impl Broker {
    /// Puts the parts together; the broker is not registered yet.
    pub fn new(
        id: BrokerId,
        cluster_id: String,
        config: Arc<ConfigHandle>,
        store: Store,
        partitions: Arc<Partitions>,
    ) -> Arc<Self> {
        let fetch_session_slots = usize::try_from(config.load().max_incremental_fetch_session_cache_slots).unwrap_or(0);
        let groups = GroupCoordinator::new(Arc::clone(&config), store.clone(), Arc::clone(&partitions));
        let metadata = Arc::clone(&partitions.settings().metadata);
        let transactions = TransactionCoordinator::new(Arc::clone(&config), store.clone(), Arc::clone(&partitions));
        let told = (Arc::clone(&groups), Arc::clone(&transactions));
        partitions.set_leadership_listener(move |changes| {
            told.0.leadership_changed(changes);
            told.1.leadership_changed(changes);
        });
        let replication_quotas = {
            let config = config.load();
            let quota = |samples: i32, seconds: i32| {
                let window = Millis(i64::from(seconds).saturating_mul(1_000).max(1));
                ReplicationQuota::new(usize::try_from(samples).unwrap_or(1).max(1), window)
            };
            let replication = || {
                let seconds = config.replication_quota_window_size_seconds;
                quota(config.replication_quota_window_num, seconds)
            };
            ReplicationQuotas {
                leader: replication(),
                follower: replication(),
                alter_log_dirs: quota(
                    config.alter_log_dirs_replication_quota_window_num,
                    config.alter_log_dirs_replication_quota_window_size_seconds,
                ),
            }
        };
        let (client_quotas, connection_quotas) = {
            let config = config.load();
            let windows = Windows::new(config.quota_window_num, config.quota_window_size_seconds);
            let mutation = Windows::new(
                config.controller_quota_window_num,
                config.controller_quota_window_size_seconds,
            );
            let connections = ConnectionQuotas::new(windows, &config.inter_broker_listener_name);
            (ClientQuotas::new(windows, mutation), Arc::new(connections))
        };
        let tokens = DelegationTokens::new(&config.load(), store.clone());
        let mut credentials = CredentialStores::default();
        if let Some(tokens) = &tokens {
            credentials.tokens = Arc::clone(tokens.cache()) as Arc<dyn TokenCredentials>;
        }
        let broker = Arc::new(Self {
            id,
            cluster_id,
            config,
            store,
            partitions,
            metadata,
            groups,
            transactions,
            fetch_sessions: FetchSessions::new(fetch_session_slots),
            replication_quotas,
            client_quotas,
            connection_quotas,
            verification: Verification::default(),
            producer_ids: ProducerIds::default(),
            features: Arc::default(),
            credentials,
            tls: OnceLock::new(),
            connectors: OnceLock::new(),
            controller: OnceLock::new(),
            replication: OnceLock::new(),
            authorizer: OnceLock::new(),
            tokens,
            epoch: AtomicI64::new(BrokerEpoch::NONE.0),
        });
        broker.transactions.connect(&broker);
        broker
    }

    /// Says how connections are secured. Called once, before anything listens or connects; another call does nothing.
    pub fn secure(&self, tls: Arc<Tls>, connectors: Connectors) {
        // The first one counts.
        let _ = self.tls.set(tls);
        let _ = self.connectors.set(connectors);
    }

    /// TLS; empty where there is none.
    pub fn tls(&self) -> &Arc<Tls> {
        self.tls.get_or_init(Arc::default)
    }

    /// How other brokers are reached; plainly, if nothing else was said.
    pub fn connectors(&self) -> &Connectors {
        self.connectors.get_or_init(Connectors::default)
    }

    /// The controller hosted here, once there is one.
    pub fn controller(&self) -> Option<&ControllerHandle> {
        self.controller.get().map(ControllerChannel::hosted)
    }

    /// The way to whoever is the controller, once this broker is registered.
    pub fn controller_channel(&self) -> Option<&ControllerChannel> {
        self.controller.get()
    }

    /// Begins to copy from leaders, as the controller's requests will say. Called once, before the listeners serve, on a
    /// runtime; another call does nothing.
    pub fn start_replication(self: &Arc<Self>) {
        self.replication.get_or_init(|| {
            let replication = Replication::new(self);
            let told = Arc::clone(&replication);
            self.partitions.set_replication(move |changes| told.apply(changes));
            replication
        });
    }

    /// The fetchers, once there are some.
    pub fn replication(&self) -> Option<&Arc<Replication>> {
        self.replication.get()
    }

    /// Starts the controller hosted here. Called once, after the registration; another call does nothing.
    pub fn host_controller(&self) {
        let config = self.config.current();
        self.controller.get_or_init(|| {
            let connectors = self.connectors();
            let hosted =
                crate::controller::host(self.id, &config, connectors.control_plane.clone(), self.store.clone());
            ControllerChannel::new(
                self.id,
                hosted,
                Arc::clone(&self.metadata),
                self.store.clone(),
                Arc::from(config.inter_broker_listener_name.as_str()),
                crate::controller::inter_broker_protocol(&config),
                std::time::Duration::from_millis(u64::try_from(config.request_timeout_ms).unwrap_or(0)),
                connectors.inter_broker.clone(),
            )
        });
    }

    /// Who may do what; everyone everything if there is none.
    pub fn authorizer(&self) -> Option<&Arc<AclAuthorizer>> {
        self.authorizer.get()
    }

    /// Delegation tokens, if brokers share a secret for them.
    pub fn tokens(&self) -> Option<&Arc<DelegationTokens>> {
        self.tokens.as_ref()
    }

    /// Lets `authorizer` decide from here on. Called once, before the listeners open; another call does nothing.
    pub fn set_authorizer(&self, authorizer: Arc<AclAuthorizer>) {
        self.authorizer.get_or_init(|| authorizer);
    }

    /// The epoch of the current registration.
    pub fn epoch(&self) -> BrokerEpoch {
        BrokerEpoch(self.epoch.load(Ordering::Acquire))
    }

    /// A new registration: requests that were meant for an earlier life are refused from here on.
    pub fn set_epoch(&self, epoch: BrokerEpoch) {
        self.epoch.store(epoch.0, Ordering::Release);
    }

    /// Whether a controller's request was meant for an earlier life of this broker (STALE_BROKER_EPOCH).
    ///
    /// Source: Kafka 3.9 `ZkSupport.isBrokerEpochStale`.
    pub fn is_stale(&self, epoch_in_request: BrokerEpoch) -> bool {
        epoch_in_request != BrokerEpoch::NONE && epoch_in_request < self.epoch()
    }
}
