//! Kafka's other programs at work, in processes of their own: Streams, Connect, MirrorMaker, a schema registry.
//!
//! They are JVMs, and dear: a representative part of the tests with them runs always, the rest when it is asked for
//! (`OTTLA_ECOSYSTEM=all`).

use crate::process::Process;
use crate::{Scene, eventually, free_port, repository};
use std::path::{Path, PathBuf};
use std::process::ExitStatus;

/// Whether all tests with Kafka's other programs are to run, or only the representative part.
pub fn whole_ecosystem() -> bool {
    std::env::var("OTTLA_ECOSYSTEM").is_ok_and(|it| it == "all")
}

/// A program of Kafka's that runs until it is told to end, and can then be started again.
pub struct Program {
    name: String,
    words: Vec<String>,
    log: PathBuf,
    process: Process,
}

impl Program {
    /// Starts `tool` of `tools/kafka` with a properties file of these lines, and these words behind it; its log is kept by its
    /// `name`.
    pub fn start(scene: &Scene, name: &str, tool: &str, properties: &str, more: &[&str]) -> Self {
        let file = scene.directory().join(format!("{name}.properties"));
        std::fs::write(&file, properties).expect("a file can be written");
        let launcher = repository().join("integration-tests/tools/kafka").display().to_string();
        let mut words = vec![launcher, tool.to_owned(), file.display().to_string()];
        words.extend(more.iter().map(|it| (*it).to_owned()));
        Self::start_words(scene, name, words)
    }

    /// Starts a schema registry that keeps its schemas in these brokers' topics, and serves on `port`.
    pub fn start_registry(scene: &Scene, name: &str, bootstrap: &str, port: u16) -> Self {
        let launcher = repository()
            .join("integration-tests/tools/registry")
            .display()
            .to_string();
        let words = vec![
            "env".to_owned(),
            format!("APICURIO_KAFKASQL_BOOTSTRAP_SERVERS={bootstrap}"),
            format!("QUARKUS_HTTP_PORT={port}"),
            launcher,
        ];
        Self::start_words(scene, name, words)
    }

    fn start_words(scene: &Scene, name: &str, words: Vec<String>) -> Self {
        let log = scene.directory().join(format!("{name}.log"));
        Self {
            process: Process::start(name, &words, &log),
            name: name.to_owned(),
            words,
            log,
        }
    }

    /// SIGKILL.
    pub fn kill(&mut self) {
        self.process.kill();
    }

    /// SIGTERM, and its end, however it ends: a JVM calls that 143, some programs 0.
    pub fn stop(&mut self) -> ExitStatus {
        self.must_run();
        self.process.signal(rustix::process::Signal::TERM);
        self.process.wait(60)
    }

    /// Starts it again, with the same words, after it has ended.
    pub fn start_again(&mut self) {
        assert!(self.process.ended().is_some(), "{} still runs", self.name);
        self.process = Process::start(&self.name, &self.words, &self.log);
    }

    /// Panics with the end of its log if it has ended by itself.
    pub fn must_run(&mut self) {
        if let Some(status) = self.process.ended() {
            panic!("{} has ended: {status}\n{}", self.name, self.last_words());
        }
    }

    /// The end of its log.
    pub fn last_words(&self) -> String {
        crate::process::tail(&self.process.log(), 30)
    }

    /// All that it has logged.
    pub fn log(&self) -> String {
        self.process.log()
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("--- the end of the log of {}\n{}\n---", self.name, self.last_words());
        }
    }
}

/// A worker of Connect, distributed: which cluster it belongs to is its brokers' matter.
pub struct ConnectWorker {
    /// The process.
    pub program: Program,
    /// Where its REST interface listens.
    pub port: u16,
}

impl ConnectWorker {
    /// Starts one, with exactly-once sources and quick rebalances; its three topics have three replicas.
    pub fn start(scene: &Scene, name: &str, bootstrap: &str) -> Self {
        let port = free_port();
        let properties = format!(
            "bootstrap.servers={bootstrap}\n\
             group.id=connect\n\
             listeners=http://127.0.0.1:{port}\n\
             rest.advertised.host.name=127.0.0.1\n\
             plugin.discovery=service_load\n\
             key.converter=org.apache.kafka.connect.storage.StringConverter\n\
             value.converter=org.apache.kafka.connect.storage.StringConverter\n\
             config.storage.topic=connect-configs\n\
             config.storage.replication.factor=3\n\
             offset.storage.topic=connect-offsets\n\
             offset.storage.replication.factor=3\n\
             offset.storage.partitions=4\n\
             status.storage.topic=connect-status\n\
             status.storage.replication.factor=3\n\
             status.storage.partitions=2\n\
             exactly.once.source.support=enabled\n\
             offset.flush.interval.ms=1000\n\
             scheduled.rebalance.max.delay.ms=0\n\
             session.timeout.ms=6000\n\
             heartbeat.interval.ms=1000\n\
             consumer.isolation.level=read_committed\n\
             consumer.session.timeout.ms=6000\n\
             consumer.heartbeat.interval.ms=1000\n"
        );
        Self {
            program: Program::start(scene, name, "connect-distributed", &properties, &[]),
            port,
        }
    }

    /// How Connect names it.
    pub fn id(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Asks its REST interface until it says yes; gives the JSON that it says.
    pub fn ask(&mut self, seconds: u64, method: &str, path: &str, body: &str) -> serde_json::Value {
        let (program, port) = (&mut self.program, self.port);
        eventually(seconds, &format!("{method} {path}"), || {
            program.must_run();
            let answer = crate::http(port, method, path, body).map_err(|e| e.to_string())?;
            if !(200..300).contains(&answer.status) {
                return Err(format!("{answer:?}"));
            }
            if answer.body.is_empty() {
                return Ok(serde_json::Value::Null);
            }
            serde_json::from_str(&answer.body).map_err(|e| format!("{e}: {}", answer.body))
        })
    }

    /// What it says of a connector and its tasks.
    fn status(&mut self, connector: &str) -> Result<serde_json::Value, String> {
        self.program.must_run();
        let path = format!("/connectors/{connector}/status");
        let answer = crate::http(self.port, "GET", &path, "").map_err(|e| e.to_string())?;
        serde_json::from_str(&answer.body).map_err(|e| format!("{e}: {answer:?}"))
    }

    /// Waits until a connector and its tasks run; gives the workers of its tasks.
    pub fn wait_until_running(&mut self, connector: &str, tasks: usize, seconds: u64) -> Vec<String> {
        eventually(seconds, &format!("{connector} runs"), || {
            let status = self.status(connector)?;
            let all = status["tasks"].as_array().cloned().unwrap_or_default();
            let running = |it: &serde_json::Value| it["state"] == "RUNNING";
            if running(&status["connector"]) && all.len() == tasks && all.iter().all(running) {
                let workers = all
                    .iter()
                    .map(|it| it["worker_id"].as_str().unwrap_or_default().to_owned());
                return Ok(workers.collect());
            }
            Err(status.to_string())
        })
    }

    /// Waits until a connector itself is in this state, and has no tasks.
    pub fn wait_for_state(&mut self, connector: &str, state: &str, seconds: u64) {
        eventually(seconds, &format!("{connector} is {state}"), || {
            let status = self.status(connector)?;
            match status["connector"]["state"] == state && status["tasks"].as_array().is_some_and(Vec::is_empty) {
                true => Ok(()),
                false => Err(status.to_string()),
            }
        });
    }
}

/// The lines of a file that may not be there yet.
pub fn lines_of(file: &Path) -> Vec<String> {
    let text = std::fs::read_to_string(file).unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}
