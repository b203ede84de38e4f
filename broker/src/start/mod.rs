//! Starting a broker in order, and stopping it in order.
//!
//! Decides the order alone: what is started is in [`Parts`], in the order in which it was, and [`stop`] takes it down
//! the other way round, also after a start that failed halfway. Listeners are bound before the registration, so that
//! nobody is sent to a port that is not there, and requests are served after it.
//!
//! Source: Kafka 3.9 `KafkaServer.startup`, `shutdown`; `kafka.Kafka.main`.

mod connection_limits;
mod directories;
mod error;
mod failed_directories;
mod hand_over;
mod last_session;
mod parts;
mod passwords;
mod serve;
mod signals;
mod stop;
mod zookeeper;

use std::process::ExitCode;
use std::time::Duration;

use tracing::{error, info, warn};

pub use directories::DirectoryError;
pub use error::StartError;

use crate::config::Loaded;
use crate::logging::KAFKA_SERVER;
use parts::Parts;
use signals::Signals;

/// An orderly stop that takes longer is given up, and the process ends with status 1.
const STOP_TIME_MAX: Duration = Duration::from_secs(300);

/// Runs a broker until a signal ends it, and answers the exit status of the process: 0 after an orderly stop, 1 after
/// anything fatal, 128 + the signal's number after a second signal.
pub async fn run(loaded: Loaded) -> ExitCode {
    let Loaded { config, notices } = loaded;
    let mut parts = Parts::new(config);
    info!(target: KAFKA_SERVER, "{}starting", parts.ident());
    for notice in notices {
        warn!("{notice}");
    }
    let mut signals = match Signals::new() {
        Ok(signals) => signals,
        Err(source) => {
            return start_failed(
                &parts,
                &StartError::System {
                    doing: "handle signals",
                    source,
                },
            );
        }
    };
    let started = tokio::select! {
        started = serve::start(&mut parts) => Some(started),
        _ = signals.next() => None,
    };
    let outcome = match started {
        Some(Err(error)) => start_failed(&parts, &error),
        // Told to stop before it was ready: as good as after.
        None => ExitCode::SUCCESS,
        Some(Ok(())) => {
            info!(target: KAFKA_SERVER, "{}started", parts.ident());
            tokio::select! {
                _ = signals.next() => ExitCode::SUCCESS,
                error = parts.fatal() => {
                    error!(target: KAFKA_SERVER, "{error}");
                    ExitCode::FAILURE
                }
            }
        }
    };
    tokio::select! {
        () = stop::stop(&mut parts) => outcome,
        signal = signals.next() => {
            warn!(target: KAFKA_SERVER, "ended by a second signal before the shut down was complete");
            ExitCode::from(signal.exit_status())
        }
        () = tokio::time::sleep(STOP_TIME_MAX) => {
            error!(target: KAFKA_SERVER, "Halting Kafka.");
            ExitCode::FAILURE
        }
    }
}

fn start_failed(parts: &Parts, error: &StartError) -> ExitCode {
    error!(
        target: KAFKA_SERVER,
        "{}Fatal error during KafkaServer startup. Prepare to shutdown: {error}",
        parts.ident()
    );
    ExitCode::FAILURE
}
