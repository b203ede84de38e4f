//! The scenarios: each takes a running cluster and gives figures, whose names end with their unit.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::batch::Batch;
use crate::cleaning::{self, Log, clean, fill, held_back};
use crate::cluster::{Cluster, encrypted_address, eventually, not_yet};
use crate::encrypted::produce_encrypted;
use crate::error::{BenchError, Result};
use crate::failover::{read_back, until_told, write};
use crate::load::{Consumed, Produce, Produced, consume, produce};
use crate::pace::pace;
use crate::table::{Figures, quantile_ms};
use crate::transactions::{Transact, Transacted, count_committed, transact};
use crate::wire::View;

/// What a scenario needs to run on. Each has four ports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// One broker, warm.
    One,
    /// One broker, warm, which asks its access control lists about everything.
    Guarded,
    /// One broker, warm, which has a listener that speaks TLS as well.
    Encrypted,
    /// Three brokers, warm.
    Three,
    /// Three brokers, warm, whose records of transactions have three replicas, as Kafka has it by default.
    Transactional,
    /// One broker, warm, whose cleaner looks for work five times a second.
    Compacting,
    /// Three brokers, the other target's not running: they have enough to do.
    Many,
}

impl Kind {
    /// In the order in which they run.
    pub(crate) const ALL: [Self; 7] = [
        Self::One,
        Self::Guarded,
        Self::Encrypted,
        Self::Three,
        Self::Transactional,
        Self::Compacting,
        Self::Many,
    ];

    /// How many brokers.
    pub(crate) fn brokers(self) -> u16 {
        match self {
            Self::One | Self::Guarded | Self::Encrypted | Self::Compacting => 1,
            Self::Three | Self::Transactional | Self::Many => 3,
        }
    }

    /// What the brokers' properties have beside the usual ones. Until there are lists, everybody may do everything.
    pub(crate) fn properties(self) -> &'static str {
        match self {
            Self::Guarded => {
                "authorizer.class.name=kafka.security.authorizer.AclAuthorizer\nallow.everyone.if.no.acl.found=true\n"
            }
            Self::Encrypted => {
                "listeners={listener},{encrypted}\nssl.keystore.type=PEM\nssl.keystore.location={tls}/key-store.pem\n"
            }
            Self::Transactional => "transaction.state.log.replication.factor=3\ntransaction.state.log.min.isr=2\n",
            Self::Compacting => "log.cleaner.backoff.ms=200\n",
            Self::One | Self::Three | Self::Many => "",
        }
    }

    /// For the names of directories and chroots.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::One => "one",
            Self::Guarded => "guarded",
            Self::Encrypted => "encrypted",
            Self::Three => "three",
            Self::Transactional => "transactional",
            Self::Compacting => "compacting",
            Self::Many => "many",
        }
    }
}

/// One scenario.
pub(crate) struct Scenario {
    /// How it is asked for.
    pub(crate) name: &'static str,
    /// What it runs on.
    pub(crate) kind: Kind,
    /// Whether the brokers must have worked before.
    pub(crate) warm: bool,
    /// What it does.
    pub(crate) about: &'static str,
    /// Does it.
    pub(crate) run: fn(&mut Cluster, &Scale) -> Result<Figures>,
}

/// All, in the order in which they run.
pub(crate) const ALL: &[Scenario] = &[
    Scenario {
        name: "start",
        kind: Kind::One,
        warm: false,
        about: "empty directory until Metadata names broker and controller; memory; the first, cold gigabyte",
        run: start,
    },
    Scenario {
        name: "produce-large",
        kind: Kind::One,
        warm: true,
        about: "batches of 63 records of 1 KiB, acks=1, 6 partitions, 6 connections with 5 requests in flight",
        run: produce_large,
    },
    Scenario {
        name: "consume",
        kind: Kind::One,
        warm: true,
        about: "the same from the page cache, 1 MiB a fetch, one consumer a partition, then five",
        run: consume_log,
    },
    Scenario {
        name: "produce-small",
        kind: Kind::One,
        warm: true,
        about: "one record of 100 B a request, acks=1, 64 connections with 1 request in flight",
        run: produce_small,
    },
    Scenario {
        name: "latency",
        kind: Kind::One,
        warm: true,
        about: "2,000 records of 100 B a second at a fixed pace, acks=all: due until acknowledged, until consumed",
        run: |cluster, scale| latency(cluster, scale, 2000, 1),
    },
    Scenario {
        name: "produce-acls",
        kind: Kind::Guarded,
        warm: true,
        about: "produce-large and produce-small where access control lists decide, with 1,000 of them about other things",
        run: produce_acls,
    },
    Scenario {
        name: "produce-tls",
        kind: Kind::Encrypted,
        warm: true,
        about: "produce-large over TLS 1.3",
        run: produce_tls,
    },
    Scenario {
        name: "replicated-large",
        kind: Kind::Three,
        warm: true,
        about: "produce-large on three brokers, 3 replicas, 2 in sync, acks=all",
        run: replicated_large,
    },
    Scenario {
        name: "replicated-small",
        kind: Kind::Three,
        warm: true,
        about: "produce-small on three brokers, 3 replicas, 2 in sync, acks=all",
        run: replicated_small,
    },
    Scenario {
        name: "replicated-latency",
        kind: Kind::Three,
        warm: true,
        about: "latency on three brokers, 3 replicas, 2 in sync, 500 records a second",
        run: |cluster, scale| latency(cluster, scale, 500, 3),
    },
    Scenario {
        name: "failover",
        kind: Kind::Three,
        warm: false,
        about: "an acks=all writer while its leader gets kill -9, also being controller, and SIGTERM: longest gap, losses",
        run: failover,
    },
    Scenario {
        name: "transactions",
        kind: Kind::Transactional,
        warm: true,
        about: "100 records of 1 KiB a transaction to 6 partitions of 3 replicas: 8 producers, then 20 transactions a second",
        run: transactions,
    },
    Scenario {
        name: "cleaning",
        kind: Kind::Compacting,
        warm: true,
        about: "a compacted log of 1 GiB, records of 1 KiB, half of them superseded; then three while others are written to",
        run: cleaning,
    },
    Scenario {
        name: "controller-failover",
        kind: Kind::Many,
        warm: false,
        about: "10,000 partitions of 3 replicas; kill -9 of the broker that is controller until all survivors know everything",
        run: controller_failover,
    },
];

/// How much of it.
pub(crate) struct Scale {
    /// For trying the benchmark itself: shorter windows, less data, one pass to warm up.
    pub(crate) short: bool,
    /// Of `controller-failover`.
    pub(crate) partitions: usize,
}

impl Scale {
    fn seconds(&self, seconds: u64) -> Duration {
        Duration::from_millis(seconds * if self.short { 200 } else { 1000 })
    }

    fn megabytes(&self, megabytes: u64) -> u64 {
        megabytes * 1_000_000 / if self.short { 10 } else { 1 }
    }
}

const PARTITIONS: usize = 6;

/// Load that is not measured, until it stops getting cheaper: a JVM's compilers and its heap's first touch cost several
/// times what the work itself does. Gives the CPU s/GB of each pass.
pub(crate) fn warm_up(cluster: &mut Cluster, scale: &Scale) -> Result<Vec<f64>> {
    let replicas = cluster.brokers.len();
    with_topic(cluster, "warm-small", PARTITIONS, replicas, |cluster, view| {
        produce(
            &small(view, -1, "warm-small", 60, scale.seconds(0), scale.seconds(10)),
            &cluster.process_ids(),
        )
    })?;
    let mut passes = Vec::new();
    loop {
        let topic = format!("warm-{}", passes.len());
        let pass = with_topic(cluster, &topic, PARTITIONS, replicas, |cluster, view| {
            let load = Produce {
                warm_up: scale.seconds(1),
                window: scale.seconds(6),
                max_bytes: scale.megabytes(1500 / replicas as u64),
                ..large(view, -1, &topic)
            };
            let produced = produce(&load, &cluster.process_ids())?;
            consume(
                &topic,
                view,
                1,
                Duration::ZERO,
                scale.seconds(1),
                &cluster.process_ids(),
            )?;
            Ok(per_gb(produced.spent.brokers, produced.bytes))
        })?;
        passes.push(pass);
        let still_cheaper = passes.len() >= 3 && pass < 0.9 * passes[passes.len() - 3];
        if scale.short || passes.len() >= 10 || (passes.len() >= 4 && !still_cheaper) {
            return Ok(passes);
        }
    }
}

/// A topic for as long as `work` takes; its files are gone afterwards.
fn with_topic<T>(
    cluster: &mut Cluster,
    topic: &str,
    partitions: usize,
    replicas: usize,
    work: impl FnOnce(&mut Cluster, &View) -> Result<T>,
) -> Result<T> {
    let done = cluster
        .create_topic(topic, partitions, replicas)
        .and_then(|view| work(cluster, &view));
    let deleted = cluster.delete_topic(topic);
    // What went wrong first is what to tell.
    let done = done?;
    deleted?;
    Ok(done)
}

fn large<'a>(view: &'a View, acks: i16, topic: &'a str) -> Produce<'a> {
    Produce {
        topic,
        view,
        acks,
        connections: 6,
        in_flight: 5,
        batch: Batch::new(63, 1024),
        warm_up: Duration::from_secs(3),
        window: Duration::from_secs(8),
        max_bytes: u64::MAX,
    }
}

fn small<'a>(
    view: &'a View,
    acks: i16,
    topic: &'a str,
    connections: usize,
    warm_up: Duration,
    window: Duration,
) -> Produce<'a> {
    Produce {
        topic,
        view,
        acks,
        connections,
        in_flight: 1,
        batch: Batch::new(1, 100),
        warm_up,
        window,
        max_bytes: u64::MAX,
    }
}

fn per_gb(seconds: f64, bytes: u64) -> f64 {
    seconds * 1e9 / bytes.max(1) as f64
}

fn large_figures(done: &Produced) -> Figures {
    Figures::new([
        ("MB/s", done.bytes as f64 / 1e6 / done.spent.seconds),
        ("broker CPU s/GB", per_gb(done.spent.brokers, done.bytes)),
        ("load CPU s/GB", per_gb(done.spent.load, done.bytes)),
    ])
}

fn small_figures(done: Produced) -> Figures {
    let requests = done.requests.max(1) as f64;
    let mut figures = Figures::new([
        ("requests/s", requests / done.spent.seconds),
        ("broker CPU us/request", done.spent.brokers * 1e6 / requests),
        ("load CPU us/request", done.spent.load * 1e6 / requests),
    ]);
    figures.add_latencies("", done.latencies);
    figures
}

fn consume_figures(figures: &mut Figures, prefix: &str, done: &Consumed) {
    figures.add(format!("{prefix}MB/s"), done.bytes as f64 / 1e6 / done.spent.seconds);
    figures.add(
        format!("{prefix}broker CPU s/GB"),
        per_gb(done.spent.brokers, done.bytes),
    );
    figures.add(format!("{prefix}load CPU s/GB"), per_gb(done.spent.load, done.bytes));
}

fn start(cluster: &mut Cluster, scale: &Scale) -> Result<Figures> {
    let (took, cost) = cluster.ready.ok_or_else(|| not_yet("the cluster was not started"))?;
    std::thread::sleep(scale.seconds(3));
    let idle = cluster.usage();
    let mut figures = Figures::new([
        ("empty start to ready ms", took.as_secs_f64() * 1e3),
        ("CPU s to ready", cost),
        ("RSS idle MB", idle.rss_mb),
        ("threads idle", idle.threads),
    ]);
    let cold = with_topic(cluster, "cold", PARTITIONS, 1, |cluster, view| {
        let load = Produce {
            warm_up: Duration::ZERO,
            window: scale.seconds(20),
            max_bytes: scale.megabytes(1000),
            ..large(view, 1, "cold")
        };
        produce(&load, &cluster.process_ids())
    })?;
    figures.add("cold first GB: broker CPU s/GB", per_gb(cold.spent.brokers, cold.bytes));
    Ok(figures)
}

fn produce_large(cluster: &mut Cluster, scale: &Scale) -> Result<Figures> {
    with_topic(cluster, "large", PARTITIONS, 1, |cluster, view| {
        let load = Produce {
            warm_up: scale.seconds(3),
            window: scale.seconds(8),
            max_bytes: scale.megabytes(1500),
            ..large(view, 1, "large")
        };
        let mut figures = large_figures(&produce(&load, &cluster.process_ids())?);
        let usage = cluster.usage();
        figures.add("RSS after MB", usage.rss_mb);
        figures.add("RSS peak MB", usage.peak_mb);
        figures.add("threads", usage.threads);
        Ok(figures)
    })
}

fn consume_log(cluster: &mut Cluster, scale: &Scale) -> Result<Figures> {
    with_topic(cluster, "fetched", PARTITIONS, 1, |cluster, view| {
        let fill = Produce {
            warm_up: Duration::ZERO,
            window: scale.seconds(20),
            max_bytes: scale.megabytes(1500),
            ..large(view, 1, "fetched")
        };
        produce(&fill, &cluster.process_ids())?;
        let mut figures = Figures::default();
        for (copies, prefix) in [(1, ""), (5, "x5 ")] {
            let done = consume(
                "fetched",
                view,
                copies,
                scale.seconds(1),
                scale.seconds(4),
                &cluster.process_ids(),
            )?;
            consume_figures(&mut figures, prefix, &done);
        }
        Ok(figures)
    })
}

fn produce_small(cluster: &mut Cluster, scale: &Scale) -> Result<Figures> {
    with_topic(cluster, "small", PARTITIONS, 1, |cluster, view| {
        let load = small(view, 1, "small", 64, scale.seconds(4), scale.seconds(8));
        produce(&load, &cluster.process_ids()).map(small_figures)
    })
}

fn produce_acls(cluster: &mut Cluster, scale: &Scale) -> Result<Figures> {
    const OTHERS: usize = 1000;
    let others = (0..OTHERS).map(|n| (format!("other-{n}"), format!("User:somebody-{}", n % 100)));
    cluster.allow(others)?;
    let mut figures = with_topic(cluster, "guarded-large", PARTITIONS, 1, |cluster, view| {
        cluster.allow([("guarded-large".to_owned(), "User:ANONYMOUS".to_owned())])?;
        let load = Produce {
            warm_up: scale.seconds(3),
            window: scale.seconds(8),
            max_bytes: scale.megabytes(1500),
            ..large(view, 1, "guarded-large")
        };
        produce(&load, &cluster.process_ids()).map(|done| large_figures(&done))
    })?;
    let small = with_topic(cluster, "guarded-small", PARTITIONS, 1, |cluster, view| {
        cluster.allow([("guarded-small".to_owned(), "User:ANONYMOUS".to_owned())])?;
        let load = small(view, 1, "guarded-small", 64, scale.seconds(4), scale.seconds(8));
        produce(&load, &cluster.process_ids()).map(small_figures)
    })?;
    figures.extend("small ", small);
    Ok(figures)
}

fn produce_tls(cluster: &mut Cluster, scale: &Scale) -> Result<Figures> {
    let address = encrypted_address(cluster.brokers[0].address);
    with_topic(cluster, "encrypted", PARTITIONS, 1, |cluster, view| {
        let mut last = None;
        // The first pass warms up what only TLS uses.
        for (warm_up, window) in [
            (scale.seconds(0), scale.seconds(8)),
            (scale.seconds(1), scale.seconds(8)),
        ] {
            let load = Produce {
                warm_up,
                window,
                max_bytes: scale.megabytes(1500),
                ..large(view, 1, "encrypted")
            };
            last = Some(produce_encrypted(&load, address, &cluster.tls, &cluster.process_ids())?);
        }
        let done = last.ok_or_else(|| not_yet("nothing was produced"))?;
        let mut figures = large_figures(&done);
        figures.add("p99 ms", quantile_ms(&mut done.latencies.clone(), 0.99));
        Ok(figures)
    })
}

fn latency(cluster: &mut Cluster, scale: &Scale, rate: u32, replicas: usize) -> Result<Figures> {
    with_topic(cluster, "paced", PARTITIONS, replicas, |cluster, view| {
        let (warm_up, window) = (scale.seconds(4), scale.seconds(10));
        let done = pace("paced", view, rate, warm_up, window, &cluster.process_ids())?;
        if done.delivered.len() != done.sent || done.acknowledged.len() != done.sent {
            return Err(BenchError::Broken(format!(
                "{} records sent, {} acknowledged, {} delivered",
                done.sent,
                done.acknowledged.len(),
                done.delivered.len()
            )));
        }
        let mut figures = Figures::default();
        figures.add(
            "broker CPU us/record",
            done.spent.brokers * 1e6 / done.sent.max(1) as f64,
        );
        figures.add_latencies("delivered ", done.delivered);
        figures.add_latencies("acked ", done.acknowledged);
        Ok(figures)
    })
}

fn cleaning(cluster: &mut Cluster, scale: &Scale) -> Result<Figures> {
    const PACE: u32 = 1000;
    let gibibyte = (1 << 30) / if scale.short { 4 } else { 1 };
    let data = cluster.data().swap_remove(0);
    let filled = |cluster: &mut Cluster, topic: String, bytes: u64| -> Result<String> {
        let view = cluster.create_configured(&topic, &held_back())?;
        fill(&topic, &view, bytes)?;
        Ok(topic)
    };
    // What has never run is compiled first.
    for pass in 0..if scale.short { 1 } else { 3 } {
        let topic = filled(cluster, format!("first-{pass}"), gibibyte / 2)?;
        clean(cluster, &data, std::slice::from_ref(&topic))?;
        cluster.delete_topic(&topic)?;
    }
    let topic = filled(cluster, "alone".to_owned(), gibibyte)?;
    let done = clean(cluster, &data, std::slice::from_ref(&topic))?;
    cluster.delete_topic(&topic)?;
    let mut figures = Figures::new([
        ("broker CPU s/GB", per_gb(done.spent.brokers, done.before)),
        ("took s", done.spent.seconds),
        ("left of it %", 100.0 * done.after as f64 / done.before.max(1) as f64),
        ("RSS growth MB", done.growth_mb),
    ]);
    let mut topics = Vec::new();
    for number in 0..3 {
        topics.push(filled(cluster, format!("beside-{number}"), gibibyte)?);
    }
    let (view, processes) = (cluster.create_topic("paced", PARTITIONS, 1)?, cluster.process_ids());
    let paced = |cluster: &Cluster, meanwhile: &[String]| -> Result<(Vec<Duration>, f64)> {
        let (warm_up, window) = (scale.seconds(3), scale.seconds(6));
        let logs = meanwhile
            .iter()
            .map(|topic| Log::of(&data, topic))
            .collect::<Result<Vec<_>>>()?;
        std::thread::scope(|scope| {
            let work = scope.spawn(|| {
                if logs.is_empty() {
                    return Ok(Duration::ZERO);
                }
                std::thread::sleep(warm_up);
                let begin = Instant::now();
                cleaning::release(cluster, meanwhile)?;
                cleaning::time_cleaning(&logs, begin)
            });
            let done = pace("paced", &view, PACE, warm_up, window, &processes)?;
            let took = work
                .join()
                .map_err(|_| BenchError::Broken("a thread panicked".to_owned()))??;
            if done.acknowledged.len() != done.sent {
                return Err(BenchError::Broken(format!(
                    "{} records sent, {} acknowledged",
                    done.sent,
                    done.acknowledged.len()
                )));
            }
            Ok((done.acknowledged, took.as_secs_f64() / window.as_secs_f64()))
        })
    };
    let (mut before, _) = paced(cluster, &[])?;
    let (mut during, share) = paced(cluster, &topics)?;
    let (before, during) = (quantile_ms(&mut before, 0.99), quantile_ms(&mut during, 0.99));
    figures.add("acked p99 before ms", before);
    figures.add("acked p99 meanwhile ms", during);
    figures.add("acked p99 grows by %", 100.0 * (during / before - 1.0));
    figures.add("cleaning in the window %", 100.0 * share.min(1.0));
    for topic in topics {
        cluster.delete_topic(&topic)?;
    }
    cluster.delete_topic("paced")?;
    Ok(figures)
}

fn replicated_large(cluster: &mut Cluster, scale: &Scale) -> Result<Figures> {
    with_topic(cluster, "large", PARTITIONS, 3, |cluster, view| {
        let load = Produce {
            warm_up: scale.seconds(4),
            window: scale.seconds(8),
            max_bytes: scale.megabytes(700),
            ..large(view, -1, "large")
        };
        let done = produce(&load, &cluster.process_ids())?;
        let mut figures = large_figures(&done);
        figures.add("p99 ms", quantile_ms(&mut done.latencies.clone(), 0.99));
        figures.add("RSS of all after MB", cluster.usage().rss_mb);
        Ok(figures)
    })
}

fn replicated_small(cluster: &mut Cluster, scale: &Scale) -> Result<Figures> {
    with_topic(cluster, "small", PARTITIONS, 3, |cluster, view| {
        let load = small(view, -1, "small", 63, scale.seconds(4), scale.seconds(8));
        produce(&load, &cluster.process_ids()).map(small_figures)
    })
}

fn transactions(cluster: &mut Cluster, scale: &Scale) -> Result<Figures> {
    const RECORDS: usize = 100;
    const PACE: u32 = 20;
    with_topic(cluster, "transactions", PARTITIONS, 3, |cluster, view| {
        let (addresses, processes) = (cluster.addresses(), cluster.process_ids());
        let mut committed = 0;
        let mut run = |rate: Option<u32>, warm_up: u64, window: u64| -> Result<Transacted> {
            let load = Transact {
                topic: "transactions",
                view,
                producers: 8,
                records: RECORDS,
                rate,
                warm_up: scale.seconds(warm_up),
                window: scale.seconds(window),
            };
            let done = transact(&load, &addresses, &processes)?;
            if done.commits.is_empty() {
                return Err(BenchError::Broken("nothing was committed in the window".to_owned()));
            }
            committed += done.committed;
            Ok(done)
        };
        // As in `warm_up`, of what only transactions use.
        let mut passes: Vec<f64> = Vec::new();
        loop {
            let pass = run(None, 1, 5)?;
            passes.push(pass.spent.brokers / pass.commits.len() as f64);
            let [.., before, last] = passes[..] else {
                if scale.short {
                    break;
                }
                continue;
            };
            if passes.len() >= 6 || last > 0.9 * before {
                break;
            }
        }
        let mut figures = Figures::default();
        let closed = run(None, 1, 8)?;
        figures.add("transactions/s", closed.commits.len() as f64 / closed.spent.seconds);
        transaction_figures(&mut figures, "", closed);
        transaction_figures(&mut figures, "paced ", run(Some(PACE), 2, 20)?);
        let wanted = committed * RECORDS as u64;
        let found = count_committed("transactions", view)?;
        if found != wanted {
            return Err(BenchError::Broken(format!(
                "{wanted} records were committed, {found} can be read"
            )));
        }
        Ok(figures)
    })
}

fn transaction_figures(figures: &mut Figures, prefix: &str, mut done: Transacted) {
    let count = done.commits.len() as f64;
    let mut add = |name: &str, value: f64| figures.add(format!("{prefix}{name}"), value);
    add("broker CPU ms/transaction", done.spent.brokers * 1e3 / count);
    add("load CPU ms/transaction", done.spent.load * 1e3 / count);
    for (name, all) in [("commit", &mut done.commits), ("whole", &mut done.whole)] {
        add(&format!("{name} p50 ms"), quantile_ms(all, 0.5));
        add(&format!("{name} p99 ms"), quantile_ms(all, 0.99));
    }
    add("asked again/transaction", done.asked_again as f64 / count);
}

fn failover(cluster: &mut Cluster, scale: &Scale) -> Result<Figures> {
    let mut figures = Figures::default();
    for (name, topic, signal, of_controller) in [
        ("kill -9 leader", "killed", Signal::KILL, false),
        (
            "kill -9 leader that is controller",
            "controller-killed",
            Signal::KILL,
            true,
        ),
        ("SIGTERM leader", "stopped", Signal::TERM, false),
    ] {
        with_topic(cluster, topic, PARTITIONS, 3, |cluster, view| {
            fail_over(cluster, scale, topic, view, signal, of_controller).map(|(gap, lost, acknowledged)| {
                figures.add(format!("{name}: longest gap ms"), gap.as_secs_f64() * 1e3);
                figures.add(format!("{name}: acknowledged records"), acknowledged as f64);
                figures.add(format!("{name}: lost records"), lost as f64);
            })
        })?;
    }
    Ok(figures)
}

/// Ends the leader of a partition under a writer, starts it again; gives the longest gap and how many records were lost,
/// of how many acknowledged.
fn fail_over(
    cluster: &mut Cluster,
    scale: &Scale,
    topic: &str,
    view: &View,
    signal: Signal,
    of_controller: bool,
) -> Result<(Duration, usize, usize)> {
    let partition = view
        .partitions
        .iter()
        .find(|it| (it.leader == view.controller) == of_controller);
    let partition = partition.ok_or_else(|| not_yet("no partition has such a leader"))?;
    let (index, leader) = (partition.index, partition.leader);
    let position = cluster.brokers.iter().position(|it| it.id == leader);
    let position = position.ok_or_else(|| not_yet("the leader is not one of ours"))?;
    let addresses = cluster.addresses();
    let (stop, acknowledged) = (AtomicBool::new(false), AtomicUsize::new(0));
    let written = std::thread::scope(|scope| {
        let writer = scope.spawn(|| write(&addresses, topic, index, &acknowledged, &stop));
        let ended = end_under_writer(cluster, scale, topic, (index, position), signal, &acknowledged);
        stop.store(true, Ordering::Relaxed);
        let written = writer
            .join()
            .map_err(|_| BenchError::Broken("the writer panicked".to_owned()))?;
        ended.map(|()| written)
    })?;
    let (lost, _) = read_back(&addresses, topic, index, &written)?;
    cluster.brokers[position].start()?;
    cluster.await_topic(topic, view.partitions.len(), 3)?;
    Ok((written.longest_gap, lost, written.acknowledged.len()))
}

/// Ends the broker at `position` once the writer is well on its way; comes back when that is so again without it.
fn end_under_writer(
    cluster: &mut Cluster,
    scale: &Scale,
    topic: &str,
    (index, position): (i32, usize),
    signal: Signal,
    acknowledged: &AtomicUsize,
) -> Result<()> {
    let on_its_way = || {
        let before = acknowledged.load(Ordering::Relaxed);
        eventually(60, "records are acknowledged", Duration::from_millis(10), || {
            let more = acknowledged.load(Ordering::Relaxed) - before;
            if more >= 20 {
                Ok(())
            } else {
                Err(not_yet(&format!("{more} were")))
            }
        })
    };
    on_its_way()?;
    std::thread::sleep(scale.seconds(3));
    let leader = cluster.brokers[position].id;
    cluster.brokers[position].end(signal)?;
    eventually(60, "another broker leads", Duration::from_millis(100), || {
        let now = cluster.view(Some(topic))?;
        let leads = now
            .partitions
            .iter()
            .find(|it| it.index == index)
            .map_or(-1, |it| it.leader);
        if leads >= 0 && leads != leader && !now.brokers.contains_key(&leader) {
            Ok(())
        } else {
            Err(not_yet(&format!("the leader is {leads}")))
        }
    })?;
    on_its_way()?;
    std::thread::sleep(scale.seconds(3));
    Ok(())
}

fn controller_failover(cluster: &mut Cluster, scale: &Scale) -> Result<Figures> {
    const TOPICS: usize = 10;
    let each = (scale.partitions / TOPICS).max(1);
    let topics: Vec<String> = (0..TOPICS).map(|it| format!("many-{it}")).collect();
    let begin = Instant::now();
    for topic in &topics {
        cluster.request_topic(topic, each, 3)?;
    }
    for topic in &topics {
        cluster.await_topic(topic, each, 3)?;
    }
    let created = begin.elapsed();
    let before = cluster.usage();
    std::thread::sleep(scale.seconds(10));
    let controller = cluster.view(None)?.controller;
    let position = cluster.brokers.iter().position(|it| it.id == controller);
    let position = position.ok_or_else(|| not_yet("the controller is not one of ours"))?;
    let survivors: Vec<_> = cluster
        .brokers
        .iter()
        .filter(|it| it.id != controller)
        .map(|it| it.address)
        .collect();

    let death = cluster.brokers[position].end(Signal::KILL)?;
    let cost = cluster.usage().cpu_seconds;
    let told = std::thread::scope(|scope| {
        let asked: Vec<_> = survivors
            .iter()
            .map(|it| scope.spawn(|| until_told(*it, &topics, each, controller, death, 300)))
            .collect();
        let answers = asked.into_iter().map(|it| {
            it.join()
                .map_err(|_| BenchError::Broken("a thread panicked".to_owned()))?
        });
        answers.collect::<Result<Vec<Duration>>>()
    })?;
    let told = told.into_iter().max().unwrap_or_default().as_secs_f64();
    Ok(Figures::new([
        ("create all, until all know ms", created.as_secs_f64() * 1e3),
        ("RSS of all brokers MB", before.rss_mb),
        ("death until all survivors know ms", told * 1e3),
        ("CPU s of the survivors meanwhile", cluster.usage().cpu_seconds - cost),
    ]))
}
