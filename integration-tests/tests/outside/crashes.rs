//! Restarts and kills: what was acknowledged is there afterwards, at the offset that was told.

use integration_tests::{
    Batch, Broker, Connection, Scene, eventually, is_reference, kcat, kcat_reads_all, kcat_with_input,
};
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

#[test]
fn a_restart_finds_the_records_and_leaves_the_marks_of_a_clean_stop() {
    let scene = Scene::new("restart");
    let mut broker = scene.broker(1).start();
    let at = broker.bootstrap();
    kcat_with_input(&["-b", &at, "-P", "-t", "t"], b"one\ntwo\nthree\n").succeeds();
    for round in 0..3 {
        broker.stop();
        let mark = broker.data().join(".kafka_cleanshutdown");
        let text = std::fs::read_to_string(&mark).expect("the mark of a clean stop");
        assert!(text.starts_with(r#"{"version":0,"brokerEpoch":"#), "{text}");
        let recovery_points = std::fs::read_to_string(broker.data().join("recovery-point-offset-checkpoint")).unwrap();
        assert!(recovery_points.contains("t 0 3"), "{recovery_points}");
        broker.start_again();
        assert!(!mark.exists(), "the mark goes at the start");
        let out = eventually(10, "the records are read", || {
            let out = kcat(&["-b", &at, "-C", "-t", "t", "-o", "beginning", "-e", "-q"]).says();
            if out.contains("three") { Ok(out) } else { Err(out) }
        });
        assert_eq!(out, "one\ntwo\nthree\n", "round {round}");
    }
    assert!(
        broker.log().contains("started (kafka.server.KafkaServer)") && broker.log().contains("shut down completed")
    );
}

/// A batch that a producer has sent: its first value's number and, once acknowledged, its offset.
type Acknowledged = HashMap<(usize, i64), String>;

const PARTITIONS: usize = 3;
const RECORDS_A_BATCH: usize = 20;

/// Produces to one partition, five requests in flight, until the broker dies; returns what was acknowledged.
fn produce_until_it_dies(port: u16, partition: usize, round: usize, dying: &AtomicBool) -> Acknowledged {
    let mut acknowledged = Acknowledged::new();
    let Ok(mut connection) = Connection::open(port) else {
        return acknowledged;
    };
    let mut waiting: HashMap<i32, usize> = HashMap::new();
    let value = |batch: usize, record: usize| format!("r{round} p{partition} b{batch} n{record} {}", "x".repeat(100));
    let mut batch = 0;
    loop {
        while waiting.len() < 5 && !dying.load(Ordering::Relaxed) {
            let bytes = Batch::of_values((0..RECORDS_A_BATCH).map(|n| value(batch, n))).encode();
            let Ok(sent) = connection.send_produce("t", partition as i32, -1, &bytes) else {
                return acknowledged;
            };
            waiting.insert(sent, batch);
            batch += 1;
        }
        let Ok((correlation, answer)) = connection.receive_produce() else {
            return acknowledged;
        };
        let sent = waiting.remove(&correlation).expect("an answer to what was asked");
        if answer.error == 0 {
            for n in 0..RECORDS_A_BATCH {
                acknowledged.insert((partition, answer.base_offset + n as i64), value(sent, n));
            }
        } else {
            // Not yet its leader, right after a start.
            assert!([3, 5, 6].contains(&answer.error), "error {}", answer.error);
            std::thread::sleep(Duration::from_millis(20));
        }
        if waiting.is_empty() {
            return acknowledged;
        }
    }
}

/// Every acknowledged record is at its offset; offsets have no gaps.
fn check_acknowledged(broker: &Broker, acknowledged: &Acknowledged) {
    let at = broker.bootstrap();
    eventually(20, "every partition has a leader", || {
        let out = kcat(&["-b", &at, "-L", "-t", "t"]).says();
        if out.matches(", leader 1,").count() == PARTITIONS {
            Ok(())
        } else {
            Err(out)
        }
    });
    let out = kcat_reads_all(&at, "t", "%p %o %s\n");
    let mut found = HashMap::new();
    for line in out.lines() {
        let mut words = line.splitn(3, ' ');
        let mut number = || {
            words
                .next()
                .and_then(|w| w.parse::<i64>().ok())
                .unwrap_or_else(|| panic!("a strange line: {line}"))
        };
        let (partition, offset) = (number() as usize, number());
        found.insert((partition, offset), words.next().unwrap_or_default());
    }
    for (place, value) in acknowledged {
        assert_eq!(
            found.get(place),
            Some(&value.as_str()),
            "partition {}, offset {}",
            place.0,
            place.1
        );
    }
    for partition in 0..PARTITIONS {
        let offsets = found.keys().filter(|(p, _)| *p == partition).map(|(_, o)| *o);
        let (count, last) = offsets.fold((0, -1), |(count, last), o| (count + 1, last.max(o)));
        assert_eq!(count, last + 1, "partition {partition} has gaps");
    }
}

#[test]
fn kill_nine_under_load_loses_nothing_acknowledged_twenty_times_in_a_row() {
    let scene = Scene::new("kill-nine");
    let mut broker = scene
        .broker(1)
        .set("zookeeper.session.timeout.ms", "1500")
        // Small segments and late flushes: kills hit rolls and recoveries of more than one segment.
        .set("log.segment.bytes", "300000")
        .set("log.index.interval.bytes", "500")
        .start();
    broker.create_topic("t", PARTITIONS as i32, &[]);
    let mut acknowledged = Acknowledged::new();
    // A JVM takes its time to start.
    let rounds = if is_reference() { 3 } else { 20 };
    for round in 0..rounds {
        check_acknowledged(&broker, &acknowledged);
        let dying = AtomicBool::new(false);
        let port = broker.port();
        std::thread::scope(|scope| {
            let dying = &dying;
            let load: Vec<_> = (0..PARTITIONS)
                .map(|p| scope.spawn(move || produce_until_it_dies(port, p, round, dying)))
                .collect();
            std::thread::sleep(Duration::from_millis(150 + (round as u64 * 97) % 400));
            broker.kill();
            dying.store(true, Ordering::Relaxed);
            let of_this_round: Vec<Acknowledged> = load
                .into_iter()
                .map(|l| l.join().expect("a producer does not panic"))
                .collect();
            assert!(
                of_this_round.iter().any(|a| !a.is_empty()),
                "round {round}: nothing was acknowledged"
            );
            acknowledged.extend(of_this_round.into_iter().flatten());
        });
        broker.start_again();
    }
    check_acknowledged(&broker, &acknowledged);
    println!("{rounds} kills, {} records acknowledged, none lost", acknowledged.len());
    broker.stop();
}
