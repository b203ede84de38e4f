//! A broker as its operator sees it: a properties file, a log, a port, signals.

use crate::process::{Process, tail};
use crate::wire::Connection;
use crate::{eventually, repository};
use rustix::process::Signal;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::time::{Duration, Instant};

/// The line that log watchers wait for.
const STARTED: &str = "started (kafka.server.KafkaServer)";

fn command(kafka: bool) -> Vec<String> {
    if kafka {
        let launcher = repository().join("integration-tests/tools/kafka").display().to_string();
        return vec![launcher, "kafka-server-start".to_owned()];
    }
    match std::env::var("OTTLA_BROKER_COMMAND") {
        Ok(words) => words.split_whitespace().map(str::to_owned).collect(),
        Err(_) => {
            let program = program("broker");
            vec![program.display().to_string()]
        }
    }
}

/// One of our programs, as cargo has built it beside this test.
///
/// # Panics
/// Panics when it has not been built: cargo does not do that for another package's tests.
pub fn program(name: &str) -> PathBuf {
    let test = std::env::current_exe().expect("this program has a path");
    let built = test
        .ancestors()
        .nth(2)
        .expect("cargo puts tests into a folder of the profile's folder")
        .join(name);
    assert!(
        built.exists(),
        "{} is not there: run `make integration`, which builds it first",
        built.display()
    );
    built
}

/// Whether the suite runs against another broker than ours (`OTTLA_BROKER_COMMAND`): for the few places where ours
/// promises more than Kafka does, or where a JVM needs more patience.
pub fn is_reference() -> bool {
    std::env::var("OTTLA_BROKER_COMMAND").is_ok_and(|words| words.contains("kafka-server-start"))
}

/// A broker that is yet to be started.
pub struct BrokerSetup {
    id: u32,
    port: u16,
    directory: PathBuf,
    properties: BTreeMap<String, String>,
    prefix: Vec<String>,
    arguments: Vec<String>,
    kafka: bool,
}

impl BrokerSetup {
    pub(crate) fn new(scene: &Path, zookeeper_connect: &str, id: u32, port: u16) -> Self {
        let directory = scene.join(format!("broker-{id}-{port}"));
        std::fs::create_dir_all(&directory).expect("a directory can be made");
        let setup = Self {
            id,
            port,
            directory,
            properties: BTreeMap::new(),
            prefix: Vec::new(),
            arguments: Vec::new(),
            kafka: is_reference(),
        };
        let data = setup.directory.join("data").display().to_string();
        setup
            .set("broker.id", &id.to_string())
            .set("listeners", &format!("PLAINTEXT://127.0.0.1:{port}"))
            .set("zookeeper.connect", zookeeper_connect)
            .set("zookeeper.session.timeout.ms", "6000")
            .set("log.dirs", &data)
            .set("offsets.topic.replication.factor", "1")
            .set("offsets.topic.num.partitions", "4")
            .set("transaction.state.log.replication.factor", "1")
            .set("transaction.state.log.min.isr", "1")
            .set("group.initial.rebalance.delay.ms", "0")
    }

    /// Sets a key of its `server.properties`.
    #[must_use]
    pub fn set(mut self, key: &str, value: &str) -> Self {
        self.properties.insert(key.to_owned(), value.to_owned());
        self
    }

    /// Its id.
    pub fn id(&self) -> u32 {
        self.id
    }

    /// The port of its only listener, unless `listeners` is set to something else.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Makes it Apache Kafka's own broker.
    #[must_use]
    pub fn kafka(mut self) -> Self {
        self.kafka = true;
        self
    }

    /// Leaves a key away that a scene's brokers usually have.
    #[must_use]
    pub fn without(mut self, key: &str) -> Self {
        self.properties.remove(key);
        self
    }

    /// Words before the broker's own command, for a program that sets a limit and then becomes the broker.
    #[must_use]
    pub fn under(mut self, words: &[&str]) -> Self {
        self.prefix = words.iter().map(|w| (*w).to_owned()).collect();
        self
    }

    /// A word behind the properties file on its command line.
    #[must_use]
    pub fn argument(mut self, word: &str) -> Self {
        self.arguments.push(word.to_owned());
        self
    }

    /// Starts it and waits until it says that it has started.
    pub fn start(self) -> Broker {
        let mut broker = self.launch();
        broker.wait_until_started();
        broker
    }

    /// Starts it without waiting for anything.
    pub fn launch(self) -> Broker {
        let process = start_process(&self);
        Broker {
            setup: self,
            process,
            starts: 1,
        }
    }

    /// Where its log segments lie (the first of `log.dirs`).
    pub fn data(&self) -> PathBuf {
        PathBuf::from(
            self.properties["log.dirs"]
                .split(',')
                .next()
                .expect("split gives at least one"),
        )
    }

    /// The directory of this broker: properties, log and, unless configured elsewhere, its data.
    pub fn directory(&self) -> &Path {
        &self.directory
    }
}

fn start_process(setup: &BrokerSetup) -> Process {
    let file = setup.directory.join("server.properties");
    let text: String = setup.properties.iter().map(|(k, v)| format!("{k}={v}\n")).collect();
    std::fs::write(&file, text).expect("a file can be written");
    let mut words = setup.prefix.clone();
    words.extend(command(setup.kafka));
    words.push(file.display().to_string());
    words.extend(setup.arguments.clone());
    Process::start(&format!("broker {}", setup.id), &words, &setup.directory.join("log"))
}

/// A broker process. Killed when dropped.
pub struct Broker {
    setup: BrokerSetup,
    process: Process,
    starts: usize,
}

impl Broker {
    /// `host:port` for clients.
    pub fn bootstrap(&self) -> String {
        format!("127.0.0.1:{}", self.setup.port)
    }

    /// Its port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.setup.port
    }

    /// `host:port` of one of its listeners, by name.
    ///
    /// # Panics
    /// Panics when it has no listener of that name.
    pub fn listener(&self, name: &str) -> String {
        let all = &self.setup.properties["listeners"];
        let found = all.split(',').find_map(|l| l.strip_prefix(name)?.strip_prefix("://"));
        found
            .unwrap_or_else(|| panic!("no listener {name} in {all}"))
            .to_owned()
    }

    /// Where its log segments lie (the first of `log.dirs`).
    pub fn data(&self) -> PathBuf {
        self.setup.data()
    }

    /// Creates a topic with one replica, as soon as there is a controller that knows of this broker.
    pub fn create_topic(&self, topic: &str, partitions: i32, configs: &[(&str, &str)]) {
        self.create_replicated_topic(topic, partitions, 1, configs);
    }

    /// Creates a topic with so many replicas, as soon as there is a controller that knows of enough brokers.
    pub fn create_replicated_topic(&self, topic: &str, partitions: i32, replicas: i16, configs: &[(&str, &str)]) {
        const REQUEST_TIMED_OUT: i16 = 7;
        const TOPIC_ALREADY_EXISTS: i16 = 36;
        let mut timed_out = false;
        eventually(20, "a topic is made", || {
            let made =
                Connection::open(self.port()).and_then(|mut c| c.create_topic(topic, partitions, replicas, configs));
            match made.map_err(|e| e.to_string())? {
                0 => Ok(()),
                TOPIC_ALREADY_EXISTS if timed_out => Ok(()),
                error => {
                    timed_out |= error == REQUEST_TIMED_OUT;
                    Err(format!("error {error}"))
                }
            }
        });
    }

    /// All of its `log.dirs`.
    pub fn log_directories(&self) -> Vec<PathBuf> {
        self.setup.properties["log.dirs"]
            .split(',')
            .map(PathBuf::from)
            .collect()
    }

    /// What it has logged, since its first start.
    pub fn log(&self) -> String {
        self.process.log()
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// How it ended, if it has.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.process.ended()
    }

    /// The most bytes of memory that it has occupied so far (`VmHWM`).
    pub fn memory_peak(&self) -> u64 {
        let status =
            std::fs::read_to_string(format!("/proc/{}/status", self.pid())).expect("a running process has a status");
        let line = status
            .lines()
            .find(|l| l.starts_with("VmHWM:"))
            .expect("a running process has memory");
        line.split_whitespace()
            .nth(1)
            .and_then(|kib| kib.parse::<u64>().ok())
            .expect("VmHWM is a number of KiB")
            * 1024
    }

    /// Waits for the line that says that it serves, and until clients are shown at least one broker: the controller tells it
    /// of itself a moment after that line. Panics with the end of its log if it ends or takes too long.
    pub fn wait_until_started(&mut self) {
        let seconds = if self.setup.kafka { 60 } else { 20 };
        let deadline = Instant::now() + Duration::from_secs(seconds);
        while self.log().matches(STARTED).count() < self.starts {
            if let Some(status) = self.process.ended() {
                panic!(
                    "broker {} ended with {status} while starting:\n{}",
                    self.setup.id,
                    tail(&self.log(), 40)
                );
            }
            assert!(
                Instant::now() < deadline,
                "broker {} has not started after {seconds} s:\n{}",
                self.setup.id,
                tail(&self.log(), 40)
            );
            std::thread::sleep(Duration::from_millis(10));
        }
        eventually(20, "the broker shows itself to clients", || {
            match Connection::open(self.port()).and_then(|mut c| c.metadata()) {
                Ok(brokers) if brokers > 0 => Ok(()),
                other => Err(format!("{other:?}")),
            }
        });
    }

    /// SIGTERM, and its orderly end.
    ///
    /// # Panics
    /// Panics unless it then ends with status 0 (a JVM: as one that ended upon a signal does).
    pub fn stop(&mut self) {
        self.process.signal(Signal::TERM);
        let status = self.process.wait(60);
        let expected = if self.setup.kafka { 143 } else { 0 };
        assert_eq!(
            status.code(),
            Some(expected),
            "broker {}: {status}\n{}",
            self.setup.id,
            tail(&self.log(), 20)
        );
    }

    /// SIGKILL.
    pub fn kill(&mut self) {
        self.process.kill();
    }

    /// Any signal.
    pub fn signal(&mut self, signal: Signal) {
        self.process.signal(signal);
    }

    /// Waits for its end.
    pub fn wait(&mut self, seconds: u64) -> ExitStatus {
        self.process.wait(seconds)
    }

    /// Changes a key for the next start.
    pub fn set(&mut self, key: &str, value: &str) {
        self.setup.properties.insert(key.to_owned(), value.to_owned());
    }

    /// From the next start on it is Apache Kafka's own broker, or ours again: on the same data, port and ZooKeeper.
    ///
    /// With `OTTLA_BROKER_COMMAND`, ours is what that names.
    pub fn become_kafka(&mut self, kafka: bool) {
        self.setup.kafka = kafka || is_reference();
    }

    /// Forgets the words of [`BrokerSetup::under`] for the next start.
    pub fn without_limits(&mut self) {
        self.setup.prefix.clear();
    }

    /// Starts it again after it has ended, and waits until it serves.
    ///
    /// After a kill, the znode of its dead session is still there for a while: ours waits for it to go, Kafka's refuses
    /// to start until then. Ours gives up where ZooKeeper ends its session during the start. Either is started again, as
    /// its supervisor would do.
    pub fn start_again(&mut self) {
        assert!(self.process.ended().is_some(), "broker {} still runs", self.setup.id);
        self.starts += 1;
        let excuse = if self.setup.kafka {
            "NodeExists"
        } else {
            "zookeeper session has expired"
        };
        eventually(90, "the broker starts again", || {
            let before = self.log().len();
            self.process = start_process(&self.setup);
            let deadline = Instant::now() + Duration::from_secs(60);
            loop {
                let log = self.log();
                if log.matches(STARTED).count() >= self.starts {
                    return Ok(());
                }
                if let Some(status) = self.process.ended() {
                    let said = log.get(before..).unwrap_or(&log);
                    assert!(said.contains(excuse), "ended with {status}:\n{}", tail(&log, 40));
                    return Err(format!("ended with {status}"));
                }
                assert!(
                    Instant::now() < deadline,
                    "broker {} has not started again after 60 s:\n{}",
                    self.setup.id,
                    tail(&log, 40)
                );
                std::thread::sleep(Duration::from_millis(10));
            }
        });
        if !self.setup.kafka {
            self.wait_until_started();
        }
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!(
                "--- the end of the log of broker {}\n{}\n---",
                self.setup.id,
                tail(&self.log(), 15)
            );
        }
    }
}
