//! Log lines as log watchers of Kafka expect them: `[2021-04-02 19:33:20,598] INFO message key=value (target)`.
//!
//! Decides the form of a line, what is logged (`OTTLA_LOG`, else `RUST_LOG`, as `info,broker::net=debug`) and that a
//! reader of stdout who stands still never stalls the broker: lines go through a bounded queue to one thread, and what
//! does not fit is counted and said. Targets are module paths, except where watchers look for Kafka's logger names.
//!
//! Invariant: an event is one line; control characters from outside (a client id, a topic name) are escaped.

mod format;
pub mod levels;
mod queue;

use std::io;

use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use format::KafkaFormat;
pub use queue::Flusher;

/// The name of the logger that says `starting`, `started` and `shut down completed`.
pub const KAFKA_SERVER: &str = "kafka.server.KafkaServer";

/// Environment variables that set the level, the first one set counts.
const LEVEL_VARIABLES: [&str; 2] = ["OTTLA_LOG", "RUST_LOG"];

/// Starts logging to stdout. The [`Flusher`] must be kept until the end of `main`: dropping it writes what is queued.
///
/// # Errors
/// The thread that writes cannot be started.
pub fn start() -> io::Result<Flusher> {
    let (queue, flusher) = queue::start(io::stdout())?;
    let wanted = LEVEL_VARIABLES
        .iter()
        .find_map(|name| std::env::var(name).ok().filter(|text| !text.is_empty()));
    let (filter, refused) = match wanted.as_deref().map(str::parse::<Targets>) {
        None => (default_levels(), None),
        Some(Ok(filter)) => (filter, None),
        Some(Err(error)) => (default_levels(), Some(error)),
    };
    let lines = tracing_subscriber::fmt::layer()
        .event_format(KafkaFormat::new())
        .with_writer(queue)
        .with_ansi(false);
    // Fails only where a subscriber is already installed (a test): then that one is used.
    if tracing_subscriber::registry()
        .with(levels::changeable(filter))
        .with(lines)
        .try_init()
        .is_ok()
    {
        log_panics();
    }
    if let Some(error) = refused {
        tracing::warn!(%error, "the level in OTTLA_LOG or RUST_LOG is not understood; using info");
    }
    Ok(flusher)
}

/// `info`; the ZooKeeper client tells every reconnection itself, which our own `zk-schema-store` says better.
fn default_levels() -> Targets {
    Targets::new()
        .with_default(LevelFilter::INFO)
        .with_target("zookeeper_client", LevelFilter::WARN)
}

/// A panic becomes a log line; unwinding then ends the task or thread it happened in.
fn log_panics() {
    std::panic::set_hook(Box::new(|panic| {
        let message = panic.payload_as_str().unwrap_or("a panic without a message");
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        let thread = std::thread::current().name().unwrap_or("unnamed").to_owned();
        tracing::error!(%place, %thread, "panicked: {message}");
    }));
}
