//! Kafka Streams: WordCount with `exactly_once_v2`, two instances of it killed and restarted, a broker killed too; what comes
//! out is exact. Then `kafka-streams-application-reset`, and everything once more from the beginning.
//!
//! WordCount tells of each word how often it has come so far. So a reader of what is committed must see 1, 2, 3, … of each word, up
//! to the number of times it was written: a record counted twice, lost, or told twice breaks the row.

use integration_tests::{Cluster, Program, Scene, eventually, kafka, kcat, kcat_with_input, whole_ecosystem};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

const INPUT: &str = "lines";
const OUTPUT: &str = "counts";
const WORDS: u64 = 40;

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().expect("a number"))
}

fn word_count(scene: &Scene, bootstrap: &str, name: &str) -> Program {
    let state = scene.directory().join(format!("{name}-state"));
    let properties = format!(
        "bootstrap.servers={bootstrap}\n\
         application.id=wordcount\n\
         processing.guarantee=exactly_once_v2\n\
         statestore.cache.max.bytes=0\n\
         commit.interval.ms=1000\n\
         producer.linger.ms=0\n\
         auto.offset.reset=earliest\n\
         replication.factor=3\n\
         state.dir={}\n\
         consumer.session.timeout.ms=6000\n\
         consumer.heartbeat.interval.ms=1000\n",
        state.display()
    );
    Program::start(scene, name, "streams-wordcount", &properties, &[INPUT, OUTPUT])
}

/// Writes lines of six words until told to stop, and remembers how often each word came.
fn write(bootstrap: &str, stop: &AtomicBool) -> BTreeMap<String, u64> {
    const LINES: u64 = 100;
    let mut written = BTreeMap::new();
    for begin in (0..).step_by(LINES as usize) {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let mut lines = String::new();
        for line in begin..begin + LINES {
            for place in 0..6 {
                let word = format!("w{}", (line * 7 + place * place * 13 + line / 5) % WORDS);
                lines.push_str(&word);
                lines.push(if place == 5 { '\n' } else { ' ' });
                *written.entry(word).or_default() += 1;
            }
        }
        let idempotent = ["-X", "enable.idempotence=true"];
        let to = ["-b", bootstrap, "-P", "-t", INPUT];
        kcat_with_input(&[&to[..], &idempotent[..]].concat(), lines.as_bytes()).succeeds();
        std::thread::sleep(Duration::from_millis(100));
    }
    written
}

/// The counts that were told of each word, in order.
fn told(bootstrap: &str, isolation: &str) -> BTreeMap<String, Vec<i64>> {
    let isolation = format!("isolation.level={isolation}");
    let from = ["-b", bootstrap, "-C", "-t", OUTPUT, "-o", "beginning", "-e", "-q"];
    let how = [
        "-X",
        "check.crcs=true",
        "-X",
        &isolation,
        "-s",
        "value=>q",
        "-f",
        "%k %s\n",
    ];
    let mut told: BTreeMap<String, Vec<i64>> = BTreeMap::new();
    for line in kcat(&[&from[..], &how[..]].concat()).succeeds().lines() {
        let (word, count) = line.split_once(' ').expect("a word and a count");
        let count = count.parse().unwrap_or_else(|e| panic!("{line}: {e}"));
        told.entry(word.to_owned()).or_default().push(count);
    }
    told
}

/// Waits until as much is told as was written, `times` over, and checks each word's row.
fn check_told(bootstrap: &str, written: &BTreeMap<String, u64>, times: u64, programs: &mut [Program]) {
    let wanted: u64 = written.values().sum::<u64>() * times;
    eventually(120, "every word is told of", || {
        programs.iter_mut().for_each(Program::must_run);
        match told(bootstrap, "read_committed")
            .values()
            .map(|it| it.len() as u64)
            .sum::<u64>()
        {
            found if found >= wanted => Ok(()),
            found => {
                std::thread::sleep(Duration::from_millis(500));
                Err(format!("{found} of {wanted}"))
            }
        }
    });
    // What should not come may still come.
    std::thread::sleep(Duration::from_secs(2));
    let told = told(bootstrap, "read_committed");
    for (word, count) in written {
        let once = 1..=i64::try_from(*count).expect("counts are small");
        let row: Vec<i64> = (0..times).flat_map(|_| once.clone()).collect();
        assert_eq!(told.get(word), Some(&row), "the counts of {word}");
    }
    assert_eq!(told.len(), written.len(), "{:?}", told.keys());
}

#[test]
fn word_count_is_exact_whoever_is_killed_and_again_after_a_reset() {
    check("streams", &[]);
}

#[test]
fn word_count_is_exact_with_one_of_kafkas_among_the_brokers() {
    if !whole_ecosystem() {
        println!("with OTTLA_ECOSYSTEM=all only");
        return;
    }
    check("streams-mixed", &[3]);
}

fn check(name: &str, kafkas: &[u32]) {
    let mut cluster = Cluster::start(Scene::new(name), 3, |b| {
        let b = b
            .set("transaction.state.log.replication.factor", "3")
            .set("transaction.state.log.min.isr", "2")
            .set("transaction.state.log.num.partitions", "4");
        if kafkas.contains(&b.id()) { b.kafka() } else { b }
    });
    let bootstrap = cluster.bootstrap();
    cluster.create_topic(INPUT, 4, &[]);
    cluster.create_topic(OUTPUT, 2, &[]);
    let mut programs = [
        word_count(cluster.scene(), &bootstrap, "wordcount-0"),
        word_count(cluster.scene(), &bootstrap, "wordcount-1"),
    ];
    let rounds = i32::try_from(number("OTTLA_STREAMS_ROUNDS", 1)).expect("a few");
    let stop = AtomicBool::new(false);
    let written = std::thread::scope(|scope| {
        let writer = scope.spawn(|| write(&bootstrap, &stop));
        let pause = |seconds: u64| std::thread::sleep(Duration::from_secs(seconds));
        for (at, program) in programs.iter_mut().enumerate() {
            eventually(60, "both count", || {
                program.must_run();
                match program.log().contains("to RUNNING") {
                    true => Ok(()),
                    false => Err(format!("{at} does not run yet")),
                }
            });
        }
        for round in 0..rounds {
            // Long enough for it to be in the middle of something.
            pause(6);
            programs[0].kill();
            pause(2);
            programs[0].start_again();
            pause(6);
            // The broker that leads records of transactions, of one of the two or of both.
            let coordinator = cluster.partition("__transaction_state", round % 4).leader;
            cluster.broker(coordinator).kill();
            pause(3);
            cluster.broker(coordinator).start_again();
            programs[1].stop();
            pause(1);
            programs[1].start_again();
            pause(9);
            let leader = cluster.partition(OUTPUT, round % 2).leader;
            cluster.broker(leader).kill();
            programs[1].kill();
            pause(2);
            programs[1].start_again();
            cluster.broker(leader).start_again();
        }
        stop.store(true, Ordering::Relaxed);
        writer.join().expect("the writer does not panic")
    });
    check_told(&bootstrap, &written, 1, &mut programs);
    let uncommitted: usize = told(&bootstrap, "read_uncommitted").values().map(Vec::len).sum();
    println!(
        "{name}: {} words counted exactly, {uncommitted} records written for that",
        written.values().sum::<u64>()
    );

    // A reset: forgotten offsets and no internal topics, then all of it again, with a state that is empty as well.
    for program in &mut programs {
        program.stop();
    }
    let whose = ["--bootstrap-server", &bootstrap, "--application-id", "wordcount"];
    let what = ["--input-topics", INPUT, "--force"];
    let said = kafka("kafka-streams-application-reset", &[&whose[..], &what[..]].concat()).succeeds();
    assert!(said.contains("Reset-offsets"), "{said}");
    let topics = kafka("kafka-topics", &["--bootstrap-server", &bootstrap, "--list"]).succeeds();
    assert!(!topics.contains("wordcount-"), "{topics}");
    let mut programs = [word_count(cluster.scene(), &bootstrap, "wordcount-2")];
    check_told(&bootstrap, &written, 2, &mut programs);
    programs[0].stop();
    cluster.check_replicas(OUTPUT);
}
