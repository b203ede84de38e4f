//! Levels of loggers that change while the broker runs: the `BROKER_LOGGER` resource of KIP-412.
//!
//! A logger is a `tracing` target, written with dots (`broker.api`): Kafka's tools refuse colons. `root` stands for all
//! without a level of their own. Known are the rooms of this program and whatever `OTTLA_LOG` names. Levels are Kafka's words; nothing is ever logged at `FATAL`, so it silences.
//! They last until the process ends: nothing of it is written to ZooKeeper.
//!
//! Source: Kafka 3.9 `Log4jController`, `LogLevelConfig`.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use parking_lot::Mutex;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::Registry;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::reload;

/// The logger that stands for all without a level of their own.
pub const ROOT_LOGGER: &str = "root";

/// Levels as Kafka spells them, sorted.
pub const LEVELS: [&str; 6] = ["DEBUG", "ERROR", "FATAL", "INFO", "TRACE", "WARN"];

/// What can be given a level without being named at start.
const LOGGERS: &[&str] = &[
    "broker",
    "broker::api",
    "broker::config",
    "broker::controller",
    "broker::group",
    "broker::net",
    "broker::partition",
    "broker::registration",
    "broker::security",
    "broker::start",
    "broker::zookeeper",
    "broker_admission",
    "broker_log",
    "coordinator_service",
    broker_admission::AUDIT,
    super::KAFKA_SERVER,
    "zk_schema_store",
    "zookeeper_client",
];

static LEVELS_NOW: OnceLock<Levels> = OnceLock::new();

/// The levels of this process; `None` before logging has started.
pub fn levels() -> Option<&'static Levels> {
    LEVELS_NOW.get()
}

/// Puts `wanted` under the control of [`levels`]: the filter to install.
pub(super) fn changeable(wanted: Targets) -> reload::Layer<Targets, Registry> {
    let table = Table::of(&wanted);
    let (filter, handle) = reload::Layer::new(wanted);
    // A second start is a test's: the first subscriber stays, and so do its levels.
    let _ = LEVELS_NOW.set(Levels {
        table: Mutex::new(table),
        install: Box::new(move |targets| {
            if let Err(error) = handle.reload(targets) {
                tracing::error!(%error, "levels of loggers cannot be changed");
            }
        }),
    });
    filter
}

/// Which logger has which level, and the way to change it.
pub struct Levels {
    table: Mutex<Table>,
    install: Box<dyn Fn(Targets) + Send + Sync>,
}

impl Levels {
    /// Every known logger with the level that holds for it.
    pub fn all(&self) -> BTreeMap<String, &'static str> {
        self.table.lock().all()
    }

    /// Whether there is such a logger.
    pub fn exists(&self, logger: &str) -> bool {
        self.table.lock().exists(logger)
    }

    /// Gives `logger` one of [`LEVELS`]; whether it is one, and there is such a logger.
    pub fn set(&self, logger: &str, level: &str) -> bool {
        self.change(|table| table.set(logger, level))
    }

    /// Takes away the logger's own level; whether there is such a logger. The root always has one.
    pub fn unset(&self, logger: &str) -> bool {
        self.change(|table| table.unset(logger))
    }

    fn change(&self, change: impl FnOnce(&mut Table) -> bool) -> bool {
        let targets = {
            let mut table = self.table.lock();
            if !change(&mut table) {
                return false;
            }
            table.targets()
        };
        (self.install)(targets);
        true
    }
}

#[derive(Clone, Debug)]
struct Table {
    root: LevelFilter,
    own: BTreeMap<String, LevelFilter>,
}

impl Table {
    fn of(targets: &Targets) -> Self {
        Self {
            root: targets.default_level().unwrap_or(LevelFilter::OFF),
            own: targets
                .iter()
                .map(|(target, level)| (target.to_owned(), level))
                .collect(),
        }
    }

    fn targets(&self) -> Targets {
        let own = self.own.iter().map(|(target, level)| (target.as_str(), *level));
        Targets::new().with_default(self.root).with_targets(own)
    }

    fn known(&self) -> impl Iterator<Item = &str> {
        self.own.keys().map(String::as_str).chain(LOGGERS.iter().copied())
    }

    /// The target of the logger called so.
    fn target(&self, logger: &str) -> Option<String> {
        let mut known = self.known();
        known.find(|target| dotted(target) == logger).map(str::to_owned)
    }

    fn exists(&self, logger: &str) -> bool {
        logger == ROOT_LOGGER || self.target(logger).is_some()
    }

    fn all(&self) -> BTreeMap<String, &'static str> {
        let mut all: BTreeMap<_, _> = self
            .known()
            .map(|target| (dotted(target), kafkas_name(self.level(target))))
            .collect();
        all.insert(ROOT_LOGGER.to_owned(), kafkas_name(self.root));
        all
    }

    /// Its own level, or that of the longest target that it starts with, as `Targets` decides.
    fn level(&self, logger: &str) -> LevelFilter {
        let above = self
            .own
            .iter()
            .filter(|(target, _)| logger.starts_with(target.as_str()));
        above
            .max_by_key(|(other, _)| other.len())
            .map_or(self.root, |(_, level)| *level)
    }

    fn set(&mut self, logger: &str, level: &str) -> bool {
        let Some(level) = filter(level) else { return false };
        if logger == ROOT_LOGGER {
            self.root = level;
            return true;
        }
        let target = self.target(logger);
        let known = target.is_some();
        self.own.extend(target.map(|target| (target, level)));
        known
    }

    fn unset(&mut self, logger: &str) -> bool {
        let target = self.target(logger);
        if let Some(target) = &target {
            self.own.remove(target);
        }
        target.is_some()
    }
}

/// `broker.api` for `broker::api`.
fn dotted(target: &str) -> String {
    target.replace("::", ".")
}

fn filter(level: &str) -> Option<LevelFilter> {
    Some(match level {
        "TRACE" => LevelFilter::TRACE,
        "DEBUG" => LevelFilter::DEBUG,
        "INFO" => LevelFilter::INFO,
        "WARN" => LevelFilter::WARN,
        "ERROR" => LevelFilter::ERROR,
        "FATAL" => LevelFilter::OFF,
        _ => return None,
    })
}

fn kafkas_name(level: LevelFilter) -> &'static str {
    match level {
        LevelFilter::TRACE => "TRACE",
        LevelFilter::DEBUG => "DEBUG",
        LevelFilter::INFO => "INFO",
        LevelFilter::WARN => "WARN",
        LevelFilter::ERROR => "ERROR",
        _ => "FATAL",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> Table {
        Table::of(&"info,zookeeper_client=warn,mine::own=debug".parse::<Targets>().unwrap())
    }

    #[test]
    fn a_logger_has_the_level_of_the_nearest_above_it() {
        let mut table = table();
        let check = |table: &Table, logger: &str, level: &str| assert_eq!(table.all()[logger], level, "{logger}");
        check(&table, "root", "INFO");
        check(&table, "zookeeper_client", "WARN");
        check(&table, "mine.own", "DEBUG");
        check(&table, "broker.net", "INFO");
        assert!(table.set("broker", "TRACE"));
        check(&table, "broker.net", "TRACE");
        assert!(table.set("broker.net", "ERROR"));
        check(&table, "broker.net", "ERROR");
        assert!(table.targets().would_enable("broker::api", &tracing::Level::TRACE));
        assert!(!table.targets().would_enable("broker::net", &tracing::Level::WARN));
        assert!(table.set("root", "FATAL"));
        check(&table, "kafka.server.KafkaServer", "FATAL");
        assert!(table.unset("broker"));
        assert!(table.unset("broker.net"));
        check(&table, "broker.net", "FATAL");
        assert!(table.targets().would_enable("mine::own", &tracing::Level::DEBUG));
        assert!(!table.targets().would_enable("broker::net", &tracing::Level::ERROR));
    }

    #[test]
    fn what_does_not_exist_cannot_be_changed() {
        let mut table = table();
        assert!(!table.set("kafka.log.LogCleaner", "INFO"));
        assert!(!table.set("broker", "info"));
        assert!(!table.unset("kafka.log.LogCleaner"));
        assert!(!table.unset("root"));
        assert!(!table.exists("other"));
        assert!(!table.exists("broker::net"));
    }
}
