//! SIGTERM, SIGINT and SIGHUP: the first one asks for an orderly stop, the second ends the process at once.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing::info;

/// The signals that end a broker. Made before anything else starts, so that none is missed.
#[derive(Debug)]
pub(super) struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hang_up: Signal,
}

impl Signals {
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hang_up: signal(SignalKind::hangup())?,
        })
    }

    /// Waits for the next signal and names it in the log, as Kafka's `LoggingSignalHandler` does.
    pub(super) async fn next(&mut self) -> StopSignal {
        let signal = tokio::select! {
            Some(()) = self.terminate.recv() => StopSignal { name: "SIGTERM", number: 15 },
            Some(()) = self.interrupt.recv() => StopSignal { name: "SIGINT", number: 2 },
            Some(()) = self.hang_up.recv() => StopSignal { name: "SIGHUP", number: 1 },
        };
        info!(
            target: "org.apache.kafka.common.utils.LoggingSignalHandler",
            "Terminating process due to signal {}", signal.name
        );
        signal
    }
}

/// A signal that asks for the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct StopSignal {
    pub(super) name: &'static str,
    number: u8,
}

impl StopSignal {
    /// The exit status of a process that it has killed.
    pub(super) fn exit_status(self) -> u8 {
        128 + self.number
    }
}
