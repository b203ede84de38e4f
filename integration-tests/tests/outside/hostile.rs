//! Bytes that no client of good faith would send: they cost their sender the connection, and nobody else anything.

use flate2::Compression;
use flate2::write::GzEncoder;
use integration_tests::{Batch, Broker, Connection, Scene, eventually, is_reference};
use std::io::Write;
use std::time::{Duration, Instant};

const FETCH: i16 = 1;
const METADATA: i16 = 3;

/// Somebody else is answered, and soon.
fn others_are_served(broker: &Broker, after: &str) {
    let begin = Instant::now();
    let mut connection = Connection::open(broker.port()).unwrap_or_else(|e| panic!("after {after}: {e}"));
    connection.metadata().unwrap_or_else(|e| panic!("after {after}: {e}"));
    assert!(
        begin.elapsed() < Duration::from_secs(2),
        "after {after}: {:?}",
        begin.elapsed()
    );
}

/// No hostile client made it take much memory. (A JVM takes what it was given.)
fn memory_is_bounded(broker: &Broker) {
    if !is_reference() {
        let peak = broker.memory_peak();
        assert!(peak < 400 << 20, "{} MiB at most", peak >> 20);
    }
}

fn sized(body: &[u8]) -> Vec<u8> {
    [&i32::try_from(body.len()).expect("a small body").to_be_bytes(), body].concat()
}

#[test]
fn garbage_costs_its_sender_the_connection() {
    let scene = Scene::new("garbage");
    let mut broker = scene.broker(1).start();
    let frame = |key, version, body: &[u8]| Connection::frame(key, version, 1, body).to_vec();
    let huge = i32::MAX.to_be_bytes();
    // A flexible request header with no end of tagged fields.
    let mut tagged = vec![0, 18, 0, 3, 0, 0, 0, 1, 0, 1, b'x'];
    tagged.extend([0xff, 0xff, 0xff, 0xff, 0x0f]);
    let noise: Vec<u8> = (0..4000u32)
        .map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8)
        .collect();
    let rows: Vec<(&str, Vec<u8>)> = vec![
        ("a negative size", (-1i32).to_be_bytes().to_vec()),
        ("a size of nought", vec![0; 4]),
        ("the largest size", huge.to_vec()),
        (
            "one byte more than socket.request.max.bytes",
            104_857_601i32.to_be_bytes().to_vec(),
        ),
        ("a browser", b"GET / HTTP/1.1\r\nHost: x\r\n\r\n".to_vec()),
        (
            "a TLS client",
            [&[0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3][..], &[7; 500]].concat(),
        ),
        ("noise", sized(&noise)),
        ("three bytes", sized(&[0, 3, 0])),
        ("an unknown API key", frame(999, 0, &[])),
        ("a negative API key", frame(-1, 0, &[])),
        ("an unknown version", frame(METADATA, 99, &[])),
        ("Metadata 0 with 2^31-1 topics", frame(METADATA, 0, &huge)),
        (
            "Metadata 1 with a name of 32767 bytes that are not there",
            frame(METADATA, 1, &[0, 0, 0, 1, 0x7f, 0xff]),
        ),
        (
            "Produce 3 with 2^31-1 topics",
            frame(0, 3, &[&[0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0], &huge[..]].concat()),
        ),
        (
            "Fetch 4 with 2^31-1 topics",
            frame(FETCH, 4, &[&[0xff; 4][..], &[0; 13], &huge].concat()),
        ),
        ("CreateTopics 2 with 2^31-1 topics", frame(19, 2, &huge)),
        (
            "OffsetFetch 1 with 2^31-1 topics",
            frame(9, 1, &[&[0, 1, b'g'][..], &huge].concat()),
        ),
        ("tagged fields without end", sized(&tagged)),
    ];
    for (name, bytes) in &rows {
        let mut connection = Connection::open(broker.port()).unwrap();
        connection.write_raw(bytes).unwrap_or_else(|e| panic!("{name}: {e}"));
        assert!(connection.is_closed_by_broker(), "{name}: the connection stays open");
        others_are_served(&broker, name);
        assert!(broker.ended().is_none(), "{name}: the broker has ended");
    }
    memory_is_bounded(&broker);
}

#[test]
fn an_api_versions_request_of_the_future_is_answered_in_version_nought() {
    let scene = Scene::new("future");
    let broker = scene.broker(1).start();
    let mut connection = Connection::open(broker.port()).unwrap();
    // Version 3 and up have a header with tagged fields: none.
    connection.send(18, 99, &[0]).unwrap();
    let (_, answer) = connection.receive().unwrap();
    assert_eq!(
        &answer[..],
        [0, 35, 0, 0, 0, 1, 0, 18, 0, 0, 0, 4],
        "UNSUPPORTED_VERSION, and which are supported"
    );
    connection.metadata().expect("the connection can be used further");
}

#[test]
fn a_client_that_stops_in_the_middle_or_never_reads_hinders_nobody() {
    let scene = Scene::new("slow");
    let broker = scene.broker(1).start();
    let mut good = Connection::open(broker.port()).unwrap();
    broker.create_topic("t", 1, &[]);
    let value = vec![b'v'; 900_000];
    for _ in 0..8 {
        eventually(10, "produced", || {
            match good.produce("t", 0, &Batch::of_values([value.clone()]).encode()) {
                Ok(answer) if answer.error == 0 => Ok(()),
                other => Err(format!("{other:?}")),
            }
        });
    }

    let mut halves: Vec<Connection> = (0..50).map(|_| Connection::open(broker.port()).unwrap()).collect();
    for (i, half) in halves.iter_mut().enumerate() {
        // A size that promises much, and little after it. (Kafka sets aside what is promised: its memory would end here.)
        let promised: i32 = if is_reference() { 1_000_000 } else { 50_000_000 };
        let frame = [&promised.to_be_bytes()[..], &vec![0; i]].concat();
        half.write_raw(&frame).unwrap();
    }
    others_are_served(&broker, "half frames");

    // Each asks for all that there is, many times over, and reads nothing.
    let mut fetch = Vec::new();
    fetch.extend((-1i32).to_be_bytes()); // replica
    fetch.extend(100i32.to_be_bytes()); // max wait
    fetch.extend(1i32.to_be_bytes()); // min bytes
    fetch.extend(50_000_000i32.to_be_bytes()); // max bytes
    fetch.push(0); // isolation level
    fetch.extend(1i32.to_be_bytes());
    fetch.extend([0, 1, b't']);
    fetch.extend(1i32.to_be_bytes());
    fetch.extend(0i32.to_be_bytes()); // partition
    fetch.extend(0i64.to_be_bytes()); // offset
    fetch.extend(50_000_000i32.to_be_bytes());
    let mut deaf: Vec<Connection> = (0..20).map(|_| Connection::open(broker.port()).unwrap()).collect();
    for connection in &mut deaf {
        for _ in 0..100 {
            connection.send(FETCH, 4, &fetch).unwrap();
        }
    }
    std::thread::sleep(Duration::from_millis(500));
    for _ in 0..5 {
        others_are_served(&broker, "clients that do not read");
    }
    let (_, answer) = {
        good.send(FETCH, 4, &fetch).unwrap();
        good.receive().unwrap()
    };
    assert!(
        answer.len() > 7_000_000,
        "a fetch gets what there is: {} bytes",
        answer.len()
    );
    memory_is_bounded(&broker);
}

#[test]
fn a_bad_batch_gets_kafkas_error_code_and_leaves_no_trace() {
    const CORRUPT_MESSAGE: i16 = 2;
    const INVALID_RECORD: i16 = 87;
    const UNKNOWN_SERVER_ERROR: i16 = -1;
    let scene = Scene::new("bad-batches");
    let broker = scene.broker(1).start();
    let mut connection = Connection::open(broker.port()).unwrap();
    broker.create_topic("t", 1, &[]);
    eventually(10, "the topic has a leader", || {
        match connection.produce("t", 0, &Batch::of_values(["first"]).encode()) {
            Ok(answer) if answer.error == 0 => Ok(()),
            other => Err(format!("{other:?}")),
        }
    });

    let bad = |change: &dyn Fn(&mut Batch)| {
        let mut batch = Batch::of_values(["a", "b"]);
        change(&mut batch);
        batch.encode().to_vec()
    };
    let good = Batch::of_values(["a", "b"]).encode().to_vec();
    //       name                                   bytes                                        error
    let rows: Vec<(&str, Vec<u8>, i16)> = vec![
        ("a wrong checksum", bad(&|b| b.crc_error = 1), CORRUPT_MESSAGE),
        ("an unknown magic", bad(&|b| b.magic = 9), CORRUPT_MESSAGE),
        (
            "more records claimed than there are",
            bad(&|b| b.record_count = 3),
            INVALID_RECORD,
        ),
        (
            "2^31-1 records claimed",
            bad(&|b| {
                b.record_count = i32::MAX;
                b.last_offset_delta = i32::MAX - 1
            }),
            INVALID_RECORD,
        ),
        ("a negative count", bad(&|b| b.record_count = -1), INVALID_RECORD),
        (
            "a last offset that does not fit",
            bad(&|b| b.last_offset_delta = 7),
            INVALID_RECORD,
        ),
        ("two batches", [good.clone(), good.clone()].concat(), INVALID_RECORD),
        (
            "bytes after the records",
            bad(&|b| b.records.extend([1, 2, 3])),
            INVALID_RECORD,
        ),
        ("an undefined codec", bad(&|b| b.attributes = 7), UNKNOWN_SERVER_ERROR),
        ("gzip that is none", bad(&|b| b.attributes = 1), UNKNOWN_SERVER_ERROR),
    ];
    for (name, bytes, error) in &rows {
        let answer = connection
            .produce("t", 0, bytes)
            .unwrap_or_else(|e| panic!("{name}: {e}"));
        assert_eq!((answer.error, answer.base_offset), (*error, -1), "{name}");
    }
    let answer = connection.produce("t", 0, &good).unwrap();
    assert_eq!(
        (answer.error, answer.base_offset),
        (0, 1),
        "a good batch comes right after the first"
    );
    for name in ["", ".", "a b", "a/b", "\u{e9}", &"x".repeat(250)] {
        assert_eq!(
            connection.create_topic(name, 1, 1, &[]).unwrap(),
            17,
            "INVALID_TOPIC_EXCEPTION for {name:?}"
        );
    }
    others_are_served(&broker, "bad batches");
}

#[test]
fn a_small_batch_that_unpacks_to_much_does_no_harm() {
    let scene = Scene::new("bomb");
    let mut broker = scene.broker(1).start();
    broker.create_topic("t", 1, &[]);
    // One record of 1 GiB of noughts: about 1 MB of gzip.
    let length: u64 = 1 << 30;
    let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
    let mut head = vec![0, 0, 0, 1]; // attributes, timestamp delta, offset delta, no key
    let varint = |to: &mut Vec<u8>, value: u64| {
        let mut rest = value << 1;
        while rest >= 0x80 {
            to.push((rest & 0x7f) as u8 | 0x80);
            rest >>= 7;
        }
        to.push(rest as u8);
    };
    varint(&mut head, length);
    let mut record = Vec::new();
    varint(&mut record, head.len() as u64 + length + 1);
    record.extend(head);
    gzip.write_all(&record).unwrap();
    let chunk = vec![0; 1 << 20];
    for _ in 0..length >> 20 {
        gzip.write_all(&chunk).unwrap();
    }
    gzip.write_all(&[0]).unwrap(); // no headers
    let mut batch = Batch::of_values(["x"]);
    batch.attributes = 1;
    batch.records = gzip.finish().unwrap();
    assert!(batch.records.len() > 500_000);
    let bytes = batch.encode();

    let mut senders: Vec<Connection> = (0..4).map(|_| Connection::open(broker.port()).unwrap()).collect();
    for sender in &mut senders {
        sender.send_produce("t", 0, -1, &bytes).unwrap();
    }
    others_are_served(&broker, "bombs on their way");
    for sender in &mut senders {
        // Refused, taken as it is, or the connection closed: each is an end. Silence is not.
        let end = sender.receive_produce();
        let timed_out = end
            .as_ref()
            .is_err_and(|e| matches!(e.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut));
        assert!(!timed_out, "no answer: {end:?}");
    }
    others_are_served(&broker, "bombs");
    assert!(broker.ended().is_none());
    memory_is_bounded(&broker);
}
