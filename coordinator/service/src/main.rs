//! The program `coordinator`: the controller in a process of its own.
//!
//! It registers below `/cluster/ottla/coordinators`, so that brokers leave the race for `/controller` to it, and takes their
//! requests to the controller. SIGTERM and SIGINT resign in order; a second one ends at once.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use clap::Parser;
use coordinator_service::{ControllerHandle, ControllerService, Door, Settings, serve, serve_health, settings};
use guardian::{Charge, Estate, Guardian};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use zk_schema_store::{SessionState, Store};

/// Exit status after a second signal.
const INTERRUPTED: u8 = 130;

/// Holds the controller's office of a ZooKeeper-coordinated cluster apart from its brokers.
#[derive(Debug, Parser)]
#[command(name = "coordinator", version = concat!(env!("CARGO_PKG_VERSION"), " (ottla; compatible with Apache Kafka 3.9)"))]
struct CommandLine {
    /// The properties file: at least zookeeper.connect and coordinator.id.
    #[arg(value_name = "COORDINATOR.PROPERTIES")]
    file: PathBuf,
    /// A setting that counts before the file; may be repeated.
    #[arg(long = "override", value_name = "KEY=VALUE", value_parser = pair)]
    overrides: Vec<(String, String)>,
}

fn pair(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.trim().is_empty() => Ok((key.trim().to_owned(), value.to_owned())),
        _ => Err(format!("{text} is not KEY=VALUE")),
    }
}

fn main() -> ExitCode {
    if let Some(status) = guardian::role() {
        return status;
    }
    let command_line = CommandLine::parse();
    tracing_subscriber::fmt()
        .with_env_filter(
            tracing_subscriber::EnvFilter::try_from_env("OTTLA_LOG")
                .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("info,zookeeper_client=warn")),
        )
        .with_ansi(false)
        .init();
    let settings = match read(&command_line) {
        Ok(settings) => settings,
        Err(reason) => {
            tracing::error!("{reason}");
            return ExitCode::FAILURE;
        }
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .thread_name("coordinator")
        .enable_all()
        .build();
    match runtime {
        Ok(runtime) => runtime.block_on(run(settings)),
        Err(error) => {
            tracing::error!(%error, "cannot start threads");
            ExitCode::FAILURE
        }
    }
}

fn read(command_line: &CommandLine) -> Result<Settings, String> {
    let file = command_line.file.display();
    let text = std::fs::read(&command_line.file).map_err(|error| format!("{file}: {error}"))?;
    let pairs = java_properties::read(&text[..]).map_err(|error| format!("{file}: {error}"))?;
    let pairs = pairs.into_iter().chain(command_line.overrides.iter().cloned());
    settings(pairs, &std::env::var("KAFKA_OPTS").unwrap_or_default()).map_err(|error| error.to_string())
}

async fn run(settings: Settings) -> ExitCode {
    for key in &settings.unknown {
        tracing::warn!(key, "unknown configuration is ignored");
    }
    let signals =
        signal(SignalKind::terminate()).and_then(|terminate| Ok((terminate, signal(SignalKind::interrupt())?)));
    let (mut terminate, mut interrupt) = match signals {
        Ok(signals) => signals,
        Err(error) => {
            tracing::error!(%error, "cannot handle signals");
            return ExitCode::FAILURE;
        }
    };
    let mut told_to_stop = async || {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    };
    let started = tokio::select! {
        started = start(settings) => started,
        () = told_to_stop() => return ExitCode::SUCCESS,
    };
    let Started {
        controller,
        store,
        mut server,
        health,
        guardian,
    } = match started {
        Ok(started) => started,
        Err(reason) => {
            tracing::error!("{reason}");
            return ExitCode::FAILURE;
        }
    };
    tracing::info!(id = %controller.id(), "started (coordinator)");
    let outcome = tokio::select! {
        () = told_to_stop() => ExitCode::SUCCESS,
        () = controller.ended() => {
            tracing::error!("the controller has ended by itself: giving up");
            ExitCode::FAILURE
        }
        _ = &mut server => {
            tracing::error!("requests are not taken any more: giving up");
            ExitCode::FAILURE
        }
        () = closed(&store) => {
            tracing::error!("nobody keeps up the zookeeper session: giving up");
            ExitCode::FAILURE
        }
    };
    tracing::info!("shutting down");
    let stop = async {
        controller.stop().await;
        server.abort();
        if let Some(health) = health {
            health.abort();
        }
        store.close().await;
        if let Some(guardian) = guardian {
            guardian.dismiss().await;
        }
    };
    tokio::select! {
        () = stop => outcome,
        () = told_to_stop() => ExitCode::from(INTERRUPTED),
    }
}

/// What runs.
struct Started {
    controller: ControllerHandle,
    store: Store,
    server: tokio::task::JoinHandle<()>,
    health: Option<tokio::task::JoinHandle<()>>,
    guardian: Option<Guardian>,
}

/// Waits until the session is not kept up any more, by a fault of ours.
async fn closed(store: &Store) {
    // An error means that whoever did it has gone.
    drop(store.session().wait_for(|state| *state == SessionState::Closed).await);
}

async fn start(mut settings: Settings) -> Result<Started, String> {
    let (host, port) = &settings.listen;
    let listener = TcpListener::bind((host.as_str(), *port))
        .await
        .map_err(|error| format!("{host}:{port}: {error}"))?;
    let health = match &settings.health_listener {
        Some((host, port)) => {
            let bound = TcpListener::bind((host.as_str(), *port)).await;
            Some(bound.map_err(|error| format!("ottla.health.listener {host}:{port}: {error}"))?)
        }
        None => None,
    };
    // Port 0 is whichever was free.
    let port = listener.local_addr().map_err(|error| error.to_string())?.port();
    settings.service.advertised = Some((settings.advertised_host, port));
    let security = settings.security.open()?;
    settings.service.connector = security.connector.clone();
    let store = Store::connect(settings.store.clone())
        .await
        .map_err(|error| error.to_string())?;
    let door = Door::open(&settings.security, &security, &settings.store, &store).await?;
    // Ends with the runtime.
    tokio::spawn(security.follow_files());
    let guardian = if settings.death_certificate {
        let id = settings.service.id;
        let charge = Charge {
            name: format!("coordinator {id}"),
            zookeeper: settings.store,
            paths: Estate::paths_of_coordinator(id),
        };
        Some(Guardian::start(charge, store.clone()).await)
    } else {
        None
    };
    let controller = ControllerService::start(settings.service, store.clone());
    let server = tokio::spawn(serve(listener, Arc::new(door), controller.clone()));
    let health = health.map(|listener| tokio::spawn(serve_health(listener, controller.clone(), store.clone())));
    Ok(Started {
        controller,
        store,
        server,
        health,
        guardian,
    })
}
