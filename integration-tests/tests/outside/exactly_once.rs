//! Consume, transform, produce, exactly once: two members of a group copy a topic in transactions while they and the brokers are killed.

use integration_tests::{Broker, Cluster, Coordinator, Copied, Copier, Scene, eventually, is_reference, kcat};
use rustix::process::Signal;
use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, Instant};

const PARTITIONS: i32 = 3;

/// How often everybody is killed: twice, or `OTTLA_EXACTLY_ONCE_ROUNDS` times, every third time all brokers at once.
fn rounds() -> usize {
    let set = std::env::var("OTTLA_EXACTLY_ONCE_ROUNDS").ok();
    set.and_then(|rounds| rounds.parse().ok()).unwrap_or(2)
}

/// Waits until each of them has committed so many more transactions, starting again those that have been fenced.
fn wait_for_more(copiers: &mut [Copier], transactions: usize, what: &str) {
    let count = |copiers: &[Copier]| -> Vec<usize> { copiers.iter().map(|it| it.copied().transactions).collect() };
    let (begin, before) = (Instant::now(), count(copiers));
    let mut has_asked = false;
    eventually(60, what, || {
        copiers.iter_mut().for_each(Copier::tend);
        let more: Vec<usize> = count(copiers)
            .iter()
            .zip(&before)
            .map(|(now, before)| now - before)
            .collect();
        if more.iter().all(|more| *more >= transactions) {
            return Ok(());
        }
        if begin.elapsed() > Duration::from_secs(40) && !has_asked {
            has_asked = true;
            copiers.iter_mut().for_each(Copier::ask_where_it_is);
        }
        let words: Vec<_> = copiers.iter().map(Copier::last_words).collect();
        Err(format!("{more:?} of {transactions} transactions: {words:?}"))
    });
    println!("{what}: went on after {:.1} s", begin.elapsed().as_secs_f64());
}

/// Every record of a topic, as `format` says, as a reader of this isolation level has it.
fn read(bootstrap: &str, topic: &str, isolation: &str, format: &str) -> String {
    let isolation = format!("isolation.level={isolation}");
    let all = ["-b", bootstrap, "-C", "-t", topic, "-o", "beginning", "-e", "-q"];
    let looks = ["-X", "check.crcs=true", "-X", &isolation, "-f", format];
    kcat(&[&all[..], &looks[..]].concat()).succeeds()
}

/// Each record of `in` is in `out` once, in its order, and nothing else is.
fn check_copied_exactly_once(bootstrap: &str) -> (usize, usize) {
    let input = read(bootstrap, "in", "read_committed", "%p %o %k\n");
    let mut expected = HashMap::new();
    for line in input.lines() {
        let (place, key) = line.rsplit_once(' ').expect("a place and a key");
        expected.insert(place, key);
    }
    let output = read(bootstrap, "out", "read_committed", "%p %k %s\n");
    let mut found: HashMap<&str, usize> = HashMap::new();
    let mut last: BTreeMap<&str, i64> = BTreeMap::new();
    for line in output.lines() {
        let words: Vec<&str> = line.splitn(3, ' ').collect();
        let [partition, key, place] = words[..] else {
            panic!("a strange line: {line}")
        };
        assert_eq!(expected.get(place), Some(&key), "a copy of what never was: {line}");
        *found.entry(place).or_default() += 1;
        let (source, offset) = place.split_once(' ').expect("partition and offset");
        let source: i32 = source.parse().expect("a partition");
        assert_eq!(partition, ((source + 1) % PARTITIONS).to_string(), "{line}");
        let offset = offset.parse().expect("an offset");
        let before = last.insert(partition, offset).unwrap_or(-1);
        assert!(before < offset, "{line}: after the copy of {before}");
    }
    let twice: Vec<_> = found.iter().filter(|(_, count)| **count != 1).take(5).collect();
    let never: Vec<_> = expected
        .keys()
        .filter(|place| !found.contains_key(*place))
        .take(5)
        .collect();
    assert!(
        twice.is_empty() && never.is_empty(),
        "copied twice: {twice:?}, never: {never:?}"
    );
    let everything = read(bootstrap, "out", "read_uncommitted", "%p\n").lines().count();
    (found.len(), everything)
}

#[test]
fn every_record_is_copied_once_whoever_dies() {
    let mut cluster = Cluster::start(Scene::new("exactly-once"), 3, |b| {
        b.set("zookeeper.session.timeout.ms", "3000")
            .set("transaction.state.log.replication.factor", "3")
            .set("transaction.state.log.min.isr", "2")
            // One coordinator of all transactions, so that it is clear whom to kill.
            .set("transaction.state.log.num.partitions", "1")
            .set("offsets.topic.num.partitions", "3")
            .set("group.initial.rebalance.delay.ms", "100")
            .set("group.min.session.timeout.ms", "1000")
            .set("transaction.abort.timed.out.transaction.cleanup.interval.ms", "1000")
            .set("auto.leader.rebalance.enable", "false")
    });
    let configs = [("zookeeper.session.timeout.ms", "3000")];
    let mut office = (!is_reference()).then(|| Coordinator::start(cluster.scene(), 100_001, &configs));
    if let Some(office) = &mut office {
        office.wait_until_announced(cluster.scene());
        cluster.wait_for_controller(20, |id| id == 100_001);
    }
    cluster.create_topic("in", PARTITIONS, &[]);
    cluster.create_topic("out", PARTITIONS, &[]);
    let mut setup = cluster.writer("in", PARTITIONS);
    setup.batch = 10;
    setup.pause = Duration::from_millis(15);
    let writer = integration_tests::Writer::start(&setup);
    let bootstrap = cluster.bootstrap();
    let mut copiers: Vec<Copier> = ["copier-a", "copier-b"]
        .iter()
        .map(|id| Copier::start(cluster.scene(), &bootstrap, id, "in", "out"))
        .collect();
    wait_for_more(&mut copiers, 5, "quiet");

    let begin = Instant::now();
    for round in 0..rounds() {
        let (one, other) = (round % 2, 1 - round % 2);
        copiers[one].kill();
        wait_for_more(&mut copiers, 3, &format!("kill -9 of copier {one}"));
        let coordinator = cluster.partition("__transaction_state", 0).leader;
        if round % 3 == 0 {
            if let Some(office) = &mut office {
                office.kill();
            }
            cluster.broker(coordinator).kill();
            let what = format!("kill -9 of the coordinator, broker {coordinator}, and of the controller");
            wait_for_more(&mut copiers, 3, &what);
            copiers[other].kill();
            wait_for_more(&mut copiers, 3, &format!("kill -9 of copier {other}"));
            if let Some(office) = &mut office {
                office.start_again();
            }
            cluster.broker(coordinator).start_again();
        } else if round % 3 == 2 {
            cluster.brokers.iter_mut().for_each(Broker::kill);
            cluster.start_all_again();
            wait_for_more(&mut copiers, 3, "kill -9 of every broker");
        } else {
            // It wakes up as a coordinator that has long had a successor.
            cluster.broker(coordinator).signal(Signal::STOP);
            cluster.wait_for_partition("__transaction_state", 0, 30, "another coordinator", |p| {
                p.leader >= 0 && p.leader != coordinator
            });
            wait_for_more(
                &mut copiers,
                3,
                &format!("SIGSTOP of the coordinator, broker {coordinator}"),
            );
            copiers[other].kill();
            cluster.broker(coordinator).signal(Signal::CONT);
            wait_for_more(&mut copiers, 3, &format!("kill -9 of copier {other}"));
        }
        cluster.wait_until_in_sync("__transaction_state", 30);
        cluster.wait_until_in_sync("out", 30);
    }
    let coordinator = cluster.partition("__transaction_state", 0).leader;
    cluster.broker(coordinator).stop();
    wait_for_more(
        &mut copiers,
        3,
        &format!("SIGTERM of the coordinator, broker {coordinator}"),
    );
    cluster.broker(coordinator).start_again();
    cluster.wait_until_in_sync("out", 30);
    let seconds = begin.elapsed().as_secs_f64();

    let written = writer.stop();
    let mut sum = Copied::default();
    for copier in copiers {
        let copied = copier.stop_when_idle(60);
        sum.transactions += copied.transactions;
        sum.records += copied.records;
        sum.aborted += copied.aborted;
        sum.refused += copied.refused;
        sum.kills += copied.kills;
        sum.gave_up += copied.gave_up;
    }
    cluster.check_records("in", &written);
    let (copied, everything) = check_copied_exactly_once(&bootstrap);
    assert_eq!(copied, written.records());
    println!(
        "{copied} records copied exactly once ({everything} written) in {seconds:.1} s: {} transactions committed, {} aborted on \
         purpose, {} failed; {} kills of copiers, {} kills or pauses of brokers; {} copiers told to begin anew",
        sum.transactions,
        sum.aborted,
        sum.refused,
        sum.kills,
        rounds(),
        sum.gave_up
    );
    assert!(
        sum.aborted > 0 && everything > copied,
        "nothing was ever aborted: {sum:?}"
    );
    cluster.check_replicas("out");
}
