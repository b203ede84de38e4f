//! What is compared, and how it is brought up: one ZooKeeper, and clusters of either kind of broker on it.
//!
//! Both kinds get the same `server.properties`, with the values of Kafka's own `config/server.properties` and what the
//! benchmark needs; Kafka gets the heap and the collector of its own start script.

use std::fs;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use kafka_protocol::messages::create_acls_request::AclCreation;
use kafka_protocol::messages::create_topics_request::{CreatableTopic, CreatableTopicConfig};
use kafka_protocol::messages::{CreateAclsRequest, CreateTopicsRequest, DeleteTopicsRequest};
use rustix::process::Signal;

use crate::error::{BenchError, Doing, Result};
use crate::process::{Process, Usage};
use crate::wire::{Client, View, text, topic_name, view};

/// The values that Kafka ships, then what the benchmark needs.
const PROPERTIES: &str = "\
num.network.threads=3
num.io.threads=8
socket.send.buffer.bytes=102400
socket.receive.buffer.bytes=102400
socket.request.max.bytes=104857600
num.partitions=1
num.recovery.threads.per.data.dir=1
log.retention.hours=168
log.retention.check.interval.ms=300000
zookeeper.connection.timeout.ms=18000
zookeeper.session.timeout.ms=6000
offsets.topic.replication.factor=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
auto.create.topics.enable=false
log.segment.delete.delay.ms=1000
";

/// Environment of Kafka's JVM, as its own start script has it.
pub(crate) const KAFKA_ENVIRONMENT: &[(&str, &str)] = &[
    ("KAFKA_HEAP_OPTS", "-Xmx1G -Xms1G"),
    (
        "KAFKA_OPTS",
        "-server -XX:+UseG1GC -XX:MaxGCPauseMillis=20 -XX:InitiatingHeapOccupancyPercent=35 \
         -XX:+ExplicitGCInvokesConcurrent -XX:MaxInlineLevel=15 -Djava.awt.headless=true",
    ),
];

const PATIENCE: Duration = Duration::from_secs(10);

/// One of the two that are compared.
#[derive(Clone)]
pub(crate) struct Target {
    /// What the table calls it.
    pub(crate) name: &'static str,
    /// The words that start a broker; `{config}` becomes its properties file.
    pub(crate) command: Vec<String>,
    /// Additions to its environment.
    pub(crate) environment: &'static [(&'static str, &'static str)],
    /// Its brokers listen from here on.
    pub(crate) first_port: u16,
}

/// The ZooKeeper of a run. Ends when dropped.
pub(crate) struct ZooKeeper {
    port: u16,
    process: Process,
}

impl ZooKeeper {
    /// Starts one and waits until it answers.
    pub(crate) fn start(repository: &Path, directory: &Path, port: u16) -> Result<Self> {
        fs::create_dir_all(directory).doing(|| format!("making {}", directory.display()))?;
        let file = directory.join("zoo.cfg");
        let configuration = format!(
            "dataDir={}\nclientPort={port}\nclientPortAddress=127.0.0.1\ntickTime=2000\nmaxClientCnxns=0\n\
             admin.enableServer=false\n4lw.commands.whitelist=ruok\n",
            directory.join("data").display()
        );
        fs::write(&file, configuration).doing(|| format!("writing {}", file.display()))?;
        let program = repository.join("integration-tests/tools/zookeeper");
        let words = [program.display().to_string(), file.display().to_string()];
        let process = Process::start("ZooKeeper", &words, &[], &directory.join("log"))?;
        let mut zookeeper = Self { port, process };
        eventually(30, "ZooKeeper answers", Duration::from_millis(50), || {
            zookeeper.process.must_run()?;
            zookeeper
                .is_ok()
                .doing(|| "asking ZooKeeper".to_owned())?
                .then_some(())
                .ok_or_else(|| not_yet("it is not ok"))
        })?;
        Ok(zookeeper)
    }

    fn is_ok(&self) -> std::io::Result<bool> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port))?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.write_all(b"ruok")?;
        stream.shutdown(Shutdown::Write)?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer == "imok")
    }
}

/// One broker, running or not.
pub(crate) struct Broker {
    /// `broker.id`.
    pub(crate) id: i32,
    /// Where it listens.
    pub(crate) address: SocketAddr,
    target: Target,
    directory: PathBuf,
    process: Option<Process>,
}

impl Broker {
    /// Starts it, and waits for nothing.
    pub(crate) fn start(&mut self) -> Result<()> {
        let config = self.directory.join("server.properties").display().to_string();
        let words: Vec<String> = self
            .target
            .command
            .iter()
            .map(|it| it.replace("{config}", &config))
            .collect();
        let name = format!("broker {} of {}", self.id, self.target.name);
        self.process = Some(Process::start(
            &name,
            &words,
            self.target.environment,
            &self.directory.join("log"),
        )?);
        Ok(())
    }

    /// Sends it a signal and waits for its end; gives the moment before the signal.
    pub(crate) fn end(&mut self, signal: Signal) -> Result<Instant> {
        let begin = Instant::now();
        if let Some(mut process) = self.process.take() {
            process.end(signal, 60)?;
        }
        Ok(begin)
    }

    fn must_run(&mut self) -> Result<()> {
        let log = self.directory.join("log");
        match &mut self.process {
            Some(process) => process
                .must_run()
                .map_err(|it| BenchError::Broken(format!("{it}; its log is {}", log.display()))),
            None => Err(not_yet("it was ended")),
        }
    }

    /// The id of its process, if it runs.
    pub(crate) fn process_id(&self) -> Option<u32> {
        self.process.as_ref().map(Process::id)
    }
}

/// Brokers of one target. Killed when dropped.
pub(crate) struct Cluster {
    /// Whose.
    pub(crate) target: Target,
    /// By index; `broker.id` is the index.
    pub(crate) brokers: Vec<Broker>,
    /// How long the first start took, and what it cost.
    pub(crate) ready: Option<(Duration, f64)>,
    /// Where the key store of encrypted listeners lies.
    pub(crate) tls: PathBuf,
}

impl Cluster {
    /// Lays down the properties of `size` brokers. In `more`, `{listener}` becomes the usual one, `{encrypted}` one that speaks
    /// TLS, and `{tls}` the directory of its key store.
    pub(crate) fn new(
        target: &Target,
        name: &str,
        size: u16,
        more: &str,
        zookeeper_port: u16,
        port: u16,
        run: &Path,
    ) -> Result<Self> {
        let directory = run.join(format!("{}-{name}", target.name));
        let mut brokers = Vec::new();
        for id in 0..size {
            let directory = directory.join(format!("broker-{id}"));
            fs::create_dir_all(&directory).doing(|| format!("making {}", directory.display()))?;
            let address = SocketAddr::from(([127, 0, 0, 1], port + id));
            let more = more
                .replace("{listener}", &format!("PLAINTEXT://{address}"))
                .replace("{encrypted}", &format!("SSL://{}", encrypted_address(address)))
                .replace("{tls}", &run.join("tls").display().to_string());
            let properties = format!(
                "broker.id={id}\nlisteners=PLAINTEXT://{address}\nlog.dirs={}\n\
                 zookeeper.connect=127.0.0.1:{zookeeper_port}/{}-{name}\n{PROPERTIES}{more}",
                directory.join("data").display(),
                target.name
            );
            let file = directory.join("server.properties");
            fs::write(&file, properties).doing(|| format!("writing {}", file.display()))?;
            brokers.push(Broker {
                id: i32::from(id),
                address,
                target: target.clone(),
                directory,
                process: None,
            });
        }
        Ok(Self {
            target: target.clone(),
            brokers,
            ready: None,
            tls: run.join("tls"),
        })
    }

    /// Starts every broker and waits until all of them name each other and a controller.
    pub(crate) fn start(&mut self) -> Result<()> {
        let begin = Instant::now();
        for broker in &mut self.brokers {
            broker.start()?;
        }
        self.await_views(120, None, |_| true)?;
        self.ready = Some((begin.elapsed(), Usage::of(&self.process_ids()).cpu_seconds));
        Ok(())
    }

    /// The processes that run.
    pub(crate) fn process_ids(&self) -> Vec<u32> {
        self.brokers.iter().filter_map(Broker::process_id).collect()
    }

    /// What they have used.
    pub(crate) fn usage(&self) -> Usage {
        Usage::of(&self.process_ids())
    }

    /// Where the brokers listen, running or not.
    pub(crate) fn addresses(&self) -> Vec<SocketAddr> {
        self.brokers.iter().map(|it| it.address).collect()
    }

    /// What the first broker that answers says.
    pub(crate) fn view(&self, topic: Option<&str>) -> Result<View> {
        any_view(&self.addresses(), topic, PATIENCE)
    }

    /// Waits until every broker runs, names all of them and a controller, and says of the topic what is wanted.
    fn await_views(&mut self, seconds: u64, topic: Option<&str>, wanted: impl Fn(&View) -> bool) -> Result<View> {
        let all = self.brokers.len();
        let mut last = View::default();
        for broker in &mut self.brokers {
            let what = format!("broker {} of {} knows all", broker.id, broker.target.name);
            last = eventually(seconds, &what, Duration::from_millis(10), || {
                broker.must_run()?;
                let view = view(&mut Client::connect(broker.address, PATIENCE)?, topic)?;
                if view.brokers.len() == all && view.controller >= 0 && wanted(&view) {
                    return Ok(view);
                }
                let ready = view.partitions.iter().filter(|it| it.leader >= 0).count();
                Err(not_yet(&format!(
                    "{} brokers, controller {}, {ready} partitions with a leader, {} in sync at least",
                    view.brokers.len(),
                    view.controller,
                    view.partitions.iter().map(|it| it.in_sync).min().unwrap_or(0)
                )))
            })?;
        }
        Ok(last)
    }

    /// Waits until every broker says that all partitions of a topic have leaders and as many in sync as they have replicas.
    pub(crate) fn await_topic(&mut self, topic: &str, partitions: usize, replicas: usize) -> Result<View> {
        self.await_views(300, Some(topic), |view| {
            view.partitions.len() == partitions
                && view
                    .partitions
                    .iter()
                    .all(|it| it.leader >= 0 && it.in_sync == replicas)
        })
    }

    /// Creates a topic, without waiting for more than the controller's answer.
    pub(crate) fn request_topic(&self, topic: &str, partitions: usize, replicas: usize) -> Result<()> {
        let configs: &[(&str, String)] = if replicas > 1 {
            &[("min.insync.replicas", "2".to_owned())]
        } else {
            &[]
        };
        self.request_configured(topic, partitions, replicas, configs)
    }

    fn request_configured(
        &self,
        topic: &str,
        partitions: usize,
        replicas: usize,
        configs: &[(&str, String)],
    ) -> Result<()> {
        const TIMED_OUT: i16 = 7;
        const EXISTS: i16 = 36;
        let configs: Vec<CreatableTopicConfig> = configs
            .iter()
            .map(|(name, value)| {
                CreatableTopicConfig::default()
                    .with_name(text(name))
                    .with_value(Some(text(value)))
            })
            .collect();
        let number = |it: usize| i32::try_from(it).expect("the scenarios' own numbers are small");
        let request = CreateTopicsRequest::default().with_timeout_ms(60_000).with_topics(vec![
            CreatableTopic::default()
                .with_name(topic_name(topic))
                .with_num_partitions(number(partitions))
                .with_replication_factor(i16::try_from(replicas).expect("at most three"))
                .with_configs(configs),
        ]);
        let mut timed_out = false;
        let what = format!("creating {topic}");
        eventually(300, &what, Duration::from_millis(100), || {
            let answer = self.controller()?.call(&request, 4)?;
            let code = answer.topics.first().map_or(-1, |it| it.error_code);
            match code {
                0 => Ok(()),
                EXISTS if timed_out => Ok(()),
                code => {
                    timed_out |= code == TIMED_OUT;
                    Err(BenchError::Refused {
                        what: what.clone(),
                        code,
                    })
                }
            }
        })
    }

    /// Creates a topic with a replica on `replicas` brokers each, and waits until it is there for all.
    pub(crate) fn create_topic(&mut self, topic: &str, partitions: usize, replicas: usize) -> Result<View> {
        self.request_topic(topic, partitions, replicas)?;
        self.await_topic(topic, partitions, replicas)
    }

    /// Creates a topic of one partition with one replica that is configured so, and waits until it is there.
    pub(crate) fn create_configured(&mut self, topic: &str, configs: &[(&str, String)]) -> Result<View> {
        self.request_configured(topic, 1, 1, configs)?;
        self.await_topic(topic, 1, 1)
    }

    /// Allows each principal everything with the topic it comes with.
    pub(crate) fn allow(&self, topics: impl IntoIterator<Item = (String, String)>) -> Result<()> {
        /// Kafka's numbers for: topics, a name as it is, all operations, allowed.
        const TOPIC: i8 = 2;
        const LITERAL: i8 = 3;
        const ALL: i8 = 2;
        const ALLOW: i8 = 3;
        let creations: Vec<AclCreation> = topics
            .into_iter()
            .map(|(topic, principal)| {
                AclCreation::default()
                    .with_resource_type(TOPIC)
                    .with_resource_name(text(&topic))
                    .with_resource_pattern_type(LITERAL)
                    .with_principal(text(&principal))
                    .with_host(text("*"))
                    .with_operation(ALL)
                    .with_permission_type(ALLOW)
            })
            .collect();
        let mut client = self.controller()?;
        for some in creations.chunks(100) {
            let request = CreateAclsRequest::default().with_creations(some.to_vec());
            let answer = client.call(&request, 1)?;
            if let Some(refused) = answer.results.iter().find(|it| it.error_code != 0) {
                return Err(BenchError::Refused {
                    what: "allowing".to_owned(),
                    code: refused.error_code,
                });
            }
        }
        Ok(())
    }

    /// Deletes a topic and waits until its files are gone: their pages are then free for what is measured next.
    pub(crate) fn delete_topic(&self, topic: &str) -> Result<()> {
        let request = DeleteTopicsRequest::default()
            .with_timeout_ms(30_000)
            .with_topic_names(vec![topic_name(topic)]);
        const UNKNOWN: i16 = 3;
        let what = format!("deleting {topic}");
        eventually(60, &what, Duration::from_millis(100), || {
            let answer = self.controller()?.call(&request, 3)?;
            match answer.responses.first().map_or(-1, |it| it.error_code) {
                0 | UNKNOWN => Ok(()),
                code => Err(BenchError::Refused {
                    what: what.clone(),
                    code,
                }),
            }
        })?;
        let prefix = format!("{topic}-");
        let left = |broker: &Broker| {
            let entries = fs::read_dir(broker.directory.join("data"));
            entries
                .into_iter()
                .flatten()
                .flatten()
                .any(|it| it.file_name().to_string_lossy().starts_with(&prefix))
        };
        eventually(
            60,
            &format!("the files of {topic} are gone"),
            Duration::from_millis(200),
            || {
                if self.brokers.iter().any(left) {
                    Err(not_yet("some are left"))
                } else {
                    Ok(())
                }
            },
        )
    }

    /// A connection to the controller.
    pub(crate) fn controller(&self) -> Result<Client> {
        let view = self.view(None)?;
        let address = view
            .brokers
            .get(&view.controller)
            .ok_or_else(|| not_yet("no controller is known"))?;
        Client::connect(*address, Duration::from_secs(70))
    }
}

impl Cluster {
    /// Where the brokers' data lies: large, and nobody's once they have ended.
    pub(crate) fn data(&self) -> Vec<PathBuf> {
        self.brokers.iter().map(|it| it.directory.join("data")).collect()
    }
}

/// Where a broker that listens there speaks TLS, if it does.
pub(crate) fn encrypted_address(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip(), address.port() + 1)
}

/// What the first of these brokers that answers says.
pub(crate) fn any_view(addresses: &[SocketAddr], topic: Option<&str>, patience: Duration) -> Result<View> {
    let mut failure = not_yet("no broker is known");
    for address in addresses {
        match Client::connect(*address, patience).and_then(|mut it| view(&mut it, topic)) {
            Ok(view) => return Ok(view),
            Err(error) => failure = error,
        }
    }
    Err(failure)
}

/// For a condition that is looked at again.
pub(crate) fn not_yet(what: &str) -> BenchError {
    BenchError::Malformed(what.to_owned())
}

/// Tries until it works, at most for `seconds`. A process that has ended ends the wait.
pub(crate) fn eventually<T>(
    seconds: u64,
    what: &str,
    pause: Duration,
    mut attempt: impl FnMut() -> Result<T>,
) -> Result<T> {
    let deadline = Instant::now() + Duration::from_secs(seconds);
    loop {
        match attempt() {
            Ok(found) => return Ok(found),
            Err(error @ BenchError::Broken(_)) => return Err(error),
            Err(error) if Instant::now() > deadline => {
                return Err(BenchError::Late {
                    what: what.to_owned(),
                    seconds,
                    last: Some(error.to_string()),
                });
            }
            Err(_) => std::thread::sleep(pause),
        }
    }
}
