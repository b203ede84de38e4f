//! `bench`: the same work on Apache Kafka 3.9.1 and on our broker, in turn, and a table with ratios. `make bench` runs it.
//!
//! For each round and each kind of cluster, fresh clusters of both targets come up on one ZooKeeper, and each scenario runs
//! on one after the other; odd rounds swap the order, so that what drifts on the machine hits both alike. A scenario that
//! fails is reported and leaves its figures out. docs/benchmarks.md says how to read the table.
//!
//! It knows brokers only as programs with a `server.properties` and a port; nothing here links to a crate of ours.

mod batch;
mod cleaning;
mod cluster;
mod encrypted;
mod error;
mod failover;
mod load;
mod pace;
mod phase;
mod process;
mod scenarios;
mod table;
mod transactions;
mod wire;

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Parser;
use cluster::{Cluster, KAFKA_ENVIRONMENT, Target, ZooKeeper};
use error::{BenchError, Doing, Result};
use scenarios::{ALL, Kind, Scale, Scenario, warm_up};
use table::{Results, show};

/// Runs the same work against Apache Kafka 3.9.1 and another broker, in turn, and prints figures and ratios.
#[derive(Debug, Parser)]
#[command(name = "bench")]
struct CommandLine {
    /// Name the scenarios.
    #[arg(long)]
    list: bool,
    /// Which to run, separated by commas; all without it.
    #[arg(long, value_delimiter = ',', value_name = "NAMES")]
    scenarios: Vec<String>,
    /// How many rounds.
    #[arg(long, default_value_t = 2)]
    rounds: usize,
    /// Write every round's figures to this file.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// The command of the other broker; `{config}` becomes its server.properties. By default, ours beside this program. It
    /// must become the broker (exec): the process that it starts is the one that is measured and killed.
    #[arg(long, value_name = "COMMAND")]
    ours: Option<String>,
    /// Only that one, without Kafka.
    #[arg(long)]
    no_kafka: bool,
    /// For trying the benchmark itself: a fifth of the time, a tenth of the data, hardly any warming up.
    #[arg(long)]
    short: bool,
    /// How many partitions controller-failover has.
    #[arg(long, default_value_t = 10_000, value_name = "N")]
    partitions: usize,
    /// Keep so many GB of memory between measurements and free them just before each: for virtual machines whose free
    /// memory goes back to the host, where the first touch of a page then costs more than the work.
    #[arg(long, default_value_t = 0, value_name = "GB")]
    memory: usize,
    /// Everything listens on 127.0.0.1, from this port on, 80 ports at most.
    #[arg(long, default_value_t = 22_600, value_name = "PORT")]
    port: u16,
    /// Where everything is written; emptied first.
    #[arg(long, value_name = "FOLDER")]
    directory: Option<PathBuf>,
}

fn main() -> ExitCode {
    let command_line = CommandLine::parse();
    if command_line.list {
        for scenario in ALL {
            println!("{:<20} {:<6} {}", scenario.name, scenario.kind.name(), scenario.about);
        }
        return ExitCode::SUCCESS;
    }
    match run(&command_line) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("bench: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Runs everything; says whether all scenarios gave figures.
fn run(command_line: &CommandLine) -> Result<bool> {
    let wanted: Vec<&Scenario> = ALL
        .iter()
        .filter(|it| command_line.scenarios.is_empty() || command_line.scenarios.iter().any(|name| name == it.name))
        .collect();
    if let Some(unknown) = command_line
        .scenarios
        .iter()
        .find(|name| ALL.iter().all(|it| it.name != **name))
    {
        return Err(BenchError::Malformed(format!(
            "no such scenario: {unknown} (--list names them)"
        )));
    }
    process::raise_file_limit()?;
    let repository = repository();
    let directory = command_line
        .directory
        .clone()
        .unwrap_or_else(|| repository.join("target/bench"));
    if directory.exists() {
        fs::remove_dir_all(&directory).doing(|| format!("emptying {}", directory.display()))?;
    }
    let _zookeeper = ZooKeeper::start(&repository, &directory.join("zookeeper"), command_line.port)?;
    encrypted::lay_down(&directory.join("tls"))?;
    let targets = targets(command_line, &repository)?;
    let mut bench = Bench {
        scale: Scale {
            short: command_line.short,
            partitions: command_line.partitions,
        },
        results: Results::new(targets.iter().map(|it| it.name).collect()),
        targets,
        memory: command_line.memory << 30,
        held: Vec::new(),
        data: Vec::new(),
        zookeeper_port: command_line.port,
        directory,
        failures: 0,
    };
    for round in 0..command_line.rounds {
        for kind in Kind::ALL {
            let scenarios: Vec<&Scenario> = wanted.iter().copied().filter(|it| it.kind == kind).collect();
            if scenarios.is_empty() {
                continue;
            }
            // A cluster less must not cost the figures that are there.
            if let Err(error) = bench.round(round, kind, &scenarios) {
                bench.failures += 1;
                eprintln!("bench: FAILED: round {}, {}: {error}", round + 1, kind.name());
            }
            // Now, and again after each: a run is long, and may be ended.
            if let Some(file) = &command_line.json {
                fs::write(file, format!("{:#}\n", bench.results.json()))
                    .doing(|| format!("writing {}", file.display()))?;
            }
        }
    }
    let order: Vec<&str> = wanted.iter().map(|it| it.name).collect();
    println!("{}", bench.results.table(&order));
    eprintln!(
        "bench: removing the data of all brokers; their logs stay in {}",
        bench.directory.display()
    );
    for data in &bench.data {
        match fs::remove_dir_all(data) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                eprintln!("bench: {} stays: {error}", data.display());
            }
            _ => {}
        }
    }
    Ok(bench.failures == 0)
}

fn repository() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.ancestors().nth(2).unwrap_or(here).to_owned()
}

fn targets(command_line: &CommandLine, repository: &Path) -> Result<Vec<Target>> {
    let mut targets = Vec::new();
    if !command_line.no_kafka {
        let launcher = repository.join("integration-tests/tools/kafka").display().to_string();
        targets.push(Target {
            name: "kafka",
            command: vec![launcher, "kafka-server-start".to_owned(), "{config}".to_owned()],
            environment: KAFKA_ENVIRONMENT,
            first_port: command_line.port + 10,
        });
    }
    let command = match &command_line.ours {
        Some(command) => command.split_whitespace().map(str::to_owned).collect(),
        None => {
            let beside = std::env::current_exe()
                .doing(|| "looking for the broker".to_owned())?
                .with_file_name("broker");
            if !beside.exists() {
                let hint = "build it, or say --ours COMMAND";
                return Err(BenchError::Malformed(format!(
                    "{} is not there: {hint}",
                    beside.display()
                )));
            }
            vec![beside.display().to_string(), "{config}".to_owned()]
        }
    };
    targets.push(Target {
        name: "ottla",
        command,
        environment: &[],
        first_port: command_line.port + 40,
    });
    Ok(targets)
}

struct Bench {
    targets: Vec<Target>,
    scale: Scale,
    results: Results,
    /// How many bytes to keep between measurements, and those that are kept.
    memory: usize,
    held: Vec<u8>,
    /// Of clusters that have ended. Not removed at once: that keeps the disk busy, for minutes after 30,000 replicas.
    data: Vec<PathBuf>,
    zookeeper_port: u16,
    directory: PathBuf,
    failures: usize,
}

impl Bench {
    /// The targets' indexes, in the order of this round: A B, B A, A B, …
    fn order(&self, round: usize) -> Vec<usize> {
        let forth = 0..self.targets.len();
        if round.is_multiple_of(2) {
            forth.collect()
        } else {
            forth.rev().collect()
        }
    }

    fn round(&mut self, round: usize, kind: Kind, scenarios: &[&Scenario]) -> Result<()> {
        if kind == Kind::Many {
            for target in self.order(round) {
                let cluster = self.cluster(round, kind, target)?;
                self.measure(round, scenarios, &mut [(target, cluster, false)]);
            }
            return Ok(());
        }
        let mut clusters = Vec::new();
        for target in self.order(round) {
            clusters.push((target, self.cluster(round, kind, target)?, false));
        }
        self.measure(round, scenarios, &mut clusters);
        Ok(())
    }

    fn cluster(&mut self, round: usize, kind: Kind, target: usize) -> Result<Cluster> {
        let target = &self.targets[target];
        let port = target.first_port + 4 * kind as u16;
        let name = format!("{}-{round}", kind.name());
        let mut cluster = Cluster::new(
            target,
            &name,
            kind.brokers(),
            kind.properties(),
            self.zookeeper_port,
            port,
            &self.directory,
        )?;
        self.data.extend(cluster.data());
        cluster.start()?;
        Ok(cluster)
    }

    /// Runs each scenario on one cluster after the other. A cluster is its target, itself, and whether it is warm.
    fn measure(&mut self, round: usize, scenarios: &[&Scenario], clusters: &mut [(usize, Cluster, bool)]) {
        for scenario in scenarios {
            for (target, cluster, warm) in &mut *clusters {
                let name = self.targets[*target].name;
                let begin = Instant::now();
                let figures = self.warm(scenario, cluster, warm).and_then(|()| {
                    self.held = Vec::new();
                    (scenario.run)(cluster, &self.scale)
                });
                if self.memory > 0 {
                    self.held = vec![1; self.memory];
                }
                let took = begin.elapsed().as_secs();
                match figures {
                    Ok(figures) => {
                        let shown: Vec<String> = figures
                            .0
                            .iter()
                            .map(|(name, value)| format!("{name} {}", show(*value)))
                            .collect();
                        eprintln!(
                            "bench: round {}, {} on {name}, {took} s: {}",
                            round + 1,
                            scenario.name,
                            shown.join(", ")
                        );
                        self.results.add(scenario.name, *target, &figures);
                    }
                    // One scenario less must not cost the others.
                    Err(error) => {
                        self.failures += 1;
                        eprintln!(
                            "bench: FAILED: round {}, {} on {name}, {took} s: {error}",
                            round + 1,
                            scenario.name
                        );
                    }
                }
                // What one broker does to clean up is not to be measured as the other's.
                std::thread::sleep(Duration::from_millis(if self.scale.short { 100 } else { 1000 }));
            }
        }
    }

    fn warm(&self, scenario: &Scenario, cluster: &mut Cluster, warm: &mut bool) -> Result<()> {
        if scenario.warm && !*warm {
            *warm = true;
            let passes: Vec<String> = warm_up(cluster, &self.scale)?.into_iter().map(show).collect();
            eprintln!(
                "bench: warming up {}: CPU s/GB {}",
                cluster.target.name,
                passes.join(", ")
            );
        }
        Ok(())
    }
}
