//! The start, step by step.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use broker_admission::{AclAuthorizer, AclScope, login};
use broker_log::{Disk, LogConfig, Logs, LogsConfig};
use broker_wire::transport::Connector;
use guardian::{Charge, Estate, Guardian};
use model::Millis;
use tokio::sync::{mpsc, watch};
use tracing::{error, info};

use super::directories::Directories;
use super::error::StartError;
use super::parts::Parts;
use super::passwords::reencode;
use super::zookeeper::{self, in_session, millis};
use super::{connection_limits, failed_directories, last_session};
use crate::broker::Connectors;
use crate::config::{BrokerConfig, ProtocolVersion};
use crate::logging::KAFKA_SERVER;
use crate::net::{Listeners, Tls, open_listener};
use crate::partition::{Partitions, ReplicaSettings};
use crate::registration::{Identity, Registration};
use crate::security::authorizer_settings;
use crate::zookeeper::apply::usable_entries;
use crate::{Broker, blocking, clock};

/// Stands in the headers of the requests of this broker's logins.
const LOGIN_CLIENT_ID: &str = "broker-login";

/// Starts everything, in Kafka's order; what has been started is in `parts`, also after an error.
pub(super) async fn start(parts: &mut Parts) -> Result<(), StartError> {
    let config = parts.config.current();
    info!(target: KAFKA_SERVER, "Connecting to zookeeper on {}", config.zookeeper_connect);
    let store = parts.zookeeper.insert(zookeeper::connect(&config).await?).clone();
    let timeout = millis(config.zookeeper_connection_timeout_ms);
    let cluster_id = in_session(&store, timeout, async || {
        zookeeper::create_roots(&store).await?;
        zookeeper::cluster_id(&store).await
    })
    .await?;
    info!(target: KAFKA_SERVER, "Cluster ID = {cluster_id}");

    let disk = Disk::real();
    let dirs = absolute(&config)?;
    let directories = read_directories(&disk, &dirs).await;
    let id = match directories.verify(&cluster_id, config.broker_id)? {
        Some(id) => id,
        None if config.broker_id_generation_enable => {
            let generate = async || zookeeper::generate_broker_id(&store, config.reserved_broker_max_id).await;
            in_session(&store, timeout, generate).await?
        }
        None => return Err(StartError::NoBrokerId),
    };
    parts.id = Some(id);
    {
        let (disk, cluster_id) = (disk.clone(), cluster_id.clone());
        blocking::run(move || directories.complete(&disk, &cluster_id, id, clock::now())).await;
    }

    let (default, own) = in_session(&store, timeout, async || zookeeper::broker_configs(&store, id).await).await?;
    let applied = parts.config.initialize(
        usable_entries(&parts.config, default, false),
        usable_entries(&parts.config, own, true),
    );
    if let Err(error) = applied {
        // As Kafka: whoever wrote it past the checks of brokers must not stop them.
        error!(%error, "the dynamic configuration is not valid and is not applied");
    }
    let config = parts.config.current();
    let topic_overrides = in_session(&store, timeout, async || zookeeper::topic_configs(&store).await).await?;
    let logs = open_logs(parts, &config, dirs, disk, topic_overrides).await?;

    let settings = ReplicaSettings::new(id, Millis(config.replica_lag_time_max_ms));
    let partitions = Partitions::new(settings, logs);
    let broker = Broker::new(
        id,
        cluster_id,
        Arc::new(parts.config.clone()),
        store.clone(),
        partitions,
    );
    parts.broker = Some(Arc::clone(&broker));
    secure(parts, &broker, &config).await?;
    broker.start_replication();
    if let Some(replication) = broker.replication() {
        parts.background.spawn(Arc::clone(replication).follow_config());
    }
    watch_directories(parts, &broker);
    start_authorizer(parts, &broker, &config).await?;
    if let Some(tokens) = broker.tokens() {
        tokens.load().await?;
        parts.background.spawn(Arc::clone(tokens).follow());
        let expire = Arc::clone(tokens).expire_from_time_to_time(Arc::downgrade(&broker));
        parts.background.spawn(expire);
    }

    if config.inter_broker_protocol_version >= ProtocolVersion::IBP_2_7_IV0 {
        let features = Arc::clone(&broker.features);
        parts.background.spawn(features.follow(broker.store.clone()));
    }

    let mut bound = Vec::new();
    for endpoint in &config.listeners {
        bound.push(open_listener(&broker, &config, endpoint).await?);
    }
    let ports = crate::net::ports(&bound).map_err(port_unknown)?;
    broker
        .connection_quotas
        .configure(&connection_limits::read(&config).await?);
    parts.background.spawn(connection_limits::follow(Arc::clone(&broker)));

    // Before the registration, so that no death after it goes unnoticed.
    if config.ottla_death_certificate {
        let charge = Charge {
            name: format!("broker {id}"),
            zookeeper: zookeeper::store_config(&config)?,
            paths: Estate::paths_of_broker(id),
        };
        parts.guardian = Some(Guardian::start(charge, store).await);
    }
    // Before anybody can log in, other brokers first of all.
    crate::zookeeper::apply::load_clients(&broker).await?;
    coordinator_service::announce_broker(&broker.store, id).await?;
    let host_name = host_name();
    let (identity, advertised) = watch::channel(Identity::new(id, &config, &ports, &host_name));
    register(parts, &broker, advertised).await?;
    let listeners = Listeners::new(Arc::clone(&broker), host_name, identity, bound).map_err(port_unknown)?;
    parts.listeners.spawn(listeners.run());
    // After the listeners: what it tells this broker comes over one of them.
    broker.host_controller();
    parts
        .background
        .spawn(crate::zookeeper::apply::follow(Arc::clone(&broker)));
    parts.background.spawn(crate::in_sync::run(Arc::clone(&broker)));
    parts.background.spawn(reencode(Arc::clone(&broker)));
    parts.serving = true;
    info!(
        target: "org.apache.kafka.common.utils.AppInfoParser",
        "Kafka version: 3.9.1 (ottla {})", env!("CARGO_PKG_VERSION")
    );
    Ok(())
}

/// Reads what TLS needs, and says how other brokers are reached.
async fn secure(parts: &mut Parts, broker: &Arc<Broker>, config: &Arc<BrokerConfig>) -> Result<(), StartError> {
    let reading = Arc::clone(config);
    let tls = Arc::new(blocking::run(move || Tls::new(&reading)).await?);
    let connector = |listener: &str| -> Result<Connector, StartError> {
        let login = config
            .login_to(listener)?
            .map(|it| login(&it, LOGIN_CLIENT_ID))
            .transpose()?;
        Ok(tls.connector(listener).with_login(login))
    };
    let inter_broker = connector(&config.inter_broker_listener_name)?;
    let control_plane = match &config.control_plane_listener_name {
        Some(listener) => connector(listener)?,
        None => inter_broker.clone(),
    };
    parts.background.spawn(Arc::clone(&tls).follow_files());
    broker.config.add_reconfigurable(Arc::clone(&tls) as _);
    let connectors = Connectors {
        inter_broker,
        control_plane,
    };
    broker.secure(tls, connectors);
    Ok(())
}

/// Registers, and keeps the registration up from then on. The directories are locked: who had them before is gone.
async fn register(
    parts: &mut Parts,
    broker: &Arc<Broker>,
    advertised: watch::Receiver<Identity>,
) -> Result<(), StartError> {
    let identity = advertised.borrow().clone();
    let session_timeout = millis(parts.config.load().zookeeper_session_timeout_ms);
    let dirs = broker.partitions.logs().live_dirs();
    let read = dirs.clone();
    let dead_sessions = blocking::run(move || last_session::read(&read)).await;
    let store = broker.store.clone();
    let registration = Registration::first(store, identity, session_timeout, &dead_sessions).await?;
    let registered = {
        let broker = Arc::clone(broker);
        move |epoch, session_id| {
            broker.set_epoch(epoch);
            let dirs = dirs.clone();
            tokio::task::spawn_blocking(move || last_session::write(&dirs, session_id));
        }
    };
    registered(registration.epoch(), registration.session_id());
    parts.background.spawn(registration.keep(advertised, registered));
    Ok(())
}

/// Reads who may do what, before anybody can ask for anything.
async fn start_authorizer(parts: &mut Parts, broker: &Broker, config: &BrokerConfig) -> Result<(), StartError> {
    let Some(settings) = authorizer_settings(config).map_err(StartError::Authorizer)? else {
        return Ok(());
    };
    let store = match &settings.zookeeper {
        None => broker.store.clone(),
        Some(other) => zookeeper::connect_authorizer(config, other).await?,
    };
    let authorizer = AclAuthorizer::start(store, &settings, AclScope::All).await?;
    broker.set_authorizer(Arc::clone(&authorizer));
    parts.background.spawn(authorizer.follow());
    Ok(())
}

fn watch_directories(parts: &mut Parts, broker: &Arc<Broker>) {
    let (tell, failures) = mpsc::unbounded_channel();
    let logs = broker.partitions.logs();
    // After `Partitions`, which has taken the partitions offline by the time the controller hears of it. Telling fails
    // only while the broker stops.
    logs.on_failure(move |_| {
        let _ = tell.send(());
    });
    let watch = failed_directories::watch(failures, Arc::downgrade(logs), broker.store.clone(), broker.id);
    parts.failed = Some(tokio::spawn(watch));
}

/// `log.dirs` as absolute paths, so that nothing depends on where the process goes on.
fn absolute(config: &BrokerConfig) -> Result<Vec<PathBuf>, StartError> {
    let absolute = |dir: &PathBuf| {
        std::path::absolute(dir).map_err(|source| StartError::System {
            doing: "find the directory of the data",
            source,
        })
    };
    config.log_dirs.iter().map(absolute).collect()
}

async fn read_directories(disk: &Disk, dirs: &[PathBuf]) -> Directories {
    let (disk, dirs) = (disk.clone(), dirs.to_vec());
    blocking::run(move || Directories::read(&disk, &dirs)).await
}

async fn open_logs(
    parts: &mut Parts,
    config: &BrokerConfig,
    dirs: Vec<PathBuf>,
    disk: Disk,
    topic_overrides: std::collections::HashMap<String, BTreeMap<String, String>>,
) -> Result<Arc<Logs>, StartError> {
    let threads = |count: i32| usize::try_from(count).unwrap_or(1).max(1);
    let logs_config = LogsConfig {
        dirs,
        defaults: LogConfig::from_broker(|key| config.originals.get(key).map(String::as_str))?,
        topic_overrides,
        recovery_threads_per_dir: threads(config.num_recovery_threads_per_data_dir),
        background_threads: threads(config.background_threads),
        flush_scheduler_interval_ms: Millis(config.log_flush_scheduler_interval_ms),
        flush_offset_checkpoint_interval_ms: Millis(i64::from(config.log_flush_offset_checkpoint_interval_ms)),
        flush_start_offset_checkpoint_interval_ms: Millis(i64::from(
            config.log_flush_start_offset_checkpoint_interval_ms,
        )),
        retention_check_interval_ms: Millis(config.log_retention_check_interval_ms),
        high_watermark_checkpoint_interval_ms: Millis(config.replica_high_watermark_checkpoint_interval_ms),
        producer_id_expiration_ms: Millis(i64::from(config.producer_id_expiration_ms)),
        producer_id_expiration_check_interval_ms: Millis(i64::from(config.producer_id_expiration_check_interval_ms)),
        max_transaction_timeout_ms: Millis(i64::from(config.transaction_max_timeout_ms)),
        verify_transactions: config.transaction_partition_verification_enable,
        initial_task_delay_ms: Millis(config.log_initial_task_delay_ms),
        cleaner: config.cleaner(),
        disk,
    };
    let opening = parts
        .opening
        .insert(tokio::task::spawn_blocking(move || Logs::open(logs_config)));
    let opened = opening.await;
    parts.opening = None;
    let logs = match opened {
        Ok(opened) => opened?,
        Err(failed) => match failed.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            Err(_cancelled) => std::future::pending().await,
        },
    };
    parts.logs = Some(Arc::clone(&logs));
    Ok(logs)
}

fn port_unknown(source: std::io::Error) -> StartError {
    StartError::System {
        doing: "ask for the port of a listener",
        source,
    }
}

/// This machine's name, which clients are told where no host is advertised.
fn host_name() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}
